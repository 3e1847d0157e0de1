/* One scheduler of a state directory at a time: taking the role, standing by for it, showing that it is
 * alive.
 *
 * The lock lets one process at a time open the store, and has one that hangs ended before another opens it: a
 * process that is stopped inside a transaction holds SQLite's write lock for ever. The epoch in the store
 * (store.h) is what counts after that: who finds a higher one there writes nothing.
 */
#include "scheduler/service_internal.h"

#include "bus/clock.h"
#include "bus/log.h"

#include <limits.h>
#include <poll.h>

#define START_MS 300000 /* for opening, migrating and reading a large store */

static void say_news (service_t *self)
{
    for (const char *news; (news = rota_role_lock_news (self->role));)
        rota_log (ROTA_LOG_WARNING, "scheduler.role", "news=\"%s\"", news);
}

int rota_service_ask_role (service_t *self, rota_error_t *error)
{
    char path[PATH_MAX];
    rota_role_lock_config_t config = {
        .path = path,
        .role = "scheduler",
        .dead_after_ms = rota_setting_duration_ms (self->config.settings, ROTA_SETTING_ELECTION_TAKE_OVER)};
    if (snprintf (path, sizeof path, "%s/scheduler.lock", self->config.state_directory) >= (int)sizeof path)
        return rota_error_set (error, -ENAMETOOLONG, "the state directory's path is too long");
    int r = rota_role_lock_new (&config, &self->role, error);
    if (r == 0)
        r = rota_role_lock_try (self->role, error);
    if (r == 0)
        rota_service_hold_role (self, START_MS);
    return r == -EBUSY && self->config.stand_by ? 0 : r;
}

int rota_service_await_role (service_t *self, rota_error_t *error)
{
    while (!self->stopping) {
        int64_t now_ms = rota_clock_monotonic_ms (), again_ms;
        int r = rota_role_lock_step (self->role, now_ms, &again_ms, error);
        say_news (self);
        if (r < 0)
            return r;
        if (r == 1)
            break;
        struct pollfd items[] = {{.fd = self->stop_fd, .events = POLLIN},
                                 {.fd = rota_role_lock_fd (self->role), .events = POLLIN}};
        int64_t turn_ms = rota_ready_turn (self->config.ready, now_ms);
        again_ms = turn_ms < again_ms ? turn_ms : again_ms;
        if (poll (items, 2, again_ms > now_ms ? (int)(again_ms - now_ms) : 0) > 0 && items[0].revents)
            self->stopping = true;
    }
    rota_service_hold_role (self, START_MS);
    return 0;
}

void rota_service_keep_role (service_t *self)
{
    rota_error_t error;
    int64_t again_ms;
    if (self->role_allowance) {
        rota_role_lock_allow (self->role, 0);
        rota_ready_allow (self->config.ready, 0);
    }
    self->role_allowance = false;
    int r = rota_role_lock_step (self->role, rota_clock_monotonic_ms (), &again_ms, &error);
    if (r < 0)
        rota_service_fail (self, r, error.text);
}

void rota_service_hold_role (service_t *self, int64_t for_ms)
{
    self->role_allowance = true;
    rota_role_lock_allow (self->role, for_ms);
    rota_ready_allow (self->config.ready, for_ms);
}
