/* Whom a budget keeps back, and limits as they are set.
 *
 * An attempt starts when in each of its scopes, for each limit, what is spent and reserved leaves room for
 * its estimate; so what is spent exceeds a limit by no more than attempts used beyond their estimates. A
 * limit of all, a kind, an account, an agent or a source keeps whole classes of tasks waiting where they are;
 * a task that its epic or its own limit keeps back is put aside (ROTA_PLACE_HELD), in the queue of the tally,
 * so that it isn't in the way of others. What is put aside competes again when its scope has room, a limit
 * changes, or an hour begins.
 */
#include "scheduler/core_budget_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------- admission */

static bool window_refuses (const rota_core_t *self, const tally_t *tally, const agent_t *agent,
                            rota_core_hold_t *ret_hold)
{
    int64_t limit = agent->paid ? rota_core_tally_window_limit (self, tally) : ROTA_LIMIT_UNSET;
    for (size_t i = 0; limit != ROTA_LIMIT_UNSET && i < self->money.windows.count; i++) {
        const window_t *it = AT (self, money.windows, window_t, i);
        if (it->account != agent->account || it->used_permille < limit || it->resets_ms <= self->now_ms)
            continue;
        ret_hold->window = true;
        ret_hold->until_ms = it->resets_ms;
        ret_hold->spent = it->used_permille;
        ret_hold->limit = limit;
        return true;
    }
    return false;
}

/* What is nothing of a measure is not kept back by it. */
static bool tally_refuses (const rota_core_t *self, uint32_t index, const agent_t *agent,
                           const int64_t amount[ROTA_MEASURES], rota_core_hold_t *ret_hold)
{
    const tally_t *tally = tally_at (self, index);
    if (!is_bound (tally))
        return false;
    for (int m = 0; m < ROTA_MEASURES; m++)
        for (int p = ROTA_PERIODS; amount[m] > 0 && p-- > 0;) {
            int64_t limit = rota_core_tally_limit (self, tally, (rota_measure_t)m, (rota_period_t)p);
            int64_t sure = plus (tally->spent[p][m], amount[m]), whole = plus (sure, tally->reserved[m]);
            if (limit == ROTA_LIMIT_UNSET || whole <= limit)
                continue;
            *ret_hold = (rota_core_hold_t){.tally = index,
                                           .measure = (rota_measure_t)m,
                                           .period = (rota_period_t)p,
                                           .reserved = sure <= limit,
                                           .until_ms = sure <= limit ? 0 : end_of (self, (rota_period_t)p),
                                           .estimate = amount[m],
                                           .spent = tally->spent[p][m],
                                           .booked = tally->reserved[m],
                                           .limit = limit};
            return true;
        }
    rota_core_hold_t hold = {.tally = index};
    if (!window_refuses (self, tally, agent, &hold))
        return false;
    *ret_hold = hold;
    return true;
}

uint32_t rota_core_scope_index (const rota_core_t *self, rota_scope_t scope, rota_node_t node,
                                rota_agent_t agent)
{
    switch (scope) {
    case ROTA_SCOPE_ALL:
        return 0;
    case ROTA_SCOPE_KIND:
        return rota_core_kind_of (self, AT (self, agents, agent_t, agent));
    case ROTA_SCOPE_ACCOUNT:
        return AT (self, agents, agent_t, agent)->account;
    case ROTA_SCOPE_AGENT:
        return agent;
    case ROTA_SCOPE_SOURCE:
        return self->nodes[node].source;
    case ROTA_SCOPE_EPIC:
        return rota_core_epic_of (self, node);
    default:
        return node;
    }
}

/* Scopes that nothing was counted in have no tally yet: then one with a limit is made here. */
static bool refuses (rota_core_t *self, rota_node_t node, rota_agent_t agent, rota_core_hold_t *ret_hold)
{
    int64_t amount[ROTA_MEASURES];
    ret_hold->tally = ROTA_NONE;
    if (!self->money.budgets.count)
        return false;
    const agent_t *it = AT (self, agents, agent_t, agent);
    rota_core_estimate (self, node, rota_core_next_phase (&self->nodes[node]), it, amount);
    if (!amount[ROTA_MEASURE_USD] && !amount[ROTA_MEASURE_TOKENS] && !amount[ROTA_MEASURE_ATTEMPTS] &&
        !it->paid)
        return false;
    rota_core_kind (self, it->kind ? it->kind : "");
    for (int scope = 0; scope < ROTA_SCOPES; scope++) {
        if (!self->money.budgeted[scope])
            continue;
        uint32_t index = rota_core_scope_index (self, (rota_scope_t)scope, node, agent);
        uint32_t tally =
            index == ROTA_NONE ? ROTA_NONE : rota_core_tally_make (self, (rota_scope_t)scope, index);
        if (tally != ROTA_NONE && tally_refuses (self, tally, it, amount, ret_hold))
            return true;
    }
    return false;
}

bool rota_core_budget_refuses (rota_core_t *self, rota_node_t node, rota_agent_t agent, bool *ret_of_task)
{
    rota_core_hold_t hold;
    if (!refuses (self, node, agent, &hold))
        return false;
    *ret_of_task = tally_at (self, hold.tally)->scope >= ROTA_SCOPE_EPIC;
    if (!hold.window && !hold.reserved)
        rota_core_tally_exhausted (self, hold.tally, hold.measure, hold.period);
    return true;
}

/* Every agent that is there and could take it is refused, and at least one for the task's own sake: what is
 * best put aside. `ret_hold` is of the first. */
static bool is_kept_back (rota_core_t *self, rota_node_t node, bool by_task, rota_core_hold_t *ret_hold)
{
    const class_t *class = AT (self, classes, class_t, self->nodes[node].queue);
    rota_core_hold_t hold;
    bool any = false;
    ret_hold->tally = ROTA_NONE;
    for (rota_agent_t i = 0; self->money.budgets.count && i < self->agents.count; i++) {
        const agent_t *agent = AT (self, agents, agent_t, i);
        if (!agent->connected || agent->faulty || !rota_core_agent_fits (agent, class))
            continue;
        if (!refuses (self, node, i, &hold))
            return false;
        if (by_task && tally_at (self, hold.tally)->scope < ROTA_SCOPE_EPIC)
            return false;
        /* Of several the one that ends first: by itself before by hand. */
        bool sooner = !any ||
                      (ret_hold->until_ms == 0 && !ret_hold->reserved && (hold.until_ms || hold.reserved)) ||
                      (hold.until_ms && hold.until_ms < ret_hold->until_ms);
        if (sooner)
            *ret_hold = hold;
        any = true;
    }
    return any;
}

bool rota_core_budget_put_aside (rota_core_t *self, rota_node_t node)
{
    rota_core_hold_t hold;
    if (!is_kept_back (self, node, true, &hold))
        return false;
    tally_t *tally = tally_at (self, hold.tally);
    if (!tally->held.count)
        tally->stuck = true;
    tally->stuck &= hold.until_ms == 0 && !hold.reserved;
    self->money.holding = hold.tally;
    rota_core_change_place (self, node, ROTA_PLACE_HELD);
    return true;
}

/* Where a task is, or is about to be, put aside. */
heap_t *rota_core_budget_heap (rota_core_t *self, rota_node_t node)
{
    if (self->nodes[node].place == ROTA_PLACE_HELD && self->money.holding != ROTA_NONE) {
        heap_t *heap = &tally_at (self, self->money.holding)->held;
        self->money.holding = ROTA_NONE;
        return heap;
    }
    const heap_t *found = rota_core_budget_heap_of (self, node);
    return (heap_t *)found;
}

const heap_t *rota_core_budget_heap_of (const rota_core_t *self, rota_node_t node)
{
    uint32_t slot = self->nodes[node].slot;
    uint32_t at[] = {rota_core_tally_find (self, ROTA_SCOPE_TASK, node), ROTA_NONE};
    rota_node_t epic = rota_core_epic_of (self, node);
    if (epic != ROTA_NONE)
        at[1] = rota_core_tally_find (self, ROTA_SCOPE_EPIC, epic);
    for (int i = 0; i < 2; i++) {
        const heap_t *heap = at[i] == ROTA_NONE ? NULL : &tally_at (self, at[i])->held;
        if (heap && slot < heap->count && heap->items[slot] == node)
            return heap;
    }
    return NULL;
}

void rota_core_budget_hold (const rota_core_t *core, rota_node_t node, rota_core_hold_t *ret_hold)
{
    /* Tallies may be made on the way, which changes nothing that anybody sees. */
    rota_core_t *self = (rota_core_t *)core;
    ret_hold->tally = ROTA_NONE;
    if (!self->money.budgets.count || self->nodes[node].queue >= self->classes.count)
        return;
    if (!is_kept_back (self, node, false, ret_hold))
        ret_hold->tally = ROTA_NONE;
}

static int64_t tally_used_permille (const rota_core_t *self, const tally_t *tally)
{
    int64_t most = 0;
    for (int m = 0; m < ROTA_MEASURE_ATTEMPTS; m++)
        for (int p = 0; p < ROTA_PERIODS; p++) {
            int64_t limit = rota_core_tally_limit (self, tally, (rota_measure_t)m, (rota_period_t)p);
            if (limit == ROTA_LIMIT_UNSET || limit == ROTA_LIMIT_NONE)
                continue;
            int64_t spent = tally->spent[p][m];
            int64_t used = spent >= limit ? 1000 : (int64_t)((double)spent * 1000 / (double)limit);
            most = used > most ? used : most;
        }
    return most;
}

uint32_t rota_core_budget_used_permille (const rota_core_t *self, rota_node_t node, rota_agent_t agent)
{
    int64_t most = 0;
    for (int scope = 0; scope < ROTA_SCOPES; scope++) {
        bool of_agent = scope == ROTA_SCOPE_KIND || scope == ROTA_SCOPE_ACCOUNT || scope == ROTA_SCOPE_AGENT;
        if (!self->money.budgeted[scope] || (of_agent && agent == ROTA_NONE))
            continue;
        uint32_t index = rota_core_scope_index (self, (rota_scope_t)scope, node, agent);
        uint32_t tally =
            index == ROTA_NONE ? ROTA_NONE : rota_core_tally_find (self, (rota_scope_t)scope, index);
        int64_t used = tally == ROTA_NONE ? 0 : tally_used_permille (self, tally_at (self, tally));
        most = used > most ? used : most;
    }
    for (size_t i = 0; agent != ROTA_NONE && i < self->money.windows.count; i++) {
        const window_t *it = AT (self, money.windows, window_t, i);
        if (it->account == AT (self, agents, agent_t, agent)->account && it->resets_ms > self->now_ms &&
            it->used_permille > most)
            most = it->used_permille;
    }
    return (uint32_t)(most > 1000 ? 1000 : most);
}

static uint64_t waiting (const rota_core_t *self, uint32_t source, bool stuck, int64_t *ret_until_ms)
{
    uint64_t count = 0;
    *ret_until_ms = 0;
    if (!self->money.budgets.count)
        return 0;
    for (size_t c = 0; c < self->classes.count; c++) {
        const class_t *class = AT (self, classes, class_t, c);
        rota_core_hold_t hold;
        if (!class->ready.count || !class->assignable || (source != ROTA_NONE && class->source != source))
            continue;
        rota_core_budget_hold (self, class->ready.items[0], &hold);
        if (hold.tally == ROTA_NONE || (stuck && (hold.until_ms || hold.reserved)))
            continue;
        count += class->ready.count;
        if (hold.until_ms && (!*ret_until_ms || hold.until_ms < *ret_until_ms))
            *ret_until_ms = hold.until_ms;
    }
    for (uint32_t i = 0; i < self->money.tallies.count; i++) {
        const tally_t *tally = tally_at (self, i);
        if (!tally->held.count || (stuck && !tally->stuck) ||
            (source != ROTA_NONE && self->nodes[tally->held.items[0]].source != source))
            continue;
        count += tally->held.count;
        rota_core_hold_t hold;
        rota_core_budget_hold (self, tally->held.items[0], &hold);
        if (hold.tally != ROTA_NONE && hold.until_ms && (!*ret_until_ms || hold.until_ms < *ret_until_ms))
            *ret_until_ms = hold.until_ms;
    }
    return count;
}

uint64_t rota_core_budget_stuck (const rota_core_t *self, uint32_t source)
{
    int64_t ignored;
    return waiting (self, source, true, &ignored);
}

uint64_t rota_core_budget_waiting (const rota_core_t *self, uint32_t source, int64_t *ret_until_ms)
{
    return waiting (self, source, false, ret_until_ms);
}

/* ------------------------------------------------------------------------------- limits, by hand */

void rota_core_name_source (rota_core_t *self, uint32_t source, const char *name)
{
    while (self->money.source_names.count <= source)
        if (!PUSH (self, money.source_names, char *))
            return;
    char **at = AT (self, money.source_names, char *, source);
    if (*at && strcmp (*at, name) == 0)
        return;
    free (*at);
    *at = strdup (name);
    self->broken |= !*at;
    uint32_t tally = rota_core_tally_find (self, ROTA_SCOPE_SOURCE, source);
    if (tally != ROTA_NONE)
        rota_core_tally_bind (self, tally_at (self, tally));
}

void rota_core_budget_defaults (rota_core_t *self, int64_t nano_usd, int64_t tokens)
{
    self->money.default_nano_usd = nano_usd;
    self->money.default_tokens = tokens;
}

int rota_core_budget_find (const rota_core_t *self, rota_scope_t scope, const char *name)
{
    for (uint32_t i = 0; i < self->money.budgets.count; i++)
        if (budget_at (self, i)->scope == scope && strcmp (budget_at (self, i)->name, name) == 0)
            return (int)i;
    return -1;
}

/* What was told of a limit is told of the new one again. */
static void rebind_all (rota_core_t *self)
{
    memset (self->money.budgeted, 0, sizeof self->money.budgeted);
    for (uint32_t i = 0; i < self->money.budgets.count; i++)
        self->money.budgeted[budget_at (self, i)->scope] = true;
    for (uint32_t i = 0; i < self->money.tallies.count; i++) {
        tally_t *tally = tally_at (self, i);
        rota_core_tally_bind (self, tally);
        for (int m = 0; m < ROTA_MEASURES; m++)
            for (int p = 0; p < ROTA_PERIODS; p++) {
                int64_t limit = rota_core_tally_limit (self, tally, (rota_measure_t)m, (rota_period_t)p);
                uint16_t bit = bit_of ((rota_measure_t)m, (rota_period_t)p);
                bool below = limit == ROTA_LIMIT_UNSET || tally->spent[p][m] < limit;
                if (!below || !((tally->exhausted | tally->warned) & bit))
                    continue;
                tally->exhausted &= (uint16_t)~bit;
                if (limit == ROTA_LIMIT_UNSET || tally->spent[p][m] < limit / 100 * WARN_PERCENT)
                    tally->warned &= (uint16_t)~bit;
                rota_core_tally_touch (self, i);
            }
    }
    rota_core_budget_release_all (self);
    self->version++;
}

int rota_core_budget_set (rota_core_t *self, rota_scope_t scope, const char *name, bool runtime,
                          const rota_limits_t *limits, int64_t now_ms)
{
    rota_core_at (self, now_ms);
    int at = rota_core_budget_find (self, scope, name);
    if (at < 0 && self->money.budgets.count >= ROTA_BUDGETS_MAX)
        return -ENOSPC;
    if (at < 0) {
        char *copy = strdup (name);
        budget_t *it = copy ? PUSH (self, money.budgets, budget_t) : NULL;
        if (!it) {
            free (copy);
            self->broken = true;
            return -ENOMEM;
        }
        it->scope = (uint8_t)scope;
        it->name = copy;
        rota_limits_init (&it->configured);
        rota_limits_init (&it->runtime);
        at = (int)self->money.budgets.count - 1;
    }
    budget_t *it = budget_at (self, (uint32_t)at);
    *(runtime ? &it->runtime : &it->configured) = *limits;
    rebind_all (self);
    return self->broken ? -ENOMEM : 0;
}

size_t rota_core_budget_count (const rota_core_t *self)
{
    return self->money.budgets.count;
}

void rota_core_budget_view (const rota_core_t *self, size_t budget, rota_core_budget_view_t *ret_view)
{
    const budget_t *it = budget_at (self, (uint32_t)budget);
    *ret_view = (rota_core_budget_view_t){
        .scope = it->scope, .name = it->name, .configured = it->configured, .runtime = it->runtime};
}
