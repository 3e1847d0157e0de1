/* The scheduler's core in a world with a seed: hosts that crash, hang and are cut off, messages that are lost
 * and come twice, a scheduler that dies before or after each commit, people who cancel, retry, reopen and
 * hold. After each step all invariants of the core must hold, and at the end, with the faults gone,
 * everything that can end has ended.
 *
 * ROTA_TEST_SEED repeats a run (it is the first of the seeds); 300 seeds, 10 000 with ROTA_TEST_LONG=1. */
#include "proto/words.h"
#include "scheduler/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_TASKS = 60, MAX_DEPENDENCIES = 160, HOSTS = 3, HELD = 32, QUEUE = 256, STEPS = 600, HISTORY = 40 };
#define LEASE_MS 3000
#define MARGIN_MS 500
#define HEARTBEAT_MS 500

/* ------------------------------------------------------------------------------------------- the world */

typedef struct {
    rota_core_node_t node; /* as committed */
    char id[16], reason[80];
    bool there;
    Rota__TaskStatus status; /* as the committed events say */
    size_t done;             /* moves to done since it was opened last */
} row_t;

typedef struct {
    rota_node_t node;
    uint32_t attempt;
    bool running;
    int64_t ends_ms, lease_ms;
    Rota__ResultClass class;
} held_t;

typedef enum { REGISTERED, ASSIGN, STOP, HEARD, ACKNOWLEDGED, REGISTER, ACCEPTED, HEARTBEAT, REPORT } kind_t;

typedef struct {
    kind_t kind;
    uint8_t instance; /* of the host it is from or to */
    int64_t due_ms, lease_ms;
    rota_node_t node;
    uint32_t attempt;
    Rota__ResultClass class;
    rota_held_t held[HELD];
    size_t held_count;
} message_t;

typedef struct {
    message_t items[QUEUE];
    size_t count;
} queue_t; /* first in, first out, as a connection is */

typedef struct {
    uint8_t instance;
    bool registered;
    int64_t stopped_until_ms, cut_until_ms, heartbeat_at_ms, register_at_ms;
    int64_t heard_ms; /* when the newest message was sent that was answered */
    held_t held[HELD];
    size_t count;
    queue_t in;
} host_t;

typedef struct {
    uint64_t random;
    unsigned seed;
    int64_t now_ms;
    bool faults;
    rota_core_t *core;
    rota_core_policy_t policy;
    row_t rows[MAX_TASKS];
    size_t count;
    struct {
        rota_node_t node, prerequisite;
    } dependencies[MAX_DEPENDENCIES];
    size_t dependency_count;
    uint8_t agent_instance[HOSTS]; /* as committed; index = agent */
    char agent_name[HOSTS][16];
    size_t agent_count;
    host_t hosts[HOSTS];
    queue_t in; /* to the scheduler */
    uint8_t next_instance;
    char history[HISTORY][120];
    size_t acts;
} world_t;

static uint64_t draw (world_t *self)
{
    self->random ^= self->random << 13;
    self->random ^= self->random >> 7;
    self->random ^= self->random << 17;
    return self->random;
}

static bool chance (world_t *self, unsigned percent)
{
    return draw (self) % 100 < percent;
}

static size_t below (world_t *self, size_t limit)
{
    return limit ? (size_t)(draw (self) % limit) : 0;
}

__attribute__ ((format (printf, 2, 3))) static void note (world_t *self, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    int length = snprintf (self->history[self->acts % HISTORY], 120, "%8lld ", (long long)self->now_ms);
    vsnprintf (self->history[self->acts % HISTORY] + length, (size_t)(120 - length), format, args);
    va_end (args);
    self->acts++;
}

#define EXPECT(self, condition, ...)                                                                         \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            print_error ("seed %u: ", (self)->seed);                                                         \
            print_error (__VA_ARGS__);                                                                       \
            print_error ("\nwhat came before:\n");                                                           \
            for (size_t h_ = (self)->acts > HISTORY ? (self)->acts - HISTORY : 0; h_ < (self)->acts; h_++)   \
                print_error ("  %s\n", (self)->history[h_ % HISTORY]);                                       \
            fail ();                                                                                         \
        }                                                                                                    \
    } while (0)

static void expect_sound (world_t *self)
{
    rota_error_t error = {{0}};
    EXPECT (self, !rota_core_broken (self->core), "the core is broken");
    EXPECT (self, rota_core_verify (self->core, &error) == 0, "%s", error.text);
}

/* Two attempts of a task never run at the same time on hosts that obey. */
static void expect_one_runner (world_t *self)
{
    uint8_t running[MAX_TASKS] = {0};
    for (size_t h = 0; h < HOSTS; h++)
        for (size_t i = 0; i < self->hosts[h].count; i++)
            if (self->hosts[h].held[i].running)
                EXPECT (self, ++running[self->hosts[h].held[i].node] == 1, "t%u runs twice",
                        self->hosts[h].held[i].node);
}

/* ------------------------------------------------------------------------------------------- messages */

static void post (world_t *self, queue_t *queue, const message_t *message, bool cut)
{
    if (queue->count == QUEUE || cut || (self->faults && chance (self, 5)))
        return; /* lost: who waits asks again */
    int64_t earliest_ms = queue->count ? queue->items[queue->count - 1].due_ms : 0;
    message_t *at = &queue->items[queue->count++];
    *at = *message;
    at->due_ms = self->now_ms + (int64_t)below (self, self->faults ? 120 : 10);
    if (at->due_ms < earliest_ms)
        at->due_ms = earliest_ms;
    if (self->faults && queue->count < QUEUE && chance (self, 3)) { /* and once more */
        queue->items[queue->count] = *at;
        queue->count++;
    }
}

static bool take (world_t *self, queue_t *queue, message_t *ret_message)
{
    if (!queue->count || queue->items[0].due_ms > self->now_ms)
        return false;
    *ret_message = queue->items[0];
    memmove (&queue->items[0], &queue->items[1], --queue->count * sizeof queue->items[0]);
    return true;
}

static bool is_cut (const world_t *self, const host_t *host)
{
    return host->cut_until_ms > self->now_ms;
}

static void instance_bytes (uint8_t instance, uint8_t ret_bytes[16])
{
    memset (ret_bytes, 0, 16);
    ret_bytes[0] = instance;
}

static host_t *host_of (world_t *self, const uint8_t instance[16])
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

static void say (world_t *self, host_t *host, kind_t kind, rota_node_t node, uint32_t attempt,
                 Rota__ResultClass class)
{
    message_t message = {
        .kind = kind, .instance = host->instance, .node = node, .attempt = attempt, .class = class};
    if (kind == REGISTER || kind == HEARTBEAT)
        list_held (host, &message);
    post (self, &self->in, &message, is_cut (self, host));
}

static held_t *find_held (host_t *host, rota_node_t node, uint32_t attempt)
{
    for (size_t i = 0; i < host->count; i++)
        if (host->held[i].node == node && host->held[i].attempt == attempt)
            return &host->held[i];
    return NULL;
}

static void end_attempt (world_t *self, host_t *host, held_t *held, Rota__ResultClass class)
{
    held->running = false;
    held->class = class;
    say (self, host, REPORT, held->node, held->attempt, class);
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
                                                 .running = true,
                                                 .ends_ms = self->now_ms + (int64_t)below (self, 2000),
                                                 .lease_ms = host->heard_ms + message->lease_ms};
            note (self, "host %u runs t%u.%u", host->instance, message->node, message->attempt);
            expect_one_runner (self);
        }
        say (self, host, ACCEPTED, message->node, message->attempt, 0);
        break;
    case STOP:
        if (held && held->running)
            end_attempt (self, host, held, RESULT (KILLED));
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
    static const Rota__ResultClass others[] = {RESULT (FAILED),  RESULT (TIMEOUT),    RESULT (LIMITED),
                                               RESULT (NETWORK), RESULT (INVALID),    RESULT (ENVIRONMENT),
                                               RESULT (LOST),    RESULT (NEEDS_INPUT)};
    return !self->faults || chance (self, 75) ? RESULT (OK)
                                              : others[below (self, sizeof others / sizeof others[0])];
}

static void host_lives (world_t *self, host_t *host)
{
    message_t message;
    if (host->stopped_until_ms > self->now_ms)
        return;
    /* A shim holds its deadline by itself, whatever its host does. */
    for (size_t i = 0; i < host->count; i++)
        if (host->held[i].running && host->held[i].lease_ms <= self->now_ms)
            end_attempt (self, host, &host->held[i], RESULT (KILLED));
    while (take (self, &host->in, &message))
        if (message.instance == host->instance)
            host_hears (self, host, &message);
    for (size_t i = 0; i < host->count; i++) {
        held_t *held = &host->held[i];
        if (held->running && held->ends_ms <= self->now_ms)
            end_attempt (self, host, held, random_result (self));
        else if (!held->running && chance (self, 20))
            say (self, host, REPORT, held->node, held->attempt, held->class); /* until it is acknowledged */
    }
    if (!host->registered && host->register_at_ms <= self->now_ms) {
        say (self, host, REGISTER, 0, (uint32_t)self->now_ms, 0);
        host->register_at_ms = self->now_ms + 300;
    }
    if (host->registered && host->heartbeat_at_ms <= self->now_ms) {
        say (self, host, HEARTBEAT, 0, (uint32_t)self->now_ms, 0);
        host->heartbeat_at_ms = self->now_ms + HEARTBEAT_MS;
    }
}

/* Its shims end their trees; what was finished is in the spool; the next incarnation says so. */
static void host_crashes (world_t *self, host_t *host)
{
    size_t kept = 0;
    for (size_t i = 0; i < host->count; i++)
        if (!host->held[i].running)
            host->held[kept++] = host->held[i];
    note (self, "host %u crashes, comes back as %u", host->instance, (unsigned)self->next_instance);
    host->count = kept;
    host->instance = self->next_instance++;
    host->registered = false;
    host->register_at_ms = self->now_ms + (int64_t)below (self, 400);
    host->in.count = 0;
}

/* ------------------------------------------------------------------------------------------- the store */

static void commit_rows (world_t *self, const rota_core_effects_t *effects)
{
    for (size_t i = 0; i < effects->dirty_count; i++) {
        row_t *row = &self->rows[effects->dirty[i]];
        const char *reason = rota_core_reason (self->core, effects->dirty[i]);
        rota_core_get (self->core, effects->dirty[i], &row->node);
        snprintf (row->reason, sizeof row->reason, "%s", reason ? reason : "");
    }
    for (size_t i = 0; i < rota_core_agent_count (self->core) && i < HOSTS; i++) {
        rota_core_agent_view_t view;
        rota_core_agent_view (self->core, (rota_agent_t)i, &view);
        self->agent_instance[i] = view.instance[0];
        snprintf (self->agent_name[i], sizeof self->agent_name[i], "%s", view.name);
        self->agent_count = i + 1;
    }
}

static bool is_satisfied (const world_t *self, rota_node_t node)
{
    const row_t *row = &self->rows[node];
    return row->status == STATUS (DONE) ||
           (row->status == STATUS (CANCELLED) && rota_core_is_satisfied (self->core, node));
}

static void commit_event (world_t *self, const rota_core_event_t *event)
{
    if (event->type == EVENT (TASK_ADDED)) {
        self->rows[event->node].status = event->to;
        return;
    }
    if (event->type != EVENT (TASK_MOVED))
        return;
    row_t *row = &self->rows[event->node];
    note (self, "  t%u %s -> %s %s", event->node, rota_status_name (event->from),
          rota_status_name (event->to), event->reason ? event->reason : "");
    EXPECT (self, rota_core_move_allowed (event->from, event->to), "t%u: no such move", event->node);
    EXPECT (self, row->status == event->from, "t%u was %s", event->node, rota_status_name (row->status));
    row->status = event->to;
    if (event->to == STATUS (DONE))
        EXPECT (self, ++row->done == 1, "t%u is done twice", event->node);
    if (event->from == STATUS (DONE))
        row->done = 0;
    /* A late result of a lost attempt counts whatever happened since; work that starts anew needs its
     * prerequisites. */
    bool starts = event->to == STATUS (IN_PROGRESS) && event->from != STATUS (IN_PROGRESS) && !event->reason;
    for (size_t d = 0; d < self->dependency_count && starts; d++)
        if (self->dependencies[d].node == event->node)
            EXPECT (self, is_satisfied (self, self->dependencies[d].prerequisite), "t%u starts before t%u",
                    event->node, self->dependencies[d].prerequisite);
}

static void let_out (world_t *self, const rota_core_effects_t *effects)
{
    rota_core_agent_view_t view;
    for (size_t i = 0; i < effects->assign_count; i++) {
        const rota_core_assign_t *it = &effects->assigns[i];
        rota_core_agent_view (self->core, it->agent, &view);
        EXPECT (self, view.busy <= view.slots, "more work than slots");
        host_t *host = host_of (self, view.instance);
        message_t message = {.kind = ASSIGN,
                             .instance = view.instance[0],
                             .node = it->node,
                             .attempt = it->attempt,
                             .lease_ms = it->lease_ms};
        if (host)
            post (self, &host->in, &message, is_cut (self, host));
    }
    for (size_t i = 0; i < effects->stop_count; i++) {
        const rota_core_stop_t *it = &effects->stops[i];
        rota_core_agent_view (self->core, it->agent, &view);
        host_t *host = host_of (self, view.instance);
        message_t message = {
            .kind = STOP, .instance = view.instance[0], .node = it->node, .attempt = it->attempt};
        if (host)
            post (self, &host->in, &message, is_cut (self, host));
    }
}

static void make_class (world_t *self, uint32_t *ret_class)
{
    const char *run = "run";
    bool new;
    assert_int_equal (rota_core_class (self->core, 1, "", 0, &run, 1, ret_class, &new), 0);
}

/* As the store's load does it. */
static void rebuild (world_t *self)
{
    uint32_t class_index;
    rota_agent_t agent;
    rota_core_destroy (&self->core);
    self->core = rota_core_new (&self->policy, self->now_ms);
    make_class (self, &class_index);
    for (size_t i = 0; i < self->agent_count; i++) {
        uint8_t instance[16];
        instance_bytes (self->agent_instance[i], instance);
        assert_int_equal (
            rota_core_agent_load (self->core, self->agent_name[i], "exec", "here", instance, &agent), 0);
    }
    for (rota_node_t i = 0; i < self->count; i++) {
        rota_core_node_t node = self->rows[i].node;
        node.id = self->rows[i].id;
        node.id_length = strlen (node.id);
        node.reason = self->rows[i].reason;
        node.reason_length = strlen (node.reason);
        assert_int_equal (rota_core_load (self->core, i, &node), 0);
    }
    for (size_t d = 0; d < self->dependency_count; d++)
        assert_int_equal (
            rota_core_link (self->core, self->dependencies[d].prerequisite, self->dependencies[d].node), 0);
    rota_core_open (self->core, 0, (rota_node_t)self->count, true, self->now_ms);
    for (rota_node_t i = 0; i < self->count; i++)
        if (self->rows[i].node.agent != ROTA_NONE)
            rota_core_load_lease (self->core, i, self->rows[i].node.agent, self->rows[i].node.assigned_ms);
    rota_core_effects_clear (self->core);
    for (size_t h = 0; h < HOSTS; h++)
        self->hosts[h].registered = false; /* the new scheduler knows nobody: each is asked */
    self->in.count = 0;
}

typedef enum { GOES_WELL, DIES_BEFORE, DIES_AFTER } fate_t;

/* The answer to a durable message goes out only when its batch was committed. */
static void end_batch (world_t *self, host_t *host, const message_t *answer)
{
    rota_core_effects_t effects;
    rota_core_dispatch (self->core, self->now_ms);
    fate_t fate =
        self->faults && chance (self, 2) ? (chance (self, 50) ? DIES_BEFORE : DIES_AFTER) : GOES_WELL;
    expect_sound (self);
    rota_core_effects (self->core, &effects);
    if (fate != DIES_BEFORE) {
        for (size_t i = 0; i < effects.event_count; i++)
            commit_event (self, &effects.events[i]);
        commit_rows (self, &effects);
    }
    if (fate == GOES_WELL) {
        if (answer && host)
            post (self, &host->in, answer, is_cut (self, host));
        let_out (self, &effects);
        rota_core_effects_clear (self->core);
        return;
    }
    note (self, "the scheduler dies %s its commit", fate == DIES_BEFORE ? "before" : "after");
    rebuild (self);
    expect_sound (self);
}

/* --------------------------------------------------------------------------------------- the scheduler */

static size_t number_of_host (const world_t *self, const host_t *host)
{
    return (size_t)(host - self->hosts);
}

static void hear_register (world_t *self, host_t *host, const message_t *message)
{
    char name[32];
    const char *run = "run";
    snprintf (name, sizeof name, "host-%zu", number_of_host (self, host));
    rota_core_agent_t agent = {.name = name,
                               .kind = "exec",
                               .host = "here",
                               .slots = 4,
                               .capabilities = &run,
                               .capability_count = 1};
    instance_bytes (host->instance, agent.instance);
    rota_agent_t index;
    assert_int_equal (rota_core_agent_register (self->core, &agent, message->held, message->held_count,
                                                self->now_ms, &index),
                      0);
    end_batch (self, host,
               &(message_t){.kind = REGISTERED, .instance = host->instance, .attempt = message->attempt});
}

static void scheduler_hears (world_t *self, const message_t *message)
{
    uint8_t instance[16];
    instance_bytes (message->instance, instance);
    host_t *host = host_of (self, instance);
    if (!host)
        return; /* the broker knows that this one is gone */
    if (message->kind == REGISTER) {
        hear_register (self, host, message);
        return;
    }
    rota_agent_t agent = rota_core_agent_find (self->core, instance);
    if (agent == ROTA_NONE) {
        host->registered = false;
        return;
    }
    Rota__Result result = ROTA__RESULT__INIT;
    result.has_result_class = true;
    result.result_class = message->class;
    message_t answer = {.instance = message->instance, .node = message->node, .attempt = message->attempt};
    switch (message->kind) {
    case ACCEPTED:
        rota_core_accepted (self->core, agent, message->node, message->attempt, self->now_ms);
        end_batch (self, NULL, NULL);
        break;
    case HEARTBEAT:
        rota_core_agent_heartbeat (self->core, agent, message->held, message->held_count, false, false,
                                   self->now_ms);
        answer.kind = HEARD;
        end_batch (self, host, &answer);
        break;
    case REPORT:
        note (self, "report t%u.%u %s", message->node, message->attempt,
              rota_result_class_name (message->class));
        rota_core_report (self->core, message->node, message->attempt, &result, self->now_ms);
        answer.kind = ACKNOWLEDGED;
        end_batch (self, host, &answer);
        break;
    default:
        break;
    }
}

static void somebody_acts (world_t *self)
{
    static const Rota__ControlVerb verbs[] = {VERB (CANCEL),  VERB (SKIP),    VERB (RETRY),    VERB (REOPEN),
                                              VERB (HOLD),    VERB (RELEASE), VERB (PRIORITY), VERB (STOP),
                                              VERB (APPROVE), VERB (REJECT),  VERB (ANSWER)};
    rota_node_t node = (rota_node_t)below (self, self->count);
    Rota__ControlVerb verb = verbs[below (self, sizeof verbs / sizeof verbs[0])];
    rota_error_t error;
    rota_core_node_t before;
    rota_core_get (self->core, node, &before);
    note (self, "verb %d on t%u, which is %s", verb, node, rota_status_name (before.status));
    rota_core_control (self->core, node, verb, "why not", 7, (int32_t)below (self, 100), self->now_ms,
                       &error);
    if (chance (self, 10))
        rota_core_pause (self->core, !rota_core_is_paused (self->core), self->now_ms);
    end_batch (self, NULL, NULL);
}

static void add_tasks (world_t *self, size_t count)
{
    rota_node_t first = (rota_node_t)self->count, node;
    uint32_t class_index;
    make_class (self, &class_index);
    for (size_t i = 0; i < count && self->count < MAX_TASKS; i++) {
        row_t *row = &self->rows[self->count];
        snprintf (row->id, sizeof row->id, "t%zu", self->count);
        rota_core_node_t given = {.id = row->id,
                                  .id_length = strlen (row->id),
                                  .kind = NODE (TASK),
                                  .parent = ROTA_NONE,
                                  .source = 1,
                                  .class_index = class_index,
                                  .status = STATUS (PENDING),
                                  .priority = (int32_t)below (self, 50),
                                  .attempts_allowed = 1 + (uint32_t)below (self, 3),
                                  .approval = chance (self, 5)};
        assert_int_equal (rota_core_add (self->core, &given, &node), 0);
        for (size_t d = 0; d < 3 && self->count > 0; d++) {
            rota_node_t prerequisite = (rota_node_t)below (self, self->count);
            bool known = !chance (self, 50) || self->dependency_count == MAX_DEPENDENCIES;
            for (size_t k = 0; k < self->dependency_count && !known; k++)
                known =
                    self->dependencies[k].node == node && self->dependencies[k].prerequisite == prerequisite;
            if (known)
                continue;
            assert_int_equal (rota_core_link (self->core, prerequisite, node), 0);
            self->dependencies[self->dependency_count].node = node;
            self->dependencies[self->dependency_count++].prerequisite = prerequisite;
        }
        row->there = true;
        self->count++;
    }
    rota_core_open (self->core, first, (rota_node_t)self->count, false, self->now_ms);
    for (rota_node_t i = first; i < self->count; i++)
        rota_core_get (self->core, i, &self->rows[i].node);
    /* A submit is acknowledged after its commit; one that dies before was never there. Only the former is of
     * interest. */
    bool faults = self->faults;
    self->faults = false;
    end_batch (self, NULL, NULL);
    self->faults = faults;
}

static void strike (world_t *self)
{
    host_t *host = &self->hosts[below (self, HOSTS)];
    switch (below (self, 40)) {
    case 0:
        host_crashes (self, host);
        break;
    case 1:
        host->stopped_until_ms = self->now_ms + (int64_t)below (self, 2 * LEASE_MS);
        /* Its shims are processes of their own: they keep their deadlines. */
        for (size_t i = 0; i < host->count; i++)
            if (host->held[i].running && host->held[i].lease_ms < host->stopped_until_ms)
                host->held[i].running = false, host->held[i].class = RESULT (KILLED);
        note (self, "host %u is stopped", host->instance);
        break;
    case 2:
        host->cut_until_ms = self->now_ms + (int64_t)below (self, 3 * LEASE_MS);
        note (self, "host %u is cut off", host->instance);
        break;
    case 3: {
        uint8_t instance[16];
        instance_bytes (host->instance, instance);
        rota_agent_t agent = rota_core_agent_find (self->core, instance);
        if (agent != ROTA_NONE) {
            rota_core_agent_gone (self->core, agent, self->now_ms);
            end_batch (self, NULL, NULL);
        }
        break;
    }
    case 4:
    case 5:
    case 6:
        somebody_acts (self);
        break;
    case 7:
        add_tasks (self, 1 + below (self, 3));
        break;
    default:
        break;
    }
}

static void step (world_t *self, int64_t by_ms)
{
    message_t message;
    self->now_ms += by_ms;
    for (size_t h = 0; h < HOSTS; h++)
        host_lives (self, &self->hosts[h]);
    while (take (self, &self->in, &message))
        scheduler_hears (self, &message);
    rota_core_tick (self->core, self->now_ms, 0);
    end_batch (self, NULL, NULL);
    if (self->faults)
        strike (self);
    expect_one_runner (self);
}

/* ----------------------------------------------------------------------------------------- the runs */

static void set_up (world_t *self, unsigned seed)
{
    *self =
        (world_t){.random = seed * 0x9e3779b97f4a7c15u + 1, .seed = seed, .now_ms = 1000, .next_instance = 1};
    rota_core_policy_default (&self->policy);
    self->policy.lease_ms = LEASE_MS;
    self->policy.lease_margin_ms = MARGIN_MS;
    self->policy.backoff_base_ms = 100;
    self->policy.backoff_max_ms = 400;
    self->policy.default_cooldown_ms = 300;
    self->policy.agent_patience_ms = 0;
    self->policy.jitter_seed = seed;
    self->policy.wip_limit = chance (self, 20) ? 5 : 0;
    self->core = rota_core_new (&self->policy, self->now_ms);
    for (size_t h = 0; h < HOSTS; h++)
        self->hosts[h].instance = self->next_instance++;
}

static void expect_all_ended (world_t *self)
{
    for (rota_node_t i = 0; i < self->count; i++) {
        rota_place_t place = rota_core_place (self->core, i);
        bool over = place == ROTA_PLACE_ENDED || place == ROTA_PLACE_UNREACHABLE ||
                    place == ROTA_PLACE_BLOCKED || place == ROTA_PLACE_HUMAN || place == ROTA_PLACE_WAITING;
        EXPECT (self, over, "t%u did not come to its end: place %d, %s", i, place,
                rota_status_name (self->rows[i].status));
        rota_core_node_t node;
        rota_core_get (self->core, i, &node);
        EXPECT (self, node.attempts_used <= node.attempts_allowed, "t%u used too many attempts", i);
        EXPECT (self, node.status == self->rows[i].status, "t%u is not what its events say", i);
    }
    EXPECT (self, rota_core_is_settled (self->core, ROTA_NONE, self->now_ms),
            "nothing moves, and it is not settled");
}

static void run (unsigned seed)
{
    world_t *self = malloc (sizeof *self);
    assert_non_null (self);
    set_up (self, seed);
    add_tasks (self, 20);
    self->faults = true;
    for (int i = 0; i < STEPS; i++)
        step (self, 1 + (int64_t)below (self, 80));
    self->faults = false;
    note (self, "the faults are over");
    rota_core_pause (self->core, false, self->now_ms);
    for (int i = 0; i < 3000 && !(i > 200 && rota_core_is_settled (self->core, ROTA_NONE, self->now_ms)); i++)
        step (self, 50);
    expect_all_ended (self);
    rota_core_destroy (&self->core);
    free (self);
}

static void every_seed_holds_all_invariants (void **state)
{
    const char *given = getenv ("ROTA_TEST_SEED"), *is_long = getenv ("ROTA_TEST_LONG");
    unsigned first = given ? (unsigned)strtoul (given, NULL, 10) : 1;
    unsigned count = is_long && strcmp (is_long, "1") == 0 ? 10000 : 300;
    (void)state;
    print_message ("seeds %u to %u\n", first, first + count - 1);
    for (unsigned i = 0; i < count; i++)
        run (first + i);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (every_seed_holds_all_invariants),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
