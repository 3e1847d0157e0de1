/* Two streams in one output: no line of one is cut by the other, and nothing is lost. */
#include "agents/streams.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

static char path[64];
static rota_streams_t streams;

static int begin (void **state)
{
    (void)state;
    rota_error_t error = {""};
    strcpy (path, "/tmp/rota-streams-XXXXXX");
    int fd = mkstemp (path);
    close (fd);
    streams = (rota_streams_t){0};
    return fd < 0 || rota_output_open (path, 1u << 20, &streams.output, &error) < 0;
}

static int end (void **state)
{
    (void)state;
    rota_output_remove (path);
    return 0;
}

static void out (const char *text)
{
    rota_streams_out (&streams, text, strlen (text));
}

static void err (const char *text)
{
    rota_streams_err (&streams, text, strlen (text));
}

static const char *written (void)
{
    static char text[1 << 20];
    rota_output_summary_t summary;
    rota_output_piece_t piece;
    rota_streams_end (&streams);
    rota_output_close (&streams.output, &summary);
    assert_int_equal (rota_output_read (path, 0, text, sizeof text - 1, &piece), 0);
    text[piece.size_bytes] = '\0';
    return text;
}

static void lines_come_in_the_order_in_which_they_end (void **state)
{
    (void)state;
    out ("one\n");
    err ("two\n");
    out ("three\n");
    assert_string_equal (written (), "one\ntwo\nthree\n");
}

static void a_line_of_output_is_not_cut (void **state)
{
    (void)state;
    out ("{\"a\":");
    err ("warning\n");
    out ("1");
    err ("and more\n");
    out ("}\n{\"b\":2}\n");
    assert_string_equal (written (), "{\"a\":1}\nwarning\nand more\n{\"b\":2}\n");
}

static void a_line_of_errors_is_not_cut (void **state)
{
    (void)state;
    err ("half a ");
    out ("{}\n");
    err ("warning\n");
    assert_string_equal (written (), "{}\nhalf a warning\n");
}

static void what_has_no_end_gets_one (void **state)
{
    (void)state;
    out ("{\"cut\":");
    err ("last words");
    assert_string_equal (written (), "{\"cut\":\nlast words\n");
}

static void errors_without_an_end_are_not_held_for_ever (void **state)
{
    (void)state;
    char *flood = malloc (3 * ROTA_STREAMS_HELD_MAX_BYTES + 1);
    memset (flood, 'x', 3 * ROTA_STREAMS_HELD_MAX_BYTES);
    flood[3 * ROTA_STREAMS_HELD_MAX_BYTES] = '\0';
    out ("{");
    err (flood);
    out ("}\n");
    const char *text = written ();
    assert_int_equal (text[0], '{');
    size_t x = 0;
    for (const char *at = text; *at; at++)
        x += *at == 'x';
    assert_int_equal (x, 3 * ROTA_STREAMS_HELD_MAX_BYTES);
    free (flood);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown (lines_come_in_the_order_in_which_they_end, begin, end),
        cmocka_unit_test_setup_teardown (a_line_of_output_is_not_cut, begin, end),
        cmocka_unit_test_setup_teardown (a_line_of_errors_is_not_cut, begin, end),
        cmocka_unit_test_setup_teardown (what_has_no_end_gets_one, begin, end),
        cmocka_unit_test_setup_teardown (errors_without_an_end_are_not_held_for_ever, begin, end),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
