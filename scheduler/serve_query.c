/* What clients ask: status, tasks, one task, events, agents. Nothing here changes anything. */
#include "scheduler/service_internal.h"

#include "bus/names.h"

#define MAX_RUNNING 200
#define MAX_TASKS 1000
#define MAX_EVENTS 1000
#define MAX_ATTEMPTS 100
#define PAGE_BYTES (12u << 20) /* of packed definitions in one answer */

static void *in_arena (service_t *self, size_t count, size_t size)
{
    void *memory = rota_arena_alloc (self->arena, (count + 1) * size);
    if (memory)
        memset (memory, 0, (count + 1) * size);
    return memory;
}

static ProtobufCBinaryData copy_bytes (service_t *self, const void *bytes, size_t length)
{
    void *copy = in_arena (self, length, 1);
    if (!copy)
        return rota_bytes_n (NULL, 0);
    if (length)
        memcpy (copy, bytes, length);
    return rota_bytes_n (copy, length);
}

static ProtobufCBinaryData id_of (service_t *self, rota_node_t node)
{
    rota_core_node_t it;
    return rota_core_get (self->core, node, &it) ? copy_bytes (self, it.id, it.id_length)
                                                 : rota_bytes_n (NULL, 0);
}

ProtobufCBinaryData rota_title_of (service_t *self, rota_node_t node)
{
    rota_definition_t definition;
    if (rota_store_definition (self->store, node, &definition) < 0 || !definition.title_length)
        return id_of (self, node);
    return copy_bytes (self, definition.title, definition.title_length);
}

static void no_such_task (service_t *self, const rota_envelope_t *from, ProtobufCBinaryData id)
{
    rota_service_refuse (self, from, ERROR_CODE (NOT_FOUND), "there is no task %.*s",
                         (int)(id.len > 200 ? 200 : id.len), (const char *)id.data);
}

/* ROTA_NONE (all) when the query names none; false when it names one that isn't there. */
bool rota_read_source (const service_t *self, bool has, ProtobufCBinaryData name, uint32_t *ret_source)
{
    *ret_source = ROTA_NONE;
    if (!has)
        return true;
    *ret_source = rota_service_find_source (self, (const char *)name.data, name.len);
    return *ret_source != 0;
}

/* ----------------------------------------------------------------------------------------- status */

void rota_fill_counts (service_t *self, const uint64_t status[ROTA_STATUSES], size_t *ret_count,
                       Rota__StatusCount ***ret_list)
{
    Rota__StatusCount *items = in_arena (self, ROTA_STATUSES, sizeof *items);
    Rota__StatusCount **list = in_arena (self, ROTA_STATUSES, sizeof (Rota__StatusCount *));
    if (!items || !list)
        return;
    for (int i = 1; i < ROTA_STATUSES; i++) {
        rota__status_count__init (&items[i]);
        items[i].has_status = items[i].has_tasks = true;
        items[i].status = (Rota__TaskStatus)i;
        items[i].tasks = status[i];
        list[i - 1] = &items[i];
    }
    *ret_count = ROTA_STATUSES - 1;
    *ret_list = list;
}

static void fill_running (service_t *self, size_t index, Rota__RunningTask *ret_running)
{
    rota_core_lease_t lease;
    rota_core_agent_view_t view;
    rota_core_lease (self->core, index, &lease);
    rota_core_agent_view (self->core, lease.agent, &view);
    rota__running_task__init (ret_running);
    ret_running->has_id = ret_running->has_title = ret_running->has_attempt = ret_running->has_phase = true;
    ret_running->has_agent = ret_running->has_host = ret_running->has_started_ms = ret_running->has_stopping =
        true;
    ret_running->id = id_of (self, lease.node);
    ret_running->title = rota_title_of (self, lease.node);
    ret_running->attempt = lease.attempt;
    ret_running->phase = lease.phase;
    ret_running->agent = rota_bytes (view.name);
    ret_running->host = rota_bytes (view.host);
    ret_running->started_ms = lease.assigned_ms;
    ret_running->stopping = lease.stopping;
}

static void fill_all_running (service_t *self, uint32_t source, rota_agent_t agent, size_t *ret_count,
                              Rota__RunningTask ***ret_list)
{
    size_t count = rota_core_lease_count (self->core), given = 0;
    size_t room = count < MAX_RUNNING ? count : MAX_RUNNING;
    Rota__RunningTask *items = in_arena (self, room, sizeof *items);
    Rota__RunningTask **list = in_arena (self, room, sizeof (Rota__RunningTask *));
    for (size_t i = 0; items && list && i < count && given < room; i++) {
        rota_core_lease_t lease;
        rota_core_node_t node;
        rota_core_lease (self->core, i, &lease);
        rota_core_get (self->core, lease.node, &node);
        if ((source != ROTA_NONE && node.source != source) || (agent != ROTA_NONE && lease.agent != agent))
            continue;
        fill_running (self, i, &items[given]);
        list[given] = &items[given];
        given++;
    }
    *ret_count = given;
    *ret_list = list;
}

static void add_wait (service_t *self, Rota__StatusReply *reply, const char *code, uint64_t tasks,
                      int64_t until_ms, const char *text)
{
    Rota__WaitReason *reason = in_arena (self, 1, sizeof *reason);
    if (!reason || !tasks || reply->n_waits >= 16)
        return;
    if (!reply->waits)
        reply->waits = in_arena (self, 16, sizeof (Rota__WaitReason *));
    if (!reply->waits)
        return;
    rota__wait_reason__init (reason);
    reason->has_code = reason->has_text = reason->has_tasks = true;
    reason->code = rota_bytes (code);
    reason->text = rota_bytes (text);
    reason->tasks = tasks;
    reason->has_until_ms = until_ms > 0;
    reason->until_ms = until_ms;
    reply->waits[reply->n_waits++] = reason;
}

static int64_t next_due_ms (const service_t *self)
{
    int64_t next_ms = rota_core_next_ms (self->core);
    return next_ms == INT64_MAX ? 0 : next_ms;
}

/* Those of the ready that a slot waits for, but no account that is open; and when the first opens. */
static uint64_t count_resting (const service_t *self, int64_t *ret_until_ms)
{
    uint64_t count = 0;
    *ret_until_ms = 0;
    for (size_t i = 0; i < rota_core_class_count (self->core); i++) {
        rota_core_class_view_t class;
        rota_core_class_view (self->core, (uint32_t)i, &class);
        if (!class.assignable || !class.free || class.open || class.opens_ms == 0)
            continue;
        count += class.ready;
        if (class.ready && (*ret_until_ms == 0 || class.opens_ms < *ret_until_ms))
            *ret_until_ms = class.opens_ms;
    }
    return count;
}

static void fill_waits (service_t *self, uint32_t source, const rota_core_counts_t *counts,
                        Rota__StatusReply *reply)
{
    const uint64_t *place = counts->place;
    uint64_t ready = place[ROTA_PLACE_READY] - counts->unassignable;
    uint64_t blocked = place[ROTA_PLACE_BLOCKED];
    int64_t again_ms;
    uint64_t poor = rota_core_budget_waiting (self->core, source, &again_ms);
    uint64_t in_queue = poor - (poor < place[ROTA_PLACE_HELD] ? poor : place[ROTA_PLACE_HELD]);
    ready -= in_queue < ready ? in_queue : ready;
    if (self->disk_low)
        add_wait (self, reply, "disk", ready ? ready : 1, 0,
                  "wait for room on the disk: nothing new is taken or begun below scheduler.disk_reserve");
    else if (rota_core_is_paused (self->core))
        add_wait (self, reply, "paused", ready, 0, "paused: `rota resume` goes on");
    else {
        int64_t until_ms;
        uint64_t resting = count_resting (self, &until_ms);
        resting = resting < ready ? resting : ready;
        add_wait (self, reply, "limit", resting, until_ms,
                  "wait for the limit of an agent's account to end (`rota agents`)");
        add_wait (self, reply, "slot", ready - resting, 0, "wait for a free slot");
    }
    add_wait (self, reply, "budget", poor, again_ms,
              again_ms ? "wait for a budget (`rota budget`)"
                       : "wait for a budget that is used up: `rota budget raise`");
    add_wait (self, reply, "prerequisite", place[ROTA_PLACE_WAITING], 0, "wait for what they depend on");
    add_wait (self, reply, "time", place[ROTA_PLACE_DELAYED], next_due_ms (self), "wait for a time");
    add_wait (self, reply, "wip", place[ROTA_PLACE_PARKED], 0, "wait because their epic is at its limit");
    add_wait (self, reply, "claim", place[ROTA_PLACE_CLAIMED], 0,
              "wait because others that touch the same files are under way");
    add_wait (self, reply, "human", place[ROTA_PLACE_HUMAN], 0,
              "await a person: `rota approve` or `rota reject`");
    add_wait (self, reply, "blocked", blocked, 0, "are blocked: `rota why ID` says by what");
    add_wait (self, reply, "unreachable", place[ROTA_PLACE_UNREACHABLE], 0,
              "can't be reached: something before them failed, "
              "was cancelled or is blocked");
    add_wait (self, reply, "unassignable", counts->unassignable, 0, "have no agent that could take them");
}

#define MAX_EPICS 1000

static bool is_epic_of (const service_t *self, rota_node_t node, uint32_t source)
{
    rota_core_node_t it;
    return rota_core_get (self->core, node, &it) && it.kind == NODE (EPIC) &&
           !rota_core_is_staged (self->core, node) && (source == ROTA_NONE || it.source == source);
}

static void fill_groups (service_t *self, uint32_t source, Rota__StatusReply *reply)
{
    size_t count = rota_core_group_count (self->core), room = count < MAX_EPICS ? count : MAX_EPICS;
    Rota__GroupStatus *items = in_arena (self, room, sizeof *items);
    reply->epics = in_arena (self, room, sizeof (Rota__GroupStatus *));
    for (size_t i = 0; items && reply->epics && i < count && reply->n_epics < room; i++) {
        rota_node_t node = rota_core_group (self->core, i);
        if (!is_epic_of (self, node, source))
            continue;
        Rota__GroupStatus *group = &items[reply->n_epics];
        uint64_t status[ROTA_STATUSES];
        rota__group_status__init (group);
        rota_core_group_counts (self->core, node, status);
        rota_fill_counts (self, status, &group->n_counts, &group->counts);
        group->has_id = group->has_title = group->has_kind = group->has_total = group->has_complete = true;
        group->id = id_of (self, node);
        group->title = rota_title_of (self, node);
        group->kind = NODE (EPIC);
        for (int s = 0; s < ROTA_STATUSES; s++)
            group->total += status[s];
        group->complete = rota_core_is_satisfied (self->core, node);
        reply->epics[reply->n_epics++] = group;
    }
}

/* No agent that is known will ever judge it: `rota approve` or `reject` does. */
static bool awaits_reviewer_in_vain (const service_t *self, const rota_core_node_t *it, rota_place_t place)
{
    rota_core_class_view_t class;
    rota_core_counts_t counts;
    if (it->status != STATUS (NEEDS_REVIEW) || place != ROTA_PLACE_READY)
        return false;
    rota_core_class_view (self->core, it->queue, &class);
    if (class.assignable)
        return false;
    rota_core_counts (self->core, it->source, rota_service_now_ms (self), &counts);
    return counts.unassignable > 0; /* not in the first moments, when one may be about to come */
}

static void fill_slots (const service_t *self, Rota__StatusReply *reply)
{
    for (rota_agent_t i = 0; i < rota_core_agent_count (self->core); i++) {
        rota_core_agent_view_t view;
        rota_core_agent_view (self->core, i, &view);
        if (!view.connected)
            continue;
        reply->slots += view.slots;
        reply->slots_busy += view.busy;
    }
    reply->has_slots = reply->has_slots_busy = true;
}

/* Another scheduler counts anew: what it says is never taken for what the one before said. */
uint64_t rota_state_version (const service_t *self)
{
    return (self->epoch << 44) + rota_core_version (self->core);
}

static void fill_places (const rota_core_counts_t *counts, Rota__StatusReply *reply)
{
    reply->has_total = reply->has_ready = reply->has_waiting = reply->has_delayed = true;
    reply->has_unreachable = reply->has_unassignable = reply->has_orphaned = reply->has_awaiting_human = true;
    reply->has_broke = reply->has_merged = reply->has_unchecked = true;
    reply->total = counts->total;
    reply->ready = counts->place[ROTA_PLACE_READY];
    reply->waiting = counts->place[ROTA_PLACE_WAITING];
    reply->delayed = counts->place[ROTA_PLACE_DELAYED];
    reply->unreachable = counts->place[ROTA_PLACE_UNREACHABLE];
    reply->awaiting_human = counts->place[ROTA_PLACE_HUMAN];
    reply->unassignable = counts->unassignable;
    reply->orphaned = counts->orphaned;
    reply->broke = counts->broke;
    reply->merged = counts->merged;
    reply->unchecked = counts->unchecked;
}

static void fill_mode (const service_t *self, Rota__StatusReply *reply)
{
    rota_core_mode_t mode;
    rota_core_mode (self->core, &mode);
    reply->has_mode = reply->has_mode_reason = reply->has_mode_since_ms = reply->has_mode_pinned = true;
    reply->mode = rota_bytes (rota_mode_name (mode.mode));
    reply->mode_reason = rota_bytes (mode.reason);
    reply->mode_since_ms = mode.since_ms;
    reply->mode_pinned = mode.pinned;
}

void rota_fill_status (service_t *self, uint32_t source, Rota__StatusReply *ret_reply)
{
    int64_t now_ms = rota_service_now_ms (self);
    rota_core_counts_t counts;
    rota_core_counts (self->core, source, now_ms, &counts);
    ret_reply->has_version = ret_reply->has_settled = true;
    ret_reply->version = rota_state_version (self);
    ret_reply->settled = rota_core_is_settled (self->core, source, now_ms);
    rota_fill_counts (self, counts.status, &ret_reply->n_counts, &ret_reply->counts);
    fill_places (&counts, ret_reply);
    ret_reply->has_paused = true;
    ret_reply->paused = rota_core_is_paused (self->core) || self->config.hold;
    ret_reply->has_disk_low = ret_reply->disk_low = self->disk_low;
    ret_reply->has_next_ms = ret_reply->delayed > 0;
    ret_reply->next_ms = next_due_ms (self);
    ret_reply->has_store = ret_reply->has_scheduler_epoch = ret_reply->has_last_event = true;
    ret_reply->store = rota_bytes_n (rota_store_incarnation (self->store), 16);
    ret_reply->scheduler_epoch = self->epoch;
    ret_reply->last_event = self->published_head;
    rota_quality_fill (self, ret_reply);
    fill_mode (self, ret_reply);
    fill_slots (self, ret_reply);
    fill_waits (self, source, &counts, ret_reply);
    fill_all_running (self, source, ROTA_NONE, &ret_reply->n_running, &ret_reply->running);
    fill_groups (self, source, ret_reply);
}

HANDLER (status)
{
    const Rota__StatusQuery *query = (const Rota__StatusQuery *)message;
    Rota__StatusReply reply = ROTA__STATUS_REPLY__INIT;
    uint32_t source;
    if (!rota_read_source (self, query->has_source, query->source, &source)) {
        rota_service_refuse (self, from, ERROR_CODE (NOT_FOUND), "there is no source %.*s",
                             (int)query->source.len, (const char *)query->source.data);
        return;
    }
    if (query->has_version && query->version == rota_state_version (self)) {
        /* The settled flag turns by time alone, so an unchanged answer carries it too. */
        reply.has_version = reply.has_settled = reply.has_unchanged = reply.unchanged = true;
        reply.version = query->version;
        reply.settled = rota_core_is_settled (self->core, source, rota_service_now_ms (self));
    } else {
        rota_fill_status (self, source, &reply);
    }
    rota_service_answer (self, from, ROTA_MESSAGE_STATUS_REPLY, &reply.base);
}

/* ------------------------------------------------------------------------------------------ tasks */

void rota_fill_state (service_t *self, rota_node_t node, bool specs, Rota__TaskState *ret_state)
{
    rota_core_node_t it;
    rota_task_times_t times = {0};
    rota_definition_t definition;
    rota__task_state__init (ret_state);
    rota_core_get (self->core, node, &it);
    rota_store_times (self->store, node, &times);
    rota_place_t place = rota_core_place (self->core, node);
    bool task = it.kind == NODE (TASK);
    ret_state->has_key = ret_state->has_id = ret_state->has_title = ret_state->has_kind =
        ret_state->has_status = true;
    ret_state->key = (uint64_t)node + 1;
    ret_state->id = copy_bytes (self, it.id, it.id_length);
    ret_state->title = rota_title_of (self, node);
    ret_state->kind = it.kind;
    ret_state->status = it.status;
    ret_state->has_phase = it.phase != 0;
    ret_state->phase = it.phase;
    ret_state->has_blocked = it.blocked != 0;
    ret_state->blocked = it.blocked;
    const char *reason = rota_core_reason (self->core, node);
    ret_state->has_reason = reason != NULL;
    ret_state->reason = reason ? copy_bytes (self, reason, strlen (reason)) : rota_bytes_n (NULL, 0);
    ret_state->has_attempts_used = ret_state->has_attempts_allowed = ret_state->has_attempt = task;
    ret_state->attempts_used = it.attempts_used;
    ret_state->attempts_allowed = it.attempts_allowed;
    ret_state->attempt = it.attempt;
    ret_state->has_created_ms = true;
    ret_state->created_ms = times.created_ms;
    ret_state->has_started_ms = times.started_ms > 0;
    ret_state->started_ms = times.started_ms;
    ret_state->has_finished_ms = times.finished_ms > 0;
    ret_state->finished_ms = times.finished_ms;
    ret_state->has_not_before_ms = it.not_before_ms > 0;
    ret_state->not_before_ms = it.not_before_ms;
    ret_state->has_unreachable = ret_state->has_waiting = ret_state->has_orphaned = ret_state->has_flagged =
        task;
    ret_state->unreachable = place == ROTA_PLACE_UNREACHABLE;
    ret_state->waiting = place == ROTA_PLACE_WAITING;
    ret_state->orphaned = it.orphaned;
    ret_state->flagged = it.flagged;
    ret_state->has_awaits_person = task;
    ret_state->awaits_person = place == ROTA_PLACE_HUMAN || awaits_reviewer_in_vain (self, &it, place);
    const char *agent = rota_service_agent_name (self, it.agent);
    ret_state->has_agent = agent != NULL;
    ret_state->agent = rota_bytes (agent ? agent : "");
    ret_state->has_source = true;
    ret_state->source =
        rota_bytes_n (self->sources.items[it.source].name, self->sources.items[it.source].name_length);
    uint8_t *packed;
    size_t size;
    if (!specs || rota_store_definition (self->store, node, &definition) < 0 ||
        rota_define_unpack (self->core, node, &definition, &packed, &size) < 0)
        return;
    ret_state->spec = rota__task_spec__unpack (rota_arena_allocator (self->arena), size, packed);
    free (packed);
}

static bool is_wanted (const service_t *self, const Rota__TasksQuery *query, uint32_t source,
                       rota_node_t group, rota_node_t node)
{
    rota_core_node_t it;
    if (!rota_core_get (self->core, node, &it) || rota_core_is_staged (self->core, node))
        return false;
    if (source != ROTA_NONE && it.source != source)
        return false;
    if (it.kind != NODE (TASK) && !query->specs)
        return false;
    bool status = query->n_statuses == 0;
    for (size_t i = 0; i < query->n_statuses && !status; i++)
        status = query->statuses[i] == it.status;
    bool within = group == ROTA_NONE;
    for (rota_node_t up = it.parent; up != ROTA_NONE && !within && rota_core_get (self->core, up, &it);
         up = it.parent)
        within = up == group;
    return status && within;
}

static void fill_headers (service_t *self, Rota__TasksReply *reply)
{
    reply->headers = in_arena (self, self->sources.count, sizeof (Rota__RoadmapHeader *));
    for (size_t i = 1; reply->headers && i < self->sources.count; i++) {
        const source_t *source = &self->sources.items[i];
        Rota__RoadmapHeader *header = source->header_size
                                          ? rota__roadmap_header__unpack (rota_arena_allocator (self->arena),
                                                                          source->header_size, source->header)
                                          : NULL;
        if (header)
            reply->headers[reply->n_headers++] = header;
    }
}

static rota_node_t find_group (const service_t *self, ProtobufCBinaryData id)
{
    rota_node_t node = rota_core_find (self->core, (const char *)id.data, id.len);
    if (node == ROTA_NONE)
        rota_core_find_milestones (self->core, (const char *)id.data, id.len, &node);
    return node;
}

HANDLER (tasks)
{
    const Rota__TasksQuery *query = (const Rota__TasksQuery *)message;
    Rota__TasksReply reply = ROTA__TASKS_REPLY__INIT;
    uint32_t source;
    size_t limit = query->has_limit && query->limit < MAX_TASKS ? query->limit : MAX_TASKS, bytes = 0;
    rota_node_t group = query->has_group ? find_group (self, query->group) : ROTA_NONE;
    if (query->has_group && group == ROTA_NONE) {
        rota_service_refuse (self, from, ERROR_CODE (NOT_FOUND), "there is no epic or milestone %.*s",
                             (int)query->group.len, (const char *)query->group.data);
        return;
    }
    if (!rota_read_source (self, query->has_source, query->source, &source)) {
        rota_service_answer (self, from, ROTA_MESSAGE_TASKS_REPLY, &reply.base);
        return;
    }
    Rota__TaskState *items = in_arena (self, limit, sizeof *items);
    reply.tasks = in_arena (self, limit, sizeof (Rota__TaskState *));
    if (!items || !reply.tasks)
        return;
    size_t count = query->n_ids ? query->n_ids : rota_core_count (self->core);
    size_t i = query->n_ids || query->after_key > UINT32_MAX ? 0 : (size_t)query->after_key;
    for (; i < count && reply.n_tasks < limit && bytes < PAGE_BYTES; i++) {
        rota_node_t node = query->n_ids ? find_group (self, query->ids[i]) : (rota_node_t)i;
        if (query->n_ids && node == ROTA_NONE) {
            no_such_task (self, from, query->ids[i]);
            return;
        }
        if (!query->n_ids && !is_wanted (self, query, source, group, node))
            continue;
        rota_fill_state (self, node, query->specs, &items[reply.n_tasks]);
        bytes += query->specs && items[reply.n_tasks].spec
                     ? rota__task_spec__get_packed_size (items[reply.n_tasks].spec)
                     : 0;
        reply.tasks[reply.n_tasks] = &items[reply.n_tasks];
        reply.n_tasks++;
    }
    reply.has_next_key = i < count;
    reply.next_key = i;
    if (query->specs && !query->after_key)
        fill_headers (self, &reply);
    rota_service_answer (self, from, ROTA_MESSAGE_TASKS_REPLY, &reply.base);
}

/* --------------------------------------------------------------------------------------- one task */

typedef struct {
    service_t *service;
    Rota__TaskReply *reply;
    Rota__EventsReply *events;
    const Rota__EventsQuery *query;
    size_t limit;
    bool has_quality; /* of the work that comes next in the list */
    uint32_t quality_permille;
} filling_t;

void rota_event_message (service_t *self, const rota_stored_event_t *stored, Rota__Event *ret_event)
{
    const rota_core_event_t *it = &stored->event;
    rota_core_node_t node;
    rota__event__init (ret_event);
    ret_event->has_seq = ret_event->has_time_ms = ret_event->has_type = true;
    ret_event->seq = stored->seq;
    ret_event->time_ms = stored->time_ms;
    ret_event->type = it->type;
    if (it->node != ROTA_NONE && rota_core_get (self->core, it->node, &node)) {
        ret_event->has_task = true;
        ret_event->task = rota_bytes_n (node.id, node.id_length);
    }
    ret_event->has_attempt = it->attempt > 0;
    ret_event->attempt = it->attempt;
    const char *agent = it->agent != ROTA_NONE && it->agent < rota_core_agent_count (self->core)
                            ? rota_service_agent_name (self, it->agent)
                            : NULL;
    ret_event->has_agent = agent != NULL;
    ret_event->agent = rota_bytes (agent ? agent : "");
    ret_event->has_from_status = it->from > 0;
    ret_event->from_status = it->from;
    ret_event->has_to_status = it->to > 0;
    ret_event->to_status = it->to;
    ret_event->has_phase = it->phase > 0;
    ret_event->phase = it->phase;
    ret_event->has_result_class = it->result_class > 0;
    ret_event->result_class = it->result_class;
    ret_event->has_reason = stored->reason_length > 0;
    ret_event->reason = rota_bytes_n (it->reason, stored->reason_length);
}

static Rota__Event *keep_event (service_t *self, const rota_stored_event_t *stored)
{
    Rota__Event *event = in_arena (self, 1, sizeof *event);
    if (!event)
        return NULL;
    rota_event_message (self, stored, event);
    event->task = copy_bytes (self, event->task.data, event->task.len);
    event->reason = copy_bytes (self, event->reason.data, event->reason.len);
    return event;
}

static bool add_task_event (void *owner, const rota_stored_event_t *stored)
{
    filling_t *filling = owner;
    Rota__Event *event = keep_event (filling->service, stored);
    if (event)
        filling->reply->events[filling->reply->n_events++] = event;
    return event;
}

static void add_attempt (void *owner, const rota_stored_attempt_t *stored)
{
    filling_t *filling = owner;
    service_t *self = filling->service;
    Rota__Attempt *attempt = in_arena (self, 1, sizeof *attempt);
    if (!attempt)
        return;
    rota__attempt__init (attempt);
    attempt->has_number = attempt->has_phase = attempt->has_assigned_ms = attempt->has_finished_ms =
        attempt->has_used = true;
    attempt->number = stored->number;
    attempt->phase = stored->phase;
    attempt->assigned_ms = stored->assigned_ms;
    attempt->finished_ms = stored->finished_ms;
    attempt->used = stored->used;
    if (stored->agent != ROTA_NONE && stored->agent < rota_core_agent_count (self->core)) {
        rota_core_agent_view_t view;
        rota_core_agent_view (self->core, stored->agent, &view);
        attempt->has_agent = attempt->has_host = true;
        attempt->agent = rota_bytes (view.name);
        attempt->host = rota_bytes (view.host);
    }
    if (stored->result)
        attempt->result =
            rota__result__unpack (rota_arena_allocator (self->arena), stored->result_size, stored->result);
    if (!attempt->result) {
        attempt->result = in_arena (self, 1, sizeof *attempt->result);
        if (!attempt->result)
            return;
        rota__result__init (attempt->result);
        attempt->result->has_result_class = true;
        attempt->result->result_class = stored->result_class;
    }
    /* They come newest first: what was said last of the work is the work's. */
    if (attempt->phase == PHASE (WORK)) {
        attempt->has_quality_permille = filling->has_quality;
        attempt->quality_permille = filling->quality_permille;
        filling->has_quality = false;
    } else if (attempt->result->has_quality_permille && !filling->has_quality) {
        filling->has_quality = true;
        filling->quality_permille = attempt->result->quality_permille;
    }
    filling->reply->attempts[filling->reply->n_attempts++] = attempt;
}

static void add_running_attempt (service_t *self, const rota_core_node_t *it, Rota__TaskReply *reply)
{
    Rota__Attempt *attempt = in_arena (self, 1, sizeof *attempt);
    rota_core_agent_view_t view;
    if (!attempt || it->agent == ROTA_NONE)
        return;
    rota_core_agent_view (self->core, it->agent, &view);
    rota__attempt__init (attempt);
    attempt->has_number = attempt->has_phase = attempt->has_assigned_ms = attempt->has_running = true;
    attempt->has_agent = attempt->has_host = attempt->running = true;
    attempt->number = it->attempt;
    attempt->phase = it->phase;
    attempt->assigned_ms = it->assigned_ms;
    attempt->agent = rota_bytes (view.name);
    attempt->host = rota_bytes (view.host);
    reply->attempts[reply->n_attempts++] = attempt;
}

#define MAX_NEIGHBOURS 200

static void add_state (service_t *self, rota_node_t node, size_t *count, Rota__TaskState **list)
{
    Rota__TaskState *state = *count < MAX_NEIGHBOURS ? in_arena (self, 1, sizeof *state) : NULL;
    rota_core_node_t it;
    if (!state || !rota_core_get (self->core, node, &it))
        return;
    rota_fill_state (self, node, false, state);
    list[(*count)++] = state;
}

typedef struct {
    rota_node_t nodes[MAX_NEIGHBOURS];
    size_t count;
} neighbours_t;

static void note_prerequisite (void *owner, rota_node_t node, Rota__DependencyType type)
{
    neighbours_t *list = owner;
    if (type == DEPENDENCY (BLOCKS) && list->count < MAX_NEIGHBOURS)
        list->nodes[list->count++] = node;
}

static void note_dependant (void *owner, rota_node_t node)
{
    neighbours_t *list = owner;
    if (list->count < MAX_NEIGHBOURS)
        list->nodes[list->count++] = node;
}

HANDLER (task)
{
    const Rota__TaskQuery *query = (const Rota__TaskQuery *)message;
    Rota__TaskReply reply = ROTA__TASK_REPLY__INIT;
    rota_node_t node = find_group (self, query->id);
    rota_core_node_t it;
    if (!rota_core_get (self->core, node, &it) || rota_core_is_staged (self->core, node)) {
        no_such_task (self, from, query->id);
        return;
    }
    size_t events = query->has_events ? query->events < MAX_EVENTS ? query->events : MAX_EVENTS : 20;
    filling_t filling = {.service = self, .reply = &reply};
    neighbours_t before = {.count = 0}, after = {.count = 0};
    Rota__TaskState *state = in_arena (self, 1, sizeof *state);
    reply.attempts = in_arena (self, MAX_ATTEMPTS + 1, sizeof (Rota__Attempt *));
    reply.events = in_arena (self, events, sizeof (Rota__Event *));
    reply.prerequisites = in_arena (self, MAX_NEIGHBOURS, sizeof (Rota__TaskState *));
    reply.dependants = in_arena (self, MAX_NEIGHBOURS, sizeof (Rota__TaskState *));
    if (!state || !reply.attempts || !reply.events || !reply.prerequisites || !reply.dependants)
        return;
    rota_fill_state (self, node, true, state);
    reply.task = state;
    add_running_attempt (self, &it, &reply);
    rota_store_attempts (self->store, node, MAX_ATTEMPTS, add_attempt, &filling);
    rota_store_events (self->store, 0, events, node, true, add_task_event, &filling);
    rota_store_dependencies (self->store, node, note_prerequisite, &before);
    rota_core_successors (self->core, node, note_dependant, &after);
    for (size_t i = 0; i < before.count; i++)
        add_state (self, before.nodes[i], &reply.n_prerequisites, reply.prerequisites);
    for (size_t i = 0; i < after.count; i++)
        add_state (self, after.nodes[i], &reply.n_dependants, reply.dependants);
    rota_service_answer (self, from, ROTA_MESSAGE_TASK_REPLY, &reply.base);
}

/* ----------------------------------------------------------------------------------------- events */

static bool add_event (void *owner, const rota_stored_event_t *stored)
{
    filling_t *filling = owner;
    Rota__EventsReply *reply = filling->events;
    bool wanted = filling->query->n_types == 0;
    for (size_t i = 0; i < filling->query->n_types && !wanted; i++)
        wanted = filling->query->types[i] == stored->event.type;
    Rota__Event *event = wanted ? keep_event (filling->service, stored) : NULL;
    if (event)
        reply->events[reply->n_events++] = event;
    return reply->n_events < filling->limit;
}

HANDLER (events)
{
    const Rota__EventsQuery *query = (const Rota__EventsQuery *)message;
    Rota__EventsReply reply = ROTA__EVENTS_REPLY__INIT;
    size_t limit = query->has_limit && query->limit < MAX_EVENTS ? query->limit : MAX_EVENTS;
    filling_t filling = {.service = self, .events = &reply, .query = query, .limit = limit};
    rota_node_t node = ROTA_NONE;
    if (query->has_task && (node = find_group (self, query->task)) == ROTA_NONE) {
        no_such_task (self, from, query->task);
        return;
    }
    reply.events = in_arena (self, limit, sizeof (Rota__Event *));
    if (!reply.events)
        return;
    /* With a filter the search itself is bounded too: the client goes on after `last` of what it got. */
    if (limit)
        rota_store_events (self->store, query->after, query->n_types ? 100000 : limit, node, false, add_event,
                           &filling);
    reply.has_last = reply.has_first = true;
    reply.last = self->published_head;
    reply.first = rota_store_first_event (self->store, NULL);
    rota_service_answer (self, from, ROTA_MESSAGE_EVENTS_REPLY, &reply.base);
}

/* ----------------------------------------------------------------------------------------- agents */

static void fill_limits (service_t *self, rota_account_t account, size_t count, Rota__AgentState *agent)
{
    Rota__AccountLimit *items = in_arena (self, count, sizeof *items);
    agent->limits = in_arena (self, count, sizeof (Rota__AccountLimit *));
    for (size_t i = 0; items && agent->limits && i < count; i++) {
        rota_core_limit_t limit = rota_core_account_limit (self->core, account, i);
        Rota__AccountLimit *it = agent->limits[agent->n_limits++] = &items[i];
        rota__account_limit__init (it);
        it->has_result_class = it->has_since_ms = it->has_trips = it->has_reason = true;
        it->result_class = limit.result_class;
        it->has_limit_kind = limit.limit_kind != 0;
        it->limit_kind = limit.limit_kind;
        it->has_window = limit.window[0] != 0;
        it->window = rota_bytes (limit.window);
        it->since_ms = limit.since_ms;
        it->has_until_ms = limit.until_ms != ROTA_BY_HAND;
        it->until_ms = it->has_until_ms ? limit.until_ms : 0;
        it->trips = limit.trips;
        it->reason = rota_bytes (limit.reason);
    }
}

static void fill_account (service_t *self, const rota_core_agent_view_t *view, Rota__AgentState *agent)
{
    rota_core_account_view_t account;
    rota_core_account_view (self->core, view->account, &account);
    fill_limits (self, view->account, account.limit_count, agent);
    agent->has_account = true;
    agent->account = rota_bytes (account.name);
    agent->has_cooldown_reason = agent->has_cooldown_by_hand = account.last.result_class != 0;
    agent->cooldown_reason = rota_bytes (account.last.reason);
    agent->cooldown_by_hand = account.last.until_ms == ROTA_BY_HAND;
    agent->has_cooldown_until_ms = account.last.result_class && !agent->cooldown_by_hand;
    agent->cooldown_until_ms = agent->has_cooldown_until_ms ? account.last.until_ms : 0;
    if (account.last.result_class || !view->breaker_until_ms)
        return;
    agent->has_cooldown_reason = agent->has_cooldown_until_ms = true;
    agent->cooldown_reason = rota_bytes (view->breaker_reason);
    agent->cooldown_until_ms = view->breaker_until_ms;
}

static void fill_spend (service_t *self, rota_agent_t index, Rota__AgentState *agent)
{
    rota_core_tally_t tally;
    if (!rota_spend_today (self, index, &tally))
        return;
    const int64_t *spent = tally.spent[ROTA_PERIOD_DAY], *estimated = tally.estimated[ROTA_PERIOD_DAY];
    int64_t nano_usd = spent[ROTA_MEASURE_USD] - estimated[ROTA_MEASURE_USD];
    agent->has_tokens_today = agent->has_limited = true;
    agent->tokens_today = (uint64_t)(spent[ROTA_MEASURE_TOKENS] - estimated[ROTA_MEASURE_TOKENS]);
    agent->limited = (uint64_t)tally.limited;
    agent->has_cost_today = nano_usd > 0;
    agent->cost_today = (double)nano_usd / 1e9;
}

HANDLER (agents)
{
    (void)message;
    Rota__AgentsReply reply = ROTA__AGENTS_REPLY__INIT;
    rota_core_coordinator_t role;
    rota_core_coordinator (self->core, &role);
    size_t count = rota_core_agent_count (self->core);
    Rota__AgentState *items = in_arena (self, count, sizeof *items);
    reply.agents = in_arena (self, count, sizeof (Rota__AgentState *));
    for (rota_agent_t i = 0; items && reply.agents && i < count; i++) {
        rota_core_agent_view_t view;
        rota_core_agent_view (self->core, i, &view);
        Rota__AgentState *agent = &items[i];
        rota__agent_state__init (agent);
        agent->has_name = agent->has_kind = agent->has_host = agent->has_program_version = true;
        agent->has_slots = agent->has_busy = agent->has_draining = agent->has_connected =
            agent->has_since_ms = true;
        agent->has_succeeded = agent->has_failed = true;
        agent->name = rota_bytes (view.name);
        agent->kind = rota_bytes (view.kind);
        agent->host = rota_bytes (view.host);
        agent->program_version = rota_bytes (i < self->agent_versions.count && self->agent_versions.items[i]
                                                 ? self->agent_versions.items[i]
                                                 : "");
        agent->slots = view.slots;
        agent->busy = view.busy;
        agent->draining = view.draining;
        agent->connected = view.connected;
        agent->since_ms = view.since_ms;
        agent->succeeded = view.succeeded;
        agent->failed = view.failed;
        const char *problem = i < self->agent_problems.count ? self->agent_problems.items[i] : NULL;
        agent->has_problem = problem != NULL;
        agent->problem = rota_bytes (problem ? problem : "");
        agent->has_coordinator = true;
        agent->coordinator = role.agent == i;
        agent->has_full = true;
        agent->full = view.full;
        fill_account (self, &view, agent);
        fill_spend (self, i, agent);
        fill_all_running (self, ROTA_NONE, i, &agent->n_running, &agent->running);
        reply.agents[reply.n_agents++] = agent;
    }
    rota_service_answer (self, from, ROTA_MESSAGE_AGENTS_REPLY, &reply.base);
}
