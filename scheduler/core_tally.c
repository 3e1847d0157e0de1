/* What is counted in each scope, per hour, day and lifetime, and the limits that hold there. */
#include "scheduler/core_budget_internal.h"

#include "bus/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ----------------------------------------------------------------------------------------- limits */

static int64_t cell_of (const rota_core_t *self, uint32_t budget, rota_measure_t m, rota_period_t p)
{
    if (budget == ROTA_NONE)
        return ROTA_LIMIT_UNSET;
    const budget_t *it = budget_at (self, budget);
    return it->runtime.of[m][p] != ROTA_LIMIT_UNSET ? it->runtime.of[m][p] : it->configured.of[m][p];
}

int64_t rota_core_tally_limit (const rota_core_t *self, const tally_t *tally, rota_measure_t m,
                               rota_period_t p)
{
    int64_t limit = cell_of (self, tally->budget, m, p);
    if (limit == ROTA_LIMIT_UNSET)
        limit = cell_of (self, tally->each, m, p);
    return limit == ROTA_LIMIT_NONE ? ROTA_LIMIT_UNSET : limit;
}

int64_t rota_core_tally_window_limit (const rota_core_t *self, const tally_t *tally)
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

bool rota_core_tally_stops (const rota_core_t *self, const tally_t *tally)
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
int rota_core_tally_name (const rota_core_t *self, rota_scope_t scope, uint32_t index,
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

void rota_core_tally_bind (rota_core_t *self, tally_t *tally)
{
    char name[ROTA_SCOPE_NAME_MAX + 1];
    tally->budget = tally->each = ROTA_NONE;
    if (!self->money.budgets.count)
        return;
    rota_core_tally_name (self, tally->scope, tally->index, name);
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

uint32_t rota_core_tally_make (rota_core_t *self, rota_scope_t scope, uint32_t index)
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
    rota_core_tally_bind (self, tally);
    ((uint32_t *)places->items)[index] = (uint32_t)self->money.tallies.count;
    return (uint32_t)self->money.tallies.count - 1;
}

void rota_core_tally_touch (rota_core_t *self, uint32_t index)
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

uint32_t rota_core_kind (rota_core_t *self, const char *name)
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

uint32_t rota_core_kind_of (const rota_core_t *self, const agent_t *agent)
{
    for (uint32_t i = 0; i < self->money.kinds.count; i++)
        if (agent->kind && strcmp (kind_name (self, i), agent->kind) == 0)
            return i;
    return ROTA_NONE;
}

/* ---------------------------------------------------------------------------------------- periods */

static const char *scope_text (rota_core_t *self, const tally_t *tally)
{
    char name[ROTA_SCOPE_NAME_MAX + 1];
    rota_core_tally_name (self, tally->scope, tally->index, name);
    return rota_core_text (self, "%s%s%s", rota_scope_word (tally->scope), name[0] ? "/" : "", name);
}

void rota_core_tally_tell (rota_core_t *self, Rota__EventType type, const tally_t *tally, const char *reason)
{
    rota_core_event_t *event =
        rota_core_emit (self, type, tally->scope == ROTA_SCOPE_TASK ? tally->index : ROTA_NONE);
    event->agent = tally->scope == ROTA_SCOPE_AGENT ? tally->index : ROTA_NONE;
    event->reason = reason;
}

const char *rota_core_tally_use (rota_core_t *self, const tally_t *tally, rota_measure_t m, rota_period_t p)
{
    static const char *const PER[] = {" of this hour", " of today", ""};
    char spent[ROTA_CELL_BYTES], limit[ROTA_CELL_BYTES];
    rota_amount_write (m, tally->spent[p][m], spent);
    rota_amount_write (m, rota_core_tally_limit (self, tally, m, p), limit);
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
            rota_core_tally_touch (self, index);
    }
    if (freed)
        rota_core_tally_tell (
            self, EVENT (BUDGET_RELEASED), tally,
            rota_core_text (self, "%s: a new period has begun, work goes on", scope_text (self, tally)));
}

void rota_core_tally_release (rota_core_t *self, tally_t *tally, uint32_t most)
{
    for (uint32_t i = 0; i < most && tally->held.count; i++)
        rota_core_change_place (self, tally->held.items[0], ROTA_PLACE_READY);
}

void rota_core_tally_exhausted (rota_core_t *self, uint32_t index, rota_measure_t m, rota_period_t p)
{
    tally_t *tally = tally_at (self, index);
    char at[ROTA_CLOCK_ISO_BYTES];
    if (tally->exhausted & bit_of (m, p))
        return;
    tally->exhausted |= bit_of (m, p);
    rota_core_tally_touch (self, index);
    const char *use = rota_core_tally_use (self, tally, m, p);
    rota_clock_iso (end_of (self, p), at);
    rota_core_tally_tell (self, EVENT (BUDGET_EXHAUSTED), tally,
                          p == ROTA_PERIOD_LIFE
                              ? rota_core_text (self, "%s: nothing new is begun until it is raised", use)
                              : rota_core_text (self, "%s: nothing new is begun before %s", use, at));
}

void rota_core_budget_release_all (rota_core_t *self)
{
    for (uint32_t i = 0; i < self->money.tallies.count; i++)
        rota_core_tally_release (self, tally_at (self, i), UINT32_MAX);
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
        .window_permille = rota_core_tally_window_limit (self, it),
        .stop = rota_core_tally_stops (self, it),
        .held = it->held.count,
        .running = it->running,
    };
    rota_core_tally_name (self, it->scope, it->index, ret_tally->name);
    memcpy (ret_tally->spent, it->spent, sizeof it->spent);
    memcpy (ret_tally->estimated, it->estimated, sizeof it->estimated);
    memcpy (ret_tally->reserved, it->reserved, sizeof it->reserved);
    for (int m = 0; m < ROTA_MEASURES; m++)
        for (int p = 0; p < ROTA_PERIODS; p++)
            ret_tally->limit[m][p] = rota_core_tally_limit (self, it, (rota_measure_t)m, (rota_period_t)p);
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
        if (rota_core_tally_name (self, scope, i, text) > 0 && strcmp (text, name) == 0)
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
        rota_core_kind (self, given->name);
    if (given->scope == ROTA_SCOPE_ACCOUNT)
        rota_core_account (self, given->name); /* its agents have not come yet */
    uint32_t index = index_named (self, given->scope, given->name);
    uint32_t at = index == ROTA_NONE ? ROTA_NONE : rota_core_tally_make (self, given->scope, index);
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
        rota_core_tally_name (self, tally->scope, tally->index, name);
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