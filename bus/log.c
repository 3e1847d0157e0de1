#include "bus/log.h"

#include "bus/clock.h"
#include "bus/names.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096  /* PIPE_BUF: a longer write could be torn by another process's */
#define PAIR_ROOM_BYTES 128  /* with less left a line takes no further pair */
#define VALUE_MAX_BYTES 2048 /* of one JSON string */
#define ESCAPE_MAX_BYTES 8
#define LIMITED_KEYS 64
#define LIMITED_KEY_BYTES 64

static const char *const LEVELS[] = {
    [ROTA_LOG_ERROR] = "error",
    [ROTA_LOG_WARNING] = "warning",
    [ROTA_LOG_INFO] = "info",
    [ROTA_LOG_DEBUG] = "debug",
};

static struct {
    const char *service;
    rota_log_level_t level;
    rota_log_format_t format;
} settings = {"rota", ROTA_LOG_INFO, ROTA_LOG_LOGFMT};

/* What a peer can provoke. The set is fixed: with more keys than places the one quiet longest makes room. */
typedef struct {
    char key[LIMITED_KEY_BYTES]; /* "" = free */
    int64_t written_ms;
    unsigned left_out;
} limited_t;

static pthread_mutex_t limited_lock = PTHREAD_MUTEX_INITIALIZER;
static limited_t limited[LIMITED_KEYS];

typedef struct {
    char bytes[LINE_MAX_BYTES];
    size_t used;
} line_t;

static size_t room (const line_t *line)
{
    return sizeof line->bytes - line->used;
}

static void put (line_t *line, const char *text)
{
    size_t length = strlen (text);
    if (length > room (line))
        length = room (line);
    memcpy (line->bytes + line->used, text, length);
    line->used += length;
}

/* The escape of one byte: `\n`, or what `format` makes of it. */
static void escape_byte (unsigned char byte, const char *others, char ret_escape[ESCAPE_MAX_BYTES])
{
    static const char NAMED[] = "\"\"\\\\\nn\tt\rr"; /* byte, letter */
    for (size_t i = 0; i + 1 < sizeof NAMED; i += 2)
        if ((unsigned char)NAMED[i] == byte) {
            snprintf (ret_escape, ESCAPE_MAX_BYTES, "\\%c", NAMED[i + 1]);
            return;
        }
    snprintf (ret_escape, ESCAPE_MAX_BYTES, "%s%02x", others, byte);
}

static bool is_printable (const char *text, size_t size)
{
    return size > 0 && rota_text_is_valid (text, size, false);
}

static void put_json (line_t *line, const char *text, size_t length)
{
    if (length > VALUE_MAX_BYTES)
        length = VALUE_MAX_BYTES;
    put (line, "\"");
    for (size_t i = 0; i < length && room (line) > PAIR_ROOM_BYTES / 2;) {
        size_t size = rota_utf8_sequence (text + i, length - i);
        char escape[ESCAPE_MAX_BYTES] = "";
        if (size == 0)
            snprintf (escape, sizeof escape, "\\ufffd");
        else if (size == 1 && (!is_printable (text + i, 1) || text[i] == '"' || text[i] == '\\'))
            escape_byte ((unsigned char)text[i], "\\u00", escape);
        else
            memcpy (escape, text + i, size);
        put (line, escape);
        i += size > 0 ? size : 1;
    }
    put (line, "\"");
}

static int hex_digit (char digit)
{
    const char *digits = "0123456789abcdef";
    const char *at = digit ? strchr (digits, digit) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* The byte that the escape at `*text_p` (after the backslash) stands for; moves past it. */
static char unescape (const char **text_p)
{
    const char *text = *text_p;
    char letter = *text++;
    if (letter == 'n')
        letter = '\n';
    else if (letter == 't')
        letter = '\t';
    else if (letter == 'r')
        letter = '\r';
    else if (letter == 'x' && hex_digit (text[0]) >= 0 && hex_digit (text[1]) >= 0) {
        letter = (char)(hex_digit (text[0]) * 16 + hex_digit (text[1]));
        text += 2;
    }
    *text_p = text;
    return letter;
}

/* One logfmt value, bare or quoted; returns what follows it. */
static const char *read_value (const char *text, char *ret_value, size_t capacity, size_t *ret_length)
{
    size_t used = 0;
    bool quoted = *text == '"';
    const char *end = quoted ? "\"" : " ";

    text += quoted;
    while (*text && *text != *end) {
        char byte = *text++;
        if (quoted && byte == '\\' && *text)
            byte = unescape (&text);
        if (used < capacity)
            ret_value[used++] = byte;
    }
    *ret_length = used;
    return quoted && *text ? text + 1 : text;
}

static void put_json_pairs (line_t *line, const char *pairs)
{
    char value[VALUE_MAX_BYTES];
    size_t length;

    for (;;) {
        pairs += strspn (pairs, " ");
        size_t key_length = strcspn (pairs, "= ");
        if (key_length == 0 || room (line) <= PAIR_ROOM_BYTES + key_length)
            return;
        put (line, ",");
        put_json (line, pairs, key_length);
        pairs += key_length;
        if (*pairs == '=') {
            pairs = read_value (pairs + 1, value, sizeof value, &length);
            put (line, ":");
            put_json (line, value, length);
        } else
            put (line, ":true");
    }
}

/* Values that somebody forgot to quote must not forge a line. */
static void flatten (char *pairs)
{
    for (char *at = pairs; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
}

static void write_line (rota_log_level_t level, const char *event, const char *pairs)
{
    char time[ROTA_CLOCK_ISO_BYTES];
    line_t line = {.used = 0};

    rota_clock_iso (rota_clock_wall_ms (), time);
    if (settings.format == ROTA_LOG_JSON) {
        const char *const fields[] = {"{\"time\":",    time,
                                      ",\"level\":",   LEVELS[level],
                                      ",\"service\":", settings.service,
                                      ",\"event\":",   event};
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i += 2) {
            put (&line, fields[i]);
            put_json (&line, fields[i + 1], strlen (fields[i + 1]));
        }
        put_json_pairs (&line, pairs);
        put (&line, "}\n");
    } else {
        const char *const fields[] = {"time=",          time,      " level=", LEVELS[level],     " service=",
                                      settings.service, " event=", event,     *pairs ? " " : "", pairs};
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
            put (&line, fields[i]);
        if (room (&line) == 0)
            line.used--;
        put (&line, "\n");
    }
    /* A log that can't be written has nowhere to complain. */
    while (write (STDERR_FILENO, line.bytes, line.used) < 0 && errno == EINTR)
        continue;
}

void rota_log_setup (const char *service, rota_log_level_t level, rota_log_format_t format)
{
    settings.service = service;
    settings.level = level;
    settings.format = format;
}

void rota_log (rota_log_level_t level, const char *event, const char *format, ...)
{
    if (level > settings.level)
        return;
    char pairs[LINE_MAX_BYTES];
    va_list args;
    va_start (args, format);
    vsnprintf (pairs, sizeof pairs, format, args);
    va_end (args);
    flatten (pairs);
    write_line (level, event, pairs);
}

/* True when the line may be written now; *ret_left_out is how many were not since the last one. */
static bool may_write (const char *key, int interval_ms, unsigned *ret_left_out)
{
    int64_t now_ms = rota_clock_monotonic_ms ();
    char name[LIMITED_KEY_BYTES];
    limited_t *place = NULL;

    snprintf (name, sizeof name, "%s", *key ? key : "-");
    pthread_mutex_lock (&limited_lock);
    for (size_t i = 0; i < LIMITED_KEYS && !place; i++)
        if (strcmp (limited[i].key, name) == 0)
            place = &limited[i];
    bool writes = !place || now_ms - place->written_ms >= interval_ms;
    if (!place) {
        place = &limited[0];
        for (size_t i = 1; i < LIMITED_KEYS && place->key[0]; i++)
            if (!limited[i].key[0] || limited[i].written_ms < place->written_ms)
                place = &limited[i];
        place->left_out = 0;
        memcpy (place->key, name, sizeof name);
    }
    if (writes) {
        *ret_left_out = place->left_out;
        place->left_out = 0;
        place->written_ms = now_ms;
    } else
        place->left_out++;
    pthread_mutex_unlock (&limited_lock);
    return writes;
}

void rota_log_limited (rota_log_level_t level, const char *event, const char *key, int interval_ms,
                       const char *format, ...)
{
    unsigned left_out;
    if (level > settings.level || !may_write (key, interval_ms, &left_out))
        return;
    char pairs[LINE_MAX_BYTES];
    size_t used = 0;
    if (left_out > 0)
        used = (size_t)snprintf (pairs, sizeof pairs, "left_out=%u ", left_out);
    va_list args;
    va_start (args, format);
    vsnprintf (pairs + used, sizeof pairs - used, format, args);
    va_end (args);
    flatten (pairs);
    write_line (level, event, pairs);
}

static bool needs_quotes (const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] <= ' ' || text[i] >= 0x7f || text[i] == '"' || text[i] == '=' || text[i] == '\\')
            return true;
    return length == 0;
}

const char *rota_log_quote (const char *text, size_t length, char *ret_text, size_t capacity)
{
    if (capacity == 0)
        return "";
    size_t used = 0;
    bool quotes = needs_quotes (text, length);
    size_t reserve = quotes ? 2 : 1; /* the closing quote, the end */

    if (quotes && capacity > reserve)
        ret_text[used++] = '"';
    for (size_t i = 0; i < length;) {
        size_t size = rota_utf8_sequence (text + i, length - i);
        char piece[ESCAPE_MAX_BYTES] = "";
        if (is_printable (text + i, size) && text[i] != '"' && text[i] != '\\')
            memcpy (piece, text + i, size);
        else {
            escape_byte ((unsigned char)text[i], "\\x", piece);
            size = 1;
        }
        size_t wanted = strlen (piece);
        if (used + wanted + reserve > capacity)
            break;
        memcpy (ret_text + used, piece, wanted);
        used += wanted;
        i += size;
    }
    if (quotes && used > 0)
        ret_text[used++] = '"';
    ret_text[used] = '\0';
    return ret_text;
}
