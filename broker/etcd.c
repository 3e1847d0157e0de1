#include "broker/etcd.h"
#include "bus/clock.h"
#include "bus/log.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENDPOINTS_MAX 32 /* 16 that are named, and as many that they know of */
#define URL_MAX_BYTES 256
#define REPLY_MAX_BYTES (1 << 20)
#define TOKEN_MAX_BYTES 2048
#define PASSWORD_MAX_BYTES 1024
#define CONNECT_MS 2000
#define LEFT_MIN_MS 20 /* with less time left no further server is asked */

typedef struct {
    char *bytes;
    size_t size;
} buffer_t;

struct rota_etcd {
    char endpoints[ENDPOINTS_MAX][URL_MAX_BYTES];
    size_t endpoints_count, named_count; /* the named ones come first */
    size_t turn;
    char *user, *password_file, *ca_file, *cert_file, *key_file;
    char token[TOKEN_MAX_BYTES]; /* "" = none yet */
    uint64_t cluster;
    CURLM *multi;
    CURL *request, *watch;
    bool watching; /* `watch` is under way */
    struct curl_slist *headers, *watch_headers;
    buffer_t reply, events;
    char *watch_body;
    bool woken; /* the watch said something, or ended */
    atomic_bool poked;
    atomic_bool cancelled;
};

/* ---- numbers and bytes as etcd writes them */

int64_t rota_etcd_number (const json_t *value)
{
    if (json_is_integer (value))
        return json_integer_value (value);
    return json_is_string (value) ? strtoll (json_string_value (value), NULL, 10) : 0;
}

uint64_t rota_etcd_id (const json_t *value)
{
    if (json_is_integer (value))
        return (uint64_t)json_integer_value (value);
    return json_is_string (value) ? strtoull (json_string_value (value), NULL, 10) : 0;
}

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

json_t *rota_etcd_bytes (const char *text)
{
    const uint8_t *bytes = (const uint8_t *)text;
    size_t size = strlen (text), used = 0;
    char *out = malloc ((size + 2) / 3 * 4 + 1);
    if (!out)
        return NULL;
    for (size_t i = 0; i < size; i += 3) {
        uint32_t group = (uint32_t)bytes[i] << 16;
        if (i + 1 < size)
            group |= (uint32_t)bytes[i + 1] << 8;
        if (i + 2 < size)
            group |= bytes[i + 2];
        out[used++] = DIGITS[group >> 18];
        out[used++] = DIGITS[group >> 12 & 63];
        out[used++] = i + 1 < size ? DIGITS[group >> 6 & 63] : '=';
        out[used++] = i + 2 < size ? DIGITS[group & 63] : '=';
    }
    out[used] = '\0';
    json_t *value = json_string (out);
    free (out);
    return value;
}

void rota_etcd_text (const json_t *value, char *ret_text, size_t capacity)
{
    const char *at = json_string_value (value);
    uint32_t group = 0;
    unsigned bits = 0;
    size_t used = 0;

    ret_text[0] = '\0';
    for (; at && *at && *at != '='; at++) {
        const char *digit = strchr (DIGITS, *at);
        if (!digit || used + 1 >= capacity) {
            ret_text[0] = '\0';
            return;
        }
        group = group << 6 | (uint32_t)(digit - DIGITS);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            ret_text[used++] = (char)(group >> bits & 0xff);
        }
    }
    ret_text[used] = '\0';
    if (strlen (ret_text) != used)
        ret_text[0] = '\0';
}

/* ---- making one */

static void start_curl (void)
{
    curl_global_init (CURL_GLOBAL_DEFAULT);
}

static int add_endpoint (rota_etcd_t *self, const char *url)
{
    size_t length = strlen (url);
    while (length > 0 && url[length - 1] == '/')
        length--;
    bool fits = (strncmp (url, "http://", 7) == 0 || strncmp (url, "https://", 8) == 0) &&
                length < URL_MAX_BYTES && strcspn (url, "@ \t\r\n?#") == strlen (url);
    if (!fits)
        return -EINVAL;
    if (self->endpoints_count == ENDPOINTS_MAX)
        return -ENOSPC;
    memcpy (self->endpoints[self->endpoints_count], url, length);
    self->endpoints[self->endpoints_count++][length] = '\0';
    return 0;
}

static int copy_text (const char *text, char **ret_copy)
{
    *ret_copy = text && *text ? strdup (text) : NULL;
    return text && *text && !*ret_copy ? -ENOMEM : 0;
}

/* Without its end of line. */
static int read_password (const rota_etcd_t *self, char ret_password[PASSWORD_MAX_BYTES], rota_error_t *error)
{
    struct stat status;
    int fd = open (self->password_file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat (fd, &status) < 0) {
        int result = -errno;
        if (fd >= 0)
            close (fd);
        return rota_error_set (error, result, "%s: %s", self->password_file, strerror (-result));
    }
    ssize_t size = read (fd, ret_password, PASSWORD_MAX_BYTES - 1);
    close (fd);
    if (status.st_mode & 077)
        return rota_error_set (error, -EINVAL, "%s: others can read it; chmod 600 it", self->password_file);
    ret_password[size > 0 ? size : 0] = '\0';
    ret_password[strcspn (ret_password, "\r\n")] = '\0';
    return 0;
}

static int take_config (rota_etcd_t *self, const rota_etcd_config_t *config, rota_error_t *error)
{
    char password[PASSWORD_MAX_BYTES];
    for (size_t i = 0; i < config->endpoints_count; i++)
        if (add_endpoint (self, config->endpoints[i]) < 0)
            return rota_error_set (error, -EINVAL, "\"%s\" is no http://HOST:PORT or https://HOST:PORT",
                                   config->endpoints[i]);
    self->named_count = self->endpoints_count;
    if (copy_text (config->user, &self->user) < 0 ||
        copy_text (config->password_file, &self->password_file) < 0 ||
        copy_text (config->ca_file, &self->ca_file) < 0 ||
        copy_text (config->cert_file, &self->cert_file) < 0 ||
        copy_text (config->key_file, &self->key_file) < 0)
        return rota_error_set (error, -ENOMEM, "out of memory");
    if (self->endpoints_count == 0)
        return rota_error_set (error, -EINVAL, "no etcd server is named");
    if (self->user && !self->password_file)
        return rota_error_set (error, -EINVAL, "etcd's user %s has no password file", self->user);
    int result = self->user ? read_password (self, password, error) : 0;
    explicit_bzero (password, sizeof password);
    return result;
}

static size_t on_reply (char *bytes, size_t one, size_t size, void *owner)
{
    (void)one;
    rota_etcd_t *self = owner;
    if (self->reply.size + size > REPLY_MAX_BYTES)
        return 0;
    char *grown = realloc (self->reply.bytes, self->reply.size + size + 1);
    if (!grown)
        return 0;
    memcpy (grown + self->reply.size, bytes, size);
    self->reply.bytes = grown;
    self->reply.size += size;
    return size;
}

/* A line is a whole message. Only whether something happened matters: the state is asked for then. */
static void take_event (rota_etcd_t *self, const char *line, size_t length)
{
    json_t *message = json_loadb (line, length, 0, NULL);
    const json_t *result = json_object_get (message, "result");
    if (!result || json_array_size (json_object_get (result, "events")) > 0 ||
        json_is_true (json_object_get (result, "canceled")))
        self->woken = true;
    json_decref (message);
}

static size_t on_events (char *bytes, size_t one, size_t size, void *owner)
{
    (void)one;
    rota_etcd_t *self = owner;
    buffer_t *events = &self->events;
    if (events->size + size > REPLY_MAX_BYTES)
        return 0;
    char *grown = realloc (events->bytes, events->size + size + 1);
    if (!grown)
        return 0;
    memcpy (grown + events->size, bytes, size);
    events->bytes = grown;
    events->size += size;
    for (char *end; (end = memchr (events->bytes, '\n', events->size));) {
        size_t length = (size_t)(end - events->bytes);
        take_event (self, events->bytes, length);
        events->size -= length + 1;
        memmove (events->bytes, end + 1, events->size);
    }
    return size;
}

static void set_common_options (const rota_etcd_t *self, CURL *easy)
{
    curl_easy_setopt (easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt (easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt (easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt (easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt (easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt (easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    if (self->ca_file)
        curl_easy_setopt (easy, CURLOPT_CAINFO, self->ca_file);
    if (self->cert_file)
        curl_easy_setopt (easy, CURLOPT_SSLCERT, self->cert_file);
    if (self->key_file)
        curl_easy_setopt (easy, CURLOPT_SSLKEY, self->key_file);
}

int rota_etcd_new (const rota_etcd_config_t *config, rota_etcd_t **ret_etcd, rota_error_t *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once (&once, start_curl);
    rota_etcd_t *self = calloc (1, sizeof *self);
    if (!self)
        return rota_error_set (error, -ENOMEM, "out of memory");
    atomic_init (&self->poked, false);
    atomic_init (&self->cancelled, false);
    int result = take_config (self, config, error);
    if (result == 0) {
        self->multi = curl_multi_init ();
        self->request = curl_easy_init ();
        self->watch = curl_easy_init ();
        if (!self->multi || !self->request || !self->watch)
            result = rota_error_set (error, -ENOMEM, "out of memory");
    }
    if (result < 0) {
        rota_etcd_destroy (&self);
        return result;
    }
    set_common_options (self, self->request);
    curl_easy_setopt (self->request, CURLOPT_WRITEFUNCTION, on_reply);
    curl_easy_setopt (self->request, CURLOPT_WRITEDATA, self);
    set_common_options (self, self->watch);
    curl_easy_setopt (self->watch, CURLOPT_WRITEFUNCTION, on_events);
    curl_easy_setopt (self->watch, CURLOPT_WRITEDATA, self);
    *ret_etcd = self;
    return 0;
}

static void end_watch (rota_etcd_t *self)
{
    if (self->watching)
        curl_multi_remove_handle (self->multi, self->watch);
    self->watching = false;
    self->events.size = 0;
}

void rota_etcd_destroy (rota_etcd_t **self_p)
{
    rota_etcd_t *self = *self_p;
    if (!self)
        return;
    if (self->multi)
        end_watch (self);
    if (self->request)
        curl_easy_cleanup (self->request);
    if (self->watch)
        curl_easy_cleanup (self->watch);
    if (self->multi)
        curl_multi_cleanup (self->multi);
    curl_slist_free_all (self->headers);
    curl_slist_free_all (self->watch_headers);
    explicit_bzero (self->token, sizeof self->token);
    free (self->reply.bytes);
    free (self->events.bytes);
    free (self->watch_body);
    free (self->user);
    free (self->password_file);
    free (self->ca_file);
    free (self->cert_file);
    free (self->key_file);
    free (self);
    *self_p = NULL;
}

/* ---- moving on */

void rota_etcd_wake (rota_etcd_t *self, bool for_good)
{
    if (for_good)
        atomic_store (&self->cancelled, true);
    atomic_store (&self->poked, true);
    curl_multi_wakeup (self->multi);
}

void rota_etcd_resume (rota_etcd_t *self)
{
    atomic_store (&self->cancelled, false);
}

/* What is under way goes on for at most `wait_ms`. True when the request has ended, with *ret_code. */
static bool turn (rota_etcd_t *self, int64_t wait_ms, CURLcode *ret_code)
{
    int running, left;
    bool ended = false;
    curl_multi_perform (self->multi, &running);
    for (CURLMsg *message; (message = curl_multi_info_read (self->multi, &left));) {
        if (message->msg != CURLMSG_DONE)
            continue;
        if (message->easy_handle == self->request) {
            *ret_code = message->data.result;
            ended = true;
        } else {
            end_watch (self);
            self->woken = true;
        }
    }
    if (!ended && wait_ms > 0)
        curl_multi_poll (self->multi, NULL, 0, wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms, NULL);
    return ended;
}

bool rota_etcd_wait (rota_etcd_t *self, int64_t timeout_ms)
{
    int64_t end_ms = rota_clock_boot_ms () + timeout_ms;
    CURLcode code;
    while (!self->woken && !atomic_exchange (&self->poked, false)) {
        int64_t left_ms = end_ms - rota_clock_boot_ms ();
        if (left_ms <= 0)
            return false;
        turn (self, left_ms, &code);
        turn (self, 0, &code);
        if (atomic_load (&self->cancelled))
            return true;
    }
    self->woken = false;
    return true;
}

/* ---- requests */

static struct curl_slist *make_headers (const rota_etcd_t *self, bool with_token)
{
    char line[TOKEN_MAX_BYTES + 32];
    struct curl_slist *headers = curl_slist_append (NULL, "Content-Type: application/json");
    if (with_token && self->token[0]) {
        snprintf (line, sizeof line, "Authorization: %s", self->token);
        headers = curl_slist_append (headers, line);
        explicit_bzero (line, sizeof line);
    }
    return headers;
}

/* One server's answer, whatever it says. 0 and *ret_status (HTTP); -EHOSTUNREACH; -ECANCELED. */
static int post (rota_etcd_t *self, const char *path, const char *body, int64_t timeout_ms, bool with_token,
                 long *ret_status, rota_error_t *error)
{
    char url[URL_MAX_BYTES + 64];
    CURLcode code = CURLE_OK;
    int64_t end_ms = rota_clock_boot_ms () + timeout_ms;

    snprintf (url, sizeof url, "%s%s", self->endpoints[self->turn], path);
    curl_slist_free_all (self->headers);
    self->headers = make_headers (self, with_token);
    self->reply.size = 0;
    curl_easy_setopt (self->request, CURLOPT_URL, url);
    curl_easy_setopt (self->request, CURLOPT_HTTPHEADER, self->headers);
    curl_easy_setopt (self->request, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt (self->request, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    if (curl_multi_add_handle (self->multi, self->request) != CURLM_OK)
        return rota_error_set (error, -ENOMEM, "out of memory");
    bool ended = false;
    while (!ended && !atomic_load (&self->cancelled)) {
        int64_t left_ms = end_ms - rota_clock_boot_ms ();
        if (left_ms <= 0)
            break;
        ended = turn (self, left_ms, &code);
    }
    curl_multi_remove_handle (self->multi, self->request);
    if (atomic_load (&self->cancelled))
        return rota_error_set (error, -ECANCELED, "given up");
    if (!ended || code != CURLE_OK)
        return rota_error_set (error, -EHOSTUNREACH, "%s: %s", self->endpoints[self->turn],
                               ended ? curl_easy_strerror (code) : "no answer in time");
    curl_easy_getinfo (self->request, CURLINFO_RESPONSE_CODE, ret_status);
    return 0;
}

/* Some refusals are of this one server, or of this moment: another may do better. */
static bool is_temporary (long status)
{
    return status == 503 || status == 504 || status == 429;
}

static bool is_old_token (long status, const json_t *reply)
{
    const char *text = json_string_value (json_object_get (reply, "error"));
    return status == 401 ||
           (text && (strstr (text, "invalid auth token") || strstr (text, "auth store is old") ||
                     strstr (text, "user name is empty")));
}

static int refused (const rota_etcd_t *self, long status, const json_t *reply, rota_error_t *error)
{
    const char *text = json_string_value (json_object_get (reply, "error"));
    return rota_error_set (error, is_temporary (status) ? -EHOSTUNREACH : -EPROTO, "%s: HTTP %ld%s%.200s",
                           self->endpoints[self->turn], status, text ? ": " : "", text ? text : "");
}

uint64_t rota_etcd_cluster (const rota_etcd_t *self)
{
    return self->cluster;
}

static int check_cluster (rota_etcd_t *self, const json_t *reply, rota_error_t *error)
{
    const json_t *header = json_object_get (reply, "header");
    if (!header)
        header = json_object_get (json_object_get (reply, "result"), "header");
    uint64_t cluster = rota_etcd_id (json_object_get (header, "cluster_id"));
    if (cluster == 0)
        return rota_error_set (error, -EHOSTUNREACH, "%s: the answer names no cluster: is this etcd?",
                               self->endpoints[self->turn]);
    if (self->cluster == 0)
        self->cluster = cluster;
    if (self->cluster != cluster)
        return rota_error_set (error, -EHOSTUNREACH,
                               "%s belongs to another etcd cluster (%llx, not %llx); if etcd was made anew, "
                               "start the broker again",
                               self->endpoints[self->turn], (unsigned long long)cluster,
                               (unsigned long long)self->cluster);
    return 0;
}

/* The answer of the server whose turn it is. */
static int ask (rota_etcd_t *self, const char *path, const char *body, int64_t timeout_ms, bool with_token,
                json_t **ret_reply, bool *ret_old_token, rota_error_t *error)
{
    long status = 0;
    *ret_old_token = false;
    int result = post (self, path, body, timeout_ms, with_token, &status, error);
    if (result < 0)
        return result;
    json_t *reply = json_loadb (self->reply.bytes ? self->reply.bytes : "", self->reply.size, 0, NULL);
    if (status == 200 && json_is_object (reply)) {
        result = check_cluster (self, reply, error);
        if (result == 0)
            *ret_reply = reply;
        else
            json_decref (reply);
        return result;
    }
    *ret_old_token = is_old_token (status, reply);
    result = refused (self, status, reply, error);
    json_decref (reply);
    return result;
}

static int authenticate (rota_etcd_t *self, int64_t timeout_ms, rota_error_t *error)
{
    char password[PASSWORD_MAX_BYTES];
    bool old;
    json_t *reply = NULL;
    self->token[0] = '\0';
    int result = read_password (self, password, error);
    json_t *body = result == 0 ? json_pack ("{s:s, s:s}", "name", self->user, "password", password) : NULL;
    explicit_bzero (password, sizeof password);
    char *text = body ? json_dumps (body, JSON_COMPACT) : NULL;
    json_decref (body);
    if (result == 0 && !text)
        result = rota_error_set (error, -ENOMEM, "out of memory, or the password is no text");
    if (result == 0)
        result = ask (self, "/v3/auth/authenticate", text, timeout_ms, false, &reply, &old, error);
    if (text)
        explicit_bzero (text, strlen (text));
    free (text);
    if (result < 0)
        return rota_error_prefix (error, result, "etcd's user %s", self->user);
    const char *token = json_string_value (json_object_get (reply, "token"));
    if (!token || strlen (token) >= sizeof self->token || strpbrk (token, "\r\n"))
        result = rota_error_set (error, -EPROTO, "etcd gave no token that can be used");
    else
        snprintf (self->token, sizeof self->token, "%s", token);
    json_decref (reply);
    return result;
}

/* With a token that is thrown away and fetched again once when etcd doesn't take it. */
static int ask_as_user (rota_etcd_t *self, const char *path, const char *body, int64_t timeout_ms,
                        json_t **ret_reply, rota_error_t *error)
{
    bool old = false;
    for (int attempt = 0;; attempt++) {
        int result = self->user && !self->token[0] ? authenticate (self, timeout_ms, error) : 0;
        if (result == 0)
            result = ask (self, path, body, timeout_ms, true, ret_reply, &old, error);
        if (result == 0 || !self->user || !old || attempt == 1)
            return result;
        self->token[0] = '\0';
    }
}

int rota_etcd_call (rota_etcd_t *self, const char *path, json_t *body, int64_t timeout_ms, int64_t try_ms,
                    json_t **ret_reply, rota_error_t *error)
{
    int64_t end_ms = rota_clock_boot_ms () + timeout_ms;
    char *text = body ? json_dumps (body, JSON_COMPACT) : NULL;
    json_decref (body);
    if (!text)
        return rota_error_set (error, -ENOMEM, "out of memory");
    int result = -EHOSTUNREACH;
    for (size_t i = 0; i < self->endpoints_count && result == -EHOSTUNREACH; i++) {
        int64_t left_ms = end_ms - rota_clock_boot_ms ();
        if (left_ms < LEFT_MIN_MS && i > 0)
            break;
        result = ask_as_user (self, path, text, left_ms < try_ms ? left_ms : try_ms, ret_reply, error);
        if (result == -EHOSTUNREACH)
            self->turn = (self->turn + 1) % self->endpoints_count;
    }
    free (text);
    return result;
}

static void log_servers (const rota_etcd_t *self)
{
    char list[1024];
    size_t used = 0;
    list[0] = '\0';
    for (size_t e = 0; e < self->endpoints_count && used < sizeof list; e++)
        used += (size_t)snprintf (list + used, sizeof list - used, "%s%s", e ? " " : "", self->endpoints[e]);
    rota_log (ROTA_LOG_INFO, "etcd.servers", "named=%zu servers=\"%s\"", self->named_count, list);
}

void rota_etcd_learn (rota_etcd_t *self, int64_t timeout_ms)
{
    rota_error_t error;
    json_t *reply = NULL, *member, *url;
    size_t i, k;
    bool tls = strncmp (self->endpoints[0], "https://", 8) == 0;
    if (rota_etcd_call (self, "/v3/cluster/member/list", json_object (), timeout_ms, timeout_ms, &reply,
                        &error) < 0)
        return;
    char current[URL_MAX_BYTES], before[ENDPOINTS_MAX][URL_MAX_BYTES];
    size_t before_count = self->endpoints_count;
    memcpy (before, self->endpoints, sizeof before);
    memcpy (current, self->endpoints[self->turn], sizeof current);
    self->endpoints_count = self->named_count;
    json_array_foreach (json_object_get (reply, "members"), i, member)
    {
        json_array_foreach (json_object_get (member, "clientURLs"), k, url)
        {
            const char *text = json_string_value (url);
            bool known = !text;
            for (size_t e = 0; e < self->endpoints_count && !known; e++)
                known = strcmp (self->endpoints[e], text) == 0;
            if (!known && (!tls || strncmp (text, "https://", 8) == 0))
                add_endpoint (self, text);
        }
    }
    self->turn = 0;
    for (size_t e = 0; e < self->endpoints_count; e++)
        if (strcmp (self->endpoints[e], current) == 0)
            self->turn = e;
    json_decref (reply);
    bool same = before_count == self->endpoints_count;
    for (size_t e = 0; same && e < before_count; e++)
        same = strcmp (before[e], self->endpoints[e]) == 0;
    if (!same)
        log_servers (self);
}

/* ---- the watch */

void rota_etcd_watch (rota_etcd_t *self, const char *key, int64_t revision)
{
    char url[URL_MAX_BYTES + 64], number[32];
    end_watch (self);
    self->woken = false;
    snprintf (number, sizeof number, "%lld", (long long)revision + 1);
    json_t *body = json_pack ("{s:{s:o, s:s}}", "create_request", "key", rota_etcd_bytes (key),
                              "start_revision", number);
    free (self->watch_body);
    self->watch_body = body ? json_dumps (body, JSON_COMPACT) : NULL;
    json_decref (body);
    if (!self->watch_body)
        return; /* the state is asked for from time to time anyway */
    snprintf (url, sizeof url, "%s/v3/watch", self->endpoints[self->turn]);
    curl_slist_free_all (self->watch_headers);
    self->watch_headers = make_headers (self, true);
    curl_easy_setopt (self->watch, CURLOPT_URL, url);
    curl_easy_setopt (self->watch, CURLOPT_HTTPHEADER, self->watch_headers);
    curl_easy_setopt (self->watch, CURLOPT_POSTFIELDS, self->watch_body);
    self->watching = curl_multi_add_handle (self->multi, self->watch) == CURLM_OK;
}
