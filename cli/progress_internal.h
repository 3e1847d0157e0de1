/* progress_internal.h - what progress.c (what happened) and frame.c (how it looks on a terminal) share.
 *
 * Owner thread: the client's.
 */
#ifndef ROTA_PROGRESS_INTERNAL_H
#define ROTA_PROGRESS_INTERNAL_H

#include "cli/progress.h"

#define RUNNING_MAX 10
#define WAITS_MAX 3
#define STATUSES (ROTA__TASK_STATUS__TASK_STATUS_CANCELLED + 1)

typedef struct entry {
    ProtobufCBinaryData id, title;
    int64_t started_ms; /* of the attempt under way, wall clock; 0 = none */
    int64_t spent_ms;
    Rota__TaskStatus status; /* the last one that an event told, 0 = none yet */
    bool failure_due;        /* it failed; said together with its last output, which must be asked for */
    char *reason;            /* of that failure, clean */
    struct entry *next_due;
} entry_t;

typedef struct {
    char *id, *title;
    int64_t started_ms;
    Rota__Phase phase;
    uint32_t attempt;
    bool stopping;
} running_t;

struct rota_progress {
    const rota_cli_t *cli;
    entry_t *entries; /* sorted by id */
    size_t count;
    size_t open;
    unsigned id_columns;
    rota_progress_sums_t sums;
    entry_t *first_due, *last_due; /* failures to be told, in order */
    size_t failures_told;

    bool has_status;
    bool coordinated;    /* somebody was told of as the coordinator */
    uint64_t status_seq; /* events up to this number are in the figures */
    uint64_t counts[STATUSES];
    uint64_t total, unreachable, running_total;
    bool paused;
    running_t running[RUNNING_MAX];
    size_t running_count;
    char *waits[WAITS_MAX];
    size_t wait_count;

    int64_t began_ms; /* monotonic */
    char *above;      /* lines to be printed once */
    size_t above_size;
    FILE *above_stream;
    char *frame; /* what stands on the terminal now */
    unsigned frame_lines;
    unsigned turns;
};

/* The stream that collects what goes above the live part, or plain standard output. */
FILE *rota_frame_above (rota_progress_t *self);
/* Takes the live part off the screen and prints what was to go above it. */
void rota_frame_end (rota_progress_t *self);

#endif
