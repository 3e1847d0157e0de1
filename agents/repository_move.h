/* repository_move.h - refs of a repository on this machine, moved so that a kill at any moment leaves nothing
 * that stops the next one. Inside repository.h.
 */
#ifndef ROTA_REPOSITORY_MOVE_H
#define ROTA_REPOSITORY_MOVE_H

#include "agents/repository.h"

typedef struct {
    const char *ref, *to;
    const char *from; /* "" = it must not be there; NULL = wherever it is */
} rota_move_t;

/* One after the other. -EAGAIN when one isn't where it should be; -EBUSY when another git has it. */
int rota_repository_move (const rota_repository_t *self, const rota_move_t *moves, size_t count,
                          rota_error_t *error);

#endif
