/* verdict.h - what a reviewer decided, found in its answer.
 *
 * A reviewer is asked to end its answer with one JSON object: {"review": WORD, "verdict": "approve" or
 * "changes", "summary", "score", "scores": {"correctness": 0 to 10, ...}, "comments": [{"file", "line",
 * "severity", "text"}]}. What comes is material from outside: the object may stand between other words or in
 * a fence, or not be there. WORD is drawn for that review alone, after the work was done: what the reviewer
 * merely quotes from the work doesn't have it, and is no verdict wherever it stands. Without a verdict
 * nothing is approved. Where the answer says both, nothing is approved either.
 */
#ifndef ROTA_VERDICT_H
#define ROTA_VERDICT_H

#include <jansson.h>
#include <stddef.h>

#define ROTA_VERDICT_COMMENTS_MAX 100
#define ROTA_VERDICT_TEXT_MAX_BYTES 2000
#define ROTA_VERDICT_SCORES_MAX 16
#define ROTA_VERDICT_SCORE_BYTES 32

#define ROTA_VERDICT_WORD_BYTES 17

void rota_verdict_word (char ret_word[ROTA_VERDICT_WORD_BYTES]);

/* The last such object with that word, or the last that wants changes: {approved (bool), summary, score
 * (0..100, or absent), scores, comments}, every part checked and cut to its bounds; a comment of severity
 * "blocker" makes an approval one that wants changes. The caller owns it. NULL: no verdict. */
json_t *rota_verdict_find (const char *answer, size_t size_bytes, const char *word);

#endif
