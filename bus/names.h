/* names.h - ids: what may be one, and how one becomes part of a file or branch name. */
#ifndef ROTA_NAMES_H
#define ROTA_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROTA_ID_MAX_BYTES 200
#define ROTA_INSTANCE_BYTES 16

/* 0, or -EINVAL with the reason in *ret_reason (a static sentence): empty, over 200 bytes, a control
 * character, invalid UTF-8, NUL, leading or trailing blank. */
int rota_id_check (const char *id, size_t length, const char **ret_reason);

/* Valid UTF-8 without NUL (and, with `lines` false, without control characters). */
bool rota_text_is_valid (const char *text, size_t length, bool lines);

/* Length of the well-formed UTF-8 sequence at `bytes` (`length` > 0 bytes), 0 when it is none: no overlong
 * forms, no surrogates, nothing over U+10FFFF (Unicode, table 3-7). */
size_t rota_utf8_sequence (const char *bytes, size_t length);

/* The one encoding for branches, directories and logs (design 14.3): [A-Za-z0-9_-] kept, other bytes %XX,
 * over 80 bytes cut plus hash. Two ids never share a name. */
#define ROTA_ENCODED_MAX_BYTES 104
void rota_id_encode (const char *id, size_t length, char ret_name[ROTA_ENCODED_MAX_BYTES]);

/* The branch that holds what an attempt did, "rota-work/NAME.7": the same, but for the "~" of a cut name,
 * which git doesn't take, and which is "+" there. */
#define ROTA_BRANCH_MAX_BYTES (ROTA_ENCODED_MAX_BYTES + 32)
void rota_branch_name (const char *id, size_t length, uint32_t attempt, char ret_name[ROTA_BRANCH_MAX_BYTES]);

/* 16 random bytes from the kernel. Aborts when the kernel has none to give: nothing safe can follow. */
void rota_instance_new (uint8_t ret_instance[ROTA_INSTANCE_BYTES]);

/* FNV-1a 64: for tables and change detection, never for security. */
uint64_t rota_hash (const void *bytes, size_t length);

#endif
