#include "bus/connection.h"
#include "bus/endpoint.h"
#include "bus/start.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SEND_QUEUE 16384 /* a scheduler's answers to a whole batch */
#define RECEIVE_QUEUE 16384
#define MAX_MESSAGE_BYTES (32 << 20)
#define RECONNECT_MS 20
#define RECONNECT_MAX_MS 200
#define HUNG_UP_CERTAIN 3
#define MONITORED                                                                                            \
    (ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CONNECT_RETRIED |                    \
     ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |                            \
     ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)

struct rota_connection {
    zloop_t *loop;
    zsock_t *socket;
    zsock_t *monitor;
    rota_connection_handlers_t handlers;
    bool has_keys;
    unsigned hung_up; /* handshakes broken off in a row */
};

static int on_socket (zloop_t *loop, zsock_t *socket, void *argument)
{
    (void)loop;
    (void)socket;
    rota_connection_t *self = argument;
    self->handlers.on_readable (self->handlers.owner);
    return 0;
}

static int on_monitor (zloop_t *loop, zsock_t *socket, void *argument)
{
    (void)loop;
    (void)socket;
    rota_connection_look (argument);
    return 0;
}

/* The socket's own events come as two frames, of which the first begins with the event's number and has a
 * value after it. */
static bool next_event (rota_connection_t *self, uint16_t *ret_event, uint32_t *ret_value)
{
    void *raw = zsock_resolve (self->monitor);
    zmq_msg_t frame;
    bool got = false;

    zmq_msg_init (&frame);
    for (bool more = true, first = true; more; first = false) {
        if (zmq_msg_recv (&frame, raw, ZMQ_DONTWAIT) < 0)
            break;
        if (first && zmq_msg_size (&frame) >= sizeof *ret_event + sizeof *ret_value) {
            const uint8_t *bytes = zmq_msg_data (&frame);
            memcpy (ret_event, bytes, sizeof *ret_event);
            memcpy (ret_value, bytes + sizeof *ret_event, sizeof *ret_value);
            got = true;
        }
        more = zmq_msg_more (&frame);
    }
    zmq_msg_close (&frame);
    return got;
}

/* A broker that can't open what we sent hangs up without a word, as one does that is about to end; so only
 * several of these in a row are taken for what they most likely mean. */
static void on_hung_up (rota_connection_t *self)
{
    static const char WHY[] =
        "the broker there breaks the handshake off: broker.public_key is not its public "
        "key, or its endpoint takes no keys";
    if (!self->has_keys)
        self->handlers.on_down (self->handlers.owner, "the connection was lost before it stood");
    else if (++self->hung_up < HUNG_UP_CERTAIN)
        self->handlers.on_down (self->handlers.owner, WHY);
    else
        self->handlers.on_turned_away (self->handlers.owner, WHY, true);
}

static void on_failed (rota_connection_t *self, uint16_t event, uint32_t value)
{
    const char *why = NULL;
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH && value == 400)
        why =
            "the broker doesn't take this key: it is not granted there, or was revoked (`rota key grant` on "
            "the broker's host)";
    else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL &&
             value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
        why = self->has_keys ? "the broker's endpoint takes no keys, and this side has one"
                             : "the broker wants a key (--key FILE, security.key_file)";
    self->handlers.on_turned_away (
        self->handlers.owner, why ? why : "the other side speaks another protocol or refuses", why != NULL);
}

void rota_connection_look (rota_connection_t *self)
{
    uint16_t event;
    uint32_t value;
    while (next_event (self, &event, &value)) {
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
            self->hung_up = 0;
            self->handlers.on_up (self->handlers.owner);
        } else if (event == ZMQ_EVENT_CONNECT_RETRIED)
            self->handlers.on_unreachable (self->handlers.owner);
        else if (event == ZMQ_EVENT_DISCONNECTED)
            self->handlers.on_down (self->handlers.owner, "the connection was lost");
        else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL)
            on_hung_up (self);
        else
            on_failed (self, event, value);
    }
}

static void set_options (zsock_t *socket)
{
    zsock_set_linger (socket, 0);
    zsock_set_immediate (socket, 1);
    zsock_set_sndhwm (socket, SEND_QUEUE);
    zsock_set_rcvhwm (socket, RECEIVE_QUEUE);
    zsock_set_maxmsgsize (socket, MAX_MESSAGE_BYTES);
    zsock_set_reconnect_ivl (socket, RECONNECT_MS);
    zsock_set_reconnect_ivl_max (socket, RECONNECT_MAX_MS);
    zsock_set_ipv6 (socket, 1);
}

static int open_monitor (rota_connection_t *self)
{
    static atomic_uint_fast64_t counter; /* the name must be no other's, also while an old one is closing */
    char name[64];
    snprintf (name, sizeof name, "inproc://rota-monitor-%" PRIuFAST64, atomic_fetch_add (&counter, 1));
    if (zmq_socket_monitor (zsock_resolve (self->socket), name, MONITORED) < 0)
        return -errno;
    self->monitor = zsock_new (ZMQ_PAIR);
    if (!self->monitor)
        return -ENOMEM;
    zsock_set_linger (self->monitor, 0);
    return zmq_connect (zsock_resolve (self->monitor), name) < 0 ? -errno : 0;
}

rota_connection_t *rota_connection_new (const char *endpoint, const rota_curve_t *curve, zloop_t *loop,
                                        const rota_connection_handlers_t *handlers, rota_error_t *error)
{
    /* Signals are the program's own affair. Before the first socket: czmq takes them over with it. */
    rota_bus_start ();
    rota_connection_t *self = calloc (1, sizeof *self);
    if (!self) {
        rota_error_set (error, -ENOMEM, "no memory");
        return NULL;
    }
    self->loop = loop;
    self->handlers = *handlers;
    self->socket = zsock_new (ZMQ_DEALER);
    if (!self->socket) {
        rota_error_set (error, -errno, "no socket: %s", zmq_strerror (errno));
        goto failed;
    }
    set_options (self->socket);
    self->has_keys = rota_endpoint_is_tcp (endpoint) && curve->has_key;
    int status = rota_curve_use (curve, zsock_resolve (self->socket), endpoint, error);
    if (status < 0)
        goto failed;
    status = open_monitor (self);
    if (status < 0) {
        rota_error_set (error, status, "no monitor: %s", strerror (-status));
        goto failed;
    }
    if (zmq_connect (zsock_resolve (self->socket), endpoint) < 0) {
        rota_error_set (error, -errno, "can't connect to %s: %s", endpoint, zmq_strerror (errno));
        goto failed;
    }
    /* In this order, so that a connection is known of before what has come through it. */
    if (zloop_reader (loop, self->monitor, on_monitor, self) != 0 ||
        zloop_reader (loop, self->socket, on_socket, self) != 0) {
        rota_error_set (error, -ENOMEM, "no memory");
        goto failed;
    }
    zloop_reader_set_tolerant (loop, self->monitor);
    zloop_reader_set_tolerant (loop, self->socket);
    return self;

failed:
    rota_connection_destroy (&self, 0);
    return NULL;
}

void rota_connection_destroy (rota_connection_t **self_p, int linger_ms)
{
    rota_connection_t *self = *self_p;
    if (!self)
        return;
    if (self->monitor) {
        zloop_reader_end (self->loop, self->monitor);
        zmq_socket_monitor (zsock_resolve (self->socket), NULL, 0);
    }
    if (self->socket) {
        zloop_reader_end (self->loop, self->socket);
        zsock_set_linger (self->socket, linger_ms);
    }
    zsock_destroy (&self->monitor);
    zsock_destroy (&self->socket);
    free (self);
    *self_p = NULL;
}

bool rota_connection_is_writable (rota_connection_t *self)
{
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt (zsock_resolve (self->socket), ZMQ_EVENTS, &events, &size) == 0 &&
           (events & ZMQ_POLLOUT);
}

int rota_connection_send (rota_connection_t *self, const uint8_t *envelope, size_t envelope_bytes,
                          const uint8_t *body, size_t body_bytes)
{
    void *raw = zsock_resolve (self->socket);
    if (zmq_send (raw, envelope, envelope_bytes, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return -EAGAIN;
    /* ZeroMQ has room for whole messages only; a connection that ends in between drops both parts. */
    return zmq_send (raw, body, body_bytes, ZMQ_DONTWAIT) < 0 ? -EAGAIN : 0;
}

int rota_connection_receive (rota_connection_t *self, zmq_msg_t *envelope, zmq_msg_t *body)
{
    void *raw = zsock_resolve (self->socket);
    if (zmq_msg_recv (envelope, raw, ZMQ_DONTWAIT) < 0)
        return -EAGAIN;
    if (!zmq_msg_more (envelope))
        return -EBADMSG;
    if (zmq_msg_recv (body, raw, ZMQ_DONTWAIT) < 0)
        return -EBADMSG;
    bool two = !zmq_msg_more (body);
    while (zmq_msg_more (body) && zmq_msg_recv (body, raw, ZMQ_DONTWAIT) >= 0)
        continue;
    return two ? 0 : -EBADMSG;
}
