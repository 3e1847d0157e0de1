/* throttle.h - at most once in an interval, and never too late: the last change of a burst is not lost.
 *
 * The first change goes at once; those that come within the interval after it go together when it is over.
 * Without a change nothing is due. A value of the caller's; the time is passed in, so that tests need no
 * clock.
 */
#ifndef ROTA_THROTTLE_H
#define ROTA_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int64_t interval_ms;
    int64_t last_ms; /* when it went last */
    bool went, changed;
} rota_throttle_t;

static inline void rota_throttle_note (rota_throttle_t *self)
{
    self->changed = true;
}

/* In how many ms it may go; 0 = now, -1 = nothing has changed. */
static inline int64_t rota_throttle_wait_ms (const rota_throttle_t *self, int64_t now_ms)
{
    if (!self->changed)
        return -1;
    int64_t gone_ms = now_ms - self->last_ms;
    bool over = !self->went || gone_ms < 0 || gone_ms >= self->interval_ms; /* < 0: the clock was set back */
    return over ? 0 : self->interval_ms - gone_ms;
}

/* It goes, whoever asked. */
static inline void rota_throttle_go (rota_throttle_t *self, int64_t now_ms)
{
    self->went = true;
    self->changed = false;
    self->last_ms = now_ms;
}

/* True: it is due, and counts as gone. */
static inline bool rota_throttle_take (rota_throttle_t *self, int64_t now_ms)
{
    if (rota_throttle_wait_ms (self, now_ms) != 0)
        return false;
    rota_throttle_go (self, now_ms);
    return true;
}

#endif
