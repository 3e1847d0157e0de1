/* output.h - the output of one attempt on disk: its head and its tail, within a limit.
 *
 * PATH holds the stream from its start, up to half of the limit. What comes after goes in turns to PATH.tail0
 * and PATH.tail1, a quarter of the limit each; the one that is full gives way to the other, so the last
 * quarter at least is always there. PATH.index says which bytes of the stream lie where; it exists only when
 * the head did not suffice. At close the tail is put behind the head, with a line between them that states
 * what was left out, and the two tail files go. Files have mode 0600.
 *
 * Writing: owner is the shim. A full disk stops nothing: what can't be written is counted as dropped. Reading
 * is by offset in the whole stream, from any process, while it is written and after. Bytes are kept as they
 * come, NULs too.
 */
#ifndef ROTA_OUTPUT_H
#define ROTA_OUTPUT_H

#include "bus/error.h"

#include <stddef.h>
#include <stdint.h>

#define ROTA_OUTPUT_LIMIT_MIN_BYTES 4096
#define ROTA_OUTPUT_PATH_MAX_BYTES 3800 /* leaves room for the names beside it */

typedef struct rota_output rota_output_t;

typedef struct {
    uint64_t total_bytes, dropped_bytes;
    int failure; /* the first errno that a write met, negative, or 0 */
} rota_output_summary_t;

/* Begins anew, whatever lay at `path`; its directory exists. 0, or a negative errno. */
int rota_output_open (const char *path, uint64_t limit_bytes, rota_output_t **ret_self, rota_error_t *error);
void rota_output_write (rota_output_t *self, const void *bytes, size_t size_bytes);
void rota_output_close (rota_output_t **self_p, rota_output_summary_t *ret_summary);

typedef struct {
    uint64_t offset;      /* of the first byte; beyond the one asked for, what lay between is lost */
    size_t size_bytes;    /* 0: nothing there (yet) */
    uint64_t total_bytes; /* of the stream so far */
} rota_output_piece_t;

/* Reads at most `capacity` bytes from `offset` on. 0; -ENOENT without such a log; -EAGAIN when it changed
 * under the reader again and again; or what the system says. */
int rota_output_read (const char *path, uint64_t offset, void *buffer, size_t capacity,
                      rota_output_piece_t *ret_piece);

/* Removes the log and what lies beside it. */
void rota_output_remove (const char *path);

#endif
