/* What the host and the scheduler say to each other, and output for whoever may read it. */
#include "agents/host_internal.h"

#include "agents/briefing.h"
#include "agents/room.h"
#include "agents/step.h"

#include "agents/output.h"
#include "bus/clock.h"
#include "bus/log.h"
#include "bus/metrics.h"
#include "bus/names.h"
#include "proto/words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REGISTER_AGAIN_MS 1000
#define REGISTER_SOON_MS                                                                                     \
    30 /* while the broker says that no scheduler is there: it is likely about to come                       \
        */
#define REPORT_AGAIN_MS 3000
#define REPORTS_PER_MESSAGE 500
#define NOTES_PER_MESSAGE                                                                                    \
    1000 /* and those of the last attempt; an attempt's are bounded in bytes (outbox.h) */
#define HEARTBEAT_MIN_MS 50
#define HEARTBEAT_MAX_MS 300000
#define ANSWER_MAX_BYTES (16u << 10) /* proto/rota.proto: Result */
#define OUTPUT_MAX_BYTES (256u << 10)

/* ---- out */

static int send_to_scheduler (rota_agent_t *self, uint32_t type, const ProtobufCMessage *message)
{
    rota_envelope_t envelope = {
        .type = type, .has_conversation = true, .sequence = ++self->sequence, .has_store = self->fence.known};
    memcpy (envelope.conversation, self->conversation, sizeof envelope.conversation);
    memcpy (envelope.store, self->fence.store, sizeof envelope.store);
    return rota_peer_send (self->peer, &envelope, message);
}

/* A list of all that is held, in one block with the messages it points at; NULL on no memory. */
static Rota__Held **list_held (const rota_agent_t *self)
{
    size_t count = self->holds.count;
    Rota__Held **list = malloc (count * (sizeof *list + sizeof **list) + 1);
    Rota__Held *items = list ? (Rota__Held *)(list + count) : NULL;
    for (size_t i = 0; list && i < count; i++) {
        const rota_hold_t *hold = self->holds.list[i];
        rota__held__init (&items[i]);
        items[i].has_key = items[i].has_attempt = items[i].has_finished = true;
        items[i].key = hold->key;
        items[i].attempt = hold->number;
        items[i].finished = hold->state == ROTA_HOLD_FINISHED;
        list[i] = &items[i];
    }
    return list;
}

void rota_agent_register (rota_agent_t *self)
{
    Rota__Register message = ROTA__REGISTER__INIT;
    ProtobufCBinaryData capabilities[ROTA_ADAPTER_CAPABILITIES_MAX];
    Rota__Held **held = list_held (self);

    self->register_at = rota_clock_monotonic_ms () + REGISTER_AGAIN_MS;
    if (!held)
        return;
    while (message.n_capabilities < ROTA_ADAPTER_CAPABILITIES_MAX &&
           self->check.capabilities[message.n_capabilities]) {
        capabilities[message.n_capabilities] = rota_bytes (self->check.capabilities[message.n_capabilities]);
        message.n_capabilities++;
    }
    message.capabilities = capabilities;
    message.has_name = message.has_kind = message.has_host = message.has_slots = message.has_incarnation =
        true;
    message.name = rota_bytes (self->name);
    message.kind = rota_bytes (self->kind);
    message.host = rota_bytes (self->host);
    message.slots = self->slots;
    message.incarnation = rota_bytes_n (rota_peer_instance (self->peer), 16);
    message.has_program_version = self->check.version[0] != 0;
    message.program_version = rota_bytes (self->check.version);
    message.has_problem = self->check.problem[0] != 0;
    message.problem = rota_bytes (self->check.problem);
    message.has_paid = true;
    message.paid = self->adapter->paid;
    message.has_account = self->account != NULL;
    message.account = rota_bytes (self->account ? self->account : "");
    message.has_drain = true;
    message.drain = self->stops > 0;
    message.n_held = self->holds.count;
    message.held = held;
    int64_t sent_ms = rota_clock_boot_ms ();
    if (send_to_scheduler (self, ROTA_MESSAGE_REGISTER, &message.base) == 0)
        self->register_sequence = self->sequence;
    self->register_sent_ms = sent_ms;
    free (held);
}

void rota_agent_heartbeat (rota_agent_t *self)
{
    Rota__AgentHeartbeat message = ROTA__AGENT_HEARTBEAT__INIT;
    rota_room_t room;
    rota_process_use_t use;
    Rota__Held **held = list_held (self);

    self->heartbeat_at = rota_clock_monotonic_ms () + self->heartbeat_every_ms;
    if (!held)
        return;
    message.n_held = self->holds.count;
    message.held = held;
    rota_room_look (self->settings, rota_hold_running (&self->holds), &room);
    message.has_memory_free_bytes = room.memory_bytes > 0;
    message.memory_free_bytes = room.memory_bytes;
    message.has_load = room.load >= 0;
    message.load = room.load;
    message.has_full = true;
    message.full = room.full;
    message.has_draining = true;
    message.draining = self->stops > 0;
    rota_process_use (&use);
    message.has_cpu_seconds = message.has_resident_bytes = message.has_open_fds = true;
    message.cpu_seconds = use.cpu_s;
    message.resident_bytes = use.resident_bytes;
    message.open_fds = use.open_fds;
    int64_t now_ms = rota_clock_boot_ms ();
    if (send_to_scheduler (self, ROTA_MESSAGE_AGENT_HEARTBEAT, &message.base) == 0) {
        self->heartbeat_sequence = self->sequence;
        self->heartbeat_sent_ms = now_ms;
    }
    free (held);
}

/* Lives as long as the result that it is part of. */
typedef struct {
    Rota__Usage usage;
    Rota__UsageWindow window, *windows[1];
} saying_t;

static void fill_window (const rota_adapter_result_t *said, saying_t *saying)
{
    if (said->used < 0 || !said->window[0])
        return;
    rota__usage_window__init (&saying->window);
    saying->windows[0] = &saying->window;
    saying->window.has_name = saying->window.has_used_permille = true;
    saying->window.name = rota_bytes (said->window);
    saying->window.used_permille = (uint32_t)(said->used * 1000 + 0.5);
    saying->window.has_resets_ms = said->used_until_ms > 0;
    saying->window.resets_ms = said->used_until_ms;
    saying->usage.windows = saying->windows;
    saying->usage.n_windows = 1;
}

/* What the program said of its limits, session and use. */
static void fill_saying (const rota_adapter_result_t *said, Rota__Result *result, saying_t *saying)
{
    Rota__Usage *usage = &saying->usage;
    const rota_reading_usage_t *used = &said->usage;
    result->has_limit_kind = said->limit_kind != 0;
    result->limit_kind = said->limit_kind;
    result->has_until_ms = said->until_ms > 0;
    result->until_ms = said->until_ms;
    result->has_session = said->session[0] != 0;
    result->session = rota_bytes (said->session);
    result->has_session_lost = result->session_lost = said->session_lost;
    rota__usage__init (usage);
    usage->has_input_tokens = used->input_tokens.known;
    usage->input_tokens = used->input_tokens.value;
    usage->has_output_tokens = used->output_tokens.known;
    usage->output_tokens = used->output_tokens.value;
    usage->has_cached_tokens = used->cached_tokens.known;
    usage->cached_tokens = used->cached_tokens.value;
    usage->has_cost_usd = used->cost_nano_usd.known;
    usage->cost_usd = (double)used->cost_nano_usd.value / 1e9;
    fill_window (said, saying);
    if (usage->has_input_tokens || usage->has_output_tokens || usage->has_cost_usd || usage->n_windows)
        result->usage = usage;
    result->has_tokens_of_session = result->tokens_of_session = used->tokens_of_session;
    result->has_cost_of_session = result->cost_of_session = used->cost_of_session;
}

/* What those who come after the task are told of it. Its end where it is long, from a whole character on. */
static void fill_answer (const rota_hold_t *hold, Rota__Result *result)
{
    const char *text = hold->result.answer;
    size_t size = text && hold->result.result_class == RESULT (OK) ? strlen (text) : 0;
    size_t skip = size > ANSWER_MAX_BYTES ? size - ANSWER_MAX_BYTES : 0;
    while (skip && skip < size && ((unsigned char)text[skip] & 0xC0) == 0x80)
        skip++;
    result->has_answer = size > skip;
    result->answer = rota_bytes_n (text + skip, size - skip);
}

static void fill_result (const rota_hold_t *hold, Rota__Result *result, saying_t *saying)
{
    const rota_outcome_t *outcome = &hold->outcome;
    rota__result__init (result);
    result->has_result_class = result->has_exit_code = result->has_signal = true;
    result->result_class = hold->result.result_class;
    result->exit_code = outcome->exit_code;
    result->signal = (uint32_t)outcome->signal;
    result->has_started_ms = result->has_finished_ms = true;
    result->started_ms = outcome->started_ms;
    result->finished_ms = outcome->finished_ms;
    result->has_user_us = result->has_system_us = result->has_max_rss_bytes = true;
    result->user_us = outcome->user_us;
    result->system_us = outcome->system_us;
    result->max_rss_bytes = outcome->max_rss_bytes;
    result->has_output_bytes = result->has_output_dropped_bytes = true;
    result->output_bytes = outcome->output_bytes;
    result->output_dropped_bytes = outcome->output_dropped_bytes;
    result->has_message = hold->result.message[0] != 0;
    result->message = rota_bytes (hold->result.message);
    fill_saying (&hold->result, result, saying);
    fill_answer (hold, result);
    result->has_last_output = hold->last_output_bytes > 0;
    result->last_output = rota_bytes_n (hold->last_output, hold->last_output_bytes);
}

typedef struct {
    Rota__AttemptReport reports[REPORTS_PER_MESSAGE];
    Rota__Result results[REPORTS_PER_MESSAGE];
    saying_t sayings[REPORTS_PER_MESSAGE];
    Rota__AttemptReport *list[REPORTS_PER_MESSAGE];
} report_t;

/* One message of those that are due. False when there was nothing to send, or it could not be sent. */
static bool report_some (rota_agent_t *self, report_t *work, int64_t now_ms)
{
    Rota__Report message = ROTA__REPORT__INIT;
    char path[ROTA_LOGS_PATH_BYTES];
    rota_hold_t *reported[REPORTS_PER_MESSAGE];
    message.reports = work->list;
    rota_arena_reset (self->arena);
    size_t notes = 0;
    for (size_t i = 0;
         i < self->holds.count && message.n_reports < REPORTS_PER_MESSAGE && notes < NOTES_PER_MESSAGE; i++) {
        rota_hold_t *hold = self->holds.list[i];
        if (hold->state != ROTA_HOLD_FINISHED ||
            (hold->reported_ms != INT64_MIN && now_ms - hold->reported_ms < REPORT_AGAIN_MS))
            continue;
        size_t n = message.n_reports++;
        Rota__AttemptReport *report = work->list[n] = &work->reports[n];
        rota__attempt_report__init (report);
        report->has_key = report->has_attempt = report->has_store = true;
        report->key = hold->key;
        report->attempt = hold->number;
        report->has_coordinator_epoch = hold->epoch != 0;
        report->coordinator_epoch = hold->epoch;
        report->store = rota_bytes_n (hold->store, sizeof hold->store);
        report->result = &work->results[n];
        fill_result (hold, &work->results[n], &work->sayings[n]);
        const char *where = hold->member ? hold->lead_id : hold->task_id;
        uint32_t number = hold->member ? hold->lead_number : hold->number;
        bool found = rota_logs_path (self->state_dir, where, strlen (where), number, path) == 0;
        if (found && hold->member)
            rota_step_fill_member (path, hold->member, self->arena, &work->results[n]);
        else if (found) {
            rota_step_fill (path, self->arena, &work->results[n]);
            rota_briefing_fill (path, self->arena, &work->results[n]);
            notes += work->results[n].n_notes;
        }
        reported[n] = hold;
    }
    if (message.n_reports == 0 || send_to_scheduler (self, ROTA_MESSAGE_REPORT, &message.base) < 0)
        return false;
    for (size_t i = 0; i < message.n_reports; i++)
        reported[i]->reported_ms = now_ms;
    return true;
}

void rota_agent_report (rota_agent_t *self, int64_t now_ms)
{
    self->report_at = INT64_MAX;
    bool waits = false;
    for (size_t i = 0; i < self->holds.count && !waits; i++)
        waits = self->holds.list[i]->state == ROTA_HOLD_FINISHED;
    if (!waits)
        return;
    self->report_at = now_ms + REPORT_AGAIN_MS;
    report_t *work = malloc (sizeof *work);
    while (work && report_some (self, work, now_ms))
        continue;
    free (work);
}

/* ---- in */

static void register_anew (rota_agent_t *self)
{
    if (self->registered)
        self->say_at = rota_clock_monotonic_ms () + ROTA_AGENT_SAY_AFTER_MS;
    self->registered = false;
    self->register_sequence = 0; /* an answer that is still on its way is to an old list */
    self->register_at = INT64_MIN;
    self->heartbeat_at = INT64_MAX;
}

/* Whether what this scheduler says counts. */
static bool heed (rota_agent_t *self, const rota_envelope_t *envelope)
{
    rota_fence_verdict_t verdict = rota_fence_judge (&self->fence, envelope);
    if (verdict == ROTA_FENCE_SAME)
        return true;
    if (verdict == ROTA_FENCE_STALE) {
        rota_log_limited (ROTA_LOG_WARNING, "scheduler.stale", "stale", 10000,
                          "epoch=%llu newest=%llu type=%s", (unsigned long long)envelope->scheduler_epoch,
                          (unsigned long long)self->fence.epoch, rota_message_name (envelope->type));
        return false;
    }
    bool other = verdict == ROTA_FENCE_NEW_STORE && self->fence.known;
    int status = rota_fence_raise (&self->fence, envelope, self->spool);
    size_t dropped = verdict == ROTA_FENCE_NEW_STORE ? rota_agent_drop_old_store (self) : 0;
    rota_log (status < 0 ? ROTA_LOG_ERROR : ROTA_LOG_INFO, "scheduler.seen", "epoch=%llu%s%s",
              (unsigned long long)self->fence.epoch, other ? " store=new" : "", status < 0 ? " kept=no" : "");
    if (!other && !dropped)
        return true;
    rota_log (ROTA_LOG_WARNING, "store.changed", "ended=%zu reason=\"they count in another store\"", dropped);
    /* What was registered listed them. */
    register_anew (self);
    return false;
}

static const ProtobufCMessage *decode (rota_agent_t *self, const rota_envelope_t *envelope,
                                       const uint8_t *body, size_t size)
{
    ProtobufCMessage *message = NULL;
    rota_arena_reset (self->arena);
    int status = rota_body_decode (envelope->type, body, size, self->arena, &message);
    if (status < 0)
        rota_log_limited (ROTA_LOG_WARNING, "message.refused", "decode", 10000, "type=%s error=%d",
                          rota_message_name (envelope->type), -status);
    return status < 0 ? NULL : message;
}

static bool answers (const rota_agent_t *self, const rota_envelope_t *envelope, uint64_t sequence)
{
    return envelope->has_conversation && envelope->sequence == sequence &&
           memcmp (envelope->conversation, self->conversation, sizeof self->conversation) == 0;
}

static void on_registered (rota_agent_t *self, const rota_envelope_t *envelope, const ProtobufCMessage *base)
{
    const Rota__Registered *message = (const Rota__Registered *)base;
    if (!answers (self, envelope, self->register_sequence))
        return;
    uint32_t every_ms = message->has_heartbeat_ms ? message->heartbeat_ms : HEARTBEAT_MAX_MS;
    self->heartbeat_every_ms = every_ms < HEARTBEAT_MIN_MS   ? HEARTBEAT_MIN_MS
                               : every_ms > HEARTBEAT_MAX_MS ? HEARTBEAT_MAX_MS
                                                             : every_ms;
    char name[256];
    if (!self->registered)
        rota_log (ROTA_LOG_INFO, "agent.registered", "name=%s slots=%u held=%zu",
                  rota_log_quote (self->name, strlen (self->name), name, sizeof name), self->slots,
                  self->holds.count);
    self->registered = true;
    self->heard_ms = self->register_sent_ms;
    memcpy (self->scheduler, envelope->sender, sizeof self->scheduler);
    self->register_at = INT64_MAX;
    self->heartbeat_at = INT64_MIN; /* renews the leases of what runs */
    for (size_t i = 0; i < self->holds.count; i++)
        self->holds.list[i]->reported_ms = INT64_MIN;
    self->report_at = INT64_MIN;
}

/* A lease counts from what the scheduler is known to have heard, never from when its words arrived. */
int64_t rota_agent_lease_left_ms (const rota_agent_t *self, uint32_t lease_ms)
{
    return self->heard_ms + lease_ms - rota_clock_boot_ms ();
}

static void list_accepted (Rota__Accepted *accepted, Rota__Held *items, Rota__Held **list,
                           const Rota__Assignment *it)
{
    Rota__Held *item = list[accepted->n_attempts] = &items[accepted->n_attempts];
    accepted->n_attempts++;
    rota__held__init (item);
    item->has_key = item->has_attempt = true;
    item->key = it->key;
    item->attempt = it->attempt;
}

static void on_assign (rota_agent_t *self, const rota_envelope_t *envelope, const ProtobufCMessage *base)
{
    const Rota__Assign *message = (const Rota__Assign *)base;
    Rota__Accepted accepted = ROTA__ACCEPTED__INIT;
    size_t most = 1;
    for (size_t i = 0; i < message->n_assignments; i++)
        most += 1 + message->assignments[i]->n_members;
    Rota__Held *items = calloc (most, sizeof *items);
    Rota__Held **list = calloc (most, sizeof *list);
    if (!self->registered)
        goto end;
    for (size_t i = 0; items && list && i < message->n_assignments; i++) {
        const Rota__Assignment *it = message->assignments[i];
        const char *reason = "a field is missing";
        /* Messages come in order, so one that has waited for longer than a lease (we were stopped, or cut
         * off) comes before the answer that would make us sure of being heard. It is sent again if it still
         * counts. */
        if (rota_agent_lease_left_ms (self, it->lease_ms) <= 0) {
            self->heartbeat_at = INT64_MIN;
            continue;
        }
        if (!it->spec || !it->key || !it->attempt ||
            rota_id_check ((const char *)it->spec->id.data, it->spec->id.len, &reason) < 0) {
            rota_log_limited (ROTA_LOG_WARNING, "assignment.refused", "assign", 10000,
                              "key=%llu reason=\"%s\"", (unsigned long long)it->key, reason);
            continue;
        }
        if (rota_agent_take (self, envelope->store, it) != ROTA_TAKEN)
            continue;
        list_accepted (&accepted, items, list, it);
        for (size_t k = 0; k < it->n_members; k++)
            if (rota_hold_find (&self->holds, envelope->store, it->members[k]->key, it->members[k]->attempt))
                list_accepted (&accepted, items, list, it->members[k]);
    }
    accepted.attempts = list;
    if (accepted.n_attempts)
        send_to_scheduler (self, ROTA_MESSAGE_ACCEPTED, &accepted.base);
end:
    free (items);
    free (list);
}

static void on_heartbeat_reply (rota_agent_t *self, const rota_envelope_t *envelope,
                                const ProtobufCMessage *base)
{
    const Rota__AgentHeartbeatReply *message = (const Rota__AgentHeartbeatReply *)base;
    if (!answers (self, envelope, self->heartbeat_sequence) || !message->has_lease_ms)
        return;
    self->heard_ms = self->heartbeat_sent_ms;
    /* The scheduler's clock started when it got the heartbeat: ours must not run later than that. */
    int64_t left_ms = self->heartbeat_sent_ms + message->lease_ms - rota_clock_boot_ms ();
    for (size_t i = 0; i < self->holds.count && left_ms > 0; i++) {
        const rota_hold_t *hold = self->holds.list[i];
        if (hold->state == ROTA_HOLD_RUNNING && !hold->goes_on &&
            hold->accepted_ms <= self->heartbeat_sent_ms)
            rota_control_renew (hold->control_fd, (uint32_t)left_ms);
    }
}

static void on_stop (rota_agent_t *self, const rota_envelope_t *envelope, const ProtobufCMessage *base)
{
    const Rota__Stop *message = (const Rota__Stop *)base;
    uint32_t grace_ms = message->has_grace_ms ? message->grace_ms : self->grace_ms;
    for (size_t i = 0; i < message->n_attempts; i++) {
        const Rota__Held *it = message->attempts[i];
        rota_hold_t *hold = rota_hold_find (&self->holds, envelope->store, it->key, it->attempt);
        if (hold)
            rota_agent_stop_attempt (self, hold, grace_ms);
    }
}

static void on_report_reply (rota_agent_t *self, const rota_envelope_t *envelope,
                             const ProtobufCMessage *base)
{
    const Rota__ReportReply *message = (const Rota__ReportReply *)base;
    for (size_t i = 0; i < message->n_reports; i++) {
        const Rota__ReportStatus *it = message->reports[i];
        const uint8_t *store = it->has_store && it->store.len == 16 ? it->store.data : envelope->store;
        rota_hold_t *hold = rota_hold_find (&self->holds, store, it->key, it->attempt);
        if (!hold || hold->state != ROTA_HOLD_FINISHED)
            continue;
        bool ours = memcmp (store, envelope->store, 16) == 0;
        if (it->has_refused && it->refused)
            rota_log (ROTA_LOG_WARNING, "report.refused", "key=%llu attempt=%u code=%s",
                      (unsigned long long)it->key, it->attempt, rota_error_code_name (it->refused));
        rota_agent_forget (self, hold, !ours);
    }
}

/* ---- output */

static void refuse (rota_agent_t *self, const rota_envelope_t *request, Rota__ErrorCode code,
                    const char *text)
{
    rota_envelope_t envelope;
    Rota__Error error = ROTA__ERROR__INIT;
    error.has_code = error.has_text = true;
    error.code = code;
    error.text = rota_bytes (text);
    rota_envelope_answer (request, ROTA_MESSAGE_ERROR, &envelope);
    rota_peer_send (self->peer, &envelope, &error.base);
}

static bool runs (const rota_agent_t *self, ProtobufCBinaryData task, uint32_t attempt)
{
    for (size_t i = 0; i < self->holds.count; i++) {
        const rota_hold_t *hold = self->holds.list[i];
        if (hold->state != ROTA_HOLD_FINISHED && hold->number == attempt &&
            strlen (hold->task_id) == task.len && memcmp (hold->task_id, task.data, task.len) == 0)
            return true;
    }
    return false;
}

static void on_output_query (rota_agent_t *self, const rota_envelope_t *envelope,
                             const ProtobufCMessage *base)
{
    const Rota__OutputQuery *query = (const Rota__OutputQuery *)base;
    Rota__OutputReply reply = ROTA__OUTPUT_REPLY__INIT;
    rota_output_piece_t piece = {.offset = query->offset};
    char path[ROTA_LOGS_PATH_BYTES];
    const char *reason;
    const char *task = (const char *)query->task.data;

    if (rota_id_check (task, query->task.len, &reason) < 0) {
        refuse (self, envelope, ERROR_CODE (INVALID), reason);
        return;
    }
    size_t limit = query->has_limit && query->limit < OUTPUT_MAX_BYTES ? query->limit : OUTPUT_MAX_BYTES;
    uint32_t attempt =
        query->has_attempt ? query->attempt : rota_logs_newest (self->state_dir, task, query->task.len);
    /* Before the log is read: what is written between the two must not be missed. */
    bool running = runs (self, query->task, attempt);
    uint8_t *data = rota_arena_alloc (self->arena, limit + 1);
    if (!data) {
        refuse (self, envelope, ERROR_CODE (RETRY_LATER), "no memory");
        return;
    }
    int status = rota_logs_path (self->state_dir, task, query->task.len, attempt, path);
    if (status == 0)
        status = rota_output_read (path, query->offset, data, limit, &piece);
    if (status < 0 && !running) {
        refuse (self, envelope, status == -EAGAIN ? ERROR_CODE (RETRY_LATER) : ERROR_CODE (NOT_FOUND),
                "this host has no output of that attempt");
        return;
    }
    reply.has_data = reply.has_offset = reply.has_size = reply.has_ended = reply.has_attempt =
        reply.has_host = true;
    reply.data = rota_bytes_n (data, piece.size_bytes);
    reply.offset = piece.offset;
    reply.size = piece.total_bytes;
    reply.ended = !running && piece.offset + piece.size_bytes >= piece.total_bytes;
    reply.attempt = attempt;
    reply.host = rota_bytes (self->host);
    rota_envelope_t answer;
    rota_envelope_answer (envelope, ROTA_MESSAGE_OUTPUT_REPLY, &answer);
    rota_peer_send (self->peer, &answer, &reply.base);
}

/* ---- words for an agent at work */

static bool is_utf8 (const char *text, size_t size)
{
    for (size_t length; size; text += length, size -= length)
        if (!(length = rota_utf8_sequence (text, size)))
            return false;
    return true;
}

static void on_tell (rota_agent_t *self, const rota_envelope_t *envelope, const ProtobufCMessage *base)
{
    const Rota__Tell *tell = (const Rota__Tell *)base;
    const char *text = (const char *)tell->text.data, *why = NULL;
    rota_hold_t *hold = NULL;
    for (size_t i = 0; i < self->holds.count && !hold; i++) {
        rota_hold_t *it = self->holds.list[i];
        if (it->number == tell->attempt && strlen (it->task_id) == tell->task.len &&
            memcmp (it->task_id, tell->task.data, tell->task.len) == 0)
            hold = it;
    }
    if (!tell->text.len || tell->text.len > ROTA_TELL_MAX_BYTES || memchr (text, 0, tell->text.len) ||
        !is_utf8 (text, tell->text.len))
        why = "what is told must be UTF-8 text of 1 byte to 16 KiB";
    else if (!hold || hold->state == ROTA_HOLD_FINISHED)
        why = "that attempt does not run here any more";
    else if (hold->state == ROTA_HOLD_ELSEWHERE)
        why = "the attempt was begun by an earlier agent host, which is gone with the way to it";
    else if (!hold->steerable)
        why = "this kind of agent takes no word while it works: `rota stop` or `rota cancel` ends it";
    else if (rota_control_tell (hold->control_fd, text, tell->text.len) < 0)
        why = "the word could not be handed on: the attempt is ending, or is not reading; try again";
    if (why) {
        refuse (self, envelope, ERROR_CODE (REFUSED), why);
        return;
    }
    Rota__TellReply reply = ROTA__TELL_REPLY__INIT;
    rota_envelope_t answer;
    reply.has_attempt = reply.has_agent = true;
    reply.attempt = tell->attempt;
    reply.agent = rota_bytes (self->name);
    rota_envelope_answer (envelope, ROTA_MESSAGE_TELL_REPLY, &answer);
    rota_peer_send (self->peer, &answer, &reply.base);
}

/* ---- dispatch */

static const struct {
    uint32_t type;
    Rota__Role from;
    void (*handler) (rota_agent_t *self, const rota_envelope_t *envelope, const ProtobufCMessage *message);
} HANDLERS[] = {
    {ROTA_MESSAGE_REGISTERED, ROTA__ROLE__ROLE_SCHEDULER, on_registered},
    {ROTA_MESSAGE_ASSIGN, ROTA__ROLE__ROLE_SCHEDULER, on_assign},
    {ROTA_MESSAGE_AGENT_HEARTBEAT_REPLY, ROTA__ROLE__ROLE_SCHEDULER, on_heartbeat_reply},
    {ROTA_MESSAGE_STOP, ROTA__ROLE__ROLE_SCHEDULER, on_stop},
    {ROTA_MESSAGE_REPORT_REPLY, ROTA__ROLE__ROLE_SCHEDULER, on_report_reply},
    {ROTA_MESSAGE_OUTPUT_QUERY, ROTA__ROLE__ROLE_UNSPECIFIED, on_output_query},
    {ROTA_MESSAGE_TELL, ROTA__ROLE__ROLE_UNSPECIFIED, on_tell},
};

/* What was refused is sent again in its time. */
static void on_error (rota_agent_t *self, const Rota__Error *error)
{
    char text[512] = "";
    if (!error)
        return;
    if (error->code == ERROR_CODE (HELLO_REQUIRED) && self->registered) {
        register_anew (self); /* its memory was made anew from its store */
        rota_agent_look (self);
        return;
    }
    rota_log_level_t level =
        error->code == ERROR_CODE (UNAVAILABLE) || !self->registered ? ROTA_LOG_DEBUG : ROTA_LOG_WARNING;
    rota_log_limited (level, "scheduler.refused", "refused", 5000, "code=%s text=%s",
                      rota_error_code_name (error->code),
                      rota_log_quote ((const char *)error->text.data, error->text.len, text, sizeof text));
    if (!self->registered && error->code == ERROR_CODE (UNAVAILABLE)) {
        self->register_at = rota_clock_monotonic_ms () + REGISTER_SOON_MS;
        rota_agent_look (self);
    }
}

static void on_message (void *owner, const rota_envelope_t *envelope, const uint8_t *body, size_t size_bytes)
{
    rota_agent_t *self = owner;
    if (envelope->type == ROTA_MESSAGE_ERROR) {
        on_error (self, (const Rota__Error *)decode (self, envelope, body, size_bytes));
        return;
    }
    for (size_t i = 0; i < sizeof HANDLERS / sizeof *HANDLERS; i++) {
        if (HANDLERS[i].type != envelope->type)
            continue;
        bool of_scheduler = HANDLERS[i].from == ROTA__ROLE__ROLE_SCHEDULER;
        if (of_scheduler && (envelope->role != ROTA__ROLE__ROLE_SCHEDULER || !heed (self, envelope)))
            break;
        const ProtobufCMessage *message = decode (self, envelope, body, size_bytes);
        if (message)
            HANDLERS[i].handler (self, envelope, message);
        break;
    }
}

static void on_drained (void *owner)
{
    rota_agent_look (owner);
}

static void on_state (void *owner, rota_peer_state_t state, const Rota__Welcome *welcome, const char *why)
{
    rota_agent_t *self = owner;
    (void)welcome;
    if (state != ROTA_PEER_READY && self->registered)
        rota_log (ROTA_LOG_WARNING, "broker.lost", "reason=\"%s\"", why);
    register_anew (self);
    rota_agent_look (self);
}

static void on_scheduler (void *owner, const uint8_t *instance)
{
    rota_agent_t *self = owner;
    /* The broker may tell of it later than it told us itself. */
    if (instance && self->registered && memcmp (instance, self->scheduler, sizeof self->scheduler) == 0)
        return;
    if (!instance && self->registered)
        rota_log (ROTA_LOG_WARNING, "scheduler.gone", "running=%zu", rota_hold_running (&self->holds));
    register_anew (self);
    rota_agent_look (self);
}

void rota_agent_connect (rota_agent_t *self)
{
    rota_error_t error = {""};
    rota_peer_config_t config = {
        .endpoints = self->endpoints,
        .role = ROTA__ROLE__ROLE_AGENT,
        .name = self->name,
        .curve = self->curve,
        .owner = self,
        .on_message = on_message,
        .on_drained = on_drained,
        .on_state = on_state,
        .on_scheduler = on_scheduler,
    };
    self->peer = rota_peer_new (&config, self->loop, &error);
    if (!self->peer) {
        rota_log (ROTA_LOG_ERROR, "broker.unusable", "reason=\"%s\"", error.text);
        rota_agent_fail (self, -EINVAL);
    }
}
