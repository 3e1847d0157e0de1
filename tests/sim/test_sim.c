/* The scheduler's core in a world with a seed: hosts that crash, hang and are cut off, messages that are lost
 * and come twice, a scheduler that dies before or after each commit, limits of providers, people who submit
 * and import while it runs, cancel, retry, reopen and hold. After each step all invariants of the core must
 * hold, what it derives must be what the model works out, and at the end, with the faults gone, everything
 * that can end has ended.
 *
 * ROTA_TEST_SEED repeats a run (it is the first of the seeds); 300 seeds, 10 000 with ROTA_TEST_LONG=1. */
#include "proto/envelope.h"
#include "scheduler/core.h"
#include "scheduler/globs.h"
#include "tests/sim/sim.h"

#include <errno.h>

enum { STEPS = 600, COMPARE_EVERY = 64, RESERVED_NANO_USD = 10000000, RESERVED_TOKENS = 1000 };

/* ------------------------------------------------------------------------------------------- chance */

uint64_t sim_draw (world_t *self)
{
    self->random ^= self->random << 13;
    self->random ^= self->random >> 7;
    self->random ^= self->random << 17;
    return self->random;
}

bool sim_chance (world_t *self, unsigned percent)
{
    return sim_draw (self) % 100 < percent;
}

size_t sim_below (world_t *self, size_t limit)
{
    return limit ? (size_t)(sim_draw (self) % limit) : 0;
}

void sim_note (world_t *self, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    int length = snprintf (self->history[self->acts % HISTORY], 120, "%8lld ", (long long)self->now_ms);
    vsnprintf (self->history[self->acts % HISTORY] + length, (size_t)(120 - length), format, args);
    va_end (args);
    self->acts++;
}

/* ------------------------------------------------------------------------------------------- checks */

/* Most batches of heartbeats and acceptances change nothing: of those every eighth is looked at. */
static void expect_sound (world_t *self)
{
    rota_error_t error = {{0}};
    uint64_t version = rota_core_version (self->core);
    EXPECT (self, !rota_core_broken (self->core), "the core is broken");
    if (version == self->verified && self->batches % 8)
        return;
    self->verified = version;
    EXPECT (self, rota_core_verify (self->core, &error) == 0, "%s", error.text);
}

/* The core keeps by increment what the model works out anew. */
static void expect_as_the_model_says (world_t *self)
{
    bool dead[MODEL_NODES];
    model_find_dead (&self->model, dead);
    for (rota_node_t i = 0; i < self->model.count; i++) {
        rota_node_t one;
        if (!self->model.nodes[i].there)
            continue;
        EXPECT (self, rota_core_is_satisfied (self->core, i) == model_is_satisfied (&self->model, i),
                "n%u is satisfied or not: the model says otherwise", i);
        EXPECT (self, rota_core_is_dead (self->core, i) == dead[i],
                "n%u can come to its end or not: the model says otherwise", i);
        if (self->model.nodes[i].kind == NODE (TASK))
            EXPECT (self, rota_core_unmet (self->core, i) == model_unmet (&self->model, i, &one),
                    "n%u waits for %u, the model says %u", i, rota_core_unmet (self->core, i),
                    model_unmet (&self->model, i, &one));
    }
}

static rota_node_t epic_of (const world_t *self, rota_node_t node)
{
    rota_node_t epic = ROTA_NONE;
    for (rota_node_t up = self->model.nodes[node].parent; up != ROTA_NONE; up = self->model.nodes[up].parent)
        epic = up;
    return epic;
}

static void expect_limits_kept (world_t *self)
{
    size_t count = rota_core_lease_count (self->core), at_work = 0;
    uint32_t in_epic[MODEL_NODES] = {0};
    EXPECT (self, !self->policy.wip_limit || count <= self->policy.wip_limit, "too many tasks at once");
    for (size_t i = 0; i < count; i++) {
        rota_core_lease_t lease;
        rota_core_lease (self->core, i, &lease);
        rota_node_t epic = self->policy.wip_epic ? epic_of (self, lease.node) : ROTA_NONE;
        if (lease.phase != PHASE (WORK))
            continue;
        EXPECT (self, ++at_work <= self->source_limit || !self->source_limit, "too many tasks of the source");
        EXPECT (self, epic == ROTA_NONE || ++in_epic[epic] <= self->policy.wip_epic,
                "too many tasks of epic n%u", epic);
    }
}

/* ------------------------------------------------------------------------------------------- the store */

static void commit_rows (world_t *self, const rota_core_effects_t *effects)
{
    for (size_t i = 0; i < effects->dirty_count; i++) {
        row_t *row = &self->rows[effects->dirty[i]];
        const char *reason = rota_core_reason (self->core, effects->dirty[i]);
        rota_core_get (self->core, effects->dirty[i], &row->node);
        self->model.nodes[effects->dirty[i]].skipped = row->node.skipped;
        snprintf (row->reason, sizeof row->reason, "%s", reason ? reason : "");
        row->score = rota_core_quality_of (self->core, effects->dirty[i]);
        sim_money_keep (self, effects->dirty[i]);
    }
    for (size_t i = 0; i < rota_core_agent_count (self->core) && i < HOSTS; i++) {
        rota_core_agent_view_t view;
        rota_core_agent_view (self->core, (rota_agent_t)i, &view);
        self->agent_instance[i] = view.instance[0];
        snprintf (self->agent_name[i], sizeof self->agent_name[i], "%s", view.name);
        self->agent_count = i + 1;
    }
    self->account_count = rota_core_account_count (self->core);
    assert_true (self->account_count <= ACCOUNTS);
    for (rota_account_t i = 0; i < self->account_count; i++) {
        account_row_t *row = &self->accounts[i];
        rota_core_account_view_t view;
        rota_core_account_view (self->core, i, &view);
        snprintf (row->name, sizeof row->name, "%s", view.name);
        row->limit_count = view.limit_count;
        for (size_t k = 0; k < view.limit_count; k++) {
            row->limits[k] = rota_core_account_limit (self->core, i, k);
            snprintf (row->reason[k], sizeof row->reason[k], "%s", row->limits[k].reason);
            snprintf (row->window[k], sizeof row->window[k], "%s", row->limits[k].window);
        }
    }
}

/* A budget of attempts or of money, which a person takes away at last. */
static void set_limit (world_t *self)
{
    rota_limits_t limits;
    rota_limits_init (&limits);
    rota_core_name_source (self->core, 1, "plan");
    if (self->limit)
        limits.of[ROTA_MEASURE_ATTEMPTS][ROTA_PERIOD_LIFE] = self->limit;
    if (self->usd_limit)
        limits.of[ROTA_MEASURE_USD][ROTA_PERIOD_LIFE] = self->usd_limit;
    assert_int_equal (
        rota_core_budget_set (self->core, ROTA_SCOPE_SOURCE, "plan", true, &limits, self->now_ms), 0);
}

static void commit_tallies (world_t *self, const rota_core_effects_t *effects)
{
    size_t count;
    const uint32_t *changed = rota_core_tallies_changed (self->core, &count);
    for (size_t i = 0; i < count; i++) {
        rota_core_tally_t now;
        size_t at = 0;
        rota_core_tally (self->core, changed[i], &now);
        while (at < self->tally_count &&
               (self->tallies[at].scope != now.scope || strcmp (self->tallies[at].name, now.name) != 0))
            at++;
        assert_true (at < TALLIES);
        for (int m = 0; m < ROTA_MEASURES; m++) {
            int64_t before = at < self->tally_count ? self->tallies[at].spent[ROTA_PERIOD_LIFE][m] : 0;
            EXPECT (self, now.spent[ROTA_PERIOD_LIFE][m] >= before,
                    "%s %s forgets what was spent: %lld of %lld", rota_scope_word (now.scope), now.name,
                    (long long)now.spent[ROTA_PERIOD_LIFE][m], (long long)before);
        }
        self->tallies[at] = now;
        self->tally_count += at == self->tally_count;
    }
    for (size_t i = 0; i < effects->assign_count; i++)
        self->begun += !effects->assigns[i].again && effects->assigns[i].phase == PHASE (WORK);
    for (size_t i = 0; i < effects->ended_count; i++) {
        const rota_core_ended_t *it = &effects->ended[i];
        bool nothing = it->result_class == RESULT (LIMITED) || it->result_class == RESULT (ENVIRONMENT);
        self->begun -= it->phase == PHASE (WORK) && nothing && self->begun;
    }
    EXPECT (self, !self->limit || self->begun <= (size_t)self->limit, "%zu attempts of %lld", self->begun,
            (long long)self->limit);
}

static bool uses_an_attempt (Rota__ResultClass class)
{
    return class == RESULT (FAILED) || class == RESULT (TIMEOUT) || class == RESULT (INVALID);
}

static void commit_ended (world_t *self, const rota_core_ended_t *it)
{
    const rota_core_node_t *before = &self->rows[it->node].node;
    sim_money_ended (self, it);
    bool asked = before->cancelling || before->holding;
    bool may_use = !asked && it->phase != PHASE (REVIEW); /* the author's attempts, not the reviewer's */
    if (self->policy.coordinate && it->phase == PHASE (REVIEW) && it->result_class == RESULT (LOST))
        self->taken_away[it->node] = it->attempt;
    /* What stops a batch of merges says nothing of one member: that goes again, alone. */
    bool of_batch =
        it->phase == PHASE (MERGE) && self->policy.merge_batch > 1 && it->result_class != RESULT (FAILED);
    EXPECT (self, it->used == (uses_an_attempt (it->result_class) && may_use) || (of_batch && !it->used),
            "n%u.%u used %s attempt", it->node, it->attempt, it->used ? "an" : "no");
    if (it->agent == ROTA_NONE)
        return; /* of a lost attempt, after all */
    rota_core_agent_view_t agent;
    rota_core_agent_view (self->core, it->agent, &agent);
    account_row_t *account = &self->accounts[agent.account];
    int64_t until_ms = it->result && it->result->has_until_ms ? it->result->until_ms : 0;
    if (it->result_class == RESULT (LIMITED)) {
        self->limits++;
        if (until_ms > account->closed_until_ms)
            account->closed_until_ms = until_ms;
    } else if (it->result_class != RESULT (LOST) && it->result_class != RESULT (KILLED)) {
        account->closed_until_ms = 0; /* it may have been the probe that found it open */
    }
}

/* Those that change the same files are worked on one after the other, whatever the hosts do. */
static void expect_claims_kept (world_t *self, rota_node_t begun)
{
    for (size_t i = 0; i < rota_core_lease_count (self->core); i++) {
        rota_core_lease_t lease;
        rota_globs_pair_t pair;
        rota_core_lease (self->core, i, &lease);
        EXPECT (self,
                lease.node == begun || lease.phase != PHASE (WORK) ||
                    !rota_globs_overlap (self->rows[lease.node].claim, self->rows[begun].claim, &pair),
                "n%u and n%u change the same files at once", begun, lease.node);
    }
}

/* On what the one before left (design: the merge queue). */
static void expect_one_merge (world_t *self)
{
    size_t count = rota_core_lease_count (self->core), merging = 0, leading = 0, loaded = 0;
    rota_core_lease_t lease;
    for (size_t i = 0; i < count; i++) {
        rota_core_lease (self->core, i, &lease);
        merging += lease.phase == PHASE (MERGE);
        if (lease.phase != PHASE (MERGE) || (lease.with && lease.with != lease.node + 1))
            continue;
        /* Which of them was whose in a batch isn't stored. */
        bool of_earlier_core = lease.assigned_ms < self->rebuilt_ms;
        loaded += of_earlier_core;
        leading += !of_earlier_core;
    }
    EXPECT (self, merging <= self->policy.merge_batch, "%zu merges at once", merging);
    EXPECT (self, leading + (loaded > 0) <= 1, "%zu merges at once that no batch holds together",
            leading + loaded);
    self->merges++;
    self->batched += merging > 1;
}

static void commit_event (world_t *self, const rota_core_event_t *event)
{
    model_node_t *it = event->node < MODEL_NODES ? &self->model.nodes[event->node] : NULL;
    rota_node_t one = ROTA_NONE;
    self->modes += event->type == EVENT (MODE_CHANGED);
    if (!it || event->type != EVENT (TASK_MOVED))
        return;
    sim_note (self, "  n%u %s -> %s %s", event->node, rota_status_name (event->from),
              rota_status_name (event->to), event->reason ? event->reason : "");
    EXPECT (self, rota_core_move_allowed (event->from, event->to), "n%u: no such move", event->node);
    EXPECT (self, it->status == event->from, "n%u was %s", event->node, rota_status_name (it->status));
    /* A late result of a lost attempt counts whatever happened since; work that starts anew needs its
     * prerequisites. */
    bool starts = event->to == STATUS (IN_PROGRESS) && event->from != STATUS (IN_PROGRESS) && !event->reason;
    EXPECT (self, !starts || !model_unmet (&self->model, event->node, &one), "n%u starts before n%u",
            event->node, one);
    it->status = event->to;
    row_t *row = &self->rows[event->node];
    if (event->phase == PHASE (MERGE) && event->attempt)
        expect_one_merge (self);
    if (event->to == STATUS (DONE))
        EXPECT (self, ++row->done == 1, "n%u is done twice", event->node);
    if (event->from == STATUS (DONE))
        row->done = 0;
}

/* What stabilizes holds back what would be begun, and nothing for ever. */
static void expect_share_kept (world_t *self)
{
    rota_core_mode_t mode;
    rota_core_mode (self->core, &mode);
    EXPECT (self, !mode.at_most || mode.working <= mode.at_most, "%u agents at work, at most %u",
            mode.working, mode.at_most);
}

static bool needs_role (const world_t *self, const rota_core_assign_t *it)
{
    bool complex = self->rows[it->node].node.complexity >= self->policy.complex_from;
    return it->phase == PHASE (REVIEW) || (it->phase == PHASE (WORK) && complex);
}

/* Whose work is given out to be judged, or ROTA_NONE. */
static rota_agent_t author_judged (const world_t *self, const rota_core_assign_t *it)
{
    rota_core_node_t node;
    return it->phase == PHASE (REVIEW) && !it->again && rota_core_get (self->core, it->node, &node)
               ? node.author
               : ROTA_NONE;
}

/* Its author judges it: nobody else could. */
static void expect_no_other_judge (const world_t *self, const rota_core_assign_t *it)
{
    rota_core_agent_view_t view;
    for (rota_agent_t other = 0; other < rota_core_agent_count (self->core); other++) {
        rota_core_agent_view (self->core, other, &view);
        bool there = other != it->agent && view.connected && !view.draining &&
                     view.breaker_until_ms <= self->now_ms &&
                     self->accounts[view.account].closed_until_ms <= self->now_ms &&
                     (!view.paid || sim_money_allows (self));
        EXPECT (self, !there, "n%u is judged by its author while %s is there", it->node, view.name);
    }
}

static void let_out (world_t *self, const rota_core_effects_t *effects)
{
    rota_core_agent_view_t view;
    for (size_t i = 0; i < effects->assign_count; i++) {
        const rota_core_assign_t *it = &effects->assigns[i];
        rota_core_agent_view (self->core, it->agent, &view);
        /* After a restart nobody knows who rides with whom, and each counts. */
        EXPECT (self, it->again || view.busy <= view.slots, "more work than slots");
        EXPECT (self, it->again || view.breaker_until_ms <= self->now_ms,
                "a task is given to an agent that is set aside");
        EXPECT (self, it->again || self->accounts[view.account].closed_until_ms <= self->now_ms,
                "n%u goes to %s, whose account rests", it->node, view.name);
        rota_agent_t author = author_judged (self, it);
        if (author == it->agent)
            expect_no_other_judge (self, it);
        if (self->policy.coordinate && !it->again && needs_role (self, it) &&
            (author == ROTA_NONE || author != self->role.agent))
            EXPECT (self, it->agent == self->role.agent, "n%u goes to %s, which doesn't coordinate", it->node,
                    view.name);
        if (it->phase == PHASE (WORK) && !it->again)
            expect_claims_kept (self, it->node);
        if (it->phase == PHASE (WORK) && !it->again && self->policy.breaker_failures)
            expect_share_kept (self);
        host_t *host = sim_host_of (self, view.instance);
        message_t message = {.kind = ASSIGN,
                             .instance = view.instance[0],
                             .node = it->node,
                             .attempt = it->attempt,
                             .epoch = it->epoch,
                             .lease_ms = it->lease_ms};
        if (host)
            sim_post (self, &host->in, &message, sim_is_cut (self, host));
    }
    for (size_t i = 0; i < effects->stop_count; i++) {
        const rota_core_stop_t *it = &effects->stops[i];
        rota_core_agent_view (self->core, it->agent, &view);
        host_t *host = sim_host_of (self, view.instance);
        message_t message = {
            .kind = STOP, .instance = view.instance[0], .node = it->node, .attempt = it->attempt};
        if (host)
            sim_post (self, &host->in, &message, sim_is_cut (self, host));
    }
}

uint32_t sim_class (world_t *self)
{
    static const char *const WANTED[] = {"run", "prompt"};
    uint32_t class_index = 0;
    bool new;
    size_t first = self->policy.breaker_failures ? 1 : 0; /* commands concern no breaker */
    assert_int_equal (rota_core_class (self->core, 1, "", 0, WANTED + first, 2 - first, &class_index, &new),
                      0);
    return class_index;
}

static void load_accounts_and_agents (world_t *self)
{
    for (size_t i = 0; i < self->account_count; i++) {
        account_row_t *row = &self->accounts[i];
        for (size_t k = 0; k < row->limit_count; k++) {
            row->limits[k].reason = row->reason[k];
            row->limits[k].window = row->window[k];
        }
        rota_core_account_load (self->core, row->name, row->limits, row->limit_count);
    }
    for (size_t i = 0; i < self->agent_count; i++) {
        uint8_t instance[16];
        rota_agent_t agent;
        sim_instance_bytes (self->agent_instance[i], instance);
        assert_int_equal (
            rota_core_agent_load (self->core, self->agent_name[i], "exec", "here", instance, &agent), 0);
    }
}

/* As the store's load does it; what was staged is not there. */
static void rebuild (world_t *self)
{
    model_t *model = &self->model;
    rota_core_destroy (&self->core);
    self->core = rota_core_new (&self->policy, self->now_ms);
    rota_core_budget_defaults (self->core, RESERVED_NANO_USD, RESERVED_TOKENS);
    self->rebuilt_ms = self->now_ms + 1; /* what was begun in this very instant is the earlier one's */
    sim_class (self);
    rota_core_limit_source (self->core, 1, self->source_limit);
    load_accounts_and_agents (self);
    char holder[16];
    snprintf (holder, sizeof holder, "%s",
              self->role.agent == ROTA_NONE ? "" : self->agent_name[self->role.agent]);
    rota_core_coordinator_load (self->core, holder[0] ? holder : NULL, &self->role);
    for (rota_node_t i = 0; i < model->count; i++) {
        rota_core_node_t node = self->rows[i].node;
        node.id = self->rows[i].id;
        node.id_length = strlen (node.id);
        node.reason = self->rows[i].reason;
        node.reason_length = strlen (node.reason);
        if (!model->nodes[i].there)
            continue;
        assert_int_equal (rota_core_load (self->core, i, &node), 0);
        rota_core_claim (self->core, i, self->rows[i].claim, strlen (self->rows[i].claim), false);
        rota_core_health_quality (self->core, i, self->rows[i].score, true);
    }
    for (size_t d = 0; d < model->dependency_count; d++)
        assert_int_equal (
            rota_core_link (self->core, model->dependencies[d].prerequisite, model->dependencies[d].node), 0);
    model->count = rota_core_count (self->core);
    rota_core_open (self->core, 0, (rota_node_t)model->count, true, self->now_ms);
    sim_money_load (self);
    for (rota_node_t i = 0; i < model->count; i++)
        if (model->nodes[i].there && self->rows[i].node.agent != ROTA_NONE) {
            rota_core_load_lease (self->core, i, self->rows[i].node.agent, self->rows[i].node.assigned_ms,
                                  self->rows[i].node.epoch);
            sim_money_load_lease (self, i);
        }
    rota_core_health_load (self->core, &self->health);
    rota_core_mode_t mode;
    rota_core_mode (self->core, &mode);
    EXPECT (self, mode.mode == self->health.mode, "the mode did not outlive the scheduler");
    self->restored += mode.mode != ROTA_MODE_BALANCE;
    set_limit (self);
    for (size_t i = 0; i < self->tally_count; i++)
        rota_core_tally_load (self->core, &self->tallies[i]);
    rota_core_effects_clear (self->core);
    for (size_t h = 0; h < HOSTS; h++)
        self->hosts[h].registered = false; /* the new scheduler knows nobody: each is asked */
    self->in.count = 0;
    self->import.under_way = false;
    self->verified = UINT64_MAX;
}

typedef enum { GOES_WELL, DIES_BEFORE, DIES_AFTER } fate_t;

static void commit_role (world_t *self)
{
    rota_core_coordinator_t role;
    rota_core_coordinator (self->core, &role);
    EXPECT (self, role.epoch == self->role.epoch + 1, "epoch %llu comes after %llu",
            (unsigned long long)role.epoch, (unsigned long long)self->role.epoch);
    self->role = role;
    self->role.reason = "";
    self->elections++;
}

static void commit (world_t *self, const rota_core_effects_t *effects)
{
    for (size_t i = 0; i < effects->ended_count; i++)
        commit_ended (self, &effects->ended[i]);
    commit_rows (self, effects);
    commit_tallies (self, effects);
    sim_money_learned (self);
    sim_money_expect (self, effects);
    for (size_t i = 0; i < effects->event_count; i++)
        commit_event (self, &effects->events[i]);
    if (effects->role_changed)
        commit_role (self);
    if (effects->health_changed) {
        rota_core_health_state (self->core, &self->health);
        snprintf (self->mode_reason, sizeof self->mode_reason, "%s", self->health.reason);
        self->health.reason = self->mode_reason;
    }
    if (++self->batches % COMPARE_EVERY == 0)
        expect_as_the_model_says (self);
    expect_limits_kept (self);
}

void sim_end_batch (world_t *self, host_t *host, const message_t *answer)
{
    rota_core_effects_t effects;
    rota_core_dispatch (self->core, self->now_ms);
    fate_t fate =
        self->faults && sim_chance (self, 2) ? (sim_chance (self, 50) ? DIES_BEFORE : DIES_AFTER) : GOES_WELL;
    expect_sound (self);
    rota_core_effects (self->core, &effects);
    if (fate != DIES_BEFORE)
        commit (self, &effects);
    self->faults_of[DEATH_BEFORE] += fate == DIES_BEFORE;
    self->faults_of[DEATH_AFTER] += fate == DIES_AFTER;
    if (fate == GOES_WELL) {
        if (answer && host)
            sim_post (self, &host->in, answer, sim_is_cut (self, host));
        let_out (self, &effects);
        rota_core_effects_clear (self->core);
        return;
    }
    sim_note (self, "the scheduler dies %s its commit", fate == DIES_BEFORE ? "before" : "after");
    rebuild (self);
    expect_sound (self);
    expect_as_the_model_says (self);
}

void sim_end_batch_well (world_t *self)
{
    bool faults = self->faults;
    self->faults = false;
    sim_end_batch (self, NULL, NULL);
    self->faults = faults;
}

/* --------------------------------------------------------------------------------------- the scheduler */

static size_t number_of_host (const world_t *self, const host_t *host)
{
    return (size_t)(host - self->hosts);
}

static void hear_register (world_t *self, host_t *host, const message_t *message)
{
    char name[32];
    static const char *const CAN[] = {"run", "prompt", "gate", "review", "merge", "merge-batch"};
    snprintf (name, sizeof name, "host-%zu", number_of_host (self, host));
    rota_core_agent_t agent = {.name = name,
                               .kind = "exec",
                               .host = "here",
                               .slots = 4,
                               .capabilities = CAN,
                               .capability_count = sizeof CAN / sizeof *CAN,
                               .coordinates = true,
                               .paid = number_of_host (self, host) != 0,
                               .account = number_of_host (self, host) < 2 ? "shared" : NULL};
    sim_instance_bytes (host->instance, agent.instance);
    rota_agent_t index;
    assert_int_equal (rota_core_agent_register (self->core, &agent, message->held, message->held_count,
                                                self->now_ms, &index),
                      0);
    sim_end_batch (self, host,
                   &(message_t){.kind = REGISTERED, .instance = host->instance, .attempt = message->attempt});
}

/* What was judged under an epoch that is over moves nothing, but back to where it is judged anew. */
static void hear_report (world_t *self, const message_t *message, const Rota__Result *result)
{
    rota_core_coordinator_t role;
    rota_core_node_t before, after;
    rota_core_coordinator (self->core, &role);
    bool late = message->verdict && message->epoch && message->epoch != role.epoch;
    rota_core_get (self->core, message->node, &before);
    int r = rota_core_report_under (self->core, message->node, message->attempt,
                                    sim_chance (self, 50) ? message->epoch : 0, result, self->now_ms);
    rota_core_get (self->core, message->node, &after);
    if (!late || before.phase != PHASE (REVIEW))
        return;
    self->stale_verdicts += r == -ESTALE;
    EXPECT (self,
            after.status == before.status || after.status == STATUS (NEEDS_REVIEW) || before.cancelling ||
                before.holding,
            "n%u.%u: a verdict of epoch %llu counts in epoch %llu", message->node, message->attempt,
            (unsigned long long)message->epoch, (unsigned long long)role.epoch);
}

static void scheduler_hears (world_t *self, const message_t *message)
{
    uint8_t instance[16];
    sim_instance_bytes (message->instance, instance);
    host_t *host = sim_host_of (self, instance);
    if (!host)
        return; /* the broker knows that this one is gone */
    bool news = rota_core_agent_is_news (self->core, instance, instance, message->number);
    if (message->kind == REGISTER) {
        if (news)
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
    result.has_limit_kind = message->class == RESULT (LIMITED);
    result.limit_kind = (Rota__LimitKind)(1 + message->attempt % 4);
    result.has_until_ms = message->until_ms != 0;
    result.until_ms = message->until_ms;
    Rota__Verdict verdict = ROTA__VERDICT__INIT;
    verdict.has_approved = true;
    verdict.approved = message->verdict == 2;
    result.verdict = message->verdict ? &verdict : NULL;
    Rota__Usage usage;
    sim_money_say (message, &usage);
    result.usage = message->millis || message->tokens ? &usage : NULL;
    /* Some say something all the same, and some judge a part only. */
    result.answer = rota_bytes (message->attempt % 2 ? "no idea" : "");
    verdict.part = 1 + message->attempt % 3;
    verdict.parts = 3;
    message_t answer = {.instance = message->instance, .node = message->node, .attempt = message->attempt};
    switch (message->kind) {
    case ACCEPTED:
        rota_core_accepted (self->core, agent, message->node, message->attempt, self->now_ms);
        sim_end_batch (self, NULL, NULL);
        break;
    case HEARTBEAT:
        if (!news)
            break;
        rota_core_agent_heartbeat (self->core, agent, message->held, message->held_count, false,
                                   message->full, self->now_ms);
        answer.kind = HEARD;
        sim_end_batch (self, host, &answer);
        break;
    case REPORT:
        sim_note (self, "report n%u.%u %s", message->node, message->attempt,
                  rota_result_class_name (message->class));
        hear_report (self, message, &result);
        if (message->class == RESULT (OK) && sim_chance (self, 20))
            rota_core_health_quality (self->core, message->node, (uint32_t)sim_below (self, 1001), false);
        answer.kind = ACKNOWLEDGED;
        sim_end_batch (self, host, &answer);
        break;
    default:
        break;
    }
}

/* What the leading broker proposes, now and then knowing an older state. */
static void elect (world_t *self)
{
    rota_core_coordinator_t role;
    rota_core_candidate_t candidate;
    rota_agent_t fit = ROTA_NONE;
    rota_error_t error;
    rota_core_coordinator (self->core, &role);
    bool holds = role.agent != ROTA_NONE && rota_core_candidate (self->core, role.agent, &candidate) &&
                 !candidate.why_not;
    for (rota_agent_t i = 0; i < rota_core_agent_count (self->core); i++)
        if (rota_core_candidate (self->core, i, &candidate) && !candidate.why_not &&
            (fit == ROTA_NONE || sim_chance (self, 50)))
            fit = i;
    if (self->faults && sim_chance (self, 20) && role.epoch) {
        int r = rota_core_coordinate (self->core, fit, role.epoch - 1, false, "late", self->now_ms, &error);
        EXPECT (self, r == -ESTALE, "a proposal of the past has an effect");
        return;
    }
    if (holds && !(self->faults && sim_chance (self, 2)))
        return;
    sim_note (self, "agent %d is to coordinate", (int)fit);
    rota_core_coordinate (self->core, fit, role.epoch, false, "elected", self->now_ms, &error);
    sim_end_batch (self, NULL, NULL);
}

static void strike (world_t *self)
{
    host_t *host = &self->hosts[sim_below (self, HOSTS)];
    switch (sim_below (self, 40)) {
    case 0:
        sim_host_crashes (self, host);
        break;
    case 1:
        sim_host_stops (self, host);
        break;
    case 2:
        host->cut_until_ms = self->now_ms + (int64_t)sim_below (self, 3 * LEASE_MS);
        sim_note (self, "host %u is cut off", host->instance);
        break;
    case 3: {
        uint8_t instance[16];
        sim_instance_bytes (host->instance, instance);
        rota_agent_t agent = rota_core_agent_find (self->core, instance);
        if (agent != ROTA_NONE) {
            rota_core_agent_gone (self->core, agent, self->now_ms);
            sim_end_batch (self, NULL, NULL);
        }
        break;
    }
    case 4:
    case 5:
    case 6:
        sim_somebody_acts (self);
        break;
    case 7:
        sim_submit (self, 1 + sim_below (self, 3));
        break;
    case 8:
    case 9:
        sim_import (self);
        break;
    default:
        break;
    }
}

/* That breakers, claims and budgets hold anything back at all. */
static void count_holds (world_t *self)
{
    rota_core_counts_t counts;
    rota_core_counts (self->core, ROTA_NONE, self->now_ms, &counts);
    self->faults_of[CLAIM] += counts.place[ROTA_PLACE_CLAIMED] > 0;
    int64_t until_ms;
    self->faults_of[BUDGET] += rota_core_budget_waiting (self->core, ROTA_NONE, &until_ms) > 0;
    for (rota_agent_t i = 0; i < rota_core_agent_count (self->core); i++) {
        rota_core_agent_view_t view;
        rota_core_agent_view (self->core, i, &view);
        self->faults_of[BREAKER] += view.breaker_until_ms > self->now_ms;
    }
}

static void step (world_t *self, int64_t by_ms)
{
    message_t message;
    self->now_ms += by_ms;
    for (size_t h = 0; h < HOSTS; h++)
        sim_host_lives (self, &self->hosts[h]);
    while (sim_take (self, &self->in, &message))
        scheduler_hears (self, &message);
    rota_core_tick (self->core, self->now_ms, 0);
    sim_end_batch (self, NULL, NULL);
    if (self->policy.coordinate && (!self->faults || sim_chance (self, 30)))
        elect (self);
    if (self->faults)
        strike (self);
    sim_expect_one_runner (self);
    count_holds (self);
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
    self->policy.capacity_cooldown_ms = 200;
    self->policy.cooldown_guess_max_ms = 1000;
    self->policy.cooldown_floor_ms = 50;
    self->policy.cooldown_margin_ms = 20;
    self->policy.agent_patience_ms = 0;
    self->policy.jitter_seed = seed;
    self->policy.breaker_failures = (uint32_t)(seed % 3); /* 0: none */
    self->policy.breaker_rest_ms = 200;
    self->policy.breaker_rest_max_ms = 800;
    self->policy.give_up_after = (uint32_t)(seed % 4);
    self->policy.claim_patience_ms = 2000;
    self->policy.merge_batch = 1 + (uint32_t)(seed % 4);
    self->policy.coordinate = seed % 2;
    self->policy.mode.half_life_ms = 4000;
    self->policy.mode.dwell_ms = 500;
    self->policy.mode.samples = 3;
    self->role.agent = ROTA_NONE;
    self->role.reason = self->health.reason = "";
    for (size_t i = 0; i < MODEL_NODES; i++)
        self->rows[i].score = ROTA_UNKNOWN;
    self->policy.wip_limit = sim_chance (self, 20) ? 5 : 0;
    self->policy.wip_epic = sim_chance (self, 30) ? 1 + (uint32_t)sim_below (self, 2) : 0;
    self->source_limit = sim_chance (self, 20) ? 4 : 0;
    self->core = rota_core_new (&self->policy, self->now_ms);
    rota_core_limit_source (self->core, 1, self->source_limit);
    rota_core_budget_defaults (self->core, RESERVED_NANO_USD, RESERVED_TOKENS);
    self->limit = seed % 5 == 1 ? 6 + (int64_t)sim_below (self, 10) : 0;
    self->usd_limit = seed % 5 == 2 ? (100 + (int64_t)sim_below (self, 300)) * 1000000 : 0;
    set_limit (self);
    for (size_t h = 0; h < HOSTS; h++)
        self->hosts[h].instance = self->next_instance++;
}

static void expect_ended (world_t *self, rota_node_t i, bool behind_people)
{
    rota_place_t place = rota_core_place (self->core, i);
    rota_core_node_t node;
    bool over = place == ROTA_PLACE_ENDED || place == ROTA_PLACE_UNREACHABLE || place == ROTA_PLACE_BLOCKED ||
                place == ROTA_PLACE_HUMAN || (place == ROTA_PLACE_WAITING && behind_people);
    EXPECT (self, over, "n%u did not come to its end: place %d, %s", i, place,
            rota_status_name (self->model.nodes[i].status));
    rota_core_get (self->core, i, &node);
    EXPECT (self, node.attempts_used <= node.attempts_allowed, "n%u used too many attempts", i);
    EXPECT (self, node.status == self->model.nodes[i].status, "n%u is not what its events say", i);
}

/* What waits at the end waits for a person, itself or behind another: not for what is in a circle, or
 * forgotten. */
static void expect_all_ended (world_t *self)
{
    bool human[MODEL_NODES] = {0}, behind[MODEL_NODES];
    for (rota_node_t i = 0; i < self->model.count; i++)
        human[i] = self->model.nodes[i].there && rota_core_place (self->core, i) == ROTA_PLACE_HUMAN;
    model_find_behind (&self->model, human, behind);
    for (rota_node_t i = 0; i < self->model.count; i++)
        if (self->model.nodes[i].there && self->model.nodes[i].kind == NODE (TASK))
            expect_ended (self, i, behind[i]);
    expect_as_the_model_says (self);
    EXPECT (self, rota_core_is_settled (self->core, ROTA_NONE, self->now_ms),
            "nothing moves, and it is not settled");
}

/* What came about in all runs; a simulator in which nothing happens proves nothing. */
static struct {
    size_t nodes, imports, refused_cycles, limits, merges, batched, elections, stale_verdicts, modes,
        restored, unsaid;
    size_t faults_of[FAULT_KINDS];
} total;

static void run (unsigned seed)
{
    world_t *self = malloc (sizeof *self);
    assert_non_null (self);
    set_up (self, seed);
    sim_import (self);
    sim_submit (self, 20);
    self->faults = true;
    for (int i = 0; i < STEPS; i++)
        step (self, 1 + (int64_t)sim_below (self, 80));
    self->faults = false;
    sim_note (self, "the faults are over");
    rota_core_pause (self->core, false, self->now_ms);
    self->limit = self->usd_limit = 0;
    set_limit (self);
    for (int i = 0; i < 3000 && !(i > 200 && rota_core_is_settled (self->core, ROTA_NONE, self->now_ms)); i++)
        step (self, 50);
    expect_all_ended (self);
    total.nodes += self->model.count;
    total.imports += self->imports;
    total.refused_cycles += self->refused_cycles;
    total.limits += self->limits;
    total.merges += self->merges;
    total.batched += self->batched;
    total.elections += self->elections;
    total.modes += self->modes;
    total.restored += self->restored;
    total.unsaid += self->unsaid;
    for (int i = 0; i < FAULT_KINDS; i++)
        total.faults_of[i] += self->faults_of[i];
    total.stale_verdicts += self->stale_verdicts;
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
    print_message (
        "%zu nodes, %zu imports, %zu refused for a cycle, %zu limits, %zu merges (%zu in batches), %zu "
        "elections, %zu late verdicts, %zu modes, %zu of them restored, %zu attempts that did not say what "
        "they used\n",
        total.nodes, total.imports, total.refused_cycles, total.limits, total.merges, total.batched,
        total.elections, total.stale_verdicts, total.modes, total.restored, total.unsaid);
    static const char *const FAULTS[FAULT_KINDS] = {"messages lost",
                                                    "repeated",
                                                    "that overtook others",
                                                    "delayed",
                                                    "cut off",
                                                    "hosts crashed",
                                                    "hosts stopped",
                                                    "deaths before a commit",
                                                    "after a commit",
                                                    "breakers open",
                                                    "tasks held back by a claim",
                                                    "by a budget"};
    for (int i = 0; i < FAULT_KINDS; i++) {
        print_message ("%s%zu %s", i ? ", " : "", total.faults_of[i], FAULTS[i]);
        assert_true (total.faults_of[i] > count / 2);
    }
    print_message ("\n");
    assert_true (total.imports > count && total.refused_cycles > count / 10 && total.limits > count &&
                 total.merges > count && total.batched > count / 10 && total.elections > count &&
                 total.stale_verdicts > count / 50 && total.modes > count && total.restored > count / 10 &&
                 total.unsaid > count);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (every_seed_holds_all_invariants),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
