#include "bus/ready.h"

#include "bus/alarm.h"
#include "bus/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#define STATUS_EVERY_MS 5000 /* so old may what systemctl shows be */
#define STATUS_BYTES 256

struct rota_ready {
    int64_t watchdog_ms; /* 0 = nobody watches */
    int64_t every_ms, next_ms;
    rota_ready_describe_fn describe;
    void *owner;
    char status[STATUS_BYTES]; /* as last said */
    rota_alarm_t *alarm;
};

rota_ready_t *rota_ready_new (void)
{
    uint64_t watchdog_us = 0;
    const char *socket = getenv ("NOTIFY_SOCKET");
    rota_ready_t *self = socket && *socket ? calloc (1, sizeof *self) : NULL;
    if (!self)
        return NULL;
    if (sd_watchdog_enabled (0, &watchdog_us) > 0)
        self->watchdog_ms = (int64_t)(watchdog_us / 1000);
    self->every_ms = STATUS_EVERY_MS;
    if (self->watchdog_ms && self->watchdog_ms / 2 < self->every_ms)
        self->every_ms = self->watchdog_ms / 2 > 0 ? self->watchdog_ms / 2 : 1;
    return self;
}

void rota_ready_destroy (rota_ready_t **self_p)
{
    rota_ready_t *self = *self_p;
    if (!self)
        return;
    rota_ready_detach (self);
    free (self);
    *self_p = NULL;
}

void rota_ready_serving (rota_ready_t *self)
{
    if (self)
        sd_notify (0, "READY=1");
}

void rota_ready_stopping (rota_ready_t *self)
{
    if (!self)
        return;
    rota_ready_detach (self);
    sd_notify (0, "STOPPING=1\nSTATUS=stops");
}

void rota_ready_describe (rota_ready_t *self, rota_ready_describe_fn describe, void *owner)
{
    if (!self)
        return;
    self->describe = describe;
    self->owner = owner;
}

int64_t rota_ready_turn (rota_ready_t *self, int64_t now_ms)
{
    char status[STATUS_BYTES] = "";
    if (!self)
        return INT64_MAX;
    if (now_ms < self->next_ms)
        return self->next_ms;
    if (self->describe)
        self->describe (self->owner, status, sizeof status);
    bool changed = strcmp (status, self->status) != 0;
    if (changed)
        memcpy (self->status, status, sizeof status);
    if (self->watchdog_ms || changed)
        sd_notifyf (0, "%s%s%s", self->watchdog_ms ? "WATCHDOG=1\n" : "", changed ? "STATUS=" : "",
                    changed ? status : "");
    self->next_ms = now_ms + self->every_ms;
    return self->next_ms;
}

static void on_alarm (void *owner)
{
    rota_ready_t *self = owner;
    rota_alarm_set (self->alarm, rota_ready_turn (self, rota_clock_monotonic_ms ()));
}

int rota_ready_attach (rota_ready_t *self, zloop_t *loop, rota_ready_describe_fn describe, void *owner)
{
    if (!self)
        return 0;
    rota_ready_describe (self, describe, owner);
    self->alarm = rota_alarm_new (loop, on_alarm, self);
    if (!self->alarm)
        return -ENOMEM;
    rota_alarm_set (self->alarm, rota_clock_monotonic_ms ());
    return 0;
}

void rota_ready_detach (rota_ready_t *self)
{
    if (!self)
        return;
    rota_alarm_destroy (&self->alarm);
    self->describe = NULL;
}

/* systemd's word for it differs with what it waits for: the start, or the next turn. */
void rota_ready_allow (rota_ready_t *self, int64_t extra_ms)
{
    if (!self)
        return;
    if (extra_ms)
        sd_notifyf (0, "EXTEND_TIMEOUT_USEC=%lld", (long long)extra_ms * 1000);
    if (self->watchdog_ms)
        sd_notifyf (0, "WATCHDOG_USEC=%lld", (long long)(self->watchdog_ms + extra_ms) * 1000);
}
