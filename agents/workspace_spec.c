/* workspace_spec.c - SPEC and the record: JSON in, JSON out. */
#include "agents/files.h"
#include "agents/workspace_internal.h"
#include "bus/names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SPEC_MAX_BYTES ((size_t)4 << 20)
#define LIST_MAX 1000
#define PART_BYTES ((int64_t)200 << 10)
#define GATE_TIMEOUT_MS ((int64_t)30 * 60 * 1000)
#define RETENTION_MS ((int64_t)14 * 24 * 60 * 60 * 1000)
#define REPLACED "\xEF\xBF\xBD" /* U+FFFD */

typedef struct {
    const json_t *root;
    rota_pool_t *pool;
    rota_error_t *error;
    bool bad;
} reading_t;

__attribute__ ((format (printf, 2, 3))) static void blame (reading_t *self, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (text, sizeof text, format, arguments);
    va_end (arguments);
    if (!self->bad)
        rota_error_set (self->error, -EINVAL, "%s", text);
    self->bad = true;
}

/* jansson's texts have no NUL unless they are asked for. */
static const char *copy (reading_t *self, const json_t *value, const char *what)
{
    const char *text = json_string_value (value);
    if (!value || json_is_null (value))
        return NULL;
    if (!text) {
        blame (self, "%s must be a text", what);
        return NULL;
    }
    char *made = rota_pool_text (self->pool, text, strlen (text));
    if (!made)
        blame (self, "no memory");
    return *text ? made : NULL;
}

static const char *text_of (reading_t *self, const char *key)
{
    return copy (self, json_object_get (self->root, key), key);
}

static int64_t number_of (reading_t *self, const char *key, int64_t otherwise)
{
    const json_t *value = json_object_get (self->root, key);
    if (!value || json_is_null (value))
        return otherwise;
    if (!json_is_integer (value) || json_integer_value (value) < 0)
        blame (self, "%s must be a number from 0 on", key);
    return json_integer_value (value);
}

static const json_t *list_of (reading_t *self, const char *key)
{
    const json_t *list = json_object_get (self->root, key);
    if (list && !json_is_null (list) && (!json_is_array (list) || json_array_size (list) > LIST_MAX))
        blame (self, "%s must be a list of at most %d", key, LIST_MAX);
    return json_is_array (list) ? list : NULL;
}

static const char **texts_of (reading_t *self, const char *key, bool paths)
{
    const json_t *list = list_of (self, key), *item;
    const char **texts = rota_pool_alloc (self->pool, (json_array_size (list) + 1) * sizeof *texts);
    size_t index, count = 0;
    if (!texts)
        blame (self, "no memory");
    json_array_foreach (list, index, item)
    {
        const char *text = texts ? copy (self, item, key) : NULL;
        if (!text || (paths && *text != '/'))
            blame (self, "%s must be a list of %s", key, paths ? "absolute paths" : "texts");
        else
            texts[count++] = text;
    }
    return texts;
}

static rota_workspace_gate_t *read_gates (reading_t *self, size_t *ret_count)
{
    const json_t *list = list_of (self, "gates"), *item;
    rota_workspace_gate_t *gates = rota_pool_alloc (self->pool, (json_array_size (list) + 1) * sizeof *gates);
    size_t index, count = 0;
    json_array_foreach (list, index, item)
    {
        const json_t *timeout = json_object_get (item, "timeout_ms");
        rota_workspace_gate_t *gate = gates ? &gates[count++] : NULL;
        if (!gate)
            break;
        gate->name = copy (self, json_object_get (item, "name"), "a gate's name");
        gate->command = copy (self, json_object_get (item, "command"), "a gate's command");
        gate->timeout_ms = json_integer_value (timeout) > 0 ? json_integer_value (timeout) : GATE_TIMEOUT_MS;
        if (!gate->name)
            blame (self, "a gate has no name");
    }
    *ret_count = count;
    return gates;
}

static rota_workspace_check_t *read_checks (reading_t *self, size_t *ret_count)
{
    const json_t *list = list_of (self, "checks"), *item;
    size_t index;
    rota_workspace_check_t *checks =
        rota_pool_alloc (self->pool, (json_array_size (list) + 1) * sizeof *checks);
    json_array_foreach (list, index, item)
    {
        rota_workspace_check_t *check = checks ? &checks[(*ret_count)++] : NULL;
        if (!check)
            break;
        check->kind = copy (self, json_object_get (item, "kind"), "a check's kind");
        check->value = copy (self, json_object_get (item, "value"), "a check's value");
        if (!check->kind || !check->value)
            blame (self, "a check has no kind or no value");
    }
    return checks;
}

static void read_members (reading_t *self, rota_workspace_spec_t *spec)
{
    const json_t *list = list_of (self, "members"), *item, *root = self->root;
    size_t index;
    spec->members = rota_pool_alloc (self->pool, (json_array_size (list) + 1) * sizeof *spec->members);
    json_array_foreach (list, index, item)
    {
        rota_workspace_member_t *member = spec->members ? &spec->members[spec->member_count++] : NULL;
        if (!member)
            break;
        self->root = item;
        member->task = text_of (self, "task");
        member->title = text_of (self, "title");
        member->start = text_of (self, "start");
        member->branch = text_of (self, "branch");
        member->worked_by = text_of (self, "worked_by");
        member->attempt = number_of (self, "attempt", 0);
        member->gates = read_gates (self, &member->gate_count);
        member->checks = read_checks (self, &member->check_count);
        member->reviewers = texts_of (self, "reviewed_by", false);
        if (!member->start || !rota_git_is_oid (member->start))
            blame (self, "a member's start must be the whole name of a commit");
    }
    self->root = root;
}

static void validate (reading_t *self, const rota_workspace_spec_t *spec)
{
    const struct {
        const char *name, *path;
    } PATHS[] = {{"clone", spec->clone}, {"record", spec->record}};
    if (!spec->repository || (*spec->repository != '/' && !rota_repository_is_remote (spec->repository)))
        blame (self, "repository must be an absolute path or a URL");
    for (size_t i = 0; i < sizeof PATHS / sizeof *PATHS; i++)
        if (!PATHS[i].path || *PATHS[i].path != '/' || strchr (PATHS[i].path, '\n'))
            blame (self, "%s must be an absolute path", PATHS[i].name);
    if ((spec->start && !rota_git_is_oid (spec->start)) || (spec->base && !rota_git_is_oid (spec->base)) ||
        (spec->left && !rota_git_is_oid (spec->left)))
        blame (self, "start, base and left must be whole names of commits");
    if (spec->target && *spec->target == '-')
        blame (self, "\"%s\" is no branch", spec->target);
    if (spec->step == ROTA_WORKSPACE_WORK &&
        (!spec->branch || strncmp (spec->branch, ROTA_WORK_PREFIX, strlen (ROTA_WORK_PREFIX)) != 0))
        blame (self, "branch must begin with " ROTA_WORK_PREFIX);
    if (spec->step != ROTA_WORKSPACE_WORK && !spec->start)
        blame (self, "start is missing");
}

static void read_all (reading_t *self, rota_workspace_spec_t *spec)
{
    static const char *const STEPS[] = {"work", "gate", "review", "merge"};
    const char *step = text_of (self, "step"), *isolate = text_of (self, "isolate");
    size_t number = 0;
    while (number < 4 && (!step || strcmp (step, STEPS[number]) != 0))
        number++;
    if (number == 4)
        blame (self, "step must be work, gate, review or merge");
    if (isolate && strcmp (isolate, "auto") != 0 && strcmp (isolate, "off") != 0)
        blame (self, "isolate must be auto or off");
    *spec = (rota_workspace_spec_t){
        .step = (rota_workspace_step_t)number,
        .repository = text_of (self, "repository"),
        .target = text_of (self, "target"),
        .start = text_of (self, "start"),
        .base = text_of (self, "base"),
        .branch = text_of (self, "branch"),
        .clone = text_of (self, "clone"),
        .record = text_of (self, "record"),
        .setup = text_of (self, "setup"),
        .task = text_of (self, "task"),
        .title = text_of (self, "title"),
        .agent = text_of (self, "agent"),
        .left = text_of (self, "left"),
        .gate_cache = text_of (self, "gate_cache"),
        .gate_cache_ms = number_of (self, "gate_cache_ms", 0),
        .attempt = number_of (self, "attempt", 0),
        .gate_retries = number_of (self, "gate_retries", 1),
        .least_ms = number_of (self, "least_ms", 0),
        .expects_change = json_is_true (json_object_get (self->root, "expects_change")),
        .steerable = json_is_true (json_object_get (self->root, "steerable")),
        .isolate_off = isolate && strcmp (isolate, "off") == 0,
        .hide = texts_of (self, "hide", true),
        .keep = texts_of (self, "keep", true),
        .show = texts_of (self, "show", true),
        .programs = texts_of (self, "programs", false),
        .sandbox_paths = texts_of (self, "sandbox_paths", false),
        .home = text_of (self, "home"),
        .worked_by = text_of (self, "worked_by"),
        .mirrors = text_of (self, "mirrors"),
        .setups = text_of (self, "setups"),
        .setup_needs = texts_of (self, "setup_needs", false),
        .setup_makes = texts_of (self, "setup_makes", false),
        .cache_retention_ms = number_of (self, "cache_retention_ms", RETENTION_MS),
        .reviewers = texts_of (self, "reviewed_by", false),
        .touches = texts_of (self, "touches", false),
        .credentials = texts_of (self, "credentials", false),
        .part = number_of (self, "part", 1),
        .part_bytes = number_of (self, "part_bytes", PART_BYTES),
        .asked_again = json_is_true (json_object_get (self->root, "asked_again")),
        .flaky_fails = json_is_true (json_object_get (self->root, "flaky_fails")),
        .touches_strict = json_is_true (json_object_get (self->root, "touches_strict")),
    };
    if (json_is_object (json_object_get (self->root, "told")))
        spec->told = json_deep_copy (json_object_get (self->root, "told"));
    spec->gates = read_gates (self, &spec->gate_count);
    read_members (self, spec);
    spec->checks = read_checks (self, &spec->check_count);
}

int rota_workspace_read_spec (const char *path, rota_pool_t *pool, rota_workspace_spec_t *ret_spec,
                              rota_error_t *error)
{
    json_error_t where;
    struct stat info;
    rota_workspace_spec_t spec = {0};
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat (fd, &info) < 0 || (uint64_t)info.st_size > SPEC_MAX_BYTES) {
        int code = fd < 0 ? errno : EFBIG;
        if (fd >= 0)
            close (fd);
        return rota_error_set (error, -EINVAL, "%s: %s", path, strerror (code));
    }
    json_t *root = json_loadfd (fd, JSON_REJECT_DUPLICATES, &where);
    close (fd);
    if (!json_is_object (root)) {
        json_decref (root);
        return rota_error_set (error, -EINVAL, "%s: line %d: %s", path, where.line, where.text);
    }
    reading_t self = {root, pool, error, false};
    read_all (&self, &spec);
    if (!self.bad)
        validate (&self, &spec);
    json_decref (root);
    if (self.bad)
        return rota_error_prefix (error, -EINVAL, "%s", path);
    *ret_spec = spec;
    return 0;
}

/* ---- the record */

json_t *rota_workspace_text (const char *bytes, size_t size_bytes)
{
    rota_bytes_t text = {.max_bytes = 4 * size_bytes + 1};
    for (const char *end = bytes + size_bytes; bytes < end;) {
        size_t length = rota_utf8_sequence (bytes, (size_t)(end - bytes));
        bool control = length == 1 && ((unsigned char)*bytes < 0x20 || *bytes == 0x7F);
        if (!length)
            rota_bytes_take (&text, REPLACED, strlen (REPLACED));
        else if (control && *bytes != '\n' && *bytes != '\t')
            rota_bytes_take (&text, " ", 1);
        else
            rota_bytes_take (&text, bytes, length);
        bytes += length ? length : 1;
    }
    json_t *value = json_stringn (text.bytes ? text.bytes : "", text.size_bytes);
    rota_bytes_clear (&text);
    return value;
}

void rota_workspace_tell (rota_workspace_t *self, const char *key, const char *text)
{
    json_object_set_new (self->record, key, rota_workspace_text (text, strlen (text)));
}

bool rota_workspace_is_concluded (const rota_workspace_t *self)
{
    return json_object_get (self->record, "state") != NULL;
}

int rota_workspace_conclude (rota_workspace_t *self, const char *state, const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (text, sizeof text, format, arguments);
    va_end (arguments);
    if (rota_workspace_is_concluded (self))
        return 1;
    const char *notes = self->clone.notes ? self->clone.notes : "";
    char *message = rota_pool_format (self->pool, "%s%s%s", text, *text && *notes ? "; " : "", notes);
    if (!message)
        return 1; /* without a state there is no record */
    json_object_set_new (self->record, "state", json_string (state));
    rota_workspace_tell (self, "message", message);
    if (*message)
        fprintf (stderr, "rota-agent: %s\n", message);
    return 1;
}

int rota_workspace_fail (rota_workspace_t *self, const rota_error_t *error)
{
    return rota_workspace_conclude (self, "environment", "%s", error->text);
}

int rota_workspace_write_record (const rota_workspace_t *self, rota_error_t *error)
{
    char *text = json_dumps (self->record, JSON_INDENT (2) | JSON_ENSURE_ASCII);
    if (!text)
        return rota_error_set (error, -ENOMEM, "the record can't be written: no memory");
    int status = rota_files_replace (self->spec.record, text, strlen (text), error);
    free (text);
    return status;
}
