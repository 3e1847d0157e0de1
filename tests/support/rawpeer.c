#include "tests/support/rawpeer.h"
#include "bus/clock.h"
#include "bus/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 10000
#define ARENA_BYTES (64U << 20)

static void need (bool ok, const char *what)
{
    if (ok)
        return;
    fprintf (stderr, "rawpeer: %s: %s\n", what, zmq_strerror (zmq_errno ()));
    abort ();
}

void rawpeer_open (rawpeer_t *self, void *context, const char *endpoint)
{
    rawpeer_open_with (self, context, endpoint, &(rota_curve_t){.insecure = true});
}

void rawpeer_open_with (rawpeer_t *self, void *context, const char *endpoint, const rota_curve_t *curve)
{
    int linger_ms = 0, unlimited = 0;
    *self = (rawpeer_t){.socket = zmq_socket (context, ZMQ_DEALER), .arena = rota_arena_new (ARENA_BYTES)};
    need (self->socket && self->arena, "zmq_socket");
    zmq_setsockopt (self->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt (self->socket, ZMQ_SNDHWM, &unlimited, sizeof unlimited);
    rota_instance_new (self->instance);
    zmq_msg_init (&self->body);
    rota_error_t error = {""};
    rota_curve_use (curve, self->socket, endpoint, &error);
    need (!error.text[0], error.text);
    need (zmq_connect (self->socket, endpoint) == 0, endpoint);
}

void rawpeer_close (rawpeer_t *self)
{
    if (!self->socket)
        return;
    zmq_msg_close (&self->body);
    zmq_close (self->socket);
    rota_arena_destroy (&self->arena);
    self->socket = NULL;
}

void rawpeer_send_frames (rawpeer_t *self, const void *envelope, size_t envelope_bytes, const void *body,
                          size_t body_bytes)
{
    need (zmq_send (self->socket, envelope, envelope_bytes, ZMQ_SNDMORE) >= 0, "zmq_send");
    need (zmq_send (self->socket, body, body_bytes, 0) >= 0, "zmq_send");
}

uint64_t rawpeer_send_bytes (rawpeer_t *self, uint32_t type, const uint8_t *to, const void *body,
                             size_t body_bytes)
{
    uint8_t bytes[ROTA_ENVELOPE_MAX_BYTES];
    rota_envelope_t envelope = {.version = ROTA_PROTOCOL_VERSION,
                                .type = type,
                                .has_conversation = true,
                                .sequence = ++self->sequence,
                                .has_to = to != NULL};
    memcpy (envelope.conversation, self->instance, sizeof self->instance);
    if (to)
        memcpy (envelope.to, to, sizeof envelope.to);
    rawpeer_send_frames (self, bytes, rota_envelope_encode (&envelope, bytes), body, body_bytes);
    return self->sequence;
}

uint64_t rawpeer_send (rawpeer_t *self, uint32_t type, const uint8_t *to, const ProtobufCMessage *message)
{
    uint8_t *bytes;
    size_t size;
    need (rota_body_encode (type, message, &bytes, &size) == 0, "rota_body_encode");
    uint64_t sequence = rawpeer_send_bytes (self, type, to, bytes, size);
    free (bytes);
    return sequence;
}

void rawpeer_answer (rawpeer_t *self, uint32_t type, const ProtobufCMessage *message)
{
    uint8_t envelope_bytes[ROTA_ENVELOPE_MAX_BYTES], *bytes;
    size_t size;
    rota_envelope_t answer;
    rota_envelope_answer (&self->envelope, type, &answer);
    need (rota_body_encode (type, message, &bytes, &size) == 0, "rota_body_encode");
    rawpeer_send_frames (self, envelope_bytes, rota_envelope_encode (&answer, envelope_bytes), bytes, size);
    free (bytes);
}

bool rawpeer_receive (rawpeer_t *self, int timeout_ms)
{
    zmq_pollitem_t item = {.socket = self->socket, .events = ZMQ_POLLIN};
    zmq_msg_t frame;
    if (zmq_poll (&item, 1, timeout_ms) != 1)
        return false;
    zmq_msg_init (&frame);
    need (zmq_msg_recv (&frame, self->socket, 0) >= 0, "zmq_msg_recv");
    need (zmq_msg_more (&frame), "an answer of one frame");
    need (rota_envelope_decode (zmq_msg_data (&frame), zmq_msg_size (&frame), &self->envelope) == 0,
          "an envelope of the broker's");
    zmq_msg_close (&frame);
    need (zmq_msg_recv (&self->body, self->socket, 0) >= 0, "zmq_msg_recv");
    need (!zmq_msg_more (&self->body), "an answer of three frames");
    rota_arena_reset (self->arena);
    ProtobufCMessage *message;
    int result = rota_body_decode (self->envelope.type, zmq_msg_data (&self->body),
                                   zmq_msg_size (&self->body), self->arena, &message);
    self->message = result == 0 ? message : NULL;
    return true;
}

const void *rawpeer_expect (rawpeer_t *self, uint32_t type, int timeout_ms)
{
    int64_t end_ms = rota_clock_monotonic_ms () + timeout_ms;
    do {
        int64_t left_ms = end_ms - rota_clock_monotonic_ms ();
        if (!rawpeer_receive (self, left_ms > 0 ? (int)left_ms : 0))
            return NULL;
    } while (self->envelope.type != type);
    return self->message;
}

uint64_t rawpeer_send_hello (rawpeer_t *self, Rota__Role wants, const char *name)
{
    Rota__Hello hello = ROTA__HELLO__INIT;
    hello.has_instance = true;
    hello.instance = rota_bytes_n (self->instance, sizeof self->instance);
    hello.has_wants = wants != ROTA__ROLE__ROLE_UNSPECIFIED;
    hello.wants = wants;
    hello.has_name = true;
    hello.name = rota_bytes (name);
    hello.has_pid = true;
    hello.pid = (uint32_t)getpid ();
    return rawpeer_send (self, ROTA_MESSAGE_HELLO, NULL, &hello.base);
}

const Rota__Welcome *rawpeer_hello (rawpeer_t *self, Rota__Role wants, const char *name)
{
    uint64_t sequence = rawpeer_send_hello (self, wants, name);
    do {
        if (!rawpeer_receive (self, PATIENCE_MS))
            return NULL;
    } while (self->envelope.sequence != sequence);
    return self->envelope.type == ROTA_MESSAGE_WELCOME ? (const Rota__Welcome *)self->message : NULL;
}

Rota__ErrorCode rawpeer_refusal (const rawpeer_t *self)
{
    if (self->envelope.type != ROTA_MESSAGE_ERROR || !self->message)
        return ROTA__ERROR_CODE__ERROR_CODE_UNSPECIFIED;
    return ((const Rota__Error *)self->message)->code;
}
