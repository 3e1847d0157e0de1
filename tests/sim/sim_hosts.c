/* Connections that lose and repeat, and hosts that crash, hang and are cut off. */
#include "scheduler/core.h"
#include "tests/sim/sim.h"

/* But for reviews of a coordinator that is gone: they change nothing, and what they say no longer counts. */
void sim_expect_one_runner (world_t *self)
{
    uint8_t running[MODEL_NODES] = {0};
    for (size_t h = 0; h < HOSTS; h++)
        for (size_t i = 0; i < self->hosts[h].count; i++) {
            const held_t *it = &self->hosts[h].held[i];
            if (it->running && it->attempt > self->taken_away[it->node])
                EXPECT (self, ++running[it->node] == 1, "n%u runs twice", it->node);
        }
}

/* ------------------------------------------------------------------------------------------- messages */

static message_t *at (queue_t *queue, size_t index)
{
    return &queue->items[(queue->first + index) % QUEUE];
}

/* The last one takes the place of another that is on its way, or of several; times stay in order. */
static void overtake (world_t *self, queue_t *queue)
{
    size_t last = queue->count - 1, to = sim_below (self, last);
    message_t moved = *at (queue, last);
    for (size_t i = last; i > to; i--) {
        int64_t due_ms = at (queue, i)->due_ms;
        *at (queue, i) = *at (queue, i - 1);
        at (queue, i)->due_ms = due_ms;
    }
    moved.due_ms = at (queue, to)->due_ms;
    *at (queue, to) = moved;
    self->faults_of[OVERTAKEN]++;
}

void sim_post (world_t *self, queue_t *queue, const message_t *message, bool cut)
{
    if (queue->count == QUEUE || cut || (self->faults && sim_chance (self, 5))) {
        self->faults_of[cut ? CUT : LOST]++;
        return; /* lost: who waits asks again */
    }
    int64_t earliest_ms = queue->count ? at (queue, queue->count - 1)->due_ms : 0;
    message_t *it = at (queue, queue->count++);
    *it = *message;
    it->due_ms = self->now_ms + (int64_t)sim_below (self, self->faults ? 120 : 10);
    self->faults_of[DELAYED] += it->due_ms > self->now_ms + 10;
    if (it->due_ms < earliest_ms)
        it->due_ms = earliest_ms;
    if (self->faults && queue->count < QUEUE && sim_chance (self, 3)) { /* and once more */
        *at (queue, queue->count) = *it;
        queue->count++;
        self->faults_of[REPEATED]++;
    }
    if (self->faults && queue->count > 1 && sim_chance (self, 5))
        overtake (self, queue);
}

bool sim_take (world_t *self, queue_t *queue, message_t *ret_message)
{
    if (!queue->count || at (queue, 0)->due_ms > self->now_ms)
        return false;
    *ret_message = *at (queue, 0);
    queue->first = (queue->first + 1) % QUEUE;
    queue->count--;
    return true;
}

bool sim_is_cut (const world_t *self, const host_t *host)
{
    return host->cut_until_ms > self->now_ms;
}

void sim_instance_bytes (uint8_t instance, uint8_t ret_bytes[16])
{
    memset (ret_bytes, 0, 16);
    ret_bytes[0] = instance;
}

host_t *sim_host_of (world_t *self, const uint8_t instance[16])
{
    for (size_t h = 0; h < HOSTS; h++)
        if (self->hosts[h].instance == instance[0])
            return &self->hosts[h];
    return NULL; /* of an incarnation that is gone */
}

/* ----------------------------------------------------------------------------------------------- hosts */

static void list_held (const host_t *host, message_t *message)
{
    for (size_t i = 0; i < host->count; i++)
        message->held[message->held_count++] =
            (rota_held_t){host->held[i].node, host->held[i].attempt, !host->held[i].running};
}

static void say (world_t *self, host_t *host, kind_t kind, uint32_t sent_ms)
{
    message_t message = {.kind = kind, .instance = host->instance, .attempt = sent_ms};
    message.number = ++host->number;
    message.full = self->faults && sim_chance (self, 10);
    list_held (host, &message);
    sim_post (self, &self->in, &message, sim_is_cut (self, host));
}

static held_t *find_held (host_t *host, rota_node_t node, uint32_t attempt)
{
    for (size_t i = 0; i < host->count; i++)
        if (host->held[i].node == node && host->held[i].attempt == attempt)
            return &host->held[i];
    return NULL;
}

static void accept (world_t *self, host_t *host, const message_t *assign)
{
    message_t message = {.kind = ACCEPTED,
                         .number = ++host->number,
                         .instance = host->instance,
                         .node = assign->node,
                         .attempt = assign->attempt};
    sim_post (self, &self->in, &message, sim_is_cut (self, host));
}

static void report (world_t *self, host_t *host, const held_t *held)
{
    message_t message = {.kind = REPORT,
                         .number = ++host->number,
                         .instance = host->instance,
                         .node = held->node,
                         .attempt = held->attempt,
                         .epoch = held->epoch,
                         .class = held->class,
                         .verdict = held->verdict,
                         .millis = held->millis,
                         .tokens = held->tokens,
                         .until_ms = held->until_ms};
    sim_post (self, &self->in, &message, sim_is_cut (self, host));
}

/* Half of the limits name a time, some one that has passed. */
static void end_attempt (world_t *self, host_t *host, held_t *held, Rota__ResultClass class)
{
    held->running = false;
    held->class = class;
    if (class == RESULT (OK))
        held->verdict = sim_chance (self, 75) ? 2 : (uint8_t)sim_below (self, 2);
    if (class == RESULT (LIMITED) && sim_chance (self, 50))
        held->until_ms = self->now_ms - 200 + (int64_t)sim_below (self, 3000);
    if (host != &self->hosts[0]) /* that one's work costs nothing */
        sim_money_use (self, held);
    report (self, host, held);
}

static void host_hears (world_t *self, host_t *host, const message_t *message)
{
    held_t *held = find_held (host, message->node, message->attempt);
    switch (message->kind) {
    case REGISTERED:
        host->registered = true;
        host->heard_ms = message->attempt;
        host->heartbeat_at_ms = self->now_ms;
        break;
    case ASSIGN:
        /* One that waited for longer than a lease is not taken (rota_agent_lease_left_ms). */
        if (!host->registered || host->count == HELD || host->heard_ms + message->lease_ms <= self->now_ms)
            break;
        if (!held) {
            host->held[host->count++] = (held_t){.node = message->node,
                                                 .attempt = message->attempt,
                                                 .epoch = message->epoch,
                                                 .running = true,
                                                 .ends_ms = self->now_ms + (int64_t)sim_below (self, 2000),
                                                 .lease_ms = host->heard_ms + message->lease_ms};
            sim_note (self, "host %u runs n%u.%u", host->instance, message->node, message->attempt);
            sim_expect_one_runner (self);
        }
        accept (self, host, message);
        break;
    case STOP:
        if (held && held->running) /* or it had just come to its end */
            end_attempt (self, host, held, sim_chance (self, 20) ? RESULT (OK) : RESULT (KILLED));
        break;
    case HEARD: /* the lease counts from when the heartbeat was sent */
        host->heard_ms = message->attempt;
        for (size_t i = 0; i < host->count; i++)
            host->held[i].lease_ms = host->heard_ms + LEASE_MS;
        break;
    case ACKNOWLEDGED:
        if (held && !held->running)
            *held = host->held[--host->count];
        break;
    default:
        break;
    }
}

static Rota__ResultClass random_result (world_t *self)
{
    static const Rota__ResultClass others[] = {
        RESULT (FAILED),  RESULT (TIMEOUT), RESULT (INVALID), RESULT (LIMITED),     RESULT (LIMITED),
        RESULT (LIMITED), RESULT (NETWORK), RESULT (LOST),    RESULT (NEEDS_INPUT), RESULT (ENVIRONMENT)};
    return !self->faults || sim_chance (self, 75)
               ? RESULT (OK)
               : others[sim_below (self, sizeof others / sizeof others[0])];
}

void sim_host_lives (world_t *self, host_t *host)
{
    message_t message;
    if (host->stopped_until_ms > self->now_ms)
        return;
    /* A shim holds its deadline by itself, whatever its host does. */
    for (size_t i = 0; i < host->count; i++)
        if (host->held[i].running && host->held[i].lease_ms <= self->now_ms)
            end_attempt (self, host, &host->held[i], RESULT (KILLED));
    while (sim_take (self, &host->in, &message))
        if (message.instance == host->instance)
            host_hears (self, host, &message);
    for (size_t i = 0; i < host->count; i++) {
        held_t *held = &host->held[i];
        if (held->running && held->ends_ms <= self->now_ms)
            end_attempt (self, host, held, random_result (self));
        else if (!held->running && sim_chance (self, 20))
            report (self, host, held); /* until it is acknowledged */
    }
    if (!host->registered && host->register_at_ms <= self->now_ms) {
        say (self, host, REGISTER, (uint32_t)self->now_ms);
        host->register_at_ms = self->now_ms + 300;
    }
    if (host->registered && host->heartbeat_at_ms <= self->now_ms) {
        say (self, host, HEARTBEAT, (uint32_t)self->now_ms);
        host->heartbeat_at_ms = self->now_ms + HEARTBEAT_MS;
    }
}

/* Its shims end their trees; what was finished is in the spool; the next incarnation says so. */
void sim_host_crashes (world_t *self, host_t *host)
{
    size_t kept = 0;
    for (size_t i = 0; i < host->count; i++)
        if (!host->held[i].running)
            host->held[kept++] = host->held[i];
    sim_note (self, "host %u crashes, comes back as %u", host->instance, (unsigned)self->next_instance);
    self->faults_of[HOST_CRASH]++;
    host->count = kept;
    host->number = 0;
    host->instance = self->next_instance++;
    host->registered = false;
    host->register_at_ms = self->now_ms + (int64_t)sim_below (self, 400);
    host->in.count = 0;
}

/* Its shims are processes of their own: they keep their deadlines. */
void sim_host_stops (world_t *self, host_t *host)
{
    self->faults_of[HOST_STOP]++;
    host->stopped_until_ms = self->now_ms + (int64_t)sim_below (self, 2 * LEASE_MS);
    for (size_t i = 0; i < host->count; i++) {
        held_t *held = &host->held[i];
        if (!held->running || held->lease_ms >= host->stopped_until_ms)
            continue;
        held->running = false;
        held->class = RESULT (KILLED);
    }
    sim_note (self, "host %u is stopped", host->instance);
}
