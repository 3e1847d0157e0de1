/* The store: what a user of store.h may rely on; and that `rota check` names each kind of corruption. */
#include "proto/words.h"
#include "scheduler/schema.h"
#include "scheduler/store.h"
#include "scheduler/store_internal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct {
    char directory[64], path[96];
    rota_store_t *store;
    rota_core_t *core;
} fixture_t;

static const uint8_t INSTANCE[16] = {1, 2, 3};

static void no_source (void *owner, uint32_t source, const char *name, size_t length, const uint8_t *header,
                       size_t size)
{
    (void)owner, (void)source, (void)name, (void)length, (void)header, (void)size;
}

static void no_conversation (void *owner, const uint8_t id[16], uint64_t low, const uint8_t *window,
                             size_t size, int64_t ms)
{
    (void)owner, (void)id, (void)low, (void)window, (void)size, (void)ms;
}

static void no_version (void *owner, rota_agent_t agent, const char *version)
{
    (void)owner, (void)agent, (void)version;
}

static const rota_store_load_t LOAD = {
    .on_source = no_source, .on_conversation = no_conversation, .on_agent_version = no_version};

static rota_core_t *new_core (void)
{
    rota_core_policy_t policy;
    rota_core_policy_default (&policy);
    return rota_core_new (&policy, 1000);
}

static int set_up (void **state)
{
    fixture_t *self = calloc (1, sizeof *self);
    rota_error_t error;
    uint64_t epoch;
    strcpy (self->directory, "/tmp/rota-store-XXXXXX");
    if (!mkdtemp (self->directory))
        return -1;
    snprintf (self->path, sizeof self->path, "%s/rota.db", self->directory);
    if (rota_store_open (self->path, &self->store, &error) < 0 ||
        rota_store_take_role (self->store, &epoch, &error) < 0) {
        print_error ("%s\n", error.text);
        return -1;
    }
    self->core = new_core ();
    *state = self;
    return 0;
}

static int tear_down (void **state)
{
    fixture_t *self = *state;
    char command[128];
    rota_store_close (&self->store);
    rota_core_destroy (&self->core);
    snprintf (command, sizeof command, "rm -rf '%s'", self->directory);
    int r = system (command);
    free (self);
    return r;
}

/* ------------------------------------------------------------------------------------- a small world */

static rota_node_t add (fixture_t *self, const char *id, Rota__NodeKind kind, rota_node_t parent,
                        uint64_t staged)
{
    const char *run = "run";
    uint32_t class_index;
    bool new;
    rota_node_t node;
    rota_core_node_t given = {.id = id,
                              .id_length = strlen (id),
                              .kind = kind,
                              .parent = parent,
                              .source = 1,
                              .status = kind == NODE (TASK) ? STATUS (PENDING) : 0,
                              .attempts_allowed = 3};
    assert_int_equal (rota_core_class (self->core, 1, "", 0, &run, 1, &class_index, &new), 0);
    given.class_index = class_index;
    assert_int_equal (rota_core_add (self->core, &given, &node), 0);
    rota_definition_t definition = {
        .title = "a title", .title_length = 7, .spec = (const uint8_t *)"x", .spec_size = 1};
    if (new)
        rota_store_set_class (self->store, self->core, class_index);
    rota_store_add_task (self->store, self->core, node, 0, &definition, staged, 5000);
    return node;
}

static void begin (fixture_t *self)
{
    rota_error_t error;
    if (rota_store_begin (self->store, &error) < 0)
        fail_msg ("%s", error.text);
}

static void commit (fixture_t *self)
{
    rota_error_t error;
    if (rota_store_commit (self->store, &error) < 0)
        fail_msg ("%s", error.text);
}

static void apply (fixture_t *self)
{
    rota_core_effects_t effects;
    rota_core_effects (self->core, &effects);
    for (size_t i = 0; i < effects.dirty_count; i++)
        rota_store_set_task (self->store, self->core, effects.dirty[i], 6000);
    for (size_t i = 0; i < effects.ended_count; i++)
        rota_store_add_attempt (self->store, &effects.ended[i], 6000);
    for (size_t i = 0; i < effects.event_count; i++)
        assert_true (rota_store_add_event (self->store, &effects.events[i], 6000) > 0);
    rota_core_effects_clear (self->core);
}

/* An epic with two tasks, b after a; a done, b running on an agent. */
static void make_world (fixture_t *self)
{
    begin (self);
    rota_store_set_source (self->store, 1, "plan", 4, NULL, 0);
    rota_node_t epic = add (self, "E", NODE (EPIC), ROTA_NONE, 0);
    rota_node_t a = add (self, "a", NODE (TASK), epic, 0), b = add (self, "b", NODE (TASK), epic, 0);
    assert_int_equal (rota_core_link (self->core, a, b), 0);
    rota_store_add_dependency (self->store, b, a, DEPENDENCY (BLOCKS));
    rota_core_open (self->core, 0, 3, false, 1000);
    const char *run = "run";
    rota_core_agent_t agent = {.name = "exec@here",
                               .kind = "exec",
                               .host = "here",
                               .slots = 1,
                               .capabilities = &run,
                               .capability_count = 1};
    memcpy (agent.instance, INSTANCE, 16);
    rota_agent_t index;
    assert_int_equal (rota_core_agent_register (self->core, &agent, NULL, 0, 1000, &index), 0);
    rota_store_set_agent (self->store, self->core, index, "1");
    rota_core_dispatch (self->core, 1000);
    Rota__Result ok = ROTA__RESULT__INIT;
    ok.has_result_class = true;
    ok.result_class = RESULT (OK);
    assert_int_equal (rota_core_report (self->core, a, 1, &ok, 1100), 0);
    rota_core_dispatch (self->core, 1100);
    apply (self);
    commit (self);
}

static rota_core_t *reload (fixture_t *self)
{
    rota_error_t error;
    rota_core_t *core = new_core ();
    if (rota_store_load (self->store, core, &LOAD, 2000, &error) < 0)
        fail_msg ("%s", error.text);
    if (rota_core_verify (core, &error) < 0)
        fail_msg ("%s", error.text);
    return core;
}

/* ----------------------------------------------------------------------------------------------- tests */

static void the_core_is_rebuilt_as_it_was (void **state)
{
    fixture_t *self = *state;
    make_world (self);
    rota_core_t *again = reload (self);
    assert_int_equal (rota_core_count (again), 3);
    rota_core_node_t before = {0}, after = {0};
    for (rota_node_t i = 0; i < 3; i++) {
        assert_true (rota_core_get (self->core, i, &before) && rota_core_get (again, i, &after));
        assert_int_equal (before.id_length, after.id_length);
        assert_memory_equal (before.id, after.id, before.id_length);
        assert_int_equal (before.status, after.status);
        assert_int_equal (before.phase, after.phase);
        assert_int_equal (before.attempt, after.attempt);
        assert_int_equal (before.attempts_used, after.attempts_used);
        assert_int_equal (before.agent, after.agent);
        assert_int_equal (rota_core_place (self->core, i), rota_core_place (again, i));
    }
    assert_int_equal (rota_core_lease_count (again), 1);
    rota_core_destroy (&again);
}

static void what_a_task_failed_of_outlives_the_scheduler (void **state)
{
    fixture_t *self = *state;
    make_world (self);
    Rota__Result failed = ROTA__RESULT__INIT;
    failed.has_result_class = true;
    failed.result_class = RESULT (FAILED);
    rota_node_t node = 0;
    while (rota_core_place (self->core, node) != ROTA_PLACE_RUNNING)
        node++;
    assert_int_equal (rota_core_report (self->core, node, 1, &failed, 1200), 0);
    assert_int_equal (rota_core_same_errors (self->core, node), 1);
    begin (self);
    apply (self);
    commit (self);
    rota_core_t *again = reload (self);
    assert_int_equal (rota_core_trouble (again, node), rota_core_trouble (self->core, node));
    rota_core_destroy (&again);
}

/* A definition that was read for an assignment held a snapshot, and the WAL grew for as long as work went on.
 */
static void what_was_read_last_does_not_keep_the_wal_from_being_moved (void **state)
{
    fixture_t *self = *state;
    rota_definition_t definition;
    make_world (self);
    rota_store_set_wal_limit (self->store, 1);
    assert_true (rota_store_wal_bytes (self->store) > 0);
    assert_int_equal (rota_store_definition (self->store, rota_core_find (self->core, "b", 1), &definition),
                      0);
    begin (self);
    rota_store_set_number (self->store, "some", 1);
    commit (self);
    rota_store_checkpoint (self->store, false);
    assert_int_equal (rota_store_wal_bytes (self->store), 0);
}

static int64_t ready_since (const rota_core_t *core, rota_node_t node)
{
    rota_core_node_t it;
    assert_true (rota_core_get (core, node, &it));
    assert_int_equal (rota_core_place (core, node), ROTA_PLACE_READY);
    return it.ready_since_ms;
}

/* Becoming ready writes no row: a restart put such tasks before all that had become ready before them. */
static void who_became_ready_keeps_its_turn_when_the_scheduler_starts_again (void **state)
{
    fixture_t *self = *state;
    make_world (self); /* a ended at 6000 */
    begin (self);
    rota_node_t first = add (self, "first", NODE (TASK), ROTA_NONE, 0);
    rota_node_t after_a = add (self, "after-a", NODE (TASK), ROTA_NONE, 0);
    rota_node_t group = add (self, "G", NODE (EPIC), ROTA_NONE, 0);
    rota_node_t inside = add (self, "inside", NODE (TASK), group, 0);
    rota_node_t a = rota_core_find (self->core, "a", 1);
    assert_int_equal (rota_core_link (self->core, a, after_a), 0);
    assert_int_equal (rota_core_link (self->core, a, group), 0);
    rota_store_add_dependency (self->store, after_a, a, DEPENDENCY (BLOCKS));
    rota_store_add_dependency (self->store, group, a, DEPENDENCY (BLOCKS));
    rota_core_open (self->core, first, inside + 1, false, 1200);
    apply (self);
    commit (self);
    rota_core_t *again = reload (self);
    assert_true (ready_since (again, first) < 6000);
    assert_int_equal (ready_since (again, after_a), 6000);
    assert_int_equal (ready_since (again, inside), 6000);
    rota_core_destroy (&again);
}

static void a_newer_schema_is_refused (void **state)
{
    fixture_t *self = *state;
    rota_error_t error;
    rota_store_t *store;
    char sql[64];
    snprintf (sql, sizeof sql, "PRAGMA user_version = %d", rota_schema_version () + 1);
    assert_int_equal (sqlite3_exec (rota_store_handle (self->store), sql, NULL, NULL, NULL), SQLITE_OK);
    rota_store_close (&self->store);
    assert_int_equal (rota_store_open (self->path, &store, &error), -EPROTO);
    assert_non_null (strstr (error.text, "newer rota"));
}

static void what_is_no_database_is_refused (void **state)
{
    fixture_t *self = *state;
    rota_error_t error;
    rota_store_t *store;
    char path[128];
    snprintf (path, sizeof path, "%s/no.db", self->directory);
    FILE *file = fopen (path, "w");
    for (int i = 0; i < 1000; i++)
        fputs ("this is no database\n", file);
    fclose (file);
    assert_true (rota_store_open (path, &store, &error) < 0);
    assert_non_null (strstr (error.text, "no.db"));
}

static void the_file_is_closed_to_others (void **state)
{
    fixture_t *self = *state;
    struct stat status;
    assert_int_equal (stat (self->path, &status), 0);
    assert_int_equal (status.st_mode & 0777, 0600);
}

static void an_older_epoch_can_write_nothing (void **state)
{
    fixture_t *self = *state;
    rota_error_t error;
    rota_store_t *second;
    uint64_t epoch;
    make_world (self);
    assert_int_equal (rota_store_open (self->path, &second, &error), 0);
    assert_int_equal (rota_store_take_role (second, &epoch, &error), 0);
    assert_int_equal (epoch, 2);
    assert_int_equal (rota_store_begin (self->store, &error), -ESTALE);
    assert_int_equal (rota_store_begin (second, &error), 0);
    rota_store_rollback (second);
    rota_store_close (&second);
}

static void staged_rows_are_invisible_and_go_with_the_next_load (void **state)
{
    fixture_t *self = *state;
    make_world (self);
    begin (self);
    add (self, "staged", NODE (TASK), ROTA_NONE, 1);
    commit (self);
    assert_int_equal (rota_store_count (self->store, "task"), 4);
    rota_core_t *again = reload (self);
    assert_int_equal (rota_core_find (again, "staged", 6), ROTA_NONE);
    assert_int_equal (rota_store_count (self->store, "task"), 3);
    assert_int_equal (rota_store_count (self->store, "definition"), 3);
    rota_core_destroy (&again);
}

static void one_row_shows_a_generation (void **state)
{
    fixture_t *self = *state;
    make_world (self);
    begin (self);
    add (self, "staged", NODE (TASK), ROTA_NONE, 1);
    rota_store_show_generation (self->store, 1);
    commit (self);
    rota_core_t *again = reload (self);
    assert_int_equal (rota_core_find (again, "staged", 6), 3);
    rota_core_destroy (&again);
}

/* Each statement that serves must search by key or index; each index must be what some statement uses. */
static void no_statement_scans_and_every_index_is_used (void **state)
{
    static const struct {
        const char *name, *plan, *sql;
    } statements[] = {
#define STATEMENT(NAME, PLAN, sql) {#NAME, #PLAN, sql},
#include "scheduler/statements.def"
    };
    fixture_t *self = *state;
    static char plans[65536];
    size_t length = 0;
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        char *explain = sqlite3_mprintf ("EXPLAIN QUERY PLAN %s", statements[i].sql);
        sqlite3_stmt *plan;
        assert_int_equal (sqlite3_prepare_v2 (rota_store_handle (self->store), explain, -1, &plan, NULL),
                          SQLITE_OK);
        while (sqlite3_step (plan) == SQLITE_ROW) {
            const char *step = (const char *)sqlite3_column_text (plan, 3);
            length += (size_t)snprintf (plans + length, sizeof plans - length, "%s\n", step);
            assert_true (length < sizeof plans);
            bool whole = strncmp (step, "SCAN", 4) == 0 && !strstr (statements[i].sql, "LIMIT 1");
            if (strcmp (statements[i].plan, "SCAN") != 0 && (whole || strstr (step, "TEMP B-TREE")))
                fail_msg ("%s: %s", statements[i].name, step);
        }
        sqlite3_finalize (plan);
        sqlite3_free (explain);
    }
    sqlite3_stmt *indexes;
    const char *sql = "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL";
    assert_int_equal (sqlite3_prepare_v2 (rota_store_handle (self->store), sql, -1, &indexes, NULL),
                      SQLITE_OK);
    size_t count = 0;
    for (; sqlite3_step (indexes) == SQLITE_ROW; count++)
        if (!strstr (plans, (const char *)sqlite3_column_text (indexes, 0)))
            fail_msg ("no statement uses the index %s", (const char *)sqlite3_column_text (indexes, 0));
    assert_true (count > 0);
    sqlite3_finalize (indexes);
}

static bool count_event (void *owner, const rota_stored_event_t *event)
{
    (void)event;
    ++*(size_t *)owner;
    return true;
}

static void trimming_never_passes_the_cursor_but_over_the_cap (void **state)
{
    fixture_t *self = *state;
    uint64_t gap[2];
    size_t left = 0;
    begin (self);
    for (int i = 0; i < 100; i++) {
        rota_core_event_t event = {.type = EVENT (CONTROL), .node = ROTA_NONE, .agent = ROTA_NONE};
        rota_store_add_event (self->store, &event, i < 50 ? 1000 : 9000);
    }
    assert_int_equal (rota_store_trim_events (self->store, 5000, 0, 30, 1000, gap), 30);
    assert_int_equal (gap[1], 0);
    assert_int_equal (rota_store_trim_events (self->store, 5000, 0, 30, 1000, gap), 0);
    assert_int_equal (rota_store_trim_events (self->store, 0, 10, 30, 1000, gap), 90);
    assert_int_equal (gap[0], 31);
    assert_int_equal (gap[1], 90);
    commit (self);
    rota_store_events (self->store, 0, 1000, ROTA_NONE, false, count_event, &left);
    assert_int_equal (left, 10);
}

/* Each call takes what it is allowed and no more; together they take all. */
static void old_events_go_in_slices (void **state)
{
    enum { EVENTS = 20000, YOUNG = 10 };
    fixture_t *self = *state;
    uint64_t gap[2], last, before = 0;
    begin (self);
    for (int i = 0; i < EVENTS + YOUNG; i++) {
        rota_core_event_t event = {.type = EVENT (CONTROL), .node = ROTA_NONE, .agent = ROTA_NONE};
        rota_store_add_event (self->store, &event, i < EVENTS ? 1000 : 9000);
    }
    int calls = 0;
    while ((last = rota_store_trim_events (self->store, 5000, 0, UINT64_MAX, ROTA_TRIM_EVENTS, gap))) {
        assert_in_range (last - before, 1, ROTA_TRIM_EVENTS);
        assert_int_equal (rota_store_count (self->store, "event"), EVENTS + YOUNG - last);
        before = last;
        calls++;
    }
    assert_int_equal (before, EVENTS);
    assert_int_equal (calls, EVENTS / ROTA_TRIM_EVENTS);
    /* What is over the cap goes in slices too. */
    assert_int_equal (rota_store_trim_events (self->store, 0, 1, UINT64_MAX, 6, gap), EVENTS + 6);
    assert_int_equal (rota_store_trim_events (self->store, 0, 1, UINT64_MAX, 6, gap), EVENTS + YOUNG - 1);
    assert_int_equal (rota_store_trim_events (self->store, 0, 1, UINT64_MAX, 6, gap), 0);
    commit (self);
}

static uint64_t attempts_of (fixture_t *self, const char *where)
{
    char sql[160];
    sqlite3_stmt *s;
    snprintf (sql, sizeof sql, "SELECT count(*) FROM attempt WHERE task = 2 AND %s", where);
    assert_int_equal (sqlite3_prepare_v2 (rota_store_handle (self->store), sql, -1, &s, NULL), SQLITE_OK);
    assert_int_equal (sqlite3_step (s), SQLITE_ROW);
    uint64_t count = (uint64_t)sqlite3_column_int64 (s, 0);
    sqlite3_finalize (s);
    return count;
}

/* One that is reopened and succeeds, again and again: what it did long ago doesn't stay for ever, whether it
 * has just ended or waits for its next turn. */
static void attempts_of_a_task_that_recurs_go_by_age_too (void **state)
{
    enum { ATTEMPTS = 3000 };
    fixture_t *self = *state;
    static const char *const STATES[] = {"finished_ms = NULL, status = 1", "finished_ms = 5000",
                                         "finished_ms = 1000"};
    make_world (self);
    for (int i = 0; i < 3; i++) {
        char sql[600];
        size_t dropped, all = 0;
        int calls = 0;
        /* The work was done at last long ago, reviews go on, the newest of them are young. */
        snprintf (sql, sizeof sql,
                  "DELETE FROM attempt;"
                  "UPDATE task SET attempt = %d, %s WHERE key = 2;"
                  "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
                  " INSERT INTO attempt (task, number, phase, class, finished_ms)"
                  " SELECT 2, i, iif (i <= 7, 1, 3), 1, iif (i > %d, 9000, 900) FROM n;",
                  ATTEMPTS, STATES[i], ATTEMPTS, ATTEMPTS - 5);
        assert_int_equal (sqlite3_exec (rota_store_handle (self->store), sql, NULL, NULL, NULL), SQLITE_OK);
        begin (self);
        for (uint64_t after = 0; after < 3; calls++) {
            uint64_t last = rota_store_trim_attempts (self->store, after, 2000, ROTA_SWEEP_TASKS, &dropped);
            assert_true (dropped <= ROTA_TRIM_ATTEMPTS);
            all += dropped;
            after = dropped >= ROTA_TRIM_ATTEMPTS ? last : after + ROTA_SWEEP_TASKS;
        }
        commit (self);
        size_t newest = i < 2 ? ROTA_ATTEMPTS_LOOKED_AT : 5;
        assert_int_equal (attempts_of (self, "1"), newest + 1);
        assert_int_equal (all, ATTEMPTS - newest - 1);
        assert_int_equal (attempts_of (self, "number = 7"), 1);
        assert_int_equal (calls, 2);
    }
}

static void attempts_of_ended_tasks_go_by_age_but_for_the_newest_and_the_last_that_succeeded (void **state)
{
    fixture_t *self = *state;
    size_t dropped;
    make_world (self);
    static const char sql[] =
        "DELETE FROM attempt;"
        "UPDATE task SET attempt = 5, finished_ms = 1000 WHERE id = 'a';"
        "UPDATE task SET attempt = 3 WHERE id = 'b';"
        "INSERT INTO attempt (task, number, class, finished_ms)"
        " VALUES (2,1,1,900), (2,2,1,900), (2,3,2,900), (2,4,2,5000), (2,5,2,900), (3,1,2,900), (3,2,2,900)";
    assert_int_equal (sqlite3_exec (rota_store_handle (self->store), sql, NULL, NULL, NULL), SQLITE_OK);
    begin (self);
    assert_int_equal (rota_store_trim_attempts (self->store, 0, 800, 100, &dropped), 3);
    assert_int_equal (dropped, 0);
    assert_int_equal (rota_store_trim_attempts (self->store, 2, 2000, 100, &dropped), 3);
    assert_int_equal (dropped, 0); /* b has not ended */
    assert_int_equal (rota_store_trim_attempts (self->store, 0, 2000, 2, &dropped), 2);
    assert_int_equal (dropped, 2); /* 2 succeeded last, 4 is young, 5 is the newest */
    commit (self);
    assert_int_equal (rota_store_count (self->store, "attempt"), 5);
    assert_int_equal (rota_store_trim_attempts (self->store, 3, 2000, 100, &dropped), 0);
}

static void a_backup_is_a_store_and_restoring_it_is_a_new_incarnation (void **state)
{
    fixture_t *self = *state;
    rota_error_t error;
    rota_backup_t *backup;
    char path[128], target[128];
    uint8_t incarnation[16];
    snprintf (path, sizeof path, "%s/backup.db", self->directory);
    snprintf (target, sizeof target, "%s/target.db", self->directory);
    make_world (self);
    memcpy (incarnation, rota_store_incarnation (self->store), 16);
    assert_int_equal (rota_backup_start (self->store, path, &backup, &error), 0);
    int r;
    while ((r = rota_backup_step (backup, &error)) == 0)
        ;
    assert_int_equal (r, 1);
    assert_true (rota_backup_size (backup) > 0);
    rota_backup_destroy (&backup);
    if (rota_store_restore (path, target, &error) < 0)
        fail_msg ("%s", error.text);
    rota_store_close (&self->store);
    assert_int_equal (rota_store_open (target, &self->store, &error), 0);
    assert_memory_not_equal (incarnation, rota_store_incarnation (self->store), 16);
    rota_core_t *again = reload (self);
    assert_int_equal (rota_core_count (again), 3);
    rota_core_destroy (&again);
    assert_true (rota_store_restore ("/dev/null", target, &error) < 0);
}

/* ------------------------------------------------------------------------------------- check, corrupted */

typedef struct {
    char text[8192];
    size_t count;
} faults_t;

static void collect (void *owner, const char *fault)
{
    faults_t *faults = owner;
    strncat (faults->text, fault, sizeof faults->text - strlen (faults->text) - 2);
    strcat (faults->text, "\n");
    faults->count++;
}

static void check_finds (fixture_t *self, faults_t *faults)
{
    rota_error_t error;
    if (rota_store_check (self->store, self->core, collect, faults, &error) < 0)
        fail_msg ("%s", error.text);
}

static void a_sound_store_has_no_faults (void **state)
{
    fixture_t *self = *state;
    faults_t faults = {0};
    make_world (self);
    check_finds (self, &faults);
    if (faults.count)
        fail_msg ("%s", faults.text);
}

static void check_names_each_corruption (void **state)
{
    static const struct {
        const char *sql, *says;
    } corruptions[] = {
        {"UPDATE task SET id = 'a' WHERE id = 'b'", "the id is there twice: a"},
        {"UPDATE task SET parent = 99 WHERE id = 'a'", "group that isn't there"},
        {"DELETE FROM definition WHERE task = 2", "has no definition"},
        {"INSERT INTO definition (task) VALUES (77)", "belongs to no task: key 77"},
        {"INSERT INTO dependency VALUES (3, 88, 1)", "a dependency belongs to no task"},
        {"INSERT INTO attempt (task, number) VALUES (66, 1)", "an attempt belongs to no task"},
        {"INSERT INTO attempt (task, number) VALUES (2, 9)", "greater number than its newest"},
        {"UPDATE task SET attempts_used = 9 WHERE id = 'a'", "more attempts than it was given"},
        {"UPDATE task SET agent = NULL WHERE id = 'b'", "no agent holds it"},
        {"UPDATE task SET agent = 1 WHERE id = 'a'", "is not in progress"},
        {"UPDATE task SET agent = 9 WHERE id = 'b'", "an agent that isn't there"},
        {"UPDATE task SET finished_ms = NULL WHERE id = 'a'", "ended without a time"},
        {"UPDATE task SET status = 8 WHERE id = 'a'", "the event log says"},
        {"UPDATE task SET attempt = 5 WHERE id = 'b'", "in memory"},
        {"DELETE FROM attempt; DELETE FROM event WHERE task = 2", "no attempt of it succeeded"},
        {"UPDATE event SET change = 38 WHERE type = 3 AND task = 2 AND attempt = 1", "which is no move"},
        {"INSERT INTO event (time_ms, type, task, change) VALUES (1, 3, 2, 33)",
         "moved from pending, but was done"},
    };
    for (size_t i = 0; i < sizeof corruptions / sizeof corruptions[0]; i++) {
        fixture_t *self = NULL;
        faults_t faults = {0};
        assert_int_equal (set_up ((void **)&self), 0);
        make_world (self);
        assert_int_equal (
            sqlite3_exec (rota_store_handle (self->store), corruptions[i].sql, NULL, NULL, NULL), SQLITE_OK);
        check_finds (self, &faults);
        if (!strstr (faults.text, corruptions[i].says))
            fail_msg ("%s\nshould give \"%s\", gave: %s", corruptions[i].sql, corruptions[i].says,
                      faults.text);
        tear_down ((void **)&self);
    }
    (void)state;
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, set_up, tear_down)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (the_core_is_rebuilt_as_it_was),
        TEST (what_a_task_failed_of_outlives_the_scheduler),
        TEST (what_was_read_last_does_not_keep_the_wal_from_being_moved),
        TEST (who_became_ready_keeps_its_turn_when_the_scheduler_starts_again),
        TEST (a_newer_schema_is_refused),
        TEST (what_is_no_database_is_refused),
        TEST (the_file_is_closed_to_others),
        TEST (an_older_epoch_can_write_nothing),
        TEST (staged_rows_are_invisible_and_go_with_the_next_load),
        TEST (one_row_shows_a_generation),
        TEST (no_statement_scans_and_every_index_is_used),
        TEST (trimming_never_passes_the_cursor_but_over_the_cap),
        TEST (old_events_go_in_slices),
        TEST (attempts_of_ended_tasks_go_by_age_but_for_the_newest_and_the_last_that_succeeded),
        TEST (attempts_of_a_task_that_recurs_go_by_age_too),
        TEST (a_backup_is_a_store_and_restoring_it_is_a_new_incarnation),
        TEST (a_sound_store_has_no_faults),
        cmocka_unit_test (check_names_each_corruption),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
