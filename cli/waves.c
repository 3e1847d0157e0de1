#include "cli/waves.h"

#include "cli/json.h"

#include <stdlib.h>
#include <string.h>

#define NAMES_SHOWN 12

/* Each spec is two points: where it may begin (2i) and where it is over (2i + 1). An edge means "not before";
 * only from a task's beginning to its end a wave passes. */
typedef struct {
    uint32_t from, to;
} edge_t;

typedef struct {
    const rota_roadmap_t *roadmap;
    uint32_t *order; /* indices of specs, by name */
    edge_t *edges;
    size_t edge_count, edge_capacity;
    bool failed;
} graph_t;

static bool is_group (const Rota__TaskSpec *spec)
{
    return spec->kind == ROTA__NODE_KIND__NODE_KIND_EPIC ||
           spec->kind == ROTA__NODE_KIND__NODE_KIND_MILESTONE;
}

static bool is_over (const Rota__TaskSpec *spec)
{
    return spec->status == ROTA__TASK_STATUS__TASK_STATUS_DONE ||
           spec->status == ROTA__TASK_STATUS__TASK_STATUS_CANCELLED;
}

static int compare_bytes (ProtobufCBinaryData a, ProtobufCBinaryData b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter ? memcmp (a.data, b.data, shorter) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_name (const void *a, const void *b, void *context)
{
    Rota__TaskSpec *const *specs = context;
    return compare_bytes (specs[*(const uint32_t *)a]->id, specs[*(const uint32_t *)b]->id);
}

/* The spec of that name; of several milestones the one in `epic`. SIZE_MAX when there is none. */
static size_t find (const graph_t *self, ProtobufCBinaryData id, bool has_epic, ProtobufCBinaryData epic)
{
    Rota__TaskSpec *const *specs = self->roadmap->specs;
    size_t low = 0, high = self->roadmap->count, found = SIZE_MAX;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_bytes (specs[self->order[middle]]->id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < self->roadmap->count && compare_bytes (specs[self->order[low]]->id, id) == 0; low++) {
        const Rota__TaskSpec *spec = specs[self->order[low]];
        bool milestone = spec->kind == ROTA__NODE_KIND__NODE_KIND_MILESTONE;
        if (!milestone || !has_epic || compare_bytes (spec->epic, epic) == 0)
            found = self->order[low];
        if (!milestone)
            break;
    }
    return found;
}

static void add (graph_t *self, size_t from, size_t to)
{
    if (self->edge_count == self->edge_capacity) {
        size_t capacity = self->edge_capacity ? self->edge_capacity * 2 : 1024;
        edge_t *edges = realloc (self->edges, capacity * sizeof *edges);
        if (!edges) {
            self->failed = true;
            return;
        }
        self->edges = edges;
        self->edge_capacity = capacity;
    }
    self->edges[self->edge_count++] = (edge_t){(uint32_t)from, (uint32_t)to};
}

static void add_spec (graph_t *self, size_t index)
{
    const Rota__TaskSpec *spec = self->roadmap->specs[index];
    size_t parent = SIZE_MAX;

    add (self, 2 * index, 2 * index + 1);
    if (spec->has_milestone)
        parent = find (self, spec->milestone, spec->has_epic, spec->epic);
    else if (spec->has_epic)
        parent = find (self, spec->epic, false, spec->epic);
    if (parent != SIZE_MAX && parent != index) {
        add (self, 2 * parent, 2 * index);
        add (self, 2 * index + 1, 2 * parent + 1);
    }
    for (size_t i = 0; i < spec->n_dependencies; i++) {
        const Rota__Dependency *dependency = spec->dependencies[i];
        bool gates =
            !dependency->has_type || dependency->type == ROTA__DEPENDENCY_TYPE__DEPENDENCY_TYPE_BLOCKS;
        size_t on = gates ? find (self, dependency->on, dependency->has_epic, dependency->epic) : SIZE_MAX;
        if (on != SIZE_MAX)
            add (self, 2 * on + 1, 2 * index);
    }
}

static int by_from (const void *a, const void *b)
{
    const edge_t *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

/* Longest paths in topological order; `wave` holds a number for each point. */
static bool relax (const graph_t *self, uint32_t *wave)
{
    size_t points = 2 * self->roadmap->count, head = 0, tail = 0;
    uint32_t *waiting = calloc (points + 1, sizeof *waiting), *queue = calloc (points + 1, sizeof *queue);
    size_t *first = calloc (points + 2, sizeof *first);
    bool good = waiting && queue && first;

    for (size_t i = 0; good && i < self->edge_count; i++) {
        waiting[self->edges[i].to]++;
        first[self->edges[i].from + 1]++;
    }
    for (size_t i = 0; good && i < points; i++) {
        first[i + 1] += first[i];
        if (waiting[i] == 0)
            queue[tail++] = (uint32_t)i;
    }
    while (good && head < tail) {
        uint32_t point = queue[head++];
        for (size_t i = first[point]; i < first[point + 1]; i++) {
            uint32_t to = self->edges[i].to;
            const Rota__TaskSpec *spec = self->roadmap->specs[point / 2];
            uint32_t step = to == point + 1 && point % 2 == 0 && !is_group (spec) && !is_over (spec);
            if (wave[point] + step > wave[to])
                wave[to] = wave[point] + step;
            if (--waiting[to] == 0)
                queue[tail++] = to;
        }
    }
    free (waiting);
    free (queue);
    free (first);
    return good;
}

uint32_t *rota_waves (const rota_roadmap_t *roadmap)
{
    graph_t self = {.roadmap = roadmap};
    uint32_t *points = calloc (2 * roadmap->count + 1, sizeof *points);
    uint32_t *waves = calloc (roadmap->count + 1, sizeof *waves);

    self.order = calloc (roadmap->count + 1, sizeof *self.order);
    self.failed = !points || !waves || !self.order;
    for (size_t i = 0; !self.failed && i < roadmap->count; i++)
        self.order[i] = (uint32_t)i;
    if (!self.failed)
        qsort_r (self.order, roadmap->count, sizeof *self.order, by_name, roadmap->specs);
    for (size_t i = 0; !self.failed && i < roadmap->count; i++)
        add_spec (&self, i);
    if (!self.failed && self.edges)
        qsort (self.edges, self.edge_count, sizeof *self.edges, by_from);
    self.failed = self.failed || !relax (&self, points);
    for (size_t i = 0; !self.failed && i < roadmap->count; i++)
        waves[i] = is_group (roadmap->specs[i]) || is_over (roadmap->specs[i]) ? 0 : points[2 * i + 1];
    free (self.order);
    free (self.edges);
    free (points);
    if (self.failed) {
        free (waves);
        return NULL;
    }
    return waves;
}

static void print_json (const rota_roadmap_t *roadmap, const uint32_t *waves, uint32_t last)
{
    json_t *object = json_object (), *list = json_array ();
    for (uint32_t wave = 1; wave <= last; wave++)
        json_array_append_new (list, json_array ());
    for (size_t i = 0; i < roadmap->count; i++)
        if (waves[i] > 0) {
            json_t *holder = json_object ();
            rota_json_set_text (holder, "id", true, roadmap->specs[i]->id);
            json_array_append (json_array_get (list, waves[i] - 1), json_object_get (holder, "id"));
            json_decref (holder);
        }
    rota_json_set_string (object, "roadmap", roadmap->path);
    rota_json_set_number (object, "tasks", roadmap->task_count);
    json_object_set_new (object, "waves", list);
    rota_json_document (stdout, object);
}

static void print_wave (const rota_cli_t *cli, const rota_roadmap_t *roadmap, const uint32_t *waves,
                        uint32_t wave)
{
    size_t shown = 0, whole = 0;

    for (size_t i = 0; i < roadmap->count; i++)
        whole += waves[i] == wave;
    printf ("%s%4u%s ", rota_style (&cli->out, ROTA_STYLE_DIM), wave, rota_style_end (&cli->out));
    for (size_t i = 0; i < roadmap->count && shown < NAMES_SHOWN; i++) {
        if (waves[i] != wave)
            continue;
        char *id = rota_clean_bytes (true, roadmap->specs[i]->id);
        printf ("%s %s", shown++ ? "," : "", id ? id : "");
        free (id);
    }
    if (whole > shown)
        printf (", ... (%zu in all)", whole);
    putchar ('\n');
}

int rota_waves_print (const rota_cli_t *cli, const rota_roadmap_t *roadmap)
{
    uint32_t *waves = rota_waves (roadmap);
    uint32_t last = 0;
    size_t open = 0;
    char text[48];

    if (!waves)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    for (size_t i = 0; i < roadmap->count; i++) {
        last = waves[i] > last ? waves[i] : last;
        open += waves[i] > 0;
    }
    if (cli->json) {
        print_json (roadmap, waves, last);
    } else {
        printf ("%s: %s to work, of %zu; what stands in one line could run at once\n", roadmap->path,
                rota_plural (open, "task", text), roadmap->task_count);
        for (uint32_t wave = 1; wave <= last; wave++)
            print_wave (cli, roadmap, waves, wave);
        puts ("nothing was started; `rota run` without --dry-run does it");
    }
    free (waves);
    return ROTA_EXIT_DONE;
}
