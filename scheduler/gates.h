/* gates.h - the gates of a task: which commands its work is put to.
 *
 * A command comes from the head of the roadmap, or from an exit criterion `test:` or `run:` that stands in
 * it; no other word of a task becomes one. Owner: any one thread.
 */
#ifndef ROTA_SCHEDULER_GATES_H
#define ROTA_SCHEDULER_GATES_H

#include "proto/rota.pb-c.h"

#include <stddef.h>

#define ROTA_GATES_MAX 64

typedef struct {
    Rota__Gate gates[ROTA_GATES_MAX], *list[ROTA_GATES_MAX];
    size_t count;
} rota_gates_t;

/* Those that the task names, and those of its exit criteria; what is over the most is left out. One without a
 * command is one that can't be checked, and says so. Texts are borrowed; *ret_gates may not be copied. */
void rota_gates_find (const Rota__RoadmapHeader *header, const Rota__TaskSpec *spec, rota_gates_t *ret_gates);

#endif
