#include "bus/requests.h"

#include <assert.h>
#include <stdlib.h>

#define FIRST_SLOTS 64 /* a power of two */

struct rota_requests {
    size_t max_outstanding;
    size_t count;
    uint64_t last_sequence;
    rota_request_t *oldest, *newest;
    rota_request_t **slots; /* open addressing by sequence, at most half full */
    size_t n_slots;         /* a power of two */
    rota_request_t **heap;  /* by wake time; has n_slots / 2 places */
};

static int64_t wake_ms (const rota_request_t *request)
{
    return request->send_ms < request->deadline_ms ? request->send_ms : request->deadline_ms;
}

/* ---- heap */

static void place (rota_requests_t *self, size_t index, rota_request_t *request)
{
    self->heap[index] = request;
    request->heap_index = index;
}

static void sift_up (rota_requests_t *self, rota_request_t *request)
{
    size_t index = request->heap_index;
    while (index > 0 && wake_ms (request) < wake_ms (self->heap[(index - 1) / 2])) {
        place (self, index, self->heap[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    place (self, index, request);
}

static void sift_down (rota_requests_t *self, rota_request_t *request)
{
    size_t index = request->heap_index;
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= self->count)
            break;
        if (child + 1 < self->count && wake_ms (self->heap[child + 1]) < wake_ms (self->heap[child]))
            child++;
        if (wake_ms (self->heap[child]) >= wake_ms (request))
            break;
        place (self, index, self->heap[child]);
        index = child;
    }
    place (self, index, request);
}

/* ---- table by sequence */

static size_t home (const rota_requests_t *self, uint64_t sequence)
{
    return (size_t)(sequence * 0x9e3779b97f4a7c15u >> 20) & (self->n_slots - 1);
}

static void insert (rota_requests_t *self, rota_request_t *request)
{
    size_t slot = home (self, request->sequence);
    while (self->slots[slot])
        slot = (slot + 1) & (self->n_slots - 1);
    self->slots[slot] = request;
}

/* Linear probing without tombstones: what follows the hole moves back unless it would pass its home. */
static void erase (rota_requests_t *self, const rota_request_t *request)
{
    size_t mask = self->n_slots - 1;
    size_t hole = home (self, request->sequence);
    while (self->slots[hole] != request)
        hole = (hole + 1) & mask;
    for (size_t next = (hole + 1) & mask; self->slots[next]; next = (next + 1) & mask) {
        size_t wanted = home (self, self->slots[next]->sequence);
        if (((next - wanted) & mask) < ((next - hole) & mask))
            continue;
        self->slots[hole] = self->slots[next];
        hole = next;
    }
    self->slots[hole] = NULL;
}

static bool grow (rota_requests_t *self)
{
    size_t n_slots = self->n_slots * 2;
    rota_request_t **slots = calloc (n_slots, sizeof *slots);
    rota_request_t **heap = realloc (self->heap, n_slots / 2 * sizeof *heap);
    if (heap)
        self->heap = heap;
    if (!slots || !heap) {
        free (slots);
        return false;
    }
    free (self->slots);
    self->slots = slots;
    self->n_slots = n_slots;
    for (rota_request_t *request = self->oldest; request; request = request->newer)
        insert (self, request);
    return true;
}

/* ---- */

rota_requests_t *rota_requests_new (size_t max_outstanding)
{
    rota_requests_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    self->max_outstanding = max_outstanding;
    self->n_slots = FIRST_SLOTS;
    self->slots = calloc (self->n_slots, sizeof *self->slots);
    self->heap = calloc (self->n_slots / 2, sizeof *self->heap);
    if (!self->slots || !self->heap)
        rota_requests_destroy (&self);
    return self;
}

void rota_requests_destroy (rota_requests_t **self_p)
{
    rota_requests_t *self = *self_p;
    if (!self)
        return;
    while (self->oldest) {
        rota_request_t *newer = self->oldest->newer;
        rota_request_free (self->oldest);
        self->oldest = newer;
    }
    free (self->slots);
    free (self->heap);
    free (self);
    *self_p = NULL;
}

void rota_request_free (rota_request_t *request)
{
    free (request->body);
    free (request);
}

rota_request_t *rota_requests_add (rota_requests_t *self, uint8_t *body, size_t size_bytes,
                                   int64_t deadline_ms)
{
    if (rota_requests_is_full (self) || (self->count == self->n_slots / 2 && !grow (self)))
        return NULL;
    rota_request_t *request = calloc (1, sizeof *request);
    if (!request)
        return NULL;
    request->sequence = ++self->last_sequence;
    request->body = body;
    request->size_bytes = size_bytes;
    request->deadline_ms = deadline_ms;
    request->send_ms = INT64_MAX;

    request->older = self->newest;
    if (self->newest)
        self->newest->newer = request;
    else
        self->oldest = request;
    self->newest = request;
    insert (self, request);
    request->heap_index = self->count++;
    sift_up (self, request);
    return request;
}

rota_request_t *rota_requests_find (const rota_requests_t *self, uint64_t sequence)
{
    for (size_t slot = home (self, sequence); self->slots[slot]; slot = (slot + 1) & (self->n_slots - 1))
        if (self->slots[slot]->sequence == sequence)
            return self->slots[slot];
    return NULL;
}

void rota_requests_take (rota_requests_t *self, rota_request_t *request)
{
    erase (self, request);
    rota_request_t *last = self->heap[--self->count];
    if (last != request) {
        place (self, request->heap_index, last);
        sift_up (self, last);
        sift_down (self, last);
    }
    if (request->older)
        request->older->newer = request->newer;
    else
        self->oldest = request->newer;
    if (request->newer)
        request->newer->older = request->older;
    else
        self->newest = request->older;
    request->older = request->newer = NULL;
}

void rota_requests_set_send (rota_requests_t *self, rota_request_t *request, int64_t send_ms)
{
    request->send_ms = send_ms;
    sift_up (self, request);
    sift_down (self, request);
}

void rota_requests_restart (rota_requests_t *self)
{
    assert (self->count == 0);
    self->last_sequence = 0;
}

size_t rota_requests_count (const rota_requests_t *self)
{
    return self->count;
}

bool rota_requests_is_full (const rota_requests_t *self)
{
    return self->count >= self->max_outstanding;
}

rota_request_t *rota_requests_oldest (const rota_requests_t *self)
{
    return self->oldest;
}

rota_request_t *rota_requests_first_due (const rota_requests_t *self, int64_t *ret_wake_ms)
{
    if (self->count == 0)
        return NULL;
    *ret_wake_ms = wake_ms (self->heap[0]);
    return self->heap[0];
}

uint64_t rota_requests_answered (const rota_requests_t *self)
{
    return self->oldest ? self->oldest->sequence - 1 : self->last_sequence;
}
