/* workspace_merge.c - the step that brings work into the integration branch: on objects only, tested as it
 * will be, and moved by compare and swap. A kill at any moment leaves the branch before or after.
 */
#include "agents/workspace_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TRIES 10 /* each against a head that someone else has moved meanwhile */
#define CONFLICTS_MAX 1000
#define CONFLICTS_SAID 5
#define LIST_MAX_BYTES ((size_t)16 << 20)

static int is_merged (rota_workspace_t *self, const char *head, bool *ret_is, rota_error_t *error)
{
    const rota_git_t git = rota_clone_git (&self->clone);
    int code = 0;
    const rota_git_call_t call = {.exit_code = &code};
    int status = rota_git (&git, &call, error, "merge-base", "--is-ancestor", self->spec.start, head, NULL);
    *ret_is = code == 0;
    return status == 0 && code > 1 ? -EBADMSG : status;
}

/* The commit of the branch that has it as its second parent: lines "COMMIT PARENT PARENT", newest first. */
static int tell_again (rota_workspace_t *self, const char *head, rota_error_t *error)
{
    const rota_git_t git = rota_clone_git (&self->clone);
    rota_bytes_t output = {.max_bytes = LIST_MAX_BYTES};
    const rota_git_call_t call = {.output = &output};
    char range[2 * ROTA_GIT_OID_BYTES + 2], merge[ROTA_GIT_OID_BYTES], onto[ROTA_GIT_OID_BYTES],
        other[ROTA_GIT_OID_BYTES];
    snprintf (range, sizeof range, "%s..%s", self->spec.start, head);
    int status = rota_git (&git, &call, error, "rev-list", "--first-parent", "--parents", "--min-parents=2",
                           range, NULL);
    rota_workspace_tell (self, "merged", head);
    for (char *rest = output.bytes, *line; rest && status == 0 && (line = strsep (&rest, "\n"));)
        if (sscanf (line, "%64s %64s %64s", merge, onto, other) == 3 &&
            strcmp (other, self->spec.start) == 0) {
            rota_workspace_tell (self, "merged", merge);
            rota_workspace_tell (self, "onto", onto);
        }
    rota_bytes_clear (&output);
    return status < 0 ? status : rota_workspace_conclude (self, "done", "it is merged already");
}

/* "TREE\0", then the paths that conflict, each ended by NUL. */
static int conclude_conflict (rota_workspace_t *self, const char *at, const char *end)
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
    return rota_workspace_conclude (self, "conflict", "it conflicts with what %s has by now: %s%s",
                                    self->repository.integration + strlen ("refs/heads/"), said,
                                    count > CONFLICTS_SAID ? ", ..." : "");
}

static int merge_trees (rota_workspace_t *self, const char *head, char ret_tree[ROTA_GIT_OID_BYTES],
                        rota_error_t *error)
{
    const rota_git_t git = rota_clone_git (&self->clone);
    rota_bytes_t output = {.max_bytes = LIST_MAX_BYTES};
    int code = 0;
    const rota_git_call_t call = {.output = &output, .exit_code = &code};
    rota_error_t words = {""};
    int status = rota_git (&git, &call, &words, "merge-tree", "--write-tree", "-z", "--name-only",
                           "--no-messages", head, self->spec.start, NULL);
    if (status == 0 && code == 1 && output.bytes)
        status = conclude_conflict (self, output.bytes, output.bytes + output.size_bytes);
    else if (status == 0 && (code || !output.bytes || !rota_git_is_oid (output.bytes)))
        status = rota_workspace_conclude (self, "failed", "it can't be merged: %s", words.text);
    else if (status == 0)
        memcpy (ret_tree, output.bytes, strlen (output.bytes) + 1);
    else
        *error = words;
    rota_bytes_clear (&output);
    return status;
}

/* The gates on the merged tree, unless it is the one that passed them already. */
static int test (rota_workspace_t *self, const char *head, const char *merge, const char *tree,
                 rota_error_t *error)
{
    char tested[ROTA_GIT_OID_BYTES], before[ROTA_GIT_OID_BYTES];
    const char *failed = NULL;
    char *start = rota_pool_format (self->pool, "%s^{tree}", self->spec.start);
    char *onto = rota_pool_format (self->pool, "%s^{tree}", head);
    if (!start || !onto)
        return rota_error_set (error, -ENOMEM, "no memory");
    int status = rota_clone_resolve (&self->clone, start, tested, error);
    if (status == 0)
        status = rota_clone_resolve (&self->clone, onto, before, error);
    if (status < 0 || strcmp (tested, tree) == 0 || strcmp (before, tree) == 0 || self->spec.gate_count == 0)
        return status;
    json_array_clear (json_object_get (self->record, "gates"));
    status = rota_clone_clear (&self->clone, error);
    if (status == 0)
        status = rota_workspace_enter (self, merge, "rota-merge");
    if (status == 0)
        status = rota_workspace_run_gates (self, &failed, error);
    if (status == 0 && failed)
        status = rota_workspace_conclude (self, "failed", "merged with what %s has by now, the gate %s fails",
                                          self->repository.integration + strlen ("refs/heads/"), failed);
    return status;
}

/* What the task's attempts left is in the branch now: "rota-work/TASK.7" goes, and all before it. */
static void forget_attempts (rota_workspace_t *self)
{
    rota_error_t error = {""};
    const char *dot = strrchr (self->spec.branch, '.');
    char *prefix =
        dot ? rota_pool_format (self->pool, "%.*s", (int)(dot + 1 - self->spec.branch), self->spec.branch)
            : NULL;
    if (prefix && rota_repository_forget (&self->repository, prefix, &error) < 0)
        fprintf (stderr, "rota-agent: branches of earlier attempts stay: %s\n", error.text);
}

/* One try. 0 when the head was moved meanwhile, 1 when the step is concluded. */
static int try_once (rota_workspace_t *self, rota_error_t *error)
{
    char head[ROTA_GIT_OID_BYTES], tree[ROTA_GIT_OID_BYTES], merge[ROTA_GIT_OID_BYTES];
    bool moved = false, merged = false;
    int status = rota_repository_integration (&self->repository, head, &moved, error);
    if (status < 0)
        return status;
    if (self->spec.left)
        moved = strcmp (self->spec.left, head) != 0;
    if (!json_object_get (self->record, "head_moved"))
        json_object_set_new (self->record, "head_moved", json_boolean (moved));
    status = is_merged (self, head, &merged, error);
    if (status < 0 || merged)
        return status < 0 ? status : tell_again (self, head, error);
    status = merge_trees (self, head, tree, error);
    const char *const parents[] = {head, self->spec.start, NULL};
    const char *subject = self->spec.title ? self->spec.title : self->spec.task ? self->spec.task : "";
    if (status == 0)
        status = rota_workspace_commit (self, tree, parents, self->name, subject, true, merge, error);
    if (status == 0)
        status = test (self, head, merge, tree, error);
    if (status == 0)
        status = rota_workspace_measure (self, head, tree, NULL, NULL, error);
    if (status == 0 && rota_stop_look (&self->stop))
        status = rota_error_set (error, -EINTR, "told to stop");
    if (status == 0)
        status = rota_repository_bring (&self->repository, merge, error);
    if (status == 0)
        status = rota_repository_advance (&self->repository, head, merge, error);
    if (status == -EAGAIN)
        return 0;
    if (status != 0)
        return status;
    rota_workspace_tell (self, "merged", merge);
    rota_workspace_tell (self, "onto", head);
    rota_workspace_tell (self, "tree", tree);
    forget_attempts (self);
    return rota_workspace_conclude (self, "done", "%s", "");
}

int rota_workspace_merge (rota_workspace_t *self)
{
    rota_error_t error = {""};
    char start[ROTA_GIT_OID_BYTES], *name = rota_pool_format (self->pool, "%s^{commit}", self->spec.start);
    int status = name ? rota_clone_resolve (&self->clone, name, start, &error) : -ENOMEM;
    if (status == 0 && strcmp (start, self->spec.start) != 0)
        status =
            rota_error_set (&error, -EBADMSG, "%s has no commit %s", self->spec.repository, self->spec.start);
    if (status == 0) {
        rota_workspace_tell (self, "commit", start);
        rota_workspace_tell (self, "integration", self->repository.integration + strlen ("refs/heads/"));
    }
    for (int tries = 0; tries < TRIES && status == 0; tries++)
        status = try_once (self, &error);
    if (status == 0)
        status = rota_error_set (&error, -EAGAIN, "%s is moved all the time", self->repository.integration);
    /* Cut short: what there is of it counts for nothing. */
    return status == -EINTR || status == 1 ? 1 : rota_workspace_fail (self, &error);
}
