#include "scheduler/schema.h"

#include <errno.h>
#include <stdio.h>

/* Forward only: a row is never changed after a release, a new one is added. user_version counts the rows
 * applied.
 *
 * task          what changes while a task lives, narrow; the key is the core's index + 1; groups are rows too
 * definition    what a file or submit said of it; `spec` is a packed TaskSpec without id and title
 * dependency    task waits for prerequisite; type 1 blocks, 2 related, 3 suggested
 * event         the log; `change` packs from, to, phase and result class, a hexadecimal digit each
 *               `epoch` is the coordinator's, under which its running attempt was given out
 * attempt       attempts that ended; the running one is in the task's row; `result` is a packed Result
 * account       what a provider counts its limits for, and why it is closed
 * budget        limits set by hand; cell = measure * 3 + period, 9 the window's share, 10 the policy
 * tally         what was spent in a scope: in the hour and the day (UTC, since 1970) that it names, and ever;
 *               money in nano-USD; e_* of it is what nobody said but we estimated
 * estimate      what attempts of a kind used, by complexity (11 of any, 12 reviews); -1 = never said
 * reservation   of attempts under way whose work is paid
 * usage_window  how much of an account's subscription window is used, as its provider said
 * checkpoint    essential state at a moment, a packed Checkpoint
 * session       the program's session of an attempt that was cut short, and what it had used by then
 * claim         what a task changes: globs, one a line, as it says or as was learned
 * quality       averages of it, in millionths: scope 0 all, 1 a kind of agents, 2 an epic
 * context       what agents and people wrote down for later attempts; its words are in context_words, the
 *               tasks and groups that it is about in context_link; `digest` finds what is there already
 * conversation  one row per client: what was answered last (design 2.4)
 *
 * Of the original's indexes (domain.md 2.3) none but the events of a task is here: the ready set, ids,
 * parents and agents are looked up in memory, and each index costs every write. */
static const char *const MIGRATIONS[] = {
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE source (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, header BLOB);"
    "CREATE TABLE agent (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, host TEXT "
    "NOT NULL,"
    " instance BLOB NOT NULL, version TEXT);"
    "CREATE TABLE class (key INTEGER PRIMARY KEY, source INTEGER NOT NULL REFERENCES source, agent TEXT NOT "
    "NULL,"
    " capabilities TEXT NOT NULL);"
    "CREATE TABLE task (key INTEGER PRIMARY KEY, id TEXT NOT NULL, kind INTEGER NOT NULL, type INTEGER, "
    "parent INTEGER,"
    " source INTEGER NOT NULL, class INTEGER, status INTEGER NOT NULL CHECK (status BETWEEN 0 AND 9), phase "
    "INTEGER,"
    " blocked INTEGER, came_from INTEGER, flags INTEGER NOT NULL, priority INTEGER, complexity INTEGER,"
    " attempts_allowed INTEGER, attempts_used INTEGER, attempt INTEGER, agent INTEGER, ready_ms INTEGER,"
    " not_before_ms INTEGER, assigned_ms INTEGER, created_ms INTEGER NOT NULL, started_ms INTEGER, "
    "finished_ms INTEGER,"
    " reason TEXT, staged INTEGER);"
    "CREATE TABLE definition (task INTEGER PRIMARY KEY, title TEXT, spec BLOB);"
    "CREATE TABLE dependency (task INTEGER NOT NULL, prerequisite INTEGER NOT NULL, type INTEGER NOT NULL,"
    " PRIMARY KEY (task, prerequisite)) WITHOUT ROWID;"
    "CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER NOT NULL, type INTEGER NOT "
    "NULL,"
    " task INTEGER, attempt INTEGER, agent INTEGER, change INTEGER, detail TEXT);"
    "CREATE INDEX event_of_task ON event (task) WHERE task IS NOT NULL;"
    "CREATE TABLE attempt (task INTEGER NOT NULL, number INTEGER NOT NULL, phase INTEGER, agent INTEGER,"
    " assigned_ms INTEGER, finished_ms INTEGER, class INTEGER, used INTEGER, note TEXT, result BLOB,"
    " PRIMARY KEY (task, number)) WITHOUT ROWID;"
    "CREATE TABLE conversation (id BLOB PRIMARY KEY, low INTEGER NOT NULL, window BLOB NOT NULL, used_ms "
    "INTEGER NOT NULL)"
    " WITHOUT ROWID;",
    "CREATE TABLE account (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, class INTEGER, kind INTEGER,"
    " since_ms INTEGER, until_ms INTEGER, trips INTEGER, reason TEXT);"
    "CREATE TABLE spend (day INTEGER, agent INTEGER, attempts INTEGER, limited INTEGER, tokens INTEGER,"
    " cost_nano_usd INTEGER, PRIMARY KEY (day, agent)) WITHOUT ROWID;"
    "CREATE TABLE session (task INTEGER PRIMARY KEY, agent INTEGER NOT NULL, id TEXT NOT NULL,"
    " input INTEGER, output INTEGER, cached INTEGER, cost_nano_usd INTEGER);",
    ("ALTER TABLE task ADD COLUMN wants INTEGER; ALTER TABLE task ADD COLUMN author INTEGER;"
     "ALTER TABLE task ADD COLUMN rounds INTEGER; ALTER TABLE task ADD COLUMN stumbles INTEGER;"),
    "ALTER TABLE task ADD COLUMN trouble INTEGER;",
    "CREATE TABLE budget (scope INTEGER, name TEXT, cell INTEGER, value INTEGER NOT NULL,"
    " PRIMARY KEY (scope, name, cell)) WITHOUT ROWID;"
    "CREATE TABLE tally (scope INTEGER, name TEXT, hour INTEGER, day INTEGER, limited INTEGER, warned "
    "INTEGER,"
    " exhausted INTEGER, hour_usd INTEGER, hour_tokens INTEGER, hour_attempts INTEGER, day_usd INTEGER,"
    " day_tokens INTEGER, day_attempts INTEGER, usd INTEGER, tokens INTEGER, attempts INTEGER, e_hour_usd "
    "INTEGER,"
    " e_hour_tokens INTEGER, e_day_usd INTEGER, e_day_tokens INTEGER, e_usd INTEGER, e_tokens INTEGER,"
    " PRIMARY KEY (scope, name)) WITHOUT ROWID;"
    "CREATE TABLE estimate (kind TEXT, slot INTEGER, usd INTEGER, tokens INTEGER, PRIMARY KEY (kind, slot))"
    " WITHOUT ROWID;"
    "CREATE TABLE reservation (task INTEGER PRIMARY KEY, account TEXT NOT NULL, usd INTEGER, tokens INTEGER,"
    " attempts INTEGER);"
    "CREATE TABLE usage_window (account TEXT, name TEXT, used INTEGER, resets_ms INTEGER, seen_ms INTEGER,"
    " PRIMARY KEY (account, name)) WITHOUT ROWID;"
    "CREATE TABLE checkpoint (id INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER NOT NULL, cause TEXT NOT "
    "NULL,"
    " body BLOB NOT NULL CHECK (length (body) <= 4096));"
    "DROP TABLE spend;",
    "CREATE TABLE claim (task INTEGER PRIMARY KEY, learned INTEGER NOT NULL, globs TEXT NOT NULL);",
    ("CREATE TABLE context (number INTEGER PRIMARY KEY AUTOINCREMENT, type INTEGER NOT NULL, task INTEGER,"
     " attempt INTEGER, author TEXT, hand INTEGER NOT NULL, time_ms INTEGER NOT NULL, confidence REAL,"
     " topic TEXT, text TEXT NOT NULL, digest INTEGER NOT NULL UNIQUE);"
     "CREATE INDEX context_by_type ON context (type, number);"
     "CREATE TABLE context_link (node INTEGER NOT NULL, number INTEGER NOT NULL,"
     " PRIMARY KEY (node, number)) WITHOUT ROWID;"
     "CREATE INDEX context_link_back ON context_link (number);"
     "CREATE VIRTUAL TABLE context_words USING fts5 (topic, text, content = 'context',"
     " content_rowid = 'number', detail = none, columnsize = 0);"),
    ("CREATE TABLE account_limit (account INTEGER, place INTEGER, class INTEGER NOT NULL, kind INTEGER NOT "
     "NULL,"
     " window TEXT NOT NULL, since_ms INTEGER, until_ms INTEGER, trips INTEGER, reason TEXT,"
     " PRIMARY KEY (account, place)) WITHOUT ROWID;"
     "INSERT INTO account_limit SELECT key, 0, class, kind, '', since_ms, until_ms, trips, reason FROM "
     "account"
     " WHERE class;"
     "ALTER TABLE account DROP COLUMN class; ALTER TABLE account DROP COLUMN kind;"
     "ALTER TABLE account DROP COLUMN since_ms; ALTER TABLE account DROP COLUMN until_ms;"
     "ALTER TABLE account DROP COLUMN trips; ALTER TABLE account DROP COLUMN reason;"),
    "ALTER TABLE task ADD COLUMN epoch INTEGER;",
    /* averages of the quality of work */
    ("CREATE TABLE quality (scope INTEGER NOT NULL, name TEXT NOT NULL, average INTEGER, rounds INTEGER,"
     " PRIMARY KEY (scope, name)) WITHOUT ROWID;"),
};
#define VERSION ((int)(sizeof MIGRATIONS / sizeof MIGRATIONS[0]))

static int read_version (sqlite3 *db, int *ret_version)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2 (db, "PRAGMA user_version", -1, &statement, NULL) != SQLITE_OK)
        return -EIO;
    int r = sqlite3_step (statement) == SQLITE_ROW ? 0 : -EIO;
    *ret_version = sqlite3_column_int (statement, 0);
    sqlite3_finalize (statement);
    return r;
}

int rota_schema_version (void)
{
    return VERSION;
}

int rota_schema_migrate (sqlite3 *db, rota_error_t *error)
{
    int version;
    if (read_version (db, &version) < 0)
        return rota_error_set (error, -EIO, "can't read the schema's version: %s", sqlite3_errmsg (db));
    if (version > VERSION)
        return rota_error_set (
            error, -EPROTO,
            "the store has schema version %d, this rota knows up to %d: use the newer rota that wrote it",
            version, VERSION);
    for (; version < VERSION; version++) {
        char finish[64];
        snprintf (finish, sizeof finish, "PRAGMA user_version = %d; COMMIT", version + 1);
        if (sqlite3_exec (db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK ||
            sqlite3_exec (db, MIGRATIONS[version], NULL, NULL, NULL) != SQLITE_OK ||
            sqlite3_exec (db, finish, NULL, NULL, NULL) != SQLITE_OK) {
            rota_error_set (error, -EIO, "can't bring the schema to version %d: %s", version + 1,
                            sqlite3_errmsg (db));
            sqlite3_exec (db, "ROLLBACK", NULL, NULL, NULL);
            return -EIO;
        }
    }
    return 0;
}
