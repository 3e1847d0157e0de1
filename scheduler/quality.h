/* quality.h - what a piece of work was worth, from 0 to 1000, by what its gates and its review said of it.
 * Never by how long it took, nor by its size.
 *
 * Two parts, of those that something is known of, weigh alike:
 *   gates    (passed + half of the flaky) / (passed + flaky + failed); those that can't be checked don't
 * count review   the mean of its scores, or its score, or 800 with an approval and 300 without; less 300 for
 * each blocker, 100 for each major and 20 for each minor comment; without an approval at most 500 and each
 * time that earlier work at the same task was sent back takes a tenth off, at most half.
 *
 * The average takes the newest for an eighth; while there are fewer, all alike. Pure.
 */
#ifndef ROTA_SCHEDULER_QUALITY_H
#define ROTA_SCHEDULER_QUALITY_H

#include "proto/rota.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

#define ROTA_QUALITY_NO_DATA (-1)

typedef struct {
    uint32_t passed, flaky, failed; /* gates */
    bool reviewed, approved;
    int32_t review_permille; /* by its scores; ROTA_QUALITY_NO_DATA = it gave none */
    uint32_t blockers, majors, minors;
    uint32_t rounds; /* earlier work at the task that was sent back */
} rota_quality_evidence_t;

/* Adds what a result says. Of several verdicts the last one that is added counts. */
void rota_quality_add (rota_quality_evidence_t *self, const Rota__Result *result);
int32_t rota_quality_permille (const rota_quality_evidence_t *evidence);

/* `average` of `count` values, in millionths, after one more of so many permille. */
int64_t rota_quality_average (int64_t average_micro, uint64_t count, int32_t permille);

#endif
