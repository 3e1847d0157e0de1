#include "agents/pattern.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64 /* groups within groups */

/* What has been read of a group: how large it is written out, without its last piece, and that one. */
typedef struct {
    size_t sum, last;
} level_t;

/* Behind "[...]", whose first character may be a "]", and which may have "[:alpha:]" within. */
static const char *skip_bracket (const char *at)
{
    at += at[1] == '^' ? 2 : 1;
    if (*at == ']')
        at++;
    while (*at && *at != ']') {
        const char *end = at[0] == '[' && at[1] && strchr (":.=", at[1])
                              ? strstr (at + 2, (const char[]){at[1], ']', '\0'})
                              : NULL;
        at = end ? end + 2 : at + 1;
    }
    return *at ? at + 1 : at;
}

/* How often "{n}", "{n,}" or "{n,m}" writes its piece out. */
static size_t count_of (const char *at, const char **ret_behind)
{
    char *end;
    size_t least = strtoul (at + 1, &end, 10), most = least;
    if (*end == ',') {
        most = strtoul (end + 1, &end, 10);
        if (most <= least && least <= ROTA_PATTERN_SIZE_MAX)
            most = least + 1;
    }
    *ret_behind = *end == '}' ? end + 1 : at + 1;
    if (least > ROTA_PATTERN_SIZE_MAX || most > ROTA_PATTERN_SIZE_MAX)
        return ROTA_PATTERN_SIZE_MAX + 1;
    return most ? most : 1;
}

/* Whether it stays within the bounds. What isn't well formed is regcomp's to refuse. */
static bool is_small (const char *at)
{
    level_t levels[DEPTH_MAX] = {{0, 0}}, *level = levels;
    while (*at) {
        size_t piece = 0, times = 1;
        switch (*at) {
        case '(':
            if (++level == levels + DEPTH_MAX)
                return false;
            *level = (level_t){0, 0};
            at++;
            continue;
        case ')':
            piece = 1 + (level > levels ? level->sum + level->last : 0);
            level -= level > levels;
            at++;
            break;
        case '+':
        case '*':
        case '?':
            times = 3;
            at++;
            break;
        case '{':
            times = count_of (at, &at);
            break;
        case '|':
            level->sum += level->last + 1;
            level->last = 0;
            at++;
            break;
        case '[':
            at = skip_bracket (at);
            piece = 1;
            break;
        default:
            at += at[0] == '\\' && at[1] ? 2 : 1;
            piece = 1;
        }
        if (piece) {
            level->sum += level->last;
            level->last = piece;
        }
        level->last *= times;
        if (level->sum + level->last > ROTA_PATTERN_SIZE_MAX)
            return false;
    }
    return true;
}

int rota_pattern_compile (regex_t *ret_pattern, const char *text, int flags, rota_error_t *error)
{
    char why[128];
    if (!is_small (text))
        return rota_error_set (error, -EINVAL,
                               "what it repeats makes it too large (%d characters written out, or %d groups "
                               "within each other): use fewer +, *, ? and {n} upon each other",
                               ROTA_PATTERN_SIZE_MAX, DEPTH_MAX);
    int code = regcomp (ret_pattern, text, REG_EXTENDED | flags);
    if (code == 0)
        return 0;
    regerror (code, ret_pattern, why, sizeof why);
    return rota_error_set (error, -EINVAL, "%s", why);
}
