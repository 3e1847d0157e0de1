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
 * attempt       attempts that ended; the running one is in the task's row; `result` is a packed Result
 * account       what a provider counts its limits for, and why it is closed
 * spend         what an agent used on a day (UTC, days since 1970); cost NULL = never said
 * session       the program's session of an attempt that was cut short, and what it had used by then
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
