/* What may be an id, and how an id becomes a file name. */
#include "bus/names.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

static int check (const char *id)
{
    return rota_id_check (id, strlen (id), NULL);
}

static const char *encode (const char *id, char ret_name[ROTA_ENCODED_MAX_BYTES])
{
    rota_id_encode (id, strlen (id), ret_name);
    return ret_name;
}

static void ordinary_ids_are_accepted (void **state)
{
    (void)state;
    assert_int_equal (check ("T3.2.2"), 0);
    assert_int_equal (check ("with blanks inside"), 0);
    assert_int_equal (check ("../../etc/passwd"), 0);
    assert_int_equal (check ("\xc3\xbc\xe2\x82\xac\xf0\x9f\x8e\x89"), 0);
    char longest[ROTA_ID_MAX_BYTES];
    memset (longest, 'x', sizeof longest);
    assert_int_equal (rota_id_check (longest, sizeof longest, NULL), 0);
}

static void what_is_no_id_is_refused_with_its_reason (void **state)
{
    (void)state;
    static const struct {
        const char *id;
        size_t length;
        const char *word;
    } BAD[] = {
        {"", 0, "empty"},
        {" a", 2, "blank"},
        {"a ", 2, "blank"},
        {"a\nb", 3, "control"},
        {"a\x7f", 2, "control"},
        {"\xc2\x85", 2, "control"},
        {"a\0b", 3, "NUL"},
        {"\xff", 1, "UTF-8"},
        {"\xc0\xaf", 2, "UTF-8"},
        {"\xed\xa0\x80", 3, "UTF-8"},
        {"\xf4\x90\x80\x80", 4, "UTF-8"},
        {"\xe2\x82", 2, "UTF-8"},
        {"\xe0\x80\x80", 3, "UTF-8"},
        {"\xf0\x80\x80\x80", 4, "UTF-8"},
        {"\x80", 1, "UTF-8"},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        const char *reason = "";
        assert_int_equal (rota_id_check (BAD[i].id, BAD[i].length, &reason), -EINVAL);
        assert_non_null (strstr (reason, BAD[i].word));
    }
    char over[ROTA_ID_MAX_BYTES + 1];
    memset (over, 'x', sizeof over);
    const char *reason = "";
    assert_int_equal (rota_id_check (over, sizeof over, &reason), -EINVAL);
    assert_non_null (strstr (reason, "200"));
}

static void a_text_may_have_lines_where_they_are_wanted (void **state)
{
    (void)state;
    assert_true (rota_text_is_valid ("one\ntwo\tthree\r\n", 15, true));
    assert_false (rota_text_is_valid ("one\ntwo", 7, false));
    assert_false (rota_text_is_valid ("a\0b", 3, true));
    assert_false (rota_text_is_valid ("\xff", 1, true));
    assert_true (rota_text_is_valid ("", 0, false));
}

static void a_name_is_fit_for_files_and_branches (void **state)
{
    (void)state;
    char name[ROTA_ENCODED_MAX_BYTES];
    assert_string_equal (encode ("build-1_A", name), "build-1_A");
    assert_string_equal (encode ("T3.2.2", name), "T3%2E2%2E2");
    assert_string_equal (encode ("..", name), "%2E%2E");
    assert_string_equal (encode ("a/b c%", name), "a%2Fb%20c%25");
    assert_string_equal (encode ("\xc3\xbc", name), "%C3%BC");
    assert_string_equal (encode ("~", name), "%7E");
}

static void a_long_name_is_cut_between_characters_and_ends_in_a_hash (void **state)
{
    (void)state;
    char id[ROTA_ID_MAX_BYTES + 1], name[ROTA_ENCODED_MAX_BYTES];

    for (size_t length = 1; length <= ROTA_ID_MAX_BYTES; length++)
        for (size_t dots = 0; dots <= length; dots += 7) {
            memset (id, 'x', length);
            memset (id + length - dots, '.', dots);
            id[length] = '\0';
            encode (id, name);
            size_t whole = length + 2 * dots;
            const char *tilde = strchr (name, '~');
            assert_int_equal (tilde == NULL, whole <= 80);
            if (!tilde) {
                assert_int_equal (strlen (name), whole);
                continue;
            }
            assert_int_equal (strlen (tilde), 17);
            assert_int_equal (strspn (tilde + 1, "0123456789abcdef"), 16);
            assert_true (tilde - name >= 61 && tilde - name <= 63);
            const char *percent = memrchr (name, '%', (size_t)(tilde - name));
            assert_true (!percent || tilde - percent >= 3);
        }
}

static int compare (const void *a, const void *b)
{
    return strcmp (a, b);
}

static void two_ids_never_share_a_name (void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    char (*names)[ROTA_ENCODED_MAX_BYTES] = calloc (COUNT, sizeof *names);
    char id[256];

    for (int i = 0; i < COUNT; i++) {
        if (i % 2)
            snprintf (id, sizeof id, "%0*d", 70 + i % 100, i);
        else if (i % 4 == 0)
            snprintf (id, sizeof id, "a.%d", i);
        else
            snprintf (id, sizeof id, "a%%2E%d", i - 2);
        encode (id, names[i]);
    }
    qsort (names, COUNT, sizeof *names, compare);
    for (int i = 1; i < COUNT; i++)
        assert_string_not_equal (names[i - 1], names[i]);
    free (names);
}

static void instances_differ (void **state)
{
    (void)state;
    uint8_t a[ROTA_INSTANCE_BYTES], b[ROTA_INSTANCE_BYTES];
    rota_instance_new (a);
    rota_instance_new (b);
    assert_memory_not_equal (a, b, sizeof a);
}

/* Names on disk and branches hang on it: it must never change. */
static void the_hash_is_fnv_1a (void **state)
{
    (void)state;
    assert_true (rota_hash ("", 0) == 0xcbf29ce484222325u);
    assert_true (rota_hash ("a", 1) == 0xaf63dc4c8601ec8cu);
    assert_true (rota_hash ("foobar", 6) == 0x85944171f73967e8u);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (ordinary_ids_are_accepted),
        cmocka_unit_test (what_is_no_id_is_refused_with_its_reason),
        cmocka_unit_test (a_text_may_have_lines_where_they_are_wanted),
        cmocka_unit_test (a_name_is_fit_for_files_and_branches),
        cmocka_unit_test (a_long_name_is_cut_between_characters_and_ends_in_a_hash),
        cmocka_unit_test (two_ids_never_share_a_name),
        cmocka_unit_test (instances_differ),
        cmocka_unit_test (the_hash_is_fnv_1a),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
