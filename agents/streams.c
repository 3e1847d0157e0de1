#include "agents/streams.h"

#include <stdlib.h>
#include <string.h>

static void put (rota_streams_t *self, const char *bytes, size_t size_bytes)
{
    if (size_bytes)
        rota_output_write (self->output, bytes, size_bytes);
}

/* Whole lines of what is held, where they don't cut a line; with `all` the rest too, and then it is given an
 * end. */
static void give_held (rota_streams_t *self, bool all)
{
    const char *last = self->held_bytes ? memrchr (self->held, '\n', self->held_bytes) : NULL;
    size_t whole = last ? (size_t)(last - self->held) + 1 : 0;
    if (all)
        whole = self->held_bytes;
    if (!whole || (self->open && !all))
        return;
    if (self->open)
        put (self, "\n", 1);
    self->open = false;
    put (self, self->held, whole);
    if (self->held[whole - 1] != '\n')
        put (self, "\n", 1);
    self->held_bytes -= whole;
    memmove (self->held, self->held + whole, self->held_bytes);
}

void rota_streams_out (rota_streams_t *self, const char *bytes, size_t size_bytes)
{
    const char *first = self->open && self->held_bytes ? memchr (bytes, '\n', size_bytes) : NULL;
    if (first) {
        size_t part = (size_t)(first - bytes) + 1;
        put (self, bytes, part);
        self->open = false;
        give_held (self, false);
        bytes += part;
        size_bytes -= part;
    }
    if (!size_bytes)
        return;
    put (self, bytes, size_bytes);
    self->open = bytes[size_bytes - 1] != '\n';
    give_held (self, false);
}

void rota_streams_err (rota_streams_t *self, const char *bytes, size_t size_bytes)
{
    while (size_bytes) {
        size_t room = ROTA_STREAMS_HELD_MAX_BYTES - self->held_bytes;
        size_t part = size_bytes < room ? size_bytes : room;
        if (!self->held)
            self->held = malloc (ROTA_STREAMS_HELD_MAX_BYTES);
        if (!self->held) {
            put (self, bytes, size_bytes);
            return;
        }
        memcpy (self->held + self->held_bytes, bytes, part);
        self->held_bytes += part;
        bytes += part;
        size_bytes -= part;
        give_held (self, false);
        /* Full: a line of either that has no end must not hold up the other for ever. */
        if (self->held_bytes == ROTA_STREAMS_HELD_MAX_BYTES)
            give_held (self, true);
    }
}

void rota_streams_end (rota_streams_t *self)
{
    if (self->held_bytes)
        give_held (self, true);
    free (self->held);
    self->held = NULL;
}
