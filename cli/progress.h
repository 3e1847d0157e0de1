/* progress.h - the live view of a run: what has just happened above, what happens now below.
 *
 * On a terminal the lower part (bar, running tasks, what waits and why) is redrawn in place; elsewhere every
 * event that matters is one plain line, or one JSON object with --json. Nothing is written when nothing has
 * changed. It knows only the tasks it was given; events of others pass by.
 *
 * Owner thread: the client's. Invariant: with live, the cursor stands below the last frame between two calls.
 */
#ifndef ROTA_PROGRESS_H
#define ROTA_PROGRESS_H

#include "cli/cli.h"

typedef struct rota_progress rota_progress_t;

/* A task as it is known before anything has happened. Bytes are borrowed and must outlive the progress. */
typedef struct {
    ProtobufCBinaryData id, title;
} rota_known_t;

/* A task that ended while we looked. */
typedef struct {
    ProtobufCBinaryData id;
    int64_t duration_ms;
} rota_timed_t;

#define ROTA_SLOWEST 3

typedef struct {
    uint64_t finished;                  /* tasks that became done */
    uint64_t failed;                    /* attempts that failed for good */
    int64_t task_ms;                    /* spent in tasks, all attempts added up */
    rota_timed_t slowest[ROTA_SLOWEST]; /* longest first; empty ids at the end */
} rota_progress_sums_t;

/* `known` is copied (not its bytes). NULL on no memory. */
rota_progress_t *rota_progress_new (const rota_cli_t *cli, const rota_known_t *known, size_t count);
/* Takes the live part off the screen. */
void rota_progress_destroy (rota_progress_t **self_p);

/* Takes note; true when it concerns one of the known tasks. */
bool rota_progress_event (rota_progress_t *self, const Rota__Event *event);
/* The newest figures; copied. */
void rota_progress_status (rota_progress_t *self, const Rota__StatusReply *status);
/* A line for people (already a sentence); with --json an object of type "note". */
void rota_progress_note (rota_progress_t *self, rota_style_t style, const char *text);
/* The next task that has failed and has not been told of yet; to be answered by rota_progress_failure.
 * *ret_output: its last lines are wanted (they are for the first `most` failures). */
bool rota_progress_next_failure (rota_progress_t *self, size_t most, ProtobufCBinaryData *ret_id,
                                 bool *ret_output);
/* Tells of the failure, with the lines that were printed last; `output` may be empty. */
void rota_progress_failure (rota_progress_t *self, ProtobufCBinaryData id, ProtobufCBinaryData output);

/* Writes what is new. With `tick` the times of running tasks move too. */
void rota_progress_draw (rota_progress_t *self, bool tick);
/* Known tasks that are not done, failed, cancelled or blocked, as far as events told. */
size_t rota_progress_open (const rota_progress_t *self);
void rota_progress_sums (const rota_progress_t *self, rota_progress_sums_t *ret_sums);

/* Makes the cursor visible again; async-signal-safe. */
void rota_progress_restore_terminal (void);

#endif
