/* Agent hosts and the leases they hold. */
#include "scheduler/core_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

lease_t *rota_core_lease_of (const rota_core_t *self, rota_node_t node)
{
    const node_t *it = &self->nodes[node];
    return it->place == ROTA_PLACE_RUNNING && it->slot < self->leases.count
               ? AT (self, leases, lease_t, it->slot)
               : NULL;
}

static lease_t *find_lease (const rota_core_t *self, rota_node_t node, uint32_t attempt)
{
    lease_t *lease = node < self->count ? rota_core_lease_of (self, node) : NULL;
    return lease && lease->attempt == attempt ? lease : NULL;
}

static rota_node_t epic_with_limit (const rota_core_t *self, rota_node_t node)
{
    return self->policy.wip_epic ? rota_core_epic_of (self, node) : ROTA_NONE;
}

/* Begun or ended: what the limits count. */
static void count_lease (rota_core_t *self, rota_node_t node, Rota__Phase phase, int delta)
{
    source_counts_t *counts = rota_core_source (self, self->nodes[node].source);
    rota_core_mode_count (self, node, phase, delta);
    if (counts && phase == PHASE (MERGE))
        counts->merging += (uint64_t)(int64_t)delta;
    if (!counts || phase != PHASE (WORK))
        return;
    counts->working += (uint64_t)(int64_t)delta;
    rota_node_t epic = epic_with_limit (self, node);
    if (epic != ROTA_NONE)
        AT (self, groups, group_t, self->nodes[epic].slot)->working += (uint32_t)delta;
}

/* The task's attempt, new number included, goes to the agent: lease, move, assignment. */
void rota_core_grant (rota_core_t *self, rota_node_t node, rota_agent_t agent, Rota__Phase phase)
{
    lease_t *lease = PUSH (self, leases, lease_t);
    rota_core_assign_t *assign = PUSH (self, assigns, rota_core_assign_t);
    if (!lease || !assign)
        return;
    node_t *it = &self->nodes[node];
    if (phase == PHASE (WORK))
        it->came_from = it->status;
    it->attempt++;
    it->flags &= (uint16_t) ~(F_LOST | F_STOPPED);
    it->flags |= F_LEASED;
    count_lease (self, node, phase, 1);
    *lease = (lease_t){
        .node = node,
        .agent = agent,
        .attempt = it->attempt,
        .epoch = rota_core_epoch_for (self, agent, it->queue),
        .phase = (uint8_t)phase,
        .assigned_ms = self->now_ms,
        .deadline_ms = self->now_ms + self->policy.lease_ms,
        .resend_ms = self->now_ms + self->policy.assign_resend_ms,
    };
    *assign = (rota_core_assign_t){.node = node,
                                   .agent = agent,
                                   .attempt = it->attempt,
                                   .phase = phase,
                                   .epoch = lease->epoch,
                                   .lease_ms = self->policy.lease_ms};
    AT (self, agents, agent_t, agent)->busy++;
    rota_core_account_granted (self, lease);
    rota_core_breaker_granted (self, lease);
    rota_core_budget_reserve (self, lease);
    Rota__TaskStatus status = phase == PHASE (REVIEW) ? STATUS (IN_REVIEW) : STATUS (IN_PROGRESS);
    rota_core_event_t *event = rota_core_move (self, node, status, phase, NULL);
    event->agent = agent;
    event->attempt = it->attempt;
    it->slot = (uint32_t)(self->leases.count - 1);
    if (phase == PHASE (WORK))
        rota_core_claims_admit (self, node);
}

void rota_core_load_lease (rota_core_t *self, rota_node_t node, rota_agent_t agent, int64_t assigned_ms,
                           uint64_t epoch)
{
    lease_t *lease = PUSH (self, leases, lease_t);
    if (!lease)
        return;
    node_t *it = &self->nodes[node];
    *lease = (lease_t){
        .node = node,
        .agent = agent,
        .attempt = it->attempt,
        .epoch = epoch,
        .account = AT (self, agents, agent_t, agent)->account,
        .phase = it->phase,
        .assigned_ms = assigned_ms,
        .deadline_ms = self->now_ms + self->policy.lease_ms,
        .resend_ms = self->now_ms + self->policy.assign_resend_ms,
        .stopping = it->flags & (F_CANCEL | F_HOLD),
    };
    it->slot = (uint32_t)(self->leases.count - 1);
    it->flags |= F_LEASED;
    count_lease (self, node, it->phase, 1);
    AT (self, agents, agent_t, agent)->busy++;
    rota_core_budget_loaded (self, lease);
    lease->stopping |= epoch < self->role.epoch && rota_core_is_deposed (self, lease); /* loaded after it */
}

/* Takes the lease away; the task itself is moved by the caller right after. */
static lease_t take_lease (rota_core_t *self, rota_node_t node)
{
    node_t *it = &self->nodes[node];
    lease_t lease = *AT (self, leases, lease_t, it->slot);
    lease_t *last = AT (self, leases, lease_t, --self->leases.count);
    if (last->node != node) {
        *AT (self, leases, lease_t, it->slot) = *last;
        self->nodes[last->node].slot = it->slot;
    }
    it->slot = ROTA_NONE;
    it->flags &= (uint16_t)~F_LEASED;
    count_lease (self, node, lease.phase, -1);
    AT (self, agents, agent_t, lease.agent)->busy -= !rota_core_batch_rides (&lease);
    return lease;
}

/* What the reviewer left open is best known by itself; where it can't go on now, another begins anew. */
static void go_on_with_the_same (rota_core_t *self, rota_node_t node, rota_agent_t agent)
{
    node_t *it = &self->nodes[node];
    if (self->same != node + 1)
        return;
    self->same = 0;
    if (rota_core_could_begin (self, node, agent))
        rota_core_grant (self, node, agent, PHASE (REVIEW));
    else if (it->asked) {
        it->asked = false;
        if (it->stumbles < UINT8_MAX)
            it->stumbles++;
        rota_core_touch (self, node);
    }
}

static void end_lease (rota_core_t *self, rota_node_t node, Rota__ResultClass class,
                       const Rota__Result *result, const char *reason)
{
    lease_t lease = take_lease (self, node);
    rota_core_ended_t *ended = PUSH (self, ended, rota_core_ended_t);
    if (!ended)
        return;
    uint8_t used_before = self->nodes[node].attempts_used;
    rota_core_account_ended (self, &lease, class, result, rota_core_why (self, class, result, reason));
    rota_core_breaker_ended (self, &lease, class, rota_core_why (self, class, result, reason));
    rota_core_budget_settle (self, &lease, class, result);
    agent_t *agent = AT (self, agents, agent_t, lease.agent);
    bool judges = lease.phase == PHASE (GATE) || lease.phase == PHASE (MERGE);
    if (class == RESULT (OK) || (judges && class == RESULT (FAILED)))
        agent->succeeded++;
    else if (class != RESULT (KILLED) && class != RESULT (LOST) && class != RESULT (LIMITED))
        agent->failed++;
    if (class == RESULT (LOST) && lease.phase == PHASE (WORK))
        self->nodes[node].flags |= F_LOST;
    if (rota_core_is_deposed (self, &lease)) {
        /* Account, breaker and budget have it as it was; of what it says nothing counts, and it goes to the
         * next without waiting. */
        self->nodes[node].flags |= F_STOPPED;
        if (class != RESULT (LOST) && class != RESULT (LIMITED) && class != RESULT (AUTH)) {
            class = RESULT (KILLED);
            reason = rota_core_deposed_words (self, &lease);
        }
    }
    Rota__ResultClass counts_as = rota_core_batch_class (self, &lease, class);
    rota_core_health_ended (self, node, lease.phase, counts_as, result);
    rota_core_finish (self, node, lease.agent, lease.attempt, counts_as, result, reason);
    if (counts_as == class && result && result->has_quality_permille &&
        rota_core_is_judged (self->nodes[node].status))
        rota_core_health_quality (self, node, result->quality_permille, false);
    *ended = (rota_core_ended_t){
        .node = node,
        .agent = lease.agent,
        .attempt = lease.attempt,
        .phase = lease.phase,
        .assigned_ms = lease.assigned_ms,
        .used = self->nodes[node].attempts_used > used_before,
        .booked = lease.booking.amount[ROTA_MEASURE_USD] || lease.booking.amount[ROTA_MEASURE_TOKENS],
        .to = self->nodes[node].status,
        .result_class = class,
        .result = result,
    };
    rota_node_t epic = epic_with_limit (self, node);
    if (epic != ROTA_NONE)
        rota_core_release_parked (self, epic);
    go_on_with_the_same (self, node, lease.agent);
}

void rota_core_stop (rota_core_t *self, lease_t *lease, const char *reason)
{
    rota_core_stop_t *stop = PUSH (self, stops, rota_core_stop_t);
    if (!stop)
        return;
    lease->stopping = true;
    lease->resend_ms = self->now_ms + self->policy.assign_resend_ms;
    *stop = (rota_core_stop_t){
        .node = lease->node, .agent = lease->agent, .attempt = lease->attempt, .reason = reason};
}

/* ------------------------------------------------------------------------------------ registering */

static agent_t *agent_by_name (rota_core_t *self, const char *name, rota_agent_t *ret_agent)
{
    for (size_t i = 0; i < self->agents.count; i++)
        if (strcmp (AT (self, agents, agent_t, i)->name, name) == 0) {
            *ret_agent = (rota_agent_t)i;
            return AT (self, agents, agent_t, i);
        }
    agent_t *agent = PUSH (self, agents, agent_t);
    if (!agent)
        return NULL;
    agent->name = strdup (name);
    if (!agent->name) {
        self->agents.count--;
        self->broken = true;
        return NULL;
    }
    agent->account = rota_core_account (self, name);
    if (agent->account == ROTA_NONE) {
        free (agent->name);
        self->agents.count--;
        return NULL;
    }
    *ret_agent = (rota_agent_t)(self->agents.count - 1);
    return agent;
}

static int set_text (rota_core_t *self, char **at, const char *text)
{
    if (*at && strcmp (*at, text) == 0)
        return 0;
    char *copy = strdup (text);
    if (!copy) {
        self->broken = true;
        return -ENOMEM;
    }
    free (*at);
    *at = copy;
    return 0;
}

int rota_core_agent_load (rota_core_t *self, const char *name, const char *kind, const char *host,
                          const uint8_t instance[16], rota_agent_t *ret_agent)
{
    agent_t *agent = agent_by_name (self, name, ret_agent);
    if (!agent || set_text (self, &agent->kind, kind) < 0 || set_text (self, &agent->host, host) < 0)
        return -ENOMEM;
    memcpy (agent->instance, instance, 16);
    return 0;
}

rota_agent_t rota_core_agent_find (const rota_core_t *self, const uint8_t instance[16])
{
    for (size_t i = 0; i < self->agents.count; i++) {
        const agent_t *agent = AT (self, agents, agent_t, i);
        if (agent->connected && memcmp (agent->instance, instance, 16) == 0)
            return (rota_agent_t)i;
    }
    return ROTA_NONE;
}

bool rota_core_agent_is_news (rota_core_t *self, const uint8_t instance[16], const uint8_t conversation[16],
                              uint64_t number)
{
    for (size_t i = 0; i < self->agents.count; i++) {
        agent_t *agent = AT (self, agents, agent_t, i);
        if (memcmp (agent->instance, instance, 16) != 0)
            continue;
        bool same = memcmp (agent->conversation, conversation, 16) == 0;
        if (same && number < agent->newest)
            return false;
        memcpy (agent->conversation, conversation, 16);
        agent->newest = number;
    }
    return true;
}

/* What it lists and has no lease is to be ended; finished ones will be reported or have been answered. */
static void compare_held (rota_core_t *self, rota_agent_t agent, const rota_held_t *held, size_t held_count)
{
    for (size_t i = 0; i < self->leases.count; i++)
        if (AT (self, leases, lease_t, i)->agent == agent)
            AT (self, leases, lease_t, i)->listed = false;
    for (size_t i = 0; i < held_count; i++) {
        lease_t *lease = find_lease (self, held[i].node, held[i].attempt);
        if (lease && lease->agent == agent) {
            lease->listed = lease->accepted = true;
            lease->deadline_ms = self->now_ms + self->policy.lease_ms;
        } else if (!held[i].finished) {
            rota_core_stop_t *stop = PUSH (self, stops, rota_core_stop_t);
            if (stop)
                *stop = (rota_core_stop_t){.node = held[i].node,
                                           .agent = agent,
                                           .attempt = held[i].attempt,
                                           .reason = "the task is no longer leased to this host"};
        }
    }
}

static void resend (rota_core_t *self, lease_t *lease, rota_core_assign_t *ret_assign)
{
    lease->resend_ms = self->now_ms + self->policy.assign_resend_ms;
    *ret_assign = (rota_core_assign_t){.node = lease->node,
                                       .agent = lease->agent,
                                       .attempt = lease->attempt,
                                       .phase = lease->phase,
                                       .epoch = lease->epoch,
                                       .again = true,
                                       .lease_ms = lease->deadline_ms - self->now_ms,
                                       .with = lease->with};
}

/* A host refuses assignments until it is registered: what it may have refused is sent once more right after.
 */
static void resend_unaccepted (rota_core_t *self, rota_agent_t agent)
{
    for (size_t i = 0; i < self->leases.count; i++) {
        lease_t *lease = AT (self, leases, lease_t, i);
        rota_core_assign_t *assign = lease->agent == agent && !lease->accepted && !lease->stopping &&
                                             !rota_core_batch_waits (self, lease)
                                         ? PUSH (self, assigns, rota_core_assign_t)
                                         : NULL;
        if (!assign)
            continue;
        resend (self, lease, assign);
    }
}

static void lose_unlisted (rota_core_t *self, rota_agent_t agent, bool accepted_only, const char *reason)
{
    for (size_t i = self->leases.count; i-- > 0;) {
        if (i >= self->leases.count)
            continue;
        lease_t *lease = AT (self, leases, lease_t, i);
        if (lease->agent == agent && !lease->listed && (lease->accepted || !accepted_only))
            end_lease (self, lease->node, RESULT (LOST), NULL, reason);
    }
}

void rota_core_hand_over_reviews (rota_core_t *self)
{
    for (size_t i = self->leases.count; i-- > 0;) {
        if (i >= self->leases.count)
            continue;
        lease_t *lease = AT (self, leases, lease_t, i);
        if (!rota_core_is_deposed (self, lease))
            continue;
        if (!AT (self, agents, agent_t, lease->agent)->connected)
            end_lease (self, lease->node, RESULT (LOST), NULL,
                       "its reviewer is gone, and is no longer the coordinator");
        else if (!lease->stopping)
            rota_core_stop (self, lease, "another one coordinates now, who reviews it");
    }
}

int rota_core_agent_register (rota_core_t *self, const rota_core_agent_t *given, const rota_held_t *held,
                              size_t held_count, int64_t now_ms, rota_agent_t *ret_agent)
{
    rota_core_at (self, now_ms);
    rota_agent_t index;
    agent_t *agent = agent_by_name (self, given->name, &index);
    if (!agent || set_text (self, &agent->kind, given->kind) < 0 ||
        set_text (self, &agent->host, given->host) < 0)
        return -ENOMEM;
    bool full, again = agent->connected && memcmp (agent->instance, given->instance, 16) == 0;
    bool restarted = memcmp (agent->instance, given->instance, 16) != 0;
    agent->capabilities = rota_core_intern (self, given->capabilities, given->capability_count, &full);
    agent->slots = given->slots;
    agent->paid = given->paid;
    agent->coordinates = given->coordinates;
    if (given->coordinates)
        agent->capabilities |= rota_core_coordinates_bit (self);
    bool was_faulty = agent->faulty;
    agent->faulty = given->problem != NULL;
    rota_account_t account = rota_core_account (self, given->account ? given->account : given->name);
    if (account == ROTA_NONE)
        return -ENOMEM;
    agent->account = account;
    for (size_t i = 0; i < self->leases.count; i++) {
        lease_t *lease = AT (self, leases, lease_t, i);
        if (lease->agent == index && !lease->probe)
            lease->account = account; /* one that was loaded knows the agent by its name alone */
        if (lease->agent == index)
            rota_core_budget_rebook (self, lease);
    }
    rota_core_budget_release_all (self);
    rota_core_rank (self, agent);
    rota_core_give_breakers (self, agent);
    agent->draining = given->drain;
    agent->connected = true;
    memcpy (agent->instance, given->instance, 16);
    if (!again || agent->faulty != was_faulty) {
        agent->since_ms = now_ms;
        rota_core_event_t *event = rota_core_emit (self, EVENT (AGENT_ATTACHED), ROTA_NONE);
        event->agent = index;
        event->reason = given->problem ? rota_core_text (self, "can't work: %s", given->problem) : NULL;
    }
    compare_held (self, index, held, held_count);
    /* A new incarnation has swept what the old one ran; the same one, after a reconnection, may not have got
     * the ASSIGN. */
    lose_unlisted (self, index, !restarted,
                   restarted ? "its host restarted without it" : "its host doesn't hold it");
    resend_unaccepted (self, index);
    if (restarted)
        rota_core_account_rejoined (self, account);
    rota_core_classes_changed (self);
    if (index == self->role.agent)
        rota_core_role_moved (self);
    *ret_agent = index;
    return self->broken ? -ENOMEM : 0;
}

void rota_core_agent_heartbeat (rota_core_t *self, rota_agent_t agent, const rota_held_t *held,
                                size_t held_count, bool draining, bool full, int64_t now_ms)
{
    rota_core_at (self, now_ms);
    AT (self, agents, agent_t, agent)->full = full;
    compare_held (self, agent, held, held_count);
    lose_unlisted (self, agent, true, "its host doesn't hold it");
    rota_core_agent_drain (self, agent, draining || AT (self, agents, agent_t, agent)->draining, now_ms);
}

void rota_core_agent_gone (rota_core_t *self, rota_agent_t agent, int64_t now_ms)
{
    rota_core_at (self, now_ms);
    agent_t *it = AT (self, agents, agent_t, agent);
    if (!it->connected)
        return;
    it->connected = false;
    it->since_ms = now_ms;
    rota_core_emit (self, EVENT (AGENT_DETACHED), ROTA_NONE)->agent = agent;
    rota_core_hand_over_reviews (self);
}

void rota_core_quiet (rota_core_t *self, int64_t until_ms, int64_t now_ms)
{
    rota_core_at (self, now_ms);
    if (self->quiet_until_ms == until_ms)
        return;
    self->quiet_until_ms = until_ms;
    self->version++;
}

int64_t rota_core_quiet_until_ms (const rota_core_t *self)
{
    return self->quiet_until_ms;
}

void rota_core_agent_drain (rota_core_t *self, rota_agent_t agent, bool drain, int64_t now_ms)
{
    rota_core_at (self, now_ms);
    agent_t *it = AT (self, agents, agent_t, agent);
    if (it->draining == drain)
        return;
    it->draining = drain;
    rota_core_event_t *event = rota_core_emit (self, EVENT (CONTROL), ROTA_NONE);
    event->agent = agent;
    event->reason = drain ? "draining" : "takes work again";
}

void rota_core_accepted (rota_core_t *self, rota_agent_t agent, rota_node_t node, uint32_t attempt,
                         int64_t now_ms)
{
    rota_core_at (self, now_ms);
    lease_t *lease = find_lease (self, node, attempt);
    if (!lease || lease->agent != agent)
        return; /* the next heartbeat lists it, and then it is ended */
    lease->accepted = true;
    lease->deadline_ms = now_ms + self->policy.lease_ms;
}

/* ---------------------------------------------------------------------------------------- results */

/* Given up, but now its result is here and nothing newer was started: it counts (design 3.4). */
static void take_up_again (rota_core_t *self, rota_node_t node, uint32_t attempt)
{
    rota_core_move (self, node, STATUS (IN_PROGRESS), PHASE (WORK), "its lost attempt reported after all")
        ->attempt = attempt;
    self->nodes[node].slot = ROTA_NONE;
}

static int refuse_result (rota_core_t *self, rota_node_t node, uint32_t attempt, Rota__ResultClass class,
                          const char *reason)
{
    rota_core_event_t *event = rota_core_emit (self, EVENT (ATTEMPT_STALE), node);
    event->attempt = attempt;
    event->result_class = (uint8_t) class;
    event->reason = reason;
    return -ESTALE;
}

/* Its verdict has no effect when it was given under an epoch that is over, or says that it was given under
 * another one than it was asked under. */
static int end_by_report (rota_core_t *self, lease_t *lease, uint64_t epoch, const Rota__Result *result)
{
    rota_node_t node = lease->node;
    uint32_t attempt = lease->attempt;
    bool judges = lease->phase == PHASE (REVIEW) && result->verdict && result->verdict->has_approved;
    if (judges && epoch && epoch != lease->epoch && !rota_core_is_deposed (self, lease))
        lease->epoch = epoch;
    bool refused = judges && rota_core_is_deposed (self, lease);
    const char *words = refused ? rota_core_deposed_words (self, lease) : NULL;
    end_lease (self, node, result->result_class, result, NULL);
    return refused ? refuse_result (self, node, attempt, result->result_class, words) : 0;
}

int rota_core_report (rota_core_t *self, rota_node_t node, uint32_t attempt, const Rota__Result *result,
                      int64_t now_ms)
{
    return rota_core_report_under (self, node, attempt, 0, result, now_ms);
}

int rota_core_report_under (rota_core_t *self, rota_node_t node, uint32_t attempt, uint64_t epoch,
                            const Rota__Result *result, int64_t now_ms)
{
    rota_core_at (self, now_ms);
    if (node >= self->count || self->nodes[node].kind != NODE (TASK) || (self->nodes[node].flags & F_STAGED))
        return -ENOENT;
    node_t *it = &self->nodes[node];
    if (attempt > it->attempt)
        return -ENOENT;
    Rota__ResultClass class = result->result_class;
    lease_t *lease = find_lease (self, node, attempt);
    if (lease)
        return end_by_report (self, lease, epoch, result);
    bool back = it->status == STATUS (PENDING) || it->status == STATUS (NEEDS_IMPROVEMENT);
    if (attempt == it->attempt && (it->flags & F_LOST) && back && !it->unmet) {
        uint8_t used_before = it->attempts_used;
        it->came_from = it->status;
        it->flags &= (uint16_t)~F_LOST;
        take_up_again (self, node, attempt);
        rota_core_health_ended (self, node, PHASE (WORK), class, result);
        rota_core_finish (self, node, ROTA_NONE, attempt, class, result, NULL);
        rota_core_ended_t *ended = PUSH (self, ended, rota_core_ended_t);
        if (ended)
            *ended = (rota_core_ended_t){.node = node,
                                         .agent = ROTA_NONE,
                                         .attempt = attempt,
                                         .phase = PHASE (WORK),
                                         .used = it->attempts_used > used_before,
                                         .result_class = class,
                                         .result = result};
        return 0;
    }
    /* A verdict that was accepted would have moved it on. */
    if (attempt == it->attempt && it->status == STATUS (NEEDS_REVIEW) && result->verdict)
        return refuse_result (self, node, attempt, class,
                              "its review was taken away before: the verdict is not used");
    if (attempt == it->attempt && !(it->flags & F_LOST))
        return 0; /* accepted before: the answer was lost, not the report */
    return refuse_result (self, node, attempt, class,
                          "a newer attempt exists or the task has ended: the result is not used");
}

/* ----------------------------------------------------------------------------------------- timers */

static void tick_lease (rota_core_t *self, lease_t *lease)
{
    const agent_t *agent = AT (self, agents, agent_t, lease->agent);
    if (lease->deadline_ms + self->policy.lease_margin_ms <= self->now_ms) {
        end_lease (
            self, lease->node, RESULT (LOST), NULL,
            rota_core_text (self, "no sign of life from %s for %lld s", agent->name,
                            (long long)(self->now_ms - lease->deadline_ms + self->policy.lease_ms) / 1000));
        return;
    }
    if ((lease->accepted && !lease->stopping) || !agent->connected || lease->resend_ms > self->now_ms)
        return;
    lease->resend_ms = self->now_ms + self->policy.assign_resend_ms;
    if (lease->stopping) {
        rota_core_stop (self, lease, "asked for before");
        return;
    }
    if (rota_core_batch_waits (self, lease))
        return;
    rota_core_assign_t *assign = PUSH (self, assigns, rota_core_assign_t);
    if (!assign)
        return;
    resend (self, lease, assign);
}

void rota_core_tick (rota_core_t *self, int64_t now_ms, int64_t stalled_ms)
{
    rota_core_at (self, now_ms);
    for (size_t i = 0; i < self->leases.count && stalled_ms > 0; i++)
        AT (self, leases, lease_t, i)->deadline_ms += stalled_ms;
    for (size_t i = self->leases.count; i-- > 0;)
        if (i < self->leases.count)
            tick_lease (self, AT (self, leases, lease_t, i));
    rota_core_budgets_turn (self);
    rota_core_modes_turn (self);
    while (self->delayed.count && self->nodes[self->delayed.items[0]].order_ms <= now_ms) {
        rota_node_t node = self->delayed.items[0];
        self->nodes[node].ready_since_ms = self->nodes[node].order_ms;
        rota_core_refresh_place (self, node);
    }
}

int64_t rota_core_next_ms (const rota_core_t *self)
{
    const int64_t times_ms[] = {rota_core_breakers_next_ms (self), rota_core_budgets_next_ms (self)};
    int64_t next_ms = rota_core_accounts_next_ms (self);
    for (size_t i = 0; i < sizeof times_ms / sizeof times_ms[0]; i++)
        next_ms = times_ms[i] < next_ms ? times_ms[i] : next_ms;
    if (self->delayed.count && self->nodes[self->delayed.items[0]].order_ms < next_ms)
        next_ms = self->nodes[self->delayed.items[0]].order_ms;
    if (self->quiet_until_ms > self->now_ms && self->quiet_until_ms < next_ms)
        next_ms = self->quiet_until_ms;
    for (size_t i = 0; i < self->leases.count; i++) {
        const lease_t *lease = AT (self, leases, lease_t, i);
        int64_t due_ms = lease->deadline_ms + self->policy.lease_margin_ms;
        if ((!lease->accepted || lease->stopping) && lease->resend_ms < due_ms)
            due_ms = lease->resend_ms;
        if (due_ms < next_ms)
            next_ms = due_ms;
    }
    return next_ms;
}

/* ------------------------------------------------------------------------------------------ looks */

size_t rota_core_lease_count (const rota_core_t *self)
{
    return self->leases.count;
}

void rota_core_lease (const rota_core_t *self, size_t index, rota_core_lease_t *ret_lease)
{
    const lease_t *lease = AT (self, leases, lease_t, index);
    *ret_lease = (rota_core_lease_t){
        .node = lease->node,
        .agent = lease->agent,
        .attempt = lease->attempt,
        .phase = lease->phase,
        .epoch = lease->epoch,
        .assigned_ms = lease->assigned_ms,
        .deadline_ms = lease->deadline_ms,
        .accepted = lease->accepted,
        .stopping = lease->stopping,
        .with = lease->with,
    };
}

size_t rota_core_agent_count (const rota_core_t *self)
{
    return self->agents.count;
}

void rota_core_agent_view (const rota_core_t *self, rota_agent_t agent, rota_core_agent_view_t *ret_view)
{
    const agent_t *it = AT (self, agents, agent_t, agent);
    *ret_view = (rota_core_agent_view_t){
        .name = it->name,
        .kind = it->kind ? it->kind : "",
        .host = it->host ? it->host : "",
        .slots = it->slots,
        .busy = it->busy,
        .connected = it->connected,
        .draining = it->draining,
        .full = it->full,
        .since_ms = it->since_ms,
        .succeeded = it->succeeded,
        .failed = it->failed,
        .account = it->account,
        .paid = it->paid,
    };
    memcpy (ret_view->instance, it->instance, 16);
    ret_view->breaker_until_ms = rota_core_breaker_until_ms (self, it, &ret_view->breaker_reason);
}
