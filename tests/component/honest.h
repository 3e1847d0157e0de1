/* honest.h - honest clients of a broker, and how many of their requests are answered while somebody means
 * harm.
 *
 * They offer a fixed load to a scheduler that can do a few times as much. Their answered requests are counted
 * over a window without and with each kind of hostile peer; counts are compared, never times. Broker, hostile
 * peers and honest ones are separate processes; the broker is started again when it ends, as a supervisor
 * would. For cmocka: failures end the test.
 */
#ifndef ROTA_TESTS_HONEST_H
#define ROTA_TESTS_HONEST_H

#include "bus/peer.h"
#include "tests/component/hostile.h"

#include <czmq.h>

#define HONEST_CLIENTS 4
#define HONEST_HOSTILES_MAX 8

/* Sanitizers keep freed memory for a while and shadow the rest. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(IS_SANITIZED)
#define HONEST_MEMORY_LIMIT_BYTES (1024LL << 20)
#else
#define HONEST_MEMORY_LIMIT_BYTES (256LL << 20)
#endif
typedef struct {
    zloop_t *loop;
    rota_peer_t *clients[HONEST_CLIENTS];
    uint64_t offered, answered, failed;
    bool in_window;
    int64_t began_ms;
    int64_t largest_bytes; /* the broker's memory */
    uint64_t restarts;
    long broker_pid;
} honest_t;

extern honest_t honest;

/* Starts all, the hostile ones waiting: everything that is forked, is forked before there are threads. With
 * `keys` the broker's tcp endpoint has keys, and half of the honest come by it. 0 or -1. */
int honest_set_up (hostile_fn *const *acts, size_t count, bool keys);
int honest_tear_down (void **state);

/* What is answered without any harm, against which the rest is measured. */
void honest_assert_quiet (void);
/* Lets hostile peer `kind` do its worst. With `drain`, what is answered only after the window counts, too. */
void honest_assert_served (size_t kind, const char *name, unsigned long least_done, bool drain);

#endif
