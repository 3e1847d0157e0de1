/* http.h - /metrics, /healthz and /readyz over HTTP (libmicrohttpd in the sink's own loop).
 *
 *     GET /metrics  Prometheus' text format: asks for it by on_metrics and answers when rota_http_metrics
 * comes GET /healthz  200 as long as the loop turns GET /readyz   200, or 503 with what is waited for
 *
 * Several who ask within a second get the same text. At most 64 connections; one that says nothing for 15 s
 * is closed. There is no authentication: whoever reaches the address may read it.
 *
 * Owner: the loop's thread.
 */
#ifndef ROTA_HTTP_H
#define ROTA_HTTP_H

#include "bus/error.h"

#include <czmq.h>
#include <stddef.h>

typedef struct rota_http rota_http_t;

typedef struct {
    zloop_t *loop;
    void *owner;
    void (*on_metrics) (void *owner);
    /* NULL = ready; else what it waits for, in words. Valid until the next call. */
    const char *(*why_not_ready) (void *owner);
} rota_http_config_t;

#define ROTA_HTTP_LISTEN_BYTES 64
/* "ADDRESS:PORT", "[ADDRESS]:PORT", or "PORT", ":PORT" for 127.0.0.1. 0; -EINVAL. */
int rota_http_check (const char *listen, rota_error_t *error);
/* 0; -EINVAL as above; -EADDRINUSE or what else the kernel says of the address. */
int rota_http_new (const rota_http_config_t *config, const char *listen, rota_http_t **ret_self,
                   rota_error_t *error);
void rota_http_destroy (rota_http_t **self_p);

/* Where it listens, "127.0.0.1:9464": the port when 0 was asked for. */
const char *rota_http_address (const rota_http_t *self);
/* The text that on_metrics asked for. */
void rota_http_metrics (rota_http_t *self, const char *text, size_t size_bytes);

#endif
