#include "agents/setup_cache.h"

#include "agents/files.h"
#include "bus/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRIES_MAX 64
#define COPY_TIMEOUT_MS ((int64_t)30 * 60 * 1000)

/* A path in the clone, without a way out of it. */
static bool is_sane (const char *path)
{
    for (const char *part = path; part; part = strchr (part, '/')) {
        part += *part == '/';
        size_t length = strcspn (part, "/");
        if (!length || (length == 1 && *part == '.') || (length == 2 && strncmp (part, "..", 2) == 0) ||
            (length == 4 && strncmp (part, ".git", 4) == 0))
            return false;
    }
    return *path != '/';
}

/* Whether each directory above `path` in `root` is one itself, and no link. */
static bool is_in (const char *root, const char *path)
{
    char above[PATH_MAX];
    for (const char *end = strchr (path, '/'); end; end = strchr (end + 1, '/'))
        if (snprintf (above, sizeof above, "%s/%.*s", root, (int)(end - path), path) >= (int)sizeof above ||
            !rota_files_is_directory (above))
            return false;
    return true;
}

/* Each part with its length before it, so that no two lists read the same. */
static void add (rota_bytes_t *text, const char *part)
{
    char length[32];
    snprintf (length, sizeof length, "%zu:", strlen (part));
    rota_bytes_take (text, length, strlen (length));
    rota_bytes_take (text, part, strlen (part));
}

/* git names it: no other hash of ours is as wide. */
static int hash (rota_workspace_t *self, const rota_bytes_t *text, char *ret_name, size_t capacity,
                 rota_error_t *error)
{
    rota_bytes_t output = {.max_bytes = 256};
    const rota_git_t git = rota_clone_git (&self->clone);
    const rota_git_call_t call = {.input = text->bytes, .input_bytes = text->size_bytes, .output = &output};
    int status = rota_git (&git, &call, error, "hash-object", "--stdin", NULL);
    if (status == 0)
        snprintf (ret_name, capacity, "%.*s", (int)strcspn (output.bytes, "\n"), output.bytes);
    rota_bytes_clear (&output);
    return status;
}

int rota_setup_cache_find (rota_workspace_t *self, const char *commit, rota_setup_cache_t *ret_cache,
                           rota_error_t *error)
{
    const rota_workspace_spec_t *spec = &self->spec;
    rota_bytes_t text = {.max_bytes = (size_t)1 << 20};
    char name[ROTA_GIT_OID_BYTES], found[ROTA_GIT_OID_BYTES];
    bool is_tracked = false;
    int status = 0;
    *ret_cache = (rota_setup_cache_t){NULL};
    if (!spec->setup || !spec->setups || !spec->setup_makes[0])
        return 0;
    add (&text, spec->setup);
    add (&text, spec->repository);
    add (&text, self->sandbox.isolated ? "isolated" : "not isolated");
    for (const char **path = spec->setup_needs; *path && status == 0; path++) {
        char *what = rota_pool_format (self->pool, "%s:%s", commit, *path);
        status = what ? rota_clone_resolve (&self->clone, what, found, error) : -ENOMEM;
        add (&text, *path);
        add (&text, found);
    }
    for (const char **path = spec->setup_makes; *path && status == 0; path++) {
        char *what = rota_pool_format (self->pool, "%s:%s", commit, *path);
        status = what ? rota_clone_resolve (&self->clone, what, found, error) : -ENOMEM;
        is_tracked |= status == 0 && *found;
        if (status == 0 && !is_sane (*path))
            status = rota_error_set (error, -EINVAL,
                                     "setup makes \"%s\": that is no directory of the repository", *path);
        add (&text, *path);
    }
    if (status == 0)
        status = hash (self, &text, name, sizeof name, error);
    rota_bytes_clear (&text);
    /* What the commit has there itself may be another each time. */
    if (status == 0 && !is_tracked &&
        !(ret_cache->path = rota_pool_format (self->pool, "%s/%s", spec->setups, name)))
        status = rota_error_set (error, -ENOMEM, "no memory");
    return status;
}

/* As it is, links as links; on file systems that can, without a second copy of the bytes. */
static bool copy (rota_workspace_t *self, const char *from, const char *to)
{
    char *const argv[] = {(char *)"cp", (char *)"-a", (char *)"--reflink=auto",
                          (char *)"-T", (char *)"--", (char *)from,
                          (char *)to,   NULL};
    rota_child_end_t end = {0};
    rota_error_t error = {""};
    const rota_child_t child = {.argv = argv,
                                .environment = self->repository.environment,
                                .directory = self->clone.ours,
                                .signals = ROTA_CHILD_SHELTERED,
                                .input_fd = -1,
                                .held_fd = -1,
                                .timeout_ms = COPY_TIMEOUT_MS};
    return rota_child_run (&child, &end, &error) == 0 && end.wait_status == 0 && !end.timed_out;
}

/* Copies what set-up makes from one root to another, where none of it is. */
static bool copy_all (rota_workspace_t *self, const char *from_root, const char *to_root)
{
    char from[PATH_MAX], to[PATH_MAX], above[PATH_MAX];
    rota_error_t error = {""};
    for (const char **path = self->spec.setup_makes; *path; path++) {
        if (snprintf (from, sizeof from, "%s/%s", from_root, *path) >= (int)sizeof from ||
            snprintf (to, sizeof to, "%s/%s", to_root, *path) >= (int)sizeof to ||
            !is_in (from_root, *path) || !rota_files_is_directory (from))
            return false;
        snprintf (above, sizeof above, "%s", to);
        *strrchr (above, '/') = '\0';
        if (rota_files_make_directories (above, &error) < 0 || !is_in (to_root, *path) ||
            rota_files_is_there (to) || !copy (self, from, to))
            return false;
    }
    return true;
}

bool rota_setup_cache_take (rota_workspace_t *self, const rota_setup_cache_t *cache)
{
    char path[PATH_MAX];
    /* Its age counts from when it was taken last. */
    if (!cache->path || utimensat (AT_FDCWD, cache->path, NULL, 0) < 0)
        return false;
    if (copy_all (self, cache->path, self->clone.path) && access (cache->path, F_OK) == 0) {
        fprintf (stderr, "rota-agent: what set-up makes is taken from %s\n", cache->path);
        return true;
    }
    /* It was removed meanwhile, or the disk is full: the command begins anew. */
    for (const char **made = self->spec.setup_makes; *made; made++)
        if (is_in (self->clone.path, *made) &&
            snprintf (path, sizeof path, "%s/%s", self->clone.path, *made) < (int)sizeof path)
            rota_files_remove_path (path);
    return false;
}

static void remove_entry (const char *directory, const char *name)
{
    char path[PATH_MAX], gone[PATH_MAX];
    if (snprintf (path, sizeof path, "%s/%s", directory, name) < (int)sizeof path &&
        snprintf (gone, sizeof gone, "%s/.gone.%d", directory, (int)getpid ()) < (int)sizeof gone &&
        rename (path, gone) == 0)
        rota_files_remove_path (gone);
}

/* Those that nobody took for so long; and where there are too many, the one that was taken longest ago. What
 * a killed one left (.new, .gone) is as old as it. */
static void remove_old (const char *path, int64_t retention_ms)
{
    char oldest[NAME_MAX + 1] = "";
    int64_t oldest_ms = INT64_MAX;
    size_t count = 0;
    DIR *directory = opendir (path);
    for (struct dirent *entry; directory && (entry = readdir (directory));) {
        struct stat info;
        if (strcmp (entry->d_name, ".") == 0 || strcmp (entry->d_name, "..") == 0 ||
            fstatat (dirfd (directory), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        int64_t at_ms = (int64_t)info.st_mtim.tv_sec * 1000;
        if (rota_clock_wall_ms () - at_ms > retention_ms) {
            remove_entry (path, entry->d_name);
            continue;
        }
        count++;
        if (at_ms < oldest_ms) {
            oldest_ms = at_ms;
            snprintf (oldest, sizeof oldest, "%s", entry->d_name);
        }
    }
    if (directory)
        closedir (directory);
    if (count > ENTRIES_MAX)
        remove_entry (path, oldest);
}

void rota_setup_cache_keep (rota_workspace_t *self, const rota_setup_cache_t *cache)
{
    char fresh[PATH_MAX];
    rota_error_t error = {""};
    if (!cache->path || access (cache->path, F_OK) == 0 ||
        snprintf (fresh, sizeof fresh, "%s/.new.%d", self->spec.setups, (int)getpid ()) >= (int)sizeof fresh)
        return;
    if (rota_files_make_directories (self->spec.setups, &error) < 0)
        return;
    remove_old (self->spec.setups, self->spec.cache_retention_ms);
    if (rota_files_remove_path (fresh) < 0 || rota_files_make_directory (fresh, &error) < 0 ||
        !copy_all (self, self->clone.path, fresh) || rename (fresh, cache->path) < 0)
        rota_files_remove_path (fresh);
}
