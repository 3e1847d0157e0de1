/* zap.h - ZeroMQ's question who may come in (ZAP 1.0, RFC 27), as requests that the broker's own loop
 * answers.
 *
 * Before a connection to an endpoint with keys stands, ZeroMQ asks at inproc://zeromq.zap.01 of its context
 * with the key that the peer has proved to hold, and waits. What the answer names the peer (its key, in
 * digits) is on each of its messages from then on.
 *
 * Owner: the broker's thread. The socket must be there before the first endpoint with keys, and be closed
 * after the last.
 */
#ifndef ROTA_BROKER_ZAP_H
#define ROTA_BROKER_ZAP_H

#include "bus/error.h"
#include "bus/keyfile.h"

#include <stdbool.h>

typedef struct {
    char request_id[64];
    size_t request_id_bytes;
    char domain[32];  /* as set on the socket; "" when longer */
    char address[64]; /* of the peer */
    bool has_key;     /* by CURVE */
    char key[ROTA_KEY_HEX_BYTES];
} rota_zap_request_t;

int rota_zap_open (void *context, void **ret_socket, rota_error_t *error);
/* 0; -EAGAIN when nothing is there; -EBADMSG: not a request, and answered already. */
int rota_zap_receive (void *socket, rota_zap_request_t *ret_request);
/* Each request that was received has one answer, before the next is received. */
void rota_zap_answer (void *socket, const rota_zap_request_t *request, bool comes_in);

#endif
