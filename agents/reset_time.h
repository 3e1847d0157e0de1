/* reset_time.h - the moment at which a limit ends, from sentences and from HTTP headers.
 *
 * A time is only believed within (now - 1 day, now + 32 days); what lies in the past means "now".
 */
#ifndef ROTA_RESET_TIME_H
#define ROTA_RESET_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "try again in 20s", "in 2 hours and 5 minutes", "1h30m", "at 8:34 AM", "resets Nov 26, 7:36am (UTC)", ISO
 * 8601, seconds since 1970, ... `zone`: of clock times that name none, NULL = the process's. True and *ret_ms
 * (Unix). */
bool rota_reset_time_in_text (const char *text, size_t size_bytes, int64_t now_ms, const char *zone,
                              int64_t *ret_ms);

/* One header of an answer, name without regard to case: retry-after (seconds or an HTTP date),
 * retry-after-ms, anthropic-ratelimit-*-reset, x-ratelimit-reset-*, x-codex-*-reset-at, ... False for any
 * other or unusable one. */
bool rota_reset_time_in_header (const char *name, const char *value, int64_t now_ms, int64_t *ret_ms);

#endif
