/* Bad roadmaps: every fault, each with the line and column that a user will look at. */
#include "scheduler/roadmap.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* All faults as they are printed, malloc'ed. */
static char *faults_of (const char *bytes, size_t size, const rota_roadmap_options_t *options,
                        size_t *ret_errors)
{
    rota_roadmap_t *roadmap = NULL;
    rota_error_t error;
    assert_int_equal (rota_roadmap_parse ("r.yaml", bytes, size, options, &roadmap, &error), 0);
    char *text = NULL;
    size_t length;
    FILE *stream = open_memstream (&text, &length);
    assert_non_null (stream);
    rota_roadmap_print_faults (roadmap, stream);
    assert_int_equal (fclose (stream), 0);
    if (ret_errors)
        *ret_errors = roadmap->error_count;
    rota_roadmap_destroy (&roadmap);
    assert_null (roadmap);
    return text;
}

typedef struct {
    const char *text;
    size_t size;
    const char *faults;
} case_t;

#define CASE(text_, faults_)                                                                                 \
    {                                                                                                        \
        text_, sizeof (text_) - 1, faults_                                                                   \
    }

static void check_cases (const case_t *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *faults = faults_of (cases[i].text, cases[i].size, NULL, NULL);
        if (strcmp (faults, cases[i].faults) != 0)
            print_message ("in:\n%s\n", cases[i].text);
        assert_string_equal (faults, cases[i].faults);
        free (faults);
    }
}
#define CHECK(cases) check_cases (cases, sizeof cases / sizeof *cases)

static void files_that_are_no_yaml (void **state)
{
    (void)state;
    static const case_t CASES[] = {
        CASE ("tasks: [1, 2\nname: x\n", "r.yaml:2:5: error: not YAML: did not find expected ',' or ']' "
                                         "(while parsing a flow sequence from "
                                         "line 1)\n"),
        CASE ("tasks:\n  - id: \xc3\x28\n", "r.yaml:2:9: error: invalid UTF-8: byte 0xC3\n"),
        CASE ("tasks:\n  - id: a\0b\n", "r.yaml:2:10: error: a NUL byte; this is no text file\n"),
        CASE ("a: &a [x, x]\nb: &b [*a, *b]\n", "r.yaml:2:12: error: *b stands inside of what it names\n"),
        CASE ("tasks: []\n---\ntasks: []\n",
              "r.yaml:2:1: error: a second document starts here; a file holds one\n"),
        CASE ("tasks: []\nname: a\ntasks: []\n",
              "r.yaml:3:1: error: the key tasks appears twice; first at line 1, column 1\n"),
        CASE ("just words\n", "r.yaml:1:1: error: expected a mapping with tasks: or epics:, found a text\n"),
        CASE ("\x3f\x20\x5c\x75\x31\x32\x2a\x61\x20\x7b\x60\x3a\x20\x09\x2d\x20\x61\x3a\x20\x62\x0a\x7b\x22"
              "\x3e\x2d"
              "\x0a",
              "r.yaml:1:15: error: not YAML: block sequence entries are not allowed in this context\n"),
    };
    CHECK (CASES);
}

static void deep_nesting_and_exploding_aliases (void **state)
{
    (void)state;
    char deep[300] = "tasks: ";
    memset (deep + 7, '[', 100);
    char *faults = faults_of (deep, strlen (deep), NULL, NULL);
    assert_string_equal (faults, "r.yaml:1:71: error: nested deeper than 64 levels\n");
    free (faults);
    static const char LAUGHS[] =
        "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
        "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\n"
        "d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
        "e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\n"
        "f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]\ntasks: *f\n";
    faults = faults_of (LAUGHS, strlen (LAUGHS), NULL, NULL);
    assert_string_equal (faults, "r.yaml:6:36: error: *e: aliases expand to more than 1000000 values\n");
    free (faults);
}

static void empty_roadmaps_are_warned_of (void **state)
{
    (void)state;
    static const case_t CASES[] = {
        CASE ("", "r.yaml:1:1: warning: the file is empty: no tasks\n"),
        CASE ("# nothing yet\n", "r.yaml:1:1: warning: the file is empty: no tasks\n"),
        CASE ("epics: []\n", "r.yaml:1:1: warning: no tasks\n"),
        CASE ("tasks:\n", "r.yaml:1:1: warning: no tasks\n"),
        CASE ("[]", "r.yaml:1:1: warning: no tasks\n"),
        CASE ("epics:\n  - id: E1\n    milestones: [{id: M1}]\n",
              "r.yaml:1:1: warning: no tasks\n"
              "r.yaml:2:9: warning: epic E1 has no tasks; what depends on it need not wait\n"
              "r.yaml:3:23: warning: milestone M1 has no tasks; what depends on it need not wait\n"),
    };
    CHECK (CASES);
}

static void wrong_types_everywhere (void **state)
{
    (void)state;
    static const case_t CASES[] = {
        CASE ("tasks: 5\n", "r.yaml:1:8: error: tasks: expected a list, found a text\n"),
        CASE ("epics: {id: E}\n",
              "r.yaml:1:8: error: epics: expected a list, found a mapping (key: value)\n"),
        CASE ("epics: [{id: E, milestones: 1, tasks: x}]\n",
              "r.yaml:1:14: warning: epic E has no tasks; what depends on it need not wait\n"
              "r.yaml:1:29: error: milestones: expected a list, found a text\n"
              "r.yaml:1:39: error: tasks: expected a list, found a text\n"),
        CASE ("tasks: [a, [b], null]\n",
              "r.yaml:1:9: error: a task: expected a mapping (key: value), found \"a\"\n"
              "r.yaml:1:12: error: a task: expected a mapping (key: value), found a list\n"
              "r.yaml:1:17: error: a task: expected a mapping (key: value), found nothing\n"),
        CASE (
            "tasks:\n"
            "  - id: [a]\n"
            "  - title: no id\n"
            "  - id: b\n"
            "    title: {a: b}\n"
            "    description: [x]\n"
            "    type: epic\n"
            "    status: finished\n"
            "    estimate_hours: soon\n"
            "    complexity: 11\n"
            "    priority: urgent\n"
            "    dependencies: {type: blocks}\n"
            "    exit_criteria: [{doc: {x: y}}]\n"
            "    run: [make]\n"
            "    attempts: 0\n"
            "    timeout: forever\n"
            "    silence: -1\n"
            "    touches: {a: b}\n"
            "    labels: [[x]]\n"
            "    approval: perhaps\n"
            "    review: twice\n"
            "    gates: lint\n"
            "    workdir: there\n"
            "    commit: 1\n"
            "    not_before: tomorrow\n"
            "    agent: \"\"\n",
            "r.yaml:2:9: error: id: expected a text, found a list\n"
            "r.yaml:3:5: error: a task needs an id\n"
            "r.yaml:5:12: error: title: expected a text, found a mapping (key: value)\n"
            "r.yaml:6:18: error: description: expected a text, found a list\n"
            "r.yaml:7:11: error: type: \"epic\" is none; there are task, bug and story\n"
            "r.yaml:8:13: error: status: \"finished\" is none; there are pending, in_progress, needs_review, "
            "in_review, needs_improvement, done, blocked, failed and cancelled\n"
            "r.yaml:9:21: error: estimate_hours: expected a number from 0 to 1e+06, found \"soon\"\n"
            "r.yaml:10:17: error: complexity: expected a whole number from 1 to 10, found \"11\"\n"
            "r.yaml:11:15: error: priority: expected critical, high, medium, normal, low or a whole number "
            "from -1000 to 1000, found urgent\n"
            "r.yaml:12:19: error: dependencies: an entry names a task, an epic or a milestone\n"
            "r.yaml:13:27: error: exit_criteria: expected a text, found a mapping (key: value)\n"
            "r.yaml:14:10: error: run: expected a text, found a list\n"
            "r.yaml:15:15: error: attempts: expected a whole number from 1 to 100, found \"0\"\n"
            "r.yaml:16:14: error: timeout: expected a duration such as 90s, 30m or 1h30m, found \"forever\"\n"
            "r.yaml:17:14: error: silence: expected a duration such as 90s, 30m or 1h30m, found \"-1\"\n"
            "r.yaml:18:14: error: touches: expected a text, found a mapping (key: value)\n"
            "r.yaml:19:14: error: labels: expected a text, found a list\n"
            "r.yaml:20:15: error: approval (required, true or false): expected true or false, found "
            "\"perhaps\"\n"
            "r.yaml:21:13: error: review (true, false or other-kind): expected true or false, found "
            "\"twice\"\n"
            "r.yaml:22:12: error: gates: there is no gate lint at the top of the file\n"
            "r.yaml:23:14: error: workdir: expected here or branch, found there\n"
            "r.yaml:24:13: error: commit: expected true or false, found \"1\"\n"
            "r.yaml:25:17: error: not_before: expected a time such as 2026-11-23T08:00:00Z, found "
            "\"tomorrow\"\n"
            "r.yaml:26:12: error: agent: \"\": an id must not be empty\n"),
    };
    CHECK (CASES);
}

static void wrong_types_at_the_top (void **state)
{
    (void)state;
    static const case_t CASES[] = {
        CASE ("gates: {a: {profiles: [x]}, b: {run: y, profiles: {'': z, fast: [], slow: ''}}}\n"
              "tasks: [{id: t, profile: fats}, {id: u, profile: []}]\n",
              "r.yaml:1:23: error: profiles: expected a mapping (key: value), found a list\n"
              "r.yaml:1:52: error: profiles: \"\": an id must not be empty\n"
              "r.yaml:1:65: error: profile fast: expected a command, or null where it isn't checked, found a "
              "list\n"
              "r.yaml:1:75: error: profile slow: expected a command, or null where it isn't checked, found a "
              "text\n"
              "r.yaml:2:26: error: profile: no gate at the top of the file has the profile fats\n"
              "r.yaml:2:50: error: profile: expected a text, found a list\n"),
        CASE ("name: []\nrepository: {}\nwip: many\ngates: {a: [], b: {run: x, when: y}, c: {timeout: 1s}}\n"
              "defaults: 7\ntasks: []\n",
              "r.yaml:1:7: error: name: expected a text, found a list\n"
              "r.yaml:2:13: error: repository: expected a text, found a mapping (key: value)\n"
              "r.yaml:3:6: error: wip: expected a whole number from 1 to 1000000, found \"many\"\n"
              "r.yaml:4:12: error: gate a: expected a command, found a list\n"
              "r.yaml:4:28: error: gate b: a gate has run, timeout and profiles\n"
              "r.yaml:4:41: error: gate c: expected a command, found nothing\n"
              "r.yaml:5:11: error: defaults: expected a mapping (key: value), found \"7\"\n"),
    };
    CHECK (CASES);
}

static void ids_that_may_not_be (void **state)
{
    (void)state;
    char text[512];
    static const case_t CASES[] = {
        CASE ("tasks:\n  - {id: \"a\\x07b\"}\n",
              "r.yaml:2:10: error: id: \"a?b\": an id must not hold control characters\n"),
        CASE ("tasks:\n  - {id: \"a\\nb\", after: \"\\e[31m\"}\n",
              "r.yaml:2:10: error: id: \"a?b\": an id must not hold control characters\n"
              "r.yaml:2:25: error: after: \"?[31m\": an id must not hold control characters\n"),
        CASE ("tasks:\n  - id: ''\n", "r.yaml:2:9: error: id: \"\": an id must not be empty\n"),
        CASE ("tasks:\n  - id:\n", "r.yaml:2:8: error: id: expected a text, found nothing\n"),
    };
    CHECK (CASES);
    snprintf (text, sizeof text, "tasks: [{id: %0200d}]", 7);
    char *faults = faults_of (text, strlen (text), NULL, NULL);
    assert_string_equal (faults, "");
    free (faults);
    snprintf (text, sizeof text, "tasks: [{id: %0201d}]", 7);
    faults = faults_of (text, strlen (text), NULL, NULL);
    assert_non_null (strstr (faults, "r.yaml:1:14: error: id: \"000"));
    assert_non_null (strstr (faults, "...\": an id has at most 200 bytes\n"));
    free (faults);
}

static void ids_that_appear_twice (void **state)
{
    (void)state;
    static const case_t CASES[] = {
        CASE (
            "epics:\n  - id: E\n    milestones:\n      - id: M\n        tasks:\n          - critic: design\n"
            "            id: T3.2.2\n          - critic: review\n            id: T3.2.2\n",
            "r.yaml:9:17: error: task id T3.2.2 appears twice; first at line 7, column 17\n"),
        CASE ("epics: [{id: E, tasks: [{id: x}]}, {id: E, tasks: [{id: y}]}]\n",
              "r.yaml:1:41: error: epic id E appears twice; first at line 1, column 14\n"),
        CASE ("tasks: [{id: E}]\nepics: [{id: E, tasks: [{id: x}]}]\n",
              "r.yaml:2:14: error: epic id E is also the id of a task, at line 1, column 14\n"),
        CASE (
            "epics:\n"
            "  - {id: A, milestones: [{id: M, tasks: [{id: x}]}, {id: M, tasks: [{id: y}]}]}\n"
            "  - {id: B, milestones: [{id: M, tasks: [{id: z}]}]}\n",
            "r.yaml:2:58: error: milestone id M appears twice in its epic; first at line 2, column 31\n"
            "r.yaml:3:31: warning: milestone id M is also used in epic A, at line 2; a dependency on it must "
            "name the epic\n"),
    };
    CHECK (CASES);
}

static void dependencies_that_name_nothing_or_too_much (void **state)
{
    (void)state;
    static const case_t CASES[] = {
        CASE (
            "tasks:\n  - id: build\n  - id: test\n    after: [biuld, other]\n",
            "r.yaml:4:13: error: unknown dependency biuld: there is no such task, epic or milestone; did you "
            "mean build?\n"
            "r.yaml:4:20: error: unknown dependency other: there is no such task, epic or milestone\n"),
        CASE ("tasks:\n  - id: a\n    dependencies:\n      - a\n",
              "r.yaml:4:9: error: task a depends on itself\n"),
        CASE (
            "epics:\n"
            "  - {id: A, milestones: [{id: M, tasks: [{id: x}]}]}\n"
            "  - {id: B, milestones: [{id: M, tasks: [{id: y}]}]}\n"
            "tasks:\n  - {id: t, after: M}\n  - {id: u, after: {milestone: M, epic: B}}\n"
            "  - {id: v, after: {milestone: M, epic: C}}\n",
            "r.yaml:3:31: warning: milestone id M is also used in epic A, at line 2; a dependency on it must "
            "name the epic\n"
            "r.yaml:5:20: error: milestone M is in several epics (A, B); write {milestone: M, epic: A}\n"
            "r.yaml:7:20: error: unknown dependency M: there is no such milestone in an epic C\n"),
        CASE ("tasks:\n  - {id: a}\n  - {id: b, after: [a, a]}\n",
              "r.yaml:3:24: warning: the dependency on a is given twice\n"),
        CASE ("tasks:\n  - {id: a}\n  - {id: b, after: [{id: a, kind: x}, {id: a, type: soft}, [a]]}\n",
              "r.yaml:3:29: error: after: \"kind\" is not expected; an entry has one of id, task, epic, "
              "milestone, and type\n"
              "r.yaml:3:39: warning: the dependency on a is given twice\n"
              "r.yaml:3:53: error: after: type: expected blocks, related or suggested\n"
              "r.yaml:3:60: error: after: expected a text, found a list\n"),
    };
    CHECK (CASES);
}

static void cycles_with_every_edge (void **state)
{
    (void)state;
    static const case_t CASES[] = {
        CASE ("tasks:\n"
              "  - {id: c, after: [a]}\n"
              "  - {id: a, after: [b]}\n"
              "  - {id: x, after: [c]}\n"
              "  - {id: b, after: [c]}\n",
              "r.yaml:2:21: error: cycle: c (line 2) -> a (line 3) -> b (line 5) -> c\n"),
        CASE ("tasks:\n  - {id: a, after: b}\n  - {id: b, after: a}\n  - {id: c, after: d}\n  - {id: d, "
              "after: c}\n",
              "r.yaml:2:20: error: cycle: a (line 2) -> b (line 3) -> a\n"
              "r.yaml:4:20: error: cycle: c (line 4) -> d (line 5) -> c\n"),
        CASE ("epics:\n"
              "  - id: A\n"
              "    tasks:\n"
              "      - {id: x, after: B}\n"
              "  - id: B\n"
              "    milestones:\n"
              "      - id: M\n"
              "        after: A\n"
              "        tasks:\n"
              "          - id: y\n",
              "r.yaml:4:14: error: cycle: epic A (line 4) -> x (line 4) -> epic B (line 7) -> milestone M "
              "(line 8) "
              "-> epic A\n"),
        CASE ("epics:\n  - id: A\n    milestones:\n      - id: M\n        tasks:\n          - {id: x, after: "
              "[A, M]}\n",
              "r.yaml:6:29: error: task x depends on its own epic A (line 2), which is not complete without "
              "it: a "
              "cycle\n"
              "r.yaml:6:32: error: task x depends on its own milestone M (line 4), which is not complete "
              "without "
              "it: a cycle\n"),
        CASE ("epics:\n  - id: A\n    after: x\n    tasks: [{id: x}]\n",
              "r.yaml:3:12: error: epic A depends on task x (line 4), which lies in it: a cycle\n"),
        CASE ("epics:\n  - {id: A, after: B, tasks: [{id: w}]}\n"
              "  - {id: B, after: x, tasks: [{id: y}]}\n"
              "tasks: [{id: x, after: y}]\n",
              "r.yaml:3:20: error: cycle: epic B (line 3) -> x (line 4) -> y (line 3) -> epic B\n"),
        CASE ("tasks:\n  - {id: a, after: b}\n  - {id: b, after: {id: a, type: related}}\n", ""),
    };
    CHECK (CASES);
}

static void a_long_cycle_is_shown_whole (void **state)
{
    (void)state;
    enum { LENGTH = 10000 };
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream (&text, &size);
    fputs ("tasks:\n", stream);
    for (int i = 0; i < LENGTH; i++)
        fprintf (stream, "  - {id: t%d, after: t%d}\n", i, (i + 1) % LENGTH);
    fclose (stream);
    size_t errors;
    char *faults = faults_of (text, size, NULL, &errors);
    assert_int_equal (errors, 1);
    assert_int_equal (strncmp (faults, "r.yaml:2:21: error: cycle: t0 (line 2) -> t1 (line 3) -> ", 57), 0);
    size_t arrows = 0;
    for (const char *c = faults; (c = strstr (c, " -> ")); c++)
        arrows++;
    assert_int_equal (arrows, LENGTH);
    free (faults);
    free (text);
}

static void unknown_keys_warn_and_with_strict_are_errors (void **state)
{
    (void)state;
    static const char TEXT[] = "nme: x\ntasks:\n  - id: a\n    dependecies: []\n    owner: me\n    foo: 1\n";
    static const case_t CASES[] = {
        CASE (TEXT, "r.yaml:1:1: warning: unknown key nme; did you mean name?\n"
                    "r.yaml:4:5: warning: unknown key dependecies; did you mean dependencies?\n"
                    "r.yaml:6:5: warning: unknown key foo\n"),
    };
    CHECK (CASES);
    rota_roadmap_options_t options = {.strict = true};
    size_t errors;
    char *faults = faults_of (TEXT, sizeof TEXT - 1, &options, &errors);
    assert_int_equal (errors, 3);
    assert_non_null (strstr (faults, "r.yaml:6:5: error: unknown key foo\n"));
    free (faults);
}

static void unknown_dependencies_can_be_left_to_the_importer (void **state)
{
    (void)state;
    static const char TEXT[] = "tasks: [{id: a, after: [in-the-store, a]}]";
    rota_roadmap_options_t options = {.allow_unknown = true};
    size_t errors;
    char *faults = faults_of (TEXT, sizeof TEXT - 1, &options, &errors);
    assert_string_equal (faults, "r.yaml:1:39: error: task a depends on itself\n");
    free (faults);
}

static void faults_of_defaults_are_reported_once (void **state)
{
    (void)state;
    static const case_t CASES[] = {
        CASE ("defaults: {timeout: x, gates: [nix], retyr: 2, run: make}\ntasks: [{id: a}, {id: b}]\n",
              "r.yaml:1:21: error: timeout: expected a duration such as 90s, 30m or 1h30m, found \"x\"\n"
              "r.yaml:1:32: error: gates: there is no gate nix at the top of the file\n"
              "r.yaml:1:38: warning: unknown key retyr; did you mean retry?\n"
              "r.yaml:1:48: warning: unknown key run\n"),
        CASE ("tasks: [{id: a, attempts: 2, retry: 2}]\n",
              "r.yaml:1:37: error: attempts and retry say the same; give one of them\n"),
    };
    CHECK (CASES);
}

static void at_most_a_thousand_faults_are_kept_and_errors_first (void **state)
{
    (void)state;
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream (&text, &size);
    fputs ("tasks:\n", stream);
    for (int i = 0; i < 1500; i++)
        fprintf (stream, "  - {id: t%d, odd: 1}\n", i);
    fputs ("  - {id: t7}\n", stream);
    fclose (stream);
    rota_roadmap_t *roadmap = NULL;
    assert_int_equal (rota_roadmap_parse ("r.yaml", text, size, NULL, &roadmap, NULL), 0);
    assert_int_equal (roadmap->fault_count, 1001);
    assert_int_equal (roadmap->error_count, 1);
    assert_string_equal (roadmap->faults[999].text, "task id t7 appears twice; first at line 9, column 10");
    assert_string_equal (roadmap->faults[1000].text, "0 more errors and 501 more warnings are not shown");
    rota_roadmap_destroy (&roadmap);
    free (text);
}

static void a_task_must_fit_a_message (void **state)
{
    (void)state;
    size_t size = (3u << 20) + 100;
    char *text = malloc (size);
    assert_non_null (text);
    int start = snprintf (text, size, "tasks: [{id: a, description: ");
    memset (text + start, 'x', size - (size_t)start - 2);
    text[size - 2] = '}';
    text[size - 1] = ']';
    char *faults = faults_of (text, size, NULL, NULL);
    assert_string_equal (faults, "r.yaml:1:14: error: the task is larger than 3 MiB\n");
    free (faults);
    free (text);
}

static void files_that_cannot_be_read (void **state)
{
    (void)state;
    rota_roadmap_t *roadmap = NULL;
    rota_error_t error;
    assert_int_equal (rota_roadmap_read ("/nonexistent/r.yaml", NULL, &roadmap, &error), -ENOENT);
    assert_string_equal (error.text, "/nonexistent/r.yaml: No such file or directory");
    assert_int_equal (rota_roadmap_read ("/", NULL, &roadmap, &error), -EISDIR);
    assert_int_equal (rota_roadmap_read ("/dev/zero", NULL, &roadmap, &error), -EFBIG);
    assert_null (roadmap);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (files_that_are_no_yaml),
        cmocka_unit_test (deep_nesting_and_exploding_aliases),
        cmocka_unit_test (empty_roadmaps_are_warned_of),
        cmocka_unit_test (wrong_types_everywhere),
        cmocka_unit_test (wrong_types_at_the_top),
        cmocka_unit_test (ids_that_may_not_be),
        cmocka_unit_test (ids_that_appear_twice),
        cmocka_unit_test (dependencies_that_name_nothing_or_too_much),
        cmocka_unit_test (cycles_with_every_edge),
        cmocka_unit_test (a_long_cycle_is_shown_whole),
        cmocka_unit_test (unknown_keys_warn_and_with_strict_are_errors),
        cmocka_unit_test (unknown_dependencies_can_be_left_to_the_importer),
        cmocka_unit_test (faults_of_defaults_are_reported_once),
        cmocka_unit_test (at_most_a_thousand_faults_are_kept_and_errors_first),
        cmocka_unit_test (a_task_must_fit_a_message),
        cmocka_unit_test (files_that_cannot_be_read),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
