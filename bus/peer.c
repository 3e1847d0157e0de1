#include "bus/peer.h"

#include "bus/clock.h"
#include "bus/names.h"
#include "bus/peer_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_OUTSTANDING 4096
#define DEFAULT_PATIENCE_MS 1000
#define DEFAULT_RESEND_MS 3000
#define HEARTBEAT_MIN_MS 20
#define HEARTBEAT_MAX_MS 60000
#define HEARTBEAT_MS 1000
#define DEAD_AFTER_MS 5000
#define HELLO_AGAIN_MS 250   /* without WELCOME */
#define WRITABLE_LOOK_MS 50  /* where no monitor says that a connection stands (inproc) */
#define PAUSE_MS 20          /* between endpoints, and as much again by chance */
#define PAUSE_MAX_MS 320     /* when one after the other gives nothing */
#define TELL_EVERY_MS 900    /* that there is no connection */
#define REFUSED_PAUSE_MS 200 /* after a broker that will not have us, and as much again by chance */
#define REFUSED_PAUSE_MAX_MS 5000
#define TURNED_AWAY_PAUSE_MS 500 /* after one that doesn't take our key, and as much again by chance */
#define LEADERLESS_PAUSE_MS                                                                                  \
    75 /* after one that knows no leader: one is being elected; as much again by chance */
#define WELCOME_DUST_MS 100 /* so long after WELCOME, HELLO_REQUIRED may answer what was sent before it */
#define HINTS_IN_A_ROW 3    /* two brokers that each take the other for the leader must not spin us */
#define STUBBORN_TURNS 5    /* patience with a lone broker that has the connection but says nothing */
#define MESSAGES_PER_WAKE 256
#define LINGER_MS 200
#define ARENA_BYTES (512 << 10) /* an ERROR may carry faults */

/* ---- what the other parts use too */

/* xorshift64: only to keep peers from acting in step. */
int64_t rota_peer_jitter (rota_peer_t *self, int64_t up_to_ms)
{
    self->random ^= self->random << 13;
    self->random ^= self->random >> 7;
    self->random ^= self->random << 17;
    return up_to_ms > 0 ? (int64_t)(self->random % (uint64_t)up_to_ms) : 0;
}

static int64_t earlier (int64_t a_ms, int64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

static void set_alarm (rota_peer_t *self)
{
    int64_t at_ms, wake_ms;

    if (self->state == PEER_PAUSED)
        at_ms = self->try_ms;
    else if (self->state == PEER_READY)
        at_ms = earlier (self->beat_ms, self->heard_ms + self->dead_after_ms);
    else
        at_ms = earlier (self->try_ms, self->hello_ms);
    if (rota_requests_first_due (self->requests, &wake_ms))
        at_ms = earlier (at_ms, wake_ms);
    rota_alarm_set (self->alarm, at_ms);
}

const ProtobufCMessage *rota_peer_decode (rota_peer_t *self, uint32_t type, const uint8_t *body,
                                          size_t size_bytes)
{
    ProtobufCMessage *message = NULL;
    rota_arena_reset (self->arena);
    return rota_body_decode (type, body, size_bytes, self->arena, &message) < 0 ? NULL : message;
}

int rota_peer_send_raw (rota_peer_t *self, rota_envelope_t *envelope, const uint8_t *body, size_t size_bytes)
{
    uint8_t bytes[ROTA_ENVELOPE_MAX_BYTES];

    envelope->version = ROTA_PROTOCOL_VERSION;
    envelope->role = self->config.role;
    envelope->has_sender = true;
    memcpy (envelope->sender, self->instance, sizeof envelope->sender);
    size_t envelope_bytes = rota_envelope_encode (envelope, bytes);
    return rota_connection_send (self->connection, bytes, envelope_bytes, body, size_bytes);
}

__attribute__ ((format (printf, 2, 3))) static void set_why (rota_peer_t *self, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    vsnprintf (self->why, sizeof self->why, format, args);
    va_end (args);
}

static int send_own (rota_peer_t *self, uint32_t type, const ProtobufCMessage *message)
{
    rota_envelope_t envelope = {
        .type = type, .has_conversation = true, .scheduler_epoch = self->config.scheduler_epoch};
    uint8_t *body;
    size_t size_bytes;

    int status = rota_body_encode (type, message, &body, &size_bytes);
    if (status < 0)
        return status;
    memcpy (envelope.conversation, self->conversation, sizeof envelope.conversation);
    status = rota_peer_send_raw (self, &envelope, body, size_bytes);
    free (body);
    return status;
}

/* ---- connecting */

static void tell_connecting (rota_peer_t *self)
{
    int64_t now_ms = rota_clock_monotonic_ms ();
    if (!self->config.on_state || self->closing || (self->told_ms && now_ms - self->told_ms < TELL_EVERY_MS))
        return;
    self->told_ms = now_ms;
    self->config.on_state (self->config.owner, ROTA_PEER_CONNECTING, NULL, self->why);
}

/* True when it is another one than before. */
static bool note_scheduler (rota_peer_t *self, bool known, const ProtobufCBinaryData *instance)
{
    bool has = known && instance->len == sizeof self->scheduler;
    if (has == self->has_scheduler &&
        (!has || memcmp (self->scheduler, instance->data, sizeof self->scheduler) == 0))
        return false;
    self->has_scheduler = has;
    if (has)
        memcpy (self->scheduler, instance->data, sizeof self->scheduler);
    return true;
}

static void tell_scheduler (rota_peer_t *self)
{
    if (self->config.on_scheduler && !self->closing)
        self->config.on_scheduler (self->config.owner, rota_peer_scheduler (self));
}

static void forget_scheduler (rota_peer_t *self)
{
    if (note_scheduler (self, false, NULL))
        tell_scheduler (self);
}

/* Gives this connection up. It is taken down, and the next one set up, by the alarm and never here: this may
 * run inside the connection's own handler. */
static void give_up (rota_peer_t *self, int64_t pause_ms)
{
    self->state = PEER_PAUSED;
    self->try_ms = rota_clock_monotonic_ms () + pause_ms;
    set_alarm (self);
    tell_connecting (self);
    forget_scheduler (self);
}

static bool is_alone (const rota_peer_t *self)
{
    return self->endpoints.count == 1 && strcmp (self->endpoint, self->endpoints.list[0]) == 0;
}

/* On to the next endpoint: at once while there are untried ones, slower with each time around. */
static void move_on (rota_peer_t *self)
{
    unsigned rounds = self->misses++ / (unsigned)self->endpoints.count;
    int64_t pause_ms = rounds < 4 ? PAUSE_MS << rounds : PAUSE_MAX_MS;
    give_up (self, pause_ms + rota_peer_jitter (self, pause_ms));
}

static void say_hello (rota_peer_t *self, int64_t now_ms)
{
    Rota__Hello hello = ROTA__HELLO__INIT;

    hello.has_instance = true;
    hello.instance = rota_bytes_n (self->instance, sizeof self->instance);
    hello.has_wants = self->config.role != ROTA__ROLE__ROLE_UNSPECIFIED;
    hello.wants = self->config.role;
    hello.has_name = true;
    hello.name = rota_bytes (self->name);
    hello.has_host = true;
    hello.host = rota_bytes (self->host);
    hello.has_pid = true;
    hello.pid = (uint32_t)getpid ();
    hello.has_program_version = true;
    hello.program_version = rota_bytes (ROTA_VERSION);
    if (send_own (self, ROTA_MESSAGE_HELLO, &hello.base) < 0) {
        self->hello_ms = now_ms + PAUSE_MS;
        return;
    }
    if (self->state != PEER_GREETING)
        self->try_ms = now_ms + self->config.connect_patience_ms;
    self->state = PEER_GREETING;
    self->hello_ms = now_ms + HELLO_AGAIN_MS;
}

static void on_up (void *owner)
{
    rota_peer_t *self = owner;
    if (self->state == PEER_PAUSED)
        return;
    self->turned_away = self->has_why = false;
    /* A socket learns of its new connection when it looks; without that the first message may not go. */
    rota_connection_is_writable (self->connection);
    say_hello (self, rota_clock_monotonic_ms ());
    set_alarm (self);
}

/* The first time it is news, however lately something else was told. */
static void note_turned_away (rota_peer_t *self, bool certain)
{
    self->turned_away = certain;
    if (certain && !self->told_turned_away) {
        self->told_turned_away = true;
        self->told_ms = 0;
    }
}

/* It is asked again, since somebody may grant our key, but not at ZeroMQ's pace. */
static void on_turned_away (void *owner, const char *why, bool certain)
{
    rota_peer_t *self = owner;
    if (self->state == PEER_PAUSED)
        return;
    set_why (self, "%s: %s", self->endpoint, why);
    note_turned_away (self, certain);
    give_up (self, TURNED_AWAY_PAUSE_MS + rota_peer_jitter (self, TURNED_AWAY_PAUSE_MS));
}

static void on_down (void *owner, const char *why)
{
    rota_peer_t *self = owner;
    if (self->state == PEER_PAUSED)
        return;
    bool stood = self->state != PEER_CONNECTING;
    int64_t now_ms = rota_clock_monotonic_ms ();
    set_why (self, "%s: %s", self->endpoint, why);
    self->has_why = !stood;
    if (!is_alone (self)) {
        move_on (self);
        return;
    }
    if (!stood)
        return;
    self->state = PEER_CONNECTING;
    self->try_ms = now_ms + self->config.connect_patience_ms;
    self->hello_ms = now_ms + WRITABLE_LOOK_MS;
    set_alarm (self);
    tell_connecting (self);
    forget_scheduler (self);
}

/* A lone endpoint is left to ZeroMQ. */
static void on_unreachable (void *owner)
{
    rota_peer_t *self = owner;
    if (self->state != PEER_CONNECTING || is_alone (self))
        return;
    set_why (self, "%s: nothing listens there", self->endpoint);
    move_on (self);
}

static void try_next (rota_peer_t *self, int64_t now_ms)
{
    static const rota_connection_handlers_t HANDLERS = {.on_readable = rota_peer_receive,
                                                        .on_up = on_up,
                                                        .on_down = on_down,
                                                        .on_turned_away = on_turned_away,
                                                        .on_unreachable = on_unreachable};
    rota_connection_handlers_t handlers = HANDLERS;
    rota_error_t error = {""};

    handlers.owner = self;
    rota_connection_destroy (&self->connection, 0);
    if (self->hint[0]) {
        memcpy (self->endpoint, self->hint, sizeof self->endpoint);
        self->hint[0] = '\0';
    } else {
        memcpy (self->endpoint, self->endpoints.list[self->turn], sizeof self->endpoint);
        self->turn = (self->turn + 1) % self->endpoints.count;
    }
    self->connection =
        rota_connection_new (self->endpoint, &self->config.curve, self->loop, &handlers, &error);
    if (!self->connection) {
        set_why (self, "%s", error.text);
        give_up (self, REFUSED_PAUSE_MS + rota_peer_jitter (self, REFUSED_PAUSE_MS));
        return;
    }
    self->state = PEER_CONNECTING;
    self->stubborn = 0;
    self->has_why = false;
    self->try_ms = now_ms + self->config.connect_patience_ms;
    self->hello_ms = now_ms + WRITABLE_LOOK_MS;
    if (!self->why[0]) {
        set_why (self, "connecting to %s", self->endpoint);
        tell_connecting (self);
    }
}

/* No WELCOME in time. A lone endpoint keeps its socket, which goes on trying by itself; now and then it is
 * made anew all the same, for the case that the connection is to a process that will never speak. */
static void lose_patience (rota_peer_t *self, int64_t now_ms)
{
    bool greeting = self->state == PEER_GREETING;
    if (greeting)
        set_why (self, "%s: the connection stands, but the broker does not answer", self->endpoint);
    else if (!self->has_why)
        set_why (self, "%s: nothing answers there", self->endpoint);
    if (is_alone (self) && (!greeting || ++self->stubborn < STUBBORN_TURNS)) {
        self->try_ms = now_ms + self->config.connect_patience_ms;
        tell_connecting (self);
        return;
    }
    move_on (self);
}

/* ---- what brokers say to the peer itself */

static int clamp_ms (uint32_t value_ms, int low_ms, int high_ms)
{
    return value_ms < (uint32_t)low_ms ? low_ms : value_ms > (uint32_t)high_ms ? high_ms : (int)value_ms;
}

/* A leader that was stopped and wakes up may not know yet that there is another. */
static bool is_deposed (rota_peer_t *self, const Rota__Welcome *welcome)
{
    if (!welcome->has_leader_cluster)
        return false;
    if (welcome->leader_cluster == self->leader_cluster && welcome->leader_epoch < self->highest_epoch)
        return true;
    self->leader_cluster = welcome->leader_cluster;
    self->highest_epoch = welcome->leader_epoch;
    return false;
}

void rota_peer_on_welcome (rota_peer_t *self, const uint8_t *body, size_t size_bytes)
{
    if (self->state != PEER_GREETING && self->state != PEER_READY)
        return;
    const Rota__Welcome *welcome =
        (const Rota__Welcome *)rota_peer_decode (self, ROTA_MESSAGE_WELCOME, body, size_bytes);
    if (!welcome)
        return;
    if (is_deposed (self, welcome)) {
        set_why (self, "%s: it led once, but another does now", self->endpoint);
        give_up (self, REFUSED_PAUSE_MS + rota_peer_jitter (self, REFUSED_PAUSE_MS));
        return;
    }
    int64_t now_ms = rota_clock_monotonic_ms ();
    self->heartbeat_ms = welcome->has_heartbeat_ms
                             ? clamp_ms (welcome->heartbeat_ms, HEARTBEAT_MIN_MS, HEARTBEAT_MAX_MS)
                             : HEARTBEAT_MS;
    self->dead_after_ms = clamp_ms (welcome->has_dead_after_ms ? welcome->dead_after_ms : DEAD_AFTER_MS,
                                    2 * self->heartbeat_ms, 10 * HEARTBEAT_MAX_MS);
    self->leader_epoch = welcome->has_leader_epoch ? welcome->leader_epoch : 0;
    self->heard_ms = now_ms;
    bool other_scheduler = note_scheduler (self, welcome->has_scheduler, &welcome->scheduler);
    if (self->state == PEER_GREETING) {
        self->state = PEER_READY;
        self->beat_ms = now_ms + self->heartbeat_ms;
        self->welcomed_ms = self->looked_ms = now_ms;
        self->hints_in_a_row = self->misses = 0;
        self->told_ms = 0;
        self->told_turned_away = false;
        self->why[0] = '\0';
        rota_peer_resend_all (self, now_ms);
        if (self->config.on_state && !self->closing)
            self->config.on_state (self->config.owner, ROTA_PEER_READY, welcome, "");
    }
    if (other_scheduler)
        tell_scheduler (self);
}

void rota_peer_on_heartbeat (rota_peer_t *self, const uint8_t *body, size_t size_bytes)
{
    const Rota__Heartbeat *heartbeat =
        (const Rota__Heartbeat *)rota_peer_decode (self, ROTA_MESSAGE_HEARTBEAT, body, size_bytes);
    if (!heartbeat || self->state != PEER_READY)
        return;
    if (heartbeat->has_leader_epoch)
        self->leader_epoch = heartbeat->leader_epoch;
    if (note_scheduler (self, heartbeat->has_scheduler, &heartbeat->scheduler))
        tell_scheduler (self);
}

void rota_peer_on_goodbye (rota_peer_t *self)
{
    set_why (self, "%s: the broker is shutting down", self->endpoint);
    give_up (self, PAUSE_MS + rota_peer_jitter (self, PAUSE_MS));
}

void rota_peer_on_hello_required (rota_peer_t *self)
{
    int64_t now_ms = rota_clock_monotonic_ms ();
    if (self->state == PEER_READY && now_ms - self->welcomed_ms >= WELCOME_DUST_MS)
        say_hello (self, now_ms);
}

void rota_peer_on_not_leader (rota_peer_t *self, const Rota__Error *refusal)
{
    char hint[ROTA_ENDPOINT_MAX_BYTES] = "";

    self->misses = 0;
    if (refusal->has_leader && refusal->leader.len < sizeof hint && refusal->leader.len > 0 &&
        rota_text_is_valid ((const char *)refusal->leader.data, refusal->leader.len, false))
        memcpy (hint, refusal->leader.data, refusal->leader.len);
    if (hint[0] && rota_endpoint_check (hint, NULL) == 0 && strcmp (hint, self->endpoint) != 0 &&
        self->hints_in_a_row < HINTS_IN_A_ROW) {
        self->hints_in_a_row++;
        set_why (self, "%s: not the leader; trying %s", self->endpoint, hint);
        memcpy (self->hint, hint, sizeof self->hint);
        give_up (self, 0);
        return;
    }
    /* After hints that lead around in circles no less than after a refusal. */
    int pause_ms = self->hints_in_a_row > 0 ? REFUSED_PAUSE_MS : LEADERLESS_PAUSE_MS;
    self->hints_in_a_row = 0;
    set_why (self, "%s: not the leader, and it knows no other", self->endpoint);
    give_up (self, pause_ms + rota_peer_jitter (self, pause_ms));
}

void rota_peer_on_refused (rota_peer_t *self, const Rota__Error *refusal)
{
    bool readable =
        refusal->has_text && rota_text_is_valid ((const char *)refusal->text.data, refusal->text.len, false);
    uint32_t pause_ms = refusal->has_retry_after_ms ? refusal->retry_after_ms : REFUSED_PAUSE_MS;

    set_why (self, "%s: the broker refuses with %s%s%.*s", self->endpoint,
             rota_error_code_name (refusal->code), readable ? ": " : "",
             readable && refusal->text.len < sizeof self->why ? (int)refusal->text.len : 0,
             readable ? (const char *)refusal->text.data : "");
    note_turned_away (self, refusal->code == ROTA__ERROR_CODE__ERROR_CODE_NOT_ALLOWED);
    give_up (self,
             clamp_ms (pause_ms, PAUSE_MS, REFUSED_PAUSE_MAX_MS) + rota_peer_jitter (self, REFUSED_PAUSE_MS));
}

/* ---- the loop's calls */

void rota_peer_receive (void *owner)
{
    rota_peer_t *self = owner;
    bool heard = false;
    zmq_msg_t envelope, body;

    zmq_msg_init (&envelope);
    zmq_msg_init (&body);
    self->delivered = false;
    for (int i = 0; i < MESSAGES_PER_WAKE; i++) {
        int status = rota_connection_receive (self->connection, &envelope, &body);
        if (status == -EAGAIN)
            break;
        heard = true;
        /* What still comes through a connection that was given up is dropped: requests are sent again. */
        if (status == 0 && self->state != PEER_PAUSED)
            rota_peer_dispatch (self, zmq_msg_data (&envelope), zmq_msg_size (&envelope),
                                zmq_msg_data (&body), zmq_msg_size (&body));
    }
    zmq_msg_close (&body);
    zmq_msg_close (&envelope);
    if (heard)
        self->heard_ms = rota_clock_monotonic_ms ();
    if (self->delivered && self->config.on_drained)
        self->config.on_drained (self->config.owner);
    set_alarm (self);
}

static void greet (rota_peer_t *self, int64_t now_ms)
{
    if (now_ms >= self->try_ms) {
        lose_patience (self, now_ms);
        return;
    }
    if (now_ms < self->hello_ms)
        return;
    if (self->state == PEER_GREETING) {
        say_hello (self, now_ms);
        return;
    }
    self->hello_ms = now_ms + WRITABLE_LOOK_MS;
    rota_connection_look (self->connection); /* may greet by itself */
    if (self->state == PEER_CONNECTING && rota_connection_is_writable (self->connection))
        say_hello (self, now_ms);
}

static void keep_alive (rota_peer_t *self, int64_t now_ms)
{
    if (now_ms >= self->beat_ms) {
        Rota__Heartbeat heartbeat = ROTA__HEARTBEAT__INIT;
        heartbeat.has_leader_epoch = self->leader_epoch > 0;
        heartbeat.leader_epoch = self->leader_epoch;
        send_own (self, ROTA_MESSAGE_HEARTBEAT, &heartbeat.base);
        self->beat_ms = now_ms + self->heartbeat_ms;
    }
    if (now_ms - self->heard_ms < self->dead_after_ms)
        return;
    set_why (self, "%s: the broker was silent for %d ms", self->endpoint, self->dead_after_ms);
    give_up (self, PAUSE_MS + rota_peer_jitter (self, PAUSE_MS));
}

static void on_alarm (void *owner)
{
    rota_peer_t *self = owner;
    int64_t now_ms = rota_clock_monotonic_ms ();

    if (self->state == PEER_READY) {
        /* The time that this process itself stood still is not the broker's silence. */
        int64_t stalled_ms = now_ms - self->looked_ms - self->heartbeat_ms;
        if (stalled_ms > self->heartbeat_ms)
            self->heard_ms += stalled_ms;
        self->looked_ms = now_ms;
        keep_alive (self, now_ms);
    } else if (self->state != PEER_PAUSED)
        greet (self, now_ms);
    else if (now_ms >= self->try_ms)
        try_next (self, now_ms);
    rota_peer_look_at_requests (self, now_ms);
    set_alarm (self);
}

/* ---- public */

rota_peer_t *rota_peer_new (const rota_peer_config_t *config, zloop_t *loop, rota_error_t *error)
{
    rota_peer_t *self = calloc (1, sizeof *self);
    if (!self) {
        rota_error_set (error, -ENOMEM, "no memory");
        return NULL;
    }
    self->config = *config;
    self->loop = loop;
    if (!self->config.max_outstanding)
        self->config.max_outstanding = DEFAULT_OUTSTANDING;
    if (self->config.connect_patience_ms <= 0)
        self->config.connect_patience_ms = DEFAULT_PATIENCE_MS;
    if (self->config.resend_ms <= 0)
        self->config.resend_ms = DEFAULT_RESEND_MS;
    if (rota_endpoints_parse (config->endpoints, &self->endpoints, error) < 0)
        goto failed;
    for (size_t i = 0; i < self->endpoints.count; i++)
        if (rota_curve_check (&config->curve, self->endpoints.list[i], error) < 0)
            goto failed;
    memcpy (self->endpoint, self->endpoints.list[0], sizeof self->endpoint);
    snprintf (self->name, sizeof self->name, "%s", config->name ? config->name : "");
    self->config.endpoints = self->config.name = NULL; /* copied, not kept */
    if (gethostname (self->host, sizeof self->host - 1) < 0)
        self->host[0] = '\0';
    rota_instance_new (self->instance);
    rota_instance_new (self->conversation);
    memcpy (&self->random, self->conversation, sizeof self->random);
    self->random |= 1;
    self->requests = rota_requests_new (self->config.max_outstanding);
    self->arena = rota_arena_new (ARENA_BYTES);
    self->alarm = rota_alarm_new (loop, on_alarm, self);
    if (!self->requests || !self->arena || !self->alarm) {
        rota_error_set (error, -ENOMEM, "no memory or no descriptor left");
        goto failed;
    }
    self->state = PEER_PAUSED;
    self->try_ms = rota_clock_monotonic_ms ();
    set_alarm (self);
    return self;

failed:
    rota_peer_destroy (&self);
    return NULL;
}

void rota_peer_destroy (rota_peer_t **self_p)
{
    rota_peer_t *self = *self_p;
    if (!self)
        return;
    self->closing = true;
    if (self->state == PEER_READY || self->state == PEER_GREETING) {
        Rota__Goodbye goodbye = ROTA__GOODBYE__INIT;
        send_own (self, ROTA_MESSAGE_GOODBYE, &goodbye.base);
    }
    if (self->requests)
        rota_peer_cancel_all (self);
    rota_connection_destroy (&self->connection, LINGER_MS);
    rota_alarm_destroy (&self->alarm);
    rota_requests_destroy (&self->requests);
    rota_arena_destroy (&self->arena);
    rota_curve_wipe (&self->config.curve);
    free (self);
    *self_p = NULL;
}

const uint8_t *rota_peer_instance (const rota_peer_t *self)
{
    return self->instance;
}

bool rota_peer_is_ready (const rota_peer_t *self)
{
    return self->state == PEER_READY;
}

const char *rota_peer_endpoint (const rota_peer_t *self)
{
    return self->endpoint;
}

const char *rota_peer_why (const rota_peer_t *self)
{
    return self->why;
}

bool rota_peer_is_turned_away (const rota_peer_t *self)
{
    return self->turned_away;
}

const rota_curve_t *rota_peer_curve (const rota_peer_t *self)
{
    return &self->config.curve;
}

const uint8_t *rota_peer_scheduler (const rota_peer_t *self)
{
    return self->has_scheduler ? self->scheduler : NULL;
}

int rota_peer_send (rota_peer_t *self, const rota_envelope_t *envelope, const ProtobufCMessage *message)
{
    uint8_t *body;
    size_t size_bytes;

    if (!rota_peer_is_ready (self))
        return -EAGAIN;
    int status = rota_body_encode (envelope->type, message, &body, &size_bytes);
    if (status < 0)
        return status;
    status = rota_peer_send_packed (self, envelope, body, size_bytes);
    free (body);
    return status;
}

int rota_peer_send_packed (rota_peer_t *self, const rota_envelope_t *envelope, const uint8_t *body,
                           size_t size_bytes)
{
    const rota_catalogue_entry_t *entry = rota_catalogue_find (envelope->type);
    assert (entry);
    if (size_bytes > entry->max_bytes)
        return -EMSGSIZE;
    if (!rota_peer_is_ready (self))
        return -EAGAIN;
    rota_envelope_t copy = *envelope;
    return rota_peer_send_raw (self, &copy, body, size_bytes);
}

int rota_peer_request (rota_peer_t *self, uint32_t type, const uint8_t *to, const ProtobufCMessage *message,
                       int timeout_ms, rota_reply_fn on_reply, void *context)
{
    int status = rota_peer_add_request (self, type, to, message, timeout_ms, on_reply, context);
    if (status == 0)
        set_alarm (self);
    return status;
}

size_t rota_peer_outstanding (const rota_peer_t *self)
{
    return rota_requests_count (self->requests);
}
