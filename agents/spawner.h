/* spawner.h - a small process, forked before there are threads, that forks the shims.
 *
 * A process with I/O threads must not fork, and a small one forks faster. The spawner is a subreaper above
 * the shims: when a shim is killed, its tree falls to the spawner, which ends it and only then says that the
 * shim has ended. It ends when its host is gone; then shims and what they leave fall to the next subreaper.
 *
 * Owner: one thread of the host. No call here blocks.
 */
#ifndef ROTA_SPAWNER_H
#define ROTA_SPAWNER_H

#include "agents/attempt.h"
#include "bus/error.h"

#include <sys/types.h>

typedef struct rota_spawner rota_spawner_t;

/* Call it in a single-threaded process. NULL with the reason in *error. */
rota_spawner_t *rota_spawner_start (rota_error_t *error);
/* Closes the connection, upon which the spawner ends, and waits for that. */
void rota_spawner_destroy (rota_spawner_t **self_p);
/* The spawner keeps a copy of `fd` open until it ends: a lock that stands for "shims may still be started".
 */
int rota_spawner_hold (rota_spawner_t *self, int fd);

/* Starts a shim. `launch` (not 0, unique) names it in rota_spawner_next; *ret_control_fd is the caller's and
 * close-on-exec. 0; -EAGAIN when too many starts are under way; -EPIPE when the spawner is gone; -E2BIG,
 * -ENOMEM, -EMFILE. */
int rota_spawner_launch (rota_spawner_t *self, const rota_attempt_t *attempt, uint64_t launch,
                         int *ret_control_fd);

typedef struct {
    uint64_t launch;
    int error;  /* no shim could be forked: a negative errno; else 0 */
    int status; /* as from waitpid; exit codes are in shim.h. Whatever it is, the shim's tree is dead, but for
                   ROTA_SHIM_ALIVE, which is told when that has come to its end too */
} rota_spawner_end_t;

int rota_spawner_fd (const rota_spawner_t *self); /* readable: call rota_spawner_next until it says 0 */
/* 1 and the end of a shim; 0 = none now; -EPIPE = the spawner is gone. */
int rota_spawner_next (rota_spawner_t *self, rota_spawner_end_t *ret_end);

/* To a shim. 0, or -EAGAIN, -EPIPE. */
int rota_control_renew (int control_fd, uint32_t lease_ms);
int rota_control_stop (int control_fd, uint32_t grace_ms);
/* A text for a steerable command, 1 to ROTA_TELL_MAX_BYTES without NUL. */
int rota_control_tell (int control_fd, const char *text, size_t size_bytes);

pid_t rota_spawner_pid (const rota_spawner_t *self);

#endif
