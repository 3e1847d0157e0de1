/* The blocking client of bus/client.h, with a scripted broker in its own loop. */
#include "bus/client.h"
#include "bus/clock.h"
#include "scripted_broker.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define WATCHDOG_MS 20000

typedef struct {
    char directory[64];
    char endpoint[128];
    rota_client_t *client;
    scripted_broker_t broker;
    enum { ANSWER, REFUSE, UNAVAILABLE, HOLD, INTERRUPT, WRONG_TYPE, BROKEN, NESTED } mode;
    int nested_status;
    int events;
    bool wakes;
} stage_t;

static int ask_status (stage_t *stage, int timeout_ms, ProtobufCMessage **ret_reply, rota_error_t *error)
{
    Rota__StatusQuery query = ROTA__STATUS_QUERY__INIT;
    return rota_client_call (stage->client, ROTA_MESSAGE_STATUS_QUERY, &query.base, timeout_ms,
                             ROTA_MESSAGE_STATUS_REPLY, ret_reply, error);
}

static void refuse_with_fault (scripted_broker_t *broker, const rota_envelope_t *envelope)
{
    Rota__Error refusal = ROTA__ERROR__INIT;
    Rota__Fault fault = ROTA__FAULT__INIT, *faults = &fault;
    refusal.has_code = refusal.has_text = fault.has_line = true;
    refusal.code = ROTA__ERROR_CODE__ERROR_CODE_INVALID;
    refusal.text = rota_bytes ("wrong\x1b[2J");
    fault.line = 7;
    refusal.n_faults = 1;
    refusal.faults = &faults;
    scripted_broker_answer (broker, envelope, ROTA_MESSAGE_ERROR, &refusal.base);
}

static void on_request (void *owner, scripted_broker_t *broker, const rota_envelope_t *envelope,
                        const uint8_t *body, size_t size_bytes)
{
    (void)body;
    (void)size_bytes;
    stage_t *stage = owner;
    Rota__StatusReply status = ROTA__STATUS_REPLY__INIT;
    Rota__EventsReply events = ROTA__EVENTS_REPLY__INIT;
    ProtobufCMessage *reply = NULL;
    rota_envelope_t answer;

    status.has_total = true;
    status.total = 42;
    events.has_last = true;
    switch (stage->mode) {
    case NESTED:
        stage->nested_status = ask_status (stage, 10, &reply, NULL);
        scripted_broker_answer (broker, envelope, ROTA_MESSAGE_STATUS_REPLY, &status.base);
        break;
    case ANSWER:
        if (envelope->type == ROTA_MESSAGE_EVENTS_QUERY)
            scripted_broker_answer (broker, envelope, ROTA_MESSAGE_EVENTS_REPLY, &events.base);
        else
            scripted_broker_answer (broker, envelope, ROTA_MESSAGE_STATUS_REPLY, &status.base);
        break;
    case REFUSE:
        refuse_with_fault (broker, envelope);
        break;
    case UNAVAILABLE:
        scripted_broker_refuse (broker, envelope, ROTA__ERROR_CODE__ERROR_CODE_UNAVAILABLE, 0, NULL, NULL);
        break;
    case WRONG_TYPE:
        scripted_broker_answer (broker, envelope, ROTA_MESSAGE_SUBMIT_REPLY,
                                &(Rota__SubmitReply)ROTA__SUBMIT_REPLY__INIT.base);
        break;
    case BROKEN:
        rota_envelope_answer (envelope, ROTA_MESSAGE_STATUS_REPLY, &answer);
        scripted_broker_send (broker, &answer, "\xff", 1);
        break;
    case INTERRUPT:
        rota_client_interrupt ();
        break;
    case HOLD:
        break;
    }
}

static void open_broker (stage_t *stage)
{
    stage->broker.owner = stage;
    stage->broker.on_request = on_request;
    scripted_broker_open (&stage->broker, rota_client_loop (stage->client), stage->endpoint);
}

static int open_stage (void **state)
{
    stage_t *stage = calloc (1, sizeof *stage);
    rota_error_t error = {""};
    snprintf (stage->directory, sizeof stage->directory, "/tmp/rota-test-client-XXXXXX");
    if (!mkdtemp (stage->directory))
        return -1;
    snprintf (stage->endpoint, sizeof stage->endpoint, "ipc://%s/broker", stage->directory);
    stage->client = rota_client_new (stage->endpoint, "a test", &error);
    rota_client_interrupt_clear ();
    *state = stage;
    return stage->client ? 0 : -1;
}

static int close_stage (void **state)
{
    stage_t *stage = *state;
    scripted_broker_close (&stage->broker);
    rota_client_destroy (&stage->client);
    unlink (stage->endpoint + strlen ("ipc://"));
    rmdir (stage->directory);
    free (stage);
    return 0;
}

static void a_call_returns_its_answer (void **state)
{
    stage_t *stage = *state;
    rota_error_t error = {""};
    ProtobufCMessage *reply = NULL;
    open_broker (stage);
    for (int i = 0; i < 100; i++) {
        assert_int_equal (ask_status (stage, WATCHDOG_MS, &reply, &error), 0);
        assert_int_equal (((Rota__StatusReply *)reply)->total, 42);
    }
    assert_int_equal (stage->broker.requests, 100);
    assert_int_equal (rota_client_last_code (stage->client), 0);
    assert_null (rota_client_last_refusal (stage->client));
}

static void a_refusal_comes_with_code_text_and_faults (void **state)
{
    stage_t *stage = *state;
    rota_error_t error = {""};
    ProtobufCMessage *reply = NULL;
    stage->mode = REFUSE;
    open_broker (stage);
    assert_int_equal (ask_status (stage, WATCHDOG_MS, &reply, &error), -EPROTO);
    assert_null (reply);
    assert_int_equal (rota_client_last_code (stage->client), ROTA__ERROR_CODE__ERROR_CODE_INVALID);
    assert_string_equal (error.text, "wrong?[2J");
    assert_int_equal (rota_client_last_refusal (stage->client)->n_faults, 1);
    assert_int_equal (rota_client_last_refusal (stage->client)->faults[0]->line, 7);
}

static void an_answer_of_another_kind_or_broken_is_an_error (void **state)
{
    stage_t *stage = *state;
    rota_error_t error = {""};
    ProtobufCMessage *reply = NULL;
    open_broker (stage);
    stage->mode = WRONG_TYPE;
    assert_int_equal (ask_status (stage, WATCHDOG_MS, &reply, &error), -EPROTO);
    assert_non_null (strstr (error.text, "SUBMIT_REPLY"));
    stage->mode = BROKEN;
    assert_int_equal (ask_status (stage, WATCHDOG_MS, &reply, &error), -EPROTO);
    assert_non_null (strstr (error.text, "decoded"));
    assert_int_equal (rota_client_last_code (stage->client), 0);
}

static void no_broker_is_told_with_where_it_was_looked_for (void **state)
{
    stage_t *stage = *state;
    rota_error_t error = {""};
    ProtobufCMessage *reply = NULL;
    assert_int_equal (rota_client_wait_ready (stage->client, 50, &error), -EHOSTUNREACH);
    assert_non_null (strstr (error.text, stage->endpoint));
    assert_int_equal (ask_status (stage, 50, &reply, &error), -EHOSTUNREACH);
    open_broker (stage);
    assert_int_equal (rota_client_wait_ready (stage->client, WATCHDOG_MS, &error), 0);
}

static void a_missing_scheduler_is_told_apart_from_a_missing_broker (void **state)
{
    stage_t *stage = *state;
    rota_error_t error = {""};
    ProtobufCMessage *reply = NULL;
    stage->mode = UNAVAILABLE;
    open_broker (stage);
    assert_int_equal (rota_client_wait_ready (stage->client, 500, &error), -EHOSTUNREACH);
    assert_non_null (strstr (error.text, "scheduler is not connected"));
    assert_int_equal (ask_status (stage, 500, &reply, &error), -EHOSTUNREACH);
    stage->mode = ANSWER;
    assert_int_equal (rota_client_wait_ready (stage->client, WATCHDOG_MS, &error), 0);
}

static void no_answer_in_time_is_told (void **state)
{
    stage_t *stage = *state;
    rota_error_t error = {""};
    ProtobufCMessage *reply = NULL;
    open_broker (stage);
    assert_int_equal (rota_client_wait_ready (stage->client, WATCHDOG_MS, &error), 0);
    stage->mode = HOLD;
    assert_int_equal (ask_status (stage, 50, &reply, &error), -ETIMEDOUT);
    assert_non_null (strstr (error.text, "STATUS_QUERY"));
    stage->mode = ANSWER;
    assert_int_equal (ask_status (stage, WATCHDOG_MS, &reply, &error), 0);
}

static void on_signal (int number)
{
    if (number == SIGUSR2)
        rota_client_interrupt ();
}

static void *send_signals (void *argument)
{
    pthread_t *target = argument;
    for (int i = 0; i < 20; i++) {
        usleep (10000);
        pthread_kill (*target, SIGUSR1);
    }
    pthread_kill (*target, SIGUSR2);
    return NULL;
}

static void only_an_interruption_ends_a_call_not_every_signal (void **state)
{
    stage_t *stage = *state;
    rota_error_t error = {""};
    ProtobufCMessage *reply = NULL;
    struct sigaction action = {.sa_handler = on_signal};
    pthread_t self = pthread_self (), sender;

    sigaction (SIGUSR1, &action, NULL);
    sigaction (SIGUSR2, &action, NULL);
    stage->mode = HOLD;
    open_broker (stage);
    int64_t start_ms = rota_clock_monotonic_ms ();
    assert_int_equal (pthread_create (&sender, NULL, send_signals, &self), 0);
    assert_int_equal (ask_status (stage, WATCHDOG_MS, &reply, &error), -EINTR);
    pthread_join (sender, NULL);
    assert_true (rota_clock_monotonic_ms () - start_ms >= 200);
    /* It stays until it is cleared. */
    assert_int_equal (ask_status (stage, WATCHDOG_MS, &reply, &error), -EINTR);
    assert_int_equal (rota_client_run (stage->client, WATCHDOG_MS), -EINTR);
    rota_client_interrupt_clear ();
    stage->mode = ANSWER;
    assert_int_equal (ask_status (stage, WATCHDOG_MS, &reply, &error), 0);
    assert_int_equal (((Rota__StatusReply *)reply)->total, 42);
}

static void an_answer_to_an_interrupted_call_is_nobodys (void **state)
{
    stage_t *stage = *state;
    rota_error_t error = {""};
    ProtobufCMessage *reply = NULL;
    stage->mode = INTERRUPT;
    open_broker (stage);
    assert_int_equal (ask_status (stage, WATCHDOG_MS, &reply, &error), -EINTR);
    assert_int_equal (ask_status (stage, WATCHDOG_MS, &reply, &error), -EINTR);
    rota_client_interrupt_clear ();
    assert_int_equal (stage->broker.requests, 1);
    rota_envelope_t old = stage->broker.last;
    scripted_broker_refuse (&stage->broker, &old, ROTA__ERROR_CODE__ERROR_CODE_INVALID, 0, NULL, NULL);
    stage->mode = ANSWER;
    assert_int_equal (ask_status (stage, WATCHDOG_MS, &reply, &error), 0);
    assert_int_equal (((Rota__StatusReply *)reply)->total, 42);
}

static void a_call_from_within_a_callback_is_refused (void **state)
{
    stage_t *stage = *state;
    rota_error_t error = {""};
    ProtobufCMessage *reply = NULL;
    stage->mode = NESTED;
    open_broker (stage);
    assert_int_equal (ask_status (stage, WATCHDOG_MS, &reply, &error), 0);
    assert_int_equal (stage->nested_status, -EBUSY);
}

static void on_event (void *owner, const Rota__Event *event)
{
    (void)event;
    stage_t *stage = owner;
    stage->events++;
    if (stage->wakes)
        rota_client_wake (stage->client);
}

static void answer_events (void *owner, scripted_broker_t *broker, const rota_envelope_t *envelope,
                           const uint8_t *body, size_t size_bytes)
{
    (void)body;
    (void)size_bytes;
    stage_t *stage = owner;
    Rota__EventsReply reply = ROTA__EVENTS_REPLY__INIT;
    Rota__Event event = ROTA__EVENT__INIT, *list = &event;
    reply.has_last = event.has_seq = true;
    reply.last = event.seq = 1;
    reply.n_events = stage->events == 0;
    reply.events = &list;
    if (envelope->type == ROTA_MESSAGE_EVENTS_QUERY)
        scripted_broker_answer (broker, envelope, ROTA_MESSAGE_EVENTS_REPLY, &reply.base);
    else
        on_request (owner, broker, envelope, body, size_bytes);
}

static void events_come_while_it_runs_and_may_wake_it (void **state)
{
    stage_t *stage = *state;
    rota_error_t error = {""};
    open_broker (stage);
    stage->broker.on_request = answer_events;
    stage->wakes = true;
    assert_int_equal (rota_client_subscribe (stage->client, 0, on_event, stage, &error), 0);
    int64_t start_ms = rota_clock_monotonic_ms ();
    assert_int_equal (rota_client_run (stage->client, WATCHDOG_MS), 0);
    assert_true (rota_clock_monotonic_ms () - start_ms < WATCHDOG_MS);
    assert_int_equal (stage->events, 1);
}

static void a_wake_during_a_call_ends_the_next_run (void **state)
{
    stage_t *stage = *state;
    rota_error_t error = {""};
    ProtobufCMessage *reply = NULL;
    open_broker (stage);
    stage->broker.on_request = answer_events;
    stage->wakes = true;
    assert_int_equal (rota_client_subscribe (stage->client, 0, on_event, stage, &error), 0);
    for (int i = 0; i < 1000 && stage->events == 0; i++)
        assert_int_equal (ask_status (stage, WATCHDOG_MS, &reply, &error), 0);
    assert_int_equal (stage->events, 1);
    int64_t start_ms = rota_clock_monotonic_ms ();
    assert_int_equal (rota_client_run (stage->client, WATCHDOG_MS), 0);
    assert_true (rota_clock_monotonic_ms () - start_ms < WATCHDOG_MS);
}

static void a_run_lasts_as_long_as_it_should (void **state)
{
    stage_t *stage = *state;
    for (int i = 0; i < 3; i++) {
        int64_t start_ms = rota_clock_monotonic_ms ();
        assert_int_equal (rota_client_run (stage->client, 60), 0);
        assert_true (rota_clock_monotonic_ms () - start_ms >= 60);
    }
}

static void a_malformed_endpoint_is_told (void **state)
{
    (void)state;
    rota_error_t error = {""};
    assert_null (rota_client_new ("localhost:1", "a test", &error));
    assert_non_null (strstr (error.text, "tcp://HOST:PORT"));
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, open_stage, close_stage)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (a_call_returns_its_answer),
        TEST (a_refusal_comes_with_code_text_and_faults),
        TEST (an_answer_of_another_kind_or_broken_is_an_error),
        TEST (no_broker_is_told_with_where_it_was_looked_for),
        TEST (a_missing_scheduler_is_told_apart_from_a_missing_broker),
        TEST (no_answer_in_time_is_told),
        TEST (only_an_interruption_ends_a_call_not_every_signal),
        TEST (an_answer_to_an_interrupted_call_is_nobodys),
        TEST (a_call_from_within_a_callback_is_refused),
        TEST (events_come_while_it_runs_and_may_wake_it),
        TEST (a_wake_during_a_call_ends_the_next_run),
        TEST (a_run_lasts_as_long_as_it_should),
        TEST (a_malformed_endpoint_is_told),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
