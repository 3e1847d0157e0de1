/* client.h - a blocking client for programs of a few lines: the command line, tests, tools.
 *
 *     rota_client_t *client = rota_client_new ("ipc:///path/client.sock", "my tool", &error);
 *     Rota__StatusReply *status = NULL;
 *     if (rota_client_call (client, ROTA_MESSAGE_STATUS_QUERY, &query.base, 5000,
 *                           ROTA_MESSAGE_STATUS_REPLY, (void *)&status, &error) == 0) ...
 *
 * Built on peer.h with a loop of its own; not thread-safe.
 */
#ifndef ROTA_CLIENT_H
#define ROTA_CLIENT_H

#include "bus/peer.h"

typedef struct rota_client rota_client_t;

rota_client_t *rota_client_new (const char *endpoints, const char *name, rota_error_t *error);
/* The same with keys for tcp; it may then do what its key may. */
rota_client_t *rota_client_new_with (const char *endpoints, const char *name, const rota_curve_t *curve,
                                     rota_error_t *error);
void rota_client_destroy (rota_client_t **self_p);

/* Waits for a broker and a scheduler's presence. 0; -EHOSTUNREACH, the text says which of the two is missing
 * and where it was looked for; -EINTR on a signal (see rota_client_interrupt). */
int rota_client_wait_ready (rota_client_t *self, int timeout_ms, rota_error_t *error);

/* Request and answer. *ret_reply is valid until the next call or destroy. 0; -EHOSTUNREACH (no broker or
 * scheduler in time), -ETIMEDOUT, -EINTR, or for a refusal by the other side: -EPROTO with *ret_code of
 * rota_client_last_code and its text in `error`. */
int rota_client_call (rota_client_t *self, uint32_t type, const ProtobufCMessage *request, int timeout_ms,
                      uint32_t reply_type, ProtobufCMessage **ret_reply, rota_error_t *error);
/* The same to one agent host. */
int rota_client_call_to (rota_client_t *self, const uint8_t *to, uint32_t type,
                         const ProtobufCMessage *request, int timeout_ms, uint32_t reply_type,
                         ProtobufCMessage **ret_reply, rota_error_t *error);
Rota__ErrorCode rota_client_last_code (const rota_client_t *self);
/* The last refusal whole (with faults), valid until the next call, or NULL. */
const Rota__Error *rota_client_last_refusal (const rota_client_t *self);

/* Subscribes (see subscriber.h); events come during rota_client_run and during calls. `after` = SEQ_NOW or a
 * number. */
#define ROTA_CLIENT_NOW UINT64_MAX
int rota_client_subscribe (rota_client_t *self, uint64_t after,
                           void (*on_event) (void *owner, const Rota__Event *event), void *owner,
                           rota_error_t *error);

/* Runs the loop for at most `timeout_ms` or until rota_client_wake. 0; -EINTR. */
int rota_client_run (rota_client_t *self, int timeout_ms);
void rota_client_wake (rota_client_t *self); /* from a callback of the same thread */

/* Makes a waiting call of any client in this process return -EINTR; async-signal-safe. */
void rota_client_interrupt (void);
void rota_client_interrupt_clear (void);

/* For those who need the parts. */
rota_peer_t *rota_client_peer (rota_client_t *self);
zloop_t *rota_client_loop (rota_client_t *self);

#endif
