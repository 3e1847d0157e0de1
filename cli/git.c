#include "cli/git.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int rota_git_ask (char *const *arguments, char ret_line[ROTA_GIT_LINE_BYTES])
{
    int out[2], status = -1;
    ret_line[0] = '\0';
    if (pipe (out) < 0)
        return -1;
    pid_t pid = fork ();
    if (pid == 0) {
        dup2 (out[1], STDOUT_FILENO);
        close (out[0]);
        close (out[1]);
        execvp ("git", arguments);
        _exit (127);
    }
    close (out[1]);
    FILE *stream = fdopen (out[0], "r");
    if (stream && pid > 0 && fgets (ret_line, ROTA_GIT_LINE_BYTES, stream))
        ret_line[strcspn (ret_line, "\n")] = '\0';
    while (stream && pid > 0 && fgetc (stream) != EOF)
        ;
    if (stream)
        fclose (stream);
    else
        close (out[0]);
    while (pid > 0 && waitpid (pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid > 0 && WIFEXITED (status) ? WEXITSTATUS (status) : -1;
}

bool rota_git_branch (const char *directory, char ret_branch[ROTA_GIT_LINE_BYTES])
{
    return ROTA_GIT_ASK (ret_branch, "-C", (char *)directory, "symbolic-ref", "--quiet", "--short", "HEAD") ==
           0;
}
