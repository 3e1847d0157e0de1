#include "scheduler/quality.h"

#include <string.h>

enum {
    WITH_APPROVAL = 800,
    WITHOUT_APPROVAL = 300,
    MOST_WITHOUT_APPROVAL = 500,
    OF_A_BLOCKER = 300,
    OF_A_MAJOR = 100,
    OF_A_MINOR = 20,
    ROUNDS_MOST = 5,
    NEWEST_OF = 8,
};

static bool is_word (ProtobufCBinaryData bytes, const char *word)
{
    return bytes.len == strlen (word) && memcmp (bytes.data, word, bytes.len) == 0;
}

static void add_verdict (rota_quality_evidence_t *self, const Rota__Verdict *verdict)
{
    uint32_t sum = 0, count = 0;
    self->reviewed = true;
    self->approved = verdict->approved;
    self->review_permille = ROTA_QUALITY_NO_DATA;
    self->blockers = self->majors = self->minors = 0;
    for (size_t i = 0; i < verdict->n_scores; i++)
        if (verdict->scores[i]->value <= 10) {
            sum += verdict->scores[i]->value * 100;
            count++;
        }
    if (count)
        self->review_permille = (int32_t)(sum / count);
    else if (verdict->has_score && verdict->score <= 100)
        self->review_permille = (int32_t)verdict->score * 10;
    for (size_t i = 0; i < verdict->n_comments; i++) {
        ProtobufCBinaryData severity = verdict->comments[i]->severity;
        self->blockers += is_word (severity, "blocker");
        self->majors += is_word (severity, "major");
        self->minors += is_word (severity, "minor");
    }
}

void rota_quality_add (rota_quality_evidence_t *self, const Rota__Result *result)
{
    for (size_t i = 0; i < result->n_gates; i++) {
        Rota__GateState state = result->gates[i]->state;
        self->passed += state == ROTA__GATE_STATE__GATE_STATE_PASSED;
        self->flaky +=
            state == ROTA__GATE_STATE__GATE_STATE_FLAKY || state == ROTA__GATE_STATE__GATE_STATE_MARKED;
        self->failed +=
            state == ROTA__GATE_STATE__GATE_STATE_FAILED || state == ROTA__GATE_STATE__GATE_STATE_TIMED_OUT;
    }
    if (result->verdict && result->verdict->has_approved)
        add_verdict (self, result->verdict);
}

static int64_t of_the_review (const rota_quality_evidence_t *it)
{
    int64_t value = it->review_permille != ROTA_QUALITY_NO_DATA ? it->review_permille
                    : it->approved                              ? WITH_APPROVAL
                                                                : WITHOUT_APPROVAL;
    value -= (int64_t)it->blockers * OF_A_BLOCKER + (int64_t)it->majors * OF_A_MAJOR +
             (int64_t)it->minors * OF_A_MINOR;
    if (!it->approved && value > MOST_WITHOUT_APPROVAL)
        value = MOST_WITHOUT_APPROVAL;
    return value < 0 ? 0 : value > 1000 ? 1000 : value;
}

int32_t rota_quality_permille (const rota_quality_evidence_t *evidence)
{
    int64_t gates = (int64_t)evidence->passed + evidence->flaky + evidence->failed, sum = 0, parts = 0;
    if (gates) {
        sum += ((int64_t)evidence->passed * 1000 + (int64_t)evidence->flaky * 500) / gates;
        parts++;
    }
    if (evidence->reviewed) {
        sum += of_the_review (evidence);
        parts++;
    }
    if (!parts)
        return ROTA_QUALITY_NO_DATA;
    int64_t rounds = evidence->rounds < ROUNDS_MOST ? evidence->rounds : ROUNDS_MOST;
    return (int32_t)(sum / parts * (10 - rounds) / 10);
}

int64_t rota_quality_average (int64_t average_micro, uint64_t count, int32_t permille)
{
    int64_t parts = count < NEWEST_OF ? (int64_t)count + 1 : NEWEST_OF;
    return average_micro + ((int64_t)permille * 1000 - average_micro) / parts;
}
