/* What the broker promises about turns, quotas and rubbish, a sentence a test. */
#include "broker/culprits.h"
#include "broker/quota.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

static const rota_quota_limits_t LIMITS = {
    .messages = {1000, 1000},
    .bytes = {100000, 100000},
    .waiting_messages = 3,
    .waiting_bytes = 3000,
    .total_waiting_bytes = 5000,
    .in_flight = 4,
    .in_flight_bytes = 4000,
    .in_flight_age_ms = 1000,
    .retry_after_ms = 50,
};

typedef struct {
    rota_quota_t *quota;
    rota_quota_client_t a, b, c;
} fixture_t;

static rota_admission_t offer (fixture_t *f, rota_quota_client_t *client, int64_t size_bytes)
{
    static int item;
    uint32_t retry_after_ms = 0;
    rota_admission_t admission = rota_quota_admit (f->quota, client, size_bytes, 1, &retry_after_ms);
    if (admission == ROTA_ADMIT_NOW)
        rota_quota_sent (f->quota, client, size_bytes);
    else if (admission == ROTA_ADMIT_WAIT)
        assert_int_equal (rota_quota_wait (f->quota, client, &item, size_bytes), 0);
    else
        assert_true (retry_after_ms >= LIMITS.retry_after_ms);
    return admission;
}

/* The client whose turn it is, which is sent; NULL when nobody's. */
static rota_quota_client_t *next (fixture_t *f)
{
    rota_quota_client_t *client = NULL;
    int64_t size_bytes;
    if (!rota_quota_next (f->quota, &client, &size_bytes))
        return NULL;
    rota_quota_sent (f->quota, client, size_bytes);
    return client;
}

/* ---- bucket */

static void a_bucket_gives_its_burst_and_then_its_rate (void **state)
{
    (void)state;
    static const rota_bucket_limit_t limit = {.per_s = 100, .burst = 10};
    rota_bucket_t bucket = {0};
    for (int i = 0; i < 10; i++)
        assert_int_equal (rota_bucket_take (&bucket, &limit, 1, 5000), 0);
    assert_int_equal (rota_bucket_take (&bucket, &limit, 1, 5000), 10);
    assert_int_equal (rota_bucket_take (&bucket, &limit, 1, 5009), 1);
    assert_int_equal (rota_bucket_take (&bucket, &limit, 1, 5010), 0);
    assert_true (rota_bucket_take (&bucket, &limit, 1, 5010) > 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal (rota_bucket_take (&bucket, &limit, 1, 900000), 0);
    assert_true (rota_bucket_take (&bucket, &limit, 1, 900000) > 0);
}

static void a_slow_bucket_fills_also_when_asked_each_millisecond (void **state)
{
    (void)state;
    static const rota_bucket_limit_t limit = {.per_s = 3, .burst = 1};
    rota_bucket_t bucket = {0};
    int given = 0;
    for (int64_t now_ms = 1; now_ms <= 2001; now_ms++)
        given += rota_bucket_take (&bucket, &limit, 1, now_ms) == 0;
    assert_in_range (given, 6, 7);
}

/* ---- turns */

static void requests_go_at_once_until_the_scheduler_has_enough_in_hand (void **state)
{
    fixture_t *f = *state;
    for (int i = 0; i < 4; i++)
        assert_int_equal (offer (f, &f->a, 10), ROTA_ADMIT_NOW);
    assert_int_equal (offer (f, &f->a, 10), ROTA_ADMIT_WAIT);
    assert_int_equal (offer (f, &f->b, 10), ROTA_ADMIT_WAIT);
    assert_null (next (f));
    rota_quota_answered (f->quota, &f->a);
    assert_ptr_equal (next (f), &f->a);
    assert_null (next (f));
    rota_quota_answered (f->quota, &f->a);
    assert_ptr_equal (next (f), &f->b);
}

static void a_flood_waits_behind_itself (void **state)
{
    fixture_t *f = *state;
    for (int i = 0; i < 4 + 3; i++)
        offer (f, &f->a, 10);
    assert_int_equal (offer (f, &f->a, 10), ROTA_ADMIT_LATER);
    assert_int_equal (offer (f, &f->b, 10), ROTA_ADMIT_WAIT);
    assert_int_equal (offer (f, &f->c, 10), ROTA_ADMIT_WAIT);
    rota_quota_client_t *turns[5];
    for (int i = 0; i < 5; i++) {
        rota_quota_answered (f->quota, &f->a);
        if (f->a.in_flight[0] == 0)
            rota_quota_answered (f->quota, &f->b);
        turns[i] = next (f);
    }
    assert_ptr_equal (turns[0], &f->a);
    assert_ptr_equal (turns[1], &f->b);
    assert_ptr_equal (turns[2], &f->c);
    assert_ptr_equal (turns[3], &f->a);
    assert_ptr_equal (turns[4], &f->a);
}

static void bytes_are_bounded_like_messages (void **state)
{
    fixture_t *f = *state;
    assert_int_equal (offer (f, &f->a, 3000), ROTA_ADMIT_NOW);
    assert_int_equal (offer (f, &f->a, 2000), ROTA_ADMIT_WAIT);
    assert_int_equal (offer (f, &f->a, 2000), ROTA_ADMIT_LATER);
    assert_int_equal (offer (f, &f->b, 2500), ROTA_ADMIT_WAIT);
    assert_int_equal (offer (f, &f->c, 1000), ROTA_ADMIT_LATER);
    assert_int_equal (rota_quota_waiting_bytes (f->quota), 4500);
}

static void one_request_over_the_limit_of_bytes_passes_alone (void **state)
{
    fixture_t *f = *state;
    assert_int_equal (offer (f, &f->a, 90000), ROTA_ADMIT_NOW);
    assert_int_equal (offer (f, &f->b, 10), ROTA_ADMIT_WAIT);
    rota_quota_answered (f->quota, &f->a);
    assert_ptr_equal (next (f), &f->b);
}

static void a_client_over_its_rate_is_sent_back (void **state)
{
    fixture_t *f = *state;
    for (int i = 0; i < 1000; i++) {
        offer (f, &f->a, 1);
        rota_quota_answered (f->quota, &f->a);
    }
    assert_int_equal (offer (f, &f->a, 1), ROTA_ADMIT_LATER);
    assert_int_equal (offer (f, &f->b, 1), ROTA_ADMIT_NOW);
    assert_int_equal (offer (f, &f->b, 100000), ROTA_ADMIT_LATER);
}

static void lost_answers_are_forgotten_after_two_ages (void **state)
{
    fixture_t *f = *state;
    for (int i = 0; i < 5; i++)
        offer (f, &f->a, 700);
    assert_true (rota_quota_age_due (f->quota, 1000));
    assert_false (rota_quota_age_due (f->quota, 1999));
    rota_quota_age (f->quota, &f->a);
    assert_int_equal (rota_quota_in_flight (f->quota), 4);
    rota_quota_answered (f->quota, &f->a);
    assert_ptr_equal (next (f), &f->a);
    rota_quota_age (f->quota, &f->a);
    assert_int_equal (rota_quota_in_flight (f->quota), 1);
    rota_quota_answered (f->quota, &f->a);
    assert_int_equal (rota_quota_in_flight (f->quota), 0);
    assert_int_equal (f->a.in_flight_bytes, 0);
}

static void answers_nobody_counted_on_change_nothing (void **state)
{
    fixture_t *f = *state;
    offer (f, &f->a, 10);
    rota_quota_answered (f->quota, &f->b);
    assert_int_equal (rota_quota_in_flight (f->quota), 1);
    rota_quota_reset_in_flight (f->quota, &f->a);
    rota_quota_answered (f->quota, &f->a);
    assert_int_equal (rota_quota_in_flight (f->quota), 0);
}

static int dropped;

static void count_dropped (void *item)
{
    (void)item;
    dropped++;
}

static void who_leaves_frees_its_places (void **state)
{
    fixture_t *f = *state;
    dropped = 0;
    for (int i = 0; i < 6; i++)
        offer (f, &f->a, 10);
    offer (f, &f->b, 10);
    rota_quota_forget (f->quota, &f->a, count_dropped);
    assert_int_equal (dropped, 2);
    assert_int_equal (rota_quota_in_flight (f->quota), 0);
    assert_ptr_equal (next (f), &f->b);
    assert_int_equal (rota_quota_waiting_bytes (f->quota), 0);
}

/* ---- rubbish */

static void the_first_faults_are_answered_and_then_the_connection_is_mute_for_a_while (void **state)
{
    (void)state;
    rota_culprits_t *book = rota_culprits_new (8);
    assert_int_equal (rota_culprits_fault (book, 1, 1000), ROTA_CULPRIT_ANSWER_AND_LOG);
    for (int i = 1; i < ROTA_BROKER_FAULTS_ANSWERED; i++)
        assert_int_equal (rota_culprits_fault (book, 1, 1000), ROTA_CULPRIT_ANSWER);
    assert_false (rota_culprits_is_mute (book, 1, 1000));
    assert_int_equal (rota_culprits_fault (book, 1, 1000), ROTA_CULPRIT_MUTE_FROM_NOW);
    assert_int_equal (rota_culprits_fault (book, 1, 1000), ROTA_CULPRIT_SILENT);
    assert_true (rota_culprits_is_mute (book, 1, 1000 + ROTA_BROKER_MUTE_MS - 1));
    assert_false (rota_culprits_is_mute (book, 2, 1000));
    assert_false (rota_culprits_is_mute (book, 1, 1000 + ROTA_BROKER_MUTE_MS));
    assert_int_equal (rota_culprits_fault (book, 1, 1000 + ROTA_BROKER_MUTE_MS), ROTA_CULPRIT_ANSWER_AND_LOG);
    rota_culprits_destroy (&book);
}

static void the_book_of_culprits_is_bounded_and_empties (void **state)
{
    (void)state;
    rota_culprits_t *book = rota_culprits_new (8);
    for (rota_route_key_t route = 0; route < 100; route++)
        rota_culprits_fault (book, route, 1000);
    assert_int_equal (rota_culprits_count (book), 8);
    rota_culprits_forget (book, 1000 + ROTA_BROKER_MUTE_MS);
    assert_int_equal (rota_culprits_count (book), 0);
    rota_culprits_destroy (&book);
}

static void a_stranger_is_told_once_in_a_while (void **state)
{
    (void)state;
    rota_culprits_t *book = rota_culprits_new (8);
    assert_true (rota_culprits_tell_stranger (book, 1, 0));
    assert_false (rota_culprits_tell_stranger (book, 1, ROTA_BROKER_HELLO_REQUIRED_EVERY_MS - 1));
    assert_true (rota_culprits_tell_stranger (book, 2, 1));
    assert_true (rota_culprits_tell_stranger (book, 1, ROTA_BROKER_HELLO_REQUIRED_EVERY_MS));
    for (int i = 0; i < 10 * ROTA_BROKER_FAULTS_ANSWERED; i++)
        rota_culprits_tell_stranger (book, 1, 100);
    assert_false (rota_culprits_is_mute (book, 1, 100));
    rota_culprits_destroy (&book);
}

static void a_culprit_is_named_once_in_a_series_and_whenever_there_is_room_for_it (void **state)
{
    (void)state;
    rota_culprits_t *book = rota_culprits_new (8);
    assert_false (rota_culprits_name (book, 1)); /* it did nothing */
    for (int i = 0; i < 3 * ROTA_BROKER_FAULTS_ANSWERED; i++)
        rota_culprits_fault (book, 1, 1000 + i);
    assert_true (rota_culprits_name (book, 1)); /* also when it was left out at first, and is mute by now */
    assert_false (rota_culprits_name (book, 1));
    rota_culprits_fault (book, 1, 2000);
    assert_false (rota_culprits_name (book, 1));
    rota_culprits_fault (book, 1, 2000 + ROTA_BROKER_MUTE_MS);
    assert_true (rota_culprits_name (book, 1));
    rota_culprits_destroy (&book);
}

static int open_fixture (void **state)
{
    fixture_t *f = calloc (1, sizeof *f);
    f->quota = rota_quota_new (&LIMITS);
    *state = f;
    return 0;
}

static int close_fixture (void **state)
{
    fixture_t *f = *state;
    rota_quota_forget (f->quota, &f->a, count_dropped);
    rota_quota_forget (f->quota, &f->b, count_dropped);
    rota_quota_forget (f->quota, &f->c, count_dropped);
    rota_quota_destroy (&f->quota);
    free (f);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, open_fixture, close_fixture)

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (a_bucket_gives_its_burst_and_then_its_rate),
        cmocka_unit_test (a_slow_bucket_fills_also_when_asked_each_millisecond),
        TEST (requests_go_at_once_until_the_scheduler_has_enough_in_hand),
        TEST (a_flood_waits_behind_itself),
        TEST (bytes_are_bounded_like_messages),
        TEST (one_request_over_the_limit_of_bytes_passes_alone),
        TEST (a_client_over_its_rate_is_sent_back),
        TEST (lost_answers_are_forgotten_after_two_ages),
        TEST (answers_nobody_counted_on_change_nothing),
        TEST (who_leaves_frees_its_places),
        cmocka_unit_test (the_first_faults_are_answered_and_then_the_connection_is_mute_for_a_while),
        cmocka_unit_test (the_book_of_culprits_is_bounded_and_empties),
        cmocka_unit_test (a_stranger_is_told_once_in_a_while),
        cmocka_unit_test (a_culprit_is_named_once_in_a_series_and_whenever_there_is_room_for_it),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
