/* relay.c - what becomes of each message: stamped and passed on, answered, refused, or left to wait. */
#include "broker/broker_internal.h"
#include "bus/log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CODE(name) ROTA__ERROR_CODE__ERROR_CODE_##name
#define LOG_EVERY_MS 10000

/* A client's request that waits for the scheduler. */
typedef struct {
    rota_envelope_t envelope;
    zmq_msg_t body;
    int64_t since_ms;
} waiting_t;

static rota_member_t *member_of_quota (rota_quota_client_t *client)
{
    return (rota_member_t *)((char *)client - offsetof (rota_member_t, quota));
}

/* ---- sending */

int relay_send (rota_broker_t *self, rota_member_t *target, const rota_envelope_t *envelope, zmq_msg_t *body)
{
    uint8_t bytes[ROTA_ENVELOPE_MAX_BYTES];
    size_t size = rota_envelope_encode (envelope, bytes);
    rota_wire_t *wire = &self->wires[target->identity.endpoint];
    int result = rota_wire_send (wire, target->identity.route, bytes, size, body, target->outbox);
    if (result == 0)
        return 0;
    self->counts.undelivered++;
    if (result == -EHOSTUNREACH)
        rota_presence_leave (self->presence, target);
    else if (target->undelivered++ == 0)
        rota_log_limited (ROTA_LOG_WARNING, "peer.slow", "peer.slow", LOG_EVERY_MS,
                          "role=%s pid=%u reason=\"doesn't read what it is sent\"",
                          rota_role_name (target->identity.role), target->identity.pid);
    return result;
}

void relay_refuse (rota_broker_t *self, rota_wire_t *wire, rota_route_key_t route,
                   const rota_envelope_t *request, Rota__ErrorCode code, const char *text,
                   uint32_t retry_after_ms)
{
    Rota__Error refusal = ROTA__ERROR__INIT;
    refusal.has_code = true;
    refusal.code = code;
    refusal.has_text = true;
    refusal.text = rota_bytes (text);
    refusal.has_retry_after_ms = retry_after_ms > 0;
    refusal.retry_after_ms = retry_after_ms;

    rota_envelope_t answer;
    rota_envelope_answer (request, ROTA_MESSAGE_ERROR, &answer);
    self->counts.refused++;
    if (answers_send (self, wire, route, &answer, &refusal.base, NULL) < 0)
        self->counts.undelivered++;
}

void relay_fault (rota_broker_t *self, rota_wire_t *wire, rota_route_key_t route,
                  const rota_envelope_t *request, Rota__ErrorCode code, const char *text)
{
    self->counts.malformed++;
    rota_culprit_verdict_t verdict = rota_culprits_fault (self->culprits, route, self->now_ms);
    const rota_member_t *member = rota_presence_by_route (self->presence, route);
    unsigned pid = member ? member->identity.pid : 0;

    if (verdict == ROTA_CULPRIT_ANSWER_AND_LOG)
        rota_log_limited (ROTA_LOG_WARNING, "peer.malformed", "peer.malformed", 1000,
                          "endpoint=%u connection=%08x pid=%u code=%s reason=\"%s\"", wire->index,
                          (unsigned)route, pid, rota_error_code_name (code), text);
    if (verdict == ROTA_CULPRIT_MUTE_FROM_NOW)
        rota_log_limited (ROTA_LOG_WARNING, "peer.muted", "peer.muted", 1000,
                          "endpoint=%u connection=%08x pid=%u for_ms=%d", wire->index, (unsigned)route, pid,
                          ROTA_BROKER_MUTE_MS);
    if (verdict == ROTA_CULPRIT_ANSWER_AND_LOG || verdict == ROTA_CULPRIT_ANSWER)
        relay_refuse (self, wire, route, request, code, text, 0);
}

static void refuse_member (rota_broker_t *self, const rota_member_t *member, const rota_envelope_t *request,
                           Rota__ErrorCode code, const char *text, uint32_t retry_after_ms)
{
    relay_refuse (self, &self->wires[member->identity.endpoint], member->identity.route, request, code, text,
                  retry_after_ms);
}

/* The broker says who speaks (design 2.3). */
static void stamp (rota_broker_t *self, const rota_member_t *sender, rota_envelope_t *envelope)
{
    envelope->has_sender = true;
    memcpy (envelope->sender, sender->identity.instance, sizeof envelope->sender);
    envelope->role = sender->identity.role;
    envelope->leader_epoch = lead_acts (self);
    envelope->pid = sender->identity.pid;
}

static int pass_on (rota_broker_t *self, rota_member_t *sender, const rota_envelope_t *envelope,
                    const rota_catalogue_entry_t *entry, rota_member_t *target, zmq_msg_t *body)
{
    int result = relay_send (self, target, envelope, body);
    if (result == 0)
        self->counts.routed++;
    else if (rota_router_is_answer (entry))
        return result;
    else if (result == -EHOSTUNREACH)
        refuse_member (self, sender, envelope, CODE (UNAVAILABLE), "the addressee is not connected", 0);
    else
        refuse_member (self, sender, envelope, CODE (RETRY_LATER), "the addressee's queue is full",
                       ROTA_BROKER_RETRY_AFTER_MS);
    return result;
}

/* ---- clients' requests to the scheduler */

static void drop_waiting (void *item)
{
    waiting_t *waiting = item;
    zmq_msg_close (&waiting->body);
    free (waiting);
}

/* A small body may be a part of a larger buffer of ZeroMQ's, which would be kept with it. */
static int keep_body (zmq_msg_t *keep, zmq_msg_t *body)
{
    size_t size = zmq_msg_size (body);
    if (size >= ROTA_BROKER_COUNTED_BODY_BYTES) {
        zmq_msg_init (keep);
        zmq_msg_move (keep, body);
        return 0;
    }
    if (zmq_msg_init_size (keep, size) < 0)
        return -ENOMEM;
    memcpy (zmq_msg_data (keep), zmq_msg_data (body), size);
    return 0;
}

static int let_wait (rota_broker_t *self, rota_member_t *sender, const rota_envelope_t *envelope,
                     zmq_msg_t *body)
{
    int64_t size_bytes = (int64_t)zmq_msg_size (body);
    waiting_t *waiting = malloc (sizeof *waiting);
    if (!waiting)
        return -ENOMEM;
    waiting->envelope = *envelope;
    waiting->since_ms = self->now_ms;
    int result = keep_body (&waiting->body, body);
    if (result < 0) {
        free (waiting);
        return result;
    }
    result = rota_quota_wait (self->quota, &sender->quota, waiting, size_bytes);
    if (result < 0)
        drop_waiting (waiting);
    return result;
}

static void to_scheduler (rota_broker_t *self, rota_member_t *sender, const rota_envelope_t *envelope,
                          const rota_catalogue_entry_t *entry, rota_member_t *scheduler, zmq_msg_t *body)
{
    rota_quota_sent (self->quota, &sender->quota, (int64_t)zmq_msg_size (body));
    if (pass_on (self, sender, envelope, entry, scheduler, body) < 0)
        rota_quota_answered (self->quota, &sender->quota);
}

void relay_follow_scheduler (rota_broker_t *self)
{
    const rota_member_t *scheduler = rota_presence_scheduler (self->presence);
    uint64_t arrival = scheduler ? scheduler->arrival : 0;
    if (arrival == self->served_arrival)
        return;
    self->served_arrival = arrival;
    if (scheduler)
        rota_log (ROTA_LOG_INFO, "scheduler.connected", "pid=%u epoch=%llu", scheduler->identity.pid,
                  (unsigned long long)scheduler->scheduler_epoch);
    else
        rota_log (ROTA_LOG_WARNING, "scheduler.gone", "peers=%zu", rota_presence_count (self->presence));
    for (rota_member_t *member = NULL; (member = rota_presence_each (self->presence, member));)
        rota_quota_reset_in_flight (self->quota, &member->quota);
}

static void client_to_scheduler (rota_broker_t *self, rota_member_t *sender, const rota_envelope_t *envelope,
                                 const rota_route_t *route, zmq_msg_t *body)
{
    uint32_t retry_after_ms = 0;
    rota_admission_t admission = ROTA_ADMIT_NOW;
    relay_follow_scheduler (self); /* before anything is in flight to one that has just come */
    if (route->entry->lane == ROTA_LANE_BULK)
        admission = rota_quota_admit (self->quota, &sender->quota, (int64_t)zmq_msg_size (body), self->now_ms,
                                      &retry_after_ms);
    if (admission == ROTA_ADMIT_NOW) {
        to_scheduler (self, sender, envelope, route->entry, route->target, body);
        return;
    }
    if (admission == ROTA_ADMIT_WAIT && let_wait (self, sender, envelope, body) == 0)
        return;
    refuse_member (self, sender, envelope, CODE (RETRY_LATER), "too many requests wait for the scheduler",
                   retry_after_ms > 0 ? retry_after_ms : ROTA_BROKER_RETRY_AFTER_MS);
}

/* Its patience runs while a request waits here, too. */
static bool is_in_time (waiting_t *waiting, int64_t now_ms)
{
    uint32_t patience_ms = waiting->envelope.deadline_ms;
    int64_t waited_ms = now_ms - waiting->since_ms;
    if (patience_ms == 0)
        return true;
    if (waited_ms >= patience_ms)
        return false;
    waiting->envelope.deadline_ms = patience_ms - (uint32_t)waited_ms;
    return true;
}

void relay_pump (rota_broker_t *self)
{
    rota_quota_client_t *client;
    int64_t size_bytes;
    waiting_t *waiting;
    while ((waiting = rota_quota_next (self->quota, &client, &size_bytes))) {
        rota_member_t *sender = member_of_quota (client);
        rota_member_t *scheduler = rota_presence_scheduler (self->presence);
        if (!scheduler)
            refuse_member (self, sender, &waiting->envelope, CODE (UNAVAILABLE), "no scheduler is connected",
                           0);
        else if (!is_in_time (waiting, self->now_ms))
            refuse_member (self, sender, &waiting->envelope, CODE (DEADLINE),
                           "the scheduler had too much to do to take the request in time", 0);
        else
            to_scheduler (self, sender, &waiting->envelope, rota_catalogue_find (waiting->envelope.type),
                          scheduler, &waiting->body);
        drop_waiting (waiting);
    }
}

void relay_on_leave (void *owner, rota_member_t *member)
{
    rota_broker_t *self = owner;
    rota_quota_forget (self->quota, &member->quota, drop_waiting);
    rota_outbox_release (&member->outbox);
}

/* ---- one message */

/* Whether a client has used up what it may send beside requests to the scheduler. The list of peers costs as
 * much as it is long. */
static bool is_over_fast_limit (rota_broker_t *self, rota_member_t *sender,
                                const rota_catalogue_entry_t *entry)
{
    static const rota_bucket_limit_t LIMIT = {ROTA_BROKER_CLIENT_FAST_PER_S, ROTA_BROKER_CLIENT_FAST_BURST};
    if (!rota_role_is_client (sender->identity.role))
        return false;
    if (entry->lane == ROTA_LANE_BULK && entry->direction == ROTA_TO_SCHEDULER)
        return false;
    int64_t amount = 1;
    if (entry->type == ROTA_MESSAGE_PEERS_QUERY)
        amount += (int64_t)rota_presence_count (self->presence) / 16;
    return rota_bucket_take (&sender->fast, &LIMIT, amount, self->now_ms) > 0;
}

static void on_forward (rota_broker_t *self, rota_member_t *sender, rota_envelope_t *envelope,
                        const rota_route_t *route, zmq_msg_t *body)
{
    assert (sender && route->target); /* the router forwards nothing for strangers */
    rota_member_t *target = route->target;
    bool from_client = rota_role_is_client (sender->identity.role);
    bool from_scheduler = sender->identity.role == ROTA__ROLE__ROLE_SCHEDULER;

    stamp (self, sender, envelope);
    if (from_client && target->identity.role == ROTA__ROLE__ROLE_SCHEDULER) {
        client_to_scheduler (self, sender, envelope, route, body);
        return;
    }
    if (from_scheduler && rota_role_is_client (target->identity.role))
        rota_quota_answered (self->quota, &target->quota);
    pass_on (self, sender, envelope, route->entry, target, body);
}

static void on_refuse (rota_broker_t *self, rota_wire_t *wire, const rota_wire_message_t *message,
                       const rota_envelope_t *envelope, const rota_route_t *route)
{
    if (route->is_fault)
        relay_fault (self, wire, message->route, envelope, route->code, route->text);
    else if (route->code != CODE (HELLO_REQUIRED) ||
             rota_culprits_tell_stranger (self->culprits, message->route, self->now_ms))
        relay_refuse (self, wire, message->route, envelope, route->code, route->text, 0);
}

/* Another leads, or nobody. Answers get no answer, and one NOT_LEADER tells a peer as much as a thousand. */
static void stand_aside (rota_broker_t *self, rota_wire_t *wire, const rota_wire_message_t *message,
                         const rota_envelope_t *envelope)
{
    const rota_catalogue_entry_t *entry = rota_catalogue_find (envelope->type);
    if (!entry || rota_router_is_answer (entry) || entry->type == ROTA_MESSAGE_GOODBYE)
        return;
    if (entry->type == ROTA_MESSAGE_HELLO ||
        rota_culprits_tell_stranger (self->culprits, message->route, self->now_ms))
        lead_refuse (self, wire, message->route, envelope);
}

/* The name under which an agent takes work is the one that its key was looked at for. */
static bool registers_another (rota_broker_t *self, const rota_wire_t *wire, const rota_route_t *route,
                               const rota_member_t *sender, rota_wire_message_t *message)
{
    ProtobufCMessage *body;
    if (!wire->keyed || !sender || route->entry->type != ROTA_MESSAGE_REGISTER)
        return false;
    rota_arena_reset (self->arena);
    if (rota_body_decode (ROTA_MESSAGE_REGISTER, zmq_msg_data (&message->body), zmq_msg_size (&message->body),
                          self->arena, &body) < 0)
        return true;
    const Rota__Register *said = (const Rota__Register *)body;
    size_t length = strlen (sender->identity.name);
    return said->name.len != length ||
           (length > 0 && memcmp (said->name.data, sender->identity.name, length) != 0);
}

static void on_message (rota_broker_t *self, rota_wire_t *wire, rota_wire_message_t *message)
{
    rota_envelope_t envelope = {0};
    int decoded = rota_envelope_decode (zmq_msg_data (&message->envelope), zmq_msg_size (&message->envelope),
                                        &envelope);
    if (decoded == 0 && !lead_holds (self)) {
        stand_aside (self, wire, message, &envelope);
        return;
    }
    rota_member_t *sender = rota_presence_by_route (self->presence, message->route);
    if (wire->keyed && !remote_permits (self, wire, message, &envelope, sender))
        return;
    if (sender && decoded == 0)
        rota_presence_heard (self->presence, sender, self->now_ms, envelope.scheduler_epoch);
    rota_route_t route =
        rota_router_decide (decoded, &envelope, zmq_msg_size (&message->body), sender, self->presence);

    bool passes = route.kind == ROTA_ROUTE_BROKER || route.kind == ROTA_ROUTE_FORWARD;
    if (passes && sender && is_over_fast_limit (self, sender, route.entry))
        refuse_member (self, sender, &envelope, CODE (RETRY_LATER), "too many messages",
                       ROTA_BROKER_RETRY_AFTER_MS);
    else if (route.kind == ROTA_ROUTE_BROKER)
        answers_message (self, wire, sender, &envelope, message);
    else if (route.kind == ROTA_ROUTE_FORWARD && registers_another (self, wire, &route, sender, message))
        refuse_member (self, sender, &envelope, CODE (NOT_ALLOWED),
                       "REGISTER's name is not the one that HELLO said, for which the key was granted", 0);
    else if (route.kind == ROTA_ROUTE_FORWARD)
        on_forward (self, sender, &envelope, &route, &message->body);
    else if (route.kind == ROTA_ROUTE_REFUSE)
        on_refuse (self, wire, message, &envelope, &route);
    else
        self->counts.undelivered++;
}

int relay_turn (rota_broker_t *self, rota_wire_t *wire)
{
    static const rota_envelope_t UNKNOWN;
    int count = 0;
    for (; count < wire->turn; count++) {
        rota_wire_message_t message;
        switch (rota_wire_receive (wire, self->culprits, self->now_ms, &message)) {
        case ROTA_WIRE_EMPTY:
            return count;
        case ROTA_WIRE_MESSAGE:
            on_message (self, wire, &message);
            rota_wire_message_close (&message);
            break;
        case ROTA_WIRE_FRAMES:
            relay_fault (self, wire, message.route, &UNKNOWN, CODE (MALFORMED),
                         "a message is two frames: envelope and body");
            break;
        case ROTA_WIRE_FOREIGN:
            self->counts.malformed++;
            rota_log_limited (ROTA_LOG_WARNING, "peer.malformed", "peer.routing_id", LOG_EVERY_MS,
                              "endpoint=%u reason=\"peers may not choose a routing id\"", wire->index);
            break;
        case ROTA_WIRE_MUTED:
            self->counts.muted++;
            break;
        }
    }
    return count;
}
