/* What journal.h promises: every event once, whatever the disk, the clock or a crash does. */
#include "telemetry/compress.h"
#include "telemetry/event_json.h"
#include "telemetry/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define DAY_MS (INT64_C (24) * 3600 * 1000)
#define DAY 20780 /* 2026-11-23 */
#define NOON_MS (DAY * DAY_MS + DAY_MS / 2)
#define FIRST_FILE "events-2026-11-23.1.jsonl"

static const uint8_t STORE[16] = "0123456789abcdef";
static const uint8_t OTHER_STORE[16] = "restored-restore";

/* A disk whose operations can be made to fail, and a clock that stands still until it is moved. */
typedef struct {
    char path[64];
    rota_file_ops_t ops;
    int64_t wall_ms, monotonic_ms;
    int writes, syncs, operations;
    int write_error, sync_error, rename_error; /* an errno, 0 = none */
    ssize_t write_limit;                       /* a longer write is cut short there; -1 = none */
    int dies_at;                               /* this operation and all after it fail; 0 = never */
    char notices[4096];
    char trace[256]; /* a letter an operation: open, write, sync, truncate, rename, unlink */
} disk_t;

static bool dead (disk_t *disk, char letter)
{
    size_t length = strlen (disk->trace);
    if (length < sizeof disk->trace - 1)
        disk->trace[length] = letter;
    return ++disk->operations >= disk->dies_at && disk->dies_at;
}

static int disk_open (void *owner, int directory, const char *name, int flags)
{
    return dead (owner, 'o') ? -EIO : ROTA_FILE_OPS.open (NULL, directory, name, flags);
}

static ssize_t disk_write (void *owner, int fd, const void *bytes, size_t size_bytes)
{
    disk_t *disk = owner;
    if (dead (disk, 'w')) { /* a crash may leave a part behind */
        if (disk->operations == disk->dies_at)
            (void)ROTA_FILE_OPS.write (NULL, fd, bytes, size_bytes / 2);
        return -EIO;
    }
    disk->writes++;
    if (disk->write_error)
        return -disk->write_error;
    size_t limit = disk->write_limit >= 0 && size_bytes > (size_t)disk->write_limit
                       ? (size_t)disk->write_limit
                       : size_bytes;
    return ROTA_FILE_OPS.write (NULL, fd, bytes, limit);
}

static int disk_sync (void *owner, int fd)
{
    disk_t *disk = owner;
    if (dead (disk, 's'))
        return -EIO;
    assert_true (fd >= 0);
    disk->syncs++;
    return -disk->sync_error;
}

static int disk_truncate (void *owner, int fd, int64_t size_bytes)
{
    return dead (owner, 't') ? -EIO : ROTA_FILE_OPS.truncate (NULL, fd, size_bytes);
}

static int disk_rename (void *owner, int directory, const char *from, const char *to)
{
    disk_t *disk = owner;
    if (dead (disk, 'r'))
        return -EIO;
    return disk->rename_error ? -disk->rename_error : ROTA_FILE_OPS.rename (NULL, directory, from, to);
}

static int disk_unlink (void *owner, int directory, const char *name)
{
    return dead (owner, 'u') ? -EIO : ROTA_FILE_OPS.unlink (NULL, directory, name);
}

static int64_t wall (void *owner)
{
    return ((disk_t *)owner)->wall_ms;
}

static int64_t monotonic (void *owner)
{
    return ((disk_t *)owner)->monotonic_ms;
}

static void notice (void *owner, const char *event, const char *text)
{
    disk_t *disk = owner;
    size_t length = strlen (disk->notices);
    snprintf (disk->notices + length, sizeof disk->notices - length, "%s: %s\n", event, text);
}

static void wait_ms (disk_t *disk, int64_t ms)
{
    disk->wall_ms += ms;
    disk->monotonic_ms += ms;
}

static int new_disk (void **state)
{
    disk_t *disk = calloc (1, sizeof *disk);
    *disk = (disk_t){.wall_ms = NOON_MS, .monotonic_ms = 1000000, .write_limit = -1};
    disk->ops = (rota_file_ops_t){.owner = disk,
                                  .open = disk_open,
                                  .write = disk_write,
                                  .sync = disk_sync,
                                  .truncate = disk_truncate,
                                  .rename = disk_rename,
                                  .unlink = disk_unlink};
    snprintf (disk->path, sizeof disk->path, "/tmp/rota-test-journal-XXXXXX");
    assert_non_null (mkdtemp (disk->path));
    *state = disk;
    return 0;
}

static int remove_disk (void **state)
{
    disk_t *disk = *state;
    char command[128];
    snprintf (command, sizeof command, "rm -rf '%s'", disk->path);
    assert_int_equal (system (command), 0);
    free (disk);
    return 0;
}

static const char *path (const disk_t *disk, const char *name)
{
    static char text[4][192];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf (text[turn], sizeof text[turn], "%s/%s", disk->path, name);
    return text[turn];
}

static bool exists (const disk_t *disk, const char *name)
{
    return access (path (disk, name), F_OK) == 0;
}

static int64_t size_of (const disk_t *disk, const char *name)
{
    struct stat status;
    return stat (path (disk, name), &status) < 0 ? -1 : status.st_size;
}

static int try_open (disk_t *disk, int64_t rotate_bytes, rota_journal_t **ret_journal)
{
    const rota_journal_config_t config = {.directory = disk->path,
                                          .batch_records = 100,
                                          .batch_interval_ms = 5000,
                                          .rotate_bytes = rotate_bytes,
                                          .ops = &disk->ops,
                                          .owner = disk,
                                          .wall_ms = wall,
                                          .monotonic_ms = monotonic,
                                          .notice = notice};
    return rota_journal_open (&config, ret_journal, NULL);
}

static rota_journal_t *open_sized (disk_t *disk, int64_t rotate_bytes)
{
    rota_journal_t *journal = NULL;
    assert_int_equal (try_open (disk, rotate_bytes, &journal), 0);
    assert_int_equal (rota_journal_set_store (journal, STORE), 0);
    return journal;
}

static rota_journal_t *open_journal (disk_t *disk)
{
    return open_sized (disk, 1 << 26);
}

static int append_at (rota_journal_t *journal, uint64_t seq, int64_t time_ms)
{
    Rota__Event event = ROTA__EVENT__INIT;
    event.seq = seq;
    event.time_ms = time_ms;
    event.type = ROTA__EVENT_TYPE__EVENT_TYPE_TASK_ADDED;
    event.has_task = true;
    event.task = (ProtobufCBinaryData){.len = 5, .data = (uint8_t *)"build"};
    rota_text_t line = {0};
    assert_int_equal (rota_event_json (&event, &line), 0);
    int rc = rota_journal_append (journal, seq, time_ms, line.bytes, line.size_bytes);
    rota_text_free (&line);
    return rc;
}

static int append (disk_t *disk, rota_journal_t *journal, uint64_t seq)
{
    return append_at (journal, seq, disk->wall_ms);
}

static void append_range (disk_t *disk, rota_journal_t *journal, uint64_t first, uint64_t last)
{
    for (uint64_t seq = first; seq <= last; seq++)
        assert_int_equal (append (disk, journal, seq), 1);
}

/* What an application does until nothing is left to do at once. */
static void settle (rota_journal_t *journal)
{
    for (int turn = 0; turn < 10000 && rota_journal_tick (journal) == 0; turn++)
        ;
}

/* The numbers of all events in all files, file by file; every line must be JSON. */
typedef struct {
    uint64_t seqs[4096];
    size_t count, files, gaps, openings;
} content_t;

static void read_file (const disk_t *disk, const char *name, content_t *content)
{
    gzFile stream = gzopen (path (disk, name), "rb");
    assert_non_null (stream);
    char line[8192];
    while (gzgets (stream, line, sizeof line)) {
        json_t *object = json_loads (line, 0, NULL);
        if (!object)
            fail_msg ("%s has a line that is no JSON: %s", name, line);
        const char *event = json_string_value (json_object_get (object, "event"));
        const json_t *seq = json_object_get (object, "seq");
        content->gaps += strcmp (event, "journal.gap") == 0;
        content->openings += strcmp (event, "journal.opened") == 0;
        if (seq) {
            assert_true (content->count < 4096);
            content->seqs[content->count++] = (uint64_t)json_integer_value (seq);
        }
        json_decref (object);
    }
    gzclose (stream);
}

static content_t *read_all (const disk_t *disk)
{
    static content_t content;
    rota_journal_file_t *files = NULL;
    content = (content_t){0};
    int directory = open (disk->path, O_RDONLY | O_DIRECTORY);
    assert_int_equal (rota_journal_list (&ROTA_FILE_OPS, directory, false, &files, &content.files), 0);
    close (directory);
    for (size_t i = 0; i < content.files; i++)
        read_file (disk, files[i].name, &content);
    free (files);
    return &content;
}

static void assert_events (const disk_t *disk, uint64_t first, uint64_t last)
{
    const content_t *content = read_all (disk);
    assert_int_equal (content->count, last - first + 1);
    for (size_t i = 0; i < content->count; i++)
        assert_int_equal (content->seqs[i], first + i);
}

static void write_raw (const disk_t *disk, const char *name, const char *mode, const void *bytes,
                       size_t length)
{
    FILE *file = fopen (path (disk, name), mode);
    assert_non_null (file);
    assert_int_equal (fwrite (bytes, 1, length, file), length);
    fclose (file);
}

/* The process is gone: nothing of what it would still do happens. */
static void crash (disk_t *disk, rota_journal_t **journal)
{
    disk->dies_at = 1;
    rota_journal_close (journal);
    disk->dies_at = 0;
}

/* ---- batches */

static void a_hundred_records_are_one_write (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 99);
    settle (journal);
    assert_int_equal (disk->writes, 0);
    append_range (disk, journal, 100, 100);
    assert_int_equal (disk->writes, 2); /* the batch, and the cursor of the first sync */
    append_range (disk, journal, 101, 300);
    assert_int_equal (disk->writes, 4);
    assert_int_equal (rota_journal_close (&journal), 0);
    assert_events (disk, 1, 300);
}

static void fewer_are_written_five_seconds_after_the_first (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 1);
    assert_int_equal (rota_journal_tick (journal), 5000);
    wait_ms (disk, 4000);
    append_range (disk, journal, 2, 2);
    assert_int_equal (rota_journal_tick (journal), 1000);
    wait_ms (disk, 999);
    rota_journal_tick (journal);
    assert_int_equal (disk->writes, 0);
    wait_ms (disk, 1);
    rota_journal_tick (journal);
    assert_int_equal (disk->writes, 2);
    assert_events (disk, 1, 2);
    assert_int_equal (rota_journal_cursor (journal)->seq, 2);
    rota_journal_close (&journal);
}

static void closing_writes_and_syncs_what_waits (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 7);
    int syncs = disk->syncs;
    assert_int_equal (rota_journal_close (&journal), 0);
    assert_true (disk->syncs >= syncs + 2); /* the file, and the cursor */
    assert_events (disk, 1, 7);

    journal = open_journal (disk);
    assert_int_equal (rota_journal_last (journal), 7);
    assert_int_equal (rota_journal_cursor (journal)->seq, 7);
    rota_journal_close (&journal);
}

static void the_cursor_is_saved_after_the_sync_of_what_it_covers (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    memset (disk->trace, 0, sizeof disk->trace);
    append_range (disk, journal, 1, 2);
    rota_journal_flush (journal);
    assert_string_equal (disk->trace, "owss" /* file and its name */ "owsrs" /* cursor */);
    memset (disk->trace, 0, sizeof disk->trace);
    append_range (disk, journal, 3, 4);
    rota_journal_flush (journal);
    assert_string_equal (disk->trace, "ws"
                                      "owsrs");
    memset (disk->trace, 0, sizeof disk->trace);
    wait_ms (disk, DAY_MS);
    settle (journal);
    assert_string_equal (disk->trace, "oww"
                                      "srsu"); /* the compressed file, and only then the plain one goes */
    rota_journal_close (&journal);
}

static void an_idle_journal_wants_nothing_for_an_hour (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 1);
    rota_journal_flush (journal);
    settle (journal);
    int operations = disk->operations;
    assert_int_equal (rota_journal_tick (journal), 3600 * 1000);
    assert_int_equal (disk->operations, operations);
    rota_journal_close (&journal);
}

static void what_is_there_already_is_not_written_again (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 5);
    assert_int_equal (append (disk, journal, 5), 0);
    assert_int_equal (append (disk, journal, 2), 0);
    rota_journal_close (&journal);
    assert_events (disk, 1, 5);
}

static void lost_events_leave_an_explicit_line (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 2);
    assert_int_equal (rota_journal_append_gap (journal, 3, 9), 1);
    crash (disk, &journal);
    journal = open_journal (disk);
    append_range (disk, journal, 1, 2);
    assert_int_equal (rota_journal_append_gap (journal, 3, 9), 1);
    assert_int_equal (rota_journal_flush (journal), 0);
    crash (disk, &journal);

    journal = open_journal (disk);
    assert_int_equal (rota_journal_last (journal), 9);
    append_range (disk, journal, 10, 11);
    rota_journal_close (&journal);
    const content_t *content = read_all (disk);
    assert_int_equal (content->count, 4);
    assert_int_equal (content->gaps, 1);
}

/* ---- a disk that fails */

static void a_failed_write_keeps_the_batch (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    disk->write_error = ENOSPC;
    append_range (disk, journal, 1, 250);
    assert_non_null (rota_journal_trouble (journal));
    assert_int_equal (disk->writes, 1); /* and not one try an event */
    assert_int_equal (rota_journal_tick (journal), 1000);
    wait_ms (disk, 1000);
    rota_journal_tick (journal);
    assert_int_equal (disk->writes, 2);
    disk->write_error = 0;
    wait_ms (disk, 1000);
    rota_journal_tick (journal);
    assert_null (rota_journal_trouble (journal));
    assert_non_null (strstr (disk->notices, "journal.trouble: can't write to the journal: No space left"));
    assert_non_null (strstr (disk->notices, "journal.recovered"));
    rota_journal_close (&journal);
    assert_events (disk, 1, 250);
}

static void a_short_write_goes_on_where_it_stopped (void **state)
{
    disk_t *disk = *state;
    for (ssize_t limit = 1; limit < 400; limit += 7) {
        disk_t inner = *disk;
        snprintf (inner.path, sizeof inner.path, "%.40s/%d", disk->path, (int)limit);
        inner.ops.owner = &inner;
        rota_journal_t *journal = open_journal (&inner);
        append_range (&inner, journal, 1, 2);
        inner.write_limit = limit;
        wait_ms (&inner, 5000);
        rota_journal_tick (journal);
        inner.write_limit = -1;
        append_range (&inner, journal, 3, 4);
        wait_ms (&inner, 1000);
        rota_journal_tick (journal);
        rota_journal_close (&journal);
        assert_events (&inner, 1, 4);
    }
}

static void a_short_write_and_then_a_crash_loses_and_doubles_nothing (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 3);
    rota_journal_flush (journal);
    append_range (disk, journal, 4, 6);
    disk->write_limit = 100; /* the fourth event and a half */
    wait_ms (disk, 5000);
    rota_journal_tick (journal);
    assert_non_null (rota_journal_trouble (journal));
    disk->write_limit = -1;
    crash (disk, &journal);
    journal = open_journal (disk);
    uint64_t last = rota_journal_last (journal);
    append_range (disk, journal, last + 1, 8);
    rota_journal_close (&journal);
    assert_events (disk, 1, 8);
}

static void memory_is_bounded_and_the_intake_opens_again (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
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
    assert_int_equal (append (disk, journal, seq), -EAGAIN);
    assert_false (rota_journal_resume (journal, &after));

    disk->write_error = 0;
    wait_ms (disk, 1000);
    rota_journal_tick (journal);
    assert_int_equal (append (disk, journal, seq), -EAGAIN); /* not before the source begins anew */
    assert_true (rota_journal_resume (journal, &after));
    assert_int_equal (after, seq - 1);
    append_range (disk, journal, seq, seq + 3);
    assert_int_equal (rota_journal_close (&journal), 0);
}

static void a_failed_sync_cuts_back_to_the_cursor (void **state)
{
    disk_t *disk = *state;
    uint64_t after = 0;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 10);
    assert_int_equal (rota_journal_flush (journal), 0);
    append_range (disk, journal, 11, 20);
    disk->sync_error = EIO;
    assert_int_equal (rota_journal_flush (journal), -EIO);
    assert_int_equal (append (disk, journal, 21), -EAGAIN);
    assert_int_equal (rota_journal_cursor (journal)->seq, 10);
    disk->sync_error = 0;
    assert_false (rota_journal_resume (journal, &after));
    wait_ms (disk, 1000);
    rota_journal_tick (journal);
    assert_true (rota_journal_resume (journal, &after));
    assert_int_equal (after, 10);
    append_range (disk, journal, 11, 30);
    assert_int_equal (rota_journal_close (&journal), 0);
    assert_events (disk, 1, 30);
}

static void a_failed_sync_of_a_new_file_takes_it_back (void **state)
{
    disk_t *disk = *state;
    uint64_t after = 7;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 10);
    disk->sync_error = EIO;
    assert_int_equal (rota_journal_flush (journal), -EIO);
    disk->sync_error = 0;
    wait_ms (disk, 1000);
    rota_journal_tick (journal);
    assert_int_equal (read_all (disk)->files, 0);
    assert_true (rota_journal_resume (journal, &after));
    assert_int_equal (after, 0);
    append_range (disk, journal, 1, 4);
    rota_journal_close (&journal);
    assert_events (disk, 1, 4);
}

/* ---- crashes */

static void a_torn_last_line_is_cut_off_loudly (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 3);
    rota_journal_close (&journal);
    const char torn[] = "{\"time\":\"2026-11-23T12:00:00.000Z\",\"seq\":4,\"ev";
    write_raw (disk, FIRST_FILE, "a", torn, sizeof torn - 1);

    journal = open_journal (disk);
    assert_non_null (strstr (disk->notices, "journal.torn: " FIRST_FILE " ended in 46 bytes"));
    assert_int_equal (rota_journal_last (journal), 3);
    append_range (disk, journal, 4, 5);
    rota_journal_close (&journal);
    assert_events (disk, 1, 5);
}

static void a_hole_of_zeros_ends_what_counts (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 3);
    rota_journal_close (&journal);
    char lost[64] = {0};
    const char after[] = "\n{\"time\":\"2026-11-23T12:00:00.000Z\",\"seq\":5,\"event\":\"task.added\"}\n";
    write_raw (disk, FIRST_FILE, "a", lost, sizeof lost);
    write_raw (disk, FIRST_FILE, "a", after, sizeof after - 1);

    journal = open_journal (disk);
    assert_int_equal (rota_journal_last (journal), 3);
    append_range (disk, journal, 4, 6);
    rota_journal_close (&journal);
    assert_events (disk, 1, 6);
}

static void events_written_but_not_in_the_cursor_are_not_doubled (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 10);
    rota_journal_flush (journal);
    append_range (disk, journal, 11, 110); /* a batch, written; its sync is not due */
    assert_int_equal (rota_journal_cursor (journal)->seq, 10);
    crash (disk, &journal);
    journal = open_journal (disk);
    assert_int_equal (rota_journal_cursor (journal)->seq, 10);
    assert_int_equal (rota_journal_last (journal), 110);
    rota_journal_tick (journal);
    assert_int_equal (rota_journal_cursor (journal)->seq, 110);
    append_range (disk, journal, 111, 112);
    rota_journal_close (&journal);
    assert_events (disk, 1, 112);
}

static void without_a_cursor_the_files_tell_how_far_they_go (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 10);
    rota_journal_close (&journal);
    write_raw (disk, "cursor", "w", "{\"seq\":", 7);
    journal = open_journal (disk);
    assert_non_null (strstr (disk->notices, "journal.cursor_unreadable"));
    append_range (disk, journal, 11, 12);
    rota_journal_close (&journal);

    wait_ms (disk, DAY_MS);
    journal = open_journal (disk);
    append_range (disk, journal, 13, 13);
    rota_journal_flush (journal);
    wait_ms (disk, DAY_MS);
    settle (journal);
    rota_journal_close (&journal); /* all is compressed now */
    assert_true (exists (disk, "events-2026-11-24.1.jsonl.gz"));
    assert_false (exists (disk, "events-2026-11-24.1.jsonl"));
    unlink (path (disk, "cursor"));
    journal = open_journal (disk);
    assert_int_equal (rota_journal_last (journal), 13);
    rota_journal_close (&journal);
    assert_events (disk, 1, 13);
}

static void lines_that_a_person_wrote_are_left_alone_without_a_cursor (void **state)
{
    disk_t *disk = *state;
    const char edited[] = "{\"time\":\"t\",\"seq\":1,\"event\":\"a\"}\n\n{\"event\":\"seq\\\":99\"}\n"
                          "{\"time\":\"t\",\"seq\":2,\"event\":\"a\"}\n";
    write_raw (disk, FIRST_FILE, "w", edited, sizeof edited - 1);
    rota_journal_t *journal = NULL;
    assert_int_equal (try_open (disk, 1 << 26, &journal), 0);
    assert_int_equal (rota_journal_last (journal), 2);
    rota_journal_close (&journal);
    assert_int_equal (size_of (disk, FIRST_FILE), sizeof edited - 1);
}

static void a_file_shorter_than_its_cursor_is_filled_again (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 10);
    rota_journal_close (&journal);
    assert_int_equal (truncate (path (disk, FIRST_FILE), size_of (disk, FIRST_FILE) - 200), 0);
    journal = open_journal (disk);
    assert_non_null (strstr (disk->notices, "journal.shorter"));
    uint64_t last = rota_journal_last (journal);
    assert_in_range (last, 1, 9);
    append_range (disk, journal, last + 1, 12);
    rota_journal_close (&journal);
    assert_events (disk, 1, 12);
}

/* A sink's life in small: what it appends comes from a log that keeps everything after the cursor. */
static void live (disk_t *disk, rota_journal_t *journal, uint64_t last)
{
    uint64_t seq = rota_journal_last (journal) + 1;
    for (int turn = 0; turn < 400 && rota_journal_last (journal) < last; turn++) {
        uint64_t after = 0;
        if (!rota_journal_is_open (journal) && !rota_journal_resume (journal, &after)) {
            wait_ms (disk, 1000);
            rota_journal_tick (journal);
            continue;
        }
        seq = rota_journal_last (journal) + 1;
        append (disk, journal, seq);
        wait_ms (disk, 300);
        if (seq % 40 == 0)
            wait_ms (disk, DAY_MS);
        rota_journal_tick (journal);
    }
    settle (journal);
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
        if (try_open (&inner, 2000, &journal) == 0) {
            if (rota_journal_set_store (journal, STORE) == 0)
                live (&inner, journal, last);
            rota_journal_close (&journal);
        }
        died = inner.operations >= dies_at;
        inner.dies_at = 0;
        inner.operations = 0;

        journal = open_sized (&inner, 2000);
        wait_ms (&inner, 60000);
        live (&inner, journal, last);
        assert_int_equal (rota_journal_close (&journal), 0);
        assert_events (&inner, 1, last);
        assert_false (exists (&inner, "cursor.tmp"));
    }
    assert_true (rounds > 100);
}

/* ---- files */

static void a_new_day_begins_a_new_file_and_compresses_the_old_one (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 10);
    wait_ms (disk, DAY_MS);
    append_range (disk, journal, 11, 12);
    rota_journal_flush (journal);
    settle (journal);
    assert_false (exists (disk, FIRST_FILE));
    assert_true (exists (disk, FIRST_FILE ".gz"));
    assert_true (exists (disk, "events-2026-11-24.1.jsonl"));
    rota_journal_close (&journal);
    assert_events (disk, 1, 12);
}

static void midnight_ends_a_file_without_any_event (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 3);
    rota_journal_flush (journal);
    wait_ms (disk, DAY_MS / 2 - 1000);
    assert_int_equal (rota_journal_tick (journal), 1000);
    wait_ms (disk, 1000);
    settle (journal);
    assert_true (exists (disk, FIRST_FILE ".gz"));
    assert_false (exists (disk, FIRST_FILE));
    rota_journal_close (&journal);
}

static void a_clock_set_back_a_little_stays_in_the_file_and_far_begins_another (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    assert_int_equal (append_at (journal, 1, NOON_MS), 1);
    assert_int_equal (append_at (journal, 2, NOON_MS - DAY_MS), 1);
    assert_int_equal (append_at (journal, 3, NOON_MS), 1);
    rota_journal_flush (journal);
    assert_int_equal (read_all (disk)->files, 1);
    assert_int_equal (append_at (journal, 4, NOON_MS - 2 * DAY_MS), 1);
    rota_journal_flush (journal);
    assert_true (exists (disk, "events-2026-11-21.1.jsonl"));
    assert_int_equal (append_at (journal, 5, -5), 1);
    assert_int_equal (append_at (journal, 6, INT64_MAX), 1);
    assert_int_equal (append_at (journal, 7, NOON_MS), 1);
    rota_journal_close (&journal);
    assert_true (exists (disk, "events-1970-01-01.1.jsonl"));
    assert_true (exists (disk, "events-9999-12-31.1.jsonl"));
    assert_true (exists (disk, "events-2026-11-23.2.jsonl"));
}

static void events_of_days_past_go_to_files_of_those_days (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    wait_ms (disk, 3 * DAY_MS); /* the sink was away */
    for (uint64_t seq = 1; seq <= 30; seq++) {
        assert_int_equal (append_at (journal, seq, NOON_MS + (int64_t)(seq / 11) * DAY_MS), 1);
        rota_journal_tick (journal);
    }
    rota_journal_close (&journal);
    assert_int_equal (read_all (disk)->files, 3);
    assert_events (disk, 1, 30);
}

static void a_full_file_is_followed_by_the_next_number (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_sized (disk, 1000);
    for (uint64_t seq = 1; seq <= 60; seq++) {
        append_range (disk, journal, seq, seq);
        rota_journal_tick (journal);
    }
    rota_journal_flush (journal);
    settle (journal);
    assert_true (exists (disk, "events-2026-11-23.1.jsonl.gz"));
    assert_true (exists (disk, "events-2026-11-23.2.jsonl.gz"));
    assert_false (exists (disk, "events-2026-11-23.2.jsonl"));
    rota_journal_close (&journal);
    const content_t *content = read_all (disk);
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
    write_raw (disk, FIRST_FILE, "w", bytes, SIZE);
    int directory = open (disk->path, O_RDONLY | O_DIRECTORY);
    rota_compress_t *job = NULL;
    assert_int_equal (rota_compress_new (&disk->ops, directory, FIRST_FILE, &job), 0);
    int steps = 1;
    for (int rc; (rc = rota_compress_step (job)) != 0; steps++)
        assert_int_equal (rc, 1);
    assert_int_equal (steps, 4);
    rota_compress_destroy (&job);
    close (directory);

    assert_false (exists (disk, FIRST_FILE));
    gzFile stream = gzopen (path (disk, FIRST_FILE ".gz"), "rb");
    assert_int_equal (gzread (stream, back, SIZE + 1), SIZE);
    assert_memory_equal (bytes, back, SIZE);
    gzclose (stream);
    free (bytes);
    free (back);
}

static void a_compression_that_was_interrupted_leaves_nothing_behind (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 5);
    rota_journal_close (&journal);
    write_raw (disk, "events-2026-11-20.1.jsonl.gz.tmp", "w", "half", 4);
    write_raw (disk, "cursor.tmp", "w", "half", 4);
    /* Renamed, but the plain file was not removed: */
    write_raw (disk, "events-2026-11-20.2.jsonl", "w", "{\"time\":\"t\",\"seq\":1}\n", 21);
    gzFile stream = gzopen (path (disk, "events-2026-11-20.2.jsonl.gz"), "wb");
    gzputs (stream, "{\"time\":\"t\",\"seq\":1}\n");
    gzclose (stream);
    /* And one that isn't whole, which can't come from us: */
    write_raw (disk, "events-2026-11-20.3.jsonl", "w", "{\"time\":\"t\",\"seq\":1}\n", 21);
    write_raw (disk, "events-2026-11-20.3.jsonl.gz", "w", "nothing good", 12);

    journal = open_journal (disk);
    assert_false (exists (disk, "events-2026-11-20.1.jsonl.gz.tmp"));
    assert_false (exists (disk, "cursor.tmp"));
    assert_false (exists (disk, "events-2026-11-20.2.jsonl"));
    assert_true (exists (disk, "events-2026-11-20.2.jsonl.gz"));
    assert_true (exists (disk, "events-2026-11-20.3.jsonl"));
    assert_false (exists (disk, "events-2026-11-20.3.jsonl.gz"));
    settle (journal);
    assert_true (exists (disk, "events-2026-11-20.3.jsonl.gz"));
    assert_true (exists (disk, FIRST_FILE)); /* in use */
    rota_journal_close (&journal);
}

static void a_failed_compression_keeps_the_file_and_tries_again_later (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 3);
    rota_journal_flush (journal);
    wait_ms (disk, DAY_MS);
    rota_journal_tick (journal);
    disk->write_error = ENOSPC;
    settle (journal);
    assert_non_null (strstr (disk->notices, "journal.not_compressed"));
    assert_true (exists (disk, FIRST_FILE));
    assert_false (exists (disk, FIRST_FILE ".gz.tmp"));
    disk->write_error = 0;
    wait_ms (disk, ROTA_JOURNAL_COMPRESS_RETRY_MS);
    settle (journal);
    assert_true (exists (disk, FIRST_FILE ".gz"));
    rota_journal_close (&journal);
    assert_events (disk, 1, 3);
}

static void old_files_go_and_the_open_one_stays (void **state)
{
    disk_t *disk = *state;
    const rota_retention_t month = {.age_ms = 30 * DAY_MS, .total_bytes = INT64_MAX};
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 3);
    wait_ms (disk, 5 * DAY_MS);
    append_range (disk, journal, 4, 5);
    rota_journal_flush (journal);
    settle (journal);
    assert_int_equal (rota_journal_retain (journal, &month, disk->wall_ms + 20 * DAY_MS), 0);
    assert_int_equal (rota_journal_retain (journal, &month, disk->wall_ms + 60 * DAY_MS), 1);
    assert_false (exists (disk, FIRST_FILE ".gz"));
    assert_true (exists (disk, "events-2026-11-28.1.jsonl"));
    append_range (disk, journal, 6, 6);
    rota_journal_close (&journal);
    assert_events (disk, 4, 6);
}

static void a_file_may_go_while_it_is_being_compressed (void **state)
{
    disk_t *disk = *state;
    const rota_retention_t tiny = {.age_ms = 30 * DAY_MS, .total_bytes = 1};
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 3);
    wait_ms (disk, DAY_MS);
    append_range (disk, journal, 4, 4);
    rota_journal_tick (journal); /* takes the job up */
    assert_true (exists (disk, FIRST_FILE ".gz.tmp"));
    assert_int_equal (rota_journal_retain (journal, &tiny, disk->wall_ms), 1);
    settle (journal);
    assert_false (exists (disk, FIRST_FILE ".gz.tmp"));
    assert_false (exists (disk, FIRST_FILE ".gz"));
    rota_journal_close (&journal);
    assert_events (disk, 4, 4);
}

static void another_store_counts_anew_in_another_file (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk);
    append_range (disk, journal, 1, 10);
    assert_int_equal (rota_journal_set_store (journal, OTHER_STORE), 0);
    assert_int_equal (rota_journal_last (journal), 0);
    append_range (disk, journal, 1, 4);
    rota_journal_flush (journal);
    crash (disk, &journal);

    assert_int_equal (try_open (disk, 1 << 26, &journal), 0);
    assert_int_equal (rota_journal_last (journal), 4); /* not the old store's 10 */
    assert_int_equal (rota_journal_set_store (journal, OTHER_STORE), 0);
    append_range (disk, journal, 5, 6);
    settle (journal);
    rota_journal_close (&journal);
    assert_int_equal (read_all (disk)->files, 2);
    assert_int_equal (read_all (disk)->count, 16);
}

static void a_second_sink_is_refused (void **state)
{
    disk_t *disk = *state;
    rota_journal_t *journal = open_journal (disk), *second = NULL;
    assert_int_equal (try_open (disk, 1000, &second), -EBUSY);
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

/* ---- the lines */

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
        cmocka_unit_test (only_exact_names_are_journal_files),
        cmocka_unit_test (a_whole_event_is_one_line_with_all_it_has),
        cmocka_unit_test (what_an_event_does_not_have_is_left_out),
        cmocka_unit_test (invalid_utf8_is_replaced_and_detail_that_is_no_json_is_a_string),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
