/* codex.c - OpenAI Codex, run once per attempt: `codex exec` with events as JSON lines, or `codex app-server`
 * with a client of ours (converse.h), as agents.codex_protocol says.
 */
#include "agents/converse.h"
#include "agents/program.h"
#include "agents/tools.h"

#include "proto/words.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    .base_variable = "OPENAI_BASE_URL",
    .base_default = "https://api.openai.com/v1",
    .probe_path = "/models",
    .key_header = "Authorization",
    .key_prefix = "Bearer ",
    .provider_file = "config.toml",
    .provider_word = "model_provider",
};

/* The oldest whose app-server was tried; earlier ones are run by `exec`. */
#define APP_SERVER_FROM "0.169.0"

enum { PROTOCOL_AUTO, PROTOCOL_EXEC, PROTOCOL_APP_SERVER }; /* as the setting's words stand */

typedef struct {
    bool old; /* the installed one has no app-server that is known to work */
} state_t;

static void *open_state (const rota_adapter_context_t *context, rota_error_t *error)
{
    (void)context;
    state_t *state = calloc (1, sizeof *state);
    if (!state)
        rota_error_set (error, -ENOMEM, "no memory");
    return state;
}

static bool converses (const rota_adapter_context_t *context)
{
    const state_t *state = context->state;
    int protocol = rota_setting_choice (context->settings, ROTA_SETTING_AGENTS_CODEX_PROTOCOL);
    return protocol == PROTOCOL_APP_SERVER || (protocol == PROTOCOL_AUTO && state && !state->old);
}

static void check (const rota_adapter_context_t *context, rota_adapter_check_t *ret_check)
{
    char version[sizeof ret_check->version];
    state_t *state = context->state;
    *ret_check = (rota_adapter_check_t){.capabilities = {"prompt", "text", "review"}};
    rota_program_check (&PROGRAM, context, ret_check);
    if (!state || !ret_check->version[0])
        return;
    state->old = rota_program_is_older (ret_check->version, APP_SERVER_FROM);
    snprintf (version, sizeof version, "%.100s (%s)", ret_check->version,
              converses (context) ? "app-server" : "exec");
    memcpy (ret_check->version, version, sizeof version);
}

/* `exec resume` takes no -s, so that the sandbox is given as a setting in both forms. "-" = the prompt comes
 * by standard input, which ends: an open one would be waited for without end. */
static int prepare_exec (const rota_adapter_context_t *context, const Rota__Assignment *assignment,
                         unsigned slot, rota_pool_t *pool, rota_attempt_t *attempt, rota_error_t *error)
{
    const char *argv[16 + ROTA_TOOLS_CODEX_MAX] = {"codex", "exec"};
    size_t count = 2;
    const char *tools = rota_tools_program (context, pool);
    rota_program_variables_t more = {0};
    if (assignment->session.len)
        argv[count++] = "resume";
    argv[count++] = "--json";
    argv[count++] = "--skip-git-repo-check";
    argv[count++] = "-c";
    argv[count++] = context->trust ? "sandbox_mode=danger-full-access" : "sandbox_mode=workspace-write";
    if (tools)
        count += rota_tools_for_codex (tools, pool, argv + count);
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
    const char *program[3 + ROTA_TOOLS_CODEX_MAX] = {"codex", "app-server"},
                            *tools = rota_tools_program (context, pool);
    char **argv;
    if (tools)
        rota_tools_for_codex (tools, pool, program + 2);
    rota_converse_options_t options = {
        .protocol = "codex-rpc", .trust = context->trust, .tell = true, .program = (char *const *)program};
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
    attempt->steerable = true;
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
    rota_program_classify (context, rota_read_codex, outcome, log_path, ret_result);
}

const rota_adapter_t ROTA_ADAPTER_CODEX = {.kind = "codex",
                                           .paid = true,
                                           .thinks = true,
                                           .structured = true,
                                           .open = open_state,
                                           .close = free,
                                           .check = check,
                                           .prepare = prepare,
                                           .classify = classify};
