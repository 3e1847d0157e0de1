/* tcp with keys: who comes in, as what, for how long, and what the others are told. A sentence a test. */
#include "broker/broker.h"
#include "broker/router.h"
#include "bus/clock.h"
#include "bus/endpoint.h"
#include "bus/log.h"
#include "bus/peer.h"
#include "tests/component/broker_thread.h"
#include "tests/support/rawpeer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define ROLE(name) ROTA__ROLE__ROLE_##name
#define CODE(name) ROTA__ERROR_CODE__ERROR_CODE_##name
#define MASK(name) (1u << ROLE (name))
#define PATIENCE_MS 20000
#define NOTHING_MS 300 /* long enough for what must not come */

typedef struct {
    broker_thread_t broker;
    char parent[64], keys_dir[PATH_MAX];
    rota_broker_endpoint_t endpoint;
    rota_broker_config_t config;
    char tcp[256];
    uint8_t broker_key[ROTA_KEY_BYTES];
    void *context;
    rota_curve_t worker, alice, scheduler; /* granted: agent; operate; scheduler */
    rawpeer_t peers[3];
    void *sockets[8]; /* of events; closed at the end */
    size_t socket_count;
} scene_t;

/* ---- keys and grants */

static void new_curve (const scene_t *scene, const char *name, rota_curve_t *ret_curve)
{
    *ret_curve = (rota_curve_t){.has_key = true, .has_broker_key = true};
    rota_key_pair_new (name, &ret_curve->key);
    memcpy (ret_curve->broker_key, scene->broker_key, ROTA_KEY_BYTES);
}

static void grant (const scene_t *scene, const rota_curve_t *curve, uint32_t roles, const char *revoked)
{
    rota_grant_t grant = {.roles = roles};
    snprintf (grant.name, sizeof grant.name, "%s", curve->key.name);
    snprintf (grant.revoked, sizeof grant.revoked, "%s", revoked);
    memcpy (grant.public_key, curve->key.public_key, ROTA_KEY_BYTES);
    assert_int_equal (rota_grant_write (scene->keys_dir, &grant, true, NULL), 0);
}

static void take_back (const scene_t *scene, const rota_curve_t *curve, uint32_t roles)
{
    grant (scene, curve, roles, "2026-11-23T12:00:00.000Z");
}

/* A HELLO that came just when the endpoints were opened anew is lost without an answer. */
static rawpeer_t *join (scene_t *scene, size_t place, const rota_curve_t *curve, Rota__Role wants)
{
    rawpeer_t *peer = &scene->peers[place];
    rawpeer_open_with (peer, scene->context, scene->tcp, curve);
    const Rota__Welcome *welcome = rawpeer_hello (peer, wants, curve->key.name);
    for (int i = 0; i < 3 && !welcome && rawpeer_refusal (peer) == 0; i++) {
        rawpeer_close (peer);
        rawpeer_open_with (peer, scene->context, scene->tcp, curve);
        welcome = rawpeer_hello (peer, wants, curve->key.name);
    }
    if (!welcome)
        fail_msg ("%s: refused with %d", curve->key.name, (int)rawpeer_refusal (peer));
    return peer;
}

static uint64_t query (rawpeer_t *peer)
{
    Rota__StatusQuery body = ROTA__STATUS_QUERY__INIT;
    return rawpeer_send (peer, ROTA_MESSAGE_STATUS_QUERY, NULL, &body.base);
}

/* A whole request through broker and scheduler. */
static void assert_is_served (rawpeer_t *peer, rawpeer_t *scheduler)
{
    Rota__StatusReply reply = ROTA__STATUS_REPLY__INIT;
    query (peer);
    assert_non_null (rawpeer_expect (scheduler, ROTA_MESSAGE_STATUS_QUERY, PATIENCE_MS));
    rawpeer_answer (scheduler, ROTA_MESSAGE_STATUS_REPLY, &reply.base);
    assert_non_null (rawpeer_expect (peer, ROTA_MESSAGE_STATUS_REPLY, PATIENCE_MS));
}

/* ---- who comes in, and as what */

static void a_key_gets_the_roles_that_are_granted_to_it_and_no_others (void **state)
{
    scene_t *scene = *state;
    for (Rota__Role wants = ROLE (READ); wants <= ROLE (ADMIN); wants++) {
        rawpeer_t *peer = &scene->peers[2];
        rawpeer_open_with (peer, scene->context, scene->tcp, &scene->alice);
        bool welcome = rawpeer_hello (peer, wants, "alice") != NULL;
        assert_int_equal (welcome, wants == ROLE (READ) || wants == ROLE (SUBMIT) || wants == ROLE (OPERATE));
        if (!welcome)
            assert_int_equal (rawpeer_refusal (peer), CODE (NOT_ALLOWED));
        rawpeer_close (peer);
    }
}

static void who_says_no_role_gets_the_most_that_the_key_gives_a_person (void **state)
{
    scene_t *scene = *state;
    rawpeer_t *scheduler = join (scene, 0, &scene->scheduler, ROLE (SCHEDULER));
    rawpeer_t *alice = join (scene, 1, &scene->alice, ROLE (UNSPECIFIED));
    query (alice);
    assert_non_null (rawpeer_expect (scheduler, ROTA_MESSAGE_STATUS_QUERY, PATIENCE_MS));
    assert_int_equal (scheduler->envelope.role, ROLE (OPERATE));
    rawpeer_t *worker = &scene->peers[2];
    rawpeer_open_with (worker, scene->context, scene->tcp, &scene->worker);
    assert_null (rawpeer_hello (worker, ROLE (UNSPECIFIED), "worker"));
    assert_int_equal (rawpeer_refusal (worker), CODE (NOT_ALLOWED));
    rawpeer_close (worker);
}

/* Every role with every type, as the catalogue has it; what is allowed must not be refused as not allowed. */
static void the_catalogue_holds_for_keys_as_it_does_for_sockets (void **state)
{
    scene_t *scene = *state;
    size_t refused = 0, passed = 0;
    for (Rota__Role role = ROLE (READ); role <= ROLE (ADMIN); role++) {
        rota_curve_t curve;
        char name[32];
        snprintf (name, sizeof name, "%s-key", rota_role_name (role));
        new_curve (scene, name, &curve);
        grant (scene, &curve, 1u << role, "");
        rawpeer_t *peer = join (scene, 0, &curve, role);
        for (uint32_t type = 1; type < 256; type++) {
            const rota_catalogue_entry_t *entry = rota_catalogue_find (type);
            if (!entry || type == ROTA_MESSAGE_HELLO || type == ROTA_MESSAGE_GOODBYE)
                continue;
            bool allowed = entry->senders & 1u << role && entry->direction != ROTA_TO_EVENTS;
            uint64_t sequence = rawpeer_send_bytes (peer, type, NULL, "", 0);
            rawpeer_send_bytes (peer, 9999, NULL, "", 0); /* is answered in any case, and after it */
            bool not_allowed = false;
            do {
                assert_true (rawpeer_receive (peer, PATIENCE_MS));
                not_allowed |=
                    peer->envelope.sequence == sequence && rawpeer_refusal (peer) == CODE (NOT_ALLOWED);
            } while (rawpeer_refusal (peer) != CODE (UNKNOWN_TYPE));
            if (not_allowed == allowed)
                fail_msg ("%s as %s", entry->name, rota_role_name (role));
            refused += not_allowed;
            passed += allowed;
        }
        rawpeer_close (peer);
    }
    assert_true (refused > 100 && passed > 60);
}

static void the_broker_says_who_speaks_whatever_the_peer_says (void **state)
{
    scene_t *scene = *state;
    rawpeer_t *scheduler = join (scene, 0, &scene->scheduler, ROLE (SCHEDULER));
    rawpeer_t *alice = join (scene, 1, &scene->alice, ROLE (SUBMIT));
    uint8_t bytes[ROTA_ENVELOPE_MAX_BYTES];
    rota_envelope_t lie = {.version = ROTA_PROTOCOL_VERSION,
                           .type = ROTA_MESSAGE_STATUS_QUERY,
                           .has_conversation = true,
                           .sequence = 77,
                           .has_sender = true,
                           .role = ROLE (ADMIN),
                           .pid = 1,
                           .leader_epoch = 99};
    memcpy (lie.sender, scheduler->instance, sizeof lie.sender);
    rawpeer_send_frames (alice, bytes, rota_envelope_encode (&lie, bytes), "", 0);
    assert_non_null (rawpeer_expect (scheduler, ROTA_MESSAGE_STATUS_QUERY, PATIENCE_MS));
    assert_memory_equal (scheduler->envelope.sender, alice->instance, sizeof alice->instance);
    assert_int_equal (scheduler->envelope.role, ROLE (SUBMIT));
    assert_int_equal (scheduler->envelope.leader_epoch, rota_broker_epoch (scene->broker.broker));
}

static void an_instance_is_not_taken_with_another_key (void **state)
{
    scene_t *scene = *state;
    rota_curve_t mallory;
    rawpeer_t *thief = &scene->peers[1];
    new_curve (scene, "mallory", &mallory);
    grant (scene, &mallory, MASK (AGENT), "");
    rawpeer_t *worker = join (scene, 0, &scene->worker, ROLE (AGENT));
    rawpeer_open_with (thief, scene->context, scene->tcp, &mallory);
    memcpy (thief->instance, worker->instance, sizeof thief->instance);
    assert_null (rawpeer_hello (thief, ROLE (AGENT), "mallory"));
    assert_int_equal (rawpeer_refusal (thief), CODE (NOT_ALLOWED));
    rawpeer_close (thief);
    /* Its own key may, from a new connection. */
    rawpeer_open_with (thief, scene->context, scene->tcp, &scene->worker);
    memcpy (thief->instance, worker->instance, sizeof thief->instance);
    assert_non_null (rawpeer_hello (thief, ROLE (AGENT), "worker"));
    rawpeer_close (thief);
}

static uint64_t register_as (rawpeer_t *peer, const char *name)
{
    Rota__Register body = ROTA__REGISTER__INIT;
    body.has_name = true;
    body.name = (ProtobufCBinaryData){strlen (name), (uint8_t *)name};
    return rawpeer_send (peer, ROTA_MESSAGE_REGISTER, NULL, &body.base);
}

static void an_agents_key_takes_work_under_its_own_name_alone (void **state)
{
    scene_t *scene = *state;
    rawpeer_t *scheduler = join (scene, 0, &scene->scheduler, ROLE (SCHEDULER));
    rawpeer_t *worker = join (scene, 1, &scene->worker, ROLE (AGENT));
    register_as (worker, "worker");
    assert_non_null (rawpeer_expect (scheduler, ROTA_MESSAGE_REGISTER, PATIENCE_MS));
    /* HELLO said one name, REGISTER says another's. */
    register_as (worker, "other");
    assert_true (rawpeer_receive (worker, PATIENCE_MS));
    assert_int_equal (rawpeer_refusal (worker), CODE (NOT_ALLOWED));
    assert_null (rawpeer_expect (scheduler, ROTA_MESSAGE_REGISTER, NOTHING_MS));
    assert_null (rawpeer_hello (worker, ROLE (AGENT), "other"));
    assert_int_equal (rawpeer_refusal (worker), CODE (NOT_ALLOWED));

    /* Names by pattern; and what a pattern no longer names ends with the next message. */
    rota_grant_t wide = {.name = "worker", .agents = "oth* gpu-?", .roles = MASK (AGENT)};
    memcpy (wide.public_key, scene->worker.key.public_key, ROTA_KEY_BYTES);
    assert_int_equal (rota_grant_write (scene->keys_dir, &wide, true, NULL), 0);
    rawpeer_close (worker);
    rawpeer_open_with (worker, scene->context, scene->tcp, &scene->worker);
    assert_non_null (rawpeer_hello (worker, ROLE (AGENT), "other"));
    register_as (worker, "other");
    assert_non_null (rawpeer_expect (scheduler, ROTA_MESSAGE_REGISTER, PATIENCE_MS));
    grant (scene, &scene->worker, MASK (AGENT), "");
    register_as (worker, "other");
    assert_true (rawpeer_receive (worker, PATIENCE_MS));
    assert_int_equal (rawpeer_refusal (worker), CODE (NOT_ALLOWED));
    assert_null (rawpeer_expect (scheduler, ROTA_MESSAGE_REGISTER, NOTHING_MS));
}

/* ---- who doesn't */

static uint64_t turned_away (scene_t *scene)
{
    rota_broker_counts_t counts;
    rota_broker_counts (scene->broker.broker, &counts);
    return counts.turned_away;
}

/* Says HELLO for a while; true when anything was answered. */
static bool is_heard (scene_t *scene, const rota_curve_t *curve)
{
    rawpeer_t *peer = &scene->peers[2];
    rawpeer_open_with (peer, scene->context, scene->tcp, curve);
    rawpeer_send_hello (peer, ROLE (AGENT), "nobody");
    bool heard = rawpeer_receive (peer, NOTHING_MS);
    rawpeer_close (peer);
    return heard;
}

static void without_a_key_or_with_an_unknown_or_revoked_one_nobody_is_heard (void **state)
{
    scene_t *scene = *state;
    rota_curve_t stranger;
    assert_true (is_heard (scene, &scene->worker));
    assert_int_equal (turned_away (scene), 0);

    assert_false (is_heard (scene, &(rota_curve_t){.insecure = true}));
    assert_int_equal (turned_away (scene), 0); /* it had nothing to show */

    new_curve (scene, "stranger", &stranger);
    assert_false (is_heard (scene, &stranger));
    assert_true (turned_away (scene) > 0);

    /* The secret of somebody else's public key is what counts. */
    rota_curve_t liar = stranger;
    memcpy (liar.key.public_key, scene->worker.key.public_key, ROTA_KEY_BYTES);
    assert_false (is_heard (scene, &liar));

    uint64_t before = turned_away (scene);
    take_back (scene, &scene->worker, MASK (AGENT));
    assert_false (is_heard (scene, &scene->worker));
    assert_true (turned_away (scene) > before);

    rota_curve_t misled = scene->alice;
    misled.broker_key[3] ^= 1;
    assert_false (is_heard (scene, &misled));
}

typedef struct {
    zloop_t *loop;
    bool ready, away;
    char why[ROTA_ERROR_MAX_BYTES];
    rota_peer_t *peer;
} told_t;

static void on_state (void *owner, rota_peer_state_t state, const Rota__Welcome *welcome, const char *why)
{
    told_t *told = owner;
    (void)welcome;
    told->ready = state == ROTA_PEER_READY;
    if (why)
        snprintf (told->why, sizeof told->why, "%s", why);
}

static int look (zloop_t *loop, int timer, void *argument)
{
    (void)loop;
    (void)timer;
    told_t *told = argument;
    told->away = rota_peer_is_turned_away (told->peer);
    return told->ready || told->away ? -1 : 0;
}

/* Runs a peer until it is ready or turned away, and gives its words. */
static void run_peer (scene_t *scene, const rota_curve_t *curve, Rota__Role role, told_t *ret_told)
{
    rota_error_t error = {""};
    *ret_told = (told_t){.loop = zloop_new ()};
    rota_peer_config_t config = {.endpoints = scene->tcp,
                                 .role = role,
                                 .name = "a test",
                                 .curve = *curve,
                                 .owner = ret_told,
                                 .on_state = on_state};
    ret_told->peer = rota_peer_new (&config, ret_told->loop, &error);
    assert_string_equal (error.text, "");
    zloop_set_nonstop (ret_told->loop, true);
    zloop_timer (ret_told->loop, 10, 0, look, ret_told);
    zloop_start (ret_told->loop);
    rota_peer_destroy (&ret_told->peer);
    zloop_destroy (&ret_told->loop);
}

static void a_peer_is_told_why_in_words (void **state)
{
    scene_t *scene = *state;
    told_t told;
    rota_curve_t stranger, misled = scene->alice;
    new_curve (scene, "stranger", &stranger);
    misled.broker_key[3] ^= 1;
    struct {
        const rota_curve_t *curve;
        Rota__Role role;
        const char *words;
    } const CASES[] = {
        {&scene->alice, ROLE (OPERATE), NULL},
        {&(rota_curve_t){.insecure = true}, ROLE (READ), "wants a key"},
        {&stranger, ROLE (READ), "not granted there, or was revoked"},
        {&misled, ROLE (READ), "not its public key"},
        {&scene->alice, ROLE (ADMIN), "not granted to this key"},
        {&scene->worker, ROLE (AGENT), "this key may not be the agent \"a test\"; it is granted as worker"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        run_peer (scene, CASES[i].curve, CASES[i].role, &told);
        assert_int_equal (told.ready, !CASES[i].words);
        if (CASES[i].words && !strstr (told.why, CASES[i].words))
            fail_msg ("%zu: %s", i, told.why);
    }
}

/* ---- when something is taken back */

static void a_revoked_key_has_no_next_message_and_others_go_on (void **state)
{
    scene_t *scene = *state;
    rawpeer_t *scheduler = join (scene, 0, &scene->scheduler, ROLE (SCHEDULER));
    rawpeer_t *alice = join (scene, 1, &scene->alice, ROLE (OPERATE));
    assert_is_served (alice, scheduler);
    take_back (scene, &scene->alice, MASK (OPERATE));
    query (alice);
    /* It is told, whether by the notice or as the answer, and the scheduler never sees the query. */
    assert_true (rawpeer_receive (alice, PATIENCE_MS));
    assert_int_equal (rawpeer_refusal (alice), CODE (NOT_ALLOWED));
    for (int i = 0; i < 20; i++)
        query (alice);
    assert_null (rawpeer_expect (scheduler, ROTA_MESSAGE_STATUS_QUERY, NOTHING_MS));

    /* Those who may are back by themselves; a raw peer has to say HELLO itself. */
    rota_curve_t bob;
    new_curve (scene, "bob", &bob);
    grant (scene, &bob, MASK (READ), "");
    rawpeer_t *other = join (scene, 2, &bob, ROLE (READ));
    assert_non_null (rawpeer_hello (scheduler, ROLE (SCHEDULER), "scheduler"));
    assert_is_served (other, scheduler);

    grant (scene, &scene->alice, MASK (OPERATE), "");
    rawpeer_close (alice); /* ZeroMQ doesn't go on with a socket whose key was refused */
    assert_is_served (join (scene, 1, &scene->alice, ROLE (OPERATE)), scheduler);
}

static void a_lesser_role_holds_from_the_next_message_on (void **state)
{
    scene_t *scene = *state;
    rawpeer_t *scheduler = join (scene, 0, &scene->scheduler, ROLE (SCHEDULER));
    rawpeer_t *alice = join (scene, 1, &scene->alice, ROLE (OPERATE));
    Rota__Control control = ROTA__CONTROL__INIT;
    rawpeer_send (alice, ROTA_MESSAGE_CONTROL, NULL, &control.base);
    assert_non_null (rawpeer_expect (scheduler, ROTA_MESSAGE_CONTROL, PATIENCE_MS));
    grant (scene, &scene->alice, MASK (READ), "");
    rawpeer_send (alice, ROTA_MESSAGE_CONTROL, NULL, &control.base);
    assert_true (rawpeer_receive (alice, PATIENCE_MS));
    assert_int_equal (rawpeer_refusal (alice), CODE (NOT_ALLOWED));
    assert_null (rawpeer_expect (scheduler, ROTA_MESSAGE_CONTROL, NOTHING_MS));
    assert_null (rawpeer_hello (alice, ROLE (OPERATE), "alice"));
    assert_non_null (rawpeer_hello (alice, ROLE (READ), "alice"));
}

/* The peer of bus/ says HELLO again by itself and repeats what was not answered. */
static void a_revoked_peer_learns_it_and_another_only_reconnects (void **state)
{
    scene_t *scene = *state;
    told_t revoked = {.loop = zloop_new ()}, other = {.loop = revoked.loop};
    rota_error_t error = {""};
    rota_peer_config_t config = {
        .endpoints = scene->tcp, .role = ROLE (AGENT), .name = "worker", .on_state = on_state};
    config.curve = scene->worker;
    config.owner = &revoked;
    revoked.peer = rota_peer_new (&config, revoked.loop, &error);
    config.curve = scene->alice;
    config.role = ROLE (OPERATE);
    config.owner = &other;
    other.peer = rota_peer_new (&config, other.loop, &error);
    assert_true (revoked.peer && other.peer);
    zloop_set_nonstop (revoked.loop, true);
    int timer = zloop_timer (revoked.loop, 10, 0, look, &revoked);
    zloop_start (revoked.loop);
    zloop_timer_end (revoked.loop, timer);
    timer = zloop_timer (other.loop, 10, 0, look, &other);
    zloop_start (other.loop);
    zloop_timer_end (other.loop, timer);
    assert_true (revoked.ready && other.ready);

    take_back (scene, &scene->worker, MASK (AGENT));
    while (revoked.ready || !revoked.away) {
        timer = zloop_timer (revoked.loop, 10, 0, look, &revoked);
        revoked.ready = rota_peer_is_ready (revoked.peer);
        zloop_start (revoked.loop);
        zloop_timer_end (revoked.loop, timer);
    }
    /* By the broker's last word, or where that was lost with the connection, at the next one's door. */
    assert_true (strstr (revoked.why, "taken back") || strstr (revoked.why, "or was revoked"));
    while (!rota_peer_is_ready (other.peer)) {
        other.ready = false;
        timer = zloop_timer (other.loop, 10, 0, look, &other);
        zloop_start (other.loop);
        zloop_timer_end (other.loop, timer);
    }
    rota_peer_destroy (&revoked.peer);
    rota_peer_destroy (&other.peer);
    zloop_destroy (&revoked.loop);
}

typedef struct {
    int port;
    atomic_bool stopping;
    unsigned long connected;
} knocker_t;

static void *knock (void *argument)
{
    knocker_t *self = argument;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons ((uint16_t)self->port),
                                  .sin_addr.s_addr = htonl (INADDR_LOOPBACK)};
    while (!atomic_load (&self->stopping)) {
        int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        self->connected += connect (fd, (struct sockaddr *)&address, sizeof address) == 0;
        close (fd);
    }
    return NULL;
}

/* ZeroMQ's thread once waited for ever for whoever was to hear of a connection, and the address stayed in
 * use. */
static void the_endpoints_are_opened_again_however_many_connect_meanwhile (void **state)
{
    scene_t *scene = *state;
    knocker_t knocker = {.port = atoi (strrchr (scene->tcp, ':') + 1)};
    pthread_t thread;
    assert_int_equal (pthread_create (&thread, NULL, knock, &knocker), 0);
    for (int i = 0; i < 30; i++) {
        join (scene, 0, &scene->alice, ROLE (OPERATE));
        take_back (scene, &scene->alice, MASK (OPERATE));
        while (scene->peers[0].envelope.type != ROTA_MESSAGE_ERROR) {
            query (&scene->peers[0]);
            rawpeer_receive (&scene->peers[0], 100);
            if (!is_heard (scene, &scene->alice))
                break; /* the last word was lost with the connection */
        }
        rawpeer_close (&scene->peers[0]);
        grant (scene, &scene->alice, MASK (OPERATE), "");
    }
    atomic_store (&knocker.stopping, true);
    pthread_join (thread, NULL);
    assert_true (knocker.connected > 30);
    join (scene, 0, &scene->alice, ROLE (OPERATE));
}

/* ---- events */

static void *connect_events (scene_t *scene, int type, const Rota__Welcome *welcome, bool publish,
                             const rota_curve_t *curve)
{
    char endpoint[ROTA_ENDPOINT_MAX_BYTES];
    const ProtobufCBinaryData *said = publish ? &welcome->publish_endpoint : &welcome->events_endpoint;
    int linger_ms = 0, patience_ms = 50, reconnect_ms = 10;
    void *socket = scene->sockets[scene->socket_count++] = zmq_socket (scene->context, type);
    assert_int_equal (rota_endpoint_resolve ((const char *)said->data, said->len, scene->tcp, endpoint), 0);
    assert_true (rota_endpoint_is_tcp (endpoint));
    zmq_setsockopt (socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt (socket, ZMQ_RCVTIMEO, &patience_ms, sizeof patience_ms);
    zmq_setsockopt (socket, ZMQ_RECONNECT_IVL, &reconnect_ms, sizeof reconnect_ms);
    if (type == ZMQ_SUB)
        zmq_setsockopt (socket, ZMQ_SUBSCRIBE, "e", 1);
    assert_int_equal (rota_curve_use (curve, socket, endpoint, NULL), 0);
    assert_int_equal (zmq_connect (socket, endpoint), 0);
    return socket;
}

static void publish_head (void *socket)
{
    uint8_t bytes[ROTA_ENVELOPE_MAX_BYTES];
    rota_envelope_t envelope = {.version = ROTA_PROTOCOL_VERSION, .type = ROTA_MESSAGE_EVENT_HEAD};
    size_t size = rota_envelope_encode (&envelope, bytes);
    zmq_send (socket, "e", 1, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send (socket, bytes, size, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send (socket, "", 0, ZMQ_DONTWAIT);
}

static bool hears (void *subscriber, rota_envelope_t *ret_envelope)
{
    uint8_t bytes[ROTA_ENVELOPE_MAX_BYTES];
    if (zmq_recv (subscriber, bytes, sizeof bytes, 0) < 0)
        return false;
    int size = zmq_recv (subscriber, bytes, sizeof bytes, 0);
    assert_int_equal (rota_envelope_decode (bytes, (size_t)size, ret_envelope), 0);
    zmq_recv (subscriber, bytes, sizeof bytes, 0);
    return true;
}

/* Publishes until it is heard, or for as long as nothing may come. */
static bool reaches (void *publisher, void *subscriber, bool must, rota_envelope_t *ret_envelope)
{
    int64_t end_ms = rota_clock_monotonic_ms () + (must ? PATIENCE_MS : 2 * NOTHING_MS);
    while (rota_clock_monotonic_ms () < end_ms) {
        publish_head (publisher);
        if (hears (subscriber, ret_envelope))
            return true;
    }
    return false;
}

static void events_reach_whose_key_may_ask_for_them_until_it_is_revoked (void **state)
{
    scene_t *scene = *state;
    rota_envelope_t envelope;
    rawpeer_t *scheduler = join (scene, 0, &scene->scheduler, ROLE (SCHEDULER));
    void *publisher =
        connect_events (scene, ZMQ_PUB, (const Rota__Welcome *)scheduler->message, true, &scene->scheduler);
    rawpeer_t *alice = join (scene, 1, &scene->alice, ROLE (READ));
    const Rota__Welcome *welcome = (const Rota__Welcome *)alice->message;
    assert_false (welcome->has_publish_endpoint);
    void *subscriber = connect_events (scene, ZMQ_SUB, welcome, false, &scene->alice);
    void *agent = connect_events (scene, ZMQ_SUB, welcome, false, &scene->worker);
    assert_true (reaches (publisher, subscriber, true, &envelope));
    assert_int_equal (envelope.role, ROLE (SCHEDULER));
    assert_true (envelope.has_sender);
    assert_memory_equal (envelope.sender, scheduler->instance, sizeof scheduler->instance);
    assert_false (hears (agent, &envelope));

    take_back (scene, &scene->alice, MASK (OPERATE));
    while (hears (subscriber, &envelope)) /* what was on its way */
        continue;
    assert_false (reaches (publisher, subscriber, false, &envelope));
    assert_false (hears (agent, &envelope));
    grant (scene, &scene->alice, MASK (READ), "");
    rawpeer_close (alice);
    alice = join (scene, 1, &scene->alice, ROLE (READ));
    subscriber = connect_events (scene, ZMQ_SUB, (const Rota__Welcome *)alice->message, false, &scene->alice);
    assert_true (reaches (publisher, subscriber, true, &envelope));
}

static void only_a_schedulers_key_publishes (void **state)
{
    scene_t *scene = *state;
    rota_envelope_t envelope;
    rawpeer_t *scheduler = join (scene, 0, &scene->scheduler, ROLE (SCHEDULER));
    const Rota__Welcome *welcome = (const Rota__Welcome *)scheduler->message; /* its last message */
    void *subscriber = connect_events (scene, ZMQ_SUB, welcome, false, &scene->alice);
    void *liar = connect_events (scene, ZMQ_PUB, welcome, true, &scene->alice);
    assert_false (reaches (liar, subscriber, false, &envelope));
    grant (scene, &scene->alice, MASK (READ) | MASK (SCHEDULER), "");
    liar = connect_events (scene, ZMQ_PUB, welcome, true, &scene->alice);
    assert_true (reaches (liar, subscriber, true, &envelope));
    assert_false (envelope.has_sender); /* it is not the scheduler that is connected */
}

static void events_of_a_local_scheduler_go_abroad (void **state)
{
    scene_t *scene = *state;
    rota_envelope_t envelope;
    int linger_ms = 0;
    rawpeer_t *alice = join (scene, 1, &scene->alice, ROLE (READ));
    void *subscriber =
        connect_events (scene, ZMQ_SUB, (const Rota__Welcome *)alice->message, false, &scene->alice);
    void *sink = zmq_socket (scene->context, ZMQ_SUB); /* local topics are those that somebody here wants */
    void *publisher = zmq_socket (scene->context, ZMQ_PUB);
    scene->sockets[scene->socket_count++] = sink;
    scene->sockets[scene->socket_count++] = publisher;
    zmq_setsockopt (publisher, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt (sink, ZMQ_SUBSCRIBE, "e", 1);
    zmq_connect (sink, scene->broker.endpoints.events);
    zmq_connect (publisher, scene->broker.endpoints.publish);
    assert_true (reaches (publisher, subscriber, true, &envelope));
}

/* ---- size */

static void an_oversized_message_is_refused_and_a_frame_beyond_all_ends_only_its_own_connection (void **state)
{
    scene_t *scene = *state;
    rawpeer_t *scheduler = join (scene, 0, &scene->scheduler, ROLE (SCHEDULER));
    rawpeer_t *alice = join (scene, 1, &scene->alice, ROLE (OPERATE));
    rawpeer_t *worker = join (scene, 2, &scene->worker, ROLE (AGENT));
    size_t size = 5 << 20;
    char *bytes = calloc (1, 64 << 20);
    rawpeer_send_bytes (alice, ROTA_MESSAGE_SUBMIT, NULL, bytes, size);
    assert_true (rawpeer_receive (alice, PATIENCE_MS));
    assert_int_equal (rawpeer_refusal (alice), CODE (TOO_LARGE));
    rawpeer_send_bytes (worker, ROTA_MESSAGE_REPORT, NULL, bytes, 64 << 20);
    free (bytes);
    assert_is_served (alice, scheduler);
    /* It has a new connection, which has yet to say HELLO. */
    rawpeer_send_bytes (worker, ROTA_MESSAGE_HEARTBEAT, NULL, "", 0);
    while (rawpeer_refusal (worker) != CODE (HELLO_REQUIRED))
        if (!rawpeer_receive (worker, NOTHING_MS))
            rawpeer_send_bytes (worker, ROTA_MESSAGE_HEARTBEAT, NULL, "", 0);
}

/* ---- scene */

static int open_scene (void **state)
{
    scene_t *scene = calloc (1, sizeof *scene);
    rota_key_pair_t broker;
    char path[PATH_MAX + 16];
    snprintf (scene->parent, sizeof scene->parent, "/tmp/rota-test-keys-XXXXXX");
    if (!mkdtemp (scene->parent) ||
        rota_keys_directory ("", scene->parent, true, scene->keys_dir, sizeof scene->keys_dir, NULL) < 0)
        return -1;
    scene->endpoint = (rota_broker_endpoint_t){.endpoint = "tcp://127.0.0.1:*"};
    scene->config = (rota_broker_config_t){.dead_after_ms = 60000, /* raw peers have no heartbeats */
                                           .memory_limit_bytes = 4LL << 30,
                                           .endpoints = &scene->endpoint,
                                           .endpoints_count = 1,
                                           .keys_dir = scene->keys_dir};
    broker_thread_open (&scene->broker, &scene->config);
    snprintf (scene->tcp, sizeof scene->tcp, "%s", rota_broker_endpoint (scene->broker.broker, 0));
    snprintf (path, sizeof path, "%s/broker.key", scene->keys_dir);
    if (rota_key_pair_read (path, &broker, NULL) < 0)
        return -1;
    memcpy (scene->broker_key, broker.public_key, sizeof scene->broker_key);
    new_curve (scene, "worker", &scene->worker);
    new_curve (scene, "alice", &scene->alice);
    new_curve (scene, "scheduler", &scene->scheduler);
    grant (scene, &scene->worker, MASK (AGENT), "");
    grant (scene, &scene->alice, MASK (OPERATE), "");
    grant (scene, &scene->scheduler, MASK (SCHEDULER), "");
    scene->context = zmq_ctx_new ();
    *state = scene;
    return 0;
}

static int close_scene (void **state)
{
    scene_t *scene = *state;
    char command[PATH_MAX + 16];
    for (size_t i = 0; i < sizeof scene->peers / sizeof *scene->peers; i++)
        rawpeer_close (&scene->peers[i]);
    for (size_t i = 0; i < scene->socket_count; i++)
        zmq_close (scene->sockets[i]);
    zmq_ctx_term (scene->context);
    broker_thread_close (&scene->broker);
    snprintf (command, sizeof command, "rm -rf %s", scene->parent);
    int status = system (command);
    free (scene);
    return status;
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, open_scene, close_scene)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (a_key_gets_the_roles_that_are_granted_to_it_and_no_others),
        TEST (who_says_no_role_gets_the_most_that_the_key_gives_a_person),
        TEST (the_catalogue_holds_for_keys_as_it_does_for_sockets),
        TEST (the_broker_says_who_speaks_whatever_the_peer_says),
        TEST (an_instance_is_not_taken_with_another_key),
        TEST (an_agents_key_takes_work_under_its_own_name_alone),
        TEST (without_a_key_or_with_an_unknown_or_revoked_one_nobody_is_heard),
        TEST (a_peer_is_told_why_in_words),
        TEST (a_revoked_key_has_no_next_message_and_others_go_on),
        TEST (a_lesser_role_holds_from_the_next_message_on),
        TEST (a_revoked_peer_learns_it_and_another_only_reconnects),
        TEST (the_endpoints_are_opened_again_however_many_connect_meanwhile),
        TEST (events_reach_whose_key_may_ask_for_them_until_it_is_revoked),
        TEST (only_a_schedulers_key_publishes),
        TEST (events_of_a_local_scheduler_go_abroad),
        TEST (an_oversized_message_is_refused_and_a_frame_beyond_all_ends_only_its_own_connection),
    };
    rota_log_setup ("test", ROTA_LOG_ERROR, ROTA_LOG_LOGFMT);
    return cmocka_run_group_tests (tests, NULL, NULL);
}
