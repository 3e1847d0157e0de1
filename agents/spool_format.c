/* The bytes of a spool file; the rules are in spool.h. */
#include "agents/spool_format.h"
#include "agents/spool.h"
#include "bus/names.h"

#include <errno.h>
#include <string.h>

#define VERSION 1
#define HEADER_BYTES 24 /* magic 8, version 4, length 4, checksum 8 */
#define HALF_BYTES ROTA_SPOOL_OUTCOME_OFFSET

static const char RUNNING_MAGIC[8] = "rota-run", OUTCOME_MAGIC[8] = "rota-end";

typedef struct {
    uint8_t *at;
    const uint8_t *end;
    bool failed;
} cursor_t;

static void put_bytes (cursor_t *cursor, const void *bytes, size_t size)
{
    if ((size_t)(cursor->end - cursor->at) < size) {
        cursor->failed = true;
        return;
    }
    memcpy (cursor->at, bytes, size);
    cursor->at += size;
}

static void put_number (cursor_t *cursor, uint64_t value, int size)
{
    uint8_t bytes[8];
    for (int i = 0; i < size; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    put_bytes (cursor, bytes, (size_t)size);
}

static void put_text (cursor_t *cursor, const char *text, size_t capacity)
{
    size_t length = strnlen (text, capacity - 1);
    put_number (cursor, length, 2);
    put_bytes (cursor, text, length);
}

static void get_bytes (cursor_t *cursor, void *ret_bytes, size_t size)
{
    if (cursor->failed || (size_t)(cursor->end - cursor->at) < size) {
        cursor->failed = true;
        memset (ret_bytes, 0, size);
        return;
    }
    memcpy (ret_bytes, cursor->at, size);
    cursor->at += size;
}

static uint64_t get_number (cursor_t *cursor, int size)
{
    uint8_t bytes[8];
    uint64_t value = 0;
    get_bytes (cursor, bytes, (size_t)size);
    for (int i = 0; i < size; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

static bool get_flag (cursor_t *cursor)
{
    uint64_t value = get_number (cursor, 1);
    cursor->failed |= value > 1;
    return value == 1;
}

static void get_text (cursor_t *cursor, char *ret_text, size_t capacity)
{
    size_t length = (size_t)get_number (cursor, 2);
    if (length >= capacity)
        cursor->failed = true;
    if (cursor->failed)
        length = 0;
    get_bytes (cursor, ret_text, length);
    ret_text[length] = 0;
    cursor->failed |= strlen (ret_text) != length;
}

static size_t seal (uint8_t *bytes, const char magic[8], const cursor_t *cursor)
{
    size_t size = (size_t)(cursor->at - bytes);
    cursor_t header = {.at = bytes, .end = bytes + HEADER_BYTES};
    put_bytes (&header, magic, 8);
    put_number (&header, VERSION, 4);
    put_number (&header, size, 4);
    put_number (&header, rota_hash (bytes + HEADER_BYTES, size - HEADER_BYTES), 8);
    return size;
}

/* 0 and a cursor over the fields; -EBADMSG with the reason. */
static int open_half (const uint8_t *bytes, size_t size, const char magic[8], cursor_t *ret_cursor,
                      const char **ret_why)
{
    char found[8];
    cursor_t header = {.at = (uint8_t *)bytes, .end = bytes + size};
    get_bytes (&header, found, sizeof found);
    uint64_t version = get_number (&header, 4), length = get_number (&header, 4),
             check = get_number (&header, 8);

    *ret_why = "not a record";
    if (header.failed || memcmp (found, magic, 8) != 0)
        return -EBADMSG;
    *ret_why = "of another version";
    if (version != VERSION)
        return -EBADMSG;
    *ret_why = "its length is wrong";
    if (length < HEADER_BYTES || length > size)
        return -EBADMSG;
    *ret_why = "its checksum is wrong";
    if (rota_hash (bytes + HEADER_BYTES, length - HEADER_BYTES) != check)
        return -EBADMSG;
    *ret_cursor = (cursor_t){.at = (uint8_t *)bytes + HEADER_BYTES, .end = bytes + length};
    return 0;
}

void rota_spool_encode_running (const rota_spool_running_t *running, uint8_t ret_bytes[ROTA_SPOOL_FILE_BYTES])
{
    cursor_t cursor = {.at = ret_bytes + HEADER_BYTES, .end = ret_bytes + HALF_BYTES};
    put_bytes (&cursor, running->store, 16);
    put_number (&cursor, running->key, 8);
    put_number (&cursor, running->number, 4);
    put_text (&cursor, running->task_id, sizeof running->task_id);
    put_bytes (&cursor, running->boot_id, 16);
    put_number (&cursor, (uint64_t)running->shim_pid, 4);
    put_number (&cursor, running->shim_start_ticks, 8);
    put_number (&cursor, (uint64_t)running->started_ms, 8);
    put_number (&cursor, running->goes_on, 1);
    put_number (&cursor, running->epoch, 8);
    seal (ret_bytes, RUNNING_MAGIC, &cursor);
}

size_t rota_spool_encode_outcome (const rota_outcome_t *outcome,
                                  uint8_t ret_bytes[ROTA_SPOOL_OUTCOME_MAX_BYTES])
{
    cursor_t cursor = {.at = ret_bytes + HEADER_BYTES, .end = ret_bytes + ROTA_SPOOL_OUTCOME_MAX_BYTES};
    put_bytes (&cursor, outcome->store, 16);
    put_number (&cursor, outcome->key, 8);
    put_number (&cursor, outcome->number, 4);
    put_text (&cursor, outcome->task_id, sizeof outcome->task_id);
    put_number (&cursor, outcome->started, 1);
    put_number (&cursor, (uint32_t)outcome->exit_code, 4);
    put_number (&cursor, (uint32_t)outcome->signal, 4);
    put_number (&cursor, outcome->end, 1);
    put_number (&cursor, outcome->tree_dead, 1);
    put_number (&cursor, (uint64_t)outcome->started_ms, 8);
    put_number (&cursor, (uint64_t)outcome->finished_ms, 8);
    put_number (&cursor, outcome->user_us, 8);
    put_number (&cursor, outcome->system_us, 8);
    put_number (&cursor, outcome->max_rss_bytes, 8);
    put_number (&cursor, outcome->output_bytes, 8);
    put_number (&cursor, outcome->output_dropped_bytes, 8);
    put_text (&cursor, outcome->message, sizeof outcome->message);
    return seal (ret_bytes, OUTCOME_MAGIC, &cursor);
}

static int decode_outcome (const uint8_t *bytes, size_t size, rota_outcome_t *ret_outcome,
                           const char **ret_why)
{
    rota_outcome_t outcome = {0};
    cursor_t cursor;
    int status = open_half (bytes, size, OUTCOME_MAGIC, &cursor, ret_why);
    if (status < 0)
        return status;
    get_bytes (&cursor, outcome.store, 16);
    outcome.key = get_number (&cursor, 8);
    outcome.number = (uint32_t)get_number (&cursor, 4);
    get_text (&cursor, outcome.task_id, sizeof outcome.task_id);
    outcome.started = get_flag (&cursor);
    outcome.exit_code = (int)(int32_t)get_number (&cursor, 4);
    outcome.signal = (int)(int32_t)get_number (&cursor, 4);
    uint64_t end = get_number (&cursor, 1);
    outcome.end = (rota_end_t)end;
    outcome.tree_dead = get_flag (&cursor);
    outcome.started_ms = (int64_t)get_number (&cursor, 8);
    outcome.finished_ms = (int64_t)get_number (&cursor, 8);
    outcome.user_us = get_number (&cursor, 8);
    outcome.system_us = get_number (&cursor, 8);
    outcome.max_rss_bytes = get_number (&cursor, 8);
    outcome.output_bytes = get_number (&cursor, 8);
    outcome.output_dropped_bytes = get_number (&cursor, 8);
    get_text (&cursor, outcome.message, sizeof outcome.message);
    *ret_why = "a field of its outcome is out of range";
    if (cursor.failed || end > ROTA_END_MEMORY || outcome.signal < 0 || outcome.signal > 64 ||
        outcome.output_dropped_bytes > outcome.output_bytes)
        return -EBADMSG;
    *ret_outcome = outcome;
    return 0;
}

int rota_spool_decode_outcome (const uint8_t *bytes, size_t size_bytes, rota_outcome_t *ret_outcome)
{
    const char *why;
    return decode_outcome (bytes, size_bytes, ret_outcome, &why);
}

static int decode_running (const uint8_t *bytes, size_t size, rota_spool_running_t *ret_running,
                           const char **ret_why)
{
    rota_spool_running_t running = {0};
    cursor_t cursor;
    const char *reason;
    int status = open_half (bytes, size, RUNNING_MAGIC, &cursor, ret_why);
    if (status < 0)
        return status;
    get_bytes (&cursor, running.store, 16);
    running.key = get_number (&cursor, 8);
    running.number = (uint32_t)get_number (&cursor, 4);
    get_text (&cursor, running.task_id, sizeof running.task_id);
    get_bytes (&cursor, running.boot_id, 16);
    running.shim_pid = (pid_t)(int32_t)get_number (&cursor, 4);
    running.shim_start_ticks = get_number (&cursor, 8);
    running.started_ms = (int64_t)get_number (&cursor, 8);
    running.goes_on = get_flag (&cursor);
    if (cursor.at < cursor.end) /* hosts of before wrote none */
        running.epoch = get_number (&cursor, 8);
    *ret_why = "a field is out of range";
    if (cursor.failed || running.shim_pid <= 0 || running.number == 0 ||
        rota_id_check (running.task_id, strlen (running.task_id), &reason) < 0)
        return -EBADMSG;
    *ret_running = running;
    return 0;
}

static bool is_zero (const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

int rota_spool_decode (const uint8_t *bytes, size_t size_bytes, rota_spool_record_t *ret_record,
                       const char **ret_why)
{
    rota_spool_record_t record = {0};
    const rota_spool_running_t *running = &record.running;
    const rota_outcome_t *outcome = &record.outcome;

    *ret_why = "its size is wrong";
    if (size_bytes != ROTA_SPOOL_FILE_BYTES)
        return -EBADMSG;
    int status = decode_running (bytes, HALF_BYTES, &record.running, ret_why);
    if (status < 0)
        return status;
    if (!is_zero (bytes + HALF_BYTES, HALF_BYTES)) {
        /* A torn outcome is none: the attempt counts as lost then, with its tree looked for. But one that is
         * whole and says something else than the first half is no record of ours. */
        if (decode_outcome (bytes + HALF_BYTES, HALF_BYTES, &record.outcome, ret_why) == 0) {
            record.finished = true;
            *ret_why = "its halves are of two attempts";
            if (running->key != outcome->key || running->number != outcome->number ||
                memcmp (running->store, outcome->store, 16) != 0 ||
                strcmp (running->task_id, outcome->task_id) != 0)
                return -EBADMSG;
        }
    }
    *ret_record = record;
    return 0;
}
