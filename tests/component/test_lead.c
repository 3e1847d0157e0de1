/* What a broker does as leadership comes and goes, a sentence a test. The election is the test's: it says
 * what it is told to, or nothing more, like one whose thread stands still. */
#include "broker/broker_internal.h"
#include "bus/clock.h"
#include "bus/log.h"
#include "tests/component/broker_thread.h"
#include "tests/support/rawpeer.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define ROLE(name) ROTA__ROLE__ROLE_##name
#define CODE(name) ROTA__ERROR_CODE__ERROR_CODE_##name
#define PATIENCE_MS 10000
#define QUIET_MS 300

typedef struct {
    rota_election_t base;
    int event_fd;
    pthread_mutex_t mutex;
    rota_election_state_t state;
} fake_t;

typedef struct {
    void *context;
    broker_thread_t broker;
    fake_t election;
    rota_election_t *real;
    rawpeer_t client, stranger, scheduler;
} scene_t;

/* ---- the election */

static int fake_step (void *owner, int64_t boot_ms, rota_election_state_t *ret_state, int64_t *ret_again_ms,
                      rota_error_t *error)
{
    (void)error;
    fake_t *self = owner;
    eventfd_t count;
    *ret_again_ms = boot_ms + 3600000;
    if (eventfd_read (self->event_fd, &count) == 0) {
        pthread_mutex_lock (&self->mutex);
        *ret_state = self->state;
        pthread_mutex_unlock (&self->mutex);
    }
    return 0;
}

static int fake_descriptor (const void *owner)
{
    return ((const fake_t *)owner)->event_fd;
}

static const char *fake_news (void *owner)
{
    (void)owner;
    return NULL;
}

static void fake_destroy (void *owner)
{
    (void)owner;
}

static const rota_election_ops_t FAKE_OPS = {.name = "fake",
                                             .step = fake_step,
                                             .descriptor = fake_descriptor,
                                             .news = fake_news,
                                             .destroy = fake_destroy};

static void tell (scene_t *scene, bool leads, uint64_t epoch, int64_t until_ms, const char *leader)
{
    fake_t *self = &scene->election;
    pthread_mutex_lock (&self->mutex);
    self->state = (rota_election_state_t){.leads = leads, .cluster = 7, .epoch = epoch, .until_ms = until_ms};
    snprintf (self->state.leader, sizeof self->state.leader, "%s", leader);
    pthread_mutex_unlock (&self->mutex);
    eventfd_write (self->event_fd, 1);
}

/* ---- peers */

/* Says HELLO until the broker answers as wanted: it looks at the election in its own time. */
static void expect_hello (rawpeer_t *peer, bool welcome)
{
    for (int i = 0; i < 500; i++) {
        if ((rawpeer_hello (peer, ROLE (ADMIN), "it") != NULL) == welcome)
            return;
        poll (NULL, 0, 20);
    }
    fail_msg ("never %s", welcome ? "welcome" : "refused");
}

static void expect_not_leader (rawpeer_t *peer)
{
    assert_true (rawpeer_receive (peer, PATIENCE_MS));
    assert_string_equal (rota_error_code_name (rawpeer_refusal (peer)), "NOT_LEADER");
}

static void expect_hint (rawpeer_t *peer, const char *wanted)
{
    const Rota__Error *refusal = (const Rota__Error *)peer->message;
    assert_int_equal (refusal->has_leader ? refusal->leader.len : 0, strlen (wanted));
    assert_memory_equal (refusal->leader.data, wanted, strlen (wanted));
}

/* ---- the tests */

static void a_leader_whose_time_is_over_by_the_clock_does_not_act (void **state)
{
    scene_t *scene = *state;
    int64_t until_ms = rota_clock_boot_ms () + 1500;
    tell (scene, true, 5, until_ms, "");
    expect_hello (&scene->client, true);
    assert_int_equal (scene->client.envelope.leader_epoch, 5);
    while (rota_clock_boot_ms () <= until_ms)
        poll (NULL, 0, 10);
    /* The election has said nothing since. */
    assert_null (rawpeer_hello (&scene->stranger, ROLE (ADMIN), "late"));
    assert_int_equal (rawpeer_refusal (&scene->stranger), CODE (NOT_LEADER));
    expect_not_leader (&scene->client); /* it was sent on without asking */
}

static void one_that_can_renew_again_goes_on_leading (void **state)
{
    scene_t *scene = *state;
    tell (scene, true, 5, INT64_MAX, "");
    expect_hello (&scene->client, true);
    tell (scene, false, 0, 0, "");
    expect_hello (&scene->client, false);
    tell (scene, true, 5, INT64_MAX, "");
    expect_hello (&scene->client, true);
}

static void who_is_deposed_routes_nothing_more (void **state)
{
    scene_t *scene = *state;
    Rota__StatusQuery query = ROTA__STATUS_QUERY__INIT;
    tell (scene, true, 5, INT64_MAX, "");
    expect_hello (&scene->client, true);
    assert_non_null (rawpeer_hello (&scene->scheduler, ROLE (SCHEDULER), "scheduler"));
    rawpeer_send (&scene->client, ROTA_MESSAGE_STATUS_QUERY, NULL, &query.base);
    assert_non_null (rawpeer_expect (&scene->scheduler, ROTA_MESSAGE_STATUS_QUERY, PATIENCE_MS));
    tell (scene, false, 0, 0, "");
    expect_not_leader (&scene->client);
    while (rawpeer_receive (&scene->scheduler, QUIET_MS))
        continue;
    rawpeer_send (&scene->client, ROTA_MESSAGE_STATUS_QUERY, NULL, &query.base);
    expect_not_leader (&scene->client);
    assert_false (rawpeer_receive (&scene->scheduler, QUIET_MS));
}

static void another_epoch_is_another_leadership (void **state)
{
    scene_t *scene = *state;
    tell (scene, true, 5, INT64_MAX, "");
    expect_hello (&scene->client, true);
    tell (scene, true, 6, INT64_MAX, "");
    expect_not_leader (&scene->client);
    expect_hello (&scene->client, true);
    assert_int_equal (scene->client.envelope.leader_epoch, 6);
}

static void the_hint_is_where_the_leader_has_the_same_part (void **state)
{
    scene_t *scene = *state;
    char host[256] = "", address[1024];
    gethostname (host, sizeof host - 1);
    const struct {
        const char *host, *endpoints, *hint;
    } cases[] = {
        {host, "broker=ipc:///a/service.sock agent=ipc:///a/agent.sock admin=ipc:///a/client.sock",
         "ipc:///a/client.sock"},
        {host, "admin=tcp://10.0.0.1:7700 admin=ipc:///a/client.sock", "ipc:///a/client.sock"},
        {host, "admin=tcp://10.0.0.1:7700 broker=ipc:///a/service.sock", "tcp://10.0.0.1:7700"},
        {"elsewhere.example", "admin=ipc:///a/client.sock admin=tcp://127.0.0.1:1", ""},
        {"elsewhere.example", "admin=tcp://10.0.0.1:7700 admin=ipc:///a/client.sock", "tcp://10.0.0.1:7700"},
        {host, "read=tcp://10.0.0.1:7700 agent=tcp://10.0.0.1:7701", ""},
        {host, "admin=http://10.0.0.1 nonsense admin= =", ""},
        {host, "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf (address, sizeof address, "%s %s", cases[i].host, cases[i].endpoints);
        tell (scene, true, 10 + i, INT64_MAX, "");
        expect_hello (&scene->client, true);
        tell (scene, false, 0, 0, address);
        expect_not_leader (&scene->client);
        expect_hint (&scene->client, cases[i].hint);
    }
}

/* ---- scene */

static void *serve (void *argument)
{
    broker_thread_t *self = argument;
    self->result = rota_broker_run (self->broker);
    return NULL;
}

static int set_up (void **state)
{
    scene_t *scene = calloc (1, sizeof *scene);
    rota_broker_config_t config = {.state_dir = scene->broker.state_dir};
    rota_error_t error = {.text = ""};
    snprintf (scene->broker.state_dir, sizeof scene->broker.state_dir, "/tmp/rota-test-XXXXXX");
    if (!mkdtemp (scene->broker.state_dir))
        return -1;
    rota_log_setup ("test", ROTA_LOG_ERROR, ROTA_LOG_LOGFMT);
    scene->context = zmq_ctx_new ();
    scene->broker.broker = rota_broker_new (&config, NULL, &error);
    if (!scene->broker.broker)
        return -1;
    rota_rundir_endpoints (rota_broker_rundir (scene->broker.broker), &scene->broker.endpoints);
    scene->election.base.ops = &FAKE_OPS;
    scene->election.event_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init (&scene->election.mutex, NULL);
    scene->real = scene->broker.broker->election;
    scene->broker.broker->election = &scene->election.base;
    scene->broker.broker->election_again_ms = 0;
    if (pthread_create (&scene->broker.thread, NULL, serve, &scene->broker) != 0)
        return -1;
    rawpeer_open (&scene->client, scene->context, scene->broker.endpoints.client);
    rawpeer_open (&scene->stranger, scene->context, scene->broker.endpoints.client);
    rawpeer_open (&scene->scheduler, scene->context, scene->broker.endpoints.service);
    *state = scene;
    return 0;
}

static int tear_down (void **state)
{
    scene_t *scene = *state;
    rawpeer_close (&scene->client);
    rawpeer_close (&scene->stranger);
    rawpeer_close (&scene->scheduler);
    rota_broker_stop (scene->broker.broker);
    pthread_join (scene->broker.thread, NULL);
    scene->broker.broker->election = scene->real;
    broker_thread_close (&scene->broker);
    close (scene->election.event_fd);
    pthread_mutex_destroy (&scene->election.mutex);
    zmq_ctx_term (scene->context);
    free (scene);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, set_up, tear_down)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (a_leader_whose_time_is_over_by_the_clock_does_not_act),
        TEST (one_that_can_renew_again_goes_on_leading),
        TEST (who_is_deposed_routes_nothing_more),
        TEST (another_epoch_is_another_leadership),
        TEST (the_hint_is_where_the_leader_has_the_same_part),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
