/* store.h - the SQLite file: what the core decided, made durable; and the core rebuilt from it.
 *
 * The scheduler's process holds one connection and is the only one that opens the file. All writes happen
 * between rota_store_begin and rota_store_commit; begin takes the write lock and checks that this process
 * still holds the scheduler's epoch (design 3.2). Times are Unix milliseconds.
 *
 * Owner: the scheduler's thread. After a failed commit the core must be rebuilt; after -EIO from the commit's
 * sync the process must end (a retry may lie).
 */
#ifndef ROTA_STORE_H
#define ROTA_STORE_H

#include "bus/error.h"
#include "scheduler/budget.h"
#include "scheduler/core.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct rota_store rota_store_t;

/* Opens or creates `path` (0600), migrates. -EPROTO: newer schema; -EBUSY: somebody else holds it;
 * -ENOTDIR...; -EIO: not a database, or damaged. */
int rota_store_open (const char *path, rota_store_t **ret_store, rota_error_t *error);
void rota_store_close (rota_store_t **self_p);

const uint8_t *rota_store_incarnation (const rota_store_t *self); /* 16 bytes */

/* Makes this process the scheduler: raises the epoch in a transaction. */
int rota_store_take_role (rota_store_t *self, uint64_t *ret_epoch, rota_error_t *error);

/* 0; -ESTALE: another process took the role, end; -ENOSPC, -EROFS, -EIO, -EBUSY. */
int rota_store_begin (rota_store_t *self, rota_error_t *error);
/* Synced when it returns 0. Else everything since begin is undone. */
int rota_store_commit (rota_store_t *self, rota_error_t *error);
void rota_store_rollback (rota_store_t *self);

/* ------------------------------------------------------------------ writes; a failure is kept and fails the
 * commit */

typedef struct {
    const char *title;
    size_t title_length;
    const uint8_t *spec; /* packed TaskSpec without id, title, status and positions */
    size_t spec_size;
} rota_definition_t;

/* `staged`: generation of the import that adds it, or 0. */
void rota_store_add_task (rota_store_t *self, const rota_core_t *core, rota_node_t node, Rota__TaskType type,
                          const rota_definition_t *definition, uint64_t staged, int64_t wall_ms);
void rota_store_set_task (rota_store_t *self, const rota_core_t *core, rota_node_t node, int64_t wall_ms);
void rota_store_set_definition (rota_store_t *self, rota_node_t node, const rota_definition_t *definition);
void rota_store_add_dependency (rota_store_t *self, rota_node_t node, rota_node_t prerequisite,
                                Rota__DependencyType type);
void rota_store_drop_dependency (rota_store_t *self, rota_node_t node, rota_node_t prerequisite);
/* Returns the number of the event, 0 on failure. */
uint64_t rota_store_add_event (rota_store_t *self, const rota_core_event_t *event, int64_t wall_ms);
void rota_store_add_attempt (rota_store_t *self, const rota_core_ended_t *ended, int64_t wall_ms);
void rota_store_set_agent (rota_store_t *self, const rota_core_t *core, rota_agent_t agent,
                           const char *version);
void rota_store_set_account (rota_store_t *self, const rota_core_t *core, rota_account_t account);

/* Budgets (store_budget.c): all limits set by hand; a tally; what is reserved for a task that runs. */
void rota_store_set_budgets (rota_store_t *self, const rota_core_t *core);
void rota_store_set_tally (rota_store_t *self, const rota_core_t *core, uint32_t tally);
void rota_store_set_estimate (rota_store_t *self, const rota_core_estimate_t *estimate);
void rota_store_set_reservation (rota_store_t *self, rota_node_t node, const char *account,
                                 const int64_t amount[ROTA_MEASURES]);
void rota_store_drop_reservation (rota_store_t *self, rota_node_t node);
void rota_store_set_windows (rota_store_t *self, const rota_core_t *core);
/* After rota_store_load, the names of sources, and the limits of the settings. */
int rota_store_load_budgets (rota_store_t *self, rota_core_t *core, rota_error_t *error);

/* The session that a program left, and what it had used since it began; negative = it didn't say. */
typedef struct {
    rota_agent_t agent;
    char id[129];
    int64_t input, output, cached, cost_nano_usd;
} rota_session_t;
/* What it changes, one glob a line; NULL = none. */
void rota_store_set_claim (rota_store_t *self, rota_node_t node, const char *globs, bool learned);
void rota_store_set_session (rota_store_t *self, rota_node_t node, const rota_session_t *session);
void rota_store_drop_session (rota_store_t *self, rota_node_t node);
/* -ENOENT. */
int rota_store_session (rota_store_t *self, rota_node_t node, rota_session_t *ret_session);
void rota_store_set_class (rota_store_t *self, const rota_core_t *core, uint32_t class_index);
void rota_store_set_source (rota_store_t *self, uint32_t source, const char *name, size_t name_length,
                            const uint8_t *header, size_t header_size);
void rota_store_set_number (rota_store_t *self, const char *name, int64_t value);
/* Holder, epoch, since when and why; load after the agents. */
void rota_store_set_coordinator (rota_store_t *self, const rota_core_t *core);
void rota_store_load_coordinator (rota_store_t *self, rota_core_t *core);
/* The mode and what happened of late; load before anything happens. */
void rota_store_set_health (rota_store_t *self, const rota_core_t *core);
void rota_store_load_health (rota_store_t *self, rota_core_t *core);
int64_t rota_store_number (rota_store_t *self, const char *name, int64_t fallback);
void rota_store_set_conversation (rota_store_t *self, const uint8_t id[16], uint64_t low,
                                  const uint8_t *window, size_t window_size, int64_t wall_ms);
void rota_store_drop_conversation (rota_store_t *self, const uint8_t id[16]);
/* Removes the rows of a staged import that did not come to its end. */
void rota_store_unstage (rota_store_t *self, rota_node_t first, rota_node_t end);
/* The flip: what was staged up to `generation` is there. */
void rota_store_show_generation (rota_store_t *self, uint64_t generation);
uint64_t rota_store_generation (const rota_store_t *self);

/* ------------------------------------------------------------------ reads */

typedef struct {
    void *owner;
    void (*on_source) (void *owner, uint32_t source, const char *name, size_t name_length,
                       const uint8_t *header, size_t header_size);
    void (*on_conversation) (void *owner, const uint8_t id[16], uint64_t low, const uint8_t *window,
                             size_t window_size, int64_t used_ms);
    void (*on_agent_version) (void *owner, rota_agent_t agent, const char *version);
} rota_store_load_t;
/* Rebuilds an empty core. Rows of an unfinished import are removed from the file first. */
int rota_store_load (rota_store_t *self, rota_core_t *core, const rota_store_load_t *load, int64_t now_ms,
                     rota_error_t *error);

/* Valid until the next read. -ENOENT. */
int rota_store_definition (rota_store_t *self, rota_node_t node, rota_definition_t *ret_definition);

typedef struct {
    int64_t created_ms, started_ms, finished_ms; /* 0 = not yet */
    Rota__TaskType type;
} rota_task_times_t;
int rota_store_times (rota_store_t *self, rota_node_t node, rota_task_times_t *ret_times);

typedef struct {
    uint64_t seq;
    int64_t time_ms;
    rota_core_event_t event;
    size_t reason_length;
} rota_stored_event_t;
/* Events with seq > after, in order, at most `limit`, of one task or (ROTA_NONE) all; with `last` the newest,
 * newest first. `each` returns false to stop. Returns how many were given. */
size_t rota_store_events (rota_store_t *self, uint64_t after, size_t limit, rota_node_t node, bool last,
                          bool (*each) (void *owner, const rota_stored_event_t *event), void *owner);
uint64_t rota_store_last_event (rota_store_t *self);
uint64_t rota_store_first_event (rota_store_t *self, int64_t *ret_time_ms);

typedef struct {
    uint32_t number;
    Rota__Phase phase;
    rota_agent_t agent;
    int64_t assigned_ms, finished_ms;
    Rota__ResultClass result_class;
    bool used;
    const uint8_t *result; /* packed Result, or NULL */
    size_t result_size;
} rota_stored_attempt_t;
/* Newest first. */
size_t rota_store_attempts (rota_store_t *self, rota_node_t node, size_t limit,
                            void (*each) (void *owner, const rota_stored_attempt_t *attempt), void *owner);
/* Averages of quality (store_quality.c). 0, or -ENOENT: no data. The name's text is SQLite's while `each`
 * runs. */
typedef enum { ROTA_QUALITY_ALL, ROTA_QUALITY_KIND, ROTA_QUALITY_EPIC } rota_quality_scope_t;
typedef struct {
    int64_t average_micro;
    uint64_t rounds;
} rota_stored_quality_t;
int rota_store_quality (rota_store_t *self, rota_quality_scope_t scope, const char *name, size_t length,
                        rota_stored_quality_t *ret_quality);
void rota_store_set_quality (rota_store_t *self, rota_quality_scope_t scope, const char *name, size_t length,
                             const rota_stored_quality_t *quality);
void rota_store_qualities (rota_store_t *self, size_t limit,
                           void (*each) (void *owner, rota_quality_scope_t scope, const char *name,
                                         size_t length, const rota_stored_quality_t *quality),
                           void *owner);
void rota_store_dependencies (rota_store_t *self, rota_node_t node,
                              void (*each) (void *owner, rota_node_t prerequisite, Rota__DependencyType type),
                              void *owner);

/* ------------------------------------------------------------------ upkeep */

/* Removes at most `limit` events that are older than `before_ms` or over `cap` in number, never past `cursor`
 * unless over the cap. In a transaction of the caller's. Returns the number of the last one removed, 0 for
 * none; *ret_gap: the first and last that the sink (cursor) had not seen. */
uint64_t rota_store_trim_events (rota_store_t *self, int64_t before_ms, uint64_t cap, uint64_t cursor,
                                 size_t limit, uint64_t ret_gap[2]);
/* What is done in one go: a few milliseconds. */
#define ROTA_TRIM_EVENTS 2000
#define ROTA_TRIM_ATTEMPTS 2000
#define ROTA_SWEEP_TASKS 2000 /* looked at */
/* So many of a task's newest attempts are all that anything is ever looked for in. */
#define ROTA_ATTEMPTS_LOOKED_AT 512
/* Removes the attempts that ended before `before_ms`, but for each task's newest one, its newest that
 * succeeded, and its newest at the work that did (what it delivered); of a task that has not ended, or not
 * before that time, ROTA_ATTEMPTS_LOOKED_AT stay. Looks at the next `limit` tasks after key `after`, and ends
 * before that when ROTA_TRIM_ATTEMPTS went, so that nobody waits for long. In a transaction of the caller's.
 * Returns the key to go on after, 0 when there was no task; *ret_dropped attempts went. */
uint64_t rota_store_trim_attempts (rota_store_t *self, uint64_t after, int64_t before_ms, size_t limit,
                                   size_t *ret_dropped);
/* Checkpoints of the essential state (checkpoint.h, store_checkpoint.c). */
typedef struct {
    uint64_t id;
    int64_t time_ms;
    const char *cause;
    const uint8_t *body;
    size_t size;
} rota_stored_checkpoint_t;
/* In a transaction. Its id, 0 when that failed. */
uint64_t rota_store_add_checkpoint (rota_store_t *self, const char *cause, const uint8_t *body, size_t size,
                                    int64_t wall_ms);
/* Newest first, ids below `before`, at most `limit`. How many were given. */
size_t rota_store_checkpoints (rota_store_t *self, uint64_t before, size_t limit,
                               void (*each) (void *owner, const rota_stored_checkpoint_t *it), void *owner);
/* -ENOENT. */
int rota_store_get_checkpoint (rota_store_t *self, uint64_t id,
                               void (*each) (void *owner, const rota_stored_checkpoint_t *it), void *owner);
/* In a transaction: keeps at most `cap`, none that is older than `before_ms`. */
void rota_store_trim_checkpoints (rota_store_t *self, int64_t before_ms, size_t cap);

/* Moves the WAL into the file when it has grown; `idle` = nothing waits. Cheap to call after every batch.
 * Ends what was read last. */
void rota_store_checkpoint (rota_store_t *self, bool idle);
/* From this size on a checkpoint no longer waits for an idle moment; from twice of it on the WAL is cut. */
void rota_store_set_wal_limit (rota_store_t *self, int64_t limit_bytes);
uint64_t rota_store_wal_bytes (const rota_store_t *self);

/* A copy while running: start, then step until it is done (1) or failed; steps are bounded in time (a few
 * ms). */
typedef struct rota_backup rota_backup_t;
int rota_backup_start (rota_store_t *self, const char *path, rota_backup_t **ret_backup, rota_error_t *error);
int rota_backup_step (rota_backup_t *backup, rota_error_t *error);
uint64_t rota_backup_size (const rota_backup_t *backup);
void rota_backup_destroy (rota_backup_t **self_p);

/* Puts a backup in place of `path`, under a new incarnation; nobody may have the store open. */
int rota_store_restore (const char *backup, const char *path, rota_error_t *error);

/* Verifies the file: SQLite's own check, rows, references, moves and the event log against rows. Calls `each`
 * for each fault, at most 1000. 0 or -EIO. */
int rota_store_check (rota_store_t *self, const rota_core_t *core,
                      void (*each) (void *owner, const char *fault), void *owner, rota_error_t *error);
uint64_t rota_store_count (rota_store_t *self, const char *table);

/* One function from SQLite's codes to errno. */
int rota_store_errno (int sqlite_code);

/* For the test of query plans. */
struct sqlite3 *rota_store_handle (rota_store_t *self);

#endif
