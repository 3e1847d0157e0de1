/* The coordinator's role in the scheduler's core: what goes to its holder alone, who may have it, and what
 * becomes of work and verdicts when it changes. */
#include "tests/unit/core_drive.h"

#include <errno.h>

static const char *const ABLE[] = {"run", "prompt", "review", NULL};
static const char *const JUDGE[] = {"review", NULL};

enum { REVIEWED = ROTA_WANTS_CLONE | ROTA_WANTS_REVIEW };

static int set_up (void **state)
{
    if (drive_set_up (state) < 0)
        return -1;
    drive_t *self = *state;
    self->policy.coordinate = true;
    self->policy.failback_ms = 60000;
    self->policy.review_patience_ms = 0;
    drive_renew (self);
    return 0;
}
#define ROLE_TEST(name) cmocka_unit_test_setup_teardown (name, set_up, drive_tear_down)

static rota_core_coordinator_t role_of (const drive_t *self)
{
    rota_core_coordinator_t role;
    rota_core_coordinator (self->core, &role);
    return role;
}

static int elect (drive_t *self, rota_agent_t agent)
{
    rota_error_t error = {""};
    int r = rota_core_coordinate (self->core, agent, role_of (self).epoch, false, "elected", self->now_ms,
                                  &error);
    drive_let_out (self);
    return r;
}

static const char *why_not (const drive_t *self, rota_agent_t agent)
{
    rota_core_candidate_t candidate;
    assert_true (rota_core_candidate (self->core, agent, &candidate));
    return candidate.why_not;
}

static rota_agent_t handed_to (drive_t *self, const char *name)
{
    drive_expect_handed_out (self, name);
    return self->assigns[0].agent;
}

static void complex_work_goes_to_the_holder_alone (void **state)
{
    drive_t *self = *state;
    rota_agent_t claude = drive_join_as (self, "claude@here", "claude", 1, ABLE);
    rota_agent_t codex = drive_join_as (self, "codex@here", "codex", 4, ABLE);
    elect (self, claude);
    ADD (self, .id = "a", .needs = "prompt", .complexity = 8);
    ADD (self, .id = "b", .needs = "prompt", .complexity = 9);
    ADD (self, .id = "c", .needs = "prompt", .complexity = 7);
    assert_int_equal (drive_dispatch (self), 2);
    EXPECT_STATUS (self, "a", IN_PROGRESS);
    EXPECT_STATUS (self, "c", IN_PROGRESS);
    EXPECT_PLACE (self, "b", READY);
    assert_int_equal (drive_get (self, "a").agent, claude);
    assert_int_equal (drive_get (self, "c").agent, codex);
    drive_report (self, "a", RESULT (OK));
    assert_int_equal (handed_to (self, "b"), claude);
}

/* Its own work is judged by another one of its kind, as that of its kind is by another kind. */
static void the_holder_does_not_judge_its_own_work (void **state)
{
    drive_t *self = *state;
    rota_agent_t one = drive_join_as (self, "claude@one", "claude", 2, ABLE);
    rota_agent_t two = drive_join_as (self, "claude@two", "claude", 2, ABLE);
    elect (self, one);
    ADD (self, .id = "a", .wants = ROTA_WANTS_REVIEW, .agent = "claude@one");
    drive_work (self, "a", RESULT (OK));
    assert_int_equal (handed_to (self, "a"), two);
    drive_judge (self, "a", true);
    ADD (self, .id = "b", .wants = ROTA_WANTS_REVIEW, .agent = "claude@two");
    drive_work (self, "b", RESULT (OK));
    assert_int_equal (handed_to (self, "b"), one);
}

/* Of its kind's work another kind is the judge; after as many rounds as are allowed the holder has the last
 * word. */
static void in_the_end_the_holder_judges_and_then_a_person (void **state)
{
    drive_t *self = *state;
    rota_agent_t claude = drive_join_as (self, "claude@one", "claude", 2, ABLE);
    rota_agent_t codex = drive_join_as (self, "codex@here", "codex", 2, ABLE);
    drive_join_as (self, "claude@two", "claude", 2, ABLE);
    elect (self, claude);
    static const struct {
        const char *name, *by;
        bool approved;
    } CASES[] = {{"a", "claude@two", true}, {"b", "claude@two", false}, {"c", "claude@one", false}};
    for (int i = 0; i < 3; i++) {
        const char *name = CASES[i].name;
        ADD (self, .id = name, .wants = ROTA_WANTS_REVIEW, .agent = CASES[i].by);
        for (int round = 0; round < 3; round++) {
            drive_work (self, name, RESULT (OK));
            assert_int_equal (handed_to (self, name), codex);
            drive_judge (self, name, false);
        }
        if (i == 2) { /* it can't judge its own work */
            EXPECT_STATUS (self, name, BLOCKED);
            continue;
        }
        EXPECT_STATUS (self, name, NEEDS_REVIEW);
        assert_int_equal (handed_to (self, name), claude);
        assert_int_equal (self->assigns[0].epoch, role_of (self).epoch);
        drive_judge (self, name, CASES[i].approved);
        if (CASES[i].approved)
            EXPECT_STATUS (self, name, DONE);
        else
            EXPECT_STATUS (self, name, BLOCKED);
    }
    /* What the holder judged itself is decided. */
    ADD (self, .id = "d", .wants = ROTA_WANTS_REVIEW, .agent = "codex");
    for (int round = 0; round < 3; round++) {
        drive_work (self, "d", RESULT (OK));
        assert_int_equal (handed_to (self, "d"), claude);
        drive_judge (self, "d", false);
    }
    EXPECT_STATUS (self, "d", BLOCKED);
    /* A holder that is gone when its turn has come is not waited for. */
    ADD (self, .id = "e", .wants = ROTA_WANTS_REVIEW, .agent = "claude@two");
    for (int round = 0; round < 3; round++) {
        drive_work (self, "e", RESULT (OK));
        assert_int_equal (handed_to (self, "e"), codex);
        drive_judge (self, "e", false);
    }
    rota_core_agent_drain (self->core, claude, true, self->now_ms);
    assert_int_equal (handed_to (self, "e"), codex);
    drive_judge (self, "e", false);
    EXPECT_STATUS (self, "e", BLOCKED);
}

static void the_holder_is_kept_free_while_others_have_room (void **state)
{
    drive_t *self = *state;
    rota_agent_t claude = drive_join_as (self, "claude@here", "claude", 2, ABLE);
    rota_agent_t codex = drive_join_as (self, "codex@here", "codex", 1, ABLE);
    elect (self, claude);
    ADD (self, .id = "a", .needs = "prompt", .complexity = 3);
    assert_int_equal (handed_to (self, "a"), codex);
    ADD (self, .id = "b", .needs = "prompt", .complexity = 3);
    assert_int_equal (handed_to (self, "b"), claude);
}

static void commands_and_named_agents_need_no_coordinator (void **state)
{
    drive_t *self = *state;
    drive_join_as (self, "claude@here", "claude", 1, ABLE);
    rota_agent_t codex = drive_join_as (self, "codex@here", "codex", 2, ABLE);
    ADD (self, .id = "a", .complexity = 10);
    ADD (self, .id = "b", .needs = "prompt", .complexity = 10, .agent = "codex");
    assert_int_equal (drive_dispatch (self), 2);
    assert_int_equal (drive_get (self, "b").agent, codex);
}

static void while_the_role_is_vacant_only_what_needs_it_waits (void **state)
{
    drive_t *self = *state;
    rota_agent_t claude = drive_join_as (self, "claude@here", "claude", 4, ABLE);
    ADD (self, .id = "a", .needs = "prompt", .complexity = 8);
    ADD (self, .id = "b", .needs = "prompt", .complexity = 2);
    drive_expect_handed_out (self, "b");
    EXPECT_PLACE (self, "a", READY);
    elect (self, claude);
    drive_expect_handed_out (self, "a");
}

static void reviews_are_the_holders_but_for_its_own_work (void **state)
{
    drive_t *self = *state;
    rota_agent_t claude = drive_join_as (self, "claude@here", "claude", 4, ABLE);
    rota_agent_t codex = drive_join_as (self, "codex@here", "codex", 4, ABLE);
    rota_agent_t gemini = drive_join_as (self, "gemini@here", "gemini", 4, ABLE);
    elect (self, claude);
    ADD (self, .id = "a", .needs = "prompt", .wants = REVIEWED, .agent = "codex");
    assert_int_equal (handed_to (self, "a"), codex);
    drive_report (self, "a", RESULT (OK));
    assert_int_equal (handed_to (self, "a"), claude);
    drive_judge (self, "a", true);
    ADD (self, .id = "b", .needs = "prompt", .wants = REVIEWED, .agent = "claude");
    assert_int_equal (handed_to (self, "b"), claude);
    drive_report (self, "b", RESULT (OK));
    rota_agent_t other = handed_to (self, "b");
    assert_true (other == codex || other == gemini);
}

static void where_nobody_can_coordinate_reviews_go_to_whoever_judges (void **state)
{
    drive_t *self = *state;
    drive_join (self, "exec@here", 1, NULL);
    rota_agent_t http = drive_join_as (self, "http@here", "http", 1, JUDGE);
    ADD (self, .id = "a", .wants = REVIEWED);
    drive_expect_handed_out (self, "a");
    drive_report (self, "a", RESULT (OK));
    assert_int_equal (handed_to (self, "a"), http);
}

static void each_change_has_an_epoch_of_its_own (void **state)
{
    drive_t *self = *state;
    rota_error_t error;
    rota_agent_t claude = drive_join_as (self, "claude@here", "claude", 1, ABLE);
    rota_agent_t codex = drive_join_as (self, "codex@here", "codex", 1, ABLE);
    assert_int_equal (elect (self, claude), 0);
    assert_int_equal (role_of (self).epoch, 1);
    assert_true (drive_was_event (self, EVENT (COORDINATOR_CHANGED), NULL));
    assert_int_equal (elect (self, claude), 1);
    assert_int_equal (role_of (self).epoch, 1);
    assert_int_equal (elect (self, codex), 0);
    assert_int_equal (role_of (self).epoch, 2);
    /* What another leader proposed, who knew an older state. */
    assert_int_equal (rota_core_coordinate (self->core, claude, 1, false, "late", self->now_ms, &error),
                      -ESTALE);
    assert_int_equal (role_of (self).agent, codex);
}

static void who_rests_drains_or_is_gone_can_not_have_it (void **state)
{
    drive_t *self = *state;
    rota_error_t error;
    rota_agent_t claude = drive_join_as (self, "claude@here", "claude", 1, ABLE);
    assert_null (why_not (self, claude));
    rota_core_agent_drain (self->core, claude, true, self->now_ms);
    assert_string_equal (why_not (self, claude), "is draining");
    assert_int_equal (rota_core_coordinate (self->core, claude, 0, true, "", self->now_ms, &error), -EPERM);
    rota_core_agent_drain (self->core, claude, false, self->now_ms);
    ADD (self, .id = "a", .needs = "prompt");
    drive_work (self, "a", RESULT (LIMITED));
    assert_string_equal (why_not (self, claude), "rests: its account is limited");
    rota_core_candidate_t candidate;
    assert_true (rota_core_candidate (self->core, claude, &candidate));
    assert_int_equal (candidate.until_ms, self->now_ms + self->policy.default_cooldown_ms);
    drive_wait (self, self->policy.default_cooldown_ms + self->policy.cooldown_margin_ms + 1);
    assert_null (why_not (self, claude));
    assert_true (rota_core_candidate (self->core, claude, &candidate));
    assert_int_equal (candidate.until_ms, 0);
    rota_core_agent_gone (self->core, claude, self->now_ms);
    drive_let_out (self);
    assert_string_equal (why_not (self, claude), "is not connected");
}

static void who_steps_down_is_no_candidate_for_a_while (void **state)
{
    drive_t *self = *state;
    rota_agent_t claude = drive_join_as (self, "claude@here", "claude", 1, ABLE);
    assert_int_equal (rota_core_step_down (self->core, self->now_ms), 1);
    elect (self, claude);
    assert_int_equal (rota_core_step_down (self->core, self->now_ms), 0);
    assert_string_equal (why_not (self, claude), "stepped down");
    drive_wait (self, self->policy.failback_ms);
    assert_null (why_not (self, claude));
}

/* Its verdict, which may still come, is of an attempt that no longer counts. */
static void reviews_of_a_holder_that_is_gone_are_handed_over_at_once (void **state)
{
    drive_t *self = *state;
    rota_agent_t claude = drive_join_as (self, "claude@here", "claude", 4, ABLE);
    rota_agent_t gemini = drive_join_as (self, "gemini@here", "gemini", 4, ABLE);
    drive_join_as (self, "codex@here", "codex", 4, ABLE);
    elect (self, claude);
    ADD (self, .id = "a", .needs = "prompt", .wants = REVIEWED, .agent = "codex", .attempts = 1);
    drive_expect_handed_out (self, "a");
    drive_report (self, "a", RESULT (OK));
    assert_int_equal (handed_to (self, "a"), claude);
    uint32_t first = drive_get (self, "a").attempt;
    rota_core_agent_gone (self->core, claude, self->now_ms);
    elect (self, gemini);
    assert_int_equal (handed_to (self, "a"), gemini);
    assert_int_equal (drive_report_of (self, "a", first, RESULT (OK)), -ESTALE);
    EXPECT_STATUS (self, "a", IN_REVIEW);
    drive_judge (self, "a", true);
    EXPECT_STATUS (self, "a", DONE);
    assert_int_equal (drive_get (self, "a").attempts_used, 0);
}

/* A verdict that the host hands back with that epoch (0: it says none). */
static int judge_under (drive_t *self, const char *name, uint32_t attempt, uint64_t epoch)
{
    Rota__Result result = ROTA__RESULT__INIT;
    Rota__Verdict verdict = ROTA__VERDICT__INIT;
    result.has_result_class = verdict.has_approved = verdict.approved = true;
    result.result_class = RESULT (OK);
    result.verdict = &verdict;
    int r =
        rota_core_report_under (self->core, drive_find (self, name), attempt, epoch, &result, self->now_ms);
    drive_let_out (self);
    return r;
}

static void what_the_coordinator_gets_carries_its_epoch (void **state)
{
    drive_t *self = *state;
    rota_agent_t claude = drive_join_as (self, "claude@here", "claude", 4, ABLE);
    rota_agent_t codex = drive_join_as (self, "codex@here", "codex", 2, ABLE);
    elect (self, codex);
    elect (self, claude);
    ADD (self, .id = "a", .needs = "prompt", .wants = REVIEWED, .agent = "codex");
    ADD (self, .id = "b", .needs = "prompt", .complexity = 9, .wants = REVIEWED);
    ADD (self, .id = "c", .needs = "prompt", .complexity = 2);
    assert_int_equal (drive_dispatch (self), 3);
    assert_int_equal (drive_get (self, "a").epoch, 0);
    assert_int_equal (drive_get (self, "b").epoch, 2);
    assert_int_equal (drive_get (self, "c").epoch, 0);
    drive_report (self, "a", RESULT (OK));
    assert_int_equal (handed_to (self, "a"), claude);
    assert_int_equal (self->assigns[0].epoch, 2);
    drive_report (self, "b", RESULT (OK)); /* its own is judged by another, who isn't the coordinator */
    assert_int_equal (handed_to (self, "b"), codex);
    assert_int_equal (self->assigns[0].epoch, 0);
    elect (self, codex);
    assert_int_equal (drive_judge (self, "b", true), 0);
    EXPECT_STATUS (self, "b", DONE);
}

/* "a" is under review by claude, epoch 1, and gemini has the role since, epoch 2. */
static rota_agent_t depose (drive_t *self, rota_agent_t *ret_deposed)
{
    *ret_deposed = drive_join_as (self, "claude@here", "claude", 4, ABLE);
    rota_agent_t gemini = drive_join_as (self, "gemini@here", "gemini", 4, ABLE);
    drive_join_as (self, "codex@here", "codex", 4, ABLE);
    elect (self, *ret_deposed);
    ADD (self, .id = "a", .needs = "prompt", .wants = REVIEWED, .agent = "codex", .attempts = 1);
    ADD (self, .id = "b", .needs = "prompt", .complexity = 9);
    assert_int_equal (drive_dispatch (self), 2);
    drive_report (self, "a", RESULT (OK));
    assert_int_equal (handed_to (self, "a"), *ret_deposed);
    elect (self, gemini);
    assert_int_equal (drive_dispatch (self), 0);
    return gemini;
}

static void the_work_of_a_deposed_holder_counts_and_its_late_verdict_does_not (void **state)
{
    drive_t *self = *state;
    rota_agent_t claude, gemini = depose (self, &claude);
    assert_int_equal (judge_under (self, "a", drive_get (self, "a").attempt, 1), -ESTALE);
    assert_true (drive_was_event (self, EVENT (ATTEMPT_STALE), "a"));
    EXPECT_STATUS (self, "a", NEEDS_REVIEW);
    drive_report (self, "b", RESULT (OK));
    EXPECT_STATUS (self, "b", DONE);
    assert_int_equal (handed_to (self, "a"), gemini);
    assert_int_equal (self->assigns[0].epoch, 2);
    assert_int_equal (judge_under (self, "a", drive_get (self, "a").attempt, 2), 0);
    EXPECT_STATUS (self, "a", DONE);
    assert_int_equal (drive_get (self, "a").attempts_used, 0);
}

static void the_role_coming_back_makes_no_old_verdict_good (void **state)
{
    drive_t *self = *state;
    rota_agent_t claude;
    depose (self, &claude);
    elect (self, claude);
    assert_int_equal (judge_under (self, "a", drive_get (self, "a").attempt, 0), -ESTALE);
    EXPECT_STATUS (self, "a", NEEDS_REVIEW);
    assert_int_equal (handed_to (self, "a"), claude);
    /* A host that mixes them up. */
    assert_int_equal (judge_under (self, "a", drive_get (self, "a").attempt, 1), -ESTALE);
    assert_int_equal (handed_to (self, "a"), claude);
    assert_int_equal (judge_under (self, "a", drive_get (self, "a").attempt, 3), 0);
    EXPECT_STATUS (self, "a", DONE);
}

static void a_deposed_holder_is_told_to_end_its_reviews (void **state)
{
    drive_t *self = *state;
    rota_agent_t claude;
    depose (self, &claude);
    rota_node_t a = drive_find (self, "a");
    assert_true (rota_core_is_stopping (self->core, a));
    assert_false (rota_core_is_stopping (self->core, drive_find (self, "b")));
    /* While its processes may live nobody else begins. */
    assert_int_equal (drive_dispatch (self), 0);
    assert_int_equal (drive_report (self, "a", RESULT (KILLED)), 0);
    drive_expect_handed_out (self, "a");
    assert_int_equal (drive_get (self, "a").stumbles, 0);
}

static void what_ended_a_deposed_review_is_known_of_its_account (void **state)
{
    drive_t *self = *state;
    rota_agent_t claude;
    depose (self, &claude);
    drive_report (self, "a", RESULT (LIMITED));
    assert_string_equal (why_not (self, claude), "rests: its account is limited");
    drive_expect_handed_out (self, "a");
}

static void a_deposed_one_that_goes_loses_its_reviews_then (void **state)
{
    drive_t *self = *state;
    rota_agent_t claude, gemini = depose (self, &claude);
    uint32_t attempt = drive_get (self, "a").attempt;
    rota_core_agent_gone (self->core, claude, self->now_ms);
    drive_let_out (self);
    EXPECT_STATUS (self, "a", NEEDS_REVIEW);
    /* Before the next one has it, the verdict is of the newest attempt, and still refused. */
    assert_int_equal (judge_under (self, "a", attempt, 1), -ESTALE);
    assert_int_equal (handed_to (self, "a"), gemini);
}

/* A restart knows under which epoch what runs was given out. */
static void a_restart_forgets_no_epoch (void **state)
{
    drive_t *self = *state;
    rota_agent_t codex, claude;
    for (int late = 0; late < 2; late++) {
        drive_renew (self);
        assert_int_equal (
            rota_core_agent_load (self->core, "codex@here", "codex", "here", (uint8_t[16]){1}, &codex), 0);
        assert_int_equal (
            rota_core_agent_load (self->core, "claude@here", "claude", "here", (uint8_t[16]){2}, &claude), 0);
        uint32_t class_index;
        bool is_new;
        assert_int_equal (rota_core_class (self->core, 0, "", 0, JUDGE, 1, &class_index, &is_new), 0);
        rota_node_t node;
        assert_int_equal (rota_core_add (self->core,
                                         &(rota_core_node_t){.id = "a",
                                                             .id_length = 1,
                                                             .kind = NODE (TASK),
                                                             .parent = ROTA_NONE,
                                                             .class_index = class_index,
                                                             .status = STATUS (IN_REVIEW),
                                                             .phase = PHASE (REVIEW),
                                                             .wants = REVIEWED,
                                                             .attempts_allowed = 3,
                                                             .attempt = 2,
                                                             .leased = true,
                                                             .author = codex},
                                         &node),
                          0);
        rota_core_open (self->core, node, node + 1, true, self->now_ms);
        const rota_core_coordinator_t role = {.epoch = late ? 5 : 4, .reason = ""};
        rota_core_load_lease (self->core, node, claude, self->now_ms, 4);
        rota_core_coordinator_load (self->core, late ? "codex@here" : "claude@here", &role);
        drive_let_out (self);
        assert_int_equal (drive_get (self, "a").epoch, 4);
        assert_int_equal (rota_core_is_stopping (self->core, node), late);
        assert_int_equal (judge_under (self, "a", 2, 0), late ? -ESTALE : 0);
    }
}

/* After a start its capabilities are not known before it registers. */
static void a_holder_that_has_not_come_back_yet_is_waited_for (void **state)
{
    drive_t *self = *state;
    rota_agent_t claude;
    drive_renew (self);
    assert_int_equal (
        rota_core_agent_load (self->core, "claude@here", "claude", "here", (uint8_t[16]){1}, &claude), 0);
    rota_core_coordinator_load (self->core, "claude@here",
                                &(rota_core_coordinator_t){.epoch = 1, .reason = ""});
    drive_join_as (self, "codex@here", "codex", 4, ABLE);
    ADD (self, .id = "a", .needs = "prompt", .complexity = 9);
    assert_int_equal (drive_dispatch (self), 0);
    drive_join_as (self, "claude@here", "claude", 4, ABLE);
    assert_int_equal (handed_to (self, "a"), claude);
}

/* "a" fails so often, each time of the same; who had it last. */
static rota_agent_t fail_alike (drive_t *self, int times)
{
    rota_agent_t last = ROTA_NONE;
    for (int i = 0; i < times; i++) {
        last = handed_to (self, "a");
        drive_report (self, "a", RESULT (FAILED));
        drive_wait (self, 60000);
    }
    return last;
}

/* The default rule prefers another kind from the second same error on; without the escalation the fourth
 * attempt would so be codex's again, as the third was the holder's. */
static void the_third_same_error_goes_to_the_holder (void **state)
{
    drive_t *self = *state;
    for (uint32_t after = 3;; after = 0) {
        self->policy.coordinator_after = after;
        drive_renew (self);
        rota_agent_t claude = drive_join_as (self, "claude@here", "claude", 4, ABLE);
        rota_agent_t codex = drive_join_as (self, "codex@here", "codex", 4, ABLE);
        elect (self, claude);
        ADD (self, .id = "a", .needs = "prompt", .attempts = 9);
        assert_int_equal (fail_alike (self, 2), codex);
        assert_int_equal (fail_alike (self, 1), claude);
        assert_int_equal (rota_core_same_errors (self->core, drive_find (self, "a")), 3);
        assert_int_equal (handed_to (self, "a"), after ? claude : codex);
        assert_int_equal (self->assigns[0].epoch, after ? 1 : 0);
        if (!after)
            break;
    }
}

/* Nobody who may hold the role is left, but somebody who could do the work. */
static void what_waits_for_a_holder_that_is_gone_goes_on_without (void **state)
{
    drive_t *self = *state;
    static const char *const PLAIN[] = {"run", "prompt", NULL};
    rota_agent_t claude = drive_join_as (self, "claude@here", "claude", 4, ABLE), plain;
    rota_core_agent_t given = {.name = "plain@here",
                               .kind = "plain",
                               .host = "here",
                               .slots = 1,
                               .capabilities = PLAIN,
                               .capability_count = 2,
                               .instance = {9}};
    elect (self, claude);
    ADD (self, .id = "a", .needs = "prompt", .attempts = 9);
    fail_alike (self, 3);
    rota_core_agent_gone (self->core, claude, self->now_ms);
    assert_int_equal (rota_core_agent_register (self->core, &given, NULL, 0, self->now_ms, &plain), 0);
    drive_let_out (self);
    assert_int_equal (drive_dispatch (self), 0); /* it is about to come back, or to be replaced */
    elect (self, ROTA_NONE);
    assert_int_equal (handed_to (self, "a"), plain);
    drive_report (self, "a", RESULT (LOST));
    drive_wait (self, 60000);
    drive_join_as (self, "claude@here", "claude", 4, ABLE);
    elect (self, claude);
    assert_int_equal (handed_to (self, "a"), claude);
    assert_int_equal (self->assigns[0].epoch, 3);
}

static void what_is_loaded_is_as_it_was (void **state)
{
    drive_t *self = *state;
    rota_agent_t agent;
    drive_renew (self);
    assert_int_equal (
        rota_core_agent_load (self->core, "claude@here", "claude", "here", (uint8_t[16]){1}, &agent), 0);
    rota_core_coordinator_load (
        self->core, "claude@here",
        &(rota_core_coordinator_t){.epoch = 7, .since_ms = 5, .by_hand = true, .reason = "so"});
    assert_int_equal (role_of (self).agent, agent);
    assert_int_equal (role_of (self).epoch, 7);
    assert_true (role_of (self).by_hand);
    assert_string_equal (role_of (self).reason, "so");
    rota_core_coordinator_load (self->core, "nobody", &(rota_core_coordinator_t){.epoch = 8, .reason = ""});
    assert_int_equal (role_of (self).agent, ROTA_NONE);
    assert_int_equal (role_of (self).epoch, 8);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        ROLE_TEST (complex_work_goes_to_the_holder_alone),
        ROLE_TEST (the_holder_does_not_judge_its_own_work),
        ROLE_TEST (in_the_end_the_holder_judges_and_then_a_person),
        ROLE_TEST (the_holder_is_kept_free_while_others_have_room),
        ROLE_TEST (commands_and_named_agents_need_no_coordinator),
        ROLE_TEST (while_the_role_is_vacant_only_what_needs_it_waits),
        ROLE_TEST (reviews_are_the_holders_but_for_its_own_work),
        ROLE_TEST (where_nobody_can_coordinate_reviews_go_to_whoever_judges),
        ROLE_TEST (each_change_has_an_epoch_of_its_own),
        ROLE_TEST (who_rests_drains_or_is_gone_can_not_have_it),
        ROLE_TEST (who_steps_down_is_no_candidate_for_a_while),
        ROLE_TEST (reviews_of_a_holder_that_is_gone_are_handed_over_at_once),
        ROLE_TEST (what_the_coordinator_gets_carries_its_epoch),
        ROLE_TEST (the_work_of_a_deposed_holder_counts_and_its_late_verdict_does_not),
        ROLE_TEST (the_role_coming_back_makes_no_old_verdict_good),
        ROLE_TEST (a_deposed_holder_is_told_to_end_its_reviews),
        ROLE_TEST (what_ended_a_deposed_review_is_known_of_its_account),
        ROLE_TEST (a_deposed_one_that_goes_loses_its_reviews_then),
        ROLE_TEST (a_restart_forgets_no_epoch),
        ROLE_TEST (a_holder_that_has_not_come_back_yet_is_waited_for),
        ROLE_TEST (the_third_same_error_goes_to_the_holder),
        ROLE_TEST (what_waits_for_a_holder_that_is_gone_goes_on_without),
        ROLE_TEST (what_is_loaded_is_as_it_was),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
