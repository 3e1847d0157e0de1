/* zone.h - how far a time zone is from UTC at a moment, without touching the process's own zone.
 */
#ifndef ROTA_ZONE_H
#define ROTA_ZONE_H

#include <stdbool.h>
#include <stdint.h>

/* `name`: NULL = the process's; "utc", "pst", "utc+2", "pacific", "europe/berlin" (any case; as in the
 * system's zoneinfo). `at_s`: Unix. False for a name that nobody knows. East is positive. */
bool rota_zone_offset_s (const char *name, int64_t at_s, int64_t *ret_offset_s);

#endif
