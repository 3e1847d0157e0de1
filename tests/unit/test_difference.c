/* A difference in parts: nothing is left out, and each part says of which file it is. */
#include "agents/difference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LIMIT = 8192 };

typedef struct {
    char *bytes;
    size_t size;
} made_t;

__attribute__ ((format (printf, 2, 3))) static void add (made_t *self, const char *format, ...)
{
    char text[20000];
    va_list arguments;
    va_start (arguments, format);
    int size = vsnprintf (text, sizeof text, format, arguments);
    va_end (arguments);
    self->bytes = realloc (self->bytes, self->size + (size_t)size + 1);
    assert_non_null (self->bytes);
    memcpy (self->bytes + self->size, text, (size_t)size + 1);
    self->size += (size_t)size;
}

static void add_file (made_t *self, const char *name, unsigned hunks, unsigned lines, unsigned *number)
{
    add (self, "diff --git a/%s b/%s\n--- a/%s\n+++ b/%s\n", name, name, name, name);
    for (unsigned h = 0; h < hunks; h++) {
        add (self, "@@ -%u,0 +%u,%u @@\n", h, h, lines);
        for (unsigned i = 0; i < lines; i++)
            add (self, "+line %u of the whole\n", (*number)++);
    }
}

static size_t parts_of (const made_t *made)
{
    return rota_difference_part (made->bytes, made->size, LIMIT, 1, NULL);
}

static char *part_of (const made_t *made, size_t part)
{
    rota_bytes_t text = {.max_bytes = 10 * LIMIT};
    rota_difference_part (made->bytes, made->size, LIMIT, part, &text);
    assert_non_null (text.bytes);
    assert_true (text.size_bytes <= LIMIT + LIMIT / 4);
    return text.bytes;
}

static void expect_all_lines (const made_t *made, unsigned count)
{
    unsigned next = 0;
    char wanted[64];
    for (size_t part = 1; part <= parts_of (made); part++) {
        char *text = part_of (made, part), *at = text;
        assert_memory_equal (text, "diff --git ", 11);
        snprintf (wanted, sizeof wanted, "+line %u of the whole\n", next);
        while ((at = strstr (at, wanted))) {
            at += strlen (wanted);
            snprintf (wanted, sizeof wanted, "+line %u of the whole\n", ++next);
        }
        free (text);
    }
    assert_int_equal (next, count);
}

static void what_fits_is_one_part_as_it_is (void **state)
{
    made_t made = {0};
    unsigned number = 0;
    (void)state;
    add_file (&made, "a", 2, 5, &number);
    add (&made, "diff --git a/b b/b\nBinary files a/b and b/b differ\n");
    assert_int_equal (parts_of (&made), 1);
    char *text = part_of (&made, 1);
    assert_string_equal (text, made.bytes);
    free (text);
    free (made.bytes);
    assert_int_equal (rota_difference_part ("", 0, LIMIT, 1, NULL), 1);
}

static void files_stay_whole_where_they_fit (void **state)
{
    made_t made = {0};
    unsigned number = 0;
    char name[32];
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        snprintf (name, sizeof name, "file-%u", i);
        add_file (&made, name, 1, 100, &number);
    }
    size_t parts = parts_of (&made);
    assert_true (parts > 5 && parts < 12);
    expect_all_lines (&made, number);
    for (size_t part = 1; part <= parts; part++) {
        char *text = part_of (&made, part);
        assert_null (strstr (text, "goes on"));
        free (text);
    }
    free (made.bytes);
}

static void a_file_that_is_too_large_is_cut_at_its_hunks (void **state)
{
    made_t made = {0};
    unsigned number = 0;
    (void)state;
    add_file (&made, "large", 40, 50, &number);
    add (&made, "diff --git a/pic b/pic\nBinary files a/pic and b/pic differ\n");
    expect_all_lines (&made, number);
    char *last = part_of (&made, parts_of (&made));
    assert_non_null (strstr (last, "Binary files a/pic"));
    free (last);
    free (made.bytes);
}

static void a_hunk_that_is_too_large_is_cut_between_lines (void **state)
{
    made_t made = {0};
    unsigned number = 0;
    (void)state;
    add_file (&made, "one", 1, 3000, &number);
    expect_all_lines (&made, number);
    char *second = part_of (&made, 2);
    assert_non_null (strstr (second, "+++ b/one\n(the hunk goes on)\n"));
    free (second);
    free (made.bytes);
}

static void a_line_that_is_too_long_is_cut_and_all_of_it_is_there (void **state)
{
    made_t made = {0};
    char line[19001];
    size_t found = 0;
    (void)state;
    memset (line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    add (&made, "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n");
    add (&made, "+%s\n", line);
    for (size_t part = 1; part <= parts_of (&made); part++) {
        char *text = part_of (&made, part);
        const char *body = strchr (strstr (text, "+++ b/x\n") + strlen ("+++ b/x\n"), '\n');
        for (const char *at = body; *at; at++)
            found += *at == 'x';
        free (text);
    }
    assert_int_equal (found, sizeof line - 1);
    free (made.bytes);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (what_fits_is_one_part_as_it_is),
        cmocka_unit_test (files_stay_whole_where_they_fit),
        cmocka_unit_test (a_file_that_is_too_large_is_cut_at_its_hunks),
        cmocka_unit_test (a_hunk_that_is_too_large_is_cut_between_lines),
        cmocka_unit_test (a_line_that_is_too_long_is_cut_and_all_of_it_is_there),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
