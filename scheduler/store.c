#include "scheduler/store.h"

#include "bus/names.h"
#include "scheduler/health.h"
#include "scheduler/schema.h"
#include "scheduler/store_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const SQL_TEXT[SQL_COUNT] = {
#define STATEMENT(NAME, PLAN, sql) [SQL_##NAME] = sql,
#include "scheduler/statements.def"
};

int rota_store_errno (int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return 0;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return -EACCES;
    case SQLITE_CANTOPEN:
        return -ENOENT;
    case SQLITE_CONSTRAINT:
        return -EINVAL;
    default:
        return -EIO;
    }
}

void rota_store_fail (rota_store_t *self, int code)
{
    if (self->failed)
        return;
    self->failed = rota_store_errno (code);
    rota_error_set (&self->failure, 0, "%s (SQLite %d)", sqlite3_errmsg (self->db),
                    sqlite3_extended_errcode (self->db));
}

const char *rota_store_text (sql_t which)
{
    return SQL_TEXT[which];
}

sqlite3_stmt *rota_store_sql (rota_store_t *self, sql_t which)
{
    if (!self->statements[which]) {
        int code = sqlite3_prepare_v3 (self->db, SQL_TEXT[which], -1, SQLITE_PREPARE_PERSISTENT,
                                       &self->statements[which], NULL);
        if (code != SQLITE_OK)
            rota_store_fail (self, code);
    }
    return self->statements[which];
}

void rota_store_run (rota_store_t *self, sqlite3_stmt *statement)
{
    int code = sqlite3_step (statement);
    if (code != SQLITE_DONE && code != SQLITE_ROW)
        rota_store_fail (self, code);
    sqlite3_reset (statement);
    sqlite3_clear_bindings (statement);
}

/* ---------------------------------------------------------------------------------------- opening */

static int on_wal (void *owner, sqlite3 *db, const char *name, int pages)
{
    (void)db;
    (void)name;
    ((rota_store_t *)owner)->wal_pages = pages;
    return SQLITE_OK;
}

/* Debian compiles secure_delete and auto_vacuum in; both cost writes and give us nothing. The checkpoints are
 * ours, so that none falls into a commit. */
static const char PRAGMAS[] =
    "PRAGMA auto_vacuum = NONE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
    "PRAGMA secure_delete = OFF; PRAGMA wal_autocheckpoint = 0; PRAGMA temp_store = MEMORY;"
    "PRAGMA foreign_keys = OFF; PRAGMA cache_size = -65536; PRAGMA mmap_size = 0;";

static int read_or_make_identity (rota_store_t *self, rota_error_t *error)
{
    sqlite3_stmt *get = rota_store_sql (self, SQL_GET_META);
    if (!get)
        return rota_error_set (error, self->failed, "%s", self->failure.text);
    sqlite3_bind_text (get, 1, "incarnation", -1, SQLITE_STATIC);
    bool known = sqlite3_step (get) == SQLITE_ROW && sqlite3_column_bytes (get, 0) == 16;
    if (known)
        memcpy (self->incarnation, sqlite3_column_blob (get, 0), 16);
    sqlite3_reset (get);
    if (!known) {
        rota_instance_new (self->incarnation);
        sqlite3_stmt *set = rota_store_sql (self, SQL_SET_META);
        if (set) {
            sqlite3_bind_text (set, 1, "incarnation", -1, SQLITE_STATIC);
            sqlite3_bind_blob (set, 2, self->incarnation, 16, SQLITE_STATIC);
            rota_store_run (self, set);
        }
    }
    self->generation = (uint64_t)rota_store_number (self, "generation", 0);
    return self->failed ? rota_error_set (error, self->failed, "%s", self->failure.text) : 0;
}

static int set_up (rota_store_t *self, rota_error_t *error)
{
    sqlite3_extended_result_codes (self->db, 1);
    sqlite3_busy_timeout (self->db, 2000);
    int code = sqlite3_exec (self->db, PRAGMAS, NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return rota_error_set (error, rota_store_errno (code), "%s", sqlite3_errmsg (self->db));
    int r = rota_schema_migrate (self->db, error);
    if (r < 0)
        return r;
    sqlite3_wal_hook (self->db, on_wal, self);
    sqlite3_stmt *page;
    self->page_size = 4096;
    if (sqlite3_prepare_v2 (self->db, "PRAGMA page_size", -1, &page, NULL) == SQLITE_OK) {
        if (sqlite3_step (page) == SQLITE_ROW)
            self->page_size = sqlite3_column_int (page, 0);
        sqlite3_finalize (page);
    }
    return read_or_make_identity (self, error);
}

int rota_store_open (const char *path, rota_store_t **ret_store, rota_error_t *error)
{
    rota_store_t *self = calloc (1, sizeof *self);
    if (!self || !(self->path = strdup (path))) {
        free (self);
        return rota_error_set (error, -ENOMEM, "no memory");
    }
    mode_t mask = umask (0077);
    int code = sqlite3_open_v2 (path, &self->db,
                                SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    int r = code == SQLITE_OK ? set_up (self, error)
                              : rota_error_set (error, rota_store_errno (code), "%s", sqlite3_errstr (code));
    umask (mask);
    if (r < 0) {
        rota_error_prefix (error, r, "the store %s", path);
        rota_store_close (&self);
        return r;
    }
    *ret_store = self;
    return 0;
}

void rota_store_close (rota_store_t **self_p)
{
    rota_store_t *self = *self_p;
    if (!self)
        return;
    rota_store_rollback (self);
    for (size_t i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize (self->statements[i]);
    if (self->db) {
        sqlite3_wal_checkpoint_v2 (self->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        sqlite3_close_v2 (self->db);
    }
    free (self->path);
    free (self);
    *self_p = NULL;
}

const uint8_t *rota_store_incarnation (const rota_store_t *self)
{
    return self->incarnation;
}

struct sqlite3 *rota_store_handle (rota_store_t *self)
{
    return self->db;
}

/* ----------------------------------------------------------------------------------- transactions */

int rota_store_take_role (rota_store_t *self, uint64_t *ret_epoch, rota_error_t *error)
{
    int code = sqlite3_exec (self->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return rota_error_set (error, rota_store_errno (code), "can't become the scheduler: %s",
                               sqlite3_errmsg (self->db));
    self->in_transaction = true;
    self->failed = 0;
    uint64_t epoch = (uint64_t)rota_store_number (self, "scheduler_epoch", 0) + 1;
    rota_store_set_number (self, "scheduler_epoch", (int64_t)epoch);
    int r = rota_store_commit (self, error);
    if (r < 0)
        return r;
    self->epoch = *ret_epoch = epoch;
    return 0;
}

int rota_store_begin (rota_store_t *self, rota_error_t *error)
{
    if (self->in_transaction)
        return 0;
    self->failed = 0;
    int code = sqlite3_exec (self->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return rota_error_set (error, rota_store_errno (code), "can't begin: %s", sqlite3_errmsg (self->db));
    self->in_transaction = true;
    if (self->epoch && (uint64_t)rota_store_number (self, "scheduler_epoch", 0) != self->epoch) {
        rota_store_rollback (self);
        return rota_error_set (error, -ESTALE, "another scheduler took over this store");
    }
    return 0;
}

int rota_store_commit (rota_store_t *self, rota_error_t *error)
{
    if (!self->in_transaction)
        return 0;
    if (!self->failed) {
        int code = sqlite3_exec (self->db, "COMMIT", NULL, NULL, NULL);
        if (code != SQLITE_OK)
            rota_store_fail (self, code);
    }
    if (self->failed) {
        int r = rota_error_set (error, self->failed, "can't commit: %s", self->failure.text);
        rota_store_rollback (self);
        return r;
    }
    self->in_transaction = false;
    return 0;
}

void rota_store_rollback (rota_store_t *self)
{
    if (self->in_transaction && !sqlite3_get_autocommit (self->db))
        sqlite3_exec (self->db, "ROLLBACK", NULL, NULL, NULL);
    self->in_transaction = false;
}

/* ----------------------------------------------------------------------------------------- writes */

static void bind_number_or_null (sqlite3_stmt *statement, int at, int64_t value)
{
    if (value)
        sqlite3_bind_int64 (statement, at, value);
    else
        sqlite3_bind_null (statement, at);
}

static int row_flags (const rota_core_node_t *it)
{
    return (it->approval ? ROW_APPROVAL : 0) | (it->keep_on_lost ? ROW_KEEP : 0) |
           (it->orphaned ? ROW_ORPHANED : 0) | (it->flagged ? ROW_FLAGGED : 0) |
           (it->skipped ? ROW_SKIPPED : 0) | (it->lost ? ROW_LOST : 0) |
           (it->cancelling ? ROW_CANCELLING : 0) | (it->holding ? ROW_HOLDING : 0) |
           (it->approval_of_group ? ROW_SILENT : 0) | (it->asked ? ROW_ASKED : 0);
}

static int64_t reference (uint32_t index)
{
    return index == ROTA_NONE ? 0 : (int64_t)index + 1;
}

static bool is_ended (Rota__TaskStatus status)
{
    return status == STATUS (DONE) || status == STATUS (FAILED) || status == STATUS (CANCELLED);
}

void rota_store_add_task (rota_store_t *self, const rota_core_t *core, rota_node_t node, Rota__TaskType type,
                          const rota_definition_t *definition, uint64_t staged, int64_t wall_ms)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_ADD_TASK);
    rota_core_node_t it;
    if (!s || !rota_core_get (core, node, &it))
        return;
    const char *reason = rota_core_reason (core, node);
    int64_t values[] = {it.kind,
                        type,
                        reference (it.parent),
                        it.source,
                        it.class_index,
                        it.status,
                        it.phase,
                        it.blocked,
                        it.came_from,
                        row_flags (&it),
                        it.priority,
                        it.complexity,
                        it.attempts_allowed,
                        it.attempts_used,
                        it.attempt,
                        reference (it.agent),
                        it.ready_since_ms,
                        it.not_before_ms,
                        it.assigned_ms};
    int64_t progress[] = {it.wants, reference (it.author), it.rounds, it.stumbles};
    sqlite3_bind_int64 (s, 1, (int64_t)node + 1);
    sqlite3_bind_text (s, 2, it.id, (int)it.id_length, SQLITE_STATIC);
    for (int i = 0; i < (int)(sizeof values / sizeof values[0]); i++)
        bind_number_or_null (s, 3 + i, values[i]);
    sqlite3_bind_int64 (s, 6, it.source);
    sqlite3_bind_int64 (s, 8, it.status);
    sqlite3_bind_int64 (s, 12, values[9]);
    sqlite3_bind_int64 (s, 22, wall_ms);
    bind_number_or_null (s, 23, it.attempt ? wall_ms : 0);
    bind_number_or_null (s, 24, is_ended (it.status) ? wall_ms : 0);
    sqlite3_bind_text (s, 25, reason, -1, SQLITE_STATIC);
    bind_number_or_null (s, 26, (int64_t)staged);
    for (int i = 0; i < (int)(sizeof progress / sizeof progress[0]); i++)
        bind_number_or_null (s, 27 + i, progress[i]);
    rota_store_run (self, s);

    s = rota_store_sql (self, SQL_ADD_DEFINITION);
    if (!s)
        return;
    sqlite3_bind_int64 (s, 1, (int64_t)node + 1);
    if (definition->title_length)
        sqlite3_bind_text (s, 2, definition->title, (int)definition->title_length, SQLITE_STATIC);
    sqlite3_bind_blob (s, 3, definition->spec, (int)definition->spec_size, SQLITE_STATIC);
    rota_store_run (self, s);
}

void rota_store_set_task (rota_store_t *self, const rota_core_t *core, rota_node_t node, int64_t wall_ms)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_SET_TASK);
    rota_core_node_t it;
    if (!s || !rota_core_get (core, node, &it))
        return;
    int64_t values[] = {it.class_index,      it.status,        it.phase,      it.blocked,
                        it.came_from,        row_flags (&it),  it.priority,   it.complexity,
                        it.attempts_allowed, it.attempts_used, it.attempt,    reference (it.agent),
                        it.ready_since_ms,   it.not_before_ms, it.assigned_ms};
    int64_t progress[] = {it.wants,    reference (it.author), it.rounds,
                          it.stumbles, (int64_t)it.trouble,   (int64_t)it.epoch};
    sqlite3_bind_int64 (s, 1, (int64_t)node + 1);
    for (int i = 0; i < (int)(sizeof values / sizeof values[0]); i++)
        bind_number_or_null (s, 2 + i, values[i]);
    sqlite3_bind_int64 (s, 3, it.status);
    sqlite3_bind_int64 (s, 7, values[5]);
    bind_number_or_null (s, 17, it.status == STATUS (IN_PROGRESS) || it.attempt ? wall_ms : 0);
    bind_number_or_null (s, 18, is_ended (it.status) ? wall_ms : 0);
    sqlite3_bind_text (s, 19, rota_core_reason (core, node), -1, SQLITE_STATIC);
    for (int i = 0; i < (int)(sizeof progress / sizeof progress[0]); i++)
        bind_number_or_null (s, 20 + i, progress[i]);
    uint32_t quality = rota_core_quality_of (core, node);
    if (quality == ROTA_UNKNOWN)
        sqlite3_bind_null (s, 26);
    else
        sqlite3_bind_int64 (s, 26, quality);
    rota_store_run (self, s);
}

void rota_store_set_definition (rota_store_t *self, rota_node_t node, const rota_definition_t *definition)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_SET_DEFINITION);
    if (!s)
        return;
    sqlite3_bind_int64 (s, 1, (int64_t)node + 1);
    if (definition->title_length)
        sqlite3_bind_text (s, 2, definition->title, (int)definition->title_length, SQLITE_STATIC);
    sqlite3_bind_blob (s, 3, definition->spec, (int)definition->spec_size, SQLITE_STATIC);
    rota_store_run (self, s);
}

static void run_with_numbers (rota_store_t *self, sql_t which, int count, const int64_t *values)
{
    sqlite3_stmt *s = rota_store_sql (self, which);
    if (!s)
        return;
    for (int i = 0; i < count; i++)
        sqlite3_bind_int64 (s, i + 1, values[i]);
    rota_store_run (self, s);
}

void rota_store_add_dependency (rota_store_t *self, rota_node_t node, rota_node_t prerequisite,
                                Rota__DependencyType type)
{
    run_with_numbers (self, SQL_ADD_DEPENDENCY, 3,
                      (int64_t[]){reference (node), reference (prerequisite), type});
}

void rota_store_drop_dependency (rota_store_t *self, rota_node_t node, rota_node_t prerequisite)
{
    run_with_numbers (self, SQL_DROP_DEPENDENCY, 2, (int64_t[]){reference (node), reference (prerequisite)});
}

uint64_t rota_store_add_event (rota_store_t *self, const rota_core_event_t *event, int64_t wall_ms)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_ADD_EVENT);
    if (!s)
        return 0;
    int64_t change = event->from | event->to << 4 | event->phase << 8 | event->result_class << 12;
    sqlite3_bind_int64 (s, 1, wall_ms);
    sqlite3_bind_int64 (s, 2, event->type);
    bind_number_or_null (s, 3, reference (event->node));
    bind_number_or_null (s, 4, event->attempt);
    bind_number_or_null (s, 5, reference (event->agent));
    bind_number_or_null (s, 6, change);
    sqlite3_bind_text (s, 7, event->reason, -1, SQLITE_STATIC);
    rota_store_run (self, s);
    return self->failed ? 0 : (uint64_t)sqlite3_last_insert_rowid (self->db);
}

void rota_store_add_attempt (rota_store_t *self, const rota_core_ended_t *ended, int64_t wall_ms)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_ADD_ATTEMPT);
    if (!s)
        return;
    size_t size = ended->result ? rota__result__get_packed_size (ended->result) : 0;
    uint8_t *packed = malloc (size + 1);
    if (!packed) {
        rota_store_fail (self, SQLITE_NOMEM);
        return;
    }
    if (size)
        rota__result__pack (ended->result, packed);
    sqlite3_bind_int64 (s, 1, reference (ended->node));
    sqlite3_bind_int64 (s, 2, ended->attempt);
    sqlite3_bind_int64 (s, 3, ended->phase);
    bind_number_or_null (s, 4, reference (ended->agent));
    bind_number_or_null (s, 5, ended->assigned_ms);
    sqlite3_bind_int64 (s, 6, wall_ms);
    sqlite3_bind_int64 (s, 7, ended->result_class);
    sqlite3_bind_int64 (s, 8, ended->used);
    if (size)
        sqlite3_bind_blob (s, 10, packed, (int)size, SQLITE_STATIC);
    rota_store_run (self, s);
    free (packed);
}

void rota_store_set_agent (rota_store_t *self, const rota_core_t *core, rota_agent_t agent,
                           const char *version)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_SET_AGENT);
    if (!s)
        return;
    rota_core_agent_view_t view;
    rota_core_agent_view (core, agent, &view);
    sqlite3_bind_int64 (s, 1, reference (agent));
    sqlite3_bind_text (s, 2, view.name, -1, SQLITE_STATIC);
    sqlite3_bind_text (s, 3, view.kind, -1, SQLITE_STATIC);
    sqlite3_bind_text (s, 4, view.host, -1, SQLITE_STATIC);
    sqlite3_bind_blob (s, 5, view.instance, 16, SQLITE_STATIC);
    sqlite3_bind_text (s, 6, version, -1, SQLITE_STATIC);
    rota_store_run (self, s);
}

static void add_limit (rota_store_t *self, const rota_core_t *core, rota_account_t account, size_t place)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_ADD_LIMIT);
    if (!s)
        return;
    rota_core_limit_t limit = rota_core_account_limit (core, account, place);
    sqlite3_bind_int64 (s, 1, reference (account));
    sqlite3_bind_int64 (s, 2, (int64_t)place);
    sqlite3_bind_int (s, 3, limit.result_class);
    sqlite3_bind_int (s, 4, limit.limit_kind);
    sqlite3_bind_text (s, 5, limit.window, -1, SQLITE_STATIC);
    sqlite3_bind_int64 (s, 6, limit.since_ms);
    sqlite3_bind_int64 (s, 7, limit.until_ms);
    sqlite3_bind_int64 (s, 8, limit.trips);
    sqlite3_bind_text (s, 9, limit.reason, -1, SQLITE_STATIC);
    rota_store_run (self, s);
}

void rota_store_set_account (rota_store_t *self, const rota_core_t *core, rota_account_t account)
{
    rota_core_account_view_t view;
    rota_core_account_view (core, account, &view);
    sqlite3_stmt *s = rota_store_sql (self, SQL_SET_ACCOUNT);
    if (!s)
        return;
    sqlite3_bind_int64 (s, 1, reference (account));
    sqlite3_bind_text (s, 2, view.name, -1, SQLITE_STATIC);
    rota_store_run (self, s);
    s = rota_store_sql (self, SQL_DROP_LIMITS);
    if (!s)
        return;
    sqlite3_bind_int64 (s, 1, reference (account));
    rota_store_run (self, s);
    for (size_t i = 0; i < view.limit_count; i++)
        add_limit (self, core, account, i);
}

/* A negative number is one that nobody knows. */
static void bind_known (sqlite3_stmt *s, int at, int64_t value)
{
    if (value < 0)
        sqlite3_bind_null (s, at);
    else
        sqlite3_bind_int64 (s, at, value);
}

void rota_store_set_session (rota_store_t *self, rota_node_t node, const rota_session_t *session)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_SET_SESSION);
    if (!s)
        return;
    sqlite3_bind_int64 (s, 1, reference (node));
    sqlite3_bind_int64 (s, 2, reference (session->agent));
    sqlite3_bind_text (s, 3, session->id, -1, SQLITE_STATIC);
    bind_known (s, 4, session->input);
    bind_known (s, 5, session->output);
    bind_known (s, 6, session->cached);
    bind_known (s, 7, session->cost_nano_usd);
    rota_store_run (self, s);
}

void rota_store_set_claim (rota_store_t *self, rota_node_t node, const char *globs, bool learned)
{
    sqlite3_stmt *s = rota_store_sql (self, globs && *globs ? SQL_SET_CLAIM : SQL_DROP_CLAIM);
    if (!s)
        return;
    sqlite3_bind_int64 (s, 1, reference (node));
    if (globs && *globs) {
        sqlite3_bind_int64 (s, 2, learned);
        sqlite3_bind_text (s, 3, globs, -1, SQLITE_STATIC);
    }
    rota_store_run (self, s);
}

void rota_store_drop_session (rota_store_t *self, rota_node_t node)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_DROP_SESSION);
    if (!s)
        return;
    sqlite3_bind_int64 (s, 1, reference (node));
    rota_store_run (self, s);
}

/* Capabilities as names, a line each, so that the file means the same to any rota. */
void rota_store_set_class (rota_store_t *self, const rota_core_t *core, uint32_t class_index)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_SET_CLASS);
    rota_core_class_view_t view;
    rota_core_class_view (core, class_index, &view);
    char *names = strdup ("");
    for (unsigned bit = 0; bit < 64 && names; bit++) {
        char *longer;
        if (!(view.capabilities >> bit & 1))
            continue;
        int r = asprintf (&longer, "%s%s\n", names, rota_core_capability_name (core, bit));
        free (names);
        names = r < 0 ? NULL : longer;
    }
    if (!names)
        rota_store_fail (self, SQLITE_NOMEM);
    if (s && names) {
        sqlite3_bind_int64 (s, 1, (int64_t)class_index + 1);
        sqlite3_bind_int64 (s, 2, view.source);
        sqlite3_bind_text (s, 3, view.agent, -1, SQLITE_STATIC);
        sqlite3_bind_text (s, 4, names, -1, SQLITE_STATIC);
        rota_store_run (self, s);
    }
    free (names);
}

void rota_store_set_source (rota_store_t *self, uint32_t source, const char *name, size_t name_length,
                            const uint8_t *header, size_t header_size)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_SET_SOURCE);
    if (!s)
        return;
    sqlite3_bind_int64 (s, 1, source);
    sqlite3_bind_text (s, 2, name, (int)name_length, SQLITE_STATIC);
    sqlite3_bind_blob (s, 3, header, (int)header_size, SQLITE_STATIC);
    rota_store_run (self, s);
}

void rota_store_set_number (rota_store_t *self, const char *name, int64_t value)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_SET_META);
    if (!s)
        return;
    sqlite3_bind_text (s, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_int64 (s, 2, value);
    rota_store_run (self, s);
}

void rota_store_set_text (rota_store_t *self, const char *name, const char *text)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_SET_META);
    if (!s)
        return;
    sqlite3_bind_text (s, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_text (s, 2, text, -1, SQLITE_STATIC);
    rota_store_run (self, s);
}

void rota_store_get_text (rota_store_t *self, const char *name, char *ret_text, size_t capacity)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_GET_META);
    ret_text[0] = '\0';
    if (!s)
        return;
    sqlite3_bind_text (s, 1, name, -1, SQLITE_STATIC);
    if (sqlite3_step (s) == SQLITE_ROW && sqlite3_column_text (s, 0))
        snprintf (ret_text, capacity, "%s", (const char *)sqlite3_column_text (s, 0));
    sqlite3_reset (s);
}

void rota_store_set_coordinator (rota_store_t *self, const rota_core_t *core)
{
    rota_core_coordinator_t role;
    rota_core_agent_view_t agent = {0};
    rota_core_coordinator (core, &role);
    if (role.agent != ROTA_NONE)
        rota_core_agent_view (core, role.agent, &agent);
    rota_store_set_text (self, "coordinator", agent.name ? agent.name : "");
    rota_store_set_text (self, "coordinator_reason", role.reason);
    rota_store_set_number (self, "coordinator_epoch", (int64_t)role.epoch);
    rota_store_set_number (self, "coordinator_since", role.since_ms);
    rota_store_set_number (self, "coordinator_by_hand", role.by_hand);
}

void rota_store_load_coordinator (rota_store_t *self, rota_core_t *core)
{
    char agent[256], reason[ROTA_ERROR_MAX_BYTES];
    rota_store_get_text (self, "coordinator", agent, sizeof agent);
    rota_store_get_text (self, "coordinator_reason", reason, sizeof reason);
    rota_core_coordinator_t role = {
        .epoch = (uint64_t)rota_store_number (self, "coordinator_epoch", 0),
        .since_ms = rota_store_number (self, "coordinator_since", 0),
        .by_hand = rota_store_number (self, "coordinator_by_hand", 0) != 0,
        .reason = reason,
    };
    rota_core_coordinator_load (core, agent[0] ? agent : NULL, &role);
}

int64_t rota_store_number (rota_store_t *self, const char *name, int64_t fallback)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_GET_META);
    if (!s)
        return fallback;
    sqlite3_bind_text (s, 1, name, -1, SQLITE_STATIC);
    int code = sqlite3_step (s);
    int64_t value = code == SQLITE_ROW ? sqlite3_column_int64 (s, 0) : fallback;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        rota_store_fail (self, code);
    sqlite3_reset (s);
    return value;
}

void rota_store_set_conversation (rota_store_t *self, const uint8_t id[16], uint64_t low,
                                  const uint8_t *window, size_t window_size, int64_t wall_ms)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_SET_CONVERSATION);
    if (!s)
        return;
    sqlite3_bind_blob (s, 1, id, 16, SQLITE_STATIC);
    sqlite3_bind_int64 (s, 2, (int64_t)low);
    sqlite3_bind_blob (s, 3, window_size ? (const void *)window : "", (int)window_size, SQLITE_STATIC);
    sqlite3_bind_int64 (s, 4, wall_ms);
    rota_store_run (self, s);
}

void rota_store_drop_conversation (rota_store_t *self, const uint8_t id[16])
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_DROP_CONVERSATION);
    if (!s)
        return;
    sqlite3_bind_blob (s, 1, id, 16, SQLITE_STATIC);
    rota_store_run (self, s);
}

void rota_store_unstage (rota_store_t *self, rota_node_t first, rota_node_t end)
{
    for (rota_node_t i = first; i < end; i++) {
        int64_t key = reference (i);
        run_with_numbers (self, SQL_UNSTAGE, 2, (int64_t[]){key, (int64_t)self->generation});
        if (sqlite3_changes (self->db) == 0)
            continue; /* a visible one, submitted meanwhile */
        run_with_numbers (self, SQL_UNSTAGE_DEFINITION, 1, &key);
        run_with_numbers (self, SQL_UNSTAGE_DEPENDENCIES, 1, &key);
        run_with_numbers (self, SQL_DROP_CLAIM, 1, &key);
    }
}

void rota_store_show_generation (rota_store_t *self, uint64_t generation)
{
    rota_store_set_number (self, "generation", (int64_t)generation);
    self->generation = generation;
}

uint64_t rota_store_generation (const rota_store_t *self)
{
    return self->generation;
}
