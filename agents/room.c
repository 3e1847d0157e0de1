#include "agents/room.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What the kernel thinks can be had without swapping, as proc(5) says. */
static uint64_t available_bytes (void)
{
    unsigned long long kib = 0;
    char line[128];
    FILE *file = fopen ("/proc/meminfo", "re");
    if (!file)
        return 0;
    while (kib == 0 && fgets (line, sizeof line, file))
        if (sscanf (line, "MemAvailable: %llu kB", &kib) != 1)
            kib = 0;
    fclose (file);
    return kib * 1024;
}

bool rota_room_is_full (const rota_room_t *room, uint64_t reserve_bytes, double load_limit, long processors,
                        size_t running)
{
    bool no_memory = reserve_bytes && room->memory_bytes && room->memory_bytes < reserve_bytes;
    bool no_processor =
        load_limit > 0 && room->load >= load_limit * (double)(processors > 0 ? processors : 1);
    return no_memory || (no_processor && running > 0);
}

void rota_room_look (const rota_settings_t *settings, size_t running, rota_room_t *ret_room)
{
    uint64_t reserve = (uint64_t)rota_setting_size_bytes (settings, ROTA_SETTING_AGENTS_MEMORY_RESERVE);
    int64_t limit = rota_setting_integer (settings, ROTA_SETTING_AGENTS_LOAD_LIMIT);
    *ret_room = (rota_room_t){.memory_bytes = available_bytes (), .load = -1};
    double load;
    if (getloadavg (&load, 1) == 1)
        ret_room->load = load;
    ret_room->full =
        rota_room_is_full (ret_room, reserve, (double)limit, sysconf (_SC_NPROCESSORS_ONLN), running);
}
