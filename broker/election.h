/* election.h - which broker leads, and under which epoch: one interface for all ways to agree on it.
 *
 * `local` (election_local.c): several brokers on one host; a lock file in the state directory decides, a
 * synced counter there gives the epoch. Further ways implement rota_election_ops_t.
 *
 * Owner: the broker's thread. Invariant: epochs only rise, and no two leaders ever have the same one.
 */
#ifndef ROTA_BROKER_ELECTION_H
#define ROTA_BROKER_ELECTION_H

#include "bus/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct rota_election rota_election_t;

typedef struct {
    bool leads;
    uint64_t epoch;
    char leader[256]; /* endpoint of the one that leads, as far as known; "" = this one, or unknown */
} rota_election_state_t;

typedef struct {
    const char *name;
    /* What holds at `boot_ms` (CLOCK_BOOTTIME). *ret_again_ms: when to ask again, INT64_MAX = nothing will
     * change by itself. 0, or negative: leadership can't be decided any more and the broker must end. */
    int (*step) (void *self, int64_t boot_ms, rota_election_state_t *ret_state, int64_t *ret_again_ms,
                 rota_error_t *error);
    /* Gives leadership up and frees all. */
    void (*destroy) (void *self);
} rota_election_ops_t;

/* What every implementation begins with. */
struct rota_election {
    const rota_election_ops_t *ops;
};

int rota_election_step (rota_election_t *self, int64_t boot_ms, rota_election_state_t *ret_state,
                        int64_t *ret_again_ms, rota_error_t *error);
void rota_election_destroy (rota_election_t **self_p);

/* Takes the lock `state_dir`/broker.lock, writes pid, start time and incarnation into it, and raises the
 * epoch in `state_dir`/broker.epoch (synced before this returns). Leads until destroyed. 0 and *ret_election;
 * -EBUSY: another broker holds the lock, the text says which; -EUCLEAN: the epoch's file doesn't hold a
 * number; else what open, write and fsync say. */
__attribute__ ((warn_unused_result)) int
rota_election_local_new (const char *state_dir, rota_election_t **ret_election, rota_error_t *error);

#endif
