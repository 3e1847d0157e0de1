#include "agents/reset_time.h"

#include "agents/zone.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MINUTE_MS 6e4
#define HOUR_MS 36e5
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

/* "20s", "2 hours and 5 minutes", "1h30m", "6m0s", "1.5s", "18h3": at least one number with its unit. */
static bool take_duration (const char **at, double *ret_ms)
{
    const char *here = *at;
    double sum_ms = 0, unit_ms = 0;
    bool any = false;
    for (;;) {
        const char *from = skip_spaces (here);
        if (any && take_word (&from, "and"))
            from = skip_spaces (from);
        double value;
        bool close_by = any && isdigit ((unsigned char)*here) && unit_ms >= HOUR_MS;
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
        bool has_unit = take_unit (&from, &unit_ms);
        if (!(value < 1e12) || (!has_unit && !(close_by && unit_ms < DAY_MS && value < 60)))
            break;
        sum_ms += value * (has_unit ? unit_ms : MINUTE_MS);
        here = from;
        any = true;
    }
    if (any) {
        *at = here;
        *ret_ms = sum_ms;
    }
    return any;
}

static const char *const MONTHS[] = {"january", "february", "march",     "april",   "may",      "june",
                                     "july",    "august",   "september", "october", "november", "december"};
static const char *const DAYS[] = {"sunday",   "monday", "tuesday", "wednesday",
                                   "thursday", "friday", "saturday"};

/* The index of the name at *at, whole or its first letters ("sept", "thurs."); -1. "monthly" is no Monday. */
static int take_name (const char **at, const char *const *names, int count)
{
    size_t length = strspn (*at, "abcdefghijklmnopqrstuvwxyz");
    for (int i = 0; i < count && length >= 3; i++) {
        if (strncmp (*at, names[i], length) != 0)
            continue;
        *at += length + ((*at)[length] == '.');
        return i;
    }
    return -1;
}

typedef struct {
    int year, month, day; /* -1: not said; month from 0 */
    int weekday;          /* from Sunday = 0; -1 */
    int days_ahead;       /* of today; -1: not said */
    int hour, minute, second;
    char zone[64]; /* "" = none said */
    bool lost;     /* it names a zone that this system doesn't know: which moment is meant is unknown */
} moment_t;

#define NO_MOMENT                                                                                            \
    {                                                                                                        \
        .year = -1, .month = -1, .day = -1, .weekday = -1, .days_ahead = -1                                  \
    }

/* "11/26/2026", as JavaScript writes a date for Americans; "26/11/2026" where it can't be that. */
static bool take_slashes (const char **at, moment_t *moment)
{
    const char *here = *at;
    int first, second, year;
    if (!take_integer (&here, 2, &first) || *here++ != '/' || !take_integer (&here, 2, &second) ||
        *here++ != '/' || !take_integer (&here, 4, &year) || year < 2000)
        return false;
    int month = first <= 12 ? first : second, day = first <= 12 ? second : first;
    if (month < 1 || month > 12 || day < 1 || day > 31)
        return false;
    moment->year = year;
    moment->month = month - 1;
    moment->day = day;
    *at = here;
    return true;
}

/* "nov 26", "26 nov", "nov 26th, 2026". */
static bool take_day (const char **at, moment_t *moment)
{
    static const char *const SUFFIXES[] = {"st", "nd", "rd", "th"};
    const char *here = *at;
    int day = -1, month = take_name (&here, MONTHS, 12);
    here = skip_spaces (here);
    if (!take_integer (&here, 2, &day) || day < 1 || day > 31)
        return false;
    for (size_t i = 0; i < sizeof SUFFIXES / sizeof *SUFFIXES; i++)
        if (take_word (&here, SUFFIXES[i]))
            break;
    if (month < 0) {
        here = skip_spaces (here);
        month = take_name (&here, MONTHS, 12);
    }
    if (month < 0)
        return false;
    moment->month = month;
    moment->day = day;
    const char *year = skip_spaces (here);
    int value;
    if (take_integer (&year, 4, &value) && value >= 2000 && *year != ':') {
        moment->year = value;
        here = year;
    }
    *at = here;
    return true;
}

/* "thu, nov 26", "11/26/2026", "tomorrow", "monday". */
static void take_date (const char **at, moment_t *moment)
{
    const char *here = skip_spaces (*at);
    int weekday = take_name (&here, DAYS, 7);
    const char *day = skip_spaces (here);
    if (take_day (&day, moment) || take_slashes (&day, moment)) {
        *at = day;
        return;
    }
    if (take_word (&here, "tomorrow"))
        moment->days_ahead = 1;
    else if (take_word (&here, "today"))
        moment->days_ahead = 0;
    else if ((moment->weekday = weekday) < 0)
        return;
    *at = here;
}

/* ":34", ":34:05" */
static bool take_minutes (const char **at, int *ret_minute, int *ret_second)
{
    (*at)++;
    if (!take_integer (at, 2, ret_minute) || *ret_minute > 59)
        return false;
    if (**at != ':')
        return true;
    (*at)++;
    return take_integer (at, 2, ret_second) && *ret_second <= 60;
}

/* "8:34 am", "8pm", "17:05", "midnight". A bare number is no time. */
static bool take_clock (const char **at, moment_t *moment)
{
    const char *here = skip_spaces (*at);
    int hour = 0, minute = 0, second = 0;
    if (take_word (&here, "at"))
        here = skip_spaces (here);
    if (take_word (&here, "noon"))
        hour = 12;
    else if (!take_word (&here, "midnight")) {
        if (!take_integer (&here, 2, &hour))
            return false;
        bool colon = *here == ':';
        if (colon && !take_minutes (&here, &minute, &second))
            return false;
        const char *half = skip_spaces (here);
        bool am = take_word (&half, "am") || take_word (&half, "a.m"),
             pm = !am && (take_word (&half, "pm") || take_word (&half, "p.m"));
        if ((am || pm) ? hour < 1 || hour > 12 : !colon || hour > 23)
            return false;
        if (am || pm) {
            hour = hour % 12 + (pm ? 12 : 0);
            here = half + (*half == '.');
        }
    }
    moment->hour = hour;
    moment->minute = minute;
    moment->second = second;
    *at = here;
    return true;
}

/* "(utc)", "(america/new_york)", "utc+2", "pst": only a name that stands for a zone. */
static void take_zone (const char *at, moment_t *moment)
{
    at = skip_spaces (at);
    bool bracket = *at == '(';
    at += bracket;
    size_t length = strspn (at, "abcdefghijklmnopqrstuvwxyz_/+-:0123456789");
    while (length > 0 && strchr (":/-", at[length - 1]))
        length--;
    char name[sizeof moment->zone];
    int64_t offset_s;
    if (length == 0 || length >= sizeof name)
        return;
    memcpy (name, at, length);
    name[length] = '\0';
    if (rota_zone_offset_s (name, 0, &offset_s))
        memcpy (moment->zone, name, length + 1);
    else
        moment->lost = bracket && strchr (name, '/') && at[length] == ')';
}

static int64_t utc_ms (const moment_t *moment, const struct tm *local, int days, const char *zone)
{
    struct tm time = {.tm_year = moment->year >= 0 ? moment->year - 1900 : local->tm_year,
                      .tm_mon = moment->month >= 0 ? moment->month : local->tm_mon,
                      .tm_mday = (moment->day >= 0 ? moment->day : local->tm_mday) + days,
                      .tm_hour = moment->hour,
                      .tm_min = moment->minute,
                      .tm_sec = moment->second};
    int64_t seconds = (int64_t)timegm (&time), offset_s = 0, at_s = seconds;
    for (int i = 0; i < 2; i++) {
        if (!rota_zone_offset_s (zone, at_s, &offset_s))
            offset_s = 0;
        at_s = seconds - offset_s;
    }
    return at_s * 1000;
}

/* INT64_MIN where none can be named. */
static int64_t resolve (const moment_t *moment, int64_t now_ms, const char *zone)
{
    int64_t offset_s = 0;
    if (moment->zone[0])
        zone = moment->zone;
    rota_zone_offset_s (zone, now_ms / 1000, &offset_s);
    time_t now_s = (time_t)(now_ms / 1000 + offset_s);
    struct tm local;
    if (moment->lost || !gmtime_r (&now_s, &local))
        return INT64_MIN;
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
    return at_ms;
}

/* ---- the forms of a moment; each is true where it is that form, believable or not */

static bool take_moment (const char *at, int64_t now_ms, const char *zone, int64_t *ret_ms)
{
    moment_t moment = NO_MOMENT;
    take_date (&at, &moment);
    bool dated = moment.month >= 0 || moment.weekday >= 0 || moment.days_ahead >= 0;
    if (!take_clock (&at, &moment) && !dated)
        return false;
    take_zone (at, &moment);
    *ret_ms = resolve (&moment, now_ms, zone);
    return true;
}

/* "01:00", "0100", "01": of an offset behind its sign. */
static bool take_offset (const char *at, int *ret_hours, int *ret_minutes)
{
    size_t digits = strspn (at, "0123456789");
    if (digits == 4)
        return sscanf (at, "%2d%2d", ret_hours, ret_minutes) == 2;
    return (digits == 1 || digits == 2) && sscanf (at, "%2d:%2d", ret_hours, ret_minutes) >= 1;
}

/* 2026-11-26T07:36:05.123+01:00; a space for the T, or no time at all; a zone may follow, else it is UTC. */
static bool take_iso (const char *at, int64_t now_ms, int64_t *ret_ms)
{
    moment_t moment = NO_MOMENT;
    if (!take_integer (&at, 4, &moment.year) || *at++ != '-' || !take_integer (&at, 2, &moment.month) ||
        *at++ != '-' || !take_integer (&at, 2, &moment.day))
        return false;
    *ret_ms = INT64_MIN;
    if (moment.year < 1970 || moment.month < 1 || moment.month > 12 || moment.day < 1 || moment.day > 31)
        return true;
    moment.month--;
    const char *clock = at + (*at == 't' || *at == ' ');
    if (take_clock (&clock, &moment))
        at = clock;
    if (*at == '.')
        at += 1 + strspn (at + 1, "0123456789");
    int hours, minutes = 0;
    if (*at != '+' && *at != '-')
        take_zone (at, &moment);
    else if (take_offset (at + 1, &hours, &minutes))
        moment.minute -= (*at == '-' ? -1 : 1) * (hours * 60 + minutes);
    else
        return true;
    *ret_ms = resolve (&moment, now_ms, "utc");
    return true;
}

/* Sun, 06 Nov 1994 08:49:37 GMT, in any case. */
static bool take_http_date (const char *at, int64_t now_ms, int64_t *ret_ms)
{
    moment_t moment = NO_MOMENT;
    if (take_name (&at, DAYS, 7) < 0 || *at != ',')
        return false;
    at = skip_spaces (at);
    if (!take_day (&at, &moment) || moment.year < 0 || !take_clock (&at, &moment))
        return false;
    *ret_ms = resolve (&moment, now_ms, "utc");
    return true;
}

/* Seconds, or milliseconds, since 1970; what is too small for that counts from now, where it may. */
static bool take_number (const char *at, bool relative, int64_t now_ms, int64_t *ret_ms)
{
    char *end;
    if (!isdigit ((unsigned char)*at) || (at[0] == '0' && at[1] == 'x'))
        return false;
    double value = strtod (at, &end);
    if (isalnum ((unsigned char)*end) || !(value < 1e15))
        return false;
    if (value > 1e11)
        *ret_ms = (int64_t)value;
    else if (value > 1e9)
        *ret_ms = (int64_t)(value * 1000);
    else if (relative && value < 1e8)
        *ret_ms = now_ms + (int64_t)ceil (value * 1000);
    else
        return false;
    return true;
}

/* "20s", "in 1h30m": from now on. */
static bool take_wait (const char **at, int64_t now_ms, int64_t *ret_ms)
{
    double wait_ms;
    if (!take_duration (at, &wait_ms))
        return false;
    *ret_ms = wait_ms <= (double)FUTURE_MS ? now_ms + (int64_t)ceil (wait_ms) : INT64_MAX;
    return true;
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
        const char *from = at;
        int64_t at_ms;
        if (take_iso (at, now_ms, &at_ms) || take_http_date (at, now_ms, &at_ms) ||
            take_wait (&from, now_ms, &at_ms) || take_number (at, true, now_ms, &at_ms))
            return believe (at_ms, now_ms, ret_ms);
    }
    return false;
}

/* Not in the middle of a word, a number or a name. */
static bool may_begin (const char *at, const char *begin)
{
    if (at == begin)
        return true;
    bool joined = at - 1 > begin && isalnum ((unsigned char)at[-2]);
    if (at[-1] == ':')
        return !(joined && isdigit ((unsigned char)at[-2]));
    return !isalnum ((unsigned char)at[-1]) && at[-1] != '_' && !(strchr ("-.+/", at[-1]) && joined);
}

/* "... later. If it persists": what follows is of something else; not so "wait max. 5 min".
 * Dates and times with a point in them are taken from their beginning. */
static bool is_sentence_end (const char *at, const char *begin)
{
    if (*at != '.' || at[1] != ' ')
        return false;
    const char *word = at;
    while (word > begin && isalpha ((unsigned char)word[-1]))
        word--;
    return at - word > 4;
}

static bool after_anchor (const char *at, int64_t now_ms, const char *zone, int64_t *ret_ms)
{
    const char *end = at + AFTER_ANCHOR_BYTES;
    for (const char *here = at; *here && here < end && !is_sentence_end (here, at); here++) {
        if (!isalnum ((unsigned char)*here) || !may_begin (here, at))
            continue;
        const char *from = here;
        int64_t at_ms;
        if (take_iso (here, now_ms, &at_ms) || take_http_date (here, now_ms, &at_ms) ||
            take_wait (&from, now_ms, &at_ms) || take_moment (here, now_ms, zone, &at_ms) ||
            take_number (here, false, now_ms, &at_ms))
            return believe (at_ms, now_ms, ret_ms);
    }
    return false;
}

/* In lower case; NUL and the spaces that aren't plain (before AM and PM in what JavaScript prints) are made
 * plain. */
static void make_lower (const char *text, size_t size, char *ret_text, size_t capacity)
{
    size_t used = 0;
    for (size_t i = 0; i < size && used + 1 < capacity; i++) {
        bool narrow = i + 2 < size && (memcmp (text + i, "\xe2\x80\xaf", 3) == 0 ||
                                       memcmp (text + i, "\xe2\x80\x89", 3) == 0);
        bool fixed = i + 1 < size && memcmp (text + i, "\xc2\xa0", 2) == 0;
        bool space = narrow || fixed || !text[i];
        ret_text[used++] = space ? ' ' : (char)tolower ((unsigned char)text[i]);
        i += narrow ? 2 : fixed;
    }
    ret_text[used] = '\0';
}

bool rota_reset_time_in_text (const char *text, size_t size_bytes, int64_t now_ms, const char *zone,
                              int64_t *ret_ms)
{
    static const char *const ANCHORS[] = {"reset",    "try again", "retry",      "retrying", "please wait",
                                          "wait for", "available", "wait until", "back at",  "wait "};
    char lower[TEXT_BYTES + 1];
    int64_t at_ms;
    make_lower (text, size_bytes, lower, sizeof lower);
    const char *bar = strstr (lower, "reached|");
    if (bar && take_number (bar + strlen ("reached|"), false, now_ms, &at_ms) &&
        believe (at_ms, now_ms, ret_ms))
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

static bool ends_with (const char *name, const char *end)
{
    size_t length = strlen (name), tail = strlen (end);
    return length >= tail && strcasecmp (name + length - tail, end) == 0;
}

bool rota_reset_time_in_header (const char *name, const char *value, int64_t now_ms, int64_t *ret_ms)
{
    char lower[64] = "";
    const char *after = lower;
    int64_t at_ms;
    bool in_ms = strcasecmp (name, "retry-after-ms") == 0;
    bool known = in_ms || strcasecmp (name, "retry-after") == 0 || ends_with (name, "-reset") ||
                 ends_with (name, "-reset-at") || ends_with (name, "-reset-after-seconds") ||
                 strncasecmp (name, "x-ratelimit-reset", 17) == 0;
    value += strspn (value, " \t");
    size_t size = strlen (value);
    while (size > 0 && (value[size - 1] == ' ' || value[size - 1] == '\t'))
        size--;
    if (!known || size == 0 || size >= sizeof lower)
        return false;
    make_lower (value, size, lower, sizeof lower);
    bool number = isdigit ((unsigned char)lower[0]) && !lower[strspn (lower, "0123456789.")];
    if (in_ms) {
        double wait_ms = number ? strtod (lower, NULL) : INFINITY;
        return wait_ms <= (double)FUTURE_MS && believe (now_ms + (int64_t)ceil (wait_ms), now_ms, ret_ms);
    }
    bool found = number ? take_number (lower, true, now_ms, &at_ms)
                        : take_http_date (lower, now_ms, &at_ms) || take_iso (lower, now_ms, &at_ms) ||
                              (take_wait (&after, now_ms, &at_ms) && !*after);
    return found && believe (at_ms, now_ms, ret_ms);
}
