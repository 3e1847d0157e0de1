/* gather.h - the figures of all services, asked for over the bus, as one text.
 *
 * The scheduler says its own and those of tasks and agents, the broker its own; one that doesn't answer
 * within two seconds is down in that text (rota_up 0) and everything else is there all the same. Nothing is
 * asked unless somebody wants the text.
 *
 * Owner: the peer's thread. The peer is destroyed first.
 */
#ifndef ROTA_GATHER_H
#define ROTA_GATHER_H

#include "bus/metrics.h"
#include "bus/peer.h"

typedef struct rota_gather rota_gather_t;

typedef struct {
    rota_peer_t *peer;
    void *owner;
    void (*add_own) (void *owner, rota_metrics_t *metrics);
    void (*on_text) (void *owner, const char *text, size_t size_bytes); /* borrowed */
} rota_gather_config_t;

rota_gather_t *rota_gather_new (const rota_gather_config_t *config); /* NULL on no memory */
void rota_gather_destroy (rota_gather_t **self_p);
/* on_text follows, perhaps from within this call; at once nothing when one is on its way. */
void rota_gather_start (rota_gather_t *self);

#endif
