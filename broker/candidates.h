/* candidates.h - whom the leading broker wants as the coordinator.
 *
 * The scheduler says who could have the role and who has it; this remembers since when each of them has been
 * fit, and says whom to propose: the best of those that are fit when the holder is not, and a preferred one
 * again after it was fit for the whole of the failback time, so that the role doesn't swing with every short
 * rest. Preference goes before load, load before the name.
 *
 * Pure: the time is given. Owner: the broker. Times: monotonic milliseconds.
 */
#ifndef ROTA_CANDIDATES_H
#define ROTA_CANDIDATES_H

#include "proto/rota.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROTA_CANDIDATES_MAX 1000

typedef struct {
    char *name, *kind, *host;
    char *why_not; /* NULL: it is fit */
    uint32_t rank, busy, slots;
    int64_t fit_since_ms;
    int64_t until_ms; /* by the scheduler's clock: when it will be fit again; 0 = not known */
} rota_candidate_t;

typedef struct {
    rota_candidate_t *list;
    size_t count;
    char *holder; /* NULL: vacant */
    char *reason;
    uint64_t epoch;
    int64_t since_ms; /* as the scheduler said it */
    bool known, by_hand;
    int64_t failback_ms;
} rota_candidates_t;

/* Takes what the scheduler said in place of what it said before. -EINVAL: no texts, or too many; -ENOMEM;
 * nothing is changed then. */
int rota_candidates_take (rota_candidates_t *self, const Rota__Candidates *said, int64_t now_ms);
void rota_candidates_clear (rota_candidates_t *self);

typedef struct {
    bool due;                      /* there is something to propose */
    const rota_candidate_t *agent; /* NULL: nobody can have it */
    char reason[200];
    int64_t again_ms; /* look again then; INT64_MAX = when something is heard */
} rota_proposal_t;
void rota_candidates_choose (const rota_candidates_t *self, int64_t now_ms, rota_proposal_t *ret_proposal);

#endif
