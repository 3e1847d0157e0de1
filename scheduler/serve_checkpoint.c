/* Checkpoints: taken by hand, at a context limit and before what can't be undone; listed, read, gone back to.
 */
#include "scheduler/checkpoint.h"
#include "scheduler/service_internal.h"

#include "bus/clock.h"
#include "bus/log.h"

#include <stdarg.h>

#define LIST_MAX 1000
#define CONTEXT_EVERY_MS 60000      /* many agents may meet the same limit: one tells of all */
#define TRIM_EVERY_MS (3600 * 1000) /* events go a slice at a time */

/* ------------------------------------------------------------------------------------------ taking */

void rota_service_trim_checkpoints (service_t *self)
{
    const rota_settings_t *s = self->config.settings;
    rota_store_trim_checkpoints (
        self->store,
        rota_service_retention_ms (self) -
            rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_CHECKPOINT_RETENTION),
        (size_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_CHECKPOINTS));
}

static uint64_t take (service_t *self, const char *cause, Rota__Checkpoint *ret_checkpoint)
{
    uint8_t body[ROTA_CHECKPOINT_MAX_BYTES];
    char text[128];
    rota_error_t error;
    rota_checkpoint_at_t at = {.scheduler_epoch = self->epoch,
                               .last_event = rota_store_last_event (self->store),
                               .store = rota_store_incarnation (self->store),
                               .now_ms = rota_service_now_ms (self)};
    int64_t wall_ms = rota_clock_wall_ms ();
    int size = rota_checkpoint_make (self->core, &at, body);
    if (size < 0 || rota_store_begin (self->store, &error) < 0)
        return 0; /* the commit of the batch will say so */
    uint64_t id = rota_store_add_checkpoint (self->store, cause, body, (size_t)size, wall_ms);
    if (!id)
        return 0;
    rota_service_trim_checkpoints (self);
    snprintf (text, sizeof text, "checkpoint %llu: %s", (unsigned long long)id, cause);
    rota_core_note (self->core, EVENT (CHECKPOINT), text);
    if (ret_checkpoint) {
        ret_checkpoint->has_id = ret_checkpoint->has_time_ms = true;
        ret_checkpoint->has_cause = ret_checkpoint->has_size_bytes = true;
        ret_checkpoint->id = id;
        ret_checkpoint->time_ms = wall_ms;
        ret_checkpoint->cause = rota_bytes (cause);
        ret_checkpoint->size_bytes = (uint32_t)size;
    }
    return id;
}

uint64_t rota_service_take_checkpoint (service_t *self, const char *cause)
{
    return take (self, cause, NULL);
}

void rota_service_checkpoint_limits (service_t *self)
{
    rota_core_effects_t effects;
    int64_t now_ms = rota_service_now_ms (self);
    if (now_ms < self->context_checkpoint_ms)
        return;
    rota_core_effects (self->core, &effects);
    for (size_t i = 0; i < effects.ended_count; i++)
        if (effects.ended[i].result_class == RESULT (CONTEXT_LIMIT)) {
            self->context_checkpoint_ms = now_ms + CONTEXT_EVERY_MS;
            take (self, "context_limit", NULL);
            return;
        }
}

void rota_service_checkpoint_trim (service_t *self, int64_t before_ms, uint64_t cap)
{
    int64_t oldest_ms, now_ms = rota_service_now_ms (self);
    uint64_t first = rota_store_first_event (self->store, &oldest_ms);
    bool old = first && oldest_ms < before_ms && first <= self->sink_cursor;
    bool many = first && cap && rota_store_last_event (self->store) - first + 1 > cap;
    if ((!old && !many) || now_ms < self->trim_checkpoint_ms)
        return;
    self->trim_checkpoint_ms = now_ms + TRIM_EVERY_MS;
    take (self, "event_retention", NULL);
}

HANDLER (checkpoint_take)
{
    (void)message;
    Rota__CheckpointsReply reply = ROTA__CHECKPOINTS_REPLY__INIT;
    Rota__Checkpoint checkpoint = ROTA__CHECKPOINT__INIT, *list[] = {&checkpoint};
    if (rota_service_refuses_for_room (self, from))
        return;
    if (!take (self, "by_hand", &checkpoint)) {
        rota_service_refuse (self, from, ERROR_CODE (STORE_FAILED), "the checkpoint can't be written");
        return;
    }
    reply.n_checkpoints = 1;
    reply.checkpoints = list;
    rota_service_answer (self, from, ROTA_MESSAGE_CHECKPOINTS_REPLY, &reply.base);
}

/* ----------------------------------------------------------------------------------------- looking */

typedef struct {
    service_t *service;
    Rota__CheckpointsReply reply;
    size_t limit;
} listing_t;

static void fill (service_t *self, const rota_stored_checkpoint_t *from, Rota__Checkpoint *ret_checkpoint)
{
    size_t length = strlen (from->cause);
    char *cause = rota_arena_alloc (self->arena, length + 1);
    rota__checkpoint__init (ret_checkpoint);
    ret_checkpoint->has_id = ret_checkpoint->has_time_ms = ret_checkpoint->has_size_bytes = true;
    ret_checkpoint->id = from->id;
    ret_checkpoint->time_ms = from->time_ms;
    ret_checkpoint->size_bytes = (uint32_t)from->size;
    ret_checkpoint->has_cause = cause != NULL;
    if (cause)
        ret_checkpoint->cause = rota_bytes_n (memcpy (cause, from->cause, length + 1), length);
}

static void list_one (void *owner, const rota_stored_checkpoint_t *it)
{
    listing_t *listing = owner;
    if (listing->reply.n_checkpoints == listing->limit) {
        listing->reply.has_more = listing->reply.more = true;
        return;
    }
    Rota__Checkpoint *one = rota_arena_alloc (listing->service->arena, sizeof *one);
    if (!one)
        return;
    fill (listing->service, it, one);
    listing->reply.checkpoints[listing->reply.n_checkpoints++] = one;
}

typedef struct {
    service_t *service;
    Rota__Checkpoint *head;
    Rota__CheckpointBody *body;
} reading_t;

static void read_one (void *owner, const rota_stored_checkpoint_t *it)
{
    reading_t *reading = owner;
    fill (reading->service, it, reading->head);
    reading->body = rota__checkpoint_body__unpack (NULL, it->size, it->body);
}

/* NULL after having refused; the caller frees it. */
static Rota__CheckpointBody *read_body (service_t *self, const rota_envelope_t *from, uint64_t id,
                                        Rota__Checkpoint *ret_checkpoint)
{
    reading_t reading = {.service = self, .head = ret_checkpoint};
    int r = rota_store_get_checkpoint (self->store, id, read_one, &reading);
    if (r < 0) {
        rota_service_refuse (self, from, r == -ENOENT ? ERROR_CODE (NOT_FOUND) : ERROR_CODE (STORE_FAILED),
                             "there is no checkpoint %llu: see `rota checkpoint list`",
                             (unsigned long long)id);
        return NULL;
    }
    if (!reading.body)
        rota_service_refuse (self, from, ERROR_CODE (STORE_FAILED), "checkpoint %llu can't be read",
                             (unsigned long long)id);
    return reading.body;
}

HANDLER (checkpoints_query)
{
    const Rota__CheckpointsQuery *query = (const Rota__CheckpointsQuery *)message;
    if (query->has_id) {
        Rota__CheckpointsReply reply = ROTA__CHECKPOINTS_REPLY__INIT;
        Rota__Checkpoint checkpoint, *list[] = {&checkpoint};
        Rota__CheckpointBody *body = read_body (self, from, query->id, &checkpoint);
        if (!body)
            return;
        checkpoint.body = body;
        reply.n_checkpoints = 1;
        reply.checkpoints = list;
        rota_service_answer (self, from, ROTA_MESSAGE_CHECKPOINTS_REPLY, &reply.base);
        rota__checkpoint_body__free_unpacked (body, NULL);
        return;
    }
    listing_t listing = {.service = self, .reply = ROTA__CHECKPOINTS_REPLY__INIT};
    listing.limit = query->limit && query->limit < LIST_MAX ? query->limit : LIST_MAX;
    listing.reply.checkpoints = rota_arena_alloc (self->arena, listing.limit * sizeof (Rota__Checkpoint *));
    if (!listing.reply.checkpoints) {
        rota_service_refuse (self, from, ERROR_CODE (RETRY_LATER), "no memory");
        return;
    }
    rota_store_checkpoints (self->store, query->has_before ? query->before : UINT64_MAX, listing.limit + 1,
                            list_one, &listing);
    rota_service_answer (self, from, ROTA_MESSAGE_CHECKPOINTS_REPLY, &listing.reply.base);
}

/* -------------------------------------------------------------------------------------- going back */

#define WORDS_MAX 64
typedef struct {
    ProtobufCBinaryData items[WORDS_MAX];
    size_t count;
} words_t;

typedef struct {
    service_t *service;
    const Rota__CheckpointBody *body;
    uint64_t id;
    int64_t now_ms;
    words_t restored, kept;
} restoring_t;

__attribute__ ((format (printf, 3, 4))) static void say (restoring_t *self, words_t *words,
                                                         const char *format, ...)
{
    char text[512];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    size_t length = strlen (text);
    char *copy = rota_arena_alloc (self->service->arena, length + 1);
    if (copy && words->count < WORDS_MAX)
        words->items[words->count++] = rota_bytes_n (memcpy (copy, text, length + 1), length);
}

static bool names (const Rota__CheckpointBody *body, const char *agent)
{
    for (size_t i = 0; i < body->n_drained; i++)
        if (body->drained[i].len == strlen (agent) &&
            memcmp (body->drained[i].data, agent, body->drained[i].len) == 0)
            return true;
    return false;
}

static void restore_modes (restoring_t *self)
{
    rota_core_t *core = self->service->core;
    const Rota__CheckpointBody *body = self->body;
    bool whole = body->drained_count == body->n_drained;
    if (rota_core_is_paused (core) != body->paused) {
        rota_core_pause (core, body->paused, self->now_ms);
        say (self, &self->restored, body->paused ? "paused" : "no longer paused");
    }
    if (rota_core_is_draining (core) != body->draining) {
        rota_core_drain_all (core, body->draining, self->now_ms);
        say (self, &self->restored, body->draining ? "draining" : "no longer draining");
    }
    for (rota_agent_t i = 0; i < rota_core_agent_count (core); i++) {
        rota_core_agent_view_t view;
        rota_core_agent_view (core, i, &view);
        bool was = names (body, view.name);
        if (was == view.draining || (!was && !whole))
            continue;
        rota_core_agent_drain (core, i, was, self->now_ms);
        say (self, &self->restored, was ? "agent %s draining" : "agent %s takes work again", view.name);
    }
    if (!whole)
        say (self, &self->kept, "agents that drain: the checkpoint names %zu of %llu", body->n_drained,
             (unsigned long long)body->drained_count);
}

/* 1 changed, 0 as it was or ended. */
static int set_priority (restoring_t *self, rota_node_t node, int32_t priority)
{
    rota_core_node_t it;
    rota_error_t ignored;
    rota_core_t *core = self->service->core;
    if (!rota_core_get (core, node, &it) || it.kind != NODE (TASK) || it.priority == priority ||
        rota_core_is_staged (core, node) || rota_core_place (core, node) == ROTA_PLACE_ENDED)
        return 0;
    return rota_core_control (core, node, VERB (PRIORITY), "", 0, priority, self->now_ms, &ignored) == 0;
}

/* Who isn't named had the normal priority, if all are named and it is the same store. */
static size_t reset_others (restoring_t *self)
{
    const Rota__CheckpointBody *body = self->body;
    rota_core_t *core = self->service->core;
    size_t count = rota_core_count (core), changed = 0;
    uint8_t *named = calloc (count / 8 + 1, 1);
    if (!named)
        return 0;
    for (size_t i = 0; i < body->n_priorities; i++) {
        rota_node_t node = rota_core_find (core, (const char *)body->priorities[i]->task.data,
                                           body->priorities[i]->task.len);
        if (node < count)
            named[node / 8] |= (uint8_t)(1u << (node % 8));
    }
    for (rota_node_t i = 0; i < count && i < body->nodes; i++)
        if (!(named[i / 8] >> (i % 8) & 1))
            changed += (size_t)set_priority (self, i, 0);
    free (named);
    return changed;
}

static void restore_priorities (restoring_t *self)
{
    const Rota__CheckpointBody *body = self->body;
    rota_core_t *core = self->service->core;
    size_t changed = 0, gone = 0;
    bool same = body->store.len == 16 &&
                memcmp (body->store.data, rota_store_incarnation (self->service->store), 16) == 0;
    bool whole = body->priority_count == body->n_priorities;
    for (size_t i = 0; i < body->n_priorities; i++) {
        const Rota__CheckpointPriority *it = body->priorities[i];
        rota_node_t node = rota_core_find (core, (const char *)it->task.data, it->task.len);
        gone += node == ROTA_NONE;
        changed += node == ROTA_NONE ? 0 : (size_t)set_priority (self, node, it->priority);
    }
    if (whole && same)
        changed += reset_others (self);
    if (changed)
        say (self, &self->restored, "the priority of %zu task%s", changed, changed == 1 ? "" : "s");
    if (gone)
        say (self, &self->kept, "%zu priorit%s of tasks that are not there", gone, gone == 1 ? "y" : "ies");
    if (!whole)
        say (self, &self->kept, "priorities of other tasks: the checkpoint had room for %zu of %llu",
             body->n_priorities, (unsigned long long)body->priority_count);
    else if (!same)
        say (self, &self->kept, "priorities that were normal: the checkpoint is of another store");
}

/* What nobody but a person opens; what a provider or a login says is as it is now. */
static void restore_accounts (restoring_t *self)
{
    rota_core_t *core = self->service->core;
    const Rota__CheckpointBody *body = self->body;
    size_t timed = 0;
    for (size_t i = 0; i < body->n_accounts; i++) {
        const Rota__CheckpointAccount *it = body->accounts[i];
        if (it->has_until_ms || it->result_class != RESULT (LIMITED)) {
            timed++;
            continue;
        }
        for (rota_account_t a = 0; a < rota_core_account_count (core); a++) {
            rota_core_account_view_t view;
            char reason[64];
            rota_core_account_view (core, a, &view);
            if (strlen (view.name) != it->name.len || memcmp (view.name, it->name.data, it->name.len) != 0)
                continue;
            snprintf (reason, sizeof reason, "as in checkpoint %llu", (unsigned long long)self->id);
            if (rota_core_account_close (core, a, reason, self->now_ms) == 0)
                say (self, &self->restored, "account %s rests until `rota resume`", view.name);
        }
    }
    if (timed)
        say (self, &self->kept, "%zu account%s that rested for a time or a login: what holds now holds",
             timed, timed == 1 ? "" : "s");
}

static void restore_coordinator (restoring_t *self)
{
    service_t *service = self->service;
    const Rota__CheckpointBody *body = self->body;
    rota_core_coordinator_t role;
    rota_error_t error = {""};
    char reason[64];
    rota_core_coordinator (service->core, &role);
    if (!body->coordinator_by_hand) {
        say (self, &self->kept, "the coordinator: it was elected, and is elected now");
        return;
    }
    rota_agent_t agent = rota_service_find_agent (service, body->coordinator);
    snprintf (reason, sizeof reason, "as in checkpoint %llu", (unsigned long long)self->id);
    int r = agent == ROTA_NONE ? rota_error_set (&error, -ENOENT, "it is not known here")
            : !service->policy.coordinate
                ? rota_error_set (&error, -EPERM, "there is none here")
                : rota_core_coordinate (service->core, agent, role.epoch, true, reason, self->now_ms, &error);
    if (r == 0)
        say (self, &self->restored, "the coordinator: %.*s", (int)body->coordinator.len,
             (const char *)body->coordinator.data);
    else if (r < 0)
        say (self, &self->kept, "the coordinator, which was %.*s: %s", (int)body->coordinator.len,
             (const char *)body->coordinator.data, error.text);
}

/* The mode; the figures that it is decided by are of now, and decide again after the least time. */
static void restore_mode (restoring_t *self)
{
    const Rota__CheckpointBody *body = self->body;
    char reason[64];
    if (!body->has_mode)
        return; /* of a version that had none */
    rota_mode_t mode = rota_mode_parse ((const char *)body->mode.data, body->mode.len);
    snprintf (reason, sizeof reason, "as in checkpoint %llu", (unsigned long long)self->id);
    int r = mode < ROTA_MODES ? rota_core_mode_set (self->service->core, mode, reason, self->now_ms) : -EPERM;
    if (r == 0)
        say (self, &self->restored, "the mode: %s", rota_mode_name (mode));
    else if (r < 0)
        say (self, &self->kept, "the mode, which was %.*s: %s",
             (int)(body->mode.len < 40 ? body->mode.len : 40), (const char *)body->mode.data,
             mode < ROTA_MODES ? "the setting scheduler.mode says which holds"
                               : "there is none of that name");
}

/* What was there is kept as a checkpoint first, so that this can be undone as well. */
HANDLER (checkpoint_restore)
{
    const Rota__CheckpointRestore *request = (const Rota__CheckpointRestore *)message;
    Rota__CheckpointRestored reply = ROTA__CHECKPOINT_RESTORED__INIT;
    Rota__Checkpoint checkpoint;
    char text[64];
    if (rota_service_refuses_for_room (self, from))
        return;
    Rota__CheckpointBody *body = read_body (self, from, request->id, &checkpoint);
    restoring_t restoring = {
        .service = self, .body = body, .id = request->id, .now_ms = rota_service_now_ms (self)};
    if (!body)
        return;
    reply.before = take (self, "checkpoint_restore", NULL);
    if (!reply.before) {
        rota_service_refuse (self, from, ERROR_CODE (STORE_FAILED),
                             "nothing was changed: what is there can't be kept as a checkpoint");
        rota__checkpoint_body__free_unpacked (body, NULL);
        return;
    }
    restore_modes (&restoring);
    restore_priorities (&restoring);
    restore_accounts (&restoring);
    restore_coordinator (&restoring);
    restore_mode (&restoring);
    say (&restoring, &restoring.kept,
         "what tasks have come to, attempts and what was spent: they only go on");
    snprintf (text, sizeof text, "checkpoint %llu restored", (unsigned long long)request->id);
    rota_core_note (self->core, EVENT (CHECKPOINT), text);
    reply.has_id = reply.has_before = true;
    reply.id = request->id;
    reply.restored = restoring.restored.items;
    reply.n_restored = restoring.restored.count;
    reply.kept = restoring.kept.items;
    reply.n_kept = restoring.kept.count;
    rota_service_answer (self, from, ROTA_MESSAGE_CHECKPOINT_RESTORED, &reply.base);
    rota__checkpoint_body__free_unpacked (body, NULL);
}
