/* Any bytes as the text of an error or the value of a header: no crash, and a time that is found is near. */
#include "agents/limits.h"
#include "agents/reset_time.h"

#include <stdlib.h>
#include <string.h>

#define NOW_MS INT64_C (1795417200000)
#define FUTURE_MS (INT64_C (33) * 86400000)

int LLVMFuzzerTestOneInput (const uint8_t *bytes, size_t size);

static void must_be_near (int64_t at_ms)
{
    if (at_ms < NOW_MS || at_ms > NOW_MS + FUTURE_MS)
        abort ();
}

int LLVMFuzzerTestOneInput (const uint8_t *bytes, size_t size)
{
    static const char *const NAMES[] = {"retry-after", "retry-after-ms", "x-ratelimit-reset-tokens",
                                        "anthropic-ratelimit-requests-reset", "x-codex-primary-reset-at"};
    static rota_limits_t *limits;
    rota_error_t error;
    rota_limit_match_t match;
    int64_t at_ms;
    if (!limits && !(limits = rota_limits_new (NULL, &error)))
        abort ();
    if (rota_reset_time_in_text ((const char *)bytes, size, NOW_MS, "utc", &at_ms))
        must_be_near (at_ms);
    rota_limits_match (limits, NULL, (const char *)bytes, size, NOW_MS, "utc", &match);
    if (match.until_ms)
        must_be_near (match.until_ms);
    char *text = strndup ((const char *)bytes, size);
    for (size_t i = 0; text && i < sizeof NAMES / sizeof *NAMES; i++)
        if (rota_reset_time_in_header (NAMES[i], text, NOW_MS, &at_ms))
            must_be_near (at_ms);
    free (text);
    return 0;
}
