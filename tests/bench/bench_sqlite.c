/* bench_sqlite - the other yardstick: the life of tasks in bare SQLite, without queue, checks or processes.
 *
 *     bench_sqlite [N [BATCH]]
 *
 * The same texts as bench_flow's tasks, integer keys, one index; a task is inserted with two dependencies and
 * an event, then updated twice with an event each; BATCH tasks' steps a commit, each commit synced. Prints
 * one JSON object.
 */
#include "tests/bench/stack.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

enum { ADD_TASK, ADD_DEPENDENCY, ADD_EVENT, MOVE_TASK, STATEMENTS };
static const char *const SQL[] = {
    "INSERT INTO task (key, id, status, title, run) VALUES (?1, ?2, 1, ?3, ?4)",
    "INSERT INTO dependency VALUES (?1, ?2, 1)",
    "INSERT INTO event (time_ms, type, task, change) VALUES (1795423000000, 1, ?1, 18)",
    "UPDATE task SET status = ?2, attempt = 1, agent = 1, assigned_ms = 1795423000000 WHERE key = ?1",
};
static const char RUN[] = "make -C modules step && ./check --all --quietly";
static const char SCHEMA[] =
    "PRAGMA auto_vacuum = NONE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
    "PRAGMA secure_delete = OFF; PRAGMA cache_size = -65536;"
    "CREATE TABLE task (key INTEGER PRIMARY KEY, id TEXT, status INTEGER, title TEXT, run TEXT, attempt "
    "INTEGER,"
    " agent INTEGER, assigned_ms INTEGER);"
    "CREATE TABLE dependency (task INTEGER, prerequisite INTEGER, type INTEGER, PRIMARY KEY (task, "
    "prerequisite))"
    " WITHOUT ROWID;"
    "CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER, type INTEGER, task INTEGER,"
    " change INTEGER);"
    "CREATE INDEX event_of_task ON event (task)";

static sqlite3 *db;
static sqlite3_stmt *statements[STATEMENTS];

static void must (int code)
{
    if (code != SQLITE_OK && code != SQLITE_DONE && code != SQLITE_ROW)
        bench_die ("sqlite", sqlite3_errmsg (db));
}

static void run (int statement, int64_t first, int64_t second)
{
    sqlite3_stmt *s = statements[statement];
    must (sqlite3_bind_int64 (s, 1, first));
    if (sqlite3_bind_parameter_count (s) > 1 && statement != ADD_TASK)
        must (sqlite3_bind_int64 (s, 2, second));
    must (sqlite3_step (s));
    must (sqlite3_reset (s));
}

static void add_task (size_t i)
{
    char id[32], title[64];
    snprintf (id, sizeof id, "task-%07zu", i);
    snprintf (title, sizeof title, "Step %zu of a plan that is worked to its end", i);
    must (sqlite3_bind_text (statements[ADD_TASK], 2, id, -1, SQLITE_TRANSIENT));
    must (sqlite3_bind_text (statements[ADD_TASK], 3, title, -1, SQLITE_TRANSIENT));
    must (sqlite3_bind_text (statements[ADD_TASK], 4, RUN, -1, SQLITE_STATIC));
    run (ADD_TASK, (int64_t)i + 1, 0);
    for (size_t d = 1000; d <= 2000 && d <= i; d += 1000)
        run (ADD_DEPENDENCY, (int64_t)i + 1, (int64_t)(i + 1 - d));
}

/* Step 0 adds, 1 assigns, 2 finishes. */
static void live (size_t count, size_t batch)
{
    for (size_t done = 0; done < count; done += batch)
        for (int step = 0; step < 3; step++) {
            must (sqlite3_exec (db, "BEGIN IMMEDIATE", NULL, NULL, NULL));
            for (size_t i = done; i < done + batch && i < count; i++) {
                if (step == 0)
                    add_task (i);
                else
                    run (MOVE_TASK, (int64_t)i + 1, step == 1 ? 2 : 6);
                run (ADD_EVENT, (int64_t)i + 1, 0);
            }
            must (sqlite3_exec (db, "COMMIT", NULL, NULL, NULL));
        }
}

int main (int argc, char **argv)
{
    size_t count = argc > 1 ? strtoull (argv[1], NULL, 10) : 20000;
    size_t batch = argc > 2 ? strtoull (argv[2], NULL, 10) : 100;
    char directory[BENCH_PATH_BYTES], path[BENCH_PATH_BYTES + 16];
    if (batch == 0) {
        fputs ("usage: bench_sqlite [N [BATCH]]\n", stderr);
        return 2;
    }
    bench_make_directory (directory);
    snprintf (path, sizeof path, "%s/bare.db", directory);
    must (sqlite3_open (path, &db));
    must (sqlite3_exec (db, SCHEMA, NULL, NULL, NULL));
    for (int i = 0; i < STATEMENTS; i++)
        must (sqlite3_prepare_v2 (db, SQL[i], -1, &statements[i], NULL));
    double begun_ms = bench_now_ms ();
    live (count, batch);
    double took_s = (bench_now_ms () - begun_ms) / 1e3;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize (statements[i]);
    must (sqlite3_close (db));
    bench_remove_directory (directory);
    printf (
        "{\"bench\": \"sqlite\", \"tasks\": %zu, \"batch\": %zu, \"seconds\": %.3f, \"tasks_per_s\": %.0f}\n",
        count, batch, took_s, (double)count / took_s);
    return 0;
}
