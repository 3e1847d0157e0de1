/* globs.h - whether two lists of globs can mean the same path.
 *
 * Decided conservatively: what may meet counts as meeting. `*`, `?` and `[...]` stay in a directory, `**`
 * does not; `{...}` and `!...` count as anything; a glob means what it names and all below it; one with a
 * wildcard and without a slash is meant in every directory. Pure; tested as a table
 * (tests/unit/test_globs.c).
 */
#ifndef ROTA_GLOBS_H
#define ROTA_GLOBS_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

bool rota_glob_overlap (const char *a, size_t a_length, const char *b, size_t b_length);

typedef struct {
    const char *a, *b; /* into the lists */
    size_t a_length, b_length;
} rota_globs_pair_t;
/* Lists with one glob a line, NUL-terminated. True with the first pair that meets in *ret_pair. */
bool rota_globs_overlap (const char *a, const char *b, rota_globs_pair_t *ret_pair);

/* Paths that something changed as such a list, of at most `most` bytes (2 and up) in ret_list, which has room
 * for one more. Returns its length. What is no path (empty, with a line break or a NUL) is left out. A list
 * that doesn't fit becomes "**", which meets everything: a part of it would say that the rest is free. */
size_t rota_globs_join (const ProtobufCBinaryData *paths, size_t count, size_t most, char *ret_list);

#endif
