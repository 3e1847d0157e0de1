/* The next state, for those who watch: when they get it is decided in snapshots.c. */
#include "scheduler/service_internal.h"

HANDLER (snapshot)
{
    const Rota__SnapshotQuery *query = (const Rota__SnapshotQuery *)message;
    rota_watcher_t watcher = {.from = *from, .version = query->version};
    uint32_t wait_ms = query->wait_ms < ROTA_SNAPSHOT_WAIT_MS ? query->wait_ms : ROTA_SNAPSHOT_WAIT_MS;
    if (!rota_read_source (self, query->has_source, query->source, &watcher.source)) {
        rota_service_refuse (self, from, ERROR_CODE (NOT_FOUND), "there is no source %.*s",
                             (int)(query->source.len > 200 ? 200 : query->source.len),
                             (const char *)query->source.data);
        return;
    }
    watcher.until_ms = rota_service_now_ms (self) + wait_ms;
    if (rota_snapshots_wait (&self->snapshots, &watcher) < 0)
        rota_service_refuse (self, from, ERROR_CODE (BUSY), "%d watch already", ROTA_SNAPSHOT_WATCHERS);
}

typedef struct {
    service_t *service;
    Rota__StatusReply reply;
} snapshot_t;

static void make (void *owner, uint32_t source)
{
    snapshot_t *self = owner;
    rota__status_reply__init (&self->reply);
    rota_fill_status (self->service, source, &self->reply);
}

static void answer (void *owner, const rota_watcher_t *to, bool unchanged)
{
    snapshot_t *self = owner;
    Rota__StatusReply same = ROTA__STATUS_REPLY__INIT;
    same.has_version = same.has_unchanged = same.unchanged = same.has_settled = true;
    same.version = to->version;
    if (unchanged)
        same.settled =
            rota_core_is_settled (self->service->core, to->source, rota_service_now_ms (self->service));
    rota_service_answer (self->service, &to->from, ROTA_MESSAGE_STATUS_REPLY,
                         unchanged ? &same.base : &self->reply.base);
}

void rota_service_turn_snapshots (service_t *self)
{
    snapshot_t snapshot = {.service = self};
    const rota_snapshots_to_t to = {.owner = &snapshot, .make = make, .answer = answer};
    rota_snapshots_turn (&self->snapshots, rota_state_version (self), rota_service_now_ms (self), &to);
}
