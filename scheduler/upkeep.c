/* What is done from time to time: the event log trimmed, conversations ended, backups carried on, the store
 * checked. */
#include "scheduler/service_internal.h"

#include "bus/clock.h"
#include "bus/log.h"
#include "bus/names.h"
#include "scheduler/store_context.h"

#define TRIM_EVERY_MS 60000
#define TRIM_ENTRIES 200
#define SWEEP_EVERY_MS (3600 * 1000)
#define FORGET_AFTER 30 /* times scheduler.conversation_idle */
#define CURSOR_EVERY_EVENTS 1000
#define BACKUP_STEPS_A_TICK 8
#define CHECK_MS 600000 /* how long looking through a large store may keep the loop */

static void note_gap (service_t *self, const uint64_t gap[2])
{
    char text[128];
    snprintf (text, sizeof text, "events %llu to %llu were removed before the sink had them",
              (unsigned long long)gap[0], (unsigned long long)gap[1]);
    rota_log (ROTA_LOG_WARNING, "events.gap", "first=%llu last=%llu", (unsigned long long)gap[0],
              (unsigned long long)gap[1]);
    rota_core_note (self->core, EVENT (LOG_GAP), text);
}

/* A slice; while there is more, the next tick goes on. */
static void trim (service_t *self, int64_t now_ms)
{
    const rota_settings_t *s = self->config.settings;
    int64_t wall_ms = rota_service_retention_ms (self);
    uint64_t gap[2];
    rota_error_t error;
    if (now_ms < self->trim_after_ms)
        return;
    rota_service_flush (self);
    if (self->failed || rota_store_begin (self->store, &error) < 0)
        return;
    int64_t before_ms = wall_ms - rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_EVENT_RETENTION);
    uint64_t cap = (uint64_t)rota_setting_integer (s, ROTA_SETTING_SCHEDULER_EVENT_CAP);
    rota_service_checkpoint_trim (self, before_ms, cap);
    rota_service_trim_checkpoints (self);
    uint64_t trimmed =
        rota_store_trim_events (self->store, before_ms, cap, self->sink_cursor, ROTA_TRIM_EVENTS, gap);
    int64_t idle_ms = rota_setting_duration_ms (s, ROTA_SETTING_SCHEDULER_CONVERSATION_IDLE);
    size_t expired =
        rota_answers_expire (self->answers, self->store, wall_ms - idle_ms, wall_ms - FORGET_AFTER * idle_ms);
    expired += rota_store_trim_entries (
        self->store, wall_ms - rota_setting_duration_ms (s, ROTA_SETTING_CONTEXT_RETENTION),
        (uint64_t)rota_setting_integer (s, ROTA_SETTING_CONTEXT_ENTRIES), TRIM_ENTRIES);
    if (rota_store_commit (self->store, &error) < 0) {
        rota_log (ROTA_LOG_ERROR, "trim.failed", "text=\"%s\"", error.text);
        self->trim_after_ms = now_ms + TRIM_EVERY_MS;
        return;
    }
    if (gap[1])
        note_gap (self, gap);
    self->trim_after_ms = trimmed || expired ? now_ms : now_ms + TRIM_EVERY_MS;
}

/* Each hour over all tasks, a slice a tick. */
static void sweep_attempts (service_t *self, int64_t now_ms)
{
    rota_error_t error;
    size_t dropped;
    if (now_ms < self->sweep_after_ms)
        return;
    int64_t age_ms =
        rota_setting_duration_ms (self->config.settings, ROTA_SETTING_SCHEDULER_ATTEMPT_RETENTION);
    rota_service_flush (self);
    if (self->failed || rota_store_begin (self->store, &error) < 0)
        return;
    uint64_t last = rota_store_trim_attempts (
        self->store, self->swept_task, rota_service_retention_ms (self) - age_ms, ROTA_SWEEP_TASKS, &dropped);
    if (rota_store_commit (self->store, &error) < 0) {
        rota_log (ROTA_LOG_ERROR, "sweep.failed", "text=\"%s\"", error.text);
        self->sweep_after_ms = now_ms + TRIM_EVERY_MS;
        return;
    }
    self->swept_task = dropped >= ROTA_TRIM_ATTEMPTS ? last : self->swept_task + ROTA_SWEEP_TASKS;
    if (self->swept_task < rota_core_count (self->core))
        return;
    self->swept_task = 0;
    self->sweep_after_ms = now_ms + (age_ms < SWEEP_EVERY_MS ? age_ms : SWEEP_EVERY_MS);
}

static void keep_cursor (service_t *self)
{
    rota_error_t error;
    if (self->sink_cursor == self->sink_cursor_stored)
        return;
    if (self->sink_cursor < self->sink_cursor_stored + CURSOR_EVERY_EVENTS &&
        self->trim_after_ms > rota_service_now_ms (self))
        return;
    rota_service_flush (self);
    if (self->failed || rota_store_begin (self->store, &error) < 0)
        return;
    rota_store_set_number (self->store, "sink_cursor", (int64_t)self->sink_cursor);
    if (rota_store_commit (self->store, &error) == 0)
        self->sink_cursor_stored = self->sink_cursor;
}

HANDLER (sink_cursor)
{
    const Rota__SinkCursor *cursor = (const Rota__SinkCursor *)message;
    bool ours = !from->has_store || memcmp (from->store, rota_store_incarnation (self->store), 16) == 0;
    if (ours && cursor->has_seq && cursor->seq <= self->published_head)
        self->sink_cursor = cursor->seq;
}

/* ----------------------------------------------------------------------------------------- backup */

HANDLER (backup)
{
    const Rota__BackupRequest *request = (const Rota__BackupRequest *)message;
    rota_error_t error;
    char path[4096];
    if (self->backup) {
        rota_service_refuse (self, from, ERROR_CODE (BUSY), "another backup is under way");
        return;
    }
    if (!request->path.len || request->path.len >= sizeof path ||
        !rota_text_is_valid ((const char *)request->path.data, request->path.len, false)) {
        rota_service_refuse (self, from, ERROR_CODE (INVALID),
                             "the backup needs a path of at most 4095 bytes");
        return;
    }
    snprintf (path, sizeof path, "%.*s", (int)request->path.len, (const char *)request->path.data);
    rota_service_flush (self); /* a copy starts between transactions */
    int r = rota_backup_start (self->store, path, &self->backup, &error);
    if (r < 0)
        rota_service_refuse (self, from, r == -EINVAL ? ERROR_CODE (INVALID) : ERROR_CODE (STORE_FAILED),
                             "%s", error.text);
    else
        self->backup_for = *from;
}

static void carry_on_backup (service_t *self)
{
    rota_error_t error;
    int r = 0;
    for (int i = 0; i < BACKUP_STEPS_A_TICK && r == 0; i++)
        r = rota_backup_step (self->backup, &error);
    if (r == 0)
        return;
    if (r < 0) {
        rota_service_refuse (self, &self->backup_for, ERROR_CODE (STORE_FAILED), "%s", error.text);
    } else {
        Rota__BackupReply reply = ROTA__BACKUP_REPLY__INIT;
        reply.has_size_bytes = reply.has_last_event = true;
        reply.size_bytes = rota_backup_size (self->backup);
        reply.last_event = self->published_head;
        rota_service_answer (self, &self->backup_for, ROTA_MESSAGE_BACKUP_REPLY, &reply.base);
    }
    rota_backup_destroy (&self->backup);
}

void rota_upkeep_tick (service_t *self)
{
    if (self->backup)
        carry_on_backup (self);
    keep_cursor (self);
    trim (self, rota_service_now_ms (self));
    sweep_attempts (self, rota_service_now_ms (self));
}

/* ------------------------------------------------------------------------------------------ check */

typedef struct {
    service_t *service;
    Rota__CheckReply *reply;
} checking_t;

static void add_fault (void *owner, const char *text)
{
    checking_t *checking = owner;
    Rota__CheckReply *reply = checking->reply;
    size_t length = strlen (text);
    Rota__Fault *fault = rota_arena_alloc (checking->service->arena, sizeof *fault);
    char *copy = rota_arena_alloc (checking->service->arena, length + 1);
    if (!fault || !copy || reply->n_faults > 1000)
        return;
    memcpy (copy, text, length + 1);
    rota__fault__init (fault);
    fault->has_text = true;
    fault->text = rota_bytes_n (copy, length);
    reply->faults[reply->n_faults++] = fault;
}

HANDLER (check)
{
    (void)message;
    Rota__CheckReply reply = ROTA__CHECK_REPLY__INIT;
    checking_t checking = {.service = self, .reply = &reply};
    rota_error_t error;
    rota_service_hold_role (self, CHECK_MS);
    rota_service_flush (self); /* rows and memory are compared: both must be at the same commit */
    reply.faults = rota_arena_alloc (self->arena, 1002 * sizeof (Rota__Fault *));
    if (!reply.faults || rota_store_check (self->store, self->core, add_fault, &checking, &error) < 0) {
        rota_service_refuse (self, from, ERROR_CODE (STORE_FAILED), "%s",
                             reply.faults ? error.text : "no memory");
        return;
    }
    reply.has_tasks = reply.has_events = reply.has_attempts = true;
    reply.tasks = rota_store_count (self->store, "task");
    reply.events = rota_store_count (self->store, "event");
    reply.attempts = rota_store_count (self->store, "attempt");
    rota_service_answer (self, from, ROTA_MESSAGE_CHECK_REPLY, &reply.base);
}
