/* status.h - how things stand, once or as it changes.
 *
 * status.c the page and its JSON    status_watch.c the same again whenever the scheduler has another one
 */
#ifndef ROTA_STATUS_H
#define ROTA_STATUS_H

#include "cli/link.h"

#include <jansson.h>

void rota_status_put (const rota_cli_t *cli, const Rota__StatusReply *status, const rota_link_t *link);
json_t *rota_status_json (const Rota__StatusReply *status, const rota_link_t *link); /* the caller's */

/* Shows each snapshot of the source (NULL = all) until Ctrl-C (ROTA_EXIT_INTERRUPTED) or until nobody
 * answers. */
int rota_status_watch (rota_cli_t *cli, rota_link_t *link, const char *source);

#endif
