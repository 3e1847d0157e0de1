/* Limits of providers: one cooldown for all agents of an account, probes, and who takes the work meanwhile.
 */
#include "proto/words.h"
#include "scheduler/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define START_MS INT64_C (1800000000000)
#define MINUTE_MS 60000

typedef struct {
    rota_core_t *core;
    rota_core_policy_t policy;
    int64_t now_ms;
    rota_agent_t claude_here, claude_there, codex;
} scene_t;

static void verify (const scene_t *self)
{
    rota_error_t error = {""};
    if (rota_core_verify (self->core, &error) < 0)
        fail_msg ("%s", error.text);
}

static rota_agent_t join (scene_t *self, const char *name, const char *kind, const char *account,
                          uint32_t slots, uint8_t instance)
{
    static const char *const CAPABILITIES[] = {"prompt"};
    rota_core_agent_t agent = {.name = name,
                               .kind = kind,
                               .host = "h",
                               .slots = slots,
                               .capabilities = CAPABILITIES,
                               .capability_count = 1,
                               .paid = true,
                               .account = account,
                               .instance = {instance}};
    rota_agent_t index;
    assert_int_equal (rota_core_agent_register (self->core, &agent, NULL, 0, self->now_ms, &index), 0);
    return index;
}

static void add (scene_t *self, const char *id, const char *agent, uint32_t complexity)
{
    static const char *const CAPABILITIES[] = {"prompt"};
    rota_node_t node;
    rota_core_node_t it = {.id = id,
                           .id_length = strlen (id),
                           .kind = NODE (TASK),
                           .parent = ROTA_NONE,
                           .status = STATUS (PENDING),
                           .complexity = complexity,
                           .attempts_allowed = 1,
                           .agent = ROTA_NONE,
                           .ready_since_ms = self->now_ms};
    bool fresh;
    assert_int_equal (
        rota_core_class (self->core, 0, agent, strlen (agent), CAPABILITIES, 1, &it.class_index, &fresh), 0);
    assert_int_equal (rota_core_add (self->core, &it, &node), 0);
    rota_core_open (self->core, node, node + 1, false, self->now_ms);
}

/* Hands out; the agents that were given something now, in order; accepted at once. */
static size_t dispatch (scene_t *self, rota_core_assign_t *ret_assigns, size_t capacity)
{
    rota_core_effects_t effects;
    rota_core_effects_clear (self->core);
    rota_core_tick (self->core, self->now_ms, 0);
    rota_core_dispatch (self->core, self->now_ms);
    rota_core_effects (self->core, &effects);
    size_t count = effects.assign_count;
    assert_true (count <= capacity);
    for (size_t i = 0; i < count; i++)
        ret_assigns[i] = effects.assigns[i];
    for (size_t i = 0; i < count; i++)
        rota_core_accepted (self->core, ret_assigns[i].agent, ret_assigns[i].node, ret_assigns[i].attempt,
                            self->now_ms);
    verify (self);
    return count;
}

/* A limit of a kind, of the window that the program says is used up ("" = it doesn't say). */
static void report_limit (scene_t *self, const rota_core_assign_t *it, Rota__LimitKind kind,
                          const char *window_name, int64_t until_ms)
{
    Rota__Result result = ROTA__RESULT__INIT;
    Rota__Usage usage = ROTA__USAGE__INIT;
    Rota__UsageWindow window = ROTA__USAGE_WINDOW__INIT, *windows[] = {&window};
    window.name = (ProtobufCBinaryData){.data = (uint8_t *)window_name, .len = strlen (window_name)};
    window.used_permille = 1000;
    usage.n_windows = *window_name ? 1 : 0;
    usage.windows = windows;
    result.usage = &usage;
    result.result_class = RESULT (LIMITED);
    result.has_limit_kind = true;
    result.limit_kind = kind;
    result.has_until_ms = until_ms != 0;
    result.until_ms = until_ms;
    assert_int_equal (rota_core_report (self->core, it->node, it->attempt, &result, self->now_ms), 0);
    verify (self);
}

static void report (scene_t *self, const rota_core_assign_t *it, Rota__ResultClass class, int64_t until_ms)
{
    Rota__Result result = ROTA__RESULT__INIT;
    result.result_class = class;
    result.has_until_ms = until_ms != 0;
    result.until_ms = until_ms;
    assert_int_equal (rota_core_report (self->core, it->node, it->attempt, &result, self->now_ms), 0);
    verify (self);
}

static rota_core_account_view_t account (const scene_t *self, rota_agent_t agent)
{
    rota_core_agent_view_t view;
    rota_core_account_view_t account;
    rota_core_agent_view (self->core, agent, &view);
    rota_core_account_view (self->core, view.account, &account);
    return account;
}

static Rota__TaskStatus status_of (const scene_t *self, const char *id)
{
    rota_core_node_t node;
    assert_true (rota_core_get (self->core, rota_core_find (self->core, id, strlen (id)), &node));
    return node.status;
}

static uint32_t used_of (const scene_t *self, const char *id)
{
    rota_core_node_t node;
    assert_true (rota_core_get (self->core, rota_core_find (self->core, id, strlen (id)), &node));
    return node.attempts_used;
}

static int open_scene (void **state)
{
    static const char *const ORDINARY[] = {"codex", "claude", NULL}, *const COMPLEX[] = {"claude", "codex",
                                                                                         NULL};
    scene_t *self = calloc (1, sizeof *self);
    rota_core_policy_default (&self->policy);
    self->policy.prefer = ORDINARY;
    self->policy.prefer_complex = COMPLEX;
    self->now_ms = START_MS;
    self->core = rota_core_new (&self->policy, self->now_ms);
    *state = self;
    return self->core ? 0 : -1;
}

/* Policies are copied at creation. */
static void again (scene_t *self)
{
    rota_core_destroy (&self->core);
    self->core = rota_core_new (&self->policy, self->now_ms);
    assert_non_null (self->core);
}

static int close_scene (void **state)
{
    scene_t *self = *state;
    rota_core_destroy (&self->core);
    free (self);
    return 0;
}

static void join_claudes (scene_t *self)
{
    self->claude_here = join (self, "claude@here", "claude", "claude/default", 2, 1);
    self->claude_there = join (self, "claude@there", "claude", "claude/default", 2, 2);
}

static void a_limit_rests_every_agent_of_the_account_until_the_stated_time (void **state)
{
    scene_t *self = *state;
    rota_core_assign_t given[8];
    join_claudes (self);
    for (int i = 0; i < 3; i++)
        add (self, (const char *[]){"a", "b", "c"}[i], "", 5);
    assert_int_equal (dispatch (self, given, 8), 3);
    report (self, &given[0], RESULT (LIMITED), self->now_ms + 10 * MINUTE_MS);
    assert_int_equal (account (self, self->claude_there).last.result_class, RESULT (LIMITED));
    assert_int_equal (account (self, self->claude_there).last.until_ms,
                      self->now_ms + 10 * MINUTE_MS + self->policy.cooldown_margin_ms);
    assert_int_equal (dispatch (self, given + 3, 5), 0);
    /* What ran goes on, and its end opens nothing. */
    report (self, &given[1], RESULT (OK), 0);
    assert_int_equal (dispatch (self, given + 3, 5), 0);
    assert_int_equal (rota_core_next_ms (self->core) > self->now_ms, 1);
    self->now_ms += 10 * MINUTE_MS;
    assert_int_equal (dispatch (self, given + 3, 5), 0);
    self->now_ms += self->policy.cooldown_margin_ms;
    assert_int_equal (dispatch (self, given + 3, 5), 1);
}

static void a_limit_uses_no_attempt (void **state)
{
    scene_t *self = *state;
    rota_core_assign_t given[8];
    join_claudes (self);
    add (self, "a", "", 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal (dispatch (self, given, 8), 1);
        report (self, &given[0], RESULT (LIMITED), self->now_ms + MINUTE_MS);
        assert_int_equal (status_of (self, "a"), STATUS (PENDING));
        self->now_ms = account (self, self->claude_here).last.until_ms;
    }
    assert_int_equal (used_of (self, "a"), 0);
    assert_int_equal (dispatch (self, given, 8), 1);
    report (self, &given[0], RESULT (OK), 0);
    assert_int_equal (status_of (self, "a"), STATUS (DONE));
}

static void one_task_tries_whether_the_limit_is_over_and_then_all_go_on (void **state)
{
    scene_t *self = *state;
    rota_core_assign_t given[8];
    join_claudes (self);
    for (int i = 0; i < 4; i++)
        add (self, (const char *[]){"a", "b", "c", "d"}[i], "", 5);
    assert_int_equal (dispatch (self, given, 8), 4);
    for (int i = 0; i < 4; i++)
        report (self, &given[i], RESULT (LIMITED), self->now_ms + MINUTE_MS);
    self->now_ms = account (self, self->claude_here).last.until_ms;
    assert_int_equal (dispatch (self, given, 8), 1);
    assert_true (account (self, self->claude_here).probing);
    assert_int_equal (dispatch (self, given + 1, 7), 0);
    report (self, &given[0], RESULT (OK), 0);
    assert_int_equal (account (self, self->claude_here).last.result_class, 0);
    assert_int_equal (dispatch (self, given, 8), 3);
}

static void a_probe_that_is_limited_again_rests_the_account_for_longer (void **state)
{
    scene_t *self = *state;
    rota_core_assign_t given[8];
    int64_t rest_ms[4];
    join_claudes (self);
    add (self, "a", "", 5);
    for (int i = 0; i < 4; i++) {
        assert_int_equal (dispatch (self, given, 8), 1);
        report (self, &given[0], RESULT (LIMITED), 0);
        rest_ms[i] = account (self, self->claude_here).last.until_ms - self->now_ms;
        self->now_ms += rest_ms[i];
    }
    assert_int_equal (rest_ms[0], self->policy.default_cooldown_ms);
    assert_int_equal (rest_ms[1], 2 * rest_ms[0]);
    assert_int_equal (rest_ms[3], 8 * rest_ms[0] < self->policy.cooldown_guess_max_ms
                                      ? 8 * rest_ms[0]
                                      : self->policy.cooldown_guess_max_ms);
}

static void a_probe_of_which_nothing_follows_is_tried_again (void **state)
{
    scene_t *self = *state;
    rota_core_assign_t given[8];
    join_claudes (self);
    add (self, "a", "", 5);
    assert_int_equal (dispatch (self, given, 8), 1);
    report (self, &given[0], RESULT (LIMITED), self->now_ms + MINUTE_MS);
    self->now_ms = account (self, self->claude_here).last.until_ms;
    assert_int_equal (dispatch (self, given, 8), 1);
    report (self, &given[0], RESULT (KILLED), 0);
    assert_int_equal (account (self, self->claude_here).last.result_class, RESULT (LIMITED));
    self->now_ms += 10 * MINUTE_MS;
    assert_int_equal (dispatch (self, given, 8), 1);
}

static void stated_times_are_held_to_floor_and_ceiling (void **state)
{
    scene_t *self = *state;
    rota_core_assign_t given[8];
    join_claudes (self);
    add (self, "a", "", 5);
    assert_int_equal (dispatch (self, given, 8), 1);
    report (self, &given[0], RESULT (LIMITED), self->now_ms - MINUTE_MS);
    assert_int_equal (account (self, self->claude_here).last.until_ms,
                      self->now_ms + self->policy.cooldown_floor_ms + self->policy.cooldown_margin_ms);
    self->now_ms = account (self, self->claude_here).last.until_ms;
    assert_int_equal (dispatch (self, given, 8), 1);
    report (self, &given[0], RESULT (LIMITED), INT64_MAX - 1);
    assert_int_equal (account (self, self->claude_here).last.until_ms,
                      self->now_ms + self->policy.cooldown_ceiling_ms + self->policy.cooldown_margin_ms);
}

static void another_kind_takes_the_work_unless_the_task_names_one (void **state)
{
    scene_t *self = *state;
    rota_core_assign_t given[8];
    join_claudes (self);
    add (self, "free", "", 9);
    add (self, "bound", "claude", 9);
    assert_int_equal (dispatch (self, given, 8), 2);
    report (self, &given[0], RESULT (LIMITED), self->now_ms + 10 * MINUTE_MS);
    report (self, &given[1], RESULT (LIMITED), self->now_ms + 10 * MINUTE_MS);
    self->codex = join (self, "codex@here", "codex", "codex/default", 4, 3);
    self->now_ms += 1000;
    assert_int_equal (dispatch (self, given, 8), 1);
    assert_int_equal (given[0].agent, self->codex);
    assert_int_equal (given[0].node, rota_core_find (self->core, "free", 4));
    assert_false (rota_core_is_settled (self->core, ROTA_NONE, self->now_ms + 60 * MINUTE_MS));
}

static void complex_tasks_go_to_the_kind_that_is_preferred_for_them (void **state)
{
    scene_t *self = *state;
    rota_core_assign_t given[8];
    join_claudes (self);
    self->codex = join (self, "codex@here", "codex", "codex/default", 4, 3);
    add (self, "hard", "", 8);
    assert_int_equal (dispatch (self, given, 8), 1);
    assert_int_not_equal (given[0].agent, self->codex);
    add (self, "easy", "", 7);
    assert_int_equal (dispatch (self, given, 8), 1);
    assert_int_equal (given[0].agent, self->codex);
}

static void a_wrong_key_closes_the_account_until_somebody_mends_it (void **state)
{
    scene_t *self = *state;
    rota_core_assign_t given[8];
    join_claudes (self);
    add (self, "a", "", 5);
    add (self, "b", "", 5);
    assert_int_equal (dispatch (self, given, 8), 2);
    report (self, &given[0], RESULT (AUTH), 0);
    report (self, &given[1], RESULT (AUTH), 0);
    assert_int_equal (used_of (self, "a"), 0);
    self->now_ms += 30 * 24 * 60 * (int64_t)MINUTE_MS;
    assert_int_equal (dispatch (self, given, 8), 0);
    assert_true (rota_core_is_settled (self->core, ROTA_NONE, self->now_ms));
    /* Started again, it may have been given another key. */
    join (self, "claude@here", "claude", "claude/default", 2, 9);
    assert_int_equal (dispatch (self, given, 8), 2);
}

static void without_auto_resume_a_limit_ends_by_hand_only (void **state)
{
    scene_t *self = *state;
    rota_core_assign_t given[8];
    self->policy.no_auto_resume = true;
    again (self);
    join_claudes (self);
    add (self, "a", "", 5);
    assert_int_equal (dispatch (self, given, 8), 1);
    report (self, &given[0], RESULT (LIMITED), self->now_ms + MINUTE_MS);
    self->now_ms += 60 * MINUTE_MS;
    assert_int_equal (dispatch (self, given, 8), 0);
    assert_true (rota_core_is_settled (self->core, ROTA_NONE, self->now_ms));
    rota_core_agent_view_t view;
    rota_core_agent_view (self->core, self->claude_here, &view);
    assert_int_equal (rota_core_account_resume (self->core, view.account, self->now_ms), 0);
    assert_int_equal (rota_core_account_resume (self->core, view.account, self->now_ms), 1);
    assert_int_equal (dispatch (self, given, 8), 1);
}

static void in_quiet_hours_nothing_paid_begins (void **state)
{
    scene_t *self = *state;
    rota_core_assign_t given[8];
    join_claudes (self);
    add (self, "a", "", 5);
    rota_core_quiet (self->core, self->now_ms + MINUTE_MS, self->now_ms);
    assert_int_equal (dispatch (self, given, 8), 0);
    assert_false (rota_core_is_settled (self->core, ROTA_NONE, self->now_ms));
    assert_int_equal (rota_core_next_ms (self->core), self->now_ms + MINUTE_MS);
    self->now_ms += MINUTE_MS;
    assert_int_equal (dispatch (self, given, 8), 1);
}

static void an_agent_that_cannot_work_is_given_nothing (void **state)
{
    scene_t *self = *state;
    rota_core_assign_t given[8];
    static const char *const CAPABILITIES[] = {"prompt"};
    rota_core_agent_t agent = {.name = "x",
                               .kind = "claude",
                               .host = "h",
                               .slots = 1,
                               .capabilities = CAPABILITIES,
                               .capability_count = 1,
                               .problem = "not logged in",
                               .instance = {7}};
    rota_agent_t index;
    assert_int_equal (rota_core_agent_register (self->core, &agent, NULL, 0, self->now_ms, &index), 0);
    add (self, "a", "", 5);
    assert_int_equal (dispatch (self, given, 8), 0);
    assert_true (rota_core_is_settled (self->core, ROTA_NONE, self->now_ms + self->policy.agent_patience_ms));
    agent.problem = NULL;
    assert_int_equal (rota_core_agent_register (self->core, &agent, NULL, 0, self->now_ms, &index), 0);
    assert_int_equal (dispatch (self, given, 8), 1);
}

static void what_was_limited_when_it_was_stored_still_is_after_loading (void **state)
{
    scene_t *self = *state;
    rota_core_assign_t given[8];
    rota_core_limit_t limit = {
        .result_class = RESULT (LIMITED), .until_ms = self->now_ms + MINUTE_MS, .reason = "it was"};
    rota_core_account_load (self->core, "claude/default", &limit, 1);
    join_claudes (self);
    add (self, "a", "", 5);
    assert_int_equal (dispatch (self, given, 8), 0);
    assert_string_equal (account (self, self->claude_here).last.reason, "it was");
    self->now_ms += MINUTE_MS;
    assert_int_equal (dispatch (self, given, 8), 1);
}

static void each_limit_has_its_breaker_and_the_account_rests_until_the_last (void **state)
{
    scene_t *self = *state;
    rota_core_assign_t given[8];
    join_claudes (self);
    for (int i = 0; i < 3; i++)
        add (self, (char[]){(char)('a' + i), '\0'}, "claude", 5);
    assert_int_equal (dispatch (self, given, 8), 3);
    int64_t five_ms = self->now_ms + 60 * MINUTE_MS, week_ms = self->now_ms + 500 * MINUTE_MS;
    report_limit (self, &given[0], LIMIT (WINDOW), "seven_day", week_ms);
    report_limit (self, &given[1], LIMIT (WINDOW), "five_hour", five_ms);
    report_limit (self, &given[2], LIMIT (BURST), "", self->now_ms + MINUTE_MS);
    assert_int_equal (account (self, self->claude_here).limit_count, 3);
    assert_int_equal (account (self, self->claude_here).last.until_ms,
                      week_ms + self->policy.cooldown_margin_ms);
    assert_string_equal (account (self, self->claude_here).last.window, "seven_day");

    /* The shorter ones end, and nothing is tried: the longest still holds. */
    self->now_ms = five_ms + 10 * MINUTE_MS;
    assert_int_equal (dispatch (self, given, 8), 0);

    /* Then one task tries for all three. */
    self->now_ms = account (self, self->claude_here).last.until_ms;
    assert_int_equal (dispatch (self, given, 8), 1);
    report (self, &given[0], RESULT (OK), 0);
    assert_int_equal (account (self, self->claude_here).limit_count, 0);
    assert_int_equal (dispatch (self, given, 8), 2);
}

static void a_probe_that_meets_another_limit_leaves_the_first_to_be_tried (void **state)
{
    scene_t *self = *state;
    rota_core_assign_t given[8];
    join_claudes (self);
    add (self, "a", "claude", 5);
    assert_int_equal (dispatch (self, given, 8), 1);
    report_limit (self, &given[0], LIMIT (CAPACITY), "", 0);
    int64_t capacity_ms = account (self, self->claude_here).last.until_ms - self->now_ms;
    self->now_ms += capacity_ms;
    assert_int_equal (dispatch (self, given, 8), 1);
    report_limit (self, &given[0], LIMIT (BURST), "", 0);
    assert_int_equal (account (self, self->claude_here).limit_count, 2);

    /* Each counts its own times in a row: the guess for this one is not doubled. */
    assert_int_equal (account (self, self->claude_here).last.trips, 1);
    assert_int_equal (account (self, self->claude_here).last.until_ms - self->now_ms,
                      self->policy.default_cooldown_ms);
    self->now_ms = account (self, self->claude_here).last.until_ms;
    assert_int_equal (dispatch (self, given, 8), 1);
    report_limit (self, &given[0], LIMIT (CAPACITY), "", 0);
    assert_int_equal (account (self, self->claude_here).last.until_ms - self->now_ms, 2 * capacity_ms);
    self->now_ms = account (self, self->claude_here).last.until_ms;
    assert_int_equal (dispatch (self, given, 8), 1);
    report (self, &given[0], RESULT (OK), 0);
    assert_int_equal (account (self, self->claude_here).limit_count, 0);
}

static void what_is_told_while_a_task_tries_outlasts_its_success (void **state)
{
    scene_t *self = *state;
    rota_core_assign_t given[8], probe[8];
    join_claudes (self);
    for (int i = 0; i < 3; i++)
        add (self, (char[]){(char)('a' + i), '\0'}, "claude", 5);
    assert_int_equal (dispatch (self, given, 8), 3);
    report_limit (self, &given[0], LIMIT (BURST), "", self->now_ms + MINUTE_MS);
    self->now_ms = account (self, self->claude_here).last.until_ms;
    assert_int_equal (dispatch (self, probe, 8), 1);
    report_limit (self, &given[1], LIMIT (WINDOW), "five_hour", self->now_ms + 60 * MINUTE_MS);
    report (self, &probe[0], RESULT (OK), 0);
    assert_int_equal (account (self, self->claude_here).limit_count, 1);
    assert_int_equal (dispatch (self, probe, 8), 0);
}

static void more_limits_than_there_is_room_for_keep_the_longest (void **state)
{
    scene_t *self = *state;
    rota_core_assign_t given[16];
    char window[8];
    join_claudes (self);
    self->claude_here = join (self, "wide", "claude", "claude/default", 16, 9);
    for (int i = 0; i < 12; i++)
        add (self, (char[]){(char)('a' + i), '\0'}, "claude", 5);
    size_t count = dispatch (self, given, 16);
    assert_int_equal (count, 12);
    for (size_t i = 0; i < count; i++) {
        snprintf (window, sizeof window, "w%zu", i);
        report_limit (self, &given[i], LIMIT (WINDOW), window,
                      self->now_ms + (int64_t)(i == 3 ? 900 : 60 + i) * MINUTE_MS);
    }
    assert_int_equal (account (self, self->claude_here).limit_count, ROTA_LIMITS_MAX);
    assert_string_equal (account (self, self->claude_here).last.window, "w3");
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, open_scene, close_scene)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (a_limit_rests_every_agent_of_the_account_until_the_stated_time),
        TEST (a_limit_uses_no_attempt),
        TEST (one_task_tries_whether_the_limit_is_over_and_then_all_go_on),
        TEST (a_probe_that_is_limited_again_rests_the_account_for_longer),
        TEST (a_probe_of_which_nothing_follows_is_tried_again),
        TEST (stated_times_are_held_to_floor_and_ceiling),
        TEST (another_kind_takes_the_work_unless_the_task_names_one),
        TEST (complex_tasks_go_to_the_kind_that_is_preferred_for_them),
        TEST (a_wrong_key_closes_the_account_until_somebody_mends_it),
        TEST (without_auto_resume_a_limit_ends_by_hand_only),
        TEST (in_quiet_hours_nothing_paid_begins),
        TEST (an_agent_that_cannot_work_is_given_nothing),
        TEST (what_was_limited_when_it_was_stored_still_is_after_loading),
        TEST (each_limit_has_its_breaker_and_the_account_rests_until_the_last),
        TEST (a_probe_that_meets_another_limit_leaves_the_first_to_be_tried),
        TEST (what_is_told_while_a_task_tries_outlasts_its_success),
        TEST (more_limits_than_there_is_room_for_keep_the_longest),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
