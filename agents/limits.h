/* limits.h - what the text of an error means, by one table of rules, and until when a limit holds.
 *
 * The rules are a YAML file (agents/limits.yaml is built in, the setting agents.limits names another): each
 * has a name, optionally the provider it is for, a POSIX extended regular expression without regard to case,
 * and what it means. The first that matches counts. Only texts from error channels are given to this.
 *
 * Reset times are read from what surrounds the match, in every form that was seen (reset_time.h).
 *
 * Owner: one thread at a time.
 */
#ifndef ROTA_LIMITS_H
#define ROTA_LIMITS_H

#include "bus/error.h"
#include "proto/rota.pb-c.h"

#include <stddef.h>
#include <stdint.h>

typedef struct rota_limits rota_limits_t;

typedef struct {
    Rota__ResultClass result_class; /* UNSPECIFIED: no rule knows it */
    Rota__LimitKind limit_kind;     /* for LIMITED */
    int64_t until_ms;               /* Unix; 0 = the text doesn't say */
    const char *rule;               /* its name, as long as the table lives; NULL = none */
} rota_limit_match_t;

/* NULL path: the rules that are built in. NULL with file:line:column in *error. */
rota_limits_t *rota_limits_new (const char *path, rota_error_t *error);
void rota_limits_destroy (rota_limits_t **self_p);
/* Reads the file again if it changed since; a file with faults leaves the rules as they were and says so
 * once. 0, 1 when new rules hold, or a negative errno. */
int rota_limits_refresh (rota_limits_t *self, rota_error_t *error);

/* `provider` ("claude", "codex", ... or NULL) selects rules that name one. `zone` is the time zone of clock
 * times without one ("UTC", "Europe/Berlin"; NULL = the process's). Only the first 8 KiB of the text count.
 */
void rota_limits_match (const rota_limits_t *self, const char *provider, const char *text, size_t size_bytes,
                        int64_t now_ms, const char *zone, rota_limit_match_t *ret_match);

#endif
