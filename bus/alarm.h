/* alarm.h - one point in time at which a loop calls back.
 *
 * A timerfd in the zloop instead of a zloop timer, because zloop_start begins the delay of each timer anew:
 * in a loop that is run in short turns a long one would never end.
 *
 * Owner: the loop's thread. The loop must outlive the alarm.
 */
#ifndef ROTA_ALARM_H
#define ROTA_ALARM_H

#include <czmq.h>
#include <stdint.h>

typedef struct rota_alarm rota_alarm_t;

/* NULL on no memory or no descriptor (errno). */
rota_alarm_t *rota_alarm_new (zloop_t *loop, void (*on_alarm) (void *owner), void *owner);
void rota_alarm_destroy (rota_alarm_t **self_p);

/* Calls back at `at_ms` (monotonic) or before it: a time set earlier and nearer stands, so that moving a
 * deadline away costs nothing. The owner looks at the clock and sets it again. INT64_MAX = no wish. */
void rota_alarm_set (rota_alarm_t *self, int64_t at_ms);

#endif
