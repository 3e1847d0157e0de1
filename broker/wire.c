#include "broker/wire.h"
#include "broker/router.h"
#include "bus/clock.h"
#include "proto/envelope.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUTING_ID_BYTES 5
#define SUBSCRIPTION_MAX_BYTES 1024 /* and ZeroMQ's own handshake */

/* ---- opening */

/* The largest body that may come by an endpoint of `role`, UNSPECIFIED = of all. */
static size_t largest_body (Rota__Role role)
{
    size_t largest = 0;
    for (uint32_t type = 0; type < 256; type++) {
        const rota_catalogue_entry_t *entry = rota_catalogue_find (type);
        if (!entry)
            continue;
        for (unsigned sender = ROTA__ROLE__ROLE_READ; sender <= ROTA__ROLE__ROLE_ADMIN; sender++)
            if (entry->senders & 1u << sender &&
                (role == ROTA__ROLE__ROLE_UNSPECIFIED || rota_router_role_fits (role, (Rota__Role)sender)) &&
                entry->max_bytes > largest)
                largest = entry->max_bytes;
    }
    return largest;
}

static int set_option (void *socket, int option, int value)
{
    return zmq_setsockopt (socket, option, &value, sizeof value) < 0 ? -errno : 0;
}

/* A frame over this ends the connection; twice the limit, so that a little too much gets a typed answer. */
static int set_max_message (void *socket, int64_t size_bytes)
{
    return zmq_setsockopt (socket, ZMQ_MAXMSGSIZE, &size_bytes, sizeof size_bytes) < 0 ? -errno : 0;
}

/* IPv6 for "[...]", and with it IPv4 for "*"; an IPv4 address is bound as such. */
static int set_lock (void *socket, const char *endpoint, const rota_wire_lock_t *lock)
{
    int server = 1;
    if (zmq_setsockopt (socket, ZMQ_CURVE_SERVER, &server, sizeof server) < 0 ||
        zmq_setsockopt (socket, ZMQ_CURVE_SECRETKEY, lock->secret_key, ROTA_KEY_BYTES) < 0 ||
        zmq_setsockopt (socket, ZMQ_ZAP_DOMAIN, lock->domain, strlen (lock->domain)) < 0 ||
        zmq_setsockopt (socket, ZMQ_AFFINITY, &lock->threads, sizeof lock->threads) < 0)
        return -errno;
    return set_option (socket, ZMQ_IPV6,
                       strncmp (endpoint, "tcp://[", 7) == 0 || strncmp (endpoint, "tcp://*", 7) == 0);
}

static int set_common_options (void *socket)
{
    uint64_t first_thread = 1;
    int result = set_option (socket, ZMQ_LINGER, ROTA_BROKER_LINGER_MS);
    if (result == 0 && zmq_setsockopt (socket, ZMQ_AFFINITY, &first_thread, sizeof first_thread) < 0)
        result = -errno;
    if (result == 0)
        result = set_option (socket, ZMQ_HANDSHAKE_IVL, ROTA_BROKER_HANDSHAKE_MS);
    if (result == 0)
        result = set_option (socket, ZMQ_BACKLOG, ROTA_BROKER_BACKLOG);
    return result;
}

static int set_router_options (void *socket, Rota__Role role)
{
    bool client = rota_role_is_client (role);
    int queue = role == ROTA_ENDPOINT_OF_SERVICES ? ROTA_BROKER_SERVICE_QUEUE : ROTA_BROKER_AGENT_QUEUE;
    int result = set_common_options (socket);
    if (result == 0)
        result = set_option (socket, ZMQ_ROUTER_MANDATORY, 1);
    if (result == 0)
        result = set_option (socket, ZMQ_RCVHWM, client ? ROTA_BROKER_CLIENT_RECEIVE_QUEUE : queue);
    if (result == 0)
        result = set_option (socket, ZMQ_SNDHWM, client ? ROTA_BROKER_CLIENT_SEND_QUEUE : queue);
    if (result == 0)
        result = set_max_message (socket, 2 * (int64_t)largest_body (role));
    return result;
}

static int set_event_options (void *socket, int type)
{
    int result = set_common_options (socket);
    if (result == 0)
        result = set_option (socket, ZMQ_RCVHWM, ROTA_BROKER_EVENTS_QUEUE);
    if (result == 0)
        result = set_option (socket, ZMQ_SNDHWM, ROTA_BROKER_EVENTS_QUEUE);
    if (result == 0)
        result = set_max_message (socket, type == ZMQ_XPUB
                                              ? SUBSCRIPTION_MAX_BYTES
                                              : 2 * (int64_t)largest_body (ROTA__ROLE__ROLE_SCHEDULER));
    return result;
}

int rota_wire_bind (void *socket, const char *endpoint, int patience_ms)
{
    int64_t end_ms = rota_clock_monotonic_ms () + patience_ms;
    while (zmq_bind (socket, endpoint) < 0) {
        int result = -errno;
        if (result != -EADDRINUSE || rota_clock_monotonic_ms () >= end_ms)
            return result;
        usleep (1000);
    }
    if (strncmp (endpoint, "ipc://", 6) == 0 && chmod (endpoint + 6, 0600) < 0)
        return -errno;
    return 0;
}

static int fail_open (void *socket, const char *endpoint, int result, rota_error_t *error)
{
    if (socket)
        zmq_close (socket);
    return rota_error_set (error, result, "%s: %s", endpoint, zmq_strerror (-result));
}

int rota_wire_open (rota_wire_t *self, void *context, const char *endpoint, Rota__Role role, uint8_t index,
                    const rota_wire_lock_t *lock, rota_error_t *error)
{
    void *socket = zmq_socket (context, ZMQ_ROUTER);
    int result = socket ? set_router_options (socket, role) : -errno;
    if (result == 0 && lock)
        result = set_lock (socket, endpoint, lock);
    if (result == 0)
        result = rota_wire_bind (socket, endpoint, lock ? lock->patience_ms : 0);
    size_t size = sizeof self->endpoint;
    if (result == 0 && zmq_getsockopt (socket, ZMQ_LAST_ENDPOINT, self->endpoint, &size) < 0)
        result = -errno;
    if (result < 0)
        return fail_open (socket, endpoint, result, error);
    self->socket = socket;
    self->role = role;
    self->keyed = lock != NULL;
    self->index = index;
    self->turn = role == ROTA_ENDPOINT_OF_SERVICES ? ROTA_BROKER_TURN_SERVICE
                 : rota_role_is_client (role)      ? ROTA_BROKER_TURN_CLIENT
                                                   : ROTA_BROKER_TURN_AGENT;
    return 0;
}

int rota_wire_open_events (void *context, int type, const char *endpoint, const rota_wire_lock_t *lock,
                           void **ret_socket, rota_error_t *error)
{
    void *socket = zmq_socket (context, type);
    int result = socket ? set_event_options (socket, type) : -errno;
    if (result == 0 && lock)
        result = set_lock (socket, endpoint, lock);
    if (result == 0)
        result = rota_wire_bind (socket, endpoint, lock ? lock->patience_ms : 0);
    if (result < 0)
        return fail_open (socket, endpoint, result, error);
    *ret_socket = socket;
    return 0;
}

void rota_wire_close_socket (void **socket)
{
    if (!*socket)
        return;
    zmq_socket_monitor (*socket, NULL, 0);
    zmq_close (*socket);
    *socket = NULL;
}

void rota_wire_close (rota_wire_t *self)
{
    rota_wire_close_socket (&self->socket);
}

/* ---- in */

size_t rota_wire_drain (void *socket, zmq_msg_t *frame)
{
    size_t count = 0;
    while (zmq_msg_more (frame)) {
        if (zmq_msg_recv (frame, socket, ZMQ_DONTWAIT) < 0)
            break;
        count++;
    }
    return count;
}

/* Only ids that ZeroMQ made are accepted: under a chosen one a peer could come back as whoever had it last.
 */
static bool read_route (const rota_wire_t *self, zmq_msg_t *frame, rota_route_key_t *ret_route)
{
    const uint8_t *id = zmq_msg_data (frame);
    if (zmq_msg_size (frame) != ROUTING_ID_BYTES || id[0] != 0)
        return false;
    uint32_t number;
    memcpy (&number, id + 1, sizeof number);
    *ret_route = (rota_route_key_t)self->index << 32 | number;
    return true;
}

rota_wire_result_t rota_wire_receive (rota_wire_t *self, const rota_culprits_t *culprits, int64_t now_ms,
                                      rota_wire_message_t *ret_message)
{
    rota_wire_result_t result = ROTA_WIRE_FRAMES;
    zmq_msg_t frame;
    zmq_msg_init (&frame);
    if (zmq_msg_recv (&frame, self->socket, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close (&frame);
        return ROTA_WIRE_EMPTY;
    }
    if (!read_route (self, &frame, &ret_message->route))
        result = ROTA_WIRE_FOREIGN;
    else if (rota_culprits_is_mute (culprits, ret_message->route, now_ms))
        result = ROTA_WIRE_MUTED;
    if (result != ROTA_WIRE_FRAMES || !zmq_msg_more (&frame)) {
        rota_wire_drain (self->socket, &frame);
        zmq_msg_close (&frame);
        return result;
    }

    zmq_msg_init (&ret_message->envelope);
    zmq_msg_init (&ret_message->body);
    if (zmq_msg_recv (&ret_message->envelope, self->socket, ZMQ_DONTWAIT) >= 0 &&
        zmq_msg_more (&ret_message->envelope) &&
        zmq_msg_recv (&ret_message->body, self->socket, ZMQ_DONTWAIT) >= 0 &&
        !zmq_msg_more (&ret_message->body)) {
        zmq_msg_close (&frame);
        return ROTA_WIRE_MESSAGE;
    }
    rota_wire_drain (self->socket, &ret_message->body);
    rota_wire_message_close (ret_message);
    zmq_msg_close (&frame);
    return ROTA_WIRE_FRAMES;
}

void rota_wire_message_close (rota_wire_message_t *message)
{
    zmq_msg_close (&message->envelope);
    zmq_msg_close (&message->body);
}

/* On ipc ZeroMQ gives "localhost:uid:gid:pid" as the address, from SO_PEERCRED; on tcp it is an IP number. */
uint32_t rota_wire_pid (zmq_msg_t *frame)
{
    const char *address = zmq_msg_gets (frame, "Peer-Address");
    if (!address || strncmp (address, "localhost:", 10) != 0)
        return 0;
    unsigned long pid = strtoul (strrchr (address, ':') + 1, NULL, 10);
    return pid <= INT32_MAX ? (uint32_t)pid : 0;
}

/* ZAP's answer gave it (zap.h); properties that a peer chooses for itself don't replace it. */
const char *rota_wire_key (zmq_msg_t *frame)
{
    return zmq_msg_gets (frame, "User-Id");
}

/* ---- out */

struct rota_outbox {
    atomic_int_fast64_t bytes;
    atomic_int references;
    int64_t limit_bytes;
};

typedef struct {
    rota_outbox_t *outbox;
    zmq_msg_t body;
} counted_t;

rota_outbox_t *rota_outbox_new (int64_t limit_bytes)
{
    rota_outbox_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    atomic_init (&self->references, 1);
    self->limit_bytes = limit_bytes;
    return self;
}

static void unreference (rota_outbox_t *self)
{
    if (atomic_fetch_sub (&self->references, 1) == 1)
        free (self);
}

void rota_outbox_release (rota_outbox_t **self_p)
{
    if (*self_p)
        unreference (*self_p);
    *self_p = NULL;
}

int64_t rota_outbox_bytes (const rota_outbox_t *self)
{
    return atomic_load (&self->bytes);
}

static void on_body_sent (void *data, void *hint)
{
    (void)data;
    counted_t *counted = hint;
    atomic_fetch_sub (&counted->outbox->bytes, (int64_t)zmq_msg_size (&counted->body));
    unreference (counted->outbox);
    zmq_msg_close (&counted->body);
    free (counted);
}

int rota_outbox_count (rota_outbox_t *self, zmq_msg_t *body)
{
    int64_t size_bytes = (int64_t)zmq_msg_size (body);
    int64_t there_bytes = atomic_load (&self->bytes);
    if (size_bytes < ROTA_BROKER_COUNTED_BODY_BYTES)
        return there_bytes > self->limit_bytes ? -EAGAIN : 0;
    /* One alone may be larger than the limit. */
    if (there_bytes > 0 && there_bytes + size_bytes > self->limit_bytes)
        return -EAGAIN;
    counted_t *counted = malloc (sizeof *counted);
    if (!counted)
        return -ENOMEM;
    counted->outbox = self;
    zmq_msg_init (&counted->body);
    zmq_msg_move (&counted->body, body);
    if (zmq_msg_init_data (body, zmq_msg_data (&counted->body), (size_t)size_bytes, on_body_sent, counted) <
        0) {
        zmq_msg_init (body);
        zmq_msg_move (body, &counted->body);
        zmq_msg_close (&counted->body);
        free (counted);
        return -ENOMEM;
    }
    atomic_fetch_add (&self->bytes, size_bytes);
    atomic_fetch_add (&self->references, 1);
    return 0;
}

static int send_frames (void *socket, rota_route_key_t route, const uint8_t *envelope, size_t envelope_bytes,
                        zmq_msg_t *body)
{
    uint8_t id[ROUTING_ID_BYTES] = {0};
    uint32_t number = (uint32_t)route;
    memcpy (id + 1, &number, sizeof number);
    if (zmq_send (socket, id, sizeof id, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return -errno;
    /* Once the first frame is taken, the others are. */
    if (zmq_send (socket, envelope, envelope_bytes, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
        zmq_msg_send (body, socket, ZMQ_DONTWAIT) < 0)
        return -errno;
    return 0;
}

int rota_wire_send (rota_wire_t *self, rota_route_key_t route, const uint8_t *envelope, size_t envelope_bytes,
                    zmq_msg_t *body, rota_outbox_t *outbox)
{
    int result = outbox ? rota_outbox_count (outbox, body) : 0;
    if (result == 0)
        result = send_frames (self->socket, route, envelope, envelope_bytes, body);
    if (result < 0)
        zmq_msg_close (body);
    return result == -EINTR ? -EAGAIN : result;
}
