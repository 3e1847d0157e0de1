/* connection.h - one DEALER socket to one broker: two-frame messages, and word of connecting and losing.
 *
 * The word comes from ZeroMQ's socket monitor, read in the same loop: no thread. Nothing is sent into a
 * connection that does not stand (ZMQ_IMMEDIATE).
 *
 * Owner: the loop's thread. A handler must not destroy the connection; an alarm or another handler may.
 */
#ifndef ROTA_CONNECTION_H
#define ROTA_CONNECTION_H

#include "bus/curve.h"
#include "bus/error.h"

#include <czmq.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct rota_connection rota_connection_t;

typedef struct {
    void *owner;
    void (*on_readable) (void *owner); /* may be called without anything to receive */
    void (*on_up) (void *owner);       /* it stands (again) */
    void (*on_down) (void *owner, const char *why);
    /* No connection came to be, and ZeroMQ won't try again: this one is to be destroyed. `certain`: one side
     * doesn't take the other's key, and a new one won't help before somebody changes that. */
    void (*on_turned_away) (void *owner, const char *why, bool certain);
    void (*on_unreachable) (void *owner); /* an attempt to connect has failed; ZeroMQ makes another */
} rota_connection_handlers_t;

/* NULL with the reason. Does not wait; ZeroMQ tries again by itself for as long as it lives. `curve` is
 * copied by ZeroMQ. */
rota_connection_t *rota_connection_new (const char *endpoint, const rota_curve_t *curve, zloop_t *loop,
                                        const rota_connection_handlers_t *handlers, rota_error_t *error);
void rota_connection_destroy (rota_connection_t **self_p, int linger_ms);

/* Calls on_up and on_down for what has happened. Done by the loop too; for who must know now. */
void rota_connection_look (rota_connection_t *self);
bool rota_connection_is_writable (rota_connection_t *self);
/* 0 or -EAGAIN: no connection stands, or its queue is full. */
int rota_connection_send (rota_connection_t *self, const uint8_t *envelope, size_t envelope_bytes,
                          const uint8_t *body, size_t body_bytes);
/* Both are initialised zmq_msg_t. 0; -EAGAIN nothing there; -EBADMSG a message of other than two frames was
 * dropped. */
int rota_connection_receive (rota_connection_t *self, zmq_msg_t *envelope, zmq_msg_t *body);

#endif
