/* What can only be seen over the whole file: ids, what dependencies name, groups. */
#include "scheduler/roadmap_internal.h"

#include <stdlib.h>
#include <string.h>

/* Searching all ids for a similar one is only worth it for the first few. */
#define MAX_GUESSES 20

typedef struct {
    rota_roadmap_graph_t graph;
    uint32_t *ids, *milestone_ids; /* open addressing by id: number plus one */
    size_t mask;
    uint32_t *same_id;  /* of a milestone: the next with its id, in the order of the file, or NONE */
    uint32_t *named_by; /* who named this one last: to see a dependency given twice */
    size_t guesses;
} check_t;

static const Rota__TaskSpec *spec_of (const check_t *self, size_t i)
{
    return self->graph.entries[i]->spec;
}

static bool same (const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
    return a->len == b->len && !memcmp (a->data, b->data, a->len);
}

static const char *show (const ProtobufCBinaryData *id, char ret_text[ROTA_YAML_SHOWN_BYTES])
{
    return rota_yaml_show ((const char *)id->data, id->len, ret_text);
}

const char *rota_roadmap_name (const Rota__TaskSpec *spec, char ret_text[ROTA_ROADMAP_NAME_BYTES])
{
    static const char *const KINDS[] = {"", "task", "epic", "milestone"};
    char shown[ROTA_YAML_SHOWN_BYTES];
    snprintf (ret_text, ROTA_ROADMAP_NAME_BYTES, "%s %s", KINDS[spec->kind], show (&spec->id, shown));
    return ret_text;
}

__attribute__ ((format (printf, 5, 6))) static void
report (check_t *self, rota_fault_level_t level, uint32_t line, uint32_t column, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    char *text = rota_pool_vformat (self->graph.reader->pool, format, args);
    va_end (args);
    if (!text)
        self->graph.reader->no_memory = true;
    rota_roadmap_fault_text (self->graph.reader, level, line, column, text);
}

/* ---- ids */

/* The number under `id` in `table`, or NONE; then `enter` (if not NONE) is put there. */
static uint32_t look_up (const check_t *self, uint32_t *table, const ProtobufCBinaryData *id, uint32_t enter)
{
    size_t slot = rota_hash (id->data, id->len) & self->mask;
    for (; table[slot]; slot = (slot + 1) & self->mask)
        if (same (&spec_of (self, table[slot] - 1)->id, id))
            return table[slot] - 1;
    if (enter != ROTA_ROADMAP_NONE)
        table[slot] = enter + 1;
    return ROTA_ROADMAP_NONE;
}

static void enter_id (check_t *self, uint32_t i)
{
    const Rota__TaskSpec *spec = spec_of (self, i);
    uint32_t first = look_up (self, self->ids, &spec->id, i);
    if (first == ROTA_ROADMAP_NONE)
        return;
    const Rota__TaskSpec *other = spec_of (self, first);
    /* Epics are entered before tasks; the file may have them the other way round. */
    bool swapped = other->line > spec->line || (other->line == spec->line && other->column > spec->column);
    const Rota__TaskSpec *early = swapped ? spec : other, *late = swapped ? other : spec;
    char name[ROTA_YAML_SHOWN_BYTES];
    const char *kind = late->kind == NODE (TASK) ? "task" : "epic";
    if (early->kind == late->kind)
        report (self, ROTA_FAULT_ERROR, late->line, late->column,
                "%s id %s appears twice; first at line %u, column %u", kind, show (&late->id, name),
                early->line, early->column);
    else
        report (self, ROTA_FAULT_ERROR, late->line, late->column,
                "%s id %s is also the id of %s, at line %u, column %u", kind, show (&late->id, name),
                early->kind == NODE (TASK) ? "a task" : "an epic", early->line, early->column);
}

/* Real roadmaps repeat milestone ids across epics: a chain of those with the same id. */
static void enter_milestone (check_t *self, uint32_t i)
{
    const Rota__TaskSpec *spec = spec_of (self, i);
    char name[ROTA_YAML_SHOWN_BYTES], epic[ROTA_YAML_SHOWN_BYTES];
    uint32_t other = look_up (self, self->milestone_ids, &spec->id, i);
    if (other == ROTA_ROADMAP_NONE)
        return;
    const Rota__TaskSpec *first = spec_of (self, other);
    uint32_t last = other;
    for (; other != ROTA_ROADMAP_NONE; other = self->same_id[other]) {
        last = other;
        if (self->graph.parents[other] == self->graph.parents[i]) {
            report (self, ROTA_FAULT_ERROR, spec->line, spec->column,
                    "milestone id %s appears twice in its epic; first at line %u, column %u",
                    show (&spec->id, name), spec_of (self, other)->line, spec_of (self, other)->column);
            return;
        }
    }
    self->same_id[last] = i;
    report (self, ROTA_FAULT_WARNING, spec->line, spec->column,
            "milestone id %s is also used in epic %s, at line %u; a dependency on it must name the epic",
            show (&spec->id, name), show (&first->epic, epic), first->line);
}

/* ---- what dependencies name */

static void report_ambiguous (check_t *self, const Rota__Dependency *dependency, uint32_t first)
{
    char id[ROTA_YAML_SHOWN_BYTES], epic[ROTA_YAML_SHOWN_BYTES], epics[1024];
    size_t used = 0;
    for (uint32_t i = first; i != ROTA_ROADMAP_NONE && used < sizeof epics - ROTA_YAML_SHOWN_BYTES - 8;
         i = self->same_id[i])
        used += (size_t)snprintf (epics + used, sizeof epics - used, "%s%s", i == first ? "" : ", ",
                                  show (&spec_of (self, i)->epic, epic));
    show (&dependency->on, id);
    report (self, ROTA_FAULT_ERROR, dependency->line, dependency->column,
            "milestone %s is in several epics (%s); write {milestone: %s, epic: %s}", id, epics, id,
            show (&spec_of (self, first)->epic, epic));
}

static void report_unknown (check_t *self, const Rota__Dependency *dependency)
{
    char id[ROTA_YAML_SHOWN_BYTES], epic[ROTA_YAML_SHOWN_BYTES];
    show (&dependency->on, id);
    if (dependency->has_epic) {
        report (self, ROTA_FAULT_ERROR, dependency->line, dependency->column,
                "unknown dependency %s: there is no such milestone in an epic %s", id,
                show (&dependency->epic, epic));
        return;
    }
    rota_guess_t guess;
    rota_guess_start (&guess, (const char *)dependency->on.data, dependency->on.len);
    if (self->guesses++ < MAX_GUESSES)
        for (size_t i = 0; i < self->graph.count; i++)
            rota_guess_offer (&guess, (const char *)spec_of (self, i)->id.data, spec_of (self, i)->id.len);
    report (self, ROTA_FAULT_ERROR, dependency->line, dependency->column,
            "unknown dependency %s: there is no such task, epic or milestone%s", id, rota_guess_end (&guess));
}

/* NONE after a report, or with allow_unknown. */
static uint32_t resolve (check_t *self, const Rota__Dependency *dependency)
{
    uint32_t found = dependency->has_epic ? ROTA_ROADMAP_NONE
                                          : look_up (self, self->ids, &dependency->on, ROTA_ROADMAP_NONE);
    if (found != ROTA_ROADMAP_NONE)
        return found;
    found = look_up (self, self->milestone_ids, &dependency->on, ROTA_ROADMAP_NONE);
    if (dependency->has_epic)
        while (found != ROTA_ROADMAP_NONE && !same (&spec_of (self, found)->epic, &dependency->epic))
            found = self->same_id[found];
    if (found == ROTA_ROADMAP_NONE) {
        if (!self->graph.reader->options.allow_unknown)
            report_unknown (self, dependency);
        return ROTA_ROADMAP_NONE;
    }
    if (!dependency->has_epic && self->same_id[found] != ROTA_ROADMAP_NONE) {
        report_ambiguous (self, dependency, found);
        return ROTA_ROADMAP_NONE;
    }
    return found;
}

static bool lies_in (const check_t *self, uint32_t inner, uint32_t outer)
{
    for (uint32_t group = self->graph.parents[inner]; group != ROTA_ROADMAP_NONE;
         group = self->graph.parents[group])
        if (group == outer)
            return true;
    return false;
}

/* A node that waits for itself, in the ways that are plain without a search. */
static bool is_own (check_t *self, uint32_t i, uint32_t on, const Rota__Dependency *dependency)
{
    char name[ROTA_ROADMAP_NAME_BYTES], other[ROTA_ROADMAP_NAME_BYTES];
    const Rota__TaskSpec *target = spec_of (self, on);
    rota_roadmap_name (spec_of (self, i), name);
    rota_roadmap_name (target, other);
    if (i == on)
        report (self, ROTA_FAULT_ERROR, dependency->line, dependency->column, "%s depends on itself", name);
    else if (lies_in (self, i, on))
        report (self, ROTA_FAULT_ERROR, dependency->line, dependency->column,
                "%s depends on its own %s (line %u), which is not complete without it: a cycle", name, other,
                target->line);
    else if (lies_in (self, on, i))
        report (self, ROTA_FAULT_ERROR, dependency->line, dependency->column,
                "%s depends on %s (line %u), which lies in it: a cycle", name, other, target->line);
    else
        return false;
    return true;
}

/* Resolves the dependencies of one definition, and drops those given twice. */
static void check_dependencies (check_t *self, uint32_t i)
{
    Rota__TaskSpec *spec = self->graph.entries[i]->spec;
    uint32_t *resolved = self->graph.resolved + self->graph.first_dependency[i];
    size_t kept = 0;
    for (size_t d = 0; d < spec->n_dependencies; d++) {
        Rota__Dependency *dependency = spec->dependencies[d];
        uint32_t on = resolve (self, dependency);
        if (on != ROTA_ROADMAP_NONE && self->named_by[on] == i) {
            char name[ROTA_YAML_SHOWN_BYTES];
            report (self, ROTA_FAULT_WARNING, dependency->line, dependency->column,
                    "the dependency on %s is given twice", show (&dependency->on, name));
            continue;
        }
        bool gates = !dependency->has_type || dependency->type == DEPENDENCY (BLOCKS);
        if (on != ROTA_ROADMAP_NONE) {
            self->named_by[on] = i;
            if (is_own (self, i, on, dependency) || !gates)
                on = ROTA_ROADMAP_NONE;
        }
        spec->dependencies[kept] = dependency;
        resolved[kept++] = on;
    }
    spec->n_dependencies = kept;
    for (; resolved + kept < self->graph.resolved + self->graph.first_dependency[i + 1]; kept++)
        resolved[kept] = ROTA_ROADMAP_NONE;
}

/* ---- the rest */

/* "Empty" is easily a slip of indentation, and it satisfies whoever depends on it. */
static void report_empty_groups (check_t *self, uint32_t *members)
{
    const rota_roadmap_graph_t *graph = &self->graph;
    for (size_t i = graph->count; i-- > 0;) {
        uint32_t parent = graph->parents[i];
        if (parent != ROTA_ROADMAP_NONE)
            members[parent] += i >= graph->first_task ? 1 : members[i];
    }
    for (size_t i = 0; i < graph->first_task; i++) {
        char name[ROTA_ROADMAP_NAME_BYTES];
        const Rota__TaskSpec *spec = spec_of (self, i);
        if (members[i] == 0)
            report (self, ROTA_FAULT_WARNING, spec->line, spec->column,
                    "%s has no tasks; what depends on it need not wait", rota_roadmap_name (spec, name));
    }
}

static void number_entries (rota_roadmap_graph_t *graph, const rota_roadmap_list_t *list, size_t *next,
                            size_t parent_offset)
{
    for (size_t i = 0; i < list->count; i++) {
        uint32_t parent = list->entries[i].parent;
        graph->entries[*next] = &list->entries[i];
        graph->parents[*next] = parent == ROTA_ROADMAP_NONE ? parent : (uint32_t)parent_offset + parent;
        ++*next;
    }
}

static void number_all (rota_roadmap_graph_t *graph)
{
    const rota_roadmap_reader_t *reader = graph->reader;
    size_t next = 0;
    number_entries (graph, &reader->epics, &next, 0);
    number_entries (graph, &reader->milestones, &next, 0);
    number_entries (graph, &reader->tasks, &next, 0);
    /* A task's parent is a milestone where it names one. */
    for (size_t i = graph->first_task; i < next; i++)
        if (graph->parents[i] != ROTA_ROADMAP_NONE && graph->entries[i]->spec->has_milestone)
            graph->parents[i] += (uint32_t)graph->first_milestone;
    size_t edges = 0;
    for (size_t i = 0; i < graph->count; i++) {
        graph->first_dependency[i] = edges;
        edges += graph->entries[i]->spec->n_dependencies;
    }
    graph->first_dependency[graph->count] = edges;
}

static bool allocate (check_t *self)
{
    rota_roadmap_graph_t *graph = &self->graph;
    const rota_roadmap_reader_t *reader = graph->reader;
    graph->first_milestone = reader->epics.count;
    graph->first_task = graph->first_milestone + reader->milestones.count;
    graph->count = graph->first_task + reader->tasks.count;
    size_t capacity = 16;
    while (capacity < graph->count * 2)
        capacity *= 2;
    self->mask = capacity - 1;
    graph->entries = calloc (graph->count + 1, sizeof (rota_roadmap_entry_t *));
    graph->parents = calloc (graph->count + 1, sizeof (uint32_t));
    graph->first_dependency = calloc (graph->count + 1, sizeof (size_t));
    self->ids = calloc (capacity, sizeof (uint32_t));
    self->milestone_ids = calloc (capacity, sizeof (uint32_t));
    self->same_id = malloc ((graph->count + 1) * sizeof (uint32_t));
    self->named_by = malloc ((graph->count + 1) * sizeof (uint32_t));
    if (!graph->entries || !graph->parents || !graph->first_dependency || !self->ids ||
        !self->milestone_ids || !self->same_id || !self->named_by)
        return false;
    memset (self->same_id, 0xFF, (graph->count + 1) * sizeof (uint32_t));
    memset (self->named_by, 0xFF, (graph->count + 1) * sizeof (uint32_t));
    number_all (graph);
    graph->resolved = calloc (graph->first_dependency[graph->count] + 1, sizeof (uint32_t));
    return graph->resolved != NULL;
}

static void check_all (check_t *self, size_t *ret_edges)
{
    const rota_roadmap_graph_t *graph = &self->graph;
    for (uint32_t i = 0; i < graph->count; i++) {
        if (i >= graph->first_milestone && i < graph->first_task)
            enter_milestone (self, i);
        else
            enter_id (self, i);
    }
    size_t edges = 0;
    for (uint32_t i = 0; i < graph->count; i++) {
        check_dependencies (self, i);
        edges += spec_of (self, i)->n_dependencies;
    }
    rota_roadmap_find_cycles (graph);
    memset (self->named_by, 0, graph->count * sizeof (uint32_t));
    report_empty_groups (self, self->named_by);
    *ret_edges = edges;
}

void rota_roadmap_check (rota_roadmap_reader_t *reader, size_t *ret_edges)
{
    check_t self = {.graph = {.reader = reader}};
    if (allocate (&self))
        check_all (&self, ret_edges);
    else
        reader->no_memory = true;
    free (self.graph.entries);
    free (self.graph.parents);
    free (self.graph.first_dependency);
    free (self.graph.resolved);
    free (self.ids);
    free (self.milestone_ids);
    free (self.same_id);
    free (self.named_by);
}
