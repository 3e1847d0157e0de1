/* attempts.h - whether a process belongs to an attempt of an agent: such a one is no peer.
 *
 * Everything that an attempt starts stays below its shim, which takes over what loses its parent; the shim is
 * found by its name among the ancestors. Those that can't be seen are other users' and no shims: the sockets
 * at which this is asked are closed to others. A broker that was itself started within an attempt (a task may
 * well run rota) serves that attempt, and refuses those of its own agents.
 */
#ifndef ROTA_BROKER_ATTEMPTS_H
#define ROTA_BROKER_ATTEMPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define ROTA_ATTEMPTS_DEPTH 128 /* ancestors that are looked at */

typedef struct {
    pid_t own[ROTA_ATTEMPTS_DEPTH]; /* the ancestors of this process that hold attempts */
    size_t own_count;
} rota_attempts_t;

void rota_attempts_init (rota_attempts_t *self);

typedef enum { ROTA_ATTEMPTS_FREE, ROTA_ATTEMPTS_WITHIN, ROTA_ATTEMPTS_GONE } rota_attempts_place_t;
rota_attempts_place_t rota_attempts_place (const rota_attempts_t *self, pid_t pid);

#endif
