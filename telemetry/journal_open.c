/* journal_open.c - taking a journal up again, whatever the last process left. */
#include "telemetry/journal_internal.h"
#include "telemetry/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A plain file beside its .gz: the crash came between rename and unlink, so one of them can go. */
static int drop_doubles (rota_journal_t *self, const rota_journal_file_t *files, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const rota_journal_file_t *plain = &files[i - 1], *compressed = &files[i];
        if (plain->day != compressed->day || plain->number != compressed->number)
            continue;
        bool complete = rota_compress_is_complete (self->directory, plain, compressed);
        const char *loser = complete ? plain->name : compressed->name;
        int rc = self->ops->unlink (self->ops->owner, self->directory, loser);
        if (rc < 0)
            return rc;
        rota_journal_notice (self, "journal.cleaned", "%s was there both plain and compressed; %s is gone",
                             plain->name, loser);
    }
    return 0;
}

static int load_cursor (rota_journal_t *self)
{
    int rc = rota_cursor_load (self->directory, &self->cursor);
    if (rc == -EBADMSG)
        rota_journal_notice (self, "journal.cursor_unreadable",
                             "the file `cursor` can't be understood; going by the journal's own lines");
    else if (rc < 0 && rc != -ENOENT)
        return rc;
    self->has_cursor = rc == 0;
    if (rc < 0)
        self->cursor = (rota_cursor_t){0};
    memcpy (self->store, self->cursor.store, sizeof self->store);
    self->last = self->cursor.seq;
    return 0;
}

/* What has been synced is not read again; where there is no cursor to say so, all of it. */
static int scan (rota_journal_t *self, const rota_journal_file_t *file, rota_scan_t *ret_scan)
{
    const rota_cursor_t *cursor = &self->cursor;
    bool covered = self->has_cursor && strcmp (cursor->file, file->name) == 0;
    if (covered && file->size_bytes >= cursor->offset_bytes) {
        int rc = rota_scan (self->directory, file->name, cursor->offset_bytes, true, ret_scan);
        if (rc < 0)
            return rc;
        memcpy (ret_scan->store, cursor->store, sizeof cursor->store);
        ret_scan->has_store = true;
        if (ret_scan->last < cursor->seq)
            ret_scan->last = cursor->seq;
        ret_scan->records += cursor->seq > 0;
        return 0;
    }
    if (covered)
        rota_journal_notice (self, "journal.shorter",
                             "%s has %" PRId64 " bytes, but %" PRId64
                             " were synced; going on behind what is there",
                             file->name, file->size_bytes, cursor->offset_bytes);
    return rota_scan (self->directory, file->name, 0, self->has_cursor && !covered, ret_scan);
}

static int cut (rota_journal_t *self, int fd, const char *name, const rota_scan_t *found)
{
    if (found->rest_bytes == 0)
        return 0;
    rota_journal_notice (self, "journal.torn",
                         "%s ended in %" PRId64 " bytes that are no whole line; they are cut off", name,
                         found->rest_bytes);
    return self->ops->truncate (self->ops->owner, fd, found->whole_bytes);
}

static int take_file (rota_journal_t *self, const rota_journal_file_t *file, const rota_scan_t *found)
{
    int fd = self->ops->open (self->ops->owner, self->directory, file->name, O_WRONLY | O_APPEND);
    if (fd < 0)
        return fd;
    self->file = fd;
    memcpy (self->file_name, file->name, sizeof self->file_name);
    int rc = cut (self, fd, file->name, found);
    if (rc < 0)
        return rc;
    self->file_day = file->day;
    self->taken_day = rota_journal_day (rota_journal_wall_ms (self));
    self->file_is_new = true; /* perhaps: its name may not be on disk yet */
    self->file_bytes = self->whole_bytes = found->whole_bytes;
    return 0;
}

/* Whether `found` goes before `best` as the file to go on in. */
static bool is_better (const rota_journal_t *self, const rota_journal_file_t *file, const rota_scan_t *found,
                       const rota_journal_file_t *best, const rota_scan_t *best_found)
{
    if (self->has_cursor) /* files of another store are done with */
        return found->has_store && memcmp (found->store, self->cursor.store, sizeof found->store) == 0 &&
               (!best || found->last > best_found->last);
    return !best || file->modified_ms > best->modified_ms ||
           (file->modified_ms == best->modified_ms && found->last > best_found->last);
}

static int choose (rota_journal_t *self, const rota_journal_file_t *files, size_t count, bool compressed,
                   const rota_journal_file_t **ret_best, rota_scan_t *ret_found)
{
    const rota_journal_file_t *best = NULL;
    rota_scan_t best_found = {0};
    for (size_t i = 0; i < count; i++) {
        rota_scan_t found;
        if (files[i].compressed != compressed)
            continue;
        int rc = scan (self, &files[i], &found);
        if (rc == -EBADMSG && compressed)
            rota_journal_notice (self, "journal.unreadable", "%s can't be read to its end", files[i].name);
        else if (rc < 0)
            return rc;
        if (found.records == 0 && !compressed) { /* no more than its opening line: nothing was lost with it */
            rc = self->ops->unlink (self->ops->owner, self->directory, files[i].name);
            if (rc < 0)
                return rc;
        } else if (is_better (self, &files[i], &found, best, &best_found)) {
            best = &files[i];
            best_found = found;
        }
    }
    *ret_best = best;
    *ret_found = best_found;
    return 0;
}

static int take_newest (rota_journal_t *self, const rota_journal_file_t *files, size_t count)
{
    const rota_journal_file_t *best;
    rota_scan_t found;
    int rc = choose (self, files, count, false, &best, &found);
    if (rc < 0)
        return rc;
    if (best) {
        rc = take_file (self, best, &found);
    } else if (!self->has_cursor) { /* rare, and the only way not to write everything twice */
        rc = choose (self, files, count, true, &best, &found);
    }
    if (rc < 0 || !best)
        return rc;
    bool shorter =
        strcmp (self->cursor.file, best->name) == 0 && best->size_bytes < self->cursor.offset_bytes;
    if (found.last > self->last || shorter)
        self->last = found.last;
    if (!self->has_cursor && found.has_store)
        memcpy (self->store, found.store, sizeof self->store);
    return 0;
}

int rota_journal_take_up (rota_journal_t *self, rota_error_t *error)
{
    rota_journal_file_t *files = NULL;
    size_t count = 0;
    int rc = rota_journal_list (self->ops, self->directory, true, &files, &count);
    if (rc == 0)
        rc = drop_doubles (self, files, count);
    free (files);
    files = NULL;
    if (rc == 0)
        rc = rota_journal_list (self->ops, self->directory, false, &files, &count);
    if (rc == 0)
        rc = load_cursor (self);
    if (rc == 0)
        rc = take_newest (self, files, count);
    free (files);
    if (rc < 0)
        return rota_error_set (error, rc, "can't take the journal %s up: %s", self->config.directory,
                               strerror (-rc));
    self->last_written = self->last;
    self->compress_wanted = true;
    return 0;
}
