/* bench_exec - real commands: `true` through everything that rota puts around a command, and without it.
 *
 *     bench_exec BIN_DIR rota [N]    rota-broker, -scheduler, -telemetry and -agent with 2 slots work N tasks
 *                                    `run: "true"`: a shell under a shim, a log file, a spooled result, a
 *                                    durable history each; from the first submit to the last done event
 *     bench_exec BIN_DIR spawn [N]   the yardstick: posix_spawn and wait of /bin/true, two at once
 *
 * Prints one JSON object.
 */
#include "tests/bench/stack.h"

#include "proto/words.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define SLOTS 2

extern char **environ;

static void on_event (void *owner, const Rota__Event *event)
{
    bench_t *self = owner;
    if (!event->has_to_status)
        return;
    if (event->to_status == STATUS (FAILED) || event->to_status == STATUS (BLOCKED))
        bench_die ("true", "failed");
    if (event->to_status != STATUS (DONE))
        return;
    self->done++;
    if (self->done == self->total)
        rota_client_wake (self->client);
}

static double run_rota (const char *bin, size_t count)
{
    bench_t self = {.total = count, .run = "true"};
    rota_error_t error = {{0}};
    char slots[16];
    snprintf (slots, sizeof slots, "%d", SLOTS);
    bench_open (&self, bin, NULL);
    bench_start (&self, BENCH_BROKER, NULL, NULL);
    bench_start (&self, BENCH_SCHEDULER, NULL, NULL);
    bench_start (&self, BENCH_SINK, NULL, NULL);
    bench_start (&self, BENCH_AGENT, "--slots", slots);
    bench_connect (&self);
    if (rota_client_subscribe (self.client, 0, on_event, &self, &error) < 0)
        bench_die ("events", error.text);
    rota_client_run (self.client, 1000); /* agent and sink are there by then */
    double begun_ms = bench_now_ms ();
    bench_submit (&self);
    bench_run_until_done (&self);
    double took_s = (bench_now_ms () - begun_ms) / 1e3;
    bench_close (&self);
    bench_remove_directory (self.directory);
    return took_s;
}

static double run_spawn (size_t count)
{
    char *const argv[] = {(char *)(uintptr_t) "/bin/true", NULL};
    size_t started = 0, ended = 0;
    double begun_ms = bench_now_ms ();
    while (ended < count) {
        pid_t pid;
        while (started < count && started - ended < SLOTS) {
            int r = posix_spawn (&pid, argv[0], NULL, NULL, argv, environ);
            if (r)
                bench_die (argv[0], strerror (r));
            started++;
        }
        if (waitpid (-1, NULL, 0) < 0)
            bench_die ("wait", strerror (errno));
        ended++;
    }
    return (bench_now_ms () - begun_ms) / 1e3;
}

int main (int argc, char **argv)
{
    if (argc < 3 || (strcmp (argv[2], "rota") != 0 && strcmp (argv[2], "spawn") != 0)) {
        fputs ("usage: bench_exec BIN_DIR rota|spawn [N]\n", stderr);
        return 2;
    }
    size_t count = argc > 3 ? strtoull (argv[3], NULL, 10) : 2000;
    double took_s = strcmp (argv[2], "rota") == 0 ? run_rota (argv[1], count) : run_spawn (count);
    printf ("{\"bench\": \"exec-%s\", \"commands\": %zu, \"slots\": %d, \"seconds\": %.3f, "
            "\"commands_per_s\": %.0f}\n",
            argv[2], count, SLOTS, took_s, (double)count / took_s);
    return 0;
}
