/* streams.h - a program's standard output and standard error, read apart, in one output (output.h) without
 * cutting each other's lines: what a program says for programs, a JSON object a line, must stay whole
 * whatever its libraries print meanwhile.
 *
 * Standard output goes through as it comes. Of standard error whole lines are put between the lines of
 * standard output; what has no end yet is held, at most 64 KiB of it, then it gets one.
 *
 * Owner: the shim.
 */
#ifndef ROTA_STREAMS_H
#define ROTA_STREAMS_H

#include "agents/output.h"

#include <stdbool.h>

#define ROTA_STREAMS_HELD_MAX_BYTES ((size_t)64 << 10)

/* Zeroed at first, but for `output`, which is the caller's. */
typedef struct {
    rota_output_t *output;
    bool open;  /* standard output is in the middle of a line */
    char *held; /* of standard error */
    size_t held_bytes;
} rota_streams_t;

void rota_streams_out (rota_streams_t *self, const char *bytes, size_t size_bytes);
/* Without memory to hold it, it goes through as it comes. */
void rota_streams_err (rota_streams_t *self, const char *bytes, size_t size_bytes);
/* Nothing more comes: writes what is held, and frees. */
void rota_streams_end (rota_streams_t *self);

#endif
