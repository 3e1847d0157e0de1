/* What the core decided for hosts: assignments and stops, sent after the commit. */
#include "scheduler/gates.h"
#include "scheduler/service_internal.h"

#include "bus/names.h"

#include <string.h>

#define ASSIGN_CHUNK 500
#define ASSIGN_TOLD_BYTES ((size_t)4 << 20) /* of context in one message, about */
#define ATTEMPTS_LOOKED_AT ROTA_ATTEMPTS_LOOKED_AT
#define REVIEWERS_MAX 16
#define REVIEWS_LOOKED_AT ATTEMPTS_LOOKED_AT

/* ---- what attempts in clones need to know */

static ProtobufCBinaryData pack (service_t *self, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size (message);
    uint8_t *bytes = rota_arena_alloc (self->arena, size + 1);
    if (!bytes)
        return (ProtobufCBinaryData){0};
    protobuf_c_message_pack (message, bytes);
    return rota_bytes_n (bytes, size);
}

/* A directory is meant from where the roadmap lies. */
static ProtobufCBinaryData locate (service_t *self, const Rota__RoadmapHeader *header)
{
    ProtobufCBinaryData name = header->repository, path = header->path;
    bool is_url = memmem (name.data, name.len, "://", 3) != NULL;
    const uint8_t *slash = path.len ? memrchr (path.data, '/', path.len) : NULL;
    if (name.data[0] == '/' || is_url || !slash)
        return name;
    size_t length = (size_t)(slash - path.data) + 1;
    uint8_t *whole = rota_arena_alloc (self->arena, length + name.len);
    if (!whole)
        return name;
    memcpy (whole, path.data, length);
    memcpy (whole + length, name.data, name.len);
    return rota_bytes_n (whole, length + name.len);
}

bool rota_service_locate_repository (service_t *self, const rota_core_node_t *node,
                                     Rota__Repository *ret_repository)
{
    const source_t *source = &self->sources.items[node->source];
    Rota__RoadmapHeader *header = rota__roadmap_header__unpack (rota_arena_allocator (self->arena),
                                                                source->header_size, source->header);
    if (!header || !header->repository.len)
        return false;
    ret_repository->has_location = true;
    ret_repository->location = locate (self, header);
    ret_repository->has_target = header->has_target;
    ret_repository->target = header->target;
    return true;
}

static void fill_repository (service_t *self, const rota_core_assign_t *it, const rota_core_node_t *node,
                             Rota__PackedAssignment *item)
{
    const source_t *source = &self->sources.items[node->source];
    ProtobufCAllocator *allocator = rota_arena_allocator (self->arena);
    Rota__RoadmapHeader *header =
        rota__roadmap_header__unpack (allocator, source->header_size, source->header);
    Rota__TaskSpec *spec = rota__task_spec__unpack (allocator, item->spec.len, item->spec.data);
    if (!header || !spec || !header->repository.len)
        return;
    Rota__Repository repository = ROTA__REPOSITORY__INIT;
    rota_gates_t gates;
    char branch[ROTA_BRANCH_MAX_BYTES];
    rota_gates_find (header, spec, &gates);
    rota_branch_name (node->id, node->id_length, it->attempt, branch);
    repository.has_location = repository.has_branch = true;
    repository.location = locate (self, header);
    repository.branch = rota_bytes (branch);
    repository.has_target = header->has_target;
    repository.target = header->target;
    repository.has_setup = header->has_setup;
    repository.setup = header->setup;
    repository.n_setup_needs = header->n_setup_needs;
    repository.setup_needs = header->setup_needs;
    repository.n_setup_makes = header->n_setup_makes;
    repository.setup_makes = header->setup_makes;
    repository.has_gate_retries = repository.has_flaky_fails = true;
    repository.gate_retries =
        (uint32_t)rota_setting_integer (self->config.settings, ROTA_SETTING_SCHEDULER_GATE_RETRIES);
    repository.flaky_fails = self->policy.flaky == ROTA_GATE_FAILS;
    repository.has_claims = true;
    repository.claims = rota_bytes (rota_claims_policy (self, header));
    repository.n_gates = gates.count;
    repository.gates = gates.list;
    rota_core_agent_view_t author;
    if (it->phase == PHASE (MERGE) && node->author != ROTA_NONE) {
        rota_core_agent_view (self->core, node->author, &author);
        repository.has_worked_by = true;
        repository.worked_by = rota_bytes (author.name);
    }
    item->repository = pack (self, &repository.base);
    item->has_repository = item->repository.data != NULL;
}

static void find_work (void *owner, const rota_stored_attempt_t *attempt)
{
    struct search {
        service_t *service;
        ProtobufCBinaryData work;
        bool seen, asked; /* the newest attempt at the work asked something */
    } *search = owner;
    bool kept = attempt->result_class == RESULT (OK) || attempt->result_class == RESULT (LIMITED) ||
                attempt->result_class == RESULT (NETWORK) || attempt->result_class == RESULT (KILLED) ||
                attempt->result_class == RESULT (NEEDS_INPUT);
    if (attempt->phase == PHASE (WORK) && !search->seen) {
        search->seen = true;
        search->asked = attempt->result_class == RESULT (NEEDS_INPUT);
    }
    if (search->work.data || attempt->phase != PHASE (WORK) || !kept)
        return;
    Rota__Result *result = rota__result__unpack (rota_arena_allocator (search->service->arena),
                                                 attempt->result_size, attempt->result);
    if (result && result->work && result->work->has_commit)
        search->work = pack (search->service, &result->work->base);
}

/* What the last attempt at the work left: to be gone on with, or looked at. */
static void fill_work (service_t *self, const rota_core_assign_t *it, const rota_core_node_t *node,
                       Rota__PackedAssignment *item)
{
    struct {
        service_t *service;
        ProtobufCBinaryData work;
        bool seen, asked;
    } search = {.service = self};
    rota_store_attempts (self->store, it->node, ATTEMPTS_LOOKED_AT, find_work, &search);
    /* A first attempt begins at the head of the branch, one that goes on with a session, or that has got its
     * answer, where that was. */
    if (it->phase == PHASE (WORK) && node->came_from != STATUS (NEEDS_IMPROVEMENT) && !item->has_session &&
        !search.asked)
        return;
    item->work = search.work;
    item->has_work = search.work.data != NULL;
}

typedef struct {
    service_t *service;
    bool found;
    ProtobufCBinaryData answer;
} answer_search_t;

static void find_answer (void *owner, const rota_stored_attempt_t *attempt)
{
    answer_search_t *search = owner;
    if (search->found || attempt->phase != PHASE (WORK) || attempt->result_class != RESULT (OK))
        return;
    Rota__Result *result = rota__result__unpack (rota_arena_allocator (search->service->arena),
                                                 attempt->result_size, attempt->result);
    search->found = true;
    if (result && result->has_answer)
        search->answer = result->answer;
}

/* What a reviewer judges where there is no repository to look at. */
static void fill_answer (service_t *self, const rota_core_assign_t *it, Rota__PackedAssignment *item)
{
    answer_search_t search = {.service = self, .answer = rota_bytes ("")};
    rota_store_attempts (self->store, it->node, ATTEMPTS_LOOKED_AT, find_answer, &search);
    item->has_answer = true;
    item->answer = search.answer;
}

typedef struct {
    service_t *service;
    bool over;
    size_t count;
    rota_agent_t agents[REVIEWERS_MAX];
} reviewer_search_t;

/* Newest first: those that approved what was worked last. */
static void find_reviewer (void *owner, const rota_stored_attempt_t *attempt)
{
    reviewer_search_t *search = owner;
    search->over |= attempt->phase == PHASE (WORK);
    if (search->over || attempt->phase != PHASE (REVIEW) || attempt->result_class != RESULT (OK) ||
        attempt->agent == ROTA_NONE || search->count == REVIEWERS_MAX)
        return;
    Rota__Result *result = rota__result__unpack (rota_arena_allocator (search->service->arena),
                                                 attempt->result_size, attempt->result);
    bool known = !result || !result->verdict || !result->verdict->approved;
    for (size_t i = 0; i < search->count; i++)
        known |= search->agents[i] == attempt->agent;
    if (!known)
        search->agents[search->count++] = attempt->agent;
}

/* Newest first: which part of the work is next, and what was said without a verdict. */
typedef struct {
    service_t *service;
    bool over, seen;
    uint32_t next;
    ProtobufCBinaryData answer;
} review_search_t;

static void find_review (void *owner, const rota_stored_attempt_t *attempt)
{
    review_search_t *search = owner;
    search->over |= attempt->phase == PHASE (WORK);
    if (search->over || attempt->phase != PHASE (REVIEW) || attempt->result_class != RESULT (OK) ||
        search->next)
        return;
    Rota__Result *result = rota__result__unpack (rota_arena_allocator (search->service->arena),
                                                 attempt->result_size, attempt->result);
    const Rota__Verdict *verdict = result ? result->verdict : NULL;
    if (!search->seen && result && !verdict)
        search->answer = result->answer;
    search->seen = true;
    if (verdict && verdict->part && verdict->part < verdict->parts)
        search->next = verdict->part + 1;
}

static void fill_review (service_t *self, const rota_core_node_t *node, rota_node_t index,
                         Rota__PackedAssignment *item)
{
    review_search_t search = {.service = self};
    rota_store_attempts (self->store, index, REVIEWS_LOOKED_AT, find_review, &search);
    item->has_part = item->has_part_bytes = true;
    item->part = search.next ? search.next : 1;
    item->part_bytes =
        (uint64_t)rota_setting_size_bytes (self->config.settings, ROTA_SETTING_SCHEDULER_REVIEW_PART);
    item->has_first_answer = node->asked && search.answer.len;
    item->first_answer = search.answer;
}

static void fill_reviewers (service_t *self, rota_node_t node, Rota__PackedAssignment *item)
{
    reviewer_search_t search = {.service = self};
    rota_store_attempts (self->store, node, ATTEMPTS_LOOKED_AT, find_reviewer, &search);
    item->reviewers = rota_arena_alloc (self->arena, (search.count + 1) * sizeof *item->reviewers);
    for (size_t i = 0; item->reviewers && i < search.count; i++) {
        rota_core_agent_view_t view;
        rota_core_agent_view (self->core, search.agents[i], &view);
        item->reviewers[item->n_reviewers++] = rota_bytes (view.name);
    }
}

/* ---- messages */

static bool fill (service_t *self, const rota_core_assign_t *it, const rota_core_agent_view_t *view,
                  Rota__PackedAssignment *item);

/* Those that go along, as they are leased now: what was cancelled meanwhile doesn't. */
static void fill_members (service_t *self, const rota_core_assign_t *leader,
                          const rota_core_agent_view_t *view, Rota__PackedAssignment *item)
{
    size_t count = rota_core_lease_count (self->core), used = 0;
    Rota__PackedAssignment *members = rota_arena_alloc (self->arena, (count + 1) * sizeof *members);
    item->members = rota_arena_alloc (self->arena, (count + 1) * sizeof (Rota__PackedAssignment *));
    for (size_t i = 0; members && item->members && i < count; i++) {
        rota_core_lease_t lease;
        rota_core_lease (self->core, i, &lease);
        if (lease.with != leader->with || lease.node == leader->node || lease.agent != leader->agent ||
            lease.stopping)
            continue;
        const rota_core_assign_t it = {.node = lease.node,
                                       .agent = lease.agent,
                                       .attempt = lease.attempt,
                                       .phase = lease.phase,
                                       .lease_ms = leader->lease_ms};
        if (!fill (self, &it, view, &members[used]))
            continue;
        item->members[used] = &members[used];
        used++;
    }
    item->n_members = used;
}

/* Definitions come packed from the store (or the batch's additions, which are rows by now). */
static bool fill (service_t *self, const rota_core_assign_t *it, const rota_core_agent_view_t *view,
                  Rota__PackedAssignment *item)
{
    rota_definition_t definition;
    rota__packed_assignment__init (item);
    if (rota_store_definition (self->store, it->node, &definition) < 0 ||
        rota_define_unpack (self->core, it->node, &definition, &item->spec.data, &item->spec.len) < 0)
        return false;
    rota_core_node_t node;
    rota_core_get (self->core, it->node, &node);
    item->has_key = item->has_attempt = item->has_spec = item->has_phase = item->has_lease_ms = true;
    item->key = (uint64_t)it->node + 1;
    item->attempt = it->attempt;
    item->phase = it->phase;
    item->lease_ms = it->lease_ms > 0 ? (uint32_t)it->lease_ms : 0;
    item->has_coordinator_epoch = it->epoch != 0;
    item->coordinator_epoch = it->epoch;
    item->has_timeout_ms = item->has_output_limit_bytes = item->has_keep_on_lost = item->has_source = true;
    item->timeout_ms =
        (uint32_t)rota_setting_duration_ms (self->config.settings, ROTA_SETTING_SCHEDULER_TIMEOUT);
    item->output_limit_bytes =
        (uint64_t)rota_setting_size_bytes (self->config.settings, ROTA_SETTING_AGENTS_OUTPUT_LIMIT);
    item->keep_on_lost = node.keep_on_lost;
    rota_session_t session;
    if (view->paid && it->phase == PHASE (WORK) &&
        rota_store_session (self->store, it->node, &session) == 0 && session.agent == it->agent) {
        size_t length = strlen (session.id);
        item->session.data = rota_arena_alloc (self->arena, length);
        item->has_session = item->session.data != NULL;
        item->session.len = length;
        if (item->has_session)
            memcpy (item->session.data, session.id, length);
    }
    item->source =
        rota_bytes_n (self->sources.items[node.source].name, self->sources.items[node.source].name_length);
    if (it->phase == PHASE (MERGE))
        fill_reviewers (self, it->node, item);
    if (it->phase == PHASE (REVIEW))
        fill_review (self, &node, it->node, item);
    if (node.wants & ROTA_WANTS_CLONE) {
        fill_repository (self, it, &node, item);
        fill_work (self, it, &node, item);
    } else if (it->phase == PHASE (REVIEW))
        fill_answer (self, it, item);
    if (rota_service_wants_context (self, &node, it->phase)) {
        item->context = rota_service_context_of (self, it, item->spec);
        item->has_context = item->context.len > 0;
    }
    return true;
}

/* One that was resent alone is sent alone. */
static bool rides (const rota_core_assign_t *it)
{
    return it->with && it->with != it->node + 1 && !it->again;
}

static void free_specs (Rota__PackedAssignment *item)
{
    for (size_t i = 0; i < item->n_members; i++)
        free (item->members[i]->spec.data);
    free (item->spec.data);
}

static void send_assignments (service_t *self, const rota_core_effects_t *effects, rota_agent_t agent)
{
    Rota__PackedAssign assign = ROTA__PACKED_ASSIGN__INIT;
    Rota__PackedAssignment items[ASSIGN_CHUNK], *list[ASSIGN_CHUNK];
    rota_core_agent_view_t view;
    rota_core_agent_view (self->core, agent, &view);
    assign.assignments = list;
    size_t told_bytes = 0;
    for (size_t i = 0; i <= effects->assign_count; i++) {
        bool end = i == effects->assign_count;
        if ((end || assign.n_assignments == ASSIGN_CHUNK || told_bytes > ASSIGN_TOLD_BYTES) &&
            assign.n_assignments) {
            told_bytes = 0;
            outgoing_t *out = VPUSH (self, outgoing);
            size_t size = rota__packed_assign__get_packed_size (&assign);
            if (out && (out->body = malloc (size))) {
                out->envelope = (rota_envelope_t){.type = ROTA_MESSAGE_ASSIGN, .has_to = true};
                memcpy (out->envelope.to, view.instance, 16);
                out->size = rota__packed_assign__pack (&assign, out->body);
            }
            while (assign.n_assignments)
                free_specs (&items[--assign.n_assignments]);
        }
        if (end || effects->assigns[i].agent != agent)
            continue;
        const rota_core_assign_t *it = &effects->assigns[i];
        Rota__PackedAssignment *item = list[assign.n_assignments] = &items[assign.n_assignments];
        if (rides (it) || !fill (self, it, &view, item))
            continue; /* sent with the one that leads; or again, when its time has come */
        if (it->with)
            fill_members (self, it, &view, item);
        told_bytes += item->context.len;
        assign.n_assignments++;
    }
}

static void send_stop (service_t *self, const rota_core_stop_t *it)
{
    rota_core_agent_view_t view;
    rota_core_agent_view (self->core, it->agent, &view);
    Rota__Stop stop = ROTA__STOP__INIT;
    Rota__Held held = ROTA__HELD__INIT, *list[] = {&held};
    held.has_key = held.has_attempt = true;
    held.key = (uint64_t)it->node + 1;
    held.attempt = it->attempt;
    stop.n_attempts = 1;
    stop.attempts = list;
    stop.has_reason = stop.has_grace_ms = true;
    stop.reason = rota_bytes (it->reason ? it->reason : "");
    stop.grace_ms = (uint32_t)rota_setting_duration_ms (self->config.settings, ROTA_SETTING_SCHEDULER_GRACE);
    rota_service_send (self, view.instance, ROTA_MESSAGE_STOP, &stop.base);
}

void rota_service_send_work (service_t *self, const rota_core_effects_t *effects)
{
    rota_core_agent_view_t view;
    if (effects->assign_count)
        for (rota_agent_t agent = 0; agent < rota_core_agent_count (self->core); agent++)
            send_assignments (self, effects, agent);
    for (size_t i = 0; i < effects->stop_count; i++) {
        rota_core_agent_view (self->core, effects->stops[i].agent, &view);
        if (view.connected)
            send_stop (self, &effects->stops[i]);
    }
}
