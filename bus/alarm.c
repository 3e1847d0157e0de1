#include "bus/alarm.h"
#include "bus/clock.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct rota_alarm {
    zloop_t *loop;
    zmq_pollitem_t item;
    int64_t set_ms;
    void (*on_alarm) (void *owner);
    void *owner;
};

static int on_readable (zloop_t *loop, zmq_pollitem_t *item, void *argument)
{
    (void)loop;
    rota_alarm_t *self = argument;
    uint64_t expirations;
    if (read (item->fd, &expirations, sizeof expirations) != sizeof expirations)
        return 0;
    self->set_ms = INT64_MAX;
    self->on_alarm (self->owner);
    return 0;
}

rota_alarm_t *rota_alarm_new (zloop_t *loop, void (*on_alarm) (void *owner), void *owner)
{
    rota_alarm_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    *self = (rota_alarm_t){.loop = loop, .set_ms = INT64_MAX, .on_alarm = on_alarm, .owner = owner};
    self->item.events = ZMQ_POLLIN;
    self->item.fd = timerfd_create (CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (self->item.fd < 0 || zloop_poller (loop, &self->item, on_readable, self) != 0) {
        if (self->item.fd >= 0)
            close (self->item.fd);
        free (self);
        return NULL;
    }
    zloop_poller_set_tolerant (loop, &self->item);
    return self;
}

void rota_alarm_destroy (rota_alarm_t **self_p)
{
    rota_alarm_t *self = *self_p;
    if (!self)
        return;
    zloop_poller_end (self->loop, &self->item);
    close (self->item.fd);
    free (self);
    *self_p = NULL;
}

void rota_alarm_set (rota_alarm_t *self, int64_t at_ms)
{
    if (at_ms >= self->set_ms)
        return;
    /* Relative: what fakes the wall clock for a process takes absolute times for those of that clock. */
    int64_t left_ms = at_ms - rota_clock_monotonic_ms ();
    struct itimerspec when = {.it_value = {.tv_nsec = 1}}; /* a zero would disarm it */
    if (left_ms > 0)
        when.it_value = (struct timespec){.tv_sec = left_ms / 1000, .tv_nsec = left_ms % 1000 * 1000000};
    int failed = timerfd_settime (self->item.fd, 0, &when, NULL);
    assert (!failed);
    self->set_ms = at_ms;
}
