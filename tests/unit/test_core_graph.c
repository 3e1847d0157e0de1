/* What waits for what: tasks, milestones and epics as prerequisites, cycles, what can't be reached, what is
 * staged. */
#include "scheduler/core_internal.h"
#include "tests/unit/core_drive.h"

#include <errno.h>

static bool has_cycle (drive_t *self)
{
    rota_node_t path[8];
    return rota_core_find_cycle (self->core, 0, path, 8) > 0;
}

static void stage_id (drive_t *self, const char *id)
{
    STAGE (self, .id = id);
}

/* ------------------------------------------------------------------------------------------- groups */

static void a_dependency_on_an_epic_gates_until_every_member_is_done_or_skipped (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 9, NULL);
    EPIC (self, "E");
    ADD (self, .id = "a", .in = "E");
    ADD (self, .id = "b", .in = "E");
    ADD (self, .id = "c", .in = "E");
    ADD (self, .id = "after", .after = {"E"});
    drive_expect_handed_out (self, "a b c");
    drive_report (self, "a", RESULT (OK));
    EXPECT_PLACE (self, "after", WAITING);
    drive_report (self, "b", RESULT (OK));
    EXPECT_PLACE (self, "after", WAITING);
    assert_int_equal (drive_control (self, "c", VERB (SKIP)), 0);
    EXPECT_PLACE (self, "after", WAITING);
    drive_report (self, "c", RESULT (KILLED));
    EXPECT_STATUS (self, "c", CANCELLED);
    EXPECT_PLACE (self, "after", READY);
}

static void a_dependency_on_a_milestone_waits_for_its_members_alone (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 9, NULL);
    EPIC (self, "E");
    MILESTONE (self, "M1", "E");
    MILESTONE (self, "M2", "E");
    ADD (self, .id = "in-first", .in = "E/M1");
    ADD (self, .id = "in-second", .in = "E/M2", .after = {"E/M1"});
    ADD (self, .id = "after-all", .after = {"E"});
    EXPECT_PLACE (self, "in-second", WAITING);
    drive_work (self, "in-first", RESULT (OK));
    assert_true (rota_core_is_satisfied (self->core, drive_find (self, "E/M1")));
    assert_false (rota_core_is_satisfied (self->core, drive_find (self, "E")));
    EXPECT_PLACE (self, "after-all", WAITING);
    drive_work (self, "in-second", RESULT (OK));
    drive_work (self, "after-all", RESULT (OK));
}

static void an_empty_group_is_satisfied (void **state)
{
    drive_t *self = *state;
    EPIC (self, "E");
    MILESTONE (self, "M", "E");
    ADD (self, .id = "after", .after = {"E", "E/M"});
    assert_true (rota_core_is_satisfied (self->core, drive_find (self, "E")));
    EXPECT_PLACE (self, "after", READY);
}

static void adding_to_a_complete_group_closes_the_gates_that_nobody_has_passed (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 1, NULL);
    EPIC (self, "E");
    MILESTONE (self, "M", "E");
    ADD (self, .id = "a", .in = "E/M");
    drive_work (self, "a", RESULT (OK));
    ADD (self, .id = "passed", .after = {"E"}, .priority = 1);
    ADD (self, .id = "not-yet", .after = {"E"});
    drive_expect_handed_out (self, "passed");
    EXPECT_PLACE (self, "not-yet", READY);
    ADD (self, .id = "late", .in = "E/M");
    EXPECT_PLACE (self, "not-yet", WAITING);
    EXPECT_PLACE (self, "passed", RUNNING);
    drive_report (self, "passed", RESULT (OK));
    EXPECT_STATUS (self, "passed", DONE);
    drive_work (self, "late", RESULT (OK));
    drive_work (self, "not-yet", RESULT (OK));
}

static void a_group_that_is_added_empty_to_a_complete_one_closes_nothing (void **state)
{
    drive_t *self = *state;
    EPIC (self, "E");
    ADD (self, .id = "after", .after = {"E"});
    MILESTONE (self, "M", "E");
    EXPECT_PLACE (self, "after", READY);
}

static void a_groups_dependency_gates_its_members_present_and_to_come (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 9, NULL);
    ADD (self, .id = "first");
    EPIC (self, "E", .after = {"first"});
    MILESTONE (self, "M", "E");
    ADD (self, .id = "present", .in = "E/M");
    EXPECT_PLACE (self, "present", WAITING);
    drive_work (self, "first", RESULT (OK));
    EXPECT_PLACE (self, "present", READY);
    ADD (self, .id = "second", .priority = 9);
    drive_link (self, "second", "E");
    EXPECT_PLACE (self, "present", WAITING);
    ADD (self, .id = "to-come", .in = "E");
    EXPECT_PLACE (self, "to-come", WAITING);
    assert_int_equal (rota_core_unmet (self->core, drive_find (self, "to-come")), 1);
    drive_work (self, "second", RESULT (OK));
    drive_expect_handed_out (self, "present to-come");
}

static void a_group_dependency_that_is_dropped_frees_all_members_at_once (void **state)
{
    drive_t *self = *state;
    ADD (self, .id = "first");
    EPIC (self, "E");
    ADD (self, .id = "old", .in = "E");
    STAGE (self, .id = "new", .in = "E");
    self->unchecked = true; /* an import changes edges first and opens what is new with them, in one batch */
    drive_link (self, "first", "E");
    self->unchecked = false;
    drive_open_staged (self);
    EXPECT_PLACE (self, "old", WAITING);
    ADD (self, .id = "newer", .in = "E");
    drive_link (self, "newer", "new");
    assert_int_equal (rota_core_unmet (self->core, drive_find (self, "new")), 2);
    drive_unlink (self, "newer", "new");
    drive_unlink (self, "first", "E");
    EXPECT_PLACE (self, "old", READY);
    EXPECT_PLACE (self, "new", READY);
    EXPECT_PLACE (self, "newer", READY);
    assert_int_equal (rota_core_unlink (self->core, drive_find (self, "first"), drive_find (self, "E")),
                      -ENOENT);
}

static void a_dependency_is_one_however_often_its_group_is_loaded (void **state)
{
    drive_t *self = *state;
    static const char *const IDS[] = {"first", "E", "a"};
    for (rota_node_t i = 0; i < 3; i++) { /* as the store gives them: nodes, then edges, then all at once */
        rota_core_node_t node = {.id = IDS[i],
                                 .id_length = strlen (IDS[i]),
                                 .kind = i == 1 ? NODE (EPIC) : NODE (TASK),
                                 .parent = i == 2 ? 5 : ROTA_NONE,
                                 .status = i == 1 ? 0 : STATUS (PENDING),
                                 .attempts_allowed = 1};
        uint32_t class_index;
        bool fresh;
        rota_core_class (self->core, 0, "", 0, NULL, 0, &class_index, &fresh);
        assert_int_equal (rota_core_load (self->core, 4 + i, &node), 0);
    }
    assert_int_equal (rota_core_link (self->core, 4, 5), 0);
    rota_core_open (self->core, 0, 7, true, self->now_ms);
    drive_check (self);
    assert_int_equal (rota_core_unmet (self->core, drive_find (self, "a")), 1);
    drive_unlink (self, "first", "E");
    EXPECT_PLACE (self, "a", READY);
    assert_int_equal (rota_core_load (self->core, 3, &(rota_core_node_t){.id = "x", .id_length = 1}),
                      -EEXIST);
}

/* ------------------------------------------------------------------------------------------- cycles */

static void a_task_that_waits_for_its_own_group_is_a_cycle (void **state)
{
    drive_t *self = *state;
    EPIC (self, "E");
    MILESTONE (self, "M", "E");
    STAGE (self, .id = "a", .in = "E/M", .after = {"E"});
    rota_node_t path[8];
    assert_int_equal (rota_core_find_cycle (self->core, drive_find (self, "a"), path, 8), 3);
    rota_core_discard (self->core, drive_find (self, "a"), (rota_node_t)rota_core_count (self->core));
    STAGE (self, .id = "a", .in = "E/M", .after = {"E/M"});
    assert_int_equal (rota_core_find_cycle (self->core, drive_find (self, "a"), path, 8), 2);
}

static void a_group_that_waits_for_its_own_member_is_a_cycle (void **state)
{
    drive_t *self = *state;
    EPIC (self, "E");
    ADD (self, .id = "a", .in = "E");
    assert_false (has_cycle (self));
    assert_int_equal (rota_core_link (self->core, drive_find (self, "a"), drive_find (self, "E")), 0);
    assert_true (has_cycle (self));
    assert_int_equal (rota_core_unlink (self->core, drive_find (self, "a"), drive_find (self, "E")), 0);
    assert_false (has_cycle (self));
    drive_check (self);
}

static void cycles_through_groups_are_found_before_their_members_are_opened (void **state)
{
    drive_t *self = *state;
    ADD (self, .id = "x");
    STAGE (self, .id = "E", .kind = NODE (EPIC), .after = {"x"});
    STAGE (self, .id = "F", .kind = NODE (EPIC), .after = {"E"});
    STAGE (self, .id = "in-e", .in = "E");
    STAGE (self, .id = "in-f", .in = "F");
    assert_false (has_cycle (self));
    assert_int_equal (rota_core_link (self->core, drive_find (self, "F"), drive_find (self, "x")), 0);
    rota_node_t path[8];
    /* x gates in-e, which is part of E, which gates in-f, part of F, which gates x. */
    assert_int_equal (rota_core_find_cycle (self->core, 0, path, 8), 5);
    assert_int_equal (rota_core_unlink (self->core, drive_find (self, "F"), drive_find (self, "x")), 0);
    assert_false (has_cycle (self));
    drive_open_staged (self);
}

static void a_cycle_is_told_in_order_and_as_far_as_there_is_room (void **state)
{
    drive_t *self = *state;
    STAGE (self, .id = "outside");
    STAGE (self, .id = "a", .after = {"outside"});
    STAGE (self, .id = "b", .after = {"a"});
    STAGE (self, .id = "c", .after = {"b"});
    assert_false (has_cycle (self));
    rota_core_link (self->core, drive_find (self, "c"), drive_find (self, "a"));
    rota_node_t path[8] = {0}, shown[2] = {0};
    assert_int_equal (rota_core_find_cycle (self->core, 0, path, 8), 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal (path[(i + 1) % 3],
                          path[i] == drive_find (self, "c") ? drive_find (self, "a") : path[i] + 1);
    assert_int_equal (rota_core_find_cycle (self->core, 0, shown, 1), 3);
    assert_int_equal (shown[1], 0);
}

static void a_chain_of_100000_is_walked_without_recursion (void **state)
{
    drive_t *self = *state;
    char id[16];
    for (int i = 0; i < 100000; i++) {
        snprintf (id, sizeof id, "t%d", i);
        rota_node_t node = STAGE (self, .id = id);
        if (i > 0)
            assert_int_equal (rota_core_link (self->core, node - 1, node), 0);
    }
    assert_false (has_cycle (self));
    drive_open_staged (self);
    assert_int_equal (drive_control (self, "t0", VERB (HOLD)), 0);
    EXPECT_PLACE (self, "t99999", UNREACHABLE);
    assert_int_equal (drive_control (self, "t0", VERB (RELEASE)), 0);
    EXPECT_PLACE (self, "t99999", WAITING);
    rota_core_link (self->core, 99999, 0);
    assert_int_equal (rota_core_find_cycle (self->core, 0, &(rota_node_t){0}, 1), 100000);
}

/* -------------------------------------------------------------------------- cancelled and unreachable */

static void cancelled_satisfies_neither_dependant_nor_group (void **state)
{
    drive_t *self = *state;
    EPIC (self, "E");
    ADD (self, .id = "a", .in = "E");
    ADD (self, .id = "after-task", .after = {"a"});
    ADD (self, .id = "after-group", .after = {"E"});
    assert_int_equal (drive_control (self, "a", VERB (CANCEL)), 0);
    EXPECT_PLACE (self, "after-task", UNREACHABLE);
    EXPECT_PLACE (self, "after-group", UNREACHABLE);
    assert_false (rota_core_is_satisfied (self->core, drive_find (self, "E")));
}

static void skipping_satisfies_dependant_and_group_also_afterwards (void **state)
{
    drive_t *self = *state;
    EPIC (self, "E");
    ADD (self, .id = "a", .in = "E");
    ADD (self, .id = "b", .in = "E");
    ADD (self, .id = "after-task", .after = {"a", "b"});
    ADD (self, .id = "after-group", .after = {"E"});
    assert_int_equal (drive_control (self, "a", VERB (SKIP)), 0);
    assert_int_equal (drive_control (self, "a", VERB (SKIP)), 1);
    assert_int_equal (drive_control (self, "b", VERB (CANCEL)), 0);
    EXPECT_PLACE (self, "after-task", UNREACHABLE);
    assert_int_equal (drive_control (self, "b", VERB (SKIP)), 0);
    EXPECT_PLACE (self, "after-task", READY);
    EXPECT_PLACE (self, "after-group", READY);
    assert_int_equal (drive_control (self, "b", VERB (RETRY)), 0);
    EXPECT_PLACE (self, "after-task", WAITING);
    EXPECT_PLACE (self, "after-group", WAITING);
    assert_false (drive_get (self, "b").skipped);
}

static void what_is_behind_a_failed_or_blocked_task_is_unreachable_until_it_is_mended (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 1, NULL);
    EPIC (self, "E");
    ADD (self, .id = "a", .in = "E", .attempts = 1);
    ADD (self, .id = "next", .after = {"a"});
    ADD (self, .id = "behind-group", .after = {"E"});
    ADD (self, .id = "far", .after = {"next", "behind-group"});
    ADD (self, .id = "aside");
    drive_expect_handed_out (self, "a");
    drive_report (self, "a", RESULT (FAILED));
    EXPECT_PLACE (self, "next", UNREACHABLE);
    EXPECT_PLACE (self, "behind-group", UNREACHABLE);
    EXPECT_PLACE (self, "far", UNREACHABLE);
    EXPECT_PLACE (self, "aside", READY);
    assert_int_equal (drive_control (self, "a", VERB (RETRY)), 0);
    EXPECT_PLACE (self, "far", WAITING);
    assert_int_equal (drive_control (self, "a", VERB (HOLD)), 0);
    EXPECT_PLACE (self, "far", UNREACHABLE);
    assert_int_equal (drive_control (self, "a", VERB (RELEASE)), 0);
    EXPECT_PLACE (self, "far", WAITING);
}

static void one_way_around_a_dead_end_is_not_enough (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 9, NULL);
    ADD (self, .id = "good");
    ADD (self, .id = "bad");
    ADD (self, .id = "worse");
    ADD (self, .id = "after", .after = {"good", "bad", "worse"});
    drive_control (self, "bad", VERB (CANCEL));
    drive_control (self, "worse", VERB (CANCEL));
    drive_work (self, "good", RESULT (OK));
    EXPECT_PLACE (self, "after", UNREACHABLE);
    drive_control (self, "bad", VERB (SKIP));
    EXPECT_PLACE (self, "after", UNREACHABLE);
    drive_control (self, "worse", VERB (SKIP));
    EXPECT_PLACE (self, "after", READY);
}

static void a_dependency_that_comes_later_holds_what_is_ready_and_lets_it_go_when_dropped (void **state)
{
    drive_t *self = *state;
    ADD (self, .id = "a");
    ADD (self, .id = "b");
    ADD (self, .id = "c", .after = {"b"});
    drive_link (self, "a", "b");
    EXPECT_PLACE (self, "b", WAITING);
    drive_control (self, "a", VERB (CANCEL));
    EXPECT_PLACE (self, "c", UNREACHABLE);
    drive_unlink (self, "a", "b");
    EXPECT_PLACE (self, "b", READY);
    EXPECT_PLACE (self, "c", WAITING);
    drive_link (self, "a", "b"); /* onto one that is cancelled already */
    EXPECT_PLACE (self, "b", UNREACHABLE);
    EXPECT_PLACE (self, "c", UNREACHABLE);
}

static void a_dependency_of_a_group_that_comes_later_holds_its_ready_members (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 9, NULL);
    EPIC (self, "E");
    ADD (self, .id = "started", .in = "E");
    drive_expect_handed_out (self, "started");
    ADD (self, .id = "ready", .in = "E");
    ADD (self, .id = "gate", .status = STATUS (BLOCKED));
    drive_link (self, "gate", "E");
    EXPECT_PLACE (self, "ready", UNREACHABLE);
    assert_int_equal (drive_dispatch (self), 0);
    drive_report (self, "started", RESULT (OK));
    EXPECT_STATUS (self, "started", DONE);
    drive_unlink (self, "gate", "E");
    drive_expect_handed_out (self, "ready");
}

/* ----------------------------------------------------------------------------------- ids and staging */

static void ids_are_unique_and_those_of_milestones_within_their_epic (void **state)
{
    drive_t *self = *state;
    rota_node_t node;
    EPIC (self, "E");
    EPIC (self, "F");
    MILESTONE (self, "M", "E");
    MILESTONE (self, "M", "F");
    MILESTONE (self, "only", "F");
    ADD (self, .id = "M"); /* a task may be called as a milestone is */
    assert_int_not_equal (drive_find (self, "E/M"), drive_find (self, "F/M"));
    assert_int_equal (rota_core_find_milestones (self->core, "M", 1, &node), 2);
    assert_int_equal (rota_core_find_milestones (self->core, "only", 4, &node), 1);
    assert_int_equal (node, drive_find (self, "F/only"));
    assert_int_equal (rota_core_find_milestones (self->core, "none", 4, &node), 0);
    assert_int_equal (rota_core_find (self->core, "only", 4), ROTA_NONE);
    rota_core_node_t again = {.id = "E", .id_length = 1, .kind = NODE (TASK), .parent = ROTA_NONE};
    assert_int_equal (rota_core_add (self->core, &again, &node), -EEXIST);
    again = (rota_core_node_t){
        .id = "M", .id_length = 1, .kind = NODE (MILESTONE), .parent = drive_find (self, "F")};
    assert_int_equal (rota_core_add (self->core, &again, &node), -EEXIST);
}

static void what_is_staged_takes_no_part_and_leaves_no_trace_when_it_is_discarded (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 9, NULL);
    EPIC (self, "E");
    ADD (self, .id = "there");
    ADD (self, .id = "after", .after = {"E"});
    STAGE (self, .id = "F", .kind = NODE (EPIC));
    STAGE (self, .id = "new", .in = "E", .after = {"there"}, .status = STATUS (BLOCKED));
    STAGE (self, .id = "newer", .in = "F", .after = {"new"});
    drive_check (self);
    EXPECT_PLACE (self, "after", READY);
    drive_expect_handed_out (self, "there after");
    rota_core_discard (self->core, self->staged, (rota_node_t)rota_core_count (self->core));
    drive_check (self);
    assert_int_equal (rota_core_find (self->core, "new", 3), ROTA_NONE);
    assert_int_equal (rota_core_find (self->core, "F", 1), ROTA_NONE);
    drive_report (self, "there", RESULT (OK)); /* nobody follows */
    EPIC (self, "F");
    ADD (self, .id = "new", .in = "F");
    EXPECT_PLACE (self, "new", READY);
    assert_null (rota_core_reason (self->core, drive_find (self, "new")));
}

static void what_was_submitted_during_an_import_outlives_its_discard (void **state)
{
    drive_t *self = *state;
    drive_join (self, "host", 9, NULL);
    ADD (self, .id = "before");
    rota_node_t first = STAGE (self, .id = "staged");
    STAGE (self, .id = "staged-too", .after = {"staged"});
    rota_node_t submitted = STAGE (self, .id = "submitted", .after = {"before"});
    rota_core_open (self->core, submitted, submitted + 1, false, self->now_ms);
    drive_check (self);
    rota_core_discard (self->core, first, (rota_node_t)rota_core_count (self->core));
    drive_check (self);
    assert_int_equal (rota_core_find (self->core, "staged", 6), ROTA_NONE);
    assert_int_equal (drive_find (self, "submitted"), submitted);
    self->staged = (rota_node_t)rota_core_count (self->core);
    ADD (self, .id = "staged"); /* imported after all */
    drive_expect_handed_out (self, "before staged");
    drive_report (self, "before", RESULT (OK));
    drive_expect_handed_out (self, "submitted");
}

/* Dry runs and imports that don't fit come as often as somebody types them. */
static void what_is_discarded_gives_its_memory_back (void **state)
{
    drive_t *self = *state;
    EPIC (self, "E");
    ADD (self, .id = "there", .in = "E");
    size_t ids_size = self->core->ids_size, edges = 0;
    for (int round = 0; round < 100; round++) {
        STAGE (self, .id = "F", .kind = NODE (EPIC), .after = {"E"});
        STAGE (self, .id = "blocked", .in = "F", .status = STATUS (BLOCKED), .after = {"there"});
        STAGE (self, .id = "next", .after = {"blocked", "F"});
        rota_core_discard (self->core, self->staged, (rota_node_t)rota_core_count (self->core));
        edges = edges ? edges : self->core->edge_count;
    }
    drive_check (self);
    assert_int_equal (self->core->ids_size, ids_size);
    assert_int_equal (self->core->edge_count, edges);
    assert_int_equal (HASH_COUNT (self->core->reasons), 0);
    assert_int_equal (self->core->group_dependencies.count, 0);
    assert_int_equal (rota_core_group_count (self->core), 1);
    assert_int_equal (rota_core_count (self->core), 2);
}

static void thousands_of_ids_come_and_go_and_the_others_are_found (void **state)
{
    drive_t *self = *state;
    char id[16];
    EPIC (self, "E");
    for (int round = 0; round < 6; round++) {
        rota_node_t first = (rota_node_t)rota_core_count (self->core);
        for (int i = 0; i < 3000; i++) {
            snprintf (id, sizeof id, "r%d-%d", round, i);
            stage_id (self, id);
        }
        if (round % 2)
            rota_core_discard (self->core, first, (rota_node_t)rota_core_count (self->core));
        else
            drive_open_staged (self);
    }
    for (int round = 0; round < 6; round++)
        for (int i = 0; i < 3000; i++) {
            int length = snprintf (id, sizeof id, "r%d-%d", round, i);
            assert_int_equal (rota_core_find (self->core, id, (size_t)length) == ROTA_NONE, round % 2);
        }
    assert_int_equal (rota_core_count (self->core), 9001);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        DRIVE_TEST (a_dependency_on_an_epic_gates_until_every_member_is_done_or_skipped),
        DRIVE_TEST (a_dependency_on_a_milestone_waits_for_its_members_alone),
        DRIVE_TEST (an_empty_group_is_satisfied),
        DRIVE_TEST (adding_to_a_complete_group_closes_the_gates_that_nobody_has_passed),
        DRIVE_TEST (a_group_that_is_added_empty_to_a_complete_one_closes_nothing),
        DRIVE_TEST (a_groups_dependency_gates_its_members_present_and_to_come),
        DRIVE_TEST (a_group_dependency_that_is_dropped_frees_all_members_at_once),
        DRIVE_TEST (a_dependency_is_one_however_often_its_group_is_loaded),
        DRIVE_TEST (a_task_that_waits_for_its_own_group_is_a_cycle),
        DRIVE_TEST (a_group_that_waits_for_its_own_member_is_a_cycle),
        DRIVE_TEST (cycles_through_groups_are_found_before_their_members_are_opened),
        DRIVE_TEST (a_cycle_is_told_in_order_and_as_far_as_there_is_room),
        DRIVE_TEST (a_chain_of_100000_is_walked_without_recursion),
        DRIVE_TEST (cancelled_satisfies_neither_dependant_nor_group),
        DRIVE_TEST (skipping_satisfies_dependant_and_group_also_afterwards),
        DRIVE_TEST (what_is_behind_a_failed_or_blocked_task_is_unreachable_until_it_is_mended),
        DRIVE_TEST (one_way_around_a_dead_end_is_not_enough),
        DRIVE_TEST (a_dependency_that_comes_later_holds_what_is_ready_and_lets_it_go_when_dropped),
        DRIVE_TEST (a_dependency_of_a_group_that_comes_later_holds_its_ready_members),
        DRIVE_TEST (ids_are_unique_and_those_of_milestones_within_their_epic),
        DRIVE_TEST (what_is_staged_takes_no_part_and_leaves_no_trace_when_it_is_discarded),
        DRIVE_TEST (what_was_submitted_during_an_import_outlives_its_discard),
        DRIVE_TEST (what_is_discarded_gives_its_memory_back),
        DRIVE_TEST (thousands_of_ids_come_and_go_and_the_others_are_found),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
