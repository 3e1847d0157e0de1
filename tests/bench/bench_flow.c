/* bench_flow - what the whole path costs: submit, durable, broker, agent, durable done.
 *
 *     bench_flow BIN_DIR throughput|idle|chain|fanout [N [DIRECTORY [FIRST]]]
 *
 * Starts rota-broker and rota-scheduler from BIN_DIR on a fresh state directory, or on DIRECTORY, which is
 * kept; there FIRST is the number of the first task. The agent does nothing: what is measured is rota.
 * throughput: two dependencies each, a thousand tasks a submit. idle: one task at a time. chain: each waits
 * for the one before. fanout: all wait for the first. Prints one JSON object; figures, never pass or fail.
 */
#include "tests/bench/stack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DISTANCE 1000 /* throughput: a task waits for the ones so far and twice so far before it */

static void run_many (bench_t *self, const char *name)
{
    double begun_ms = bench_now_ms ();
    bench_submit (self);
    bench_run_until_done (self);
    double took_s = (bench_now_ms () - begun_ms) / 1e3;
    bench_close (self); /* the file is whole when the scheduler has closed it */
    printf ("{\"bench\": \"%s\", \"tasks\": %zu, \"seconds\": %.3f, \"tasks_per_s\": %.0f, \"us_per_task\": "
            "%.1f, \"store_bytes\": %llu, \"store_bytes_per_task\": %.0f}\n",
            name, self->total, took_s, (double)self->total / took_s, took_s * 1e6 / (double)self->total,
            (unsigned long long)bench_file_bytes (self, "rota.db"),
            (double)bench_file_bytes (self, "rota.db") / (double)(self->first + self->total));
}

static void run_idle (bench_t *self)
{
    size_t count = self->total;
    double *acknowledged = calloc (count + 1, sizeof (double)), *done = calloc (count + 1, sizeof (double));
    struct timespec pause = {.tv_nsec = 5000000};
    for (size_t i = 0; i < count; i++) {
        nanosleep (&pause, NULL); /* idle between: nothing is batched with anything */
        self->total = i + 1;
        double begun_ms = bench_now_ms ();
        bench_submit (self);
        bench_run_until_acknowledged (self);
        acknowledged[i] = bench_now_ms () - begun_ms;
        bench_run_until_done (self);
        done[i] = bench_now_ms () - begun_ms;
    }
    bench_sort (acknowledged, count);
    bench_sort (done, count);
    bench_close (self);
    printf ("{\"bench\": \"idle\", \"tasks\": %zu, \"acknowledged_p50_ms\": %.3f, \"done_p50_ms\": %.3f, "
            "\"done_p99_ms\": %.3f}\n",
            count, acknowledged[count / 2], done[count / 2], done[count * 99 / 100]);
    free (acknowledged);
    free (done);
}

int main (int argc, char **argv)
{
    if (argc < 3) {
        fputs ("usage: bench_flow BIN_DIR throughput|idle|chain|fanout [N [DIRECTORY [FIRST]]]\n", stderr);
        return 2;
    }
    const char *what = argv[2], *directory = argc > 4 ? argv[4] : NULL;
    bench_t self = {.total = argc > 3 ? strtoull (argv[3], NULL, 10) : 20000,
                    .first = argc > 5 ? strtoull (argv[5], NULL, 10) : 0,
                    .dependencies = strcmp (what, "throughput") == 0 ? 2
                                    : strcmp (what, "chain") == 0    ? 1
                                                                     : 0,
                    .distance = strcmp (what, "throughput") == 0 ? DISTANCE : 1,
                    .after_first = strcmp (what, "fanout") == 0};
    bench_open (&self, argv[1], directory);
    bench_start (&self, BENCH_BROKER, NULL, NULL);
    bench_start (&self, BENCH_SCHEDULER, NULL, NULL);
    bench_connect (&self);
    bench_connect_agent (&self);
    if (strcmp (what, "idle") == 0)
        run_idle (&self);
    else
        run_many (&self, what);
    if (!directory)
        bench_remove_directory (self.directory);
    return 0;
}
