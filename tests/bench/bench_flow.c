/* bench_flow - what the whole path costs: submit, durable, broker, agent, durable done.
 *
 *     bench_flow BIN_DIR throughput|idle|chain|fanout [N]
 *
 * Starts rota-broker and rota-scheduler from BIN_DIR on a fresh state directory, plays the client and an
 * agent whose work is nothing (it reports ok at once), and prints one JSON object. `baseline N` runs the same
 * life cycle in bare SQLite: integer keys, one event index, a commit per 100 tasks, as perf.md describes it.
 * Figures, never pass or fail.
 */
#include "bus/client.h"
#include "bus/clock.h"
#include "bus/names.h"
#include "bus/rundir.h"
#include "proto/words.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SUBMIT_TASKS 1000
#define SUBMITS_IN_FLIGHT 4
#define SLOTS 4000
#define DISTANCE 1000 /* throughput: a task waits for the ones so far and twice so far before it */

extern char **environ;

typedef struct {
    char directory[64];
    pid_t broker, scheduler;
    rota_client_t *client;
    rota_peer_t *agent;
    size_t total, submitted, acknowledged, in_flight, done;
    size_t dependencies; /* of each task, on those `distance` and twice as far before it */
    size_t distance;
    size_t after_first; /* all wait for task 0 */
} bench_t;

static pid_t children[2]; /* ended with us, whatever happens */

static double now_ms (void)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void die (const char *what, const char *why)
{
    fprintf (stderr, "bench_flow: %s: %s\n", what, why);
    for (int i = 0; i < 2; i++)
        if (children[i])
            kill (children[i], SIGKILL);
    exit (1);
}

/* ---------------------------------------------------------------------------------------- services */

static pid_t start (const char *bin, const char *name, const char *state)
{
    char path[512];
    snprintf (path, sizeof path, "%s/%s", bin, name);
    char *argv[] = {path,
                    (char *)(uintptr_t) "--state",
                    (char *)(uintptr_t)state,
                    (char *)(uintptr_t) "--log-level",
                    (char *)(uintptr_t) "error",
                    NULL};
    pid_t pid;
    int r = posix_spawn (&pid, path, NULL, NULL, argv, environ);
    if (r)
        die (path, strerror (r));
    return pid;
}

static void stop (pid_t pid)
{
    kill (pid, SIGTERM);
    waitpid (pid, NULL, 0);
}

/* ------------------------------------------------------------------------------------------- agent */

static void ignore_reply (void *owner, void *context, const rota_reply_t *reply)
{
    (void)context;
    bench_t *self = owner;
    if (reply->status || reply->envelope->type != ROTA_MESSAGE_REPORT_REPLY)
        return;
    Rota__ReportReply *answer = rota__report_reply__unpack (NULL, reply->size_bytes, reply->body);
    if (!answer)
        return;
    self->done += answer->n_reports;
    rota__report_reply__free_unpacked (answer, NULL);
    if (self->client)
        rota_client_wake (self->client);
}

static void registered (void *owner, void *context, const rota_reply_t *reply)
{
    (void)context;
    bench_t *self = owner;
    if (reply->status == 0 && reply->envelope->type == ROTA_MESSAGE_REGISTERED)
        rota_client_wake (self->client);
}

static void on_agent_state (void *owner, rota_peer_state_t state, const Rota__Welcome *welcome,
                            const char *why)
{
    (void)welcome;
    (void)why;
    bench_t *self = owner;
    if (state != ROTA_PEER_READY)
        return;
    Rota__Register it = ROTA__REGISTER__INIT;
    ProtobufCBinaryData capability = rota_bytes ("run");
    it.has_name = it.has_kind = it.has_slots = true;
    it.name = rota_bytes ("bench");
    it.kind = rota_bytes ("exec");
    it.slots = SLOTS;
    it.n_capabilities = 1;
    it.capabilities = &capability;
    if (rota_peer_request (self->agent, ROTA_MESSAGE_REGISTER, NULL, &it.base, 10000, registered, NULL) < 0)
        die ("register", "no room");
}

static void on_agent_message (void *owner, const rota_envelope_t *envelope, const uint8_t *body, size_t size)
{
    bench_t *self = owner;
    if (envelope->type != ROTA_MESSAGE_ASSIGN)
        return;
    Rota__PackedAssign *assign = rota__packed_assign__unpack (NULL, size, body);
    if (!assign)
        return;
    size_t count = assign->n_assignments;
    Rota__Report report = ROTA__REPORT__INIT;
    Rota__AttemptReport *items = calloc (count + 1, sizeof *items), **list = calloc (count + 1, sizeof *list);
    Rota__Result ok = ROTA__RESULT__INIT;
    ok.has_result_class = true;
    ok.result_class = RESULT (OK);
    if (!items || !list)
        die ("agent", "no memory");
    for (size_t i = 0; i < count; i++) {
        rota__attempt_report__init (&items[i]);
        items[i].has_key = items[i].has_attempt = true;
        items[i].key = assign->assignments[i]->key;
        items[i].attempt = assign->assignments[i]->attempt;
        items[i].result = &ok;
        list[i] = &items[i];
    }
    report.n_reports = count;
    report.reports = list;
    if (rota_peer_request (self->agent, ROTA_MESSAGE_REPORT, NULL, &report.base, 60000, ignore_reply, NULL) <
        0)
        die ("report", "no room");
    free (items);
    free (list);
    rota__packed_assign__free_unpacked (assign, NULL);
}

/* ------------------------------------------------------------------------------------------ client */

static void submit_more (bench_t *self);

static void submitted (void *owner, void *context, const rota_reply_t *reply)
{
    (void)owner;
    bench_t *self = context;
    if (reply->status || reply->envelope->type != ROTA_MESSAGE_SUBMIT_REPLY) {
        Rota__Error *error =
            reply->status ? NULL : rota__error__unpack (NULL, reply->size_bytes, reply->body);
        die ("submit", error && error->text.len ? (const char *)error->text.data : "no answer");
    }
    self->in_flight--;
    self->acknowledged += SUBMIT_TASKS;
    submit_more (self);
}

static Rota__TaskSpec *make_task (const bench_t *self, size_t i)
{
    Rota__TaskSpec *task = malloc (sizeof *task);
    char id[32], title[64];
    rota__task_spec__init (task);
    snprintf (id, sizeof id, "task-%07zu", i);
    snprintf (title, sizeof title, "Step %zu of a plan that is worked to its end", i);
    task->has_id = task->has_title = task->has_run = true;
    task->id = rota_bytes (strdup (id));
    task->title = rota_bytes (strdup (title));
    task->run = rota_bytes (strdup ("make -C modules step && ./check --all --quietly"));
    size_t count = self->after_first ? i > 0 : self->dependencies;
    task->dependencies = calloc (count + 1, sizeof *task->dependencies);
    for (size_t d = 1; d <= count && (self->after_first || i >= d * self->distance); d++) {
        Rota__Dependency *dependency = task->dependencies[task->n_dependencies++] =
            malloc (sizeof *dependency);
        rota__dependency__init (dependency);
        snprintf (id, sizeof id, "task-%07zu", self->after_first ? 0 : i - d * self->distance);
        dependency->has_on = true;
        dependency->on = rota_bytes (strdup (id));
    }
    return task;
}

static void submit_more (bench_t *self)
{
    while (self->in_flight < SUBMITS_IN_FLIGHT && self->submitted < self->total) {
        Rota__Submit *submit = malloc (sizeof *submit);
        size_t count =
            self->total - self->submitted < SUBMIT_TASKS ? self->total - self->submitted : SUBMIT_TASKS;
        rota__submit__init (submit);
        submit->tasks = calloc (count, sizeof *submit->tasks);
        for (size_t i = 0; i < count; i++)
            submit->tasks[submit->n_tasks++] = make_task (self, self->submitted + i);
        int r = rota_peer_request (rota_client_peer (self->client), ROTA_MESSAGE_SUBMIT, NULL, &submit->base,
                                   60000, submitted, self);
        rota__submit__free_unpacked (submit, NULL);
        if (r < 0)
            die ("submit", strerror (-r));
        self->submitted += count;
        self->in_flight++;
    }
}

/* --------------------------------------------------------------------------------------------- runs */

static void set_up (bench_t *self, const char *bin)
{
    rota_error_t error = {{0}};
    char rundir[ROTA_RUNDIR_PATH_BYTES];
    rota_rundir_endpoints_t endpoints;
    strcpy (self->directory, "/tmp/rota-bench-XXXXXX");
    if (!mkdtemp (self->directory) || rota_rundir (self->directory, true, rundir, sizeof rundir, &error) < 0)
        die ("state directory", error.text);
    rota_rundir_endpoints (rundir, &endpoints);
    children[0] = self->broker = start (bin, "rota-broker", self->directory);
    children[1] = self->scheduler = start (bin, "rota-scheduler", self->directory);
    self->client = rota_client_new (endpoints.client, "bench", &error);
    if (!self->client || rota_client_wait_ready (self->client, 10000, &error) < 0)
        die ("client", error.text);
    rota_peer_config_t config = {
        .endpoints = endpoints.agent,
        .role = ROTA__ROLE__ROLE_AGENT,
        .name = "bench",
        .owner = self,
        .on_message = on_agent_message,
        .on_state = on_agent_state,
    };
    self->agent = rota_peer_new (&config, rota_client_loop (self->client), &error);
    if (!self->agent)
        die ("agent", error.text);
    rota_client_run (self->client, 5000);
}

static uint64_t bytes_of (const char *directory, const char *name)
{
    char path[128];
    struct stat status;
    snprintf (path, sizeof path, "%s/%s", directory, name);
    return stat (path, &status) == 0 ? (uint64_t)status.st_size : 0;
}

static long rss_kib (pid_t pid)
{
    char path[64], line[256];
    long kib = 0;
    snprintf (path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen (path, "r");
    while (file && fgets (line, sizeof line, file))
        if (sscanf (line, "VmRSS: %ld kB", &kib) == 1)
            break;
    if (file)
        fclose (file);
    return kib;
}

static void stop_services (bench_t *self)
{
    rota_peer_destroy (&self->agent);
    rota_client_destroy (&self->client);
    if (self->scheduler)
        stop (self->scheduler);
    if (self->broker)
        stop (self->broker);
    self->scheduler = self->broker = children[0] = children[1] = 0;
}

static void tear_down (bench_t *self)
{
    char command[128];
    stop_services (self);
    snprintf (command, sizeof command, "rm -rf '%s'", self->directory);
    if (system (command))
        fprintf (stderr, "left behind: %s\n", self->directory);
}

static void run_until_done (bench_t *self)
{
    double patience_ms = now_ms () + 600000;
    while (self->done < self->total && now_ms () < patience_ms)
        rota_client_run (self->client, 1000);
    if (self->done < self->total)
        die ("run", "not done in ten minutes");
}

static void run_many (bench_t *self, const char *name)
{
    double begun_ms = now_ms ();
    submit_more (self);
    run_until_done (self);
    double took_s = (now_ms () - begun_ms) / 1e3;
    long rss = rss_kib (self->scheduler);
    stop_services (self); /* the file is whole when the scheduler has closed it */
    uint64_t bytes = bytes_of (self->directory, "rota.db");
    printf ("{\"bench\": \"%s\", \"tasks\": %zu, \"seconds\": %.3f, \"tasks_per_s\": %.0f, \"us_per_task\": "
            "%.1f, "
            "\"scheduler_rss_kib\": %ld, \"store_bytes_per_task\": %.0f}\n",
            name, self->total, took_s, (double)self->total / took_s, took_s * 1e6 / (double)self->total, rss,
            (double)bytes / (double)self->total);
}

static int compare (const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void run_idle (bench_t *self)
{
    size_t count = self->total;
    double *acknowledged = calloc (count + 1, sizeof (double)), *done = calloc (count + 1, sizeof (double));
    struct timespec pause = {.tv_nsec = 5000000};
    for (size_t i = 0; i < count; i++) {
        nanosleep (&pause, NULL); /* idle between: nothing is batched with anything */
        self->total = i + 1;
        double begun_ms = now_ms ();
        submit_more (self);
        while (self->in_flight)
            rota_client_run (self->client, 1);
        acknowledged[i] = now_ms () - begun_ms;
        while (self->done < self->total)
            rota_client_run (self->client, 1000);
        done[i] = now_ms () - begun_ms;
    }
    qsort (acknowledged, count, sizeof (double), compare);
    qsort (done, count, sizeof (double), compare);
    printf ("{\"bench\": \"idle\", \"tasks\": %zu, \"acknowledged_p50_ms\": %.3f, \"done_p50_ms\": %.3f, "
            "\"done_p99_ms\": "
            "%.3f}\n",
            count, acknowledged[count / 2], done[count / 2], done[count * 99 / 100]);
    free (acknowledged);
    free (done);
}

/* ---------------------------------------------------------------------------------------- baseline */

static void must (sqlite3 *db, int code)
{
    if (code != SQLITE_OK && code != SQLITE_DONE && code != SQLITE_ROW)
        die ("sqlite", sqlite3_errmsg (db));
}

/* Insert with two dependencies and an event, then the two moves with an event each; a commit per 100 of each
 * step. */
static void run_baseline (size_t count)
{
    static const char *const SQL[] = {
        "INSERT INTO task (key, id, status, title, run) VALUES (?1, ?2, 1, 'Step of a plan that is worked to "
        "its end', 'make')",
        "INSERT INTO dependency VALUES (?1, ?2, 1)",
        "INSERT INTO event (time_ms, type, task, change) VALUES (?1, 1, ?2, 0)",
        "UPDATE task SET status = ?2, attempt = 1, agent = 1, assigned_ms = 1795423000000 WHERE key = ?1",
    };
    char directory[] = "/tmp/rota-base-XXXXXX", path[64], command[96];
    sqlite3 *db;
    sqlite3_stmt *s[4];
    if (!mkdtemp (directory))
        die ("baseline", strerror (errno));
    snprintf (path, sizeof path, "%s/base.db", directory);
    must (NULL, sqlite3_open (path, &db));
    must (db,
          sqlite3_exec (
              db,
              "PRAGMA auto_vacuum = NONE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA "
              "secure_delete = OFF; CREATE TABLE task (key INTEGER PRIMARY KEY, id TEXT, status INTEGER, "
              "title TEXT, run TEXT, attempt INTEGER, agent INTEGER, assigned_ms INTEGER); CREATE TABLE "
              "dependency (task INTEGER, prerequisite INTEGER, type INTEGER, PRIMARY KEY (task, "
              "prerequisite)) WITHOUT ROWID; CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, "
              "time_ms INTEGER, type INTEGER, task INTEGER, change INTEGER); CREATE INDEX event_of_task ON "
              "event (task)",
              NULL, NULL, NULL));
    for (int i = 0; i < 4; i++)
        must (db, sqlite3_prepare_v2 (db, SQL[i], -1, &s[i], NULL));
    double begun_ms = now_ms ();
    for (size_t step = 0; step < 3; step++)
        for (size_t i = 0; i < count; i++) {
            char id[32];
            if (i % 100 == 0)
                must (db,
                      sqlite3_exec (db, i ? "COMMIT; BEGIN IMMEDIATE" : "BEGIN IMMEDIATE", NULL, NULL, NULL));
            snprintf (id, sizeof id, "task-%07zu", i);
            sqlite3_stmt *first = step == 0 ? s[0] : s[3];
            sqlite3_bind_int64 (first, 1, (int64_t)i + 1);
            if (step == 0)
                sqlite3_bind_text (first, 2, id, -1, SQLITE_STATIC);
            else
                sqlite3_bind_int64 (first, 2, step == 1 ? 2 : 6);
            must (db, sqlite3_step (first));
            sqlite3_reset (first);
            for (size_t d = 1; step == 0 && d <= 2 && d <= i; d++) {
                sqlite3_bind_int64 (s[1], 1, (int64_t)i + 1);
                sqlite3_bind_int64 (s[1], 2, (int64_t)(i + 1 - d));
                must (db, sqlite3_step (s[1]));
                sqlite3_reset (s[1]);
            }
            sqlite3_bind_int64 (s[2], 1, 1795423000000);
            sqlite3_bind_int64 (s[2], 2, (int64_t)i + 1);
            must (db, sqlite3_step (s[2]));
            sqlite3_reset (s[2]);
            if (i + 1 == count)
                must (db, sqlite3_exec (db, "COMMIT", NULL, NULL, NULL));
        }
    double took_s = (now_ms () - begun_ms) / 1e3;
    printf ("{\"bench\": \"baseline\", \"tasks\": %zu, \"seconds\": %.3f, \"tasks_per_s\": %.0f}\n", count,
            took_s, (double)count / took_s);
    for (int i = 0; i < 4; i++)
        sqlite3_finalize (s[i]);
    sqlite3_close (db);
    snprintf (command, sizeof command, "rm -rf '%s'", directory);
    if (system (command))
        fprintf (stderr, "left behind: %s\n", directory);
}

int main (int argc, char **argv)
{
    if (argc < 3) {
        fputs ("usage: bench_flow BIN_DIR throughput|idle|chain|fanout|baseline [N]\n", stderr);
        return 2;
    }
    size_t count = argc > 3 ? strtoull (argv[3], NULL, 10) : 20000;
    const char *what = argv[2];
    if (strcmp (what, "baseline") == 0) {
        run_baseline (count);
        return 0;
    }
    bench_t self = {.total = count};
    self.dependencies = strcmp (what, "throughput") == 0 ? 2 : strcmp (what, "chain") == 0 ? 1 : 0;
    self.distance = strcmp (what, "throughput") == 0 ? DISTANCE : 1;
    self.after_first = strcmp (what, "fanout") == 0;
    set_up (&self, argv[1]);
    if (strcmp (what, "idle") == 0)
        run_idle (&self);
    else
        run_many (&self, what);
    tear_down (&self);
    return 0;
}
