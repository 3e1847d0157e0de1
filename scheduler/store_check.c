/* `rota check`: what the file must fulfil, checked from its rows alone and against the core. */
#include "scheduler/store_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    void (*each) (void *owner, const char *fault);
    void *owner;
    size_t count;
} faults_t;

#define MAX_FAULTS 1000

__attribute__ ((format (printf, 2, 3))) static void found (faults_t *self, const char *format, ...)
{
    char text[512];
    if (++self->count > MAX_FAULTS)
        return;
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    self->each (self->owner, text);
}

/* Rules that a query states: each row that it gives is a fault; the first column says where, as text. Visible
 * rows only (staged ones have no part in anything). */
static const struct {
    const char *rule, *sql;
} RULES[] = {
    {"the id is there twice: %s",
     "SELECT id FROM task WHERE kind != 3 AND coalesce (staged, 0) <= ?1 GROUP BY id HAVING count (*) > 1"},
    {"the milestone is there twice in its epic: %s",
     "SELECT id FROM task WHERE kind = 3 AND coalesce (staged, 0) <= ?1 GROUP BY parent, id HAVING count (*) "
     "> 1"},
    {"task %s lies in a group that isn't there",
     "SELECT id FROM task t WHERE parent IS NOT NULL AND NOT EXISTS (SELECT 1 FROM task p WHERE p.key = "
     "t.parent AND p.kind "
     "IN (2, 3)) AND ?1 = ?1"},
    {"task %s has no definition",
     "SELECT id FROM task t WHERE NOT EXISTS (SELECT 1 FROM definition WHERE task = t.key) AND ?1 = ?1"},
    {"a definition belongs to no task: key %s",
     "SELECT task FROM definition d WHERE NOT EXISTS (SELECT 1 FROM task WHERE key = d.task) AND ?1 = ?1"},
    {"a dependency belongs to no task: key %s", "SELECT task FROM dependency d WHERE (NOT EXISTS (SELECT 1 "
                                                "FROM task WHERE key = d.task) OR NOT EXISTS (SELECT 1 FROM "
                                                "task WHERE key = d.prerequisite)) AND ?1 = ?1"},
    {"an attempt belongs to no task: key %s",
     "SELECT task FROM attempt a WHERE NOT EXISTS (SELECT 1 FROM task WHERE key = a.task) AND ?1 = ?1"},
    {"task %s has an attempt with a greater number than its newest",
     "SELECT id FROM task t WHERE EXISTS (SELECT 1 FROM attempt a WHERE a.task = t.key AND a.number > "
     "coalesce (t.attempt, "
     "0)) AND ?1 = ?1"},
    {"task %s used more attempts than it was given",
     "SELECT id FROM task WHERE kind = 1 AND coalesce (attempts_used, 0) > coalesce (attempts_allowed, 0) "
     "AND ?1 = ?1"},
    {"task %s is in progress at work, and no agent holds it",
     "SELECT id FROM task WHERE status = 2 AND phase = 1 AND agent IS NULL AND ?1 = ?1"},
    {"task %s is held by an agent, and is not in progress",
     "SELECT id FROM task WHERE status NOT IN (2, 4) AND agent IS NOT NULL AND ?1 = ?1"},
    {"task %s is held by an agent that isn't there",
     "SELECT id FROM task t WHERE agent IS NOT NULL AND NOT EXISTS (SELECT 1 FROM agent a WHERE a.key = "
     "t.agent) AND ?1 = "
     "?1"},
    {"task %s is done, and no attempt of it succeeded and nobody approved it",
     "SELECT id FROM task t WHERE kind = 1 AND status = 6 AND started_ms IS NOT NULL AND NOT EXISTS (SELECT "
     "1 FROM attempt a "
     "WHERE a.task = t.key AND a.class = 1) AND NOT EXISTS (SELECT 1 FROM event e WHERE e.task = t.key AND "
     "e.type = 3 AND "
     "(e.change >> 4 & 15) = 6) AND ?1 = ?1"},
    {"task %s has ended without a time",
     "SELECT id FROM task WHERE kind = 1 AND status IN (6, 8, 9) AND finished_ms IS NULL AND ?1 = ?1"},
};

static int run_rule (rota_store_t *store, const char *rule, const char *sql, faults_t *faults)
{
    sqlite3_stmt *s;
    int code = sqlite3_prepare_v2 (store->db, sql, -1, &s, NULL);
    if (code != SQLITE_OK) {
        found (faults, "can't check: %s", sqlite3_errmsg (store->db));
        return -EIO;
    }
    sqlite3_bind_int64 (s, 1, (int64_t)store->generation);
    while ((code = sqlite3_step (s)) == SQLITE_ROW) {
        char where[256];
        snprintf (where, sizeof where, "%.200s", (const char *)sqlite3_column_text (s, 0));
        /* The rules above are the only formats that come here. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        char text[400];
        snprintf (text, sizeof text, rule, where);
#pragma GCC diagnostic pop
        found (faults, "%s", text);
    }
    sqlite3_finalize (s);
    return code == SQLITE_DONE ? 0 : -EIO;
}

static int check_file (rota_store_t *store, faults_t *faults)
{
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2 (store->db, "PRAGMA integrity_check (20)", -1, &s, NULL) != SQLITE_OK)
        return -EIO;
    int code;
    while ((code = sqlite3_step (s)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text (s, 0);
        if (text && strcmp (text, "ok") != 0)
            found (faults, "the file is damaged: %s", text);
    }
    sqlite3_finalize (s);
    return code == SQLITE_DONE ? 0 : -EIO;
}

/* The log against the rows: each move follows from the one before and is in the table; the last one is the
 * row's state. */
typedef struct {
    uint8_t *status; /* by node: as the log says, 0 = no move seen */
    size_t count;
} history_t;

static void follow_event (const history_t *history, int64_t seq, rota_node_t node, int change,
                          faults_t *faults)
{
    Rota__TaskStatus from = change & 15, to = change >> 4 & 15;
    if (node >= history->count)
        return;
    if (!rota_core_move_allowed (from, to))
        found (faults, "event %lld: task key %u moved from %s to %s, which is no move", (long long)seq,
               node + 1, rota_status_name (from), rota_status_name (to));
    if (history->status[node] && history->status[node] != from)
        found (faults, "event %lld: task key %u moved from %s, but was %s", (long long)seq, node + 1,
               rota_status_name (from), rota_status_name (history->status[node]));
    history->status[node] = (uint8_t)to;
}

static int read_history (rota_store_t *store, history_t *history, faults_t *faults)
{
    sqlite3_stmt *s;
    const char *sql =
        "SELECT seq, task, type, change FROM event WHERE type IN (1, 3) AND task IS NOT NULL ORDER BY seq";
    if (sqlite3_prepare_v2 (store->db, sql, -1, &s, NULL) != SQLITE_OK)
        return -EIO;
    int code;
    while ((code = sqlite3_step (s)) == SQLITE_ROW) {
        rota_node_t node = (rota_node_t)(sqlite3_column_int64 (s, 1) - 1);
        int change = sqlite3_column_int (s, 3);
        if (sqlite3_column_int (s, 2) == EVENT (TASK_MOVED))
            follow_event (history, sqlite3_column_int64 (s, 0), node, change, faults);
        else if (node < history->count)
            history->status[node] = (uint8_t)(change >> 4 & 15);
    }
    sqlite3_finalize (s);
    return code == SQLITE_DONE ? 0 : -EIO;
}

static int compare_rows (rota_store_t *store, const history_t *history, const rota_core_t *core,
                         faults_t *faults)
{
    sqlite3_stmt *s;
    const char *sql =
        "SELECT key, id, status, attempt, coalesce (attempts_used, 0), phase FROM task WHERE kind = 1 AND "
        "coalesce (staged, 0) <= ?1";
    if (sqlite3_prepare_v2 (store->db, sql, -1, &s, NULL) != SQLITE_OK)
        return -EIO;
    sqlite3_bind_int64 (s, 1, (int64_t)store->generation);
    int code;
    while ((code = sqlite3_step (s)) == SQLITE_ROW) {
        rota_node_t node = (rota_node_t)(sqlite3_column_int64 (s, 0) - 1);
        const char *id = (const char *)sqlite3_column_text (s, 1);
        Rota__TaskStatus status = (Rota__TaskStatus)sqlite3_column_int (s, 2);
        if (node < history->count && history->status[node] && history->status[node] != status)
            found (faults, "task %s is %s, but the event log says %s", id, rota_status_name (status),
                   rota_status_name (history->status[node]));
        rota_core_node_t it;
        if (!rota_core_get (core, node, &it))
            found (faults, "task %s is in the file and not in memory", id);
        else if (it.status != status || it.attempt != (uint32_t)sqlite3_column_int64 (s, 3) ||
                 it.attempts_used != (uint32_t)sqlite3_column_int64 (s, 4) ||
                 it.phase != (Rota__Phase)sqlite3_column_int (s, 5))
            found (faults, "task %s is %s in the file and %s in memory, or its attempts differ", id,
                   rota_status_name (status), rota_status_name (it.status));
    }
    sqlite3_finalize (s);
    return code == SQLITE_DONE ? 0 : -EIO;
}

static void check_core (const rota_core_t *core, faults_t *faults)
{
    rota_error_t error = {{0}};
    if (rota_core_verify (core, &error) < 0)
        found (faults, "in memory: %s", error.text);
    rota_node_t path[16];
    /* The search changes nothing but memory of its own. */
    size_t length = rota_core_find_cycle ((rota_core_t *)(uintptr_t)core, 0, path, 16);
    if (length)
        found (faults, "the dependencies have a cycle of %zu tasks, one is key %u", length, path[0] + 1);
}

int rota_store_check (rota_store_t *self, const rota_core_t *core,
                      void (*each) (void *owner, const char *fault), void *owner, rota_error_t *error)
{
    faults_t faults = {.each = each, .owner = owner};
    history_t history = {.count = rota_core_count (core)};
    history.status = calloc (history.count + 1, 1);
    int r = history.status ? check_file (self, &faults) : -ENOMEM;
    for (size_t i = 0; i < sizeof RULES / sizeof RULES[0] && r == 0; i++)
        r = run_rule (self, RULES[i].rule, RULES[i].sql, &faults);
    if (r == 0)
        r = read_history (self, &history, &faults);
    if (r == 0)
        r = compare_rows (self, &history, core, &faults);
    check_core (core, &faults);
    free (history.status);
    if (faults.count > MAX_FAULTS) {
        char text[64];
        snprintf (text, sizeof text, "and %zu more", faults.count - MAX_FAULTS);
        each (owner, text);
    }
    return r < 0 ? rota_error_set (error, r, "can't check the store: %s", sqlite3_errmsg (self->db)) : 0;
}

uint64_t rota_store_count (rota_store_t *self, const char *table)
{
    char sql[64];
    sqlite3_stmt *s;
    snprintf (sql, sizeof sql, "SELECT count(*) FROM %s", table);
    if (sqlite3_prepare_v2 (self->db, sql, -1, &s, NULL) != SQLITE_OK)
        return 0;
    uint64_t count = sqlite3_step (s) == SQLITE_ROW ? (uint64_t)sqlite3_column_int64 (s, 0) : 0;
    sqlite3_finalize (s);
    return count;
}
