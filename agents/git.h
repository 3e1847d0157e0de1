/* git.h - running git as a program, so that nothing of a repository's own is run by it: no hooks, filters,
 * fsmonitor, external transports, pagers, editors or credential helpers, no configuration of the user or the
 * system, and words in one language. What is read back comes in formats that are made for programs.
 *
 * A repository's own configuration is still read where git runs in its directory; the settings here win over
 * it. Where that isn't enough (drivers of attributes have names of their own) git runs in a directory of
 * rota's, see clone.h.
 *
 * Owner: the thread of the driver, see workspace.h.
 */
#ifndef ROTA_GIT_H
#define ROTA_GIT_H

#include "agents/child.h"
#include "bus/pool.h"

#include <stdarg.h>

#define ROTA_GIT_ARGUMENTS_MAX 48
#define ROTA_GIT_OID_BYTES 65 /* SHA-256 in hexadecimal digits, with the end */

/* In which directory, on which files; NULL = not told. */
typedef struct {
    char **environment; /* rota_git_environment */
    const char *git_dir, *work_tree, *index, *object_dir;
} rota_git_t;

typedef struct {
    const char *directory; /* git -C */
    const char *input;     /* standard input */
    size_t input_bytes;
    const char *author;     /* a name, for commits */
    rota_child_take_t take; /* standard output; NULL = into `output` */
    void *context;
    rota_bytes_t *output;    /* NULL = dropped */
    int *exit_code;          /* given: any other than 0 is no error but told here */
    int held_fd;             /* for a lock; 0 = none */
    int64_t timeout_ms;      /* 0 = what is long for anything */
    const char *const *more; /* further arguments, NULL-terminated */
} rota_git_call_t;

/* What every run gets, from `pool`. NULL on no memory. */
char **rota_git_environment (rota_pool_t *pool);

/* Runs `git ARGUMENT...`, the last one NULL. 0; -EBADMSG when git exits with another code than 0, with its
 * words; -E2BIG when more came than `output` takes; another negative errno when it couldn't be run. */
__attribute__ ((sentinel)) int rota_git (const rota_git_t *git, const rota_git_call_t *call,
                                         rota_error_t *error, ...);

/* One line of output without its end: to `line`, cut to nothing when it doesn't fit. */
__attribute__ ((sentinel)) int rota_git_line (const rota_git_t *git, char *line, size_t capacity,
                                              int *ret_exit_code, rota_error_t *error, ...);

/* 40 or 64 lower case hexadecimal digits. */
bool rota_git_is_oid (const char *text);

/* Options for git at the other end of a file:// URL, which is on this machine; a shell reads them. */
#define ROTA_GIT_PLAIN_SETTINGS                                                                              \
    "-c core.hooksPath=/dev/null -c core.fsmonitor=false -c core.alternateRefsCommand=: "                    \
    "-c 'safe.directory=*' -c gc.auto=0 -c maintenance.auto=false -c receive.autogc=false"

#endif
