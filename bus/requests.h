/* requests.h - a peer's requests that wait for an answer: by sequence number, by age, and by the time at
 * which each next wants something done.
 *
 * Owner: the peer. Bounded by max_outstanding. Invariants: sequence numbers rise along the list; the heap's
 * first is the request with the smallest wake_ms.
 */
#ifndef ROTA_REQUESTS_H
#define ROTA_REQUESTS_H

#include "bus/peer.h"

typedef struct rota_request {
    struct rota_request *older, *newer;
    uint64_t sequence;
    uint32_t type;
    bool has_to;
    uint8_t to[16];
    uint8_t *body;
    size_t size_bytes;
    int64_t asked_ms;
    int64_t deadline_ms;     /* INT64_MAX = none */
    int64_t send_ms;         /* when it is to be sent (again) */
    bool held;               /* send_ms is what RETRY_LATER asked for: not to be sent before it */
    Rota__ErrorCode put_off; /* why it was last put off: UNAVAILABLE, RETRY_LATER, or 0 */
    rota_reply_fn on_reply;
    void *context;
    size_t heap_index;
} rota_request_t;

typedef struct rota_requests rota_requests_t;

rota_requests_t *rota_requests_new (size_t max_outstanding);
void rota_requests_destroy (rota_requests_t **self_p); /* frees what is left, calling nobody */

/* Adds a request with the next sequence number; takes `body`. NULL when the table is full or there is no
 * memory (then `body` stays the caller's). */
rota_request_t *rota_requests_add (rota_requests_t *self, uint8_t *body, size_t size_bytes,
                                   int64_t deadline_ms);
rota_request_t *rota_requests_find (const rota_requests_t *self, uint64_t sequence);
/* Takes it out of the table; the caller has it now and frees it. */
void rota_requests_take (rota_requests_t *self, rota_request_t *request);
void rota_request_free (rota_request_t *request);

void rota_requests_set_send (rota_requests_t *self, rota_request_t *request, int64_t send_ms);

/* The numbers begin at 1 again; only while none waits. */
void rota_requests_restart (rota_requests_t *self);

size_t rota_requests_count (const rota_requests_t *self);
bool rota_requests_is_full (const rota_requests_t *self);
rota_request_t *rota_requests_oldest (const rota_requests_t *self);
/* The one to look at first, or NULL; its time is the smaller of send_ms and deadline_ms. */
rota_request_t *rota_requests_first_due (const rota_requests_t *self, int64_t *ret_wake_ms);
/* All before this one have been answered or given up. */
uint64_t rota_requests_answered (const rota_requests_t *self);

#endif
