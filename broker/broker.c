/* broker.c - the broker put together: its sockets, its loop, its clock. */
#include "broker/broker_internal.h"
#include "bus/clock.h"
#include "bus/endpoint.h"
#include "bus/log.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define HELLO_ARENA_BYTES (64 * 1024)

/* ---- making one */

static bool is_keyed (const rota_broker_endpoint_t *endpoint)
{
    return endpoint->role == ROTA__ROLE__ROLE_UNSPECIFIED;
}

static bool any_keyed (const rota_broker_config_t *config)
{
    for (size_t i = 0; i < config->endpoints_count; i++)
        if (is_keyed (&config->endpoints[i]))
            return true;
    return false;
}

static int check_config (const rota_broker_config_t *config, rota_error_t *error)
{
    if (!config->state_dir || !config->state_dir[0])
        return rota_error_set (error, -EINVAL, "no state directory given");
    if (config->endpoints_count > ROTA_BROKER_MAX_ENDPOINTS)
        return rota_error_set (error, -EINVAL, "more than %d endpoints", ROTA_BROKER_MAX_ENDPOINTS);
    for (size_t i = 0; i < config->endpoints_count; i++) {
        const rota_broker_endpoint_t *endpoint = &config->endpoints[i];
        if (is_keyed (endpoint) && !config->keys_dir)
            return rota_error_set (error, -EINVAL, "%s: no directory of keys given", endpoint->endpoint);
        if (is_keyed (endpoint))
            continue;
        if (!config->insecure || !rota_endpoint_is_loopback (endpoint->endpoint))
            return rota_error_set (
                error, -EINVAL, "%s: without keys only tcp on loopback is served, and only with --insecure",
                endpoint->endpoint);
        if (endpoint->role < ROTA__ROLE__ROLE_UNSPECIFIED || endpoint->role > ROTA__ROLE__ROLE_ADMIN)
            return rota_error_set (error, -EINVAL, "%s: unknown role", endpoint->endpoint);
    }
    return 0;
}

static int64_t or_default (int64_t value, int64_t fallback)
{
    return value > 0 ? value : fallback;
}

static rota_quota_t *new_quota (const rota_broker_config_t *config)
{
    rota_quota_limits_t limits = {
        .messages = {ROTA_BROKER_CLIENT_MESSAGES_PER_S, ROTA_BROKER_CLIENT_MESSAGES_BURST},
        .bytes = {ROTA_BROKER_CLIENT_BYTES_PER_S, ROTA_BROKER_CLIENT_BYTES_BURST},
        .waiting_messages = or_default (config->quota_messages, ROTA_BROKER_QUOTA_MESSAGES),
        .waiting_bytes = or_default (config->quota_bytes, ROTA_BROKER_QUOTA_BYTES),
        .total_waiting_bytes = ROTA_BROKER_WAITING_BYTES,
        .in_flight = or_default (config->in_flight, ROTA_BROKER_IN_FLIGHT),
        .in_flight_bytes = ROTA_BROKER_IN_FLIGHT_BYTES,
        .in_flight_age_ms = ROTA_BROKER_IN_FLIGHT_AGE_MS,
        .retry_after_ms = ROTA_BROKER_RETRY_AFTER_MS,
    };
    return rota_quota_new (&limits);
}

static int make_tables (rota_broker_t *self, const rota_broker_config_t *config, rota_error_t *error)
{
    self->presence = rota_presence_new (ROTA_BROKER_MAX_MEMBERS, self, relay_on_leave);
    self->quota = new_quota (config);
    self->culprits = rota_culprits_new (ROTA_BROKER_MAX_CULPRITS);
    self->arena = rota_arena_new (HELLO_ARENA_BYTES);
    self->events_outbox = rota_outbox_new (ROTA_BROKER_UNSENT_EVENTS_BYTES);
    if (!self->presence || !self->quota || !self->culprits || !self->arena || !self->events_outbox)
        return rota_error_set (error, -ENOMEM, "out of memory");
    return 0;
}

static int open_wire (rota_broker_t *self, size_t index, const char *endpoint, Rota__Role role,
                      rota_error_t *error)
{
    return rota_wire_open (&self->wires[index], self->context, endpoint, role, (uint8_t)index, NULL, error);
}

static int open_further (rota_broker_t *self, size_t index, const rota_broker_endpoint_t *endpoint,
                         rota_error_t *error)
{
    if (is_keyed (endpoint))
        return remote_open (self, endpoint->endpoint, (uint8_t)index, &self->wires[index], error);
    rota_log (ROTA_LOG_WARNING, "endpoint.insecure",
              "endpoint=%s role=%s reason=\"no keys: every process of this host may connect\"",
              endpoint->endpoint, rota_role_name (endpoint->role));
    return open_wire (self, index, endpoint->endpoint, endpoint->role, error);
}

/* The further ones, which are this broker's own, whoever leads. */
static int open_sockets (rota_broker_t *self, const rota_broker_config_t *config, rota_error_t *error)
{
    int result = 0;
    self->context = zmq_ctx_new ();
    self->wake_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!self->context || self->wake_fd < 0)
        return rota_error_set (error, -errno, "the sockets: %s", strerror (errno));
    if (any_keyed (config)) /* before the first socket */
        result = remote_new (config->keys_dir, self->context, &self->remote, error);
    for (size_t i = 0; result == 0 && i < config->endpoints_count; i++) {
        self->wires_count = WIRES_FIXED + i;
        result = open_further (self, WIRES_FIXED + i, &config->endpoints[i], error);
    }
    self->wires_count = WIRES_FIXED + config->endpoints_count;
    return result;
}

/* Those of the state directory. Binding an ipc path that is in use succeeds and takes it from its owner: only
 * who has the directory, or the role that owns them, may do it. */
int broker_open_own_sockets (rota_broker_t *self, rota_error_t *error)
{
    self->owns_sockets = true;
    int result = open_wire (self, WIRE_SERVICE, self->endpoints.service, ROTA_ENDPOINT_OF_SERVICES, error);
    if (result == 0)
        result = open_wire (self, WIRE_AGENT, self->endpoints.agent, ROTA__ROLE__ROLE_AGENT, error);
    if (result == 0)
        result = open_wire (self, WIRE_CLIENT, self->endpoints.client, ROTA__ROLE__ROLE_ADMIN, error);
    if (result == 0)
        result = rota_wire_open_events (self->context, ZMQ_XSUB, self->endpoints.publish, NULL, &self->xsub,
                                        error);
    if (result == 0)
        result =
            rota_wire_open_events (self->context, ZMQ_XPUB, self->endpoints.events, NULL, &self->xpub, error);
    return result;
}

static int assemble (rota_broker_t *self, const rota_broker_config_t *config, rota_error_t *error)
{
    int result = check_config (config, error);
    if (result == 0)
        result = rota_rundir (config->state_dir, true, self->rundir, sizeof self->rundir, error);
    if (result < 0)
        return result;
    self->heartbeat_ms = (int)or_default (config->heartbeat_ms, ROTA_BROKER_HEARTBEAT_MS);
    self->dead_after_ms = (int)or_default (config->dead_after_ms, ROTA_BROKER_DEAD_AFTER_MS);
    self->ready = config->ready;
    self->memory_limit_bytes = or_default (config->memory_limit_bytes, ROTA_BROKER_MEMORY_BYTES);
    snprintf (self->program_version, sizeof self->program_version, "%s",
              config->program_version ? config->program_version : "");
    rota_rundir_endpoints (self->rundir, &self->endpoints);
    rota_instance_new (self->instance);
    rota_attempts_init (&self->attempts);
    self->started_wall_ms = rota_clock_wall_ms ();

    result = make_tables (self, config, error);
    if (result == 0)
        result = open_sockets (self, config, error);
    return result == 0 ? lead_begin (self, config, error) : result;
}

rota_broker_t *rota_broker_new (const rota_broker_config_t *config, int *ret_status, rota_error_t *error)
{
    rota_broker_t *self = calloc (1, sizeof *self);
    int result = -ENOMEM;
    if (self) {
        self->wake_fd = -1;
        atomic_init (&self->stopping, false);
        result = assemble (self, config, error);
    } else {
        rota_error_set (error, -ENOMEM, "out of memory");
    }
    if (result < 0) {
        rota_broker_destroy (&self);
        if (ret_status)
            *ret_status = result;
    }
    return self;
}

/* ZeroMQ leaves the files of its ipc sockets behind. Only who holds the lock may remove them. */
static void remove_sockets (const rota_broker_t *self)
{
    const char *const endpoints[] = {self->endpoints.client, self->endpoints.agent, self->endpoints.service,
                                     self->endpoints.events, self->endpoints.publish};
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++)
        unlink (endpoints[i] + strlen ("ipc://"));
}

void rota_broker_destroy (rota_broker_t **self_p)
{
    rota_broker_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; i < self->wires_count; i++)
        rota_wire_close (&self->wires[i]);
    if (self->xsub)
        zmq_close (self->xsub);
    if (self->xpub)
        zmq_close (self->xpub);
    remote_destroy (&self->remote);
    coordinator_end (self);
    while (self->context && zmq_ctx_term (self->context) < 0 && errno == EINTR)
        continue;
    rota_presence_destroy (&self->presence);
    rota_quota_destroy (&self->quota);
    rota_culprits_destroy (&self->culprits);
    rota_arena_destroy (&self->arena);
    rota_outbox_release (&self->events_outbox);
    if (self->wake_fd >= 0)
        close (self->wake_fd);
    if (self->owns_sockets)
        remove_sockets (self);
    rota_election_destroy (&self->election);
    free (self);
    *self_p = NULL;
}

/* ---- running */

void rota_broker_stop (rota_broker_t *self)
{
    int saved_errno = errno;
    uint64_t one = 1;
    atomic_store (&self->stopping, true);
    /* It fails only when the counter is full, and then run is awake anyway. */
    ssize_t written = write (self->wake_fd, &one, sizeof one);
    (void)written;
    errno = saved_errno;
}

static int64_t resident_bytes (void)
{
    char text[128];
    int fd = open ("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t size = read (fd, text, sizeof text - 1);
    close (fd);
    text[size > 0 ? size : 0] = 0;
    const char *resident = strchr (text, ' '); /* the second number, in pages */
    return resident ? strtoll (resident, NULL, 10) * sysconf (_SC_PAGESIZE) : 0;
}

/* Frames of a message that never ends are kept by ZeroMQ, past all its limits, and never shown to us; only
 * the process's size tells. */
static int watch_memory (const rota_broker_t *self)
{
    if (resident_bytes () <= self->memory_limit_bytes)
        return 0;
    malloc_trim (0);
    int64_t size_bytes = resident_bytes ();
    if (size_bytes <= self->memory_limit_bytes)
        return 0;
    rota_log (ROTA_LOG_ERROR, "broker.memory",
              "size_bytes=%lld limit_bytes=%lld peers=%zu waiting_bytes=%lld "
              "reason=\"over the limit, ends to be started again; a peer may be sending an endless message\"",
              (long long)size_bytes, (long long)self->memory_limit_bytes,
              rota_presence_count (self->presence), (long long)rota_quota_waiting_bytes (self->quota));
    return -ENOMEM;
}

/* After a pause of this process (a stopped or starved one) the heartbeats of its peers still wait to be read.
 */
static void forgive_own_stall (rota_broker_t *self)
{
    int64_t stall_ms = self->now_ms - self->tick_ms - ROTA_BROKER_TICK_MS;
    if (stall_ms > ROTA_BROKER_TICK_MS)
        rota_presence_forgive (self->presence, stall_ms);
}

static int tick (rota_broker_t *self)
{
    forgive_own_stall (self);
    self->tick_ms = self->now_ms;
    rota_ready_turn (self->ready, self->now_ms);
    self->presence_blocked = false;
    size_t gone = rota_presence_expire (self->presence, self->now_ms, self->dead_after_ms);
    if (gone > 0)
        rota_log (ROTA_LOG_INFO, "peers.gone", "count=%zu silent_ms=%d", gone, self->dead_after_ms);
    if (rota_quota_age_due (self->quota, self->now_ms))
        for (rota_member_t *member = NULL; (member = rota_presence_each (self->presence, member));)
            rota_quota_age (self->quota, &member->quota);
    rota_culprits_forget (self->culprits, self->now_ms);
    int result = remote_turn (self, true);
    return result == 0 ? watch_memory (self) : result;
}

/* What is said unasked, and what has waited: by the one that leads alone, also when the process has just
 * woken up in the middle of a turn. */
static void act (rota_broker_t *self)
{
    if (!lead_holds (self))
        return;
    relay_follow_scheduler (self);
    relay_pump (self);
    coordinator_turn (self);
    if (!self->presence_blocked && rota_presence_has_news (self->presence))
        answers_report_presence (self);
}

/* Reports, heartbeats and cancels come before what clients ask for. Returns how much there was, or a negative
 * errno. */
static int turn (rota_broker_t *self)
{
    self->now_ms = rota_clock_monotonic_ms ();
    int count = remote_turn (self, false);
    if (count < 0)
        return count;
    for (size_t i = 0; i < self->wires_count; i++)
        if (self->wires[i].socket)
            count += relay_turn (self, &self->wires[i]);
    act (self);
    count += events_turn (self);
    count += events_subscriptions_turn (self);
    return count;
}

static int wait_for_messages (rota_broker_t *self)
{
    zmq_pollitem_t items[WIRES_MAX + 4 + REMOTE_POLL_ITEMS];
    void *const events[] = {self->xsub, self->xpub};
    size_t count = 0;
    items[count++] = (zmq_pollitem_t){.fd = self->wake_fd, .events = ZMQ_POLLIN};
    for (size_t i = 0; i < self->wires_count; i++)
        if (self->wires[i].socket)
            items[count++] = (zmq_pollitem_t){.socket = self->wires[i].socket, .events = ZMQ_POLLIN};
    for (size_t i = 0; i < 2; i++)
        if (events[i])
            items[count++] = (zmq_pollitem_t){.socket = events[i], .events = ZMQ_POLLIN};
    if (rota_election_descriptor (self->election) >= 0)
        items[count++] =
            (zmq_pollitem_t){.fd = rota_election_descriptor (self->election), .events = ZMQ_POLLIN};
    count += remote_poll_items (self, items + count);
    int64_t left_ms = self->tick_ms + ROTA_BROKER_TICK_MS - rota_clock_monotonic_ms ();
    int64_t election_ms = self->election_again_ms - rota_clock_boot_ms ();
    if (election_ms < left_ms)
        left_ms = election_ms;
    if (zmq_poll (items, (int)count, left_ms > 0 ? (long)left_ms : 0) < 0 && errno != EINTR)
        return -errno;
    return 0;
}

static void describe (void *owner, char *ret_text, size_t capacity)
{
    const rota_broker_t *self = owner;
    if (self->leads)
        snprintf (ret_text, capacity, "leads since epoch %llu, %zu peers",
                  (unsigned long long)self->led_epoch, rota_presence_count (self->presence));
    else
        snprintf (ret_text, capacity, "stands by, another broker leads");
}

int rota_broker_run (rota_broker_t *self)
{
    int result = 0;
    rota_ready_describe (self->ready, describe, self);
    self->now_ms = self->tick_ms = rota_clock_monotonic_ms ();
    while (result == 0 && !atomic_load (&self->stopping)) {
        result = lead_follow (self);
        if (result < 0)
            break;
        int count = turn (self);
        if (count < 0)
            result = count;
        else if (self->now_ms - self->tick_ms >= ROTA_BROKER_TICK_MS) {
            result = tick (self);
            if (result == 0 && rota_presence_count (self->presence) > 0 && lead_holds (self))
                answers_report_presence (self);
        }
        if (result == 0 && count == 0)
            result = wait_for_messages (self);
    }
    rota_log (ROTA_LOG_INFO, "broker.stopped",
              "routed=%llu answered=%llu refused=%llu malformed=%llu muted=%llu undelivered=%llu events=%llu "
              "turned_away=%llu",
              (unsigned long long)self->counts.routed, (unsigned long long)self->counts.answered,
              (unsigned long long)self->counts.refused, (unsigned long long)self->counts.malformed,
              (unsigned long long)self->counts.muted, (unsigned long long)self->counts.undelivered,
              (unsigned long long)self->counts.events, (unsigned long long)self->counts.turned_away);
    return result;
}

/* ---- looking in */

const char *rota_broker_endpoint (const rota_broker_t *self, size_t index)
{
    return index < self->wires_count - WIRES_FIXED ? self->wires[WIRES_FIXED + index].endpoint : NULL;
}

const char *rota_broker_rundir (const rota_broker_t *self)
{
    return self->rundir;
}

const uint8_t *rota_broker_instance (const rota_broker_t *self)
{
    return self->instance;
}

uint64_t rota_broker_epoch (const rota_broker_t *self)
{
    return self->leadership.epoch;
}

void rota_broker_counts (const rota_broker_t *self, rota_broker_counts_t *ret_counts)
{
    *ret_counts = self->counts;
}
