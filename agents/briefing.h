/* briefing.h - an attempt's two files beside its log, and how they come to it: LOG.context, what it is told
 * (told.h), and LOG.outbox, which it may write (outbox.h). ROTA_CONTEXT and ROTA_OUTBOX name them.
 *
 * Where the attempt works in a clone the driver (workspace.h) adds what the repository knows and makes the
 * text; else the host makes it here. Owner: the host's thread.
 */
#ifndef ROTA_BRIEFING_H
#define ROTA_BRIEFING_H

#include "agents/adapter.h"
#include "agents/outbox.h"

#include <jansson.h>

/* Behind the adapter's prepare and before that of the step. 0, or as an adapter's prepare. */
int rota_briefing_prepare (const rota_adapter_context_t *context, const Rota__Assignment *assignment,
                           const char *kind, const char *log_path, rota_pool_t *pool, rota_attempt_t *attempt,
                           rota_error_t *error);

/* What the driver is given to make the text of; NULL when there is nothing to be told. */
json_t *rota_briefing_describe (const rota_adapter_context_t *context, const Rota__Assignment *assignment,
                                const char *log_path, const rota_attempt_t *attempt);

/* An agent that ended with a question, well or badly, needs input. */
void rota_briefing_classify (const char *log_path, bool works, rota_adapter_result_t *result);
/* The notes, for the report. */
void rota_briefing_fill (const char *log_path, rota_arena_t *arena, Rota__Result *result);

#endif
