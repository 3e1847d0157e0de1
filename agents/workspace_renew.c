/* workspace_renew.c - work that is gone on with after the integration branch has moved.
 */
#include "agents/workspace_internal.h"

#include <errno.h>
#include <string.h>

#define LIST_MAX_BYTES ((size_t)16 << 20)
#define CONFLICTS_MAX 1000

/* Of "TREE\0PATH\0...\0": the paths, of which there is one at least. */
static int keep_conflicts (rota_workspace_t *self, const char *at, const char *end, rota_error_t *error)
{
    const char **list = rota_pool_alloc (self->pool, (CONFLICTS_MAX + 1) * sizeof *list);
    size_t count = 0;
    for (at += strlen (at) + 1; list && at < end && *at && count < CONFLICTS_MAX; at += strlen (at) + 1)
        if (!(list[count++] = rota_pool_text (self->pool, at, strlen (at))))
            list = NULL;
    self->conflicts = list;
    return list ? 0 : rota_error_set (error, -ENOMEM, "no memory");
}

static int merge_trees (rota_workspace_t *self, const char *head, const char *start,
                        char ret_tree[ROTA_GIT_OID_BYTES], rota_error_t *error)
{
    const rota_git_t git = rota_clone_git (&self->clone);
    rota_bytes_t output = {.max_bytes = LIST_MAX_BYTES};
    int code = 0;
    const rota_git_call_t call = {.output = &output, .exit_code = &code};
    *ret_tree = '\0';
    int status = rota_git (&git, &call, error, "merge-tree", "--write-tree", "-z", "--name-only",
                           "--no-messages", start, head, NULL);
    /* Histories without a common commit can't be merged: the work goes on as it is. */
    if (status == 0 && code <= 1 && output.bytes && rota_git_is_oid (output.bytes))
        memcpy (ret_tree, output.bytes, strlen (output.bytes) + 1);
    if (status == 0 && *ret_tree && code == 1)
        status = keep_conflicts (self, output.bytes, output.bytes + output.size_bytes, error);
    rota_bytes_clear (&output);
    return status;
}

int rota_workspace_bring_up (rota_workspace_t *self, const char *head, const char *start,
                             char ret_commit[ROTA_GIT_OID_BYTES], rota_error_t *error)
{
    const rota_git_t git = rota_clone_git (&self->clone);
    char tree[ROTA_GIT_OID_BYTES], subject[256];
    int code = 0;
    const rota_git_call_t call = {.exit_code = &code};
    const char *const parents[] = {start, head, NULL};
    snprintf (ret_commit, ROTA_GIT_OID_BYTES, "%s", start);
    int status = rota_git (&git, &call, error, "merge-base", "--is-ancestor", head, start, NULL);
    if (status < 0 || code == 0)
        return status;
    status = merge_trees (self, head, start, tree, error);
    if (status < 0 || !*tree)
        return status;
    snprintf (subject, sizeof subject, "Bring %.150s up to %.80s", self->spec.task ? self->spec.task : "it",
              self->repository.integration + strlen ("refs/heads/"));
    return rota_workspace_commit (self, tree, parents, self->name, subject, false, ret_commit, error);
}

int rota_workspace_find_marks (rota_workspace_t *self, const char *tree, const char **ret_path,
                               rota_error_t *error)
{
    const rota_git_t git = rota_clone_git (&self->clone);
    *ret_path = NULL;
    for (const char **path = self->conflicts; path && *path && !*ret_path; path++) {
        int code = 0;
        const char *const more[] = {*path, NULL};
        const rota_git_call_t call = {.exit_code = &code, .more = more};
        int status = rota_git (&git, &call, error, "--literal-pathspecs", "grep", "-q", "-e", "^<<<<<<< ",
                               "-e", "^>>>>>>> ", tree, "--", NULL);
        if (status < 0)
            return status;
        if (code == 0)
            *ret_path = *path;
    }
    return 0;
}
