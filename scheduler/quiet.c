#include "scheduler/quiet.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DAY_MINUTES 1440

int rota_quiet_parse (const char *text, rota_quiet_t *ret_quiet, rota_error_t *error)
{
    *ret_quiet = (rota_quiet_t){0};
    while (*text) {
        unsigned hour[2], minute[2];
        int used = 0;
        if (sscanf (text, " %2u:%2u - %2u:%2u %n", &hour[0], &minute[0], &hour[1], &minute[1], &used) != 4 ||
            used == 0 || hour[0] > 24 || hour[1] > 24 || minute[0] > 59 || minute[1] > 59 ||
            (text[used] && text[used] != ','))
            return rota_error_set (error, -EINVAL, "\"%.60s\" is no time of day like 22:00-06:30", text);
        if (ret_quiet->count == ROTA_QUIET_MAX)
            return rota_error_set (error, -EINVAL, "more than %d quiet times", ROTA_QUIET_MAX);
        ret_quiet->windows[ret_quiet->count].from_minute = (int)(hour[0] * 60 + minute[0]) % DAY_MINUTES;
        ret_quiet->windows[ret_quiet->count++].to_minute = (int)(hour[1] * 60 + minute[1]) % DAY_MINUTES;
        text += used + (text[used] == ',');
    }
    return 0;
}

/* The next moment at which the local clock shows that minute of the day, also where the clock is changed. */
static int64_t next_ms (const struct tm *now, int minute)
{
    struct tm then = *now;
    then.tm_hour = minute / 60;
    then.tm_min = minute % 60;
    then.tm_sec = 0;
    then.tm_isdst = -1;
    if (now->tm_hour * 60 + now->tm_min >= minute)
        then.tm_mday++;
    return (int64_t)mktime (&then) * 1000;
}

int64_t rota_quiet_until_ms (const rota_quiet_t *quiet, int64_t now_ms)
{
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm now;
    int64_t until_ms = 0;
    if (!localtime_r (&seconds, &now))
        return 0;
    int at = now.tm_hour * 60 + now.tm_min;
    for (size_t i = 0; i < quiet->count; i++) {
        int from = quiet->windows[i].from_minute, to = quiet->windows[i].to_minute;
        bool within = from < to ? at >= from && at < to : at >= from || at < to;
        if (!within || from == to)
            continue;
        int64_t end_ms = next_ms (&now, to);
        until_ms = end_ms > until_ms ? end_ms : until_ms;
    }
    return until_ms;
}
