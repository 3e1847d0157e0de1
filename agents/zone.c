#include "agents/zone.h"

#include <ctype.h>
#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define ZONE_DIRECTORY "/usr/share/zoneinfo"
#define ZONE_BYTES (64u << 10)
#define HEADER_BYTES 44

/* Abbreviations that stand for one offset in what American and European vendors print. */
static const struct {
    const char *name;
    int hours;
} FIXED[] = {{"utc", 0},  {"gmt", 0},  {"z", 0},    {"pst", -8}, {"pdt", -7}, {"mst", -7},
             {"mdt", -6}, {"cst", -6}, {"cdt", -5}, {"est", -5}, {"edt", -4}, {"wet", 0},
             {"bst", 1},  {"cet", 1},  {"cest", 2}, {"eet", 2}};

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
    size_t type = 0;
    for (size_t i = 0; i < counts.transitions && long_at (times + i * 8) <= at_s; i++)
        type = indices[i];
    if (type >= counts.types)
        return false;
    *ret_offset_s = (int32_t)number_at (types + type * 6);
    return true;
}

/* "america/new_york" is America/New_York on disk: each word begins with a capital. */
static bool path_of (const char *name, char *ret_path, size_t capacity)
{
    bool begins = true;
    if (!strchr (name, '/') || strstr (name, "..") || name[0] == '/' ||
        snprintf (ret_path, capacity, ZONE_DIRECTORY "/%s", name) >= (int)capacity)
        return false;
    for (char *c = ret_path + strlen (ZONE_DIRECTORY "/"); *c; c++) {
        if (!isalnum ((unsigned char)*c) && !strchr ("/_+-", *c))
            return false;
        *c = (char)(begins ? toupper ((unsigned char)*c) : tolower ((unsigned char)*c));
        begins = *c == '/' || *c == '_' || *c == '-';
    }
    return true;
}

static bool offset_of_file (const char *name, int64_t at_s, int64_t *ret_offset_s)
{
    char path[160];
    if (!path_of (name, path, sizeof path))
        return false;
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    uint8_t *bytes = fd < 0 ? NULL : malloc (ZONE_BYTES);
    ssize_t size = bytes ? read (fd, bytes, ZONE_BYTES) : -1;
    bool found = size > 0 && offset_in (bytes, (size_t)size, at_s, ret_offset_s);
    free (bytes);
    if (fd >= 0)
        close (fd);
    return found;
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
            *ret_offset_s = FIXED[i].hours * INT64_C (3600);
            return true;
        }
    return offset_of_file (name, at_s, ret_offset_s);
}
