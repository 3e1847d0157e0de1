/* endpoint.h - ZeroMQ endpoints as users write them: checked, with an error that says what is right. */
#ifndef ROTA_ENDPOINT_H
#define ROTA_ENDPOINT_H

#include "bus/error.h"

#include <stdbool.h>
#include <stddef.h>

#define ROTA_ENDPOINT_MAX_BYTES 256
#define ROTA_ENDPOINTS_MAX 16
#define ROTA_IPC_PATH_MAX_BYTES 107 /* of sockaddr_un */

typedef struct {
    size_t count;
    char list[ROTA_ENDPOINTS_MAX][ROTA_ENDPOINT_MAX_BYTES];
} rota_endpoints_t;

/* One to connect to: ipc://PATH, tcp://HOST:PORT or inproc://NAME. 0, or -EINVAL with the reason. */
int rota_endpoint_check (const char *endpoint, rota_error_t *error);

/* A comma-separated list; blanks around each are dropped. 0, or -EINVAL with the reason. */
int rota_endpoints_parse (const char *text, rota_endpoints_t *ret_endpoints, rota_error_t *error);

bool rota_endpoint_is_tcp (const char *endpoint);
/* tcp to this host alone: 127.x.y.z, [::1] or localhost. */
bool rota_endpoint_is_loopback (const char *endpoint);

/* Brokers name their tcp endpoints of events with "*" for the host: the one that one came to them by,
 * whatever it is called from here. Writes what they said, with the host of `via` in the place of a "*". 0, or
 * -EINVAL when that is no endpoint. */
int rota_endpoint_resolve (const char *said, size_t length, const char *via,
                           char ret_endpoint[ROTA_ENDPOINT_MAX_BYTES]);

#endif
