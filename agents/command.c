#include "agents/command.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STAGE_SESSION, STAGE_FILES, STAGE_DIRECTORY, STAGE_EXECUTE };

static const char *const STAGE_TEXT[] = {
    [STAGE_SESSION] = "can't start a session of its own for",
    [STAGE_FILES] = "can't set up standard input and output for",
    [STAGE_DIRECTORY] = "can't change to the directory",
    [STAGE_EXECUTE] = "can't run",
};

static _Noreturn void fail (int report_fd, int stage)
{
    rota_command_failure_t failure = {.stage = stage, .error = errno};
    ssize_t ignored = write (report_fd, &failure, sizeof failure);
    (void)ignored;
    _exit (127);
}

static void reset_signals (void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int i = 1; i < NSIG; i++)
        sigaction (i, &action, NULL);
    sigemptyset (&none);
    sigprocmask (SIG_SETMASK, &none, NULL);
}

/* Both ends of each, [0] to be read; error and tell are -1 where they aren't wanted. */
typedef struct {
    int input, output[2], error[2], tell[2], report[2];
} pipes_t;

static _Noreturn void run (const rota_attempt_t *attempt, const pipes_t *pipes)
{
    int report_fd = pipes->report[1], error_fd = attempt->apart ? pipes->error[1] : pipes->output[1];
    reset_signals ();
    if (setsid () < 0)
        fail (report_fd, STAGE_SESSION);
    if (dup2 (pipes->input, 0) < 0 || dup2 (pipes->output[1], 1) < 0 || dup2 (error_fd, 2) < 0)
        fail (report_fd, STAGE_FILES);
    /* Last, since it may take the place of another one that is not needed here any more: the control socket.
     */
    if (attempt->steerable && (report_fd == ROTA_TELL_FD || dup2 (pipes->tell[0], ROTA_TELL_FD) < 0))
        fail (report_fd, STAGE_FILES);
    /* Everything of the shim's closes when the command starts, the report pipe too, which says so. */
    close_range (attempt->steerable ? ROTA_TELL_FD + 1 : ROTA_TELL_FD, ~0u, CLOSE_RANGE_CLOEXEC);
    if (chdir (attempt->directory) < 0)
        fail (report_fd, STAGE_DIRECTORY);
    environ = (char **)attempt->environment;
    execvp (attempt->argv[0], attempt->argv);
    fail (report_fd, STAGE_EXECUTE);
}

/* A file, not a pipe: nobody has to feed it, and a program that doesn't read it blocks nobody. */
static int open_input (const char *input)
{
    if (!input) {
        int fd = open ("/dev/null", O_RDONLY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
    }
    int fd = memfd_create ("rota-input", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    size_t size = strlen (input);
    for (size_t done = 0; done < size;) {
        ssize_t written = write (fd, input + done, size - done);
        if (written < 0) {
            int code = -errno;
            close (fd);
            return code;
        }
        done += (size_t)written;
    }
    lseek (fd, 0, SEEK_SET);
    return fd;
}

static void close_pipe (int pipe[2])
{
    for (int i = 0; i < 2; i++)
        if (pipe[i] >= 0)
            close (pipe[i]);
}

/* Ours isn't to block; the command's must not be found non-blocking. */
static int open_pipe (int pipe[2], int ours)
{
    if (pipe2 (pipe, O_CLOEXEC) < 0)
        return -errno;
    fcntl (pipe[ours], F_SETFL, O_NONBLOCK);
    return 0;
}

int rota_command_start (const rota_attempt_t *attempt, const rota_cgroup_t *group,
                        rota_command_t *ret_command)
{
    pipes_t pipes = {.output = {-1, -1}, .error = {-1, -1}, .tell = {-1, -1}, .report = {-1, -1}};
    pid_t pid = -1;
    pipes.input = open_input (attempt->input);
    if (pipes.input < 0)
        return pipes.input;
    int status = open_pipe (pipes.output, 0);
    if (status == 0)
        status = open_pipe (pipes.report, 0);
    if (status == 0 && attempt->apart)
        status = open_pipe (pipes.error, 0);
    if (status == 0 && attempt->steerable)
        status = open_pipe (pipes.tell, 1);
    if (status == 0) {
        pid = rota_cgroup_fork (group);
        if (pid == 0)
            run (attempt, &pipes);
        status = pid < 0 ? -errno : 0;
    }
    close (pipes.input);
    if (status < 0) {
        close_pipe (pipes.output);
        close_pipe (pipes.report);
        close_pipe (pipes.error);
        close_pipe (pipes.tell);
        return status;
    }
    close (pipes.output[1]);
    close (pipes.report[1]);
    if (attempt->apart)
        close (pipes.error[1]);
    if (attempt->steerable)
        close (pipes.tell[0]);
    *ret_command = (rota_command_t){.pid = pid,
                                    .output_fd = pipes.output[0],
                                    .error_fd = pipes.error[0],
                                    .tell_fd = pipes.tell[1],
                                    .report_fd = pipes.report[0]};
    return 0;
}

void rota_command_explain (const rota_attempt_t *attempt, const rota_command_failure_t *failure,
                           char *ret_text, size_t capacity)
{
    bool known = failure->stage >= 0 && failure->stage <= STAGE_EXECUTE;
    const char *what = failure->stage == STAGE_DIRECTORY ? attempt->directory : attempt->argv[0];
    snprintf (ret_text, capacity, "%s %s: %s", known ? STAGE_TEXT[failure->stage] : "can't start", what,
              strerror (failure->error));
}
