#include "scripted_broker.h"
#include "bus/start.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define WATCHDOG_MS 20000
#define TURNS 100000

void scripted_broker_send (scripted_broker_t *self, const rota_envelope_t *envelope, const void *body,
                           size_t size_bytes)
{
    uint8_t bytes[ROTA_ENVELOPE_MAX_BYTES];
    rota_envelope_t copy = *envelope;
    copy.version = ROTA_PROTOCOL_VERSION;
    if (copy.role == ROTA__ROLE__ROLE_UNSPECIFIED)
        copy.role = ROTA__ROLE__ROLE_BROKER;
    size_t envelope_bytes = rota_envelope_encode (&copy, bytes);
    scripted_broker_send_frames (self, 2, bytes, envelope_bytes, body, size_bytes);
}

void scripted_broker_send_frames (scripted_broker_t *self, size_t count, ...)
{
    void *raw = zsock_resolve (self->router);
    va_list args;
    va_start (args, count);
    zmq_send (raw, zmq_msg_data (&self->route), zmq_msg_size (&self->route), count ? ZMQ_SNDMORE : 0);
    for (size_t i = 0; i < count; i++) {
        const void *data = va_arg (args, const void *);
        size_t size_bytes = va_arg (args, size_t);
        zmq_send (raw, data, size_bytes, i + 1 < count ? ZMQ_SNDMORE : 0);
    }
    va_end (args);
}

void scripted_broker_answer (scripted_broker_t *self, const rota_envelope_t *request, uint32_t type,
                             const ProtobufCMessage *message)
{
    rota_envelope_t answer;
    uint8_t *body;
    size_t size_bytes;
    rota_envelope_answer (request, type, &answer);
    if (rota_body_encode (type, message, &body, &size_bytes) < 0)
        abort ();
    if (rota_catalogue_find (type)->senders & 1u << ROTA__ROLE__ROLE_SCHEDULER && type != ROTA_MESSAGE_ERROR)
        answer.role = ROTA__ROLE__ROLE_SCHEDULER;
    scripted_broker_send (self, &answer, body, size_bytes);
    free (body);
}

void scripted_broker_refuse (scripted_broker_t *self, const rota_envelope_t *request, Rota__ErrorCode code,
                             uint32_t retry_after_ms, const char *leader, const char *text)
{
    Rota__Error refusal = ROTA__ERROR__INIT;
    refusal.has_code = true;
    refusal.code = code;
    refusal.has_retry_after_ms = retry_after_ms > 0;
    refusal.retry_after_ms = retry_after_ms;
    refusal.has_leader = leader != NULL;
    if (leader)
        refusal.leader = rota_bytes (leader);
    refusal.has_text = text != NULL;
    if (text)
        refusal.text = rota_bytes (text);
    scripted_broker_answer (self, request, ROTA_MESSAGE_ERROR, &refusal.base);
}

static void on_hello (scripted_broker_t *self, const rota_envelope_t *envelope, const uint8_t *body,
                      size_t size_bytes)
{
    ProtobufCMessage *message;
    self->hellos++;
    self->hello = *envelope;
    rota_arena_reset (self->arena);
    if (rota_body_decode (ROTA_MESSAGE_HELLO, body, size_bytes, self->arena, &message) == 0) {
        const Rota__Hello *hello = (const Rota__Hello *)message;
        self->wanted = hello->wants;
        if (hello->instance.len == sizeof self->instance)
            memcpy (self->instance, hello->instance.data, sizeof self->instance);
    } else
        self->malformed++;
    if (self->refuses) {
        scripted_broker_answer (self, envelope, ROTA_MESSAGE_ERROR, &self->refusal.base);
        return;
    }
    Rota__Welcome welcome = ROTA__WELCOME__INIT;
    welcome.has_heartbeat_ms = welcome.has_dead_after_ms = true;
    welcome.heartbeat_ms = self->heartbeat_ms;
    welcome.dead_after_ms = self->dead_after_ms;
    welcome.has_leader_cluster = self->leader_cluster != 0;
    welcome.leader_cluster = self->leader_cluster;
    welcome.has_leader_epoch = self->leader_epoch != 0;
    welcome.leader_epoch = self->leader_epoch;
    welcome.has_events_endpoint = self->events_endpoint != NULL;
    if (self->events_endpoint)
        welcome.events_endpoint = rota_bytes (self->events_endpoint);
    welcome.has_scheduler = self->has_scheduler;
    welcome.scheduler = rota_bytes_n (self->scheduler, sizeof self->scheduler);
    scripted_broker_answer (self, envelope, ROTA_MESSAGE_WELCOME, &welcome.base);
}

static void on_heartbeat (scripted_broker_t *self, const rota_envelope_t *envelope)
{
    Rota__Heartbeat heartbeat = ROTA__HEARTBEAT__INIT;
    self->heartbeats++;
    heartbeat.has_scheduler = self->has_scheduler;
    heartbeat.scheduler = rota_bytes_n (self->scheduler, sizeof self->scheduler);
    scripted_broker_answer (self, envelope, ROTA_MESSAGE_HEARTBEAT, &heartbeat.base);
}

static void dispatch (scripted_broker_t *self, zmq_msg_t *head, zmq_msg_t *body)
{
    rota_envelope_t envelope;
    const uint8_t *data = zmq_msg_data (body);
    size_t size_bytes = zmq_msg_size (body);

    if (rota_envelope_decode (zmq_msg_data (head), zmq_msg_size (head), &envelope) < 0) {
        self->malformed++;
        return;
    }
    if (self->silent)
        return;
    if (envelope.type == ROTA_MESSAGE_HELLO)
        on_hello (self, &envelope, data, size_bytes);
    else if (envelope.type == ROTA_MESSAGE_HEARTBEAT)
        on_heartbeat (self, &envelope);
    else if (envelope.type == ROTA_MESSAGE_GOODBYE)
        self->goodbyes++;
    else {
        self->requests++;
        self->last = envelope;
        if (self->on_request)
            self->on_request (self->owner, self, &envelope, data, size_bytes);
    }
}

static int on_readable (zloop_t *loop, zsock_t *socket, void *argument)
{
    (void)loop;
    scripted_broker_t *self = argument;
    void *raw = zsock_resolve (socket);
    for (int i = 0; i < TURNS && self->router; i++) {
        zmq_msg_t route, head, body;
        zmq_msg_init (&route);
        zmq_msg_init (&head);
        zmq_msg_init (&body);
        bool got = zmq_msg_recv (&route, raw, ZMQ_DONTWAIT) >= 0;
        if (got && zmq_msg_recv (&head, raw, 0) >= 0 && zmq_msg_more (&head) &&
            zmq_msg_recv (&body, raw, 0) >= 0 && !zmq_msg_more (&body)) {
            zmq_msg_copy (&self->route, &route);
            dispatch (self, &head, &body);
        } else if (got)
            self->malformed++;
        zmq_msg_close (&body);
        zmq_msg_close (&head);
        zmq_msg_close (&route);
        if (!got)
            break;
    }
    return 0;
}

void scripted_broker_open (scripted_broker_t *self, zloop_t *loop, const char *endpoint)
{
    rota_bus_start ();
    self->loop = loop;
    snprintf (self->endpoint, sizeof self->endpoint, "%s", endpoint);
    if (!self->heartbeat_ms)
        self->heartbeat_ms = 1000;
    if (!self->dead_after_ms)
        self->dead_after_ms = 5000;
    rota__error__init (&self->refusal);
    self->router = zsock_new (ZMQ_ROUTER);
    self->arena = rota_arena_new (65536);
    if (!self->router || !self->arena)
        abort ();
    zmq_msg_init (&self->route);
    zsock_set_linger (self->router, 0);
    zsock_set_sndhwm (self->router, 100000);
    zsock_set_rcvhwm (self->router, 100000);
    if (zmq_bind (zsock_resolve (self->router), endpoint) < 0 ||
        zloop_reader (loop, self->router, on_readable, self) != 0)
        abort ();
    zloop_reader_set_tolerant (loop, self->router);
    size_t size_bytes = sizeof self->endpoint;
    zmq_getsockopt (zsock_resolve (self->router), ZMQ_LAST_ENDPOINT, self->endpoint, &size_bytes);
}

void scripted_broker_close (scripted_broker_t *self)
{
    if (!self->router)
        return;
    zloop_reader_end (self->loop, self->router);
    zsock_destroy (&self->router);
    zmq_msg_close (&self->route);
    rota_arena_destroy (&self->arena);
}

typedef struct {
    const int *value;
    int wanted;
    int64_t end_ms;
} condition_t;

static int look (zloop_t *loop, int timer_id, void *argument)
{
    (void)loop;
    (void)timer_id;
    const condition_t *condition = argument;
    bool met = condition->value && *condition->value >= condition->wanted;
    return met || zclock_mono () >= condition->end_ms ? -1 : 0;
}

/* A timer belongs to one run of the loop: zloop_start begins all delays anew. */
static void run (zloop_t *loop, condition_t *condition)
{
    int timer_id = zloop_timer (loop, 1, 0, look, condition);
    assert (timer_id >= 0);
    zloop_start (loop);
    zloop_timer_end (loop, timer_id);
}

bool loop_until (zloop_t *loop, const int *value, int wanted)
{
    condition_t condition = {.value = value, .wanted = wanted, .end_ms = zclock_mono () + WATCHDOG_MS};
    if (*value < wanted)
        run (loop, &condition);
    return *value >= wanted;
}

void loop_for (zloop_t *loop, int duration_ms)
{
    condition_t condition = {.end_ms = zclock_mono () + duration_ms};
    run (loop, &condition);
}
