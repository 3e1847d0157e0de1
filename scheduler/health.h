/* health.h - how things go: exact parts of all tasks, what happened of late, and the mode that follows from
 * it.
 *
 * Everything here is kept by increment: a request costs no more with a million tasks than with ten. What
 * happened of late is counted in counters that lose half of what they hold in each half-life, in integers and
 * by the core's clock alone, in every mode: who repeats a run gets the same, and nothing is remembered for
 * ever.
 *
 * Owner: the scheduler's thread, as the core's. Invariants: rota_core_health_verify, called by
 * rota_core_verify.
 */
#ifndef ROTA_HEALTH_H
#define ROTA_HEALTH_H

#include "scheduler/core.h"

#define ROTA_UNKNOWN UINT32_MAX /* no data: nobody knows, which is not 0 */
#define ROTA_RATE_UNIT 65536    /* of one event in a rate */
#define ROTA_RATE_STEPS 16      /* in a half-life; between them nothing decays */

typedef struct {
    int64_t at_ms;            /* it has decayed up to here; a multiple of a step; 0 = nothing yet */
    uint64_t observed_ms;     /* for how long has been counted, decayed as the rest */
    uint64_t ended;           /* work that came to a result of its own */
    uint64_t bad;             /* failed, or was found wanting by a gate, a review, a merge */
    uint64_t limited;         /* met a provider's limit */
    uint64_t done;            /* tasks */
    uint64_t judged, quality; /* scores, and their sum in permille */
} rota_rate_t;

/* By how much time has gone; the result does not depend on how often it is called. */
void rota_rate_decay (rota_rate_t *self, int64_t now_ms, int64_t half_life_ms);
/* In permille; ROTA_UNKNOWN with less than `least` results. */
uint32_t rota_rate_failures (const rota_rate_t *self, uint32_t least);
uint32_t rota_rate_quality (const rota_rate_t *self, uint32_t least);
/* Tasks in 1000 hours; -1 = nothing was observed yet. */
int64_t rota_rate_throughput (const rota_rate_t *self, int64_t now_ms);

typedef struct {
    uint64_t total; /* all statuses add up to it, and all places too */
    uint64_t status[ROTA_STATUSES], place[ROTA_PLACES];
    uint64_t unassignable;     /* of the ready; of the whole alone */
    uint64_t scored;           /* tasks with a score */
    uint32_t quality_permille; /* their mean; ROTA_UNKNOWN = none has one */
    uint32_t failure_permille; /* of late; ROTA_UNKNOWN = too little came to an end */
    uint64_t ended_milli;      /* results that this is of, in thousandths: old ones count less */
    int64_t throughput;        /* rota_rate_throughput */
} rota_core_health_t;
/* Of a group, or of all (ROTA_NONE). O(classes + sources). */
void rota_core_health (const rota_core_t *self, rota_node_t group, int64_t now_ms,
                       rota_core_health_t *ret_health);
/* Two answers with the same version are the same. It never falls while the core lives. */
uint64_t rota_core_health_version (const rota_core_t *self, int64_t now_ms);
/* The score of a task's work as it is judged now, 0 to 1000, in place of the one it had; ROTA_UNKNOWN takes
 * it away. `loading`: it was given before, and says nothing of late. */
void rota_core_health_quality (rota_core_t *self, rota_node_t node, uint32_t permille, bool loading);
uint32_t rota_core_quality_of (const rota_core_t *self, rota_node_t node);

/* ------------------------------------------------------------------ modes (core_modes.c) */

typedef enum {
#define MODE(ID, name, share, review, fixup, retry_s, fresh_s, small, doc) ROTA_MODE_##ID,
#define THRESHOLD(ID, begin, end, what)
#include "scheduler/modes.def"
    ROTA_MODES
} rota_mode_t;

const char *rota_mode_name (rota_mode_t mode);
const char *rota_mode_meaning (rota_mode_t mode);
rota_mode_t rota_mode_parse (const char *name, size_t length); /* ROTA_MODES: unknown */

typedef struct {
    rota_mode_t mode;
    bool pinned; /* by the settings */
    int64_t since_ms;
    const char *reason; /* in words, borrowed until the mode changes */
    uint64_t changes;   /* since the core was made */
    /* What it is decided by: the agents' work of late; commands say nothing of agents. */
    uint32_t failure_permille, quality_permille; /* ROTA_UNKNOWN */
    uint32_t limits_tenths;
    uint32_t working, at_most; /* attempts of agents under way; 0 = as many as there are slots */
} rota_core_mode_t;
void rota_core_mode (const rota_core_t *self, rota_core_mode_t *ret_mode);
/* As if it had been found so now; it holds for the least time at least. 0; 1 it is so; -EPERM it is pinned.
 */
int rota_core_mode_set (rota_core_t *self, rota_mode_t mode, const char *reason, int64_t now_ms);

/* Its work may not be begun now, whoever has room. */
bool rota_core_mode_holds_back (const rota_core_t *self, rota_node_t node);

/* What outlives a restart. */
typedef struct {
    rota_rate_t all, agents;
    rota_mode_t mode;
    int64_t since_ms;
    const char *reason;
} rota_core_health_state_t;
void rota_core_health_state (const rota_core_t *self, rota_core_health_state_t *ret_state);
/* Before anything happens in the core. What can't be, is left out. */
void rota_core_health_load (rota_core_t *self, const rota_core_health_state_t *state);

#endif
