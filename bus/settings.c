#include "bus/settings.h"

#include "bus/guess.h"
#include "bus/units.h"
#include "bus/yaml.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIST_ITEM_MAX_BYTES 4096

typedef enum {
    KIND_INTEGER,
    KIND_DURATION,
    KIND_SIZE,
    KIND_BOOLEAN,
    KIND_TEXT,
    KIND_LIST,
    KIND_CHOICE
} kind_t;

typedef struct {
    const char *id, *section, *key;
    kind_t kind;
    const char *default_text, *min, *max, *doc;
} definition_t;

static const definition_t TABLE[] = {
#define SETTING(ID, section, key, KIND, default_text, min, max, doc)                                         \
    {#ID, section, key, KIND_##KIND, default_text, min, max, doc},
#include "bus/settings.def"
};

typedef enum { FROM_DEFAULT, FROM_FILE, FROM_ENVIRONMENT } origin_t;

typedef struct {
    int64_t number;   /* of integers, durations, sizes, booleans; which one of a choice; items of a list */
    const char *text; /* of texts and choices; of the others as it was written */
    const char **list;
    origin_t origin;
    uint32_t line, column;
} value_t;

struct rota_settings {
    rota_pool_t *pool;
    const char *path; /* or NULL */
    value_t values[ROTA_SETTING_COUNT];
};

/* While it is being loaded. */
typedef struct {
    rota_settings_t *settings;
    const char *path;     /* or a variable's name, for messages */
    const char *variable; /* the one being read, or NULL */
    FILE *faults;
    rota_error_t *error;
    size_t fault_count;
    bool no_memory;
    rota_yaml_sink_t sink;
} loader_t;

static void report (void *owner, uint32_t line, uint32_t column, const char *text)
{
    loader_t *loader = owner;
    char where[ROTA_ERROR_MAX_BYTES];
    if (loader->variable)
        snprintf (where, sizeof where, "environment: %s", loader->variable);
    else if (line)
        snprintf (where, sizeof where, "%s:%u:%u", loader->path, line, column);
    else
        snprintf (where, sizeof where, "%s", loader->path);
    if (loader->faults)
        fprintf (loader->faults, "%s: error: %s\n", where, text);
    if (loader->fault_count++ == 0)
        rota_error_set (loader->error, -EINVAL, "%s: %s", where, text);
}

/* ---- one value from its text */

static int parse_number (kind_t kind, const char *text, int64_t *ret_number)
{
    bool truth = false;
    int rc;
    switch (kind) {
    case KIND_INTEGER:
        return rota_integer_parse (text, ret_number);
    case KIND_DURATION:
        return rota_duration_parse (text, ret_number);
    case KIND_SIZE:
        return rota_size_parse (text, ret_number);
    default:
        rc = rota_boolean_parse (text, &truth);
        *ret_number = truth;
        return rc;
    }
}

/* The place of `text` among the words of `choices` ("auto,off"), or -1. */
static int find_choice (const char *choices, const char *text)
{
    size_t length = strlen (text);
    for (int i = 0;; i++) {
        size_t word = strcspn (choices, ",");
        if (word == length && !memcmp (choices, text, length))
            return i;
        if (!choices[word])
            return -1;
        choices += word + 1;
    }
}

static void report_expected (loader_t *loader, const definition_t *definition, const rota_yaml_node_t *node)
{
    static const char *const WHAT[] = {[KIND_INTEGER] = "a whole number",
                                       [KIND_DURATION] = "a duration such as 90s or 1h30m",
                                       [KIND_SIZE] = "a size such as 10MiB",
                                       [KIND_BOOLEAN] = "true or false",
                                       [KIND_TEXT] = "a text",
                                       [KIND_LIST] = "a list of texts",
                                       [KIND_CHOICE] = "one of"};
    char range[128] = "", found[ROTA_YAML_SHOWN_BYTES + 4], shown[ROTA_YAML_SHOWN_BYTES];
    if (definition->kind == KIND_CHOICE)
        snprintf (range, sizeof range, " %s", definition->min);
    else if (definition->kind == KIND_TEXT || definition->kind == KIND_LIST)
        snprintf (range, sizeof range, " (%s to %s %s)", definition->min, definition->max,
                  definition->kind == KIND_TEXT ? "bytes" : "entries");
    else if (definition->kind != KIND_BOOLEAN)
        snprintf (range, sizeof range, " from %s to %s", definition->min, definition->max);
    if (node->kind == ROTA_YAML_SCALAR && !rota_yaml_is_null (node))
        snprintf (found, sizeof found, "\"%s\"", rota_yaml_show (node->text, node->count, shown));
    else
        snprintf (found, sizeof found, "%s", rota_yaml_kind_name (node));
    rota_yaml_fault (&loader->sink, node, "%s.%s: expected %s%s, found %s", definition->section,
                     definition->key, WHAT[definition->kind], range, found);
}

static bool is_in_range (const definition_t *definition, int64_t number)
{
    int64_t min = 0, max = 1;
    if (definition->kind == KIND_BOOLEAN)
        return true;
    kind_t kind =
        definition->kind == KIND_TEXT || definition->kind == KIND_LIST ? KIND_INTEGER : definition->kind;
    int rc = parse_number (kind, definition->min, &min);
    if (rc == 0)
        rc = parse_number (kind, definition->max, &max);
    assert (rc == 0); /* the table is ours */
    return number >= min && number <= max;
}

static bool parse_scalar (const definition_t *definition, const rota_yaml_node_t *node, value_t *value)
{
    /* An empty text is a value for a text alone; as a plain word it is nothing. */
    bool empty = rota_yaml_is_null (node);
    if (node->kind != ROTA_YAML_SCALAR || (empty && definition->kind != KIND_TEXT))
        return false;
    value->text = empty ? "" : node->text;
    switch (definition->kind) {
    case KIND_TEXT:
        for (const char *c = value->text; *c; c++)
            if ((unsigned char)*c < 0x20 || *c == 0x7F)
                return false;
        return is_in_range (definition, (int64_t)strlen (value->text));
    case KIND_CHOICE:
        value->number = find_choice (definition->min, node->text);
        return value->number >= 0;
    default:
        return parse_number (definition->kind, node->text, &value->number) == 0 &&
               is_in_range (definition, value->number);
    }
}

/* A YAML list; null is an empty one, and a text alone is a list of one. */
static bool parse_list (loader_t *loader, const definition_t *definition, const rota_yaml_node_t *node,
                        value_t *value)
{
    bool is_list = node->kind == ROTA_YAML_LIST;
    size_t count = is_list ? node->count : rota_yaml_is_null (node) ? 0 : 1;
    const rota_yaml_node_t *items = is_list ? node->items : node;
    if (!is_in_range (definition, (int64_t)count))
        return false;
    value->list = rota_pool_alloc (loader->settings->pool, (count + 1) * sizeof (char *));
    if (!value->list) {
        loader->no_memory = true;
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        if (items[i].kind != ROTA_YAML_SCALAR || rota_yaml_is_null (&items[i]) || !items[i].count ||
            items[i].count > LIST_ITEM_MAX_BYTES)
            return false;
        for (const char *c = items[i].text; *c; c++)
            if ((unsigned char)*c < 0x20 || *c == 0x7F)
                return false;
        value->list[i] = items[i].text;
    }
    value->number = (int64_t)count;
    return true;
}

static void set_value (loader_t *loader, int id, const rota_yaml_node_t *node, origin_t origin)
{
    const definition_t *definition = &TABLE[id];
    value_t value = {.origin = origin, .line = node->line, .column = node->column};
    bool good = definition->kind == KIND_LIST ? parse_list (loader, definition, node, &value)
                                              : parse_scalar (definition, node, &value);
    if (good)
        loader->settings->values[id] = value;
    else
        report_expected (loader, definition, node);
}

/* From a text outside of YAML: a default or a variable. Lists are separated by commas. */
static void set_text (loader_t *loader, int id, const char *text, origin_t origin)
{
    rota_pool_t *pool = loader->settings->pool;
    char *copy = rota_pool_text (pool, text, strlen (text));
    rota_yaml_node_t items[64];
    rota_yaml_node_t node = {.kind = ROTA_YAML_SCALAR, .count = (uint32_t)strlen (text), .text = copy};
    if (!copy) {
        loader->no_memory = true;
        return;
    }
    if (TABLE[id].kind == KIND_LIST) {
        uint32_t count = 0;
        char *state = NULL;
        for (char *word = strtok_r (copy, ",", &state); word && count < 64;
             word = strtok_r (NULL, ",", &state))
            items[count++] =
                (rota_yaml_node_t){.kind = ROTA_YAML_SCALAR, .count = (uint32_t)strlen (word), .text = word};
        node = (rota_yaml_node_t){.kind = ROTA_YAML_LIST, .count = count, .items = items};
    }
    set_value (loader, id, &node, origin);
}

/* ---- the file */

/* "; did you mean X?" among sections (section NULL) or the keys of one, into `guess`. */
static const char *guess_name (const char *section, const rota_yaml_node_t *key, rota_guess_t *guess)
{
    rota_guess_start (guess, key->text, key->count);
    for (int i = 0; i < ROTA_SETTING_COUNT; i++)
        if (!section)
            rota_guess_offer (guess, TABLE[i].section, strlen (TABLE[i].section));
        else if (!strcmp (TABLE[i].section, section))
            rota_guess_offer (guess, TABLE[i].key, strlen (TABLE[i].key));
    return rota_guess_end (guess);
}

static bool is_section (const char *name)
{
    for (int i = 0; i < ROTA_SETTING_COUNT; i++)
        if (!strcmp (TABLE[i].section, name))
            return true;
    return false;
}

static int find_setting (const char *section, const char *key)
{
    for (int i = 0; i < ROTA_SETTING_COUNT; i++)
        if (!strcmp (TABLE[i].section, section) && !strcmp (TABLE[i].key, key))
            return i;
    return -1;
}

static void read_section (loader_t *loader, const char *section, const rota_yaml_node_t *mapping)
{
    char shown[ROTA_YAML_SHOWN_BYTES];
    rota_guess_t guess;
    if (rota_yaml_is_null (mapping) || !rota_yaml_mapping (mapping, section, &loader->sink))
        return;
    for (uint32_t i = 0; i < mapping->count; i++) {
        const rota_yaml_pair_t *pair = &mapping->pairs[i];
        int id = find_setting (section, pair->key.text);
        if (id >= 0)
            set_value (loader, id, &pair->value, FROM_FILE);
        else
            rota_yaml_fault (&loader->sink, &pair->key, "there is no setting %s.%s%s", section,
                             rota_yaml_show (pair->key.text, pair->key.count, shown),
                             guess_name (section, &pair->key, &guess));
    }
}

static void read_file (loader_t *loader, const rota_yaml_node_t *root)
{
    char shown[ROTA_YAML_SHOWN_BYTES];
    rota_guess_t guess;
    if (rota_yaml_is_null (root) || !rota_yaml_mapping (root, "the file", &loader->sink))
        return;
    for (uint32_t i = 0; i < root->count; i++) {
        const rota_yaml_pair_t *pair = &root->pairs[i];
        if (is_section (pair->key.text))
            read_section (loader, pair->key.text, &pair->value);
        else
            rota_yaml_fault (&loader->sink, &pair->key, "there is no section %s%s",
                             rota_yaml_show (pair->key.text, pair->key.count, shown),
                             guess_name (NULL, &pair->key, &guess));
    }
}

/* ---- the environment */

/* ROTA_SCHEDULER_LEASE=...; other ROTA_ variables are not settings, but one of a section must exist. */
static void read_variable (loader_t *loader, const char *variable)
{
    const char *equals = strchr (variable, '=');
    if (!equals || strncmp (variable, "ROTA_", 5) != 0)
        return;
    size_t length = (size_t)(equals - variable) - 5;
    char name[128];
    if (length >= sizeof name)
        return;
    memcpy (name, variable + 5, length);
    name[length] = '\0';
    loader->variable = rota_pool_format (loader->settings->pool, "ROTA_%s", name);
    bool in_section = false;
    for (int i = 0; i < ROTA_SETTING_COUNT; i++) {
        if (!strcmp (TABLE[i].id, name)) {
            set_text (loader, i, equals + 1, FROM_ENVIRONMENT);
            in_section = false;
            break;
        }
        size_t section = strlen (TABLE[i].section);
        in_section |= !strncasecmp (TABLE[i].section, name, section) && name[section] == '_';
    }
    if (in_section) {
        char text[ROTA_ERROR_MAX_BYTES];
        rota_guess_t guess;
        rota_guess_start (&guess, name, length);
        for (int i = 0; i < ROTA_SETTING_COUNT; i++)
            rota_guess_offer (&guess, TABLE[i].id, strlen (TABLE[i].id));
        snprintf (text, sizeof text, "there is no such setting%s", rota_guess_end (&guess));
        report (loader, 0, 0, text);
    }
    loader->variable = NULL;
}

/* ---- what must fit together */

typedef struct {
    rota_setting_t less, more;
    const char *why;
} relation_t;

static const relation_t RELATIONS[] = {
    {ROTA_SETTING_SCHEDULER_AGENT_HEARTBEAT, ROTA_SETTING_SCHEDULER_LEASE,
     "or leases end before they can be renewed"},
    {ROTA_SETTING_BROKER_HEARTBEAT, ROTA_SETTING_BROKER_DEAD_AFTER, "or every peer counts as gone"},
};

static void check_relations (loader_t *loader)
{
    const value_t *values = loader->settings->values;
    for (size_t i = 0; i < sizeof RELATIONS / sizeof *RELATIONS; i++) {
        const relation_t *relation = &RELATIONS[i];
        const definition_t *less = &TABLE[relation->less], *more = &TABLE[relation->more];
        if (values[relation->less].number * 2 <= values[relation->more].number)
            continue;
        /* At the one that the user wrote, the later one if both. */
        const value_t *at = &values[relation->less];
        if (at->origin == FROM_DEFAULT || values[relation->more].line > at->line)
            at = &values[relation->more];
        char text[256];
        snprintf (text, sizeof text, "%s.%s (%s) must be at least twice %s.%s (%s), %s", more->section,
                  more->key, values[relation->more].text, less->section, less->key,
                  values[relation->less].text, relation->why);
        report (loader, at->origin == FROM_FILE ? at->line : 0, at->column, text);
    }
    const value_t *base = &values[ROTA_SETTING_SCHEDULER_BACKOFF_BASE],
                  *max = &values[ROTA_SETTING_SCHEDULER_BACKOFF_MAX];
    const value_t *at = base->origin == FROM_FILE ? base : max;
    if (base->number > max->number)
        report (loader, at->origin == FROM_FILE ? at->line : 0, at->column,
                "scheduler.backoff_base is longer than scheduler.backoff_max");
}

/* ---- load */

static void read_bytes (loader_t *loader, const char *bytes, size_t size_bytes)
{
    rota_pool_t *nodes = rota_pool_new ();
    const rota_yaml_node_t *root;
    if (!nodes) {
        loader->no_memory = true;
        return;
    }
    int rc = rota_yaml_parse (bytes, size_bytes, nodes, loader->settings->pool, &loader->sink, &root);
    if (rc == 0)
        read_file (loader, root);
    else if (rc == -ENOMEM)
        loader->no_memory = true;
    rota_pool_destroy (&nodes);
}

int rota_settings_parse (const char *path, const char *bytes, size_t size_bytes,
                         const char *const *environment, FILE *faults, rota_settings_t **ret_settings,
                         rota_error_t *error)
{
    rota_settings_t *settings = calloc (1, sizeof *settings);
    if (!settings || !(settings->pool = rota_pool_new ())) {
        free (settings);
        return rota_error_set (error, -ENOMEM, "out of memory");
    }
    loader_t loader = {
        .settings = settings, .path = path ? path : "built-in defaults", .faults = faults, .error = error};
    loader.sink = (rota_yaml_sink_t){report, &loader};
    if (path && !(settings->path = rota_pool_text (settings->pool, path, strlen (path))))
        loader.no_memory = true;
    for (int i = 0; i < ROTA_SETTING_COUNT; i++)
        set_text (&loader, i, TABLE[i].default_text, FROM_DEFAULT);
    assert (loader.fault_count == 0); /* the defaults fit their own ranges */
    read_bytes (&loader, bytes, size_bytes);
    for (; environment && *environment; environment++)
        read_variable (&loader, *environment);
    if (loader.fault_count == 0 && !loader.no_memory)
        check_relations (&loader);
    if (loader.no_memory || loader.fault_count) {
        rota_settings_destroy (&settings);
        return loader.no_memory ? rota_error_set (error, -ENOMEM, "out of memory") : -EINVAL;
    }
    *ret_settings = settings;
    return 0;
}

/* The file to read, NULL when there is none; *ret_named when the user asked for this one. */
static const char *find_file (const char *path, bool *ret_named)
{
    static const char *const PLACES[] = {"./rota.yaml", "/etc/rota/rota.yaml"};
    const char *named = path ? path : getenv ("ROTA_CONFIG");
    *ret_named = named && *named;
    if (*ret_named)
        return named;
    for (size_t i = 0; i < sizeof PLACES / sizeof *PLACES; i++)
        if (access (PLACES[i], F_OK) == 0)
            return PLACES[i];
    return NULL;
}

int rota_settings_load (const char *path, FILE *faults, rota_settings_t **ret_settings, rota_error_t *error)
{
    bool named;
    char *bytes = NULL;
    size_t size_bytes = 0;
    path = find_file (path, &named);
    if (path) {
        int rc = rota_yaml_read_file (path, &bytes, &size_bytes, error);
        if (rc == -ENOENT && !named)
            path = NULL; /* it went away between the look and the reading */
        else if (rc < 0)
            return rc;
    }
    int rc = rota_settings_parse (path, bytes ? bytes : "", size_bytes, (const char *const *)environ, faults,
                                  ret_settings, error);
    free (bytes);
    return rc;
}

void rota_settings_destroy (rota_settings_t **self_p)
{
    rota_settings_t *self = *self_p;
    if (!self)
        return;
    rota_pool_destroy (&self->pool);
    free (self);
    *self_p = NULL;
}

/* ---- values */

static const value_t *value_of (const rota_settings_t *self, rota_setting_t id, kind_t kind)
{
    assert ((unsigned)id < ROTA_SETTING_COUNT && TABLE[id].kind == kind);
    return &self->values[id];
}

int64_t rota_setting_integer (const rota_settings_t *self, rota_setting_t id)
{
    return value_of (self, id, KIND_INTEGER)->number;
}

int64_t rota_setting_duration_ms (const rota_settings_t *self, rota_setting_t id)
{
    return value_of (self, id, KIND_DURATION)->number;
}

int64_t rota_setting_size_bytes (const rota_settings_t *self, rota_setting_t id)
{
    return value_of (self, id, KIND_SIZE)->number;
}

bool rota_setting_boolean (const rota_settings_t *self, rota_setting_t id)
{
    return value_of (self, id, KIND_BOOLEAN)->number != 0;
}

const char *rota_setting_text (const rota_settings_t *self, rota_setting_t id)
{
    assert ((unsigned)id < ROTA_SETTING_COUNT &&
            (TABLE[id].kind == KIND_TEXT || TABLE[id].kind == KIND_CHOICE));
    return self->values[id].text;
}

int rota_setting_choice (const rota_settings_t *self, rota_setting_t id)
{
    return (int)value_of (self, id, KIND_CHOICE)->number;
}

const char *const *rota_setting_list (const rota_settings_t *self, rota_setting_t id, size_t *ret_count)
{
    const value_t *value = value_of (self, id, KIND_LIST);
    if (ret_count)
        *ret_count = (size_t)value->number;
    return value->list;
}

const char *rota_settings_path (const rota_settings_t *self)
{
    return self->path;
}

/* ---- printing */

/* A double-quoted YAML text. Values hold no control characters. */
static void print_quoted (const char *text, FILE *stream)
{
    fputc ('"', stream);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc ('\\', stream);
        fputc (*text, stream);
    }
    fputc ('"', stream);
}

static void print_value (const definition_t *definition, const value_t *value, FILE *stream)
{
    char text[ROTA_UNITS_BYTES];
    switch (definition->kind) {
    case KIND_INTEGER:
        fprintf (stream, "%" PRId64, value->number);
        break;
    case KIND_DURATION:
        rota_duration_write (value->number, text);
        fputs (text, stream);
        break;
    case KIND_SIZE:
        rota_size_write (value->number, text);
        fputs (text, stream);
        break;
    case KIND_BOOLEAN:
        fputs (value->number ? "true" : "false", stream);
        break;
    case KIND_CHOICE:
    case KIND_TEXT:
        print_quoted (value->text, stream);
        break;
    case KIND_LIST:
        fputc ('[', stream);
        for (int64_t i = 0; i < value->number; i++) {
            fputs (i ? ", " : "", stream);
            print_quoted (value->list[i], stream);
        }
        fputc (']', stream);
        break;
    }
}

void rota_settings_print (const rota_settings_t *self, FILE *stream)
{
    char shown[ROTA_YAML_SHOWN_BYTES];
    const char *section = "";
    for (int i = 0; i < ROTA_SETTING_COUNT; i++) {
        const value_t *value = &self->values[i];
        if (strcmp (TABLE[i].section, section) != 0) {
            section = TABLE[i].section;
            fprintf (stream, "%s:\n", section);
        }
        fprintf (stream, "  %s: ", TABLE[i].key);
        print_value (&TABLE[i], value, stream);
        if (value->origin == FROM_FILE)
            fprintf (stream, "  # %s:%u\n", rota_yaml_show (self->path, strlen (self->path), shown),
                     value->line);
        else if (value->origin == FROM_ENVIRONMENT)
            fprintf (stream, "  # environment: ROTA_%s\n", TABLE[i].id);
        else
            fputs ("  # default\n", stream);
    }
}

static void print_range (const definition_t *definition, FILE *stream)
{
    if (definition->kind == KIND_BOOLEAN)
        fputs ("true, false", stream);
    else if (definition->kind == KIND_CHOICE)
        for (const char *c = definition->min; *c; c++)
            fputs (*c == ',' ? ", " : (char[]){*c, '\0'}, stream);
    else
        fprintf (stream, "%s to %s%s", definition->min, definition->max,
                 definition->kind == KIND_TEXT   ? " bytes"
                 : definition->kind == KIND_LIST ? " entries"
                                                 : "");
}

void rota_settings_print_reference (FILE *stream)
{
    static const char *const KINDS[] = {"whole number", "duration", "size",  "true or false",
                                        "text",         "list",     "choice"};
    const char *section = "";
    fputs (
        "# Settings\n\n"
        "One YAML file serves all services: `--config FILE`, else `$ROTA_CONFIG`, else `./rota.yaml`, else\n"
        "`/etc/rota/rota.yaml`, else the defaults below, which work on one host. An environment variable\n"
        "`ROTA_SECTION_KEY` wins over the file; in it a list is separated by commas. Unknown keys and "
        "values\n"
        "out of range are errors. `--check-config` checks, `--print-config` shows every value and where it\n"
        "came from. Durations are written `90s`, `1h30m` (a number alone means seconds), sizes `64KiB`, "
        "`1GiB`.\n"
        "\n"
        "This page is generated from `bus/settings.def`.\n",
        stream);
    for (int i = 0; i < ROTA_SETTING_COUNT; i++) {
        const definition_t *definition = &TABLE[i];
        if (strcmp (definition->section, section) != 0) {
            section = definition->section;
            fprintf (stream, "\n## %s\n", section);
        }
        fprintf (stream, "\n### %s.%s\n\n%s\n\n", section, definition->key, definition->doc);
        fprintf (stream, "Kind: %s. Default: ", KINDS[definition->kind]);
        fprintf (stream, *definition->default_text ? "`%s`" : "empty%s", definition->default_text);
        fputs (". Allowed: ", stream);
        print_range (definition, stream);
        fprintf (stream, ". Environment: `ROTA_%s`.\n", definition->id);
    }
}
