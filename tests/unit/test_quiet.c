#include "scheduler/quiet.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static int64_t at (int year, int month, int day, int hour, int minute)
{
    struct tm time = {.tm_year = year - 1900,
                      .tm_mon = month - 1,
                      .tm_mday = day,
                      .tm_hour = hour,
                      .tm_min = minute,
                      .tm_isdst = -1};
    return (int64_t)mktime (&time) * 1000;
}

static void hours_over_midnight_end_the_next_morning (void **state)
{
    (void)state;
    rota_quiet_t quiet;
    rota_error_t error;
    assert_int_equal (rota_quiet_parse ("22:00-06:30", &quiet, &error), 0);
    assert_int_equal (rota_quiet_until_ms (&quiet, at (2026, 11, 23, 23, 0)), at (2026, 11, 24, 6, 30));
    assert_int_equal (rota_quiet_until_ms (&quiet, at (2026, 11, 24, 6, 29)), at (2026, 11, 24, 6, 30));
    assert_int_equal (rota_quiet_until_ms (&quiet, at (2026, 11, 24, 6, 30)), 0);
    assert_int_equal (rota_quiet_until_ms (&quiet, at (2026, 11, 24, 21, 59)), 0);
}

static void of_several_the_one_that_ends_last_counts (void **state)
{
    (void)state;
    rota_quiet_t quiet;
    rota_error_t error;
    assert_int_equal (rota_quiet_parse ("12:00-13:00, 12:30-14:00", &quiet, &error), 0);
    assert_int_equal (rota_quiet_until_ms (&quiet, at (2026, 11, 24, 12, 15)), at (2026, 11, 24, 13, 0));
    assert_int_equal (rota_quiet_until_ms (&quiet, at (2026, 11, 24, 12, 45)), at (2026, 11, 24, 14, 0));
}

static void where_the_clock_is_changed_the_local_hour_counts (void **state)
{
    (void)state;
    rota_quiet_t quiet;
    rota_error_t error;
    assert_int_equal (rota_quiet_parse ("22:00-06:00", &quiet, &error), 0);
    /* The night to 2026-10-25 has an hour more in Central Europe. */
    assert_int_equal (rota_quiet_until_ms (&quiet, at (2026, 10, 24, 22, 0)) - at (2026, 10, 24, 22, 0),
                      9 * 3600000);
}

static void what_is_no_time_of_day_is_refused (void **state)
{
    (void)state;
    static const char *const WRONG[] = {"22",          "22:00",        "22:00-", "25:00-06:00",
                                        "22:60-06:00", "22:00-06:00;", "x"};
    rota_quiet_t quiet;
    rota_error_t error;
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++)
        assert_int_equal (rota_quiet_parse (WRONG[i], &quiet, &error), -EINVAL);
    assert_int_equal (rota_quiet_parse ("", &quiet, &error), 0);
    assert_int_equal (rota_quiet_until_ms (&quiet, at (2026, 11, 24, 3, 0)), 0);
}

int main (void)
{
    setenv ("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset ();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (hours_over_midnight_end_the_next_morning),
        cmocka_unit_test (of_several_the_one_that_ends_last_counts),
        cmocka_unit_test (where_the_clock_is_changed_the_local_hour_counts),
        cmocka_unit_test (what_is_no_time_of_day_is_refused),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
