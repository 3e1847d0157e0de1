/* Attempts: begun, ended, taken over from earlier hosts. */
#include "agents/host_internal.h"

#include "agents/briefing.h"
#include "agents/environment.h"
#include "agents/output.h"
#include "agents/shim.h"
#include "agents/spool.h"
#include "agents/step.h"
#include "agents/sweep.h"
#include "agents/tree.h"
#include "bus/clock.h"
#include "bus/log.h"
#include "proto/words.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SWEEP_AGAIN_MS 30
#define SURVIVOR_AGAIN_MS 1000 /* what SIGKILL doesn't end waits for a device, perhaps for hours */

static const char *quoted (const char *text, char *ret_text, size_t capacity)
{
    return rota_log_quote (text, strlen (text), ret_text, capacity);
}

static void log_hold (rota_log_level_t level, const char *event, const rota_hold_t *hold, const char *more)
{
    char task[256];
    rota_log (level, event, "task=%s attempt=%u%s%s", quoted (hold->task_id, task, sizeof task), hold->number,
              more[0] ? " " : "", more);
}

/* Of what only the coordinator gets it says under which epoch. */
static void log_begun (const rota_hold_t *hold)
{
    char epoch[48] = "";
    if (hold->epoch)
        snprintf (epoch, sizeof epoch, "coordinator_epoch=%llu", (unsigned long long)hold->epoch);
    log_hold (ROTA_LOG_DEBUG, "attempt.begun", hold, epoch);
}

/* ---- ends */

static bool is_old (const rota_agent_t *self, const rota_hold_t *hold)
{
    return self->fence.known && memcmp (hold->store, self->fence.store, sizeof hold->store) != 0;
}

void rota_agent_forget (rota_agent_t *self, rota_hold_t *hold, bool quarantine)
{
    char name[ROTA_SPOOL_NAME_BYTES];
    rota_spool_name (hold->store, hold->key, hold->number, name);
    if (quarantine) {
        log_hold (ROTA_LOG_WARNING, "attempt.quarantined", hold, "reason=\"it counts in another store\"");
        rota_spool_quarantine (self->spool, name);
    } else {
        rota_spool_remove (self->spool, name);
    }
    rota_hold_remove (&self->holds, hold);
}

static void read_last_output (rota_agent_t *self, rota_hold_t *hold)
{
    char path[ROTA_LOGS_PATH_BYTES];
    rota_output_piece_t piece;
    uint64_t size = hold->outcome.output_bytes, want = sizeof hold->last_output;
    if (rota_logs_path (self->state_dir, hold->task_id, strlen (hold->task_id), hold->number, path) == 0 &&
        rota_output_read (path, size > want ? size - want : 0, hold->last_output, sizeof hold->last_output,
                          &piece) == 0)
        hold->last_output_bytes = piece.size_bytes;
}

static void finish (rota_agent_t *self, rota_hold_t *hold, const rota_outcome_t *outcome,
                    const rota_adapter_result_t *result);

static void finish_riders (rota_agent_t *self, const rota_hold_t *leader, const rota_outcome_t *outcome,
                           const rota_adapter_result_t *result)
{
    for (size_t i = self->holds.count; i-- > 0;) {
        rota_hold_t *rider = i < self->holds.count ? self->holds.list[i] : NULL;
        rota_adapter_result_t own;
        if (!rider || !rota_hold_rides (rider, leader))
            continue;
        rota_agent_judge_rider (self, rider, outcome, result, &own);
        finish (self, rider, outcome, &own);
    }
}

static void finish (rota_agent_t *self, rota_hold_t *hold, const rota_outcome_t *outcome,
                    const rota_adapter_result_t *result)
{
    char text[ROTA_ADAPTER_MESSAGE_BYTES + 64], words[ROTA_ADAPTER_MESSAGE_BYTES];
    if (hold->state != ROTA_HOLD_RIDING)
        finish_riders (self, hold, outcome, result);
    hold->state = ROTA_HOLD_FINISHED;
    hold->outcome = *outcome;
    hold->result = *result;
    if (result->result_class != RESULT (OK) && !self->adapter->structured)
        read_last_output (self, hold);
    self->finished++;
    snprintf (text, sizeof text, "result=%s message=%s", rota_result_class_name (result->result_class),
              quoted (result->message, words, sizeof words));
    log_hold (result->result_class == RESULT (OK) ? ROTA_LOG_DEBUG : ROTA_LOG_INFO, "attempt.ended", hold,
              text);
    if (is_old (self, hold))
        rota_agent_forget (self, hold, true);
    else
        self->report_at = INT64_MIN;
}

static void finish_by (rota_agent_t *self, rota_hold_t *hold, Rota__ResultClass class, const char *message)
{
    int64_t now_ms = rota_clock_wall_ms ();
    rota_outcome_t outcome = {
        .exit_code = -1, .tree_dead = true, .started_ms = now_ms, .finished_ms = now_ms};
    rota_adapter_result_t result = {.result_class = class};
    snprintf (result.message, sizeof result.message, "%s", message);
    finish (self, hold, &outcome, &result);
}

/* From the spool, or, where the disk would not take it, from the control socket. */
static bool read_outcome (rota_agent_t *self, rota_hold_t *hold, rota_outcome_t *ret_outcome)
{
    char name[ROTA_SPOOL_NAME_BYTES];
    rota_spool_record_t record;
    uint8_t bytes[ROTA_SPOOL_OUTCOME_MAX_BYTES];

    rota_spool_name (hold->store, hold->key, hold->number, name);
    if (rota_spool_read (self->spool, name, &record) == 0 && record.finished) {
        *ret_outcome = record.outcome;
        return true;
    }
    if (hold->control_fd < 0)
        return false;
    ssize_t size = recv (hold->control_fd, bytes, sizeof bytes, MSG_DONTWAIT);
    return size > 0 && rota_spool_decode_outcome (bytes, (size_t)size, ret_outcome) == 0 &&
           ret_outcome->key == hold->key && ret_outcome->number == hold->number;
}

static void finish_from_record (rota_agent_t *self, rota_hold_t *hold, const rota_outcome_t *outcome)
{
    rota_adapter_result_t result = {.result_class = RESULT (FAILED)};
    char path[ROTA_LOGS_PATH_BYTES] = "";
    rota_logs_path (self->state_dir, hold->task_id, strlen (hold->task_id), hold->number, path);
    self->adapter->classify (&self->context, outcome, path, &result);
    bool works = rota_step_classify (path, outcome, &result);
    if (outcome->started && outcome->end == ROTA_END_NONE)
        rota_briefing_classify (path, works, &result);
    finish (self, hold, outcome, &result);
}

/* What a dead shim could not remove. */
static bool end_group (rota_agent_t *self, const rota_hold_t *hold)
{
    char mark[ROTA_SWEEP_MARK_BYTES], name[ROTA_CGROUP_NAME_BYTES];
    if (!self->cgroup_parent[0])
        return true;
    rota_sweep_mark (self->spool, hold->key, hold->number, mark);
    rota_cgroup_name (mark, name);
    return rota_cgroup_end (self->cgroup_parent, name);
}

/* Something of it is alive, against SIGKILL. While it is, the attempt counts as running, here and for the
 * scheduler: the task is dispatched again nowhere before its old processes are dead. */
static void wait_for_survivors (rota_agent_t *self, rota_hold_t *hold, const rota_outcome_t *outcome)
{
    log_hold (ROTA_LOG_WARNING, "attempt.survives", hold, "reason=\"a process of it outlives SIGKILL\"");
    hold->state = ROTA_HOLD_ELSEWHERE;
    hold->lost = hold->survives = true;
    hold->outcome = *outcome;
    self->sweep_at = INT64_MIN;
}

static void take_end (rota_agent_t *self, const rota_spawner_end_t *end)
{
    rota_outcome_t outcome;
    rota_hold_t *hold = rota_hold_find_launch (&self->holds, end->launch);
    if (!hold)
        return;
    bool failed = WIFEXITED (end->status) && WEXITSTATUS (end->status) == ROTA_SHIM_FAILED;
    if (end->status)
        end_group (self, hold);
    bool known = end->error == 0 && read_outcome (self, hold, &outcome);
    if (known && !outcome.tree_dead)
        wait_for_survivors (self, hold, &outcome);
    else if (known)
        finish_from_record (self, hold, &outcome);
    else if (end->error || failed)
        finish_by (self, hold, RESULT (ENVIRONMENT),
                   end->error ? strerror (-end->error) : "it could not be set up on its host");
    else
        finish_by (self, hold, RESULT (LOST),
                   "the process that watched over it was killed; its processes are dead");
}

void rota_agent_on_ends (rota_agent_t *self)
{
    rota_spawner_end_t end;
    int status;
    while ((status = rota_spawner_next (self->spawner, &end)) > 0)
        take_end (self, &end);
    if (status < 0) {
        rota_log (ROTA_LOG_ERROR, "spawner.gone", "reason=\"the process that starts attempts has died\"");
        rota_agent_fail (self, status);
    }
    rota_agent_look (self);
}

/* ---- beginnings */

static uint32_t or_default (bool has, uint32_t value, uint32_t fallback)
{
    return has ? value : fallback;
}

static int prepare (rota_agent_t *self, const Rota__Assignment *assignment, unsigned slot, rota_pool_t *pool,
                    char log_path[ROTA_LOGS_PATH_BYTES], rota_attempt_t *attempt, rota_error_t *error)
{
    const Rota__TaskSpec *spec = assignment->spec;
    char mark[ROTA_SWEEP_MARK_BYTES];
    if (assignment->phase == PHASE (REVIEW))
        rota_verdict_word (self->context.review);
    int status = self->adapter->prepare (&self->context, assignment, slot, pool, attempt, error);
    if (status < 0)
        return status;
    rota_sweep_mark (self->spool, attempt->key, attempt->number, mark);
    attempt->environment =
        rota_environment_new (&self->context, assignment, mark, attempt->environment, pool);
    if (!attempt->environment)
        return -ENOMEM;
    status = rota_logs_path (self->state_dir, (const char *)spec->id.data, spec->id.len, attempt->number,
                             log_path);
    if (status == 0)
        status = rota_logs_prepare (log_path, error);
    if (status == -EINVAL)
        return -EIO; /* that would be the task's fault */
    if (status == 0)
        status = rota_briefing_prepare (&self->context, assignment, self->adapter->kind, log_path, pool,
                                        attempt, error);
    if (self->adapter->thinks && !spec->has_run)
        attempt->least_ms =
            (uint32_t)rota_setting_duration_ms (self->settings, ROTA_SETTING_AGENTS_LEAST_TIME);
    if (status == 0 && assignment->repository)
        status = rota_step_prepare (&self->context, assignment, slot, log_path, pool, attempt, error);
    else if (status == 0 && assignment->phase == PHASE (REVIEW))
        status = rota_step_prepare_answer (&self->context, log_path, error);
    return status;
}

static void set_limits (rota_agent_t *self, const Rota__Assignment *assignment, rota_attempt_t *attempt)
{
    const Rota__TaskSpec *spec = assignment->spec;
    attempt->output_limit_bytes =
        assignment->has_output_limit_bytes
            ? assignment->output_limit_bytes
            : (uint64_t)rota_setting_size_bytes (self->settings, ROTA_SETTING_AGENTS_OUTPUT_LIMIT);
    attempt->timeout_ms = or_default (spec->has_timeout_ms, spec->timeout_ms, assignment->timeout_ms);
    /* All of it, and its halves after that. */
    if (assignment->n_members && attempt->timeout_ms < UINT32_MAX / (2 * ROTA_STEP_MEMBERS_MAX))
        attempt->timeout_ms *= 1 + 2 * (uint32_t)assignment->n_members;
    attempt->silence_ms = spec->silence_ms;
    attempt->grace_ms = self->grace_ms;
    int64_t lease_ms = rota_agent_lease_left_ms (self, assignment->lease_ms);
    attempt->lease_ms = assignment->keep_on_lost ? 0 : lease_ms > 0 ? (uint32_t)lease_ms : 1;
    attempt->memory_limit_bytes =
        (uint64_t)rota_setting_size_bytes (self->settings, ROTA_SETTING_AGENTS_MEMORY_LIMIT);
    attempt->cgroup_parent = self->cgroup_parent[0] ? self->cgroup_parent : NULL;
    attempt->spool_directory = self->spool;
}

static int launch (rota_agent_t *self, rota_hold_t *hold, const Rota__Assignment *assignment,
                   rota_error_t *error)
{
    rota_attempt_t attempt = {
        .key = hold->key, .number = hold->number, .epoch = hold->epoch, .task_id = hold->task_id};
    char log_path[ROTA_LOGS_PATH_BYTES];
    rota_pool_t *pool = rota_pool_new ();
    int status = -ENOMEM;

    memcpy (attempt.store, hold->store, sizeof attempt.store);
    attempt.log_path = log_path;
    set_limits (self, assignment, &attempt);
    if (pool)
        status = prepare (self, assignment, hold->slot, pool, log_path, &attempt, error);
    if (status == 0) {
        attempt.apart = self->adapter->structured;
        hold->steerable = attempt.steerable;
        hold->launch = ++self->launches;
        status = rota_spawner_launch (self->spawner, &attempt, hold->launch, &hold->control_fd);
        if (status < 0)
            rota_error_set (error, status, "it could not be started: %s", strerror (-status));
    }
    rota_pool_destroy (&pool);
    return status;
}

rota_taking_t rota_agent_take (rota_agent_t *self, const uint8_t store[16],
                               const Rota__Assignment *assignment)
{
    char id[201];
    rota_error_t error = {"out of memory"};

    if (rota_hold_find (&self->holds, store, assignment->key, assignment->attempt))
        return ROTA_TAKEN; /* it came again */
    rota_hold_t *older = rota_hold_find_running (&self->holds, store, assignment->key);
    if (older) {
        /* Two attempts of a task never run side by side. */
        rota_agent_stop_attempt (self, older, self->grace_ms);
        return ROTA_NOT_TAKEN;
    }
    if (self->stops || rota_hold_running (&self->holds) >= self->slots ||
        !rota_agent_batch_fits (self, store, assignment))
        return ROTA_NOT_TAKEN;
    snprintf (id, sizeof id, "%.*s", (int)assignment->spec->id.len, (const char *)assignment->spec->id.data);
    rota_hold_t *hold =
        rota_hold_add (&self->holds, ROTA_HOLD_RUNNING, store, assignment->key, assignment->attempt, id);
    if (!hold)
        return ROTA_NOT_TAKEN;
    hold->slot = rota_agent_free_slot (self, hold);
    hold->goes_on = assignment->keep_on_lost;
    hold->epoch = assignment->coordinator_epoch;
    hold->accepted_ms = rota_clock_boot_ms ();
    int status = launch (self, hold, assignment, &error);
    if (status == -EAGAIN || status == -EPIPE || status == -ENOMEM) {
        rota_hold_remove (&self->holds, hold);
        return ROTA_NOT_TAKEN;
    }
    self->accepted++;
    log_begun (hold);
    if (status < 0)
        finish_by (self, hold,
                   status == -EINVAL || status == -E2BIG ? RESULT (INVALID) : RESULT (ENVIRONMENT),
                   error.text);
    else if (assignment->n_members)
        rota_agent_add_riders (self, hold);
    return ROTA_TAKEN;
}

void rota_agent_stop_attempt (rota_agent_t *self, rota_hold_t *hold, uint32_t grace_ms)
{
    /* One of a batch: all of it ends, and the others go again. */
    if (hold->state == ROTA_HOLD_RIDING)
        hold = rota_agent_leader_of (self, hold);
    if (!hold)
        return;
    if (hold->state == ROTA_HOLD_RUNNING)
        rota_control_stop (hold->control_fd, grace_ms);
    else if (hold->state == ROTA_HOLD_ELSEWHERE && hold->pid_fd >= 0)
        syscall (SYS_pidfd_send_signal, hold->pid_fd, SIGTERM, NULL, 0);
}

/* ---- what earlier hosts left */

static int on_shim_gone (zloop_t *loop, zmq_pollitem_t *item, void *argument)
{
    rota_agent_t *self = argument;
    rota_hold_t *hold = NULL;
    rota_outcome_t outcome;
    zmq_pollitem_t copy = *item;

    zloop_poller_end (loop, &copy);
    for (size_t i = 0; i < self->holds.count; i++)
        if (self->holds.list[i]->state == ROTA_HOLD_ELSEWHERE && self->holds.list[i]->pid_fd == copy.fd)
            hold = self->holds.list[i];
    if (!hold)
        return 0;
    close (hold->pid_fd);
    hold->pid_fd = -1;
    bool known = read_outcome (self, hold, &outcome);
    if (known && !outcome.tree_dead) {
        wait_for_survivors (self, hold, &outcome);
    } else if (known) {
        finish_from_record (self, hold, &outcome);
        self->register_at = INT64_MIN; /* it may be what registering waits for */
    } else {
        hold->lost = true;
        self->sweep_at = INT64_MIN;
    }
    rota_agent_look (self);
    return self->done ? -1 : 0;
}

/* The shim of a record, if it lives: its pidfd, else -1. */
static int find_shim (const rota_spool_running_t *running)
{
    uint8_t boot_id[16];
    rota_spool_boot_id (boot_id);
    if (memcmp (boot_id, running->boot_id, sizeof boot_id) != 0)
        return -1;
    int fd = (int)syscall (SYS_pidfd_open, running->shim_pid, 0);
    if (fd >= 0 && !rota_process_lives (running->shim_pid, running->shim_start_ticks)) {
        close (fd);
        fd = -1;
    }
    return fd;
}

static void take_running (rota_agent_t *self, const rota_spool_running_t *running)
{
    rota_hold_t *hold = rota_hold_add (&self->holds, ROTA_HOLD_ELSEWHERE, running->store, running->key,
                                       running->number, running->task_id);
    if (!hold)
        return; /* its shim ends by itself, and the next host finds the record */
    hold->slot = ROTA_HOLD_SLOT_UNKNOWN;
    hold->goes_on = running->goes_on;
    hold->epoch = running->epoch;
    hold->must_end = !running->goes_on || is_old (self, hold);
    hold->accepted_ms = rota_clock_boot_ms ();
    hold->pid_fd = find_shim (running);
    rota_agent_add_riders (self, hold);
    if (hold->pid_fd >= 0) {
        zmq_pollitem_t item = {.fd = hold->pid_fd, .events = ZMQ_POLLIN};
        if (zloop_poller (self->loop, &item, on_shim_gone, self) == 0) {
            if (hold->must_end)
                rota_agent_stop_attempt (self, hold, 0);
            log_hold (ROTA_LOG_INFO, "attempt.found", hold, hold->must_end ? "action=end" : "action=watch");
            return;
        }
    }
    hold->lost = hold->must_end = true;
}

static void take_record (void *context, const char *name, const rota_spool_record_t *record)
{
    rota_agent_t *self = context;
    const rota_spool_running_t *running = &record->running;
    (void)name;
    if (!record->finished) {
        take_running (self, running);
        return;
    }
    rota_hold_t *hold = rota_hold_add (&self->holds, ROTA_HOLD_FINISHED, running->store, running->key,
                                       running->number, running->task_id);
    if (!hold)
        return;
    hold->epoch = running->epoch;
    rota_agent_add_riders (self, hold);
    finish_from_record (self, hold, &record->outcome);
}

static void say_bad (void *context, const char *name, const char *why)
{
    char text[256];
    (void)context;
    rota_log (ROTA_LOG_WARNING, "spool.quarantined", "file=%s reason=\"%s\"",
              quoted (name, text, sizeof text), why);
}

int rota_agent_take_over (rota_agent_t *self)
{
    int status = rota_spool_list (self->spool, take_record, say_bad, self);
    self->sweep_at = INT64_MIN;
    return status < 0 ? status : 0;
}

static bool is_watched (void *context, uint64_t key, uint32_t number)
{
    const rota_agent_t *self = context;
    for (size_t i = 0; i < self->holds.count; i++) {
        const rota_hold_t *hold = self->holds.list[i];
        if (hold->key == key && hold->number == number && hold->state != ROTA_HOLD_FINISHED && !hold->lost)
            return true;
    }
    return false;
}

void rota_agent_sweep (rota_agent_t *self)
{
    bool clean = true;
    self->sweep_at = INT64_MAX;
    for (size_t i = 0; i < self->holds.count; i++)
        if (self->holds.list[i]->lost && self->holds.list[i]->state == ROTA_HOLD_ELSEWHERE)
            clean &= end_group (self, self->holds.list[i]);
    clean &= rota_sweep (self->spool, is_watched, self) == 0;
    if (!clean) {
        self->sweep_at = rota_clock_monotonic_ms () + (self->swept ? SURVIVOR_AGAIN_MS : SWEEP_AGAIN_MS);
        return;
    }
    self->swept = true;
    for (size_t i = self->holds.count; i-- > 0;) {
        rota_hold_t *hold = self->holds.list[i];
        if (!hold->lost || hold->state != ROTA_HOLD_ELSEWHERE)
            continue;
        const rota_outcome_t outcome = hold->outcome;
        if (hold->survives)
            finish_from_record (self, hold, &outcome);
        else
            finish_by (self, hold, RESULT (LOST),
                       "its host was killed, and the process that watched over it too; "
                       "its processes are dead");
    }
    self->register_at = INT64_MIN;
}

size_t rota_agent_drop_old_store (rota_agent_t *self)
{
    size_t count = 0;
    for (size_t i = self->holds.count; i-- > 0;) {
        rota_hold_t *hold = self->holds.list[i];
        if (!is_old (self, hold))
            continue;
        count++;
        if (hold->state == ROTA_HOLD_FINISHED) {
            rota_agent_forget (self, hold, true);
        } else {
            hold->must_end = true;
            rota_agent_stop_attempt (self, hold, self->grace_ms);
        }
    }
    return count;
}
