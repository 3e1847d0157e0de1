/* What an attempt is thought to use, what is reserved for it at its start, and what it used at its end. */
#include "scheduler/core_budget_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ANY_SLOT 11
#define REVIEW_SLOT 12
#define RELEASED_AT_ONCE 16
#define WINDOW_UNKNOWN_MS HOUR_MS /* how long a window holds whose end nobody says */

/* ------------------------------------------------------------------------------------- estimates */

static unsigned slot_of (const node_t *it, Rota__Phase phase)
{
    if (phase == PHASE (REVIEW))
        return REVIEW_SLOT;
    return it->complexity <= 10 ? it->complexity : 0;
}

void rota_core_estimate (const rota_core_t *self, rota_node_t node, Rota__Phase phase, const agent_t *agent,
                         int64_t ret_amount[ROTA_MEASURES])
{
    ret_amount[ROTA_MEASURE_ATTEMPTS] = phase == PHASE (WORK);
    ret_amount[ROTA_MEASURE_USD] = ret_amount[ROTA_MEASURE_TOKENS] = 0;
    if (!agent->paid)
        return;
    uint32_t kind = rota_core_kind_of (self, agent);
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
    uint32_t kind = rota_core_kind (self, given->kind);
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
    rota_core_kind (self, agent->kind ? agent->kind : "");
    for (int scope = 0; scope < ROTA_SCOPES; scope++) {
        uint32_t index = rota_core_scope_index (self, (rota_scope_t)scope, lease->node, lease->agent);
        if (scope == ROTA_SCOPE_ACCOUNT)
            index = lease->account;
        bool counted =
            index != ROTA_NONE && (scope != ROTA_SCOPE_TASK || agent->paid || self->money.budgeted[scope]);
        lease->booking.tally[scope] =
            counted ? rota_core_tally_make (self, (rota_scope_t)scope, index) : ROTA_NONE;
    }
}

void rota_core_budget_reserve (rota_core_t *self, lease_t *lease)
{
    rota_core_budgets_turn (self);
    find_tallies (self, lease);
    rota_core_estimate (self, lease->node, lease->phase, AT (self, agents, agent_t, lease->agent),
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
        lease->booking.tally[ROTA_SCOPE_TASK] = rota_core_tally_make (self, ROTA_SCOPE_TASK, node);
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
            int64_t limit = rota_core_tally_limit (self, tally, (rota_measure_t)m, (rota_period_t)p);
            int64_t spent = tally->spent[p][m];
            if (limit == ROTA_LIMIT_UNSET || spent == 0)
                continue;
            if (spent >= limit) {
                bool stop = rota_core_tally_stops (self, tally);
                rota_core_tally_exhausted (self, index, (rota_measure_t)m, (rota_period_t)p);
                if (stop)
                    stop_running (self, index, (rota_measure_t)m, "its budget is used up");
            } else if (spent >= limit / 100 * WARN_PERCENT + limit % 100 * WARN_PERCENT / 100 &&
                       !(tally->warned & bit_of ((rota_measure_t)m, (rota_period_t)p))) {
                tally->warned |= bit_of ((rota_measure_t)m, (rota_period_t)p);
                rota_core_tally_tell (self, EVENT (BUDGET_WARNING), tally,
                                      rota_core_tally_use (self, tally, (rota_measure_t)m, (rota_period_t)p));
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
    rota_core_tally_touch (self, index);
    if (is_bound (tally))
        look_at_limits (self, index);
    if (tally_at (self, index)->held.count)
        rota_core_tally_release (self, tally_at (self, index), RELEASED_AT_ONCE);
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
        uint32_t kind = rota_core_kind (self, agent->kind ? agent->kind : "");
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

/* ------------------------------------------------------------------------ windows of subscriptions */

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
