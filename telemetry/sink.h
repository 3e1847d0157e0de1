/* sink.h - the telemetry service: the event log of the scheduler becomes the journal on disk.
 *
 * It asks the scheduler which store it has, subscribes to the events after the journal's last one, and tells
 * the scheduler from time to time up to where the journal is on disk, so that its log can be trimmed. While
 * the journal can't take more, it doesn't subscribe; what comes meanwhile waits in the scheduler's log.
 *
 * Who wants to know of failures and the like is told by hook.h, from a cursor of its own.
 *
 * It also serves the metrics of all services over HTTP (gather.h, http.h), where the settings say.
 *
 * Owner: one thread, but for rota_sink_stop.
 */
#ifndef ROTA_SINK_H
#define ROTA_SINK_H

#include "bus/curve.h"
#include "bus/error.h"
#include "bus/ready.h"
#include "bus/settings.h"
#include "telemetry/files.h"

typedef struct rota_sink rota_sink_t;

typedef struct {
    const char *state_directory;     /* the journal is in its journal/ */
    const char *endpoints;           /* of brokers, comma-separated */
    rota_curve_t curve;              /* for brokers on tcp */
    const rota_settings_t *settings; /* must outlive it */
    rota_ready_t *ready;             /* likewise; NULL = nobody listens */
    const rota_file_ops_t *ops;      /* for faults; NULL = ROTA_FILE_OPS */
    int tell_every_ms;               /* the scheduler is told the cursor at most so often; 0 = 2000 */
} rota_sink_config_t;

/* Opens the journal; waits for nobody. -EBUSY: another sink has this journal; -EINVAL: an endpoint or
 * address that is none; else as rota_journal_open. */
int rota_sink_new (const rota_sink_config_t *config, rota_sink_t **ret_self, rota_error_t *error);
/* Until rota_sink_stop; then takes what is on its way already, writes, syncs and saves the cursor. 0, or a
 * negative errno when that last flush failed (nothing is lost: the scheduler still has those events). */
int rota_sink_run (rota_sink_t *self, rota_error_t *error);
/* From any thread or signal handler; the second time it hurries. */
void rota_sink_stop (rota_sink_t *self);
void rota_sink_destroy (rota_sink_t **self_p);

/* What a test or a status page looks at; the sink's thread, or after run has ended. */
typedef struct {
    uint64_t events;        /* written or waiting to be, by this process */
    uint64_t gaps;          /* events that were lost */
    uint64_t subscriptions; /* begun: 1 if all went well */
    uint64_t synced;        /* number of the last event that is certainly on disk */
} rota_sink_counts_t;
rota_sink_counts_t rota_sink_counts (const rota_sink_t *self);

#endif
