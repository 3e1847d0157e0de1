/* Events for whoever subscribes: after the commit, and each second the number of the newest. */
#include "scheduler/service_internal.h"

#include <zmq.h>

#define EVENTS_A_MESSAGE 1000

static void publish (service_t *self, uint32_t type, const ProtobufCMessage *message)
{
    uint8_t head[ROTA_ENVELOPE_MAX_BYTES], *body;
    size_t size;
    if (!self->publish || rota_body_encode (type, message, &body, &size) < 0)
        return;
    rota_envelope_t envelope = {
        .version = ROTA_PROTOCOL_VERSION, .type = type, .role = ROTA__ROLE__ROLE_SCHEDULER};
    rota_service_fill_envelope (self, &envelope);
    size_t head_size = rota_envelope_encode (&envelope, head);
    void *socket = zsock_resolve (self->publish);
    /* Subscribers replay what they miss: a full queue is no reason to wait. */
    if (zmq_send (socket, "e", 1, ZMQ_SNDMORE | ZMQ_DONTWAIT) == 1 &&
        zmq_send (socket, head, head_size, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0)
        zmq_send (socket, body, size, ZMQ_DONTWAIT);
    free (body);
}

void rota_service_publish_events (service_t *self, const rota_core_effects_t *effects, uint64_t first,
                                  int64_t wall_ms)
{
    Rota__EventBatch batch = ROTA__EVENT_BATCH__INIT;
    Rota__Event *items = calloc (EVENTS_A_MESSAGE, sizeof *items);
    Rota__Event **list = calloc (EVENTS_A_MESSAGE, sizeof (Rota__Event *));
    batch.events = list;
    for (size_t i = 0; items && list && i < effects->event_count; i++) {
        rota_stored_event_t stored = {.seq = first + i, .time_ms = wall_ms, .event = effects->events[i]};
        stored.reason_length = stored.event.reason ? strlen (stored.event.reason) : 0;
        list[batch.n_events] = &items[batch.n_events];
        rota_event_message (self, &stored, list[batch.n_events++]);
        if (batch.n_events == EVENTS_A_MESSAGE || i + 1 == effects->event_count) {
            publish (self, ROTA_MESSAGE_EVENT_BATCH, &batch.base);
            batch.n_events = 0;
        }
    }
    free (items);
    free (list);
    self->published_head = first + effects->event_count - 1;
}

int rota_service_on_head_timer (zloop_t *loop, int timer, void *owner)
{
    (void)loop;
    (void)timer;
    service_t *self = owner;
    Rota__EventHead head = ROTA__EVENT_HEAD__INIT;
    head.has_last = true;
    head.last = self->published_head;
    publish (self, ROTA_MESSAGE_EVENT_HEAD, &head.base);
    return 0;
}
