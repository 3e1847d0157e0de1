/* criteria.c - exit criteria that are judged without running anything of the work: what is there, how much
 * was changed and where, and that no key was written down. Each becomes a line among the gates of the record.
 *
 *   doc: PATH | doc: PATH changed        a file with something in it, in the commit
 *   artifact: PATH | artifact: PATH changed   the same, or one that the gates have made
 *   diff: max N lines | max N files | paths GLOB... | protected GLOB... | secrets allowed   (commas between)
 */
#include "agents/workspace_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GLOBS_MAX 200

typedef struct {
    rota_workspace_t *workspace;
    const char *base, *commit;
    const char *tip; /* of the history that is published, if not `commit` itself */
    const char *failed;
    bool secrets_allowed;
    size_t files, lines;
} judge_t;

static int no_memory (rota_error_t *error)
{
    return rota_error_set (error, -ENOMEM, "no memory");
}

/* `why` NULL = it holds. */
static void tell (judge_t *self, const char *name, const char *state, const char *why)
{
    json_t *line = json_object ();
    json_object_set_new (line, "name", rota_workspace_text (name, strlen (name)));
    json_object_set_new (line, "state", json_string (state));
    json_object_set_new (line, "took_ms", json_integer (0));
    json_object_set_new (line, "output", rota_workspace_text (why ? why : "", why ? strlen (why) : 0));
    json_array_append_new (json_object_get (self->workspace->record, "gates"), line);
    if (why)
        printf ("rota-agent: %s: %s\n", name, why);
    if (strcmp (state, "failed") == 0 && !self->failed)
        self->failed = name;
}

/* ---- files */

/* Links are followed inside the tree only. */
static int look_in_commit (judge_t *self, const char *path, bool *ret_good, rota_error_t *error)
{
    const rota_git_t git = rota_clone_git (&self->workspace->clone);
    rota_bytes_t answer = {.max_bytes = 4096};
    char *question = rota_pool_format (self->workspace->pool, "%s:%s\n", self->commit, path);
    if (!question)
        return no_memory (error);
    const rota_git_call_t call = {.output = &answer, .input = question, .input_bytes = strlen (question)};
    int status = rota_git (&git, &call, error, "cat-file", "--batch-check=%(objecttype) %(objectsize)",
                           "--follow-symlinks", NULL);
    *ret_good = status == 0 && answer.bytes && strncmp (answer.bytes, "blob ", 5) == 0 &&
                strtoull (answer.bytes + 5, NULL, 10) > 0;
    rota_bytes_clear (&answer);
    return status == -E2BIG ? 0 : status;
}

static bool look_on_disk (const judge_t *self, const char *path)
{
    const struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    struct stat info;
    int directory = open (self->workspace->clone.path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int fd = directory < 0 ? -1 : (int)syscall (SYS_openat2, directory, path, &how, sizeof how);
    bool good = fd >= 0 && fstat (fd, &info) == 0 &&
                (S_ISDIR (info.st_mode) || (S_ISREG (info.st_mode) && info.st_size > 0));
    if (fd >= 0)
        close (fd);
    if (directory >= 0)
        close (directory);
    return good;
}

/* The first of the changed files that a list of pathspecs finds: "" = none. */
static int find_changed (const judge_t *self, const char *const *specs, char *ret_path, size_t capacity,
                         rota_error_t *error)
{
    const rota_git_t git = rota_clone_git (&self->workspace->clone);
    rota_bytes_t names = {.max_bytes = ROTA_CHILD_WORDS_BYTES};
    const rota_git_call_t call = {.output = &names, .more = specs};
    int status = rota_git (&git, &call, error, "diff-tree", "-r", "-z", "--name-only", "--no-renames",
                           self->base, self->commit, "--", NULL);
    snprintf (ret_path, capacity, "%s", names.bytes ? names.bytes : "");
    rota_bytes_clear (&names);
    return status == -E2BIG ? 0 : status;
}

/* The path of a check, with the word behind it cut off. NULL on no memory. */
static char *path_of (judge_t *self, const rota_workspace_check_t *check, bool *ret_changed)
{
    const char suffix[] = " changed";
    char *path = rota_pool_text (self->workspace->pool, check->value, strlen (check->value));
    size_t length = path ? strlen (path) : 0;
    *ret_changed = length > sizeof suffix && strcmp (path + length - strlen (suffix), suffix) == 0;
    if (*ret_changed)
        path[length - strlen (suffix)] = '\0';
    return path;
}

static bool leads_out (const char *path)
{
    if (*path == '/' || strchr (path, '\n'))
        return true;
    for (const char *part = path; part; part = strchr (part, '/')) {
        part += *part == '/';
        if (strncmp (part, "..", 2) == 0 && (part[2] == '/' || !part[2]))
            return true;
    }
    return false;
}

static int judge_file (judge_t *self, const char *name, const rota_workspace_check_t *check,
                       rota_error_t *error)
{
    rota_pool_t *pool = self->workspace->pool;
    bool changed = false;
    char *path = path_of (self, check, &changed), found[256] = "";
    if (!path)
        return no_memory (error);
    if (leads_out (path)) {
        tell (self, name, "failed", "the path leads out of the repository");
        return 0;
    }
    bool good = false, made = false;
    int status = look_in_commit (self, path, &good, error);
    if (status < 0)
        return status;
    if (!good && strcmp (check->kind, "artifact") == 0)
        good = made = look_on_disk (self, path);
    if (!good) {
        tell (self, name, "failed", "it isn't there, or there is nothing in it");
        return 0;
    }
    const char *spec[] = {rota_pool_format (pool, ":(literal)%s", path), NULL};
    if (changed && !made) {
        status = spec[0] ? find_changed (self, spec, found, sizeof found, error) : no_memory (error);
        good = *found != '\0';
    }
    if (status == 0)
        tell (self, name, good ? "passed" : "failed", good ? NULL : "the work didn't change it");
    return status;
}

/* ---- the difference */

static int judge_globs (judge_t *self, const char *name, char *words, bool is_protected, rota_error_t *error)
{
    const char *specs[GLOBS_MAX + 1], *word;
    size_t count = 0;
    char found[256];
    while ((word = strsep (&words, " ")) && count < GLOBS_MAX)
        if (*word && !(specs[count++] = rota_pool_format (self->workspace->pool, ":(%sglob)%s",
                                                          is_protected ? "" : "exclude,", word)))
            return no_memory (error);
    specs[count] = NULL;
    if (count == 0) {
        tell (self, name, "not_checkable", "no path is named");
        return 0;
    }
    int status = find_changed (self, specs, found, sizeof found, error);
    char *why = rota_pool_format (self->workspace->pool, "%s was changed", found);
    if (status == 0)
        tell (self, name, *found ? "failed" : "passed", *found ? why : NULL);
    return status;
}

static void judge_size (judge_t *self, const char *name, const char *words)
{
    char *end;
    size_t most = strtoul (words, &end, 10);
    bool files = strcmp (end, " files") == 0 || strcmp (end, " file") == 0;
    if (end == words || (!files && *end && strcmp (end, " lines") != 0 && strcmp (end, " line") != 0)) {
        tell (self, name, "not_checkable", "it should be: max N lines, or: max N files");
        return;
    }
    size_t count = files ? self->files : self->lines;
    char *why =
        rota_pool_format (self->workspace->pool, "%zu %s were changed", count, files ? "files" : "lines");
    tell (self, name, count > most ? "failed" : "passed", count > most ? why : NULL);
}

static int judge_difference (judge_t *self, const char *value, rota_error_t *error)
{
    rota_pool_t *pool = self->workspace->pool;
    char *rest = rota_pool_text (pool, value, strlen (value)), *part;
    int status = rest ? 0 : no_memory (error);
    while (status == 0 && (part = strsep (&rest, ","))) {
        part += strspn (part, " ");
        char *name = rota_pool_format (pool, "diff: %s", part);
        if (!name)
            status = no_memory (error);
        else if (strncmp (part, "max ", 4) == 0)
            judge_size (self, name, part + 4);
        else if (strncmp (part, "paths ", 6) == 0)
            status = judge_globs (self, name, part + 6, false, error);
        else if (strncmp (part, "protected ", 10) == 0)
            status = judge_globs (self, name, part + 10, true, error);
        else if (strcmp (part, "secrets allowed") == 0)
            self->secrets_allowed = true;
        else if (*part)
            tell (self, name, "not_checkable", "it isn't known what that means");
    }
    return status;
}

/* ---- keys in what was added */

/* What the program was given by name never belongs there; what only looks like a key may be allowed. */
static int look_for_secrets (judge_t *self, bool allowed, rota_error_t *error)
{
    const char *found = NULL;
    int status = rota_workspace_find_key (self->workspace, self->base, self->tip, self->commit, !allowed,
                                          &found, error);
    if (status == 0 && (found || !allowed))
        tell (self, "diff: no secrets", found ? "failed" : "passed", found);
    return status;
}

/* Those that are not met by what was changed elsewhere. */
static int judge_touches (judge_t *self, rota_error_t *error)
{
    const rota_workspace_spec_t *spec = &self->workspace->spec;
    rota_pool_t *pool = self->workspace->pool;
    const char *specs[3 * GLOBS_MAX + 1];
    size_t count = 0;
    char found[256];
    for (size_t i = 0; spec->touches[i] && i < GLOBS_MAX; i++) {
        char *glob = rota_pool_text (pool, spec->touches[i], strlen (spec->touches[i]));
        const char *name = glob;
        if (!glob)
            return no_memory (error);
        while (*name == '/' || (name[0] == '.' && name[1] == '/'))
            name += *name == '/' ? 1 : 2;
        for (size_t end = strlen (name); end && name[end - 1] == '/'; end--)
            glob[(size_t)(name - glob) + end - 1] = '\0';
        if (!*name || strcmp (name, ".") == 0 || *name == '!' || strpbrk (name, "{}"))
            return 0; /* anything */
        bool everywhere = strpbrk (name, "*?[") && !strchr (name, '/');
        specs[count++] = rota_pool_format (pool, ":(exclude,glob)%s", name);
        specs[count++] = rota_pool_format (pool, ":(exclude,glob)%s/**", name);
        if (everywhere)
            specs[count++] = rota_pool_format (pool, ":(exclude,glob)**/%s", name);
        for (size_t k = count - 2; k < count; k++)
            if (!specs[k])
                return no_memory (error);
    }
    specs[count] = NULL;
    if (!count)
        return 0;
    int status = find_changed (self, specs, found, sizeof found, error);
    char *why = rota_pool_format (pool, "%s was changed, which the task doesn't say it touches", found);
    if (status == 0)
        tell (self, "diff: touches",
              !*found                ? "passed"
              : spec->touches_strict ? "failed"
                                     : "marked",
              *found ? why : NULL);
    return status;
}

static bool allows_secrets (const rota_workspace_spec_t *spec)
{
    for (size_t i = 0; i < spec->check_count; i++)
        if (strcmp (spec->checks[i].kind, "diff") == 0 && strstr (spec->checks[i].value, "secrets allowed"))
            return true;
    return false;
}

int rota_workspace_run_standing_checks (rota_workspace_t *self, const char *base, const char *tip,
                                        const char *tree, const char **ret_failed, rota_error_t *error)
{
    judge_t judge = {.workspace = self, .base = base, .commit = tree, .tip = tip};
    int status = judge_touches (&judge, error);
    if (status == 0)
        status = look_for_secrets (&judge, allows_secrets (&self->spec), error);
    *ret_failed = judge.failed;
    return status;
}

int rota_workspace_run_checks (rota_workspace_t *self, const char *base, const char *commit,
                               const char **ret_failed, rota_error_t *error)
{
    judge_t judge = {.workspace = self, .base = base, .commit = commit, .tip = commit};
    int status = rota_workspace_measure (self, base, commit, &judge.files, &judge.lines, error);
    for (size_t i = 0; i < self->spec.check_count && status == 0; i++) {
        const rota_workspace_check_t *check = &self->spec.checks[i];
        const char *name = rota_pool_format (self->pool, "%s: %s", check->kind, check->value);
        if (!name)
            status = no_memory (error);
        else if (strcmp (check->kind, "doc") == 0 || strcmp (check->kind, "artifact") == 0)
            status = judge_file (&judge, name, check, error);
        else if (strcmp (check->kind, "diff") == 0)
            status = judge_difference (&judge, check->value, error);
        else
            tell (&judge, name, "not_checkable", "this kind isn't known");
    }
    if (status == 0)
        status = look_for_secrets (&judge, judge.secrets_allowed, error);
    *ret_failed = judge.failed;
    return status;
}

int rota_workspace_check_merged (rota_workspace_t *self, const rota_workspace_member_t *member,
                                 const char *tree, bool ran, const char **ret_failed, rota_error_t *error)
{
    judge_t before = {.workspace = self, .commit = member->start};
    judge_t judge = {.workspace = self, .commit = tree};
    int status = 0;
    *ret_failed = NULL;
    for (size_t i = 0; i < member->check_count && status == 0; i++) {
        const rota_workspace_check_t *check = &member->checks[i];
        bool is_artifact = strcmp (check->kind, "artifact") == 0, changed, good = false, was = true;
        if (!is_artifact && strcmp (check->kind, "doc") != 0)
            continue;
        char *path = path_of (&judge, check, &changed);
        const char *name = rota_pool_format (self->pool, "%s: %s", check->kind, check->value);
        if (!path || !name)
            return no_memory (error);
        status = look_in_commit (&judge, path, &good, error);
        if (status == 0 && is_artifact && !good && !ran)
            status = look_in_commit (&before, path, &was, error);
        if (status == 0 && !good && !(is_artifact && (ran ? look_on_disk (&judge, path) : !was)))
            tell (&judge, name, "failed", "it isn't there any more, or there is nothing in it");
    }
    *ret_failed = judge.failed;
    return status;
}
