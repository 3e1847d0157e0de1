/* claude.c - Claude Code, run once per attempt: `claude -p` with events as JSON lines, and its input as well,
 * so that it can be told something while it works.
 */
#include "agents/converse.h"
#include "agents/program.h"
#include "agents/tools.h"

#include "proto/words.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

static const rota_program_t PROGRAM = {
    .name = "claude",
    .package = "@anthropic-ai/claude-code",
    .oldest = "2.1.0",
    .config_variable = "CLAUDE_CONFIG_DIR",
    .config_name = ".claude",
    .login_file = ".credentials.json",
    .login_remedy = "run `claude` and type /login",
    .keys =
        (const char *const[]){"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", NULL},
    .also = (const char *const[]){"ANTHROPIC_BASE_URL", "ANTHROPIC_MODEL", "HTTPS_PROXY", "NO_PROXY",
                                  "NODE_EXTRA_CA_CERTS", NULL},
    .base_variable = "ANTHROPIC_BASE_URL",
    .base_default = "https://api.anthropic.com",
    .probe_path = "/v1/models?limit=1",
    .key_header = "x-api-key",
};

static void check (const rota_adapter_context_t *context, rota_adapter_check_t *ret_check)
{
    *ret_check = (rota_adapter_check_t){.capabilities = {"prompt", "text", "review"}};
    rota_program_check (&PROGRAM, context, ret_check);
}

/* "Edit,Write,..." as one argument, or NULL on no memory; `ours`: with those of rota. */
static char *tools_of (const rota_adapter_context_t *context, bool ours, rota_pool_t *pool)
{
    size_t count;
    const char *const *tools =
        rota_setting_list (context->settings, ROTA_SETTING_AGENTS_CLAUDE_TOOLS, &count);
    char *text = rota_pool_text (pool, "", 0);
    for (size_t i = 0; i < count && text; i++)
        text = rota_pool_format (pool, "%s%s%s", text, i ? "," : "", tools[i]);
    if (ours && text)
        text = rota_pool_format (pool, "%s%s" ROTA_TOOLS_CLAUDE_NAME, text, count ? "," : "");
    return text;
}

static int prepare (const rota_adapter_context_t *context, const Rota__Assignment *assignment, unsigned slot,
                    rota_pool_t *pool, rota_attempt_t *attempt, rota_error_t *error)
{
    const char *argv[24] = {"claude",          "-p",          "--input-format", "stream-json",
                            "--output-format", "stream-json", "--verbose",      "--replay-user-messages"};
    size_t count = 8;
    rota_converse_options_t options = {.protocol = "claude-stream", .tell = true};
    rota_program_variables_t more = {0};
    const char *tools = rota_tools_program (context, pool);
    if (tools) {
        argv[count++] = "--mcp-config";
        argv[count++] = rota_tools_for_claude (tools, pool);
        if (!argv[count - 1])
            return -ENOMEM;
    }
    argv[count++] = "--permission-mode"; /* an option behind one that takes any number of values */
    if (context->trust) {
        argv[count++] = "bypassPermissions";
        rota_program_set (&more, pool, "IS_SANDBOX=1"); /* or it refuses to run as root */
    } else {
        argv[count++] = "acceptEdits";
        argv[count++] = "--allowedTools";
        argv[count++] = tools_of (context, tools != NULL, pool);
        if (!argv[count - 1])
            return -ENOMEM;
    }
    if (assignment->session.len) {
        argv[count++] = "--resume";
        argv[count++] =
            rota_pool_text (pool, (const char *)assignment->session.data, assignment->session.len);
        if (!argv[count - 1])
            return -ENOMEM;
    }
    rota_program_set (&more, pool, "CLAUDE_CODE_MAX_RETRIES=1"); /* rota does the waiting */
    rota_program_set (&more, pool, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1");
    rota_program_set (&more, pool, "DISABLE_AUTOUPDATER=1");
    options.program = rota_program_arguments (pool, argv);
    if (!options.program)
        return -ENOMEM;
    char **converse;
    int status = rota_converse_arguments (&options, pool, &converse, error);
    if (status < 0)
        return status;
    attempt->argv = converse;
    attempt->stop_signal = SIGTERM;
    attempt->steerable = true;
    return rota_program_prepare (&PROGRAM, context, assignment, slot, pool, &more, attempt, error);
}

static void classify (const rota_adapter_context_t *context, const rota_outcome_t *outcome,
                      const char *log_path, rota_adapter_result_t *ret_result)
{
    rota_program_classify (context, rota_read_claude, outcome, log_path, ret_result);
}

const rota_adapter_t ROTA_ADAPTER_CLAUDE = {.kind = "claude",
                                            .paid = true,
                                            .thinks = true,
                                            .structured = true,
                                            .check = check,
                                            .prepare = prepare,
                                            .classify = classify};
