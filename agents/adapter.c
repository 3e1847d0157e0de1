#include "agents/adapter.h"

#include "proto/words.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const rota_adapter_t *const ADAPTERS[] = {
#define KIND(word, ADAPTER, slots, what) &ROTA_ADAPTER_##ADAPTER,
#include "agents/kinds.def"
};

static const char KINDS[] =
#define KIND(word, ADAPTER, slots, what) ", " word
#include "agents/kinds.def"
    ;

const char *rota_adapter_kinds (void)
{
    return KINDS + 2;
}

const rota_adapter_t *rota_adapter_find (const char *kind)
{
    for (size_t i = 0; i < sizeof ADAPTERS / sizeof *ADAPTERS; i++)
        if (strcmp (ADAPTERS[i]->kind, kind) == 0)
            return ADAPTERS[i];
    return NULL;
}

static const struct {
    Rota__ResultClass result_class;
    const char *text;
} ENDS[] = {
    [ROTA_END_TIMEOUT] = {RESULT (TIMEOUT), "it took longer than its timeout"},
    [ROTA_END_SILENCE] = {RESULT (TIMEOUT), "it wrote nothing for longer than it may be silent"},
    [ROTA_END_STOPPED] = {RESULT (KILLED), "it was stopped"},
    [ROTA_END_LEASE] = {RESULT (KILLED), "its host was cut off from the scheduler or gone, so it was ended"},
    [ROTA_END_MEMORY] = {RESULT (FAILED),
                         "it took more memory than an attempt may (setting agents.memory_limit)"},
};

bool rota_adapter_classify_common (const rota_outcome_t *outcome, rota_adapter_result_t *ret_result)
{
    rota_adapter_result_t result = {.result_class = RESULT (FAILED)};
    const char *more = outcome->message[0] ? "; " : "";

    if (!outcome->started) {
        result.result_class = outcome->exit_code == E2BIG ? RESULT (INVALID) : RESULT (ENVIRONMENT);
        snprintf (result.message, sizeof result.message, "%s", outcome->message);
    } else if (outcome->end != ROTA_END_NONE) {
        result.result_class = ENDS[outcome->end].result_class;
        snprintf (result.message, sizeof result.message, "%s%s%s", ENDS[outcome->end].text, more,
                  outcome->message);
    } else if (outcome->signal) {
        const char *name = sigabbrev_np (outcome->signal);
        snprintf (result.message, sizeof result.message, "it was ended by signal %d (%s)%s%s",
                  outcome->signal, name ? name : "?", more, outcome->message);
    } else {
        return false;
    }
    *ret_result = result;
    return true;
}
