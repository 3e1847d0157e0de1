/* attempt.h - what the agent host, the spawner, the shim and the spool agree on about one attempt.
 *
 * Processes: rota-agent forks a spawner before it has threads (spawner.h); the spawner forks one shim per
 * attempt (shim.h), without exec, so that an attempt costs two forks and one exec. The shim is the parent of
 * the command's whole tree (subreaper), holds the deadlines itself, writes the output files and, at the end,
 * the spool record.
 */
#ifndef ROTA_ATTEMPT_H
#define ROTA_ATTEMPT_H

#include "proto/envelope.h"

#include <stdbool.h>
#include <stdint.h>

/* Where a steerable command reads what it is told while it works: texts, each ended by a NUL. */
#define ROTA_TELL_FD 3
#define ROTA_TELL_MAX_BYTES ((size_t)16 << 10)

/* What is to be run: all that a shim needs. Strings are borrowed for the call that takes it. */
typedef struct {
    uint8_t store[16];        /* incarnation of the store the attempt counts in */
    uint64_t key;             /* of the task, in that store */
    uint32_t number;          /* of the attempt */
    uint64_t epoch;           /* of the coordinator that it was given to; 0 = it needs none */
    const char *task_id;      /* at most ROTA_ID_MAX_BYTES */
    char *const *argv;        /* NULL-terminated; argv[0] is looked up in the environment's PATH */
    char *const *environment; /* NULL-terminated, the whole of it */
    const char *directory;    /* to run in */
    const char *log_path;     /* output: see output.h for the files beside it */
    const char *spool_directory;
    const char *input; /* text for standard input, or NULL = /dev/null */
    uint64_t output_limit_bytes;
    uint32_t timeout_ms; /* 0 = none */
    uint32_t silence_ms; /* without output; 0 = none */
    uint32_t grace_ms;   /* between TERM and KILL */
    uint32_t lease_ms;   /* ends the tree when not renewed for so long; 0 = never (on_lost: continue) */
    int stop_signal;     /* what suits the program, SIGTERM mostly */
    uint64_t memory_limit_bytes; /* 0 = none */
    const char *cgroup_parent;   /* directory under which a cgroup may be made, or NULL */
    bool apart; /* standard error is read apart from standard output (streams.h), else in order of arrival */
    bool steerable;        /* it reads what it is told at ROTA_TELL_FD */
    uint32_t least_ms;     /* success in less is not believed; for who prepares the attempt */
    char *const *writable; /* directories in which the program keeps things, NULL-terminated; or NULL. For who
                              prepares the attempt: the shim doesn't get them */
} rota_attempt_t;

/* Why a shim ended its tree before the command ended by itself. */
typedef enum {
    ROTA_END_NONE,
    ROTA_END_TIMEOUT,
    ROTA_END_SILENCE,
    ROTA_END_STOPPED, /* the host said so */
    ROTA_END_LEASE,   /* not renewed, or the host is gone */
    ROTA_END_MEMORY,
} rota_end_t;

/* What came of it, as spooled. `tree_dead` false is possible only when even SIGKILL left something
 * (uninterruptible sleep): then the record says so and the host does not free the slot. */
typedef struct {
    uint8_t store[16];
    uint64_t key;
    uint32_t number;
    char task_id[201];
    bool started;  /* false: exec or set-up failed, errno in exit_code's place */
    int exit_code; /* -1 when ended by a signal */
    int signal;
    rota_end_t end;
    bool tree_dead;
    int64_t started_ms; /* Unix */
    int64_t finished_ms;
    uint64_t user_us, system_us, max_rss_bytes;
    uint64_t output_bytes, output_dropped_bytes;
    char message[256]; /* set-up failure in words */
} rota_outcome_t;

/* How an attempt travels from the host to its shim: in a memory file, so that neither its size nor a slow
 * reader matters. 0 and *ret_fd (close-on-exec, the caller's), -E2BIG over 64 MiB, or what the kernel says.
 */
int rota_attempt_pack (const rota_attempt_t *attempt, int *ret_fd);
/* 0; -EBADMSG for a record that was cut. What *ret_attempt points at lives as long as the process: a shim has
 * one attempt. */
int rota_attempt_unpack (int fd, rota_attempt_t *ret_attempt);

#endif
