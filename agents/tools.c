#include "agents/tools.h"

#include "agents/outbox.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What `rota mcp` must know of the attempt: programs pass on only what they are told to. */
static const char *const VARIABLES[] = {
    ROTA_OUTBOX_VARIABLE,   ROTA_CONTEXT_VARIABLE,
    "ROTA_TASK_ID",         "ROTA_TASK_TITLE",
    "ROTA_TASK_EPIC",       "ROTA_TASK_MILESTONE",
    "ROTA_TASK_LABELS",     "ROTA_TASK_PRIORITY",
    "ROTA_TASK_PROMPT",     "ROTA_TASK_DESCRIPTION",
    "ROTA_TASK_COMPLEXITY", "ROTA_ATTEMPT",
    "ROTA_PHASE",           "ROTA_AGENT",
};
#define VARIABLE_COUNT (sizeof VARIABLES / sizeof *VARIABLES)

const char *rota_tools_program (const rota_adapter_context_t *context, rota_pool_t *pool)
{
    char path[PATH_MAX];
    if (!rota_setting_boolean (context->settings, ROTA_SETTING_AGENTS_MCP))
        return NULL;
    ssize_t length = readlink ("/proc/self/exe", path, sizeof path - sizeof "rota");
    if (length <= 0)
        return NULL;
    path[length] = '\0';
    strcpy (strrchr (path, '/') + 1, "rota");
    /* It is put into JSON and TOML, and into patterns of Claude's settings. */
    for (const char *c = path; *c; c++)
        if ((unsigned char)*c < 0x20 || strchr ("\"\\$", *c))
            return NULL;
    return access (path, X_OK) == 0 ? rota_pool_text (pool, path, strlen (path)) : NULL;
}

const char *rota_tools_for_claude (const char *program, rota_pool_t *pool)
{
    json_t *environment = json_object ();
    for (size_t i = 0; i < VARIABLE_COUNT; i++)
        json_object_set_new (environment, VARIABLES[i],
                             json_sprintf ("${%s:-}", VARIABLES[i])); /* filled in by the program */
    json_t *object = json_pack ("{s:{s:{s:s, s:[s], s:o}}}", "mcpServers", "rota", "command", program, "args",
                                "mcp", "env", environment);
    char *dump = object ? json_dumps (object, JSON_COMPACT) : NULL;
    const char *text = dump ? rota_pool_text (pool, dump, strlen (dump)) : NULL;
    free (dump);
    json_decref (object);
    return text;
}

size_t rota_tools_for_codex (const char *program, rota_pool_t *pool, const char **ret_arguments)
{
    char *names = rota_pool_text (pool, "", 0);
    for (size_t i = 0; i < VARIABLE_COUNT && names; i++)
        names = rota_pool_format (pool, "%s%s\"%s\"", names, i ? "," : "", VARIABLES[i]);
    const char *settings[] = {
        rota_pool_format (pool, "mcp_servers.rota.command=\"%s\"", program),
        "mcp_servers.rota.args=[\"mcp\"]",
        rota_pool_format (pool, "mcp_servers.rota.env_vars=[%s]", names ? names : ""),
    };
    size_t count = 0;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (!settings[i] || !names)
            return 0;
        ret_arguments[count++] = "-c";
        ret_arguments[count++] = settings[i];
    }
    return count;
}

json_t *rota_tools_for_acp (const char *program)
{
    json_t *environment = json_array ();
    for (size_t i = 0; i < VARIABLE_COUNT; i++) {
        const char *value = getenv (VARIABLES[i]);
        json_t *item = value ? json_pack ("{s:s, s:s}", "name", VARIABLES[i], "value", value) : NULL;
        if (item) /* a value that isn't UTF-8 is left out */
            json_array_append_new (environment, item);
    }
    return json_pack ("[{s:s, s:s, s:[s], s:o}]", "name", "rota", "command", program, "args", "mcp", "env",
                      environment);
}
