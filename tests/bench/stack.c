#include "tests/bench/stack.h"

#include "bus/names.h"
#include "proto/words.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define SUBMIT_TASKS 1000
#define SUBMITS_IN_FLIGHT 4
#define SLOTS 4000
#define PATIENCE_MS 600000

extern char **environ;

static pid_t children[BENCH_SERVICES]; /* ended with us, whatever happens */

double bench_now_ms (void)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

void bench_die (const char *what, const char *why)
{
    fprintf (stderr, "benchmark: %s: %s\n", what, why);
    for (int i = 0; i < BENCH_SERVICES; i++)
        if (children[i])
            kill (children[i], SIGKILL);
    exit (1);
}

void bench_make_directory (char ret_path[BENCH_PATH_BYTES])
{
    const char *parent = getenv ("ROTA_BENCH_DIR");
    snprintf (ret_path, BENCH_PATH_BYTES, "%s/rota-bench-XXXXXX", parent && *parent ? parent : "/var/tmp");
    if (!mkdtemp (ret_path))
        bench_die (ret_path, strerror (errno));
}

void bench_remove_directory (const char *path)
{
    char *const argv[] = {(char *)(uintptr_t) "rm", (char *)(uintptr_t) "-rf", (char *)(uintptr_t) "--",
                          (char *)(uintptr_t)path, NULL};
    pid_t pid;
    int status = 1;
    if (posix_spawnp (&pid, "rm", NULL, NULL, argv, environ) || waitpid (pid, &status, 0) < 0 || status)
        fprintf (stderr, "left behind: %s\n", path);
}

static int compare (const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void bench_sort (double *values, size_t count)
{
    qsort (values, count, sizeof *values, compare);
}

/* ---------------------------------------------------------------------------------------- services */

void bench_open (bench_t *self, const char *bin, const char *directory)
{
    rota_error_t error = {{0}};
    char rundir[ROTA_RUNDIR_PATH_BYTES];
    snprintf (self->bin, sizeof self->bin, "%s", bin);
    if (directory)
        snprintf (self->directory, sizeof self->directory, "%s", directory);
    else
        bench_make_directory (self->directory);
    if (rota_rundir (self->directory, true, rundir, sizeof rundir, &error) < 0)
        bench_die (self->directory, error.text);
    rota_rundir_endpoints (rundir, &self->endpoints);
}

void bench_start (bench_t *self, bench_service_t service, const char *option, const char *value)
{
    static const char *const NAMES[] = {"rota-agent", "rota-scheduler", "rota-telemetry", "rota-broker"};
    char path[2 * BENCH_PATH_BYTES];
    snprintf (path, sizeof path, "%s/%s", self->bin, NAMES[service]);
    const char *argv[] = {path,    "--state", self->directory,       "--log-level",
                          "error", option,    option ? value : NULL, NULL};
    int r = posix_spawn (&children[service], path, NULL, NULL, (char *const *)(uintptr_t)argv, environ);
    if (r) {
        children[service] = 0;
        bench_die (path, strerror (r));
    }
}

void bench_stop (bench_service_t service)
{
    if (!children[service])
        return;
    kill (children[service], SIGTERM);
    waitpid (children[service], NULL, 0);
    children[service] = 0;
}

pid_t bench_pid (bench_service_t service)
{
    return children[service];
}

void bench_connect (bench_t *self)
{
    rota_error_t error = {{0}};
    self->client = rota_client_new (self->endpoints.client, "bench", &error);
    if (!self->client || rota_client_wait_ready (self->client, 60000, &error) < 0)
        bench_die ("client", error.text);
}

void bench_close (bench_t *self)
{
    rota_peer_destroy (&self->agent);
    rota_client_destroy (&self->client);
    for (bench_service_t service = 0; service < BENCH_SERVICES; service++)
        bench_stop (service);
}

/* ------------------------------------------------------------------------------------------- agent */

static void reported (void *owner, void *context, const rota_reply_t *reply)
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
    rota_client_wake (self->client);
}

static void registered (void *owner, void *context, const rota_reply_t *reply)
{
    (void)context;
    bench_t *self = owner;
    if (reply->status || reply->envelope->type != ROTA_MESSAGE_REGISTERED)
        bench_die ("register", "refused");
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
        bench_die ("register", "no room");
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
        bench_die ("agent", "no memory");
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
    if (rota_peer_request (self->agent, ROTA_MESSAGE_REPORT, NULL, &report.base, 60000, reported, NULL) < 0)
        bench_die ("report", "no room");
    free (items);
    free (list);
    rota__packed_assign__free_unpacked (assign, NULL);
}

void bench_connect_agent (bench_t *self)
{
    rota_error_t error = {{0}};
    rota_peer_config_t config = {
        .endpoints = self->endpoints.agent,
        .role = ROTA__ROLE__ROLE_AGENT,
        .name = "bench",
        .owner = self,
        .on_message = on_agent_message,
        .on_state = on_agent_state,
    };
    self->agent = rota_peer_new (&config, rota_client_loop (self->client), &error);
    if (!self->agent)
        bench_die ("agent", error.text);
    rota_client_run (self->client, 5000); /* until it is registered */
}

/* ------------------------------------------------------------------------------------------ client */

static void submitted (void *owner, void *context, const rota_reply_t *reply)
{
    (void)owner;
    bench_t *self = context;
    if (reply->status || reply->envelope->type != ROTA_MESSAGE_SUBMIT_REPLY) {
        Rota__Error *error =
            reply->status ? NULL : rota__error__unpack (NULL, reply->size_bytes, reply->body);
        bench_die ("submit", error && error->text.len ? (const char *)error->text.data : "no answer");
    }
    Rota__SubmitReply *answer = rota__submit_reply__unpack (NULL, reply->size_bytes, reply->body);
    if (!answer)
        bench_die ("submit", "an answer that can't be read");
    self->in_flight--;
    self->acknowledged += answer->added;
    rota__submit_reply__free_unpacked (answer, NULL);
    bench_submit (self);
    rota_client_wake (self->client);
}

static ProtobufCBinaryData id_of (const bench_t *self, size_t i)
{
    char id[32];
    snprintf (id, sizeof id, "task-%07zu", self->first + i);
    return rota_bytes (strdup (id));
}

static Rota__TaskSpec *make_task (const bench_t *self, size_t i)
{
    Rota__TaskSpec *task = malloc (sizeof *task);
    char title[64];
    rota__task_spec__init (task);
    snprintf (title, sizeof title, "Step %zu of a plan that is worked to its end", i);
    task->has_id = task->has_title = task->has_run = true;
    task->id = id_of (self, i);
    task->title = rota_bytes (strdup (title));
    task->run =
        rota_bytes (strdup (self->run ? self->run : "make -C modules step && ./check --all --quietly"));
    size_t count = self->after_first ? i > 0 : self->dependencies;
    task->dependencies = calloc (count + 1, sizeof *task->dependencies);
    for (size_t d = 1; d <= count && (self->after_first || i >= d * self->distance); d++) {
        Rota__Dependency *dependency = task->dependencies[task->n_dependencies++] =
            malloc (sizeof *dependency);
        rota__dependency__init (dependency);
        dependency->has_on = true;
        dependency->on = id_of (self, self->after_first ? 0 : i - d * self->distance);
    }
    return task;
}

void bench_submit (bench_t *self)
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
            bench_die ("submit", strerror (-r));
        self->submitted += count;
        self->in_flight++;
    }
}

static void run_until (bench_t *self, const size_t *count, size_t wanted)
{
    double end_ms = bench_now_ms () + PATIENCE_MS;
    while (*count < wanted && bench_now_ms () < end_ms)
        rota_client_run (self->client, 1000);
    if (*count < wanted)
        bench_die ("run", "not at its end after ten minutes");
}

void bench_run_until_acknowledged (bench_t *self)
{
    run_until (self, &self->acknowledged, self->total);
}

void bench_run_until_done (bench_t *self)
{
    run_until (self, &self->done, self->total);
}

/* ------------------------------------------------------------------------------------------ figures */

uint64_t bench_file_bytes (const bench_t *self, const char *name)
{
    char path[2 * BENCH_PATH_BYTES];
    struct stat status;
    snprintf (path, sizeof path, "%s/%s", self->directory, name);
    return stat (path, &status) == 0 ? (uint64_t)status.st_size : 0;
}

long bench_memory_kib (pid_t pid)
{
    char path[64], line[256];
    long kib = 0;
    snprintf (path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen (path, "r");
    while (file && fgets (line, sizeof line, file))
        if (sscanf (line, "RssAnon: %ld kB", &kib) == 1)
            break;
    if (file)
        fclose (file);
    return kib;
}
