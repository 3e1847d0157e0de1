/* Any bytes as a file of rules for sentences: no crash, a fault has its place, and rules that are taken leave
 * alone what says nothing. */
#include "agents/limits.h"
#include "proto/words.h"
#include "tests/fuzz/material.h"

#include <stdlib.h>
#include <string.h>

#define NOW_MS INT64_C (1795417200000)
#define MOST_BYTES 4096

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void try_texts (const rota_limits_t *limits)
{
    static const char *const TEXTS[] = {"", "x", "Rate limited, try again in 20 minutes",
                                        "You've hit your limit \xc2\xb7 resets 8pm (America/New_York)",
                                        "no such file or directory\nnot logged in"};
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        rota_limit_match_t match;
        rota_limits_match (limits, "claude", TEXTS[i], strlen (TEXTS[i]), NOW_MS, "utc", &match);
        if ((match.result_class != RESULT (UNSPECIFIED)) != (match.rule != NULL))
            abort ();
        if (match.rule && !TEXTS[i][0])
            abort ();
        if (match.until_ms && match.until_ms < NOW_MS)
            abort ();
    }
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    rota_error_t error = {""};
    if (size > MOST_BYTES || fuzz_is_costly (data, size))
        return 0;
    rota_limits_t *limits = rota_limits_new (fuzz_file (data, size), &error);
    if (limits)
        try_texts (limits);
    else if (!error.text[0])
        abort ();
    rota_limits_destroy (&limits);
    return 0;
}
