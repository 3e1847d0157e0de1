/* pretend.h - the program behind the kind `sim`: behaves as agents do, by a script in the task's prompt.
 *
 *     sim: work 2s; limit 5s; work 1s; write notes.md done; ok
 *
 * Steps: work TIME | use TOKENS USD | quota PERCENT TIME | say TEXT | write FILE TEXT | run COMMAND | ok |
 * fail TEXT | limit TIME | context | auth | crash | hang | lie (says success and exits otherwise) | nothing
 * (exits 0 and says nothing) | flood SIZE. Each of those from `ok` on but `flood` ends the attempt, and the
 * next one of the task goes on behind it, on whichever agent. What it said last is its answer.
 * While an account is limited every attempt of it meets the limit. A prompt without `sim:` is a short piece
 * of work that ends well.
 *
 * As a reviewer it approves; "review: changes" anywhere in the prompt makes its first review want some,
 * "review: slow" makes each take a while.
 *
 * It prints the events of `claude -p --output-format stream-json`, so that nothing else must be able to read
 * it.
 */
#ifndef ROTA_PRETEND_H
#define ROTA_PRETEND_H

#define ROTA_PRETEND_OPTION "--pretend"
#define ROTA_PRETEND_DIRECTORY "ROTA_SIM_DIRECTORY" /* variable: where sessions and limits are kept */

/* Returns the status to exit with. */
int rota_pretend (void);

#endif
