#include "agents/git.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TIMEOUT_MS (30 * 60 * 1000) /* a watchdog: a remote that neither answers nor goes */
#define MAIL "rota@localhost"
#define VARIABLES_MAX 32

/* Of ours, when they are there: finding git, keys of ssh, and the way out. */
static const char *const PASSED_ON[] = {
    "PATH",        "HOME",      "TMPDIR",    "SSH_AUTH_SOCK", "http_proxy", "https_proxy",
    "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy",      "NO_PROXY",   "SSL_CERT_FILE",
};

static const char *const FIXED[] = {
    "LC_ALL=C",
    "GIT_CONFIG_NOSYSTEM=1",
    "GIT_CONFIG_GLOBAL=/dev/null",
    "GIT_ATTR_NOSYSTEM=1",
    "GIT_TERMINAL_PROMPT=0",
    "GIT_OPTIONAL_LOCKS=0",
    "GIT_NO_REPLACE_OBJECTS=1",
    "GIT_NO_LAZY_FETCH=1",
    "GIT_ALLOW_PROTOCOL=file:git:http:https:ssh",
    "GIT_SSH_COMMAND=ssh -o BatchMode=yes",
    "GIT_ASKPASS=true",
    "GIT_PAGER=cat",
    "GIT_EDITOR=false",
};

static const char *const SETTINGS[] = {
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.alternateRefsCommand=:",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.quotePath=true",
    "core.splitIndex=false",
    "core.untrackedCache=false",
    "credential.helper=",
    "commit.gpgSign=false",
    "diff.ignoreSubmodules=dirty",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "protocol.ext.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
    "safe.directory=*",
};
#define SETTING_COUNT (sizeof SETTINGS / sizeof *SETTINGS)

char **rota_git_environment (rota_pool_t *pool)
{
    size_t fixed = sizeof FIXED / sizeof *FIXED, passed = sizeof PASSED_ON / sizeof *PASSED_ON, count = 0;
    char **list = rota_pool_alloc (pool, (fixed + passed + 1) * sizeof *list);
    for (size_t i = 0; list && i < passed; i++) {
        const char *value = getenv (PASSED_ON[i]);
        if (value && !(list[count++] = rota_pool_format (pool, "%s=%s", PASSED_ON[i], value)))
            return NULL;
    }
    for (size_t i = 0; list && i < fixed; i++)
        if (!(list[count++] = rota_pool_text (pool, FIXED[i], strlen (FIXED[i]))))
            return NULL;
    return list;
}

bool rota_git_is_oid (const char *text)
{
    size_t length = strspn (text, "0123456789abcdef");
    return !text[length] && (length == 40 || length == 64);
}

/* Its variables, those of `git` and of `call` in `list`; what is made for it is freed by the pool. */
static bool add_variables (const rota_git_t *git, const rota_git_call_t *call, rota_pool_t *pool, char **list)
{
    const struct {
        const char *name, *value;
    } VARIABLES[] = {
        {"GIT_DIR", git->git_dir},         {"GIT_WORK_TREE", git->work_tree},
        {"GIT_INDEX_FILE", git->index},    {"GIT_OBJECT_DIRECTORY", git->object_dir},
        {"GIT_AUTHOR_NAME", call->author}, {"GIT_AUTHOR_EMAIL", call->author ? MAIL : NULL},
        {"GIT_COMMITTER_NAME", "rota"},    {"GIT_COMMITTER_EMAIL", MAIL},
    };
    size_t count = 0;
    for (; git->environment[count]; count++)
        list[count] = git->environment[count];
    for (size_t i = 0; i < sizeof VARIABLES / sizeof *VARIABLES; i++)
        if (VARIABLES[i].value &&
            !(list[count++] = rota_pool_format (pool, "%s=%s", VARIABLES[i].name, VARIABLES[i].value)))
            return false;
    list[count] = NULL;
    return true;
}

static int make_input (const rota_git_call_t *call, int *ret_fd)
{
    *ret_fd = -1;
    if (!call->input)
        return 0;
    int fd = memfd_create ("input", MFD_CLOEXEC);
    for (size_t done = 0; fd >= 0 && done < call->input_bytes;) {
        ssize_t size = write (fd, call->input + done, call->input_bytes - done);
        if (size <= 0) {
            int code = size < 0 ? errno : EIO;
            close (fd);
            return -code;
        }
        done += (size_t)size;
    }
    if (fd >= 0)
        lseek (fd, 0, SEEK_SET);
    *ret_fd = fd;
    return fd < 0 ? -errno : 0;
}

static void drop (void *context, const char *bytes, size_t size)
{
    (void)context;
    (void)bytes;
    (void)size;
}

/* Its words as one line, from the first error on. */
static int explain (const rota_child_end_t *end, const char *verb, rota_error_t *error)
{
    char line[ROTA_ERROR_MAX_BYTES / 2];
    size_t used = 0;
    const char *words = end->words, *said = strstr (words, "error: ");
    if (!said)
        said = strstr (words, "fatal: ");
    if (said)
        words = said + strlen ("fatal: ");
    for (; *words && used < sizeof line - 1; words++)
        if (!iscntrl ((unsigned char)*words))
            line[used++] = *words;
        else if (used && line[used - 1] != ' ' && words[1])
            line[used++] = ' ';
    line[used] = '\0';
    if (end->timed_out)
        return rota_error_set (error, -EBADMSG, "git %s took too long", verb);
    if (!used)
        return rota_error_set (error, -EBADMSG, "git %s ended with %d", verb, rota_child_status (end));
    return rota_error_set (error, -EBADMSG, "git %s: %s", verb, line);
}

static size_t add_arguments (const rota_git_call_t *call, char **argv, va_list arguments)
{
    size_t count = 0;
    argv[count++] = (char *)"git";
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        argv[count++] = (char *)"-c";
        argv[count++] = (char *)SETTINGS[i];
    }
    if (call->directory) {
        argv[count++] = (char *)"-C";
        argv[count++] = (char *)call->directory;
    }
    size_t verb = count;
    for (const char *argument; (argument = va_arg (arguments, const char *));) {
        if (count == verb + ROTA_GIT_ARGUMENTS_MAX)
            abort ();
        argv[count++] = (char *)argument;
        /* A setting of this call's alone stands before the verb. */
        if (count == verb + 2 && strcmp (argv[verb], "-c") == 0)
            verb = count;
    }
    for (size_t i = 0; call->more && call->more[i]; i++)
        argv[count++] = (char *)call->more[i];
    argv[count] = NULL;
    return verb;
}

static int run (const rota_git_t *git, const rota_git_call_t *call, rota_error_t *error, va_list arguments)
{
    size_t more = 0;
    while (call->more && call->more[more])
        more++;
    rota_child_end_t end = {0};
    rota_pool_t *pool = rota_pool_new ();
    char *environment[VARIABLES_MAX + sizeof FIXED / sizeof *FIXED];
    char **argv =
        pool ? rota_pool_alloc (pool, (2 * SETTING_COUNT + 4 + ROTA_GIT_ARGUMENTS_MAX + more) * sizeof *argv)
             : NULL;
    int input_fd = -1, status = -ENOMEM;
    if (!argv || !add_variables (git, call, pool, environment))
        goto end;
    status = make_input (call, &input_fd);
    if (status < 0) {
        rota_error_set (error, status, "the input of git: %s", strerror (-status));
        goto end;
    }
    size_t verb = add_arguments (call, argv, arguments);
    const rota_child_t child = {
        .argv = argv,
        .environment = environment,
        .directory = call->directory  ? NULL
                     : git->work_tree ? git->work_tree
                                      : git->git_dir,
        .signals = ROTA_CHILD_SHELTERED,
        .input_fd = input_fd,
        .held_fd = call->held_fd > 0 ? call->held_fd : -1,
        .take = call->take     ? call->take
                : call->output ? rota_bytes_take
                               : drop,
        .context = call->take ? call->context : call->output,
        .timeout_ms = call->timeout_ms ? call->timeout_ms : TIMEOUT_MS,
    };
    status = rota_child_run (&child, &end, error);
    if (status == 0 && call->exit_code)
        *call->exit_code = rota_child_status (&end);
    if (status == 0 && end.wait_status && (!call->exit_code || end.timed_out))
        status = explain (&end, argv[verb], error);
    else if (status == 0 && end.wait_status && error)
        explain (&end, argv[verb], error);
    if (status == 0 && call->output && call->output->cut)
        status = rota_error_set (error, -E2BIG, "git %s tells more than can be taken", argv[verb]);
end:
    if (input_fd >= 0)
        close (input_fd);
    rota_pool_destroy (&pool);
    return status;
}

int rota_git (const rota_git_t *git, const rota_git_call_t *call, rota_error_t *error, ...)
{
    va_list arguments;
    va_start (arguments, error);
    int status = run (git, call, error, arguments);
    va_end (arguments);
    return status;
}

int rota_git_line (const rota_git_t *git, char *line, size_t capacity, int *ret_exit_code,
                   rota_error_t *error, ...)
{
    rota_bytes_t output = {.max_bytes = 4096};
    const rota_git_call_t call = {.output = &output, .exit_code = ret_exit_code};
    va_list arguments;
    va_start (arguments, error);
    int status = run (git, &call, error, arguments);
    va_end (arguments);
    size_t length = output.bytes ? strcspn (output.bytes, "\n") : 0;
    if (length >= capacity)
        length = 0;
    if (length)
        memcpy (line, output.bytes, length);
    line[length] = '\0';
    rota_bytes_clear (&output);
    return status;
}
