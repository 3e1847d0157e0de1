/* command_kind.c - the kind `command`: any program that a file describes (described.h). Its account is the
 * name of the description: `--kind command --account gemini` runs what the setting agents.commands has under
 * `gemini`.
 */
#include "agents/described.h"
#include "agents/program.h"

#include "proto/words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* "NAME FILE" of the setting: the file. */
static const char *file_of (const rota_adapter_context_t *context)
{
    const char *const *item = rota_setting_list (context->settings, ROTA_SETTING_AGENTS_COMMANDS, NULL);
    size_t length = strlen (context->account);
    for (; *item; item++)
        if (strncmp (*item, context->account, length) == 0 && (*item)[length] == ' ')
            return *item + length + strspn (*item + length, " ");
    return NULL;
}

static void *open_description (const rota_adapter_context_t *context, rota_error_t *error)
{
    const char *path = file_of (context);
    if (path)
        return rota_described_read (path, error);
    rota_error_set (
        error, -EINVAL,
        "no program %s is described: --account NAME, and agents.commands: [NAME FILE] in the settings",
        context->account);
    return NULL;
}

static void close_description (void *state)
{
    rota_described_t *described = state;
    rota_described_destroy (&described);
}

static rota_program_t program_of (const rota_described_t *described)
{
    static const char *const NOTHING[] = {NULL};
    const char *const *environment = rota_described_environment (described);
    return (rota_program_t){
        .name = rota_described_arguments (described)[0],
        .package = NULL,
        .oldest = rota_described_version (described),
        .config_variable = "ROTA_ACCOUNT_DIRECTORY",
        .config_name = NULL,
        .login_file = NULL,
        .keys = environment,
        .also = NOTHING,
    };
}

static void check (const rota_adapter_context_t *context, rota_adapter_check_t *ret_check)
{
    *ret_check = (rota_adapter_check_t){.capabilities = {"prompt"}};
    if (!context->state) {
        snprintf (ret_check->problem, sizeof ret_check->problem,
                  "nothing is described: set agents.commands (docs/agents.md)");
        return;
    }
    rota_program_t program = program_of (context->state);
    rota_program_check (&program, context, ret_check);
}

static const char *kind_of (const rota_adapter_context_t *context)
{
    return rota_described_name (context->state);
}

/* An argument with its placeholders filled. */
static char *fill (rota_pool_t *pool, const char *argument, const char *prompt, const char *session,
                   const char *directory)
{
    const struct {
        const char *name, *value;
    } places[] = {{"{prompt}", prompt}, {"{session}", session}, {"{directory}", directory}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *at = strstr (argument, places[i].name);
        if (at)
            return rota_pool_format (pool, "%.*s%s%s", (int)(at - argument), argument, places[i].value,
                                     at + strlen (places[i].name));
    }
    return rota_pool_text (pool, argument, strlen (argument));
}

/* Under the slot's temporary directory, readable by us alone. */
static int write_prompt (const char *directory, const char *prompt, rota_pool_t *pool, char **ret_path)
{
    char *path = rota_pool_format (pool, "%s/prompt.txt", directory);
    FILE *file = path ? fopen (path, "we") : NULL;
    if (!file)
        return path ? -errno : -ENOMEM;
    fchmod (fileno (file), 0600);
    bool good = fputs (prompt, file) >= 0;
    good &= fclose (file) == 0;
    *ret_path = path;
    return good ? 0 : -EIO;
}

static const char *value_of (char *const *environment, const char *name)
{
    size_t length = strlen (name);
    for (; *environment; environment++)
        if (strncmp (*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    return "";
}

static int prepare (const rota_adapter_context_t *context, const Rota__Assignment *assignment, unsigned slot,
                    rota_pool_t *pool, rota_attempt_t *attempt, rota_error_t *error)
{
    const rota_described_t *described = context->state;
    rota_program_t program = program_of (described);
    rota_program_variables_t more = {0};
    for (const char *const *item = rota_described_set (described); *item; item++)
        rota_program_set (&more, pool, "%s", *item);
    int status = rota_program_prepare (&program, context, assignment, slot, pool, &more, attempt, error);
    if (status < 0)
        return status;
    const char *session = rota_pool_text (
        pool, assignment->session.len ? (const char *)assignment->session.data : "", assignment->session.len);
    char *prompt = (char *)attempt->input;
    rota_prompt_way_t way = rota_described_prompt (described);
    if (way != ROTA_PROMPT_STDIN)
        attempt->input = NULL;
    if (way == ROTA_PROMPT_FILE) {
        status = write_prompt (value_of (attempt->environment, "TMPDIR"), prompt, pool, &prompt);
        if (status < 0)
            return rota_error_set (error, status, "can't write the prompt's file: %s", strerror (-status));
    }
    const char *const *lists[] = {rota_described_arguments (described),
                                  session && *session ? rota_described_resume (described) : NULL};
    size_t count = 0;
    for (size_t i = 0; i < 2; i++)
        for (const char *const *item = lists[i]; item && *item; item++)
            count++;
    char **argv = rota_pool_alloc (pool, (count + 1) * sizeof *argv);
    if (!argv || !session)
        return -ENOMEM;
    count = 0;
    for (size_t i = 0; i < 2; i++)
        for (const char *const *item = lists[i]; item && *item; item++)
            if (!(argv[count++] = fill (pool, *item, prompt, session, attempt->directory)))
                return -ENOMEM;
    attempt->argv = argv;
    attempt->stop_signal = rota_described_stop_signal (described);
    return 0;
}

static void classify (const rota_adapter_context_t *context, const rota_outcome_t *outcome,
                      const char *log_path, rota_adapter_result_t *ret_result)
{
    rota_program_classify (context, rota_read_described, outcome, log_path, ret_result);
}

const rota_adapter_t ROTA_ADAPTER_COMMAND = {
    .kind = "command",
    .paid = true,
    .thinks = true,
    .open = open_description,
    .close = close_description,
    .registers_as = kind_of,
    .check = check,
    .prepare = prepare,
    .classify = classify,
};
