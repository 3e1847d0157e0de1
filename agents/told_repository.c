#include "agents/told_repository.h"

#include "bus/names.h"
#include "bus/terms.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TERMS_MAX 12
#define FILES_MAX 200000
#define PATH_MAX_BYTES 180
#define TREE_MAX_BYTES ((size_t)64 << 20)
#define FOUND_MAX_BYTES ((size_t)4 << 20)
#define RULES_MAX_BYTES 4096
#define COMMITS "400"
#define SEARCH_MS 5000 /* then what was found until there counts */

enum { IN_NAME = 30, TOUCHED = 100, IN_CONTENT = 4, CONTENT_MOST = 6, IN_HISTORY = 10, HISTORY_MOST = 4 };

typedef struct {
    const char *path;
    int score;
    int content, history;
    const char *why;
} file_t;

typedef struct {
    rota_told_t *told;
    const rota_git_t *git;
    const char *commit;
    rota_term_t terms[TERMS_MAX];
    size_t term_count;
    file_t *files; /* sorted by path */
    size_t count;
} search_t;

/* ---- the files that there are */

static bool is_plain (const char *path)
{
    size_t length = strlen (path);
    return length <= PATH_MAX_BYTES && rota_text_is_valid (path, length, false);
}

static int compare_paths (const void *a, const void *b)
{
    return strcmp (((const file_t *)a)->path, ((const file_t *)b)->path);
}

static void list_files (search_t *self, const rota_bytes_t *tree)
{
    self->files = rota_pool_alloc (self->told->pool, FILES_MAX * sizeof *self->files);
    const char *at = tree->bytes, *end = at ? at + tree->size_bytes : at;
    for (; self->files && at < end && self->count < FILES_MAX; at += strlen (at) + 1)
        if (is_plain (at))
            self->files[self->count++] = (file_t){.path = at};
    if (self->files)
        qsort (self->files, self->count, sizeof *self->files, compare_paths);
}

static file_t *find (search_t *self, const char *path)
{
    const file_t wanted = {.path = path};
    return self->count ? bsearch (&wanted, self->files, self->count, sizeof *self->files, compare_paths)
                       : NULL;
}

/* ---- what leads to them */

static void look_at_names (search_t *self, const char *const *touches)
{
    for (size_t i = 0; i < self->count; i++) {
        file_t *file = &self->files[i];
        size_t shared = rota_terms_shared (self->terms, self->term_count, file->path, strlen (file->path));
        /* "parser" is found in "json_parser.c" too, at half the price. */
        for (size_t t = 0; t < self->term_count && !shared; t++)
            if (strlen (self->terms[t]) >= 4 && strcasestr (file->path, self->terms[t])) {
                file->score += IN_NAME / 2;
                file->why = "by its name";
                break;
            }
        file->score += IN_NAME * (int)shared;
        if (shared)
            file->why = "by its name";
        for (const char *const *glob = touches; glob && *glob; glob++)
            if (fnmatch (*glob, file->path, 0) == 0) {
                file->score += TOUCHED;
                file->why = "the task says that it touches it";
                break;
            }
    }
}

/* "COMMIT:PATH\0LINES\n" of each file with one of the words in it. */
static void look_at_content (search_t *self)
{
    const char *more[2 * TERMS_MAX + 4];
    size_t count = 0;
    int exit_code = 0;
    rota_bytes_t found = {.max_bytes = FOUND_MAX_BYTES};
    for (size_t i = 0; i < self->term_count; i++) {
        more[count++] = "-e";
        more[count++] = self->terms[i];
    }
    more[count++] = self->commit;
    more[count] = NULL;
    const rota_git_call_t call = {
        .output = &found, .more = more, .exit_code = &exit_code, .timeout_ms = SEARCH_MS};
    rota_error_t error;
    int status = self->term_count ? rota_git (self->git, &call, &error, "grep", "-I", "-i", "-F", "-c", "-z",
                                              "-w", "--no-recurse-submodules", "--threads=1", NULL)
                                  : -ENOENT;
    size_t prefix = strlen (self->commit) + 1;
    char *at = found.bytes, *end = at ? at + found.size_bytes : at;
    while (status != -ENOENT && at < end) {
        char *lines = memchr (at, 0, (size_t)(end - at)),
             *stop = lines ? memchr (lines, '\n', (size_t)(end - lines)) : NULL;
        if (!stop)
            break;
        file_t *file = (size_t)(lines - at) > prefix ? find (self, at + prefix) : NULL;
        long number = strtol (lines + 1, NULL, 10);
        if (file)
            file->content = number < CONTENT_MOST ? (int)number : CONTENT_MOST;
        at = stop + 1;
    }
    rota_bytes_clear (&found);
    for (size_t i = 0; i < self->count; i++) {
        file_t *file = &self->files[i];
        file->score += IN_CONTENT * file->content;
        if (file->content && !file->why)
            file->why = "by what is in it";
    }
}

/* Commits whose subject has one of the words: what they changed. "\x01SUBJECT\0" and then "PATH\0"... */
static void look_at_history (search_t *self)
{
    rota_bytes_t log = {.max_bytes = FOUND_MAX_BYTES};
    const rota_git_call_t call = {.output = &log, .timeout_ms = SEARCH_MS};
    rota_error_t error;
    int status = self->term_count
                     ? rota_git (self->git, &call, &error, "log", "-z", "-n", COMMITS, "--no-renames",
                                 "--name-only", "--no-show-signature", "--format=%x01%s", self->commit, NULL)
                     : -ENOENT;
    bool counts = false;
    const char *at = log.bytes, *end = at ? at + log.size_bytes : at;
    while (status != -ENOENT && at < end) {
        size_t length = strnlen (at, (size_t)(end - at));
        const char *name = at;
        if (*name == '\n')
            name++;
        if (*name == '\x01') {
            const char *paths = memchr (name, '\n', length - (size_t)(name - at));
            size_t subject = paths ? (size_t)(paths - name) : length - (size_t)(name - at);
            counts = rota_terms_shared (self->terms, self->term_count, name, subject) > 0;
            name = paths ? paths + 1 : at + length;
        }
        file_t *file = counts && *name && at + length < end ? find (self, name) : NULL;
        if (file && file->history < HISTORY_MOST)
            file->history++;
        at += length + 1;
    }
    rota_bytes_clear (&log);
    for (size_t i = 0; i < self->count; i++) {
        file_t *file = &self->files[i];
        if (file->history < 2 && !file->score) /* one commit, as the first, may have changed anything */
            continue;
        file->score += IN_HISTORY * file->history;
        if (file->history && !file->why)
            file->why = "commits like this changed it";
    }
}

static int compare_scores (const void *a, const void *b)
{
    const file_t *one = a, *two = b;
    if (one->score != two->score)
        return one->score > two->score ? -1 : 1;
    return strcmp (one->path, two->path);
}

/* ---- rules */

static const char *const RULES[] = {"CLAUDE.md",
                                    "AGENTS.md",
                                    "CONTRIBUTING.md",
                                    ".github/CONTRIBUTING.md",
                                    ".github/copilot-instructions.md",
                                    ".cursorrules",
                                    "docs/CONTRIBUTING.md"};

static void take_rules (search_t *self)
{
    for (size_t i = 0; i < sizeof RULES / sizeof *RULES; i++) {
        rota_bytes_t text = {.max_bytes = RULES_MAX_BYTES};
        const rota_git_call_t call = {.output = &text};
        rota_error_t error;
        char *name = find (self, RULES[i])
                         ? rota_pool_format (self->told->pool, "%s:%s", self->commit, RULES[i])
                         : NULL;
        int status = name ? rota_git (self->git, &call, &error, "cat-file", "blob", name, NULL) : -ENOENT;
        char *part =
            (status == 0 || status == -E2BIG) && text.size_bytes && !memchr (text.bytes, 0, text.size_bytes)
                ? rota_pool_format (self->told->pool, "%s:\n%.*s", RULES[i], (int)text.size_bytes, text.bytes)
                : NULL;
        if (part)
            rota_told_add (self->told, "rules", 100 - (int)i, part, strlen (part));
        rota_bytes_clear (&text);
    }
}

void rota_told_repository (rota_told_t *told, const rota_git_t *git, const char *commit, const char *about,
                           const char *const *touches, size_t most_files)
{
    search_t self = {.told = told, .git = git, .commit = commit};
    rota_bytes_t tree = {.max_bytes = TREE_MAX_BYTES};
    const rota_git_call_t call = {.output = &tree};
    rota_error_t error;
    int status =
        rota_git (git, &call, &error, "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit, NULL);
    if (status == 0)
        list_files (&self, &tree);
    self.term_count = rota_terms_add (self.terms, 0, TERMS_MAX, about, strlen (about));
    if (self.count) {
        take_rules (&self);
        look_at_names (&self, touches);
        look_at_content (&self);
        look_at_history (&self);
        qsort (self.files, self.count, sizeof *self.files, compare_scores);
    }
    for (size_t i = 0; i < self.count && i < most_files && self.files[i].score > 0; i++) {
        char *part = rota_pool_format (told->pool, "%s (%s)", self.files[i].path,
                                       self.files[i].why ? self.files[i].why : "");
        if (part)
            rota_told_add (told, "file", self.files[i].score, part, strlen (part));
    }
    rota_bytes_clear (&tree);
}
