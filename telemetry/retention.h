/* retention.h - which journal files go: those that are too old, then the oldest while all are too large.
 *
 * A pure decision, so that a test can walk the clock. A file's age counts from the end of its UTC day, when
 * its last record can have been written, and a day is added (for retentions under a day: as much again): a
 * clock that is a day ahead removes nothing whose records haven't reached the age. A file of a day to come is
 * never too old. The open file never goes.
 */
#ifndef ROTA_RETENTION_H
#define ROTA_RETENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    int32_t day; /* UTC days since 1970-01-01 */
    uint32_t number;
    int64_t size_bytes;
    bool open;
} rota_retained_t;

typedef struct {
    int64_t age_ms;
    int64_t total_bytes;
} rota_retention_t;

/* `files` are ordered by day, then number (asserted). Sets ret_remove[i] for each; returns how many go. */
size_t rota_retention_choose (const rota_retained_t *files, size_t count, const rota_retention_t *limits,
                              int64_t now_ms, bool *ret_remove);

#endif
