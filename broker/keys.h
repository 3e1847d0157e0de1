/* keys.h - what is granted to whose key: DIRECTORY/granted as a table, read again as soon as it changes.
 *
 * The kernel tells of changes (inotify), so that a grant that is taken back holds for the next message; where
 * it can't (a network file system), the directory's time is looked at at each tick. Files that are refused
 * grant nothing and are said once. A key that several files name has what all of them grant (`agent` only
 * where they say the same agents), and nothing when one of them is revoked.
 *
 * Owner: the broker's thread. Invariant: a table is taken over as a whole; while the directory can't be read
 * for want of descriptors or memory the last one stays, otherwise nobody is granted anything.
 */
#ifndef ROTA_BROKER_KEYS_H
#define ROTA_BROKER_KEYS_H

#include "bus/error.h"
#include "bus/keyfile.h"

#define ROTA_BROKER_MAX_GRANTS 4096

typedef struct rota_keys rota_keys_t;

/* Reads `directory`/granted. NULL with the reason. */
rota_keys_t *rota_keys_new (const char *directory, rota_error_t *error);
void rota_keys_destroy (rota_keys_t **self_p);

/* Readable when something has changed; for polling. */
int rota_keys_fd (const rota_keys_t *self);

typedef enum {
    ROTA_KEYS_SAME,
    ROTA_KEYS_CHANGED,
    ROTA_KEYS_TAKEN_BACK /* from a key that has been let in since the last rota_keys_all_out */
} rota_keys_news_t;
/* Takes over what has changed; `thoroughly` also where the kernel told of nothing. */
rota_keys_news_t rota_keys_look (rota_keys_t *self, bool thoroughly);

/* What is granted to a key (digits) now, or NULL. Valid until the next look. */
const rota_grant_t *rota_keys_find (const rota_keys_t *self, const char *key);
/* The name under which it was revoked, or NULL. */
const char *rota_keys_revoked (const rota_keys_t *self, const char *key);

/* Connections are counted only roughly: a key that was let in may have some, until all are closed. */
void rota_keys_let_in (rota_keys_t *self, const char *key);
void rota_keys_all_out (rota_keys_t *self);

#endif
