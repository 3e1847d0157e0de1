/* peer_requests.c - what a peer does with each message that comes, and its requests until they are answered.
 */
#include "bus/clock.h"
#include "bus/names.h"
#include "bus/peer_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FULL_PAUSE_MS 10  /* until the socket's queue may have room again */
#define UNAVAILABLE_MS 50 /* between attempts while the addressee is away */
#define ABSENT_PATIENCE_MS                                                                                   \
    2000                  /* with an addressee by instance: it may be reconnecting, or gone for good         \
                           */
#define RETRY_LATER_MS 50 /* where the broker names no time */
#define RETRY_LATER_MAX_MS 60000
/* Schedulers end a conversation that was idle for a day; one that was idle for long is not gone on with. */
#define CONVERSATION_IDLE_MS (60 * 60 * 1000)
#define HELLO_REQUIRED_MS 100 /* for the case that no WELCOME comes to have it sent again */

/* ---- sending */

static void send_request (rota_peer_t *self, rota_request_t *request, int64_t now_ms)
{
    rota_envelope_t envelope = {
        .type = request->type,
        .has_conversation = true,
        .sequence = request->sequence,
        .answered = rota_requests_answered (self->requests),
        .has_to = request->has_to,
    };
    memcpy (envelope.conversation, self->conversation, sizeof envelope.conversation);
    memcpy (envelope.to, request->to, sizeof envelope.to);
    if (request->deadline_ms != INT64_MAX) {
        int64_t left_ms = request->deadline_ms - now_ms;
        envelope.deadline_ms = left_ms < 1 ? 1 : left_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)left_ms;
    }
    int status = rota_peer_send_raw (self, &envelope, request->body, request->size_bytes);
    request->held = false;
    request->put_off = ROTA__ERROR_CODE__ERROR_CODE_UNSPECIFIED;
    rota_requests_set_send (self->requests, request,
                            now_ms + (status < 0 ? FULL_PAUSE_MS : self->config.resend_ms));
}

static void look_at_conversation (rota_peer_t *self, int64_t now_ms)
{
    bool over = self->conversation_over || now_ms - self->asked_ms > CONVERSATION_IDLE_MS;
    if (over && rota_requests_count (self->requests) == 0) {
        rota_instance_new (self->conversation);
        rota_requests_restart (self->requests);
        self->conversation_over = false;
    }
    self->asked_ms = now_ms;
}

int rota_peer_add_request (rota_peer_t *self, uint32_t type, const uint8_t *to,
                           const ProtobufCMessage *message, int timeout_ms, rota_reply_fn on_reply,
                           void *context)
{
    uint8_t *body;
    size_t size_bytes;

    if (self->closing)
        return -ECANCELED;
    if (rota_requests_is_full (self->requests))
        return -ENOBUFS;
    int status = rota_body_encode (type, message, &body, &size_bytes);
    if (status < 0)
        return status;
    int64_t now_ms = rota_clock_monotonic_ms ();
    look_at_conversation (self, now_ms);
    rota_request_t *request = rota_requests_add (self->requests, body, size_bytes,
                                                 timeout_ms < 0 ? INT64_MAX : now_ms + timeout_ms);
    if (!request) {
        free (body);
        return -ENOMEM;
    }
    request->type = type;
    request->asked_ms = now_ms;
    request->on_reply = on_reply;
    request->context = context;
    request->has_to = to != NULL;
    if (to)
        memcpy (request->to, to, sizeof request->to);
    if (self->state == PEER_READY)
        send_request (self, request, now_ms);
    return 0;
}

void rota_peer_resend_all (rota_peer_t *self, int64_t now_ms)
{
    for (rota_request_t *request = rota_requests_oldest (self->requests); request; request = request->newer)
        if (!request->held || request->send_ms <= now_ms)
            send_request (self, request, now_ms);
}

/* ---- ending */

static void finish (rota_peer_t *self, rota_request_t *request, const rota_reply_t *reply)
{
    rota_requests_take (self->requests, request);
    if (request->on_reply)
        request->on_reply (self->config.owner, request->context, reply);
    rota_request_free (request);
}

static void say_why (const rota_peer_t *self, const rota_request_t *request, char *ret_why, size_t capacity)
{
    if (self->state != PEER_READY)
        snprintf (ret_why, capacity, "%s", self->why[0] ? self->why : "not connected to a broker yet");
    else if (request->put_off == ROTA__ERROR_CODE__ERROR_CODE_UNAVAILABLE)
        snprintf (ret_why, capacity, "the broker at %s answers, but %s is not connected to it",
                  self->endpoint, request->has_to ? "the addressee" : "a scheduler");
    else if (request->put_off == ROTA__ERROR_CODE__ERROR_CODE_RETRY_LATER)
        snprintf (ret_why, capacity, "the broker at %s answers, but had no room for the request",
                  self->endpoint);
    else
        snprintf (ret_why, capacity, "no answer to %s came through the broker at %s",
                  rota_message_name (request->type), self->endpoint);
}

static void fail (rota_peer_t *self, rota_request_t *request, int status)
{
    char why[ROTA_ERROR_MAX_BYTES];
    say_why (self, request, why, sizeof why);
    rota_reply_t reply = {.status = status, .why = why, .put_off = request->put_off};
    finish (self, request, &reply);
}

void rota_peer_look_at_requests (rota_peer_t *self, int64_t now_ms)
{
    rota_request_t *request;
    int64_t wake_ms;

    /* Bounded, since callbacks may ask for more. */
    for (size_t left = rota_requests_count (self->requests); left > 0; left--) {
        request = rota_requests_first_due (self->requests, &wake_ms);
        if (!request || wake_ms > now_ms)
            return;
        if (request->deadline_ms <= now_ms)
            fail (self, request, -ETIMEDOUT);
        else if (self->state == PEER_READY)
            send_request (self, request, now_ms);
        else {
            request->held = false; /* WELCOME has it sent */
            rota_requests_set_send (self->requests, request, INT64_MAX);
        }
    }
}

void rota_peer_cancel_all (rota_peer_t *self)
{
    rota_request_t *request;
    while ((request = rota_requests_oldest (self->requests)))
        fail (self, request, -ECANCELED);
}

/* ---- receiving */

static void put_off (rota_peer_t *self, rota_request_t *request, Rota__ErrorCode code, int64_t pause_ms,
                     bool held)
{
    request->put_off = code;
    request->held = held;
    rota_requests_set_send (self->requests, request, rota_clock_monotonic_ms () + pause_ms);
}

/* True when the refusal is no answer yet but a reason to ask again. */
static bool asks_again (rota_peer_t *self, rota_request_t *request, const Rota__Error *refusal)
{
    int64_t after_ms = refusal->has_retry_after_ms ? refusal->retry_after_ms : RETRY_LATER_MS;

    switch (refusal->has_code ? refusal->code : ROTA__ERROR_CODE__ERROR_CODE_UNSPECIFIED) {
    case ROTA__ERROR_CODE__ERROR_CODE_HELLO_REQUIRED:
        put_off (self, request, refusal->code, HELLO_REQUIRED_MS, false);
        rota_peer_on_hello_required (self);
        return true;
    case ROTA__ERROR_CODE__ERROR_CODE_NOT_LEADER:
        put_off (self, request, refusal->code, self->config.resend_ms, false);
        rota_peer_on_not_leader (self, refusal);
        return true;
    case ROTA__ERROR_CODE__ERROR_CODE_RETRY_LATER:
        if (after_ms > RETRY_LATER_MAX_MS)
            after_ms = RETRY_LATER_MAX_MS;
        put_off (self, request, refusal->code, after_ms + rota_peer_jitter (self, after_ms / 2 + 1), true);
        return true;
    case ROTA__ERROR_CODE__ERROR_CODE_UNAVAILABLE:
        if (request->has_to && rota_clock_monotonic_ms () - request->asked_ms >= ABSENT_PATIENCE_MS)
            return false;
        put_off (self, request, refusal->code, UNAVAILABLE_MS, true);
        return true;
    default:
        return false;
    }
}

static void on_answer (rota_peer_t *self, const rota_envelope_t *envelope, const uint8_t *body,
                       size_t size_bytes)
{
    rota_request_t *request = rota_requests_find (self->requests, envelope->sequence);
    if (!request)
        return; /* answered before, or given up */
    if (envelope->type == ROTA_MESSAGE_ERROR) {
        const Rota__Error *refusal =
            (const Rota__Error *)rota_peer_decode (self, ROTA_MESSAGE_ERROR, body, size_bytes);
        if (refusal && asks_again (self, request, refusal))
            return;
        if (refusal && refusal->code == ROTA__ERROR_CODE__ERROR_CODE_CONVERSATION_ENDED)
            self->conversation_over = true;
    }
    rota_reply_t reply = {
        .envelope = envelope, .body = body, .size_bytes = size_bytes, .why = "", .put_off = 0};
    finish (self, request, &reply);
}

/* An error about no request: about HELLO, a heartbeat or something one-way. True when it was the peer's own
 * business. */
static bool on_own_error (rota_peer_t *self, bool unasked, const uint8_t *body, size_t size_bytes)
{
    const Rota__Error *refusal =
        (const Rota__Error *)rota_peer_decode (self, ROTA_MESSAGE_ERROR, body, size_bytes);
    if (!refusal || !refusal->has_code)
        return true;
    if (refusal->code == ROTA__ERROR_CODE__ERROR_CODE_HELLO_REQUIRED)
        rota_peer_on_hello_required (self);
    else if (refusal->code == ROTA__ERROR_CODE__ERROR_CODE_NOT_LEADER)
        rota_peer_on_not_leader (self, refusal);
    else if (self->state == PEER_GREETING ||
             (unasked && refusal->code == ROTA__ERROR_CODE__ERROR_CODE_NOT_ALLOWED)) /* the key was revoked */
        rota_peer_on_refused (self, refusal);
    else
        return false;
    return true;
}

void rota_peer_dispatch (rota_peer_t *self, const uint8_t *envelope_data, size_t envelope_bytes,
                         const uint8_t *body, size_t size_bytes)
{
    rota_envelope_t envelope;
    if (rota_envelope_decode (envelope_data, envelope_bytes, &envelope) < 0)
        return;
    const rota_catalogue_entry_t *entry = rota_catalogue_find (envelope.type);
    if (entry && size_bytes > entry->max_bytes)
        return;
    bool own = envelope.has_conversation &&
               memcmp (envelope.conversation, self->conversation, sizeof self->conversation) == 0;

    if (envelope.type == ROTA_MESSAGE_WELCOME) {
        rota_peer_on_welcome (self, body, size_bytes);
        return;
    }
    if (envelope.type == ROTA_MESSAGE_HEARTBEAT) {
        rota_peer_on_heartbeat (self, body, size_bytes);
        return;
    }
    if (envelope.type == ROTA_MESSAGE_GOODBYE) {
        rota_peer_on_goodbye (self);
        return;
    }
    if (own && envelope.sequence > 0) {
        on_answer (self, &envelope, body, size_bytes);
        return;
    }
    /* The scheduler's errors are its owner's affair: it asks an agent that it doesn't know to register. */
    if (envelope.type == ROTA_MESSAGE_ERROR && (own || !envelope.has_conversation) &&
        envelope.role != ROTA__ROLE__ROLE_SCHEDULER &&
        on_own_error (self, !envelope.has_conversation, body, size_bytes))
        return;
    if (self->config.on_message) {
        self->delivered = true;
        self->config.on_message (self->config.owner, &envelope, body, size_bytes);
    }
}
