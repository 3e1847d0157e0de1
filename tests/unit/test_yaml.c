/* The YAML reader: what it takes, what it refuses and where it says so. */
#include "bus/yaml.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct {
    rota_pool_t *pool;
    const rota_yaml_node_t *root;
    char faults[4096]; /* "line:column: text\n" each */
    size_t used;
} fixture_t;

static void report (void *owner, uint32_t line, uint32_t column, const char *text)
{
    fixture_t *fixture = owner;
    if (fixture->used < sizeof fixture->faults)
        fixture->used +=
            (size_t)snprintf (fixture->faults + fixture->used, sizeof fixture->faults - fixture->used,
                              "%u:%u: %s\n", line, column, text);
}

static rota_yaml_sink_t sink_of (fixture_t *fixture)
{
    return (rota_yaml_sink_t){report, fixture};
}

static int parse_bytes (fixture_t *fixture, const char *bytes, size_t size)
{
    rota_pool_destroy (&fixture->pool);
    *fixture = (fixture_t){.pool = rota_pool_new ()};
    rota_yaml_sink_t sink = sink_of (fixture);
    /* A copy of exactly this size: reading past the end is then seen. */
    char *copy = malloc (size ? size : 1);
    assert_non_null (copy);
    if (size)
        memcpy (copy, bytes, size);
    int rc = rota_yaml_parse (copy, size, fixture->pool, fixture->pool, &sink, &fixture->root);
    free (copy);
    return rc;
}

static int parse (fixture_t *fixture, const char *text)
{
    return parse_bytes (fixture, text, strlen (text));
}

static void expect_good (fixture_t *fixture, const char *text)
{
    assert_int_equal (parse (fixture, text), 0);
    assert_string_equal (fixture->faults, "");
}

#define REFUSED(text_, faults_)                                                                              \
    {                                                                                                        \
        text_, sizeof (text_) - 1, faults_                                                                   \
    }

static void bad_input_is_refused_at_its_line_and_column (void **state)
{
    fixture_t *fixture = *state;
    static const struct {
        const char *text;
        size_t size;
        const char *faults;
    } CASES[] = {
        REFUSED ("a: [1, 2\nb: 3\n", "2:2: not YAML: did not find expected ',' or ']' (while parsing a flow "
                                     "sequence from line 1)\n"),
        REFUSED ("a: 1\n\tb: 2\n", "2:1: not YAML: found a tab character that violates indentation (while "
                                   "scanning a plain scalar from line 1)\n"),
        REFUSED ("a: \"open\n",
                 "2:1: not YAML: found unexpected end of stream (while scanning a quoted scalar "
                 "from line 1)\n"),
        REFUSED ("a: \xff\n", "1:4: invalid UTF-8: byte 0xFF\n"),
        REFUSED ("\xc3\xa9\xc3\xa9: \xc3", "1:5: invalid UTF-8: byte 0xC3\n"),
        REFUSED ("a: \xed\xa0\x80\n", "1:4: invalid UTF-8: byte 0xED\n"),
        REFUSED ("a: \xc0\x80\n", "1:4: invalid UTF-8: byte 0xC0\n"),
        REFUSED ("a: \xf4\x90\x80\x80\n", "1:4: invalid UTF-8: byte 0xF4\n"),
        REFUSED ("a: 1\r\nb: x\0y\n", "2:5: a NUL byte; this is no text file\n"),
        REFUSED ("a: 1\nb: \x1b[1m\n", "2:4: the control character U+001B is not allowed\n"),
        REFUSED ("a: \xc2\x9b\n", "1:4: the control character U+009B is not allowed\n"),
        REFUSED ("a: \xef\xbb\xbf\n", "1:4: the control character U+FEFF is not allowed\n"),
        REFUSED ("\xff\xfe"
                 "a\0",
                 "1:1: the file is UTF-16; save it as UTF-8\n"),
        REFUSED ("a: 1\n---\nb: 2\n", "2:1: a second document starts here; a file holds one\n"),
        REFUSED ("a: *b\n", "1:4: *b: there is no anchor &b before it\n"),
        REFUSED ("a: &b [*b]\n", "1:8: *b stands inside of what it names\n"),
        REFUSED ("? [a]\n: b\n", "1:3: a key must be a text, not a list\n"),
        REFUSED ("<<: 5\n", "1:5: <<: expected a mapping to merge, found a text\n"),
        REFUSED ("%TAG ! a:\n%TAG ! a:\n---\n", "2:1: not YAML: found duplicate %TAG directive\n"),
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        assert_int_equal (parse_bytes (fixture, CASES[i].text, CASES[i].size), -EINVAL);
        assert_string_equal (fixture->faults, CASES[i].faults);
        assert_null (fixture->root);
    }
}

static void what_leaves_the_tree_whole_is_reported_and_read_on (void **state)
{
    fixture_t *fixture = *state;
    assert_int_equal (parse (fixture, "a: 1\nb: {c: 1, d: 2, c: 3}\na: 2\n"), 0);
    assert_string_equal (fixture->faults, "2:17: the key c appears twice; first at line 2, column 5\n"
                                          "3:1: the key a appears twice; first at line 1, column 1\n");
    assert_true (rota_yaml_equals (rota_yaml_get (fixture->root, "a"), "1"));
    assert_int_equal (parse (fixture, "- !thing 1\n- \"a\\0b\"\n"), 0);
    assert_string_equal (fixture->faults, "1:3: the tag !thing is not supported here\n"
                                          "2:3: a NUL character (\\0) is not allowed in a text\n");
}

static void duplicates_are_found_in_large_mappings_too (void **state)
{
    fixture_t *fixture = *state;
    char text[20000];
    size_t used = 0;
    for (int i = 0; i < 1000; i++)
        used += (size_t)snprintf (text + used, sizeof text - used, "key%d: %d\n", i, i);
    expect_good (fixture, text);
    assert_int_equal (fixture->root->count, 1000);
    snprintf (text + used, sizeof text - used, "key500: 1\n");
    assert_int_equal (parse (fixture, text), 0);
    assert_string_equal (fixture->faults,
                         "1001:1: the key key500 appears twice; first at line 501, column 1\n");
}

static void positions_count_from_one_in_characters (void **state)
{
    fixture_t *fixture = *state;
    expect_good (fixture, "\xef\xbb\xbf\xc3\xa9: x\nlist:\n  - {\xe2\x82\xac: [1, two]}\n");
    const rota_yaml_pair_t *pairs = fixture->root->pairs;
    assert_int_equal (pairs[0].key.column, 1);
    assert_int_equal (pairs[0].value.column, 4);
    const rota_yaml_node_t *two = &pairs[1].value.items[0].pairs[0].value.items[1];
    assert_string_equal (two->text, "two");
    assert_int_equal (two->line, 3);
    assert_int_equal (two->column, 13);
}

static void an_empty_file_is_nothing (void **state)
{
    fixture_t *fixture = *state;
    static const char *const EMPTY[] = {"", "\n\n", "# only words\n", "---\n", "~", "null\n", "\xef\xbb\xbf"};
    for (size_t i = 0; i < sizeof EMPTY / sizeof *EMPTY; i++) {
        expect_good (fixture, EMPTY[i]);
        assert_true (rota_yaml_is_null (fixture->root));
    }
    expect_good (fixture, "''");
    assert_false (rota_yaml_is_null (fixture->root));
}

static void aliases_and_merge_keys_are_resolved (void **state)
{
    fixture_t *fixture = *state;
    expect_good (fixture, "base: &b {run: make, retry: 1}\n"
                          "more: &m {retry: 9, agent: x}\n"
                          "one: *b\n"
                          "two: {<<: *b, retry: 2}\n"
                          "three: {<<: [*m, *b]}\n"
                          "four: {\"<<\": text}\n");
    const rota_yaml_node_t *root = fixture->root;
    assert_true (rota_yaml_equals (rota_yaml_get (rota_yaml_get (root, "one"), "run"), "make"));
    assert_int_equal (rota_yaml_get (root, "one")->line, 3);
    const rota_yaml_node_t *two = rota_yaml_get (root, "two");
    assert_int_equal (two->count, 2);
    assert_true (rota_yaml_equals (rota_yaml_get (two, "retry"), "2"));
    assert_true (rota_yaml_equals (rota_yaml_get (two, "run"), "make"));
    const rota_yaml_node_t *three = rota_yaml_get (root, "three");
    assert_int_equal (three->count, 3);
    assert_true (rota_yaml_equals (rota_yaml_get (three, "retry"), "9"));
    assert_true (rota_yaml_equals (rota_yaml_get (rota_yaml_get (root, "four"), "<<"), "text"));
}

static void an_anchor_may_be_given_again (void **state)
{
    fixture_t *fixture = *state;
    expect_good (fixture, "[&a 1, *a, &a 2, *a, &a [&a 3, *a], *a]");
    const rota_yaml_node_t *items = fixture->root->items;
    assert_string_equal (items[1].text, "1");
    assert_string_equal (items[3].text, "2");
    assert_string_equal (items[4].items[1].text, "3");
    assert_int_equal (items[5].kind, ROTA_YAML_LIST);
}

static void aliases_that_explode_end_at_once (void **state)
{
    fixture_t *fixture = *state;
    char text[4096];
    size_t used =
        (size_t)snprintf (text, sizeof text, "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for (int i = 1; i < 12; i++) {
        used += (size_t)snprintf (text + used, sizeof text - used, "a%d: &a%d [", i, i);
        for (int j = 0; j < 9; j++)
            used += (size_t)snprintf (text + used, sizeof text - used, "%s*a%d", j ? ", " : "", i - 1);
        used += (size_t)snprintf (text + used, sizeof text - used, "]\n");
    }
    assert_int_equal (parse (fixture, text), -EINVAL);
    /* Up to the sixth line aliases add 672 588 nodes, each *a5 another 597 871. */
    assert_string_equal (fixture->faults, "7:10: *a5: aliases expand to more than 1000000 values\n");
    assert_true (rota_pool_size_bytes (fixture->pool) < 1 << 20);
}

static void nesting_ends_at_64_levels (void **state)
{
    fixture_t *fixture = *state;
    char text[256] = "";
    memset (text, '[', 64);
    memset (text + 64, ']', 64);
    expect_good (fixture, text);
    memset (text, '[', 65);
    memset (text + 65, ']', 65);
    assert_int_equal (parse (fixture, text), -EINVAL);
    assert_string_equal (fixture->faults, "1:65: nested deeper than 64 levels\n");
    /* An alias counts with what it holds. */
    expect_good (fixture, "[&a [[[[1]]]], *a]");
    char open[61] = "", aliased[256];
    memset (open, '[', 60);
    snprintf (aliased, sizeof aliased, "- &a [[[[[1]]]]]\n- %s*a", open);
    assert_int_equal (parse (fixture, aliased), -EINVAL);
    assert_string_equal (fixture->faults, "2:63: *a nests deeper than 64 levels\n");
}

static void a_million_open_brackets_end_at_once (void **state)
{
    fixture_t *fixture = *state;
    size_t size = 1000000;
    char *text = malloc (size);
    assert_non_null (text);
    memset (text, '[', size);
    assert_int_equal (parse_bytes (fixture, text, size), -EINVAL);
    for (size_t i = 0; i < size; i++)
        text[i] = i % 2 ? ' ' : '-';
    assert_int_equal (parse_bytes (fixture, text, size), -EINVAL);
    free (text);
}

static void many_tag_lines_are_refused (void **state)
{
    fixture_t *fixture = *state;
    char text[1024] = "";
    for (int i = 0; i < 20; i++)
        snprintf (text + strlen (text), sizeof text - strlen (text), "%%TAG !a%d! b\n", i);
    assert_int_equal (parse (fixture, text), -EINVAL);
    assert_string_equal (fixture->faults, "17:1: more than 16 %TAG lines\n");
}

static void the_file_that_crashed_libfyaml_is_harmless (void **state)
{
    fixture_t *fixture = *state;
    static const char CRASHER[] =
        "\x3f\x20\x5c\x75\x31\x32\x2a\x61\x20\x7b\x60\x3a\x20\x09\x2d\x20\x61\x3a\x20\x62"
        "\x0a\x7b\x22\x3e\x2d\x0a";
    assert_int_equal (sizeof CRASHER - 1, 26);
    assert_int_equal (parse_bytes (fixture, CRASHER, 26), -EINVAL);
    assert_non_null (strstr (fixture->faults, "not YAML"));
}

static void every_beginning_of_a_file_is_survived (void **state)
{
    fixture_t *fixture = *state;
    static const char TEXT[] =
        "%YAML 1.1\n--- # c\nname: \"a\\u00e9\\x41\\\n  b\"\nx: &a {k: 'it''s', <<: {l: 1}}\n"
        "y: [*a, !!str 1, ? q : r]\nz: |2-\n   text\n\nw: >+\n  folded\n  \xe2\x82\xac\n...\n";
    size_t good = 0;
    for (size_t size = 0; size < sizeof TEXT; size++)
        good += parse_bytes (fixture, TEXT, size) == 0;
    assert_true (good > 10);
    assert_string_equal (fixture->faults, ""); /* of the whole */
}

static void values_are_read_by_what_is_wanted (void **state)
{
    fixture_t *fixture = *state;
    expect_good (fixture, "i: -5\nn: 1.5e3\nb: Yes\nd: 1h30m\ns: 90\nt: 1.0\nq: \"null\"\nz: ~\nl: []\n");
    const rota_yaml_node_t *root = fixture->root;
    rota_yaml_sink_t sink = sink_of (fixture);
    int64_t integer = 0, ms = 0, seconds = 0;
    double number = 0;
    bool truth = false;
    const char *text = NULL, *quoted = NULL;
    assert_true (rota_yaml_integer (rota_yaml_get (root, "i"), "i", -10, 10, &sink, &integer));
    assert_true (rota_yaml_number (rota_yaml_get (root, "n"), "n", 0, 1e9, &sink, &number));
    assert_true (rota_yaml_boolean (rota_yaml_get (root, "b"), "b", &sink, &truth));
    assert_true (rota_yaml_duration (rota_yaml_get (root, "d"), "d", 0, INT64_MAX, &sink, &ms));
    assert_true (rota_yaml_duration (rota_yaml_get (root, "s"), "s", 0, INT64_MAX, &sink, &seconds));
    assert_true (rota_yaml_text (rota_yaml_get (root, "t"), "t", &sink, &text));
    assert_true (rota_yaml_text (rota_yaml_get (root, "q"), "q", &sink, &quoted));
    assert_int_equal (integer, -5);
    assert_true (number == 1500);
    assert_true (truth);
    assert_int_equal (ms, 5400000);
    assert_int_equal (seconds, 90000);
    assert_string_equal (text, "1.0");
    assert_string_equal (quoted, "null");

    assert_false (rota_yaml_integer (rota_yaml_get (root, "i"), "i", 0, 10, &sink, &integer));
    assert_false (rota_yaml_integer (rota_yaml_get (root, "t"), "t", 0, 10, &sink, &integer));
    assert_false (rota_yaml_boolean (rota_yaml_get (root, "i"), "i", &sink, &truth));
    assert_false (rota_yaml_duration (rota_yaml_get (root, "i"), "i", 0, 1, &sink, &ms));
    assert_false (rota_yaml_duration (rota_yaml_get (root, "d"), "d", 0, 60000, &sink, &ms));
    assert_false (rota_yaml_text (rota_yaml_get (root, "l"), "l", &sink, &text));
    assert_false (rota_yaml_text (rota_yaml_get (root, "z"), "z", &sink, &text));
    assert_false (rota_yaml_mapping (rota_yaml_get (root, "l"), "l", &sink));
    assert_string_equal (fixture->faults,
                         "1:4: i: expected a whole number from 0 to 10, found \"-5\"\n"
                         "6:4: t: expected a whole number from 0 to 10, found \"1.0\"\n"
                         "1:4: i: expected true or false, found \"-5\"\n"
                         "1:4: i: expected a duration such as 90s, 30m or 1h30m, found \"-5\"\n"
                         "4:4: d: expected a duration from 0s to 1m, found \"1h30m\"\n"
                         "9:4: l: expected a text, found a list\n"
                         "8:4: z: expected a text, found nothing\n"
                         "9:4: l: expected a mapping (key: value), found a list\n");
    assert_int_equal (integer, -5);
    assert_int_equal (ms, 5400000);
}

static void what_is_shown_is_short_and_without_control_characters (void **state)
{
    (void)state;
    char shown[ROTA_YAML_SHOWN_BYTES];
    assert_string_equal (rota_yaml_show ("a\x1b\xc2\x9b\xc3\xa9", 6, shown), "a???\xc3\xa9");
    char text[500];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 2 ? '\xa9' : '\xc3';
    rota_yaml_show (text, sizeof text, shown);
    size_t length = strlen (shown);
    assert_true (length < ROTA_YAML_SHOWN_BYTES);
    assert_string_equal (shown + length - 5, "\xc3\xa9...");
}

static void files_are_read_whole_or_refused_with_the_reason (void **state)
{
    (void)state;
    char *bytes = NULL;
    size_t size = 0;
    rota_error_t error;
    assert_int_equal (rota_yaml_read_file ("/nonexistent/x.yaml", &bytes, &size, &error), -ENOENT);
    assert_string_equal (error.text, "/nonexistent/x.yaml: No such file or directory");
    assert_int_equal (rota_yaml_read_file ("/", &bytes, &size, &error), -EISDIR);
    assert_int_equal (rota_yaml_read_file ("/dev/zero", &bytes, &size, &error), -EFBIG);
    assert_string_equal (error.text, "/dev/zero: larger than 64 MiB");
    assert_null (bytes);
    char path[] = "/tmp/rota-test-yaml-XXXXXX";
    int fd = mkstemp (path);
    assert_true (fd >= 0);
    assert_int_equal (write (fd, "a: 1\n", 5), 5);
    assert_int_equal (rota_yaml_read_file (path, &bytes, &size, &error), 0);
    assert_int_equal (size, 5);
    free (bytes);
    bytes = NULL;
    assert_int_equal (ftruncate (fd, (off_t)ROTA_YAML_MAX_BYTES + 1), 0); /* sparse */
    assert_int_equal (rota_yaml_read_file (path, &bytes, &size, &error), -EFBIG);
    close (fd);
    unlink (path);
}

static int set_up (void **state)
{
    return (*state = calloc (1, sizeof (fixture_t))) ? 0 : -1;
}

static int tear_down (void **state)
{
    fixture_t *fixture = *state;
    rota_pool_destroy (&fixture->pool);
    free (fixture);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, set_up, tear_down)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (bad_input_is_refused_at_its_line_and_column),
        TEST (what_leaves_the_tree_whole_is_reported_and_read_on),
        TEST (duplicates_are_found_in_large_mappings_too),
        TEST (positions_count_from_one_in_characters),
        TEST (an_empty_file_is_nothing),
        TEST (aliases_and_merge_keys_are_resolved),
        TEST (an_anchor_may_be_given_again),
        TEST (aliases_that_explode_end_at_once),
        TEST (nesting_ends_at_64_levels),
        TEST (a_million_open_brackets_end_at_once),
        TEST (many_tag_lines_are_refused),
        TEST (the_file_that_crashed_libfyaml_is_harmless),
        TEST (every_beginning_of_a_file_is_survived),
        TEST (values_are_read_by_what_is_wanted),
        TEST (what_is_shown_is_short_and_without_control_characters),
        TEST (files_are_read_whole_or_refused_with_the_reason),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
