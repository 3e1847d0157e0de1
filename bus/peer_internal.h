/* peer_internal.h - what peer.c (the connection's life) and peer_requests.c (messages and requests) share. */
#ifndef ROTA_PEER_INTERNAL_H
#define ROTA_PEER_INTERNAL_H

#include "bus/alarm.h"
#include "bus/connection.h"
#include "bus/endpoint.h"
#include "bus/peer.h"
#include "bus/requests.h"

typedef enum {
    PEER_PAUSED,     /* the next endpoint is tried at try_ms; an old connection may be left, unheard */
    PEER_CONNECTING, /* there is a socket, no connection that stands */
    PEER_GREETING,   /* HELLO said */
    PEER_READY,
} rota_peer_life_t;

struct rota_peer {
    rota_peer_config_t config;
    rota_endpoints_t endpoints;
    char name[256];
    char host[256];
    uint8_t instance[16];
    uint8_t conversation[16];
    bool conversation_over; /* the other side says so: a new one begins when no request waits */
    int64_t asked_ms;       /* the newest request */
    zloop_t *loop;
    rota_alarm_t *alarm;
    rota_requests_t *requests;
    rota_arena_t *arena; /* for bodies that are the peer's own business; reset before each */
    rota_connection_t *connection;
    uint64_t random;

    rota_peer_life_t state;
    bool closing;
    bool delivered;                     /* on_message was called in this wake-up */
    size_t turn;                        /* the endpoint of the list to try next */
    char hint[ROTA_ENDPOINT_MAX_BYTES]; /* tried before the list's; "" = none */
    unsigned hints_in_a_row;
    unsigned stubborn;
    bool turned_away;      /* for good, as far as can be seen; `why` says by whom and why */
    bool has_why;          /* of a handshake that failed, which says more than that nothing answers */
    bool told_turned_away; /* since WELCOME */
    unsigned misses;       /* endpoints that gave no WELCOME, in a row */
    int64_t told_ms;       /* the owner was last told that there is no connection; 0 = not since WELCOME */
    char endpoint[ROTA_ENDPOINT_MAX_BYTES]; /* in use */
    char why[ROTA_ERROR_MAX_BYTES];         /* not ready; "" = ready, or never tried */
    int64_t try_ms;                         /* PAUSED: next attempt; CONNECTING, GREETING: end of patience */
    int64_t hello_ms;                       /* CONNECTING, GREETING: when to greet (again) */
    int64_t beat_ms;                        /* READY: next heartbeat */
    int64_t heard_ms;                       /* last sign of life */
    int64_t welcomed_ms;
    int64_t looked_ms; /* READY: the last look at the clock; at least every heartbeat_ms */
    int heartbeat_ms;
    int dead_after_ms;
    uint64_t leader_epoch;
    uint64_t leader_cluster, highest_epoch; /* of leaders that are elected by more than one host */
    bool has_scheduler;
    uint8_t scheduler[16];
};

/* peer.c */
int64_t rota_peer_jitter (rota_peer_t *self, int64_t up_to_ms);
void rota_peer_receive (void *owner); /* the peer */
/* Into the peer's arena; NULL when it can't be decoded. */
const ProtobufCMessage *rota_peer_decode (rota_peer_t *self, uint32_t type, const uint8_t *body,
                                          size_t size_bytes);
/* Fills in who speaks. 0 or -EAGAIN. */
int rota_peer_send_raw (rota_peer_t *self, rota_envelope_t *envelope, const uint8_t *body, size_t size_bytes);
void rota_peer_on_welcome (rota_peer_t *self, const uint8_t *body, size_t size_bytes);
void rota_peer_on_heartbeat (rota_peer_t *self, const uint8_t *body, size_t size_bytes);
void rota_peer_on_goodbye (rota_peer_t *self);
void rota_peer_on_hello_required (rota_peer_t *self);
void rota_peer_on_not_leader (rota_peer_t *self, const Rota__Error *refusal);
void rota_peer_on_refused (rota_peer_t *self, const Rota__Error *refusal); /* of HELLO */

/* peer_requests.c */
void rota_peer_dispatch (rota_peer_t *self, const uint8_t *envelope, size_t envelope_bytes,
                         const uint8_t *body, size_t size_bytes);
int rota_peer_add_request (rota_peer_t *self, uint32_t type, const uint8_t *to,
                           const ProtobufCMessage *message, int timeout_ms, rota_reply_fn on_reply,
                           void *context);
void rota_peer_resend_all (rota_peer_t *self, int64_t now_ms);
void rota_peer_look_at_requests (rota_peer_t *self, int64_t now_ms); /* sends and gives up what is due */
void rota_peer_cancel_all (rota_peer_t *self);

#endif
