/* exec.c - the kind of agent that runs a shell command: the task's own, or the one that the host was given.
 */
#include "agents/adapter.h"

#include "proto/words.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SHELL_NOT_EXECUTABLE 126 /* what POSIX shells exit with */
#define SHELL_NOT_FOUND 127

static void check (const rota_adapter_context_t *context, rota_adapter_check_t *ret_check)
{
    const char *shell = rota_setting_text (context->settings, ROTA_SETTING_AGENTS_SHELL);
    *ret_check = (rota_adapter_check_t){.capabilities = {"run", context->exec_command ? "prompt" : NULL}};
    if (access (shell, X_OK) < 0)
        snprintf (ret_check->problem, sizeof ret_check->problem,
                  "the shell %.100s: %s (setting agents.shell)", shell, strerror (errno));
}

static char *text_of (rota_pool_t *pool, ProtobufCBinaryData bytes)
{
    return rota_pool_text (pool, bytes.len ? (const char *)bytes.data : "", bytes.len);
}

static int prepare (const rota_adapter_context_t *context, const Rota__Assignment *assignment, unsigned slot,
                    rota_pool_t *pool, rota_attempt_t *attempt, rota_error_t *error)
{
    (void)slot;
    const Rota__TaskSpec *spec = assignment->spec;
    bool own = spec->has_run && spec->run.len > 0;
    if (!own && !context->exec_command)
        return rota_error_set (error, -EINVAL,
                               "the task has no command (run:), and the agent was given none (--exec)");
    if (own && memchr (spec->run.data, 0, spec->run.len))
        return rota_error_set (error, -EINVAL, "the task's command holds a NUL byte");

    char **argv = rota_pool_alloc (pool, 4 * sizeof *argv);
    char *directory = spec->directory.len
                          ? text_of (pool, spec->directory)
                          : rota_pool_text (pool, context->directory, strlen (context->directory));
    if (!argv || !directory)
        return -ENOMEM;
    const char *shell = rota_setting_text (context->settings, ROTA_SETTING_AGENTS_SHELL);
    argv[0] = rota_pool_text (pool, shell, strlen (shell));
    argv[1] = rota_pool_text (pool, "-c", 2);
    argv[2] = own ? text_of (pool, spec->run)
                  : rota_pool_text (pool, context->exec_command, strlen (context->exec_command));
    if (!argv[0] || !argv[1] || !argv[2])
        return -ENOMEM;
    attempt->argv = argv;
    attempt->directory = directory;
    attempt->stop_signal = SIGTERM;
    return 0;
}

static void classify (const rota_adapter_context_t *context, const rota_outcome_t *outcome,
                      const char *log_path, rota_adapter_result_t *ret_result)
{
    (void)context;
    (void)log_path;
    if (rota_adapter_classify_common (outcome, ret_result))
        return;
    *ret_result = (rota_adapter_result_t){.result_class = outcome->exit_code ? RESULT (FAILED) : RESULT (OK)};
    const char *hint = outcome->exit_code == SHELL_NOT_FOUND        ? " (command not found)"
                       : outcome->exit_code == SHELL_NOT_EXECUTABLE ? " (not executable)"
                                                                    : "";
    if (outcome->exit_code)
        snprintf (ret_result->message, sizeof ret_result->message, "exit code %d%s%s%s", outcome->exit_code,
                  hint, outcome->message[0] ? "; " : "", outcome->message);
    else
        snprintf (ret_result->message, sizeof ret_result->message, "%s", outcome->message);
}

const rota_adapter_t ROTA_ADAPTER_EXEC = {
    .kind = "exec", .check = check, .prepare = prepare, .classify = classify};
