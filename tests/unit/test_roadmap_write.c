/* What is written is read back as it was, whatever the texts hold. */
#include "bus/names.h"
#include "proto/words.h"
#include "scheduler/roadmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *source_directory (void)
{
    const char *directory = getenv ("ROTA_SOURCE");
    return directory ? directory : ".";
}

static char *write_out (const Rota__RoadmapHeader *header, Rota__TaskSpec *const *specs, size_t count)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream (&text, &size);
    assert_non_null (stream);
    assert_int_equal (rota_roadmap_write (stream, header, specs, count), 0);
    assert_int_equal (fclose (stream), 0);
    return text;
}

static rota_roadmap_t *read_back (const char *text)
{
    rota_roadmap_t *roadmap = NULL;
    assert_int_equal (rota_roadmap_parse ("other/place.yaml", text, strlen (text), NULL, &roadmap, NULL), 0);
    if (roadmap->error_count) {
        print_message ("%s", text);
        rota_roadmap_print_faults (roadmap, stderr);
    }
    assert_int_equal (roadmap->error_count, 0);
    return roadmap;
}

/* Positions are no part of a definition. */
static uint8_t *pack (Rota__TaskSpec *spec, size_t *ret_size)
{
    spec->has_line = spec->has_column = false;
    for (size_t i = 0; i < spec->n_dependencies; i++)
        spec->dependencies[i]->has_line = spec->dependencies[i]->has_column = false;
    *ret_size = rota__task_spec__get_packed_size (spec);
    uint8_t *bytes = malloc (*ret_size + 1);
    assert_non_null (bytes);
    rota__task_spec__pack (spec, bytes);
    return bytes;
}

static void assert_same_specs (Rota__TaskSpec *const *a, size_t a_count, Rota__TaskSpec *const *b,
                               size_t b_count, const char *text)
{
    assert_int_equal (a_count, b_count);
    for (size_t i = 0; i < a_count; i++) {
        size_t a_size, b_size;
        uint8_t *a_bytes = pack (a[i], &a_size), *b_bytes = pack (b[i], &b_size);
        if (a_size != b_size || memcmp (a_bytes, b_bytes, a_size) != 0)
            print_message ("definition %zu differs after:\n%s\n", i, text);
        assert_int_equal (a_size, b_size);
        assert_memory_equal (a_bytes, b_bytes, a_size);
        free (a_bytes);
        free (b_bytes);
    }
}

static void assert_same_head (const Rota__RoadmapHeader *a, const Rota__RoadmapHeader *b)
{
    Rota__RoadmapHeader x = *a, y = *b;
    uint8_t x_bytes[4096], y_bytes[4096];
    x.has_path = y.has_path = false;
    size_t x_size = rota__roadmap_header__get_packed_size (&x);
    assert_true (x_size < sizeof x_bytes && rota__roadmap_header__get_packed_size (&y) == x_size);
    rota__roadmap_header__pack (&x, x_bytes);
    rota__roadmap_header__pack (&y, y_bytes);
    assert_memory_equal (x_bytes, y_bytes, x_size);
}

/* Written, read and written again: the same definitions and the same bytes. */
static void assert_comes_back (const rota_roadmap_t *roadmap)
{
    char *text = write_out (&roadmap->header, roadmap->specs, roadmap->count);
    rota_roadmap_t *again = read_back (text);
    assert_same_head (&roadmap->header, &again->header);
    assert_same_specs (roadmap->specs, roadmap->count, again->specs, again->count, text);
    char *second = write_out (&again->header, again->specs, again->count);
    assert_string_equal (text, second);
    free (second);
    free (text);
    rota_roadmap_destroy (&again);
}

static void file_comes_back (const char *name, size_t tasks)
{
    char path[4096];
    rota_roadmap_t *roadmap = NULL;
    rota_error_t error = {""};
    snprintf (path, sizeof path, "%s/%s", source_directory (), name);
    int rc = rota_roadmap_read (path, NULL, &roadmap, &error);
    assert_string_equal (error.text, "");
    assert_int_equal (rc, 0);
    assert_int_equal (roadmap->task_count, tasks);
    assert_comes_back (roadmap);
    rota_roadmap_destroy (&roadmap);
}

static void a_file_in_the_shape_of_the_original_system_comes_back (void **state)
{
    (void)state;
    file_comes_back ("tests/data/lookalike.yaml", 4);
}

static void the_real_roadmap_comes_back (void **state)
{
    (void)state;
    char path[4096];
    static const char NAME[] = "../shared/data/roadmaps/weathervane-2025-10-24.yaml";
    snprintf (path, sizeof path, "%s/%s", source_directory (), NAME);
    if (access (path, R_OK) != 0) {
        print_message ("NOT RUN: %s is not there; tests/data/lookalike.yaml covers the same shapes\n", path);
        skip ();
    }
    file_comes_back (NAME, 358);
}

static void what_is_written_reads_well (void **state)
{
    (void)state;
    rota_roadmap_t *roadmap = read_back (
        "name: small\ngates: {lint: make lint, test: {run: make check, timeout: 600},\n"
        "        slow: {profiles: {full: make all, quick: null, odd: 'null'}}}\n"
        "defaults: {retry: 2, gates: [lint]}\n"
        "directory: /srv\n"
        "epics:\n"
        "  - {id: E, status: blocked, owner: me, milestones: [{id: M, after: flat, tasks: [{id: a}]}]}\n"
        "tasks:\n"
        "  - {id: flat, title: 'no: really', run: \"cd x \xe2\x80\x94\\nmake\\n\", timeout: 5400, priority: "
        "high,\n"
        "     exit_criteria: [doc: a.md, \"yes\"], after: [{id: b, type: related}], prompt: '@@me'}\n"
        "  - {id: b, after: {milestone: M, epic: E}, directory: /tmp, gates: [], profile: quick, attempts: "
        "1}\n");
    char *text = write_out (&roadmap->header, roadmap->specs, roadmap->count);
    assert_string_equal (text, "name: small\n"
                               "gates:\n"
                               "  lint: make lint\n"
                               "  test:\n"
                               "    run: make check\n"
                               "    timeout: 10m\n"
                               "  slow:\n"
                               "    profiles:\n"
                               "      full: make all\n"
                               "      quick: null\n"
                               "      odd: \"null\"\n"
                               "epics:\n"
                               "- id: E\n"
                               "  status: blocked\n"
                               "  owner: me\n"
                               "  milestones:\n"
                               "  - id: M\n"
                               "    dependencies: [flat]\n"
                               "    tasks:\n"
                               "    - id: a\n"
                               "      attempts: 3\n"
                               "      gates: [lint]\n"
                               "      directory: /srv\n"
                               "tasks:\n"
                               "- id: flat\n"
                               "  title: 'no: really'\n"
                               "  priority: high\n"
                               "  dependencies:\n"
                               "  - id: b\n"
                               "    type: related\n"
                               "  exit_criteria:\n"
                               "  - doc: a.md\n"
                               "  - \"yes\"\n"
                               "  run: |\n"
                               "    cd x \xe2\x80\x94\n"
                               "    make\n"
                               "  prompt: '@@me'\n"
                               "  attempts: 3\n"
                               "  timeout: 1h30m\n"
                               "  gates: [lint]\n"
                               "  directory: /srv\n"
                               "- id: b\n"
                               "  dependencies:\n"
                               "  - milestone: M\n"
                               "    epic: E\n"
                               "  attempts: 1\n"
                               "  profile: quick\n"
                               "  directory: /tmp\n");
    free (text);
    rota_roadmap_destroy (&roadmap);
}

static void groups_that_only_their_tasks_name_are_written_too (void **state)
{
    (void)state;
    Rota__TaskSpec task = ROTA__TASK_SPEC__INIT;
    task.has_id = task.has_epic = task.has_milestone = true;
    task.id = rota_bytes ("t");
    task.epic = rota_bytes ("E");
    task.milestone = rota_bytes ("M");
    Rota__TaskSpec *specs[] = {&task};
    char *text = write_out (NULL, specs, 1);
    assert_string_equal (text, "epics:\n- id: E\n  milestones:\n  - id: M\n    tasks:\n    - id: t\n");
    free (text);
}

static void a_full_disk_is_an_error (void **state)
{
    (void)state;
    Rota__TaskSpec task = ROTA__TASK_SPEC__INIT;
    task.id = rota_bytes ("t");
    Rota__TaskSpec *specs[] = {&task};
    FILE *stream = fopen ("/dev/full", "w");
    assert_non_null (stream);
    assert_true (rota_roadmap_write (stream, NULL, specs, 1) < 0);
    fclose (stream);
}

/* ---- definitions made at random, with texts that are hard on a YAML writer */

static unsigned seed;

static unsigned pick (unsigned limit)
{
    return (unsigned)rand_r (&seed) % limit;
}

/* Once in `times`. */
static bool flip (unsigned times)
{
    return pick (times) == 0;
}

typedef struct {
    char *memory[4096]; /* freed as a whole */
    size_t count;
} heap_t;

static void *keep (heap_t *heap, size_t size)
{
    assert_true (heap->count < sizeof heap->memory / sizeof *heap->memory);
    return heap->memory[heap->count++] = calloc (1, size ? size : 1);
}

static void release (heap_t *heap)
{
    while (heap->count)
        free (heap->memory[--heap->count]);
}

static const char *const PIECES[] = {"yes",
                                     "no",
                                     "null",
                                     "~",
                                     "1.0",
                                     "007",
                                     "0x1F",
                                     "1e3",
                                     "2025-10-10",
                                     "12:30",
                                     "<<",
                                     "=",
                                     "- x",
                                     "-",
                                     "? y",
                                     ": z",
                                     "a: b",
                                     "#c",
                                     " # d",
                                     "&e",
                                     "*f",
                                     "!g",
                                     "|",
                                     ">",
                                     "'",
                                     "\"",
                                     "\\",
                                     "%h",
                                     "@i",
                                     "`",
                                     "{",
                                     "}",
                                     "[",
                                     "]",
                                     ",",
                                     "...",
                                     "---",
                                     "\xc3\xa9",
                                     "\xe2\x82\xac",
                                     "\xf0\x9f\x98\x80",
                                     "\xe2\x80\xa8",
                                     "\xc2\x85",
                                     "\xc2\xa0",
                                     "\xef\xbb\xbf",
                                     "word",
                                     "two words",
                                     " ",
                                     "  ",
                                     "+",
                                     ".5",
                                     "true",
                                     "\xef\xbf\xbd",
                                     "\xc2\x9b",
                                     "://",
                                     "y",
                                     "Off"};
static const char *const BREAKS[] = {"\n",  "\n\n", "\t",   "\r\n", "\n  ",
                                     " \n", "\x1b", "\x7f", "\n- ", "\n\n\n"};

/* A text of some pieces; with `lines` also breaks and control characters. */
static ProtobufCBinaryData nasty (heap_t *heap, bool lines)
{
    enum { CAPACITY = 4096 };
    char *text = keep (heap, CAPACITY);
    size_t used = 0;
    unsigned pieces = pick (40) == 0 ? 100 : pick (6);
    for (unsigned i = 0; i < pieces; i++) {
        bool is_break = lines && pick (3) == 0;
        used += (size_t)snprintf (text + used, CAPACITY - used, "%s",
                                  is_break ? BREAKS[pick (sizeof BREAKS / sizeof *BREAKS)]
                                           : PIECES[pick (sizeof PIECES / sizeof *PIECES)]);
    }
    return rota_bytes (text);
}

/* A text that may be an id: no control characters, no blank at its ends, not empty. */
static ProtobufCBinaryData nasty_name (heap_t *heap, int number)
{
    enum { CAPACITY = 512 };
    char *text = keep (heap, CAPACITY);
    do {
        size_t used = 0;
        for (unsigned i = 1 + pick (4); i > 0; i--)
            used += (size_t)snprintf (text + used, CAPACITY - used, "%s",
                                      PIECES[pick (sizeof PIECES / sizeof *PIECES)]);
        if (number >= 0)
            snprintf (text + used, CAPACITY - used, "%d", number);
    } while (rota_id_check (text, strlen (text), NULL) < 0);
    return rota_bytes (text);
}

static void some_names (heap_t *heap, size_t *ret_count, ProtobufCBinaryData **ret_names)
{
    *ret_count = pick (4);
    *ret_names = keep (heap, *ret_count * sizeof **ret_names);
    for (size_t i = 0; i < *ret_count; i++)
        (*ret_names)[i] = nasty_name (heap, -1);
}

static const char *const EXTRAS[] = {
    "{\"owner\":\"x\"}", "{\"a b\":[1,2.5,-3,null,true,\"1\",\"yes\"],\"\":\"\"}",
    "{\"nested\":{\"k\":{\"l\":[[],{}]}},\"<<\":\"text\",\"~\":1e22}", "{\"domain\":\"line\\nbreak\\t\"}"};

static void make_random (heap_t *heap, Rota__TaskSpec *spec, const Rota__TaskSpec *before, int before_count)
{
    if (pick (2)) {
        spec->has_description = true;
        spec->description = nasty (heap, true);
    }
    if (pick (2)) {
        spec->has_run = true;
        spec->run = nasty (heap, true);
        spec->has_run =
            spec->run.len && ((const char *)spec->run.data)[strspn ((const char *)spec->run.data, " \t\r\n")];
    }
    if (pick (2)) {
        spec->has_prompt = true;
        spec->prompt = nasty (heap, true);
    }
    spec->has_title = true;
    spec->title = nasty_name (heap, -1);
    some_names (heap, &spec->n_labels, &spec->labels);
    some_names (heap, &spec->n_touches, &spec->touches);
    some_names (heap, &spec->n_capabilities, &spec->capabilities);
    spec->n_exit_criteria = pick (4);
    spec->exit_criteria = keep (heap, spec->n_exit_criteria * sizeof (void *));
    for (size_t i = 0; i < spec->n_exit_criteria; i++) {
        Rota__Criterion *criterion = spec->exit_criteria[i] = keep (heap, sizeof *criterion);
        rota__criterion__init (criterion);
        criterion->has_kind = flip (2);
        if (criterion->has_kind)
            criterion->kind = nasty (heap, true);
        criterion->has_value = true;
        criterion->value = nasty (heap, true);
    }
    spec->n_dependencies = before_count && pick (2) ? 1 + pick (2) : 0;
    spec->dependencies = keep (heap, 2 * sizeof (void *));
    int first = before_count ? (int)pick ((unsigned)before_count) : 0;
    for (size_t i = 0; i < spec->n_dependencies; i++) {
        if (i == 1 && first + 1 >= before_count) {
            spec->n_dependencies = 1;
            break;
        }
        Rota__Dependency *dependency = spec->dependencies[i] = keep (heap, sizeof *dependency);
        rota__dependency__init (dependency);
        dependency->has_on = true;
        dependency->on = before[first + (int)i].id;
        dependency->has_type = flip (3);
        if (dependency->has_type)
            dependency->type = (Rota__DependencyType)(1 + pick (3));
    }
    spec->has_status = flip (2);
    spec->status = (Rota__TaskStatus)(1 + pick (9));
    spec->has_priority = flip (2);
    spec->priority = (int32_t)pick (5) * 25 - 50;
    spec->has_estimate_hours = flip (2);
    spec->estimate_hours = (double)pick (100000) / 7;
    spec->has_complexity = spec->has_estimate_hours || flip (2);
    spec->complexity = 1 + pick (10);
    spec->has_timeout_ms = flip (2);
    spec->timeout_ms = pick (2000000000);
    spec->has_not_before_ms = flip (2);
    spec->not_before_ms = (int64_t)pick (2000000000) * 1000 + pick (1000);
    spec->has_approval = flip (2);
    spec->approval = flip (2);
    spec->has_commit = flip (2);
    spec->commit = flip (2);
    spec->has_extra = flip (2);
    if (spec->has_extra)
        spec->extra = rota_bytes (EXTRAS[pick (sizeof EXTRAS / sizeof *EXTRAS)]);
    spec->has_directory = true;
    spec->directory = rota_bytes (pick (2) ? "/srv/a: b" : "/tmp");
}

static void definitions_made_at_random_come_back (void **state)
{
    (void)state;
    enum { EPICS = 2, MILESTONES = 2, TASKS = 6, COUNT = EPICS + MILESTONES + TASKS };
    static heap_t heap;
    seed = 20261123;
    for (int round = 0; round < 2000; round++) {
        Rota__TaskSpec made[COUNT], *specs[COUNT];
        for (int i = 0; i < COUNT; i++) {
            Rota__TaskSpec *spec = specs[i] = &made[i];
            bool is_task = i >= EPICS + MILESTONES;
            rota__task_spec__init (spec);
            spec->has_id = spec->has_kind = true;
            spec->kind = is_task ? NODE (TASK) : i < EPICS ? NODE (EPIC) : NODE (MILESTONE);
            spec->id = nasty_name (&heap, i);
            if (is_task)
                make_random (&heap, spec, made + EPICS + MILESTONES, i - EPICS - MILESTONES);
            else if (!pick (3))
                spec->has_approval = true, spec->approval = flip (2);
            /* The reader gives tasks back group by group: two in each milestone, the rest flat. */
            int milestone = (i - EPICS - MILESTONES) / 2;
            if (i >= EPICS && milestone < MILESTONES) {
                int epic = is_task ? milestone : i - EPICS;
                spec->has_epic = true;
                spec->epic = made[epic].id;
                spec->has_milestone = is_task;
                if (is_task)
                    spec->milestone = made[EPICS + milestone].id;
                const Rota__TaskSpec *group = &made[is_task ? EPICS + milestone : epic];
                if (!spec->has_approval) {
                    spec->has_approval = group->has_approval; /* as it is read */
                    spec->approval = group->approval;
                }
            }
        }
        Rota__RoadmapHeader header = ROTA__ROADMAP_HEADER__INIT;
        header.has_source = true;
        header.source = nasty_name (&heap, -1);
        rota_roadmap_t roadmap = {.header = header, .specs = specs, .count = COUNT};
        assert_comes_back (&roadmap);
        release (&heap);
    }
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (a_file_in_the_shape_of_the_original_system_comes_back),
        cmocka_unit_test (the_real_roadmap_comes_back),
        cmocka_unit_test (what_is_written_reads_well),
        cmocka_unit_test (groups_that_only_their_tasks_name_are_written_too),
        cmocka_unit_test (a_full_disk_is_an_error),
        cmocka_unit_test (definitions_made_at_random_come_back),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
