/* roadmap.h - roadmap files: YAML to task definitions and back, every fault with its position.
 *
 * The reader is pure but for `prompt: @file`: bytes in, definitions and faults out. It accepts the shape of
 * design section 9 (epics > milestones > tasks, and a flat `tasks:` list), applies `defaults:`. The same
 * message (TaskSpec) is what travels, is stored and exported.
 *
 * Owner: any thread, nothing shared. Memory: one pool per roadmap, about 1 KiB a task.
 */
#ifndef ROTA_ROADMAP_H
#define ROTA_ROADMAP_H

#include "bus/error.h"
#include "proto/envelope.h"

#include <stdio.h>

#define ROTA_ROADMAP_MAX_BYTES (64u << 20)
#define ROTA_ROADMAP_MAX_DEPTH 64
#define ROTA_ROADMAP_MAX_SPECS 2000000u
#define ROTA_ROADMAP_MAX_SPEC_BYTES (3u << 20) /* packed: it must fit one IMPORT_CHUNK */
#define ROTA_ROADMAP_MAX_PROMPT_BYTES (256u << 10)
#define ROTA_ROADMAP_MAX_FAULTS 1000

typedef enum { ROTA_FAULT_ERROR, ROTA_FAULT_WARNING } rota_fault_level_t;

typedef struct {
    rota_fault_level_t level;
    uint32_t line, column; /* from 1; 0 = the file as a whole */
    const char *text; /* in the roadmap's arena: what is wrong and what to do; holds no control characters */
} rota_fault_t;

typedef struct {
    const char *path; /* as given: for messages */
    Rota__RoadmapHeader header;
    size_t count;
    Rota__TaskSpec **specs; /* epics first, then their milestones, then tasks, in the order of the file */
    size_t task_count;      /* of them, tasks */
    size_t edge_count;      /* dependencies */
    size_t fault_count;
    rota_fault_t *faults; /* in order of position */
    size_t error_count;
    void *internal;
} rota_roadmap_t;

typedef struct {
    bool strict;           /* unknown keys are errors */
    const char *source;    /* name; NULL = `name:` of the file, else its path */
    const char *directory; /* where `run:` tasks run; NULL = `directory:` of the file, else where it lies */
    bool allow_unknown;    /* dependencies may name what is not in the file: who imports checks the union */
} rota_roadmap_options_t;

/* Reads `path`. 0 and *ret_roadmap also when the file has faults (see error_count); -ENOENT, -EISDIR, -EFBIG,
 * -EACCES, -EIO, -ENOMEM with the text in `error`. Of faults at most 1000 are kept, then one says how many
 * more. */
int rota_roadmap_read (const char *path, const rota_roadmap_options_t *options, rota_roadmap_t **ret_roadmap,
                       rota_error_t *error);
/* The same from memory; `path` only names it. */
int rota_roadmap_parse (const char *path, const char *bytes, size_t size_bytes,
                        const rota_roadmap_options_t *options, rota_roadmap_t **ret_roadmap,
                        rota_error_t *error);
void rota_roadmap_destroy (rota_roadmap_t **self_p);

/* Prints "path:line:column: error: text" a line each, errors and warnings. */
void rota_roadmap_print_faults (const rota_roadmap_t *self, FILE *stream);

/* Writes definitions as YAML that rota_roadmap_read gives back unchanged (but for positions and what a
 * default had filled in, which is written out). `specs` in any order; groups are found by id. 0 or -EIO. */
int rota_roadmap_write (FILE *stream, const Rota__RoadmapHeader *header, Rota__TaskSpec *const *specs,
                        size_t count);

#endif
