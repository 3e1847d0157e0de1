/* honest.c - the honest peers of the hostile tests, their scheduler and their broker. */
#include "tests/component/honest.h"
#include "broker/broker.h"
#include "bus/clock.h"
#include "bus/log.h"
#include "bus/rundir.h"
#include "bus/start.h"
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
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define CLIENTS HONEST_CLIENTS
#define OFFERED_PER_S 500
#define WARM_UP_MS 1000
#define WINDOW_MS 4000
#define DRAIN_MS 4000
#define READY_MS 30000
#define SCHEDULER_PER_MS 4 /* queries it can answer */
/* Nine tenths; sanitizers make each message several times as dear, on two processors that the hostile peer
 * uses too. */
#ifdef __SANITIZE_ADDRESS__
#define SHARE_PERCENT 60
#else
#define SHARE_PERCENT 90
#endif

/* What an attack at 200 MB/s adds between two looks at the memory, with room for a busy machine. */
#define MEMORY_SLACK_BYTES (256LL << 20)

static char state_dir[] = "/tmp/rota-test-XXXXXX";
static rota_rundir_endpoints_t endpoints;
static pid_t keeper;
static hostile_t hostiles[HONEST_HOSTILES_MAX];
static size_t hostile_count;
static char keys_dir[80];
static rota_curve_t honest_key; /* of half of the clients, where there are keys */
static bool with_keys;
static atomic_bool scheduler_stopping;
static pthread_t scheduler;
honest_t honest;
static uint64_t quiet_answered;

/* ---- broker */

static bool is_free (int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons ((uint16_t)port),
                                  .sin_addr.s_addr = htonl (INADDR_LOOPBACK)};
    int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_free = bind (fd, (struct sockaddr *)&address, sizeof address) == 0;
    close (fd);
    return is_free;
}

/* Of three in a row, below those that the kernel gives to whoever connects. */
static int free_port (void)
{
    int port = 12000 + getpid () * 3 % 15000;
    while (!is_free (port) || !is_free (port + 1) || !is_free (port + 2))
        port += 3;
    return port;
}

static void raise_descriptor_limit (void)
{
    struct rlimit limit;
    if (getrlimit (RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit (RLIMIT_NOFILE, &limit);
    }
}

static void serve (int tcp_port)
{
    char tcp[64];
    rota_error_t error;
    rota_broker_endpoint_t endpoint = {
        .endpoint = tcp, .role = with_keys ? ROTA__ROLE__ROLE_UNSPECIFIED : ROTA__ROLE__ROLE_ADMIN};
    rota_broker_config_t config = {.state_dir = state_dir,
                                   .endpoints = &endpoint,
                                   .endpoints_count = 1,
                                   .insecure = !with_keys,
                                   .keys_dir = keys_dir,
                                   .memory_limit_bytes = HONEST_MEMORY_LIMIT_BYTES};
    snprintf (tcp, sizeof tcp, "tcp://127.0.0.1:%d", tcp_port);
    raise_descriptor_limit ();
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

void honest_assert_served (size_t kind, const char *name, unsigned long least_done, bool drain)
{
    wait_until_served (&honest);
    hostile_go (&hostiles[kind]);
    uint64_t answered = offer_for_a_window (&honest, drain);
    unsigned long done = hostile_end (&hostiles[kind]);
    look_at_broker (&honest); /* it may have been started again since the last offer */
    print_message (
        "%-12s offered %llu answered %llu (quiet %llu) broker %lld MiB restarts %llu hostile did %lu\n", name,
        (unsigned long long)honest.offered, (unsigned long long)answered, (unsigned long long)quiet_answered,
        (long long)(honest.largest_bytes >> 20), (unsigned long long)honest.restarts, done);
    assert_true (done >= least_done);
    assert_true (answered * 100 >= quiet_answered * SHARE_PERCENT);
    assert_true (honest.largest_bytes <= HONEST_MEMORY_LIMIT_BYTES + MEMORY_SLACK_BYTES);
}

void honest_assert_quiet (void)
{
    wait_until_served (&honest);
    quiet_answered = offer_for_a_window (&honest, false);
    print_message ("%-12s offered %llu answered %llu broker %lld MiB\n", "quiet",
                   (unsigned long long)honest.offered, (unsigned long long)quiet_answered,
                   (long long)(honest.largest_bytes >> 20));
    assert_true (quiet_answered * 100 >= (uint64_t)OFFERED_PER_S * WINDOW_MS / 1000 * SHARE_PERCENT);
}

/* ---- set-up: everything that is forked, is forked before there are threads */

/* The broker's key, and one for the honest. */
static int make_keys (void)
{
    char path[128];
    rota_key_pair_t broker;
    rota_grant_t grant = {.name = "honest", .roles = 1u << ROTA__ROLE__ROLE_OPERATE};
    rota_key_pair_new ("broker", &broker);
    rota_key_pair_new ("honest", &honest_key.key);
    memcpy (grant.public_key, honest_key.key.public_key, ROTA_KEY_BYTES);
    memcpy (honest_key.broker_key, broker.public_key, ROTA_KEY_BYTES);
    honest_key.has_key = honest_key.has_broker_key = true;
    if (rota_keys_directory ("", state_dir, true, keys_dir, sizeof keys_dir, NULL) < 0)
        return -1;
    snprintf (path, sizeof path, "%s/broker.key", keys_dir);
    return rota_key_pair_write (path, &broker, false, NULL) < 0 ||
                   rota_grant_write (keys_dir, &grant, false, NULL) < 0
               ? -1
               : 0;
}

int honest_set_up (hostile_fn *const *acts, size_t count, bool keys)
{
    char rundir[128], tcp[64];
    rota_error_t error;
    int tcp_port = free_port ();
    if (!mkdtemp (state_dir) || rota_rundir (state_dir, true, rundir, sizeof rundir, &error) < 0)
        return -1;
    rota_rundir_endpoints (rundir, &endpoints);
    with_keys = keys;
    hostile_count = count;
    if (keys && make_keys () < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        hostile_prepare (&hostiles[i], acts[i], endpoints.client, tcp_port, honest_key.broker_key);
    keeper = keep_broker (tcp_port);

    snprintf (tcp, sizeof tcp, "tcp://127.0.0.1:%d", tcp_port);
    rota_bus_start ();
    honest.loop = zloop_new ();
    for (int i = 0; i < CLIENTS; i++) {
        bool remote = keys && i % 2;
        rota_peer_config_t config = {.endpoints = remote ? tcp : endpoints.client,
                                     .role = ROTA__ROLE__ROLE_OPERATE,
                                     .curve = honest_key,
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

int honest_tear_down (void **state)
{
    (void)state;
    for (int i = 0; i < CLIENTS; i++)
        rota_peer_destroy (&honest.clients[i]);
    zloop_destroy (&honest.loop);
    atomic_store (&scheduler_stopping, true);
    pthread_join (scheduler, NULL);
    for (size_t i = 0; i < hostile_count; i++)
        hostile_end (&hostiles[i]);
    kill (keeper, SIGKILL);
    waitpid (keeper, NULL, 0);
    nftw (state_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
