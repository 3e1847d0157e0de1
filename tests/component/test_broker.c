/* What peers may rely on when they talk through a broker, a sentence a test. */
#include "broker/limits.h"
#include "bus/clock.h"
#include "bus/log.h"
#include "bus/names.h"
#include "bus/peer.h"
#include "bus/start.h"
#include "tests/component/broker_thread.h"
#include "tests/support/rawpeer.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define ROLE(name) ROTA__ROLE__ROLE_##name
#define CODE(name) ROTA__ERROR_CODE__ERROR_CODE_##name
#define PATIENCE_MS 10000
#define QUIET_MS 200 /* for what must not come */

typedef struct {
    void *context;
    broker_thread_t broker;
    rota_broker_config_t config;
    rawpeer_t client, agent, scheduler, other;
    void *publisher, *subscriber;
} scene_t;

static void join (rawpeer_t *peer, Rota__Role role)
{
    assert_non_null (rawpeer_hello (peer, role, rota_role_name (role)));
}

static void join_all (scene_t *scene)
{
    join (&scene->scheduler, ROLE (SCHEDULER));
    join (&scene->agent, ROLE (AGENT));
    join (&scene->client, ROLE (ADMIN));
}

static void assert_refused (rawpeer_t *peer, uint64_t sequence, Rota__ErrorCode code)
{
    assert_true (rawpeer_receive (peer, PATIENCE_MS));
    assert_string_equal (rota_error_code_name (rawpeer_refusal (peer)), rota_error_code_name (code));
    assert_int_equal (peer->envelope.sequence, sequence);
    assert_true (((const Rota__Error *)peer->message)->text.len > 0);
}

static uint64_t ask_status (rawpeer_t *peer)
{
    Rota__StatusQuery query = ROTA__STATUS_QUERY__INIT;
    return rawpeer_send (peer, ROTA_MESSAGE_STATUS_QUERY, NULL, &query.base);
}

static void answer_status (rawpeer_t *scheduler, uint64_t total)
{
    Rota__StatusReply reply = ROTA__STATUS_REPLY__INIT;
    reply.has_total = true;
    reply.total = total;
    rawpeer_answer (scheduler, ROTA_MESSAGE_STATUS_REPLY, &reply.base);
}

/* ---- HELLO */

static void a_peer_is_welcomed_with_what_it_must_know (void **state)
{
    scene_t *scene = *state;
    const Rota__Welcome *welcome = rawpeer_hello (&scene->client, ROLE (UNSPECIFIED), "a client");
    assert_non_null (welcome);
    assert_memory_equal (welcome->broker.data, rota_broker_instance (scene->broker.broker), 16);
    assert_int_equal (welcome->leader_epoch, rota_broker_epoch (scene->broker.broker));
    assert_int_equal (welcome->heartbeat_ms, ROTA_BROKER_HEARTBEAT_MS);
    assert_int_equal (welcome->dead_after_ms, 60000);
    assert_int_equal (welcome->events_endpoint.len, strlen (scene->broker.endpoints.events));
    assert_false (welcome->has_scheduler);
    assert_false (welcome->has_publish_endpoint);

    join (&scene->scheduler, ROLE (SCHEDULER));
    assert_true (((const Rota__Welcome *)scene->scheduler.message)->has_publish_endpoint);
    welcome = rawpeer_hello (&scene->agent, ROLE (AGENT), "an agent");
    assert_memory_equal (welcome->scheduler.data, scene->scheduler.instance, 16);
}

static void the_endpoint_bounds_the_role (void **state)
{
    scene_t *scene = *state;
    assert_null (rawpeer_hello (&scene->client, ROLE (SCHEDULER), "x"));
    assert_int_equal (rawpeer_refusal (&scene->client), CODE (NOT_ALLOWED));
    assert_null (rawpeer_hello (&scene->client, ROLE (AGENT), "x"));
    assert_int_equal (rawpeer_refusal (&scene->client), CODE (NOT_ALLOWED));
    assert_null (rawpeer_hello (&scene->agent, ROLE (ADMIN), "x"));
    assert_int_equal (rawpeer_refusal (&scene->agent), CODE (NOT_ALLOWED));
    assert_null (rawpeer_hello (&scene->scheduler, ROLE (UNSPECIFIED), "x"));
    assert_int_equal (rawpeer_refusal (&scene->scheduler), CODE (MALFORMED));
    join (&scene->client, ROLE (READ));
}

static void who_has_not_said_hello_is_told_to (void **state)
{
    scene_t *scene = *state;
    uint64_t sequence = ask_status (&scene->client);
    assert_refused (&scene->client, sequence, CODE (HELLO_REQUIRED));
}

static void an_instance_in_use_is_not_given_to_another_role (void **state)
{
    scene_t *scene = *state;
    join_all (scene);
    memcpy (scene->other.instance, scene->scheduler.instance, 16);
    assert_null (rawpeer_hello (&scene->other, ROLE (ADMIN), "thief"));
    assert_int_equal (rawpeer_refusal (&scene->other), CODE (NOT_ALLOWED));
    uint64_t sequence = ask_status (&scene->client);
    assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_STATUS_QUERY, PATIENCE_MS));
    assert_int_equal (scene->scheduler.envelope.sequence, sequence);
}

static void a_peer_that_reconnects_keeps_its_name_and_gets_its_messages (void **state)
{
    scene_t *scene = *state;
    Rota__Stop stop = ROTA__STOP__INIT;
    join_all (scene);
    memcpy (scene->other.instance, scene->client.instance, 16);
    join (&scene->other, ROLE (ADMIN));
    ask_status (&scene->other);
    assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_STATUS_QUERY, PATIENCE_MS));
    answer_status (&scene->scheduler, 7);
    assert_non_null (rawpeer_expect (&scene->other, ROTA_MESSAGE_STATUS_REPLY, PATIENCE_MS));
    /* The old connection is a stranger's now. */
    uint64_t sequence = rawpeer_send (&scene->client, ROTA_MESSAGE_STOP, scene->agent.instance, &stop.base);
    assert_refused (&scene->client, sequence, CODE (HELLO_REQUIRED));
}

static void a_hello_with_wrong_fields_is_malformed (void **state)
{
    scene_t *scene = *state;
    char long_name[300];
    memset (long_name, 'x', sizeof long_name);
    long_name[sizeof long_name - 1] = 0;
    assert_null (rawpeer_hello (&scene->client, ROLE (ADMIN), long_name));
    assert_int_equal (rawpeer_refusal (&scene->client), CODE (MALFORMED));
    assert_null (rawpeer_hello (&scene->client, ROLE (ADMIN), "bell\a"));
    assert_int_equal (rawpeer_refusal (&scene->client), CODE (MALFORMED));
    uint64_t sequence = rawpeer_send_bytes (&scene->client, ROTA_MESSAGE_HELLO, NULL, "\xff\xff", 2);
    assert_refused (&scene->client, sequence, CODE (MALFORMED));
    sequence = rawpeer_send_bytes (&scene->client, ROTA_MESSAGE_HELLO, NULL, "", 0);
    assert_refused (&scene->client, sequence, CODE (MALFORMED));
}

/* ---- routing */

static void a_request_reaches_the_scheduler_and_its_answer_comes_back (void **state)
{
    scene_t *scene = *state;
    join_all (scene);
    uint64_t sequence = ask_status (&scene->client);
    assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_STATUS_QUERY, PATIENCE_MS));
    answer_status (&scene->scheduler, 42);
    const Rota__StatusReply *reply = rawpeer_expect (&scene->client, ROTA_MESSAGE_STATUS_REPLY, PATIENCE_MS);
    assert_non_null (reply);
    assert_int_equal (reply->total, 42);
    assert_int_equal (scene->client.envelope.sequence, sequence);
    assert_memory_equal (scene->client.envelope.conversation, scene->client.instance, 16);
    assert_memory_equal (scene->client.envelope.sender, scene->scheduler.instance, 16);
}

static void the_broker_says_who_speaks (void **state)
{
    scene_t *scene = *state;
    join_all (scene);
    uint8_t bytes[ROTA_ENVELOPE_MAX_BYTES];
    rota_envelope_t lie = {.version = ROTA_PROTOCOL_VERSION,
                           .type = ROTA_MESSAGE_STATUS_QUERY,
                           .has_sender = true,
                           .role = ROLE (SCHEDULER),
                           .leader_epoch = 999,
                           .pid = 1};
    memcpy (lie.sender, scene->agent.instance, 16);
    rawpeer_send_frames (&scene->client, bytes, rota_envelope_encode (&lie, bytes), "", 0);
    assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_STATUS_QUERY, PATIENCE_MS));
    const rota_envelope_t *seen = &scene->scheduler.envelope;
    assert_memory_equal (seen->sender, scene->client.instance, 16);
    assert_int_equal (seen->role, ROLE (ADMIN));
    assert_int_equal (seen->leader_epoch, rota_broker_epoch (scene->broker.broker));
    assert_int_equal (seen->pid, getpid ());
}

static void without_a_scheduler_requests_are_refused_as_unavailable (void **state)
{
    scene_t *scene = *state;
    join (&scene->client, ROLE (ADMIN));
    uint64_t sequence = ask_status (&scene->client);
    assert_refused (&scene->client, sequence, CODE (UNAVAILABLE));
}

static void a_role_may_send_only_its_own_messages (void **state)
{
    scene_t *scene = *state;
    Rota__Submit submit = ROTA__SUBMIT__INIT;
    Rota__Control control = ROTA__CONTROL__INIT;
    Rota__EventHead head = ROTA__EVENT_HEAD__INIT;
    join (&scene->scheduler, ROLE (SCHEDULER));
    join (&scene->client, ROLE (READ));
    join (&scene->agent, ROLE (AGENT));
    join (&scene->other, ROLE (SUBMIT));
    uint64_t sequence = rawpeer_send (&scene->client, ROTA_MESSAGE_SUBMIT, NULL, &submit.base);
    assert_refused (&scene->client, sequence, CODE (NOT_ALLOWED));
    sequence = rawpeer_send (&scene->other, ROTA_MESSAGE_CONTROL, NULL, &control.base);
    assert_refused (&scene->other, sequence, CODE (NOT_ALLOWED));
    sequence = rawpeer_send (&scene->agent, ROTA_MESSAGE_SUBMIT, NULL, &submit.base);
    assert_refused (&scene->agent, sequence, CODE (NOT_ALLOWED));
    rawpeer_send (&scene->scheduler, ROTA_MESSAGE_EVENT_HEAD, NULL, &head.base);
    assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_ERROR, PATIENCE_MS));
    assert_int_equal (rawpeer_refusal (&scene->scheduler), CODE (NOT_ALLOWED));
    rawpeer_send (&scene->other, ROTA_MESSAGE_SUBMIT, NULL, &submit.base);
    assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_SUBMIT, PATIENCE_MS));
}

static void the_scheduler_reaches_an_agent_by_its_instance (void **state)
{
    scene_t *scene = *state;
    Rota__Assign assign = ROTA__ASSIGN__INIT;
    uint8_t nobody[16] = {1};
    join_all (scene);
    rawpeer_send (&scene->scheduler, ROTA_MESSAGE_ASSIGN, scene->agent.instance, &assign.base);
    assert_non_null (rawpeer_expect (&scene->agent, ROTA_MESSAGE_ASSIGN, PATIENCE_MS));
    rawpeer_send (&scene->scheduler, ROTA_MESSAGE_ASSIGN, nobody, &assign.base);
    assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_ERROR, PATIENCE_MS));
    assert_int_equal (rawpeer_refusal (&scene->scheduler), CODE (UNAVAILABLE));
    rawpeer_send (&scene->scheduler, ROTA_MESSAGE_ASSIGN, NULL, &assign.base);
    assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_ERROR, PATIENCE_MS));
    assert_int_equal (rawpeer_refusal (&scene->scheduler), CODE (MALFORMED));
}

static void output_is_asked_of_the_scheduler_and_then_of_the_host (void **state)
{
    scene_t *scene = *state;
    Rota__OutputQuery query = ROTA__OUTPUT_QUERY__INIT;
    Rota__OutputReply reply = ROTA__OUTPUT_REPLY__INIT;
    join_all (scene);
    rawpeer_send (&scene->client, ROTA_MESSAGE_OUTPUT_QUERY, NULL, &query.base);
    assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_OUTPUT_QUERY, PATIENCE_MS));
    rawpeer_send (&scene->client, ROTA_MESSAGE_OUTPUT_QUERY, scene->agent.instance, &query.base);
    assert_non_null (rawpeer_expect (&scene->agent, ROTA_MESSAGE_OUTPUT_QUERY, PATIENCE_MS));
    rawpeer_answer (&scene->agent, ROTA_MESSAGE_OUTPUT_REPLY, &reply.base);
    assert_non_null (rawpeer_expect (&scene->client, ROTA_MESSAGE_OUTPUT_REPLY, PATIENCE_MS));
    join (&scene->other, ROLE (ADMIN));
    uint64_t sequence =
        rawpeer_send (&scene->client, ROTA_MESSAGE_OUTPUT_QUERY, scene->other.instance, &query.base);
    assert_refused (&scene->client, sequence, CODE (NOT_ALLOWED));
}

static void of_two_schedulers_the_higher_epoch_gets_the_work (void **state)
{
    scene_t *scene = *state;
    rawpeer_t second;
    uint8_t bytes[ROTA_ENVELOPE_MAX_BYTES];
    rota_envelope_t heartbeat = {
        .version = ROTA_PROTOCOL_VERSION, .type = ROTA_MESSAGE_HEARTBEAT, .scheduler_epoch = 5};
    rawpeer_open (&second, scene->context, scene->broker.endpoints.service);
    join_all (scene);
    rawpeer_send_frames (&scene->scheduler, bytes, rota_envelope_encode (&heartbeat, bytes), "", 0);
    assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_HEARTBEAT, PATIENCE_MS));
    join (&second, ROLE (SCHEDULER));
    ask_status (&scene->client);
    assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_STATUS_QUERY, PATIENCE_MS));

    heartbeat.scheduler_epoch = 6;
    rawpeer_send_frames (&second, bytes, rota_envelope_encode (&heartbeat, bytes), "", 0);
    assert_non_null (rawpeer_expect (&second, ROTA_MESSAGE_HEARTBEAT, PATIENCE_MS));
    ask_status (&scene->client);
    assert_non_null (rawpeer_expect (&second, ROTA_MESSAGE_STATUS_QUERY, PATIENCE_MS));

    Rota__Heartbeat own = ROTA__HEARTBEAT__INIT;
    rawpeer_send (&scene->agent, ROTA_MESSAGE_HEARTBEAT, NULL, &own.base);
    const Rota__Heartbeat *answer = rawpeer_expect (&scene->agent, ROTA_MESSAGE_HEARTBEAT, PATIENCE_MS);
    assert_memory_equal (answer->scheduler.data, second.instance, 16);
    rawpeer_close (&second);
}

static void an_answer_to_somebody_who_left_is_dropped (void **state)
{
    scene_t *scene = *state;
    Rota__Goodbye goodbye = ROTA__GOODBYE__INIT;
    join_all (scene);
    ask_status (&scene->client);
    assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_STATUS_QUERY, PATIENCE_MS));
    rawpeer_send (&scene->client, ROTA_MESSAGE_GOODBYE, NULL, &goodbye.base);
    rota_envelope_t request = scene->scheduler.envelope;
    assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_PRESENCE, PATIENCE_MS));
    scene->scheduler.envelope = request;
    answer_status (&scene->scheduler, 1);
    assert_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_ERROR, QUIET_MS));
}

/* ---- malformed */

static void malformed_messages_get_typed_errors (void **state)
{
    scene_t *scene = *state;
    uint8_t bytes[ROTA_ENVELOPE_MAX_BYTES + 100] = {0};
    join_all (scene);
    rawpeer_send_frames (&scene->client, "\xff\xff\xff", 3, "", 0);
    assert_refused (&scene->client, 0, CODE (MALFORMED));
    rawpeer_send_frames (&scene->client, "", 0, "", 0);
    assert_refused (&scene->client, 0, CODE (MALFORMED));
    rawpeer_send_frames (&scene->client, bytes, sizeof bytes, "", 0);
    assert_refused (&scene->client, 0, CODE (TOO_LARGE));

    zmq_send (scene->client.socket, "alone", 5, 0);
    assert_refused (&scene->client, 0, CODE (MALFORMED));
    for (int i = 0; i < 20; i++)
        zmq_send (scene->client.socket, "many", 4, i < 19 ? ZMQ_SNDMORE : 0);
    assert_refused (&scene->client, 0, CODE (MALFORMED));

    rota_envelope_t envelope = {.version = 2, .type = ROTA_MESSAGE_STATUS_QUERY, .sequence = 77};
    rawpeer_send_frames (&scene->client, bytes, rota_envelope_encode (&envelope, bytes), "", 0);
    assert_refused (&scene->client, 77, CODE (UNSUPPORTED_VERSION));
    assert_non_null (strstr ((const char *)((const Rota__Error *)scene->client.message)->text.data, "1"));
    uint64_t sequence = rawpeer_send_bytes (&scene->client, 12345, NULL, "", 0);
    assert_refused (&scene->client, sequence, CODE (UNKNOWN_TYPE));
    /* And it is still served. */
    ask_status (&scene->client);
    assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_STATUS_QUERY, PATIENCE_MS));
}

static void a_body_over_its_limit_is_refused (void **state)
{
    scene_t *scene = *state;
    size_t size = (4U << 20) + 1;
    char *body = calloc (1, size);
    join_all (scene);
    uint64_t sequence = rawpeer_send_bytes (&scene->client, ROTA_MESSAGE_STATUS_QUERY, NULL, body, 1025);
    assert_refused (&scene->client, sequence, CODE (TOO_LARGE));
    sequence = rawpeer_send_bytes (&scene->client, ROTA_MESSAGE_SUBMIT, NULL, body, size);
    assert_refused (&scene->client, sequence, CODE (TOO_LARGE));
    rawpeer_send_bytes (&scene->client, ROTA_MESSAGE_SUBMIT, NULL, body, size - 1);
    rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_SUBMIT, PATIENCE_MS);
    assert_int_equal (zmq_msg_size (&scene->scheduler.body), size - 1);
    free (body);
}

static void who_sends_only_rubbish_is_no_longer_answered (void **state)
{
    scene_t *scene = *state;
    int answers = 0;
    for (int i = 0; i < 3 * ROTA_BROKER_FAULTS_ANSWERED; i++)
        rawpeer_send_frames (&scene->client, "\xff", 1, "", 0);
    while (rawpeer_receive (&scene->client, QUIET_MS))
        answers++;
    assert_int_equal (answers, ROTA_BROKER_FAULTS_ANSWERED);
    Rota__Hello hello = ROTA__HELLO__INIT;
    hello.has_instance = true;
    hello.instance = rota_bytes_n (scene->client.instance, 16);
    rawpeer_send (&scene->client, ROTA_MESSAGE_HELLO, NULL, &hello.base);
    assert_false (rawpeer_receive (&scene->client, QUIET_MS));
    join (&scene->other, ROLE (ADMIN));
}

static void a_peer_with_a_routing_id_of_its_own_choice_is_not_served (void **state)
{
    scene_t *scene = *state;
    void *socket = zmq_socket (scene->context, ZMQ_DEALER);
    int linger_ms = 0;
    zmq_setsockopt (socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt (socket, ZMQ_ROUTING_ID, "me", 2);
    assert_int_equal (zmq_connect (socket, scene->broker.endpoints.client), 0);
    zmq_send (socket, "\xff", 1, ZMQ_SNDMORE);
    zmq_send (socket, "", 0, 0);
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
    assert_int_equal (zmq_poll (&item, 1, QUIET_MS), 0);
    zmq_close (socket);
}

/* ---- presence */

static const Rota__Peer *peer_in (const Rota__Presence *presence, const uint8_t *instance)
{
    for (size_t i = 0; i < presence->n_peers; i++)
        if (memcmp (presence->peers[i]->instance.data, instance, 16) == 0)
            return presence->peers[i];
    return NULL;
}

/* The next report that names the instance. */
static const Rota__Peer *expect_presence (rawpeer_t *scheduler, const uint8_t *instance)
{
    const Rota__Presence *presence;
    const Rota__Peer *peer = NULL;
    while (!peer) {
        presence = rawpeer_expect (scheduler, ROTA_MESSAGE_PRESENCE, PATIENCE_MS);
        assert_non_null (presence);
        peer = peer_in (presence, instance);
    }
    return peer;
}

static void a_scheduler_learns_who_is_there_and_who_comes_and_goes (void **state)
{
    scene_t *scene = *state;
    Rota__Goodbye goodbye = ROTA__GOODBYE__INIT;
    join (&scene->agent, ROLE (AGENT));
    join (&scene->scheduler, ROLE (SCHEDULER));
    const Rota__Presence *all = rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_PRESENCE, PATIENCE_MS);
    assert_non_null (all);
    assert_true (all->complete);
    const Rota__Peer *peer = peer_in (all, scene->agent.instance);
    assert_non_null (peer);
    assert_int_equal (peer->role, ROLE (AGENT));
    assert_int_equal (peer->pid, getpid ());
    assert_memory_equal (peer->name.data, "agent", 5);
    assert_false (peer->gone);

    join (&scene->client, ROLE (ADMIN));
    assert_false (expect_presence (&scene->scheduler, scene->client.instance)->gone);
    rawpeer_send (&scene->client, ROTA_MESSAGE_GOODBYE, NULL, &goodbye.base);
    assert_true (expect_presence (&scene->scheduler, scene->client.instance)->gone);
}

static void a_silent_peer_counts_as_gone_and_one_with_heartbeats_does_not (void **state)
{
    scene_t *scene = *state;
    Rota__Heartbeat heartbeat = ROTA__HEARTBEAT__INIT;
    const Rota__Presence *presence = NULL;
    const Rota__Peer *peer = NULL;
    broker_thread_stop (&scene->broker);
    scene->config.dead_after_ms = 1000;
    broker_thread_start (&scene->broker, &scene->config);
    join_all (scene);
    for (int i = 0; i < 200 && !peer; i++) {
        rawpeer_send (&scene->scheduler, ROTA_MESSAGE_HEARTBEAT, NULL, &heartbeat.base);
        rawpeer_send (&scene->client, ROTA_MESSAGE_HEARTBEAT, NULL, &heartbeat.base);
        presence = rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_PRESENCE, 50);
        peer = presence ? peer_in (presence, scene->agent.instance) : NULL;
        if (presence && peer_in (presence, scene->client.instance))
            assert_false (peer_in (presence, scene->client.instance)->gone);
        if (peer && !peer->gone)
            peer = NULL;
    }
    assert_non_null (peer);
    uint64_t sequence = rawpeer_send (&scene->agent, ROTA_MESSAGE_HEARTBEAT, NULL, &heartbeat.base);
    assert_refused (&scene->agent, sequence, CODE (HELLO_REQUIRED));
}

static void a_client_can_ask_who_is_there (void **state)
{
    scene_t *scene = *state;
    Rota__PeersQuery query = ROTA__PEERS_QUERY__INIT;
    join_all (scene);
    rawpeer_send (&scene->client, ROTA_MESSAGE_PEERS_QUERY, NULL, &query.base);
    const Rota__PeersReply *reply = rawpeer_expect (&scene->client, ROTA_MESSAGE_PEERS_REPLY, PATIENCE_MS);
    assert_non_null (reply);
    assert_int_equal (reply->n_peers, 3);
    query.has_role = true;
    query.role = ROLE (AGENT);
    rawpeer_send (&scene->client, ROTA_MESSAGE_PEERS_QUERY, NULL, &query.base);
    reply = rawpeer_expect (&scene->client, ROTA_MESSAGE_PEERS_REPLY, PATIENCE_MS);
    assert_int_equal (reply->n_peers, 1);
    assert_memory_equal (reply->peers[0]->instance.data, scene->agent.instance, 16);
}

/* ---- quotas */

/* The scene's broker lets 4 requests be in flight and 8 of a client wait. */
static void requests_wait_by_turns_and_over_the_quota_are_sent_back (void **state)
{
    scene_t *scene = *state;
    Rota__Control control = ROTA__CONTROL__INIT;
    join_all (scene);
    join (&scene->other, ROLE (ADMIN));
    for (int i = 0; i < 20; i++)
        ask_status (&scene->client);
    for (int i = 0; i < 20 - 4 - 8; i++) {
        assert_non_null (rawpeer_expect (&scene->client, ROTA_MESSAGE_ERROR, PATIENCE_MS));
        assert_int_equal (rawpeer_refusal (&scene->client), CODE (RETRY_LATER));
        assert_true (((const Rota__Error *)scene->client.message)->retry_after_ms > 0);
    }
    /* Control doesn't wait; of those that do, the other's one is second at worst. */
    rawpeer_send (&scene->client, ROTA_MESSAGE_CONTROL, NULL, &control.base);
    ask_status (&scene->other);
    int queries = 0, controls = 0;
    while (rawpeer_receive (&scene->scheduler, QUIET_MS)) {
        queries += scene->scheduler.envelope.type == ROTA_MESSAGE_STATUS_QUERY;
        controls += scene->scheduler.envelope.type == ROTA_MESSAGE_CONTROL;
    }
    assert_int_equal (queries, 4);
    assert_int_equal (controls, 1);
    /* Five are in flight; with two answers there is room for the first of each client's. */
    answer_status (&scene->scheduler, 0);
    answer_status (&scene->scheduler, 0);
    assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_STATUS_QUERY, PATIENCE_MS));
    assert_memory_equal (scene->scheduler.envelope.sender, scene->client.instance, 16);
    answer_status (&scene->scheduler, 0);
    assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_STATUS_QUERY, PATIENCE_MS));
    assert_memory_equal (scene->scheduler.envelope.sender, scene->other.instance, 16);
}

static void a_new_scheduler_is_not_held_up_by_what_the_old_one_never_answered (void **state)
{
    scene_t *scene = *state;
    rawpeer_t second;
    join_all (scene);
    for (int i = 0; i < 12; i++)
        ask_status (&scene->client);
    for (int i = 0; i < 4; i++)
        assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_STATUS_QUERY, PATIENCE_MS));
    rawpeer_open (&second, scene->context, scene->broker.endpoints.service);
    join (&second, ROLE (SCHEDULER));
    for (int i = 0; i < 8; i++) {
        assert_non_null (rawpeer_expect (&second, ROTA_MESSAGE_STATUS_QUERY, PATIENCE_MS));
        answer_status (&second, 0);
    }
    rawpeer_close (&second);
}

/* ---- events */

static bool receive_event (void *socket, char topic[64], rota_envelope_t *envelope, char body[64])
{
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
    uint8_t bytes[ROTA_ENVELOPE_MAX_BYTES];
    memset (topic, 0, 64);
    memset (body, 0, 64);
    if (zmq_poll (&item, 1, QUIET_MS) != 1)
        return false;
    assert_true (zmq_recv (socket, topic, 63, 0) >= 0);
    int size = zmq_recv (socket, bytes, sizeof bytes, 0);
    assert_int_equal (rota_envelope_decode (bytes, (size_t)size, envelope), 0);
    assert_true (zmq_recv (socket, body, 63, 0) >= 0);
    return true;
}

static void publish_of (void *socket, const char *topic, uint32_t type, uint64_t scheduler_epoch,
                        const char *body)
{
    uint8_t bytes[ROTA_ENVELOPE_MAX_BYTES];
    rota_envelope_t envelope = {.version = ROTA_PROTOCOL_VERSION,
                                .type = type,
                                .role = ROLE (ADMIN),
                                .leader_epoch = 999,
                                .scheduler_epoch = scheduler_epoch};
    zmq_send (socket, topic, strlen (topic), ZMQ_SNDMORE);
    zmq_send (socket, bytes, rota_envelope_encode (&envelope, bytes), ZMQ_SNDMORE);
    zmq_send (socket, body, strlen (body), 0);
}

static void publish (void *socket, const char *topic, uint32_t type, const char *body)
{
    publish_of (socket, topic, type, 0, body);
}

static void events_of_a_scheduler_that_was_replaced_reach_nobody (void **state)
{
    scene_t *scene = *state;
    void *publisher = scene->publisher = zmq_socket (scene->context, ZMQ_PUB);
    void *subscriber = scene->subscriber = zmq_socket (scene->context, ZMQ_SUB);
    int linger_ms = 0;
    zmq_setsockopt (publisher, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    join (&scene->scheduler, ROLE (SCHEDULER));
    rota_envelope_t beat = {
        .version = ROTA_PROTOCOL_VERSION, .type = ROTA_MESSAGE_HEARTBEAT, .scheduler_epoch = 6};
    uint8_t bytes[ROTA_ENVELOPE_MAX_BYTES];
    rawpeer_send_frames (&scene->scheduler, bytes, rota_envelope_encode (&beat, bytes), "", 0);
    assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_HEARTBEAT, PATIENCE_MS));
    zmq_setsockopt (subscriber, ZMQ_SUBSCRIBE, "event", 5);
    zmq_connect (publisher, scene->broker.endpoints.publish);
    zmq_connect (subscriber, scene->broker.endpoints.events);
    char topic[64], body[64];
    rota_envelope_t envelope;
    bool came = false;
    for (int i = 0; i < 100 && !came; i++) {
        publish_of (publisher, "event", ROTA_MESSAGE_EVENT_BATCH, 5, "old");
        publish_of (publisher, "event", ROTA_MESSAGE_EVENT_BATCH, 6, "new");
        came = receive_event (subscriber, topic, &envelope, body);
    }
    assert_true (came);
    do
        assert_string_equal (body, "new");
    while (receive_event (subscriber, topic, &envelope, body));
}

static void events_reach_subscribers_with_the_publisher_named_by_the_broker (void **state)
{
    scene_t *scene = *state;
    void *publisher = scene->publisher = zmq_socket (scene->context, ZMQ_PUB);
    void *subscriber = scene->subscriber = zmq_socket (scene->context, ZMQ_SUB);
    int linger_ms = 0;
    zmq_setsockopt (publisher, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    join (&scene->scheduler, ROLE (SCHEDULER));
    zmq_setsockopt (subscriber, ZMQ_SUBSCRIBE, "event", 5);
    zmq_connect (publisher, scene->broker.endpoints.publish);
    zmq_connect (subscriber, scene->broker.endpoints.events);
    char topic[64], body[64];
    rota_envelope_t envelope;
    bool came = false;
    for (int i = 0; i < 100 && !came; i++) {
        publish (publisher, "event", ROTA_MESSAGE_STATUS_REPLY, "no event");
        zmq_send (publisher, "event", 5, 0);
        publish (publisher, "other", ROTA_MESSAGE_EVENT_BATCH, "another topic");
        publish (publisher, "event", ROTA_MESSAGE_EVENT_BATCH, "batch");
        came = receive_event (subscriber, topic, &envelope, body);
    }
    assert_true (came);
    assert_string_equal (body, "batch");
    assert_int_equal (envelope.role, ROLE (SCHEDULER));
    assert_int_equal (envelope.leader_epoch, rota_broker_epoch (scene->broker.broker));
    assert_memory_equal (envelope.sender, scene->scheduler.instance, 16);
    while (receive_event (subscriber, topic, &envelope, body))
        assert_string_equal (body, "batch");
}

/* ---- life */

static void tcp_on_loopback_gives_the_role_that_was_configured (void **state)
{
    scene_t *scene = *state;
    rota_broker_endpoint_t endpoint = {.endpoint = "tcp://127.0.0.1:*", .role = ROLE (SUBMIT)};
    rota_broker_config_t config = scene->config;
    rota_error_t error;
    int status = 0;
    broker_thread_stop (&scene->broker);
    config.endpoints = &endpoint;
    config.endpoints_count = 1;
    assert_null (rota_broker_new (&config, &status, &error));
    assert_int_equal (status, -EINVAL);
    config.insecure = true;
    endpoint.endpoint = "tcp://0.0.0.0:*";
    assert_null (rota_broker_new (&config, &status, &error));
    assert_int_equal (status, -EINVAL);
    endpoint.endpoint = "tcp://127.0.0.1:*";
    broker_thread_start (&scene->broker, &config);

    rawpeer_t peer;
    rawpeer_open (&peer, scene->context, rota_broker_endpoint (scene->broker.broker, 0));
    assert_null (rawpeer_hello (&peer, ROLE (OPERATE), "x"));
    assert_int_equal (rawpeer_refusal (&peer), CODE (NOT_ALLOWED));
    join (&peer, ROLE (READ));
    rawpeer_close (&peer);
}

static void a_second_broker_over_the_same_directory_is_refused_by_name (void **state)
{
    scene_t *scene = *state;
    rota_error_t error;
    char wanted[64];
    int status = 0;
    assert_null (rota_broker_new (&scene->config, &status, &error));
    assert_int_equal (status, -EBUSY);
    snprintf (wanted, sizeof wanted, "another broker (pid %ld since ", (long)getpid ());
    assert_memory_equal (error.text, wanted, strlen (wanted));
    /* And the first one's sockets are still its own. */
    join (&scene->client, ROLE (ADMIN));
}

static void sockets_are_closed_to_others (void **state)
{
    scene_t *scene = *state;
    struct stat status;
    assert_int_equal (stat (scene->broker.endpoints.client + strlen ("ipc://"), &status), 0);
    assert_int_equal (status.st_mode & 0777, 0600);
    assert_int_equal (stat (rota_broker_rundir (scene->broker.broker), &status), 0);
    assert_int_equal (status.st_mode & 0777, 0700);
}

static void over_its_memory_limit_it_ends (void **state)
{
    scene_t *scene = *state;
    rota_broker_config_t config = scene->config;
    broker_thread_stop (&scene->broker);
    config.memory_limit_bytes = 1 << 20;
    broker_thread_start (&scene->broker, &config);
    pthread_join (scene->broker.thread, NULL);
    assert_int_equal (scene->broker.result, -ENOMEM);
    rota_broker_destroy (&scene->broker.broker);
}

#define CROWD 60

typedef struct {
    rota_peer_t *peers[CROWD];
    zloop_t *loop;
    size_t known;
} crowd_t;

static void on_peers (void *owner, void *context, const rota_reply_t *reply)
{
    (void)context;
    crowd_t *crowd = owner;
    if (reply->status != 0 || reply->envelope->type != ROTA_MESSAGE_PEERS_REPLY)
        return;
    Rota__PeersReply *body = rota__peers_reply__unpack (NULL, reply->size_bytes, reply->body);
    crowd->known = body ? body->n_peers : 0;
    rota__peers_reply__free_unpacked (body, NULL);
}

static int end_loop (zloop_t *loop, int timer, void *argument)
{
    (void)loop;
    (void)timer;
    (void)argument;
    return -1;
}

/* Milliseconds until the broker knows all; the last peer asks it. */
static int64_t wait_until_all_are_known (crowd_t *crowd)
{
    Rota__PeersQuery query = ROTA__PEERS_QUERY__INIT;
    int64_t began_ms = rota_clock_monotonic_ms ();
    crowd->known = 0;
    while (crowd->known < CROWD && rota_clock_monotonic_ms () < began_ms + 3 * PATIENCE_MS) {
        if (rota_peer_outstanding (crowd->peers[CROWD - 1]) == 0)
            rota_peer_request (crowd->peers[CROWD - 1], ROTA_MESSAGE_PEERS_QUERY, NULL, &query.base,
                               PATIENCE_MS, on_peers, NULL);
        zloop_timer (crowd->loop, 10, 1, end_loop, NULL);
        zloop_start (crowd->loop);
    }
    return rota_clock_monotonic_ms () - began_ms;
}

/* Peers of bus/peer.h, as all services are. */
static void a_restarted_broker_learns_its_peers_again (void **state)
{
    scene_t *scene = *state;
    crowd_t crowd = {.loop = zloop_new ()};
    rota_error_t error;
    for (int i = 0; i < CROWD; i++) {
        const rota_rundir_endpoints_t *at = &scene->broker.endpoints;
        rota_peer_config_t config = {.endpoints = i == 0   ? at->service
                                                  : i < 20 ? at->agent
                                                           : at->client,
                                     .role = i == 0   ? ROLE (SCHEDULER)
                                             : i < 20 ? ROLE (AGENT)
                                                      : ROLE (ADMIN),
                                     .name = "one of the crowd",
                                     .owner = &crowd};
        crowd.peers[i] = rota_peer_new (&config, crowd.loop, &error);
        assert_non_null (crowd.peers[i]);
    }
    wait_until_all_are_known (&crowd);
    assert_int_equal (crowd.known, CROWD);

    broker_thread_stop (&scene->broker);
    broker_thread_start (&scene->broker, &scene->config);
    int64_t took_ms = wait_until_all_are_known (&crowd);
    assert_int_equal (crowd.known, CROWD);
    print_message ("a restarted broker knows its %d peers after %lld ms\n", CROWD, (long long)took_ms);
    for (int i = 0; i < CROWD; i++)
        rota_peer_destroy (&crowd.peers[i]);
    zloop_destroy (&crowd.loop);
}

static size_t count_descriptors (void)
{
    size_t count = 0;
    DIR *directory = opendir ("/proc/self/fd");
    while (readdir (directory))
        count++;
    closedir (directory);
    return count;
}

static void close_peers (scene_t *scene)
{
    rawpeer_close (&scene->client);
    rawpeer_close (&scene->other);
    rawpeer_close (&scene->agent);
    rawpeer_close (&scene->scheduler);
    if (scene->publisher)
        zmq_close (scene->publisher);
    if (scene->subscriber)
        zmq_close (scene->subscriber);
    scene->publisher = scene->subscriber = NULL;
    zmq_ctx_term (scene->context);
}

/* Without the peers, whose reconnecting sockets would be counted too. */
static void a_hundred_starts_and_stops_leave_nothing_behind (void **state)
{
    scene_t *scene = *state;
    size_t before = 0;
    uint64_t epoch = rota_broker_epoch (scene->broker.broker);
    close_peers (scene);
    for (int i = 0; i < 100; i++) {
        broker_thread_stop (&scene->broker);
        if (i == 1)
            before = count_descriptors ();
        if (i > 1)
            assert_int_equal (count_descriptors (), before);
        broker_thread_start (&scene->broker, &scene->config);
        assert_int_equal (rota_broker_epoch (scene->broker.broker), ++epoch);
    }
    scene->context = zmq_ctx_new ();
    rawpeer_open (&scene->client, scene->context, scene->broker.endpoints.client);
    join (&scene->client, ROLE (ADMIN));
}

/* ---- scene */

static int open_scene (void **state)
{
    scene_t *scene = calloc (1, sizeof *scene);
    scene->context = zmq_ctx_new ();
    scene->config = (rota_broker_config_t){.dead_after_ms = 60000,
                                           /* raw peers have no heartbeats */ .in_flight = 4,
                                           .quota_messages = 8,
                                           .memory_limit_bytes = 4LL << 30};
    broker_thread_open (&scene->broker, &scene->config);
    rawpeer_open (&scene->client, scene->context, scene->broker.endpoints.client);
    rawpeer_open (&scene->other, scene->context, scene->broker.endpoints.client);
    rawpeer_open (&scene->agent, scene->context, scene->broker.endpoints.agent);
    rawpeer_open (&scene->scheduler, scene->context, scene->broker.endpoints.service);
    *state = scene;
    return 0;
}

static int close_scene (void **state)
{
    scene_t *scene = *state;
    close_peers (scene);
    broker_thread_close (&scene->broker);
    free (scene);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, open_scene, close_scene)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (a_peer_is_welcomed_with_what_it_must_know),
        TEST (the_endpoint_bounds_the_role),
        TEST (who_has_not_said_hello_is_told_to),
        TEST (an_instance_in_use_is_not_given_to_another_role),
        TEST (a_peer_that_reconnects_keeps_its_name_and_gets_its_messages),
        TEST (a_hello_with_wrong_fields_is_malformed),
        TEST (a_request_reaches_the_scheduler_and_its_answer_comes_back),
        TEST (the_broker_says_who_speaks),
        TEST (without_a_scheduler_requests_are_refused_as_unavailable),
        TEST (a_role_may_send_only_its_own_messages),
        TEST (the_scheduler_reaches_an_agent_by_its_instance),
        TEST (output_is_asked_of_the_scheduler_and_then_of_the_host),
        TEST (of_two_schedulers_the_higher_epoch_gets_the_work),
        TEST (an_answer_to_somebody_who_left_is_dropped),
        TEST (malformed_messages_get_typed_errors),
        TEST (a_body_over_its_limit_is_refused),
        TEST (who_sends_only_rubbish_is_no_longer_answered),
        TEST (a_peer_with_a_routing_id_of_its_own_choice_is_not_served),
        TEST (a_scheduler_learns_who_is_there_and_who_comes_and_goes),
        TEST (a_silent_peer_counts_as_gone_and_one_with_heartbeats_does_not),
        TEST (a_client_can_ask_who_is_there),
        TEST (requests_wait_by_turns_and_over_the_quota_are_sent_back),
        TEST (a_new_scheduler_is_not_held_up_by_what_the_old_one_never_answered),
        TEST (events_reach_subscribers_with_the_publisher_named_by_the_broker),
        TEST (events_of_a_scheduler_that_was_replaced_reach_nobody),
        TEST (tcp_on_loopback_gives_the_role_that_was_configured),
        TEST (a_second_broker_over_the_same_directory_is_refused_by_name),
        TEST (sockets_are_closed_to_others),
        TEST (over_its_memory_limit_it_ends),
        TEST (a_restarted_broker_learns_its_peers_again),
        TEST (a_hundred_starts_and_stops_leave_nothing_behind),
    };
    rota_bus_start ();
    rota_log_setup ("test", ROTA_LOG_ERROR, ROTA_LOG_LOGFMT);
    return cmocka_run_group_tests (tests, NULL, NULL);
}
