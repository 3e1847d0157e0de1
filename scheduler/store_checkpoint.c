/* Checkpoints in the file: added, read, and kept by number and age. */
#include "scheduler/store_internal.h"

#include <errno.h>

static void read_row (sqlite3_stmt *s, rota_stored_checkpoint_t *ret_checkpoint)
{
    const char *cause = (const char *)sqlite3_column_text (s, 2);
    *ret_checkpoint = (rota_stored_checkpoint_t){.id = (uint64_t)sqlite3_column_int64 (s, 0),
                                                 .time_ms = sqlite3_column_int64 (s, 1),
                                                 .cause = cause ? cause : "",
                                                 .body = sqlite3_column_blob (s, 3),
                                                 .size = (size_t)sqlite3_column_bytes (s, 3)};
}

uint64_t rota_store_add_checkpoint (rota_store_t *self, const char *cause, const uint8_t *body, size_t size,
                                    int64_t wall_ms)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_ADD_CHECKPOINT);
    if (!s)
        return 0;
    sqlite3_bind_int64 (s, 1, wall_ms);
    sqlite3_bind_text (s, 2, cause, -1, SQLITE_STATIC);
    sqlite3_bind_blob (s, 3, body, (int)size, SQLITE_STATIC);
    rota_store_run (self, s);
    return self->failed ? 0 : (uint64_t)sqlite3_last_insert_rowid (self->db);
}

size_t rota_store_checkpoints (rota_store_t *self, uint64_t before, size_t limit,
                               void (*each) (void *owner, const rota_stored_checkpoint_t *it), void *owner)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_CHECKPOINTS_BEFORE);
    size_t count = 0;
    if (!s)
        return 0;
    sqlite3_bind_int64 (s, 1, before < INT64_MAX ? (int64_t)before : INT64_MAX);
    sqlite3_bind_int64 (s, 2, (int64_t)limit);
    for (; sqlite3_step (s) == SQLITE_ROW; count++) {
        rota_stored_checkpoint_t it;
        read_row (s, &it);
        each (owner, &it);
    }
    sqlite3_reset (s);
    return count;
}

int rota_store_get_checkpoint (rota_store_t *self, uint64_t id,
                               void (*each) (void *owner, const rota_stored_checkpoint_t *it), void *owner)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_GET_CHECKPOINT);
    if (!s)
        return -EIO;
    sqlite3_bind_int64 (s, 1, id < INT64_MAX ? (int64_t)id : INT64_MAX);
    bool there = sqlite3_step (s) == SQLITE_ROW;
    if (there) {
        rota_stored_checkpoint_t it;
        read_row (s, &it);
        each (owner, &it);
    }
    sqlite3_reset (s);
    return there ? 0 : -ENOENT;
}

typedef struct {
    size_t count, cap;
    int64_t before_ms;
    uint64_t drop;
} trimming_t;

/* Newest first: the first that is too much, or too old as all before it are, and with it these. One that was
 * taken while the clock was back is only gone with those before it. */
static void look (void *owner, const rota_stored_checkpoint_t *it)
{
    trimming_t *trimming = owner;
    bool too_many = ++trimming->count > trimming->cap;
    if (!too_many && it->time_ms >= trimming->before_ms)
        trimming->drop = 0;
    else if (!trimming->drop)
        trimming->drop = it->id;
}

void rota_store_trim_checkpoints (rota_store_t *self, int64_t before_ms, size_t cap)
{
    trimming_t trimming = {.cap = cap, .before_ms = before_ms};
    rota_store_checkpoints (self, UINT64_MAX, cap + 1, look, &trimming);
    sqlite3_stmt *s = trimming.drop ? rota_store_sql (self, SQL_DROP_CHECKPOINTS) : NULL;
    if (!s)
        return;
    sqlite3_bind_int64 (s, 1, (int64_t)trimming.drop);
    rota_store_run (self, s);
}
