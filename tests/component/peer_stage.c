#include "peer_stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

static void on_state (void *owner, rota_peer_state_t state, const Rota__Welcome *welcome, const char *why)
{
    peer_stage_t *stage = owner;
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
    peer_stage_t *stage = owner;
    stage->schedulers++;
    stage->has_scheduler = instance != NULL;
}

static void on_message (void *owner, const rota_envelope_t *envelope, const uint8_t *body, size_t size_bytes)
{
    (void)body;
    (void)size_bytes;
    peer_stage_t *stage = owner;
    stage->messages++;
    stage->last_type = envelope->type;
}

static void on_drained (void *owner)
{
    peer_stage_t *stage = owner;
    stage->drained++;
}

void peer_stage_on_reply (void *owner, void *context, const rota_reply_t *reply)
{
    peer_stage_t *stage = owner;
    stage->answers[(uintptr_t)context]++;
    stage->answered++;
    stage->failed += reply->status < 0;
    stage->last = *reply;
    stage->last_type = reply->envelope ? reply->envelope->type : 0;
    snprintf (stage->last_why, sizeof stage->last_why, "%s", reply->why);
}

void peer_stage_answer (scripted_broker_t *broker, const rota_envelope_t *request)
{
    Rota__SubmitReply reply = ROTA__SUBMIT_REPLY__INIT;
    scripted_broker_answer (broker, request, ROTA_MESSAGE_SUBMIT_REPLY, &reply.base);
}

static void on_request (void *owner, scripted_broker_t *broker, const rota_envelope_t *envelope,
                        const uint8_t *body, size_t size_bytes)
{
    (void)body;
    (void)size_bytes;
    peer_stage_t *stage = owner;
    if (stage->mode == PEER_STAGE_ANSWER || stage->mode == PEER_STAGE_TWICE)
        peer_stage_answer (broker, envelope);
    if (stage->mode == PEER_STAGE_TWICE)
        peer_stage_answer (broker, envelope);
    if (stage->mode == PEER_STAGE_HOLD && stage->n_held < PEER_STAGE_MANY)
        stage->held[stage->n_held++] = *envelope;
}

int peer_stage_ask (peer_stage_t *stage, size_t number, int timeout_ms)
{
    Rota__Submit submit = ROTA__SUBMIT__INIT;
    return rota_peer_request (stage->peer, ROTA_MESSAGE_SUBMIT, NULL, &submit.base, timeout_ms,
                              peer_stage_on_reply, (void *)(uintptr_t)number);
}

void peer_stage_open_broker (peer_stage_t *stage, scripted_broker_t *broker, const char *endpoint)
{
    broker->owner = stage;
    if (!broker->on_request)
        broker->on_request = on_request;
    scripted_broker_open (broker, stage->loop, endpoint);
}

void peer_stage_open_peer (peer_stage_t *stage, const char *endpoints)
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

void peer_stage_open_both (peer_stage_t *stage)
{
    peer_stage_open_broker (stage, &stage->broker, stage->first);
    peer_stage_open_peer (stage, stage->first);
    assert_true (loop_until (stage->loop, &stage->ready, 1));
}

int peer_stage_open (void **state)
{
    peer_stage_t *stage = calloc (1, sizeof *stage);
    stage->loop = zloop_new ();
    stage->config.curve.insecure = true;
    snprintf (stage->directory, sizeof stage->directory, "/tmp/rota-test-peer-XXXXXX");
    if (!mkdtemp (stage->directory))
        return -1;
    snprintf (stage->first, sizeof stage->first, "ipc://%s/first", stage->directory);
    snprintf (stage->second, sizeof stage->second, "ipc://%s/second", stage->directory);
    *state = stage;
    return 0;
}

int peer_stage_close (void **state)
{
    peer_stage_t *stage = *state;
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
