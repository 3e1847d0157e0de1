/* The life of a task by itself: attempts and their results, leases and lost hosts. */
#include "scheduler/core.h"
#include "tests/unit/core_drive.h"

#include <errno.h>

static int64_t delay_of (drive_t *self, const char *name)
{
    EXPECT_PLACE (self, name, DELAYED);
    return drive_get (self, name).not_before_ms - self->now_ms;
}

static const char *reason_of (const drive_t *self, const char *name)
{
    const char *reason = rota_core_reason (self->core, drive_find (self, name));
    return reason ? reason : "";
}

static rota_held_t held (const drive_t *self, const char *name)
{
    return (rota_held_t){drive_find (self, name), drive_get (self, name).attempt, false};
}

/* ---------------------------------------------------------------------------------------- attempts */

static void the_backoff_grows_with_each_failure_up_to_its_cap (void **state)
{
    drive_t *self = *state;
    static const int64_t delays_ms[] = {1000, 2000, 4000, 7000, 7000};
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a", .attempts = 6);
    for (size_t i = 0; i < 5; i++) {
        drive_work (self, "a", RESULT (FAILED));
        EXPECT_STATUS (self, "a", PENDING);
        assert_int_equal (drive_get (self, "a").attempts_used, i + 1);
        assert_int_equal (delay_of (self, "a"), delays_ms[i]);
        drive_wait (self, delays_ms[i] - 1);
        drive_expect_handed_out (self, "");
        drive_wait (self, 1);
    }
    drive_work (self, "a", RESULT (FAILED));
    EXPECT_STATUS (self, "a", FAILED);
}

static void the_backoff_is_spread_by_its_jitter_and_the_same_in_a_replay (void **state)
{
    drive_t *self = *state;
    int64_t first[40], least_ms = INT64_MAX, most_ms = 0;
    self->policy.backoff_jitter_percent = 20;
    for (int round = 0; round < 2; round++) {
        drive_renew (self);
        drive_join (self, "host", 40, NULL);
        for (int i = 0; i < 40; i++) {
            char id[8];
            snprintf (id, sizeof id, "t%d", i);
            ADD (self, .id = id);
            drive_work (self, id, RESULT (FAILED));
            int64_t delay_ms = delay_of (self, id);
            assert_in_range ((uint64_t)delay_ms, 800, 1200);
            if (round)
                assert_int_equal (delay_ms, first[i]);
            first[i] = delay_ms;
            least_ms = delay_ms < least_ms ? delay_ms : least_ms;
            most_ms = delay_ms > most_ms ? delay_ms : most_ms;
        }
    }
    assert_true (most_ms - least_ms > 200);
}

static void when_its_attempts_are_used_up_a_task_has_failed_and_says_why (void **state)
{
    drive_t *self = *state;
    static const Rota__ResultClass classes[] = {RESULT (FAILED), RESULT (TIMEOUT), RESULT (INVALID),
                                                RESULT (CONTEXT_LIMIT), RESULT (UNSPECIFIED)};
    static const char *const reasons[] = {"failed", "timed out", "invalid result", "context limit",
                                          "no result"};
    drive_join (self, "host", 1, NULL);
    for (size_t i = 0; i < 5; i++) {
        char id[8];
        snprintf (id, sizeof id, "t%zu", i);
        ADD (self, .id = id, .attempts = 2);
        drive_work (self, id, classes[i]);
        EXPECT_STATUS (self, id, PENDING);
        assert_true (self->endeds[0].used);
        drive_wait (self, 1000);
        drive_work (self, id, classes[i]);
        EXPECT_STATUS (self, id, FAILED);
        assert_string_equal (reason_of (self, id), reasons[i]);
        assert_int_equal (drive_get (self, id).attempts_used, 2);
    }
}

static void a_result_of_no_known_class_is_a_failure (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a", .attempts = 1);
    drive_work (self, "a", (Rota__ResultClass)77);
    EXPECT_STATUS (self, "a", FAILED);
}

static void a_limit_a_loss_a_stop_or_a_network_failure_uses_no_attempt (void **state)
{
    drive_t *self = *state;
    static const Rota__ResultClass classes[] = {RESULT (LIMITED), RESULT (AUTH), RESULT (KILLED),
                                                RESULT (NETWORK), RESULT (LOST)};
    for (size_t i = 0; i < 5; i++) {
        drive_renew (self);
        drive_join (self, "host", 1, NULL);
        ADD (self, .id = "a", .attempts = 1);
        drive_work (self, "a", classes[i]);
        EXPECT_STATUS (self, "a", PENDING);
        EXPECT_PLACE (self, "a", READY); /* and the first goes back at once */
        assert_int_equal (drive_get (self, "a").attempts_used, 0);
        assert_int_equal (drive_get (self, "a").attempt, 1);
        assert_false (self->endeds[0].used);
    }
}

static void a_network_that_is_never_there_uses_attempts_in_the_end (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a", .attempts = 1);
    for (int i = 0; i < 5; i++) {
        drive_work (self, "a", RESULT (NETWORK));
        drive_wait (self, 60000);
    }
    drive_work (self, "a", RESULT (LIMITED)); /* it was reached: the count begins anew */
    drive_wait (self, 3600000);
    for (uint32_t i = 1; i < 10; i++) {
        drive_work (self, "a", RESULT (NETWORK));
        EXPECT_STATUS (self, "a", PENDING);
        drive_wait (self, 60000);
    }
    drive_work (self, "a", RESULT (NETWORK));
    EXPECT_STATUS (self, "a", FAILED);
}

static void a_session_that_is_gone_uses_no_attempt (void **state)
{
    drive_t *self = *state;
    Rota__Result result = ROTA__RESULT__INIT;
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a", .attempts = 1);
    drive_expect_handed_out (self, "a");
    result.has_result_class = result.has_session_lost = result.session_lost = true;
    result.result_class = RESULT (FAILED);
    assert_int_equal (rota_core_report (self->core, drive_find (self, "a"), 1, &result, self->now_ms), 0);
    drive_let_out (self);
    EXPECT_STATUS (self, "a", PENDING);
    drive_work (self, "a", RESULT (FAILED));
    EXPECT_STATUS (self, "a", FAILED);
}

static void a_task_that_takes_its_host_down_again_and_again_is_tried_less_often (void **state)
{
    drive_t *self = *state;
    static const int64_t delays_ms[] = {0, 1000, 2000, 4000, 7000, 7000};
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a", .attempts = 1);
    for (size_t i = 0; i < 6; i++) {
        drive_work (self, "a", RESULT (LOST));
        if (delays_ms[i])
            assert_int_equal (delay_of (self, "a"), delays_ms[i]);
        drive_wait (self, delays_ms[i]);
    }
    drive_work (self, "a", RESULT (OK));
    EXPECT_STATUS (self, "a", DONE);
}

static void a_stop_by_hand_goes_back_at_once_however_often (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a", .attempts = 1);
    assert_int_equal (drive_control (self, "a", VERB (STOP)), 1);
    for (int i = 0; i < 4; i++) {
        drive_expect_handed_out (self, "a");
        assert_int_equal (drive_control (self, "a", VERB (STOP)), 0);
        assert_int_equal (self->stop_count, 1);
        EXPECT_STATUS (self, "a", IN_PROGRESS);
        drive_report (self, "a", RESULT (KILLED));
        EXPECT_PLACE (self, "a", READY);
    }
    assert_int_equal (drive_get (self, "a").attempts_used, 0);
}

static void a_fix_up_goes_back_to_be_a_fix_up (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a", .status = STATUS (NEEDS_IMPROVEMENT), .attempts = 2);
    drive_work (self, "a", RESULT (LOST));
    EXPECT_STATUS (self, "a", NEEDS_IMPROVEMENT);
    drive_work (self, "a", RESULT (FAILED));
    EXPECT_STATUS (self, "a", NEEDS_IMPROVEMENT);
    drive_wait (self, 8000);
    drive_work (self, "a", RESULT (FAILED));
    EXPECT_STATUS (self, "a", FAILED);
}

/* ----------------------------------------------------------------------------------- leases, reports */

static void a_repeated_report_is_answered_the_same_and_changes_nothing (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a");
    drive_work (self, "a", RESULT (OK));
    drive_forget_effects (self);
    assert_int_equal (drive_report (self, "a", RESULT (OK)), 0);
    assert_int_equal (drive_report (self, "a", RESULT (FAILED)), 0);
    EXPECT_STATUS (self, "a", DONE);
    assert_int_equal (self->event_count + self->ended_count, 0);
}

static void a_report_of_an_older_attempt_is_stale_and_of_none_that_was_is_unknown (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a");
    assert_int_equal (drive_report_of (self, "a", 1, RESULT (OK)), -ENOENT);
    drive_work (self, "a", RESULT (LOST));
    drive_expect_handed_out (self, "a");
    assert_int_equal (drive_report_of (self, "a", 1, RESULT (OK)), -ESTALE);
    assert_true (drive_was_event (self, EVENT (ATTEMPT_STALE), "a"));
    EXPECT_STATUS (self, "a", IN_PROGRESS);
    assert_int_equal (drive_report_of (self, "a", 3, RESULT (OK)), -ENOENT);
    Rota__Result result = ROTA__RESULT__INIT;
    assert_int_equal (rota_core_report (self->core, 99, 1, &result, self->now_ms), -ENOENT);
    assert_int_equal (drive_report_of (self, "a", 2, RESULT (OK)), 0);
    EXPECT_STATUS (self, "a", DONE);
}

static void a_late_report_of_a_lost_attempt_counts_once (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a");
    drive_expect_handed_out (self, "a");
    drive_wait (self, 11000);
    EXPECT_STATUS (self, "a", PENDING);
    assert_true (drive_get (self, "a").lost);
    drive_forget_effects (self);
    assert_int_equal (drive_report (self, "a", RESULT (OK)), 0);
    EXPECT_STATUS (self, "a", DONE);
    assert_int_equal (self->ended_count, 1);
    assert_int_equal (drive_report (self, "a", RESULT (OK)), 0);
    assert_int_equal (self->ended_count, 1);
    drive_expect_handed_out (self, "");
}

static void a_late_failure_of_a_lost_attempt_uses_one_attempt (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a", .attempts = 2);
    drive_expect_handed_out (self, "a");
    drive_wait (self, 11000);
    assert_int_equal (drive_get (self, "a").attempts_used, 0);
    assert_int_equal (drive_report (self, "a", RESULT (FAILED)), 0);
    assert_int_equal (drive_report (self, "a", RESULT (FAILED)), 0);
    assert_int_equal (drive_get (self, "a").attempts_used, 1);
    assert_int_equal (delay_of (self, "a"), 1000);
}

static void a_late_report_changes_nothing_when_the_task_was_cancelled_meanwhile (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a");
    drive_expect_handed_out (self, "a");
    drive_wait (self, 11000);
    drive_control (self, "a", VERB (CANCEL));
    EXPECT_STATUS (self, "a", CANCELLED);
    assert_int_equal (drive_report (self, "a", RESULT (OK)), -ESTALE);
    EXPECT_STATUS (self, "a", CANCELLED);
}

static void a_lease_ends_after_its_margin_unless_it_is_renewed_or_the_scheduler_was_stalled (void **state)
{
    drive_t *self = *state;
    rota_agent_t host = drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a");
    drive_expect_handed_out (self, "a");
    assert_int_equal (rota_core_next_ms (self->core), self->now_ms + 11000);
    drive_wait (self, 10999);
    EXPECT_STATUS (self, "a", IN_PROGRESS);
    rota_held_t holds = held (self, "a");
    drive_heartbeat (self, host, &holds, 1);
    drive_wait (self, 10999);
    EXPECT_STATUS (self, "a", IN_PROGRESS);
    self->now_ms += 60000;
    rota_core_tick (self->core, self->now_ms, 60000);
    EXPECT_STATUS (self, "a", IN_PROGRESS);
    drive_forget_effects (self);
    drive_wait (self, 1);
    EXPECT_STATUS (self, "a", PENDING);
    assert_int_equal (self->endeds[0].result_class, RESULT (LOST));
    assert_non_null (strstr (self->reasons[0], "no sign of life from host"));
}

static void a_host_that_started_anew_lost_what_it_does_not_hold (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 3, NULL);
    ADD (self, .id = "kept");
    ADD (self, .id = "gone");
    drive_expect_handed_out (self, "kept gone");
    rota_held_t holds = held (self, "kept");
    drive_join_again (self, "host", 3, 2, &holds, 1);
    EXPECT_STATUS (self, "kept", IN_PROGRESS);
    EXPECT_STATUS (self, "gone", PENDING);
    drive_report (self, "kept", RESULT (OK));
    EXPECT_STATUS (self, "kept", DONE);
    drive_expect_handed_out (self, "gone");
}

static void an_assignment_is_sent_again_until_it_is_accepted (void **state)
{
    drive_t *self = *state;
    rota_agent_t host = drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a");
    assert_int_equal (drive_dispatch_unheard (self), 1);
    assert_false (self->assigns[0].again);
    drive_wait (self, 4999);
    assert_int_equal (self->assign_count, 1);
    drive_wait (self, 1);
    assert_int_equal (self->assign_count, 2);
    assert_true (self->assigns[1].again);
    assert_int_equal (self->assigns[1].attempt, self->assigns[0].attempt);
    assert_int_equal (self->assigns[1].lease_ms, 5000);
    drive_heartbeat (self, host, NULL, 0); /* it can't list what it never got */
    EXPECT_STATUS (self, "a", IN_PROGRESS);
    drive_join_again (self, "host", 1, 1, NULL, 0);
    assert_int_equal (self->assign_count, 3);
    rota_core_accepted (self->core, host, drive_find (self, "a"), 1, self->now_ms);
    drive_wait (self, 6000);
    assert_int_equal (self->assign_count, 3);
    drive_heartbeat (self, host, NULL, 0); /* now it would list it */
    EXPECT_STATUS (self, "a", PENDING);
}

static void what_a_host_holds_without_a_lease_is_to_end_there (void **state)
{
    drive_t *self = *state;
    drive_join (self, "one", 1, NULL);
    rota_agent_t two = drive_join (self, "two", 1, NULL);
    ADD (self, .id = "a", .agent = "one");
    drive_expect_handed_out (self, "a");
    rota_held_t holds[] = {{drive_find (self, "a"), 1, false}, {77, 3, false}, {78, 1, true}};
    drive_heartbeat (self, two, holds, 3);
    assert_int_equal (self->stop_count, 2); /* what is finished only waits to be acknowledged */
    assert_int_equal (self->stops[0].agent, two);
    assert_int_equal (self->stops[1].node, 77);
    EXPECT_STATUS (self, "a", IN_PROGRESS);
}

/* Those of a connection that broke come late: a heartbeat from before an assignment ended what was assigned.
 */
static void what_a_host_said_before_its_newest_message_is_no_news (void **state)
{
    drive_t *self = *state;
    static const uint8_t one[16] = {1}, other[16] = {2}, nobody[16] = {99};
    rota_core_agent_view_t view;
    rota_core_agent_view (self->core, drive_join (self, "host", 1, NULL), &view);
    assert_true (rota_core_agent_is_news (self->core, view.instance, one, 7));
    assert_true (rota_core_agent_is_news (self->core, view.instance, one, 7)); /* the same, sent again */
    assert_false (rota_core_agent_is_news (self->core, view.instance, one, 6));
    assert_true (rota_core_agent_is_news (self->core, view.instance, one, 8));
    assert_true (rota_core_agent_is_news (self->core, view.instance, other, 1)); /* it counts anew */
    assert_true (rota_core_agent_is_news (self->core, nobody, one, 1));
    /* Also when the broker took it for gone: its old list is still old. */
    rota_core_agent_gone (self->core, rota_core_agent_find (self->core, view.instance), self->now_ms);
    assert_true (rota_core_agent_is_news (self->core, view.instance, other, 2));
    assert_false (rota_core_agent_is_news (self->core, view.instance, other, 1));
}

static void a_restarted_scheduler_gives_leases_anew_and_in_full (void **state)
{
    drive_t *self = *state;
    rota_core_node_t it = {.id = "a",
                           .id_length = 1,
                           .kind = NODE (TASK),
                           .parent = ROTA_NONE,
                           .status = STATUS (IN_PROGRESS),
                           .phase = PHASE (WORK),
                           .came_from = STATUS (PENDING),
                           .attempts_allowed = 2,
                           .attempt = 4};
    uint32_t class_index;
    rota_agent_t agent;
    bool fresh;
    rota_core_class (self->core, 0, "", 0, NULL, 0, &class_index, &fresh);
    assert_int_equal (
        rota_core_agent_load (self->core, "host", "exec", "here", (uint8_t[16]){"1host"}, &agent), 0);
    assert_int_equal (rota_core_load (self->core, 0, &it), 0);
    rota_core_open (self->core, 0, 1, true, self->now_ms);
    rota_core_load_lease (self->core, 0, agent, self->now_ms - 99000, 0);
    drive_let_out (self);
    assert_int_equal (rota_core_agent_find (self->core, (uint8_t[16]){"1host"}), ROTA_NONE);
    drive_wait (self, 10999);
    rota_held_t holds = {0, 4, false};
    drive_join_again (self, "host", 1, 1, &holds, 1);
    drive_wait (self, 10999);
    assert_int_equal (drive_report_of (self, "a", 4, RESULT (OK)), 0);
    EXPECT_STATUS (self, "a", DONE);
    assert_int_equal (self->endeds[0].assigned_ms, DRIVE_START_MS - 99000);
}

static void a_limit_of_an_attempt_from_before_a_restart_rests_the_hosts_account (void **state)
{
    drive_t *self = *state;
    static const char *const RUN[] = {"run"};
    rota_core_agent_t given = {.name = "host",
                               .kind = "exec",
                               .host = "here",
                               .slots = 1,
                               .capabilities = RUN,
                               .capability_count = 1,
                               .instance = {1},
                               .account = "shared"};
    rota_core_node_t it = {.id = "a",
                           .id_length = 1,
                           .kind = NODE (TASK),
                           .parent = ROTA_NONE,
                           .status = STATUS (IN_PROGRESS),
                           .phase = PHASE (WORK),
                           .attempts_allowed = 1,
                           .attempt = 1};
    uint32_t class_index;
    rota_agent_t agent;
    bool fresh;
    rota_core_class (self->core, 0, "", 0, RUN, 1, &class_index, &fresh);
    assert_int_equal (rota_core_agent_load (self->core, "host", "exec", "here", given.instance, &agent), 0);
    assert_int_equal (rota_core_load (self->core, 0, &it), 0);
    rota_core_open (self->core, 0, 1, true, self->now_ms);
    rota_core_load_lease (self->core, 0, agent, self->now_ms - 1000, 0);
    rota_held_t holds = {0, 1, false};
    assert_int_equal (rota_core_agent_register (self->core, &given, &holds, 1, self->now_ms, &agent), 0);
    drive_let_out (self);
    assert_int_equal (drive_report (self, "a", RESULT (LIMITED)), 0);
    drive_expect_handed_out (self, "");
    drive_wait (self, self->policy.default_cooldown_ms);
    drive_expect_handed_out (self, "a");
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        DRIVE_TEST (the_backoff_grows_with_each_failure_up_to_its_cap),
        DRIVE_TEST (the_backoff_is_spread_by_its_jitter_and_the_same_in_a_replay),
        DRIVE_TEST (when_its_attempts_are_used_up_a_task_has_failed_and_says_why),
        DRIVE_TEST (a_result_of_no_known_class_is_a_failure),
        DRIVE_TEST (a_limit_a_loss_a_stop_or_a_network_failure_uses_no_attempt),
        DRIVE_TEST (a_network_that_is_never_there_uses_attempts_in_the_end),
        DRIVE_TEST (a_session_that_is_gone_uses_no_attempt),
        DRIVE_TEST (a_task_that_takes_its_host_down_again_and_again_is_tried_less_often),
        DRIVE_TEST (a_stop_by_hand_goes_back_at_once_however_often),
        DRIVE_TEST (a_fix_up_goes_back_to_be_a_fix_up),
        DRIVE_TEST (a_repeated_report_is_answered_the_same_and_changes_nothing),
        DRIVE_TEST (a_report_of_an_older_attempt_is_stale_and_of_none_that_was_is_unknown),
        DRIVE_TEST (a_late_report_of_a_lost_attempt_counts_once),
        DRIVE_TEST (a_late_failure_of_a_lost_attempt_uses_one_attempt),
        DRIVE_TEST (a_late_report_changes_nothing_when_the_task_was_cancelled_meanwhile),
        DRIVE_TEST (a_lease_ends_after_its_margin_unless_it_is_renewed_or_the_scheduler_was_stalled),
        DRIVE_TEST (a_host_that_started_anew_lost_what_it_does_not_hold),
        DRIVE_TEST (an_assignment_is_sent_again_until_it_is_accepted),
        DRIVE_TEST (what_a_host_holds_without_a_lease_is_to_end_there),
        DRIVE_TEST (what_a_host_said_before_its_newest_message_is_no_news),
        DRIVE_TEST (a_restarted_scheduler_gives_leases_anew_and_in_full),
        DRIVE_TEST (a_limit_of_an_attempt_from_before_a_restart_rests_the_hosts_account),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
