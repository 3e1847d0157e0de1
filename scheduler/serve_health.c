/* How things go: what is asked of it costs no more with many tasks than with few. */
#include "scheduler/service_internal.h"

#define MAX_GROUPS 1000

static void *in_arena (service_t *self, size_t count, size_t size)
{
    void *memory = rota_arena_alloc (self->arena, (count + 1) * size);
    if (memory)
        memset (memory, 0, (count + 1) * size);
    return memory;
}

static Rota__HealthPart *make_part (service_t *self, rota_node_t group, int64_t now_ms)
{
    rota_core_health_t health;
    Rota__HealthPart *part = in_arena (self, 1, sizeof *part);
    if (!part)
        return NULL;
    rota__health_part__init (part);
    rota_core_health (self->core, group, now_ms, &health);
    const uint64_t *place = health.place;
    rota_fill_counts (self, health.status, &part->n_counts, &part->counts);
    part->has_total = part->has_ended = part->has_ready = part->has_waiting = part->has_running = true;
    part->has_awaiting_human = part->has_blocked = part->has_unreachable = part->has_scored = true;
    part->has_results_milli = true;
    part->total = health.total;
    part->ended = place[ROTA_PLACE_ENDED];
    part->ready = place[ROTA_PLACE_READY];
    part->waiting = place[ROTA_PLACE_WAITING] + place[ROTA_PLACE_DELAYED] + place[ROTA_PLACE_PARKED] +
                    place[ROTA_PLACE_CLAIMED] + place[ROTA_PLACE_HELD];
    part->running = place[ROTA_PLACE_RUNNING];
    part->awaiting_human = place[ROTA_PLACE_HUMAN];
    part->blocked = place[ROTA_PLACE_BLOCKED];
    part->unreachable = place[ROTA_PLACE_UNREACHABLE];
    part->scored = health.scored;
    part->results_milli = health.ended_milli;
    part->has_failure_permille = health.failure_permille != ROTA_UNKNOWN;
    part->failure_permille = part->has_failure_permille ? health.failure_permille : 0;
    part->has_quality_permille = health.quality_permille != ROTA_UNKNOWN;
    part->quality_permille = part->has_quality_permille ? health.quality_permille : 0;
    part->has_throughput_milli = health.throughput >= 0;
    part->throughput_milli = part->has_throughput_milli ? (uint64_t)health.throughput : 0;
    if (group == ROTA_NONE) {
        part->has_unassignable = true;
        part->unassignable = health.unassignable;
        return part;
    }
    rota_core_node_t it;
    rota_core_get (self->core, group, &it);
    char *id = in_arena (self, it.id_length, 1);
    if (!id)
        return NULL;
    part->has_id = part->has_title = part->has_complete = true;
    part->id = rota_bytes_n (memcpy (id, it.id, it.id_length), it.id_length);
    part->title = rota_title_of (self, group);
    part->complete = rota_core_is_satisfied (self->core, group);
    return part;
}

static void add_group (service_t *self, rota_node_t group, int64_t now_ms, Rota__HealthReply *reply)
{
    Rota__HealthPart *part = reply->n_groups < MAX_GROUPS ? make_part (self, group, now_ms) : NULL;
    if (part)
        reply->groups[reply->n_groups++] = part;
}

static void add_epics (service_t *self, int64_t now_ms, Rota__HealthReply *reply)
{
    for (size_t i = 0; i < rota_core_group_count (self->core); i++) {
        rota_node_t group = rota_core_group (self->core, i);
        rota_core_node_t it;
        if (rota_core_get (self->core, group, &it) && it.kind == NODE (EPIC) &&
            !rota_core_is_staged (self->core, group))
            add_group (self, group, now_ms, reply);
    }
}

static void fill_mode (const service_t *self, Rota__HealthReply *reply)
{
    rota_core_mode_t mode;
    rota_core_mode (self->core, &mode);
    reply->has_mode = reply->has_mode_reason = reply->has_mode_since_ms = reply->has_mode_pinned = true;
    reply->has_mode_meaning = reply->has_limits_tenths = reply->has_working = true;
    reply->mode = rota_bytes (rota_mode_name (mode.mode));
    reply->mode_meaning = rota_bytes (rota_mode_meaning (mode.mode));
    reply->mode_reason = rota_bytes (mode.reason);
    reply->mode_since_ms = mode.since_ms;
    reply->mode_pinned = mode.pinned;
    reply->has_failure_permille = mode.failure_permille != ROTA_UNKNOWN;
    reply->failure_permille = reply->has_failure_permille ? mode.failure_permille : 0;
    reply->has_quality_permille = mode.quality_permille != ROTA_UNKNOWN;
    reply->quality_permille = reply->has_quality_permille ? mode.quality_permille : 0;
    reply->limits_tenths = mode.limits_tenths;
    reply->working = mode.working;
    reply->has_at_most = mode.at_most > 0;
    reply->at_most = mode.at_most;
}

static void fill_slots (const service_t *self, Rota__HealthReply *reply)
{
    reply->has_slots = reply->has_slots_busy = reply->has_paused = reply->has_disk_low = true;
    for (rota_agent_t i = 0; i < rota_core_agent_count (self->core); i++) {
        rota_core_agent_view_t view;
        rota_core_agent_view (self->core, i, &view);
        reply->slots += view.connected ? view.slots : 0;
        reply->slots_busy += view.connected ? view.busy : 0;
    }
    reply->paused = rota_core_is_paused (self->core) || self->config.hold;
    reply->disk_low = self->disk_low;
}

/* By name, a milestone's too. */
static rota_node_t find_group (service_t *self, ProtobufCBinaryData id)
{
    rota_core_node_t it;
    rota_node_t node = rota_core_find (self->core, (const char *)id.data, id.len);
    if (node == ROTA_NONE)
        rota_core_find_milestones (self->core, (const char *)id.data, id.len, &node);
    bool group = node != ROTA_NONE && rota_core_get (self->core, node, &it) && it.kind != NODE (TASK) &&
                 !rota_core_is_staged (self->core, node);
    return group ? node : ROTA_NONE;
}

HANDLER (health)
{
    const Rota__HealthQuery *query = (const Rota__HealthQuery *)message;
    Rota__HealthReply reply = ROTA__HEALTH_REPLY__INIT;
    int64_t now_ms = rota_service_now_ms (self);
    rota_node_t group = query->has_group ? find_group (self, query->group) : ROTA_NONE;
    if (query->has_group && group == ROTA_NONE) {
        rota_service_refuse (self, from, ERROR_CODE (NOT_FOUND), "there is no epic or milestone %.*s",
                             (int)(query->group.len > 200 ? 200 : query->group.len),
                             (const char *)query->group.data);
        return;
    }
    /* Another scheduler counts anew: what it says is never taken for what the one before said. */
    reply.has_version = true;
    reply.version = (self->epoch << 44) + rota_core_health_version (self->core, now_ms);
    if (query->has_version && query->version == reply.version) {
        reply.has_unchanged = reply.unchanged = true;
        rota_service_answer (self, from, ROTA_MESSAGE_HEALTH_REPLY, &reply.base);
        return;
    }
    reply.groups = in_arena (self, MAX_GROUPS, sizeof (Rota__HealthPart *));
    reply.all = make_part (self, ROTA_NONE, now_ms);
    if (!reply.groups || !reply.all) {
        rota_service_refuse (self, from, ERROR_CODE (RETRY_LATER), "no memory");
        return;
    }
    if (group != ROTA_NONE)
        add_group (self, group, now_ms, &reply);
    else if (query->epics)
        add_epics (self, now_ms, &reply);
    fill_mode (self, &reply);
    fill_slots (self, &reply);
    rota_service_answer (self, from, ROTA_MESSAGE_HEALTH_REPLY, &reply.base);
}
