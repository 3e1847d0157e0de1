/* peer.h - one connection of a service or client to the brokers: HELLO, heartbeats, requests, answers,
 * reconnection.
 *
 * A peer knows a list of brokers and talks to one of them at a time through a DEALER socket. After
 * (re)connecting it says HELLO and sends nothing else before WELCOME. No WELCOME in time, NOT_LEADER or
 * silence for dead_after_ms: the next endpoint is tried (a leader hint first), with a short jittered pause.
 * Requests stay in a bounded table until they are answered or their deadline has passed; after each WELCOME,
 * on HELLO_REQUIRED, and every resend_ms they are sent again under the same conversation and sequence number,
 * so a durable one has its effect once. RETRY_LATER is honoured by waiting retry_after_ms, within the
 * deadline.
 *
 * Owner: one thread, the one that runs the zloop. Nothing here blocks. All callbacks come from that loop, and
 * may call the peer again, but not destroy it. Invariant: each request's callback is called exactly once
 * (destroy calls those left with -ECANCELED).
 */
#ifndef ROTA_PEER_H
#define ROTA_PEER_H

#include "bus/curve.h"
#include "bus/error.h"
#include "proto/envelope.h"

#include <czmq.h>

typedef struct rota_peer rota_peer_t;

typedef enum {
    ROTA_PEER_CONNECTING, /* no broker answers yet, `why` says which endpoint is tried */
    ROTA_PEER_READY,      /* WELCOME received (also again, after a broker's restart or a failover) */
} rota_peer_state_t;

typedef struct {
    const char *endpoints; /* comma-separated zmq endpoints; copied */
    Rota__Role role;
    const char *name;   /* for people; copied */
    rota_curve_t curve; /* for tcp; copied */
    void *owner;
    /* Every message that is no answer to an own request: ASSIGN, STOP, PRESENCE, requests to a scheduler...
     * `body` is borrowed for the call. NULL = dropped. */
    void (*on_message) (void *owner, const rota_envelope_t *envelope, const uint8_t *body, size_t size_bytes);
    /* After the messages of one wake-up have been given to on_message; NULL = not wanted. */
    void (*on_drained) (void *owner);
    /* NULL = not wanted. With READY, `welcome` is what the broker said. */
    void (*on_state) (void *owner, rota_peer_state_t state, const Rota__Welcome *welcome, const char *why);
    /* NULL = not wanted. The broker's scheduler is another one (16 bytes) or none (NULL) from now on. */
    void (*on_scheduler) (void *owner, const uint8_t *instance);
    uint64_t scheduler_epoch; /* of a scheduler: goes with HELLO and heartbeats; 0 = none */
    size_t max_outstanding;   /* requests; 0 = 4096 */
    int connect_patience_ms;  /* for one endpoint before the next is tried; 0 = 1000 */
    int resend_ms;            /* 0 = 3000 */
} rota_peer_config_t;

/* A reply: `type` is ROTA_MESSAGE_ERROR for refusals. On a failure without reply, `envelope` is NULL and
 * status is -ETIMEDOUT (deadline), -ECANCELED (destroyed) or -ENOBUFS. Borrowed for the call. */
typedef struct {
    int status; /* 0: there is a reply */
    const rota_envelope_t *envelope;
    const uint8_t *body;
    size_t size_bytes;
    /* With a failure: what was waited for, in words, and the code it was put off with (UNAVAILABLE,
     * RETRY_LATER, NOT_LEADER), 0 = none. */
    const char *why;
    Rota__ErrorCode put_off;
} rota_reply_t;
typedef void (*rota_reply_fn) (void *owner, void *context, const rota_reply_t *reply);

/* NULL with the reason in *error: a malformed endpoint, tcp without keys, no memory. Does not wait for a
 * broker. */
rota_peer_t *rota_peer_new (const rota_peer_config_t *config, zloop_t *loop, rota_error_t *error);
/* Sends GOODBYE, waits at most 200 ms for queues to empty. */
void rota_peer_destroy (rota_peer_t **self_p);

const uint8_t *rota_peer_instance (const rota_peer_t *self); /* 16 bytes */
bool rota_peer_is_ready (const rota_peer_t *self);
const char *rota_peer_endpoint (const rota_peer_t *self); /* the one in use or tried now */
const char *rota_peer_why (const rota_peer_t *self);      /* why it isn't ready; "" when it is */
/* Whether it isn't ready because a broker doesn't take its key, or isn't the one whose key is known: waiting
 * doesn't help. */
bool rota_peer_is_turned_away (const rota_peer_t *self);
/* For further sockets to the same broker. */
const rota_curve_t *rota_peer_curve (const rota_peer_t *self);
/* 16 bytes, or NULL while the broker knows of none. */
const uint8_t *rota_peer_scheduler (const rota_peer_t *self);

/* One-way. The envelope's version, sender and role are filled in. 0; -EAGAIN when not ready or the socket's
 * queue is full (nothing is kept: the caller's own retry rule applies); -EMSGSIZE. `message` is packed by its
 * type. */
int rota_peer_send (rota_peer_t *self, const rota_envelope_t *envelope, const ProtobufCMessage *message);
int rota_peer_send_packed (rota_peer_t *self, const rota_envelope_t *envelope, const uint8_t *body,
                           size_t size_bytes);

/* A request of `type`; `to` (16 bytes) or NULL. `timeout_ms` < 0 = keep trying for ever. 0, and `on_reply`
 * will be called once, never from within this call; -ENOBUFS when max_outstanding requests wait; -EMSGSIZE;
 * -ENOMEM. Sequence numbers rise by one. Several that wait at once may overtake each other when they are sent
 * again: where order matters, ask for the next when the last is answered. */
int rota_peer_request (rota_peer_t *self, uint32_t type, const uint8_t *to, const ProtobufCMessage *message,
                       int timeout_ms, rota_reply_fn on_reply, void *context);

size_t rota_peer_outstanding (const rota_peer_t *self);

#endif
