/* Who is next, worked out from definitions and committed events alone, and compared with who was. */
#include "tests/load/day.h"

/* ------------------------------------------------------------------------------------------- a heap */

static void swap (entry_t *a, entry_t *b)
{
    entry_t kept = *a;
    *a = *b;
    *b = kept;
}

static void add (entries_t *heap, entry_t entry)
{
    if (heap->count == heap->capacity) {
        heap->capacity = heap->capacity ? heap->capacity * 2 : 1024;
        heap->items = realloc (heap->items, heap->capacity * sizeof *heap->items);
        assert_non_null (heap->items);
    }
    size_t at = heap->count++;
    heap->items[at] = entry;
    for (; at && heap->items[at].key < heap->items[(at - 1) / 2].key; at = (at - 1) / 2)
        swap (&heap->items[at], &heap->items[(at - 1) / 2]);
}

static void drop_first (entries_t *heap)
{
    heap->items[0] = heap->items[--heap->count];
    for (size_t at = 0, child; (child = 2 * at + 1) < heap->count; at = child) {
        if (child + 1 < heap->count && heap->items[child + 1].key < heap->items[child].key)
            child++;
        if (heap->items[at].key <= heap->items[child].key)
            return;
        swap (&heap->items[at], &heap->items[child]);
    }
}

/* -------------------------------------------------------------------------------------- the second opinion
 */

/* The rule of the manual: ready since, less a bonus. */
static int64_t key_of (const day_t *self, rota_node_t node)
{
    const plan_t *plan = &self->plan[node];
    int64_t unblocks =
        plan->unblocks < self->policy.weight.unblocks_cap ? plan->unblocks : self->policy.weight.unblocks_cap;
    int64_t bonus_s = plan->priority * self->policy.weight.priority_s +
                      unblocks * self->policy.weight.unblocks_s +
                      (10 - plan->complexity) * self->policy.weight.small_s;
    return self->known[node].ready_ms - bonus_s * 1000;
}

static void may_run (day_t *self, rota_node_t node)
{
    known_t *it = &self->known[node];
    rota_core_node_t row;
    rota_core_get (self->core, node, &row);
    uint32_t other = self->policy.rules[RESULT (FAILED)].other;
    it->apart = self->plan[node].claim || rota_core_same_errors (self->core, node) >= other;
    it->generation++;
    if (row.not_before_ms > self->now_ms)
        it->ready_ms = row.not_before_ms; /* after a backoff; without one it keeps the turn that it had */
    else if (!it->attempts)
        it->ready_ms = self->now_ms;
    bool waits = it->ready_ms > self->now_ms;
    if (!it->apart)
        add (waits ? &self->later : &self->ready, (entry_t){.key = waits ? it->ready_ms : key_of (self, node),
                                                            .node = node,
                                                            .generation = it->generation});
}

void day_order_step (day_t *self)
{
    while (self->later.count && self->later.items[0].key <= self->now_ms) {
        entry_t entry = self->later.items[0];
        drop_first (&self->later);
        entry.key = key_of (self, entry.node);
        add (&self->ready, entry);
    }
}

static bool is_stale (const day_t *self, const entry_t *entry)
{
    const known_t *it = &self->known[entry->node];
    return it->status != STATUS (PENDING) || it->generation != entry->generation;
}

static void is_done (day_t *self, rota_node_t done)
{
    /* Dependants are at most this far. */
    for (rota_node_t i = done + 1; i < self->nodes && i <= done + 600; i++)
        for (size_t n = 0; n < self->plan[i].need_count; n++)
            if (self->plan[i].needs[n] == done && --self->known[i].unmet == 0 &&
                self->known[i].status == STATUS (PENDING))
                may_run (self, i);
}

void day_order_event (day_t *self, const rota_core_event_t *event)
{
    if (event->node == ROTA_NONE || event->node >= self->nodes || !self->plan[event->node].complexity)
        return; /* of the whole, or of an epic */
    known_t *it = &self->known[event->node];
    if (event->type == EVENT (TASK_ADDED)) {
        it->status = STATUS (PENDING);
        it->unmet = self->plan[event->node].need_count;
        if (!it->unmet)
            may_run (self, event->node);
        return;
    }
    if (event->type != EVENT (TASK_MOVED))
        return;
    MUST (it->status == event->from, "task %u was not %s", event->node, rota_status_name (event->from));
    MUST (rota_core_move_allowed (event->from, event->to), "task %u: no such move", event->node);
    it->status = event->to;
    if (event->to == STATUS (DONE) || event->to == STATUS (FAILED))
        self->ended++;
    if (event->to == STATUS (DONE))
        is_done (self, event->node);
    if (event->to == STATUS (PENDING) && !it->unmet)
        may_run (self, event->node);
}

void day_order_started (day_t *self, const rota_core_assign_t *assign)
{
    known_t *it = &self->known[assign->node];
    MUST (it->unmet == 0, "task %u starts before what it waits for", assign->node);
    MUST (it->ready_ms <= self->now_ms, "task %u starts %lld ms too early", assign->node,
          (long long)(it->ready_ms - self->now_ms));
    for (size_t i = 0; i < AGENTS && self->plan[assign->node].claim; i++)
        MUST (!self->agents[i].working || self->agents[i].node == assign->node ||
                  self->known[self->agents[i].node].status != STATUS (IN_PROGRESS) ||
                  self->plan[self->agents[i].node].claim != self->plan[assign->node].claim,
              "tasks %u and %u change the same files at once", assign->node, self->agents[i].node);
    it->attempts++;
    if (it->apart) {
        self->apart++;
        return;
    }
    while (self->ready.count && is_stale (self, &self->ready.items[0]))
        drop_first (&self->ready);
    if (self->ready.count) {
        const entry_t *best = &self->ready.items[0];
        rota_core_node_t mine, other;
        rota_core_get (self->core, assign->node, &mine);
        rota_core_get (self->core, best->node, &other);
        MUST (key_of (self, assign->node) <= best->key,
              "at %lld task %u starts (key %lld, ready since %lld, the core says %lld) before task %u (key "
              "%lld, "
              "ready since %lld, the core says %lld, place %d, class %u, queue %u, attempt %u)",
              (long long)self->now_ms, assign->node, (long long)key_of (self, assign->node),
              (long long)it->ready_ms, (long long)mine.ready_since_ms, best->node, (long long)best->key,
              (long long)self->known[best->node].ready_ms, (long long)other.ready_since_ms,
              rota_core_place (self->core, best->node), other.class_index, other.queue, other.attempt);
    }
    self->in_order++;
}

/* ------------------------------------------------------------------------------------------ the log */

typedef struct {
    day_t *day;
    uint8_t *status, *done;
    uint64_t seq;
    int64_t time_ms;
    size_t moves, starts;
} replay_t;

static bool replay_one (void *owner, const rota_stored_event_t *stored)
{
    replay_t *self = owner;
    const rota_core_event_t *event = &stored->event;
    MUST (stored->seq == self->seq + 1, "event %llu follows %llu", (unsigned long long)stored->seq,
          (unsigned long long)self->seq);
    MUST (stored->time_ms >= self->time_ms, "event %llu is older than the one before",
          (unsigned long long)stored->seq);
    self->seq = stored->seq;
    self->time_ms = stored->time_ms;
    if (event->type == EVENT (TASK_ADDED) && event->node < self->day->nodes)
        self->status[event->node] = STATUS (PENDING);
    if (event->type != EVENT (TASK_MOVED))
        return true;
    const plan_t *plan = &self->day->plan[event->node];
    MUST (self->status[event->node] == event->from, "event %llu: task %u was not %s",
          (unsigned long long)stored->seq, event->node, rota_status_name (event->from));
    self->status[event->node] = event->to;
    self->moves++;
    bool starts = event->to == STATUS (IN_PROGRESS);
    self->starts += starts;
    for (size_t i = 0; starts && i < plan->need_count; i++)
        MUST (self->status[plan->needs[i]] == STATUS (DONE),
              "event %llu: task %u starts, task %u is not done", (unsigned long long)stored->seq, event->node,
              plan->needs[i]);
    if (event->to == STATUS (DONE))
        MUST (++self->done[event->node] == 1, "event %llu: task %u is done twice",
              (unsigned long long)stored->seq, event->node);
    return true;
}

void day_order_replay (day_t *self)
{
    replay_t replay = {.day = self, .status = calloc (self->nodes, 1), .done = calloc (self->nodes, 1)};
    assert_true (replay.status && replay.done);
    while (rota_store_events (self->store, replay.seq, 1000, ROTA_NONE, false, replay_one, &replay))
        continue;
    assert_true (replay.seq == rota_store_last_event (self->store));
    for (rota_node_t i = 0; i < self->nodes; i++) {
        MUST (replay.status[i] == self->known[i].status, "task %u: the log ends otherwise", i);
        if (self->plan[i].complexity && !self->plan[i].poison)
            MUST (replay.done[i] == 1, "task %u came to no end", i);
        if (self->plan[i].poison)
            MUST (replay.status[i] == STATUS (FAILED), "task %u fails always, and is %s", i,
                  rota_status_name (replay.status[i]));
    }
    print_message ("the log: %llu events, %zu moves, %zu starts, none before what it waits for\n",
                   (unsigned long long)replay.seq, replay.moves, replay.starts);
    free (replay.status);
    free (replay.done);
}
