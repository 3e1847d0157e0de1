/* clone_shared.c - where the objects of a clone lie that it shares with others. */
#include "agents/clone_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARED_MAX 1000
#define DEPTH_MAX 5 /* as git has it */

typedef struct {
    rota_pool_t *pool;
    const char **list;
    size_t count;
    bool failed;
} shared_t;

static bool is_known (const shared_t *self, const char *path)
{
    for (size_t i = 0; i < self->count; i++)
        if (strcmp (self->list[i], path) == 0)
            return true;
    return false;
}

/* A directory of objects, and those that it names in turn, one a line: a relative path begins there. */
static void follow (shared_t *self, const char *objects, int depth)
{
    char real[PATH_MAX], path[2 * PATH_MAX], line[PATH_MAX];
    if (depth > DEPTH_MAX || !realpath (objects, real) || is_known (self, real) || self->count == SHARED_MAX)
        return;
    char *copy = rota_pool_text (self->pool, real, strlen (real));
    if (!copy) {
        self->failed = true;
        return;
    }
    self->list[self->count++] = copy;
    snprintf (path, sizeof path, "%s/info/alternates", real);
    FILE *file = fopen (path, "re");
    while (file && fgets (line, sizeof line, file)) {
        line[strcspn (line, "\n")] = '\0';
        if (!*line || *line == '#')
            continue;
        snprintf (path, sizeof path, "%s%s%s", *line == '/' ? "" : real, *line == '/' ? "" : "/", line);
        follow (self, path, depth + 1);
    }
    if (file)
        fclose (file);
}

int rota_clone_list_shared (const rota_clone_t *self, const char *const **ret_list, rota_error_t *error)
{
    char path[PATH_MAX];
    shared_t shared = {.pool = self->pool};
    shared.list = rota_pool_alloc (self->pool, (SHARED_MAX + 1) * sizeof *shared.list);
    if (!shared.list)
        return rota_error_set (error, -ENOMEM, "no memory");
    if (snprintf (path, sizeof path, "%s/objects", self->ours) < (int)sizeof path)
        follow (&shared, path, 0);
    for (const rota_clone_part_t *part = self->parts; part; part = part->next)
        if (part->ours && snprintf (path, sizeof path, "%s/objects", part->ours) < (int)sizeof path)
            follow (&shared, path, 0);
    if (shared.failed)
        return rota_error_set (error, -ENOMEM, "no memory");
    *ret_list = shared.list;
    return 0;
}
