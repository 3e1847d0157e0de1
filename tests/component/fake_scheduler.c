#include "tests/component/fake_scheduler.h"

#include <stdlib.h>
#include <string.h>

#define TURN_MS 5
#define TURNS_A_HEAD 10
#define EVENTS_A_MESSAGE 500
#define REASON_MAX_BYTES 200000
#define FIRST_MS INT64_C (1795435200000) /* 2026-11-23 */

typedef struct {
    Rota__Event events[EVENTS_A_MESSAGE];
    Rota__Event *list[EVENTS_A_MESSAGE];
    char ids[EVENTS_A_MESSAGE][24];
    size_t count;
} some_t;

/* Events after `after`, as many as a message takes. */
static void fill (const fake_scheduler_t *self, uint64_t after, some_t *some)
{
    uint64_t seq = after + 1 < self->first ? self->first : after + 1;
    size_t bytes = 0;
    some->count = 0;
    for (; seq <= self->head && some->count < EVENTS_A_MESSAGE && bytes < 2000000; seq++) {
        size_t i = some->count++;
        Rota__Event *event = some->list[i] = &some->events[i];
        rota__event__init (event);
        snprintf (some->ids[i], sizeof some->ids[i], "t%llu", (unsigned long long)seq);
        event->has_seq = event->has_time_ms = event->has_type = event->has_task = true;
        event->seq = seq;
        event->time_ms = FIRST_MS + (int64_t)seq;
        event->type = ROTA__EVENT_TYPE__EVENT_TYPE_TASK_ADDED;
        event->task = rota_bytes (some->ids[i]);
        event->has_reason = self->reason_bytes > 0;
        event->reason = rota_bytes_n (self->reason, self->reason_bytes);
        bytes += self->reason_bytes;
    }
}

static void publish (fake_scheduler_t *self, uint32_t type, const ProtobufCMessage *message)
{
    uint8_t head[ROTA_ENVELOPE_MAX_BYTES], *body;
    size_t size;
    rota_envelope_t envelope = {.version = ROTA_PROTOCOL_VERSION, .type = type, .has_store = true};
    memcpy (envelope.store, self->store, 16);
    if (!self->publish || rota_body_encode (type, message, &body, &size) < 0)
        return;
    void *socket = zsock_resolve (self->publish);
    size_t head_size = rota_envelope_encode (&envelope, head);
    if (zmq_send (socket, "e", 1, ZMQ_SNDMORE | ZMQ_DONTWAIT) == 1 &&
        zmq_send (socket, head, head_size, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0)
        zmq_send (socket, body, size, ZMQ_DONTWAIT);
    free (body);
}

static void publish_new (fake_scheduler_t *self)
{
    some_t *some = calloc (1, sizeof *some);
    while (self->published < self->head) {
        fill (self, self->published, some);
        Rota__EventBatch batch = ROTA__EVENT_BATCH__INIT;
        batch.n_events = some->count;
        batch.events = some->list;
        if (!self->mute && some->count)
            publish (self, ROTA_MESSAGE_EVENT_BATCH, &batch.base);
        self->published = some->count ? some->list[some->count - 1]->seq : self->head;
    }
    free (some);
}

static int on_turn (zloop_t *loop, int timer, void *owner)
{
    (void)loop;
    (void)timer;
    fake_scheduler_t *self = owner;
    static int turns;
    pthread_mutex_lock (&self->lock);
    bool stop = self->stop;
    publish_new (self);
    Rota__EventHead head = ROTA__EVENT_HEAD__INIT;
    head.has_last = true;
    head.last = self->head;
    if (++turns % TURNS_A_HEAD == 0)
        publish (self, ROTA_MESSAGE_EVENT_HEAD, &head.base);
    pthread_mutex_unlock (&self->lock);
    return stop ? -1 : 0;
}

static void answer (fake_scheduler_t *self, const rota_envelope_t *request, uint32_t type,
                    const ProtobufCMessage *message)
{
    rota_envelope_t envelope;
    rota_envelope_answer (request, type, &envelope);
    envelope.has_store = true;
    memcpy (envelope.store, self->store, 16);
    rota_peer_send (self->peer, &envelope, message);
}

static void on_message (void *owner, const rota_envelope_t *envelope, const uint8_t *body, size_t size_bytes)
{
    fake_scheduler_t *self = owner;
    ProtobufCMessage *message;
    rota_arena_reset (self->arena);
    if (rota_body_decode (envelope->type, body, size_bytes, self->arena, &message) < 0)
        return;
    pthread_mutex_lock (&self->lock);
    if (envelope->type == ROTA_MESSAGE_STATUS_QUERY) {
        Rota__StatusReply reply = ROTA__STATUS_REPLY__INIT;
        reply.has_store = reply.has_last_event = reply.has_scheduler_epoch = true;
        reply.store = rota_bytes_n (self->store, 16);
        reply.last_event = self->head;
        reply.scheduler_epoch = 1;
        self->queries++;
        answer (self, envelope, ROTA_MESSAGE_STATUS_REPLY, &reply.base);
    } else if (envelope->type == ROTA_MESSAGE_EVENTS_QUERY) {
        some_t *some = calloc (1, sizeof *some);
        Rota__EventsReply reply = ROTA__EVENTS_REPLY__INIT;
        fill (self, ((Rota__EventsQuery *)message)->after, some);
        reply.n_events = some->count;
        reply.events = some->list;
        reply.has_last = reply.has_first = true;
        reply.last = self->head;
        reply.first = self->first;
        self->pulls++;
        answer (self, envelope, ROTA_MESSAGE_EVENTS_REPLY, &reply.base);
        free (some);
    } else if (envelope->type == ROTA_MESSAGE_SINK_CURSOR && envelope->has_store &&
               memcmp (envelope->store, self->store, 16) == 0) {
        self->cursor = ((Rota__SinkCursor *)message)->seq;
    }
    pthread_mutex_unlock (&self->lock);
}

static void on_state (void *owner, rota_peer_state_t state, const Rota__Welcome *welcome, const char *why)
{
    (void)why;
    fake_scheduler_t *self = owner;
    if (state != ROTA_PEER_READY)
        return;
    zsock_destroy (&self->publish);
    self->publish = zsock_new (ZMQ_PUB);
    zsock_set_linger (self->publish, 0);
    zsock_connect (self->publish, "%.*s", (int)welcome->publish_endpoint.len,
                   (const char *)welcome->publish_endpoint.data);
}

static void *serve (void *argument)
{
    fake_scheduler_t *self = argument;
    rota_error_t error = {{0}};
    const rota_peer_config_t config = {.endpoints = self->endpoints,
                                       .role = ROTA__ROLE__ROLE_SCHEDULER,
                                       .name = "fake",
                                       .owner = self,
                                       .on_message = on_message,
                                       .on_state = on_state};
    self->loop = zloop_new ();
    zloop_set_nonstop (self->loop, true);
    self->arena = rota_arena_new (1 << 20);
    self->peer = rota_peer_new (&config, self->loop, &error);
    if (!self->peer) {
        fprintf (stderr, "fake_scheduler: %s\n", error.text);
        abort ();
    }
    zloop_timer (self->loop, TURN_MS, 0, on_turn, self);
    zloop_start (self->loop);
    rota_peer_destroy (&self->peer);
    zsock_destroy (&self->publish);
    zloop_destroy (&self->loop);
    rota_arena_destroy (&self->arena);
    return NULL;
}

void fake_scheduler_open (fake_scheduler_t *self, const char *endpoints)
{
    *self = (fake_scheduler_t){.endpoints = endpoints, .first = 1, .store = "first store here"};
    self->reason = malloc (REASON_MAX_BYTES);
    memset (self->reason, 'r', REASON_MAX_BYTES);
    pthread_mutex_init (&self->lock, NULL);
    if (pthread_create (&self->thread, NULL, serve, self) != 0)
        abort ();
}

void fake_scheduler_close (fake_scheduler_t *self)
{
    pthread_mutex_lock (&self->lock);
    self->stop = true;
    pthread_mutex_unlock (&self->lock);
    pthread_join (self->thread, NULL);
    pthread_mutex_destroy (&self->lock);
    free (self->reason);
}

void fake_scheduler_add (fake_scheduler_t *self, uint64_t events)
{
    pthread_mutex_lock (&self->lock);
    self->head += events;
    pthread_mutex_unlock (&self->lock);
}

void fake_scheduler_cut (fake_scheduler_t *self, uint64_t first)
{
    pthread_mutex_lock (&self->lock);
    self->first = first;
    pthread_mutex_unlock (&self->lock);
}

void fake_scheduler_restore (fake_scheduler_t *self, uint64_t head)
{
    pthread_mutex_lock (&self->lock);
    memcpy (self->store, "second store now", 16);
    self->first = 1;
    self->head = self->published = head;
    self->cursor = 0;
    pthread_mutex_unlock (&self->lock);
}

void fake_scheduler_mute (fake_scheduler_t *self, bool mute)
{
    pthread_mutex_lock (&self->lock);
    self->mute = mute;
    pthread_mutex_unlock (&self->lock);
}

void fake_scheduler_reasons (fake_scheduler_t *self, size_t reason_bytes)
{
    pthread_mutex_lock (&self->lock);
    self->reason_bytes = reason_bytes < REASON_MAX_BYTES ? reason_bytes : REASON_MAX_BYTES;
    pthread_mutex_unlock (&self->lock);
}

uint64_t fake_scheduler_cursor (fake_scheduler_t *self)
{
    pthread_mutex_lock (&self->lock);
    uint64_t cursor = self->cursor;
    pthread_mutex_unlock (&self->lock);
    return cursor;
}

uint64_t fake_scheduler_pulls (fake_scheduler_t *self)
{
    pthread_mutex_lock (&self->lock);
    uint64_t pulls = self->pulls;
    pthread_mutex_unlock (&self->lock);
    return pulls;
}
