/* plan.h - a roadmap file on its way into the store: read, its faults shown, sent, the difference shown.
 *
 * Owner thread: any. Nothing is started or changed before the file has been read without an error.
 */
#ifndef ROTA_PLAN_H
#define ROTA_PLAN_H

#include "cli/link.h"
#include "scheduler/roadmap.h"

#define ROTA_PLAN_DEFAULT "roadmap.yaml"
#define ROTA_PLAN_ALL_WARNINGS SIZE_MAX

/* `path` NULL = roadmap.yaml. Faults go to standard error, of the warnings at most `warnings`. ROTA_EXIT_DONE
 * and *ret_roadmap, or ROTA_EXIT_USAGE. */
int rota_plan_read (const char *path, bool strict, size_t warnings, rota_roadmap_t **ret_roadmap);

typedef struct {
    bool dry_run;
    bool prune;
} rota_plan_options_t;

/* Sends it whole. ROTA_EXIT_DONE and *ret_difference, borrowed until the next call; or another code after a
 * message. While another import is under way it waits for that. */
int rota_plan_send (rota_link_t *link, const rota_roadmap_t *roadmap, const rota_plan_options_t *options,
                    const Rota__ImportDifference **ret_difference);

/* "12 added, 3 changed, ..." with the names of up to `names` of each. */
void rota_plan_print (const rota_screen_t *screen, const Rota__ImportDifference *difference, size_t names);

#endif
