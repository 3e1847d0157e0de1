/* cursor.h - the file journal/cursor: up to where the journal is certainly on disk.
 *
 * Saved after the fsync of what it covers, by temporary file, fsync and rename, so a reader finds the old one
 * or the new one. It belongs to one incarnation of the store; in another, the numbers mean other events.
 */
#ifndef ROTA_CURSOR_H
#define ROTA_CURSOR_H

#include "bus/names.h"
#include "telemetry/files.h"

typedef struct {
    uint8_t store[ROTA_INSTANCE_BYTES];
    uint64_t seq;                       /* of the last event covered, 0 = none */
    char file[ROTA_JOURNAL_NAME_BYTES]; /* the plain name of the file that holds it, "" = none */
    int64_t offset_bytes;               /* its length then */
} rota_cursor_t;

/* 0; -ENOENT there is none; -EBADMSG not a cursor; else what the kernel says. */
int rota_cursor_load (int directory, rota_cursor_t *ret_cursor);
int rota_cursor_save (const rota_file_ops_t *ops, int directory, const rota_cursor_t *cursor);

#define ROTA_HEX_BYTES (2 * ROTA_INSTANCE_BYTES + 1)
void rota_hex_write (const uint8_t bytes[ROTA_INSTANCE_BYTES], char ret_text[ROTA_HEX_BYTES]);
bool rota_hex_parse (const char *text, uint8_t ret_bytes[ROTA_INSTANCE_BYTES]); /* reads 32 characters */

#endif
