/* sse.h - server-sent events out of a stream of bytes (WHATWG HTML, "Server-sent events").
 *
 * Lines end in LF, CR or CRLF; an event is given when its empty line has come, one that the stream cuts never
 * is. What an event holds is bounded; fields other than `event` and `data`, and comments, are passed over.
 *
 * Owner: one thread at a time.
 */
#ifndef ROTA_SSE_H
#define ROTA_SSE_H

#include <stdbool.h>
#include <stddef.h>

#define ROTA_SSE_EVENT_MAX_BYTES ((size_t)32 << 20)
#define ROTA_SSE_NAME_BYTES 64

/* One event; `data` is followed by a NUL, which `size_bytes` doesn't count. Other than 0 ends the feeding. */
typedef int rota_sse_take_t (void *context, const char *name, const char *data, size_t size_bytes);

/* Zeroed at first. */
typedef struct {
    char *line; /* the unfinished one */
    size_t line_used, line_capacity;
    char *data; /* of the event so far; each of its lines is followed by LF */
    size_t data_used, data_capacity;
    char name[ROTA_SSE_NAME_BYTES];
    bool after_cr; /* a LF that follows belongs to it */
    bool begun;    /* no byte order mark any more */
} rota_sse_t;

/* 0, what `take` returned, -EMSGSIZE for an event beyond the bound, or -ENOMEM. After another than 0 only
 * rota_sse_end may follow. */
int rota_sse_feed (rota_sse_t *self, const char *bytes, size_t size_bytes, rota_sse_take_t *take,
                   void *context);
/* Frees what was held. */
void rota_sse_end (rota_sse_t *self);

#endif
