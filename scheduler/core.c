#include "scheduler/core_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void standard_rule (rota_rule_t *ret_rule, const char *text)
{
    int r = rota_rule_parse (text, ret_rule, NULL);
    assert (r == 0);
    (void)r;
}

void rota_core_policy_default (rota_core_policy_t *ret_policy)
{
    *ret_policy = (rota_core_policy_t){
        .lease_ms = 120000,
        .lease_margin_ms = 5000,
        .backoff_base_ms = 30000,
        .backoff_max_ms = 300000,
        .backoff_jitter_percent = 20,
        .default_attempts = 3,
        .agent_patience_ms = 10000,
        .free_tries = 10,
        .merge_batch = 8,
        .review_rounds = 3,
        .step_tries = 3,
        .review_patience_ms = 600000,
        .claims = true,
        .claim_patience_ms = 600000,
        .assign_resend_ms = 5000,
        .complex_from = 8,
        .failback_ms = 300000,
        .default_cooldown_ms = 300000,
        .capacity_cooldown_ms = 60000,
        .cooldown_guess_max_ms = 3600000,
        .cooldown_floor_ms = 5000,
        .cooldown_ceiling_ms = INT64_C (8) * 86400000,
        .cooldown_margin_ms = 2000,
        .weight = {.priority_s = 60, /* these as in bus/settings.def */
                   .review_s = 1200,
                   .fixup_s = 600,
                   .unblocks_s = 30,
                   .unblocks_cap = 30,
                   .small_s = 10},
    };
    ret_policy->mode.pinned = -1;
    ret_policy->mode.half_life_ms = 900000;
    ret_policy->mode.dwell_ms = 300000;
    ret_policy->mode.samples = 8;
    ret_policy->coordinator_after = 3;
    ret_policy->give_up_after = ret_policy->breaker_failures = 5;
    ret_policy->breaker_window_ms = 600000;
    ret_policy->breaker_rest_ms = 60000;
    ret_policy->breaker_rest_max_ms = 900000;
#define RULE(CLASS, key, reason, standard, doc) standard_rule (&ret_policy->rules[RESULT (CLASS)], standard);
#include "bus/resilience.def"
#undef RULE
}

rota_core_t *rota_core_new (const rota_core_policy_t *policy, int64_t now_ms)
{
    rota_core_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    self->policy = *policy;
    self->started_ms = self->now_ms = self->mode.since_ms = now_ms;
    self->free_edge = ROTA_NONE;
    self->money.holding = ROTA_NONE;
    self->money.hour = -1;
    self->held_first = self->held_last = self->reserves = ROTA_NONE;
    self->role = (rota_core_coordinator_t){.agent = ROTA_NONE, .reason = ""};
    return self;
}

static void free_texts (rota_core_t *self)
{
    for (size_t i = 0; i < self->texts.count; i++)
        free (*AT (self, texts, char *, i));
    self->texts.count = 0;
}

static void free_agents_and_classes (rota_core_t *self)
{
    for (size_t i = 0; i < self->classes.count; i++) {
        free (AT (self, classes, class_t, i)->agent);
        free (AT (self, classes, class_t, i)->ready.items);
    }
    for (size_t i = 0; i < self->groups.count; i++)
        free (AT (self, groups, group_t, i)->parked.items);
    for (size_t i = 0; i < self->agents.count; i++) {
        free (AT (self, agents, agent_t, i)->name);
        free (AT (self, agents, agent_t, i)->kind);
        free (AT (self, agents, agent_t, i)->host);
    }
    rota_core_accounts_free (self);
    rota_core_resilience_free (self);
    rota_core_budgets_free (self);
    rota_core_health_free (self);
    free (self->role_reason);
    for (unsigned i = 0; i < self->capability_count; i++)
        free (self->capability_names[i]);
}

void rota_core_destroy (rota_core_t **self_p)
{
    rota_core_t *self = *self_p;
    if (!self)
        return;
    free_texts (self);
    free_agents_and_classes (self);
    rota_core_claims_free (self);
    reason_t *reason, *next;
    HASH_ITER (hh, self->reasons, reason, next) {
        HASH_DEL (self->reasons, reason);
        free (reason->text);
        free (reason);
    }
    list_t *lists[] = {&self->groups,   &self->group_dependencies,
                       &self->classes,  &self->sources,
                       &self->agents,   &self->accounts,
                       &self->breakers, &self->leases,
                       &self->events,   &self->assigns,
                       &self->stops,    &self->ended,
                       &self->dirty,    &self->texts,
                       &self->work};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        free (lists[i]->items);
    free (self->delayed.items);
    free (self->nodes);
    free (self->edges);
    free (self->ids);
    free (self->table);
    free (self);
    *self_p = NULL;
}

void rota_core_at (rota_core_t *self, int64_t now_ms)
{
    if (now_ms > self->now_ms)
        self->now_ms = now_ms;
}

void *rota_list_push (rota_core_t *self, list_t *list, size_t item_size)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 16;
        void *items = realloc (list->items, capacity * item_size);
        if (!items) {
            self->broken = true;
            return NULL;
        }
        list->items = items;
        list->capacity = capacity;
    }
    void *item = (char *)list->items + list->count++ * item_size;
    memset (item, 0, item_size);
    return item;
}

node_t *rota_core_node (const rota_core_t *self, rota_node_t node)
{
    return &self->nodes[node];
}

void rota_core_touch (rota_core_t *self, rota_node_t node)
{
    node_t *it = rota_core_node (self, node);
    self->version++;
    if (it->flags & F_DIRTY)
        return;
    rota_node_t *dirty = PUSH (self, dirty, rota_node_t);
    if (!dirty)
        return;
    *dirty = node;
    it->flags |= F_DIRTY;
}

rota_core_event_t *rota_core_emit (rota_core_t *self, Rota__EventType type, rota_node_t node)
{
    static rota_core_event_t nowhere; /* written to when memory ran out: `broken` says so, nobody reads it */
    rota_core_event_t *event = PUSH (self, events, rota_core_event_t);
    if (!event)
        event = &nowhere;
    *event = (rota_core_event_t){.type = type, .node = node, .agent = ROTA_NONE};
    self->version++;
    return event;
}

const char *rota_core_text (rota_core_t *self, const char *format, ...)
{
    char **text = PUSH (self, texts, char *);
    if (!text)
        return "";
    va_list args;
    va_start (args, format);
    if (vasprintf (text, format, args) < 0) {
        *text = NULL;
        self->broken = true;
    }
    va_end (args);
    return *text ? *text : "";
}

void rota_core_note (rota_core_t *self, Rota__EventType type, const char *reason)
{
    const char *copy = rota_core_text (self, "%s", reason);
    rota_core_emit (self, type, ROTA_NONE)->reason = copy;
}

static reason_t *find_reason (const rota_core_t *self, rota_node_t node)
{
    reason_t *reason;
    HASH_FIND (hh, self->reasons, &node, sizeof node, reason);
    return reason;
}

void rota_core_set_reason (rota_core_t *self, rota_node_t node, const char *text, size_t length)
{
    node_t *it = rota_core_node (self, node);
    if (it->flags & F_REASON) {
        reason_t *old = find_reason (self, node);
        HASH_DEL (self->reasons, old);
        free (old->text);
        free (old);
        it->flags &= (uint16_t)~F_REASON;
    }
    if (!text || !length)
        return;
    reason_t *reason = calloc (1, sizeof *reason);
    if (reason)
        reason->text = strndup (text, length);
    if (!reason || !reason->text) {
        free (reason);
        self->broken = true;
        return;
    }
    reason->node = node;
    HASH_ADD (hh, self->reasons, node, sizeof reason->node, reason);
    it->flags |= F_REASON;
}

const char *rota_core_reason (const rota_core_t *self, rota_node_t node)
{
    return rota_core_node (self, node)->flags & F_REASON ? find_reason (self, node)->text : NULL;
}

void rota_core_effects (const rota_core_t *self, rota_core_effects_t *ret_effects)
{
    *ret_effects = (rota_core_effects_t){
        .events = self->events.items,
        .event_count = self->events.count,
        .assigns = self->assigns.items,
        .assign_count = self->assigns.count,
        .stops = self->stops.items,
        .stop_count = self->stops.count,
        .ended = self->ended.items,
        .ended_count = self->ended.count,
        .dirty = self->dirty.items,
        .dirty_count = self->dirty.count,
        .control_changed = self->control_changed,
        .accounts_changed = self->accounts_changed,
        .role_changed = self->role_changed,
        .health_changed = self->health_changed,
    };
}

void rota_core_effects_clear (rota_core_t *self)
{
    for (size_t i = 0; i < self->dirty.count; i++)
        rota_core_node (self, *AT (self, dirty, rota_node_t, i))->flags &= (uint16_t)~F_DIRTY;
    free_texts (self);
    rota_core_budgets_clear (self);
    self->events.count = self->assigns.count = self->stops.count = 0;
    self->ended.count = self->dirty.count = 0;
    self->control_changed = self->accounts_changed = self->role_changed = self->health_changed = false;
}

bool rota_core_broken (const rota_core_t *self)
{
    return self->broken;
}

size_t rota_core_count (const rota_core_t *self)
{
    return self->count;
}

uint64_t rota_core_version (const rota_core_t *self)
{
    return self->version;
}

bool rota_core_get (const rota_core_t *self, rota_node_t node, rota_core_node_t *ret_node)
{
    if (node >= self->count || !rota_core_node (self, node)->kind)
        return false;
    const node_t *it = rota_core_node (self, node);
    const lease_t *lease = rota_core_lease_of (self, node);
    bool queued = it->place == ROTA_PLACE_READY || it->place == ROTA_PLACE_PARKED ||
                  it->place == ROTA_PLACE_HELD || it->place == ROTA_PLACE_CLAIMED;
    *ret_node = (rota_core_node_t){
        .id = self->ids + it->id_offset,
        .id_length = it->id_length,
        .kind = it->kind,
        .parent = it->parent,
        .source = it->source,
        .class_index = it->class_index,
        .queue = queued ? it->queue : it->class_index,
        .status = it->status,
        .phase = it->phase,
        .blocked = it->blocked,
        .came_from = it->came_from,
        .priority = it->priority,
        .complexity = it->complexity,
        .attempts_allowed = it->attempts_allowed,
        .attempts_used = it->attempts_used,
        .attempt = it->attempt,
        .wants = it->wants,
        .rounds = it->rounds,
        .stumbles = it->stumbles,
        .trouble = rota_core_trouble (self, node),
        .approval = it->flags & F_APPROVAL,
        .approval_of_group = it->flags & F_SILENT,
        .keep_on_lost = it->flags & F_KEEP,
        .orphaned = it->flags & F_ORPHANED,
        .flagged = it->flags & F_FLAGGED,
        .skipped = it->flags & F_SKIPPED,
        .lost = it->flags & F_LOST,
        .cancelling = it->flags & F_CANCEL,
        .holding = it->flags & F_HOLD,
        .asked = it->asked,
        .leased = lease != NULL,
        .agent = lease ? lease->agent : ROTA_NONE,
        .author = it->author ? it->author - 1u : ROTA_NONE,
        .assigned_ms = lease ? lease->assigned_ms : 0,
        .epoch = lease ? lease->epoch : 0,
        .ready_since_ms = it->ready_since_ms,
        .not_before_ms = queued ? 0 : it->order_ms,
    };
    return true;
}

bool rota_core_is_staged (const rota_core_t *self, rota_node_t node)
{
    return rota_core_node (self, node)->flags & F_STAGED;
}

rota_place_t rota_core_place (const rota_core_t *self, rota_node_t node)
{
    return rota_core_node (self, node)->place;
}

bool rota_core_is_satisfied (const rota_core_t *self, rota_node_t node)
{
    return rota_core_node (self, node)->flags & F_SATISFIED;
}

bool rota_core_is_dead (const rota_core_t *self, rota_node_t node)
{
    return rota_core_node (self, node)->flags & F_DEAD;
}

bool rota_core_is_stopping (const rota_core_t *self, rota_node_t node)
{
    const lease_t *lease = rota_core_lease_of (self, node);
    return lease && lease->stopping;
}

uint32_t rota_core_unmet (const rota_core_t *self, rota_node_t node)
{
    return rota_core_node (self, node)->unmet;
}

void rota_core_pause (rota_core_t *self, bool paused, int64_t now_ms)
{
    rota_core_at (self, now_ms);
    if (self->paused == paused)
        return;
    self->paused = paused;
    self->control_changed = true;
    rota_core_emit (self, EVENT (CONTROL), ROTA_NONE)->reason = paused ? "paused" : "resumed";
}

bool rota_core_is_paused (const rota_core_t *self)
{
    return self->paused;
}

bool rota_core_is_draining (const rota_core_t *self)
{
    return self->draining;
}

void rota_core_drain_all (rota_core_t *self, bool draining, int64_t now_ms)
{
    rota_core_at (self, now_ms);
    if (self->draining == draining)
        return;
    self->draining = draining;
    self->control_changed = true;
    rota_core_emit (self, EVENT (CONTROL), ROTA_NONE)->reason = draining ? "draining" : "resumed";
}
