#include "agents/workspace_internal.h"

#include "agents/attempt.h"
#include "agents/files.h"
#include "agents/setup_cache.h"
#include "bus/names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUBJECT_BYTES 200
#define PATHS_MAX 50
#define PATHS_TEXT_BYTES 500
#define SETUP_TIMEOUT_MS ((int64_t)30 * 60 * 1000)
#define DIFFERENCE_TEXT_MAX_BYTES ((size_t)4 << 20)

enum { EXIT_DONE = 0, EXIT_NO_RECORD = 70, EXIT_STOPPED = 143 };

/* ---- commits */

/* One line of at most `most` bytes, whole characters, without what trailers or names can't have. */
static char *one_line (rota_pool_t *pool, const char *text, size_t most, const char *without)
{
    size_t used = 0, size = strlen (text);
    char *line = rota_pool_alloc (pool, most + 1);
    for (const char *end = text + size; line && text < end;) {
        size_t length = rota_utf8_sequence (text, (size_t)(end - text));
        if (*text == '\n' && used)
            break;
        if (used + (length ? length : 1) > most)
            break;
        bool bad = !length || (unsigned char)*text < 0x20 || *text == 0x7F || strchr (without, *text);
        if (!bad) {
            memcpy (line + used, text, length);
            used += length;
        } else if (used && line[used - 1] != ' ') {
            line[used++] = ' ';
        }
        text += length ? length : 1;
    }
    while (line && used && line[used - 1] == ' ')
        used--;
    if (line)
        line[used] = '\0';
    return line;
}

char *rota_workspace_line (rota_workspace_t *self, const char *text, size_t most)
{
    return one_line (self->pool, text, most, "");
}

char *rota_workspace_trailers (rota_workspace_t *self, const char *task, int64_t attempt,
                               const char *worked_by, const char *const *reviewers)
{
    const char *given = self->spec.agent;
    char *name = one_line (self->pool, task ? task : "", ROTA_ID_MAX_BYTES, "");
    char *agent = one_line (self->pool, given ? given : "", ROTA_ID_MAX_BYTES, "");
    if (!name || !agent)
        return NULL;
    char *text = rota_pool_format (self->pool, "%s%s%sRota-Attempt: %lld\n", *name ? "Rota-Task: " : "", name,
                                   *name ? "\n" : "", (long long)attempt);
    if (text && *agent)
        text = rota_pool_format (self->pool, "%sRota-Agent: %s\n", text, agent);
    if (text && worked_by) {
        char *author = one_line (self->pool, worked_by, ROTA_ID_MAX_BYTES, "");
        text = author ? rota_pool_format (self->pool, "%sRota-Work-By: %s\n", text, author) : NULL;
    }
    for (size_t i = 0; text && reviewers && reviewers[i]; i++) {
        char *reviewer = one_line (self->pool, reviewers[i], ROTA_ID_MAX_BYTES, "");
        text = reviewer ? rota_pool_format (self->pool, "%sRota-Reviewed-By: %s\n", text, reviewer) : NULL;
    }
    return text;
}

static char *make_message (rota_workspace_t *self, const char *subject, bool with_reviewers)
{
    const rota_workspace_spec_t *spec = &self->spec;
    char *line = one_line (self->pool, subject, SUBJECT_BYTES, "");
    char *trailers =
        rota_workspace_trailers (self, spec->task, spec->attempt, with_reviewers ? spec->worked_by : NULL,
                                 with_reviewers ? (const char *const *)spec->reviewers : NULL);
    return line && trailers
               ? rota_pool_format (self->pool, "%s\n\n%s", *line ? line : "Work of an attempt", trailers)
               : NULL;
}

int rota_workspace_commit_as (rota_workspace_t *self, const char *tree, const char *const *parents,
                              const char *author, const char *message, char ret_oid[ROTA_GIT_OID_BYTES],
                              rota_error_t *error)
{
    const rota_git_t git = rota_clone_git (&self->clone);
    rota_bytes_t output = {.max_bytes = 256};
    size_t count = 0, used = 0;
    while (parents[count])
        count++;
    const char **more = rota_pool_alloc (self->pool, (2 * count + 1) * sizeof *more);
    if (!message || !more)
        return rota_error_set (error, -ENOMEM, "no memory");
    for (size_t i = 0; i < count; i++) {
        more[used++] = "-p";
        more[used++] = parents[i];
    }
    more[used] = NULL;
    const rota_git_call_t call = {
        .output = &output, .input = message, .input_bytes = strlen (message), .author = author, .more = more};
    int status = rota_git (&git, &call, error, "commit-tree", tree, NULL);
    if (status == 0) {
        output.bytes[strcspn (output.bytes, "\n")] = '\0';
        if (!rota_git_is_oid (output.bytes))
            status = rota_error_set (error, -EBADMSG, "git commit-tree names no commit");
        else
            memcpy (ret_oid, output.bytes, strlen (output.bytes) + 1);
    }
    rota_bytes_clear (&output);
    return status;
}

int rota_workspace_commit (rota_workspace_t *self, const char *tree, const char *const *parents,
                           const char *author, const char *subject, bool with_reviewers,
                           char ret_oid[ROTA_GIT_OID_BYTES], rota_error_t *error)
{
    return rota_workspace_commit_as (self, tree, parents, author,
                                     make_message (self, subject, with_reviewers), ret_oid, error);
}

/* A set: where it grows large, whole directories stand for their files. */
static void add_path (json_t *paths, const char *path)
{
    char glob[PATHS_TEXT_BYTES];
    const char *slash = strrchr (path, '/');
    size_t length = 0;
    /* What globs take for more than itself is named so that it is not. */
    for (const char *at = path; *at && length + 2 < sizeof glob; at++) {
        if (strchr ("*?[]{}\\!", *at))
            glob[length++] = '\\';
        glob[length++] = *at;
    }
    glob[length] = '\0';
    if (json_object_size (paths) < PATHS_MAX)
        json_object_set_new (paths, glob, json_true ());
    else if (slash && (size_t)(slash - path) < sizeof glob - 4 && json_object_size (paths) < 2 * PATHS_MAX) {
        snprintf (glob, sizeof glob, "%.*s/**", (int)(slash - path), path);
        json_object_set_new (paths, glob, json_true ());
    } else {
        json_object_set_new (paths, "**", json_true ());
    }
}

static void tell_paths (rota_workspace_t *self, json_t *paths)
{
    json_t *list = json_array (), *value;
    const char *path;
    json_object_foreach (paths, path, value)
        json_array_append_new (list, rota_workspace_text (path, strlen (path)));
    json_object_set_new (self->record, "paths", list);
    json_decref (paths);
}

int rota_workspace_measure (rota_workspace_t *self, const char *from, const char *to, size_t *ret_files,
                            size_t *ret_lines, rota_error_t *error)
{
    const rota_git_t git = rota_clone_git (&self->clone);
    rota_bytes_t output = {.max_bytes = (size_t)256 << 20};
    const rota_git_call_t call = {.output = &output};
    unsigned long long files = 0, insertions = 0, deletions = 0;
    json_t *paths = json_object ();
    int status =
        rota_git (&git, &call, error, "diff-tree", "-r", "-z", "--numstat", "--no-renames", from, to, NULL);
    const char *at = output.bytes, *end = at ? at + output.size_bytes : at;
    /* "INSERTIONS\tDELETIONS\tPATH\0", both "-" for what isn't text. */
    for (; at < end && status == 0; at += strlen (at) + 1) {
        char *tab;
        insertions += strtoull (at, &tab, 10);
        if ((tab = strchr (at, '\t')))
            deletions += strtoull (tab + 1, NULL, 10);
        if (tab && (tab = strchr (tab + 1, '\t')))
            add_path (paths, tab + 1);
        files++;
    }
    tell_paths (self, paths);
    rota_bytes_clear (&output);
    if (status < 0)
        return status;
    json_object_set_new (self->record, "files", json_integer ((json_int_t)files));
    json_object_set_new (self->record, "insertions", json_integer ((json_int_t)insertions));
    json_object_set_new (self->record, "deletions", json_integer ((json_int_t)deletions));
    if (ret_files)
        *ret_files = (size_t)files;
    if (ret_lines)
        *ret_lines = (size_t)(insertions + deletions);
    return 0;
}

/* ---- the clone */

static void take_nothing (void *context, const char *bytes, size_t size)
{
    (void)context;
    fwrite (bytes, 1, size, stdout);
    fflush (stdout);
}

static int set_up (rota_workspace_t *self, const char *commit)
{
    rota_error_t error = {""};
    rota_child_end_t end;
    rota_setup_cache_t cache;
    int status = rota_setup_cache_find (self, commit, &cache, &error);
    if (status < 0)
        return rota_workspace_fail (self, &error);
    if (!rota_setup_cache_take (self, &cache)) {
        status = rota_workspace_run_command (self, self->spec.setup, SETUP_TIMEOUT_MS, take_nothing, NULL,
                                             &end, &error);
        if (status == 0 && end.wait_status)
            return rota_workspace_conclude (self, "environment", "the set-up command %s %d: %s",
                                            end.timed_out ? "took too long," : "ended with",
                                            rota_child_status (&end), self->spec.setup);
        /* Of a tree that an agent has changed nothing is kept for others. */
        if (status == 0 && self->head && strcmp (commit, self->head) == 0)
            rota_setup_cache_keep (self, &cache);
    }
    if (status == 0)
        status = rota_clone_mark_before (&self->clone, &error);
    return status == -EINTR ? 1 : status < 0 ? rota_workspace_fail (self, &error) : 0;
}

int rota_workspace_enter (rota_workspace_t *self, const char *commit, const char *branch)
{
    rota_error_t error = {""};
    int status = rota_clone_make (&self->clone, commit, branch, self->name, &error);
    if (status == 0)
        status = rota_workspace_prepare_sandbox (self, &error);
    if (status < 0)
        return rota_workspace_fail (self, &error);
    return self->spec.setup ? set_up (self, commit) : 0;
}

/* That commit must be there. */
static int find_commit (rota_workspace_t *self, const char *oid)
{
    rota_error_t error = {""};
    char found[ROTA_GIT_OID_BYTES], *name = rota_pool_format (self->pool, "%s^{commit}", oid);
    int status = name ? rota_clone_resolve (&self->clone, name, found, &error) : -ENOMEM;
    if (status == 0 && strcmp (found, oid) != 0)
        status = rota_error_set (&error, -EBADMSG, "%s has no commit %s", self->spec.repository, oid);
    return status < 0 ? rota_workspace_fail (self, &error) : 0;
}

static int tell_tree (rota_workspace_t *self, const char *commit)
{
    rota_error_t error = {""};
    char tree[ROTA_GIT_OID_BYTES], *name = rota_pool_format (self->pool, "%s^{tree}", commit);
    int status = name ? rota_clone_resolve (&self->clone, name, tree, &error) : -ENOMEM;
    if (status < 0)
        return rota_workspace_fail (self, &error);
    rota_workspace_tell (self, "tree", tree);
    return 0;
}

/* ---- steps */

static int conclude_unchanged (rota_workspace_t *self, bool stopped)
{
    if (self->spec.expects_change && self->status == 0 && !stopped)
        return rota_workspace_conclude (self, "failed", "it says it is done, but nothing was changed");
    return rota_workspace_conclude (self, "unchanged", "%s", "");
}

static int take_work (rota_workspace_t *self, const char *base, const char *start, bool stopped)
{
    rota_error_t error = {""};
    rota_clone_work_t work;
    char commit[ROTA_GIT_OID_BYTES], before[ROTA_GIT_OID_BYTES];
    const char *marked = NULL, *missed = NULL;
    int status = rota_clone_collect (&self->clone, &work, &error);
    if (status == -EBADMSG)
        return rota_workspace_conclude (self, "failed", "%s", error.text);
    char *name = rota_pool_format (self->pool, "%s^{tree}", base);
    if (status == 0)
        status = name ? rota_clone_resolve (&self->clone, name, before, &error) : -ENOMEM;
    if (status == 0)
        status = rota_workspace_measure (self, base, work.tree, NULL, NULL, &error);
    if (status < 0)
        return rota_workspace_fail (self, &error);
    rota_workspace_tell (self, "base", base);
    rota_workspace_tell (self, "tree", work.tree);
    if (work.left && self->status == 0 && !stopped)
        return rota_workspace_conclude (self, "failed", "it says it is done, but %s", work.left);
    if (work.left)
        rota_clone_note (&self->clone, "%s", work.left);
    if (strcmp (before, work.tree) == 0)
        return conclude_unchanged (self, stopped);
    if (self->status == 0 && !stopped && self->took_ms < self->spec.least_ms)
        return rota_workspace_conclude (
            self, "failed",
            "it says it is done after %.1f s, which is too soon to be true (agents.least_time)",
            (double)self->took_ms / 1000);
    status = rota_workspace_find_marks (self, work.tree, &marked, &error);
    if (status < 0)
        return rota_workspace_fail (self, &error);
    if (marked && self->status == 0 && !stopped)
        return rota_workspace_conclude (
            self, "failed", "it says it is done, but %s still has the marks of a conflict", marked);
    status = rota_workspace_run_standing_checks (self, base, work.grown ? work.tip : start, work.tree,
                                                 &missed, &error);
    if (status < 0)
        return rota_workspace_fail (self, &error);
    /* Not published at all: what has a key in it must not lie in the repository. */
    if (missed)
        return rota_workspace_conclude (self, "failed", "not met: %s", missed);
    memcpy (commit, work.tip, sizeof commit);
    if (!work.committed) {
        const char *const parents[] = {work.grown ? work.tip : start, NULL};
        const char *subject = self->spec.title ? self->spec.title : self->spec.task ? self->spec.task : "";
        status = rota_workspace_commit (self, work.tree, parents, self->name, subject, false, commit, &error);
    }
    if (status < 0)
        return rota_workspace_fail (self, &error);
    status = rota_repository_publish (&self->repository, self->spec.branch, commit, &error);
    /* What it made is refused by git itself, as a tree with .git in it. */
    if (status == -EBADMSG)
        return rota_workspace_conclude (self, "failed", "what it committed can't be taken: %s", error.text);
    if (status < 0)
        return rota_workspace_fail (self, &error);
    rota_workspace_tell (self, "commit", commit);
    rota_workspace_tell (self, "branch", self->spec.branch);
    return rota_workspace_conclude (self, "done", "%s", "");
}

static int find_integration (rota_workspace_t *self, char ret_head[ROTA_GIT_OID_BYTES])
{
    rota_error_t error = {""};
    bool moved = false;
    int status = rota_repository_integration (&self->repository, ret_head, &moved, &error);
    if (status < 0)
        return rota_workspace_fail (self, &error);
    self->head = rota_pool_text (self->pool, ret_head, strlen (ret_head));
    if (self->spec.left)
        moved = strcmp (self->spec.left, ret_head) != 0;
    json_object_set_new (self->record, "head_moved", json_boolean (moved));
    rota_workspace_tell (self, "integration", self->repository.integration + strlen ("refs/heads/"));
    return 0;
}

static int work (rota_workspace_t *self)
{
    rota_error_t error = {""};
    char head[ROTA_GIT_OID_BYTES], start[ROTA_GIT_OID_BYTES];
    bool stopped = false;
    int status = 0, ended = find_integration (self, head);
    if (ended || (self->spec.start && find_commit (self, self->spec.start)))
        return 1;
    if (self->spec.start)
        status = rota_workspace_bring_up (self, head, self->spec.start, start, &error);
    else
        memcpy (start, head, sizeof start);
    if (status < 0)
        return rota_workspace_fail (self, &error);
    if (rota_workspace_enter (self, start, self->spec.branch))
        return 1;
    const char *told = rota_workspace_told (self, start);
    status = rota_workspace_run_program (self, *told ? told : NULL, strlen (told), &stopped, &error);
    /* What it is to be judged by is how it differs from the branch, which it has in it by now. */
    return status < 0 ? rota_workspace_fail (self, &error) : take_work (self, head, start, stopped);
}

/* Where the work began: as told, or where it left the integration branch. */
static int find_base (rota_workspace_t *self, char ret_base[ROTA_GIT_OID_BYTES])
{
    rota_error_t error = {""};
    char head[ROTA_GIT_OID_BYTES], line[256];
    if (find_commit (self, self->spec.start))
        return 1;
    if (self->spec.base) {
        snprintf (ret_base, ROTA_GIT_OID_BYTES, "%s", self->spec.base);
    } else {
        if (find_integration (self, head))
            return 1;
        const rota_git_t git = rota_clone_git (&self->clone);
        int status =
            rota_git_line (&git, line, sizeof line, NULL, &error, "merge-base", head, self->spec.start, NULL);
        if (status < 0)
            return rota_workspace_fail (self, &error);
        snprintf (ret_base, ROTA_GIT_OID_BYTES, "%.64s", line);
    }
    rota_workspace_tell (self, "base", ret_base);
    rota_workspace_tell (self, "commit", self->spec.start);
    return find_commit (self, ret_base) || tell_tree (self, self->spec.start);
}

/* They may be what the gates make. */
static bool judges_artifacts (const rota_workspace_spec_t *spec)
{
    for (size_t i = 0; i < spec->check_count; i++)
        if (strcmp (spec->checks[i].kind, "artifact") == 0)
            return true;
    return false;
}

static int gate (rota_workspace_t *self)
{
    rota_error_t error = {""};
    char base[ROTA_GIT_OID_BYTES];
    const char *failed = NULL, *missed = NULL;
    if (find_base (self, base))
        return 1;
    const char *tree = json_string_value (json_object_get (self->record, "tree"));
    bool known = !judges_artifacts (&self->spec) && rota_gate_cache_find (self, tree);
    if (!known && rota_workspace_enter (self, self->spec.start, "rota-gate"))
        return 1;
    int status = known ? 0 : rota_workspace_run_gates (self, &failed, &error);
    if (status == 0 && !known)
        rota_gate_cache_keep (self, tree);
    if (status == 0)
        status = rota_workspace_run_checks (self, base, self->spec.start, &missed, &error);
    if (status == -EINTR)
        return 1;
    if (status < 0)
        return rota_workspace_fail (self, &error);
    if (failed)
        return rota_workspace_conclude (self, "failed", "the gate %s fails", failed);
    if (missed)
        return rota_workspace_conclude (self, "failed", "not met: %s", missed);
    return rota_workspace_conclude (self, "done", "%s", "");
}

static int review (rota_workspace_t *self)
{
    rota_error_t error = {""};
    char base[ROTA_GIT_OID_BYTES];
    bool stopped = false;
    rota_bytes_t text = {.max_bytes = DIFFERENCE_TEXT_MAX_BYTES};
    if (find_base (self, base) || rota_workspace_enter (self, self->spec.start, "rota-review"))
        return 1;
    int status = 0;
    if (!self->spec.asked_again) {
        const char *told = rota_workspace_told (self, self->spec.start);
        rota_bytes_take (&text, told, strlen (told));
        status = rota_workspace_fence_difference (self, base, self->spec.start, &text, &error);
    } else {
        rota_bytes_t unused = {.max_bytes = DIFFERENCE_TEXT_MAX_BYTES};
        /* For the record: of which part the verdict is. */
        status = rota_workspace_fence_difference (self, base, self->spec.start, &unused, &error);
        rota_bytes_clear (&unused);
    }
    if (status == 0)
        status = rota_workspace_run_program (self, text.bytes, text.size_bytes, &stopped, &error);
    rota_bytes_clear (&text);
    return status < 0 ? rota_workspace_fail (self, &error) : rota_workspace_conclude (self, "done", "%s", "");
}

/* ---- from beginning to end */

static void run_step (rota_workspace_t *self)
{
    static int (*const STEPS[]) (rota_workspace_t *) = {
        [ROTA_WORKSPACE_WORK] = work,
        [ROTA_WORKSPACE_GATE] = gate,
        [ROTA_WORKSPACE_REVIEW] = review,
        [ROTA_WORKSPACE_MERGE] = rota_workspace_merge,
    };
    const rota_workspace_spec_t *spec = &self->spec;
    rota_error_t error = {""};
    int status = rota_repository_open (self->pool, spec->repository, spec->target, &self->repository, &error);
    if (status == 0 && spec->mirrors)
        rota_repository_use_mirror (&self->repository, spec->mirrors, spec->cache_retention_ms);
    if (status == 0)
        status = rota_clone_open (self->pool, spec->clone, self->repository.format, &self->clone, &error);
    if (status == 0)
        status = rota_clone_attach (&self->clone, &self->repository, &error);
    if (status == 0)
        status = rota_repository_attach (&self->repository, self->clone.ours, &error);
    if (status < 0)
        rota_workspace_fail (self, &error);
    else
        STEPS[spec->step](self);
    status = rota_clone_close (&self->clone, &error);
    if (status < 0)
        fprintf (stderr, "rota-agent: %s\n", error.text);
}

static int finish (rota_workspace_t *self)
{
    rota_error_t error = {""};
    if (json_is_true (json_object_get (self->record, "head_moved")))
        fprintf (stderr, "rota-agent: someone else than rota moved %s; work goes on from where it is\n",
                 self->repository.integration + strlen ("refs/heads/"));
    if (!rota_workspace_is_concluded (self))
        return self->stop.wanted ? EXIT_STOPPED : EXIT_NO_RECORD;
    if (rota_workspace_write_record (self, &error) < 0) {
        fprintf (stderr, "rota-agent: %s\n", error.text);
        return EXIT_NO_RECORD;
    }
    return self->spec.step == ROTA_WORKSPACE_WORK || self->spec.step == ROTA_WORKSPACE_REVIEW ? self->status
                                                                                              : EXIT_DONE;
}

static int begin (rota_workspace_t *self, int argc, char **argv, rota_error_t *error)
{
    bool has_program = argc > 2 && strcmp (argv[1], "--") == 0;
    if (argc < 1 || (argc > 1 && !has_program))
        return rota_error_set (error, -EINVAL, ROTA_WORKSPACE_OPTION " SPEC [-- PROGRAM [ARGUMENT...]]");
    self->pool = rota_pool_new ();
    self->record = json_object ();
    if (!self->pool || !self->record || json_object_set_new (self->record, "gates", json_array ()) < 0)
        return rota_error_set (error, -ENOMEM, "no memory");
    int status = rota_workspace_read_spec (argv[0], self->pool, &self->spec, error);
    if (status < 0)
        return status;
    bool wants_program = self->spec.step == ROTA_WORKSPACE_WORK || self->spec.step == ROTA_WORKSPACE_REVIEW;
    if (wants_program != has_program)
        return rota_error_set (error, -EINVAL, "work and review need a program, gate and merge take none");
    self->program = has_program ? argv + 2 : NULL;
    char *agent = one_line (self->pool, self->spec.agent ? self->spec.agent : "", 100, "<>\"\\");
    self->name = agent ? rota_pool_format (self->pool, "rota agent%s%s", *agent ? " " : "", agent) : NULL;
    if (!self->name)
        return rota_error_set (error, -ENOMEM, "no memory");
    /* What is there from an attempt before doesn't tell of this one. */
    status = rota_files_remove_path (self->spec.record);
    if (status < 0)
        return rota_error_set (error, status, "%s: %s", self->spec.record, strerror (-status));
    if (self->spec.steerable)
        fcntl (ROTA_TELL_FD, F_SETFD, FD_CLOEXEC); /* for the program alone, not for git */
    return rota_child_setup (&self->stop, error);
}

int rota_workspace (int argc, char **argv)
{
    rota_workspace_t self = {.stop = {.fd = -1}, .clone = {.lock_fd = -1, .notes = ""}};
    rota_error_t error = {""};
    int status = EXIT_NO_RECORD;
    if (begin (&self, argc, argv, &error) < 0) {
        fprintf (stderr, "rota-agent: %s\n", error.text);
    } else {
        run_step (&self);
        status = finish (&self);
    }
    if (self.stop.fd >= 0)
        close (self.stop.fd);
    json_decref (self.record);
    json_decref (self.spec.told);
    rota_pool_destroy (&self.pool);
    return status;
}
