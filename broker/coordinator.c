/* coordinator.c - the election of the coordinator: takes the candidates from the scheduler, proposes one of
 * them to it, and says to whoever asks how it stands. The choice itself is in candidates.c. */
#include "broker/broker_internal.h"
#include "bus/clock.h"
#include "bus/log.h"
#include "bus/names.h"

#include <stdlib.h>
#include <string.h>

#define AGAIN_MS 1000 /* a proposal that nothing came of */

/* One that is there and rests will not come back sooner for being waited for. */
static bool holder_rests (const rota_candidates_t *from)
{
    for (size_t i = 0; i < from->count; i++)
        if (strcmp (from->list[i].name, from->holder) == 0)
            return from->list[i].why_not && from->list[i].until_ms;
    return false;
}

/* After a change of leaders the agents come back one by one: nobody loses the role by being the last. */
static bool is_settling (const rota_broker_t *self)
{
    const rota_candidates_t *from = &self->coordinator.candidates;
    return from->holder && !holder_rests (from) &&
           self->now_ms - self->coordinator.leads_ms < self->dead_after_ms;
}

void coordinator_begin (rota_broker_t *self)
{
    rota_candidates_clear (&self->coordinator.candidates);
    self->coordinator.leads_ms = rota_clock_monotonic_ms ();
    self->coordinator.look_ms = INT64_MAX;
}

void coordinator_end (rota_broker_t *self)
{
    rota_candidates_clear (&self->coordinator.candidates);
}

void coordinator_take (rota_broker_t *self, const rota_member_t *scheduler, rota_wire_message_t *message)
{
    ProtobufCMessage *body;
    rota_arena_reset (self->arena);
    if (scheduler != rota_presence_scheduler (self->presence))
        return; /* of one that was replaced */
    int result = rota_body_decode (ROTA_MESSAGE_CANDIDATES, zmq_msg_data (&message->body),
                                   zmq_msg_size (&message->body), self->arena, &body);
    if (result == 0)
        result = rota_candidates_take (&self->coordinator.candidates, (const Rota__Candidates *)body,
                                       self->now_ms);
    if (result < 0)
        rota_log_limited (ROTA_LOG_WARNING, "candidates.refused", "candidates.refused", 10000, "error=%d",
                          -result);
    self->coordinator.look_ms = self->now_ms;
}

static void propose (rota_broker_t *self, rota_member_t *scheduler, const rota_proposal_t *proposal)
{
    Rota__Proposal body = ROTA__PROPOSAL__INIT;
    body.has_replaces = body.has_reason = true;
    body.replaces = self->coordinator.candidates.epoch;
    body.reason = rota_bytes (proposal->reason);
    body.has_agent = proposal->agent != NULL;
    body.agent = rota_bytes (proposal->agent ? proposal->agent->name : "");
    rota_envelope_t envelope = {.version = ROTA_PROTOCOL_VERSION,
                                .type = ROTA_MESSAGE_PROPOSAL,
                                .role = ROTA__ROLE__ROLE_BROKER,
                                .has_to = true};
    memcpy (envelope.to, scheduler->identity.instance, sizeof envelope.to);
    answers_send (self, &self->wires[scheduler->identity.endpoint], scheduler->identity.route, &envelope,
                  &body.base, scheduler->outbox);
}

void coordinator_turn (rota_broker_t *self)
{
    if (self->now_ms < self->coordinator.look_ms || !self->coordinator.candidates.known)
        return;
    rota_proposal_t proposal;
    rota_member_t *scheduler = rota_presence_scheduler (self->presence);
    rota_candidates_choose (&self->coordinator.candidates, self->now_ms, &proposal);
    self->coordinator.look_ms = proposal.again_ms;
    if (!proposal.due || !scheduler)
        return;
    self->coordinator.look_ms = self->now_ms + AGAIN_MS;
    if (is_settling (self))
        return;
    propose (self, scheduler, &proposal);
}

static void fill (const rota_broker_t *self, const rota_candidate_t *from, Rota__Candidate *ret_candidate)
{
    rota__candidate__init (ret_candidate);
    ret_candidate->has_name = true;
    ret_candidate->name = rota_bytes (from->name);
    ret_candidate->has_kind = from->kind != NULL;
    ret_candidate->kind = rota_bytes (from->kind ? from->kind : "");
    ret_candidate->has_host = from->host != NULL;
    ret_candidate->host = rota_bytes (from->host ? from->host : "");
    ret_candidate->has_why_not = from->why_not != NULL;
    ret_candidate->why_not = rota_bytes (from->why_not ? from->why_not : "");
    ret_candidate->has_rank = ret_candidate->has_busy = ret_candidate->has_slots = true;
    ret_candidate->rank = from->rank;
    ret_candidate->busy = from->busy;
    ret_candidate->slots = from->slots;
    ret_candidate->has_until_ms = from->until_ms != 0;
    ret_candidate->until_ms = from->until_ms;
    ret_candidate->has_fit_ms = !from->why_not;
    ret_candidate->fit_ms = (uint64_t)(self->now_ms - from->fit_since_ms);
}

int coordinator_answer (rota_broker_t *self, const rota_member_t *member, const rota_envelope_t *request)
{
    const rota_candidates_t *from = &self->coordinator.candidates;
    Rota__CoordinatorReply reply = ROTA__COORDINATOR_REPLY__INIT;
    Rota__Candidates role = ROTA__CANDIDATES__INIT;
    Rota__Candidate *items = calloc (from->count + 1, sizeof *items);
    Rota__Candidate **list = calloc (from->count + 1, sizeof (Rota__Candidate *));
    int result = items && list ? 0 : -ENOMEM;
    for (size_t i = 0; result == 0 && i < from->count; i++) {
        fill (self, &from->list[i], &items[i]);
        list[i] = &items[i];
    }
    role.candidates = list;
    role.n_candidates = from->count;
    role.has_epoch = role.has_by_hand = role.has_failback_ms = true;
    role.epoch = from->epoch;
    role.by_hand = from->by_hand;
    role.failback_ms = (uint32_t)from->failback_ms;
    role.has_holder = from->holder != NULL;
    role.holder = rota_bytes (from->holder ? from->holder : "");
    role.has_reason = from->reason != NULL;
    role.reason = rota_bytes (from->reason ? from->reason : "");
    role.has_since_ms = from->since_ms != 0;
    role.since_ms = from->since_ms;
    reply.role = from->known ? &role : NULL;
    reply.has_leader_epoch = true;
    reply.leader_epoch = self->leadership.epoch;
    if (result == 0)
        answers_member (self, member, request, ROTA_MESSAGE_COORDINATOR_REPLY, &reply.base);
    free (items);
    free (list);
    return result;
}
