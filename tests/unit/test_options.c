/* How options of a verb are read, a sentence a test. */
#include "cli/cli.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const rota_option_t OWN[] = {
    {.name = "agent", .letter = 'a', .kind = ROTA_OPTION_TEXT, .value = "KIND", .repeated = true},
    {.name = "follow", .letter = 'f', .kind = ROTA_OPTION_FLAG},
    {.name = "detach", .letter = 'd', .kind = ROTA_OPTION_FLAG},
    {.name = "tail", .letter = 'n', .kind = ROTA_OPTION_NUMBER, .value = "LINES"},
    {.name = "timeout", .kind = ROTA_OPTION_DURATION, .value = "S"},
    ROTA_OPTION_END};
static const rota_option_t COMMON[] = {{.name = "json", .kind = ROTA_OPTION_FLAG}, ROTA_OPTION_END};

static size_t count_of (char **words)
{
    size_t count = 0;
    while (words[count])
        count++;
    return count;
}

static rota_options_t *parse (char **words)
{
    rota_options_t *options = NULL;
    rota_error_t error = {""};
    assert_int_equal (rota_options_parse (OWN, COMMON, count_of (words), words, &options, &error), 0);
    return options;
}

static void assert_refused (char **words, const char *part)
{
    rota_options_t *options = (rota_options_t *)words;
    rota_error_t error = {""};
    assert_int_equal (rota_options_parse (OWN, COMMON, count_of (words), words, &options, &error), -EINVAL);
    assert_ptr_equal (options, words); /* untouched on failure */
    if (!strstr (error.text, part))
        fail_msg ("\"%s\" doesn't say \"%s\"", error.text, part);
}

#define WORDS(...) ((char *[]){__VA_ARGS__, NULL})

static void options_and_arguments_may_be_mixed (void **state)
{
    (void)state;
    rota_options_t *options = parse (WORDS ("build", "--json", "test", "-f"));
    assert_int_equal (rota_options_argument_count (options), 2);
    assert_string_equal (rota_options_argument (options, 0), "build");
    assert_string_equal (rota_options_argument (options, 1), "test");
    assert_null (rota_options_argument (options, 2));
    assert_true (rota_options_flag (options, "json"));
    assert_true (rota_options_flag (options, "follow"));
    assert_false (rota_options_flag (options, "detach"));
    rota_options_destroy (&options);
    assert_null (options);
}

static void a_value_may_follow_an_equals_sign_a_blank_or_the_letter (void **state)
{
    (void)state;
    rota_options_t *options = parse (WORDS ("--agent=exec=4", "--agent", "b", "-ac", "-n", "7"));
    assert_int_equal (rota_options_count (options, "agent"), 3);
    assert_string_equal (rota_options_nth (options, "agent", 0), "exec=4");
    assert_string_equal (rota_options_nth (options, "agent", 1), "b");
    assert_string_equal (rota_options_nth (options, "agent", 2), "c");
    assert_null (rota_options_nth (options, "agent", 3));
    assert_int_equal (rota_options_number (options, "tail", -1), 7);
    rota_options_destroy (&options);
}

static void letters_of_flags_may_share_a_dash (void **state)
{
    (void)state;
    rota_options_t *options = parse (WORDS ("-fdn5"));
    assert_true (rota_options_flag (options, "follow"));
    assert_true (rota_options_flag (options, "detach"));
    assert_int_equal (rota_options_number (options, "tail", -1), 5);
    rota_options_destroy (&options);
}

static void what_follows_two_dashes_is_left_as_it_is (void **state)
{
    (void)state;
    rota_options_t *options = parse (WORDS ("x", "--", "make", "--json", "-f"));
    assert_int_equal (rota_options_argument_count (options), 1);
    assert_int_equal (rota_options_rest_count (options), 3);
    assert_string_equal (rota_options_rest (options)[1], "--json");
    assert_false (rota_options_flag (options, "json"));
    rota_options_destroy (&options);
}

static void durations_come_as_milliseconds (void **state)
{
    (void)state;
    rota_options_t *options = parse (WORDS ("--timeout", "1h30m"));
    assert_int_equal (rota_options_duration_ms (options, "timeout", 0), 5400000);
    rota_options_destroy (&options);
    options = parse (WORDS ("--timeout=2"));
    assert_int_equal (rota_options_duration_ms (options, "timeout", 0), 2000);
    rota_options_destroy (&options);
}

static void what_is_absent_gives_the_default (void **state)
{
    (void)state;
    rota_options_t *options = parse (WORDS ("-f"));
    assert_int_equal (rota_options_duration_ms (options, "timeout", 42), 42);
    assert_int_equal (rota_options_number (options, "tail", -1), -1);
    assert_string_equal (rota_options_text (options, "agent", "none"), "none");
    rota_options_destroy (&options);
}

static void a_negative_number_is_an_argument (void **state)
{
    (void)state;
    rota_options_t *options = parse (WORDS ("build", "-50"));
    assert_string_equal (rota_options_argument (options, 1), "-50");
    rota_options_destroy (&options);
}

static void an_unknown_option_is_refused_with_the_nearest_one (void **state)
{
    (void)state;
    assert_refused (WORDS ("--folow"), "did you mean --follow");
    assert_refused (WORDS ("--zzzzzz"), "unknown option --zzzzzz");
    assert_refused (WORDS ("-x"), "unknown option -x");
    assert_refused (WORDS ("-fx"), "unknown option -x");
}

static void wrong_values_are_refused_by_name (void **state)
{
    (void)state;
    assert_refused (WORDS ("--timeout", "soon"), "--timeout wants a duration");
    assert_refused (WORDS ("--tail", "5x"), "--tail wants a whole number");
    assert_refused (WORDS ("--tail"), "--tail wants a value");
    assert_refused (WORDS ("--agent="), "--agent wants KIND");
    assert_refused (WORDS ("--follow=yes"), "--follow takes no value");
    assert_refused (WORDS ("--tail=1", "--tail=2"), "--tail is given twice");
}

static void every_verb_has_help_a_handler_and_no_second_owner_of_its_name (void **state)
{
    (void)state;
    for (size_t i = 0; i < ROTA_VERB_COUNT; i++) {
        const rota_verb_t *verb = &ROTA_VERBS[i];
        assert_non_null (verb->handler);
        assert_non_null (verb->description);
        assert_non_null (verb->arguments);
        assert_true (strlen (verb->summary) > 0);
        assert_true (verb->summary[strlen (verb->summary) - 1] != '.');
        for (size_t j = 0; j < ROTA_VERB_COUNT; j++) {
            const char *alias = ROTA_VERBS[j].alias;
            assert_true (i == j || strcmp (verb->name, ROTA_VERBS[j].name) != 0);
            assert_true (!alias || strcmp (verb->name, alias) != 0);
        }
        /* An option of its own must not hide a common one. */
        for (const rota_option_t *own = verb->options; own && own->name; own++)
            for (const rota_option_t *other = ROTA_COMMON_OPTIONS; other->name; other++)
                assert_true (strcmp (own->name, other->name) != 0);
    }
}

static void a_verb_is_found_by_its_name_two_words_or_an_alias (void **state)
{
    (void)state;
    size_t words = 0;
    const rota_verb_t *check = rota_verb_find (2, WORDS ("store", "check"), &words);
    assert_non_null (check);
    assert_int_equal (words, 2);
    assert_ptr_equal (rota_verb_find (1, WORDS ("check"), &words), check);
    assert_int_equal (words, 1);
    assert_null (rota_verb_find (1, WORDS ("store"), &words));
    assert_null (rota_verb_find (1, WORDS ("nonsense"), &words));
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (options_and_arguments_may_be_mixed),
        cmocka_unit_test (a_value_may_follow_an_equals_sign_a_blank_or_the_letter),
        cmocka_unit_test (letters_of_flags_may_share_a_dash),
        cmocka_unit_test (what_follows_two_dashes_is_left_as_it_is),
        cmocka_unit_test (durations_come_as_milliseconds),
        cmocka_unit_test (what_is_absent_gives_the_default),
        cmocka_unit_test (a_negative_number_is_an_argument),
        cmocka_unit_test (an_unknown_option_is_refused_with_the_nearest_one),
        cmocka_unit_test (wrong_values_are_refused_by_name),
        cmocka_unit_test (every_verb_has_help_a_handler_and_no_second_owner_of_its_name),
        cmocka_unit_test (a_verb_is_found_by_its_name_two_words_or_an_alias),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
