/* The shape of a roadmap file: its head, epics, milestones and lists of tasks. */
#include "scheduler/roadmap_internal.h"

#include <stdlib.h>
#include <string.h>

#define MAX_AGENTS 64
#define MAX_GATES 256
#define MAX_SETUP_PATHS 64
#define MAX_GATE_TIMEOUT_MS (INT64_C (30) * 86400000)

static void report_error (void *owner, uint32_t line, uint32_t column, const char *text)
{
    rota_roadmap_fault (owner, ROTA_FAULT_ERROR, line, column, "%s", text);
}

/* Reads the definition, which lies in `group` (or NULL), and puts it into `list`. Returns its index there, or
 * NONE when it has no usable id. */
static uint32_t read_spec (rota_roadmap_reader_t *reader, const rota_yaml_node_t *node, unsigned where,
                           rota_roadmap_list_t *list, uint32_t parent, const Rota__TaskSpec *group,
                           Rota__TaskSpec **ret_spec)
{
    const char *what = where == ROTA_ROADMAP_IN_TASK   ? "a task"
                       : where == ROTA_ROADMAP_IN_EPIC ? "an epic"
                                                       : "a milestone";
    rota_roadmap_target_t target = {.reader = reader, .sink = {report_error, reader}, .where = where};
    *ret_spec = NULL;
    if (!rota_yaml_mapping (node, what, &target.sink))
        return ROTA_ROADMAP_NONE;
    Rota__TaskSpec *spec = target.spec = rota_roadmap_alloc (reader, sizeof *spec);
    if (!spec)
        return ROTA_ROADMAP_NONE;
    *ret_spec = spec;
    rota__task_spec__init (spec);
    spec->has_kind = spec->has_line = spec->has_column = true;
    spec->kind = where == ROTA_ROADMAP_IN_TASK   ? NODE (TASK)
                 : where == ROTA_ROADMAP_IN_EPIC ? NODE (EPIC)
                                                 : NODE (MILESTONE);
    spec->line = node->line;
    spec->column = node->column;
    rota_roadmap_read_keys (&target, node);
    if (group)
        rota_roadmap_inherit (&target, group);
    if (where == ROTA_ROADMAP_IN_TASK)
        rota_roadmap_apply_defaults (&target);
    rota_roadmap_finish_extra (&target);
    if (!target.id)
        rota_yaml_fault (&target.sink, node, "%s needs an id", what);
    if (!spec->has_id)
        return ROTA_ROADMAP_NONE;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        rota_roadmap_entry_t *entries = realloc (list->entries, capacity * sizeof *entries);
        if (!entries) {
            reader->no_memory = true;
            return ROTA_ROADMAP_NONE;
        }
        list->entries = entries;
        list->capacity = capacity;
    }
    list->entries[list->count] = (rota_roadmap_entry_t){spec, parent};
    return (uint32_t)list->count++;
}

static bool too_many (rota_roadmap_reader_t *self, const rota_yaml_node_t *at)
{
    if (self->epics.count + self->milestones.count + self->tasks.count < ROTA_ROADMAP_MAX_SPECS)
        return false;
    rota_roadmap_fault (self, ROTA_FAULT_ERROR, at->line, at->column,
                        "more than %u epics, milestones and tasks", ROTA_ROADMAP_MAX_SPECS);
    return true;
}

static void read_tasks (rota_roadmap_reader_t *self, const rota_yaml_node_t *list, uint32_t parent,
                        const Rota__TaskSpec *epic, const Rota__TaskSpec *milestone)
{
    const rota_yaml_sink_t sink = {report_error, self};
    if (rota_yaml_is_null (list))
        return;
    if (list->kind != ROTA_YAML_LIST) {
        rota_yaml_fault (&sink, list, "tasks: expected a list, found %s", rota_yaml_kind_name (list));
        return;
    }
    for (uint32_t i = 0; i < list->count && !too_many (self, &list->items[i]); i++) {
        Rota__TaskSpec *spec;
        uint32_t index = read_spec (self, &list->items[i], ROTA_ROADMAP_IN_TASK, &self->tasks, parent,
                                    milestone ? milestone : epic, &spec);
        if (index == ROTA_ROADMAP_NONE)
            continue;
        spec->has_epic = epic && epic->has_id;
        if (spec->has_epic)
            spec->epic = epic->id;
        spec->has_milestone = spec->has_epic && milestone && milestone->has_id;
        if (spec->has_milestone)
            spec->milestone = milestone->id;
        if (!spec->has_directory) {
            spec->has_directory = true;
            spec->directory = rota_bytes (self->directory);
        }
        if (rota__task_spec__get_packed_size (spec) > ROTA_ROADMAP_MAX_SPEC_BYTES)
            rota_roadmap_fault (self, ROTA_FAULT_ERROR, spec->line, spec->column,
                                "the task is larger than %u MiB", ROTA_ROADMAP_MAX_SPEC_BYTES >> 20);
    }
}

static void read_milestones (rota_roadmap_reader_t *self, const rota_yaml_node_t *list, uint32_t parent,
                             const Rota__TaskSpec *epic)
{
    const rota_yaml_sink_t sink = {report_error, self};
    if (rota_yaml_is_null (list))
        return;
    if (list->kind != ROTA_YAML_LIST) {
        rota_yaml_fault (&sink, list, "milestones: expected a list, found %s", rota_yaml_kind_name (list));
        return;
    }
    for (uint32_t i = 0; i < list->count && !too_many (self, &list->items[i]); i++) {
        Rota__TaskSpec *spec;
        uint32_t index = read_spec (self, &list->items[i], ROTA_ROADMAP_IN_MILESTONE, &self->milestones,
                                    parent, epic, &spec);
        if (!spec)
            continue;
        spec->has_epic = epic->has_id;
        spec->epic = epic->id;
        read_tasks (self, rota_yaml_get (&list->items[i], "tasks"), index, epic, spec);
    }
}

static void read_epics (rota_roadmap_reader_t *self, const rota_yaml_node_t *list)
{
    const rota_yaml_sink_t sink = {report_error, self};
    if (rota_yaml_is_null (list))
        return;
    if (list->kind != ROTA_YAML_LIST) {
        rota_yaml_fault (&sink, list, "epics: expected a list, found %s", rota_yaml_kind_name (list));
        return;
    }
    for (uint32_t i = 0; i < list->count && !too_many (self, &list->items[i]); i++) {
        Rota__TaskSpec *spec;
        uint32_t index = read_spec (self, &list->items[i], ROTA_ROADMAP_IN_EPIC, &self->epics,
                                    ROTA_ROADMAP_NONE, NULL, &spec);
        if (!spec)
            continue;
        read_tasks (self, rota_yaml_get (&list->items[i], "tasks"), index, spec, NULL);
        read_milestones (self, rota_yaml_get (&list->items[i], "milestones"), index, spec);
    }
}

/* ---- the head of the file */

static void read_line (rota_roadmap_reader_t *self, const rota_yaml_node_t *value, const char *what,
                       protobuf_c_boolean *has, ProtobufCBinaryData *ret_bytes)
{
    const rota_yaml_sink_t sink = {report_error, self};
    const char *text;
    if (!rota_yaml_text (value, what, &sink, &text))
        return;
    if (!rota_text_is_valid (text, value->count, false)) {
        rota_yaml_fault (&sink, value, "%s: a line break or control character is not allowed here", what);
        return;
    }
    *has = true;
    *ret_bytes = rota_bytes_n (text, value->count);
}

/* Tasks belong to it for good, so a default that is a path may be as long as one. */
static void read_source (rota_roadmap_reader_t *self, const rota_yaml_node_t *value)
{
    protobuf_c_boolean has = false;
    ProtobufCBinaryData bytes;
    read_line (self, value, "name", &has, &bytes);
    if (has && bytes.len)
        self->header.source = bytes;
}

static void read_repository (rota_roadmap_reader_t *self, const rota_yaml_node_t *value)
{
    read_line (self, value, "repository", &self->header.has_repository, &self->header.repository);
}

static void read_target (rota_roadmap_reader_t *self, const rota_yaml_node_t *value)
{
    read_line (self, value, "target", &self->header.has_target, &self->header.target);
}

static void read_lines (rota_roadmap_reader_t *self, const rota_yaml_node_t *value, const char *what,
                        size_t *ret_count, ProtobufCBinaryData **ret_lines)
{
    const rota_yaml_sink_t sink = {report_error, self};
    if (value->kind != ROTA_YAML_LIST || value->count > MAX_SETUP_PATHS) {
        rota_yaml_fault (&sink, value, "%s: expected a list of at most %d paths", what, MAX_SETUP_PATHS);
        return;
    }
    ProtobufCBinaryData *lines = rota_roadmap_alloc (self, (value->count + 1) * sizeof *lines);
    for (uint32_t i = 0; lines && i < value->count; i++) {
        protobuf_c_boolean has = false;
        read_line (self, &value->items[i], what, &has, &lines[*ret_count]);
        if (!has)
            continue;
        const char *text = (const char *)lines[*ret_count].data;
        if (!*text || *text == '/' || strncmp (text, "../", 3) == 0 || strstr (text, "/../"))
            rota_yaml_fault (&sink, &value->items[i], "%s: expected a path within the repository", what);
        else
            ++*ret_count;
    }
    *ret_lines = lines;
}

/* A command, or that with what it needs and makes. */
static void read_setup (rota_roadmap_reader_t *self, const rota_yaml_node_t *value)
{
    const rota_yaml_sink_t sink = {report_error, self};
    Rota__RoadmapHeader *header = &self->header;
    if (value->kind != ROTA_YAML_MAPPING) {
        read_line (self, value, "setup", &header->has_setup, &header->setup);
        return;
    }
    for (uint32_t i = 0; i < value->count; i++) {
        const rota_yaml_pair_t *pair = &value->pairs[i];
        if (strcmp (pair->key.text, "run") == 0)
            read_line (self, &pair->value, "setup: run", &header->has_setup, &header->setup);
        else if (strcmp (pair->key.text, "needs") == 0)
            read_lines (self, &pair->value, "setup: needs", &header->n_setup_needs, &header->setup_needs);
        else if (strcmp (pair->key.text, "makes") == 0)
            read_lines (self, &pair->value, "setup: makes", &header->n_setup_makes, &header->setup_makes);
        else
            rota_yaml_fault (&sink, &pair->key, "setup has run, needs and makes");
    }
    if (!header->has_setup)
        rota_yaml_fault (&sink, value, "setup: there is no command (run:)");
    if (header->n_setup_makes && !header->n_setup_needs)
        rota_yaml_fault (&sink, value,
                         "setup: say which files it needs as well, or what it makes would be kept for ever");
}

static void read_wip (rota_roadmap_reader_t *self, const rota_yaml_node_t *value)
{
    const rota_yaml_sink_t sink = {report_error, self};
    int64_t limit;
    if (rota_yaml_integer (value, "wip", 1, 1000000, &sink, &limit)) {
        self->header.has_wip_limit = true;
        self->header.wip_limit = (uint32_t)limit;
    }
}

/* Each is checked by whoever starts them: which kinds there are the programs know. */
static void read_agents (rota_roadmap_reader_t *self, const rota_yaml_node_t *value)
{
    const rota_yaml_sink_t sink = {report_error, self};
    if (value->kind != ROTA_YAML_LIST || value->count > MAX_AGENTS) {
        rota_yaml_fault (&sink, value, "agents: expected a list of at most %d of KIND[/ACCOUNT][=N]",
                         MAX_AGENTS);
        return;
    }
    for (uint32_t i = 0; i < value->count; i++) {
        protobuf_c_boolean has = false;
        ProtobufCBinaryData text;
        read_line (self, &value->items[i], "agents", &has, &text);
        if (!has || !text.len)
            continue;
        ProtobufCBinaryData *list =
            rota_roadmap_alloc (self, (self->header.n_agents + 1) * sizeof *self->header.agents);
        if (!list)
            return;
        if (self->header.n_agents)
            memcpy (list, self->header.agents, self->header.n_agents * sizeof *list);
        list[self->header.n_agents++] = text;
        self->header.agents = list;
    }
}

static void read_claims (rota_roadmap_reader_t *self, const rota_yaml_node_t *value)
{
    static const char *const WORDS[] = {"strict", "hold", "warn", "off"};
    const rota_yaml_sink_t sink = {report_error, self};
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
        if (rota_yaml_equals (value, WORDS[i])) {
            self->header.has_claims = true;
            self->header.claims = rota_bytes (WORDS[i]);
            return;
        }
    rota_yaml_fault (&sink, value, "claims: it must be strict, hold, warn or off");
}

static void read_head_directory (rota_roadmap_reader_t *self, const rota_yaml_node_t *value)
{
    protobuf_c_boolean has = false;
    ProtobufCBinaryData bytes;
    read_line (self, value, "directory", &has, &bytes);
    if (has && !self->directory)
        self->directory = rota_roadmap_resolve_directory (self, (const char *)bytes.data);
}

/* profiles: {NAME: COMMAND or null, ...} of a gate. */
static void read_profiles (rota_roadmap_reader_t *self, Rota__Gate *gate, const rota_yaml_node_t *value)
{
    const rota_yaml_sink_t sink = {report_error, self};
    if (!rota_yaml_mapping (value, "profiles", &sink))
        return;
    for (uint32_t i = 0; i < value->count; i++) {
        const rota_yaml_pair_t *pair = &value->pairs[i];
        const char *reason;
        bool is_null = rota_yaml_is_null (&pair->value);
        if (rota_id_check (pair->key.text, pair->key.count, &reason) < 0) {
            char shown[ROTA_YAML_SHOWN_BYTES];
            rota_yaml_fault (&sink, &pair->key, "profiles: \"%s\": %s",
                             rota_yaml_show (pair->key.text, pair->key.count, shown), reason);
            continue;
        }
        if (!is_null && (pair->value.kind != ROTA_YAML_SCALAR || !*pair->value.text)) {
            rota_yaml_fault (&sink, &pair->value,
                             "profile %s: expected a command, or null where it isn't checked, found %s",
                             pair->key.text, rota_yaml_kind_name (&pair->value));
            continue;
        }
        Rota__GateProfile *profile = rota_roadmap_alloc (self, sizeof *profile);
        if (!profile)
            return;
        rota__gate_profile__init (profile);
        profile->has_name = true;
        profile->name = rota_bytes_n (pair->key.text, pair->key.count);
        profile->has_command = !is_null;
        if (!is_null)
            profile->command = rota_bytes_n (pair->value.text, pair->value.count);
        rota_roadmap_append (self, (void ***)&gate->profiles, &gate->n_profiles, profile);
    }
}

/* name: COMMAND, or name: {run: COMMAND, timeout: 10m, profiles: {NAME: COMMAND}} */
static void read_gate (rota_roadmap_reader_t *self, const rota_yaml_pair_t *pair)
{
    const rota_yaml_sink_t sink = {report_error, self};
    const rota_yaml_node_t *run = &pair->value, *timeout = NULL, *profiles = NULL;
    const char *reason;
    char shown[ROTA_YAML_SHOWN_BYTES];
    rota_yaml_show (pair->key.text, pair->key.count, shown);
    if (rota_id_check (pair->key.text, pair->key.count, &reason) < 0) {
        rota_yaml_fault (&sink, &pair->key, "gates: \"%s\": %s", shown, reason);
        return;
    }
    if (pair->value.kind == ROTA_YAML_MAPPING) {
        run = rota_yaml_get (&pair->value, "run");
        timeout = rota_yaml_get (&pair->value, "timeout");
        profiles = rota_yaml_get (&pair->value, "profiles");
        for (uint32_t i = 0; i < pair->value.count; i++) {
            const char *key = pair->value.pairs[i].key.text;
            if (strcmp (key, "run") != 0 && strcmp (key, "timeout") != 0 && strcmp (key, "profiles") != 0)
                rota_yaml_fault (&sink, &pair->value.pairs[i].key,
                                 "gate %s: a gate has run, timeout and profiles", shown);
        }
    }
    bool has_run = !rota_yaml_is_null (run);
    if (has_run ? run->kind != ROTA_YAML_SCALAR || !*run->text : rota_yaml_is_null (profiles)) {
        rota_yaml_fault (&sink, &pair->value, "gate %s: expected a command, found %s", shown,
                         rota_yaml_kind_name (run));
        return;
    }
    Rota__Gate *gate = rota_roadmap_alloc (self, sizeof *gate);
    if (!gate)
        return;
    rota__gate__init (gate);
    gate->has_name = true;
    gate->name = rota_bytes_n (pair->key.text, pair->key.count);
    gate->has_command = has_run;
    if (has_run)
        gate->command = rota_bytes_n (run->text, run->count);
    int64_t ms;
    if (!rota_yaml_is_null (timeout) &&
        rota_yaml_duration (timeout, "timeout", 0, MAX_GATE_TIMEOUT_MS, &sink, &ms)) {
        gate->has_timeout_ms = true;
        gate->timeout_ms = (uint32_t)ms;
    }
    if (!rota_yaml_is_null (profiles))
        read_profiles (self, gate, profiles);
    rota_roadmap_append (self, (void ***)&self->header.gates, &self->header.n_gates, gate);
}

static void read_gates (rota_roadmap_reader_t *self, const rota_yaml_node_t *value)
{
    const rota_yaml_sink_t sink = {report_error, self};
    if (!rota_yaml_mapping (value, "gates", &sink))
        return;
    if (value->count > MAX_GATES)
        rota_yaml_fault (&sink, value, "gates: more than %d", MAX_GATES);
    for (uint32_t i = 0; i < value->count && i < MAX_GATES; i++)
        read_gate (self, &value->pairs[i]);
}

/* Reads them once for their faults; each task reads them again, without. */
static void read_defaults (rota_roadmap_reader_t *self, const rota_yaml_node_t *value)
{
    rota_roadmap_target_t target = {
        .reader = self, .sink = {report_error, self}, .where = ROTA_ROADMAP_IN_DEFAULTS};
    if (!rota_yaml_mapping (value, "defaults", &target.sink))
        return;
    Rota__TaskSpec spec;
    rota__task_spec__init (&spec);
    target.spec = &spec;
    rota_roadmap_read_keys (&target, value);
    self->defaults = value;
}

/* Read in this order, whatever the file's: defaults name gates, and tasks need all of them. `epics` and
 * `tasks` come last, elsewhere. */
static const struct {
    const char *name;
    void (*read) (rota_roadmap_reader_t *self, const rota_yaml_node_t *value);
} HEAD_KEYS[] = {
    {"name", read_source},
    {"repository", read_repository},
    {"target", read_target},
    {"setup", read_setup},
    {"wip", read_wip},
    {"claims", read_claims},
    {"directory", read_head_directory},
    {"gates", read_gates},
    {"agents", read_agents},
    {"defaults", read_defaults},
    {"epics", NULL},
    {"tasks", NULL},
};
#define HEAD_KEY_COUNT (sizeof HEAD_KEYS / sizeof *HEAD_KEYS)

static void check_head_key (rota_roadmap_reader_t *self, const rota_yaml_node_t *key)
{
    rota_guess_t guess;
    rota_guess_start (&guess, key->text, key->count);
    for (size_t k = 0; k < HEAD_KEY_COUNT; k++) {
        if (!strcmp (HEAD_KEYS[k].name, key->text))
            return;
        rota_guess_offer (&guess, HEAD_KEYS[k].name, strlen (HEAD_KEYS[k].name));
    }
    char shown[ROTA_YAML_SHOWN_BYTES];
    rota_roadmap_fault (self, self->options.strict ? ROTA_FAULT_ERROR : ROTA_FAULT_WARNING, key->line,
                        key->column, "unknown key %s%s", rota_yaml_show (key->text, key->count, shown),
                        rota_guess_end (&guess));
}

static void read_head (rota_roadmap_reader_t *self, const rota_yaml_node_t *root)
{
    for (uint32_t i = 0; i < root->count; i++)
        check_head_key (self, &root->pairs[i].key);
    for (size_t k = 0; k < HEAD_KEY_COUNT; k++) {
        const rota_yaml_node_t *value = rota_yaml_get (root, HEAD_KEYS[k].name);
        if (HEAD_KEYS[k].read && !rota_yaml_is_null (value))
            HEAD_KEYS[k].read (self, value);
    }
}

static void report_group_statuses (rota_roadmap_reader_t *self)
{
    if (self->ignored_statuses)
        rota_roadmap_fault (self, ROTA_FAULT_WARNING, self->ignored_line, self->ignored_column,
                            "the status of %zu epics and milestones is ignored, it follows from their tasks; "
                            "%zu that are blocked hold theirs",
                            self->ignored_statuses, self->kept_blocks);
}

void rota_roadmap_read_tree (rota_roadmap_reader_t *self, const rota_yaml_node_t *root)
{
    const rota_yaml_sink_t sink = {report_error, self};
    self->directory = self->options.directory ? rota_pool_text (self->pool, self->options.directory,
                                                                strlen (self->options.directory))
                                              : NULL;
    if (root->kind == ROTA_YAML_MAPPING)
        read_head (self, root);
    if (!self->directory)
        self->directory = self->file_directory;
    if (self->options.source)
        self->header.source = rota_roadmap_copy (self, self->options.source, strlen (self->options.source));

    if (root->kind == ROTA_YAML_LIST) {
        read_tasks (self, root, ROTA_ROADMAP_NONE, NULL, NULL);
    } else if (root->kind == ROTA_YAML_MAPPING) {
        read_epics (self, rota_yaml_get (root, "epics"));
        read_tasks (self, rota_yaml_get (root, "tasks"), ROTA_ROADMAP_NONE, NULL, NULL);
    } else if (!rota_yaml_is_null (root)) {
        rota_yaml_fault (&sink, root, "expected a mapping with tasks: or epics:, found a text");
    }
    report_group_statuses (self);
    self->defaults = NULL;
    if (self->tasks.count == 0 && self->errors.total == 0)
        rota_roadmap_fault (self, ROTA_FAULT_WARNING, root->line, root->column,
                            rota_yaml_is_null (root) ? "the file is empty: no tasks" : "no tasks");
}
