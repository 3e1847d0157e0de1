#include "tests/component/host_stage.h"

#include "bus/log.h"
#include "bus/names.h"
#include "bus/start.h"

#include <dirent.h>
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

#define TURN_MS 5

/* ---- the scheduler that we play */

host_stage_t host_stage;

static uint64_t keys;

void host_stage_send_to_agent (uint32_t type, const ProtobufCMessage *message)
{
    rota_envelope_t envelope = {
        .type = type, .has_to = true, .has_store = true, .scheduler_epoch = host_stage.epoch};
    memcpy (envelope.to, host_stage.agent, 16);
    memcpy (envelope.store, host_stage.store, 16);
    assert_int_equal (rota_peer_send (host_stage.peer, &envelope, message), 0);
}

static void answer (const rota_envelope_t *request, uint32_t type, const ProtobufCMessage *message)
{
    rota_envelope_t envelope;
    rota_envelope_answer (request, type, &envelope);
    envelope.has_store = true;
    envelope.scheduler_epoch = host_stage.epoch;
    memcpy (envelope.store, host_stage.store, 16);
    rota_peer_send (host_stage.peer, &envelope, message);
}

static void note_list (Rota__Held *const *list, size_t count)
{
    host_stage.listed_count = count < HOST_STAGE_LIST_MAX ? count : HOST_STAGE_LIST_MAX;
    for (size_t i = 0; i < host_stage.listed_count; i++)
        host_stage.listed[i] = (host_stage_listed_t){list[i]->key, list[i]->attempt, list[i]->finished};
}

void host_stage_copy (char *to, size_t capacity, ProtobufCBinaryData bytes)
{
    snprintf (to, capacity, "%.*s", (int)bytes.len, bytes.len ? (const char *)bytes.data : "");
}

static void on_register (const rota_envelope_t *from, const Rota__Register *it)
{
    host_stage.registers++;
    memcpy (host_stage.agent, from->sender, 16);
    host_stage_copy (host_stage.name, sizeof host_stage.name, it->name);
    host_stage_copy (host_stage.kind, sizeof host_stage.kind, it->kind);
    size_t used = 0;
    for (size_t i = 0; i < it->n_capabilities; i++)
        used +=
            (size_t)snprintf (host_stage.capabilities + used, sizeof host_stage.capabilities - used, "%.*s ",
                              (int)it->capabilities[i].len, (const char *)it->capabilities[i].data);
    host_stage.slots = it->slots;
    host_stage.draining = it->drain;
    note_list (it->held, it->n_held);
    if (host_stage.unknowing)
        return;
    Rota__Registered reply = ROTA__REGISTERED__INIT;
    reply.has_heartbeat_ms = reply.has_lease_ms = reply.has_scheduler_epoch = true;
    reply.heartbeat_ms = 100;
    reply.lease_ms = HOST_STAGE_LEASE_MS;
    reply.scheduler_epoch = host_stage.epoch;
    answer (from, ROTA_MESSAGE_REGISTERED, &reply.base);
}

static void on_heartbeat (const rota_envelope_t *from, const Rota__AgentHeartbeat *it)
{
    host_stage.heartbeats++;
    host_stage.draining = it->draining;
    note_list (it->held, it->n_held);
    if (host_stage.deaf)
        return;
    Rota__AgentHeartbeatReply reply = ROTA__AGENT_HEARTBEAT_REPLY__INIT;
    reply.has_lease_ms = true;
    reply.lease_ms = host_stage.renewal_ms;
    answer (from, ROTA_MESSAGE_AGENT_HEARTBEAT_REPLY, &reply.base);
}

host_stage_reported_t *host_stage_report_of (uint64_t key, uint32_t attempt)
{
    for (size_t i = 0; i < host_stage.reported_count; i++)
        if (host_stage.reported[i].key == key && host_stage.reported[i].attempt == attempt)
            return &host_stage.reported[i];
    return NULL;
}

static void on_report (const rota_envelope_t *from, const Rota__Report *it)
{
    Rota__ReportStatus items[HOST_STAGE_LIST_MAX], *list[HOST_STAGE_LIST_MAX];
    Rota__ReportReply reply = ROTA__REPORT_REPLY__INIT;
    for (size_t i = 0; i < it->n_reports && i < HOST_STAGE_LIST_MAX; i++) {
        const Rota__AttemptReport *report = it->reports[i];
        host_stage_reported_t *known = host_stage_report_of (report->key, report->attempt);
        if (!known) {
            known = &host_stage.reported[host_stage.reported_count++ % HOST_STAGE_LIST_MAX];
            *known = (host_stage_reported_t){.key = report->key, .attempt = report->attempt};
        }
        known->times++;
        known->class = report->result->result_class;
        known->epoch = report->coordinator_epoch;
        known->exit_code = report->result->exit_code;
        host_stage_copy (known->message, sizeof known->message, report->result->message);
        host_stage_copy (known->last_output, sizeof known->last_output, report->result->last_output);
        rota__report_status__init (&items[i]);
        items[i].has_key = items[i].has_attempt = items[i].has_store = true;
        items[i].key = report->key;
        items[i].attempt = report->attempt;
        items[i].store = report->store;
        list[i] = &items[i];
        reply.n_reports++;
    }
    reply.reports = list;
    if (!host_stage.forgetful)
        answer (from, ROTA_MESSAGE_REPORT_REPLY, &reply.base);
}

static void on_accepted (const Rota__Accepted *it)
{
    for (size_t i = 0; i < it->n_attempts; i++)
        host_stage.accepted[host_stage.accepted_count++ % HOST_STAGE_LIST_MAX] =
            (host_stage_listed_t){.key = it->attempts[i]->key, .attempt = it->attempts[i]->attempt};
}

static void on_message (void *owner, const rota_envelope_t *from, const uint8_t *body, size_t size)
{
    ProtobufCMessage *message = NULL;
    (void)owner;
    rota_arena_reset (host_stage.arena);
    if (rota_body_decode (from->type, body, size, host_stage.arena, &message) < 0)
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

void host_stage_turn (void)
{
    zloop_timer (host_stage.loop, TURN_MS, 1, end_turn, NULL);
    zloop_start (host_stage.loop);
}

/* ---- the agent */

static char program[512];

void host_stage_start_agent_named (const char *name, const char *slots, const char *exec_command,
                                   pid_t *ret_pid)
{
    char *argv[] = {program,          (char *)"--state",     host_stage.broker.state_dir,
                    (char *)"--name", (char *)name,          (char *)"--slots",
                    (char *)slots,    (char *)"--log-level", (char *)"error",
                    (char *)"--exec", (char *)exec_command,  NULL};
    if (!exec_command)
        argv[9] = NULL;
    assert_int_equal (posix_spawn (ret_pid, program, NULL, NULL, argv, environ), 0);
}

void host_stage_start_agent (const char *slots)
{
    unsigned before = host_stage.registers, beats = host_stage.heartbeats;
    host_stage_start_agent_named ("tester", slots, NULL, &host_stage.agent_pid);
    WAIT_UNTIL (host_stage.registers > before && (host_stage.unknowing || host_stage.heartbeats > beats));
}

int host_stage_stop_agent (void)
{
    int status;
    int64_t end_ms = rota_clock_monotonic_ms () + HOST_STAGE_WATCHDOG_MS / 2;
    kill (host_stage.agent_pid, SIGTERM);
    while (waitpid (host_stage.agent_pid, &status, WNOHANG) == 0) {
        host_stage_turn ();
        if (rota_clock_monotonic_ms () >= end_ms) {
            print_error ("rota-agent doesn't leave\n");
            kill (host_stage.agent_pid, SIGKILL);
        }
    }
    host_stage.agent_pid = 0;
    return WIFEXITED (status) ? WEXITSTATUS (status) : -1;
}

void host_stage_kill_agent (void)
{
    kill (host_stage.agent_pid, SIGKILL);
    waitpid (host_stage.agent_pid, NULL, 0);
    host_stage.agent_pid = 0;
}

/* ---- tasks */

host_stage_job_t *host_stage_job (const char *command)
{
    static host_stage_job_t made;
    keys++;
    snprintf (made.id, sizeof made.id, "task/%llu", (unsigned long long)keys);
    rota__task_spec__init (&made.spec);
    rota__assignment__init (&made.assignment);
    made.spec.has_id = made.spec.has_title = made.spec.has_directory = true;
    made.spec.id = rota_bytes (made.id);
    made.spec.title = rota_bytes ("A title");
    made.spec.directory = rota_bytes (host_stage.broker.state_dir);
    made.spec.has_run = command != NULL;
    made.spec.run = rota_bytes (command ? command : "");
    made.assignment.spec = &made.spec;
    made.assignment.has_key = made.assignment.has_attempt = made.assignment.has_lease_ms = true;
    made.assignment.key = keys;
    made.assignment.attempt = 1;
    made.assignment.lease_ms = HOST_STAGE_LEASE_MS;
    return &made;
}

void host_stage_assign (host_stage_job_t *what)
{
    Rota__Assign message = ROTA__ASSIGN__INIT;
    Rota__Assignment *list[] = {&what->assignment};
    message.n_assignments = 1;
    message.assignments = list;
    host_stage_send_to_agent (ROTA_MESSAGE_ASSIGN, &message.base);
}

size_t host_stage_times_accepted (uint64_t key)
{
    size_t count = 0;
    for (size_t i = 0; i < host_stage.accepted_count && i < HOST_STAGE_LIST_MAX; i++)
        count += host_stage.accepted[i].key == key;
    return count;
}

const host_stage_reported_t *host_stage_result_of (uint64_t key)
{
    WAIT_UNTIL (host_stage_report_of (key, 1));
    return host_stage_report_of (key, 1);
}

const host_stage_reported_t *host_stage_run (host_stage_job_t *what)
{
    host_stage_assign (what);
    return host_stage_result_of (what->assignment.key);
}

void host_stage_stop_attempt (uint64_t key, uint32_t grace_ms)
{
    Rota__Stop message = ROTA__STOP__INIT;
    Rota__Held held = ROTA__HELD__INIT, *list[] = {&held};
    held.has_key = held.has_attempt = message.has_grace_ms = true;
    held.key = key;
    held.attempt = 1;
    message.n_attempts = 1;
    message.attempts = list;
    message.grace_ms = grace_ms;
    host_stage_send_to_agent (ROTA_MESSAGE_STOP, &message.base);
}

const host_stage_listed_t *host_stage_listed (uint64_t key)
{
    for (size_t i = 0; i < host_stage.listed_count; i++)
        if (host_stage.listed[i].key == key)
            return &host_stage.listed[i];
    return NULL;
}

bool host_stage_file_has (const char *name, const char *text)
{
    char path[200], bytes[4096];
    snprintf (path, sizeof path, "%s/%s", host_stage.broker.state_dir, name);
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
pid_t host_stage_pid_in (const char *name)
{
    char path[200];
    snprintf (path, sizeof path, "%s/%s", host_stage.broker.state_dir, name);
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

bool host_stage_is_alive (pid_t pid)
{
    const char *state = stat_of (pid);
    return state && *state != 'Z' && *state != 'X';
}

size_t host_stage_spool_files (const char *below)
{
    char path[200];
    size_t count = 0;
    snprintf (path, sizeof path, "%s/spool/tester%s", host_stage.broker.state_dir, below);
    DIR *directory = opendir (path);
    for (struct dirent *entry; directory && (entry = readdir (directory));)
        count += strstr (entry->d_name, ".attempt") != NULL;
    if (directory)
        closedir (directory);
    return count;
}

void host_stage_read_shim (uint64_t key, rota_spool_record_t *ret_record)
{
    char directory[200], name[ROTA_SPOOL_NAME_BYTES];
    snprintf (directory, sizeof directory, "%s/spool/tester", host_stage.broker.state_dir);
    rota_spool_name (host_stage.store, key, 1, name);
    assert_int_equal (rota_spool_read (directory, name, ret_record), 0);
}

pid_t host_stage_parent_of (pid_t pid)
{
    const char *state = stat_of (pid);
    assert_non_null (state);
    return (pid_t)strtol (state + 1, NULL, 10);
}

/* ---- set-up */

int host_stage_open (void **state)
{
    (void)state;
    const char *bin = getenv ("ROTA_BIN");
    rota_broker_config_t config = {.heartbeat_ms = 200, .dead_after_ms = 2000};
    rota_error_t error = {""};
    if (!bin) {
        print_error ("set ROTA_BIN to the directory of rota-agent\n");
        return -1;
    }
    rota_bus_start ();
    rota_log_setup ("test", ROTA_LOG_ERROR, ROTA_LOG_LOGFMT);
    prctl (PR_SET_CHILD_SUBREAPER, 1); /* what a killed agent leaves is ours to see */
    signal (SIGPIPE, SIG_IGN);
    setenv ("ROTA_CONFIG", "/dev/null", 1);
    snprintf (program, sizeof program, "%s/rota-agent", bin);
    memset (&host_stage, 0, sizeof host_stage);
    broker_thread_open (&host_stage.broker, &config);
    host_stage.epoch = 7;
    host_stage.renewal_ms = HOST_STAGE_LEASE_MS;
    rota_instance_new (host_stage.store);
    host_stage.loop = zloop_new ();
    host_stage.arena = rota_arena_new (4 << 20);
    rota_peer_config_t peer = {.endpoints = host_stage.broker.endpoints.service,
                               .role = ROTA__ROLE__ROLE_SCHEDULER,
                               .name = "scheduler of the test",
                               .scheduler_epoch = host_stage.epoch,
                               .on_message = on_message};
    host_stage.peer = rota_peer_new (&peer, host_stage.loop, &error);
    if (!host_stage.peer)
        return -1;
    WAIT_UNTIL (rota_peer_is_ready (host_stage.peer));
    return 0;
}

int host_stage_close (void **state)
{
    (void)state;
    host_stage.deaf = host_stage.forgetful = host_stage.unknowing = false;
    int status = host_stage.agent_pid ? host_stage_stop_agent () : 0;
    rota_peer_destroy (&host_stage.peer);
    zloop_destroy (&host_stage.loop);
    rota_arena_destroy (&host_stage.arena);
    broker_thread_close (&host_stage.broker);
    while (waitpid (-1, NULL, WNOHANG) > 0) /* what killed agents left to us */
        continue;
    return status;
}
