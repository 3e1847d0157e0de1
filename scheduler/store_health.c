/* The mode and what happened of late, in one row: it changes with each result. */
#include "scheduler/health.h"
#include "scheduler/store_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FIELDS 8 /* of a rate */
#define NAME_BYTES 16

static size_t write_rate (const rota_rate_t *it, char *ret_text, size_t capacity)
{
    int length = snprintf (
        ret_text, capacity,
        " %" PRId64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64,
        it->at_ms, it->observed_ms, it->ended, it->bad, it->limited, it->done, it->judged, it->quality);
    return length > 0 && (size_t)length < capacity ? (size_t)length : 0;
}

/* The text after it, or NULL. */
static const char *read_rate (const char *text, rota_rate_t *ret_rate)
{
    rota_rate_t it;
    int used = 0;
    int fields = sscanf (text,
                         " %" SCNd64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                         " %" SCNu64 "%n",
                         &it.at_ms, &it.observed_ms, &it.ended, &it.bad, &it.limited, &it.done, &it.judged,
                         &it.quality, &used);
    if (fields != FIELDS)
        return NULL;
    *ret_rate = it;
    return text + used;
}

void rota_store_set_health (rota_store_t *self, const rota_core_t *core)
{
    char text[512];
    rota_core_health_state_t state;
    rota_core_health_state (core, &state);
    size_t used =
        (size_t)snprintf (text, sizeof text, "%s %" PRId64, rota_mode_name (state.mode), state.since_ms);
    used += write_rate (&state.all, text + used, sizeof text - used);
    write_rate (&state.agents, text + used, sizeof text - used);
    rota_store_set_text (self, "health", text);
    rota_store_set_text (self, "mode_reason", state.reason);
}

void rota_store_load_health (rota_store_t *self, rota_core_t *core)
{
    char text[512], reason[ROTA_ERROR_MAX_BYTES], name[NAME_BYTES];
    rota_core_health_state_t state = {.reason = reason};
    int used = 0;
    rota_store_get_text (self, "health", text, sizeof text);
    rota_store_get_text (self, "mode_reason", reason, sizeof reason);
    if (sscanf (text, "%15s %" SCNd64 "%n", name, &state.since_ms, &used) != 2)
        return; /* a store of a version that had none */
    state.mode = rota_mode_parse (name, strlen (name));
    const char *rest = read_rate (text + used, &state.all);
    if (rest)
        read_rate (rest, &state.agents);
    rota_core_health_load (core, &state);
}
