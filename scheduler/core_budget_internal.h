/* core_budget_internal.h - what the three files of budgets share and nobody else.
 *
 * core_tally.c   what is counted, the limits that hold there, hours and days
 * core_spend.c   estimates, reservations, what was used
 * core_budget.c  whom a limit keeps back; limits set and raised
 */
#ifndef ROTA_CORE_BUDGET_INTERNAL_H
#define ROTA_CORE_BUDGET_INTERNAL_H

#include "scheduler/core_internal.h"

#define HOUR_MS INT64_C (3600000)
#define DAY_MS (24 * HOUR_MS)
#define WARN_PERCENT 80
#define AMOUNT_MAX (INT64_MAX / 4)

static inline budget_t *budget_at (const rota_core_t *self, uint32_t index)
{
    return AT (self, money.budgets, budget_t, index);
}

static inline tally_t *tally_at (const rota_core_t *self, uint32_t index)
{
    return AT (self, money.tallies, tally_t, index);
}

static inline int64_t plus (int64_t a, int64_t b)
{
    return a > AMOUNT_MAX - b ? AMOUNT_MAX : a + b;
}

static inline bool is_bound (const tally_t *tally)
{
    return tally->budget != ROTA_NONE || tally->each != ROTA_NONE;
}

static inline uint16_t bit_of (rota_measure_t m, rota_period_t p)
{
    return (uint16_t)(1u << ((unsigned)m * ROTA_PERIODS + (unsigned)p));
}

/* 0: it has none. */
static inline int64_t end_of (const rota_core_t *self, rota_period_t p)
{
    if (p == ROTA_PERIOD_LIFE)
        return 0;
    int64_t length_ms = p == ROTA_PERIOD_HOUR ? HOUR_MS : DAY_MS;
    return (self->now_ms / length_ms + 1) * length_ms;
}

/* core_tally.c */
uint32_t rota_core_tally_make (rota_core_t *self, rota_scope_t scope, uint32_t index); /* or finds it */
void rota_core_tally_touch (rota_core_t *self, uint32_t index); /* its row must be written */
void rota_core_tally_bind (rota_core_t *self, tally_t *tally);  /* finds the limits that concern it */
int64_t rota_core_tally_limit (const rota_core_t *self, const tally_t *tally, rota_measure_t m,
                               rota_period_t p);
int64_t rota_core_tally_window_limit (const rota_core_t *self, const tally_t *tally);
bool rota_core_tally_stops (const rota_core_t *self, const tally_t *tally);
int rota_core_tally_name (const rota_core_t *self, rota_scope_t scope, uint32_t index,
                          char ret_name[ROTA_SCOPE_NAME_MAX + 1]);
void rota_core_tally_tell (rota_core_t *self, Rota__EventType type, const tally_t *tally, const char *reason);
const char *rota_core_tally_use (rota_core_t *self, const tally_t *tally, rota_measure_t m, rota_period_t p);
/* Tells of it once in the period. */
void rota_core_tally_exhausted (rota_core_t *self, uint32_t index, rota_measure_t m, rota_period_t p);
/* At most so many of those put aside compete again. */
void rota_core_tally_release (rota_core_t *self, tally_t *tally, uint32_t most);
uint32_t rota_core_kind (rota_core_t *self, const char *name);              /* makes it */
uint32_t rota_core_kind_of (const rota_core_t *self, const agent_t *agent); /* ROTA_NONE: not known yet */

/* core_spend.c */
void rota_core_estimate (const rota_core_t *self, rota_node_t node, Rota__Phase phase, const agent_t *agent,
                         int64_t ret_amount[ROTA_MEASURES]);

/* core_budget.c */
/* The index in the scope to which an attempt by the agent belongs; ROTA_NONE: to none. */
uint32_t rota_core_scope_index (const rota_core_t *self, rota_scope_t scope, rota_node_t node,
                                rota_agent_t agent);

#endif
