/* broker.h - the broker as a service object: sockets, routing, presence, fan-out of events.
 *
 *     rota_broker_t *broker = rota_broker_new (&config, &error);
 *     rota_broker_run (broker);      until rota_broker_stop, from another thread or a signal handler
 *     rota_broker_destroy (&broker);
 *
 * Several may live in one process, each with its own ZeroMQ context. The broker stores nothing but its epoch:
 * a new one learns from its peers' HELLOs what the old one knew. Of several one leads and routes; the others
 * stand by and say NOT_LEADER (election.h).
 *
 * Owner: the thread that calls new, run and destroy; only stop may come from elsewhere.
 */
#ifndef ROTA_BROKER_H
#define ROTA_BROKER_H

#include "bus/error.h"
#include "bus/names.h"
#include "bus/ready.h"
#include "proto/rota.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rota_broker rota_broker_t;

/* A further endpoint. With keys (`role` UNSPECIFIED) the key says the role (remote.h). Without keys, who
 * comes by it gets `role`, or, where that is a person's, a lesser one. */
typedef struct {
    const char *endpoint; /* "tcp://127.0.0.1:7700"; "tcp://127.0.0.1:*" picks a port */
    Rota__Role role;      /* ROLE_BROKER stands for any service */
} rota_broker_endpoint_t;

/* Everything is copied. Zero means the default of limits.h. */
typedef struct {
    const char *state_dir; /* lock and epoch; the sockets are where rota_rundir says */
    const rota_broker_endpoint_t *endpoints;
    size_t endpoints_count;
    const char *keys_dir; /* the broker's key and what is granted to others; for endpoints with keys */
    bool insecure;        /* allows endpoints without keys, on loopback only */
    const char *program_version;
    int heartbeat_ms;
    int dead_after_ms;
    int64_t quota_messages; /* waiting requests of one client */
    int64_t quota_bytes;
    int64_t in_flight;          /* requests in the scheduler's hands */
    int64_t memory_limit_bytes; /* of the whole process */
    /* Where others reach the further endpoints, in their order, as far as it is not where they are bound. */
    const char *const *advertise;
    size_t advertise_count;
    bool stand_by;        /* wait while another broker of this host leads; else that is an error */
    int64_t take_over_ms; /* a leader of this host without progress for so long is ended; 0 = never */
    const struct rota_election_etcd *etcd; /* brokers on several hosts, by etcd; NULL: of this host */
    rota_ready_t *ready;                   /* not copied; NULL = nobody listens */
} rota_broker_config_t;

/* What it counted since it started. */
typedef struct {
    uint64_t routed;      /* forwarded to a peer */
    uint64_t answered;    /* by the broker itself */
    uint64_t refused;     /* typed errors sent */
    uint64_t malformed;   /* of them or without answer: not decodable */
    uint64_t muted;       /* dropped unseen */
    uint64_t undelivered; /* the addressee was gone, or doesn't read */
    uint64_t events;      /* forwarded to subscribers */
    uint64_t events_refused;
    uint64_t turned_away; /* connections whose key is not granted */
} rota_broker_counts_t;

/* Leads or stands by, and binds the sockets that are its own then. NULL with the reason in *error, and in
 * *ret_status: -EBUSY another broker serves the state directory; -EINVAL the configuration; else what the
 * kernel or ZeroMQ says. `ret_status` may be NULL. */
rota_broker_t *rota_broker_new (const rota_broker_config_t *config, int *ret_status, rota_error_t *error);
void rota_broker_destroy (rota_broker_t **self_p);

/* Serves until stopped. 0; -ENOMEM when the process has grown over its limit, against which only a new start
 * helps (a peer can make ZeroMQ keep an endless message that nobody ever sees); else the loop has failed. */
int rota_broker_run (rota_broker_t *self);

/* Makes run return, now or when it is called. Any thread, also a signal handler. */
void rota_broker_stop (rota_broker_t *self);

/* The address that further endpoint `index` is bound to; valid as long as the broker. */
const char *rota_broker_endpoint (const rota_broker_t *self, size_t index);
const char *rota_broker_rundir (const rota_broker_t *self);
const uint8_t *rota_broker_instance (const rota_broker_t *self); /* 16 bytes */
uint64_t rota_broker_epoch (const rota_broker_t *self);

/* After run has returned, or from its own thread. */
void rota_broker_counts (const rota_broker_t *self, rota_broker_counts_t *ret_counts);

#endif
