/* Room on the disk: looked at each second. Below scheduler.disk_reserve nothing new is taken or begun, so
 * that what runs can still be finished and written down; a quarter above it everything goes on by itself. */
#include "scheduler/service_internal.h"

#include "bus/log.h"

#include <sys/statvfs.h>

#define LOOK_EVERY_MS 1000

/* -1: the file system doesn't say. */
static int64_t free_bytes (const service_t *self)
{
    struct statvfs disk;
    if (statvfs (self->config.state_directory, &disk) < 0)
        return -1;
    return (int64_t)(disk.f_bavail * disk.f_frsize);
}

void rota_service_look_at_room (service_t *self, int64_t now_ms)
{
    int64_t reserve = rota_setting_size_bytes (self->config.settings, ROTA_SETTING_SCHEDULER_DISK_RESERVE);
    char text[128];
    if (reserve == 0 || now_ms < self->room_ms)
        return;
    self->room_ms = now_ms + LOOK_EVERY_MS;
    int64_t room = free_bytes (self);
    bool low = room >= 0 && room < (self->disk_low ? reserve + reserve / 4 : reserve);
    if (low == self->disk_low)
        return;
    self->disk_low = low;
    snprintf (text, sizeof text, "%lld MiB are free, scheduler.disk_reserve is %lld MiB%s",
              (long long)(room >> 20), (long long)(reserve >> 20),
              low ? ": nothing new is taken or begun" : "");
    rota_log (low ? ROTA_LOG_ERROR : ROTA_LOG_INFO, low ? "disk.low" : "disk.recovered", "text=\"%s\"", text);
    rota_core_note (self->core, low ? EVENT (DISK_LOW) : EVENT (DISK_RECOVERED), text);
}

bool rota_service_refuses_for_room (service_t *self, const rota_envelope_t *from)
{
    if (!self->disk_low)
        return false;
    rota_service_refuse (
        self, from, ERROR_CODE (DISK_FULL),
        "the disk is nearly full: make room where %s lies (scheduler.disk_reserve); nothing was changed",
        self->config.state_directory);
    return true;
}
