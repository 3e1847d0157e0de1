/* What attempts used, as the budgets (core_budget.c) are to count it, and sessions that can be gone on with.
 *
 * Some programs count from the beginning of their session, also after it was resumed: what they had said
 * before is kept with the task's session, and the difference is this attempt's. What a program doesn't say
 * stays unknown.
 */
#include "scheduler/service_internal.h"

#include <math.h>

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

void rota_spend_ended (service_t *self, const rota_core_ended_t *ended)
{
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
