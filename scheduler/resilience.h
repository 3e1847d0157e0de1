/* resilience.h - rules for results in words: "retry wait=30s..5m other=2".
 *
 * WHAT is one of
 *   retry   uses one of the task's attempts; the last one makes it failed
 *   free    uses none; from the second in a row on it waits
 *   rest    uses none and doesn't wait: its account does
 *   ask     blocked until it is answered
 *   block   blocked until it is released
 *   fail    failed at once
 */
#ifndef ROTA_RESILIENCE_H
#define ROTA_RESILIENCE_H

#include "bus/error.h"

#include <stdint.h>

typedef enum {
    ROTA_RULE_RETRY,
    ROTA_RULE_FREE,
    ROTA_RULE_REST,
    ROTA_RULE_ASK,
    ROTA_RULE_BLOCK,
    ROTA_RULE_FAIL,
} rota_rule_what_t;

#define ROTA_RULES 13 /* ResultClass values */

typedef struct {
    rota_rule_what_t what;
    int64_t base_ms, max_ms; /* of the backoff; -1 = as every task's */
    uint32_t other;          /* same errors in a row before another kind is preferred; 0 = never */
} rota_rule_t;

/* -EINVAL with what is wrong; *ret_rule is written on success only. */
int rota_rule_parse (const char *text, rota_rule_t *ret_rule, rota_error_t *error);

/* The same text for the same error: digits, paths and what is quoted by 0x are folded. */
uint32_t rota_error_fingerprint (const char *text);

#endif
