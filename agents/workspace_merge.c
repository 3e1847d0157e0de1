/* workspace_merge.c - the step that brings work into the integration branch: on objects only, tested as it
 * will be, and moved by compare and swap. A kill at any moment leaves the branch before or after.
 *
 * Several tasks are taken at once: what comes of all of them together is tested once, and the branch gets one
 * commit with the head and each task's work as its parents. So whatever is a head of the branch has passed.
 * Where it fails, the longest beginning of the batch that passes is found by halving; it is merged, the first
 * behind it is the one that breaks, and the rest is tried anew on the new head. What conflicts with another
 * member waits until that one is in, or isn't.
 */
#include "agents/workspace_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TRIES 10 /* each against a head that someone else has moved meanwhile */
#define CONFLICTS_MAX 1000
#define CONFLICTS_SAID 5
#define LIST_MAX_BYTES ((size_t)16 << 20)
#define SUBJECT_BYTES 200

typedef struct {
    const rota_workspace_member_t *member;
    json_t *record;                                            /* its own; with a state it is settled */
    char before[ROTA_GIT_OID_BYTES], tree[ROTA_GIT_OID_BYTES]; /* in the chain: without it, and with it */
} entry_t;

typedef struct {
    rota_workspace_t *workspace;
    rota_workspace_member_t first;
    entry_t *entries;
    size_t count;
    char head[ROTA_GIT_OID_BYTES];
    entry_t **chain; /* those that are tried together in this round */
    size_t chain_count;
    json_t **results;    /* of the gates on the first n of the chain; NULL = not run */
    const char **failed; /* in words, what failed there, or NULL */
} batch_t;

static const char *branch_of (const rota_workspace_t *self)
{
    return self->repository.integration + strlen ("refs/heads/");
}

static bool is_settled (const entry_t *entry)
{
    return json_object_get (entry->record, "state") != NULL;
}

/* What is told and concluded from now on is that of `entry`. */
static void turn_to (const batch_t *self, const entry_t *entry)
{
    self->workspace->record = entry->record;
}

/* ---- what is there */

static int is_merged (rota_workspace_t *self, const char *start, const char *head, bool *ret_is,
                      rota_error_t *error)
{
    const rota_git_t git = rota_clone_git (&self->clone);
    int code = 0;
    const rota_git_call_t call = {.exit_code = &code};
    int status = rota_git (&git, &call, error, "merge-base", "--is-ancestor", start, head, NULL);
    *ret_is = code == 0;
    return status == 0 && code > 1 ? -EBADMSG : status;
}

/* The commit of the branch that has it as a parent beside its first: lines "COMMIT PARENT PARENT...", newest
 * first. */
static int tell_again (rota_workspace_t *self, const char *start, const char *head, rota_error_t *error)
{
    const rota_git_t git = rota_clone_git (&self->clone);
    rota_bytes_t output = {.max_bytes = LIST_MAX_BYTES};
    const rota_git_call_t call = {.output = &output};
    char range[2 * ROTA_GIT_OID_BYTES + 2];
    snprintf (range, sizeof range, "%s..%s", start, head);
    int status = rota_git (&git, &call, error, "rev-list", "--first-parent", "--parents", "--min-parents=2",
                           range, NULL);
    rota_workspace_tell (self, "merged", head);
    for (char *rest = output.bytes, *line; rest && status == 0 && (line = strsep (&rest, "\n"));) {
        const char *merge = strsep (&line, " "), *onto = line ? strsep (&line, " ") : NULL, *other;
        while (line && (other = strsep (&line, " ")))
            if (strcmp (other, start) == 0) {
                rota_workspace_tell (self, "merged", merge);
                rota_workspace_tell (self, "onto", onto);
            }
    }
    rota_bytes_clear (&output);
    return status < 0 ? status : rota_workspace_conclude (self, "done", "it is merged already");
}

/* "TREE\0", then the paths that conflict, each ended by NUL. */
static void conclude_conflict (rota_workspace_t *self, const char *at, const char *end)
{
    json_t *paths = json_array ();
    char said[512] = "";
    size_t used = 0, count = 0;
    for (at += strlen (at) + 1; at < end && *at && count < CONFLICTS_MAX; at += strlen (at) + 1) {
        json_array_append_new (paths, rota_workspace_text (at, strlen (at)));
        if (count++ < CONFLICTS_SAID && used < sizeof said)
            used += (size_t)snprintf (said + used, sizeof said - used, "%s%s", used ? ", " : "", at);
    }
    json_object_set_new (self->record, "conflicts", paths);
    rota_workspace_conclude (self, "conflict", "it conflicts with what %s has by now: %s%s", branch_of (self),
                             said, count > CONFLICTS_SAID ? ", ..." : "");
}

/* The tree of `onto` and the work together. 0; 1 when they conflict, or can't be merged at all: where `onto`
 * is the head that is concluded. */
static int merge_trees (batch_t *self, const char *onto, entry_t *entry, char ret_tree[ROTA_GIT_OID_BYTES],
                        rota_error_t *error)
{
    rota_workspace_t *workspace = self->workspace;
    const rota_git_t git = rota_clone_git (&workspace->clone);
    rota_bytes_t output = {.max_bytes = LIST_MAX_BYTES};
    int code = 0;
    const rota_git_call_t call = {.output = &output, .exit_code = &code};
    rota_error_t words = {""};
    bool alone = strcmp (onto, self->head) == 0;
    int status = rota_git (&git, &call, &words, "merge-tree", "--write-tree", "-z", "--name-only",
                           "--no-messages", onto, entry->member->start, NULL);
    bool conflicts = status == 0 && code == 1 && output.bytes;
    bool good = status == 0 && code == 0 && output.bytes && rota_git_is_oid (output.bytes);
    turn_to (self, entry);
    if (good)
        memcpy (ret_tree, output.bytes, strlen (output.bytes) + 1);
    else if (status < 0)
        *error = words;
    else if (conflicts && alone)
        conclude_conflict (workspace, output.bytes, output.bytes + output.size_bytes);
    else if (alone)
        rota_workspace_conclude (workspace, "failed", "it can't be merged: %s", words.text);
    rota_bytes_clear (&output);
    return status < 0 ? status : !good;
}

static int tree_of (rota_workspace_t *self, const char *commit, char ret_tree[ROTA_GIT_OID_BYTES],
                    rota_error_t *error)
{
    char *name = rota_pool_format (self->pool, "%s^{tree}", commit);
    return name ? rota_clone_resolve (&self->clone, name, ret_tree, error)
                : rota_error_set (error, -ENOMEM, "no memory");
}

/* Those that can be tried together, one on the other: trees, on commits that nobody will see. */
static int make_chain (batch_t *self, rota_error_t *error)
{
    rota_workspace_t *workspace = self->workspace;
    char onto[ROTA_GIT_OID_BYTES], before[ROTA_GIT_OID_BYTES];
    self->chain_count = 0;
    memcpy (onto, self->head, sizeof onto);
    int status = tree_of (workspace, self->head, before, error);
    for (size_t i = 0; i < self->count && status == 0; i++) {
        entry_t *entry = &self->entries[i];
        bool merged = false;
        if (is_settled (entry))
            continue;
        turn_to (self, entry);
        status = is_merged (workspace, entry->member->start, self->head, &merged, error);
        if (status == 0 && merged)
            status = tell_again (workspace, entry->member->start, self->head, error);
        if (status < 0 || merged) {
            status = status < 0 ? status : 0;
            continue;
        }
        status = merge_trees (self, onto, entry, entry->tree, error);
        if (status == 1)
            status = 0; /* concluded, or it waits for the next round */
        else if (status == 0) {
            const char *const parents[] = {onto, entry->member->start, NULL};
            memcpy (entry->before, before, sizeof before);
            memcpy (before, entry->tree, sizeof before);
            self->chain[self->chain_count++] = entry;
            status = rota_workspace_commit_as (workspace, entry->tree, parents, workspace->name, "chain\n",
                                               onto, error);
        }
    }
    return status;
}

/* ---- the commit */

static const char *title_of (const rota_workspace_member_t *member)
{
    return member->title ? member->title : member->task ? member->task : "";
}

/* One task: its title and trailers. Several: their names, a line for each, and the trailers of all. */
static char *make_message (batch_t *self, size_t count)
{
    rota_workspace_t *workspace = self->workspace;
    rota_pool_t *pool = workspace->pool;
    char *names = rota_pool_format (pool, "Merge %zu tasks: ", count), *lines = names ? (char *)"" : NULL;
    char *trailers = lines;
    for (size_t i = 0; i < count && trailers; i++) {
        const rota_workspace_member_t *it = self->chain[i]->member;
        char *own = rota_workspace_trailers (workspace, it->task, it->attempt, it->worked_by, it->reviewers);
        char *title = rota_workspace_line (workspace, title_of (it), SUBJECT_BYTES);
        trailers = own ? rota_pool_format (pool, "%s%s", trailers, own) : NULL;
        lines = title ? rota_pool_format (pool, "%s* %s\n", lines, title) : NULL;
        names = rota_pool_format (pool, "%s%s%s", names, i ? ", " : "", it->task ? it->task : "");
        if (!names || !lines)
            return NULL;
    }
    if (!trailers)
        return NULL;
    char *subject =
        rota_workspace_line (workspace, count > 1 ? names : title_of (self->chain[0]->member), SUBJECT_BYTES);
    if (!subject)
        return NULL;
    return rota_pool_format (pool, "%s\n\n%s%s%s", *subject ? subject : "Work of an attempt",
                             count > 1 ? lines : "", count > 1 ? "\n" : "", trailers);
}

/* Of the first `count` of the chain on the head. */
static int make_commit (batch_t *self, size_t count, char ret_commit[ROTA_GIT_OID_BYTES], rota_error_t *error)
{
    rota_workspace_t *workspace = self->workspace;
    const char **parents = rota_pool_alloc (workspace->pool, (count + 2) * sizeof *parents);
    if (!parents)
        return rota_error_set (error, -ENOMEM, "no memory");
    parents[0] = self->head;
    for (size_t i = 0; i < count; i++)
        parents[i + 1] = self->chain[i]->member->start;
    parents[count + 1] = NULL;
    return rota_workspace_commit_as (workspace, self->chain[count - 1]->tree, parents, workspace->name,
                                     make_message (self, count), ret_commit, error);
}

/* ---- gates */

static bool is_same (const rota_workspace_gate_t *a, const rota_workspace_gate_t *b)
{
    bool none = !a->command && !b->command;
    return strcmp (a->name, b->name) == 0 &&
           (none || (a->command && b->command && strcmp (a->command, b->command) == 0));
}

/* What any of the first `count` wants. */
static int gather_gates (batch_t *self, size_t count, rota_error_t *error)
{
    rota_workspace_spec_t *spec = &self->workspace->spec;
    size_t most = 1;
    for (size_t i = 0; i < count; i++)
        most += self->chain[i]->member->gate_count;
    spec->gate_count = 0;
    spec->gates = rota_pool_alloc (self->workspace->pool, most * sizeof *spec->gates);
    if (!spec->gates)
        return rota_error_set (error, -ENOMEM, "no memory");
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < self->chain[i]->member->gate_count; k++) {
            const rota_workspace_gate_t *gate = &self->chain[i]->member->gates[k];
            size_t at = 0;
            while (at < spec->gate_count && !is_same (&spec->gates[at], gate))
                at++;
            if (at == spec->gate_count)
                spec->gates[spec->gate_count++] = *gate;
        }
    return 0;
}

static bool judges_artifacts (const batch_t *self, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < self->chain[i]->member->check_count; k++)
            if (strcmp (self->chain[i]->member->checks[k].kind, "artifact") == 0)
                return true;
    return false;
}

/* The gates in a clone of the first `count` of the chain, unless that is a tree that passed them already. */
static int run_gates (batch_t *self, size_t count, bool *ret_ran, rota_error_t *error)
{
    rota_workspace_t *workspace = self->workspace;
    const char *tree = self->chain[count - 1]->tree, *failed = NULL;
    char commit[ROTA_GIT_OID_BYTES];
    if (!judges_artifacts (self, count) && rota_gate_cache_find (workspace, tree))
        return 0;
    int status = make_commit (self, count, commit, error);
    if (status == 0)
        status = rota_clone_clear (&workspace->clone, error);
    if (status == 0)
        status = rota_workspace_enter (workspace, commit, "rota-merge");
    if (status == 0)
        status = rota_workspace_run_gates (workspace, &failed, error);
    if (status == 0)
        rota_gate_cache_keep (workspace, tree);
    *ret_ran = status == 0;
    if (failed && !(self->failed[count] = rota_pool_format (workspace->pool, "the gate %s fails", failed)))
        status = rota_error_set (error, -ENOMEM, "no memory");
    return status;
}

/* What each of them must leave is there where it comes in; who comes later may take it away. */
static int check_files (batch_t *self, size_t count, bool ran, rota_error_t *error)
{
    rota_workspace_t *workspace = self->workspace;
    int status = 0;
    for (size_t i = 0; i < count && status == 0 && !self->failed[count]; i++) {
        const char *missed = NULL;
        status = rota_workspace_check_merged (workspace, self->chain[i]->member, self->chain[i]->tree, ran,
                                              &missed, error);
        if (missed && !(self->failed[count] = rota_pool_format (workspace->pool, "it isn't met: %s", missed)))
            status = rota_error_set (error, -ENOMEM, "no memory");
    }
    return status;
}

/* Gates and files of the first `count` of the chain. 0 with *ret_good; 1 when the step is concluded, or told
 * to stop. */
static int test (batch_t *self, size_t count, bool *ret_good, rota_error_t *error)
{
    rota_workspace_t *workspace = self->workspace;
    const char *tree = self->chain[count - 1]->tree;
    char tested[ROTA_GIT_OID_BYTES];
    bool ran = false;
    *ret_good = true;
    self->results[count] = json_pack ("{s:[]}", "gates");
    self->failed[count] = NULL;
    int status = self->results[count] ? gather_gates (self, count, error)
                                      : rota_error_set (error, -ENOMEM, "no memory");
    if (status == 0)
        status = tree_of (workspace, self->chain[0]->member->start, tested, error);
    if (status < 0 || (count == 1 && strcmp (tested, tree) == 0))
        return status;
    workspace->record = self->results[count];
    if (workspace->spec.gate_count && strcmp (self->chain[0]->before, tree) != 0)
        status = run_gates (self, count, &ran, error);
    if (status == 0)
        status = check_files (self, count, ran, error);
    *ret_good = !self->failed[count];
    return status;
}

/* How many of the chain pass together: all, or as many as stand before one with which they don't. */
static int find_good (batch_t *self, size_t *ret_good, rota_error_t *error)
{
    size_t good = 0, bad = self->chain_count + 1, next = self->chain_count;
    while (bad - good > 1) {
        bool passes = false;
        int status = test (self, next, &passes, error);
        if (status != 0)
            return status;
        if (passes)
            good = next;
        else
            bad = next;
        next = good + (bad - good) / 2;
    }
    *ret_good = good;
    return 0;
}

/* ---- what comes of it */

/* What the task's attempts left is in the branch now: "rota-work/TASK.7" goes, and all before it. */
static void forget_attempts (rota_workspace_t *self, const char *branch)
{
    rota_error_t error = {""};
    const char *dot = branch ? strrchr (branch, '.') : NULL;
    char *prefix = dot ? rota_pool_format (self->pool, "%.*s", (int)(dot + 1 - branch), branch) : NULL;
    if (prefix && rota_repository_forget (&self->repository, prefix, &error) < 0)
        fprintf (stderr, "rota-agent: branches of earlier attempts stay: %s\n", error.text);
}

static void copy_results (json_t *record, const json_t *from)
{
    static const char *const KEYS[] = {"gates", "isolated"};
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (json_object_get (from, KEYS[i]))
            json_object_set (record, KEYS[i], json_object_get (from, KEYS[i]));
}

static int merge (batch_t *self, size_t count, rota_error_t *error)
{
    rota_workspace_t *workspace = self->workspace;
    char commit[ROTA_GIT_OID_BYTES];
    int status = make_commit (self, count, commit, error);
    if (status == 0 && rota_stop_look (&workspace->stop))
        status = rota_error_set (error, -EINTR, "told to stop");
    if (status == 0)
        status = rota_repository_bring (&workspace->repository, commit, error);
    if (status == 0)
        status = rota_repository_advance (&workspace->repository, self->head, commit, error);
    for (size_t i = 0; i < count && status == 0; i++) {
        entry_t *entry = self->chain[i];
        rota_error_t ignored;
        turn_to (self, entry);
        copy_results (entry->record, self->results[count]);
        rota_workspace_measure (workspace, entry->before, entry->tree, NULL, NULL, &ignored);
        rota_workspace_tell (workspace, "merged", commit);
        rota_workspace_tell (workspace, "onto", self->head);
        rota_workspace_tell (workspace, "tree", self->chain[count - 1]->tree);
        if (count > 1)
            json_object_set_new (entry->record, "batch", json_integer ((json_int_t)count));
        forget_attempts (workspace, entry->member->branch);
        rota_workspace_conclude (workspace, "done", "%s", "");
    }
    return status;
}

/* One round on the head as it is. 0 when there is more to do, or the head was moved meanwhile, which is told;
 * 1 when the step is concluded or was told to stop. */
static int try_once (batch_t *self, bool *ret_raced, rota_error_t *error)
{
    rota_workspace_t *workspace = self->workspace;
    json_t *first = self->entries[0].record;
    bool moved = false;
    size_t good = 0;
    int status = rota_repository_integration (&workspace->repository, self->head, &moved, error);
    if (workspace->spec.left)
        moved = strcmp (workspace->spec.left, self->head) != 0;
    if (status == 0 && !json_object_get (first, "head_moved"))
        json_object_set_new (first, "head_moved", json_boolean (moved));
    for (size_t i = 0; i <= self->count; i++) {
        json_decref (self->results[i]);
        self->results[i] = NULL;
    }
    if (status == 0)
        status = make_chain (self, error);
    if (status < 0 || !self->chain_count)
        return status;
    status = find_good (self, &good, error);
    if (status == 0 && good)
        status = merge (self, good, error);
    *ret_raced = status == -EAGAIN;
    if (status != 0 || good == self->chain_count)
        return status == -EAGAIN ? 0 : status;
    entry_t *culprit = self->chain[good];
    turn_to (self, culprit);
    copy_results (culprit->record, self->results[good + 1]);
    rota_workspace_conclude (workspace, "failed", "merged with what %s has by now, %s", branch_of (workspace),
                             self->failed[good + 1]);
    return 0;
}

/* ---- from beginning to end */

static int make_batch (batch_t *self, rota_workspace_t *workspace)
{
    rota_workspace_spec_t *spec = &workspace->spec;
    rota_pool_t *pool = workspace->pool;
    size_t count = spec->member_count + 1;
    *self = (batch_t){.workspace = workspace, .count = count};
    self->first = (rota_workspace_member_t){.task = spec->task,
                                            .title = spec->title,
                                            .start = spec->start,
                                            .branch = spec->branch,
                                            .worked_by = spec->worked_by,
                                            .attempt = spec->attempt,
                                            .gates = spec->gates,
                                            .gate_count = spec->gate_count,
                                            .checks = spec->checks,
                                            .check_count = spec->check_count,
                                            .reviewers = spec->reviewers};
    self->entries = rota_pool_alloc (pool, count * sizeof *self->entries);
    self->chain = rota_pool_alloc (pool, count * sizeof *self->chain);
    self->results = rota_pool_alloc (pool, (count + 1) * sizeof *self->results);
    self->failed = rota_pool_alloc (pool, (count + 1) * sizeof *self->failed);
    if (!self->entries || !self->chain || !self->results || !self->failed)
        return -ENOMEM;
    for (size_t i = 0; i <= count; i++)
        self->results[i] = NULL;
    for (size_t i = 0; i < count; i++) {
        self->entries[i].member = i ? &spec->members[i - 1] : &self->first;
        self->entries[i].record = i ? json_pack ("{s:[]}", "gates") : json_incref (workspace->record);
        if (!self->entries[i].record)
            return -ENOMEM;
    }
    return 0;
}

/* Each commit must be there; one that isn't says nothing of the others. */
static void find_commits (batch_t *self)
{
    rota_workspace_t *workspace = self->workspace;
    for (size_t i = 0; i < self->count; i++) {
        rota_error_t error = {""};
        char found[ROTA_GIT_OID_BYTES];
        const char *start = self->entries[i].member->start;
        char *name = rota_pool_format (workspace->pool, "%s^{commit}", start);
        int status = name ? rota_clone_resolve (&workspace->clone, name, found, &error)
                          : rota_error_set (&error, -ENOMEM, "no memory");
        turn_to (self, &self->entries[i]);
        if (status == 0 && strcmp (found, start) != 0)
            status =
                rota_error_set (&error, -EBADMSG, "%s has no commit %s", workspace->spec.repository, start);
        if (status < 0) {
            rota_workspace_fail (workspace, &error);
            continue;
        }
        rota_workspace_tell (workspace, "commit", found);
        rota_workspace_tell (workspace, "integration", branch_of (workspace));
    }
}

static bool is_over (const batch_t *self)
{
    for (size_t i = 0; i < self->count; i++)
        if (!is_settled (&self->entries[i]))
            return false;
    return true;
}

/* The step ends with `from` for all that came to no end of their own. */
static void conclude_rest (const batch_t *self, const json_t *from)
{
    const char *state = json_string_value (json_object_get (from, "state"));
    const char *message = json_string_value (json_object_get (from, "message"));
    for (size_t i = 0; i < self->count && state; i++) {
        turn_to (self, &self->entries[i]);
        copy_results (self->entries[i].record, from);
        rota_workspace_conclude (self->workspace, state, "%s", message ? message : "");
    }
}

static void fail_rest (const batch_t *self, const rota_error_t *error)
{
    for (size_t i = 0; i < self->count; i++) {
        turn_to (self, &self->entries[i]);
        rota_workspace_fail (self->workspace, error);
    }
}

static void close_batch (batch_t *self)
{
    json_t *first = self->entries ? self->entries[0].record : NULL;
    json_t *members = json_array ();
    for (size_t i = 1; self->entries && i < self->count && self->entries[i].record; i++)
        json_array_append_new (members, self->entries[i].record);
    for (size_t i = 0; self->results && i <= self->count; i++)
        json_decref (self->results[i]);
    /* Cut short, there is no record at all: what was merged is found again. */
    if (first) {
        self->workspace->record = first;
        json_object_set_new (first, "members", members);
        json_decref (first);
    } else {
        json_decref (members);
    }
}

int rota_workspace_merge (rota_workspace_t *self)
{
    rota_error_t error = {""};
    batch_t batch;
    int status = make_batch (&batch, self), races = 0;
    if (status < 0)
        rota_error_set (&error, status, "no memory");
    else
        find_commits (&batch);
    while (status == 0 && !is_over (&batch)) {
        bool raced = false;
        status = try_once (&batch, &raced, &error);
        if (status == 0 && raced && ++races >= TRIES)
            status =
                rota_error_set (&error, -EAGAIN, "%s is moved all the time", self->repository.integration);
    }
    /* Cut short: what there is of it counts for nothing. */
    if (status == 1 && !self->stop.wanted)
        conclude_rest (&batch, self->record);
    else if (status < 0 && status != -EINTR && batch.entries)
        fail_rest (&batch, &error);
    close_batch (&batch);
    return 1;
}
