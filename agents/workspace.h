/* workspace.h - an attempt in a clone of its own: `rota-agent --workspace SPEC [-- PROGRAM [ARGUMENT...]]`,
 * which the shim runs in the place of PROGRAM. It prepares the clone, runs PROGRAM in a sandbox there, takes
 * what came of it into the repository and writes down what that was. Nothing of the repository's own (hooks,
 * filters, fsmonitor, external transports) is run by rota's git, and no checkout is touched but the clone's.
 *
 * Steps, each an attempt of its own:
 *   work     clone at the integration branch (or at `start`, to go on with that), run PROGRAM, commit what it
 * left, fetch its branch into the repository gate     clone at `start`, run the gates one by one review clone
 * at `start`, run PROGRAM, whose prompt gets the difference from `base`; what it changes is dropped merge
 * bring `start` onto the head of the integration branch, run the gates on the merged tree, move the branch by
 *            compare and swap; a merge that is there already is found and told again
 *
 * SPEC is a file of JSON, written by the host (0600), never by who works in the clone:
 *   step, repository, target (optional), start, base (optional), branch, clone (directory that is made and
 * removed), record (file), setup (optional), gates [{name, command, timeout_ms}], checks [{kind, value}]
 * (exit criteria), expects_change (bool: a work step that leaves no difference is a failure), hide
 * [directories], keep [directories], isolate ("auto", "off"), task, title, attempt, agent (for author and
 * trailers of commits)
 *
 * The record is a file of JSON, renamed into place when the step has come to its end; a step without one was
 * cut short and has changed nothing that counts: state    "done", "unchanged", "failed" (a gate, a check),
 * "conflict", "environment" (the place is wrong, not the work) message  in words; commit, base, tree, branch,
 * files, insertions, deletions, merged, onto; isolated (bool); gates    [{name, state ("passed", "failed",
 * "timed_out", "flaky", "not_checkable"), exit_code, took_ms, output}] conflicts [paths]; head_moved (bool:
 * the integration branch was not where rota left it)
 *
 * Exit status: that of PROGRAM for work and review (143 when it was told to stop), else 0 with a record; 70
 * without one.
 *
 * Owner: a process of its own under the shim.
 */
#ifndef ROTA_WORKSPACE_H
#define ROTA_WORKSPACE_H

#define ROTA_WORKSPACE_OPTION "--workspace"
#define ROTA_INTEGRATION_PREFIX "rota/" /* before the target's name */
#define ROTA_WORK_PREFIX "rota-work/"

/* The program itself, with what follows ROTA_WORKSPACE_OPTION. Returns the status to exit with. */
int rota_workspace (int argc, char **argv);

#endif
