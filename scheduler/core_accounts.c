/* Accounts: what a provider counts its limits for, all agents of one kind with one login or key, on all
 * hosts.
 *
 * The first report of a limit closes the account for all of them until the time that was stated, with a
 * margin; a task that was running goes on. When the time has come one task is let through as a probe: when
 * the provider worked for it the account is open again, when it was limited the account closes for longer.
 */
#include "bus/clock.h"
#include "scheduler/core_internal.h"

#include <errno.h>
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

void rota_core_account_load (rota_core_t *self, const rota_core_account_view_t *given)
{
    rota_account_t index = rota_core_account (self, given->name);
    if (index == ROTA_NONE)
        return;
    account_t *account = account_at (self, index);
    account->result_class = given->result_class;
    account->limit_kind = given->limit_kind;
    account->since_ms = given->since_ms;
    account->until_ms = given->until_ms;
    account->trips = given->trips;
    free (account->reason);
    account->reason = strdup (given->reason ? given->reason : "");
    self->broken |= !account->reason;
}

void rota_core_accounts_free (rota_core_t *self)
{
    for (size_t i = 0; i < self->accounts.count; i++) {
        free (account_at (self, (rota_account_t)i)->name);
        free (account_at (self, (rota_account_t)i)->reason);
    }
}

size_t rota_core_account_count (const rota_core_t *self)
{
    return self->accounts.count;
}

void rota_core_account_view (const rota_core_t *self, rota_account_t index,
                             rota_core_account_view_t *ret_view)
{
    const account_t *account = account_at (self, index);
    *ret_view = (rota_core_account_view_t){
        .name = account->name,
        .result_class = account->result_class,
        .limit_kind = account->limit_kind,
        .since_ms = account->since_ms,
        .until_ms = account->until_ms,
        .trips = account->trips,
        .probing = account->probes > 0,
        .reason = account->reason ? account->reason : "",
    };
}

bool rota_core_account_admits (const rota_core_t *self, rota_account_t index)
{
    const account_t *account = account_at (self, index);
    return !account->result_class || (account->until_ms <= self->now_ms && account->probes == 0);
}

bool rota_core_account_waits_for_a_hand (const rota_core_t *self, rota_account_t index)
{
    return account_at (self, index)->result_class && account_at (self, index)->until_ms == ROTA_BY_HAND;
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

static void open_again (rota_core_t *self, rota_account_t index, const char *reason)
{
    account_t *account = account_at (self, index);
    bool by_hand = account->until_ms == ROTA_BY_HAND;
    account->result_class = account->limit_kind = 0;
    account->since_ms = account->until_ms = 0;
    account->trips = 0;
    say (self, index, reason);
    if (by_hand)
        rota_core_classes_changed (self);
}

int rota_core_account_resume (rota_core_t *self, rota_account_t index, int64_t now_ms)
{
    rota_core_at (self, now_ms);
    if (!account_at (self, index)->result_class)
        return 1;
    open_again (self, index, "opened by hand");
    return 0;
}

int rota_core_account_close (rota_core_t *self, rota_account_t index, const char *reason, int64_t now_ms)
{
    rota_core_at (self, now_ms);
    account_t *account = account_at (self, index);
    if (account->result_class)
        return 1;
    char *text = strdup (reason);
    if (!text) {
        self->broken = true;
        return 1;
    }
    free (account->reason);
    account->reason = text;
    account->result_class = RESULT (LIMITED);
    account->limit_kind = 0;
    account->since_ms = now_ms;
    account->until_ms = ROTA_BY_HAND;
    say (self, index, rota_core_text (self, "closed until `rota resume`: %s", text));
    rota_core_classes_changed (self);
    return 0;
}

/* For limits that name no time: longer each time in a row. */
static int64_t guessed_wait_ms (const rota_core_t *self, const account_t *account)
{
    const rota_core_policy_t *policy = &self->policy;
    int64_t wait_ms =
        account->limit_kind == LIMIT (CAPACITY) ? policy->capacity_cooldown_ms : policy->default_cooldown_ms;
    for (uint32_t i = 1; i < account->trips && i < TRIPS_DOUBLED_MAX; i++)
        wait_ms *= 2;
    return wait_ms < policy->cooldown_guess_max_ms ? wait_ms : policy->cooldown_guess_max_ms;
}

static int64_t until_of (const rota_core_t *self, const account_t *account, const Rota__Result *result)
{
    const rota_core_policy_t *policy = &self->policy;
    if (account->result_class == RESULT (AUTH) || policy->no_auto_resume)
        return ROTA_BY_HAND;
    bool stated = result && result->has_until_ms && result->until_ms > 0;
    int64_t wait_ms = stated ? result->until_ms - self->now_ms : guessed_wait_ms (self, account);
    if (wait_ms < policy->cooldown_floor_ms)
        wait_ms = policy->cooldown_floor_ms;
    if (wait_ms > policy->cooldown_ceiling_ms)
        wait_ms = policy->cooldown_ceiling_ms;
    return self->now_ms + wait_ms + (stated ? policy->cooldown_margin_ms : 0);
}

static void close_account (rota_core_t *self, rota_account_t index, const lease_t *lease,
                           Rota__ResultClass class, const Rota__Result *result, const char *reason)
{
    account_t *account = account_at (self, index);
    bool was_closed = account->result_class && account->until_ms > self->now_ms;
    /* What began before the account closed tells of the same limit; it counts when it knows a later time. */
    bool news = !was_closed || lease->assigned_ms >= account->since_ms;
    account_t next = *account;
    next.result_class = (uint8_t) class;
    next.limit_kind = (uint8_t)(result && result->has_limit_kind ? result->limit_kind : 0);
    next.trips = account->trips + (news ? 1 : 0);
    int64_t until_ms = until_of (self, &next, result);
    if (was_closed && (until_ms - self->policy.cooldown_margin_ms <= account->until_ms ||
                       (!news && !(result && result->has_until_ms))))
        return;
    char *text = strdup (reason ? reason : "");
    if (!text) {
        self->broken = true;
        return;
    }
    free (account->reason);
    bool by_hand = account->until_ms == ROTA_BY_HAND;
    *account = next;
    account->reason = text;
    account->until_ms = until_ms;
    if (!was_closed)
        account->since_ms = self->now_ms;
    char at[ROTA_CLOCK_ISO_BYTES];
    rota_clock_iso (until_ms == ROTA_BY_HAND ? 0 : until_ms, at);
    say (self, index,
         until_ms == ROTA_BY_HAND ? rota_core_text (self, "closed until `rota resume`: %s", text)
                                  : rota_core_text (self, "rests until %s: %s", at, text));
    if ((until_ms == ROTA_BY_HAND) != by_hand)
        rota_core_classes_changed (self);
}

void rota_core_account_granted (rota_core_t *self, lease_t *lease)
{
    lease->account = AT (self, agents, agent_t, lease->agent)->account;
    account_t *account = account_at (self, lease->account);
    lease->probe = account->result_class != 0;
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
    if (lease->probe && !tells_nothing && account->result_class)
        open_again (self, index, "works again");
}

/* A new process may have been given a new login. */
void rota_core_account_rejoined (rota_core_t *self, rota_account_t index)
{
    if (account_at (self, index)->result_class == RESULT (AUTH))
        open_again (self, index, "its host was started again");
}

int64_t rota_core_accounts_next_ms (const rota_core_t *self)
{
    int64_t next_ms = INT64_MAX;
    for (size_t i = 0; i < self->accounts.count; i++) {
        const account_t *account = account_at (self, (rota_account_t)i);
        if (account->result_class && account->until_ms > self->now_ms && account->until_ms < next_ms)
            next_ms = account->until_ms;
    }
    return next_ms;
}
