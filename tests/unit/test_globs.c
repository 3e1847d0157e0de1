/* Whether two globs can mean the same path: a table, and each pair both ways. */
#include "scheduler/globs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *a, *b;
    bool overlap;
} TABLE[] = {
    /* names */
    {"src/a.c", "src/a.c", true},
    {"src/a.c", "src/b.c", false},
    {"src/a.c", "src/a.cc", false},
    {"Makefile", "makefile", false},
    {"./src/a.c", "/src/a.c", true},
    /* a directory is all below it */
    {"src", "src/a.c", true},
    {"src/", "src/a/b.c", true},
    {"src", "src2/a.c", false},
    {"src/a", "src/ab/c", false},
    {".", "anything/at/all", true},
    {"", "anything", true},
    /* one star stays in a directory, unless there is no slash at all */
    {"src/*.c", "src/a.c", true},
    {"src/*.c", "src/a.h", false},
    {"src/*.c", "src/sub/a.c", false},
    {"src/*.c", "src/*.h", false},
    {"src/a*", "src/*b", true},
    {"src/a*", "src/b*", false},
    {"src/*", "src/sub/a.c", true}, /* it may name the directory */
    {"*.c", "src/deep/a.c", true},
    {"*.c", "a.c", true},
    {"*.c", "src/a.h", false},
    {"*.c", "src", true},
    {"*.c", "conf.d/", true},
    {"*", "src/a.h", true},
    {"*/x.c", "src/x.c", true},
    {"*/x.c", "a/b/x.c", false},
    /* two stars go anywhere */
    {"src/**", "src/a/b/c", true},
    {"src/**/x.c", "src/x.c", true},
    {"src/**/x.c", "src/a/b/x.c", true},
    {"src/**/x.c", "src/a/b/y.c", true}, /* which may be a directory */
    {"src/**/x.c", "lib/a/b/x.c", false},
    {"**/test_*", "src/test_a.c", true},
    {"**/*.md", "docs/**", true},
    {"src/**", "docs/**", false},
    {"**", "x", true},
    /* one byte, sets, braces, escapes */
    {"a?c", "abc", true},
    {"dir/a?c", "dir/ac", false},
    {"dir/a?c", "dir/a/c", false},
    {"dir/[ab].c", "dir/c.c", true}, /* sets are not looked into */
    {"dir/[ab].c", "dir/ab.c", false},
    {"dir/[", "dir/[", true},
    {"dir/{a,b}.c", "dir/a.c", true},
    {"dir/\\*.c", "dir/*.c", true},
    {"dir/\\*.c", "dir/a.c", false},
    {"!src/**", "docs/a", true},
    {"src/\xc3\xb6.c", "src/*.c", true},
};

static void as_the_table_says (void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++) {
        const char *a = TABLE[i].a, *b = TABLE[i].b;
        if (rota_glob_overlap (a, strlen (a), b, strlen (b)) != TABLE[i].overlap)
            fail_msg ("\"%s\" and \"%s\": not %d", a, b, TABLE[i].overlap);
        if (rota_glob_overlap (b, strlen (b), a, strlen (a)) != TABLE[i].overlap)
            fail_msg ("\"%s\" and \"%s\": not %d", b, a, TABLE[i].overlap);
    }
}

static void lists_tell_the_pair_that_meets (void **state)
{
    (void)state;
    rota_globs_pair_t pair;
    assert_true (rota_globs_overlap ("docs\nsrc/*.c", "Makefile\n\nsrc/a.c\n", &pair));
    assert_int_equal (pair.a_length, 7);
    assert_memory_equal (pair.a, "src/*.c", 7);
    assert_memory_equal (pair.b, "src/a.c", pair.b_length);
    assert_false (rota_globs_overlap ("docs\nsrc/*.c", "Makefile\nsrc/a.h", &pair));
    assert_false (rota_globs_overlap ("", "**", &pair));
}

static void what_is_too_long_meets_everything (void **state)
{
    (void)state;
    static char text[4000];
    memset (text, 'x', sizeof text - 1);
    text[0] = '*';
    text[1] = '/';
    assert_true (rota_glob_overlap (text, strlen (text), "docs/a", 6));
}

/* Against a plain matcher on short random paths: where both match a path, they must be said to meet. */
static bool matches (const char *glob, const char *path)
{
    if (!*glob)
        return !*path || *path == '/';
    if (*glob == '*') {
        bool deep = glob[1] == '*';
        const char *rest = glob + (deep ? 2 : 1);
        if (deep && *rest == '/' && matches (rest + 1, path))
            return true;
        for (const char *at = path;; at++) {
            if (matches (rest, at))
                return true;
            if (!*at || (*at == '/' && !deep))
                return false;
        }
    }
    return *path && (*glob == '?' ? *path != '/' : *glob == *path) && matches (glob + 1, path + 1);
}

static void no_common_path_is_overlooked (void **state)
{
    (void)state;
    static const char *const PARTS[] = {"a", "b", "*", "**", "?", "ab"};
    uint64_t random = 88172645463325252u;
    size_t met = 0, apart = 0;
    for (int round = 0; round < 4000; round++) {
        char text[3][64];
        for (int k = 0; k < 3; k++) {
            text[k][0] = '\0';
            /* The third is a path: names alone. */
            for (int i = 0; i < 3; i++) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                strcat (text[k], i ? "/" : "");
                strcat (text[k], PARTS[k == 2 ? random % 2 : random % 6]);
            }
        }
        bool overlap = rota_glob_overlap (text[0], strlen (text[0]), text[1], strlen (text[1]));
        if (matches (text[0], text[2]) && matches (text[1], text[2]) && !overlap)
            fail_msg ("%s is both %s and %s", text[2], text[0], text[1]);
        met += overlap;
        apart += !overlap;
    }
    assert_true (met > 100 && apart > 100);
}

#define PATH(text)                                                                                           \
    {                                                                                                        \
        .len = strlen (text), .data = (uint8_t *)(text)                                                      \
    }

/* A list that is cut would say that the rest is free. */
static void a_list_that_does_not_fit_meets_everything (void **state)
{
    (void)state;
    const ProtobufCBinaryData paths[] = {PATH ("src/a.c"), PATH (""), PATH ("two\nlines"), PATH ("src/b.c")};
    char list[16];
    rota_globs_pair_t pair;
    assert_int_equal (rota_globs_join (paths, 4, 15, list), 15);
    assert_string_equal (list, "src/a.c\nsrc/b.c");
    assert_false (rota_globs_overlap (list, "src/c.c", &pair));
    assert_int_equal (rota_globs_join (paths, 4, 14, list), 2);
    assert_string_equal (list, "**");
    assert_true (rota_globs_overlap (list, "src/b.c", &pair));
    assert_int_equal (rota_globs_join (paths, 4, 6, list), 2);
    assert_string_equal (list, "**");
    assert_int_equal (rota_globs_join (paths, 0, 6, list), 0);
    assert_string_equal (list, "");
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (as_the_table_says),
        cmocka_unit_test (lists_tell_the_pair_that_meets),
        cmocka_unit_test (what_is_too_long_meets_everything),
        cmocka_unit_test (no_common_path_is_overlooked),
        cmocka_unit_test (a_list_that_does_not_fit_meets_everything),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
