#include "cli/supervisor.h"

#include "bus/clock.h"
#include "cli/link.h"
#include "cli/services.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define BROKER_POLL_MS 3
#define BROKER_PATIENCE_MS 3000 /* then the others start all the same: they wait for it by themselves */
#define TRIM_INTERVAL_MS 10000
#define HURRY_MS 1000
#define LEFTOVERS_MS 10000
#define FAULT_AFTER 3 /* failures in a row */
#define SAID_FAILURES 5
#define SAID_EVERY 12

static const int STAGE_MS[ROTA_STAGES] = {
    [ROTA_STAGE_AGENTS] = 20000,
    [ROTA_STAGE_SCHEDULER] = 10000,
    [ROTA_STAGE_TELEMETRY] = 10000,
    [ROTA_STAGE_BROKER] = 3000,
};

typedef struct {
    const rota_supervisor_t *config;
    rota_service_list_t services;
    char *endpoint; /* of the broker, for the question whether it answers */
    int signal_fd;
    bool watch_input;
    bool broker_seen;
    bool agents_wanted;
    int64_t began_ms;
    int64_t trim_ms;
    bool ending, hurry;
    int stage; /* while ending */
    int64_t stage_end_ms;
    long wishes_read; /* bytes of the file */
    bool killed;      /* this stage got its SIGKILL */
} supervisor_t;

__attribute__ ((format (printf, 2, 3))) static void say (char word, const char *format, ...)
{
    char text[ROTA_ERROR_MAX_BYTES + 64];
    va_list arguments;

    text[0] = word;
    va_start (arguments, format);
    int length = vsnprintf (text + 1, sizeof text - 2, format, arguments);
    va_end (arguments);
    if (length < 0)
        return;
    size_t size = 1 + strnlen (text + 1, sizeof text - 2);
    for (size_t i = 0; i < size; i++)
        if (text[i] == '\n')
            text[i] = ' ';
    text[size++] = '\n';
    /* Nobody may read it any more: its end of file is what ends us, not this. */
    ssize_t written = write (STDOUT_FILENO, text, size);
    (void)written;
}

static bool may_start (const supervisor_t *self, const rota_service_t *service)
{
    return service->pid == 0 && !service->removed &&
           (service->stage == ROTA_STAGE_BROKER || self->broker_seen) &&
           (service->stage != ROTA_STAGE_AGENTS || self->agents_wanted);
}

/* One that keeps failing is told of a few times, then about once a minute. */
static void say_failure (const rota_service_t *service, const rota_error_t *error)
{
    if (service->failures <= SAID_FAILURES || service->failures % SAID_EVERY == 0)
        say (service->failures >= FAULT_AFTER ? ROTA_WORD_FAULT : ROTA_WORD_NOTE, "%s", error->text);
}

static void start_due (supervisor_t *self, int64_t now_ms)
{
    rota_error_t error = {""};

    if (!self->broker_seen)
        self->broker_seen =
            rota_link_probe (self->endpoint, NULL) || now_ms - self->began_ms > BROKER_PATIENCE_MS;
    for (size_t i = 0; i < self->services.count; i++) {
        rota_service_t *service = &self->services.list[i];
        if (!may_start (self, service) || now_ms < service->next_ms)
            continue;
        if (rota_service_start (service, now_ms, &error) < 0)
            say_failure (service, &error);
    }
}

static rota_service_t *service_of (supervisor_t *self, pid_t pid)
{
    for (size_t i = 0; i < self->services.count; i++)
        if (self->services.list[i].pid == pid)
            return &self->services.list[i];
    return NULL;
}

/* Also what services left behind and this process has inherited. */
static void reap (supervisor_t *self, int64_t now_ms)
{
    rota_error_t sentence;
    int status;
    pid_t pid;

    while ((pid = waitpid (-1, &status, WNOHANG)) > 0) {
        rota_service_t *service = service_of (self, pid);
        if (!service)
            continue;
        rota_service_ended (service, status, now_ms, &sentence);
        if (!self->ending && !service->removed)
            say_failure (service, &sentence);
    }
}

static void signal_stage (const supervisor_t *self, int number)
{
    for (size_t i = 0; i < self->services.count; i++)
        if ((int)self->services.list[i].stage == self->stage && self->services.list[i].pid > 0)
            kill (self->services.list[i].pid, number);
}

static bool stage_runs (const supervisor_t *self)
{
    for (size_t i = 0; i < self->services.count; i++)
        if ((int)self->services.list[i].stage == self->stage && self->services.list[i].pid > 0)
            return true;
    return false;
}

static void begin_stage (supervisor_t *self, int stage, int64_t now_ms)
{
    self->stage = stage;
    self->killed = false;
    if (stage >= ROTA_STAGES)
        return;
    self->stage_end_ms = now_ms + (self->hurry ? HURRY_MS : STAGE_MS[stage]);
    signal_stage (self, SIGTERM);
}

static void begin_end (supervisor_t *self, int64_t now_ms)
{
    if (!self->ending) {
        self->ending = true;
        begin_stage (self, 0, now_ms);
    } else if (!self->hurry) {
        self->hurry = true;
        if (self->stage_end_ms > now_ms + HURRY_MS)
            self->stage_end_ms = now_ms + HURRY_MS;
        if (self->stage == ROTA_STAGE_AGENTS)
            signal_stage (self, SIGTERM); /* at their second they end what runs at once, and still say so */
    }
}

/* Goes on to the next stage when one is over. */
static void end_step (supervisor_t *self, int64_t now_ms)
{
    while (self->stage < ROTA_STAGES && !stage_runs (self))
        begin_stage (self, self->stage + 1, now_ms);
    if (self->stage < ROTA_STAGES && now_ms >= self->stage_end_ms && !self->killed) {
        self->killed = true;
        say (ROTA_WORD_NOTE, "a service did not end in time and is killed");
        signal_stage (self, SIGKILL);
    }
}

static void grant (supervisor_t *self, const char *wish)
{
    rota_error_t error = {""};
    if (wish[0] == '+') {
        int status = rota_services_add_agent (self->config, &self->services, wish + 1, &error);
        if (status < 0)
            say (ROTA_WORD_NOTE, "agents add %s: %s", wish + 1,
                 *error.text ? error.text : strerror (-status));
        self->agents_wanted = true;
    } else if (wish[0] == '-') {
        rota_service_t *service = rota_services_agent (&self->services, wish + 1);
        if (!service)
            return;
        service->removed = true;
        if (service->pid > 0)
            kill (service->pid, SIGTERM);
    }
}

static void read_wishes (supervisor_t *self)
{
    char path[PATH_MAX], line[256];
    if (snprintf (path, sizeof path, "%s/" ROTA_SUPERVISOR_WISHES, self->config->state) >= (int)sizeof path)
        return;
    FILE *file = fopen (path, "re");
    if (!file)
        return;
    for (fseek (file, self->wishes_read, SEEK_SET); fgets (line, sizeof line, file) && strchr (line, '\n');) {
        line[strcspn (line, "\n")] = '\0';
        self->wishes_read = ftell (file);
        grant (self, line);
    }
    fclose (file);
}

static void read_signals (supervisor_t *self, int64_t now_ms)
{
    struct signalfd_siginfo info;
    while (read (self->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo == SIGUSR1)
            read_wishes (self);
        else if (info.ssi_signo != SIGCHLD)
            begin_end (self, now_ms);
}

static int64_t earlier (int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int wait_ms (const supervisor_t *self, int64_t now_ms)
{
    int64_t next_ms = self->ending ? INT64_MAX : self->trim_ms;

    if (self->ending && self->stage < ROTA_STAGES && !self->killed)
        next_ms = self->stage_end_ms;
    for (size_t i = 0; i < self->services.count && !self->ending; i++)
        if (may_start (self, &self->services.list[i]))
            next_ms = earlier (next_ms, self->services.list[i].next_ms);
    if (!self->broker_seen && !self->ending)
        next_ms = earlier (next_ms, now_ms + BROKER_POLL_MS);
    if (next_ms == INT64_MAX)
        return -1;
    return next_ms <= now_ms ? 0 : (int)earlier (next_ms - now_ms, 60000);
}

static void loop (supervisor_t *self)
{
    while (!self->ending || self->stage < ROTA_STAGES) {
        int64_t now_ms = rota_clock_monotonic_ms ();
        if (!self->ending)
            start_due (self, now_ms);
        struct pollfd polled[] = {{.fd = self->signal_fd, .events = POLLIN},
                                  {.fd = self->watch_input ? STDIN_FILENO : -1, .events = POLLIN}};
        poll (polled, 2, wait_ms (self, now_ms));

        now_ms = rota_clock_monotonic_ms ();
        read_signals (self, now_ms);
        reap (self, now_ms);
        if (polled[1].revents) {
            char byte;
            ssize_t got = read (STDIN_FILENO, &byte, 1);
            self->agents_wanted |= got == 1;
            if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) {
                self->watch_input = false;
                begin_end (self, now_ms);
            }
        }
        if (self->ending)
            end_step (self, now_ms);
        for (size_t i = 0; now_ms >= self->trim_ms && i < self->services.count; i++)
            rota_service_trim_log (&self->services.list[i]);
        if (now_ms >= self->trim_ms)
            self->trim_ms = now_ms + TRIM_INTERVAL_MS;
    }
}

/* Kills every process whose parent this one is. */
static void kill_children (void)
{
    DIR *directory = opendir ("/proc");
    struct dirent *entry;

    while (directory && (entry = readdir (directory))) {
        char path[300], text[512];
        pid_t pid = (pid_t)strtol (entry->d_name, NULL, 10);
        if (pid <= 0)
            continue;
        snprintf (path, sizeof path, "/proc/%s/stat", entry->d_name);
        FILE *file = fopen (path, "re");
        size_t length = file ? fread (text, 1, sizeof text - 1, file) : 0;
        if (file)
            fclose (file);
        text[length] = '\0';
        /* After the name in parentheses: a letter for the state, then the parent. */
        char *name_end = strrchr (text, ')');
        if (name_end && strlen (name_end) > 4 && strtol (name_end + 4, NULL, 10) == getpid ())
            kill (pid, SIGKILL);
    }
    if (directory)
        closedir (directory);
}

/* After the services have ended their orphans are ours. Shims end by themselves when their host is gone; what
 * doesn't is killed, and its orphans in turn. */
static void end_leftovers (const supervisor_t *self)
{
    int64_t end_ms = rota_clock_monotonic_ms () + (self->hurry ? HURRY_MS : LEFTOVERS_MS);
    for (;;) {
        pid_t pid = waitpid (-1, NULL, WNOHANG);
        if (pid < 0 && errno == ECHILD)
            return;
        if (pid > 0)
            continue;
        if (rota_clock_monotonic_ms () >= end_ms)
            kill_children ();
        struct pollfd polled = {.fd = self->signal_fd, .events = POLLIN};
        struct signalfd_siginfo info;
        poll (&polled, 1, 20);
        while (read (self->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
            if (info.ssi_signo != SIGCHLD)
                end_ms = 0;
    }
}

/* Those of an earlier supervisor are not ours. */
static void forget_wishes (const supervisor_t *self)
{
    char path[PATH_MAX];
    if (snprintf (path, sizeof path, "%s/" ROTA_SUPERVISOR_WISHES, self->config->state) < (int)sizeof path)
        unlink (path);
}

static int watch_signals (supervisor_t *self)
{
    sigset_t set;
    sigemptyset (&set);
    sigaddset (&set, SIGCHLD);
    sigaddset (&set, SIGTERM);
    sigaddset (&set, SIGINT);
    sigaddset (&set, SIGUSR1);
    if (sigprocmask (SIG_BLOCK, &set, NULL) != 0)
        return -errno;
    self->signal_fd = signalfd (-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return self->signal_fd < 0 ? -errno : 0;
}

int rota_supervisor_run (const rota_supervisor_t *config)
{
    supervisor_t self = {.config = config, .signal_fd = -1};
    rota_error_t error = {""};
    int lock_fd = -1;

    self.watch_input = config->services != ROTA_SERVICES_UP;
    self.agents_wanted = config->services != ROTA_SERVICES_RUN;
    int status = rota_state_lock (config->state, config->services, &lock_fd, &error);
    if (status == -EBUSY)
        return ROTA_SUPERVISOR_BUSY;
    if (status == 0)
        status = rota_services_plan (config, &self.services, &error);
    if (status == 0)
        status = rota_link_endpoint (config->state, &self.endpoint, &error);
    if (status == 0)
        status = watch_signals (&self);
    if (status == 0 && prctl (PR_SET_CHILD_SUBREAPER, 1) != 0)
        status = -errno;
    if (status < 0) {
        say (ROTA_WORD_FAULT, "%s", *error.text ? error.text : strerror (-status));
    } else {
        signal (SIGHUP, SIG_IGN);
        forget_wishes (&self);
        self.began_ms = rota_clock_monotonic_ms ();
        self.trim_ms = self.began_ms + TRIM_INTERVAL_MS;
        loop (&self);
        end_leftovers (&self);
    }
    rota_services_forget (&self.services);
    free (self.endpoint);
    if (self.signal_fd >= 0)
        close (self.signal_fd);
    if (lock_fd >= 0)
        close (lock_fd);
    return status < 0 ? 1 : 0;
}
