/* lead.c - what the broker does as leadership comes and goes, and where it sends peers meanwhile.
 *
 * A broker's address, which the others get through the election and pass on with NOT_LEADER, is one line:
 * HOST ROLE=ENDPOINT ROLE=ENDPOINT... ROLE is that of those who come by the endpoint, or "any" where their
 * keys say it.
 */
#include "broker/broker_internal.h"
#include "bus/clock.h"
#include "bus/endpoint.h"
#include "bus/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ANY_ROLE "any"

/* ---- addresses */

static void add_endpoint (char *address, size_t *used, Rota__Role role, const char *endpoint)
{
    const char *name = role == ROTA__ROLE__ROLE_UNSPECIFIED ? ANY_ROLE : rota_role_name (role);
    char word[ROTA_ENDPOINT_MAX_BYTES + 32];
    int length = snprintf (word, sizeof word, " %s=%s", name, endpoint);
    if (length >= (int)sizeof word || *used + (size_t)length >= ROTA_ELECTION_ADDRESS_MAX_BYTES ||
        strpbrk (endpoint, " \n"))
        return;
    memcpy (address + *used, word, (size_t)length + 1);
    *used += (size_t)length;
}

static void make_address (const rota_broker_t *self, const rota_broker_config_t *config, char *ret_address)
{
    size_t used = (size_t)snprintf (ret_address, ROTA_ELECTION_ADDRESS_MAX_BYTES, "%s", self->host);
    for (size_t i = 0; i < config->endpoints_count; i++) {
        const rota_wire_t *wire = &self->wires[WIRES_FIXED + i];
        add_endpoint (ret_address, &used, wire->role,
                      i < config->advertise_count ? config->advertise[i] : wire->endpoint);
    }
    add_endpoint (ret_address, &used, ROTA_ENDPOINT_OF_SERVICES, self->endpoints.service);
    add_endpoint (ret_address, &used, ROTA__ROLE__ROLE_AGENT, self->endpoints.agent);
    add_endpoint (ret_address, &used, ROTA__ROLE__ROLE_ADMIN, self->endpoints.client);
}

/* Whoever comes by it is on this host. */
static bool is_near (const char *endpoint)
{
    static const char *const NEAR[] = {"ipc://", "tcp://127.", "tcp://[::1]:", "tcp://localhost:"};
    for (size_t i = 0; i < sizeof NEAR / sizeof *NEAR; i++)
        if (strncmp (endpoint, NEAR[i], strlen (NEAR[i])) == 0)
            return true;
    return false;
}

/* Where who came by `wire` finds the leader; "" when there is no such place. What is near is of use only on
 * the leader's own host. */
static void find_hint (const rota_broker_t *self, const rota_wire_t *wire,
                       char ret_hint[ROTA_ENDPOINT_MAX_BYTES])
{
    char address[ROTA_ELECTION_ADDRESS_MAX_BYTES], *rest = NULL;
    memcpy (address, self->leadership.leader, sizeof address);
    const char *host = strtok_r (address, " ", &rest);
    bool same_host = host && strcmp (host, self->host) == 0 && is_near (wire->endpoint);

    ret_hint[0] = '\0';
    for (char *word; host && (word = strtok_r (NULL, " ", &rest));) {
        char *endpoint = strchr (word, '=');
        if (!endpoint)
            continue;
        *endpoint++ = '\0';
        bool any = strcmp (word, ANY_ROLE) == 0;
        Rota__Role role = any ? ROTA__ROLE__ROLE_UNSPECIFIED : rota_role_parse (word);
        if ((any && wire->role != ROTA__ROLE__ROLE_UNSPECIFIED && is_near (wire->endpoint)) ||
            (!any && role != wire->role) || (is_near (endpoint) && !same_host) ||
            rota_endpoint_check (endpoint, NULL) < 0)
            continue;
        snprintf (ret_hint, ROTA_ENDPOINT_MAX_BYTES, "%s", endpoint);
        /* The same way as the peer came, if there is one. */
        if (strncmp (endpoint, wire->endpoint, 4) == 0)
            return;
    }
}

void lead_refuse (rota_broker_t *self, const rota_wire_t *wire, rota_route_key_t route,
                  const rota_envelope_t *request)
{
    char hint[ROTA_ENDPOINT_MAX_BYTES];
    Rota__Error refusal = ROTA__ERROR__INIT;
    rota_envelope_t answer;

    find_hint (self, wire, hint);
    refusal.has_code = refusal.has_text = true;
    refusal.code = ROTA__ERROR_CODE__ERROR_CODE_NOT_LEADER;
    refusal.has_leader = hint[0] != '\0';
    refusal.text =
        rota_bytes (refusal.has_leader || !self->leadership.leader[0]
                        ? "this broker stands by; another leads"
                        : "this broker stands by, and the one that leads can't be reached from here: "
                          "name all brokers, --broker tcp://HOST:PORT,...");
    refusal.leader = rota_bytes (hint);
    rota_envelope_answer (request, ROTA_MESSAGE_ERROR, &answer);
    self->counts.refused++;
    if (answers_send (self, &self->wires[wire->index], route, &answer, &refusal.base, NULL) < 0)
        self->counts.undelivered++;
}

/* ---- coming and going */

static void take_over (rota_broker_t *self)
{
    self->leads = true;
    self->led_cluster = self->leadership.cluster;
    self->led_epoch = self->leadership.epoch;
    self->leads_since_ms = rota_clock_wall_ms ();
    self->acted_ms = rota_clock_boot_ms ();
    coordinator_begin (self);
}

static void say_ready (const rota_broker_t *self)
{
    rota_log (ROTA_LOG_INFO, "broker.ready", "pid=%ld epoch=%llu sockets=%s further=%zu", (long)getpid (),
              (unsigned long long)self->leadership.epoch, self->rundir, self->wires_count - WIRES_FIXED);
}

/* Everybody is sent on. What waited for the scheduler is dropped: it is asked again where they go. */
static void stand_down (rota_broker_t *self)
{
    static const rota_envelope_t NOTHING;
    size_t count = rota_presence_count (self->presence);
    int64_t silent_ms = rota_clock_boot_ms () - self->acted_ms;
    self->leads = false;
    for (rota_member_t *member; (member = rota_presence_each (self->presence, NULL));) {
        lead_refuse (self, &self->wires[member->identity.endpoint], member->identity.route, &NOTHING);
        rota_presence_leave (self->presence, member);
    }
    rota_presence_reported (self->presence);
    self->served_arrival = 0;
    rota_log (ROTA_LOG_WARNING, "broker.deposed", "epoch=%llu peers=%zu silent_ms=%lld",
              (unsigned long long)self->led_epoch, count, (long long)silent_ms);
}

bool lead_holds (const rota_broker_t *self)
{
    return self->leads &&
           (self->leadership.until_ms == INT64_MAX || rota_clock_boot_ms () < self->leadership.until_ms);
}

uint64_t lead_acts (rota_broker_t *self)
{
    if (self->leads)
        self->acted_ms = rota_clock_boot_ms ();
    return self->leadership.epoch;
}

static int step (rota_broker_t *self, rota_error_t *error)
{
    int result = rota_election_step (self->election, rota_clock_boot_ms (), &self->leadership,
                                     &self->election_again_ms, error);
    for (const char *news; (news = rota_election_news (self->election));)
        rota_log (ROTA_LOG_WARNING, "broker.election", "news=\"%s\"", news);
    return result;
}

int lead_follow (rota_broker_t *self)
{
    rota_error_t error = {.text = ""};
    bool led = self->leads;
    int result = step (self, &error);
    bool leads = result == 0 && self->leadership.leads && rota_clock_boot_ms () < self->leadership.until_ms;
    if (led && (!leads || self->leadership.epoch != self->led_epoch ||
                self->leadership.cluster != self->led_cluster))
        stand_down (self);
    if (result == 0 && leads && !self->leads) {
        if (!self->owns_sockets)
            result = broker_open_own_sockets (self, &error);
        if (result == 0) {
            take_over (self);
            say_ready (self);
        }
    }
    if (result < 0)
        rota_log (ROTA_LOG_ERROR, "broker.election", "reason=\"%s\"", error.text);
    return result;
}

int lead_begin (rota_broker_t *self, const rota_broker_config_t *config, rota_error_t *error)
{
    char address[ROTA_ELECTION_ADDRESS_MAX_BYTES];
    if (gethostname (self->host, sizeof self->host - 1) < 0)
        self->host[0] = '\0';
    make_address (self, config, address);

    int result;
    if (config->etcd) {
        rota_election_etcd_t etcd = *config->etcd;
        etcd.state_dir = config->state_dir;
        etcd.address = address;
        result = rota_election_etcd_new (&etcd, &self->election, error);
    } else {
        rota_election_local_t local = {.state_dir = config->state_dir,
                                       .address = address,
                                       .stand_by = config->stand_by,
                                       .dead_after_ms = config->take_over_ms};
        result = rota_election_local_new (&local, &self->election, error);
    }
    if (result == 0)
        result = step (self, error);
    bool own = result == 0 && (self->leadership.leads || !self->election->ops->shares_directory);
    if (own)
        result = broker_open_own_sockets (self, error);
    if (result == 0 && self->leadership.leads) {
        take_over (self);
        say_ready (self);
    }
    return result;
}
