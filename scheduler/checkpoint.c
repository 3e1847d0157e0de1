/* The essential state at a moment: what goes into it, and how it is made to fit. */
#include "scheduler/checkpoint.h"

#include "bus/clock.h"
#include "proto/words.h"
#include "scheduler/budget.h"
#include "scheduler/health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Up to which size of the whole each list may fill it: none starves those after it. */
enum { UP_TO_ACCOUNTS = 900, UP_TO_DRAINED = 1300, UP_TO_SPENT = 1800, UP_TO_ATTEMPTS = 2900 };
#define SHOWN_BYTES 64 /* of a name that is only shown */
#define ITEMS 1024     /* of one list; each takes four bytes at least */
#define SCOPES 32

typedef struct {
    Rota__CheckpointBody body;
    size_t size;
    uint64_t statuses[ROTA_STATUSES];
    Rota__CheckpointAccount accounts[ITEMS], *account_list[ITEMS];
    ProtobufCBinaryData drained[ITEMS];
    Rota__CheckpointSpent spent[SCOPES], *spent_list[SCOPES];
    char scopes[SCOPES][ROTA_SCOPE_BYTES];
    Rota__CheckpointRunning attempts[ITEMS], *attempt_list[ITEMS];
    Rota__CheckpointPriority priorities[ITEMS], *priority_list[ITEMS];
} making_t;

/* Cut between characters. */
static ProtobufCBinaryData shown (const char *text, size_t length)
{
    if (length > SHOWN_BYTES)
        for (length = SHOWN_BYTES; length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80; length--) {
        }
    return rota_bytes_n (text, length);
}

/* The size with one more item of so many bytes; false: it doesn't fit. Fields from 16 on have tags of two
 * bytes, items of up to 127 bytes a length of one. */
static bool fits (making_t *self, size_t item_size, size_t up_to)
{
    size_t size = self->size + 2 + (item_size < 128 ? 1 : 2) + item_size;
    if (size > up_to)
        return false;
    self->size = size;
    return true;
}

static void put_counts (making_t *self, const rota_core_t *core, const rota_checkpoint_at_t *at)
{
    rota_core_counts_t counts;
    Rota__CheckpointBody *body = &self->body;
    rota_core_counts (core, ROTA_NONE, at->now_ms, &counts);
    memcpy (self->statuses, counts.status, sizeof self->statuses);
    body->statuses = self->statuses;
    body->n_statuses = ROTA_STATUSES;
    body->has_ready = body->has_waiting = body->has_delayed = body->has_running = true;
    body->has_awaiting_human = body->has_unreachable = body->has_held = true;
    body->ready =
        counts.place[ROTA_PLACE_READY] + counts.place[ROTA_PLACE_PARKED] + counts.place[ROTA_PLACE_CLAIMED];
    body->waiting = counts.place[ROTA_PLACE_WAITING];
    body->delayed = counts.place[ROTA_PLACE_DELAYED];
    body->running = counts.place[ROTA_PLACE_RUNNING];
    body->awaiting_human = counts.place[ROTA_PLACE_HUMAN];
    body->unreachable = counts.place[ROTA_PLACE_UNREACHABLE];
    body->held = counts.place[ROTA_PLACE_HELD];
    body->has_scheduler_epoch = body->has_last_event = body->has_store = body->has_nodes = true;
    body->scheduler_epoch = at->scheduler_epoch;
    body->last_event = at->last_event;
    body->store = rota_bytes_n (at->store, 16);
    body->nodes = rota_core_count (core);
    body->has_paused = body->has_draining = true;
    body->paused = rota_core_is_paused (core);
    body->draining = rota_core_is_draining (core);
}

static void put_coordinator (making_t *self, const rota_core_t *core)
{
    rota_core_coordinator_t role;
    Rota__CheckpointBody *body = &self->body;
    rota_core_coordinator (core, &role);
    body->has_coordinator_epoch = true;
    body->coordinator_epoch = role.epoch;
    if (role.agent == ROTA_NONE)
        return;
    rota_core_agent_view_t agent;
    rota_core_agent_view (core, role.agent, &agent);
    body->has_coordinator = body->has_coordinator_by_hand = true;
    body->coordinator = rota_bytes (agent.name);
    body->coordinator_by_hand = role.by_hand;
}

static void put_mode (making_t *self, const rota_core_t *core)
{
    rota_core_mode_t mode;
    Rota__CheckpointBody *body = &self->body;
    rota_core_mode (core, &mode);
    body->has_mode = body->has_mode_reason = body->has_mode_since_ms = true;
    body->mode = rota_bytes (rota_mode_name (mode.mode));
    body->mode_reason = shown (mode.reason, strlen (mode.reason));
    body->mode_since_ms = mode.since_ms;
}

static void put_accounts (making_t *self, const rota_core_t *core, int64_t now_ms)
{
    Rota__CheckpointBody *body = &self->body;
    body->has_resting = true;
    for (rota_account_t i = 0; i < rota_core_account_count (core); i++) {
        rota_core_account_view_t view;
        rota_core_account_view (core, i, &view);
        if (!view.last.result_class || view.last.until_ms <= now_ms)
            continue;
        body->resting++;
        Rota__CheckpointAccount *it =
            &self->accounts[body->n_accounts < ITEMS ? body->n_accounts : ITEMS - 1];
        rota__checkpoint_account__init (it);
        it->has_name = it->has_result_class = true;
        it->name = rota_bytes (view.name);
        it->result_class = view.last.result_class;
        it->has_until_ms = view.last.until_ms != ROTA_BY_HAND;
        it->until_ms = it->has_until_ms ? view.last.until_ms : 0;
        if (body->n_accounts < ITEMS - 1 &&
            fits (self, rota__checkpoint_account__get_packed_size (it), UP_TO_ACCOUNTS))
            self->account_list[body->n_accounts++] = it;
    }
}

static void put_drained (making_t *self, const rota_core_t *core)
{
    Rota__CheckpointBody *body = &self->body;
    body->has_drained_count = true;
    for (rota_agent_t i = 0; i < rota_core_agent_count (core); i++) {
        rota_core_agent_view_t view;
        rota_core_agent_view (core, i, &view);
        if (!view.draining)
            continue;
        body->drained_count++;
        if (body->n_drained < ITEMS && fits (self, strlen (view.name), UP_TO_DRAINED))
            self->drained[body->n_drained++] = rota_bytes (view.name);
    }
}

/* The large scopes; what a source, epic or task used is in the tallies for as long as there are any. */
static void put_spent (making_t *self, const rota_core_t *core)
{
    Rota__CheckpointBody *body = &self->body;
    for (size_t i = 0; i < rota_core_tally_count (core) && body->n_spent < SCOPES; i++) {
        rota_core_tally_t tally;
        rota_core_tally (core, i, &tally);
        const int64_t *spent = tally.spent[ROTA_PERIOD_LIFE];
        if (tally.scope > ROTA_SCOPE_ACCOUNT || !spent[ROTA_MEASURE_ATTEMPTS])
            continue;
        size_t n = body->n_spent;
        Rota__CheckpointSpent *it = &self->spent[n];
        rota__checkpoint_spent__init (it);
        rota_scope_write (tally.scope, tally.name, self->scopes[n]);
        it->has_scope = it->has_nano_usd = it->has_tokens = it->has_attempts = true;
        it->scope = shown (self->scopes[n], strlen (self->scopes[n]));
        it->nano_usd = spent[ROTA_MEASURE_USD];
        it->tokens = spent[ROTA_MEASURE_TOKENS];
        it->attempts = spent[ROTA_MEASURE_ATTEMPTS];
        if (fits (self, rota__checkpoint_spent__get_packed_size (it), UP_TO_SPENT))
            self->spent_list[body->n_spent++] = it;
    }
}

static void put_attempts (making_t *self, const rota_core_t *core)
{
    Rota__CheckpointBody *body = &self->body;
    for (size_t i = 0; i < rota_core_lease_count (core) && body->n_attempts < ITEMS; i++) {
        rota_core_lease_t lease;
        rota_core_node_t node;
        rota_core_agent_view_t agent;
        rota_core_lease (core, i, &lease);
        if (!rota_core_get (core, lease.node, &node))
            continue;
        rota_core_agent_view (core, lease.agent, &agent);
        Rota__CheckpointRunning *it = &self->attempts[body->n_attempts];
        rota__checkpoint_running__init (it);
        it->has_task = it->has_attempt = it->has_agent = it->has_phase = true;
        it->task = shown (node.id, node.id_length);
        it->attempt = lease.attempt;
        it->agent = shown (agent.name, strlen (agent.name));
        it->phase = lease.phase;
        if (!fits (self, rota__checkpoint_running__get_packed_size (it), UP_TO_ATTEMPTS))
            return;
        self->attempt_list[body->n_attempts++] = it;
    }
}

/* Those of tasks that have not ended come first: going back is mostly about them. */
static void put_priorities (making_t *self, const rota_core_t *core, bool ended)
{
    Rota__CheckpointBody *body = &self->body;
    body->has_priority_count = true;
    for (rota_node_t i = 0; i < rota_core_count (core); i++) {
        rota_core_node_t node;
        if (!rota_core_get (core, i, &node) || node.kind != NODE (TASK) || !node.priority ||
            rota_core_is_staged (core, i) || (rota_core_place (core, i) == ROTA_PLACE_ENDED) != ended)
            continue;
        body->priority_count++;
        if (body->n_priorities == ITEMS)
            continue;
        Rota__CheckpointPriority *it = &self->priorities[body->n_priorities];
        rota__checkpoint_priority__init (it);
        it->has_task = it->has_priority = true;
        it->task = rota_bytes_n (node.id, node.id_length);
        it->priority = node.priority;
        if (fits (self, rota__checkpoint_priority__get_packed_size (it), ROTA_CHECKPOINT_MAX_BYTES))
            self->priority_list[body->n_priorities++] = it;
    }
}

int rota_checkpoint_make (rota_core_t *core, const rota_checkpoint_at_t *at,
                          uint8_t ret_body[ROTA_CHECKPOINT_MAX_BYTES])
{
    making_t *self = calloc (1, sizeof *self);
    if (!self)
        return -ENOMEM;
    Rota__CheckpointBody *body = &self->body;
    rota__checkpoint_body__init (body);
    body->accounts = self->account_list;
    body->drained = self->drained;
    body->spent = self->spent_list;
    body->attempts = self->attempt_list;
    body->priorities = self->priority_list;
    put_counts (self, core, at);
    put_coordinator (self, core);
    put_mode (self, core);
    /* With room for the counts of lists, which are not known yet. */
    self->size = rota__checkpoint_body__get_packed_size (body) + 64;
    put_accounts (self, core, at->now_ms);
    put_drained (self, core);
    put_spent (self, core);
    put_attempts (self, core);
    put_priorities (self, core, false);
    put_priorities (self, core, true);
    size_t size = rota__checkpoint_body__get_packed_size (body);
    int r = size <= ROTA_CHECKPOINT_MAX_BYTES ? (int)rota__checkpoint_body__pack (body, ret_body) : -E2BIG;
    free (self);
    return r;
}

/* ------------------------------------------------------------------------- a store that nobody serves */

static void name_source (void *owner, uint32_t source, const char *name, size_t length, const uint8_t *header,
                         size_t size)
{
    (void)header, (void)size;
    char *copy = strndup (name, length);
    if (copy)
        rota_core_name_source (owner, source, copy);
    free (copy);
}

static void no_conversation (void *owner, const uint8_t id[16], uint64_t low, const uint8_t *window,
                             size_t size, int64_t used_ms)
{
    (void)owner, (void)id, (void)low, (void)window, (void)size, (void)used_ms;
}

static void no_version (void *owner, rota_agent_t agent, const char *version)
{
    (void)owner, (void)agent, (void)version;
}

static int load (rota_store_t *store, rota_core_t *core, int64_t now_ms, rota_error_t *error)
{
    rota_store_load_t into = {.owner = core,
                              .on_source = name_source,
                              .on_conversation = no_conversation,
                              .on_agent_version = no_version};
    int r = rota_store_load (store, core, &into, now_ms, error);
    if (r < 0)
        return r;
    rota_core_pause (core, rota_store_number (store, "paused", 0) != 0, now_ms);
    rota_store_load_coordinator (store, core);
    rota_store_load_health (store, core);
    return rota_store_load_budgets (store, core, error);
}

int rota_checkpoint_of_file (const char *path, uint8_t ret_body[ROTA_CHECKPOINT_MAX_BYTES],
                             rota_error_t *error)
{
    rota_store_t *store = NULL;
    rota_core_policy_t policy;
    int64_t now_ms = rota_clock_wall_ms ();
    if (access (path, F_OK) < 0)
        return rota_error_set (error, -ENOENT, "there is no store");
    rota_core_policy_default (&policy);
    rota_core_t *core = rota_core_new (&policy, now_ms);
    int r = core ? rota_store_open (path, &store, error) : rota_error_set (error, -ENOMEM, "no memory");
    if (r == 0)
        r = load (store, core, now_ms, error);
    if (r == 0) {
        rota_checkpoint_at_t at = {.scheduler_epoch =
                                       (uint64_t)rota_store_number (store, "scheduler_epoch", 0),
                                   .last_event = rota_store_last_event (store),
                                   .store = rota_store_incarnation (store),
                                   .now_ms = now_ms};
        r = rota_checkpoint_make (core, &at, ret_body);
        if (r < 0)
            rota_error_set (error, r, "no checkpoint of it can be made");
    }
    rota_store_close (&store);
    rota_core_destroy (&core);
    return r;
}

int rota_checkpoint_into_file (const char *path, const char *cause, const uint8_t *body, size_t size,
                               rota_error_t *error)
{
    rota_store_t *store = NULL;
    int r = rota_store_open (path, &store, error);
    if (r == 0)
        r = rota_store_begin (store, error);
    if (r == 0) {
        rota_store_add_checkpoint (store, cause, body, size, rota_clock_wall_ms ());
        r = rota_store_commit (store, error);
    }
    rota_store_close (&store);
    return r;
}
