/* clone_internal.h - what the files of clone.h share. */
#ifndef ROTA_CLONE_INTERNAL_H
#define ROTA_CLONE_INTERNAL_H

#include "agents/clone.h"

#define ROTA_CLONE_LIST_MAX_BYTES ((size_t)256 << 20) /* names of files */

/* A submodule, checked out from the repository's own copy if `ours` isn't NULL, else empty. */
struct rota_clone_part {
    const char *path; /* of its files, in CLONE */
    const char *full; /* the same, absolute */
    const char *ours; /* the git directory of ours for it */
    rota_clone_part_t *next;
};

/* A git directory with further objects in `alternates` (or NULL): `bare` one of ours, else one to work with.
 */
int rota_clone_make_git_dir (const rota_clone_t *self, const char *path, const char *format, bool bare,
                             const char *alternates, rota_error_t *error);
/* Its configuration, in the place of whatever is there. */
int rota_clone_write_settings (const rota_clone_t *self, const char *git_dir, const char *format, bool bare,
                               rota_error_t *error);
/* Its objects/info/alternates; `second` may be NULL. */
int rota_clone_set_alternates (const char *git_dir, const char *first, const char *second,
                               rota_error_t *error);
/* Fills `files` with those of a commit; the index goes to its .git, too. */
int rota_clone_check_out (rota_clone_t *self, const char *ours, const char *files, const char *commit,
                          rota_error_t *error);

/* Fills the submodules of the commit that `ours` has checked out in `files`. */
int rota_clone_fill_parts (rota_clone_t *self, rota_error_t *error);
/* Whether commits that `tree` names for submodules can be had, and nothing uncommitted is in them. */
int rota_clone_check_parts (rota_clone_t *self, const char *tree, rota_error_t *error);

/* Of CLONE itself, by its path there. NULL = it is none. */
const rota_clone_part_t *rota_clone_find_part (const rota_clone_t *self, const char *path);

/* Names of what differs from the index of `ours`, each ended by NUL. */
int rota_clone_list_changes (const rota_clone_t *self, const char *ours, const char *files,
                             rota_bytes_t *output, rota_error_t *error);

/* clone_refs.c: what lies in CLONE beside HEAD. Lines "COMMIT REF" of its branches and its stash that name
 * what the repository hasn't; looked up before `ours` sees the objects of CLONE. */
int rota_clone_list_refs (const rota_clone_t *self, const char *git_dir, rota_bytes_t *ret_refs,
                          rota_error_t *error);
/* Those of them whose commits are not in the work, and whose files are others: work->left. */
int rota_clone_find_left (const rota_clone_t *self, const rota_bytes_t *refs, rota_clone_work_t *work,
                          rota_error_t *error);

/* Makes CLONE.rota with its lock, and removes those of drivers that are dead. */
int rota_clone_claim (const char *path, const char *ours, int *ret_lock_fd, rota_error_t *error);

#endif
