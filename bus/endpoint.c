#include "bus/endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *after_prefix (const char *text, const char *prefix)
{
    size_t length = strlen (prefix);
    return strncmp (text, prefix, length) == 0 ? text + length : NULL;
}

static int check_ipc (const char *endpoint, const char *path, rota_error_t *error)
{
    if (!*path || strcmp (path, "*") == 0)
        return rota_error_set (error, -EINVAL, "endpoint \"%s\": the path of a socket must follow ipc://",
                               endpoint);
    if (strlen (path) > ROTA_IPC_PATH_MAX_BYTES)
        return rota_error_set (error, -EINVAL,
                               "endpoint \"%s\": the path has %zu bytes, a socket's has at most %d; use a "
                               "shorter directory",
                               endpoint, strlen (path), ROTA_IPC_PATH_MAX_BYTES);
    return 0;
}

static int check_tcp (const char *endpoint, const char *address, rota_error_t *error)
{
    const char *colon = strrchr (address, ':');
    const char *end = strchr (address, ']');
    bool bracketed = address[0] == '[';
    unsigned port = 0;

    if (!colon || colon == address || address[0] == '*' || (bracketed && (!end || end + 1 != colon)))
        return rota_error_set (error, -EINVAL,
                               "endpoint \"%s\": must be tcp://HOST:PORT, with an IPv6 address in [ ]",
                               endpoint);
    size_t digits = strspn (colon + 1, "0123456789");
    if (digits > 0 && digits <= 5 && colon[1 + digits] == '\0')
        for (const char *digit = colon + 1; *digit; digit++)
            port = port * 10 + (unsigned)(*digit - '0');
    if (port < 1 || port > 65535)
        return rota_error_set (
            error, -EINVAL, "endpoint \"%s\": the port after the last colon must be a number from 1 to 65535",
            endpoint);
    for (const char *at = address; at < colon; at++)
        if ((unsigned char)*at <= ' ' || *at == ';' || *at == '/' || (*at == ':' && !bracketed))
            return rota_error_set (error, -EINVAL, "endpoint \"%s\": \"%.*s\" is no host name or address",
                                   endpoint, (int)(colon - address), address);
    return 0;
}

int rota_endpoint_check (const char *endpoint, rota_error_t *error)
{
    const char *rest;

    if (strlen (endpoint) >= ROTA_ENDPOINT_MAX_BYTES)
        return rota_error_set (error, -EINVAL, "endpoint \"%.40s...\": has over %d bytes", endpoint,
                               ROTA_ENDPOINT_MAX_BYTES - 1);
    if ((rest = after_prefix (endpoint, "ipc://")))
        return check_ipc (endpoint, rest, error);
    if ((rest = after_prefix (endpoint, "tcp://")))
        return check_tcp (endpoint, rest, error);
    if ((rest = after_prefix (endpoint, "inproc://")) && *rest)
        return 0;
    return rota_error_set (error, -EINVAL,
                           "endpoint \"%s\": must be ipc://PATH, tcp://HOST:PORT or inproc://NAME", endpoint);
}

int rota_endpoints_parse (const char *text, rota_endpoints_t *ret_endpoints, rota_error_t *error)
{
    rota_endpoints_t endpoints = {.count = 0};

    for (const char *at = text;; at++) {
        at += strspn (at, " \t");
        size_t length = strcspn (at, ",");
        const char *next = at + length;
        while (length > 0 && (at[length - 1] == ' ' || at[length - 1] == '\t'))
            length--;
        if (length == 0)
            return rota_error_set (
                error, -EINVAL,
                *text ? "endpoints \"%s\": one between the commas is empty"
                      : "endpoints \"%s\": none is given; write ipc://PATH or tcp://HOST:PORT",
                text);
        if (endpoints.count == ROTA_ENDPOINTS_MAX)
            return rota_error_set (error, -EINVAL, "endpoints: more than %d are given", ROTA_ENDPOINTS_MAX);
        char *place = endpoints.list[endpoints.count++];
        if (length >= ROTA_ENDPOINT_MAX_BYTES)
            return rota_error_set (error, -EINVAL, "endpoint \"%.40s...\": has over %d bytes", at,
                                   ROTA_ENDPOINT_MAX_BYTES - 1);
        memcpy (place, at, length);
        place[length] = '\0';
        int status = rota_endpoint_check (place, error);
        if (status < 0)
            return status;
        at = next;
        if (!*at)
            break;
    }
    *ret_endpoints = endpoints;
    return 0;
}

bool rota_endpoint_is_tcp (const char *endpoint)
{
    return after_prefix (endpoint, "tcp://") != NULL;
}

bool rota_endpoint_is_loopback (const char *endpoint)
{
    const char *address = after_prefix (endpoint, "tcp://");
    if (!address)
        return false;
    if (after_prefix (address, "localhost:") || after_prefix (address, "[::1]:"))
        return true;
    /* "127.example.org:1" is a name */
    return after_prefix (address, "127.") && strspn (address, "0123456789.") == strcspn (address, ":");
}

int rota_endpoint_resolve (const char *said, size_t length, const char *via,
                           char ret_endpoint[ROTA_ENDPOINT_MAX_BYTES])
{
    static const char ANY[] = "tcp://*:";
    const size_t any = sizeof ANY - 1;
    char text[2 * ROTA_ENDPOINT_MAX_BYTES] = "";
    if (length == 0 || length >= ROTA_ENDPOINT_MAX_BYTES || memchr (said, '\0', length))
        return -EINVAL;
    const char *port = strrchr (via, ':');
    if (length > any && strncmp (said, ANY, any) == 0 && rota_endpoint_is_tcp (via))
        snprintf (text, sizeof text, "%.*s:%.*s", (int)(port - via), via, (int)(length - any), said + any);
    else
        memcpy (text, said, length);
    if (rota_endpoint_check (text, NULL) < 0)
        return -EINVAL;
    memcpy (ret_endpoint, text, strlen (text) + 1);
    return 0;
}
