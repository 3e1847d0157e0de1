#include "bus/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DURATION_MAX_MS (1000 * INT64_C (365) * 86400000)
#define TIME_MAX_MS INT64_C (253402300799999) /* the end of 9999 */
#define SIZE_MAX_BYTES (INT64_C (1) << 62)

typedef struct {
    const char *name;
    int64_t factor;
} unit_t;

/* Longest first where one is another's beginning; the writers take them in this order too. */
static const unit_t DURATIONS[] = {{"d", 86400000}, {"h", 3600000}, {"ms", 1}, {"min", 60000},
                                   {"m", 60000},    {"s", 1000},    {NULL, 0}};
static const unit_t SIZES[] = {{"KiB", INT64_C (1) << 10},
                               {"MiB", INT64_C (1) << 20},
                               {"GiB", INT64_C (1) << 30},
                               {"TiB", INT64_C (1) << 40},
                               {"kB", INT64_C (1) << 10},
                               {"KB", INT64_C (1) << 10},
                               {"MB", INT64_C (1) << 20},
                               {"GB", INT64_C (1) << 30},
                               {"TB", INT64_C (1) << 40},
                               {"K", INT64_C (1) << 10},
                               {"k", INT64_C (1) << 10},
                               {"M", INT64_C (1) << 20},
                               {"G", INT64_C (1) << 30},
                               {"T", INT64_C (1) << 40},
                               {"B", 1},
                               {NULL, 0}};

static const unit_t *match_unit (const unit_t *units, const char *text)
{
    for (; units->name; units++)
        if (!strncmp (units->name, text, strlen (units->name)))
            return units;
    return NULL;
}

/* Digits with an optional fraction at *text_p, which moves behind them. */
static int read_amount (const char **text_p, double *ret_amount)
{
    const char *text = *text_p;
    size_t digits = strspn (text, "0123456789");
    size_t length = digits;
    if (text[length] == '.') {
        size_t fraction = strspn (text + length + 1, "0123456789");
        if (!fraction)
            return -EINVAL;
        length += 1 + fraction;
    }
    if (!digits || length > 40)
        return -EINVAL;
    *ret_amount = strtod (text, NULL);
    *text_p = text + length;
    return 0;
}

int rota_duration_parse (const char *text, int64_t *ret_ms)
{
    double total = 0, amount;
    const char *rest = text;
    int parts = 0;
    do {
        while (parts && *rest == ' ')
            rest++;
        if (read_amount (&rest, &amount) < 0)
            return -EINVAL;
        if (!*rest && !parts) {
            total = amount * 1000;
            break;
        }
        if (parts == 0 && *rest == ' ')
            rest++;
        const unit_t *unit = match_unit (DURATIONS, rest);
        if (!unit)
            return -EINVAL;
        total += amount * (double)unit->factor;
        rest += strlen (unit->name);
        parts++;
    } while (*rest && parts < 8);
    if (*rest)
        return -EINVAL;
    if (total > (double)DURATION_MAX_MS)
        return -ERANGE;
    *ret_ms = llround (total);
    return 0;
}

void rota_duration_write (int64_t ms, char ret_text[ROTA_UNITS_BYTES])
{
    static const unit_t PARTS[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t used = 0;
    for (size_t i = 0; i < sizeof PARTS / sizeof *PARTS; i++) {
        int64_t amount = ms / PARTS[i].factor;
        ms %= PARTS[i].factor;
        if (amount > 0 && used < ROTA_UNITS_BYTES)
            used += (size_t)snprintf (ret_text + used, ROTA_UNITS_BYTES - used, "%" PRId64 "%s", amount,
                                      PARTS[i].name);
    }
    if (!used)
        snprintf (ret_text, ROTA_UNITS_BYTES, "0s");
}

int rota_size_parse (const char *text, int64_t *ret_bytes)
{
    const char *rest = text;
    double amount;
    if (read_amount (&rest, &amount) < 0)
        return -EINVAL;
    if (*rest == ' ')
        rest++;
    if (*rest) {
        const unit_t *unit = match_unit (SIZES, rest);
        if (!unit || rest[strlen (unit->name)])
            return -EINVAL;
        amount *= (double)unit->factor;
    }
    if (amount > (double)SIZE_MAX_BYTES)
        return -ERANGE;
    *ret_bytes = llround (amount);
    return 0;
}

void rota_size_write (int64_t bytes, char ret_text[ROTA_UNITS_BYTES])
{
    for (int i = 3; i >= 0; i--)
        if (bytes >= SIZES[i].factor && bytes % SIZES[i].factor == 0) {
            snprintf (ret_text, ROTA_UNITS_BYTES, "%" PRId64 "%s", bytes / SIZES[i].factor, SIZES[i].name);
            return;
        }
    snprintf (ret_text, ROTA_UNITS_BYTES, "%" PRId64, bytes);
}

int rota_integer_parse (const char *text, int64_t *ret_number)
{
    const char *digits = text + (*text == '-' || *text == '+');
    if (!*digits || digits[strspn (digits, "0123456789")])
        return -EINVAL;
    errno = 0;
    long long number = strtoll (text, NULL, 10);
    if (errno)
        return -ERANGE;
    *ret_number = number;
    return 0;
}

int rota_number_parse (const char *text, double *ret_number)
{
    const char *rest = text + (*text == '-' || *text == '+');
    size_t digits = strspn (rest, "0123456789");
    rest += digits;
    if (*rest == '.') {
        size_t fraction = strspn (++rest, "0123456789");
        digits += fraction;
        rest += fraction;
    }
    if (!digits)
        return -EINVAL;
    if (*rest == 'e' || *rest == 'E') {
        rest++;
        rest += *rest == '-' || *rest == '+';
        if (!isdigit ((unsigned char)*rest))
            return -EINVAL;
        rest += strspn (rest, "0123456789");
    }
    if (*rest)
        return -EINVAL;
    double number = strtod (text, NULL);
    if (!isfinite (number))
        return -EINVAL;
    *ret_number = number;
    return 0;
}

int rota_boolean_parse (const char *text, bool *ret_value)
{
    static const struct {
        const char *word;
        bool value;
    } WORDS[] = {{"true", true},   {"True", true},   {"TRUE", true}, {"yes", true}, {"Yes", true},
                 {"YES", true},    {"on", true},     {"On", true},   {"ON", true},  {"false", false},
                 {"False", false}, {"FALSE", false}, {"no", false},  {"No", false}, {"NO", false},
                 {"off", false},   {"Off", false},   {"OFF", false}};
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
        if (!strcmp (text, WORDS[i].word)) {
            *ret_value = WORDS[i].value;
            return 0;
        }
    return -EINVAL;
}

/* Exactly `count` digits at *text_p, followed by nothing but what comes next. */
static bool take_digits (const char **text_p, int count, int *ret_number)
{
    int number = 0;
    for (int i = 0; i < count; i++) {
        char c = (*text_p)[i];
        if (c < '0' || c > '9')
            return false;
        number = number * 10 + (c - '0');
    }
    *text_p += count;
    *ret_number = number;
    return true;
}

static bool take_char (const char **text_p, const char *any_of)
{
    if (!**text_p || !strchr (any_of, **text_p))
        return false;
    (*text_p)++;
    return true;
}

static bool take_clock (const char **text_p, struct tm *tm, int *ret_ms)
{
    const char *text = *text_p;
    if (!take_digits (&text, 2, &tm->tm_hour) || !take_char (&text, ":") ||
        !take_digits (&text, 2, &tm->tm_min))
        return false;
    if (take_char (&text, ":")) {
        if (!take_digits (&text, 2, &tm->tm_sec))
            return false;
        if (take_char (&text, ".,")) {
            int unit = 100;
            if (!isdigit ((unsigned char)*text))
                return false;
            for (; isdigit ((unsigned char)*text); text++, unit /= 10)
                *ret_ms += (*text - '0') * unit;
        }
    }
    *text_p = text;
    return tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec < 60;
}

/* "", "Z", "+02:00", "+0200", "+02". */
static bool take_zone (const char **text_p, bool *ret_local, int *ret_offset_s)
{
    take_char (text_p, " ");
    *ret_local = !**text_p;
    if (*ret_local || take_char (text_p, "Zz"))
        return true;
    int sign = **text_p == '-' ? -1 : 1, hours, minutes = 0;
    if (!take_char (text_p, "+-") || !take_digits (text_p, 2, &hours))
        return false;
    take_char (text_p, ":");
    if (**text_p && !take_digits (text_p, 2, &minutes))
        return false;
    *ret_offset_s = sign * (hours * 3600 + minutes * 60);
    return hours < 24 && minutes < 60;
}

int rota_time_parse (const char *text, int64_t *ret_wall_ms)
{
    struct tm tm = {.tm_isdst = -1};
    int ms = 0, offset_s = 0;
    bool local = true;
    if (!take_digits (&text, 4, &tm.tm_year) || !take_char (&text, "-") ||
        !take_digits (&text, 2, &tm.tm_mon) || !take_char (&text, "-") ||
        !take_digits (&text, 2, &tm.tm_mday))
        return -EINVAL;
    if (take_char (&text, "Tt ") && (!take_clock (&text, &tm, &ms) || !take_zone (&text, &local, &offset_s)))
        return -EINVAL;
    if (*text || tm.tm_year < 1970 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1)
        return -EINVAL;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    int day = tm.tm_mday;
    time_t seconds = local ? mktime (&tm) : timegm (&tm);
    /* Both normalise 31 February to March: the day then differs. A local hour that a clock change skips may
     * move, never to another day. */
    if (tm.tm_mday != day)
        return -EINVAL;
    int64_t wall_ms = ((int64_t)seconds - offset_s) * 1000 + ms;
    if (wall_ms < 0 || wall_ms > TIME_MAX_MS)
        return -EINVAL;
    *ret_wall_ms = wall_ms;
    return 0;
}
