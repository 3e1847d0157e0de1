/* bench_journal - what the journal costs: events a second to disk, and write calls for a quiet hour.
 *
 * usage: bench_journal [EVENTS [DIRECTORY]]. Prints a figure a line and never judges them (perf.md has the
 * goals: 200000 events/s; 20 write calls for 1000 events an hour). Ends with 1 only when an event is missing
 * or doubled in what was written.
 */
#include "bus/clock.h"
#include "telemetry/event_json.h"
#include "telemetry/journal.h"
#include "telemetry/scan.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_EVENTS 1000000
#define EVENTS_A_TURN 1000 /* as many as a message of the bus holds */
#define HOUR_MS (3600 * 1000)

typedef struct {
    rota_file_ops_t ops;
    uint64_t writes, syncs, bytes;
    int64_t wall_ms, monotonic_ms; /* 0 = the real clocks */
} counters_t;

static ssize_t count_write (void *owner, int fd, const void *bytes, size_t size_bytes)
{
    counters_t *counters = owner;
    counters->writes++;
    counters->bytes += size_bytes;
    return ROTA_FILE_OPS.write (NULL, fd, bytes, size_bytes);
}

static int count_sync (void *owner, int fd)
{
    counters_t *counters = owner;
    counters->syncs++;
    return ROTA_FILE_OPS.sync (NULL, fd);
}

static int64_t fake_wall (void *owner)
{
    return ((counters_t *)owner)->wall_ms;
}

static int64_t fake_monotonic (void *owner)
{
    return ((counters_t *)owner)->monotonic_ms;
}

static double seconds_since (const struct timespec *start)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

/* Of the usual kind and length: a task moves, with agent, reason and a little detail in one of four. */
static void make_event (uint64_t seq, int64_t time_ms, char text[64], Rota__Event *ret_event)
{
    static const char AGENT[] = "exec@workstation",
                      REASON[] = "the command ended with exit code 0 after 1.2 s";
    static const char DETAIL[] = "{\"exit_code\":0,\"duration_ms\":1200,\"output_bytes\":4711}";
    rota__event__init (ret_event);
    ret_event->seq = seq;
    ret_event->time_ms = time_ms;
    ret_event->type = ROTA__EVENT_TYPE__EVENT_TYPE_TASK_MOVED;
    ret_event->has_task = ret_event->has_attempt = ret_event->has_agent = ret_event->has_from_status = true;
    ret_event->has_to_status = ret_event->has_phase = ret_event->has_result_class = ret_event->has_reason =
        true;
    ret_event->task.data = (uint8_t *)text;
    ret_event->task.len = (size_t)snprintf (text, 64, "storage/invoices/T%" PRIu64, seq / 3);
    ret_event->attempt = 1;
    ret_event->agent = (ProtobufCBinaryData){sizeof AGENT - 1, (uint8_t *)AGENT};
    ret_event->from_status = ROTA__TASK_STATUS__TASK_STATUS_IN_PROGRESS;
    ret_event->to_status = ROTA__TASK_STATUS__TASK_STATUS_DONE;
    ret_event->phase = ROTA__PHASE__PHASE_WORK;
    ret_event->result_class = ROTA__RESULT_CLASS__RESULT_CLASS_OK;
    ret_event->reason = (ProtobufCBinaryData){sizeof REASON - 1, (uint8_t *)REASON};
    ret_event->has_detail = seq % 4 == 0;
    ret_event->detail = (ProtobufCBinaryData){sizeof DETAIL - 1, (uint8_t *)DETAIL};
}

static int append (rota_journal_t *journal, uint64_t seq, int64_t time_ms, rota_text_t *line)
{
    char text[64];
    Rota__Event event;
    make_event (seq, time_ms, text, &event);
    line->size_bytes = 0;
    int rc = rota_event_json (&event, line);
    return rc < 0 ? rc : rota_journal_append (journal, seq, time_ms, line->bytes, line->size_bytes);
}

static rota_journal_t *open_journal (const char *parent, const char *name, int64_t interval_ms,
                                     counters_t *counters)
{
    char directory[512];
    rota_error_t error;
    rota_journal_t *journal;
    snprintf (directory, sizeof directory, "%s/%s", parent, name);
    counters->ops = ROTA_FILE_OPS;
    counters->ops.owner = counters;
    counters->ops.write = count_write;
    counters->ops.sync = count_sync;
    const rota_journal_config_t config = {.directory = directory,
                                          .batch_records = 100,
                                          .batch_interval_ms = interval_ms,
                                          .rotate_bytes = 64 << 20,
                                          .ops = &counters->ops,
                                          .owner = counters,
                                          .wall_ms = counters->wall_ms ? fake_wall : NULL,
                                          .monotonic_ms = counters->wall_ms ? fake_monotonic : NULL};
    static const uint8_t store[16] = "bench-bench-benc";
    if (rota_journal_open (&config, &journal, &error) < 0 || rota_journal_set_store (journal, store) < 0) {
        fprintf (stderr, "bench_journal: %s\n", error.text);
        exit (2);
    }
    return journal;
}

static void measure_lines (uint64_t events)
{
    rota_text_t line = {0};
    struct timespec start;
    uint64_t bytes = 0;
    int64_t now_ms = rota_clock_wall_ms ();
    clock_gettime (CLOCK_MONOTONIC, &start);
    for (uint64_t seq = 1; seq <= events; seq++) {
        char text[64];
        Rota__Event event;
        make_event (seq, now_ms, text, &event);
        line.size_bytes = 0;
        if (rota_event_json (&event, &line) < 0)
            exit (2);
        bytes += line.size_bytes;
    }
    double seconds = seconds_since (&start);
    rota_text_free (&line);
    printf ("event to JSON                        %9.0f events/s, %.0f bytes each\n",
            (double)events / seconds, (double)bytes / (double)events);
}

/* All events of all files, each once? */
static uint64_t count_events (const char *parent, const char *name, int64_t *ret_bytes)
{
    char path[512];
    snprintf (path, sizeof path, "%s/%s", parent, name);
    int directory = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rota_journal_file_t *files = NULL;
    size_t count = 0;
    uint64_t records = 0, last = 0;
    *ret_bytes = 0;
    if (directory < 0 || rota_journal_list (&ROTA_FILE_OPS, directory, false, &files, &count) < 0)
        exit (2);
    for (size_t i = 0; i < count; i++) {
        rota_scan_t found;
        if (rota_scan (directory, files[i].name, 0, true, &found) < 0 || found.rest_bytes ||
            found.last <= last)
            exit (1);
        records += found.records;
        last = found.last;
        *ret_bytes += files[i].size_bytes;
    }
    free (files);
    close (directory);
    return records == last ? records : 0;
}

static bool measure_rate (const char *parent, uint64_t events)
{
    counters_t counters = {0};
    rota_text_t line = {0};
    struct timespec start;
    rota_journal_t *journal = open_journal (parent, "rate", 5000, &counters);
    int64_t now_ms = rota_clock_wall_ms ();
    double slowest_turn = 0;

    clock_gettime (CLOCK_MONOTONIC, &start);
    for (uint64_t seq = 1; seq <= events;) {
        struct timespec turn;
        clock_gettime (CLOCK_MONOTONIC, &turn);
        for (int i = 0; i < EVENTS_A_TURN && seq <= events; i++, seq++)
            if (append (journal, seq, now_ms, &line) != 1)
                exit (1);
        rota_journal_tick (journal);
        double seconds = seconds_since (&turn);
        slowest_turn = seconds > slowest_turn ? seconds : slowest_turn;
    }
    if (rota_journal_flush (journal) < 0)
        exit (1);
    double synced = seconds_since (&start);
    uint64_t writes = counters.writes, syncs = counters.syncs;
    while (rota_journal_is_compressing (journal))
        rota_journal_tick (journal);
    double compressed = seconds_since (&start);
    rota_journal_close (&journal);
    rota_text_free (&line);

    int64_t bytes;
    uint64_t found = count_events (parent, "rate", &bytes);
    printf ("events to disk, synced, compressing  %9.0f events/s (%" PRIu64 " events, %.2f s, %" PRIu64
            " writes, %" PRIu64 " syncs)\n",
            (double)events / synced, events, synced, writes, syncs);
    printf ("the same until all is compressed     %9.0f events/s, %.1f bytes an event left on disk\n",
            (double)events / compressed, (double)bytes / (double)events);
    printf ("longest turn of the loop             %9.1f ms (%d events, a batch's sync, a piece of gzip)\n",
            slowest_turn * 1000, EVENTS_A_TURN);
    printf ("read back                            %9" PRIu64 " events, each once: %s\n", found,
            found == events ? "yes" : "NO");
    return found == events;
}

/* 1000 events in an hour of fake time, `together` at once; the application sleeps as tick says. */
static void measure_hour (const char *parent, const char *name, const char *text, uint64_t together,
                          int64_t interval_ms)
{
    counters_t counters = {.wall_ms = INT64_C (20780) * 24 * HOUR_MS, .monotonic_ms = HOUR_MS};
    rota_text_t line = {0};
    rota_journal_t *journal = open_journal (parent, name, interval_ms, &counters);
    int64_t end_ms = counters.wall_ms + HOUR_MS, next_ms = counters.wall_ms;
    int64_t pause_ms = HOUR_MS / (int64_t)(1000 / together);
    uint64_t seq = 0, wakes = 0;

    while (counters.wall_ms < end_ms) {
        if (counters.wall_ms >= next_ms) {
            for (uint64_t i = 0; i < together && seq < 1000; i++)
                if (append (journal, ++seq, counters.wall_ms, &line) != 1)
                    exit (1);
            next_ms += pause_ms;
        }
        int64_t sleep_ms = rota_journal_tick (journal);
        wakes++;
        if (next_ms - counters.wall_ms < sleep_ms)
            sleep_ms = next_ms - counters.wall_ms;
        counters.wall_ms += sleep_ms;
        counters.monotonic_ms += sleep_ms;
    }
    uint64_t writes = counters.writes, syncs = counters.syncs;
    rota_journal_close (&journal);
    rota_text_free (&line);
    printf ("1000 events an hour, %-21s %9" PRIu64 " writes, cursor included (%" PRIu64 " syncs, %" PRIu64
            " wake-ups)\n",
            text, writes, syncs, wakes);
}

int main (int argc, char **argv)
{
    uint64_t events = argc > 1 ? strtoull (argv[1], NULL, 10) : DEFAULT_EVENTS;
    char parent[256], command[300];
    snprintf (parent, sizeof parent, "%s/rota-bench-journal-XXXXXX", argc > 2 ? argv[2] : "/var/tmp");
    if (events == 0 || !mkdtemp (parent)) {
        perror ("bench_journal");
        return 2;
    }
    measure_lines (events);
    bool good = measure_rate (parent, events);
    measure_hour (parent, "burst", "in one burst", 1000, 5000);
    measure_hour (parent, "bursts", "bursts of 100", 100, 5000);
    measure_hour (parent, "trickle", "one by one, 5s batch", 1, 5000);
    measure_hour (parent, "slow", "one by one, 10m batch", 1, 600000);
    snprintf (command, sizeof command, "rm -rf '%s'", parent);
    if (system (command) != 0)
        fprintf (stderr, "bench_journal: can't remove %s\n", parent);
    return good ? 0 : 1;
}
