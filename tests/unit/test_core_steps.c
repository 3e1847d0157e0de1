/* What comes after the work: gate, review, approval, merge; who may do it and what follows. */
#include "tests/unit/core_drive.h"

enum {
    ALL = ROTA_WANTS_CLONE | ROTA_WANTS_GATE | ROTA_WANTS_REVIEW | ROTA_WANTS_MERGE,
};

static const char *const CLAUDE[] = {"run", "review", NULL};
static const char *const GIT[] = {"gate", "merge", NULL};

/* Two agents that work and judge, and one that checks and merges. */
static void staff (drive_t *self)
{
    drive_join_as (self, "claude@here", "claude", 2, CLAUDE);
    drive_join_as (self, "codex@here", "codex", 2, CLAUDE);
    drive_join_as (self, "git@here", "git", 4, GIT);
}

static const char *handed_to (drive_t *self, const char *name, Rota__Phase phase)
{
    rota_core_agent_view_t view;
    drive_expect_handed_out (self, name);
    assert_int_equal (self->assigns[0].phase, phase);
    rota_core_agent_view (self->core, self->assigns[0].agent, &view);
    return view.kind;
}

static void step (drive_t *self, Rota__Phase phase)
{
    handed_to (self, "a", phase);
    if (phase == PHASE (REVIEW))
        drive_judge (self, "a", true);
    else
        drive_report (self, "a", RESULT (OK));
}

static void what_wants_everything_goes_through_gate_review_approval_and_merge (void **state)
{
    drive_t *self = *state;
    staff (self);
    ADD (self, .id = "a", .wants = ALL, .approval = true);
    step (self, PHASE (WORK));
    step (self, PHASE (GATE));
    EXPECT_STATUS (self, "a", NEEDS_REVIEW);
    step (self, PHASE (REVIEW));
    EXPECT_PLACE (self, "a", HUMAN);
    assert_int_equal (drive_dispatch (self), 0);
    assert_int_equal (drive_control (self, "a", VERB (APPROVE)), 0);
    step (self, PHASE (MERGE));
    EXPECT_STATUS (self, "a", DONE);
    assert_int_equal (drive_get (self, "a").attempts_used, 0);
}

static void what_waits_for_it_starts_after_the_merge (void **state)
{
    drive_t *self = *state;
    staff (self);
    ADD (self, .id = "a", .wants = ROTA_WANTS_CLONE | ROTA_WANTS_MERGE);
    ADD (self, .id = "b", .after = {"a"});
    step (self, PHASE (WORK));
    EXPECT_PLACE (self, "b", WAITING);
    step (self, PHASE (MERGE));
    drive_expect_handed_out (self, "b");
}

static void a_failed_gate_costs_an_attempt_and_wants_a_fixup (void **state)
{
    drive_t *self = *state;
    staff (self);
    ADD (self, .id = "a", .wants = ALL, .attempts = 2);
    step (self, PHASE (WORK));
    handed_to (self, "a", PHASE (GATE));
    drive_report (self, "a", RESULT (FAILED));
    EXPECT_STATUS (self, "a", NEEDS_IMPROVEMENT);
    assert_int_equal (drive_get (self, "a").attempts_used, 1);
    step (self, PHASE (WORK));
    handed_to (self, "a", PHASE (GATE));
    drive_report (self, "a", RESULT (FAILED));
    EXPECT_STATUS (self, "a", FAILED);
}

static void a_lost_gate_or_merge_is_done_again_and_the_work_is_not (void **state)
{
    drive_t *self = *state;
    staff (self);
    ADD (self, .id = "a", .wants = ROTA_WANTS_GATE | ROTA_WANTS_MERGE, .attempts = 1);
    step (self, PHASE (WORK));
    for (int i = 0; i < 5; i++) {
        handed_to (self, "a", PHASE (GATE));
        drive_report (self, "a", i & 1 ? RESULT (LOST) : RESULT (NETWORK));
        drive_wait (self, 60000);
    }
    step (self, PHASE (GATE));
    handed_to (self, "a", PHASE (MERGE));
    drive_report (self, "a", RESULT (LOST));
    drive_wait (self, 60000);
    step (self, PHASE (MERGE));
    EXPECT_STATUS (self, "a", DONE);
    assert_int_equal (drive_get (self, "a").attempts_used, 0);
}

static void another_kind_judges_than_the_one_that_worked (void **state)
{
    drive_t *self = *state;
    staff (self);
    for (int i = 0; i < 6; i++) {
        char name[] = {(char)('a' + i), '\0'};
        ADD (self, .id = name, .wants = ROTA_WANTS_REVIEW);
        const char *author = handed_to (self, name, PHASE (WORK));
        drive_report (self, name, RESULT (OK));
        assert_string_not_equal (handed_to (self, name, PHASE (REVIEW)), author);
        drive_judge (self, name, true);
        EXPECT_STATUS (self, name, DONE);
    }
}

static void the_same_kind_judges_only_where_no_other_can (void **state)
{
    drive_t *self = *state;
    drive_join_as (self, "claude@here", "claude", 2, CLAUDE);
    drive_join_as (self, "git@here", "git", 4, GIT);
    ADD (self, .id = "a", .wants = ROTA_WANTS_REVIEW);
    ADD (self, .id = "b", .wants = ROTA_WANTS_REVIEW | ROTA_WANTS_OTHER_KIND);
    drive_expect_handed_out (self, "a b");
    drive_report (self, "a", RESULT (OK));
    drive_report (self, "b", RESULT (OK));
    assert_string_equal (handed_to (self, "a", PHASE (REVIEW)), "claude");
    EXPECT_STATUS (self, "b", NEEDS_REVIEW);
    drive_join_as (self, "codex@here", "codex", 1, CLAUDE);
    assert_string_equal (handed_to (self, "b", PHASE (REVIEW)), "codex");
}

/* The class of reviews knows kinds only. */
static void nobody_judges_its_own_work_while_another_of_its_kind_is_there (void **state)
{
    drive_t *self = *state;
    rota_agent_t one = drive_join_as (self, "claude@one", "claude", 2, CLAUDE);
    rota_agent_t two = drive_join_as (self, "claude@two", "claude", 1, CLAUDE);
    ADD (self, .id = "a", .wants = ROTA_WANTS_REVIEW, .agent = "claude@one");
    ADD (self, .id = "b", .agent = "claude@two");
    drive_expect_handed_out (self, "a b");
    drive_report (self, "a", RESULT (OK));
    assert_int_equal (drive_dispatch (self), 0); /* the other one is waited for */
    drive_report (self, "b", RESULT (OK));
    drive_expect_handed_out (self, "a");
    assert_int_equal (self->assigns[0].agent, two);
    drive_judge (self, "a", true);
    ADD (self, .id = "c", .wants = ROTA_WANTS_REVIEW, .agent = "claude@two");
    drive_work (self, "c", RESULT (OK));
    drive_expect_handed_out (self, "c");
    assert_int_equal (self->assigns[0].agent, one);
    drive_judge (self, "c", true);
    /* Nobody else is there, or stays. */
    rota_core_agent_drain (self->core, one, true, self->now_ms);
    ADD (self, .id = "d", .wants = ROTA_WANTS_REVIEW, .agent = "claude@two");
    drive_work (self, "d", RESULT (OK));
    drive_expect_handed_out (self, "d");
    assert_int_equal (self->assigns[0].agent, two);
}

static void a_busy_other_kind_is_waited_for (void **state)
{
    drive_t *self = *state;
    staff (self);
    drive_join_as (self, "codex@here", "codex", 1, CLAUDE);
    ADD (self, .id = "a", .wants = ROTA_WANTS_REVIEW, .agent = "claude");
    ADD (self, .id = "b", .agent = "codex");
    drive_expect_handed_out (self, "a b");
    drive_report (self, "a", RESULT (OK));
    assert_int_equal (drive_dispatch (self), 0);
    drive_report (self, "b", RESULT (OK));
    assert_string_equal (handed_to (self, "a", PHASE (REVIEW)), "codex");
}

static void wanted_changes_go_back_to_work_and_in_the_end_to_a_person (void **state)
{
    drive_t *self = *state;
    staff (self);
    ADD (self, .id = "a", .wants = ROTA_WANTS_REVIEW | ROTA_WANTS_MERGE, .attempts = 1);
    for (int round = 0; round < 3; round++) {
        step (self, PHASE (WORK));
        handed_to (self, "a", PHASE (REVIEW));
        drive_judge (self, "a", false);
        if (round < 2)
            EXPECT_STATUS (self, "a", NEEDS_IMPROVEMENT);
    }
    EXPECT_STATUS (self, "a", BLOCKED);
    assert_int_equal (drive_get (self, "a").blocked, CAUSE (NEEDS_HUMAN));
    assert_int_equal (drive_get (self, "a").attempts_used, 0);
    assert_int_equal (drive_control (self, "a", VERB (APPROVE)), 0);
    step (self, PHASE (MERGE));
    EXPECT_STATUS (self, "a", DONE);
}

static void a_review_without_a_verdict_approves_nothing (void **state)
{
    drive_t *self = *state;
    staff (self);
    ADD (self, .id = "a", .wants = ROTA_WANTS_REVIEW);
    step (self, PHASE (WORK));
    for (int i = 0; i < 3; i++) {
        handed_to (self, "a", PHASE (REVIEW));
        drive_report (self, "a", RESULT (OK)); /* exit code 0, and nothing else */
        drive_wait (self, 60000);
    }
    EXPECT_STATUS (self, "a", BLOCKED);
}

static void merges_come_one_by_one_in_the_order_of_approval (void **state)
{
    drive_t *self = *state;
    drive_join_as (self, "claude@here", "claude", 3, CLAUDE);
    drive_join_as (self, "git@here", "git", 4, GIT);
    ADD (self, .id = "a", .wants = ROTA_WANTS_MERGE);
    ADD (self, .id = "b", .wants = ROTA_WANTS_MERGE);
    ADD (self, .id = "c", .wants = ROTA_WANTS_MERGE, .priority = 100);
    assert_int_equal (drive_dispatch (self), 3);
    static const char *const ORDER[] = {"b", "a", "c"};
    for (int i = 0; i < 3; i++) {
        drive_report (self, ORDER[i], RESULT (OK));
        drive_wait (self, 1000);
    }
    for (int i = 0; i < 3; i++) {
        assert_string_equal (handed_to (self, ORDER[i], PHASE (MERGE)), "git");
        assert_int_equal (drive_dispatch (self), 0);
        drive_report (self, ORDER[i], RESULT (OK));
    }
}

static void what_is_held_in_a_later_phase_goes_on_there (void **state)
{
    drive_t *self = *state;
    staff (self);
    ADD (self, .id = "a", .wants = ALL);
    step (self, PHASE (WORK));
    assert_int_equal (drive_control (self, "a", VERB (HOLD)), 0);
    assert_int_equal (drive_dispatch (self), 0);
    assert_int_equal (drive_control (self, "a", VERB (RELEASE)), 0);
    step (self, PHASE (GATE));
    assert_int_equal (drive_control (self, "a", VERB (HOLD)), 0);
    assert_int_equal (drive_control (self, "a", VERB (RELEASE)), 0);
    step (self, PHASE (REVIEW));
    step (self, PHASE (MERGE));
    EXPECT_STATUS (self, "a", DONE);
}

static void a_person_may_judge_before_an_agent_does (void **state)
{
    drive_t *self = *state;
    drive_join_as (self, "host", "exec", 1, (const char *const[]){"run", "merge", NULL});
    ADD (self, .id = "a", .wants = ROTA_WANTS_REVIEW | ROTA_WANTS_MERGE);
    step (self, PHASE (WORK));
    assert_int_equal (drive_dispatch (self), 0);
    assert_int_equal (drive_control (self, "a", VERB (REJECT)), 0);
    step (self, PHASE (WORK));
    assert_int_equal (drive_control (self, "a", VERB (APPROVE)), 0);
    step (self, PHASE (MERGE));
    EXPECT_STATUS (self, "a", DONE);
}

/* The gate step ends well, with one gate in this state. */
static void gates_say (drive_t *self, Rota__GateState state)
{
    Rota__GateResult gate = ROTA__GATE_RESULT__INIT, *list[] = {&gate};
    Rota__Result result = ROTA__RESULT__INIT;
    gate.has_name = gate.has_state = result.has_result_class = true;
    gate.name = rota_bytes ("lint");
    gate.state = state;
    result.result_class = RESULT (OK);
    result.n_gates = 1;
    result.gates = list;
    assert_int_equal (rota_core_report (self->core, drive_find (self, "a"), drive_get (self, "a").attempt,
                                        &result, self->now_ms),
                      0);
    drive_let_out (self);
}

static void what_a_flaky_gate_and_one_without_a_command_mean_is_policy (void **state)
{
    drive_t *self = *state;
    static const struct {
        Rota__GateState gate;
        rota_gate_policy_t flaky, uncheckable;
        Rota__TaskStatus status;
        uint32_t used;
    } CASES[] = {
        {ROTA__GATE_STATE__GATE_STATE_PASSED, ROTA_GATE_FAILS, ROTA_GATE_FAILS, STATUS (NEEDS_REVIEW), 0},
        {ROTA__GATE_STATE__GATE_STATE_FLAKY, ROTA_GATE_PASSES, ROTA_GATE_FAILS, STATUS (NEEDS_REVIEW), 0},
        {ROTA__GATE_STATE__GATE_STATE_FLAKY, ROTA_GATE_FAILS, ROTA_GATE_PASSES, STATUS (NEEDS_IMPROVEMENT),
         1},
        {ROTA__GATE_STATE__GATE_STATE_FLAKY, ROTA_GATE_ASKS, ROTA_GATE_PASSES, STATUS (BLOCKED), 0},
        {ROTA__GATE_STATE__GATE_STATE_NOT_CHECKABLE, ROTA_GATE_FAILS, ROTA_GATE_PASSES, STATUS (NEEDS_REVIEW),
         0},
        {ROTA__GATE_STATE__GATE_STATE_NOT_CHECKABLE, ROTA_GATE_PASSES, ROTA_GATE_FAILS, STATUS (FAILED), 0},
        {ROTA__GATE_STATE__GATE_STATE_NOT_CHECKABLE, ROTA_GATE_PASSES, ROTA_GATE_ASKS, STATUS (BLOCKED), 0},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        self->policy.flaky = CASES[i].flaky;
        self->policy.uncheckable = CASES[i].uncheckable;
        drive_renew (self);
        staff (self);
        ADD (self, .id = "a", .wants = ALL);
        step (self, PHASE (WORK));
        handed_to (self, "a", PHASE (GATE));
        gates_say (self, CASES[i].gate);
        assert_int_equal (drive_get (self, "a").status, CASES[i].status);
        assert_int_equal (drive_get (self, "a").attempts_used, CASES[i].used);
        if (CASES[i].status != STATUS (BLOCKED))
            continue;
        /* Who lets it through says nothing of the review, which comes next. */
        assert_int_equal (drive_get (self, "a").blocked, CAUSE (NEEDS_HUMAN));
        assert_int_equal (drive_control (self, "a", VERB (APPROVE)), 0);
        EXPECT_STATUS (self, "a", NEEDS_REVIEW);
        step (self, PHASE (REVIEW));
        step (self, PHASE (MERGE));
        EXPECT_STATUS (self, "a", DONE);
    }
}

/* The review that is under way ends so; `answer` with no verdict. */
static void review_says (drive_t *self, Rota__Verdict *verdict, const char *answer, uint32_t quality)
{
    Rota__Result result = ROTA__RESULT__INIT;
    result.has_result_class = true;
    result.result_class = RESULT (OK);
    result.verdict = verdict;
    result.has_answer = answer != NULL;
    result.answer = rota_bytes (answer ? answer : "");
    result.has_quality_permille = quality > 0;
    result.quality_permille = quality;
    drive_forget_effects (self);
    assert_int_equal (rota_core_report (self->core, drive_find (self, "a"), drive_get (self, "a").attempt,
                                        &result, self->now_ms),
                      0);
    drive_let_out (self);
}

static void one_without_a_verdict_is_asked_for_it_once (void **state)
{
    drive_t *self = *state;
    staff (self);
    ADD (self, .id = "a", .wants = ROTA_WANTS_REVIEW);
    step (self, PHASE (WORK));
    handed_to (self, "a", PHASE (REVIEW));
    rota_agent_t reviewer = self->assigns[0].agent;
    review_says (self, NULL, "fine by me", 0);
    assert_int_equal (self->assign_count, 1); /* at once, and to the same */
    assert_int_equal (self->assigns[0].agent, reviewer);
    assert_true (drive_get (self, "a").asked);
    assert_int_equal (drive_get (self, "a").stumbles, 0);
    review_says (self, NULL, "fine by me", 0);
    assert_int_equal (self->assign_count, 0);
    assert_false (drive_get (self, "a").asked);
    assert_int_equal (drive_get (self, "a").stumbles, 1); /* now it counts */
    EXPECT_STATUS (self, "a", NEEDS_REVIEW);
    handed_to (self, "a", PHASE (REVIEW));
    review_says (self, NULL, NULL, 0); /* it said nothing at all: there is nothing to ask about */
    assert_false (drive_get (self, "a").asked);
    assert_int_equal (drive_get (self, "a").stumbles, 2);
}

static void one_that_cannot_go_on_is_not_waited_for (void **state)
{
    drive_t *self = *state;
    staff (self);
    ADD (self, .id = "a", .wants = ROTA_WANTS_REVIEW);
    step (self, PHASE (WORK));
    handed_to (self, "a", PHASE (REVIEW));
    rota_core_agent_drain (self->core, self->assigns[0].agent, true, self->now_ms);
    review_says (self, NULL, "fine by me", 0);
    assert_false (drive_get (self, "a").asked);
    assert_int_equal (drive_get (self, "a").stumbles, 1);
    EXPECT_PLACE (self, "a", READY);
}

static void a_part_of_a_review_decides_nothing (void **state)
{
    drive_t *self = *state;
    Rota__Verdict verdict = ROTA__VERDICT__INIT;
    verdict.has_approved = verdict.approved = true;
    verdict.parts = 3;
    staff (self);
    ADD (self, .id = "a", .wants = ROTA_WANTS_REVIEW);
    step (self, PHASE (WORK));
    handed_to (self, "a", PHASE (REVIEW));
    for (verdict.part = 1; verdict.part < 3; verdict.part++) {
        verdict.approved = verdict.part == 1; /* also one that wants changes: the others are to be heard */
        review_says (self, &verdict, NULL, 0);
        EXPECT_STATUS (self, "a", IN_REVIEW);
        assert_int_equal (self->assign_count, 1);
        assert_int_equal (drive_get (self, "a").rounds, 0);
    }
    verdict.approved = true;
    review_says (self, &verdict, NULL, 0);
    EXPECT_STATUS (self, "a", DONE);
}

static void work_that_is_worth_too_little_is_marked_or_goes_back (void **state)
{
    drive_t *self = *state;
    Rota__Verdict verdict = ROTA__VERDICT__INIT;
    verdict.has_approved = verdict.approved = true;
    for (int improves = 0; improves < 2; improves++)
        for (uint32_t quality = 590; quality <= 600; quality += 10) {
            self->policy.quality_min = 600;
            self->policy.quality_improves = improves;
            drive_renew (self);
            staff (self);
            ADD (self, .id = "a", .wants = ROTA_WANTS_REVIEW);
            step (self, PHASE (WORK));
            handed_to (self, "a", PHASE (REVIEW));
            review_says (self, &verdict, NULL, quality);
            bool back = improves && quality < 600;
            assert_int_equal (drive_get (self, "a").status,
                              back ? STATUS (NEEDS_IMPROVEMENT) : STATUS (DONE));
            bool said = false;
            for (size_t i = 0; i < self->event_count; i++)
                said |= strstr (self->reasons[i], "its quality is 0.59, 0.60 is wanted") != NULL;
            assert_int_equal (said, quality < 600);
        }
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        DRIVE_TEST (what_wants_everything_goes_through_gate_review_approval_and_merge),
        DRIVE_TEST (what_waits_for_it_starts_after_the_merge),
        DRIVE_TEST (a_failed_gate_costs_an_attempt_and_wants_a_fixup),
        DRIVE_TEST (a_lost_gate_or_merge_is_done_again_and_the_work_is_not),
        DRIVE_TEST (another_kind_judges_than_the_one_that_worked),
        DRIVE_TEST (the_same_kind_judges_only_where_no_other_can),
        DRIVE_TEST (nobody_judges_its_own_work_while_another_of_its_kind_is_there),
        DRIVE_TEST (a_busy_other_kind_is_waited_for),
        DRIVE_TEST (wanted_changes_go_back_to_work_and_in_the_end_to_a_person),
        DRIVE_TEST (a_review_without_a_verdict_approves_nothing),
        DRIVE_TEST (merges_come_one_by_one_in_the_order_of_approval),
        DRIVE_TEST (what_is_held_in_a_later_phase_goes_on_there),
        DRIVE_TEST (a_person_may_judge_before_an_agent_does),
        DRIVE_TEST (one_without_a_verdict_is_asked_for_it_once),
        DRIVE_TEST (one_that_cannot_go_on_is_not_waited_for),
        DRIVE_TEST (a_part_of_a_review_decides_nothing),
        DRIVE_TEST (work_that_is_worth_too_little_is_marked_or_goes_back),
        DRIVE_TEST (what_a_flaky_gate_and_one_without_a_command_mean_is_policy),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
