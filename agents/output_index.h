/* output_index.h - what the writer and the reader of output.h share: the names and the index. */
#ifndef ROTA_OUTPUT_INDEX_H
#define ROTA_OUTPUT_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROTA_OUTPUT_INDEX ".index"
#define ROTA_OUTPUT_INDEX_MAGIC 0x3178646961746f72u /* "rotaidx1" */
extern const char *const ROTA_OUTPUT_TAIL[2];

/* PATH.index, as it lies on disk, in the machine's byte order: logs don't travel. All sizes and offsets are
 * of the stream unless said otherwise. */
typedef struct {
    uint64_t magic;
    uint64_t generation; /* rises with each change: a reader that saw two reads again */
    uint64_t head_bytes;
    uint64_t start[2]; /* of each tail file */
    uint64_t current;  /* tail file that is written */
    uint64_t merged;   /* 1: the tail lies in PATH itself, at file_offset */
    uint64_t file_offset, tail_start;
    uint64_t total_bytes; /* 0 while it is written */
    uint64_t check;
} rota_output_index_t;

uint64_t rota_output_index_check (const rota_output_index_t *index);
bool rota_output_index_is_valid (const rota_output_index_t *index, size_t size_bytes);

/* A descriptor, or a negative errno. */
int rota_output_open_beside (const char *path, const char *suffix, int flags);

#endif
