#include "agents/difference.h"

#include <stdbool.h>
#include <string.h>

#define CONTINUED "(the hunk goes on)\n"

typedef struct {
    size_t limit, part, wanted, used;
    rota_bytes_t *text;
    const char *file; /* whose header the current part has last */
} cutter_t;

typedef struct {
    const char *at;
    size_t size;
} span_t;

static void put (cutter_t *self, span_t span)
{
    self->used += span.size;
    if (self->text && self->part == self->wanted && span.size)
        rota_bytes_take (self->text, span.at, span.size);
}

/* What doesn't fit into what is left of this part begins the next, under its file's header. */
static void emit (cutter_t *self, span_t header, span_t more, span_t body)
{
    bool again = self->file != header.at;
    size_t size = (again ? header.size : 0) + more.size + body.size;
    if (self->used && self->used + size > self->limit) {
        self->part++;
        self->used = 0;
        again = true;
    }
    if (again)
        put (self, header);
    self->file = header.at;
    put (self, more);
    put (self, body);
}

static size_t line_of (const char *at, const char *end)
{
    const char *stop = memchr (at, '\n', (size_t)(end - at));
    return stop ? (size_t)(stop + 1 - at) : (size_t)(end - at);
}

/* The next line from `at` on that begins so, or `end`. */
static const char *find_line (const char *at, const char *end, const char *begins)
{
    size_t length = strlen (begins);
    while (at < end && ((size_t)(end - at) < length || memcmp (at, begins, length) != 0))
        at += line_of (at, end);
    return at;
}

/* A hunk that no part has room for, by lines; a line that is too long itself by bytes. */
static void cut_hunk (cutter_t *self, span_t header, const char *at, const char *end)
{
    span_t none = {"", 0}, first = {at, line_of (at, end)}, again = {CONTINUED, strlen (CONTINUED)};
    size_t most = self->limit / 2;
    span_t body = {at + first.size, 0};
    bool begun = false;
    for (const char *line = body.at; line < end;) {
        size_t size = line_of (line, end);
        if (size > most)
            size = most;
        if (body.size && body.size + size > most) {
            emit (self, header, begun ? again : first, body);
            begun = true;
            body = (span_t){line, 0};
        }
        body.size += size;
        line += size;
    }
    emit (self, header, begun ? again : first, body.size ? body : none);
}

static void cut_file (cutter_t *self, const char *at, const char *end)
{
    const char *hunk = find_line (at, end, "@@ -");
    span_t header = {at, (size_t)(hunk - at)}, none = {"", 0};
    if ((size_t)(end - at) <= self->limit) {
        emit (self, (span_t){at, header.size}, none, (span_t){hunk, (size_t)(end - hunk)});
        return;
    }
    /* Names can be long, but not that long. */
    if (header.size > self->limit / 4)
        header.size = self->limit / 4;
    while (hunk < end) {
        const char *next = find_line (hunk + line_of (hunk, end), end, "@@ -");
        if (header.size + (size_t)(next - hunk) <= self->limit)
            emit (self, header, none, (span_t){hunk, (size_t)(next - hunk)});
        else
            cut_hunk (self, header, hunk, next);
        hunk = next;
    }
    if (header.size == (size_t)(end - at))
        emit (self, header, none, none);
}

size_t rota_difference_part (const char *text, size_t size_bytes, size_t limit_bytes, size_t part,
                             rota_bytes_t *ret_text)
{
    cutter_t self = {.limit = limit_bytes > ROTA_DIFFERENCE_PART_MIN_BYTES ? limit_bytes
                                                                           : ROTA_DIFFERENCE_PART_MIN_BYTES,
                     .part = 1,
                     .wanted = part,
                     .text = ret_text};
    const char *end = text + size_bytes, *at = text;
    while (at < end) {
        const char *next = find_line (at + line_of (at, end), end, "diff --git ");
        cut_file (&self, at, next);
        at = next;
    }
    return self.part;
}
