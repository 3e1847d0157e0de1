/* What event_json.h promises about a line. */
#include "bus/clock.h"
#include "telemetry/event_json.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define NOON_MS (INT64_C (20780) * 24 * 3600 * 1000 + 12 * 3600 * 1000)

static const char *line_of (const Rota__Event *event)
{
    static char line[1024];
    rota_text_t text = {0};
    assert_int_equal (rota_event_json (event, &text), 0);
    assert_true (text.size_bytes < sizeof line);
    memcpy (line, text.bytes, text.size_bytes);
    line[text.size_bytes] = 0;
    rota_text_free (&text);
    assert_ptr_equal (strchr (line, '\n'), line + strlen (line) - 1);
    line[strlen (line) - 1] = 0;
    json_t *object = json_loads (line, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    assert_non_null (object);
    json_decref (object);
    return line;
}

#define BYTES(literal)                                                                                       \
    {                                                                                                        \
        .len = sizeof (literal) - 1, .data = (uint8_t *)(literal)                                            \
    }

static void a_whole_event_is_one_line_with_all_it_has (void **state)
{
    (void)state;
    Rota__Event event = ROTA__EVENT__INIT;
    event.seq = 17;
    event.time_ms = NOON_MS + 123;
    event.type = ROTA__EVENT_TYPE__EVENT_TYPE_TASK_MOVED;
    event.has_task = event.has_attempt = event.has_agent = event.has_from_status = event.has_to_status = true;
    event.has_phase = event.has_result_class = event.has_reason = event.has_detail = true;
    event.task = (ProtobufCBinaryData)BYTES ("b\"\\\n\x01\xc3\xa9");
    event.attempt = 2;
    event.agent = (ProtobufCBinaryData)BYTES ("exec@host");
    event.from_status = ROTA__TASK_STATUS__TASK_STATUS_IN_PROGRESS;
    event.to_status = ROTA__TASK_STATUS__TASK_STATUS_DONE;
    event.phase = ROTA__PHASE__PHASE_WORK;
    event.result_class = ROTA__RESULT_CLASS__RESULT_CLASS_OK;
    event.reason = (ProtobufCBinaryData)BYTES ("it\tended");
    event.detail = (ProtobufCBinaryData)BYTES ("{\"a\":\n [1,\r\n2]}");
    assert_string_equal (line_of (&event),
                         "{\"time\":\"2026-11-23T12:00:00.123Z\",\"seq\":17,\"event\":\"task.moved\","
                         "\"task\":\"b\\\"\\\\\\n\\u0001\xc3\xa9\",\"attempt\":2,\"agent\":\"exec@host\","
                         "\"from\":\"in_progress\",\"to\":\"done\",\"phase\":\"work\",\"result\":\"ok\","
                         "\"reason\":\"it\\tended\",\"detail\":{\"a\":  [1,  2]}}");
}

static void what_an_event_does_not_have_is_left_out (void **state)
{
    (void)state;
    Rota__Event event = ROTA__EVENT__INIT;
    event.seq = 1;
    event.type = (Rota__EventType)4711;
    assert_string_equal (line_of (&event),
                         "{\"time\":\"1970-01-01T00:00:00.000Z\",\"seq\":1,\"event\":\"unknown.4711\"}");
}

static void times_are_those_of_the_clock_in_every_year (void **state)
{
    (void)state;
    Rota__Event event = ROTA__EVENT__INIT;
    const int64_t last_ms = INT64_C (253402300799999), step_ms = INT64_C (86399) * 1000 * 31 + 977;
    for (int64_t time_ms = -step_ms; time_ms < last_ms + 2 * step_ms; time_ms += step_ms) {
        char time[ROTA_CLOCK_ISO_BYTES], start[64];
        event.time_ms = time_ms;
        rota_clock_iso (time_ms, time);
        snprintf (start, sizeof start, "{\"time\":\"%s\",\"seq\":0,", time);
        assert_memory_equal (line_of (&event), start, strlen (start));
    }
    event.time_ms = last_ms;
    assert_non_null (strstr (line_of (&event), "9999-12-31T23:59:59.999Z"));
    event.time_ms = INT64_C (951782400000);
    assert_non_null (strstr (line_of (&event), "2000-02-29T00:00:00.000Z"));
}

static void invalid_utf8_is_replaced_and_detail_that_is_no_json_is_a_string (void **state)
{
    (void)state;
    Rota__Event event = ROTA__EVENT__INIT;
    event.seq = 1;
    event.has_reason = event.has_detail = true;
    event.reason = (ProtobufCBinaryData)BYTES ("a\xff z\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80\xe2\x82");
    event.detail = (ProtobufCBinaryData)BYTES ("{\"open\":1");
    const char *line = line_of (&event);
    assert_non_null (strstr (line, "\"reason\":\"a\xef\xbf\xbd z\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"));
    assert_non_null (strstr (line, "\"detail\":\"{\\\"open\\\":1\"}"));
    const ProtobufCBinaryData bad[] = {
        BYTES (""),      BYTES ("17"), BYTES ("{\"a\":\"\xff\"}"), BYTES ("{}{}"), BYTES ("{\"a\":1e999}"),
        BYTES ("{}\0{}")};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        event.detail = bad[i];
        assert_non_null (strstr (line_of (&event), "\"detail\":\""));
    }
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (a_whole_event_is_one_line_with_all_it_has),
        cmocka_unit_test (what_an_event_does_not_have_is_left_out),
        cmocka_unit_test (times_are_those_of_the_clock_in_every_year),
        cmocka_unit_test (invalid_utf8_is_replaced_and_detail_that_is_no_json_is_a_string),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
