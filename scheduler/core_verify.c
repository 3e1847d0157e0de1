/* The core's invariants, recomputed from the nodes and edges alone and compared with what is kept by
 * increment. */
#include "scheduler/core_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint32_t *unmet, *dead;
} expected_t;

static void name (const rota_core_t *self, rota_node_t node, char text[64])
{
    const node_t *it = &self->nodes[node];
    snprintf (text, 64, "%.*s", it->id_length > 60 ? 60 : it->id_length, self->ids + it->id_offset);
}

#define FAULT(node, ...)                                                                                     \
    do {                                                                                                     \
        char fault_name_[64];                                                                                \
        name (self, node, fault_name_);                                                                      \
        rota_error_set (error, 0, __VA_ARGS__);                                                              \
        return rota_error_prefix (error, -EBADMSG, "task %s", fault_name_);                                  \
    } while (0)

/* What is satisfied or dead by definition, from status and prerequisites only. */
static void spread (const rota_core_t *self, const expected_t *expected)
{
    for (rota_node_t i = 0; i < self->count; i++) {
        const node_t *it = &self->nodes[i];
        if (!it->kind)
            continue;
        bool satisfied = it->flags & F_SATISFIED, dead = it->flags & F_DEAD;
        for (uint32_t e = it->first_edge; e != ROTA_NONE; e = self->edges[e].next) {
            rota_node_t to = self->edges[e].to & ~EDGE_INHERITED;
            expected->unmet[to] += !satisfied;
            expected->dead[to] += dead;
        }
        if (it->parent != ROTA_NONE && !(it->flags & F_STAGED)) {
            expected->unmet[it->parent] += !satisfied;
            expected->dead[it->parent] += dead;
        }
    }
}

static int verify_flags (const rota_core_t *self, rota_node_t i, const expected_t *expected,
                         rota_error_t *error)
{
    const node_t *it = &self->nodes[i];
    if (it->unmet != expected->unmet[i])
        FAULT (i, "waits for %u, should for %u", it->unmet, expected->unmet[i]);
    if (it->dead != expected->dead[i])
        FAULT (i, "%u of its prerequisites are dead, kept as %u", expected->dead[i], it->dead);
    if ((it->flags & F_SILENT) && it->parent != ROTA_NONE &&
        (it->flags & F_APPROVAL) != (self->nodes[it->parent].flags & F_APPROVAL))
        FAULT (i, "%s approval, its group doesn't say so", it->flags & F_APPROVAL ? "awaits" : "awaits no");
    if (it->flags & F_STAGED)
        return 0;
    bool satisfied = it->unmet == 0, dead = it->dead > 0;
    if (it->kind == NODE (TASK)) {
        satisfied =
            it->status == STATUS (DONE) || (it->status == STATUS (CANCELLED) && (it->flags & F_SKIPPED));
        bool unstarted = it->status == STATUS (PENDING) || it->status == STATUS (NEEDS_IMPROVEMENT);
        dead = it->status == STATUS (FAILED) || it->status == STATUS (BLOCKED) ||
               (it->status == STATUS (CANCELLED) && !satisfied) || (unstarted && it->dead > 0);
    } else {
        dead = dead && !satisfied;
    }
    if (satisfied != ((it->flags & F_SATISFIED) != 0))
        FAULT (i, "is %s, its flag says otherwise", satisfied ? "satisfied" : "not satisfied");
    if (dead != ((it->flags & F_DEAD) != 0))
        FAULT (i, "is %s, its flag says otherwise", dead ? "dead" : "alive");
    return 0;
}

static rota_place_t expected_queue (const node_t *it)
{
    bool queued = it->place == ROTA_PLACE_READY || it->place == ROTA_PLACE_PARKED ||
                  it->place == ROTA_PLACE_DELAYED || it->place == ROTA_PLACE_HELD ||
                  it->place == ROTA_PLACE_CLAIMED;
    return queued ? it->place : ROTA_PLACE_READY;
}

static rota_place_t expected_place (const node_t *it)
{
    switch (it->status) {
    case STATUS (DONE):
    case STATUS (FAILED):
    case STATUS (CANCELLED):
        return ROTA_PLACE_ENDED;
    case STATUS (BLOCKED):
        return ROTA_PLACE_BLOCKED;
    case STATUS (NEEDS_REVIEW):
        return it->wants & ROTA_WANTS_REVIEW ? expected_queue (it) : ROTA_PLACE_HUMAN;
    case STATUS (IN_REVIEW):
        return ROTA_PLACE_RUNNING;
    case STATUS (IN_PROGRESS):
        if (it->phase == PHASE (APPROVAL))
            return ROTA_PLACE_HUMAN;
        return it->phase == PHASE (WORK) || (it->flags & F_LEASED) ? ROTA_PLACE_RUNNING : expected_queue (it);
    default:
        if (it->unmet)
            return it->dead ? ROTA_PLACE_UNREACHABLE : ROTA_PLACE_WAITING;
        return expected_queue (it);
    }
}

static const heap_t *verify_heap_of (const rota_core_t *self, const node_t *it, rota_node_t node)
{
    if (it->place == ROTA_PLACE_READY)
        return &AT (self, classes, class_t, it->queue)->ready;
    if (it->place == ROTA_PLACE_PARKED)
        return &AT (self, groups, group_t, self->nodes[rota_core_epic_of (self, node)].slot)->parked;
    if (it->place == ROTA_PLACE_HELD)
        return rota_core_budget_heap_of (self, node);
    return it->place == ROTA_PLACE_DELAYED ? &self->delayed : NULL;
}

/* No task is in a phase with neither a live lease nor a place in that phase's queue (design 3.6). */
static int verify_place (const rota_core_t *self, rota_node_t i, rota_error_t *error)
{
    const node_t *it = &self->nodes[i];
    if (it->place != expected_place (it))
        FAULT (i, "is in place %d, should be in %d (%s)", it->place, expected_place (it),
               rota_status_name (it->status));
    const heap_t *heap = verify_heap_of (self, it, i);
    if (it->place == ROTA_PLACE_HELD && !heap)
        FAULT (i, "is held by a budget that doesn't know it");
    if (heap && (it->slot >= heap->count || heap->items[it->slot] != i))
        FAULT (i, "is not in its queue");
    if (it->place == ROTA_PLACE_RUNNING) {
        const lease_t *lease = rota_core_lease_of (self, i);
        if (!lease || lease->node != i || lease->attempt != it->attempt)
            FAULT (i, "is in progress without a lease");
    }
    if (it->asked && it->status != STATUS (IN_REVIEW))
        FAULT (i, "is asked for a verdict, and is in no review");
    if ((it->place == ROTA_PLACE_RUNNING) != ((it->flags & F_LEASED) != 0))
        FAULT (i, "is leased by its flag, and does not run, or the other way round");
    return 0;
}

static int verify_heap_order (const rota_core_t *self, const heap_t *heap, rota_error_t *error)
{
    for (uint32_t i = 1; i < heap->count; i++) {
        const node_t *a = &self->nodes[heap->items[(i - 1) / 2]], *b = &self->nodes[heap->items[i]];
        if (a->order_ms > b->order_ms)
            FAULT (heap->items[i], "is below a later one in its queue");
    }
    return 0;
}

static int verify_counts (const rota_core_t *self, rota_error_t *error)
{
    source_counts_t *counts = calloc (self->sources.count + 1, sizeof *counts);
    if (!counts)
        return -ENOMEM;
    for (rota_node_t i = 0; i < self->count; i++) {
        const node_t *it = &self->nodes[i];
        if (it->kind != NODE (TASK) || (it->flags & F_STAGED))
            continue;
        source_counts_t *at = &counts[it->source];
        at->total++;
        at->orphaned += (it->flags & F_ORPHANED) != 0;
        at->status[it->status]++;
        at->place[it->place]++;
        at->merged += it->status == STATUS (DONE) && rota_core_is_merged (it);
        at->unchecked += it->status == STATUS (DONE) && rota_core_is_unchecked (it);
        at->merging += it->phase == PHASE (MERGE) && (it->flags & F_LEASED);
        at->working += it->phase == PHASE (WORK) && (it->flags & F_LEASED);
    }
    int r = 0;
    for (size_t s = 0; s < self->sources.count; s++)
        counts[s].limit = AT (self, sources, source_counts_t, s)->limit;
    for (size_t s = 0; s < self->sources.count && r == 0; s++)
        if (memcmp (&counts[s], AT (self, sources, source_counts_t, s), sizeof *counts) != 0)
            r = rota_error_set (error, -EBADMSG, "the counts of source %zu are not what its tasks add up to",
                                s);
    free (counts);
    return r;
}

static int verify_leases (const rota_core_t *self, rota_error_t *error)
{
    for (size_t i = 0; i < self->leases.count; i++) {
        const lease_t *lease = AT (self, leases, lease_t, i);
        if (self->nodes[lease->node].place != ROTA_PLACE_RUNNING || self->nodes[lease->node].slot != i)
            FAULT (lease->node, "has a lease and does not run");
        if (lease->epoch > self->role.epoch ||
            (lease->epoch && lease->phase != PHASE (WORK) && lease->phase != PHASE (REVIEW)))
            FAULT (lease->node, "is leased under the coordinator's epoch %llu, where there can be none such",
                   (unsigned long long)lease->epoch);
        if (lease->epoch && lease->epoch == self->role.epoch && lease->agent != self->role.agent)
            FAULT (lease->node, "is leased under the coordinator's epoch to another agent");
        if (rota_core_is_deposed (self, lease) && !lease->stopping)
            FAULT (lease->node, "is reviewed for an epoch that is over, and goes on");
    }
    for (size_t a = 0; a < self->agents.count; a++) {
        uint32_t busy = 0;
        for (size_t i = 0; i < self->leases.count; i++)
            busy += AT (self, leases, lease_t, i)->agent == a &&
                    !rota_core_batch_rides (AT (self, leases, lease_t, i));
        if (busy != AT (self, agents, agent_t, a)->busy)
            return rota_error_set (error, -EBADMSG, "agent %s holds %u leases, counted %u",
                                   AT (self, agents, agent_t, a)->name, busy,
                                   AT (self, agents, agent_t, a)->busy);
    }
    for (size_t a = 0; a < self->accounts.count; a++) {
        uint32_t probes = 0;
        for (size_t i = 0; i < self->leases.count; i++) {
            const lease_t *lease = AT (self, leases, lease_t, i);
            probes += lease->account == a && lease->probe;
        }
        const account_t *account = AT (self, accounts, account_t, a);
        if (probes != account->probes)
            return rota_error_set (error, -EBADMSG, "account %s is tried by %u tasks, counted %u",
                                   account->name, probes, account->probes);
    }
    return 0;
}

static int verify_nodes (const rota_core_t *self, const expected_t *expected, rota_error_t *error)
{
    spread (self, expected);
    for (rota_node_t i = 0; i < self->count; i++) {
        if (!self->nodes[i].kind)
            continue;
        int r = verify_flags (self, i, expected, error);
        if (r == 0 && self->nodes[i].kind == NODE (TASK) && !(self->nodes[i].flags & F_STAGED))
            r = verify_place (self, i, error);
        if (r < 0)
            return r;
    }
    return 0;
}

int rota_core_verify (const rota_core_t *self, rota_error_t *error)
{
    expected_t expected = {
        .unmet = calloc (self->count + 1, sizeof (uint32_t)),
        .dead = calloc (self->count + 1, sizeof (uint32_t)),
    };
    int r = expected.unmet && expected.dead ? verify_nodes (self, &expected, error) : -ENOMEM;
    free (expected.unmet);
    free (expected.dead);
    for (size_t c = 0; c < self->classes.count && r == 0; c++)
        r = verify_heap_order (self, &AT (self, classes, class_t, c)->ready, error);
    if (r == 0)
        r = verify_heap_order (self, &self->delayed, error);
    if (r == 0)
        r = verify_counts (self, error);
    if (r == 0)
        r = rota_core_verify_breakers (self, error);
    if (r == 0)
        r = rota_core_budgets_verify (self, error);
    if (r == 0)
        r = rota_core_claims_verify (self, error);
    if (r == 0)
        r = rota_core_health_verify (self, error);
    if (r == 0)
        r = rota_core_modes_verify (self, error);
    if (r == 0)
        r = rota_core_batch_verify (self, error);
    return r < 0 ? r : verify_leases (self, error);
}
