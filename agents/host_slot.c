/* host_slot.c - which slot's home an attempt gets: one that no process has which may be alive, be it one that
 * outlives SIGKILL or one that an earlier host started.
 */
#include "agents/host_internal.h"
#include "bus/names.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_held (const rota_agent_t *self, const rota_hold_t *for_hold, unsigned slot)
{
    for (size_t i = 0; i < self->holds.count; i++) {
        const rota_hold_t *hold = self->holds.list[i];
        if (hold != for_hold && hold->state != ROTA_HOLD_FINISHED && hold->slot == slot)
            return true;
    }
    return false;
}

static bool is_there (const rota_agent_t *self, unsigned slot)
{
    char name[ROTA_ENCODED_MAX_BYTES], path[PATH_MAX];
    rota_id_encode (self->name, strlen (self->name), name);
    return snprintf (path, sizeof path, "%s/agents/%s/%u", self->state_dir, name, slot) < (int)sizeof path &&
           access (path, F_OK) == 0;
}

/* Which one an earlier host's attempt has is not known: it may be any that this host has not handed out
 * itself. */
unsigned rota_agent_free_slot (rota_agent_t *self, const rota_hold_t *for_hold)
{
    bool any = is_held (self, for_hold, ROTA_HOLD_SLOT_UNKNOWN);
    for (unsigned slot = 0;; slot++) {
        bool noted = slot < ROTA_AGENT_SLOTS_LIMIT;
        bool given = noted && (self->given_slots[slot / 8] & (1u << slot % 8));
        if (is_held (self, for_hold, slot) || (any && !given && is_there (self, slot)))
            continue;
        if (noted)
            self->given_slots[slot / 8] |= (uint8_t)(1u << slot % 8);
        return slot;
    }
}
