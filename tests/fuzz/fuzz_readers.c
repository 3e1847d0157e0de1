/* Any bytes as the output of an agent program: the first byte chooses the reader and whether there are rules
 * for sentences. No crash, words that can be shown, the same verdict however the bytes were cut, and success
 * only from one who said so and ended well. */
#include "agents/reading.h"
#include "bus/names.h"
#include "proto/words.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NOW_MS 1795419000000

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static rota_reader_t *const READERS[] = {rota_read_claude, rota_read_codex_exec, rota_read_codex_rpc,
                                         rota_read_acp, rota_read_http};

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

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    static rota_limits_t *limits;
    rota_reading_t whole, pieces;
    if (!size)
        return 0;
    bool with_limits = data[0] & 4;
    if (with_limits && !limits && !(limits = rota_limits_new (NULL, NULL)))
        abort ();
    rota_reader_t *reader = READERS[data[0] & 3];
    const char *bytes = (const char *)data + 1;
    rota_reading_init (&whole, with_limits ? limits : NULL, NOW_MS);
    whole.zone = "UTC";
    pieces = whole;
    read_in_pieces (bytes, size - 1, size, reader, &whole);
    read_in_pieces (bytes, size - 1, 7, reader, &pieces);
    check_reading (&whole);
    compare (&whole, &pieces);
    return 0;
}
