/* quota.h - how much of the scheduler's time each client gets, and who must wait.
 *
 * A request of a client passes two token buckets of its own, then either goes to the scheduler at once or
 * waits: the scheduler has a bounded number of requests in hand, and when one is answered the next comes from
 * the clients that wait, by turns, one each. So a client that floods waits behind itself, and one that asks
 * once waits behind as many requests as there are other clients. A client whose part of the waiting room is
 * full gets RETRY_LATER.
 *
 * Pure bookkeeping: the time is passed in, the items are the caller's. Owner: the broker's thread.
 * Invariant: in_flight and waiting are the sums of the clients' own figures.
 */
#ifndef ROTA_BROKER_QUOTA_H
#define ROTA_BROKER_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- token bucket */

typedef struct {
    int64_t per_s;
    int64_t burst; /* the largest amount that can ever be taken at once */
} rota_bucket_limit_t;

/* Starts full when zeroed. */
typedef struct {
    int64_t missing; /* thousandths of what it lacks to be full */
    int64_t at_ms;
} rota_bucket_t;

/* Takes `amount`. 0, or, when that much isn't there, nothing is taken and the result is the number of
 * milliseconds after which it will be (at least 1). */
int64_t rota_bucket_take (rota_bucket_t *self, const rota_bucket_limit_t *limit, int64_t amount,
                          int64_t now_ms);

/* ---- the way to the scheduler */

typedef struct {
    rota_bucket_limit_t messages, bytes; /* each client's */
    int64_t waiting_messages;            /* each client's */
    int64_t waiting_bytes;               /* each client's */
    int64_t total_waiting_bytes;
    int64_t in_flight; /* all clients' */
    int64_t in_flight_bytes;
    int64_t in_flight_age_ms;
    uint32_t retry_after_ms;
} rota_quota_limits_t;

typedef struct rota_quota rota_quota_t;
typedef struct rota_quota_item rota_quota_item_t;

/* A client's part; zeroed before the first use, plain memory until something waits. */
typedef struct rota_quota_client {
    rota_bucket_t messages, bytes;
    int64_t in_flight[2]; /* sent in this age, in the one before */
    int64_t in_flight_bytes;
    rota_quota_item_t *first, *last; /* waiting */
    int64_t waiting, waiting_bytes;
    uint64_t refused;
    struct rota_quota_client *next, *prev; /* ring of those with something waiting */
} rota_quota_client_t;

typedef enum {
    ROTA_ADMIT_NOW,  /* send it, and call rota_quota_sent */
    ROTA_ADMIT_WAIT, /* rota_quota_wait */
    ROTA_ADMIT_LATER /* RETRY_LATER */
} rota_admission_t;

/* `limits` is copied. NULL when memory ran out. */
rota_quota_t *rota_quota_new (const rota_quota_limits_t *limits);
/* All clients must have been forgotten. */
void rota_quota_destroy (rota_quota_t **self_p);

/* What to do with a request of `size_bytes`. With LATER *ret_retry_after_ms says when. */
rota_admission_t rota_quota_admit (rota_quota_t *self, rota_quota_client_t *client, int64_t size_bytes,
                                   int64_t now_ms, uint32_t *ret_retry_after_ms);

/* Puts `item` behind the client's others. 0, or -ENOMEM: it stays the caller's. */
int rota_quota_wait (rota_quota_t *self, rota_quota_client_t *client, void *item, int64_t size_bytes);

/* The next waiting item, which is the caller's again, and its client; NULL when nobody waits or the scheduler
 * has enough in hand. */
void *rota_quota_next (rota_quota_t *self, rota_quota_client_t **ret_client, int64_t *ret_size_bytes);
/* Any waiting item, whether there is room or not; for emptying. */
void *rota_quota_take_any (rota_quota_t *self, rota_quota_client_t **ret_client);

/* A request of the client went to the scheduler; an answer came back. */
void rota_quota_sent (rota_quota_t *self, rota_quota_client_t *client, int64_t size_bytes);
void rota_quota_answered (rota_quota_t *self, rota_quota_client_t *client);

/* Requests of an age that has passed twice count as lost. Call for every client when rota_quota_age_due says
 * so. */
bool rota_quota_age_due (rota_quota_t *self, int64_t now_ms);
void rota_quota_age (rota_quota_t *self, rota_quota_client_t *client);

/* The scheduler is another one or gone: what it had in hand will not be answered. */
void rota_quota_reset_in_flight (rota_quota_t *self, rota_quota_client_t *client);

/* The client left. Its waiting items are given to `drop`. */
void rota_quota_forget (rota_quota_t *self, rota_quota_client_t *client, void (*drop) (void *item));

int64_t rota_quota_in_flight (const rota_quota_t *self);
int64_t rota_quota_waiting_bytes (const rota_quota_t *self);

#endif
