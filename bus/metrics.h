/* metrics.h - figures of a service, sent between services and written in Prometheus' text format.
 *
 *     rota_metrics_t *metrics = rota_metrics_new ();
 *     rota_metrics_add (metrics, ROTA_METRIC_TASKS, 7, "done", NULL);
 *     rota_metrics_print (metrics, stream);
 *
 * Names, kinds and labels are the table bus/metrics.def. At most ROTA_METRICS_MAX samples are held, however
 * many are added: whoever scrapes them is never given an unbounded number of series.
 *
 * Owner: one thread.
 */
#ifndef ROTA_METRICS_H
#define ROTA_METRICS_H

#include "proto/envelope.h"

#include <stdio.h>

typedef enum {
#define METRIC(number, ID, name, KIND, labels, help) ROTA_METRIC_##ID,
#include "bus/metrics.def"
    ROTA_METRIC_COUNT
} rota_metric_t;

#define ROTA_METRICS_MAX 2000
#define ROTA_METRIC_LABEL_BYTES 64

#define ROTA_HISTOGRAM_BOUNDS 10
typedef struct {
    uint64_t buckets[ROTA_HISTOGRAM_BOUNDS + 1]; /* each counts its own; the last what is over all bounds */
    double sum;
} rota_histogram_t;
/* `metric` says which bounds. */
void rota_histogram_add (rota_histogram_t *self, rota_metric_t metric, double seconds);

typedef struct rota_metrics rota_metrics_t;

rota_metrics_t *rota_metrics_new (void); /* NULL on no memory */
void rota_metrics_destroy (rota_metrics_t **self_p);
void rota_metrics_clear (rota_metrics_t *self);
size_t rota_metrics_count (const rota_metrics_t *self);

/* As many labels as the table says, the others NULL; they are copied, and cut at ROTA_METRIC_LABEL_BYTES. */
void rota_metrics_add (rota_metrics_t *self, rota_metric_t metric, double value, const char *label,
                       const char *second);
void rota_metrics_add_histogram (rota_metrics_t *self, rota_metric_t metric,
                                 const rota_histogram_t *histogram, const char *label);
/* Processor time, memory and descriptors of this process. */
typedef struct {
    double cpu_s;
    uint64_t resident_bytes, open_fds;
} rota_process_use_t;
void rota_process_use (rota_process_use_t *ret_use);
void rota_metrics_add_use (rota_metrics_t *self, const char *service, const rota_process_use_t *use);

/* The samples as a message that borrows from `self`; free *ret_reply's memory with rota_metrics_unpacked. 0
 * or -ENOMEM. */
int rota_metrics_pack (const rota_metrics_t *self, Rota__MetricsReply *ret_reply);
void rota_metrics_unpacked (Rota__MetricsReply *reply);
/* What another service sent: samples that the table doesn't know, or that don't fit it, are left out. */
void rota_metrics_take (rota_metrics_t *self, const Rota__MetricsReply *reply);

/* Text format 0.0.4. */
void rota_metrics_print (const rota_metrics_t *self, FILE *stream);
/* docs/reference/metrics.md. */
void rota_metrics_print_reference (FILE *stream);

#endif
