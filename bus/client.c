#include "bus/client.h"

#include "bus/alarm.h"
#include "bus/clock.h"
#include "bus/endpoint.h"
#include "bus/start.h"
#include "bus/subscriber.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ARENA_BYTES (256 << 20) /* an answer has up to 16 MiB on the wire */

struct rota_client {
    zloop_t *loop;
    rota_peer_t *peer;
    rota_subscriber_t *subscriber;
    rota_alarm_t *alarm;
    zmq_pollitem_t stop;        /* an eventfd that ends the loop's turn */
    zmq_pollitem_t interrupted; /* of the whole process */
    bool running;
    bool woken;
    int64_t end_ms; /* of rota_client_run */
    char events_endpoint[ROTA_ENDPOINT_MAX_BYTES];

    rota_arena_t *arena; /* the last answer */
    uintptr_t call;      /* number of the call; answers to earlier ones are nobody's */
    bool answered;
    int status;
    uint32_t reply_type;
    ProtobufCMessage *reply;
    Rota__Role answer_role;
    const Rota__Error *refusal;
    char why[ROTA_ERROR_MAX_BYTES];
};

/* ---- interruption, for all clients of the process: it comes from a signal handler */

static atomic_bool is_interrupted;
static atomic_int interrupt_fd = -1;
static pthread_once_t interrupt_once = PTHREAD_ONCE_INIT;

static void open_interrupt (void)
{
    int fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    atomic_store (&interrupt_fd, fd);
    /* A signal may have come before there was a descriptor to say so. */
    if (fd >= 0 && atomic_load (&is_interrupted))
        eventfd_write (fd, 1);
}

void rota_client_interrupt (void)
{
    int saved = errno;
    atomic_store (&is_interrupted, true);
    int fd = atomic_load (&interrupt_fd);
    if (fd >= 0)
        eventfd_write (fd, 1);
    errno = saved;
}

void rota_client_interrupt_clear (void)
{
    eventfd_t count;
    atomic_store (&is_interrupted, false);
    int fd = atomic_load (&interrupt_fd);
    if (fd >= 0)
        eventfd_read (fd, &count);
}

/* ---- the loop in turns */

static int on_stop (zloop_t *loop, zmq_pollitem_t *item, void *argument)
{
    (void)loop;
    (void)argument;
    eventfd_t count;
    eventfd_read (item->fd, &count);
    return -1;
}

/* Not read here: every client is to see it, until it is cleared. */
static int on_interrupted (zloop_t *loop, zmq_pollitem_t *item, void *argument)
{
    (void)loop;
    (void)item;
    (void)argument;
    return -1;
}

/* Callbacks of peer and subscriber can't end the loop themselves. */
static void stop_turn (rota_client_t *self)
{
    eventfd_write (self->stop.fd, 1);
}

/* Runs the loop until `*done`. zloop_start also returns on any signal that was handled: that alone is no
 * reason to stop. */
static int run_until (rota_client_t *self, const bool *done)
{
    int status = 0;

    self->running = true;
    while (!*done && status == 0) {
        if (atomic_load (&is_interrupted))
            status = -EINTR;
        else if (zloop_start (self->loop) > 0)
            status = -ENOMEM;
    }
    self->running = false;
    return status;
}

static void on_alarm (void *owner)
{
    rota_client_t *self = owner;
    if (rota_clock_monotonic_ms () < self->end_ms)
        rota_alarm_set (self->alarm, self->end_ms);
    else {
        self->woken = true;
        stop_turn (self);
    }
}

static void on_state (void *owner, rota_peer_state_t state, const Rota__Welcome *welcome, const char *why)
{
    (void)why;
    rota_client_t *self = owner;
    if (state != ROTA_PEER_READY)
        return;
    memset (self->events_endpoint, 0, sizeof self->events_endpoint);
    if (welcome->has_events_endpoint && welcome->events_endpoint.len > 0 &&
        welcome->events_endpoint.len < sizeof self->events_endpoint)
        memcpy (self->events_endpoint, welcome->events_endpoint.data, welcome->events_endpoint.len);
    if (self->subscriber)
        rota_subscriber_welcome (self->subscriber, welcome);
}

/* ---- life */

static bool add_descriptor (rota_client_t *self, zmq_pollitem_t *item, zloop_fn handler)
{
    item->events = ZMQ_POLLIN;
    if (item->fd < 0 || zloop_poller (self->loop, item, handler, self) != 0)
        return false;
    zloop_poller_set_tolerant (self->loop, item);
    return true;
}

rota_client_t *rota_client_new (const char *endpoints, const char *name, rota_error_t *error)
{
    return rota_client_new_with (endpoints, name, &(rota_curve_t){.insecure = false}, error);
}

rota_client_t *rota_client_new_with (const char *endpoints, const char *name, const rota_curve_t *curve,
                                     rota_error_t *error)
{
    rota_client_t *self = calloc (1, sizeof *self);
    if (!self) {
        rota_error_set (error, -ENOMEM, "no memory");
        return NULL;
    }
    self->stop.fd = -1;
    rota_bus_start ();
    pthread_once (&interrupt_once, open_interrupt);
    self->interrupted.fd = atomic_load (&interrupt_fd);
    self->loop = zloop_new ();
    self->arena = rota_arena_new (ARENA_BYTES);
    self->stop.fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!self->loop || !self->arena || !add_descriptor (self, &self->stop, on_stop) ||
        !add_descriptor (self, &self->interrupted, on_interrupted) ||
        !(self->alarm = rota_alarm_new (self->loop, on_alarm, self))) {
        rota_error_set (error, -ENOMEM, "no memory or no descriptor left");
        rota_client_destroy (&self);
        return NULL;
    }
    zloop_set_nonstop (self->loop, true);
    rota_peer_config_t config = {
        .endpoints = endpoints,
        .role = curve->has_key ? ROTA__ROLE__ROLE_UNSPECIFIED : ROTA__ROLE__ROLE_ADMIN,
        .name = name,
        .curve = *curve,
        .owner = self,
        .on_state = on_state,
    };
    self->peer = rota_peer_new (&config, self->loop, error);
    if (!self->peer)
        rota_client_destroy (&self);
    return self;
}

void rota_client_destroy (rota_client_t **self_p)
{
    rota_client_t *self = *self_p;
    if (!self)
        return;
    rota_subscriber_destroy (&self->subscriber);
    rota_peer_destroy (&self->peer);
    rota_alarm_destroy (&self->alarm);
    zloop_destroy (&self->loop);
    if (self->stop.fd >= 0)
        close (self->stop.fd);
    rota_arena_destroy (&self->arena);
    free (self);
    *self_p = NULL;
}

/* ---- calls */

static void take_answer (rota_client_t *self, const rota_reply_t *answer)
{
    ProtobufCMessage *message = NULL;
    uint32_t type = answer->envelope->type;

    self->answer_role = answer->envelope->role;
    int status = rota_body_decode (type, answer->body, answer->size_bytes, self->arena, &message);
    if (status < 0 || (type != self->reply_type && type != ROTA_MESSAGE_ERROR)) {
        self->status = -EPROTO;
        snprintf (self->why, sizeof self->why, "the answer %s (type %u) %s", rota_message_name (type), type,
                  status < 0 ? "can't be decoded" : "is not what was asked for");
    } else if (type == ROTA_MESSAGE_ERROR) {
        self->status = -EPROTO;
        self->refusal = (const Rota__Error *)message;
    } else
        self->reply = message;
}

static void on_reply (void *owner, void *context, const rota_reply_t *answer)
{
    rota_client_t *self = owner;
    if ((uintptr_t)context != self->call)
        return; /* to a call that was interrupted */
    self->answered = true;
    self->status = answer->status;
    if (answer->status == 0)
        take_answer (self, answer);
    else {
        bool unreachable =
            !rota_peer_is_ready (self->peer) || answer->put_off == ROTA__ERROR_CODE__ERROR_CODE_UNAVAILABLE;
        if (answer->status == -ETIMEDOUT && unreachable)
            self->status = -EHOSTUNREACH;
        snprintf (self->why, sizeof self->why, "%s", answer->why);
    }
    stop_turn (self);
}

/* The other side's words, fit for a terminal. */
static int set_refusal (const Rota__Error *refusal, rota_error_t *error)
{
    if (!error)
        return -EPROTO;
    size_t length = refusal->has_text ? refusal->text.len : 0;
    if (length == 0)
        return rota_error_set (error, -EPROTO, "refused: %s",
                               rota_error_code_name (refusal->has_code ? refusal->code : 0));
    if (length >= sizeof error->text)
        length = sizeof error->text - 1;
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = refusal->text.data[i];
        error->text[i] = (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f ? '?' : (char)byte;
    }
    error->text[length] = '\0';
    return -EPROTO;
}

static int call (rota_client_t *self, const uint8_t *to, uint32_t type, const ProtobufCMessage *request,
                 int timeout_ms, uint32_t reply_type, rota_error_t *error)
{
    if (self->running)
        return rota_error_set (error, -EBUSY, "a call from within a callback");
    if (atomic_load (&is_interrupted))
        return rota_error_set (error, -EINTR, "interrupted"); /* nothing is sent any more */
    rota_arena_reset (self->arena);
    self->call++;
    self->answered = false;
    self->status = 0;
    self->reply_type = reply_type;
    self->reply = NULL;
    self->refusal = NULL;
    self->answer_role = ROTA__ROLE__ROLE_UNSPECIFIED;
    self->why[0] = '\0';

    int status = rota_peer_request (self->peer, type, to, request, timeout_ms, on_reply, (void *)self->call);
    if (status < 0)
        return rota_error_set (error, status, "%s: %s", rota_message_name (type),
                               status == -EMSGSIZE ? "larger than a message may be" : strerror (-status));
    status = run_until (self, &self->answered);
    if (status < 0) {
        self->call++; /* its answer, should one come, is nobody's */
        return rota_error_set (error, status, "%s", status == -EINTR ? "interrupted" : strerror (-status));
    }
    if (self->refusal)
        return set_refusal (self->refusal, error);
    return self->status < 0 ? rota_error_set (error, self->status, "%s", self->why) : 0;
}

int rota_client_call_to (rota_client_t *self, const uint8_t *to, uint32_t type,
                         const ProtobufCMessage *request, int timeout_ms, uint32_t reply_type,
                         ProtobufCMessage **ret_reply, rota_error_t *error)
{
    int status = call (self, to, type, request, timeout_ms, reply_type, error);
    if (status == 0)
        *ret_reply = self->reply;
    return status;
}

int rota_client_call (rota_client_t *self, uint32_t type, const ProtobufCMessage *request, int timeout_ms,
                      uint32_t reply_type, ProtobufCMessage **ret_reply, rota_error_t *error)
{
    return rota_client_call_to (self, NULL, type, request, timeout_ms, reply_type, ret_reply, error);
}

/* Asks the scheduler the cheapest question: an answer proves more than a name in WELCOME. */
int rota_client_wait_ready (rota_client_t *self, int timeout_ms, rota_error_t *error)
{
    Rota__EventsQuery query = ROTA__EVENTS_QUERY__INIT;
    query.has_limit = true;
    query.limit = 0;
    int status = call (self, NULL, ROTA_MESSAGE_EVENTS_QUERY, &query.base, timeout_ms,
                       ROTA_MESSAGE_EVENTS_REPLY, error);
    if (status == -EPROTO && self->answer_role == ROTA__ROLE__ROLE_SCHEDULER)
        return 0; /* it does not like the question, but it is there */
    return status == 0 || status == -EINTR || status == -EBUSY ? status : -EHOSTUNREACH;
}

Rota__ErrorCode rota_client_last_code (const rota_client_t *self)
{
    return self->refusal && self->refusal->has_code ? self->refusal->code
                                                    : ROTA__ERROR_CODE__ERROR_CODE_UNSPECIFIED;
}

const Rota__Error *rota_client_last_refusal (const rota_client_t *self)
{
    return self->refusal;
}

/* ---- events */

int rota_client_subscribe (rota_client_t *self, uint64_t after,
                           void (*on_event) (void *owner, const Rota__Event *event), void *owner,
                           rota_error_t *error)
{
    if (self->running)
        return rota_error_set (error, -EBUSY, "a subscription from within a callback");
    rota_subscriber_destroy (&self->subscriber);
    rota_subscriber_config_t config = {.after = after, .owner = owner, .on_event = on_event};
    self->subscriber = rota_subscriber_new (&config, self->peer, self->loop, error);
    if (!self->subscriber)
        return -ENOMEM;
    if (rota_peer_is_ready (self->peer)) {
        Rota__Welcome welcome = ROTA__WELCOME__INIT;
        welcome.has_events_endpoint = self->events_endpoint[0] != '\0';
        welcome.events_endpoint = rota_bytes (self->events_endpoint);
        rota_subscriber_welcome (self->subscriber, &welcome);
    }
    return 0;
}

int rota_client_run (rota_client_t *self, int timeout_ms)
{
    if (self->running)
        return -EBUSY;
    self->end_ms = timeout_ms < 0 ? INT64_MAX : rota_clock_monotonic_ms () + timeout_ms;
    rota_alarm_set (self->alarm, self->end_ms);
    int status = run_until (self, &self->woken);
    self->woken = false;
    self->end_ms = INT64_MAX;
    return status;
}

void rota_client_wake (rota_client_t *self)
{
    self->woken = true;
    stop_turn (self);
}

rota_peer_t *rota_client_peer (rota_client_t *self)
{
    return self->peer;
}

zloop_t *rota_client_loop (rota_client_t *self)
{
    return self->loop;
}
