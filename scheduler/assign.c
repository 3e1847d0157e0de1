/* What the core decided for hosts: assignments and stops, sent after the commit. */
#include "scheduler/service_internal.h"

#define ASSIGN_CHUNK 500

/* Definitions come packed from the store (or the batch's additions, which are rows by now). */
static void send_assignments (service_t *self, const rota_core_effects_t *effects, rota_agent_t agent)
{
    Rota__PackedAssign assign = ROTA__PACKED_ASSIGN__INIT;
    Rota__PackedAssignment items[ASSIGN_CHUNK], *list[ASSIGN_CHUNK];
    rota_core_agent_view_t view;
    rota_core_agent_view (self->core, agent, &view);
    assign.assignments = list;
    for (size_t i = 0; i <= effects->assign_count; i++) {
        bool end = i == effects->assign_count;
        if ((end || assign.n_assignments == ASSIGN_CHUNK) && assign.n_assignments) {
            outgoing_t *out = VPUSH (self, outgoing);
            size_t size = rota__packed_assign__get_packed_size (&assign);
            if (out && (out->body = malloc (size))) {
                out->envelope = (rota_envelope_t){.type = ROTA_MESSAGE_ASSIGN, .has_to = true};
                memcpy (out->envelope.to, view.instance, 16);
                out->size = rota__packed_assign__pack (&assign, out->body);
            }
            while (assign.n_assignments)
                free (items[--assign.n_assignments].spec.data);
        }
        if (end || effects->assigns[i].agent != agent)
            continue;
        const rota_core_assign_t *it = &effects->assigns[i];
        Rota__PackedAssignment *item = list[assign.n_assignments] = &items[assign.n_assignments];
        rota_definition_t definition;
        rota__packed_assignment__init (item);
        if (rota_store_definition (self->store, it->node, &definition) < 0 ||
            rota_define_unpack (self->core, it->node, &definition, &item->spec.data, &item->spec.len) < 0)
            continue; /* sent again when its time has come */
        rota_core_node_t node;
        rota_core_get (self->core, it->node, &node);
        item->has_key = item->has_attempt = item->has_spec = item->has_phase = item->has_lease_ms = true;
        item->key = (uint64_t)it->node + 1;
        item->attempt = it->attempt;
        item->phase = it->phase;
        item->lease_ms = it->lease_ms > 0 ? (uint32_t)it->lease_ms : 0;
        item->has_timeout_ms = item->has_output_limit_bytes = item->has_keep_on_lost = item->has_source =
            true;
        item->timeout_ms =
            (uint32_t)rota_setting_duration_ms (self->config.settings, ROTA_SETTING_SCHEDULER_TIMEOUT);
        item->output_limit_bytes =
            (uint64_t)rota_setting_size_bytes (self->config.settings, ROTA_SETTING_AGENTS_OUTPUT_LIMIT);
        item->keep_on_lost = node.keep_on_lost;
        rota_session_t session;
        if (view.paid && rota_store_session (self->store, it->node, &session) == 0 &&
            session.agent == agent) {
            size_t length = strlen (session.id);
            item->session.data = rota_arena_alloc (self->arena, length);
            item->has_session = item->session.data != NULL;
            item->session.len = length;
            if (item->has_session)
                memcpy (item->session.data, session.id, length);
        }
        item->source = rota_bytes_n (self->sources.items[node.source].name,
                                     self->sources.items[node.source].name_length);
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
