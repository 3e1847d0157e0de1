/* bench_keep - what keeping many tasks costs, and what a restart does.
 *
 *     bench_keep BIN_DIR pending [N]         memory a pending task with two dependencies, between N / 4 and N
 *                                            of them; then the start with N of them, warm and cold
 *     bench_keep BIN_DIR start DIRECTORY     the start on a store that is there
 *     bench_keep BIN_DIR gap DIRECTORY PID   kills PID (a broker under a supervisor): when is a request that
 *                                            was made at that moment answered
 *
 * A start is measured from the scheduler's spawn to its first answer through a broker that runs already;
 * before a cold one the kernel is told to forget the store's pages (POSIX_FADV_DONTNEED); programs and
 * libraries stay warm, and so may a cache below the kernel. Prints one JSON object.
 */
#include "tests/bench/stack.h"

#include "proto/words.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STARTS 3
#define DISTANCE 1000

/* ------------------------------------------------------------------------------------------ starts */

static void forget_pages (const bench_t *self)
{
    char path[BENCH_PATH_BYTES + 16];
    snprintf (path, sizeof path, "%s/rota.db", self->directory);
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        bench_die (path, strerror (errno));
    if (fdatasync (fd) < 0 || posix_fadvise (fd, 0, 0, POSIX_FADV_DONTNEED))
        bench_die (path, "the kernel won't forget its pages");
    close (fd);
}

static double time_start (bench_t *self)
{
    rota_error_t error = {{0}};
    Rota__StatusQuery query = ROTA__STATUS_QUERY__INIT;
    ProtobufCMessage *reply;
    double begun_ms = bench_now_ms ();
    bench_start (self, BENCH_SCHEDULER, "--hold", NULL);
    if (rota_client_call (self->client, ROTA_MESSAGE_STATUS_QUERY, &query.base, 120000,
                          ROTA_MESSAGE_STATUS_REPLY, &reply, &error) < 0)
        bench_die ("status", error.text);
    double took_s = (bench_now_ms () - begun_ms) / 1e3;
    self->total = ((const Rota__StatusReply *)reply)->total;
    return took_s;
}

/* The broker runs, the scheduler doesn't; nor does it afterwards. */
static void measure_starts (bench_t *self, double *ret_warm_s, double *ret_cold_s, long *ret_kib)
{
    double warm[STARTS], cold[STARTS];
    for (int i = 0; i < STARTS; i++) {
        forget_pages (self);
        cold[i] = time_start (self);
        bench_stop (BENCH_SCHEDULER);
        warm[i] = time_start (self);
        *ret_kib = bench_memory_kib (bench_pid (BENCH_SCHEDULER));
        bench_stop (BENCH_SCHEDULER);
    }
    bench_sort (warm, STARTS);
    bench_sort (cold, STARTS);
    *ret_warm_s = warm[STARTS / 2];
    *ret_cold_s = cold[STARTS / 2];
}

static void run_start (bench_t *self)
{
    rota_error_t error = {{0}};
    double warm_s, cold_s;
    long kib;
    bench_start (self, BENCH_BROKER, NULL, NULL);
    self->client = rota_client_new (self->endpoints.client, "bench", &error);
    if (!self->client)
        bench_die ("client", error.text);
    measure_starts (self, &warm_s, &cold_s, &kib);
    bench_close (self);
    printf ("{\"bench\": \"start\", \"tasks\": %zu, \"warm_s\": %.3f, \"cold_s\": %.3f, \"memory_kib\": %ld, "
            "\"store_bytes\": %llu}\n",
            self->total, warm_s, cold_s, kib, (unsigned long long)bench_file_bytes (self, "rota.db"));
}

/* ---------------------------------------------------------------------------------------- pending */

/* Two sizes four times apart: tables that double are filled alike, and both stores are larger than SQLite's
 * cache, so that neither is in the difference. */
static void run_pending (bench_t *self, size_t count)
{
    double warm_s, cold_s;
    long kib[2], restarted_kib;
    bench_start (self, BENCH_BROKER, NULL, NULL);
    bench_start (self, BENCH_SCHEDULER, "--hold", NULL);
    bench_connect (self);
    double begun_ms = bench_now_ms ();
    for (int i = 0; i < 2; i++) {
        self->total = i ? count : count / 4;
        bench_submit (self);
        bench_run_until_acknowledged (self);
        kib[i] = bench_memory_kib (bench_pid (BENCH_SCHEDULER));
    }
    double took_s = (bench_now_ms () - begun_ms) / 1e3;
    bench_stop (BENCH_SCHEDULER);
    measure_starts (self, &warm_s, &cold_s, &restarted_kib);
    bench_close (self);
    size_t quarter = count / 4;
    double more = (double)(count - quarter);
    printf ("{\"bench\": \"pending\", \"tasks\": %zu, \"submitted_per_s\": %.0f, \"memory_kib_at_quarter\": "
            "%ld, \"memory_kib\": %ld, \"bytes_per_task\": %.1f, \"memory_kib_after_restart\": %ld, "
            "\"store_bytes\": %llu, \"warm_s\": %.3f, \"cold_s\": %.3f}\n",
            count, (double)count / took_s, kib[0], kib[1], (double)(kib[1] - kib[0]) * 1024 / more,
            restarted_kib, (unsigned long long)bench_file_bytes (self, "rota.db"), warm_s, cold_s);
}

/* -------------------------------------------------------------------------------------------- gap */

static void run_gap (bench_t *self, pid_t broker)
{
    rota_error_t error = {{0}};
    Rota__StatusQuery query = ROTA__STATUS_QUERY__INIT;
    ProtobufCMessage *reply;
    bench_connect (self);
    double begun_ms = bench_now_ms ();
    if (kill (broker, SIGKILL) < 0)
        bench_die ("kill", strerror (errno));
    if (rota_client_call (self->client, ROTA_MESSAGE_STATUS_QUERY, &query.base, 60000,
                          ROTA_MESSAGE_STATUS_REPLY, &reply, &error) < 0)
        bench_die ("status", error.text);
    printf ("{\"bench\": \"gap\", \"gap_ms\": %.1f}\n", bench_now_ms () - begun_ms);
    rota_client_destroy (&self->client);
}

int main (int argc, char **argv)
{
    bench_t self = {.dependencies = 2, .distance = DISTANCE};
    const char *what = argc > 2 ? argv[2] : "";
    if (strcmp (what, "pending") == 0) {
        bench_open (&self, argv[1], NULL);
        run_pending (&self, argc > 3 ? strtoull (argv[3], NULL, 10) : 1000000);
        bench_remove_directory (self.directory);
    } else if (strcmp (what, "start") == 0 && argc > 3) {
        bench_open (&self, argv[1], argv[3]);
        run_start (&self);
    } else if (strcmp (what, "gap") == 0 && argc > 4 && atoi (argv[4]) > 1) {
        bench_open (&self, argv[1], argv[3]);
        run_gap (&self, atoi (argv[4]));
    } else {
        fputs ("usage: bench_keep BIN_DIR pending [N] | start DIRECTORY | gap DIRECTORY PID\n", stderr);
        return 2;
    }
    return 0;
}
