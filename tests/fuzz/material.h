/* material.h - bytes of a fuzzer as a file, for parsers that read files; and the patterns that none may try.
 */
#ifndef ROTA_FUZZ_MATERIAL_H
#define ROTA_FUZZ_MATERIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A path by which these bytes can be read until the next call. */
const char *fuzz_file (const uint8_t *data, size_t size_bytes);

/* Whether a pattern in it may cost the C library's regcomp or regexec without bound: repetition counts within
 * each other, and references back. Who writes such a pattern into his own settings waits for it. */
bool fuzz_is_costly (const uint8_t *data, size_t size_bytes);

#endif
