/* Rules for results in words, errors that repeat, and breakers of agents. */
#include "scheduler/resilience.h"
#include "tests/unit/core_drive.h"

#include <errno.h>

static const char *const ABLE[] = {"prompt", NULL};

static rota_rule_t rule_of (const char *text)
{
    rota_rule_t rule;
    rota_error_t error = {""};
    if (rota_rule_parse (text, &rule, &error) < 0)
        fail_msg ("%s: %s", text, error.text);
    return rule;
}

static void expect_refused (const char *text, const char *part)
{
    rota_rule_t rule;
    rota_error_t error = {""};
    assert_int_equal (rota_rule_parse (text, &rule, &error), -EINVAL);
    if (!strstr (error.text, part))
        fail_msg ("%s: \"%s\" doesn't say %s", text, error.text, part);
}

static void a_rule_is_words (void **state)
{
    (void)state;
    rota_rule_t rule = rule_of ("retry wait=30s..5m other=2");
    assert_int_equal (rule.what, ROTA_RULE_RETRY);
    assert_int_equal (rule.base_ms, 30000);
    assert_int_equal (rule.max_ms, 300000);
    assert_int_equal (rule.other, 2);
    assert_int_equal (rule_of ("free").base_ms, -1);
    expect_refused ("", "retry, free, rest");
    expect_refused ("later", "`later`");
    expect_refused ("retry wait=30s", "two durations");
    expect_refused ("retry wait=5m..30s", "two durations");
    expect_refused ("retry other=-1", "from 0 to 100");
    expect_refused ("retry twice", "`twice`");
}

static void the_same_error_is_one_wherever_and_whenever_it_happened (void **state)
{
    (void)state;
    uint32_t one = rota_error_fingerprint ("12:30:01 /srv/a/x.c:14: undefined name foo (pid 4711)");
    assert_int_equal (one, rota_error_fingerprint ("09:00:59 /srv/b/y.c:2: undefined name foo (pid 12)"));
    assert_int_not_equal (one,
                          rota_error_fingerprint ("12:30:01 /srv/a/x.c:14: undefined name bar (pid 4711)"));
    assert_int_not_equal (rota_error_fingerprint (""), 0);
}

static int report_saying (drive_t *self, const char *name, const char *message)
{
    Rota__Result result = ROTA__RESULT__INIT;
    result.has_result_class = result.has_message = true;
    result.result_class = RESULT (FAILED);
    result.message = (ProtobufCBinaryData){strlen (message), (uint8_t *)(uintptr_t)message};
    rota_node_t node = drive_find (self, name);
    int r = rota_core_report (self->core, node, drive_get (self, name).attempt, &result, self->now_ms);
    drive_let_out (self);
    return r;
}

static int64_t breaker_of (const drive_t *self, rota_agent_t agent)
{
    rota_core_agent_view_t view;
    rota_core_agent_view (self->core, agent, &view);
    return view.breaker_until_ms;
}

static uint32_t prompt_class (drive_t *self, const char *agent)
{
    uint32_t class_index;
    bool is_new;
    const char *const names[] = {"prompt"};
    assert_int_equal (rota_core_class (self->core, 0, agent, strlen (agent), names, 1, &class_index, &is_new),
                      0);
    return class_index;
}

static void add_prompt_for (drive_t *self, const char *id, const char *agent)
{
    rota_core_node_t node = {.id = id,
                             .id_length = strlen (id),
                             .kind = NODE (TASK),
                             .parent = ROTA_NONE,
                             .class_index = prompt_class (self, agent),
                             .status = STATUS (PENDING),
                             .attempts_allowed = 50,
                             .agent = ROTA_NONE,
                             .author = ROTA_NONE};
    rota_node_t at;
    assert_int_equal (rota_core_add (self->core, &node, &at), 0);
    rota_core_open (self->core, at, at + 1, false, self->now_ms);
    drive_let_out (self);
}

static void add_prompt (drive_t *self, const char *id)
{
    add_prompt_for (self, id, "");
}

static void the_same_error_twice_goes_to_another_kind (void **state)
{
    drive_t *self = *state;
    ADD (self, .id = "a", .attempts = 9);
    drive_join (self, "exec@here", 1, NULL);
    rota_agent_t tried[3];
    drive_join_as (self, "other@here", "other", 1, (const char *const[]){"run", NULL});
    for (int i = 0; i < 3; i++) {
        drive_wait (self, 60000);
        drive_expect_handed_out (self, "a");
        tried[i] = self->assigns[0].agent;
        report_saying (self, "a", i == 0 ? "no file 17" : "no file 18");
    }
    assert_int_equal (tried[0], tried[1]);
    assert_int_not_equal (tried[1], tried[2]);
    assert_int_equal (rota_core_same_errors (self->core, drive_find (self, "a")), 3);
}

static void the_same_error_five_times_ends_a_task_that_has_attempts_left (void **state)
{
    drive_t *self = *state;
    drive_join_as (self, "x@here", "x", 1, ABLE);
    add_prompt (self, "a");
    add_prompt (self, "b");
    for (int i = 0; i < 5; i++) {
        drive_wait (self, 60000);
        drive_dispatch (self);
        report_saying (self, "a", "no file 17");
        if (i < 4) {
            EXPECT_STATUS (self, "a", PENDING);
        }
        if (i == 0) {
            assert_int_equal (drive_dispatch (self), 1); /* nobody else is held up */
            drive_report (self, "b", RESULT (OK));
        }
    }
    EXPECT_STATUS (self, "a", FAILED);
    assert_non_null (
        strstr (rota_core_reason (self->core, drive_find (self, "a")), "the same error 5 times"));
    assert_int_equal (rota_core_trouble (self->core, drive_find (self, "a")), 0);
}

static void different_errors_use_all_attempts (void **state)
{
    drive_t *self = *state;
    drive_join_as (self, "x@here", "x", 1, ABLE);
    add_prompt (self, "a"); /* 50 attempts */
    for (int i = 0; i < 50; i++) {
        EXPECT_STATUS (self, "a", PENDING);
        drive_wait (self, 60000);
        drive_dispatch (self);
        report_saying (self, "a", i % 2 ? "no file" : "no memory");
    }
    EXPECT_STATUS (self, "a", FAILED);
}

static void a_rule_may_say_that_nothing_is_tried_again (void **state)
{
    drive_t *self = *state;
    self->policy.rules[RESULT (TIMEOUT)] = rule_of ("fail");
    self->policy.rules[RESULT (FAILED)] = rule_of ("retry wait=20s..40s");
    drive_renew (self);
    drive_join (self, "exec@here", 2, NULL);
    ADD (self, .id = "a");
    ADD (self, .id = "b");
    drive_dispatch (self);
    drive_report (self, "a", RESULT (TIMEOUT));
    EXPECT_STATUS (self, "a", FAILED);
    drive_report (self, "b", RESULT (FAILED));
    assert_int_equal (drive_get (self, "b").not_before_ms, self->now_ms + 20000);
}

/* ------------------------------------------------------------------------------------------ breakers */

static const char *const FIVE[] = {"a", "b", "c", "d", "e"};

static void an_agent_that_fails_five_tasks_rests_and_one_task_tries_it (void **state)
{
    drive_t *self = *state;
    rota_agent_t agent = drive_join_as (self, "x@here", "x", 8, ABLE);
    for (int i = 0; i < 5; i++)
        add_prompt (self, FIVE[i]);
    drive_dispatch (self);
    for (int i = 0; i < 5; i++) {
        assert_int_equal (breaker_of (self, agent), 0);
        report_saying (self, FIVE[i], "broken");
    }
    int64_t until_ms = breaker_of (self, agent);
    assert_int_equal (until_ms, self->now_ms + self->policy.breaker_rest_ms);
    assert_true (rota_core_next_ms (self->core) <= until_ms);
    drive_wait (self, 30000);
    assert_int_equal (drive_dispatch (self), 0);
    drive_wait (self, 30001);
    assert_int_equal (drive_dispatch (self), 1); /* half open */
    report_saying (self, "a", "broken");
    assert_int_equal (breaker_of (self, agent), self->now_ms + 2 * self->policy.breaker_rest_ms);
    drive_wait (self, 120001);
    drive_forget_effects (self);
    assert_int_equal (drive_dispatch (self), 1);
    const char *tried = NULL;
    for (int i = 0; i < 5; i++)
        if (drive_get (self, FIVE[i]).status == STATUS (IN_PROGRESS))
            tried = FIVE[i];
    assert_non_null (tried);
    drive_report (self, tried, RESULT (OK));
    assert_int_equal (breaker_of (self, agent), 0);
    assert_int_equal (drive_dispatch (self), 4);
}

/* So many tasks fail there, all of them different. */
static void fail_tasks (drive_t *self, const char *agent, int count)
{
    static int next;
    for (int i = 0; i < count; i++) {
        char id[16];
        snprintf (id, sizeof id, "t%d", next++);
        add_prompt_for (self, id, agent);
        drive_expect_handed_out (self, id);
        assert_int_equal (report_saying (self, id, "broken"), 0);
        drive_control (self, id, VERB (CANCEL));
    }
}

/* Ten failed, none of the agents five. */
static void a_kind_rests_when_several_of_its_agents_fail (void **state)
{
    drive_t *self = *state;
    static const char *const NAMES[] = {"x@one", "x@two", "x@three", "x@four"};
    rota_agent_t x[4], y;
    for (int i = 0; i < 4; i++)
        x[i] = drive_join_as (self, NAMES[i], "x", 8, ABLE);
    y = drive_join_as (self, "y@one", "y", 8, ABLE);
    fail_tasks (self, "x@one", 4);
    fail_tasks (self, "x@two", 4);
    fail_tasks (self, "x@three", 1);
    for (int i = 0; i < 4; i++)
        assert_int_equal (breaker_of (self, x[i]), 0);
    drive_forget_effects (self);
    fail_tasks (self, "x@three", 1);
    assert_true (drive_was_event (self, EVENT (AGENT_COOLDOWN), NULL));
    for (int i = 0; i < 4; i++)
        assert_int_equal (breaker_of (self, x[i]), self->now_ms + self->policy.breaker_rest_ms);
    assert_int_equal (breaker_of (self, y), 0);
    add_prompt_for (self, "for the fourth", "x@four");
    add_prompt_for (self, "for x", "x");
    add_prompt_for (self, "for y", "y");
    drive_expect_handed_out (self, "for y");
    drive_report (self, "for y", RESULT (OK));
    drive_wait (self, self->policy.breaker_rest_ms + 1);
    drive_expect_handed_out (self, "for the fourth"); /* one tries it */
    drive_report (self, "for the fourth", RESULT (OK));
    drive_expect_handed_out (self, "for x"); /* and each agent of the kind works again */
}

/* As many failures, on one agent alone: it is the agent. */
static void one_bad_agent_is_no_bad_kind (void **state)
{
    drive_t *self = *state;
    self->policy.breaker_window_ms = 86400000;
    drive_renew (self);
    rota_agent_t bad = drive_join_as (self, "x@bad", "x", 8, ABLE);
    rota_agent_t good = drive_join_as (self, "x@good", "x", 8, ABLE);
    for (int i = 0; i < 15; i++) {
        fail_tasks (self, "x@bad", 1);
        int64_t until_ms = breaker_of (self, bad);
        assert_int_equal (until_ms > 0, i >= 4);
        assert_int_equal (breaker_of (self, good), 0);
        if (until_ms)
            drive_wait (self, until_ms - self->now_ms + 1);
    }
    fail_tasks (self, "x@bad", 1); /* its next trial */
    add_prompt_for (self, "another", "x");
    drive_expect_handed_out (self, "another");
    assert_int_equal (self->assigns[0].agent, good);
}

static void one_poison_task_opens_no_breaker (void **state)
{
    drive_t *self = *state;
    rota_agent_t agent = drive_join_as (self, "x@here", "x", 8, ABLE);
    self->policy.give_up_after = 0;
    add_prompt (self, "a");
    for (int i = 0; i < 20; i++) {
        drive_wait (self, 10000);
        drive_dispatch (self);
        report_saying (self, "a", i % 2 ? "broken" : "very broken");
        assert_int_equal (breaker_of (self, agent), 0);
    }
}

static void commands_that_fail_say_nothing_of_who_ran_them (void **state)
{
    drive_t *self = *state;
    rota_agent_t agent = drive_join (self, "exec@here", 8, NULL);
    for (int i = 0; i < 5; i++)
        ADD (self, .id = FIVE[i]);
    drive_dispatch (self);
    for (int i = 0; i < 5; i++)
        report_saying (self, FIVE[i], "broken");
    assert_int_equal (breaker_of (self, agent), 0);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (a_rule_is_words),
        cmocka_unit_test (the_same_error_is_one_wherever_and_whenever_it_happened),
        DRIVE_TEST (the_same_error_twice_goes_to_another_kind),
        DRIVE_TEST (the_same_error_five_times_ends_a_task_that_has_attempts_left),
        DRIVE_TEST (different_errors_use_all_attempts),
        DRIVE_TEST (a_rule_may_say_that_nothing_is_tried_again),
        DRIVE_TEST (an_agent_that_fails_five_tasks_rests_and_one_task_tries_it),
        DRIVE_TEST (a_kind_rests_when_several_of_its_agents_fail),
        DRIVE_TEST (one_bad_agent_is_no_bad_kind),
        DRIVE_TEST (one_poison_task_opens_no_breaker),
        DRIVE_TEST (commands_that_fail_say_nothing_of_who_ran_them),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
