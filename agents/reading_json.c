#include "agents/reading_internal.h"
#include "bus/names.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CUT "\xE2\x80\xA6"      /* U+2026, where a text was cut */
#define REPLACED "\xEF\xBF\xBD" /* U+FFFD */
#define COUNT_MAX 1e15          /* tokens; beyond it no number is meant */
#define DAY_S 86400.0

/* All numbers are read as doubles: an unknown field with a huge integer must not cost the line. */
#define FLAGS (JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL)

static bool is_blank (char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* ------------------------------------------------------------------------------------------ parsing */

static int hex_value (const char *digits)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        char c = digits[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The length of the escape at `at` that is well formed, or 0 for half of a surrogate pair and for NUL. */
static size_t escape_length (const char *at, const char *end)
{
    if (end - at < 6 || at[1] != 'u')
        return end - at < 2 ? 1 : 2;
    int value = hex_value (at + 2);
    if (!value)
        return 0;
    if (value < 0xD800 || value > 0xDFFF)
        return 6;
    bool pair = value < 0xDC00 && end - at >= 12 && at[6] == '\\' && at[7] == 'u';
    int low = pair ? hex_value (at + 8) : -1;
    return low >= 0xDC00 && low <= 0xDFFF ? 12 : 0;
}

/* Makes what jansson refuses harmless without moving a byte. True when something was changed. */
static bool mend (char *bytes, size_t size_bytes)
{
    bool changed = false;
    char *end = bytes + size_bytes;
    for (char *at = bytes; at < end;) {
        size_t length = *at == '\\' ? escape_length (at, end) : rota_utf8_sequence (at, (size_t)(end - at));
        if (!length) {
            changed = true;
            length = *at == '\\' ? 6 : 1;
            memcpy (at, *at == '\\' ? "\\ufffd" : "?", length);
        }
        at += length;
    }
    return changed;
}

static json_t *load (const char *bytes, size_t size_bytes)
{
    json_t *root = json_loadb (bytes, size_bytes, FLAGS, NULL);
    if (root)
        return root;
    char *copy = malloc (size_bytes);
    if (!copy)
        return NULL;
    memcpy (copy, bytes, size_bytes);
    if (mend (copy, size_bytes))
        root = json_loadb (copy, size_bytes, FLAGS, NULL);
    free (copy);
    return root;
}

json_t *rota_reading_parse (const char *line, size_t size_bytes)
{
    if (!size_bytes ||
        !((line[0] == '{' && line[size_bytes - 1] == '}') || (line[0] == '[' && line[size_bytes - 1] == ']')))
        return NULL; /* no event, or one that is not complete */
    return load (line, size_bytes);
}

/* ------------------------------------------------------------------------------------------ a look at bytes
 */

/* The place behind the string whose opening quote is at `at`, or NULL. */
static const char *string_end (const char *at, const char *end)
{
    for (at++; at < end; at++) {
        at = memchr (at, '"', (size_t)(end - at));
        if (!at)
            return NULL;
        const char *back = at;
        while (back[-1] == '\\') /* stops at the opening quote */
            back--;
        if ((at - back) % 2 == 0)
            return at + 1;
    }
    return NULL;
}

static const char *skip_blanks (const char *at, const char *end)
{
    while (at < end && is_blank (*at))
        at++;
    return at;
}

const char *rota_reading_find (const char *object, const char *end, const char *key)
{
    size_t key_length = strlen (key);
    int depth = 0;
    for (const char *at = object; at && at < end;) {
        char c = *at;
        if (c != '"') {
            depth += (c == '{' || c == '[') - (c == '}' || c == ']');
            if (depth <= 0)
                return NULL;
            at++;
            continue;
        }
        const char *behind = string_end (at, end);
        if (!behind)
            return NULL;
        if (depth == 1 && (size_t)(behind - at) == key_length + 2 && memcmp (at + 1, key, key_length) == 0) {
            const char *colon = skip_blanks (behind, end);
            if (colon < end && *colon == ':')
                return skip_blanks (colon + 1, end);
        }
        at = behind;
    }
    return NULL;
}

bool rota_reading_word (const char *at, const char *end, char ret_word[ROTA_READING_WORD_BYTES])
{
    const char *behind = at && at < end && *at == '"' ? string_end (at, end) : NULL;
    if (!behind || behind - at > ROTA_READING_WORD_BYTES)
        return false;
    size_t length = (size_t)(behind - at) - 2;
    memcpy (ret_word, at + 1, length);
    ret_word[length] = '\0';
    return true;
}

bool rota_reading_peek (const char *line, size_t size_bytes, const char *key,
                        char ret_word[ROTA_READING_WORD_BYTES])
{
    const char *end = line + size_bytes;
    return rota_reading_word (rota_reading_find (line, end, key), end, ret_word);
}

json_t *rota_reading_text (const char *at, const char *end)
{
    const char *behind = at && at < end && *at == '"' ? string_end (at, end) : NULL;
    return behind ? load (at, (size_t)(behind - at)) : NULL;
}

bool rota_reading_has (const char *line, size_t size_bytes, const char *needle)
{
    return memmem (line, size_bytes, needle, strlen (needle));
}

/* ------------------------------------------------------------------------------------------ values */

const char *rota_reading_string (const json_t *object, const char *key)
{
    const char *value = json_string_value (json_object_get (object, key));
    return value ? value : "";
}

double rota_reading_number (const json_t *object, const char *key)
{
    const json_t *value = json_object_get (object, key);
    return json_is_number (value) ? json_number_value (value) : (double)NAN;
}

int64_t rota_reading_moment_ms (const rota_reading_t *reading, const json_t *object, const char *key)
{
    double seconds = rota_reading_number (object, key);
    double ahead_s = seconds - (double)reading->now_ms / 1000;
    return seconds > 0 && ahead_s > -DAY_S && ahead_s < 32 * DAY_S ? (int64_t)(seconds * 1000) : 0;
}

rota_known_t rota_reading_count (const json_t *object, const char *key, const char *other)
{
    double count = rota_reading_number (object, key);
    if (isnan (count) && other)
        count = rota_reading_number (object, other);
    bool known = count >= 0 && count <= COUNT_MAX;
    return (rota_known_t){.known = known, .value = known ? (uint64_t)count : 0};
}

/* C0, DEL and C1 (U+0080 to U+009F), and what breaks lines. */
static bool is_control (const char *at, size_t length)
{
    unsigned char first = (unsigned char)at[0], second = length > 1 ? (unsigned char)at[1] : 0;
    if (length == 1)
        return first < 0x20 || first == 0x7F;
    return (length == 2 && first == 0xC2 && second < 0xA0) ||
           (length == 3 && first == 0xE2 && second == 0x80 && ((unsigned char)at[2] & 0xFE) == 0xA8);
}

size_t rota_reading_copy (char *to, size_t capacity, size_t used, const char *text, size_t size_bytes)
{
    size_t room = capacity - sizeof CUT; /* of what is followed by the mark of a cut, and the NUL */
    size_t mark = used < room ? used : room;
    const char *end = text + size_bytes;
    while (mark && mark < used && ((unsigned char)to[mark] & 0xC0) == 0x80)
        mark--;
    while (text < end) {
        size_t length = rota_utf8_sequence (text, (size_t)(end - text));
        const char *from = length ? text : REPLACED;
        size_t taken = length ? length : sizeof REPLACED - 1;
        if (length && (is_control (text, length) || *text == ' ')) {
            from = " ";
            taken = !used || to[used - 1] == ' ' ? 0 : 1;
        }
        if (used + taken >= capacity) {
            memcpy (to + mark, CUT, sizeof CUT);
            return mark + sizeof CUT - 1;
        }
        memcpy (to + used, from, taken);
        used += taken;
        if (used <= room)
            mark = used;
        text += length ? length : 1;
    }
    to[used] = '\0';
    return used;
}
