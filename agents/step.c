#include "agents/step.h"

#include "agents/briefing.h"
#include "agents/converse.h"
#include "agents/environment.h"
#include "agents/verdict.h"
#include "agents/workspace.h"
#include "bus/names.h"
#include "proto/words.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- files */

static bool path_of (const char *log_path, const char *ending, char ret_path[PATH_MAX])
{
    return snprintf (ret_path, PATH_MAX, "%s.%s", log_path, ending) < PATH_MAX;
}

/* NULL when it isn't there, or isn't what it should be. */
static json_t *load (const char *log_path, const char *ending)
{
    char path[PATH_MAX];
    json_t *object = path_of (log_path, ending, path) ? json_load_file (path, 0, NULL) : NULL;
    if (json_is_object (object))
        return object;
    json_decref (object);
    return NULL;
}

static int store (const char *log_path, const char *ending, const json_t *object)
{
    char path[PATH_MAX], fresh[PATH_MAX];
    if (!path_of (log_path, ending, path) || !path_of (path, "new", fresh))
        return -ENAMETOOLONG;
    int fd = open (fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int status = json_dumpfd (object, fd, JSON_COMPACT) < 0 ? -EIO : 0;
    if (close (fd) < 0 || (status == 0 && rename (fresh, path) < 0))
        status = -errno;
    if (status < 0)
        unlink (fresh);
    return status;
}

/* ---- before */

static json_t *text_of (ProtobufCBinaryData bytes)
{
    return json_stringn (bytes.data ? (const char *)bytes.data : "", bytes.len);
}

static void set_text (json_t *spec, const char *key, bool has, ProtobufCBinaryData bytes)
{
    if (has && bytes.len)
        json_object_set_new (spec, key, text_of (bytes));
}

static void set_texts (json_t *spec, const char *key, size_t count, const ProtobufCBinaryData *items)
{
    json_t *list = json_array ();
    for (size_t i = 0; i < count; i++)
        json_array_append_new (list, text_of (items[i]));
    json_object_set_new (spec, key, list);
}

static const char *word_of (Rota__Phase phase)
{
    switch (phase) {
    case PHASE (GATE):
        return "gate";
    case PHASE (REVIEW):
        return "review";
    case PHASE (MERGE):
        return "merge";
    default:
        return "work";
    }
}

static json_t *gates_of (const Rota__Repository *repository)
{
    json_t *gates = json_array ();
    for (size_t i = 0; i < repository->n_gates; i++) {
        const Rota__Gate *it = repository->gates[i];
        json_t *gate = json_pack ("{s:o}", "name", text_of (it->name));
        set_text (gate, "command", it->has_command, it->command);
        if (it->has_timeout_ms)
            json_object_set_new (gate, "timeout_ms", json_integer (it->timeout_ms));
        json_array_append_new (gates, gate);
    }
    return gates;
}

static json_t *checks_of (const Rota__TaskSpec *task)
{
    json_t *checks = json_array ();
    for (size_t i = 0; i < task->n_exit_criteria; i++) {
        const Rota__Criterion *it = task->exit_criteria[i];
        if (it->has_kind)
            json_array_append_new (
                checks, json_pack ("{s:o, s:o}", "kind", text_of (it->kind), "value", text_of (it->value)));
    }
    return checks;
}

/* A directory of the task's, not of the attempt's: a session that is gone on with finds its files where they
 * were. */
static json_t *clone_of (const rota_adapter_context_t *context, const Rota__Assignment *assignment)
{
    char name[ROTA_ENCODED_MAX_BYTES];
    rota_id_encode ((const char *)assignment->spec->id.data, assignment->spec->id.len, name);
    return json_sprintf ("%s/clones/%s%s%s", context->state_dir, name,
                         assignment->phase == PHASE (WORK) ? "" : ".",
                         assignment->phase == PHASE (WORK) ? "" : word_of (assignment->phase));
}

static json_t *keep_of (const rota_attempt_t *attempt)
{
    json_t *keep = json_array ();
    for (char *const *item = attempt->writable; item && *item; item++)
        json_array_append_new (keep, json_string (*item));
    return keep;
}

/* What the attempt runs. Behind rota's own clients stands the program that they talk to; both come from the
 * settings, never from a task. */
static json_t *programs_of (const rota_attempt_t *attempt)
{
    json_t *programs = json_array ();
    char *const *argv = attempt->argv;
    if (!argv || !argv[0])
        return programs;
    json_array_append_new (programs, json_string (argv[0]));
    if (!argv[1] || strcmp (argv[1], ROTA_CONVERSE_OPTION) != 0)
        return programs;
    while (*argv && strcmp (*argv, "--") != 0)
        argv++;
    for (argv += *argv != NULL; *argv; argv++)
        json_array_append_new (programs, json_string (*argv));
    return programs;
}

static json_t *texts_of_setting (const rota_settings_t *settings, rota_setting_t id)
{
    size_t count;
    const char *const *items = rota_setting_list (settings, id, &count);
    json_t *list = json_array ();
    for (size_t i = 0; i < count; i++)
        json_array_append_new (list, json_string (items[i]));
    return list;
}

static bool commits (const Rota__TaskSpec *task)
{
    return !task->has_run || task->commit;
}

static void set_touches (json_t *spec, const Rota__Repository *repository, const Rota__TaskSpec *task)
{
    json_t *touches = json_array ();
    bool off = repository->claims.len == 3 && memcmp (repository->claims.data, "off", 3) == 0;
    bool strict = repository->claims.len == 6 && memcmp (repository->claims.data, "strict", 6) == 0;
    for (size_t i = 0; i < task->n_touches && !off; i++)
        json_array_append_new (touches, text_of (task->touches[i]));
    json_object_set_new (spec, "touches", touches);
    json_object_set_new (spec, "touches_strict", json_boolean (strict));
}

static json_t *reviewers_of (const Rota__Assignment *assignment)
{
    json_t *names = json_array ();
    for (size_t i = 0; i < assignment->n_reviewers; i++)
        json_array_append_new (names, text_of (assignment->reviewers[i]));
    return names;
}

/* What can't be merged is left out: it isn't accepted, and comes again by itself. */
static json_t *members_of (const Rota__Assignment *leader)
{
    json_t *members = json_array ();
    for (size_t i = 0; i < leader->n_members && json_array_size (members) < ROTA_STEP_MEMBERS_MAX; i++) {
        const Rota__Assignment *it = leader->members[i];
        const char *reason;
        if (!it->key || !it->attempt || !it->spec || !it->repository || !it->repository->branch.len ||
            !it->work || !it->work->has_commit ||
            rota_id_check ((const char *)it->spec->id.data, it->spec->id.len, &reason) < 0)
            continue;
        const Rota__TaskSpec *task = it->spec;
        json_array_append_new (
            members, json_pack ("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "key", (json_int_t)it->key,
                                "attempt", (json_int_t)it->attempt, "task", text_of (task->id), "title",
                                text_of (task->title.len ? task->title : task->id), "start",
                                text_of (it->work->commit), "branch", text_of (it->repository->branch),
                                "gates", gates_of (it->repository), "checks", checks_of (task), "reviewed_by",
                                reviewers_of (it)));
        set_text (json_array_get (members, json_array_size (members) - 1), "worked_by",
                  it->repository->has_worked_by, it->repository->worked_by);
    }
    return members;
}

static json_t *keys_of (const rota_adapter_context_t *context, const rota_attempt_t *attempt,
                        rota_pool_t *pool)
{
    json_t *names = json_array ();
    for (const char **name = rota_environment_keys (context, attempt->environment, pool); name && *name;
         name++)
        json_array_append_new (names, json_string (*name));
    return names;
}

static json_t *describe (const rota_adapter_context_t *context, const Rota__Assignment *assignment,
                         const char *log_path, rota_pool_t *pool, const rota_attempt_t *attempt)
{
    const Rota__Repository *repository = assignment->repository;
    const Rota__TaskSpec *task = assignment->spec;
    const Rota__Work *work = assignment->work;
    bool works = assignment->phase == PHASE (WORK);
    json_t *spec = json_pack (
        "{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:b, s:[s], s:o, s:s, s:o, s:o, s:I, s:s}", "step",
        word_of (assignment->phase), "repository", text_of (repository->location), "branch",
        text_of (repository->branch), "clone", clone_of (context, assignment), "record",
        json_sprintf ("%s.record", log_path), "gates", gates_of (repository), "checks", checks_of (task),
        "expects_change", works && commits (task), "drop_changes", !commits (task), "steerable",
        attempt->steerable, "hide", context->state_dir, "keep", keep_of (attempt), "isolate",
        rota_setting_text (context->settings, ROTA_SETTING_AGENTS_ISOLATION), "task", text_of (task->id),
        "title", text_of (task->title.len ? task->title : task->id), "attempt",
        (json_int_t)assignment->attempt, "agent", context->agent);
    if (!spec)
        return NULL;
    json_object_set_new (spec, "programs", programs_of (attempt));
    if (works)
        json_object_set_new (spec, "least_ms", json_integer (attempt->least_ms));
    json_object_set_new (spec, "credentials", keys_of (context, attempt, pool));
    json_object_set_new (spec, "sandbox_paths",
                         texts_of_setting (context->settings, ROTA_SETTING_AGENTS_SANDBOX_PATHS));
    json_object_set_new (spec, "mirrors", json_sprintf ("%s/mirrors", context->state_dir));
    json_object_set_new (spec, "setups", json_sprintf ("%s/setups", context->state_dir));
    json_object_set_new (
        spec, "cache_retention_ms",
        json_integer (rota_setting_duration_ms (context->settings, ROTA_SETTING_AGENTS_CACHE_RETENTION)));
    if (getenv ("HOME"))
        json_object_set_new (spec, "home", json_string (getenv ("HOME")));
    json_t *told = rota_briefing_describe (context, assignment, log_path, attempt);
    if (told)
        json_object_set_new (spec, "told", told);
    set_text (spec, "target", repository->has_target, repository->target);
    set_text (spec, "setup", repository->has_setup, repository->setup);
    set_touches (spec, repository, task);
    set_texts (spec, "setup_needs", repository->n_setup_needs, repository->setup_needs);
    set_texts (spec, "setup_makes", repository->n_setup_makes, repository->setup_makes);
    set_text (spec, "worked_by", repository->has_worked_by, repository->worked_by);
    if (repository->has_gate_retries)
        json_object_set_new (spec, "gate_retries", json_integer (repository->gate_retries));
    json_object_set_new (spec, "flaky_fails", json_boolean (repository->flaky_fails));
    int64_t kept_ms = rota_setting_duration_ms (context->settings, ROTA_SETTING_AGENTS_GATE_CACHE);
    if (kept_ms > 0 && (assignment->phase == PHASE (GATE) || assignment->phase == PHASE (MERGE))) {
        json_object_set_new (spec, "gate_cache", json_sprintf ("%s/gates", context->state_dir));
        json_object_set_new (spec, "gate_cache_ms", json_integer (kept_ms));
    }
    if (assignment->phase == PHASE (REVIEW)) {
        json_object_set_new (spec, "review", json_string (context->review));
        json_object_set_new (spec, "part", json_integer (assignment->part ? assignment->part : 1));
        if (assignment->part_bytes)
            json_object_set_new (spec, "part_bytes", json_integer ((json_int_t)assignment->part_bytes));
        json_object_set_new (spec, "asked_again", json_boolean (assignment->first_answer.len > 0));
    }
    if (assignment->phase == PHASE (MERGE)) {
        json_object_set_new (spec, "reviewed_by", reviewers_of (assignment));
        json_object_set_new (spec, "members", members_of (assignment));
    }
    if (work) {
        set_text (spec, "start", work->has_commit, work->commit);
        set_text (spec, "base", work->has_begun_from, work->begun_from);
    }
    return spec;
}

/* "rota-agent --workspace SPEC -- PROGRAM...", of the same program as this one. */
static char **drive (const char *log_path, rota_pool_t *pool, const rota_attempt_t *attempt)
{
    char self[PATH_MAX];
    ssize_t length = readlink ("/proc/self/exe", self, sizeof self - 1);
    size_t count = 0;
    while (attempt->argv && attempt->argv[count])
        count++;
    char **argv = length > 0 ? rota_pool_alloc (pool, (count + 5) * sizeof *argv) : NULL;
    if (!argv)
        return NULL;
    argv[0] = rota_pool_text (pool, self, (size_t)length);
    argv[1] = rota_pool_text (pool, ROTA_WORKSPACE_OPTION, strlen (ROTA_WORKSPACE_OPTION));
    argv[2] = rota_pool_format (pool, "%s.spec", log_path);
    if (count)
        argv[3] = rota_pool_text (pool, "--", 2);
    for (size_t i = 0; i < count; i++)
        argv[4 + i] = attempt->argv[i];
    return argv[0] && argv[1] && argv[2] && (!count || argv[3]) ? argv : NULL;
}

int rota_step_prepare (const rota_adapter_context_t *context, const Rota__Assignment *assignment,
                       unsigned slot, const char *log_path, rota_pool_t *pool, rota_attempt_t *attempt,
                       rota_error_t *error)
{
    bool works = assignment->phase == PHASE (WORK);
    (void)slot;
    if (!assignment->repository->location.len || !assignment->repository->branch.len)
        return rota_error_set (error, -EINVAL, "the assignment names no repository");
    if (!works && !(assignment->work && assignment->work->has_commit))
        return rota_error_set (error, -EINVAL, "there is no work to look at: its commit isn't known");
    json_t *spec = describe (context, assignment, log_path, pool, attempt);
    int status = spec ? store (log_path, "spec", spec) : -ENOMEM;
    json_decref (spec);
    if (status < 0)
        return rota_error_set (error, status == -EINVAL ? -EIO : status,
                               "can't write what the workspace is told: %s", strerror (-status));
    char **argv = drive (log_path, pool, attempt);
    if (!argv)
        return -ENOMEM;
    attempt->argv = argv;
    attempt->directory = context->state_dir; /* the driver changes into the clone */
    return 0;
}

int rota_step_prepare_answer (const rota_adapter_context_t *context, const char *log_path,
                              rota_error_t *error)
{
    json_t *spec = json_pack ("{s:s, s:b, s:s}", "step", word_of (PHASE (REVIEW)), "answer", 1, "review",
                              context->review);
    int status = spec ? store (log_path, "spec", spec) : -ENOMEM;
    json_decref (spec);
    return status < 0 ? rota_error_set (error, status == -EINVAL ? -EIO : status,
                                        "can't write what the review is of: %s", strerror (-status))
                      : 0;
}

/* ---- after */

static void say (rota_adapter_result_t *result, Rota__ResultClass class, const char *message)
{
    result->result_class = class;
    snprintf (result->message, sizeof result->message, "%s", message);
}

/* A step that its record says went well is as good as its program; anything else counts more than the
 * program's word. */
static void judge (const json_t *record, bool has_program, rota_adapter_result_t *result)
{
    const char *state = json_string_value (json_object_get (record, "state"));
    const char *message = json_string_value (json_object_get (record, "message"));
    bool ended_well = !has_program || result->result_class == RESULT (OK);
    if (!state) {
        if (ended_well)
            say (result, RESULT (ENVIRONMENT), "it left no record of what came of it");
        return;
    }
    message = message ? message : state;
    if (strcmp (state, "environment") == 0)
        say (result, RESULT (ENVIRONMENT), message);
    else if (!ended_well)
        return;
    else if (strcmp (state, "done") == 0 || strcmp (state, "unchanged") == 0) {
        if (!has_program)
            say (result, RESULT (OK), "");
    } else
        say (result, RESULT (FAILED), message);
}

static void take_verdict (const char *log_path, const json_t *spec, json_t *record, const char *answer,
                          rota_adapter_result_t *result)
{
    const char *word = json_string_value (json_object_get (spec, "review"));
    json_t *verdict = answer && record && word ? rota_verdict_find (answer, strlen (answer), word) : NULL;
    if (!verdict)
        return;
    const char *summary = json_string_value (json_object_get (verdict, "summary"));
    snprintf (result->message, sizeof result->message, "%s%s%s",
              json_is_true (json_object_get (verdict, "approved")) ? "approved" : "changes wanted",
              summary && *summary ? ": " : "", summary ? summary : "");
    json_object_set_new (record, "verdict", verdict);
    if (store (log_path, "record", record) < 0)
        say (result, RESULT (ENVIRONMENT), "the verdict could not be kept: is the disk full?");
}

bool rota_step_classify (const char *log_path, const rota_outcome_t *outcome, rota_adapter_result_t *result)
{
    const char *answer = result->answer;
    json_t *spec = load (log_path, "spec"), *record = spec ? load (log_path, "record") : NULL;
    const char *step = json_string_value (json_object_get (spec, "step"));
    bool works = !step || strcmp (step, "work") == 0;
    if (!step || !outcome->started || outcome->end != ROTA_END_NONE) {
        json_decref (spec);
        json_decref (record);
        return works;
    }
    bool has_program = strcmp (step, "gate") != 0 && strcmp (step, "merge") != 0;
    bool of_answer = json_is_true (json_object_get (spec, "answer"));
    if (of_answer && !record)
        record = json_object ();
    if (!of_answer)
        judge (record, has_program, result);
    take_verdict (log_path, spec, record, answer, result);
    json_decref (spec);
    json_decref (record);
    return works;
}

/* ---- a batch */

size_t rota_step_members (const char *log_path, rota_step_member_t *ret_members, size_t capacity)
{
    json_t *spec = load (log_path, "spec");
    const json_t *list = json_object_get (spec, "members"), *member;
    size_t index, count = 0;
    json_array_foreach (list, index, member)
    {
        if (count == capacity)
            break;
        rota_step_member_t *it = &ret_members[count++];
        const char *task = json_string_value (json_object_get (member, "task"));
        it->key = (uint64_t)json_integer_value (json_object_get (member, "key"));
        it->number = (uint32_t)json_integer_value (json_object_get (member, "attempt"));
        snprintf (it->task_id, sizeof it->task_id, "%s", task ? task : "");
    }
    json_decref (spec);
    return count;
}

static json_t *load_member (const char *log_path, size_t member)
{
    json_t *record = load (log_path, "record");
    json_t *found = member ? json_array_get (json_object_get (record, "members"), member - 1) : NULL;
    json_incref (found);
    json_decref (record);
    return found;
}

bool rota_step_classify_member (const char *log_path, size_t member, rota_adapter_result_t *result)
{
    json_t *record = load_member (log_path, member);
    bool known = json_string_value (json_object_get (record, "state")) != NULL;
    if (known)
        judge (record, false, result);
    json_decref (record);
    return known;
}

/* ---- for the report */

static void set_bytes (rota_arena_t *arena, const json_t *object, const char *key, size_t most,
                       protobuf_c_boolean *has, ProtobufCBinaryData *ret_bytes)
{
    const json_t *text = json_object_get (object, key);
    size_t length = json_is_string (text) ? json_string_length (text) : 0;
    if (!length || length > most)
        return;
    uint8_t *copy = rota_arena_alloc (arena, length);
    if (!copy)
        return;
    memcpy (copy, json_string_value (text), length);
    *has = true;
    *ret_bytes = rota_bytes_n (copy, length);
}

static void set_count (const json_t *object, const char *key, protobuf_c_boolean *has, uint32_t *ret_count)
{
    const json_t *number = json_object_get (object, key);
    json_int_t value = json_integer_value (number);
    *has = json_is_integer (number) && value >= 0 && value <= UINT32_MAX;
    *ret_count = *has ? (uint32_t)value : 0;
}

static void set_list (rota_arena_t *arena, const json_t *list, size_t *ret_count,
                      ProtobufCBinaryData **ret_items)
{
    size_t count = json_array_size (list), used = 0;
    ProtobufCBinaryData *items = count ? rota_arena_alloc (arena, count * sizeof *items) : NULL;
    protobuf_c_boolean has = false;
    const json_t *wrapped;
    for (size_t i = 0; items && i < count; i++) {
        json_t *one = json_pack ("{s:O}", "x", json_array_get (list, i));
        wrapped = one;
        has = false;
        set_bytes (arena, wrapped, "x", 1000, &has, &items[used]);
        used += has ? 1 : 0;
        json_decref (one);
    }
    *ret_items = items;
    *ret_count = used;
}

static Rota__Work *work_of (const json_t *record, rota_arena_t *arena)
{
    Rota__Work *work = rota_arena_alloc (arena, sizeof *work);
    if (!work)
        return NULL;
    rota__work__init (work);
    set_bytes (arena, record, "commit", 64, &work->has_commit, &work->commit);
    set_bytes (arena, record, "base", 64, &work->has_begun_from, &work->begun_from);
    set_bytes (arena, record, "tree", 64, &work->has_tree, &work->tree);
    set_bytes (arena, record, "branch", 300, &work->has_branch, &work->branch);
    set_bytes (arena, record, "merged", 64, &work->has_merged, &work->merged);
    set_bytes (arena, record, "onto", 64, &work->has_onto, &work->onto);
    set_count (record, "files", &work->has_files, &work->files);
    set_count (record, "insertions", &work->has_insertions, &work->insertions);
    set_count (record, "deletions", &work->has_deletions, &work->deletions);
    set_list (arena, json_object_get (record, "paths"), &work->n_paths, &work->paths);
    work->has_head_moved = work->head_moved = json_is_true (json_object_get (record, "head_moved"));
    work->has_isolated = true;
    work->isolated = json_is_true (json_object_get (record, "isolated"));
    return work;
}

static Rota__GateState state_of (const json_t *gate)
{
    static const char *const WORDS[] = {[ROTA__GATE_STATE__GATE_STATE_PASSED] = "passed",
                                        [ROTA__GATE_STATE__GATE_STATE_FAILED] = "failed",
                                        [ROTA__GATE_STATE__GATE_STATE_TIMED_OUT] = "timed_out",
                                        [ROTA__GATE_STATE__GATE_STATE_FLAKY] = "flaky",
                                        [ROTA__GATE_STATE__GATE_STATE_NOT_CHECKABLE] = "not_checkable",
                                        [ROTA__GATE_STATE__GATE_STATE_MARKED] = "marked"};
    const char *word = json_string_value (json_object_get (gate, "state"));
    for (size_t i = 1; word && i < sizeof WORDS / sizeof *WORDS; i++)
        if (WORDS[i] && strcmp (word, WORDS[i]) == 0)
            return (Rota__GateState)i;
    return ROTA__GATE_STATE__GATE_STATE_UNSPECIFIED;
}

static void fill_gates (const json_t *list, rota_arena_t *arena, Rota__Result *result)
{
    size_t count = json_array_size (list);
    Rota__GateResult *items = count ? rota_arena_alloc (arena, count * sizeof *items) : NULL;
    Rota__GateResult **gates = items ? rota_arena_alloc (arena, count * sizeof (Rota__GateResult *)) : NULL;
    for (size_t i = 0; gates && i < count; i++) {
        const json_t *given = json_array_get (list, i);
        Rota__GateResult *gate = gates[i] = &items[i];
        rota__gate_result__init (gate);
        set_bytes (arena, given, "name", 1000, &gate->has_name, &gate->name);
        set_bytes (arena, given, "output", 4096, &gate->has_output, &gate->output);
        set_count (given, "took_ms", &gate->has_took_ms, &gate->took_ms);
        gate->has_state = gate->has_exit_code = true;
        gate->state = state_of (given);
        gate->exit_code = (int32_t)json_integer_value (json_object_get (given, "exit_code"));
        gate->has_cached = gate->cached = json_is_true (json_object_get (given, "cached"));
    }
    result->gates = gates;
    result->n_gates = gates ? count : 0;
}

static void fill_scores (json_t *given, rota_arena_t *arena, Rota__Verdict *verdict)
{
    size_t count = json_object_size (given);
    Rota__ReviewScore *items = rota_arena_alloc (arena, (count + 1) * sizeof *items);
    verdict->scores = rota_arena_alloc (arena, (count + 1) * sizeof (Rota__ReviewScore *));
    const char *name;
    json_t *value;
    if (!items || !verdict->scores)
        return;
    json_object_foreach (given, name, value)
    {
        Rota__ReviewScore *it = &items[verdict->n_scores];
        uint8_t *copy = rota_arena_alloc (arena, strlen (name) + 1);
        if (!copy)
            return;
        memcpy (copy, name, strlen (name) + 1);
        rota__review_score__init (it);
        it->has_name = it->has_value = true;
        it->name = rota_bytes_n (copy, strlen (name));
        it->value = (uint32_t)json_integer_value (value);
        verdict->scores[verdict->n_scores++] = it;
    }
}

static Rota__Verdict *verdict_of (const json_t *given, rota_arena_t *arena)
{
    const json_t *list = json_object_get (given, "comments");
    size_t count = json_array_size (list);
    Rota__Verdict *verdict = rota_arena_alloc (arena, sizeof *verdict);
    Rota__ReviewComment *items = rota_arena_alloc (arena, (count + 1) * sizeof *items);
    Rota__ReviewComment **comments = rota_arena_alloc (arena, (count + 1) * sizeof (Rota__ReviewComment *));
    if (!verdict || !items || !comments)
        return NULL;
    rota__verdict__init (verdict);
    verdict->has_approved = true;
    verdict->approved = json_is_true (json_object_get (given, "approved"));
    set_bytes (arena, given, "summary", ROTA_VERDICT_TEXT_MAX_BYTES, &verdict->has_summary,
               &verdict->summary);
    set_count (given, "score", &verdict->has_score, &verdict->score);
    fill_scores (json_object_get (given, "scores"), arena, verdict);
    for (size_t i = 0; i < count; i++) {
        const json_t *it = json_array_get (list, i);
        rota__review_comment__init (comments[i] = &items[i]);
        set_bytes (arena, it, "file", 500, &items[i].has_file, &items[i].file);
        set_bytes (arena, it, "severity", 20, &items[i].has_severity, &items[i].severity);
        set_bytes (arena, it, "text", ROTA_VERDICT_TEXT_MAX_BYTES, &items[i].has_text, &items[i].text);
        set_count (it, "line", &items[i].has_line, &items[i].line);
    }
    verdict->comments = comments;
    verdict->n_comments = count;
    return verdict;
}

void rota_step_fill_member (const char *log_path, size_t member, rota_arena_t *arena, Rota__Result *result)
{
    json_t *record = load_member (log_path, member);
    if (json_object_get (record, "state"))
        result->work = work_of (record, arena);
    fill_gates (json_object_get (record, "gates"), arena, result);
    json_decref (record);
}

void rota_step_fill (const char *log_path, rota_arena_t *arena, Rota__Result *result)
{
    json_t *record = load (log_path, "record");
    if (!record)
        return;
    const json_t *verdict = json_object_get (record, "verdict");
    if (json_object_get (record, "state"))
        result->work = work_of (record, arena);
    fill_gates (json_object_get (record, "gates"), arena, result);
    result->verdict = json_is_object (verdict) ? verdict_of (verdict, arena) : NULL;
    if (result->verdict && json_object_get (record, "parts")) {
        set_count (record, "part", &result->verdict->has_part, &result->verdict->part);
        set_count (record, "parts", &result->verdict->has_parts, &result->verdict->parts);
    }
    json_decref (record);
}
