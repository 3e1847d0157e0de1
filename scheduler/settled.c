/* Which roadmaps have come to rest: the event that says so is in the transaction of what brought them there,
 * once, whatever ends and starts again. */
#include "scheduler/service_internal.h"

#include <stdarg.h>

#define LOOK_EVERY_MS 1000 /* what time alone decides: agents that don't come */

__attribute__ ((format (printf, 4, 5))) static void add (char *text, size_t capacity, uint64_t count,
                                                         const char *format, ...)
{
    size_t used = strlen (text);
    if (!count || used + 1 >= capacity)
        return;
    va_list args;
    va_start (args, format);
    vsnprintf (text + used, capacity - used, format, args);
    va_end (args);
}

static void note (service_t *self, uint32_t index, const rota_core_counts_t *counts)
{
    const source_t *source = &self->sources.items[index];
    char text[512];
    snprintf (text, sizeof text, "%.*s: %llu of %llu done",
              (int)(source->name_length < 200 ? source->name_length : 200), source->name,
              (unsigned long long)counts->status[STATUS (DONE)], (unsigned long long)counts->total);
    add (text, sizeof text, counts->status[STATUS (FAILED)], ", %llu failed",
         (unsigned long long)counts->status[STATUS (FAILED)]);
    add (text, sizeof text, counts->status[STATUS (CANCELLED)], ", %llu cancelled",
         (unsigned long long)counts->status[STATUS (CANCELLED)]);
    add (text, sizeof text, counts->place[ROTA_PLACE_BLOCKED], ", %llu blocked",
         (unsigned long long)counts->place[ROTA_PLACE_BLOCKED]);
    add (text, sizeof text, counts->place[ROTA_PLACE_HUMAN], ", %llu await a person",
         (unsigned long long)counts->place[ROTA_PLACE_HUMAN]);
    add (text, sizeof text, counts->place[ROTA_PLACE_UNREACHABLE], ", %llu can't be reached",
         (unsigned long long)counts->place[ROTA_PLACE_UNREACHABLE]);
    add (text, sizeof text, counts->unassignable, ", %llu have no agent",
         (unsigned long long)counts->unassignable);
    rota_core_note (self->core, EVENT (ROADMAP_SETTLED), text);
}

void rota_service_note_settled (service_t *self)
{
    int64_t now_ms = rota_service_now_ms (self);
    bool silent = self->settled_version == 0; /* as it was loaded: that is no news */
    if (self->settled_version == rota_core_version (self->core) && now_ms < self->settled_ms)
        return;
    for (uint32_t i = 1; i < self->sources.count; i++) {
        rota_core_counts_t counts;
        rota_core_counts (self->core, i, now_ms, &counts);
        bool settled = !counts.total || rota_core_is_settled (self->core, i, now_ms);
        if (settled && self->sources.items[i].moves && !silent)
            note (self, i, &counts);
        self->sources.items[i].moves = !settled;
    }
    self->settled_version = rota_core_version (self->core);
    self->settled_ms = now_ms + LOOK_EVERY_MS;
}
