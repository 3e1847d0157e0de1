/* What people do to a roadmap while it is worked: they submit tasks, import files that add groups and change
 * dependencies, and use every verb. */
#include "scheduler/core.h"
#include "tests/sim/sim.h"

static bool is_group (const world_t *self, rota_node_t node)
{
    rota_core_node_t it;
    return rota_core_get (self->core, node, &it) && it.kind != NODE (TASK);
}

/* One that is open, or that was staged in the same request (from `first` on); ROTA_NONE when chance finds
 * none. */
static rota_node_t pick (world_t *self, rota_node_t first, bool groups)
{
    for (int tries = 0; tries < 6 && self->model.count; tries++) {
        rota_node_t node = (rota_node_t)sim_below (self, self->model.count);
        if (is_group (self, node) == groups && (self->model.nodes[node].there || node >= first))
            return node;
    }
    return ROTA_NONE;
}

static uint8_t random_wants (world_t *self)
{
    static const uint8_t WANTS[] = {ROTA_WANTS_GATE, ROTA_WANTS_REVIEW, ROTA_WANTS_MERGE};
    uint8_t wants = 0;
    for (size_t i = 0; i < sizeof WANTS && sim_chance (self, 60); i++)
        wants |= sim_chance (self, 50) ? WANTS[i] : 0;
    return wants;
}

static rota_node_t stage (world_t *self, Rota__NodeKind kind, rota_node_t parent)
{
    rota_node_t node = (rota_node_t)rota_core_count (self->core);
    row_t *row = &self->rows[node];
    *row = (row_t){0};
    snprintf (row->id, sizeof row->id, "n%u", self->next_id++);
    rota_core_node_t given = {.id = row->id,
                              .id_length = strlen (row->id),
                              .kind = kind,
                              .parent = parent,
                              .source = 1,
                              .class_index = sim_class (self),
                              .status = kind == NODE (TASK) ? STATUS (PENDING) : 0,
                              .priority = (int32_t)sim_below (self, 50),
                              .attempts_allowed = 1 + (uint32_t)sim_below (self, 3),
                              .complexity = self->policy.coordinate && sim_chance (self, 30) ? 9 : 0,
                              .approval = sim_chance (self, 5),
                              .approval_of_group = sim_chance (self, 30),
                              .wants = random_wants (self),
                              .author = ROTA_NONE,
                              .agent = ROTA_NONE,
                              .ready_since_ms = self->now_ms};
    rota_node_t index = ROTA_NONE;
    assert_int_equal (rota_core_add (self->core, &given, &index), 0);
    assert_int_equal (index, node);
    static const char *const CLAIMS[] = {"src/a/**", "src/b", "src/*/x.c", "docs", "src\ndocs/a.md"};
    if (kind == NODE (TASK) && sim_chance (self, 40))
        snprintf (row->claim, sizeof row->claim, "%s", CLAIMS[sim_below (self, 5)]);
    assert_int_equal (rota_core_claim (self->core, node, row->claim, strlen (row->claim), false), 0);
    self->model.nodes[node] = (model_node_t){.kind = (uint8_t)kind, .parent = parent};
    self->model.count = node + 1;
    return node;
}

static bool has_edge (const import_t *plan, rota_node_t node, rota_node_t prerequisite)
{
    for (size_t i = 0; i < plan->edge_count; i++)
        if (plan->edges[i].node == node && plan->edges[i].prerequisite == prerequisite)
            return true;
    return false;
}

/* Whether it makes a cycle is found out at the end, as the scheduler does. */
static void wait_for (world_t *self, import_t *plan, rota_node_t node, rota_node_t prerequisite)
{
    if (prerequisite == ROTA_NONE || prerequisite == node || plan->edge_count == STAGED_EDGES ||
        has_edge (plan, node, prerequisite) || model_has (&self->model, node, prerequisite) ||
        self->model.dependency_count + plan->edge_count >= MODEL_DEPENDENCIES - STAGED_EDGES)
        return;
    assert_int_equal (rota_core_link (self->core, prerequisite, node), 0);
    plan->edges[plan->edge_count].node = node;
    plan->edges[plan->edge_count++].prerequisite = prerequisite;
}

static void stage_tasks (world_t *self, import_t *plan, size_t count)
{
    for (size_t i = 0; i < count && self->model.count < MODEL_NODES; i++) {
        rota_node_t parent = sim_chance (self, 50) ? pick (self, plan->first, true) : ROTA_NONE;
        rota_node_t node = stage (self, NODE (TASK), parent);
        for (size_t d = 0; d < 3; d++)
            if (sim_chance (self, 40))
                wait_for (self, plan, node, pick (self, plan->first, sim_chance (self, 30)));
    }
}

static void stage_groups (world_t *self, import_t *plan)
{
    for (size_t count = sim_below (self, 3); count > 0 && self->model.count < MODEL_NODES; count--) {
        rota_node_t epic = sim_chance (self, 50) ? pick (self, plan->first, true) : ROTA_NONE;
        bool inside = epic != ROTA_NONE && self->model.nodes[epic].kind == NODE (EPIC);
        rota_node_t group =
            inside ? stage (self, NODE (MILESTONE), epic) : stage (self, NODE (EPIC), ROTA_NONE);
        if (sim_chance (self, 40))
            wait_for (self, plan, group, pick (self, plan->first, sim_chance (self, 30)));
    }
}

/* What was staged from `first` on and not opened since is gone again. */
static void discard (world_t *self, const import_t *plan)
{
    rota_core_discard (self->core, plan->first, (rota_node_t)rota_core_count (self->core));
    self->model.count = rota_core_count (self->core);
}

static bool has_cycle (world_t *self, rota_node_t first)
{
    rota_node_t path[4];
    return rota_core_find_cycle (self->core, first, path, 4) > 0;
}

static void open_staged (world_t *self, const import_t *plan, bool silently)
{
    rota_node_t end = (rota_node_t)rota_core_count (self->core);
    for (rota_node_t i = plan->first; i < end; i++) {
        if (!self->rows[i].id[0] || !rota_core_is_staged (self->core, i))
            continue;
        self->model.nodes[i].there = true;
        if (self->model.nodes[i].kind == NODE (TASK))
            self->model.nodes[i].status = STATUS (PENDING);
    }
    for (size_t i = 0; i < plan->edge_count; i++)
        model_link (&self->model, plan->edges[i].node, plan->edges[i].prerequisite);
    rota_core_open (self->core, plan->first, end, silently, self->now_ms);
    for (rota_node_t i = plan->first; i < end; i++)
        rota_core_get (self->core, i, &self->rows[i].node);
}

void sim_submit (world_t *self, size_t count)
{
    import_t plan = {.first = (rota_node_t)rota_core_count (self->core)};
    stage_tasks (self, &plan, count);
    if (has_cycle (self, plan.first)) {
        self->refused_cycles++;
        discard (self, &plan);
        return;
    }
    open_staged (self, &plan, false);
    sim_end_batch_well (self);
}

/* ------------------------------------------------------------------------------------------ imports */

/* May it be given another dependency, or lose one? What has started may not. */
static bool may_change (const world_t *self, rota_node_t node)
{
    uint8_t status = self->model.nodes[node].status;
    return self->model.nodes[node].kind != NODE (TASK) || status == STATUS (PENDING) ||
           status == STATUS (BLOCKED) || status == STATUS (NEEDS_IMPROVEMENT);
}

typedef struct {
    rota_node_t node, prerequisite;
    bool drop;
} change_t;

static size_t change_dependencies (world_t *self, const import_t *plan, change_t *ret_changes,
                                   size_t capacity)
{
    size_t count = 0;
    while (count < capacity && sim_chance (self, 70)) {
        change_t it = {.drop = self->model.dependency_count && sim_chance (self, 50)};
        if (it.drop) {
            size_t d = sim_below (self, self->model.dependency_count);
            it.node = self->model.dependencies[d].node;
            it.prerequisite = self->model.dependencies[d].prerequisite;
        } else {
            it.node = pick (self, ROTA_NONE, sim_chance (self, 50));
            it.prerequisite = pick (self, plan->first, sim_chance (self, 30));
        }
        bool twice = false;
        for (size_t i = 0; i < count; i++)
            twice |= ret_changes[i].node == it.node && ret_changes[i].prerequisite == it.prerequisite;
        if (twice || it.node == ROTA_NONE || it.prerequisite == ROTA_NONE || it.node == it.prerequisite ||
            !may_change (self, it.node) || has_edge (plan, it.node, it.prerequisite) ||
            (!it.drop && model_has (&self->model, it.node, it.prerequisite)))
            break;
        int r = it.drop ? rota_core_unlink (self->core, it.prerequisite, it.node)
                        : rota_core_link (self->core, it.prerequisite, it.node);
        assert_int_equal (r, 0);
        ret_changes[count++] = it;
    }
    return count;
}

static void redefine (world_t *self, rota_node_t node)
{
    rota_core_node_t it;
    rota_core_get (self->core, node, &it);
    if (it.kind != NODE (TASK) && sim_chance (self, 30))
        it.approval = !it.approval;
    rota_core_redefine (self->core, node, &it, self->now_ms);
}

static void commit_import (world_t *self, import_t *plan)
{
    change_t changes[4];
    size_t count = change_dependencies (self, plan, changes, 4);
    if (has_cycle (self, 0)) {
        while (count-- > 0)
            assert_int_equal (
                changes[count].drop
                    ? rota_core_link (self->core, changes[count].prerequisite, changes[count].node)
                    : rota_core_unlink (self->core, changes[count].prerequisite, changes[count].node),
                0);
        self->refused_cycles++;
        discard (self, plan);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        sim_note (self, "n%u %s n%u", changes[i].node,
                  changes[i].drop ? "no longer waits for" : "now waits for", changes[i].prerequisite);
        redefine (self, changes[i].node);
        if (changes[i].drop)
            model_unlink (&self->model, changes[i].node, changes[i].prerequisite);
        else
            model_link (&self->model, changes[i].node, changes[i].prerequisite);
    }
    open_staged (self, plan, true);
    self->imports++;
    sim_end_batch_well (self);
}

void sim_import (world_t *self)
{
    if (!self->import.under_way) {
        self->import = (import_t){.under_way = true, .first = (rota_node_t)rota_core_count (self->core)};
        stage_groups (self, &self->import);
        stage_tasks (self, &self->import, sim_below (self, 4));
        return;
    }
    self->import.under_way = false;
    if (sim_chance (self, 70))
        commit_import (self, &self->import);
    else
        discard (self, &self->import);
    sim_note (self, "an import has ended, %zu nodes", self->model.count);
}

/* -------------------------------------------------------------------------------------------- verbs */

void sim_somebody_acts (world_t *self)
{
    static const Rota__ControlVerb verbs[] = {VERB (CANCEL),  VERB (SKIP),    VERB (RETRY),    VERB (REOPEN),
                                              VERB (HOLD),    VERB (RELEASE), VERB (PRIORITY), VERB (STOP),
                                              VERB (APPROVE), VERB (REJECT),  VERB (ANSWER)};
    rota_node_t node = pick (self, ROTA_NONE, false);
    Rota__ControlVerb verb = verbs[sim_below (self, sizeof verbs / sizeof verbs[0])];
    rota_error_t error;
    if (node == ROTA_NONE)
        return;
    sim_note (self, "verb %d on n%u, which is %s", verb, node,
              rota_status_name (self->model.nodes[node].status));
    rota_core_control (self->core, node, verb, "why not", 7, (int32_t)sim_below (self, 100), self->now_ms,
                       &error);
    if (sim_chance (self, 10))
        rota_core_pause (self->core, !rota_core_is_paused (self->core), self->now_ms);
    sim_end_batch (self, NULL, NULL);
}
