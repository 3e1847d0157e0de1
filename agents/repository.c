#include "agents/repository.h"

#include "agents/repository_move.h"
#include "agents/workspace.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REFS_MAX_BYTES ((size_t)1 << 20)
#define HEADS "refs/heads/"
#define FETCHED "refs/rota/fetched/" /* in `ours`, the branches of a remote one */
#define MARKS "refs/rota/left/"
#define LINES 4
#define FILE_URL "file://"

static rota_git_t git_of (const rota_repository_t *self)
{
    return (rota_git_t){.environment = self->environment, .git_dir = self->common_dir};
}

static rota_git_t git_of_ours (const rota_repository_t *self)
{
    return (rota_git_t){.environment = self->environment, .git_dir = self->ours};
}

bool rota_repository_is_remote (const char *location)
{
    struct stat info;
    if (strstr (location, "://"))
        return true;
    /* host:path, as ssh has it */
    const char *colon = strchr (location, ':'), *slash = strchr (location, '/');
    return colon && (!slash || colon < slash) && stat (location, &info) < 0;
}

/* At the other end of a file:// URL git runs on this machine, in that repository: not with its hooks either.
 */
static const char *other_end (const rota_repository_t *self, bool receiving)
{
    if (strncmp (self->location, FILE_URL, strlen (FILE_URL)) != 0)
        return receiving ? "--receive-pack=git-receive-pack" : "--upload-pack=git-upload-pack";
    return receiving ? "--receive-pack=git " ROTA_GIT_PLAIN_SETTINGS " receive-pack"
                     : "--upload-pack=git " ROTA_GIT_PLAIN_SETTINGS " upload-pack";
}

/* ---- a directory */

static int look (rota_repository_t *self, rota_error_t *error)
{
    rota_git_t git = {.environment = self->environment};
    rota_bytes_t output = {.max_bytes = (size_t)8 * PATH_MAX};
    const rota_git_call_t call = {.directory = self->location, .output = &output};
    const char *lines[LINES + 1] = {NULL};
    size_t count = 0;
    int status =
        rota_git (&git, &call, error, "rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir",
                  "--git-path", "objects", "--show-object-format", "--is-shallow-repository", NULL);
    char *rest =
        status == 0 && output.bytes ? rota_pool_text (self->pool, output.bytes, output.size_bytes) : NULL;
    rota_bytes_clear (&output);
    if (status < 0)
        return rota_error_prefix (error, status, "%s", self->location);
    for (char *line; rest && (line = strsep (&rest, "\n")) && count <= LINES;)
        lines[count++] = line;
    if (count <= LINES || *lines[0] != '/' || *lines[1] != '/' || *lines[2] != '/')
        return rota_error_set (error, -EBADMSG, "%s: git doesn't say where it is", self->location);
    self->git_dir = lines[0];
    self->common_dir = lines[1];
    self->objects = lines[2];
    self->shared = self->objects;
    self->format = lines[3];
    self->shallow = strcmp (lines[4], "true") == 0;
    return 0;
}

/* What the other side calls its branch, and which hash it has: lines "ref: REF\tHEAD" and "OID\tREF". */
static int ask_remote (rota_repository_t *self, const char **target, rota_error_t *error)
{
    const rota_git_t git = {.environment = self->environment};
    rota_bytes_t output = {.max_bytes = REFS_MAX_BYTES};
    const char *branch = *target ? rota_pool_format (self->pool, HEADS "%s", *target) : NULL;
    const char *const more[] = {"--", self->location, "HEAD", branch, NULL};
    const rota_git_call_t call = {.output = &output, .more = more};
    int status = rota_git (&git, &call, error, "ls-remote", "--symref", other_end (self, false), NULL);
    char *rest =
        status == 0 && output.bytes ? rota_pool_text (self->pool, output.bytes, output.size_bytes) : NULL;
    rota_bytes_clear (&output);
    for (char *line, *tab; rest && (line = strsep (&rest, "\n"));) {
        if (!(tab = strchr (line, '\t')))
            continue;
        *tab = '\0';
        if (strlen (line) == 64 && rota_git_is_oid (line))
            self->format = "sha256";
        else if (!*target && strncmp (line, "ref: " HEADS, strlen ("ref: " HEADS)) == 0)
            *target = line + strlen ("ref: " HEADS);
    }
    if (status == 0 && !*target)
        status = rota_error_set (error, -EBADMSG, "%s names no branch as its own", self->location);
    return status;
}

static int find_target (rota_repository_t *self, const char *target, rota_error_t *error)
{
    char name[256];
    int code = 0, status = 0;
    if (self->remote) {
        status = ask_remote (self, &target, error);
    } else if (!target) {
        rota_git_t git = {.environment = self->environment, .git_dir = self->git_dir};
        status = rota_git_line (&git, name, sizeof name, &code, NULL, "symbolic-ref", "-q", "HEAD", NULL);
        target = code == 0 && strncmp (name, HEADS, strlen (HEADS)) == 0 ? name + strlen (HEADS) : "HEAD";
    }
    if (status < 0)
        return status;
    if (!target)
        return rota_error_set (error, -ENOMEM, "no memory");
    /* Who works on the integration branch itself means the one that it is for. */
    if (strncmp (target, ROTA_INTEGRATION_PREFIX, strlen (ROTA_INTEGRATION_PREFIX)) == 0)
        target += strlen (ROTA_INTEGRATION_PREFIX);
    self->target = rota_pool_text (self->pool, target, strlen (target));
    self->integration = rota_pool_format (self->pool, HEADS ROTA_INTEGRATION_PREFIX "%s", target);
    self->mark = rota_pool_format (self->pool, "refs/rota/left/%s", target);
    if (!self->target || !self->integration || !self->mark)
        return rota_error_set (error, -ENOMEM, "no memory");
    rota_git_t git = {.environment = self->environment};
    status =
        rota_git_line (&git, name, sizeof name, &code, NULL, "check-ref-format", self->integration, NULL);
    if (status == 0 && code)
        status = rota_error_set (error, -EBADMSG, "\"%s\" can't be a branch's name", self->target);
    return status;
}

int rota_repository_open (rota_pool_t *pool, const char *location, const char *target,
                          rota_repository_t *ret_self, rota_error_t *error)
{
    rota_repository_t self = {.pool = pool,
                              .location = location,
                              .remote = rota_repository_is_remote (location),
                              .environment = rota_git_environment (pool),
                              .format = "sha1"};
    if (!self.environment)
        return rota_error_set (error, -ENOMEM, "no memory");
    /* git takes what begins so for an option, and alternates end at the line. */
    if (*location == '-' || strchr (location, '\n'))
        return rota_error_set (error, -EBADMSG, "\"%s\" is no repository", location);
    int status = self.remote ? 0 : look (&self, error);
    if (status == 0)
        status = find_target (&self, target, error);
    if (status == 0)
        *ret_self = self;
    return status;
}

/* ---- a remote one */

void rota_repository_use_mirror (rota_repository_t *self, const char *mirrors, int64_t retention_ms)
{
    const rota_git_t git = {.environment = self->environment};
    rota_error_t error = {""};
    if (!self->remote)
        return;
    if (rota_mirror_open (self->pool, mirrors, self->location, self->format, retention_ms, &git,
                          &self->mirror, &error) < 0)
        fprintf (stderr, "rota-agent: no mirror is used: %s\n", error.text);
    else
        self->shared = self->mirror.objects;
}

static int fetch_all (rota_repository_t *self, rota_error_t *error)
{
    const char *const arguments[] = {other_end (self, false),  "--",
                                     self->location,           "+" HEADS "*:" FETCHED "*",
                                     "+" MARKS "*:" MARKS "*", NULL};
    rota_git_t git = git_of_ours (self);
    if (self->mirror.path && rota_mirror_fetch (&self->mirror, &git, self->ours, arguments, error) == 0)
        return 0;
    const rota_git_call_t call = {.more = arguments};
    int status = rota_git (&git, &call, error, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head",
                           "--update-shallow", NULL);
    if (status == 0 && self->mirror.path)
        rota_mirror_give_up (&self->mirror);
    return status < 0 ? rota_error_prefix (error, status, "%s", self->location) : 0;
}

int rota_repository_attach (rota_repository_t *self, const char *ours, rota_error_t *error)
{
    self->ours = ours;
    if (!self->remote)
        return 0;
    char *shallow = rota_pool_format (self->pool, "%s/shallow", ours);
    self->objects = rota_pool_format (self->pool, "%s/objects", ours);
    if (!self->objects || !shallow)
        return rota_error_set (error, -ENOMEM, "no memory");
    int status = fetch_all (self, error);
    self->shallow = access (shallow, F_OK) == 0;
    return status;
}

int rota_repository_read (const rota_repository_t *self, const char *ref, char ret_oid[ROTA_GIT_OID_BYTES],
                          rota_error_t *error)
{
    char oid[256], name[1024];
    rota_git_t git = git_of (self);
    int code = 0, status;
    snprintf (name, sizeof name, "%s^{commit}", ref);
    if (self->remote) {
        git = git_of_ours (self);
        if (strncmp (ref, HEADS, strlen (HEADS)) == 0)
            snprintf (name, sizeof name, FETCHED "%s^{commit}", ref + strlen (HEADS));
    } else if (strcmp (ref, "HEAD") == 0) {
        git.git_dir = self->git_dir;
    }
    status = rota_git_line (&git, oid, sizeof oid, &code, error, "rev-parse", "--verify", "--quiet",
                            "--end-of-options", name, NULL);
    if (status < 0)
        return status;
    /* --end-of-options is echoed by some versions. */
    *ret_oid = '\0';
    if (code == 0 && rota_git_is_oid (oid))
        memcpy (ret_oid, oid, strlen (oid) + 1);
    return 0;
}

/* With --force-with-lease the other side compares and swaps; `old` NULL = wherever it is. The mark goes
 * first, if there is one to move: a server may refuse it, which has no further consequence than that a move
 * by others isn't noticed. */
static int push (const rota_repository_t *self, const char *ref, const char *old, const char *new,
                 const char *mark, rota_error_t *error)
{
    rota_git_t git = git_of_ours (self);
    rota_error_t words = {""};
    int code = 0;
    char *lease = rota_pool_format (self->pool, "--force-with-lease=%s:%s", ref, old ? old : "");
    char *pair = rota_pool_format (self->pool, "%s:%s", new, ref);
    char *marking = rota_pool_format (self->pool, "+%s:%s", new, mark ? mark : "");
    if (!lease || !pair || !marking)
        return rota_error_set (error, -ENOMEM, "no memory");
    const char *more[] = {pair, NULL, NULL};
    if (mark) {
        more[0] = marking;
        more[1] = pair;
    }
    const rota_git_call_t call = {.exit_code = &code, .more = more};
    int status = rota_git (&git, &call, &words, "push", "--quiet", "--porcelain", "--no-verify",
                           "--recurse-submodules=no", "--no-signed", old ? lease : "--force",
                           other_end (self, true), "--", self->location, NULL);
    if (status < 0 || code == 0)
        return status < 0 ? rota_error_set (error, status, "%s", words.text) : 0;
    char now[ROTA_GIT_OID_BYTES];
    rota_repository_t again = *self;
    status = fetch_all (&again, error);
    if (status == 0)
        status = rota_repository_read (self, ref, now, error);
    if (status == 0 && mark && strcmp (now, new) == 0)
        return 0;
    if (status == 0 && old && strcmp (now, old) != 0)
        return rota_error_set (error, -EAGAIN, "%s was moved meanwhile", ref);
    return status < 0 ? status : rota_error_set (error, -EBADMSG, "%s", words.text);
}

/* ---- the integration branch */

static int is_ancestor (const rota_repository_t *self, const char *older, const char *newer, bool *ret_is,
                        rota_error_t *error)
{
    rota_git_t git = git_of_ours (self);
    int code = 0;
    const rota_git_call_t call = {.exit_code = &code};
    int status = rota_git (&git, &call, error, "merge-base", "--is-ancestor", older, newer, NULL);
    if (status == 0 && code > 1)
        return -EBADMSG;
    *ret_is = code == 0;
    return status;
}

/* A linked checkout counts as well. */
static int refuse_checked_out (const rota_repository_t *self, rota_error_t *error)
{
    char place[PATH_MAX];
    rota_git_t git = git_of (self);
    int status = rota_git_line (&git, place, sizeof place, NULL, error, "for-each-ref",
                                "--format=%(worktreepath)", self->integration, NULL);
    if (status < 0 || !*place)
        return status;
    return rota_error_set (
        error, -EPERM,
        "%s is checked out in %s: rota can't move it without touching those files; switch to "
        "another branch there",
        self->integration + strlen (HEADS), place);
}

int rota_repository_advance (const rota_repository_t *self, const char *old, const char *new,
                             rota_error_t *error)
{
    if (self->remote) {
        int status = push (self, self->integration, old, new, self->mark, error);
        rota_repository_t again = *self;
        return status < 0 ? status : fetch_all (&again, error);
    }
    int status = *old ? refuse_checked_out (self, error) : 0;
    if (status < 0)
        return status;
    const rota_move_t moves[] = {{self->mark, new, NULL}, {self->integration, new, old}};
    return rota_repository_move (self, moves, 2, error);
}

/* What the user's branch, tag or commit has now. */
static int read_target (const rota_repository_t *self, char ret_oid[ROTA_GIT_OID_BYTES], rota_error_t *error)
{
    char *ref = rota_pool_format (self->pool, HEADS "%s", self->target);
    int status = ref ? rota_repository_read (self, ref, ret_oid, error) : -ENOMEM;
    if (status == 0 && !*ret_oid)
        status = rota_repository_read (self, self->target, ret_oid, error);
    if (status == 0 && !*ret_oid)
        status = rota_error_set (error, -EBADMSG, "%s has no commit \"%s\"", self->location, self->target);
    return status;
}

static bool was_moved (const rota_repository_t *self, const char *head)
{
    char mark[ROTA_GIT_OID_BYTES], before[ROTA_GIT_OID_BYTES], *parent;
    if (rota_repository_read (self, self->mark, mark, NULL) < 0 || !*mark)
        return false;
    parent = rota_pool_format (self->pool, "%s^1", mark);
    if (strcmp (head, mark) == 0)
        return false;
    return !parent || rota_repository_read (self, parent, before, NULL) < 0 || strcmp (head, before) != 0;
}

int rota_repository_integration (const rota_repository_t *self, char ret_oid[ROTA_GIT_OID_BYTES],
                                 bool *ret_moved, rota_error_t *error)
{
    char head[ROTA_GIT_OID_BYTES], target[ROTA_GIT_OID_BYTES];
    /* Others do the same at the same time: whoever comes first. */
    for (int tries = 0; tries < 5; tries++) {
        bool behind = false;
        int status = rota_repository_read (self, self->integration, head, error);
        if (status == 0)
            status = read_target (self, target, error);
        if (status == 0 && *head && strcmp (head, target) != 0)
            status = is_ancestor (self, head, target, &behind, error);
        if (status < 0)
            return status;
        bool moved = *head && was_moved (self, head);
        if (*head && !behind) {
            memcpy (ret_oid, head, sizeof head);
            *ret_moved = moved;
            return 0;
        }
        status = rota_repository_advance (self, head, target, error);
        if (status == -EPERM && behind) {
            memcpy (ret_oid, head, sizeof head);
            *ret_moved = moved;
            return 0;
        }
        if (status < 0 && status != -EAGAIN)
            return status;
    }
    return rota_error_set (error, -EAGAIN, "%s is moved all the time", self->integration);
}

int rota_repository_bring (const rota_repository_t *self, const char *oid, rota_error_t *error)
{
    if (self->remote)
        return 0;
    rota_git_t git = git_of (self), source = git_of_ours (self);
    const rota_git_call_t call = {0};
    /* Objects are read and named anew on their way, so that none is taken on the word of who made it. */
    int status = rota_git (&source, &call, error, "update-ref", "refs/heads/result", oid, NULL);
    if (status == 0)
        status = rota_git (&git, &call, error, "-c", "fetch.fsckObjects=true", "fetch", "--quiet",
                           "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--", self->ours,
                           "refs/heads/result", NULL);
    return status;
}

int rota_repository_publish (const rota_repository_t *self, const char *name, const char *oid,
                             rota_error_t *error)
{
    char *ref = rota_pool_format (self->pool, HEADS "%s", name);
    if (!ref)
        return rota_error_set (error, -ENOMEM, "no memory");
    if (self->remote)
        return push (self, ref, NULL, oid, NULL, error);
    const rota_move_t move = {ref, oid, NULL};
    int status = rota_repository_bring (self, oid, error);
    return status < 0 ? status : rota_repository_move (self, &move, 1, error);
}

int rota_repository_forget (const rota_repository_t *self, const char *prefix, rota_error_t *error)
{
    rota_git_t git = git_of (self);
    rota_bytes_t names = {.max_bytes = REFS_MAX_BYTES};
    const rota_git_call_t list = {.output = &names};
    char *pattern = rota_pool_format (self->pool, HEADS "%s*", prefix);
    if (self->remote)
        return 0;
    int status =
        pattern ? rota_git (&git, &list, error, "for-each-ref", "--format=delete %(refname)", pattern, NULL)
                : rota_error_set (error, -ENOMEM, "no memory");
    const rota_git_call_t remove = {.input = names.bytes, .input_bytes = names.size_bytes};
    if (status == 0 && names.size_bytes)
        status = rota_git (&git, &remove, error, "update-ref", "--no-deref", "--stdin", NULL);
    rota_bytes_clear (&names);
    return status;
}
