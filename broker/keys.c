#include "broker/keys.h"

#include "bus/log.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define LOG_EVERY_MS 10000
#define WATCHED                                                                                              \
    (IN_CLOSE_WRITE | IN_MODIFY | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB |          \
     IN_DELETE_SELF | IN_MOVE_SELF)

typedef struct {
    char key[ROTA_KEY_HEX_BYTES];
    rota_grant_t grant; /* no roles = revoked */
    bool let_in;
    UT_hash_handle hh;
} entry_t;

struct rota_keys {
    char directory[PATH_MAX];
    char granted[PATH_MAX + sizeof "/granted"];
    int notify_fd, watch;
    bool stale;            /* what is there could not be read */
    struct timespec mtime; /* of the directory, when it was read */
    entry_t *entries;
};

static void free_entries (entry_t **entries)
{
    entry_t *entry, *next;
    HASH_ITER (hh, *entries, entry, next) {
        HASH_DEL (*entries, entry);
        free (entry);
    }
}

static entry_t *find (entry_t *entries, const char *key)
{
    entry_t *entry;
    HASH_FIND_STR (entries, key, entry);
    return entry;
}

/* ---- reading */

static int take (void *owner, const char *name, const rota_grant_t *grant, const rota_error_t *error)
{
    entry_t **entries = owner, *entry;
    char key[ROTA_KEY_HEX_BYTES], quoted[2 * ROTA_ERROR_MAX_BYTES];

    if (!grant) {
        rota_log_limited (ROTA_LOG_WARNING, "key.grant_refused", name, LOG_EVERY_MS, "reason=%s",
                          rota_log_quote (error->text, strlen (error->text), quoted, sizeof quoted));
        return 0;
    }
    rota_key_to_hex (grant->public_key, key);
    entry = find (*entries, key);
    if (entry) { /* named twice */
        entry->grant.roles &= grant->revoked[0] ? 0 : grant->roles;
        /* Whose names both allow can't be said but where they say the same. */
        if (!grant->agents[0] || strcmp (entry->grant.agents, grant->agents) != 0)
            entry->grant.roles &= ~(1u << ROTA__ROLE__ROLE_AGENT);
        return 0;
    }
    if (HASH_COUNT (*entries) >= ROTA_BROKER_MAX_GRANTS)
        return -E2BIG;
    entry = calloc (1, sizeof *entry);
    if (!entry)
        return -ENOMEM;
    memcpy (entry->key, key, sizeof key);
    entry->grant = *grant;
    if (grant->revoked[0])
        entry->grant.roles = 0;
    HASH_ADD_STR (*entries, key, entry);
    if (!entry->hh.tbl) {
        free (entry);
        return -ENOMEM;
    }
    return 0;
}

/* What of the old table's matters in the new one. */
static rota_keys_news_t compare (rota_keys_t *self, entry_t *fresh)
{
    rota_keys_news_t news = ROTA_KEYS_CHANGED;
    for (entry_t *old = self->entries; old; old = old->hh.next) {
        entry_t *entry = find (fresh, old->key);
        if (entry)
            entry->let_in = old->let_in;
        uint32_t lost = old->grant.roles & ~(entry ? entry->grant.roles : 0);
        if (lost)
            rota_log (ROTA_LOG_INFO, "key.taken_back", "name=%s key=%.16s", old->grant.name, old->key);
        if (lost && old->let_in)
            news = ROTA_KEYS_TAKEN_BACK;
    }
    return news;
}

/* The watch is there before the directory is read, so that no change falls in between. */
static void watch (rota_keys_t *self)
{
    if (self->watch < 0)
        self->watch = inotify_add_watch (self->notify_fd, self->granted, WATCHED | IN_ONLYDIR);
}

static struct timespec time_of (const rota_keys_t *self)
{
    struct stat status;
    return stat (self->granted, &status) == 0 ? status.st_mtim : (struct timespec){.tv_sec = 0};
}

static int read_again (rota_keys_t *self, rota_keys_news_t *ret_news, rota_error_t *error)
{
    entry_t *fresh = NULL;
    struct timespec mtime = time_of (self);
    watch (self);
    int status = rota_grants_read (self->directory, take, &fresh, error);
    self->stale = status < 0;
    self->mtime = mtime;
    if (status == -EMFILE || status == -ENFILE || status == -ENOMEM) {
        free_entries (&fresh);
        return status;
    }
    if (status == -E2BIG)
        rota_error_set (error, status, "%s: more than %d grants", self->granted, ROTA_BROKER_MAX_GRANTS);
    if (status < 0)
        free_entries (&fresh);
    *ret_news = compare (self, fresh);
    free_entries (&self->entries);
    self->entries = fresh;
    return status;
}

rota_keys_t *rota_keys_new (const char *directory, rota_error_t *error)
{
    rota_keys_news_t news;
    rota_keys_t *self = calloc (1, sizeof *self);
    if (!self) {
        rota_error_set (error, -ENOMEM, "no memory");
        return NULL;
    }
    snprintf (self->directory, sizeof self->directory, "%s", directory);
    snprintf (self->granted, sizeof self->granted, "%s/granted", self->directory);
    self->watch = -1;
    self->notify_fd = inotify_init1 (IN_CLOEXEC | IN_NONBLOCK);
    if (self->notify_fd < 0)
        rota_error_set (error, -errno, "can't watch %s: %s", self->granted, strerror (errno));
    if (self->notify_fd < 0 || read_again (self, &news, error) < 0)
        rota_keys_destroy (&self);
    return self;
}

void rota_keys_destroy (rota_keys_t **self_p)
{
    rota_keys_t *self = *self_p;
    if (!self)
        return;
    free_entries (&self->entries);
    if (self->notify_fd >= 0)
        close (self->notify_fd);
    free (self);
    *self_p = NULL;
}

int rota_keys_fd (const rota_keys_t *self)
{
    return self->notify_fd;
}

/* Which file it was doesn't matter: all are read. */
static bool was_told (rota_keys_t *self)
{
    char events[4096] __attribute__ ((aligned (__alignof__(struct inotify_event))));
    bool told = false;
    ssize_t size;
    while ((size = read (self->notify_fd, events, sizeof events)) > 0) {
        told = true;
        for (char *at = events; at < events + size;) {
            const struct inotify_event *event = (const struct inotify_event *)at;
            if (event->mask & (IN_IGNORED | IN_MOVE_SELF) && event->wd == self->watch) {
                if (event->mask & IN_MOVE_SELF)
                    inotify_rm_watch (self->notify_fd, self->watch);
                self->watch = -1; /* another directory may have its name by now */
            }
            at += sizeof *event + event->len;
        }
    }
    return told;
}

rota_keys_news_t rota_keys_look (rota_keys_t *self, bool thoroughly)
{
    rota_keys_news_t news = ROTA_KEYS_SAME;
    rota_error_t error = {""};
    bool due = was_told (self);
    if (thoroughly && !due) {
        struct timespec mtime = time_of (self);
        due = self->stale || self->watch < 0 || mtime.tv_sec != self->mtime.tv_sec ||
              mtime.tv_nsec != self->mtime.tv_nsec;
    }
    if (due && read_again (self, &news, &error) < 0)
        rota_log_limited (ROTA_LOG_ERROR, "key.grants_unreadable", "key.grants_unreadable", LOG_EVERY_MS,
                          "granted=%u reason=\"%s\"", HASH_COUNT (self->entries), error.text);
    return news;
}

/* ---- asking */

const rota_grant_t *rota_keys_find (const rota_keys_t *self, const char *key)
{
    const entry_t *entry = find (self->entries, key);
    return entry && entry->grant.roles ? &entry->grant : NULL;
}

const char *rota_keys_revoked (const rota_keys_t *self, const char *key)
{
    const entry_t *entry = find (self->entries, key);
    return entry && !entry->grant.roles ? entry->grant.name : NULL;
}

void rota_keys_let_in (rota_keys_t *self, const char *key)
{
    entry_t *entry = find (self->entries, key);
    if (entry)
        entry->let_in = true;
}

void rota_keys_all_out (rota_keys_t *self)
{
    for (entry_t *entry = self->entries; entry; entry = entry->hh.next)
        entry->let_in = false;
}
