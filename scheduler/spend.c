/* What attempts used: tokens and money of each agent and day, and sessions that can be gone on with.
 *
 * Some programs count from the beginning of their session, also after it was resumed: what they had said
 * before is kept with the task's session, and the difference is this attempt's. What a program doesn't say
 * stays unknown.
 */
#include "scheduler/service_internal.h"

#include "bus/clock.h"

#include <math.h>

#define DAY_MS 86400000
#define COST_MAX_NANO_USD 9.0e18

static int64_t nano_of (double usd)
{
    return usd >= 0 && usd * 1e9 < COST_MAX_NANO_USD ? llround (usd * 1e9) : -1;
}

static int64_t tokens_of (bool has, uint64_t tokens)
{
    return has && tokens <= INT64_MAX ? (int64_t)tokens : -1;
}

static void session_of (const Rota__Result *result, rota_session_t *ret_session)
{
    const Rota__Usage *usage = result->usage;
    *ret_session =
        (rota_session_t){.agent = ROTA_NONE, .input = -1, .output = -1, .cached = -1, .cost_nano_usd = -1};
    size_t length = result->session.len < sizeof ret_session->id ? result->session.len : 0;
    if (length)
        memcpy (ret_session->id, result->session.data, length);
    if (!usage)
        return;
    if (result->tokens_of_session) {
        ret_session->input = tokens_of (usage->has_input_tokens, usage->input_tokens);
        ret_session->output = tokens_of (usage->has_output_tokens, usage->output_tokens);
        ret_session->cached = tokens_of (usage->has_cached_tokens, usage->cached_tokens);
    }
    if (result->cost_of_session && usage->has_cost_usd)
        ret_session->cost_nano_usd = nano_of (usage->cost_usd);
}

/* A counter that fell began anew: then all of it is this attempt's. */
static uint64_t less (uint64_t now, int64_t before)
{
    return before > 0 && (uint64_t)before <= now ? now - (uint64_t)before : now;
}

void rota_spend_settle (service_t *self, rota_node_t node, Rota__Result *result, rota_settled_t *ret_settled)
{
    rota_session_t before;
    *ret_settled = (rota_settled_t){.node = node};
    session_of (result, &ret_settled->session);
    Rota__Usage *usage = result->usage;
    bool cumulative = usage && (result->tokens_of_session || result->cost_of_session);
    if (!cumulative || rota_store_session (self->store, node, &before) < 0 ||
        strcmp (before.id, ret_settled->session.id) != 0)
        return;
    if (result->tokens_of_session) {
        usage->input_tokens = less (usage->input_tokens, before.input);
        usage->output_tokens = less (usage->output_tokens, before.output);
        usage->cached_tokens = less (usage->cached_tokens, before.cached);
    }
    if (result->cost_of_session && before.cost_nano_usd > 0 &&
        nano_of (usage->cost_usd) >= before.cost_nano_usd)
        usage->cost_usd = (double)(nano_of (usage->cost_usd) - before.cost_nano_usd) / 1e9;
    result->tokens_of_session = result->cost_of_session = false;
}

/* What was cut short can be gone on with; what the agent brought to an end, well or badly, is begun anew. */
static bool goes_on (Rota__ResultClass class)
{
    return class == RESULT (LIMITED) || class == RESULT (KILLED) || class == RESULT (NETWORK) ||
           class == RESULT (AUTH) || class == RESULT (NEEDS_INPUT);
}

static spend_t *spend_at (service_t *self, rota_agent_t agent)
{
    while (self->spends.count <= agent) {
        spend_t *fresh = VPUSH (self, spends);
        if (!fresh)
            return NULL;
        fresh->spend.cost_nano_usd = -1;
    }
    return &self->spends.items[agent];
}

/* A new day begins with nothing; yesterday's row is in the store. */
static void turn_day (service_t *self, int64_t wall_ms)
{
    if (self->spend_day == wall_ms / DAY_MS)
        return;
    self->spend_day = wall_ms / DAY_MS;
    self->spends.count = 0;
}

static void add (rota_spend_t *spend, const rota_core_ended_t *ended)
{
    const Rota__Usage *usage = ended->result ? ended->result->usage : NULL;
    spend->attempts++;
    spend->limited += ended->result_class == RESULT (LIMITED);
    if (!usage)
        return;
    spend->tokens += usage->input_tokens + usage->output_tokens;
    int64_t cost = usage->has_cost_usd ? nano_of (usage->cost_usd) : -1;
    if (cost >= 0)
        spend->cost_nano_usd = (spend->cost_nano_usd > 0 ? spend->cost_nano_usd : 0) + cost;
}

void rota_spend_ended (service_t *self, const rota_core_ended_t *ended, int64_t wall_ms)
{
    turn_day (self, wall_ms);
    spend_t *spend = ended->agent == ROTA_NONE ? NULL : spend_at (self, ended->agent);
    if (spend) {
        add (&spend->spend, ended);
        spend->dirty = true;
    }
    for (size_t i = 0; i < self->settled.count; i++) {
        rota_settled_t *it = &self->settled.items[i];
        if (it->node != ended->node || ended->phase != PHASE (WORK))
            continue; /* a reviewer's session is nobody's to go on with */
        it->session.agent = ended->agent;
        if (it->session.id[0] && goes_on (ended->result_class) && ended->agent != ROTA_NONE)
            rota_store_set_session (self->store, it->node, &it->session);
        else if (!goes_on (ended->result_class))
            rota_store_drop_session (self->store, it->node);
    }
}

void rota_spend_store (service_t *self)
{
    for (size_t i = 0; i < self->spends.count; i++)
        if (self->spends.items[i].dirty) {
            rota_store_set_spend (self->store, self->spend_day, (rota_agent_t)i,
                                  &self->spends.items[i].spend);
            self->spends.items[i].dirty = false;
        }
}

static void load (void *owner, rota_agent_t agent, const rota_spend_t *spend)
{
    service_t *self = owner;
    spend_t *it = agent == ROTA_NONE ? NULL : spend_at (self, agent);
    if (it)
        it->spend = *spend;
}

void rota_spend_load (service_t *self)
{
    self->spend_day = rota_clock_wall_ms () / DAY_MS;
    self->spends.count = self->settled.count = 0;
    rota_store_spend_of (self->store, self->spend_day, load, self);
}

bool rota_spend_today (service_t *self, rota_agent_t agent, rota_spend_t *ret_spend)
{
    turn_day (self, rota_clock_wall_ms ());
    if (agent >= self->spends.count || !self->spends.items[agent].spend.attempts)
        return false;
    *ret_spend = self->spends.items[agent].spend;
    return true;
}
