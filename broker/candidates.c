#include "broker/candidates.h"
#include "bus/names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX_BYTES 255

/* ---- what was said */

static void free_list (rota_candidate_t *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free (list[i].name);
        free (list[i].kind);
        free (list[i].host);
        free (list[i].why_not);
    }
    free (list);
}

void rota_candidates_clear (rota_candidates_t *self)
{
    free_list (self->list, self->count);
    free (self->holder);
    free (self->reason);
    *self = (rota_candidates_t){0};
}

/* 0; a text that is not there stays NULL. */
static int copy (protobuf_c_boolean has, ProtobufCBinaryData bytes, char **ret_text)
{
    if (!has)
        return 0;
    if (bytes.len > TEXT_MAX_BYTES || !rota_text_is_valid ((const char *)bytes.data, bytes.len, false))
        return -EINVAL;
    *ret_text = strndup (bytes.len ? (const char *)bytes.data : "", bytes.len);
    return *ret_text ? 0 : -ENOMEM;
}

static const rota_candidate_t *find (const rota_candidates_t *self, const char *name)
{
    for (size_t i = 0; i < self->count; i++)
        if (name && strcmp (self->list[i].name, name) == 0)
            return &self->list[i];
    return NULL;
}

static int take_one (const rota_candidates_t *before, const Rota__Candidate *said, int64_t now_ms,
                     rota_candidate_t *ret_candidate)
{
    *ret_candidate = (rota_candidate_t){
        .rank = said->rank, .busy = said->busy, .slots = said->slots, .until_ms = said->until_ms};
    int r = said->has_name ? copy (true, said->name, &ret_candidate->name) : -EINVAL;
    if (r == 0)
        r = copy (said->has_kind, said->kind, &ret_candidate->kind);
    if (r == 0)
        r = copy (said->has_host, said->host, &ret_candidate->host);
    if (r == 0)
        r = copy (said->has_why_not, said->why_not, &ret_candidate->why_not);
    const rota_candidate_t *known = r == 0 ? find (before, ret_candidate->name) : NULL;
    bool stayed = known && !known->why_not && !ret_candidate->why_not;
    ret_candidate->fit_since_ms = stayed ? known->fit_since_ms : now_ms;
    return r;
}

int rota_candidates_take (rota_candidates_t *self, const Rota__Candidates *said, int64_t now_ms)
{
    if (said->n_candidates > ROTA_CANDIDATES_MAX)
        return -EINVAL;
    rota_candidates_t next = {.epoch = said->epoch,
                              .since_ms = said->since_ms,
                              .by_hand = said->by_hand,
                              .failback_ms = said->failback_ms,
                              .known = true,
                              .list = calloc (said->n_candidates + 1, sizeof *next.list)};
    int r = next.list ? copy (said->has_holder, said->holder, &next.holder) : -ENOMEM;
    if (r == 0)
        r = copy (said->has_reason, said->reason, &next.reason);
    while (r == 0 && next.count < said->n_candidates)
        r = take_one (self, said->candidates[next.count], now_ms, &next.list[next.count]), next.count++;
    if (r < 0) {
        rota_candidates_clear (&next);
        return r;
    }
    rota_candidates_clear (self);
    *self = next;
    return 0;
}

/* ---- the choice */

static bool is_better (const rota_candidate_t *candidate, const rota_candidate_t *than)
{
    if (candidate->rank != than->rank)
        return candidate->rank < than->rank;
    uint64_t load = (uint64_t)candidate->busy * than->slots, other = (uint64_t)than->busy * candidate->slots;
    return load != other ? load < other : strcmp (candidate->name, than->name) < 0;
}

static const rota_candidate_t *best (const rota_candidates_t *self)
{
    const rota_candidate_t *found = NULL;
    for (size_t i = 0; i < self->count; i++)
        if (!self->list[i].why_not && (!found || is_better (&self->list[i], found)))
            found = &self->list[i];
    return found;
}

/* One that is preferred to the holder and has been fit for long enough, or else when the first will be. */
static const rota_candidate_t *preferred (const rota_candidates_t *self, const rota_candidate_t *holder,
                                          int64_t now_ms, int64_t *ret_again_ms)
{
    const rota_candidate_t *found = NULL;
    *ret_again_ms = INT64_MAX;
    for (size_t i = 0; i < self->count; i++) {
        const rota_candidate_t *it = &self->list[i];
        if (it->why_not || it->rank >= holder->rank)
            continue;
        int64_t due_ms = it->fit_since_ms + self->failback_ms;
        if (due_ms > now_ms && due_ms < *ret_again_ms)
            *ret_again_ms = due_ms;
        if (due_ms <= now_ms && (!found || is_better (it, found)))
            found = it;
    }
    return found;
}

void rota_candidates_choose (const rota_candidates_t *self, int64_t now_ms, rota_proposal_t *ret_proposal)
{
    *ret_proposal = (rota_proposal_t){.again_ms = INT64_MAX};
    if (!self->known)
        return;
    const rota_candidate_t *holder = find (self, self->holder);
    if (holder && !holder->why_not) {
        ret_proposal->agent =
            self->by_hand ? NULL : preferred (self, holder, now_ms, &ret_proposal->again_ms);
        ret_proposal->due = ret_proposal->agent != NULL;
        snprintf (ret_proposal->reason, sizeof ret_proposal->reason,
                  "is preferred, and has been fit for a while");
        return;
    }
    ret_proposal->agent = best (self);
    ret_proposal->due = ret_proposal->agent || self->holder;
    if (self->holder)
        snprintf (ret_proposal->reason, sizeof ret_proposal->reason, "%.80s %.60s", self->holder,
                  holder ? holder->why_not : "is not known any more");
    else
        snprintf (ret_proposal->reason, sizeof ret_proposal->reason, "the role was vacant");
}
