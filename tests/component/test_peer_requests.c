/* What a service may rely on for its requests: each is answered or given up exactly once. */
#include "bus/clock.h"
#include "peer_stage.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

/* ---- requests */

static void a_request_carries_who_asks_and_its_number (void **state)
{
    peer_stage_t *stage = *state;
    static const uint8_t TO[16] = {9};
    Rota__OutputQuery query = ROTA__OUTPUT_QUERY__INIT;
    peer_stage_open_both (stage);
    assert_int_equal (peer_stage_ask (stage, 0, PEER_STAGE_NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_int_equal (stage->broker.last.sequence, 1);
    assert_int_equal (stage->broker.last.deadline_ms, 0);
    assert_true (stage->broker.last.has_conversation && !stage->broker.last.has_to);
    assert_memory_equal (stage->broker.last.sender, rota_peer_instance (stage->peer), 16);
    assert_int_equal (stage->broker.last.role, ROTA__ROLE__ROLE_AGENT);
    stage->mode = PEER_STAGE_HOLD;
    assert_int_equal (rota_peer_request (stage->peer, ROTA_MESSAGE_OUTPUT_QUERY, TO, &query.base, 5000,
                                         peer_stage_on_reply, NULL),
                      0);
    assert_true (loop_until (stage->loop, &stage->broker.requests, 2));
    assert_int_equal (stage->broker.last.sequence, 2);
    assert_int_equal (stage->broker.last.answered, 1);
    assert_memory_equal (stage->broker.last.to, TO, 16);
    assert_true (stage->broker.last.deadline_ms > 0 && stage->broker.last.deadline_ms <= 5000);
}

static void is_asked_again_under_the_same_number_after_the_broker_restarted (void **state)
{
    peer_stage_t *stage = *state;
    stage->mode = PEER_STAGE_HOLD;
    peer_stage_open_both (stage);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal (peer_stage_ask (stage, i, PEER_STAGE_NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->broker.requests, 3));
    rota_envelope_t before = stage->held[1];

    scripted_broker_close (&stage->broker);
    assert_true (loop_until (stage->loop, &stage->connecting, 2));
    stage->n_held = 0;
    stage->broker = (scripted_broker_t){0};
    peer_stage_open_broker (stage, &stage->broker, stage->first);
    assert_true (loop_until (stage->loop, &stage->broker.requests, 3));
    assert_int_equal (stage->ready, 2);
    assert_int_equal (stage->held[1].sequence, before.sequence);
    assert_memory_equal (stage->held[1].conversation, before.conversation, 16);

    peer_stage_answer (&stage->broker, &stage->held[1]);
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_int_equal (stage->answers[1], 1);
    assert_int_equal (rota_peer_outstanding (stage->peer), 2);
}

static void is_asked_again_when_no_answer_comes (void **state)
{
    peer_stage_t *stage = *state;
    stage->mode = PEER_STAGE_HOLD;
    stage->config.resend_ms = 50;
    peer_stage_open_both (stage);
    assert_int_equal (peer_stage_ask (stage, 0, PEER_STAGE_NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->broker.requests, 4));
    for (int i = 0; i < stage->n_held; i++)
        assert_int_equal (stage->held[i].sequence, 1);
}

static void a_second_answer_is_dropped (void **state)
{
    peer_stage_t *stage = *state;
    stage->mode = PEER_STAGE_TWICE;
    peer_stage_open_both (stage);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal (peer_stage_ask (stage, i, PEER_STAGE_NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 100));
    loop_for (stage->loop, 50);
    assert_int_equal (stage->answered, 100);
    assert_int_equal (stage->messages, 0);
}

static void a_deadline_that_passes_is_told_once_with_the_reason (void **state)
{
    peer_stage_t *stage = *state;
    stage->mode = PEER_STAGE_HOLD;
    peer_stage_open_both (stage);
    assert_int_equal (peer_stage_ask (stage, 0, 30), 0);
    assert_int_equal (peer_stage_ask (stage, 1, PEER_STAGE_NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_int_equal (stage->last.status, -ETIMEDOUT);
    assert_null (stage->last.envelope);
    assert_non_null (strstr (stage->last_why, "SUBMIT"));
    peer_stage_answer (&stage->broker, &stage->held[0]);
    loop_for (stage->loop, 50);
    assert_int_equal (stage->answers[0], 1);
    assert_int_equal (rota_peer_outstanding (stage->peer), 1);
}

static void a_deadline_passes_without_a_broker_too (void **state)
{
    peer_stage_t *stage = *state;
    peer_stage_open_peer (stage, stage->first);
    assert_int_equal (peer_stage_ask (stage, 0, 30), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_int_equal (stage->last.status, -ETIMEDOUT);
    assert_non_null (strstr (stage->last_why, stage->first));
}

static void put_off_once (void *owner, scripted_broker_t *broker, const rota_envelope_t *envelope,
                          const uint8_t *body, size_t size_bytes)
{
    (void)body;
    (void)size_bytes;
    peer_stage_t *stage = owner;
    if (stage->put_off++ == 0) {
        stage->first_sequence = envelope->sequence;
        stage->refused_ms = rota_clock_monotonic_ms ();
        scripted_broker_refuse (broker, envelope, ROTA__ERROR_CODE__ERROR_CODE_RETRY_LATER, 200, NULL, NULL);
        return;
    }
    stage->again_ms = rota_clock_monotonic_ms ();
    assert_true (envelope->sequence == stage->first_sequence);
    peer_stage_answer (broker, envelope);
}

static void retry_later_is_honoured (void **state)
{
    peer_stage_t *stage = *state;
    stage->broker.on_request = put_off_once;
    peer_stage_open_both (stage);
    assert_int_equal (peer_stage_ask (stage, 0, PEER_STAGE_NEVER), 0);
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
    peer_stage_t *stage = owner;
    if (stage->mode == PEER_STAGE_ANSWER && stage->put_off++ == 3)
        peer_stage_answer (broker, envelope);
    else
        scripted_broker_refuse (broker, envelope, ROTA__ERROR_CODE__ERROR_CODE_UNAVAILABLE, 0, NULL, NULL);
}

static void an_absent_scheduler_is_waited_for (void **state)
{
    peer_stage_t *stage = *state;
    stage->broker.on_request = refuse_as_unavailable;
    peer_stage_open_both (stage);
    assert_int_equal (peer_stage_ask (stage, 0, PEER_STAGE_NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_int_equal (stage->failed, 0);
    assert_int_equal (stage->broker.requests, 4);

    stage->mode = PEER_STAGE_HOLD;
    assert_int_equal (peer_stage_ask (stage, 1, 200), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 2));
    assert_int_equal (stage->last.status, -ETIMEDOUT);
    assert_int_equal (stage->last.put_off, ROTA__ERROR_CODE__ERROR_CODE_UNAVAILABLE);
    assert_non_null (strstr (stage->last_why, "scheduler is not connected"));
}

static void an_absent_addressee_is_not_waited_for_for_ever (void **state)
{
    peer_stage_t *stage = *state;
    static const uint8_t TO[16] = {9};
    Rota__OutputQuery query = ROTA__OUTPUT_QUERY__INIT;
    stage->broker.on_request = refuse_as_unavailable;
    stage->mode = PEER_STAGE_HOLD;
    peer_stage_open_both (stage);
    assert_int_equal (rota_peer_request (stage->peer, ROTA_MESSAGE_OUTPUT_QUERY, TO, &query.base,
                                         PEER_STAGE_NEVER, peer_stage_on_reply, NULL),
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
    peer_stage_t *stage = owner;
    if (broker->hellos < 2 && ++stage->put_off)
        scripted_broker_refuse (broker, envelope, ROTA__ERROR_CODE__ERROR_CODE_HELLO_REQUIRED, 0, NULL, NULL);
    else
        peer_stage_answer (broker, envelope);
}

static void a_broker_that_forgot_it_is_greeted_again (void **state)
{
    peer_stage_t *stage = *state;
    stage->broker.on_request = require_hello_first;
    peer_stage_open_both (stage);
    for (size_t i = 0; i < 200; i++)
        assert_int_equal (peer_stage_ask (stage, i, PEER_STAGE_NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->answered, 200));
    for (size_t i = 0; i < 200; i++)
        assert_int_equal (stage->answers[i], 1);
    assert_int_equal (stage->failed, 0);
    assert_true (stage->ready >= 2 && stage->broker.hellos >= 2);
}

static void two_thousand_requests_at_once_are_each_answered_once (void **state)
{
    peer_stage_t *stage = *state;
    stage->mode = PEER_STAGE_HOLD;
    stage->config.resend_ms = 60000;
    peer_stage_open_both (stage);
    for (size_t i = 0; i < PEER_STAGE_MANY; i++)
        assert_int_equal (peer_stage_ask (stage, i, PEER_STAGE_NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->broker.requests, PEER_STAGE_MANY));
    /* Each once, far from the order in which they were asked: 1237 shares no factor with 2000. */
    for (int i = 0; i < PEER_STAGE_MANY; i++)
        peer_stage_answer (&stage->broker, &stage->held[i * 1237 % PEER_STAGE_MANY]);
    assert_true (loop_until (stage->loop, &stage->answered, PEER_STAGE_MANY));
    for (size_t i = 0; i < PEER_STAGE_MANY; i++)
        assert_int_equal (stage->answers[i], 1);
    assert_int_equal (rota_peer_outstanding (stage->peer), 0);
}

static void the_table_of_requests_is_bounded (void **state)
{
    peer_stage_t *stage = *state;
    stage->config.max_outstanding = 10;
    peer_stage_open_peer (stage, stage->first);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal (peer_stage_ask (stage, i, PEER_STAGE_NEVER), 0);
    assert_int_equal (peer_stage_ask (stage, 10, PEER_STAGE_NEVER), -ENOBUFS);
    rota_peer_destroy (&stage->peer);
    assert_int_equal (stage->answered, 10);
    assert_int_equal (stage->answers[10], 0);
}

static void destroying_it_ends_each_request_once (void **state)
{
    peer_stage_t *stage = *state;
    stage->mode = PEER_STAGE_HOLD;
    peer_stage_open_both (stage);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal (peer_stage_ask (stage, i, 1000), 0);
    assert_true (loop_until (stage->loop, &stage->broker.requests, 100));
    rota_peer_destroy (&stage->peer);
    assert_int_equal (stage->answered, 100);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal (stage->answers[i], 1);
    assert_int_equal (stage->last.status, -ECANCELED);
}

static void a_refusal_is_an_answer (void **state)
{
    peer_stage_t *stage = *state;
    stage->mode = PEER_STAGE_HOLD;
    peer_stage_open_both (stage);
    assert_int_equal (peer_stage_ask (stage, 0, PEER_STAGE_NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->broker.requests, 1));
    scripted_broker_refuse (&stage->broker, &stage->held[0], ROTA__ERROR_CODE__ERROR_CODE_INVALID, 0, NULL,
                            "no");
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_int_equal (stage->last.status, 0);
    assert_int_equal (stage->last_type, ROTA_MESSAGE_ERROR);
}

static void after_a_conversation_was_ended_a_new_one_begins (void **state)
{
    peer_stage_t *stage = *state;
    stage->mode = PEER_STAGE_HOLD;
    peer_stage_open_both (stage);
    assert_int_equal (peer_stage_ask (stage, 0, PEER_STAGE_NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->broker.requests, 1));
    scripted_broker_refuse (&stage->broker, &stage->held[0], ROTA__ERROR_CODE__ERROR_CODE_CONVERSATION_ENDED,
                            0, NULL, NULL);
    assert_true (loop_until (stage->loop, &stage->answered, 1));
    assert_int_equal (stage->last_type, ROTA_MESSAGE_ERROR);
    assert_int_equal (peer_stage_ask (stage, 1, PEER_STAGE_NEVER), 0);
    assert_true (loop_until (stage->loop, &stage->broker.requests, 2));
    assert_memory_not_equal (stage->held[0].conversation, stage->held[1].conversation, 16);
    assert_int_equal (stage->held[1].sequence, 1);
    peer_stage_answer (&stage->broker, &stage->held[1]);
    assert_true (loop_until (stage->loop, &stage->answered, 2));
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, peer_stage_open, peer_stage_close)

int main (void)
{
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
