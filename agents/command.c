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

static _Noreturn void run (const rota_attempt_t *attempt, int input_fd, int output_fd, int report_fd)
{
    reset_signals ();
    if (setsid () < 0)
        fail (report_fd, STAGE_SESSION);
    if (dup2 (input_fd, 0) < 0 || dup2 (output_fd, 1) < 0 || dup2 (output_fd, 2) < 0)
        fail (report_fd, STAGE_FILES);
    /* Everything of the shim's closes when the command starts, the report pipe too, which says so. */
    close_range (3, ~0u, CLOSE_RANGE_CLOEXEC);
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

int rota_command_start (const rota_attempt_t *attempt, const rota_cgroup_t *group,
                        rota_command_t *ret_command)
{
    int output[2] = {-1, -1}, report[2] = {-1, -1};
    int input = open_input (attempt->input);
    if (input < 0)
        return input;
    int status = 0;
    pid_t pid = -1;
    if (pipe2 (output, O_CLOEXEC) < 0 || pipe2 (report, O_CLOEXEC) < 0) {
        status = -errno;
        goto end;
    }
    /* Only our end: the command must not find its standard output non-blocking. */
    fcntl (output[0], F_SETFL, O_NONBLOCK);
    fcntl (report[0], F_SETFL, O_NONBLOCK);
    pid = rota_cgroup_fork (group);
    if (pid == 0)
        run (attempt, input, output[1], report[1]);
    if (pid < 0)
        status = -errno;
end:
    close (input);
    if (output[1] >= 0)
        close (output[1]);
    if (report[1] >= 0)
        close (report[1]);
    if (status < 0) {
        if (output[0] >= 0)
            close (output[0]);
        if (report[0] >= 0)
            close (report[0]);
        return status;
    }
    *ret_command = (rota_command_t){.pid = pid, .output_fd = output[0], .report_fd = report[0]};
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
