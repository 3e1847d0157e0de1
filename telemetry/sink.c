#include "telemetry/sink.h"

#include "bus/alarm.h"
#include "bus/clock.h"
#include "bus/log.h"
#include "bus/peer.h"
#include "bus/start.h"
#include "bus/subscriber.h"
#include "telemetry/event_json.h"
#include "telemetry/gather.h"
#include "telemetry/hook.h"
#include "telemetry/http.h"
#include "telemetry/journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ASK_EVERY_MS 5000 /* which store it is: a restore shows within this time */
#define ASK_AGAIN_MS 500  /* while there is no answer */
#define ASK_PATIENCE_MS 2000
#define TELL_EVERY_MS 2000 /* the cursor */
#define SAY_AFTER_MS 2000  /* whom it waits for */
#define SAY_AGAIN_MS 60000
#define RETAIN_EVERY_MS (3600 * 1000) /* more than daily, so that the size limit holds on busy days */
#define HOOKS_MS 3000                 /* for notifications that wait, at the end */
#define LISTEN_AGAIN_MS 10000
#define EVENT_TYPES 64
#define DRAIN_MS 100 /* at the end, for what brokers have sent already */
#define LOG_INTERVAL_MS 10000
#define QUOTED_BYTES 1024
#define ARENA_BYTES (32 << 20) /* for a STATUS_REPLY of 4 MiB */

struct rota_sink {
    rota_sink_config_t config;
    zloop_t *loop;
    rota_alarm_t *alarm;
    rota_peer_t *peer;
    rota_subscriber_t *subscriber; /* NULL: no store known, or the journal takes nothing */
    rota_journal_t *journal;
    rota_arena_t *arena;
    rota_text_t line;
    int stop_fd;
    bool stopping;

    Rota__Welcome *welcome; /* the broker's last, for subscribers made later */
    bool broker_ready, scheduler_ready, asking;
    bool renew; /* the subscription must end, and begin again once the journal takes more */
    uint64_t scheduler_epoch;

    const char *waiting_for; /* NULL = nobody */
    bool said;               /* that it waits */
    int64_t waiting_since_ms;
    uint64_t told; /* cursor; UINT64_MAX = nothing to this scheduler yet */
    int64_t told_ms;
    rota_retention_t retention;
    rota_clock_anchor_t anchor;

    rota_http_t *http; /* NULL: not wanted, or the address can't be had now */
    rota_gather_t *gather;
    rota_hooks_t *hooks;         /* NULL = nobody wants to know */
    int64_t stopped_ms;          /* when it was told to stop */
    uint64_t types[EVENT_TYPES]; /* events, by type */

    /* Monotonic, when each is due. */
    int64_t journal_ms, ask_ms, tell_ms, say_ms, retain_ms, listen_ms, stop_ms;
    rota_sink_counts_t counts;
};

static void wake_at (rota_sink_t *self, int64_t *deadline_ms, int64_t at_ms)
{
    *deadline_ms = at_ms;
    rota_alarm_set (self->alarm, at_ms);
}

/* What comes and goes with a failing disk could do so each second. */
static bool may_flap (const char *event)
{
    static const char *const flapping[] = {"journal.trouble", "journal.recovered", "journal.cut_back"};
    for (size_t i = 0; i < sizeof flapping / sizeof *flapping; i++)
        if (strcmp (event, flapping[i]) == 0)
            return true;
    return false;
}

static void on_notice (void *owner, const char *event, const char *text)
{
    (void)owner;
    char quoted[QUOTED_BYTES];
    rota_log_quote (text, strlen (text), quoted, sizeof quoted);
    if (may_flap (event))
        rota_log_limited (ROTA_LOG_WARNING, event, event, LOG_INTERVAL_MS, "text=%s", quoted);
    else
        rota_log (ROTA_LOG_WARNING, event, "text=%s", quoted);
}

/* ---- whom it waits for */

static void look_whom (rota_sink_t *self, int64_t now_ms)
{
    const char *whom = !self->broker_ready ? "broker" : !self->scheduler_ready ? "scheduler" : NULL;
    if (whom == self->waiting_for)
        return;
    if (!whom && self->said)
        rota_log (ROTA_LOG_INFO, "sink.connected", "waited_ms=%" PRId64, now_ms - self->waiting_since_ms);
    if (!self->waiting_for) {
        self->waiting_since_ms = now_ms;
        self->said = false;
    }
    self->waiting_for = whom;
    wake_at (self, &self->say_ms, whom ? now_ms + SAY_AFTER_MS : INT64_MAX);
}

static void say_whom (rota_sink_t *self, int64_t now_ms)
{
    rota_log (ROTA_LOG_WARNING, "sink.waiting", "for=%s endpoint=%s waited_ms=%" PRId64, self->waiting_for,
              rota_peer_endpoint (self->peer), now_ms - self->waiting_since_ms);
    self->said = true;
    wake_at (self, &self->say_ms, now_ms + SAY_AGAIN_MS);
}

/* ---- events */

/* The subscriber may not be destroyed by its own callback, so the alarm does it. */
static void renew_later (rota_sink_t *self)
{
    self->renew = true;
    wake_at (self, &self->journal_ms, rota_clock_monotonic_ms ());
}

static void take_up_journal (rota_sink_t *self)
{
    wake_at (self, &self->journal_ms, rota_clock_monotonic_ms () + rota_journal_tick (self->journal));
    if (self->subscriber && !rota_journal_is_open (self->journal))
        renew_later (self); /* a sync may have failed with no event after it to notice */
    if (rota_journal_cursor (self->journal)->seq != self->told)
        wake_at (self, &self->tell_ms, self->told_ms + self->config.tell_every_ms);
}

static void take_event (void *owner, const Rota__Event *event)
{
    rota_sink_t *self = owner;
    if (self->renew) /* out of order by now; it comes again */
        return;
    self->line.size_bytes = 0;
    int rc = rota_event_json (event, &self->line);
    if (rc == 0)
        rc = rota_journal_append (self->journal, event->seq, event->time_ms, self->line.bytes,
                                  self->line.size_bytes);
    if (rc < 0)
        renew_later (self);
    else
        self->counts.events += (uint64_t)rc;
    if (rc > 0 && (size_t)event->type < EVENT_TYPES)
        self->types[event->type]++;
}

static void take_gap (void *owner, uint64_t first_missing, uint64_t last_missing)
{
    rota_sink_t *self = owner;
    if (self->renew)
        return;
    rota_log (ROTA_LOG_WARNING, "sink.gap", "first=%" PRIu64 " last=%" PRIu64, first_missing, last_missing);
    if (rota_journal_append_gap (self->journal, first_missing, last_missing) < 0)
        renew_later (self);
    else
        self->counts.gaps += last_missing - first_missing + 1;
    take_up_journal (self); /* no batch need follow */
}

static void end_batch (void *owner, uint64_t last)
{
    (void)last;
    take_up_journal (owner);
}

static void subscribe (rota_sink_t *self, uint64_t after)
{
    rota_error_t error;
    const rota_subscriber_config_t config = {
        .after = after, .owner = self, .on_event = take_event, .on_gap = take_gap, .on_batch = end_batch};
    self->subscriber = rota_subscriber_new (&config, self->peer, self->loop, &error);
    if (!self->subscriber) {
        rota_log_limited (ROTA_LOG_ERROR, "sink.subscribe_failed", "subscribe", LOG_INTERVAL_MS,
                          "text=\"%s\"", error.text);
        return;
    }
    self->counts.subscriptions++;
    rota_log_limited (ROTA_LOG_INFO, "sink.subscribed", "subscribed", 1000, "after=%" PRIu64, after);
    if (self->welcome)
        rota_subscriber_welcome (self->subscriber, self->welcome);
}

/* Ends a subscription that got out of step, and begins one where the journal takes it. */
static void look_after_subscription (rota_sink_t *self)
{
    uint64_t after;
    if (self->renew)
        rota_subscriber_destroy (&self->subscriber);
    if (self->subscriber || !self->scheduler_ready || !rota_journal_resume (self->journal, &after))
        return;
    self->renew = false;
    subscribe (self, after);
}

/* ---- the scheduler */

static void on_status (void *owner, void *context, const rota_reply_t *reply)
{
    (void)context;
    rota_sink_t *self = owner;
    ProtobufCMessage *message = NULL;
    int64_t now_ms = rota_clock_monotonic_ms ();
    self->asking = false;
    if (reply->status == -ECANCELED) /* destroy is under way */
        return;

    rota_arena_reset (self->arena);
    bool good = reply->status == 0 && reply->envelope->type == ROTA_MESSAGE_STATUS_REPLY &&
                rota_body_decode (ROTA_MESSAGE_STATUS_REPLY, reply->body, reply->size_bytes, self->arena,
                                  &message) == 0;
    const Rota__StatusReply *status = (const Rota__StatusReply *)message;
    if (good && (!status->has_store || status->store.len != ROTA_INSTANCE_BYTES)) {
        rota_log_limited (ROTA_LOG_ERROR, "sink.no_store", "store", LOG_INTERVAL_MS,
                          "text=\"the scheduler doesn't say which store it has\"");
        good = false;
    }
    self->scheduler_ready = good;
    wake_at (self, &self->ask_ms, now_ms + (good ? ASK_EVERY_MS : ASK_AGAIN_MS));
    look_whom (self, now_ms);
    if (!good)
        return;

    static const uint8_t none[ROTA_INSTANCE_BYTES];
    bool fresh = memcmp (rota_journal_store (self->journal), none, sizeof none) == 0;
    bool same = memcmp (rota_journal_store (self->journal), status->store.data, ROTA_INSTANCE_BYTES) == 0;
    rota_hooks_store (self->hooks, status->store.data, status->last_event,
                      same || fresh ? rota_journal_last (self->journal) : status->last_event);
    if (!same && rota_journal_set_store (self->journal, status->store.data) < 0) {
        self->scheduler_ready = false; /* nothing may be subscribed to or told before that works */
        self->ask_ms = now_ms + ASK_AGAIN_MS;
    }
    if (!same || status->scheduler_epoch != self->scheduler_epoch)
        self->told = UINT64_MAX;
    self->scheduler_epoch = status->scheduler_epoch;
    self->renew |= !same && self->subscriber;
    wake_at (self, &self->journal_ms, now_ms);
    wake_at (self, &self->tell_ms, now_ms);
}

static void ask (rota_sink_t *self, int64_t now_ms)
{
    Rota__StatusQuery query = ROTA__STATUS_QUERY__INIT;
    wake_at (self, &self->ask_ms, now_ms + ASK_EVERY_MS);
    if (!self->broker_ready || self->asking)
        return;
    self->asking = rota_peer_request (self->peer, ROTA_MESSAGE_STATUS_QUERY, NULL, &query.base,
                                      ASK_PATIENCE_MS, on_status, NULL) == 0;
}

static void tell (rota_sink_t *self, int64_t now_ms)
{
    const rota_cursor_t *on_disk = rota_journal_cursor (self->journal);
    bool ours = memcmp (on_disk->store, rota_journal_store (self->journal), sizeof on_disk->store) == 0;
    self->tell_ms = INT64_MAX; /* until the cursor moves or the scheduler is a new one */
    if (!self->scheduler_ready || !ours || on_disk->seq == self->told)
        return;
    rota_envelope_t envelope = {.type = ROTA_MESSAGE_SINK_CURSOR, .has_store = true};
    Rota__SinkCursor cursor = ROTA__SINK_CURSOR__INIT;
    memcpy (envelope.store, on_disk->store, sizeof envelope.store);
    cursor.has_seq = true;
    cursor.seq = on_disk->seq;
    if (rota_peer_send (self->peer, &envelope, &cursor.base) == 0)
        self->told = on_disk->seq;
    else
        wake_at (self, &self->tell_ms, now_ms + self->config.tell_every_ms);
    self->told_ms = now_ms;
}

static void keep_welcome (rota_sink_t *self, const Rota__Welcome *welcome)
{
    size_t size = rota__welcome__get_packed_size (welcome);
    uint8_t *bytes = malloc (size + 1);
    if (!bytes)
        return;
    rota__welcome__pack (welcome, bytes);
    Rota__Welcome *copy = rota__welcome__unpack (NULL, size, bytes);
    free (bytes);
    if (!copy)
        return;
    if (self->welcome)
        rota__welcome__free_unpacked (self->welcome, NULL);
    self->welcome = copy;
}

static void on_state (void *owner, rota_peer_state_t state, const Rota__Welcome *welcome, const char *why)
{
    rota_sink_t *self = owner;
    int64_t now_ms = rota_clock_monotonic_ms ();
    self->broker_ready = state == ROTA_PEER_READY;
    if (self->broker_ready) {
        keep_welcome (self, welcome);
        if (self->subscriber)
            rota_subscriber_welcome (self->subscriber, welcome);
        rota_hooks_welcome (self->hooks, welcome);
        self->told = UINT64_MAX;
        if (!self->asking)
            wake_at (self, &self->ask_ms, now_ms);
        rota_log (ROTA_LOG_INFO, "broker.ready", "endpoint=%s", rota_peer_endpoint (self->peer));
    } else {
        self->scheduler_ready = false;
        rota_log_limited (ROTA_LOG_DEBUG, "broker.waiting", "broker", LOG_INTERVAL_MS, "why=\"%s\"",
                          why ? why : "");
    }
    look_whom (self, now_ms);
}

/* ---- metrics */

static void add_own (void *owner, rota_metrics_t *metrics)
{
    const rota_sink_t *self = owner;
    uint64_t last = rota_journal_last (self->journal), synced = rota_journal_cursor (self->journal)->seq;
    for (int i = 1; i < EVENT_TYPES; i++)
        if (self->types[i])
            rota_metrics_add (metrics, ROTA_METRIC_EVENTS, (double)self->types[i],
                              rota_event_type_name ((Rota__EventType)i), NULL);
    rota_metrics_add (metrics, ROTA_METRIC_EVENTS_LOST, (double)self->counts.gaps, NULL, NULL);
    rota_metrics_add (metrics, ROTA_METRIC_JOURNAL_EVENT, (double)synced, NULL, NULL);
    rota_metrics_add (metrics, ROTA_METRIC_JOURNAL_LAG, last > synced ? (double)(last - synced) : 0, NULL,
                      NULL);
    rota_metrics_add (metrics, ROTA_METRIC_JOURNAL_TROUBLE, rota_journal_trouble (self->journal) != NULL,
                      NULL, NULL);
    rota_hooks_add_metrics (self->hooks, metrics);
}

static void give_metrics (void *owner, const char *text, size_t size_bytes)
{
    rota_sink_t *self = owner;
    if (self->http)
        rota_http_metrics (self->http, text, size_bytes);
}

static void want_metrics (void *owner)
{
    rota_gather_start (((rota_sink_t *)owner)->gather);
}

static const char *why_not_ready (void *owner)
{
    const rota_sink_t *self = owner;
    if (!self->broker_ready)
        return "waits for a broker";
    if (!self->scheduler_ready)
        return "waits for a scheduler";
    return rota_journal_trouble (self->journal);
}

/* The address may be another's for a while: the journal doesn't wait for that. */
static void listen_for_http (rota_sink_t *self, int64_t now_ms)
{
    rota_error_t error;
    const rota_http_config_t config = {
        .loop = self->loop, .owner = self, .on_metrics = want_metrics, .why_not_ready = why_not_ready};
    const char *where = rota_setting_text (self->config.settings, ROTA_SETTING_TELEMETRY_METRICS_LISTEN);
    self->listen_ms = INT64_MAX;
    if (!*where || self->http)
        return;
    if (rota_http_new (&config, where, &self->http, &error) == 0) {
        rota_log (ROTA_LOG_INFO, "metrics.listening", "address=%s", rota_http_address (self->http));
        return;
    }
    rota_log (ROTA_LOG_ERROR, "metrics.not_listening", "text=\"%s\" again_ms=%d", error.text,
              LISTEN_AGAIN_MS);
    self->listen_ms = now_ms + LISTEN_AGAIN_MS;
}

/* ---- the loop */

static void retain (rota_sink_t *self, int64_t now_ms)
{
    int removed =
        rota_journal_retain (self->journal, &self->retention, rota_clock_retention_ms (&self->anchor));
    if (removed < 0)
        rota_log (ROTA_LOG_WARNING, "journal.retention_failed", "text=\"%s\"", strerror (-removed));
    else if (removed > 0)
        rota_log (ROTA_LOG_INFO, "journal.removed", "files=%d", removed);
    wake_at (self, &self->retain_ms, now_ms + RETAIN_EVERY_MS);
}

/* What has come is taken; notifications of it may go out yet, for a bounded time. */
static void end_or_wait (rota_sink_t *self, int64_t now_ms)
{
    rota_hooks_stop (self->hooks);
    if (rota_hooks_are_busy (self->hooks) && now_ms < self->stopped_ms + HOOKS_MS)
        wake_at (self, &self->stop_ms, now_ms + DRAIN_MS / 4);
    else
        rota_sink_stop (self);
}

static void on_alarm (void *owner)
{
    rota_sink_t *self = owner;
    int64_t now_ms = rota_clock_monotonic_ms ();
    if (now_ms >= self->stop_ms)
        end_or_wait (self, now_ms);
    if (now_ms >= self->ask_ms)
        ask (self, now_ms);
    if (now_ms >= self->journal_ms) {
        take_up_journal (self);
        look_after_subscription (self);
    }
    if (now_ms >= self->tell_ms)
        tell (self, now_ms);
    if (self->waiting_for && now_ms >= self->say_ms)
        say_whom (self, now_ms);
    if (now_ms >= self->retain_ms)
        retain (self, now_ms);
    if (now_ms >= self->listen_ms)
        listen_for_http (self, now_ms);

    const int64_t deadlines[] = {self->journal_ms, self->ask_ms,    self->tell_ms, self->say_ms,
                                 self->retain_ms,  self->listen_ms, self->stop_ms};
    for (size_t i = 0; i < sizeof deadlines / sizeof *deadlines; i++)
        rota_alarm_set (self->alarm, deadlines[i]);
}

/* The first time it gives what is on its way a moment; the second time (that moment's end, or somebody in a
 * hurry) the loop ends. */
static int on_stop (zloop_t *loop, zmq_pollitem_t *item, void *owner)
{
    (void)loop;
    rota_sink_t *self = owner;
    uint64_t count;
    if (read (item->fd, &count, sizeof count) < 0)
        return 0;
    if (self->stopping || count > 1)
        return -1;
    self->stopping = true;
    self->stopped_ms = rota_clock_monotonic_ms ();
    wake_at (self, &self->stop_ms, rota_clock_monotonic_ms () + DRAIN_MS);
    return 0;
}

void rota_sink_stop (rota_sink_t *self)
{
    uint64_t one = 1;
    if (write (self->stop_fd, &one, sizeof one) < 0) {
        /* Full means that it is set already. */
    }
}

static void describe (void *owner, char *ret_text, size_t capacity)
{
    const rota_sink_t *self = owner;
    const char *trouble = rota_journal_trouble (self->journal);
    unsigned long long seq = (unsigned long long)rota_journal_cursor (self->journal)->seq;
    if (trouble)
        snprintf (ret_text, capacity, "journal up to event %llu, can't write: %s", seq, trouble);
    else
        snprintf (ret_text, capacity, "journal up to event %llu%s%s", seq,
                  self->waiting_for ? ", waits for a " : "", self->waiting_for ? self->waiting_for : "");
}

int rota_sink_run (rota_sink_t *self, rota_error_t *error)
{
    zmq_pollitem_t stop = {.fd = self->stop_fd, .events = ZMQ_POLLIN};
    if (zloop_poller (self->loop, &stop, on_stop, self) < 0 ||
        rota_ready_attach (self->config.ready, self->loop, describe, self) < 0)
        return rota_error_set (error, -ENOMEM, "no memory");
    zloop_poller_set_tolerant (self->loop, &stop);
    look_whom (self, rota_clock_monotonic_ms ());
    on_alarm (self);
    zloop_start (self->loop);

    int rc = rota_journal_flush (self->journal);
    if (rc < 0) {
        const char *trouble = rota_journal_trouble (self->journal);
        return rota_error_set (error, rc, "the last events are not in the journal yet: %s",
                               trouble ? trouble : "cut back after a failed sync");
    }
    tell (self, rota_clock_monotonic_ms ());
    return 0;
}

rota_sink_counts_t rota_sink_counts (const rota_sink_t *self)
{
    rota_sink_counts_t counts = self->counts;
    counts.synced = rota_journal_cursor (self->journal)->seq;
    return counts;
}

/* ---- beginning and end */

static int open_journal (rota_sink_t *self, rota_error_t *error)
{
    const rota_settings_t *settings = self->config.settings;
    char *directory;
    if (asprintf (&directory, "%s/journal", self->config.state_directory) < 0)
        return rota_error_set (error, -ENOMEM, "no memory");
    const rota_journal_config_t config = {
        .directory = directory,
        .batch_records = (size_t)rota_setting_integer (settings, ROTA_SETTING_TELEMETRY_BATCH_RECORDS),
        .batch_interval_ms = rota_setting_duration_ms (settings, ROTA_SETTING_TELEMETRY_BATCH_INTERVAL),
        .rotate_bytes = rota_setting_size_bytes (settings, ROTA_SETTING_TELEMETRY_ROTATE_SIZE),
        .ops = self->config.ops,
        .owner = self,
        .notice = on_notice,
    };
    int rc = rota_journal_open (&config, &self->journal, error);
    free (directory);
    self->retention.age_ms = rota_setting_duration_ms (settings, ROTA_SETTING_TELEMETRY_RETENTION);
    self->retention.total_bytes = rota_setting_size_bytes (settings, ROTA_SETTING_TELEMETRY_RETENTION_SIZE);
    return rc;
}

static int open_bus (rota_sink_t *self, rota_error_t *error)
{
    rota_bus_start ();
    self->stop_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->loop = zloop_new ();
    self->arena = rota_arena_new (ARENA_BYTES);
    if (self->stop_fd < 0 || !self->loop || !self->arena)
        return rota_error_set (error, -ENOMEM, "no memory");
    zloop_set_nonstop (self->loop, true);
    self->alarm = rota_alarm_new (self->loop, on_alarm, self);
    if (!self->alarm)
        return rota_error_set (error, -ENOMEM, "no memory");
    const rota_peer_config_t config = {.endpoints = self->config.endpoints,
                                       .role = ROTA__ROLE__ROLE_SINK,
                                       .name = "telemetry",
                                       .curve = self->config.curve,
                                       .owner = self,
                                       .on_state = on_state};
    self->peer = rota_peer_new (&config, self->loop, error);
    if (!self->peer)
        return -EINVAL;
    const rota_gather_config_t gather = {
        .peer = self->peer, .owner = self, .add_own = add_own, .on_text = give_metrics};
    self->gather = rota_gather_new (&gather);
    if (!self->gather)
        return rota_error_set (error, -ENOMEM, "no memory");
    const rota_hooks_config_t hooks = {.state_directory = self->config.state_directory,
                                       .settings = self->config.settings,
                                       .peer = self->peer,
                                       .loop = self->loop};
    return rota_hooks_new (&hooks, &self->hooks, error);
}

int rota_sink_new (const rota_sink_config_t *config, rota_sink_t **ret_self, rota_error_t *error)
{
    rota_sink_t *self = calloc (1, sizeof *self);
    if (!self)
        return rota_error_set (error, -ENOMEM, "no memory");
    self->config = *config;
    if (self->config.tell_every_ms == 0)
        self->config.tell_every_ms = TELL_EVERY_MS;
    self->stop_fd = -1;
    self->told = UINT64_MAX;
    self->say_ms = self->stop_ms = INT64_MAX;
    self->anchor = rota_clock_anchor ();
    const char *where = rota_setting_text (config->settings, ROTA_SETTING_TELEMETRY_METRICS_LISTEN);
    int rc = *where ? rota_http_check (where, error) : 0;
    if (rc < 0)
        rc = rota_error_prefix (error, rc, "telemetry.metrics_listen");
    if (rc == 0)
        rc = rota_hooks_check (config->settings, error);
    if (rc == 0)
        rc = open_journal (self, error);
    if (rc == 0)
        rc = open_bus (self, error);
    if (rc < 0) {
        rota_sink_destroy (&self);
        return rc;
    }
    *ret_self = self;
    return 0;
}

void rota_sink_destroy (rota_sink_t **self_p)
{
    rota_sink_t *self = *self_p;
    if (!self)
        return;
    rota_http_destroy (&self->http);
    rota_hooks_destroy (&self->hooks);
    rota_subscriber_destroy (&self->subscriber);
    rota_peer_destroy (&self->peer);
    rota_gather_destroy (&self->gather);
    rota_alarm_destroy (&self->alarm);
    zloop_destroy (&self->loop);
    rota_journal_close (&self->journal);
    rota_arena_destroy (&self->arena);
    rota_text_free (&self->line);
    if (self->welcome)
        rota__welcome__free_unpacked (self->welcome, NULL);
    if (self->stop_fd >= 0)
        close (self->stop_fd);
    free (self);
    *self_p = NULL;
}
