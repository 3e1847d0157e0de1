/* Any bytes as the file that describes an agent program and, behind a NUL, as what that program prints: no
 * crash, a fault is told, a description that is taken is whole, and words can be shown. */
#include "agents/described.h"
#include "bus/names.h"
#include "proto/words.h"
#include "tests/fuzz/material.h"

#include <stdlib.h>
#include <string.h>

#define NOW_MS INT64_C (1795417200000)
#define MOST_BYTES 8192

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void check_description (const rota_described_t *described)
{
    const char *name = rota_described_name (described), *reason;
    const char *const *arguments = rota_described_arguments (described);
    int stop = rota_described_stop_signal (described);
    if (!name || rota_id_check (name, strlen (name), &reason) < 0 || !arguments || !arguments[0] ||
        stop <= 0 || !rota_described_version (described))
        abort ();
}

static void read_output (const rota_described_t *described, const char *bytes, size_t size)
{
    rota_reading_t reading;
    rota_reading_verdict_t verdict;
    rota_lines_t lines = {0};
    rota_reading_init (&reading, NULL, NOW_MS);
    reading.zone = "UTC";
    reading.description = described;
    if (rota_lines_feed (&lines, bytes, size, rota_read_described, &reading) < 0)
        abort ();
    rota_lines_end (&lines, rota_read_described, &reading);
    rota_reading_judge (&reading, 0, 0, &verdict);
    if (!rota_text_is_valid (verdict.message, strlen (verdict.message), false) ||
        !rota_text_is_valid (reading.session, strlen (reading.session), false))
        abort ();
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    rota_error_t error = {""};
    const uint8_t *end = size ? memchr (data, 0, size) : NULL;
    size_t length = end ? (size_t)(end - data) : size;
    if (size > MOST_BYTES || fuzz_is_costly (data, length))
        return 0;
    rota_described_t *described = rota_described_read (fuzz_file (data, length), &error);
    if (described) {
        check_description (described);
        if (end)
            read_output (described, (const char *)end + 1, size - length - 1);
    } else if (!error.text[0]) {
        abort ();
    }
    rota_described_destroy (&described);
    return 0;
}
