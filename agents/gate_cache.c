/* gate_cache.c - what is known of a tree is not found out again.
 *
 * A file for each tree, list of gates and environment; its name is a hash of these, and it holds them in
 * full, so that two that share a name are told apart. It lies in the state directory, which nothing that
 * works in a clone sees. Only passes are kept: a failure may be the machine's, and costs one run to see.
 */
#include "agents/workspace_internal.h"

#include "agents/files.h"
#include "bus/clock.h"
#include "bus/names.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT 1
#define FILES_MAX 1000
#define ENTRY_MAX_BYTES ((off_t)1 << 20)

static const char *variable (const char *name)
{
    const char *value = getenv (name);
    return value ? value : "";
}

/* All that the gates' outcome may depend on, as far as rota knows it. */
static char *make_key (const rota_workspace_t *self, const char *tree)
{
    const rota_workspace_spec_t *spec = &self->spec;
    json_t *gates = json_array ();
    for (size_t i = 0; i < spec->gate_count; i++)
        json_array_append_new (gates, json_pack ("[s, s, I]", spec->gates[i].name,
                                                 spec->gates[i].command ? spec->gates[i].command : "",
                                                 (json_int_t)spec->gates[i].timeout_ms));
    json_t *key = json_pack ("{s:i, s:s, s:s, s:s, s:s, s:s, s:b, s:o}", "format", FORMAT, "repository",
                             spec->repository, "tree", tree, "setup", spec->setup ? spec->setup : "", "path",
                             variable ("PATH"), "task", variable ("ROTA_TASK_ID"), "isolate",
                             !spec->isolate_off, "gates", gates);
    char *dumped = key ? json_dumps (key, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    char *copy = dumped ? rota_pool_text (self->pool, dumped, strlen (dumped)) : NULL;
    free (dumped);
    json_decref (key);
    return copy;
}

static char *path_of (const rota_workspace_t *self, const char *key)
{
    return rota_pool_format (self->pool, "%s/%016llx.json", self->spec.gate_cache,
                             (unsigned long long)rota_hash (key, strlen (key)));
}

static bool is_fresh (const rota_workspace_t *self, const struct stat *info)
{
    int64_t age_ms = rota_clock_wall_ms () - (int64_t)info->st_mtim.tv_sec * 1000;
    return age_ms > -60000 && age_ms < self->spec.gate_cache_ms;
}

static json_t *load (const rota_workspace_t *self, const char *path, const char *key)
{
    struct stat info;
    int fd = open (path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool good = fd >= 0 && fstat (fd, &info) == 0 && S_ISREG (info.st_mode) && info.st_uid == geteuid () &&
                info.st_size < ENTRY_MAX_BYTES && is_fresh (self, &info);
    json_t *entry = good ? json_loadfd (fd, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (fd >= 0)
        close (fd);
    const char *own = json_string_value (json_object_get (entry, "key"));
    if (own && strcmp (own, key) == 0 && json_is_array (json_object_get (entry, "gates")))
        return entry;
    json_decref (entry);
    return NULL;
}

bool rota_gate_cache_find (rota_workspace_t *self, const char *tree)
{
    char *key = self->spec.gate_cache && self->spec.gate_count ? make_key (self, tree) : NULL;
    char *path = key ? path_of (self, key) : NULL;
    json_t *entry = path ? load (self, path, key) : NULL, *gates, *gate;
    size_t index;
    if (!entry)
        return false;
    gates = json_object_get (entry, "gates");
    json_array_foreach (gates, index, gate)
    {
        const char *state = json_string_value (json_object_get (gate, "state"));
        if (state && strcmp (state, "passed") == 0)
            json_object_set_new (gate, "cached", json_true ());
    }
    json_object_set (self->record, "gates", gates);
    json_object_set_new (self->record, "isolated",
                         json_boolean (json_is_true (json_object_get (entry, "isolated"))));
    json_decref (entry);
    printf ("rota-agent: the gates passed on tree %s before: they are not run again\n", tree);
    fflush (stdout);
    return true;
}

/* What is too old goes, and where there is much, anything. */
static void make_room (const rota_workspace_t *self)
{
    DIR *directory = opendir (self->spec.gate_cache);
    size_t count = 0;
    for (struct dirent *it; directory && (it = readdir (directory));) {
        struct stat info;
        if (it->d_name[0] == '.' || fstatat (dirfd (directory), it->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG (info.st_mode))
            continue;
        if (!is_fresh (self, &info) || ++count > FILES_MAX)
            unlinkat (dirfd (directory), it->d_name, 0);
    }
    if (directory)
        closedir (directory);
}

static bool all_passed (const json_t *gates)
{
    size_t index, passed = 0;
    const json_t *gate;
    json_array_foreach (gates, index, gate)
    {
        const char *state = json_string_value (json_object_get (gate, "state"));
        if (state && strcmp (state, "passed") == 0)
            passed++;
        else if (!state || strcmp (state, "not_checkable") != 0)
            return false;
    }
    return passed > 0;
}

void rota_gate_cache_keep (rota_workspace_t *self, const char *tree)
{
    json_t *gates = json_object_get (self->record, "gates");
    rota_error_t error = {""};
    if (!self->spec.gate_cache || !all_passed (gates))
        return;
    char *key = make_key (self, tree), *path = key ? path_of (self, key) : NULL;
    json_t *entry = path ? json_pack ("{s:s, s:O, s:b}", "key", key, "gates", gates, "isolated",
                                      json_is_true (json_object_get (self->record, "isolated")))
                         : NULL;
    char *text = entry ? json_dumps (entry, JSON_COMPACT) : NULL;
    int status = text ? rota_files_make_directories (self->spec.gate_cache, &error) : -1;
    if (status == 0) {
        make_room (self);
        status = rota_files_replace (path, text, strlen (text), &error);
    }
    if (status < 0)
        fprintf (stderr, "rota-agent: that the gates passed is not kept: %s\n", error.text);
    free (text);
    json_decref (entry);
}
