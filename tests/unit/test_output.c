/* The log of an attempt: head and tail within the limit, readable at every moment. */
#include "agents/output.h"
#include "agents/output_index.h"

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

#define LIMIT 4096 /* head 2048, two tails of 1024 */

static char base[64], path[128];

/* Byte `offset` of the test's stream: its neighbours and those a power of two away differ. */
static unsigned char byte_at (uint64_t offset)
{
    return (unsigned char)(offset * 31 + offset / 251);
}

static void feed (rota_output_t *output, uint64_t from, uint64_t to, size_t piece)
{
    unsigned char bytes[8192];
    while (from < to) {
        size_t size = to - from < piece ? (size_t)(to - from) : piece;
        for (size_t i = 0; i < size; i++)
            bytes[i] = byte_at (from + i);
        rota_output_write (output, bytes, size);
        from += size;
    }
}

static rota_output_t *open_log (void)
{
    rota_output_t *output = NULL;
    assert_int_equal (rota_output_open (path, LIMIT, &output, NULL), 0);
    return output;
}

/* Reads the whole from 0 on in small pieces, checks every byte, and returns how many there were. */
static uint64_t read_and_check (uint64_t *ret_total)
{
    unsigned char bytes[100];
    uint64_t offset = 0, count = 0;
    rota_output_piece_t piece;
    for (;;) {
        assert_int_equal (rota_output_read (path, offset, bytes, sizeof bytes, &piece), 0);
        if (piece.size_bytes == 0)
            break;
        assert_true (piece.offset >= offset);
        for (size_t i = 0; i < piece.size_bytes; i++)
            assert_int_equal (bytes[i], byte_at (piece.offset + i));
        offset = piece.offset + piece.size_bytes;
        count += piece.size_bytes;
    }
    *ret_total = piece.total_bytes;
    return count;
}

static void what_fits_is_kept_whole_and_alone (void **state)
{
    (void)state;
    uint64_t total;
    rota_output_summary_t summary;
    rota_output_t *output = open_log ();
    feed (output, 0, 2048, 7);
    assert_int_equal (read_and_check (&total), 2048);
    rota_output_close (&output, &summary);
    assert_null (output);
    assert_int_equal (summary.total_bytes, 2048);
    assert_int_equal (summary.dropped_bytes, 0);
    assert_int_equal (summary.failure, 0);
    assert_int_equal (read_and_check (&total), 2048);
    assert_int_equal (total, 2048);
    char beside[160];
    snprintf (beside, sizeof beside, "%s.index", path);
    assert_int_equal (access (beside, F_OK), -1);
}

static void what_fits_with_the_tail_has_no_gap (void **state)
{
    (void)state;
    uint64_t total;
    rota_output_summary_t summary;
    struct stat info;
    rota_output_t *output = open_log ();
    feed (output, 0, 4096, 100);
    rota_output_close (&output, &summary);
    assert_int_equal (summary.dropped_bytes, 0);
    assert_int_equal (read_and_check (&total), 4096);
    assert_int_equal (stat (path, &info), 0);
    assert_int_equal (info.st_size, 4096);
}

static void a_longer_stream_keeps_head_and_tail_at_every_length (void **state)
{
    (void)state;
    for (uint64_t length = 4000; length < 12000; length += 37) {
        uint64_t total;
        rota_output_summary_t summary;
        rota_output_t *output = open_log ();
        feed (output, 0, length, 333);
        uint64_t kept_while_open = read_and_check (&total);
        assert_int_equal (total, length);
        rota_output_close (&output, &summary);
        assert_int_equal (summary.total_bytes, length);
        uint64_t kept = read_and_check (&total);
        assert_int_equal (total, length);
        assert_int_equal (kept, kept_while_open);
        assert_int_equal (kept, length - summary.dropped_bytes);
        assert_true (kept <= LIMIT);
        assert_true (kept >= (length < 3072 ? length : 3072)); /* the last quarter at least */
        unsigned char last;
        rota_output_piece_t piece;
        assert_int_equal (rota_output_read (path, length - 1, &last, 1, &piece), 0);
        assert_int_equal (piece.offset, length - 1);
        assert_int_equal (last, byte_at (length - 1));
    }
}

static void the_gap_is_stated_once_between_head_and_tail (void **state)
{
    (void)state;
    rota_output_summary_t summary;
    rota_output_t *output = open_log ();
    feed (output, 0, 100000, 1000);
    rota_output_close (&output, &summary);
    char bytes[LIMIT + 200], expected[96];
    int fd = open (path, O_RDONLY);
    ssize_t size = read (fd, bytes, sizeof bytes);
    close (fd);
    snprintf (expected, sizeof expected, "\n[rota: %llu bytes left out here]\n",
              (unsigned long long)summary.dropped_bytes);
    assert_memory_equal (bytes + 2048, expected, strlen (expected));
    assert_int_equal ((size_t)size, 2048 + strlen (expected) + 100000 - 2048 - summary.dropped_bytes);
}

static void a_reader_behind_the_gap_is_told_where_it_lands (void **state)
{
    (void)state;
    unsigned char bytes[10];
    rota_output_piece_t piece;
    rota_output_summary_t summary;
    rota_output_t *output = open_log ();
    feed (output, 0, 50000, 512);
    assert_int_equal (rota_output_read (path, 5000, bytes, sizeof bytes, &piece), 0);
    assert_true (piece.offset > 5000 && piece.offset < 50000);
    assert_int_equal (bytes[0], byte_at (piece.offset));
    rota_output_close (&output, &summary);
    assert_int_equal (rota_output_read (path, 5000, bytes, sizeof bytes, &piece), 0);
    assert_int_equal (piece.offset, 2048 + summary.dropped_bytes);
    /* At and beyond the end there is nothing. */
    assert_int_equal (rota_output_read (path, 50000, bytes, sizeof bytes, &piece), 0);
    assert_int_equal (piece.size_bytes, 0);
    assert_int_equal (rota_output_read (path, UINT64_MAX, bytes, sizeof bytes, &piece), 0);
    assert_int_equal (piece.size_bytes, 0);
}

static void only_one_file_and_its_index_stay (void **state)
{
    (void)state;
    rota_output_summary_t summary;
    rota_output_t *output = open_log ();
    feed (output, 0, 50000, 512);
    rota_output_close (&output, &summary);
    size_t count = 0;
    DIR *directory = opendir (base);
    for (struct dirent *entry; (entry = readdir (directory));)
        count += entry->d_name[0] != '.';
    closedir (directory);
    assert_int_equal (count, 2);
    rota_output_remove (path);
    assert_int_equal (rmdir (base), 0);
    assert_int_equal (mkdir (base, 0700), 0);
}

static void a_second_start_begins_anew (void **state)
{
    (void)state;
    uint64_t total;
    rota_output_summary_t summary;
    rota_output_t *output = open_log ();
    feed (output, 0, 50000, 512);
    rota_output_close (&output, &summary);
    output = open_log ();
    feed (output, 0, 10, 10);
    rota_output_close (&output, &summary);
    assert_int_equal (read_and_check (&total), 10);
}

static void a_writer_that_is_killed_leaves_a_readable_log (void **state)
{
    (void)state;
    uint64_t total;
    rota_output_t *output = open_log ();
    feed (output, 0, 7777, 100);
    /* As if killed: nothing is closed before it is read. */
    uint64_t kept = read_and_check (&total);
    assert_int_equal (total, 7777);
    assert_true (kept >= 3072);
    rota_output_summary_t summary;
    rota_output_close (&output, &summary);
}

/* A file size limit is the disk that is full: writes fail with EFBIG, in the middle too. */
static void limit_files_to (rlim_t size)
{
    struct rlimit limit;
    signal (SIGXFSZ, SIG_IGN);
    getrlimit (RLIMIT_FSIZE, &limit);
    limit.rlim_cur = size;
    assert_int_equal (setrlimit (RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_drops_and_counts_and_room_is_used_again (void **state)
{
    (void)state;
    static const rlim_t SIZES[] = {0, 1, 100, 500, 1000, 1023, 1500, 2047};
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        uint64_t total;
        rota_output_summary_t summary;
        rota_output_t *output = open_log ();
        limit_files_to (SIZES[i]);
        feed (output, 0, 9000, 333);
        limit_files_to (RLIM_INFINITY);
        feed (output, 9000, 9500, 100);
        read_and_check (&total);
        rota_output_close (&output, &summary);
        assert_int_equal (summary.total_bytes, 9500);
        assert_int_equal (summary.failure, -EFBIG);
        uint64_t kept = read_and_check (&total);
        assert_int_equal (total, 9500);
        assert_int_equal (kept, 9500 - summary.dropped_bytes);
        assert_true (kept >= SIZES[i] + 500);
    }
}

static void a_disk_that_stays_full_loses_only_output (void **state)
{
    (void)state;
    uint64_t total;
    rota_output_summary_t summary;
    rota_output_t *output = open_log ();
    limit_files_to (1000);
    feed (output, 0, 20000, 333);
    rota_output_close (&output, &summary);
    limit_files_to (RLIM_INFINITY);
    assert_int_equal (summary.total_bytes, 20000);
    assert_int_equal (read_and_check (&total), 20000 - summary.dropped_bytes);
}

static void a_broken_index_is_refused_not_believed (void **state)
{
    (void)state;
    rota_output_summary_t summary;
    rota_output_piece_t piece;
    char bytes[16], beside[160];
    rota_output_t *output = open_log ();
    feed (output, 0, 50000, 512);
    rota_output_close (&output, &summary);
    snprintf (beside, sizeof beside, "%s.index", path);
    for (off_t at = 0; at < (off_t)sizeof (rota_output_index_t); at++) {
        unsigned char byte;
        int fd = open (beside, O_RDWR);
        assert_int_equal (pread (fd, &byte, 1, at), 1);
        byte ^= 0x40;
        assert_int_equal (pwrite (fd, &byte, 1, at), 1);
        assert_int_equal (rota_output_read (path, 0, bytes, sizeof bytes, &piece), -EAGAIN);
        byte ^= 0x40;
        assert_int_equal (pwrite (fd, &byte, 1, at), 1);
        close (fd);
    }
    assert_int_equal (truncate (beside, 10), 0);
    assert_int_equal (rota_output_read (path, 0, bytes, sizeof bytes, &piece), -EAGAIN);
}

static void where_there_is_no_log_the_reader_is_told (void **state)
{
    (void)state;
    rota_output_piece_t piece;
    char byte;
    assert_int_equal (rota_output_read ("/nowhere/log", 0, &byte, 1, &piece), -ENOENT);
}

static void a_link_in_the_place_of_the_log_is_not_followed (void **state)
{
    (void)state;
    char target[160];
    snprintf (target, sizeof target, "%s/target", base);
    int fd = open (target, O_WRONLY | O_CREAT, 0600);
    assert_int_equal (write (fd, "precious", 8), 8);
    close (fd);
    assert_int_equal (symlink (target, path), 0);
    rota_output_summary_t summary;
    rota_output_t *output = open_log ();
    feed (output, 0, 100, 100);
    rota_output_close (&output, &summary);
    struct stat info;
    assert_int_equal (stat (target, &info), 0);
    assert_int_equal (info.st_size, 8);
    unlink (target);
}

static int open_base (void **state)
{
    (void)state;
    strcpy (base, "/tmp/rota-output-XXXXXX");
    if (!mkdtemp (base))
        return -1;
    snprintf (path, sizeof path, "%s/1", base);
    return 0;
}

static int close_base (void **state)
{
    (void)state;
    rota_output_remove (path);
    return rmdir (base);
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, open_base, close_base)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (what_fits_is_kept_whole_and_alone),
        TEST (what_fits_with_the_tail_has_no_gap),
        TEST (a_longer_stream_keeps_head_and_tail_at_every_length),
        TEST (the_gap_is_stated_once_between_head_and_tail),
        TEST (a_reader_behind_the_gap_is_told_where_it_lands),
        TEST (only_one_file_and_its_index_stay),
        TEST (a_second_start_begins_anew),
        TEST (a_writer_that_is_killed_leaves_a_readable_log),
        TEST (a_full_disk_drops_and_counts_and_room_is_used_again),
        TEST (a_disk_that_stays_full_loses_only_output),
        TEST (a_broken_index_is_refused_not_believed),
        TEST (where_there_is_no_log_the_reader_is_told),
        TEST (a_link_in_the_place_of_the_log_is_not_followed),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
