#include "agents/output.h"
#include "agents/output_index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_TRIES 8

/* 1 and the index; 0 without one; negative errno (-EAGAIN: it is being written). */
static int read_index (const char *path, rota_output_index_t *ret_index)
{
    memset (ret_index, 0, sizeof *ret_index);
    int fd = rota_output_open_beside (path, ROTA_OUTPUT_INDEX, O_RDONLY);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    ssize_t size = pread (fd, ret_index, sizeof *ret_index, 0);
    close (fd);
    if (size < 0)
        return -errno;
    return rota_output_index_is_valid (ret_index, (size_t)size) ? 1 : -EAGAIN;
}

/* A run of the stream's bytes that lies in one file. */
typedef struct {
    const char *suffix;
    uint64_t start, size_bytes, file_offset;
} run_t;

static int file_size (const char *path, const char *suffix, uint64_t *ret_size)
{
    struct stat info;
    int fd = rota_output_open_beside (path, suffix, O_RDONLY);
    if (fd < 0)
        return fd;
    int status = fstat (fd, &info) < 0 ? -errno : 0;
    close (fd);
    if (status == 0)
        *ret_size = (uint64_t)info.st_size;
    return status;
}

/* Where everything lies, in the stream's order. Returns how many runs, at most 3. */
static int find_runs (const char *path, const rota_output_index_t *index, run_t runs[3], uint64_t *ret_total)
{
    uint64_t size = 0, other_size = 0;
    int status = file_size (path, "", &size);
    if (status < 0)
        return status;
    if (index->magic == 0) {
        runs[0] = (run_t){"", 0, size, 0};
        *ret_total = size;
        return 1;
    }
    runs[0] = (run_t){"", 0, index->head_bytes, 0};
    if (index->merged) {
        uint64_t tail = size > index->file_offset ? size - index->file_offset : 0;
        runs[1] = (run_t){"", index->tail_start, tail, index->file_offset};
        *ret_total = index->total_bytes;
        return 2;
    }
    unsigned current = (unsigned)index->current, other = 1 - current;
    if (file_size (path, ROTA_OUTPUT_TAIL[other], &other_size) < 0 ||
        file_size (path, ROTA_OUTPUT_TAIL[current], &size) < 0)
        return -EAGAIN;
    runs[1] = (run_t){ROTA_OUTPUT_TAIL[other], index->start[other], other_size, 0};
    runs[2] = (run_t){ROTA_OUTPUT_TAIL[current], index->start[current], size, 0};
    *ret_total = index->total_bytes ? index->total_bytes : index->start[current] + size;
    return 3;
}

static int read_once (const char *path, const rota_output_index_t *index, uint64_t offset, void *buffer,
                      size_t capacity, rota_output_piece_t *ret_piece)
{
    run_t runs[3];
    rota_output_piece_t piece = {.offset = offset};
    int count = find_runs (path, index, runs, &piece.total_bytes);
    for (int i = 0; i < count; i++) {
        const run_t *run = &runs[i];
        if (run->size_bytes == 0 || offset >= run->start + run->size_bytes)
            continue;
        uint64_t from = offset > run->start ? offset : run->start;
        uint64_t there = run->start + run->size_bytes - from;
        int fd = rota_output_open_beside (path, run->suffix, O_RDONLY);
        if (fd < 0)
            return fd == -ENOENT ? -EAGAIN : fd;
        ssize_t size = pread (fd, buffer, there < capacity ? (size_t)there : capacity,
                              (off_t)(run->file_offset + from - run->start));
        int code = -errno;
        close (fd);
        if (size < 0)
            return code;
        piece.offset = from;
        piece.size_bytes = (size_t)size;
        break;
    }
    if (count < 0)
        return count;
    *ret_piece = piece;
    return 0;
}

int rota_output_read (const char *path, uint64_t offset, void *buffer, size_t capacity,
                      rota_output_piece_t *ret_piece)
{
    int status = -EAGAIN;
    for (int i = 0; i < READ_TRIES && status == -EAGAIN; i++) {
        rota_output_index_t before, after;
        rota_output_piece_t piece;
        if ((status = read_index (path, &before)) < 0)
            continue;
        if ((status = read_once (path, &before, offset, buffer, capacity, &piece)) < 0)
            continue;
        if ((status = read_index (path, &after)) < 0)
            continue;
        /* Files moved while they were read: what was read may be anything. */
        status = before.generation == after.generation ? 0 : -EAGAIN;
        if (status == 0)
            *ret_piece = piece;
    }
    return status;
}
