/* Times as rota shows them. */
#include "bus/clock.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

static void a_time_is_written_in_utc_with_milliseconds (void **state)
{
    (void)state;
    char text[ROTA_CLOCK_ISO_BYTES];
    rota_clock_iso (0, text);
    assert_string_equal (text, "1970-01-01T00:00:00.000Z");
    rota_clock_iso (1795438252123, text);
    assert_string_equal (text, "2026-11-23T12:50:52.123Z");
    rota_clock_iso (-1, text);
    assert_string_equal (text, "1969-12-31T23:59:59.999Z");
}

static void a_time_that_no_calendar_holds_is_a_dash (void **state)
{
    (void)state;
    char text[ROTA_CLOCK_ISO_BYTES];
    static const int64_t WILD[] = {INT64_MAX, INT64_MIN, 253402300800000, -62167219200001};
    for (size_t i = 0; i < sizeof WILD / sizeof *WILD; i++) {
        rota_clock_iso (WILD[i], text);
        assert_string_equal (text, "-");
    }
}

static void a_duration_is_written_in_its_two_largest_units (void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } CASES[] = {
        {-5, "0 s"},
        {0, "0.0 s"},
        {449, "0.4 s"},
        {9999, "9.9 s"},
        {10000, "10 s"},
        {59999, "59 s"},
        {185000, "3 min 5 s"},
        {7800000, "2 h 10 min"},
        {356400000, "4 d 3 h"},
        {INT64_MAX, "106751991167 d 7 h"},
    };
    char text[ROTA_CLOCK_DURATION_BYTES];
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        rota_clock_duration (CASES[i].ms, text);
        assert_string_equal (text, CASES[i].text);
    }
}

static void the_clocks_that_measure_never_go_back (void **state)
{
    (void)state;
    int64_t monotonic_ms = rota_clock_monotonic_ms (), boot_ms = rota_clock_boot_ms ();
    for (int i = 0; i < 1000; i++) {
        int64_t now_ms = rota_clock_monotonic_ms ();
        assert_true (now_ms >= monotonic_ms);
        monotonic_ms = now_ms;
        now_ms = rota_clock_boot_ms ();
        assert_true (now_ms >= boot_ms);
        boot_ms = now_ms;
    }
}

static void a_clock_that_jumps_ahead_in_a_running_service_makes_nothing_old (void **state)
{
    (void)state;
    const rota_clock_anchor_t start = {.wall_ms = 1795438252123, .boot_ms = 4000};
    int64_t day_ms = 86400000;
    assert_int_equal (rota_clock_bounded_ms (&start, start.wall_ms + day_ms, 5000), start.wall_ms + 1000);
    assert_int_equal (rota_clock_bounded_ms (&start, start.wall_ms - day_ms, 5000), start.wall_ms - day_ms);
    assert_int_equal (rota_clock_bounded_ms (&start, start.wall_ms + 1000, 5000), start.wall_ms + 1000);
    rota_clock_anchor_t now = rota_clock_anchor ();
    assert_in_range (rota_clock_retention_ms (&now), 1, (uintmax_t)rota_clock_wall_ms ());
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (a_time_is_written_in_utc_with_milliseconds),
        cmocka_unit_test (a_time_that_no_calendar_holds_is_a_dash),
        cmocka_unit_test (a_duration_is_written_in_its_two_largest_units),
        cmocka_unit_test (a_clock_that_jumps_ahead_in_a_running_service_makes_nothing_old),
        cmocka_unit_test (the_clocks_that_measure_never_go_back),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
