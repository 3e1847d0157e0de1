#include "agents/clone_internal.h"
#include "agents/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PACKED_MAX_BYTES ((size_t)16 << 20) /* tags */

static int no_memory (rota_error_t *error)
{
    return rota_error_set (error, -ENOMEM, "no memory");
}

void rota_clone_note (rota_clone_t *self, const char *format, ...)
{
    va_list arguments;
    va_start (arguments, format);
    const char *text = rota_pool_vformat (self->pool, format, arguments);
    va_end (arguments);
    if (text && *self->notes)
        text = strlen (self->notes) > 2000 ? self->notes
                                           : rota_pool_format (self->pool, "%s; %s", self->notes, text);
    if (text)
        self->notes = text;
}

rota_git_t rota_clone_git (const rota_clone_t *self)
{
    /* Without an index and files there are no attributes: what an agent says in .gitattributes of how its
     * work is to be shown or merged doesn't count. */
    return (rota_git_t){
        .environment = self->repository->environment, .git_dir = self->ours, .index = self->no_index};
}

int rota_clone_resolve (const rota_clone_t *self, const char *what, char ret_oid[ROTA_GIT_OID_BYTES],
                        rota_error_t *error)
{
    char line[256];
    int code = 0;
    const rota_git_t git = rota_clone_git (self);
    int status = rota_git_line (&git, line, sizeof line, &code, error, "rev-parse", "--verify", "--quiet",
                                "--end-of-options", what, NULL);
    if (status == 0) {
        *ret_oid = '\0';
        if (code == 0 && rota_git_is_oid (line))
            memcpy (ret_oid, line, strlen (line) + 1);
    }
    return status;
}

/* ---- git directories */

static int write_text (const char *path, const char *text, rota_error_t *error)
{
    return path && text ? rota_files_write (path, text, strlen (text), error) : no_memory (error);
}

int rota_clone_set_alternates (const char *git_dir, const char *first, const char *second,
                               rota_error_t *error)
{
    char path[PATH_MAX], text[2 * PATH_MAX + 2];
    snprintf (path, sizeof path, "%s/objects/info/alternates", git_dir);
    int size = snprintf (text, sizeof text, "%s\n%s%s", first, second ? second : "", second ? "\n" : "");
    if (size < 0 || (size_t)size >= sizeof text)
        return rota_error_set (error, -ENAMETOOLONG, "%s: too long a path", first);
    return rota_files_write (path, text, (size_t)size, error);
}

int rota_clone_write_settings (const rota_clone_t *self, const char *git_dir, const char *format, bool bare,
                               rota_error_t *error)
{
    bool named = strcmp (format, "sha1") != 0;
    char *path = rota_pool_format (self->pool, "%s/config", git_dir);
    char *text =
        rota_pool_format (self->pool,
                          "[core]\n\trepositoryformatversion = %d\n\tbare = %s\n\tlogAllRefUpdates = %s\n"
                          "[gc]\n\tauto = 0\n",
                          named, bare ? "true" : "false", bare ? "false" : "true");
    if (named && text)
        text = rota_pool_format (self->pool, "%s[extensions]\n\tobjectFormat = %s\n", text, format);
    if (!bare && text && self->name)
        text = rota_pool_format (self->pool, "%s[user]\n\tname = \"%s\"\n\temail = rota@localhost\n", text,
                                 self->name);
    return write_text (path, text, error);
}

int rota_clone_make_git_dir (const rota_clone_t *self, const char *path, const char *format, bool bare,
                             const char *alternates, rota_error_t *error)
{
    static const char *const DIRECTORIES[] = {"objects",    "objects/info", "objects/pack", "refs",
                                              "refs/heads", "refs/tags",    "info"};
    char *head = rota_pool_format (self->pool, "%s/HEAD", path);
    int status = rota_files_make_directory (path, error);
    for (size_t i = 0; i < sizeof DIRECTORIES / sizeof *DIRECTORIES && status == 0; i++) {
        char *directory = rota_pool_format (self->pool, "%s/%s", path, DIRECTORIES[i]);
        status = directory ? rota_files_make_directory (directory, error) : no_memory (error);
    }
    if (status == 0)
        status = rota_clone_write_settings (self, path, format, bare, error);
    if (status == 0)
        status = write_text (head, "ref: refs/heads/rota\n", error);
    if (status == 0 && alternates)
        status = rota_clone_set_alternates (path, alternates, NULL, error);
    return status;
}

int rota_clone_check_out (rota_clone_t *self, const char *ours, const char *files, const char *commit,
                          rota_error_t *error)
{
    const rota_git_t git = {
        .environment = self->repository->environment, .git_dir = ours, .work_tree = files};
    const rota_git_call_t call = {0};
    char *from = rota_pool_format (self->pool, "%s/index", ours);
    char *to = rota_pool_format (self->pool, "%s/.git/index", files);
    char *before = rota_pool_format (self->pool, "%s/index.lock", ours);
    if (!from || !to || !before)
        return no_memory (error);
    unlink (from);
    unlink (before);
    /* Making files waits more than it computes. */
    int status =
        rota_git (&git, &call, error, "-c", "checkout.workers=4", "-c",
                  "checkout.thresholdForParallelism=500", "read-tree", "-u", "--reset", commit, NULL);
    return status == 0 ? rota_files_copy (from, to, error) : status;
}

/* ---- opening */

int rota_clone_open (rota_pool_t *pool, const char *path, const char *format, rota_clone_t *ret_self,
                     rota_error_t *error)
{
    static const char *const OWN[] = {"tmp", "home", "parts"};
    char above[PATH_MAX], real[PATH_MAX];
    const char *name = strrchr (path, '/');
    rota_clone_t self = {.pool = pool, .notes = "", .lock_fd = -1};
    if (*path != '/' || !name[1] || snprintf (above, sizeof above, "%s", path) >= (int)sizeof above)
        return rota_error_set (error, -EINVAL, "%s is no place for a clone", path);
    above[name - path] = '\0';
    int status = rota_files_make_directories (*above ? above : "/", error);
    if (status < 0)
        return status;
    if (!realpath (*above ? above : "/", real))
        return rota_error_set (error, -errno, "%s: %s", above, strerror (errno));
    self.path = rota_pool_format (pool, "%s%s", real, name);
    self.ours = rota_pool_format (pool, "%s%s.rota", real, name);
    self.no_index = rota_pool_format (pool, "%s%s.rota/no-index", real, name);
    if (!self.path || !self.ours || !self.no_index)
        return no_memory (error);
    status = rota_clone_claim (self.path, self.ours, &self.lock_fd, error);
    if (status < 0)
        return status;
    status = rota_clone_make_git_dir (&self, self.ours, format, true, NULL, error);
    for (size_t i = 0; i < sizeof OWN / sizeof *OWN && status == 0; i++) {
        char *directory = rota_pool_format (pool, "%s/%s", self.ours, OWN[i]);
        status = directory ? rota_files_make_directory (directory, error) : no_memory (error);
    }
    *ret_self = self; /* to be closed, whatever became of it */
    return status;
}

int rota_clone_attach (rota_clone_t *self, const rota_repository_t *repository, rota_error_t *error)
{
    self->repository = repository;
    int status =
        repository->shared ? rota_clone_set_alternates (self->ours, repository->shared, NULL, error) : 0;
    if (status == 0 && repository->shallow) {
        char *from = rota_pool_format (self->pool, "%s/shallow", repository->common_dir);
        char *to = rota_pool_format (self->pool, "%s/shallow", self->ours);
        status = from && to ? rota_files_copy (from, to, error) : no_memory (error);
    }
    return status;
}

/* ---- making */

/* What who works there may want to compare with: the target's branch and the tags, and no remote to push to.
 */
static int write_refs (const rota_clone_t *self, const char *git_dir, const char *branch, rota_error_t *error)
{
    const rota_repository_t *repository = self->repository;
    rota_bytes_t refs = {.max_bytes = PACKED_MAX_BYTES};
    char target[ROTA_GIT_OID_BYTES] = "", line[1024];
    char *path = rota_pool_format (self->pool, "%s/packed-refs", git_dir);
    char *head = rota_pool_format (self->pool, "%s/HEAD", git_dir);
    char *local = rota_pool_format (self->pool, "refs/heads/%s", repository->target);
    char *text = rota_pool_format (self->pool, "ref: refs/heads/%s\n", branch);
    if (!path || !head || !local || !text)
        return no_memory (error);
    const rota_git_t git = {.environment = repository->environment,
                            .git_dir = repository->remote ? self->ours : repository->common_dir};
    const rota_git_call_t call = {.output = &refs};
    int status =
        rota_git (&git, &call, error, "for-each-ref", "--format=%(objectname) %(refname)", "refs/tags", NULL);
    if (status == -E2BIG) {
        rota_bytes_clear (&refs);
        status = 0;
    }
    if (status == 0)
        status = rota_repository_read (repository, local, target, error);
    if (status == 0 && *target) {
        snprintf (line, sizeof line, "%s %s\n%s refs/remotes/origin/%s\n", target, local, target,
                  repository->target);
        rota_bytes_take (&refs, line, strlen (line));
    }
    snprintf (line, sizeof line, "%s refs/heads/%s\n", self->start, branch);
    rota_bytes_take (&refs, line, strlen (line));
    if (status == 0)
        status = rota_files_write (path, refs.bytes ? refs.bytes : "", refs.size_bytes, error);
    if (status == 0)
        status = write_text (head, text, error);
    rota_bytes_clear (&refs);
    return status;
}

static int remember_place (rota_clone_t *self, rota_error_t *error)
{
    struct stat clone;
    if (lstat (self->path, &clone) < 0)
        return rota_error_set (error, -errno, "%s: %s", self->path, strerror (errno));
    self->device = clone.st_dev;
    self->inode = clone.st_ino;
    return 0;
}

int rota_clone_make (rota_clone_t *self, const char *start, const char *branch, const char *name,
                     rota_error_t *error)
{
    const rota_repository_t *repository = self->repository;
    self->name = name;
    self->start = rota_pool_text (self->pool, start, strlen (start));
    char *git_dir = rota_pool_format (self->pool, "%s/.git", self->path);
    char *objects = rota_pool_format (self->pool, "%s/objects", self->ours);
    if (!self->start || !git_dir || !objects)
        return no_memory (error);
    int status = rota_files_make_directory (self->path, error);
    if (status == 0)
        status = rota_clone_make_git_dir (self, git_dir, repository->format, false, NULL, error);
    /* A merge that isn't in the repository yet is in ours. */
    if (status == 0)
        status = rota_clone_set_alternates (git_dir, objects, repository->shared, error);
    if (status == 0 && repository->shallow) {
        char *from = rota_pool_format (self->pool, "%s/shallow", self->ours);
        char *to = rota_pool_format (self->pool, "%s/shallow", git_dir);
        status = from && to ? rota_files_copy (from, to, error) : no_memory (error);
    }
    if (status == 0)
        status = write_refs (self, git_dir, branch, error);
    if (status == 0)
        status = rota_clone_check_out (self, self->ours, self->path, self->start, error);
    if (status == 0)
        status = rota_clone_fill_parts (self, error);
    if (status == 0)
        status = remember_place (self, error);
    return status;
}

/* ---- removing */

static void forget_before (rota_clone_t *self)
{
    for (size_t i = 0; i < self->before_count; i++)
        free (self->before[i].path);
    free (self->before);
    self->before = NULL;
    self->before_count = 0;
}

int rota_clone_clear (rota_clone_t *self, rota_error_t *error)
{
    forget_before (self);
    self->parts = NULL;
    char *parts = rota_pool_format (self->pool, "%s/parts", self->ours);
    int status = parts ? rota_files_remove_path (parts) : -ENOMEM;
    if (status == 0)
        status = rota_files_make_directory (parts, error);
    if (status == 0 && (status = rota_files_remove_path (self->path)) < 0)
        rota_error_set (error, status, "%s can't be removed: %s", self->path, strerror (-status));
    return status;
}

int rota_clone_close (rota_clone_t *self, rota_error_t *error)
{
    if (!self->ours)
        return 0;
    forget_before (self);
    int status = self->lock_fd < 0 ? 0 : rota_files_remove_path (self->path);
    if (status == 0 && self->lock_fd >= 0)
        status = rota_files_remove_path (self->ours);
    if (self->lock_fd >= 0)
        close (self->lock_fd);
    self->lock_fd = -1;
    return status < 0
               ? rota_error_set (error, status, "%s can't be removed: %s", self->path, strerror (-status))
               : 0;
}
