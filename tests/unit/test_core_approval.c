/* Approval of what says nothing of it itself: as its group, whatever that says later. */
#include "tests/unit/core_drive.h"

static void redefine (drive_t *self, const char *name, bool approval)
{
    rota_core_node_t as = drive_get (self, name);
    as.approval = approval;
    rota_core_redefine (self->core, drive_find (self, name), &as, self->now_ms);
    drive_let_out (self);
}

static void one_that_came_alone_follows_its_group (void **state)
{
    drive_t *self = *state;
    drive_join (self, "here", 4, NULL);
    EPIC (self, "e");
    MILESTONE (self, "m", "e", .silent = true);
    ADD (self, .id = "silent", .in = "e/m", .silent = true);
    ADD (self, .id = "says", .in = "e/m");
    redefine (self, "e", true);
    assert_true (drive_get (self, "silent").approval);
    assert_true (drive_get (self, "e/m").approval);
    assert_false (drive_get (self, "says").approval);
    assert_true (drive_was_event (self, EVENT (TASK_CHANGED), "silent"));
    drive_dispatch (self);
    drive_report (self, "silent", RESULT (OK));
    drive_report (self, "says", RESULT (OK));
    EXPECT_PLACE (self, "silent", HUMAN);
    EXPECT_STATUS (self, "says", DONE);
}

static void what_is_added_later_takes_what_the_group_says_now (void **state)
{
    drive_t *self = *state;
    EPIC (self, "e", .approval = true);
    ADD (self, .id = "a", .in = "e", .silent = true);
    assert_true (drive_get (self, "a").approval);
    redefine (self, "e", false);
    assert_false (drive_get (self, "a").approval);
    ADD (self, .id = "b", .in = "e", .silent = true);
    assert_false (drive_get (self, "b").approval);
}

/* A change of something else keeps it. */
static void its_own_change_does_not_cut_it_off (void **state)
{
    drive_t *self = *state;
    EPIC (self, "e", .approval = true);
    ADD (self, .id = "a", .in = "e", .silent = true);
    redefine (self, "a", false);
    assert_true (drive_get (self, "a").approval);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        DRIVE_TEST (one_that_came_alone_follows_its_group),
        DRIVE_TEST (what_is_added_later_takes_what_the_group_says_now),
        DRIVE_TEST (its_own_change_does_not_cut_it_off),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
