#include "telemetry/hook_command.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE_MS 1000 /* between SIGTERM and SIGKILL */
#define TIMED_OUT 124
#define NOT_STARTED 127

struct rota_hook_command {
    rota_hook_command_config_t config;
    pid_t warden; /* 0 = nothing runs */
    int warden_fd;
};

/* ---- the warden: after fork in a process with threads only what is async-signal-safe may be called */

static int64_t now_ms (void)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Every child that it has, by number: those whose parents died came to it. */
static void signal_children (int number)
{
    char text[4096];
    int fd = open ("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read (fd, text, sizeof text - 1);
    if (fd >= 0)
        close (fd);
    pid_t pid = 0;
    for (ssize_t i = 0; i < length; i++) {
        if (text[i] >= '0' && text[i] <= '9') {
            pid = pid * 10 + (text[i] - '0');
        } else if (pid) {
            kill (pid, number);
            pid = 0;
        }
    }
}

/* False when no child is left. Takes the program's end to *status. */
static bool reap (pid_t program, int *status, bool *ended)
{
    for (;;) {
        int how;
        pid_t pid = waitpid (-1, &how, WNOHANG);
        if (pid == 0)
            return true;
        if (pid < 0)
            return errno != ECHILD;
        if (pid == program) {
            *status = how;
            *ended = true;
        }
    }
}

static void end_tree (pid_t program, int *status, bool *ended)
{
    struct timespec pause = {.tv_nsec = 5000000};
    int64_t kill_ms = now_ms () + GRACE_MS;
    kill (-program, SIGTERM);
    signal_children (SIGTERM);
    while (reap (program, status, ended)) {
        if (now_ms () >= kill_ms) {
            kill (-program, SIGKILL);
            signal_children (SIGKILL);
        }
        nanosleep (&pause, NULL);
    }
}

__attribute__ ((noreturn)) static void become_program (const char *const *argv, int input,
                                                       const sigset_t *mask)
{
    int nowhere = open ("/dev/null", O_WRONLY);
    setpgid (0, 0);
    signal (SIGPIPE, SIG_DFL);
    sigprocmask (SIG_SETMASK, mask, NULL);
    if (dup2 (input, STDIN_FILENO) < 0 || dup2 (nowhere, STDOUT_FILENO) < 0)
        _exit (NOT_STARTED);
    close_range (3, ~0U, 0);
    execvp (argv[0], (char *const *)(uintptr_t)argv);
    _exit (NOT_STARTED);
}

__attribute__ ((noreturn)) static void be_warden (const char *const *argv, int input, int64_t timeout_ms,
                                                  pid_t parent)
{
    sigset_t wanted, none;
    int status = 0;
    bool ended = false, timed_out = false;
    int64_t end_ms = now_ms () + timeout_ms;
    sigemptyset (&none);
    sigemptyset (&wanted);
    sigaddset (&wanted, SIGCHLD);
    sigaddset (&wanted, SIGTERM);
    sigaddset (&wanted, SIGINT);
    sigprocmask (SIG_BLOCK, &wanted, NULL);
    signal (SIGTERM, SIG_DFL);
    signal (SIGINT, SIG_DFL);
    setpgid (0, 0);
    prctl (PR_SET_CHILD_SUBREAPER, 1);
    prctl (PR_SET_PDEATHSIG, SIGTERM);
    pid_t program = getppid () == parent ? fork () : -1;
    if (program == 0)
        become_program (argv, input, &none);
    if (program < 0)
        _exit (NOT_STARTED);
    setpgid (program, program);
    close_range (3, ~0U, 0);
    while (reap (program, &status, &ended) && !ended && !timed_out) {
        int64_t left_ms = end_ms - now_ms ();
        struct timespec left = {.tv_sec = left_ms / 1000, .tv_nsec = left_ms % 1000 * 1000000};
        int number = left_ms > 0 ? sigtimedwait (&wanted, NULL, &left) : -1;
        timed_out = number == SIGTERM || number == SIGINT || now_ms () >= end_ms;
    }
    end_tree (program, &status, &ended);
    if (timed_out)
        _exit (TIMED_OUT);
    _exit (WIFEXITED (status) ? WEXITSTATUS (status) : 128 + WTERMSIG (status));
}

/* ---- the sink's side */

static int on_ended (zloop_t *loop, zmq_pollitem_t *item, void *owner)
{
    rota_hook_command_t *self = owner;
    int status = 0;
    char why[64];
    if (waitpid (self->warden, &status, WNOHANG) != self->warden)
        return 0;
    zloop_poller_end (loop, item);
    close (self->warden_fd);
    self->warden = 0;
    int code = WIFEXITED (status) ? WEXITSTATUS (status) : 128 + WTERMSIG (status);
    if (code == TIMED_OUT)
        snprintf (why, sizeof why, "it was ended after %lld ms", (long long)self->config.timeout_ms);
    else if (code == NOT_STARTED)
        snprintf (why, sizeof why, "%.40s could not be started", self->config.argv[0]);
    else
        snprintf (why, sizeof why, "it ended with exit code %d", code);
    self->config.on_done (self->config.owner, code == 0 ? ROTA_HOOK_TAKEN : ROTA_HOOK_AGAIN, why);
    return 0;
}

static int input_of (const char *body, size_t size_bytes)
{
    int fd = memfd_create ("rota-hook", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (size_t done = 0; done < size_bytes;) {
        ssize_t written = write (fd, body + done, size_bytes - done);
        if (written <= 0) {
            int r = written < 0 ? -errno : -EIO;
            close (fd);
            return r;
        }
        done += (size_t)written;
    }
    return lseek (fd, 0, SEEK_SET) < 0 ? -errno : fd;
}

int rota_hook_command_send (rota_hook_command_t *self, const char *body, size_t size_bytes)
{
    assert (!self->warden);
    int input = input_of (body, size_bytes);
    if (input < 0)
        return input;
    pid_t parent = getpid ();
    pid_t warden = fork ();
    if (warden == 0)
        be_warden (self->config.argv, input, self->config.timeout_ms, parent);
    int r = warden < 0 ? -errno : 0;
    close (input);
    if (r < 0)
        return r;
    self->warden_fd = pidfd_open (warden, 0);
    zmq_pollitem_t item = {.fd = self->warden_fd, .events = ZMQ_POLLIN};
    if (self->warden_fd < 0 || zloop_poller (self->config.loop, &item, on_ended, self) < 0) {
        r = self->warden_fd < 0 ? -errno : -ENOMEM;
        kill (warden, SIGTERM);
        waitpid (warden, NULL, 0);
        if (self->warden_fd >= 0)
            close (self->warden_fd);
        return r;
    }
    zloop_poller_set_tolerant (self->config.loop, &item);
    self->warden = warden;
    return 0;
}

rota_hook_command_t *rota_hook_command_new (const rota_hook_command_config_t *config)
{
    rota_hook_command_t *self = calloc (1, sizeof *self);
    if (self)
        self->config = *config;
    return self;
}

void rota_hook_command_destroy (rota_hook_command_t **self_p)
{
    rota_hook_command_t *self = *self_p;
    if (!self)
        return;
    if (self->warden) {
        zmq_pollitem_t item = {.fd = self->warden_fd};
        zloop_poller_end (self->config.loop, &item);
        kill (self->warden, SIGTERM); /* it ends its tree, in a bounded time, and then itself */
        waitpid (self->warden, NULL, 0);
        close (self->warden_fd);
    }
    free (self);
    *self_p = NULL;
}
