/* codex.c - OpenAI Codex, run once per attempt: `codex exec` with events as JSON lines, or `codex app-server`
 * with a client of ours (converse.h), as agents.codex_protocol says.
 */
#include "agents/converse.h"
#include "agents/program.h"

#include "proto/words.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

static const rota_program_t PROGRAM = {
    .name = "codex",
    .package = "@openai/codex",
    .oldest = "0.100.0",
    .config_variable = "CODEX_HOME",
    .config_name = ".codex",
    .login_file = "auth.json",
    .login_remedy = "run `codex login`",
    .keys = (const char *const[]){"CODEX_API_KEY", "CODEX_API_KEY=OPENAI_API_KEY", NULL},
    .also = (const char *const[]){"OPENAI_BASE_URL", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", NULL},
};

static void check (const rota_adapter_context_t *context, rota_adapter_check_t *ret_check)
{
    *ret_check = (rota_adapter_check_t){.capabilities = {"prompt", "text", "review"}};
    rota_program_check (&PROGRAM, context, ret_check);
}

static bool converses (const rota_adapter_context_t *context)
{
    return rota_setting_choice (context->settings, ROTA_SETTING_AGENTS_CODEX_PROTOCOL) == 1;
}

/* `exec resume` takes no -s, so that the sandbox is given as a setting in both forms. "-" = the prompt comes
 * by standard input, which ends: an open one would be waited for without end. */
static int prepare_exec (const rota_adapter_context_t *context, const Rota__Assignment *assignment,
                         unsigned slot, rota_pool_t *pool, rota_attempt_t *attempt, rota_error_t *error)
{
    const char *argv[16] = {"codex", "exec"};
    size_t count = 2;
    rota_program_variables_t more = {0};
    if (assignment->session.len)
        argv[count++] = "resume";
    argv[count++] = "--json";
    argv[count++] = "--skip-git-repo-check";
    argv[count++] = "-c";
    argv[count++] = context->trust ? "sandbox_mode=danger-full-access" : "sandbox_mode=workspace-write";
    if (assignment->session.len) {
        argv[count++] =
            rota_pool_text (pool, (const char *)assignment->session.data, assignment->session.len);
        if (!argv[count - 1])
            return -ENOMEM;
    }
    argv[count++] = "-";
    attempt->argv = rota_program_arguments (pool, argv);
    attempt->stop_signal = SIGINT; /* at SIGTERM it leaves what its commands started */
    if (!attempt->argv)
        return -ENOMEM;
    return rota_program_prepare (&PROGRAM, context, assignment, slot, pool, &more, attempt, error);
}

/* The whole prompt, also for a session to go on with: when it can't be found, a new one has to do. */
static int prepare_conversation (const rota_adapter_context_t *context, const Rota__Assignment *assignment,
                                 unsigned slot, rota_pool_t *pool, rota_attempt_t *attempt,
                                 rota_error_t *error)
{
    char *program[] = {"codex", "app-server", NULL}, **argv;
    rota_converse_options_t options = {.protocol = "codex-rpc", .trust = context->trust, .program = program};
    rota_program_variables_t more = {0};
    Rota__Assignment anew = *assignment;
    anew.session.len = 0;
    if (assignment->session.len) {
        options.session =
            rota_pool_text (pool, (const char *)assignment->session.data, assignment->session.len);
        if (!options.session)
            return -ENOMEM;
    }
    int status = rota_converse_arguments (&options, pool, &argv, error);
    if (status < 0)
        return status;
    attempt->argv = argv;
    attempt->stop_signal = ROTA_CONVERSE_STOP_SIGNAL;
    return rota_program_prepare (&PROGRAM, context, &anew, slot, pool, &more, attempt, error);
}

static int prepare (const rota_adapter_context_t *context, const Rota__Assignment *assignment, unsigned slot,
                    rota_pool_t *pool, rota_attempt_t *attempt, rota_error_t *error)
{
    return (converses (context) ? prepare_conversation : prepare_exec) (context, assignment, slot, pool,
                                                                        attempt, error);
}

static void classify (const rota_adapter_context_t *context, const rota_outcome_t *outcome,
                      const char *log_path, rota_adapter_result_t *ret_result)
{
    rota_program_classify (context, converses (context) ? rota_read_codex_rpc : rota_read_codex_exec, outcome,
                           log_path, ret_result);
}

const rota_adapter_t ROTA_ADAPTER_CODEX = {.kind = "codex",
                                           .paid = true,
                                           .structured = true,
                                           .check = check,
                                           .prepare = prepare,
                                           .classify = classify};
