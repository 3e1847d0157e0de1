/* workspace_told.c - what the agent is told, made in its clone: the scheduler's part comes in SPEC (`told`),
 * the repository's is found here. Whatever fails of it, the attempt goes on without. */
#include "agents/told.h"
#include "agents/told_repository.h"
#include "agents/workspace_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void add_given (rota_told_t *told, const json_t *parts)
{
    const json_t *part;
    size_t index;
    json_array_foreach (parts, index, part)
    {
        const char *kind = json_string_value (json_object_get (part, "kind"));
        const json_t *text = json_object_get (part, "text");
        if (kind && json_is_string (text))
            rota_told_add (told, kind, (int)json_integer_value (json_object_get (part, "score")),
                           json_string_value (text), json_string_length (text));
    }
}

static const char **touches_of (rota_pool_t *pool, const json_t *list)
{
    const char **globs = rota_pool_alloc (pool, (json_array_size (list) + 1) * sizeof *globs);
    size_t count = 0;
    for (size_t i = 0; globs && i < json_array_size (list); i++)
        if (json_string_value (json_array_get (list, i)))
            globs[count++] = json_string_value (json_array_get (list, i));
    return globs;
}

/* Over the file that the host made: the sandbox shows that one. */
static void write_text (const char *path, const char *text)
{
    int fd = path ? open (path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (fd < 0)
        return;
    if (write (fd, text, strlen (text)) < 0)
        fprintf (stderr, "rota-agent: %s can't be written\n", path);
    close (fd);
}

const char *rota_workspace_told (rota_workspace_t *self, const char *commit)
{
    const json_t *given = self->spec.told;
    rota_told_report_t report = {0};
    rota_told_t told = {.pool = self->pool};
    if (!given)
        return "";
    const rota_git_t git = rota_clone_git (&self->clone);
    const char *about = json_string_value (json_object_get (given, "about"));
    bool resumed = json_is_true (json_object_get (given, "resumed"));
    json_int_t files = json_integer_value (json_object_get (given, "files"));
    json_int_t budget = json_integer_value (json_object_get (given, "budget"));
    add_given (&told, json_object_get (given, "parts"));
    told.budget_used_permille =
        (unsigned)json_integer_value (json_object_get (given, "budget_used_permille"));
    if (!resumed && self->spec.step == ROTA_WORKSPACE_WORK)
        rota_told_repository (&told, &git, commit, about ? about : "",
                              touches_of (self->pool, json_object_get (given, "touches")),
                              files > 0 ? (size_t)files : 0);
    char *text = rota_told_render (&told, budget > 0 ? (size_t)budget : 0, resumed, NULL, &report);
    if (!text)
        return "";
    write_text (json_string_value (json_object_get (given, "path")), text);
    fprintf (stderr, "rota-agent: context: %zu of %zu parts, about %zu tokens\n", report.given, report.known,
             report.tokens);
    if (!json_is_true (json_object_get (given, "prompt")))
        return "";
    bool writes = self->spec.step == ROTA_WORKSPACE_WORK && !resumed;
    const char *whole = rota_pool_format (self->pool, "%s%s", text, writes ? ROTA_TOLD_OUTBOX : "");
    return whole ? whole : "";
}
