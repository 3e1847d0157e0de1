#include "agents/limits.h"

#include "agents/pattern.h"
#include "agents/reset_time.h"
#include "bus/log.h"
#include "bus/names.h"
#include "bus/yaml.h"
#include "proto/words.h"

#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TEXT_BYTES 8192
#define RULES_MAX 1000

extern const char ROTA_LIMITS_BUILT_IN[];
extern const size_t ROTA_LIMITS_BUILT_IN_BYTES;

typedef struct {
    char *name, *provider; /* provider "" = any */
    regex_t pattern;
    Rota__ResultClass result_class;
    Rota__LimitKind limit_kind;
} rule_t;

typedef struct {
    rule_t *rules;
    size_t count;
} table_t;

struct rota_limits {
    char *path; /* NULL = built in */
    struct timespec modified;
    ino_t inode;
    table_t table;
};

static void clear (table_t *table)
{
    for (size_t i = 0; i < table->count; i++) {
        free (table->rules[i].name);
        free (table->rules[i].provider);
        regfree (&table->rules[i].pattern);
    }
    free (table->rules);
    *table = (table_t){0};
}

/* ---- reading the rules */

static const struct {
    const char *word;
    int value;
} CLASSES[] = {{"limited", RESULT (LIMITED)},
               {"context_limit", RESULT (CONTEXT_LIMIT)},
               {"auth", RESULT (AUTH)},
               {"network", RESULT (NETWORK)},
               {"invalid", RESULT (INVALID)}},
  KINDS[] = {{"burst", LIMIT (BURST)},
             {"window", LIMIT (WINDOW)},
             {"capacity", LIMIT (CAPACITY)},
             {"credit", LIMIT (CREDIT)}};

typedef struct {
    const char *path;
    rota_error_t *error;
    size_t faults;
    rota_yaml_sink_t sink;
} reader_t;

/* The first fault is told, with its place. */
static void report (void *owner, uint32_t line, uint32_t column, const char *text)
{
    reader_t *self = owner;
    if (self->faults++ == 0)
        rota_error_set (self->error, -EINVAL, "%s:%u:%u: %s", self->path, line, column, text);
}

static int read_word (reader_t *self, const rota_yaml_node_t *rule, const char *key, bool class)
{
    const rota_yaml_node_t *node = rota_yaml_get (rule, key);
    size_t count = class ? sizeof CLASSES / sizeof *CLASSES : sizeof KINDS / sizeof *KINDS;
    for (size_t i = 0; i < count; i++)
        if (node && rota_yaml_equals (node, class ? CLASSES[i].word : KINDS[i].word))
            return class ? CLASSES[i].value : KINDS[i].value;
    rota_yaml_fault (&self->sink, node ? node : rule, "%s: expected %s", key,
                     class ? "limited, context_limit, auth, network or invalid"
                           : "burst, window, capacity or credit");
    return 0;
}

static bool has_only_known_keys (reader_t *self, const rota_yaml_node_t *rule)
{
    static const char *const KEYS[] = {"name", "provider", "pattern", "class", "kind"};
    for (uint32_t i = 0; i < rule->count; i++) {
        bool known = false;
        for (size_t k = 0; k < sizeof KEYS / sizeof *KEYS; k++)
            known |= rota_yaml_equals (&rule->pairs[i].key, KEYS[k]);
        if (!known) {
            rota_yaml_fault (&self->sink, &rule->pairs[i].key,
                             "a rule has name, provider, pattern, class and kind, no %.60s",
                             rule->pairs[i].key.text);
            return false;
        }
    }
    return true;
}

static bool read_rule (reader_t *self, const rota_yaml_node_t *node, rule_t *ret_rule)
{
    const char *name = NULL, *pattern = NULL, *provider = "";
    if (!rota_yaml_mapping (node, "a rule", &self->sink) || !has_only_known_keys (self, node))
        return false;
    const rota_yaml_node_t *pattern_node = rota_yaml_get (node, "pattern"),
                           *name_node = rota_yaml_get (node, "name"),
                           *provider_node = rota_yaml_get (node, "provider");
    if (!name_node || !pattern_node) {
        rota_yaml_fault (&self->sink, node, "a rule needs a name and a pattern");
        return false;
    }
    if (!rota_yaml_text (name_node, "name", &self->sink, &name) ||
        !rota_yaml_text (pattern_node, "pattern", &self->sink, &pattern) ||
        (provider_node && !rota_yaml_text (provider_node, "provider", &self->sink, &provider)))
        return false;
    ret_rule->result_class = (Rota__ResultClass)read_word (self, node, "class", true);
    bool limited = ret_rule->result_class == RESULT (LIMITED);
    if (limited)
        ret_rule->limit_kind = (Rota__LimitKind)read_word (self, node, "kind", false);
    if (!ret_rule->result_class || (limited && !ret_rule->limit_kind))
        return false;
    rota_error_t error;
    if (rota_pattern_compile (&ret_rule->pattern, pattern, REG_ICASE | REG_NOSUB, &error) < 0) {
        rota_yaml_fault (&self->sink, pattern_node, "pattern: %s", error.text);
        return false;
    }
    if (regexec (&ret_rule->pattern, "", 0, NULL, 0) == 0) {
        rota_yaml_fault (&self->sink, pattern_node, "pattern: it matches every text");
        regfree (&ret_rule->pattern);
        return false;
    }
    ret_rule->name = strdup (name);
    ret_rule->provider = strdup (provider);
    if (ret_rule->name && ret_rule->provider)
        return true;
    free (ret_rule->name);
    free (ret_rule->provider);
    regfree (&ret_rule->pattern);
    return false;
}

static int read_rules (const char *path, const char *bytes, size_t size, table_t *ret_table,
                       rota_error_t *error)
{
    reader_t self = {.path = path, .error = error};
    self.sink = (rota_yaml_sink_t){report, &self};
    rota_pool_t *pool = rota_pool_new ();
    const rota_yaml_node_t *root = NULL, *rules = NULL;
    int status = pool ? rota_yaml_parse (bytes, size, pool, pool, &self.sink, &root) : -ENOMEM;
    if (status == 0 && rota_yaml_mapping (root, "the file", &self.sink))
        rules = rota_yaml_get (root, "rules");
    if (status == 0 &&
        (!rules || rules->kind != ROTA_YAML_LIST || rules->count == 0 || rules->count > RULES_MAX))
        rota_yaml_fault (&self.sink, rules ? rules : root, "expected `rules:`, a list of 1 to %d rules",
                         RULES_MAX);
    else if (status == 0)
        ret_table->rules = calloc (rules->count, sizeof *ret_table->rules);
    for (uint32_t i = 0; ret_table->rules && i < rules->count; i++)
        ret_table->count += read_rule (&self, &rules->items[i], &ret_table->rules[ret_table->count]);
    if (status == 0 && self.faults)
        status = -EINVAL;
    if (status == 0 && (!ret_table->rules || ret_table->count < rules->count))
        status = rota_error_set (error, -ENOMEM, "out of memory");
    if (status < 0)
        clear (ret_table);
    rota_pool_destroy (&pool);
    return status;
}

static int load (rota_limits_t *self, table_t *ret_table, rota_error_t *error)
{
    char *bytes;
    size_t size;
    struct stat file;
    *ret_table = (table_t){0};
    if (!self->path)
        return read_rules ("agents/limits.yaml", ROTA_LIMITS_BUILT_IN, ROTA_LIMITS_BUILT_IN_BYTES, ret_table,
                           error);
    if (stat (self->path, &file) == 0) {
        self->modified = file.st_mtim;
        self->inode = file.st_ino;
    }
    int status = rota_yaml_read_file (self->path, &bytes, &size, error);
    if (status < 0)
        return status;
    status = read_rules (self->path, bytes, size, ret_table, error);
    free (bytes);
    return status;
}

rota_limits_t *rota_limits_new (const char *path, rota_error_t *error)
{
    rota_limits_t *self = calloc (1, sizeof *self);
    bool memory = self && (!path || (self->path = strdup (path)));
    if (!memory)
        rota_error_set (error, -ENOMEM, "out of memory");
    if (!memory || load (self, &self->table, error) < 0)
        rota_limits_destroy (&self);
    return self;
}

void rota_limits_destroy (rota_limits_t **self_p)
{
    rota_limits_t *self = *self_p;
    if (!self)
        return;
    clear (&self->table);
    free (self->path);
    free (self);
    *self_p = NULL;
}

int rota_limits_refresh (rota_limits_t *self, rota_error_t *error)
{
    struct stat file;
    table_t fresh;
    if (!self->path || stat (self->path, &file) < 0)
        return 0;
    bool same = file.st_mtim.tv_sec == self->modified.tv_sec &&
                file.st_mtim.tv_nsec == self->modified.tv_nsec && file.st_ino == self->inode;
    if (same)
        return 0;
    int status = load (self, &fresh, error);
    if (status < 0) {
        rota_log (ROTA_LOG_ERROR, "limits.refused", "reason=\"%s\"", error->text);
        return status;
    }
    clear (&self->table);
    self->table = fresh;
    return 1;
}

/* ---- matching */

/* What programs print for the keyboard's ' and space. */
static const struct {
    const char *bytes;
    char plain;
} TYPOGRAPHY[] = {{"\xe2\x80\x98", '\''}, {"\xe2\x80\x99", '\''}, {"\xca\xbc", '\''},
                  {"\xc2\xa0", ' '},      {"\xe2\x80\x89", ' '},  {"\xe2\x80\xaf", ' '}};

/* Rules are written with the keyboard's apostrophe, and one space for any number of spaces and line ends. */
static void make_plain (const char *text, size_t size, char ret_text[TEXT_BYTES + 1])
{
    size_t used = 0;
    for (size_t i = 0; i < size && used < TEXT_BYTES; i++) {
        char plain = text[i] && !strchr ("\t\r\n\v\f", text[i]) ? text[i] : ' ';
        for (size_t t = 0; t < sizeof TYPOGRAPHY / sizeof *TYPOGRAPHY && (text[i] & 0x80); t++) {
            size_t length = strlen (TYPOGRAPHY[t].bytes);
            if (length > size - i || memcmp (text + i, TYPOGRAPHY[t].bytes, length) != 0)
                continue;
            plain = TYPOGRAPHY[t].plain;
            i += length - 1;
            break;
        }
        if (plain != ' ' || used == 0 || ret_text[used - 1] != ' ')
            ret_text[used++] = plain;
    }
    ret_text[used] = '\0';
}

void rota_limits_match (const rota_limits_t *self, const char *provider, const char *text, size_t size_bytes,
                        int64_t now_ms, const char *zone, rota_limit_match_t *ret_match)
{
    char plain[TEXT_BYTES + 1];
    *ret_match = (rota_limit_match_t){0};
    make_plain (text, size_bytes, plain);
    for (size_t i = 0; i < self->table.count; i++) {
        const rule_t *rule = &self->table.rules[i];
        if (rule->provider[0] && (!provider || strcmp (rule->provider, provider) != 0))
            continue;
        if (regexec (&rule->pattern, plain, 0, NULL, 0) != 0)
            continue;
        *ret_match = (rota_limit_match_t){
            .result_class = rule->result_class, .limit_kind = rule->limit_kind, .rule = rule->name};
        if (rule->result_class == RESULT (LIMITED) &&
            !rota_reset_time_in_text (plain, strlen (plain), now_ms, zone, &ret_match->until_ms))
            ret_match->until_ms = 0;
        return;
    }
}
