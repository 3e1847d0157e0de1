#include "agents/reset_time.h"

#include "agents/zone.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define DAY_MS INT64_C (86400000)
#define PAST_MS DAY_MS          /* what lies further back is no reset time */
#define FUTURE_MS (32 * DAY_MS) /* nor what lies further ahead */
#define ROUNDED_MS 120000       /* clock times are shown without seconds: this far back still means today */
#define TEXT_BYTES 8192
#define AFTER_ANCHOR_BYTES 120 /* how far behind a word like "resets" its time may stand */

static bool believe (int64_t moment_ms, int64_t now_ms, int64_t *ret_ms)
{
    if (moment_ms < now_ms - PAST_MS || moment_ms > now_ms + FUTURE_MS)
        return false;
    *ret_ms = moment_ms > now_ms ? moment_ms : now_ms;
    return true;
}

/* ---- pieces of a lower-case text; each moves *at behind what it took */

static const char *skip_spaces (const char *at)
{
    while (*at == ' ' || *at == '\t' || *at == '\n' || *at == ',')
        at++;
    return at;
}

static bool is_word_end (const char *at)
{
    return !isalpha ((unsigned char)*at);
}

static bool take_word (const char **at, const char *word)
{
    size_t length = strlen (word);
    if (strncmp (*at, word, length) != 0 || !is_word_end (*at + length))
        return false;
    *at += length;
    return true;
}

static bool take_integer (const char **at, int digits, int *ret_value)
{
    int count = 0, value = 0;
    for (; count < digits && isdigit ((unsigned char)**at); count++)
        value = value * 10 + (*(*at)++ - '0');
    *ret_value = value;
    return count > 0 && !isdigit ((unsigned char)**at);
}

static const struct {
    const char *word;
    double ms;
} UNITS[] = {
    {"milliseconds", 1}, {"millisecond", 1}, {"msecs", 1},      {"ms", 1},        {"seconds", 1e3},
    {"second", 1e3},     {"secs", 1e3},      {"sec", 1e3},      {"s", 1e3},       {"minutes", 6e4},
    {"minute", 6e4},     {"mins", 6e4},      {"min", 6e4},      {"m", 6e4},       {"hours", 36e5},
    {"hour", 36e5},      {"hrs", 36e5},      {"hr", 36e5},      {"h", 36e5},      {"days", 864e5},
    {"day", 864e5},      {"d", 864e5},       {"weeks", 6048e5}, {"week", 6048e5}, {"w", 6048e5},
};

static bool take_unit (const char **at, double *ret_ms)
{
    for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++) {
        size_t length = strlen (UNITS[i].word);
        /* "1h30m": a digit may follow, a letter not. */
        if (strncmp (*at, UNITS[i].word, length) != 0 || !is_word_end (*at + length))
            continue;
        *at += length;
        *ret_ms = UNITS[i].ms;
        return true;
    }
    return false;
}

/* "20s", "2 hours and 5 minutes", "1h30m", "6m0s", "1.5s": at least one number with its unit. */
static bool take_duration (const char **at, double *ret_ms)
{
    const char *here = *at;
    double sum_ms = 0;
    bool any = false;
    for (;;) {
        const char *from = skip_spaces (here);
        if (any && take_word (&from, "and"))
            from = skip_spaces (from);
        double value, unit_ms;
        if (take_word (&from, "an") || take_word (&from, "a") || take_word (&from, "one"))
            value = 1;
        else if (isdigit ((unsigned char)*from)) {
            char *end;
            value = strtod (from, &end);
            if (*from == '0' && (from[1] == 'x' || from[1] == 'X'))
                break;
            from = end;
        } else
            break;
        from = skip_spaces (from);
        if (!take_unit (&from, &unit_ms) || !(value < 1e12))
            break;
        sum_ms += value * unit_ms;
        here = from;
        any = true;
    }
    if (any) {
        *at = here;
        *ret_ms = sum_ms;
    }
    return any;
}

static const char *const MONTHS[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                     "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const DAYS[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

/* The index of the name at *at, also written out; -1. */
static int take_name (const char **at, const char *const *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (strncmp (*at, names[i], 3) != 0)
            continue;
        const char *end = *at + 3;
        while (isalpha ((unsigned char)*end))
            end++;
        if (end - *at > 9)
            continue;
        *at = end + (*end == '.');
        return i;
    }
    return -1;
}

typedef struct {
    int year, month, day; /* -1: not said; month from 0 */
    int weekday;          /* from Sunday = 0; -1 */
    int days_ahead;       /* of today; -1: not said */
    int hour, minute;
    char zone[64]; /* "" = none said */
} moment_t;

/* "nov 26", "26 nov", "nov 26 2026", "tomorrow", "monday". */
static void take_date (const char **at, moment_t *moment)
{
    const char *here = skip_spaces (*at);
    int day = -1, month = take_name (&here, MONTHS, 12);
    const char *try = skip_spaces (here);
    if (month < 0 && take_integer (&try, 2, &day)) {
        const char *next = skip_spaces (try);
        month = take_name (&next, MONTHS, 12);
        try = next;
    } else if (month >= 0 && !take_integer (&try, 2, &day))
        month = -1;
    if (month >= 0 && day >= 1 && day <= 31) {
        moment->month = month;
        moment->day = day;
        const char *suffix = try;
        if (take_word (&suffix, "st") || take_word (&suffix, "nd") || take_word (&suffix, "rd") ||
            take_word (&suffix, "th"))
            try = suffix;
        const char *year = skip_spaces (try);
        int value;
        if (isdigit ((unsigned char)year[0]) && take_integer (&year, 4, &value) && value >= 2000) {
            moment->year = value;
            try = year;
        }
        *at = try;
        return;
    }
    here = skip_spaces (*at);
    if (take_word (&here, "tomorrow"))
        moment->days_ahead = 1;
    else if (take_word (&here, "today"))
        moment->days_ahead = 0;
    else if ((moment->weekday = take_name (&here, DAYS, 7)) < 0)
        return;
    *at = here;
}

/* "8:34 am", "8pm", "17:05", "midnight". A bare number is no time. */
static bool take_clock (const char **at, moment_t *moment)
{
    const char *here = skip_spaces (*at);
    if (take_word (&here, "at"))
        here = skip_spaces (here);
    bool colon = false;
    if (take_word (&here, "midnight") || take_word (&here, "noon")) {
        moment->hour = here[-1] == 'n' ? 12 : 0;
        *at = here;
        return true;
    }
    if (!isdigit ((unsigned char)*here) || !take_integer (&here, 2, &moment->hour))
        return false;
    if (*here == ':') {
        colon = true;
        int seconds;
        here++;
        if (!take_integer (&here, 2, &moment->minute))
            return false;
        if (*here == ':' && (here++, !take_integer (&here, 2, &seconds)))
            return false;
    }
    const char *half = skip_spaces (here);
    bool am = take_word (&half, "am") || take_word (&half, "a.m"),
         pm = !am && (take_word (&half, "pm") || take_word (&half, "p.m"));
    if (am || pm) {
        if (moment->hour < 1 || moment->hour > 12)
            return false;
        moment->hour = moment->hour % 12 + (pm ? 12 : 0);
        here = half + (*half == '.');
    } else if (!colon)
        return false;
    *at = here;
    return moment->hour < 24 && moment->minute < 60;
}

/* "(utc)", "(america/new_york)", "utc": only a name that stands for a zone. */
static void take_zone (const char *at, moment_t *moment)
{
    at = skip_spaces (at);
    at += *at == '(';
    size_t length = strspn (at, "abcdefghijklmnopqrstuvwxyz_/+-0123456789");
    char name[sizeof moment->zone];
    int64_t offset_s;
    if (length == 0 || length >= sizeof name)
        return;
    memcpy (name, at, length);
    name[length] = '\0';
    if (rota_zone_offset_s (name, 0, &offset_s))
        memcpy (moment->zone, name, length + 1);
}

static int64_t utc_ms (const moment_t *moment, const struct tm *local, int days, const char *zone)
{
    struct tm time = {.tm_year = moment->year >= 0 ? moment->year - 1900 : local->tm_year,
                      .tm_mon = moment->month >= 0 ? moment->month : local->tm_mon,
                      .tm_mday = (moment->day >= 0 ? moment->day : local->tm_mday) + days,
                      .tm_hour = moment->hour,
                      .tm_min = moment->minute};
    int64_t seconds = (int64_t)timegm (&time), offset_s = 0, at_s = seconds;
    for (int i = 0; i < 2; i++) {
        if (!rota_zone_offset_s (zone, at_s, &offset_s))
            offset_s = 0;
        at_s = seconds - offset_s;
    }
    return at_s * 1000;
}

static bool resolve (const moment_t *moment, int64_t now_ms, const char *zone, int64_t *ret_ms)
{
    int64_t offset_s = 0;
    if (moment->zone[0])
        zone = moment->zone;
    rota_zone_offset_s (zone, now_ms / 1000, &offset_s);
    time_t now_s = (time_t)(now_ms / 1000 + offset_s);
    struct tm local;
    if (!gmtime_r (&now_s, &local))
        return false;
    int days = moment->days_ahead > 0 ? moment->days_ahead : 0;
    if (moment->weekday >= 0)
        days = (moment->weekday - local.tm_wday + 7) % 7;
    int64_t at_ms = utc_ms (moment, &local, days, zone);
    if (moment->month < 0 && moment->days_ahead < 0 && at_ms < now_ms - ROUNDED_MS)
        at_ms = utc_ms (moment, &local, days + (moment->weekday >= 0 ? 7 : 1), zone);
    if (moment->month >= 0 && moment->year < 0 && at_ms < now_ms - 2 * DAY_MS) {
        local.tm_year++;
        at_ms = utc_ms (moment, &local, 0, zone);
    }
    return believe (at_ms, now_ms, ret_ms);
}

static bool take_moment (const char *at, int64_t now_ms, const char *zone, int64_t *ret_ms)
{
    moment_t moment = {.year = -1, .month = -1, .day = -1, .weekday = -1, .days_ahead = -1};
    take_date (&at, &moment);
    bool dated = moment.month >= 0 || moment.weekday >= 0 || moment.days_ahead >= 0;
    if (take_clock (&at, &moment))
        take_zone (at, &moment);
    else if (!dated)
        return false;
    return resolve (&moment, now_ms, zone, ret_ms);
}

/* 2026-11-26T07:36:05.123+01:00; a space for the T, and no zone = UTC. */
static bool take_iso (const char *at, int64_t now_ms, int64_t *ret_ms)
{
    struct tm time = {0};
    int used = 0, minutes = 0;
    if (sscanf (at, "%4d-%2d-%2d%*1[t ]%2d:%2d%n", &time.tm_year, &time.tm_mon, &time.tm_mday, &time.tm_hour,
                &time.tm_min, &used) != 5 ||
        used < 15 || time.tm_year < 1970 || time.tm_mon < 1 || time.tm_mon > 12 || time.tm_mday < 1 ||
        time.tm_mday > 31 || time.tm_hour > 24 || time.tm_min > 59)
        return false;
    at += used;
    if (*at == ':' && isdigit ((unsigned char)at[1])) {
        at++;
        if (!take_integer (&at, 2, &time.tm_sec))
            return false;
    }
    if (*at == '.')
        at += 1 + strspn (at + 1, "0123456789");
    if (*at == '+' || *at == '-') {
        int sign = *at++ == '-' ? -1 : 1, hours = 0, more = 0;
        if (sscanf (at, "%2d:%2d", &hours, &more) < 1)
            return false;
        minutes = sign * (hours * 60 + more);
    }
    time.tm_year -= 1900;
    time.tm_mon--;
    return believe (((int64_t)timegm (&time) - minutes * 60) * 1000, now_ms, ret_ms);
}

/* Seconds, or milliseconds, since 1970; what is too small for that counts from now. */
static bool take_number (const char *at, bool relative, int64_t now_ms, int64_t *ret_ms)
{
    char *end;
    if (!isdigit ((unsigned char)*at))
        return false;
    double value = strtod (at, &end);
    if (end == at || !(value < 1e15))
        return false;
    if (value > 1e11)
        return believe ((int64_t)value, now_ms, ret_ms);
    if (value > 1e9)
        return believe ((int64_t)(value * 1000), now_ms, ret_ms);
    return relative && value < 1e8 && believe (now_ms + (int64_t)ceil (value * 1000), now_ms, ret_ms);
}

/* Fields of an error body that was printed as a text. */
static bool in_fields (const char *text, int64_t now_ms, int64_t *ret_ms)
{
    static const char *const NAMES[] = {"resets_at",   "resetsat",    "reset_at",  "resets_in_seconds",
                                        "retry_after", "retry-after", "retryafter"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        const char *at = strstr (text, NAMES[i]);
        if (!at)
            continue;
        at += strlen (NAMES[i]);
        at += strspn (at, "\"': =");
        if (take_iso (at, now_ms, ret_ms) || take_number (at, true, now_ms, ret_ms))
            return true;
    }
    return false;
}

static bool after_anchor (const char *at, int64_t now_ms, const char *zone, int64_t *ret_ms)
{
    const char *end = at + AFTER_ANCHOR_BYTES;
    for (const char *here = at; *here && here < end; here++) {
        if (here > at && (isalnum ((unsigned char)here[-1]) || strchr (":-.+/", here[-1])))
            continue; /* not in the middle of a word or number */
        const char *from = here;
        double wait_ms;
        if (isdigit ((unsigned char)*here) && take_iso (here, now_ms, ret_ms))
            return true;
        if (take_duration (&from, &wait_ms) && wait_ms <= (double)FUTURE_MS)
            return believe (now_ms + (int64_t)ceil (wait_ms), now_ms, ret_ms);
        if (isalnum ((unsigned char)*here) && take_moment (here, now_ms, zone, ret_ms))
            return true;
    }
    return false;
}

bool rota_reset_time_in_text (const char *text, size_t size_bytes, int64_t now_ms, const char *zone,
                              int64_t *ret_ms)
{
    static const char *const ANCHORS[] = {"reset",    "try again", "retry",      "retrying", "please wait",
                                          "wait for", "available", "wait until", "back at",  "wait "};
    char lower[TEXT_BYTES + 1];
    size_t size = size_bytes < TEXT_BYTES ? size_bytes : TEXT_BYTES;
    for (size_t i = 0; i < size; i++)
        lower[i] = text[i] ? (char)tolower ((unsigned char)text[i]) : ' ';
    lower[size] = '\0';

    const char *bar = strstr (lower, "reached|");
    if (bar && take_number (bar + strlen ("reached|"), false, now_ms, ret_ms))
        return true;
    if (in_fields (lower, now_ms, ret_ms))
        return true;
    for (size_t i = 0; i < sizeof ANCHORS / sizeof *ANCHORS; i++)
        for (const char *at = strstr (lower, ANCHORS[i]); at; at = strstr (at + 1, ANCHORS[i]))
            if (after_anchor (at + strlen (ANCHORS[i]), now_ms, zone, ret_ms))
                return true;
    return false;
}

/* ---- headers */

/* Sun, 06 Nov 1994 08:49:37 GMT */
static bool take_http_date (const char *text, int64_t now_ms, int64_t *ret_ms)
{
    struct tm time = {0};
    char month[4] = "";
    if (sscanf (text, "%*3[A-Za-z], %2d %3s %4d %2d:%2d:%2d", &time.tm_mday, month, &time.tm_year,
                &time.tm_hour, &time.tm_min, &time.tm_sec) != 6)
        return false;
    for (time.tm_mon = 0; time.tm_mon < 12 && strcasecmp (MONTHS[time.tm_mon], month) != 0;)
        time.tm_mon++;
    if (time.tm_mon == 12 || time.tm_year < 1970)
        return false;
    time.tm_year -= 1900;
    return believe ((int64_t)timegm (&time) * 1000, now_ms, ret_ms);
}

static bool ends_with (const char *name, const char *end)
{
    size_t length = strlen (name), tail = strlen (end);
    return length >= tail && strcasecmp (name + length - tail, end) == 0;
}

bool rota_reset_time_in_header (const char *name, const char *value, int64_t now_ms, int64_t *ret_ms)
{
    char lower[64];
    const char *at = lower;
    double wait_ms;
    while (*value == ' ')
        value++;
    if (strcasecmp (name, "retry-after-ms") == 0) {
        char *end;
        wait_ms = strtod (value, &end);
        return end != value && wait_ms >= 0 && wait_ms <= (double)FUTURE_MS &&
               believe (now_ms + (int64_t)ceil (wait_ms), now_ms, ret_ms);
    }
    bool known = strcasecmp (name, "retry-after") == 0 || ends_with (name, "-reset") ||
                 ends_with (name, "-reset-at") || ends_with (name, "-reset-after-seconds") ||
                 strncasecmp (name, "x-ratelimit-reset", 17) == 0;
    if (!known)
        return false;
    snprintf (lower, sizeof lower, "%s", value);
    for (char *c = lower; *c; c++)
        *c = (char)tolower ((unsigned char)*c);
    if (take_http_date (value, now_ms, ret_ms) || take_iso (lower, now_ms, ret_ms))
        return true;
    if (take_duration (&at, &wait_ms) && *skip_spaces (at) == '\0')
        return wait_ms <= (double)FUTURE_MS && believe (now_ms + (int64_t)ceil (wait_ms), now_ms, ret_ms);
    size_t digits = strspn (lower, "0123456789.");
    return lower[digits] == '\0' && take_number (lower, true, now_ms, ret_ms);
}
