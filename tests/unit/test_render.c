/* What reaches a terminal, and how it is cut to its width. */
#include "cli/render.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_clean (const char *bytes, size_t length, bool lines, const char *expected)
{
    char *text = rota_clean (bytes, length, lines);
    assert_string_equal (text, expected);
    free (text);
}
#define ASSERT_CLEAN(text, lines, expected) assert_clean (text, sizeof text - 1, lines, expected)

static void control_characters_and_escapes_are_made_harmless (void **state)
{
    (void)state;
    ASSERT_CLEAN ("a\033[2Jb", false, "a?[2Jb");
    ASSERT_CLEAN ("bell\a nul\0 del\177", false, "bell? nul? del?");
    ASSERT_CLEAN ("c1 \302\233 csi", false, "c1 ? csi");
    ASSERT_CLEAN ("over\342\200\256ride", false, "over?ride"); /* U+202E turns the text round */
    ASSERT_CLEAN ("zero\357\273\277width", false, "zero?width");
}

static void colours_in_output_vanish_and_lines_stay (void **state)
{
    (void)state;
    ASSERT_CLEAN ("\033[1;31mred\033[0m\n\tend\n", true, "red\n\tend\n");
    ASSERT_CLEAN ("10%\r20%\r\ndone", true, "10%\n20%\ndone");
    ASSERT_CLEAN ("a\nb\tc", false, "a b c");
    ASSERT_CLEAN ("title \033]0;evil\007", true, "title ?]0;evil?");
    ASSERT_CLEAN ("cut \033[1", true, "cut ?[1");
}

static void what_is_not_utf8_becomes_question_marks (void **state)
{
    (void)state;
    ASSERT_CLEAN ("gr\303\274n \360\237\230\200", false, "gr\303\274n \360\237\230\200");
    ASSERT_CLEAN ("\377\303", false, "??");
    ASSERT_CLEAN ("over\300\257long", false, "over??long");
    ASSERT_CLEAN ("half \355\240\200", false, "half ???");
}

static char *put (const char *text, unsigned columns, bool fill, bool unicode)
{
    rota_screen_t screen = {.unicode = unicode};
    char *out = NULL;
    size_t size = 0;
    FILE *stream = open_memstream (&out, &size);
    rota_text_put (stream, &screen, text, columns, fill);
    fclose (stream);
    return out;
}

static void assert_put (const char *text, unsigned columns, bool fill, bool unicode, const char *expected)
{
    char *out = put (text, columns, fill, unicode);
    assert_string_equal (out, expected);
    free (out);
}

static void long_text_is_cut_with_an_ellipsis (void **state)
{
    (void)state;
    assert_put ("abcdef", 6, false, true, "abcdef");
    assert_put ("abcdefg", 6, false, true, "abcde\342\200\246");
    assert_put ("abcdefg", 6, false, false, "abcd..");
    assert_put ("ab", 5, true, true, "ab   ");
    assert_put ("abc", 1, false, false, "");
}

static void wide_characters_take_two_columns (void **state)
{
    (void)state;
    if (!setlocale (LC_CTYPE, "C.UTF-8")) {
        print_message ("SKIPPED: this system has no C.UTF-8 locale\n");
        skip ();
    }
    assert_int_equal (rota_text_columns ("\346\227\245\346\234\254"), 4);
    assert_int_equal (rota_text_columns ("e\314\201"), 1); /* a combining accent takes none */
    assert_int_equal (rota_text_fit ("\346\227\245\346\234\254", 3), 3);
}

static char *table_text (unsigned rows)
{
    static const rota_column_t COLUMNS[] = {{.title = "ID"}, {.title = "N", .right = true}};
    rota_table_t *table = rota_table_new (COLUMNS, 2);
    rota_screen_t screen = {0};
    char *out = NULL;
    size_t size = 0;
    screen.stream = open_memstream (&out, &size);
    for (unsigned i = 0; i < rows; i++) {
        rota_table_addf (table, ROTA_STYLE_GREEN, "task-%u", i);
        rota_table_addf (table, ROTA_STYLE_PLAIN, "%u", i * 10);
    }
    rota_table_flush (table, &screen);
    rota_table_flush (table, &screen);
    fclose (screen.stream);
    rota_table_destroy (&table);
    return out;
}

static void a_table_is_aligned_and_titled_once (void **state)
{
    (void)state;
    char *text = table_text (2);
    assert_string_equal (text, "ID       N\ntask-0   0\ntask-1  10\n");
    free (text);
    text = table_text (0);
    assert_string_equal (text, "");
    free (text);
}

static void the_bar_is_full_only_when_all_is_done (void **state)
{
    (void)state;
    const struct {
        uint64_t done, total;
        const char *bar;
    } cases[] = {{0, 10, "----------"},
                 {5, 10, "#####-----"},
                 {999, 1000, "#########-"},
                 {10, 10, "##########"},
                 {0, 0, "----------"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rota_screen_t screen = {0};
        rota_bar_part_t part = {cases[i].done, ROTA_STYLE_GREEN};
        char *out = NULL;
        size_t size = 0;
        FILE *stream = open_memstream (&out, &size);
        rota_bar_put (stream, &screen, &part, 1, cases[i].total, 10);
        fclose (stream);
        assert_string_equal (out, cases[i].bar);
        free (out);
    }
}

static void words_follow_their_number (void **state)
{
    (void)state;
    char text[48], size[24];
    assert_string_equal (rota_plural (1, "task", text), "1 task");
    assert_string_equal (rota_plural (0, "task", text), "0 tasks");
    assert_string_equal (rota_plural (2, "dependency", text), "2 dependencies");
    assert_string_equal (rota_plural (2, "day", text), "2 days");
    assert_string_equal (rota_size (512, size), "512 B");
    assert_string_equal (rota_size (1536, size), "1.5 KiB");
    assert_string_equal (rota_size (300u << 20, size), "300 MiB");
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (control_characters_and_escapes_are_made_harmless),
        cmocka_unit_test (colours_in_output_vanish_and_lines_stay),
        cmocka_unit_test (what_is_not_utf8_becomes_question_marks),
        cmocka_unit_test (long_text_is_cut_with_an_ellipsis),
        cmocka_unit_test (wide_characters_take_two_columns),
        cmocka_unit_test (a_table_is_aligned_and_titled_once),
        cmocka_unit_test (the_bar_is_full_only_when_all_is_done),
        cmocka_unit_test (words_follow_their_number),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
