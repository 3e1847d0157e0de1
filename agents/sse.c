#include "agents/sse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES ((size_t)4 << 10)
#define BYTE_ORDER_MARK "\xEF\xBB\xBF"

/* Keeps one byte more than is used, for a NUL. */
static int append (char **buffer, size_t *used, size_t *capacity, const char *bytes, size_t size_bytes)
{
    if (size_bytes >= ROTA_SSE_EVENT_MAX_BYTES - *used)
        return -EMSGSIZE;
    size_t needed = *used + size_bytes + 1, grown = *capacity ? *capacity : FIRST_BYTES;
    while (grown < needed)
        grown *= 2;
    if (grown != *capacity) {
        char *moved = realloc (*buffer, grown);
        if (!moved)
            return -ENOMEM;
        *buffer = moved;
        *capacity = grown;
    }
    if (size_bytes)
        memcpy (*buffer + *used, bytes, size_bytes);
    *used += size_bytes;
    return 0;
}

static int give_event (rota_sse_t *self, rota_sse_take_t *take, void *context)
{
    int status = 0;
    if (self->data_used) {
        self->data[self->data_used - 1] = '\0'; /* its last line has no end */
        status = take (context, self->name, self->data, self->data_used - 1);
    }
    self->data_used = 0;
    self->name[0] = '\0';
    return status;
}

static bool is_field (const char *line, size_t length, const char *name)
{
    return length == strlen (name) && memcmp (line, name, length) == 0;
}

static int take_line (rota_sse_t *self, const char *line, size_t length, rota_sse_take_t *take, void *context)
{
    if (!length)
        return give_event (self, take, context);
    const char *colon = memchr (line, ':', length);
    size_t name_length = colon ? (size_t)(colon - line) : length;
    const char *value = colon ? colon + 1 : line + length, *end = line + length;
    if (value < end && *value == ' ')
        value++;
    size_t size = (size_t)(end - value);
    if (is_field (line, name_length, "data")) {
        int status = append (&self->data, &self->data_used, &self->data_capacity, value, size);
        return status < 0 ? status : append (&self->data, &self->data_used, &self->data_capacity, "\n", 1);
    }
    if (is_field (line, name_length, "event") && size < sizeof self->name && !memchr (value, 0, size)) {
        memcpy (self->name, value, size);
        self->name[size] = '\0';
    }
    return 0;
}

/* A whole line, whose beginning may lie in the buffer. */
static int end_line (rota_sse_t *self, const char *rest, size_t length, rota_sse_take_t *take, void *context)
{
    if (self->line_used) {
        int status = append (&self->line, &self->line_used, &self->line_capacity, rest, length);
        if (status < 0)
            return status;
        rest = self->line;
        length = self->line_used;
    }
    if (!self->begun && length >= 3 && memcmp (rest, BYTE_ORDER_MARK, 3) == 0) {
        rest += 3;
        length -= 3;
    }
    self->begun = true;
    self->line_used = 0;
    return take_line (self, rest, length, take, context);
}

int rota_sse_feed (rota_sse_t *self, const char *bytes, size_t size_bytes, rota_sse_take_t *take,
                   void *context)
{
    const char *end = bytes + size_bytes;
    while (bytes < end) {
        if (self->after_cr && *bytes == '\n')
            bytes++;
        self->after_cr = false;
        const char *at = bytes;
        while (at < end && *at != '\n' && *at != '\r')
            at++;
        size_t length = (size_t)(at - bytes);
        int status = at < end ? end_line (self, bytes, length, take, context)
                              : append (&self->line, &self->line_used, &self->line_capacity, bytes, length);
        if (status != 0)
            return status;
        self->after_cr = at < end && *at == '\r';
        bytes = at < end ? at + 1 : end;
    }
    return 0;
}

void rota_sse_end (rota_sse_t *self)
{
    free (self->line);
    free (self->data);
    *self = (rota_sse_t){0};
}
