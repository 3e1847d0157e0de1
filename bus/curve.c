#include "bus/curve.h"

#include "bus/endpoint.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
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

/* "KEY", or "HOST=KEY". */
static int take_broker_key (rota_curve_t *curve, const char *text, rota_error_t *error)
{
    const char *equals = strrchr (text, '=');
    size_t host = equals ? (size_t)(equals - text) : 0;
    bool is_good = !equals || (host > 0 && host <= ROTA_CURVE_HOST_MAX_BYTES &&
                               curve->brokers_count < ROTA_CURVE_MAX_BROKERS);
    if (!is_good || (!equals && curve->has_broker_key) ||
        !rota_key_from_hex (equals ? equals + 1 : text,
                            equals ? curve->brokers[curve->brokers_count].key : curve->broker_key))
        return rota_error_set (
            error, -EINVAL,
            "broker.public_key: \"%.80s\": must be 64 hexadecimal digits, or HOST=DIGITS where "
            "brokers have keys of their own; `rota key list` on a broker's host shows its digits",
            text);
    if (equals) {
        memcpy (curve->brokers[curve->brokers_count].host, text, host);
        curve->brokers[curve->brokers_count++].host[host] = '\0';
    }
    curve->has_broker_key |= !equals;
    return 0;
}

/* The public key of the broker there, whichever of its ports is meant; NULL where it is not known. */
static const uint8_t *broker_key_of (const rota_curve_t *self, const char *endpoint)
{
    const char *host = strstr (endpoint, "://");
    host = host ? host + 3 : endpoint;
    const char *colon = strrchr (host, ':');
    size_t length = colon ? (size_t)(colon - host) : strlen (host);
    for (size_t i = 0; i < self->brokers_count; i++)
        if (strlen (self->brokers[i].host) == length &&
            strncasecmp (self->brokers[i].host, host, length) == 0)
            return self->brokers[i].key;
    return self->has_broker_key ? self->broker_key : NULL;
}

int rota_curve_load (const char *endpoints, const char *key_file, bool insecure,
                     const rota_settings_t *settings, rota_curve_t *ret_curve, rota_error_t *error)
{
    rota_curve_t curve = {.insecure = insecure};
    const char *path = key_file ? key_file : rota_setting_text (settings, ROTA_SETTING_SECURITY_KEY_FILE);
    size_t count = 0;
    const char *const *brokers = rota_setting_list (settings, ROTA_SETTING_BROKER_PUBLIC_KEY, &count);
    if (!insecure && any_tcp (endpoints)) {
        int status = path[0] ? rota_key_pair_read (path, &curve.key, error) : 0;
        if (status < 0)
            return status;
        curve.has_key = path[0] != '\0';
        for (size_t i = 0; i < count && status == 0; i++)
            status = take_broker_key (&curve, brokers[i], error);
        if (status < 0) {
            rota_curve_wipe (&curve);
            return status;
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
    if (!rota_endpoint_is_tcp (endpoint) || (self->has_key && broker_key_of (self, endpoint)))
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
        "list` on the broker's host shows (HOST=DIGITS where brokers have keys of their own)",
        endpoint);
}

int rota_curve_use (const rota_curve_t *self, void *socket, const char *endpoint, rota_error_t *error)
{
    int status = rota_curve_check (self, endpoint, error);
    if (status < 0 || !rota_endpoint_is_tcp (endpoint) || !self->has_key)
        return status;
    if (zmq_setsockopt (socket, ZMQ_CURVE_SERVERKEY, broker_key_of (self, endpoint), ROTA_KEY_BYTES) < 0 ||
        zmq_setsockopt (socket, ZMQ_CURVE_PUBLICKEY, self->key.public_key, ROTA_KEY_BYTES) < 0 ||
        zmq_setsockopt (socket, ZMQ_CURVE_SECRETKEY, self->key.secret_key, ROTA_KEY_BYTES) < 0)
        return rota_error_set (error, -errno, "%s: the keys: %s", endpoint, zmq_strerror (errno));
    return 0;
}
