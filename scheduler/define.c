#include "scheduler/define.h"

#include "bus/names.h"
#include "proto/words.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FAULTS 100
#define MAX_TEXT_BYTES (1u << 20)
#define MAX_LIST 1000
#define MAX_PRIORITY 1000

void rota_define_faults_clear (rota_define_faults_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free (self->faults[i]->text.data);
        free (self->faults[i]);
    }
    free (self->faults);
    *self = (rota_define_faults_t){0};
}

void rota_define_fault (rota_define_faults_t *self, const Rota__TaskSpec *spec, const char *format, ...)
{
    if (self->count >= MAX_FAULTS)
        return;
    Rota__Fault *fault = malloc (sizeof *fault);
    Rota__Fault **grown = realloc (self->faults, (self->count + 1) * sizeof *grown);
    if (grown)
        self->faults = grown;
    char *text = NULL;
    va_list args;
    va_start (args, format);
    int length = vasprintf (&text, format, args);
    va_end (args);
    if (!fault || !grown || length < 0) {
        free (fault);
        free (length < 0 ? NULL : text);
        return;
    }
    rota__fault__init (fault);
    fault->has_text = true;
    fault->text = rota_bytes_n (text, (size_t)length);
    if (spec && spec->has_line) {
        fault->has_line = fault->has_column = true;
        fault->line = spec->line;
        fault->column = spec->column;
    }
    self->faults[self->count++] = fault;
}

/* ------------------------------------------------------------------------------------------ checks */

#define SHOWN(bytes) (int)((bytes).len > 200 ? 200 : (bytes).len), (const char *)(bytes).data

static bool check_id (const Rota__TaskSpec *spec, const char *what, ProtobufCBinaryData id,
                      rota_define_faults_t *faults)
{
    const char *reason;
    if (rota_id_check ((const char *)id.data, id.len, &reason) == 0)
        return true;
    rota_define_fault (faults, spec, "%s: %s", what, reason);
    return false;
}

static bool check_text (const Rota__TaskSpec *spec, const char *what, bool has, ProtobufCBinaryData text,
                        bool lines, rota_define_faults_t *faults)
{
    if (!has || (text.len <= MAX_TEXT_BYTES && rota_text_is_valid ((const char *)text.data, text.len, lines)))
        return true;
    rota_define_fault (faults, spec, "task %.*s: its %s is %s", SHOWN (spec->id), what,
                       text.len > MAX_TEXT_BYTES ? "longer than 1 MiB" : "not valid text");
    return false;
}

static bool check_list (const Rota__TaskSpec *spec, const char *what, size_t count,
                        const ProtobufCBinaryData *items, rota_define_faults_t *faults)
{
    bool ok = count <= MAX_LIST;
    if (!ok)
        rota_define_fault (faults, spec, "task %.*s: more than %d %s", SHOWN (spec->id), MAX_LIST, what);
    for (size_t i = 0; i < count && ok; i++)
        ok = check_text (spec, what, true, items[i], false, faults);
    return ok;
}

static bool check_ranges (const Rota__TaskSpec *spec, rota_define_faults_t *faults)
{
    const char *wrong = NULL;
    if (spec->has_complexity && (spec->complexity < 1 || spec->complexity > 10))
        wrong = "complexity must be 1 to 10";
    else if (spec->has_priority && (spec->priority < -MAX_PRIORITY || spec->priority > MAX_PRIORITY))
        wrong = "priority must be -1000 to 1000";
    else if (spec->has_attempts && (spec->attempts < 1 || spec->attempts > 100))
        wrong = "attempts must be 1 to 100";
    else if (spec->has_status && (spec->status < STATUS (PENDING) || spec->status > STATUS (CANCELLED)))
        wrong = "its status is not one of ours";
    else if (spec->has_kind && (spec->kind < NODE (TASK) || spec->kind > NODE (MILESTONE)))
        wrong = "its kind is not one of ours";
    else if (spec->n_dependencies > 100000)
        wrong = "more than 100000 dependencies";
    if (wrong)
        rota_define_fault (faults, spec, "task %.*s: %s", SHOWN (spec->id), wrong);
    return !wrong;
}

bool rota_define_check (const Rota__TaskSpec *spec, rota_define_faults_t *faults)
{
    if (!check_id (spec, "the id of a task", spec->id, faults))
        return false;
    bool ok = check_ranges (spec, faults);
    ok &= !spec->has_epic || check_id (spec, "the epic's id", spec->epic, faults);
    ok &= !spec->has_milestone || check_id (spec, "the milestone's id", spec->milestone, faults);
    ok &= check_text (spec, "title", spec->has_title, spec->title, false, faults);
    ok &= check_text (spec, "description", spec->has_description, spec->description, true, faults);
    ok &= check_text (spec, "command", spec->has_run, spec->run, true, faults);
    ok &= check_text (spec, "prompt", spec->has_prompt, spec->prompt, true, faults);
    ok &= check_text (spec, "agent", spec->has_agent, spec->agent, false, faults);
    ok &= check_text (spec, "extra", spec->has_extra, spec->extra, true, faults);
    ok &= check_text (spec, "directory", spec->has_directory, spec->directory, false, faults);
    ok &= check_list (spec, "capabilities", spec->n_capabilities, spec->capabilities, faults);
    ok &= check_list (spec, "labels", spec->n_labels, spec->labels, faults);
    ok &= check_list (spec, "touches", spec->n_touches, spec->touches, faults);
    for (size_t i = 0; i < spec->n_dependencies && ok; i++)
        ok = check_id (spec, "the id in a dependency", spec->dependencies[i]->on, faults);
    return ok;
}

static bool is_task (const Rota__TaskSpec *spec)
{
    return !spec->has_kind || spec->kind == NODE (TASK);
}

bool rota_define_parent (const rota_core_t *core, const Rota__TaskSpec *spec, rota_node_t *ret_parent,
                         rota_define_faults_t *faults)
{
    rota_core_node_t group;
    *ret_parent = ROTA_NONE;
    if (!spec->has_epic)
        return true;
    rota_node_t epic = rota_core_find (core, (const char *)spec->epic.data, spec->epic.len);
    if (!rota_core_get (core, epic, &group) || group.kind != NODE (EPIC)) {
        rota_define_fault (faults, spec, "task %.*s: there is no epic %.*s", SHOWN (spec->id),
                           SHOWN (spec->epic));
        return false;
    }
    *ret_parent = epic;
    if (!spec->has_milestone || !is_task (spec))
        return true;
    *ret_parent =
        rota_core_find_milestone (core, epic, (const char *)spec->milestone.data, spec->milestone.len);
    if (*ret_parent != ROTA_NONE)
        return true;
    rota_define_fault (faults, spec, "task %.*s: there is no milestone %.*s in epic %.*s", SHOWN (spec->id),
                       SHOWN (spec->milestone), SHOWN (spec->epic));
    return false;
}

/* ------------------------------------------------------------------------------------------ nodes */

/* A prompt whose answer alone is wanted: who can't change files may take it. */
static bool wants_text (const Rota__TaskSpec *spec)
{
    for (size_t i = 0; i < spec->n_capabilities; i++)
        if (spec->capabilities[i].len == 4 && memcmp (spec->capabilities[i].data, "text", 4) == 0)
            return true;
    return false;
}

int rota_define_class (rota_core_t *core, uint32_t source, const Rota__TaskSpec *spec, uint32_t *ret_class,
                       bool *ret_new)
{
    char *names[MAX_LIST + 1];
    size_t count = 0;
    int r = -ENOMEM;
    if (!is_task (spec)) {
        *ret_class = 0;
        *ret_new = false;
        return 0;
    }
    if ((names[count] = strdup (spec->has_run ? "run" : wants_text (spec) ? "text" : "prompt")))
        count++;
    for (size_t i = 0; i < spec->n_capabilities && count == i + 1; i++)
        if ((names[count] = strndup ((const char *)spec->capabilities[i].data, spec->capabilities[i].len)))
            count++;
    if (count == spec->n_capabilities + 1)
        r = rota_core_class (core, source, (const char *)spec->agent.data, spec->agent.len,
                             (const char *const *)names, count, ret_class, ret_new);
    while (count)
        free (names[--count]);
    return r;
}

static bool says (ProtobufCBinaryData bytes, const char *text)
{
    return bytes.len == strlen (text) && memcmp (bytes.data, text, bytes.len) == 0;
}

/* Exit criteria that a machine can look at; a plain sentence is for people. */
static bool has_checks (const Rota__TaskSpec *spec)
{
    static const char *const KINDS[] = {"critic", "test", "run", "doc", "artifact", "diff"};
    for (size_t i = 0; i < spec->n_exit_criteria; i++)
        for (size_t k = 0; k < sizeof KINDS / sizeof KINDS[0]; k++)
            if (spec->exit_criteria[i]->has_kind && says (spec->exit_criteria[i]->kind, KINDS[k]))
                return true;
    return spec->n_gates > 0;
}

/* A command that only looks runs in a clone too; what it writes there is dropped unless it says `commit`. */
static uint8_t review_of (const Rota__TaskSpec *spec)
{
    if (spec->has_review && says (spec->review, "other-kind"))
        return ROTA_WANTS_REVIEW | ROTA_WANTS_OTHER_KIND;
    return spec->has_review && says (spec->review, "true") ? ROTA_WANTS_REVIEW : 0;
}

/* Without a clone it is the agent's answer that is judged; a command has none. */
static uint8_t wants_of (const rota_define_source_t *source, const Rota__TaskSpec *spec)
{
    if (!source->repository || wants_text (spec) || (spec->has_workdir && says (spec->workdir, "here")))
        return spec->has_run ? 0 : review_of (spec);
    if (spec->has_run && !spec->commit)
        return ROTA_WANTS_CLONE;
    uint8_t wants = ROTA_WANTS_CLONE | ROTA_WANTS_MERGE;
    if (has_checks (spec))
        wants |= ROTA_WANTS_GATE;
    return wants | review_of (spec);
}

/* What runs in a file has no agent here yet; what is in review there has no reviewer. */
static Rota__TaskStatus first_status (const Rota__TaskSpec *spec)
{
    Rota__TaskStatus status = spec->has_status ? spec->status : STATUS (PENDING);
    if (status == STATUS (IN_PROGRESS))
        return STATUS (PENDING);
    return status == STATUS (IN_REVIEW) ? STATUS (NEEDS_REVIEW) : status;
}

void rota_define_node (const rota_define_source_t *source, const Rota__TaskSpec *spec, uint32_t class_index,
                       rota_core_node_t *ret_node)
{
    bool task = is_task (spec);
    *ret_node = (rota_core_node_t){
        .id = (const char *)spec->id.data,
        .id_length = spec->id.len,
        .kind = spec->has_kind ? spec->kind : NODE (TASK),
        .parent = ROTA_NONE,
        .source = source->source,
        .class_index = class_index,
        .status = task ? first_status (spec) : 0,
        .priority = spec->priority,
        .complexity = spec->complexity,
        .attempts_allowed = !task                ? 0
                            : spec->has_attempts ? spec->attempts
                                                 : source->default_attempts,
        .wants = task ? wants_of (source, spec) : 0,
        .approval = spec->approval,
        .approval_of_group = !spec->has_approval,
        .agent = ROTA_NONE,
        .author = ROTA_NONE,
        .not_before_ms = spec->has_not_before_ms ? spec->not_before_ms : 0,
    };
}

int rota_define_add (rota_core_t *core, const rota_define_source_t *source, const Rota__TaskSpec *spec,
                     rota_node_t parent, uint32_t class_index, int64_t now_ms, rota_node_t *ret_node)
{
    rota_core_node_t node;
    rota_define_node (source, spec, class_index, &node);
    node.parent = parent;
    node.ready_since_ms = now_ms;
    if (node.status == STATUS (BLOCKED)) {
        node.blocked = CAUSE (IMPORT);
        node.reason = "blocked in the roadmap";
        node.reason_length = strlen (node.reason);
    }
    return rota_core_add (core, &node, ret_node);
}

rota_node_t rota_define_resolve (const rota_core_t *core, const Rota__TaskSpec *spec,
                                 const Rota__Dependency *dependency, bool *ret_ambiguous)
{
    const char *id = (const char *)dependency->on.data;
    size_t length = dependency->on.len;
    *ret_ambiguous = false;
    if (dependency->has_epic) {
        rota_node_t epic = rota_core_find (core, (const char *)dependency->epic.data, dependency->epic.len);
        return epic == ROTA_NONE ? ROTA_NONE : rota_core_find_milestone (core, epic, id, length);
    }
    rota_node_t found = rota_core_find (core, id, length);
    if (found != ROTA_NONE)
        return found;
    size_t count = rota_core_find_milestones (core, id, length, &found);
    if (count > 1 && spec->has_epic) {
        /* The one beside it is meant. */
        rota_node_t epic = rota_core_find (core, (const char *)spec->epic.data, spec->epic.len);
        rota_node_t near = epic == ROTA_NONE ? ROTA_NONE : rota_core_find_milestone (core, epic, id, length);
        if (near != ROTA_NONE)
            return near;
    }
    *ret_ambiguous = count > 1;
    return count == 1 ? found : ROTA_NONE;
}

/* --------------------------------------------------------------------------------------- packing */

int rota_define_pack (const Rota__TaskSpec *spec, rota_definition_t *ret_definition, uint8_t **ret_buffer)
{
    Rota__TaskSpec bare = *spec;
    bare.has_id = bare.has_title = bare.has_status = bare.has_line = bare.has_column = false;
    Rota__Dependency *copies = calloc (spec->n_dependencies + 1, sizeof *copies);
    Rota__Dependency **list = calloc (spec->n_dependencies + 1, sizeof (Rota__Dependency *));
    int r = copies && list ? 0 : -ENOMEM;
    for (size_t i = 0; i < spec->n_dependencies && r == 0; i++) {
        copies[i] = *spec->dependencies[i];
        copies[i].has_line = copies[i].has_column = false;
        list[i] = &copies[i];
    }
    bare.dependencies = list;
    size_t size = r == 0 ? rota__task_spec__get_packed_size (&bare) : 0;
    uint8_t *buffer = r == 0 ? malloc (size + 1) : NULL;
    if (buffer) {
        rota__task_spec__pack (&bare, buffer);
        *ret_buffer = buffer;
        *ret_definition = (rota_definition_t){
            .title = (const char *)spec->title.data,
            .title_length = spec->has_title ? spec->title.len : 0,
            .spec = buffer,
            .spec_size = size,
        };
    }
    free (copies);
    free (list);
    return buffer ? 0 : -ENOMEM;
}

static bool equal (const void *a, size_t a_size, const void *b, size_t b_size)
{
    return a_size == b_size && (!a_size || memcmp (a, b, a_size) == 0);
}

bool rota_define_is_stored (rota_store_t *store, rota_node_t node, const Rota__TaskSpec *spec)
{
    rota_definition_t there, given;
    uint8_t *buffer;
    if (rota_store_definition (store, node, &there) < 0 || rota_define_pack (spec, &given, &buffer) < 0)
        return false;
    bool same = equal (there.spec, there.spec_size, given.spec, given.spec_size) &&
                equal (there.title, there.title_length, given.title, given.title_length);
    free (buffer);
    return same;
}

/* Fields of a protobuf message may come in any order and in pieces: id and title are put before the rest. */
int rota_define_unpack (const rota_core_t *core, rota_node_t node, const rota_definition_t *definition,
                        uint8_t **ret_bytes, size_t *ret_size)
{
    rota_core_node_t it;
    if (!rota_core_get (core, node, &it))
        return -ENOENT;
    Rota__TaskSpec head = ROTA__TASK_SPEC__INIT;
    head.has_id = true;
    head.id = rota_bytes_n (it.id, it.id_length);
    head.has_title = definition->title_length > 0;
    head.title = rota_bytes_n (definition->title, definition->title_length);
    size_t head_size = rota__task_spec__get_packed_size (&head);
    uint8_t *bytes = malloc (head_size + definition->spec_size + 1);
    if (!bytes)
        return -ENOMEM;
    rota__task_spec__pack (&head, bytes);
    if (definition->spec_size)
        memcpy (bytes + head_size, definition->spec, definition->spec_size);
    *ret_bytes = bytes;
    *ret_size = head_size + definition->spec_size;
    return 0;
}
