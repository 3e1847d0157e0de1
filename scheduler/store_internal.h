/* store_internal.h - shared by the store's files.
 *
 * store.c opening, transactions, writes    store_read.c loading, queries    store_keep.c trimming,
 * checkpoints, backup store_check.c verification  store_health.c the mode and what happened of late
 */
#ifndef ROTA_STORE_INTERNAL_H
#define ROTA_STORE_INTERNAL_H

#include "proto/words.h"
#include "scheduler/store.h"

#include <sqlite3.h>

typedef enum {
#define STATEMENT(NAME, PLAN, sql) SQL_##NAME,
#include "scheduler/statements.def"
    SQL_COUNT
} sql_t;

struct rota_store {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *statements[SQL_COUNT];
    uint8_t incarnation[16];
    uint64_t epoch;
    uint64_t generation;
    bool in_transaction;
    int failed; /* first failure since begin, as errno */
    rota_error_t failure;
    int wal_pages;
    int64_t wal_limit_bytes; /* 0 = the default */
    int page_size;
};

/* Flags of a task's row: written numbers, so never change them. */
enum {
    ROW_APPROVAL = 1,
    ROW_KEEP = 2,
    ROW_ORPHANED = 4,
    ROW_FLAGGED = 8,
    ROW_SKIPPED = 16,
    ROW_LOST = 32,
    ROW_CANCELLING = 64,
    ROW_HOLDING = 128,
    ROW_SILENT = 256, /* of approval: as its group */
    ROW_ASKED = 4096,
};

/* Ready to be bound; NULL when it can't be prepared (kept as a failure). */
sqlite3_stmt *rota_store_sql (rota_store_t *self, sql_t which);
const char *rota_store_text (sql_t which);
/* Runs a statement that gives no row and resets it. */
void rota_store_run (rota_store_t *self, sqlite3_stmt *statement);
void rota_store_fail (rota_store_t *self, int sqlite_code);
/* Texts by name, beside rota_store_set_number's numbers; "" when there is none. */
void rota_store_set_text (rota_store_t *self, const char *name, const char *text);
void rota_store_get_text (rota_store_t *self, const char *name, char *ret_text, size_t capacity);

#endif
