/* router.h - what becomes of a message: pure decisions from the catalogue, the sender and who is there.
 *
 * Owner: the broker's thread; nothing is kept. Source of the rules: proto/catalogue.def, docs/protocol.md.
 */
#ifndef ROTA_BROKER_ROUTER_H
#define ROTA_BROKER_ROUTER_H

#include "broker/presence.h"
#include "proto/envelope.h"

typedef enum {
    ROTA_ROUTE_BROKER,  /* the broker answers it itself */
    ROTA_ROUTE_FORWARD, /* to `target` */
    ROTA_ROUTE_REFUSE,  /* with `code` and `text` */
    ROTA_ROUTE_DROP     /* an answer that nobody waits for any more: counted */
} rota_route_kind_t;

typedef struct {
    rota_route_kind_t kind;
    const rota_catalogue_entry_t *entry; /* NULL for types that aren't ours */
    rota_member_t *target;
    Rota__ErrorCode code;
    const char *text;
    bool is_fault; /* the sender broke the protocol, which no circumstance explains */
} rota_route_t;

/* `decoded` is what rota_envelope_decode said; `envelope` counts only if that was 0. `sender` is NULL for a
 * connection that has not said HELLO. */
rota_route_t rota_router_decide (int decoded, const rota_envelope_t *envelope, size_t body_bytes,
                                 const rota_member_t *sender, const rota_presence_t *presence);

/* Messages to peers are answers, but for those with which the scheduler begins. A refused answer is never
 * answered. */
bool rota_router_is_answer (const rota_catalogue_entry_t *entry);

/* What may come by an endpoint of `endpoint_role`: itself, and for people's roles all that are less. */
bool rota_router_role_fits (Rota__Role endpoint_role, Rota__Role wanted);

/* The endpoint of all services is marked by ROLE_BROKER: any of them may come by it. */
#define ROTA_ENDPOINT_OF_SERVICES ROTA__ROLE__ROLE_BROKER

bool rota_role_is_client (Rota__Role role);

#endif
