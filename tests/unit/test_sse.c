#include "agents/answer.h"
#include "agents/ask.h"
#include "agents/ask_limits.h"
#include "agents/sse.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW_MS INT64_C (1795417200000)

static int put (void *context, const char *name, const char *data, size_t size_bytes)
{
    char *to = context;
    assert_int_equal (strlen (data), size_bytes);
    sprintf (to + strlen (to), "<%s|%s>", name, data);
    return 0;
}

static const struct {
    const char *stream, *events;
} STREAMS[] = {
    {"data: one\n\n", "<|one>"},
    {"event: a\ndata: 1\n\nevent: b\ndata: 2\n\n", "<a|1><b|2>"},
    {"data: 1\r\ndata: 2\r\n\r\ndata: 3\r\r", "<|1\n2><|3>"},
    {"data:no blank\n\ndata:  two blanks\n\n", "<|no blank><| two blanks>"},
    {": comment\nid: 7\nretry: 10\ndata: x\n\n", "<|x>"},
    {"event: nothing\n\ndata: after\n\n", "<|after>"},
    {"data\n\ndata\ndata\n\n", "<|><|\n>"},
    {"\xEF\xBB\xBF"
     "data: marked\n\n",
     "<|marked>"},
    {"\n\n\r\n\rdata: late\n\n", "<|late>"},
    {"data: whole\n\ndata: cut\n", "<|whole>"},
    {"data: {\"a\":\"b: c\"}\n\n", "<|{\"a\":\"b: c\"}>"},
};

static void events_are_the_same_wherever_the_stream_is_cut (void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof STREAMS / sizeof *STREAMS; i++) {
        const char *stream = STREAMS[i].stream;
        size_t size = strlen (stream);
        for (size_t cut = 0; cut <= size; cut++) {
            char events[256] = "";
            rota_sse_t sse = {0};
            assert_int_equal (rota_sse_feed (&sse, stream, cut, put, events), 0);
            assert_int_equal (rota_sse_feed (&sse, stream + cut, size - cut, put, events), 0);
            rota_sse_end (&sse);
            assert_string_equal (events, STREAMS[i].events);
        }
    }
}

static void an_event_beyond_the_bound_is_refused (void **state)
{
    (void)state;
    rota_sse_t sse = {0};
    char bytes[1 << 16], events[16] = "";
    memset (bytes, 'x', sizeof bytes);
    int status = rota_sse_feed (&sse, "data: ", 6, put, events);
    for (size_t i = 0; i <= ROTA_SSE_EVENT_MAX_BYTES / sizeof bytes && status == 0; i++)
        status = rota_sse_feed (&sse, bytes, sizeof bytes, put, events);
    assert_int_equal (status, -EMSGSIZE);
    rota_sse_end (&sse);
}

/* ---- answers */

static void gather (void *context, const char *text, size_t size_bytes)
{
    char *to = context;
    strncat (to, text, size_bytes);
}

static rota_answer_t answer_to (rota_api_t api, const char *const *events, char text[256])
{
    rota_answer_t answer = {.api = api, .now_ms = NOW_MS};
    text[0] = '\0';
    for (; *events; events++)
        rota_answer_event (&answer, *events, strlen (*events), gather, text);
    return answer;
}

static void anthropic_counts_what_came_from_the_cache_as_input (void **state)
{
    (void)state;
    char text[256];
    const char *events[] = {
        "{\"type\":\"message_start\",\"message\":{\"model\":\"m-1\",\"usage\":{\"input_tokens\":10,"
        "\"cache_read_input_tokens\":100,\"cache_creation_input_tokens\":1000,\"output_tokens\":1}}}",
        "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}",
        "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"one \"}}",
        "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"two\"}}",
        "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}"
        "}",
        "{\"type\":\"message_stop\"}",
        NULL};
    rota_answer_t answer = answer_to (ROTA_API_ANTHROPIC, events, text);
    assert_string_equal (text, "one two");
    assert_true (answer.ended && answer.finished && !answer.failed);
    assert_int_equal (answer.input.value, 1110);
    assert_int_equal (answer.cached.value, 100);
    assert_int_equal (answer.output.value, 7);
    assert_string_equal (answer.stop, "end_turn");
    assert_string_equal (answer.model, "m-1");
}

static void chat_ends_with_a_reason_and_counts_after_it (void **state)
{
    (void)state;
    char text[256];
    const char *events[] = {
        "{\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]}",
        "{\"choices\":[{\"delta\":{\"content\":\"yes\"}}]}",
        "{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}",
        "{\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,\"cost\":0.25,"
        "\"prompt_tokens_details\":{\"cached_tokens\":3}}}",
        "[DONE]",
        NULL};
    rota_answer_t answer = answer_to (ROTA_API_CHAT, events, text);
    assert_string_equal (text, "yes");
    assert_true (answer.ended && answer.finished);
    assert_int_equal (answer.input.value, 5);
    assert_int_equal (answer.cached.value, 3);
    assert_int_equal (answer.output.value, 2);
    assert_true (answer.cost_usd > 0.24 && answer.cost_usd < 0.26);
    events[2] = NULL;
    assert_false (answer_to (ROTA_API_CHAT, events, text).ended);
}

static void a_response_is_not_said_twice (void **state)
{
    (void)state;
    char text[256];
    const char *item = "{\"type\":\"response.output_item.done\",\"item\":{\"type\":\"message\",\"content\":"
                       "[{\"type\":\"output_text\",\"text\":\"yes\"}]}}";
    const char *done = "{\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":5,"
                       "\"output_tokens\":2}}}";
    const char *pieces[] = {"{\"type\":\"response.output_text.delta\",\"delta\":\"yes\"}", item, done, NULL};
    rota_answer_t answer = answer_to (ROTA_API_RESPONSES, pieces, text);
    assert_string_equal (text, "yes");
    assert_true (answer.ended && answer.input.value == 5 && !answer.cached.known);
    assert_true (answer_to (ROTA_API_RESPONSES, pieces + 1, text).ended);
    assert_string_equal (text, "yes");
}

static void an_error_inside_a_stream_is_no_end (void **state)
{
    (void)state;
    char text[256];
    const char *events[] = {
        "{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}",
        "{\"error\":{\"type\":\"server_error\",\"code\":\"overloaded\",\"message\":\"Busy\"}}", "[DONE]",
        NULL};
    rota_answer_t answer = answer_to (ROTA_API_CHAT, events, text);
    assert_true (answer.failed && !answer.ended);
    assert_string_equal (answer.error_code, "overloaded");
    assert_string_equal (answer.error_text, "Busy");
}

static void errors_come_in_many_forms (void **state)
{
    (void)state;
    static const struct {
        const char *body, *text;
    } BODIES[] = {
        {"{\"error\":{\"message\":\"a\"}}", "a"},
        {"{\"error\":\"b\"}", "b"},
        {"{\"detail\":\"c\"}", "c"},
        {"[{\"error\":{\"message\":\"d\",\"code\":429}}]\n", "d"},
        {"upstream request timeout\n", "upstream request timeout"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof BODIES / sizeof *BODIES; i++) {
        rota_answer_t answer = {.now_ms = NOW_MS};
        rota_answer_error (&answer, BODIES[i].body, strlen (BODIES[i].body));
        assert_true (answer.failed);
        assert_string_equal (answer.error_text, BODIES[i].text);
    }
    rota_answer_t answer = {.now_ms = NOW_MS};
    const char *window = "{\"error\":{\"type\":\"usage_limit_reached\",\"resets_in_seconds\":60}}";
    rota_answer_error (&answer, window, strlen (window));
    assert_int_equal (answer.until_ms, NOW_MS + 60000);
}

/* ---- headers, addresses */

static int64_t until_of (const char *const *headers)
{
    rota_ask_limits_t limits = {.count = 0};
    for (; *headers; headers++)
        rota_ask_limits_header (&limits, *headers, strlen (*headers), NOW_MS);
    return rota_ask_limits_until_ms (&limits);
}

static void the_header_that_says_when_to_come_again_wins (void **state)
{
    (void)state;
    const char *headers[] = {"x-ratelimit-remaining-requests: 10",
                             "x-ratelimit-reset-requests: 5m",
                             "x-ratelimit-remaining-tokens: 0\r\n",
                             "x-ratelimit-reset-tokens: 30s\r\n",
                             NULL,
                             NULL};
    assert_int_equal (until_of (headers), NOW_MS + 30000);
    headers[4] = "Retry-After: 7\r\n";
    assert_int_equal (until_of (headers), NOW_MS + 7000);
    const char *window[] = {"anthropic-ratelimit-unified-status: rejected",
                            "anthropic-ratelimit-unified-reset: 1795420800",
                            "anthropic-ratelimit-unified-7d-reset: 1795500000", NULL};
    assert_int_equal (until_of (window), INT64_C (1795420800000));
    window[0] = "anthropic-ratelimit-unified-status: allowed";
    assert_int_equal (until_of (window), 0);
    const char *nothing[] = {"retry-after: soon", "no header", ":", "", NULL};
    assert_int_equal (until_of (nothing), 0);
}

static void an_address_is_made_of_what_is_given (void **state)
{
    (void)state;
    static const struct {
        const char *url, *address;
        rota_api_t api;
        bool plain, local;
    } URLS[] = {
        {"https://api.example", "https://api.example/v1/messages", ROTA_API_ANTHROPIC, false, false},
        {"https://api.example/v1/", "https://api.example/v1/responses", ROTA_API_RESPONSES, false, false},
        {"http://127.0.0.1:80/a/v1", "http://127.0.0.1:80/a/v1/chat/completions", ROTA_API_CHAT, false, true},
        {"http://localhost:1/x/chat/completions", "http://localhost:1/x/chat/completions", ROTA_API_CHAT,
         false, true},
        {"http://[::1]:1", "http://[::1]:1/v1/messages", ROTA_API_ANTHROPIC, false, true},
        {"https://a.example/d?version=1", "https://a.example/d?version=1", ROTA_API_CHAT, false, false},
        {"http://far.example", "http://far.example/v1/messages", ROTA_API_ANTHROPIC, true, false},
        {"http://far.example", NULL, ROTA_API_ANTHROPIC, false, false},
        {"http://127.0.0.1.example", NULL, ROTA_API_ANTHROPIC, false, false},
        {"http://127.0.0.1@far.example", NULL, ROTA_API_ANTHROPIC, false, false},
        {"https://me:secret@api.example", NULL, ROTA_API_ANTHROPIC, false, false},
        {"file:///etc/passwd", NULL, ROTA_API_ANTHROPIC, true, false},
        {"", NULL, ROTA_API_ANTHROPIC, false, false},
    };
    for (size_t i = 0; i < sizeof URLS / sizeof *URLS; i++) {
        rota_ask_target_t target = {.local = false};
        rota_error_t error = {""};
        int status = rota_ask_target (URLS[i].url, URLS[i].api, URLS[i].plain, &target, &error);
        if (!URLS[i].address) {
            assert_int_equal (status, -EINVAL);
            assert_true (error.text[0]);
            continue;
        }
        assert_int_equal (status, 0);
        assert_string_equal (target.address, URLS[i].address);
        assert_int_equal (target.local, URLS[i].local);
    }
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (events_are_the_same_wherever_the_stream_is_cut),
        cmocka_unit_test (an_event_beyond_the_bound_is_refused),
        cmocka_unit_test (anthropic_counts_what_came_from_the_cache_as_input),
        cmocka_unit_test (chat_ends_with_a_reason_and_counts_after_it),
        cmocka_unit_test (a_response_is_not_said_twice),
        cmocka_unit_test (an_error_inside_a_stream_is_no_end),
        cmocka_unit_test (errors_come_in_many_forms),
        cmocka_unit_test (the_header_that_says_when_to_come_again_wins),
        cmocka_unit_test (an_address_is_made_of_what_is_given),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
