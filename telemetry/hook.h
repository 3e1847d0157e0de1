/* hook.h - who wants to know of what happens: web servers and a program, told of chosen events.
 *
 * Each hook follows the event log by a subscription of its own, from a cursor of its own
 * (STATE/hooks/NAME/cursor): the number of the last event that it is done with. So none waits for another, a
 * restart goes on where it was (a notification on its way then comes again, with the same delivery id), and
 * what waits is bounded: with ROTA_HOOK_QUEUE of them the subscription ends, and begins again when there is
 * room.
 *
 * Notifications of one hook go in order. One that isn't taken is tried again after telemetry.hook_retry,
 * doubling to five minutes; when the event is older than telemetry.hook_patience, a failed try is the last,
 * which is logged and counted.
 *
 * Owner: the sink's thread.
 */
#ifndef ROTA_HOOK_H
#define ROTA_HOOK_H

#include "bus/metrics.h"
#include "bus/peer.h"
#include "bus/settings.h"

#define ROTA_HOOK_QUEUE 64

typedef struct rota_hooks rota_hooks_t; /* all of them */

typedef struct {
    const char *state_directory;
    const rota_settings_t *settings;
    rota_peer_t *peer;
    zloop_t *loop;
} rota_hooks_config_t;

/* The settings of the section that concern hooks: 0, or -EINVAL with what is wrong and where. */
int rota_hooks_check (const rota_settings_t *settings, rota_error_t *error);
/* 0 and *ret_hooks, which is NULL when none is wanted; -EINVAL; what the kernel says of their directory. */
int rota_hooks_new (const rota_hooks_config_t *config, rota_hooks_t **ret_hooks, rota_error_t *error);
void rota_hooks_destroy (rota_hooks_t **self_p);

/* All of the following take NULL. */
/* The scheduler answers; its store, the number of its last event, and that up to which events are old news
 * for a hook that is new. */
void rota_hooks_store (rota_hooks_t *self, const uint8_t store[16], uint64_t last, uint64_t known);
void rota_hooks_welcome (rota_hooks_t *self, const Rota__Welcome *welcome);
/* No more events; what waits may still go, a try each. False when nothing does. */
void rota_hooks_stop (rota_hooks_t *self);
bool rota_hooks_are_busy (const rota_hooks_t *self);
void rota_hooks_add_metrics (const rota_hooks_t *self, rota_metrics_t *metrics);

/* What kind of news an event is: "blocked", "failed", ...; NULL = none. */
const char *rota_hook_kind (const Rota__Event *event);

#endif
