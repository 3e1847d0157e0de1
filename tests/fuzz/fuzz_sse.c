/* Any bytes as the stream of a model API: the first byte chooses the API. No crash, the same events, words
 * and end however the bytes were cut, and valid UTF-8 alone in what is said. */
#include "agents/answer.h"
#include "agents/ask_limits.h"
#include "agents/sse.h"
#include "bus/names.h"

#include <stdlib.h>
#include <string.h>

#define NOW_MS INT64_C (1795417200000)

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

typedef struct {
    rota_answer_t answer;
    uint64_t hash, events;
} heard_t;

static void say (void *context, const char *text, size_t size_bytes)
{
    heard_t *heard = context;
    for (size_t at = 0, step; at < size_bytes; at += step)
        if (!(step = rota_utf8_sequence (text + at, size_bytes - at)))
            abort ();
    heard->hash = heard->hash * 31 + rota_hash (text, size_bytes);
}

static int take (void *context, const char *name, const char *data, size_t size_bytes)
{
    heard_t *heard = context;
    if (data[size_bytes] || strlen (name) >= ROTA_SSE_NAME_BYTES)
        abort ();
    heard->hash = heard->hash * 31 + rota_hash (name, strlen (name)) + rota_hash (data, size_bytes);
    heard->events++;
    rota_answer_event (&heard->answer, data, size_bytes, say, heard);
    return heard->answer.finished;
}

static heard_t hear (rota_api_t api, const char *bytes, size_t size, size_t piece)
{
    heard_t heard = {.answer = {.api = api, .now_ms = NOW_MS}};
    rota_sse_t sse = {0};
    int status = 0;
    while (size && status == 0) {
        size_t part = size < piece ? size : piece;
        status = rota_sse_feed (&sse, bytes, part, take, &heard);
        bytes += part;
        size -= part;
    }
    rota_sse_end (&sse);
    return heard;
}

static void check_text (const char *text, size_t capacity)
{
    size_t length = strnlen (text, capacity);
    if (length == capacity || !rota_text_is_valid (text, length, false))
        abort ();
}

static void check_answer (const rota_answer_t *answer)
{
    check_text (answer->model, sizeof answer->model);
    check_text (answer->stop, sizeof answer->stop);
    check_text (answer->error_type, sizeof answer->error_type);
    check_text (answer->error_code, sizeof answer->error_code);
    check_text (answer->error_text, sizeof answer->error_text);
    if ((answer->ended && answer->failed) || answer->until_ms < 0)
        abort ();
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    rota_api_t api = data[0] % ROTA_API_COUNT;
    const char *bytes = (const char *)data + 1;
    heard_t whole = hear (api, bytes, size - 1, size), pieces = hear (api, bytes, size - 1, 3);
    check_answer (&whole.answer);
    if (whole.hash != pieces.hash || whole.events != pieces.events ||
        whole.answer.ended != pieces.answer.ended)
        abort ();
    rota_answer_t error = {.api = api, .now_ms = NOW_MS};
    rota_answer_error (&error, bytes, size - 1);
    check_answer (&error);
    rota_ask_limits_t limits = {.count = 0};
    rota_ask_limits_header (&limits, bytes, size - 1, NOW_MS);
    if (rota_ask_limits_until_ms (&limits) < 0)
        abort ();
    return 0;
}
