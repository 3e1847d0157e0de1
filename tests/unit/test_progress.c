/* What a run says about each task, in a pipe and as JSON. */
#include "cli/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    rota_cli_t cli;
    rota_progress_t *progress;
    char *text;
    size_t size;
} view_t;

static void begin (view_t *view, bool json)
{
    *view = (view_t){.cli = {.json = json}};
    view->cli.out.stream = open_memstream (&view->text, &view->size);
    const rota_known_t known[] = {{rota_bytes ("build"), rota_bytes ("Build it")},
                                  {rota_bytes ("test"), rota_bytes ("test")},
                                  {rota_bytes ("a\033[2Jb"), rota_bytes ("")}};
    view->progress = rota_progress_new (&view->cli, known, 3);
    assert_non_null (view->progress);
}

static const char *text_of (view_t *view)
{
    fflush (view->cli.out.stream);
    return view->text;
}

static void end (view_t *view)
{
    rota_progress_destroy (&view->progress);
    fclose (view->cli.out.stream);
    free (view->text);
}

static Rota__Event move (const char *id, Rota__TaskStatus from, Rota__TaskStatus to, int64_t time_ms)
{
    Rota__Event event = ROTA__EVENT__INIT;
    event.has_task = event.has_from_status = event.has_to_status = event.has_type = event.has_time_ms = true;
    event.type = ROTA__EVENT_TYPE__EVENT_TYPE_TASK_MOVED;
    event.task = rota_bytes (id);
    event.from_status = from;
    event.to_status = to;
    event.time_ms = time_ms;
    return event;
}

static const Rota__TaskStatus PENDING = ROTA__TASK_STATUS__TASK_STATUS_PENDING,
                              WORK = ROTA__TASK_STATUS__TASK_STATUS_IN_PROGRESS,
                              DONE = ROTA__TASK_STATUS__TASK_STATUS_DONE,
                              FAILED = ROTA__TASK_STATUS__TASK_STATUS_FAILED;

static void feed (view_t *view, const char *id, Rota__TaskStatus from, Rota__TaskStatus to, int64_t time_ms)
{
    Rota__Event event = move (id, from, to, time_ms);
    assert_true (rota_progress_event (view->progress, &event));
}

static void a_finished_task_is_one_line_with_its_time (void **state)
{
    (void)state;
    view_t view;
    begin (&view, false);
    feed (&view, "build", PENDING, WORK, 1000);
    feed (&view, "test", PENDING, WORK, 1500);
    assert_string_equal (text_of (&view), "");
    feed (&view, "build", WORK, DONE, 2200);
    feed (&view, "test", WORK, DONE, 4500);
    assert_string_equal (text_of (&view), "done      build   Build it  1.2 s\ndone      test    3.0 s\n");
    end (&view);
}

static void a_failure_tells_its_reason_and_last_lines (void **state)
{
    (void)state;
    view_t view;
    ProtobufCBinaryData id;
    bool wanted = false;
    begin (&view, false);
    feed (&view, "build", PENDING, WORK, 1000);
    Rota__Event event = move ("build", WORK, FAILED, 2000);
    event.has_reason = true;
    event.reason = rota_bytes ("exit code 2");
    assert_true (rota_progress_event (view.progress, &event));
    assert_string_equal (text_of (&view), "");
    assert_true (rota_progress_next_failure (view.progress, 20, &id, &wanted));
    assert_true (wanted);
    rota_progress_failure (view.progress, id, rota_bytes ("1\n2\n3\n4\n5\n\033[31m6\033[0m\n7\n"));
    assert_string_equal (text_of (&view), "failed    build   Build it  1.0 s  exit code 2\n"
                                          "   | 3\n   | 4\n   | 5\n   | 6\n   | 7\n");
    assert_false (rota_progress_next_failure (view.progress, 20, &id, &wanted));
    feed (&view, "test", WORK, FAILED, 3000);
    assert_true (rota_progress_next_failure (view.progress, 1, &id, &wanted));
    assert_false (wanted); /* enough has been shown */
    end (&view);
}

static void an_attempt_that_will_be_repeated_is_said_and_counted_in (void **state)
{
    (void)state;
    view_t view;
    rota_progress_sums_t sums;
    begin (&view, false);
    feed (&view, "test", PENDING, WORK, 1000);
    feed (&view, "test", WORK, PENDING, 1300);
    feed (&view, "test", PENDING, WORK, 2000);
    feed (&view, "test", WORK, DONE, 2500);
    assert_string_equal (text_of (&view), "again     test    0.3 s\ndone      test    0.8 s\n");
    rota_progress_sums (view.progress, &sums);
    assert_int_equal (sums.task_ms, 800);
    assert_int_equal (sums.finished, 1);
    end (&view);
}

static void other_peoples_tasks_pass_by (void **state)
{
    (void)state;
    view_t view;
    begin (&view, false);
    Rota__Event event = move ("foreign", WORK, DONE, 5);
    assert_false (rota_progress_event (view.progress, &event));
    assert_string_equal (text_of (&view), "");
    end (&view);
}

static void an_id_cannot_move_the_cursor (void **state)
{
    (void)state;
    view_t view;
    begin (&view, false);
    feed (&view, "a\033[2Jb", WORK, DONE, 5);
    assert_null (strchr (text_of (&view), '\033'));
    assert_non_null (strstr (text_of (&view), "a?[2Jb"));
    end (&view);
}

static void open_tasks_are_counted_back_when_they_return (void **state)
{
    (void)state;
    view_t view;
    begin (&view, false);
    assert_int_equal (rota_progress_open (view.progress), 3);
    feed (&view, "test", WORK, FAILED, 5);
    assert_int_equal (rota_progress_open (view.progress), 2);
    feed (&view, "test", FAILED, PENDING, 6);
    assert_int_equal (rota_progress_open (view.progress), 3);
    feed (&view, "test", WORK, DONE, 7);
    feed (&view, "test", DONE, DONE, 8);
    assert_int_equal (rota_progress_open (view.progress), 2);
    end (&view);
}

static void the_slowest_come_first (void **state)
{
    (void)state;
    view_t view;
    rota_progress_sums_t sums;
    begin (&view, false);
    feed (&view, "build", PENDING, WORK, 1000);
    feed (&view, "build", WORK, DONE, 1100);
    feed (&view, "test", PENDING, WORK, 1000);
    feed (&view, "test", WORK, DONE, 1900);
    rota_progress_sums (view.progress, &sums);
    assert_int_equal (sums.slowest[0].duration_ms, 900);
    assert_memory_equal (sums.slowest[0].id.data, "test", 4);
    assert_int_equal (sums.slowest[1].duration_ms, 100);
    assert_null (sums.slowest[2].id.data);
    end (&view);
}

static void json_is_an_object_a_line (void **state)
{
    (void)state;
    view_t view;
    begin (&view, true);
    feed (&view, "build", WORK, DONE, 1700000000000);
    assert_string_equal (text_of (&view),
                         "{\"type\":\"task\",\"id\":\"build\",\"title\":\"Build it\",\"status\":"
                         "\"done\",\"time\":\"2023-11-14T22:13:20.000Z\"}\n");
    end (&view);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (a_finished_task_is_one_line_with_its_time),
        cmocka_unit_test (a_failure_tells_its_reason_and_last_lines),
        cmocka_unit_test (an_attempt_that_will_be_repeated_is_said_and_counted_in),
        cmocka_unit_test (other_peoples_tasks_pass_by),
        cmocka_unit_test (an_id_cannot_move_the_cursor),
        cmocka_unit_test (open_tasks_are_counted_back_when_they_return),
        cmocka_unit_test (the_slowest_come_first),
        cmocka_unit_test (json_is_an_object_a_line),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
