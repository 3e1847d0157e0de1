#include "agents/output.h"
#include "agents/output_index.h"
#include "bus/names.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES (ROTA_OUTPUT_PATH_MAX_BYTES + 16)

const char *const ROTA_OUTPUT_TAIL[2] = {".tail0", ".tail1"};

struct rota_output {
    char path[PATH_BYTES];
    uint64_t head_limit, segment_limit;
    int head, tail[2], index_file;
    bool in_tail;
    rota_output_index_t index;
    uint64_t total_bytes, current_bytes; /* current_bytes: in the tail file being written */
    uint64_t other_bytes;                /* in the other one */
    int failure;
};

uint64_t rota_output_index_check (const rota_output_index_t *index)
{
    return rota_hash (index, offsetof (rota_output_index_t, check));
}

bool rota_output_index_is_valid (const rota_output_index_t *index, size_t size_bytes)
{
    return size_bytes == sizeof *index && index->magic == ROTA_OUTPUT_INDEX_MAGIC &&
           index->check == rota_output_index_check (index) && index->current < 2;
}

static void path_of (char ret_path[PATH_BYTES], const char *path, const char *suffix)
{
    snprintf (ret_path, PATH_BYTES, "%.*s%s", ROTA_OUTPUT_PATH_MAX_BYTES, path, suffix);
}

int rota_output_open_beside (const char *path, const char *suffix, int flags)
{
    char whole[PATH_BYTES];
    path_of (whole, path, suffix);
    int fd = open (whole, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 ? -errno : fd;
}

static void remove_beside (const char *path, const char *suffix)
{
    char whole[PATH_BYTES];
    path_of (whole, path, suffix);
    unlink (whole);
}

static void close_if_open (int *fd)
{
    if (*fd >= 0)
        close (*fd);
    *fd = -1;
}

static void note (rota_output_t *self, int failure)
{
    if (!self->failure)
        self->failure = failure;
}

/* How many of the bytes went to the file; fewer than asked means that it failed. */
static size_t write_all (rota_output_t *self, int fd, const void *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t written = write (fd, (const char *)bytes + done, size - done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            note (self, written < 0 ? -errno : -EIO);
            break;
        }
        done += (size_t)written;
    }
    return done;
}

static bool write_index (rota_output_t *self)
{
    self->index.magic = ROTA_OUTPUT_INDEX_MAGIC;
    self->index.generation++;
    self->index.check = rota_output_index_check (&self->index);
    const rota_output_index_t index = self->index;
    ssize_t size = pwrite (self->index_file, &index, sizeof index, 0);
    if (size != (ssize_t)sizeof index)
        note (self, size < 0 ? -errno : -ENOSPC);
    return size == (ssize_t)sizeof index;
}

void rota_output_remove (const char *path)
{
    unlink (path);
    remove_beside (path, ROTA_OUTPUT_INDEX);
    remove_beside (path, ROTA_OUTPUT_TAIL[0]);
    remove_beside (path, ROTA_OUTPUT_TAIL[1]);
}

int rota_output_open (const char *path, uint64_t limit_bytes, rota_output_t **ret_self, rota_error_t *error)
{
    if (strlen (path) > ROTA_OUTPUT_PATH_MAX_BYTES)
        return rota_error_set (error, -ENAMETOOLONG, "the path of the log is too long");
    rota_output_t *self = calloc (1, sizeof *self);
    if (!self)
        return rota_error_set (error, -ENOMEM, "out of memory");
    if (limit_bytes < ROTA_OUTPUT_LIMIT_MIN_BYTES)
        limit_bytes = ROTA_OUTPUT_LIMIT_MIN_BYTES;
    self->head_limit = limit_bytes / 2;
    self->segment_limit = limit_bytes / 4;
    self->tail[0] = self->tail[1] = self->index_file = -1;
    snprintf (self->path, sizeof self->path, "%s", path);
    /* Left by an earlier start of the same attempt. */
    rota_output_remove (path);
    self->head = rota_output_open_beside (path, "", O_RDWR | O_CREAT | O_EXCL | O_APPEND);
    if (self->head < 0) {
        int code = self->head;
        free (self);
        return rota_error_set (error, code, "can't write the log %s: %s", path, strerror (-code));
    }
    *ret_self = self;
    return 0;
}

/* Makes the tail file `which` empty and the one to be written. False when the disk doesn't allow it. */
static bool begin_segment (rota_output_t *self, unsigned which)
{
    for (unsigned i = 0; i < 2; i++) {
        if (self->tail[i] < 0)
            self->tail[i] =
                rota_output_open_beside (self->path, ROTA_OUTPUT_TAIL[i], O_RDWR | O_CREAT | O_APPEND);
        if (self->tail[i] < 0) {
            note (self, self->tail[i]);
            return false;
        }
    }
    if (self->index_file < 0)
        self->index_file = rota_output_open_beside (self->path, ROTA_OUTPUT_INDEX, O_RDWR | O_CREAT);
    if (self->index_file < 0) {
        note (self, self->index_file);
        return false;
    }
    if (ftruncate (self->tail[which], 0) < 0) {
        note (self, -errno);
        return false;
    }
    self->other_bytes = self->index.current == which ? self->other_bytes : self->current_bytes;
    self->index.current = which;
    self->index.start[which] = self->total_bytes;
    self->current_bytes = 0;
    return write_index (self);
}

/* The tail must have no hole: after a failed write it begins again behind it. */
static void restart_tail (rota_output_t *self)
{
    unsigned other = 1 - (unsigned)self->index.current;
    if (self->tail[other] >= 0 && ftruncate (self->tail[other], 0) < 0)
        note (self, -errno);
    self->other_bytes = 0;
    self->index.start[other] = self->total_bytes;
    self->in_tail = begin_segment (self, (unsigned)self->index.current);
    self->other_bytes = 0;
}

static void write_tail (rota_output_t *self, const char *bytes, size_t size)
{
    while (size > 0) {
        if (self->current_bytes == self->segment_limit &&
            !begin_segment (self, 1 - (unsigned)self->index.current))
            self->in_tail = false;
        if (!self->in_tail) {
            self->total_bytes += size;
            return;
        }
        uint64_t room = self->segment_limit - self->current_bytes;
        size_t part = size < room ? size : (size_t)room;
        size_t done = write_all (self, self->tail[self->index.current], bytes, part);
        self->current_bytes += done;
        self->total_bytes += done;
        bytes += done;
        size -= done;
        if (done < part) {
            self->total_bytes += size;
            self->in_tail = false;
            return;
        }
    }
}

void rota_output_write (rota_output_t *self, const void *bytes, size_t size_bytes)
{
    const char *from = bytes;
    bool head_open = self->total_bytes == self->index.head_bytes && self->index.head_bytes < self->head_limit;

    if (head_open && size_bytes) {
        uint64_t room = self->head_limit - self->index.head_bytes;
        size_t part = size_bytes < room ? size_bytes : (size_t)room;
        size_t done = write_all (self, self->head, from, part);
        self->index.head_bytes += done;
        self->total_bytes += done;
        if (done < part) {
            /* The head ends here for good: what comes next would not be its continuation. */
            self->total_bytes += size_bytes - done;
            return;
        }
        from += done;
        size_bytes -= done;
    }
    if (size_bytes == 0)
        return;
    if (!self->in_tail)
        restart_tail (self);
    if (self->in_tail)
        write_tail (self, from, size_bytes);
    else
        self->total_bytes += size_bytes;
}

static bool append_file (rota_output_t *self, int from, uint64_t size)
{
    char buffer[65536];
    uint64_t offset = 0;
    while (offset < size) {
        ssize_t got = pread (from, buffer, sizeof buffer, (off_t)offset);
        if (got <= 0 || write_all (self, self->head, buffer, (size_t)got) != (size_t)got)
            return false;
        offset += (uint64_t)got;
    }
    return true;
}

/* Puts the tail behind the head. When the disk has no room for that, everything stays as it is: readers
 * understand both forms. */
static bool merge (rota_output_t *self)
{
    unsigned current = (unsigned)self->index.current, other = 1 - current;
    uint64_t tail_bytes = self->other_bytes + self->current_bytes;
    uint64_t tail_start = self->index.start[current] - self->other_bytes;
    uint64_t gap = self->total_bytes - self->index.head_bytes - tail_bytes;
    char line[96] = "";

    if (gap)
        snprintf (line, sizeof line, "\n[rota: %" PRIu64 " bytes left out here]\n", gap);
    size_t line_size = strlen (line);
    if (write_all (self, self->head, line, line_size) != line_size ||
        !append_file (self, self->tail[other], self->other_bytes) ||
        !append_file (self, self->tail[current], self->current_bytes)) {
        if (ftruncate (self->head, (off_t)self->index.head_bytes) < 0)
            note (self, -errno);
        return false;
    }
    self->index.merged = 1;
    self->index.file_offset = self->index.head_bytes + line_size;
    self->index.tail_start = tail_start;
    return write_index (self);
}

void rota_output_close (rota_output_t **self_p, rota_output_summary_t *ret_summary)
{
    rota_output_t *self = *self_p;
    if (!self)
        return;
    uint64_t kept = self->index.head_bytes + self->other_bytes + self->current_bytes;
    *ret_summary = (rota_output_summary_t){.total_bytes = self->total_bytes,
                                           .dropped_bytes = self->total_bytes - kept,
                                           .failure = self->failure};
    if (self->total_bytes > self->index.head_bytes) {
        self->index.total_bytes = self->total_bytes;
        /* Writing failed to the end: without a tail there is at least an index that says so. */
        if (self->index_file < 0 || self->tail[0] < 0 || self->tail[1] < 0)
            restart_tail (self);
        if (self->index_file >= 0 && self->tail[0] >= 0 && self->tail[1] >= 0) {
            if (merge (self)) {
                remove_beside (self->path, ROTA_OUTPUT_TAIL[0]);
                remove_beside (self->path, ROTA_OUTPUT_TAIL[1]);
            } else {
                write_index (self);
            }
        }
    }
    close_if_open (&self->head);
    close_if_open (&self->tail[0]);
    close_if_open (&self->tail[1]);
    close_if_open (&self->index_file);
    free (self);
    *self_p = NULL;
}
