#include "agents/described.h"

#include "agents/pattern.h"
#include "agents/reading_internal.h"
#include "bus/names.h"
#include "bus/pool.h"
#include "bus/yaml.h"

#include <errno.h>
#include <math.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 8192

typedef enum { SUCCESS, ERROR, SESSION, INPUT, OUTPUT, CACHED, COST, PATTERNS } pattern_t;

static const char *const PATTERN_KEYS[PATTERNS] = {
    "success", "error", "session", "input_tokens", "output_tokens", "cached_tokens", "cost_usd"};

enum { ARGUMENTS, RESUME, ENVIRONMENT, SET, LISTS };

static const char *const LIST_KEYS[LISTS] = {"arguments", "resume", "environment", "set"};

struct rota_described {
    rota_pool_t *pool;
    const char *name, *version;
    const char **lists[LISTS];
    rota_prompt_way_t prompt;
    int stop_signal;
    bool sum;
    bool there[PATTERNS];
    regex_t patterns[PATTERNS];
};

/* ---- reading the file */

typedef struct {
    const char *path;
    rota_error_t *error;
    size_t faults;
    rota_yaml_sink_t sink;
    rota_described_t *self;
} reader_t;

static void report (void *owner, uint32_t line, uint32_t column, const char *text)
{
    reader_t *reader = owner;
    if (reader->faults++ == 0)
        rota_error_set (reader->error, -EINVAL, "%s:%u:%u: %s", reader->path, line, column, text);
}

static int index_of (const char *const *words, int count, const rota_yaml_node_t *node)
{
    for (int i = 0; i < count; i++)
        if (rota_yaml_equals (node, words[i]))
            return i;
    return -1;
}

static void read_list (reader_t *reader, int which, const rota_yaml_node_t *node)
{
    rota_described_t *self = reader->self;
    if (node->kind != ROTA_YAML_LIST) {
        rota_yaml_fault (&reader->sink, node, "%s: expected a list, found %s", LIST_KEYS[which],
                         rota_yaml_kind_name (node));
        return;
    }
    const char **list = rota_pool_alloc (self->pool, (node->count + 1) * sizeof *list);
    for (uint32_t i = 0; list && i < node->count; i++) {
        const char *text = "";
        if (!rota_yaml_text (&node->items[i], LIST_KEYS[which], &reader->sink, &text))
            return;
        if (which == SET && !strchr (text, '='))
            rota_yaml_fault (&reader->sink, &node->items[i], "set: expected NAME=VALUE");
        list[i] = rota_pool_text (self->pool, text, strlen (text));
    }
    if (list)
        self->lists[which] = list;
}

static void read_pattern (reader_t *reader, int which, const rota_yaml_node_t *node)
{
    rota_described_t *self = reader->self;
    const char *text;
    rota_error_t error;
    if (!rota_yaml_text (node, PATTERN_KEYS[which], &reader->sink, &text))
        return;
    if (rota_pattern_compile (&self->patterns[which], text, REG_NEWLINE, &error) < 0) {
        rota_yaml_fault (&reader->sink, node, "%s: %s", PATTERN_KEYS[which], error.text);
        return;
    }
    self->there[which] = true;
    if (which != SUCCESS && self->patterns[which].re_nsub < 1)
        rota_yaml_fault (&reader->sink, node, "%s: the pattern needs a group (...) for what is to be read",
                         PATTERN_KEYS[which]);
}

static void read_word (reader_t *reader, const char *key, const rota_yaml_node_t *node)
{
    static const char *const PROMPTS[] = {"stdin", "argument", "file"},
                             *const STOPS[] = {"TERM", "INT", "KILL"}, *const USAGES[] = {"last", "sum"};
    static const int SIGNALS[] = {SIGTERM, SIGINT, SIGKILL};
    rota_described_t *self = reader->self;
    int at = -1;
    if (strcmp (key, "prompt") == 0 && (at = index_of (PROMPTS, 3, node)) >= 0)
        self->prompt = (rota_prompt_way_t)at;
    else if (strcmp (key, "stop") == 0 && (at = index_of (STOPS, 3, node)) >= 0)
        self->stop_signal = SIGNALS[at];
    else if (strcmp (key, "usage") == 0 && (at = index_of (USAGES, 2, node)) >= 0)
        self->sum = at == 1;
    else
        rota_yaml_fault (&reader->sink, node, "%s: expected %s", key,
                         *key == 'p'   ? "stdin, argument or file"
                         : *key == 's' ? "TERM, INT or KILL"
                                       : "last or sum");
}

static void read_text (reader_t *reader, const char *key, const rota_yaml_node_t *node, const char **at)
{
    const char *text, *reason;
    if (!rota_yaml_text (node, key, &reader->sink, &text))
        return;
    if (strcmp (key, "name") == 0 && rota_id_check (text, strlen (text), &reason) < 0)
        rota_yaml_fault (&reader->sink, node, "name: %s", reason);
    const char *copy = rota_pool_text (reader->self->pool, text, strlen (text));
    *at = copy ? copy : *at;
}

static void read_pair (reader_t *reader, const rota_yaml_pair_t *pair)
{
    const rota_yaml_node_t *key = &pair->key;
    int which;
    if ((which = index_of (LIST_KEYS, LISTS, key)) >= 0)
        read_list (reader, which, &pair->value);
    else if ((which = index_of (PATTERN_KEYS, PATTERNS, key)) >= 0)
        read_pattern (reader, which, &pair->value);
    else if (rota_yaml_equals (key, "name"))
        read_text (reader, "name", &pair->value, &reader->self->name);
    else if (rota_yaml_equals (key, "version"))
        read_text (reader, "version", &pair->value, &reader->self->version);
    else if (rota_yaml_equals (key, "prompt") || rota_yaml_equals (key, "stop") ||
             rota_yaml_equals (key, "usage"))
        read_word (reader, key->text, &pair->value);
    else
        rota_yaml_fault (&reader->sink, key, "a description has no %.60s", key->text);
}

static int read_all (reader_t *reader, const char *bytes, size_t size)
{
    rota_described_t *self = reader->self;
    rota_pool_t *nodes = rota_pool_new ();
    const rota_yaml_node_t *root = NULL;
    int status = nodes ? rota_yaml_parse (bytes, size, nodes, nodes, &reader->sink, &root) : -ENOMEM;
    bool mapping = status == 0 && rota_yaml_mapping (root, "the file", &reader->sink);
    for (uint32_t i = 0; mapping && i < root->count; i++)
        read_pair (reader, &root->pairs[i]);
    if (mapping && !reader->faults && (!*self->name || !self->lists[ARGUMENTS] || !self->lists[ARGUMENTS][0]))
        rota_yaml_fault (&reader->sink, root, "a description needs a name and arguments");
    rota_pool_destroy (&nodes);
    return status < 0 ? status : reader->faults ? -EINVAL : 0;
}

rota_described_t *rota_described_read (const char *path, rota_error_t *error)
{
    static const char *NOTHING[] = {NULL};
    char *bytes;
    size_t size;
    if (rota_yaml_read_file (path, &bytes, &size, error) < 0)
        return NULL;
    rota_described_t *self = calloc (1, sizeof *self);
    reader_t reader = {.path = path, .error = error, .self = self};
    reader.sink = (rota_yaml_sink_t){report, &reader};
    int status = -ENOMEM;
    if (self && (self->pool = rota_pool_new ())) {
        self->name = self->version = "";
        self->stop_signal = SIGTERM;
        status = read_all (&reader, bytes, size);
    }
    for (int i = 0; self && i < LISTS; i++)
        self->lists[i] = self->lists[i] ? self->lists[i] : NOTHING;
    free (bytes);
    if (status == -ENOMEM)
        rota_error_set (error, status, "out of memory");
    if (status < 0)
        rota_described_destroy (&self);
    return self;
}

void rota_described_destroy (rota_described_t **self_p)
{
    rota_described_t *self = *self_p;
    if (!self)
        return;
    for (int i = 0; i < PATTERNS; i++)
        if (self->there[i])
            regfree (&self->patterns[i]);
    rota_pool_destroy (&self->pool);
    free (self);
    *self_p = NULL;
}

const char *rota_described_name (const rota_described_t *self)
{
    return self->name;
}

const char *const *rota_described_arguments (const rota_described_t *self)
{
    return self->lists[ARGUMENTS];
}

const char *const *rota_described_resume (const rota_described_t *self)
{
    return self->lists[RESUME];
}

const char *const *rota_described_environment (const rota_described_t *self)
{
    return self->lists[ENVIRONMENT];
}

const char *const *rota_described_set (const rota_described_t *self)
{
    return self->lists[SET];
}

rota_prompt_way_t rota_described_prompt (const rota_described_t *self)
{
    return self->prompt;
}

int rota_described_stop_signal (const rota_described_t *self)
{
    return self->stop_signal;
}

const char *rota_described_version (const rota_described_t *self)
{
    return self->version;
}

bool rota_described_says_success (const rota_described_t *self)
{
    return self->there[SUCCESS];
}

/* ---- reading what it printed */

/* The group of the pattern in the line, as a text; false when it doesn't match. */
static bool take (const rota_described_t *self, pattern_t which, const char *line, char ret_text[LINE_BYTES])
{
    regmatch_t groups[2];
    if (!self->there[which] || regexec (&self->patterns[which], line, 2, groups, 0) != 0 ||
        groups[1].rm_so < 0)
        return false;
    snprintf (ret_text, LINE_BYTES, "%.*s", (int)(groups[1].rm_eo - groups[1].rm_so), line + groups[1].rm_so);
    return true;
}

static void count (const rota_described_t *self, pattern_t which, const char *line, double scale,
                   rota_known_t *counter)
{
    char text[LINE_BYTES], *end;
    if (!take (self, which, line, text))
        return;
    double value = strtod (text, &end) * scale;
    if (end == text || !(value >= 0) || value > 1e18)
        return;
    counter->value = (self->sum ? counter->value : 0) + (uint64_t)llround (value);
    counter->known = true;
}

/* It comes from a line in which the agent may have said anything, and becomes an argument of the program: no
 * option, no path. */
static bool is_session (const char *text)
{
    static const char PLAIN[] = "._:-ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    size_t length = strlen (text);
    return length > 0 && length < ROTA_READING_SESSION_BYTES && strspn (text, PLAIN) == length &&
           !strchr ("._:-", *text) && !strstr (text, "..");
}

void rota_read_described (rota_reading_t *reading, const char *line, size_t size_bytes)
{
    const rota_described_t *self = reading->description;
    char text[LINE_BYTES], plain[LINE_BYTES];
    size_t size = size_bytes < sizeof plain - 1 ? size_bytes : sizeof plain - 1;
    for (size_t i = 0; i < size; i++)
        plain[i] = line[i] ? line[i] : ' ';
    plain[size] = '\0';

    reading->began = true;
    if (take (self, SESSION, plain, text) && is_session (text))
        rota_reading_copy (reading->session, sizeof reading->session, 0, text, strlen (text));
    count (self, INPUT, plain, 1, &reading->usage.input_tokens);
    count (self, OUTPUT, plain, 1, &reading->usage.output_tokens);
    count (self, CACHED, plain, 1, &reading->usage.cached_tokens);
    count (self, COST, plain, 1e9, &reading->usage.cost_nano_usd);
    if (take (self, ERROR, plain, text))
        rota_reading_note (reading, &(rota_reading_fault_t){.provider = self->name, .text = text});
    else if (self->there[SUCCESS] && regexec (&self->patterns[SUCCESS], plain, 0, NULL, 0) == 0)
        rota_reading_complete (reading);
    else
        rota_reading_say (reading, plain, size);
    /* Without a pattern of its own the exit code alone says success. */
    reading->completed |= !self->there[SUCCESS];
}
