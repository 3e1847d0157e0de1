#include "tests/component/hostile.h"
#include "bus/clock.h"
#include "tests/support/rawpeer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Enough to hurt, not enough to starve a machine of two cores by itself. */
#define GARBAGE_MESSAGES 3000000
#define FLOOD_AHEAD 20000
#define HUNGRY_PER_S 1000
#define HUNGRY_REPLY_BYTES (128 * 1024) /* more than the queue of a connection may hold of them */
#define HALF_OPEN_CONNECTIONS 256
#define ENDLESS_FRAME_BYTES 65536
#define ENDLESS_BYTES_PER_MS (200LL * 1024)

/* ---- processes */

void hostile_prepare (hostile_t *self, hostile_fn *act, const char *client_endpoint, int tcp_port,
                      const uint8_t *broker_key)
{
    int go[2];
    char byte;
    self->done = mmap (NULL, sizeof *self->done, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (self->done == MAP_FAILED || pipe2 (go, O_CLOEXEC) < 0)
        abort ();
    self->pid = fork ();
    if (self->pid == 0) {
        prctl (PR_SET_PDEATHSIG, SIGKILL);
        setpriority (PRIO_PROCESS, 0, 10);
        close (go[1]);
        hostile_target_t target = {client_endpoint, tcp_port, broker_key, self->done};
        if (read (go[0], &byte, 1) == 1)
            act (&target);
        _exit (0);
    }
    close (go[0]);
    self->go_fd = go[1];
}

void hostile_go (hostile_t *self)
{
    if (write (self->go_fd, "g", 1) != 1)
        abort ();
}

unsigned long hostile_end (hostile_t *self)
{
    if (self->pid <= 0)
        return 0;
    kill (self->pid, SIGKILL);
    waitpid (self->pid, NULL, 0);
    close (self->go_fd);
    unsigned long done = atomic_load (self->done);
    munmap (self->done, sizeof *self->done);
    self->pid = 0;
    return done;
}

/* ---- with ZeroMQ */

/* Queues of its own are bounded: it is the broker that shall be hurt. */
static void open_bounded (rawpeer_t *peer, const hostile_target_t *target)
{
    int queue = 1000;
    rawpeer_open (peer, zmq_ctx_new (), target->client_endpoint);
    zmq_disconnect (peer->socket, target->client_endpoint);
    zmq_setsockopt (peer->socket, ZMQ_SNDHWM, &queue, sizeof queue);
    zmq_setsockopt (peer->socket, ZMQ_RCVHWM, &queue, sizeof queue);
    zmq_connect (peer->socket, target->client_endpoint);
}

static void query (rawpeer_t *peer, uint64_t reply_bytes)
{
    Rota__StatusQuery body = ROTA__STATUS_QUERY__INIT;
    body.has_version = true;
    body.version = reply_bytes;
    rawpeer_send (peer, ROTA_MESSAGE_STATUS_QUERY, NULL, &body.base);
}

void hostile_garbage (const hostile_target_t *target)
{
    rawpeer_t peer;
    uint8_t bytes[256];
    uint32_t random = 12345;
    open_bounded (&peer, target);
    for (long i = 0; i < GARBAGE_MESSAGES; i++) {
        for (size_t k = 0; k < sizeof bytes; k += 16)
            bytes[k] = (uint8_t)((random = random * 1664525 + 1013904223) >> 24);
        for (uint32_t frame = random >> 30; frame > 0; frame--)
            zmq_send (peer.socket, bytes, (random >> 8) % sizeof bytes, ZMQ_SNDMORE);
        zmq_send (peer.socket, bytes, random % sizeof bytes, 0);
        atomic_fetch_add (target->done, 1);
    }
    pause ();
}

void hostile_flood (const hostile_target_t *target)
{
    rawpeer_t peer;
    uint64_t received = 0;
    open_bounded (&peer, target);
    rawpeer_send_hello (&peer, ROTA__ROLE__ROLE_ADMIN, "flood");
    for (;;) {
        while (rawpeer_receive (&peer, peer.sequence - received < FLOOD_AHEAD ? 0 : 1))
            received++;
        for (int i = 0; i < 64; i++)
            query (&peer, 0);
        atomic_fetch_add (target->done, 64);
    }
}

void hostile_never_reads (const hostile_target_t *target)
{
    rawpeer_t peer;
    open_bounded (&peer, target);
    rawpeer_send_hello (&peer, ROTA__ROLE__ROLE_ADMIN, "hungry");
    for (;;) {
        for (int i = 0; i < HUNGRY_PER_S / 1000; i++)
            query (&peer, HUNGRY_REPLY_BYTES);
        atomic_fetch_add (target->done, HUNGRY_PER_S / 1000);
        usleep (1000);
    }
}

/* ---- without it */

static int connect_unix (const char *endpoint)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf (address.sun_path, sizeof address.sun_path, "%s", endpoint + strlen ("ipc://"));
    int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect (fd, (struct sockaddr *)&address, sizeof address) < 0) {
        close (fd);
        return -1;
    }
    return fd;
}

static int connect_tcp (int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons ((uint16_t)port),
                                  .sin_addr.s_addr = htonl (INADDR_LOOPBACK)};
    int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect (fd, (struct sockaddr *)&address, sizeof address) < 0) {
        close (fd);
        return -1;
    }
    return fd;
}

/* The first bytes of ZMTP's greeting. */
static const uint8_t SIGNATURE[] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f};

void hostile_half_open (const hostile_target_t *target)
{
    int fds[HALF_OPEN_CONNECTIONS];
    memset (fds, -1, sizeof fds);
    for (;; usleep (10000)) {
        for (int i = 0; i < HALF_OPEN_CONNECTIONS; i++) {
            char byte;
            /* The broker closes them in the end; then they come again. */
            if (fds[i] >= 0 && (recv (fds[i], &byte, 1, MSG_DONTWAIT | MSG_PEEK) > 0 || errno == EAGAIN))
                continue;
            if (fds[i] >= 0)
                close (fds[i]);
            fds[i] = i % 2 ? connect_tcp (target->tcp_port) : connect_unix (target->client_endpoint);
            if (fds[i] < 0)
                continue;
            if (i % 4 >= 2)
                send (fds[i], SIGNATURE, 1 + (size_t)i % sizeof SIGNATURE, MSG_NOSIGNAL);
            atomic_fetch_add (target->done, 1);
        }
    }
}

/* ZMTP 3.0's greeting and handshake without security, as a DEALER says it. */
static int greet (int fd)
{
    static const uint8_t READY[] = "\x04\x29\x05READY\x0bSocket-Type\x00\x00\x00\x06"
                                   "DEALER\x08Identity\x00\x00\x00\x00";
    uint8_t greeting[64] = {0}, answer[64];
    memcpy (greeting, SIGNATURE, sizeof SIGNATURE);
    greeting[10] = 3;
    memcpy (greeting + 12, "NULL", 4);
    if (send (fd, greeting, sizeof greeting, MSG_NOSIGNAL) < 0 ||
        recv (fd, answer, sizeof answer, MSG_WAITALL) != sizeof answer)
        return -1;
    return send (fd, READY, sizeof READY - 1, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static int send_all (int fd, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send (fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return -1;
        bytes += sent;
        size -= (size_t)sent;
    }
    return 0;
}

/* Frames with "more" set, at a bounded rate, until the broker hangs up; then again. */
void hostile_endless (const hostile_target_t *target)
{
    static uint8_t frame[9 + ENDLESS_FRAME_BYTES] = {0x03, 0, 0, 0, 0, 0, 1, 0, 0};
    for (;; usleep (1000)) {
        int fd = connect_unix (target->client_endpoint);
        if (fd < 0)
            continue;
        int64_t began_ms = rota_clock_monotonic_ms (), sent_bytes = 0;
        bool connected = greet (fd) == 0;
        while (connected) {
            connected = send_all (fd, frame, sizeof frame) == 0;
            sent_bytes += ENDLESS_FRAME_BYTES;
            atomic_fetch_add (target->done, 1);
            while (sent_bytes > (rota_clock_monotonic_ms () - began_ms) * ENDLESS_BYTES_PER_MS)
                usleep (500);
        }
        close (fd);
    }
}

/* ---- against keys */

#define CROWD 10000

static void raise_descriptor_limit (void)
{
    struct rlimit limit;
    if (getrlimit (RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit (RLIMIT_NOFILE, &limit);
    }
}

/* Does not wait: with a full backlog connecting would. */
static int begin_connect_tcp (int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons ((uint16_t)port),
                                  .sin_addr.s_addr = htonl (INADDR_LOOPBACK)};
    int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connect (fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) {
        close (fd);
        return -1;
    }
    return fd;
}

void hostile_crowd (const hostile_target_t *target)
{
    static int fds[CROWD];
    raise_descriptor_limit ();
    memset (fds, -1, sizeof fds);
    for (;; usleep (10000)) {
        for (int i = 0; i < CROWD; i++) {
            char byte;
            if (fds[i] >= 0 && (recv (fds[i], &byte, 1, MSG_DONTWAIT) > 0 || errno == EAGAIN))
                continue;
            if (fds[i] >= 0)
                close (fds[i]);
            fds[i] = begin_connect_tcp (target->tcp_port + i % 3);
            if (fds[i] < 0)
                continue;
            if (i % 4 >= 2)
                send (fds[i], SIGNATURE, 1 + (size_t)i % sizeof SIGNATURE, MSG_NOSIGNAL | MSG_DONTWAIT);
            atomic_fetch_add (target->done, 1);
        }
    }
}

void hostile_scanner (const hostile_target_t *target)
{
    static const char *const WORDS[] = {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "SSH-2.0-scan\r\n",
                                        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\r\n\r\n",
                                        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x03"};
    char filling[4096];
    memset (filling, 'x', sizeof filling);
    for (unsigned i = 0;; i++) {
        int fd = connect_tcp (target->tcp_port + (int)(i % 3));
        const char *words = WORDS[i % (sizeof WORDS / sizeof *WORDS)];
        if (fd < 0)
            continue;
        send (fd, words, strlen (words), MSG_NOSIGNAL);
        send (fd, filling, sizeof filling, MSG_NOSIGNAL);
        close (fd);
        atomic_fetch_add (target->done, 1);
        usleep (500);
    }
}

/* A mechanism's greeting, and what would be a READY or a HELLO of endless parts. */
void hostile_keyless (const hostile_target_t *target)
{
    static uint8_t frame[9 + ENDLESS_FRAME_BYTES] = {0x03, 0, 0, 0, 0, 0, 1, 0, 0};
    for (unsigned i = 0;; i++, usleep (1000)) {
        uint8_t greeting[64] = {0};
        int fd = connect_tcp (target->tcp_port);
        if (fd < 0)
            continue;
        memcpy (greeting, SIGNATURE, sizeof SIGNATURE);
        greeting[10] = 3;
        memcpy (greeting + 12, i % 2 ? "CURVE" : "NULL", i % 2 ? 5 : 4);
        frame[0] = i % 4 < 2 ? 0x03 : 0x06; /* a long frame with more to come, or a long command */
        bool connected = send_all (fd, greeting, sizeof greeting) == 0;
        for (int k = 0; connected && k < 1000; k++) {
            connected = send_all (fd, frame, sizeof frame) == 0;
            atomic_fetch_add (target->done, 1);
        }
        close (fd);
    }
}

void hostile_strangers (const hostile_target_t *target)
{
    char endpoint[64];
    void *context = zmq_ctx_new ();
    for (unsigned i = 0;; i++) {
        void *sockets[16];
        for (size_t k = 0; k < sizeof sockets / sizeof *sockets; k++) {
            int linger_ms = 0;
            rota_curve_t curve = {.has_key = true, .has_broker_key = true};
            rota_key_pair_new ("stranger", &curve.key);
            memcpy (curve.broker_key, target->broker_key, ROTA_KEY_BYTES);
            snprintf (endpoint, sizeof endpoint, "tcp://127.0.0.1:%d", target->tcp_port + (int)(k % 3));
            sockets[k] = zmq_socket (context, k % 3 == 0 ? ZMQ_DEALER : k % 3 == 1 ? ZMQ_SUB : ZMQ_PUB);
            zmq_setsockopt (sockets[k], ZMQ_LINGER, &linger_ms, sizeof linger_ms);
            if (rota_curve_use (&curve, sockets[k], endpoint, NULL) == 0)
                zmq_connect (sockets[k], endpoint);
            atomic_fetch_add (target->done, 1);
        }
        usleep (50000);
        for (size_t k = 0; k < sizeof sockets / sizeof *sockets; k++)
            zmq_close (sockets[k]);
    }
}
