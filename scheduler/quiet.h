/* quiet.h - hours of the day in which no paid work is begun: "22:00-06:30", several separated by commas.
 */
#ifndef ROTA_QUIET_H
#define ROTA_QUIET_H

#include "bus/error.h"

#include <stddef.h>
#include <stdint.h>

#define ROTA_QUIET_MAX 8

typedef struct {
    struct {
        int from_minute, to_minute; /* of the local day; from > to: over midnight */
    } windows[ROTA_QUIET_MAX];
    size_t count;
} rota_quiet_t;

/* -EINVAL with what is wrong. */
int rota_quiet_parse (const char *text, rota_quiet_t *ret_quiet, rota_error_t *error);
/* When the quiet hours that hold at `now_ms` (Unix) end; 0 when none do. */
int64_t rota_quiet_until_ms (const rota_quiet_t *quiet, int64_t now_ms);

#endif
