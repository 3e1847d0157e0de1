/* repository.h - the repository that work comes from and goes to: a directory here, or what git reaches by a
 * URL.
 *
 * The integration branch `rota/TARGET` is moved by compare and swap only. `refs/rota/left/TARGET` says where
 * rota left it (where a server lets it be written), and is written first: a branch that is neither there nor
 * one commit before was moved by someone else. A git that is killed leaves lock files; what is about to be
 * moved is therefore written to `rota.lock` in the repository, which is locked as long as the git that moves
 * it lives: whoever has that lock next takes those leftovers away.
 *
 * Owner: the thread of the driver, see workspace.h.
 */
#ifndef ROTA_REPOSITORY_H
#define ROTA_REPOSITORY_H

#include "agents/mirror.h"

typedef struct {
    rota_pool_t *pool;
    char **environment;   /* of git */
    const char *location; /* as told */
    bool remote;          /* a URL: its objects are fetched into `ours` */
    bool shallow;
    const char *git_dir;     /* of that checkout, which may be a linked one; NULL when remote */
    const char *common_dir;  /* what all its checkouts share */
    const char *objects;     /* where its objects are; of `ours` when remote */
    const char *shared;      /* objects that ours look into: of the directory, of the mirror, or NULL */
    rota_mirror_t mirror;    /* of a remote one; path NULL = none */
    const char *ours;        /* a git directory of ours that has its objects */
    const char *format;      /* sha1, sha256 */
    const char *target;      /* a branch's name; "HEAD" when nothing is checked out */
    const char *integration; /* refs/heads/rota/TARGET */
    const char *mark;        /* refs/rota/left/TARGET */
} rota_repository_t;

/* Whether `location` is a URL rather than a directory. */
bool rota_repository_is_remote (const char *location);

/* Looks at a repository. `target` NULL = what is checked out there. -EBADMSG with words when it is none. */
int rota_repository_open (rota_pool_t *pool, const char *location, const char *target,
                          rota_repository_t *ret_self, rota_error_t *error);
/* Has a remote one fetched by way of its mirror in the directory `mirrors`, if that can be had; else as
 * without.
 */
void rota_repository_use_mirror (rota_repository_t *self, const char *mirrors, int64_t retention_ms);
/* From now on `ours` has all objects; of a remote one they are fetched. `ours` must be a git directory. */
int rota_repository_attach (rota_repository_t *self, const char *ours, rota_error_t *error);

/* Where a ref is; "" = it isn't there. */
int rota_repository_read (const rota_repository_t *self, const char *ref, char ret_oid[ROTA_GIT_OID_BYTES],
                          rota_error_t *error);
/* The head of the integration branch, which is made from the target's head when it isn't there, and brought
 * to that when it has nothing of its own. */
int rota_repository_integration (const rota_repository_t *self, char ret_oid[ROTA_GIT_OID_BYTES],
                                 bool *ret_moved, rota_error_t *error);
/* Moves the integration branch. -EAGAIN when it isn't at `old` any more; -EPERM when it is checked out. */
int rota_repository_advance (const rota_repository_t *self, const char *old, const char *new,
                             rota_error_t *error);
/* Brings a commit of `ours` with all that it needs into the repository; a remote one gets it when a ref
 * moves. */
int rota_repository_bring (const rota_repository_t *self, const char *oid, rota_error_t *error);
/* The same, as branch `name`, wherever that was. */
int rota_repository_publish (const rota_repository_t *self, const char *name, const char *oid,
                             rota_error_t *error);
/* Forgets the branches whose names begin with `prefix`, a whole part of a name. A remote repository keeps
 * them. */
int rota_repository_forget (const rota_repository_t *self, const char *prefix, rota_error_t *error);

#endif
