/* What the nodes of yaml.h mean to those who read them. */
#include "bus/units.h"
#include "bus/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int rota_yaml_read_file (const char *path, char **ret_bytes, size_t *ret_size_bytes, rota_error_t *error)
{
    size_t used = 0, capacity = 64 << 10;
    char *bytes = NULL;
    int rc = 0;
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return rota_error_set (error, -errno, "%s: %s", path, strerror (errno));
    struct stat status;
    if (fstat (fd, &status) == 0 && S_ISREG (status.st_mode) && status.st_size < ROTA_YAML_MAX_BYTES)
        capacity = (size_t)status.st_size + 2;
    bytes = malloc (capacity);
    for (;;) {
        if (!bytes) {
            rc = rota_error_set (error, -ENOMEM, "%s: out of memory", path);
            break;
        }
        ssize_t got = read (fd, bytes + used, capacity - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            rc = rota_error_set (error, -errno, "%s: %s", path, strerror (errno));
        if (got <= 0)
            break;
        used += (size_t)got;
        if (used > ROTA_YAML_MAX_BYTES) {
            rc = rota_error_set (error, -EFBIG, "%s: larger than %u MiB", path, ROTA_YAML_MAX_BYTES >> 20);
            break;
        }
        if (used == capacity) {
            char *larger = realloc (bytes, capacity *= 2);
            if (!larger)
                free (bytes);
            bytes = larger;
        }
    }
    close (fd);
    if (rc < 0) {
        free (bytes);
        return rc;
    }
    *ret_bytes = bytes;
    *ret_size_bytes = used;
    return 0;
}

const rota_yaml_node_t *rota_yaml_get (const rota_yaml_node_t *mapping, const char *key)
{
    if (!mapping || mapping->kind != ROTA_YAML_MAPPING)
        return NULL;
    for (uint32_t i = 0; i < mapping->count; i++)
        if (!strcmp (mapping->pairs[i].key.text, key))
            return &mapping->pairs[i].value;
    return NULL;
}

bool rota_yaml_equals (const rota_yaml_node_t *node, const char *text)
{
    return node && node->kind == ROTA_YAML_SCALAR && !strcmp (node->text, text);
}

bool rota_yaml_is_null (const rota_yaml_node_t *node)
{
    static const char *const WORDS[] = {"", "~", "null", "Null", "NULL"};
    if (!node)
        return true;
    if (node->kind != ROTA_YAML_SCALAR || !node->plain)
        return false;
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
        if (!strcmp (node->text, WORDS[i]))
            return true;
    return false;
}

const char *rota_yaml_kind_name (const rota_yaml_node_t *node)
{
    if (rota_yaml_is_null (node))
        return "nothing";
    return node->kind == ROTA_YAML_LIST      ? "a list"
           : node->kind == ROTA_YAML_MAPPING ? "a mapping (key: value)"
                                             : "a text";
}

void rota_yaml_fault (const rota_yaml_sink_t *sink, const rota_yaml_node_t *at, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    sink->report (sink->owner, at ? at->line : 0, at ? at->column : 0, text);
}

const char *rota_yaml_show (const char *text, size_t length, char ret_text[ROTA_YAML_SHOWN_BYTES])
{
    size_t used = 0;
    const size_t room = ROTA_YAML_SHOWN_BYTES - sizeof "...";
    bool cut = length > room;
    if (cut)
        length = room;
    for (; used < length; used++) {
        unsigned char byte = (unsigned char)text[used];
        /* C1 controls are two bytes, C2 80 to C2 9F: as "??" they do nothing to a terminal. */
        bool c1 = (byte == 0xC2 && used + 1 < length && (unsigned char)text[used + 1] < 0xA0) ||
                  (used > 0 && (unsigned char)text[used - 1] == 0xC2 && byte < 0xA0);
        bool hidden = byte < 0x20 || byte == 0x7F || (c1 && byte >= 0x80);
        ret_text[used] = '?';
        if (!hidden)
            ret_text[used] = text[used];
    }
    while (cut && used > 0 && ((unsigned char)text[used] & 0xC0) == 0x80)
        used--; /* not inside a character */
    snprintf (ret_text + used, ROTA_YAML_SHOWN_BYTES - used, "%s", cut ? "..." : "");
    return ret_text;
}

/* ---- typed values */

static void report_kind (const rota_yaml_node_t *node, const char *what, const char *expected,
                         const rota_yaml_sink_t *sink)
{
    char shown[ROTA_YAML_SHOWN_BYTES];
    if (node->kind == ROTA_YAML_SCALAR && !rota_yaml_is_null (node))
        rota_yaml_fault (sink, node, "%s: expected %s, found \"%s\"", what, expected,
                         rota_yaml_show (node->text, node->count, shown));
    else
        rota_yaml_fault (sink, node, "%s: expected %s, found %s", what, expected, rota_yaml_kind_name (node));
}

static bool is_value (const rota_yaml_node_t *node)
{
    return node->kind == ROTA_YAML_SCALAR && !rota_yaml_is_null (node);
}

bool rota_yaml_text (const rota_yaml_node_t *node, const char *what, const rota_yaml_sink_t *sink,
                     const char **ret_value)
{
    if (!is_value (node)) {
        report_kind (node, what, "a text", sink);
        return false;
    }
    *ret_value = node->text;
    return true;
}

bool rota_yaml_integer (const rota_yaml_node_t *node, const char *what, int64_t min, int64_t max,
                        const rota_yaml_sink_t *sink, int64_t *ret_value)
{
    int64_t value = 0;
    if (!is_value (node) || rota_integer_parse (node->text, &value) < 0 || value < min || value > max) {
        char expected[96];
        snprintf (expected, sizeof expected, "a whole number from %" PRId64 " to %" PRId64, min, max);
        report_kind (node, what, expected, sink);
        return false;
    }
    *ret_value = value;
    return true;
}

bool rota_yaml_number (const rota_yaml_node_t *node, const char *what, double min, double max,
                       const rota_yaml_sink_t *sink, double *ret_value)
{
    double value = 0;
    if (!is_value (node) || rota_number_parse (node->text, &value) < 0 || value < min || value > max) {
        char expected[96];
        snprintf (expected, sizeof expected, "a number from %g to %g", min, max);
        report_kind (node, what, expected, sink);
        return false;
    }
    *ret_value = value;
    return true;
}

bool rota_yaml_boolean (const rota_yaml_node_t *node, const char *what, const rota_yaml_sink_t *sink,
                        bool *ret_value)
{
    if (is_value (node) && rota_boolean_parse (node->text, ret_value) == 0)
        return true;
    report_kind (node, what, "true or false", sink);
    return false;
}

bool rota_yaml_duration (const rota_yaml_node_t *node, const char *what, int64_t min_ms, int64_t max_ms,
                         const rota_yaml_sink_t *sink, int64_t *ret_ms)
{
    int64_t ms = 0;
    if (!is_value (node) || rota_duration_parse (node->text, &ms) == -EINVAL) {
        report_kind (node, what, "a duration such as 90s, 30m or 1h30m", sink);
        return false;
    }
    /* -ERANGE leaves 0, which is then shown as too long. */
    bool fits = rota_duration_parse (node->text, &ms) == 0 && ms >= min_ms && ms <= max_ms;
    if (!fits) {
        char min[ROTA_UNITS_BYTES], max[ROTA_UNITS_BYTES], expected[96];
        rota_duration_write (min_ms, min);
        rota_duration_write (max_ms, max);
        snprintf (expected, sizeof expected, "a duration from %s to %s", min, max);
        report_kind (node, what, expected, sink);
        return false;
    }
    *ret_ms = ms;
    return true;
}

bool rota_yaml_mapping (const rota_yaml_node_t *node, const char *what, const rota_yaml_sink_t *sink)
{
    if (node->kind == ROTA_YAML_MAPPING)
        return true;
    report_kind (node, what, "a mapping (key: value)", sink);
    return false;
}
