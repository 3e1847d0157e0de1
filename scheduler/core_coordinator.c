/* The coordinator: the one agent that judges work and gets the complex tasks.
 *
 * Who it is to be is the leading broker's choice, from what is said here of each candidate; it holds from the
 * commit of the epoch that is given out here, so that an epoch is never used twice. What needs the role waits
 * for it alone: the tasks of `complex_from` and up that any agent may take, and the reviews that its kind may
 * judge. A review that the holder may not judge (it or its kind did the work) goes to the others that could
 * hold the role. Where no candidate is connected, a review needs none.
 *
 * What its holder gets as the coordinator carries the epoch. A holder that is replaced ends the work that it
 * has begun: that was paid for, and is checked and judged like all work. Its reviews are the next one's: it
 * is told to end them (from one whose connection is gone they are taken away), and a verdict that comes all
 * the same was given under an epoch that is over: it is refused, whoever holds the role by then.
 */
#include "scheduler/core_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t bit_of (rota_core_t *self, const char *name)
{
    bool full;
    return rota_core_intern (self, &name, 1, &full);
}

uint64_t rota_core_coordinates_bit (rota_core_t *self)
{
    return bit_of (self, "coordinate");
}

bool rota_core_class_needs_role (rota_core_t *self, uint64_t capabilities)
{
    return capabilities & (bit_of (self, "coordinate") | bit_of (self, "review"));
}

/* The class that a complex task waits in, if it may go to any agent with a prompt. */
uint32_t rota_core_work_class (rota_core_t *self, const node_t *it)
{
    const class_t *own = AT (self, classes, class_t, it->class_index);
    if (!self->policy.coordinate || it->complexity < self->policy.complex_from || own->agent[0] ||
        !(own->capabilities & bit_of (self, "prompt")))
        return it->class_index;
    const char *names[65];
    size_t count = 0;
    for (unsigned bit = 0; bit < 64; bit++)
        if (own->capabilities >> bit & 1)
            names[count++] = self->capability_names[bit];
    names[count++] = "coordinate";
    uint32_t index;
    bool is_new;
    int r = rota_core_class (self, it->source, "", 0, names, count, &index, &is_new);
    return r < 0 ? it->class_index : index;
}

static bool can_coordinate (const rota_core_t *self, const agent_t *agent)
{
    return agent->coordinates && agent->kind && self->policy.coordinate;
}

static const char *why_not (const rota_core_t *self, const agent_t *agent)
{
    const account_t *account = AT (self, accounts, account_t, agent->account);
    if (!agent->connected)
        return "is not connected";
    if (agent->faulty)
        return "can't work";
    if (agent->draining)
        return "is draining";
    if (account->last.result_class && account->last.until_ms > self->now_ms)
        return account->last.result_class == RESULT (AUTH) ? "has no login" : "rests: its account is limited";
    if (agent->paid && self->quiet_until_ms > self->now_ms)
        return "rests: quiet hours";
    if (agent->aside_until_ms > self->now_ms)
        return "stepped down";
    return NULL;
}

/* The last of the times that keep it from the role: only then can it have it. */
static int64_t fit_again_ms (const rota_core_t *self, const agent_t *agent)
{
    const account_t *account = AT (self, accounts, account_t, agent->account);
    int64_t until_ms = account->last.result_class ? account->last.until_ms : 0;
    if (!agent->connected || agent->faulty || agent->draining || until_ms == ROTA_BY_HAND)
        return 0;
    if (agent->paid && self->quiet_until_ms > until_ms)
        until_ms = self->quiet_until_ms;
    if (agent->aside_until_ms > until_ms)
        until_ms = agent->aside_until_ms;
    return until_ms > self->now_ms ? until_ms : 0;
}

bool rota_core_candidate (const rota_core_t *self, rota_agent_t index, rota_core_candidate_t *ret_candidate)
{
    const agent_t *agent = AT (self, agents, agent_t, index);
    if (!can_coordinate (self, agent))
        return false;
    *ret_candidate = (rota_core_candidate_t){.name = agent->name,
                                             .kind = agent->kind,
                                             .host = agent->host,
                                             .why_not = why_not (self, agent),
                                             .until_ms = fit_again_ms (self, agent),
                                             .rank = agent->rank[1],
                                             .busy = agent->busy,
                                             .slots = agent->slots,
                                             .connected = agent->connected};
    return true;
}

void rota_core_coordinator (const rota_core_t *self, rota_core_coordinator_t *ret_role)
{
    *ret_role = self->role;
}

static bool anyone_connected (const rota_core_t *self)
{
    for (size_t i = 0; i < self->agents.count; i++) {
        const agent_t *agent = AT (self, agents, agent_t, i);
        if (agent->connected && can_coordinate (self, agent))
            return true;
    }
    return false;
}

bool rota_core_role_admits (rota_core_t *self, const class_t *class, rota_node_t node, const agent_t *agent)
{
    if (!self->policy.coordinate || !class->needs_role)
        return true;
    if (self->role.agent == ROTA_NONE)
        return !anyone_connected (self);
    const agent_t *holder = AT (self, agents, agent_t, self->role.agent);
    if (agent == holder || !holder->connected) /* one that is gone is about to be replaced, or to come back */
        return agent == holder;
    return !rota_core_agent_fits (holder, class) || rota_core_is_passed_over (self, class, holder) ||
           rota_core_is_own_judge (self, class, node, holder);
}

bool rota_core_is_coordinator (const rota_core_t *self, const agent_t *agent)
{
    return self->policy.coordinate && self->role.agent != ROTA_NONE &&
           agent == AT (self, agents, agent_t, self->role.agent);
}

uint64_t rota_core_epoch_for (const rota_core_t *self, rota_agent_t agent, uint32_t class_index)
{
    return self->policy.coordinate && agent == self->role.agent &&
                   AT (self, classes, class_t, class_index)->needs_role
               ? self->role.epoch
               : 0;
}

bool rota_core_is_deposed (const rota_core_t *self, const lease_t *lease)
{
    return lease->phase == PHASE (REVIEW) && lease->epoch && lease->epoch != self->role.epoch;
}

const char *rota_core_deposed_words (rota_core_t *self, const lease_t *lease)
{
    return rota_core_text (self,
                           "it was given under epoch %llu of the coordinator, which is not the present one "
                           "(%llu): the verdict is not used, the next one reviews it",
                           (unsigned long long)lease->epoch, (unsigned long long)self->role.epoch);
}

static int check (const rota_core_t *self, rota_agent_t agent, uint64_t replaces, rota_error_t *error)
{
    rota_core_candidate_t candidate;
    if (replaces != self->role.epoch)
        return rota_error_set (error, -ESTALE, "the coordinator's epoch is %llu, not %llu",
                               (unsigned long long)self->role.epoch, (unsigned long long)replaces);
    if (agent == ROTA_NONE)
        return 0;
    if (!rota_core_candidate (self, agent, &candidate))
        return rota_error_set (error, -EPERM, "%s doesn't coordinate",
                               AT (self, agents, agent_t, agent)->name);
    if (candidate.why_not)
        return rota_error_set (error, -EPERM, "%s %s", candidate.name, candidate.why_not);
    return 0;
}

static int keep_reason (rota_core_t *self, const char *reason)
{
    char *copy = strdup (reason ? reason : "");
    if (!copy) {
        self->broken = true;
        return -ENOMEM;
    }
    free (self->role_reason);
    self->role.reason = self->role_reason = copy;
    return 0;
}

int rota_core_coordinate (rota_core_t *self, rota_agent_t agent, uint64_t replaces, bool by_hand,
                          const char *reason, int64_t now_ms, rota_error_t *error)
{
    rota_core_at (self, now_ms);
    int r = check (self, agent, replaces, error);
    rota_agent_t before = self->role.agent;
    if (r < 0 || (agent == before && by_hand == self->role.by_hand))
        return r < 0 ? r : 1;
    if (keep_reason (self, reason) < 0)
        return rota_error_set (error, -ENOMEM, "no memory");
    self->role.by_hand = by_hand;
    self->role_changed = true;
    self->version++;
    if (agent == before)
        return 0;
    self->role.agent = agent;
    self->role.epoch++;
    self->role.since_ms = now_ms;
    rota_core_hand_over_reviews (self);
    rota_core_role_moved (self);
    rota_core_event_t *event = rota_core_emit (self, EVENT (COORDINATOR_CHANGED), ROTA_NONE);
    event->agent = agent;
    event->reason = rota_core_text (self, "%s%s", agent == ROTA_NONE ? "vacant: " : "", reason ? reason : "");
    return 0;
}

int rota_core_step_down (rota_core_t *self, int64_t now_ms)
{
    rota_core_at (self, now_ms);
    if (self->role.agent == ROTA_NONE)
        return 1;
    AT (self, agents, agent_t, self->role.agent)->aside_until_ms = now_ms + self->policy.failback_ms;
    self->version++;
    return 0;
}

void rota_core_coordinator_load (rota_core_t *self, const char *agent, const rota_core_coordinator_t *role)
{
    self->role = *role;
    self->role.agent = ROTA_NONE;
    self->role.reason = "";
    keep_reason (self, role->reason);
    for (size_t i = 0; agent && i < self->agents.count; i++)
        if (strcmp (AT (self, agents, agent_t, i)->name, agent) == 0)
            self->role.agent = (rota_agent_t)i;
    for (size_t i = 0; i < self->leases.count; i++)
        AT (self, leases, lease_t, i)->stopping |= rota_core_is_deposed (self, AT (self, leases, lease_t, i));
}
