/* Budgets in the file: limits set by hand, what was spent, what is reserved, what attempts cost so far. */
#include "scheduler/store_internal.h"

#include <errno.h>
#include <stdio.h>

enum { CELL_WINDOW = 9, CELL_STOP = 10 };

static const char *text_at (sqlite3_stmt *s, int column)
{
    const char *text = (const char *)sqlite3_column_text (s, column);
    return text ? text : "";
}

static void set_cell (rota_store_t *self, const rota_core_budget_view_t *budget, int cell, int64_t value)
{
    sqlite3_stmt *s = value == ROTA_LIMIT_UNSET ? NULL : rota_store_sql (self, SQL_SET_BUDGET);
    if (!s)
        return;
    sqlite3_bind_int (s, 1, (int)budget->scope);
    sqlite3_bind_text (s, 2, budget->name, -1, SQLITE_STATIC);
    sqlite3_bind_int (s, 3, cell);
    sqlite3_bind_int64 (s, 4, value);
    rota_store_run (self, s);
}

void rota_store_set_budgets (rota_store_t *self, const rota_core_t *core)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_DROP_BUDGETS);
    if (!s)
        return;
    rota_store_run (self, s);
    for (size_t i = 0; i < rota_core_budget_count (core); i++) {
        rota_core_budget_view_t it;
        rota_core_budget_view (core, i, &it);
        for (int m = 0; m < ROTA_MEASURES; m++)
            for (int p = 0; p < ROTA_PERIODS; p++)
                set_cell (self, &it, m * ROTA_PERIODS + p, it.runtime.of[m][p]);
        set_cell (self, &it, CELL_WINDOW, it.runtime.window_permille);
        set_cell (self, &it, CELL_STOP, it.runtime.stop);
    }
}

void rota_store_set_tally (rota_store_t *self, const rota_core_t *core, uint32_t tally)
{
    rota_core_tally_t it;
    sqlite3_stmt *s = rota_store_sql (self, SQL_SET_TALLY);
    if (!s)
        return;
    rota_core_tally (core, tally, &it);
    sqlite3_bind_int (s, 1, (int)it.scope);
    sqlite3_bind_text (s, 2, it.name, -1, SQLITE_STATIC);
    sqlite3_bind_int64 (s, 3, it.hour);
    sqlite3_bind_int64 (s, 4, it.day);
    sqlite3_bind_int64 (s, 5, it.limited);
    sqlite3_bind_int64 (s, 6, it.warned);
    sqlite3_bind_int64 (s, 7, it.exhausted);
    int at = 8;
    for (int p = 0; p < ROTA_PERIODS; p++)
        for (int m = 0; m < ROTA_MEASURES; m++)
            sqlite3_bind_int64 (s, at++, it.spent[p][m]);
    for (int p = 0; p < ROTA_PERIODS; p++)
        for (int m = 0; m < ROTA_MEASURE_ATTEMPTS; m++)
            sqlite3_bind_int64 (s, at++, it.estimated[p][m]);
    rota_store_run (self, s);
}

void rota_store_set_estimate (rota_store_t *self, const rota_core_estimate_t *estimate)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_SET_ESTIMATE);
    if (!s)
        return;
    sqlite3_bind_text (s, 1, estimate->kind, -1, SQLITE_STATIC);
    sqlite3_bind_int64 (s, 2, estimate->slot);
    sqlite3_bind_int64 (s, 3, estimate->nano_usd);
    sqlite3_bind_int64 (s, 4, estimate->tokens);
    rota_store_run (self, s);
}

void rota_store_set_reservation (rota_store_t *self, rota_node_t node, const char *account,
                                 const int64_t amount[ROTA_MEASURES])
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_SET_RESERVATION);
    if (!s)
        return;
    sqlite3_bind_int64 (s, 1, (int64_t)node + 1);
    sqlite3_bind_text (s, 2, account, -1, SQLITE_STATIC);
    for (int m = 0; m < ROTA_MEASURES; m++)
        sqlite3_bind_int64 (s, 3 + m, amount[m]);
    rota_store_run (self, s);
}

void rota_store_drop_reservation (rota_store_t *self, rota_node_t node)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_DROP_RESERVATION);
    if (!s)
        return;
    sqlite3_bind_int64 (s, 1, (int64_t)node + 1);
    rota_store_run (self, s);
}

void rota_store_set_windows (rota_store_t *self, const rota_core_t *core)
{
    for (size_t i = 0; i < rota_core_window_count (core); i++) {
        sqlite3_stmt *s = rota_store_sql (self, SQL_SET_WINDOW);
        rota_core_window_t it;
        if (!s)
            return;
        rota_core_window (core, i, &it);
        sqlite3_bind_text (s, 1, it.account, -1, SQLITE_STATIC);
        sqlite3_bind_text (s, 2, it.name, -1, SQLITE_STATIC);
        sqlite3_bind_int64 (s, 3, it.used_permille);
        sqlite3_bind_int64 (s, 4, it.resets_ms);
        sqlite3_bind_int64 (s, 5, it.seen_ms);
        rota_store_run (self, s);
    }
}

/* ---------------------------------------------------------------------------------------- loading */

static void load_tally (rota_core_t *core, sqlite3_stmt *s)
{
    rota_core_tally_t it = {.hour = sqlite3_column_int64 (s, 2),
                            .day = sqlite3_column_int64 (s, 3),
                            .limited = sqlite3_column_int64 (s, 4),
                            .warned = (uint32_t)sqlite3_column_int64 (s, 5),
                            .exhausted = (uint32_t)sqlite3_column_int64 (s, 6)};
    int at = 7, scope = sqlite3_column_int (s, 0);
    if (scope < 0 || scope >= ROTA_SCOPES)
        return;
    it.scope = (rota_scope_t)scope;
    snprintf (it.name, sizeof it.name, "%s", text_at (s, 1));
    for (int p = 0; p < ROTA_PERIODS; p++)
        for (int m = 0; m < ROTA_MEASURES; m++)
            it.spent[p][m] = sqlite3_column_int64 (s, at++);
    for (int p = 0; p < ROTA_PERIODS; p++)
        for (int m = 0; m < ROTA_MEASURE_ATTEMPTS; m++)
            it.estimated[p][m] = sqlite3_column_int64 (s, at++);
    rota_core_tally_load (core, &it);
}

static void load_estimate (rota_core_t *core, sqlite3_stmt *s)
{
    rota_core_estimate_load (core, &(rota_core_estimate_t){.kind = text_at (s, 0),
                                                           .slot = (uint32_t)sqlite3_column_int64 (s, 1),
                                                           .nano_usd = sqlite3_column_int64 (s, 2),
                                                           .tokens = sqlite3_column_int64 (s, 3)});
}

static void load_reservation (rota_core_t *core, sqlite3_stmt *s)
{
    int64_t key = sqlite3_column_int64 (s, 0), amount[ROTA_MEASURES];
    for (int m = 0; m < ROTA_MEASURES; m++)
        amount[m] = sqlite3_column_int64 (s, 2 + m);
    if (key > 0 && key < ROTA_NONE)
        rota_core_reservation_load (core, (rota_node_t)(key - 1), text_at (s, 1), amount);
}

static void load_window (rota_core_t *core, sqlite3_stmt *s)
{
    rota_core_window_load (core, &(rota_core_window_t){.account = text_at (s, 0),
                                                       .name = text_at (s, 1),
                                                       .used_permille = sqlite3_column_int64 (s, 2),
                                                       .resets_ms = sqlite3_column_int64 (s, 3),
                                                       .seen_ms = sqlite3_column_int64 (s, 4)});
}

/* Rows of one scope follow each other. */
static void load_limits (rota_core_t *core, sqlite3_stmt *s)
{
    rota_core_budget_view_t view;
    rota_limits_t limits;
    int scope = sqlite3_column_int (s, 0), cell = sqlite3_column_int (s, 2);
    int64_t value = sqlite3_column_int64 (s, 3);
    if (scope < 0 || scope >= ROTA_SCOPES)
        return;
    int at = rota_core_budget_find (core, (rota_scope_t)scope, text_at (s, 1));
    rota_limits_init (&limits);
    if (at >= 0) {
        rota_core_budget_view (core, (size_t)at, &view);
        limits = view.runtime;
    }
    if (cell == CELL_WINDOW)
        limits.window_permille = value;
    else if (cell == CELL_STOP)
        limits.stop = value > 0;
    else if (cell >= 0 && cell < ROTA_MEASURES * ROTA_PERIODS)
        limits.of[cell / ROTA_PERIODS][cell % ROTA_PERIODS] = value;
    rota_core_budget_set (core, (rota_scope_t)scope, text_at (s, 1), true, &limits, 0);
}

int rota_store_load_budgets (rota_store_t *self, rota_core_t *core, rota_error_t *error)
{
    static const struct {
        sql_t which;
        void (*each) (rota_core_t *core, sqlite3_stmt *row);
    } STEPS[] = {{SQL_LOAD_BUDGETS, load_limits},
                 {SQL_LOAD_TALLIES, load_tally},
                 {SQL_LOAD_ESTIMATES, load_estimate},
                 {SQL_LOAD_RESERVATIONS, load_reservation},
                 {SQL_LOAD_WINDOWS, load_window}};
    for (size_t i = 0; i < sizeof STEPS / sizeof STEPS[0]; i++) {
        sqlite3_stmt *s = rota_store_sql (self, STEPS[i].which);
        int code = SQLITE_ERROR;
        while (s && (code = sqlite3_step (s)) == SQLITE_ROW)
            STEPS[i].each (core, s);
        if (s)
            sqlite3_reset (s);
        if (code != SQLITE_DONE) {
            rota_store_fail (self, code);
            return rota_error_set (error, self->failed ? self->failed : -EIO, "can't read the budgets: %s",
                                   self->failure.text);
        }
    }
    return rota_core_broken (core) ? rota_error_set (error, -ENOMEM, "no memory") : 0;
}
