/* Rules for results, in words, and what makes two errors the same. */
#include "scheduler/resilience.h"

#include "bus/names.h"
#include "bus/units.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const WHAT[] = {
    [ROTA_RULE_RETRY] = "retry", [ROTA_RULE_FREE] = "free",   [ROTA_RULE_REST] = "rest",
    [ROTA_RULE_ASK] = "ask",     [ROTA_RULE_BLOCK] = "block", [ROTA_RULE_FAIL] = "fail",
};

static int parse_what (const char *word, rota_rule_what_t *ret_what)
{
    for (size_t i = 0; i < sizeof WHAT / sizeof WHAT[0]; i++)
        if (strcmp (word, WHAT[i]) == 0) {
            *ret_what = (rota_rule_what_t)i;
            return 0;
        }
    return -EINVAL;
}

static int parse_wait (char *text, rota_rule_t *rule)
{
    char *dots = strstr (text, "..");
    if (!dots)
        return -EINVAL;
    *dots = '\0';
    if (rota_duration_parse (text, &rule->base_ms) < 0 || rota_duration_parse (dots + 2, &rule->max_ms) < 0)
        return -EINVAL;
    return rule->base_ms >= 0 && rule->max_ms >= rule->base_ms ? 0 : -EINVAL;
}

static int parse_other (const char *text, rota_rule_t *rule)
{
    char *end;
    unsigned long value = strtoul (text, &end, 10);
    if (!isdigit ((unsigned char)*text) || *end || value > 100)
        return -EINVAL;
    rule->other = (uint32_t)value;
    return 0;
}

int rota_rule_parse (const char *text, rota_rule_t *ret_rule, rota_error_t *error)
{
    char copy[201], *rest = copy;
    rota_rule_t rule = {.base_ms = -1, .max_ms = -1};
    if (strlen (text) >= sizeof copy)
        return rota_error_set (error, -EINVAL, "it is longer than 200 bytes");
    strcpy (copy, text);
    const char *what = strtok_r (rest, " ", &rest);
    if (!what || parse_what (what, &rule.what) < 0)
        return rota_error_set (error, -EINVAL,
                               "`%s` is none of retry, free, rest, ask, block and fail, one of which comes "
                               "first",
                               what ? what : "");
    for (char *word = strtok_r (NULL, " ", &rest); word; word = strtok_r (NULL, " ", &rest)) {
        if (strncmp (word, "wait=", 5) == 0) {
            if (parse_wait (word + 5, &rule) < 0)
                return rota_error_set (error, -EINVAL,
                                       "`wait=` takes two durations, the longer one last: wait=30s..5m");
        } else if (strncmp (word, "other=", 6) == 0) {
            if (parse_other (word + 6, &rule) < 0)
                return rota_error_set (error, -EINVAL, "`other=` takes a number from 0 to 100: other=2");
        } else
            return rota_error_set (error, -EINVAL, "`%s` is neither wait=BASE..MAX nor other=N", word);
    }
    *ret_rule = rule;
    return 0;
}

/* Where it happened, when and with which numbers doesn't make another error of it. */
uint32_t rota_error_fingerprint (const char *text)
{
    char folded[512];
    size_t used = 0;
    for (const char *at = text; *at && used < sizeof folded - 1;) {
        size_t path = strcspn (at, " \t\n\r'\"`(),;");
        if (path && memchr (at, '/', path)) {
            folded[used++] = '/';
            at += path;
        } else if (isxdigit ((unsigned char)*at) && strcspn (at, "0123456789") < path) {
            folded[used++] = '0'; /* a word with digits: a number, a time, an address, a hash */
            at += path;
        } else if (isspace ((unsigned char)*at)) {
            folded[used++] = ' ';
            at += strspn (at, " \t\n\r");
        } else {
            size_t length = path ? path : 1;
            for (size_t i = 0; i < length && used < sizeof folded - 1; i++)
                folded[used++] = isdigit ((unsigned char)at[i]) ? '0' : (char)tolower ((unsigned char)at[i]);
            at += length;
        }
    }
    uint32_t hash = (uint32_t)rota_hash (folded, used);
    return hash ? hash : 1;
}
