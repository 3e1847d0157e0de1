/* etcd.h - requests to etcd, version 3, through its JSON gateway, and one watch beside them.
 *
 * Several servers: a request that one doesn't answer goes to the next, which is then asked first. Further
 * members of the cluster are learned from it. With a user the token is fetched when it is needed, and again
 * when etcd no longer takes it. Everything that etcd sends is bounded and checked.
 *
 * Owner: one thread, which may wait here; only rota_etcd_wake may come from another. Source of the messages:
 * etcd 3.4, api-v3 and its gateway: 64-bit numbers are texts, keys and values are base64.
 */
#ifndef ROTA_BROKER_ETCD_H
#define ROTA_BROKER_ETCD_H

#include "bus/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rota_etcd rota_etcd_t;

typedef struct {
    const char *const *endpoints;
    size_t endpoints_count;
    const char *user, *password_file;
    const char *ca_file, *cert_file, *key_file;
} rota_etcd_config_t;

/* Texts are copied. 0; -EINVAL: an endpoint that is none, a password file that others can read; -ENOMEM. */
__attribute__ ((warn_unused_result)) int rota_etcd_new (const rota_etcd_config_t *config,
                                                        rota_etcd_t **ret_etcd, rota_error_t *error);
void rota_etcd_destroy (rota_etcd_t **self_p);

/* POST of `body` (taken) to `path` ("/v3/kv/range"). At most `timeout_ms` in all, `try_ms` for one server. 0
 * and *ret_reply (the caller's); -EHOSTUNREACH: no server answers; -EPROTO: it refuses, or the answer is
 * none; -ECANCELED: woken for good; -ENOMEM. */
__attribute__ ((warn_unused_result)) int rota_etcd_call (rota_etcd_t *self, const char *path, json_t *body,
                                                         int64_t timeout_ms, int64_t try_ms,
                                                         json_t **ret_reply, rota_error_t *error);
/* The id of the cluster that answered first, 0 = none yet. Answers of another one are none: two clusters
 * could make two leaders. */
uint64_t rota_etcd_cluster (const rota_etcd_t *self);
/* Asks for the cluster's members, to know more servers than were named. */
void rota_etcd_learn (rota_etcd_t *self, int64_t timeout_ms);

/* Watches `key` for changes after `revision`, in the place of an earlier watch. */
void rota_etcd_watch (rota_etcd_t *self, const char *key, int64_t revision);
/* Waits for `timeout_ms`, until the watched key changes, the watch ends, or somebody wakes. True unless the
 * time has passed. */
bool rota_etcd_wait (rota_etcd_t *self, int64_t timeout_ms);

/* Ends a wait, and with `for_good` all waits and requests from now on. Any thread. */
void rota_etcd_wake (rota_etcd_t *self, bool for_good);
/* Requests are possible once more, for the last words. */
void rota_etcd_resume (rota_etcd_t *self);

/* A number as etcd writes it; 0 when it is none. */
int64_t rota_etcd_number (const json_t *value);
uint64_t rota_etcd_id (const json_t *value);
json_t *rota_etcd_bytes (const char *text); /* base64; NULL when memory ran out */
/* Decodes base64 into a text; "" when it is none, too long, or holds a NUL. */
void rota_etcd_text (const json_t *value, char *ret_text, size_t capacity);

#endif
