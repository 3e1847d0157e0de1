/* context.h - what an agent would be told of a task now; entries of the context as JSON.
 *
 * Owner thread: the link's.
 */
#ifndef ROTA_CLI_CONTEXT_H
#define ROTA_CLI_CONTEXT_H

#include "agents/told.h"
#include "bus/settings.h"
#include "cli/link.h"

#include <jansson.h>

/* All from the pool. */
typedef struct {
    rota_told_t told;
    const char *prompt;  /* the task, */
    const char *text;    /* and what it is told beside it */
    const char *missing; /* why the repository's part isn't there; NULL = it is */
    rota_told_report_t report;
} rota_context_shown_t;

/* Exit code, after a message. */
int rota_context_assemble (rota_link_t *link, const char *id, const rota_settings_t *settings,
                           rota_pool_t *pool, rota_context_shown_t *ret_shown);

json_t *rota_json_context_entry (const Rota__ContextEntry *entry);

#endif
