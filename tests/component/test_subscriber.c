/* Each event once, in order, none left out without a word: bus/subscriber.h against a scheduler's log that is
 * a number, and a publisher that forgets what it is told to. */
#include "bus/start.h"
#include "bus/subscriber.h"
#include "scripted_broker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define MAX_SEEN 200000

typedef struct {
    zloop_t *loop;
    char directory[64];
    char endpoint[128], events[128];
    scripted_broker_t broker;
    zsock_t *publisher;
    rota_peer_t *peer;
    rota_subscriber_t *subscriber;
    int ready;
    /* The log: events first..last exist. */
    uint64_t first, last;
    uint64_t hole_first, hole_last; /* but these, which were never given */
    uint8_t store[16];
    int pulls;
    bool deaf; /* pulls are not answered */
    bool refuses;
    rota_envelope_t held;
    int n_held;
    /* What was delivered. */
    uint64_t *seen;
    int n_seen;
    int batches;
    int gaps;
    uint64_t gap_first, gap_last;
} stage_t;

static void on_event (void *owner, const Rota__Event *event)
{
    stage_t *stage = owner;
    assert_true (stage->n_seen < MAX_SEEN);
    stage->seen[stage->n_seen++] = event->seq;
}

static void on_gap (void *owner, uint64_t first_missing, uint64_t last_missing)
{
    stage_t *stage = owner;
    stage->gaps++;
    stage->gap_first = first_missing;
    stage->gap_last = last_missing;
}

static void on_batch (void *owner, uint64_t last)
{
    stage_t *stage = owner;
    stage->batches++;
    assert_true (last == stage->seen[stage->n_seen - 1]);
}

static void on_state (void *owner, rota_peer_state_t state, const Rota__Welcome *welcome, const char *why)
{
    (void)why;
    stage_t *stage = owner;
    if (state != ROTA_PEER_READY)
        return;
    stage->ready++;
    if (stage->subscriber)
        rota_subscriber_welcome (stage->subscriber, welcome);
}

/* ---- the scheduler */

static void fill_events (Rota__Event *events, Rota__Event **list, uint64_t first, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        rota__event__init (&events[i]);
        events[i].has_seq = true;
        events[i].seq = first + i;
        list[i] = &events[i];
    }
}

static void answer_pull (stage_t *stage, const rota_envelope_t *request, const Rota__EventsQuery *query)
{
    Rota__EventsReply reply = ROTA__EVENTS_REPLY__INIT;
    uint64_t from = query->after + 1 > stage->first ? query->after + 1 : stage->first;
    size_t count = from > stage->last ? 0 : (size_t)(stage->last - from + 1);
    if (count > query->limit)
        count = query->limit;
    Rota__Event *events = calloc (count + 1, sizeof *events);
    Rota__Event **list = calloc (count + 1, sizeof (Rota__Event *));
    fill_events (events, list, from, count);
    for (size_t i = 0; i < count; i++)
        if (events[i].seq < stage->hole_first || events[i].seq > stage->hole_last)
            list[reply.n_events++] = &events[i];
    reply.events = list;
    reply.has_first = reply.has_last = true;
    reply.first = stage->first;
    reply.last = stage->last;

    rota_envelope_t answer;
    uint8_t *body;
    size_t size_bytes;
    rota_envelope_answer (request, ROTA_MESSAGE_EVENTS_REPLY, &answer);
    answer.has_store = true;
    memcpy (answer.store, stage->store, 16);
    assert_int_equal (rota_body_encode (ROTA_MESSAGE_EVENTS_REPLY, &reply.base, &body, &size_bytes), 0);
    scripted_broker_send (&stage->broker, &answer, body, size_bytes);
    free (body);
    free (events);
    free (list);
}

static void on_request (void *owner, scripted_broker_t *broker, const rota_envelope_t *envelope,
                        const uint8_t *body, size_t size_bytes)
{
    stage_t *stage = owner;
    ProtobufCMessage *message;
    assert_int_equal (envelope->type, ROTA_MESSAGE_EVENTS_QUERY);
    stage->pulls++;
    stage->held = *envelope;
    stage->n_held++;
    if (stage->deaf)
        return;
    if (stage->refuses) {
        stage->refuses = false;
        scripted_broker_refuse (broker, envelope, ROTA__ERROR_CODE__ERROR_CODE_INTERNAL, 0, NULL, NULL);
        return;
    }
    rota_arena_reset (broker->arena);
    assert_int_equal (rota_body_decode (envelope->type, body, size_bytes, broker->arena, &message), 0);
    answer_pull (stage, envelope, (const Rota__EventsQuery *)message);
}

static void publish_body (stage_t *stage, uint32_t type, const ProtobufCMessage *message)
{
    uint8_t head[ROTA_ENVELOPE_MAX_BYTES], *body;
    size_t size_bytes;
    rota_envelope_t envelope = {
        .version = 1, .type = type, .role = ROTA__ROLE__ROLE_SCHEDULER, .has_store = true};
    memcpy (envelope.store, stage->store, 16);
    assert_int_equal (rota_body_encode (type, message, &body, &size_bytes), 0);
    void *raw = zsock_resolve (stage->publisher);
    zmq_send (raw, "e", 1, ZMQ_SNDMORE);
    zmq_send (raw, head, rota_envelope_encode (&envelope, head), ZMQ_SNDMORE);
    zmq_send (raw, body, size_bytes, 0);
    free (body);
}

static void publish (stage_t *stage, uint64_t first, size_t count)
{
    Rota__EventBatch batch = ROTA__EVENT_BATCH__INIT;
    Rota__Event *events = calloc (count, sizeof *events);
    Rota__Event **list = calloc (count, sizeof (Rota__Event *));
    fill_events (events, list, first, count);
    batch.n_events = count;
    batch.events = list;
    publish_body (stage, ROTA_MESSAGE_EVENT_BATCH, &batch.base);
    free (events);
    free (list);
}

static void publish_head (stage_t *stage)
{
    Rota__EventHead head = ROTA__EVENT_HEAD__INIT;
    head.has_last = true;
    head.last = stage->last;
    publish_body (stage, ROTA_MESSAGE_EVENT_HEAD, &head.base);
}

/* New events, published in one batch or, with `lost`, not at all. */
static void happen (stage_t *stage, size_t count, bool lost)
{
    uint64_t first = stage->last + 1;
    stage->last += count;
    if (!lost)
        publish (stage, first, count);
}

/* ---- stage */

static void subscribe (stage_t *stage, uint64_t after)
{
    rota_error_t error = {""};
    rota_subscriber_config_t config = {
        .after = after, .owner = stage, .on_event = on_event, .on_gap = on_gap, .on_batch = on_batch};
    stage->subscriber = rota_subscriber_new (&config, stage->peer, stage->loop, &error);
    assert_non_null (stage->subscriber);
    Rota__Welcome welcome = ROTA__WELCOME__INIT;
    welcome.has_events_endpoint = true;
    welcome.events_endpoint = rota_bytes (stage->events);
    rota_subscriber_welcome (stage->subscriber, &welcome);
}

/* Subscribed, caught up, and live events are known to arrive. */
static void subscribe_live (stage_t *stage, uint64_t after)
{
    subscribe (stage, after);
    /* A subscription takes a moment to reach the publisher; heads are published until one has been acted on.
     */
    for (int i = 0; i < 2000; i++) {
        int pulls = stage->pulls;
        loop_for (stage->loop, 5);
        stage->last++;
        publish_head (stage);
        loop_for (stage->loop, 5);
        if (i > 2 && stage->pulls > pulls && rota_subscriber_last (stage->subscriber) == stage->last)
            return;
    }
    fail_msg ("no live event ever came");
}

static void assert_all_seen (stage_t *stage, uint64_t first, uint64_t last)
{
    assert_true ((uint64_t)stage->n_seen == last - first + 1);
    for (int i = 0; i < stage->n_seen; i++)
        assert_true (stage->seen[i] == first + (uint64_t)i);
}

static void start_over (stage_t *stage)
{
    stage->n_seen = stage->pulls = stage->batches = stage->n_held = 0;
}

static int open_stage (void **state)
{
    stage_t *stage = calloc (1, sizeof *stage);
    rota_error_t error;
    rota_bus_start ();
    stage->seen = calloc (MAX_SEEN, sizeof *stage->seen);
    stage->loop = zloop_new ();
    snprintf (stage->directory, sizeof stage->directory, "/tmp/rota-test-subscriber-XXXXXX");
    if (!mkdtemp (stage->directory))
        return -1;
    snprintf (stage->endpoint, sizeof stage->endpoint, "ipc://%s/broker", stage->directory);
    snprintf (stage->events, sizeof stage->events, "ipc://%s/events", stage->directory);
    stage->first = 1;
    stage->last = 10;
    stage->broker.owner = stage;
    stage->broker.on_request = on_request;
    stage->broker.events_endpoint = stage->events;
    scripted_broker_open (&stage->broker, stage->loop, stage->endpoint);
    stage->publisher = zsock_new (ZMQ_PUB);
    zsock_set_linger (stage->publisher, 0);
    zsock_set_sndhwm (stage->publisher, 100000);
    if (zmq_bind (zsock_resolve (stage->publisher), stage->events) < 0)
        return -1;
    rota_peer_config_t config = {.endpoints = stage->endpoint,
                                 .role = ROTA__ROLE__ROLE_SINK,
                                 .name = "a test",
                                 .owner = stage,
                                 .on_state = on_state};
    stage->peer = rota_peer_new (&config, stage->loop, &error);
    *state = stage;
    return stage->peer && loop_until (stage->loop, &stage->ready, 1) ? 0 : -1;
}

static int close_stage (void **state)
{
    stage_t *stage = *state;
    rota_subscriber_destroy (&stage->subscriber);
    rota_peer_destroy (&stage->peer);
    scripted_broker_close (&stage->broker);
    zsock_destroy (&stage->publisher);
    zloop_destroy (&stage->loop);
    unlink (stage->endpoint + strlen ("ipc://"));
    unlink (stage->events + strlen ("ipc://"));
    rmdir (stage->directory);
    free (stage->seen);
    free (stage);
    return 0;
}

/* ---- tests */

static void what_happened_before_is_delivered_first (void **state)
{
    stage_t *stage = *state;
    stage->last = 2500;
    subscribe (stage, 0);
    assert_true (loop_until (stage->loop, &stage->n_seen, 2500));
    assert_all_seen (stage, 1, 2500);
    assert_int_equal (stage->gaps, 0);
    assert_int_equal (stage->batches, 3);
}

static void it_goes_on_after_the_number_it_was_given (void **state)
{
    stage_t *stage = *state;
    subscribe (stage, 7);
    assert_true (loop_until (stage->loop, &stage->n_seen, 3));
    assert_all_seen (stage, 8, 10);
}

static void from_now_on_leaves_out_the_past (void **state)
{
    stage_t *stage = *state;
    subscribe_live (stage, ROTA_SUBSCRIBER_NOW);
    assert_true (stage->n_seen == 0 || stage->seen[0] > 10);
    start_over (stage);
    uint64_t before = stage->last;
    happen (stage, 5, false);
    assert_true (loop_until (stage->loop, &stage->n_seen, 5));
    assert_all_seen (stage, before + 1, before + 5);
}

static void live_events_need_no_pull (void **state)
{
    stage_t *stage = *state;
    subscribe_live (stage, 0);
    start_over (stage);
    uint64_t before = stage->last;
    for (int i = 0; i < 50; i++)
        happen (stage, 20, false);
    assert_true (loop_until (stage->loop, &stage->n_seen, 1000));
    assert_all_seen (stage, before + 1, before + 1000);
    assert_int_equal (stage->pulls, 0);
}

static void what_the_publisher_lost_is_pulled (void **state)
{
    stage_t *stage = *state;
    subscribe_live (stage, 0);
    start_over (stage);
    uint64_t before = stage->last;
    happen (stage, 5, false);
    happen (stage, 2000, true);
    happen (stage, 5, false);
    happen (stage, 1, true);
    happen (stage, 5, false);
    assert_true (loop_until (stage->loop, &stage->n_seen, 2016));
    assert_all_seen (stage, before + 1, before + 2016);
    assert_int_equal (stage->gaps, 0);
}

static void the_head_reveals_a_lost_end (void **state)
{
    stage_t *stage = *state;
    subscribe_live (stage, 0);
    start_over (stage);
    uint64_t before = stage->last;
    happen (stage, 3, true);
    publish_head (stage);
    assert_true (loop_until (stage->loop, &stage->n_seen, 3));
    assert_all_seen (stage, before + 1, before + 3);
    publish_head (stage);
    publish_head (stage);
    loop_for (stage->loop, 50);
    assert_int_equal (stage->pulls, 1);
}

static void what_is_published_during_a_pull_comes_after_it_and_once (void **state)
{
    stage_t *stage = *state;
    Rota__EventsQuery query = ROTA__EVENTS_QUERY__INIT;
    subscribe_live (stage, 0);
    start_over (stage);
    uint64_t before = stage->last;
    stage->deaf = true;
    happen (stage, 5, true);
    publish_head (stage);
    assert_true (loop_until (stage->loop, &stage->n_held, 1));
    for (int i = 0; i < 10; i++)
        happen (stage, 5, false);
    loop_for (stage->loop, 100);
    assert_int_equal (stage->n_seen, 0);
    assert_int_equal (stage->pulls, 1);
    /* An answer that holds a part of what is kept. */
    uint64_t last = stage->last;
    stage->deaf = false;
    stage->last = before + 17;
    query.after = before;
    query.limit = 1000;
    answer_pull (stage, &stage->held, &query);
    stage->last = last;
    assert_true (loop_until (stage->loop, &stage->n_seen, 55));
    assert_all_seen (stage, before + 1, before + 55);
    assert_int_equal (stage->pulls, 1);
}

static void more_than_can_be_kept_during_a_pull_is_pulled (void **state)
{
    stage_t *stage = *state;
    Rota__EventsQuery query = ROTA__EVENTS_QUERY__INIT;
    subscribe_live (stage, 0);
    start_over (stage);
    uint64_t before = stage->last;
    stage->deaf = true;
    happen (stage, 5, true);
    publish_head (stage);
    assert_true (loop_until (stage->loop, &stage->n_held, 1));
    for (int i = 0; i < 200; i++)
        happen (stage, 30, false);
    loop_for (stage->loop, 100);
    stage->deaf = false;
    query.after = before;
    query.limit = 1000;
    answer_pull (stage, &stage->held, &query);
    assert_true (loop_until (stage->loop, &stage->n_seen, 6005));
    assert_all_seen (stage, before + 1, before + 6005);
}

static void what_retention_removed_is_told (void **state)
{
    stage_t *stage = *state;
    stage->first = 6;
    subscribe (stage, 2);
    assert_true (loop_until (stage->loop, &stage->n_seen, 5));
    assert_all_seen (stage, 6, 10);
    assert_int_equal (stage->gaps, 1);
    assert_true (stage->gap_first == 3 && stage->gap_last == 5);
}

static void numbers_that_were_never_given_are_no_gap (void **state)
{
    stage_t *stage = *state;
    subscribe_live (stage, 0);
    start_over (stage);
    stage->hole_first = stage->last + 1;
    stage->hole_last = stage->last + 3;
    happen (stage, 3, true);
    happen (stage, 2, false);
    assert_true (loop_until (stage->loop, &stage->n_seen, 2));
    assert_all_seen (stage, stage->hole_last + 1, stage->hole_last + 2);
    assert_int_equal (stage->gaps, 0);
}

static void a_pull_that_fails_is_tried_again (void **state)
{
    stage_t *stage = *state;
    stage->refuses = true;
    subscribe (stage, 0);
    assert_true (loop_until (stage->loop, &stage->n_seen, 10));
    assert_all_seen (stage, 1, 10);
    assert_int_equal (stage->pulls, 2);
}

static void a_restored_store_starts_over (void **state)
{
    stage_t *stage = *state;
    subscribe_live (stage, 0);
    start_over (stage);
    memset (stage->store, 9, 16);
    stage->last = 3;
    publish_head (stage);
    loop_for (stage->loop, 100);
    assert_int_equal (stage->n_seen, 0);
    happen (stage, 2, false);
    assert_true (loop_until (stage->loop, &stage->n_seen, 2));
    assert_all_seen (stage, 4, 5);
    assert_int_equal (stage->gaps, 0);
}

static void a_log_that_ends_before_the_cursor_starts_over (void **state)
{
    stage_t *stage = *state;
    stage->last = 10;
    subscribe_live (stage, 5000);
    start_over (stage);
    uint64_t before = stage->last;
    assert_true (before < 5000);
    happen (stage, 2, false);
    assert_true (loop_until (stage->loop, &stage->n_seen, 2));
    assert_all_seen (stage, before + 1, before + 2);
}

static void nothing_is_missed_over_a_restart_of_the_broker (void **state)
{
    stage_t *stage = *state;
    subscribe_live (stage, 0);
    start_over (stage);
    uint64_t before = stage->last;
    scripted_broker_close (&stage->broker);
    zsock_destroy (&stage->publisher);
    loop_for (stage->loop, 50);
    happen (stage, 30, true);
    stage->publisher = zsock_new (ZMQ_PUB);
    zsock_set_linger (stage->publisher, 0);
    assert_true (zmq_bind (zsock_resolve (stage->publisher), stage->events) >= 0);
    scripted_broker_open (&stage->broker, stage->loop, stage->endpoint);
    assert_true (loop_until (stage->loop, &stage->ready, 2));
    assert_true (loop_until (stage->loop, &stage->n_seen, 30));
    assert_all_seen (stage, before + 1, before + 30);
}

static void rubbish_from_the_publisher_is_ignored (void **state)
{
    stage_t *stage = *state;
    subscribe_live (stage, 0);
    start_over (stage);
    uint64_t before = stage->last;
    void *raw = zsock_resolve (stage->publisher);
    Rota__Event event = ROTA__EVENT__INIT, *list = &event;
    Rota__EventBatch batch = ROTA__EVENT_BATCH__INIT;
    Rota__EventHead head = ROTA__EVENT_HEAD__INIT;
    uint8_t bytes[ROTA_ENVELOPE_MAX_BYTES];
    rota_envelope_t envelope = {.version = 1, .type = ROTA_MESSAGE_EVENT_BATCH};
    size_t size = rota_envelope_encode (&envelope, bytes);

    zmq_send (raw, "e", 1, 0);
    zmq_send (raw, "e", 1, ZMQ_SNDMORE);
    zmq_send (raw, "\xff\xff", 2, 0);
    zmq_send (raw, "e", 1, ZMQ_SNDMORE);
    zmq_send (raw, bytes, size, ZMQ_SNDMORE);
    zmq_send (raw, "\xff\xff", 2, 0);
    for (int i = 0; i < 5; i++)
        zmq_send (raw, "e", 1, i < 4 ? ZMQ_SNDMORE : 0);
    publish_body (stage, ROTA_MESSAGE_EVENT_BATCH, &batch.base);
    batch.n_events = 1;
    batch.events = &list;
    publish_body (stage, ROTA_MESSAGE_EVENT_BATCH, &batch.base);
    publish_body (stage, ROTA_MESSAGE_EVENT_HEAD, &head.base);
    publish_body (stage, ROTA_MESSAGE_SUBMIT, &(Rota__Submit)ROTA__SUBMIT__INIT.base);
    happen (stage, 2, false);
    assert_true (loop_until (stage->loop, &stage->n_seen, 2));
    assert_all_seen (stage, before + 1, before + 2);
}

static void it_can_end_while_a_pull_is_under_way (void **state)
{
    stage_t *stage = *state;
    stage->deaf = true;
    subscribe (stage, 0);
    assert_true (loop_until (stage->loop, &stage->n_held, 1));
    rota_subscriber_destroy (&stage->subscriber);
    Rota__EventsQuery query = ROTA__EVENTS_QUERY__INIT;
    query.limit = 1000;
    answer_pull (stage, &stage->held, &query);
    loop_for (stage->loop, 50);
    assert_int_equal (stage->n_seen, 0);
    assert_int_equal (rota_peer_outstanding (stage->peer), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, open_stage, close_stage)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (what_happened_before_is_delivered_first),
        TEST (it_goes_on_after_the_number_it_was_given),
        TEST (from_now_on_leaves_out_the_past),
        TEST (live_events_need_no_pull),
        TEST (what_the_publisher_lost_is_pulled),
        TEST (the_head_reveals_a_lost_end),
        TEST (what_is_published_during_a_pull_comes_after_it_and_once),
        TEST (more_than_can_be_kept_during_a_pull_is_pulled),
        TEST (what_retention_removed_is_told),
        TEST (numbers_that_were_never_given_are_no_gap),
        TEST (a_pull_that_fails_is_tried_again),
        TEST (a_restored_store_starts_over),
        TEST (a_log_that_ends_before_the_cursor_starts_over),
        TEST (nothing_is_missed_over_a_restart_of_the_broker),
        TEST (rubbish_from_the_publisher_is_ignored),
        TEST (it_can_end_while_a_pull_is_under_way),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
