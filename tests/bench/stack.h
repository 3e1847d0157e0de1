/* stack.h - what the benchmarks measure: rota-broker and rota-scheduler as they are, a client that submits,
 * and an agent whose work is nothing (it reports ok at once).
 *
 * State lies in ROTA_BENCH_DIR (default /var/tmp: on many machines /tmp is memory, where a sync costs
 * nothing). A failure ends the program with a sentence, and the services with it. One thread, one stack at a
 * time.
 */
#ifndef ROTA_BENCH_STACK_H
#define ROTA_BENCH_STACK_H

#include "bus/client.h"
#include "bus/rundir.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_PATH_BYTES 256

/* In the order in which they are stopped. */
typedef enum { BENCH_AGENT, BENCH_SCHEDULER, BENCH_SINK, BENCH_BROKER, BENCH_SERVICES } bench_service_t;

typedef struct {
    char bin[BENCH_PATH_BYTES], directory[BENCH_PATH_BYTES];
    rota_rundir_endpoints_t endpoints;
    rota_client_t *client;
    rota_peer_t *agent;
    const char *run; /* the tasks' command */
    size_t first;    /* number of the first task */
    size_t total, submitted, acknowledged, in_flight, done;
    size_t dependencies; /* of each task, on those `distance`, twice `distance`, ... before it */
    size_t distance;
    bool after_first; /* all wait for the first */
} bench_t;

double bench_now_ms (void);
__attribute__ ((noreturn)) void bench_die (const char *what, const char *why);
/* Copies the path of a fresh directory into `ret_path`. */
void bench_make_directory (char ret_path[BENCH_PATH_BYTES]);
void bench_remove_directory (const char *path);
void bench_sort (double *values, size_t count);

/* The state directory `directory`, or a fresh one for NULL. */
void bench_open (bench_t *self, const char *bin, const char *directory);
/* `option` and `value` (each may be NULL) are for that service alone. */
void bench_start (bench_t *self, bench_service_t service, const char *option, const char *value);
void bench_stop (bench_service_t service);
pid_t bench_pid (bench_service_t service);
/* The client, once broker and scheduler answer; then the agent that does nothing. */
void bench_connect (bench_t *self);
void bench_connect_agent (bench_t *self);
/* Ends agent, client and services; the files stay. */
void bench_close (bench_t *self);

/* Keeps some submits under way until `total` tasks have been handed in. */
void bench_submit (bench_t *self);
void bench_run_until_acknowledged (bench_t *self);
void bench_run_until_done (bench_t *self);

uint64_t bench_file_bytes (const bench_t *self, const char *name);
/* What the process itself holds in memory, without pages of files. */
long bench_memory_kib (pid_t pid);

#endif
