#include "scheduler/service_internal.h"

#include "bus/clock.h"
#include "bus/endpoint.h"
#include "bus/log.h"
#include "bus/names.h"
#include "bus/start.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TICK_MS 250
#define ARENA_CAP_BYTES (256u << 20)
#define ASSIGN_CHUNK 500

int64_t rota_service_now_ms (const service_t *self)
{
    return self->steady_base_ms + rota_clock_boot_ms ();
}

/* ---------------------------------------------------------------------------------------- vectors */

void *rota_vector_push (service_t *self, void *vector, size_t item_size)
{
    VECTOR (char) *it = vector; /* same layout whatever the item */
    if (it->count == it->capacity) {
        size_t capacity = it->capacity ? it->capacity * 2 : 16;
        char *items = realloc (it->items, capacity * item_size);
        if (!items) {
            rota_service_fail (self, -ENOMEM, "no memory");
            return NULL;
        }
        it->items = items;
        it->capacity = capacity;
    }
    void *item = it->items + it->count++ * item_size;
    memset (item, 0, item_size);
    return item;
}

/* ---------------------------------------------------------------------------------------- sources */

uint32_t rota_service_find_source (const service_t *self, const char *name, size_t length)
{
    for (size_t i = 1; i < self->sources.count; i++)
        if (self->sources.items[i].name_length == length &&
            memcmp (self->sources.items[i].name, name, length) == 0)
            return (uint32_t)i;
    return 0;
}

static source_t *source_at (service_t *self, uint32_t index)
{
    while (self->sources.count <= index)
        if (!VPUSH (self, sources))
            return NULL;
    return &self->sources.items[index];
}

/* What the header says beside the definitions. */
static void apply_header (service_t *self, uint32_t index)
{
    const source_t *source = &self->sources.items[index];
    Rota__RoadmapHeader *header = rota__roadmap_header__unpack (NULL, source->header_size, source->header);
    if (!header)
        return;
    rota_core_limit_source (self->core, index, header->wip_limit);
    rota__roadmap_header__free_unpacked (header, NULL);
}

uint32_t rota_service_source (service_t *self, const char *name, size_t length,
                              const Rota__RoadmapHeader *header)
{
    uint32_t index = rota_service_find_source (self, name, length);
    if (!index)
        index = self->sources.count ? (uint32_t)self->sources.count : 1;
    source_t *source = source_at (self, index);
    if (!source)
        return 0;
    if (!source->name) {
        source->name = strndup (name, length);
        source->name_length = length;
        source->dirty = true;
    }
    if (header) {
        free (source->header);
        source->header_size = rota__roadmap_header__get_packed_size (header);
        source->header = malloc (source->header_size + 1);
        if (source->header)
            rota__roadmap_header__pack (header, source->header);
        source->dirty = true;
        if (source->header)
            apply_header (self, index);
    }
    return source->name && (!header || source->header) ? index : 0;
}

const char *rota_service_agent_name (const service_t *self, rota_agent_t agent)
{
    if (agent == ROTA_NONE)
        return NULL;
    rota_core_agent_view_t view;
    rota_core_agent_view (self->core, agent, &view);
    return view.name;
}

/* ---------------------------------------------------------------------------------------- outgoing */

static void queue_message (service_t *self, const rota_envelope_t *envelope, const ProtobufCMessage *message)
{
    outgoing_t *out = VPUSH (self, outgoing);
    if (!out)
        return;
    out->envelope = *envelope;
    if (rota_body_encode (envelope->type, message, &out->body, &out->size) < 0) {
        self->outgoing.count--;
        rota_log (ROTA_LOG_ERROR, "message.too_large", "type=%s", rota_message_name (envelope->type));
    }
}

void rota_service_answer (service_t *self, const rota_envelope_t *request, uint32_t type,
                          const ProtobufCMessage *message)
{
    rota_envelope_t envelope;
    rota_envelope_answer (request, type, &envelope);
    size_t before = self->outgoing.count;
    queue_message (self, &envelope, message);
    if (self->outgoing.count == before) {
        Rota__Error error = ROTA__ERROR__INIT;
        error.has_code = error.has_text = true;
        error.code = ERROR_CODE (TOO_LARGE);
        error.text = rota_bytes ("the answer is too large: ask for less");
        envelope.type = ROTA_MESSAGE_ERROR;
        queue_message (self, &envelope, &error.base);
    }
    if (self->outgoing.count > before) {
        const outgoing_t *out = &self->outgoing.items[self->outgoing.count - 1];
        rota_answers_answer (self->answers, request, out->envelope.type, out->body, out->size);
    }
}

void rota_service_refuse (service_t *self, const rota_envelope_t *request, Rota__ErrorCode code,
                          const char *format, ...)
{
    char text[ROTA_ERROR_MAX_BYTES];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    Rota__Error error = ROTA__ERROR__INIT;
    error.has_code = error.has_text = true;
    error.code = code;
    error.text = rota_bytes (text);
    if (code == ERROR_CODE (RETRY_LATER)) {
        error.has_retry_after_ms = true;
        error.retry_after_ms = 200;
    }
    rota_service_answer (self, request, ROTA_MESSAGE_ERROR, &error.base);
}

void rota_service_refuse_faults (service_t *self, const rota_envelope_t *request,
                                 rota_define_faults_t *faults, const char *what)
{
    Rota__Error error = ROTA__ERROR__INIT;
    error.has_code = error.has_text = true;
    error.code = ERROR_CODE (INVALID);
    error.text = rota_bytes (what);
    error.n_faults = faults->count;
    error.faults = faults->faults;
    rota_service_answer (self, request, ROTA_MESSAGE_ERROR, &error.base);
}

static void fill_envelope (const service_t *self, rota_envelope_t *envelope)
{
    envelope->scheduler_epoch = self->epoch;
    envelope->has_store = true;
    memcpy (envelope->store, rota_store_incarnation (self->store), 16);
}

void rota_service_send (service_t *self, const uint8_t to[16], uint32_t type, const ProtobufCMessage *message)
{
    rota_envelope_t envelope = {.type = type, .has_to = true};
    memcpy (envelope.to, to, 16);
    queue_message (self, &envelope, message);
}

static void let_out (service_t *self)
{
    for (size_t i = 0; i < self->outgoing.count; i++) {
        outgoing_t *out = &self->outgoing.items[i];
        fill_envelope (self, &out->envelope);
        /* What can't be sent now is asked for again by who waits for it: that is the retry rule everywhere.
         */
        int r = rota_peer_send_packed (self->peer, &out->envelope, out->body, out->size);
        if (r < 0)
            rota_log_limited (ROTA_LOG_WARNING, "message.dropped", "send", 1000, "type=%s error=%d",
                              rota_message_name (out->envelope.type), -r);
        free (out->body);
    }
    self->outgoing.count = 0;
}

static void drop_outgoing (service_t *self)
{
    for (size_t i = 0; i < self->outgoing.count; i++)
        free (self->outgoing.items[i].body);
    self->outgoing.count = 0;
}

/* ----------------------------------------------------------------------------- assignments, stops */

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

static void send_work (service_t *self, const rota_core_effects_t *effects)
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

/* ----------------------------------------------------------------------------------------- events */

#define EVENTS_A_MESSAGE 1000

static void publish (service_t *self, uint32_t type, const ProtobufCMessage *message)
{
    uint8_t head[ROTA_ENVELOPE_MAX_BYTES], *body;
    size_t size;
    if (!self->publish || rota_body_encode (type, message, &body, &size) < 0)
        return;
    rota_envelope_t envelope = {
        .version = ROTA_PROTOCOL_VERSION, .type = type, .role = ROTA__ROLE__ROLE_SCHEDULER};
    fill_envelope (self, &envelope);
    size_t head_size = rota_envelope_encode (&envelope, head);
    void *socket = zsock_resolve (self->publish);
    /* Subscribers replay what they miss: a full queue is no reason to wait. */
    if (zmq_send (socket, "e", 1, ZMQ_SNDMORE | ZMQ_DONTWAIT) == 1 &&
        zmq_send (socket, head, head_size, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0)
        zmq_send (socket, body, size, ZMQ_DONTWAIT);
    free (body);
}

static void publish_events (service_t *self, const rota_core_effects_t *effects, uint64_t first,
                            int64_t wall_ms)
{
    Rota__EventBatch batch = ROTA__EVENT_BATCH__INIT;
    Rota__Event *items = calloc (EVENTS_A_MESSAGE, sizeof *items);
    Rota__Event **list = calloc (EVENTS_A_MESSAGE, sizeof (Rota__Event *));
    batch.events = list;
    for (size_t i = 0; items && list && i < effects->event_count; i++) {
        rota_stored_event_t stored = {.seq = first + i, .time_ms = wall_ms, .event = effects->events[i]};
        stored.reason_length = stored.event.reason ? strlen (stored.event.reason) : 0;
        list[batch.n_events] = &items[batch.n_events];
        rota_event_message (self, &stored, list[batch.n_events++]);
        if (batch.n_events == EVENTS_A_MESSAGE || i + 1 == effects->event_count) {
            publish (self, ROTA_MESSAGE_EVENT_BATCH, &batch.base);
            batch.n_events = 0;
        }
    }
    free (items);
    free (list);
    self->published_head = first + effects->event_count - 1;
}

static int on_head_timer (zloop_t *loop, int timer, void *owner)
{
    (void)loop;
    (void)timer;
    service_t *self = owner;
    Rota__EventHead head = ROTA__EVENT_HEAD__INIT;
    head.has_last = true;
    head.last = self->published_head;
    publish (self, ROTA_MESSAGE_EVENT_HEAD, &head.base);
    return 0;
}

/* ------------------------------------------------------------------------------------- the commit */

static void clear_batch (service_t *self)
{
    for (size_t i = 0; i < self->added.count; i++)
        free (self->added.items[i].buffer);
    for (size_t i = 0; i < self->redefined.count; i++)
        free (self->redefined.items[i].buffer);
    self->added.count = self->edges.count = self->redefined.count = self->agents_changed.count = 0;
    self->settled.count = 0;
    self->flip = false;
    self->batch_count = 0;
    rota_core_effects_clear (self->core);
    rota_arena_reset (self->arena);
}

static void write_definitions (service_t *self, int64_t wall_ms)
{
    for (size_t i = 0; i < self->added.count; i++) {
        const added_t *it = &self->added.items[i];
        rota_store_add_task (self->store, self->core, it->node, it->type, &it->definition, it->staged,
                             wall_ms);
    }
    for (size_t i = 0; i < self->redefined.count; i++)
        rota_store_set_definition (self->store, self->redefined.items[i].node,
                                   &self->redefined.items[i].definition);
    for (size_t i = 0; i < self->edges.count; i++) {
        const edge_change_t *it = &self->edges.items[i];
        if (it->drop)
            rota_store_drop_dependency (self->store, it->node, it->prerequisite);
        else
            rota_store_add_dependency (self->store, it->node, it->prerequisite, it->type);
    }
}

static void write_names (service_t *self)
{
    for (size_t i = 1; i < self->sources.count; i++) {
        source_t *it = &self->sources.items[i];
        if (it->dirty)
            rota_store_set_source (self->store, (uint32_t)i, it->name, it->name_length, it->header,
                                   it->header_size);
    }
    for (size_t i = self->classes_stored; i < rota_core_class_count (self->core); i++)
        rota_store_set_class (self->store, self->core, (uint32_t)i);
    for (size_t i = 0; i < self->agents_changed.count; i++) {
        rota_agent_t agent = self->agents_changed.items[i];
        rota_store_set_agent (self->store, self->core, agent, self->agent_versions.items[agent]);
    }
}

/* The batch's additions have rising indices. */
static bool was_added_now (const service_t *self, rota_node_t node)
{
    size_t low = 0, high = self->added.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (self->added.items[middle].node < node)
            low = middle + 1;
        else
            high = middle;
    }
    return low < self->added.count && self->added.items[low].node == node;
}

/* Nodes are only appended: what was added in this batch is known by its index but for imports that
 * interleave. */
static uint64_t write_effects (service_t *self, const rota_core_effects_t *effects, int64_t wall_ms)
{
    for (size_t i = 0; i < effects->dirty_count; i++)
        if (!was_added_now (self, effects->dirty[i]))
            rota_store_set_task (self->store, self->core, effects->dirty[i], wall_ms);
    for (size_t i = 0; i < effects->ended_count; i++) {
        rota_store_add_attempt (self->store, &effects->ended[i], wall_ms);
        rota_spend_ended (self, &effects->ended[i], wall_ms);
    }
    rota_spend_store (self);
    for (rota_account_t i = 0; effects->accounts_changed && i < rota_core_account_count (self->core); i++)
        rota_store_set_account (self->store, self->core, i);
    uint64_t first = 0;
    for (size_t i = 0; i < effects->event_count; i++) {
        uint64_t seq = rota_store_add_event (self->store, &effects->events[i], wall_ms);
        if (i == 0)
            first = seq;
    }
    if (effects->control_changed)
        rota_store_set_number (self->store, "paused", rota_core_is_paused (self->core));
    return first;
}

static bool has_effects (const service_t *self, const rota_core_effects_t *effects)
{
    return effects->event_count || effects->dirty_count || effects->ended_count || self->added.count ||
           self->edges.count || self->redefined.count || self->agents_changed.count || self->flip ||
           rota_answers_dirty (self->answers) || effects->control_changed || effects->accounts_changed;
}

static int commit (service_t *self, const rota_core_effects_t *effects, int64_t wall_ms, uint64_t *ret_first,
                   rota_error_t *error)
{
    int r = rota_store_begin (self->store, error);
    if (r < 0)
        return r;
    write_names (self);
    write_definitions (self, wall_ms);
    *ret_first = write_effects (self, effects, wall_ms);
    if (self->flip)
        rota_store_show_generation (self->store, rota_import_generation (self->import));
    rota_answers_store (self->answers, self->store);
    return rota_store_commit (self->store, error);
}

static void committed (service_t *self)
{
    for (size_t i = 1; i < self->sources.count; i++)
        self->sources.items[i].dirty = false;
    self->classes_stored = rota_core_class_count (self->core);
    rota_answers_stored (self->answers);
    if (self->flip)
        rota_import_flipped (self);
}

static int rebuild (service_t *self, rota_error_t *error);

/* Nothing of the batch happened: who asked is told so, and the core is as the file says. */
static void undo (service_t *self, int code, const rota_error_t *cause)
{
    rota_log (ROTA_LOG_ERROR, "commit.failed", "error=%d text=\"%s\"", -code, cause->text);
    if (code == -ESTALE || code == -EIO || code == -EINVAL) {
        /* Another has the role; or a sync failed, and a retry may lie; or we broke a constraint, which is a
         * bug. */
        rota_service_fail (self, code, cause->text);
        drop_outgoing (self);
        return;
    }
    VECTOR (rota_envelope_t) askers = {0};
    for (size_t i = 0; i < self->outgoing.count; i++) {
        rota_envelope_t *asker = self->outgoing.items[i].envelope.has_conversation
                                     ? rota_vector_push (self, &askers, sizeof *asker)
                                     : NULL;
        if (asker)
            *asker = self->outgoing.items[i].envelope;
    }
    drop_outgoing (self);
    rota_error_t error;
    if (rebuild (self, &error) < 0)
        rota_service_fail (self, -EIO, error.text);
    for (size_t i = 0; i < askers.count; i++) {
        rota_envelope_t request = askers.items[i];
        memcpy (request.sender, request.to, 16);
        request.has_sender = true;
        rota_service_refuse (self, &request,
                             code == -ENOSPC ? ERROR_CODE (DISK_FULL) : ERROR_CODE (STORE_FAILED),
                             "nothing was changed: %s", cause->text);
    }
    free (askers.items);
    let_out (self);
}

void rota_service_flush (service_t *self)
{
    rota_error_t error = {{0}};
    rota_core_effects_t effects;
    int64_t wall_ms = rota_clock_wall_ms ();
    if (self->failed)
        return;
    if (!self->config.hold)
        rota_core_dispatch (self->core, rota_service_now_ms (self));
    rota_core_effects (self->core, &effects);
    uint64_t first = 0;
    bool change = has_effects (self, &effects);
    if (change) {
        int r = rota_core_broken (self->core) ? -ENOMEM : commit (self, &effects, wall_ms, &first, &error);
        if (r < 0) {
            undo (self, r, &error);
            clear_batch (self);
            return;
        }
        committed (self);
    }
    if (effects.assign_count || effects.stop_count)
        send_work (self, &effects);
    let_out (self);
    if (effects.event_count)
        publish_events (self, &effects, first, wall_ms);
    clear_batch (self);
    self->batches++;
    if (change)
        rota_store_checkpoint (self->store, false);
}

/* ---------------------------------------------------------------------------------------- messages */

typedef void (*handler_fn) (service_t *self, const rota_envelope_t *from, const ProtobufCMessage *message);

static const struct {
    uint32_t type;
    handler_fn handle;
} HANDLERS[] = {
    {ROTA_MESSAGE_PRESENCE, rota_serve_presence},
    {ROTA_MESSAGE_SUBMIT, rota_serve_submit},
    {ROTA_MESSAGE_IMPORT_BEGIN, rota_serve_import_begin},
    {ROTA_MESSAGE_IMPORT_CHUNK, rota_serve_import_chunk},
    {ROTA_MESSAGE_IMPORT_COMMIT, rota_serve_import_commit},
    {ROTA_MESSAGE_IMPORT_ABORT, rota_serve_import_abort},
    {ROTA_MESSAGE_CONTROL, rota_serve_control},
    {ROTA_MESSAGE_STATUS_QUERY, rota_serve_status},
    {ROTA_MESSAGE_TASKS_QUERY, rota_serve_tasks},
    {ROTA_MESSAGE_TASK_QUERY, rota_serve_task},
    {ROTA_MESSAGE_WHY_QUERY, rota_serve_why},
    {ROTA_MESSAGE_EVENTS_QUERY, rota_serve_events},
    {ROTA_MESSAGE_AGENTS_QUERY, rota_serve_agents},
    {ROTA_MESSAGE_BACKUP, rota_serve_backup},
    {ROTA_MESSAGE_CHECK, rota_serve_check},
    {ROTA_MESSAGE_OUTPUT_QUERY, rota_serve_output},
    {ROTA_MESSAGE_REGISTER, rota_serve_register},
    {ROTA_MESSAGE_ACCEPTED, rota_serve_accepted},
    {ROTA_MESSAGE_AGENT_HEARTBEAT, rota_serve_agent_heartbeat},
    {ROTA_MESSAGE_REPORT, rota_serve_report},
    {ROTA_MESSAGE_SINK_CURSOR, rota_serve_sink_cursor},
};

static handler_fn find_handler (uint32_t type)
{
    for (size_t i = 0; i < sizeof HANDLERS / sizeof HANDLERS[0]; i++)
        if (HANDLERS[i].type == type)
            return HANDLERS[i].handle;
    return NULL;
}

/* True when the request is to be handled; else it has been answered. */
static bool is_new (service_t *self, const rota_envelope_t *from, const uint8_t *body, size_t size)
{
    uint32_t type;
    const uint8_t *answer;
    size_t answer_size;
    uint64_t hash = rota_hash (body, size) ^ from->type;
    if (!from->has_conversation || !from->sequence) {
        rota_service_refuse (self, from, ERROR_CODE (MALFORMED),
                             "the request has no conversation and sequence number");
        return false;
    }
    switch (rota_answers_look_up (self->answers, from, hash, rota_clock_wall_ms (), &type, &answer,
                                  &answer_size)) {
    case ROTA_ANSWER_NEW:
        rota_answers_begin (self->answers, from, hash);
        return true;
    case ROTA_ANSWER_REPEATED: {
        outgoing_t *out = VPUSH (self, outgoing);
        if (out && (out->body = malloc (answer_size + 1))) {
            rota_envelope_answer (from, type, &out->envelope);
            memcpy (out->body, answer, answer_size);
            out->size = answer_size;
        }
        return false;
    }
    case ROTA_ANSWER_CONFLICT:
        rota_service_refuse (self, from, ERROR_CODE (CONFLICT),
                             "request %llu of this conversation had another body",
                             (unsigned long long)from->sequence);
        return false;
    case ROTA_ANSWER_ENDED:
        rota_service_refuse (self, from, ERROR_CODE (CONVERSATION_ENDED),
                             "this conversation has ended: look at the state, then start a new one");
        return false;
    default:
        rota_service_refuse (self, from, ERROR_CODE (RETRY_LATER), "no memory");
        return false;
    }
}

static void on_message (void *owner, const rota_envelope_t *from, const uint8_t *body, size_t size)
{
    service_t *self = owner;
    handler_fn handle = find_handler (from->type);
    const rota_catalogue_entry_t *entry = rota_catalogue_find (from->type);
    if (self->failed || from->type == ROTA_MESSAGE_ERROR)
        return;
    self->messages++;
    if (!handle || !entry) {
        rota_service_refuse (self, from, ERROR_CODE (UNKNOWN_TYPE),
                             "the scheduler doesn't know message type %u", from->type);
        return;
    }
    ProtobufCMessage *message;
    int r = rota_body_decode (from->type, body, size, self->arena, &message);
    if (r == -ENOMEM) {
        /* The batch has filled the arena: what came before is committed first. */
        rota_service_flush (self);
        r = rota_body_decode (from->type, body, size, self->arena, &message);
    }
    if (r < 0) {
        rota_service_refuse (self, from, r == -EMSGSIZE ? ERROR_CODE (TOO_LARGE) : ERROR_CODE (MALFORMED),
                             "%s can't be decoded", entry->name);
        return;
    }
    bool durable = entry->durable && from->type != ROTA_MESSAGE_REPORT;
    if (!durable || is_new (self, from, body, size))
        handle (self, from, message);
    rota_answers_end (self->answers);
    if (++self->batch_count >=
        (size_t)rota_setting_integer (self->config.settings, ROTA_SETTING_SCHEDULER_BATCH_MAX))
        rota_service_flush (self);
}

static void on_drained (void *owner)
{
    rota_service_flush (owner);
}

static void on_state (void *owner, rota_peer_state_t state, const Rota__Welcome *welcome, const char *why)
{
    service_t *self = owner;
    if (state != ROTA_PEER_READY) {
        char quoted[512];
        rota_log (ROTA_LOG_INFO, "broker.waiting", "why=%s",
                  rota_log_quote (why ? why : "", why ? strlen (why) : 0, quoted, sizeof quoted));
        return;
    }
    zsock_destroy (&self->publish);
    if (welcome->has_publish_endpoint) {
        char endpoint[ROTA_ENDPOINT_MAX_BYTES] = "";
        rota_endpoint_resolve ((const char *)welcome->publish_endpoint.data, welcome->publish_endpoint.len,
                               rota_peer_endpoint (self->peer), endpoint);
        self->publish = zsock_new (ZMQ_PUB);
        zsock_set_sndhwm (self->publish, 10000);
        zsock_set_linger (self->publish, 200);
        zsock_set_ipv6 (self->publish, 1);
        if (rota_curve_use (rota_peer_curve (self->peer), zsock_resolve (self->publish), endpoint, NULL) <
                0 ||
            zsock_connect (self->publish, "%s", endpoint) < 0)
            rota_log (ROTA_LOG_ERROR, "events.endpoint", "endpoint=%s", endpoint);
    }
    rota_log (ROTA_LOG_INFO, "broker.ready", "endpoint=%s epoch=%llu", rota_peer_endpoint (self->peer),
              (unsigned long long)self->epoch);
}

/* ------------------------------------------------------------------------------------------- life */

static void look_at_quiet_hours (service_t *self, int64_t now_ms)
{
    int64_t wall_ms = rota_clock_wall_ms (), until_ms = rota_quiet_until_ms (&self->quiet, wall_ms);
    if (until_ms == self->quiet_until_ms)
        return;
    self->quiet_until_ms = until_ms;
    rota_core_quiet (self->core, until_ms ? until_ms + now_ms - wall_ms : 0, now_ms);
}

static int on_tick (zloop_t *loop, int timer, void *owner)
{
    (void)loop;
    (void)timer;
    service_t *self = owner;
    int64_t now_ms = rota_service_now_ms (self);
    int64_t stalled_ms = now_ms - self->last_tick_ms - 4 * TICK_MS;
    self->last_tick_ms = now_ms;
    look_at_quiet_hours (self, now_ms);
    /* After a stall what the hosts said meanwhile still waits in the socket: it is read before anything
     * expires. */
    rota_core_tick (self->core, now_ms, stalled_ms > 0 ? stalled_ms : 0);
    rota_import_tick (self);
    rota_upkeep_tick (self);
    rota_service_flush (self);
    rota_store_checkpoint (self->store, true);
    return self->failed ? -1 : 0;
}

static int on_stop (zloop_t *loop, zmq_pollitem_t *item, void *owner)
{
    (void)loop;
    (void)item;
    ((service_t *)owner)->stopping = true;
    return -1;
}

void rota_service_fail (service_t *self, int code, const char *text)
{
    if (self->failed)
        return;
    self->failed = code;
    rota_error_set (&self->failure, code, "%s", text);
    rota_scheduler_stop (self);
}

static void load_source (void *owner, uint32_t index, const char *name, size_t length, const uint8_t *header,
                         size_t size)
{
    service_t *self = owner;
    source_t *source = source_at (self, index);
    if (!source || source->name)
        return;
    source->name = strndup (name, length);
    source->name_length = length;
    source->header = malloc (size + 1);
    if (source->header && size)
        memcpy (source->header, header, size);
    source->header_size = size;
    if (!source->name || !source->header)
        rota_service_fail (self, -ENOMEM, "no memory");
}

static void load_conversation (void *owner, const uint8_t id[16], uint64_t low, const uint8_t *window,
                               size_t size, int64_t used_ms)
{
    service_t *self = owner;
    if (rota_answers_load (self->answers, id, low, window, size, used_ms) < 0)
        rota_log (ROTA_LOG_ERROR, "conversation.damaged", "low=%llu", (unsigned long long)low);
}

static void load_agent_version (void *owner, rota_agent_t agent, const char *version)
{
    service_t *self = owner;
    while (self->agent_versions.count <= agent)
        if (!VPUSH (self, agent_versions))
            return;
    free (self->agent_versions.items[agent]);
    self->agent_versions.items[agent] = strdup (version);
}

static void free_names (service_t *self)
{
    for (size_t i = 0; i < self->sources.count; i++) {
        free (self->sources.items[i].name);
        free (self->sources.items[i].header);
    }
    for (size_t i = 0; i < self->agent_versions.count; i++)
        free (self->agent_versions.items[i]);
    for (size_t i = 0; i < self->agent_problems.count; i++)
        free (self->agent_problems.items[i]);
    self->sources.count = self->agent_versions.count = self->agent_problems.count = 0;
}

/* Core, names and conversations as the file has them. Agents register anew when they are asked to. */
static int rebuild (service_t *self, rota_error_t *error)
{
    rota_store_load_t load = {
        .owner = self,
        .on_source = load_source,
        .on_conversation = load_conversation,
        .on_agent_version = load_agent_version,
    };
    int64_t now_ms = rota_service_now_ms (self);
    rota_import_destroy (&self->import);
    rota_core_destroy (&self->core);
    rota_answers_destroy (&self->answers);
    free_names (self);
    self->core = rota_core_new (&self->policy, now_ms);
    self->answers = rota_answers_new ();
    if (!self->core || !self->answers)
        return rota_error_set (error, -ENOMEM, "no memory");
    int r = rota_store_load (self->store, self->core, &load, now_ms, error);
    if (r < 0)
        return r;
    for (uint32_t i = 1; i < self->sources.count; i++)
        apply_header (self, i);
    self->classes_stored = rota_core_class_count (self->core);
    self->published_head = rota_store_last_event (self->store);
    self->sink_cursor = self->sink_cursor_stored =
        (uint64_t)rota_store_number (self->store, "sink_cursor", 0);
    rota_core_pause (self->core, rota_store_number (self->store, "paused", 0) != 0, now_ms);
    rota_spend_load (self);
    self->quiet_until_ms = 0;
    rota_core_effects_clear (self->core);
    self->agent_peer_count = 0;
    return 0;
}

static void read_policy (service_t *self)
{
    const rota_settings_t *s = self->config.settings;
    rota_core_policy_default (&self->policy);
    self->policy.lease_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_LEASE);
    self->policy.lease_margin_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_LEASE_MARGIN);
    self->policy.backoff_base_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_BACKOFF_BASE);
    self->policy.backoff_max_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_BACKOFF_MAX);
    self->policy.backoff_jitter_percent =
        (int)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_BACKOFF_JITTER);
    self->policy.default_attempts = (uint32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_ATTEMPTS);
    self->policy.wip_limit = (uint32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_WIP_LIMIT);
    self->policy.wip_agent = (uint32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_WIP_AGENT);
    self->policy.wip_epic = (uint32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_WIP_EPIC);
    self->policy.prefer = rota_setting_list (s, ROTA_SETTING_SCHEDULER_PREFER, NULL);
    self->policy.prefer_complex = rota_setting_list (s, ROTA_SETTING_SCHEDULER_PREFER_COMPLEX, NULL);
    self->policy.complex_from = (uint32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_COMPLEX_FROM);
    self->policy.default_cooldown_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_COOLDOWN);
    self->policy.capacity_cooldown_ms =
        rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_COOLDOWN_CAPACITY);
    self->policy.cooldown_guess_max_ms =
        rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_COOLDOWN_GUESS_MAX);
    self->policy.cooldown_floor_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_COOLDOWN_FLOOR);
    self->policy.cooldown_ceiling_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_COOLDOWN_CEILING);
    self->policy.cooldown_margin_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_COOLDOWN_MARGIN);
    self->policy.no_auto_resume = !rota_setting_boolean (s, ROTA_SETTING_SCHEDULER_AUTO_RESUME);
    self->policy.weight.priority_s =
        (int32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_WEIGHT_PRIORITY);
    self->policy.weight.review_s = (int32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_WEIGHT_REVIEW);
    self->policy.weight.fixup_s = (int32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_WEIGHT_FIXUP);
    self->policy.weight.unblocks_s =
        (int32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_WEIGHT_UNBLOCKS);
    self->policy.weight.small_s = (int32_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_WEIGHT_SMALL);
}

static int read_quiet_hours (service_t *self, rota_error_t *error)
{
    rota_error_t why = {""};
    int r = rota_quiet_parse (rota_setting_text (self->config.settings, ROTA_SETTING_SCHEDULER_QUIET_HOURS),
                              &self->quiet, &why);
    return r < 0 ? rota_error_set (error, r, "scheduler.quiet_hours: %s", why.text) : 0;
}

/* The lock says who serves the directory; a second one is told. (Standing by and taking over: election.) */
static int take_lock (service_t *self, rota_error_t *error)
{
    char path[4096], text[64] = "";
    snprintf (path, sizeof path, "%s/scheduler.lock", self->config.state_directory);
    self->lock_fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (self->lock_fd < 0)
        return rota_error_set (error, -errno, "can't open %s: %s", path, strerror (errno));
    if (flock (self->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        ssize_t length = pread (self->lock_fd, text, sizeof text - 1, 0);
        text[length > 0 ? length : 0] = '\0';
        return rota_error_set (error, -EBUSY, "another scheduler (pid %d) serves %s",
                               (int)strtol (text, NULL, 10), self->config.state_directory);
    }
    int length = snprintf (text, sizeof text, "%d\n", getpid ());
    if (ftruncate (self->lock_fd, 0) < 0 || pwrite (self->lock_fd, text, (size_t)length, 0) < 0)
        return rota_error_set (error, -errno, "can't write %s: %s", path, strerror (errno));
    return 0;
}

static int open_all (service_t *self, rota_error_t *error)
{
    int r = take_lock (self, error);
    if (r < 0)
        return r;
    if (asprintf (&self->store_path, "%s/rota.db", self->config.state_directory) < 0)
        return rota_error_set (error, -ENOMEM, "no memory");
    r = rota_store_open (self->store_path, &self->store, error);
    if (r < 0)
        return r;
    rota_store_set_wal_limit (
        self->store, rota_setting_size_bytes (self->config.settings, ROTA_SETTING_SCHEDULER_WAL_LIMIT));
    r = rota_store_take_role (self->store, &self->epoch, error);
    if (r == 0)
        r = rebuild (self, error);
    if (r < 0)
        return rota_error_prefix (error, r, "%s", self->store_path);
    rota_bus_start ();
    self->stop_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->loop = zloop_new ();
    self->arena = rota_arena_new (ARENA_CAP_BYTES);
    if (self->stop_fd < 0 || !self->loop || !self->arena)
        return rota_error_set (error, -ENOMEM, "no memory");
    zloop_set_nonstop (self->loop, true);
    rota_peer_config_t config = {
        .endpoints = self->config.endpoints,
        .role = ROTA__ROLE__ROLE_SCHEDULER,
        .name = "scheduler",
        .curve = self->config.curve,
        .scheduler_epoch = self->epoch,
        .owner = self,
        .on_message = on_message,
        .on_drained = on_drained,
        .on_state = on_state,
    };
    self->peer = rota_peer_new (&config, self->loop, error);
    return self->peer ? 0 : -EINVAL;
}

int rota_scheduler_new (const rota_scheduler_config_t *config, rota_scheduler_t **ret_self,
                        rota_error_t *error)
{
    service_t *self = calloc (1, sizeof *self);
    if (!self)
        return rota_error_set (error, -ENOMEM, "no memory");
    self->config = *config;
    self->lock_fd = self->stop_fd = -1;
    self->steady_base_ms = rota_clock_wall_ms () - rota_clock_boot_ms ();
    read_policy (self);
    int r = read_quiet_hours (self, error);
    if (r == 0)
        r = open_all (self, error);
    if (r < 0) {
        rota_scheduler_destroy (&self);
        return r;
    }
    *ret_self = self;
    return 0;
}

int rota_scheduler_run (rota_scheduler_t *self, rota_error_t *error)
{
    zmq_pollitem_t stop = {.fd = self->stop_fd, .events = ZMQ_POLLIN};
    self->last_tick_ms = rota_service_now_ms (self);
    rota_core_note (self->core, EVENT (SCHEDULER_STARTED), "ready");
    zloop_poller (self->loop, &stop, on_stop, self);
    zloop_poller_set_tolerant (self->loop, &stop);
    zloop_timer (self->loop, TICK_MS, 0, on_tick, self);
    zloop_timer (self->loop, 1000, 0, on_head_timer, self);
    while (!self->stopping && !self->failed)
        zloop_start (self->loop); /* returns at any signal too */
    if (!self->failed) {
        rota_core_note (self->core, EVENT (SCHEDULER_STOPPED), "told to stop");
        rota_service_flush (self);
    }
    if (self->failed)
        rota_error_set (error, self->failed, "%s", self->failure.text);
    return self->failed;
}

void rota_scheduler_stop (rota_scheduler_t *self)
{
    uint64_t one = 1;
    if (write (self->stop_fd, &one, sizeof one) < 0) {
        /* Full means that it is set already. */
    }
}

void rota_scheduler_destroy (rota_scheduler_t **self_p)
{
    service_t *self = *self_p;
    if (!self)
        return;
    rota_backup_destroy (&self->backup);
    if (self->core && self->arena)
        clear_batch (self);
    drop_outgoing (self);
    rota_peer_destroy (&self->peer);
    zsock_destroy (&self->publish);
    zloop_destroy (&self->loop);
    rota_import_destroy (&self->import);
    rota_core_destroy (&self->core);
    rota_answers_destroy (&self->answers);
    rota_store_close (&self->store);
    rota_arena_destroy (&self->arena);
    free_names (self);
    free (self->sources.items);
    free (self->agent_versions.items);
    free (self->agent_peers);
    free (self->outgoing.items);
    free (self->added.items);
    free (self->edges.items);
    free (self->redefined.items);
    free (self->agents_changed.items);
    free (self->agent_problems.items);
    free (self->spends.items);
    free (self->settled.items);
    free (self->store_path);
    if (self->stop_fd >= 0)
        close (self->stop_fd);
    if (self->lock_fd >= 0)
        close (self->lock_fd);
    free (self);
    *self_p = NULL;
}
