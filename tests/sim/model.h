/* model.h - what waits for what, worked out the slow way from nothing but the committed facts: the second
 * opinion that the simulator compares the core with. */
#ifndef ROTA_TEST_SIM_MODEL_H
#define ROTA_TEST_SIM_MODEL_H

#include "proto/words.h"
#include "scheduler/core.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_NODES = 96, MODEL_DEPENDENCIES = 200 };

typedef struct {
    bool there; /* open and committed */
    bool skipped;
    uint8_t kind, status;
    rota_node_t parent;
} model_node_t;

typedef struct {
    model_node_t nodes[MODEL_NODES];
    size_t count;
    struct {
        rota_node_t node, prerequisite;
    } dependencies[MODEL_DEPENDENCIES];
    size_t dependency_count;
} model_t;

bool model_lies_in (const model_t *self, rota_node_t node, rota_node_t group);
/* A task: done or skipped. A group: every task in it, at any depth. */
bool model_is_satisfied (const model_t *self, rota_node_t node);
/* Dependencies of the task and of its groups that are not satisfied; one of them, if any. */
uint32_t model_unmet (const model_t *self, rota_node_t task, rota_node_t *ret_one);
/* Failed, blocked, cancelled without a skip, or not started behind one that is; a group: a task of it is. */
void model_find_dead (const model_t *self, bool ret_dead[MODEL_NODES]);
/* Those that can't go on before a person says something of `human` ones, directly or behind others. */
void model_find_behind (const model_t *self, const bool human[MODEL_NODES], bool ret_behind[MODEL_NODES]);

bool model_has (const model_t *self, rota_node_t node, rota_node_t prerequisite);
void model_link (model_t *self, rota_node_t node, rota_node_t prerequisite); /* when there is room */
void model_unlink (model_t *self, rota_node_t node, rota_node_t prerequisite);

#endif
