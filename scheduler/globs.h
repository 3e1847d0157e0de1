/* globs.h - whether two lists of globs can mean the same path.
 *
 * Decided conservatively: what may meet counts as meeting. `*`, `?` and `[...]` stay in a directory, `**`
 * does not; `{...}` and `!...` count as anything; a glob means what it names and all below it; one with a
 * wildcard and without a slash is meant in every directory. Pure; tested as a table
 * (tests/unit/test_globs.c).
 */
#ifndef ROTA_GLOBS_H
#define ROTA_GLOBS_H

#include <stdbool.h>
#include <stddef.h>

bool rota_glob_overlap (const char *a, size_t a_length, const char *b, size_t b_length);

typedef struct {
    const char *a, *b; /* into the lists */
    size_t a_length, b_length;
} rota_globs_pair_t;
/* Lists with one glob a line, NUL-terminated. True with the first pair that meets in *ret_pair. */
bool rota_globs_overlap (const char *a, const char *b, rota_globs_pair_t *ret_pair);

#endif
