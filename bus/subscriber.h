/* subscriber.h - the event log as a stream: each event once, in order, none left out without a word.
 *
 * Live events come from the brokers' PUB (EVENT_BATCH, and EVENT_HEAD each second); whatever is missing
 * between the last one delivered and what PUB shows is pulled with EVENTS_QUERY through the peer. Where
 * retention has removed events, on_gap says which.
 *
 * Owner: the peer's thread. Invariant: the sequence numbers given to on_event rise.
 */
#ifndef ROTA_SUBSCRIBER_H
#define ROTA_SUBSCRIBER_H

#include "bus/peer.h"

typedef struct rota_subscriber rota_subscriber_t;

typedef struct {
    uint64_t after; /* deliver what has a greater number; ROTA_SUBSCRIBER_NOW = from now on */
    void *owner;
    void (*on_event) (void *owner, const Rota__Event *event);                    /* borrowed */
    void (*on_gap) (void *owner, uint64_t first_missing, uint64_t last_missing); /* may be NULL */
    /* After every batch of on_event calls, with the last number delivered; may be NULL. */
    void (*on_batch) (void *owner, uint64_t last);
} rota_subscriber_config_t;

#define ROTA_SUBSCRIBER_NOW UINT64_MAX

/* The peer must outlive it. Works before the peer is ready and across its reconnections: feed it from the
 * peer's on_state with rota_subscriber_welcome. */
rota_subscriber_t *rota_subscriber_new (const rota_subscriber_config_t *config, rota_peer_t *peer,
                                        zloop_t *loop, rota_error_t *error);
void rota_subscriber_destroy (rota_subscriber_t **self_p);
void rota_subscriber_welcome (rota_subscriber_t *self, const Rota__Welcome *welcome);
uint64_t rota_subscriber_last (const rota_subscriber_t *self);

#endif
