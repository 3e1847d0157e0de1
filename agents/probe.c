#include "agents/probe.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MS 2000L
#define WHOLE_MS 5000L

static size_t discard (char *bytes, size_t size, size_t count, void *owner)
{
    (void)bytes;
    (void)owner;
    return size * count;
}

int rota_probe_key (const char *url, const char *name, const char *key)
{
    char *header = NULL;
    long status = 0;
    CURL *curl = curl_easy_init ();
    int length = asprintf (&header, "%s: %s", name, key);
    struct curl_slist *headers = length < 0 ? NULL : curl_slist_append (NULL, header);
    if (headers)
        headers = curl_slist_append (headers, "anthropic-version: 2023-06-01");
    if (curl && headers) {
        curl_easy_setopt (curl, CURLOPT_URL, url);
        curl_easy_setopt (curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt (curl, CURLOPT_WRITEFUNCTION, discard);
        curl_easy_setopt (curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt (curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
        curl_easy_setopt (curl, CURLOPT_TIMEOUT_MS, WHOLE_MS);
        curl_easy_setopt (curl, CURLOPT_PROTOCOLS_STR, "http,https");
        if (curl_easy_perform (curl) == CURLE_OK)
            curl_easy_getinfo (curl, CURLINFO_RESPONSE_CODE, &status);
    }
    curl_slist_free_all (headers);
    curl_easy_cleanup (curl);
    if (length >= 0) {
        explicit_bzero (header, (size_t)length);
        free (header);
    }
    return status == 401 || status == 403 ? (int)status : 0;
}
