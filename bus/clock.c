#include "bus/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static int64_t read_ms (clockid_t clock)
{
    struct timespec now;
    clock_gettime (clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t rota_clock_monotonic_ms (void)
{
    return read_ms (CLOCK_MONOTONIC);
}

int64_t rota_clock_boot_ms (void)
{
    return read_ms (CLOCK_BOOTTIME);
}

int64_t rota_clock_wall_ms (void)
{
    return read_ms (CLOCK_REALTIME);
}

rota_clock_anchor_t rota_clock_anchor (void)
{
    return (rota_clock_anchor_t){.wall_ms = rota_clock_wall_ms (), .boot_ms = rota_clock_boot_ms ()};
}

int64_t rota_clock_bounded_ms (const rota_clock_anchor_t *anchor, int64_t wall_ms, int64_t boot_ms)
{
    int64_t expected_ms = anchor->wall_ms + (boot_ms - anchor->boot_ms);
    return wall_ms < expected_ms ? wall_ms : expected_ms;
}

int64_t rota_clock_retention_ms (const rota_clock_anchor_t *anchor)
{
    return rota_clock_bounded_ms (anchor, rota_clock_wall_ms (), rota_clock_boot_ms ());
}

void rota_clock_iso (int64_t wall_ms, char ret_text[ROTA_CLOCK_ISO_BYTES])
{
    int64_t rest_ms = wall_ms % 1000;
    time_t seconds = (time_t)(wall_ms / 1000);
    if (rest_ms < 0) {
        rest_ms += 1000;
        seconds--;
    }
    struct tm parts;
    if (!gmtime_r (&seconds, &parts) || parts.tm_year < -1900 || parts.tm_year > 9999 - 1900) {
        snprintf (ret_text, ROTA_CLOCK_ISO_BYTES, "-");
        return;
    }
    size_t length = strftime (ret_text, ROTA_CLOCK_ISO_BYTES, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf (ret_text + length, ROTA_CLOCK_ISO_BYTES - length, ".%03dZ", (int)rest_ms);
}

void rota_clock_duration (int64_t duration_ms, char ret_text[ROTA_CLOCK_DURATION_BYTES])
{
    int64_t s = duration_ms / 1000;
    if (duration_ms < 0)
        snprintf (ret_text, ROTA_CLOCK_DURATION_BYTES, "0 s");
    else if (duration_ms < 10000)
        snprintf (ret_text, ROTA_CLOCK_DURATION_BYTES, "%" PRId64 ".%" PRId64 " s", s,
                  duration_ms % 1000 / 100);
    else if (s < 60)
        snprintf (ret_text, ROTA_CLOCK_DURATION_BYTES, "%" PRId64 " s", s);
    else if (s < 3600)
        snprintf (ret_text, ROTA_CLOCK_DURATION_BYTES, "%" PRId64 " min %" PRId64 " s", s / 60, s % 60);
    else if (s < 86400)
        snprintf (ret_text, ROTA_CLOCK_DURATION_BYTES, "%" PRId64 " h %" PRId64 " min", s / 3600,
                  s % 3600 / 60);
    else
        snprintf (ret_text, ROTA_CLOCK_DURATION_BYTES, "%" PRId64 " d %" PRId64 " h", s / 86400,
                  s % 86400 / 3600);
}
