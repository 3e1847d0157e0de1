/* The agent host as a program, against a real broker and a scheduler that the test plays by hand. */
#include "agents/fence.h"
#include "agents/host.h"
#include "agents/spool.h"
#include "bus/client.h"
#include "bus/clock.h"
#include "bus/log.h"
#include "bus/names.h"
#include "bus/start.h"
#include "proto/words.h"
#include "tests/component/broker_thread.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define WATCHDOG_MS 100000 /* a hang, not a slow machine */
#define TURN_MS 5
#define LEASE_MS 600000
#define LIST_MAX 64

typedef struct {
    uint64_t key;
    uint32_t attempt;
    bool finished;
} listed_t;

typedef struct {
    uint64_t key;
    uint32_t attempt;
    Rota__ResultClass class;
    int exit_code;
    char message[1100], last_output[2100];
    unsigned times; /* it was reported */
} reported_t;

/* ---- the scheduler that we play */

static struct {
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
    listed_t listed[LIST_MAX]; /* of the last REGISTER or heartbeat */
    size_t listed_count;
    listed_t accepted[LIST_MAX];
    size_t accepted_count;
    reported_t reported[LIST_MAX];
    size_t reported_count;
} we;

static uint64_t keys;

static void send_to_agent (uint32_t type, const ProtobufCMessage *message)
{
    rota_envelope_t envelope = {.type = type, .has_to = true, .has_store = true, .scheduler_epoch = we.epoch};
    memcpy (envelope.to, we.agent, 16);
    memcpy (envelope.store, we.store, 16);
    assert_int_equal (rota_peer_send (we.peer, &envelope, message), 0);
}

static void answer (const rota_envelope_t *request, uint32_t type, const ProtobufCMessage *message)
{
    rota_envelope_t envelope;
    rota_envelope_answer (request, type, &envelope);
    envelope.has_store = true;
    envelope.scheduler_epoch = we.epoch;
    memcpy (envelope.store, we.store, 16);
    rota_peer_send (we.peer, &envelope, message);
}

static void note_list (Rota__Held *const *list, size_t count)
{
    we.listed_count = count < LIST_MAX ? count : LIST_MAX;
    for (size_t i = 0; i < we.listed_count; i++)
        we.listed[i] = (listed_t){list[i]->key, list[i]->attempt, list[i]->finished};
}

static void copy (char *to, size_t capacity, ProtobufCBinaryData bytes)
{
    snprintf (to, capacity, "%.*s", (int)bytes.len, bytes.len ? (const char *)bytes.data : "");
}

static void on_register (const rota_envelope_t *from, const Rota__Register *it)
{
    we.registers++;
    memcpy (we.agent, from->sender, 16);
    copy (we.name, sizeof we.name, it->name);
    copy (we.kind, sizeof we.kind, it->kind);
    size_t used = 0;
    for (size_t i = 0; i < it->n_capabilities; i++)
        used += (size_t)snprintf (we.capabilities + used, sizeof we.capabilities - used, "%.*s ",
                                  (int)it->capabilities[i].len, (const char *)it->capabilities[i].data);
    we.slots = it->slots;
    we.draining = it->drain;
    note_list (it->held, it->n_held);
    if (we.unknowing)
        return;
    Rota__Registered reply = ROTA__REGISTERED__INIT;
    reply.has_heartbeat_ms = reply.has_lease_ms = reply.has_scheduler_epoch = true;
    reply.heartbeat_ms = 100;
    reply.lease_ms = LEASE_MS;
    reply.scheduler_epoch = we.epoch;
    answer (from, ROTA_MESSAGE_REGISTERED, &reply.base);
}

static uint32_t renewal_ms = LEASE_MS;

static void on_heartbeat (const rota_envelope_t *from, const Rota__AgentHeartbeat *it)
{
    we.heartbeats++;
    we.draining = it->draining;
    note_list (it->held, it->n_held);
    if (we.deaf)
        return;
    Rota__AgentHeartbeatReply reply = ROTA__AGENT_HEARTBEAT_REPLY__INIT;
    reply.has_lease_ms = true;
    reply.lease_ms = renewal_ms;
    answer (from, ROTA_MESSAGE_AGENT_HEARTBEAT_REPLY, &reply.base);
}

static reported_t *report_of (uint64_t key, uint32_t attempt)
{
    for (size_t i = 0; i < we.reported_count; i++)
        if (we.reported[i].key == key && we.reported[i].attempt == attempt)
            return &we.reported[i];
    return NULL;
}

static void on_report (const rota_envelope_t *from, const Rota__Report *it)
{
    Rota__ReportStatus items[LIST_MAX], *list[LIST_MAX];
    Rota__ReportReply reply = ROTA__REPORT_REPLY__INIT;
    for (size_t i = 0; i < it->n_reports && i < LIST_MAX; i++) {
        const Rota__AttemptReport *report = it->reports[i];
        reported_t *known = report_of (report->key, report->attempt);
        if (!known) {
            known = &we.reported[we.reported_count++ % LIST_MAX];
            *known = (reported_t){.key = report->key, .attempt = report->attempt};
        }
        known->times++;
        known->class = report->result->result_class;
        known->exit_code = report->result->exit_code;
        copy (known->message, sizeof known->message, report->result->message);
        copy (known->last_output, sizeof known->last_output, report->result->last_output);
        rota__report_status__init (&items[i]);
        items[i].has_key = items[i].has_attempt = items[i].has_store = true;
        items[i].key = report->key;
        items[i].attempt = report->attempt;
        items[i].store = report->store;
        list[i] = &items[i];
        reply.n_reports++;
    }
    reply.reports = list;
    if (!we.forgetful)
        answer (from, ROTA_MESSAGE_REPORT_REPLY, &reply.base);
}

static void on_accepted (const Rota__Accepted *it)
{
    for (size_t i = 0; i < it->n_attempts; i++)
        we.accepted[we.accepted_count++ % LIST_MAX] =
            (listed_t){.key = it->attempts[i]->key, .attempt = it->attempts[i]->attempt};
}

static void on_message (void *owner, const rota_envelope_t *from, const uint8_t *body, size_t size)
{
    ProtobufCMessage *message = NULL;
    (void)owner;
    rota_arena_reset (we.arena);
    if (rota_body_decode (from->type, body, size, we.arena, &message) < 0)
        return;
    if (from->type == ROTA_MESSAGE_REGISTER)
        on_register (from, (const Rota__Register *)message);
    else if (from->type == ROTA_MESSAGE_AGENT_HEARTBEAT)
        on_heartbeat (from, (const Rota__AgentHeartbeat *)message);
    else if (from->type == ROTA_MESSAGE_REPORT)
        on_report (from, (const Rota__Report *)message);
    else if (from->type == ROTA_MESSAGE_ACCEPTED)
        on_accepted ((const Rota__Accepted *)message);
}

static int end_turn (zloop_t *loop, int timer, void *argument)
{
    (void)loop;
    (void)timer;
    (void)argument;
    return -1;
}

static void turn (void)
{
    zloop_timer (we.loop, TURN_MS, 1, end_turn, NULL);
    zloop_start (we.loop);
}

#define WAIT_UNTIL(condition)                                                                                \
    do {                                                                                                     \
        int64_t wait_end_ms = rota_clock_monotonic_ms () + WATCHDOG_MS;                                      \
        while (!(condition)) {                                                                               \
            assert_true (rota_clock_monotonic_ms () < wait_end_ms);                                          \
            turn ();                                                                                         \
        }                                                                                                    \
    } while (0)

/* ---- the agent */

static char program[512];
static pid_t agent_pid;

static void start_agent_named (const char *name, const char *slots, const char *exec_command, pid_t *ret_pid)
{
    char *argv[] = {program,         (char *)"--state", we.broker.state_dir,  (char *)"--name",
                    (char *)name,    (char *)"--slots", (char *)slots,        (char *)"--log-level",
                    (char *)"error", (char *)"--exec",  (char *)exec_command, NULL};
    if (!exec_command)
        argv[9] = NULL;
    assert_int_equal (posix_spawn (ret_pid, program, NULL, NULL, argv, environ), 0);
}

static void start_agent (const char *slots)
{
    unsigned before = we.registers, beats = we.heartbeats;
    start_agent_named ("tester", slots, NULL, &agent_pid);
    WAIT_UNTIL (we.registers > before && (we.unknowing || we.heartbeats > beats));
}

static int stop_agent (void)
{
    int status;
    kill (agent_pid, SIGTERM);
    while (waitpid (agent_pid, &status, WNOHANG) == 0)
        turn ();
    agent_pid = 0;
    return WIFEXITED (status) ? WEXITSTATUS (status) : -1;
}

static void kill_agent (void)
{
    kill (agent_pid, SIGKILL);
    waitpid (agent_pid, NULL, 0);
    agent_pid = 0;
}

/* ---- tasks */

typedef struct {
    Rota__TaskSpec spec;
    Rota__Assignment assignment;
    char id[32];
} job_t;

static job_t *job (const char *command)
{
    static job_t made;
    keys++;
    snprintf (made.id, sizeof made.id, "task/%llu", (unsigned long long)keys);
    rota__task_spec__init (&made.spec);
    rota__assignment__init (&made.assignment);
    made.spec.has_id = made.spec.has_title = made.spec.has_directory = true;
    made.spec.id = rota_bytes (made.id);
    made.spec.title = rota_bytes ("A title");
    made.spec.directory = rota_bytes (we.broker.state_dir);
    made.spec.has_run = command != NULL;
    made.spec.run = rota_bytes (command ? command : "");
    made.assignment.spec = &made.spec;
    made.assignment.has_key = made.assignment.has_attempt = made.assignment.has_lease_ms = true;
    made.assignment.key = keys;
    made.assignment.attempt = 1;
    made.assignment.lease_ms = LEASE_MS;
    return &made;
}

static void assign (job_t *what)
{
    Rota__Assign message = ROTA__ASSIGN__INIT;
    Rota__Assignment *list[] = {&what->assignment};
    message.n_assignments = 1;
    message.assignments = list;
    send_to_agent (ROTA_MESSAGE_ASSIGN, &message.base);
}

static size_t times_accepted (uint64_t key)
{
    size_t count = 0;
    for (size_t i = 0; i < we.accepted_count && i < LIST_MAX; i++)
        count += we.accepted[i].key == key;
    return count;
}

static const reported_t *result_of (uint64_t key)
{
    WAIT_UNTIL (report_of (key, 1));
    return report_of (key, 1);
}

static const reported_t *run (job_t *what)
{
    assign (what);
    return result_of (what->assignment.key);
}

static void stop_attempt (uint64_t key, uint32_t grace_ms)
{
    Rota__Stop message = ROTA__STOP__INIT;
    Rota__Held held = ROTA__HELD__INIT, *list[] = {&held};
    held.has_key = held.has_attempt = message.has_grace_ms = true;
    held.key = key;
    held.attempt = 1;
    message.n_attempts = 1;
    message.attempts = list;
    message.grace_ms = grace_ms;
    send_to_agent (ROTA_MESSAGE_STOP, &message.base);
}

static const listed_t *listed (uint64_t key)
{
    for (size_t i = 0; i < we.listed_count; i++)
        if (we.listed[i].key == key)
            return &we.listed[i];
    return NULL;
}

static bool file_has (const char *name, const char *text)
{
    char path[200], bytes[4096];
    snprintf (path, sizeof path, "%s/%s", we.broker.state_dir, name);
    int fd = open (path, O_RDONLY);
    if (fd < 0)
        return false;
    ssize_t size = read (fd, bytes, sizeof bytes - 1);
    close (fd);
    return size > 0 && memmem (bytes, (size_t)size, text, strlen (text));
}

/* A small file's text; "" if there is none. */
static const char *text_of (const char *path)
{
    static char text[512];
    int fd = open (path, O_RDONLY);
    ssize_t size = fd < 0 ? 0 : read (fd, text, sizeof text - 1);
    text[size > 0 ? size : 0] = 0;
    if (fd >= 0)
        close (fd);
    return text;
}

/* 0 until a whole line is there. */
static pid_t pid_in (const char *name)
{
    char path[200];
    snprintf (path, sizeof path, "%s/%s", we.broker.state_dir, name);
    const char *text = text_of (path);
    return strchr (text, '\n') ? (pid_t)strtol (text, NULL, 10) : 0;
}

/* What stands behind the name in parentheses: state and parent; NULL without such a process. */
static const char *stat_of (pid_t pid)
{
    char path[64];
    snprintf (path, sizeof path, "/proc/%d/stat", (int)pid);
    const char *end = strrchr (text_of (path), ')');
    return end ? end + 2 : NULL;
}

static bool is_alive (pid_t pid)
{
    const char *state = stat_of (pid);
    return state && *state != 'Z' && *state != 'X';
}

static size_t spool_files (const char *below)
{
    char path[200];
    size_t count = 0;
    snprintf (path, sizeof path, "%s/spool/tester%s", we.broker.state_dir, below);
    DIR *directory = opendir (path);
    for (struct dirent *entry; directory && (entry = readdir (directory));)
        count += strstr (entry->d_name, ".attempt") != NULL;
    if (directory)
        closedir (directory);
    return count;
}

static void read_shim (uint64_t key, rota_spool_record_t *ret_record)
{
    char directory[200], name[ROTA_SPOOL_NAME_BYTES];
    snprintf (directory, sizeof directory, "%s/spool/tester", we.broker.state_dir);
    rota_spool_name (we.store, key, 1, name);
    assert_int_equal (rota_spool_read (directory, name, ret_record), 0);
}

/* ---- taking work */

static void it_says_who_it_is (void **state)
{
    (void)state;
    start_agent ("3");
    assert_string_equal (we.name, "tester");
    assert_string_equal (we.kind, "exec");
    assert_string_equal (we.capabilities, "run ");
    assert_int_equal (we.slots, 3);
    assert_int_equal (we.listed_count, 0);
    assert_false (we.draining);
}

static void an_assignment_is_accepted_run_reported_and_forgotten (void **state)
{
    (void)state;
    start_agent ("2");
    job_t *what = job ("echo \"$ROTA_TASK_TITLE\" > title; echo said");
    const reported_t *result = run (what);
    assert_int_equal (times_accepted (what->assignment.key), 1);
    assert_int_equal (result->class, RESULT (OK));
    assert_int_equal (result->exit_code, 0);
    assert_true (file_has ("title", "A title\n"));
    char log[64];
    snprintf (log, sizeof log, "logs/task%%2F%llu/1", (unsigned long long)what->assignment.key);
    assert_true (file_has (log, "said\n"));
    WAIT_UNTIL (spool_files ("") == 0);
    WAIT_UNTIL (!listed (what->assignment.key));
}

static void the_same_assignment_again_is_accepted_again_and_not_run_again (void **state)
{
    (void)state;
    start_agent ("2");
    we.forgetful = true; /* so that it stays held when it has ended */
    job_t *what = job ("echo once >> count");
    assign (what);
    assign (what);
    WAIT_UNTIL (times_accepted (what->assignment.key) == 2);
    result_of (what->assignment.key);
    assign (what);
    WAIT_UNTIL (times_accepted (what->assignment.key) == 3);
    assert_true (file_has ("count", "once\n"));
    assert_false (file_has ("count", "once\nonce\n"));
}

static void a_field_of_the_task_is_never_shell (void **state)
{
    (void)state;
    start_agent ("1");
    job_t *what = job ("printf '%s|%s|%s' \"$ROTA_TASK_TITLE\" \"$ROTA_TASK_ID\" \"$ROTA_ATTEMPT\" > fields");
    what->spec.title = rota_bytes ("$(touch pwned); `touch pwned` '\"\n;");
    run (what);
    char expected[128];
    snprintf (expected, sizeof expected, "$(touch pwned); `touch pwned` '\"\n;|%s|1", what->id);
    assert_true (file_has ("fields", expected));
    assert_false (file_has ("pwned", ""));
}

static void what_ends_badly_is_told_by_its_class (void **state)
{
    (void)state;
    start_agent ("1");
    const reported_t *result = run (job ("echo why; exit 3"));
    assert_int_equal (result->class, RESULT (FAILED));
    assert_int_equal (result->exit_code, 3);
    assert_string_equal (result->last_output, "why\n");
    result = run (job ("no-such-command-here"));
    assert_int_equal (result->class, RESULT (FAILED));
    assert_non_null (strstr (result->message, "not found"));
    result = run (job (NULL));
    assert_int_equal (result->class, RESULT (INVALID));
    job_t *what = job ("true");
    what->spec.directory = rota_bytes ("/nowhere/at-all");
    result = run (what);
    assert_int_equal (result->class, RESULT (ENVIRONMENT));
    assert_non_null (strstr (result->message, "/nowhere/at-all"));
    what = job ("exec sleep 1000");
    what->spec.has_timeout_ms = true;
    what->spec.timeout_ms = 300;
    assert_int_equal (run (what)->class, RESULT (TIMEOUT));
    what = job ("exec sleep 1000");
    what->spec.has_silence_ms = true;
    what->spec.silence_ms = 300;
    assert_int_equal (run (what)->class, RESULT (TIMEOUT));
}

static void a_default_command_serves_tasks_without_one (void **state)
{
    (void)state;
    unsigned before = we.heartbeats;
    start_agent_named ("tester", "1", "echo \"$ROTA_TASK_PROMPT\" > prompt", &agent_pid);
    WAIT_UNTIL (we.heartbeats > before);
    assert_string_equal (we.capabilities, "run prompt ");
    job_t *what = job (NULL);
    what->spec.has_prompt = true;
    what->spec.prompt = rota_bytes ("do it");
    assert_int_equal (run (what)->class, RESULT (OK));
    assert_true (file_has ("prompt", "do it\n"));
}

static void no_more_than_its_slots_are_taken (void **state)
{
    (void)state;
    start_agent ("1");
    job_t *first = job ("echo $$ > first; exec sleep 1000");
    uint64_t first_key = first->assignment.key;
    assign (first);
    WAIT_UNTIL (pid_in ("first"));
    job_t *second = job ("true");
    assign (second);
    unsigned before = we.heartbeats;
    WAIT_UNTIL (we.heartbeats >= before + 3);
    assert_int_equal (times_accepted (second->assignment.key), 0);
    stop_attempt (first_key, 1000);
    assert_int_equal (result_of (first_key)->class, RESULT (KILLED));
    assert_int_equal (run (second)->class, RESULT (OK)); /* asked again, as a scheduler does */
}

static void a_newer_attempt_waits_for_the_end_of_the_older_one (void **state)
{
    (void)state;
    start_agent ("4");
    job_t *what = job ("echo $$ > runs; exec sleep 1000");
    assign (what);
    WAIT_UNTIL (pid_in ("runs"));
    what->assignment.attempt = 2;
    assign (what);
    assert_int_equal (result_of (what->assignment.key)->class, RESULT (KILLED));
    assert_null (report_of (what->assignment.key, 2));
    assert_int_equal (times_accepted (what->assignment.key), 1);
}

static void nonsense_from_the_scheduler_is_survived (void **state)
{
    (void)state;
    start_agent ("1");
    job_t *what = job ("true");
    what->assignment.spec = NULL;
    assign (what);
    what = job ("true");
    what->assignment.has_key = false;
    what->assignment.key = 0;
    assign (what);
    what = job ("true");
    what->spec.id = rota_bytes_n ("a\0b", 3);
    assign (what);
    rota_envelope_t envelope = {
        .type = ROTA_MESSAGE_ASSIGN, .has_to = true, .has_store = true, .scheduler_epoch = we.epoch};
    memcpy (envelope.to, we.agent, 16);
    memcpy (envelope.store, we.store, 16);
    rota_peer_send_packed (we.peer, &envelope, (const uint8_t *)"\xff\xff\xff", 3);
    stop_attempt (12345, 0);
    assert_int_equal (run (job ("true"))->class, RESULT (OK));
}

/* ---- leases and stops */

static void renewals_keep_it_alive_and_without_them_it_ends (void **state)
{
    (void)state;
    start_agent ("1");
    job_t *what = job ("echo $$ > leased; exec sleep 1000");
    what->assignment.lease_ms = 1500;
    renewal_ms = 1500;
    assign (what);
    int64_t begun_ms = rota_clock_monotonic_ms ();
    WAIT_UNTIL (rota_clock_monotonic_ms () - begun_ms > 3000);
    assert_null (report_of (what->assignment.key, 1));
    we.deaf = true;
    const reported_t *result = result_of (what->assignment.key);
    assert_int_equal (result->class, RESULT (KILLED));
    assert_false (is_alive (pid_in ("leased")));
    renewal_ms = LEASE_MS;
}

static void a_stop_ends_the_whole_tree (void **state)
{
    (void)state;
    start_agent ("1");
    job_t *what = job ("setsid sh -c 'echo $$ > away; exec sleep 1000' & wait");
    assign (what);
    WAIT_UNTIL (pid_in ("away"));
    stop_attempt (what->assignment.key, 1000);
    assert_int_equal (result_of (what->assignment.key)->class, RESULT (KILLED));
    assert_false (is_alive (pid_in ("away")));
}

/* ---- crashes */

static void a_result_is_reported_until_it_is_acknowledged_over_a_crash_too (void **state)
{
    (void)state;
    start_agent ("1");
    we.forgetful = true;
    job_t *what = job ("echo x; exit 9");
    uint64_t key = what->assignment.key;
    run (what);
    kill_agent ();
    we.reported_count = 0;
    we.listed_count = 0;
    start_agent ("1");
    assert_non_null (listed (key));
    assert_true (listed (key)->finished);
    const reported_t *result = result_of (key);
    assert_int_equal (result->class, RESULT (FAILED));
    assert_int_equal (result->exit_code, 9);
    assert_string_equal (result->last_output, "x\n");
    WAIT_UNTIL (report_of (key, 1)->times > 1);
    we.forgetful = false;
    WAIT_UNTIL (spool_files ("") == 0);
}

static void a_host_that_is_killed_takes_its_work_along (void **state)
{
    (void)state;
    start_agent ("1");
    job_t *what = job ("echo $$ > victim; exec sleep 1000");
    uint64_t key = what->assignment.key;
    assign (what);
    WAIT_UNTIL (pid_in ("victim"));
    kill_agent ();
    start_agent ("1");
    /* It says so only when it is true. */
    assert_false (is_alive (pid_in ("victim")));
    assert_int_equal (result_of (key)->class, RESULT (KILLED));
}

static void on_lost_continue_outlives_its_host_and_is_held_by_the_next (void **state)
{
    (void)state;
    start_agent ("1");
    job_t *what = job ("echo $$ > keeper; while [ ! -e gate ]; do sleep 0.05; done; echo through; exit 4");
    uint64_t key = what->assignment.key;
    what->assignment.has_keep_on_lost = what->assignment.keep_on_lost = true;
    assign (what);
    WAIT_UNTIL (pid_in ("keeper"));
    kill_agent ();
    start_agent ("1");
    assert_non_null (listed (key));
    assert_false (listed (key)->finished);
    assert_true (is_alive (pid_in ("keeper")));
    char gate[200];
    snprintf (gate, sizeof gate, "%s/gate", we.broker.state_dir);
    close (open (gate, O_CREAT | O_WRONLY, 0600));
    assert_int_equal (result_of (key)->exit_code, 4);
    assert_string_equal (report_of (key, 1)->last_output, "through\n");
}

static void what_continues_can_be_stopped_by_the_next_host (void **state)
{
    (void)state;
    start_agent ("1");
    job_t *what = job ("echo $$ > keeper2; exec sleep 1000");
    uint64_t key = what->assignment.key;
    what->assignment.has_keep_on_lost = what->assignment.keep_on_lost = true;
    assign (what);
    WAIT_UNTIL (pid_in ("keeper2"));
    kill_agent ();
    start_agent ("1");
    stop_attempt (key, 1000);
    assert_int_equal (result_of (key)->class, RESULT (KILLED));
    assert_false (is_alive (pid_in ("keeper2")));
}

static void an_attempt_whose_shim_is_killed_is_lost_and_dead (void **state)
{
    (void)state;
    rota_spool_record_t record;
    start_agent ("1");
    job_t *what = job ("setsid sh -c 'trap \"\" TERM; echo $$ > orphan; while :; do sleep 0.1; done' & wait");
    assign (what);
    WAIT_UNTIL (pid_in ("orphan"));
    read_shim (what->assignment.key, &record);
    kill (record.running.shim_pid, SIGKILL);
    assert_int_equal (result_of (what->assignment.key)->class, RESULT (LOST));
    assert_false (is_alive (pid_in ("orphan")));
    WAIT_UNTIL (spool_files ("") == 0);
}

static pid_t parent_of (pid_t pid)
{
    const char *state = stat_of (pid);
    assert_non_null (state);
    return (pid_t)strtol (state + 1, NULL, 10);
}

static void when_host_spawner_and_shim_are_all_killed_the_next_host_finds_what_is_left (void **state)
{
    (void)state;
    rota_spool_record_t record;
    start_agent ("1");
    job_t *what =
        job ("setsid sh -c 'trap \"\" TERM HUP; echo $$ > stray; while :; do sleep 0.1; done' & wait");
    uint64_t key = what->assignment.key;
    assign (what);
    WAIT_UNTIL (pid_in ("stray"));
    read_shim (key, &record);
    pid_t spawner = parent_of (record.running.shim_pid);
    /* Held still first, so that none of them sees the others die. */
    kill (agent_pid, SIGSTOP);
    kill (spawner, SIGSTOP);
    kill (record.running.shim_pid, SIGKILL);
    kill (spawner, SIGKILL);
    kill_agent ();
    assert_true (is_alive (pid_in ("stray")));
    start_agent ("1");
    assert_false (is_alive (pid_in ("stray")));
    assert_int_equal (result_of (key)->class, RESULT (LOST));
}

static void without_its_spawner_it_ends_and_a_new_start_helps (void **state)
{
    (void)state;
    rota_spool_record_t record;
    int status;
    start_agent ("1");
    job_t *what = job ("echo $$ > parted; exec sleep 1000");
    uint64_t key = what->assignment.key;
    assign (what);
    WAIT_UNTIL (pid_in ("parted"));
    read_shim (key, &record);
    kill (parent_of (record.running.shim_pid), SIGKILL);
    while (waitpid (agent_pid, &status, WNOHANG) == 0)
        turn ();
    assert_int_equal (WEXITSTATUS (status), 1);
    start_agent ("1");
    assert_int_equal (result_of (key)->class, RESULT (KILLED));
    assert_false (is_alive (pid_in ("parted")));
}

static void a_second_host_of_the_name_waits_for_the_first (void **state)
{
    (void)state;
    pid_t second;
    start_agent ("1");
    uint8_t first_instance[16];
    memcpy (first_instance, we.agent, 16);
    start_agent_named ("tester", "1", NULL, &second);
    unsigned before = we.heartbeats, registers = we.registers;
    WAIT_UNTIL (we.heartbeats >= before + 5);
    assert_int_equal (we.registers, registers);
    assert_int_equal (stop_agent (), 0);
    WAIT_UNTIL (we.registers > registers);
    assert_memory_not_equal (we.agent, first_instance, 16);
    agent_pid = second;
}

/* ---- which scheduler counts */

static void a_scheduler_of_an_older_epoch_has_no_say_not_after_a_restart_either (void **state)
{
    (void)state;
    start_agent ("1");
    uint64_t newest = we.epoch;
    for (int round = 0; round < 2; round++) {
        we.epoch = newest - 1;
        job_t *what = job ("true");
        uint64_t key = what->assignment.key;
        assign (what);
        we.epoch = newest;
        assert_int_equal (run (job ("true"))->class, RESULT (OK));
        assert_int_equal (times_accepted (key), 0);
        if (round == 0) {
            kill_agent ();
            /* The stale one answers first. */
            we.epoch = newest - 1;
            unsigned before = we.registers;
            start_agent_named ("tester", "1", NULL, &agent_pid);
            WAIT_UNTIL (we.registers > before);
            unsigned beats = we.heartbeats;
            before = we.registers;
            WAIT_UNTIL (we.registers > before); /* it asks again: that was no answer */
            assert_int_equal (we.heartbeats, beats);
            we.epoch = newest;
            WAIT_UNTIL (we.heartbeats > beats);
        }
    }
}

static void with_another_store_the_old_work_ends_and_its_report_is_put_aside (void **state)
{
    (void)state;
    start_agent ("2");
    we.forgetful = true;
    job_t *what = job ("exit 0");
    uint64_t ended = what->assignment.key;
    run (what);
    what = job ("echo $$ > before; exec sleep 1000");
    uint64_t running = what->assignment.key;
    assign (what);
    WAIT_UNTIL (pid_in ("before"));
    we.reported_count = 0;
    we.forgetful = false;
    we.epoch = 1;
    rota_instance_new (we.store);
    unsigned before = we.registers;
    what = job ("true");
    assign (what); /* the first word of the other store */
    WAIT_UNTIL (we.registers > before);
    assert_false (is_alive (pid_in ("before")));
    assert_int_equal (we.listed_count, 0);
    assert_int_equal (run (job ("true"))->class, RESULT (OK));
    assert_null (report_of (ended, 1));
    assert_null (report_of (running, 1));
    assert_int_equal (spool_files ("/quarantine"), 2);
}

/* ---- output */

static int read_output (rota_client_t *client, const char *id, uint64_t offset, char *ret_text,
                        bool *ret_ended)
{
    Rota__OutputQuery query = ROTA__OUTPUT_QUERY__INIT;
    ProtobufCMessage *reply = NULL;
    rota_error_t error;
    query.has_task = query.has_attempt = query.has_offset = true;
    query.task = rota_bytes (id);
    query.attempt = 1;
    query.offset = offset;
    int status = rota_client_call_to (client, we.agent, ROTA_MESSAGE_OUTPUT_QUERY, &query.base, WATCHDOG_MS,
                                      ROTA_MESSAGE_OUTPUT_REPLY, &reply, &error);
    if (status < 0)
        return status;
    const Rota__OutputReply *it = (const Rota__OutputReply *)reply;
    copy (ret_text, 100, it->data);
    *ret_ended = it->ended;
    return (int)it->data.len;
}

static void output_can_be_read_while_it_is_written_and_after (void **state)
{
    (void)state;
    char text[100], gate[200];
    bool ended = true;
    rota_error_t error;
    start_agent ("1");
    rota_client_t *client = rota_client_new (we.broker.endpoints.client, "reader", &error);
    assert_non_null (client);
    job_t *what = job ("echo one; echo $$ > speaker; while [ ! -e gate2 ]; do sleep 0.05; done; echo two");
    assign (what);
    WAIT_UNTIL (pid_in ("speaker"));
    int size;
    while ((size = read_output (client, what->id, 0, text, &ended)) == 0)
        turn ();
    assert_int_equal (size, 4);
    assert_string_equal (text, "one\n");
    assert_false (ended);
    assert_int_equal (read_output (client, what->id, 4, text, &ended), 0);
    assert_false (ended);
    snprintf (gate, sizeof gate, "%s/gate2", we.broker.state_dir);
    close (open (gate, O_CREAT | O_WRONLY, 0600));
    result_of (what->assignment.key);
    assert_int_equal (read_output (client, what->id, 4, text, &ended), 4);
    assert_string_equal (text, "two\n");
    assert_true (ended);
    assert_int_equal (read_output (client, "never/ran", 0, text, &ended), -EPROTO);
    assert_int_equal (rota_client_last_code (client), ERROR_CODE (NOT_FOUND));
    assert_int_equal (read_output (client, "", 0, text, &ended), -EPROTO);
    rota_client_destroy (&client);
}

/* ---- leaving */

static void told_to_leave_it_ends_its_work_hands_it_in_and_goes (void **state)
{
    (void)state;
    start_agent ("2");
    job_t *what = job ("trap 'echo bye; exit 5' TERM; echo $$ > polite; while :; do sleep 0.02; done");
    uint64_t key = what->assignment.key;
    assign (what);
    WAIT_UNTIL (pid_in ("polite"));
    assert_int_equal (stop_agent (), 0);
    assert_int_equal (report_of (key, 1)->class, RESULT (KILLED));
    assert_int_equal (report_of (key, 1)->exit_code, 5);
    assert_true (we.draining);
    assert_int_equal (spool_files (""), 0);
}

static void told_twice_it_does_not_wait_for_the_stubborn (void **state)
{
    (void)state;
    start_agent ("1");
    job_t *what = job ("trap '' TERM; echo $$ > stubborn; while :; do sleep 0.02; done");
    assign (what);
    WAIT_UNTIL (pid_in ("stubborn"));
    kill (agent_pid, SIGTERM);
    WAIT_UNTIL (we.draining);
    assert_int_equal (stop_agent (), 0);
    assert_false (is_alive (pid_in ("stubborn")));
    assert_int_equal (report_of (what->assignment.key, 1)->class, RESULT (KILLED));
}

static void without_a_scheduler_it_leaves_and_the_spool_keeps_the_result (void **state)
{
    (void)state;
    start_agent ("1");
    we.forgetful = true;
    run (job ("true"));
    assert_int_equal (stop_agent (), 0);
    assert_int_equal (spool_files (""), 1);
}

static void wrong_configurations_are_refused_in_words (void **state)
{
    (void)state;
    static const rota_agent_config_t WRONG[] = {
        {.kind = "nonsense", .slots = 1},
        {.kind = "exec", .slots = 0},
        {.kind = "exec", .slots = 1, .name = "two\nlines"},
    };
    rota_settings_t *settings = NULL;
    rota_error_t error;
    assert_int_equal (rota_settings_parse ("", "", 0, NULL, NULL, &settings, &error), 0);
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        rota_agent_config_t config = WRONG[i];
        int status = 0;
        config.state_dir = we.broker.state_dir;
        config.settings = settings;
        error.text[0] = 0;
        assert_null (rota_agent_new (&config, &status, &error));
        assert_int_equal (status, -EINVAL);
        assert_true (error.text[0]);
    }
    rota_settings_destroy (&settings);
}

/* ---- set-up */

static int open_all (void **state)
{
    (void)state;
    const char *bin = getenv ("ROTA_BIN");
    rota_broker_config_t config = {.heartbeat_ms = 200, .dead_after_ms = 2000};
    rota_error_t error = {""};
    if (!bin) {
        print_error ("set ROTA_BIN to the directory of rota-agent\n");
        return -1;
    }
    setenv ("ROTA_CONFIG", "/dev/null", 1);
    snprintf (program, sizeof program, "%s/rota-agent", bin);
    memset (&we, 0, sizeof we);
    broker_thread_open (&we.broker, &config);
    we.epoch = 7;
    rota_instance_new (we.store);
    we.loop = zloop_new ();
    we.arena = rota_arena_new (4 << 20);
    rota_peer_config_t peer = {.endpoints = we.broker.endpoints.service,
                               .role = ROTA__ROLE__ROLE_SCHEDULER,
                               .name = "scheduler of the test",
                               .scheduler_epoch = we.epoch,
                               .on_message = on_message};
    we.peer = rota_peer_new (&peer, we.loop, &error);
    if (!we.peer)
        return -1;
    WAIT_UNTIL (rota_peer_is_ready (we.peer));
    return 0;
}

static int close_all (void **state)
{
    (void)state;
    we.deaf = we.forgetful = we.unknowing = false;
    int status = agent_pid ? stop_agent () : 0;
    rota_peer_destroy (&we.peer);
    zloop_destroy (&we.loop);
    rota_arena_destroy (&we.arena);
    broker_thread_close (&we.broker);
    while (waitpid (-1, NULL, WNOHANG) > 0) /* what killed agents left to us */
        continue;
    return status;
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, open_all, close_all)

int main (void)
{
    rota_bus_start ();
    rota_log_setup ("test", ROTA_LOG_ERROR, ROTA_LOG_LOGFMT);
    prctl (PR_SET_CHILD_SUBREAPER, 1); /* what a killed agent leaves is ours to see */
    signal (SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        TEST (it_says_who_it_is),
        TEST (an_assignment_is_accepted_run_reported_and_forgotten),
        TEST (the_same_assignment_again_is_accepted_again_and_not_run_again),
        TEST (a_field_of_the_task_is_never_shell),
        TEST (what_ends_badly_is_told_by_its_class),
        TEST (a_default_command_serves_tasks_without_one),
        TEST (no_more_than_its_slots_are_taken),
        TEST (a_newer_attempt_waits_for_the_end_of_the_older_one),
        TEST (nonsense_from_the_scheduler_is_survived),
        TEST (renewals_keep_it_alive_and_without_them_it_ends),
        TEST (a_stop_ends_the_whole_tree),
        TEST (a_result_is_reported_until_it_is_acknowledged_over_a_crash_too),
        TEST (a_host_that_is_killed_takes_its_work_along),
        TEST (on_lost_continue_outlives_its_host_and_is_held_by_the_next),
        TEST (what_continues_can_be_stopped_by_the_next_host),
        TEST (an_attempt_whose_shim_is_killed_is_lost_and_dead),
        TEST (when_host_spawner_and_shim_are_all_killed_the_next_host_finds_what_is_left),
        TEST (without_its_spawner_it_ends_and_a_new_start_helps),
        TEST (a_second_host_of_the_name_waits_for_the_first),
        TEST (a_scheduler_of_an_older_epoch_has_no_say_not_after_a_restart_either),
        TEST (with_another_store_the_old_work_ends_and_its_report_is_put_aside),
        TEST (output_can_be_read_while_it_is_written_and_after),
        TEST (told_to_leave_it_ends_its_work_hands_it_in_and_goes),
        TEST (told_twice_it_does_not_wait_for_the_stubborn),
        TEST (without_a_scheduler_it_leaves_and_the_spool_keeps_the_result),
        TEST (wrong_configurations_are_refused_in_words),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
