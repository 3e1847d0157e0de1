/* role_lock.h - a role that one process of a host has at a time (leading broker, scheduler): who holds it,
 * and how another takes it over.
 *
 * The role is a flock on a file, which ends with its holder however that ends. In the file the holder says
 * who it is (pid, start time as the kernel counts it, incarnation), what others should know (a note), and,
 * while its loop turns, a mark that rises. A process that stands by looks at both. When the mark has stood
 * still for `dead_after_ms`, as counted by looks that were themselves in time, the holder is ended through a
 * pidfd that was checked against its start time, waited for, and only then is the lock taken: a lock that a
 * stopped process holds can't be argued with, and what it had half done is undone by its end.
 *
 * Owner: one thread. Nothing here waits. Invariant: the role is held by at most one process, as long as
 * nobody removes the file; who finds that somebody did gives the role up (rota_role_lock_step says -ESTALE).
 */
#ifndef ROTA_ROLE_LOCK_H
#define ROTA_ROLE_LOCK_H

#include "bus/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define ROTA_ROLE_NOTE_MAX_BYTES 1024
#define ROTA_ROLE_NEWS_MAX_BYTES 256
/* A holder marks its progress at most this often, so dead_after_ms must be a few of these. */
#define ROTA_ROLE_MARK_MS 1000

typedef struct rota_role_lock rota_role_lock_t;

typedef struct {
    const char *path;      /* of the file; copied */
    const char *role;      /* "broker": for sentences; must outlive it */
    const char *note;      /* one line without control characters; copied; NULL = none */
    int64_t dead_after_ms; /* 0 = a holder is never ended, only waited for */
} rota_role_lock_config_t;

typedef struct {
    pid_t pid; /* 0 = not known */
    uint64_t start_time;
    char since[32];
    char incarnation[33];
    char note[ROTA_ROLE_NOTE_MAX_BYTES];
} rota_role_holder_t;

/* Opens the file, takes nothing. 0; else what open says. */
__attribute__ ((warn_unused_result)) int
rota_role_lock_new (const rota_role_lock_config_t *config, rota_role_lock_t **ret_lock, rota_error_t *error);
/* Gives the role up. The file stays: another's lock on a new one would be worth nothing beside ours. */
void rota_role_lock_destroy (rota_role_lock_t **self_p);

/* Takes the role if it is free. 0; -EBUSY: the text says who has it; else what the kernel says. */
__attribute__ ((warn_unused_result)) int rota_role_lock_try (rota_role_lock_t *self, rota_error_t *error);

/* To be called whenever rota_role_lock_fd is readable, and at *ret_again_ms (CLOCK_MONOTONIC) or sooner;
 * cheap. 1: held (it has been marked as alive); 0: another has it; -ESTALE: it was held, but the file is
 * another's now; else what the kernel says. */
int rota_role_lock_step (rota_role_lock_t *self, int64_t now_ms, int64_t *ret_again_ms, rota_error_t *error);
bool rota_role_lock_is_held (const rota_role_lock_t *self);
/* Readable when the holder has ended; -1 while there is nothing to wait for. May be another after a step. */
int rota_role_lock_fd (const rota_role_lock_t *self);

/* As last seen; all zero when the role is held by this process, or it can't be told. */
const rota_role_holder_t *rota_role_lock_holder (const rota_role_lock_t *self);
/* A sentence about what happened since the last call, or NULL: who is stood by for, that it hangs, that it
 * was ended. For the log. */
const char *rota_role_lock_news (rota_role_lock_t *self);

/* A holder that is about to be busy: `extra_ms` more pass before it counts as dead. 0 ends it. Written at
 * once. */
void rota_role_lock_allow (rota_role_lock_t *self, int64_t extra_ms);

#endif
