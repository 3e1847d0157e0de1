#include "tests/sim/model.h"

#include "scheduler/core.h"

#include <string.h>

static bool is_task (const model_node_t *it)
{
    return it->there && it->kind == NODE (TASK);
}

bool model_lies_in (const model_t *self, rota_node_t node, rota_node_t group)
{
    for (rota_node_t up = self->nodes[node].parent; up != ROTA_NONE; up = self->nodes[up].parent)
        if (up == group)
            return true;
    return false;
}

bool model_is_satisfied (const model_t *self, rota_node_t node)
{
    const model_node_t *it = &self->nodes[node];
    if (it->kind == NODE (TASK))
        return it->status == STATUS (DONE) || (it->status == STATUS (CANCELLED) && it->skipped);
    for (rota_node_t i = 0; i < self->count; i++)
        if (is_task (&self->nodes[i]) && model_lies_in (self, i, node) && !model_is_satisfied (self, i))
            return false;
    return true;
}

static bool concerns (const model_t *self, size_t dependency, rota_node_t task)
{
    rota_node_t node = self->dependencies[dependency].node;
    return node == task || model_lies_in (self, task, node);
}

uint32_t model_unmet (const model_t *self, rota_node_t task, rota_node_t *ret_one)
{
    uint32_t unmet = 0;
    for (size_t d = 0; d < self->dependency_count; d++) {
        if (!concerns (self, d, task) || model_is_satisfied (self, self->dependencies[d].prerequisite))
            continue;
        *ret_one = self->dependencies[d].prerequisite;
        unmet++;
    }
    return unmet;
}

static bool any_prerequisite (const model_t *self, rota_node_t task, const bool marked[MODEL_NODES])
{
    for (size_t d = 0; d < self->dependency_count; d++)
        if (concerns (self, d, task) && marked[self->dependencies[d].prerequisite])
            return true;
    return false;
}

/* From those marked to all that wait for them, through groups, until nothing changes. */
static void spread (const model_t *self, bool marked[MODEL_NODES])
{
    for (bool changed = true; changed;) {
        changed = false;
        for (rota_node_t i = 0; i < self->count; i++) {
            const model_node_t *it = &self->nodes[i];
            bool unstarted = it->status == STATUS (PENDING) || it->status == STATUS (NEEDS_IMPROVEMENT);
            if (!is_task (it))
                continue;
            if (!marked[i] && unstarted && any_prerequisite (self, i, marked))
                changed = marked[i] = true;
            for (rota_node_t up = it->parent; up != ROTA_NONE && marked[i]; up = self->nodes[up].parent)
                if (!marked[up])
                    changed = marked[up] = true;
        }
    }
}

void model_find_dead (const model_t *self, bool ret_dead[MODEL_NODES])
{
    memset (ret_dead, 0, MODEL_NODES * sizeof *ret_dead);
    for (rota_node_t i = 0; i < self->count; i++) {
        const model_node_t *it = &self->nodes[i];
        ret_dead[i] = is_task (it) && (it->status == STATUS (FAILED) || it->status == STATUS (BLOCKED) ||
                                       (it->status == STATUS (CANCELLED) && !it->skipped));
    }
    spread (self, ret_dead);
}

void model_find_behind (const model_t *self, const bool human[MODEL_NODES], bool ret_behind[MODEL_NODES])
{
    memcpy (ret_behind, human, MODEL_NODES * sizeof *ret_behind);
    spread (self, ret_behind);
}

static size_t find (const model_t *self, rota_node_t node, rota_node_t prerequisite)
{
    size_t d = 0;
    while (d < self->dependency_count &&
           (self->dependencies[d].node != node || self->dependencies[d].prerequisite != prerequisite))
        d++;
    return d;
}

bool model_has (const model_t *self, rota_node_t node, rota_node_t prerequisite)
{
    return find (self, node, prerequisite) < self->dependency_count;
}

void model_link (model_t *self, rota_node_t node, rota_node_t prerequisite)
{
    if (self->dependency_count == MODEL_DEPENDENCIES)
        return;
    self->dependencies[self->dependency_count].node = node;
    self->dependencies[self->dependency_count++].prerequisite = prerequisite;
}

void model_unlink (model_t *self, rota_node_t node, rota_node_t prerequisite)
{
    size_t d = find (self, node, prerequisite);
    if (d < self->dependency_count)
        self->dependencies[d] = self->dependencies[--self->dependency_count];
}
