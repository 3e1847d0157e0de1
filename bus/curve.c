#include "bus/curve.h"

#include "bus/endpoint.h"

#include <errno.h>
#include <string.h>
#include <zmq.h>

static bool any_tcp (const char *endpoints)
{
    rota_endpoints_t list;
    bool any = false;
    if (rota_endpoints_parse (endpoints, &list, NULL) < 0)
        return false; /* said by who connects */
    for (size_t i = 0; i < list.count; i++)
        any |= rota_endpoint_is_tcp (list.list[i]);
    return any;
}

int rota_curve_load (const char *endpoints, const char *key_file, bool insecure,
                     const rota_settings_t *settings, rota_curve_t *ret_curve, rota_error_t *error)
{
    rota_curve_t curve = {.insecure = insecure};
    const char *path = key_file ? key_file : rota_setting_text (settings, ROTA_SETTING_SECURITY_KEY_FILE);
    const char *broker = rota_setting_text (settings, ROTA_SETTING_BROKER_PUBLIC_KEY);
    if (!insecure && any_tcp (endpoints)) {
        int status = path[0] ? rota_key_pair_read (path, &curve.key, error) : 0;
        if (status < 0)
            return status;
        curve.has_key = path[0] != '\0';
        curve.has_broker_key = broker[0] != '\0';
        if (curve.has_broker_key && !rota_key_from_hex (broker, curve.broker_key)) {
            rota_curve_wipe (&curve);
            return rota_error_set (error, -EINVAL,
                                   "broker.public_key must be 64 hexadecimal digits; `rota key list` on the "
                                   "broker's host shows them");
        }
    }
    *ret_curve = curve;
    rota_curve_wipe (&curve);
    return 0;
}

void rota_curve_wipe (rota_curve_t *self)
{
    explicit_bzero (self, sizeof *self);
}

int rota_curve_check (const rota_curve_t *self, const char *endpoint, rota_error_t *error)
{
    if (!rota_endpoint_is_tcp (endpoint) || (self->has_key && self->has_broker_key))
        return 0;
    if (self->insecure && rota_endpoint_is_loopback (endpoint))
        return 0;
    if (self->insecure)
        return rota_error_set (error, -EACCES, "%s: without keys (--insecure) only loopback is used",
                               endpoint);
    if (!self->has_key)
        return rota_error_set (
            error, -EACCES,
            "%s: a key is needed there: make one with `rota key new NAME`, have it granted "
            "on the broker's host, and say --key FILE or set security.key_file",
            endpoint);
    return rota_error_set (
        error, -EACCES,
        "%s: the broker's public key is not known: set broker.public_key to what `rota key "
        "list` on the broker's host shows",
        endpoint);
}

int rota_curve_use (const rota_curve_t *self, void *socket, const char *endpoint, rota_error_t *error)
{
    int status = rota_curve_check (self, endpoint, error);
    if (status < 0 || !rota_endpoint_is_tcp (endpoint) || !self->has_key)
        return status;
    if (zmq_setsockopt (socket, ZMQ_CURVE_SERVERKEY, self->broker_key, ROTA_KEY_BYTES) < 0 ||
        zmq_setsockopt (socket, ZMQ_CURVE_PUBLICKEY, self->key.public_key, ROTA_KEY_BYTES) < 0 ||
        zmq_setsockopt (socket, ZMQ_CURVE_SECRETKEY, self->key.secret_key, ROTA_KEY_BYTES) < 0)
        return rota_error_set (error, -errno, "%s: the keys: %s", endpoint, zmq_strerror (errno));
    return 0;
}
