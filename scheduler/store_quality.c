/* The averages of quality, one row for each kind of agents and epic, and one of all. */
#include "scheduler/store_internal.h"

#include <errno.h>

int rota_store_quality (rota_store_t *self, rota_quality_scope_t scope, const char *name, size_t length,
                        rota_stored_quality_t *ret_quality)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_GET_QUALITY);
    if (!s)
        return -EIO;
    sqlite3_bind_int (s, 1, (int)scope);
    sqlite3_bind_text (s, 2, name, (int)length, SQLITE_STATIC);
    bool found = sqlite3_step (s) == SQLITE_ROW;
    if (found)
        *ret_quality = (rota_stored_quality_t){.average_micro = sqlite3_column_int64 (s, 0),
                                               .rounds = (uint64_t)sqlite3_column_int64 (s, 1)};
    sqlite3_reset (s);
    return found ? 0 : -ENOENT;
}

void rota_store_set_quality (rota_store_t *self, rota_quality_scope_t scope, const char *name, size_t length,
                             const rota_stored_quality_t *quality)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_SET_QUALITY);
    if (!s)
        return;
    sqlite3_bind_int (s, 1, (int)scope);
    sqlite3_bind_text (s, 2, name, (int)length, SQLITE_STATIC);
    sqlite3_bind_int64 (s, 3, quality->average_micro);
    sqlite3_bind_int64 (s, 4, (int64_t)quality->rounds);
    rota_store_run (self, s);
}

void rota_store_qualities (rota_store_t *self, size_t limit,
                           void (*each) (void *owner, rota_quality_scope_t scope, const char *name,
                                         size_t length, const rota_stored_quality_t *quality),
                           void *owner)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_LIST_QUALITY);
    if (!s)
        return;
    sqlite3_bind_int64 (s, 1, (int64_t)limit);
    while (sqlite3_step (s) == SQLITE_ROW) {
        const rota_stored_quality_t quality = {.average_micro = sqlite3_column_int64 (s, 2),
                                               .rounds = (uint64_t)sqlite3_column_int64 (s, 3)};
        const char *name = (const char *)sqlite3_column_text (s, 1);
        each (owner, (rota_quality_scope_t)sqlite3_column_int (s, 0), name ? name : "",
              (size_t)sqlite3_column_bytes (s, 1), &quality);
    }
    sqlite3_reset (s);
}
