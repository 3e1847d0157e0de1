/* Budgets: estimates reserved and settled, limits that hold what is new of their scope and nothing else. */
#include "proto/words.h"
#include "scheduler/budget.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DAY_MS INT64_C (86400000)
#define HOUR_MS INT64_C (3600000)
#define START_MS (INT64_C (20833) * DAY_MS + 90000) /* early in a day */
#define USD INT64_C (1000000000)
#define CENT (USD / 100)

typedef struct {
    rota_core_t *core;
    int64_t now_ms;
    rota_agent_t claude, codex, exec;
    rota_core_assign_t given[32];
    size_t count;
    size_t events[64];
    char said[64][200];
} scene_t;

static void let_out (scene_t *self)
{
    rota_core_effects_t effects;
    rota_error_t error = {""};
    rota_core_effects (self->core, &effects);
    for (size_t i = 0; i < effects.event_count; i++) {
        self->events[effects.events[i].type]++;
        snprintf (self->said[effects.events[i].type], 200, "%s",
                  effects.events[i].reason ? effects.events[i].reason : "");
    }
    if (rota_core_verify (self->core, &error) < 0)
        fail_msg ("%s", error.text);
    rota_core_effects_clear (self->core);
}

static rota_agent_t join (scene_t *self, const char *kind, uint32_t slots, bool paid, uint8_t instance)
{
    const char *capability = paid ? "prompt" : "run";
    char name[32], account[32];
    snprintf (name, sizeof name, "%s@h", kind);
    snprintf (account, sizeof account, "%s/default", kind);
    rota_core_agent_t agent = {.name = name,
                               .kind = kind,
                               .host = "h",
                               .slots = slots,
                               .capabilities = &capability,
                               .capability_count = 1,
                               .paid = paid,
                               .account = paid ? account : NULL,
                               .instance = {instance}};
    rota_agent_t index;
    assert_int_equal (rota_core_agent_register (self->core, &agent, NULL, 0, self->now_ms, &index), 0);
    let_out (self);
    return index;
}

static rota_node_t add_in (scene_t *self, const char *id, const char *agent, const char *capability,
                           rota_node_t epic)
{
    rota_node_t node;
    bool fresh, group = strncmp (id, "epic", 4) == 0;
    rota_core_node_t it = {.id = id,
                           .id_length = strlen (id),
                           .kind = group ? NODE (EPIC) : NODE (TASK),
                           .parent = epic,
                           .source = 1,
                           .status = group ? 0 : STATUS (PENDING),
                           .attempts_allowed = 3,
                           .agent = ROTA_NONE,
                           .ready_since_ms = self->now_ms++};
    assert_int_equal (
        rota_core_class (self->core, 1, agent, strlen (agent), &capability, 1, &it.class_index, &fresh), 0);
    assert_int_equal (rota_core_add (self->core, &it, &node), 0);
    rota_core_open (self->core, node, node + 1, false, self->now_ms);
    return node;
}

static rota_node_t add (scene_t *self, const char *id, const char *agent)
{
    return add_in (self, id, agent, "prompt", ROTA_NONE);
}

static size_t dispatch (scene_t *self)
{
    rota_core_effects_t effects;
    rota_core_tick (self->core, self->now_ms, 0);
    rota_core_dispatch (self->core, self->now_ms);
    rota_core_effects (self->core, &effects);
    self->count = effects.assign_count;
    assert_true (self->count <= 32);
    if (self->count)
        memcpy (self->given, effects.assigns, self->count * sizeof *self->given);
    for (size_t i = 0; i < self->count; i++)
        rota_core_accepted (self->core, self->given[i].agent, self->given[i].node, self->given[i].attempt,
                            self->now_ms);
    let_out (self);
    return self->count;
}

/* Negative: it isn't said. */
static void report (scene_t *self, const rota_core_assign_t *it, Rota__ResultClass class, double usd,
                    int64_t tokens)
{
    Rota__Result result = ROTA__RESULT__INIT;
    Rota__Usage usage = ROTA__USAGE__INIT;
    usage.has_cost_usd = usd >= 0;
    usage.cost_usd = usd;
    usage.has_input_tokens = tokens >= 0;
    usage.input_tokens = tokens > 0 ? (uint64_t)tokens : 0;
    result.result_class = class;
    result.usage = usd >= 0 || tokens >= 0 ? &usage : NULL;
    assert_int_equal (rota_core_report (self->core, it->node, it->attempt, &result, self->now_ms), 0);
    let_out (self);
}

static rota_core_tally_t tally (const scene_t *self, rota_scope_t scope, const char *name)
{
    rota_core_tally_t it;
    uint32_t index = rota_core_tally_named (self->core, scope, name);
    assert_int_not_equal (index, ROTA_NONE);
    rota_core_tally (self->core, index, &it);
    return it;
}

static void limit (scene_t *self, const char *line)
{
    char scope[ROTA_SCOPE_NAME_MAX + 16];
    rota_limits_t limits;
    rota_scope_t which = ROTA_SCOPE_ALL;
    const char *name = "";
    rota_error_t error = {""};
    if (rota_limits_parse_line (line, scope, &limits, &error) < 0 ||
        rota_scope_parse (scope, &which, &name, &error) < 0)
        fail_msg ("%s", error.text);
    assert_int_equal (rota_core_budget_set (self->core, which, name, true, &limits, self->now_ms), 0);
    let_out (self);
}

static void prepare (scene_t *self)
{
    rota_core_policy_t policy;
    rota_core_policy_default (&policy);
    policy.agent_patience_ms = 0;
    policy.backoff_base_ms = policy.backoff_max_ms = 1;
    self->core = rota_core_new (&policy, self->now_ms);
    assert_non_null (self->core);
    rota_core_budget_defaults (self->core, USD / 2, 1000);
    rota_core_name_source (self->core, 1, "plan");
}

static int open_scene (void **state)
{
    scene_t *self = calloc (1, sizeof *self);
    self->now_ms = START_MS;
    prepare (self);
    self->claude = join (self, "claude", 4, true, 1);
    self->codex = join (self, "codex", 4, true, 2);
    self->exec = join (self, "exec", 4, false, 3);
    *state = self;
    return 0;
}

static int close_scene (void **state)
{
    scene_t *self = *state;
    rota_core_destroy (&self->core);
    free (self);
    return 0;
}

/* ------------------------------------------------------------------------------------------------------ */

static void what_is_reserved_at_the_start_becomes_what_was_used (void **state)
{
    scene_t *self = *state;
    add (self, "a", "claude");
    assert_int_equal (dispatch (self), 1);
    static const rota_scope_t SCOPES[] = {ROTA_SCOPE_ALL,   ROTA_SCOPE_KIND,   ROTA_SCOPE_ACCOUNT,
                                          ROTA_SCOPE_AGENT, ROTA_SCOPE_SOURCE, ROTA_SCOPE_TASK};
    static const char *const NAMES[] = {"", "claude", "claude/default", "claude@h", "plan", "a"};
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal (tally (self, SCOPES[i], NAMES[i]).reserved[ROTA_MEASURE_USD], USD / 2);
        assert_int_equal (tally (self, SCOPES[i], NAMES[i]).reserved[ROTA_MEASURE_TOKENS], 1000);
    }
    report (self, &self->given[0], RESULT (OK), 0.2, 300);
    for (size_t i = 0; i < 6; i++) {
        rota_core_tally_t it = tally (self, SCOPES[i], NAMES[i]);
        assert_int_equal (it.reserved[ROTA_MEASURE_USD], 0);
        for (int p = 0; p < ROTA_PERIODS; p++) {
            assert_int_equal (it.spent[p][ROTA_MEASURE_USD], 20 * CENT);
            assert_int_equal (it.spent[p][ROTA_MEASURE_TOKENS], 300);
            assert_int_equal (it.spent[p][ROTA_MEASURE_ATTEMPTS], 1);
            assert_int_equal (it.estimated[p][ROTA_MEASURE_USD], 0);
        }
    }
    /* The next is thought to cost what this one did. */
    add (self, "b", "claude");
    dispatch (self);
    assert_int_equal (tally (self, ROTA_SCOPE_ALL, "").reserved[ROTA_MEASURE_USD], 20 * CENT);
}

static void what_nobody_says_counts_as_the_estimate_and_says_so (void **state)
{
    scene_t *self = *state;
    add (self, "a", "codex");
    dispatch (self);
    report (self, &self->given[0], RESULT (OK), -1, 700);
    rota_core_tally_t it = tally (self, ROTA_SCOPE_KIND, "codex");
    assert_int_equal (it.spent[ROTA_PERIOD_LIFE][ROTA_MEASURE_USD], USD / 2);
    assert_int_equal (it.estimated[ROTA_PERIOD_LIFE][ROTA_MEASURE_USD], USD / 2);
    assert_int_equal (it.spent[ROTA_PERIOD_LIFE][ROTA_MEASURE_TOKENS], 700);
    assert_int_equal (it.estimated[ROTA_PERIOD_LIFE][ROTA_MEASURE_TOKENS], 0);
}

static void a_lost_attempt_counts_in_full (void **state)
{
    scene_t *self = *state;
    add (self, "a", "claude");
    dispatch (self);
    rota_core_agent_gone (self->core, self->claude, self->now_ms);
    self->now_ms += 10 * 60000;
    rota_core_tick (self->core, self->now_ms, 0);
    let_out (self);
    rota_core_tally_t it = tally (self, ROTA_SCOPE_TASK, "a");
    assert_int_equal (it.reserved[ROTA_MEASURE_USD], 0);
    assert_int_equal (it.spent[ROTA_PERIOD_LIFE][ROTA_MEASURE_USD], USD / 2);
    assert_int_equal (it.estimated[ROTA_PERIOD_LIFE][ROTA_MEASURE_USD], USD / 2);
}

static void the_fullest_of_what_pays_is_known (void **state)
{
    scene_t *self = *state;
    rota_node_t a = add (self, "a", "claude"), b = add (self, "b", "codex");
    assert_int_equal (rota_core_budget_used_permille (self->core, a, self->claude), 0);
    limit (self, "kind/claude usd_per_day=1");
    limit (self, "source/plan tokens=10000");
    assert_int_equal (dispatch (self), 2);
    for (int i = 0; i < 2; i++) /* what runs is not spent yet */
        report (self, &self->given[i], RESULT (OK), self->given[i].node == a ? 0.85 : 0.1, 2500);
    assert_int_equal (rota_core_budget_used_permille (self->core, a, self->claude), 850);
    assert_int_equal (rota_core_budget_used_permille (self->core, b, self->codex), 500);
    assert_int_equal (rota_core_budget_used_permille (self->core, a, ROTA_NONE), 500); /* the source's */
    rota_core_window_t window = {.account = "codex/default",
                                 .name = "weekly",
                                 .used_permille = 970,
                                 .resets_ms = self->now_ms + HOUR_MS,
                                 .seen_ms = self->now_ms};
    rota_core_window_load (self->core, &window);
    assert_int_equal (rota_core_budget_used_permille (self->core, b, self->codex), 970);
    assert_int_equal (rota_core_budget_used_permille (self->core, a, self->claude), 850);
    self->now_ms += DAY_MS;
    rota_core_tick (self->core, self->now_ms, 0);
    assert_int_equal (rota_core_budget_used_permille (self->core, b, self->codex), 500);
    assert_int_equal (rota_core_budget_used_permille (self->core, a, self->claude), 500); /* another day */
}

static void at_the_limit_new_work_of_its_scope_waits_and_the_rest_goes_on (void **state)
{
    scene_t *self = *state;
    limit (self, "kind/claude usd_per_day=1.2");
    for (int i = 0; i < 4; i++) {
        static const char *const IDS[] = {"c0", "c1", "c2", "c3"};
        add (self, IDS[i], "claude");
    }
    /* Two estimates of 0.50 fit, three don't. */
    assert_int_equal (dispatch (self), 2);
    assert_int_equal (self->events[EVENT (BUDGET_EXHAUSTED)], 0); /* what runs may use less */
    rota_core_assign_t second = self->given[1];
    report (self, &self->given[0], RESULT (OK), 0.9, 10);
    assert_int_equal (self->events[EVENT (BUDGET_WARNING)], 0);
    report (self, &second, RESULT (OK), 0.1, 10);
    assert_int_equal (self->events[EVENT (BUDGET_WARNING)], 1);
    assert_int_equal (dispatch (self), 0);
    assert_int_equal (self->events[EVENT (BUDGET_EXHAUSTED)], 1);
    assert_non_null (strstr (self->said[EVENT (BUDGET_EXHAUSTED)], "kind/claude"));
    rota_core_hold_t hold;
    rota_core_budget_hold (self->core, rota_core_find (self->core, "c2", 2), &hold);
    assert_int_not_equal (hold.tally, ROTA_NONE);
    assert_int_equal (hold.until_ms, START_MS / DAY_MS * DAY_MS + DAY_MS);
    int64_t again_ms;
    assert_int_equal (rota_core_budget_waiting (self->core, ROTA_NONE, &again_ms), 2);
    assert_int_equal (again_ms, hold.until_ms);
    assert_false (rota_core_is_settled (self->core, 1, self->now_ms));
    add (self, "other", "codex");
    add_in (self, "free", "", "run", ROTA_NONE);
    assert_int_equal (dispatch (self), 2);
    rota_core_assign_t other = self->given[0];
    report (self, &self->given[1], RESULT (OK), 0, 0);
    report (self, &other, RESULT (OK), 0, 0);
    /* Told once; the next hour changes nothing, the next day all. */
    self->now_ms += HOUR_MS;
    assert_int_equal (dispatch (self), 0);
    assert_int_equal (self->events[EVENT (BUDGET_EXHAUSTED)], 1);
    assert_true (rota_core_next_ms (self->core) <= self->now_ms + HOUR_MS);
    self->now_ms = hold.until_ms;
    assert_int_equal (dispatch (self), 1); /* it is thought to cost 0.70 */
    assert_int_equal (self->events[EVENT (BUDGET_RELEASED)], 1);
    assert_int_equal (
        tally (self, ROTA_SCOPE_KIND, "claude").spent[ROTA_PERIOD_LIFE][ROTA_MEASURE_USD] / CENT >= 100,
        true);
}

static void a_limit_of_an_epic_or_a_task_is_in_nobodys_way (void **state)
{
    scene_t *self = *state;
    rota_node_t epic = add_in (self, "epic", "", "prompt", ROTA_NONE);
    limit (self, "epic/epic usd=0");
    limit (self, "task/* attempts_per_day=1");
    add_in (self, "in", "claude", "prompt", epic);
    add (self, "outside", "claude");
    assert_int_equal (dispatch (self), 1);
    assert_int_equal (self->given[0].node, rota_core_find (self->core, "outside", 7));
    assert_int_equal (rota_core_place (self->core, rota_core_find (self->core, "in", 2)), ROTA_PLACE_HELD);
    report (self, &self->given[0], RESULT (FAILED), 0.1, 1);
    self->now_ms += 10;
    assert_int_equal (dispatch (self), 0); /* a second attempt today is one too many */
    assert_int_equal (rota_core_place (self->core, rota_core_find (self->core, "outside", 7)),
                      ROTA_PLACE_HELD);
    limit (self, "epic/epic usd=1");
    assert_int_equal (dispatch (self), 1);
    limit (self, "task/outside attempts_per_day=2");
    assert_int_equal (dispatch (self), 1);
}

static void reopen (scene_t *self, rota_node_t node)
{
    rota_error_t error = {""};
    int r = rota_core_control (self->core, node, VERB (REOPEN), NULL, 0, 0, self->now_ms, &error);
    if (r != 0)
        fail_msg ("%s", error.text);
    let_out (self);
}

/* What ends well has no end of attempts of its own. */
static void a_task_that_succeeds_and_recurs_is_capped_too (void **state)
{
    scene_t *self = *state;
    limit (self, "task/* attempts_per_day=2");
    rota_node_t node = add (self, "daily", "claude");
    for (int i = 0; i < 2; i++) {
        assert_int_equal (dispatch (self), 1);
        report (self, &self->given[0], RESULT (OK), 0, 1);
        reopen (self, node);
    }
    assert_int_equal (dispatch (self), 0);
    assert_int_equal (rota_core_place (self->core, node), ROTA_PLACE_HELD);
    rota_core_hold_t hold;
    rota_core_budget_hold (self->core, node, &hold);
    assert_int_equal (hold.measure, ROTA_MEASURE_ATTEMPTS);
    assert_int_equal (hold.period, ROTA_PERIOD_DAY);
    add (self, "another", "claude");
    assert_int_equal (dispatch (self), 1);
    report (self, &self->given[0], RESULT (OK), 0, 0);
    self->now_ms = hold.until_ms - 1;
    assert_int_equal (dispatch (self), 0);
    self->now_ms = hold.until_ms;
    assert_int_equal (dispatch (self), 1);
    assert_int_equal (self->given[0].node, node);
}

typedef struct {
    rota_scope_t scope;
    const char *name;
    const char *other; /* the kind and the id of a task that it doesn't concern, or NULL */
} scope_case_t;

static const char *const ONE[] = {"1", "1000", "1"}, *const MORE[] = {"2.5", "2500", "2"};

static void limit_cell (scene_t *self, const scope_case_t *of, int m, int p, const char *amount)
{
    static const char *const CELLS[ROTA_MEASURES][ROTA_PERIODS] = {
        {"usd_per_hour", "usd_per_day", "usd"},
        {"tokens_per_hour", "tokens_per_day", "tokens"},
        {"attempts_per_hour", "attempts_per_day", "attempts"}};
    char line[ROTA_SCOPE_BYTES + 40], scope[ROTA_SCOPE_BYTES];
    rota_scope_write (of->scope, of->name, scope);
    snprintf (line, sizeof line, "%s %s=%s", scope, CELLS[m][p], amount);
    limit (self, line);
}

/* A limit of what one attempt uses: the first is begun, the second waits for the period's end, or for ever.
 */
static void expect_one_only (scene_t *self, const scope_case_t *of, int m, int p)
{
    rota_node_t epic = add_in (self, "epic", "", "prompt", ROTA_NONE);
    rota_node_t node = add_in (self, "a", "claude", "prompt", epic);
    limit_cell (self, of, m, p, ONE[m]);
    assert_int_equal (dispatch (self), 1);
    report (self, &self->given[0], RESULT (OK), 1, 1000);
    reopen (self, node);
    if (of->other)
        add (self, "other", of->other);
    assert_int_equal (dispatch (self), of->other ? 1 : 0);
    if (of->other)
        report (self, &self->given[0], RESULT (OK), 0, 0);
    assert_int_equal (rota_core_place (self->core, node),
                      of->scope >= ROTA_SCOPE_EPIC ? ROTA_PLACE_HELD : ROTA_PLACE_READY);
    rota_core_hold_t hold;
    rota_core_budget_hold (self->core, node, &hold);
    assert_int_not_equal (hold.tally, ROTA_NONE);
    rota_core_tally_t held_by;
    rota_core_tally (self->core, hold.tally, &held_by);
    assert_int_equal (held_by.scope, of->scope);
    assert_string_equal (held_by.name, of->name);
    assert_int_equal (hold.measure, m);
    assert_int_equal (hold.period, p);
    static const int64_t LENGTH_MS[] = {HOUR_MS, DAY_MS};
    int64_t until_ms = p == ROTA_PERIOD_LIFE ? 0 : (START_MS / LENGTH_MS[p] + 1) * LENGTH_MS[p];
    assert_int_equal (hold.until_ms, until_ms);
    self->now_ms = until_ms ? until_ms - 1 : START_MS + 400 * DAY_MS;
    assert_int_equal (dispatch (self), 0);
    if (until_ms)
        self->now_ms = until_ms;
    else
        limit_cell (self, of, m, p, MORE[m]);
    assert_int_equal (dispatch (self), 1);
    assert_int_equal (self->given[0].node, node);
}

static void each_scope_caps_each_measure_in_each_period (void **state)
{
    static const scope_case_t CASES[] = {{ROTA_SCOPE_ALL, "", NULL},
                                         {ROTA_SCOPE_KIND, "claude", "codex"},
                                         {ROTA_SCOPE_ACCOUNT, "claude/default", "codex"},
                                         {ROTA_SCOPE_AGENT, "claude@h", "codex"},
                                         {ROTA_SCOPE_EPIC, "epic", "claude"},
                                         {ROTA_SCOPE_TASK, "a", "claude"}};
    (void)state;
    for (size_t c = 0; c < sizeof CASES / sizeof *CASES; c++)
        for (int m = 0; m < ROTA_MEASURES; m++)
            for (int p = 0; p < ROTA_PERIODS; p++) {
                void *scene;
                open_scene (&scene);
                print_message ("%s, measure %d, period %d\n", rota_scope_word (CASES[c].scope), m, p);
                expect_one_only (scene, &CASES[c], m, p);
                close_scene (&scene);
            }
}

static void a_limit_for_good_ends_a_run_and_raising_it_goes_on (void **state)
{
    scene_t *self = *state;
    rota_core_counts_t counts;
    limit (self, "source/plan usd=0.6");
    add (self, "a", "claude");
    add (self, "b", "claude");
    assert_int_equal (dispatch (self), 1);
    assert_false (rota_core_is_settled (self->core, 1, self->now_ms));
    report (self, &self->given[0], RESULT (OK), 0.5, 1);
    assert_int_equal (dispatch (self), 0);
    assert_true (rota_core_is_settled (self->core, 1, self->now_ms));
    rota_core_counts (self->core, 1, self->now_ms, &counts);
    assert_int_equal (counts.broke, 1);
    limit (self, "source/plan usd=2");
    assert_false (rota_core_is_settled (self->core, 1, self->now_ms));
    assert_int_equal (dispatch (self), 1);
}

static void with_the_policy_stop_what_runs_is_ended_too (void **state)
{
    scene_t *self = *state;
    limit (self, "kind/claude usd=1.5 policy=stop");
    add (self, "a", "claude");
    add (self, "b", "claude");
    add (self, "c", "codex");
    assert_int_equal (dispatch (self), 3);
    rota_core_assign_t first = self->given[0];
    report (self, &first, RESULT (OK), 9, 1);
    assert_true (rota_core_is_stopping (self->core, rota_core_find (self->core, "b", 1)));
    assert_false (rota_core_is_stopping (self->core, rota_core_find (self->core, "c", 1)));
}

static void the_share_of_a_window_holds_until_it_resets (void **state)
{
    scene_t *self = *state;
    limit (self, "account/claude/default window_share=80%");
    add (self, "a", "claude");
    dispatch (self);
    Rota__Result result = ROTA__RESULT__INIT;
    Rota__Usage usage = ROTA__USAGE__INIT;
    Rota__UsageWindow window = ROTA__USAGE_WINDOW__INIT, *windows[] = {&window};
    window.name = rota_bytes ("five_hour");
    window.has_used_permille = window.has_resets_ms = true;
    window.used_permille = 850;
    window.resets_ms = self->now_ms + 5 * HOUR_MS;
    usage.windows = windows;
    usage.n_windows = 1;
    result.result_class = RESULT (OK);
    result.usage = &usage;
    assert_int_equal (rota_core_report (self->core, self->given[0].node, 1, &result, self->now_ms), 0);
    let_out (self);
    add (self, "b", "claude");
    add (self, "c", "codex");
    assert_int_equal (dispatch (self), 1);
    rota_core_hold_t hold;
    rota_core_budget_hold (self->core, rota_core_find (self->core, "b", 1), &hold);
    assert_true (hold.window);
    assert_int_equal (hold.until_ms, window.resets_ms);
    report (self, &self->given[0], RESULT (OK), 0, 0);
    self->now_ms = window.resets_ms;
    assert_int_equal (dispatch (self), 1);
}

static void what_was_spent_and_reserved_is_there_after_loading (void **state)
{
    scene_t *self = *state;
    limit (self, "all usd_per_day=1.4");
    add (self, "a", "claude");
    add (self, "b", "claude");
    assert_int_equal (dispatch (self), 2);
    rota_core_assign_t b = self->given[1];
    report (self, &self->given[0], RESULT (OK), 0.8, 1);
    rota_core_tally_t all = tally (self, ROTA_SCOPE_ALL, "");
    rota_core_node_t node;
    const char *account;
    int64_t amount[ROTA_MEASURES];
    assert_true (rota_core_get (self->core, b.node, &node));
    assert_true (rota_core_reservation (self->core, b.node, &account, amount));
    assert_string_equal (account, "claude/default");
    char id[] = "b", held[] = "claude/default";
    node.id = id;
    rota_core_destroy (&self->core);

    prepare (self);
    rota_agent_t agent;
    bool fresh;
    const char *capability = "prompt";
    uint32_t class_index;
    static const uint8_t INSTANCE[16] = {1};
    assert_int_equal (rota_core_agent_load (self->core, "claude@h", "claude", "h", INSTANCE, &agent), 0);
    rota_core_class (self->core, 1, "claude", 6, &capability, 1, &class_index, &fresh);
    node.class_index = node.queue = class_index;
    assert_int_equal (rota_core_load (self->core, 0, &node), 0);
    rota_core_open (self->core, 0, 1, true, self->now_ms);
    rota_core_load_lease (self->core, 0, agent, self->now_ms, 0);
    limit (self, "all usd_per_day=1.4");
    rota_core_tally_load (self->core, &all);
    rota_core_reservation_load (self->core, 0, held, amount);
    all = tally (self, ROTA_SCOPE_ALL, "");
    assert_int_equal (all.spent[ROTA_PERIOD_DAY][ROTA_MEASURE_USD], 80 * CENT);
    assert_int_equal (all.reserved[ROTA_MEASURE_USD], USD / 2);
    assert_int_equal (tally (self, ROTA_SCOPE_ACCOUNT, "claude/default").reserved[ROTA_MEASURE_USD], USD / 2);
}

static void what_an_account_spent_is_known_before_its_agents_come (void **state)
{
    scene_t *self = *state;
    rota_core_tally_t before = {
        .scope = ROTA_SCOPE_ACCOUNT, .name = "codex/other", .spent = {[ROTA_PERIOD_LIFE] = {USD, 7, 1}}};
    rota_core_tally_load (self->core, &before);
    uint32_t at = rota_core_tally_named (self->core, ROTA_SCOPE_ACCOUNT, "codex/other");
    assert_int_not_equal (at, ROTA_NONE);
    rota_core_tally_t it;
    rota_core_tally (self->core, at, &it);
    assert_int_equal (it.spent[ROTA_PERIOD_LIFE][ROTA_MEASURE_USD], USD);
}

static void a_clock_that_is_set_back_forgets_nothing (void **state)
{
    scene_t *self = *state;
    rota_core_tally_t ahead = {.scope = ROTA_SCOPE_ALL,
                               .hour = self->now_ms / HOUR_MS + 5,
                               .day = self->now_ms / DAY_MS + 1,
                               .spent = {{USD, 0, 0}, {USD, 0, 0}, {USD, 0, 0}}};
    rota_core_tally_load (self->core, &ahead);
    rota_core_dispatch (self->core, self->now_ms);
    rota_core_tally_t it = tally (self, ROTA_SCOPE_ALL, "");
    assert_int_equal (it.day, self->now_ms / DAY_MS);
    assert_int_equal (it.spent[ROTA_PERIOD_HOUR][ROTA_MEASURE_USD], USD);
    self->now_ms += HOUR_MS;
    rota_core_dispatch (self->core, self->now_ms);
    it = tally (self, ROTA_SCOPE_ALL, "");
    assert_int_equal (it.spent[ROTA_PERIOD_HOUR][ROTA_MEASURE_USD], 0);
    assert_int_equal (it.spent[ROTA_PERIOD_DAY][ROTA_MEASURE_USD], USD);
    rota_core_effects_clear (self->core);
}

static void words_of_limits_are_read_and_wrong_ones_refused (void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int r;
    } LINES[] = {{"all usd=5", 0},
                 {"kind/claude usd_per_day=20 usd_per_hour=4 policy=stop", 0},
                 {"account/codex/work window_share=80%", 0},
                 {"task/* attempts_per_day=3", 0},
                 {"all 200ktokens", 0},
                 {"all", -EINVAL},
                 {"usd=5", -EINVAL},
                 {"kind/ usd=5", -EINVAL},
                 {"all/x usd=5", -EINVAL},
                 {"all usd=-5", -EINVAL},
                 {"all usd=5x", -EINVAL},
                 {"all usd=nan", -EINVAL},
                 {"all usd=1e99", -EINVAL},
                 {"all usd=99999999999999999999", -EINVAL},
                 {"all usd=+5", -EINVAL},
                 {"all window_share=101%", -EINVAL},
                 {"all policy=kill", -EINVAL},
                 {"all euro=5", -EINVAL}};
    char scope[ROTA_SCOPE_NAME_MAX + 16];
    rota_limits_t limits, more;
    rota_error_t error;
    for (size_t i = 0; i < sizeof LINES / sizeof LINES[0]; i++) {
        error.text[0] = '\0';
        int r = rota_limits_parse_line (LINES[i].line, scope, &limits, &error);
        if (r != LINES[i].r)
            fail_msg ("%s: %d %s", LINES[i].line, r, error.text);
        assert_true (r == 0 || error.text[0]);
    }
    rota_limits_init (&limits);
    rota_limits_init (&more);
    assert_int_equal (rota_limit_parse ("usd_per_day=+2.5", &limits, &more, &error), 0);
    assert_int_equal (more.of[ROTA_MEASURE_USD][ROTA_PERIOD_DAY], 250 * CENT);
    assert_int_equal (limits.of[ROTA_MEASURE_USD][ROTA_PERIOD_DAY], ROTA_LIMIT_UNSET);
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, open_scene, close_scene)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (what_is_reserved_at_the_start_becomes_what_was_used),
        TEST (what_nobody_says_counts_as_the_estimate_and_says_so),
        TEST (a_lost_attempt_counts_in_full),
        TEST (the_fullest_of_what_pays_is_known),
        TEST (at_the_limit_new_work_of_its_scope_waits_and_the_rest_goes_on),
        TEST (a_limit_of_an_epic_or_a_task_is_in_nobodys_way),
        TEST (a_task_that_succeeds_and_recurs_is_capped_too),
        cmocka_unit_test (each_scope_caps_each_measure_in_each_period),
        TEST (a_limit_for_good_ends_a_run_and_raising_it_goes_on),
        TEST (with_the_policy_stop_what_runs_is_ended_too),
        TEST (the_share_of_a_window_holds_until_it_resets),
        TEST (what_was_spent_and_reserved_is_there_after_loading),
        TEST (what_an_account_spent_is_known_before_its_agents_come),
        TEST (a_clock_that_is_set_back_forgets_nothing),
        cmocka_unit_test (words_of_limits_are_read_and_wrong_ones_refused),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
