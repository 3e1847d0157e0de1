/* election_etcd.c - brokers on several hosts: the one whose lease holds the leader's key in etcd leads.
 *
 * The key is made by a transaction that succeeds only while there is none (create_revision 0), under a lease
 * that this broker renews. Its create_revision is the epoch, counted within the cluster's id. The lease ends,
 * for us, a margin before `sent + TTL`, with `sent` taken on CLOCK_BOOTTIME before the request left: etcd
 * counts from when it came. Who can't renew in time stops acting by that clock alone; the broker's thread
 * looks at it before each act, so a process that was stopped finds its time over when it wakes.
 *
 * Two threads: this one's talks with etcd and may wait; the broker's reads `shared` under the mutex and never
 * does.
 */
#include "broker/election.h"
#include "broker/etcd.h"
#include "bus/clock.h"
#include "bus/role_lock.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NEWS_MAX_BYTES 512
#define MARGIN_SHARE                                                                                         \
    5 /* of the TTL: clocks that run differently, and the moment between looking and acting */
#define MARGIN_MAX_MS 2000
#define RENEWALS 4   /* within a TTL */
#define LOOK_MS 2000 /* at the key, should the watch say nothing */
#define CALL_MS 3000
#define TRY_MS 1000
#define FAILED_PAUSE_MS 250
/* A watch that ends at once must not have us ask as fast as we can. */
#define FOLLOW_PAUSE_MS 100
#define WATCH_PAUSE_MS 1000
#define LEARN_EVERY_MS 10000
#define LAST_WORDS_MS 500

typedef struct {
    rota_election_t base;
    rota_role_lock_t *lock; /* of the state directory, so that no other broker uses it */
    rota_etcd_t *etcd;
    char *address;
    char key[256];
    int64_t ttl_ms;
    pthread_t thread;
    bool has_thread;
    atomic_bool stopping;
    int event_fd;

    pthread_mutex_t mutex;
    rota_election_state_t shared;
    char news[NEWS_MAX_BYTES]; /* not told yet; "" = none */
    char told[NEWS_MAX_BYTES]; /* the broker's thread's */

    /* The other thread's own. */
    char said[NEWS_MAX_BYTES];
    uint64_t lease; /* 0 = none */
    int64_t granted_ms;
    int64_t lease_until_ms; /* with the margin taken off */
    int64_t revision;       /* of etcd's last answer */
    int64_t learn_ms;
    int64_t followed_ms;
} etcd_t;

/* The leader's key as etcd has it. */
typedef struct {
    bool there;
    uint64_t lease;
    uint64_t create_revision;
    char value[ROTA_ELECTION_ADDRESS_MAX_BYTES];
} leader_key_t;

/* ---- what the broker's thread sees */

static void wake_broker (etcd_t *self)
{
    uint64_t one = 1;
    ssize_t written = write (self->event_fd, &one, sizeof one);
    (void)written; /* full: it is awake anyway */
}

/* Once for each thing, however often it happens in a row. */
static void say (etcd_t *self, const char *text)
{
    if (strcmp (text, self->said) == 0)
        return;
    snprintf (self->said, sizeof self->said, "%s", text);
    pthread_mutex_lock (&self->mutex);
    memcpy (self->news, self->said, sizeof self->news);
    pthread_mutex_unlock (&self->mutex);
    wake_broker (self);
}

static void publish (etcd_t *self, const rota_election_state_t *state)
{
    pthread_mutex_lock (&self->mutex);
    self->shared = *state;
    pthread_mutex_unlock (&self->mutex);
    wake_broker (self);
}

static void publish_follower (etcd_t *self, const char *leader)
{
    rota_election_state_t state = {.cluster = rota_etcd_cluster (self->etcd)};
    memcpy (state.leader, leader, strlen (leader) + 1);
    publish (self, &state);
}

static void publish_leader (etcd_t *self, uint64_t epoch)
{
    rota_election_state_t state = {.leads = true,
                                   .cluster = rota_etcd_cluster (self->etcd),
                                   .epoch = epoch,
                                   .until_ms = self->lease_until_ms};
    publish (self, &state);
}

/* ---- requests */

static int call (etcd_t *self, const char *path, json_t *body, int64_t timeout_ms, int64_t try_ms,
                 json_t **ret_reply, rota_error_t *error)
{
    int result = rota_etcd_call (self->etcd, path, body, timeout_ms, try_ms, ret_reply, error);
    if (result < 0)
        return result;
    int64_t revision =
        rota_etcd_number (json_object_get (json_object_get (*ret_reply, "header"), "revision"));
    if (revision > 0)
        self->revision = revision;
    return 0;
}

static json_t *number (uint64_t value)
{
    char text[32];
    snprintf (text, sizeof text, "%llu", (unsigned long long)value);
    return json_string (text);
}

static void take_key (const json_t *range, leader_key_t *ret_key)
{
    const json_t *kv = json_array_get (json_object_get (range, "kvs"), 0);
    *ret_key = (leader_key_t){.there = kv != NULL};
    ret_key->lease = rota_etcd_id (json_object_get (kv, "lease"));
    ret_key->create_revision = rota_etcd_id (json_object_get (kv, "create_revision"));
    rota_etcd_text (json_object_get (kv, "value"), ret_key->value, sizeof ret_key->value);
    if (strpbrk (ret_key->value, "\r\n"))
        ret_key->value[0] = '\0';
}

static int read_key (etcd_t *self, leader_key_t *ret_key, rota_error_t *error)
{
    json_t *reply = NULL;
    int result = call (self, "/v3/kv/range", json_pack ("{s:o}", "key", rota_etcd_bytes (self->key)), CALL_MS,
                       TRY_MS, &reply, error);
    if (result < 0)
        return result;
    take_key (reply, ret_key);
    json_decref (reply);
    return 0;
}

static void count_lease (etcd_t *self, int64_t sent_ms, int64_t ttl_s)
{
    int64_t granted_ms = ttl_s * 1000, margin_ms = granted_ms / MARGIN_SHARE;
    if (margin_ms > MARGIN_MAX_MS)
        margin_ms = MARGIN_MAX_MS;
    self->granted_ms = granted_ms;
    self->lease_until_ms = sent_ms + granted_ms - margin_ms;
}

static int grant (etcd_t *self, rota_error_t *error)
{
    json_t *reply = NULL;
    int64_t sent_ms = rota_clock_boot_ms ();
    int result = call (self, "/v3/lease/grant",
                       json_pack ("{s:o}", "TTL", number ((uint64_t)((self->ttl_ms + 999) / 1000))), CALL_MS,
                       TRY_MS, &reply, error);
    if (result < 0)
        return result;
    self->lease = rota_etcd_id (json_object_get (reply, "ID"));
    int64_t ttl_s = rota_etcd_number (json_object_get (reply, "TTL"));
    json_decref (reply);
    if (self->lease == 0 || ttl_s <= 0 || ttl_s > INT32_MAX) {
        self->lease = 0;
        return rota_error_set (error, -EPROTO, "etcd granted no lease");
    }
    count_lease (self, sent_ms, ttl_s);
    return 0;
}

/* 0: renewed; -ENOENT: etcd has no such lease any more; else no answer (yet). A dead lease is HTTP 200 too,
 * and its answer has no TTL. */
static int renew (etcd_t *self, int64_t timeout_ms, rota_error_t *error)
{
    json_t *reply = NULL;
    int64_t sent_ms = rota_clock_boot_ms ();
    int result = call (self, "/v3/lease/keepalive", json_pack ("{s:o}", "ID", number (self->lease)),
                       timeout_ms, self->granted_ms / RENEWALS, &reply, error);
    if (result < 0)
        return result;
    int64_t ttl_s = rota_etcd_number (json_object_get (json_object_get (reply, "result"), "TTL"));
    json_decref (reply);
    if (ttl_s <= 0 || ttl_s > INT32_MAX) {
        self->lease = 0;
        return rota_error_set (error, -ENOENT, "the lease has ended");
    }
    count_lease (self, sent_ms, ttl_s);
    return 0;
}

static void give_lease_back (etcd_t *self)
{
    json_t *reply = NULL;
    rota_error_t error;
    if (self->lease != 0 && call (self, "/v3/lease/revoke", json_pack ("{s:o}", "ID", number (self->lease)),
                                  LAST_WORDS_MS, LAST_WORDS_MS, &reply, &error) == 0)
        json_decref (reply);
    self->lease = 0;
}

/* The key with our address, if there is none; else the one that is there. */
static json_t *campaign_body (const etcd_t *self)
{
    return json_pack ("{s:[{s:o, s:s, s:s, s:s}], s:[{s:{s:o, s:o, s:o}}], s:[{s:{s:o}}]}", "compare", "key",
                      rota_etcd_bytes (self->key), "target", "CREATE", "result", "EQUAL", "create_revision",
                      "0", "success", "request_put", "key", rota_etcd_bytes (self->key), "value",
                      rota_etcd_bytes (self->address), "lease", number (self->lease), "failure",
                      "request_range", "key", rota_etcd_bytes (self->key));
}

/* 1: the key is ours, *ret_epoch; 0: another's. An attempt whose answer was lost is known by its lease. */
static int campaign (etcd_t *self, uint64_t *ret_epoch, rota_error_t *error)
{
    json_t *reply = NULL;
    leader_key_t key;
    int result = grant (self, error);
    if (result == 0)
        result = call (self, "/v3/kv/txn", campaign_body (self), CALL_MS, TRY_MS, &reply, error);
    if (result < 0)
        return result;
    bool succeeded = json_is_true (json_object_get (reply, "succeeded"));
    take_key (json_object_get (json_array_get (json_object_get (reply, "responses"), 0), "response_range"),
              &key);
    json_decref (reply);
    *ret_epoch = succeeded ? (uint64_t)self->revision : key.create_revision;
    return succeeded || (key.there && key.lease == self->lease);
}

/* ---- leading */

static bool stops (const etcd_t *self)
{
    return atomic_load (&self->stopping);
}

/* More servers to ask than were named. */
static void look_for_members (etcd_t *self, int64_t timeout_ms)
{
    int64_t now_ms = rota_clock_monotonic_ms ();
    if (now_ms < self->learn_ms)
        return;
    self->learn_ms = now_ms + LEARN_EVERY_MS;
    rota_etcd_learn (self->etcd, timeout_ms);
}

/* Somebody may have taken the key from us by hand. */
static bool is_ours (etcd_t *self, uint64_t epoch)
{
    rota_error_t error;
    leader_key_t key;
    return read_key (self, &key, &error) < 0 ||
           (key.there && key.lease == self->lease && key.create_revision == epoch);
}

/* While the lease can be renewed and the key is ours. On return the broker has been told that it leads no
 * more. */
static void lead (etcd_t *self, uint64_t epoch)
{
    rota_error_t error = {.text = ""};
    char text[NEWS_MAX_BYTES];
    int64_t watch_ms = 0; /* when to watch again */
    bool changed = false;
    int result = 0;
    snprintf (text, sizeof text, "leads by etcd, epoch %llu, lease of %lld ms", (unsigned long long)epoch,
              (long long)self->granted_ms);
    say (self, text);
    publish_leader (self, epoch);
    while (!stops (self) && result != -ENOENT && (!changed || is_ours (self, epoch))) {
        int64_t now_ms = rota_clock_boot_ms ();
        if (watch_ms != INT64_MAX && now_ms >= watch_ms) {
            rota_etcd_watch (self->etcd, self->key, self->revision);
            watch_ms = INT64_MAX;
        }
        changed = rota_etcd_wait (self->etcd, self->granted_ms / RENEWALS);
        if (changed)
            watch_ms = now_ms + WATCH_PAUSE_MS;
        int64_t left_ms = self->lease_until_ms - rota_clock_boot_ms ();
        if (stops (self) || left_ms <= 0)
            break;
        result = renew (self, left_ms, &error);
        if (result == 0) {
            publish_leader (self, epoch);
            look_for_members (self, self->granted_ms / RENEWALS);
        } else {
            say (self, error.text);
        }
    }
    publish_follower (self, "");
    if (!stops (self))
        say (self, "leads no more: the lease could not be renewed in time, or was taken");
}

/* ---- following */

static void follow (etcd_t *self, const leader_key_t *key)
{
    char text[NEWS_MAX_BYTES];
    publish_follower (self, key->value);
    snprintf (text, sizeof text, "stands by: %.*s leads by etcd, epoch %llu", (int)strcspn (key->value, " "),
              key->value[0] ? key->value : "another", (unsigned long long)key->create_revision);
    say (self, text);
    if (rota_clock_boot_ms () - self->followed_ms < FOLLOW_PAUSE_MS)
        rota_etcd_wait (self->etcd, FOLLOW_PAUSE_MS);
    self->followed_ms = rota_clock_boot_ms ();
    rota_etcd_watch (self->etcd, self->key, self->revision);
    rota_etcd_wait (self->etcd, LOOK_MS);
}

static int take_part (etcd_t *self, rota_error_t *error)
{
    leader_key_t key;
    uint64_t epoch = 0;
    int result = read_key (self, &key, error);
    if (result < 0)
        return result;
    look_for_members (self, TRY_MS);
    if (key.there && self->lease != 0 && key.lease == self->lease) {
        /* Ours still: only the time had passed without an answer. */
        result = renew (self, CALL_MS, error);
        if (result == 0)
            lead (self, key.create_revision);
        return result == -ENOENT ? 0 : result;
    }
    if (key.there) {
        follow (self, &key);
        return 0;
    }
    result = campaign (self, &epoch, error);
    if (result == 1)
        lead (self, epoch);
    else if (result == 0)
        give_lease_back (self);
    return result < 0 ? result : 0;
}

static void *run (void *owner)
{
    etcd_t *self = owner;
    rota_error_t error = {.text = ""};
    while (!stops (self)) {
        int result = take_part (self, &error);
        if (result == 0 || stops (self))
            continue;
        say (self, error.text);
        publish_follower (self, "");
        rota_etcd_wait (self->etcd, FAILED_PAUSE_MS);
    }
    rota_etcd_resume (self->etcd);
    give_lease_back (self);
    return NULL;
}

/* ---- the interface */

static int etcd_step (void *owner, int64_t boot_ms, rota_election_state_t *ret_state, int64_t *ret_again_ms,
                      rota_error_t *error)
{
    etcd_t *self = owner;
    uint64_t count;
    int64_t again_ms, now_ms = rota_clock_monotonic_ms ();
    int held = rota_role_lock_step (self->lock, now_ms, &again_ms, error);
    if (held < 0)
        return held;
    *ret_again_ms = boot_ms + (again_ms - now_ms);
    if (read (self->event_fd, &count, sizeof count) > 0) {
        pthread_mutex_lock (&self->mutex);
        *ret_state = self->shared;
        pthread_mutex_unlock (&self->mutex);
    }
    if (ret_state->leads && ret_state->until_ms < *ret_again_ms && ret_state->until_ms > boot_ms)
        *ret_again_ms = ret_state->until_ms;
    return 0;
}

static int etcd_descriptor (const void *self)
{
    return ((const etcd_t *)self)->event_fd;
}

static const char *etcd_news (void *owner)
{
    etcd_t *self = owner;
    pthread_mutex_lock (&self->mutex);
    memcpy (self->told, self->news, sizeof self->told);
    self->news[0] = '\0';
    pthread_mutex_unlock (&self->mutex);
    return self->told[0] ? self->told : NULL;
}

static void etcd_destroy (void *owner)
{
    etcd_t *self = owner;
    if (self->has_thread) {
        atomic_store (&self->stopping, true);
        rota_etcd_wake (self->etcd, true);
        pthread_join (self->thread, NULL);
    }
    rota_etcd_destroy (&self->etcd);
    rota_role_lock_destroy (&self->lock);
    if (self->event_fd >= 0)
        close (self->event_fd);
    pthread_mutex_destroy (&self->mutex);
    free (self->address);
    free (self);
}

static const rota_election_ops_t ETCD_OPS = {
    .name = "etcd",
    .step = etcd_step,
    .descriptor = etcd_descriptor,
    .news = etcd_news,
    .destroy = etcd_destroy,
};

static int take_directory (etcd_t *self, const rota_election_etcd_t *config, rota_error_t *error)
{
    char path[PATH_MAX];
    rota_role_lock_config_t lock = {.path = path, .role = "broker"};
    if (snprintf (path, sizeof path, "%s/broker.lock", config->state_dir) >= (int)sizeof path)
        return rota_error_set (error, -ENAMETOOLONG, "the state directory's path is too long");
    int result = rota_role_lock_new (&lock, &self->lock, error);
    return result == 0 ? rota_role_lock_try (self->lock, error) : result;
}

/* Signals are the broker's thread's. */
static int start_thread (etcd_t *self, rota_error_t *error)
{
    sigset_t all, usual;
    sigfillset (&all);
    pthread_sigmask (SIG_SETMASK, &all, &usual);
    int result = pthread_create (&self->thread, NULL, run, self);
    pthread_sigmask (SIG_SETMASK, &usual, NULL);
    if (result != 0)
        return rota_error_set (error, -result, "a thread for etcd: %s", strerror (result));
    self->has_thread = true;
    return 0;
}

int rota_election_etcd_new (const rota_election_etcd_t *config, rota_election_t **ret_election,
                            rota_error_t *error)
{
    etcd_t *self = calloc (1, sizeof *self);
    if (!self)
        return rota_error_set (error, -ENOMEM, "out of memory");
    self->base.ops = &ETCD_OPS;
    atomic_init (&self->stopping, false);
    pthread_mutex_init (&self->mutex, NULL);
    self->ttl_ms = config->ttl_ms;
    self->event_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->address = strdup (config->address);
    rota_etcd_config_t etcd = {.endpoints = config->endpoints,
                               .endpoints_count = config->endpoints_count,
                               .user = config->user,
                               .password_file = config->password_file,
                               .ca_file = config->ca_file,
                               .cert_file = config->cert_file,
                               .key_file = config->key_file};
    int result = 0;
    if (self->event_fd < 0 || !self->address)
        result = rota_error_set (error, -ENOMEM, "out of memory, or no descriptor left");
    if (snprintf (self->key, sizeof self->key, "%sleader", config->prefix) >= (int)sizeof self->key)
        result = rota_error_set (error, -EINVAL, "etcd's prefix is too long");
    if (result == 0)
        result = take_directory (self, config, error);
    if (result == 0)
        result = rota_etcd_new (&etcd, &self->etcd, error);
    if (result == 0)
        result = start_thread (self, error);
    if (result < 0) {
        etcd_destroy (self);
        return result;
    }
    *ret_election = &self->base;
    return 0;
}
