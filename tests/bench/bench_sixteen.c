/* bench_sixteen - the gains of the sixteen fixes: each taken away and in place, in one run, with the ratio.
 *
 * usage: bench_sixteen. What is taken away is a batch of one, the search without its index, the count without
 * its increments: ways that only this program takes. "claimed" is what the original said of its own. Prints
 * and never judges; ends with 1 only when something could not be measured.
 */
#include "bus/clock.h"
#include "proto/words.h"
#include "scheduler/context.h"
#include "scheduler/core.h"
#include "scheduler/health.h"
#include "scheduler/snapshots.h"
#include "scheduler/store.h"
#include "stack.h"
#include "telemetry/event_json.h"
#include "telemetry/journal.h"

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TASKS 10000
#define EVENTS_A_TASK 20

static void row (const char *what, const char *unit, double off, double on, double ratio, const char *claimed)
{
    printf ("| %s | %.4g | %.4g %s | %.3g x | %s |\n", what, off, on, unit, ratio, claimed);
    fflush (stdout);
}

static void must (bool good, const char *what)
{
    if (!good)
        bench_die (what, "it could not be measured");
}

/* ---- 2: telemetry in batches; 14: retention */

typedef struct {
    rota_file_ops_t ops;
    uint64_t writes, of_events;
    int64_t wall_ms, monotonic_ms;
} disk_t;

static ssize_t count_write (void *owner, int fd, const void *bytes, size_t size)
{
    char link[40], name[400] = "";
    snprintf (link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink (link, name, sizeof name - 1);
    ((disk_t *)owner)->writes++;
    ((disk_t *)owner)->of_events += length > 0 && strstr (name, "/events-") != NULL;
    return ROTA_FILE_OPS.write (NULL, fd, bytes, size);
}
static int64_t wall (void *owner)
{
    return ((disk_t *)owner)->wall_ms;
}
static int64_t monotonic (void *owner)
{
    return ((disk_t *)owner)->monotonic_ms;
}

static rota_journal_t *open_journal (disk_t *disk, const char *directory, size_t batch, int64_t interval_ms)
{
    rota_error_t error = {""};
    rota_journal_t *journal;
    static const uint8_t store[16] = "a store of ours";
    *disk = (disk_t){.ops = ROTA_FILE_OPS, .wall_ms = INT64_C (1795435200000), .monotonic_ms = 1000};
    disk->ops.owner = disk;
    disk->ops.write = count_write;
    const rota_journal_config_t config = {.directory = directory,
                                          .batch_records = batch,
                                          .batch_interval_ms = interval_ms,
                                          .rotate_bytes = 64 << 20,
                                          .ops = &disk->ops,
                                          .owner = disk,
                                          .wall_ms = wall,
                                          .monotonic_ms = monotonic};
    must (rota_journal_open (&config, &journal, &error) == 0, error.text);
    must (rota_journal_set_store (journal, store) == 0, "the journal's store");
    return journal;
}

static void wait_for (disk_t *disk, rota_journal_t *journal, int64_t ms)
{
    for (int64_t left = ms; left > 0;) {
        int64_t step = rota_journal_tick (journal);
        step = step < 1 ? 1 : step < left ? step : left;
        disk->monotonic_ms += step;
        disk->wall_ms += step;
        left -= step;
    }
    rota_journal_tick (journal);
}

static void append (disk_t *disk, rota_journal_t *journal, uint64_t seq)
{
    char line[200];
    int size = snprintf (line, sizeof line, "{\"time\":\"2026-11-23T12:00:00.000Z\",\"seq\":%llu}\n",
                         (unsigned long long)seq);
    must (rota_journal_append (journal, seq, disk->wall_ms, line, (size_t)size) == 1, "append");
    rota_journal_tick (journal);
}

/* 1000 events in an hour, `burst` at a time. *ret_of_events: without those of the cursor, which says after
 * each sync up to where the journal is certainly on disk. */
static double writes_in_an_hour (size_t batch, int burst, int64_t interval_ms, double *ret_of_events)
{
    char directory[BENCH_PATH_BYTES], path[BENCH_PATH_BYTES + 16];
    disk_t disk;
    bench_make_directory (directory);
    snprintf (path, sizeof path, "%s/journal", directory);
    rota_journal_t *journal = open_journal (&disk, path, batch, interval_ms);
    uint64_t seq = 0;
    while (seq < 1000) {
        for (int i = 0; i < burst; i++)
            append (&disk, journal, ++seq);
        wait_for (&disk, journal, INT64_C (3600) * burst);
    }
    rota_journal_close (&journal);
    bench_remove_directory (directory);
    *ret_of_events = (double)disk.of_events;
    return (double)disk.writes;
}

static size_t files_in (const char *path)
{
    size_t count = 0;
    DIR *directory = opendir (path);
    for (struct dirent *entry; directory && (entry = readdir (directory));)
        count += strncmp (entry->d_name, "events-", 7) == 0;
    if (directory)
        closedir (directory);
    return count;
}

static double files_after_a_year (bool retain)
{
    char directory[BENCH_PATH_BYTES], path[BENCH_PATH_BYTES + 16];
    disk_t disk;
    const rota_retention_t limits = {.age_ms = INT64_C (30) * 86400000, .total_bytes = INT64_C (1) << 40};
    bench_make_directory (directory);
    snprintf (path, sizeof path, "%s/journal", directory);
    rota_journal_t *journal = open_journal (&disk, path, 100, 5000);
    for (uint64_t day = 1; day <= 365; day++) {
        append (&disk, journal, day);
        disk.wall_ms += 86400000;
        disk.monotonic_ms += 86400000;
        while (rota_journal_tick (journal) == 0)
            ;
        if (retain)
            rota_journal_retain (journal, &limits, disk.wall_ms);
    }
    double files = (double)files_in (path);
    rota_journal_close (&journal);
    bench_remove_directory (directory);
    return files;
}

/* ---- 3, 6: what the core keeps by increment */

static rota_core_t *make_core (size_t tasks)
{
    rota_core_policy_t policy;
    const char *run = "run";
    uint32_t class_index;
    bool new;
    rota_core_policy_default (&policy);
    rota_core_t *core = rota_core_new (&policy, 1000);
    must (core && rota_core_class (core, 1, "", 0, &run, 1, &class_index, &new) == 0, "the core");
    for (size_t i = 0; i < tasks; i++) {
        char id[32];
        rota_node_t node;
        snprintf (id, sizeof id, "task-%zu", i);
        const rota_core_node_t it = {.id = id,
                                     .id_length = strlen (id),
                                     .kind = NODE (TASK),
                                     .parent = ROTA_NONE,
                                     .source = 1,
                                     .class_index = class_index,
                                     .status = STATUS (PENDING),
                                     .attempts_allowed = 3,
                                     .agent = ROTA_NONE,
                                     .author = ROTA_NONE};
        must (rota_core_add (core, &it, &node) == 0, "add");
    }
    rota_core_open (core, 0, (rota_node_t)tasks, false, 1000);
    rota_core_effects_clear (core);
    return core;
}

/* What one request costs, in microseconds. */
static double count_by_walking (const rota_core_t *core)
{
    double began = bench_now_ms ();
    int rounds = 0;
    volatile uint64_t total = 0;
    for (; bench_now_ms () - began < 300; rounds++) {
        uint64_t status[ROTA_STATUSES] = {0}, place[ROTA_PLACES] = {0};
        for (rota_node_t i = 0; i < rota_core_count (core); i++) {
            rota_core_node_t it;
            if (rota_core_get (core, i, &it)) {
                status[it.status]++;
                place[rota_core_place (core, i)]++;
            }
        }
        total += status[STATUS (PENDING)] + place[ROTA_PLACE_READY];
    }
    if (total == UINT64_MAX)
        puts ("more tasks than there can be");
    return (bench_now_ms () - began) * 1000 / rounds;
}

static double count_by_increment (const rota_core_t *core)
{
    double began = bench_now_ms ();
    int rounds = 0;
    for (; bench_now_ms () - began < 300; rounds += 1000)
        for (int i = 0; i < 1000; i++) {
            rota_core_health_t health;
            rota_core_health (core, ROTA_NONE, 1000, &health);
        }
    return (bench_now_ms () - began) * 1000 / rounds;
}

/* ---- 5: snapshots for those who watch */

typedef struct {
    rota_snapshots_t snapshots;
    uint64_t version, made_at, seen;
} watching_t;

static void make_snapshot (void *owner, uint32_t source)
{
    watching_t *self = owner;
    (void)source;
    self->made_at = self->version;
}

static void see (void *owner, const rota_watcher_t *to, bool unchanged)
{
    watching_t *self = owner;
    self->seen = unchanged ? to->version : self->made_at;
}

static void watch (watching_t *self, int64_t now_ms)
{
    const rota_snapshots_to_t to = {.owner = self, .make = make_snapshot, .answer = see};
    if (!self->snapshots.count) {
        rota_watcher_t watcher = {.version = self->seen, .until_ms = now_ms + 10000};
        rota_snapshots_wait (&self->snapshots, &watcher);
    }
    rota_snapshots_turn (&self->snapshots, self->version, now_ms, &to);
}

/* Of a minute in which something changes every ten milliseconds, by a clock of its own. */
static double snapshots_in_a_minute (int64_t interval_ms)
{
    watching_t *self = calloc (1, sizeof *self);
    must (self, "no memory");
    int64_t now_ms = 1000;
    rota_snapshots_start (&self->snapshots, interval_ms);
    for (; now_ms < 61000; now_ms += 10) {
        self->version++;
        watch (self, now_ms);
    }
    double made = (double)self->snapshots.made;
    for (; now_ms < 64000; now_ms += 10)
        watch (self, now_ms);
    must (self->seen == self->version, "the last change of the burst did not arrive");
    free (self);
    return made;
}

static double pick_by_walking (const rota_core_t *core)
{
    double began = bench_now_ms ();
    int rounds = 0;
    volatile rota_node_t found = 0;
    for (; bench_now_ms () - began < 300; rounds++) {
        int64_t best_ms = INT64_MAX;
        for (rota_node_t i = 0; i < rota_core_count (core); i++) {
            rota_core_node_t it;
            if (rota_core_place (core, i) == ROTA_PLACE_READY && rota_core_get (core, i, &it) &&
                it.ready_since_ms < best_ms) {
                best_ms = it.ready_since_ms;
                found = i;
            }
        }
    }
    (void)found;
    return (bench_now_ms () - began) * 1000 / rounds;
}

static double dispatch_one_by_one (rota_core_t *core, size_t tasks)
{
    const char *run = "run";
    rota_agent_t agent;
    const rota_core_agent_t it = {.name = "exec@here",
                                  .kind = "exec",
                                  .host = "here",
                                  .slots = 1,
                                  .capabilities = &run,
                                  .capability_count = 1};
    Rota__Result ok = ROTA__RESULT__INIT;
    ok.has_result_class = true;
    ok.result_class = RESULT (OK);
    must (rota_core_agent_register (core, &it, NULL, 0, 1000, &agent) == 0, "register");
    rota_core_effects_clear (core);
    double began = bench_now_ms ();
    for (size_t i = 0; i < tasks; i++) {
        rota_core_effects_t effects;
        rota_core_dispatch (core, 1000);
        rota_core_effects (core, &effects);
        must (effects.assign_count == 1, "dispatch");
        rota_node_t node = effects.assigns[0].node;
        uint32_t attempt = effects.assigns[0].attempt;
        rota_core_effects_clear (core);
        rota_core_report (core, node, attempt, &ok, 1000);
    }
    rota_core_effects_clear (core);
    return (bench_now_ms () - began) * 1000 / (double)tasks;
}

/* ---- 4: indexes */

static double ask (sqlite3 *db, const char *sql)
{
    sqlite3_stmt *s;
    must (sqlite3_prepare_v2 (db, sql, -1, &s, NULL) == SQLITE_OK, sqlite3_errmsg (db));
    double began = bench_now_ms ();
    int rounds = 0;
    for (; bench_now_ms () - began < 400; rounds++) {
        sqlite3_bind_int64 (s, 1, 1 + rounds * 37 % TASKS);
        while (sqlite3_step (s) == SQLITE_ROW)
            ;
        sqlite3_reset (s);
    }
    sqlite3_finalize (s);
    return (bench_now_ms () - began) * 1000 / rounds;
}

static void fill_store (rota_store_t *store)
{
    rota_error_t error = {""};
    must (rota_store_begin (store, &error) == 0, error.text);
    for (rota_node_t i = 0; i < TASKS; i++) {
        for (rota_node_t d = 1; d <= 2 && d <= i; d++)
            rota_store_add_dependency (store, i, i - d, DEPENDENCY (BLOCKS));
        for (int e = 0; e < EVENTS_A_TASK; e++) {
            const rota_core_event_t event = {
                .type = EVENT (TASK_MOVED), .node = i, .agent = ROTA_NONE, .from = 1, .to = 2};
            rota_store_add_event (store, &event, 1000);
        }
    }
    must (rota_store_commit (store, &error) == 0, error.text);
}

static void indexes (void)
{
    char directory[BENCH_PATH_BYTES], path[BENCH_PATH_BYTES + 16];
    rota_store_t *store;
    rota_error_t error = {""};
    uint64_t epoch;
    bench_make_directory (directory);
    snprintf (path, sizeof path, "%s/rota.db", directory);
    must (rota_store_open (path, &store, &error) == 0 && rota_store_take_role (store, &epoch, &error) == 0,
          error.text);
    fill_store (store);
    sqlite3 *db = rota_store_handle (store);
    /* The plus sign keeps SQLite from the index. */
    double off = ask (db, "SELECT prerequisite FROM dependency WHERE +task = ?1"),
           on = ask (db, "SELECT prerequisite FROM dependency WHERE task = ?1");
    row ("4 dependencies of a task, of 20 000", "us", off, on, off / on, "10-50 x");
    off = ask (db, "SELECT seq, change FROM event WHERE +task = ?1 ORDER BY seq DESC LIMIT 20");
    on = ask (db, "SELECT seq, change FROM event WHERE task = ?1 ORDER BY seq DESC LIMIT 20");
    row ("4 the last events of a task, of 200 000", "us", off, on, off / on, "10-50 x");
    rota_store_close (&store);
    bench_remove_directory (directory);
}

/* ---- 7: what an agent is told is gathered once for an attempt */

#define ENTRIES 5000
#define ATTEMPTS 400

static void fill_context (rota_store_t *store, rota_core_t *core)
{
    static const char *const WORDS[] = {"parser", "store", "socket", "budget",
                                        "review", "merge", "clock",  "lease"};
    const rota_definition_t definition = {.title = "the parser and the store", .title_length = 24};
    rota_error_t error = {""};
    must (rota_store_begin (store, &error) == 0, error.text);
    for (rota_node_t i = 0; i < TASKS; i++)
        rota_store_add_task (store, core, i, 0, &definition, 0, 1000);
    for (size_t i = 0; i < ENTRIES; i++) {
        char topic[64], text[200];
        bool new;
        rota_node_t about = (rota_node_t)(i % TASKS);
        snprintf (topic, sizeof topic, "%s and %s", WORDS[i % 8], WORDS[i / 8 % 8]);
        snprintf (text, sizeof text, "what was learned of the %s, number %zu: mind the %s", WORDS[i % 8], i,
                  WORDS[i / 64 % 8]);
        const rota_entry_t entry = {.type = (Rota__NoteType)(1 + i % 3),
                                    .task = about,
                                    .author = "agent",
                                    .time_ms = 1000 + (int64_t)i,
                                    .confidence = 0.9,
                                    .topic = topic,
                                    .text = text,
                                    .topic_length = strlen (topic),
                                    .text_length = strlen (text)};
        must (rota_store_add_entry (store, &entry, &about, 1, &new) > 0, "an entry");
    }
    must (rota_store_commit (store, &error) == 0, error.text);
}

/* Microseconds an attempt, gathered so many times for it. */
static double gather (const rota_gathering_t *with, int times)
{
    double began = bench_now_ms ();
    for (rota_node_t i = 0; i < ATTEMPTS; i++) {
        Rota__TaskSpec spec = ROTA__TASK_SPEC__INIT;
        spec.has_title = true;
        spec.title = rota_bytes ("the parser and the store");
        for (int n = 0; n < times; n++) {
            Rota__Context context;
            rota_context_gather (with, i, PHASE (WORK), &spec, &context);
            must (context.n_parts > 0, "the context");
        }
        rota_arena_reset (with->arena);
    }
    return (bench_now_ms () - began) * 1000 / ATTEMPTS;
}

static void told (rota_core_t *core)
{
    char directory[BENCH_PATH_BYTES], path[BENCH_PATH_BYTES + 16];
    rota_store_t *store;
    rota_settings_t *settings;
    rota_error_t error = {""};
    uint64_t epoch;
    bench_make_directory (directory);
    snprintf (path, sizeof path, "%s/rota.yaml", directory);
    FILE *file = fopen (path, "we");
    must (file && fputs ("log: {level: warning}\n", file) >= 0 && fclose (file) == 0, "settings");
    must (rota_settings_load (path, stderr, &settings, &error) == 0, error.text);
    snprintf (path, sizeof path, "%s/rota.db", directory);
    must (rota_store_open (path, &store, &error) == 0 && rota_store_take_role (store, &epoch, &error) == 0,
          error.text);
    fill_context (store, core);
    const rota_gathering_t with = {.store = store,
                                   .core = core,
                                   .settings = settings,
                                   .arena = rota_arena_new (64u << 20),
                                   .agent = ROTA_NONE,
                                   .wall_ms = 10000,
                                   .now_ms = 10000};
    gather (&with, 1); /* fills caches */
    double off = gather (&with, 2), on = gather (&with, 1);
    row ("7 what an attempt is told, of 5 000 entries: for each use, once", "us", off, on, off / on, "2 x");
    rota_arena_t *arena = with.arena;
    rota_arena_destroy (&arena);
    rota_settings_destroy (&settings);
    rota_store_close (&store);
    bench_remove_directory (directory);
}

/* ---- 1, 8, 9: nothing is left */

#define LIVES 100

/* Bytes that stay in use of each life; without, nothing that a life owned is given back at its end. */
static double bytes_left (bool give_back)
{
    rota_core_t *lives[LIVES + 1];
    size_t before = 0;
    for (int i = 0; i <= LIVES; i++) {
        lives[i] = make_core (200);
        dispatch_one_by_one (lives[i], 200);
        must (rota_core_lease_count (lives[i]) == 0, "leases");
        if (give_back)
            rota_core_destroy (&lives[i]);
        if (i == 0)
            before = mallinfo2 ().uordblks; /* the first fills caches */
    }
    double left = (double)mallinfo2 ().uordblks - (double)before;
    for (int i = 0; i <= LIVES; i++)
        rota_core_destroy (&lives[i]);
    return left / LIVES;
}

int main (void)
{
    puts ("| fix | without | with | gain | claimed |\n|---|---|---|---|---|");
    rota_settings_t *settings;
    rota_error_t error = {""};
    must (rota_settings_parse ("", "", 0, NULL, stderr, &settings, &error) == 0, error.text);
    const size_t batch = (size_t)rota_setting_integer (settings, ROTA_SETTING_TELEMETRY_BATCH_RECORDS);
    const int64_t interval_ms = rota_setting_duration_ms (settings, ROTA_SETTING_TELEMETRY_BATCH_INTERVAL);
    rota_settings_destroy (&settings);
    double off_events, on_events;
    double off = bytes_left (false), on = bytes_left (true);
    row ("1, 8, 9 bytes left of each of 100 lives of 200 tasks", "", off, on, on > 0 ? off / on : INFINITY,
         "none");
    off = writes_in_an_hour (1, 100, 5000, &off_events);
    on = writes_in_an_hour (batch, 100, interval_ms, &on_events);
    row ("2 writes of 1000 events an hour, 100 at a time", "", off_events, on_events, off_events / on_events,
         "100 x");
    row ("2 the same with those of the cursor after each sync", "", off, on, off / on, "");
    writes_in_an_hour (1, 1, 5000, &off_events);
    writes_in_an_hour (100, 1, 5000, &on_events);
    row ("2 one by one, telemetry.batch_interval: 5s", "", off_events, on_events, off_events / on_events, "");
    writes_in_an_hour (batch, 1, interval_ms, &on_events);
    row ("2 one by one", "", off_events, on_events, off_events / on_events, "100 x");
    rota_core_t *core = make_core (TASKS);
    off = count_by_walking (core), on = count_by_increment (core);
    row ("3 health of 10 000 tasks, a request", "us", off, on, off / on, "100 x");
    off = snapshots_in_a_minute (0), on = snapshots_in_a_minute (ROTA_SNAPSHOT_INTERVAL_MS);
    row ("5 snapshots in a minute of 100 changes a second", "", off, on, off / on, "50 x");
    off = pick_by_walking (core), on = dispatch_one_by_one (core, TASKS);
    row ("6 the next of 10 000 ready tasks (with: its whole life)", "us", off, on, off / on, "1 query");
    told (core);
    rota_core_destroy (&core);
    indexes ();
    off = files_after_a_year (false), on = files_after_a_year (true);
    row ("14 journal files after a year", "", off, on, off / on, "30 days");
    return 0;
}
