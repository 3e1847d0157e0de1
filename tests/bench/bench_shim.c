/* bench_shim - what an attempt costs beside its command: spawner, shim, log, spool record.
 *
 *     bench_shim [ATTEMPTS] [AT_ONCE] [DIRECTORY]
 *
 * Runs /bin/true that often through all of it, AT_ONCE (2) at a time, and as often by a bare fork, exec,
 * wait; also how long a spool record takes to be durable. Prints one JSON object. The goal is a quarter of
 * the bare loop's rate, the floor an eighth. Figures, never pass or fail.
 */
#include "agents/cgroup.h"
#include "agents/spawner.h"
#include "agents/spool.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_s (void)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void die (const char *what)
{
    fprintf (stderr, "bench_shim: %s\n", what);
    exit (1);
}

static double bare_rate (unsigned attempts)
{
    double begun = now_s ();
    for (unsigned i = 0; i < attempts; i++) {
        pid_t pid = fork ();
        if (pid == 0) {
            execl ("/bin/true", "true", (char *)NULL);
            _exit (127);
        }
        waitpid (pid, NULL, 0);
    }
    return attempts / (now_s () - begun);
}

typedef struct {
    rota_spawner_t *spawner;
    char spool[256], logs[256];
    const char *cgroup_parent;
} set_up_t;

static int launch (const set_up_t *in, unsigned number)
{
    static char *const ARGV[] = {(char *)"/bin/true", NULL}, *const ENVIRONMENT[] = {
                                                                 (char *)"PATH=/usr/bin:/bin", NULL};
    char log_path[320];
    int control_fd;
    snprintf (log_path, sizeof log_path, "%s/%u", in->logs, number);
    rota_attempt_t attempt = {.key = number,
                              .number = 1,
                              .task_id = "bench",
                              .argv = ARGV,
                              .environment = ENVIRONMENT,
                              .directory = "/",
                              .log_path = log_path,
                              .spool_directory = in->spool,
                              .output_limit_bytes = 10 << 20,
                              .timeout_ms = 600000,
                              .grace_ms = 5000,
                              .lease_ms = 120000,
                              .stop_signal = 15,
                              .cgroup_parent = in->cgroup_parent};
    if (rota_spawner_launch (in->spawner, &attempt, number, &control_fd) < 0)
        die ("an attempt could not be started");
    return control_fd;
}

static double rate (const set_up_t *in, unsigned attempts, unsigned at_once)
{
    unsigned begun = 0, ended = 0;
    int *controls = calloc (attempts + 1, sizeof *controls);
    if (!controls)
        die ("no memory");
    double start = now_s ();
    while (ended < attempts) {
        while (begun < attempts && begun - ended < at_once) {
            begun++;
            controls[begun] = launch (in, begun);
        }
        struct pollfd item = {rota_spawner_fd (in->spawner), POLLIN, 0};
        poll (&item, 1, -1);
        rota_spawner_end_t end;
        while (rota_spawner_next (in->spawner, &end) == 1) {
            char name[ROTA_SPOOL_NAME_BYTES];
            const uint8_t store[16] = {0};
            rota_spool_record_t record;
            rota_spool_name (store, end.launch, 1, name);
            if (rota_spool_read (in->spool, name, &record) < 0 || !record.finished ||
                record.outcome.exit_code)
                die ("an attempt failed");
            rota_spool_remove (in->spool, name);
            close (controls[end.launch]);
            ended++;
        }
    }
    free (controls);
    return attempts / (now_s () - start);
}

static double durable_ms (const char *directory, unsigned times)
{
    double total = 0;
    for (unsigned i = 0; i < times; i++) {
        rota_spool_running_t running = {.key = i + 1, .number = 1, .task_id = "bench", .shim_pid = 1};
        rota_outcome_t outcome = {.key = i + 1, .number = 1, .task_id = "bench", .started = true};
        char name[ROTA_SPOOL_NAME_BYTES];
        int fd;
        if (rota_spool_begin (directory, &running, &fd, NULL) < 0)
            die ("no spool");
        double begun = now_s ();
        if (rota_spool_finish (directory, fd, &outcome) < 0)
            die ("a record could not be written");
        total += now_s () - begun;
        close (fd);
        rota_spool_name (running.store, running.key, 1, name);
        rota_spool_remove (directory, name);
    }
    return total * 1e3 / times;
}

int main (int argc, char **argv)
{
    unsigned attempts = argc > 1 ? (unsigned)strtoul (argv[1], NULL, 10) : 1000,
             at_once = argc > 2 ? (unsigned)strtoul (argv[2], NULL, 10) : 2;
    char base[200], command[256], parent[ROTA_CGROUP_PATH_BYTES];
    set_up_t in = {.spawner = rota_spawner_start (NULL)};

    snprintf (base, sizeof base, "%s/rota-bench-XXXXXX", argc > 3 ? argv[3] : "/tmp");
    if (!in.spawner || !attempts || !at_once || !mkdtemp (base))
        die ("usage: bench_shim [ATTEMPTS] [AT_ONCE] [DIRECTORY]");
    snprintf (in.spool, sizeof in.spool, "%s/spool", base);
    snprintf (in.logs, sizeof in.logs, "%s/logs", base);
    if (mkdir (in.spool, 0700) < 0 || mkdir (in.logs, 0700) < 0)
        die ("no directory");

    double bare = bare_rate (attempts), plain = rate (&in, attempts, at_once), grouped = 0;
    if (rota_cgroup_find_parent (parent) == 0) {
        in.cgroup_parent = parent;
        grouped = rate (&in, attempts, at_once);
    }
    printf (
        "{\"attempts\": %u, \"at_once\": %u, \"bare_per_s\": %.0f, \"shim_per_s\": %.0f, \"ratio\": %.2f, "
        "\"with_cgroup_per_s\": %.0f, \"record_durable_ms\": %.2f}\n",
        attempts, at_once, bare, plain, plain / bare, grouped, durable_ms (in.spool, 200));
    rota_spawner_destroy (&in.spawner);
    snprintf (command, sizeof command, "rm -rf '%s'", base);
    return system (command) == 0 ? 0 : 1;
}
