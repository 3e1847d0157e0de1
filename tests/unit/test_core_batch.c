/* Merges that are handed out together: who goes along, what one costs the host, how each ends by itself. */
#include "tests/unit/core_drive.h"

static const char *const WORKERS[] = {"run", "review", NULL};
static const char *const GIT[] = {"gate", "merge", "merge-batch", NULL};

/* Tasks a to d, whose work was done in the order of their names, and one that takes batches of three. */
static void approved (drive_t *self, const char *const *can)
{
    static const char *const NAMES[] = {"a", "b", "c", "d"};
    drive_join_as (self, "claude@here", "claude", 4, WORKERS);
    for (size_t i = 0; i < 4; i++)
        ADD (self, .id = NAMES[i], .wants = ROTA_WANTS_MERGE, .attempts = 2);
    assert_int_equal (drive_dispatch (self), 4);
    for (size_t i = 0; i < 4; i++) {
        drive_report (self, NAMES[i], RESULT (OK));
        drive_wait (self, 1000);
    }
    drive_join_as (self, "git@here", "git", 1, can);
}

static rota_core_agent_view_t git (const drive_t *self)
{
    rota_core_agent_view_t view = {.name = NULL};
    for (size_t i = 0; i < rota_core_agent_count (self->core); i++) {
        rota_core_agent_view (self->core, (rota_agent_t)i, &view);
        if (strcmp (view.name, "git@here") == 0)
            break;
    }
    return view;
}

static void what_waits_goes_along_in_the_order_of_approval_and_takes_one_slot (void **state)
{
    drive_t *self = *state;
    self->policy.merge_batch = 3;
    drive_renew (self);
    approved (self, GIT);
    drive_expect_handed_out (self, "a b c");
    for (size_t i = 0; i < 3; i++)
        assert_int_equal (self->assigns[i].with, drive_find (self, "a") + 1);
    assert_int_equal (git (self).busy, 1);
    drive_report (self, "a", RESULT (OK));
    drive_report (self, "b", RESULT (FAILED));
    EXPECT_STATUS (self, "a", DONE);
    EXPECT_STATUS (self, "b", NEEDS_IMPROVEMENT);
    assert_int_equal (git (self).busy, 0);
    /* The next waits until the whole batch is over; the work of b does not. */
    drive_expect_handed_out (self, "b");
    drive_report (self, "c", RESULT (OK));
    EXPECT_STATUS (self, "c", DONE);
    drive_expect_handed_out (self, "d");
    assert_int_equal (self->assigns[0].with, 0);
}

static void who_does_not_say_that_it_can_gets_one (void **state)
{
    drive_t *self = *state;
    approved (self, (const char *const[]){"gate", "merge", NULL});
    drive_expect_handed_out (self, "a");
    assert_int_equal (self->assigns[0].with, 0);
}

static void what_stops_a_batch_is_nobodys_fault_and_each_goes_alone_then (void **state)
{
    drive_t *self = *state;
    approved (self, GIT);
    drive_expect_handed_out (self, "a b c d");
    static const char *const NAMES[] = {"a", "b", "c", "d"};
    static const Rota__ResultClass ENDS[] = {RESULT (TIMEOUT), RESULT (ENVIRONMENT), RESULT (KILLED),
                                             RESULT (OK)};
    for (size_t i = 0; i < 4; i++)
        drive_report (self, NAMES[i], ENDS[i]);
    EXPECT_STATUS (self, "d", DONE);
    drive_wait (self, 1000000);
    drive_expect_handed_out (self, "a"); /* its own work may be why */
    assert_int_equal (drive_get (self, "a").attempts_used, 0);
    drive_report (self, "a", RESULT (TIMEOUT));
    assert_int_equal (drive_get (self, "a").attempts_used, 1);
}

static void one_that_is_cancelled_is_stopped_alone_and_the_others_keep_their_leases (void **state)
{
    drive_t *self = *state;
    approved (self, GIT);
    drive_expect_handed_out (self, "a b c d");
    drive_forget_effects (self);
    assert_int_equal (drive_control (self, "b", VERB (CANCEL)), 0);
    assert_int_equal (self->stop_count, 1);
    assert_int_equal (self->stops[0].node, drive_find (self, "b"));
    drive_report (self, "b", RESULT (KILLED));
    EXPECT_STATUS (self, "b", CANCELLED);
    drive_report (self, "a", RESULT (OK));
    EXPECT_STATUS (self, "a", DONE);
    EXPECT_PLACE (self, "c", RUNNING);
}

static void a_silent_host_is_sent_the_batch_again_as_one (void **state)
{
    drive_t *self = *state;
    approved (self, GIT);
    assert_int_equal (drive_dispatch_unheard (self), 4);
    drive_forget_effects (self);
    drive_wait (self, self->policy.assign_resend_ms + 1);
    drive_let_out (self);
    assert_int_equal (self->assign_count, 1);
    assert_int_equal (self->assigns[0].node, drive_find (self, "a"));
    assert_int_equal (self->assigns[0].with, drive_find (self, "a") + 1);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        DRIVE_TEST (what_waits_goes_along_in_the_order_of_approval_and_takes_one_slot),
        DRIVE_TEST (who_does_not_say_that_it_can_gets_one),
        DRIVE_TEST (what_stops_a_batch_is_nobodys_fault_and_each_goes_alone_then),
        DRIVE_TEST (one_that_is_cancelled_is_stopped_alone_and_the_others_keep_their_leases),
        DRIVE_TEST (a_silent_host_is_sent_the_batch_again_as_one),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
