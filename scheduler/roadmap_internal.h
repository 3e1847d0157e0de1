/* roadmap_internal.h - what the parts of the roadmap reader share: roadmap.c (files, faults, assembly),
 * roadmap_read.c (the file's shape), roadmap_fields.c (keys of a definition) with roadmap_prompt.c and
 * roadmap_extra.c, roadmap_check.c (ids, dependencies) and roadmap_cycles.c.
 */
#ifndef ROTA_ROADMAP_INTERNAL_H
#define ROTA_ROADMAP_INTERNAL_H

#include "bus/guess.h"
#include "bus/names.h"
#include "bus/yaml.h"
#include "proto/words.h"
#include "scheduler/roadmap.h"

#define ROTA_ROADMAP_NONE UINT32_MAX

/* A definition and the group it lies in: an index into milestones (a task with a milestone) or epics. */
typedef struct {
    Rota__TaskSpec *spec;
    uint32_t parent; /* or ROTA_ROADMAP_NONE */
} rota_roadmap_entry_t;

typedef struct {
    rota_roadmap_entry_t *entries;
    size_t count, capacity;
} rota_roadmap_list_t;

typedef struct {
    rota_fault_t *faults;
    size_t count, capacity;
    size_t total; /* of them, at most ROTA_ROADMAP_MAX_FAULTS are kept */
} rota_roadmap_faults_t;

typedef struct {
    const char *path;
    rota_roadmap_options_t options;
    rota_pool_t *pool;          /* lives as long as the roadmap */
    const char *file_directory; /* absolute where it exists */
    const char *directory;      /* for the tasks; NULL until the file's head has been read */
    Rota__RoadmapHeader header;
    rota_roadmap_list_t epics, milestones, tasks;
    rota_roadmap_faults_t errors, warnings;
    const rota_yaml_node_t *defaults; /* a mapping without faults, or NULL */
    bool muted;                       /* faults of defaults were reported once, not again for each task */
    bool no_memory;                   /* found late: everything goes on, then the whole fails */
    /* statuses of groups that were ignored */
    size_t ignored_statuses, kept_blocks;
    uint32_t ignored_line, ignored_column;
} rota_roadmap_reader_t;

__attribute__ ((format (printf, 5, 6))) void rota_roadmap_fault (rota_roadmap_reader_t *self,
                                                                 rota_fault_level_t level, uint32_t line,
                                                                 uint32_t column, const char *format, ...);
/* The same for a text that is already in the pool, of any length. */
void rota_roadmap_fault_text (rota_roadmap_reader_t *self, rota_fault_level_t level, uint32_t line,
                              uint32_t column, const char *text);

/* From the pool; NULL sets no_memory. */
void *rota_roadmap_alloc (rota_roadmap_reader_t *self, size_t size_bytes);
ProtobufCBinaryData rota_roadmap_copy (rota_roadmap_reader_t *self, const char *text, size_t length);

/* What `directory:` names, seen from where the file lies. Never NULL. */
const char *rota_roadmap_resolve_directory (rota_roadmap_reader_t *self, const char *text);

/* Appends to a list of pointers (a repeated field) in the pool, doubling its place. */
void rota_roadmap_append (rota_roadmap_reader_t *self, void ***list, size_t *count, void *item);

/* ---- one definition while it is read */

#define ROTA_ROADMAP_IN_TASK 1u
#define ROTA_ROADMAP_IN_EPIC 2u
#define ROTA_ROADMAP_IN_MILESTONE 4u
#define ROTA_ROADMAP_IN_DEFAULTS 8u

struct json_t;

typedef struct {
    rota_roadmap_reader_t *reader;
    rota_yaml_sink_t sink;
    Rota__TaskSpec *spec;
    unsigned where;  /* ROTA_ROADMAP_IN_X: which keys are known */
    const char *key; /* the one being read */
    uint32_t said;   /* mask of what defaults may not fill in any more */
    struct json_t *extra;
    const rota_yaml_node_t *id;
} rota_roadmap_target_t;

/* roadmap_fields.c: the table of keys. */
void rota_roadmap_read_keys (rota_roadmap_target_t *target, const rota_yaml_node_t *mapping);
/* What the group that it lies in says for all that lies there, and it does not: approval. */
void rota_roadmap_inherit (rota_roadmap_target_t *target, const Rota__TaskSpec *group);
/* What `defaults:` says and the task does not, and the complexity that its estimate means. */
void rota_roadmap_apply_defaults (rota_roadmap_target_t *target);
/* roadmap_prompt.c: replaces "@file" in spec->prompt by its content. */
void rota_roadmap_read_prompt (rota_roadmap_target_t *target, const rota_yaml_node_t *value);
/* roadmap_extra.c: what is kept for the export only; finish puts it into spec->extra. */
void rota_roadmap_keep_extra (rota_roadmap_target_t *target, const rota_yaml_pair_t *pair);
void rota_roadmap_finish_extra (rota_roadmap_target_t *target);

/* ---- all definitions as one graph: epics, milestones and tasks numbered in this order */

typedef struct {
    rota_roadmap_reader_t *reader;
    size_t count, first_milestone, first_task;
    const rota_roadmap_entry_t **entries;
    uint32_t *parents;        /* group it lies in, or NONE */
    size_t *first_dependency; /* of each, into resolved; count + 1 of them */
    uint32_t *resolved;       /* what each dependency names, or NONE: unknown, not gating, reported already */
} rota_roadmap_graph_t;

/* "task X", "epic X", "milestone X" into ret_text. */
#define ROTA_ROADMAP_NAME_BYTES (ROTA_YAML_SHOWN_BYTES + 16)
const char *rota_roadmap_name (const Rota__TaskSpec *spec, char ret_text[ROTA_ROADMAP_NAME_BYTES]);
/* roadmap_cycles.c: reports them. */
void rota_roadmap_find_cycles (const rota_roadmap_graph_t *graph);

/* roadmap_read.c */
void rota_roadmap_read_tree (rota_roadmap_reader_t *self, const rota_yaml_node_t *root);
/* roadmap_check.c: over all that was read. Counts the dependencies. */
void rota_roadmap_check (rota_roadmap_reader_t *reader, size_t *ret_edges);

#endif
