/* acp.c - any program that speaks the Agent Client Protocol on its standard input and output: the one that
 * agents.acp_command names, with a client of ours (converse.h).
 */
#include "agents/converse.h"
#include "agents/program.h"
#include "agents/tools.h"

#include "proto/words.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Which directory holds its login only the program knows, but all of them look in the home: so that is what
 * an account has of its own. */
static rota_program_t program_of (const char *name)
{
    static const char *const KEYS[] = {
        "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "OPENAI_API_KEY",
        "CODEX_API_KEY",     "GEMINI_API_KEY",       "GOOGLE_API_KEY",          NULL};
    static const char *const ALSO[] = {"ANTHROPIC_BASE_URL",
                                       "ANTHROPIC_MODEL",
                                       "OPENAI_BASE_URL",
                                       "GOOGLE_GEMINI_BASE_URL",
                                       "CLAUDE_CONFIG_DIR",
                                       "CODEX_HOME",
                                       "HTTPS_PROXY",
                                       "NO_PROXY",
                                       "NODE_EXTRA_CA_CERTS",
                                       "SSL_CERT_FILE",
                                       NULL};
    return (rota_program_t){
        .name = name, .oldest = "", .config_variable = "HOME", .config_name = "", .keys = KEYS, .also = ALSO};
}

/* Programs whose own waiting and fetching can be turned off: rota does the waiting. */
static void set_habits (const char *name, rota_pool_t *pool, rota_program_variables_t *more)
{
    static const struct {
        const char *part, *variable;
    } HABITS[] = {
        {"claude", "CLAUDE_CODE_MAX_RETRIES=1"},
        {"claude", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1"},
        {"claude", "DISABLE_AUTOUPDATER=1"},
        {"opencode", "OPENCODE_DISABLE_AUTOUPDATE=1"},
        {"opencode", "OPENCODE_DISABLE_MODELS_FETCH=1"},
        {"opencode", "OPENCODE_DISABLE_LSP_DOWNLOAD=1"},
        {"opencode", "OPENCODE_PRINT_LOGS=1"}, /* it tells what it waits for nowhere else */
        {"opencode", "OPENCODE_LOG_LEVEL=ERROR"},
    };
    for (size_t i = 0; i < sizeof HABITS / sizeof *HABITS; i++)
        if (strstr (name, HABITS[i].part))
            rota_program_set (more, pool, "%s", HABITS[i].variable);
}

static const char *const *command_of (const rota_adapter_context_t *context)
{
    return rota_setting_list (context->settings, ROTA_SETTING_AGENTS_ACP_COMMAND, NULL);
}

static void check (const rota_adapter_context_t *context, rota_adapter_check_t *ret_check)
{
    const char *name = command_of (context)[0];
    *ret_check = (rota_adapter_check_t){.capabilities = {"prompt", "text", "review"}};
    if (!name) {
        snprintf (ret_check->problem, sizeof ret_check->problem,
                  "no ACP agent is configured: set agents.acp_command, for example [gemini, --acp]");
        return;
    }
    if (!strchr (name, '/')) {
        rota_program_t program = program_of (name);
        rota_program_check (&program, context, ret_check);
    } else if (access (name, X_OK) < 0)
        snprintf (ret_check->problem, sizeof ret_check->problem, "%.100s: %s (setting agents.acp_command)",
                  name, strerror (errno));
    if (!ret_check->problem[0])
        snprintf (ret_check->version, sizeof ret_check->version, "%s", name);
}

/* The account's home counts, which is set behind the slot's. */
static void keep_last_home (char **environment)
{
    char **kept = environment;
    size_t homes = 0;
    for (char **item = environment; *item; item++)
        homes += strncmp (*item, "HOME=", 5) == 0;
    for (char **item = environment; *item; item++)
        if (strncmp (*item, "HOME=", 5) != 0 || --homes == 0)
            *kept++ = *item;
    *kept = NULL;
}

static const char *text_or_null (const char *text)
{
    return *text ? text : NULL;
}

/* The whole prompt, also for a session to go on with: when it can't be loaded, a new one has to do. */
static int prepare (const rota_adapter_context_t *context, const Rota__Assignment *assignment, unsigned slot,
                    rota_pool_t *pool, rota_attempt_t *attempt, rota_error_t *error)
{
    const char *const *command = command_of (context);
    if (!*command)
        return rota_error_set (error, -ENOENT, "no ACP agent is configured (setting agents.acp_command)");
    char **argv, **words = rota_program_arguments (pool, command);
    if (!words)
        return -ENOMEM;
    rota_program_t program = program_of (words[0]);
    rota_converse_options_t options = {
        .protocol = "acp",
        .mode = text_or_null (rota_setting_text (context->settings, ROTA_SETTING_AGENTS_ACP_MODE)),
        .authenticate =
            text_or_null (rota_setting_text (context->settings, ROTA_SETTING_AGENTS_ACP_AUTHENTICATE)),
        .version = (int)rota_setting_integer (context->settings, ROTA_SETTING_AGENTS_ACP_VERSION),
        .trust = context->trust,
        .tell = true,
        /* Another would have to ask for each call, and it can't be told whose tool it is. */
        .tools = context->trust ? rota_tools_program (context, pool) : NULL,
        .program = words};
    rota_program_variables_t more = {0};
    set_habits (words[0], pool, &more);
    Rota__Assignment anew = *assignment;
    anew.session.len = 0;
    if (assignment->session.len) {
        options.session =
            rota_pool_text (pool, (const char *)assignment->session.data, assignment->session.len);
        if (!options.session)
            return -ENOMEM;
    }
    int status = rota_converse_arguments (&options, pool, &argv, error);
    if (status == 0)
        status = rota_program_prepare (&program, context, &anew, slot, pool, &more, attempt, error);
    if (status < 0)
        return status;
    keep_last_home ((char **)attempt->environment);
    attempt->argv = argv;
    attempt->stop_signal = ROTA_CONVERSE_STOP_SIGNAL;
    attempt->steerable = true;
    return 0;
}

static void classify (const rota_adapter_context_t *context, const rota_outcome_t *outcome,
                      const char *log_path, rota_adapter_result_t *ret_result)
{
    rota_program_classify (context, rota_read_acp, outcome, log_path, ret_result);
}

const rota_adapter_t ROTA_ADAPTER_ACP = {.kind = "acp",
                                         .paid = true,
                                         .thinks = true,
                                         .structured = true,
                                         .check = check,
                                         .prepare = prepare,
                                         .classify = classify};
