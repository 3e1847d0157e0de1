/* budget.h - limits on what is spent, and what was spent: scopes, measures, periods.
 *
 * A scope is all, or a kind of agents, an account, an agent, a source, an epic, a task. What an attempt uses
 * is counted in each scope that it belongs to, per hour and day (UTC) and over the lifetime, whether there is
 * a limit or not, so that a limit set later counts what came before. Before an attempt starts an estimate of
 * it is reserved; when it ends the reservation becomes what was used, or stays as it was where nobody says.
 *
 * Money is in nano-USD. Owner: the scheduler's thread.
 */
#ifndef ROTA_BUDGET_H
#define ROTA_BUDGET_H

#include "scheduler/core.h"

typedef enum {
    ROTA_SCOPE_ALL,
    ROTA_SCOPE_KIND,
    ROTA_SCOPE_ACCOUNT,
    ROTA_SCOPE_AGENT,
    ROTA_SCOPE_SOURCE,
    ROTA_SCOPE_EPIC, /* from here on scopes of the task alone, whoever does it */
    ROTA_SCOPE_TASK,
    ROTA_SCOPES
} rota_scope_t;
typedef enum { ROTA_MEASURE_USD, ROTA_MEASURE_TOKENS, ROTA_MEASURE_ATTEMPTS, ROTA_MEASURES } rota_measure_t;
typedef enum { ROTA_PERIOD_HOUR, ROTA_PERIOD_DAY, ROTA_PERIOD_LIFE, ROTA_PERIODS } rota_period_t;

#define ROTA_LIMIT_UNSET (-1)
#define ROTA_LIMIT_NONE INT64_MAX /* said to be without limit */
#define ROTA_BUDGETS_MAX 1000     /* scopes with limits */
#define ROTA_SCOPE_NAME_MAX 200   /* bytes */

/* What may be spent in one scope. */
typedef struct {
    int64_t of[ROTA_MEASURES][ROTA_PERIODS];
    int64_t window_permille; /* of an account's subscription window, as its provider counts */
    int8_t stop;             /* at the limit running work: 1 is stopped, 0 ends by itself, -1 not said */
} rota_limits_t;
void rota_limits_init (rota_limits_t *ret_limits); /* all unset */

/* "kind/claude", "all", "task/T1"; `*` as the name: each one of that scope. *ret_name points into the text.
 * -EINVAL with the reason. */
int rota_scope_parse (const char *text, rota_scope_t *ret_scope, const char **ret_name, rota_error_t *error);
const char *rota_scope_word (rota_scope_t scope);
#define ROTA_SCOPE_BYTES (ROTA_SCOPE_NAME_MAX + 16)
/* As it is parsed: "kind/claude", "all". */
void rota_scope_write (rota_scope_t scope, const char *name, char ret_text[ROTA_SCOPE_BYTES]);
int rota_scope_find (const char *word); /* -1 = unknown */
/* "usd_per_day=20", "tokens=5M", "5usd", "window_share=80%", "policy=stop", "usd=none" into *limits; with
 * `more` (or NULL) "usd=+5" is allowed and sets its cell there. -EINVAL with the reason. */
int rota_limit_parse (const char *text, rota_limits_t *limits, rota_limits_t *more, rota_error_t *error);
/* "kind/claude usd_per_day=20 usd_per_hour=4": a line of the configuration. */
int rota_limits_parse_line (const char *line, char ret_scope[ROTA_SCOPE_BYTES], rota_limits_t *ret_limits,
                            rota_error_t *error);
#define ROTA_CELL_BYTES 32
void rota_cell_name (rota_measure_t measure, rota_period_t period, char ret_text[ROTA_CELL_BYTES]);
/* "$1.25", "12000 tokens", "3 attempts". */
void rota_amount_write (rota_measure_t measure, int64_t amount, char ret_text[ROTA_CELL_BYTES]);

/* ------------------------------------------------------------------ limits */

/* The names of sources, which the core doesn't know otherwise. */
void rota_core_name_source (rota_core_t *self, uint32_t source, const char *name);
/* `runtime`: set by hand, else from the configuration; a cell that is unset there falls through: by hand
 * before configuration, an exact name before `*`. 0, -ENOSPC, -ENOMEM. */
int rota_core_budget_set (rota_core_t *self, rota_scope_t scope, const char *name, bool runtime,
                          const rota_limits_t *limits, int64_t now_ms);
size_t rota_core_budget_count (const rota_core_t *self);
typedef struct {
    rota_scope_t scope;
    const char *name;
    rota_limits_t configured, runtime;
} rota_core_budget_view_t;
void rota_core_budget_view (const rota_core_t *self, size_t budget, rota_core_budget_view_t *ret_view);
/* Its index, or -1. */
int rota_core_budget_find (const rota_core_t *self, rota_scope_t scope, const char *name);
/* What is assumed of an attempt that nothing is known of. */
void rota_core_budget_defaults (rota_core_t *self, int64_t nano_usd, int64_t tokens);

/* ------------------------------------------------------------------ tallies: what was spent */

typedef struct {
    rota_scope_t scope;
    char name[ROTA_SCOPE_NAME_MAX + 1];
    int64_t hour, day; /* that the counts are of, since 1970 */
    int64_t spent[ROTA_PERIODS][ROTA_MEASURES];
    int64_t estimated[ROTA_PERIODS][ROTA_MEASURES]; /* of it, what nobody said but we */
    int64_t limited;                                /* attempts of the day that met a provider's limit */
    uint32_t warned, exhausted;                     /* bits of cells that were told of in their period */
    /* not stored */
    int64_t reserved[ROTA_MEASURES];
    int64_t limit[ROTA_MEASURES][ROTA_PERIODS]; /* what holds; UNSET: none */
    int64_t window_permille;
    bool stop;
    uint32_t held, running;
} rota_core_tally_t;
size_t rota_core_tally_count (const rota_core_t *self);
void rota_core_tally (const rota_core_t *self, size_t tally, rota_core_tally_t *ret_tally);
/* ROTA_NONE when nothing was counted yet. */
uint32_t rota_core_tally_find (const rota_core_t *self, rota_scope_t scope, uint32_t index);
uint32_t rota_core_tally_named (const rota_core_t *self, rota_scope_t scope, const char *name);
/* Loading, after the tasks. What it names is unknown: ignored. */
void rota_core_tally_load (rota_core_t *self, const rota_core_tally_t *tally);
/* Loading, right after rota_core_load_lease. */
void rota_core_reservation_load (rota_core_t *self, rota_node_t node, const char *account,
                                 const int64_t amount[ROTA_MEASURES]);
/* Of a task that is leased; false: none, or nothing is reserved. */
bool rota_core_reservation (const rota_core_t *self, rota_node_t node, const char **ret_account,
                            int64_t ret_amount[ROTA_MEASURES]);
/* Tallies that changed since the effects were cleared. */
const uint32_t *rota_core_tallies_changed (const rota_core_t *self, size_t *ret_count);

/* What attempts of a kind used: by complexity (0 = unknown), [11] of any, [12] reviews. */
#define ROTA_ESTIMATES 13
typedef struct {
    const char *kind;
    uint32_t slot;
    int64_t nano_usd, tokens; /* -1 = nobody said yet */
} rota_core_estimate_t;
void rota_core_estimate_load (rota_core_t *self, const rota_core_estimate_t *estimate);
/* Changed since the effects were cleared, the index-th; false: no more. */
bool rota_core_estimate_changed (const rota_core_t *self, size_t index, rota_core_estimate_t *ret_estimate);

/* ------------------------------------------------------------------ what is kept back */

typedef struct {
    uint32_t tally; /* ROTA_NONE: no budget keeps it back */
    rota_measure_t measure;
    rota_period_t period;
    bool window;      /* it is the share of the subscription's window */
    bool reserved;    /* it would fit if what runs used nothing */
    int64_t until_ms; /* when it goes on by itself; 0 = never */
    int64_t estimate; /* of the attempt, in the measure */
    int64_t spent, booked, limit;
} rota_core_hold_t;
/* Why no agent may take this ready task for budgets' sake; tally ROTA_NONE when one may. */
void rota_core_budget_hold (const rota_core_t *self, rota_node_t node, rota_core_hold_t *ret_hold);
/* The fullest of the budgets of money and tokens and the subscriptions' windows that an attempt of this
 * agent's (ROTA_NONE: of anybody's) at the task draws on: what is spent of it, 0 to 1000. */
uint32_t rota_core_budget_used_permille (const rota_core_t *self, rota_node_t node, rota_agent_t agent);
/* How many tasks that are ready will not go on before somebody raises a limit. */
uint64_t rota_core_budget_stuck (const rota_core_t *self, uint32_t source);
/* How many wait for budgets, and the first time at which some go on by themselves (0: none does). */
uint64_t rota_core_budget_waiting (const rota_core_t *self, uint32_t source, int64_t *ret_until_ms);

/* ------------------------------------------------------------------ windows of subscriptions */

typedef struct {
    const char *account, *name; /* "claude/default", "five_hour" */
    int64_t used_permille, resets_ms, seen_ms;
} rota_core_window_t;
void rota_core_window_load (rota_core_t *self, const rota_core_window_t *window);
size_t rota_core_window_count (const rota_core_t *self);
void rota_core_window (const rota_core_t *self, size_t index, rota_core_window_t *ret_window);
bool rota_core_windows_changed (const rota_core_t *self);

#endif
