/* Good roadmaps: what becomes of each key, and the files of real users. */
#include "proto/words.h"
#include "scheduler/gates.h"
#include "scheduler/roadmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *source_directory (void)
{
    const char *directory = getenv ("ROTA_SOURCE");
    return directory ? directory : ".";
}

static rota_roadmap_t *parse (const char *text)
{
    rota_roadmap_t *roadmap = NULL;
    rota_error_t error;
    assert_int_equal (rota_roadmap_parse ("dir/r.yaml", text, strlen (text), NULL, &roadmap, &error), 0);
    return roadmap;
}

static rota_roadmap_t *parse_good (const char *text)
{
    rota_roadmap_t *roadmap = parse (text);
    if (roadmap->fault_count)
        rota_roadmap_print_faults (roadmap, stderr);
    assert_int_equal (roadmap->fault_count, 0);
    return roadmap;
}

static rota_roadmap_t *read_file (const char *name)
{
    char path[4096];
    rota_roadmap_t *roadmap = NULL;
    rota_error_t error = {""};
    snprintf (path, sizeof path, "%s/%s", source_directory (), name);
    int rc = rota_roadmap_read (path, NULL, &roadmap, &error);
    assert_string_equal (error.text, "");
    assert_int_equal (rc, 0);
    return roadmap;
}

static const Rota__TaskSpec *find (const rota_roadmap_t *roadmap, const char *id)
{
    for (size_t i = 0; i < roadmap->count; i++)
        if (!strcmp ((const char *)roadmap->specs[i]->id.data, id))
            return roadmap->specs[i];
    fail_msg ("no %s", id);
    return NULL;
}

static void assert_bytes (ProtobufCBinaryData bytes, const char *text)
{
    assert_int_equal (bytes.len, strlen (text));
    assert_memory_equal (bytes.data, text, bytes.len);
}

static const char ALL_KEYS[] = "name: invoices\nrepository: .\ntarget: main\nwip: 4\n"
                               "gates: {test: make check, lint: {run: make lint, timeout: 5m}}\n"
                               "tasks:\n"
                               "  - id: 1.0\n"
                               "  - id: all\n"
                               "    title: |\n      All of it\n"
                               "    description: \"two\\nlines\"\n"
                               "    owner: me\n"
                               "    type: bug\n"
                               "    status: needs_review\n"
                               "    priority: critical\n"
                               "    complexity: 7\n"
                               "    estimate_hours: 2.5\n"
                               "    dependencies: [1.0, {id: late, type: related}]\n"
                               "    after: soon\n"
                               "    exit_criteria: [doc: a.md, just words, {critic: x, tests: [t1, t2]}]\n"
                               "    run: make all\n"
                               "    prompt: do it\n"
                               "    agent: codex\n"
                               "    attempts: 5\n"
                               "    timeout: 1h30m\n"
                               "    silence: 90\n"
                               "    touches: [docs/*, src/**]\n"
                               "    labels: one\n"
                               "    capabilities: [gpu]\n"
                               "    requires: [big]\n"
                               "    approval: required\n"
                               "    review: other-kind\n"
                               "    gates: [lint, test]\n"
                               "    workdir: branch\n"
                               "    commit: yes\n"
                               "    not_before: 2026-11-23T08:00:00.250+02:00\n"
                               "  - {id: late, retry: 0}\n"
                               "  - {id: soon, priority: -7, approval: no, review: false}\n";

static void every_key_of_the_head_arrives (void **state)
{
    (void)state;
    rota_roadmap_t *roadmap = parse_good (ALL_KEYS);
    assert_int_equal (roadmap->task_count, 4);
    assert_int_equal (roadmap->edge_count, 3);
    assert_bytes (roadmap->header.source, "invoices");
    const ProtobufCBinaryData path = roadmap->header.path;
    assert_true (path.len > 7 && !memcmp (path.data + path.len - 7, "/r.yaml", 7));
    assert_bytes (roadmap->header.target, "main");
    assert_int_equal (roadmap->header.wip_limit, 4);
    assert_int_equal (roadmap->header.n_gates, 2);
    assert_bytes (roadmap->header.gates[1]->command, "make lint");
    assert_int_equal (roadmap->header.gates[1]->timeout_ms, 300000);
    rota_roadmap_destroy (&roadmap);
}

static void every_key_that_says_what_a_task_is_arrives (void **state)
{
    (void)state;
    rota_roadmap_t *roadmap = parse_good (ALL_KEYS);
    const Rota__TaskSpec *spec = find (roadmap, "all");
    assert_int_equal (spec->kind, NODE (TASK));
    assert_int_equal (spec->line, 8);
    assert_int_equal (spec->column, 9);
    assert_bytes (spec->title, "All of it");
    assert_bytes (spec->description, "two\nlines");
    assert_int_equal (spec->type, ROTA__TASK_TYPE__TASK_TYPE_BUG);
    assert_int_equal (spec->status, STATUS (NEEDS_REVIEW));
    assert_int_equal (spec->priority, 100);
    assert_int_equal (spec->complexity, 7);
    assert_true (spec->estimate_hours == 2.5);
    assert_int_equal (spec->n_dependencies, 3);
    assert_bytes (spec->dependencies[0]->on, "1.0");
    assert_int_equal (spec->dependencies[0]->line, 18);
    assert_int_equal (spec->dependencies[0]->column, 20);
    assert_false (spec->dependencies[0]->has_type);
    assert_int_equal (spec->dependencies[1]->type, DEPENDENCY (RELATED));
    assert_bytes (spec->dependencies[2]->on, "soon");
    assert_int_equal (spec->n_exit_criteria, 5);
    assert_bytes (spec->exit_criteria[0]->kind, "doc");
    assert_false (spec->exit_criteria[1]->has_kind);
    assert_bytes (spec->exit_criteria[1]->value, "just words");
    assert_bytes (spec->exit_criteria[2]->kind, "critic");
    assert_bytes (spec->exit_criteria[4]->kind, "tests");
    assert_bytes (spec->exit_criteria[4]->value, "t2");
    rota_roadmap_destroy (&roadmap);
}

static void every_key_that_says_how_to_work_arrives (void **state)
{
    (void)state;
    rota_roadmap_t *roadmap = parse_good (ALL_KEYS);
    const Rota__TaskSpec *spec = find (roadmap, "all");
    assert_bytes (spec->run, "make all");
    assert_bytes (spec->prompt, "do it");
    assert_bytes (spec->agent, "codex");
    assert_int_equal (spec->attempts, 5);
    assert_int_equal (spec->timeout_ms, 5400000);
    assert_int_equal (spec->silence_ms, 90000);
    assert_int_equal (spec->n_touches, 2);
    assert_int_equal (spec->n_labels, 1);
    assert_int_equal (spec->n_capabilities, 2);
    assert_bytes (spec->capabilities[1], "big");
    assert_true (spec->approval);
    assert_bytes (spec->review, "other-kind");
    assert_bytes (spec->gates[0], "lint");
    assert_bytes (spec->workdir, "branch");
    assert_true (spec->commit);
    assert_true (spec->not_before_ms == INT64_C (1795413600250));
    assert_bytes (spec->extra, "{\"owner\":\"me\"}");
    assert_int_equal (find (roadmap, "late")->attempts, 1);
    assert_int_equal (find (roadmap, "soon")->priority, -7);
    assert_true (find (roadmap, "soon")->has_approval);
    assert_bytes (find (roadmap, "soon")->review, "false");
    assert_false (find (roadmap, "1.0")->has_title);
    assert_false (find (roadmap, "1.0")->has_status);
    rota_roadmap_destroy (&roadmap);
}

static void groups_hold_their_tasks_in_the_order_of_the_file (void **state)
{
    (void)state;
    rota_roadmap_t *roadmap = parse ("tasks: [{id: flat}]\n"
                                     "epics:\n"
                                     "  - id: A\n"
                                     "    priority: high\n"
                                     "    labels: [x]\n"
                                     "    after: {epic: B}\n"
                                     "    milestones:\n"
                                     "      - {id: M, after: flat, tasks: [{id: a2}, {id: a3}]}\n"
                                     "    tasks: [{id: a1}]\n"
                                     "  - {id: B, status: blocked, tasks: [{id: b1}]}\n");
    static const char *const ORDER[] = {"A", "B", "M", "a1", "a2", "a3", "b1", "flat"};
    assert_int_equal (roadmap->error_count, 0);
    assert_int_equal (roadmap->count, 8);
    for (size_t i = 0; i < 8; i++)
        assert_bytes (roadmap->specs[i]->id, ORDER[i]);
    assert_int_equal (roadmap->specs[0]->kind, NODE (EPIC));
    assert_int_equal (roadmap->specs[0]->priority, 50);
    assert_bytes (roadmap->specs[0]->dependencies[0]->on, "B");
    assert_int_equal (roadmap->specs[2]->kind, NODE (MILESTONE));
    assert_bytes (roadmap->specs[2]->epic, "A");
    assert_false (roadmap->specs[2]->has_milestone);
    assert_bytes (find (roadmap, "a2")->epic, "A");
    assert_bytes (find (roadmap, "a2")->milestone, "M");
    assert_false (find (roadmap, "a1")->has_milestone);
    assert_false (find (roadmap, "flat")->has_epic);
    assert_int_equal (find (roadmap, "B")->status, STATUS (BLOCKED));
    assert_false (find (roadmap, "A")->has_status);
    rota_roadmap_destroy (&roadmap);
    roadmap = parse_good ("- id: a\n- {id: b, after: a}\n");
    assert_int_equal (roadmap->task_count, 2);
    assert_bytes (roadmap->header.source, "dir/r.yaml");
    rota_roadmap_destroy (&roadmap);
}

static void defaults_fill_in_what_a_task_does_not_say (void **state)
{
    (void)state;
    rota_roadmap_t *roadmap = parse_good (
        "tasks:\n"
        "  - id: plain\n"
        "  - {id: own, attempts: 1, timeout: 5, gates: [], labels: [mine], priority: low, review: false}\n"
        "  - {id: estimated, estimate_hours: 5, requires: y}\n"
        "defaults: {retry: 3, timeout: 30m, review: true, gates: [test], agent: codex, priority: high,\n"
        "           complexity: 4, labels: [all], workdir: here, commit: true, approval: required,\n"
        "           capabilities: [x], silence: 1m}\n"
        "gates: {test: make check}\n");
    const Rota__TaskSpec *plain = find (roadmap, "plain"), *own = find (roadmap, "own"),
                         *estimated = find (roadmap, "estimated");
    assert_int_equal (plain->attempts, 4);
    assert_int_equal (plain->timeout_ms, 1800000);
    assert_int_equal (plain->silence_ms, 60000);
    assert_bytes (plain->review, "true");
    assert_bytes (plain->gates[0], "test");
    assert_bytes (plain->agent, "codex");
    assert_int_equal (plain->priority, 50);
    assert_int_equal (plain->complexity, 4);
    assert_bytes (plain->labels[0], "all");
    assert_bytes (plain->workdir, "here");
    assert_true (plain->commit);
    assert_true (plain->approval);
    assert_int_equal (own->attempts, 1);
    assert_int_equal (own->timeout_ms, 5000);
    assert_int_equal (own->n_gates, 0);
    assert_int_equal (own->n_labels, 1);
    assert_bytes (own->labels[0], "mine");
    assert_int_equal (own->priority, -50);
    assert_bytes (own->review, "false");
    assert_int_equal (estimated->complexity, 3);
    assert_int_equal (estimated->n_capabilities, 1);
    assert_bytes (estimated->capabilities[0], "y");
    rota_roadmap_destroy (&roadmap);
}

/* The nearest that says something counts: task, milestone, epic, defaults. */
static void approval_of_a_group_holds_for_its_tasks (void **state)
{
    (void)state;
    rota_roadmap_t *roadmap =
        parse_good ("defaults: {approval: false}\n"
                    "epics:\n"
                    "  - id: A\n"
                    "    approval: required\n"
                    "    tasks: [{id: a1}, {id: a2, approval: false}, {id: a3, approval: null}]\n"
                    "    milestones:\n"
                    "      - {id: M, tasks: [{id: m1}, {id: m2, approval: no}]}\n"
                    "      - {id: N, approval: false, tasks: [{id: n1}, {id: n2, approval: required}]}\n"
                    "  - id: B\n"
                    "    tasks: [{id: b1}]\n"
                    "    milestones:\n"
                    "      - {id: O, approval: required, tasks: [{id: o1}]}\n"
                    "tasks: [{id: flat}]\n");
    static const char *const WANTED[] = {"A", "M", "O", "a1", "a3", "m1", "n2", "o1"}, *const NOT[] = {
                                                                                           "B",   "N",  "a2",
                                                                                           "m2",  "n1", "b1",
                                                                                           "flat"};
    for (size_t i = 0; i < sizeof WANTED / sizeof *WANTED; i++)
        if (!find (roadmap, WANTED[i])->approval)
            fail_msg ("%s wants no approval", WANTED[i]);
    for (size_t i = 0; i < sizeof NOT / sizeof *NOT; i++)
        if (find (roadmap, NOT[i])->approval)
            fail_msg ("%s wants approval", NOT[i]);
    rota_roadmap_destroy (&roadmap);
}

static void complexity_follows_from_the_estimate (void **state)
{
    (void)state;
    static const struct {
        const char *hours;
        unsigned complexity;
    } CASES[] = {{"0", 1}, {"1", 1}, {"2.9", 1}, {"3", 2}, {"6", 3}, {"10", 5}, {"19", 10}, {"400", 10}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char text[64];
        snprintf (text, sizeof text, "[{id: a, estimate_hours: %s}]", CASES[i].hours);
        rota_roadmap_t *roadmap = parse_good (text);
        assert_int_equal (roadmap->specs[0]->complexity, CASES[i].complexity);
        rota_roadmap_destroy (&roadmap);
    }
    rota_roadmap_t *roadmap = parse_good ("[{id: a}]");
    assert_false (roadmap->specs[0]->has_complexity);
    rota_roadmap_destroy (&roadmap);
}

static void keys_without_meaning_are_kept_for_the_export (void **state)
{
    (void)state;
    rota_roadmap_t *roadmap = parse ("tasks:\n"
                                     "  - {id: a, owner: x, tests: [t, 1, 007, 1.5, true, yes, ~, \"1\"], "
                                     "odd: {k: -3, z: 1e2}}\n");
    assert_int_equal (roadmap->fault_count, 1);
    assert_bytes (roadmap->specs[0]->extra,
                  "{\"owner\":\"x\",\"tests\":[\"t\",1,\"007\",1.5,true,\"yes\",null,\"1\"],"
                  "\"odd\":{\"k\":-3,\"z\":100.0}}");
    rota_roadmap_destroy (&roadmap);
}

/* ---- files */

static void write_file (const char *path, const char *text)
{
    FILE *file = fopen (path, "w");
    assert_non_null (file);
    fputs (text, file);
    assert_int_equal (fclose (file), 0);
}

static void prompts_come_from_files_below_the_roadmap (void **state)
{
    (void)state;
    char base[] = "/tmp/rota-test-prompt-XXXXXX", path[256], text[1024];
    assert_non_null (mkdtemp (base));
    snprintf (path, sizeof path, "%s/sub", base);
    assert_int_equal (mkdir (path, 0700), 0);
    snprintf (path, sizeof path, "%s/sub/ask.md", base);
    write_file (path, "@ Please do it.\n");
    snprintf (path, sizeof path, "%s/outside.md", base);
    write_file (path, "secret\n");
    snprintf (path, sizeof path, "%s/sub/link.md", base);
    assert_int_equal (symlink ("../outside.md", path), 0);
    snprintf (path, sizeof path, "%s/sub/fifo", base);
    assert_int_equal (mkfifo (path, 0600), 0);
    snprintf (path, sizeof path, "%s/sub/big", base);
    write_file (path, "");
    assert_int_equal (truncate (path, (256 << 10) + 1), 0);
    snprintf (path, sizeof path, "%s/sub/bad", base);
    write_file (path, "\xff");
    snprintf (
        text, sizeof text,
        "- {id: a, prompt: '@ask.md'}\n- {id: b, prompt: '@../outside.md'}\n- {id: c, prompt: '@link.md'}\n"
        "- {id: d, prompt: '@none.md'}\n- {id: e, prompt: '@fifo'}\n- {id: f, prompt: '@big'}\n"
        "- {id: g, prompt: '@bad'}\n- {id: h, prompt: '@%s/outside.md'}\n- {id: i, prompt: '@@text'}\n"
        "- {id: j, prompt: '@.'}\n",
        base);
    snprintf (path, sizeof path, "%s/sub/r.yaml", base);
    write_file (path, text);

    rota_roadmap_t *roadmap = NULL;
    rota_error_t error;
    assert_int_equal (rota_roadmap_read (path, NULL, &roadmap, &error), 0);
    static const struct {
        unsigned line;
        const char *text;
    } FAULTS[] = {
        {2, "prompt: @../outside.md leads out of the roadmap's directory"},
        {3, "prompt: @link.md leads out of the roadmap's directory"},
        {4, "prompt: @none.md: No such file or directory"},
        {5, "prompt: @fifo: not an ordinary file"},
        {6, "prompt: @big: larger than 256 KiB"},
        {7, "prompt: @bad: not a UTF-8 text"},
        {10, "prompt: @. leads out of the roadmap's directory"},
    };
    assert_int_equal (roadmap->fault_count, 7);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal (roadmap->faults[i].line, FAULTS[i].line);
        assert_int_equal (roadmap->faults[i].column, 19);
        assert_string_equal (roadmap->faults[i].text, FAULTS[i].text);
    }
    assert_bytes (find (roadmap, "a")->prompt, "@ Please do it.\n");
    assert_bytes (find (roadmap, "h")->prompt, "secret\n");
    assert_bytes (find (roadmap, "i")->prompt, "@text");
    char *real = realpath (base, NULL);
    snprintf (text, sizeof text, "%s/sub", real);
    assert_bytes (find (roadmap, "a")->directory, text);
    free (real);
    rota_roadmap_destroy (&roadmap);
    static const char *const FILES[] = {"sub/ask.md", "outside.md", "sub/link.md", "sub/fifo",
                                        "sub/big",    "sub/bad",    "sub/r.yaml",  "sub"};
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        snprintf (path, sizeof path, "%s/%s", base, FILES[i]);
        assert_int_equal (remove (path), 0);
    }
    assert_int_equal (rmdir (base), 0);
}

static void tasks_run_where_the_roadmap_says (void **state)
{
    (void)state;
    rota_roadmap_t *roadmap =
        parse_good ("directory: /srv\ntasks: [{id: a}, {id: b, directory: /tmp}, {id: c, directory: x}]\n");
    assert_bytes (find (roadmap, "a")->directory, "/srv");
    assert_bytes (find (roadmap, "b")->directory, "/tmp");
    assert_bytes (find (roadmap, "c")->directory, "dir/x");
    rota_roadmap_destroy (&roadmap);
    static const char TEXT[] = "directory: /srv\ntasks: [{id: a}]\n";
    rota_roadmap_options_t options = {.directory = "/var", .source = "mine"};
    assert_int_equal (rota_roadmap_parse ("r.yaml", TEXT, sizeof TEXT - 1, &options, &roadmap, NULL), 0);
    assert_bytes (find (roadmap, "a")->directory, "/var");
    assert_bytes (roadmap->header.source, "mine");
    rota_roadmap_destroy (&roadmap);
}

static void a_file_in_the_shape_of_the_original_system (void **state)
{
    (void)state;
    rota_roadmap_t *roadmap = read_file ("tests/data/lookalike.yaml");
    assert_int_equal (roadmap->error_count, 0);
    assert_int_equal (roadmap->task_count, 4);
    assert_int_equal (roadmap->count, 10);
    assert_int_equal (roadmap->edge_count, 2);
    assert_int_equal (roadmap->fault_count, 3);
    assert_string_equal (
        roadmap->faults[0].text,
        "the status of 4 epics and milestones is ignored, it follows from their tasks; 1 that "
        "are blocked hold theirs");
    assert_int_equal (roadmap->faults[0].line, 6);
    assert_int_equal (roadmap->faults[0].column, 13);
    assert_string_equal (roadmap->faults[1].text,
                         "milestone id M1 is also used in epic E-INVOICE, at line 11; a "
                         "dependency on it must name the epic");
    assert_string_equal (roadmap->faults[2].text,
                         "epic E-LATER has no tasks; what depends on it need not wait");
    assert_int_equal (find (roadmap, "T1.1")->complexity, 3);
    assert_int_equal (find (roadmap, "T1.2")->status, STATUS (NEEDS_IMPROVEMENT));
    assert_bytes (find (roadmap, "T1.2")->description, "CRUD plus locking.\n\nNo ORM.");
    assert_bytes (find (roadmap, "T2.1")->extra, "{\"critic\":\"design\"}");
    assert_int_equal (find (roadmap, "T2.1")->n_exit_criteria, 3);
    assert_false (find (roadmap, "T2.1")->exit_criteria[1]->has_kind);
    assert_bytes (find (roadmap, "U1")->extra, "{\"cluster\":\"ui\",\"set_id\":7}");
    assert_int_equal (find (roadmap, "E-UI")->status, STATUS (BLOCKED));
    rota_roadmap_destroy (&roadmap);
}

static bool has_shared_data (void)
{
    char path[4096];
    snprintf (path, sizeof path, "%s/../shared/data/roadmaps", source_directory ());
    if (access (path, R_OK) == 0)
        return true;
    print_message ("NOT RUN: %s is not there; tests/data/lookalike.yaml covers the same shapes\n", path);
    return false;
}

static void the_real_roadmap_of_2025_10_10_has_one_id_twice (void **state)
{
    (void)state;
    if (!has_shared_data ())
        skip ();
    rota_roadmap_t *roadmap = read_file ("../shared/data/roadmaps/weathervane-2025-10-10.yaml");
    assert_int_equal (roadmap->fault_count, 1);
    assert_int_equal (roadmap->faults[0].line, 112);
    assert_int_equal (roadmap->faults[0].column, 17);
    assert_string_equal (roadmap->faults[0].text,
                         "task id T3.2.2 appears twice; first at line 105, column 17");
    rota_roadmap_destroy (&roadmap);
}

static void the_real_roadmap_of_2025_10_24_is_accepted_with_warnings (void **state)
{
    (void)state;
    if (!has_shared_data ())
        skip ();
    rota_roadmap_t *roadmap = read_file ("../shared/data/roadmaps/weathervane-2025-10-24.yaml");
    size_t epics = 0, milestones = 0, statuses[16] = {0};
    for (size_t i = 0; i < roadmap->count; i++) {
        const Rota__TaskSpec *spec = roadmap->specs[i];
        epics += spec->kind == NODE (EPIC);
        milestones += spec->kind == NODE (MILESTONE);
        statuses[spec->kind == NODE (TASK) ? spec->status : 0]++;
    }
    assert_int_equal (roadmap->error_count, 0);
    assert_int_equal (roadmap->fault_count, 10);
    assert_int_equal (roadmap->task_count, 358);
    assert_int_equal (epics, 24);
    assert_int_equal (milestones, 50);
    assert_int_equal (roadmap->edge_count, 81);
    assert_int_equal (statuses[STATUS (DONE)], 136);
    assert_int_equal (statuses[STATUS (PENDING)], 205);
    assert_int_equal (statuses[STATUS (BLOCKED)], 12);
    assert_int_equal (statuses[STATUS (NEEDS_IMPROVEMENT)], 5);
    rota_roadmap_destroy (&roadmap);
}

/* ---- cycles against a model: work the graph off, task by task */

enum { TASKS = 7, GROUPS = 4 }; /* groups 0, 1: epics; 2, 3: milestones in epic 0 and 1 */

typedef struct {
    int group[TASKS]; /* 0..3 or -1 */
    bool depends[TASKS + GROUPS][TASKS + GROUPS];
} model_t;

static bool lies_in (const model_t *model, int node, int group)
{
    int parent = node < TASKS ? model->group[node] : node - TASKS >= 2 ? node - TASKS - 2 : -1;
    return parent >= 0 && (parent == group || lies_in (model, TASKS + parent, group));
}

static bool is_complete (const model_t *model, const bool *done, int node)
{
    if (node < TASKS)
        return done[node];
    for (int t = 0; t < TASKS; t++)
        if (lies_in (model, t, node - TASKS) && !done[t])
            return false;
    return true;
}

static bool may_start (const model_t *model, const bool *done, int task)
{
    for (int node = 0; node < TASKS + GROUPS; node++)
        if (node == task || (node >= TASKS && lies_in (model, task, node - TASKS)))
            for (int on = 0; on < TASKS + GROUPS; on++)
                if (model->depends[node][on] && !is_complete (model, done, on))
                    return false;
    return true;
}

static bool comes_to_an_end (const model_t *model)
{
    bool done[TASKS] = {false}, moved = true;
    int left = TASKS;
    while (moved) {
        moved = false;
        for (int t = 0; t < TASKS; t++)
            if (!done[t] && may_start (model, done, t)) {
                done[t] = moved = true;
                left--;
            }
    }
    return left == 0;
}

static void print_node (FILE *stream, const model_t *model, int node, const char *indent)
{
    static const char *const GROUP_NAMES[] = {"E0", "E1", "M0", "M1"};
    bool some = false;
    if (node < TASKS)
        fprintf (stream, "%s- id: t%d\n", indent, node);
    else
        fprintf (stream, "%s- id: %s\n", indent, GROUP_NAMES[node - TASKS]);
    for (int on = 0; on < TASKS + GROUPS; on++) {
        if (!model->depends[node][on])
            continue;
        fprintf (stream, some ? ", " : "%s  after: [", indent);
        if (on < TASKS)
            fprintf (stream, "t%d", on);
        else
            fputs (GROUP_NAMES[on - TASKS], stream);
        some = true;
    }
    fputs (some ? "]\n" : "", stream);
}

static void print_tasks (FILE *stream, const model_t *model, int group, const char *indent)
{
    char deeper[32];
    snprintf (deeper, sizeof deeper, "%s  ", indent);
    fprintf (stream, "%stasks:\n", indent);
    for (int t = 0; t < TASKS; t++)
        if (model->group[t] == group)
            print_node (stream, model, t, deeper);
}

static char *print_model (const model_t *model)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream (&text, &size);
    assert_non_null (stream);
    fputs ("epics:\n", stream);
    for (int epic = 0; epic < 2; epic++) {
        print_node (stream, model, TASKS + epic, "  ");
        print_tasks (stream, model, epic, "    ");
        fputs ("    milestones:\n", stream);
        print_node (stream, model, TASKS + 2 + epic, "      ");
        print_tasks (stream, model, 2 + epic, "        ");
    }
    print_tasks (stream, model, -1, "");
    fclose (stream);
    return text;
}

static void a_cycle_is_reported_exactly_when_work_would_stand_still (void **state)
{
    (void)state;
    int cyclic = 0, free_of_them = 0;
    unsigned seed = 20261123;
    for (int round = 0; round < 3000; round++) {
        model_t model = {0};
        for (int t = 0; t < TASKS; t++)
            model.group[t] =
                t < GROUPS ? t : (int)(rand_r (&seed) % (GROUPS + 1)) - 1; /* no group is empty */
        for (int edge = 0; edge < 5; edge++) {
            int from = (int)(rand_r (&seed) % (TASKS + GROUPS)),
                on = (int)(rand_r (&seed) % (TASKS + GROUPS));
            bool own = from == on || (on >= TASKS && lies_in (&model, from, on - TASKS)) ||
                       (from >= TASKS && lies_in (&model, on, from - TASKS));
            if (!own)
                model.depends[from][on] = true;
        }
        char *text = print_model (&model);
        rota_roadmap_t *roadmap = parse (text);
        bool reported = false;
        for (size_t i = 0; i < roadmap->fault_count; i++)
            reported |= !strncmp (roadmap->faults[i].text, "cycle: ", 7);
        bool ends = comes_to_an_end (&model);
        if (reported == ends) {
            print_message ("round %d:\n%s", round, text);
            rota_roadmap_print_faults (roadmap, stderr);
        }
        assert_int_equal (reported, !ends);
        assert_int_equal (roadmap->error_count > 0, reported);
        *(ends ? &free_of_them : &cyclic) += 1;
        rota_roadmap_destroy (&roadmap);
        free (text);
    }
    assert_true (cyclic > 300 && free_of_them > 300);
}

static void expect_gate (const rota_gates_t *gates, size_t index, const char *name, const char *command)
{
    assert_true (index < gates->count);
    const Rota__Gate *gate = gates->list[index];
    assert_bytes (gate->name, name);
    assert_int_equal (gate->has_command, command != NULL);
    assert_int_equal (gate->n_profiles, 0); /* whoever runs it needs no others */
    if (command)
        assert_bytes (gate->command, command);
}

static void a_profile_chooses_the_commands_of_gates (void **state)
{
    (void)state;
    rota_gates_t gates;
    rota_roadmap_t *roadmap =
        parse_good ("gates:\n"
                    "  test: {run: make check, timeout: 5m, profiles: {quick: make smoke, docs: null}}\n"
                    "  lint: make lint\n"
                    "  audit: {profiles: {quick: pip-audit}}\n"
                    "defaults: {gates: [test, lint, audit], profile: quick}\n"
                    "tasks:\n"
                    "  - {id: quick, exit_criteria: [test: make mine, critic: elsewhere]}\n"
                    "  - {id: docs, profile: docs}\n");
    rota_gates_find (&roadmap->header, find (roadmap, "quick"), &gates);
    assert_int_equal (gates.count, 5);
    expect_gate (&gates, 0, "test", "make smoke");
    assert_int_equal (gates.list[0]->timeout_ms, 300000);
    expect_gate (&gates, 1, "lint", "make lint"); /* it knows no profile */
    expect_gate (&gates, 2, "audit", "pip-audit");
    expect_gate (&gates, 3, "make mine", "make mine");
    expect_gate (&gates, 4, "elsewhere", NULL);
    rota_gates_find (&roadmap->header, find (roadmap, "docs"), &gates);
    assert_int_equal (gates.count, 3);
    expect_gate (&gates, 0, "test", NULL); /* null: it can't be checked, and that is said */
    expect_gate (&gates, 1, "lint", "make lint");
    expect_gate (&gates, 2, "audit", NULL);
    rota_roadmap_destroy (&roadmap);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (every_key_of_the_head_arrives),
        cmocka_unit_test (a_profile_chooses_the_commands_of_gates),
        cmocka_unit_test (every_key_that_says_what_a_task_is_arrives),
        cmocka_unit_test (every_key_that_says_how_to_work_arrives),
        cmocka_unit_test (groups_hold_their_tasks_in_the_order_of_the_file),
        cmocka_unit_test (defaults_fill_in_what_a_task_does_not_say),
        cmocka_unit_test (approval_of_a_group_holds_for_its_tasks),
        cmocka_unit_test (complexity_follows_from_the_estimate),
        cmocka_unit_test (keys_without_meaning_are_kept_for_the_export),
        cmocka_unit_test (prompts_come_from_files_below_the_roadmap),
        cmocka_unit_test (tasks_run_where_the_roadmap_says),
        cmocka_unit_test (a_file_in_the_shape_of_the_original_system),
        cmocka_unit_test (the_real_roadmap_of_2025_10_10_has_one_id_twice),
        cmocka_unit_test (the_real_roadmap_of_2025_10_24_is_accepted_with_warnings),
        cmocka_unit_test (a_cycle_is_reported_exactly_when_work_would_stand_still),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
