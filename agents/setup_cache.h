/* setup_cache.h - what the set-up command made, kept for the next clone that needs the same.
 *
 * Only where the roadmap says what the command needs (files) and makes (directories). The name of an entry is
 * made of the command, the files as the commit has them and the directories. An entry is filled from a clone
 * of the integration branch alone, by the user's command, before anyone has worked there: what an agent has
 * put into a tree, and what its scripts would make, never comes into another's clone. It is copied, never
 * shared, and taken as it is or not at all: an entry is renamed into place when it is whole.
 *
 * Owner: the thread of the driver, see workspace.h.
 */
#ifndef ROTA_SETUP_CACHE_H
#define ROTA_SETUP_CACHE_H

#include "agents/workspace_internal.h"

typedef struct {
    const char *path; /* of the entry; NULL = nothing is kept */
} rota_setup_cache_t;

/* Where what set-up makes at `commit` is kept. 0, or a negative errno. */
int rota_setup_cache_find (rota_workspace_t *self, const char *commit, rota_setup_cache_t *ret_cache,
                           rota_error_t *error);
/* Fills the clone from it: true when all is there, and the command needn't run. */
bool rota_setup_cache_take (rota_workspace_t *self, const rota_setup_cache_t *cache);
/* Keeps what the command has made in the clone, and removes what nobody has taken for the retention. */
void rota_setup_cache_keep (rota_workspace_t *self, const rota_setup_cache_t *cache);

#endif
