/* ask_limits.h - until when a limit holds, from the headers of the answer that told of it.
 *
 * What says when to come again wins (retry-after); then the window of a subscription that is used up
 * (anthropic-ratelimit-unified-*); then, of the budgets for requests and tokens, the last to be renewed of
 * those that have nothing left.
 *
 * Owner: one thread at a time.
 */
#ifndef ROTA_ASK_LIMITS_H
#define ROTA_ASK_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROTA_ASK_BUDGETS_MAX 16

typedef struct {
    char name[64]; /* the header's, without the word that says what of the budget it is */
    int64_t until_ms;
    bool left; /* something is */
} rota_ask_budget_t;

/* Zeroed at first. */
typedef struct {
    int64_t retry_ms, window_ms; /* Unix; 0 = not said */
    bool window_rejected;
    char window[32];
    rota_ask_budget_t budgets[ROTA_ASK_BUDGETS_MAX];
    size_t count;
} rota_ask_limits_t;

/* A line of the answer's head, "name: value". */
void rota_ask_limits_header (rota_ask_limits_t *self, const char *line, size_t size_bytes, int64_t now_ms);
/* 0 = it isn't said. */
int64_t rota_ask_limits_until_ms (const rota_ask_limits_t *self);

#endif
