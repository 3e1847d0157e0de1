#include "broker/culprits.h"

#include <stdlib.h>

typedef struct {
    rota_route_key_t route;
    unsigned faults;
    bool is_mute, is_named;
    int64_t mute_until_ms;
    int64_t told_ms; /* HELLO_REQUIRED */
    int64_t last_ms;
    UT_hash_handle hh;
} culprit_t;

struct rota_culprits {
    size_t max_entries;
    culprit_t *entries; /* in order of their first fault */
};

rota_culprits_t *rota_culprits_new (size_t max_entries)
{
    rota_culprits_t *self = calloc (1, sizeof *self);
    if (self)
        self->max_entries = max_entries;
    return self;
}

static void drop (rota_culprits_t *self, culprit_t *entry)
{
    HASH_DEL (self->entries, entry);
    free (entry);
}

void rota_culprits_destroy (rota_culprits_t **self_p)
{
    rota_culprits_t *self = *self_p;
    if (!self)
        return;
    culprit_t *entry, *next;
    HASH_ITER (hh, self->entries, entry, next)
        drop (self, entry);
    free (self);
    *self_p = NULL;
}

static culprit_t *find (const rota_culprits_t *self, rota_route_key_t route)
{
    culprit_t *entry;
    HASH_FIND (hh, self->entries, &route, sizeof route, entry);
    return entry;
}

static culprit_t *find_or_add (rota_culprits_t *self, rota_route_key_t route, int64_t now_ms)
{
    culprit_t *entry = find (self, route);
    if (entry)
        return entry;
    if (HASH_COUNT (self->entries) >= self->max_entries)
        drop (self, self->entries);
    entry = calloc (1, sizeof *entry);
    if (!entry)
        return NULL;
    entry->route = route;
    entry->told_ms = now_ms - ROTA_BROKER_HELLO_REQUIRED_EVERY_MS;
    HASH_ADD (hh, self->entries, route, sizeof entry->route, entry);
    if (!entry->hh.tbl) {
        free (entry);
        return NULL;
    }
    return entry;
}

rota_culprit_verdict_t rota_culprits_fault (rota_culprits_t *self, rota_route_key_t route, int64_t now_ms)
{
    culprit_t *entry = find_or_add (self, route, now_ms);
    if (!entry)
        return ROTA_CULPRIT_SILENT;
    if (now_ms - entry->last_ms >= ROTA_BROKER_MUTE_MS) {
        entry->faults = 0;
        entry->is_mute = entry->is_named = false;
    }
    entry->last_ms = now_ms;
    if (entry->is_mute)
        return ROTA_CULPRIT_SILENT;
    entry->faults++;
    if (entry->faults <= ROTA_BROKER_FAULTS_ANSWERED)
        return entry->faults == 1 ? ROTA_CULPRIT_ANSWER_AND_LOG : ROTA_CULPRIT_ANSWER;
    entry->is_mute = true;
    entry->mute_until_ms = now_ms + ROTA_BROKER_MUTE_MS;
    return ROTA_CULPRIT_MUTE_FROM_NOW;
}

bool rota_culprits_is_mute (const rota_culprits_t *self, rota_route_key_t route, int64_t now_ms)
{
    if (!self->entries)
        return false;
    const culprit_t *entry = find (self, route);
    return entry && entry->is_mute && now_ms < entry->mute_until_ms;
}

bool rota_culprits_name (rota_culprits_t *self, rota_route_key_t route)
{
    culprit_t *entry = find (self, route);
    if (!entry || entry->is_named)
        return false;
    entry->is_named = true;
    return true;
}

bool rota_culprits_tell_stranger (rota_culprits_t *self, rota_route_key_t route, int64_t now_ms)
{
    culprit_t *entry = find_or_add (self, route, now_ms);
    if (!entry || now_ms - entry->told_ms < ROTA_BROKER_HELLO_REQUIRED_EVERY_MS)
        return false;
    entry->told_ms = now_ms;
    entry->last_ms = now_ms;
    return true;
}

void rota_culprits_forget (rota_culprits_t *self, int64_t now_ms)
{
    culprit_t *entry, *next;
    HASH_ITER (hh, self->entries, entry, next)
        if (now_ms >= entry->mute_until_ms && now_ms - entry->last_ms >= ROTA_BROKER_MUTE_MS)
            drop (self, entry);
}

size_t rota_culprits_count (const rota_culprits_t *self)
{
    return HASH_COUNT (self->entries);
}
