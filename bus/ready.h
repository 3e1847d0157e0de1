/* ready.h - what systemd is told of a service: that it serves, that its loop turns, what it does, that it
 * stops.
 *
 * The protocol is that of sd_notify(3); whoever sets $NOTIFY_SOCKET hears it. WATCHDOG=1 is only ever sent
 * from a turn of the service's own loop, twice in $WATCHDOG_USEC or more often: a loop that hangs sends none,
 * and the service is started again. With each goes the service's STATUS, when that has changed.
 *
 *     rota_ready_t *ready = rota_ready_new ();                  in main
 *     rota_ready_attach (ready, loop, describe, self);          a zloop; others call rota_ready_turn
 *     rota_ready_serving (ready);
 *     ...
 *     rota_ready_stopping (ready);
 *
 * Owner: the loop's thread. Every call takes NULL for "nobody listens".
 */
#ifndef ROTA_READY_H
#define ROTA_READY_H

#include <czmq.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rota_ready rota_ready_t;

/* One line about what the service does now. */
typedef void (*rota_ready_describe_fn) (void *owner, char *ret_text, size_t capacity);

/* NULL when nobody listens, and without memory: a service works without it. */
rota_ready_t *rota_ready_new (void);
void rota_ready_destroy (rota_ready_t **self_p);

void rota_ready_serving (rota_ready_t *self);
/* The service must not be described any more after this: its object may go. */
void rota_ready_stopping (rota_ready_t *self);

void rota_ready_describe (rota_ready_t *self, rota_ready_describe_fn describe, void *owner);
/* Says what is due. Returns when the next is (monotonic); INT64_MAX = never. */
int64_t rota_ready_turn (rota_ready_t *self, int64_t now_ms);
/* The same from a timer of `loop`, which must outlive rota_ready_detach. 0, or -ENOMEM. */
int rota_ready_attach (rota_ready_t *self, zloop_t *loop, rota_ready_describe_fn describe, void *owner);
void rota_ready_detach (rota_ready_t *self);

/* The loop is about to be busy: `extra_ms` more pass before it counts as hung, or its start as failed. 0 ends
 * it. */
void rota_ready_allow (rota_ready_t *self, int64_t extra_ms);

#endif
