/* With one peer that means harm, the others keep nine tenths of their rate, and the broker stays small.
 *
 * Honest clients offer a fixed load to a scheduler that can do a few times as much. Their answered requests
 * are counted over a window without and with each kind of hostile peer; counts are compared, never times.
 * Broker, hostile peers and honest ones are separate processes; the broker is started again when it ends, as
 * a supervisor would.
 */
#include "broker/broker.h"
#include "bus/clock.h"
#include "bus/log.h"
#include "bus/peer.h"
#include "bus/rundir.h"
#include "bus/start.h"
#include "tests/component/hostile.h"
#include "tests/support/rawpeer.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define CLIENTS 4
#define OFFERED_PER_S 500
#define WARM_UP_MS 1000
#define WINDOW_MS 4000
#define DRAIN_MS 4000
#define READY_MS 30000
#define SCHEDULER_PER_MS 4 /* queries it can answer */
#define SHARE_PERCENT 90

/* Sanitizers keep freed memory for a while and shadow the rest. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(IS_SANITIZED)
#define MEMORY_LIMIT_BYTES (1024LL << 20)
#else
#define MEMORY_LIMIT_BYTES (256LL << 20)
#endif
/* What an attack at 200 MB/s adds between two looks at the memory, with room for a busy machine. */
#define MEMORY_SLACK_BYTES (256LL << 20)

enum { GARBAGE, FLOOD, NEVER_READS, HALF_OPEN, ENDLESS, HOSTILES };

typedef struct {
    zloop_t *loop;
    rota_peer_t *clients[CLIENTS];
    uint64_t offered, answered, failed;
    bool in_window;
    int64_t began_ms;
    int64_t largest_bytes; /* the broker's memory */
    uint64_t restarts;
    long broker_pid;
} honest_t;

static char state_dir[] = "/tmp/rota-test-XXXXXX";
static rota_rundir_endpoints_t endpoints;
static pid_t keeper;
static hostile_t hostiles[HOSTILES];
static atomic_bool scheduler_stopping;
static pthread_t scheduler;
static honest_t honest;
static uint64_t quiet_answered;

/* ---- broker */

static int free_port (void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind (fd, (struct sockaddr *)&address, size) < 0 ||
        getsockname (fd, (struct sockaddr *)&address, &size) < 0)
        abort ();
    close (fd);
    return ntohs (address.sin_port);
}

static void serve (int tcp_port)
{
    char tcp[64];
    rota_error_t error;
    rota_broker_endpoint_t endpoint = {.endpoint = tcp, .role = ROTA__ROLE__ROLE_ADMIN};
    rota_broker_config_t config = {.state_dir = state_dir,
                                   .endpoints = &endpoint,
                                   .endpoints_count = 1,
                                   .insecure = true,
                                   .memory_limit_bytes = MEMORY_LIMIT_BYTES};
    snprintf (tcp, sizeof tcp, "tcp://127.0.0.1:%d", tcp_port);
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    rota_log_setup ("broker", ROTA_LOG_WARNING, ROTA_LOG_LOGFMT);
    rota_broker_t *broker = rota_broker_new (&config, NULL, &error);
    if (!broker)
        fprintf (stderr, "broker: %s\n", error.text);
    else
        rota_broker_run (broker);
    _exit (1);
}

static pid_t keep_broker (int tcp_port)
{
    pid_t pid = fork ();
    if (pid != 0)
        return pid;
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        pid_t broker = fork ();
        if (broker == 0)
            serve (tcp_port);
        waitpid (broker, NULL, 0);
        usleep (50000);
    }
}

/* The start of a small file, as a text; "" when it can't be read. */
static void read_text (const char *path, char *ret_text, size_t capacity)
{
    FILE *file = fopen (path, "r");
    size_t size = file ? fread (ret_text, 1, capacity - 1, file) : 0;
    ret_text[size] = 0;
    if (file)
        fclose (file);
}

static int64_t resident_bytes (long pid)
{
    char path[64], text[128];
    snprintf (path, sizeof path, "/proc/%ld/statm", pid);
    read_text (path, text, sizeof text);
    const char *resident = strchr (text, ' '); /* the second number, in pages */
    return resident ? strtoll (resident, NULL, 10) * sysconf (_SC_PAGESIZE) : 0;
}

/* The lock says which process serves now. */
static void look_at_broker (honest_t *self)
{
    char path[128], text[128];
    snprintf (path, sizeof path, "%s/broker.lock", state_dir);
    read_text (path, text, sizeof text);
    long pid = strtol (text, NULL, 10);
    if (pid != 0 && pid != self->broker_pid) {
        self->restarts += self->broker_pid != 0;
        self->broker_pid = pid;
    }
    int64_t bytes = resident_bytes (self->broker_pid);
    if (bytes > self->largest_bytes)
        self->largest_bytes = bytes;
}

/* ---- scheduler: answers so many queries a millisecond, with as many bytes as were asked for */

static void answer_query (rawpeer_t *self)
{
    static char filling[256 * 1024];
    const Rota__StatusQuery *query = (const Rota__StatusQuery *)self->message;
    Rota__StatusReply reply = ROTA__STATUS_REPLY__INIT;
    reply.has_store = true;
    reply.store = rota_bytes_n (filling, query && query->version < sizeof filling ? query->version : 0);
    rawpeer_answer (self, ROTA_MESSAGE_STATUS_REPLY, &reply.base);
}

static void *run_scheduler (void *context)
{
    rawpeer_t self;
    Rota__Heartbeat heartbeat = ROTA__HEARTBEAT__INIT;
    int64_t said_ms = 0, budget_ms = 0;
    int answered = 0;
    rawpeer_open (&self, context, endpoints.service);
    rawpeer_send_hello (&self, ROTA__ROLE__ROLE_SCHEDULER, "scheduler");
    while (!atomic_load (&scheduler_stopping)) {
        int64_t now_ms = rota_clock_monotonic_ms ();
        if (now_ms - said_ms >= 200) {
            rawpeer_send (&self, ROTA_MESSAGE_HEARTBEAT, NULL, &heartbeat.base);
            said_ms = now_ms;
        }
        if (now_ms != budget_ms) {
            answered = 0;
            budget_ms = now_ms;
        }
        if (answered >= SCHEDULER_PER_MS) {
            usleep (200);
            continue;
        }
        if (!rawpeer_receive (&self, 10))
            continue;
        if (rawpeer_refusal (&self) == ROTA__ERROR_CODE__ERROR_CODE_HELLO_REQUIRED)
            rawpeer_send_hello (&self, ROTA__ROLE__ROLE_SCHEDULER, "scheduler");
        if (self.envelope.type == ROTA_MESSAGE_STATUS_QUERY) {
            answer_query (&self);
            answered++;
        }
    }
    rawpeer_close (&self);
    return NULL;
}

/* ---- honest clients */

static void on_reply (void *owner, void *context, const rota_reply_t *reply)
{
    honest_t *self = owner;
    (void)context;
    if (reply->status == -ECANCELED)
        return;
    if (reply->status == 0 && reply->envelope->type == ROTA_MESSAGE_STATUS_REPLY)
        self->answered += self->in_window;
    else
        self->failed++;
}

static int offer (zloop_t *loop, int timer, void *argument)
{
    (void)loop;
    (void)timer;
    honest_t *self = argument;
    Rota__StatusQuery query = ROTA__STATUS_QUERY__INIT;
    uint64_t due = (uint64_t)(rota_clock_monotonic_ms () - self->began_ms) * OFFERED_PER_S / 1000;
    for (; self->offered < due; self->offered++)
        if (rota_peer_request (self->clients[self->offered % CLIENTS], ROTA_MESSAGE_STATUS_QUERY, NULL,
                               &query.base, 20000, on_reply, NULL) < 0)
            self->failed++;
    look_at_broker (self);
    return 0;
}

static int end_loop (zloop_t *loop, int timer, void *argument)
{
    (void)loop;
    (void)timer;
    (void)argument;
    return -1;
}

static void run_loop (honest_t *self, size_t ms)
{
    int timer = zloop_timer (self->loop, ms, 1, end_loop, NULL);
    zloop_start (self->loop);
    zloop_timer_end (self->loop, timer);
}

/* Offers the load for a while, and counts what is answered in the window after a first second of it; with
 * `drain`, also what is answered only after the window. */
static uint64_t offer_for_a_window (honest_t *self, bool drain)
{
    self->offered = self->answered = self->failed = 0;
    self->largest_bytes = 0;
    self->restarts = 0;
    self->in_window = false;
    self->began_ms = rota_clock_monotonic_ms ();
    int timer = zloop_timer (self->loop, 5, 0, offer, self);
    run_loop (self, WARM_UP_MS);
    self->in_window = true;
    run_loop (self, WINDOW_MS);
    zloop_timer_end (self->loop, timer);
    if (drain)
        run_loop (self, DRAIN_MS);
    self->in_window = false;
    return self->answered;
}

static void wait_until_served (honest_t *self)
{
    int64_t end_ms = rota_clock_monotonic_ms () + READY_MS;
    uint64_t answered;
    do {
        run_loop (self, 200);
        answered = self->answered;
        self->in_window = true;
        Rota__StatusQuery query = ROTA__STATUS_QUERY__INIT;
        for (int i = 0; i < CLIENTS; i++)
            rota_peer_request (self->clients[i], ROTA_MESSAGE_STATUS_QUERY, NULL, &query.base, 5000, on_reply,
                               NULL);
        run_loop (self, 300);
    } while (self->answered < answered + CLIENTS && rota_clock_monotonic_ms () < end_ms);
    assert_true (self->answered >= answered + CLIENTS);
}

static void assert_honest_are_served (int kind, const char *name, unsigned long least_done, bool drain)
{
    wait_until_served (&honest);
    hostile_go (&hostiles[kind]);
    uint64_t answered = offer_for_a_window (&honest, drain);
    unsigned long done = hostile_end (&hostiles[kind]);
    print_message (
        "%-12s offered %llu answered %llu (quiet %llu) broker %lld MiB restarts %llu hostile did %lu\n", name,
        (unsigned long long)honest.offered, (unsigned long long)answered, (unsigned long long)quiet_answered,
        (long long)(honest.largest_bytes >> 20), (unsigned long long)honest.restarts, done);
    assert_true (done >= least_done);
    assert_true (answered * 100 >= quiet_answered * SHARE_PERCENT);
    assert_true (honest.largest_bytes <= MEMORY_LIMIT_BYTES + MEMORY_SLACK_BYTES);
}

/* ---- tests */

static void a_quiet_broker_answers_all (void **state)
{
    (void)state;
    wait_until_served (&honest);
    quiet_answered = offer_for_a_window (&honest, false);
    print_message ("%-12s offered %llu answered %llu broker %lld MiB\n", "quiet",
                   (unsigned long long)honest.offered, (unsigned long long)quiet_answered,
                   (long long)(honest.largest_bytes >> 20));
    assert_true (quiet_answered * 100 >= (uint64_t)OFFERED_PER_S * WINDOW_MS / 1000 * SHARE_PERCENT);
}

static void garbage_does_not_slow_the_others_down (void **state)
{
    (void)state;
    assert_honest_are_served (GARBAGE, "garbage", 10000, false);
    assert_int_equal (honest.restarts, 0);
}

static void a_flood_of_queries_does_not_slow_the_others_down (void **state)
{
    (void)state;
    assert_honest_are_served (FLOOD, "flood", 20000, false);
    assert_int_equal (honest.restarts, 0);
}

static void a_peer_that_never_reads_does_not_slow_the_others_down (void **state)
{
    (void)state;
    assert_honest_are_served (NEVER_READS, "never reads", 1500, false);
    assert_int_equal (honest.restarts, 0);
}

static void half_open_connections_do_not_slow_the_others_down (void **state)
{
    (void)state;
    assert_honest_are_served (HALF_OPEN, "half open", 256, false);
    assert_int_equal (honest.restarts, 0);
}

/* The one thing that the broker can't see coming: it ends at its memory limit and is started again, and the
 * honest repeat what was not answered. */
static void an_endless_message_costs_a_restart_and_no_answers (void **state)
{
    (void)state;
    assert_honest_are_served (ENDLESS, "endless", MEMORY_LIMIT_BYTES / 65536 / 2, true);
    assert_true (honest.restarts > 0);
}

/* ---- set-up: everything that is forked, is forked before there are threads */

static int set_up (void **state)
{
    (void)state;
    hostile_fn *const acts[HOSTILES] = {hostile_garbage, hostile_flood, hostile_never_reads,
                                        hostile_half_open, hostile_endless};
    char rundir[128];
    rota_error_t error;
    int tcp_port = free_port ();
    if (!mkdtemp (state_dir) || rota_rundir (state_dir, true, rundir, sizeof rundir, &error) < 0)
        return -1;
    rota_rundir_endpoints (rundir, &endpoints);
    for (int i = 0; i < HOSTILES; i++)
        hostile_prepare (&hostiles[i], acts[i], endpoints.client, tcp_port);
    keeper = keep_broker (tcp_port);

    rota_bus_start ();
    honest.loop = zloop_new ();
    for (int i = 0; i < CLIENTS; i++) {
        rota_peer_config_t config = {.endpoints = endpoints.client,
                                     .role = ROTA__ROLE__ROLE_ADMIN,
                                     .name = "honest",
                                     .owner = &honest};
        honest.clients[i] = rota_peer_new (&config, honest.loop, &error);
        if (!honest.clients[i])
            return -1;
    }
    return pthread_create (&scheduler, NULL, run_scheduler, zmq_ctx_new ());
}

static int remove_entry (const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove (path);
}

static int tear_down (void **state)
{
    (void)state;
    for (int i = 0; i < CLIENTS; i++)
        rota_peer_destroy (&honest.clients[i]);
    zloop_destroy (&honest.loop);
    atomic_store (&scheduler_stopping, true);
    pthread_join (scheduler, NULL);
    for (int i = 0; i < HOSTILES; i++)
        hostile_end (&hostiles[i]);
    kill (keeper, SIGKILL);
    waitpid (keeper, NULL, 0);
    nftw (state_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (a_quiet_broker_answers_all),
        cmocka_unit_test (garbage_does_not_slow_the_others_down),
        cmocka_unit_test (a_flood_of_queries_does_not_slow_the_others_down),
        cmocka_unit_test (a_peer_that_never_reads_does_not_slow_the_others_down),
        cmocka_unit_test (half_open_connections_do_not_slow_the_others_down),
        cmocka_unit_test (an_endless_message_costs_a_restart_and_no_answers),
    };
    rota_log_setup ("test", ROTA_LOG_ERROR, ROTA_LOG_LOGFMT);
    return cmocka_run_group_tests (tests, set_up, tear_down);
}
