/* sandbox.h - where what isn't trusted runs: bubblewrap around a program. To be read there is what the system
 * has installed, toolchains and the program itself, wherever they lie, and nothing that people keep: no
 * homes, no data, no sockets. To be written there are the clone, what is to be kept and a /tmp of its own. It
 * sees no process but its own, and when it ends nothing that it started is left. The network stays. /run is
 * empty: a bus or a daemon that is reached there runs commands outside.
 *
 * Where bubblewrap is missing or the kernel doesn't let it, `isolated` is false and programs run as they are.
 *
 * Owner: the thread of the driver, see workspace.h.
 */
#ifndef ROTA_SANDBOX_H
#define ROTA_SANDBOX_H

#include "agents/child.h"
#include "bus/pool.h"

typedef struct {
    rota_pool_t *pool;
    bool isolated;
    const char *why_not; /* in words, when it isn't */
    char **arguments;    /* of bwrap, without its end */
    size_t count, capacity;
    bool failed; /* no memory, or too long a path */
} rota_sandbox_t;

typedef struct {
    bool off;                    /* it isn't wanted */
    const char *clone;           /* written to; it is the working directory */
    const char *tmp;             /* what is its /tmp */
    const char *const *write;    /* further directories, NULL-terminated; may lie in what is hidden */
    const char *const *hide;     /* files or directories that aren't to be there */
    const char *const *show;     /* what is to be read beside system and programs */
    const char *const *read;     /* the same, though it lies in what is hidden */
    const char *const *paths;    /* of the settings: "PATH", "PATH:rw" */
    const char *const *programs; /* what is run: shown with what they were installed with */
    const char *path;            /* where they are looked up: PATH of who runs there */
    const char *home;            /* of the user; its toolchains are shown, or NULL */
    const char *instead;         /* the directory that is to be seen as `home`, or NULL = none is */
    bool logins;                 /* what `programs` keep in `home` may be written to */
} rota_sandbox_spec_t;

/* Tries it once. Paths are absolute; those that don't exist are passed over. 0 or a negative errno. */
int rota_sandbox_prepare (rota_pool_t *pool, const rota_sandbox_spec_t *spec, rota_sandbox_t *ret_self,
                          rota_error_t *error);

/* Whether it can be had here; `ret_why_not` has room for 256 bytes. */
bool rota_sandbox_works (char *ret_why_not);

/* The command that runs `argv` in there, from the pool. Signals reach it as if nothing
 * were around it: run it ROTA_CHILD_DEAF if `isolated`. NULL on no memory. */
char **rota_sandbox_command (const rota_sandbox_t *self, char *const *argv);

#endif
