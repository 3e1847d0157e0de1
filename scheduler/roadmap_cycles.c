/* Cycles over tasks and groups, each with all its edges.
 *
 * A group is two nodes: its start, which waits for what the group depends on, and its end, which waits for
 * its members. A task waits for its dependencies and for the start of its group; whoever depends on a group
 * waits for its end. One search in depth finds an edge back into the path for every independent cycle.
 */
#include "scheduler/roadmap_internal.h"

#include <stdlib.h>
#include <string.h>

#define MAX_CYCLES 100
#define MAX_CYCLE_TEXT_BYTES (4u << 20) /* of all of them */

enum { NEW, ON_PATH, LEFT };

typedef struct {
    uint32_t node, cursor;
    uint32_t line, column; /* where the edge to the next one on the path stands */
} step_t;

typedef struct {
    const rota_roadmap_graph_t *graph;
    uint32_t *members, *first_member; /* of each group: those that lie directly in it */
    uint8_t *states;
    uint32_t *places; /* of a node on the path: its index there */
    step_t *path;
    size_t depth;
    size_t found, hidden, text_bytes;
} search_t;

/* Nodes: a definition's own number (a task, a group's start), and count + number (a group's end). */
static uint32_t end_of (const rota_roadmap_graph_t *graph, uint32_t i)
{
    return i < graph->first_task ? (uint32_t)graph->count + i : i;
}

static const Rota__TaskSpec *spec_of (const rota_roadmap_graph_t *graph, uint32_t node)
{
    return graph->entries[node < graph->count ? node : node - graph->count]->spec;
}

/* The next node that step->node waits for, and where the file says so. False when there is no more. */
static bool next_edge (const search_t *self, step_t *step, uint32_t *ret_node)
{
    const rota_roadmap_graph_t *graph = self->graph;
    if (step->node >= graph->count) {
        uint32_t group = step->node - (uint32_t)graph->count;
        if (step->cursor++ == 0) {
            *ret_node = group;
            return true;
        }
        uint32_t member = self->first_member[group] + step->cursor - 2;
        if (member >= self->first_member[group + 1])
            return false;
        const Rota__TaskSpec *spec = graph->entries[self->members[member]]->spec;
        step->line = spec->line;
        step->column = spec->column;
        *ret_node = end_of (graph, self->members[member]);
        return true;
    }
    const Rota__TaskSpec *spec = graph->entries[step->node]->spec;
    while (step->cursor < spec->n_dependencies) {
        const Rota__Dependency *dependency = spec->dependencies[step->cursor];
        uint32_t on = graph->resolved[graph->first_dependency[step->node] + step->cursor++];
        if (on == ROTA_ROADMAP_NONE)
            continue;
        step->line = dependency->line;
        step->column = dependency->column;
        *ret_node = end_of (graph, on);
        return true;
    }
    uint32_t parent = graph->parents[step->node];
    if (step->cursor++ > spec->n_dependencies || parent == ROTA_ROADMAP_NONE)
        return false;
    /* A group's end on the path has been to the group's start first, so by way of a member it is the same
     * cycle again; unless that start is the part of the path being explored. */
    uint32_t end = end_of (graph, parent);
    bool through_start = self->states[parent] == ON_PATH && self->places[parent] > self->places[end];
    if (self->states[end] == ON_PATH && !through_start)
        return false;
    step->line = spec->line;
    step->column = spec->column;
    *ret_node = parent;
    return true;
}

static void print_node (const search_t *self, const step_t *step, bool with_line, FILE *stream)
{
    char name[ROTA_ROADMAP_NAME_BYTES];
    const Rota__TaskSpec *spec = spec_of (self->graph, step->node);
    const char *shown = rota_roadmap_name (spec, name);
    if (spec->kind == NODE (TASK))
        shown += strlen ("task ");
    if (with_line)
        fprintf (stream, "%s (line %u) -> ", shown, step->line);
    else
        fputs (shown, stream);
}

/* The path from `first` on is a cycle. Start and end of a group are shown as one. */
static void report_cycle (search_t *self, size_t first)
{
    rota_roadmap_reader_t *reader = self->graph->reader;
    if (self->found++ >= MAX_CYCLES || self->text_bytes > MAX_CYCLE_TEXT_BYTES) {
        self->hidden++;
        return;
    }
    size_t length = self->depth - first, start = 0;
    const step_t *cycle = self->path + first;
    /* It begins where a person reads it first; an edge between a group's two nodes stands nowhere. */
    for (size_t i = 1; i < length; i++)
        if (cycle[start].line == 0 || (cycle[i].line && cycle[i].line < cycle[start].line))
            start = i;
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream (&text, &size);
    if (!stream) {
        reader->no_memory = true;
        return;
    }
    fputs ("cycle: ", stream);
    for (size_t i = 0; i < length; i++) {
        const step_t *step = &cycle[(start + i) % length], *next = &cycle[(start + i + 1) % length];
        if (spec_of (self->graph, step->node) != spec_of (self->graph, next->node))
            print_node (self, step, true, stream);
    }
    print_node (self, &cycle[start], false, stream);
    if (fclose (stream) == 0) {
        char *kept = rota_pool_text (reader->pool, text, size);
        reader->no_memory |= !kept;
        rota_roadmap_fault_text (reader, ROTA_FAULT_ERROR, cycle[start].line, cycle[start].column, kept);
        self->text_bytes += size;
    } else {
        reader->no_memory = true;
    }
    free (text);
}

static void enter (search_t *self, uint32_t node)
{
    self->states[node] = ON_PATH;
    self->places[node] = (uint32_t)self->depth;
    self->path[self->depth++] = (step_t){.node = node};
}

static void search_from (search_t *self, uint32_t root)
{
    enter (self, root);
    while (self->depth > 0) {
        step_t *step = &self->path[self->depth - 1];
        uint32_t next;
        step->line = step->column = 0;
        if (!next_edge (self, step, &next)) {
            self->states[step->node] = LEFT;
            self->depth--;
        } else if (self->states[next] == NEW) {
            enter (self, next);
        } else if (self->states[next] == ON_PATH) {
            report_cycle (self, self->places[next]);
        }
    }
}

static bool allocate (search_t *self)
{
    const rota_roadmap_graph_t *graph = self->graph;
    size_t nodes = graph->count + graph->first_task;
    self->members = calloc (graph->count + 1, sizeof (uint32_t));
    self->first_member = calloc (graph->first_task + 2, sizeof (uint32_t));
    self->states = calloc (nodes + 1, 1);
    self->places = calloc (nodes + 1, sizeof (uint32_t));
    self->path = calloc (nodes + 1, sizeof (step_t));
    if (!self->members || !self->first_member || !self->states || !self->places || !self->path)
        return false;
    /* Counting sort by parent: first_member[g + 1] is where g's members end. */
    for (size_t i = 0; i < graph->count; i++)
        if (graph->parents[i] != ROTA_ROADMAP_NONE)
            self->first_member[graph->parents[i] + 2]++;
    for (size_t g = 2; g < graph->first_task + 2; g++)
        self->first_member[g] += self->first_member[g - 1];
    for (uint32_t i = 0; i < graph->count; i++)
        if (graph->parents[i] != ROTA_ROADMAP_NONE)
            self->members[self->first_member[graph->parents[i] + 1]++] = i;
    return true;
}

void rota_roadmap_find_cycles (const rota_roadmap_graph_t *graph)
{
    search_t self = {.graph = graph};
    if (allocate (&self)) {
        for (uint32_t i = 0; i < graph->count; i++)
            if (self.states[i] == NEW)
                search_from (&self, i);
    } else {
        graph->reader->no_memory = true;
    }
    if (self.hidden)
        rota_roadmap_fault (graph->reader, ROTA_FAULT_ERROR, 0, 0, "%zu more cycles are not shown",
                            self.hidden);
    free (self.members);
    free (self.first_member);
    free (self.states);
    free (self.places);
    free (self.path);
}
