/* context.h - what the store knows that an agent is to be told beside its task (docs/context.md).
 *
 * Gathered once for each attempt, when it is handed out, from parts that don't depend on each other: one that
 * fails is left out. Its size and its cost are bounded whatever the store holds.
 *
 * Owner: the scheduler's thread.
 */
#ifndef ROTA_SCHEDULER_CONTEXT_H
#define ROTA_SCHEDULER_CONTEXT_H

#include "bus/settings.h"
#include "scheduler/core.h"
#include "scheduler/store_context.h"

typedef struct {
    rota_store_t *store;
    const rota_core_t *core;
    const rota_settings_t *settings;
    rota_arena_t *arena; /* where what is gathered lives */
    rota_agent_t agent;  /* who is told; ROTA_NONE: anybody */
    int64_t wall_ms;     /* ages of entries are counted from here */
    int64_t now_ms;      /* by the core's clock */
} rota_gathering_t;

/* `spec` is the task's definition. *ret_context is empty where nothing is known, or context.budget is 0. */
void rota_context_gather (const rota_gathering_t *self, rota_node_t node, Rota__Phase phase,
                          const Rota__TaskSpec *spec, Rota__Context *ret_context);

#endif
