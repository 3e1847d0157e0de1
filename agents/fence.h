/* fence.h - which scheduler may command this host: the newest one of the store, remembered over restarts.
 *
 * A scheduler that was suspended and replaced may still speak when it wakes. Its epoch is lower than what the
 * host has seen, so nothing it says has an effect. Epochs count within one incarnation of the store.
 */
#ifndef ROTA_FENCE_H
#define ROTA_FENCE_H

#include "proto/envelope.h"

typedef struct {
    bool known;
    uint8_t store[16];
    uint64_t epoch;
} rota_fence_t;

typedef enum {
    ROTA_FENCE_SAME,
    ROTA_FENCE_RAISED,    /* the same store, a newer scheduler */
    ROTA_FENCE_NEW_STORE, /* another store than before, or the first */
    ROTA_FENCE_STALE,     /* to be ignored */
} rota_fence_verdict_t;

/* Looks only. Without store or epoch: stale. */
rota_fence_verdict_t rota_fence_judge (const rota_fence_t *self, const rota_envelope_t *envelope);
/* Takes the envelope's scheduler as the newest, and writes that to `directory`, synced. 0, or a negative
 * errno: then it holds for this process only. */
int rota_fence_raise (rota_fence_t *self, const rota_envelope_t *envelope, const char *directory);
/* What was written; unknown if nothing was or it can't be understood. */
void rota_fence_load (rota_fence_t *ret_fence, const char *directory);

#endif
