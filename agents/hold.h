/* hold.h - the attempts that a host holds: those that run, and those whose result nobody has acknowledged.
 *
 * Owner: the host's thread. Small tables: at most the slots, what earlier hosts left, and what waits for the
 * scheduler. Invariant: an attempt (store, key, number) is there once.
 */
#ifndef ROTA_HOLD_H
#define ROTA_HOLD_H

#include "agents/adapter.h"
#include "agents/attempt.h"

#include <sys/types.h>

#define ROTA_HOLD_LAST_OUTPUT_BYTES 2048
#define ROTA_HOLD_SLOT_UNKNOWN UINT32_MAX

typedef enum {
    ROTA_HOLD_RUNNING,   /* a shim of ours has it; its end comes from the spawner */
    ROTA_HOLD_ELSEWHERE, /* a shim of an earlier host has it; its end comes from its pidfd */
    ROTA_HOLD_RIDING,   /* a member of a batch of merges; its end comes with that of the attempt that leads it
                         */
    ROTA_HOLD_FINISHED, /* the result waits for the scheduler's acknowledgement */
} rota_hold_state_t;

typedef struct {
    rota_hold_state_t state;
    uint8_t store[16];
    uint64_t key;
    uint32_t number;
    uint64_t epoch; /* of the coordinator that it was given to, for the report; 0 = none */
    char task_id[201];
    bool goes_on;        /* on_lost: continue */
    bool steerable;      /* it can be told something while it runs */
    bool must_end;       /* nothing is registered before it has ended */
    int64_t accepted_ms; /* monotonic */
    /* RUNNING */
    uint64_t launch;
    int control_fd; /* -1 = none */
    /* RUNNING, ELSEWHERE */
    unsigned slot; /* from 0, or ROTA_HOLD_SLOT_UNKNOWN: of an earlier host; no other has it */
    /* ELSEWHERE */
    int pid_fd; /* of the shim; -1 = none */
    bool lost; /* that shim is dead and left no outcome, or left something alive: its tree is being looked for
                */
    bool survives; /* `outcome` is known, and is reported when nothing of the tree is left */
    /* RIDING, or once it was: the attempt that does it, and its place there, from 1 */
    char lead_id[201];
    uint64_t lead_key;
    uint32_t lead_number, member;
    /* FINISHED */
    rota_outcome_t outcome;
    rota_adapter_result_t result;
    uint8_t last_output[ROTA_HOLD_LAST_OUTPUT_BYTES];
    size_t last_output_bytes;
    int64_t reported_ms; /* monotonic; INT64_MIN = not yet */
} rota_hold_t;

typedef struct {
    rota_hold_t **list;
    size_t count, capacity;
} rota_holds_t;

/* NULL on no memory. Descriptors are -1, the rest zero but for what is given. */
rota_hold_t *rota_hold_add (rota_holds_t *self, rota_hold_state_t state, const uint8_t store[16],
                            uint64_t key, uint32_t number, const char *task_id);
rota_hold_t *rota_hold_find (const rota_holds_t *self, const uint8_t store[16], uint64_t key,
                             uint32_t number);
/* The running attempt of that task, another than `number` perhaps. */
rota_hold_t *rota_hold_find_running (const rota_holds_t *self, const uint8_t store[16], uint64_t key);
rota_hold_t *rota_hold_find_launch (const rota_holds_t *self, uint64_t launch);
/* Closes its descriptors and frees it. */
void rota_hold_remove (rota_holds_t *self, rota_hold_t *hold);
void rota_hold_clear (rota_holds_t *self);

/* Those that ride on it. */
bool rota_hold_rides (const rota_hold_t *hold, const rota_hold_t *leader);

size_t rota_hold_running (const rota_holds_t *self); /* RUNNING and ELSEWHERE */
bool rota_hold_must_wait (const rota_holds_t *self); /* something must end before we register */

#endif
