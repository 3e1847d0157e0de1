/* Any bytes as the output of an agent program: the first byte chooses the reader, whether there are rules for
 * sentences and whether the last words are wanted. No crash, words that can be shown, the same verdict
 * however the bytes were cut, and success only from one who said so and ended well. */
#include "agents/described.h"
#include "bus/names.h"
#include "proto/words.h"
#include "tests/fuzz/material.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NOW_MS 1795419000000

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

#define WITH_LIMITS 4
#define MORE_READERS 8
#define WITH_ANSWER 64

static rota_reader_t *const READERS[] = {rota_read_claude, rota_read_codex_exec, rota_read_codex_rpc,
                                         rota_read_acp};

static const char DESCRIPTION[] = "name: demo\narguments: [demo]\nsuccess: '^DONE'\nerror: '^ERROR: (.*)'\n"
                                  "session: 'session=([a-z0-9-]+)'\ninput_tokens: 'in=([0-9]+)'\n"
                                  "output_tokens: 'out=([0-9]+)'\ncost_usd: 'cost ([0-9.]+)'\nusage: sum\n";

static rota_reader_t *choose (uint8_t byte)
{
    if (byte & MORE_READERS)
        return byte & 1 ? rota_read_described : rota_read_http;
    return READERS[byte & 3];
}

static void read_in_pieces (const char *bytes, size_t size, size_t piece, rota_reader_t *reader,
                            rota_reading_t *reading)
{
    rota_lines_t lines = {0};
    while (size) {
        size_t part = size < piece ? size : piece;
        if (rota_lines_feed (&lines, bytes, part, reader, reading) < 0)
            abort ();
        bytes += part;
        size -= part;
    }
    rota_lines_end (&lines, reader, reading);
    if (lines.bytes || lines.used || lines.capacity)
        abort ();
}

static void check_text (const char *text, size_t capacity)
{
    size_t length = strnlen (text, capacity);
    if (length == capacity || !rota_text_is_valid (text, length, false))
        abort ();
}

static void check_reading (const rota_reading_t *reading)
{
    rota_reading_verdict_t verdict;
    static const int EXIT_CODES[] = {0, 1, -1};
    check_text (reading->message, sizeof reading->message);
    check_text (reading->session, sizeof reading->session);
    check_text (reading->version, sizeof reading->version);
    check_text (reading->model, sizeof reading->model);
    check_text (reading->window, sizeof reading->window);
    if (reading->used > 1 || reading->until_ms < 0 || reading->used_until_ms < 0)
        abort ();
    for (size_t i = 0; i < sizeof EXIT_CODES / sizeof *EXIT_CODES; i++) {
        rota_reading_judge (reading, EXIT_CODES[i], EXIT_CODES[i] < 0 ? 9 : 0, &verdict);
        check_text (verdict.message, sizeof verdict.message);
        bool ok = verdict.result_class == RESULT (OK);
        if (verdict.result_class == RESULT (UNSPECIFIED) || (ok && !reading->completed) ||
            (ok && EXIT_CODES[i] != 0 && !reading->inner.serves) || (!ok && !*verdict.message))
            abort ();
    }
}

static void compare (const rota_reading_t *a, const rota_reading_t *b)
{
    if (a->result_class != b->result_class || a->limit_kind != b->limit_kind || a->until_ms != b->until_ms ||
        a->completed != b->completed || strcmp (a->message, b->message) != 0 ||
        a->usage.input_tokens.value != b->usage.input_tokens.value ||
        a->usage.cost_nano_usd.value != b->usage.cost_nano_usd.value)
        abort ();
}

static void compare_answers (rota_last_words_t *a, rota_last_words_t *b)
{
    bool same =
        a->size_bytes == b->size_bytes && (!a->size_bytes || memcmp (a->bytes, b->bytes, a->size_bytes) == 0);
    if (!same || a->size_bytes > ROTA_ANSWER_MAX_BYTES || (a->bytes && a->bytes[a->size_bytes]))
        abort ();
    free (a->bytes);
    free (b->bytes);
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    static rota_limits_t *limits;
    static rota_described_t *described;
    rota_last_words_t answers[2] = {{NULL, 0}, {NULL, 0}};
    rota_reading_t whole, pieces;
    if (!size)
        return 0;
    if (!limits && !(limits = rota_limits_new (NULL, NULL)))
        abort ();
    if (!described && !(described = rota_described_read (
                            fuzz_file ((const uint8_t *)DESCRIPTION, sizeof DESCRIPTION - 1), NULL)))
        abort ();
    rota_reader_t *reader = choose (data[0]);
    const char *bytes = (const char *)data + 1;
    rota_reading_init (&whole, data[0] & WITH_LIMITS ? limits : NULL, NOW_MS);
    whole.zone = "UTC";
    whole.description = described;
    pieces = whole;
    if (data[0] & WITH_ANSWER) {
        whole.answer = &answers[0];
        pieces.answer = &answers[1];
    }
    read_in_pieces (bytes, size - 1, size, reader, &whole);
    read_in_pieces (bytes, size - 1, 7, reader, &pieces);
    check_reading (&whole);
    compare (&whole, &pieces);
    compare_answers (&answers[0], &answers[1]);
    return 0;
}
