#include "agents/reset_time.h"
#include "agents/zone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* Monday, 2026-11-23 07:00:00 UTC */
#define NOW_MS INT64_C (1795417200000)
#define S 1000
#define MIN (60 * S)
#define H (60 * MIN)
#define DAY (24 * INT64_C (3600000))
#define NONE INT64_MIN

typedef struct {
    const char *text;
    int64_t after_ms; /* of NOW_MS; NONE: no time in it */
} row_t;

static const row_t TEXTS[] = {
    {"Please try again in 20s", 20 * S},
    {"Rate limit reached. Please try again in 1.5s.", 1500},
    {"try again in 2 hours and 5 minutes", 2 * H + 5 * MIN},
    {"Please try again in 2 hours.", 2 * H},
    {"Please try again in 15 hours 23 minutes", 15 * H + 23 * MIN},
    {"try again in 1h30m", H + 30 * MIN},
    {"try again in 6m0s", 6 * MIN},
    {"try again in an hour", H},
    {"try again in 3 days", 3 * DAY},
    {"try again in ~4293 min", 4293 * INT64_C (60000)},
    {"in 3 days 6 hours 57 minutes you may; retry after 3 days 6 hours 57 minutes",
     3 * DAY + 6 * H + 57 * MIN},
    {"Your quota will reset after 18h3.", 18 * H + 3 * MIN},
    {"Your quota will reset after 18h3m22s.", 18 * H + 3 * MIN + 22 * S},
    {"Resets in 5 days", 5 * DAY},
    {"\"retryDelay\": \"27s\"", 27 * S},
    {"Retrying after 5925ms", 5925},
    {"retry after 30 seconds", 30 * S},
    {"Please wait 45 seconds before the next request", 45 * S},
    {"or try again at 8:34 AM.", H + 34 * MIN},
    {"try again at 8:34 AM (UTC)", H + 34 * MIN},
    {"try again at 6:34 AM", 23 * H + 34 * MIN}, /* over midnight: tomorrow */
    {"try again at 12:05 AM", 17 * H + 5 * MIN},
    {"try again at 12:05 PM", 5 * H + 5 * MIN},
    {"You've hit your 5-hour limit \xc2\xb7 resets 8:36am (UTC)", H + 36 * MIN},
    {"You've hit your weekly limit \xc2\xb7 resets Nov 26, 7:36am (UTC)", 3 * DAY + 36 * MIN},
    {"resets Nov 26, 2026, 7:36am (UTC)", 3 * DAY + 36 * MIN},
    {"resets 26 Nov 07:36 UTC", 3 * DAY + 36 * MIN},
    {"resets Dec 1 at 1am (UTC)", 7 * DAY + 18 * H},
    {"resets tomorrow at 9am", DAY + 2 * H},
    {"resets Wednesday 9am", 2 * DAY + 2 * H},
    {"resets Monday 6am", 7 * DAY - H},
    {"resets Thu, Nov 26, 9am", 3 * DAY + 2 * H},
    {"or try again at Nov 28th, 2026 12:30 PM.", 5 * DAY + 5 * H + 30 * MIN},
    {"resets on Nov. 26 at 9 a.m. (UTC)", 3 * DAY + 2 * H},
    {"resets 11/26/2026, 9:00:00 AM", 3 * DAY + 2 * H},
    {"try again at 8:34\xe2\x80\xaf"
     "AM",
     H + 34 * MIN}, /* JavaScript's narrow space */
    {"resets 9pm UTC+2", 12 * H},
    {"resets 9:30pm (UTC-05:00)", 19 * H + 30 * MIN},
    {"resets 9pm JST", 5 * H},
    {"Limits will reset at 9:30 AM.", 2 * H + 30 * MIN},
    {"resets 17:05", 10 * H + 5 * MIN},
    {"resets 6:30pm (CET)", 10 * H + 30 * MIN},
    {"resets 8am (PST)", 9 * H},
    {"resets 6:59am (UTC)", 0}, /* shown without seconds: it is now */
    {"Claude AI usage limit reached|1795420800", H},
    {"{\"type\":\"usage_limit_reached\",\"resets_at\":1795420800,\"resets_in_seconds\":3600}", H},
    {"{\"resets_in_seconds\": 13872}", 13872 * S},
    {"resets at 2026-11-23T08:00:00Z", H},
    {"resets at 2026-11-23T08:00:00.123+01:00", 0},
    {"it resets on 2026-11-23 09:30 UTC", 2 * H + 30 * MIN},
    {"it resets on 2026-11-23 09:30", 2 * H + 30 * MIN},
    {"it resets on 2026-11-23 09:30 (CET)", H + 30 * MIN},
    {"resets at 2026-11-23T08:00:00-0130", 2 * H + 30 * MIN},
    {"resets on 2026-11-26", 2 * DAY + 17 * H},
    {"resets at 1795420800", H},
    {"Reset at: 1795420800000", H},
    {"retry-after: Mon, 23 Nov 2026 07:30:00 GMT", 30 * MIN},
    {"retry-after: 5 minutes", 5 * MIN},
    /* What is none. */
    {"", NONE},
    {"Rate limited", NONE},
    {"try again later", NONE},
    {"Please retry after a brief wait.", NONE},
    {"the last 5 minutes were busy", NONE},
    {"resets 25:00", NONE},
    {"resets 13pm", NONE},
    {"try again in 99999999999999999999 hours", NONE},
    {"try again in 400 days", NONE},
    {"resets Feb 30", NONE},
    {"resets Feb 29", NONE},
    {"Your limit resets monthly.", NONE},
    {"reset the model; the constraints are not satisfied by friends", NONE},
    {"resets Aug 16 at 1am (UTC)", NONE}, /* not the next 1am */
    {"resets 2027-11-23 09:30", NONE},
    {"resets 8pm (Nowhere/Atlantis)", NONE}, /* not 8pm of here */
    {"try again later. The last 5 minutes were busy", NONE},
    {"Try again in a moment. If it persists, check 127.0.0.1:8899", NONE},
    {"reset 0x7fffffff", NONE},
    {"resets 2026-99-99 09:30", NONE},
    {"resets at 1970-01-01T00:00:00Z", NONE},
    {"limit reached|99999999999999999999999", NONE},
};

static const struct {
    const char *name, *value;
    int64_t after_ms;
} HEADERS[] = {
    {"Retry-After", "20", 20 * S},
    {"retry-after", " 3600", H},
    {"Retry-After", "Mon, 23 Nov 2026 07:30:00 GMT", 30 * MIN},
    {"retry-after", "20 ", 20 * S},
    {"retry-after", "Mon, 23 Nov 2026 06:30:00 GMT", 0},
    {"retry-after-ms", "1500", 1500},
    {"retry-after-ms", "5 minutes", NONE},
    {"retry-after-ms", "0x10", NONE},
    {"anthropic-ratelimit-tokens-reset", "2026-11-23T07:01:00.25+00:00", MIN},
    {"x-ratelimit-reset", "1795420800000", H},
    {"anthropic-ratelimit-requests-reset", "2026-11-23T07:01:00Z", MIN},
    {"anthropic-ratelimit-unified-reset", "1795420800", H},
    {"anthropic-ratelimit-unified-5h-reset", "1795420800", H},
    {"x-ratelimit-reset-requests", "6m0s", 6 * MIN},
    {"x-ratelimit-reset-tokens", "1.5s", 1500},
    {"x-ratelimit-reset-tokens", "120ms", 120},
    {"x-ratelimit-reset", "1795420800", H},
    {"X-Codex-Primary-Reset-At", "1795420800", H},
    {"x-codex-primary-reset-after-seconds", "13872", 13872 * S},
    {"retry-after", "soon", NONE},
    {"retry-after", "-5", NONE},
    {"retry-after", "", NONE},
    {"retry-after", "0x10", NONE},
    {"retry-after", "1e300", NONE},
    {"content-length", "20", NONE},
    {"x-ratelimit-remaining-requests", "20", NONE},
};

static void check (const char *what, bool found, int64_t at_ms, int64_t after_ms)
{
    if (found != (after_ms != NONE))
        fail_msg ("%s: %s", what, found ? "a time was found where there is none" : "no time was found");
    if (found && at_ms != NOW_MS + after_ms)
        fail_msg ("%s: %lld ms from now, expected %lld", what, (long long)(at_ms - NOW_MS),
                  (long long)after_ms);
}

static void times_in_sentences (void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        int64_t at_ms = 0;
        bool found = rota_reset_time_in_text (TEXTS[i].text, strlen (TEXTS[i].text), NOW_MS, "utc", &at_ms);
        check (TEXTS[i].text, found, at_ms, TEXTS[i].after_ms);
    }
}

static void times_in_headers (void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof HEADERS / sizeof *HEADERS; i++) {
        int64_t at_ms = 0;
        bool found = rota_reset_time_in_header (HEADERS[i].name, HEADERS[i].value, NOW_MS, &at_ms);
        check (HEADERS[i].value, found, at_ms, HEADERS[i].after_ms);
    }
}

static void a_date_at_the_turn_of_the_year_lies_in_the_next (void **state)
{
    (void)state;
    int64_t new_years_eve_ms = NOW_MS + 38 * DAY, at_ms = 0; /* Dec 31 */
    const char *text = "resets Jan 2, 7am (UTC)";
    assert_true (rota_reset_time_in_text (text, strlen (text), new_years_eve_ms, "utc", &at_ms));
    assert_int_equal (at_ms - new_years_eve_ms, 2 * DAY);
}

static void named_zones_count_where_the_system_knows_them (void **state)
{
    (void)state;
    int64_t offset_s, at_ms = 0;
    if (!rota_zone_offset_s ("america/new_york", NOW_MS / 1000, &offset_s)) {
        print_message ("SKIPPED: this system has no time zones (package tzdata)\n");
        skip ();
    }
    assert_int_equal (offset_s, -5 * 3600);
    assert_true (rota_zone_offset_s ("Europe/Berlin", NOW_MS / 1000, &offset_s));
    assert_int_equal (offset_s, 3600);
    assert_true (rota_zone_offset_s ("Europe/Berlin", NOW_MS / 1000 - 60 * 86400, &offset_s));
    assert_int_equal (offset_s, 7200);
    const char *text = "You've hit your limit \xc2\xb7 resets 8pm (America/New_York)";
    assert_true (rota_reset_time_in_text (text, strlen (text), NOW_MS, "utc", &at_ms));
    assert_int_equal (at_ms - NOW_MS, 18 * H);
}

static void a_zone_is_found_however_its_name_is_written (void **state)
{
    (void)state;
    int64_t offset_s;
    static const struct {
        const char *name;
        int hours;
    } NAMES[] = {{"america/port_of_spain", -4},
                 {"america/port-au-prince", -5},
                 {"africa/dar_es_salaam", 3},
                 {"etc/gmt+5", -5},
                 {"pacific", -8},
                 {"et", -5}};
    if (!rota_zone_offset_s ("america/new_york", NOW_MS / 1000, &offset_s)) {
        print_message ("SKIPPED: this system has no time zones (package tzdata)\n");
        skip ();
    }
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        if (!rota_zone_offset_s (NAMES[i].name, NOW_MS / 1000, &offset_s))
            fail_msg ("%s is not known", NAMES[i].name);
        assert_int_equal (offset_s, NAMES[i].hours * 3600);
    }
}

/* Files made slim hold no transitions for what their rule says, others none from 2038 on. */
static void behind_the_last_transition_the_rule_counts (void **state)
{
    (void)state;
    int64_t offset_s, winter_2041_s = INT64_C (2241820800), summer_2041_s = winter_2041_s + 182 * 86400;
    static const struct {
        const char *name;
        int winter, summer;
    } ZONES[] = {{"america/new_york", -5, -4}, {"europe/berlin", 1, 2},
                 {"europe/dublin", 0, 1}, /* its summer is the standard time */
                 {"australia/sydney", 11, 10}, {"asia/tokyo", 9, 9},
                 {"america/sao_paulo", -3, -3}}; /* "<-03>3" */
    if (!rota_zone_offset_s ("america/new_york", NOW_MS / 1000, &offset_s)) {
        print_message ("SKIPPED: this system has no time zones (package tzdata)\n");
        skip ();
    }
    for (size_t i = 0; i < sizeof ZONES / sizeof *ZONES; i++) {
        assert_true (rota_zone_offset_s (ZONES[i].name, winter_2041_s, &offset_s));
        if (offset_s != ZONES[i].winter * 3600)
            fail_msg ("%s in January: %lld s", ZONES[i].name, (long long)offset_s);
        assert_true (rota_zone_offset_s (ZONES[i].name, summer_2041_s, &offset_s));
        if (offset_s != ZONES[i].summer * 3600)
            fail_msg ("%s in July: %lld s", ZONES[i].name, (long long)offset_s);
    }
}

static void a_zone_is_no_path (void **state)
{
    (void)state;
    int64_t offset_s;
    static const char *const WRONG[] = {"../../etc/passwd", "/etc/localtime", "a/../../b", "x/y z", "",
                                        "america"};
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++)
        assert_false (rota_zone_offset_s (WRONG[i], 0, &offset_s));
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (times_in_sentences),
        cmocka_unit_test (times_in_headers),
        cmocka_unit_test (a_date_at_the_turn_of_the_year_lies_in_the_next),
        cmocka_unit_test (named_zones_count_where_the_system_knows_them),
        cmocka_unit_test (a_zone_is_found_however_its_name_is_written),
        cmocka_unit_test (behind_the_last_transition_the_rule_counts),
        cmocka_unit_test (a_zone_is_no_path),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
