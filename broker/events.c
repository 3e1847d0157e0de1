/* events.c - fan-out: what the scheduler publishes goes to all subscribers, subscriptions go the other way.
 *
 * A subscriber that doesn't read loses events, sees the gap in their numbers, and asks for them; so nothing
 * here waits for anybody.
 */
#include "broker/broker_internal.h"
#include "bus/log.h"

#include <errno.h>
#include <string.h>

#define LOG_EVERY_MS 10000
#define SUBSCRIPTIONS_MAX 1024

typedef struct {
    zmq_msg_t topic, envelope, body;
} event_t;

static void close_event (event_t *event)
{
    zmq_msg_close (&event->topic);
    zmq_msg_close (&event->envelope);
    zmq_msg_close (&event->body);
}

/* 1: three frames; 0: others, dropped; -EAGAIN: nothing there. */
static int receive_event (void *socket, event_t *event)
{
    zmq_msg_init (&event->topic);
    zmq_msg_init (&event->envelope);
    zmq_msg_init (&event->body);
    zmq_msg_t *frames[] = {&event->topic, &event->envelope, &event->body};
    for (size_t i = 0; i < 3; i++) {
        if (zmq_msg_recv (frames[i], socket, ZMQ_DONTWAIT) < 0)
            return i == 0 ? -EAGAIN : 0;
        if (!zmq_msg_more (frames[i]) && i < 2)
            return 0;
    }
    return rota_wire_drain (socket, &event->body) == 0;
}

/* Only services reach the local socket, and of them only a scheduler publishes; which one is known if the
 * kernel says the process. On the remote one the key tells. */
static void stamp (rota_broker_t *self, uint32_t pid, const char *key, rota_envelope_t *envelope)
{
    const rota_member_t *scheduler = rota_presence_scheduler (self->presence);
    if (key)
        envelope->has_sender = scheduler && strcmp (scheduler->identity.key, key) == 0;
    else
        envelope->has_sender = scheduler && pid != 0 && scheduler->identity.pid == pid;
    if (envelope->has_sender)
        memcpy (envelope->sender, scheduler->identity.instance, sizeof envelope->sender);
    envelope->role = ROTA__ROLE__ROLE_SCHEDULER;
    envelope->leader_epoch = lead_acts (self);
    envelope->pid = pid;
}

/* A scheduler that was stopped and replaced may still speak when it wakes. */
static bool is_outdated (const rota_broker_t *self, const rota_envelope_t *envelope)
{
    const rota_member_t *scheduler = rota_presence_scheduler (self->presence);
    return scheduler && envelope->scheduler_epoch < scheduler->scheduler_epoch;
}

/* NULL, or why it isn't passed on. */
static const char *check_event (event_t *event, rota_envelope_t *ret_envelope)
{
    if (zmq_msg_size (&event->topic) > ROTA_BROKER_TOPIC_MAX_BYTES)
        return "topic too long";
    if (rota_envelope_decode (zmq_msg_data (&event->envelope), zmq_msg_size (&event->envelope),
                              ret_envelope) < 0)
        return "envelope not decodable";
    const rota_catalogue_entry_t *entry = rota_catalogue_find (ret_envelope->type);
    if (!entry || entry->direction != ROTA_TO_EVENTS)
        return "not a type of event";
    if (zmq_msg_size (&event->body) > entry->max_bytes)
        return "body too large";
    return NULL;
}

/* Takes the frames. XPUB always takes a message; slow subscribers lose it. */
static int send_event (void *socket, const uint8_t *envelope, size_t envelope_bytes, event_t *event)
{
    if (zmq_msg_send (&event->topic, socket, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
        zmq_send (socket, envelope, envelope_bytes, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
        zmq_msg_send (&event->body, socket, ZMQ_DONTWAIT) < 0)
        return -errno;
    return 0;
}

static void publish (rota_broker_t *self, event_t *event, const rota_envelope_t *envelope)
{
    uint8_t bytes[ROTA_ENVELOPE_MAX_BYTES];
    size_t size = rota_envelope_encode (envelope, bytes);
    if (rota_outbox_count (self->events_outbox, &event->body) < 0) {
        self->counts.undelivered++;
        return;
    }
    void *remote = remote_xpub (self);
    if (remote) {
        event_t copy;
        zmq_msg_init (&copy.topic);
        zmq_msg_init (&copy.envelope);
        zmq_msg_init (&copy.body);
        if (zmq_msg_copy (&copy.topic, &event->topic) < 0 || zmq_msg_copy (&copy.body, &event->body) < 0 ||
            send_event (remote, bytes, size, &copy) < 0)
            self->counts.undelivered++;
        close_event (&copy);
    }
    if (send_event (self->xpub, bytes, size, event) < 0)
        self->counts.undelivered++;
    else
        self->counts.events++;
}

static int events_from (rota_broker_t *self, void *socket, bool is_remote)
{
    int count = 0;
    for (; self->xsub && count < ROTA_BROKER_TURN_EVENTS; count++) {
        event_t event;
        rota_envelope_t envelope = {0};
        int result = receive_event (socket, &event);
        const char *problem = result == 1 ? check_event (&event, &envelope) : "not three frames";
        const char *key = is_remote && result == 1 ? rota_wire_key (&event.envelope) : NULL;
        if (result == 1 && !problem && is_remote && !remote_may_publish (self, key))
            problem = "the key may not publish";
        if (result == 1 && !problem && !lead_holds (self)) {
            self->counts.undelivered++; /* who is subscribed elsewhere by now asks for what is missing */
        } else if (result == 1 && !problem && is_outdated (self, &envelope)) {
            self->counts.events_refused++;
            rota_log_limited (ROTA_LOG_WARNING, "event.outdated", "event.outdated", LOG_EVERY_MS,
                              "epoch=%llu reason=\"from a scheduler that another has replaced\"",
                              (unsigned long long)envelope.scheduler_epoch);
        } else if (result == 1 && !problem) {
            stamp (self, rota_wire_pid (&event.envelope), key, &envelope);
            publish (self, &event, &envelope);
        } else if (result >= 0) {
            self->counts.events_refused++;
            rota_log_limited (ROTA_LOG_WARNING, "event.malformed", "event.malformed", LOG_EVERY_MS,
                              "reason=\"%s\"", problem);
        }
        close_event (&event);
        if (result < 0)
            break;
    }
    return count;
}

int events_turn (rota_broker_t *self)
{
    int count = events_from (self, self->xsub, false);
    return self->remote ? count + events_from (self, remote_xsub (self), true) : count;
}

/* XPUB hands each topic on once, at its first subscriber and after its last, so counting is enough to bound
 * what publishers must remember. */
static void pass_subscription (rota_broker_t *self, zmq_msg_t *frame)
{
    size_t size = zmq_msg_size (frame);
    const uint8_t *bytes = zmq_msg_data (frame);
    if (size == 0 || size > 1 + ROTA_BROKER_TOPIC_MAX_BYTES || bytes[0] > 1)
        return;
    bool begins = bytes[0] == 1;
    if (begins && self->subscriptions >= SUBSCRIPTIONS_MAX)
        return;
    if (begins)
        self->subscriptions++;
    else if (self->subscriptions > 0)
        self->subscriptions--;
    zmq_msg_send (frame, self->xsub, ZMQ_DONTWAIT);
}

/* Those of the remote socket aren't passed on: all topics are subscribed to there (remote.c), and here by the
 * sink. */
static int subscriptions_from (rota_broker_t *self, void *socket, bool is_remote)
{
    int count = 0;
    for (; self->xpub && count < ROTA_BROKER_TURN_EVENTS; count++) {
        zmq_msg_t frame;
        zmq_msg_init (&frame);
        bool there = zmq_msg_recv (&frame, socket, ZMQ_DONTWAIT) >= 0;
        if (there && !zmq_msg_more (&frame) && !is_remote)
            pass_subscription (self, &frame);
        else if (there)
            rota_wire_drain (socket, &frame);
        zmq_msg_close (&frame);
        if (!there)
            break;
    }
    return count;
}

int events_subscriptions_turn (rota_broker_t *self)
{
    int count = subscriptions_from (self, self->xpub, false);
    return self->remote ? count + subscriptions_from (self, remote_xpub (self), true) : count;
}
