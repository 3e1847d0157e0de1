/* answers.c - what the broker says itself: WELCOME, heartbeats, who is there. */
#include "broker/broker_internal.h"
#include "bus/clock.h"
#include "bus/log.h"
#include "bus/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_EVERY_MS 10000

#define CODE(name) ROTA__ERROR_CODE__ERROR_CODE_##name
#define ROLE(name) ROTA__ROLE__ROLE_##name

/* ---- sending */

static int pack_body (uint32_t type, const ProtobufCMessage *message, zmq_msg_t *ret_body)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    int result = rota_body_encode (type, message, &bytes, &size);
    if (result < 0)
        return result;
    if (zmq_msg_init_size (ret_body, size) < 0)
        result = -ENOMEM;
    else if (size > 0)
        memcpy (zmq_msg_data (ret_body), bytes, size);
    free (bytes);
    return result;
}

static void sign (rota_broker_t *self, rota_envelope_t *envelope)
{
    envelope->has_sender = true;
    memcpy (envelope->sender, self->instance, sizeof envelope->sender);
    envelope->role = ROLE (BROKER);
    /* Who is only sent away was not led by it. */
    envelope->leader_epoch = envelope->type == ROTA_MESSAGE_ERROR ? self->leadership.epoch : lead_acts (self);
}

int answers_send (rota_broker_t *self, rota_wire_t *wire, rota_route_key_t route,
                  const rota_envelope_t *envelope, const ProtobufCMessage *message, rota_outbox_t *outbox)
{
    zmq_msg_t body;
    uint8_t bytes[ROTA_ENVELOPE_MAX_BYTES];
    rota_envelope_t signed_envelope = *envelope;
    sign (self, &signed_envelope);
    int result = pack_body (envelope->type, message, &body);
    if (result < 0)
        return result;
    size_t size = rota_envelope_encode (&signed_envelope, bytes);
    return rota_wire_send (wire, route, bytes, size, &body, outbox);
}

void answers_member (rota_broker_t *self, const rota_member_t *member, const rota_envelope_t *request,
                     uint32_t type, const ProtobufCMessage *message)
{
    rota_envelope_t answer;
    rota_envelope_answer (request, type, &answer);
    if (answers_send (self, &self->wires[member->identity.endpoint], member->identity.route, &answer, message,
                      member->outbox) == 0)
        self->counts.answered++;
    else
        self->counts.undelivered++;
}

/* ---- lists of peers */

static Rota__Peer *new_peer (const rota_identity_t *identity)
{
    Rota__Peer *peer = malloc (sizeof *peer);
    if (!peer)
        return NULL;
    rota__peer__init (peer);
    peer->has_instance = true;
    peer->instance = rota_bytes_n (identity->instance, sizeof identity->instance);
    peer->has_role = true;
    peer->role = identity->role;
    peer->has_name = identity->name[0] != 0;
    peer->name = rota_bytes (identity->name);
    peer->has_host = identity->host[0] != 0;
    peer->host = rota_bytes (identity->host);
    peer->has_pid = identity->pid != 0;
    peer->pid = identity->pid;
    peer->has_program_version = identity->program_version[0] != 0;
    peer->program_version = rota_bytes (identity->program_version);
    peer->has_key = identity->key_name[0] != 0;
    peer->key = rota_bytes (identity->key_name);
    return peer;
}

static Rota__Peer *new_peer_of_member (const rota_broker_t *self, const rota_member_t *member)
{
    Rota__Peer *peer = new_peer (&member->identity);
    if (!peer)
        return NULL;
    peer->has_since_ms = true;
    peer->since_ms = member->since_wall_ms;
    peer->has_silent_ms = true;
    peer->silent_ms = (uint32_t)(self->now_ms - member->heard_ms);
    return peer;
}

typedef struct {
    Rota__Peer **peers;
    size_t count;
} peer_list_t;

static void free_list (peer_list_t *list)
{
    for (size_t i = 0; i < list->count; i++)
        free (list->peers[i]);
    free (list->peers);
}

/* The strings stay the members'. `role` 0 = all; `news` = only those who came since the last report. */
static int list_members (const rota_broker_t *self, Rota__Role role, bool news, peer_list_t *list)
{
    for (rota_member_t *member = NULL; (member = rota_presence_each (self->presence, member));) {
        if ((role && member->identity.role != role) || (news && !member->is_news))
            continue;
        Rota__Peer *peer = new_peer_of_member (self, member);
        if (!peer)
            return -ENOMEM;
        list->peers[list->count++] = peer;
    }
    return 0;
}

static int list_departed (const rota_broker_t *self, peer_list_t *list)
{
    const rota_identity_t *departed;
    size_t count;
    if (!rota_presence_departed (self->presence, &departed, &count))
        return 0;
    for (size_t i = 0; i < count; i++) {
        Rota__Peer *peer = new_peer (&departed[i]);
        if (!peer)
            return -ENOMEM;
        peer->has_gone = true;
        peer->gone = true;
        list->peers[list->count++] = peer;
    }
    return 0;
}

/* Those who left first: an instance may have left and come back. */
static int make_list (const rota_broker_t *self, Rota__Role role, bool changes, peer_list_t *ret_list)
{
    size_t most = rota_presence_count (self->presence) + ROTA_BROKER_MAX_DEPARTED;
    peer_list_t list = {.peers = calloc (most, sizeof *list.peers)};
    if (!list.peers)
        return -ENOMEM;
    int result = changes ? list_departed (self, &list) : 0;
    if (result == 0)
        result = list_members (self, role, changes, &list);
    if (result < 0)
        free_list (&list);
    else
        *ret_list = list;
    return result;
}

/* ---- PRESENCE */

static int send_presence (rota_broker_t *self, rota_member_t *scheduler, bool complete)
{
    peer_list_t list;
    int result = make_list (self, ROLE (UNSPECIFIED), !complete, &list);
    if (result < 0)
        return result;
    Rota__Presence presence = ROTA__PRESENCE__INIT;
    presence.has_complete = true;
    presence.complete = complete;
    presence.peers = list.peers;
    presence.n_peers = list.count;

    rota_envelope_t envelope = {
        .version = ROTA_PROTOCOL_VERSION, .type = ROTA_MESSAGE_PRESENCE, .has_to = true};
    memcpy (envelope.to, scheduler->identity.instance, sizeof envelope.to);
    result = answers_send (self, &self->wires[scheduler->identity.endpoint], scheduler->identity.route,
                           &envelope, &presence.base, scheduler->outbox);
    free_list (&list);
    return result;
}

void answers_report_presence (rota_broker_t *self)
{
    const rota_identity_t *departed;
    size_t count;
    bool news = rota_presence_has_news (self->presence);
    bool remembered = rota_presence_departed (self->presence, &departed, &count);
    bool blocked = false;

    for (rota_member_t *member = NULL; (member = rota_presence_each (self->presence, member));) {
        if (member->identity.role != ROLE (SCHEDULER) || (!news && !member->wants_complete))
            continue;
        bool complete = member->wants_complete || !remembered;
        member->wants_complete = send_presence (self, member, complete) < 0;
        blocked = blocked || member->wants_complete;
    }
    self->presence_blocked = blocked;
    if (news)
        rota_presence_reported (self->presence);
}

/* ---- HELLO */

/* A text of a HELLO into its place. False when it is too long or no text. */
static bool take_text (protobuf_c_boolean has, const ProtobufCBinaryData *bytes, char *ret_text,
                       size_t capacity)
{
    if (!has)
        return true;
    if (bytes->len >= capacity || !rota_text_is_valid ((const char *)bytes->data, bytes->len, false))
        return false;
    if (bytes->len > 0)
        memcpy (ret_text, bytes->data, bytes->len);
    return true;
}

/* NULL, or what is wrong with it. */
static const char *read_hello (const Rota__Hello *hello, const rota_wire_t *wire, rota_identity_t *identity)
{
    if (!hello->has_instance || hello->instance.len != ROTA_INSTANCE_BYTES)
        return "HELLO needs an instance of 16 bytes";
    memcpy (identity->instance, hello->instance.data, ROTA_INSTANCE_BYTES);
    if (!take_text (hello->has_name, &hello->name, identity->name, sizeof identity->name))
        return "HELLO's name is over 200 bytes or no text";
    if (!take_text (hello->has_host, &hello->host, identity->host, sizeof identity->host))
        return "HELLO's host is over 255 bytes or no text";
    if (!take_text (hello->has_program_version, &hello->program_version, identity->program_version,
                    sizeof identity->program_version))
        return "HELLO's program_version is over 64 bytes or no text";
    if (wire->role == ROTA_ENDPOINT_OF_SERVICES && !hello->has_wants)
        return "HELLO needs the role, where services connect";
    identity->role = hello->has_wants ? hello->wants : wire->role; /* UNSPECIFIED: as the key has it */
    if (!identity->pid_is_proved && hello->has_pid)
        identity->pid = hello->pid;
    return NULL;
}

static void welcome (rota_broker_t *self, const rota_member_t *member, const rota_envelope_t *request)
{
    Rota__Welcome body = ROTA__WELCOME__INIT;
    const rota_member_t *scheduler = rota_presence_scheduler (self->presence);
    body.has_broker = true;
    body.broker = rota_bytes_n (self->instance, sizeof self->instance);
    body.has_leader_epoch = true;
    body.leader_epoch = self->leadership.epoch;
    body.has_heartbeat_ms = true;
    body.heartbeat_ms = (uint32_t)self->heartbeat_ms;
    body.has_dead_after_ms = true;
    body.dead_after_ms = (uint32_t)self->dead_after_ms;
    body.has_events_endpoint = true;
    const rota_wire_t *wire = &self->wires[member->identity.endpoint];
    body.events_endpoint =
        rota_bytes (wire->keyed ? remote_events_endpoint (self, wire) : self->endpoints.events);
    body.has_publish_endpoint = member->identity.role == ROLE (SCHEDULER);
    body.publish_endpoint =
        rota_bytes (wire->keyed ? remote_publish_endpoint (self, wire) : self->endpoints.publish);
    body.has_scheduler = scheduler != NULL;
    if (scheduler)
        body.scheduler = rota_bytes_n (scheduler->identity.instance, ROTA_INSTANCE_BYTES);
    body.has_program_version = true;
    body.program_version = rota_bytes (self->program_version);
    body.has_leader_cluster = self->leadership.cluster != 0;
    body.leader_cluster = self->leadership.cluster;
    answers_member (self, member, request, ROTA_MESSAGE_WELCOME, &body.base);
}

static void join (rota_broker_t *self, rota_wire_t *wire, const rota_identity_t *identity,
                  const rota_envelope_t *envelope)
{
    rota_member_t *member;
    int result = rota_presence_join (self->presence, identity, self->now_ms, rota_clock_wall_ms (), &member);
    if (result == -EADDRINUSE) {
        relay_refuse (self, wire, identity->route, envelope, CODE (NOT_ALLOWED),
                      "this instance is another peer's", 0);
        return;
    }
    if (result >= 0 && !member->outbox) {
        member->outbox =
            rota_outbox_new (rota_role_is_client (identity->role) || identity->role == ROLE (AGENT)
                                 ? ROTA_BROKER_UNSENT_CLIENT_BYTES
                                 : ROTA_BROKER_UNSENT_SERVICE_BYTES);
        if (!member->outbox) {
            rota_presence_leave (self->presence, member);
            result = -ENOMEM;
        }
    }
    if (result < 0) {
        relay_refuse (self, wire, identity->route, envelope, CODE (RETRY_LATER),
                      "the broker can't take more peers", (uint32_t)self->heartbeat_ms);
        return;
    }
    rota_presence_heard (self->presence, member, self->now_ms, envelope->scheduler_epoch);
    char quoted[2 * ROTA_BROKER_MAX_NAME_BYTES];
    rota_log (ROTA_LOG_DEBUG, "peer.connected", "role=%s name=%s pid=%u key=%s new=%d",
              rota_role_name (identity->role),
              rota_log_quote (identity->name, strlen (identity->name), quoted, sizeof quoted), identity->pid,
              identity->key_name[0] ? identity->key_name : "-", result);
    welcome (self, member, envelope);
}

static bool identify_by_key (const rota_broker_t *self, rota_wire_message_t *message,
                             rota_identity_t *identity)
{
    const char *key = rota_wire_key (&message->envelope);
    identity->role = remote_role (self, key, identity->role);
    if (identity->role == ROLE (UNSPECIFIED))
        return false;
    snprintf (identity->key, sizeof identity->key, "%s", key);
    snprintf (identity->key_name, sizeof identity->key_name, "%s", remote_key_name (self, key));
    return true;
}

/* Nobody takes work, or reports it, under an agent's name that isn't his key's. */
static void refuse_name (rota_broker_t *self, rota_wire_t *wire, const rota_wire_message_t *message,
                         const rota_envelope_t *envelope, const rota_identity_t *identity)
{
    char text[512], quoted[2 * ROTA_BROKER_MAX_NAME_BYTES];
    rota_log_limited (ROTA_LOG_WARNING, "peer.false_name", identity->key, LOG_EVERY_MS, "name=%s key=%s",
                      rota_log_quote (identity->name, strlen (identity->name), quoted, sizeof quoted),
                      identity->key_name);
    snprintf (
        text, sizeof text,
        "this key may not be the agent \"%s\"; it is granted as %s: name the agent so, or KIND@%s, or say "
        "`rota key grant %s agent --agents PATTERN` on the broker's host",
        identity->name, identity->key_name, identity->key_name, identity->key_name);
    relay_refuse (self, wire, message->route, envelope, CODE (NOT_ALLOWED), text, 0);
}

/* Whoever it says it is. One that is gone doesn't hear it; what it left behind doesn't count. */
static const char *refusal_of_place (const rota_broker_t *self, const rota_identity_t *identity)
{
    switch (identity->pid_is_proved ? rota_attempts_place (&self->attempts, (pid_t)identity->pid)
                                    : ROTA_ATTEMPTS_FREE) {
    case ROTA_ATTEMPTS_WITHIN:
        return "this process belongs to an attempt of an agent, which may not direct its own work: notes and "
               "questions go to $ROTA_OUTBOX or by `rota mcp`, the rest is for people";
    case ROTA_ATTEMPTS_GONE:
        return "the process that connected is gone";
    default:
        return NULL;
    }
}

static void refuse_place (rota_broker_t *self, rota_wire_t *wire, const rota_wire_message_t *message,
                          const rota_envelope_t *envelope, const rota_identity_t *identity, const char *why)
{
    rota_log_limited (ROTA_LOG_WARNING, "peer.of_attempt", wire->endpoint, LOG_EVERY_MS,
                      "pid=%u reason=\"%s\"", identity->pid, why);
    relay_refuse (self, wire, message->route, envelope, CODE (NOT_ALLOWED), why, 0);
}

static void on_hello (rota_broker_t *self, rota_wire_t *wire, const rota_envelope_t *envelope,
                      rota_wire_message_t *message)
{
    ProtobufCMessage *body;
    rota_identity_t identity = {.endpoint = wire->index, .route = message->route};
    identity.pid = rota_wire_pid (&message->envelope);
    identity.pid_is_proved = identity.pid != 0;

    rota_arena_reset (self->arena);
    const char *problem = "HELLO's body can't be decoded";
    if (rota_body_decode (ROTA_MESSAGE_HELLO, zmq_msg_data (&message->body), zmq_msg_size (&message->body),
                          self->arena, &body) == 0)
        problem = read_hello ((const Rota__Hello *)body, wire, &identity);
    const char *why_not = problem ? NULL : refusal_of_place (self, &identity);
    if (problem)
        relay_fault (self, wire, message->route, envelope, CODE (MALFORMED), problem);
    else if (why_not)
        refuse_place (self, wire, message, envelope, &identity, why_not);
    else if (wire->keyed && !identify_by_key (self, message, &identity))
        relay_refuse (self, wire, message->route, envelope, CODE (NOT_ALLOWED),
                      "this role is not granted to this key", 0);
    else if (wire->keyed && identity.role == ROLE (AGENT) &&
             !remote_names_agent (self, identity.key, identity.name))
        refuse_name (self, wire, message, envelope, &identity);
    else if (!wire->keyed && !rota_router_role_fits (wire->role, identity.role))
        relay_refuse (self, wire, message->route, envelope, CODE (NOT_ALLOWED),
                      "this role can't be had on this endpoint", 0);
    else
        join (self, wire, &identity, envelope);
}

/* ---- the others */

static void on_heartbeat (rota_broker_t *self, const rota_member_t *member, const rota_envelope_t *envelope)
{
    Rota__Heartbeat body = ROTA__HEARTBEAT__INIT;
    const rota_member_t *scheduler = rota_presence_scheduler (self->presence);
    body.has_leader_epoch = true;
    body.leader_epoch = self->leadership.epoch;
    body.has_scheduler = scheduler != NULL;
    if (scheduler)
        body.scheduler = rota_bytes_n (scheduler->identity.instance, ROTA_INSTANCE_BYTES);
    answers_member (self, member, envelope, ROTA_MESSAGE_HEARTBEAT, &body.base);
}

static void on_peers_query (rota_broker_t *self, rota_wire_t *wire, const rota_member_t *member,
                            const rota_envelope_t *envelope, rota_wire_message_t *message)
{
    ProtobufCMessage *body;
    peer_list_t list;
    rota_arena_reset (self->arena);
    if (rota_body_decode (ROTA_MESSAGE_PEERS_QUERY, zmq_msg_data (&message->body),
                          zmq_msg_size (&message->body), self->arena, &body) < 0) {
        relay_fault (self, wire, message->route, envelope, CODE (MALFORMED),
                     "PEERS_QUERY's body can't be decoded");
        return;
    }
    const Rota__PeersQuery *query = (const Rota__PeersQuery *)body;
    if (make_list (self, query->has_role ? query->role : ROLE (UNSPECIFIED), false, &list) < 0) {
        relay_refuse (self, wire, message->route, envelope, CODE (RETRY_LATER), "out of memory",
                      ROTA_BROKER_RETRY_AFTER_MS);
        return;
    }
    Rota__PeersReply reply = ROTA__PEERS_REPLY__INIT;
    reply.peers = list.peers;
    reply.n_peers = list.count;
    reply.has_broker = true;
    reply.broker = rota_bytes_n (self->instance, sizeof self->instance);
    reply.has_leader_epoch = true;
    reply.leader_epoch = self->leadership.epoch;
    reply.has_started_ms = true;
    reply.started_ms = self->started_wall_ms;
    reply.has_messages_routed = true;
    reply.messages_routed = self->counts.routed;
    reply.has_messages_refused = true;
    reply.messages_refused = self->counts.refused;
    reply.has_program_version = true;
    reply.program_version = rota_bytes (self->program_version);
    reply.has_turned_away = self->remote != NULL;
    reply.turned_away = self->counts.turned_away;
    ProtobufCBinaryData insecure[ROTA_BROKER_MAX_ENDPOINTS];
    reply.insecure = insecure;
    for (size_t i = WIRES_FIXED; i < self->wires_count; i++)
        if (!self->wires[i].keyed)
            insecure[reply.n_insecure++] = rota_bytes (self->wires[i].endpoint);
    reply.has_leader_since_ms = true;
    reply.leader_since_ms = self->leads_since_ms;
    reply.has_election = true;
    reply.election = rota_bytes (self->election->ops->name);
    reply.has_leader_cluster = self->leadership.cluster != 0;
    reply.leader_cluster = self->leadership.cluster;
    reply.has_host = reply.has_pid = true;
    reply.host = rota_bytes (self->host);
    reply.pid = (uint32_t)getpid ();
    rota_process_use_t use;
    rota_process_use (&use);
    reply.has_messages_undelivered = reply.has_resident_bytes = reply.has_open_fds = reply.has_cpu_seconds =
        true;
    reply.messages_undelivered = self->counts.undelivered;
    reply.resident_bytes = use.resident_bytes;
    reply.open_fds = use.open_fds;
    reply.cpu_seconds = use.cpu_s;
    answers_member (self, member, envelope, ROTA_MESSAGE_PEERS_REPLY, &reply.base);
    free_list (&list);
}

void answers_message (rota_broker_t *self, rota_wire_t *wire, rota_member_t *member,
                      const rota_envelope_t *envelope, rota_wire_message_t *message)
{
    switch (envelope->type) {
    case ROTA_MESSAGE_HELLO:
        on_hello (self, wire, envelope, message);
        break;
    case ROTA_MESSAGE_HEARTBEAT:
        on_heartbeat (self, member, envelope);
        break;
    case ROTA_MESSAGE_GOODBYE:
        rota_presence_leave (self->presence, member);
        break;
    case ROTA_MESSAGE_PEERS_QUERY:
        on_peers_query (self, wire, member, envelope, message);
        break;
    case ROTA_MESSAGE_CANDIDATES:
        coordinator_take (self, member, message);
        break;
    case ROTA_MESSAGE_COORDINATOR_QUERY:
        if (coordinator_answer (self, member, envelope) < 0)
            relay_refuse (self, wire, message->route, envelope, CODE (RETRY_LATER), "out of memory",
                          ROTA_BROKER_RETRY_AFTER_MS);
        break;
    default:
        relay_refuse (self, wire, message->route, envelope, CODE (UNKNOWN_TYPE),
                      "the broker has no answer to this type", 0);
    }
}
