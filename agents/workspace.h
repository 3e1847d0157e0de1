/* workspace.h - an attempt in a clone of its own: `rota-agent --workspace SPEC [-- PROGRAM [ARGUMENT...]]`,
 * which the shim runs in the place of PROGRAM. It prepares the clone, runs PROGRAM in a sandbox there, takes
 * what came of it into the repository and writes down what that was. Nothing of the repository's own (hooks,
 * filters, fsmonitor, external transports) is run by rota's git, and no checkout is touched but the clone's.
 *
 * Steps, each an attempt of its own:
 *   work     clone at the integration branch (or at `start`, to go on with that), run PROGRAM, commit what it
 *            left, fetch its branch into the repository
 *   gate     clone at `start`, run the gates one by one, judge the checks
 *   review   clone at `start`, run PROGRAM, whose prompt gets the difference from `base`; what it changes is
 *            dropped
 *   merge    bring `start` onto the head of the integration branch, run the gates on the merged tree if it
 *            is another than that of `start`, move the branch by compare and swap; a merge that is there
 *            already is found and told again; with `members`, of several tasks at once (workspace_merge.c)
 *
 * SPEC is a file of JSON, written by the host (0600), never by who works in the clone; paths are absolute:
 *   step, repository, target (optional), start, base (optional), branch (of work: rota-work/...)
 *   clone          directory that is made and removed, with CLONE.rota beside it
 *   record         file
 *   setup          shell command (optional)
 *   setup_needs    [paths of files that set-up depends on], setup_makes [directories that it makes], setups a
 *                  directory: where what it made is kept for others (setup_cache.h)
 *   mirrors        directory in which what a URL has is kept for others (mirror.h), optional
 *   cache_retention_ms  how long those keep what nobody uses
 *   gates          [{name, command, timeout_ms}]; gate_retries (default 1)
 *   flaky_fails    true: a flaky gate stops a merge
 *   gate_cache     directory in which passes are kept for gate_cache_ms (optional, gate_cache.c)
 *   checks         [{kind, value}], exit criteria, see criteria.c
 *   touches        [globs] that the work should keep to (optional); touches_strict: else it has failed
 *   expects_change true: work that leaves no difference from the integration branch is a failure
 *   least_ms       success of PROGRAM in less time is not believed (0: it is)
 *   credentials    [variables of PROGRAM's whose values must not be in the work (key_search.c)]
 *   hide           [files and directories that PROGRAM must not see]
 *   keep           [directories that it may write to]
 *   show           [what it may read beside the system and toolchains]
 *   programs       [what PROGRAM is or runs, by name or path: shown with what it was installed with]
 *   sandbox_paths  [PATH, PATH:rw, ~/PATH: what agents.sandbox_paths names]
 *   home           the user's, which PROGRAM doesn't see (default: HOME)
 *   isolate        "auto", "off"
 *   told           {parts, about, budget, ...}: what the agent is told beside its prompt (briefing.h)
 *   task, title, attempt, agent, worked_by, reviewed_by [names]: for author, subject and trailers of commits
 *   part, part_bytes  of a review: which part of the difference, from 1, and how large one is (difference.h)
 *   asked_again    true: PROGRAM is asked for a verdict that it left out; it is given no difference
 *   members        [{task, title, attempt, start, branch, gates, checks, reviewed_by}], of a merge: what is
 *                  merged beside the task itself, after it and in this order
 *   left           the commit where rota left the integration branch, if the host knows that better than the
 *                  repository's own refs/rota/left/TARGET
 *
 * The record is a file of JSON, renamed into place when the step has come to its end; a step without one was
 * cut short and has changed nothing that counts:
 *   state          "done", "unchanged", "failed" (a gate, a check, work that can't be taken), "conflict",
 *                  "environment" (the place is wrong, not the work: PROGRAM may not even have run)
 *   message        in words, with what was left out of the work
 *   commit, base, tree, branch, files, insertions, deletions, merged, onto, integration (branch)
 *   isolated       bool
 *   gates          [{name, state ("passed", "failed", "timed_out", "flaky", "not_checkable", "marked"),
 *                  exit_code, took_ms, output}], with the checks
 *   paths          [changed files, or where there are many the directories they lie in, as globs]
 *   conflicts      [paths]
 *   head_moved     bool: the integration branch was not where rota left it
 *   members        of a merge with members: a record of this kind for each
 *   part, parts    of a review, where the difference has several; the last looks at all of it
 *   batch          how many were merged by the same commit, if more than one
 *
 * Exit status: that of PROGRAM for work and review, else 0 with a record; 70 without one; 143 when it was
 * told to stop (work is taken all the same and has its record, a gate or a merge has none).
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
