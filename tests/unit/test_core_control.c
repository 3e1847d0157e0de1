/* What people do to a task: cancel, skip, retry, reopen, hold, answer, approve, prune. */
#include "scheduler/core.h"
#include "tests/unit/core_drive.h"

#include <errno.h>

static const char *reason_of (const drive_t *self, const char *name)
{
    const char *reason = rota_core_reason (self->core, drive_find (self, name));
    return reason ? reason : "";
}

static rota_held_t held (const drive_t *self, const char *name)
{
    return (rota_held_t){drive_find (self, name), drive_get (self, name).attempt, false};
}

/* ----------------------------------------------------------------------------------------- cancelling */

static void what_does_not_run_is_cancelled_at_once (void **state)
{
    drive_t *self = *state;
    ADD (self, .id = "a");
    ADD (self, .id = "b", .after = {"a"});
    assert_int_equal (drive_control (self, "a", VERB (CANCEL)), 0);
    assert_int_equal (drive_control (self, "a", VERB (CANCEL)), 1);
    assert_int_equal (drive_control (self, "b", VERB (CANCEL)), 0);
    EXPECT_STATUS (self, "a", CANCELLED);
    EXPECT_STATUS (self, "b", CANCELLED);
    assert_int_equal (self->stop_count, 0);
}

static void what_runs_is_cancelled_when_it_is_proved_dead (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 2, NULL);
    ADD (self, .id = "a");
    ADD (self, .id = "b");
    drive_expect_handed_out (self, "a b");
    assert_int_equal (drive_control (self, "a", VERB (CANCEL)), 0);
    assert_int_equal (drive_control (self, "a", VERB (CANCEL)), 1);
    assert_int_equal (drive_control (self, "b", VERB (CANCEL)), 0);
    EXPECT_STATUS (self, "a", IN_PROGRESS);
    assert_true (drive_get (self, "a").cancelling);
    assert_true (rota_core_is_stopping (self->core, drive_find (self, "a")));
    drive_report (self, "a", RESULT (KILLED));
    EXPECT_STATUS (self, "a", CANCELLED);
    assert_string_equal (reason_of (self, "a"), "by hand");
    assert_false (drive_get (self, "a").cancelling);
    drive_join_again (self, "host", 2, 2, NULL, 0); /* a new incarnation has swept what ran */
    EXPECT_STATUS (self, "b", CANCELLED);
}

static void a_stop_is_asked_for_again_until_the_host_obeys (void **state)
{
    drive_t *self = *state;
    rota_agent_t host = drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a");
    drive_expect_handed_out (self, "a");
    drive_control (self, "a", VERB (CANCEL));
    assert_int_equal (self->stop_count, 1);
    drive_wait (self, 5000);
    assert_int_equal (self->stop_count, 2);
    rota_held_t holds = held (self, "a");
    drive_heartbeat (self, host, &holds, 1);
    drive_wait (self, 5000);
    assert_int_equal (self->stop_count, 3);
    EXPECT_STATUS (self, "a", IN_PROGRESS);
}

static void a_report_that_crosses_the_cancel_does_not_undo_it (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 2, NULL);
    ADD (self, .id = "a");
    ADD (self, .id = "b", .after = {"a"});
    drive_expect_handed_out (self, "a");
    drive_control (self, "a", VERB (CANCEL));
    assert_int_equal (drive_report (self, "a", RESULT (OK)), 0);
    EXPECT_STATUS (self, "a", CANCELLED);
    EXPECT_PLACE (self, "b", UNREACHABLE);
    assert_int_equal (self->endeds[0].result_class, RESULT (OK)); /* what it did is kept with the attempt */
}

static void a_task_that_is_done_is_not_cancelled (void **state)
{
    drive_t *self = *state;
    ADD (self, .id = "a", .status = STATUS (DONE));
    assert_int_equal (drive_control (self, "a", VERB (CANCEL)), -EPERM);
    assert_int_equal (drive_control (self, "a", VERB (SKIP)), -EPERM);
    EXPECT_STATUS (self, "a", DONE);
}

/* ------------------------------------------------------------------------------------ retry, reopen */

static void a_failed_or_cancelled_task_is_retried_with_all_its_attempts (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a", .attempts = 2);
    drive_work (self, "a", RESULT (FAILED));
    assert_int_equal (drive_control (self, "a", VERB (RETRY)), 1);
    drive_wait (self, 1000);
    drive_work (self, "a", RESULT (FAILED));
    assert_int_equal (drive_control (self, "a", VERB (REOPEN)), -EPERM);
    assert_int_equal (drive_control (self, "a", VERB (RETRY)), 0);
    assert_string_equal (reason_of (self, "a"), "");
    drive_work (self, "a", RESULT (FAILED));
    EXPECT_STATUS (self, "a", PENDING);
    drive_control (self, "a", VERB (CANCEL));
    assert_int_equal (drive_control (self, "a", VERB (RETRY)), 0);
    drive_work (self, "a", RESULT (OK));
    EXPECT_STATUS (self, "a", DONE);
    assert_int_equal (drive_get (self, "a").attempt, 4);
    assert_int_equal (drive_control (self, "a", VERB (RETRY)), -EPERM);
}

static void reopening_flags_what_started_and_makes_the_others_wait_again (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 3, NULL);
    ADD (self, .id = "a");
    drive_work (self, "a", RESULT (OK));
    ADD (self, .id = "finished", .after = {"a"}, .priority = 9);
    ADD (self, .id = "running", .after = {"a"}, .priority = 8);
    drive_expect_handed_out (self, "finished running");
    drive_report (self, "finished", RESULT (OK));
    ADD (self, .id = "ready", .after = {"a"});
    ADD (self, .id = "behind", .after = {"finished", "ready"});
    assert_int_equal (drive_control (self, "a", VERB (REOPEN)), 0);
    EXPECT_STATUS (self, "a", PENDING);
    EXPECT_STATUS (self, "running", IN_PROGRESS);
    EXPECT_STATUS (self, "finished", DONE);
    EXPECT_PLACE (self, "ready", WAITING);
    assert_true (drive_get (self, "running").flagged);
    assert_true (drive_get (self, "finished").flagged);
    assert_false (drive_get (self, "ready").flagged);
    drive_report (self, "running", RESULT (OK));
    EXPECT_STATUS (self, "running", DONE);
    drive_work (self, "a", RESULT (OK));
    drive_expect_handed_out (self, "ready");
    assert_false (drive_get (self, "ready").flagged);
}

static void what_started_behind_a_group_is_flagged_when_a_member_is_reopened (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 3, NULL);
    EPIC (self, "E");
    MILESTONE (self, "M", "E");
    ADD (self, .id = "a", .in = "E/M");
    drive_work (self, "a", RESULT (OK));
    ADD (self, .id = "after-milestone", .after = {"E/M"});
    ADD (self, .id = "after-epic", .after = {"E"});
    drive_expect_handed_out (self, "after-milestone after-epic");
    drive_control (self, "a", VERB (REOPEN));
    assert_true (drive_get (self, "after-milestone").flagged);
    assert_true (drive_get (self, "after-epic").flagged);
}

static void what_started_behind_a_skipped_task_is_flagged_when_that_is_retried (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 3, NULL);
    ADD (self, .id = "a");
    ADD (self, .id = "b", .after = {"a"});
    drive_control (self, "a", VERB (SKIP));
    drive_expect_handed_out (self, "b");
    drive_control (self, "a", VERB (RETRY));
    assert_true (drive_get (self, "b").flagged);
}

static void what_runs_while_its_prerequisite_is_reopened_waits_when_it_comes_back (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 2, NULL);
    ADD (self, .id = "a");
    drive_work (self, "a", RESULT (OK));
    ADD (self, .id = "b", .after = {"a"});
    drive_expect_handed_out (self, "b");
    drive_control (self, "a", VERB (REOPEN));
    drive_report (self, "b", RESULT (FAILED));
    EXPECT_PLACE (self, "b", WAITING);
    drive_control (self, "a", VERB (CANCEL));
    EXPECT_PLACE (self, "b", UNREACHABLE);
    drive_control (self, "a", VERB (SKIP));
    EXPECT_PLACE (self, "b", DELAYED); /* its backoff is not over */
}

/* ------------------------------------------------------------------------------ hold, answer, approve */

static void a_held_task_waits_for_its_release_and_goes_back_to_where_it_was (void **state)
{
    drive_t *self = *state;
    static const Rota__TaskStatus from[] = {STATUS (PENDING), STATUS (NEEDS_IMPROVEMENT),
                                            STATUS (NEEDS_REVIEW)};
    for (size_t i = 0; i < 3; i++) {
        char id[8];
        snprintf (id, sizeof id, "t%zu", i);
        ADD (self, .id = id, .status = from[i]);
        assert_int_equal (drive_control (self, id, VERB (RELEASE)), -EPERM);
        assert_int_equal (drive_control (self, id, VERB (HOLD)), 0);
        assert_int_equal (drive_control (self, id, VERB (HOLD)), 1);
        EXPECT_STATUS (self, id, BLOCKED);
        assert_int_equal (drive_get (self, id).blocked, CAUSE (HAND));
        assert_int_equal (drive_control (self, id, VERB (RELEASE)), 0);
        drive_expect_status (self, id, from[i], __LINE__);
        assert_int_equal (drive_get (self, id).blocked, 0);
        assert_string_equal (reason_of (self, id), "");
    }
    ADD (self, .id = "done", .status = STATUS (DONE));
    assert_int_equal (drive_control (self, "done", VERB (HOLD)), -EPERM);
}

static void what_runs_is_held_when_it_is_proved_dead_and_loses_no_attempt (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a", .attempts = 1);
    drive_expect_handed_out (self, "a");
    assert_int_equal (drive_control (self, "a", VERB (HOLD)), 0);
    assert_int_equal (drive_control (self, "a", VERB (HOLD)), 1);
    EXPECT_STATUS (self, "a", IN_PROGRESS);
    drive_report (self, "a", RESULT (KILLED));
    EXPECT_STATUS (self, "a", BLOCKED);
    drive_control (self, "a", VERB (RELEASE));
    assert_int_equal (drive_get (self, "a").attempts_used, 0);
    drive_work (self, "a", RESULT (OK));
    EXPECT_STATUS (self, "a", DONE);
}

static void a_task_that_asks_waits_for_its_answer_and_one_without_surroundings_for_release (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 2, NULL);
    ADD (self, .id = "asks", .attempts = 1);
    ADD (self, .id = "lacks", .attempts = 1);
    drive_expect_handed_out (self, "asks lacks");
    drive_report (self, "asks", RESULT (NEEDS_INPUT));
    drive_report (self, "lacks", RESULT (ENVIRONMENT));
    assert_int_equal (drive_get (self, "asks").blocked, CAUSE (NEEDS_INPUT));
    assert_int_equal (drive_get (self, "lacks").blocked, CAUSE (ENVIRONMENT));
    assert_string_equal (reason_of (self, "asks"), "the agent asks");
    assert_int_equal (drive_control (self, "lacks", VERB (ANSWER)), -EPERM);
    assert_int_equal (drive_control (self, "asks", VERB (ANSWER)), 0);
    assert_int_equal (drive_control (self, "lacks", VERB (RELEASE)), 0);
    drive_expect_handed_out (self, "asks lacks");
    drive_report (self, "asks", RESULT (OK));
    EXPECT_STATUS (self, "asks", DONE);
}

static void work_that_wants_approval_is_done_when_a_person_says_so (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a", .approval = true, .attempts = 1);
    ADD (self, .id = "b", .after = {"a"});
    assert_int_equal (drive_control (self, "a", VERB (APPROVE)), -EPERM);
    drive_work (self, "a", RESULT (OK));
    EXPECT_STATUS (self, "a", IN_PROGRESS);
    EXPECT_PLACE (self, "a", HUMAN);
    EXPECT_PLACE (self, "b", WAITING);
    assert_int_equal (drive_get (self, "a").phase, PHASE (APPROVAL));
    drive_wait (self, 100000000); /* people take their time */
    assert_int_equal (drive_control (self, "a", VERB (REJECT)), 0);
    EXPECT_STATUS (self, "a", NEEDS_IMPROVEMENT);
    drive_work (self, "a", RESULT (OK));
    assert_int_equal (drive_control (self, "a", VERB (APPROVE)), 0);
    EXPECT_STATUS (self, "a", DONE);
    drive_expect_handed_out (self, "b");
    assert_int_equal (drive_control (self, "b", VERB (REJECT)), -EPERM);
}

static void what_awaits_approval_can_be_cancelled_and_its_slot_is_free (void **state)
{
    drive_t *self = *state;
    self->policy.wip_limit = 1;
    drive_renew (self);
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a", .approval = true, .priority = 1);
    ADD (self, .id = "b");
    drive_work (self, "a", RESULT (OK));
    drive_expect_handed_out (self, "b");
    assert_int_equal (drive_control (self, "a", VERB (CANCEL)), 0);
    EXPECT_STATUS (self, "a", CANCELLED);
}

static void an_imported_review_takes_a_persons_verdict (void **state)
{
    drive_t *self = *state;
    ADD (self, .id = "a", .status = STATUS (NEEDS_REVIEW));
    ADD (self, .id = "b", .status = STATUS (NEEDS_REVIEW));
    EXPECT_PLACE (self, "a", HUMAN);
    assert_int_equal (drive_control (self, "a", VERB (APPROVE)), 0);
    EXPECT_STATUS (self, "a", DONE);
    assert_int_equal (drive_control (self, "b", VERB (REJECT)), 0);
    EXPECT_STATUS (self, "b", NEEDS_IMPROVEMENT);
    EXPECT_PLACE (self, "b", READY);
}

/* -------------------------------------------------------------------------------------------- orphans */

static void an_orphan_is_marked_and_works_on_until_it_is_pruned (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 1, NULL);
    ADD (self, .id = "a");
    ADD (self, .id = "b", .after = {"a"});
    rota_core_counts_t counts;
    for (int i = 0; i < 2; i++)
        rota_core_orphan (self->core, drive_find (self, "a"), true, self->now_ms);
    rota_core_orphan (self->core, drive_find (self, "b"), true, self->now_ms);
    drive_let_out (self);
    assert_true (drive_was_event (self, EVENT (TASK_ORPHANED), "a"));
    rota_core_counts (self->core, ROTA_NONE, self->now_ms, &counts);
    assert_int_equal (counts.orphaned, 2);
    drive_work (self, "a", RESULT (OK));
    drive_control (self, "b", VERB (CANCEL)); /* --prune */
    EXPECT_STATUS (self, "b", CANCELLED);
    rota_core_orphan (self->core, drive_find (self, "a"), false, self->now_ms); /* it is back in the file */
    drive_let_out (self);
    assert_false (drive_get (self, "a").orphaned);
    rota_core_counts (self->core, ROTA_NONE, self->now_ms, &counts);
    assert_int_equal (counts.orphaned, 1);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        DRIVE_TEST (what_does_not_run_is_cancelled_at_once),
        DRIVE_TEST (what_runs_is_cancelled_when_it_is_proved_dead),
        DRIVE_TEST (a_stop_is_asked_for_again_until_the_host_obeys),
        DRIVE_TEST (a_report_that_crosses_the_cancel_does_not_undo_it),
        DRIVE_TEST (a_task_that_is_done_is_not_cancelled),
        DRIVE_TEST (a_failed_or_cancelled_task_is_retried_with_all_its_attempts),
        DRIVE_TEST (reopening_flags_what_started_and_makes_the_others_wait_again),
        DRIVE_TEST (what_started_behind_a_group_is_flagged_when_a_member_is_reopened),
        DRIVE_TEST (what_started_behind_a_skipped_task_is_flagged_when_that_is_retried),
        DRIVE_TEST (what_runs_while_its_prerequisite_is_reopened_waits_when_it_comes_back),
        DRIVE_TEST (a_held_task_waits_for_its_release_and_goes_back_to_where_it_was),
        DRIVE_TEST (what_runs_is_held_when_it_is_proved_dead_and_loses_no_attempt),
        DRIVE_TEST (a_task_that_asks_waits_for_its_answer_and_one_without_surroundings_for_release),
        DRIVE_TEST (work_that_wants_approval_is_done_when_a_person_says_so),
        DRIVE_TEST (what_awaits_approval_can_be_cancelled_and_its_slot_is_free),
        DRIVE_TEST (an_imported_review_takes_a_persons_verdict),
        DRIVE_TEST (an_orphan_is_marked_and_works_on_until_it_is_pruned),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
