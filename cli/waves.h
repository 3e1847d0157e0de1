/* waves.h - in which order a roadmap would be worked: `run --dry-run`.
 *
 * A task's wave is one more than the latest wave of what it waits for, so all tasks of a wave could run at
 * once if there were slots enough. From the file alone; nothing is asked or started.
 *
 * Owner thread: any.
 */
#ifndef ROTA_WAVES_H
#define ROTA_WAVES_H

#include "cli/cli.h"
#include "scheduler/roadmap.h"

/* One number for each of roadmap->specs, in a malloc'ed array: 0 for groups and for what is done or
 * cancelled, else from 1. The roadmap has no errors. NULL on no memory. */
uint32_t *rota_waves (const rota_roadmap_t *roadmap);

/* Prints them; an exit code. */
int rota_waves_print (const rota_cli_t *cli, const rota_roadmap_t *roadmap);

#endif
