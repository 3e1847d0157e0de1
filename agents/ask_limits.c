#include "agents/ask_limits.h"

#include "agents/reset_time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define UNIFIED "anthropic-ratelimit-unified-"
#define HEADER_BYTES 512

/* The budget that "x-ratelimit-reset-tokens" or "anthropic-ratelimit-tokens-remaining" is of, NULL when the
 * header has not that word or there are too many. */
static rota_ask_budget_t *budget_of (rota_ask_limits_t *self, const char *header, const char *word)
{
    char name[sizeof self->budgets[0].name];
    const char *at = strcasestr (header, word);
    if (!at || !strcasestr (header, "ratelimit") || strlen (header) >= sizeof name)
        return NULL;
    snprintf (name, sizeof name, "%.*s%s", (int)(at - header), header, at + strlen (word));
    for (size_t i = 0; i < self->count; i++)
        if (strcasecmp (self->budgets[i].name, name) == 0)
            return &self->budgets[i];
    if (self->count == ROTA_ASK_BUDGETS_MAX)
        return NULL;
    rota_ask_budget_t *added = &self->budgets[self->count++];
    *added = (rota_ask_budget_t){.until_ms = 0};
    memcpy (added->name, name, sizeof name);
    return added;
}

/* Their windows' own headers (-5h-reset) tell of those that aren't used up, too. */
static void take_unified (rota_ask_limits_t *self, const char *header, const char *value, int64_t now_ms)
{
    const char *rest = header + strlen (UNIFIED);
    if (strcasecmp (rest, "status") == 0)
        self->window_rejected = strcasecmp (value, "rejected") == 0;
    else if (strcasecmp (rest, "representative-claim") == 0)
        snprintf (self->window, sizeof self->window, "%s", value);
    else if (strcasecmp (rest, "reset") == 0 &&
             !rota_reset_time_in_header (header, value, now_ms, &self->window_ms))
        self->window_ms = 0;
}

static void take_budget (rota_ask_limits_t *self, const char *header, const char *value, int64_t now_ms)
{
    rota_ask_budget_t *budget;
    int64_t until_ms;
    if ((budget = budget_of (self, header, "remaining")))
        budget->left = strtod (value, NULL) > 0;
    else if (rota_reset_time_in_header (header, value, now_ms, &until_ms) &&
             (budget = budget_of (self, header, "reset")))
        budget->until_ms = until_ms;
}

void rota_ask_limits_header (rota_ask_limits_t *self, const char *line, size_t size_bytes, int64_t now_ms)
{
    char header[HEADER_BYTES];
    int64_t until_ms;
    while (size_bytes && strchr ("\r\n \t", line[size_bytes - 1]))
        size_bytes--;
    if (size_bytes >= sizeof header || memchr (line, 0, size_bytes))
        return;
    memcpy (header, line, size_bytes);
    header[size_bytes] = '\0';
    char *value = strchr (header, ':');
    if (!value)
        return;
    *value++ = '\0';
    value += strspn (value, " \t");
    if (strcasecmp (header, "retry-after-ms") == 0 || strcasecmp (header, "retry-after") == 0) {
        if (rota_reset_time_in_header (header, value, now_ms, &until_ms) && until_ms > self->retry_ms)
            self->retry_ms = until_ms;
    } else if (strncasecmp (header, UNIFIED, strlen (UNIFIED)) == 0) {
        take_unified (self, header, value, now_ms);
    } else {
        take_budget (self, header, value, now_ms);
    }
}

int64_t rota_ask_limits_until_ms (const rota_ask_limits_t *self)
{
    int64_t until_ms = 0;
    if (self->retry_ms)
        return self->retry_ms;
    if (self->window_rejected && self->window_ms)
        return self->window_ms;
    for (size_t i = 0; i < self->count; i++)
        if (!self->budgets[i].left && self->budgets[i].until_ms > until_ms)
            until_ms = self->budgets[i].until_ms;
    return until_ms;
}
