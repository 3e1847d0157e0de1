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

void rota_room_look (const rota_settings_t *settings, rota_room_t *ret_room)
{
    uint64_t reserve = (uint64_t)rota_setting_size_bytes (settings, ROTA_SETTING_AGENTS_MEMORY_RESERVE);
    int64_t limit = rota_setting_integer (settings, ROTA_SETTING_AGENTS_LOAD_LIMIT);
    long processors = sysconf (_SC_NPROCESSORS_ONLN);
    *ret_room = (rota_room_t){.memory_bytes = available_bytes (), .load = -1};
    double load;
    if (getloadavg (&load, 1) == 1)
        ret_room->load = load;
    bool no_memory = reserve && ret_room->memory_bytes && ret_room->memory_bytes < reserve;
    bool no_processor = limit && ret_room->load >= (double)limit * (double)(processors > 0 ? processors : 1);
    ret_room->full = no_memory || no_processor;
}
