#include "telemetry/journal_internal.h"

#include "bus/clock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAY_MS (INT64_C (24) * 3600 * 1000)
#define HOUR_MS (INT64_C (3600) * 1000)
#define KEPT_BUFFER_BYTES (1024 * 1024)
#define OWN_LINE_BYTES 160 /* of journal.opened and journal.gap */
#define LOCK_NAME "lock"

int64_t rota_journal_wall_ms (const rota_journal_t *self)
{
    return self->config.wall_ms ? self->config.wall_ms (self->config.owner) : rota_clock_wall_ms ();
}

int64_t rota_journal_monotonic_ms (const rota_journal_t *self)
{
    return self->config.monotonic_ms ? self->config.monotonic_ms (self->config.owner)
                                     : rota_clock_monotonic_ms ();
}

void rota_journal_notice (const rota_journal_t *self, const char *event, const char *format, ...)
{
    if (!self->config.notice)
        return;
    char text[ROTA_ERROR_MAX_BYTES];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    self->config.notice (self->config.owner, event, text);
}

static bool in_trouble (const rota_journal_t *self)
{
    return self->trouble.text[0] != 0;
}

/* Says it once, until it is over, and returns `code`. */
static int fail (rota_journal_t *self, int code, const char *what)
{
    bool known = in_trouble (self);
    rota_error_set (&self->trouble, code, "can't %s: %s", what, strerror (-code));
    self->retry_ms = rota_journal_monotonic_ms (self) + ROTA_JOURNAL_RETRY_MS;
    if (!known)
        rota_journal_notice (self, "journal.trouble", "%s; trying again", self->trouble.text);
    return code;
}

static void recover (rota_journal_t *self)
{
    if (!in_trouble (self))
        return;
    self->trouble.text[0] = 0;
    rota_journal_notice (self, "journal.recovered", "the journal is written again");
}

/* ---- writing */

static size_t pending_bytes (const rota_journal_t *self)
{
    return self->buffer.size_bytes - self->buffer_written;
}

static void empty_buffer (rota_journal_t *self)
{
    if (self->buffer.capacity_bytes > KEPT_BUFFER_BYTES)
        rota_text_free (&self->buffer);
    self->buffer.size_bytes = 0;
    self->buffer_written = 0;
    self->records = 0;
}

static int begin_file (rota_journal_t *self)
{
    rota_journal_file_t *files = NULL;
    size_t count = 0;
    int rc = rota_journal_list (self->ops, self->directory, false, &files, &count);
    if (rc < 0)
        return rc;
    uint32_t number = 1;
    for (size_t i = 0; i < count; i++)
        if (files[i].day == self->file_day && files[i].number >= number)
            number = files[i].number + 1;
    free (files);

    char name[ROTA_JOURNAL_NAME_BYTES];
    rota_journal_name (self->file_day, number, false, name);
    int fd =
        self->ops->open (self->ops->owner, self->directory, name, O_WRONLY | O_APPEND | O_CREAT | O_EXCL);
    if (fd < 0)
        return fd;
    self->file = fd;
    memcpy (self->file_name, name, sizeof name);
    self->taken_day = rota_journal_day (rota_journal_wall_ms (self));
    self->file_is_new = true;
    self->file_bytes = self->whole_bytes = 0;
    return 0;
}

/* One write(2) for all that is buffered. */
static int write_out (rota_journal_t *self)
{
    if (pending_bytes (self) == 0)
        return 0;
    int rc = self->file < 0 ? begin_file (self) : 0;
    if (rc < 0)
        return fail (self, rc, "begin a journal file");

    size_t left = pending_bytes (self);
    ssize_t written =
        self->ops->write (self->ops->owner, self->file, self->buffer.bytes + self->buffer_written, left);
    if (written < 0)
        return fail (self, (int)written, "write to the journal");
    self->file_bytes += written;
    self->buffer_written += (size_t)written;
    if ((size_t)written < left)
        return fail (self, -ENOSPC, "write a whole batch to the journal");
    self->whole_bytes = self->file_bytes;
    self->last_written = self->last;
    empty_buffer (self);
    recover (self);
    return 0;
}

static bool is_unsynced (const rota_journal_t *self)
{
    return self->file >= 0 && self->last_written != self->cursor.seq;
}

static int save_cursor (rota_journal_t *self)
{
    rota_cursor_t cursor = {.seq = self->last_written};
    memcpy (cursor.store, self->store, sizeof cursor.store);
    if (self->file >= 0) {
        memcpy (cursor.file, self->file_name, sizeof cursor.file);
        cursor.offset_bytes = self->whole_bytes;
    }
    int rc = rota_cursor_save (self->ops, self->directory, &cursor);
    if (rc < 0)
        return fail (self, rc, "save the journal's cursor");
    self->cursor = cursor;
    self->has_cursor = true;
    return 0;
}

static int sync_file (rota_journal_t *self)
{
    if (!is_unsynced (self))
        return 0;
    int rc = self->ops->sync (self->ops->owner, self->file);
    if (rc == 0 && self->file_is_new)
        rc = self->ops->sync (self->ops->owner, self->directory);
    if (rc < 0) {
        self->rollback = true;
        self->closed = true;
        return fail (self, rc, "sync the journal");
    }
    self->file_is_new = false;
    rc = save_cursor (self);
    if (rc < 0)
        return rc;
    self->synced_ms = rota_journal_monotonic_ms (self);
    recover (self);
    return 0;
}

/* After a failed fsync the kernel may call pages clean that never reached the disk, so syncing again would
 * lie. Back to what the last good sync covered; the rest comes again from the scheduler's log. */
static int roll_back (rota_journal_t *self)
{
    int rc = 0;
    if (self->file >= 0) {
        bool covered = strcmp (self->cursor.file, self->file_name) == 0 && self->cursor.offset_bytes > 0;
        int64_t size_bytes = covered ? self->cursor.offset_bytes : 0;
        rc = covered ? self->ops->truncate (self->ops->owner, self->file, size_bytes)
                     : self->ops->unlink (self->ops->owner, self->directory, self->file_name);
        if (rc < 0)
            return fail (self, rc, "cut the journal back to what was synced");
        self->file_bytes = self->whole_bytes = size_bytes;
        if (!covered) {
            close (self->file);
            self->file = -1;
        }
    }
    empty_buffer (self);
    self->last = self->last_written = self->cursor.seq;
    self->rollback = false;
    rota_journal_notice (self, "journal.cut_back", "a sync failed; going on after event %" PRIu64,
                         self->last);
    recover (self);
    return 0;
}

/* Closes the file that is written, if any; the next record begins another. */
static int end_file (rota_journal_t *self)
{
    int rc = write_out (self);
    if (rc == 0)
        rc = sync_file (self);
    if (rc < 0 || self->file < 0)
        return rc;
    close (self->file);
    self->file = -1;
    self->compress_wanted = true;
    return 0;
}

/* ---- intake */

static int close_intake (rota_journal_t *self, int code)
{
    self->closed = true;
    return code;
}

static bool is_waiting (const rota_journal_t *self)
{
    return in_trouble (self) && rota_journal_monotonic_ms (self) < self->retry_ms;
}

static bool must_end (const rota_journal_t *self, int32_t day)
{
    if (self->file < 0 && self->buffer.size_bytes == 0)
        return false;
    int64_t size_bytes = (self->file < 0 ? 0 : self->file_bytes) + (int64_t)pending_bytes (self);
    return size_bytes >= self->config.rotate_bytes || day > self->file_day || day < self->file_day - 1;
}

static int add_opening (rota_journal_t *self, int64_t time_ms)
{
    char time[ROTA_CLOCK_ISO_BYTES], store[ROTA_HEX_BYTES], line[OWN_LINE_BYTES];
    rota_clock_iso (time_ms, time);
    rota_hex_write (self->store, store);
    int length = snprintf (line, sizeof line,
                           "{\"time\":\"%s\",\"event\":\"journal.opened\",\"store\":\"%s\",\"format\":1}\n",
                           time, store);
    return rota_text_add (&self->buffer, line, (size_t)length);
}

static int add_line (rota_journal_t *self, int32_t day, int64_t time_ms, const char *line, size_t size_bytes)
{
    size_t before = self->buffer.size_bytes;
    int rc = 0;
    if (self->file < 0 && before == 0) {
        self->file_day = day;
        rc = add_opening (self, time_ms);
    }
    if (rc == 0)
        rc = rota_text_add (&self->buffer, line, size_bytes);
    if (rc < 0)
        self->buffer.size_bytes = before;
    return rc;
}

static bool sync_is_due (const rota_journal_t *self, int64_t now_ms)
{
    if (!is_unsynced (self))
        return false;
    bool same_file = strcmp (self->cursor.file, self->file_name) == 0;
    int64_t unsynced_bytes = self->whole_bytes - (same_file ? self->cursor.offset_bytes : 0);
    return now_ms - self->synced_ms >= ROTA_JOURNAL_SYNC_INTERVAL_MS ||
           unsynced_bytes >= ROTA_JOURNAL_SYNC_BYTES;
}

int rota_journal_append (rota_journal_t *self, uint64_t seq, int64_t time_ms, const char *line,
                         size_t size_bytes)
{
    assert (size_bytes > 0 && line[size_bytes - 1] == '\n');
    if (self->closed)
        return -EAGAIN;
    if (seq <= self->last)
        return 0;
    if (pending_bytes (self) > 0 && pending_bytes (self) + size_bytes > ROTA_JOURNAL_BUFFER_CAP_BYTES &&
        (is_waiting (self) || write_out (self) < 0))
        return close_intake (self, -EAGAIN);

    int32_t day = rota_journal_day (time_ms);
    if (must_end (self, day) && (is_waiting (self) || end_file (self) < 0))
        return close_intake (self, -EAGAIN);
    if (add_line (self, day, time_ms, line, size_bytes) < 0)
        return close_intake (self, -ENOMEM);
    if (self->records == 0)
        self->first_ms = rota_journal_monotonic_ms (self);
    self->records++;
    self->last = seq;

    if (self->records >= self->config.batch_records && !is_waiting (self) && write_out (self) == 0 &&
        sync_is_due (self, rota_journal_monotonic_ms (self)))
        sync_file (self); /* a failure is kept in `trouble`, and tick tries again */
    return 1;
}

int rota_journal_append_gap (rota_journal_t *self, uint64_t first_missing, uint64_t last_missing)
{
    char time[ROTA_CLOCK_ISO_BYTES], line[OWN_LINE_BYTES];
    int64_t now_ms = rota_journal_wall_ms (self);
    rota_clock_iso (now_ms, time);
    int length =
        snprintf (line, sizeof line,
                  "{\"time\":\"%s\",\"event\":\"journal.gap\",\"first\":%" PRIu64 ",\"last\":%" PRIu64 "}\n",
                  time, first_missing, last_missing);
    return rota_journal_append (self, last_missing, now_ms, line, (size_t)length);
}

bool rota_journal_is_open (const rota_journal_t *self)
{
    return !self->closed;
}

bool rota_journal_resume (rota_journal_t *self, uint64_t *ret_after)
{
    if (self->rollback || in_trouble (self) || pending_bytes (self) > ROTA_JOURNAL_BUFFER_CAP_BYTES / 2)
        return false;
    self->closed = false;
    *ret_after = self->last;
    return true;
}

int rota_journal_set_store (rota_journal_t *self, const uint8_t store[ROTA_INSTANCE_BYTES])
{
    if (memcmp (self->store, store, ROTA_INSTANCE_BYTES) == 0)
        return 0;
    if (self->rollback || rota_journal_flush (self) < 0 || end_file (self) < 0)
        return -EAGAIN;
    uint8_t old_store[ROTA_INSTANCE_BYTES];
    uint64_t old_last = self->last;
    bool first = !self->has_cursor && self->last == 0;
    memcpy (old_store, self->store, sizeof old_store);
    memcpy (self->store, store, sizeof old_store);
    self->last = self->last_written = 0;
    if (first)
        return 0;
    if (save_cursor (self) < 0) { /* without it the next start would take the old store's file up */
        memcpy (self->store, old_store, sizeof old_store);
        self->last = self->last_written = old_last;
        return -EAGAIN;
    }
    rota_journal_notice (self, "journal.store_changed", "the store is another one now; counting begins anew");
    return 0;
}

/* ---- what is due */

static void compress_some (rota_journal_t *self, int64_t now_ms)
{
    int rc = 0;
    if (self->job) {
        rc = rota_compress_step (self->job);
        if (rc <= 0)
            rota_compress_destroy (&self->job);
    } else if (self->compress_wanted && now_ms >= self->compress_retry_ms) {
        rota_journal_file_t *files = NULL;
        size_t count = 0, i = 0;
        rc = rota_journal_list (self->ops, self->directory, false, &files, &count);
        while (i < count &&
               (files[i].compressed || (self->file >= 0 && strcmp (files[i].name, self->file_name) == 0)))
            i++;
        if (i < count)
            rc = rota_compress_new (self->ops, self->directory, files[i].name, &self->job);
        else
            self->compress_wanted = rc < 0;
        free (files);
    }
    if (rc >= 0)
        return;
    self->compress_retry_ms = now_ms + ROTA_JOURNAL_COMPRESS_RETRY_MS;
    rota_journal_notice (self, "journal.not_compressed",
                         "can't compress a journal file: %s; trying again in %d s", strerror (-rc),
                         ROTA_JOURNAL_COMPRESS_RETRY_MS / 1000);
}

static bool batch_is_due (const rota_journal_t *self, int64_t now_ms)
{
    return pending_bytes (self) > 0 && (self->records >= self->config.batch_records ||
                                        now_ms - self->first_ms >= self->config.batch_interval_ms);
}

static void write_some (rota_journal_t *self, int64_t now_ms)
{
    bool again = in_trouble (self);
    if (again && now_ms < self->retry_ms)
        return;
    int rc = self->rollback ? roll_back (self) : 0;
    if (rc == 0 && (again || batch_is_due (self, now_ms)))
        rc = write_out (self);
    if (rc == 0 && (again || sync_is_due (self, now_ms)))
        rc = sync_file (self);
    if (rc == 0 && self->file >= 0 && rota_journal_day (rota_journal_wall_ms (self)) > self->taken_day)
        rc = end_file (self);
    if (rc == 0)
        recover (self); /* what failed may have nothing left to do */
}

static int64_t until_next (const rota_journal_t *self, int64_t now_ms)
{
    int64_t next_ms = now_ms + HOUR_MS;
#define NOT_LATER_THAN(time_ms) next_ms = (time_ms) < next_ms ? (time_ms) : next_ms
    if (in_trouble (self)) {
        NOT_LATER_THAN (self->retry_ms);
    } else {
        if (pending_bytes (self) > 0)
            NOT_LATER_THAN (self->first_ms + self->config.batch_interval_ms);
        if (is_unsynced (self))
            NOT_LATER_THAN (self->synced_ms + ROTA_JOURNAL_SYNC_INTERVAL_MS);
        if (self->file >= 0)
            NOT_LATER_THAN (now_ms + ((int64_t)self->taken_day + 1) * DAY_MS - rota_journal_wall_ms (self));
    }
    if (self->job)
        NOT_LATER_THAN (now_ms);
    else if (self->compress_wanted)
        NOT_LATER_THAN (self->compress_retry_ms);
#undef NOT_LATER_THAN
    return next_ms > now_ms ? next_ms - now_ms : 0;
}

int64_t rota_journal_tick (rota_journal_t *self)
{
    int64_t now_ms = rota_journal_monotonic_ms (self);
    write_some (self, now_ms);
    compress_some (self, now_ms);
    return until_next (self, now_ms);
}

int rota_journal_flush (rota_journal_t *self)
{
    if (self->rollback)
        return roll_back (self) < 0 ? -EIO : -EAGAIN; /* what was to be flushed has to come again */
    int rc;
    size_t before;
    do {
        before = self->buffer_written;
        rc = write_out (self);
    } while (rc < 0 && self->buffer_written > before);
    return rc < 0 ? rc : sync_file (self);
}

int rota_journal_retain (rota_journal_t *self, const rota_retention_t *limits, int64_t now_ms)
{
    rota_journal_file_t *files = NULL;
    size_t count = 0;
    int removed = rota_journal_list (self->ops, self->directory, false, &files, &count);
    if (removed < 0 || count == 0)
        return removed;
    rota_retained_t *retained = calloc (count, sizeof *retained);
    bool *remove = calloc (count, sizeof *remove);
    if (!retained || !remove)
        removed = -ENOMEM;
    for (size_t i = 0; removed == 0 && i < count; i++)
        retained[i] =
            (rota_retained_t){.day = files[i].day,
                              .number = files[i].number,
                              .size_bytes = files[i].size_bytes,
                              .open = self->file >= 0 && strcmp (files[i].name, self->file_name) == 0};
    if (removed == 0 && rota_retention_choose (retained, count, limits, now_ms, remove) > 0) {
        for (size_t i = 0; i < count && removed >= 0; i++) {
            if (!remove[i])
                continue;
            if (self->job && strcmp (rota_compress_name (self->job), files[i].name) == 0)
                rota_compress_destroy (&self->job);
            int rc = self->ops->unlink (self->ops->owner, self->directory, files[i].name);
            removed = rc < 0 ? rc : removed + 1;
        }
    }
    free (remove);
    free (retained);
    free (files);
    return removed;
}

/* ---- opening and closing */

static void destroy (rota_journal_t *self)
{
    rota_compress_destroy (&self->job);
    if (self->file >= 0)
        close (self->file);
    if (self->lock >= 0)
        close (self->lock);
    if (self->directory >= 0)
        close (self->directory);
    rota_text_free (&self->buffer);
    free ((char *)self->config.directory);
    free (self);
}

static int open_directory (rota_journal_t *self, rota_error_t *error)
{
    const char *path = self->config.directory;
    if (mkdir (path, 0700) < 0 && errno != EEXIST)
        return rota_error_set (error, -errno, "can't make the directory %s: %s", path, strerror (errno));
    self->directory = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (self->directory < 0)
        return rota_error_set (error, -errno, "can't open the directory %s: %s", path, strerror (errno));
    self->lock = openat (self->directory, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (self->lock < 0)
        return rota_error_set (error, -errno, "can't open %s/%s: %s", path, LOCK_NAME, strerror (errno));
    if (flock (self->lock, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return rota_error_set (error, -EBUSY, "another telemetry sink writes to %s", path);
    return rota_error_set (error, -errno, "can't lock %s/%s: %s", path, LOCK_NAME, strerror (errno));
}

int rota_journal_open (const rota_journal_config_t *config, rota_journal_t **ret_journal, rota_error_t *error)
{
    assert (config->batch_records > 0 && config->rotate_bytes > 0);
    rota_journal_t *self = calloc (1, sizeof *self);
    if (!self)
        return rota_error_set (error, -ENOMEM, "no memory");
    self->config = *config;
    self->ops = config->ops ? config->ops : &ROTA_FILE_OPS;
    self->directory = self->lock = self->file = -1;
    self->config.directory = strdup (config->directory);
    int rc = self->config.directory ? open_directory (self, error) : -ENOMEM;
    if (rc == 0)
        rc = rota_journal_take_up (self, error);
    /* Without a cursor, what the files say becomes it at once: a rollback needs one. */
    if (rc == 0 && !self->has_cursor && self->last > 0) {
        rc = self->file >= 0 ? sync_file (self) : save_cursor (self);
        if (rc < 0)
            rota_error_set (error, rc, "%s", self->trouble.text);
    }
    if (rc < 0) {
        destroy (self);
        return rc;
    }
    self->synced_ms = rota_journal_monotonic_ms (self) - ROTA_JOURNAL_SYNC_INTERVAL_MS;
    *ret_journal = self;
    return 0;
}

int rota_journal_close (rota_journal_t **self_p)
{
    rota_journal_t *self = *self_p;
    if (!self)
        return 0;
    int rc = rota_journal_flush (self);
    destroy (self);
    *self_p = NULL;
    return rc;
}

uint64_t rota_journal_last (const rota_journal_t *self)
{
    return self->last;
}

const rota_cursor_t *rota_journal_cursor (const rota_journal_t *self)
{
    return &self->cursor;
}

const uint8_t *rota_journal_store (const rota_journal_t *self)
{
    return self->store;
}

const char *rota_journal_trouble (const rota_journal_t *self)
{
    return in_trouble (self) ? self->trouble.text : NULL;
}

bool rota_journal_is_compressing (const rota_journal_t *self)
{
    return self->job || self->compress_wanted;
}
