/* clone_parts.c - submodules of a clone. */
#include "agents/clone_internal.h"
#include "agents/files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 8
#define PARTS_MAX 1000

/* One whose submodules are being filled. */
typedef struct {
    const char *ours, *files, *prefix; /* prefix: its path in CLONE with / at the end, or "" */
    const char *modules;               /* where the repository has its submodules: .git/modules */
    int depth;
} level_t;

static int no_memory (rota_error_t *error)
{
    return rota_error_set (error, -ENOMEM, "no memory");
}

/* As git's own rule: a name that leads nowhere else. */
static bool is_sane (const char *name)
{
    if (!*name || *name == '/')
        return false;
    for (const char *part = name; part; part = strchr (part, '/')) {
        part += *part == '/';
        size_t length = strcspn (part, "/");
        if (length == 0 || (length == 2 && strncmp (part, "..", 2) == 0) || (length == 1 && *part == '.'))
            return false;
    }
    return true;
}

static size_t count_parts (const rota_clone_t *self)
{
    size_t count = 0;
    for (const rota_clone_part_t *part = self->parts; part; part = part->next)
        count++;
    return count;
}

static int fill_level (rota_clone_t *self, const level_t *level, rota_error_t *error);

/* The submodule `path` of a level, whose commit is `commit`. */
static int fill (rota_clone_t *self, const level_t *level, const char *path, const char *name,
                 const char *commit, rota_error_t *error)
{
    rota_pool_t *pool = self->pool;
    size_t number = count_parts (self);
    char *module = rota_pool_format (pool, "%s/%s", level->modules, name);
    char *objects = rota_pool_format (pool, "%s/%s/objects", level->modules, name);
    char *ours = rota_pool_format (pool, "%s/parts/%zu", self->ours, number);
    char *files = rota_pool_format (pool, "%s/%s", level->files, path);
    char *git_dir = rota_pool_format (pool, "%s/%s/.git", level->files, path);
    char *text = rota_pool_format (pool, "%s\n", commit);
    char *head = rota_pool_format (pool, "%s/%s/.git/HEAD", level->files, path);
    char *whole = rota_pool_format (pool, "%s%s", level->prefix, path);
    rota_clone_part_t *part = rota_pool_alloc (pool, sizeof *part);
    if (!module || !objects || !ours || !files || !git_dir || !text || !head || !whole || !part)
        return no_memory (error);
    *part = (rota_clone_part_t){.path = whole, .full = files, .next = self->parts};
    self->parts = part;
    if (number >= PARTS_MAX || !is_sane (name) || !rota_files_is_directory (objects) ||
        !rota_files_is_directory (files)) {
        rota_clone_note (self, "the submodule %s isn't there in the repository and stays empty", whole);
        return 0;
    }
    const char *format = strlen (commit) == 64 ? "sha256" : "sha1";
    int status = rota_clone_make_git_dir (self, ours, format, true, objects, error), code = 0;
    const rota_git_t git = {.environment = self->repository->environment, .git_dir = ours};
    const rota_git_call_t call = {.exit_code = &code};
    if (status == 0)
        status = rota_git (&git, &call, error, "cat-file", "-e", commit, NULL);
    if (status == 0 && code) {
        rota_clone_note (self, "the repository's submodule %s has no commit %.12s and stays empty", whole,
                         commit);
        return 0;
    }
    if (status == 0)
        status = rota_clone_make_git_dir (self, git_dir, format, false, objects, error);
    if (status == 0)
        status = rota_files_write (head, text, strlen (text), error);
    if (status == 0)
        status = rota_clone_check_out (self, ours, files, commit, error);
    part->ours = ours;
    const level_t below = {ours, files, rota_pool_format (pool, "%s/", whole),
                           rota_pool_format (pool, "%s/modules", module), level->depth + 1};
    if (status == 0 && (!below.prefix || !below.modules))
        status = no_memory (error);
    return status < 0 || level->depth == DEPTH_MAX ? status : fill_level (self, &below, error);
}

/* The name under which .gitmodules has it: lines "submodule.NAME.path\nPATH\0". */
static const char *name_of (const rota_bytes_t *modules, const char *path, rota_pool_t *pool)
{
    const char *at = modules->bytes, *end = at ? at + modules->size_bytes : at;
    for (; at < end; at += strlen (at) + 1) {
        const char *line = strchr (at, '\n');
        const size_t before = strlen ("submodule."), after = strlen (".path");
        if (line && strcmp (line + 1, path) == 0 && (size_t)(line - at) > before + after)
            return rota_pool_text (pool, at + before, (size_t)(line - at) - before - after);
    }
    return NULL;
}

static int fill_level (rota_clone_t *self, const level_t *level, rota_error_t *error)
{
    const rota_git_t git = {.environment = self->repository->environment, .git_dir = level->ours};
    rota_bytes_t list = {.max_bytes = ROTA_CLONE_LIST_MAX_BYTES}, modules = {.max_bytes = (size_t)4 << 20};
    int code = 0;
    const rota_git_call_t listing = {.output = &list}, reading = {.output = &modules, .exit_code = &code};
    char *settings = rota_pool_format (self->pool, "%s/.gitmodules", level->files);
    if (!settings)
        return no_memory (error);
    int status = rota_git (&git, &listing, error, "ls-files", "-z", "--stage", NULL);
    if (status == 0 && rota_files_is_there (settings))
        status = rota_git (&git, &reading, error, "config", "--blob", ":.gitmodules", "-z", "--get-regexp",
                           "^submodule\\..*\\.path$", NULL);
    const char *at = list.bytes, *end = at ? at + list.size_bytes : at;
    for (; at < end && status == 0; at += strlen (at) + 1) {
        /* "160000 OID STAGE\tPATH" */
        char oid[ROTA_GIT_OID_BYTES] = "";
        const char *path = strchr (at, '\t');
        if (strncmp (at, "160000 ", 7) != 0 || !path || strcspn (at + 7, " ") >= sizeof oid)
            continue;
        memcpy (oid, at + 7, strcspn (at + 7, " "));
        const char *name = name_of (&modules, path + 1, self->pool);
        status = fill (self, level, path + 1, name ? name : path + 1, oid, error);
    }
    rota_bytes_clear (&list);
    rota_bytes_clear (&modules);
    return status;
}

int rota_clone_fill_parts (rota_clone_t *self, rota_error_t *error)
{
    const rota_repository_t *repository = self->repository;
    const level_t level = {
        self->ours, self->path, "",
        rota_pool_format (self->pool, "%s/modules", repository->remote ? self->ours : repository->common_dir),
        0};
    return level.modules ? fill_level (self, &level, error) : no_memory (error);
}

/* ---- what became of them */

const rota_clone_part_t *rota_clone_find_part (const rota_clone_t *self, const char *path)
{
    for (const rota_clone_part_t *part = self->parts; part; part = part->next)
        if (strcmp (part->path, path) == 0)
            return part;
    return NULL;
}

/* Only the commits that the repository's submodule has can be had by others. */
static int check_commit (rota_clone_t *self, const rota_clone_part_t *part, const char *commit,
                         rota_error_t *error)
{
    const rota_git_t git = {.environment = self->repository->environment, .git_dir = part->ours};
    int code = 0;
    const rota_git_call_t call = {.exit_code = &code};
    int status = rota_git (&git, &call, error, "cat-file", "-e", commit, NULL);
    if (status == 0 && code)
        status = rota_error_set (error, -EBADMSG,
                                 "it committed in the submodule %s, and only its clone has that commit",
                                 part->path);
    return status;
}

static int check_clean (rota_clone_t *self, const rota_clone_part_t *part, rota_error_t *error)
{
    rota_bytes_t changes = {.max_bytes = ROTA_CLONE_LIST_MAX_BYTES};
    if (!part->ours || !rota_files_is_directory (part->full))
        return 0;
    int status = rota_clone_list_changes (self, part->ours, part->full, &changes, error);
    if (status == 0 && changes.size_bytes)
        rota_clone_note (self, "changes in the submodule %s (%s, ...) are left out", part->path,
                         changes.bytes);
    rota_bytes_clear (&changes);
    return status;
}

int rota_clone_check_parts (rota_clone_t *self, const char *tree, rota_error_t *error)
{
    rota_bytes_t changes = {.max_bytes = ROTA_CLONE_LIST_MAX_BYTES};
    const rota_git_t git = rota_clone_git (self);
    const rota_git_call_t call = {.output = &changes};
    int status = rota_git (&git, &call, error, "diff-tree", "-r", "-z", "--raw", "--no-renames",
                           "--no-abbrev", self->start, tree, NULL);
    const char *at = changes.bytes, *end = at ? at + changes.size_bytes : at;
    while (at < end && status == 0) {
        /* ":160000 160000 OLD NEW M\0PATH\0" */
        const char *path = at + strlen (at) + 1;
        char mode[8], oid[ROTA_GIT_OID_BYTES];
        const rota_clone_part_t *part = path < end ? rota_clone_find_part (self, path) : NULL;
        if (sscanf (at, ":%*s %7s %*s %64s", mode, oid) == 2 && strcmp (mode, "160000") == 0 && part &&
            part->ours)
            status = check_commit (self, part, oid, error);
        at = path < end ? path + strlen (path) + 1 : end;
    }
    rota_bytes_clear (&changes);
    for (const rota_clone_part_t *part = self->parts; part && status == 0; part = part->next)
        status = check_clean (self, part, error);
    return status;
}
