/* define.h - from a definition (TaskSpec) to a node of the graph, checked; shared by submit and import.
 *
 * Owner: the scheduler's thread. Nothing here touches SQL; what must be stored is handed back.
 */
#ifndef ROTA_DEFINE_H
#define ROTA_DEFINE_H

#include "scheduler/core.h"
#include "scheduler/store.h"

/* What a definition is wrong in, collected for the answer. */
typedef struct {
    Rota__Fault **faults; /* malloc'ed, with their texts */
    size_t count, capacity;
} rota_define_faults_t;
void rota_define_faults_clear (rota_define_faults_t *self);
__attribute__ ((format (printf, 3, 4))) void
rota_define_fault (rota_define_faults_t *self, const Rota__TaskSpec *spec, const char *format, ...);

/* Checks the fields that travel: ids, texts, ranges. False after having recorded what is wrong. */
bool rota_define_check (const Rota__TaskSpec *spec, rota_define_faults_t *faults);

/* The group that the definition lies in, which must exist: ROTA_NONE for none. False (with a fault) when it
 * doesn't. */
bool rota_define_parent (const rota_core_t *core, const Rota__TaskSpec *spec, rota_node_t *ret_parent,
                         rota_define_faults_t *faults);

/* The class of eligibility it belongs to; *ret_new when it is one that the store doesn't have yet. */
int rota_define_class (rota_core_t *core, uint32_t source, const Rota__TaskSpec *spec, uint32_t *ret_class,
                       bool *ret_new);

/* What holds for all definitions of a source. */
typedef struct {
    uint32_t source;
    bool repository; /* its roadmap names one */
    uint32_t default_attempts;
} rota_define_source_t;

/* What of the definition the core holds, but for its place in the graph. */
void rota_define_node (const rota_define_source_t *source, const Rota__TaskSpec *spec, uint32_t class_index,
                       rota_core_node_t *ret_node);
/* Adds the node, staged, without edges. 0; -EEXIST; -ENOMEM, -ENOSPC. */
int rota_define_add (rota_core_t *core, const rota_define_source_t *source, const Rota__TaskSpec *spec,
                     rota_node_t parent, uint32_t class_index, int64_t now_ms, rota_node_t *ret_node);

/* The node that a dependency names. ROTA_NONE: unknown; *ret_ambiguous when several milestones have the name.
 */
rota_node_t rota_define_resolve (const rota_core_t *core, const Rota__TaskSpec *spec,
                                 const Rota__Dependency *dependency, bool *ret_ambiguous);

/* The definition as it is stored; *ret_buffer is malloc'ed and holds what ret_definition points at. -ENOMEM.
 */
int rota_define_pack (const Rota__TaskSpec *spec, rota_definition_t *ret_definition, uint8_t **ret_buffer);
/* Whether `spec` says what is stored for the node. */
bool rota_define_is_stored (rota_store_t *store, rota_node_t node, const Rota__TaskSpec *spec);
/* A stored definition as a packed TaskSpec again, with id and title: malloc'ed. -ENOMEM. */
int rota_define_unpack (const rota_core_t *core, rota_node_t node, const rota_definition_t *definition,
                        uint8_t **ret_bytes, size_t *ret_size);

#endif
