#include "agents/zone.h"

#include <ctype.h>
#include <dirent.h>
#include <endian.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define ZONE_DIRECTORY "/usr/share/zoneinfo"
#define ZONE_BYTES (64u << 10)
#define HEADER_BYTES 44

/* Abbreviations that stand for one offset in what vendors print. */
static const struct {
    const char *name;
    int minutes;
} FIXED[] = {{"utc", 0},    {"gmt", 0},     {"z", 0},       {"wet", 0},    {"bst", 60},   {"west", 60},
             {"cet", 60},   {"cest", 120},  {"eet", 120},   {"eest", 180}, {"msk", 180},  {"ist", 330},
             {"sgt", 480},  {"hkt", 480},   {"awst", 480},  {"jst", 540},  {"kst", 540},  {"acst", 570},
             {"aest", 600}, {"aedt", 660},  {"nzst", 720},  {"nzdt", 780}, {"brt", -180}, {"edt", -240},
             {"est", -300}, {"cdt", -300},  {"cst", -360},  {"mdt", -360}, {"mst", -420}, {"pdt", -420},
             {"pst", -480}, {"akdt", -480}, {"akst", -540}, {"hst", -600}};

/* Words that stand for a place, in summer and in winter. */
static const struct {
    const char *word, *name;
} PLACES[] = {{"pt", "america/los_angeles"}, {"pacific", "america/los_angeles"},
              {"mt", "america/denver"},      {"mountain", "america/denver"},
              {"ct", "america/chicago"},     {"central", "america/chicago"},
              {"et", "america/new_york"},    {"eastern", "america/new_york"}};

static uint32_t number_at (const uint8_t *bytes)
{
    uint32_t value;
    memcpy (&value, bytes, sizeof value);
    return be32toh (value);
}

static int64_t long_at (const uint8_t *bytes)
{
    uint64_t value;
    memcpy (&value, bytes, sizeof value);
    return (int64_t)be64toh (value);
}

/* What a header (RFC 8536) says of the block behind it. */
typedef struct {
    size_t is_utc, is_standard, leaps, transitions, types, characters;
} counts_t;

static bool read_header (const uint8_t *bytes, size_t size, counts_t *ret_counts)
{
    if (size < HEADER_BYTES || memcmp (bytes, "TZif", 4) != 0)
        return false;
    *ret_counts = (counts_t){number_at (bytes + 20), number_at (bytes + 24), number_at (bytes + 28),
                             number_at (bytes + 32), number_at (bytes + 36), number_at (bytes + 40)};
    return ret_counts->is_utc < 256 && ret_counts->is_standard < 256 && ret_counts->leaps < 1000 &&
           ret_counts->transitions < 10000 && ret_counts->types < 256 && ret_counts->types > 0 &&
           ret_counts->characters < 10000;
}

static size_t block_bytes (const counts_t *counts, size_t time_bytes)
{
    return counts->transitions * (time_bytes + 1) + counts->types * 6 + counts->characters +
           counts->leaps * (time_bytes + 4) + counts->is_standard + counts->is_utc;
}

/* ---- the rule for the time behind the last transition, "EST5EDT,M3.2.0,M11.1.0" (POSIX, TZ) */

static bool take_name (const char **at)
{
    const char *from = *at;
    if (**at == '<') {
        *at += strcspn (*at, ">");
        return *(*at)++ == '>';
    }
    while (isalpha ((unsigned char)**at))
        (*at)++;
    return *at > from;
}

static bool take_digits (const char **at, int most, int *ret_value)
{
    const char *from = *at;
    int value = 0;
    while (isdigit ((unsigned char)**at) && value <= most)
        value = value * 10 + (*(*at)++ - '0');
    *ret_value = value;
    return *at > from && value <= most;
}

/* [+-]hh[:mm[:ss]] */
static bool take_seconds (const char **at, int64_t *ret_s)
{
    int parts[3] = {0, 0, 0}, sign = **at == '-' ? -1 : 1;
    *at += **at == '-' || **at == '+';
    for (int i = 0; i < 3; i++) {
        if (!take_digits (at, i ? 59 : 167, &parts[i]))
            return false;
        if (i == 2 || **at != ':')
            break;
        (*at)++;
    }
    *ret_s = sign * (parts[0] * INT64_C (3600) + parts[1] * 60 + parts[2]);
    return true;
}

/* ",M3.2.0/2", ",J60", ",59": seconds from 1970 of the change in that year, by the clock before it. */
static bool take_change (const char **at, int year, int64_t *ret_s)
{
    int month, week, day;
    struct tm date = {.tm_year = year, .tm_mday = 1};
    int64_t time_s = 2 * 3600;
    if (*(*at)++ != ',')
        return false;
    if (**at == 'M') {
        (*at)++;
        if (!take_digits (at, 12, &month) || *(*at)++ != '.' || !take_digits (at, 5, &week) ||
            *(*at)++ != '.' || !take_digits (at, 6, &day) || month < 1 || week < 1)
            return false;
        date.tm_mon = month - 1;
        timegm (&date); /* says the weekday of the first */
        int first = 1 + (day - date.tm_wday + 7) % 7;
        date.tm_mday = first + (week - 1) * 7;
        timegm (&date);
        if (date.tm_mon != month - 1) /* "the fifth" is the last */
            date.tm_mday -= 7;
    } else {
        bool without_leap_day = **at == 'J';
        *at += without_leap_day;
        if (!take_digits (at, 365, &day) || (without_leap_day && day < 1))
            return false;
        bool leaps = (year % 4 == 0 && year % 100 != 0) || (year + 300) % 400 == 0;
        date.tm_mday = without_leap_day ? day + (leaps && day >= 60) : day + 1;
    }
    if (**at == '/' && ((*at)++, !take_seconds (at, &time_s)))
        return false;
    *ret_s = (int64_t)timegm (&date) + time_s;
    return true;
}

static bool offset_by_rule (const char *rule, int64_t at_s, int64_t *ret_offset_s)
{
    int64_t west_s, summer_s, begin_s, end_s;
    if (!take_name (&rule) || !take_seconds (&rule, &west_s))
        return false;
    *ret_offset_s = -west_s;
    if (!*rule)
        return true;
    summer_s = 3600 - west_s;
    if (!take_name (&rule))
        return false;
    if (*rule && *rule != ',') {
        if (!take_seconds (&rule, &summer_s))
            return false;
        summer_s = -summer_s;
    }
    time_t local_s = (time_t)(at_s - west_s);
    struct tm local;
    if (!gmtime_r (&local_s, &local) || !take_change (&rule, local.tm_year, &begin_s) ||
        !take_change (&rule, local.tm_year, &end_s) || *rule)
        return false;
    begin_s += west_s;
    end_s -= summer_s;
    bool summer = begin_s < end_s ? at_s >= begin_s && at_s < end_s : at_s >= begin_s || at_s < end_s;
    if (summer)
        *ret_offset_s = summer_s;
    return true;
}

/* The line behind the second block; files made slim hold no transitions that follow from it. */
static bool offset_by_footer (const uint8_t *bytes, size_t size, int64_t at_s, int64_t *ret_offset_s)
{
    char rule[128];
    const uint8_t *end = size > 1 && bytes[0] == '\n' ? memchr (bytes + 1, '\n', size - 1) : NULL;
    size_t length = end ? (size_t)(end - bytes) - 1 : 0;
    if (length == 0 || length >= sizeof rule)
        return false;
    memcpy (rule, bytes + 1, length);
    rule[length] = '\0';
    return offset_by_rule (rule, at_s, ret_offset_s);
}

/* The second block, which has 64-bit times; the first is there for old readers. */
static bool offset_in (const uint8_t *bytes, size_t size, int64_t at_s, int64_t *ret_offset_s)
{
    counts_t counts;
    if (!read_header (bytes, size, &counts))
        return false;
    size_t skip = HEADER_BYTES + block_bytes (&counts, 4);
    if (skip > size || !read_header (bytes + skip, size - skip, &counts) ||
        size - skip - HEADER_BYTES < block_bytes (&counts, 8))
        return false;
    const uint8_t *times = bytes + skip + HEADER_BYTES, *indices = times + counts.transitions * 8;
    const uint8_t *types = indices + counts.transitions;
    size_t used = skip + HEADER_BYTES + block_bytes (&counts, 8), type = 0;
    bool behind = counts.transitions == 0 || long_at (times + (counts.transitions - 1) * 8) <= at_s;
    if (behind && offset_by_footer (bytes + used, size - used, at_s, ret_offset_s))
        return true;
    for (size_t i = 0; i < counts.transitions && long_at (times + i * 8) <= at_s; i++)
        type = indices[i];
    if (type >= counts.types)
        return false;
    *ret_offset_s = (int32_t)number_at (types + type * 6);
    return true;
}

/* Opens the entry of a directory whose name is `name` but for case: sentences are read in lower case, and
 * which words of a zone have a capital ("Port_of_Spain") follows from no rule. -1 where there is none. */
static int open_entry (int directory, const char *name)
{
    DIR *entries = fdopendir (directory);
    const struct dirent *entry = NULL;
    int fd = -1;
    if (!entries) {
        close (directory);
        return -1;
    }
    while ((entry = readdir (entries)) && strcasecmp (entry->d_name, name) != 0)
        ;
    if (entry)
        fd = openat (directory, entry->d_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    closedir (entries);
    return fd;
}

/* "america/argentina/buenos_aires". A name without a slash is no zone: any word may follow a time. */
static int open_zone (const char *name)
{
    char copy[80], *rest;
    if (!strchr (name, '/') || name[0] == '/' || strlen (name) >= sizeof copy)
        return -1;
    for (const char *c = name; *c; c++)
        if (!isalnum ((unsigned char)*c) && !strchr ("/_+-", *c))
            return -1;
    strcpy (copy, name);
    int fd = open (ZONE_DIRECTORY, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    for (char *part = strtok_r (copy, "/", &rest); part && fd >= 0; part = strtok_r (NULL, "/", &rest))
        fd = open_entry (fd, part);
    return fd;
}

static bool offset_of_file (const char *name, int64_t at_s, int64_t *ret_offset_s)
{
    int fd = open_zone (name);
    uint8_t *bytes = fd < 0 ? NULL : malloc (ZONE_BYTES);
    ssize_t size = bytes ? read (fd, bytes, ZONE_BYTES) : -1;
    bool found = size > 0 && offset_in (bytes, (size_t)size, at_s, ret_offset_s);
    free (bytes);
    if (fd >= 0)
        close (fd);
    return found;
}

/* "utc+2", "gmt-5", "utc+05:30": east is positive. */
static bool offset_in_name (const char *name, int64_t *ret_offset_s)
{
    if (strncasecmp (name, "utc", 3) != 0 && strncasecmp (name, "gmt", 3) != 0)
        return false;
    name += 3;
    if (*name != '+' && *name != '-')
        return false;
    int64_t offset_s;
    if (!take_seconds (&name, &offset_s) || *name || llabs (offset_s) > 14 * 3600)
        return false;
    *ret_offset_s = offset_s;
    return true;
}

bool rota_zone_offset_s (const char *name, int64_t at_s, int64_t *ret_offset_s)
{
    if (!name) {
        time_t time = (time_t)at_s;
        struct tm local;
        if (!localtime_r (&time, &local))
            return false;
        *ret_offset_s = local.tm_gmtoff;
        return true;
    }
    for (size_t i = 0; i < sizeof FIXED / sizeof *FIXED; i++)
        if (strcasecmp (name, FIXED[i].name) == 0) {
            *ret_offset_s = FIXED[i].minutes * INT64_C (60);
            return true;
        }
    for (size_t i = 0; i < sizeof PLACES / sizeof *PLACES; i++)
        if (strcasecmp (name, PLACES[i].word) == 0)
            name = PLACES[i].name;
    return offset_in_name (name, ret_offset_s) || offset_of_file (name, at_s, ret_offset_s);
}
