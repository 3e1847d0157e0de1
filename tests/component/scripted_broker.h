/* scripted_broker.h - a broker that says what a test has it say, in the test's own thread and loop.
 *
 * By itself it greets peers and answers heartbeats; everything else goes to the test's `on_request`. One peer
 * at a time. Owner: the thread of the loop.
 */
#ifndef ROTA_TESTS_SCRIPTED_BROKER_H
#define ROTA_TESTS_SCRIPTED_BROKER_H

#include "proto/envelope.h"

#include <czmq.h>

typedef struct scripted_broker {
    zloop_t *loop;
    zsock_t *router;
    char endpoint[256];
    /* What it does. */
    bool silent;  /* answers nothing at all */
    bool refuses; /* no WELCOME: HELLO gets the error in `refusal` */
    Rota__Error refusal;
    uint32_t heartbeat_ms, dead_after_ms;
    uint64_t leader_cluster, leader_epoch; /* with WELCOME; 0 = absent */
    const char *events_endpoint;
    bool has_scheduler;
    uint8_t scheduler[16];
    void *owner;
    void (*on_request) (void *owner, struct scripted_broker *self, const rota_envelope_t *envelope,
                        const uint8_t *body, size_t size_bytes);
    /* What it saw. */
    int hellos, heartbeats, goodbyes, requests, malformed;
    rota_envelope_t last; /* of the requests */
    rota_envelope_t hello;
    Rota__Role wanted;
    uint8_t instance[16];
    zmq_msg_t route; /* of the peer */
    rota_arena_t *arena;
} scripted_broker_t;

/* Binds; ends the process when that can't be done. */
void scripted_broker_open (scripted_broker_t *self, zloop_t *loop, const char *endpoint);
void scripted_broker_close (scripted_broker_t *self); /* as a crash would */

void scripted_broker_answer (scripted_broker_t *self, const rota_envelope_t *request, uint32_t type,
                             const ProtobufCMessage *message);
void scripted_broker_refuse (scripted_broker_t *self, const rota_envelope_t *request, Rota__ErrorCode code,
                             uint32_t retry_after_ms, const char *leader, const char *text);
void scripted_broker_send (scripted_broker_t *self, const rota_envelope_t *envelope, const void *body,
                           size_t size_bytes);
/* Frames to the peer as they are, given as (const void *, size_t) pairs. */
void scripted_broker_send_frames (scripted_broker_t *self, size_t count, ...);

/* Runs the loop until `*value` is at least `wanted`. False after 20 s. */
bool loop_until (zloop_t *loop, const int *value, int wanted);
/* Runs the loop for that long; for what must not happen. */
void loop_for (zloop_t *loop, int duration_ms);

#endif
