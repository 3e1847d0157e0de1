/* Who is where and who comes next: places, heaps, classes of eligibility, counts, dispatch. */
#include "scheduler/core_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------ heaps */

static bool comes_first (const rota_core_t *self, uint32_t a, uint32_t b)
{
    int64_t x = self->nodes[a].order_ms, y = self->nodes[b].order_ms;
    return x != y ? x < y : a < b;
}

static void put (rota_core_t *self, heap_t *heap, uint32_t at, uint32_t node)
{
    heap->items[at] = node;
    self->nodes[node].slot = at;
}

static void sift (rota_core_t *self, heap_t *heap, uint32_t at)
{
    uint32_t node = heap->items[at];
    while (at > 0 && comes_first (self, node, heap->items[(at - 1) / 2])) {
        put (self, heap, at, heap->items[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (uint32_t child = at * 2 + 1; child < heap->count; child = at * 2 + 1) {
        if (child + 1 < heap->count && comes_first (self, heap->items[child + 1], heap->items[child]))
            child++;
        if (!comes_first (self, heap->items[child], node))
            break;
        put (self, heap, at, heap->items[child]);
        at = child;
    }
    put (self, heap, at, node);
}

static void heap_add (rota_core_t *self, heap_t *heap, uint32_t node)
{
    if (heap->count == heap->capacity) {
        uint32_t capacity = heap->capacity ? heap->capacity * 2 : 64;
        uint32_t *items = realloc (heap->items, capacity * sizeof *items);
        if (!items) {
            self->broken = true;
            return;
        }
        heap->items = items;
        heap->capacity = capacity;
    }
    heap->items[heap->count++] = node;
    sift (self, heap, heap->count - 1);
}

static void heap_remove (rota_core_t *self, heap_t *heap, uint32_t at)
{
    self->nodes[heap->items[at]].slot = ROTA_NONE;
    uint32_t last = heap->items[--heap->count];
    if (at == heap->count)
        return;
    heap->items[at] = last;
    sift (self, heap, at);
}

/* ----------------------------------------------------------------------------------------- counts */

source_counts_t *rota_core_source (rota_core_t *self, uint32_t source)
{
    while (self->sources.count <= source)
        if (!PUSH (self, sources, source_counts_t))
            return NULL;
    return AT (self, sources, source_counts_t, source);
}

/* Of a task that is done. */
bool rota_core_is_merged (const node_t *it)
{
    return it->wants & ROTA_WANTS_MERGE;
}

bool rota_core_is_unchecked (const node_t *it)
{
    return rota_core_is_merged (it) && !(it->wants & (ROTA_WANTS_GATE | ROTA_WANTS_REVIEW)) &&
           !(it->flags & F_APPROVAL);
}

void rota_core_count_status (rota_core_t *self, rota_node_t node, uint8_t status, int delta)
{
    source_counts_t *counts = rota_core_source (self, self->nodes[node].source);
    if (counts)
        counts->status[status] += (uint64_t)(int64_t)delta;
    if (counts && status == STATUS (DONE)) {
        counts->merged += rota_core_is_merged (&self->nodes[node]) ? (uint64_t)(int64_t)delta : 0;
        counts->unchecked += rota_core_is_unchecked (&self->nodes[node]) ? (uint64_t)(int64_t)delta : 0;
    }
    for (rota_node_t up = self->nodes[node].parent; up != ROTA_NONE; up = self->nodes[up].parent)
        AT (self, groups, group_t, self->nodes[up].slot)->status[status] += (uint32_t)delta;
}

size_t rota_core_group_count (const rota_core_t *self)
{
    return self->groups.count;
}

rota_node_t rota_core_group (const rota_core_t *self, size_t index)
{
    return AT (self, groups, group_t, index)->node;
}

void rota_core_group_counts (const rota_core_t *self, rota_node_t group, uint64_t ret_status[ROTA_STATUSES])
{
    for (size_t i = 0; i < ROTA_STATUSES; i++)
        ret_status[i] = AT (self, groups, group_t, self->nodes[group].slot)->status[i];
}

static void add_counts (rota_core_counts_t *total, const source_counts_t *counts)
{
    total->total += counts->total;
    total->orphaned += counts->orphaned;
    total->merged += counts->merged;
    total->unchecked += counts->unchecked;
    for (size_t i = 0; i < ROTA_STATUSES; i++)
        total->status[i] += counts->status[i];
    for (size_t i = 0; i < ROTA_PLACES; i++)
        total->place[i] += counts->place[i];
}

/* A fitting agent may be about to register, so nothing counts as unassignable in the first moments. */
bool rota_core_is_patient (const rota_core_t *self, int64_t now_ms)
{
    return now_ms - self->started_ms < self->policy.agent_patience_ms;
}

void rota_core_counts (const rota_core_t *self, uint32_t source, int64_t now_ms,
                       rota_core_counts_t *ret_counts)
{
    *ret_counts = (rota_core_counts_t){0};
    for (size_t i = 0; i < self->sources.count; i++)
        if (source == ROTA_NONE || source == i)
            add_counts (ret_counts, AT (self, sources, source_counts_t, i));
    for (size_t i = 0; i < self->classes.count && !rota_core_is_patient (self, now_ms); i++) {
        const class_t *class = AT (self, classes, class_t, i);
        if ((source == ROTA_NONE || source == class->source) && !class->assignable)
            ret_counts->unassignable += class->ready.count;
    }
    const uint64_t *place = ret_counts->place;
    ret_counts->broke = rota_core_budget_stuck (self, source);
    ret_counts->moving = place[ROTA_PLACE_READY] - ret_counts->unassignable + place[ROTA_PLACE_PARKED] +
                         place[ROTA_PLACE_HELD] - ret_counts->broke + place[ROTA_PLACE_DELAYED] +
                         place[ROTA_PLACE_RUNNING];
    /* Who waits for a claim moves as long as others do: the holder may be one that nobody can take on. */
    if (ret_counts->moving)
        ret_counts->moving += place[ROTA_PLACE_CLAIMED];
}

bool rota_core_is_settled (const rota_core_t *self, uint32_t source, int64_t now_ms)
{
    rota_core_counts_t own, all;
    rota_core_counts (self, source, now_ms, &own);
    if (own.moving)
        return false;
    if (!own.place[ROTA_PLACE_WAITING] && !own.place[ROTA_PLACE_CLAIMED])
        return true;
    /* What waits, waits for an unassignable one, a person, or for another source that moves. */
    rota_core_counts (self, ROTA_NONE, now_ms, &all);
    return all.moving == 0;
}

/* ----------------------------------------------------------------------------------------- places */

static heap_t *heap_of (rota_core_t *self, rota_node_t node, rota_place_t place)
{
    switch (place) {
    case ROTA_PLACE_READY:
        return &AT (self, classes, class_t, self->nodes[node].queue)->ready;
    case ROTA_PLACE_PARKED:
        return &AT (self, groups, group_t, self->nodes[rota_core_epic_of (self, node)].slot)->parked;
    case ROTA_PLACE_DELAYED:
        return &self->delayed;
    case ROTA_PLACE_HELD:
        return rota_core_budget_heap (self, node);
    default:
        return NULL;
    }
}

/* order_ms is the heap's key there. */
static bool is_queued (uint8_t place)
{
    return place == ROTA_PLACE_READY || place == ROTA_PLACE_PARKED || place == ROTA_PLACE_HELD ||
           place == ROTA_PLACE_CLAIMED;
}

/* The order of design section 4: the time since which it is ready, less a bonus. Constant while it waits, so
 * that waiting wins in the end. */
static int64_t order_of (const rota_core_t *self, const node_t *it)
{
    if (it->status == STATUS (IN_PROGRESS))
        return it->ready_since_ms; /* gates and merges: as they come */
    int64_t bonus_s = (int64_t)it->priority * self->policy.weight.priority_s;
    bonus_s += rota_core_mode_bonus_s (self, it);
    int unblocks = 0;
    for (uint32_t e = it->first_edge; e != ROTA_NONE && unblocks < self->policy.weight.unblocks_cap;
         e = self->edges[e].next)
        unblocks++;
    bonus_s += (int64_t)unblocks * self->policy.weight.unblocks_s;
    int complexity = it->complexity ? it->complexity : 5;
    bonus_s += (10 - complexity) * rota_core_mode_small_s (self);
    return it->ready_since_ms - bonus_s * 1000;
}

void rota_core_leave_place (rota_core_t *self, rota_node_t node)
{
    node_t *it = &self->nodes[node];
    heap_t *heap = heap_of (self, node, it->place);
    if (heap)
        heap_remove (self, heap, it->slot);
    if (it->place == ROTA_PLACE_CLAIMED)
        rota_core_claims_left (self, node);
    if (is_queued (it->place))
        it->order_ms = 0;
    rota_core_count_place (self, node, it->place, -1);
}

void rota_core_enter_place (rota_core_t *self, rota_node_t node, rota_place_t place)
{
    node_t *it = &self->nodes[node];
    it->place = (uint8_t)place;
    rota_core_count_place (self, node, (uint8_t)place, 1);
    if (is_queued ((uint8_t)place)) {
        uint32_t queue = rota_core_queue_of (self, node);
        if (queue == ROTA_NONE)
            self->broken = true;
        it->queue = queue == ROTA_NONE ? it->class_index : (uint16_t)queue;
        it->order_ms = order_of (self, it);
    }
    heap_t *heap = heap_of (self, node, place);
    if (heap)
        heap_add (self, heap, node);
    rota_core_claims_follow (self, node);
}

/* Built anew, one after the other. */
static void rebuild_heap (rota_core_t *self, heap_t *heap)
{
    uint32_t count = heap->count;
    for (uint32_t i = 0; i < count; i++) {
        heap->count = i + 1;
        sift (self, heap, i);
    }
}

void rota_core_reorder (rota_core_t *self)
{
    for (rota_node_t i = 0; i < self->count; i++) {
        node_t *it = &self->nodes[i];
        if (it->kind == NODE (TASK) && !(it->flags & F_STAGED) && is_queued (it->place))
            it->order_ms = order_of (self, it);
    }
    for (size_t c = 0; c < self->classes.count; c++)
        rebuild_heap (self, &AT (self, classes, class_t, c)->ready);
    for (size_t g = 0; g < self->groups.count; g++)
        rebuild_heap (self, &AT (self, groups, group_t, g)->parked);
    for (size_t t = 0; t < self->money.tallies.count; t++)
        rebuild_heap (self, &((tally_t *)self->money.tallies.items)[t].held);
    self->version++;
}

static rota_place_t queued_place (const rota_core_t *self, const node_t *it)
{
    if (is_queued (it->place))
        return it->place;
    return it->order_ms > self->now_ms ? ROTA_PLACE_DELAYED : ROTA_PLACE_READY;
}

static rota_place_t place_of (const rota_core_t *self, const node_t *it)
{
    switch (it->status) {
    case STATUS (IN_PROGRESS):
        if (it->phase == PHASE (APPROVAL))
            return ROTA_PLACE_HUMAN;
        if (it->phase == PHASE (WORK) || (it->flags & F_LEASED))
            return ROTA_PLACE_RUNNING;
        return queued_place (self, it);
    case STATUS (IN_REVIEW):
        return ROTA_PLACE_RUNNING;
    case STATUS (NEEDS_REVIEW):
        return it->wants & ROTA_WANTS_REVIEW ? queued_place (self, it) : ROTA_PLACE_HUMAN;
    case STATUS (BLOCKED):
        return ROTA_PLACE_BLOCKED;
    case STATUS (PENDING):
    case STATUS (NEEDS_IMPROVEMENT):
        break;
    default:
        return ROTA_PLACE_ENDED;
    }
    if (it->unmet)
        return it->dead ? ROTA_PLACE_UNREACHABLE : ROTA_PLACE_WAITING;
    return queued_place (self, it);
}

void rota_core_refresh_place (rota_core_t *self, rota_node_t node)
{
    node_t *it = &self->nodes[node];
    rota_place_t place = place_of (self, it), before = it->place;
    bool other_queue =
        place == ROTA_PLACE_READY && place == before && it->queue != rota_core_queue_of (self, node);
    if (place == before && !other_queue)
        return;
    rota_core_leave_place (self, node);
    bool was_held = before == ROTA_PLACE_WAITING || before == ROTA_PLACE_UNREACHABLE;
    if (place == ROTA_PLACE_READY && was_held && !self->loading)
        it->ready_since_ms = self->now_ms;
    rota_core_enter_place (self, node, place);
    self->version++;
}

/* ---------------------------------------------------------------------------------------- classes */

uint64_t rota_core_intern (rota_core_t *self, const char *const *names, size_t count, bool *ret_full)
{
    uint64_t bits = 0;
    *ret_full = false;
    for (size_t i = 0; i < count; i++) {
        unsigned bit = 0;
        while (bit < self->capability_count && strcmp (self->capability_names[bit], names[i]) != 0)
            bit++;
        if (bit == 64) {
            *ret_full = true;
            continue;
        }
        if (bit == self->capability_count) {
            self->capability_names[bit] = strdup (names[i]);
            if (!self->capability_names[bit]) {
                self->broken = true;
                return bits;
            }
            self->capability_count++;
        }
        bits |= UINT64_C (1) << bit;
    }
    return bits;
}

bool rota_core_agent_fits (const agent_t *agent, const class_t *class)
{
    bool named = class->agent[0] && class->agent[0] != '!';
    if (named && strcmp (class->agent, agent->kind) != 0 && strcmp (class->agent, agent->name) != 0)
        return false;
    if (strncmp (class->agent, "!!", 2) == 0 && strcmp (class->agent + 2, agent->kind) == 0)
        return false;
    return (class->capabilities & ~agent->capabilities) == 0;
}

/* Now or later, without anybody's help. */
static bool could_serve (const rota_core_t *self, const agent_t *agent, const class_t *class)
{
    return !agent->faulty && rota_core_agent_fits (agent, class) &&
           !rota_core_account_waits_for_a_hand (self, agent->account);
}

void rota_core_classes_changed (rota_core_t *self)
{
    for (size_t c = 0; c < self->classes.count; c++) {
        class_t *class = AT (self, classes, class_t, c);
        class->assignable = false;
        for (size_t a = 0; a < self->agents.count && !class->assignable; a++)
            class->assignable = could_serve (self, AT (self, agents, agent_t, a), class);
    }
}

int rota_core_class (rota_core_t *self, uint32_t source, const char *agent, size_t agent_length,
                     const char *const *capabilities, size_t capability_count, uint32_t *ret_class,
                     bool *ret_new)
{
    bool full;
    uint64_t bits = rota_core_intern (self, capabilities, capability_count, &full);
    if (full)
        return -ENOSPC;
    for (size_t i = 0; i < self->classes.count; i++) {
        const class_t *class = AT (self, classes, class_t, i);
        if (class->source == source && class->capabilities == bits && strlen (class->agent) == agent_length &&
            (!agent_length || memcmp (class->agent, agent, agent_length) == 0)) {
            *ret_class = (uint32_t)i;
            *ret_new = false;
            return 0;
        }
    }
    if (self->classes.count > UINT16_MAX)
        return -ENOSPC;
    char *copy = strndup (agent_length ? agent : "", agent_length);
    class_t *class = copy ? PUSH (self, classes, class_t) : NULL;
    if (!class) {
        free (copy);
        self->broken = true;
        return -ENOMEM;
    }
    class->source = source;
    class->agent = copy;
    class->capabilities = bits;
    class->needs_role = rota_core_class_needs_role (self, bits);
    for (size_t a = 0; a < self->agents.count && !class->assignable; a++)
        class->assignable = could_serve (self, AT (self, agents, agent_t, a), class);
    *ret_class = (uint32_t)(self->classes.count - 1);
    *ret_new = true;
    return 0;
}

static bool has_room (const rota_core_t *self, const agent_t *agent)
{
    uint32_t limit = self->policy.wip_agent;
    return agent->connected && !agent->draining && !agent->faulty && !agent->full &&
           agent->busy < agent->slots && (!limit || agent->busy < limit);
}

static bool is_open (const rota_core_t *self, const agent_t *agent)
{
    bool quiet = agent->paid && self->quiet_until_ms > self->now_ms;
    return !quiet && rota_core_account_admits (self, agent->account) &&
           rota_core_breaker_admits (self, agent);
}

void rota_core_limit_source (rota_core_t *self, uint32_t source, uint32_t limit)
{
    source_counts_t *counts = rota_core_source (self, source);
    if (counts)
        counts->limit = limit;
}

bool rota_core_source_is_full (const rota_core_t *self, uint32_t source)
{
    if (source >= self->sources.count)
        return false;
    const source_counts_t *counts = AT (self, sources, source_counts_t, source);
    return counts->limit && counts->working >= counts->limit;
}

static uint8_t rank_among (const char *const *kinds, const char *kind)
{
    uint8_t rank = 0;
    while (kinds && kinds[rank] && rank < UINT8_MAX && strcmp (kinds[rank], kind) != 0)
        rank++;
    return rank;
}

void rota_core_rank (const rota_core_t *self, agent_t *agent)
{
    agent->rank[0] = rank_among (self->policy.prefer, agent->kind);
    agent->rank[1] = rank_among (self->policy.prefer_complex, agent->kind);
}

/* The coordinator is kept free for what only it may do; then preferred kinds first, then the less busy, by
 * share of its slots. */
static bool is_better (const rota_core_t *self, const agent_t *agent, const agent_t *than, bool complex)
{
    if (rota_core_is_coordinator (self, agent) || rota_core_is_coordinator (self, than))
        return rota_core_is_coordinator (self, than);
    if (agent->rank[complex] != than->rank[complex])
        return agent->rank[complex] < than->rank[complex];
    return (uint64_t)agent->busy * than->slots < (uint64_t)than->busy * agent->slots;
}

/* The best of those that could take a task of the class now (with a node: that one); ROTA_NONE when there is
 * none. *ret_of_task: one was kept from it by the limits of the task's epic or its own. */
static rota_agent_t pick_agent (rota_core_t *self, const class_t *class, rota_node_t node, bool complex,
                                bool *ret_of_task)
{
    rota_agent_t best = ROTA_NONE;
    *ret_of_task = false;
    for (size_t i = 0; i < self->agents.count; i++) {
        const agent_t *agent = AT (self, agents, agent_t, i);
        if (!has_room (self, agent) || !is_open (self, agent) || !rota_core_agent_fits (agent, class) ||
            !rota_core_may_judge (self, class, node, agent))
            continue;
        if (node != ROTA_NONE && rota_core_budget_refuses (self, node, (rota_agent_t)i, ret_of_task))
            continue;
        if (best == ROTA_NONE || is_better (self, agent, AT (self, agents, agent_t, best), complex))
            best = (rota_agent_t)i;
    }
    return best;
}

/* --------------------------------------------------------------------------------------- dispatch */

/* Limits hold back what is to be begun, not what is to be brought to its end. */
static bool is_begun (const rota_core_t *self, rota_node_t node)
{
    return rota_core_next_phase (&self->nodes[node]) != PHASE (WORK);
}

static bool epic_is_full (const rota_core_t *self, rota_node_t node)
{
    bool limited = self->policy.wip_epic && !is_begun (self, node);
    rota_node_t epic = limited ? rota_core_epic_of (self, node) : ROTA_NONE;
    return epic != ROTA_NONE &&
           AT (self, groups, group_t, self->nodes[epic].slot)->working >= self->policy.wip_epic;
}

void rota_core_change_place (rota_core_t *self, rota_node_t node, rota_place_t place)
{
    rota_core_leave_place (self, node);
    rota_core_enter_place (self, node, place);
}

/* One of the epic's tasks ended: its best parked one competes again, under the key that it had. */
void rota_core_release_parked (rota_core_t *self, rota_node_t epic)
{
    heap_t *parked = &AT (self, groups, group_t, self->nodes[epic].slot)->parked;
    if (parked->count)
        rota_core_change_place (self, parked->items[0], ROTA_PLACE_READY);
}

/* One merge of a source at a time, so that each is tried on what the one before left. */
static bool is_held_back (const rota_core_t *self, const class_t *class)
{
    rota_node_t head = class->ready.items[0];
    if (rota_core_next_phase (&self->nodes[head]) == PHASE (MERGE))
        return AT (self, sources, source_counts_t, class->source)->merging > 0;
    return !is_begun (self, head) &&
           (rota_core_source_is_full (self, class->source) || rota_core_mode_holds_back (self, head));
}

/* What can't be begun now whoever has room makes way for what comes after it. */
static bool makes_way (rota_core_t *self, rota_node_t head)
{
    if (epic_is_full (self, head)) {
        rota_core_change_place (self, head, ROTA_PLACE_PARKED);
        return true;
    }
    return rota_core_claims_park (self, head);
}

/* Whom the class's head can be given to; heads that their own budgets keep back are put aside on the way. */
static rota_agent_t pick_for_head (rota_core_t *self, class_t *class)
{
    bool of_task;
    for (;;) {
        while (class->ready.count && makes_way (self, class->ready.items[0]))
            continue;
        if (!class->ready.count)
            return ROTA_NONE;
        rota_node_t head = class->ready.items[0];
        bool complex = self->nodes[head].complexity >= self->policy.complex_from;
        rota_agent_t agent = pick_agent (self, class, head, complex, &of_task);
        if (agent != ROTA_NONE || !of_task || !rota_core_budget_put_aside (self, head))
            return agent;
    }
}

/* The best head of all classes that an agent with room can serve. */
static rota_node_t next_task (rota_core_t *self, rota_agent_t *ret_agent)
{
    rota_node_t best = ROTA_NONE;
    for (size_t c = 0; c < self->classes.count; c++) {
        class_t *class = AT (self, classes, class_t, c);
        if (class->ready.count && is_held_back (self, class))
            continue;
        while (class->ready.count && makes_way (self, class->ready.items[0]))
            continue;
        if (!class->ready.count || (best != ROTA_NONE && !comes_first (self, class->ready.items[0], best)))
            continue;
        rota_agent_t agent = pick_for_head (self, class);
        if (agent == ROTA_NONE)
            continue;
        best = class->ready.items[0];
        *ret_agent = agent;
    }
    return best;
}

/* What was released may have been held or cancelled since, or be one that nobody here can take: the room in
 * its epic goes to the next. */
static bool release_one_more (rota_core_t *self)
{
    bool room = false;
    for (size_t i = 0; i < self->agents.count && !room && self->policy.wip_epic; i++) {
        const agent_t *agent = AT (self, agents, agent_t, i);
        room = has_room (self, agent) && is_open (self, agent);
    }
    for (size_t i = 0; i < self->groups.count && room; i++) {
        const group_t *group = AT (self, groups, group_t, i);
        if (!group->parked.count || group->working >= self->policy.wip_epic)
            continue;
        rota_core_release_parked (self, group->node);
        return true;
    }
    return false;
}

void rota_core_dispatch (rota_core_t *self, int64_t now_ms)
{
    rota_core_at (self, now_ms);
    rota_core_budgets_turn (self);
    rota_core_modes_turn (self);
    rota_core_claims_reserve (self);
    while (!self->paused && !self->draining) {
        if (self->policy.wip_limit && self->leases.count >= self->policy.wip_limit)
            return;
        rota_agent_t agent;
        rota_node_t node = next_task (self, &agent);
        if (node == ROTA_NONE && release_one_more (self))
            continue;
        if (node == ROTA_NONE || self->broken)
            return;
        Rota__Phase phase = rota_core_next_phase (&self->nodes[node]);
        rota_core_grant (self, node, agent, phase);
        if (phase == PHASE (MERGE))
            rota_core_batch_fill (self, node);
    }
}

bool rota_core_could_begin (rota_core_t *self, rota_node_t node, rota_agent_t agent)
{
    const node_t *it = &self->nodes[node];
    const agent_t *who = agent != ROTA_NONE ? AT (self, agents, agent_t, agent) : NULL;
    bool of_task;
    if (!who || it->place != ROTA_PLACE_READY || self->paused || self->draining ||
        (self->policy.wip_limit && self->leases.count >= self->policy.wip_limit))
        return false;
    const class_t *class = AT (self, classes, class_t, it->queue);
    /* Full or not: what it takes is in the place of what it just ended. */
    bool room = who->connected && !who->draining && !who->faulty && who->busy < who->slots &&
                (!self->policy.wip_agent || who->busy < self->policy.wip_agent);
    return room && is_open (self, who) && rota_core_agent_fits (who, class) &&
           rota_core_may_judge (self, class, node, who) &&
           !rota_core_budget_refuses (self, node, agent, &of_task);
}

bool rota_core_is_served (rota_core_t *self, uint32_t class_index)
{
    const class_t *class = AT (self, classes, class_t, class_index);
    for (size_t i = 0; i < self->agents.count; i++) {
        const agent_t *agent = AT (self, agents, agent_t, i);
        if (agent->connected && !agent->draining && !agent->faulty && is_open (self, agent) &&
            rota_core_agent_fits (agent, class) && rota_core_role_admits (self, class, ROTA_NONE, agent))
            return true;
    }
    return false;
}

/* ------------------------------------------------------------------------------------------ looks */

size_t rota_core_class_count (const rota_core_t *self)
{
    return self->classes.count;
}

void rota_core_class_view (const rota_core_t *self, uint32_t class_index, rota_core_class_view_t *ret_view)
{
    const class_t *class = AT (self, classes, class_t, class_index);
    bool of_task;
    *ret_view = (rota_core_class_view_t){
        .source = class->source,
        .agent = class->agent,
        .capabilities = class->capabilities,
        .ready = class->ready.count,
        .assignable = class->assignable,
        .needs_role = class->needs_role && self->policy.coordinate,
        .open = pick_agent ((rota_core_t *)self, class, ROTA_NONE, false, &of_task) != ROTA_NONE,
    };
    int64_t opens_ms = INT64_MAX;
    for (size_t i = 0; i < self->agents.count; i++) {
        const agent_t *agent = AT (self, agents, agent_t, i);
        if (!rota_core_agent_fits (agent, class))
            continue;
        ret_view->known = true;
        if (!agent->connected || agent->draining || agent->faulty)
            continue;
        ret_view->servable = true;
        ret_view->free |= has_room (self, agent);
        ret_view->full |= agent->full && agent->busy < agent->slots;
        const account_t *account = AT (self, accounts, account_t, agent->account);
        int64_t closed_ms = is_open (self, agent)        ? 0
                            : account->last.result_class ? account->last.until_ms
                                                         : 0;
        if (rota_core_breaker_until_ms (self, agent, NULL) > closed_ms)
            closed_ms = rota_core_breaker_until_ms (self, agent, NULL);
        if (agent->paid && self->quiet_until_ms > closed_ms)
            closed_ms = self->quiet_until_ms;
        opens_ms = closed_ms < opens_ms ? closed_ms : opens_ms;
    }
    ret_view->opens_ms = opens_ms == INT64_MAX ? 0 : opens_ms;
}

bool rota_core_agent_can (const rota_core_t *self, rota_agent_t agent, const rota_core_class_view_t *class)
{
    class_t like = {.agent = (char *)class->agent, .capabilities = class->capabilities};
    return rota_core_agent_fits (AT (self, agents, agent_t, agent), &like);
}

const char *rota_core_capability_name (const rota_core_t *self, unsigned bit)
{
    return bit < self->capability_count ? self->capability_names[bit] : NULL;
}

size_t rota_core_position (const rota_core_t *self, rota_node_t node)
{
    const node_t *it = &self->nodes[node];
    size_t before = 0;
    if (it->place != ROTA_PLACE_READY)
        return 0;
    const heap_t *heap = &AT (self, classes, class_t, it->queue)->ready;
    for (uint32_t i = 0; i < heap->count; i++)
        before += comes_first (self, heap->items[i], node);
    return before;
}
