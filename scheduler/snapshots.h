/* snapshots.h - who waits for the next snapshot of the state, and when they get one.
 *
 * A watcher says which version it has, and waits: it is answered when there is another one, at most once in
 * an interval for all of them together, and the last change of a burst always comes. Nobody waits: nothing is
 * made. Nothing changed: nothing is made, and after its time the watcher hears that. A snapshot is made once
 * however many wait for it. Who has none yet gets one at once.
 *
 * Owner: the scheduler's thread. The time is passed in.
 */
#ifndef ROTA_SNAPSHOTS_H
#define ROTA_SNAPSHOTS_H

#include "bus/throttle.h"
#include "proto/envelope.h"

#define ROTA_SNAPSHOT_INTERVAL_MS 2000
#define ROTA_SNAPSHOT_WATCHERS 256
#define ROTA_SNAPSHOT_WAIT_MS                                                                                \
    20000 /* the longest; below the age after which the broker forgets a request                             \
           */

typedef struct {
    rota_envelope_t from;
    uint32_t source;  /* of the tasks that it is about; UINT32_MAX = all */
    uint64_t version; /* that it has; 0 = none */
    int64_t until_ms;
    bool answered; /* our own */
} rota_watcher_t;

typedef struct {
    rota_watcher_t watchers[ROTA_SNAPSHOT_WATCHERS];
    size_t count;
    rota_throttle_t throttle;
    uint64_t version; /* when it was looked last */
    uint64_t made;    /* snapshots */
} rota_snapshots_t;

typedef struct {
    void *owner;
    /* A new snapshot of the source, kept until the next one. */
    void (*make) (void *owner, uint32_t source);
    /* The one made last, or that there is no other than the watcher has. */
    void (*answer) (void *owner, const rota_watcher_t *to, bool unchanged);
} rota_snapshots_to_t;

void rota_snapshots_start (rota_snapshots_t *self, int64_t interval_ms);
/* 0; -ENOSPC: too many wait already. One that asks again takes its own place. */
int rota_snapshots_wait (rota_snapshots_t *self, const rota_watcher_t *watcher);
/* Answers those whose turn has come. `version` of the state now. */
void rota_snapshots_turn (rota_snapshots_t *self, uint64_t version, int64_t now_ms,
                          const rota_snapshots_to_t *to);

#endif
