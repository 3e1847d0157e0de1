/* room.h - whether this host has memory and processors left for another attempt (agents.memory_reserve,
 * agents.load_limit).
 */
#ifndef ROTA_ROOM_H
#define ROTA_ROOM_H

#include "bus/settings.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    bool full;
    uint64_t memory_bytes; /* available without swapping; 0 = not known */
    double load;           /* of the last minute; negative = not known */
} rota_room_t;

void rota_room_look (const rota_settings_t *settings, rota_room_t *ret_room);

#endif
