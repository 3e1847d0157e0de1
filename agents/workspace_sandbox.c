/* workspace_sandbox.c - what a step's programs are to see: their clone, what it shares objects with, and the
 * places that they keep things in.
 */
#include "agents/workspace_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_same (const char *path, const char *other)
{
    char real[PATH_MAX], real_other[PATH_MAX];
    return realpath (path, real) && realpath (other, real_other) && strcmp (real, real_other) == 0;
}

/* Who prepared the attempt knows it: in the environment of an agent program is that of its slot. */
static const char *user_home (const rota_workspace_t *self)
{
    const char *home = self->spec.home ? self->spec.home : getenv ("HOME");
    return home && *home == '/' && home[1] && access (home, F_OK) == 0 ? home : NULL;
}

/* What is to be kept without the user's home, which isn't handed out as a whole; with one more. */
static const char **written_of (const rota_workspace_t *self, const char *home, const char *more,
                                bool *ret_keeps_home)
{
    const char **keep = self->spec.keep;
    size_t count = 0, used = 0;
    while (keep[count])
        count++;
    const char **list = rota_pool_alloc (self->pool, (count + 2) * sizeof *list);
    *ret_keeps_home = false;
    for (size_t i = 0; list && i < count; i++)
        if (home && is_same (keep[i], home))
            *ret_keeps_home = true;
        else
            list[used++] = keep[i];
    if (list)
        list[used] = more;
    return list;
}

/* Who has a home of its own sees the user's not at all. */
static bool has_own_home (const rota_workspace_t *self, const char *home)
{
    const char *theirs = getenv ("HOME");
    bool works = self->spec.step == ROTA_WORKSPACE_WORK || self->spec.step == ROTA_WORKSPACE_REVIEW;
    return works && theirs && home && !is_same (theirs, home);
}

int rota_workspace_prepare_sandbox (rota_workspace_t *self, rota_error_t *error)
{
    rota_pool_t *pool = self->pool;
    const char *home = user_home (self), *const *shared = NULL;
    const char *tmp = rota_pool_format (pool, "%s/tmp", self->clone.ours);
    const char *instead = rota_pool_format (pool, "%s/home", self->clone.ours);
    const char *program[] = {self->program ? self->program[0] : NULL, NULL};
    rota_sandbox_spec_t spec = {
        .off = self->spec.isolate_off,
        .clone = self->clone.path,
        .tmp = tmp,
        .hide = self->spec.hide,
        .show = self->spec.show,
        .paths = self->spec.sandbox_paths,
        .programs = self->spec.programs[0] ? self->spec.programs : program,
        .path = getenv ("PATH"),
        .home = home,
        .instead = has_own_home (self, home) ? NULL : instead,
    };
    spec.write = written_of (self, home, instead, &spec.logins);
    if (!tmp || !instead || !spec.write)
        return rota_error_set (error, -ENOMEM, "no memory");
    int status = rota_clone_list_shared (&self->clone, &shared, error);
    spec.read = shared;
    if (status == 0)
        status = rota_sandbox_prepare (pool, &spec, &self->sandbox, error);
    if (status < 0)
        return status;
    self->home = self->sandbox.isolated && home && spec.instead ? home : instead;
    json_object_set_new (self->record, "isolated", json_boolean (self->sandbox.isolated));
    if (!self->sandbox.isolated)
        fprintf (stderr, "rota-agent: not isolated: %s\n", self->sandbox.why_not);
    return 0;
}
