#include "scheduler/service_internal.h"

#include "bus/clock.h"
#include "bus/endpoint.h"
#include "bus/log.h"
#include "bus/names.h"
#include "bus/start.h"

#include <sys/eventfd.h>
#include <unistd.h>

#define TICK_MS 250
#define ARENA_CAP_BYTES (256u << 20)

int64_t rota_service_now_ms (const service_t *self)
{
    return self->steady_base_ms + rota_clock_boot_ms ();
}

int64_t rota_service_retention_ms (const service_t *self)
{
    return rota_clock_retention_ms (&(rota_clock_anchor_t){.wall_ms = self->steady_base_ms});
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
    {ROTA_MESSAGE_TELL, rota_serve_tell},
    {ROTA_MESSAGE_REGISTER, rota_serve_register},
    {ROTA_MESSAGE_ACCEPTED, rota_serve_accepted},
    {ROTA_MESSAGE_AGENT_HEARTBEAT, rota_serve_agent_heartbeat},
    {ROTA_MESSAGE_REPORT, rota_serve_report},
    {ROTA_MESSAGE_SINK_CURSOR, rota_serve_sink_cursor},
    {ROTA_MESSAGE_PROPOSAL, rota_serve_proposal},
    {ROTA_MESSAGE_METRICS_QUERY, rota_serve_metrics},
    {ROTA_MESSAGE_HEALTH_QUERY, rota_serve_health},
    {ROTA_MESSAGE_SNAPSHOT_QUERY, rota_serve_snapshot},
    {ROTA_MESSAGE_BUDGETS_QUERY, rota_serve_budgets},
    {ROTA_MESSAGE_BUDGET_CHANGE, rota_serve_budget_change},
    {ROTA_MESSAGE_CHECKPOINT_TAKE, rota_serve_checkpoint_take},
    {ROTA_MESSAGE_CHECKPOINTS_QUERY, rota_serve_checkpoints_query},
    {ROTA_MESSAGE_CHECKPOINT_RESTORE, rota_serve_checkpoint_restore},
    {ROTA_MESSAGE_CONTEXT_ADD, rota_serve_context_add},
    {ROTA_MESSAGE_CONTEXT_REMOVE, rota_serve_context_remove},
    {ROTA_MESSAGE_CONTEXT_QUERY, rota_serve_context_query},
    {ROTA_MESSAGE_CONTEXT_SHOW, rota_serve_context_show},
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
    self->told_candidates = 0;
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
    rota_service_keep_role (self);
    look_at_quiet_hours (self, now_ms);
    rota_service_look_at_room (self, now_ms);
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

static int open_all (service_t *self, rota_error_t *error)
{
    if (asprintf (&self->store_path, "%s/rota.db", self->config.state_directory) < 0)
        return rota_error_set (error, -ENOMEM, "no memory");
    int r = rota_store_open (self->store_path, &self->store, error);
    if (r < 0)
        return r;
    rota_store_set_wal_limit (
        self->store, rota_setting_size_bytes (self->config.settings, ROTA_SETTING_SCHEDULER_WAL_LIMIT));
    r = rota_store_take_role (self->store, &self->epoch, error);
    if (r == 0)
        r = rota_service_rebuild (self, error);
    if (r < 0)
        return rota_error_prefix (error, r, "%s", self->store_path);
    rota_bus_start ();
    self->loop = zloop_new ();
    self->arena = rota_arena_new (ARENA_CAP_BYTES);
    if (!self->loop || !self->arena)
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
    self->stop_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->steady_base_ms = rota_clock_wall_ms () - rota_clock_boot_ms ();
    rota_service_read_policy (self);
    rota_snapshots_start (&self->snapshots, ROTA_SNAPSHOT_INTERVAL_MS);
    int r = self->stop_fd < 0 ? rota_error_set (error, -errno, "no descriptor left") : 0;
    if (r == 0)
        r = rota_service_read_resilience (self, error);
    if (r == 0)
        r = rota_service_read_quiet_hours (self, error);
    if (r == 0)
        r = rota_budget_read_settings (self, error);
    if (r == 0)
        r = rota_service_ask_role (self, error);
    if (r == 0 && rota_role_lock_is_held (self->role))
        r = open_all (self, error);
    if (r < 0) {
        rota_scheduler_destroy (&self);
        return r;
    }
    *ret_self = self;
    return 0;
}

static void describe (void *owner, char *ret_text, size_t capacity)
{
    const service_t *self = owner;
    if (!self->store)
        snprintf (ret_text, capacity, "stands by, another scheduler serves %s", self->config.state_directory);
    else
        snprintf (ret_text, capacity, "serves %s, epoch %llu, %s", self->config.state_directory,
                  (unsigned long long)self->epoch,
                  rota_peer_is_ready (self->peer) ? rota_peer_endpoint (self->peer) : "waits for a broker");
}

int rota_scheduler_run (rota_scheduler_t *self, rota_error_t *error)
{
    zmq_pollitem_t stop = {.fd = self->stop_fd, .events = ZMQ_POLLIN};
    rota_ready_describe (self->config.ready, describe, self);
    if (!self->store) {
        int r = rota_service_await_role (self, error);
        if (r == 0 && !self->stopping)
            r = open_all (self, error);
        if (r < 0 || self->stopping)
            return r;
    }
    self->last_tick_ms = rota_service_now_ms (self);
    rota_service_keep_role (self);
    rota_service_look_at_room (self, self->last_tick_ms);
    rota_core_note (self->core, EVENT (SCHEDULER_STARTED), "ready");
    zloop_poller (self->loop, &stop, on_stop, self);
    zloop_poller_set_tolerant (self->loop, &stop);
    if (rota_ready_attach (self->config.ready, self->loop, describe, self) < 0)
        return rota_error_set (error, -ENOMEM, "no memory");
    zloop_timer (self->loop, TICK_MS, 0, on_tick, self);
    zloop_timer (self->loop, 1000, 0, rota_service_on_head_timer, self);
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
        rota_service_clear_batch (self);
    rota_service_drop_outgoing (self);
    rota_peer_destroy (&self->peer);
    zsock_destroy (&self->publish);
    zloop_destroy (&self->loop);
    rota_import_destroy (&self->import);
    rota_core_destroy (&self->core);
    rota_answers_destroy (&self->answers);
    rota_store_close (&self->store);
    rota_arena_destroy (&self->arena);
    rota_service_free_names (self);
    free (self->sources.items);
    free (self->agent_versions.items);
    free (self->agent_uses.items);
    free (self->agent_peers);
    free (self->outgoing.items);
    free (self->added.items);
    free (self->edges.items);
    free (self->redefined.items);
    free (self->agents_changed.items);
    free (self->agent_problems.items);
    free (self->settled.items);
    free (self->claims_changed.items);
    free (self->store_path);
    if (self->stop_fd >= 0)
        close (self->stop_fd);
    rota_role_lock_destroy (&self->role);
    free (self);
    *self_p = NULL;
}
