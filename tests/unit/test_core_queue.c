/* Who comes next, who has to wait, and that waiting always ends: order, limits, classes, delays, pauses. */
#include "bus/settings.h"
#include "scheduler/core.h"
#include "tests/unit/core_drive.h"

#define HOUR_MS INT64_C (3600000)

static void end_all (drive_t *self)
{
    while (rota_core_lease_count (self->core)) {
        rota_core_lease_t lease;
        Rota__Result result = ROTA__RESULT__INIT;
        rota_core_lease (self->core, 0, &lease);
        result.has_result_class = true;
        result.result_class = RESULT (OK);
        assert_int_equal (rota_core_report (self->core, lease.node, lease.attempt, &result, self->now_ms), 0);
        drive_let_out (self);
    }
}

static rota_core_counts_t counts_of (const drive_t *self)
{
    rota_core_counts_t counts;
    rota_core_counts (self->core, ROTA_NONE, self->now_ms, &counts);
    return counts;
}

/* ------------------------------------------------------------------------------------------- limits */

static void a_global_limit_holds_and_releases_in_order (void **state)
{
    drive_t *self = *state;
    self->policy.wip_limit = 2;
    drive_renew (self);
    drive_join (self, "one", 9, NULL);
    drive_join (self, "two", 9, NULL);
    ADD (self, .id = "d");
    ADD (self, .id = "c", .priority = 1);
    ADD (self, .id = "b", .priority = 2);
    ADD (self, .id = "a", .priority = 3);
    drive_expect_handed_out (self, "a b");
    drive_expect_handed_out (self, "");
    drive_report (self, "b", RESULT (OK));
    drive_expect_handed_out (self, "c");
    drive_report (self, "a", RESULT (OK));
    drive_report (self, "c", RESULT (OK));
    drive_expect_handed_out (self, "d");
}

static void an_epics_limit_holds_its_tasks_and_nobody_elses (void **state)
{
    drive_t *self = *state;
    self->policy.wip_epic = 2;
    drive_renew (self);
    drive_join (self, "host", 9, NULL);
    EPIC (self, "E");
    MILESTONE (self, "M", "E");
    EPIC (self, "F");
    ADD (self, .id = "e4", .in = "E", .priority = 6);
    ADD (self, .id = "e3", .in = "E/M", .priority = 7);
    ADD (self, .id = "e2", .in = "E", .priority = 8);
    ADD (self, .id = "e1", .in = "E/M", .priority = 9);
    ADD (self, .id = "f", .in = "F");
    ADD (self, .id = "alone");
    drive_expect_handed_out (self, "e1 e2 f alone");
    EXPECT_PLACE (self, "e3", PARKED);
    EXPECT_PLACE (self, "e4", PARKED);
    drive_report (self, "e2", RESULT (OK));
    drive_expect_handed_out (self, "e3");
    drive_report (self, "e1", RESULT (OK));
    drive_report (self, "e3", RESULT (FAILED));
    drive_expect_handed_out (self, "e4");
}

static void what_an_epics_limit_held_back_has_waited_all_the_same (void **state)
{
    drive_t *self = *state;
    self->policy.wip_epic = 1;
    drive_renew (self);
    drive_join (self, "host", 2, NULL);
    EPIC (self, "E");
    ADD (self, .id = "first", .in = "E");
    ADD (self, .id = "parked", .in = "E");
    drive_expect_handed_out (self, "first");
    EXPECT_PLACE (self, "parked", PARKED);
    drive_wait (self, 5000);
    ADD (self, .id = "younger");
    drive_wait (self, 1000);
    rota_core_pause (self->core, true, self->now_ms);
    drive_report (self, "first", RESULT (OK));
    rota_core_pause (self->core, false, self->now_ms);
    drive_expect_handed_out (self, "parked younger");
}

static void the_room_in_an_epic_goes_on_when_its_next_task_does_not_take_it (void **state)
{
    drive_t *self = *state;
    self->policy.wip_epic = 1;
    drive_renew (self);
    drive_join (self, "host", 9, NULL);
    EPIC (self, "E");
    ADD (self, .id = "a", .in = "E", .priority = 3);
    ADD (self, .id = "b", .in = "E", .priority = 2);
    ADD (self, .id = "c", .in = "E", .priority = 1);
    drive_expect_handed_out (self, "a");
    drive_report (self, "a", RESULT (OK));
    drive_control (self, "b", VERB (HOLD)); /* it was to be the next */
    drive_expect_handed_out (self, "c");
    drive_report (self, "c", RESULT (OK));
    assert_true (rota_core_is_settled (self->core, ROTA_NONE, self->now_ms));
}

static void a_parked_task_that_no_agent_takes_keeps_no_other_of_its_epic (void **state)
{
    drive_t *self = *state;
    self->policy.wip_epic = 1;
    drive_renew (self);
    drive_join (self, "host", 9, NULL);
    EPIC (self, "E");
    ADD (self, .id = "a", .in = "E", .priority = 9);
    ADD (self, .id = "waits-for-claude", .in = "E", .priority = 8, .agent = "claude");
    ADD (self, .id = "b", .in = "E", .priority = 7);
    drive_expect_handed_out (self, "a");
    drive_report (self, "a", RESULT (OK));
    drive_expect_handed_out (self, "b");
}

static void a_sources_limit_holds_its_tasks_alone (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 9, NULL);
    rota_core_limit_source (self->core, 1, 1);
    ADD (self, .id = "a", .source = 1, .priority = 2);
    ADD (self, .id = "b", .source = 1, .priority = 1);
    ADD (self, .id = "other", .source = 2);
    drive_expect_handed_out (self, "a other");
    assert_true (rota_core_source_is_full (self->core, 1));
    drive_report (self, "other", RESULT (OK));
    drive_expect_handed_out (self, "");
    drive_report (self, "a", RESULT (OK));
    drive_expect_handed_out (self, "b");
    drive_report (self, "b", RESULT (OK));
    ADD (self, .id = "c", .source = 1);
    ADD (self, .id = "d", .source = 1);
    rota_core_limit_source (self->core, 1, 0);
    drive_expect_handed_out (self, "c d");
}

static void an_agents_slots_and_limit_hold (void **state)
{
    drive_t *self = *state;
    self->policy.wip_agent = 2;
    drive_renew (self);
    rota_agent_t small = drive_join (self, "small", 1, NULL), big = drive_join (self, "big", 9, NULL);
    for (int i = 0; i < 5; i++) {
        char id[8];
        snprintf (id, sizeof id, "t%d", i);
        ADD (self, .id = id);
    }
    assert_int_equal (drive_dispatch (self), 3);
    size_t of_small = 0, of_big = 0;
    for (size_t i = 0; i < 3; i++) {
        of_small += self->assigns[i].agent == small;
        of_big += self->assigns[i].agent == big;
    }
    assert_int_equal (of_small, 1);
    assert_int_equal (of_big, 2);
    end_all (self);
    assert_int_equal (drive_dispatch (self), 2);
}

/* ------------------------------------------------------------------------------------------ classes */

static void classes_of_capabilities_do_not_wait_behind_each_other (void **state)
{
    drive_t *self = *state;
    drive_join (self, "plain", 2, NULL);
    ADD (self, .id = "gpu-1", .needs = "gpu", .priority = 100);
    ADD (self, .id = "gpu-2", .needs = "gpu", .priority = 100);
    ADD (self, .id = "named", .agent = "claude", .priority = 100);
    ADD (self, .id = "any-1");
    ADD (self, .id = "any-2");
    ADD (self, .id = "any-3");
    drive_expect_handed_out (self, "any-1 any-2");
    assert_int_equal (counts_of (self).unassignable, 3);
    drive_join (self, "special", 2, "gpu");
    assert_int_equal (counts_of (self).unassignable, 1);
    drive_expect_handed_out (self, "gpu-1 gpu-2");
    end_all (self);
    drive_expect_handed_out (self, "any-3");
    assert_false (rota_core_is_settled (self->core, ROTA_NONE, self->now_ms));
    end_all (self);
    assert_true (rota_core_is_settled (self->core, ROTA_NONE, self->now_ms));
}

static void a_task_that_names_an_agent_or_a_kind_goes_to_it (void **state)
{
    drive_t *self = *state;
    rota_agent_t one = drive_join (self, "one", 9, NULL), two = drive_join (self, "two", 9, NULL);
    ADD (self, .id = "for-two", .agent = "two");
    ADD (self, .id = "for-one", .agent = "one");
    ADD (self, .id = "for-exec", .agent = "exec");
    drive_expect_handed_out (self, "for-two for-one for-exec");
    assert_int_equal (self->assigns[0].agent, two);
    assert_int_equal (self->assigns[1].agent, one);
}

static void nothing_goes_to_who_is_gone_draining_or_full (void **state)
{
    drive_t *self = *state;
    rota_agent_t gone = drive_join (self, "gone", 9, NULL);
    rota_agent_t drained = drive_join (self, "drained", 9, NULL);
    ADD (self, .id = "a");
    rota_core_agent_gone (self->core, gone, self->now_ms);
    rota_core_agent_drain (self->core, drained, true, self->now_ms);
    drive_expect_handed_out (self, "");
    assert_int_equal (counts_of (self).unassignable, 0); /* both may be back */
    rota_core_agent_drain (self->core, drained, false, self->now_ms);
    drive_expect_handed_out (self, "a");
    assert_int_equal (self->assigns[0].agent, drained);
    ADD (self, .id = "b");
    drive_join (self, "gone", 9, NULL);
    drive_expect_handed_out (self, "b");
    assert_int_equal (self->assigns[0].agent, gone);
}

static void work_is_spread_by_the_share_of_slots_that_are_free (void **state)
{
    drive_t *self = *state;
    rota_agent_t agents[] = {drive_join (self, "a", 8, NULL), drive_join (self, "b", 4, NULL)};
    size_t given[2] = {0};
    for (int i = 0; i < 6; i++) {
        char id[8];
        snprintf (id, sizeof id, "t%d", i);
        ADD (self, .id = id);
    }
    assert_int_equal (drive_dispatch (self), 6);
    for (size_t i = 0; i < 6; i++)
        given[self->assigns[i].agent == agents[1]]++;
    assert_int_equal (given[0], 4);
    assert_int_equal (given[1], 2);
}

/* -------------------------------------------------------------------------------------------- order */

static void tasks_go_by_priority_then_fix_ups_then_what_opens_more_then_small_ones_then_age (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 20, NULL);
    STAGE (self, .id = "old");
    STAGE (self, .id = "same-age");
    STAGE (self, .id = "large", .complexity = 9);
    STAGE (self, .id = "small", .complexity = 1);
    STAGE (self, .id = "opens");
    STAGE (self, .id = "x", .after = {"opens"});
    STAGE (self, .id = "y", .after = {"opens"});
    STAGE (self, .id = "z", .after = {"opens"});
    STAGE (self, .id = "fix-up", .status = STATUS (NEEDS_IMPROVEMENT));
    STAGE (self, .id = "urgent", .priority = 100);
    STAGE (self, .id = "last", .priority = -100);
    drive_open_staged (self);
    drive_wait (self, 1);
    ADD (self, .id = "younger");
    assert_int_equal (rota_core_position (self->core, drive_find (self, "urgent")), 0);
    assert_int_equal (rota_core_position (self->core, drive_find (self, "last")), 8);
    drive_expect_handed_out (self, "urgent fix-up opens small old same-age younger large last");
}

static void a_new_priority_takes_effect_at_once (void **state)
{
    drive_t *self = *state;
    rota_error_t error;
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a");
    ADD (self, .id = "b");
    ADD (self, .id = "c");
    assert_int_equal (rota_core_control (self->core, drive_find (self, "c"), VERB (PRIORITY), NULL, 0, 5,
                                         self->now_ms, &error),
                      0);
    assert_int_equal (rota_core_control (self->core, drive_find (self, "a"), VERB (PRIORITY), NULL, 0, -5,
                                         self->now_ms, &error),
                      0);
    assert_int_equal (rota_core_control (self->core, drive_find (self, "a"), VERB (PRIORITY), NULL, 0, -5,
                                         self->now_ms, &error),
                      1);
    drive_work (self, "c", RESULT (OK));
    drive_work (self, "b", RESULT (OK));
    drive_work (self, "a", RESULT (OK));
}

/* A minute for each point: a task of priority 0 outwaits a stream of priority 100 in 100 minutes. */
static void waiting_wins_in_the_end_against_a_stream_of_urgent_tasks (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "low");
    int64_t start_ms = self->now_ms;
    for (int i = 0; drive_get (self, "low").status == STATUS (PENDING); i++) {
        assert_true (self->now_ms - start_ms < 2 * HOUR_MS);
        char id[16];
        snprintf (id, sizeof id, "urgent-%d", i);
        ADD (self, .id = id, .priority = 100);
        drive_wait (self, 30000);
        assert_int_equal (drive_dispatch (self), 1);
        end_all (self);
    }
    assert_in_range ((uint64_t)(self->now_ms - start_ms), 100 * 60000 - 60000, 100 * 60000 + 60000);
}

static void even_the_least_wanted_task_gets_its_turn_before_the_most_wanted_of_two_days_later (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "least", .priority = -1000, .complexity = 10);
    drive_wait (self, 48 * HOUR_MS);
    ADD (self, .id = "most", .priority = 1000, .complexity = 1, .status = STATUS (NEEDS_IMPROVEMENT));
    drive_expect_handed_out (self, "least");
}

static void a_heap_of_thousands_gives_them_back_in_order (void **state)
{
    drive_t *self = *state;
    char id[16];
    uint64_t random = 88172645463325252u;
    self->unchecked = true;
    for (int i = 0; i < 3000; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        snprintf (id, sizeof id, "t%d", i);
        ADD (self, .id = id, .priority = (int32_t)(random % 2000) - 1000);
    }
    for (int i = 0; i < 3000; i += 3) { /* some leave from the middle */
        snprintf (id, sizeof id, "t%d", i);
        drive_control (self, id, VERB (HOLD));
    }
    drive_check (self);
    drive_join (self, "host", 1, NULL);
    int32_t before = 1000;
    for (int i = 0; i < 2000; i++) {
        assert_int_equal (drive_dispatch (self), 1);
        rota_core_node_t node;
        rota_core_get (self->core, self->assigns[0].node, &node);
        assert_true (node.priority <= before);
        before = node.priority;
        end_all (self);
    }
    assert_int_equal (drive_dispatch (self), 0);
    drive_check (self);
}

/* --------------------------------------------------------------------------- delays, pauses, the end */

static void a_task_that_may_not_start_before_a_time_does_not (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 9, NULL);
    ADD (self, .id = "later", .not_before_ms = self->now_ms + 60000, .priority = 100);
    ADD (self, .id = "behind", .after = {"later"}, .not_before_ms = self->now_ms + 90000);
    ADD (self, .id = "now");
    EXPECT_PLACE (self, "later", DELAYED);
    EXPECT_PLACE (self, "behind", WAITING);
    drive_expect_handed_out (self, "now");
    drive_report (self, "now", RESULT (OK));
    assert_int_equal (rota_core_next_ms (self->core), self->now_ms + 60000);
    assert_false (rota_core_is_settled (self->core, ROTA_NONE, self->now_ms));
    drive_wait (self, 59999);
    drive_expect_handed_out (self, "");
    drive_wait (self, 1);
    drive_work (self, "later", RESULT (OK));
    EXPECT_PLACE (self, "behind", DELAYED);
    drive_wait (self, 30000);
    drive_work (self, "behind", RESULT (OK));
}

static void while_paused_nothing_is_handed_out_and_what_runs_goes_on (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 9, NULL);
    ADD (self, .id = "a");
    drive_expect_handed_out (self, "a");
    ADD (self, .id = "b");
    rota_core_pause (self->core, true, self->now_ms);
    assert_true (rota_core_is_paused (self->core));
    drive_expect_handed_out (self, "");
    assert_int_equal (drive_report (self, "a", RESULT (OK)), 0);
    EXPECT_STATUS (self, "a", DONE);
    drive_expect_handed_out (self, "");
    assert_int_equal (self->stop_count, 0);
    assert_false (rota_core_is_settled (self->core, ROTA_NONE, self->now_ms));
    rota_core_pause (self->core, false, self->now_ms);
    drive_expect_handed_out (self, "b");
}

static void a_drain_hands_out_nothing_new_until_it_is_taken_back (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 9, NULL);
    ADD (self, .id = "a");
    rota_core_drain_all (self->core, true, self->now_ms);
    drive_let_out (self);
    assert_true (drive_was_event (self, EVENT (CONTROL), NULL));
    drive_expect_handed_out (self, "");
    rota_core_pause (self->core, true, self->now_ms);
    rota_core_drain_all (self->core, false, self->now_ms);
    drive_expect_handed_out (self, "");
    rota_core_pause (self->core, false, self->now_ms);
    drive_expect_handed_out (self, "a");
}

static void it_is_settled_when_only_people_and_dead_ends_are_left (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 9, NULL);
    ADD (self, .id = "bad", .attempts = 1);
    ADD (self, .id = "behind", .after = {"bad"});
    ADD (self, .id = "asks");
    ADD (self, .id = "approve", .approval = true);
    ADD (self, .id = "after-approval", .after = {"approve"});
    assert_int_equal (drive_dispatch (self), 3);
    drive_report (self, "bad", RESULT (FAILED));
    drive_report (self, "asks", RESULT (NEEDS_INPUT));
    assert_false (rota_core_is_settled (self->core, ROTA_NONE, self->now_ms));
    drive_report (self, "approve", RESULT (OK));
    assert_true (rota_core_is_settled (self->core, ROTA_NONE, self->now_ms));
    EXPECT_PLACE (self, "after-approval", WAITING);
    drive_control (self, "approve", VERB (APPROVE));
    assert_false (rota_core_is_settled (self->core, ROTA_NONE, self->now_ms));
}

static void a_source_is_not_settled_while_it_waits_for_another_that_moves (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 9, NULL);
    ADD (self, .id = "theirs", .source = 1);
    ADD (self, .id = "ours", .source = 2, .after = {"theirs"});
    assert_false (rota_core_is_settled (self->core, 2, self->now_ms));
    drive_control (self, "theirs", VERB (HOLD));
    assert_true (rota_core_is_settled (self->core, 2, self->now_ms));
}

static void at_first_nobody_is_called_missing (void **state)
{
    drive_t *self = *state;
    self->policy.agent_patience_ms = 10000;
    drive_renew (self);
    ADD (self, .id = "a");
    assert_int_equal (counts_of (self).unassignable, 0);
    assert_false (rota_core_is_settled (self->core, ROTA_NONE, self->now_ms));
    drive_wait (self, 10000);
    assert_int_equal (counts_of (self).unassignable, 1);
    assert_true (rota_core_is_settled (self->core, ROTA_NONE, self->now_ms));
}

/* What the core weighs by itself is what the settings say: one order in tests and in service. */
static void the_weights_are_those_of_the_settings (void **state)
{
    static const char *const NONE[] = {NULL};
    rota_settings_t *settings = NULL;
    rota_error_t error = {""};
    rota_core_policy_t policy;
    (void)state;
    assert_int_equal (rota_settings_parse ("", "", 0, NONE, stderr, &settings, &error), 0);
    rota_core_policy_default (&policy);
    assert_int_equal (policy.weight.priority_s,
                      rota_setting_integer (settings, ROTA_SETTING_SCHEDULER_WEIGHT_PRIORITY));
    assert_int_equal (policy.weight.review_s,
                      rota_setting_integer (settings, ROTA_SETTING_SCHEDULER_WEIGHT_REVIEW));
    assert_int_equal (policy.weight.fixup_s,
                      rota_setting_integer (settings, ROTA_SETTING_SCHEDULER_WEIGHT_FIXUP));
    assert_int_equal (policy.weight.unblocks_s,
                      rota_setting_integer (settings, ROTA_SETTING_SCHEDULER_WEIGHT_UNBLOCKS));
    assert_int_equal (policy.weight.small_s,
                      rota_setting_integer (settings, ROTA_SETTING_SCHEDULER_WEIGHT_SMALL));
    rota_settings_destroy (&settings);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (the_weights_are_those_of_the_settings),
        DRIVE_TEST (a_global_limit_holds_and_releases_in_order),
        DRIVE_TEST (an_epics_limit_holds_its_tasks_and_nobody_elses),
        DRIVE_TEST (what_an_epics_limit_held_back_has_waited_all_the_same),
        DRIVE_TEST (the_room_in_an_epic_goes_on_when_its_next_task_does_not_take_it),
        DRIVE_TEST (a_parked_task_that_no_agent_takes_keeps_no_other_of_its_epic),
        DRIVE_TEST (a_sources_limit_holds_its_tasks_alone),
        DRIVE_TEST (an_agents_slots_and_limit_hold),
        DRIVE_TEST (classes_of_capabilities_do_not_wait_behind_each_other),
        DRIVE_TEST (a_task_that_names_an_agent_or_a_kind_goes_to_it),
        DRIVE_TEST (nothing_goes_to_who_is_gone_draining_or_full),
        DRIVE_TEST (work_is_spread_by_the_share_of_slots_that_are_free),
        DRIVE_TEST (tasks_go_by_priority_then_fix_ups_then_what_opens_more_then_small_ones_then_age),
        DRIVE_TEST (a_new_priority_takes_effect_at_once),
        DRIVE_TEST (waiting_wins_in_the_end_against_a_stream_of_urgent_tasks),
        DRIVE_TEST (even_the_least_wanted_task_gets_its_turn_before_the_most_wanted_of_two_days_later),
        DRIVE_TEST (a_heap_of_thousands_gives_them_back_in_order),
        DRIVE_TEST (a_task_that_may_not_start_before_a_time_does_not),
        DRIVE_TEST (while_paused_nothing_is_handed_out_and_what_runs_goes_on),
        DRIVE_TEST (a_drain_hands_out_nothing_new_until_it_is_taken_back),
        DRIVE_TEST (it_is_settled_when_only_people_and_dead_ends_are_left),
        DRIVE_TEST (a_source_is_not_settled_while_it_waits_for_another_that_moves),
        DRIVE_TEST (at_first_nobody_is_called_missing),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
