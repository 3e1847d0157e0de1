#include "telemetry/event_json.h"
#include "bus/clock.h"
#include "proto/envelope.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_BYTES 96 /* ,"a short key":a number */
#define WORST_ESCAPE 6  /* \u00XX, or U+FFFD's three bytes for one */

int rota_text_reserve (rota_text_t *self, size_t more_bytes)
{
    size_t wanted;
    if (__builtin_add_overflow (self->size_bytes, more_bytes, &wanted))
        return -ENOMEM;
    if (wanted <= self->capacity_bytes)
        return 0;
    size_t capacity = self->capacity_bytes < 512 ? 512 : self->capacity_bytes;
    while (capacity < wanted)
        if (__builtin_mul_overflow (capacity, (size_t)2, &capacity))
            return -ENOMEM;
    char *bytes = realloc (self->bytes, capacity);
    if (!bytes)
        return -ENOMEM;
    self->bytes = bytes;
    self->capacity_bytes = capacity;
    return 0;
}

int rota_text_add (rota_text_t *self, const void *bytes, size_t size_bytes)
{
    int rc = rota_text_reserve (self, size_bytes);
    if (rc == 0 && size_bytes) {
        memcpy (self->bytes + self->size_bytes, bytes, size_bytes);
        self->size_bytes += size_bytes;
    }
    return rc;
}

void rota_text_free (rota_text_t *self)
{
    free (self->bytes);
    *self = (rota_text_t){0};
}

static bool continues (const uint8_t *at, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if ((at[i] & 0xc0) != 0x80)
            return false;
    return true;
}

/* The length of the UTF-8 sequence at `at`, 0 when it is none (overlong forms, surrogates and what lies over
 * U+10FFFF among them). */
static size_t sequence (const uint8_t *at, size_t left)
{
    uint8_t lead = at[0];
    if (lead >= 0xc2 && lead <= 0xdf && left >= 2 && continues (at + 1, 1))
        return 2;
    if (lead >= 0xe0 && lead <= 0xef && left >= 3 && continues (at + 1, 2)) {
        bool overlong = lead == 0xe0 && at[1] < 0xa0;
        bool surrogate = lead == 0xed && at[1] > 0x9f;
        return overlong || surrogate ? 0 : 3;
    }
    if (lead >= 0xf0 && lead <= 0xf4 && left >= 4 && continues (at + 1, 3)) {
        bool overlong = lead == 0xf0 && at[1] < 0x90;
        bool beyond = lead == 0xf4 && at[1] > 0x8f;
        return overlong || beyond ? 0 : 4;
    }
    return 0;
}

/* Writes one ASCII character that can't stand as it is; returns where to go on. */
static char *escape (char *out, uint8_t byte)
{
    static const char HEX[] = "0123456789abcdef";
    static const char SHORT[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    *out++ = '\\';
    for (const char *pair = SHORT; *pair; pair += 2)
        if ((uint8_t)pair[0] == byte) {
            *out++ = pair[1];
            return out;
        }
    memcpy (out, "u00", 3);
    out[3] = HEX[byte >> 4];
    out[4] = HEX[byte & 15];
    return out + 5;
}

static bool stands_as_it_is (uint8_t byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

int rota_json_string (rota_text_t *text, const void *bytes, size_t size_bytes)
{
    size_t worst;
    if (__builtin_mul_overflow (size_bytes, (size_t)WORST_ESCAPE, &worst) || worst > SIZE_MAX - 2 ||
        rota_text_reserve (text, worst + 2) < 0)
        return -ENOMEM;

    const uint8_t *at = bytes, *end = at + size_bytes;
    char *out = text->bytes + text->size_bytes;
    *out++ = '"';
    while (at < end) {
        const uint8_t *plain = at;
        while (at < end && stands_as_it_is (*at))
            at++;
        memcpy (out, plain, (size_t)(at - plain));
        out += at - plain;
        if (at == end)
            break;
        if (*at < 0x80) {
            out = escape (out, *at++);
            continue;
        }
        size_t length = sequence (at, (size_t)(end - at));
        if (length) {
            memcpy (out, at, length);
            out += length;
            at += length;
        } else {
            memcpy (out, "\xef\xbf\xbd", 3);
            out += 3;
            at++;
        }
    }
    *out++ = '"';
    text->size_bytes = (size_t)(out - text->bytes);
    return 0;
}

static int add_key (rota_text_t *line, const char *key)
{
    int rc = rota_text_add (line, ",\"", 2);
    if (rc == 0)
        rc = rota_text_add (line, key, strlen (key));
    return rc < 0 ? rc : rota_text_add (line, "\":", 2);
}

static int add_bytes (rota_text_t *line, const char *key, bool present, const ProtobufCBinaryData *value)
{
    if (!present)
        return 0;
    int rc = add_key (line, key);
    return rc < 0 ? rc : rota_json_string (line, value->data, value->len);
}

static int add_word (rota_text_t *line, const char *key, bool present, const char *word)
{
    if (!present)
        return 0;
    int rc = add_key (line, key);
    return rc < 0 ? rc : rota_json_string (line, word, strlen (word));
}

/* A document of JSON, which must stay on one line: outside of strings line ends are but blanks, and inside
 * jansson refuses them. */
static int add_document (rota_text_t *line, const ProtobufCBinaryData *value)
{
    size_t from = line->size_bytes;
    int rc = rota_text_add (line, value->data, value->len);
    for (size_t i = from; rc == 0 && i < line->size_bytes; i++)
        if (line->bytes[i] == '\n' || line->bytes[i] == '\r')
            line->bytes[i] = ' ';
    return rc;
}

static int add_detail (rota_text_t *line, const Rota__Event *event)
{
    if (!event->has_detail)
        return 0;
    int rc = add_key (line, "detail");
    if (rc < 0)
        return rc;
    json_t *document = json_loadb ((const char *)event->detail.data, event->detail.len, 0, NULL);
    if (!document)
        return rota_json_string (line, event->detail.data, event->detail.len);
    json_decref (document);
    return add_document (line, &event->detail);
}

static void write_digits (char *out, int count, int64_t number)
{
    for (int i = count - 1; i >= 0; i--, number /= 10)
        out[i] = (char)('0' + number % 10);
}

/* As rota_clock_iso, which with the C library's help takes half of the time of a whole line. The date of a
 * day is Howard Hinnant's civil_from_days (http://howardhinnant.github.io/date_algorithms.html), for years
 * 1970 to 9999. */
static void write_time (int64_t wall_ms, char ret_text[ROTA_CLOCK_ISO_BYTES])
{
    if (wall_ms < 0 || wall_ms >= INT64_C (253402300800000)) {
        rota_clock_iso (wall_ms, ret_text);
        return;
    }
    int64_t days = wall_ms / 86400000 + 719468, ms = wall_ms % 86400000;
    int64_t era = days / 146097, day_of_era = days % 146097;
    int64_t year = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * day_of_year + 2) / 153; /* from March */
    int64_t day = day_of_year - (153 * month + 2) / 5 + 1;
    bool next_year = month >= 10;
    memcpy (ret_text, "0000-00-00T00:00:00.000Z", sizeof "0000-00-00T00:00:00.000Z");
    write_digits (ret_text, 4, era * 400 + year + next_year);
    write_digits (ret_text + 5, 2, next_year ? month - 9 : month + 3);
    write_digits (ret_text + 8, 2, day);
    write_digits (ret_text + 11, 2, ms / 3600000);
    write_digits (ret_text + 14, 2, ms / 60000 % 60);
    write_digits (ret_text + 17, 2, ms / 1000 % 60);
    write_digits (ret_text + 20, 3, ms % 1000);
}

static int add_start (rota_text_t *line, const Rota__Event *event)
{
    char time[ROTA_CLOCK_ISO_BYTES], type[32], start[NUMBER_BYTES * 2];
    write_time (event->time_ms, time);
    const char *name = rota_event_type_name (event->type);
    if (name[0] == '?') {
        snprintf (type, sizeof type, "unknown.%d", (int)event->type);
        name = type;
    }
    int length = snprintf (start, sizeof start, "{\"time\":\"%s\",\"seq\":%" PRIu64 ",\"event\":\"%s\"", time,
                           event->seq, name);
    return rota_text_add (line, start, (size_t)length);
}

static int add_attempt (rota_text_t *line, const Rota__Event *event)
{
    if (!event->has_attempt)
        return 0;
    char number[NUMBER_BYTES];
    int length = snprintf (number, sizeof number, ",\"attempt\":%" PRIu32, event->attempt);
    return rota_text_add (line, number, (size_t)length);
}

int rota_event_json (const Rota__Event *event, rota_text_t *line)
{
    size_t before = line->size_bytes;
    if (add_start (line, event) < 0 || add_bytes (line, "task", event->has_task, &event->task) < 0 ||
        add_attempt (line, event) < 0 || add_bytes (line, "agent", event->has_agent, &event->agent) < 0 ||
        add_word (line, "from", event->has_from_status, rota_status_name (event->from_status)) < 0 ||
        add_word (line, "to", event->has_to_status, rota_status_name (event->to_status)) < 0 ||
        add_word (line, "phase", event->has_phase, rota_phase_name (event->phase)) < 0 ||
        add_word (line, "result", event->has_result_class, rota_result_class_name (event->result_class)) <
            0 ||
        add_bytes (line, "reason", event->has_reason, &event->reason) < 0 || add_detail (line, event) < 0 ||
        rota_text_add (line, "}\n", 2) < 0) {
        line->size_bytes = before;
        return -ENOMEM;
    }
    return 0;
}
