#include "telemetry/http.h"

#include "bus/alarm.h"
#include "bus/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64
#define CONNECTION_TIMEOUT_S 15
#define CONNECTION_BYTES (32 * 1024)
#define FRESH_MS 1000
#define ROUNDS_MAX 64 /* of the server, before other things of the loop get their turn */

static const char TEXT[] = "text/plain; charset=utf-8";
static const char METRICS[] = "text/plain; version=0.0.4; charset=utf-8";

/* A request that waits for the text. */
typedef struct waiter {
    struct MHD_Connection *connection; /* NULL once it goes on */
    struct waiter *next;
} waiter_t;

struct rota_http {
    rota_http_config_t config;
    struct MHD_Daemon *daemon;
    rota_alarm_t *alarm;
    int epoll_fd, listen_fd;
    char address[ROTA_HTTP_LISTEN_BYTES];
    waiter_t *waiters;
    bool asked;
    char *text;
    size_t text_size;
    int64_t text_ms;
};

/* ---- the address */

static int parse (const char *listen, struct sockaddr_storage *ret_address, rota_error_t *error)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;
    char host[ROTA_HTTP_LISTEN_BYTES] = "127.0.0.1", *end;
    const char *colon = strrchr (listen, ':'), *port = colon ? colon + 1 : listen;
    size_t length = colon ? (size_t)(colon - listen) : 0;
    unsigned long number = strtoul (port, &end, 10);

    memset (ret_address, 0, sizeof *ret_address);
    if (*port < '0' || *port > '9' || *end || number > 65535 || length >= sizeof host)
        return rota_error_set (error, -EINVAL, "\"%s\" is no ADDRESS:PORT or PORT", listen);
    if (length)
        snprintf (host, sizeof host, "%.*s", (int)length, listen);
    if (host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = '\0';
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons ((uint16_t)number);
        if (inet_pton (AF_INET6, host + 1, &v6->sin6_addr) == 1)
            return 0;
    } else if (inet_pton (AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons ((uint16_t)number);
        return 0;
    }
    return rota_error_set (error, -EINVAL,
                           "\"%s\": %s is no address of this host in digits, as 127.0.0.1 or [::1]", listen,
                           host);
}

int rota_http_check (const char *listen, rota_error_t *error)
{
    struct sockaddr_storage address;
    return parse (listen, &address, error);
}

static int open_socket (rota_http_t *self, const char *where, rota_error_t *error)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    int one = 1, r = parse (where, &address, error);
    if (r < 0)
        return r;
    size = address.ss_family == AF_INET6 ? sizeof (struct sockaddr_in6) : sizeof (struct sockaddr_in);
    self->listen_fd = socket (address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (self->listen_fd < 0 || setsockopt (self->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind (self->listen_fd, (struct sockaddr *)&address, size) < 0 ||
        listen (self->listen_fd, CONNECTIONS_MAX) < 0 ||
        getsockname (self->listen_fd, (struct sockaddr *)&address, &size) < 0)
        return rota_error_set (error, -errno, "can't listen on %s: %s", where, strerror (errno));
    char text[INET6_ADDRSTRLEN];
    if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
        snprintf (self->address, sizeof self->address, "[%s]:%u",
                  inet_ntop (AF_INET6, &v6->sin6_addr, text, sizeof text), ntohs (v6->sin6_port));
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
        snprintf (self->address, sizeof self->address, "%s:%u",
                  inet_ntop (AF_INET, &v4->sin_addr, text, sizeof text), ntohs (v4->sin_port));
    }
    return 0;
}

/* ---- answers */

static enum MHD_Result answer (struct MHD_Connection *connection, unsigned status, const char *type,
                               const char *text, size_t size)
{
    /* It is copied: the cast takes nothing away. */
    struct MHD_Response *response =
        MHD_create_response_from_buffer (size, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    if (!response)
        return MHD_NO;
    MHD_add_response_header (response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header (response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header (response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response (connection, status, response);
    MHD_destroy_response (response);
    return result;
}

static enum MHD_Result say (struct MHD_Connection *connection, unsigned status, const char *text)
{
    char line[512];
    int length = snprintf (line, sizeof line, "%s\n", text);
    return answer (connection, status, TEXT, line,
                   (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

/* While it is suspended nothing is read of it; on_metrics may answer from within. */
static enum MHD_Result serve_metrics (rota_http_t *self, struct MHD_Connection *connection, waiter_t *waiter)
{
    bool fresh = self->text && rota_clock_monotonic_ms () - self->text_ms < FRESH_MS;
    if (fresh || waiter->connection == connection) { /* the second time: it was waited for */
        waiter->connection = NULL;
        if (!self->text)
            return say (connection, MHD_HTTP_SERVICE_UNAVAILABLE, "no figures now");
        return answer (connection, MHD_HTTP_OK, METRICS, self->text, self->text_size);
    }
    waiter->connection = connection;
    waiter->next = self->waiters;
    self->waiters = waiter;
    MHD_suspend_connection (connection);
    if (!self->asked) {
        self->asked = true;
        rota_alarm_set (self->alarm, rota_clock_monotonic_ms ());
    }
    return MHD_YES;
}

static enum MHD_Result on_request (void *owner, struct MHD_Connection *connection, const char *url,
                                   const char *method, const char *version, const char *data, size_t *size,
                                   void **context)
{
    rota_http_t *self = owner;
    (void)version;
    (void)data;
    if (!*context) { /* the first call is for the headers alone */
        *context = calloc (1, sizeof (waiter_t));
        return *context ? MHD_YES : MHD_NO;
    }
    if (*size) { /* a body, which nothing here wants */
        *size = 0;
        return MHD_YES;
    }
    if (strcmp (method, MHD_HTTP_METHOD_GET) != 0 && strcmp (method, MHD_HTTP_METHOD_HEAD) != 0)
        return say (connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
    if (strcmp (url, "/metrics") == 0)
        return serve_metrics (self, connection, *context);
    if (strcmp (url, "/healthz") == 0)
        return say (connection, MHD_HTTP_OK, "ok");
    if (strcmp (url, "/readyz") == 0) {
        const char *why = self->config.why_not_ready (self->config.owner);
        return say (connection, why ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK, why ? why : "ready");
    }
    return say (connection, MHD_HTTP_NOT_FOUND, "there are /metrics, /healthz and /readyz");
}

static void unlink_waiter (rota_http_t *self, const waiter_t *waiter)
{
    for (waiter_t **at = &self->waiters; *at; at = &(*at)->next)
        if (*at == waiter) {
            *at = waiter->next;
            return;
        }
}

static void on_completed (void *owner, struct MHD_Connection *connection, void **context,
                          enum MHD_RequestTerminationCode code)
{
    (void)connection;
    (void)code;
    if (*context)
        unlink_waiter (owner, *context);
    free (*context);
    *context = NULL;
}

static void resume_all (rota_http_t *self)
{
    while (self->waiters) {
        waiter_t *waiter = self->waiters;
        self->waiters = waiter->next;
        MHD_resume_connection (waiter->connection);
    }
}

/* ---- the loop */

static void turn (rota_http_t *self)
{
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    bool timed = true;
    for (int i = 0; i < ROUNDS_MAX && timed && wait_ms == 0; i++) {
        MHD_run (self->daemon);
        timed = MHD_get_timeout (self->daemon, &wait_ms) == MHD_YES;
    }
    if (timed)
        rota_alarm_set (self->alarm, rota_clock_monotonic_ms () + (int64_t)wait_ms);
}

static int on_readable (zloop_t *loop, zmq_pollitem_t *item, void *owner)
{
    (void)loop;
    (void)item;
    turn (owner);
    return 0;
}

/* Asking waits for the loop's next turn: it may answer at once, which a connection in its handler can't take.
 */
static void on_alarm (void *owner)
{
    rota_http_t *self = owner;
    if (self->asked) {
        self->asked = false;
        if (self->waiters)
            self->config.on_metrics (self->config.owner);
    }
    turn (self);
}

void rota_http_metrics (rota_http_t *self, const char *text, size_t size_bytes)
{
    char *copy = malloc (size_bytes + 1);
    if (copy) {
        memcpy (copy, text, size_bytes);
        free (self->text);
        self->text = copy;
        self->text_size = size_bytes;
        self->text_ms = rota_clock_monotonic_ms ();
    }
    resume_all (self);
    rota_alarm_set (self->alarm, rota_clock_monotonic_ms ());
}

const char *rota_http_address (const rota_http_t *self)
{
    return self->address;
}

int rota_http_new (const rota_http_config_t *config, const char *listen, rota_http_t **ret_self,
                   rota_error_t *error)
{
    rota_http_t *self = calloc (1, sizeof *self);
    if (!self)
        return rota_error_set (error, -ENOMEM, "no memory");
    self->config = *config;
    self->listen_fd = -1;
    int r = open_socket (self, listen, error);
    if (r == 0) {
        self->daemon = MHD_start_daemon (MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request,
                                         self, MHD_OPTION_LISTEN_SOCKET, (MHD_socket)self->listen_fd,
                                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_TIMEOUT_S,
                                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
                                         MHD_OPTION_NOTIFY_COMPLETED, on_completed, self, MHD_OPTION_END);
        const union MHD_DaemonInfo *info =
            self->daemon ? MHD_get_daemon_info (self->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
        self->alarm = rota_alarm_new (config->loop, on_alarm, self);
        if (!info || !self->alarm)
            r = rota_error_set (error, -ENOMEM, "can't serve HTTP on %s", listen);
        else
            self->epoll_fd = info->epoll_fd;
    }
    zmq_pollitem_t item = {.fd = self->epoll_fd, .events = ZMQ_POLLIN};
    if (r == 0 && zloop_poller (config->loop, &item, on_readable, self) < 0)
        r = rota_error_set (error, -ENOMEM, "no memory");
    if (r < 0) {
        rota_http_destroy (&self);
        return r;
    }
    zloop_poller_set_tolerant (config->loop, &item);
    *ret_self = self;
    return 0;
}

void rota_http_destroy (rota_http_t **self_p)
{
    rota_http_t *self = *self_p;
    if (!self)
        return;
    if (self->daemon) {
        zmq_pollitem_t item = {.fd = self->epoll_fd, .events = ZMQ_POLLIN};
        if (self->alarm)
            zloop_poller_end (self->config.loop, &item);
        resume_all (self); /* one that is suspended must not be at the end */
        MHD_run (self->daemon);
        MHD_stop_daemon (self->daemon); /* closes the socket */
    } else if (self->listen_fd >= 0) {
        close (self->listen_fd);
    }
    rota_alarm_destroy (&self->alarm);
    free (self->text);
    free (self);
    *self_p = NULL;
}
