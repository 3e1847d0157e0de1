#include "telemetry/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define CHUNK_BYTES 65536
#define HEAD_BYTES 160 /* of a line: enough for what the sink's own lines begin with */

typedef struct {
    char head[HEAD_BYTES]; /* NUL-terminated */
    size_t head_bytes;
    int64_t bytes; /* of the line so far */
    char last;     /* its last byte */
    bool damaged;
} line_t;

/* Moves *text past `prefix`, if it begins with it. */
static bool skip (const char **text, const char *prefix)
{
    size_t length = strlen (prefix);
    if (strncmp (*text, prefix, length) != 0)
        return false;
    *text += length;
    return true;
}

static bool number (const char **text, uint64_t *ret_number)
{
    uint64_t value = 0;
    const char *at = *text;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow (value, UINT64_C (10), &value) ||
            __builtin_add_overflow (value, (uint64_t)(*at - '0'), &value))
            return false;
    if (at == *text)
        return false;
    *text = at;
    *ret_number = value;
    return true;
}

/* The three kinds of lines are told apart by what follows the time: event_json.c and journal.c write them so,
 * and nothing that a task's author wrote can stand there. */
static void understand (const char *head, rota_scan_t *scan)
{
    uint64_t first, last;
    if (!skip (&head, "{\"time\":\""))
        return;
    head = strchr (head, '"');
    if (!head || !skip (&head, "\",\""))
        return;
    if (skip (&head, "event\":\"journal.opened\",\"store\":\"")) {
        scan->has_store = rota_hex_parse (head, scan->store);
        return;
    }
    bool event = skip (&head, "seq\":") && number (&head, &last);
    bool gap = !event && skip (&head, "event\":\"journal.gap\",\"first\":") && number (&head, &first) &&
               skip (&head, ",\"last\":") && number (&head, &last);
    if (!event && !gap)
        return;
    scan->records++;
    if (last > scan->last)
        scan->last = last;
}

static void extend (line_t *line, const char *bytes, size_t length)
{
    if (length == 0)
        return;
    size_t room = HEAD_BYTES - 1 - line->head_bytes;
    size_t copied = length < room ? length : room;
    memcpy (line->head + line->head_bytes, bytes, copied);
    line->head_bytes += copied;
    line->head[line->head_bytes] = 0;
    line->bytes += (int64_t)length;
    line->last = bytes[length - 1];
    line->damaged |= memchr (bytes, 0, length) != NULL;
}

/* False at a line that ends the reading. */
static bool feed (line_t *line, const char *bytes, size_t length, bool strict, rota_scan_t *scan)
{
    while (length) {
        const char *newline = memchr (bytes, '\n', length);
        size_t part = newline ? (size_t)(newline - bytes) : length;
        extend (line, bytes, part);
        if (!newline)
            return true;
        bool whole = !line->damaged && line->head[0] == '{' && line->last == '}';
        if (strict && !whole)
            return false;
        if (whole)
            understand (line->head, scan);
        scan->whole_bytes += line->bytes + 1;
        *line = (line_t){0};
        bytes += part + 1;
        length -= part + 1;
    }
    return true;
}

int rota_scan (int directory, const char *name, int64_t from_bytes, bool strict, rota_scan_t *ret_scan)
{
    int fd = openat (directory, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    gzFile stream = gzdopen (fd, "rb");
    if (!stream) {
        close (fd);
        return -ENOMEM;
    }

    rota_scan_t scan = {.whole_bytes = from_bytes};
    line_t line = {0};
    char chunk[CHUNK_BYTES];
    int64_t total_bytes = from_bytes;
    int length = 0;
    bool goes_on = true;
    if (from_bytes > 0 && gzseek (stream, (z_off_t)from_bytes, SEEK_SET) < 0)
        length = -1;
    while (length >= 0 && (length = gzread (stream, chunk, sizeof chunk)) > 0) {
        total_bytes += length;
        goes_on = goes_on && feed (&line, chunk, (size_t)length, strict, &scan);
    }
    int closed = gzclose (stream);
    scan.rest_bytes = total_bytes - scan.whole_bytes;
    *ret_scan = scan;
    return length < 0 || closed != Z_OK ? -EBADMSG : 0;
}
