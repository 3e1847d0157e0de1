/* Nodes and edges: ids, groups, what is satisfied and what is dead. */
#include "bus/names.h"
#include "scheduler/core_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------------------------------------- ids */

/* Tasks and epics share one name space (scope ROTA_NONE); a milestone's is its epic. */
static uint64_t id_hash (const char *id, size_t length, rota_node_t scope)
{
    return rota_hash (id, length) ^ (scope == ROTA_NONE ? 0 : (scope + 1) * 0x9e3779b97f4a7c15u);
}

static rota_node_t scope_of (const node_t *node)
{
    return node->kind == NODE (MILESTONE) ? node->parent : ROTA_NONE;
}

static bool is_named (const rota_core_t *self, const node_t *node, const char *id, size_t length,
                      rota_node_t scope)
{
    return node->id_length == length && scope_of (node) == scope &&
           (node->kind == NODE (MILESTONE)) == (scope != ROTA_NONE) &&
           memcmp (self->ids + node->id_offset, id, length) == 0;
}

static size_t probe (const rota_core_t *self, const char *id, size_t length, rota_node_t scope)
{
    size_t mask = self->table_size - 1, at = id_hash (id, length, scope) & mask;
    while (self->table[at] && !is_named (self, &self->nodes[self->table[at] - 1], id, length, scope))
        at = (at + 1) & mask;
    return at;
}

static rota_node_t look_up (const rota_core_t *self, const char *id, size_t length, rota_node_t scope)
{
    if (!self->table_size || length > UINT8_MAX)
        return ROTA_NONE;
    uint32_t found = self->table[probe (self, id, length, scope)];
    return found ? found - 1 : ROTA_NONE;
}

static int grow_table (rota_core_t *self)
{
    size_t size = self->table_size ? self->table_size * 2 : 1024;
    uint32_t *table = calloc (size, sizeof *table), *old = self->table;
    if (!table)
        return -ENOMEM;
    size_t old_size = self->table_size;
    self->table = table;
    self->table_size = size;
    for (size_t i = 0; i < old_size; i++) {
        if (!old[i])
            continue;
        const node_t *node = &self->nodes[old[i] - 1];
        table[probe (self, self->ids + node->id_offset, node->id_length, scope_of (node))] = old[i];
    }
    free (old);
    return 0;
}

/* Removal from open addressing: what follows in the run is put in again. */
static void forget_id (rota_core_t *self, rota_node_t index)
{
    const node_t *node = &self->nodes[index];
    size_t mask = self->table_size - 1;
    size_t at = probe (self, self->ids + node->id_offset, node->id_length, scope_of (node));
    if (self->table[at] != index + 1)
        return;
    self->table[at] = 0;
    self->table_used--;
    for (at = (at + 1) & mask; self->table[at]; at = (at + 1) & mask) {
        uint32_t moved = self->table[at];
        self->table[at] = 0;
        const node_t *other = &self->nodes[moved - 1];
        self->table[probe (self, self->ids + other->id_offset, other->id_length, scope_of (other))] = moved;
    }
}

rota_node_t rota_core_find (const rota_core_t *self, const char *id, size_t id_length)
{
    return look_up (self, id, id_length, ROTA_NONE);
}

rota_node_t rota_core_find_milestone (const rota_core_t *self, rota_node_t epic, const char *id,
                                      size_t id_length)
{
    return look_up (self, id, id_length, epic);
}

size_t rota_core_find_milestones (const rota_core_t *self, const char *id, size_t id_length,
                                  rota_node_t *ret_node)
{
    size_t found = 0;
    for (size_t i = 0; i < self->groups.count; i++) {
        rota_node_t index = AT (self, groups, group_t, i)->node;
        if (index == ROTA_NONE || self->nodes[index].kind != NODE (MILESTONE))
            continue;
        const node_t *node = &self->nodes[index];
        if (node->id_length == id_length && memcmp (self->ids + node->id_offset, id, id_length) == 0) {
            if (!found)
                *ret_node = index;
            found++;
        }
    }
    return found;
}

/* ------------------------------------------------------------------------------------------ nodes */

static int reserve_node (rota_core_t *self, size_t id_length)
{
    if (self->count >= MAX_NODES)
        return -ENOSPC;
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? self->capacity + self->capacity / 2 : 256;
        node_t *nodes = realloc (self->nodes, capacity * sizeof *nodes);
        if (!nodes)
            return -ENOMEM;
        self->nodes = nodes;
        self->capacity = capacity;
    }
    if (self->ids_size + id_length > self->ids_capacity) {
        size_t capacity = self->ids_capacity + self->ids_capacity / 2 + id_length + 4096;
        if (capacity > UINT32_MAX)
            return -ENOSPC;
        char *ids = realloc (self->ids, capacity);
        if (!ids)
            return -ENOMEM;
        self->ids = ids;
        self->ids_capacity = capacity;
    }
    if (self->table_used * 10 >= self->table_size * 7)
        return grow_table (self);
    return 0;
}

static uint16_t flags_of (const rota_core_node_t *node)
{
    return (uint16_t)(F_STAGED | (node->approval ? F_APPROVAL : 0) | (node->keep_on_lost ? F_KEEP : 0) |
                      (node->orphaned ? F_ORPHANED : 0) | (node->flagged ? F_FLAGGED : 0) |
                      (node->skipped ? F_SKIPPED : 0) | (node->lost ? F_LOST : 0) |
                      (node->cancelling ? F_CANCEL : 0) | (node->holding ? F_HOLD : 0) |
                      (node->leased ? F_LEASED : 0) | (node->approval_of_group ? F_SILENT : 0));
}

/* What a node says of approval, or its group if it says nothing. */
static uint16_t approval_of (const rota_core_t *self, const rota_core_node_t *node)
{
    if (node->approval_of_group && node->parent < self->count)
        return self->nodes[node->parent].flags & F_APPROVAL;
    return node->approval ? F_APPROVAL : 0;
}

int rota_core_add (rota_core_t *self, const rota_core_node_t *node, rota_node_t *ret_node)
{
    rota_node_t scope = node->kind == NODE (MILESTONE) ? node->parent : ROTA_NONE;
    if (look_up (self, node->id, node->id_length, scope) != ROTA_NONE)
        return -EEXIST;
    int r = reserve_node (self, node->id_length);
    if (r < 0)
        return r;
    rota_node_t index = (rota_node_t)self->count;
    group_t *group = NULL;
    if (node->kind != NODE (TASK)) {
        group = PUSH (self, groups, group_t);
        if (!group)
            return -ENOMEM;
        group->node = index;
    }
    self->nodes[index] = (node_t){
        .id_offset = (uint32_t)self->ids_size,
        .id_length = (uint8_t)node->id_length,
        .kind = (uint8_t)node->kind,
        .status = (uint8_t)node->status,
        .phase = (uint8_t)node->phase,
        .blocked = (uint8_t)node->blocked,
        .came_from = (uint8_t)node->came_from,
        .complexity = (uint8_t)node->complexity,
        .attempts_allowed = (uint8_t)node->attempts_allowed,
        .attempts_used = (uint8_t)node->attempts_used,
        .flags = (uint16_t)((flags_of (node) & ~F_APPROVAL) | approval_of (self, node)),
        .priority = (int16_t)node->priority,
        .class_index = (uint16_t)node->class_index,
        .queue = (uint16_t)node->class_index,
        .author = (uint16_t)(node->attempt && node->author < UINT16_MAX ? node->author + 1 : 0),
        .wants = node->wants,
        .rounds = node->rounds,
        .stumbles = node->stumbles,
        .asked = node->asked,
        .source = node->source,
        .attempt = node->attempt,
        .first_edge = ROTA_NONE,
        .parent = node->parent,
        .slot = group ? (uint32_t)(self->groups.count - 1) : ROTA_NONE,
        .ready_since_ms = node->ready_since_ms,
        .order_ms = node->not_before_ms,
    };
    memcpy (self->ids + self->ids_size, node->id, node->id_length);
    self->ids_size += node->id_length;
    self->table[probe (self, node->id, node->id_length, scope)] = index + 1;
    if (node->trouble)
        rota_core_set_trouble (self, index, node->trouble);
    self->table_used++;
    self->count++;
    rota_core_set_reason (self, index, node->reason, node->reason_length);
    if (node->kind == NODE (TASK) && rota_core_inherit (self, index) < 0)
        self->broken = true;
    *ret_node = index;
    return 0;
}

int rota_core_load (rota_core_t *self, rota_node_t at, const rota_core_node_t *node)
{
    if (at < self->count)
        return -EEXIST;
    while (self->count < at) {
        int r = reserve_node (self, 0);
        if (r < 0)
            return r;
        self->nodes[self->count++] =
            (node_t){.first_edge = ROTA_NONE, .parent = ROTA_NONE, .slot = ROTA_NONE};
    }
    rota_node_t index;
    return rota_core_add (self, node, &index);
}

void rota_core_load_ready (rota_core_t *self, rota_node_t node, int64_t since_ms)
{
    node_t *it = rota_core_node (self, node);
    if (it->ready_since_ms < since_ms)
        it->ready_since_ms = since_ms;
}

rota_node_t rota_core_epic_of (const rota_core_t *self, rota_node_t node)
{
    rota_node_t epic = ROTA_NONE;
    for (rota_node_t up = self->nodes[node].parent; up != ROTA_NONE; up = self->nodes[up].parent)
        epic = up;
    return epic;
}

static bool lies_in (const rota_core_t *self, rota_node_t node, rota_node_t group)
{
    for (rota_node_t up = self->nodes[node].parent; up != ROTA_NONE; up = self->nodes[up].parent)
        if (up == group)
            return true;
    return false;
}

/* ------------------------------------------------------------------------------------------ edges */

static bool takes_part (const node_t *node)
{
    return node->kind && !(node->flags & F_STAGED);
}

static int add_edge (rota_core_t *self, rota_node_t prerequisite, rota_node_t node, uint32_t inherited)
{
    uint32_t at = self->free_edge;
    if (at != ROTA_NONE) {
        self->free_edge = self->edges[at].next;
    } else {
        if (self->edge_count == self->edge_capacity) {
            size_t capacity = self->edge_capacity ? self->edge_capacity + self->edge_capacity / 2 : 256;
            edge_t *edges = capacity < UINT32_MAX ? realloc (self->edges, capacity * sizeof *edges) : NULL;
            if (!edges)
                return -ENOMEM;
            self->edges = edges;
            self->edge_capacity = capacity;
        }
        at = (uint32_t)self->edge_count++;
    }
    node_t *from = &self->nodes[prerequisite];
    self->edges[at] = (edge_t){.to = node | inherited, .next = from->first_edge};
    from->first_edge = at;
    node_t *to = &self->nodes[node];
    to->unmet += !(from->flags & F_SATISFIED);
    to->dead += (from->flags & F_DEAD) != 0;
    return 0;
}

static int remove_edge (rota_core_t *self, rota_node_t prerequisite, rota_node_t node, uint32_t inherited)
{
    node_t *from = &self->nodes[prerequisite];
    for (uint32_t *link = &from->first_edge; *link != ROTA_NONE; link = &self->edges[*link].next) {
        uint32_t at = *link;
        if (self->edges[at].to != (node | inherited))
            continue;
        *link = self->edges[at].next;
        self->edges[at].next = self->free_edge;
        self->free_edge = at;
        node_t *to = &self->nodes[node];
        to->unmet -= !(from->flags & F_SATISFIED);
        to->dead -= (from->flags & F_DEAD) != 0;
        return 0;
    }
    return -ENOENT;
}

static int each_member (rota_core_t *self, rota_node_t group, rota_node_t prerequisite,
                        int (*change) (rota_core_t *, rota_node_t, rota_node_t, uint32_t))
{
    for (rota_node_t i = 0; i < self->count; i++)
        if (self->nodes[i].kind == NODE (TASK) && lies_in (self, i, group)) {
            int r = change (self, prerequisite, i, EDGE_INHERITED);
            if (r == -ENOMEM)
                return r;
        }
    return 0;
}

/* A group's own dependency gates each member, present (here) and to come (rota_core_add). */
int rota_core_link (rota_core_t *self, rota_node_t prerequisite, rota_node_t node)
{
    if (self->nodes[node].kind == NODE (TASK))
        return add_edge (self, prerequisite, node, 0);
    group_dependency_t *dependency = PUSH (self, group_dependencies, group_dependency_t);
    if (!dependency)
        return -ENOMEM;
    *dependency = (group_dependency_t){.group = node, .prerequisite = prerequisite};
    return each_member (self, node, prerequisite, add_edge);
}

int rota_core_unlink (rota_core_t *self, rota_node_t prerequisite, rota_node_t node)
{
    if (self->nodes[node].kind == NODE (TASK))
        return remove_edge (self, prerequisite, node, 0);
    for (size_t i = 0; i < self->group_dependencies.count; i++) {
        group_dependency_t *it = AT (self, group_dependencies, group_dependency_t, i);
        if (it->group != node || it->prerequisite != prerequisite)
            continue;
        *it = *AT (self, group_dependencies, group_dependency_t, --self->group_dependencies.count);
        return each_member (self, node, prerequisite, remove_edge);
    }
    return -ENOENT;
}

int rota_core_inherit (rota_core_t *self, rota_node_t node)
{
    for (size_t i = 0; i < self->group_dependencies.count; i++) {
        group_dependency_t dependency = *AT (self, group_dependencies, group_dependency_t, i);
        if (!lies_in (self, node, dependency.group))
            continue;
        int r = add_edge (self, dependency.prerequisite, node, EDGE_INHERITED);
        if (r < 0)
            return r;
    }
    return 0;
}

void rota_core_successors (const rota_core_t *self, rota_node_t node, void (*each) (void *, rota_node_t),
                           void *owner)
{
    for (uint32_t e = self->nodes[node].first_edge; e != ROTA_NONE; e = self->edges[e].next)
        each (owner, self->edges[e].to & ~EDGE_INHERITED);
}

/* ---------------------------------------------------------------------------------------- cycles */

/* Depth first over successors and parents, with marks in a bitmap of two bits a node (open, closed). */
typedef struct {
    rota_node_t node;
    uint32_t edge; /* next to follow */
    bool parent_done;
} visit_t;

static unsigned mark_of (const uint8_t *marks, rota_node_t node)
{
    return marks[node >> 2] >> ((node & 3) * 2) & 3;
}

static void set_mark (uint8_t *marks, rota_node_t node, unsigned mark)
{
    uint8_t *at = &marks[node >> 2];
    unsigned shift = (node & 3) * 2;
    *at = (uint8_t)((*at & ~(3u << shift)) | mark << shift);
}

static rota_node_t next_of (const rota_core_t *self, visit_t *visit)
{
    if (visit->edge != ROTA_NONE) {
        const edge_t *edge = &self->edges[visit->edge];
        visit->edge = edge->next;
        return edge->to & ~EDGE_INHERITED;
    }
    if (visit->parent_done)
        return ROTA_NONE;
    visit->parent_done = true;
    return self->nodes[visit->node].parent;
}

static size_t copy_cycle (const list_t *stack, rota_node_t closing, rota_node_t *ret_path, size_t capacity)
{
    const visit_t *visits = stack->items;
    size_t start = stack->count, length;
    while (start > 0 && visits[start - 1].node != closing)
        start--;
    length = stack->count - (start - 1);
    for (size_t i = 0; i < length && i < capacity; i++)
        ret_path[i] = visits[start - 1 + i].node;
    return length;
}

size_t rota_core_find_cycle (rota_core_t *self, rota_node_t first, rota_node_t *ret_path, size_t capacity)
{
    uint8_t *marks = calloc (self->count / 4 + 1, 1);
    list_t stack = {0};
    size_t length = 0;
    if (!marks)
        self->broken = true;
    for (rota_node_t start = first; marks && !length && start < self->count; start++) {
        if (!self->nodes[start].kind || mark_of (marks, start))
            continue;
        for (rota_node_t enter = start; enter != ROTA_NONE || stack.count;) {
            if (enter != ROTA_NONE) {
                visit_t *visit = rota_list_push (self, &stack, sizeof *visit);
                if (!visit)
                    break;
                *visit = (visit_t){.node = enter, .edge = self->nodes[enter].first_edge};
                set_mark (marks, enter, 1);
            }
            visit_t *top = &((visit_t *)stack.items)[stack.count - 1];
            rota_node_t next = next_of (self, top);
            enter = ROTA_NONE;
            if (next == ROTA_NONE) {
                if (top->parent_done && top->edge == ROTA_NONE) {
                    set_mark (marks, top->node, 2);
                    stack.count--;
                }
            } else if (mark_of (marks, next) == 1) {
                length = copy_cycle (&stack, next, ret_path, capacity);
                break;
            } else if (mark_of (marks, next) == 0 && self->nodes[next].kind) {
                enter = next;
            }
        }
        stack.count = 0;
    }
    free (stack.items);
    free (marks);
    return length;
}

/* --------------------------------------------------------------------------- satisfied and dead */

static void follow_satisfied (rota_core_t *self, rota_node_t node, bool satisfied, bool parent)
{
    node_t *it = &self->nodes[node];
    it->unmet += satisfied ? -1u : 1u;
    if (!takes_part (it))
        return;
    if (it->kind == NODE (TASK)) {
        if (!parent)
            rota_core_refresh_place (self, node);
    } else {
        rota_core_set_satisfied (self, node, it->unmet == 0);
    }
}

/* Recursion is as deep as groups nest: a task passes it on to its groups only. */
void rota_core_set_satisfied (rota_core_t *self, rota_node_t node, bool satisfied)
{
    node_t *it = &self->nodes[node];
    if (((it->flags & F_SATISFIED) != 0) == satisfied)
        return;
    it->flags ^= F_SATISFIED;
    for (uint32_t e = it->first_edge; e != ROTA_NONE; e = self->edges[e].next) {
        rota_node_t to = self->edges[e].to & ~EDGE_INHERITED;
        if (self->nodes[to].kind)
            follow_satisfied (self, to, satisfied, false);
    }
    if (it->parent != ROTA_NONE)
        follow_satisfied (self, it->parent, satisfied, true);
}

static bool is_dead (const node_t *it)
{
    if (it->flags & (F_STAGED | F_SATISFIED))
        return false;
    if (it->kind != NODE (TASK))
        return it->dead > 0;
    switch (it->status) {
    case STATUS (FAILED):
    case STATUS (CANCELLED):
    case STATUS (BLOCKED):
        return true;
    case STATUS (PENDING):
    case STATUS (NEEDS_IMPROVEMENT):
        return it->dead > 0;
    default:
        return false;
    }
}

static void follow_dead (rota_core_t *self, rota_node_t node, bool dead)
{
    node_t *it = &self->nodes[node];
    it->dead += dead ? 1u : -1u;
    if (!takes_part (it) || (it->dead > 1) || (it->dead == 1 && !dead))
        return; /* only 0 <-> 1 changes anything further on */
    uint32_t *later = PUSH (self, work, uint32_t);
    if (later)
        *later = node;
}

/* A chain may be as long as the roadmap: a work list, no recursion. */
void rota_core_refresh_dead (rota_core_t *self, rota_node_t node)
{
    size_t floor = self->work.count;
    uint32_t *start = PUSH (self, work, uint32_t);
    if (start)
        *start = node;
    while (self->work.count > floor) {
        rota_node_t at = *AT (self, work, uint32_t, --self->work.count);
        node_t *it = &self->nodes[at];
        if (it->kind == NODE (TASK))
            rota_core_refresh_place (self, at);
        bool dead = is_dead (it);
        if (((it->flags & F_DEAD) != 0) == dead)
            continue;
        it->flags ^= F_DEAD;
        for (uint32_t e = it->first_edge; e != ROTA_NONE; e = self->edges[e].next) {
            rota_node_t to = self->edges[e].to & ~EDGE_INHERITED;
            if (self->nodes[to].kind)
                follow_dead (self, to, dead);
        }
        if (it->parent != ROTA_NONE)
            follow_dead (self, it->parent, dead);
    }
}

/* ------------------------------------------------------------------------------- open, discard */

static void open_task (rota_core_t *self, rota_node_t index)
{
    node_t *it = &self->nodes[index];
    it->flags &= (uint16_t)~F_STAGED;
    source_counts_t *counts = rota_core_source (self, it->source);
    if (counts) {
        counts->total++;
        counts->orphaned += (it->flags & F_ORPHANED) != 0;
        rota_core_count_place (self, index, it->place, 1); /* ENDED, left at once */
    }
    rota_core_count_status (self, index, it->status, 1);
    if (it->parent != ROTA_NONE)
        follow_satisfied (self, it->parent, false, true);
    rota_core_refresh_place (self, index);
    if (it->status == STATUS (DONE) || (it->status == STATUS (CANCELLED) && (it->flags & F_SKIPPED)))
        rota_core_set_satisfied (self, index, true);
    rota_core_refresh_dead (self, index);
}

static void open_group (rota_core_t *self, rota_node_t index)
{
    node_t *it = &self->nodes[index];
    it->flags &= (uint16_t)~F_STAGED;
    if (it->parent != ROTA_NONE)
        follow_satisfied (self, it->parent, false, true);
    rota_core_set_satisfied (self, index, it->unmet == 0);
    rota_core_refresh_dead (self, index);
}

/* Tasks before groups, inner groups before outer ones (they come after them in the array), so that no gate
 * opens for a moment because a group's members are not there yet. */
void rota_core_open (rota_core_t *self, rota_node_t first, rota_node_t end, bool loading, int64_t now_ms)
{
    rota_core_at (self, now_ms);
    self->loading = loading;
    for (rota_node_t i = first; i < end; i++) {
        node_t *it = &self->nodes[i];
        if (it->kind != NODE (TASK) || !(it->flags & F_STAGED))
            continue;
        if (!loading) {
            it->ready_since_ms = now_ms;
            rota_core_event_t *event = rota_core_emit (self, EVENT (TASK_ADDED), i);
            event->to = it->status;
        }
        open_task (self, i);
    }
    for (rota_node_t i = end; i-- > first;)
        if (self->nodes[i].kind && self->nodes[i].kind != NODE (TASK) && (self->nodes[i].flags & F_STAGED))
            open_group (self, i);
    self->loading = false;
}

static bool leads_to_staged_only (const rota_core_t *self, rota_node_t node)
{
    for (uint32_t e = self->nodes[node].first_edge; e != ROTA_NONE; e = self->edges[e].next)
        if (takes_part (&self->nodes[self->edges[e].to & ~EDGE_INHERITED]))
            return false;
    return true;
}

static void drop_edges_to_void (rota_core_t *self)
{
    for (rota_node_t i = 0; i < self->count; i++)
        for (uint32_t *link = &self->nodes[i].first_edge; *link != ROTA_NONE;) {
            uint32_t at = *link;
            if (self->nodes[self->edges[at].to & ~EDGE_INHERITED].kind) {
                link = &self->edges[at].next;
                continue;
            }
            *link = self->edges[at].next;
            self->edges[at].next = self->free_edge;
            self->free_edge = at;
        }
}

void rota_core_discard (rota_core_t *self, rota_node_t first, rota_node_t end)
{
    size_t ids_size = first < end && self->nodes[first].kind ? self->nodes[first].id_offset : self->ids_size;
    for (rota_node_t i = end; i-- > first;) {
        node_t *it = &self->nodes[i];
        if (!it->kind || !(it->flags & F_STAGED))
            continue;
        /* A staged node has no dependants but staged ones: nobody open could refer to it. */
        if (!leads_to_staged_only (self, i))
            self->broken = true;
        forget_id (self, i);
        rota_core_claim (self, i, NULL, 0, false);
        rota_core_set_reason (self, i, NULL, 0);
        if (it->kind != NODE (TASK))
            AT (self, groups, group_t, it->slot)->node = ROTA_NONE;
        while (it->first_edge != ROTA_NONE) {
            uint32_t at = it->first_edge;
            it->first_edge = self->edges[at].next;
            self->edges[at].next = self->free_edge;
            self->free_edge = at;
        }
        *it = (node_t){.first_edge = ROTA_NONE, .parent = ROTA_NONE, .slot = ROTA_NONE};
    }
    for (size_t i = 0; i < self->group_dependencies.count;) {
        group_dependency_t *it = AT (self, group_dependencies, group_dependency_t, i);
        if (self->nodes[it->group].kind && self->nodes[it->prerequisite].kind)
            i++;
        else
            *it = *AT (self, group_dependencies, group_dependency_t, --self->group_dependencies.count);
    }
    drop_edges_to_void (self);
    /* What was opened meanwhile stays, and so does its place. */
    while (end == self->count && end > first && !self->nodes[end - 1].kind)
        self->count = --end;
    if (end == first)
        self->ids_size = ids_size;
    while (self->groups.count && AT (self, groups, group_t, self->groups.count - 1)->node == ROTA_NONE)
        free (AT (self, groups, group_t, --self->groups.count)->parked.items);
}

/* ----------------------------------------------------------------------------------- the rest */

/* Its edges may be others than before; a group's are its members'. */
static void refresh_changed (rota_core_t *self, rota_node_t node)
{
    if (self->nodes[node].kind == NODE (TASK)) {
        rota_core_refresh_dead (self, node);
        return;
    }
    for (rota_node_t i = 0; i < self->count; i++)
        if (self->nodes[i].kind == NODE (TASK) && takes_part (&self->nodes[i]) && lies_in (self, i, node))
            rota_core_refresh_dead (self, i);
}

static void set_approval (rota_core_t *self, rota_node_t node, uint16_t approval)
{
    node_t *it = &self->nodes[node];
    bool counted = it->kind == NODE (TASK) && !(it->flags & F_STAGED);
    if ((it->flags & F_APPROVAL) == approval)
        return;
    if (counted)
        rota_core_count_status (self, node, it->status, -1);
    it->flags ^= F_APPROVAL;
    if (counted)
        rota_core_count_status (self, node, it->status, 1);
    if (it->flags & F_STAGED)
        return;
    rota_core_touch (self, node);
    rota_core_emit (self, EVENT (TASK_CHANGED), node);
}

/* Those in a group that say nothing themselves follow it; a group stands before what lies in it. */
static void hand_down_approval (rota_core_t *self, rota_node_t group)
{
    for (rota_node_t i = 0; i < self->count; i++) {
        const node_t *it = &self->nodes[i];
        if (it->kind && (it->flags & F_SILENT) && it->parent != ROTA_NONE && lies_in (self, i, group))
            set_approval (self, i, self->nodes[it->parent].flags & F_APPROVAL);
    }
}

void rota_core_redefine (rota_core_t *self, rota_node_t node, const rota_core_node_t *as, int64_t now_ms)
{
    rota_core_at (self, now_ms);
    node_t *it = &self->nodes[node];
    rota_place_t place = it->place;
    bool queued = it->kind == NODE (TASK) && (place == ROTA_PLACE_READY || place == ROTA_PLACE_PARKED ||
                                              place == ROTA_PLACE_HELD || place == ROTA_PLACE_CLAIMED);
    if (queued)
        rota_core_leave_place (self, node);
    bool counted = it->kind == NODE (TASK) && !(it->flags & F_STAGED);
    if (counted)
        rota_core_count_status (self, node, it->status, -1);
    if (it->flags & F_LEASED)
        rota_core_mode_count (self, node, it->phase, -1);
    it->class_index = (uint16_t)as->class_index;
    if (it->flags & F_LEASED)
        rota_core_mode_count (self, node, it->phase, 1);
    it->priority = (int16_t)as->priority;
    it->complexity = (uint8_t)as->complexity;
    it->attempts_allowed = (uint8_t)as->attempts_allowed;
    it->wants = as->wants;
    rota_core_node_t said = *as;
    said.parent = it->parent;
    it->flags &= (uint16_t) ~(F_APPROVAL | F_KEEP | F_SILENT);
    it->flags |= (uint16_t)(approval_of (self, &said) | (as->keep_on_lost ? F_KEEP : 0) |
                            (as->approval_of_group ? F_SILENT : 0));
    if (counted)
        rota_core_count_status (self, node, it->status, 1);
    if (queued) {
        it->order_ms = 0;
        rota_core_enter_place (self, node, ROTA_PLACE_READY);
    }
    if (it->kind != NODE (TASK))
        hand_down_approval (self, node);
    refresh_changed (self, node);
    rota_core_touch (self, node);
    rota_core_emit (self, EVENT (TASK_CHANGED), node);
}

void rota_core_orphan (rota_core_t *self, rota_node_t node, bool orphaned, int64_t now_ms)
{
    rota_core_at (self, now_ms);
    node_t *it = &self->nodes[node];
    if (((it->flags & F_ORPHANED) != 0) == orphaned)
        return;
    it->flags ^= F_ORPHANED;
    source_counts_t *counts = it->kind == NODE (TASK) ? rota_core_source (self, it->source) : NULL;
    if (counts)
        counts->orphaned += orphaned ? UINT64_C (1) : UINT64_MAX;
    rota_core_touch (self, node);
    rota_core_emit (self, orphaned ? EVENT (TASK_ORPHANED) : EVENT (TASK_CHANGED), node);
}
