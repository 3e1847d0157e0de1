/* clone_refs.c - commits in a clone that its HEAD doesn't lead to: on other branches, or put away as a stash.
 * Nobody would see them again, so work that leaves some isn't what it is said to be.
 */
#include "agents/clone_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BRANCHES "refs/heads/"
#define MISSING " missing"
#define REFS_MAX 100 /* with commits of their own */

/* Of lines "OBJECT REF" those whose object git, as `ours` is now, hasn't. */
static int keep_new (const rota_clone_t *self, const char *lines, rota_bytes_t *ret_refs, rota_error_t *error)
{
    const rota_git_t git = rota_clone_git (self);
    rota_bytes_t names = {.max_bytes = ret_refs->max_bytes}, answers = {.max_bytes = 2 * ret_refs->max_bytes};
    for (const char *at = lines; *at; at += strcspn (at, "\n"), at += *at == '\n') {
        rota_bytes_take (&names, at, strcspn (at, " \n"));
        rota_bytes_take (&names, "\n", 1);
    }
    const rota_git_call_t call = {.output = &answers, .input = names.bytes, .input_bytes = names.size_bytes};
    int status =
        names.size_bytes ? rota_git (&git, &call, error, "cat-file", "--batch-check=%(objecttype)", NULL) : 0;
    /* A line for each, in the same order: its type, or "OBJECT missing". */
    const char *answer = answers.bytes ? answers.bytes : "";
    for (const char *at = lines; *at && status == 0; at += strcspn (at, "\n"), at += *at == '\n') {
        size_t length = strcspn (answer, "\n");
        if (length > strlen (MISSING) &&
            strncmp (answer + length - strlen (MISSING), MISSING, strlen (MISSING)) == 0) {
            rota_bytes_take (ret_refs, at, strcspn (at, "\n"));
            rota_bytes_take (ret_refs, "\n", 1);
        }
        answer += length + (answer[length] == '\n');
    }
    rota_bytes_clear (&names);
    rota_bytes_clear (&answers);
    return status;
}

int rota_clone_list_refs (const rota_clone_t *self, const char *git_dir, rota_bytes_t *ret_refs,
                          rota_error_t *error)
{
    const rota_git_t git = {.environment = self->repository->environment, .git_dir = git_dir};
    rota_bytes_t lines = {.max_bytes = ret_refs->max_bytes};
    const rota_git_call_t call = {.output = &lines};
    int status = rota_git (&git, &call, error, "for-each-ref", "--format=%(objectname) %(refname)", BRANCHES,
                           "refs/stash", NULL);
    if (status == -E2BIG)
        status = rota_error_set (error, -EBADMSG, "its clone has more branches than can be looked through");
    if (status == 0 && lines.bytes)
        status = keep_new (self, lines.bytes, ret_refs, error);
    rota_bytes_clear (&lines);
    return status;
}

static int is_in_work (const rota_clone_t *self, const char *oid, const rota_clone_work_t *work, bool *ret_is,
                       rota_error_t *error)
{
    const rota_git_t git = rota_clone_git (self);
    char tree[ROTA_GIT_OID_BYTES], *name = rota_pool_format (self->pool, "%s^{tree}", oid);
    int code = 0;
    const rota_git_call_t call = {.exit_code = &code};
    int status = name ? rota_clone_resolve (self, name, tree, error) : -ENOMEM;
    *ret_is = status == 0 && strcmp (tree, work->tree) == 0;
    if (status == 0 && !*ret_is) {
        status = rota_git (&git, &call, error, "merge-base", "--is-ancestor", oid, work->tip, NULL);
        *ret_is = status == 0 && code == 0;
    }
    return status;
}

int rota_clone_find_left (const rota_clone_t *self, const rota_bytes_t *refs, rota_clone_work_t *work,
                          rota_error_t *error)
{
    char *lines = refs->bytes ? rota_pool_text (self->pool, refs->bytes, refs->size_bytes) : NULL;
    const char *first = NULL, *commit = NULL;
    size_t count = 0, seen = 0;
    if (refs->bytes && !lines)
        return rota_error_set (error, -ENOMEM, "no memory");
    for (char *line; (line = strsep (&lines, "\n"));) { /* the last one is empty */
        const char *oid = strsep (&line, " ");
        bool is = true;
        int status = line ? is_in_work (self, oid, work, &is, error) : 0;
        if (status == 0 && line && ++seen > REFS_MAX)
            status =
                rota_error_set (error, -EBADMSG, "its clone has more than %d branches of its own", REFS_MAX);
        if (status < 0)
            return status;
        if (!is && count++ == 0) {
            first = line;
            commit = oid;
        }
    }
    if (!count)
        return 0;
    const char *more = count > 1 ? rota_pool_format (self->pool, ", and %zu more", count - 1) : "";
    bool is_branch = strncmp (first, BRANCHES, strlen (BRANCHES)) == 0;
    if (more && is_branch)
        work->left =
            rota_pool_format (self->pool, "commits on branch %s are not in what it handed in: %.12s%s",
                              first + strlen (BRANCHES), commit, more);
    else if (more)
        work->left = rota_pool_format (
            self->pool, "what it put away with git stash is not in what it handed in: %.12s%s", commit, more);
    return work->left ? 0 : rota_error_set (error, -ENOMEM, "no memory");
}
