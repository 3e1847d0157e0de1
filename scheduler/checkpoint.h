/* checkpoint.h - the essential state at a moment, in at most 4096 bytes whatever the size of the whole.
 *
 * Counts are whole; lists (what runs, what rests, what was spent, priorities) are cut to what fits, each to
 * its share, and their counts say so. Owner: the scheduler's thread.
 */
#ifndef ROTA_CHECKPOINT_H
#define ROTA_CHECKPOINT_H

#include "scheduler/core.h"
#include "scheduler/store.h"

#define ROTA_CHECKPOINT_MAX_BYTES 4096

typedef struct {
    uint64_t scheduler_epoch, last_event;
    const uint8_t *store; /* incarnation, 16 bytes */
    int64_t now_ms;       /* the core's clock */
} rota_checkpoint_at_t;

/* Packs a CheckpointBody. Its size, or -ENOMEM. O(tasks). */
int rota_checkpoint_make (rota_core_t *core, const rota_checkpoint_at_t *at,
                          uint8_t ret_body[ROTA_CHECKPOINT_MAX_BYTES]);

/* Of a store that nobody serves: before another takes its place. Size; -ENOENT: there is none; -EIO... */
int rota_checkpoint_of_file (const char *path, uint8_t ret_body[ROTA_CHECKPOINT_MAX_BYTES],
                             rota_error_t *error);
/* Adds one to such a store. */
int rota_checkpoint_into_file (const char *path, const char *cause, const uint8_t *body, size_t size,
                               rota_error_t *error);

#endif
