/* How a peer of bus/peer.h finds, keeps and leaves its broker, against one that misbehaves on command. */
#include "peer_stage.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

/* ---- connecting */

static void says_hello_first_and_nothing_else_before_welcome (void **state)
{
    peer_stage_t *stage = *state;
    stage->broker.refuses = true;
    peer_stage_open_broker (stage, &stage->broker, stage->first);
    stage->broker.refusal.has_code = true;
    stage->broker.refusal.code = ROTA__ERROR_CODE__ERROR_CODE_RETRY_LATER;
    peer_stage_open_peer (stage, stage->first);
    assert_int_equal (peer_stage_ask (stage, 0, PEER_STAGE_NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->broker.hellos, 2));
    assert_int_equal (stage->broker.requests, 0);
    assert_int_equal (stage->broker.wanted, ROTA__ROLE__ROLE_AGENT);
    assert_memory_equal (stage->broker.instance, rota_peer_instance (stage->peer), 16);
    stage->broker.refuses = false;
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_int_equal (stage->failed, 0);
    assert_int_equal (stage->broker.malformed, 0);
}

static void waits_for_a_broker_that_comes_later (void **state)
{
    peer_stage_t *stage = *state;
    stage->config.connect_patience_ms = 50;
    peer_stage_open_peer (stage, stage->first);
    assert_int_equal (peer_stage_ask (stage, 0, PEER_STAGE_NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->connecting, 3));
    assert_non_null (strstr (stage->why, stage->first));
    assert_false (rota_peer_is_ready (stage->peer));
    peer_stage_open_broker (stage, &stage->broker, stage->first);
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_string_equal (stage->why, "");
}

/* A machine that stands still for a while makes a second one right; not each time. */
static void one_hello_is_enough (void **state)
{
    peer_stage_t *stage = *state;
    int fewest = 99;
    for (int i = 0; i < 3 && fewest != 1; i++) {
        stage->ready = stage->broker.hellos = 0;
        peer_stage_open_both (stage);
        loop_for (stage->loop, 300);
        fewest = stage->broker.hellos < fewest ? stage->broker.hellos : fewest;
        rota_peer_destroy (&stage->peer);
        scripted_broker_close (&stage->broker);
    }
    assert_int_equal (fewest, 1);
}

static void works_over_inproc_and_tcp_too (void **state)
{
    peer_stage_t *stage = *state;
    static const char *const ENDPOINTS[] = {"inproc://rota-test-peer", "tcp://127.0.0.1:*"};
    for (size_t i = 0; i < 2; i++) {
        stage->ready = stage->answered = 0;
        peer_stage_open_broker (stage, &stage->broker, ENDPOINTS[i]);
        peer_stage_open_peer (stage, stage->broker.endpoint);
        assert_int_equal (peer_stage_ask (stage, 0, PEER_STAGE_NEVER), 0);
        assert_true (loop_until (stage->loop, &stage->answered, 1));
        rota_peer_destroy (&stage->peer);
        scripted_broker_close (&stage->broker);
    }
}

static void tcp_without_keys_is_used_on_loopback_only_and_only_when_told_to (void **state)
{
    peer_stage_t *stage = *state;
    static const struct {
        rota_curve_t curve;
        const char *endpoints, *word;
    } CASES[] = {
        {{.insecure = true}, "tcp://127.0.0.1:5555,tcp://[::1]:5555,tcp://localhost:5555", NULL},
        {{.insecure = true}, "tcp://127.0.0.1:5555,tcp://192.0.2.1:5555", "only loopback"},
        {{.insecure = true}, "tcp://127.example.org:5555", "only loopback"},
        {{.insecure = false}, "tcp://127.0.0.1:5555", "a key is needed"},
        {{.has_key = true}, "tcp://127.0.0.1:5555", "broker.public_key"},
        {{.has_key = true, .has_broker_key = true}, "tcp://192.0.2.1:5555", NULL},
        {{.insecure = false}, "ipc:///tmp/somewhere", NULL},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        rota_error_t error = {""};
        stage->config.endpoints = CASES[i].endpoints;
        stage->config.curve = CASES[i].curve;
        rota_peer_t *peer = rota_peer_new (&stage->config, stage->loop, &error);
        if (CASES[i].word ? peer || !strstr (error.text, CASES[i].word) : !peer)
            fail_msg ("%s: %s", CASES[i].endpoints, error.text);
        rota_peer_destroy (&peer);
    }
}

static void a_malformed_endpoint_is_refused_with_what_is_right (void **state)
{
    peer_stage_t *stage = *state;
    static const struct {
        const char *endpoints, *word;
    } BAD[] = {
        {"", "none is given"},
        {"ipc://a,,ipc://b", "between the commas"},
        {"ipc://a,", "between the commas"},
        {"localhost:5555", "tcp://HOST:PORT"},
        {"http://localhost:5555", "tcp://HOST:PORT"},
        {"tcp://localhost", "tcp://HOST:PORT"},
        {"tcp://:5555", "tcp://HOST:PORT"},
        {"tcp://*:5555", "tcp://HOST:PORT"},
        {"tcp://localhost:0", "1 to 65535"},
        {"tcp://localhost:65536", "1 to 65535"},
        {"tcp://localhost:55x", "1 to 65535"},
        {"tcp://::1:5555", "no host name"},
        {"tcp://[::1:5555", "[ ]"},
        {"ipc://", "path"},
        {"inproc://", "must be"},
        {"ipc:///a/directory/with/a/very/long/name/that/goes/on/and/on/and/on/until/it/is/too/long/for/any/"
         "unix/domain/socket",
         "107"},
    };
    stage->config.role = ROTA__ROLE__ROLE_AGENT;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        rota_error_t error = {""};
        stage->config.endpoints = BAD[i].endpoints;
        assert_null (rota_peer_new (&stage->config, stage->loop, &error));
        if (!strstr (error.text, BAD[i].word))
            fail_msg ("\"%s\": %s", BAD[i].endpoints, error.text);
    }
    static const char *const GOOD[] = {"tcp://[::1]:5555", "tcp://node-1.example.org:5555", "ipc://@abstract",
                                       " ipc:///a/b , tcp://127.0.0.1:1 "};
    stage->config.curve = (rota_curve_t){.has_key = true, .has_broker_key = true};
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        rota_error_t error = {""};
        stage->config.endpoints = GOOD[i];
        rota_peer_t *peer = rota_peer_new (&stage->config, stage->loop, &error);
        assert_string_equal (error.text, "");
        rota_peer_destroy (&peer);
    }
}

static void the_next_endpoint_is_tried_when_one_is_silent (void **state)
{
    peer_stage_t *stage = *state;
    char both[300];
    stage->broker.silent = true;
    stage->config.connect_patience_ms = 100;
    peer_stage_open_broker (stage, &stage->broker, stage->first);
    peer_stage_open_broker (stage, &stage->other, stage->second);
    snprintf (both, sizeof both, "%s,%s", stage->first, stage->second);
    peer_stage_open_peer (stage, both);
    assert_true (loop_until (stage->loop, &stage->ready, 1));
    assert_string_equal (rota_peer_endpoint (stage->peer), stage->second);
}

/* The patience is for those who may still answer, not for those of whom it is known that they can't. */
static void of_several_the_next_is_tried_as_soon_as_one_is_gone (void **state)
{
    peer_stage_t *stage = *state;
    char both[300];
    stage->config.connect_patience_ms = 3600000;
    snprintf (both, sizeof both, "%s,%s", stage->first, stage->second);
    peer_stage_open_broker (stage, &stage->other, stage->second);
    peer_stage_open_peer (stage, both); /* nothing listens at the first */
    assert_true (loop_until (stage->loop, &stage->ready, 1));
    assert_string_equal (rota_peer_endpoint (stage->peer), stage->second);
    peer_stage_open_broker (stage, &stage->broker, stage->first);
    scripted_broker_close (&stage->other);
    assert_true (loop_until (stage->loop, &stage->ready, 2));
    assert_string_equal (rota_peer_endpoint (stage->peer), stage->first);
}

static void a_leader_that_another_has_followed_is_not_followed_again (void **state)
{
    peer_stage_t *stage = *state;
    char both[300];
    snprintf (both, sizeof both, "%s,%s", stage->first, stage->second);
    stage->broker.leader_cluster = stage->other.leader_cluster = 7;
    stage->broker.leader_epoch = 6;
    stage->other.leader_epoch = 5;
    peer_stage_open_broker (stage, &stage->broker, stage->first);
    peer_stage_open_broker (stage, &stage->other, stage->second);
    peer_stage_open_peer (stage, both);
    assert_true (loop_until (stage->loop, &stage->ready, 1));
    scripted_broker_close (&stage->broker);
    assert_true (loop_until (stage->loop, &stage->other.hellos, 3));
    assert_int_equal (stage->ready, 1);
    stage->other.leader_cluster = 8; /* numbers of another cluster don't compare */
    assert_true (loop_until (stage->loop, &stage->ready, 2));
}

static void the_hint_to_the_leader_is_followed (void **state)
{
    peer_stage_t *stage = *state;
    peer_stage_open_broker (stage, &stage->broker, stage->first);
    peer_stage_open_broker (stage, &stage->other, stage->second);
    stage->broker.refuses = true;
    stage->broker.refusal.has_code = stage->broker.refusal.has_leader = true;
    stage->broker.refusal.code = ROTA__ERROR_CODE__ERROR_CODE_NOT_LEADER;
    stage->broker.refusal.leader = rota_bytes (stage->second);
    stage->config.connect_patience_ms = 60000;
    peer_stage_open_peer (stage, stage->first);
    assert_int_equal (peer_stage_ask (stage, 0, PEER_STAGE_NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_string_equal (rota_peer_endpoint (stage->peer), stage->second);
    assert_int_equal (stage->broker.requests, 0);
}

static void refuse_as_no_leader (void *owner, scripted_broker_t *broker, const rota_envelope_t *envelope,
                                 const uint8_t *body, size_t size_bytes)
{
    (void)body;
    (void)size_bytes;
    peer_stage_t *stage = owner;
    scripted_broker_refuse (broker, envelope, ROTA__ERROR_CODE__ERROR_CODE_NOT_LEADER, 0, stage->second,
                            NULL);
}

static void a_request_refused_by_a_deposed_leader_reaches_the_new_one_once (void **state)
{
    peer_stage_t *stage = *state;
    stage->broker.on_request = refuse_as_no_leader;
    peer_stage_open_both (stage);
    peer_stage_open_broker (stage, &stage->other, stage->second);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal (peer_stage_ask (stage, i, PEER_STAGE_NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 10));
    for (size_t i = 0; i < 10; i++)
        assert_int_equal (stage->answers[i], 1);
    assert_int_equal (stage->other.requests, 10);
    assert_int_equal (stage->ready, 2);
}

static void two_brokers_that_point_at_each_other_do_not_spin_it (void **state)
{
    peer_stage_t *stage = *state;
    peer_stage_open_broker (stage, &stage->broker, stage->first);
    peer_stage_open_broker (stage, &stage->other, stage->second);
    stage->broker.refuses = stage->other.refuses = true;
    stage->broker.refusal.has_code = stage->broker.refusal.has_leader = true;
    stage->other.refusal.has_code = stage->other.refusal.has_leader = true;
    stage->broker.refusal.code = stage->other.refusal.code = ROTA__ERROR_CODE__ERROR_CODE_NOT_LEADER;
    stage->broker.refusal.leader = rota_bytes (stage->second);
    stage->other.refusal.leader = rota_bytes (stage->first);
    peer_stage_open_peer (stage, stage->first);
    loop_for (stage->loop, 1000);
    /* after every third hint a pause of at least 200 ms */
    assert_true (stage->broker.hellos + stage->other.hellos <= 24);
    stage->other.refuses = false;
    assert_true (loop_until (stage->loop, &stage->ready, 1));
}

static void a_refused_hello_is_told_with_its_reason (void **state)
{
    peer_stage_t *stage = *state;
    peer_stage_open_broker (stage, &stage->broker, stage->first);
    stage->broker.refuses = true;
    stage->broker.refusal.has_code = stage->broker.refusal.has_text = true;
    stage->broker.refusal.code = ROTA__ERROR_CODE__ERROR_CODE_NOT_ALLOWED;
    stage->broker.refusal.text = rota_bytes ("agents connect elsewhere");
    peer_stage_open_peer (stage, stage->first);
    assert_true (loop_until (stage->loop, &stage->connecting, 2));
    assert_non_null (strstr (stage->why, "NOT_ALLOWED: agents connect elsewhere"));
}

static void heartbeats_are_sent_as_often_as_the_broker_wants (void **state)
{
    peer_stage_t *stage = *state;
    stage->broker.heartbeat_ms = 20;
    peer_stage_open_both (stage);
    assert_true (loop_until (stage->loop, &stage->broker.heartbeats, 5));
}

static void tells_when_a_scheduler_comes_and_goes (void **state)
{
    peer_stage_t *stage = *state;
    stage->broker.heartbeat_ms = 20;
    peer_stage_open_both (stage);
    assert_null (rota_peer_scheduler (stage->peer));
    stage->broker.has_scheduler = true;
    memset (stage->broker.scheduler, 7, 16);
    assert_true (loop_until (stage->loop, &stage->schedulers, 1));
    assert_true (stage->has_scheduler);
    assert_memory_equal (rota_peer_scheduler (stage->peer), stage->broker.scheduler, 16);
    memset (stage->broker.scheduler, 8, 16);
    assert_true (loop_until (stage->loop, &stage->schedulers, 2));
    stage->broker.has_scheduler = false;
    assert_true (loop_until (stage->loop, &stage->schedulers, 3));
    assert_false (stage->has_scheduler);
}

static void a_broker_that_falls_silent_is_left (void **state)
{
    peer_stage_t *stage = *state;
    char both[300];
    stage->broker.heartbeat_ms = 20;
    stage->broker.dead_after_ms = 400;
    peer_stage_open_broker (stage, &stage->broker, stage->first);
    snprintf (both, sizeof both, "%s,%s", stage->first, stage->second);
    peer_stage_open_peer (stage, both);
    assert_true (loop_until (stage->loop, &stage->ready, 1));
    peer_stage_open_broker (stage, &stage->other, stage->second);
    stage->broker.silent = true;
    assert_true (loop_until (stage->loop, &stage->ready, 2));
    assert_string_equal (rota_peer_endpoint (stage->peer), stage->second);
}

static void a_pause_of_its_own_is_not_taken_for_the_brokers_silence (void **state)
{
    peer_stage_t *stage = *state;
    stage->broker.heartbeat_ms = 100;
    stage->broker.dead_after_ms = 600;
    peer_stage_open_both (stage);
    stage->broker.silent = true;
    loop_for (stage->loop, 20);
    usleep (700000);
    stage->connecting = 0;
    loop_for (stage->loop, 50);
    assert_int_equal (stage->connecting, 0);
    assert_true (rota_peer_is_ready (stage->peer));
}

static void says_goodbye (void **state)
{
    peer_stage_t *stage = *state;
    peer_stage_open_both (stage);
    rota_peer_destroy (&stage->peer);
    assert_true (loop_until (stage->loop, &stage->broker.goodbyes, 1));
}

static void a_broker_that_says_goodbye_is_left_at_once (void **state)
{
    peer_stage_t *stage = *state;
    char both[300];
    peer_stage_open_broker (stage, &stage->broker, stage->first);
    peer_stage_open_broker (stage, &stage->other, stage->second);
    snprintf (both, sizeof both, "%s,%s", stage->first, stage->second);
    peer_stage_open_peer (stage, both);
    assert_true (loop_until (stage->loop, &stage->ready, 1));
    rota_envelope_t goodbye = {.type = ROTA_MESSAGE_GOODBYE};
    scripted_broker_send (&stage->broker, &goodbye, "", 0);
    assert_true (loop_until (stage->loop, &stage->ready, 2));
    assert_string_equal (rota_peer_endpoint (stage->peer), stage->second);
}

/* ---- messages */

static void what_is_no_answer_goes_to_on_message (void **state)
{
    peer_stage_t *stage = *state;
    peer_stage_open_both (stage);
    rota_envelope_t assign = {.type = ROTA_MESSAGE_ASSIGN};
    rota_envelope_t query = {.type = ROTA_MESSAGE_OUTPUT_QUERY, .has_conversation = true, .sequence = 1};
    scripted_broker_send (&stage->broker, &assign, "", 0);
    scripted_broker_send (&stage->broker, &query, "", 0);
    assert_true (loop_until (stage->loop, &stage->messages, 2));
    assert_int_equal (stage->last_type, ROTA_MESSAGE_OUTPUT_QUERY);
    assert_true (loop_until (stage->loop, &stage->drained, 1));
    assert_true (stage->drained <= 2);
}

static void nothing_one_way_is_kept_for_later (void **state)
{
    peer_stage_t *stage = *state;
    Rota__Accepted accepted = ROTA__ACCEPTED__INIT;
    rota_envelope_t envelope = {.type = ROTA_MESSAGE_ACCEPTED};
    peer_stage_open_peer (stage, stage->first);
    assert_int_equal (rota_peer_send (stage->peer, &envelope, &accepted.base), -EAGAIN);
    peer_stage_open_broker (stage, &stage->broker, stage->first);
    assert_true (loop_until (stage->loop, &stage->ready, 1));
    assert_int_equal (rota_peer_send (stage->peer, &envelope, &accepted.base), 0);
    assert_true (loop_until (stage->loop, &stage->broker.requests, 1));
    loop_for (stage->loop, 50);
    assert_int_equal (stage->broker.requests, 1);
    uint8_t *large = calloc (1, 1048577);
    assert_int_equal (rota_peer_send_packed (stage->peer, &envelope, large, 1048577), -EMSGSIZE);
    free (large);
}

static void rubbish_from_the_broker_is_ignored (void **state)
{
    peer_stage_t *stage = *state;
    static const uint8_t NOISE[700] = {0xff, 0x08, 0xff, 0xff};
    uint8_t good[ROTA_ENVELOPE_MAX_BYTES], other[ROTA_ENVELOPE_MAX_BYTES];
    peer_stage_open_both (stage);
    assert_int_equal (peer_stage_ask (stage, 0, PEER_STAGE_NEVER), 0);
    rota_envelope_t submit_reply = {.version = 1, .type = ROTA_MESSAGE_SUBMIT_REPLY};
    size_t good_size = rota_envelope_encode (&submit_reply, good);
    submit_reply.version = 9;
    size_t other_size = rota_envelope_encode (&submit_reply, other);
    scripted_broker_t *broker = &stage->broker;
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    for (int i = 0; i < 20; i++) {
        scripted_broker_send_frames (broker, 1, NOISE, (size_t)10);
        scripted_broker_send_frames (broker, 1, NOISE, (size_t)0);
        scripted_broker_send_frames (broker, 2, NOISE, (size_t)10, NOISE, (size_t)10);
        scripted_broker_send_frames (broker, 2, NOISE, sizeof NOISE, NOISE, (size_t)10);
        scripted_broker_send_frames (broker, 2, other, other_size, NOISE, (size_t)0);
        scripted_broker_send_frames (broker, 2, good, good_size, NOISE, sizeof NOISE);
        scripted_broker_send_frames (broker, 3, good, good_size, NOISE, (size_t)1, NOISE, (size_t)1);
        for (uint32_t type = 1; type <= 5; type++) {
            if (type == ROTA_MESSAGE_GOODBYE)
                continue; /* has no content that could be wrong */
            rota_envelope_t broken = {.type = type};
            scripted_broker_send (broker, &broken, NOISE, 200);
        }
    }
    stage->messages = 0;
    assert_int_equal (peer_stage_ask (stage, 1, PEER_STAGE_NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 2));
    assert_int_equal (stage->failed, 0);
    assert_int_equal (stage->connecting, 1);
}

/* ---- a loop in short turns, as the client runs it */

static void heartbeats_survive_a_loop_run_in_short_turns (void **state)
{
    peer_stage_t *stage = *state;
    stage->broker.heartbeat_ms = 50;
    peer_stage_open_both (stage);
    for (int i = 0; i < 400 && stage->broker.heartbeats < 2; i++)
        loop_for (stage->loop, 2);
    assert_true (stage->broker.heartbeats >= 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, peer_stage_open, peer_stage_close)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (says_hello_first_and_nothing_else_before_welcome),
        TEST (waits_for_a_broker_that_comes_later),
        TEST (one_hello_is_enough),
        TEST (works_over_inproc_and_tcp_too),
        TEST (tcp_without_keys_is_used_on_loopback_only_and_only_when_told_to),
        TEST (a_malformed_endpoint_is_refused_with_what_is_right),
        TEST (the_next_endpoint_is_tried_when_one_is_silent),
        TEST (of_several_the_next_is_tried_as_soon_as_one_is_gone),
        TEST (a_leader_that_another_has_followed_is_not_followed_again),
        TEST (the_hint_to_the_leader_is_followed),
        TEST (a_request_refused_by_a_deposed_leader_reaches_the_new_one_once),
        TEST (two_brokers_that_point_at_each_other_do_not_spin_it),
        TEST (a_refused_hello_is_told_with_its_reason),
        TEST (heartbeats_are_sent_as_often_as_the_broker_wants),
        TEST (tells_when_a_scheduler_comes_and_goes),
        TEST (a_broker_that_falls_silent_is_left),
        TEST (a_pause_of_its_own_is_not_taken_for_the_brokers_silence),
        TEST (says_goodbye),
        TEST (a_broker_that_says_goodbye_is_left_at_once),
        TEST (what_is_no_answer_goes_to_on_message),
        TEST (nothing_one_way_is_kept_for_later),
        TEST (rubbish_from_the_broker_is_ignored),
        TEST (heartbeats_survive_a_loop_run_in_short_turns),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
