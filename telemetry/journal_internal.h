/* journal_internal.h - the journal's state, shared by journal.c (writing) and journal_open.c (taking up).
 *
 * Owner: as journal.h.
 */
#ifndef ROTA_JOURNAL_INTERNAL_H
#define ROTA_JOURNAL_INTERNAL_H

#include "telemetry/compress.h"
#include "telemetry/event_json.h"
#include "telemetry/journal.h"

struct rota_journal {
    rota_journal_config_t config;
    const rota_file_ops_t *ops;
    int directory, lock;

    int file;                                /* -1 = none: the next record begins one */
    char file_name[ROTA_JOURNAL_NAME_BYTES]; /* while file >= 0 */
    int32_t file_day;                        /* of the file, or of the one that the buffer will begin */
    int32_t taken_day;                       /* by the wall clock, when this process took the file up */
    bool file_is_new;                        /* its name is not synced yet */
    int64_t file_bytes;                      /* in the file, a torn end included */
    int64_t whole_bytes;                     /* of whole batches */

    rota_cursor_t cursor; /* as on disk, or all zero */
    bool has_cursor;
    uint8_t store[ROTA_INSTANCE_BYTES];
    uint64_t last;         /* accepted */
    uint64_t last_written; /* of the last whole batch */
    int64_t synced_ms;     /* monotonic, when the last sync was */

    rota_text_t buffer;
    size_t buffer_written; /* of the buffer's front, after a short write */
    size_t records;
    int64_t first_ms; /* monotonic, when the buffer's first record came */

    bool closed;   /* the intake */
    bool rollback; /* a sync failed: the file must be cut back to the cursor */
    int64_t retry_ms;
    rota_error_t trouble; /* "" = none */

    rota_compress_t *job;
    bool compress_wanted;
    int64_t compress_retry_ms;
};

int64_t rota_journal_wall_ms (const rota_journal_t *self);
int64_t rota_journal_monotonic_ms (const rota_journal_t *self);
__attribute__ ((format (printf, 3, 4))) void rota_journal_notice (const rota_journal_t *self,
                                                                  const char *event, const char *format, ...);

/* Cleans the directory and takes up its newest file: file, cursor, store and last are set. */
int rota_journal_take_up (rota_journal_t *self, rota_error_t *error);

#endif
