/* The whole embedded stack, started and stopped again and again in one process: broker, scheduler, sink,
 * agent host with its spawner, a client. Each time it works a task with a real command; afterwards no
 * descriptor, thread, process or file in the directory for temporary ones is left, memory stays what it was,
 * and the leak checker has the last word. 10 times, 100 with ROTA_TEST_LONG=1. */
#include "agents/host.h"
#include "broker_thread.h"
#include "bus/client.h"
#include "bus/settings.h"
#include "proto/words.h"
#include "scheduler/service.h"
#include "telemetry/sink.h"

#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define CALL_MS 60000
#define CYCLE_BYTES 4096 /* that libraries may keep of each */

typedef struct {
    broker_thread_t broker;
    rota_broker_config_t broker_config;
    rota_settings_t *settings;
    rota_scheduler_t *scheduler;
    rota_sink_t *sink;
    rota_agent_t *agent;
    rota_spawner_t *spawner;
    pthread_t threads[3];
} stack_t_;

static void *run_scheduler (void *owner)
{
    rota_error_t error;
    assert_int_equal (rota_scheduler_run (((stack_t_ *)owner)->scheduler, &error), 0);
    return NULL;
}

static void *run_sink (void *owner)
{
    rota_error_t error;
    assert_int_equal (rota_sink_run (((stack_t_ *)owner)->sink, &error), 0);
    return NULL;
}

static void *run_agent (void *owner)
{
    assert_int_equal (rota_agent_run (((stack_t_ *)owner)->agent), 0);
    return NULL;
}

static void start (stack_t_ *self)
{
    rota_error_t error = {{0}};
    int status = 0;
    broker_thread_open (&self->broker, &self->broker_config);
    rota_scheduler_config_t scheduler = {.state_directory = self->broker.state_dir,
                                         .endpoints = self->broker.endpoints.service,
                                         .settings = self->settings};
    rota_sink_config_t sink = {.state_directory = self->broker.state_dir,
                               .endpoints = self->broker.endpoints.service,
                               .settings = self->settings};
    rota_agent_config_t agent = {.state_dir = self->broker.state_dir,
                                 .kind = "exec",
                                 .endpoints = self->broker.endpoints.agent,
                                 .slots = 2,
                                 .settings = self->settings,
                                 .spawner = self->spawner};
    if (rota_scheduler_new (&scheduler, &self->scheduler, &error) < 0 ||
        rota_sink_new (&sink, &self->sink, &error) < 0 ||
        !(self->agent = rota_agent_new (&agent, &status, &error)))
        fail_msg ("%s", error.text);
    assert_int_equal (pthread_create (&self->threads[0], NULL, run_scheduler, self), 0);
    assert_int_equal (pthread_create (&self->threads[1], NULL, run_sink, self), 0);
    assert_int_equal (pthread_create (&self->threads[2], NULL, run_agent, self), 0);
}

static void stop (stack_t_ *self)
{
    rota_agent_stop (self->agent);
    pthread_join (self->threads[2], NULL);
    rota_agent_destroy (&self->agent);
    rota_scheduler_stop (self->scheduler);
    pthread_join (self->threads[0], NULL);
    rota_scheduler_destroy (&self->scheduler);
    rota_sink_stop (self->sink);
    pthread_join (self->threads[1], NULL);
    rota_sink_destroy (&self->sink);
    broker_thread_close (&self->broker);
}

static void work_one_task (stack_t_ *self)
{
    rota_error_t error = {{0}};
    Rota__TaskSpec task = ROTA__TASK_SPEC__INIT, *list[] = {&task};
    Rota__Submit submit = ROTA__SUBMIT__INIT;
    ProtobufCMessage *reply;
    task.has_id = task.has_run = task.has_directory = true;
    task.id = rota_bytes ("hello");
    task.run = rota_bytes ("echo hello; (sleep 300 &)"); /* what it leaves behind must go too */
    task.directory = rota_bytes ("/");
    submit.n_tasks = 1;
    submit.tasks = list;
    rota_client_t *client = rota_client_new (self->broker.endpoints.client, "test", &error);
    if (!client || rota_client_wait_ready (client, CALL_MS, &error) < 0 ||
        rota_client_call (client, ROTA_MESSAGE_SUBMIT, &submit.base, CALL_MS, ROTA_MESSAGE_SUBMIT_REPLY,
                          &reply, &error) < 0)
        fail_msg ("%s", error.text);
    bool done = false;
    for (int i = 0; i < 6000 && !done; i++) {
        Rota__TaskQuery query = ROTA__TASK_QUERY__INIT;
        query.has_id = true;
        query.id = rota_bytes ("hello");
        if (rota_client_call (client, ROTA_MESSAGE_TASK_QUERY, &query.base, CALL_MS, ROTA_MESSAGE_TASK_REPLY,
                              &reply, &error) < 0)
            fail_msg ("%s", error.text);
        done = ((Rota__TaskReply *)reply)->task->status == STATUS (DONE);
        rota_client_run (client, 10);
    }
    assert_true (done);
    rota_client_destroy (&client);
}

/* ------------------------------------------------------------------------------------ what is left */

static size_t count_entries (const char *path)
{
    size_t count = 0;
    DIR *directory = opendir (path);
    assert_non_null (directory);
    for (struct dirent *entry; (entry = readdir (directory));)
        count += strcmp (entry->d_name, ".") != 0 && strcmp (entry->d_name, "..") != 0;
    closedir (directory);
    return count;
}

static size_t allocated_bytes (void)
{
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    size_t __sanitizer_get_current_allocated_bytes (void);
    return __sanitizer_get_current_allocated_bytes ();
#else
    struct mallinfo2 info = mallinfo2 ();
    return info.uordblks + info.hblkhd; /* of this thread's arena */
#endif
}

typedef struct {
    size_t descriptors, threads, bytes;
} footprint_t;

/* ZeroMQ closes sockets in a thread of its own: what is on its way out gets a moment. */
static footprint_t settle (const footprint_t *wanted)
{
    footprint_t now = {0};
    struct timespec pause = {.tv_nsec = 10000000};
    for (int i = 0; i < 500; i++) {
        now = (footprint_t){.descriptors = count_entries ("/proc/self/fd"),
                            .threads = count_entries ("/proc/self/task"),
                            .bytes = allocated_bytes ()};
        if (!wanted || (now.descriptors <= wanted->descriptors && now.threads <= wanted->threads))
            break;
        nanosleep (&pause, NULL);
    }
    return now;
}

static rota_spawner_t *spawner;
static char temporary[] = "/tmp/rota-test-cycles-XXXXXX"; /* $TMPDIR */

static void a_hundred_starts_and_stops_of_everything_leave_nothing (void **state)
{
    const char *is_long = getenv ("ROTA_TEST_LONG");
    int cycles = is_long && strcmp (is_long, "1") == 0 ? 100 : 10;
    stack_t_ stack = {.spawner = spawner};
    rota_error_t error = {{0}};
    footprint_t before = {0}, now = {0};
    size_t third_bytes = 0;
    (void)state;
    assert_int_equal (
        rota_settings_parse ("test", "log: {level: error}\n", 20, NULL, stderr, &stack.settings, &error), 0);
    for (int i = 0; i < cycles; i++) {
        start (&stack);
        work_one_task (&stack);
        char directory[64];
        snprintf (directory, sizeof directory, "%s", stack.broker.state_dir);
        stop (&stack);
        assert_int_equal (access (directory, F_OK), -1);
        now = settle (i > 1 ? &before : NULL);
        if (i <= 1) {
            before = now; /* the first ones fill caches of the libraries */
            continue;
        }
        if (now.descriptors > before.descriptors || now.threads > before.threads)
            fail_msg ("cycle %d: %zu descriptors, were %zu; %zu threads, were %zu", i, now.descriptors,
                      before.descriptors, now.threads, before.threads);
        if (i == 2)
            third_bytes = now.bytes;
    }
    if (now.bytes > third_bytes + (size_t)(cycles - 3) * CYCLE_BYTES)
        fail_msg ("%zu bytes after %d cycles, were %zu after three", now.bytes, cycles, third_bytes);
    printf ("%zu bytes after three cycles, %zu after %d\n", third_bytes, now.bytes, cycles);
    assert_int_equal (count_entries (temporary), 0);
    rota_settings_destroy (&stack.settings);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (a_hundred_starts_and_stops_of_everything_leave_nothing),
    };
    rota_error_t error = {{0}};
    if (!mkdtemp (temporary) || setenv ("TMPDIR", temporary, 1) < 0) {
        fprintf (stderr, "%s: %s\n", temporary, strerror (errno));
        return 1;
    }
    spawner = rota_spawner_start (&error); /* before there are threads */
    if (!spawner) {
        fprintf (stderr, "%s\n", error.text);
        return 1;
    }
    int failed = cmocka_run_group_tests (tests, NULL, NULL);
    rota_spawner_destroy (&spawner);
    if (rmdir (temporary) < 0) {
        fprintf (stderr, "%s: %s\n", temporary, strerror (errno));
        return 1;
    }
    /* Nothing that it started is left: neither ours nor fallen to us. */
    if (waitpid (-1, NULL, WNOHANG) != -1 || errno != ECHILD) {
        fprintf (stderr, "a process is left\n");
        return 1;
    }
    return failed;
}
