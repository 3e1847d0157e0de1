/* What work is worth (quality.h), as its checks, reviews and merges are reported; and the averages of it.
 *
 * The evidence is in the attempts of the round: the newest at the work itself, and all that came after it.
 * Each result of these gets the score as it stands then, and is stored with it; the last one of a round is
 * what counts for the averages: of all, of the author's kind, and of the task's epic.
 */
#include "scheduler/quality.h"
#include "scheduler/service_internal.h"

#include "bus/names.h"

#include <string.h>

#define LOOKED_AT ROTA_ATTEMPTS_LOOKED_AT
#define COMMENTS_MAX 100

typedef struct {
    service_t *service;
    rota_quality_evidence_t evidence;
    Rota__Verdict *joined; /* of the last part: takes what the earlier ones said */
    ProtobufCBinaryData summary;
    bool over;
    uint32_t works;
} round_t;

static Rota__Result *unpack (service_t *self, const rota_stored_attempt_t *attempt)
{
    return attempt->result ? rota__result__unpack (rota_arena_allocator (self->arena), attempt->result_size,
                                                   attempt->result)
                           : NULL;
}

/* Approved is what is approved in each of its parts; the comments are those of all. */
static void join (round_t *self, const Rota__Verdict *part)
{
    Rota__Verdict *whole = self->joined;
    if (!part->part || part->part >= part->parts || part->parts != whole->parts)
        return;
    size_t count = whole->n_comments + part->n_comments, used = 0;
    Rota__ReviewComment **comments =
        rota_arena_alloc (self->service->arena, (count + 1) * sizeof (Rota__ReviewComment *));
    for (size_t i = 0; comments && i < part->n_comments; i++)
        comments[used++] = part->comments[i];
    for (size_t i = 0; comments && i < whole->n_comments; i++)
        comments[used++] = whole->comments[i];
    if (comments) {
        whole->comments = comments;
        whole->n_comments = used < COMMENTS_MAX ? used : COMMENTS_MAX;
    }
    for (size_t i = 0; i < part->n_scores; i++)
        for (size_t k = 0; k < whole->n_scores; k++) {
            Rota__ReviewScore *score = whole->scores[k];
            bool same = score->name.len == part->scores[i]->name.len &&
                        (!score->name.len ||
                         memcmp (score->name.data, part->scores[i]->name.data, score->name.len) == 0);
            if (same && part->scores[i]->value < score->value)
                score->value = part->scores[i]->value;
        }
    if (part->has_score && whole->has_score && part->score < whole->score)
        whole->score = part->score;
    whole->same_vendor |= part->same_vendor;
    if (part->approved)
        return;
    if (whole->approved || !self->summary.len)
        self->summary = part->summary;
    whole->approved = false;
}

static void look_at (void *owner, const rota_stored_attempt_t *attempt)
{
    round_t *self = owner;
    bool works = attempt->phase == PHASE (WORK);
    self->works += works && attempt->result_class == RESULT (OK);
    self->over |= works;
    Rota__Result *result = self->over ? NULL : unpack (self->service, attempt);
    if (!result)
        return;
    if (self->joined && result->verdict)
        join (self, result->verdict);
    else {
        bool later = self->evidence.reviewed; /* they come newest first */
        rota_quality_evidence_t kept = self->evidence;
        rota_quality_add (&self->evidence, result);
        if (later) {
            rota_quality_evidence_t gates = self->evidence;
            self->evidence = kept;
            self->evidence.passed = gates.passed;
            self->evidence.flaky = gates.flaky;
            self->evidence.failed = gates.failed;
        }
    }
}

void rota_quality_note (service_t *self, rota_node_t node, uint32_t attempt, Rota__Result *result)
{
    rota_core_node_t it;
    result->has_quality_permille = false; /* nobody's word but ours */
    if (!rota_core_get (self->core, node, &it) || !it.leased || it.attempt != attempt ||
        it.phase == PHASE (WORK))
        return;
    round_t round = {.service = self, .evidence = {.review_permille = ROTA_QUALITY_NO_DATA}};
    Rota__Verdict *verdict = result->verdict;
    bool last = verdict && verdict->parts > 1 && verdict->part == verdict->parts;
    /* The gates of a merge that failed, or passed, say something too; a part of a review alone does not. */
    if (last) {
        round.joined = verdict;
        rota_store_attempts (self->store, node, LOOKED_AT, look_at, &round);
        if (round.summary.len)
            verdict->summary = round.summary;
        verdict->has_summary = verdict->summary.len > 0;
        round = (round_t){.service = self, .evidence = {.review_permille = ROTA_QUALITY_NO_DATA}};
    }
    bool part = verdict && verdict->parts > 1 && !last;
    if (!part)
        rota_quality_add (&round.evidence, result);
    rota_store_attempts (self->store, node, LOOKED_AT, look_at, &round);
    round.evidence.rounds = round.works > 1 ? round.works - 1 : 0;
    int32_t permille = rota_quality_permille (&round.evidence);
    result->has_quality_permille = permille >= 0;
    result->quality_permille = permille >= 0 ? (uint32_t)permille : 0;
}

/* ---- averages */

static void count_in (service_t *self, rota_quality_scope_t scope, const char *name, size_t length,
                      int32_t permille)
{
    rota_stored_quality_t now = {.average_micro = 0};
    rota_store_quality (self->store, scope, name, length, &now);
    now.average_micro = rota_quality_average (now.average_micro, now.rounds, permille);
    now.rounds++;
    rota_store_set_quality (self->store, scope, name, length, &now);
}

void rota_quality_ended (service_t *self, const rota_core_ended_t *ended)
{
    rota_core_node_t it, above;
    if (!ended->result || !ended->result->has_quality_permille ||
        !rota_core_get (self->core, ended->node, &it) || !rota_core_is_judged (ended->to))
        return;
    int32_t permille = (int32_t)ended->result->quality_permille;
    count_in (self, ROTA_QUALITY_ALL, "", 0, permille);
    if (it.author != ROTA_NONE) {
        rota_core_agent_view_t author;
        rota_core_agent_view (self->core, it.author, &author);
        count_in (self, ROTA_QUALITY_KIND, author.kind, strlen (author.kind), permille);
    }
    rota_node_t epic = ROTA_NONE;
    for (rota_node_t up = it.parent; up != ROTA_NONE && rota_core_get (self->core, up, &above);
         up = above.parent)
        epic = up;
    if (epic != ROTA_NONE && rota_core_get (self->core, epic, &above))
        count_in (self, ROTA_QUALITY_EPIC, above.id, above.id_length, permille);
}

#define TRENDS_MAX 200

static void add_trend (void *owner, rota_quality_scope_t scope, const char *name, size_t length,
                       const rota_stored_quality_t *stored)
{
    struct listing {
        service_t *service;
        Rota__StatusReply *reply;
    } *listing = owner;
    Rota__StatusReply *reply = listing->reply;
    rota_arena_t *arena = listing->service->arena;
    if (scope == ROTA_QUALITY_ALL) {
        reply->has_average_quality = true;
        reply->average_quality = (double)stored->average_micro / 1e6;
        return;
    }
    Rota__QualityTrend *trend =
        reply->quality && reply->n_quality < TRENDS_MAX ? rota_arena_alloc (arena, sizeof *trend) : NULL;
    uint8_t *copy = trend ? rota_arena_alloc (arena, length + 1) : NULL;
    if (!copy)
        return;
    memcpy (copy, name, length);
    rota__quality_trend__init (trend);
    trend->has_kind = scope == ROTA_QUALITY_KIND;
    trend->has_epic = scope == ROTA_QUALITY_EPIC;
    *(trend->has_kind ? &trend->kind : &trend->epic) = rota_bytes_n (copy, length);
    trend->has_permille = trend->has_rounds = true;
    trend->permille = (uint32_t)(stored->average_micro / 1000);
    trend->rounds = stored->rounds;
    reply->quality[reply->n_quality++] = trend;
}

void rota_quality_fill (service_t *self, Rota__StatusReply *reply)
{
    struct {
        service_t *service;
        Rota__StatusReply *reply;
    } listing = {self, reply};
    reply->quality = rota_arena_alloc (self->arena, TRENDS_MAX * sizeof *reply->quality);
    rota_store_qualities (self->store, TRENDS_MAX, add_trend, &listing);
}
