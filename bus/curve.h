/* curve.h - the connecting side's keys: its own pair and the broker's public key, for every tcp socket.
 *
 * A broker on tcp is proved by its public key and learns who we are by ours; without keys tcp is used only on
 * loopback and only where that was asked for (--insecure). ipc needs none: the kernel guards its files.
 *
 * A plain value, copied at will; it holds a secret, so it is wiped where it is no longer needed. Any thread.
 */
#ifndef ROTA_CURVE_H
#define ROTA_CURVE_H

#include "bus/error.h"
#include "bus/keyfile.h"
#include "bus/settings.h"

#define ROTA_CURVE_MAX_BROKERS 16 /* as many as broker.public_key takes */
#define ROTA_CURVE_HOST_MAX_BYTES 255

typedef struct {
    bool insecure; /* tcp on loopback without keys was asked for */
    bool has_key;
    bool has_broker_key;
    rota_key_pair_t key;
    uint8_t broker_key[ROTA_KEY_BYTES]; /* of all brokers that `brokers` doesn't name */
    struct {
        char host[ROTA_CURVE_HOST_MAX_BYTES + 1]; /* as endpoints write it */
        uint8_t key[ROTA_KEY_BYTES];
    } brokers[ROTA_CURVE_MAX_BROKERS];
    size_t brokers_count;
} rota_curve_t;

/* What to talk to `endpoints` (comma-separated) with: the key file is `key_file` (--key), else the setting
 * security.key_file; the brokers' keys are broker.public_key: KEY for all, HOST=KEY for one. Nothing is read
 * where no endpoint is tcp, or with `insecure`. 0; -EINVAL, -EPERM, -ENOENT with the reason and the remedy.
 */
int rota_curve_load (const char *endpoints, const char *key_file, bool insecure,
                     const rota_settings_t *settings, rota_curve_t *ret_curve, rota_error_t *error);
void rota_curve_wipe (rota_curve_t *self);

/* Whether `endpoint` may be used with these keys. 0, or -EACCES with the remedy. */
int rota_curve_check (const rota_curve_t *self, const char *endpoint, rota_error_t *error);
/* The same, and sets them on a socket that is about to connect there. */
int rota_curve_use (const rota_curve_t *self, void *socket, const char *endpoint, rota_error_t *error);

#endif
