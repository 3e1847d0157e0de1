/* The store on a disk that fails: every write and every sync of a small life in turn, by a VFS between SQLite
 * and the file. What was acknowledged is there afterwards, what wasn't is not there by half, and the error
 * says which kind of fault it was. */
#include "proto/words.h"
#include "scheduler/store.h"

#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define BATCHES 6
#define EVENTS_A_BATCH 40

/* ----------------------------------------------------------------------------------- the faulty VFS */

static struct {
    sqlite3_vfs vfs, *real;
    int writes, syncs;                 /* so far */
    int write_fails_at, sync_fails_at; /* from this one on; 0 = never */
    int code;
} disk;

typedef struct {
    sqlite3_file base;
    sqlite3_file *real;
} file_t;

#define REAL(file) (((file_t *)(file))->real)

static int on_close (sqlite3_file *file)
{
    return REAL (file)->pMethods->xClose (REAL (file));
}
static int on_read (sqlite3_file *file, void *bytes, int size, sqlite3_int64 at)
{
    return REAL (file)->pMethods->xRead (REAL (file), bytes, size, at);
}
static int on_write (sqlite3_file *file, const void *bytes, int size, sqlite3_int64 at)
{
    if (++disk.writes >= disk.write_fails_at && disk.write_fails_at)
        return disk.code;
    return REAL (file)->pMethods->xWrite (REAL (file), bytes, size, at);
}
static int on_truncate (sqlite3_file *file, sqlite3_int64 size)
{
    return REAL (file)->pMethods->xTruncate (REAL (file), size);
}
static int on_sync (sqlite3_file *file, int flags)
{
    if (++disk.syncs >= disk.sync_fails_at && disk.sync_fails_at)
        return SQLITE_IOERR_FSYNC;
    return REAL (file)->pMethods->xSync (REAL (file), flags);
}
static int on_size (sqlite3_file *file, sqlite3_int64 *size)
{
    return REAL (file)->pMethods->xFileSize (REAL (file), size);
}
static int on_lock (sqlite3_file *file, int level)
{
    return REAL (file)->pMethods->xLock (REAL (file), level);
}
static int on_unlock (sqlite3_file *file, int level)
{
    return REAL (file)->pMethods->xUnlock (REAL (file), level);
}
static int on_check (sqlite3_file *file, int *result)
{
    return REAL (file)->pMethods->xCheckReservedLock (REAL (file), result);
}
static int on_control (sqlite3_file *file, int op, void *argument)
{
    return REAL (file)->pMethods->xFileControl (REAL (file), op, argument);
}
static int on_sector (sqlite3_file *file)
{
    return REAL (file)->pMethods->xSectorSize (REAL (file));
}
static int on_character (sqlite3_file *file)
{
    return REAL (file)->pMethods->xDeviceCharacteristics (REAL (file));
}
static int on_map (sqlite3_file *file, int page, int size, int extend, void volatile **memory)
{
    return REAL (file)->pMethods->xShmMap (REAL (file), page, size, extend, memory);
}
static int on_shm_lock (sqlite3_file *file, int offset, int n, int flags)
{
    return REAL (file)->pMethods->xShmLock (REAL (file), offset, n, flags);
}
static void on_barrier (sqlite3_file *file)
{
    REAL (file)->pMethods->xShmBarrier (REAL (file));
}
static int on_unmap (sqlite3_file *file, int remove)
{
    return REAL (file)->pMethods->xShmUnmap (REAL (file), remove);
}

static const sqlite3_io_methods METHODS = {
    .iVersion = 2,
    .xClose = on_close,
    .xRead = on_read,
    .xWrite = on_write,
    .xTruncate = on_truncate,
    .xSync = on_sync,
    .xFileSize = on_size,
    .xLock = on_lock,
    .xUnlock = on_unlock,
    .xCheckReservedLock = on_check,
    .xFileControl = on_control,
    .xSectorSize = on_sector,
    .xDeviceCharacteristics = on_character,
    .xShmMap = on_map,
    .xShmLock = on_shm_lock,
    .xShmBarrier = on_barrier,
    .xShmUnmap = on_unmap,
};

static int on_open (sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    file_t *self = (file_t *)file;
    (void)vfs;
    self->real = (sqlite3_file *)(self + 1);
    int code = disk.real->xOpen (disk.real, name, self->real, flags, out);
    file->pMethods = self->real->pMethods ? &METHODS : NULL;
    return code;
}

static void put_disk_in (void)
{
    disk.real = sqlite3_vfs_find (NULL);
    disk.vfs = *disk.real;
    disk.vfs.zName = "faulty";
    disk.vfs.szOsFile = (int)sizeof (file_t) + disk.real->szOsFile;
    disk.vfs.xOpen = on_open;
    sqlite3_vfs_register (&disk.vfs, 1);
}

/* ------------------------------------------------------------------------------------- a small life */

typedef struct {
    char directory[64], path[96];
} place_t;

static void clear (const place_t *place)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char path[128];
    for (size_t i = 0; i < 3; i++) {
        snprintf (path, sizeof path, "%s%s", place->path, ends[i]);
        unlink (path);
    }
}

static int set_up (void **state)
{
    place_t *place = calloc (1, sizeof *place);
    strcpy (place->directory, "/tmp/rota-faults-XXXXXX");
    if (!mkdtemp (place->directory))
        return -1;
    snprintf (place->path, sizeof place->path, "%s/rota.db", place->directory);
    *state = place;
    return 0;
}

static int tear_down (void **state)
{
    place_t *place = *state;
    clear (place);
    rmdir (place->directory);
    free (place);
    return 0;
}

/* A batch of events, committed. */
static int write_batch (rota_store_t *store, int64_t time_ms)
{
    rota_error_t error;
    int r = rota_store_begin (store, &error);
    for (int i = 0; r == 0 && i < EVENTS_A_BATCH; i++) {
        const rota_core_event_t event = {.type = EVENT (CONTROL),
                                         .node = ROTA_NONE,
                                         .agent = ROTA_NONE,
                                         .reason =
                                             "a text that takes some room in the file, so that pages fill"};
        rota_store_add_event (store, &event, time_ms);
    }
    return r < 0 ? r : rota_store_commit (store, &error);
}

/* Batches until one fails. How many were acknowledged; the first fault in *ret_fault. -1: it didn't open. */
static int live (const place_t *place, int *ret_fault)
{
    rota_store_t *store;
    rota_error_t error = {""};
    uint64_t epoch;
    *ret_fault = rota_store_open (place->path, &store, &error);
    if (*ret_fault < 0)
        return -1;
    *ret_fault = rota_store_take_role (store, &epoch, &error);
    int done = 0;
    while (*ret_fault == 0 && done < BATCHES) {
        *ret_fault = write_batch (store, 1000 + done);
        done += *ret_fault == 0;
        if (done == BATCHES / 2)
            rota_store_checkpoint (store, true);
    }
    rota_store_close (&store);
    return done;
}

static bool is_sound (rota_store_t *store)
{
    sqlite3_stmt *s;
    assert_int_equal (sqlite3_prepare_v2 (rota_store_handle (store), "PRAGMA integrity_check", -1, &s, NULL),
                      SQLITE_OK);
    bool sound =
        sqlite3_step (s) == SQLITE_ROW && strcmp ((const char *)sqlite3_column_text (s, 0), "ok") == 0;
    sqlite3_finalize (s);
    return sound;
}

/* The disk is whole again: all that was acknowledged, and nothing by half. */
static void expect (const place_t *place, int acknowledged, int fault_at)
{
    rota_store_t *store;
    rota_error_t error = {""};
    disk.write_fails_at = disk.sync_fails_at = 0;
    if (rota_store_open (place->path, &store, &error) < 0)
        fail_msg ("after fault %d: %s", fault_at, error.text);
    assert_true (is_sound (store));
    uint64_t events = rota_store_count (store, "event");
    /* One that failed in its sync may be there as a whole: nobody was told either way. */
    bool whole = events % EVENTS_A_BATCH == 0, there = events >= (uint64_t)(acknowledged * EVENTS_A_BATCH),
         no_more = events <= (uint64_t)((acknowledged + 1) * EVENTS_A_BATCH);
    if (!whole || !there || !no_more)
        fail_msg ("fault %d: %d batches were acknowledged, %llu events are there", fault_at, acknowledged,
                  (unsigned long long)events);
    assert_int_equal (write_batch (store, 9000), 0);
    rota_store_close (&store);
    clear (place);
}

static void fail_each_write (const place_t *place, int code, int wanted)
{
    int clean = 0, seen = 0;
    for (int at = 1; !clean; at++) {
        int fault;
        disk.writes = disk.syncs = 0;
        disk.write_fails_at = at;
        disk.code = code;
        int done = live (place, &fault);
        clean = fault == 0;
        if (fault && done >= 0) {
            if (fault != wanted)
                fail_msg ("write %d: %d is not %d", at, fault, wanted);
            seen++;
        }
        expect (place, done < 0 ? 0 : done, at);
        if (done < 0)
            clear (place);
    }
    assert_true (seen > 5);
}

static void a_full_disk_is_said_and_costs_nothing (void **state)
{
    fail_each_write (*state, SQLITE_FULL, -ENOSPC);
}

static void a_disk_that_cannot_be_written_is_said_and_costs_nothing (void **state)
{
    fail_each_write (*state, SQLITE_READONLY, -EROFS);
}

static void an_io_error_is_said_and_costs_nothing (void **state)
{
    fail_each_write (*state, SQLITE_IOERR_WRITE, -EIO);
}

static void a_sync_that_fails_is_an_io_error_and_costs_nothing (void **state)
{
    int clean = 0, seen = 0;
    for (int at = 1; !clean; at++) {
        int fault;
        disk.writes = disk.syncs = 0;
        disk.write_fails_at = 0;
        disk.sync_fails_at = at;
        int done = live (*state, &fault);
        clean = fault == 0;
        if (fault && done >= 0) {
            assert_int_equal (fault, -EIO);
            seen++;
        }
        expect (*state, done < 0 ? 0 : done, at);
    }
    assert_true (seen > 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, set_up, tear_down)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (a_full_disk_is_said_and_costs_nothing),
        TEST (a_disk_that_cannot_be_written_is_said_and_costs_nothing),
        TEST (an_io_error_is_said_and_costs_nothing),
        TEST (a_sync_that_fails_is_an_io_error_and_costs_nothing),
    };
    put_disk_in ();
    return cmocka_run_group_tests (tests, NULL, NULL);
}
