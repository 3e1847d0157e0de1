/* Whom the leading broker proposes as the coordinator, and when. */
#include "broker/candidates.h"
#include "proto/envelope.h"
#include "proto/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define FAILBACK_MS 60000

typedef struct {
    const char *name, *why_not;
    uint32_t rank, busy;
} who_t;

static int say (rota_candidates_t *self, const char *holder, bool by_hand, int64_t now_ms, const who_t *who)
{
    Rota__Candidate items[8], *list[8];
    Rota__Candidates said = ROTA__CANDIDATES__INIT;
    for (; who->name; who++) {
        Rota__Candidate *it = &items[said.n_candidates];
        rota__candidate__init (it);
        it->has_name = true;
        it->name = rota_bytes (who->name);
        it->has_why_not = who->why_not != NULL;
        it->why_not = rota_bytes (who->why_not ? who->why_not : "");
        it->rank = who->rank;
        it->busy = who->busy;
        it->slots = 4;
        list[said.n_candidates++] = it;
    }
    said.candidates = list;
    said.has_holder = holder != NULL;
    said.holder = rota_bytes (holder ? holder : "");
    said.by_hand = by_hand;
    said.failback_ms = FAILBACK_MS;
    said.epoch = 4;
    return rota_candidates_take (self, &said, now_ms);
}
#define SAY(self, holder, now_ms, ...)                                                                       \
    assert_int_equal (say (self, holder, false, now_ms, (const who_t[]){__VA_ARGS__, {0}}), 0)

/* "" = nothing, "-" = nobody. */
static void expect (const rota_candidates_t *self, int64_t now_ms, const char *name)
{
    rota_proposal_t proposal;
    rota_candidates_choose (self, now_ms, &proposal);
    assert_string_equal (!proposal.due ? "" : proposal.agent ? proposal.agent->name : "-", name);
}

static void before_anything_is_said_nobody_is_proposed (void **state)
{
    (void)state;
    rota_candidates_t self = {0};
    expect (&self, 1000, "");
}

static void the_preferred_one_is_first_then_the_less_busy_then_the_name (void **state)
{
    (void)state;
    rota_candidates_t self = {0};
    SAY (&self, NULL, 0, {"codex", NULL, 1, 0}, {"claude", NULL, 0, 3});
    expect (&self, 0, "claude");
    SAY (&self, NULL, 0, {"b", NULL, 0, 2}, {"a", NULL, 0, 3});
    expect (&self, 0, "b");
    SAY (&self, NULL, 0, {"b", NULL, 0, 3}, {"a", NULL, 0, 3});
    expect (&self, 0, "a");
    rota_candidates_clear (&self);
}

static void when_the_holder_is_unfit_another_is_proposed_at_once (void **state)
{
    (void)state;
    rota_candidates_t self = {0};
    SAY (&self, "claude", 0, {"claude", NULL, 0, 0}, {"codex", NULL, 1, 0});
    expect (&self, 0, "");
    SAY (&self, "claude", 10, {"claude", "rests", 0, 0}, {"codex", NULL, 1, 0});
    expect (&self, 10, "codex");
    rota_proposal_t proposal;
    rota_candidates_choose (&self, 10, &proposal);
    assert_string_equal (proposal.reason, "claude rests");
    SAY (&self, "gone", 10, {"codex", NULL, 1, 0});
    expect (&self, 10, "codex");
    rota_candidates_clear (&self);
}

static void when_nobody_is_fit_the_role_is_vacant_and_that_is_said_once (void **state)
{
    (void)state;
    rota_candidates_t self = {0};
    SAY (&self, "claude", 0, {"claude", "rests", 0, 0}, {"codex", "is draining", 1, 0});
    expect (&self, 0, "-");
    SAY (&self, NULL, 5, {"claude", "rests", 0, 0}, {"codex", "is draining", 1, 0});
    expect (&self, 5, "");
    SAY (&self, NULL, 9, {"claude", "rests", 0, 0}, {"codex", NULL, 1, 0});
    expect (&self, 9, "codex");
    rota_candidates_clear (&self);
}

static void a_preferred_one_comes_back_after_it_was_fit_without_a_break (void **state)
{
    (void)state;
    rota_candidates_t self = {0};
    rota_proposal_t proposal;
    SAY (&self, "codex", 0, {"claude", "rests", 0, 0}, {"codex", NULL, 1, 0});
    SAY (&self, "codex", 1000, {"claude", NULL, 0, 0}, {"codex", NULL, 1, 0});
    rota_candidates_choose (&self, 2000, &proposal);
    assert_false (proposal.due);
    assert_int_equal (proposal.again_ms, 1000 + FAILBACK_MS);
    expect (&self, 1000 + FAILBACK_MS - 1, "");
    /* A short rest begins the time anew. */
    SAY (&self, "codex", 50000, {"claude", "rests", 0, 0}, {"codex", NULL, 1, 0});
    SAY (&self, "codex", 51000, {"claude", NULL, 0, 0}, {"codex", NULL, 1, 0});
    expect (&self, 1000 + FAILBACK_MS, "");
    /* And being told again does not. */
    SAY (&self, "codex", 52000, {"claude", NULL, 0, 2}, {"codex", NULL, 1, 0});
    expect (&self, 51000 + FAILBACK_MS, "claude");
    rota_candidates_clear (&self);
}

static void who_is_not_preferred_never_takes_it_from_one_that_is_fit (void **state)
{
    (void)state;
    rota_candidates_t self = {0};
    SAY (&self, "b", 0, {"a", NULL, 1, 0}, {"b", NULL, 1, 4}, {"c", NULL, 2, 0});
    expect (&self, 10 * FAILBACK_MS, "");
    rota_candidates_clear (&self);
}

static void given_by_hand_it_stays_until_it_is_unfit (void **state)
{
    (void)state;
    rota_candidates_t self = {0};
    const who_t fit[] = {{"claude", NULL, 0, 0}, {"codex", NULL, 1, 0}, {0}};
    const who_t unfit[] = {{"claude", NULL, 0, 0}, {"codex", "is draining", 1, 0}, {0}};
    assert_int_equal (say (&self, "codex", true, 0, fit), 0);
    expect (&self, 10 * FAILBACK_MS, "");
    assert_int_equal (say (&self, "codex", true, 0, unfit), 0);
    expect (&self, 1, "claude");
    rota_candidates_clear (&self);
}

static void what_is_no_text_changes_nothing (void **state)
{
    (void)state;
    rota_candidates_t self = {0};
    SAY (&self, NULL, 0, {"claude", NULL, 0, 0});
    assert_int_not_equal (say (&self, NULL, false, 0, (const who_t[]){{"a\xff", NULL, 0, 0}, {0}}), 0);
    expect (&self, 0, "claude");
    rota_candidates_clear (&self);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (before_anything_is_said_nobody_is_proposed),
        cmocka_unit_test (the_preferred_one_is_first_then_the_less_busy_then_the_name),
        cmocka_unit_test (when_the_holder_is_unfit_another_is_proposed_at_once),
        cmocka_unit_test (when_nobody_is_fit_the_role_is_vacant_and_that_is_said_once),
        cmocka_unit_test (a_preferred_one_comes_back_after_it_was_fit_without_a_break),
        cmocka_unit_test (who_is_not_preferred_never_takes_it_from_one_that_is_fit),
        cmocka_unit_test (given_by_hand_it_stays_until_it_is_unfit),
        cmocka_unit_test (what_is_no_text_changes_nothing),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
