/* Definitions to YAML, in a form that is the same for the same definitions. */
#include "bus/clock.h"
#include "bus/names.h"
#include "bus/units.h"
#include "proto/words.h"
#include "scheduler/roadmap.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define NONE UINT32_MAX

/* An epic or a milestone with what lies in it: indices into the specs, as chains. */
typedef struct {
    ProtobufCBinaryData epic, milestone; /* milestone.data NULL: it is an epic */
    const Rota__TaskSpec *spec;          /* NULL when only its members name it */
    uint32_t first_task, last_task;
    uint32_t first_milestone, last_milestone; /* of an epic: indices into groups */
    uint32_t next;                            /* group of the same kind and epic */
} group_t;

typedef struct {
    yaml_emitter_t emitter;
    FILE *stream;
    bool failed;
    Rota__TaskSpec *const *specs;
    size_t count;
    uint32_t *next_task; /* of each spec */
    group_t *groups;
    size_t group_count;
    uint32_t *slots; /* groups by id: index plus one */
    size_t mask;
    uint32_t first_epic, last_epic, first_task, last_task;
    ProtobufCBinaryData directory; /* that all tasks share; data NULL: none */
} writer_t;

/* ---- YAML, a node at a time; after the first failure nothing more is done */

static void emit (writer_t *self, yaml_event_t *event, int initialized)
{
    if (!initialized || self->failed) {
        if (initialized)
            yaml_event_delete (event);
        self->failed = true;
        return;
    }
    if (!yaml_emitter_emit (&self->emitter, event))
        self->failed = true;
}

static void open_mapping (writer_t *self)
{
    yaml_event_t event;
    emit (self, &event,
          yaml_mapping_start_event_initialize (&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));
}

static void close_mapping (writer_t *self)
{
    yaml_event_t event;
    emit (self, &event, yaml_mapping_end_event_initialize (&event));
}

static void open_list (writer_t *self, bool flow)
{
    yaml_event_t event;
    yaml_sequence_style_t style = flow ? YAML_FLOW_SEQUENCE_STYLE : YAML_BLOCK_SEQUENCE_STYLE;
    emit (self, &event, yaml_sequence_start_event_initialize (&event, NULL, NULL, 1, style));
}

static void close_list (writer_t *self)
{
    yaml_event_t event;
    emit (self, &event, yaml_sequence_end_event_initialize (&event));
}

static void put_scalar (writer_t *self, const void *text, size_t length, yaml_scalar_style_t style)
{
    yaml_event_t event;
    if (length > INT32_MAX) {
        self->failed = true;
        return;
    }
    emit (self, &event,
          yaml_scalar_event_initialize (&event, NULL, NULL,
                                        length ? (const yaml_char_t *)text : (const yaml_char_t *)"",
                                        (int)length, 1, 1, style));
}

/* Text that some YAML reader takes for null, a truth value, a number or a time when it stands there plain. */
static bool looks_typed (const char *text, size_t length)
{
    static const char *const WORDS[] = {"null", "true", "false", "yes", "no", "on",
                                        "off",  "y",    "n",     "~",   "=",  "<<"};
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
        if (strlen (WORDS[i]) == length && !strncasecmp (WORDS[i], text, length))
            return true;
    if (!length || !strchr ("0123456789+-.", text[0]))
        return length == 0;
    for (size_t i = 0; i < length; i++)
        if (!strchr ("0123456789abcdefABCDEFxXoO_+-.:tTzZinINyY ", text[i]))
            return false;
    return true;
}

/* A block text, `|`, where it comes back the same: lines without odd characters or blanks at their ends. */
static bool suits_block (const char *text, size_t length)
{
    if (!length || !memchr (text, '\n', length) || strchr (" \t\n", text[0]) || text[length - 1] == ' ')
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i], next = i + 1 < length ? (unsigned char)text[i + 1] : 0;
        if (c < 0x20 && c != '\n')
            return false;
        if (c == 0xC2 && next < 0xA1)
            return false; /* NEL and other control characters */
        if (c == 0xE2 && next == 0x80)
            if (i + 2 < length && ((unsigned char)text[i + 2] & 0xFE) == 0xA8)
                return false; /* line and paragraph separator */
        if (c == '\n' && i > 0 && (text[i - 1] == ' ' || (text[i - 1] == '\n' && i + 1 == length)))
            return false;
    }
    return true;
}

static void put_text (writer_t *self, const ProtobufCBinaryData *bytes)
{
    const char *text = (const char *)bytes->data;
    yaml_scalar_style_t style = YAML_PLAIN_SCALAR_STYLE;
    if (suits_block (text, bytes->len))
        style = YAML_LITERAL_SCALAR_STYLE;
    else if (looks_typed (text, bytes->len) || memchr (text, '\n', bytes->len))
        style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;
    put_scalar (self, text, bytes->len, style);
}

/* A word that means a value, or a key of ours. */
static void put_word (writer_t *self, const char *word)
{
    put_scalar (self, word, strlen (word), YAML_PLAIN_SCALAR_STYLE);
}

static void put_text_pair (writer_t *self, const char *key, protobuf_c_boolean has,
                           const ProtobufCBinaryData *value)
{
    if (!has)
        return;
    put_word (self, key);
    put_text (self, value);
}

__attribute__ ((format (printf, 3, 4))) static void put_pair (writer_t *self, const char *key,
                                                              const char *format, ...)
{
    char text[64];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    put_word (self, key);
    put_word (self, text);
}

static void put_duration (writer_t *self, const char *key, protobuf_c_boolean has, uint32_t ms)
{
    char text[ROTA_UNITS_BYTES];
    rota_duration_write (ms, text);
    if (has)
        put_pair (self, key, "%s", text);
}

static void put_names (writer_t *self, const char *key, size_t count, const ProtobufCBinaryData *names)
{
    if (!count)
        return;
    put_word (self, key);
    open_list (self, true);
    for (size_t i = 0; i < count; i++)
        put_text (self, &names[i]);
    close_list (self);
}

/* ---- the parts of a definition */

static void put_dependency (writer_t *self, const Rota__Dependency *dependency)
{
    static const char *const TYPES[] = {"", "blocks", "related", "suggested"};
    if (!dependency->has_type && !dependency->has_epic) {
        put_text (self, &dependency->on);
        return;
    }
    open_mapping (self);
    put_text_pair (self, dependency->has_epic ? "milestone" : "id", true, &dependency->on);
    put_text_pair (self, "epic", dependency->has_epic, &dependency->epic);
    if (dependency->has_type && dependency->type >= DEPENDENCY (BLOCKS) &&
        dependency->type <= DEPENDENCY (SUGGESTED))
        put_pair (self, "type", "%s", TYPES[dependency->type]);
    close_mapping (self);
}

static void put_dependencies (writer_t *self, const Rota__TaskSpec *spec)
{
    if (!spec->n_dependencies)
        return;
    bool flow = true;
    for (size_t i = 0; i < spec->n_dependencies; i++)
        flow &= !spec->dependencies[i]->has_type && !spec->dependencies[i]->has_epic;
    put_word (self, "dependencies");
    open_list (self, flow);
    for (size_t i = 0; i < spec->n_dependencies; i++)
        put_dependency (self, spec->dependencies[i]);
    close_list (self);
}

static void put_criteria (writer_t *self, const Rota__TaskSpec *spec)
{
    if (!spec->n_exit_criteria)
        return;
    put_word (self, "exit_criteria");
    open_list (self, false);
    for (size_t i = 0; i < spec->n_exit_criteria; i++) {
        const Rota__Criterion *criterion = spec->exit_criteria[i];
        if (!criterion->has_kind) {
            put_text (self, &criterion->value);
            continue;
        }
        open_mapping (self);
        put_text (self, &criterion->kind);
        put_text (self, &criterion->value);
        close_mapping (self);
    }
    close_list (self);
}

static void put_json (writer_t *self, json_t *value)
{
    size_t i;
    json_t *item;
    const char *key;
    char *number;
    ProtobufCBinaryData text;
    switch (json_typeof (value)) {
    case JSON_OBJECT:
        open_mapping (self);
        json_object_foreach (value, key, item)
        {
            text = rota_bytes (key);
            put_text (self, &text);
            put_json (self, item);
        }
        close_mapping (self);
        return;
    case JSON_ARRAY:
        open_list (self, false);
        json_array_foreach (value, i, item) put_json (self, item);
        close_list (self);
        return;
    case JSON_STRING:
        text = rota_bytes_n (json_string_value (value), json_string_length (value));
        put_text (self, &text);
        return;
    default: /* null, numbers and truth values are written as in YAML */
        number = json_dumps (value, JSON_ENCODE_ANY | JSON_REAL_PRECISION (17));
        put_word (self, number ? number : "null");
        self->failed |= !number;
        free (number);
    }
}

static void put_extra (writer_t *self, const Rota__TaskSpec *spec)
{
    if (!spec->has_extra || !spec->extra.len)
        return;
    json_t *extra = json_loadb ((const char *)spec->extra.data, spec->extra.len, 0, NULL);
    const char *key;
    json_t *value;
    if (json_is_object (extra))
        json_object_foreach (extra, key, value)
        {
            ProtobufCBinaryData text = rota_bytes (key);
            put_text (self, &text);
            put_json (self, value);
        }
    json_decref (extra);
}

static void put_priority (writer_t *self, const Rota__TaskSpec *spec)
{
    static const struct {
        int32_t priority;
        const char *word;
    } WORDS[] = {{100, "critical"}, {50, "high"}, {0, "normal"}, {-50, "low"}};
    if (!spec->has_priority)
        return;
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
        if (WORDS[i].priority == spec->priority) {
            put_pair (self, "priority", "%s", WORDS[i].word);
            return;
        }
    put_pair (self, "priority", "%d", spec->priority);
}

static void put_number (writer_t *self, const char *key, double number)
{
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf (text, sizeof text, "%.*g", digits, number);
        if (strtod (text, NULL) == number)
            break;
    }
    put_pair (self, key, "%s", text);
}

/* A prompt that begins with @ would name a file. */
static void put_prompt (writer_t *self, const Rota__TaskSpec *spec)
{
    if (!spec->has_prompt)
        return;
    put_word (self, "prompt");
    if (!spec->prompt.len || spec->prompt.data[0] != '@') {
        put_text (self, &spec->prompt);
        return;
    }
    char *escaped = malloc (spec->prompt.len + 1);
    if (!escaped) {
        self->failed = true;
        return;
    }
    escaped[0] = '@';
    memcpy (escaped + 1, spec->prompt.data, spec->prompt.len);
    ProtobufCBinaryData text = rota_bytes_n (escaped, spec->prompt.len + 1);
    put_text (self, &text);
    free (escaped);
}

static bool same (const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
    return a->len == b->len && (!a->len || !memcmp (a->data, b->data, a->len));
}

static void put_how (writer_t *self, const Rota__TaskSpec *spec)
{
    put_text_pair (self, "run", spec->has_run, &spec->run);
    put_prompt (self, spec);
    put_text_pair (self, "agent", spec->has_agent, &spec->agent);
    if (spec->has_attempts)
        put_pair (self, "attempts", "%u", spec->attempts);
    put_duration (self, "timeout", spec->has_timeout_ms, spec->timeout_ms);
    put_duration (self, "silence", spec->has_silence_ms, spec->silence_ms);
    put_names (self, "touches", spec->n_touches, spec->touches);
    put_names (self, "capabilities", spec->n_capabilities, spec->capabilities);
    if (spec->has_review) {
        put_word (self, "review");
        put_scalar (self, spec->review.data, spec->review.len, YAML_PLAIN_SCALAR_STYLE);
    }
    put_names (self, "gates", spec->n_gates, spec->gates);
    put_text_pair (self, "profile", spec->has_profile, &spec->profile);
    put_text_pair (self, "workdir", spec->has_workdir, &spec->workdir);
    if (spec->has_commit)
        put_pair (self, "commit", "%s", spec->commit ? "true" : "false");
    if (spec->has_not_before_ms) {
        char time[ROTA_CLOCK_ISO_BYTES];
        rota_clock_iso (spec->not_before_ms, time);
        put_pair (self, "not_before", "%s", time);
    }
    if (spec->has_directory && !(self->directory.data && same (&spec->directory, &self->directory)))
        put_text_pair (self, "directory", true, &spec->directory);
}

/* All but the lists of a group. */
static void put_spec (writer_t *self, const Rota__TaskSpec *spec)
{
    static const char *const TYPES[] = {"", "task", "bug", "story"};
    bool is_task = spec->kind == NODE (TASK) || !spec->has_kind;
    put_text_pair (self, "id", true, &spec->id);
    put_text_pair (self, "title", spec->has_title && spec->title.len, &spec->title);
    put_text_pair (self, "description", spec->has_description, &spec->description);
    if (spec->has_type && spec->type >= ROTA__TASK_TYPE__TASK_TYPE_TASK &&
        spec->type <= ROTA__TASK_TYPE__TASK_TYPE_STORY)
        put_pair (self, "type", "%s", TYPES[spec->type]);
    if (spec->has_status && (is_task || spec->status == STATUS (BLOCKED)))
        put_pair (self, "status", "%s", rota_status_name (spec->status));
    put_priority (self, spec);
    if (spec->has_complexity)
        put_pair (self, "complexity", "%u", spec->complexity);
    if (spec->has_estimate_hours)
        put_number (self, "estimate_hours", spec->estimate_hours);
    put_names (self, "labels", spec->n_labels, spec->labels);
    put_dependencies (self, spec);
    put_criteria (self, spec);
    if (spec->has_approval)
        put_pair (self, "approval", "%s", spec->approval ? "required" : "false");
    if (is_task)
        put_how (self, spec);
    put_extra (self, spec);
}

/* ---- who lies in what */

static size_t slot_of (const writer_t *self, const ProtobufCBinaryData *epic,
                       const ProtobufCBinaryData *milestone)
{
    uint64_t hash = rota_hash (epic->data, epic->len);
    if (milestone)
        hash = hash * 31 + rota_hash (milestone->data, milestone->len) + 1;
    size_t slot = hash & self->mask;
    for (; self->slots[slot]; slot = (slot + 1) & self->mask) {
        const group_t *group = &self->groups[self->slots[slot] - 1];
        if (!milestone == !group->milestone.data && same (&group->epic, epic) &&
            (!milestone || same (&group->milestone, milestone)))
            break;
    }
    return slot;
}

/* `last_next` is where the item that is last now names its successor; NULL when the chain is empty. */
static void chain (uint32_t *first, uint32_t *last, uint32_t *last_next, uint32_t item)
{
    if (last_next)
        *last_next = item;
    else
        *first = item;
    *last = item;
}

/* The group with this id, made where it isn't there; an epic before its milestones. */
static uint32_t find_group (writer_t *self, const ProtobufCBinaryData *epic,
                            const ProtobufCBinaryData *milestone)
{
    uint32_t parent = milestone ? find_group (self, epic, NULL) : NONE;
    size_t slot = slot_of (self, epic, milestone);
    if (self->slots[slot])
        return self->slots[slot] - 1;
    uint32_t index = (uint32_t)self->group_count++;
    self->slots[slot] = index + 1;
    group_t *group = &self->groups[index];
    *group = (group_t){.epic = *epic,
                       .first_task = NONE,
                       .last_task = NONE,
                       .first_milestone = NONE,
                       .last_milestone = NONE,
                       .next = NONE};
    if (milestone) {
        group_t *in = &self->groups[parent];
        group->milestone = *milestone;
        chain (&in->first_milestone, &in->last_milestone,
               in->last_milestone == NONE ? NULL : &self->groups[in->last_milestone].next, index);
    } else {
        chain (&self->first_epic, &self->last_epic,
               self->last_epic == NONE ? NULL : &self->groups[self->last_epic].next, index);
    }
    return index;
}

static void place_task (writer_t *self, uint32_t i)
{
    const Rota__TaskSpec *spec = self->specs[i];
    uint32_t *first = &self->first_task, *last = &self->last_task;
    if (spec->has_epic) {
        uint32_t group = find_group (self, &spec->epic, spec->has_milestone ? &spec->milestone : NULL);
        first = &self->groups[group].first_task;
        last = &self->groups[group].last_task;
    }
    chain (first, last, *last == NONE ? NULL : &self->next_task[*last], i);
}

/* Groups first, so that they keep their order, then tasks. */
static int place_all (writer_t *self)
{
    size_t capacity = 16;
    while (capacity < self->count * 4) /* each may name an epic and a milestone of its own */
        capacity *= 2;
    self->mask = capacity - 1;
    self->slots = calloc (capacity, sizeof (uint32_t));
    self->next_task = malloc ((self->count + 1) * sizeof (uint32_t));
    self->groups = calloc (self->count * 2 + 1, sizeof (group_t));
    if (!self->slots || !self->next_task || !self->groups)
        return -ENOMEM;
    memset (self->next_task, 0xFF, (self->count + 1) * sizeof (uint32_t));
    for (size_t i = 0; i < self->count; i++) {
        const Rota__TaskSpec *spec = self->specs[i];
        if (spec->kind == NODE (EPIC))
            self->groups[find_group (self, &spec->id, NULL)].spec = spec;
        else if (spec->kind == NODE (MILESTONE))
            self->groups[find_group (self, &spec->epic, &spec->id)].spec = spec;
    }
    bool shared = true;
    for (size_t i = 0; i < self->count; i++) {
        const Rota__TaskSpec *spec = self->specs[i];
        if (spec->kind == NODE (EPIC) || spec->kind == NODE (MILESTONE))
            continue;
        place_task (self, (uint32_t)i);
        if (!self->directory.data)
            self->directory = spec->directory;
        shared &= spec->has_directory && same (&spec->directory, &self->directory);
    }
    if (!shared)
        self->directory = (ProtobufCBinaryData){0};
    return 0;
}

/* ---- the file */

static void put_tasks (writer_t *self, uint32_t first)
{
    if (first == NONE)
        return;
    put_word (self, "tasks");
    open_list (self, false);
    for (uint32_t i = first; i != NONE; i = self->next_task[i]) {
        open_mapping (self);
        put_spec (self, self->specs[i]);
        close_mapping (self);
    }
    close_list (self);
}

static void put_groups (writer_t *self, const char *key, uint32_t first)
{
    if (first == NONE)
        return;
    put_word (self, key);
    open_list (self, false);
    for (uint32_t i = first; i != NONE; i = self->groups[i].next) {
        const group_t *group = &self->groups[i];
        open_mapping (self);
        if (group->spec)
            put_spec (self, group->spec);
        else
            put_text_pair (self, "id", true, group->milestone.data ? &group->milestone : &group->epic);
        put_tasks (self, group->first_task);
        put_groups (self, "milestones", group->first_milestone);
        close_mapping (self);
    }
    close_list (self);
}

static void put_profiles (writer_t *self, const Rota__Gate *gate)
{
    if (!gate->n_profiles)
        return;
    put_word (self, "profiles");
    open_mapping (self);
    for (size_t i = 0; i < gate->n_profiles; i++) {
        put_text (self, &gate->profiles[i]->name);
        if (gate->profiles[i]->has_command)
            put_text (self, &gate->profiles[i]->command);
        else
            put_word (self, "null");
    }
    close_mapping (self);
}

static void put_gates (writer_t *self, const Rota__RoadmapHeader *header)
{
    if (!header->n_gates)
        return;
    put_word (self, "gates");
    open_mapping (self);
    for (size_t i = 0; i < header->n_gates; i++) {
        const Rota__Gate *gate = header->gates[i];
        put_text (self, &gate->name);
        if (!gate->has_timeout_ms && !gate->n_profiles) {
            put_text (self, &gate->command);
            continue;
        }
        open_mapping (self);
        put_text_pair (self, "run", gate->has_command, &gate->command);
        put_duration (self, "timeout", gate->has_timeout_ms, gate->timeout_ms);
        put_profiles (self, gate);
        close_mapping (self);
    }
    close_mapping (self);
}

static void put_setup (writer_t *self, const Rota__RoadmapHeader *header)
{
    if (!header->n_setup_needs && !header->n_setup_makes) {
        put_text_pair (self, "setup", header->has_setup, &header->setup);
        return;
    }
    put_word (self, "setup");
    open_mapping (self);
    put_text_pair (self, "run", header->has_setup, &header->setup);
    put_names (self, "needs", header->n_setup_needs, header->setup_needs);
    put_names (self, "makes", header->n_setup_makes, header->setup_makes);
    close_mapping (self);
}

static void put_file (writer_t *self, const Rota__RoadmapHeader *header)
{
    yaml_event_t event;
    emit (self, &event, yaml_stream_start_event_initialize (&event, YAML_UTF8_ENCODING));
    emit (self, &event, yaml_document_start_event_initialize (&event, NULL, NULL, NULL, 1));
    open_mapping (self);
    if (header) {
        put_text_pair (self, "name", header->has_source, &header->source);
        put_text_pair (self, "repository", header->has_repository, &header->repository);
        put_setup (self, header);
        put_text_pair (self, "target", header->has_target, &header->target);
        if (header->has_wip_limit && header->wip_limit)
            put_pair (self, "wip", "%u", header->wip_limit);
        put_names (self, "agents", header->n_agents, header->agents);
        put_text_pair (self, "claims", header->has_claims, &header->claims);
    }
    put_text_pair (self, "directory", self->directory.data != NULL, &self->directory);
    if (header)
        put_gates (self, header);
    put_groups (self, "epics", self->first_epic);
    put_tasks (self, self->first_task);
    close_mapping (self);
    emit (self, &event, yaml_document_end_event_initialize (&event, 1));
    emit (self, &event, yaml_stream_end_event_initialize (&event));
}

static int write_bytes (void *stream, unsigned char *bytes, size_t size)
{
    return fwrite (bytes, 1, size, stream) == size;
}

int rota_roadmap_write (FILE *stream, const Rota__RoadmapHeader *header, Rota__TaskSpec *const *specs,
                        size_t count)
{
    writer_t self = {.stream = stream,
                     .specs = specs,
                     .count = count,
                     .first_epic = NONE,
                     .last_epic = NONE,
                     .first_task = NONE,
                     .last_task = NONE};
    int rc = place_all (&self);
    if (rc == 0 && yaml_emitter_initialize (&self.emitter)) {
        yaml_emitter_set_output (&self.emitter, write_bytes, stream);
        yaml_emitter_set_unicode (&self.emitter, 1);
        yaml_emitter_set_width (&self.emitter, -1);
        put_file (&self, header);
        yaml_emitter_delete (&self.emitter);
        rc = self.failed ? -EIO : 0;
    } else if (rc == 0) {
        rc = -ENOMEM;
    }
    free (self.slots);
    free (self.next_task);
    free (self.groups);
    if (rc == 0 && (fflush (stream) != 0 || ferror (stream)))
        rc = -EIO;
    return rc;
}
