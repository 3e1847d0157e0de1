/* What was answered to whom: one row per conversation, so that a request that is sent again has its effect
 * once (design 2.4).
 *
 * A window holds the answers to the requests after `low`; a client that says what it has got (`answered`)
 * keeps it short. A row's window: for each answer u64 number, u64 hash of the request, u32 type, u32 length,
 * the bytes.
 */
#include "scheduler/service_internal.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define WINDOW_MAX 256
#define ANSWER_MAX_BYTES 512

typedef struct {
    uint64_t number, hash;
    uint32_t type, size;
    uint8_t *body;
} answer_t;

typedef struct {
    uint8_t id[16];
    uint64_t low;
    answer_t *answers; /* in rising order of number */
    size_t count;
    int64_t used_ms;
    bool dirty;
    UT_hash_handle hh;
} conversation_t;

struct rota_answers {
    conversation_t *conversations;
    rota_envelope_t request; /* that is handled now */
    uint64_t hash;
    bool handling;
    size_t dirty;
};

rota_answers_t *rota_answers_new (void)
{
    return calloc (1, sizeof (rota_answers_t));
}

static void drop_first (conversation_t *it, size_t count)
{
    if (!count)
        return;
    for (size_t i = 0; i < count; i++)
        free (it->answers[i].body);
    memmove (it->answers, it->answers + count, (it->count - count) * sizeof *it->answers);
    it->count -= count;
}

static void drop_conversation (rota_answers_t *self, conversation_t *it)
{
    drop_first (it, it->count);
    free (it->answers);
    HASH_DEL (self->conversations, it);
    self->dirty -= it->dirty;
    free (it);
}

void rota_answers_destroy (rota_answers_t **self_p)
{
    rota_answers_t *self = *self_p;
    if (!self)
        return;
    conversation_t *it, *next;
    HASH_ITER (hh, self->conversations, it, next)
        drop_conversation (self, it);
    free (self);
    *self_p = NULL;
}

static conversation_t *find_or_add (rota_answers_t *self, const uint8_t id[16])
{
    conversation_t *it;
    HASH_FIND (hh, self->conversations, id, 16, it);
    if (it)
        return it;
    it = calloc (1, sizeof *it);
    if (!it)
        return NULL;
    memcpy (it->id, id, 16);
    HASH_ADD (hh, self->conversations, id, 16, it);
    return it;
}

static int append (conversation_t *it, uint64_t number, uint64_t hash, uint32_t type, const uint8_t *body,
                   size_t size)
{
    answer_t *grown = realloc (it->answers, (it->count + 1) * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    it->answers = grown;
    uint8_t *copy = malloc (size + 1);
    if (!copy)
        return -ENOMEM;
    if (size)
        memcpy (copy, body, size);
    size_t at = it->count++;
    for (; at > 0 && grown[at - 1].number > number; at--)
        grown[at] = grown[at - 1];
    grown[at] =
        (answer_t){.number = number, .hash = hash, .type = type, .size = (uint32_t)size, .body = copy};
    return 0;
}

#define HEAD_BYTES 24

int rota_answers_load (rota_answers_t *self, const uint8_t id[16], uint64_t low, const uint8_t *window,
                       size_t size, int64_t used_ms)
{
    conversation_t *it = find_or_add (self, id);
    if (!it)
        return -ENOMEM;
    it->low = low;
    it->used_ms = used_ms;
    while (size >= HEAD_BYTES && it->count < WINDOW_MAX) {
        uint64_t number, hash;
        uint32_t type, length;
        memcpy (&number, window, 8);
        memcpy (&hash, window + 8, 8);
        memcpy (&type, window + 16, 4);
        memcpy (&length, window + 20, 4);
        if (length > size - HEAD_BYTES)
            return -EBADMSG;
        if (append (it, number, hash, type, window + HEAD_BYTES, length) < 0)
            return -ENOMEM;
        window += HEAD_BYTES + length;
        size -= HEAD_BYTES + length;
    }
    return 0;
}

static void raise_low (conversation_t *it, uint64_t low)
{
    if (low <= it->low)
        return;
    size_t known = 0;
    while (known < it->count && it->answers[known].number <= low)
        known++;
    drop_first (it, known);
    it->low = low;
}

rota_answer_state_t rota_answers_look_up (rota_answers_t *self, const rota_envelope_t *request,
                                          uint64_t body_hash, int64_t wall_ms, uint32_t *ret_type,
                                          const uint8_t **ret_body, size_t *ret_size)
{
    conversation_t *it = find_or_add (self, request->conversation);
    if (!it)
        return ROTA_ANSWER_NO_MEMORY;
    it->used_ms = wall_ms;
    for (size_t i = 0; i < it->count; i++) {
        if (it->answers[i].number != request->sequence)
            continue;
        if (it->answers[i].hash != body_hash)
            return ROTA_ANSWER_CONFLICT;
        *ret_type = it->answers[i].type;
        *ret_body = it->answers[i].body;
        *ret_size = it->answers[i].size;
        return ROTA_ANSWER_REPEATED;
    }
    if (request->sequence <= it->low)
        return ROTA_ANSWER_ENDED;
    if (request->answered < request->sequence)
        raise_low (it, request->answered);
    if (request->sequence > WINDOW_MAX)
        raise_low (it, request->sequence - WINDOW_MAX);
    return ROTA_ANSWER_NEW;
}

/* Compact: a long answer keeps its type and loses its lists; who asks again can ask for the state. */
static void compact_and_append (conversation_t *it, const rota_envelope_t *request, uint64_t hash,
                                uint32_t type, const uint8_t *body, size_t size)
{
    uint8_t small[ANSWER_MAX_BYTES];
    if (size > ANSWER_MAX_BYTES) {
        Rota__Error error = ROTA__ERROR__INIT;
        error.has_code = error.has_text = true;
        error.code = ERROR_CODE (REFUSED);
        error.text = rota_bytes ("this request was answered before; the answer was too long to be kept");
        type = ROTA_MESSAGE_ERROR;
        size = rota__error__pack (&error, small);
        body = small;
    }
    if (append (it, request->sequence, hash, type, body, size) < 0)
        return;
    if (it->count > WINDOW_MAX)
        raise_low (it, it->answers[0].number);
}

void rota_answers_keep (rota_answers_t *self, const rota_envelope_t *request, uint64_t body_hash,
                        uint32_t type, const uint8_t *body, size_t size)
{
    conversation_t *it = find_or_add (self, request->conversation);
    if (!it)
        return;
    compact_and_append (it, request, body_hash, type, body, size);
    self->dirty += !it->dirty;
    it->dirty = true;
}

void rota_answers_begin (rota_answers_t *self, const rota_envelope_t *request, uint64_t body_hash)
{
    self->request = *request;
    self->hash = body_hash;
    self->handling = true;
}

void rota_answers_end (rota_answers_t *self)
{
    self->handling = false;
}

static bool is_same (const rota_envelope_t *a, const rota_envelope_t *b)
{
    return a->sequence == b->sequence && memcmp (a->conversation, b->conversation, 16) == 0;
}

/* RETRY_LATER and the like are no answers: the request had no effect and is welcome again. */
static bool is_final (uint32_t type, const uint8_t *body, size_t size)
{
    if (type != ROTA_MESSAGE_ERROR)
        return true;
    Rota__Error *error = rota__error__unpack (NULL, size, body);
    bool final = error && error->code != ERROR_CODE (RETRY_LATER) && error->code != ERROR_CODE (BUSY) &&
                 error->code != ERROR_CODE (DISK_FULL) && error->code != ERROR_CODE (STORE_FAILED);
    if (error)
        rota__error__free_unpacked (error, NULL);
    return final;
}

void rota_answers_answer (rota_answers_t *self, const rota_envelope_t *request, uint32_t type,
                          const uint8_t *body, size_t size)
{
    if (self->handling && is_same (&self->request, request) && is_final (type, body, size))
        rota_answers_keep (self, request, self->hash, type, body, size);
}

bool rota_answers_dirty (const rota_answers_t *self)
{
    return self->dirty > 0;
}

static void store_one (const conversation_t *it, rota_store_t *store)
{
    size_t size = 0;
    for (size_t i = 0; i < it->count; i++)
        size += HEAD_BYTES + it->answers[i].size;
    uint8_t *window = malloc (size + 1), *at = window;
    if (!window)
        return;
    for (size_t i = 0; i < it->count; i++) {
        const answer_t *answer = &it->answers[i];
        memcpy (at, &answer->number, 8);
        memcpy (at + 8, &answer->hash, 8);
        memcpy (at + 16, &answer->type, 4);
        memcpy (at + 20, &answer->size, 4);
        memcpy (at + HEAD_BYTES, answer->body, answer->size);
        at += HEAD_BYTES + answer->size;
    }
    rota_store_set_conversation (store, it->id, it->low, window, size, it->used_ms);
    free (window);
}

void rota_answers_store (rota_answers_t *self, rota_store_t *store)
{
    if (!self->dirty)
        return;
    for (conversation_t *it = self->conversations; it; it = it->hh.next)
        if (it->dirty)
            store_one (it, store);
}

void rota_answers_stored (rota_answers_t *self)
{
    if (!self->dirty)
        return;
    for (conversation_t *it = self->conversations; it; it = it->hh.next)
        it->dirty = false;
    self->dirty = 0;
}

/* An idle conversation loses its answers, but not the number up to which it had them: what comes again after
 * that is refused, never run a second time. The row itself goes much later. */
size_t rota_answers_expire (rota_answers_t *self, rota_store_t *store, int64_t before_ms,
                            int64_t forget_before_ms)
{
    size_t changed = 0;
    conversation_t *it, *next;
    HASH_ITER (hh, self->conversations, it, next) {
        if (it->dirty || it->used_ms >= before_ms)
            continue;
        if (it->used_ms < forget_before_ms) {
            rota_store_drop_conversation (store, it->id);
            drop_conversation (self, it);
            changed++;
        } else if (it->count) {
            raise_low (it, it->answers[it->count - 1].number);
            store_one (it, store);
            changed++;
        }
    }
    return changed;
}
