/* Files, faults, and the roadmap as a whole. */
#include "scheduler/roadmap_internal.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory */

void *rota_roadmap_alloc (rota_roadmap_reader_t *self, size_t size_bytes)
{
    void *piece = rota_pool_alloc (self->pool, size_bytes);
    if (!piece)
        self->no_memory = true;
    return piece;
}

ProtobufCBinaryData rota_roadmap_copy (rota_roadmap_reader_t *self, const char *text, size_t length)
{
    char *copy = rota_pool_text (self->pool, text, length);
    if (!copy) {
        self->no_memory = true;
        return (ProtobufCBinaryData){0};
    }
    return (ProtobufCBinaryData){.len = length, .data = (uint8_t *)copy};
}

void rota_roadmap_append (rota_roadmap_reader_t *self, void ***list, size_t *count, void *item)
{
    /* Full at 0 and at each power of two: the capacity needs no place of its own. */
    if ((*count & (*count - 1)) == 0) {
        size_t capacity = *count ? *count * 2 : 1;
        void **larger = rota_roadmap_alloc (self, capacity * sizeof *larger);
        if (!larger)
            return;
        if (*count)
            memcpy (larger, *list, *count * sizeof *larger);
        *list = larger;
    }
    (*list)[(*count)++] = item;
}

/* ---- faults */

void rota_roadmap_fault_text (rota_roadmap_reader_t *self, rota_fault_level_t level, uint32_t line,
                              uint32_t column, const char *text)
{
    rota_roadmap_faults_t *list = level == ROTA_FAULT_ERROR ? &self->errors : &self->warnings;
    if (self->muted || list->total++ >= ROTA_ROADMAP_MAX_FAULTS)
        return;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 16;
        rota_fault_t *faults = realloc (list->faults, capacity * sizeof *faults);
        if (!faults) {
            self->no_memory = true;
            return;
        }
        list->faults = faults;
        list->capacity = capacity;
    }
    list->faults[list->count++] =
        (rota_fault_t){.level = level, .line = line, .column = column, .text = text ? text : "out of memory"};
}

void rota_roadmap_fault (rota_roadmap_reader_t *self, rota_fault_level_t level, uint32_t line,
                         uint32_t column, const char *format, ...)
{
    const rota_roadmap_faults_t *list = level == ROTA_FAULT_ERROR ? &self->errors : &self->warnings;
    const char *text = NULL;
    if (!self->muted && list->total < ROTA_ROADMAP_MAX_FAULTS) {
        va_list args;
        va_start (args, format);
        text = rota_pool_vformat (self->pool, format, args);
        va_end (args);
    }
    rota_roadmap_fault_text (self, level, line, column, text);
}

static int compare_faults (const void *a, const void *b)
{
    const rota_fault_t *x = a, *y = b;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    if (x->column != y->column)
        return x->column < y->column ? -1 : 1;
    return x->level != y->level ? (int)x->level - (int)y->level : strcmp (x->text, y->text);
}

/* Errors go first when there are too many of both. */
static void gather_faults (rota_roadmap_reader_t *self, rota_roadmap_t *roadmap)
{
    size_t errors = self->errors.count, warnings = self->warnings.count;
    if (warnings > ROTA_ROADMAP_MAX_FAULTS - errors)
        warnings = ROTA_ROADMAP_MAX_FAULTS - errors;
    size_t hidden = self->errors.total + self->warnings.total - errors - warnings;
    rota_fault_t *faults = rota_roadmap_alloc (self, (errors + warnings + 1) * sizeof *faults);
    if (!faults)
        return;
    if (errors)
        memcpy (faults, self->errors.faults, errors * sizeof *faults);
    if (warnings)
        memcpy (faults + errors, self->warnings.faults, warnings * sizeof *faults);
    roadmap->fault_count = errors + warnings;
    qsort (faults, roadmap->fault_count, sizeof *faults, compare_faults);
    if (hidden)
        faults[roadmap->fault_count++] = (rota_fault_t){
            .level = self->errors.total > errors ? ROTA_FAULT_ERROR : ROTA_FAULT_WARNING,
            .text = rota_pool_format (self->pool, "%zu more errors and %zu more warnings are not shown",
                                      self->errors.total - errors, self->warnings.total - warnings)};
    roadmap->faults = faults;
    roadmap->error_count = self->errors.total;
}

void rota_roadmap_print_faults (const rota_roadmap_t *self, FILE *stream)
{
    for (size_t i = 0; i < self->fault_count; i++) {
        const rota_fault_t *fault = &self->faults[i];
        const char *level = fault->level == ROTA_FAULT_ERROR ? "error" : "warning";
        if (fault->line)
            fprintf (stream, "%s:%u:%u: %s: %s\n", self->path, fault->line, fault->column, level,
                     fault->text);
        else
            fprintf (stream, "%s: %s: %s\n", self->path, level, fault->text);
    }
}

/* ---- the whole */

static char *directory_of (rota_pool_t *pool, const char *path)
{
    char *copy = rota_pool_text (pool, path, strlen (path));
    if (!copy)
        return NULL;
    const char *parent = dirname (copy);
    char *real = realpath (parent, NULL);
    char *directory = rota_pool_text (pool, real ? real : parent, strlen (real ? real : parent));
    free (real);
    return directory;
}

const char *rota_roadmap_resolve_directory (rota_roadmap_reader_t *self, const char *text)
{
    if (text[0] == '/')
        return text;
    const char *path = rota_pool_format (self->pool, "%s/%s", self->file_directory, text);
    char *real = path ? realpath (path, NULL) : NULL;
    if (real)
        path = rota_pool_text (self->pool, real, strlen (real));
    free (real);
    self->no_memory |= !path;
    return path ? path : "";
}

static void copy_specs (Rota__TaskSpec **specs, size_t *count, const rota_roadmap_list_t *list)
{
    for (size_t i = 0; i < list->count; i++)
        specs[(*count)++] = list->entries[i].spec;
}

/* The pool becomes the roadmap's. */
static int assemble (rota_roadmap_reader_t *reader, size_t edges, rota_roadmap_t **ret_roadmap)
{
    rota_roadmap_t *roadmap = rota_roadmap_alloc (reader, sizeof *roadmap);
    size_t count = reader->epics.count + reader->milestones.count + reader->tasks.count;
    Rota__TaskSpec **specs = rota_roadmap_alloc (reader, (count + 1) * sizeof (Rota__TaskSpec *));
    if (!roadmap || !specs)
        return -ENOMEM;
    *roadmap = (rota_roadmap_t){.path = reader->path,
                                .header = reader->header,
                                .specs = specs,
                                .task_count = reader->tasks.count,
                                .edge_count = edges};
    copy_specs (specs, &roadmap->count, &reader->epics);
    copy_specs (specs, &roadmap->count, &reader->milestones);
    copy_specs (specs, &roadmap->count, &reader->tasks);
    gather_faults (reader, roadmap);
    if (reader->no_memory)
        return -ENOMEM;
    roadmap->internal = reader->pool;
    reader->pool = NULL;
    *ret_roadmap = roadmap;
    return 0;
}

static void report_error (void *owner, uint32_t line, uint32_t column, const char *text)
{
    rota_roadmap_fault (owner, ROTA_FAULT_ERROR, line, column, "%s", text);
}

/* The nodes of the tree are gone when this returns; the texts are in the reader's pool. */
static int read_bytes (rota_roadmap_reader_t *reader, const char *bytes, size_t size_bytes)
{
    rota_pool_t *nodes = rota_pool_new ();
    if (!nodes)
        return -ENOMEM;
    const rota_yaml_sink_t sink = {.report = report_error, .owner = reader};
    const rota_yaml_node_t *root;
    int rc = rota_yaml_parse (bytes, size_bytes, nodes, reader->pool, &sink, &root);
    if (rc == 0)
        rota_roadmap_read_tree (reader, root);
    rota_pool_destroy (&nodes);
    return rc == -EINVAL ? 0 : rc;
}

static void set_names (rota_roadmap_reader_t *reader, const char *path)
{
    reader->path = rota_pool_text (reader->pool, path, strlen (path));
    reader->file_directory = directory_of (reader->pool, path);
    rota__roadmap_header__init (&reader->header);
    const char *slash = strrchr (path, '/');
    char *whole = reader->file_directory ? rota_pool_format (reader->pool, "%s/%s", reader->file_directory,
                                                             slash ? slash + 1 : path)
                                         : NULL;
    if (reader->path && whole) {
        reader->header.has_path = reader->header.has_source = true;
        reader->header.path = rota_bytes (whole);
        reader->header.source = rota_bytes (reader->path);
    }
    if (!reader->path || !whole)
        reader->no_memory = true;
}

int rota_roadmap_parse (const char *path, const char *bytes, size_t size_bytes,
                        const rota_roadmap_options_t *options, rota_roadmap_t **ret_roadmap,
                        rota_error_t *error)
{
    rota_roadmap_reader_t reader = {.pool = rota_pool_new ()};
    if (options)
        reader.options = *options;
    size_t edges = 0;
    int rc = reader.pool ? 0 : -ENOMEM;
    if (rc == 0) {
        set_names (&reader, path);
        rc = reader.no_memory ? -ENOMEM : read_bytes (&reader, bytes, size_bytes);
    }
    if (rc == 0)
        rota_roadmap_check (&reader, &edges);
    if (rc == 0)
        rc = assemble (&reader, edges, ret_roadmap);
    free (reader.epics.entries);
    free (reader.milestones.entries);
    free (reader.tasks.entries);
    free (reader.errors.faults);
    free (reader.warnings.faults);
    rota_pool_destroy (&reader.pool);
    return rc < 0 ? rota_error_set (error, rc, "%s: %s", path, strerror (-rc)) : 0;
}

int rota_roadmap_read (const char *path, const rota_roadmap_options_t *options, rota_roadmap_t **ret_roadmap,
                       rota_error_t *error)
{
    char *bytes;
    size_t size_bytes;
    int rc = rota_yaml_read_file (path, &bytes, &size_bytes, error);
    if (rc < 0)
        return rc;
    rc = rota_roadmap_parse (path, bytes, size_bytes, options, ret_roadmap, error);
    free (bytes);
    return rc;
}

void rota_roadmap_destroy (rota_roadmap_t **self_p)
{
    rota_roadmap_t *self = *self_p;
    if (!self)
        return;
    rota_pool_t *pool = self->internal; /* the roadmap itself lies in it */
    rota_pool_destroy (&pool);
    *self_p = NULL;
}
