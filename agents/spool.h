/* spool.h - one small file per attempt: that it runs, then what came of it, kept until the scheduler has it.
 *
 * DIRECTORY/STORE-KEY-NUMBER.attempt has two halves. The first says who runs the attempt and is written
 * before its command starts; the second is its outcome, written over zeros and synced, so that a full disk
 * can't prevent it and a torn write leaves the first half intact. The host removes the file once the
 * scheduler has acknowledged the report. A file that can't be understood goes to DIRECTORY/quarantine/.
 *
 * Format version 1, little-endian. Rules for changing it: new fields are appended inside a half and `length`
 * rises; a reader takes the fields it knows; anything else is a new version, and an older program moves files
 * of a newer version aside without touching them.
 *
 * Owner: the shim of the attempt writes; the host reads what a dead shim left, lists and removes.
 */
#ifndef ROTA_SPOOL_H
#define ROTA_SPOOL_H

#include "agents/attempt.h"
#include "bus/error.h"

#include <sys/types.h>

#define ROTA_SPOOL_FILE_BYTES 4096
#define ROTA_SPOOL_NAME_BYTES 96

typedef struct {
    uint8_t store[16];
    uint64_t key;
    uint32_t number;
    char task_id[201];
    uint8_t boot_id[16]; /* pids mean nothing after a reboot */
    pid_t shim_pid;
    uint64_t shim_start_ticks;
    int64_t started_ms; /* Unix */
    bool goes_on;       /* on_lost: continue */
    uint64_t epoch;     /* of the coordinator that it was given to; 0 = none, or from an older host */
} rota_spool_running_t;

typedef struct {
    rota_spool_running_t running;
    bool finished; /* `outcome` is there */
    rota_outcome_t outcome;
} rota_spool_record_t;

void rota_spool_name (const uint8_t store[16], uint64_t key, uint32_t number,
                      char ret_name[ROTA_SPOOL_NAME_BYTES]);

/* Makes the file anew, its whole size allocated. 0 and the descriptor for rota_spool_finish, or a negative
 * errno. */
int rota_spool_begin (const char *directory, const rota_spool_running_t *running, int *ret_fd,
                      rota_error_t *error);
/* Durable when it returns 0. */
int rota_spool_finish (const char *directory, int fd, const rota_outcome_t *outcome);

/* 0; -ENOENT; -EBADMSG for a file that isn't a record (it stays). */
int rota_spool_read (const char *directory, const char *name, rota_spool_record_t *ret_record);
/* Calls `take` for each record, in no order; files that can't be understood are moved to quarantine/ first
 * and given to `bad` with the reason (NULL = not wanted). The number of records, or a negative errno. */
int rota_spool_list (const char *directory,
                     void (*take) (void *context, const char *name, const rota_spool_record_t *record),
                     void (*bad) (void *context, const char *name, const char *why), void *context);
/* 0, also when it is gone already. Not synced: a record that comes back is reported twice, which is allowed.
 */
int rota_spool_remove (const char *directory, const char *name);
int rota_spool_quarantine (const char *directory, const char *name);

/* The second half by itself: what a shim that can't write its file sends to its host instead. */
#define ROTA_SPOOL_OUTCOME_MAX_BYTES 2048
size_t rota_spool_encode_outcome (const rota_outcome_t *outcome,
                                  uint8_t ret_bytes[ROTA_SPOOL_OUTCOME_MAX_BYTES]);
int rota_spool_decode_outcome (const uint8_t *bytes, size_t size_bytes, rota_outcome_t *ret_outcome);
/* A whole file. -EBADMSG with the reason in *ret_why (a static sentence). */
int rota_spool_decode (const uint8_t *bytes, size_t size_bytes, rota_spool_record_t *ret_record,
                       const char **ret_why);

void rota_spool_boot_id (uint8_t ret_id[16]);

#endif
