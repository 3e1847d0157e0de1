/* http.c - a model API, asked once per attempt: text in, text out (ask.h). It can't change files, so it is
 * given only tasks that say so (`capabilities: [text]`).
 */
#include "agents/ask.h"
#include "agents/probe.h"
#include "agents/program.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const PASSED_ON[] = {"HTTPS_PROXY", "https_proxy",   "NO_PROXY",
                                        "no_proxy",    "SSL_CERT_FILE", NULL};

/* Only the key of the vendor whose API it speaks. */
static const rota_program_t PROGRAMS[ROTA_API_COUNT] = {
#define PROGRAM(KEY)                                                                                         \
    {                                                                                                        \
        .name = "http", .oldest = "", .config_variable = "ROTA_ACCOUNT_DIRECTORY",                           \
        .keys = (const char *const[]){KEY, NULL}, .also = PASSED_ON                                          \
    }
    [ROTA_API_ANTHROPIC] = PROGRAM ("ANTHROPIC_API_KEY"),
    [ROTA_API_CHAT] = PROGRAM ("OPENAI_API_KEY"),
    [ROTA_API_RESPONSES] = PROGRAM ("OPENAI_API_KEY"),
#undef PROGRAM
};

static rota_api_t api_of (const rota_adapter_context_t *context)
{
    return (rota_api_t)rota_setting_choice (context->settings, ROTA_SETTING_AGENTS_HTTP_API);
}

/* The variable that the program's `name` comes from; NULL = none. */
static const char *source_of (const rota_adapter_context_t *context, const char *name)
{
    const char *source = context->credentials ? NULL : name;
    size_t length = strlen (name);
    for (const char *const *item = context->credentials; item && *item && !source; item++)
        if (strncmp (*item, name, length) == 0 && ((*item)[length] == '=' || !(*item)[length]))
            source = (*item)[length] ? *item + length + 1 : name;
    return source;
}

static bool has_key (const rota_adapter_context_t *context, const char *name)
{
    const char *source = source_of (context, name), *value = source ? getenv (source) : NULL;
    return value && *value;
}

/* Asks for the list of models, which costs nothing, beside where it would ask for an answer. */
static void try_key (const rota_adapter_context_t *context, const char *name, const char *url, char *problem,
                     size_t capacity)
{
    static const char *const ENDS[] = {"/messages", "/chat/completions", "/responses"};
    const char *source = source_of (context, name), *key = source ? getenv (source) : NULL;
    bool bearer = api_of (context) != ROTA_API_ANTHROPIC;
    char *models = NULL, *value = NULL;
    size_t length = strlen (url), end = 0;
    for (size_t i = 0; i < sizeof ENDS / sizeof *ENDS; i++)
        if (length > strlen (ENDS[i]) && strcmp (url + length - strlen (ENDS[i]), ENDS[i]) == 0)
            end = length - strlen (ENDS[i]);
    if (!key || !*key || !end || asprintf (&models, "%.*s/models", (int)end, url) < 0)
        return;
    int status = asprintf (&value, "%s%s", bearer ? "Bearer " : "", key) < 0
                     ? 0
                     : rota_probe_key (models, bearer ? "Authorization" : "x-api-key", value);
    if (status)
        snprintf (problem, capacity, "the key in %s is refused (%d): set a valid one and start it again",
                  source, status);
    if (value)
        explicit_bzero (value, strlen (value));
    free (value);
    free (models);
}

static void check (const rota_adapter_context_t *context, rota_adapter_check_t *ret_check)
{
    const char *url = rota_setting_text (context->settings, ROTA_SETTING_AGENTS_HTTP_URL);
    const char *model = rota_setting_text (context->settings, ROTA_SETTING_AGENTS_HTTP_MODEL);
    bool plain = rota_setting_boolean (context->settings, ROTA_SETTING_AGENTS_HTTP_PLAIN);
    const char *key = rota_ask_key_name (api_of (context));
    rota_ask_target_t target;
    rota_error_t error = {""};
    *ret_check = (rota_adapter_check_t){.capabilities = {"text", "review"}};
    char *problem = ret_check->problem;
    snprintf (ret_check->version, sizeof ret_check->version, "%s", model);
    if (!*url)
        snprintf (problem, sizeof ret_check->problem,
                  "no server is set: agents.http_url in the settings, as https://api.anthropic.com or "
                  "http://127.0.0.1:11434");
    else if (!*model)
        snprintf (problem, sizeof ret_check->problem,
                  "no model is set: agents.http_model in the settings, by the name that the server knows");
    else if (rota_ask_target (url, api_of (context), plain, &target, &error) < 0)
        snprintf (problem, sizeof ret_check->problem, "agents.http_url: %s", error.text);
    else if (!target.local && !has_key (context, key))
        snprintf (problem, sizeof ret_check->problem, "no key: set %s, or --credential %s=SOURCE", key, key);
    else
        try_key (context, key, target.address, problem, sizeof ret_check->problem);
}

static int prepare (const rota_adapter_context_t *context, const Rota__Assignment *assignment, unsigned slot,
                    rota_pool_t *pool, rota_attempt_t *attempt, rota_error_t *error)
{
    const rota_settings_t *settings = context->settings;
    char self[PATH_MAX];
    ssize_t length = readlink ("/proc/self/exe", self, sizeof self - 1);
    if (length < 0)
        return rota_error_set (error, -errno, "can't find the program itself: %s", strerror (errno));
    self[length] = '\0';
    const char *argv[] = {self, ROTA_ASK_OPTION, NULL};
    int64_t stall_ms = rota_setting_duration_ms (settings, ROTA_SETTING_AGENTS_HTTP_STALL);
    rota_program_variables_t more = {0};
    rota_program_set (&more, pool, ROTA_ASK_URL "=%s",
                      rota_setting_text (settings, ROTA_SETTING_AGENTS_HTTP_URL));
    rota_program_set (&more, pool, ROTA_ASK_API "=%s", rota_ask_api_word (api_of (context)));
    rota_program_set (&more, pool, ROTA_ASK_MODEL "=%s",
                      rota_setting_text (settings, ROTA_SETTING_AGENTS_HTTP_MODEL));
    rota_program_set (&more, pool, ROTA_ASK_MAX_TOKENS "=%" PRId64,
                      rota_setting_integer (settings, ROTA_SETTING_AGENTS_HTTP_MAX_TOKENS));
    rota_program_set (&more, pool, ROTA_ASK_PLAIN "=%d",
                      rota_setting_boolean (settings, ROTA_SETTING_AGENTS_HTTP_PLAIN));
    rota_program_set (&more, pool, ROTA_ASK_STALL_S "=%" PRId64, (stall_ms + 999) / 1000);
    attempt->argv = rota_program_arguments (pool, argv);
    attempt->stop_signal = SIGTERM;
    if (!attempt->argv)
        return -ENOMEM;
    return rota_program_prepare (&PROGRAMS[api_of (context)], context, assignment, slot, pool, &more, attempt,
                                 error);
}

static void classify (const rota_adapter_context_t *context, const rota_outcome_t *outcome,
                      const char *log_path, rota_adapter_result_t *ret_result)
{
    rota_program_classify (context, rota_read_http, outcome, log_path, ret_result);
}

const rota_adapter_t ROTA_ADAPTER_HTTP = {.kind = "http",
                                          .paid = true,
                                          .thinks = true,
                                          .structured = true,
                                          .check = check,
                                          .prepare = prepare,
                                          .classify = classify};
