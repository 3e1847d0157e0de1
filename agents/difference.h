/* difference.h - a difference that is too large for one prompt, cut into parts: whole files together where
 * they fit, else at hunks, else between lines. Nothing is left out: each byte of a hunk is in exactly one
 * part, and each part says of which file it is.
 *
 * Pure. `text` is what git prints: "diff --git ..." begins a file, "@@ -" a hunk of it.
 */
#ifndef ROTA_DIFFERENCE_H
#define ROTA_DIFFERENCE_H

#include "agents/child.h"

#define ROTA_DIFFERENCE_PARTS_MAX 100
#define ROTA_DIFFERENCE_PART_MIN_BYTES 4096

/* How many parts of about `limit_bytes` there are (at least 1, also of nothing); that of number `part`, from
 * 1, goes into ret_text, which may be NULL. */
size_t rota_difference_part (const char *text, size_t size_bytes, size_t limit_bytes, size_t part,
                             rota_bytes_t *ret_text);

#endif
