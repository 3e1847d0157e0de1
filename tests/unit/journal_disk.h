/* journal_disk.h - a journal on a disk that a test can make fail, under a clock that it moves. */
#ifndef ROTA_TESTS_JOURNAL_DISK_H
#define ROTA_TESTS_JOURNAL_DISK_H

#include "telemetry/journal.h"

#define DAY_MS (INT64_C (24) * 3600 * 1000)
#define DAY 20780 /* 2026-11-23 */
#define NOON_MS (DAY * DAY_MS + DAY_MS / 2)
#define FIRST_FILE "events-2026-11-23.1.jsonl"

extern const uint8_t JOURNAL_STORE[16]; /* what disk_journal tells the journal */

/* A disk whose operations can be made to fail, and a clock that stands still until it is moved. */
typedef struct {
    char path[64];
    rota_file_ops_t ops;
    int64_t wall_ms, monotonic_ms;
    int writes, syncs, operations;
    int write_error, sync_error; /* an errno, 0 = none */
    ssize_t write_limit;         /* a longer write is cut short there; -1 = none */
    int dies_at;                 /* this operation and all after it fail; 0 = never */
    char notices[4096];
    char trace[256]; /* a letter an operation: open, write, sync, truncate, rename, unlink */
} disk_t;

/* The numbers of all events in all files, file by file; every line must be JSON. */
typedef struct {
    uint64_t seqs[4096];
    size_t count, files, gaps, openings;
} content_t;

/* Moves both clocks. */
void disk_wait (disk_t *disk, int64_t ms);
/* cmocka's setup and teardown: a disk_t and its directory in /tmp. */
int new_disk (void **state);
int remove_disk (void **state);
/* One of the last four results may be in use. */
const char *disk_path (const disk_t *disk, const char *name);
bool disk_has (const disk_t *disk, const char *name);
int64_t disk_size_of (const disk_t *disk, const char *name);
/* Batches of 100 records or 5 s. */
int disk_try_journal (disk_t *disk, int64_t rotate_bytes, rota_journal_t **ret_journal);
rota_journal_t *disk_journal_sized (disk_t *disk, int64_t rotate_bytes);
rota_journal_t *disk_journal (disk_t *disk);
int journal_append_at (rota_journal_t *journal, uint64_t seq, int64_t time_ms);
int journal_append (disk_t *disk, rota_journal_t *journal, uint64_t seq);
void journal_append_range (disk_t *disk, rota_journal_t *journal, uint64_t first, uint64_t last);
/* What an application does until nothing is left to do at once. */
void journal_settle (rota_journal_t *journal);
/* All files, by name; every line must be JSON. Valid until the next call. */
content_t *disk_read_all (const disk_t *disk);
/* Just these are there, each once and in order. */
void disk_assert_events (const disk_t *disk, uint64_t first, uint64_t last);
void disk_write_raw (const disk_t *disk, const char *name, const char *mode, const void *bytes,
                     size_t length);
/* The process is gone: nothing of what it would still do happens. */
void disk_crash (disk_t *disk, rota_journal_t **journal);

#endif
