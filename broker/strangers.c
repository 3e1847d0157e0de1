#include "broker/strangers.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define SAID_EVERY_MS 60000

typedef struct {
    char address[ROTA_STRANGERS_ADDRESS_BYTES];
    int64_t window_ms;        /* when the present window began */
    uint64_t accepted;        /* in it */
    uint64_t accepted_before; /* in the one before: those that will ask have done so at the end of this one */
    uint64_t asked;
    uint64_t unsaid;
    int64_t said_ms;
    UT_hash_handle hh;
} entry_t;

struct rota_strangers {
    size_t max_addresses;
    int64_t window_ms;
    entry_t *entries; /* in order of their first connection */
    char said[ROTA_STRANGERS_ADDRESS_BYTES];
};

rota_strangers_t *rota_strangers_new (size_t max_addresses, int64_t window_ms)
{
    rota_strangers_t *self = calloc (1, sizeof *self);
    if (self) {
        self->max_addresses = max_addresses;
        self->window_ms = window_ms;
    }
    return self;
}

static void drop (rota_strangers_t *self, entry_t *entry)
{
    HASH_DEL (self->entries, entry);
    free (entry);
}

void rota_strangers_destroy (rota_strangers_t **self_p)
{
    rota_strangers_t *self = *self_p;
    if (!self)
        return;
    while (self->entries)
        drop (self, self->entries);
    free (self);
    *self_p = NULL;
}

static entry_t *find_or_add (rota_strangers_t *self, const char *address, int64_t now_ms)
{
    entry_t *entry;
    HASH_FIND_STR (self->entries, address, entry);
    if (entry)
        return entry;
    if (HASH_COUNT (self->entries) >= self->max_addresses)
        drop (self, self->entries);
    entry = calloc (1, sizeof *entry);
    if (!entry)
        return NULL;
    snprintf (entry->address, sizeof entry->address, "%s", address);
    entry->window_ms = now_ms;
    entry->said_ms = now_ms - SAID_EVERY_MS;
    HASH_ADD_STR (self->entries, address, entry);
    if (entry->hh.tbl)
        return entry;
    free (entry);
    return NULL;
}

void rota_strangers_accepted (rota_strangers_t *self, const char *address, int64_t now_ms)
{
    entry_t *entry = find_or_add (self, address, now_ms);
    if (entry)
        entry->accepted++;
}

void rota_strangers_asked (rota_strangers_t *self, const char *address)
{
    entry_t *entry;
    HASH_FIND_STR (self->entries, address, entry);
    if (entry)
        entry->asked++;
}

static void end_window (entry_t *entry, int64_t now_ms)
{
    if (entry->accepted_before > entry->asked)
        entry->unsaid += entry->accepted_before - entry->asked;
    entry->asked -= entry->asked < entry->accepted_before ? entry->asked : entry->accepted_before;
    entry->accepted_before = entry->accepted;
    entry->accepted = 0;
    entry->window_ms = now_ms;
}

const char *rota_strangers_next (rota_strangers_t *self, int64_t now_ms, uint64_t *ret_connections)
{
    entry_t *entry, *next;
    HASH_ITER (hh, self->entries, entry, next) {
        if (now_ms - entry->window_ms >= self->window_ms)
            end_window (entry, now_ms);
        bool due = now_ms - entry->said_ms >= SAID_EVERY_MS;
        if (due && entry->unsaid > 0) {
            memcpy (self->said, entry->address, sizeof self->said);
            *ret_connections = entry->unsaid;
            entry->unsaid = 0;
            entry->said_ms = now_ms;
            return self->said;
        }
        if (due && !entry->accepted && !entry->accepted_before)
            drop (self, entry);
    }
    return NULL;
}
