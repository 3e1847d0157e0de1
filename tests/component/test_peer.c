/* What a service may rely on when it talks through bus/peer.h, against a broker that misbehaves on command.
 */
#include "bus/clock.h"
#include "bus/peer.h"
#include "scripted_broker.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define MANY 2000
#define NEVER (-1)

typedef struct {
    zloop_t *loop;
    char directory[64];
    char first[128], second[128];
    scripted_broker_t broker, other;
    rota_peer_t *peer;
    rota_peer_config_t config;
    /* What the peer said. */
    int ready, connecting, messages, drained, schedulers;
    char why[512];
    bool has_scheduler;
    int answers[MANY];
    int answered, failed;
    rota_reply_t last;
    uint32_t last_type;
    Rota__ErrorCode last_code;
    char last_why[512];
    /* What the broker does with requests. */
    int mode;
    int put_off;
    int64_t refused_ms, again_ms;
    rota_envelope_t held[MANY];
    int n_held;
    uint64_t first_sequence;
    uint8_t conversation[16];
} stage_t;

enum { ANSWER, HOLD, TWICE };

static void on_state (void *owner, rota_peer_state_t state, const Rota__Welcome *welcome, const char *why)
{
    stage_t *stage = owner;
    if (state == ROTA_PEER_READY) {
        stage->ready++;
        assert_non_null (welcome);
        assert_true (rota_peer_is_ready (stage->peer));
    } else
        stage->connecting++;
    snprintf (stage->why, sizeof stage->why, "%s", why);
}

static void on_scheduler (void *owner, const uint8_t *instance)
{
    stage_t *stage = owner;
    stage->schedulers++;
    stage->has_scheduler = instance != NULL;
}

static void on_message (void *owner, const rota_envelope_t *envelope, const uint8_t *body, size_t size_bytes)
{
    (void)body;
    (void)size_bytes;
    stage_t *stage = owner;
    stage->messages++;
    stage->last_type = envelope->type;
}

static void on_drained (void *owner)
{
    stage_t *stage = owner;
    stage->drained++;
}

static void on_reply (void *owner, void *context, const rota_reply_t *reply)
{
    stage_t *stage = owner;
    stage->answers[(uintptr_t)context]++;
    stage->answered++;
    stage->failed += reply->status < 0;
    stage->last = *reply;
    stage->last_type = reply->envelope ? reply->envelope->type : 0;
    snprintf (stage->last_why, sizeof stage->last_why, "%s", reply->why);
}

static void give_answer (scripted_broker_t *broker, const rota_envelope_t *request)
{
    Rota__SubmitReply reply = ROTA__SUBMIT_REPLY__INIT;
    scripted_broker_answer (broker, request, ROTA_MESSAGE_SUBMIT_REPLY, &reply.base);
}

static void on_request (void *owner, scripted_broker_t *broker, const rota_envelope_t *envelope,
                        const uint8_t *body, size_t size_bytes)
{
    (void)body;
    (void)size_bytes;
    stage_t *stage = owner;
    if (stage->mode == ANSWER || stage->mode == TWICE)
        give_answer (broker, envelope);
    if (stage->mode == TWICE)
        give_answer (broker, envelope);
    if (stage->mode == HOLD && stage->n_held < MANY)
        stage->held[stage->n_held++] = *envelope;
}

static int ask (stage_t *stage, size_t number, int timeout_ms)
{
    Rota__Submit submit = ROTA__SUBMIT__INIT;
    return rota_peer_request (stage->peer, ROTA_MESSAGE_SUBMIT, NULL, &submit.base, timeout_ms, on_reply,
                              (void *)(uintptr_t)number);
}

static void open_broker (stage_t *stage, scripted_broker_t *broker, const char *endpoint)
{
    broker->owner = stage;
    if (!broker->on_request)
        broker->on_request = on_request;
    scripted_broker_open (broker, stage->loop, endpoint);
}

static void open_peer (stage_t *stage, const char *endpoints)
{
    rota_error_t error = {""};
    stage->config.endpoints = endpoints;
    stage->config.role = ROTA__ROLE__ROLE_AGENT;
    stage->config.name = "a test";
    stage->config.owner = stage;
    stage->config.on_state = on_state;
    stage->config.on_message = on_message;
    stage->config.on_drained = on_drained;
    stage->config.on_scheduler = on_scheduler;
    stage->peer = rota_peer_new (&stage->config, stage->loop, &error);
    assert_string_equal (error.text, "");
    assert_non_null (stage->peer);
}

/* A broker and a peer that is ready. */
static void open_both (stage_t *stage)
{
    open_broker (stage, &stage->broker, stage->first);
    open_peer (stage, stage->first);
    assert_true (loop_until (stage->loop, &stage->ready, 1));
}

static int open_stage (void **state)
{
    stage_t *stage = calloc (1, sizeof *stage);
    stage->loop = zloop_new ();
    snprintf (stage->directory, sizeof stage->directory, "/tmp/rota-test-peer-XXXXXX");
    if (!mkdtemp (stage->directory))
        return -1;
    snprintf (stage->first, sizeof stage->first, "ipc://%s/first", stage->directory);
    snprintf (stage->second, sizeof stage->second, "ipc://%s/second", stage->directory);
    *state = stage;
    return 0;
}

static int close_stage (void **state)
{
    stage_t *stage = *state;
    rota_peer_destroy (&stage->peer);
    scripted_broker_close (&stage->broker);
    scripted_broker_close (&stage->other);
    zloop_destroy (&stage->loop);
    unlink (stage->first + strlen ("ipc://"));
    unlink (stage->second + strlen ("ipc://"));
    rmdir (stage->directory);
    free (stage);
    return 0;
}

/* ---- connecting */

static void says_hello_first_and_nothing_else_before_welcome (void **state)
{
    stage_t *stage = *state;
    stage->broker.refuses = true;
    open_broker (stage, &stage->broker, stage->first);
    stage->broker.refusal.has_code = true;
    stage->broker.refusal.code = ROTA__ERROR_CODE__ERROR_CODE_RETRY_LATER;
    open_peer (stage, stage->first);
    assert_int_equal (ask (stage, 0, NEVER), 0);
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
    stage_t *stage = *state;
    stage->config.connect_patience_ms = 50;
    open_peer (stage, stage->first);
    assert_int_equal (ask (stage, 0, NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->connecting, 3));
    assert_non_null (strstr (stage->why, stage->first));
    assert_false (rota_peer_is_ready (stage->peer));
    open_broker (stage, &stage->broker, stage->first);
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_string_equal (stage->why, "");
}

/* A machine that stands still for a while makes a second one right; not each time. */
static void one_hello_is_enough (void **state)
{
    stage_t *stage = *state;
    int fewest = 99;
    for (int i = 0; i < 3 && fewest != 1; i++) {
        stage->ready = stage->broker.hellos = 0;
        open_both (stage);
        loop_for (stage->loop, 300);
        fewest = stage->broker.hellos < fewest ? stage->broker.hellos : fewest;
        rota_peer_destroy (&stage->peer);
        scripted_broker_close (&stage->broker);
    }
    assert_int_equal (fewest, 1);
}

static void works_over_inproc_and_tcp_too (void **state)
{
    stage_t *stage = *state;
    static const char *const ENDPOINTS[] = {"inproc://rota-test-peer", "tcp://127.0.0.1:*"};
    for (size_t i = 0; i < 2; i++) {
        stage->ready = stage->answered = 0;
        open_broker (stage, &stage->broker, ENDPOINTS[i]);
        open_peer (stage, stage->broker.endpoint);
        assert_int_equal (ask (stage, 0, NEVER), 0);
        assert_true (loop_until (stage->loop, &stage->answered, 1));
        rota_peer_destroy (&stage->peer);
        scripted_broker_close (&stage->broker);
    }
}

static void a_malformed_endpoint_is_refused_with_what_is_right (void **state)
{
    stage_t *stage = *state;
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
    stage_t *stage = *state;
    char both[300];
    stage->broker.silent = true;
    stage->config.connect_patience_ms = 100;
    open_broker (stage, &stage->broker, stage->first);
    open_broker (stage, &stage->other, stage->second);
    snprintf (both, sizeof both, "%s,%s", stage->first, stage->second);
    open_peer (stage, both);
    assert_true (loop_until (stage->loop, &stage->ready, 1));
    assert_string_equal (rota_peer_endpoint (stage->peer), stage->second);
}

static void the_hint_to_the_leader_is_followed (void **state)
{
    stage_t *stage = *state;
    open_broker (stage, &stage->broker, stage->first);
    open_broker (stage, &stage->other, stage->second);
    stage->broker.refuses = true;
    stage->broker.refusal.has_code = stage->broker.refusal.has_leader = true;
    stage->broker.refusal.code = ROTA__ERROR_CODE__ERROR_CODE_NOT_LEADER;
    stage->broker.refusal.leader = rota_bytes (stage->second);
    stage->config.connect_patience_ms = 60000;
    open_peer (stage, stage->first);
    assert_int_equal (ask (stage, 0, NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_string_equal (rota_peer_endpoint (stage->peer), stage->second);
    assert_int_equal (stage->broker.requests, 0);
}

static void refuse_as_no_leader (void *owner, scripted_broker_t *broker, const rota_envelope_t *envelope,
                                 const uint8_t *body, size_t size_bytes)
{
    (void)body;
    (void)size_bytes;
    stage_t *stage = owner;
    scripted_broker_refuse (broker, envelope, ROTA__ERROR_CODE__ERROR_CODE_NOT_LEADER, 0, stage->second,
                            NULL);
}

static void a_request_refused_by_a_deposed_leader_reaches_the_new_one_once (void **state)
{
    stage_t *stage = *state;
    stage->broker.on_request = refuse_as_no_leader;
    open_both (stage);
    open_broker (stage, &stage->other, stage->second);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal (ask (stage, i, NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 10));
    for (size_t i = 0; i < 10; i++)
        assert_int_equal (stage->answers[i], 1);
    assert_int_equal (stage->other.requests, 10);
    assert_int_equal (stage->ready, 2);
}

static void two_brokers_that_point_at_each_other_do_not_spin_it (void **state)
{
    stage_t *stage = *state;
    open_broker (stage, &stage->broker, stage->first);
    open_broker (stage, &stage->other, stage->second);
    stage->broker.refuses = stage->other.refuses = true;
    stage->broker.refusal.has_code = stage->broker.refusal.has_leader = true;
    stage->other.refusal.has_code = stage->other.refusal.has_leader = true;
    stage->broker.refusal.code = stage->other.refusal.code = ROTA__ERROR_CODE__ERROR_CODE_NOT_LEADER;
    stage->broker.refusal.leader = rota_bytes (stage->second);
    stage->other.refusal.leader = rota_bytes (stage->first);
    open_peer (stage, stage->first);
    loop_for (stage->loop, 1000);
    /* after every third hint a pause of at least 200 ms */
    assert_true (stage->broker.hellos + stage->other.hellos <= 24);
    stage->other.refuses = false;
    assert_true (loop_until (stage->loop, &stage->ready, 1));
}

static void a_refused_hello_is_told_with_its_reason (void **state)
{
    stage_t *stage = *state;
    open_broker (stage, &stage->broker, stage->first);
    stage->broker.refuses = true;
    stage->broker.refusal.has_code = stage->broker.refusal.has_text = true;
    stage->broker.refusal.code = ROTA__ERROR_CODE__ERROR_CODE_NOT_ALLOWED;
    stage->broker.refusal.text = rota_bytes ("agents connect elsewhere");
    open_peer (stage, stage->first);
    assert_true (loop_until (stage->loop, &stage->connecting, 2));
    assert_non_null (strstr (stage->why, "NOT_ALLOWED: agents connect elsewhere"));
}

static void heartbeats_are_sent_as_often_as_the_broker_wants (void **state)
{
    stage_t *stage = *state;
    stage->broker.heartbeat_ms = 20;
    open_both (stage);
    assert_true (loop_until (stage->loop, &stage->broker.heartbeats, 5));
}

static void tells_when_a_scheduler_comes_and_goes (void **state)
{
    stage_t *stage = *state;
    stage->broker.heartbeat_ms = 20;
    open_both (stage);
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
    stage_t *stage = *state;
    char both[300];
    stage->broker.heartbeat_ms = 20;
    stage->broker.dead_after_ms = 400;
    open_broker (stage, &stage->broker, stage->first);
    snprintf (both, sizeof both, "%s,%s", stage->first, stage->second);
    open_peer (stage, both);
    assert_true (loop_until (stage->loop, &stage->ready, 1));
    open_broker (stage, &stage->other, stage->second);
    stage->broker.silent = true;
    assert_true (loop_until (stage->loop, &stage->ready, 2));
    assert_string_equal (rota_peer_endpoint (stage->peer), stage->second);
}

static void a_pause_of_its_own_is_not_taken_for_the_brokers_silence (void **state)
{
    stage_t *stage = *state;
    stage->broker.heartbeat_ms = 100;
    stage->broker.dead_after_ms = 600;
    open_both (stage);
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
    stage_t *stage = *state;
    open_both (stage);
    rota_peer_destroy (&stage->peer);
    assert_true (loop_until (stage->loop, &stage->broker.goodbyes, 1));
}

static void a_broker_that_says_goodbye_is_left_at_once (void **state)
{
    stage_t *stage = *state;
    char both[300];
    open_broker (stage, &stage->broker, stage->first);
    open_broker (stage, &stage->other, stage->second);
    snprintf (both, sizeof both, "%s,%s", stage->first, stage->second);
    open_peer (stage, both);
    assert_true (loop_until (stage->loop, &stage->ready, 1));
    rota_envelope_t goodbye = {.type = ROTA_MESSAGE_GOODBYE};
    scripted_broker_send (&stage->broker, &goodbye, "", 0);
    assert_true (loop_until (stage->loop, &stage->ready, 2));
    assert_string_equal (rota_peer_endpoint (stage->peer), stage->second);
}

/* ---- requests */

static void a_request_carries_who_asks_and_its_number (void **state)
{
    stage_t *stage = *state;
    static const uint8_t TO[16] = {9};
    Rota__OutputQuery query = ROTA__OUTPUT_QUERY__INIT;
    open_both (stage);
    assert_int_equal (ask (stage, 0, NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_int_equal (stage->broker.last.sequence, 1);
    assert_int_equal (stage->broker.last.deadline_ms, 0);
    assert_true (stage->broker.last.has_conversation && !stage->broker.last.has_to);
    assert_memory_equal (stage->broker.last.sender, rota_peer_instance (stage->peer), 16);
    assert_int_equal (stage->broker.last.role, ROTA__ROLE__ROLE_AGENT);
    stage->mode = HOLD;
    assert_int_equal (
        rota_peer_request (stage->peer, ROTA_MESSAGE_OUTPUT_QUERY, TO, &query.base, 5000, on_reply, NULL), 0);
    assert_true (loop_until (stage->loop, &stage->broker.requests, 2));
    assert_int_equal (stage->broker.last.sequence, 2);
    assert_int_equal (stage->broker.last.answered, 1);
    assert_memory_equal (stage->broker.last.to, TO, 16);
    assert_true (stage->broker.last.deadline_ms > 0 && stage->broker.last.deadline_ms <= 5000);
}

static void is_asked_again_under_the_same_number_after_the_broker_restarted (void **state)
{
    stage_t *stage = *state;
    stage->mode = HOLD;
    open_both (stage);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal (ask (stage, i, NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->broker.requests, 3));
    rota_envelope_t before = stage->held[1];

    scripted_broker_close (&stage->broker);
    assert_true (loop_until (stage->loop, &stage->connecting, 2));
    stage->n_held = 0;
    stage->broker = (scripted_broker_t){0};
    open_broker (stage, &stage->broker, stage->first);
    assert_true (loop_until (stage->loop, &stage->broker.requests, 3));
    assert_int_equal (stage->ready, 2);
    assert_int_equal (stage->held[1].sequence, before.sequence);
    assert_memory_equal (stage->held[1].conversation, before.conversation, 16);

    give_answer (&stage->broker, &stage->held[1]);
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_int_equal (stage->answers[1], 1);
    assert_int_equal (rota_peer_outstanding (stage->peer), 2);
}

static void is_asked_again_when_no_answer_comes (void **state)
{
    stage_t *stage = *state;
    stage->mode = HOLD;
    stage->config.resend_ms = 50;
    open_both (stage);
    assert_int_equal (ask (stage, 0, NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->broker.requests, 4));
    for (int i = 0; i < stage->n_held; i++)
        assert_int_equal (stage->held[i].sequence, 1);
}

static void a_second_answer_is_dropped (void **state)
{
    stage_t *stage = *state;
    stage->mode = TWICE;
    open_both (stage);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal (ask (stage, i, NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 100));
    loop_for (stage->loop, 50);
    assert_int_equal (stage->answered, 100);
    assert_int_equal (stage->messages, 0);
}

static void a_deadline_that_passes_is_told_once_with_the_reason (void **state)
{
    stage_t *stage = *state;
    stage->mode = HOLD;
    open_both (stage);
    assert_int_equal (ask (stage, 0, 30), 0);
    assert_int_equal (ask (stage, 1, NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_int_equal (stage->last.status, -ETIMEDOUT);
    assert_null (stage->last.envelope);
    assert_non_null (strstr (stage->last_why, "SUBMIT"));
    give_answer (&stage->broker, &stage->held[0]);
    loop_for (stage->loop, 50);
    assert_int_equal (stage->answers[0], 1);
    assert_int_equal (rota_peer_outstanding (stage->peer), 1);
}

static void a_deadline_passes_without_a_broker_too (void **state)
{
    stage_t *stage = *state;
    open_peer (stage, stage->first);
    assert_int_equal (ask (stage, 0, 30), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_int_equal (stage->last.status, -ETIMEDOUT);
    assert_non_null (strstr (stage->last_why, stage->first));
}

static void put_off_once (void *owner, scripted_broker_t *broker, const rota_envelope_t *envelope,
                          const uint8_t *body, size_t size_bytes)
{
    (void)body;
    (void)size_bytes;
    stage_t *stage = owner;
    if (stage->put_off++ == 0) {
        stage->first_sequence = envelope->sequence;
        stage->refused_ms = rota_clock_monotonic_ms ();
        scripted_broker_refuse (broker, envelope, ROTA__ERROR_CODE__ERROR_CODE_RETRY_LATER, 200, NULL, NULL);
        return;
    }
    stage->again_ms = rota_clock_monotonic_ms ();
    assert_true (envelope->sequence == stage->first_sequence);
    give_answer (broker, envelope);
}

static void retry_later_is_honoured (void **state)
{
    stage_t *stage = *state;
    stage->broker.on_request = put_off_once;
    open_both (stage);
    assert_int_equal (ask (stage, 0, NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_int_equal (stage->failed, 0);
    assert_int_equal (stage->broker.requests, 2);
    assert_true (stage->again_ms - stage->refused_ms >= 200);
}

static void refuse_as_unavailable (void *owner, scripted_broker_t *broker, const rota_envelope_t *envelope,
                                   const uint8_t *body, size_t size_bytes)
{
    (void)body;
    (void)size_bytes;
    stage_t *stage = owner;
    if (stage->mode == ANSWER && stage->put_off++ == 3)
        give_answer (broker, envelope);
    else
        scripted_broker_refuse (broker, envelope, ROTA__ERROR_CODE__ERROR_CODE_UNAVAILABLE, 0, NULL, NULL);
}

static void an_absent_scheduler_is_waited_for (void **state)
{
    stage_t *stage = *state;
    stage->broker.on_request = refuse_as_unavailable;
    open_both (stage);
    assert_int_equal (ask (stage, 0, NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_int_equal (stage->failed, 0);
    assert_int_equal (stage->broker.requests, 4);

    stage->mode = HOLD;
    assert_int_equal (ask (stage, 1, 200), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 2));
    assert_int_equal (stage->last.status, -ETIMEDOUT);
    assert_int_equal (stage->last.put_off, ROTA__ERROR_CODE__ERROR_CODE_UNAVAILABLE);
    assert_non_null (strstr (stage->last_why, "scheduler is not connected"));
}

static void an_absent_addressee_is_not_waited_for_for_ever (void **state)
{
    stage_t *stage = *state;
    static const uint8_t TO[16] = {9};
    Rota__OutputQuery query = ROTA__OUTPUT_QUERY__INIT;
    stage->broker.on_request = refuse_as_unavailable;
    stage->mode = HOLD;
    open_both (stage);
    assert_int_equal (
        rota_peer_request (stage->peer, ROTA_MESSAGE_OUTPUT_QUERY, TO, &query.base, NEVER, on_reply, NULL),
        0);
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_int_equal (stage->last.status, 0);
    assert_int_equal (stage->last_type, ROTA_MESSAGE_ERROR);
}

static void require_hello_first (void *owner, scripted_broker_t *broker, const rota_envelope_t *envelope,
                                 const uint8_t *body, size_t size_bytes)
{
    (void)body;
    (void)size_bytes;
    stage_t *stage = owner;
    if (broker->hellos < 2 && ++stage->put_off)
        scripted_broker_refuse (broker, envelope, ROTA__ERROR_CODE__ERROR_CODE_HELLO_REQUIRED, 0, NULL, NULL);
    else
        give_answer (broker, envelope);
}

static void a_broker_that_forgot_it_is_greeted_again (void **state)
{
    stage_t *stage = *state;
    stage->broker.on_request = require_hello_first;
    open_both (stage);
    for (size_t i = 0; i < 200; i++)
        assert_int_equal (ask (stage, i, NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 200));
    for (size_t i = 0; i < 200; i++)
        assert_int_equal (stage->answers[i], 1);
    assert_int_equal (stage->failed, 0);
    assert_true (stage->ready >= 2 && stage->broker.hellos >= 2);
}

static void two_thousand_requests_at_once_are_each_answered_once (void **state)
{
    stage_t *stage = *state;
    stage->mode = HOLD;
    stage->config.resend_ms = 60000;
    open_both (stage);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal (ask (stage, i, NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->broker.requests, MANY));
    srand (1);
    for (int i = MANY - 1; i > 0; i--) {
        int k = rand () % (i + 1);
        rota_envelope_t swap = stage->held[i];
        stage->held[i] = stage->held[k];
        stage->held[k] = swap;
    }
    for (int i = 0; i < MANY; i++)
        give_answer (&stage->broker, &stage->held[i]);
    assert_true (loop_until (stage->loop, &stage->answered, MANY));
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal (stage->answers[i], 1);
    assert_int_equal (rota_peer_outstanding (stage->peer), 0);
}

static void the_table_of_requests_is_bounded (void **state)
{
    stage_t *stage = *state;
    stage->config.max_outstanding = 10;
    open_peer (stage, stage->first);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal (ask (stage, i, NEVER), 0);
    assert_int_equal (ask (stage, 10, NEVER), -ENOBUFS);
    rota_peer_destroy (&stage->peer);
    assert_int_equal (stage->answered, 10);
    assert_int_equal (stage->answers[10], 0);
}

static void destroying_it_ends_each_request_once (void **state)
{
    stage_t *stage = *state;
    stage->mode = HOLD;
    open_both (stage);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal (ask (stage, i, 1000), 0);
    assert_true (loop_until (stage->loop, &stage->broker.requests, 100));
    rota_peer_destroy (&stage->peer);
    assert_int_equal (stage->answered, 100);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal (stage->answers[i], 1);
    assert_int_equal (stage->last.status, -ECANCELED);
}

static void a_refusal_is_an_answer (void **state)
{
    stage_t *stage = *state;
    stage->mode = HOLD;
    open_both (stage);
    assert_int_equal (ask (stage, 0, NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->broker.requests, 1));
    scripted_broker_refuse (&stage->broker, &stage->held[0], ROTA__ERROR_CODE__ERROR_CODE_INVALID, 0, NULL,
                            "no");
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_int_equal (stage->last.status, 0);
    assert_int_equal (stage->last_type, ROTA_MESSAGE_ERROR);
}

static void after_a_conversation_was_ended_a_new_one_begins (void **state)
{
    stage_t *stage = *state;
    stage->mode = HOLD;
    open_both (stage);
    assert_int_equal (ask (stage, 0, NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->broker.requests, 1));
    scripted_broker_refuse (&stage->broker, &stage->held[0], ROTA__ERROR_CODE__ERROR_CODE_CONVERSATION_ENDED,
                            0, NULL, NULL);
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_int_equal (stage->last_type, ROTA_MESSAGE_ERROR);
    assert_int_equal (ask (stage, 1, NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->broker.requests, 2));
    assert_memory_not_equal (stage->held[0].conversation, stage->held[1].conversation, 16);
    assert_int_equal (stage->held[1].sequence, 1);
    give_answer (&stage->broker, &stage->held[1]);
    assert_true (loop_until (stage->loop, &stage->answered, 2));
}

/* ---- messages */

static void what_is_no_answer_goes_to_on_message (void **state)
{
    stage_t *stage = *state;
    open_both (stage);
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
    stage_t *stage = *state;
    Rota__Accepted accepted = ROTA__ACCEPTED__INIT;
    rota_envelope_t envelope = {.type = ROTA_MESSAGE_ACCEPTED};
    open_peer (stage, stage->first);
    assert_int_equal (rota_peer_send (stage->peer, &envelope, &accepted.base), -EAGAIN);
    open_broker (stage, &stage->broker, stage->first);
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
    stage_t *stage = *state;
    static const uint8_t NOISE[700] = {0xff, 0x08, 0xff, 0xff};
    uint8_t good[ROTA_ENVELOPE_MAX_BYTES], other[ROTA_ENVELOPE_MAX_BYTES];
    open_both (stage);
    assert_int_equal (ask (stage, 0, NEVER), 0);
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
    assert_int_equal (ask (stage, 1, NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 2));
    assert_int_equal (stage->failed, 0);
    assert_int_equal (stage->connecting, 1);
}

/* ---- a loop in short turns, as the client runs it */

static void heartbeats_survive_a_loop_run_in_short_turns (void **state)
{
    stage_t *stage = *state;
    stage->broker.heartbeat_ms = 50;
    open_both (stage);
    for (int i = 0; i < 400 && stage->broker.heartbeats < 2; i++)
        loop_for (stage->loop, 2);
    assert_true (stage->broker.heartbeats >= 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, open_stage, close_stage)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (says_hello_first_and_nothing_else_before_welcome),
        TEST (waits_for_a_broker_that_comes_later),
        TEST (one_hello_is_enough),
        TEST (works_over_inproc_and_tcp_too),
        TEST (a_malformed_endpoint_is_refused_with_what_is_right),
        TEST (the_next_endpoint_is_tried_when_one_is_silent),
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
        TEST (a_request_carries_who_asks_and_its_number),
        TEST (is_asked_again_under_the_same_number_after_the_broker_restarted),
        TEST (is_asked_again_when_no_answer_comes),
        TEST (a_second_answer_is_dropped),
        TEST (a_deadline_that_passes_is_told_once_with_the_reason),
        TEST (a_deadline_passes_without_a_broker_too),
        TEST (retry_later_is_honoured),
        TEST (an_absent_scheduler_is_waited_for),
        TEST (an_absent_addressee_is_not_waited_for_for_ever),
        TEST (a_broker_that_forgot_it_is_greeted_again),
        TEST (two_thousand_requests_at_once_are_each_answered_once),
        TEST (the_table_of_requests_is_bounded),
        TEST (destroying_it_ends_each_request_once),
        TEST (a_refusal_is_an_answer),
        TEST (after_a_conversation_was_ended_a_new_one_begins),
        TEST (what_is_no_answer_goes_to_on_message),
        TEST (nothing_one_way_is_kept_for_later),
        TEST (rubbish_from_the_broker_is_ignored),
        TEST (heartbeats_survive_a_loop_run_in_short_turns),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
