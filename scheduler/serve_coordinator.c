/* The coordinator's role between core and broker: the candidates go to the leading broker when something of
 * them changes, and what it proposes is committed. */
#include "scheduler/service_internal.h"

#include "bus/log.h"
#include "bus/names.h"

#define HOLDER_PATIENCE_MS 3000

/* ------------------------------------------------------------------------------------- candidates */

/* At a start the holder may be about to register: nobody is to be elected before it could. */
static bool awaits_holder (const service_t *self, const rota_core_coordinator_t *role)
{
    rota_core_agent_view_t view;
    if (role->agent == ROTA_NONE || rota_service_now_ms (self) - self->rebuilt_ms >= HOLDER_PATIENCE_MS)
        return false;
    rota_core_agent_view (self->core, role->agent, &view);
    return !view.connected;
}

static uint64_t mix (uint64_t hash, const void *bytes, size_t size)
{
    return rota_hash (bytes, size) ^ hash * 0x100000001b3u;
}

/* Load changes all the time and is no news by itself. */
static uint64_t hash_of (const service_t *self, const rota_core_coordinator_t *role)
{
    rota_core_candidate_t candidate;
    uint64_t hash = mix (1, &role->epoch, sizeof role->epoch) + role->by_hand;
    for (rota_agent_t i = 0; i < rota_core_agent_count (self->core); i++) {
        if (!rota_core_candidate (self->core, i, &candidate))
            continue;
        const char *why_not = candidate.why_not ? candidate.why_not : "";
        hash = mix (hash, &i, sizeof i);
        hash = mix (hash, why_not, strlen (why_not));
        hash = mix (hash, &candidate.until_ms, sizeof candidate.until_ms);
    }
    return hash | 1;
}

static void fill_candidate (const rota_core_candidate_t *from, Rota__Candidate *ret_candidate)
{
    rota__candidate__init (ret_candidate);
    ret_candidate->has_name = ret_candidate->has_kind = ret_candidate->has_host = true;
    ret_candidate->name = rota_bytes (from->name);
    ret_candidate->kind = rota_bytes (from->kind);
    ret_candidate->host = rota_bytes (from->host);
    ret_candidate->has_why_not = from->why_not != NULL;
    ret_candidate->why_not = rota_bytes (from->why_not ? from->why_not : "");
    ret_candidate->has_until_ms = from->until_ms != 0;
    ret_candidate->until_ms = from->until_ms;
    ret_candidate->has_rank = ret_candidate->has_busy = ret_candidate->has_slots = true;
    ret_candidate->rank = from->rank;
    ret_candidate->busy = from->busy;
    ret_candidate->slots = from->slots;
}

/* Of those that are gone only the holder is told of. */
static size_t list_candidates (const service_t *self, rota_agent_t holder, Rota__Candidate *items,
                               Rota__Candidate **list)
{
    size_t count = 0;
    rota_core_candidate_t candidate;
    for (rota_agent_t i = 0; i < rota_core_agent_count (self->core); i++) {
        if (!rota_core_candidate (self->core, i, &candidate) || (!candidate.connected && i != holder))
            continue;
        fill_candidate (&candidate, &items[count]);
        list[count] = &items[count];
        count++;
    }
    return count;
}

void rota_service_tell_candidates (service_t *self)
{
    rota_core_coordinator_t role;
    rota_core_coordinator (self->core, &role);
    if (!self->policy.coordinate || !self->peer || !rota_peer_is_ready (self->peer))
        return;
    uint64_t hash = hash_of (self, &role);
    if (hash == self->told_candidates || awaits_holder (self, &role))
        return;
    size_t agents = rota_core_agent_count (self->core);
    Rota__Candidate *items = calloc (agents + 1, sizeof *items);
    Rota__Candidate **list = calloc (agents + 1, sizeof (Rota__Candidate *));
    if (items && list) {
        Rota__Candidates message = ROTA__CANDIDATES__INIT;
        const char *holder = rota_service_agent_name (self, role.agent);
        message.n_candidates = list_candidates (self, role.agent, items, list);
        message.candidates = list;
        message.has_epoch = message.has_by_hand = message.has_failback_ms = message.has_reason = true;
        message.epoch = role.epoch;
        message.by_hand = role.by_hand;
        message.reason = rota_bytes (role.reason);
        message.failback_ms = (uint32_t)self->policy.failback_ms;
        message.has_holder = holder != NULL;
        message.holder = rota_bytes (holder ? holder : "");
        message.has_since_ms = role.since_ms != 0;
        message.since_ms = role.since_ms;
        rota_service_tell_broker (self, ROTA_MESSAGE_CANDIDATES, &message.base);
        self->told_candidates = hash;
    }
    free (items);
    free (list);
}

/* -------------------------------------------------------------------------------------- proposals */

HANDLER (proposal)
{
    const Rota__Proposal *it = (const Rota__Proposal *)message;
    rota_error_t error = {""};
    char reason[256];
    if (from->role != ROTA__ROLE__ROLE_BROKER)
        return;
    rota_agent_t agent = it->has_agent ? rota_service_find_agent (self, it->agent) : ROTA_NONE;
    bool readable = it->reason.len < sizeof reason &&
                    rota_text_is_valid ((const char *)it->reason.data, it->reason.len, false);
    snprintf (reason, sizeof reason, "%.*s", readable ? (int)it->reason.len : 0,
              readable && it->reason.len ? (const char *)it->reason.data : "");
    int r = it->has_agent && agent == ROTA_NONE
                ? rota_error_set (&error, -ENOENT, "no such agent")
                : rota_core_coordinate (self->core, agent, it->replaces, false, reason,
                                        rota_service_now_ms (self), &error);
    if (r >= 0)
        return;
    rota_log (ROTA_LOG_INFO, "coordinator.refused", "replaces=%llu reason=\"%s\"",
              (unsigned long long)it->replaces, error.text);
    self->told_candidates = 0; /* the broker knows something else than is so */
}

void rota_service_control_coordinator (service_t *self, const rota_envelope_t *from,
                                       const Rota__Control *control)
{
    Rota__ControlReply reply = ROTA__CONTROL_REPLY__INIT;
    rota_core_coordinator_t role;
    rota_error_t error = {""};
    int64_t now_ms = rota_service_now_ms (self);
    rota_agent_t agent = control->n_ids == 1 ? rota_service_find_agent (self, control->ids[0]) : ROTA_NONE;
    rota_core_coordinator (self->core, &role);
    int r;
    if (!self->policy.coordinate)
        r = rota_error_set (&error, -EPERM, "there is no coordinator here (scheduler.coordinator: false)");
    else if (control->verb == ROTA__CONTROL_VERB__CONTROL_VERB_STEP_DOWN)
        r = rota_core_step_down (self->core, now_ms);
    else if (agent == ROTA_NONE)
        r = rota_error_set (&error, -ENOENT, "there is no agent of this name: see `rota coordinator`");
    else
        r = rota_core_coordinate (self->core, agent, role.epoch, true, "given to it by hand", now_ms, &error);
    if (r < 0) {
        rota_service_refuse (self, from, r == -ENOENT ? ERROR_CODE (NOT_FOUND) : ERROR_CODE (REFUSED), "%s",
                             error.text);
        return;
    }
    reply.has_changed = true;
    reply.changed = r == 0;
    rota_service_answer (self, from, ROTA_MESSAGE_CONTROL_REPLY, &reply.base);
}
