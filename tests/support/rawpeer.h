/* rawpeer.h - a peer of the broker that does exactly what a test tells it, also what no honest peer would.
 *
 * A bare DEALER socket: no heartbeats, no repetition, no checks of what is sent. Failures of the test's own
 * doing end the process (they are no results). Owner: one thread.
 */
#ifndef ROTA_TESTS_RAWPEER_H
#define ROTA_TESTS_RAWPEER_H

#include "bus/curve.h"
#include "proto/envelope.h"

#include <zmq.h>

typedef struct {
    void *socket;
    uint8_t instance[16];
    uint64_t sequence;
    rota_arena_t *arena;
    /* The last message received; valid until the next. */
    rota_envelope_t envelope;
    zmq_msg_t body;
    const ProtobufCMessage *message; /* NULL when the body can't be decoded */
} rawpeer_t;

/* Connects; the instance is random. */
void rawpeer_open (rawpeer_t *self, void *context, const char *endpoint);
/* The same with keys. */
void rawpeer_open_with (rawpeer_t *self, void *context, const char *endpoint, const rota_curve_t *curve);
void rawpeer_close (rawpeer_t *self);

void rawpeer_send_frames (rawpeer_t *self, const void *envelope, size_t envelope_bytes, const void *body,
                          size_t body_bytes);
/* An envelope of `type` with a new sequence number in the conversation that is the instance; `to` may be
 * NULL. Returns the sequence number. */
uint64_t rawpeer_send (rawpeer_t *self, uint32_t type, const uint8_t *to, const ProtobufCMessage *message);
uint64_t rawpeer_send_bytes (rawpeer_t *self, uint32_t type, const uint8_t *to, const void *body,
                             size_t body_bytes);
/* Answers the message received last. */
void rawpeer_answer (rawpeer_t *self, uint32_t type, const ProtobufCMessage *message);

/* The next message, as envelope, body and message. False when none came in `timeout_ms`. */
bool rawpeer_receive (rawpeer_t *self, int timeout_ms);
/* Skips others until one of `type` comes. NULL when none came in `timeout_ms`. */
const void *rawpeer_expect (rawpeer_t *self, uint32_t type, int timeout_ms);

/* Sends HELLO and doesn't wait. Returns the sequence number. */
uint64_t rawpeer_send_hello (rawpeer_t *self, Rota__Role wants, const char *name);
/* Says HELLO with `wants` (UNSPECIFIED = absent) and returns the answer: WELCOME, or NULL, and then
 * rawpeer_refusal tells. */
const Rota__Welcome *rawpeer_hello (rawpeer_t *self, Rota__Role wants, const char *name);
/* The code of the last message received if it is an ERROR, else 0. */
Rota__ErrorCode rawpeer_refusal (const rawpeer_t *self);

#endif
