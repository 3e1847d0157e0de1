#include "agents/limits.h"
#include "proto/words.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW_MS INT64_C (1795417200000)

/* In the words of the vendors, as people have met them. */
static const struct {
    const char *text;
    int class, kind;
} TEXTS[] = {
    {"You've hit your limit \xc2\xb7 resets 8pm (America/New_York)", RESULT (LIMITED), LIMIT (WINDOW)},
    {"You've hit your session limit \xc2\xb7 resets 6:30pm (Europe/Berlin)", RESULT (LIMITED),
     LIMIT (WINDOW)},
    {"You've hit your 5-hour limit \xc2\xb7 resets 8:36am (UTC)", RESULT (LIMITED), LIMIT (WINDOW)},
    {"You're out of extra usage \xc2\xb7 resets Mar 12, 10am (UTC)", RESULT (LIMITED), LIMIT (WINDOW)},
    {"You're out of usage credits. Run /usage-credits to keep using it", RESULT (LIMITED), LIMIT (CREDIT)},
    {"Claude AI usage limit reached|1795420800", RESULT (LIMITED), LIMIT (WINDOW)},
    {"You've hit your limit for Claude messages. Limits will reset at 9:30 AM.", RESULT (LIMITED),
     LIMIT (WINDOW)},
    {"API Error: Rate limit reached", RESULT (LIMITED), LIMIT (BURST)},
    {"API Error: Request rejected (429) \xc2\xb7 Rate limited", RESULT (LIMITED), LIMIT (BURST)},
    {"API Error: Server is temporarily limiting requests (not your usage limit)", RESULT (LIMITED),
     LIMIT (BURST)},
    {"API Error: Repeated 529 Overloaded errors", RESULT (LIMITED), LIMIT (CAPACITY)},
    {"This request would exceed your account's rate limit. Please try again later.", RESULT (LIMITED),
     LIMIT (BURST)},
    {"Credit balance is too low", RESULT (LIMITED), LIMIT (CREDIT)},
    {"You\xe2\x80\x99ve hit your usage limit. Visit the settings to purchase more credits or try again at "
     "3:28 PM.",
     RESULT (LIMITED), LIMIT (WINDOW)},
    {"Your workspace is out of credits. Ask your workspace owner to refill in order to continue.",
     RESULT (LIMITED), LIMIT (CREDIT)},
    {"Quota exceeded. Check your plan and billing details.", RESULT (LIMITED), LIMIT (CREDIT)},
    {"Selected model is at capacity. Please try a different model.", RESULT (LIMITED), LIMIT (CAPACITY)},
    {"exceeded retry limit, last status: 429 Too Many Requests", RESULT (LIMITED), LIMIT (BURST)},
    {"{\"type\":\"usage_limit_reached\",\"message\":\"The usage limit has been reached\"}", RESULT (LIMITED),
     LIMIT (WINDOW)},
    {"You have exhausted your daily quota on this model.", RESULT (LIMITED), LIMIT (WINDOW)},
    {"Resource has been exhausted (e.g. check quota).", RESULT (LIMITED), LIMIT (BURST)},
    {"Sorry, you have been rate-limited. Please wait a moment before trying again.", RESULT (LIMITED),
     LIMIT (BURST)},
    {"Free Usage Exceeded, Subscribe To Go", RESULT (LIMITED), LIMIT (CREDIT)},
    {"You've hit your usage limit for this model. Switch to another now, or try again at 3:28 PM.",
     RESULT (LIMITED), LIMIT (WINDOW)},
    {"You hit your spend cap set in your workspace.", RESULT (LIMITED), LIMIT (CREDIT)},
    {"Weekly limit reached \xe2\x88\x99 resets Thu 9am", RESULT (LIMITED), LIMIT (WINDOW)},
    {"Quota exceeded for quota metric 'Pro 2.5 Requests' and limit 'Pro 2.5 Requests per day per user'",
     RESULT (LIMITED), LIMIT (WINDOW)},
    {"You exceeded your current quota, please check your plan and billing details.", RESULT (LIMITED),
     LIMIT (CREDIT)},
    {"Resource exhausted. Please try again later.", RESULT (LIMITED), LIMIT (BURST)},
    {"Sorry, you've hit a rate limit that restricts the number of model requests you can make within a "
     "specific time period. Please try again in 2 hours.",
     RESULT (LIMITED), LIMIT (WINDOW)},
    {"You have hit the rate limit of this endpoint. Slow down.", RESULT (LIMITED), LIMIT (BURST)},
    {"[rate_limit_exceeded] Rate limit exceeded. Please retry after a brief wait.", RESULT (LIMITED),
     LIMIT (BURST)},
    {"You have exceeded the request rate limit. Please wait a short period", RESULT (LIMITED), LIMIT (BURST)},
    {"Rate limit reached for x on tokens per min (TPM): Limit 30000. Please try again in 20s.",
     RESULT (LIMITED), LIMIT (BURST)},
    {"Request failed with status code 429", RESULT (LIMITED), LIMIT (BURST)},
    {"Error code: 429 - {'error': {'message': 'x'}}", RESULT (LIMITED), LIMIT (BURST)},
    {"{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}",
     RESULT (LIMITED), LIMIT (CAPACITY)},
    {"The model is overloaded. Please try again later.", RESULT (LIMITED), LIMIT (CAPACITY)},
    {"We\xe2\x80\x99re currently experiencing high demand, which may cause temporary errors.",
     RESULT (LIMITED), LIMIT (CAPACITY)},
    {"Credit balance\xc2\xa0is \n  too low", RESULT (LIMITED), LIMIT (CREDIT)},
    {"Request too large for x on tokens per min (TPM): Limit 30000, Requested 50000.", RESULT (CONTEXT_LIMIT),
     0},
    {"Prompt is too long", RESULT (CONTEXT_LIMIT), 0},
    {"prompt is too long: 210000 tokens > 200000 maximum", RESULT (CONTEXT_LIMIT), 0},
    {"input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000", RESULT (CONTEXT_LIMIT),
     0},
    {"Your input exceeds the context window of this model.", RESULT (CONTEXT_LIMIT), 0},
    {"Codex ran out of room in the model's context window. Start a new thread.", RESULT (CONTEXT_LIMIT), 0},
    {"This model's maximum context length is 200000 tokens", RESULT (CONTEXT_LIMIT), 0},
    {"Not logged in \xc2\xb7 Please run /login", RESULT (AUTH), 0},
    {"Invalid API key \xc2\xb7 Fix external API key", RESULT (AUTH), 0},
    {"unexpected status 401 Unauthorized: bad key", RESULT (AUTH), 0},
    {"API key not valid. Please pass a valid API key.", RESULT (AUTH), 0},
    {"Your refresh token was already used. Please log out and sign in again.", RESULT (AUTH), 0},
    {"getaddrinfo ENOTFOUND api.example", RESULT (NETWORK), 0},
    {"stream disconnected before completion: idle timeout", RESULT (NETWORK), 0},
    {"The model `x` does not exist or you do not have access to it.", RESULT (INVALID), 0},
    /* Of these nothing follows: they are of the work. */
    {"line too long (88 > 79 characters) E501", 0, 0},
    {"line 12: prompt is too long (E501)", 0, 0},
    {"the input is too long for field name", 0, 0},
    {"error: identifier is too long", 0, 0},
    {"The reviewed code handles HTTP status code 429 with retry fallback.", 0, 0},
    {"The report says too many requests should trigger fallback only on provider errors.", 0, 0},
    {"The rate limiter in src/limits.c lets too many requests pass", 0, 0},
    {"tests/rate_limit.py:12: test_rate_limited failed", 0, 0},
    {"AssertionError: 429 != 200", 0, 0},
    {"AssertionError: expected status 401, got 200", 0, 0},
    {"error: call of overloaded 'abs(unsigned)' is ambiguous", 0, 0},
    {"src/overloaded.c:3:5: error: expected ';'", 0, 0},
    {"FAIL test_insufficient_funds: the vector is at capacity", 0, 0},
    {"You've used 98% of your weekly limit", 0, 0},
    {"shared rollout token budget exhausted", 0, 0},
    {"2 tests failed: limits_are_inclusive", 0, 0},
    {"", 0, 0},
};

static rota_limits_t *built_in (void)
{
    rota_error_t error = {""};
    rota_limits_t *limits = rota_limits_new (NULL, &error);
    if (!limits)
        fail_msg ("%s", error.text);
    return limits;
}

static void the_words_of_the_vendors_are_known (void **state)
{
    (void)state;
    rota_limits_t *limits = built_in ();
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        rota_limit_match_t match;
        rota_limits_match (limits, NULL, TEXTS[i].text, strlen (TEXTS[i].text), NOW_MS, "utc", &match);
        if ((int)match.result_class != TEXTS[i].class || (int)match.limit_kind != TEXTS[i].kind)
            fail_msg ("%s: class %d kind %d by rule %s", TEXTS[i].text, match.result_class, match.limit_kind,
                      match.rule ? match.rule : "-");
        assert_true (match.rule || !match.result_class);
    }
    rota_limits_destroy (&limits);
}

static bool some_text_meets (const rota_limits_t *limits, const char *rule)
{
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        rota_limit_match_t match;
        rota_limits_match (limits, NULL, TEXTS[i].text, strlen (TEXTS[i].text), NOW_MS, "utc", &match);
        if (match.rule && strcmp (match.rule, rule) == 0)
            return true;
    }
    return false;
}

/* By its own file: a rule is there for words that were seen. */
static void every_rule_has_a_text_that_it_is_there_for (void **state)
{
    (void)state;
    const char *root = getenv ("ROTA_SOURCE");
    char path[512], line[8192], name[64];
    rota_limits_t *limits = built_in ();
    size_t rules = 0, idle = 0;
    snprintf (path, sizeof path, "%s/agents/limits.yaml", root ? root : ".");
    FILE *file = fopen (path, "r");
    assert_non_null (file);
    while (fgets (line, sizeof line, file)) {
        const char *at = strstr (line, "name: ");
        if (line[0] == '#' || !strstr (line, "- ") || !at || sscanf (at, "name: %63[a-z0-9-]", name) != 1)
            continue;
        rules++;
        if (some_text_meets (limits, name))
            continue;
        print_message ("no text for the rule %s\n", name);
        idle++;
    }
    fclose (file);
    rota_limits_destroy (&limits);
    assert_true (rules > 20);
    assert_int_equal (idle, 0);
}

static void a_limit_comes_with_its_time (void **state)
{
    (void)state;
    rota_limits_t *limits = built_in ();
    rota_limit_match_t match;
    const char *text = "You've hit your 5-hour limit \xc2\xb7 resets 8:36am (UTC)";
    rota_limits_match (limits, "claude", text, strlen (text), NOW_MS, "utc", &match);
    assert_int_equal (match.until_ms - NOW_MS, 96 * 60000);
    rota_limits_match (limits, "claude", "Rate limited", 12, NOW_MS, "utc", &match);
    assert_int_equal (match.until_ms, 0);
    rota_limits_destroy (&limits);
}

/* ---- files of one's own */

static char *write_file (const char *text)
{
    static char path[64];
    strcpy (path, "/tmp/rota-test-limits-XXXXXX");
    int fd = mkstemp (path);
    assert_true (fd >= 0 && write (fd, text, strlen (text)) == (ssize_t)strlen (text));
    close (fd);
    return path;
}

static void a_file_of_ones_own_replaces_the_rules_and_is_read_again (void **state)
{
    (void)state;
    rota_error_t error = {""};
    rota_limit_match_t match;
    char *path = write_file (
        "rules: [{name: mine, provider: codex, pattern: 'no more tea', class: limited, kind: window}]\n");
    rota_limits_t *limits = rota_limits_new (path, &error);
    assert_non_null (limits);
    rota_limits_match (limits, "codex", "There is NO more tea", 20, NOW_MS, NULL, &match);
    assert_int_equal (match.limit_kind, LIMIT (WINDOW));
    rota_limits_match (limits, "claude", "There is no more tea", 20, NOW_MS, NULL, &match);
    assert_int_equal (match.result_class, 0);
    rota_limits_match (limits, "codex", "Rate limited", 12, NOW_MS, NULL, &match);
    assert_int_equal (match.result_class, 0);
    assert_int_equal (rota_limits_refresh (limits, &error), 0);

    FILE *file = fopen (path, "w");
    fputs ("rules: [{name: mine, pattern: 'coffee', class: auth}]\n", file);
    fclose (file);
    struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    assert_int_equal (utimensat (AT_FDCWD, path, times, 0), 0);
    assert_int_equal (rota_limits_refresh (limits, &error), 1);
    rota_limits_match (limits, NULL, "coffee", 6, NOW_MS, NULL, &match);
    assert_int_equal (match.result_class, RESULT (AUTH));

    file = fopen (path, "w");
    fputs ("rules: [{name: mine, pattern: '(', class: auth}]\n", file);
    fclose (file);
    assert_int_equal (rota_limits_refresh (limits, &error), -EINVAL);
    rota_limits_match (limits, NULL, "coffee", 6, NOW_MS, NULL, &match);
    assert_int_equal (match.result_class, RESULT (AUTH));
    rota_limits_destroy (&limits);
    unlink (path);
}

static void faults_are_told_with_their_place (void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } WRONG[] = {
        {"rules: 3\n", ":1:8: "},
        {"rule: []\n", "expected `rules:`"},
        {"rules:\n  - {name: x, class: auth}\n", ":2:5: a rule needs a name and a pattern"},
        {"rules:\n  - {name: x, pattern: y, class: limits}\n", ":2:34: class: expected"},
        {"rules:\n  - {name: x, pattern: y, class: limited}\n", "kind: expected burst"},
        {"rules:\n  - {name: x, pattern: '[', class: auth}\n", ":2:24: pattern: "},
        {"rules:\n  - {name: x, pattern: y, class: auth, klass: 1}\n", "no klass"},
        {"rules:\n  - {name: x, pattern: 'y|', class: auth}\n", ":2:24: pattern: it matches every text"},
        {"rules: [\n", ":"},
    };
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        rota_error_t error = {""};
        char *path = write_file (WRONG[i].text);
        assert_null (rota_limits_new (path, &error));
        if (!strstr (error.text, WRONG[i].says))
            fail_msg ("%s: \"%s\" doesn't say \"%s\"", WRONG[i].text, error.text, WRONG[i].says);
        unlink (path);
    }
    rota_error_t error = {""};
    assert_null (rota_limits_new ("/nowhere/limits.yaml", &error));
    assert_non_null (strstr (error.text, "/nowhere/limits.yaml"));
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (the_words_of_the_vendors_are_known),
        cmocka_unit_test (every_rule_has_a_text_that_it_is_there_for),
        cmocka_unit_test (a_limit_comes_with_its_time),
        cmocka_unit_test (a_file_of_ones_own_replaces_the_rules_and_is_read_again),
        cmocka_unit_test (faults_are_told_with_their_place),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
