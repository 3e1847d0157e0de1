/* What comes after the work: gate, review, approval, merge. Each is handed out like work, to agents that can
 * do it, from a queue of its own; the attempt's number rises with each. */
#include "scheduler/core_internal.h"

#include <stdio.h>
#include <string.h>

Rota__Phase rota_core_next_phase (const node_t *it)
{
    if (it->status == STATUS (NEEDS_REVIEW))
        return PHASE (REVIEW);
    return it->status == STATUS (IN_PROGRESS) ? it->phase : PHASE (WORK);
}

/* ---------------------------------------------------------------------------------------- queues */

/* Who did the work doesn't judge it: the class says whose. */
static uint32_t review_class (rota_core_t *self, const node_t *it)
{
    static const char *const REVIEW[] = {"review"};
    char pattern[128] = "";
    uint32_t class_index;
    bool is_new;
    const agent_t *author = it->author ? AT (self, agents, agent_t, it->author - 1u) : NULL;
    if (author && author->kind)
        snprintf (pattern, sizeof pattern, "%s%.100s", it->wants & ROTA_WANTS_OTHER_KIND ? "!!" : "!",
                  author->kind);
    int r = rota_core_class (self, it->source, pattern, strlen (pattern), REVIEW, 1, &class_index, &is_new);
    return r < 0 ? ROTA_NONE : class_index;
}

static uint32_t step_class (rota_core_t *self, const node_t *it, const char *capability)
{
    uint32_t class_index;
    bool is_new;
    int r = rota_core_class (self, it->source, "", 0, &capability, 1, &class_index, &is_new);
    return r < 0 ? ROTA_NONE : class_index;
}

uint32_t rota_core_queue_of (rota_core_t *self, rota_node_t node)
{
    const node_t *it = &self->nodes[node];
    switch (rota_core_next_phase (it)) {
    case PHASE (GATE):
        return step_class (self, it, "gate");
    case PHASE (MERGE):
        return step_class (self, it, "merge");
    case PHASE (REVIEW):
        return review_class (self, it);
    default:
        return rota_core_escalated_class (self, node, rota_core_work_class (self, it));
    }
}

/* One that will be there before long: it is worth waiting for. */
static bool will_serve (const rota_core_t *self, const agent_t *agent)
{
    const account_t *account = AT (self, accounts, account_t, agent->account);
    return agent->connected && !agent->draining && !agent->faulty &&
           rota_core_breaker_until_ms (self, agent, NULL) <= self->now_ms &&
           (!account->last.result_class ||
            account->last.until_ms <= self->now_ms + self->policy.review_patience_ms);
}

bool rota_core_is_passed_over (const rota_core_t *self, const class_t *class, const agent_t *agent)
{
    if (class->agent[0] != '!' || class->agent[1] == '!' || strcmp (agent->kind, class->agent + 1) != 0)
        return false;
    for (size_t i = 0; i < self->agents.count; i++) {
        const agent_t *other = AT (self, agents, agent_t, i);
        if (other->kind && strcmp (other->kind, class->agent + 1) != 0 &&
            rota_core_agent_fits (other, class) && will_serve (self, other))
            return true;
    }
    return false;
}

bool rota_core_is_own_judge (rota_core_t *self, const class_t *class, rota_node_t node, const agent_t *agent)
{
    const node_t *it = node != ROTA_NONE ? &self->nodes[node] : NULL;
    if (!it || rota_core_next_phase (it) != PHASE (REVIEW) || !it->author ||
        agent != AT (self, agents, agent_t, it->author - 1u))
        return false;
    for (size_t i = 0; i < self->agents.count; i++) {
        const agent_t *other = AT (self, agents, agent_t, i);
        bool rests = other->paid && self->quiet_until_ms > self->now_ms;
        bool of_task;
        if (other != agent && !rests && rota_core_agent_fits (other, class) && will_serve (self, other) &&
            !rota_core_budget_refuses (self, node, (rota_agent_t)i, &of_task))
            return true;
    }
    return false;
}

/* As many reviews as are allowed wanted changes: the coordinator has the last word of all agents, also where
 * its kind did the work. NULL: it isn't so, or there is none who could. */
static const agent_t *holder_for (const rota_core_t *self, const class_t *class, const node_t *it)
{
    if (!self->policy.coordinate || self->role.agent == ROTA_NONE || it->rounds < self->policy.review_rounds)
        return NULL;
    const agent_t *holder = AT (self, agents, agent_t, self->role.agent);
    bool own = it->author && holder == AT (self, agents, agent_t, it->author - 1u);
    return !own && rota_core_agent_fits (holder, class) && will_serve (self, holder) ? holder : NULL;
}

bool rota_core_may_judge (rota_core_t *self, const class_t *class, rota_node_t node, const agent_t *agent)
{
    bool review = node != ROTA_NONE && rota_core_next_phase (&self->nodes[node]) == PHASE (REVIEW);
    const agent_t *last = review ? holder_for (self, class, &self->nodes[node]) : NULL;
    if (last)
        return agent == last;
    return !rota_core_is_passed_over (self, class, agent) &&
           !rota_core_is_own_judge (self, class, node, agent) &&
           rota_core_role_admits (self, class, node, agent);
}

/* ---------------------------------------------------------------------------------------- moves */

static Rota__Phase phase_after (const node_t *it, Rota__Phase phase)
{
    static const Rota__Phase ORDER[] = {PHASE (WORK), PHASE (GATE), PHASE (REVIEW), PHASE (APPROVAL),
                                        PHASE (MERGE)};
    const bool wanted[] = {false, it->wants & ROTA_WANTS_GATE, it->wants & ROTA_WANTS_REVIEW,
                           it->flags & F_APPROVAL, it->wants & ROTA_WANTS_MERGE};
    size_t i = 0, count = sizeof ORDER / sizeof ORDER[0];
    while (i < count && ORDER[i] != phase)
        i++;
    for (i++; i < count; i++)
        if (wanted[i])
            return ORDER[i];
    return 0;
}

rota_core_event_t *rota_core_advance (rota_core_t *self, rota_node_t node, Rota__Phase phase,
                                      const char *reason)
{
    node_t *it = &self->nodes[node];
    Rota__Phase next = phase_after (it, phase);
    it->stumbles = 0;
    it->order_ms = 0;
    it->ready_since_ms = self->now_ms;
    if (!next)
        return rota_core_move (self, node, STATUS (DONE), 0, reason);
    if (next == PHASE (REVIEW))
        return rota_core_move (self, node, STATUS (NEEDS_REVIEW), next, reason);
    return rota_core_move (self, node, STATUS (IN_PROGRESS), next,
                           next == PHASE (APPROVAL) ? "awaits approval" : reason);
}

static rota_core_event_t *improve (rota_core_t *self, rota_node_t node, const char *reason)
{
    node_t *it = &self->nodes[node];
    rota_core_set_reason (self, node, reason, reason ? strlen (reason) : 0);
    it->ready_since_ms = self->now_ms;
    it->order_ms = 0;
    it->stumbles = 0;
    return rota_core_move (self, node, STATUS (NEEDS_IMPROVEMENT), 0, reason);
}

/* The work was found wanting: what it is to become costs one of its attempts. */
static rota_core_event_t *improve_or_fail (rota_core_t *self, rota_node_t node, const char *reason)
{
    node_t *it = &self->nodes[node];
    rota_agent_t author = it->author ? it->author - 1u : ROTA_NONE;
    if (!rota_core_use_attempt (self, node, author, self->policy.rules[RESULT (FAILED)].other, &reason))
        return improve (self, node, reason);
    rota_core_set_reason (self, node, reason, reason ? strlen (reason) : 0);
    return rota_core_move (self, node, STATUS (FAILED), 0, reason);
}

/* Back into the queue of its phase. */
static rota_core_event_t *again (rota_core_t *self, rota_node_t node, int64_t delay_ms, const char *reason)
{
    node_t *it = &self->nodes[node];
    it->order_ms = delay_ms > 0 ? self->now_ms + delay_ms : 0;
    if (it->status == STATUS (IN_REVIEW))
        return rota_core_move (self, node, STATUS (NEEDS_REVIEW), PHASE (REVIEW), reason);
    return rota_core_move (self, node, STATUS (IN_PROGRESS), it->phase, reason);
}

static rota_core_event_t *stumble (rota_core_t *self, rota_node_t node, const char *reason)
{
    node_t *it = &self->nodes[node];
    if (it->stumbles < UINT8_MAX)
        it->stumbles++;
    if (it->status == STATUS (IN_REVIEW) && it->stumbles >= self->policy.step_tries)
        return rota_core_block (
            self, node, CAUSE (NEEDS_HUMAN),
            rota_core_text (self, "no verdict after %u reviews: %s", it->stumbles, reason));
    return again (self, node, it->stumbles > 1 ? rota_core_backoff_ms (self, node, it->stumbles - 1u) : 0,
                  reason);
}

/* It is worth less than is wanted: the words for it, or NULL. */
static const char *quality_fault (rota_core_t *self, const Rota__Result *result)
{
    const rota_core_policy_t *policy = &self->policy;
    if (!result || !result->has_quality_permille || result->quality_permille >= policy->quality_min)
        return NULL;
    return rota_core_text (self, "its quality is %u.%02u, %u.%02u is wanted", result->quality_permille / 1000,
                           result->quality_permille % 1000 / 10, policy->quality_min / 1000,
                           policy->quality_min % 1000 / 10);
}

/* What was checked goes on, if it is worth enough. */
static rota_core_event_t *advance_if_worth (rota_core_t *self, rota_node_t node, Rota__Phase phase,
                                            const Rota__Result *result, const char *reason)
{
    const char *fault = quality_fault (self, result);
    if (fault && self->policy.quality_improves)
        return improve_or_fail (self, node, fault);
    if (fault)
        reason = rota_core_text (self, "%s%s%s", reason ? reason : "", reason ? "; " : "", fault);
    return rota_core_advance (self, node, phase, reason);
}

/* Back into the queue of reviews, for the coordinator alone. NULL: it was the one who judged, or can't. */
static rota_core_event_t *ask_last_instance (rota_core_t *self, rota_node_t node, rota_agent_t judge)
{
    node_t *it = &self->nodes[node];
    uint32_t queue = review_class (self, it);
    if (judge == ROTA_NONE || judge == self->role.agent || it->rounds != self->policy.review_rounds ||
        queue == ROTA_NONE)
        return NULL;
    rota_core_event_t *event = NULL;
    const agent_t *holder = holder_for (self, AT (self, classes, class_t, queue), it);
    if (holder)
        event = again (self, node, 0,
                       rota_core_text (self, "changes wanted in %u reviews: %s, which coordinates, decides",
                                       it->rounds, holder->name));
    return event;
}

static rota_core_event_t *take_verdict (rota_core_t *self, rota_node_t node, rota_agent_t judge,
                                        const Rota__Result *result, bool asked)
{
    node_t *it = &self->nodes[node];
    const Rota__Verdict *verdict = result ? result->verdict : NULL;
    if (!verdict || !verdict->has_approved) {
        if (asked || !result || !result->answer.len)
            return stumble (self, node, "the review brought no verdict");
        it->asked = true;
        self->same = node + 1;
        return again (self, node, 0, "the review brought no verdict: its reviewer is asked for it once more");
    }
    if (verdict->part && verdict->part < verdict->parts) {
        self->same = node + 1;
        return again (self, node, 0,
                      rota_core_text (self, "part %u of %u is reviewed", verdict->part, verdict->parts));
    }
    const char *summary = verdict->summary.len ? rota_core_text (self, "%.*s", (int)verdict->summary.len,
                                                                 (const char *)verdict->summary.data)
                                               : NULL;
    if (verdict->approved)
        return advance_if_worth (self, node, PHASE (REVIEW), result,
                                 verdict->same_vendor ? "approved (same vendor)" : "approved");
    if (it->rounds < UINT8_MAX)
        it->rounds++;
    rota_core_event_t *last = ask_last_instance (self, node, judge);
    if (last)
        return last;
    if (it->rounds >= self->policy.review_rounds)
        return rota_core_block (self, node, CAUSE (NEEDS_HUMAN),
                                rota_core_text (self, "changes wanted in %u reviews%s%s", it->rounds,
                                                summary ? ", at last: " : "", summary ? summary : ""));
    return improve (self, node, summary ? summary : "changes wanted");
}

/* All of them let it through; what is to be made of those that said less than that is policy. */
static rota_core_event_t *take_gates (rota_core_t *self, rota_node_t node, const Rota__Result *result)
{
    const rota_core_policy_t *policy = &self->policy;
    rota_gate_policy_t worst = ROTA_GATE_PASSES;
    const char *reason = NULL;
    bool fails = false;
    for (size_t i = 0; result && i < result->n_gates; i++) {
        const Rota__GateResult *it = result->gates[i];
        bool flaky = it->state == ROTA__GATE_STATE__GATE_STATE_FLAKY;
        bool unchecked = it->state == ROTA__GATE_STATE__GATE_STATE_NOT_CHECKABLE;
        rota_gate_policy_t says = flaky ? policy->flaky : unchecked ? policy->uncheckable : ROTA_GATE_PASSES;
        if (says == ROTA_GATE_PASSES || worst == ROTA_GATE_FAILS || worst == says)
            continue;
        worst = says;
        fails = unchecked;
        reason = rota_core_text (self,
                                 flaky ? "the gate %.*s is flaky: it failed, then passed on the same tree"
                                       : "the gate %.*s can't be checked: it has no command",
                                 (int)(it->name.len < 200 ? it->name.len : 200), (const char *)it->name.data);
    }
    if (worst == ROTA_GATE_PASSES)
        return advance_if_worth (self, node, PHASE (GATE), result, NULL);
    if (worst == ROTA_GATE_ASKS)
        return rota_core_block (self, node, CAUSE (NEEDS_HUMAN), reason);
    if (!fails)
        return improve_or_fail (self, node, reason);
    /* No work of its author's can change that. */
    rota_core_set_reason (self, node, reason, strlen (reason));
    return rota_core_move (self, node, STATUS (FAILED), 0, reason);
}

rota_core_event_t *rota_core_finish_step (rota_core_t *self, rota_node_t node, rota_agent_t agent,
                                          Rota__ResultClass class, const Rota__Result *result,
                                          const char *reason)
{
    node_t *it = &self->nodes[node];
    bool review = it->status == STATUS (IN_REVIEW), asked = it->asked;
    it->asked = false;
    switch (class) {
    case RESULT (OK):
        return review                      ? take_verdict (self, node, agent, result, asked)
               : it->phase == PHASE (GATE) ? take_gates (self, node, result)
                                           : rota_core_advance (self, node, it->phase, NULL);
    case RESULT (FAILED):
    case RESULT (INVALID):
    case RESULT (TIMEOUT):
    case RESULT (CONTEXT_LIMIT):
    case RESULT (UNSPECIFIED):
        return review ? stumble (self, node, reason) : improve_or_fail (self, node, reason);
    case RESULT (NEEDS_INPUT):
        return review ? stumble (self, node, reason)
                      : rota_core_block (self, node, CAUSE (NEEDS_INPUT), reason);
    case RESULT (ENVIRONMENT):
        return rota_core_block (self, node, CAUSE (ENVIRONMENT), reason);
    case RESULT (LIMITED):
    case RESULT (AUTH):
        return again (self, node, 0, reason); /* its account waits, not the task */
    default:
        return review && class != RESULT (KILLED) && class != RESULT (LOST)
                   ? stumble (self, node, reason)
                   : again (self, node, it->flags & F_STOPPED ? 0 : self->policy.backoff_base_ms, reason);
    }
}
