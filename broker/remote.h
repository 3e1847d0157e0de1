/* remote.h - the broker's endpoints for other hosts: tcp with keys, who may come by them, and who no longer.
 *
 * Each configured endpoint is three sockets: requests at its port, events to subscribers at the next one, the
 * scheduler's publishing at the one after that. Admission (zap.h) asks the table of grants (keys.h); so does
 * each message, with the key that its connection was let in with. When something is taken back from a key
 * that may have connections, its peers are told, and all these sockets are closed and opened again, which is
 * the only way to end one connection of many; everybody else comes back by itself, as after a broker's
 * restart.
 *
 * These sockets have a thread of ZeroMQ's of their own: what strangers make it do (handshakes, connections
 * beyond the limit of descriptors) is no delay for the sockets of the state directory.
 *
 * Owner: the broker's thread.
 */
#ifndef ROTA_BROKER_REMOTE_H
#define ROTA_BROKER_REMOTE_H

#include "broker/wire.h"
#include "bus/error.h"
#include "proto/envelope.h"

#include <zmq.h>

typedef struct rota_broker rota_broker_t;
typedef struct rota_remote rota_remote_t;

/* Reads key and grants in `keys_dir` (a key is made where there is none), opens admission, and two threads
 * for the context's sockets, of which none may be there yet. */
int remote_new (const char *keys_dir, void *context, rota_remote_t **ret_remote, rota_error_t *error);
/* After the wires have been closed. */
void remote_destroy (rota_remote_t **self_p);

/* One more endpoint, as the broker's wire `wire`. */
int remote_open (rota_broker_t *broker, const char *endpoint, uint8_t index, rota_wire_t *wire,
                 rota_error_t *error);

/* Admits, and follows what is granted. Before the messages of each turn; `thoroughly` at each tick. Negative
 * when the sockets can't be opened again. */
int remote_turn (rota_broker_t *broker, bool thoroughly);
#define REMOTE_POLL_ITEMS 4
size_t remote_poll_items (const rota_broker_t *broker, zmq_pollitem_t *items);

/* Whether a message that came by a wire with keys may be looked at; if not, it has been refused, and `sender`
 * (NULL = a stranger) is gone. */
bool remote_permits (rota_broker_t *broker, rota_wire_t *wire, rota_wire_message_t *message,
                     const rota_envelope_t *envelope, rota_member_t *sender);
/* The role that a HELLO by a wire with keys gets: `wants`, or without that the most that a person may whom
 * the key is. UNSPECIFIED: not with this key. */
Rota__Role remote_role (const rota_broker_t *broker, const char *key, Rota__Role wants);
/* Whether a key that may be an agent may be this one. */
bool remote_names_agent (const rota_broker_t *broker, const char *key, const char *name);
/* The name under which it is granted, or "". */
const char *remote_key_name (const rota_broker_t *broker, const char *key);

/* What WELCOME says to who came by a wire with keys; "*" is the host. */
const char *remote_events_endpoint (const rota_broker_t *broker, const rota_wire_t *wire);
const char *remote_publish_endpoint (const rota_broker_t *broker, const rota_wire_t *wire);

/* The sockets of events, NULL where there is no such endpoint. */
void *remote_xsub (const rota_broker_t *broker);
void *remote_xpub (const rota_broker_t *broker);
/* Whether a key may publish now. */
bool remote_may_publish (const rota_broker_t *broker, const char *key);

#endif
