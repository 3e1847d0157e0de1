/* Durations, sizes and times as people write them. */
#include "bus/guess.h"
#include "bus/units.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

typedef struct {
    const char *text;
    int64_t value; /* negative: the error */
} case_t;

static void check (const case_t *cases, size_t count, int (*parse) (const char *text, int64_t *ret_value))
{
    for (size_t i = 0; i < count; i++) {
        int64_t value = -7;
        int rc = parse (cases[i].text, &value);
        if ((rc < 0 ? rc : value) != cases[i].value)
            print_message ("%s\n", cases[i].text);
        assert_true ((rc < 0 ? rc : value) == cases[i].value);
        assert_true (rc == 0 || value == -7);
    }
}
#define CHECK(cases, parse) check (cases, sizeof (cases) / sizeof *(cases), parse)

static void durations_are_read (void **state)
{
    (void)state;
    static const case_t CASES[] = {
        {"90", 90000},
        {"0", 0},
        {"90s", 90000},
        {"1h30m", 5400000},
        {"1h 30m", 5400000},
        {"250ms", 250},
        {"1.5h", 5400000},
        {"2d", 172800000},
        {"5 min", 300000},
        {"0.5", 500},
        {"", -EINVAL},
        {"-1s", -EINVAL},
        {"s", -EINVAL},
        {"1x", -EINVAL},
        {"1h30", -EINVAL},
        {"1.s", -EINVAL},
        {"1e3s", -EINVAL},
        {" 1s", -EINVAL},
        {"1s ", -EINVAL},
        {"999999999d", -ERANGE},
        {"99999999999999999999999999999999999999999", -EINVAL},
    };
    CHECK (CASES, rota_duration_parse);
}

static void durations_are_written_as_they_are_read (void **state)
{
    (void)state;
    static const int64_t VALUES[] = {0, 1, 999, 1000, 61001, 5400000, 86400000, 31536000000000};
    for (size_t i = 0; i < sizeof VALUES / sizeof *VALUES; i++) {
        char text[ROTA_UNITS_BYTES];
        int64_t again = -1;
        rota_duration_write (VALUES[i], text);
        assert_int_equal (rota_duration_parse (text, &again), 0);
        assert_true (again == VALUES[i]);
    }
}

static void sizes_are_read (void **state)
{
    (void)state;
    static const case_t CASES[] = {
        {"4096", 4096},           {"10MiB", 10 << 20}, {"1 GiB", 1 << 30},  {"2k", 2048},
        {"1.5K", 1536},           {"7B", 7},           {"1kB", 1024},       {"", -EINVAL},
        {"1Mi", -EINVAL},         {"-1", -EINVAL},     {"1 MiB ", -EINVAL}, {"x", -EINVAL},
        {"99999999TiB", -ERANGE},
    };
    CHECK (CASES, rota_size_parse);
    char text[ROTA_UNITS_BYTES];
    rota_size_write (10 << 20, text);
    assert_string_equal (text, "10MiB");
    rota_size_write (1025, text);
    assert_string_equal (text, "1025");
}

static void times_are_read (void **state)
{
    (void)state;
    setenv ("TZ", "UTC-2", 1); /* two hours east, as POSIX writes it */
    tzset ();
    static const case_t CASES[] = {
        {"2026-11-23T08:00:00Z", 1795420800000},
        {"2026-11-23T08:00:00.250+02:00", 1795413600250},
        {"2026-11-23 08:00:00 -0130", 1795426200000},
        {"2026-11-23T08:00", 1795413600000},
        {"2026-11-23", 1795384800000},
        {"1970-01-01T00:00:00Z", 0},
        {"2024-02-29T00:00Z", 1709164800000},
        {"1970-01-01", -EINVAL},
        {"2026-02-30T00:00Z", -EINVAL},
        {"2026-13-01", -EINVAL},
        {"2026-11-23T24:00Z", -EINVAL},
        {"2026-11-23T08:00:00+25:00", -EINVAL},
        {"2026-11-23T08", -EINVAL},
        {"2026-11-23T08:00:00.Z", -EINVAL},
        {"2026-11-23Z", -EINVAL},
        {"23.11.2026", -EINVAL},
        {"9999-12-31T23:59:59-12:00", -EINVAL},
        {"", -EINVAL},
    };
    CHECK (CASES, rota_time_parse);
}

static void integers_and_numbers_take_nothing_else (void **state)
{
    (void)state;
    static const case_t CASES[] = {{"5", 5},         {"+5", 5},        {"007", 7},
                                   {"5.0", -EINVAL}, {"0x5", -EINVAL}, {"", -EINVAL},
                                   {"-", -EINVAL},   {" 5", -EINVAL},  {"99999999999999999999", -ERANGE}};
    CHECK (CASES, rota_integer_parse);
    static const char *const BAD[] = {"",    ".",     "1e",  "1e+",   "0x1p3", "inf",
                                      "nan", "1_000", "1,5", "1e999", "1.5 "};
    double number = 0;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        assert_int_equal (rota_number_parse (BAD[i], &number), -EINVAL);
    assert_int_equal (rota_number_parse ("-.5e1", &number), 0);
    assert_true (number == -5);
}

static void the_nearest_name_is_guessed (void **state)
{
    (void)state;
    static const char *const NAMES[] = {"build", "test", "release-notes"};
    static const struct {
        const char *name, *guess;
    } CASES[] = {{"biuld", "; did you mean build?"},
                 {"tset", "; did you mean test?"},
                 {"relase-note", "; did you mean release-notes?"},
                 {"other", ""},
                 {"", ""}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        rota_guess_t guess;
        rota_guess_start (&guess, CASES[i].name, strlen (CASES[i].name));
        for (size_t n = 0; n < sizeof NAMES / sizeof *NAMES; n++)
            rota_guess_offer (&guess, NAMES[n], strlen (NAMES[n]));
        assert_string_equal (rota_guess_end (&guess), CASES[i].guess);
    }
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (durations_are_read),
        cmocka_unit_test (durations_are_written_as_they_are_read),
        cmocka_unit_test (sizes_are_read),
        cmocka_unit_test (times_are_read),
        cmocka_unit_test (integers_and_numbers_take_nothing_else),
        cmocka_unit_test (the_nearest_name_is_guessed),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
