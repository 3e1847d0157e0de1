/* The formula of quality.h, by a table. */
#include "scheduler/quality.h"

#include "proto/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *what;
    rota_quality_evidence_t evidence;
    int32_t permille;
} CASES[] = {
    {"nothing is known", {0}, ROTA_QUALITY_NO_DATA},
    {"nothing is known, however often it was sent back", {.rounds = 3}, ROTA_QUALITY_NO_DATA},
    {"all gates passed", {.passed = 3}, 1000},
    {"one of four failed", {.passed = 3, .failed = 1}, 750},
    {"all failed", {.failed = 2}, 0},
    {"a flaky one is half", {.passed = 1, .flaky = 1}, 750},
    {"approved without a score", {.reviewed = true, .approved = true, .review_permille = -1}, 800},
    {"changes without a score", {.reviewed = true, .review_permille = -1}, 300},
    {"approved with a score", {.reviewed = true, .approved = true, .review_permille = 930}, 930},
    {"changes are never more than half", {.reviewed = true, .review_permille = 930}, 500},
    {"comments count by their weight",
     {.reviewed = true, .approved = true, .review_permille = 900, .majors = 2, .minors = 5},
     600},
    {"and never below nothing", {.reviewed = true, .review_permille = 400, .blockers = 2}, 0},
    {"gates and review weigh alike",
     {.passed = 1, .failed = 1, .reviewed = true, .approved = true, .review_permille = 900},
     700},
    {"each earlier round takes a tenth", {.passed = 1, .rounds = 2}, 800},
    {"at most half", {.passed = 1, .rounds = 50}, 500},
};

static void the_formula (void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        if (rota_quality_permille (&CASES[i].evidence) != CASES[i].permille)
            fail_msg ("%s: %d instead of %d", CASES[i].what, rota_quality_permille (&CASES[i].evidence),
                      CASES[i].permille);
}

static void evidence_comes_from_results (void **state)
{
    static const Rota__GateState STATES[] = {
        ROTA__GATE_STATE__GATE_STATE_PASSED, ROTA__GATE_STATE__GATE_STATE_FAILED,
        ROTA__GATE_STATE__GATE_STATE_TIMED_OUT, ROTA__GATE_STATE__GATE_STATE_FLAKY,
        ROTA__GATE_STATE__GATE_STATE_NOT_CHECKABLE};
    Rota__GateResult gates[5], *list[5];
    Rota__Result of_gates = ROTA__RESULT__INIT, of_review = ROTA__RESULT__INIT;
    Rota__Verdict verdict = ROTA__VERDICT__INIT;
    Rota__ReviewScore scores[2] = {ROTA__REVIEW_SCORE__INIT, ROTA__REVIEW_SCORE__INIT},
                      *score_list[] = {&scores[0], &scores[1]};
    Rota__ReviewComment comment = ROTA__REVIEW_COMMENT__INIT, *comments[] = {&comment};
    rota_quality_evidence_t evidence = {0};
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        rota__gate_result__init (list[i] = &gates[i]);
        gates[i].state = STATES[i];
    }
    of_gates.n_gates = 5;
    of_gates.gates = list;
    rota_quality_add (&evidence, &of_gates);
    assert_int_equal (evidence.passed, 1);
    assert_int_equal (evidence.failed, 2);
    assert_int_equal (evidence.flaky, 1);
    of_review.verdict = &verdict;
    rota_quality_add (&evidence, &of_review);
    assert_false (evidence.reviewed); /* no verdict was given */
    verdict.has_approved = verdict.approved = true;
    verdict.has_score = true;
    verdict.score = 70;
    comment.severity = rota_bytes ("major");
    verdict.n_comments = 1;
    verdict.comments = comments;
    rota_quality_add (&evidence, &of_review);
    assert_int_equal (evidence.review_permille, 700);
    assert_int_equal (evidence.majors, 1);
    scores[0].value = 10;
    scores[1].value = 7;
    verdict.n_scores = 2;
    verdict.scores = score_list;
    rota_quality_add (&evidence, &of_review);
    assert_int_equal (evidence.review_permille, 850); /* scores come before the score */
    assert_int_equal (evidence.majors, 1);
}

static void the_average_forgets (void **state)
{
    int64_t average = 0;
    (void)state;
    average = rota_quality_average (average, 0, 400);
    assert_int_equal (average, 400000);
    average = rota_quality_average (average, 1, 800);
    assert_int_equal (average, 600000); /* the first count alike */
    average = rota_quality_average (600000, 100, 1000);
    assert_int_equal (average, 650000); /* later the newest is an eighth */
    for (uint64_t i = 0; i < 100; i++)
        average = rota_quality_average (average, 100 + i, 1000);
    assert_true (average > 999000 && average <= 1000000);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (the_formula),
        cmocka_unit_test (evidence_comes_from_results),
        cmocka_unit_test (the_average_forgets),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
