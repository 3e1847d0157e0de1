#include "broker/quota.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct rota_quota_item {
    void *item;
    int64_t size_bytes;
    rota_quota_item_t *next;
};

struct rota_quota {
    rota_quota_limits_t limits;
    int64_t in_flight, in_flight_bytes, waiting_bytes;
    int64_t age_began_ms;
    rota_quota_client_t *ring; /* whose turn it is; NULL = nobody waits */
};

/* Thousandths, because at 1 ms steps a slow bucket would otherwise never fill. */
int64_t rota_bucket_take (rota_bucket_t *self, const rota_bucket_limit_t *limit, int64_t amount,
                          int64_t now_ms)
{
    int64_t passed_ms = now_ms - self->at_ms;
    if (passed_ms > 0) {
        /* Ten seconds fill every bucket that we have a use for; the bound keeps the product in range. */
        bool full = self->at_ms == 0 || passed_ms > 10000 || passed_ms * limit->per_s >= self->missing;
        self->missing = full ? 0 : self->missing - passed_ms * limit->per_s;
        self->at_ms = now_ms;
    }
    int64_t there = limit->burst * 1000 - self->missing;
    if (amount * 1000 <= there) {
        self->missing += amount * 1000;
        return 0;
    }
    int64_t wait_ms = (amount * 1000 - there) / limit->per_s;
    return wait_ms > 0 ? wait_ms : 1;
}

rota_quota_t *rota_quota_new (const rota_quota_limits_t *limits)
{
    rota_quota_t *self = calloc (1, sizeof *self);
    if (self)
        self->limits = *limits;
    return self;
}

void rota_quota_destroy (rota_quota_t **self_p)
{
    rota_quota_t *self = *self_p;
    if (!self)
        return;
    assert (!self->ring);
    free (self);
    *self_p = NULL;
}

/* A single request over the limit of bytes must still be able to pass, alone. */
static bool scheduler_has_room (const rota_quota_t *self, int64_t size_bytes)
{
    return self->in_flight == 0 || (self->in_flight < self->limits.in_flight &&
                                    self->in_flight_bytes + size_bytes <= self->limits.in_flight_bytes);
}

static bool waiting_room_has_place (const rota_quota_t *self, const rota_quota_client_t *client,
                                    int64_t size_bytes)
{
    const rota_quota_limits_t *limits = &self->limits;
    bool client_has = client->waiting == 0 || (client->waiting < limits->waiting_messages &&
                                               client->waiting_bytes + size_bytes <= limits->waiting_bytes);
    return client_has && self->waiting_bytes + size_bytes <= limits->total_waiting_bytes;
}

rota_admission_t rota_quota_admit (rota_quota_t *self, rota_quota_client_t *client, int64_t size_bytes,
                                   int64_t now_ms, uint32_t *ret_retry_after_ms)
{
    const rota_quota_limits_t *limits = &self->limits;
    int64_t wait_ms = rota_bucket_take (&client->messages, &limits->messages, 1, now_ms);
    if (wait_ms == 0)
        wait_ms = rota_bucket_take (&client->bytes, &limits->bytes, size_bytes, now_ms);
    if (wait_ms == 0 && !self->ring && scheduler_has_room (self, size_bytes))
        return ROTA_ADMIT_NOW;
    if (wait_ms == 0 && waiting_room_has_place (self, client, size_bytes))
        return ROTA_ADMIT_WAIT;

    client->refused++;
    *ret_retry_after_ms = wait_ms > limits->retry_after_ms ? (uint32_t)wait_ms : limits->retry_after_ms;
    return ROTA_ADMIT_LATER;
}

static void join_ring (rota_quota_t *self, rota_quota_client_t *client)
{
    rota_quota_client_t *turn = self->ring;
    if (!turn) {
        client->next = client->prev = client;
        self->ring = client;
        return;
    }
    client->next = turn;
    client->prev = turn->prev;
    turn->prev->next = client;
    turn->prev = client;
}

static void leave_ring (rota_quota_t *self, rota_quota_client_t *client)
{
    if (!client->next)
        return;
    if (self->ring == client)
        self->ring = client->next == client ? NULL : client->next;
    client->prev->next = client->next;
    client->next->prev = client->prev;
    client->next = client->prev = NULL;
}

int rota_quota_wait (rota_quota_t *self, rota_quota_client_t *client, void *item, int64_t size_bytes)
{
    rota_quota_item_t *link = malloc (sizeof *link);
    if (!link)
        return -ENOMEM;
    *link = (rota_quota_item_t){.item = item, .size_bytes = size_bytes};
    if (client->last)
        client->last->next = link;
    else
        client->first = link;
    client->last = link;
    client->waiting++;
    client->waiting_bytes += size_bytes;
    self->waiting_bytes += size_bytes;
    if (!client->next)
        join_ring (self, client);
    return 0;
}

static void *take_first (rota_quota_t *self, rota_quota_client_t *client)
{
    rota_quota_item_t *link = client->first;
    void *item = link->item;
    client->first = link->next;
    if (!client->first)
        client->last = NULL;
    client->waiting--;
    client->waiting_bytes -= link->size_bytes;
    self->waiting_bytes -= link->size_bytes;
    free (link);
    if (!client->first)
        leave_ring (self, client);
    return item;
}

void *rota_quota_take_any (rota_quota_t *self, rota_quota_client_t **ret_client)
{
    rota_quota_client_t *client = self->ring;
    if (!client)
        return NULL;
    self->ring = client->next;
    *ret_client = client;
    return take_first (self, client);
}

void *rota_quota_next (rota_quota_t *self, rota_quota_client_t **ret_client, int64_t *ret_size_bytes)
{
    if (!self->ring || !scheduler_has_room (self, self->ring->first->size_bytes))
        return NULL;
    *ret_size_bytes = self->ring->first->size_bytes;
    return rota_quota_take_any (self, ret_client);
}

void rota_quota_sent (rota_quota_t *self, rota_quota_client_t *client, int64_t size_bytes)
{
    client->in_flight[0]++;
    client->in_flight_bytes += size_bytes;
    self->in_flight++;
    self->in_flight_bytes += size_bytes;
}

/* Which request an answer belongs to is not known here; each takes the average of the client's bytes with it,
 * which is exact again whenever all are answered. */
static void settle (rota_quota_t *self, rota_quota_client_t *client, int64_t count)
{
    int64_t all = client->in_flight[0] + client->in_flight[1];
    int64_t bytes = all == count ? client->in_flight_bytes : client->in_flight_bytes / all * count;
    client->in_flight_bytes -= bytes;
    self->in_flight_bytes -= bytes;
    self->in_flight -= count;
}

void rota_quota_answered (rota_quota_t *self, rota_quota_client_t *client)
{
    int age = client->in_flight[1] > 0;
    if (client->in_flight[age] == 0)
        return;
    settle (self, client, 1);
    client->in_flight[age]--;
}

bool rota_quota_age_due (rota_quota_t *self, int64_t now_ms)
{
    if (now_ms - self->age_began_ms < self->limits.in_flight_age_ms)
        return false;
    self->age_began_ms = now_ms;
    return true;
}

void rota_quota_age (rota_quota_t *self, rota_quota_client_t *client)
{
    if (client->in_flight[1] > 0)
        settle (self, client, client->in_flight[1]);
    client->in_flight[1] = client->in_flight[0];
    client->in_flight[0] = 0;
}

void rota_quota_reset_in_flight (rota_quota_t *self, rota_quota_client_t *client)
{
    int64_t all = client->in_flight[0] + client->in_flight[1];
    if (all > 0)
        settle (self, client, all);
    client->in_flight[0] = client->in_flight[1] = 0;
}

void rota_quota_forget (rota_quota_t *self, rota_quota_client_t *client, void (*drop) (void *item))
{
    rota_quota_reset_in_flight (self, client);
    while (client->first)
        drop (take_first (self, client));
}

int64_t rota_quota_in_flight (const rota_quota_t *self)
{
    return self->in_flight;
}

int64_t rota_quota_waiting_bytes (const rota_quota_t *self)
{
    return self->waiting_bytes;
}
