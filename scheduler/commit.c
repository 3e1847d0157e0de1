/* The batch: what is to be answered and sent, and the one transaction that comes before it. */
#include "scheduler/service_internal.h"

#include "bus/clock.h"
#include "bus/log.h"

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
    if ((size_t)code < ROTA_FIGURE_CODES)
        self->figures.refused[code]++;
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

void rota_service_fill_envelope (const service_t *self, rota_envelope_t *envelope)
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

void rota_service_tell_broker (service_t *self, uint32_t type, const ProtobufCMessage *message)
{
    queue_message (self, &(rota_envelope_t){.type = type}, message);
}

static void let_out (service_t *self)
{
    for (size_t i = 0; i < self->outgoing.count; i++) {
        outgoing_t *out = &self->outgoing.items[i];
        rota_service_fill_envelope (self, &out->envelope);
        /* What can't be sent now is asked for again by who waits for it: that is the retry rule everywhere.
         */
        int r = rota_peer_send_packed (self->peer, &out->envelope, out->body, out->size);
        if (r < 0) {
            self->figures.dropped++;
            rota_log_limited (ROTA_LOG_WARNING, "message.dropped", "send", 1000, "type=%s error=%d",
                              rota_message_name (out->envelope.type), -r);
        }
        free (out->body);
    }
    self->outgoing.count = 0;
}

void rota_service_drop_outgoing (service_t *self)
{
    for (size_t i = 0; i < self->outgoing.count; i++)
        free (self->outgoing.items[i].body);
    self->outgoing.count = 0;
}

/* ------------------------------------------------------------------------------------- the commit */

void rota_service_clear_batch (service_t *self)
{
    for (size_t i = 0; i < self->added.count; i++)
        free (self->added.items[i].buffer);
    for (size_t i = 0; i < self->redefined.count; i++)
        free (self->redefined.items[i].buffer);
    self->added.count = self->edges.count = self->redefined.count = self->agents_changed.count = 0;
    self->settled.count = self->claims_changed.count = 0;
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
        rota_spend_ended (self, &effects->ended[i]);
        rota_quality_ended (self, &effects->ended[i]);
    }
    rota_budget_store (self, effects);
    rota_claims_store (self);
    for (rota_account_t i = 0; effects->accounts_changed && i < rota_core_account_count (self->core); i++)
        rota_store_set_account (self->store, self->core, i);
    uint64_t first = 0;
    for (size_t i = 0; i < effects->event_count; i++) {
        uint64_t seq = rota_store_add_event (self->store, &effects->events[i], wall_ms);
        if (i == 0)
            first = seq;
    }
    if (effects->role_changed)
        rota_store_set_coordinator (self->store, self->core);
    if (effects->health_changed)
        rota_store_set_health (self->store, self->core);
    if (effects->control_changed)
        rota_store_set_number (self->store, "paused", rota_core_is_paused (self->core));
    return first;
}

static bool has_effects (const service_t *self, const rota_core_effects_t *effects)
{
    return effects->event_count || effects->dirty_count || effects->ended_count || self->added.count ||
           self->edges.count || self->redefined.count || self->agents_changed.count ||
           self->claims_changed.count || self->flip || rota_answers_dirty (self->answers) ||
           effects->control_changed || effects->accounts_changed || effects->role_changed ||
           effects->health_changed || rota_budget_has_changes (self);
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
    rota_budget_stored (self);
    if (self->flip)
        rota_import_flipped (self);
}

/* Nothing of the batch happened: who asked is told so, and the core is as the file says. */
static void undo (service_t *self, int code, const rota_error_t *cause)
{
    self->figures.commits_failed++;
    rota_log (ROTA_LOG_ERROR, "commit.failed", "error=%d text=\"%s\"", -code, cause->text);
    if (code == -ESTALE || code == -EIO || code == -EINVAL) {
        /* Another has the role; or a sync failed, and a retry may lie; or we broke a constraint, which is a
         * bug. */
        rota_service_fail (self, code, cause->text);
        rota_service_drop_outgoing (self);
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
    rota_service_drop_outgoing (self);
    rota_store_rollback (self->store); /* what handlers had written already */
    rota_error_t error;
    if (rota_service_rebuild (self, &error) < 0)
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
    if (!self->config.hold && !self->disk_low)
        rota_core_dispatch (self->core, rota_service_now_ms (self));
    rota_service_note_settled (self);
    rota_service_checkpoint_limits (self);
    rota_core_effects (self->core, &effects);
    uint64_t first = 0;
    bool change = has_effects (self, &effects);
    if (change) {
        double began_s = rota_figures_clock_s ();
        int r = rota_core_broken (self->core) ? -ENOMEM : commit (self, &effects, wall_ms, &first, &error);
        if (r < 0) {
            undo (self, r, &error);
            rota_service_clear_batch (self);
            return;
        }
        committed (self);
        rota_figures_committed (self, &effects, rota_figures_clock_s () - began_s);
    }
    rota_service_tell_candidates (self);
    rota_service_turn_snapshots (self);
    if (effects.assign_count || effects.stop_count)
        rota_service_send_work (self, &effects);
    let_out (self);
    if (effects.event_count)
        rota_service_publish_events (self, &effects, first, wall_ms);
    rota_service_clear_batch (self);
    self->batches++;
    if (change)
        rota_store_checkpoint (self->store, false);
}
