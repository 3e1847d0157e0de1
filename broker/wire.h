/* wire.h - the broker's ROUTER sockets: whole messages in, whole messages out, nothing that can grow.
 *
 * Bodies are moved, never copied. Large ones that wait to be sent are counted in the addressee's outbox until
 * ZeroMQ has let go of them, because its own limit counts messages, whatever their size.
 *
 * Owner: the broker's thread; outboxes are also touched by ZeroMQ's.
 */
#ifndef ROTA_BROKER_WIRE_H
#define ROTA_BROKER_WIRE_H

#include "broker/culprits.h"
#include "bus/error.h"

#include <zmq.h>

typedef struct {
    void *socket;
    uint8_t index;
    Rota__Role role;    /* of those who come by it; see rota_router_role_fits */
    int turn;           /* messages read in one turn of the loop */
    bool keyed;         /* a key is needed, and says the role */
    char endpoint[256]; /* as bound */
} rota_wire_t;

/* What makes an endpoint one with keys. */
typedef struct {
    const char *domain;        /* what who asks for admission asks for (zap.h) */
    const uint8_t *secret_key; /* the broker's; ROTA_KEY_BYTES */
    uint64_t threads;          /* which of ZeroMQ's do its work, a mask */
    int patience_ms;           /* how long an address that is in use is waited for */
} rota_wire_lock_t;

/* Opens and binds; an ipc socket is made accessible to its owner alone. `lock` is NULL on endpoints without
 * keys; with it, `role` is that of nobody. */
int rota_wire_open (rota_wire_t *self, void *context, const char *endpoint, Rota__Role role, uint8_t index,
                    const rota_wire_lock_t *lock, rota_error_t *error);
/* The same for the two sockets of events (`type` is ZMQ_XPUB or ZMQ_XSUB). */
int rota_wire_open_events (void *context, int type, const char *endpoint, const rota_wire_lock_t *lock,
                           void **ret_socket, rota_error_t *error);
/* One more address for a socket that is open. 0 or a negative errno. */
int rota_wire_bind (void *socket, const char *endpoint, int patience_ms);
void rota_wire_close (rota_wire_t *self);
/* Ends its monitor first, if it has one: ZeroMQ's thread waits for ever for the reader of one that is closed,
 * and the socket with it. NULL is no socket. */
void rota_wire_close_socket (void **socket);

/* ---- in */

typedef struct {
    rota_route_key_t route;
    zmq_msg_t envelope, body;
} rota_wire_message_t;

typedef enum {
    ROTA_WIRE_EMPTY,   /* nothing there */
    ROTA_WIRE_MESSAGE, /* *ret_message is the caller's; give it to rota_wire_message_close */
    ROTA_WIRE_FRAMES,  /* not two frames: dropped; only ret_message->route is set */
    ROTA_WIRE_FOREIGN, /* the peer chose its own routing id: dropped, and can't be answered */
    ROTA_WIRE_MUTED    /* dropped unseen */
} rota_wire_result_t;

rota_wire_result_t rota_wire_receive (rota_wire_t *self, const rota_culprits_t *culprits, int64_t now_ms,
                                      rota_wire_message_t *ret_message);
void rota_wire_message_close (rota_wire_message_t *message);

/* The sender's process as the kernel knows it, 0 where it doesn't. */
uint32_t rota_wire_pid (zmq_msg_t *frame);

/* The key that the sender of a message came with, as digits; NULL where endpoints have none. */
const char *rota_wire_key (zmq_msg_t *frame);

/* Reads and drops what is left of a message whose last frame was `frame`. Returns the number of frames. */
size_t rota_wire_drain (void *socket, zmq_msg_t *frame);

/* ---- out */

typedef struct rota_outbox rota_outbox_t;
rota_outbox_t *rota_outbox_new (int64_t limit_bytes); /* NULL when memory ran out */
void rota_outbox_release (rota_outbox_t **self_p);    /* it lives on until ZeroMQ has let go of all */
int64_t rota_outbox_bytes (const rota_outbox_t *self);
/* Makes `body` a message that is counted, if it is large. 0; -EAGAIN over the limit; -ENOMEM. On failure
 * `body` is as before. */
int rota_outbox_count (rota_outbox_t *self, zmq_msg_t *body);

/* Sends to a connection. Takes `body` in any case. 0; -EAGAIN when the peer doesn't read (never waits);
 * -EHOSTUNREACH when the connection is gone; -ENOMEM. `outbox` may be NULL for small bodies. */
int rota_wire_send (rota_wire_t *self, rota_route_key_t route, const uint8_t *envelope, size_t envelope_bytes,
                    zmq_msg_t *body, rota_outbox_t *outbox);

#endif
