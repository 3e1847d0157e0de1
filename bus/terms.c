#include "bus/terms.h"

#include <stdlib.h>
#include <string.h>

#define LEAST_BYTES 3
#define SHARED_MAX 256

/* Sorted. */
static const char *const COMMON[] = {
    "about",  "add",    "after",   "again", "all",   "also",      "and",   "any",    "are",   "because",
    "been",   "before", "between", "bug",   "build", "but",       "can",   "change", "check", "code",
    "could",  "create", "data",    "does",  "done",  "each",      "every", "file",   "files", "fix",
    "for",    "from",   "has",     "have",  "how",   "implement", "into",  "its",    "make",  "may",
    "more",   "must",   "need",    "new",   "not",   "one",       "only",  "other",  "out",   "project",
    "run",    "set",    "should",  "some",  "such",  "task",      "test",  "tests",  "than",  "that",
    "the",    "their",  "them",    "then",  "there", "these",     "they",  "this",   "those", "two",
    "update", "use",    "used",    "using", "was",   "well",      "were",  "what",   "when",  "where",
    "which",  "who",    "will",    "with",  "work",  "would",     "write", "you",    "your",
};

static bool is_part (char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static int compare_word (const void *a, const void *b)
{
    return strcmp (a, *(const char *const *)b);
}

static bool is_common (const char *term)
{
    return bsearch (term, COMMON, sizeof COMMON / sizeof *COMMON, sizeof *COMMON, compare_word) != NULL;
}

/* The next word from *at on that may be a term, common or not; false at the end. */
static bool next_word (const char **at, const char *end, rota_term_t ret_term, size_t *ret_length)
{
    while (*at < end) {
        while (*at < end && !is_part (**at))
            ++*at;
        const char *start = *at;
        while (*at < end && is_part (**at))
            ++*at;
        size_t length = (size_t)(*at - start);
        if (length < LEAST_BYTES || length >= ROTA_TERM_BYTES)
            continue;
        for (size_t i = 0; i < length; i++)
            ret_term[i] = start[i] >= 'A' && start[i] <= 'Z' ? (char)(start[i] + ('a' - 'A')) : start[i];
        ret_term[length] = '\0';
        *ret_length = length;
        return true;
    }
    return false;
}

static bool next (const char **at, const char *end, rota_term_t ret_term)
{
    size_t length;
    while (next_word (at, end, ret_term, &length))
        if (!is_common (ret_term))
            return true;
    return false;
}

static size_t find (const rota_term_t *terms, size_t count, const char *term)
{
    size_t at = 0;
    while (at < count && strcmp (terms[at], term) != 0)
        at++;
    return at;
}

size_t rota_terms_add (rota_term_t *terms, size_t count, size_t capacity, const char *text, size_t length)
{
    rota_term_t term;
    const char *at = text, *end = text + length;
    while (count < capacity && next (&at, end, term))
        if (find (terms, count, term) == count)
            memcpy (terms[count++], term, sizeof term);
    return count;
}

/* Tells most words apart, at a glance. */
static unsigned sketch (const char *term, size_t length)
{
    return (unsigned)length << 16 | (unsigned)(unsigned char)term[0] << 8 | (unsigned char)term[length - 1];
}

/* This is what a search for what concerns a task costs most of: hundreds of texts with few words in common.
 * No term is common, so that whether a word is isn't asked. */
size_t rota_terms_shared (const rota_term_t *terms, size_t count, const char *text, size_t length)
{
    rota_term_t word;
    unsigned sketches[SHARED_MAX];
    bool seen[SHARED_MAX] = {false};
    size_t shared = 0, word_length;
    const char *at = text, *end = text + length;
    if (count > SHARED_MAX)
        count = SHARED_MAX;
    for (size_t i = 0; i < count; i++)
        sketches[i] = sketch (terms[i], strlen (terms[i]));
    while (shared < count && next_word (&at, end, word, &word_length)) {
        unsigned mine = sketch (word, word_length);
        for (size_t i = 0; i < count; i++)
            if (sketches[i] == mine && !seen[i] && memcmp (terms[i], word, word_length) == 0) {
                seen[i] = true;
                shared++;
                break;
            }
    }
    return shared;
}

void rota_terms_sort (rota_term_t *terms, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t j = i; j > 0 && strlen (terms[j]) > strlen (terms[j - 1]); j--) {
            rota_term_t kept;
            memcpy (kept, terms[j], sizeof kept);
            memcpy (terms[j], terms[j - 1], sizeof kept);
            memcpy (terms[j - 1], kept, sizeof kept);
        }
}
