/* state.h - the state directory: where it is, how one comes to be, and who may start services on it.
 *
 * Found upward from the current directory like .git; a new one is made at the root of the git repository, or
 * in the current directory where there is none. It is 0700, ignores itself for git, and belongs to one user:
 * one that somebody else has put in our way is refused, because its services would run commands as us.
 *
 * Owner thread: any; between processes the lock decides (on DIR/supervisor.lock, held by the supervisor for
 * its life; an open file description lock, which can be asked about without taking it).
 */
#ifndef ROTA_STATE_H
#define ROTA_STATE_H

#include "bus/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define ROTA_STATE_NAME ".rota"

/* The absolute path in a malloc'ed string. `given` is --state or NULL. 0; 1 when there is none yet and
 * *ret_path is where it would be made; -EPERM when what is there belongs to another user; -ENOTDIR;
 * -ENOENT/-EACCES... for a directory above it; -ENOMEM. */
int rota_state_find (const char *given, char **ret_path, rota_error_t *error);

/* Makes the directory and what every user of it expects (.gitignore, logs/services). Doing it again is no
 * fault. 0 or a negative errno. */
int rota_state_make (const char *path, rota_error_t *error);

/* The path as a person would write it: relative to the current directory where that is shorter. */
const char *rota_state_shown (const char *path, char *ret_text, size_t capacity);

/* What the services in the state directory are there for. */
typedef enum {
    ROTA_SERVICES_RUN,  /* for one `rota run`, they end with it */
    ROTA_SERVICES_UP,   /* until `rota down` */
    ROTA_SERVICES_HOLD, /* for one short query; nothing is handed out */
} rota_services_t;
const char *rota_services_name (rota_services_t services);
int rota_services_parse (const char *name, rota_services_t *ret_services);

typedef struct {
    pid_t pid;
    uint64_t start_time; /* of the process, in clock ticks since boot: a reused pid has another */
    rota_services_t services;
} rota_holder_t;

/* Takes the lock for this process and writes who holds it. *ret_fd is close-on-exec and is to stay open.
 * 0; -EBUSY when another supervisor has it; a negative errno. */
int rota_state_lock (const char *path, rota_services_t services, int *ret_fd, rota_error_t *error);
/* 1 and *ret_holder when a living supervisor has the lock, 0 when nobody has, a negative errno. The pid may
 * be 0 for the instant in which the holder is about to write it. */
int rota_state_holder (const char *path, rota_holder_t *ret_holder);

/* When the process began, or 0 when there is none of that pid. */
uint64_t rota_process_start_time (pid_t pid);

#endif
