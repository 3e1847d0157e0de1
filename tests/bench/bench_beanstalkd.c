/* bench_beanstalkd - the yardstick: beanstalkd with its log synced at each write, driven as bench_flow drives
 * rota.
 *
 *     bench_beanstalkd throughput|idle [N]
 *
 * Throughput: a producer and a worker, each with WINDOW commands under way. Idle: put, reserve, delete, one
 * job at a time, timed from the put to the answer of the delete. Prints one JSON object; exit 77 when
 * beanstalkd is not installed.
 */
#include "tests/bench/stack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WINDOW 256
#define BODY "make -C modules step && ./check --all --quietly, step of a plan that is worked to its end"

extern char **environ;

typedef struct {
    int fd;
    char buffer[65536];
    size_t length;
} connection_t;

static pid_t server_pid; /* ended with us */

static void die (const char *what)
{
    fprintf (stderr, "bench_beanstalkd: %s: %s\n", what, strerror (errno));
    if (server_pid)
        kill (server_pid, SIGKILL);
    exit (1);
}

static int free_port (void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind (fd, (struct sockaddr *)&address, size) < 0 ||
        getsockname (fd, (struct sockaddr *)&address, &size) < 0)
        die ("port");
    close (fd);
    return ntohs (address.sin_port);
}

static void open_connection (connection_t *self, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl (INADDR_LOOPBACK),
                                  .sin_port = htons ((uint16_t)port)};
    int one = 1;
    struct timespec pause = {.tv_nsec = 10000000};
    self->length = 0;
    for (int i = 0; i < 500; i++) {
        self->fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect (self->fd, (struct sockaddr *)&address, sizeof address) == 0) {
            setsockopt (self->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            return;
        }
        close (self->fd);
        nanosleep (&pause, NULL);
    }
    die ("connect");
}

static void say (const connection_t *self, const char *text, size_t length)
{
    while (length) {
        ssize_t sent = write (self->fd, text, length);
        if (sent < 0)
            die ("write");
        text += sent;
        length -= (size_t)sent;
    }
}

/* One line, without its end; with `wait` false NULL when none is there yet. */
static char *hear (connection_t *self, char line[256], int wait)
{
    for (;;) {
        char *end = memchr (self->buffer, '\n', self->length);
        if (end) {
            size_t length = (size_t)(end - self->buffer) + 1;
            snprintf (line, 256, "%.*s", (int)(length < 250 ? length - 2 : 248), self->buffer);
            memmove (self->buffer, self->buffer + length, self->length - length);
            self->length -= length;
            return line;
        }
        struct pollfd poller = {.fd = self->fd, .events = POLLIN};
        if (poll (&poller, 1, wait ? 10000 : 0) <= 0) {
            if (wait)
                die ("no answer");
            return NULL;
        }
        ssize_t got = read (self->fd, self->buffer + self->length, sizeof self->buffer - self->length);
        if (got <= 0)
            die ("read");
        self->length += (size_t)got;
    }
}

static void put (const connection_t *self)
{
    char text[512];
    int length = snprintf (text, sizeof text, "put 1 0 60 %zu\r\n%s\r\n", strlen (BODY), BODY);
    say (self, text, (size_t)length);
}

static void delete_job (const connection_t *self, const char *reserved)
{
    char text[64];
    int length = snprintf (text, sizeof text, "delete %llu\r\n", strtoull (reserved + 9, NULL, 10));
    say (self, text, (size_t)length);
}

static void run_throughput (connection_t *producer, connection_t *worker, size_t count)
{
    size_t sent = 0, stored = 0, asked = 0, done = 0;
    char line[256];
    double begun_ms = bench_now_ms ();
    while (done < count) {
        while (sent < count && sent - stored < WINDOW) {
            put (producer);
            sent++;
        }
        while (asked < count && asked - done < WINDOW) {
            say (worker, "reserve\r\n", 9);
            asked++;
        }
        struct pollfd pollers[] = {{.fd = producer->fd, .events = POLLIN},
                                   {.fd = worker->fd, .events = POLLIN}};
        if (poll (pollers, 2, 10000) <= 0)
            die ("stalled");
        if (pollers[0].revents)
            while (hear (producer, line, 0))
                stored++;
        if (pollers[1].revents)
            while (hear (worker, line, 0)) {
                if (strncmp (line, "RESERVED", 8) == 0)
                    delete_job (worker, line);
                done += strncmp (line, "DELETED", 7) == 0;
            }
    }
    double took_s = (bench_now_ms () - begun_ms) / 1e3;
    printf (
        "{\"bench\": \"beanstalkd-throughput\", \"tasks\": %zu, \"seconds\": %.3f, \"tasks_per_s\": %.0f}\n",
        count, took_s, (double)count / took_s);
}

static void run_idle (connection_t *producer, connection_t *worker, size_t count)
{
    double *took = calloc (count + 1, sizeof (double));
    struct timespec pause = {.tv_nsec = 5000000};
    char line[256];
    for (size_t i = 0; i < count; i++) {
        say (worker, "reserve\r\n", 9);
        nanosleep (&pause, NULL);
        double begun_ms = bench_now_ms ();
        put (producer);
        hear (producer, line, 1);
        hear (worker, line, 1);
        delete_job (worker, line);
        hear (worker, line, 1); /* the body */
        hear (worker, line, 1);
        took[i] = bench_now_ms () - begun_ms;
    }
    bench_sort (took, count);
    printf (
        "{\"bench\": \"beanstalkd-idle\", \"tasks\": %zu, \"done_p50_ms\": %.3f, \"done_p99_ms\": %.3f}\n",
        count, took[count / 2], took[count * 99 / 100]);
    free (took);
}

int main (int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "throughput";
    size_t count = argc > 2 ? strtoull (argv[2], NULL, 10) : 10000;
    char directory[BENCH_PATH_BYTES], port[16];
    int number = free_port ();
    connection_t *producer = calloc (1, sizeof *producer), *worker = calloc (1, sizeof *worker);
    if (!producer || !worker)
        die ("memory");
    bench_make_directory (directory);
    snprintf (port, sizeof port, "%d", number);
    char *const server[] = {(char *)(uintptr_t) "beanstalkd",
                            (char *)(uintptr_t) "-l",
                            (char *)(uintptr_t) "127.0.0.1",
                            (char *)(uintptr_t) "-p",
                            port,
                            (char *)(uintptr_t) "-b",
                            directory,
                            (char *)(uintptr_t) "-f0",
                            NULL};
    if (posix_spawnp (&server_pid, "beanstalkd", NULL, NULL, server, environ)) {
        bench_remove_directory (directory);
        fputs ("beanstalkd is not installed\n", stderr);
        return 77;
    }
    open_connection (producer, number);
    open_connection (worker, number);
    if (strcmp (what, "idle") == 0)
        run_idle (producer, worker, count);
    else
        run_throughput (producer, worker, count);
    kill (server_pid, SIGTERM);
    waitpid (server_pid, NULL, 0);
    bench_remove_directory (directory);
    free (producer);
    free (worker);
    return 0;
}
