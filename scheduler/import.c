/* Staged imports: BEGIN, chunks, COMMIT (design section 4).
 *
 * New nodes are put into the graph and the file as they come, invisible: staged in the core, of a generation
 * to come in the file. What changes an existing task is kept here until COMMIT, which checks the union with
 * what is there and flips: one row makes the staged ones visible, in the same transaction as the changes. An
 * import that doesn't come to its end leaves nothing behind. One at a time.
 */
#include "scheduler/service_internal.h"

#include "bus/log.h"

#define SILENCE_MS 60000
#define MAX_LISTED 1000

typedef struct {
    rota_node_t node;
    Rota__TaskSpec *spec; /* unpacked, owned */
} changed_t;

typedef struct {
    rota_node_t node;
    Rota__TaskSpec *spec; /* owned: a spec with only the dependency and its place */
} unresolved_t;

typedef struct {
    rota_node_t node, prerequisite;
    bool drop;
} applied_t;

struct rota_import {
    uint8_t client[16];
    uint32_t source;
    bool dry_run, prune, committing;
    uint64_t generation;
    rota_node_t first;
    int64_t last_ms;
    uint8_t *seen; /* a bit for each node below `first` */
    uint64_t received, added, unchanged;
    VECTOR (changed_t) changed;
    VECTOR (unresolved_t) unresolved;
    VECTOR (rota_node_t) blocked_groups;
    VECTOR (applied_t) applied;
    VECTOR (char *) added_ids;
};

uint64_t rota_import_generation (const rota_import_t *self)
{
    return self->generation;
}

void rota_import_destroy (rota_import_t **self_p)
{
    rota_import_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; i < self->changed.count; i++)
        rota__task_spec__free_unpacked (self->changed.items[i].spec, NULL);
    for (size_t i = 0; i < self->unresolved.count; i++)
        rota__task_spec__free_unpacked (self->unresolved.items[i].spec, NULL);
    for (size_t i = 0; i < self->added_ids.count; i++)
        free (self->added_ids.items[i]);
    free (self->changed.items);
    free (self->unresolved.items);
    free (self->blocked_groups.items);
    free (self->applied.items);
    free (self->added_ids.items);
    free (self->seen);
    free (self);
    *self_p = NULL;
}

#define IPUSH(service, vector)                                                                               \
    ((__typeof__ ((service)->import->vector.items))rota_vector_push (                                        \
        (service), &(service)->import->vector, sizeof *(service)->import->vector.items))

void rota_import_drop (service_t *self, const char *reason)
{
    rota_import_t *import = self->import;
    rota_error_t error;
    if (!import)
        return;
    rota_log (ROTA_LOG_INFO, "import.dropped", "reason=\"%s\" staged=%llu", reason,
              (unsigned long long)import->added);
    rota_service_flush (self); /* what this batch staged is a row now, like the rest */
    if (self->import != import)
        return; /* the flush failed, and the core was rebuilt without it */
    rota_node_t end = (rota_node_t)rota_core_count (self->core);
    int r = import->dry_run ? 0 : rota_store_begin (self->store, &error);
    if (r == 0 && !import->dry_run) {
        rota_store_unstage (self->store, import->first, end);
        r = rota_store_commit (self->store, &error);
    }
    if (r < 0)
        rota_service_fail (self, r, error.text);
    rota_core_discard (self->core, import->first, end);
    rota_import_destroy (&self->import);
}

void rota_import_gone (service_t *self, const uint8_t instance[16])
{
    if (self->import && memcmp (self->import->client, instance, 16) == 0)
        rota_import_drop (self, "its client is gone");
}

void rota_import_tick (service_t *self)
{
    if (self->import && rota_service_now_ms (self) - self->import->last_ms > SILENCE_MS)
        rota_import_drop (self, "nothing came for a minute");
}

void rota_import_flipped (service_t *self)
{
    rota_import_destroy (&self->import);
}

/* ------------------------------------------------------------------------------------------ begin */

HANDLER (import_begin)
{
    const Rota__ImportBegin *begin = (const Rota__ImportBegin *)message;
    const Rota__RoadmapHeader *header = begin->header;
    if (!begin->dry_run && rota_service_refuses_for_room (self, from))
        return;
    if (self->import && memcmp (self->import->client, from->sender, 16) == 0)
        rota_import_drop (self, "its client began anew");
    if (self->import) {
        rota_service_refuse (self, from, ERROR_CODE (BUSY),
                             "another import is under way: try again when it has ended");
        return;
    }
    if (!header || !header->has_source || !header->source.len || header->source.len > 4096) {
        rota_service_refuse (self, from, ERROR_CODE (INVALID), "an import needs the name of its source");
        return;
    }
    rota_import_t *import = calloc (1, sizeof *import);
    uint32_t source =
        begin->dry_run
            ? rota_service_find_source (self, (const char *)header->source.data, header->source.len)
            : rota_service_source (self, (const char *)header->source.data, header->source.len, header);
    size_t known = rota_core_count (self->core);
    if (import)
        import->seen = calloc (known / 8 + 1, 1);
    if (!import || !import->seen || (!source && !begin->dry_run)) {
        rota_import_destroy (&import);
        rota_service_refuse (self, from, ERROR_CODE (RETRY_LATER), "no memory");
        return;
    }
    memcpy (import->client, from->sender, 16);
    import->source = source ? source : (uint32_t)(self->sources.count ? self->sources.count : 1);
    import->dry_run = begin->dry_run;
    import->prune = begin->prune;
    import->generation = rota_store_generation (self->store) + 1;
    import->first = (rota_node_t)known;
    import->last_ms = rota_service_now_ms (self);
    self->import = import;
    Rota__ImportReply reply = ROTA__IMPORT_REPLY__INIT;
    reply.has_staged = true;
    rota_service_answer (self, from, ROTA_MESSAGE_IMPORT_REPLY, &reply.base);
}

/* ----------------------------------------------------------------------------------------- chunks */

static Rota__TaskSpec *copy_spec (const Rota__TaskSpec *spec)
{
    size_t size = rota__task_spec__get_packed_size (spec);
    uint8_t *packed = malloc (size + 1);
    if (!packed)
        return NULL;
    rota__task_spec__pack (spec, packed);
    Rota__TaskSpec *copy = rota__task_spec__unpack (NULL, size, packed);
    free (packed);
    return copy;
}

static rota_node_t find_existing (const service_t *self, const Rota__TaskSpec *spec)
{
    const char *id = (const char *)spec->id.data;
    if (!spec->has_kind || spec->kind != NODE (MILESTONE))
        return rota_core_find (self->core, id, spec->id.len);
    rota_node_t epic = rota_core_find (self->core, (const char *)spec->epic.data, spec->epic.len);
    return epic == ROTA_NONE ? ROTA_NONE : rota_core_find_milestone (self->core, epic, id, spec->id.len);
}

#define ID(spec) (int)(spec)->id.len, (const char *)(spec)->id.data

static void take_existing (service_t *self, rota_node_t node, const Rota__TaskSpec *spec, rota_node_t parent,
                           rota_define_faults_t *faults)
{
    rota_import_t *import = self->import;
    rota_core_node_t it;
    rota_core_get (self->core, node, &it);
    Rota__NodeKind kind = spec->has_kind ? spec->kind : NODE (TASK);
    bool again = node >= import->first ? rota_core_is_staged (self->core, node)
                                       : import->seen[node / 8] >> (node % 8) & 1;
    if (again)
        rota_define_fault (faults, spec, "%.*s comes twice", ID (spec));
    else if (it.kind != kind)
        rota_define_fault (faults, spec, "%.*s is there already, as another kind of thing", ID (spec));
    else if (it.source != import->source)
        rota_define_fault (faults, spec, "%.*s is there already, from %.*s: ids are unique over all roadmaps",
                           ID (spec), (int)self->sources.items[it.source].name_length,
                           self->sources.items[it.source].name);
    else if (it.parent != parent)
        rota_define_fault (
            faults, spec,
            "%.*s moved to another epic or milestone: give it a new id there and remove the old "
            "one",
            ID (spec));
    if (faults->count || node >= import->first)
        return;
    import->seen[node / 8] |= (uint8_t)(1u << (node % 8));
    /* The same words may want something else when the file names a repository now. */
    rota_define_source_t source = rota_service_define_source (self, import->source);
    rota_core_node_t as;
    rota_define_node (&source, spec, it.class_index, &as);
    if (as.wants == it.wants && rota_define_is_stored (self->store, node, spec)) {
        import->unchanged++;
        return;
    }
    changed_t *changed = IPUSH (self, changed);
    if (changed)
        *changed = (changed_t){.node = node, .spec = copy_spec (spec)};
    if (!changed || !changed->spec)
        rota_define_fault (faults, spec, "no memory");
}

static bool lies_in_blocked (const service_t *self, rota_node_t parent)
{
    const rota_import_t *import = self->import;
    rota_core_node_t group;
    for (rota_node_t up = parent; up != ROTA_NONE && rota_core_get (self->core, up, &group);
         up = group.parent)
        for (size_t i = 0; i < import->blocked_groups.count; i++)
            if (import->blocked_groups.items[i] == up)
                return true;
    return false;
}

static void keep_unresolved (service_t *self, rota_node_t node, const Rota__TaskSpec *spec,
                             Rota__Dependency *dependency, rota_define_faults_t *faults)
{
    Rota__TaskSpec bare = ROTA__TASK_SPEC__INIT;
    bare.has_id = true;
    bare.id = spec->id;
    bare.has_epic = spec->has_epic;
    bare.epic = spec->epic;
    bare.n_dependencies = 1;
    bare.dependencies = &dependency;
    unresolved_t *unresolved = IPUSH (self, unresolved);
    if (unresolved)
        *unresolved = (unresolved_t){.node = node, .spec = copy_spec (&bare)};
    if (!unresolved || !unresolved->spec)
        rota_define_fault (faults, spec, "no memory");
}

static bool is_linked_now (const service_t *self, rota_node_t node, rota_node_t prerequisite)
{
    for (size_t e = self->edges.count; e-- > 0 && self->edges.items[e].node == node;)
        if (self->edges.items[e].prerequisite == prerequisite)
            return true;
    return false;
}

static void link_one (service_t *self, rota_node_t node, const Rota__TaskSpec *spec,
                      Rota__Dependency *dependency, bool last, rota_define_faults_t *faults)
{
    bool ambiguous;
    rota_node_t prerequisite = rota_define_resolve (self->core, spec, dependency, &ambiguous);
    Rota__TaskSpec place = *spec;
    place.has_line = place.has_column = dependency->has_line;
    place.line = dependency->line;
    place.column = dependency->column;
    if (prerequisite == node) {
        rota_define_fault (faults, &place, "%.*s waits for itself", ID (spec));
    } else if (ambiguous) {
        rota_define_fault (faults, &place,
                           "%.*s waits for milestone %.*s, which several epics have: name the epic",
                           ID (spec), (int)dependency->on.len, (const char *)dependency->on.data);
    } else if (prerequisite == ROTA_NONE && last) {
        rota_define_fault (faults, &place,
                           "%.*s waits for %.*s, which is neither in the file nor in the store", ID (spec),
                           (int)dependency->on.len, (const char *)dependency->on.data);
    } else if (prerequisite == ROTA_NONE) {
        keep_unresolved (self, node, spec, dependency, faults);
    } else if (!is_linked_now (self, node, prerequisite)) {
        Rota__DependencyType type = dependency->has_type ? dependency->type : DEPENDENCY (BLOCKS);
        if (rota_service_link (self, node, prerequisite, type) < 0)
            rota_define_fault (faults, spec, "no memory");
    }
}

static void take_new (service_t *self, const Rota__TaskSpec *spec, rota_node_t parent,
                      rota_define_faults_t *faults)
{
    rota_import_t *import = self->import;
    Rota__TaskSpec held = *spec;
    bool task = !spec->has_kind || spec->kind == NODE (TASK);
    if (task && (!spec->has_status || spec->status == STATUS (PENDING)) && lies_in_blocked (self, parent)) {
        held.has_status = true;
        held.status = STATUS (BLOCKED);
    }
    rota_node_t node;
    if (rota_service_stage (self, import->source, &held, parent, import->generation, &node, faults) < 0)
        return;
    import->added++;
    if (!task && spec->status == STATUS (BLOCKED)) {
        rota_node_t *blocked = IPUSH (self, blocked_groups);
        if (blocked)
            *blocked = node;
    }
    for (size_t i = 0; i < spec->n_dependencies; i++)
        link_one (self, node, spec, spec->dependencies[i], false, faults);
    if (import->added_ids.count < MAX_LISTED) {
        char **id = IPUSH (self, added_ids);
        if (id)
            *id = strndup ((const char *)spec->id.data, spec->id.len);
    }
}

/* The import that this client has under way, or NULL after having refused. */
static rota_import_t *own_import (service_t *self, const rota_envelope_t *from)
{
    if (self->import && memcmp (self->import->client, from->sender, 16) == 0) {
        self->import->last_ms = rota_service_now_ms (self);
        return self->import;
    }
    rota_service_refuse (self, from, ERROR_CODE (REFUSED),
                         "no import of yours is under way (the scheduler may have restarted): begin again");
    return NULL;
}

/* Takes back what a dry run staged for the file; the core keeps it until the end. */
static void keep_from_file (service_t *self, size_t added, size_t edges)
{
    while (self->added.count > added)
        free (self->added.items[--self->added.count].buffer);
    self->edges.count = edges;
}

HANDLER (import_chunk)
{
    const Rota__ImportChunk *chunk = (const Rota__ImportChunk *)message;
    rota_import_t *import = own_import (self, from);
    rota_define_faults_t faults = {0};
    if (!import)
        return;
    size_t added = self->added.count, edges = self->edges.count;
    for (size_t i = 0; i < chunk->n_tasks; i++) {
        const Rota__TaskSpec *spec = chunk->tasks[i];
        rota_node_t parent;
        if (!rota_define_check (spec, &faults) || !rota_define_parent (self->core, spec, &parent, &faults))
            continue;
        rota_node_t there = find_existing (self, spec);
        if (there != ROTA_NONE)
            take_existing (self, there, spec, parent, &faults);
        else
            take_new (self, spec, parent, &faults);
    }
    if (import->dry_run)
        keep_from_file (self, added, edges);
    import->received += chunk->n_tasks;
    if (faults.count) {
        rota_service_refuse_faults (self, from, &faults,
                                    "nothing was imported: the roadmap doesn't fit what is there");
        rota_import_drop (self, "it has faults");
    } else {
        Rota__ImportReply reply = ROTA__IMPORT_REPLY__INIT;
        reply.has_staged = true;
        reply.staged = import->received;
        rota_service_answer (self, from, ROTA_MESSAGE_IMPORT_REPLY, &reply.base);
    }
    rota_define_faults_clear (&faults);
}

HANDLER (import_abort)
{
    (void)message;
    if (!own_import (self, from))
        return;
    Rota__ImportReply reply = ROTA__IMPORT_REPLY__INIT;
    rota_service_answer (self, from, ROTA_MESSAGE_IMPORT_REPLY, &reply.base);
    rota_import_drop (self, "aborted by its client");
}

/* ----------------------------------------------------------------------------------------- commit */

typedef struct {
    VECTOR (rota_node_t) nodes;
    service_t *service;
} prerequisites_t;

static void note_prerequisite (void *owner, rota_node_t prerequisite, Rota__DependencyType type)
{
    prerequisites_t *list = owner;
    if (type != DEPENDENCY (BLOCKS))
        return;
    rota_node_t *item = rota_vector_push (list->service, &list->nodes, sizeof *item);
    if (item)
        *item = prerequisite;
}

static bool apply_edge (service_t *self, rota_node_t node, rota_node_t prerequisite, bool drop)
{
    applied_t *applied = IPUSH (self, applied);
    int r = drop ? rota_core_unlink (self->core, prerequisite, node)
                 : rota_core_link (self->core, prerequisite, node);
    if (applied)
        *applied = (applied_t){.node = node, .prerequisite = prerequisite, .drop = drop};
    return applied && r == 0;
}

static void undo_edges (service_t *self)
{
    rota_import_t *import = self->import;
    while (import->applied.count) {
        applied_t it = import->applied.items[--import->applied.count];
        int r = it.drop ? rota_core_link (self->core, it.prerequisite, it.node)
                        : rota_core_unlink (self->core, it.prerequisite, it.node);
        if (r < 0)
            rota_service_fail (self, -EIO, "an import could not be undone in memory");
    }
}

/* A new prerequisite of a task that has started would come too late. */
static bool may_wait (const service_t *self, rota_node_t node)
{
    rota_core_node_t it;
    rota_core_get (self->core, node, &it);
    return it.kind != NODE (TASK) || it.status == STATUS (PENDING) || it.status == STATUS (BLOCKED) ||
           it.status == STATUS (NEEDS_IMPROVEMENT);
}

static void change_edges (service_t *self, const changed_t *changed, rota_define_faults_t *faults)
{
    const Rota__TaskSpec *spec = changed->spec;
    prerequisites_t before = {.service = self};
    rota_store_dependencies (self->store, changed->node, note_prerequisite, &before);
    for (size_t i = 0; i < spec->n_dependencies; i++) {
        const Rota__Dependency *dependency = spec->dependencies[i];
        bool ambiguous, had = false;
        rota_node_t prerequisite = rota_define_resolve (self->core, spec, dependency, &ambiguous);
        if (prerequisite == ROTA_NONE || prerequisite == changed->node) {
            rota_define_fault (faults, spec, "%.*s can't wait for %.*s: %s", ID (spec),
                               (int)dependency->on.len, (const char *)dependency->on.data,
                               ambiguous                   ? "several epics have that milestone"
                               : prerequisite == ROTA_NONE ? "it is neither in the file nor in the store"
                                                           : "that is itself");
            continue;
        }
        if (dependency->has_type && dependency->type != DEPENDENCY (BLOCKS))
            continue;
        for (size_t b = 0; b < before.nodes.count && !had; b++)
            if (before.nodes.items[b] == prerequisite) {
                before.nodes.items[b] = ROTA_NONE;
                had = true;
            }
        for (size_t a = 0; a < self->import->applied.count && !had; a++)
            had = self->import->applied.items[a].node == changed->node &&
                  self->import->applied.items[a].prerequisite == prerequisite;
        if (had)
            continue;
        if (!may_wait (self, changed->node))
            rota_define_fault (faults, spec,
                               "%.*s has started: a new dependency on %.*s comes too late (`rota retry` or "
                               "`reopen` it first)",
                               ID (spec), (int)dependency->on.len, (const char *)dependency->on.data);
        else if (!apply_edge (self, changed->node, prerequisite, false))
            rota_define_fault (faults, spec, "no memory");
    }
    for (size_t b = 0; b < before.nodes.count; b++)
        if (before.nodes.items[b] != ROTA_NONE)
            (void)!apply_edge (self, changed->node, before.nodes.items[b], true);
    free (before.nodes.items);
}

static void find_cycle (service_t *self, rota_define_faults_t *faults)
{
    rota_node_t path[64];
    size_t length = rota_core_find_cycle (self->core, 0, path, 64), used = 0;
    char text[4096] = "";
    if (!length)
        return;
    for (size_t i = 0; i <= length && i < 64 && used < sizeof text - 210; i++) {
        rota_core_node_t node;
        rota_core_get (self->core, path[i == length ? 0 : i], &node);
        used += (size_t)snprintf (text + used, sizeof text - used, "%s%.*s", i ? " -> " : "",
                                  (int)node.id_length, node.id);
    }
    rota_define_fault (faults, NULL, "with what is in the store these wait for each other: %s", text);
}

static void check_union (service_t *self, rota_define_faults_t *faults)
{
    rota_import_t *import = self->import;
    for (size_t i = 0; i < import->unresolved.count; i++) {
        unresolved_t *it = &import->unresolved.items[i];
        link_one (self, it->node, it->spec, it->spec->dependencies[0], true, faults);
    }
    for (size_t i = 0; i < import->changed.count && !faults->count; i++)
        change_edges (self, &import->changed.items[i], faults);
    if (!faults->count)
        find_cycle (self, faults);
}

static ProtobufCBinaryData *add_id (service_t *self, ProtobufCBinaryData *list, size_t *count,
                                    rota_node_t node)
{
    rota_core_node_t it;
    if (!list)
        list = rota_arena_alloc (self->arena, MAX_LISTED * sizeof *list);
    if (!list || *count >= MAX_LISTED || !rota_core_get (self->core, node, &it))
        return list;
    char *copy = rota_arena_alloc (self->arena, it.id_length + 1);
    if (!copy)
        return list;
    memcpy (copy, it.id, it.id_length);
    list[(*count)++] = rota_bytes_n (copy, it.id_length);
    return list;
}

static void redefine (service_t *self, changed_t *changed)
{
    uint32_t class_index;
    bool new_class;
    redefined_t *redefined = VPUSH (self, redefined);
    const Rota__TaskSpec *spec = changed->spec;
    if (!redefined ||
        rota_define_class (self->core, self->import->source, spec, &class_index, &new_class) < 0)
        return;
    redefined->node = changed->node;
    /* The title is borrowed from the spec, which must outlive the commit: the import's memory does. */
    if (rota_define_pack (spec, &redefined->definition, &redefined->buffer) < 0) {
        rota_service_fail (self, -ENOMEM, "no memory");
        return;
    }
    rota_define_source_t source = rota_service_define_source (self, self->import->source);
    rota_core_node_t as;
    rota_define_node (&source, spec, class_index, &as);
    rota_core_redefine (self->core, changed->node, &as, rota_service_now_ms (self));
    rota_claims_define (self, changed->node, spec);
}

/* Tasks of this source that the file no longer names. */
static void find_orphans (service_t *self, Rota__ImportDifference *difference)
{
    rota_import_t *import = self->import;
    int64_t now_ms = rota_service_now_ms (self);
    static const char REASON[] = "no longer in its roadmap";
    for (rota_node_t i = 0; i < import->first; i++) {
        rota_core_node_t it;
        if (!rota_core_get (self->core, i, &it) || it.source != import->source || it.kind != NODE (TASK))
            continue;
        bool seen = import->seen[i / 8] >> (i % 8) & 1;
        if (!import->dry_run)
            rota_core_orphan (self->core, i, !seen, now_ms);
        if (seen)
            continue;
        difference->orphaned++;
        difference->orphaned_ids = add_id (self, difference->orphaned_ids, &difference->n_orphaned_ids, i);
        if (!import->prune || it.status == STATUS (DONE) || it.status == STATUS (CANCELLED))
            continue;
        rota_error_t ignored;
        if (import->dry_run || rota_core_control (self->core, i, VERB (CANCEL), REASON, strlen (REASON), 0,
                                                  now_ms, &ignored) == 0)
            difference->pruned++;
    }
}

static void apply_changes (service_t *self)
{
    rota_import_t *import = self->import;
    for (size_t i = 0; i < import->changed.count; i++)
        redefine (self, &import->changed.items[i]);
    for (size_t i = 0; i < import->applied.count; i++) {
        edge_change_t *edge = VPUSH (self, edges);
        if (edge)
            *edge = (edge_change_t){.node = import->applied.items[i].node,
                                    .prerequisite = import->applied.items[i].prerequisite,
                                    .type = DEPENDENCY (BLOCKS),
                                    .drop = import->applied.items[i].drop};
    }
    rota_core_open (self->core, import->first, (rota_node_t)rota_core_count (self->core), true,
                    rota_service_now_ms (self));
    char text[300];
    source_t *source = &self->sources.items[import->source];
    snprintf (text, sizeof text, "%.200s: %llu added, %zu changed, %llu unchanged", source->name,
              (unsigned long long)import->added, import->changed.count,
              (unsigned long long)import->unchanged);
    rota_core_note (self->core, EVENT (ROADMAP_IMPORTED), text);
    self->flip = true;
}

static void answer_difference (service_t *self, const rota_envelope_t *from,
                               Rota__ImportDifference *difference)
{
    rota_import_t *import = self->import;
    difference->has_added = difference->has_changed = difference->has_unchanged = true;
    difference->has_orphaned = difference->has_pruned = difference->has_dry_run = true;
    difference->added = import->added;
    difference->changed = import->changed.count;
    difference->unchanged = import->unchanged;
    difference->dry_run = import->dry_run;
    for (size_t i = 0; i < import->changed.count; i++)
        difference->changed_ids =
            add_id (self, difference->changed_ids, &difference->n_changed_ids, import->changed.items[i].node);
    difference->added_ids =
        rota_arena_alloc (self->arena, (import->added_ids.count + 1) * sizeof *difference->added_ids);
    for (size_t i = 0; i < import->added_ids.count && difference->added_ids; i++)
        difference->added_ids[difference->n_added_ids++] = rota_bytes (import->added_ids.items[i]);
    rota_service_answer (self, from, ROTA_MESSAGE_IMPORT_DIFFERENCE, &difference->base);
}

HANDLER (import_commit)
{
    const Rota__ImportCommit *commit = (const Rota__ImportCommit *)message;
    rota_import_t *import = own_import (self, from);
    rota_define_faults_t faults = {0};
    Rota__ImportDifference difference = ROTA__IMPORT_DIFFERENCE__INIT;
    if (!import)
        return;
    size_t edges = self->edges.count;
    if (commit->has_tasks && commit->tasks != import->received)
        rota_define_fault (&faults, NULL, "%llu tasks were sent, %llu arrived",
                           (unsigned long long)commit->tasks, (unsigned long long)import->received);
    else
        check_union (self, &faults);
    if (faults.count) {
        undo_edges (self);
        self->edges.count = edges;
        rota_service_refuse_faults (self, from, &faults,
                                    "nothing was imported: the roadmap doesn't fit what is there");
        rota_import_drop (self, "it has faults");
    } else {
        if (import->prune && !import->dry_run)
            rota_service_take_checkpoint (self, "import_prune");
        find_orphans (self, &difference);
        answer_difference (self, from, &difference);
        if (import->dry_run) {
            undo_edges (self);
            self->edges.count = edges;
            rota_import_drop (self, "a dry run");
        } else {
            apply_changes (self);
            rota_service_flush (self);
        }
    }
    rota_define_faults_clear (&faults);
}
