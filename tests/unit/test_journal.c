/* What journal.h promises about batches and files: when what is written where, and what goes. */
#include "telemetry/compress.h"
#include "telemetry/journal.h"
#include "tests/unit/journal_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

static const uint8_t OTHER_STORE[16] = "restored-restore";

/* ---- batches */

static void a_hundred_records_are_one_write (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 99);
    journal_settle (journal);
    assert_int_equal (disk->writes, 0);
    journal_append_range (disk, journal, 100, 100);
    assert_int_equal (disk->writes, 2); /* the batch, and the cursor of the first sync */
    journal_append_range (disk, journal, 101, 300);
    assert_int_equal (disk->writes, 4);
    assert_int_equal (rota_journal_close (&journal), 0);
    disk_assert_events (disk, 1, 300);
}

static void fewer_are_written_five_seconds_after_the_first (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 1);
    assert_int_equal (rota_journal_tick (journal), 5000);
    disk_wait (disk, 4000);
    journal_append_range (disk, journal, 2, 2);
    assert_int_equal (rota_journal_tick (journal), 1000);
    disk_wait (disk, 999);
    rota_journal_tick (journal);
    assert_int_equal (disk->writes, 0);
    disk_wait (disk, 1);
    rota_journal_tick (journal);
    assert_int_equal (disk->writes, 2);
    disk_assert_events (disk, 1, 2);
    assert_int_equal (rota_journal_cursor (journal)->seq, 2);
    rota_journal_close (&journal);
}

static void closing_writes_and_syncs_what_waits (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 7);
    int syncs = disk->syncs;
    assert_int_equal (rota_journal_close (&journal), 0);
    assert_true (disk->syncs >= syncs + 2); /* the file, and the cursor */
    disk_assert_events (disk, 1, 7);

    journal = disk_journal (disk);
    assert_int_equal (rota_journal_last (journal), 7);
    assert_int_equal (rota_journal_cursor (journal)->seq, 7);
    rota_journal_close (&journal);
}

static void the_cursor_is_saved_after_the_sync_of_what_it_covers (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    memset (disk->trace, 0, sizeof disk->trace);
    journal_append_range (disk, journal, 1, 2);
    rota_journal_flush (journal);
    assert_string_equal (disk->trace, "owss" /* file and its name */ "owsrs" /* cursor */);
    memset (disk->trace, 0, sizeof disk->trace);
    journal_append_range (disk, journal, 3, 4);
    rota_journal_flush (journal);
    assert_string_equal (disk->trace, "ws"
                                      "owsrs");
    memset (disk->trace, 0, sizeof disk->trace);
    disk_wait (disk, DAY_MS);
    journal_settle (journal);
    assert_string_equal (disk->trace, "oww"
                                      "srsu"); /* the compressed file, and only then the plain one goes */
    rota_journal_close (&journal);
}

static void an_idle_journal_wants_nothing_for_an_hour (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 1);
    rota_journal_flush (journal);
    journal_settle (journal);
    int operations = disk->operations;
    assert_int_equal (rota_journal_tick (journal), 3600 * 1000);
    assert_int_equal (disk->operations, operations);
    rota_journal_close (&journal);
}

static void what_is_there_already_is_not_written_again (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 5);
    assert_int_equal (journal_append (disk, journal, 5), 0);
    assert_int_equal (journal_append (disk, journal, 2), 0);
    rota_journal_close (&journal);
    disk_assert_events (disk, 1, 5);
}

static void lost_events_leave_an_explicit_line (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 2);
    assert_int_equal (rota_journal_append_gap (journal, 3, 9), 1);
    disk_crash (disk, &journal);
    journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 2);
    assert_int_equal (rota_journal_append_gap (journal, 3, 9), 1);
    assert_int_equal (rota_journal_flush (journal), 0);
    disk_crash (disk, &journal);

    journal = disk_journal (disk);
    assert_int_equal (rota_journal_last (journal), 9);
    journal_append_range (disk, journal, 10, 11);
    rota_journal_close (&journal);
    const content_t *content = disk_read_all (disk);
    assert_int_equal (content->count, 4);
    assert_int_equal (content->gaps, 1);
}

/* ---- files */

static void a_new_day_begins_a_new_file_and_compresses_the_old_one (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 10);
    disk_wait (disk, DAY_MS);
    journal_append_range (disk, journal, 11, 12);
    rota_journal_flush (journal);
    journal_settle (journal);
    assert_false (disk_has (disk, FIRST_FILE));
    assert_true (disk_has (disk, FIRST_FILE ".gz"));
    assert_true (disk_has (disk, "events-2026-11-24.1.jsonl"));
    rota_journal_close (&journal);
    disk_assert_events (disk, 1, 12);
}

static void midnight_ends_a_file_without_any_event (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 3);
    rota_journal_flush (journal);
    disk_wait (disk, DAY_MS / 2 - 1000);
    assert_int_equal (rota_journal_tick (journal), 1000);
    disk_wait (disk, 1000);
    journal_settle (journal);
    assert_true (disk_has (disk, FIRST_FILE ".gz"));
    assert_false (disk_has (disk, FIRST_FILE));
    rota_journal_close (&journal);
}

static void a_clock_set_back_a_little_stays_in_the_file_and_far_begins_another (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    assert_int_equal (journal_append_at (journal, 1, NOON_MS), 1);
    assert_int_equal (journal_append_at (journal, 2, NOON_MS - DAY_MS), 1);
    assert_int_equal (journal_append_at (journal, 3, NOON_MS), 1);
    rota_journal_flush (journal);
    assert_int_equal (disk_read_all (disk)->files, 1);
    assert_int_equal (journal_append_at (journal, 4, NOON_MS - 2 * DAY_MS), 1);
    rota_journal_flush (journal);
    assert_true (disk_has (disk, "events-2026-11-21.1.jsonl"));
    assert_int_equal (journal_append_at (journal, 5, -5), 1);
    assert_int_equal (journal_append_at (journal, 6, INT64_MAX), 1);
    assert_int_equal (journal_append_at (journal, 7, NOON_MS), 1);
    rota_journal_close (&journal);
    assert_true (disk_has (disk, "events-1970-01-01.1.jsonl"));
    assert_true (disk_has (disk, "events-9999-12-31.1.jsonl"));
    assert_true (disk_has (disk, "events-2026-11-23.2.jsonl"));
}

static void events_of_days_past_go_to_files_of_those_days (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    disk_wait (disk, 3 * DAY_MS); /* the sink was away */
    for (uint64_t seq = 1; seq <= 30; seq++) {
        assert_int_equal (journal_append_at (journal, seq, NOON_MS + (int64_t)(seq / 11) * DAY_MS), 1);
        rota_journal_tick (journal);
    }
    rota_journal_close (&journal);
    assert_int_equal (disk_read_all (disk)->files, 3);
    disk_assert_events (disk, 1, 30);
}

static void a_full_file_is_followed_by_the_next_number (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal_sized (disk, 1000);
    for (uint64_t seq = 1; seq <= 60; seq++) {
        journal_append_range (disk, journal, seq, seq);
        rota_journal_tick (journal);
    }
    rota_journal_flush (journal);
    journal_settle (journal);
    assert_true (disk_has (disk, "events-2026-11-23.1.jsonl.gz"));
    assert_true (disk_has (disk, "events-2026-11-23.2.jsonl.gz"));
    assert_false (disk_has (disk, "events-2026-11-23.2.jsonl"));
    rota_journal_close (&journal);
    const content_t *content = disk_read_all (disk);
    assert_true (content->files >= 4);
    assert_int_equal (content->openings, content->files);
    assert_int_equal (content->count, 60);
}

static void compression_goes_in_pieces_and_gives_the_same_bytes (void **state)
{
    disk_t *disk = *state;
    enum { SIZE = 5 * ROTA_COMPRESS_STEP_BYTES / 2 };
    uint8_t *bytes = malloc (SIZE), *back = malloc (SIZE + 1);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)(i * i >> 3);
    disk_write_raw (disk, FIRST_FILE, "w", bytes, SIZE);
    int directory = open (disk->path, O_RDONLY | O_DIRECTORY);
    rota_compress_t *job = NULL;
    assert_int_equal (rota_compress_new (&disk->ops, directory, FIRST_FILE, &job), 0);
    int steps = 1;
    for (int rc; (rc = rota_compress_step (job)) != 0; steps++)
        assert_int_equal (rc, 1);
    assert_int_equal (steps, 4);
    rota_compress_destroy (&job);
    close (directory);

    assert_false (disk_has (disk, FIRST_FILE));
    gzFile stream = gzopen (disk_path (disk, FIRST_FILE ".gz"), "rb");
    assert_int_equal (gzread (stream, back, SIZE + 1), SIZE);
    assert_memory_equal (bytes, back, SIZE);
    gzclose (stream);
    free (bytes);
    free (back);
}

static void a_compression_that_was_interrupted_leaves_nothing_behind (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 5);
    rota_journal_close (&journal);
    disk_write_raw (disk, "events-2026-11-20.1.jsonl.gz.tmp", "w", "half", 4);
    disk_write_raw (disk, "cursor.tmp", "w", "half", 4);
    /* Renamed, but the plain file was not removed: */
    disk_write_raw (disk, "events-2026-11-20.2.jsonl", "w", "{\"time\":\"t\",\"seq\":1}\n", 21);
    gzFile stream = gzopen (disk_path (disk, "events-2026-11-20.2.jsonl.gz"), "wb");
    gzputs (stream, "{\"time\":\"t\",\"seq\":1}\n");
    gzclose (stream);
    /* And one that isn't whole, which can't come from us: */
    disk_write_raw (disk, "events-2026-11-20.3.jsonl", "w", "{\"time\":\"t\",\"seq\":1}\n", 21);
    disk_write_raw (disk, "events-2026-11-20.3.jsonl.gz", "w", "nothing good", 12);

    journal = disk_journal (disk);
    assert_false (disk_has (disk, "events-2026-11-20.1.jsonl.gz.tmp"));
    assert_false (disk_has (disk, "cursor.tmp"));
    assert_false (disk_has (disk, "events-2026-11-20.2.jsonl"));
    assert_true (disk_has (disk, "events-2026-11-20.2.jsonl.gz"));
    assert_true (disk_has (disk, "events-2026-11-20.3.jsonl"));
    assert_false (disk_has (disk, "events-2026-11-20.3.jsonl.gz"));
    journal_settle (journal);
    assert_true (disk_has (disk, "events-2026-11-20.3.jsonl.gz"));
    assert_true (disk_has (disk, FIRST_FILE)); /* in use */
    rota_journal_close (&journal);
}

static void a_failed_compression_keeps_the_file_and_tries_again_later (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 3);
    rota_journal_flush (journal);
    disk_wait (disk, DAY_MS);
    rota_journal_tick (journal);
    disk->write_error = ENOSPC;
    journal_settle (journal);
    assert_non_null (strstr (disk->notices, "journal.not_compressed"));
    assert_true (disk_has (disk, FIRST_FILE));
    assert_false (disk_has (disk, FIRST_FILE ".gz.tmp"));
    disk->write_error = 0;
    disk_wait (disk, ROTA_JOURNAL_COMPRESS_RETRY_MS);
    journal_settle (journal);
    assert_true (disk_has (disk, FIRST_FILE ".gz"));
    rota_journal_close (&journal);
    disk_assert_events (disk, 1, 3);
}

static void old_files_go_and_the_open_one_stays (void **state)
{
    disk_t *disk = *state;
    const rota_retention_t month = {.age_ms = 30 * DAY_MS, .total_bytes = INT64_MAX};
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 3);
    disk_wait (disk, 5 * DAY_MS);
    journal_append_range (disk, journal, 4, 5);
    rota_journal_flush (journal);
    journal_settle (journal);
    assert_int_equal (rota_journal_retain (journal, &month, disk->wall_ms + 20 * DAY_MS), 0);
    assert_int_equal (rota_journal_retain (journal, &month, disk->wall_ms + 60 * DAY_MS), 1);
    assert_false (disk_has (disk, FIRST_FILE ".gz"));
    assert_true (disk_has (disk, "events-2026-11-28.1.jsonl"));
    journal_append_range (disk, journal, 6, 6);
    rota_journal_close (&journal);
    disk_assert_events (disk, 4, 6);
}

static void a_file_may_go_while_it_is_being_compressed (void **state)
{
    disk_t *disk = *state;
    const rota_retention_t tiny = {.age_ms = 30 * DAY_MS, .total_bytes = 1};
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 3);
    disk_wait (disk, DAY_MS);
    journal_append_range (disk, journal, 4, 4);
    rota_journal_tick (journal); /* takes the job up */
    assert_true (disk_has (disk, FIRST_FILE ".gz.tmp"));
    assert_int_equal (rota_journal_retain (journal, &tiny, disk->wall_ms), 1);
    journal_settle (journal);
    assert_false (disk_has (disk, FIRST_FILE ".gz.tmp"));
    assert_false (disk_has (disk, FIRST_FILE ".gz"));
    rota_journal_close (&journal);
    disk_assert_events (disk, 4, 4);
}

static void another_store_counts_anew_in_another_file (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 10);
    assert_int_equal (rota_journal_set_store (journal, OTHER_STORE), 0);
    assert_int_equal (rota_journal_last (journal), 0);
    journal_append_range (disk, journal, 1, 4);
    rota_journal_flush (journal);
    disk_crash (disk, &journal);

    assert_int_equal (disk_try_journal (disk, 1 << 26, &journal), 0);
    assert_int_equal (rota_journal_last (journal), 4); /* not the old store's 10 */
    assert_int_equal (rota_journal_set_store (journal, OTHER_STORE), 0);
    journal_append_range (disk, journal, 5, 6);
    journal_settle (journal);
    rota_journal_close (&journal);
    assert_int_equal (disk_read_all (disk)->files, 2);
    assert_int_equal (disk_read_all (disk)->count, 16);
}

static void a_second_sink_is_refused (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk), *second = NULL;
    assert_int_equal (disk_try_journal (disk, 1000, &second), -EBUSY);
    assert_null (second);
    rota_journal_close (&journal);
}

static void only_exact_names_are_journal_files (void **state)
{
    (void)state;
    rota_journal_file_t file;
    assert_true (rota_journal_name_parse ("events-2026-11-23.12.jsonl.gz", &file));
    assert_int_equal (file.day, DAY);
    assert_int_equal (file.number, 12);
    assert_true (file.compressed);
    const char *const foreign[] = {"events-2026-11-23.jsonl",
                                   "events-2026-11-23.01.jsonl",
                                   "events-2026-02-31.1.jsonl",
                                   "events-2026-11-23.1.jsonl.tmp",
                                   "events-2026-11-23.1.json",
                                   "events--026-11-23.1.jsonl",
                                   "xevents-2026-11-23.1.jsonl",
                                   "",
                                   "cursor"};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        assert_false (rota_journal_name_parse (foreign[i], &file));
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, new_disk, remove_disk)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (a_hundred_records_are_one_write),
        TEST (fewer_are_written_five_seconds_after_the_first),
        TEST (closing_writes_and_syncs_what_waits),
        TEST (the_cursor_is_saved_after_the_sync_of_what_it_covers),
        TEST (an_idle_journal_wants_nothing_for_an_hour),
        TEST (what_is_there_already_is_not_written_again),
        TEST (lost_events_leave_an_explicit_line),
        TEST (a_new_day_begins_a_new_file_and_compresses_the_old_one),
        TEST (midnight_ends_a_file_without_any_event),
        TEST (a_clock_set_back_a_little_stays_in_the_file_and_far_begins_another),
        TEST (events_of_days_past_go_to_files_of_those_days),
        TEST (a_full_file_is_followed_by_the_next_number),
        TEST (compression_goes_in_pieces_and_gives_the_same_bytes),
        TEST (a_compression_that_was_interrupted_leaves_nothing_behind),
        TEST (a_failed_compression_keeps_the_file_and_tries_again_later),
        TEST (old_files_go_and_the_open_one_stays),
        TEST (a_file_may_go_while_it_is_being_compressed),
        TEST (another_store_counts_anew_in_another_file),
        TEST (a_second_sink_is_refused),
        TEST (only_exact_names_are_journal_files),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
