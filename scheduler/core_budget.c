/* Budgets: what is spent in each scope, what is reserved for what runs, and whom a limit keeps back.
 *
 * An attempt starts when in each of its scopes, for each limit, what is spent and reserved leaves room for
 * its estimate; so what is spent exceeds a limit by no more than attempts used beyond their estimates. A
 * limit of all, a kind, an account, an agent or a source keeps whole classes of tasks waiting where they are;
 * a task that its epic or its own limit keeps back is put aside (ROTA_PLACE_HELD), in the queue of the tally,
 * so that it isn't in the way of others. What is put aside competes again when its scope has room, a limit
 * changes, or an hour begins.
 */
#include "bus/clock.h"
#include "scheduler/core_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOUR_MS INT64_C (3600000)
#define DAY_MS (24 * HOUR_MS)
#define WARN_PERCENT 80
#define RELEASED_AT_ONCE 16
#define ANY_SLOT 11
#define REVIEW_SLOT 12
#define WINDOW_UNKNOWN_MS HOUR_MS /* how long a window holds whose end nobody says */
#define AMOUNT_MAX (INT64_MAX / 4)

static budget_t *budget_at (const rota_core_t *self, uint32_t index)
{
    return AT (self, money.budgets, budget_t, index);
}

static tally_t *tally_at (const rota_core_t *self, uint32_t index)
{
    return AT (self, money.tallies, tally_t, index);
}

static int64_t plus (int64_t a, int64_t b)
{
    return a > AMOUNT_MAX - b ? AMOUNT_MAX : a + b;
}

/* ----------------------------------------------------------------------------------------- limits */

static int64_t cell_of (const rota_core_t *self, uint32_t budget, rota_measure_t m, rota_period_t p)
{
    if (budget == ROTA_NONE)
        return ROTA_LIMIT_UNSET;
    const budget_t *it = budget_at (self, budget);
    return it->runtime.of[m][p] != ROTA_LIMIT_UNSET ? it->runtime.of[m][p] : it->configured.of[m][p];
}

static int64_t limit_of (const rota_core_t *self, const tally_t *tally, rota_measure_t m, rota_period_t p)
{
    int64_t limit = cell_of (self, tally->budget, m, p);
    if (limit == ROTA_LIMIT_UNSET)
        limit = cell_of (self, tally->each, m, p);
    return limit == ROTA_LIMIT_NONE ? ROTA_LIMIT_UNSET : limit;
}

static int64_t window_limit_of (const rota_core_t *self, const tally_t *tally)
{
    uint32_t from[] = {tally->budget, tally->each};
    for (int i = 0; i < 2; i++) {
        const budget_t *it = from[i] == ROTA_NONE ? NULL : budget_at (self, from[i]);
        if (it && it->runtime.window_permille != ROTA_LIMIT_UNSET)
            return it->runtime.window_permille == ROTA_LIMIT_NONE ? ROTA_LIMIT_UNSET
                                                                  : it->runtime.window_permille;
        if (it && it->configured.window_permille != ROTA_LIMIT_UNSET)
            return it->configured.window_permille == ROTA_LIMIT_NONE ? ROTA_LIMIT_UNSET
                                                                     : it->configured.window_permille;
    }
    return ROTA_LIMIT_UNSET;
}

static bool stops (const rota_core_t *self, const tally_t *tally)
{
    uint32_t from[] = {tally->budget, tally->each};
    for (int i = 0; i < 2; i++) {
        const budget_t *it = from[i] == ROTA_NONE ? NULL : budget_at (self, from[i]);
        int8_t said = !it ? -1 : it->runtime.stop >= 0 ? it->runtime.stop : it->configured.stop;
        if (said >= 0)
            return said;
    }
    return false;
}

static const char *kind_name (const rota_core_t *self, uint32_t index)
{
    return AT (self, money.kinds, kind_t, index)->name;
}

/* Of what the tally counts; nodes have no end in their name. */
static int name_of (const rota_core_t *self, rota_scope_t scope, uint32_t index,
                    char ret_name[ROTA_SCOPE_NAME_MAX + 1])
{
    const char *name = "";
    int length = -1;
    switch (scope) {
    case ROTA_SCOPE_KIND:
        name = kind_name (self, index);
        break;
    case ROTA_SCOPE_ACCOUNT:
        name = AT (self, accounts, account_t, index)->name;
        break;
    case ROTA_SCOPE_AGENT:
        name = AT (self, agents, agent_t, index)->name;
        break;
    case ROTA_SCOPE_SOURCE:
        name = index < self->money.source_names.count ? *AT (self, money.source_names, char *, index) : NULL;
        break;
    case ROTA_SCOPE_EPIC:
    case ROTA_SCOPE_TASK:
        name = self->ids + self->nodes[index].id_offset;
        length = self->nodes[index].id_length;
        break;
    default:
        break;
    }
    return snprintf (ret_name, ROTA_SCOPE_NAME_MAX + 1, "%.*s", length < 0 ? ROTA_SCOPE_NAME_MAX : length,
                     name ? name : "");
}

static void bind_tally (rota_core_t *self, tally_t *tally)
{
    char name[ROTA_SCOPE_NAME_MAX + 1];
    tally->budget = tally->each = ROTA_NONE;
    if (!self->money.budgets.count)
        return;
    name_of (self, tally->scope, tally->index, name);
    for (uint32_t i = 0; i < self->money.budgets.count; i++) {
        const budget_t *it = budget_at (self, i);
        if (it->scope != tally->scope)
            continue;
        if (strcmp (it->name, name) == 0)
            tally->budget = i;
        else if (strcmp (it->name, "*") == 0)
            tally->each = i;
    }
}

static bool is_bound (const tally_t *tally)
{
    return tally->budget != ROTA_NONE || tally->each != ROTA_NONE;
}

/* ---------------------------------------------------------------------------------------- tallies */

/* Tasks and epics are nodes, and no node is both. */
static list_t *places_of (const rota_core_t *self, rota_scope_t scope)
{
    return (list_t *)&self->money.by_scope[scope == ROTA_SCOPE_TASK ? ROTA_SCOPE_EPIC : scope];
}

uint32_t rota_core_tally_find (const rota_core_t *self, rota_scope_t scope, uint32_t index)
{
    const list_t *places = places_of (self, scope);
    uint32_t tally = index < places->count ? ((uint32_t *)places->items)[index] : 0;
    return tally ? tally - 1 : ROTA_NONE;
}

static uint32_t make_tally (rota_core_t *self, rota_scope_t scope, uint32_t index)
{
    uint32_t found = rota_core_tally_find (self, scope, index);
    if (found != ROTA_NONE)
        return found;
    list_t *places = places_of (self, scope);
    while (places->count <= index)
        if (!rota_list_push (self, places, sizeof (uint32_t)))
            return ROTA_NONE;
    tally_t *tally = PUSH (self, money.tallies, tally_t);
    if (!tally)
        return ROTA_NONE;
    tally->scope = (uint8_t)scope;
    tally->index = index;
    tally->period[ROTA_PERIOD_HOUR] = self->now_ms / HOUR_MS;
    tally->period[ROTA_PERIOD_DAY] = self->now_ms / DAY_MS;
    bind_tally (self, tally);
    ((uint32_t *)places->items)[index] = (uint32_t)self->money.tallies.count;
    return (uint32_t)self->money.tallies.count - 1;
}

static void touch_tally (rota_core_t *self, uint32_t index)
{
    tally_t *tally = tally_at (self, index);
    if (tally->dirty)
        return;
    uint32_t *changed = PUSH (self, money.changed, uint32_t);
    if (!changed)
        return;
    *changed = index;
    tally->dirty = true;
}

static uint32_t kind_of (rota_core_t *self, const char *name)
{
    for (uint32_t i = 0; i < self->money.kinds.count; i++)
        if (strcmp (kind_name (self, i), name) == 0)
            return i;
    char *copy = strdup (name);
    kind_t *kind = copy ? PUSH (self, money.kinds, kind_t) : NULL;
    if (!kind) {
        free (copy);
        self->broken = true;
        return ROTA_NONE;
    }
    kind->name = copy;
    for (int i = 0; i < ROTA_ESTIMATES; i++)
        kind->of[i] = (estimate_t){.nano_usd = -1, .tokens = -1};
    return (uint32_t)self->money.kinds.count - 1;
}

static uint32_t known_kind (const rota_core_t *self, const agent_t *agent)
{
    for (uint32_t i = 0; i < self->money.kinds.count; i++)
        if (agent->kind && strcmp (kind_name (self, i), agent->kind) == 0)
            return i;
    return ROTA_NONE;
}

/* ------------------------------------------------------------------------------------- estimates */

static unsigned slot_of (const node_t *it, Rota__Phase phase)
{
    if (phase == PHASE (REVIEW))
        return REVIEW_SLOT;
    return it->complexity <= 10 ? it->complexity : 0;
}

static void estimate (const rota_core_t *self, rota_node_t node, Rota__Phase phase, const agent_t *agent,
                      int64_t ret_amount[ROTA_MEASURES])
{
    ret_amount[ROTA_MEASURE_ATTEMPTS] = phase == PHASE (WORK);
    ret_amount[ROTA_MEASURE_USD] = ret_amount[ROTA_MEASURE_TOKENS] = 0;
    if (!agent->paid)
        return;
    uint32_t kind = known_kind (self, agent);
    ret_amount[ROTA_MEASURE_USD] = self->money.default_nano_usd;
    ret_amount[ROTA_MEASURE_TOKENS] = self->money.default_tokens;
    if (kind == ROTA_NONE)
        return;
    const estimate_t *of = AT (self, money.kinds, kind_t, kind)->of;
    const estimate_t *own = &of[slot_of (&self->nodes[node], phase)], *any = &of[ANY_SLOT];
    if (own->nano_usd >= 0 || any->nano_usd >= 0)
        ret_amount[ROTA_MEASURE_USD] = own->nano_usd >= 0 ? own->nano_usd : any->nano_usd;
    if (own->tokens >= 0 || any->tokens >= 0)
        ret_amount[ROTA_MEASURE_TOKENS] = own->tokens >= 0 ? own->tokens : any->tokens;
}

/* A mean that forgets: each counts a quarter. */
static int64_t learned (int64_t before, int64_t now)
{
    return before < 0 ? now : before + (now - before) / 4;
}

static void learn (rota_core_t *self, uint32_t kind, unsigned slot, int64_t nano_usd, int64_t tokens)
{
    estimate_t *it = &AT (self, money.kinds, kind_t, kind)->of[slot];
    if (nano_usd >= 0)
        it->nano_usd = learned (it->nano_usd, nano_usd);
    if (tokens >= 0)
        it->tokens = learned (it->tokens, tokens);
    if (it->dirty)
        return;
    learned_t *changed = PUSH (self, money.learned, learned_t);
    if (!changed)
        return;
    *changed = (learned_t){.kind = kind, .slot = slot};
    it->dirty = true;
}

void rota_core_estimate_load (rota_core_t *self, const rota_core_estimate_t *given)
{
    uint32_t kind = kind_of (self, given->kind);
    if (kind == ROTA_NONE || given->slot >= ROTA_ESTIMATES)
        return;
    AT (self, money.kinds, kind_t, kind)->of[given->slot] =
        (estimate_t){.nano_usd = given->nano_usd, .tokens = given->tokens};
}

bool rota_core_estimate_changed (const rota_core_t *self, size_t index, rota_core_estimate_t *ret_estimate)
{
    if (index >= self->money.learned.count)
        return false;
    const learned_t *at = AT (self, money.learned, learned_t, index);
    const kind_t *kind = AT (self, money.kinds, kind_t, at->kind);
    *ret_estimate = (rota_core_estimate_t){.kind = kind->name,
                                           .slot = at->slot,
                                           .nano_usd = kind->of[at->slot].nano_usd,
                                           .tokens = kind->of[at->slot].tokens};
    return true;
}

/* ---------------------------------------------------------------------------------------- periods */

static uint16_t bit_of (rota_measure_t m, rota_period_t p)
{
    return (uint16_t)(1u << ((unsigned)m * ROTA_PERIODS + (unsigned)p));
}

static int64_t end_of (const rota_core_t *self, rota_period_t p)
{
    if (p == ROTA_PERIOD_LIFE)
        return 0;
    int64_t length_ms = p == ROTA_PERIOD_HOUR ? HOUR_MS : DAY_MS;
    return (self->now_ms / length_ms + 1) * length_ms;
}

static const char *scope_text (rota_core_t *self, const tally_t *tally)
{
    char name[ROTA_SCOPE_NAME_MAX + 1];
    name_of (self, tally->scope, tally->index, name);
    return rota_core_text (self, "%s%s%s", rota_scope_word (tally->scope), name[0] ? "/" : "", name);
}

static void tell (rota_core_t *self, Rota__EventType type, const tally_t *tally, const char *reason)
{
    rota_core_event_t *event =
        rota_core_emit (self, type, tally->scope == ROTA_SCOPE_TASK ? tally->index : ROTA_NONE);
    event->agent = tally->scope == ROTA_SCOPE_AGENT ? tally->index : ROTA_NONE;
    event->reason = reason;
}

static const char *use_text (rota_core_t *self, const tally_t *tally, rota_measure_t m, rota_period_t p)
{
    static const char *const PER[] = {" of this hour", " of today", ""};
    char spent[ROTA_CELL_BYTES], limit[ROTA_CELL_BYTES];
    rota_amount_write (m, tally->spent[p][m], spent);
    rota_amount_write (m, limit_of (self, tally, m, p), limit);
    return rota_core_text (self, "%s: %s of %s%s used", scope_text (self, tally), spent, limit, PER[p]);
}

/* A bucket of the past is emptied; one of the future (the clock was set back) counts on as the present one.
 */
static void turn_tally (rota_core_t *self, uint32_t index)
{
    tally_t *tally = tally_at (self, index);
    const int64_t now[] = {self->now_ms / HOUR_MS, self->now_ms / DAY_MS};
    uint16_t freed = 0;
    for (int p = ROTA_PERIOD_HOUR; p <= ROTA_PERIOD_DAY; p++) {
        if (tally->period[p] == now[p])
            continue;
        bool past = tally->period[p] < now[p];
        tally->period[p] = now[p];
        if (!past)
            continue;
        memset (tally->spent[p], 0, sizeof tally->spent[p]);
        memset (tally->estimated[p], 0, sizeof tally->estimated[p]);
        if (p == ROTA_PERIOD_DAY)
            tally->limited = 0;
        for (int m = 0; m < ROTA_MEASURES; m++) {
            freed |= tally->exhausted & bit_of ((rota_measure_t)m, (rota_period_t)p);
            tally->exhausted &= (uint16_t)~bit_of ((rota_measure_t)m, (rota_period_t)p);
            tally->warned &= (uint16_t)~bit_of ((rota_measure_t)m, (rota_period_t)p);
        }
        /* What was and is nothing needs no writing. */
        if (is_bound (tally))
            touch_tally (self, index);
    }
    if (freed)
        tell (self, EVENT (BUDGET_RELEASED), tally,
              rota_core_text (self, "%s: a new period has begun, work goes on", scope_text (self, tally)));
}

static void release (rota_core_t *self, tally_t *tally, uint32_t most)
{
    for (uint32_t i = 0; i < most && tally->held.count; i++)
        rota_core_change_place (self, tally->held.items[0], ROTA_PLACE_READY);
}

void rota_core_budget_release_all (rota_core_t *self)
{
    for (uint32_t i = 0; i < self->money.tallies.count; i++)
        release (self, tally_at (self, i), UINT32_MAX);
}

void rota_core_budgets_turn (rota_core_t *self)
{
    int64_t hour = self->now_ms / HOUR_MS;
    if (self->money.hour == hour)
        return;
    self->money.hour = hour;
    for (uint32_t i = 0; i < self->money.tallies.count; i++)
        turn_tally (self, i);
    rota_core_budget_release_all (self);
}

int64_t rota_core_budgets_next_ms (const rota_core_t *self)
{
    int64_t next_ms = INT64_MAX;
    if (!self->money.budgets.count)
        return next_ms;
    next_ms = end_of (self, ROTA_PERIOD_HOUR);
    for (size_t i = 0; i < self->money.windows.count; i++) {
        const window_t *it = AT (self, money.windows, window_t, i);
        if (it->resets_ms > self->now_ms && it->resets_ms < next_ms)
            next_ms = it->resets_ms;
    }
    return next_ms;
}

/* ------------------------------------------------------------------------------------- admission */

static bool window_refuses (const rota_core_t *self, const tally_t *tally, const agent_t *agent,
                            rota_core_hold_t *ret_hold)
{
    int64_t limit = agent->paid ? window_limit_of (self, tally) : ROTA_LIMIT_UNSET;
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
            int64_t limit = limit_of (self, tally, (rota_measure_t)m, (rota_period_t)p);
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

static uint32_t scope_index (const rota_core_t *self, rota_scope_t scope, rota_node_t node,
                             rota_agent_t agent)
{
    switch (scope) {
    case ROTA_SCOPE_ALL:
        return 0;
    case ROTA_SCOPE_KIND:
        return known_kind (self, AT (self, agents, agent_t, agent));
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
    estimate (self, node, rota_core_next_phase (&self->nodes[node]), it, amount);
    if (!amount[ROTA_MEASURE_USD] && !amount[ROTA_MEASURE_TOKENS] && !amount[ROTA_MEASURE_ATTEMPTS] &&
        !it->paid)
        return false;
    kind_of (self, it->kind ? it->kind : "");
    for (int scope = 0; scope < ROTA_SCOPES; scope++) {
        if (!self->money.budgeted[scope])
            continue;
        uint32_t index = scope_index (self, (rota_scope_t)scope, node, agent);
        uint32_t tally = index == ROTA_NONE ? ROTA_NONE : make_tally (self, (rota_scope_t)scope, index);
        if (tally != ROTA_NONE && tally_refuses (self, tally, it, amount, ret_hold))
            return true;
    }
    return false;
}

static void tell_exhausted (rota_core_t *self, uint32_t index, rota_measure_t m, rota_period_t p)
{
    tally_t *tally = tally_at (self, index);
    char at[ROTA_CLOCK_ISO_BYTES];
    if (tally->exhausted & bit_of (m, p))
        return;
    tally->exhausted |= bit_of (m, p);
    touch_tally (self, index);
    const char *use = use_text (self, tally, m, p);
    rota_clock_iso (end_of (self, p), at);
    tell (self, EVENT (BUDGET_EXHAUSTED), tally,
          p == ROTA_PERIOD_LIFE ? rota_core_text (self, "%s: nothing new is begun until it is raised", use)
                                : rota_core_text (self, "%s: nothing new is begun before %s", use, at));
}

bool rota_core_budget_refuses (rota_core_t *self, rota_node_t node, rota_agent_t agent, bool *ret_of_task)
{
    rota_core_hold_t hold;
    if (!refuses (self, node, agent, &hold))
        return false;
    *ret_of_task = tally_at (self, hold.tally)->scope >= ROTA_SCOPE_EPIC;
    if (!hold.window && !hold.reserved)
        tell_exhausted (self, hold.tally, hold.measure, hold.period);
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
        if (hold.until_ms && (!*ret_until_ms || hold.until_ms < *ret_until_ms))
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

/* ---------------------------------------------------------------------- reserving and settling */

static void book (rota_core_t *self, const booking_t *booking, int sign)
{
    for (int scope = 0; scope < ROTA_SCOPES; scope++) {
        if (booking->tally[scope] == ROTA_NONE)
            continue;
        tally_t *tally = tally_at (self, booking->tally[scope]);
        tally->running += (uint32_t)sign;
        for (int m = 0; m < ROTA_MEASURES; m++)
            tally->reserved[m] += sign * booking->amount[m];
    }
}

static void find_tallies (rota_core_t *self, lease_t *lease)
{
    const agent_t *agent = AT (self, agents, agent_t, lease->agent);
    kind_of (self, agent->kind ? agent->kind : "");
    for (int scope = 0; scope < ROTA_SCOPES; scope++) {
        uint32_t index = scope_index (self, (rota_scope_t)scope, lease->node, lease->agent);
        if (scope == ROTA_SCOPE_ACCOUNT)
            index = lease->account;
        bool counted =
            index != ROTA_NONE && (scope != ROTA_SCOPE_TASK || agent->paid || self->money.budgeted[scope]);
        lease->booking.tally[scope] = counted ? make_tally (self, (rota_scope_t)scope, index) : ROTA_NONE;
    }
}

void rota_core_budget_reserve (rota_core_t *self, lease_t *lease)
{
    rota_core_budgets_turn (self);
    find_tallies (self, lease);
    estimate (self, lease->node, lease->phase, AT (self, agents, agent_t, lease->agent),
              lease->booking.amount);
    book (self, &lease->booking, 1);
}

void rota_core_budget_loaded (rota_core_t *self, lease_t *lease)
{
    find_tallies (self, lease);
    lease->booking.amount[ROTA_MEASURE_ATTEMPTS] = lease->phase == PHASE (WORK);
    book (self, &lease->booking, 1);
}

void rota_core_budget_rebook (rota_core_t *self, lease_t *lease)
{
    book (self, &lease->booking, -1);
    find_tallies (self, lease);
    book (self, &lease->booking, 1);
}

void rota_core_reservation_load (rota_core_t *self, rota_node_t node, const char *account,
                                 const int64_t amount[ROTA_MEASURES])
{
    lease_t *lease = node < self->count ? rota_core_lease_of (self, node) : NULL;
    if (!lease)
        return;
    rota_account_t index = rota_core_account (self, account);
    if (index == ROTA_NONE)
        return;
    book (self, &lease->booking, -1);
    lease->account = index;
    find_tallies (self, lease);
    if (lease->booking.tally[ROTA_SCOPE_TASK] == ROTA_NONE)
        lease->booking.tally[ROTA_SCOPE_TASK] = make_tally (self, ROTA_SCOPE_TASK, node);
    memcpy (lease->booking.amount, amount, sizeof lease->booking.amount);
    book (self, &lease->booking, 1);
}

bool rota_core_reservation (const rota_core_t *self, rota_node_t node, const char **ret_account,
                            int64_t ret_amount[ROTA_MEASURES])
{
    const lease_t *lease = rota_core_lease_of (self, node);
    if (!lease)
        return false;
    *ret_account = AT (self, accounts, account_t, lease->account)->name;
    memcpy (ret_amount, lease->booking.amount, sizeof lease->booking.amount);
    return ret_amount[ROTA_MEASURE_USD] || ret_amount[ROTA_MEASURE_TOKENS];
}

/* Never begun, or refused at the door. */
static bool used_nothing (Rota__ResultClass class)
{
    return class == RESULT (ENVIRONMENT) || class == RESULT (AUTH);
}

static int64_t nano_of (const Rota__Usage *usage)
{
    bool known = usage && usage->has_cost_usd && usage->cost_usd >= 0 && usage->cost_usd < 1e8;
    return known ? llround (usage->cost_usd * 1e9) : -1;
}

static int64_t tokens_of (const Rota__Usage *usage)
{
    if (!usage || (!usage->has_input_tokens && !usage->has_output_tokens))
        return -1;
    uint64_t most = AMOUNT_MAX / 2;
    uint64_t input = usage->input_tokens < most ? usage->input_tokens : most;
    return (int64_t)(input + (usage->output_tokens < most ? usage->output_tokens : most));
}

static void stop_running (rota_core_t *self, uint32_t index, rota_measure_t m, const char *reason)
{
    rota_scope_t scope = tally_at (self, index)->scope;
    for (size_t i = 0; i < self->leases.count; i++) {
        lease_t *lease = AT (self, leases, lease_t, i);
        if (lease->booking.tally[scope] != index || !lease->booking.amount[m] || lease->stopping)
            continue;
        self->nodes[lease->node].flags |= F_STOPPED;
        rota_core_stop (self, lease, reason);
    }
}

static void look_at_limits (rota_core_t *self, uint32_t index)
{
    for (int m = 0; m < ROTA_MEASURES; m++)
        for (int p = 0; p < ROTA_PERIODS; p++) {
            tally_t *tally = tally_at (self, index);
            int64_t limit = limit_of (self, tally, (rota_measure_t)m, (rota_period_t)p);
            int64_t spent = tally->spent[p][m];
            if (limit == ROTA_LIMIT_UNSET || spent == 0)
                continue;
            if (spent >= limit) {
                bool stop = stops (self, tally);
                tell_exhausted (self, index, (rota_measure_t)m, (rota_period_t)p);
                if (stop)
                    stop_running (self, index, (rota_measure_t)m, "its budget is used up");
            } else if (spent >= limit / 100 * WARN_PERCENT + limit % 100 * WARN_PERCENT / 100 &&
                       !(tally->warned & bit_of ((rota_measure_t)m, (rota_period_t)p))) {
                tally->warned |= bit_of ((rota_measure_t)m, (rota_period_t)p);
                tell (self, EVENT (BUDGET_WARNING), tally,
                      use_text (self, tally, (rota_measure_t)m, (rota_period_t)p));
            }
        }
}

static void settle_in (rota_core_t *self, uint32_t index, const int64_t used[ROTA_MEASURES],
                       const bool known[ROTA_MEASURES], bool limited)
{
    tally_t *tally = tally_at (self, index);
    for (int p = 0; p < ROTA_PERIODS; p++)
        for (int m = 0; m < ROTA_MEASURES; m++) {
            tally->spent[p][m] = plus (tally->spent[p][m], used[m]);
            if (!known[m])
                tally->estimated[p][m] = plus (tally->estimated[p][m], used[m]);
        }
    tally->limited += limited;
    touch_tally (self, index);
    if (is_bound (tally))
        look_at_limits (self, index);
    if (tally_at (self, index)->held.count)
        release (self, tally_at (self, index), RELEASED_AT_ONCE);
}

static void keep_window (rota_core_t *self, rota_account_t account, const char *name, int64_t used_permille,
                         int64_t resets_ms, int64_t seen_ms)
{
    window_t *it = NULL;
    for (size_t i = 0; i < self->money.windows.count && !it; i++) {
        window_t *at = AT (self, money.windows, window_t, i);
        if (at->account == account && strcmp (at->name, name) == 0)
            it = at;
    }
    if (!it) {
        it = PUSH (self, money.windows, window_t);
        if (!it)
            return;
        it->account = account;
        snprintf (it->name, sizeof it->name, "%s", name);
    }
    it->used_permille = used_permille;
    it->resets_ms = resets_ms;
    it->seen_ms = seen_ms;
    self->money.windows_changed = true;
}

static void look_at_windows (rota_core_t *self, rota_account_t account, const Rota__Usage *usage)
{
    for (size_t i = 0; usage && i < usage->n_windows && i < 8; i++) {
        const Rota__UsageWindow *it = usage->windows[i];
        char name[sizeof ((window_t *)0)->name];
        snprintf (name, sizeof name, "%.*s", (int)(it->name.len < 31 ? it->name.len : 31),
                  it->name.len ? (const char *)it->name.data : "");
        bool ends = it->has_resets_ms && it->resets_ms > self->now_ms;
        if (it->has_used_permille)
            keep_window (self, account, name, it->used_permille,
                         ends ? it->resets_ms : self->now_ms + WINDOW_UNKNOWN_MS, self->now_ms);
    }
}

void rota_core_budget_settle (rota_core_t *self, const lease_t *lease, Rota__ResultClass class,
                              const Rota__Result *result)
{
    const Rota__Usage *usage = result ? result->usage : NULL;
    int64_t said[ROTA_MEASURES] = {nano_of (usage), tokens_of (usage), -1}, used[ROTA_MEASURES];
    bool known[ROTA_MEASURES];
    rota_core_budgets_turn (self);
    book (self, &lease->booking, -1);
    for (int m = 0; m < ROTA_MEASURES; m++) {
        known[m] =
            said[m] >= 0 || m == ROTA_MEASURE_ATTEMPTS || used_nothing (class) || !lease->booking.amount[m];
        used[m] = said[m] >= 0 ? said[m] : used_nothing (class) ? 0 : lease->booking.amount[m];
    }
    if (class == RESULT (LOST))
        for (int m = 0; m < ROTA_MEASURES; m++)
            used[m] = used[m] > lease->booking.amount[m] ? used[m] : lease->booking.amount[m];
    if (class == RESULT (LIMITED))
        used[ROTA_MEASURE_ATTEMPTS] = 0;
    if (class == RESULT (OK) || class == RESULT (FAILED)) {
        const agent_t *agent = AT (self, agents, agent_t, lease->agent);
        uint32_t kind = kind_of (self, agent->kind ? agent->kind : "");
        bool paid = agent->paid && kind != ROTA_NONE && (said[0] >= 0 || said[1] >= 0);
        if (paid && lease->phase != PHASE (REVIEW))
            learn (self, kind, ANY_SLOT, said[0], said[1]);
        if (paid)
            learn (self, kind, slot_of (&self->nodes[lease->node], lease->phase), said[0], said[1]);
    }
    look_at_windows (self, lease->account, usage);
    for (int scope = 0; scope < ROTA_SCOPES; scope++)
        if (lease->booking.tally[scope] != ROTA_NONE)
            settle_in (self, lease->booking.tally[scope], used, known, class == RESULT (LIMITED));
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
        bind_tally (self, tally_at (self, tally));
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
        bind_tally (self, tally);
        for (int m = 0; m < ROTA_MEASURES; m++)
            for (int p = 0; p < ROTA_PERIODS; p++) {
                int64_t limit = limit_of (self, tally, (rota_measure_t)m, (rota_period_t)p);
                uint16_t bit = bit_of ((rota_measure_t)m, (rota_period_t)p);
                bool below = limit == ROTA_LIMIT_UNSET || tally->spent[p][m] < limit;
                if (!below || !((tally->exhausted | tally->warned) & bit))
                    continue;
                tally->exhausted &= (uint16_t)~bit;
                if (limit == ROTA_LIMIT_UNSET || tally->spent[p][m] < limit / 100 * WARN_PERCENT)
                    tally->warned &= (uint16_t)~bit;
                touch_tally (self, i);
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

/* ------------------------------------------------------------------------------------------ looks */

size_t rota_core_tally_count (const rota_core_t *self)
{
    return self->money.tallies.count;
}

void rota_core_tally (const rota_core_t *self, size_t index, rota_core_tally_t *ret_tally)
{
    const tally_t *it = tally_at (self, (uint32_t)index);
    *ret_tally = (rota_core_tally_t){
        .scope = it->scope,
        .hour = it->period[ROTA_PERIOD_HOUR],
        .day = it->period[ROTA_PERIOD_DAY],
        .limited = it->limited,
        .warned = it->warned,
        .exhausted = it->exhausted,
        .window_permille = window_limit_of (self, it),
        .stop = stops (self, it),
        .held = it->held.count,
        .running = it->running,
    };
    name_of (self, it->scope, it->index, ret_tally->name);
    memcpy (ret_tally->spent, it->spent, sizeof it->spent);
    memcpy (ret_tally->estimated, it->estimated, sizeof it->estimated);
    memcpy (ret_tally->reserved, it->reserved, sizeof it->reserved);
    for (int m = 0; m < ROTA_MEASURES; m++)
        for (int p = 0; p < ROTA_PERIODS; p++)
            ret_tally->limit[m][p] = limit_of (self, it, (rota_measure_t)m, (rota_period_t)p);
}

static uint32_t index_named (const rota_core_t *self, rota_scope_t scope, const char *name)
{
    size_t count = scope == ROTA_SCOPE_KIND      ? self->money.kinds.count
                   : scope == ROTA_SCOPE_ACCOUNT ? self->accounts.count
                   : scope == ROTA_SCOPE_AGENT   ? self->agents.count
                   : scope == ROTA_SCOPE_SOURCE  ? self->money.source_names.count
                                                 : 0;
    char text[ROTA_SCOPE_NAME_MAX + 1];
    if (scope == ROTA_SCOPE_ALL)
        return 0;
    if (scope >= ROTA_SCOPE_EPIC)
        return rota_core_find (self, name, strlen (name));
    for (uint32_t i = 0; i < count; i++)
        if (name_of (self, scope, i, text) > 0 && strcmp (text, name) == 0)
            return i;
    return ROTA_NONE;
}

uint32_t rota_core_tally_named (const rota_core_t *self, rota_scope_t scope, const char *name)
{
    uint32_t index = index_named (self, scope, name);
    return index == ROTA_NONE ? ROTA_NONE : rota_core_tally_find (self, scope, index);
}

void rota_core_tally_load (rota_core_t *self, const rota_core_tally_t *given)
{
    if (given->scope == ROTA_SCOPE_KIND)
        kind_of (self, given->name);
    if (given->scope == ROTA_SCOPE_ACCOUNT)
        rota_core_account (self, given->name); /* its agents have not come yet */
    uint32_t index = index_named (self, given->scope, given->name);
    uint32_t at = index == ROTA_NONE ? ROTA_NONE : make_tally (self, given->scope, index);
    if (at == ROTA_NONE)
        return;
    tally_t *it = tally_at (self, at);
    it->period[ROTA_PERIOD_HOUR] = given->hour;
    it->period[ROTA_PERIOD_DAY] = given->day;
    it->limited = given->limited;
    it->warned = (uint16_t)given->warned;
    it->exhausted = (uint16_t)given->exhausted;
    memcpy (it->spent, given->spent, sizeof it->spent);
    memcpy (it->estimated, given->estimated, sizeof it->estimated);
    self->money.hour = -1; /* turned before anything is decided */
}

const uint32_t *rota_core_tallies_changed (const rota_core_t *self, size_t *ret_count)
{
    *ret_count = self->money.changed.count;
    return self->money.changed.items;
}

void rota_core_window_load (rota_core_t *self, const rota_core_window_t *given)
{
    rota_account_t account = rota_core_account (self, given->account);
    if (account != ROTA_NONE)
        keep_window (self, account, given->name, given->used_permille, given->resets_ms, given->seen_ms);
    self->money.windows_changed = false;
}

size_t rota_core_window_count (const rota_core_t *self)
{
    return self->money.windows.count;
}

void rota_core_window (const rota_core_t *self, size_t index, rota_core_window_t *ret_window)
{
    const window_t *it = AT (self, money.windows, window_t, index);
    *ret_window = (rota_core_window_t){.account = AT (self, accounts, account_t, it->account)->name,
                                       .name = it->name,
                                       .used_permille = it->used_permille,
                                       .resets_ms = it->resets_ms,
                                       .seen_ms = it->seen_ms};
}

bool rota_core_windows_changed (const rota_core_t *self)
{
    return self->money.windows_changed;
}

void rota_core_budgets_clear (rota_core_t *self)
{
    for (size_t i = 0; i < self->money.changed.count; i++)
        tally_at (self, *AT (self, money.changed, uint32_t, i))->dirty = false;
    for (size_t i = 0; i < self->money.learned.count; i++) {
        const learned_t *at = AT (self, money.learned, learned_t, i);
        AT (self, money.kinds, kind_t, at->kind)->of[at->slot].dirty = false;
    }
    self->money.changed.count = self->money.learned.count = 0;
    self->money.windows_changed = false;
}

void rota_core_budgets_free (rota_core_t *self)
{
    for (uint32_t i = 0; i < self->money.tallies.count; i++)
        free (tally_at (self, i)->held.items);
    for (uint32_t i = 0; i < self->money.budgets.count; i++)
        free (budget_at (self, i)->name);
    for (uint32_t i = 0; i < self->money.kinds.count; i++)
        free (AT (self, money.kinds, kind_t, i)->name);
    for (size_t i = 0; i < self->money.source_names.count; i++)
        free (*AT (self, money.source_names, char *, i));
    for (int i = 0; i < ROTA_SCOPES; i++)
        free (self->money.by_scope[i].items);
    free (self->money.tallies.items);
    free (self->money.budgets.items);
    free (self->money.kinds.items);
    free (self->money.source_names.items);
    free (self->money.windows.items);
    free (self->money.changed.items);
    free (self->money.learned.items);
}

/* --------------------------------------------------------------------------------------- invariants */

int rota_core_budgets_verify (const rota_core_t *self, rota_error_t *error)
{
    for (uint32_t i = 0; i < self->money.tallies.count; i++) {
        const tally_t *tally = tally_at (self, i);
        int64_t reserved[ROTA_MEASURES] = {0};
        uint32_t running = 0;
        char name[ROTA_SCOPE_NAME_MAX + 1];
        name_of (self, tally->scope, tally->index, name);
        for (size_t l = 0; l < self->leases.count; l++) {
            const lease_t *lease = AT (self, leases, lease_t, l);
            if (lease->booking.tally[tally->scope] != i)
                continue;
            running++;
            for (int m = 0; m < ROTA_MEASURES; m++)
                reserved[m] += lease->booking.amount[m];
        }
        if (running != tally->running || memcmp (reserved, tally->reserved, sizeof reserved) != 0)
            return rota_error_set (error, -EBADMSG,
                                   "budget %s/%s: what is reserved is not what runs adds up to",
                                   rota_scope_word (tally->scope), name);
        for (int m = 0; m < ROTA_MEASURES; m++) {
            const int64_t *life = tally->spent[ROTA_PERIOD_LIFE];
            bool sound = tally->spent[ROTA_PERIOD_HOUR][m] >= 0 &&
                         tally->spent[ROTA_PERIOD_DAY][m] <= life[m] &&
                         tally->spent[ROTA_PERIOD_HOUR][m] <= tally->spent[ROTA_PERIOD_DAY][m];
            if (!sound || tally->estimated[ROTA_PERIOD_LIFE][m] > life[m])
                return rota_error_set (error, -EBADMSG,
                                       "budget %s/%s: more was spent in an hour or a day than ever",
                                       rota_scope_word (tally->scope), name);
        }
        for (uint32_t h = 0; h < tally->held.count; h++)
            if (self->nodes[tally->held.items[h]].place != ROTA_PLACE_HELD)
                return rota_error_set (error, -EBADMSG, "budget %s/%s holds a task that is not held",
                                       rota_scope_word (tally->scope), name);
    }
    /* Every attempt that ended is in the whole, in its kind and in its source, once. */
    static const rota_scope_t PARTS[] = {ROTA_SCOPE_KIND, ROTA_SCOPE_ACCOUNT, ROTA_SCOPE_AGENT,
                                         ROTA_SCOPE_SOURCE};
    uint32_t all = rota_core_tally_find (self, ROTA_SCOPE_ALL, 0);
    for (size_t part = 0; all != ROTA_NONE && part < sizeof PARTS / sizeof PARTS[0]; part++)
        for (int m = 0; m < ROTA_MEASURES; m++) {
            int64_t sum = 0, whole = tally_at (self, all)->spent[ROTA_PERIOD_LIFE][m];
            for (uint32_t i = 0; i < self->money.tallies.count; i++)
                if (tally_at (self, i)->scope == PARTS[part])
                    sum = plus (sum, tally_at (self, i)->spent[ROTA_PERIOD_LIFE][m]);
            if (sum != whole && whole < AMOUNT_MAX)
                return rota_error_set (error, -EBADMSG,
                                       "what the budgets of each %s count doesn't add up to all",
                                       rota_scope_word (PARTS[part]));
        }
    return 0;
}
