/* What journal.h promises when the disk fails or the process dies: every event once, all the same. */
#include "telemetry/journal.h"
#include "tests/unit/journal_disk.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

/* ---- a disk that fails */

static void a_failed_write_keeps_the_batch (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    disk->write_error = ENOSPC;
    journal_append_range (disk, journal, 1, 250);
    assert_non_null (rota_journal_trouble (journal));
    assert_int_equal (disk->writes, 1); /* and not one try an event */
    assert_int_equal (rota_journal_tick (journal), 1000);
    disk_wait (disk, 1000);
    rota_journal_tick (journal);
    assert_int_equal (disk->writes, 2);
    disk->write_error = 0;
    disk_wait (disk, 1000);
    rota_journal_tick (journal);
    assert_null (rota_journal_trouble (journal));
    assert_non_null (strstr (disk->notices, "journal.trouble: can't write to the journal: No space left"));
    assert_non_null (strstr (disk->notices, "journal.recovered"));
    rota_journal_close (&journal);
    disk_assert_events (disk, 1, 250);
}

static void a_short_write_goes_on_where_it_stopped (void **state)
{
    disk_t *disk = *state;
    for (ssize_t limit = 1; limit < 400; limit += 7) {
        disk_t inner = *disk;
        snprintf (inner.path, sizeof inner.path, "%.40s/%d", disk->path, (int)limit);
        inner.ops.owner = &inner;
        rota_journal_t *journal = disk_journal (&inner);
        journal_append_range (&inner, journal, 1, 2);
        inner.write_limit = limit;
        disk_wait (&inner, 5000);
        rota_journal_tick (journal);
        inner.write_limit = -1;
        journal_append_range (&inner, journal, 3, 4);
        disk_wait (&inner, 1000);
        rota_journal_tick (journal);
        rota_journal_close (&journal);
        disk_assert_events (&inner, 1, 4);
    }
}

static void a_short_write_and_then_a_crash_loses_and_doubles_nothing (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 3);
    rota_journal_flush (journal);
    journal_append_range (disk, journal, 4, 6);
    disk->write_limit = 100; /* the fourth event and a half */
    disk_wait (disk, 5000);
    rota_journal_tick (journal);
    assert_non_null (rota_journal_trouble (journal));
    disk->write_limit = -1;
    disk_crash (disk, &journal);
    journal = disk_journal (disk);
    uint64_t last = rota_journal_last (journal);
    journal_append_range (disk, journal, last + 1, 8);
    rota_journal_close (&journal);
    disk_assert_events (disk, 1, 8);
}

static void memory_is_bounded_and_the_intake_opens_again (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    char *line = malloc (100001);
    disk->write_error = ENOSPC;
    uint64_t seq = 0, after = 0;
    int rc = 1;
    while (rc == 1 && seq < 1000) {
        seq++;
        int length = snprintf (
            line, 100001, "{\"time\":\"2026-11-23T12:00:00.000Z\",\"seq\":%" PRIu64 ",\"event\":\"", seq);
        memset (line + length, 'x', 99997 - (size_t)length);
        memcpy (line + 99997, "\"}\n", 3);
        rc = rota_journal_append (journal, seq, disk->wall_ms, line, 100000);
    }
    free (line);
    assert_int_equal (rc, -EAGAIN);
    assert_true (seq * 100000 <= ROTA_JOURNAL_BUFFER_CAP_BYTES + 200000);
    assert_int_equal (journal_append (disk, journal, seq), -EAGAIN);
    assert_false (rota_journal_resume (journal, &after));

    disk->write_error = 0;
    disk_wait (disk, 1000);
    rota_journal_tick (journal);
    assert_int_equal (journal_append (disk, journal, seq), -EAGAIN); /* not before the source begins anew */
    assert_true (rota_journal_resume (journal, &after));
    assert_int_equal (after, seq - 1);
    journal_append_range (disk, journal, seq, seq + 3);
    assert_int_equal (rota_journal_close (&journal), 0);
}

static void a_failed_sync_cuts_back_to_the_cursor (void **state)
{
    disk_t *disk = *state;
    uint64_t after = 0;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 10);
    assert_int_equal (rota_journal_flush (journal), 0);
    journal_append_range (disk, journal, 11, 20);
    disk->sync_error = EIO;
    assert_int_equal (rota_journal_flush (journal), -EIO);
    assert_int_equal (journal_append (disk, journal, 21), -EAGAIN);
    assert_int_equal (rota_journal_cursor (journal)->seq, 10);
    disk->sync_error = 0;
    assert_false (rota_journal_resume (journal, &after));
    disk_wait (disk, 1000);
    rota_journal_tick (journal);
    assert_true (rota_journal_resume (journal, &after));
    assert_int_equal (after, 10);
    journal_append_range (disk, journal, 11, 30);
    assert_int_equal (rota_journal_close (&journal), 0);
    disk_assert_events (disk, 1, 30);
}

static void a_failed_sync_of_a_new_file_takes_it_back (void **state)
{
    disk_t *disk = *state;
    uint64_t after = 7;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 10);
    disk->sync_error = EIO;
    assert_int_equal (rota_journal_flush (journal), -EIO);
    disk->sync_error = 0;
    disk_wait (disk, 1000);
    rota_journal_tick (journal);
    assert_int_equal (disk_read_all (disk)->files, 0);
    assert_true (rota_journal_resume (journal, &after));
    assert_int_equal (after, 0);
    journal_append_range (disk, journal, 1, 4);
    rota_journal_close (&journal);
    disk_assert_events (disk, 1, 4);
}

/* ---- crashes */

static void a_torn_last_line_is_cut_off_loudly (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 3);
    rota_journal_close (&journal);
    const char torn[] = "{\"time\":\"2026-11-23T12:00:00.000Z\",\"seq\":4,\"ev";
    disk_write_raw (disk, FIRST_FILE, "a", torn, sizeof torn - 1);

    journal = disk_journal (disk);
    assert_non_null (strstr (disk->notices, "journal.torn: " FIRST_FILE " ended in 46 bytes"));
    assert_int_equal (rota_journal_last (journal), 3);
    journal_append_range (disk, journal, 4, 5);
    rota_journal_close (&journal);
    disk_assert_events (disk, 1, 5);
}

static void a_hole_of_zeros_ends_what_counts (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 3);
    rota_journal_close (&journal);
    char lost[64] = {0};
    const char after[] = "\n{\"time\":\"2026-11-23T12:00:00.000Z\",\"seq\":5,\"event\":\"task.added\"}\n";
    disk_write_raw (disk, FIRST_FILE, "a", lost, sizeof lost);
    disk_write_raw (disk, FIRST_FILE, "a", after, sizeof after - 1);

    journal = disk_journal (disk);
    assert_int_equal (rota_journal_last (journal), 3);
    journal_append_range (disk, journal, 4, 6);
    rota_journal_close (&journal);
    disk_assert_events (disk, 1, 6);
}

static void events_written_but_not_in_the_cursor_are_not_doubled (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 10);
    rota_journal_flush (journal);
    journal_append_range (disk, journal, 11, 110); /* a batch, written; its sync is not due */
    assert_int_equal (rota_journal_cursor (journal)->seq, 10);
    disk_crash (disk, &journal);
    journal = disk_journal (disk);
    assert_int_equal (rota_journal_cursor (journal)->seq, 10);
    assert_int_equal (rota_journal_last (journal), 110);
    rota_journal_tick (journal);
    assert_int_equal (rota_journal_cursor (journal)->seq, 110);
    journal_append_range (disk, journal, 111, 112);
    rota_journal_close (&journal);
    disk_assert_events (disk, 1, 112);
}

static void without_a_cursor_the_files_tell_how_far_they_go (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 10);
    rota_journal_close (&journal);
    disk_write_raw (disk, "cursor", "w", "{\"seq\":", 7);
    journal = disk_journal (disk);
    assert_non_null (strstr (disk->notices, "journal.cursor_unreadable"));
    journal_append_range (disk, journal, 11, 12);
    rota_journal_close (&journal);

    disk_wait (disk, DAY_MS);
    journal = disk_journal (disk);
    journal_append_range (disk, journal, 13, 13);
    rota_journal_flush (journal);
    disk_wait (disk, DAY_MS);
    journal_settle (journal);
    rota_journal_close (&journal); /* all is compressed now */
    assert_true (disk_has (disk, "events-2026-11-24.1.jsonl.gz"));
    assert_false (disk_has (disk, "events-2026-11-24.1.jsonl"));
    unlink (disk_path (disk, "cursor"));
    journal = disk_journal (disk);
    assert_int_equal (rota_journal_last (journal), 13);
    rota_journal_close (&journal);
    disk_assert_events (disk, 1, 13);
}

static void lines_that_a_person_wrote_are_left_alone_without_a_cursor (void **state)
{
    disk_t *disk = *state;
    const char edited[] = "{\"time\":\"t\",\"seq\":1,\"event\":\"a\"}\n\n{\"event\":\"seq\\\":99\"}\n"
                          "{\"time\":\"t\",\"seq\":2,\"event\":\"a\"}\n";
    disk_write_raw (disk, FIRST_FILE, "w", edited, sizeof edited - 1);
    rota_journal_t *journal = NULL;
    assert_int_equal (disk_try_journal (disk, 1 << 26, &journal), 0);
    assert_int_equal (rota_journal_last (journal), 2);
    rota_journal_close (&journal);
    assert_int_equal (disk_size_of (disk, FIRST_FILE), sizeof edited - 1);
}

static void a_file_shorter_than_its_cursor_is_filled_again (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = disk_journal (disk);
    journal_append_range (disk, journal, 1, 10);
    rota_journal_close (&journal);
    assert_int_equal (truncate (disk_path (disk, FIRST_FILE), disk_size_of (disk, FIRST_FILE) - 200), 0);
    journal = disk_journal (disk);
    assert_non_null (strstr (disk->notices, "journal.shorter"));
    uint64_t last = rota_journal_last (journal);
    assert_in_range (last, 1, 9);
    journal_append_range (disk, journal, last + 1, 12);
    rota_journal_close (&journal);
    disk_assert_events (disk, 1, 12);
}

/* A sink's life in small: what it appends comes from a log that keeps everything after the cursor. */
static void live (disk_t *disk, rota_journal_t *journal, uint64_t last)
{
    for (int turn = 0; turn < 400 && rota_journal_last (journal) < last; turn++) {
        uint64_t after = 0;
        if (!rota_journal_is_open (journal) && !rota_journal_resume (journal, &after)) {
            disk_wait (disk, 1000);
            rota_journal_tick (journal);
            continue;
        }
        uint64_t seq = rota_journal_last (journal) + 1;
        journal_append (disk, journal, seq);
        disk_wait (disk, 300);
        if (seq % 40 == 0)
            disk_wait (disk, DAY_MS);
        rota_journal_tick (journal);
    }
    journal_settle (journal);
}

static void wherever_it_is_killed_each_event_is_there_once (void **state)
{
    disk_t *disk = *state;
    const uint64_t last = 120;
    int died = 1, rounds = 0;
    for (int dies_at = 1; died; dies_at++, rounds++) {
        disk_t inner = *disk;
        snprintf (inner.path, sizeof inner.path, "%.40s/%d", disk->path, dies_at);
        inner.ops.owner = &inner;
        inner.dies_at = dies_at;
        rota_journal_t *journal = NULL;
        if (disk_try_journal (&inner, 2000, &journal) == 0) {
            if (rota_journal_set_store (journal, JOURNAL_STORE) == 0)
                live (&inner, journal, last);
            rota_journal_close (&journal);
        }
        died = inner.operations >= dies_at;
        inner.dies_at = 0;
        inner.operations = 0;

        journal = disk_journal_sized (&inner, 2000);
        disk_wait (&inner, 60000);
        live (&inner, journal, last);
        assert_int_equal (rota_journal_close (&journal), 0);
        disk_assert_events (&inner, 1, last);
        assert_false (disk_has (&inner, "cursor.tmp"));
    }
    assert_true (rounds > 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, new_disk, remove_disk)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (a_failed_write_keeps_the_batch),
        TEST (a_short_write_goes_on_where_it_stopped),
        TEST (a_short_write_and_then_a_crash_loses_and_doubles_nothing),
        TEST (memory_is_bounded_and_the_intake_opens_again),
        TEST (a_failed_sync_cuts_back_to_the_cursor),
        TEST (a_failed_sync_of_a_new_file_takes_it_back),
        TEST (a_torn_last_line_is_cut_off_loudly),
        TEST (a_hole_of_zeros_ends_what_counts),
        TEST (events_written_but_not_in_the_cursor_are_not_doubled),
        TEST (without_a_cursor_the_files_tell_how_far_they_go),
        TEST (lines_that_a_person_wrote_are_left_alone_without_a_cursor),
        TEST (a_file_shorter_than_its_cursor_is_filled_again),
        TEST (wherever_it_is_killed_each_event_is_there_once),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
