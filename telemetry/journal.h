/* journal.h - the event journal on disk: lines of JSON, each event once, in files by day.
 *
 * Lines are buffered and written with one write(2) when `batch_records` have come or `batch_interval_ms`
 * after the first, whichever is first, and at close. A failed or short write keeps the rest and tries again.
 * Within a second, or 4 MiB, of a write follow fsync and then the cursor (cursor.h). So after a crash the
 * file may be ahead of the cursor, never behind it: opening cuts a torn end off and takes the last event from
 * the file.
 *
 * What is not synced can always be had again, because the scheduler's log keeps it until the cursor has
 * passed. So memory is bounded: over ROTA_JOURNAL_BUFFER_CAP_BYTES the intake closes (append says -EAGAIN)
 * and stays closed until rota_journal_resume tells after which event to go on. A failed fsync proves nothing
 * about the pages it was for; then the file is cut back to the cursor and the intake closes as well.
 *
 * A file is for the UTC day of its first record. A record of a later day begins a new file, one of the day
 * before doesn't (clocks are set back a little), one of more than a day before does. A file also ends at
 * `rotate_bytes`, at UTC midnight by the wall clock, and when the store changes. Closed files are compressed.
 *
 * Owner: one thread; a lock file keeps other processes out. Invariant: cursor <= file <= last accepted.
 */
#ifndef ROTA_JOURNAL_H
#define ROTA_JOURNAL_H

#include "bus/error.h"
#include "telemetry/cursor.h"
#include "telemetry/retention.h"

#define ROTA_JOURNAL_BUFFER_CAP_BYTES (8 * 1024 * 1024)
#define ROTA_JOURNAL_SYNC_INTERVAL_MS 1000
#define ROTA_JOURNAL_SYNC_BYTES (4 * 1024 * 1024)
#define ROTA_JOURNAL_RETRY_MS 1000
#define ROTA_JOURNAL_COMPRESS_RETRY_MS 60000

typedef struct rota_journal rota_journal_t;

typedef struct {
    const char *directory; /* made if need be (its parent must exist); copied */
    size_t batch_records;
    int64_t batch_interval_ms;
    int64_t rotate_bytes;
    const rota_file_ops_t *ops; /* NULL = ROTA_FILE_OPS; must outlive the journal */
    void *owner;
    int64_t (*wall_ms) (void *owner);      /* NULL = the clock */
    int64_t (*monotonic_ms) (void *owner); /* NULL = the clock */
    /* What a person should hear of: `event` is a name for the log, `text` a sentence. May be NULL. */
    void (*notice) (void *owner, const char *event, const char *text);
} rota_journal_config_t;

/* Opens the directory, finishes or removes what a crash left, and takes up the newest file. 0; -EBUSY:
 * another process has it; -ENOMEM, or what the kernel says, with the text. */
int rota_journal_open (const rota_journal_config_t *config, rota_journal_t **ret_journal,
                       rota_error_t *error);
/* Writes, syncs and saves the cursor. 0, or a negative errno when that failed: the events after the cursor
 * will have to come again. The journal is gone in either case. */
int rota_journal_close (rota_journal_t **self_p);

/* The events that follow are `store`'s. If it is another store than before, the file ends and counting begins
 * at 0. 0; -EAGAIN: not now (the disk), try later. */
int rota_journal_set_store (rota_journal_t *self, const uint8_t store[ROTA_INSTANCE_BYTES]);

/* The line of event `seq`, with its newline. 1 accepted; 0 it is there already; -EAGAIN the intake is closed;
 * -ENOMEM (then it is closed, too). */
int rota_journal_append (rota_journal_t *self, uint64_t seq, int64_t time_ms, const char *line,
                         size_t size_bytes);
/* Writes a line that says that these events are lost. As rota_journal_append. */
int rota_journal_append_gap (rota_journal_t *self, uint64_t first_missing, uint64_t last_missing);

bool rota_journal_is_open (const rota_journal_t *self); /* the intake */
/* Opens the intake again if there is room and the disk works. Events with a number over *ret_after may come.
 * False: not yet. */
bool rota_journal_resume (rota_journal_t *self, uint64_t *ret_after);

/* Does what is due: writes, syncs, ends the day's file, compresses a piece. Returns the milliseconds until it
 * wants to be called again: 0 at once, at most an hour. Call also after appending. */
int64_t rota_journal_tick (rota_journal_t *self);
/* Writes and syncs all. 0 or a negative errno. */
int rota_journal_flush (rota_journal_t *self);

/* Removes what rota_retention_choose says at `now_ms`. Returns how many files went, or a negative errno. */
int rota_journal_retain (rota_journal_t *self, const rota_retention_t *limits, int64_t now_ms);

uint64_t rota_journal_last (const rota_journal_t *self);               /* accepted */
const rota_cursor_t *rota_journal_cursor (const rota_journal_t *self); /* on disk */
/* Whose events these are; all zero before the first rota_journal_set_store. */
const uint8_t *rota_journal_store (const rota_journal_t *self);
/* What keeps it from writing, in words, or NULL. */
const char *rota_journal_trouble (const rota_journal_t *self);
bool rota_journal_is_compressing (const rota_journal_t *self);

#endif
