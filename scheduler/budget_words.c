/* Budgets in words: scopes, limits, amounts. */
#include "scheduler/budget.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const SCOPES[ROTA_SCOPES] = {"all", "kind", "account", "agent", "source", "epic", "task"};
static const char *const MEASURES[ROTA_MEASURES] = {"usd", "tokens", "attempts"};
static const char *const PERIODS[ROTA_PERIODS] = {"_per_hour", "_per_day", ""};
#define AMOUNT_MAX 9e17

void rota_limits_init (rota_limits_t *ret_limits)
{
    for (int m = 0; m < ROTA_MEASURES; m++)
        for (int p = 0; p < ROTA_PERIODS; p++)
            ret_limits->of[m][p] = ROTA_LIMIT_UNSET;
    ret_limits->window_permille = ROTA_LIMIT_UNSET;
    ret_limits->stop = -1;
}

const char *rota_scope_word (rota_scope_t scope)
{
    return SCOPES[scope];
}

void rota_scope_write (rota_scope_t scope, const char *name, char ret_text[ROTA_SCOPE_BYTES])
{
    snprintf (ret_text, ROTA_SCOPE_BYTES, "%s%s%s", rota_scope_word (scope), name[0] ? "/" : "", name);
}

int rota_scope_find (const char *word)
{
    for (int i = 0; i < ROTA_SCOPES; i++)
        if (strcmp (SCOPES[i], word) == 0)
            return i;
    return -1;
}

int rota_scope_parse (const char *text, rota_scope_t *ret_scope, const char **ret_name, rota_error_t *error)
{
    size_t length = strcspn (text, "/");
    const char *name = text[length] ? text + length + 1 : "";
    for (int i = 0; i < ROTA_SCOPES; i++) {
        if (strlen (SCOPES[i]) != length || memcmp (SCOPES[i], text, length) != 0)
            continue;
        bool all = i == ROTA_SCOPE_ALL;
        if (all && text[length])
            return rota_error_set (error, -EINVAL, "\"all\" takes no name");
        if (!all && (!*name || strlen (name) > ROTA_SCOPE_NAME_MAX))
            return rota_error_set (error, -EINVAL, "\"%.100s\" needs a name of at most %d bytes: %s/NAME",
                                   text, ROTA_SCOPE_NAME_MAX, SCOPES[i]);
        *ret_scope = (rota_scope_t)i;
        *ret_name = name;
        return 0;
    }
    return rota_error_set (error, -EINVAL,
                           "\"%.100s\" is no scope: all, kind/NAME, account/NAME, agent/NAME, source/NAME, "
                           "epic/ID or task/ID",
                           text);
}

void rota_cell_name (rota_measure_t measure, rota_period_t period, char ret_text[ROTA_CELL_BYTES])
{
    snprintf (ret_text, ROTA_CELL_BYTES, "%s%s", MEASURES[measure], PERIODS[period]);
}

void rota_amount_write (rota_measure_t measure, int64_t amount, char ret_text[ROTA_CELL_BYTES])
{
    double usd = (double)amount / 1e9;
    if (measure == ROTA_MEASURE_USD)
        snprintf (ret_text, ROTA_CELL_BYTES, usd != 0 && fabs (usd) < 0.1 ? "$%.4f" : "$%.2f", usd);
    else
        snprintf (ret_text, ROTA_CELL_BYTES, "%lld %s", (long long)amount,
                  amount == 1 && measure == ROTA_MEASURE_ATTEMPTS ? "attempt" : MEASURES[measure]);
}

/* A number of at least 0 with k, M or G behind it. 0 or -EINVAL. */
static int read_amount (const char *text, size_t length, rota_measure_t measure, int64_t *ret_amount)
{
    char copy[40], *end;
    double factor = 1;
    if (length == 0 || length >= sizeof copy)
        return -EINVAL;
    memcpy (copy, text, length);
    copy[length] = '\0';
    switch (copy[length - 1]) {
    case 'k':
        factor = 1e3;
        break;
    case 'M':
        factor = 1e6;
        break;
    case 'G':
        factor = 1e9;
        break;
    default:
        break;
    }
    if (factor > 1)
        copy[length - 1] = '\0';
    if (strspn (copy, "0123456789.") != strlen (copy) || !copy[0])
        return -EINVAL;
    double amount = strtod (copy, &end) * factor;
    if (measure == ROTA_MEASURE_USD)
        amount *= 1e9;
    if (*end || !(amount >= 0) || amount > AMOUNT_MAX || end == copy)
        return -EINVAL;
    *ret_amount = llround (amount);
    return 0;
}

static int find_cell (const char *text, size_t length, rota_measure_t *ret_measure, rota_period_t *ret_period)
{
    char name[ROTA_CELL_BYTES];
    for (int m = 0; m < ROTA_MEASURES; m++)
        for (int p = 0; p < ROTA_PERIODS; p++) {
            rota_cell_name ((rota_measure_t)m, (rota_period_t)p, name);
            if (strlen (name) != length || memcmp (name, text, length) != 0)
                continue;
            *ret_measure = (rota_measure_t)m;
            *ret_period = (rota_period_t)p;
            return 0;
        }
    return -EINVAL;
}

static int bad_amount (rota_error_t *error, const char *text)
{
    return rota_error_set (error, -EINVAL,
                           "\"%.100s\": the amount is a number of at least 0, as 20, 0.5 or 200k, or `none`",
                           text);
}

static int parse_share (const char *text, const char *value, rota_limits_t *limits, rota_error_t *error)
{
    char *end;
    if (strcmp (value, "none") == 0) {
        limits->window_permille = ROTA_LIMIT_NONE;
        return 0;
    }
    double percent = strtod (value, &end);
    if (end == value || (*end && strcmp (end, "%") != 0) || !(percent >= 0 && percent <= 100))
        return rota_error_set (error, -EINVAL, "\"%.100s\": the share is 0%% to 100%%, or `none`", text);
    limits->window_permille = llround (percent * 10);
    return 0;
}

/* "5usd", "200ktokens" */
static int parse_short (const char *text, rota_limits_t *limits)
{
    for (int m = 0; m < ROTA_MEASURES; m++) {
        size_t length = strlen (text), unit = strlen (MEASURES[m]);
        if (length > unit && strcmp (text + length - unit, MEASURES[m]) == 0)
            return read_amount (text, length - unit, (rota_measure_t)m, &limits->of[m][ROTA_PERIOD_LIFE]);
    }
    return -EINVAL;
}

int rota_limit_parse (const char *text, rota_limits_t *limits, rota_limits_t *more, rota_error_t *error)
{
    size_t length = strcspn (text, "=");
    const char *value = text + length + 1;
    rota_measure_t measure;
    rota_period_t period;
    if (!text[length]) {
        if (parse_short (text, limits) == 0)
            return 0;
        return rota_error_set (error, -EINVAL,
                               "\"%.100s\" is no limit: usd=5 or 5usd, usd_per_day=20, tokens_per_hour=200k, "
                               "attempts_per_day=10, window_share=80%%, policy=stop",
                               text);
    }
    if (length == 6 && memcmp (text, "policy", 6) == 0) {
        if (strcmp (value, "stop") != 0 && strcmp (value, "finish") != 0)
            return rota_error_set (error, -EINVAL, "\"%.100s\": the policy is `finish` or `stop`", text);
        limits->stop = strcmp (value, "stop") == 0;
        return 0;
    }
    if (length == 12 && memcmp (text, "window_share", 12) == 0)
        return parse_share (text, value, limits, error);
    if (find_cell (text, length, &measure, &period) < 0)
        return rota_error_set (
            error, -EINVAL,
            "\"%.100s\": there is usd, tokens and attempts, alone or with _per_hour or _per_day; "
            "window_share; policy",
            text);
    if (strcmp (value, "none") == 0) {
        limits->of[measure][period] = ROTA_LIMIT_NONE;
        return 0;
    }
    rota_limits_t *into = limits;
    if (*value == '+') {
        if (!more)
            return rota_error_set (error, -EINVAL, "\"%.100s\": only `rota budget raise` adds to a limit",
                                   text);
        into = more;
        value++;
    }
    return read_amount (value, strlen (value), measure, &into->of[measure][period]) < 0
               ? bad_amount (error, text)
               : 0;
}

int rota_limits_parse_line (const char *line, char ret_scope[ROTA_SCOPE_BYTES], rota_limits_t *ret_limits,
                            rota_error_t *error)
{
    char word[ROTA_SCOPE_BYTES];
    rota_scope_t scope;
    const char *name;
    size_t count = 0;
    rota_limits_init (ret_limits);
    for (const char *at = line + strspn (line, " "); *at; at += strspn (at, " ")) {
        size_t length = strcspn (at, " ");
        if (length >= sizeof word)
            return rota_error_set (error, -EINVAL, "\"%.60s...\" is too long", at);
        memcpy (word, at, length);
        word[length] = '\0';
        at += length;
        int r = count ? rota_limit_parse (word, ret_limits, NULL, error)
                      : rota_scope_parse (word, &scope, &name, error);
        if (r < 0)
            return r;
        if (count++ == 0)
            memcpy (ret_scope, word, length + 1);
    }
    return count > 1
               ? 0
               : rota_error_set (error, -EINVAL,
                                 "\"%.100s\" is a scope and limits: \"kind/claude usd_per_day=20\"", line);
}
