/* The keys of tasks, epics and milestones. One table names all of them; what is not in it is kept for the
 * export. */
#include "bus/units.h"
#include "scheduler/roadmap_internal.h"

#include <math.h>
#include <string.h>

#define MAX_TIMEOUT_MS (INT64_C (30) * 86400000)

#define IN_TASK ROTA_ROADMAP_IN_TASK
#define IN_EPIC ROTA_ROADMAP_IN_EPIC
#define IN_MILESTONE ROTA_ROADMAP_IN_MILESTONE
#define IN_DEFAULTS ROTA_ROADMAP_IN_DEFAULTS
#define IN_GROUP (IN_EPIC | IN_MILESTONE)
#define IN_ANY (IN_TASK | IN_GROUP)

/* What a key is about: two names of one thing share it, so that defaults don't add to what a task says. */
typedef enum {
    FIELD_NONE,
    FIELD_ATTEMPTS,
    FIELD_TIMEOUT,
    FIELD_SILENCE,
    FIELD_REVIEW,
    FIELD_GATES,
    FIELD_AGENT,
    FIELD_PRIORITY,
    FIELD_COMPLEXITY,
    FIELD_LABELS,
    FIELD_CAPABILITIES,
    FIELD_PROFILE,
    FIELD_WORKDIR,
    FIELD_COMMIT,
    FIELD_APPROVAL,
} field_t;

typedef struct {
    const char *name;
    unsigned where;
    field_t field;
    void (*read) (rota_roadmap_target_t *target,
                  const rota_yaml_node_t *value); /* NULL = read by its level */
} field_key_t;

/* ---- values of one kind */

/* A text of one line, or of many. */
static bool take_text (rota_roadmap_target_t *target, const rota_yaml_node_t *node, bool lines,
                       ProtobufCBinaryData *ret_bytes)
{
    const char *text;
    if (!rota_yaml_text (node, target->key, &target->sink, &text))
        return false;
    if (!lines && !rota_text_is_valid (text, node->count, false)) {
        rota_yaml_fault (&target->sink, node, "%s: a line break or control character is not allowed here",
                         target->key);
        return false;
    }
    *ret_bytes = rota_bytes_n (text, node->count);
    return true;
}

/* An id, or the name of a gate, label, agent, ... */
static bool take_name (rota_roadmap_target_t *target, const rota_yaml_node_t *node,
                       ProtobufCBinaryData *ret_bytes)
{
    const char *text, *reason;
    if (!rota_yaml_text (node, target->key, &target->sink, &text))
        return false;
    if (rota_id_check (text, node->count, &reason) < 0) {
        char shown[ROTA_YAML_SHOWN_BYTES];
        rota_yaml_fault (&target->sink, node, "%s: \"%s\": %s", target->key,
                         rota_yaml_show (text, node->count, shown), reason);
        return false;
    }
    *ret_bytes = rota_bytes_n (text, node->count);
    return true;
}

/* A list of names or one alone. */
static void take_names (rota_roadmap_target_t *target, const rota_yaml_node_t *value, size_t *count,
                        ProtobufCBinaryData **names)
{
    bool is_list = value->kind == ROTA_YAML_LIST;
    const rota_yaml_node_t *items = is_list ? value->items : value;
    size_t given = is_list ? value->count : 1;
    ProtobufCBinaryData *all = rota_roadmap_alloc (target->reader, (*count + given) * sizeof *all);
    if (!all)
        return;
    if (*count)
        memcpy (all, *names, *count * sizeof *all);
    for (size_t i = 0; i < given; i++)
        if (take_name (target, &items[i], &all[*count]))
            ++*count;
    *names = all;
}

#define READ_TEXT(field, lines)                                                                              \
    static void read_##field (rota_roadmap_target_t *target, const rota_yaml_node_t *value)                  \
    {                                                                                                        \
        if (take_text (target, value, lines, &target->spec->field))                                          \
            target->spec->has_##field = true;                                                                \
    }
READ_TEXT (description, true)

#define READ_NAMES(field)                                                                                    \
    static void read_##field (rota_roadmap_target_t *target, const rota_yaml_node_t *value)                  \
    {                                                                                                        \
        take_names (target, value, &target->spec->n_##field, &target->spec->field);                          \
    }
READ_NAMES (touches)
READ_NAMES (capabilities)
READ_NAMES (labels)

/* A gate's command comes from this file and nowhere else, so it must be there. */
static void read_gates (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    Rota__TaskSpec *spec = target->spec;
    const Rota__RoadmapHeader *header = &target->reader->header;
    take_names (target, value, &spec->n_gates, &spec->gates);
    bool is_list = value->kind == ROTA_YAML_LIST;
    for (uint32_t i = 0; i < (is_list ? value->count : 1); i++) {
        const rota_yaml_node_t *item = is_list ? &value->items[i] : value;
        bool found = item->kind != ROTA_YAML_SCALAR; /* that was reported */
        for (size_t h = 0; h < header->n_gates && !found; h++)
            found = !strcmp ((const char *)header->gates[h]->name.data, item->text);
        char shown[ROTA_YAML_SHOWN_BYTES];
        if (!found)
            rota_yaml_fault (&target->sink, item, "gates: there is no gate %s at the top of the file",
                             rota_yaml_show (item->text, item->count, shown));
    }
}

static bool has_profile (const Rota__RoadmapHeader *header, ProtobufCBinaryData name)
{
    for (size_t i = 0; i < header->n_gates; i++)
        for (size_t k = 0; k < header->gates[i]->n_profiles; k++) {
            ProtobufCBinaryData it = header->gates[i]->profiles[k]->name;
            if (it.len == name.len && memcmp (it.data, name.data, it.len) == 0)
                return true;
        }
    return false;
}

static void read_profile (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    Rota__TaskSpec *spec = target->spec;
    char shown[ROTA_YAML_SHOWN_BYTES];
    if (!take_name (target, value, &spec->profile))
        return;
    spec->has_profile = true;
    if (!has_profile (&target->reader->header, spec->profile))
        rota_yaml_fault (&target->sink, value, "profile: no gate at the top of the file has the profile %s",
                         rota_yaml_show (value->text, value->count, shown));
}

/* ---- keys */

static void read_id (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    target->id = value;
    target->spec->has_id = take_name (target, value, &target->spec->id);
    target->spec->line = value->line;
    target->spec->column = value->column;
}

static void read_title (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    rota_yaml_node_t trimmed = *value;
    /* A block text ends in a line break that nobody means. */
    while (trimmed.kind == ROTA_YAML_SCALAR && trimmed.count &&
           strchr (" \t\r\n", trimmed.text[trimmed.count - 1]))
        trimmed.count--;
    target->spec->has_title = take_text (target, &trimmed, false, &target->spec->title) && trimmed.count > 0;
}

static void read_type (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    static const char *const WORDS[] = {"task", "bug", "story"};
    for (int i = 0; i < 3; i++)
        if (rota_yaml_equals (value, WORDS[i])) {
            target->spec->has_type = true;
            target->spec->type = (Rota__TaskType)(ROTA__TASK_TYPE__TASK_TYPE_TASK + i);
            return;
        }
    const char *text;
    char shown[ROTA_YAML_SHOWN_BYTES];
    if (rota_yaml_text (value, "type", &target->sink, &text))
        rota_yaml_fault (&target->sink, value, "type: \"%s\" is none; there are task, bug and story",
                         rota_yaml_show (text, value->count, shown));
}

/* A group's status follows from its tasks; only `blocked` says more, and holds them. */
static void read_group_status (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    rota_roadmap_reader_t *reader = target->reader;
    if (rota_yaml_equals (value, "blocked")) {
        target->spec->has_status = true;
        target->spec->status = STATUS (BLOCKED);
        reader->kept_blocks++;
        return;
    }
    if (reader->ignored_statuses++ == 0) {
        reader->ignored_line = value->line;
        reader->ignored_column = value->column;
    }
}

static void read_status (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    if (target->where & IN_GROUP) {
        read_group_status (target, value);
        return;
    }
    const char *text;
    if (!rota_yaml_text (value, "status", &target->sink, &text))
        return;
    Rota__TaskStatus status = rota_status_parse (text, value->count);
    if (status != STATUS (UNSPECIFIED)) {
        target->spec->has_status = true;
        target->spec->status = status;
        return;
    }
    char shown[ROTA_YAML_SHOWN_BYTES];
    rota_yaml_fault (&target->sink, value,
                     "status: \"%s\" is none; there are pending, in_progress, needs_review, in_review, "
                     "needs_improvement, done, blocked, failed and cancelled",
                     rota_yaml_show (text, value->count, shown));
}

static void read_priority (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    static const struct {
        const char *word;
        int32_t priority;
    } WORDS[] = {{"critical", 100}, {"high", 50}, {"medium", 0}, {"normal", 0}, {"low", -50}};
    int64_t priority = INT64_MAX;
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
        if (rota_yaml_equals (value, WORDS[i].word))
            priority = WORDS[i].priority;
    if (priority == INT64_MAX &&
        (value->kind != ROTA_YAML_SCALAR || rota_integer_parse (value->text, &priority) < 0 ||
         priority < -1000 || priority > 1000)) {
        char shown[ROTA_YAML_SHOWN_BYTES] = "";
        if (value->kind == ROTA_YAML_SCALAR)
            rota_yaml_show (value->text, value->count, shown);
        rota_yaml_fault (&target->sink, value,
                         "priority: expected critical, high, medium, normal, low or a whole number from "
                         "-1000 to 1000, found %s",
                         *shown ? shown : rota_yaml_kind_name (value));
        return;
    }
    target->spec->has_priority = true;
    target->spec->priority = (int32_t)priority;
}

static void read_complexity (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    int64_t number;
    if (rota_yaml_integer (value, "complexity", 1, 10, &target->sink, &number)) {
        target->spec->has_complexity = true;
        target->spec->complexity = (uint32_t)number;
    }
}

static void read_estimate (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    double hours;
    if (rota_yaml_number (value, target->key, 0, 1e6, &target->sink, &hours)) {
        target->spec->has_estimate_hours = true;
        target->spec->estimate_hours = hours;
    }
}

static void read_attempts (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    int64_t number, retry = !strcmp (target->key, "retry");
    if (rota_yaml_integer (value, target->key, 1 - retry, 100 - retry, &target->sink, &number)) {
        if (target->spec->has_attempts)
            rota_yaml_fault (&target->sink, value, "attempts and retry say the same; give one of them");
        target->spec->has_attempts = true;
        target->spec->attempts = (uint32_t)(number + retry);
    }
}

static void read_timeout (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    int64_t ms;
    if (rota_yaml_duration (value, "timeout", 0, MAX_TIMEOUT_MS, &target->sink, &ms)) {
        target->spec->has_timeout_ms = true;
        target->spec->timeout_ms = (uint32_t)ms;
    }
}

static void read_silence (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    int64_t ms;
    if (rota_yaml_duration (value, "silence", 0, MAX_TIMEOUT_MS, &target->sink, &ms)) {
        target->spec->has_silence_ms = true;
        target->spec->silence_ms = (uint32_t)ms;
    }
}

static void read_run (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    target->spec->has_run = take_text (target, value, true, &target->spec->run);
    if (target->spec->has_run && value->text[strspn (value->text, " \t\r\n")] == '\0')
        rota_yaml_fault (&target->sink, value, "run: an empty command");
}

static void read_agent (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    target->spec->has_agent = take_name (target, value, &target->spec->agent);
}

static void read_approval (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    bool wanted = true;
    if (!rota_yaml_equals (value, "required") &&
        !rota_yaml_boolean (value, "approval (required, true or false)", &target->sink, &wanted))
        return;
    target->spec->has_approval = true;
    target->spec->approval = wanted;
}

static void read_review (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    bool wanted;
    const char *word = "other-kind";
    if (!rota_yaml_equals (value, word)) {
        if (!rota_yaml_boolean (value, "review (true, false or other-kind)", &target->sink, &wanted))
            return;
        word = wanted ? "true" : "false";
    }
    target->spec->has_review = true;
    target->spec->review = rota_bytes (word);
}

static void read_workdir (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    if (rota_yaml_equals (value, "here") || rota_yaml_equals (value, "branch")) {
        target->spec->has_workdir = true;
        target->spec->workdir = rota_bytes_n (value->text, value->count);
        return;
    }
    char shown[ROTA_YAML_SHOWN_BYTES];
    rota_yaml_fault (&target->sink, value, "workdir: expected here or branch, found %s",
                     value->kind == ROTA_YAML_SCALAR ? rota_yaml_show (value->text, value->count, shown)
                                                     : rota_yaml_kind_name (value));
}

static void read_commit (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    bool wanted;
    if (rota_yaml_boolean (value, "commit", &target->sink, &wanted)) {
        target->spec->has_commit = true;
        target->spec->commit = wanted;
    }
}

static void read_not_before (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    int64_t wall_ms;
    const char *text;
    if (!rota_yaml_text (value, "not_before", &target->sink, &text))
        return;
    if (rota_time_parse (text, &wall_ms) < 0) {
        char shown[ROTA_YAML_SHOWN_BYTES];
        rota_yaml_fault (&target->sink, value,
                         "not_before: expected a time such as 2026-11-23T08:00:00Z, found \"%s\"",
                         rota_yaml_show (text, value->count, shown));
        return;
    }
    target->spec->has_not_before_ms = true;
    target->spec->not_before_ms = wall_ms;
}

static void read_directory (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    if (!take_text (target, value, false, &target->spec->directory))
        return;
    target->spec->has_directory = true;
    target->spec->directory = rota_bytes (rota_roadmap_resolve_directory (target->reader, value->text));
}

static void read_prompt (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    target->spec->has_prompt = take_text (target, value, true, &target->spec->prompt);
    if (target->spec->has_prompt)
        rota_roadmap_read_prompt (target, value);
}

/* ---- dependencies and exit criteria */

/* {id | task | epic | milestone: NAME, type: ...}; a milestone may say its epic. */
static bool read_dependency_mapping (rota_roadmap_target_t *target, const rota_yaml_node_t *item,
                                     Rota__Dependency *dependency)
{
    static const char *const TYPES[] = {"blocks", "related", "suggested"};
    const rota_yaml_node_t *on = NULL, *epic = NULL;
    for (uint32_t i = 0; i < item->count; i++) {
        const char *key = item->pairs[i].key.text;
        const rota_yaml_node_t *value = &item->pairs[i].value;
        bool known = !strcmp (key, "id") || !strcmp (key, "task") || !strcmp (key, "milestone");
        if (!strcmp (key, "epic")) {
            epic = value;
        } else if (known && !on) {
            on = value;
        } else if (!strcmp (key, "type")) {
            for (int t = 0; t < 3; t++)
                if (rota_yaml_equals (value, TYPES[t]))
                    dependency->type = (Rota__DependencyType)(DEPENDENCY (BLOCKS) + t);
            dependency->has_type = dependency->type != DEPENDENCY (UNSPECIFIED);
            if (!dependency->has_type)
                rota_yaml_fault (&target->sink, value, "%s: type: expected blocks, related or suggested",
                                 target->key);
        } else {
            char shown[ROTA_YAML_SHOWN_BYTES];
            rota_yaml_fault (&target->sink, &item->pairs[i].key,
                             "%s: \"%s\" is not expected; an entry has one of id, task, epic, milestone, and "
                             "type",
                             target->key, rota_yaml_show (key, strlen (key), shown));
        }
    }
    if (on && epic)
        dependency->has_epic = take_name (target, epic, &dependency->epic);
    on = on ? on : epic;
    if (!on)
        rota_yaml_fault (&target->sink, item, "%s: an entry names a task, an epic or a milestone",
                         target->key);
    else
        dependency->has_on = take_name (target, on, &dependency->on);
    return dependency->has_on;
}

static void read_dependency (rota_roadmap_target_t *target, const rota_yaml_node_t *item)
{
    Rota__TaskSpec *spec = target->spec;
    Rota__Dependency *dependency = rota_roadmap_alloc (target->reader, sizeof *dependency);
    if (!dependency)
        return;
    rota__dependency__init (dependency);
    dependency->has_line = dependency->has_column = true;
    dependency->line = item->line;
    dependency->column = item->column;
    if (item->kind == ROTA_YAML_MAPPING ? !read_dependency_mapping (target, item, dependency)
                                        : !take_name (target, item, &dependency->on))
        return;
    dependency->has_on = true;
    rota_roadmap_append (target->reader, (void ***)&spec->dependencies, &spec->n_dependencies, dependency);
}

static void read_dependencies (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    if (value->kind != ROTA_YAML_LIST) {
        read_dependency (target, value);
        return;
    }
    for (uint32_t i = 0; i < value->count; i++)
        read_dependency (target, &value->items[i]);
}

static void add_criterion (rota_roadmap_target_t *target, const rota_yaml_node_t *kind,
                           const rota_yaml_node_t *value)
{
    Rota__TaskSpec *spec = target->spec;
    Rota__Criterion *criterion = rota_roadmap_alloc (target->reader, sizeof *criterion);
    if (!criterion)
        return;
    rota__criterion__init (criterion);
    if (value->kind != ROTA_YAML_SCALAR) {
        rota_yaml_fault (&target->sink, value, "exit_criteria: expected a text, found %s",
                         rota_yaml_kind_name (value));
        return;
    }
    criterion->has_kind = kind != NULL;
    if (kind)
        criterion->kind = rota_bytes_n (kind->text, kind->count);
    criterion->has_value = true;
    criterion->value = rota_yaml_is_null (value) ? rota_bytes ("") : rota_bytes_n (value->text, value->count);
    rota_roadmap_append (target->reader, (void ***)&spec->exit_criteria, &spec->n_exit_criteria, criterion);
}

static void read_criteria_mapping (rota_roadmap_target_t *target, const rota_yaml_node_t *mapping)
{
    for (uint32_t i = 0; i < mapping->count; i++) {
        const rota_yaml_node_t *kind = &mapping->pairs[i].key, *value = &mapping->pairs[i].value;
        bool is_list = value->kind == ROTA_YAML_LIST;
        for (uint32_t j = 0; j < (is_list ? value->count : 1); j++)
            add_criterion (target, kind, is_list ? &value->items[j] : value);
    }
}

static void read_exit_criteria (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    bool is_list = value->kind == ROTA_YAML_LIST;
    const rota_yaml_node_t *items = is_list ? value->items : value;
    for (uint32_t i = 0; i < (is_list ? value->count : 1); i++) {
        if (items[i].kind == ROTA_YAML_MAPPING)
            read_criteria_mapping (target, &items[i]);
        else if (!rota_yaml_is_null (&items[i]))
            add_criterion (target, NULL, &items[i]);
    }
}

/* ---- one definition */

/* Keys of the original system that mean nothing here but are no mistake either. */
static void keep_silently (rota_roadmap_target_t *target, const rota_yaml_node_t *value)
{
    const rota_yaml_pair_t pair = {{.kind = ROTA_YAML_SCALAR, .text = target->key}, *value};
    rota_roadmap_keep_extra (target, &pair);
}

static const field_key_t KEYS[] = {
    {"id", IN_ANY, FIELD_NONE, read_id},
    {"title", IN_ANY, FIELD_NONE, read_title},
    {"description", IN_ANY, FIELD_NONE, read_description},
    {"status", IN_ANY, FIELD_NONE, read_status},
    {"dependencies", IN_ANY, FIELD_NONE, read_dependencies},
    {"after", IN_ANY, FIELD_NONE, read_dependencies},
    {"depends_on", IN_ANY, FIELD_NONE, read_dependencies},
    {"blocked_by", IN_ANY, FIELD_NONE, read_dependencies},
    {"exit_criteria", IN_TASK, FIELD_NONE, read_exit_criteria},
    {"type", IN_TASK, FIELD_NONE, read_type},
    {"estimate_hours", IN_TASK, FIELD_NONE, read_estimate},
    {"complexity", IN_TASK | IN_DEFAULTS, FIELD_COMPLEXITY, read_complexity},
    {"priority", IN_ANY | IN_DEFAULTS, FIELD_PRIORITY, read_priority},
    {"run", IN_TASK, FIELD_NONE, read_run},
    {"prompt", IN_TASK, FIELD_NONE, read_prompt},
    {"agent", IN_TASK | IN_DEFAULTS, FIELD_AGENT, read_agent},
    {"attempts", IN_TASK | IN_DEFAULTS, FIELD_ATTEMPTS, read_attempts},
    {"retry", IN_TASK | IN_DEFAULTS, FIELD_ATTEMPTS, read_attempts},
    {"timeout", IN_TASK | IN_DEFAULTS, FIELD_TIMEOUT, read_timeout},
    {"silence", IN_TASK | IN_DEFAULTS, FIELD_SILENCE, read_silence},
    {"touches", IN_TASK, FIELD_NONE, read_touches},
    {"labels", IN_ANY | IN_DEFAULTS, FIELD_LABELS, read_labels},
    {"capabilities", IN_TASK | IN_DEFAULTS, FIELD_CAPABILITIES, read_capabilities},
    {"requires", IN_TASK | IN_DEFAULTS, FIELD_CAPABILITIES, read_capabilities},
    {"approval", IN_ANY | IN_DEFAULTS, FIELD_APPROVAL, read_approval},
    {"review", IN_TASK | IN_DEFAULTS, FIELD_REVIEW, read_review},
    {"gates", IN_TASK | IN_DEFAULTS, FIELD_GATES, read_gates},
    {"profile", IN_TASK | IN_DEFAULTS, FIELD_PROFILE, read_profile},
    {"workdir", IN_TASK | IN_DEFAULTS, FIELD_WORKDIR, read_workdir},
    {"commit", IN_TASK | IN_DEFAULTS, FIELD_COMMIT, read_commit},
    {"not_before", IN_TASK, FIELD_NONE, read_not_before},
    {"directory", IN_TASK, FIELD_NONE, read_directory},
    {"milestones", IN_EPIC, FIELD_NONE, NULL},
    {"tasks", IN_GROUP, FIELD_NONE, NULL},
    {"tests", IN_TASK, FIELD_NONE, keep_silently},
    {"critic", IN_TASK, FIELD_NONE, keep_silently},
    {"owner", IN_ANY, FIELD_NONE, keep_silently},
    {"domain", IN_ANY, FIELD_NONE, keep_silently},
    {"set_id", IN_ANY, FIELD_NONE, keep_silently},
    {"cluster", IN_ANY, FIELD_NONE, keep_silently},
};
#define KEY_COUNT (sizeof KEYS / sizeof *KEYS)

static const field_key_t *find_key (const char *name, unsigned where)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        if ((KEYS[i].where & where) && KEYS[i].name[0] == name[0] && !strcmp (KEYS[i].name, name))
            return &KEYS[i];
    return NULL;
}

static void report_unknown_key (rota_roadmap_reader_t *reader, const rota_yaml_node_t *key, unsigned where)
{
    rota_guess_t guess;
    rota_guess_start (&guess, key->text, key->count);
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (KEYS[i].where & where)
            rota_guess_offer (&guess, KEYS[i].name, strlen (KEYS[i].name));
    char shown[ROTA_YAML_SHOWN_BYTES];
    rota_roadmap_fault (reader, reader->options.strict ? ROTA_FAULT_ERROR : ROTA_FAULT_WARNING, key->line,
                        key->column, "unknown key %s%s", rota_yaml_show (key->text, key->count, shown),
                        rota_guess_end (&guess));
}

void rota_roadmap_read_keys (rota_roadmap_target_t *target, const rota_yaml_node_t *mapping)
{
    for (uint32_t i = 0; i < mapping->count; i++) {
        const rota_yaml_pair_t *pair = &mapping->pairs[i];
        const field_key_t *key = find_key (pair->key.text, target->where);
        if (!key) {
            report_unknown_key (target->reader, &pair->key, target->where);
            if (target->where != IN_DEFAULTS)
                rota_roadmap_keep_extra (target, pair);
            continue;
        }
        if (!key->read || (rota_yaml_is_null (&pair->value) && key->read != read_id))
            continue;
        target->key = key->name;
        target->said |= 1u << key->field;
        key->read (target, &pair->value);
    }
}

/* Nearer than the defaults: they fill in what no group says. */
void rota_roadmap_inherit (rota_roadmap_target_t *target, const Rota__TaskSpec *group)
{
    if (!group->has_approval || (target->said & 1u << FIELD_APPROVAL))
        return;
    target->said |= 1u << FIELD_APPROVAL;
    target->spec->has_approval = true;
    target->spec->approval = group->approval;
}

/* What `defaults:` says and the task does not. */
void rota_roadmap_apply_defaults (rota_roadmap_target_t *target)
{
    const rota_yaml_node_t *defaults = target->reader->defaults;
    Rota__TaskSpec *spec = target->spec;
    if (!(target->said & 1u << FIELD_COMPLEXITY) && spec->has_estimate_hours) {
        double points = round (spec->estimate_hours / 2); /* the original's rule, domain.md 1.4 */
        spec->has_complexity = true;
        spec->complexity = points < 1 ? 1 : points > 10 ? 10 : (uint32_t)points;
        target->said |= 1u << FIELD_COMPLEXITY;
    }
    if (!defaults)
        return;
    target->reader->muted = true; /* their faults were reported where they stand */
    for (uint32_t i = 0; i < defaults->count; i++) {
        const field_key_t *key = find_key (defaults->pairs[i].key.text, IN_DEFAULTS);
        if (!key || (target->said & 1u << key->field) || rota_yaml_is_null (&defaults->pairs[i].value))
            continue;
        target->key = key->name;
        key->read (target, &defaults->pairs[i].value);
    }
    target->reader->muted = false;
}
