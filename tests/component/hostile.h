/* hostile.h - peers that mean harm, each in a process of its own.
 *
 * They are forked while the test has no threads yet, wait for a word, do what they do until they are killed,
 * and count in shared memory what they managed to.
 */
#ifndef ROTA_TESTS_HOSTILE_H
#define ROTA_TESTS_HOSTILE_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct {
    const char *client_endpoint; /* ipc */
    int tcp_port;                /* of a further endpoint on loopback */
    const uint8_t *broker_key;   /* its public key, where it has one */
    atomic_ulong *done;          /* messages, or connections; in shared memory */
} hostile_target_t;

typedef void hostile_fn (const hostile_target_t *target);

hostile_fn hostile_garbage;     /* frames of random bytes */
hostile_fn hostile_flood;       /* valid queries, more than anybody can answer */
hostile_fn hostile_never_reads; /* asks for much and takes nothing */
hostile_fn hostile_half_open;   /* 256 connections that say nothing, or half a greeting */
hostile_fn hostile_endless;     /* one message of frames without end */

/* Against an endpoint with keys. */
hostile_fn hostile_crowd;     /* 10 000 connections that say nothing, or half a greeting */
hostile_fn hostile_scanner;   /* bytes of other protocols, on all three ports */
hostile_fn hostile_keyless;   /* greetings for both mechanisms, and frames without end after them */
hostile_fn hostile_strangers; /* whole handshakes with keys that nothing is granted to */

typedef struct {
    pid_t pid;
    int go_fd;
    atomic_ulong *done;
} hostile_t;

/* Forks it, waiting. */
void hostile_prepare (hostile_t *self, hostile_fn *act, const char *client_endpoint, int tcp_port,
                      const uint8_t *broker_key);
void hostile_go (hostile_t *self);
/* Kills it, whether it was let go or not. Returns what it has done. */
unsigned long hostile_end (hostile_t *self);

#endif
