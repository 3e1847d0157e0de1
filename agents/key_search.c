/* key_search.c - keys in what is to be published: in the difference as a whole, in each commit of its history
 * and in what those say. By the shapes that keys have, and by the values that the program was given.
 *
 * A merge is looked at by what it has beyond git's own merge of its parents: what came with one of them was
 * looked at there, or is on the branch already.
 */
#include "agents/secrets.h"
#include "agents/workspace_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES ((size_t)64 << 10)
#define VALUES_MAX 64
#define VALUE_LEAST_BYTES 8 /* shorter ones are words */

/* Before each commit's text, which is indented by a blank: no line of a difference begins with either, but
 * inside of a hunk. */
#define COMMIT_MARK '\001'
#define COMMIT_FORMAT "--format=%x01%H%n%w(0,1,1)%an <%ae>%n%cn <%ce>%n%B"

typedef struct {
    const char *name;
    const char *bytes; /* its longest line, not ended */
    size_t size_bytes; /* what the search sees at once, at most */
} value_t;

/* Follows a difference without context, line by line, however long those are. */
typedef struct {
    value_t values[VALUES_MAX];
    size_t value_count;
    bool shapes;
    char line[LINE_BYTES], path[256], commit[16]; /* commit "" = of the difference as a whole */
    size_t used;
    unsigned long old_left, new_left, number; /* lines of the hunk to come; the number of the next new one */
    const char *what, *name;                  /* the first that was found, there: */
    char where[300];
} scan_t;

static void add_value (scan_t *self, const char *name)
{
    const char *text = getenv (name);
    value_t value = {.name = name};
    while (text && *text) {
        size_t length = strcspn (text, "\n");
        if (length > value.size_bytes) {
            value.bytes = text;
            value.size_bytes = length;
        }
        text += length + (text[length] == '\n');
    }
    if (value.size_bytes > ROTA_SECRET_MAX_BYTES)
        value.size_bytes = ROTA_SECRET_MAX_BYTES;
    if (value.size_bytes >= VALUE_LEAST_BYTES && self->value_count < VALUES_MAX)
        self->values[self->value_count++] = value;
}

static void scan_header (scan_t *self)
{
    unsigned long old = 1, new = 1;
    if (*self->line == COMMIT_MARK) {
        snprintf (self->commit, sizeof self->commit, "%.12s", self->line + 1);
        return;
    }
    if (strncmp (self->line, "+++ ", 4) == 0) {
        snprintf (self->path, sizeof self->path, "%s",
                  self->line + (strncmp (self->line + 4, "b/", 2) ? 4 : 6));
        return;
    }
    if (strncmp (self->line, "@@ -", 4) != 0)
        return;
    char *at;
    strtoul (self->line + 4, &at, 10);
    if (*at == ',')
        old = strtoul (at + 1, &at, 10);
    if (strncmp (at, " +", 2) != 0)
        return;
    self->number = strtoul (at + 2, &at, 10);
    if (*at == ',')
        new = strtoul (at + 1, &at, 10);
    self->old_left = old;
    self->new_left = new;
}

static bool is_inside (const scan_t *self)
{
    return self->old_left || self->new_left;
}

/* An added line, or one of a commit's text. */
static void scan_part (scan_t *self)
{
    bool of_commit = *self->line == ' ' && !is_inside (self);
    if (self->what || self->name || !(of_commit || (*self->line == '+' && is_inside (self))))
        return;
    for (size_t i = 0; i < self->value_count && !self->name; i++)
        if (memmem (self->line + 1, self->used - 1, self->values[i].bytes, self->values[i].size_bytes))
            self->name = self->values[i].name;
    if (!self->name && self->shapes)
        self->what = rota_secret_find (self->line + 1, self->used - 1);
    if (!self->what && !self->name)
        return;
    if (of_commit)
        snprintf (self->where, sizeof self->where, "what commit %s says", self->commit);
    else if (*self->commit)
        snprintf (self->where, sizeof self->where, "%.200s:%lu of commit %s", self->path, self->number,
                  self->commit);
    else
        snprintf (self->where, sizeof self->where, "%s:%lu", self->path, self->number);
}

static void scan_line (scan_t *self)
{
    self->line[self->used] = '\0';
    scan_part (self);
    if (!is_inside (self)) {
        scan_header (self);
    } else if (*self->line == '-' && self->old_left) {
        self->old_left--;
    } else if (*self->line == '+' && self->new_left) {
        self->new_left--;
        self->number++;
    }
}

static void scan (void *context, const char *bytes, size_t size)
{
    scan_t *self = context;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '\n') {
            scan_line (self);
            self->used = 0;
            continue;
        }
        if (self->used == sizeof self->line - 1) {
            /* The rest of it is looked at as a line of the same kind. */
            scan_part (self);
            memmove (self->line + 1, self->line + self->used - ROTA_SECRET_MAX_BYTES, ROTA_SECRET_MAX_BYTES);
            self->used = ROTA_SECRET_MAX_BYTES + 1;
        }
        self->line[self->used++] = bytes[i];
    }
}

/* Octopus merges, which git doesn't make anew to compare, are looked at whole. */
static int scan_history (rota_workspace_t *self, const rota_git_call_t *call, const char *base,
                         const char *tip, rota_error_t *error)
{
    static const char *const PLAIN[] = {"--remerge-diff", "--max-parents=2"};
    static const char *const OCTOPUS[] = {"-m", "--min-parents=3"};
    const rota_git_t git = rota_clone_git (&self->clone);
    const char *range = rota_pool_format (self->pool, "%s..%s", base, tip);
    int status = range ? 0 : rota_error_set (error, -ENOMEM, "no memory");
    for (size_t i = 0; i < 2 && status == 0; i++) {
        const char *const *which = i ? OCTOPUS : PLAIN;
        status = rota_git (&git, call, error, "log", "-p", "-a", "-U0", "--no-ext-diff", "--no-textconv",
                           "--no-color", "--no-renames", "--no-show-signature", "--encoding=UTF-8",
                           COMMIT_FORMAT, which[0], which[1], range, "--", NULL);
    }
    return status;
}

int rota_workspace_find_key (rota_workspace_t *self, const char *base, const char *tip, const char *tree,
                             bool shapes, const char **ret_found, rota_error_t *error)
{
    const rota_git_t git = rota_clone_git (&self->clone);
    scan_t *found = calloc (1, sizeof *found);
    const char *words = NULL;
    if (!found)
        return rota_error_set (error, -ENOMEM, "no memory");
    const rota_git_call_t call = {.take = scan, .context = found};
    found->shapes = shapes;
    for (const char *const *name = self->spec.credentials; *name; name++)
        add_value (found, *name);
    int status = 0;
    if (shapes || found->value_count)
        status = rota_git (&git, &call, error, "diff-tree", "-r", "-p", "-a", "-U0", "--no-ext-diff",
                           "--no-textconv", "--no-color", "--no-renames", base, tree, NULL);
    if (status == 0 && (shapes || found->value_count) && !found->what && !found->name)
        status = scan_history (self, &call, base, tip, error);
    if (found->name)
        words = rota_pool_format (self->pool, "%s has the value of %s", found->where, found->name);
    else if (found->what)
        words = rota_pool_format (self->pool, "%s looks like %s", found->where, found->what);
    if (status == 0 && !words && (found->name || found->what))
        status = rota_error_set (error, -ENOMEM, "no memory");
    *ret_found = words;
    free (found);
    return status;
}
