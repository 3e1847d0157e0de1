#include "telemetry/webhook.h"

#include "bus/alarm.h"
#include "bus/clock.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES 256

struct rota_webhook {
    rota_webhook_config_t config;
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    rota_alarm_t *alarm;
    int64_t wake_ms; /* when curl wants to be called; INT64_MAX = not */
    bool busy;
    char fault[CURL_ERROR_SIZE];
};

static void start_libraries (void)
{
    curl_global_init (CURL_GLOBAL_DEFAULT);
    if (sodium_init () < 0)
        abort (); /* its numbers would be no good */
}

void rota_webhook_sign (const uint8_t *key, size_t key_size, const char *body, size_t size_bytes,
                        char ret_hex[ROTA_SIGNATURE_BYTES])
{
    crypto_auth_hmacsha256_state state;
    uint8_t digest[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_init (&state, key, key_size);
    crypto_auth_hmacsha256_update (&state, (const uint8_t *)body, size_bytes);
    crypto_auth_hmacsha256_final (&state, digest);
    sodium_bin2hex (ret_hex, ROTA_SIGNATURE_BYTES, digest, sizeof digest);
    sodium_memzero (&state, sizeof state);
}

int rota_webhook_check (const char *url, rota_error_t *error)
{
    const char *host = strstr (url, "://");
    bool known = strncmp (url, "http://", 7) == 0 || strncmp (url, "https://", 8) == 0;
    if (!known || !host[3] || host[3] == '/' || strcspn (url, " \t\r\n") != strlen (url))
        return rota_error_set (error, -EINVAL,
                               "a webhook is http://HOST/... or https://HOST/..., and this isn't: %.*s",
                               (int)(host ? host - url : 20), url);
    return 0;
}

/* ---- the end of one */

static bool is_worth_another_try (long status)
{
    return status == 408 || status == 425 || status == 429 || status >= 500;
}

static void finish (rota_webhook_t *self, CURLcode code)
{
    long status = 0;
    char why[CURL_ERROR_SIZE + 64];
    curl_easy_getinfo (self->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle (self->multi, self->easy);
    self->busy = false;
    /* What stands in the answer's body doesn't matter: its head has said it. */
    bool answered = status > 0 && (code == CURLE_OK || code == CURLE_WRITE_ERROR);
    if (answered)
        snprintf (why, sizeof why, "the server answered %ld", status);
    else
        snprintf (why, sizeof why, "%s", self->fault[0] ? self->fault : curl_easy_strerror (code));
    rota_hook_outcome_t outcome = !answered                       ? ROTA_HOOK_AGAIN
                                  : status >= 200 && status < 300 ? ROTA_HOOK_TAKEN
                                  : is_worth_another_try (status) ? ROTA_HOOK_AGAIN
                                                                  : ROTA_HOOK_REFUSED;
    self->config.on_done (self->config.owner, outcome, why);
}

static void look_for_end (rota_webhook_t *self)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read (self->multi, &left));)
        if (message->msg == CURLMSG_DONE) {
            finish (self, message->data.result);
            return;
        }
}

/* ---- curl in the loop */

static int on_ready (zloop_t *loop, zmq_pollitem_t *item, void *owner)
{
    rota_webhook_t *self = owner;
    int running;
    (void)loop;
    int flags = (item->revents & ZMQ_POLLIN ? CURL_CSELECT_IN : 0) |
                (item->revents & ZMQ_POLLOUT ? CURL_CSELECT_OUT : 0) |
                (item->revents & ZMQ_POLLERR ? CURL_CSELECT_ERR : 0);
    curl_multi_socket_action (self->multi, item->fd, flags, &running);
    look_for_end (self);
    return 0;
}

static int on_socket (CURL *easy, curl_socket_t fd, int what, void *owner, void *assigned)
{
    rota_webhook_t *self = owner;
    (void)easy;
    (void)assigned;
    zmq_pollitem_t item = {.fd = fd};
    zloop_poller_end (self->config.loop, &item);
    if (what == CURL_POLL_REMOVE)
        return 0;
    item.events = (short)((what & CURL_POLL_IN ? ZMQ_POLLIN : 0) | (what & CURL_POLL_OUT ? ZMQ_POLLOUT : 0));
    if (zloop_poller (self->config.loop, &item, on_ready, self) == 0)
        zloop_poller_set_tolerant (self->config.loop, &item);
    return 0;
}

static int on_timer (CURLM *multi, long wait_ms, void *owner)
{
    rota_webhook_t *self = owner;
    (void)multi;
    self->wake_ms = wait_ms < 0 ? INT64_MAX : rota_clock_monotonic_ms () + wait_ms;
    rota_alarm_set (self->alarm, self->wake_ms);
    return 0;
}

static void on_alarm (void *owner)
{
    rota_webhook_t *self = owner;
    int running;
    if (rota_clock_monotonic_ms () < self->wake_ms) {
        rota_alarm_set (self->alarm, self->wake_ms);
        return;
    }
    self->wake_ms = INT64_MAX;
    curl_multi_socket_action (self->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    look_for_end (self);
}

static size_t drop (char *bytes, size_t one, size_t size, void *owner)
{
    (void)bytes;
    (void)owner;
    return one * size;
}

/* ---- sending */

int rota_webhook_send (rota_webhook_t *self, const char *body, size_t size_bytes, const char *delivery)
{
    char header[HEADER_BYTES], hex[ROTA_SIGNATURE_BYTES];
    assert (!self->busy);
    curl_slist_free_all (self->headers);
    self->headers = curl_slist_append (NULL, "Content-Type: application/json");
    snprintf (header, sizeof header, "X-Rota-Delivery: %s", delivery);
    self->headers = curl_slist_append (self->headers, header);
    self->headers = curl_slist_append (self->headers, "Expect:");
    if (self->config.key) {
        rota_webhook_sign (self->config.key, self->config.key_size, body, size_bytes, hex);
        snprintf (header, sizeof header, "X-Rota-Signature-256: sha256=%s", hex);
        self->headers = curl_slist_append (self->headers, header);
    }
    self->fault[0] = '\0';
    curl_easy_setopt (self->easy, CURLOPT_HTTPHEADER, self->headers);
    curl_easy_setopt (self->easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt (self->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size_bytes);
    if (!self->headers || curl_multi_add_handle (self->multi, self->easy) != CURLM_OK)
        return -ENOMEM;
    self->busy = true;
    return 0;
}

int rota_webhook_new (const rota_webhook_config_t *config, rota_webhook_t **ret_self, rota_error_t *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int r = rota_webhook_check (config->url, error);
    if (r < 0)
        return r;
    pthread_once (&once, start_libraries);
    rota_webhook_t *self = calloc (1, sizeof *self);
    if (!self)
        return rota_error_set (error, -ENOMEM, "no memory");
    self->config = *config;
    self->wake_ms = INT64_MAX;
    self->alarm = rota_alarm_new (config->loop, on_alarm, self);
    self->multi = curl_multi_init ();
    self->easy = curl_easy_init ();
    if (!self->alarm || !self->multi || !self->easy) {
        rota_webhook_destroy (&self);
        return rota_error_set (error, -ENOMEM, "no memory");
    }
    curl_multi_setopt (self->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt (self->multi, CURLMOPT_SOCKETDATA, self);
    curl_multi_setopt (self->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt (self->multi, CURLMOPT_TIMERDATA, self);
    curl_easy_setopt (self->easy, CURLOPT_URL, config->url);
    curl_easy_setopt (self->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt (self->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt (self->easy, CURLOPT_POST, 1L);
    curl_easy_setopt (self->easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt (self->easy, CURLOPT_TIMEOUT_MS, (long)config->timeout_ms);
    curl_easy_setopt (self->easy, CURLOPT_USERAGENT, "rota/" ROTA_VERSION);
    curl_easy_setopt (self->easy, CURLOPT_WRITEFUNCTION, drop);
    curl_easy_setopt (self->easy, CURLOPT_ERRORBUFFER, self->fault);
    *ret_self = self;
    return 0;
}

void rota_webhook_destroy (rota_webhook_t **self_p)
{
    rota_webhook_t *self = *self_p;
    if (!self)
        return;
    if (self->busy)
        curl_multi_remove_handle (self->multi, self->easy);
    curl_easy_cleanup (self->easy);
    if (self->multi)
        curl_multi_cleanup (self->multi); /* lets go of its sockets in the loop */
    curl_slist_free_all (self->headers);
    rota_alarm_destroy (&self->alarm);
    free (self);
    *self_p = NULL;
}
