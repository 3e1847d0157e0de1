/* What retention.h promises about which journal files go, a sentence a test. */
#include "telemetry/retention.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define DAY_MS (INT64_C (24) * 3600 * 1000)
#define TODAY 20780
#define NOON_MS (TODAY * DAY_MS + DAY_MS / 2)
#define NO_LIMIT INT64_MAX

static const rota_retention_t MONTH = {.age_ms = 30 * DAY_MS, .total_bytes = NO_LIMIT};

static rota_retained_t file (int days_ago, uint32_t number, int64_t size_bytes)
{
    return (rota_retained_t){.day = TODAY - days_ago, .number = number, .size_bytes = size_bytes};
}

static bool goes (int days_ago, const rota_retention_t *limits, int64_t now_ms)
{
    const rota_retained_t one = file (days_ago, 1, 100);
    bool remove;
    rota_retention_choose (&one, 1, limits, now_ms, &remove);
    return remove;
}

static void files_over_thirty_days_go_and_younger_ones_stay (void **state)
{
    (void)state;
    assert_true (goes (40, &MONTH, NOON_MS));
    assert_true (goes (32, &MONTH, NOON_MS));
    assert_false (goes (31, &MONTH, NOON_MS));
    assert_false (goes (30, &MONTH, NOON_MS));
    assert_false (goes (0, &MONTH, NOON_MS));
}

static void a_clock_a_day_ahead_removes_no_record_younger_than_the_limit (void **state)
{
    (void)state;
    for (int days_ago = 0; days_ago <= 60; days_ago++)
        for (int64_t hour = 0; hour < 24; hour++) {
            int64_t true_now_ms = TODAY * DAY_MS + hour * 3600 * 1000;
            int64_t youngest_record_ms = (TODAY - days_ago + 1) * DAY_MS - 1;
            if (goes (days_ago, &MONTH, true_now_ms + DAY_MS))
                assert_true (true_now_ms - youngest_record_ms >= MONTH.age_ms);
        }
}

static void a_clock_set_back_a_day_only_keeps_longer (void **state)
{
    (void)state;
    for (int days_ago = 0; days_ago <= 60; days_ago++)
        if (goes (days_ago, &MONTH, NOON_MS - DAY_MS))
            assert_true (goes (days_ago, &MONTH, NOON_MS));
}

static void files_of_days_to_come_are_never_too_old (void **state)
{
    (void)state;
    assert_false (goes (-1, &MONTH, NOON_MS));
    assert_false (goes (-4000, &MONTH, NOON_MS));
    assert_false (goes (0, &MONTH, 0)); /* a machine that thinks it is 1970 */
}

static void the_oldest_go_while_the_total_is_too_large (void **state)
{
    (void)state;
    const rota_retained_t files[] = {file (3, 1, 40), file (3, 2, 40), file (2, 1, 40), file (1, 1, 40)};
    const rota_retention_t limits = {.age_ms = 30 * DAY_MS, .total_bytes = 100};
    bool remove[4];
    assert_int_equal (rota_retention_choose (files, 4, &limits, NOON_MS, remove), 2);
    assert_true (remove[0] && remove[1]);
    assert_false (remove[2] || remove[3]);
}

static void a_total_that_just_fits_stays (void **state)
{
    (void)state;
    const rota_retained_t files[] = {file (2, 1, 60), file (1, 1, 40)};
    const rota_retention_t limits = {.age_ms = 30 * DAY_MS, .total_bytes = 100};
    bool remove[2];
    assert_int_equal (rota_retention_choose (files, 2, &limits, NOON_MS, remove), 0);
}

static void what_goes_by_age_no_longer_counts_for_the_total (void **state)
{
    (void)state;
    const rota_retained_t files[] = {file (50, 1, 1000), file (2, 1, 60), file (1, 1, 40)};
    const rota_retention_t limits = {.age_ms = 30 * DAY_MS, .total_bytes = 100};
    bool remove[3];
    assert_int_equal (rota_retention_choose (files, 3, &limits, NOON_MS, remove), 1);
    assert_true (remove[0]);
}

static void the_open_file_never_goes_but_counts (void **state)
{
    (void)state;
    rota_retained_t files[] = {file (50, 1, 1000), file (2, 1, 60), file (1, 1, 40)};
    files[0].open = true;
    const rota_retention_t limits = {.age_ms = 30 * DAY_MS, .total_bytes = 100};
    bool remove[3];
    assert_int_equal (rota_retention_choose (files, 3, &limits, NOON_MS, remove), 2);
    assert_false (remove[0]);
    assert_true (remove[1] && remove[2]);
}

static void a_short_retention_has_a_short_margin (void **state)
{
    (void)state;
    const rota_retention_t minute = {.age_ms = 60000, .total_bytes = NO_LIMIT};
    int64_t midnight_ms = TODAY * DAY_MS;
    assert_false (goes (1, &minute, midnight_ms + 119999));
    assert_true (goes (1, &minute, midnight_ms + 120000));
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (files_over_thirty_days_go_and_younger_ones_stay),
        cmocka_unit_test (a_clock_a_day_ahead_removes_no_record_younger_than_the_limit),
        cmocka_unit_test (a_clock_set_back_a_day_only_keeps_longer),
        cmocka_unit_test (files_of_days_to_come_are_never_too_old),
        cmocka_unit_test (the_oldest_go_while_the_total_is_too_large),
        cmocka_unit_test (a_total_that_just_fits_stays),
        cmocka_unit_test (what_goes_by_age_no_longer_counts_for_the_total),
        cmocka_unit_test (the_open_file_never_goes_but_counts),
        cmocka_unit_test (a_short_retention_has_a_short_margin),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
