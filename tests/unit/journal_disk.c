#include "tests/unit/journal_disk.h"

#include "telemetry/event_json.h"
#include "telemetry/journal.h"

#include <errno.h>
#include <fcntl.h>
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

const uint8_t JOURNAL_STORE[16] = "0123456789abcdef";

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
    return ROTA_FILE_OPS.rename (NULL, directory, from, to);
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

void disk_wait (disk_t *disk, int64_t ms)
{
    disk->wall_ms += ms;
    disk->monotonic_ms += ms;
}

int new_disk (void **state)
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

int remove_disk (void **state)
{
    disk_t *disk = *state;
    char command[128];
    snprintf (command, sizeof command, "rm -rf '%s'", disk->path);
    assert_int_equal (system (command), 0);
    free (disk);
    return 0;
}

const char *disk_path (const disk_t *disk, const char *name)
{
    static char text[4][192];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf (text[turn], sizeof text[turn], "%s/%s", disk->path, name);
    return text[turn];
}

bool disk_has (const disk_t *disk, const char *name)
{
    return access (disk_path (disk, name), F_OK) == 0;
}

int64_t disk_size_of (const disk_t *disk, const char *name)
{
    struct stat status;
    return stat (disk_path (disk, name), &status) < 0 ? -1 : status.st_size;
}

int disk_try_journal (disk_t *disk, int64_t rotate_bytes, rota_journal_t **ret_journal)
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

rota_journal_t *disk_journal_sized (disk_t *disk, int64_t rotate_bytes)
{
    rota_journal_t *journal = NULL;
    assert_int_equal (disk_try_journal (disk, rotate_bytes, &journal), 0);
    assert_int_equal (rota_journal_set_store (journal, JOURNAL_STORE), 0);
    return journal;
}

rota_journal_t *disk_journal (disk_t *disk)
{
    return disk_journal_sized (disk, 1 << 26);
}

int journal_append_at (rota_journal_t *journal, uint64_t seq, int64_t time_ms)
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

int journal_append (disk_t *disk, rota_journal_t *journal, uint64_t seq)
{
    return journal_append_at (journal, seq, disk->wall_ms);
}

void journal_append_range (disk_t *disk, rota_journal_t *journal, uint64_t first, uint64_t last)
{
    for (uint64_t seq = first; seq <= last; seq++)
        assert_int_equal (journal_append (disk, journal, seq), 1);
}

void journal_settle (rota_journal_t *journal)
{
    for (int turn = 0; turn < 10000 && rota_journal_tick (journal) == 0; turn++)
        ;
}

static void read_file (const disk_t *disk, const char *name, content_t *content)
{
    gzFile stream = gzopen (disk_path (disk, name), "rb");
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

content_t *disk_read_all (const disk_t *disk)
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

void disk_assert_events (const disk_t *disk, uint64_t first, uint64_t last)
{
    const content_t *content = disk_read_all (disk);
    assert_int_equal (content->count, last - first + 1);
    for (size_t i = 0; i < content->count; i++)
        assert_int_equal (content->seqs[i], first + i);
}

void disk_write_raw (const disk_t *disk, const char *name, const char *mode, const void *bytes, size_t length)
{
    FILE *file = fopen (disk_path (disk, name), mode);
    assert_non_null (file);
    assert_int_equal (fwrite (bytes, 1, length, file), length);
    fclose (file);
}

void disk_crash (disk_t *disk, rota_journal_t **journal)
{
    disk->dies_at = 1;
    rota_journal_close (journal);
    disk->dies_at = 0;
}
