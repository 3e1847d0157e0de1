/* peer_stage.h - a peer, two scripted brokers and a record of all that the peer said, for tests of
 * bus/peer.h.
 *
 * Owner: one test at a time, one thread.
 */
#ifndef ROTA_TESTS_PEER_STAGE_H
#define ROTA_TESTS_PEER_STAGE_H

#include "bus/peer.h"
#include "scripted_broker.h"

#define PEER_STAGE_MANY 2000
#define PEER_STAGE_NEVER (-1)

enum { PEER_STAGE_ANSWER, PEER_STAGE_HOLD, PEER_STAGE_TWICE };

typedef struct {
    zloop_t *loop;
    char directory[64];
    char first[128], second[128];
    scripted_broker_t broker, other;
    rota_peer_t *peer;
    rota_peer_config_t config;
    /* What the peer said. */
    int ready, connecting, messages, drained, schedulers;
    char why[512];
    bool has_scheduler;
    int answers[PEER_STAGE_MANY];
    int answered, failed;
    rota_reply_t last;
    uint32_t last_type;
    Rota__ErrorCode last_code;
    char last_why[512];
    /* What the broker does with requests. */
    int mode;
    int put_off;
    int64_t refused_ms, again_ms;
    rota_envelope_t held[PEER_STAGE_MANY];
    int n_held;
    uint64_t first_sequence;
    uint8_t conversation[16];
} peer_stage_t;

/* Setup and teardown of a test. */
int peer_stage_open (void **state);
int peer_stage_close (void **state);

void peer_stage_open_broker (peer_stage_t *stage, scripted_broker_t *broker, const char *endpoint);
void peer_stage_open_peer (peer_stage_t *stage, const char *endpoints);
/* A broker and a peer that is ready. */
void peer_stage_open_both (peer_stage_t *stage);

/* A SUBMIT; its answers are counted in answers[number]. */
int peer_stage_ask (peer_stage_t *stage, size_t number, int timeout_ms);
void peer_stage_on_reply (void *owner, void *context, const rota_reply_t *reply);
void peer_stage_answer (scripted_broker_t *broker, const rota_envelope_t *request);

#endif
