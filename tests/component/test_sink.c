/* The telemetry sink against a real broker and an event log in a thread: each event once, whatever ends. */
#include "broker/broker.h"
#include "telemetry/sink.h"
#include "tests/component/broker_thread.h"
#include "tests/component/fake_scheduler.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define PATIENCE_MS 60000 /* a watchdog, no measure */
#define SEQS_MAX 60000

extern char **environ;

typedef struct {
    broker_thread_t broker;
    rota_broker_config_t broker_config;
    fake_scheduler_t scheduler;
    rota_settings_t *settings;
    rota_sink_t *sink;
    pthread_t thread;
    int result;
} world_t;

static const char SETTINGS[] = "telemetry:\n  batch_interval: 20ms\n";

static int open_world (void **state)
{
    world_t *world = calloc (1, sizeof *world);
    rota_error_t error;
    broker_thread_open (&world->broker, &world->broker_config);
    fake_scheduler_open (&world->scheduler, world->broker.endpoints.service);
    assert_int_equal (
        rota_settings_parse ("test", SETTINGS, sizeof SETTINGS - 1, NULL, stderr, &world->settings, &error),
        0);
    *state = world;
    return 0;
}

static int close_world (void **state)
{
    world_t *world = *state;
    fake_scheduler_close (&world->scheduler);
    broker_thread_close (&world->broker);
    rota_settings_destroy (&world->settings);
    free (world);
    return 0;
}

/* ---- the sink in a thread */

static void *run_sink (void *argument)
{
    world_t *world = argument;
    rota_error_t error;
    world->result = rota_sink_run (world->sink, &error);
    return NULL;
}

static void start_with (world_t *world, const rota_file_ops_t *ops)
{
    rota_error_t error = {{0}};
    const rota_sink_config_t config = {.state_directory = world->broker.state_dir,
                                       .endpoints = world->broker.endpoints.service,
                                       .settings = world->settings,
                                       .ops = ops,
                                       .tell_every_ms = 20};
    assert_int_equal (rota_sink_new (&config, &world->sink, &error), 0);
    assert_int_equal (pthread_create (&world->thread, NULL, run_sink, world), 0);
}

static void start (world_t *world)
{
    start_with (world, NULL);
}

static rota_sink_counts_t stop (world_t *world)
{
    rota_sink_stop (world->sink);
    pthread_join (world->thread, NULL);
    rota_sink_counts_t counts = rota_sink_counts (world->sink);
    rota_sink_destroy (&world->sink);
    return counts;
}

static void await_cursor (world_t *world, uint64_t seq)
{
    for (int waited_ms = 0; fake_scheduler_cursor (&world->scheduler) != seq; waited_ms += 10) {
        if (waited_ms >= PATIENCE_MS)
            fail_msg ("the scheduler was told %llu, not %llu",
                      (unsigned long long)fake_scheduler_cursor (&world->scheduler), (unsigned long long)seq);
        usleep (10000);
    }
}

/* ---- the journal, read as anybody would */

typedef struct {
    uint64_t seqs[SEQS_MAX];
    size_t count, files, gaps;
    uint64_t gap_first, gap_last;
} content_t;

static void read_file (int directory, const char *name, content_t *content)
{
    gzFile stream = gzdopen (openat (directory, name, O_RDONLY | O_CLOEXEC), "rb");
    assert_non_null (stream);
    char *line = malloc (300000);
    while (gzgets (stream, line, 300000)) {
        json_t *object = json_loads (line, 0, NULL);
        assert_non_null (object);
        const json_t *seq = json_object_get (object, "seq");
        if (seq) {
            char task[32];
            assert_true (content->count < SEQS_MAX);
            snprintf (task, sizeof task, "t%lld", json_integer_value (seq));
            assert_string_equal (json_string_value (json_object_get (object, "task")), task);
            content->seqs[content->count++] = (uint64_t)json_integer_value (seq);
        } else if (strcmp (json_string_value (json_object_get (object, "event")), "journal.gap") == 0) {
            content->gaps++;
            content->gap_first = (uint64_t)json_integer_value (json_object_get (object, "first"));
            content->gap_last = (uint64_t)json_integer_value (json_object_get (object, "last"));
        }
        json_decref (object);
    }
    free (line);
    gzclose (stream);
}

static const content_t *read_journal (const world_t *world)
{
    static content_t content;
    char path[128];
    rota_journal_file_t *files = NULL;
    content = (content_t){0};
    snprintf (path, sizeof path, "%s/journal", world->broker.state_dir);
    int directory = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal (rota_journal_list (&ROTA_FILE_OPS, directory, false, &files, &content.files), 0);
    for (size_t i = 0; i < content.files; i++)
        read_file (directory, files[i].name, &content);
    free (files);
    close (directory);
    return &content;
}

static void assert_journal (const world_t *world, uint64_t first, uint64_t last)
{
    const content_t *content = read_journal (world);
    assert_int_equal (content->count, last - first + 1);
    for (size_t i = 0; i < content->count; i++)
        assert_int_equal (content->seqs[i], first + i);
}

/* ---- tests */

static void events_of_before_and_after_its_start_are_there_once_and_in_order (void **state)
{
    world_t *world = *state;
    fake_scheduler_add (&world->scheduler, 3000);
    start (world);
    await_cursor (world, 3000);
    for (int i = 0; i < 20; i++) {
        fake_scheduler_add (&world->scheduler, 50);
        usleep (2000);
    }
    await_cursor (world, 4000);
    rota_sink_counts_t counts = stop (world);
    assert_int_equal (world->result, 0);
    assert_int_equal (counts.events, 4000);
    assert_int_equal (counts.subscriptions, 1);
    assert_int_equal (counts.synced, 4000);
    assert_journal (world, 1, 4000);
}

static void what_is_not_published_live_is_fetched (void **state)
{
    world_t *world = *state;
    fake_scheduler_mute (&world->scheduler, true);
    start (world);
    fake_scheduler_add (&world->scheduler, 2500);
    await_cursor (world, 2500);
    stop (world);
    assert_true (fake_scheduler_pulls (&world->scheduler) >= 5);
    assert_journal (world, 1, 2500);
}

static void a_restarted_sink_goes_on_behind_its_last_event (void **state)
{
    world_t *world = *state;
    fake_scheduler_add (&world->scheduler, 700);
    for (uint64_t round = 1; round <= 4; round++) {
        start (world);
        await_cursor (world, round * 700);
        fake_scheduler_add (&world->scheduler, 700);
        stop (world); /* with some on their way, perhaps */
    }
    start (world);
    await_cursor (world, 5 * 700);
    stop (world);
    assert_journal (world, 1, 5 * 700);
}

static void a_broker_that_restarts_costs_no_event (void **state)
{
    world_t *world = *state;
    start (world);
    fake_scheduler_add (&world->scheduler, 500);
    await_cursor (world, 500);
    broker_thread_stop (&world->broker);
    fake_scheduler_add (&world->scheduler, 500);
    broker_thread_start (&world->broker, &world->broker_config);
    await_cursor (world, 1000);
    fake_scheduler_add (&world->scheduler, 500);
    await_cursor (world, 1500);
    stop (world);
    assert_journal (world, 1, 1500);
}

static void events_that_retention_took_leave_a_gap_line (void **state)
{
    world_t *world = *state;
    fake_scheduler_add (&world->scheduler, 800);
    fake_scheduler_cut (&world->scheduler, 301);
    start (world);
    await_cursor (world, 800);
    rota_sink_counts_t counts = stop (world);
    assert_int_equal (counts.gaps, 300);
    const content_t *content = read_journal (world);
    assert_int_equal (content->gaps, 1);
    assert_int_equal (content->gap_first, 1);
    assert_int_equal (content->gap_last, 300);
    assert_journal (world, 301, 800);
}

static void another_store_is_written_from_its_beginning_in_another_file (void **state)
{
    world_t *world = *state;
    fake_scheduler_add (&world->scheduler, 400);
    start (world);
    await_cursor (world, 400);
    stop (world);
    fake_scheduler_restore (&world->scheduler, 250);
    start (world);
    await_cursor (world, 250);
    stop (world);
    const content_t *content = read_journal (world);
    assert_int_equal (content->files, 2);
    assert_int_equal (content->count, 400 + 250);
    assert_int_equal (content->seqs[399], 400);
    assert_int_equal (content->seqs[400], 1);
}

static void a_store_restored_under_a_running_sink_is_noticed (void **state)
{
    world_t *world = *state;
    fake_scheduler_add (&world->scheduler, 400);
    start (world);
    await_cursor (world, 400);
    fake_scheduler_restore (&world->scheduler, 250);
    await_cursor (world, 250);
    fake_scheduler_add (&world->scheduler, 10);
    await_cursor (world, 260);
    stop (world);
    const content_t *content = read_journal (world);
    assert_int_equal (content->count, 400 + 260);
    for (size_t i = 0; i < 260; i++)
        assert_int_equal (content->seqs[400 + i], i + 1);
}

static void a_sink_that_nobody_answers_still_ends (void **state)
{
    world_t *world = *state;
    broker_thread_stop (&world->broker);
    start (world);
    usleep (50000);
    rota_sink_counts_t counts = stop (world);
    assert_int_equal (world->result, 0);
    assert_int_equal (counts.events, 0);
    broker_thread_start (&world->broker, &world->broker_config);
}

static void a_second_sink_is_refused_with_words (void **state)
{
    world_t *world = *state;
    start (world);
    rota_error_t error = {{0}};
    rota_sink_t *second = NULL;
    const rota_sink_config_t config = {.state_directory = world->broker.state_dir,
                                       .endpoints = world->broker.endpoints.service,
                                       .settings = world->settings};
    assert_int_equal (rota_sink_new (&config, &second, &error), -EBUSY);
    assert_non_null (strstr (error.text, "another telemetry sink"));
    assert_null (second);
    stop (world);
}

/* ---- a disk that fails */

static atomic_int write_error, sync_error;

static ssize_t failing_write (void *owner, int fd, const void *bytes, size_t size_bytes)
{
    int code = atomic_load (&write_error);
    return code ? -code : ROTA_FILE_OPS.write (owner, fd, bytes, size_bytes);
}

static int failing_sync (void *owner, int fd)
{
    int code = atomic_load (&sync_error);
    return code ? -code : ROTA_FILE_OPS.sync (owner, fd);
}

static rota_file_ops_t failing_ops (void)
{
    rota_file_ops_t ops = ROTA_FILE_OPS;
    ops.write = failing_write;
    ops.sync = failing_sync;
    atomic_store (&write_error, 0);
    atomic_store (&sync_error, 0);
    return ops;
}

static void a_full_disk_stops_the_intake_and_loses_nothing (void **state)
{
    world_t *world = *state;
    const rota_file_ops_t ops = failing_ops ();
    start_with (world, &ops);
    fake_scheduler_add (&world->scheduler, 100);
    await_cursor (world, 100);
    atomic_store (&write_error, ENOSPC);
    fake_scheduler_reasons (&world->scheduler, 100000);
    fake_scheduler_add (&world->scheduler, 300); /* 30 MB, of which memory takes 8 */
    uint64_t pulls = fake_scheduler_pulls (&world->scheduler);
    usleep (1500000);
    assert_true (fake_scheduler_pulls (&world->scheduler) <
                 pulls + 100); /* it does not go round in circles */
    assert_int_equal (fake_scheduler_cursor (&world->scheduler), 100);
    atomic_store (&write_error, 0);
    await_cursor (world, 400);
    rota_sink_counts_t counts = stop (world);
    assert_true (counts.subscriptions >= 2);
    assert_journal (world, 1, 400);
}

static void a_failing_sync_makes_events_come_again (void **state)
{
    world_t *world = *state;
    const rota_file_ops_t ops = failing_ops ();
    start_with (world, &ops);
    fake_scheduler_add (&world->scheduler, 100);
    await_cursor (world, 100);
    atomic_store (&sync_error, EIO);
    fake_scheduler_add (&world->scheduler, 500);
    usleep (1500000);
    assert_int_equal (fake_scheduler_cursor (&world->scheduler), 100);
    atomic_store (&sync_error, 0);
    await_cursor (world, 600);
    stop (world);
    assert_journal (world, 1, 600);
}

static void a_sync_that_fails_on_the_last_events_is_made_good_without_new_ones (void **state)
{
    world_t *world = *state;
    const rota_file_ops_t ops = failing_ops ();
    start_with (world, &ops);
    atomic_store (&sync_error, EIO);
    fake_scheduler_add (&world->scheduler, 5); /* no batch: written and synced when their time is up */
    usleep (1500000);
    atomic_store (&sync_error, 0);
    await_cursor (world, 5);
    stop (world);
    assert_journal (world, 1, 5);
}

static void a_disk_full_to_the_end_is_told_by_run (void **state)
{
    world_t *world = *state;
    const rota_file_ops_t ops = failing_ops ();
    start_with (world, &ops);
    fake_scheduler_add (&world->scheduler, 100);
    await_cursor (world, 100);
    atomic_store (&write_error, ENOSPC);
    fake_scheduler_add (&world->scheduler, 50);
    usleep (300000);
    stop (world);
    assert_int_equal (world->result, -ENOSPC);
    atomic_store (&write_error, 0);
    start (world);
    await_cursor (world, 150);
    stop (world);
    assert_journal (world, 1, 150);
}

/* ---- the program */

static pid_t spawn_program (const world_t *world, const char *program)
{
    char state[64];
    pid_t pid = -1;
    snprintf (state, sizeof state, "%s", world->broker.state_dir);
    char *const arguments[] = {(char *)program, "--state", state, "--log-level", "error", NULL};
    posix_spawn (&pid, program, NULL, NULL, arguments, environ);
    return pid;
}

static void killed_at_any_moment_it_neither_loses_nor_doubles_an_event (void **state)
{
    world_t *world = *state;
    const char *bin = getenv ("ROTA_BIN");
    char program[512];
    snprintf (program, sizeof program, "%s/rota-telemetry", bin ? bin : "");
    if (!bin || access (program, X_OK) < 0) {
        print_message (
            "SKIPPED: ROTA_BIN doesn't name a directory with rota-telemetry in it (ctest sets it)\n");
        skip ();
    }
    const char *seed_text = getenv ("ROTA_TEST_SEED");
    unsigned seed = seed_text ? (unsigned)strtoul (seed_text, NULL, 10) : (unsigned)getpid ();
    int rounds = getenv ("ROTA_TEST_LONG") ? 60 : 8;
    uint64_t events = 0;
    print_message ("seed %u\n", seed);

    for (int round = 0; round < rounds; round++) {
        pid_t pid = spawn_program (world, program);
        assert_true (pid > 0);
        for (int slice = 0, slices = rand_r (&seed) % 60; slice < slices; slice++) {
            uint64_t more = (uint64_t)(rand_r (&seed) % 40);
            fake_scheduler_add (&world->scheduler, more);
            events += more;
            usleep (10000);
        }
        kill (pid, SIGKILL);
        assert_int_equal (waitpid (pid, NULL, 0), pid);
    }
    int status;
    pid_t pid = spawn_program (world, program);
    await_cursor (world, events);
    kill (pid, SIGTERM);
    assert_int_equal (waitpid (pid, &status, 0), pid);
    assert_true (WIFEXITED (status) && WEXITSTATUS (status) == 0);
    assert_journal (world, 1, events);
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, open_world, close_world)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (events_of_before_and_after_its_start_are_there_once_and_in_order),
        TEST (what_is_not_published_live_is_fetched),
        TEST (a_restarted_sink_goes_on_behind_its_last_event),
        TEST (a_broker_that_restarts_costs_no_event),
        TEST (events_that_retention_took_leave_a_gap_line),
        TEST (another_store_is_written_from_its_beginning_in_another_file),
        TEST (a_store_restored_under_a_running_sink_is_noticed),
        TEST (a_sink_that_nobody_answers_still_ends),
        TEST (a_second_sink_is_refused_with_words),
        TEST (a_full_disk_stops_the_intake_and_loses_nothing),
        TEST (a_failing_sync_makes_events_come_again),
        TEST (a_sync_that_fails_on_the_last_events_is_made_good_without_new_ones),
        TEST (a_disk_full_to_the_end_is_told_by_run),
        TEST (killed_at_any_moment_it_neither_loses_nor_doubles_an_event),
    };
    setvbuf (stdout, NULL, _IOLBF, 0);
    /* The program's: it is to be killed between two writes as well. */
    setenv ("ROTA_TELEMETRY_BATCH_INTERVAL", "20ms", 1);
    return cmocka_run_group_tests (tests, NULL, NULL);
}
