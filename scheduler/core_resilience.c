/* What keeps one fault from becoming many: errors that repeat are found per task and climb the ladder (the
 * same agent, another kind, the coordinator, a person), and agents that fail whatever they are given are set
 * aside by a breaker.
 *
 * A breaker belongs to an agent, or to a kind of agents. It counts different tasks that failed in a row
 * within a window; one task, however often it fails, opens none, and a success begins anew. When it has been
 * open for its time, one task is let through: it closes the breaker or opens it for twice as long. Breakers
 * live in memory: a scheduler that starts gives every agent a chance.
 */
#include "scheduler/core_internal.h"
#include "scheduler/resilience.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DOUBLED_MAX 10

/* ----------------------------------------------------------------------------------- repeated errors */

/* In one word, as it is stored: fingerprint, how often in a row, and the agent that is avoided + 1. */
static uint64_t pack (uint32_t fingerprint, uint32_t times, rota_agent_t avoided)
{
    uint64_t agent = avoided < UINT16_MAX ? avoided + 1u : 0;
    return fingerprint | (uint64_t)(times < UINT8_MAX ? times : UINT8_MAX) << 32 | agent << 40;
}

static trouble_t *find_trouble (const rota_core_t *self, rota_node_t node)
{
    trouble_t *it = NULL;
    if (self->troubles)
        HASH_FIND (hh, self->troubles, &node, sizeof node, it);
    return it;
}

uint64_t rota_core_trouble (const rota_core_t *self, rota_node_t node)
{
    const trouble_t *it = find_trouble (self, node);
    return it ? it->packed : 0;
}

uint32_t rota_core_same_errors (const rota_core_t *self, rota_node_t node)
{
    return rota_core_trouble (self, node) >> 32 & UINT8_MAX;
}

void rota_core_set_trouble (rota_core_t *self, rota_node_t node, uint64_t packed)
{
    trouble_t *it = find_trouble (self, node);
    if (it && !packed) {
        HASH_DEL (self->troubles, it);
        free (it);
    } else if (!it && packed) {
        it = calloc (1, sizeof *it);
        if (!it) {
            self->broken = true;
            return;
        }
        it->node = node;
        HASH_ADD (hh, self->troubles, node, sizeof it->node, it);
    }
    if (packed)
        it->packed = packed;
}

uint32_t rota_core_note_error (rota_core_t *self, rota_node_t node, rota_agent_t agent, uint32_t other,
                               const char *reason)
{
    uint64_t before = rota_core_trouble (self, node);
    uint32_t fingerprint = rota_error_fingerprint (reason ? reason : "");
    uint32_t times = (uint32_t)before == fingerprint ? (before >> 32 & UINT8_MAX) + 1 : 1;
    bool avoid = other && times >= other && agent < self->agents.count;
    rota_core_set_trouble (self, node, pack (fingerprint, times, avoid ? agent : ROTA_NONE));
    rota_core_touch (self, node);
    return times;
}

uint32_t rota_core_escalated_class (rota_core_t *self, rota_node_t node, uint32_t class_index)
{
    uint64_t packed = rota_core_trouble (self, node);
    uint32_t avoided = packed >> 40 & UINT16_MAX, times = packed >> 32 & UINT8_MAX;
    const class_t *own = AT (self, classes, class_t, class_index);
    if (!packed || own->agent[0] || self->nodes[node].status == STATUS (NEEDS_REVIEW))
        return class_index; /* it asks for that agent by name */
    const char *names[65];
    size_t count = 0;
    for (unsigned bit = 0; bit < 64; bit++)
        if (own->capabilities >> bit & 1)
            names[count++] = self->capability_names[bit];
    bool role = self->policy.coordinate && self->role.agent != ROTA_NONE && !own->needs_role;
    uint64_t missing =
        role ? own->capabilities & ~AT (self, agents, agent_t, self->role.agent)->capabilities : 0;
    char pattern[128] = "";
    if (role && !missing && self->policy.coordinator_after && times >= self->policy.coordinator_after)
        names[count++] = "coordinate";
    else if (avoided && avoided <= self->agents.count && AT (self, agents, agent_t, avoided - 1)->kind) {
        pattern[0] = '!';
        strncat (pattern, AT (self, agents, agent_t, avoided - 1)->kind, 100);
    } else
        return class_index;
    uint32_t index;
    bool is_new;
    int r = rota_core_class (self, self->nodes[node].source, pattern, strlen (pattern), names, count, &index,
                             &is_new);
    return r < 0 ? class_index : index;
}

/* Who holds the role, or what its holder can do, is another: what waits for it alone may go elsewhere now. */
void rota_core_role_moved (rota_core_t *self)
{
    for (const trouble_t *it = self->troubles; it; it = it->hh.next)
        if (!(self->nodes[it->node].flags & F_STAGED))
            rota_core_refresh_place (self, it->node);
}

bool rota_core_is_command (const rota_core_t *self, rota_node_t node)
{
    const class_t *class = AT (self, classes, class_t, self->nodes[node].class_index);
    for (unsigned bit = 0; bit < self->capability_count; bit++)
        if ((class->capabilities >> bit & 1) && strcmp (self->capability_names[bit], "run") == 0)
            return true;
    return false;
}

/* ------------------------------------------------------------------------------------------ breakers */

static breaker_t *breaker_of (const rota_core_t *self, const agent_t *agent, bool kind)
{
    return agent->breaker[kind] ? AT (self, breakers, breaker_t, agent->breaker[kind] - 1) : NULL;
}

static uint32_t find_or_add (rota_core_t *self, const char *name, bool kind)
{
    for (size_t i = 0; i < self->breakers.count; i++) {
        const breaker_t *it = AT (self, breakers, breaker_t, i);
        if (it->of_kind == kind && strcmp (it->name, name) == 0)
            return (uint32_t)i + 1;
    }
    char *copy = strdup (name);
    breaker_t *it = copy ? PUSH (self, breakers, breaker_t) : NULL;
    if (!it) {
        free (copy);
        self->broken = true;
        return 0;
    }
    it->name = copy;
    it->of_kind = kind;
    return (uint32_t)self->breakers.count;
}

void rota_core_give_breakers (rota_core_t *self, agent_t *agent)
{
    agent->breaker[0] = find_or_add (self, agent->name, false);
    agent->breaker[1] = find_or_add (self, agent->kind, true);
}

void rota_core_resilience_free (rota_core_t *self)
{
    trouble_t *it, *next;
    HASH_ITER (hh, self->troubles, it, next) {
        HASH_DEL (self->troubles, it);
        free (it);
    }
    for (size_t i = 0; i < self->breakers.count; i++) {
        free (AT (self, breakers, breaker_t, i)->name);
        free (AT (self, breakers, breaker_t, i)->reason);
    }
}

static bool admits (const rota_core_t *self, const breaker_t *it)
{
    return !it || !it->until_ms || (it->until_ms <= self->now_ms && it->probes == 0);
}

bool rota_core_breaker_admits (const rota_core_t *self, const agent_t *agent)
{
    return admits (self, breaker_of (self, agent, false)) && admits (self, breaker_of (self, agent, true));
}

/* The later of the two, when one is open. */
static const breaker_t *worse (const rota_core_t *self, const agent_t *agent)
{
    const breaker_t *own = breaker_of (self, agent, false), *kind = breaker_of (self, agent, true);
    const breaker_t *it = own && kind && kind->until_ms > own->until_ms ? kind : own;
    return it && it->until_ms ? it : NULL;
}

int64_t rota_core_breaker_until_ms (const rota_core_t *self, const agent_t *agent, const char **ret_reason)
{
    const breaker_t *it = worse (self, agent);
    if (ret_reason)
        *ret_reason = it && it->reason ? it->reason : "";
    return it ? it->until_ms : 0;
}

int64_t rota_core_breakers_next_ms (const rota_core_t *self)
{
    int64_t next_ms = INT64_MAX;
    for (size_t i = 0; i < self->breakers.count; i++) {
        int64_t until_ms = AT (self, breakers, breaker_t, i)->until_ms;
        if (until_ms > self->now_ms && until_ms < next_ms)
            next_ms = until_ms;
    }
    return next_ms;
}

static void say (rota_core_t *self, rota_agent_t agent, const char *reason)
{
    rota_core_event_t *event = rota_core_emit (self, EVENT (AGENT_COOLDOWN), ROTA_NONE);
    event->agent = agent;
    event->reason = reason;
}

/* Different tasks, and for a kind different agents, that failed within the window. */
static void remember (const rota_core_t *self, breaker_t *it, const lease_t *lease)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < it->count; i++)
        if (it->failures[i].node != lease->node &&
            it->failures[i].at_ms > self->now_ms - self->policy.breaker_window_ms)
            it->failures[kept++] = it->failures[i];
    if (kept == ROTA_BREAKER_MAX) {
        memmove (it->failures, it->failures + 1, (kept - 1) * sizeof it->failures[0]);
        kept--;
    }
    it->failures[kept].node = lease->node;
    it->failures[kept].agent = lease->agent;
    it->failures[kept].at_ms = self->now_ms;
    it->count = kept + 1;
}

static bool is_too_much (const rota_core_t *self, const breaker_t *it)
{
    uint32_t limit = self->policy.breaker_failures * (it->of_kind ? 2 : 1);
    bool several = !it->of_kind;
    for (uint32_t i = 1; i < it->count; i++)
        several |= it->failures[i].agent != it->failures[0].agent;
    return several && it->count >= (limit < ROTA_BREAKER_MAX ? limit : ROTA_BREAKER_MAX);
}

static void trip (rota_core_t *self, breaker_t *it, const lease_t *lease, const char *reason)
{
    int64_t wait_ms = self->policy.breaker_rest_ms;
    for (uint32_t i = 0; i < it->trips && i < DOUBLED_MAX; i++)
        wait_ms *= 2;
    if (wait_ms > self->policy.breaker_rest_max_ms)
        wait_ms = self->policy.breaker_rest_max_ms;
    const char *text =
        it->trips ? rota_core_text (self, "%s %s is set aside again, its trial failed: %s",
                                    it->of_kind ? "the kind" : "agent", it->name, reason)
                  : rota_core_text (self, "%s %s is set aside, %u tasks in a row failed, the last: %s",
                                    it->of_kind ? "the kind" : "agent", it->name, it->count, reason);
    it->trips++;
    it->until_ms = self->now_ms + (wait_ms > 0 ? wait_ms : 1);
    it->count = 0;
    free (it->reason);
    it->reason = strdup (text ? text : "");
    self->broken |= !it->reason;
    say (self, lease->agent, text);
}

void rota_core_breaker_granted (rota_core_t *self, lease_t *lease)
{
    const agent_t *agent = AT (self, agents, agent_t, lease->agent);
    for (int kind = 0; kind < 2; kind++) {
        breaker_t *it = breaker_of (self, agent, kind);
        lease->trial[kind] = it && it->until_ms != 0;
        if (lease->trial[kind])
            it->probes++;
    }
}

/* A command's exit code says nothing of who ran it. */
static bool concerns_the_agent (const rota_core_t *self, const lease_t *lease)
{
    return self->policy.breaker_failures && !rota_core_is_command (self, lease->node) &&
           (lease->phase == PHASE (WORK) || lease->phase == PHASE (REVIEW));
}

void rota_core_breaker_ended (rota_core_t *self, const lease_t *lease, Rota__ResultClass class,
                              const char *reason)
{
    const agent_t *agent = AT (self, agents, agent_t, lease->agent);
    bool failed = class == RESULT (FAILED) || class == RESULT (INVALID) || class == RESULT (TIMEOUT) ||
                  class == RESULT (NETWORK) || class == RESULT (ENVIRONMENT) || class == RESULT (UNSPECIFIED);
    for (int kind = 0; kind < 2; kind++) {
        breaker_t *it = breaker_of (self, agent, kind);
        bool trial = lease->trial[kind];
        if (!it)
            continue;
        it->probes -= trial;
        if (class == RESULT (OK)) {
            it->count = 0;
            if (trial && it->until_ms) {
                it->until_ms = 0;
                it->trips = 0;
                say (self, lease->agent, "works again");
            }
        } else if (failed && trial && it->until_ms)
            trip (self, it, lease, reason);
        else if (failed && !it->until_ms && concerns_the_agent (self, lease)) {
            remember (self, it, lease);
            if (is_too_much (self, it))
                trip (self, it, lease, reason);
        }
    }
}

int rota_core_verify_breakers (const rota_core_t *self, rota_error_t *error)
{
    for (size_t b = 0; b < self->breakers.count; b++) {
        const breaker_t *it = AT (self, breakers, breaker_t, b);
        uint32_t probes = 0;
        for (size_t i = 0; i < self->leases.count; i++) {
            const lease_t *lease = AT (self, leases, lease_t, i);
            const agent_t *agent = AT (self, agents, agent_t, lease->agent);
            probes += lease->trial[it->of_kind] && agent->breaker[it->of_kind] == b + 1;
        }
        if (probes != it->probes)
            return rota_error_set (error, -EBADMSG, "the breaker of %s is tried by %u tasks, counted %u",
                                   it->name, probes, it->probes);
        if (it->count > ROTA_BREAKER_MAX)
            return rota_error_set (error, -EBADMSG, "the breaker of %s counts %u failures", it->name,
                                   it->count);
    }
    return 0;
}
