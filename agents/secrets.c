#include "agents/secrets.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define WORD UPPER "abcdefghijklmnopqrstuvwxyz"

/* A prefix at the begin of a word, and how many characters of what set follow it. Sources: GitHub, "Behind
 * GitHub's new authentication token formats" (2021); AWS IAM, "unique identifiers"; Slack, "token types";
 * keys as Anthropic's, OpenAI's and Google's consoles issue them. */
static const struct {
    const char *prefix, *set, *what;
    size_t least, most; /* most 0 = any number; else the word ends there */
    bool mixed;         /* has a digit and an upper case letter: what a name rarely has */
} SHAPES[] = {
    {"AKIA", UPPER, "an AWS access key", 16, 16, false},
    {"ASIA", UPPER, "an AWS access key", 16, 16, false},
    {"ghp_", WORD, "a GitHub token", 36, 0, false},
    {"gho_", WORD, "a GitHub token", 36, 0, false},
    {"ghu_", WORD, "a GitHub token", 36, 0, false},
    {"ghs_", WORD, "a GitHub token", 36, 0, false},
    {"ghr_", WORD, "a GitHub token", 36, 0, false},
    {"github_pat_", WORD "_", "a GitHub token", 40, 0, false},
    {"sk-ant-", WORD "_-", "an Anthropic key", 24, 0, false},
    {"sk-proj-", WORD "_-", "an OpenAI key", 24, 0, false},
    {"sk-svcacct-", WORD "_-", "an OpenAI key", 24, 0, false},
    {"sk-", WORD, "an OpenAI key", 32, 0, true},
    {"xoxb-", WORD "-", "a Slack token", 24, 0, false},
    {"xoxp-", WORD "-", "a Slack token", 24, 0, false},
    {"AIza", WORD "_-", "a Google key", 35, 35, true},
};

static bool is_mixed (const char *text, size_t length)
{
    bool digit = false, upper = false;
    for (size_t i = 0; i < length; i++) {
        digit |= isdigit ((unsigned char)text[i]) != 0;
        upper |= isupper ((unsigned char)text[i]) != 0;
    }
    return digit && upper;
}

static const char *match (const char *at, const char *end)
{
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        size_t length = strlen (SHAPES[i].prefix), count = 0;
        if ((size_t)(end - at) < length || memcmp (at, SHAPES[i].prefix, length) != 0)
            continue;
        for (const char *c = at + length; c < end && *c && strchr (SHAPES[i].set, *c); c++)
            count++;
        if (count >= SHAPES[i].least && (!SHAPES[i].most || count <= SHAPES[i].most) &&
            (!SHAPES[i].mixed || is_mixed (at + length, count)))
            return SHAPES[i].what;
    }
    return NULL;
}

/* "-----BEGIN ... PRIVATE KEY" */
static bool begins_private_key (const char *at, const char *end)
{
    const char begin[] = "-----BEGIN ", key[] = "PRIVATE KEY";
    if ((size_t)(end - at) < sizeof begin - 1 || memcmp (at, begin, sizeof begin - 1) != 0)
        return false;
    at += sizeof begin - 1;
    const char *close = memmem (at, (size_t)(end - at), key, sizeof key - 1);
    return close && close - at <= 24;
}

const char *rota_secret_find (const char *line, size_t size_bytes)
{
    const char *end = line + size_bytes;
    bool inside = false; /* of a word */
    for (const char *at = line; at < end; at++) {
        if (*at == '-' && begins_private_key (at, end))
            return "a private key";
        const char *what = inside ? NULL : match (at, end);
        if (what)
            return what;
        inside = isalnum ((unsigned char)*at) || *at == '_' || *at == '-';
    }
    return NULL;
}
