#include "broker/presence.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct rota_presence {
    size_t max_members;
    void *owner;
    void (*on_leave) (void *owner, rota_member_t *member);
    rota_member_t *by_instance, *by_route;
    rota_member_t *scheduler;
    uint64_t arrivals;
    bool has_news;
    bool departed_overflow;
    size_t departed_count;
    rota_identity_t *departed; /* ROTA_BROKER_MAX_DEPARTED, made at the first need */
};

rota_presence_t *rota_presence_new (size_t max_members, void *owner,
                                    void (*on_leave) (void *owner, rota_member_t *member))
{
    rota_presence_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    self->max_members = max_members;
    self->owner = owner;
    self->on_leave = on_leave;
    return self;
}

static bool is_better_scheduler (const rota_member_t *a, const rota_member_t *b)
{
    if (!b || a->scheduler_epoch != b->scheduler_epoch)
        return !b || a->scheduler_epoch > b->scheduler_epoch;
    return a->arrival > b->arrival;
}

static void choose_scheduler (rota_presence_t *self)
{
    self->scheduler = NULL;
    for (rota_member_t *member = self->by_instance; member; member = member->by_instance.next)
        if (member->identity.role == ROTA__ROLE__ROLE_SCHEDULER &&
            is_better_scheduler (member, self->scheduler))
            self->scheduler = member;
}

static void remember_departed (rota_presence_t *self, const rota_member_t *member)
{
    self->has_news = true;
    if (!self->departed)
        self->departed = calloc (ROTA_BROKER_MAX_DEPARTED, sizeof *self->departed);
    if (!self->departed || self->departed_count == ROTA_BROKER_MAX_DEPARTED)
        self->departed_overflow = true;
    else
        self->departed[self->departed_count++] = member->identity;
}

static void unlink_and_free (rota_presence_t *self, rota_member_t *member)
{
    HASH_DELETE (by_instance, self->by_instance, member);
    HASH_DELETE (by_route, self->by_route, member);
    if (self->on_leave)
        self->on_leave (self->owner, member);
    free (member);
}

void rota_presence_leave (rota_presence_t *self, rota_member_t *member)
{
    bool was_scheduler = member == self->scheduler;
    remember_departed (self, member);
    unlink_and_free (self, member);
    if (was_scheduler)
        choose_scheduler (self);
}

void rota_presence_destroy (rota_presence_t **self_p)
{
    rota_presence_t *self = *self_p;
    if (!self)
        return;
    self->scheduler = NULL;
    while (self->by_instance)
        unlink_and_free (self, self->by_instance);
    free (self->departed);
    free (self);
    *self_p = NULL;
}

/* Whether a HELLO under a known instance comes from the same process. */
static bool is_same_peer (const rota_identity_t *known, const rota_identity_t *said)
{
    if (known->role != said->role || known->endpoint != said->endpoint || strcmp (known->key, said->key) != 0)
        return false;
    return !known->pid_is_proved || !said->pid_is_proved || known->pid == said->pid;
}

/* Returns false when memory ran out; the member is then in neither table. */
static bool enter_tables (rota_presence_t *self, rota_member_t *member)
{
    HASH_ADD (by_instance, self->by_instance, identity.instance, sizeof member->identity.instance, member);
    if (!member->by_instance.tbl)
        return false;
    HASH_ADD (by_route, self->by_route, identity.route, sizeof member->identity.route, member);
    if (!member->by_route.tbl) {
        HASH_DELETE (by_instance, self->by_instance, member);
        return false;
    }
    return true;
}

static int join_new (rota_presence_t *self, const rota_identity_t *identity, int64_t wall_ms,
                     rota_member_t **ret_member)
{
    if (HASH_CNT (by_instance, self->by_instance) >= self->max_members)
        return -ENFILE;
    rota_member_t *member = calloc (1, sizeof *member);
    if (!member)
        return -ENOMEM;
    member->identity = *identity;
    member->since_wall_ms = wall_ms;
    if (!enter_tables (self, member)) {
        free (member);
        return -ENOMEM;
    }
    *ret_member = member;
    return 1;
}

static int move_route (rota_presence_t *self, rota_member_t *member, rota_route_key_t route)
{
    HASH_DELETE (by_route, self->by_route, member);
    member->identity.route = route;
    HASH_ADD (by_route, self->by_route, identity.route, sizeof member->identity.route, member);
    if (member->by_route.tbl)
        return 0;
    /* It can't be in one table alone, and leaving takes it out of both. */
    remember_departed (self, member);
    HASH_DELETE (by_instance, self->by_instance, member);
    if (self->on_leave)
        self->on_leave (self->owner, member);
    bool was_scheduler = member == self->scheduler;
    free (member);
    if (was_scheduler)
        choose_scheduler (self);
    return -ENOMEM;
}

int rota_presence_join (rota_presence_t *self, const rota_identity_t *identity, int64_t now_ms,
                        int64_t wall_ms, rota_member_t **ret_member)
{
    rota_member_t *member = rota_presence_by_instance (self, identity->instance);
    if (member && !is_same_peer (&member->identity, identity))
        return -EADDRINUSE;
    rota_member_t *before = rota_presence_by_route (self, identity->route);
    if (before && before != member)
        rota_presence_leave (self, before);

    int result = 0;
    if (!member)
        result = join_new (self, identity, wall_ms, &member);
    else if (member->identity.route != identity->route)
        result = move_route (self, member, identity->route);
    if (result < 0)
        return result;

    member->identity = *identity;
    member->heard_ms = now_ms;
    member->arrival = ++self->arrivals;
    member->is_news = true;
    member->wants_complete = identity->role == ROTA__ROLE__ROLE_SCHEDULER;
    self->has_news = true;
    if (member->wants_complete)
        choose_scheduler (self);
    *ret_member = member;
    return result;
}

size_t rota_presence_expire (rota_presence_t *self, int64_t now_ms, int64_t dead_after_ms)
{
    size_t count = 0;
    rota_member_t *next;
    for (rota_member_t *member = self->by_instance; member; member = next) {
        next = member->by_instance.next;
        if (now_ms - member->heard_ms < dead_after_ms)
            continue;
        rota_presence_leave (self, member);
        count++;
    }
    return count;
}

void rota_presence_forgive (rota_presence_t *self, int64_t stall_ms)
{
    for (rota_member_t *member = self->by_instance; member; member = member->by_instance.next)
        member->heard_ms += stall_ms;
}

void rota_presence_heard (rota_presence_t *self, rota_member_t *member, int64_t now_ms,
                          uint64_t scheduler_epoch)
{
    member->heard_ms = now_ms;
    if (member->identity.role != ROTA__ROLE__ROLE_SCHEDULER || scheduler_epoch <= member->scheduler_epoch)
        return;
    member->scheduler_epoch = scheduler_epoch;
    if (member != self->scheduler)
        choose_scheduler (self);
}

rota_member_t *rota_presence_by_instance (const rota_presence_t *self,
                                          const uint8_t instance[ROTA_INSTANCE_BYTES])
{
    rota_member_t *member;
    HASH_FIND (by_instance, self->by_instance, instance, ROTA_INSTANCE_BYTES, member);
    return member;
}

rota_member_t *rota_presence_by_route (const rota_presence_t *self, rota_route_key_t route)
{
    rota_member_t *member;
    HASH_FIND (by_route, self->by_route, &route, sizeof route, member);
    return member;
}

rota_member_t *rota_presence_scheduler (const rota_presence_t *self)
{
    return self->scheduler;
}

rota_member_t *rota_presence_each (const rota_presence_t *self, const rota_member_t *after)
{
    return after ? after->by_instance.next : self->by_instance;
}

size_t rota_presence_count (const rota_presence_t *self)
{
    return HASH_CNT (by_instance, self->by_instance);
}

bool rota_presence_has_news (const rota_presence_t *self)
{
    return self->has_news;
}

bool rota_presence_departed (const rota_presence_t *self, const rota_identity_t **ret_departed,
                             size_t *ret_count)
{
    *ret_departed = self->departed;
    *ret_count = self->departed_count;
    return !self->departed_overflow;
}

void rota_presence_reported (rota_presence_t *self)
{
    for (rota_member_t *member = self->by_instance; member; member = member->by_instance.next)
        member->is_news = false;
    self->has_news = false;
    self->departed_overflow = false;
    self->departed_count = 0;
}
