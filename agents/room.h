/* room.h - whether this host has memory and processors left for another attempt (agents.memory_reserve,
 * agents.load_limit).
 */
#ifndef ROTA_ROOM_H
#define ROTA_ROOM_H

#include "bus/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    bool full;
    uint64_t memory_bytes; /* available without swapping; 0 = not known */
    double load;           /* of the last minute; negative = not known */
} rota_room_t;

/* `running`: attempts of this host. What others load a machine with keeps it from a second one, never from
 * the first: or nothing would ever be done there. */
void rota_room_look (const rota_settings_t *settings, size_t running, rota_room_t *ret_room);

/* The rule itself, for tests: limits of 0 are none. */
bool rota_room_is_full (const rota_room_t *room, uint64_t reserve_bytes, double load_limit, long processors,
                        size_t running);

#endif
