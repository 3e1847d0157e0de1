/* election.h - which broker leads, and under which epoch: one interface for all ways to agree on it.
 *
 * `local` (election_local.c): several brokers of one host over one state directory; the role's lock there
 * decides, a synced counter beside it gives the epoch. `etcd` (election_etcd.c): brokers on several hosts.
 *
 * Owner: the broker's thread. Invariant: epochs of one cluster only rise, and no two leaders ever have the
 * same one.
 */
#ifndef ROTA_BROKER_ELECTION_H
#define ROTA_BROKER_ELECTION_H

#include "bus/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROTA_ELECTION_ADDRESS_MAX_BYTES 1024

typedef struct rota_election rota_election_t;

typedef struct {
    bool leads;
    uint64_t cluster; /* what epochs count in; 0 = this state directory */
    uint64_t epoch;
    int64_t until_ms; /* CLOCK_BOOTTIME: from then on it must not act as the leader, unless a later step says
                         so */
    char leader[ROTA_ELECTION_ADDRESS_MAX_BYTES]; /* address (see below) of the other one that leads; "" =
                                                     unknown */
} rota_election_state_t;

typedef struct {
    const char *name;
    /* The sockets of the state directory belong to the role: they are bound by the one that leads, whoever it
     * is. Otherwise each broker has a state directory of its own. */
    bool shares_directory;
    /* What holds at `boot_ms` (CLOCK_BOOTTIME). *ret_state is changed where something has changed.
     * *ret_again_ms: when to ask again (CLOCK_BOOTTIME) if the descriptor doesn't say so before. 0, or
     * negative: leadership can't be decided any more and the broker must end. Cheap; never waits. */
    int (*step) (void *self, int64_t boot_ms, rota_election_state_t *ret_state, int64_t *ret_again_ms,
                 rota_error_t *error);
    /* Readable when a step is due; -1 = none now. May be another after a step. */
    int (*descriptor) (const void *self);
    /* A sentence for the log about what has happened, or NULL. */
    const char *(*news) (void *self);
    /* Gives leadership up and frees all. */
    void (*destroy) (void *self);
} rota_election_ops_t;

/* What every implementation begins with. */
struct rota_election {
    const rota_election_ops_t *ops;
};

int rota_election_step (rota_election_t *self, int64_t boot_ms, rota_election_state_t *ret_state,
                        int64_t *ret_again_ms, rota_error_t *error);
int rota_election_descriptor (const rota_election_t *self);
const char *rota_election_news (rota_election_t *self);
void rota_election_destroy (rota_election_t **self_p);

typedef struct {
    const char *state_dir;
    /* Where this broker can be reached, for others to pass on: one line, see lead.c. Copied. */
    const char *address;
    bool stand_by;         /* wait while another leads; else that is an error */
    int64_t dead_after_ms; /* local: a leader without progress for so long is ended; 0 = never */
} rota_election_local_t;

/* Opens the lock `state_dir`/broker.lock. Who takes it raises the epoch in `state_dir`/broker.epoch (synced
 * before it leads) and leads until destroyed. 0 and *ret_election; -EBUSY without `stand_by`: another broker
 * has the lock, the text says which; -EUCLEAN: the epoch's file doesn't hold a number; else what open, write
 * and fsync say. */
__attribute__ ((warn_unused_result)) int rota_election_local_new (const rota_election_local_t *config,
                                                                  rota_election_t **ret_election,
                                                                  rota_error_t *error);

typedef struct rota_election_etcd {
    const char *state_dir; /* of this broker alone; another one in it is -EBUSY */
    const char *address;
    const char *const *endpoints; /* "http://127.0.0.1:2379"; copied */
    size_t endpoints_count;
    const char *prefix;                         /* of its keys */
    const char *user, *password_file;           /* "" = none */
    const char *ca_file, *cert_file, *key_file; /* for https; "" = the system's, none, none */
    int64_t ttl_ms;                             /* of the lease */
} rota_election_etcd_t;

/* Never leads at once: it asks etcd in a thread of its own, which touches nothing of the broker's. 0; -EBUSY;
 * -EINVAL an endpoint or file that can't be used; -ENOMEM... */
__attribute__ ((warn_unused_result)) int rota_election_etcd_new (const rota_election_etcd_t *config,
                                                                 rota_election_t **ret_election,
                                                                 rota_error_t *error);

#endif
