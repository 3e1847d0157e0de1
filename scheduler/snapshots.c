#include "scheduler/snapshots.h"

#include <errno.h>
#include <string.h>

void rota_snapshots_start (rota_snapshots_t *self, int64_t interval_ms)
{
    self->count = 0;
    self->throttle = (rota_throttle_t){.interval_ms = interval_ms};
}

static bool is_same (const rota_envelope_t *a, const rota_envelope_t *b)
{
    return a->sequence == b->sequence && memcmp (a->sender, b->sender, sizeof a->sender) == 0 &&
           memcmp (a->conversation, b->conversation, sizeof a->conversation) == 0;
}

int rota_snapshots_wait (rota_snapshots_t *self, const rota_watcher_t *watcher)
{
    size_t i = 0;
    while (i < self->count && !is_same (&self->watchers[i].from, &watcher->from))
        i++;
    if (i == ROTA_SNAPSHOT_WATCHERS)
        return -ENOSPC;
    self->watchers[i] = *watcher;
    self->count += i == self->count;
    return 0;
}

typedef enum { WAITS, FIRST, NEXT, OVER } turn_t;

static turn_t turn_of (const rota_watcher_t *it, uint64_t version, bool due, int64_t now_ms)
{
    if (!it->version)
        return FIRST;
    if (it->version != version && due)
        return NEXT;
    return it->until_ms <= now_ms ? OVER : WAITS;
}

/* Those of one source together, so that each snapshot is made once. */
static bool answer_source (rota_snapshots_t *self, size_t first, uint64_t version, bool due, int64_t now_ms,
                           const rota_snapshots_to_t *to)
{
    uint32_t source = self->watchers[first].source;
    bool made = false;
    for (size_t i = first; i < self->count; i++) {
        rota_watcher_t *it = &self->watchers[i];
        turn_t turn = it->source == source && !it->answered ? turn_of (it, version, due, now_ms) : WAITS;
        if (turn == WAITS)
            continue;
        if (turn != OVER && !made) {
            to->make (to->owner, source);
            self->made++;
            made = true;
        }
        to->answer (to->owner, it, turn == OVER);
        it->answered = true;
    }
    return made;
}

void rota_snapshots_turn (rota_snapshots_t *self, uint64_t version, int64_t now_ms,
                          const rota_snapshots_to_t *to)
{
    bool made = false;
    if (!self->count) {
        self->version = version;
        return;
    }
    if (version != self->version)
        rota_throttle_note (&self->throttle);
    self->version = version;
    for (size_t i = 0; i < self->count && !self->throttle.changed; i++)
        if (self->watchers[i].version && self->watchers[i].version != version)
            rota_throttle_note (&self->throttle); /* it changed while this one did not wait */
    bool due = rota_throttle_wait_ms (&self->throttle, now_ms) == 0;
    for (size_t i = 0; i < self->count; i++)
        if (!self->watchers[i].answered)
            made |= answer_source (self, i, version, due, now_ms, to) && due;
    if (made)
        rota_throttle_go (&self->throttle, now_ms);
    size_t kept = 0;
    for (size_t i = 0; i < self->count; i++)
        if (!self->watchers[i].answered)
            self->watchers[kept++] = self->watchers[i];
    self->count = kept;
}
