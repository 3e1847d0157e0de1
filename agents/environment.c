#include "agents/environment.h"

#include "bus/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Texts of the task, as they are. An absent one is set and empty, so that `set -u` scripts work. */
static const struct {
    const char *name;
    size_t offset; /* of the field in TaskSpec */
} TEXTS[] = {
    {"ROTA_TASK_ID", offsetof (Rota__TaskSpec, id)},
    {"ROTA_TASK_TITLE", offsetof (Rota__TaskSpec, title)},
    {"ROTA_TASK_DESCRIPTION", offsetof (Rota__TaskSpec, description)},
    {"ROTA_TASK_PROMPT", offsetof (Rota__TaskSpec, prompt)},
    {"ROTA_TASK_EPIC", offsetof (Rota__TaskSpec, epic)},
    {"ROTA_TASK_MILESTONE", offsetof (Rota__TaskSpec, milestone)},
};
#define TEXT_COUNT (sizeof TEXTS / sizeof *TEXTS)
/* ROTA_TASK_LABELS, _PRIORITY, _COMPLEXITY, ROTA_ATTEMPT, ROTA_PHASE, ROTA_AGENT, the mark, PATH */
#define OTHER_COUNT 8

/* Cut before a character that would be split, and at a NUL, which no variable can hold. */
static size_t fitting (const uint8_t *bytes, size_t length)
{
    const uint8_t *nul = length ? memchr (bytes, 0, length) : NULL;
    if (nul)
        length = (size_t)(nul - bytes);
    if (length <= ROTA_ENVIRONMENT_TEXT_MAX_BYTES)
        return length;
    length = ROTA_ENVIRONMENT_TEXT_MAX_BYTES;
    while (length > 0 && (bytes[length] & 0xc0) == 0x80)
        length--;
    return length;
}

static char *variable (rota_pool_t *pool, const char *name, const void *bytes, size_t length)
{
    return rota_pool_format (pool, "%s=%.*s", name, (int)fitting (bytes, length), (const char *)bytes);
}

static char *text_variable (rota_pool_t *pool, const char *name, const Rota__TaskSpec *spec, size_t offset)
{
    ProtobufCBinaryData text;
    memcpy (&text, (const char *)spec + offset, sizeof text);
    if (text.len == 0 && offset == offsetof (Rota__TaskSpec, title))
        text = spec->id; /* what a task without a title is called everywhere */
    return variable (pool, name, text.len ? text.data : (const void *)"", text.len);
}

static char *labels (rota_pool_t *pool, const Rota__TaskSpec *spec)
{
    char text[ROTA_ENVIRONMENT_TEXT_MAX_BYTES];
    size_t used = 0;
    for (size_t i = 0; i < spec->n_labels; i++) {
        size_t length = spec->labels[i].len;
        if (used + length + 1 >= sizeof text)
            break;
        if (i > 0)
            text[used++] = ',';
        if (length)
            memcpy (text + used, spec->labels[i].data, length);
        used += length;
    }
    return variable (pool, "ROTA_TASK_LABELS", text, used);
}

static bool begins_with_rota (const char *name)
{
    return strncmp (name, "ROTA_", 5) == 0;
}

static bool is_among (char *const *variables, const char *name)
{
    size_t length = strlen (name);
    for (; variables && *variables; variables++)
        if (strncmp (*variables, name, length) == 0 && (*variables)[length] == '=')
            return true;
    return false;
}

char **rota_environment_new (const rota_adapter_context_t *context, const Rota__Assignment *assignment,
                             const char *mark, char *const *more, rota_pool_t *pool)
{
    const Rota__TaskSpec *spec = assignment->spec;
    size_t names, count = 0;
    const char *const *list = rota_setting_list (context->settings, ROTA_SETTING_AGENTS_ENVIRONMENT, &names);
    size_t more_count = 0;
    while (more && more[more_count])
        more_count++;
    char **made = rota_pool_alloc (pool, (names + more_count + TEXT_COUNT + OTHER_COUNT + 1) * sizeof *made);
    if (!made)
        return NULL;

    bool has_path = false;
    /* First, where a sweep looks, whatever length the rest has. */
    made[count++] = rota_pool_format (pool, ROTA_ENVIRONMENT_MARK "=%s", mark);
    for (size_t i = 0; i < names; i++) {
        const char *value = getenv (list[i]);
        if (!value || begins_with_rota (list[i]) || is_among (more, list[i]))
            continue;
        has_path |= strcmp (list[i], "PATH") == 0;
        made[count++] = rota_pool_format (pool, "%s=%s", list[i], value);
    }
    for (size_t i = 0; i < more_count; i++) {
        has_path |= strncmp (more[i], "PATH=", 5) == 0;
        made[count++] = more[i];
    }
    if (!has_path)
        made[count++] = rota_pool_format (pool, "PATH=%s", DEFAULT_PATH);
    for (size_t i = 0; i < TEXT_COUNT; i++)
        made[count++] = text_variable (pool, TEXTS[i].name, spec, TEXTS[i].offset);
    made[count++] = labels (pool, spec);
    made[count++] = rota_pool_format (pool, "ROTA_TASK_PRIORITY=%d", (int)spec->priority);
    made[count++] = rota_pool_format (pool, "ROTA_TASK_COMPLEXITY=%u", spec->complexity);
    made[count++] = rota_pool_format (pool, "ROTA_ATTEMPT=%u", assignment->attempt);
    made[count++] = rota_pool_format (pool, "ROTA_PHASE=%s", rota_phase_name (assignment->phase));
    made[count++] = rota_pool_format (pool, "ROTA_AGENT=%s", context->agent);
    for (size_t i = 0; i < count; i++)
        if (!made[i])
            return NULL;
    return made;
}

static bool is_called_key (const char *name)
{
    static const char *const ENDINGS[] = {"KEY", "TOKEN", "SECRET", "PASSWORD"};
    size_t length = strlen (name);
    for (size_t i = 0; i < sizeof ENDINGS / sizeof *ENDINGS; i++) {
        size_t ending = strlen (ENDINGS[i]);
        if (length >= ending && strcmp (name + length - ending, ENDINGS[i]) == 0 &&
            (length == ending || name[length - ending - 1] == '_'))
            return true;
    }
    return false;
}

static bool is_credential (const rota_adapter_context_t *context, const char *name)
{
    size_t length = strlen (name);
    for (const char *const *item = context->credentials; item && *item; item++)
        if (strncmp (*item, name, length) == 0 && ((*item)[length] == '=' || !(*item)[length]))
            return true;
    return false;
}

const char **rota_environment_keys (const rota_adapter_context_t *context, char *const *environment,
                                    rota_pool_t *pool)
{
    size_t count = 0, used = 0;
    while (environment && environment[count])
        count++;
    const char **names = rota_pool_alloc (pool, (count + 1) * sizeof *names);
    for (size_t i = 0; names && i < count; i++) {
        const char *name = rota_pool_text (pool, environment[i], strcspn (environment[i], "="));
        if (!name)
            return NULL;
        if (!begins_with_rota (name) && (is_credential (context, name) || is_called_key (name)))
            names[used++] = name;
    }
    if (names)
        names[used] = NULL;
    return names;
}
