/* assign_reviewed.c - whose work it is that is to be merged, and who approved it: it goes into the history.
 */
#include "scheduler/service_internal.h"

#include "proto/words.h"

#define ATTEMPTS_LOOKED_AT 64
#define REVIEWERS_MAX 8

typedef struct {
    service_t *service;
    Rota__Repository *repository;
    bool worked; /* the work that is merged was seen: verdicts before it were of other work */
} search_t;

static bool is_known (const Rota__Repository *repository, ProtobufCBinaryData name)
{
    for (size_t i = 0; i < repository->n_reviewed_by; i++)
        if (repository->reviewed_by[i].len == name.len &&
            memcmp (repository->reviewed_by[i].data, name.data, name.len) == 0)
            return true;
    return false;
}

static bool name_of (service_t *self, const rota_stored_attempt_t *attempt, ProtobufCBinaryData *ret_name)
{
    rota_core_agent_view_t view;
    if (attempt->agent == ROTA_NONE)
        return false;
    rota_core_agent_view (self->core, attempt->agent, &view);
    size_t length = strlen (view.name);
    char *name = rota_arena_alloc (self->arena, length);
    if (!name)
        return false;
    memcpy (name, view.name, length);
    *ret_name = rota_bytes_n (name, length);
    return true;
}

static bool approves (service_t *self, const rota_stored_attempt_t *attempt)
{
    Rota__Result *result = attempt->result ? rota__result__unpack (rota_arena_allocator (self->arena),
                                                                   attempt->result_size, attempt->result)
                                           : NULL;
    return result && result->verdict && result->verdict->approved;
}

static void take (void *owner, const rota_stored_attempt_t *attempt)
{
    search_t *search = owner;
    Rota__Repository *repository = search->repository;
    ProtobufCBinaryData name;
    if (search->worked)
        return;
    if (attempt->phase == PHASE (WORK) && attempt->result_class == RESULT (OK)) {
        search->worked = true;
        repository->has_worked_by = name_of (search->service, attempt, &repository->worked_by);
    } else if (attempt->phase == PHASE (REVIEW) && repository->n_reviewed_by < REVIEWERS_MAX &&
               approves (search->service, attempt) && name_of (search->service, attempt, &name) &&
               !is_known (repository, name)) {
        repository->reviewed_by[repository->n_reviewed_by++] = name;
    }
}

void rota_service_fill_reviewers (service_t *self, const rota_core_assign_t *it, Rota__Repository *repository)
{
    search_t search = {.service = self, .repository = repository};
    repository->reviewed_by = rota_arena_alloc (self->arena, REVIEWERS_MAX * sizeof *repository->reviewed_by);
    if (it->phase == PHASE (MERGE) && repository->reviewed_by)
        rota_store_attempts (self->store, it->node, ATTEMPTS_LOOKED_AT, take, &search);
}
