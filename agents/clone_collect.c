/* clone_collect.c - reading a clone that someone has worked in: nothing in it is believed, and nothing in it
 * is run.
 */
#include "agents/clone_internal.h"
#include "agents/files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NESTED_NAMED_MAX 5
#define REFS_MAX_BYTES ((size_t)1 << 20)

static int no_memory (rota_error_t *error)
{
    return rota_error_set (error, -ENOMEM, "no memory");
}

static rota_git_t git_of_files (const rota_clone_t *self, const char *ours, const char *files)
{
    return (rota_git_t){.environment = self->repository->environment, .git_dir = ours, .work_tree = files};
}

/* ---- what differs */

int rota_clone_list_changes (const rota_clone_t *self, const char *ours, const char *files,
                             rota_bytes_t *output, rota_error_t *error)
{
    const rota_git_t git = git_of_files (self, ours, files);
    const rota_git_call_t call = {.output = output};
    return rota_git (&git, &call, error, "ls-files", "-z", "--others", "--modified", "--deleted",
                     "--exclude-standard", "--deduplicate", NULL);
}

static bool look (const rota_clone_t *self, const char *name, rota_clone_before_t *ret_state)
{
    char *path = NULL;
    struct stat info = {0};
    if (asprintf (&path, "%s/%s", self->path, name) < 0)
        return false;
    bool there = lstat (path, &info) == 0;
    free (path);
    ret_state->size = there ? info.st_size : -1;
    ret_state->changed_ns = there ? (int64_t)info.st_ctim.tv_sec * 1000000000 + info.st_ctim.tv_nsec : 0;
    return true;
}

static int by_path (const void *a, const void *b)
{
    return strcmp (((const rota_clone_before_t *)a)->path, ((const rota_clone_before_t *)b)->path);
}

int rota_clone_mark_before (rota_clone_t *self, rota_error_t *error)
{
    rota_bytes_t changes = {.max_bytes = ROTA_CLONE_LIST_MAX_BYTES};
    int status = rota_clone_list_changes (self, self->ours, self->path, &changes, error);
    const char *at = changes.bytes, *end = at ? at + changes.size_bytes : at;
    size_t count = 0, used = 0;
    for (const char *name = at; name < end; name += strlen (name) + 1)
        count++;
    rota_clone_before_t *list = count && status == 0 ? calloc (count, sizeof *list) : NULL;
    if (count && status == 0 && !list)
        status = no_memory (error);
    for (; at < end && status == 0; at += strlen (at) + 1, used++) {
        list[used].path = strdup (at);
        if (!list[used].path || !look (self, at, &list[used]))
            status = no_memory (error);
    }
    if (list)
        qsort (list, used, sizeof *list, by_path);
    self->before = list;
    self->before_count = used;
    rota_bytes_clear (&changes);
    return status;
}

static bool is_as_before (const rota_clone_t *self, const char *name)
{
    const rota_clone_before_t key = {.path = (char *)name};
    const rota_clone_before_t *found =
        self->before_count ? bsearch (&key, self->before, self->before_count, sizeof key, by_path) : NULL;
    rota_clone_before_t now;
    return found && look (self, name, &now) && now.size == found->size && now.changed_ns == found->changed_ns;
}

/* ---- the directory .git there */

static int check_places (const rota_clone_t *self, const char *git_dir, rota_error_t *error)
{
    struct stat info;
    if (lstat (self->path, &info) < 0 || !S_ISDIR (info.st_mode) || info.st_dev != self->device ||
        info.st_ino != self->inode)
        return rota_error_set (error, -EBADMSG, "its clone was removed or replaced");
    if (lstat (git_dir, &info) < 0 || !S_ISDIR (info.st_mode) || info.st_dev != self->device)
        return rota_error_set (error, -EBADMSG, ".git of its clone was removed or replaced");
    char *sparse = rota_pool_format (self->pool, "%s/info/sparse-checkout", git_dir);
    if (!sparse)
        return no_memory (error);
    if (rota_files_is_there (sparse))
        return rota_error_set (
            error, -EBADMSG,
            "it made its clone sparse: what is left out can't be told from what was deleted");
    return 0;
}

/* Takes away all that git would follow elsewhere or obey, before git looks at it. */
static int disarm (const rota_clone_t *self, const char *git_dir, rota_error_t *error)
{
    static const char *const NAMES[] = {"config.worktree", "commondir",
                                        "gitdir",          "hooks",
                                        "info/attributes", "objects/info/alternates",
                                        "info/grafts",     "objects/info/http-alternates"};
    static const char *const DIRECTORIES[] = {"objects", "objects/info", "objects/pack", "refs",
                                              "refs/heads"};
    int status = 0;
    for (size_t i = 0; i < sizeof DIRECTORIES / sizeof *DIRECTORIES && status == 0; i++) {
        char *path = rota_pool_format (self->pool, "%s/%s", git_dir, DIRECTORIES[i]);
        if (!path)
            status = no_memory (error);
        else if (rota_files_is_there (path) && !rota_files_is_directory (path))
            status = rota_error_set (error, -EBADMSG, ".git/%s of its clone was replaced", DIRECTORIES[i]);
    }
    char *packed = rota_pool_format (self->pool, "%s/packed-refs", git_dir);
    struct stat info;
    if (status == 0 && !packed)
        status = no_memory (error);
    /* What git can't read there it quotes. */
    if (status == 0 && lstat (packed, &info) == 0 && !S_ISREG (info.st_mode))
        status = rota_error_set (error, -EBADMSG, ".git/packed-refs of its clone was replaced");
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES && status == 0; i++) {
        char *path = rota_pool_format (self->pool, "%s/%s", git_dir, NAMES[i]);
        if (!path || (status = rota_files_remove_path (path)) < 0)
            status = rota_error_set (error, -EBADMSG, ".git/%s of its clone can't be removed", NAMES[i]);
    }
    return status < 0 ? status
                      : rota_clone_write_settings (self, git_dir, self->repository->format, false, error);
}

/* What it has committed: "" = nothing that can be named. */
static int read_tip (const rota_clone_t *self, const char *git_dir, char ret_tip[ROTA_GIT_OID_BYTES],
                     rota_error_t *error)
{
    const rota_git_t git = {.environment = self->repository->environment, .git_dir = git_dir};
    char line[256];
    int code = 0;
    *ret_tip = '\0';
    int status = rota_git_line (&git, line, sizeof line, &code, error, "rev-parse", "--verify", "--quiet",
                                "HEAD", NULL);
    if (status == 0 && code == 0 && rota_git_is_oid (line))
        memcpy (ret_tip, line, strlen (line) + 1);
    return status;
}

static int judge_tip (rota_clone_t *self, rota_clone_work_t *work, rota_error_t *error)
{
    const rota_git_t git = rota_clone_git (self);
    char commit[ROTA_GIT_OID_BYTES];
    if (!*work->tip) {
        rota_clone_note (self, "HEAD of its clone names no commit");
        snprintf (work->tip, sizeof work->tip, "%s", self->start);
    }
    char *name = rota_pool_format (self->pool, "%s^{commit}", work->tip);
    int code = 0, status = name ? rota_clone_resolve (self, name, commit, error) : no_memory (error);
    if (status < 0)
        return status;
    if (strcmp (commit, work->tip) != 0)
        return rota_error_set (error, -EBADMSG, "what it committed (%.12s) can't be read", work->tip);
    const rota_git_call_t call = {.exit_code = &code};
    status = rota_git (&git, &call, error, "merge-base", "--is-ancestor", self->start, work->tip, NULL);
    work->grown = code == 0;
    if (status == 0 && code > 1)
        status = rota_error_set (error, -EBADMSG, "the history of what it committed can't be read");
    if (status == 0 && !work->grown)
        rota_clone_note (
            self, "what it committed doesn't come after what it began with, so only its files are taken");
    return status;
}

/* ---- the files */

/* Names, each ended by NUL, by what is to be done with them. */
typedef struct {
    rota_bytes_t gone, there;
    const char
        *checked; /* the path whose directories were looked at last, and whether one of them is a link */
    bool beyond;
    size_t nested;
} sifted_t;

/* What lies beyond a link is no file of the clone. */
static bool is_beyond_link (const rota_clone_t *self, sifted_t *sifted, const char *name)
{
    const char *slash = strrchr (name, '/'), *before = sifted->checked;
    size_t length = slash ? (size_t)(slash - name) : 0;
    if (length == 0)
        return false;
    if (before && strncmp (before, name, length + 1) == 0 && !strchr (before + length + 1, '/'))
        return sifted->beyond;
    sifted->checked = name;
    sifted->beyond = false;
    for (const char *end = strchr (name, '/'); end && !sifted->beyond; end = strchr (end + 1, '/')) {
        char *path = NULL;
        struct stat info;
        if (asprintf (&path, "%s/%.*s", self->path, (int)(end - name), name) < 0)
            return false;
        sifted->beyond = lstat (path, &info) == 0 && S_ISLNK (info.st_mode);
        free (path);
    }
    return sifted->beyond;
}

/* Whether there is a file or a link, or a submodule that is filled. */
static bool is_there (const rota_clone_t *self, const char *name)
{
    char *path = NULL;
    struct stat info;
    if (asprintf (&path, "%s/%s", self->path, name) < 0)
        return false;
    bool there = lstat (path, &info) == 0;
    free (path);
    if (!there || !S_ISDIR (info.st_mode))
        return there;
    const rota_clone_part_t *part = rota_clone_find_part (self, name);
    return part && part->ours;
}

static void sift (rota_clone_t *self, sifted_t *sifted, const char *name)
{
    size_t length = strlen (name);
    const rota_clone_part_t *part = rota_clone_find_part (self, name);
    if (is_as_before (self, name))
        return;
    if (part && !part->ours && rota_files_is_directory (part->full)) {
        rota_clone_note (self, "what was put into the submodule %s is left out", name);
        return;
    }
    if (length && name[length - 1] == '/') {
        if (sifted->nested++ < NESTED_NAMED_MAX)
            rota_clone_note (self, "%s is a repository of its own and left out", name);
        return;
    }
    bool there = !is_beyond_link (self, sifted, name) && is_there (self, name);
    rota_bytes_take (there ? &sifted->there : &sifted->gone, name, length + 1);
}

static int update_index (const rota_clone_t *self, const rota_bytes_t *names, const char *how,
                         rota_error_t *error)
{
    const rota_git_t git = git_of_files (self, self->ours, self->path);
    const rota_git_call_t call = {.input = names->bytes, .input_bytes = names->size_bytes};
    if (names->cut)
        return no_memory (error);
    return names->size_bytes ? rota_git (&git, &call, error, "update-index", "-z", "--add", "--replace", how,
                                         "--stdin", NULL)
                             : 0;
}

static int take_files (rota_clone_t *self, rota_clone_work_t *work, rota_error_t *error)
{
    const rota_git_t git = git_of_files (self, self->ours, self->path);
    rota_bytes_t changes = {.max_bytes = ROTA_CLONE_LIST_MAX_BYTES};
    sifted_t sifted = {.gone = {.max_bytes = ROTA_CLONE_LIST_MAX_BYTES},
                       .there = {.max_bytes = ROTA_CLONE_LIST_MAX_BYTES}};
    const rota_git_call_t plain = {0};
    char line[256];
    int status = 0;
    /* What it committed against what .gitignore says would else look deleted. */
    if (work->grown && strcmp (work->tip, self->start) != 0)
        status = rota_git (&git, &plain, error, "read-tree", "-i", "-m", work->tip, NULL);
    if (status == 0)
        status = rota_clone_list_changes (self, self->ours, self->path, &changes, error);
    const char *end = changes.bytes ? changes.bytes + changes.size_bytes : NULL;
    for (const char *at = changes.bytes; at < end && status == 0; at += strlen (at) + 1)
        sift (self, &sifted, at);
    if (status == 0)
        status = update_index (self, &sifted.gone, "--force-remove", error);
    if (status == 0)
        status = update_index (self, &sifted.there, "--remove", error);
    rota_bytes_clear (&changes);
    rota_bytes_clear (&sifted.gone);
    rota_bytes_clear (&sifted.there);
    if (status == 0)
        status = rota_git_line (&git, line, sizeof line, NULL, error, "write-tree", NULL);
    if (status == 0)
        snprintf (work->tree, sizeof work->tree, "%.64s", line);
    return status;
}

int rota_clone_collect (rota_clone_t *self, rota_clone_work_t *ret_work, rota_error_t *error)
{
    rota_clone_work_t work = {0};
    rota_bytes_t refs = {.max_bytes = REFS_MAX_BYTES};
    char tree[ROTA_GIT_OID_BYTES];
    char *git_dir = rota_pool_format (self->pool, "%s/.git", self->path);
    char *objects = rota_pool_format (self->pool, "%s/.git/objects", self->path);
    if (!git_dir || !objects)
        return no_memory (error);
    int status = check_places (self, git_dir, error);
    if (status == 0)
        status = disarm (self, git_dir, error);
    if (status == 0)
        status = read_tip (self, git_dir, work.tip, error);
    if (status == 0)
        status = rota_clone_list_refs (self, git_dir, &refs, error);
    if (status == 0)
        status = self->repository->shared
                     ? rota_clone_set_alternates (self->ours, self->repository->shared, objects, error)
                     : rota_clone_set_alternates (self->ours, objects, NULL, error);
    if (status == 0)
        status = judge_tip (self, &work, error);
    if (status == 0)
        status = take_files (self, &work, error);
    if (status == 0)
        status = rota_clone_check_parts (self, work.tree, error);
    if (status == 0)
        status = rota_clone_find_left (self, &refs, &work, error);
    rota_bytes_clear (&refs);
    char *name = rota_pool_format (self->pool, "%s^{tree}", work.tip);
    if (status == 0)
        status = name ? rota_clone_resolve (self, name, tree, error) : no_memory (error);
    if (status == 0) {
        work.committed = work.grown && strcmp (tree, work.tree) == 0;
        *ret_work = work;
    }
    return status;
}
