/* workspace_internal.h - what the files of workspace.h share: what is asked, what is told, and the place
 * between.
 */
#ifndef ROTA_WORKSPACE_INTERNAL_H
#define ROTA_WORKSPACE_INTERNAL_H

#include "agents/clone.h"
#include "agents/sandbox.h"
#include "agents/workspace.h"

#include <jansson.h>

#define ROTA_WORKSPACE_OUTPUT_BYTES 2048 /* of a gate, its end */

typedef enum {
    ROTA_WORKSPACE_WORK,
    ROTA_WORKSPACE_GATE,
    ROTA_WORKSPACE_REVIEW,
    ROTA_WORKSPACE_MERGE,
} rota_workspace_step_t;

typedef struct {
    const char *name, *command; /* command NULL = there is none */
    int64_t timeout_ms;
} rota_workspace_gate_t;

typedef struct {
    const char *kind, *value;
} rota_workspace_check_t;

/* What is merged beside the task itself, in the order of approval. */
typedef struct {
    const char *task, *title, *start, *branch, *worked_by;
    int64_t attempt;
    rota_workspace_gate_t *gates;
    size_t gate_count;
    rota_workspace_check_t *checks;
    size_t check_count;
    const char **reviewers;
} rota_workspace_member_t;

/* Texts are NULL when absent, lists are ended by NULL. */
typedef struct {
    rota_workspace_step_t step;
    const char *repository, *target, *start, *base, *branch, *clone, *record, *setup, *task, *title, *agent,
        *left, *gate_cache;
    int64_t attempt, gate_retries, gate_cache_ms, part, part_bytes, least_ms;
    bool expects_change, isolate_off, steerable; /* the program reads ROTA_TELL_FD */
    rota_workspace_gate_t *gates;
    size_t gate_count;
    rota_workspace_check_t *checks;
    size_t check_count;
    const char **hide, **keep, **show, **reviewers, **touches, **programs, **sandbox_paths;
    const char **credentials; /* variables whose values are keys */
    const char *home;         /* the user's */
    const char *worked_by, *mirrors, *setups;
    const char **setup_needs, **setup_makes; /* see setup_cache.h */
    int64_t cache_retention_ms;
    bool touches_strict, flaky_fails, asked_again;
    rota_workspace_member_t *members;
    size_t member_count;
    json_t *told; /* what the agent is to be told, see briefing.h; NULL = nothing */
} rota_workspace_spec_t;

typedef struct {
    rota_pool_t *pool;
    rota_stop_t stop;
    rota_workspace_spec_t spec;
    rota_repository_t repository;
    rota_clone_t clone;
    rota_sandbox_t sandbox;
    const char *head;       /* of the integration branch when the step looked, or NULL */
    const char *home;       /* of commands that are run in the sandbox */
    const char *name;       /* of the agent, as the author of commits */
    char *const *program;   /* what is to be run, NULL-terminated, or NULL */
    const char **conflicts; /* paths that began with marks of a conflict in them, ended by NULL; or NULL */
    int status;             /* to exit with */
    int64_t took_ms;        /* the program */
    json_t *record;         /* state and so on; without a state the step has not come to an end */
} rota_workspace_t;

/* ---- workspace_spec.c */

/* Reads SPEC into memory of `pool`. 0, or -EINVAL with what is wrong. */
int rota_workspace_read_spec (const char *path, rota_pool_t *pool, rota_workspace_spec_t *ret_spec,
                              rota_error_t *error);
/* Puts the step's end into the record, and what it says onto standard error. The first end counts. Returns 1.
 */
__attribute__ ((format (printf, 3, 4))) int
rota_workspace_conclude (rota_workspace_t *self, const char *state, const char *format, ...);
/* The same for a function that failed: "environment". */
int rota_workspace_fail (rota_workspace_t *self, const rota_error_t *error);
bool rota_workspace_is_concluded (const rota_workspace_t *self);
void rota_workspace_tell (rota_workspace_t *self, const char *key, const char *text);
/* Writes the record. */
int rota_workspace_write_record (const rota_workspace_t *self, rota_error_t *error);
/* As a text that JSON can have: other bytes than UTF-8 are replaced, and control characters by blanks. */
json_t *rota_workspace_text (const char *bytes, size_t size_bytes);

/* ---- checks.c: both return 0, 1 when the step is concluded, or a negative errno. */

/* Runs the gates in the clone and adds what came of them to the record; *ret_failed names the first that
 * failed, or NULL. */
int rota_workspace_run_gates (rota_workspace_t *self, const char **ret_failed, rota_error_t *error);
/* What is judged of the work itself before it is taken, whatever is wanted of it: that no key was written
 * down, and that it keeps to what the task says it touches. `tip`: the history that goes with `tree`. */
int rota_workspace_run_standing_checks (rota_workspace_t *self, const char *base, const char *tip,
                                        const char *tree, const char **ret_failed, rota_error_t *error);
/* Judges the exit criteria of `base`..`commit` and looks for secrets. */
int rota_workspace_run_checks (rota_workspace_t *self, const char *base, const char *commit,
                               const char **ret_failed, rota_error_t *error);
/* Whether the files that a task must leave are still there in `tree`, merged with what others did. Where the
 * gates ran on it (`ran`) they may have made an artifact; where they didn't, one that they made before is
 * believed. */
int rota_workspace_check_merged (rota_workspace_t *self, const rota_workspace_member_t *member,
                                 const char *tree, bool ran, const char **ret_failed, rota_error_t *error);
/* A shell command in the clone, without anything of ours in its environment. `output` may be NULL. */
int rota_workspace_run_command (rota_workspace_t *self, const char *command, int64_t timeout_ms,
                                rota_child_take_t take, void *context, rota_child_end_t *ret_end,
                                rota_error_t *error);

/* key_search.c: a key in what `tree` has and `base` hasn't, or in any commit of `base`..`tip`, its message
 * included: what was taken out again stays in the history. *ret_found says where and what, never the key
 * itself; NULL = there is none. Without `shapes` only the values of `credentials` are keys. */
int rota_workspace_find_key (rota_workspace_t *self, const char *base, const char *tip, const char *tree,
                             bool shapes, const char **ret_found, rota_error_t *error);

/* ---- gate_cache.c: gates that passed on a tree, kept on this host for a while. What one of them leaves for
 * the next, or for an `artifact:`, is not kept: all of them are known to pass, or all are run. */

/* True: they passed on `tree` before; the record has them, marked as cached. */
bool rota_gate_cache_find (rota_workspace_t *self, const char *tree);
/* After they were run: kept if all of them passed. */
void rota_gate_cache_keep (rota_workspace_t *self, const char *tree);

/* ---- workspace_program.c */

/* Runs the agent's program in the clone; `more` is given to it behind its prompt. The exit status is in
 * `status`.
 */
int rota_workspace_run_program (rota_workspace_t *self, const char *more, size_t more_bytes,
                                bool *ret_stopped, rota_error_t *error);
/* workspace_told.c: what the agent is told beside its task, found and fitted once; "" = nothing. */
const char *rota_workspace_told (rota_workspace_t *self, const char *commit);
/* The difference as data for a prompt, or the part of it that is wanted, which the record then names. 0; 1
 * when the step is concluded: there is too much of it for agents. */
int rota_workspace_fence_difference (rota_workspace_t *self, const char *base, const char *commit,
                                     rota_bytes_t *ret_text, rota_error_t *error);

/* workspace_sandbox.c: needs the clone. */
int rota_workspace_prepare_sandbox (rota_workspace_t *self, rota_error_t *error);

/* ---- workspace.c and workspace_merge.c: 0, or 1 when the step is concluded. */

/* The clone at a commit, prepared by the set-up command. */
int rota_workspace_enter (rota_workspace_t *self, const char *commit, const char *branch);
/* Makes a commit and returns its name in `ret_oid`. */
int rota_workspace_commit (rota_workspace_t *self, const char *tree, const char *const *parents,
                           const char *author, const char *subject, bool with_reviewers,
                           char ret_oid[ROTA_GIT_OID_BYTES], rota_error_t *error);
/* The same with a message of the caller's. */
int rota_workspace_commit_as (rota_workspace_t *self, const char *tree, const char *const *parents,
                              const char *author, const char *message, char ret_oid[ROTA_GIT_OID_BYTES],
                              rota_error_t *error);
/* The trailers of one task, for the end of a message; NULL = no memory. */
char *rota_workspace_trailers (rota_workspace_t *self, const char *task, int64_t attempt,
                               const char *worked_by, const char *const *reviewers);
/* One line of a text, without what a commit's message can't have there; NULL = no memory. */
char *rota_workspace_line (rota_workspace_t *self, const char *text, size_t most);
/* Files, insertions and deletions of a difference, into the record. *ret_files may be NULL. */
int rota_workspace_measure (rota_workspace_t *self, const char *from, const char *to, size_t *ret_files,
                            size_t *ret_lines, rota_error_t *error);
int rota_workspace_merge (rota_workspace_t *self);
/* Work that is to be gone on with, brought up to `head`: the commit to begin at, which is `start` itself when
 * that comes after `head`. Where the two conflict the files hold git's marks, and `conflicts` names them. 0
 * or a negative errno. */
int rota_workspace_bring_up (rota_workspace_t *self, const char *head, const char *start,
                             char ret_commit[ROTA_GIT_OID_BYTES], rota_error_t *error);
/* The first of `conflicts` that still has marks in `tree`, or NULL. */
int rota_workspace_find_marks (rota_workspace_t *self, const char *tree, const char **ret_path,
                               rota_error_t *error);

#endif
