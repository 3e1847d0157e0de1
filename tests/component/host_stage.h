/* host_stage.h - for tests of the agent host: rota-agent as a program ($ROTA_BIN), a real broker, and a
 * scheduler that the test plays by hand.
 *
 * What the agent says is noted in `host_stage` while the loop runs (host_stage_turn, WAIT_UNTIL). One at a
 * time; owner: the test's thread.
 */
#ifndef ROTA_TESTS_HOST_STAGE_H
#define ROTA_TESTS_HOST_STAGE_H

#include "agents/spool.h"
#include "bus/clock.h"
#include "bus/peer.h"
#include "tests/component/broker_thread.h"

#include <sys/types.h>

#define HOST_STAGE_WATCHDOG_MS 100000 /* a hang, not a slow machine */
#define HOST_STAGE_LEASE_MS 600000
#define HOST_STAGE_LIST_MAX 64

typedef struct {
    uint64_t key;
    uint32_t attempt;
    bool finished;
} host_stage_listed_t;

typedef struct {
    uint64_t key;
    uint32_t attempt;
    uint64_t epoch; /* of the coordinator, as it is handed back */
    Rota__ResultClass class;
    int exit_code;
    char message[1100], last_output[2100];
    unsigned times; /* it was reported */
} host_stage_reported_t;

typedef struct {
    broker_thread_t broker;
    zloop_t *loop;
    rota_peer_t *peer;
    rota_arena_t *arena;
    uint64_t epoch;
    uint8_t store[16];
    bool deaf;      /* answers no heartbeat */
    bool unknowing; /* answers no REGISTER */
    bool forgetful; /* acknowledges no report */
    uint8_t agent[16];
    unsigned registers, heartbeats;
    bool draining;
    char name[64], kind[64];
    uint32_t slots;
    char capabilities[64];
    host_stage_listed_t listed[HOST_STAGE_LIST_MAX]; /* of the last REGISTER or heartbeat */
    size_t listed_count;
    host_stage_listed_t accepted[HOST_STAGE_LIST_MAX];
    size_t accepted_count;
    host_stage_reported_t reported[HOST_STAGE_LIST_MAX];
    size_t reported_count;
    pid_t agent_pid;     /* the program; 0 = none */
    uint32_t renewal_ms; /* what a heartbeat renews leases to */
} host_stage_t;
extern host_stage_t host_stage;

#define WAIT_UNTIL(condition)                                                                                \
    do {                                                                                                     \
        int64_t wait_end_ms = rota_clock_monotonic_ms () + HOST_STAGE_WATCHDOG_MS;                           \
        while (!(condition)) {                                                                               \
            assert_true (rota_clock_monotonic_ms () < wait_end_ms);                                          \
            host_stage_turn ();                                                                              \
        }                                                                                                    \
    } while (0)

typedef struct {
    Rota__TaskSpec spec;
    Rota__Assignment assignment;
    char id[32];
} host_stage_job_t;

void host_stage_send_to_agent (uint32_t type, const ProtobufCMessage *message);
host_stage_reported_t *host_stage_report_of (uint64_t key, uint32_t attempt);
/* Runs our loop for a moment. */
void host_stage_turn (void);
void host_stage_start_agent_named (const char *name, const char *slots, const char *exec_command,
                                   pid_t *ret_pid);
/* Starts rota-agent as "tester" and waits until it has registered. */
void host_stage_start_agent (const char *slots);
/* SIGTERM; its exit code. */
int host_stage_stop_agent (void);
void host_stage_kill_agent (void);
/* A new task with that command (NULL = none), first attempt. Valid until the next call. */
host_stage_job_t *host_stage_job (const char *command);
void host_stage_assign (host_stage_job_t *what);
/* How often it was accepted. */
size_t host_stage_times_accepted (uint64_t key);
/* Waits for the report of the first attempt. */
const host_stage_reported_t *host_stage_result_of (uint64_t key);
/* Assigns, and waits for the report. */
const host_stage_reported_t *host_stage_run (host_stage_job_t *what);
void host_stage_stop_attempt (uint64_t key, uint32_t grace_ms);
/* In the last REGISTER or heartbeat; NULL = not. */
const host_stage_listed_t *host_stage_listed (uint64_t key);
bool host_stage_file_has (const char *name, const char *text);
/* What a command wrote of itself into a file of the state directory; 0 until a whole line is there. */
pid_t host_stage_pid_in (const char *name);
bool host_stage_is_alive (pid_t pid);
/* How many records are in the spool, or below it. */
size_t host_stage_spool_files (const char *below);
/* The record of an attempt, as it is now. */
void host_stage_read_shim (uint64_t key, rota_spool_record_t *ret_record);
void host_stage_copy (char *to, size_t capacity, ProtobufCBinaryData bytes);
pid_t host_stage_parent_of (pid_t pid);
/* cmocka fixtures: a broker, our scheduler; no agent yet. */
int host_stage_open (void **state);
int host_stage_close (void **state);

#endif
