/* webhook.h - one notification at a time to a web server: POST with a signature (libcurl in the sink's loop).
 *
 *     POST URL
 *     Content-Type: application/json
 *     X-Rota-Delivery: STORE-SEQ         the same for each try: who has seen it drops it
 *     X-Rota-Signature-256: sha256=HEX   HMAC-SHA256 of the body, with the key that both know; only with a
 * key
 *
 * 2xx takes it. 408, 425, 429, 5xx, no answer in time and no connection are tried again; any other answer
 * (redirects too, which are not followed) refuses it for good. What the server answers is not read.
 *
 * Owner: the loop's thread.
 */
#ifndef ROTA_WEBHOOK_H
#define ROTA_WEBHOOK_H

#include "bus/error.h"

#include <czmq.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { ROTA_HOOK_TAKEN, ROTA_HOOK_AGAIN, ROTA_HOOK_REFUSED } rota_hook_outcome_t;
/* `why`: in words, for the log. Never called from within send. */
typedef void (*rota_hook_done_fn) (void *owner, rota_hook_outcome_t outcome, const char *why);

typedef struct rota_webhook rota_webhook_t;

typedef struct {
    zloop_t *loop;
    const char *url;
    const uint8_t *key; /* NULL = unsigned; borrowed */
    size_t key_size;
    int64_t timeout_ms;
    void *owner;
    rota_hook_done_fn on_done;
} rota_webhook_config_t;

/* 0; -EINVAL when it is no http:// or https:// URL; -ENOMEM. */
int rota_webhook_check (const char *url, rota_error_t *error);
int rota_webhook_new (const rota_webhook_config_t *config, rota_webhook_t **ret_self, rota_error_t *error);
/* Gives up what is on its way, without a word. */
void rota_webhook_destroy (rota_webhook_t **self_p);
/* Only when nothing is on its way (asserted). `body` must last until on_done. -ENOMEM. */
int rota_webhook_send (rota_webhook_t *self, const char *body, size_t size_bytes, const char *delivery);

#define ROTA_SIGNATURE_BYTES 65
void rota_webhook_sign (const uint8_t *key, size_t key_size, const char *body, size_t size_bytes,
                        char ret_hex[ROTA_SIGNATURE_BYTES]);

#endif
