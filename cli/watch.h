/* watch.h - looks at work until it is settled: the loop under run, wait and submit --wait.
 *
 * Driven by events; the status is asked for only after something has changed, at most every 250 ms, and every
 * few seconds in case an event was missed. Ctrl-C is handled here because it is here that one waits.
 *
 * Owner thread: the link's.
 */
#ifndef ROTA_WATCH_H
#define ROTA_WATCH_H

#include "bus/throttle.h"
#include "cli/link.h"
#include "cli/progress.h"

/* What became of a set of tasks. */
typedef struct {
    uint64_t total, done, failed, blocked, cancelled, unreachable, unassignable, awaiting_human;
    uint64_t broke; /* held until somebody raises a budget */
} rota_verdict_t;

typedef struct {
    rota_link_t *link;
    rota_progress_t *progress;
    const char *source; /* what is watched: this source... */
    size_t id_count;    /* ...or, with ids, these tasks */
    const ProtobufCBinaryData *ids;
    int64_t timeout_ms;      /* 0 = none */
    bool wait_human;         /* go on while only people are awaited */
    uint64_t after;          /* events up to this number are known */
    uint64_t slots;          /* set by the watch: the newest figure */
    rota_verdict_t verdict;  /* set by the watch: how it stands */
    rota_throttle_t changes; /* the watch's own */
    bool over;
} rota_watch_t;

/* `watch` is given to the client's subscription and must live as long as the link. Once for each link.
 * Returns when it is settled (ROTA_EXIT_DONE: the caller asks what came of it), or ROTA_EXIT_TIMEOUT,
 * ROTA_EXIT_INTERRUPTED (what was ours to stop has been stopped), ROTA_EXIT_UNREACHABLE after a message. */
int rota_watch (rota_watch_t *watch);

/* Counts Ctrl-C (SIGINT, SIGTERM, SIGHUP) from now on; the third one leaves at once. */
void rota_watch_signals (void);
extern volatile sig_atomic_t rota_watch_interrupts;

void rota_verdict_of_status (const Rota__StatusReply *status, rota_verdict_t *ret_verdict);
/* Design section 9 in one place. */
int rota_verdict_code (const rota_verdict_t *verdict);

#endif
