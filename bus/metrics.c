#include "bus/metrics.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LABELS 2

typedef enum { COUNTER, GAUGE, DURATION, LATENCY } kind_t;

static const struct {
    uint32_t number;
    kind_t kind;
    const char *name, *labels, *help;
} TABLE[ROTA_METRIC_COUNT] = {
#define METRIC(number, ID, name, KIND, labels, help) {number, KIND, name, labels, help},
#include "bus/metrics.def"
};

/* Seconds, as they are written. */
static const struct {
    double at;
    const char *text;
} BOUNDS[2][ROTA_HISTOGRAM_BOUNDS] = {
    {{0.1, "0.1"},
     {1, "1"},
     {5, "5"},
     {15, "15"},
     {60, "60"},
     {300, "300"},
     {900, "900"},
     {1800, "1800"},
     {3600, "3600"},
     {14400, "14400"}},
    {{0.0005, "0.0005"},
     {0.001, "0.001"},
     {0.0025, "0.0025"},
     {0.005, "0.005"},
     {0.01, "0.01"},
     {0.025, "0.025"},
     {0.05, "0.05"},
     {0.1, "0.1"},
     {0.5, "0.5"},
     {2, "2"}},
};

typedef struct {
    rota_metric_t metric;
    char labels[LABELS][ROTA_METRIC_LABEL_BYTES];
    double value;
    rota_histogram_t histogram;
} sample_t;

struct rota_metrics {
    sample_t *items;
    size_t count, capacity;
};

static bool is_histogram (rota_metric_t metric)
{
    return TABLE[metric].kind == DURATION || TABLE[metric].kind == LATENCY;
}

static size_t label_count (rota_metric_t metric)
{
    const char *labels = TABLE[metric].labels;
    return !*labels ? 0 : strchr (labels, ',') ? 2 : 1;
}

void rota_histogram_add (rota_histogram_t *self, rota_metric_t metric, double seconds)
{
    size_t at = 0;
    if (!(seconds >= 0))
        seconds = 0; /* a clock that was set back */
    while (at < ROTA_HISTOGRAM_BOUNDS && seconds > BOUNDS[TABLE[metric].kind == LATENCY][at].at)
        at++;
    self->buckets[at]++;
    self->sum += seconds;
}

/* ---- collecting */

rota_metrics_t *rota_metrics_new (void)
{
    return calloc (1, sizeof (rota_metrics_t));
}

void rota_metrics_destroy (rota_metrics_t **self_p)
{
    if (*self_p)
        free ((*self_p)->items);
    free (*self_p);
    *self_p = NULL;
}

void rota_metrics_clear (rota_metrics_t *self)
{
    self->count = 0;
}

size_t rota_metrics_count (const rota_metrics_t *self)
{
    return self->count;
}

/* NULL when there is no room; a metric less does no harm. */
static sample_t *add (rota_metrics_t *self, rota_metric_t metric)
{
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? 2 * self->capacity : 64;
        sample_t *items =
            self->count < ROTA_METRICS_MAX ? realloc (self->items, capacity * sizeof *items) : NULL;
        if (!items)
            return NULL;
        self->items = items;
        self->capacity = capacity;
    }
    if (self->count >= ROTA_METRICS_MAX)
        return NULL;
    sample_t *sample = &self->items[self->count++];
    *sample = (sample_t){.metric = metric};
    return sample;
}

static void set_label (sample_t *sample, size_t at, const void *text, size_t length)
{
    char *label = sample->labels[at];
    size_t kept = length < ROTA_METRIC_LABEL_BYTES ? length : ROTA_METRIC_LABEL_BYTES - 1;
    if (kept)
        memcpy (label, text, kept);
    label[kept] = '\0';
}

void rota_metrics_add (rota_metrics_t *self, rota_metric_t metric, double value, const char *label,
                       const char *second)
{
    sample_t *sample = add (self, metric);
    if (!sample)
        return;
    sample->value = value;
    if (label)
        set_label (sample, 0, label, strlen (label));
    if (second)
        set_label (sample, 1, second, strlen (second));
}

void rota_metrics_add_histogram (rota_metrics_t *self, rota_metric_t metric,
                                 const rota_histogram_t *histogram, const char *label)
{
    sample_t *sample = add (self, metric);
    if (!sample)
        return;
    sample->histogram = *histogram;
    if (label)
        set_label (sample, 0, label, strlen (label));
}

static uint64_t count_fds (void)
{
    uint64_t count = 0;
    DIR *directory = opendir ("/proc/self/fd");
    for (struct dirent *entry; directory && (entry = readdir (directory));)
        count += entry->d_name[0] != '.';
    if (directory)
        closedir (directory);
    return count ? count - 1 : 0; /* without the one that looks */
}

void rota_process_use (rota_process_use_t *ret_use)
{
    struct rusage used = {0};
    unsigned long long total = 0, resident = 0;
    FILE *file = fopen ("/proc/self/statm", "re");
    if (file) {
        if (fscanf (file, "%llu %llu", &total, &resident) != 2)
            resident = 0;
        fclose (file);
    }
    getrusage (RUSAGE_SELF, &used);
    *ret_use = (rota_process_use_t){
        .cpu_s = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                 (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6,
        .resident_bytes = (uint64_t)resident * (uint64_t)sysconf (_SC_PAGESIZE),
        .open_fds = count_fds (),
    };
}

void rota_metrics_add_use (rota_metrics_t *self, const char *service, const rota_process_use_t *use)
{
    rota_metrics_add (self, ROTA_METRIC_CPU, use->cpu_s, service, NULL);
    rota_metrics_add (self, ROTA_METRIC_RESIDENT, (double)use->resident_bytes, service, NULL);
    rota_metrics_add (self, ROTA_METRIC_OPEN_FDS, (double)use->open_fds, service, NULL);
}

/* ---- between services */

typedef struct {
    Rota__Sample sample;
    ProtobufCBinaryData labels[LABELS];
} packed_t;

int rota_metrics_pack (const rota_metrics_t *self, Rota__MetricsReply *ret_reply)
{
    packed_t *items = calloc (self->count + 1, sizeof *items);
    Rota__Sample **list = calloc (self->count + 1, sizeof *list);
    if (!items || !list) {
        free (items);
        free (list);
        return -ENOMEM;
    }
    list[self->count] = &items[0].sample; /* behind the end, so that unpacked finds it when there are none */
    for (size_t i = 0; i < self->count; i++) {
        sample_t *from = &self->items[i];
        Rota__Sample *to = list[i] = &items[i].sample;
        rota__sample__init (to);
        to->has_metric = true;
        to->metric = TABLE[from->metric].number;
        to->n_labels = label_count (from->metric);
        to->labels = items[i].labels;
        for (size_t l = 0; l < to->n_labels; l++)
            items[i].labels[l] = rota_bytes (from->labels[l]);
        if (is_histogram (from->metric)) {
            to->n_buckets = ROTA_HISTOGRAM_BOUNDS + 1;
            to->buckets = from->histogram.buckets;
            to->has_sum = true;
            to->sum = from->histogram.sum;
        } else {
            to->has_value = true;
            to->value = from->value;
        }
    }
    rota__metrics_reply__init (ret_reply);
    ret_reply->n_samples = self->count;
    ret_reply->samples = list;
    return 0;
}

void rota_metrics_unpacked (Rota__MetricsReply *reply)
{
    if (reply->samples)
        free (reply->samples[reply->n_samples]);
    free (reply->samples);
    reply->samples = NULL;
    reply->n_samples = 0;
}

static rota_metric_t find (uint32_t number)
{
    rota_metric_t at = 0;
    while (at < ROTA_METRIC_COUNT && TABLE[at].number != number)
        at++;
    return at;
}

void rota_metrics_take (rota_metrics_t *self, const Rota__MetricsReply *reply)
{
    for (size_t i = 0; i < reply->n_samples; i++) {
        const Rota__Sample *from = reply->samples[i];
        rota_metric_t metric = find (from->metric);
        if (metric == ROTA_METRIC_COUNT || from->n_labels != label_count (metric) ||
            (is_histogram (metric) && from->n_buckets != ROTA_HISTOGRAM_BOUNDS + 1))
            continue;
        sample_t *to = add (self, metric);
        if (!to)
            return;
        for (size_t l = 0; l < from->n_labels; l++)
            set_label (to, l, from->labels[l].data, from->labels[l].len);
        if (is_histogram (metric)) {
            memcpy (to->histogram.buckets, from->buckets, sizeof to->histogram.buckets);
            to->histogram.sum = from->sum;
        } else {
            to->value = from->value;
        }
    }
}

/* ---- text */

static void put_number (FILE *stream, double value)
{
    if (isfinite (value) && value == trunc (value) && fabs (value) < 1e15)
        fprintf (stream, "%.0f", value);
    else if (isfinite (value))
        fprintf (stream, "%.15g", value);
    else
        fputs (isnan (value) ? "NaN" : value > 0 ? "+Inf" : "-Inf", stream);
}

static void put_value (FILE *stream, const char *text)
{
    for (; *text; text++)
        if (*text == '\n')
            fputs ("\\n", stream);
        else if (*text == '"' || *text == '\\')
            fprintf (stream, "\\%c", *text);
        else
            fputc ((unsigned char)*text < ' ' ? '?' : *text, stream);
}

/* {kind="exec",result="ok"}, and `le` after them for a bucket. */
static void put_labels (FILE *stream, const sample_t *sample, const char *le)
{
    const char *name = TABLE[sample->metric].labels;
    size_t count = label_count (sample->metric);
    if (!count && !le)
        return;
    fputc ('{', stream);
    for (size_t i = 0; i < count; i++) {
        size_t length = strcspn (name, ",");
        fprintf (stream, "%s%.*s=\"", i ? "," : "", (int)length, name);
        put_value (stream, sample->labels[i]);
        fputc ('"', stream);
        name += length + 1;
    }
    if (le)
        fprintf (stream, "%sle=\"%s\"", count ? "," : "", le);
    fputc ('}', stream);
}

static void put_histogram (FILE *stream, const sample_t *sample)
{
    const char *name = TABLE[sample->metric].name;
    uint64_t count = 0;
    for (size_t i = 0; i <= ROTA_HISTOGRAM_BOUNDS; i++) {
        bool last = i == ROTA_HISTOGRAM_BOUNDS;
        count += sample->histogram.buckets[i];
        fprintf (stream, "%s_bucket", name);
        put_labels (stream, sample, last ? "+Inf" : BOUNDS[TABLE[sample->metric].kind == LATENCY][i].text);
        fprintf (stream, " %llu\n", (unsigned long long)count);
    }
    fprintf (stream, "%s_sum", name);
    put_labels (stream, sample, NULL);
    fputc (' ', stream);
    put_number (stream, sample->histogram.sum);
    fprintf (stream, "\n%s_count", name);
    put_labels (stream, sample, NULL);
    fprintf (stream, " %llu\n", (unsigned long long)count);
}

static const char *const KINDS[] = {
    [COUNTER] = "counter", [GAUGE] = "gauge", [DURATION] = "histogram", [LATENCY] = "histogram"};

void rota_metrics_print (const rota_metrics_t *self, FILE *stream)
{
    for (rota_metric_t metric = 0; metric < ROTA_METRIC_COUNT; metric++) {
        bool first = true;
        for (size_t i = 0; i < self->count; i++) {
            const sample_t *sample = &self->items[i];
            if (sample->metric != metric)
                continue;
            if (first)
                fprintf (stream, "# HELP %s %s\n# TYPE %s %s\n", TABLE[metric].name, TABLE[metric].help,
                         TABLE[metric].name, KINDS[TABLE[metric].kind]);
            first = false;
            if (is_histogram (metric)) {
                put_histogram (stream, sample);
                continue;
            }
            fputs (TABLE[metric].name, stream);
            put_labels (stream, sample, NULL);
            fputc (' ', stream);
            put_number (stream, sample->value);
            fputc ('\n', stream);
        }
    }
}

void rota_metrics_print_reference (FILE *stream)
{
    fputs (
        "# Metrics\n\n"
        "With `telemetry.metrics_listen` set, the sink serves these at `/metrics` in Prometheus' text format "
        "([operations](../operations.md#metrics)).\nCounters and histograms count from the start of the "
        "service that they are of; durations are seconds.\n\n"
        "| name | kind | labels | |\n|---|---|---|---|\n",
        stream);
    for (rota_metric_t metric = 0; metric < ROTA_METRIC_COUNT; metric++) {
        const char *comma = strchr (TABLE[metric].labels, ',');
        fprintf (stream, "| `%s` | %s | %.*s%s%s | %s |\n", TABLE[metric].name, KINDS[TABLE[metric].kind],
                 comma ? (int)(comma - TABLE[metric].labels) : (int)strlen (TABLE[metric].labels),
                 TABLE[metric].labels, comma ? ", " : "", comma ? comma + 1 : "", TABLE[metric].help);
    }
}
