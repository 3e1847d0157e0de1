#include "telemetry/hook.h"

#include "bus/alarm.h"
#include "bus/clock.h"
#include "bus/log.h"
#include "bus/subscriber.h"
#include "proto/words.h"
#include "telemetry/cursor.h"
#include "telemetry/event_json.h"
#include "telemetry/hook_command.h"
#include "telemetry/webhook.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOOKS_MAX 9 /* eight web servers and a program */
#define NAME_BYTES 32
#define SAVE_EVERY_MS 1000
#define RETRY_MAX_MS (5 * 60 * 1000)
#define LOG_INTERVAL_MS 10000
#define KEY_MAX_BYTES 1024
#define DELIVERY_BYTES (ROTA_HEX_BYTES + 24)

typedef struct {
    uint64_t seq;
    int64_t since_ms; /* when it happened, by the monotonic clock */
    rota_text_t body;
} notice_t;

typedef struct {
    rota_hooks_t *all;
    char name[NAME_BYTES];      /* "webhook-1", "command" */
    char directory[NAME_BYTES]; /* its own, of the same name whatever its place in the list */
    rota_webhook_t *webhook;    /* one of the two */
    rota_hook_command_t *command;
    rota_subscriber_t *subscriber;
    rota_cursor_t cursor, saved; /* done with; as on disk */
    bool has_cursor;
    uint64_t seen; /* events up to here were looked at */
    notice_t queue[ROTA_HOOK_QUEUE];
    size_t first, count;
    bool sending, renew;
    unsigned failures; /* of the first, in a row */
    int64_t next_ms, save_ms;
    uint64_t delivered, failed, dropped;
} hook_t;

struct rota_hooks {
    rota_hooks_config_t config;
    rota_alarm_t *alarm;
    Rota__Welcome *welcome;
    hook_t list[HOOKS_MAX];
    size_t count;
    uint8_t store[ROTA_INSTANCE_BYTES];
    bool has_store, stopping;
    uint8_t key[KEY_MAX_BYTES];
    size_t key_size;
    int64_t retry_ms, patience_ms;
    rota_clock_anchor_t anchor;
};

/* ---- which events */

static const char *const KINDS[] = {"blocked",  "failed",   "human", "budget",
                                    "failover", "finished", "disk",  "moved"};
#define KIND_COUNT (sizeof KINDS / sizeof *KINDS)

const char *rota_hook_kind (const Rota__Event *event)
{
    switch (event->type) {
    case EVENT (TASK_MOVED):
        if (event->to_status == STATUS (BLOCKED))
            return "blocked";
        if (event->to_status == STATUS (FAILED))
            return "failed";
        return event->to_status == STATUS (IN_PROGRESS) && event->phase == PHASE (APPROVAL) ? "human" : NULL;
    case EVENT (COORDINATOR_CHANGED):
        return "failover";
    case EVENT (ROADMAP_SETTLED):
        return "finished";
    case EVENT (TARGET_MOVED):
        return "moved";
    case EVENT (DISK_LOW):
    case EVENT (DISK_RECOVERED):
        return "disk";
    default:
        return strncmp (rota_event_type_name (event->type), "budget", 6) == 0 ? "budget" : NULL;
    }
}

static bool is_wanted (const rota_hooks_t *self, const char *kind)
{
    const char *const *list =
        rota_setting_list (self->config.settings, ROTA_SETTING_TELEMETRY_HOOK_EVENTS, NULL);
    for (; kind && *list; list++)
        if (strcmp (*list, kind) == 0)
            return true;
    return false;
}

/* {"kind":"failed","text":"task build failed: exit code 1","store":"...","event":{...}} */
static int write_body (const rota_hooks_t *self, const Rota__Event *event, const char *kind,
                       rota_text_t *body)
{
    char head[128], store[ROTA_HEX_BYTES], text[1024];
    rota_hex_write (self->store, store);
    if (event->has_task)
        snprintf (text, sizeof text, "task %.*s %s%s%.*s", (int)event->task.len,
                  (const char *)event->task.data,
                  strcmp (kind, "human") == 0     ? "awaits a person"
                  : strcmp (kind, "blocked") == 0 ? "is blocked"
                                                  : kind,
                  event->reason.len ? ": " : "", (int)event->reason.len, (const char *)event->reason.data);
    else
        snprintf (text, sizeof text, "%s: %.*s", rota_event_type_name (event->type), (int)event->reason.len,
                  (const char *)event->reason.data);
    int length = snprintf (head, sizeof head, "{\"kind\":\"%s\",\"store\":\"%s\",\"text\":", kind, store);
    int r = rota_text_add (body, head, (size_t)length);
    if (r == 0)
        r = rota_json_string (body, text, strlen (text));
    if (r == 0)
        r = rota_text_add (body, ",\"event\":", 9);
    if (r == 0)
        r = rota_event_json (event, body);
    if (r == 0)
        body->bytes[body->size_bytes - 1] = '}'; /* in the place of the line's end */
    return r;
}

/* ---- the cursor */

static int open_directory (const hook_t *hook)
{
    char path[4096];
    if (snprintf (path, sizeof path, "%s/hooks", hook->all->config.state_directory) >=
        (int)sizeof path - NAME_BYTES)
        return -ENAMETOOLONG;
    if (mkdir (path, 0700) < 0 && errno != EEXIST)
        return -errno;
    strcat (path, "/");
    strcat (path, hook->directory);
    if (mkdir (path, 0700) < 0 && errno != EEXIST)
        return -errno;
    int fd = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static void save_cursor (hook_t *hook)
{
    hook->save_ms = INT64_MAX;
    if (!hook->has_cursor || (hook->saved.seq == hook->cursor.seq &&
                              memcmp (hook->saved.store, hook->cursor.store, sizeof hook->saved.store) == 0))
        return;
    int fd = open_directory (hook);
    int r = fd < 0 ? fd : rota_cursor_save (&ROTA_FILE_OPS, fd, &hook->cursor);
    if (fd >= 0)
        close (fd);
    if (r == 0) {
        hook->saved = hook->cursor;
        return;
    }
    rota_log_limited (ROTA_LOG_WARNING, "hook.cursor", hook->name, LOG_INTERVAL_MS, "hook=%s text=\"%s\"",
                      hook->name, strerror (-r));
    hook->save_ms = rota_clock_monotonic_ms () + RETRY_MAX_MS / 30;
}

/* What is up to `seq` is done with. */
static void done_up_to (hook_t *hook, uint64_t seq)
{
    hook->cursor.seq = seq;
    if (hook->save_ms == INT64_MAX)
        hook->save_ms = rota_clock_monotonic_ms () + SAVE_EVERY_MS;
    rota_alarm_set (hook->all->alarm, hook->save_ms);
}

/* ---- sending */

static notice_t *first_of (hook_t *hook)
{
    return &hook->queue[hook->first];
}

static void forget_first (hook_t *hook)
{
    uint64_t seq = first_of (hook)->seq;
    rota_text_free (&first_of (hook)->body);
    hook->first = (hook->first + 1) % ROTA_HOOK_QUEUE;
    hook->count--;
    hook->failures = 0;
    hook->next_ms = 0;
    /* Behind the last one nothing is left that was looked at. */
    done_up_to (hook, hook->count ? seq : hook->seen);
}

static int64_t retry_wait_ms (const rota_hooks_t *self, unsigned failures)
{
    int64_t wait_ms = self->retry_ms;
    for (unsigned i = 1; i < failures && wait_ms < RETRY_MAX_MS; i++)
        wait_ms *= 2;
    wait_ms = wait_ms < RETRY_MAX_MS ? wait_ms : RETRY_MAX_MS;
    return wait_ms - wait_ms / 8 + (int64_t)((uint64_t)random () % (uint64_t)(wait_ms / 4 + 1));
}

static void failed (hook_t *hook, bool for_good, const char *why)
{
    const notice_t *notice = first_of (hook);
    char quoted[512];
    bool late = rota_clock_monotonic_ms () - notice->since_ms > hook->all->patience_ms;
    rota_log_quote (why, strlen (why), quoted, sizeof quoted);
    hook->failed++;
    if (for_good || late) {
        rota_log (ROTA_LOG_WARNING, "hook.gave_up", "hook=%s event=%" PRIu64 " text=%s", hook->name,
                  notice->seq, quoted);
        hook->dropped++;
        forget_first (hook);
        return;
    }
    hook->failures++;
    int64_t wait_ms = retry_wait_ms (hook->all, hook->failures);
    hook->next_ms = rota_clock_monotonic_ms () + wait_ms;
    rota_log_limited (ROTA_LOG_WARNING, "hook.failed", hook->name, LOG_INTERVAL_MS,
                      "hook=%s event=%" PRIu64 " tries=%u again_ms=%" PRId64 " text=%s", hook->name,
                      notice->seq, hook->failures, wait_ms, quoted);
}

static void send_next (hook_t *hook, int64_t now_ms)
{
    if (hook->sending || !hook->count)
        return;
    if (now_ms < hook->next_ms) {
        rota_alarm_set (hook->all->alarm, hook->next_ms);
        return;
    }
    const notice_t *notice = first_of (hook);
    char delivery[DELIVERY_BYTES];
    rota_hex_write (hook->cursor.store, delivery);
    snprintf (delivery + ROTA_HEX_BYTES - 1, sizeof delivery - ROTA_HEX_BYTES + 1, "-%" PRIu64, notice->seq);
    int r = hook->webhook
                ? rota_webhook_send (hook->webhook, notice->body.bytes, notice->body.size_bytes, delivery)
                : rota_hook_command_send (hook->command, notice->body.bytes, notice->body.size_bytes);
    hook->sending = r == 0;
    if (r == 0)
        return;
    failed (hook, false, strerror (-r));
    rota_alarm_set (hook->all->alarm, hook->next_ms ? hook->next_ms : now_ms);
}

static void on_done (void *owner, rota_hook_outcome_t outcome, const char *why)
{
    hook_t *hook = owner;
    hook->sending = false;
    if (outcome == ROTA_HOOK_TAKEN) {
        hook->delivered++;
        forget_first (hook);
    } else {
        failed (hook, outcome == ROTA_HOOK_REFUSED, why);
    }
    rota_alarm_set (hook->all->alarm, rota_clock_monotonic_ms ());
}

/* ---- events */

/* A wall clock that jumps from here on makes nothing older. */
static int64_t since_ms (const rota_hooks_t *self, const Rota__Event *event)
{
    int64_t age_ms = rota_clock_retention_ms (&self->anchor) - event->time_ms;
    return rota_clock_monotonic_ms () - (age_ms > 0 ? age_ms : 0);
}

static void take_event (void *owner, const Rota__Event *event)
{
    hook_t *hook = owner;
    if (hook->renew || event->seq <= hook->seen)
        return;
    const char *kind = rota_hook_kind (event);
    if (is_wanted (hook->all, kind)) {
        notice_t notice = {.seq = event->seq, .since_ms = since_ms (hook->all, event)};
        if (hook->count == ROTA_HOOK_QUEUE || write_body (hook->all, event, kind, &notice.body) < 0) {
            rota_text_free (&notice.body);
            hook->renew = true; /* it comes again when there is room */
            return;
        }
        hook->queue[(hook->first + hook->count) % ROTA_HOOK_QUEUE] = notice;
        hook->count++;
    }
    hook->seen = event->seq;
}

static void take_gap (void *owner, uint64_t first, uint64_t last)
{
    hook_t *hook = owner;
    if (hook->renew)
        return;
    rota_log (ROTA_LOG_WARNING, "hook.gap", "hook=%s first=%" PRIu64 " last=%" PRIu64, hook->name, first,
              last);
    hook->seen = last;
}

static void end_batch (void *owner, uint64_t last)
{
    hook_t *hook = owner;
    (void)last;
    if (!hook->count)
        done_up_to (hook, hook->seen);
    rota_alarm_set (hook->all->alarm, rota_clock_monotonic_ms ());
}

static void subscribe (hook_t *hook)
{
    rota_error_t error;
    const rota_subscriber_config_t config = {.after = hook->seen,
                                             .owner = hook,
                                             .on_event = take_event,
                                             .on_gap = take_gap,
                                             .on_batch = end_batch};
    hook->subscriber = rota_subscriber_new (&config, hook->all->config.peer, hook->all->config.loop, &error);
    if (!hook->subscriber)
        rota_log_limited (ROTA_LOG_ERROR, "hook.subscribe_failed", hook->name, LOG_INTERVAL_MS,
                          "hook=%s text=\"%s\"", hook->name, error.text);
    else if (hook->all->welcome)
        rota_subscriber_welcome (hook->subscriber, hook->all->welcome);
}

static void look_after (hook_t *hook, int64_t now_ms)
{
    const rota_hooks_t *all = hook->all;
    if (hook->renew)
        rota_subscriber_destroy (&hook->subscriber);
    if (!hook->subscriber && all->has_store && hook->has_cursor && !all->stopping &&
        hook->count <= ROTA_HOOK_QUEUE / 2) {
        hook->renew = false;
        subscribe (hook);
    }
    send_next (hook, now_ms);
    if (now_ms >= hook->save_ms)
        save_cursor (hook);
    if (hook->save_ms != INT64_MAX)
        rota_alarm_set (all->alarm, hook->save_ms);
}

static void on_alarm (void *owner)
{
    rota_hooks_t *self = owner;
    for (size_t i = 0; i < self->count; i++)
        look_after (&self->list[i], rota_clock_monotonic_ms ());
}

static void drop_queue (hook_t *hook)
{
    for (; hook->count; hook->count--, hook->first = (hook->first + 1) % ROTA_HOOK_QUEUE)
        rota_text_free (&hook->queue[hook->first].body);
}

void rota_hooks_store (rota_hooks_t *self, const uint8_t store[16], uint64_t last, uint64_t known)
{
    if (!self || (self->has_store && memcmp (self->store, store, sizeof self->store) == 0))
        return;
    bool other = self->has_store;
    memcpy (self->store, store, sizeof self->store);
    self->has_store = true;
    for (size_t i = 0; i < self->count; i++) {
        hook_t *hook = &self->list[i];
        bool same = hook->has_cursor && memcmp (hook->cursor.store, store, sizeof hook->cursor.store) == 0;
        if (!same) {
            /* A new hook is told of what is news to the journal; a store that was restored has only old news.
             */
            hook->cursor.seq = hook->has_cursor || other ? last : known;
            memcpy (hook->cursor.store, store, sizeof hook->cursor.store);
            hook->has_cursor = true;
            done_up_to (hook, hook->cursor.seq);
        }
        if (other && !hook->sending)
            drop_queue (hook);
        hook->seen = hook->cursor.seq;
        hook->renew = hook->subscriber != NULL;
    }
    rota_alarm_set (self->alarm, rota_clock_monotonic_ms ());
}

void rota_hooks_welcome (rota_hooks_t *self, const Rota__Welcome *welcome)
{
    if (!self)
        return;
    size_t size = rota__welcome__get_packed_size (welcome);
    uint8_t *bytes = malloc (size + 1);
    if (!bytes)
        return;
    rota__welcome__pack (welcome, bytes);
    if (self->welcome)
        rota__welcome__free_unpacked (self->welcome, NULL);
    self->welcome = rota__welcome__unpack (NULL, size, bytes);
    free (bytes);
    for (size_t i = 0; i < self->count; i++)
        if (self->list[i].subscriber)
            rota_subscriber_welcome (self->list[i].subscriber, welcome);
}

void rota_hooks_stop (rota_hooks_t *self)
{
    if (self)
        self->stopping = true;
}

/* One that waits for its next try is not waited for. */
bool rota_hooks_are_busy (const rota_hooks_t *self)
{
    for (size_t i = 0; self && i < self->count; i++)
        if (self->list[i].sending || (self->list[i].count && !self->list[i].failures))
            return true;
    return false;
}

void rota_hooks_add_metrics (const rota_hooks_t *self, rota_metrics_t *metrics)
{
    for (size_t i = 0; self && i < self->count; i++) {
        const hook_t *hook = &self->list[i];
        rota_metrics_add (metrics, ROTA_METRIC_HOOK_DELIVERED, (double)hook->delivered, hook->name, NULL);
        rota_metrics_add (metrics, ROTA_METRIC_HOOK_FAILED, (double)hook->failed, hook->name, NULL);
        rota_metrics_add (metrics, ROTA_METRIC_HOOK_DROPPED, (double)hook->dropped, hook->name, NULL);
        rota_metrics_add (metrics, ROTA_METRIC_HOOK_QUEUED, (double)hook->count, hook->name, NULL);
    }
}

/* ---- settings */

int rota_hooks_check (const rota_settings_t *settings, rota_error_t *error)
{
    const char *const *urls = rota_setting_list (settings, ROTA_SETTING_TELEMETRY_WEBHOOKS, NULL);
    const char *const *kinds = rota_setting_list (settings, ROTA_SETTING_TELEMETRY_HOOK_EVENTS, NULL);
    for (; *urls; urls++) {
        int r = rota_webhook_check (*urls, error);
        if (r < 0)
            return rota_error_prefix (error, r, "telemetry.webhooks");
    }
    for (; *kinds; kinds++) {
        size_t i = 0;
        while (i < KIND_COUNT && strcmp (KINDS[i], *kinds) != 0)
            i++;
        if (i == KIND_COUNT)
            return rota_error_set (
                error, -EINVAL,
                "telemetry.hook_events: there is no \"%s\"; there are blocked, failed, human, "
                "budget, failover, finished, disk and moved",
                *kinds);
    }
    return 0;
}

static int read_key_file (rota_hooks_t *self, const char *path, rota_error_t *error)
{
    struct stat status;
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat (fd, &status) < 0) {
        int r = -errno;
        if (fd >= 0)
            close (fd);
        return rota_error_set (error, r, "telemetry.webhook_key_file: %s: %s", path, strerror (-r));
    }
    ssize_t size = read (fd, self->key, sizeof self->key);
    close (fd);
    if (status.st_mode & 077)
        return rota_error_set (error, -EINVAL, "telemetry.webhook_key_file: others can read %s; chmod 600 it",
                               path);
    while (size > 0 && (self->key[size - 1] == '\n' || self->key[size - 1] == '\r'))
        size--;
    self->key_size = size > 0 ? (size_t)size : 0;
    return self->key_size ? 0
                          : rota_error_set (error, -EINVAL, "telemetry.webhook_key_file: %s is empty", path);
}

static int read_key (rota_hooks_t *self, rota_error_t *error)
{
    const char *path = rota_setting_text (self->config.settings, ROTA_SETTING_TELEMETRY_WEBHOOK_KEY_FILE);
    const char *name =
        rota_setting_text (self->config.settings, ROTA_SETTING_TELEMETRY_WEBHOOK_KEY_ENVIRONMENT);
    if (*path)
        return read_key_file (self, path, error);
    const char *key = *name ? getenv (name) : NULL;
    if (*name && (!key || !*key))
        return rota_error_set (error, -EINVAL, "telemetry.webhook_key_environment: $%s is not set", name);
    self->key_size = key ? strnlen (key, sizeof self->key) : 0;
    if (key)
        memcpy (self->key, key, self->key_size);
    return 0;
}

static int start_hook (rota_hooks_t *self, hook_t *hook, rota_error_t *error)
{
    int fd = open_directory (hook);
    if (fd < 0)
        return rota_error_set (error, fd, "%s/hooks: %s", self->config.state_directory, strerror (-fd));
    hook->has_cursor = rota_cursor_load (fd, &hook->cursor) == 0;
    close (fd);
    hook->saved = hook->cursor;
    hook->seen = hook->cursor.seq;
    hook->save_ms = INT64_MAX;
    return 0;
}

static int add_webhook (rota_hooks_t *self, const char *url, size_t number, rota_error_t *error)
{
    hook_t *hook = &self->list[self->count++];
    hook->all = self;
    hook->save_ms = INT64_MAX;
    snprintf (hook->name, sizeof hook->name, "webhook-%zu", number);
    snprintf (hook->directory, sizeof hook->directory, "web-%016" PRIx64, rota_hash (url, strlen (url)));
    const rota_webhook_config_t config = {
        .loop = self->config.loop,
        .url = url,
        .key = self->key_size ? self->key : NULL,
        .key_size = self->key_size,
        .timeout_ms = rota_setting_duration_ms (self->config.settings, ROTA_SETTING_TELEMETRY_HOOK_TIMEOUT),
        .owner = hook,
        .on_done = on_done};
    int r = rota_webhook_new (&config, &hook->webhook, error);
    return r < 0 ? r : start_hook (self, hook, error);
}

static int add_command (rota_hooks_t *self, const char *const *argv, rota_error_t *error)
{
    hook_t *hook = &self->list[self->count++];
    hook->all = self;
    hook->save_ms = INT64_MAX;
    snprintf (hook->name, sizeof hook->name, "command");
    snprintf (hook->directory, sizeof hook->directory, "command");
    const rota_hook_command_config_t config = {
        .loop = self->config.loop,
        .argv = argv,
        .timeout_ms = rota_setting_duration_ms (self->config.settings, ROTA_SETTING_TELEMETRY_HOOK_TIMEOUT),
        .owner = hook,
        .on_done = on_done};
    hook->command = rota_hook_command_new (&config);
    return hook->command ? start_hook (self, hook, error) : rota_error_set (error, -ENOMEM, "no memory");
}

/* Cursors of hooks that are configured no more. */
static void sweep (const rota_hooks_t *self, const char *state_directory)
{
    char path[4096], cursor[4096 + NAME_BYTES + 300];
    if (snprintf (path, sizeof path, "%s/hooks", state_directory) >= (int)sizeof path)
        return;
    DIR *directory = opendir (path);
    for (struct dirent *entry; directory && (entry = readdir (directory));) {
        bool ours = entry->d_name[0] == '.';
        for (size_t i = 0; self && i < self->count && !ours; i++)
            ours = strcmp (self->list[i].directory, entry->d_name) == 0;
        if (ours)
            continue;
        snprintf (cursor, sizeof cursor, "%s/%s/cursor", path, entry->d_name);
        unlink (cursor);
        snprintf (cursor, sizeof cursor, "%s/%s", path, entry->d_name);
        rmdir (cursor);
    }
    if (directory)
        closedir (directory);
}

int rota_hooks_new (const rota_hooks_config_t *config, rota_hooks_t **ret_hooks, rota_error_t *error)
{
    size_t words;
    const char *const *urls = rota_setting_list (config->settings, ROTA_SETTING_TELEMETRY_WEBHOOKS, NULL);
    const char *const *argv = rota_setting_list (config->settings, ROTA_SETTING_TELEMETRY_HOOK, &words);
    *ret_hooks = NULL;
    if (!*urls && !words) {
        sweep (NULL, config->state_directory);
        return 0;
    }
    rota_hooks_t *self = calloc (1, sizeof *self);
    if (!self)
        return rota_error_set (error, -ENOMEM, "no memory");
    self->config = *config;
    self->anchor = rota_clock_anchor ();
    self->retry_ms = rota_setting_duration_ms (config->settings, ROTA_SETTING_TELEMETRY_HOOK_RETRY);
    self->patience_ms = rota_setting_duration_ms (config->settings, ROTA_SETTING_TELEMETRY_HOOK_PATIENCE);
    self->alarm = rota_alarm_new (config->loop, on_alarm, self);
    int r = self->alarm ? read_key (self, error) : rota_error_set (error, -ENOMEM, "no memory");
    for (size_t i = 0; r == 0 && urls[i]; i++)
        r = add_webhook (self, urls[i], i + 1, error);
    if (r == 0 && words)
        r = add_command (self, argv, error);
    if (r < 0) {
        rota_hooks_destroy (&self);
        return r;
    }
    sweep (self, config->state_directory);
    *ret_hooks = self;
    return 0;
}

void rota_hooks_destroy (rota_hooks_t **self_p)
{
    rota_hooks_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; i < self->count; i++) {
        hook_t *hook = &self->list[i];
        rota_subscriber_destroy (&hook->subscriber);
        rota_webhook_destroy (&hook->webhook);
        rota_hook_command_destroy (&hook->command);
        save_cursor (hook);
        drop_queue (hook);
    }
    rota_alarm_destroy (&self->alarm);
    if (self->welcome)
        rota__welcome__free_unpacked (self->welcome, NULL);
    explicit_bzero (self->key, sizeof self->key);
    free (self);
    *self_p = NULL;
}
