#include "agents/child.h"

#include "agents/converse.h"
#include "agents/tree.h"
#include "bus/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define READ_BYTES ((size_t)64 << 10)
#define DRAIN_MAX_BYTES ((size_t)64 << 20) /* after its end: what others write is not waited for */
#define SWEEP_MS 5000
#define FIRST_CAPACITY_BYTES 4096
#define NEVER INT64_MAX

static const int STOPPING[] = {SIGTERM, SIGINT, SIGHUP, ROTA_CONVERSE_STOP_SIGNAL};

typedef struct {
    const rota_child_t *child;
    rota_child_end_t *end;
    pid_t pid;
    int pid_fd, output_fd, error_fd;
    size_t words;
    int64_t deadline_ms, patience_ms; /* on the monotonic clock */
    bool asked;                       /* SIGTERM was sent */
} run_t;

static void stopping_signals (sigset_t *ret_set)
{
    sigemptyset (ret_set);
    for (size_t i = 0; i < sizeof STOPPING / sizeof *STOPPING; i++)
        sigaddset (ret_set, STOPPING[i]);
}

int rota_child_setup (rota_stop_t *ret_stop, rota_error_t *error)
{
    sigset_t set;
    stopping_signals (&set);
    signal (SIGPIPE, SIG_IGN);
    /* Ignored for children that are to be deaf: blocked signals still come through the descriptor. */
    for (size_t i = 0; i < sizeof STOPPING / sizeof *STOPPING; i++)
        signal (STOPPING[i], SIG_IGN);
    sigprocmask (SIG_BLOCK, &set, NULL);
    int fd = signalfd (-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0 || prctl (PR_SET_CHILD_SUBREAPER, 1) < 0)
        return rota_error_set (error, -errno, "signals can't be set up: %s", strerror (errno));
    *ret_stop = (rota_stop_t){.fd = fd};
    return 0;
}

bool rota_stop_look (rota_stop_t *stop)
{
    struct signalfd_siginfo info;
    while (read (stop->fd, &info, sizeof info) == (ssize_t)sizeof info)
        stop->wanted = true;
    return stop->wanted;
}

int rota_child_status (const rota_child_end_t *end)
{
    return WIFSIGNALED (end->wait_status) ? 128 + WTERMSIG (end->wait_status)
                                          : WEXITSTATUS (end->wait_status);
}

int rota_child_sweep (void)
{
    for (int64_t end = rota_clock_monotonic_ms () + SWEEP_MS; rota_clock_monotonic_ms () < end;) {
        pid_t pid;
        while ((pid = waitpid (-1, NULL, WNOHANG)) > 0)
            ;
        if (pid < 0 && errno == ECHILD)
            return 0;
        rota_tree_kill (getpid (), NULL, NULL);
        poll (NULL, 0, 5);
    }
    return -EBUSY;
}

/* ---- what it prints */

void rota_bytes_take (void *context, const char *bytes, size_t size_bytes)
{
    rota_bytes_t *self = context;
    size_t wanted = self->size_bytes + size_bytes + 1;
    if (self->cut || wanted > self->max_bytes + 1) {
        size_bytes = self->cut ? 0 : self->max_bytes - self->size_bytes;
        wanted = self->size_bytes + size_bytes + 1;
        self->cut = true;
    }
    if (wanted > self->capacity) {
        size_t capacity = self->capacity ? self->capacity : FIRST_CAPACITY_BYTES;
        while (capacity < wanted)
            capacity *= 2;
        char *more = realloc (self->bytes, capacity);
        if (!more) {
            self->cut = true;
            return;
        }
        self->bytes = more;
        self->capacity = capacity;
    }
    memcpy (self->bytes + self->size_bytes, bytes, size_bytes);
    self->size_bytes += size_bytes;
    self->bytes[self->size_bytes] = '\0';
}

void rota_bytes_clear (rota_bytes_t *self)
{
    free (self->bytes);
    *self = (rota_bytes_t){.max_bytes = self->max_bytes};
}

/* Keeps the end. */
static void take_words (run_t *self, const char *bytes, size_t size)
{
    const size_t room = ROTA_CHILD_WORDS_BYTES - 1;
    char *words = self->end->words;
    if (size > room) {
        bytes += size - room;
        size = room;
    }
    if (self->words + size > room) {
        size_t left = room - size;
        memmove (words, words + self->words - left, left);
        self->words = left;
    }
    memcpy (words + self->words, bytes, size);
    self->words += size;
    words[self->words] = '\0';
}

/* Of the one or the other descriptor. False when there is nothing more for now. */
static bool read_some (run_t *self, int *fd, size_t *total)
{
    char bytes[READ_BYTES];
    ssize_t size = *fd < 0 ? -1 : read (*fd, bytes, sizeof bytes);
    if (size > 0) {
        if (fd == &self->output_fd)
            self->child->take (self->child->context, bytes, (size_t)size);
        else
            take_words (self, bytes, (size_t)size);
        *total += (size_t)size;
        return *total < DRAIN_MAX_BYTES;
    }
    if (*fd >= 0 && (size == 0 || (errno != EAGAIN && errno != EINTR))) {
        close (*fd);
        *fd = -1;
    }
    return false;
}

/* ---- beginning */

static int set_attributes (const rota_child_t *child, posix_spawnattr_t *attributes)
{
    sigset_t mask, defaults;
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    sigemptyset (&mask);
    sigemptyset (&defaults);
    if (child->signals == ROTA_CHILD_SHELTERED)
        stopping_signals (&mask);
    if (child->signals == ROTA_CHILD_EXPOSED)
        stopping_signals (&defaults);
    sigaddset (&defaults, SIGPIPE);
    if (child->own_group)
        flags |= POSIX_SPAWN_SETPGROUP;
    posix_spawnattr_setsigmask (attributes, &mask);
    posix_spawnattr_setsigdefault (attributes, &defaults);
    posix_spawnattr_setpgroup (attributes, 0);
    return posix_spawnattr_setflags (attributes, flags);
}

static int start (run_t *self, rota_error_t *error)
{
    const rota_child_t *child = self->child;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    int out[2] = {-1, -1}, err[2] = {-1, -1}, failed = 0;

    if (child->take && (pipe2 (out, O_CLOEXEC) < 0 || (!child->both && pipe2 (err, O_CLOEXEC) < 0)))
        failed = errno;
    posix_spawnattr_init (&attributes);
    posix_spawn_file_actions_init (&actions);
    set_attributes (child, &attributes);
    if (child->input_fd >= 0)
        posix_spawn_file_actions_adddup2 (&actions, child->input_fd, STDIN_FILENO);
    else
        posix_spawn_file_actions_addopen (&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (child->take) {
        posix_spawn_file_actions_adddup2 (&actions, out[1], STDOUT_FILENO);
        posix_spawn_file_actions_adddup2 (&actions, child->both ? out[1] : err[1], STDERR_FILENO);
    }
    if (child->held_fd >= 0)
        posix_spawn_file_actions_adddup2 (&actions, child->held_fd, child->held_fd);
    if (child->directory)
        posix_spawn_file_actions_addchdir_np (&actions, child->directory);
    if (!failed)
        failed =
            posix_spawnp (&self->pid, child->argv[0], &actions, &attributes, child->argv, child->environment);
    posix_spawn_file_actions_destroy (&actions);
    posix_spawnattr_destroy (&attributes);
    close (out[1]);
    close (err[1]);
    self->output_fd = out[0];
    self->error_fd = err[0];
    if (failed)
        return rota_error_set (error, -failed, "%s: %s", child->argv[0], strerror (failed));
    if (child->take)
        fcntl (self->output_fd, F_SETFL, O_NONBLOCK);
    if (self->error_fd >= 0)
        fcntl (self->error_fd, F_SETFL, O_NONBLOCK);
    self->pid_fd = (int)syscall (SYS_pidfd_open, self->pid, 0);
    if (self->pid_fd < 0)
        abort (); /* nothing could be waited for; what was started ends with us */
    return 0;
}

/* ---- watching */

static void end_all (run_t *self)
{
    kill (self->pid, SIGKILL);
    rota_tree_kill (getpid (), NULL, NULL);
}

/* Whoever told us to stop told the child, too, as a shim does: it gets time to end by itself first. */
static void stop (run_t *self, int64_t now)
{
    if (self->end->stopped)
        return;
    self->end->stopped = true;
    self->patience_ms = now + self->child->stop_patience_ms;
}

static void pass_deadlines (run_t *self, int64_t now)
{
    if (now >= self->deadline_ms) {
        self->end->timed_out = true;
        self->deadline_ms = NEVER;
        end_all (self);
    }
    if (now < self->patience_ms)
        return;
    rota_tree_t tree = {0};
    self->patience_ms = now + 4 * self->child->stop_patience_ms + 1;
    if (self->asked || self->child->stop_patience_ms == 0)
        end_all (self);
    else if (rota_tree_collect (&tree, getpid (), NULL, NULL) == 0)
        rota_tree_signal (&tree, SIGTERM);
    self->asked = true;
    rota_tree_clear (&tree);
}

static void watch (run_t *self)
{
    rota_stop_t *stop_wish = self->child->stop;
    for (bool runs = true; runs;) {
        struct pollfd items[] = {{self->pid_fd, POLLIN, 0},
                                 {self->output_fd, POLLIN, 0},
                                 {self->error_fd, POLLIN, 0},
                                 {stop_wish ? stop_wish->fd : -1, POLLIN, 0}};
        int64_t until = self->deadline_ms < self->patience_ms ? self->deadline_ms : self->patience_ms;
        int64_t left = until - rota_clock_monotonic_ms ();
        size_t total = 0;
        int timeout = until == NEVER ? -1 : left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
        if (poll (items, sizeof items / sizeof *items, timeout) < 0 && errno != EINTR)
            abort ();
        if (items[1].revents)
            read_some (self, &self->output_fd, &total);
        if (items[2].revents)
            read_some (self, &self->error_fd, &total);
        if (stop_wish && rota_stop_look (stop_wish))
            stop (self, rota_clock_monotonic_ms ());
        pass_deadlines (self, rota_clock_monotonic_ms ());
        runs = waitpid (self->pid, &self->end->wait_status, WNOHANG) == 0;
    }
    size_t total = 0;
    while (read_some (self, &self->output_fd, &total) || read_some (self, &self->error_fd, &total))
        ;
}

int rota_child_run (const rota_child_t *child, rota_child_end_t *ret_end, rota_error_t *error)
{
    int64_t started = rota_clock_monotonic_ms ();
    *ret_end = (rota_child_end_t){0};
    run_t self = {.child = child,
                  .end = ret_end,
                  .pid_fd = -1,
                  .output_fd = -1,
                  .error_fd = -1,
                  .deadline_ms = child->timeout_ms ? started + child->timeout_ms : NEVER,
                  .patience_ms = NEVER};
    int status = start (&self, error);
    if (status == 0)
        watch (&self);
    ret_end->took_ms = rota_clock_monotonic_ms () - started;
    if (self.pid_fd >= 0)
        close (self.pid_fd);
    if (self.output_fd >= 0)
        close (self.output_fd);
    if (self.error_fd >= 0)
        close (self.error_fd);
    return status;
}
