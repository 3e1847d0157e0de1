/* Path claims: who changes the same files waits, how long, and for whom. */
#include "tests/unit/core_drive.h"

enum { MERGED = ROTA_WANTS_CLONE | ROTA_WANTS_MERGE, JUDGED = MERGED | ROTA_WANTS_REVIEW };

static const char *const CAN[] = {"run", "review", "gate", "merge", NULL};

static void staff (drive_t *self)
{
    drive_join_as (self, "sim@here", "sim", 8, CAN);
}

static rota_node_t behind (drive_t *self, const char *name, char mine[64], char theirs[64], bool *reserved)
{
    return rota_core_claim_behind (self->core, drive_find (self, name), mine, theirs, 64, reserved);
}

static void expect_behind (drive_t *self, const char *name, const char *holder)
{
    char mine[64], theirs[64];
    bool reserved;
    EXPECT_PLACE (self, name, CLAIMED);
    assert_int_equal (behind (self, name, mine, theirs, &reserved), drive_find (self, holder));
}

static void those_that_meet_wait_and_others_do_not (void **state)
{
    drive_t *self = *state;
    char mine[64], theirs[64];
    bool reserved = true;
    staff (self);
    ADD (self, .id = "a", .touches = "src/**");
    ADD (self, .id = "b", .touches = "docs\nsrc/x.c");
    ADD (self, .id = "c", .touches = "tests");
    ADD (self, .id = "d");
    assert_int_equal (drive_dispatch (self), 3);
    EXPECT_PLACE (self, "b", CLAIMED);
    assert_int_equal (behind (self, "b", mine, theirs, &reserved), drive_find (self, "a"));
    assert_string_equal (mine, "src/x.c");
    assert_string_equal (theirs, "src/**");
    assert_false (reserved);
    drive_report (self, "a", RESULT (OK));
    drive_expect_handed_out (self, "b");
}

static void what_is_merged_only_then_lets_go (void **state)
{
    drive_t *self = *state;
    staff (self);
    ADD (self, .id = "a", .touches = "src", .wants = JUDGED);
    ADD (self, .id = "b", .touches = "src", .wants = MERGED);
    drive_expect_handed_out (self, "a");
    drive_report (self, "a", RESULT (OK));
    EXPECT_STATUS (self, "a", NEEDS_REVIEW);
    expect_behind (self, "b", "a");
    drive_expect_handed_out (self, "a");
    drive_judge (self, "a", true);
    drive_expect_handed_out (self, "a"); /* the merge */
    expect_behind (self, "b", "a");
    drive_report (self, "a", RESULT (OK));
    drive_expect_handed_out (self, "b");
}

static void what_awaits_a_person_holds_nobody_up (void **state)
{
    drive_t *self = *state;
    staff (self);
    ADD (self, .id = "a", .touches = "src", .wants = MERGED, .approval = true);
    ADD (self, .id = "b", .touches = "src", .wants = MERGED);
    drive_expect_handed_out (self, "a");
    drive_report (self, "a", RESULT (OK));
    EXPECT_PLACE (self, "a", HUMAN);
    drive_expect_handed_out (self, "b");
    /* Approved meanwhile it goes on all the same: nothing of it is begun anew. */
    assert_int_equal (drive_control (self, "a", VERB (APPROVE)), 0);
    drive_expect_handed_out (self, "a");
    drive_report (self, "a", RESULT (OK));
    EXPECT_STATUS (self, "a", DONE);
}

static void a_fix_up_claims_anew (void **state)
{
    drive_t *self = *state;
    staff (self);
    ADD (self, .id = "a", .touches = "src", .wants = JUDGED);
    ADD (self, .id = "b", .touches = "src", .wants = MERGED);
    drive_expect_handed_out (self, "a");
    drive_report (self, "a", RESULT (OK));
    drive_expect_handed_out (self, "a");
    drive_judge (self, "a", false);
    EXPECT_STATUS (self, "a", NEEDS_IMPROVEMENT);
    drive_expect_handed_out (self, "a"); /* fix-ups come before new work */
    expect_behind (self, "b", "a");
}

static void a_failed_or_lost_or_cancelled_one_lets_go (void **state)
{
    drive_t *self = *state;
    staff (self);
    ADD (self, .id = "a", .touches = "src", .attempts = 1);
    ADD (self, .id = "b", .touches = "src");
    ADD (self, .id = "c", .touches = "src");
    drive_expect_handed_out (self, "a");
    drive_report (self, "a", RESULT (FAILED));
    drive_expect_handed_out (self, "b");
    expect_behind (self, "c", "b");
    assert_int_equal (drive_control (self, "b", VERB (CANCEL)), 0);
    expect_behind (self, "c", "b"); /* its processes are still being ended */
    drive_report (self, "b", RESULT (KILLED));
    drive_expect_handed_out (self, "c");
}

static void one_that_is_held_can_be_cancelled_and_redefined (void **state)
{
    drive_t *self = *state;
    staff (self);
    ADD (self, .id = "a", .touches = "src");
    ADD (self, .id = "b", .touches = "src");
    ADD (self, .id = "c", .touches = "src/c");
    drive_expect_handed_out (self, "a");
    EXPECT_PLACE (self, "b", CLAIMED);
    assert_int_equal (drive_control (self, "b", VERB (CANCEL)), 0);
    EXPECT_PLACE (self, "b", ENDED);
    assert_int_equal (rota_core_claim (self->core, drive_find (self, "c"), "docs", 4, false), 0);
    drive_expect_handed_out (self, "c");
    /* What is worked on keeps what it holds; the new word counts from the next attempt on. */
    assert_int_equal (rota_core_claim (self->core, drive_find (self, "a"), "docs", 4, false), 0);
    ADD (self, .id = "d", .touches = "src");
    assert_int_equal (drive_dispatch (self), 0);
    expect_behind (self, "d", "a");
}

/* A wide claim would wait for ever where narrow ones come one after the other. */
static void who_was_held_for_long_comes_first (void **state)
{
    drive_t *self = *state;
    char mine[64], theirs[64];
    bool reserved;
    self->policy.claim_patience_ms = 60000;
    self->policy.lease_ms = 1000000;
    drive_renew (self);
    staff (self);
    ADD (self, .id = "a", .touches = "src/a");
    ADD (self, .id = "b", .touches = "src/b");
    ADD (self, .id = "wide", .touches = "src");
    assert_int_equal (drive_dispatch (self), 2);
    EXPECT_PLACE (self, "wide", CLAIMED);
    drive_wait (self, 30000);
    drive_report (self, "a", RESULT (OK));
    ADD (self, .id = "a2", .touches = "src/a", .priority = 50);
    drive_expect_handed_out (self, "a2"); /* not yet */
    drive_wait (self, 30001);
    drive_report (self, "a2", RESULT (OK));
    ADD (self, .id = "a3", .touches = "src/a", .priority = 50);
    ADD (self, .id = "docs", .touches = "docs");
    drive_expect_handed_out (self, "docs");
    EXPECT_PLACE (self, "a3", CLAIMED);
    assert_int_equal (behind (self, "a3", mine, theirs, &reserved), drive_find (self, "wide"));
    assert_true (reserved);
    drive_report (self, "b", RESULT (OK));
    drive_expect_handed_out (self, "wide");
    expect_behind (self, "a3", "wide");
    drive_report (self, "wide", RESULT (OK));
    drive_expect_handed_out (self, "a3");
}

static void who_can_not_be_served_reserves_nothing (void **state)
{
    drive_t *self = *state;
    self->policy.claim_patience_ms = 0;
    self->policy.lease_ms = 1000000;
    drive_renew (self);
    staff (self);
    ADD (self, .id = "a", .touches = "src/a");
    ADD (self, .id = "wide", .touches = "src", .agent = "claude");
    drive_expect_handed_out (self, "a");
    drive_wait (self, 1000);
    ADD (self, .id = "b", .touches = "src/b");
    drive_expect_handed_out (self, "b");
}

static void a_source_may_do_without_and_two_may_share_their_files (void **state)
{
    drive_t *self = *state;
    staff (self);
    ADD (self, .id = "a", .touches = "src", .source = 1);
    ADD (self, .id = "b", .touches = "src", .source = 2);
    ADD (self, .id = "c", .touches = "src", .source = 3);
    rota_core_claim_source (self->core, 1, 1, true);
    rota_core_claim_source (self->core, 2, 1, true);
    rota_core_claim_source (self->core, 3, 1, false);
    assert_int_equal (drive_dispatch (self), 2);
    expect_behind (self, "b", "a");
    rota_core_claim_source (self->core, 1, 1, false);
    drive_expect_handed_out (self, "b");
}

static void a_claim_that_only_waits_for_what_can_not_move_does_not_move (void **state)
{
    drive_t *self = *state;
    static const char *const WORKS[] = {"run", NULL};
    drive_join_as (self, "sim@here", "sim", 8, WORKS); /* nobody merges */
    ADD (self, .id = "a", .touches = "src", .wants = MERGED);
    ADD (self, .id = "b", .touches = "src", .wants = MERGED);
    drive_expect_handed_out (self, "a");
    assert_false (rota_core_is_settled (self->core, ROTA_NONE, self->now_ms));
    drive_report (self, "a", RESULT (OK));
    assert_int_equal (drive_dispatch (self), 0);
    EXPECT_PLACE (self, "b", CLAIMED);
    assert_true (rota_core_is_settled (self->core, ROTA_NONE, self->now_ms));
}

static void what_was_learned_counts_for_the_next_attempt (void **state)
{
    drive_t *self = *state;
    bool learned = false;
    self->policy.claims_of_epic = true;
    drive_renew (self);
    staff (self);
    EPIC (self, "E");
    ADD (self, .id = "a", .in = "E");
    drive_expect_handed_out (self, "a");
    assert_int_equal (rota_core_claim (self->core, drive_find (self, "a"), "src/a.c", 7, true), 0);
    assert_int_equal (rota_core_claim (self->core, drive_find (self, "E"), "src/a.c", 7, true), 0);
    ADD (self, .id = "b", .in = "E");
    ADD (self, .id = "c");
    drive_expect_handed_out (self, "c");
    expect_behind (self, "b", "a");
    assert_string_equal (rota_core_claim_of (self->core, drive_find (self, "b"), &learned), "src/a.c");
    assert_true (learned);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        DRIVE_TEST (those_that_meet_wait_and_others_do_not),
        DRIVE_TEST (what_is_merged_only_then_lets_go),
        DRIVE_TEST (what_awaits_a_person_holds_nobody_up),
        DRIVE_TEST (a_fix_up_claims_anew),
        DRIVE_TEST (a_failed_or_lost_or_cancelled_one_lets_go),
        DRIVE_TEST (one_that_is_held_can_be_cancelled_and_redefined),
        DRIVE_TEST (who_was_held_for_long_comes_first),
        DRIVE_TEST (who_can_not_be_served_reserves_nothing),
        DRIVE_TEST (a_source_may_do_without_and_two_may_share_their_files),
        DRIVE_TEST (a_claim_that_only_waits_for_what_can_not_move_does_not_move),
        DRIVE_TEST (what_was_learned_counts_for_the_next_attempt),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
