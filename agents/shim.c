#include "agents/shim.h"

#include "agents/cgroup.h"
#include "agents/command.h"
#include "agents/output.h"
#include "agents/spool.h"
#include "agents/streams.h"
#include "agents/sweep.h"
#include "agents/tree.h"
#include "bus/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define READ_BYTES (256u << 10)
#define DRAIN_MAX_BYTES (4u << 20) /* read after the tree's end: what a stranger writes is not waited for */
#define LOST_GRACE_MS 2000         /* a host that is gone can't ask for more */
#define LEFTOVER_GRACE_MS 1000     /* for what the command left behind */
#define KILL_AGAIN_MS 20
#define GIVE_UP_MS 20000 /* after the first SIGKILL: what still lives then waits for its device */
#define MEMORY_EVERY_MS 1000
#define SPOOL_TRIES 600       /* a second apart, when the host is gone too */
#define TELL_PIPE_BYTES 65536 /* as the kernel makes pipes */
#define NEVER INT64_MAX

typedef enum { STAGE_RUNNING, STAGE_ENDING, STAGE_KILLING, STAGE_DEAD, STAGE_GIVEN_UP } stage_t;

typedef struct {
    rota_attempt_t attempt;
    rota_outcome_t outcome;
    stage_t stage;
    int control_fd, signal_fd, timer_fd, spool_fd;
    rota_command_t command; /* descriptors are -1 once closed */
    rota_output_t *output;
    rota_streams_t streams;
    rota_cgroup_t group;
    char *buffer;
    /* On the boot-time clock. */
    int64_t timeout_at, silence_at, lease_at, grace_at, kill_at, give_up_at, memory_at, timer_set;
    int64_t last_output;
} shim_t;

static void say (shim_t *self, const char *text)
{
    if (!self->outcome.message[0])
        snprintf (self->outcome.message, sizeof self->outcome.message, "%s", text);
}

static void close_fd (int *fd)
{
    if (*fd >= 0)
        close (*fd);
    *fd = -1;
}

static int64_t after (int64_t now, uint32_t delay_ms)
{
    return delay_ms ? now + delay_ms : NEVER;
}

/* ---- the end of the tree */

static void signal_tree (int signal_number)
{
    rota_tree_t tree = {0};
    if (rota_tree_collect (&tree, getpid (), NULL, NULL) == 0) {
        rota_tree_signal (&tree, signal_number);
        /* What is stopped hears nothing but SIGKILL. */
        rota_tree_signal (&tree, SIGCONT);
    }
    rota_tree_clear (&tree);
}

static void kill_tree (shim_t *self, int64_t now)
{
    if (self->stage != STAGE_KILLING) {
        self->stage = STAGE_KILLING;
        self->grace_at = NEVER;
        self->give_up_at = now + GIVE_UP_MS;
    }
    self->kill_at = now + KILL_AGAIN_MS;
    rota_cgroup_kill (&self->group);
    rota_tree_kill (getpid (), NULL, NULL);
}

/* Only the first reason counts; a later one may shorten the grace. */
static void end_tree (shim_t *self, rota_end_t why, uint32_t grace_ms, int64_t now)
{
    if (self->stage == STAGE_RUNNING) {
        self->stage = STAGE_ENDING;
        if (self->outcome.end == ROTA_END_NONE)
            self->outcome.end = why;
        self->grace_at = now + grace_ms;
        self->timeout_at = self->silence_at = self->memory_at = NEVER;
        if (grace_ms > 0)
            signal_tree (why == ROTA_END_NONE ? SIGTERM : self->attempt.stop_signal);
    } else if (self->stage == STAGE_ENDING && now + grace_ms < self->grace_at) {
        self->grace_at = now + grace_ms;
    }
    if (self->stage == STAGE_ENDING && self->grace_at <= now)
        kill_tree (self, now);
}

static void add_usage (shim_t *self, const struct rusage *usage)
{
    rota_outcome_t *outcome = &self->outcome;
    outcome->user_us += (uint64_t)usage->ru_utime.tv_sec * 1000000 + (uint64_t)usage->ru_utime.tv_usec;
    outcome->system_us += (uint64_t)usage->ru_stime.tv_sec * 1000000 + (uint64_t)usage->ru_stime.tv_usec;
    uint64_t rss_bytes = (uint64_t)usage->ru_maxrss * 1024;
    if (rss_bytes > outcome->max_rss_bytes)
        outcome->max_rss_bytes = rss_bytes;
}

static void reap (shim_t *self, int64_t now)
{
    struct rusage usage;
    int status;
    pid_t pid;

    while ((pid = wait4 (-1, &status, WNOHANG, &usage)) > 0) {
        add_usage (self, &usage);
        if (pid != self->command.pid)
            continue;
        self->command.pid = 0;
        self->outcome.signal = WIFSIGNALED (status) ? WTERMSIG (status) : 0;
        if (self->outcome.started)
            self->outcome.exit_code = WIFEXITED (status) ? WEXITSTATUS (status) : -1;
        self->outcome.finished_ms = rota_clock_wall_ms ();
        if (self->outcome.signal == SIGKILL && self->stage == STAGE_RUNNING &&
            rota_cgroup_out_of_memory (&self->group))
            self->outcome.end = ROTA_END_MEMORY;
    }
    if (pid < 0 && errno == ECHILD) {
        self->stage = STAGE_DEAD;
    } else if (self->command.pid == 0 && self->stage == STAGE_RUNNING) {
        uint32_t grace_ms = self->attempt.grace_ms;
        end_tree (self, ROTA_END_NONE, grace_ms < LEFTOVER_GRACE_MS ? grace_ms : LEFTOVER_GRACE_MS, now);
    }
}

/* ---- what wakes it */

static void take_report (shim_t *self)
{
    rota_command_failure_t failure;
    ssize_t size = read (self->command.report_fd, &failure, sizeof failure);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size == (ssize_t)sizeof failure) {
        self->outcome.started = false;
        self->outcome.exit_code = failure.error;
        rota_command_explain (&self->attempt, &failure, self->outcome.message, sizeof self->outcome.message);
    }
    close_fd (&self->command.report_fd);
}

/* One buffer full, so that a flood doesn't keep the shim from its deadlines. Returns its size; 0 = nothing
 * there now. */
static size_t take_output (shim_t *self, int *fd)
{
    size_t filled = 0;
    while (filled < READ_BYTES) {
        ssize_t size = read (*fd, self->buffer + filled, READ_BYTES - filled);
        if (size > 0) {
            filled += (size_t)size;
            continue;
        }
        if (size < 0 && errno == EINTR)
            continue;
        if (size == 0 || errno != EAGAIN)
            close_fd (fd);
        break;
    }
    if (filled && self->attempt.apart)
        (fd == &self->command.error_fd ? rota_streams_err : rota_streams_out) (&self->streams, self->buffer,
                                                                               filled);
    else if (filled)
        rota_output_write (self->output, self->buffer, filled);
    return filled;
}

/* Whole or not at all: a command that doesn't read what it is told is not waited for, and its log says so. */
static void tell (shim_t *self, const char *text, size_t size)
{
    static const char DROPPED[] = "rota: the agent does not read what it is told; a word to it was dropped\n";
    int room = 0;
    if (self->command.tell_fd < 0 || size == 0 || size > ROTA_TELL_MAX_BYTES || memchr (text, 0, size))
        return;
    if (ioctl (self->command.tell_fd, FIONREAD, &room) < 0 || room + (int)size + 1 > TELL_PIPE_BYTES ||
        write (self->command.tell_fd, text, size) != (ssize_t)size ||
        write (self->command.tell_fd, "", 1) != 1)
        rota_streams_err (&self->streams, DROPPED, sizeof DROPPED - 1);
}

static void take_control (shim_t *self, int64_t now)
{
    rota_control_message_t message;
    for (;;) {
        ssize_t size = recv (self->control_fd, self->buffer, READ_BYTES, MSG_DONTWAIT);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (size <= 0)
            break;
        if (size < (ssize_t)sizeof message)
            continue;
        memcpy (&message, self->buffer, sizeof message);
        if (message.kind == ROTA_CONTROL_RENEW && self->attempt.lease_ms && message.value_ms)
            self->lease_at = after (now, message.value_ms);
        else if (message.kind == ROTA_CONTROL_STOP)
            end_tree (self, ROTA_END_STOPPED, message.value_ms, now);
        else if (message.kind == ROTA_CONTROL_TELL)
            tell (self, self->buffer + sizeof message, (size_t)size - sizeof message);
    }
    close_fd (&self->control_fd);
    if (self->attempt.lease_ms)
        end_tree (self, ROTA_END_LEASE,
                  self->attempt.grace_ms < LOST_GRACE_MS ? self->attempt.grace_ms : LOST_GRACE_MS, now);
}

static void take_signals (shim_t *self, int64_t now)
{
    struct signalfd_siginfo info;
    while (read (self->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo == SIGTERM)
            end_tree (self, ROTA_END_STOPPED, self->attempt.grace_ms, now);
    reap (self, now);
}

static void check_memory (shim_t *self, int64_t now)
{
    rota_tree_t tree = {0};
    self->memory_at = now + MEMORY_EVERY_MS;
    if (rota_tree_collect (&tree, getpid (), NULL, NULL) == 0) {
        uint64_t rss_bytes = rota_tree_rss_bytes (&tree);
        if (rss_bytes > self->outcome.max_rss_bytes)
            self->outcome.max_rss_bytes = rss_bytes;
        if (rss_bytes > self->attempt.memory_limit_bytes)
            end_tree (self, ROTA_END_MEMORY, self->attempt.grace_ms, now);
    }
    rota_tree_clear (&tree);
}

static void check_deadlines (shim_t *self, int64_t now)
{
    uint32_t grace_ms = self->attempt.grace_ms;
    if (self->silence_at <= now)
        self->silence_at = after (self->last_output, self->attempt.silence_ms);
    if (now >= self->timeout_at)
        end_tree (self, ROTA_END_TIMEOUT, grace_ms, now);
    if (now >= self->silence_at)
        end_tree (self, ROTA_END_SILENCE, grace_ms, now);
    if (now >= self->lease_at) {
        self->lease_at = NEVER;
        end_tree (self, ROTA_END_LEASE, grace_ms, now);
    }
    if (now >= self->memory_at)
        check_memory (self, now);
    if (now >= self->grace_at || now >= self->kill_at)
        kill_tree (self, now);
    if (now >= self->give_up_at && self->stage == STAGE_KILLING)
        self->stage = STAGE_GIVEN_UP;
}

static int64_t earliest (const int64_t *times, size_t count)
{
    int64_t first = NEVER;
    for (size_t i = 0; i < count; i++)
        if (times[i] < first)
            first = times[i];
    return first;
}

static void set_timer (shim_t *self)
{
    const int64_t times[] = {self->timeout_at, self->silence_at, self->lease_at, self->grace_at,
                             self->kill_at,    self->give_up_at, self->memory_at};
    int64_t at = earliest (times, sizeof times / sizeof *times);
    if (at == self->timer_set)
        return;
    struct itimerspec spec = {0};
    if (at != NEVER) {
        spec.it_value.tv_sec = at / 1000;
        spec.it_value.tv_nsec = at % 1000 * 1000000 + 1; /* never 0, which would disarm it */
    }
    timerfd_settime (self->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
    self->timer_set = at;
}

static void watch (shim_t *self)
{
    while (self->stage != STAGE_DEAD && self->stage != STAGE_GIVEN_UP) {
        struct pollfd items[] = {{self->signal_fd, POLLIN, 0},         {self->timer_fd, POLLIN, 0},
                                 {self->control_fd, POLLIN, 0},        {self->command.report_fd, POLLIN, 0},
                                 {self->command.output_fd, POLLIN, 0}, {self->command.error_fd, POLLIN, 0}};
        set_timer (self);
        if (poll (items, sizeof items / sizeof *items, -1) < 0 && errno != EINTR)
            abort ();
        int64_t now = rota_clock_boot_ms ();
        if (items[4].revents && take_output (self, &self->command.output_fd))
            self->last_output = now;
        if (items[5].revents && take_output (self, &self->command.error_fd))
            self->last_output = now;
        if (items[3].revents)
            take_report (self);
        if (items[2].revents)
            take_control (self, now);
        if (items[1].revents) {
            uint64_t ticks;
            ssize_t ignored = read (self->timer_fd, &ticks, sizeof ticks);
            (void)ignored;
            self->timer_set = 0;
        }
        check_deadlines (self, now);
        if (items[0].revents)
            take_signals (self, now);
    }
}

/* ---- beginning and end */

static int set_up (shim_t *self)
{
    const rota_attempt_t *attempt = &self->attempt;
    rota_outcome_t *outcome = &self->outcome;
    rota_spool_running_t running = {
        .key = attempt->key, .number = attempt->number, .epoch = attempt->epoch, .shim_pid = getpid ()};
    rota_process_t process = {0};
    rota_error_t error = {""};
    char mark[ROTA_SWEEP_MARK_BYTES], name[ROTA_CGROUP_NAME_BYTES];

    memcpy (outcome->store, attempt->store, sizeof outcome->store);
    outcome->key = attempt->key;
    outcome->number = attempt->number;
    snprintf (outcome->task_id, sizeof outcome->task_id, "%s", attempt->task_id);
    outcome->tree_dead = true;
    outcome->started_ms = outcome->finished_ms = rota_clock_wall_ms ();

    memcpy (running.store, attempt->store, sizeof running.store);
    memcpy (running.task_id, outcome->task_id, sizeof running.task_id);
    rota_process_read (getpid (), &process);
    running.shim_start_ticks = process.start_ticks;
    running.started_ms = outcome->started_ms;
    running.goes_on = attempt->lease_ms == 0;
    rota_spool_boot_id (running.boot_id);
    int status = rota_spool_begin (attempt->spool_directory, &running, &self->spool_fd, &error);
    if (status == 0)
        status = rota_output_open (attempt->log_path, attempt->output_limit_bytes, &self->output, &error);
    if (status < 0) {
        say (self, error.text);
        return status;
    }
    self->streams.output = self->output;
    rota_sweep_mark (attempt->spool_directory, attempt->key, attempt->number, mark);
    rota_cgroup_name (mark, name);
    if (attempt->cgroup_parent)
        rota_cgroup_make (attempt->cgroup_parent, name, attempt->memory_limit_bytes, &self->group);
    status = rota_command_start (attempt, &self->group, &self->command);
    if (status < 0)
        say (self, "no process could be started");
    return status;
}

static void set_deadlines (shim_t *self)
{
    const rota_attempt_t *attempt = &self->attempt;
    int64_t now = rota_clock_boot_ms ();
    self->last_output = now;
    self->timeout_at = after (now, attempt->timeout_ms);
    self->silence_at = after (now, attempt->silence_ms);
    self->lease_at = after (now, attempt->lease_ms);
    self->memory_at =
        attempt->memory_limit_bytes && !self->group.limits_memory ? now + MEMORY_EVERY_MS : NEVER;
    self->grace_at = self->kill_at = self->give_up_at = self->timer_set = NEVER;
}

static void close_output (shim_t *self)
{
    rota_output_summary_t summary = {0};
    int *const fds[] = {&self->command.output_fd, &self->command.error_fd};
    for (size_t i = 0; i < 2; i++) {
        size_t drained = 0, size;
        while (*fds[i] >= 0 && drained < DRAIN_MAX_BYTES && (size = take_output (self, fds[i])) > 0)
            drained += size;
    }
    rota_streams_end (&self->streams);
    rota_output_close (&self->output, &summary);
    self->outcome.output_bytes = summary.total_bytes;
    self->outcome.output_dropped_bytes = summary.dropped_bytes;
    if (summary.failure) {
        char text[128];
        snprintf (text, sizeof text, "some output could not be written: %s", strerror (-summary.failure));
        say (self, text);
    }
}

static rota_shim_exit_t record (shim_t *self)
{
    rota_shim_exit_t done = self->outcome.tree_dead ? ROTA_SHIM_DONE : ROTA_SHIM_ALIVE;
    for (int i = 0; i < SPOOL_TRIES; i++) {
        int status = -ENOENT;
        if (self->spool_fd >= 0)
            status = rota_spool_finish (self->attempt.spool_directory, self->spool_fd, &self->outcome);
        if (status == 0)
            return done;
        if (self->control_fd >= 0) {
            uint8_t bytes[ROTA_SPOOL_OUTCOME_MAX_BYTES];
            size_t size = rota_spool_encode_outcome (&self->outcome, bytes);
            if (send (self->control_fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size)
                return self->outcome.tree_dead ? ROTA_SHIM_TOLD : ROTA_SHIM_ALIVE;
        }
        /* Without a spool directory nobody will ever ask for the record. */
        if (status == -ENOENT)
            break;
        sleep (1);
    }
    return ROTA_SHIM_FAILED;
}

/* Only what is its own stays open: a descriptor that a command inherits may hold a lock or a socket of ours.
 */
static void keep_only (int *control_fd, int *attempt_fd)
{
    int null = open ("/dev/null", O_RDWR | O_CLOEXEC);
    int control = fcntl (*control_fd, F_DUPFD_CLOEXEC, 10),
        attempt = fcntl (*attempt_fd, F_DUPFD_CLOEXEC, 10);
    if (null < 0 || control < 0 || attempt < 0)
        _exit (ROTA_SHIM_FAILED);
    for (int fd = 0; fd < 3; fd++)
        dup2 (null, fd);
    *control_fd = dup3 (control, 3, O_CLOEXEC);
    *attempt_fd = dup3 (attempt, 4, O_CLOEXEC);
    close_range (5, ~0u, 0);
}

static int take_over_signals (void)
{
    sigset_t all;
    sigfillset (&all);
    sigprocmask (SIG_SETMASK, &all, NULL);
    sigset_t wanted;
    sigemptyset (&wanted);
    sigaddset (&wanted, SIGCHLD);
    sigaddset (&wanted, SIGTERM);
    return signalfd (-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC);
}

_Noreturn void rota_shim_run (int control_fd, int attempt_fd)
{
    static shim_t self = {.spool_fd = -1,
                          .group = {.fd = -1},
                          .command = {.output_fd = -1, .error_fd = -1, .tell_fd = -1, .report_fd = -1}};

    prctl (PR_SET_NAME, "rota-shim");
    keep_only (&control_fd, &attempt_fd);
    setsid ();
    self.control_fd = control_fd;
    self.signal_fd = take_over_signals ();
    self.timer_fd = timerfd_create (CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    self.buffer = malloc (READ_BYTES);
    if (prctl (PR_SET_CHILD_SUBREAPER, 1) < 0 || self.signal_fd < 0 || self.timer_fd < 0 || !self.buffer ||
        rota_attempt_unpack (attempt_fd, &self.attempt) < 0)
        _exit (ROTA_SHIM_FAILED);
    close (attempt_fd);

    int status = set_up (&self);
    if (status == 0) {
        self.outcome.started = true;
        set_deadlines (&self);
        watch (&self);
        self.outcome.tree_dead = self.stage == STAGE_DEAD;
        if (!self.outcome.tree_dead)
            say (&self, "a process of it survives SIGKILL; it waits for a device or file system");
        if (self.command.report_fd >= 0)
            take_report (&self);
        if (self.command.pid)
            self.outcome.finished_ms = rota_clock_wall_ms ();
    } else {
        self.outcome.exit_code = -status;
    }
    if (self.output)
        close_output (&self);
    rota_cgroup_remove (&self.group);
    rota_shim_exit_t code = record (&self);
    _exit ((int)code);
}
