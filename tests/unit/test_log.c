/* Log lines as a machine reads them. Each test has standard error go to a pipe and reads it back. */
#include "bus/log.h"

#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

static int pipe_fds[2], saved_fd;
static char output[65536];

static int capture (void **state)
{
    (void)state;
    if (pipe2 (pipe_fds, O_NONBLOCK | O_CLOEXEC) < 0)
        return -1;
    saved_fd = dup (STDERR_FILENO);
    return dup2 (pipe_fds[1], STDERR_FILENO) < 0 ? -1 : 0;
}

static int release (void **state)
{
    (void)state;
    dup2 (saved_fd, STDERR_FILENO);
    close (saved_fd);
    close (pipe_fds[0]);
    close (pipe_fds[1]);
    return 0;
}

static const char *read_output (void)
{
    size_t used = 0;
    for (ssize_t count; (count = read (pipe_fds[0], output + used, sizeof output - 1 - used)) > 0;)
        used += (size_t)count;
    output[used] = '\0';
    return output;
}

static void a_line_names_time_level_service_and_event (void **state)
{
    (void)state;
    rota_log_setup ("rota-test", ROTA_LOG_INFO, ROTA_LOG_LOGFMT);
    rota_log (ROTA_LOG_WARNING, "task.moved", "task=%s attempt=%u", "T1", 3u);
    const char *line = read_output ();
    assert_int_equal (strncmp (line, "time=20", 7), 0);
    assert_non_null (strstr (line, "Z level=warning service=rota-test event=task.moved task=T1 attempt=3\n"));
}

static void an_event_without_pairs_ends_with_its_name (void **state)
{
    (void)state;
    rota_log_setup ("rota-test", ROTA_LOG_INFO, ROTA_LOG_LOGFMT);
    rota_log (ROTA_LOG_INFO, "started", "%s", "");
    assert_non_null (strstr (read_output (), " event=started\n"));
}

static void what_is_below_the_level_is_not_written (void **state)
{
    (void)state;
    rota_log_setup ("rota-test", ROTA_LOG_WARNING, ROTA_LOG_LOGFMT);
    rota_log (ROTA_LOG_INFO, "quiet", "a=1");
    rota_log_limited (ROTA_LOG_DEBUG, "quiet", "k", 0, "a=1");
    assert_string_equal (read_output (), "");
    rota_log (ROTA_LOG_ERROR, "loud", "a=1");
    assert_non_null (strstr (read_output (), "level=error"));
}

static void nothing_from_outside_can_forge_a_line (void **state)
{
    (void)state;
    char quoted[100];
    rota_log_setup ("rota-test", ROTA_LOG_INFO, ROTA_LOG_LOGFMT);
    rota_log (ROTA_LOG_INFO, "hostile", "raw=%s quoted=%s", "a\nevent=fake",
              rota_log_quote ("b\nc", 3, quoted, 100));
    const char *line = read_output ();
    assert_ptr_equal (strchr (line, '\n'), line + strlen (line) - 1);
    assert_non_null (strstr (line, "quoted=\"b\\nc\""));
}

static void a_value_is_quoted_only_where_it_must_be (void **state)
{
    (void)state;
    char text[100];
    assert_string_equal (rota_log_quote ("plain-1.2/x", 11, text, sizeof text), "plain-1.2/x");
    assert_string_equal (rota_log_quote ("", 0, text, sizeof text), "\"\"");
    assert_string_equal (rota_log_quote ("two words", 9, text, sizeof text), "\"two words\"");
    assert_string_equal (rota_log_quote ("a=b", 3, text, sizeof text), "\"a=b\"");
    assert_string_equal (rota_log_quote ("say \"x\"\\", 8, text, sizeof text), "\"say \\\"x\\\"\\\\\"");
    assert_string_equal (rota_log_quote ("\x1b\0\t", 3, text, sizeof text), "\"\\x1b\\x00\\t\"");
    assert_string_equal (rota_log_quote ("\xc3\xbc", 2, text, sizeof text), "\"\xc3\xbc\"");
    assert_string_equal (rota_log_quote ("\xff\xc2\x9b", 3, text, sizeof text), "\"\\xff\\xc2\\x9b\"");
}

static void a_quoted_value_is_cut_to_fit_and_still_closed (void **state)
{
    (void)state;
    char text[64];
    for (size_t capacity = 1; capacity < 40; capacity++) {
        memset (text, 'Z', sizeof text);
        rota_log_quote ("\n\n \xc3\xbc\xc3\xbc\xe2\x82\xac \"\"", 13, text, capacity);
        size_t length = strlen (text);
        assert_true (length < capacity);
        assert_int_equal (text[capacity], 'Z');
        if (capacity > 2)
            assert_true (length >= 2 && text[0] == '"' && text[length - 1] == '"');
    }
}

static void a_json_line_holds_the_same_pairs_as_strings (void **state)
{
    (void)state;
    char quoted[200];
    static const char VALUE[] = "two \"words\"\n=\\ \x01 \xc3\xbc";
    rota_log_setup ("rota-test", ROTA_LOG_INFO, ROTA_LOG_JSON);
    rota_log (ROTA_LOG_INFO, "task.moved", "task=%s n=%d flag bad=%s",
              rota_log_quote (VALUE, sizeof VALUE - 1, quoted, sizeof quoted), 7, "\xff");
    json_error_t error;
    json_t *line = json_loads (read_output (), 0, &error);
    assert_non_null (line);
    assert_string_equal (json_string_value (json_object_get (line, "event")), "task.moved");
    assert_string_equal (json_string_value (json_object_get (line, "level")), "info");
    assert_string_equal (json_string_value (json_object_get (line, "service")), "rota-test");
    assert_string_equal (json_string_value (json_object_get (line, "task")), VALUE);
    assert_string_equal (json_string_value (json_object_get (line, "n")), "7");
    assert_true (json_is_true (json_object_get (line, "flag")));
    assert_string_equal (json_string_value (json_object_get (line, "bad")), "\xef\xbf\xbd");
    json_decref (line);
}

static void a_line_that_is_too_long_is_cut_and_still_a_line (void **state)
{
    (void)state;
    char text[8000];
    json_error_t error;

    memset (text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    rota_log_setup ("rota-test", ROTA_LOG_INFO, ROTA_LOG_LOGFMT);
    rota_log (ROTA_LOG_INFO, "long", "a=%s", text);
    const char *line = read_output ();
    assert_true (strlen (line) <= 4096);
    assert_ptr_equal (strchr (line, '\n'), line + strlen (line) - 1);

    memset (text, '"', sizeof text - 1);
    rota_log_setup ("rota-test", ROTA_LOG_INFO, ROTA_LOG_JSON);
    rota_log (ROTA_LOG_INFO, "long", "a=\"%.300s\" b=%s c=1", "\\x01\\x01\\x01", text);
    line = read_output ();
    assert_true (strlen (line) <= 4096);
    json_t *object = json_loads (line, 0, &error);
    assert_non_null (object);
    json_decref (object);
}

static void a_line_that_a_peer_can_provoke_is_written_once_an_interval (void **state)
{
    (void)state;
    rota_log_setup ("rota-test", ROTA_LOG_INFO, ROTA_LOG_LOGFMT);
    for (int i = 0; i < 100; i++)
        rota_log_limited (ROTA_LOG_INFO, "garbage", "one", 3600000, "i=%d", i);
    rota_log_limited (ROTA_LOG_INFO, "garbage", "another", 3600000, "i=%d", 100);
    const char *lines = read_output ();
    assert_non_null (strstr (lines, "event=garbage i=0\n"));
    assert_null (strstr (lines, "i=1\n"));
    assert_non_null (strstr (lines, "event=garbage i=100\n"));
    rota_log_limited (ROTA_LOG_INFO, "garbage", "one", 0, "i=%d", 101);
    assert_non_null (strstr (read_output (), "event=garbage left_out=99 i=101\n"));
}

static void many_keys_stay_within_the_fixed_set (void **state)
{
    (void)state;
    char key[200];
    rota_log_setup ("rota-test", ROTA_LOG_INFO, ROTA_LOG_LOGFMT);
    for (int i = 0; i < 500; i++) {
        snprintf (key, sizeof key, "%d-%0150d", i, i);
        rota_log_limited (ROTA_LOG_INFO, "many", key, 3600000, "i=%d", i);
        read_output ();
    }
    rota_log_limited (ROTA_LOG_INFO, "many", key, 3600000, "again=1");
    assert_string_equal (read_output (), "");
}

static void *write_lines (void *argument)
{
    for (int i = 0; i < 100; i++)
        rota_log (ROTA_LOG_INFO, "thread", "who=%s i=%d", (const char *)argument, i);
    return NULL;
}

static void lines_of_several_threads_are_whole (void **state)
{
    (void)state;
    pthread_t threads[4];
    static char NAMES[4][2] = {"a", "b", "c", "d"};
    rota_log_setup ("rota-test", ROTA_LOG_INFO, ROTA_LOG_LOGFMT);
    for (int i = 0; i < 4; i++)
        assert_int_equal (pthread_create (&threads[i], NULL, write_lines, NAMES[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join (threads[i], NULL);
    int count = 0;
    char *rest = NULL;
    read_output ();
    for (char *line = strtok_r (output, "\n", &rest); line; line = strtok_r (NULL, "\n", &rest), count++) {
        assert_int_equal (strncmp (line, "time=", 5), 0);
        assert_non_null (strstr (line, " i="));
    }
    assert_int_equal (count, 400);
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, capture, release)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (a_line_names_time_level_service_and_event),
        TEST (an_event_without_pairs_ends_with_its_name),
        TEST (what_is_below_the_level_is_not_written),
        TEST (nothing_from_outside_can_forge_a_line),
        TEST (a_value_is_quoted_only_where_it_must_be),
        TEST (a_quoted_value_is_cut_to_fit_and_still_closed),
        TEST (a_json_line_holds_the_same_pairs_as_strings),
        TEST (a_line_that_is_too_long_is_cut_and_still_a_line),
        TEST (a_line_that_a_peer_can_provoke_is_written_once_an_interval),
        TEST (many_keys_stay_within_the_fixed_set),
        TEST (lines_of_several_threads_are_whole),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
