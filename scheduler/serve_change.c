/* What clients change: submitted tasks and control by hand. */
#include "scheduler/service_internal.h"

#include "bus/names.h"
#include "scheduler/store_context.h"

/* -------------------------------------------------------------------------------- shared with import */

int rota_service_stage (service_t *self, uint32_t source, const Rota__TaskSpec *spec, rota_node_t parent,
                        uint64_t staged, rota_node_t *ret_node, rota_define_faults_t *faults)
{
    uint32_t class_index;
    bool new_class;
    added_t added = {.type = spec->type, .staged = staged};
    int r = rota_define_class (self->core, source, spec, &class_index, &new_class);
    if (r < 0) {
        rota_define_fault (faults, spec,
                           r == -ENOSPC ? "task %.*s: too many different capabilities or agents"
                                        : "task %.*s: no memory",
                           (int)spec->id.len, (const char *)spec->id.data);
        return r;
    }
    r = rota_define_pack (spec, &added.definition, &added.buffer);
    rota_define_source_t holds = rota_service_define_source (self, source);
    if (r == 0)
        r = rota_define_add (self->core, &holds, spec, parent, class_index, rota_service_now_ms (self),
                             ret_node);
    if (r == 0) {
        /* The title is borrowed from the message, which lives as long as the batch. */
        added_t *item = VPUSH (self, added);
        added.node = *ret_node;
        rota_claims_define (self, *ret_node, spec);
        if (item)
            *item = added;
        return item ? 0 : -ENOMEM;
    }
    free (added.buffer);
    if (r == -EEXIST)
        rota_define_fault (faults, spec, "%.*s is there already", (int)spec->id.len,
                           (const char *)spec->id.data);
    else
        rota_define_fault (faults, spec, "no room for more tasks");
    return r;
}

int rota_service_link (service_t *self, rota_node_t node, rota_node_t prerequisite, Rota__DependencyType type)
{
    int r = type == DEPENDENCY (BLOCKS) ? rota_core_link (self->core, prerequisite, node) : 0;
    edge_change_t *edge = r == 0 ? VPUSH (self, edges) : NULL;
    if (!edge)
        return r < 0 ? r : -ENOMEM;
    *edge = (edge_change_t){.node = node, .prerequisite = prerequisite, .type = type};
    return 0;
}

/* ----------------------------------------------------------------------------------------- submit */

typedef struct {
    size_t added, edges; /* lengths before, to go back to */
    rota_node_t first;
} mark_t;

static mark_t mark (const service_t *self)
{
    return (mark_t){self->added.count, self->edges.count, (rota_node_t)rota_core_count (self->core)};
}

static void go_back_to (service_t *self, const mark_t *mark)
{
    rota_core_discard (self->core, mark->first, (rota_node_t)rota_core_count (self->core));
    while (self->added.count > mark->added)
        free (self->added.items[--self->added.count].buffer);
    self->edges.count = mark->edges;
}

/* A task that is there with the same definition was submitted before: fine. */
static bool is_the_same (service_t *self, rota_node_t node, const Rota__TaskSpec *spec)
{
    for (size_t i = 0; i < self->added.count; i++)
        if (self->added.items[i].node == node)
            return false; /* twice in one batch: a mistake, or the repeat comes when the first is stored */
    return rota_define_is_stored (self->store, node, spec);
}

/* Of an import that is under way: whether it will ever be there is not known yet. */
static bool is_being_imported (const service_t *self, rota_node_t node, rota_node_t first_new)
{
    return node != ROTA_NONE && node < first_new && rota_core_is_staged (self->core, node);
}

static void link_dependencies (service_t *self, rota_node_t node, const Rota__TaskSpec *spec,
                               rota_node_t first_new, rota_define_faults_t *faults)
{
    for (size_t i = 0; i < spec->n_dependencies; i++) {
        const Rota__Dependency *it = spec->dependencies[i];
        bool ambiguous, repeated = false;
        rota_node_t prerequisite = rota_define_resolve (self->core, spec, it, &ambiguous);
        if (is_being_imported (self, prerequisite, first_new))
            prerequisite = ROTA_NONE;
        if (prerequisite == ROTA_NONE || prerequisite == node) {
            rota_define_fault (faults, spec, "task %.*s: %s %.*s", (int)spec->id.len,
                               (const char *)spec->id.data,
                               prerequisite == node ? "it can't wait for itself"
                               : ambiguous          ? "several epics have the milestone"
                                                    : "there is no task, epic or milestone",
                               (int)it->on.len, (const char *)it->on.data);
            continue;
        }
        for (size_t e = self->edges.count; e-- > 0 && self->edges.items[e].node == node && !repeated;)
            repeated = self->edges.items[e].prerequisite == prerequisite;
        if (!repeated)
            (void)!rota_service_link (self, node, prerequisite,
                                      it->has_type ? it->type : DEPENDENCY (BLOCKS));
    }
}

static void check_cycles (service_t *self, rota_node_t first, rota_define_faults_t *faults)
{
    rota_node_t path[32];
    size_t length = rota_core_find_cycle (self->core, first, path, 32);
    if (!length)
        return;
    char text[1024] = "";
    size_t used = 0;
    for (size_t i = 0; i <= length && i < 32 && used < sizeof text - 210; i++) {
        rota_core_node_t node;
        rota_core_get (self->core, path[i == length ? 0 : i], &node);
        used += (size_t)snprintf (text + used, sizeof text - used, "%s%.*s", i ? " -> " : "",
                                  (int)node.id_length, node.id);
    }
    rota_define_fault (faults, NULL, "these wait for each other: %s", text);
}

HANDLER (submit)
{
    const Rota__Submit *submit = (const Rota__Submit *)message;
    static const char SOURCE[] = "submit";
    if (rota_service_refuses_for_room (self, from))
        return;
    uint32_t source = rota_service_source (self, SOURCE, strlen (SOURCE), NULL);
    rota_define_faults_t faults = {0};
    mark_t before = mark (self);
    Rota__SubmitReply reply = ROTA__SUBMIT_REPLY__INIT;
    rota_node_t *nodes = rota_arena_alloc (self->arena, (submit->n_tasks + 1) * sizeof *nodes);
    for (size_t i = 0; i < submit->n_tasks && nodes; i++) {
        const Rota__TaskSpec *spec = submit->tasks[i];
        rota_node_t parent;
        nodes[i] = ROTA_NONE;
        if (!rota_define_check (spec, &faults) || !rota_define_parent (self->core, spec, &parent, &faults))
            continue;
        if (is_being_imported (self, parent, before.first)) {
            rota_define_fault (&faults, spec,
                               "its epic is being imported just now: try again when that is over");
            continue;
        }
        if (spec->has_kind && spec->kind != NODE (TASK)) {
            rota_define_fault (&faults, spec, "only tasks can be submitted; groups come with a roadmap");
            continue;
        }
        rota_node_t there = rota_core_find (self->core, (const char *)spec->id.data, spec->id.len);
        if (there != ROTA_NONE && is_the_same (self, there, spec))
            reply.already++;
        else if (rota_service_stage (self, source, spec, parent, 0, &nodes[i], &faults) == 0)
            reply.added++;
    }
    for (size_t i = 0; i < submit->n_tasks && nodes && !faults.count; i++)
        if (nodes[i] != ROTA_NONE)
            link_dependencies (self, nodes[i], submit->tasks[i], before.first, &faults);
    if (!faults.count && reply.added && self->edges.count > before.edges)
        check_cycles (self, before.first, &faults);
    if (faults.count || !nodes) {
        go_back_to (self, &before);
        rota_service_refuse_faults (self, from, &faults, "nothing was submitted: a task is not right");
    } else {
        rota_core_open (self->core, before.first, (rota_node_t)rota_core_count (self->core), false,
                        rota_service_now_ms (self));
        reply.has_added = reply.has_already = true;
        rota_service_answer (self, from, ROTA_MESSAGE_SUBMIT_REPLY, &reply.base);
    }
    rota_define_faults_clear (&faults);
}

/* ---------------------------------------------------------------------------------------- control */

static bool is_of_agents (Rota__ControlVerb verb)
{
    return verb == VERB (PAUSE) || verb == VERB (RESUME) || verb == VERB (DRAIN);
}

rota_agent_t rota_service_find_agent (const service_t *self, ProtobufCBinaryData name)
{
    for (rota_agent_t i = 0; i < rota_core_agent_count (self->core); i++) {
        const char *there = rota_service_agent_name (self, i);
        if (strlen (there) == name.len && memcmp (there, name.data, name.len) == 0)
            return i;
    }
    return ROTA_NONE;
}

/* Those that nobody but a person opens; what the provider said of the others still holds. */
static void open_accounts (service_t *self, int64_t now_ms)
{
    for (rota_account_t i = 0; i < rota_core_account_count (self->core); i++) {
        rota_core_account_view_t account;
        rota_core_account_view (self->core, i, &account);
        if (account.last.result_class && account.last.until_ms == ROTA_BY_HAND)
            rota_core_account_resume (self->core, i, now_ms);
    }
}

/* pause, resume, drain: the whole, or the agents that are named. */
static void control_agents (service_t *self, const rota_envelope_t *from, const Rota__Control *control)
{
    int64_t now_ms = rota_service_now_ms (self);
    Rota__ControlReply reply = ROTA__CONTROL_REPLY__INIT;
    for (size_t i = 0; i < control->n_ids; i++)
        if (rota_service_find_agent (self, control->ids[i]) == ROTA_NONE) {
            rota_service_refuse (self, from, ERROR_CODE (NOT_FOUND),
                                 "there is no agent %.*s: see `rota agents`", (int)control->ids[i].len,
                                 (const char *)control->ids[i].data);
            return;
        }
    for (size_t i = 0; i < control->n_ids; i++) {
        rota_agent_t agent = rota_service_find_agent (self, control->ids[i]);
        rota_core_agent_view_t view;
        rota_core_agent_view (self->core, agent, &view);
        rota_core_agent_drain (self->core, agent, control->verb != VERB (RESUME), now_ms);
        if (control->verb == VERB (RESUME))
            rota_core_account_resume (self->core, view.account, now_ms);
    }
    if (!control->n_ids && control->verb == VERB (DRAIN))
        rota_core_drain_all (self->core, true, now_ms);
    if (!control->n_ids && control->verb != VERB (DRAIN))
        rota_core_pause (self->core, control->verb == VERB (PAUSE), now_ms);
    if (!control->n_ids && control->verb == VERB (RESUME)) {
        rota_core_drain_all (self->core, false, now_ms);
        open_accounts (self, now_ms);
    }
    reply.has_changed = true;
    reply.changed = control->n_ids ? (uint32_t)control->n_ids : 1;
    rota_service_answer (self, from, ROTA_MESSAGE_CONTROL_REPLY, &reply.base);
}

static rota_node_t find_any (const service_t *self, ProtobufCBinaryData id)
{
    rota_node_t node = rota_core_find (self->core, (const char *)id.data, id.len);
    if (node == ROTA_NONE &&
        rota_core_find_milestones (self->core, (const char *)id.data, id.len, &node) != 1)
        return ROTA_NONE;
    return node;
}

static bool is_within (const service_t *self, rota_node_t node, rota_node_t group)
{
    rota_core_node_t it;
    while (rota_core_get (self->core, node, &it) && it.parent != ROTA_NONE) {
        if (it.parent == group)
            return true;
        node = it.parent;
    }
    return false;
}

typedef struct {
    const Rota__Control *control;
    uint32_t changed, unchanged, refused;
    rota_error_t first;
} controlling_t;

static void control_one (service_t *self, controlling_t *state, rota_node_t node)
{
    const Rota__Control *control = state->control;
    rota_error_t error;
    const char *question = control->verb == VERB (ANSWER) ? rota_core_reason (self->core, node) : NULL;
    char *kept = question ? strdup (question) : NULL;
    int r = rota_core_control (self->core, node, control->verb, (const char *)control->text.data,
                               control->text.len, control->priority, rota_service_now_ms (self), &error);
    if (r == 0 && control->verb == VERB (ANSWER))
        rota_service_keep_answer (self, node, kept, control->text);
    free (kept);
    if (r < 0 && !state->refused++)
        state->first = error;
    state->changed += r == 0;
    state->unchanged += r == 1;
}

static void control_group (service_t *self, controlling_t *state, rota_node_t group)
{
    rota_core_node_t it;
    for (rota_node_t i = 0; i < rota_core_count (self->core); i++)
        if (rota_core_get (self->core, i, &it) && it.kind == NODE (TASK) &&
            !rota_core_is_staged (self->core, i) && is_within (self, i, group))
            control_one (self, state, i);
}

/* All ids are looked up before anything changes. A refusal of one of several is said only when none was
 * changed. */
HANDLER (control)
{
    const Rota__Control *control = (const Rota__Control *)message;
    controlling_t state = {.control = control};
    rota_core_node_t it;
    size_t most = control->verb == VERB (ANSWER) ? ROTA_NOTE_TEXT_MAX_BYTES : 65536;
    if (control->text.len > most ||
        !rota_text_is_valid ((const char *)control->text.data, control->text.len, true)) {
        rota_service_refuse (self, from, ERROR_CODE (INVALID),
                             "the text is longer than %zu bytes or not valid UTF-8", most);
        return;
    }
    if (control->verb == VERB (TRANSFER) || control->verb == VERB (STEP_DOWN)) {
        rota_service_control_coordinator (self, from, control);
        return;
    }
    if (is_of_agents (control->verb)) {
        control_agents (self, from, control);
        return;
    }
    if (!control->n_ids || !control->verb) {
        rota_service_refuse (self, from, ERROR_CODE (INVALID), "it names no task or no verb");
        return;
    }
    for (size_t i = 0; i < control->n_ids; i++) {
        rota_node_t node = find_any (self, control->ids[i]);
        if (node == ROTA_NONE || rota_core_is_staged (self->core, node)) {
            rota_service_refuse (self, from, ERROR_CODE (NOT_FOUND),
                                 "there is no task or group %.*s (or several)", (int)control->ids[i].len,
                                 (const char *)control->ids[i].data);
            return;
        }
    }
    for (size_t i = 0; i < control->n_ids; i++) {
        rota_node_t node = find_any (self, control->ids[i]);
        rota_core_get (self->core, node, &it);
        if (it.kind == NODE (TASK))
            control_one (self, &state, node);
        else
            control_group (self, &state, node);
    }
    if (state.refused && !state.changed && !state.unchanged) {
        rota_service_refuse (self, from, ERROR_CODE (REFUSED), "%s", state.first.text);
        return;
    }
    Rota__ControlReply reply = ROTA__CONTROL_REPLY__INIT;
    reply.has_changed = true;
    reply.changed = state.changed;
    rota_service_answer (self, from, ROTA_MESSAGE_CONTROL_REPLY, &reply.base);
}
