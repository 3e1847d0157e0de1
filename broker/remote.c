#include "broker/remote.h"

#include "broker/broker_internal.h"
#include "broker/keys.h"
#include "broker/strangers.h"
#include "broker/zap.h"
#include "bus/endpoint.h"
#include "bus/log.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CODE(name) ROTA__ERROR_CODE__ERROR_CODE_##name
#define ROLE(name) ROTA__ROLE__ROLE_##name
#define LOG_EVERY_MS 1000
#define UNSAID_MAX 64 /* who comes when so many wait is named when it comes again */
#define UNSAID_BYTES 400
#define ADMISSIONS_A_TURN 64
#define ACCEPTED_A_TURN 1024
#define STRANGERS_WINDOW_MS (ROTA_BROKER_HANDSHAKE_MS + 1000)
#define OUR_THREAD 2 /* the second; the state directory's sockets have the first */
#define BIND_PATIENCE_MS 10000
#define HOST_MAX_BYTES 200

static const char REQUESTS[] = "requests", EVENTS[] = "events", PUBLISH[] = "publish";

typedef struct {
    char events[256], publish[256];         /* as bound */
    char events_said[32], publish_said[32]; /* "*" is the host */
} doors_t;

struct rota_remote {
    void *context;
    rota_key_pair_t key;
    rota_keys_t *keys;
    rota_culprits_t *turned_away; /* by address and key */
    rota_strangers_t *strangers;
    char unsaid[UNSAID_MAX][UNSAID_BYTES]; /* lines about those who were turned away */
    size_t unsaid_first, unsaid_count;
    int64_t said_ms;
    void *monitors[3 * ROTA_BROKER_MAX_ENDPOINTS]; /* of the sockets: whom they accept */
    size_t monitor_count;
    uint64_t monitors_ever;
    void *zap;
    void *xsub, *xpub;
    doors_t doors[ROTA_BROKER_MAX_ENDPOINTS];
    size_t first_wire, count;
    int patience_ms; /* for addresses that our own sockets may still hold */
};

/* ---- who knocks */

/* After those that they are of. */
static void close_monitors (rota_remote_t *self)
{
    for (size_t i = 0; i < self->monitor_count; i++)
        rota_wire_close_socket (&self->monitors[i]);
    self->monitor_count = 0;
}

/* Has ZeroMQ tell of each connection that `socket` accepts. The queue has no bound: a full one would stop the
 * thread that does the sockets' work, and it is emptied at each turn. */
static int open_monitor (rota_remote_t *self, void *socket, rota_error_t *error)
{
    char name[64];
    int unlimited = 0;
    snprintf (name, sizeof name, "inproc://rota-accepted-%llu", (unsigned long long)self->monitors_ever++);
    void *monitor = zmq_socket (self->context, ZMQ_PAIR);
    if (!monitor || zmq_setsockopt (monitor, ZMQ_RCVHWM, &unlimited, sizeof unlimited) < 0 ||
        zmq_socket_monitor (socket, name, ZMQ_EVENT_ACCEPTED) < 0 || zmq_connect (monitor, name) < 0) {
        int result = rota_error_set (error, -errno, "the sockets: %s", zmq_strerror (errno));
        rota_wire_close_socket (&monitor);
        return result;
    }
    self->monitors[self->monitor_count++] = monitor;
    return 0;
}

/* Of whoever has the descriptor now; the connection may have ended already. */
static bool address_of (int fd, char ret_address[ROTA_STRANGERS_ADDRESS_BYTES])
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (getpeername (fd, (struct sockaddr *)&address, &size) < 0)
        return false;
    const struct in6_addr *six = &((const struct sockaddr_in6 *)&address)->sin6_addr;
    const void *four = &((const struct sockaddr_in *)&address)->sin_addr;
    bool mapped = address.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED (six);
    if (mapped)
        four = six->s6_addr + 12;
    if (address.ss_family == AF_INET || mapped)
        return inet_ntop (AF_INET, four, ret_address, ROTA_STRANGERS_ADDRESS_BYTES);
    return address.ss_family == AF_INET6 &&
           inet_ntop (AF_INET6, six, ret_address, ROTA_STRANGERS_ADDRESS_BYTES);
}

/* An event is two frames: its number and value, here the descriptor; and the endpoint. */
static void note_accepted (rota_remote_t *self, void *monitor, int64_t now_ms)
{
    uint8_t event[6], endpoint[256];
    char address[ROTA_STRANGERS_ADDRESS_BYTES];
    int32_t fd;
    for (int i = 0; i < ACCEPTED_A_TURN; i++) {
        if (zmq_recv (monitor, event, sizeof event, ZMQ_DONTWAIT) != sizeof event)
            return;
        zmq_recv (monitor, endpoint, sizeof endpoint, ZMQ_DONTWAIT);
        memcpy (&fd, event + 2, sizeof fd);
        if (address_of (fd, address))
            rota_strangers_accepted (self->strangers, address, now_ms);
    }
}

/* A line a second of each kind: what else there is to say waits for its turn. */
static void say_who_knocked (rota_remote_t *self, int64_t now_ms)
{
    uint64_t connections;
    if (self->said_ms && now_ms - self->said_ms < LOG_EVERY_MS)
        return;
    const char *address = rota_strangers_next (self->strangers, now_ms, &connections);
    if (address)
        rota_log (ROTA_LOG_WARNING, "peer.stranger",
                  "address=%s connections=%llu reason=\"connected and never showed a key\"", address,
                  (unsigned long long)connections);
    if (self->unsaid_count > 0) {
        rota_log (ROTA_LOG_WARNING, "peer.turned_away", "%s", self->unsaid[self->unsaid_first]);
        self->unsaid_first = (self->unsaid_first + 1) % UNSAID_MAX;
        self->unsaid_count--;
    } else if (!address)
        return;
    self->said_ms = now_ms;
}

/* ---- life */

static int read_key (rota_remote_t *self, const char *keys_dir, rota_error_t *error)
{
    char path[PATH_MAX], text[ROTA_KEY_HEX_BYTES];
    if (snprintf (path, sizeof path, "%s/broker.key", keys_dir) >= (int)sizeof path)
        return rota_error_set (error, -ENAMETOOLONG, "%s: %s", keys_dir, strerror (ENAMETOOLONG));
    int status = rota_key_pair_read (path, &self->key, error);
    bool made = status == -ENOENT;
    if (made) {
        rota_key_pair_new ("broker", &self->key);
        status = rota_key_pair_write (path, &self->key, false, error);
    }
    if (status < 0)
        return status;
    rota_key_to_hex (self->key.public_key, text);
    rota_log (ROTA_LOG_INFO, made ? "key.made" : "key.read", "public=%s", text);
    return 0;
}

int remote_new (const char *keys_dir, void *context, rota_remote_t **ret_remote, rota_error_t *error)
{
    rota_remote_t *self = calloc (1, sizeof *self);
    if (!self)
        return rota_error_set (error, -ENOMEM, "no memory");
    self->context = context;
    int status = read_key (self, keys_dir, error);
    if (status == 0) {
        self->keys = rota_keys_new (keys_dir, error);
        self->turned_away = rota_culprits_new (ROTA_BROKER_MAX_CULPRITS);
        self->strangers = rota_strangers_new (ROTA_BROKER_MAX_CULPRITS, STRANGERS_WINDOW_MS);
        status = self->keys && self->turned_away && self->strangers ? 0 : -EIO;
    }
    if (status == 0 && zmq_ctx_set (context, ZMQ_IO_THREADS, 2) < 0)
        status = rota_error_set (error, -errno, "the sockets: %s", zmq_strerror (errno));
    if (status == 0)
        status = rota_zap_open (context, &self->zap, error);
    if (status < 0)
        remote_destroy (&self);
    else
        *ret_remote = self;
    return status;
}

void remote_destroy (rota_remote_t **self_p)
{
    rota_remote_t *self = *self_p;
    if (!self)
        return;
    rota_wire_close_socket (&self->xsub);
    rota_wire_close_socket (&self->xpub);
    close_monitors (self);
    rota_wire_close_socket (&self->zap);
    rota_keys_destroy (&self->keys);
    rota_culprits_destroy (&self->turned_away);
    rota_strangers_destroy (&self->strangers);
    rota_key_pair_wipe (&self->key);
    free (self);
    *self_p = NULL;
}

/* ---- endpoints */

/* The endpoint `further` ports after `endpoint`, or any port where that has any. */
static int neighbour (const char *endpoint, unsigned further, char *ret_endpoint, size_t capacity,
                      rota_error_t *error)
{
    const char *colon = strrchr (endpoint, ':');
    char *end;
    if (!rota_endpoint_is_tcp (endpoint) || colon < endpoint + 6 || colon - endpoint > HOST_MAX_BYTES)
        return rota_error_set (error, -EINVAL, "endpoint \"%s\": must be tcp://ADDRESS:PORT", endpoint);
    if (strcmp (colon, ":*") == 0 || strcmp (colon, ":0") == 0) {
        snprintf (ret_endpoint, capacity, "%.*s:*", (int)(colon - endpoint), endpoint);
        return 0;
    }
    unsigned long port = strtoul (colon + 1, &end, 10) + further;
    if (end == colon + 1 || *end || colon[1] == '-' || port <= further || port > 65535)
        return rota_error_set (error, -EINVAL,
                               "endpoint \"%s\": the port must be a number from 1 to 65533 (the two after it "
                               "are those of events)",
                               endpoint);
    snprintf (ret_endpoint, capacity, "%.*s:%lu", (int)(colon - endpoint), endpoint, port);
    return 0;
}

/* Under the first endpoint the socket is made, under further ones it is bound, too. */
static int open_events (rota_remote_t *self, int type, const char *domain, const char *endpoint,
                        void **socket, char ret_bound[256], char ret_said[32], rota_error_t *error)
{
    const rota_wire_lock_t lock = {domain, self->key.secret_key, OUR_THREAD, self->patience_ms};
    size_t size = 256;
    int result = 0;
    if (!*socket) {
        result = rota_wire_open_events (self->context, type, endpoint, &lock, socket, error);
        if (result == 0)
            result = open_monitor (self, *socket, error);
    } else if ((result = rota_wire_bind (*socket, endpoint, self->patience_ms)) < 0)
        rota_error_set (error, result, "%s: %s", endpoint, zmq_strerror (-result));
    if (result == 0 && zmq_getsockopt (*socket, ZMQ_LAST_ENDPOINT, ret_bound, &size) < 0)
        result = rota_error_set (error, -errno, "%s: %s", endpoint, zmq_strerror (errno));
    if (result == 0)
        snprintf (ret_said, 32, "tcp://*%s", strrchr (ret_bound, ':'));
    return result;
}

static int open_doors (rota_remote_t *self, const char *requests, const char *events, const char *publish,
                       uint8_t index, rota_wire_t *wire, rota_error_t *error)
{
    const rota_wire_lock_t lock = {REQUESTS, self->key.secret_key, OUR_THREAD, self->patience_ms};
    doors_t *doors = &self->doors[index - self->first_wire];
    int result = rota_wire_open (wire, self->context, requests, ROLE (UNSPECIFIED), index, &lock, error);
    if (result < 0)
        return result;
    result = open_monitor (self, wire->socket, error);
    if (result == 0)
        result = open_events (self, ZMQ_XPUB, EVENTS, events, &self->xpub, doors->events, doors->events_said,
                              error);
    if (result == 0)
        result = open_events (self, ZMQ_XSUB, PUBLISH, publish, &self->xsub, doors->publish,
                              doors->publish_said, error);
    /* All topics: who subscribes to what is only known per connection of XPUB, which come and go. */
    if (result == 0 && zmq_send (self->xsub, "\x01", 1, 0) < 0)
        result = rota_error_set (error, -errno, "%s: %s", publish, zmq_strerror (errno));
    if (result < 0)
        rota_wire_close (wire);
    return result;
}

int remote_open (rota_broker_t *broker, const char *endpoint, uint8_t index, rota_wire_t *wire,
                 rota_error_t *error)
{
    rota_remote_t *self = broker->remote;
    char requests[256], events[256], publish[256];
    int result = neighbour (endpoint, 0, requests, sizeof requests, error);
    if (result == 0)
        result = neighbour (endpoint, 1, events, sizeof events, error);
    if (result == 0)
        result = neighbour (endpoint, 2, publish, sizeof publish, error);
    if (self->count == 0)
        self->first_wire = index;
    if (result == 0)
        result = open_doors (self, requests, events, publish, index, wire, error);
    self->count += result == 0;
    return result;
}

/* ---- admission */

/* The catalogue says who sends events, and who may ask for those that have been. */
static bool is_for (const rota_grant_t *grant, const char *domain)
{
    uint32_t publishers = rota_catalogue_find (ROTA_MESSAGE_EVENT_BATCH)->senders;
    uint32_t readers = rota_catalogue_find (ROTA_MESSAGE_EVENTS_QUERY)->senders;
    if (strcmp (domain, REQUESTS) == 0)
        return true;
    return grant->roles & (strcmp (domain, PUBLISH) == 0 ? publishers : readers | publishers);
}

/* Once for each peer and key, however often it comes. */
static void say_turned_away (rota_broker_t *broker, const rota_zap_request_t *request, const char *name,
                             const char *why)
{
    rota_remote_t *self = broker->remote;
    char text[sizeof request->address + sizeof request->key + sizeof request->domain];
    int length = snprintf (text, sizeof text, "%s %s %s", request->address, request->key, request->domain);
    rota_route_key_t peer = rota_hash (text, (size_t)length);
    broker->counts.turned_away++;
    rota_culprits_fault (self->turned_away, peer, broker->now_ms);
    if (self->unsaid_count == UNSAID_MAX || !rota_culprits_name (self->turned_away, peer))
        return;
    snprintf (self->unsaid[(self->unsaid_first + self->unsaid_count++) % UNSAID_MAX], UNSAID_BYTES,
              "address=%s key=%.16s name=%s for=%s reason=\"%s\"", request->address,
              request->has_key ? request->key : "-", name ? name : "-", request->domain, why);
}

static void admit (rota_broker_t *broker)
{
    rota_remote_t *self = broker->remote;
    rota_zap_request_t request;
    for (int i = 0; i < ADMISSIONS_A_TURN; i++) {
        int status = rota_zap_receive (self->zap, &request);
        if (status == -EAGAIN)
            return;
        if (status < 0)
            continue;
        rota_strangers_asked (self->strangers, request.address);
        const rota_grant_t *grant = request.has_key ? rota_keys_find (self->keys, request.key) : NULL;
        const char *revoked = request.has_key ? rota_keys_revoked (self->keys, request.key) : NULL;
        bool comes_in = grant && is_for (grant, request.domain);
        if (comes_in)
            rota_keys_let_in (self->keys, request.key);
        else
            say_turned_away (broker, &request, grant ? grant->name : revoked,
                             grant     ? "its role has no business there"
                             : revoked ? "the key was revoked"
                                       : "nothing is granted to this key");
        rota_zap_answer (self->zap, &request, comes_in);
    }
}

/* ---- what is granted, message by message */

static const char TAKEN_BACK[] = "what was granted to this key has been taken back";

static void tell_and_drop (rota_broker_t *broker, rota_member_t *member, const rota_envelope_t *request)
{
    rota_log_limited (ROTA_LOG_WARNING, "peer.taken_back", member->identity.key, LOG_EVERY_MS,
                      "role=%s name=%s key=%.16s", rota_role_name (member->identity.role),
                      member->identity.key_name, member->identity.key);
    relay_refuse (broker, &broker->wires[member->identity.endpoint], member->identity.route, request,
                  CODE (NOT_ALLOWED), TAKEN_BACK, 0);
    rota_presence_leave (broker->presence, member);
}

static bool may_still (const rota_remote_t *self, const rota_member_t *member)
{
    const rota_grant_t *grant = rota_keys_find (self->keys, member->identity.key);
    return grant && rota_roles_include (grant->roles, member->identity.role) &&
           (member->identity.role != ROLE (AGENT) || rota_grant_names_agent (grant, member->identity.name));
}

bool remote_permits (rota_broker_t *broker, rota_wire_t *wire, rota_wire_message_t *message,
                     const rota_envelope_t *envelope, rota_member_t *sender)
{
    rota_remote_t *self = broker->remote;
    const char *key = rota_wire_key (&message->envelope);
    if (sender && key && strcmp (sender->identity.key, key) == 0 && may_still (self, sender))
        return true;
    if (!sender && key && rota_keys_find (self->keys, key))
        return true;
    if (sender)
        tell_and_drop (broker, sender, envelope);
    else
        relay_fault (broker, wire, message->route, envelope, CODE (NOT_ALLOWED), TAKEN_BACK);
    return false;
}

Rota__Role remote_role (const rota_broker_t *broker, const char *key, Rota__Role wants)
{
    static const Rota__Role PEOPLE[] = {ROLE (ADMIN), ROLE (OPERATE), ROLE (SUBMIT), ROLE (READ)};
    const rota_grant_t *grant = key ? rota_keys_find (broker->remote->keys, key) : NULL;
    if (!grant)
        return ROLE (UNSPECIFIED);
    if (wants != ROLE (UNSPECIFIED))
        return rota_roles_include (grant->roles, wants) ? wants : ROLE (UNSPECIFIED);
    for (size_t i = 0; i < sizeof PEOPLE / sizeof *PEOPLE; i++)
        if (rota_roles_include (grant->roles, PEOPLE[i]))
            return PEOPLE[i];
    return ROLE (UNSPECIFIED);
}

bool remote_names_agent (const rota_broker_t *broker, const char *key, const char *name)
{
    const rota_grant_t *grant = rota_keys_find (broker->remote->keys, key);
    return grant && rota_grant_names_agent (grant, name);
}

const char *remote_key_name (const rota_broker_t *broker, const char *key)
{
    const rota_grant_t *grant = rota_keys_find (broker->remote->keys, key);
    return grant ? grant->name : "";
}

bool remote_may_publish (const rota_broker_t *broker, const char *key)
{
    const rota_grant_t *grant = key ? rota_keys_find (broker->remote->keys, key) : NULL;
    return grant && is_for (grant, PUBLISH);
}

/* ---- when something is taken back */

/* Where it was. Our own old sockets may hold the addresses for a moment: ZeroMQ closes them in its own time.
 */
static int open_again (rota_broker_t *broker, size_t which, const doors_t *doors, rota_error_t *error)
{
    uint8_t index = (uint8_t)(broker->remote->first_wire + which);
    char requests[sizeof broker->wires[index].endpoint];
    memcpy (requests, broker->wires[index].endpoint, sizeof requests);
    broker->remote->patience_ms = BIND_PATIENCE_MS;
    return open_doors (broker->remote, requests, doors->events, doors->publish, index, &broker->wires[index],
                       error);
}

static int close_and_open (rota_broker_t *broker)
{
    rota_remote_t *self = broker->remote;
    rota_error_t error = {""};
    doors_t doors[ROTA_BROKER_MAX_ENDPOINTS];
    int result = 0;

    memcpy (doors, self->doors, sizeof doors);
    for (rota_member_t *member = NULL, *next = rota_presence_each (broker->presence, NULL); next;) {
        member = next;
        next = rota_presence_each (broker->presence, member);
        if (broker->wires[member->identity.endpoint].keyed)
            rota_presence_leave (broker->presence, member); /* and comes back with another routing id */
    }
    for (size_t i = 0; i < self->count; i++)
        rota_wire_close (&broker->wires[self->first_wire + i]);
    rota_wire_close_socket (&self->xsub);
    rota_wire_close_socket (&self->xpub);
    close_monitors (self);
    rota_keys_all_out (self->keys);
    for (size_t i = 0; result == 0 && i < self->count; i++)
        result = open_again (broker, i, &doors[i], &error);
    if (result < 0)
        rota_log (ROTA_LOG_ERROR, "endpoints.lost", "reason=\"%s\"", error.text);
    else
        rota_log (ROTA_LOG_INFO, "endpoints.reopened", "count=%zu reason=\"a grant was taken back\"",
                  self->count);
    return result;
}

static int take_back (rota_broker_t *broker)
{
    static const rota_envelope_t NO_REQUEST = {.version = ROTA_PROTOCOL_VERSION};
    for (rota_member_t *member = NULL, *next = rota_presence_each (broker->presence, NULL); next;) {
        member = next;
        next = rota_presence_each (broker->presence, member);
        if (broker->wires[member->identity.endpoint].keyed && !may_still (broker->remote, member))
            tell_and_drop (broker, member, &NO_REQUEST);
    }
    return close_and_open (broker);
}

int remote_turn (rota_broker_t *broker, bool thoroughly)
{
    rota_remote_t *self = broker->remote;
    if (!self)
        return 0;
    int result = 0;
    if (rota_keys_look (self->keys, thoroughly) == ROTA_KEYS_TAKEN_BACK)
        result = take_back (broker);
    for (size_t i = 0; i < self->monitor_count; i++)
        note_accepted (self, self->monitors[i], broker->now_ms);
    admit (broker);
    if (thoroughly) {
        rota_culprits_forget (self->turned_away, broker->now_ms);
        say_who_knocked (self, broker->now_ms);
    }
    return result;
}

size_t remote_poll_items (const rota_broker_t *broker, zmq_pollitem_t *items)
{
    const rota_remote_t *self = broker->remote;
    size_t count = 0;
    if (!self)
        return 0;
    items[count++] = (zmq_pollitem_t){.fd = rota_keys_fd (self->keys), .events = ZMQ_POLLIN};
    items[count++] = (zmq_pollitem_t){.socket = self->zap, .events = ZMQ_POLLIN};
    items[count++] = (zmq_pollitem_t){.socket = self->xsub, .events = ZMQ_POLLIN};
    items[count++] = (zmq_pollitem_t){.socket = self->xpub, .events = ZMQ_POLLIN};
    assert (count == REMOTE_POLL_ITEMS);
    return count;
}

/* ---- events */

const char *remote_events_endpoint (const rota_broker_t *broker, const rota_wire_t *wire)
{
    return broker->remote->doors[wire->index - broker->remote->first_wire].events_said;
}

const char *remote_publish_endpoint (const rota_broker_t *broker, const rota_wire_t *wire)
{
    return broker->remote->doors[wire->index - broker->remote->first_wire].publish_said;
}

void *remote_xsub (const rota_broker_t *broker)
{
    return broker->remote ? broker->remote->xsub : NULL;
}

void *remote_xpub (const rota_broker_t *broker)
{
    return broker->remote ? broker->remote->xpub : NULL;
}
