#include "bus/subscriber.h"

#include "bus/alarm.h"
#include "bus/clock.h"
#include "bus/endpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TOPIC "e"
#define FRAMES 3 /* topic, envelope, body */
#define RECEIVE_QUEUE 1024
#define MAX_MESSAGE_BYTES (32 << 20)
#define RECONNECT_MS 20
#define RECONNECT_MAX_MS 200
#define RECONNECT_TCP_MAX_MS 2000 /* each is work for a broker that doesn't take our key any more */
#define MESSAGES_PER_WAKE 64
#define PULL_EVENTS 1000
#define PULL_TIMEOUT_MS 10000
#define PULL_AGAIN_MS 500 /* after one that failed */
#define ARENA_BYTES (64 << 20)
/* Live batches kept while a pull is under way. With more all are dropped: pulling brings them as well. */
#define KEPT_MAX 64
#define KEPT_MAX_BYTES (4 << 20)

typedef struct {
    uint8_t *body;
    size_t size_bytes;
} kept_t;

/* Outlives a subscriber that is destroyed before the answer is there. */
typedef struct {
    rota_subscriber_t *subscriber;
    uint64_t after;
} pull_t;

struct rota_subscriber {
    rota_subscriber_config_t config;
    rota_peer_t *peer;
    zloop_t *loop;
    zsock_t *socket;
    char endpoint[ROTA_ENDPOINT_MAX_BYTES];
    rota_alarm_t *alarm;
    rota_arena_t *arena; /* of what is being delivered */
    pull_t *pull;        /* under way */
    int64_t pull_again_ms;
    bool pull_wanted;
    bool started;    /* `last` means something */
    uint64_t last;   /* what is up to here has been delivered or does not exist */
    uint64_t target; /* the highest number known to exist */
    bool has_store;
    uint8_t store[16];
    kept_t kept[KEPT_MAX];
    size_t n_kept;
    size_t kept_bytes;
};

static void start_pull (rota_subscriber_t *self);

static void drop_kept (rota_subscriber_t *self)
{
    for (size_t i = 0; i < self->n_kept; i++)
        free (self->kept[i].body);
    self->n_kept = 0;
    self->kept_bytes = 0;
}

static void keep (rota_subscriber_t *self, const uint8_t *body, size_t size_bytes)
{
    if (self->n_kept == KEPT_MAX || self->kept_bytes + size_bytes > KEPT_MAX_BYTES)
        drop_kept (self);
    uint8_t *copy = size_bytes <= KEPT_MAX_BYTES ? malloc (size_bytes) : NULL;
    if (!copy)
        return; /* to be pulled */
    memcpy (copy, body, size_bytes);
    self->kept[self->n_kept++] = (kept_t){.body = copy, .size_bytes = size_bytes};
    self->kept_bytes += size_bytes;
}

static const ProtobufCMessage *decode (rota_subscriber_t *self, uint32_t type, const uint8_t *body,
                                       size_t size_bytes)
{
    ProtobufCMessage *message = NULL;
    rota_arena_reset (self->arena);
    return rota_body_decode (type, body, size_bytes, self->arena, &message) < 0 ? NULL : message;
}

/* Numbers count within a store. With another one (after a restore) they begin anew at `last`. True then. */
static bool note_store (rota_subscriber_t *self, const rota_envelope_t *envelope, uint64_t last)
{
    if (!envelope->has_store)
        return false;
    bool other = self->has_store && memcmp (self->store, envelope->store, sizeof self->store) != 0;
    self->has_store = true;
    memcpy (self->store, envelope->store, sizeof self->store);
    if (other && self->started) {
        drop_kept (self);
        self->last = self->target = last;
    }
    return other;
}

static void end_batch (rota_subscriber_t *self, bool delivered)
{
    if (delivered && self->config.on_batch)
        self->config.on_batch (self->config.owner, self->last);
}

/* ---- live */

/* False when events before these are missing; those that follow what was delivered have been then. */
static bool deliver_live (rota_subscriber_t *self, Rota__Event *const *events, size_t count)
{
    bool delivered = false, complete = true;

    for (size_t i = 0; i < count && complete; i++) {
        if (!events[i]->has_seq || events[i]->seq <= self->last)
            continue;
        complete = events[i]->seq == self->last + 1;
        if (complete) {
            self->last++;
            self->config.on_event (self->config.owner, events[i]);
            delivered = true;
        }
    }
    end_batch (self, delivered);
    return complete;
}

static void want (rota_subscriber_t *self, uint64_t last)
{
    if (last > self->target)
        self->target = last;
}

static void on_live_batch (rota_subscriber_t *self, const rota_envelope_t *envelope, const uint8_t *body,
                           size_t size_bytes)
{
    const Rota__EventBatch *batch =
        (const Rota__EventBatch *)decode (self, ROTA_MESSAGE_EVENT_BATCH, body, size_bytes);
    if (!batch || batch->n_events == 0 || !batch->events[0]->has_seq || batch->events[0]->seq == 0)
        return;
    note_store (self, envelope, batch->events[0]->seq - 1);
    want (self, batch->events[batch->n_events - 1]->seq);
    if (!self->started)
        keep (self, body, size_bytes);
    else if (!deliver_live (self, batch->events, batch->n_events)) {
        keep (self, body, size_bytes);
        start_pull (self);
    }
}

static void on_live_head (rota_subscriber_t *self, const rota_envelope_t *envelope, const uint8_t *body,
                          size_t size_bytes)
{
    const Rota__EventHead *head =
        (const Rota__EventHead *)decode (self, ROTA_MESSAGE_EVENT_HEAD, body, size_bytes);
    if (!head || !head->has_last)
        return;
    note_store (self, envelope, head->last);
    want (self, head->last);
    if (self->started && self->last < self->target)
        start_pull (self);
}

/* After a pull: what came live in the meantime. */
static void deliver_kept (rota_subscriber_t *self)
{
    for (size_t i = 0; i < self->n_kept && !self->pull; i++) {
        const kept_t *kept = &self->kept[i];
        const Rota__EventBatch *batch =
            (const Rota__EventBatch *)decode (self, ROTA_MESSAGE_EVENT_BATCH, kept->body, kept->size_bytes);
        if (batch && !deliver_live (self, batch->events, batch->n_events))
            break;
    }
    drop_kept (self);
}

/* ---- pulling */

static void pull_later (rota_subscriber_t *self)
{
    self->pull_wanted = true;
    self->pull_again_ms = rota_clock_monotonic_ms () + PULL_AGAIN_MS;
    rota_alarm_set (self->alarm, self->pull_again_ms);
}

static void deliver_pulled (rota_subscriber_t *self, const Rota__EventsReply *reply)
{
    bool delivered = false;

    if (reply->has_first && reply->first > self->last + 1) {
        if (self->config.on_gap)
            self->config.on_gap (self->config.owner, self->last + 1, reply->first - 1);
        self->last = reply->first - 1;
    }
    for (size_t i = 0; i < reply->n_events; i++) {
        if (!reply->events[i]->has_seq || reply->events[i]->seq <= self->last)
            continue;
        /* Numbers that the log does not have are none that were lost. */
        self->last = reply->events[i]->seq;
        self->config.on_event (self->config.owner, reply->events[i]);
        delivered = true;
    }
    /* An empty answer says that there is nothing up to the head. */
    if (reply->n_events == 0 && reply->last > self->last)
        self->last = reply->last;
    end_batch (self, delivered);
}

static void take_pulled (rota_subscriber_t *self, const rota_envelope_t *envelope, uint64_t after,
                         const Rota__EventsReply *reply)
{
    if (!self->started) {
        self->started = true;
        self->last = reply->last;
        note_store (self, envelope, reply->last);
    } else if (note_store (self, envelope, reply->last)) {
        return;
    } else if (reply->n_events == 0 && reply->last < after) {
        /* The log ends before what was delivered: it is an older one, brought back. */
        self->last = reply->last;
        self->target = reply->last;
    } else
        deliver_pulled (self, reply);
    if (reply->n_events == 0 && self->target > reply->last)
        self->target = reply->last;
    want (self, reply->last);
}

static void on_pulled (void *owner, void *context, const rota_reply_t *answer)
{
    (void)owner;
    pull_t *pull = context;
    rota_subscriber_t *self = pull->subscriber;
    uint64_t after = pull->after;

    free (pull);
    if (!self)
        return;
    self->pull = NULL;
    if (answer->status == -ECANCELED)
        return;
    const Rota__EventsReply *reply = NULL;
    if (answer->status == 0 && answer->envelope->type == ROTA_MESSAGE_EVENTS_REPLY)
        reply = (const Rota__EventsReply *)decode (self, ROTA_MESSAGE_EVENTS_REPLY, answer->body,
                                                   answer->size_bytes);
    if (!reply || !reply->has_last) {
        pull_later (self);
        return;
    }
    take_pulled (self, answer->envelope, after, reply);
    deliver_kept (self);
    if (self->last < self->target)
        start_pull (self);
}

static void start_pull (rota_subscriber_t *self)
{
    if (self->pull)
        return;
    Rota__EventsQuery query = ROTA__EVENTS_QUERY__INIT;
    query.has_after = true;
    query.after = self->started ? self->last : 0;
    query.has_limit = true;
    query.limit = self->started ? PULL_EVENTS : 0;

    pull_t *pull = malloc (sizeof *pull);
    if (!pull) {
        pull_later (self);
        return;
    }
    *pull = (pull_t){.subscriber = self, .after = query.after};
    if (rota_peer_request (self->peer, ROTA_MESSAGE_EVENTS_QUERY, NULL, &query.base, PULL_TIMEOUT_MS,
                           on_pulled, pull) < 0) {
        free (pull);
        pull_later (self);
        return;
    }
    self->pull = pull;
    self->pull_wanted = false;
}

static void on_alarm (void *owner)
{
    rota_subscriber_t *self = owner;
    if (!self->pull_wanted)
        return;
    if (rota_clock_monotonic_ms () < self->pull_again_ms)
        rota_alarm_set (self->alarm, self->pull_again_ms);
    else
        start_pull (self);
}

/* ---- socket */

static void dispatch (rota_subscriber_t *self, zmq_msg_t frames[FRAMES])
{
    rota_envelope_t envelope;
    const uint8_t *body = zmq_msg_data (&frames[2]);
    size_t size_bytes = zmq_msg_size (&frames[2]);

    if (rota_envelope_decode (zmq_msg_data (&frames[1]), zmq_msg_size (&frames[1]), &envelope) < 0)
        return;
    if (envelope.type == ROTA_MESSAGE_EVENT_BATCH)
        on_live_batch (self, &envelope, body, size_bytes);
    else if (envelope.type == ROTA_MESSAGE_EVENT_HEAD)
        on_live_head (self, &envelope, body, size_bytes);
}

/* One message; `ret_whole` when it has the frames it should have. */
static bool receive (void *raw, zmq_msg_t frames[FRAMES], bool *ret_whole)
{
    int count = 0;
    for (bool more = true; more; count++) {
        zmq_msg_t *frame = &frames[count < FRAMES ? count : FRAMES - 1];
        if (zmq_msg_recv (frame, raw, ZMQ_DONTWAIT) < 0)
            return false;
        more = zmq_msg_more (frame);
    }
    *ret_whole = count == FRAMES;
    return true;
}

static int on_readable (zloop_t *loop, zsock_t *socket, void *argument)
{
    (void)loop;
    rota_subscriber_t *self = argument;
    void *raw = zsock_resolve (socket);
    zmq_msg_t frames[FRAMES];
    bool whole;

    for (int i = 0; i < FRAMES; i++)
        zmq_msg_init (&frames[i]);
    for (int i = 0; i < MESSAGES_PER_WAKE && receive (raw, frames, &whole); i++)
        if (whole)
            dispatch (self, frames);
    for (int i = 0; i < FRAMES; i++)
        zmq_msg_close (&frames[i]);
    return 0;
}

static void close_socket (rota_subscriber_t *self)
{
    if (self->socket)
        zloop_reader_end (self->loop, self->socket);
    zsock_destroy (&self->socket);
    self->endpoint[0] = '\0';
}

static int open_socket (rota_subscriber_t *self, const char *endpoint)
{
    self->socket = zsock_new (ZMQ_SUB);
    if (!self->socket)
        return -ENOMEM;
    zsock_set_linger (self->socket, 0);
    zsock_set_rcvhwm (self->socket, RECEIVE_QUEUE);
    zsock_set_maxmsgsize (self->socket, MAX_MESSAGE_BYTES);
    zsock_set_reconnect_ivl (self->socket, RECONNECT_MS);
    zsock_set_reconnect_ivl_max (self->socket,
                                 rota_endpoint_is_tcp (endpoint) ? RECONNECT_TCP_MAX_MS : RECONNECT_MAX_MS);
    zsock_set_ipv6 (self->socket, 1);
    zsock_set_subscribe (self->socket, TOPIC);
    if (rota_curve_use (rota_peer_curve (self->peer), zsock_resolve (self->socket), endpoint, NULL) < 0 ||
        zmq_connect (zsock_resolve (self->socket), endpoint) < 0 ||
        zloop_reader (self->loop, self->socket, on_readable, self) != 0) {
        zsock_destroy (&self->socket);
        return -EINVAL;
    }
    zloop_reader_set_tolerant (self->loop, self->socket);
    snprintf (self->endpoint, sizeof self->endpoint, "%s", endpoint);
    return 0;
}

/* ---- public */

rota_subscriber_t *rota_subscriber_new (const rota_subscriber_config_t *config, rota_peer_t *peer,
                                        zloop_t *loop, rota_error_t *error)
{
    rota_subscriber_t *self = calloc (1, sizeof *self);
    if (!self) {
        rota_error_set (error, -ENOMEM, "no memory");
        return NULL;
    }
    self->config = *config;
    self->peer = peer;
    self->loop = loop;
    self->started = config->after != ROTA_SUBSCRIBER_NOW;
    self->last = self->started ? config->after : 0;
    self->arena = rota_arena_new (ARENA_BYTES);
    self->alarm = rota_alarm_new (loop, on_alarm, self);
    if (!self->arena || !self->alarm) {
        rota_error_set (error, -ENOMEM, "no memory or no descriptor left");
        rota_subscriber_destroy (&self);
    }
    return self;
}

void rota_subscriber_destroy (rota_subscriber_t **self_p)
{
    rota_subscriber_t *self = *self_p;
    if (!self)
        return;
    if (self->pull)
        self->pull->subscriber = NULL;
    close_socket (self);
    drop_kept (self);
    rota_alarm_destroy (&self->alarm);
    rota_arena_destroy (&self->arena);
    free (self);
    *self_p = NULL;
}

void rota_subscriber_welcome (rota_subscriber_t *self, const Rota__Welcome *welcome)
{
    char endpoint[ROTA_ENDPOINT_MAX_BYTES] = "";

    if (welcome->has_events_endpoint)
        rota_endpoint_resolve ((const char *)welcome->events_endpoint.data, welcome->events_endpoint.len,
                               rota_peer_endpoint (self->peer), endpoint);
    /* A socket whose key was refused once doesn't try again by itself. */
    if (strcmp (endpoint, self->endpoint) != 0 || rota_endpoint_is_tcp (endpoint)) {
        close_socket (self);
        if (endpoint[0])
            open_socket (self, endpoint);
    }
    /* What was published before the subscription stands, or while it did not. */
    start_pull (self);
}

uint64_t rota_subscriber_last (const rota_subscriber_t *self)
{
    return self->last;
}
