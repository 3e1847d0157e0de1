/* presence.h - who is connected: the table of members, by instance and by connection.
 *
 * A member is a peer that said HELLO. Its instance (16 random bytes of its process) is its name on the bus;
 * the connection (endpoint and ZeroMQ's routing id) is known only here. Pure bookkeeping: the time is passed
 * in, nothing is sent.
 *
 * Owner: the broker's thread. Invariant: an instance and a connection belong to at most one member; whoever
 * left is either in the list of the departed or that list has overflowed, until the next report.
 */
#ifndef ROTA_BROKER_PRESENCE_H
#define ROTA_BROKER_PRESENCE_H

#include "broker/limits.h"
#include "broker/quota.h"
#include "bus/keyfile.h"
#include "bus/names.h"
#include "proto/rota.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* Endpoint and routing id in one number; ids that ZeroMQ makes are a zero byte and four others. */
typedef uint64_t rota_route_key_t;

typedef struct {
    uint8_t instance[ROTA_INSTANCE_BYTES];
    uint8_t endpoint; /* index of the endpoint it came by */
    rota_route_key_t route;
    Rota__Role role;
    char name[ROTA_BROKER_MAX_NAME_BYTES + 1];
    char host[ROTA_BROKER_MAX_HOST_BYTES + 1];
    char program_version[ROTA_BROKER_MAX_VERSION_BYTES + 1];
    uint32_t pid;
    bool pid_is_proved;                         /* by the kernel, not only said */
    char key[ROTA_KEY_HEX_BYTES];               /* the key it came with; "" on endpoints without keys */
    char key_name[ROTA_KEY_NAME_MAX_BYTES + 1]; /* under which it is granted */
} rota_identity_t;

typedef struct rota_member {
    rota_identity_t identity;
    int64_t since_wall_ms;
    int64_t heard_ms;
    uint64_t scheduler_epoch; /* the highest it named */
    uint64_t arrival;         /* counts HELLOs */
    bool is_news;             /* came since the last report */
    bool wants_complete;      /* a scheduler that has yet to get, or has missed part of, the list */
    /* Bookkeeping of the broker that lives as long as the member does. */
    rota_quota_client_t quota;
    rota_bucket_t fast;
    struct rota_outbox *outbox;
    uint64_t undelivered;
    UT_hash_handle by_instance, by_route;
} rota_member_t;

typedef struct rota_presence rota_presence_t;

/* `on_leave` is called for each member just before it is freed. NULL when memory ran out. */
rota_presence_t *rota_presence_new (size_t max_members, void *owner,
                                    void (*on_leave) (void *owner, rota_member_t *member));
void rota_presence_destroy (rota_presence_t **self_p);

/* A HELLO. 1: new; 0: the same peer again, perhaps over another connection. Another member of the same
 * connection leaves. -EADDRINUSE: the instance is held by a live member of another role, endpoint or process;
 * -ENFILE: full; -ENOMEM. */
int rota_presence_join (rota_presence_t *self, const rota_identity_t *identity, int64_t now_ms,
                        int64_t wall_ms, rota_member_t **ret_member);
void rota_presence_leave (rota_presence_t *self, rota_member_t *member);
/* Those silent for `dead_after_ms` leave. Returns how many. */
size_t rota_presence_expire (rota_presence_t *self, int64_t now_ms, int64_t dead_after_ms);
/* The broker itself has stood still for `stall_ms`: that is nobody's silence. */
void rota_presence_forgive (rota_presence_t *self, int64_t stall_ms);

void rota_presence_heard (rota_presence_t *self, rota_member_t *member, int64_t now_ms,
                          uint64_t scheduler_epoch);

rota_member_t *rota_presence_by_instance (const rota_presence_t *self,
                                          const uint8_t instance[ROTA_INSTANCE_BYTES]);
rota_member_t *rota_presence_by_route (const rota_presence_t *self, rota_route_key_t route);
/* The one that work goes to: the highest epoch, of equals the newest. NULL while there is none. */
rota_member_t *rota_presence_scheduler (const rota_presence_t *self);

/* Iteration in order of arrival; NULL starts and ends it. The member passed in must not have left. */
rota_member_t *rota_presence_each (const rota_presence_t *self, const rota_member_t *after);
size_t rota_presence_count (const rota_presence_t *self);

/* ---- changes since the last rota_presence_reported */

bool rota_presence_has_news (const rota_presence_t *self);
/* Identities of those who left; false when there were too many to remember: report the whole list. */
bool rota_presence_departed (const rota_presence_t *self, const rota_identity_t **ret_departed,
                             size_t *ret_count);
void rota_presence_reported (rota_presence_t *self);

#endif
