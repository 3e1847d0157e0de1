/* The spool: what a shim records is there after a crash, and nothing else is believed. */
#include "agents/spool.h"
#include "agents/spool_format.h"
#include "bus/names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

static char base[64];

static rota_spool_running_t running_of (uint64_t key)
{
    rota_spool_running_t running = {.store = {1, 2, 3},
                                    .key = key,
                                    .number = 4,
                                    .task_id = "tidy/the \"house\"",
                                    .boot_id = {9},
                                    .shim_pid = 4711,
                                    .shim_start_ticks = UINT64_MAX - 1,
                                    .started_ms = 1700000000000,
                                    .goes_on = true,
                                    .epoch = UINT64_MAX - 7};
    return running;
}

static rota_outcome_t outcome_of (uint64_t key)
{
    rota_outcome_t outcome = {.store = {1, 2, 3},
                              .key = key,
                              .number = 4,
                              .task_id = "tidy/the \"house\"",
                              .started = true,
                              .exit_code = -1,
                              .signal = 15,
                              .end = ROTA_END_SILENCE,
                              .tree_dead = true,
                              .started_ms = 1700000000000,
                              .finished_ms = 1700000001000,
                              .user_us = 1,
                              .system_us = 2,
                              .max_rss_bytes = 3,
                              .output_bytes = UINT64_MAX,
                              .output_dropped_bytes = 5,
                              .message = "said \xc3\xa9"};
    return outcome;
}

static void name_of (uint64_t key, char ret_name[ROTA_SPOOL_NAME_BYTES])
{
    uint8_t store[16] = {1, 2, 3};
    rota_spool_name (store, key, 4, ret_name);
}

static void write_record (uint64_t key, bool finished)
{
    rota_spool_running_t running = running_of (key);
    rota_outcome_t outcome = outcome_of (key);
    int fd = -1;
    assert_int_equal (rota_spool_begin (base, &running, &fd, NULL), 0);
    if (finished)
        assert_int_equal (rota_spool_finish (base, fd, &outcome), 0);
    close (fd);
}

static void load (uint64_t key, uint8_t ret_bytes[ROTA_SPOOL_FILE_BYTES])
{
    char name[ROTA_SPOOL_NAME_BYTES], path[256];
    name_of (key, name);
    snprintf (path, sizeof path, "%s/%s", base, name);
    int fd = open (path, O_RDONLY);
    assert_int_equal (read (fd, ret_bytes, ROTA_SPOOL_FILE_BYTES), ROTA_SPOOL_FILE_BYTES);
    close (fd);
}

static void seal (uint8_t *bytes, uint32_t length)
{
    uint64_t sum = rota_hash (bytes + 24, length - 24);
    for (int i = 0; i < 4; i++)
        bytes[12 + i] = (uint8_t)(length >> 8 * i);
    for (int i = 0; i < 8; i++)
        bytes[16 + i] = (uint8_t)(sum >> 8 * i);
}

/* As hosts wrote them that knew no epochs of coordinators: after an upgrade their results are reported. */
static void a_record_of_an_older_host_is_read (void **state)
{
    uint8_t bytes[ROTA_SPOOL_FILE_BYTES] = {0};
    rota_spool_running_t running = running_of (1);
    rota_spool_record_t record;
    const char *why = NULL;
    (void)state;
    rota_spool_encode_running (&running, bytes);
    uint32_t length = bytes[12] | (uint32_t)bytes[13] << 8;
    memset (bytes + length - 8, 0, 8);
    seal (bytes, length - 8);
    assert_int_equal (rota_spool_decode (bytes, sizeof bytes, &record, &why), 0);
    assert_int_equal (record.running.epoch, 0);
    assert_true (record.running.goes_on);
    assert_int_equal (record.running.key, 1);
    seal (bytes, length - 4); /* cut in the middle of the field */
    assert_int_equal (rota_spool_decode (bytes, sizeof bytes, &record, &why), -EBADMSG);
}

static void put_file (const char *name, const void *bytes, size_t size)
{
    char path[512];
    snprintf (path, sizeof path, "%s/%s", base, name);
    int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal (write (fd, bytes, size), (ssize_t)size);
    close (fd);
}

typedef struct {
    int running, finished, bad;
    char why[8][128];
} seen_t;

static void take (void *context, const char *name, const rota_spool_record_t *record)
{
    seen_t *seen = context;
    (void)name;
    seen->finished += record->finished;
    seen->running += !record->finished;
}

static void bad (void *context, const char *name, const char *why)
{
    seen_t *seen = context;
    (void)name;
    snprintf (seen->why[seen->bad % 8], sizeof seen->why[0], "%s", why);
    seen->bad++;
}

static void a_record_is_read_as_it_was_written (void **state)
{
    (void)state;
    char name[ROTA_SPOOL_NAME_BYTES];
    rota_spool_record_t record;
    rota_spool_running_t running = running_of (7);
    rota_outcome_t outcome = outcome_of (7);
    write_record (7, true);
    name_of (7, name);
    assert_int_equal (rota_spool_read (base, name, &record), 0);
    assert_true (record.finished);
    assert_memory_equal (record.running.store, running.store, 16);
    assert_memory_equal (record.running.boot_id, running.boot_id, 16);
    assert_string_equal (record.running.task_id, running.task_id);
    assert_int_equal (record.running.key, 7);
    assert_int_equal (record.running.number, 4);
    assert_int_equal (record.running.shim_pid, 4711);
    assert_true (record.running.shim_start_ticks == UINT64_MAX - 1);
    assert_int_equal (record.running.started_ms, running.started_ms);
    assert_true (record.running.goes_on);
    assert_int_equal (record.running.epoch, UINT64_MAX - 7);
    assert_memory_equal (record.outcome.store, outcome.store, 16);
    assert_string_equal (record.outcome.task_id, outcome.task_id);
    assert_string_equal (record.outcome.message, outcome.message);
    assert_int_equal (record.outcome.exit_code, -1);
    assert_int_equal (record.outcome.signal, 15);
    assert_int_equal (record.outcome.end, ROTA_END_SILENCE);
    assert_int_equal (record.outcome.finished_ms, outcome.finished_ms);
    assert_true (record.outcome.output_bytes == UINT64_MAX);
    assert_int_equal (record.outcome.max_rss_bytes, 3);
}

static void a_record_without_its_end_is_a_running_attempt (void **state)
{
    (void)state;
    char name[ROTA_SPOOL_NAME_BYTES];
    rota_spool_record_t record;
    write_record (7, false);
    name_of (7, name);
    assert_int_equal (rota_spool_read (base, name, &record), 0);
    assert_false (record.finished);
    assert_int_equal (record.running.shim_pid, 4711);
}

static void a_torn_end_leaves_a_running_attempt (void **state)
{
    (void)state;
    uint8_t whole[ROTA_SPOOL_FILE_BYTES], torn[ROTA_SPOOL_FILE_BYTES];
    uint8_t encoded[ROTA_SPOOL_OUTCOME_MAX_BYTES];
    rota_outcome_t outcome = outcome_of (7);
    size_t size = rota_spool_encode_outcome (&outcome, encoded);
    write_record (7, true);
    load (7, whole);
    for (size_t cut = 0; cut < size; cut++) {
        rota_spool_record_t record;
        const char *why;
        memcpy (torn, whole, sizeof torn);
        memset (torn + ROTA_SPOOL_OUTCOME_OFFSET + cut, 0, sizeof torn - ROTA_SPOOL_OUTCOME_OFFSET - cut);
        assert_int_equal (rota_spool_decode (torn, sizeof torn, &record, &why), 0);
        bool same = memcmp (torn, whole, sizeof torn) == 0;
        assert_int_equal (record.finished, same);
    }
}

static void no_changed_byte_of_the_first_half_is_believed (void **state)
{
    (void)state;
    uint8_t bytes[ROTA_SPOOL_FILE_BYTES];
    write_record (7, true);
    load (7, bytes);
    size_t used = ROTA_SPOOL_OUTCOME_OFFSET;
    while (bytes[used - 1] == 0)
        used--;
    for (size_t at = 0; at < used; at++) {
        rota_spool_record_t record;
        const char *why = NULL;
        bytes[at] ^= 0x10;
        assert_int_equal (rota_spool_decode (bytes, sizeof bytes, &record, &why), -EBADMSG);
        assert_non_null (why);
        bytes[at] ^= 0x10;
    }
}

static void every_record_is_listed_once (void **state)
{
    (void)state;
    seen_t seen = {0};
    for (uint64_t key = 1; key <= 20; key++)
        write_record (key, key % 2);
    assert_int_equal (rota_spool_list (base, take, bad, &seen), 20);
    assert_int_equal (seen.finished, 10);
    assert_int_equal (seen.running, 10);
    assert_int_equal (seen.bad, 0);
}

static void what_is_no_record_is_put_aside_and_said (void **state)
{
    (void)state;
    uint8_t bytes[ROTA_SPOOL_FILE_BYTES];
    char name[ROTA_SPOOL_NAME_BYTES], path[256];
    seen_t seen = {0};
    write_record (1, true);
    load (1, bytes);
    put_file ("empty.attempt", "", 0);
    put_file ("short.attempt", bytes, 100);
    put_file ("long.attempt", (uint8_t[9000]){0}, 9000);
    /* Whole, but under another's name: removing it would remove the other. */
    put_file ("0102030000000000000000000000000000-9-9.attempt", bytes, sizeof bytes);
    /* A newer version isn't ours to judge. */
    bytes[8] = 2;
    name_of (2, name);
    put_file (name, bytes, sizeof bytes);
    snprintf (path, sizeof path, "%s/dir.attempt", base);
    assert_int_equal (mkdir (path, 0700), 0);
    snprintf (path, sizeof path, "%s/link.attempt", base);
    assert_int_equal (symlink ("/etc/passwd", path), 0);
    snprintf (path, sizeof path, "%s/fifo.attempt", base);
    assert_int_equal (mkfifo (path, 0600), 0);
    put_file ("notes.txt", "x", 1);

    assert_int_equal (rota_spool_list (base, take, bad, &seen), 1);
    assert_int_equal (seen.finished, 1);
    assert_int_equal (seen.bad, 8);
    memset (&seen, 0, sizeof seen);
    assert_int_equal (rota_spool_list (base, take, bad, &seen), 1);
    assert_int_equal (seen.bad, 0);
    snprintf (path, sizeof path, "%s/quarantine/%s", base, name);
    assert_int_equal (access (path, F_OK), 0);
    snprintf (path, sizeof path, "%s/notes.txt", base);
    assert_int_equal (access (path, F_OK), 0);
}

static void halves_of_two_attempts_make_no_record (void **state)
{
    (void)state;
    uint8_t bytes[ROTA_SPOOL_FILE_BYTES];
    rota_outcome_t outcome = outcome_of (8);
    rota_spool_record_t record;
    const char *why;
    write_record (7, true);
    load (7, bytes);
    memset (bytes + ROTA_SPOOL_OUTCOME_OFFSET, 0, sizeof bytes - ROTA_SPOOL_OUTCOME_OFFSET);
    rota_spool_encode_outcome (&outcome, bytes + ROTA_SPOOL_OUTCOME_OFFSET);
    assert_int_equal (rota_spool_decode (bytes, sizeof bytes, &record, &why), -EBADMSG);
}

static void values_out_of_range_are_refused (void **state)
{
    (void)state;
    uint8_t bytes[ROTA_SPOOL_OUTCOME_MAX_BYTES];
    rota_outcome_t outcome = outcome_of (7), decoded;
    size_t size = rota_spool_encode_outcome (&outcome, bytes);
    assert_int_equal (rota_spool_decode_outcome (bytes, size, &decoded), 0);
    assert_int_equal (rota_spool_decode_outcome (bytes, size - 1, &decoded), -EBADMSG);

    outcome.end = (rota_end_t)99;
    size = rota_spool_encode_outcome (&outcome, bytes);
    assert_int_equal (rota_spool_decode_outcome (bytes, size, &decoded), -EBADMSG);
    outcome = outcome_of (7);
    outcome.signal = 1000;
    size = rota_spool_encode_outcome (&outcome, bytes);
    assert_int_equal (rota_spool_decode_outcome (bytes, size, &decoded), -EBADMSG);
    outcome = outcome_of (7);
    outcome.output_bytes = 1;
    size = rota_spool_encode_outcome (&outcome, bytes);
    assert_int_equal (rota_spool_decode_outcome (bytes, size, &decoded), -EBADMSG);
}

static void a_full_disk_between_start_and_end_does_not_lose_the_end (void **state)
{
    (void)state;
    char name[ROTA_SPOOL_NAME_BYTES];
    rota_spool_running_t running = running_of (7);
    rota_outcome_t outcome = outcome_of (7);
    rota_spool_record_t record;
    int fd = -1;
    assert_int_equal (rota_spool_begin (base, &running, &fd, NULL), 0);
    struct stat before, after;
    assert_int_equal (fstat (fd, &before), 0);
    assert_int_equal (rota_spool_finish (base, fd, &outcome), 0);
    assert_int_equal (fstat (fd, &after), 0);
    close (fd);
    /* Nothing was allocated for it: size and blocks were there from the start. */
    assert_int_equal (before.st_size, after.st_size);
    assert_int_equal (before.st_size, ROTA_SPOOL_FILE_BYTES);
    name_of (7, name);
    assert_int_equal (rota_spool_read (base, name, &record), 0);
    assert_true (record.finished);
}

static void a_disk_that_is_full_at_the_start_leaves_no_file (void **state)
{
    (void)state;
    rota_spool_running_t running = running_of (7);
    rota_error_t error = {""};
    struct rlimit limit, old;
    int fd = -1;
    getrlimit (RLIMIT_FSIZE, &old);
    limit = old;
    limit.rlim_cur = 1000;
    setrlimit (RLIMIT_FSIZE, &limit);
    signal (SIGXFSZ, SIG_IGN);
    int status = rota_spool_begin (base, &running, &fd, &error);
    setrlimit (RLIMIT_FSIZE, &old);
    assert_int_equal (status, -EFBIG);
    assert_int_equal (fd, -1);
    assert_true (error.text[0]);
    seen_t seen = {0};
    assert_int_equal (rota_spool_list (base, take, bad, &seen), 0);
    assert_int_equal (seen.bad, 0);
}

static void removing_twice_is_no_error (void **state)
{
    (void)state;
    char name[ROTA_SPOOL_NAME_BYTES];
    rota_spool_record_t record;
    write_record (7, true);
    name_of (7, name);
    assert_int_equal (rota_spool_remove (base, name), 0);
    assert_int_equal (rota_spool_remove (base, name), 0);
    assert_int_equal (rota_spool_read (base, name, &record), -ENOENT);
}

static int open_base (void **state)
{
    (void)state;
    strcpy (base, "/tmp/rota-spool-XXXXXX");
    return mkdtemp (base) ? 0 : -1;
}

static int close_base (void **state)
{
    (void)state;
    char command[128];
    snprintf (command, sizeof command, "rm -rf '%s'", base);
    return system (command);
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, open_base, close_base)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (a_record_is_read_as_it_was_written),
        TEST (a_record_of_an_older_host_is_read),
        TEST (a_record_without_its_end_is_a_running_attempt),
        TEST (a_torn_end_leaves_a_running_attempt),
        TEST (no_changed_byte_of_the_first_half_is_believed),
        TEST (every_record_is_listed_once),
        TEST (what_is_no_record_is_put_aside_and_said),
        TEST (halves_of_two_attempts_make_no_record),
        TEST (values_out_of_range_are_refused),
        TEST (a_full_disk_between_start_and_end_does_not_lose_the_end),
        TEST (a_disk_that_is_full_at_the_start_leaves_no_file),
        TEST (removing_twice_is_no_error),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
