/* fake_scheduler.h - what a sink needs of a scheduler, in a thread: an event log that a test fills and cuts.
 *
 * Event N is about task "tN". Owner: the test's thread; all functions may be called while it runs.
 */
#ifndef ROTA_TESTS_FAKE_SCHEDULER_H
#define ROTA_TESTS_FAKE_SCHEDULER_H

#include "bus/peer.h"

#include <pthread.h>

typedef struct {
    pthread_t thread;
    pthread_mutex_t lock;
    const char *endpoints;
    /* Under the lock: */
    bool stop;
    bool mute;            /* publishes no events, only the head */
    uint64_t first, head; /* of the log; nothing if first > head */
    uint64_t published;   /* live, so far */
    uint8_t store[16];
    size_t reason_bytes; /* of each event */
    uint64_t cursor;     /* as the sink told last, 0 = never */
    uint64_t pulls, queries;
    /* The thread's own: */
    zloop_t *loop;
    rota_peer_t *peer;
    zsock_t *publish;
    rota_arena_t *arena;
    char *reason;
} fake_scheduler_t;

void fake_scheduler_open (fake_scheduler_t *self, const char *endpoints);
void fake_scheduler_close (fake_scheduler_t *self);

void fake_scheduler_add (fake_scheduler_t *self, uint64_t events);
void fake_scheduler_cut (fake_scheduler_t *self, uint64_t first); /* retention */
/* Another store, with a log of `head` events. */
void fake_scheduler_restore (fake_scheduler_t *self, uint64_t head);
void fake_scheduler_mute (fake_scheduler_t *self, bool mute);
void fake_scheduler_reasons (fake_scheduler_t *self, size_t reason_bytes);
uint64_t fake_scheduler_cursor (fake_scheduler_t *self);
uint64_t fake_scheduler_pulls (fake_scheduler_t *self);

#endif
