/* Where a model API is asked: the URL of the settings with the path that the API has.
 */
#include "agents/ask.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *word, *key, *path;
} APIS[ROTA_API_COUNT] = {
    [ROTA_API_ANTHROPIC] = {"anthropic", "ANTHROPIC_API_KEY", "/messages"},
    [ROTA_API_CHAT] = {"chat", "OPENAI_API_KEY", "/chat/completions"},
    [ROTA_API_RESPONSES] = {"responses", "OPENAI_API_KEY", "/responses"},
};

const char *rota_ask_api_word (rota_api_t api)
{
    return APIS[api].word;
}

const char *rota_ask_key_name (rota_api_t api)
{
    return APIS[api].key;
}

static bool is_local (const char *host)
{
    struct in_addr address;
    if (strcasecmp (host, "localhost") == 0 || strcmp (host, "[::1]") == 0)
        return true;
    return inet_pton (AF_INET, host, &address) == 1 && ntohl (address.s_addr) >> 24 == 127;
}

static bool ends_with (const char *text, size_t length, const char *end)
{
    size_t tail = strlen (end);
    return length >= tail && memcmp (text + length - tail, end, tail) == 0;
}

typedef struct {
    CURLU *url;
    char *scheme, *host, *path, *user, *password, *query;
} parts_t;

static void forget (parts_t *parts)
{
    curl_free (parts->scheme);
    curl_free (parts->host);
    curl_free (parts->path);
    curl_free (parts->user);
    curl_free (parts->password);
    curl_free (parts->query);
    curl_url_cleanup (parts->url);
}

static int check_parts (const parts_t *parts, bool plain, rota_ask_target_t *target, rota_error_t *error)
{
    target->local = is_local (parts->host);
    if (parts->user || parts->password)
        return rota_error_set (error, -EINVAL,
                               "the URL has a login in it: keys are given by variables (--credential)");
    if (strcmp (parts->scheme, "https") == 0)
        return 0;
    if (strcmp (parts->scheme, "http") != 0)
        return rota_error_set (error, -EINVAL, "the URL is neither https nor http");
    if (!target->local && !plain)
        return rota_error_set (
            error, -EINVAL, "http would carry the key readable for all: https, or agents.http_plain: true");
    return 0;
}

/* A URL with a query is taken as it is: nothing can be put behind it. */
static int put_address (const char *url, const parts_t *parts, rota_api_t api, rota_ask_target_t *target)
{
    size_t length = strlen (url), path = strlen (parts->path);
    while (!parts->query && length && url[length - 1] == '/')
        length--;
    while (path && parts->path[path - 1] == '/')
        path--;
    bool whole = parts->query || ends_with (parts->path, path, APIS[api].path);
    bool versioned = ends_with (parts->path, path, "/v1");
    int size = snprintf (target->address, sizeof target->address, "%.*s%s%s", (int)length, url,
                         whole || versioned ? "" : "/v1", whole ? "" : APIS[api].path);
    return size < (int)sizeof target->address ? 0 : -EINVAL;
}

int rota_ask_target (const char *url, rota_api_t api, bool plain, rota_ask_target_t *ret_target,
                     rota_error_t *error)
{
    rota_ask_target_t target = {.local = false};
    parts_t parts = {.url = curl_url ()};
    int status = 0;
    if (!parts.url)
        return -ENOMEM;
    if (strlen (url) >= ROTA_ASK_ADDRESS_BYTES || strchr (url, '#') ||
        curl_url_set (parts.url, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
        curl_url_get (parts.url, CURLUPART_SCHEME, &parts.scheme, 0) != CURLUE_OK ||
        curl_url_get (parts.url, CURLUPART_HOST, &parts.host, 0) != CURLUE_OK ||
        curl_url_get (parts.url, CURLUPART_PATH, &parts.path, 0) != CURLUE_OK)
        status = rota_error_set (error, -EINVAL, "\"%.80s\" is no URL", url);
    if (status == 0) {
        curl_url_get (parts.url, CURLUPART_USER, &parts.user, 0);
        curl_url_get (parts.url, CURLUPART_PASSWORD, &parts.password, 0);
        curl_url_get (parts.url, CURLUPART_QUERY, &parts.query, 0);
        status = check_parts (&parts, plain, &target, error);
    }
    if (status == 0 && put_address (url, &parts, api, &target) < 0)
        status = rota_error_set (error, -EINVAL, "the URL is too long");
    if (status == 0)
        *ret_target = target;
    forget (&parts);
    return status;
}
