/* What is spent and reserved, worked out from nothing but the committed ends of attempts: no money is lost,
 * none is counted twice, whenever the scheduler dies, and nothing begins that a limit has no room for.
 */
#include "tests/sim/sim.h"

#define NANO INT64_C (1000000000)
#define MOST_MILLIS                                                                                          \
    40 /* of a USD that an attempt uses, and more than is reserved for one that is not known */

/* Two attempts of three say what they used: more than is reserved at first, or less. */
void sim_money_use (world_t *self, held_t *held)
{
    bool says = held->class != RESULT (LOST) && sim_chance (self, 66);
    held->millis = says ? 1 + (uint32_t)sim_below (self, MOST_MILLIS) : 0;
    held->tokens = says && sim_chance (self, 80) ? 1 + (uint32_t)sim_below (self, 5000) : 0;
}

void sim_money_say (const message_t *message, Rota__Usage *usage)
{
    rota__usage__init (usage);
    usage->has_cost_usd = message->millis > 0;
    usage->cost_usd = message->millis / 1000.0;
    usage->has_input_tokens = usage->has_output_tokens = message->tokens > 0;
    usage->input_tokens = message->tokens;
}

void sim_money_keep (world_t *self, rota_node_t node)
{
    row_t *row = &self->rows[node];
    const char *account = "";
    memset (row->reserved, 0, sizeof row->reserved);
    row->reserves = rota_core_reservation (self->core, node, &account, row->reserved);
    snprintf (row->account, sizeof row->account, "%s", account);
}

void sim_money_ended (world_t *self, const rota_core_ended_t *it)
{
    const row_t *row = &self->rows[it->node];
    const Rota__Usage *usage = it->result ? it->result->usage : NULL;
    bool nothing = it->result_class == RESULT (ENVIRONMENT);
    int64_t nano = row->reserved[ROTA_MEASURE_USD], tokens = row->reserved[ROTA_MEASURE_TOKENS];
    if (it->agent == ROTA_NONE)
        return; /* of a lost attempt, for which all that was reserved is gone */
    bool says_usd = usage && usage->has_cost_usd, says_tokens = usage && usage->has_input_tokens;
    self->spent[ROTA_MEASURE_USD] += says_usd  ? (int64_t)(usage->cost_usd * 1000 + 0.5) * (NANO / 1000)
                                     : nothing ? 0
                                               : nano;
    self->spent[ROTA_MEASURE_TOKENS] += says_tokens ? (int64_t)usage->input_tokens : nothing ? 0 : tokens;
    self->spent[ROTA_MEASURE_ATTEMPTS] +=
        it->phase == PHASE (WORK) && !nothing && it->result_class != RESULT (LIMITED);
    self->unsaid += !says_usd && !nothing && nano;
}

static void sum_reserved (const world_t *self, int64_t ret_reserved[ROTA_MEASURES])
{
    memset (ret_reserved, 0, ROTA_MEASURES * sizeof *ret_reserved);
    for (rota_node_t i = 0; i < self->model.count; i++)
        for (int m = 0; m < ROTA_MEASURES; m++)
            ret_reserved[m] += self->rows[i].reserves ? self->rows[i].reserved[m] : 0;
}

bool sim_money_allows (const world_t *self)
{
    int64_t reserved[ROTA_MEASURES];
    sum_reserved (self, reserved);
    return !self->usd_limit ||
           self->spent[ROTA_MEASURE_USD] + reserved[ROTA_MEASURE_USD] + MOST_MILLIS * (NANO / 1000) <=
               self->usd_limit;
}

void sim_money_expect (world_t *self, const rota_core_effects_t *effects)
{
    static const char *const WORDS[ROTA_MEASURES] = {"nano-USD", "tokens", "attempts"};
    int64_t reserved[ROTA_MEASURES], none[ROTA_MEASURES] = {0};
    rota_core_tally_t now = {0};
    bool begins = false;
    uint32_t all = rota_core_tally_find (self->core, ROTA_SCOPE_ALL, 0);
    if (all != ROTA_NONE)
        rota_core_tally (self->core, all, &now);
    sum_reserved (self, reserved);
    for (size_t i = 0; i < effects->assign_count; i++)
        begins |= !effects->assigns[i].again && self->rows[effects->assigns[i].node].reserves;
    for (int m = 0; m < ROTA_MEASURES; m++)
        EXPECT (self, (all == ROTA_NONE ? none : now.spent[ROTA_PERIOD_LIFE])[m] == self->spent[m],
                "%lld %s are spent, by the attempts it is %lld", (long long)now.spent[ROTA_PERIOD_LIFE][m],
                WORDS[m], (long long)self->spent[m]);
    for (int m = 0; m < ROTA_MEASURE_ATTEMPTS; m++)
        EXPECT (self, now.reserved[m] == reserved[m], "%lld %s are reserved, by the tasks it is %lld",
                (long long)now.reserved[m], WORDS[m], (long long)reserved[m]);
    EXPECT (self,
            !begins || !self->usd_limit ||
                self->spent[ROTA_MEASURE_USD] + reserved[ROTA_MEASURE_USD] <= self->usd_limit,
            "work begins beyond the limit: %lld spent, %lld reserved of %lld",
            (long long)self->spent[ROTA_MEASURE_USD], (long long)reserved[ROTA_MEASURE_USD],
            (long long)self->usd_limit);
}

void sim_money_learned (world_t *self)
{
    rota_core_estimate_t now;
    for (size_t i = 0; rota_core_estimate_changed (self->core, i, &now); i++) {
        size_t at = 0;
        while (at < self->estimate_count && self->estimates[at].slot != now.slot)
            at++;
        assert_true (at < ROTA_ESTIMATES); /* all hosts are of one kind */
        self->estimates[at] = now;
        self->estimates[at].kind = "exec";
        self->estimate_count += at == self->estimate_count;
    }
}

void sim_money_load (world_t *self)
{
    for (size_t i = 0; i < self->estimate_count; i++)
        rota_core_estimate_load (self->core, &self->estimates[i]);
}

void sim_money_load_lease (world_t *self, rota_node_t node)
{
    if (self->rows[node].reserves)
        rota_core_reservation_load (self->core, node, self->rows[node].account, self->rows[node].reserved);
}
