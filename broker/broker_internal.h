/* broker_internal.h - the broker's state, shared by its files: broker.c (assembly and loop), relay.c (what
 * becomes of a message), answers.c (what the broker says itself), events.c (fan-out), lead.c (leadership),
 * coordinator.c (who coordinates).
 *
 * Owner: the broker's thread.
 */
#ifndef ROTA_BROKER_INTERNAL_H
#define ROTA_BROKER_INTERNAL_H

#include "broker/attempts.h"
#include "broker/broker.h"
#include "broker/candidates.h"
#include "broker/election.h"
#include "broker/remote.h"
#include "broker/router.h"
#include "broker/wire.h"
#include "bus/rundir.h"

#include <limits.h>
#include <stdatomic.h>

/* The three sockets of the state directory come first. */
enum { WIRE_SERVICE, WIRE_AGENT, WIRE_CLIENT, WIRES_FIXED };
#define WIRES_MAX (WIRES_FIXED + ROTA_BROKER_MAX_ENDPOINTS)

struct rota_broker {
    int heartbeat_ms, dead_after_ms;
    int64_t memory_limit_bytes;
    char program_version[ROTA_BROKER_MAX_VERSION_BYTES + 1];
    char rundir[PATH_MAX];
    rota_rundir_endpoints_t endpoints;
    uint8_t instance[ROTA_INSTANCE_BYTES];
    rota_attempts_t attempts;
    int64_t started_wall_ms;

    rota_election_t *election;
    rota_election_state_t leadership; /* as the election says; lead_holds counts */
    int64_t election_again_ms;
    bool leads; /* as the peers were told */
    uint64_t led_cluster, led_epoch;
    int64_t leads_since_ms; /* wall clock */
    int64_t acted_ms;       /* boot clock: when the last message went out while it led */
    char host[ROTA_BROKER_MAX_HOST_BYTES + 1];
    bool owns_sockets; /* those of the state directory were bound */

    int wake_fd;
    atomic_bool stopping;
    rota_ready_t *ready;
    void *context;
    rota_wire_t wires[WIRES_MAX];
    size_t wires_count;
    void *xsub, *xpub;
    rota_remote_t *remote; /* NULL: no endpoint with keys */
    rota_outbox_t *events_outbox;
    size_t subscriptions; /* topics passed on to publishers */

    rota_presence_t *presence;
    rota_quota_t *quota;
    rota_culprits_t *culprits;
    rota_arena_t *arena;

    /* The scheduler that requests in flight went to; `served_arrival` tells a new HELLO of it. */
    uint64_t served_arrival;
    bool presence_blocked; /* a scheduler didn't take the last report: wait for the next tick */

    struct {
        rota_candidates_t candidates;
        int64_t leads_ms; /* since when this broker leads */
        int64_t look_ms;  /* when there may be something to propose */
    } coordinator;

    int64_t now_ms; /* monotonic, of this turn */
    int64_t tick_ms;
    rota_broker_counts_t counts;
};

/* ---- broker.c */

int broker_open_own_sockets (rota_broker_t *self, rota_error_t *error);

/* ---- lead.c */

/* After the further sockets are bound: their addresses are what others are told. */
int lead_begin (rota_broker_t *self, const rota_broker_config_t *config, rota_error_t *error);
/* After every wait. Negative: the broker must end. */
int lead_follow (rota_broker_t *self);
/* Whether this broker may act as the leader now, by the clock too: it may have been stopped since it last
 * looked. */
bool lead_holds (const rota_broker_t *self);
/* The epoch under which a message goes out; the log says later when the last one did. */
uint64_t lead_acts (rota_broker_t *self);
/* Answers NOT_LEADER, with the endpoint at which the leader has the same part as `wire` here. */
void lead_refuse (rota_broker_t *self, const rota_wire_t *wire, rota_route_key_t route,
                  const rota_envelope_t *request);

/* ---- relay.c */

/* Reads at most one turn's messages. Returns how many it read. */
int relay_turn (rota_broker_t *self, rota_wire_t *wire);
/* Sends what waits to the scheduler as it has room; after each turn. */
void relay_pump (rota_broker_t *self);
/* Sees whether another scheduler, or a new connection of it, has come. */
void relay_follow_scheduler (rota_broker_t *self);
void relay_on_leave (void *owner, rota_member_t *member);
/* Sends to a member. Takes `body`. 0; -EAGAIN; -EHOSTUNREACH: the member has left and is freed. */
int relay_send (rota_broker_t *self, rota_member_t *target, const rota_envelope_t *envelope, zmq_msg_t *body);
/* Typed refusal of `request` (as decoded as it could be). */
void relay_refuse (rota_broker_t *self, rota_wire_t *wire, rota_route_key_t route,
                   const rota_envelope_t *request, Rota__ErrorCode code, const char *text,
                   uint32_t retry_after_ms);
/* Counts a fault and, if it is to be answered, refuses. */
void relay_fault (rota_broker_t *self, rota_wire_t *wire, rota_route_key_t route,
                  const rota_envelope_t *request, Rota__ErrorCode code, const char *text);

/* ---- answers.c */

/* HELLO, HEARTBEAT, GOODBYE, PEERS_QUERY. `member` is NULL for a stranger; it may be gone afterwards. */
void answers_message (rota_broker_t *self, rota_wire_t *wire, rota_member_t *member,
                      const rota_envelope_t *envelope, rota_wire_message_t *message);
/* Tells the schedulers who came and went. */
void answers_report_presence (rota_broker_t *self);
/* Packs and sends the broker's own message. */
int answers_send (rota_broker_t *self, rota_wire_t *wire, rota_route_key_t route,
                  const rota_envelope_t *envelope, const ProtobufCMessage *message, rota_outbox_t *outbox);

void answers_member (rota_broker_t *self, const rota_member_t *member, const rota_envelope_t *request,
                     uint32_t type, const ProtobufCMessage *message);

/* ---- coordinator.c */

/* This broker leads from now on: it knows nothing yet. */
void coordinator_begin (rota_broker_t *self);
void coordinator_end (rota_broker_t *self);
/* CANDIDATES, of the scheduler. */
void coordinator_take (rota_broker_t *self, const rota_member_t *scheduler, rota_wire_message_t *message);
/* Proposes when something is due; each turn. */
void coordinator_turn (rota_broker_t *self);
/* Answers COORDINATOR_QUERY; -ENOMEM. */
int coordinator_answer (rota_broker_t *self, const rota_member_t *member, const rota_envelope_t *request);

/* ---- events.c */

/* Each returns how many messages it read. */
int events_turn (rota_broker_t *self);
int events_subscriptions_turn (rota_broker_t *self);

#endif
