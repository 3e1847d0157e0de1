/* summary.h - what came of a run: figures, what was slow, what went wrong and how to look further.
 *
 * Owner thread: the link's.
 */
#ifndef ROTA_SUMMARY_H
#define ROTA_SUMMARY_H

#include "cli/progress.h"
#include "cli/watch.h"

typedef struct {
    rota_link_t *link;
    const char *source; /* of which tasks; NULL = all */
    const rota_progress_sums_t *sums;
    int64_t wall_ms;
    bool interrupted;   /* or timed out: it isn't over */
    const char *target; /* branch that the work is for; NULL = there is no repository */
    const char *again;  /* the command that goes on, "rota run plan.yaml" */
} rota_summary_t;

/* Asks for the figures and prints them (with --json one object of type "summary"). The exit code that the
 * figures mean, or ROTA_EXIT_UNREACHABLE after a message. */
int rota_summary (const rota_summary_t *config);

#endif
