/* What the broker costs: round trip through it, messages a second one way, answered requests a second, with
 * bodies of 100 bytes over ipc, and the same between two bare sockets for comparison. Figures, no verdict.
 */
#include "broker/broker.h"
#include "bus/log.h"
#include "bus/rundir.h"
#include "tests/support/rawpeer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BODY_BYTES 100
#define ROUND_TRIPS 5000
#define ONE_WAY 1000000
#define ANSWERED 300000
#define WINDOW 8000        /* under the queue that the broker keeps for a service */
#define REQUEST_WINDOW 128 /* under the quota of a client */

typedef struct {
    rawpeer_t peer;
    atomic_long received;
    bool answers;
    long until;
} receiver_t;

static double now_s (void)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Reads frames and, if asked to, answers each, without decoding bodies. */
static void *receive (void *argument)
{
    receiver_t *self = argument;
    uint8_t answer_bytes[ROTA_ENVELOPE_MAX_BYTES];
    char body[BODY_BYTES] = {0};
    for (long count = 0; count < self->until;) {
        zmq_msg_t frame;
        rota_envelope_t envelope, answer;
        zmq_msg_init (&frame);
        if (zmq_msg_recv (&frame, self->peer.socket, 0) < 0)
            abort ();
        int decoded = rota_envelope_decode (zmq_msg_data (&frame), zmq_msg_size (&frame), &envelope);
        while (zmq_msg_more (&frame))
            zmq_msg_recv (&frame, self->peer.socket, 0);
        zmq_msg_close (&frame);
        if (decoded < 0 || envelope.type == ROTA_MESSAGE_PRESENCE)
            continue;
        atomic_store (&self->received, ++count);
        if (!self->answers)
            continue;
        rota_envelope_answer (&envelope, ROTA_MESSAGE_STATUS_REPLY, &answer);
        rawpeer_send_frames (&self->peer, answer_bytes, rota_envelope_encode (&answer, answer_bytes), body,
                             sizeof body);
    }
    return NULL;
}

static void start (receiver_t *self, pthread_t *ret_thread, bool answers, long until)
{
    self->answers = answers;
    self->until = until;
    atomic_store (&self->received, 0);
    if (pthread_create (ret_thread, NULL, receive, self) != 0)
        abort ();
}

static int compare_doubles (const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void bench_round_trip (rawpeer_t *client, receiver_t *scheduler)
{
    static double took_s[ROUND_TRIPS];
    char body[BODY_BYTES] = {0};
    pthread_t thread;
    start (scheduler, &thread, true, ROUND_TRIPS);
    for (int i = 0; i < ROUND_TRIPS; i++) {
        double began_s = now_s ();
        rawpeer_send_bytes (client, ROTA_MESSAGE_STATUS_QUERY, NULL, body, sizeof body);
        if (!rawpeer_receive (client, 10000))
            abort ();
        took_s[i] = now_s () - began_s;
    }
    pthread_join (thread, NULL);
    qsort (took_s, ROUND_TRIPS, sizeof *took_s, compare_doubles);
    printf ("round trip client-broker-scheduler-broker-client: p50 %.3f ms, p99 %.3f ms\n",
            took_s[ROUND_TRIPS / 2] * 1e3, took_s[ROUND_TRIPS * 99 / 100] * 1e3);
}

static void bench_one_way (rawpeer_t *agent, receiver_t *scheduler)
{
    char body[BODY_BYTES] = {0};
    pthread_t thread;
    start (scheduler, &thread, false, ONE_WAY);
    double began_s = now_s ();
    for (long sent = 0; sent < ONE_WAY; sent++) {
        while (sent - atomic_load (&scheduler->received) >= WINDOW)
            usleep (200);
        rawpeer_send_bytes (agent, ROTA_MESSAGE_REPORT, NULL, body, sizeof body);
    }
    pthread_join (thread, NULL);
    printf ("one way agent-broker-scheduler: %.0f messages/s\n", ONE_WAY / (now_s () - began_s));
}

static void bench_answered (rawpeer_t *client, receiver_t *scheduler)
{
    char body[BODY_BYTES] = {0};
    pthread_t thread;
    long answered = 0, sent = 0;
    start (scheduler, &thread, true, ANSWERED);
    double began_s = now_s ();
    while (answered < ANSWERED) {
        while (sent < ANSWERED && sent - answered < REQUEST_WINDOW) {
            rawpeer_send_bytes (client, ROTA_MESSAGE_STATUS_QUERY, NULL, body, sizeof body);
            sent++;
        }
        if (!rawpeer_receive (client, 10000))
            abort ();
        answered++;
        if (rawpeer_refusal (client) != ROTA__ERROR_CODE__ERROR_CODE_UNSPECIFIED) {
            printf ("refused: %s\n", rota_error_code_name (rawpeer_refusal (client)));
            abort ();
        }
    }
    pthread_join (thread, NULL);
    printf ("requests answered, %d under way: %.0f/s\n", REQUEST_WINDOW, ANSWERED / (now_s () - began_s));
}

/* The same frames between two sockets without a broker: what ZeroMQ takes. */
static void bench_bare (void *context, const char *directory)
{
    receiver_t receiver = {.until = 0};
    rawpeer_t sender;
    pthread_t thread;
    char endpoint[256], body[BODY_BYTES] = {0};
    snprintf (endpoint, sizeof endpoint, "ipc://%s/bare.sock", directory);
    rawpeer_open (&sender, context, endpoint);
    receiver.peer.socket = zmq_socket (context, ZMQ_DEALER);
    zmq_bind (receiver.peer.socket, endpoint);
    start (&receiver, &thread, false, ONE_WAY);
    double began_s = now_s ();
    for (long sent = 0; sent < ONE_WAY; sent++) {
        while (sent - atomic_load (&receiver.received) >= WINDOW)
            usleep (200);
        rawpeer_send_bytes (&sender, ROTA_MESSAGE_REPORT, NULL, body, sizeof body);
    }
    pthread_join (thread, NULL);
    printf ("one way without a broker: %.0f messages/s\n", ONE_WAY / (now_s () - began_s));
    zmq_close (receiver.peer.socket);
    rawpeer_close (&sender);
}

static void *serve (void *broker)
{
    rota_broker_run (broker);
    return NULL;
}

static void remove_state (const char *directory)
{
    static const char *const names[] = {"run/bare.sock", "run", "broker.lock", "broker.epoch", ""};
    char path[256];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf (path, sizeof path, "%s/%s", directory, names[i]);
        remove (path);
    }
}

int main (void)
{
    char directory[] = "/tmp/rota-bench-XXXXXX";
    rota_broker_config_t config = {.state_dir = mkdtemp (directory), .dead_after_ms = 600000};
    rota_rundir_endpoints_t endpoints;
    rota_error_t error = {.text = ""};
    pthread_t thread;
    rawpeer_t client, agent;
    receiver_t scheduler = {.until = 0};

    setvbuf (stdout, NULL, _IOLBF, 0);
    rota_log_setup ("bench", ROTA_LOG_WARNING, ROTA_LOG_LOGFMT);
    rota_broker_t *broker = rota_broker_new (&config, NULL, &error);
    if (!broker || pthread_create (&thread, NULL, serve, broker) != 0) {
        fprintf (stderr, "%s\n", error.text);
        return 1;
    }
    void *context = zmq_ctx_new ();
    rota_rundir_endpoints (rota_broker_rundir (broker), &endpoints);
    rawpeer_open (&client, context, endpoints.client);
    rawpeer_open (&agent, context, endpoints.agent);
    rawpeer_open (&scheduler.peer, context, endpoints.service);
    if (!rawpeer_hello (&scheduler.peer, ROTA__ROLE__ROLE_SCHEDULER, "scheduler") ||
        !rawpeer_hello (&agent, ROTA__ROLE__ROLE_AGENT, "agent") ||
        !rawpeer_hello (&client, ROTA__ROLE__ROLE_ADMIN, "client"))
        return 1;

    bench_round_trip (&client, &scheduler);
    bench_one_way (&agent, &scheduler);
    bench_answered (&client, &scheduler);
    bench_bare (context, rota_broker_rundir (broker));

    rawpeer_close (&client);
    rawpeer_close (&agent);
    rawpeer_close (&scheduler.peer);
    zmq_ctx_term (context);
    rota_broker_stop (broker);
    pthread_join (thread, NULL);
    rota_broker_destroy (&broker);
    remove_state (directory);
    return 0;
}
