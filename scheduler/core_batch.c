/* core_batch.c - merges that one attempt takes at once, so that the gates run once on what comes of all of
 * them.
 *
 * Each member has a lease and an attempt of its own, as a merge alone has: it is renewed, cancelled, lost and
 * reported by itself. What makes the batch is that all go to the same agent in one assignment, the leader's;
 * the others ride on it and take none of the agent's slots. Which of them led is not stored: after a restart
 * each is what it is alone, and a merge that is there already is found and told again.
 */
#include "scheduler/core_internal.h"

#include <errno.h>
#include <string.h>

static bool takes_batches (rota_core_t *self, const agent_t *agent)
{
    static const char *const NAME[] = {"merge-batch"};
    bool full;
    uint64_t bit = rota_core_intern (self, NAME, 1, &full);
    return !full && (agent->capabilities & bit);
}

bool rota_core_batch_rides (const lease_t *lease)
{
    return lease->with && lease->with != lease->node + 1;
}

void rota_core_batch_fill (rota_core_t *self, rota_node_t leader)
{
    const lease_t *lease = rota_core_lease_of (self, leader);
    const node_t *it = &self->nodes[leader];
    if (!lease || self->policy.merge_batch < 2 || it->stumbles)
        return;
    rota_agent_t agent = lease->agent;
    if (!takes_batches (self, AT (self, agents, agent_t, agent)))
        return;
    for (uint32_t count = 1; count < self->policy.merge_batch && !self->broken; count++) {
        const heap_t *ready = &AT (self, classes, class_t, it->queue)->ready;
        rota_node_t next = ready->count ? ready->items[0] : ROTA_NONE;
        bool of_task;
        if (next == ROTA_NONE || rota_core_next_phase (&self->nodes[next]) != PHASE (MERGE) ||
            self->nodes[next].stumbles || rota_core_budget_refuses (self, next, agent, &of_task) ||
            (self->policy.wip_limit && self->leases.count >= self->policy.wip_limit))
            return;
        rota_core_grant (self, next, agent, PHASE (MERGE));
        if (self->broken)
            return;
        rota_core_lease_of (self, leader)->with = rota_core_lease_of (self, next)->with = leader + 1;
        AT (self, agents, agent_t, agent)->busy--;
        for (size_t i = self->assigns.count; i-- > 0;) {
            rota_core_assign_t *assign = AT (self, assigns, rota_core_assign_t, i);
            if (assign->node == leader || assign->node == next)
                assign->with = leader + 1;
            if (assign->node == leader)
                break;
        }
    }
}

bool rota_core_batch_waits (const rota_core_t *self, const lease_t *lease)
{
    const lease_t *leader = rota_core_batch_rides (lease) ? rota_core_lease_of (self, lease->with - 1) : NULL;
    return leader && leader->with == lease->with && leader->agent == lease->agent && !leader->accepted &&
           !leader->stopping;
}

/* Merged, or found wanting itself: that counts. Whatever else stopped the batch says nothing of one member:
 * it goes again, and alone where its own work may be why. */
Rota__ResultClass rota_core_batch_class (rota_core_t *self, const lease_t *lease, Rota__ResultClass class)
{
    switch (class) {
    case RESULT (OK):
    case RESULT (FAILED):
    case RESULT (LOST):
    case RESULT (KILLED):
    case RESULT (LIMITED):
    case RESULT (AUTH):
    case RESULT (NETWORK):
        return class;
    default:
        if (!lease->with)
            return class;
        self->nodes[lease->node].stumbles = 1;
        return RESULT (KILLED);
    }
}

int rota_core_batch_verify (const rota_core_t *self, rota_error_t *error)
{
    for (size_t i = 0; i < self->leases.count; i++) {
        const lease_t *lease = AT (self, leases, lease_t, i);
        if (!lease->with)
            continue;
        const lease_t *leader = rota_core_lease_of (self, lease->with - 1);
        const node_t *it = &self->nodes[lease->node];
        if (lease->phase != PHASE (MERGE))
            return rota_error_set (error, -EBADMSG, "node %u is in a batch and no merge", lease->node);
        if (leader && leader->with == lease->with &&
            (leader->agent != lease->agent || self->nodes[leader->node].source != it->source))
            return rota_error_set (error, -EBADMSG, "node %u rides with another agent or source",
                                   lease->node);
    }
    return 0;
}
