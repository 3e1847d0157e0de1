/* shim.h - the process that stands between the agent host and one attempt's command.
 *
 * It is the parent of the command's whole tree (subreaper), collects its output, holds its deadlines on the
 * boot-time clock (a suspended machine counts), ends the tree, and at the end leaves a record in the spool.
 * It outlives a host that is killed, and takes the tree with it when the host is gone (attempt.h: lease_ms).
 *
 * The end of the tree is proved: waitpid says ECHILD to a subreaper only when no descendant is left.
 *
 * A control socket (SOCK_SEQPACKET) leads to the host. Its end of file means that the host is gone.
 */
#ifndef ROTA_SHIM_H
#define ROTA_SHIM_H

#include "agents/attempt.h"

#include <stdint.h>

typedef enum {
    ROTA_CONTROL_RENEW = 1, /* the lease: value_ms from now */
    ROTA_CONTROL_STOP,      /* TERM now, KILL after value_ms; a second one may shorten it */
    ROTA_CONTROL_TELL,      /* the text behind the message, to a steerable command */
} rota_control_t;

typedef struct {
    uint32_t kind, value_ms;
} rota_control_message_t;

/* Exit codes of a shim: what its parent, the spawner, learns. */
typedef enum {
    ROTA_SHIM_DONE = 0,   /* recorded, the tree is dead */
    ROTA_SHIM_TOLD = 1,   /* the spool can't be written; the record went over the control socket, tree dead */
    ROTA_SHIM_ALIVE = 2,  /* recorded, but something survived SIGKILL until now */
    ROTA_SHIM_FAILED = 3, /* no record: the attempt was unreadable, or there was no memory for it */
} rota_shim_exit_t;

/* The whole life of a shim. Takes over the process: call it in a fresh child of a single-threaded process.
 * Both descriptors are its own from then on, all others are closed. */
_Noreturn void rota_shim_run (int control_fd, int attempt_fd);

#endif
