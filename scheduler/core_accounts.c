/* Accounts: what a provider counts its limits for, all agents of one kind with one login or key, on all
 * hosts.
 *
 * Each limit that an account meets has a breaker of its own: by its kind and, where a subscription has
 * several, its window ("five_hour", "seven_day"). The first report closes it for all agents until the time
 * that was stated, with a margin; a task that was running goes on. The account rests until the last of those
 * times has come. Then one task is let through as a probe: when the provider worked for it they are all open
 * again, when it was limited that limit's breaker closes for longer.
 */
#include "bus/clock.h"
#include "scheduler/core_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIPS_DOUBLED_MAX 10

static account_t *account_at (const rota_core_t *self, rota_account_t account)
{
    return AT (self, accounts, account_t, account);
}

rota_account_t rota_core_account (rota_core_t *self, const char *name)
{
    for (size_t i = 0; i < self->accounts.count; i++)
        if (strcmp (account_at (self, (rota_account_t)i)->name, name) == 0)
            return (rota_account_t)i;
    char *copy = strdup (name);
    account_t *account = copy ? PUSH (self, accounts, account_t) : NULL;
    if (!account) {
        free (copy);
        self->broken = true;
        return ROTA_NONE;
    }
    *account = (account_t){.name = copy};
    return (rota_account_t)(self->accounts.count - 1);
}

/* What is said of the account as a whole: of the limit that lasts longest. */
static void sum_up (account_t *account)
{
    const limit_t *last = NULL;
    for (size_t i = 0; i < account->limit_count; i++)
        if (!last || account->limits[i].until_ms > last->until_ms)
            last = &account->limits[i];
    account->last = last ? *last : (limit_t){0};
}

static void forget (account_t *account, size_t i)
{
    free (account->limits[i].reason);
    account->limits[i] = account->limits[--account->limit_count];
}

static limit_t *find_limit (account_t *account, const limit_t *like)
{
    for (size_t i = 0; i < account->limit_count; i++) {
        limit_t *it = &account->limits[i];
        if (it->result_class == like->result_class && it->limit_kind == like->limit_kind &&
            strcmp (it->window, like->window) == 0)
            return it;
    }
    return NULL;
}

/* Takes over `limit->reason`. When there are too many the one that ends first makes room: the account rests
 * for longer anyway. */
static void put_limit (account_t *account, const limit_t *limit)
{
    limit_t *it = find_limit (account, limit);
    if (!it && account->limit_count == ROTA_LIMITS_MAX) {
        size_t first = 0;
        for (size_t i = 1; i < account->limit_count; i++)
            if (account->limits[i].until_ms < account->limits[first].until_ms)
                first = i;
        forget (account, first);
    }
    if (it)
        free (it->reason);
    else
        it = &account->limits[account->limit_count++];
    *it = *limit;
    sum_up (account);
}

void rota_core_account_load (rota_core_t *self, const char *name, const rota_core_limit_t *limits,
                             size_t limit_count)
{
    rota_account_t index = rota_core_account (self, name);
    for (size_t i = 0; index != ROTA_NONE && i < limit_count; i++) {
        limit_t limit = {.result_class = limits[i].result_class,
                         .limit_kind = limits[i].limit_kind,
                         .since_ms = limits[i].since_ms,
                         .until_ms = limits[i].until_ms,
                         .trips = limits[i].trips,
                         .reason = strdup (limits[i].reason ? limits[i].reason : "")};
        snprintf (limit.window, sizeof limit.window, "%s", limits[i].window ? limits[i].window : "");
        self->broken |= !limit.reason;
        if (limit.reason)
            put_limit (account_at (self, index), &limit);
    }
}

void rota_core_accounts_free (rota_core_t *self)
{
    for (size_t i = 0; i < self->accounts.count; i++) {
        account_t *account = account_at (self, (rota_account_t)i);
        while (account->limit_count)
            forget (account, 0);
        free (account->name);
    }
}

size_t rota_core_account_count (const rota_core_t *self)
{
    return self->accounts.count;
}

static rota_core_limit_t view_of (const limit_t *limit)
{
    return (rota_core_limit_t){.result_class = limit->result_class,
                               .limit_kind = limit->limit_kind,
                               .window = limit->window,
                               .since_ms = limit->since_ms,
                               .until_ms = limit->until_ms,
                               .trips = limit->trips,
                               .reason = limit->reason ? limit->reason : ""};
}

void rota_core_account_view (const rota_core_t *self, rota_account_t index,
                             rota_core_account_view_t *ret_view)
{
    const account_t *account = account_at (self, index);
    *ret_view = (rota_core_account_view_t){
        .name = account->name,
        .last = view_of (&account->last),
        .limit_count = account->limit_count,
        .probing = account->probes > 0,
    };
}

rota_core_limit_t rota_core_account_limit (const rota_core_t *self, rota_account_t index, size_t i)
{
    return view_of (&account_at (self, index)->limits[i]);
}

bool rota_core_account_admits (const rota_core_t *self, rota_account_t index)
{
    const account_t *account = account_at (self, index);
    return !account->limit_count || (account->last.until_ms <= self->now_ms && account->probes == 0);
}

bool rota_core_account_waits_for_a_hand (const rota_core_t *self, rota_account_t index)
{
    return account_at (self, index)->last.until_ms == ROTA_BY_HAND;
}

static void say (rota_core_t *self, rota_account_t index, const char *reason)
{
    for (size_t i = 0; i < self->agents.count; i++) {
        const agent_t *agent = AT (self, agents, agent_t, i);
        if (agent->account != index || !agent->connected)
            continue;
        rota_core_event_t *event = rota_core_emit (self, EVENT (AGENT_COOLDOWN), ROTA_NONE);
        event->agent = (rota_agent_t)i;
        event->reason = reason;
    }
    self->accounts_changed = true;
    self->version++;
}

/* Which of its limits are over. */
typedef bool over_t (const rota_core_t *self, const limit_t *limit);

static bool each (const rota_core_t *self, const limit_t *limit)
{
    (void)self;
    (void)limit;
    return true;
}

static bool each_that_was_tried (const rota_core_t *self, const limit_t *limit)
{
    return limit->until_ms <= self->now_ms;
}

static bool each_login (const rota_core_t *self, const limit_t *limit)
{
    (void)self;
    return limit->result_class == RESULT (AUTH);
}

static void open_again (rota_core_t *self, rota_account_t index, over_t *is_over, const char *reason)
{
    account_t *account = account_at (self, index);
    bool by_hand = rota_core_account_waits_for_a_hand (self, index);
    size_t before = account->limit_count;
    for (size_t i = account->limit_count; i-- > 0;)
        if (is_over (self, &account->limits[i]))
            forget (account, i);
    if (account->limit_count == before)
        return;
    sum_up (account);
    say (self, index,
         account->limit_count ? rota_core_text (self, "%s; still: %s", reason, account->last.reason)
                              : reason);
    if (rota_core_account_waits_for_a_hand (self, index) != by_hand)
        rota_core_classes_changed (self);
}

int rota_core_account_resume (rota_core_t *self, rota_account_t index, int64_t now_ms)
{
    rota_core_at (self, now_ms);
    if (!account_at (self, index)->limit_count)
        return 1;
    open_again (self, index, each, "opened by hand");
    return 0;
}

int rota_core_account_close (rota_core_t *self, rota_account_t index, const char *reason, int64_t now_ms)
{
    rota_core_at (self, now_ms);
    account_t *account = account_at (self, index);
    if (rota_core_account_waits_for_a_hand (self, index))
        return 1;
    limit_t limit = {.result_class = RESULT (LIMITED),
                     .since_ms = now_ms,
                     .until_ms = ROTA_BY_HAND,
                     .reason = strdup (reason)};
    if (!limit.reason) {
        self->broken = true;
        return 1;
    }
    put_limit (account, &limit);
    say (self, index, rota_core_text (self, "closed until `rota resume`: %s", reason));
    rota_core_classes_changed (self);
    return 0;
}

/* For limits that name no time: longer each time in a row. */
static int64_t guessed_wait_ms (const rota_core_t *self, const limit_t *limit)
{
    const rota_core_policy_t *policy = &self->policy;
    int64_t wait_ms =
        limit->limit_kind == LIMIT (CAPACITY) ? policy->capacity_cooldown_ms : policy->default_cooldown_ms;
    for (uint32_t i = 1; i < limit->trips && i < TRIPS_DOUBLED_MAX; i++)
        wait_ms *= 2;
    return wait_ms < policy->cooldown_guess_max_ms ? wait_ms : policy->cooldown_guess_max_ms;
}

static int64_t until_of (const rota_core_t *self, const limit_t *limit, const Rota__Result *result)
{
    const rota_core_policy_t *policy = &self->policy;
    if (limit->result_class == RESULT (AUTH) || policy->no_auto_resume)
        return ROTA_BY_HAND;
    bool stated = result && result->has_until_ms && result->until_ms > 0;
    int64_t wait_ms = stated ? result->until_ms - self->now_ms : guessed_wait_ms (self, limit);
    if (wait_ms < policy->cooldown_floor_ms)
        wait_ms = policy->cooldown_floor_ms;
    if (wait_ms > policy->cooldown_ceiling_ms)
        wait_ms = policy->cooldown_ceiling_ms;
    return self->now_ms + wait_ms + (stated ? policy->cooldown_margin_ms : 0);
}

/* The window that is used up, where the program said which. */
static void name_window (limit_t *limit, const Rota__Result *result)
{
    const Rota__Usage *usage = result ? result->usage : NULL;
    if (limit->limit_kind != LIMIT (WINDOW))
        return;
    for (size_t i = 0; usage && i < usage->n_windows; i++) {
        const Rota__UsageWindow *window = usage->windows[i];
        if (window->used_permille < 1000 || !window->name.len)
            continue;
        snprintf (
            limit->window, sizeof limit->window, "%.*s",
            (int)(window->name.len < sizeof limit->window ? window->name.len : sizeof limit->window - 1),
            (const char *)window->name.data);
        return;
    }
}

static void close_account (rota_core_t *self, rota_account_t index, const lease_t *lease,
                           Rota__ResultClass class, const Rota__Result *result, const char *reason)
{
    account_t *account = account_at (self, index);
    limit_t next = {
        .result_class = (uint8_t) class,
        .limit_kind = (uint8_t)(result && result->has_limit_kind ? result->limit_kind : 0),
    };
    name_window (&next, result);
    const limit_t *met = find_limit (account, &next);
    bool was_closed = met && met->until_ms > self->now_ms;
    /* What began before it closed tells of the same limit; it counts when it knows a later time. */
    bool news = !was_closed || lease->assigned_ms >= met->since_ms;
    next.trips = (met ? met->trips : 0) + (news ? 1 : 0);
    next.since_ms = was_closed ? met->since_ms : self->now_ms;
    next.until_ms = until_of (self, &next, result);
    if (was_closed && (next.until_ms - self->policy.cooldown_margin_ms <= met->until_ms ||
                       (!news && !(result && result->has_until_ms))))
        return;
    next.reason = strdup (reason ? reason : "");
    if (!next.reason) {
        self->broken = true;
        return;
    }
    bool by_hand = rota_core_account_waits_for_a_hand (self, index);
    put_limit (account, &next);
    char at[ROTA_CLOCK_ISO_BYTES];
    int64_t until_ms = account->last.until_ms;
    rota_clock_iso (until_ms == ROTA_BY_HAND ? 0 : until_ms, at);
    say (self, index,
         until_ms == ROTA_BY_HAND ? rota_core_text (self, "closed until `rota resume`: %s", next.reason)
                                  : rota_core_text (self, "rests until %s: %s", at, next.reason));
    if ((until_ms == ROTA_BY_HAND) != by_hand)
        rota_core_classes_changed (self);
}

void rota_core_account_granted (rota_core_t *self, lease_t *lease)
{
    lease->account = AT (self, agents, agent_t, lease->agent)->account;
    account_t *account = account_at (self, lease->account);
    lease->probe = account->limit_count > 0;
    account->probes += lease->probe;
}

void rota_core_account_ended (rota_core_t *self, const lease_t *lease, Rota__ResultClass class,
                              const Rota__Result *result, const char *reason)
{
    rota_account_t index = lease->account;
    account_t *account = account_at (self, index);
    if (lease->probe && account->probes > 0)
        account->probes--;
    if (class == RESULT (LIMITED) || class == RESULT (AUTH)) {
        close_account (self, index, lease, class, result, reason);
        return;
    }
    /* Of these nothing follows about the provider. */
    bool tells_nothing = class == RESULT (KILLED) || class == RESULT (LOST) || class == RESULT (NETWORK) ||
                         class == RESULT (ENVIRONMENT) || class == RESULT (TIMEOUT);
    if (lease->probe && !tells_nothing)
        open_again (self, index, each_that_was_tried, "works again");
}

/* A new process may have been given a new login. */
void rota_core_account_rejoined (rota_core_t *self, rota_account_t index)
{
    open_again (self, index, each_login, "its host was started again");
}

int64_t rota_core_accounts_next_ms (const rota_core_t *self)
{
    int64_t next_ms = INT64_MAX;
    for (size_t i = 0; i < self->accounts.count; i++) {
        const account_t *account = account_at (self, (rota_account_t)i);
        if (account->last.until_ms > self->now_ms && account->last.until_ms < next_ms)
            next_ms = account->last.until_ms;
    }
    return next_ms;
}
