/* clone.h - a private clone: made, read when someone has worked in it, removed.
 *
 * CLONE is what is worked in. Beside it lies CLONE.rota, which who works there never sees: a git directory
 * with rota's own configuration and index, through which rota's git looks at the files. So nothing that was
 * put into CLONE/.git or into the repository's configuration (filters, hooks, fsmonitor, includes, drivers)
 * has a name there. Objects are shared with the repository by alternates.
 *
 * CLONE.rota/lock is locked as long as the driver lives. Whoever makes a clone in the same directory first
 * removes those whose driver is dead.
 *
 * Submodules are taken from the repository's own .git/modules, where the user has them; others stay empty.
 *
 * Owner: the thread of the driver, see workspace.h.
 */
#ifndef ROTA_CLONE_H
#define ROTA_CLONE_H

#include "agents/repository.h"

#include <sys/types.h>

/* What was different from the index before anyone worked there: what set-up made. */
typedef struct {
    char *path;
    int64_t size, changed_ns;
} rota_clone_before_t;

typedef struct rota_clone_part rota_clone_part_t; /* a submodule */

typedef struct {
    rota_pool_t *pool;
    const rota_repository_t *repository;
    const char *path;     /* CLONE, resolved */
    const char *ours;     /* CLONE.rota */
    const char *no_index; /* a file that isn't there */
    const char *name;     /* of who works there, for commits */
    const char *start;    /* the commit it was made at */
    int lock_fd;
    dev_t device; /* of CLONE as it was made */
    ino_t inode;
    rota_clone_before_t *before;
    size_t before_count;
    rota_clone_part_t *parts;
    const char *notes; /* in words, what of it can't be had or was left out; "" = nothing */
} rota_clone_t;

/* What became of the files, see rota_clone_collect. */
typedef struct {
    char tip[ROTA_GIT_OID_BYTES];  /* what is committed there, or `start` */
    char tree[ROTA_GIT_OID_BYTES]; /* the files as they are */
    bool grown;                    /* `tip` comes after `start` */
    bool committed;                /* `tree` is that of `tip` */
    const char *left; /* in words, commits on branches or a stash that aren't in it; NULL = none */
} rota_clone_work_t;

/* Makes CLONE.rota, and removes what dead drivers left beside it. -EEXIST when CLONE is something else. */
int rota_clone_open (rota_pool_t *pool, const char *path, const char *format, rota_clone_t *ret_self,
                     rota_error_t *error);
/* Gives it the repository's objects. */
int rota_clone_attach (rota_clone_t *self, const rota_repository_t *repository, rota_error_t *error);
/* Makes CLONE with the files of commit `start`, on branch `branch`, as a checkout of `name`'s. */
int rota_clone_make (rota_clone_t *self, const char *start, const char *branch, const char *name,
                     rota_error_t *error);
/* What is there now is nobody's work. */
int rota_clone_mark_before (rota_clone_t *self, rota_error_t *error);
/* Takes the files as they are. -EBADMSG with words when they can't be taken. */
int rota_clone_collect (rota_clone_t *self, rota_clone_work_t *ret_work, rota_error_t *error);
/* Removes CLONE; the other stays for another one. */
int rota_clone_clear (rota_clone_t *self, rota_error_t *error);
/* Removes both. Accepts what was never opened. */
int rota_clone_close (rota_clone_t *self, rota_error_t *error);

/* The directories of objects that CLONE looks into beside its own, ended by NULL, from the pool. */
int rota_clone_list_shared (const rota_clone_t *self, const char *const **ret_list, rota_error_t *error);

/* git with the directory of ours, for objects only: no files, no index, no attributes. */
rota_git_t rota_clone_git (const rota_clone_t *self);
/* From what is committed: "" = there is no such thing. */
int rota_clone_resolve (const rota_clone_t *self, const char *what, char ret_oid[ROTA_GIT_OID_BYTES],
                        rota_error_t *error);

__attribute__ ((format (printf, 2, 3))) void rota_clone_note (rota_clone_t *self, const char *format, ...);

#endif
