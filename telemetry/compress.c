#include "telemetry/compress.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define LEVEL 3 /* events are so alike that 6 costs twice the time for a tenth of the size */
#define GZIP_WINDOW (15 + 16)
#define TEMPORARY_BYTES (ROTA_JOURNAL_NAME_BYTES + 8)

struct rota_compress {
    const rota_file_ops_t *ops;
    int directory;
    char name[ROTA_JOURNAL_NAME_BYTES], finished[ROTA_JOURNAL_NAME_BYTES];
    char temporary[TEMPORARY_BYTES];
    int from, to;
    bool renamed;
    z_stream stream;
    bool stream_ready;
    uint8_t in[ROTA_COMPRESS_STEP_BYTES];
    uint8_t out[ROTA_COMPRESS_STEP_BYTES];
};

int rota_compress_new (const rota_file_ops_t *ops, int directory, const char *name, rota_compress_t **ret_job)
{
    rota_journal_file_t file;
    if (!rota_journal_name_parse (name, &file) || file.compressed)
        return -EINVAL;
    rota_compress_t *self = calloc (1, sizeof *self);
    if (!self)
        return -ENOMEM;
    self->ops = ops;
    self->directory = directory;
    self->from = self->to = -1;
    memcpy (self->name, file.name, sizeof self->name);
    rota_journal_name (file.day, file.number, true, self->finished);
    snprintf (self->temporary, sizeof self->temporary, "%s.tmp", self->finished);

    int rc = 0;
    self->from = openat (directory, name, O_RDONLY | O_CLOEXEC);
    if (self->from < 0)
        rc = -errno;
    if (rc == 0) {
        self->to = ops->open (ops->owner, directory, self->temporary, O_WRONLY | O_CREAT | O_TRUNC);
        rc = self->to < 0 ? self->to : 0;
    }
    if (rc == 0 &&
        deflateInit2 (&self->stream, LEVEL, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        rc = -ENOMEM;
    if (rc < 0) {
        rota_compress_destroy (&self);
        return rc;
    }
    self->stream_ready = true;
    *ret_job = self;
    return 0;
}

void rota_compress_destroy (rota_compress_t **self_p)
{
    rota_compress_t *self = *self_p;
    if (!self)
        return;
    if (self->stream_ready)
        deflateEnd (&self->stream);
    if (self->from >= 0)
        close (self->from);
    if (self->to >= 0) {
        close (self->to);
        if (!self->renamed)
            self->ops->unlink (self->ops->owner, self->directory, self->temporary);
    }
    free (self);
    *self_p = NULL;
}

const char *rota_compress_name (const rota_compress_t *self)
{
    return self->name;
}

static int write_all (rota_compress_t *self, size_t size_bytes)
{
    const uint8_t *at = self->out;
    while (size_bytes) {
        ssize_t written = self->ops->write (self->ops->owner, self->to, at, size_bytes);
        if (written <= 0)
            return written < 0 ? (int)written : -ENOSPC;
        at += written;
        size_bytes -= (size_t)written;
    }
    return 0;
}

static int deflate_input (rota_compress_t *self, size_t size_bytes, int flush)
{
    self->stream.next_in = self->in;
    self->stream.avail_in = (uInt)size_bytes;
    do {
        self->stream.next_out = self->out;
        self->stream.avail_out = sizeof self->out;
        if (deflate (&self->stream, flush) == Z_STREAM_ERROR)
            return -EIO;
        int rc = write_all (self, sizeof self->out - self->stream.avail_out);
        if (rc < 0)
            return rc;
    } while (self->stream.avail_out == 0);
    return 0;
}

static int finish (rota_compress_t *self)
{
    const rota_file_ops_t *ops = self->ops;
    int rc = deflate_input (self, 0, Z_FINISH);
    if (rc == 0)
        rc = ops->sync (ops->owner, self->to);
    if (rc == 0)
        rc = ops->rename (ops->owner, self->directory, self->temporary, self->finished);
    if (rc < 0)
        return rc;
    self->renamed = true;
    rc = ops->sync (ops->owner, self->directory);
    return rc < 0 ? rc : ops->unlink (ops->owner, self->directory, self->name);
}

int rota_compress_step (rota_compress_t *self)
{
    ssize_t length;
    do
        length = read (self->from, self->in, sizeof self->in);
    while (length < 0 && errno == EINTR);
    if (length < 0)
        return -errno;
    if (length == 0)
        return finish (self);
    int rc = deflate_input (self, (size_t)length, Z_NO_FLUSH);
    return rc < 0 ? rc : 1;
}

bool rota_compress_is_complete (int directory, const rota_journal_file_t *plain,
                                const rota_journal_file_t *compressed)
{
    int fd = openat (directory, compressed->name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    uint8_t trailer[4];
    ssize_t length = pread (fd, trailer, sizeof trailer, compressed->size_bytes - (off_t)sizeof trailer);
    close (fd);
    if (length != sizeof trailer)
        return false;
    uint32_t size = (uint32_t)trailer[0] | (uint32_t)trailer[1] << 8 | (uint32_t)trailer[2] << 16 |
                    (uint32_t)trailer[3] << 24;
    return size == (uint32_t)plain->size_bytes;
}
