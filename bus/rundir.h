/* rundir.h - where the sockets of a state directory are: one rule for all programs.
 *
 * STATE/run, if the paths of sockets in it fit the 107 bytes that the kernel allows; else
 * $XDG_RUNTIME_DIR/rota-HASH, else /tmp/rota-UID-HASH, HASH being that of the state directory's real path.
 * Then STATE/run is a link to that place, so that programs find it whatever their environment says. The
 * directory belongs to us and is closed to others (0700), which is checked each time.
 *
 * Any thread; nothing is kept.
 */
#ifndef ROTA_RUNDIR_H
#define ROTA_RUNDIR_H

#include "bus/error.h"

#include <stdbool.h>
#include <stddef.h>

#define ROTA_RUNDIR_PATH_BYTES 108
#define ROTA_RUNDIR_ENDPOINT_BYTES 128

typedef struct {
    char client[ROTA_RUNDIR_ENDPOINT_BYTES]; /* "ipc://.../client.sock" */
    char agent[ROTA_RUNDIR_ENDPOINT_BYTES];
    char service[ROTA_RUNDIR_ENDPOINT_BYTES];
    char events[ROTA_RUNDIR_ENDPOINT_BYTES];
    char publish[ROTA_RUNDIR_ENDPOINT_BYTES];
} rota_rundir_endpoints_t;

/* The absolute path of the directory. With `create`, it is made if need be (the state directory must exist).
 * 0; -ENOENT not there; -EPERM: there, but another user's or open to others; -ENAMETOOLONG: `capacity`; else
 * what the kernel says. */
__attribute__ ((warn_unused_result)) int rota_rundir (const char *state_dir, bool create, char *ret_path,
                                                      size_t capacity, rota_error_t *error);

/* The sockets in a directory that rota_rundir found. */
void rota_rundir_endpoints (const char *rundir, rota_rundir_endpoints_t *ret_endpoints);

#endif
