/* Upkeep of the file: what is trimmed, checkpoints of the WAL, backup and restore. */
#include "bus/names.h"
#include "scheduler/schema.h"
#include "scheduler/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --------------------------------------------------------------------------------------- trimming */

/* The last of at most `limit` events, from the oldest on, that are older than `before_ms`; times may step
 * back, so the first younger one ends it. */
static uint64_t last_older (rota_store_t *self, uint64_t first, int64_t before_ms, size_t limit)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_EVENT_BEFORE);
    if (!s)
        return 0;
    sqlite3_bind_int64 (s, 1, (int64_t)first);
    sqlite3_bind_int64 (s, 2, before_ms);
    sqlite3_bind_int64 (s, 3, (int64_t)limit);
    uint64_t last = 0;
    while (sqlite3_step (s) == SQLITE_ROW)
        last = (uint64_t)sqlite3_column_int64 (s, 0);
    sqlite3_reset (s);
    return last;
}

uint64_t rota_store_trim_events (rota_store_t *self, int64_t before_ms, uint64_t cap, uint64_t cursor,
                                 size_t limit, uint64_t ret_gap[2])
{
    int64_t oldest_ms;
    uint64_t first = rota_store_first_event (self, &oldest_ms), last = rota_store_last_event (self);
    ret_gap[0] = ret_gap[1] = 0;
    if (!first)
        return 0;
    uint64_t up_to = 0;
    if (oldest_ms < before_ms)
        up_to = last_older (self, first, before_ms, limit);
    if (up_to > cursor)
        up_to = cursor;
    if (cap && last - first + 1 > cap) {
        uint64_t over = last - cap;
        if (over > first + limit - 1)
            over = first + limit - 1;
        if (over > up_to)
            up_to = over;
    }
    if (up_to < first)
        return 0;
    if (up_to > cursor) {
        ret_gap[0] = cursor >= first ? cursor + 1 : first;
        ret_gap[1] = up_to;
    }
    sqlite3_stmt *s = rota_store_sql (self, SQL_DROP_EVENTS);
    if (!s)
        return 0;
    sqlite3_bind_int64 (s, 1, (int64_t)up_to);
    rota_store_run (self, s);
    return up_to;
}

/* The first attempt of a task that stays whatever its age. */
static int64_t first_kept (int64_t newest, int64_t finished_ms, int64_t before_ms)
{
    return finished_ms && finished_ms < before_ms ? newest : newest - ROTA_ATTEMPTS_LOOKED_AT + 1;
}

/* By key, so that no index need be kept for what happens once an hour. The rows of a slice are read first:
 * their number bounds the time it takes. */
uint64_t rota_store_trim_attempts (rota_store_t *self, uint64_t after, int64_t before_ms, size_t limit,
                                   size_t *ret_dropped)
{
    sqlite3_stmt *tasks = rota_store_sql (self, SQL_TASKS_BETWEEN),
                 *drop = rota_store_sql (self, SQL_DROP_ATTEMPTS);
    uint64_t last = 0;
    *ret_dropped = 0;
    if (!tasks || !drop)
        return 0;
    sqlite3_bind_int64 (tasks, 1, (int64_t)after);
    sqlite3_bind_int64 (tasks, 2, (int64_t)(after + limit));
    while (*ret_dropped < ROTA_TRIM_ATTEMPTS && sqlite3_step (tasks) == SQLITE_ROW) {
        int64_t key = sqlite3_column_int64 (tasks, 0);
        int64_t kept =
            first_kept (sqlite3_column_int64 (tasks, 1), sqlite3_column_int64 (tasks, 2), before_ms);
        last = (uint64_t)key;
        if (kept < 2)
            continue;
        sqlite3_bind_int64 (drop, 1, key);
        sqlite3_bind_int64 (drop, 2, kept);
        sqlite3_bind_int64 (drop, 3, before_ms);
        sqlite3_bind_int64 (drop, 4, (int64_t)(ROTA_TRIM_ATTEMPTS - *ret_dropped));
        rota_store_run (self, drop);
        *ret_dropped += (size_t)sqlite3_changes (self->db);
        if (*ret_dropped >= ROTA_TRIM_ATTEMPTS)
            last--; /* more of them may be this one's */
    }
    sqlite3_reset (tasks);
    return last;
}

/* ------------------------------------------------------------------------------------ checkpoints */

#define CHECKPOINT_PAGES 1000 /* worth the sync when nothing else is to be done */
#define WAL_LIMIT_BYTES (64 << 20)

void rota_store_set_wal_limit (rota_store_t *self, int64_t limit_bytes)
{
    self->wal_limit_bytes = limit_bytes;
}

/* There is no other reader, so a passive checkpoint copies all and the next write starts the WAL anew. */
void rota_store_checkpoint (rota_store_t *self, bool idle)
{
    int64_t limit_bytes = self->wal_limit_bytes ? self->wal_limit_bytes : WAL_LIMIT_BYTES;
    int64_t wal_bytes = (int64_t)rota_store_wal_bytes (self);
    if (self->in_transaction || (wal_bytes < limit_bytes && (!idle || self->wal_pages < CHECKPOINT_PAGES)))
        return;
    /* One that was read from last still holds its snapshot: behind that nothing would be moved, ever. */
    for (sqlite3_stmt *s = NULL; (s = sqlite3_next_stmt (self->db, s));)
        if (sqlite3_stmt_busy (s))
            sqlite3_reset (s);
    int mode = wal_bytes >= 2 * limit_bytes ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    int left, copied;
    if (sqlite3_wal_checkpoint_v2 (self->db, NULL, mode, &left, &copied) == SQLITE_OK && left == copied)
        self->wal_pages = 0;
}

uint64_t rota_store_wal_bytes (const rota_store_t *self)
{
    return (uint64_t)self->wal_pages * (uint64_t)self->page_size;
}

/* ----------------------------------------------------------------------------------------- backup */

#define BACKUP_PAGES_A_STEP 512

struct rota_backup {
    sqlite3 *to;
    sqlite3_backup *copy;
    char *path, *temporary;
    uint64_t size_bytes;
};

static int sync_path (const char *path, int flags)
{
    int fd = open (path, flags | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fsync (fd) < 0 ? -errno : 0;
    close (fd);
    return r;
}

static int sync_directory_of (const char *path)
{
    char directory[PATH_MAX];
    if (snprintf (directory, sizeof directory, "%s", path) >= (int)sizeof directory)
        return -ENAMETOOLONG;
    char *slash = strrchr (directory, '/');
    if (!slash)
        return sync_path (".", O_RDONLY | O_DIRECTORY);
    slash[slash == directory] = '\0';
    return sync_path (directory, O_RDONLY | O_DIRECTORY);
}

void rota_backup_destroy (rota_backup_t **self_p)
{
    rota_backup_t *self = *self_p;
    if (!self)
        return;
    if (self->copy)
        sqlite3_backup_finish (self->copy);
    if (self->to)
        sqlite3_close (self->to);
    if (self->temporary)
        unlink (self->temporary);
    free (self->temporary);
    free (self->path);
    free (self);
    *self_p = NULL;
}

static int open_copy (rota_backup_t *self, sqlite3 *from, rota_error_t *error)
{
    mode_t mask = umask (0077);
    unlink (self->temporary);
    int code = sqlite3_open_v2 (self->temporary, &self->to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    umask (mask);
    if (code != SQLITE_OK)
        return rota_error_set (error, rota_store_errno (code), "can't write the backup %s: %s", self->path,
                               sqlite3_errstr (code));
    self->copy = sqlite3_backup_init (self->to, "main", from, "main");
    if (!self->copy)
        return rota_error_set (error, -EIO, "can't start the backup: %s", sqlite3_errmsg (self->to));
    return 0;
}

static int backup_from (sqlite3 *from, const char *path, rota_backup_t **ret_backup, rota_error_t *error)
{
    rota_backup_t *self = calloc (1, sizeof *self);
    int r = -ENOMEM;
    if (self && (self->path = strdup (path)) && asprintf (&self->temporary, "%s.part", path) > 0)
        r = open_copy (self, from, error);
    if (r < 0) {
        rota_backup_destroy (&self);
        return r;
    }
    *ret_backup = self;
    return 0;
}

int rota_backup_start (rota_store_t *self, const char *path, rota_backup_t **ret_backup, rota_error_t *error)
{
    struct stat there;
    if (path[0] != '/')
        return rota_error_set (error, -EINVAL, "the backup's path must be absolute: %s", path);
    if (stat (path, &there) == 0 && !S_ISREG (there.st_mode))
        return rota_error_set (error, -EINVAL, "%s is no regular file", path);
    return backup_from (self->db, path, ret_backup, error);
}

/* Out of WAL mode, so that the copy is one file; synced before it gets its name. */
static int finish_backup (rota_backup_t *self, rota_error_t *error)
{
    sqlite3_backup_finish (self->copy);
    self->copy = NULL;
    int code = sqlite3_exec (self->to, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
    sqlite3_close (self->to);
    self->to = NULL;
    if (code != SQLITE_OK)
        return rota_error_set (error, rota_store_errno (code), "can't finish the backup: %s",
                               sqlite3_errstr (code));
    struct stat status = {0};
    int r = sync_path (self->temporary, O_RDONLY);
    if (r == 0 && (stat (self->temporary, &status) < 0 || rename (self->temporary, self->path) < 0))
        r = -errno;
    if (r == 0)
        r = sync_directory_of (self->path);
    if (r < 0)
        return rota_error_set (error, r, "can't finish the backup %s: %s", self->path, strerror (-r));
    self->size_bytes = (uint64_t)status.st_size;
    return 1;
}

int rota_backup_step (rota_backup_t *self, rota_error_t *error)
{
    int code = sqlite3_backup_step (self->copy, BACKUP_PAGES_A_STEP);
    if (code == SQLITE_DONE)
        return finish_backup (self, error);
    if (code == SQLITE_OK || code == SQLITE_BUSY || code == SQLITE_LOCKED)
        return 0;
    return rota_error_set (error, rota_store_errno (code), "the backup %s: %s", self->path,
                           sqlite3_errstr (code));
}

uint64_t rota_backup_size (const rota_backup_t *self)
{
    return self->size_bytes;
}

/* ---------------------------------------------------------------------------------------- restore */

static int is_sound (sqlite3 *db, rota_error_t *error)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2 (db, "PRAGMA quick_check (1)", -1, &s, NULL) != SQLITE_OK ||
        sqlite3_step (s) != SQLITE_ROW) {
        sqlite3_finalize (s);
        return rota_error_set (error, -EIO, "it is no store: %s", sqlite3_errmsg (db));
    }
    bool ok = strcmp ((const char *)sqlite3_column_text (s, 0), "ok") == 0;
    if (!ok)
        rota_error_set (error, -EIO, "it is damaged: %s", sqlite3_column_text (s, 0));
    sqlite3_finalize (s);
    if (ok && sqlite3_prepare_v2 (db, "SELECT count(*) FROM meta WHERE key = 'incarnation'", -1, &s, NULL) ==
                  SQLITE_OK) {
        ok = sqlite3_step (s) == SQLITE_ROW && sqlite3_column_int (s, 0) == 1;
        sqlite3_finalize (s);
    } else {
        ok = false;
    }
    return ok ? 0 : rota_error_set (error, -EINVAL, "it is no store of rota");
}

static int give_new_incarnation (const char *path, rota_error_t *error)
{
    rota_store_t *store;
    int r = rota_store_open (path, &store, error);
    if (r < 0)
        return r;
    uint8_t incarnation[16];
    rota_instance_new (incarnation);
    sqlite3_stmt *s = rota_store_sql (store, SQL_SET_META);
    r = rota_store_begin (store, error);
    if (r == 0 && s) {
        sqlite3_bind_text (s, 1, "incarnation", -1, SQLITE_STATIC);
        sqlite3_bind_blob (s, 2, incarnation, 16, SQLITE_STATIC);
        rota_store_run (store, s);
        r = rota_store_commit (store, error);
    }
    rota_store_close (&store);
    return r;
}

/* The backup is copied beside the store, made a new incarnation there, and only then takes the store's place.
 */
int rota_store_restore (const char *backup, const char *path, rota_error_t *error)
{
    sqlite3 *from = NULL;
    rota_backup_t *copy = NULL;
    char staged[PATH_MAX], side[PATH_MAX];
    if (snprintf (staged, sizeof staged, "%s.restored", path) >= (int)sizeof staged)
        return rota_error_set (error, -ENAMETOOLONG, "%s", path);
    int code = sqlite3_open_v2 (backup, &from, SQLITE_OPEN_READONLY, NULL);
    int r = code == SQLITE_OK ? is_sound (from, error)
                              : rota_error_set (error, -ENOENT, "%s", sqlite3_errstr (code));
    if (r == 0)
        r = backup_from (from, staged, &copy, error);
    while (r == 0)
        r = rota_backup_step (copy, error);
    rota_backup_destroy (&copy);
    sqlite3_close (from);
    if (r == 1)
        r = give_new_incarnation (staged, error);
    for (int i = 0; i < 2 && r == 0; i++) {
        snprintf (side, sizeof side, "%.*s%s", (int)sizeof side - 8, path, i ? "-wal" : "-shm");
        if (unlink (side) < 0 && errno != ENOENT)
            r = rota_error_set (error, -errno, "can't remove %s: %s", side, strerror (errno));
    }
    if (r == 0 && rename (staged, path) < 0)
        r = rota_error_set (error, -errno, "can't put it in place: %s", strerror (errno));
    return r == 0 ? sync_directory_of (path) : rota_error_prefix (error, r, "restore %s", backup);
}
