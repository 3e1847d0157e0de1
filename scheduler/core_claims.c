/* Path claims: tasks that change the same files are not worked on at once.
 *
 * A task claims what its `touches:` names, or what its earlier attempts changed. From the beginning of the
 * work until it is merged, or until a person or another attempt is awaited, it holds its claim; one that is
 * next and whose claim meets a held one is put behind the holder (place CLAIMED) and competes again, under
 * the key that it had, when that ends. Who was held for claim_patience_ms reserves: nothing that meets its
 * claim is begun before it. Only holders, the one that reserves and those behind an ended one are looked at,
 * never all tasks.
 *
 * What holds without having been let in, as a lost attempt that reported after all, is not argued with.
 */
#include "scheduler/core_internal.h"
#include "scheduler/globs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESERVES_LOOKED_AT 16

struct claim {
    uint32_t node;
    char *globs;   /* one a line */
    char *pending; /* defined anew while it holds; "" = none */
    bool learned, pending_learned;
    bool holds, admitted, queues;
    uint32_t holder; /* index in `holders` */
    /* CLAIMED: behind whom, and beside whom. Nodes, ROTA_NONE = none. */
    uint32_t behind, next, previous;
    uint32_t first; /* of those behind it */
    /* Those that were held, in order, until they are begun or no longer ready. */
    int64_t since_ms;
    uint32_t later, earlier;
    UT_hash_handle hh;
};

typedef struct {
    uint32_t space;
    bool known, hold;
} claim_source_t;

static claim_t *find (const rota_core_t *self, rota_node_t node)
{
    claim_t *claim = NULL;
    if (self->claims)
        HASH_FIND (hh, self->claims, &node, sizeof node, claim);
    return claim;
}

/* ---------------------------------------------------------------------------------------- sources */

static claim_source_t source_of (const rota_core_t *self, rota_node_t node)
{
    uint32_t source = self->nodes[node].source;
    claim_source_t it = {.space = source, .hold = self->policy.claims};
    if (source < self->claim_sources.count && AT (self, claim_sources, claim_source_t, source)->known)
        it = *AT (self, claim_sources, claim_source_t, source);
    return it;
}

void rota_core_claim_source (rota_core_t *self, uint32_t source, uint32_t space, bool hold)
{
    while (self->claim_sources.count <= source)
        if (!PUSH (self, claim_sources, claim_source_t))
            return;
    *AT (self, claim_sources, claim_source_t, source) =
        (claim_source_t){.space = space, .known = true, .hold = hold};
    claim_t *claim, *next;
    HASH_ITER (hh, self->claims, claim, next)
        if (self->nodes[claim->node].source == source)
            rota_core_claims_follow (self, claim->node);
}

/* ------------------------------------------------------------------------------------------ queues */

static void push_held (rota_core_t *self, claim_t *claim)
{
    if (claim->queues)
        return;
    claim->queues = true;
    claim->since_ms = self->now_ms;
    claim->later = ROTA_NONE;
    claim->earlier = self->held_last;
    if (self->held_last == ROTA_NONE)
        self->held_first = claim->node;
    else
        find (self, self->held_last)->later = claim->node;
    self->held_last = claim->node;
}

static void release_all_behind (rota_core_t *self, claim_t *claim)
{
    while (claim->first != ROTA_NONE) {
        rota_node_t node = claim->first;
        rota_core_leave_place (self, node); /* takes it off the list */
        rota_core_enter_place (self, node, ROTA_PLACE_READY);
        self->version++;
    }
}

static void drop_held (rota_core_t *self, claim_t *claim)
{
    if (!claim->queues)
        return;
    claim->queues = false;
    if (claim->earlier == ROTA_NONE)
        self->held_first = claim->later;
    else
        find (self, claim->earlier)->later = claim->later;
    if (claim->later == ROTA_NONE)
        self->held_last = claim->earlier;
    else
        find (self, claim->later)->earlier = claim->earlier;
    if (self->reserves != claim->node)
        return;
    self->reserves = ROTA_NONE;
    if (!claim->holds)
        release_all_behind (self, claim);
}

void rota_core_claims_left (rota_core_t *self, rota_node_t node)
{
    claim_t *claim = find (self, node);
    claim_t *behind = find (self, claim->behind);
    if (claim->previous == ROTA_NONE)
        behind->first = claim->next;
    else
        find (self, claim->previous)->next = claim->next;
    if (claim->next != ROTA_NONE)
        find (self, claim->next)->previous = claim->previous;
    claim->behind = claim->next = claim->previous = ROTA_NONE;
}

static void put_behind (rota_core_t *self, claim_t *claim, claim_t *holder)
{
    rota_core_leave_place (self, claim->node);
    claim->behind = holder->node;
    claim->previous = ROTA_NONE;
    claim->next = holder->first;
    if (holder->first != ROTA_NONE)
        find (self, holder->first)->previous = claim->node;
    holder->first = claim->node;
    push_held (self, claim);
    rota_core_enter_place (self, claim->node, ROTA_PLACE_CLAIMED);
}

/* ----------------------------------------------------------------------------------------- holding */

static bool should_hold (const rota_core_t *self, const node_t *it)
{
    if (it->kind != NODE (TASK) || (it->flags & F_STAGED) ||
        !source_of (self, (rota_node_t)(it - self->nodes)).hold)
        return false;
    switch (it->status) {
    case STATUS (IN_PROGRESS):
        return it->phase != PHASE (APPROVAL);
    case STATUS (IN_REVIEW):
        return true;
    case STATUS (NEEDS_REVIEW):
        return it->wants & ROTA_WANTS_REVIEW;
    default:
        return false;
    }
}

static void forget (rota_core_t *self, claim_t *claim)
{
    HASH_DEL (self->claims, claim);
    free (claim->globs);
    free (claim->pending);
    free (claim);
}

static void take_pending (rota_core_t *self, claim_t *claim)
{
    if (!claim->pending)
        return;
    free (claim->globs);
    claim->globs = claim->pending;
    claim->learned = claim->pending_learned;
    claim->pending = NULL;
    if (!claim->globs[0])
        forget (self, claim);
}

static void hold (rota_core_t *self, claim_t *claim)
{
    uint32_t *at = PUSH (self, holders, uint32_t);
    if (!at)
        return;
    *at = claim->node;
    claim->holds = true;
    claim->holder = (uint32_t)(self->holders.count - 1);
}

static void let_go (rota_core_t *self, claim_t *claim)
{
    uint32_t last = *AT (self, holders, uint32_t, --self->holders.count);
    *AT (self, holders, uint32_t, claim->holder) = last;
    find (self, last)->holder = claim->holder;
    claim->holds = claim->admitted = false;
    release_all_behind (self, claim);
    take_pending (self, claim);
}

static int add (rota_core_t *self, rota_node_t node, const char *globs, size_t size, bool learned)
{
    claim_t *claim = calloc (1, sizeof *claim);
    char *copy = claim ? strndup (globs, size) : NULL;
    if (!copy) {
        free (claim);
        self->broken = true;
        return -ENOMEM;
    }
    *claim = (claim_t){.node = node,
                       .globs = copy,
                       .learned = learned,
                       .behind = ROTA_NONE,
                       .next = ROTA_NONE,
                       .previous = ROTA_NONE,
                       .first = ROTA_NONE,
                       .later = ROTA_NONE,
                       .earlier = ROTA_NONE};
    HASH_ADD (hh, self->claims, node, sizeof claim->node, claim);
    return 0;
}

/* What its epic's tasks have changed so far stands in for what it doesn't say itself. */
static void learn_of_epic (rota_core_t *self, rota_node_t node)
{
    if (!self->policy.claims_of_epic || !self->claims || self->nodes[node].kind != NODE (TASK))
        return;
    rota_node_t epic = rota_core_epic_of (self, node);
    const claim_t *of_epic = epic == ROTA_NONE ? NULL : find (self, epic);
    if (of_epic && !find (self, node))
        add (self, node, of_epic->globs, strlen (of_epic->globs), true);
}

void rota_core_claims_follow (rota_core_t *self, rota_node_t node)
{
    const node_t *it = &self->nodes[node];
    if (!self->claims)
        return;
    if (it->place == ROTA_PLACE_READY)
        learn_of_epic (self, node);
    claim_t *claim = find (self, node);
    if (!claim)
        return;
    bool holds = should_hold (self, it);
    if (holds && !claim->holds)
        hold (self, claim);
    bool queued =
        it->place == ROTA_PLACE_READY || it->place == ROTA_PLACE_PARKED || it->place == ROTA_PLACE_CLAIMED;
    if (!queued || holds)
        drop_held (self, claim);
    if (!holds && claim->holds)
        let_go (self, claim);
}

void rota_core_claims_admit (rota_core_t *self, rota_node_t node)
{
    claim_t *claim = find (self, node);
    if (claim && claim->holds)
        claim->admitted = true;
}

/* ------------------------------------------------------------------------------------------ asking */

static bool conflicts (const rota_core_t *self, const claim_t *claim, const claim_t *with,
                       rota_globs_pair_t *ret_pair)
{
    return claim != with && source_of (self, claim->node).space == source_of (self, with->node).space &&
           rota_globs_overlap (claim->globs, with->globs, ret_pair);
}

bool rota_core_claims_park (rota_core_t *self, rota_node_t node)
{
    rota_globs_pair_t pair;
    claim_t *claim = find (self, node);
    if (!claim || !source_of (self, node).hold || rota_core_next_phase (&self->nodes[node]) != PHASE (WORK))
        return false;
    for (size_t i = 0; i < self->holders.count; i++) {
        claim_t *holder = find (self, *AT (self, holders, uint32_t, i));
        if (!conflicts (self, claim, holder, &pair))
            continue;
        put_behind (self, claim, holder);
        return true;
    }
    claim_t *first = self->reserves == ROTA_NONE ? NULL : find (self, self->reserves);
    if (!first || !conflicts (self, claim, first, &pair))
        return false;
    put_behind (self, claim, first);
    return true;
}

void rota_core_claims_reserve (rota_core_t *self)
{
    rota_node_t chosen = ROTA_NONE, node = self->held_first;
    for (int i = 0; i < RESERVES_LOOKED_AT && node != ROTA_NONE && chosen == ROTA_NONE; i++) {
        const claim_t *claim = find (self, node);
        if (self->now_ms - claim->since_ms < self->policy.claim_patience_ms)
            break; /* those after it were held later */
        if (rota_core_is_served (self, self->nodes[node].queue))
            chosen = node;
        node = claim->later;
    }
    if (chosen == self->reserves)
        return;
    claim_t *before = self->reserves == ROTA_NONE ? NULL : find (self, self->reserves);
    self->reserves = chosen;
    if (before && !before->holds)
        release_all_behind (self, before);
}

/* ---------------------------------------------------------------------------------------- outside */

int rota_core_claim (rota_core_t *self, rota_node_t node, const char *globs, size_t size, bool learned)
{
    claim_t *claim = find (self, node);
    if (!claim) {
        int r = size ? add (self, node, globs, size, learned) : 0;
        if (r == 0)
            rota_core_claims_follow (self, node); /* it may be at work already */
        return r;
    }
    char *copy = strndup (size ? globs : "", size);
    if (!copy) {
        self->broken = true;
        return -ENOMEM;
    }
    free (claim->pending);
    claim->pending = copy;
    claim->pending_learned = learned;
    if (claim->holds)
        return 0;
    if (self->nodes[node].place == ROTA_PLACE_CLAIMED) {
        rota_core_leave_place (self, node);
        rota_core_enter_place (self, node, ROTA_PLACE_READY);
    }
    release_all_behind (self, claim);
    if (!size)
        drop_held (self, claim);
    take_pending (self, claim);
    return 0;
}

const char *rota_core_claim_of (const rota_core_t *self, rota_node_t node, bool *ret_learned)
{
    const claim_t *claim = find (self, node);
    if (!claim)
        return NULL;
    *ret_learned = claim->pending ? claim->pending_learned : claim->learned;
    return claim->pending ? claim->pending : claim->globs;
}

rota_node_t rota_core_claim_behind (const rota_core_t *self, rota_node_t node, char *ret_mine,
                                    char *ret_theirs, size_t capacity, bool *ret_reserved)
{
    const claim_t *claim = find (self, node);
    const claim_t *behind = claim && claim->behind != ROTA_NONE ? find (self, claim->behind) : NULL;
    rota_globs_pair_t pair;
    if (!behind || !conflicts (self, claim, behind, &pair))
        return ROTA_NONE;
    snprintf (ret_mine, capacity, "%.*s", (int)pair.a_length, pair.a);
    snprintf (ret_theirs, capacity, "%.*s", (int)pair.b_length, pair.b);
    *ret_reserved = !behind->holds;
    return behind->node;
}

void rota_core_claims_free (rota_core_t *self)
{
    claim_t *claim, *next;
    HASH_ITER (hh, self->claims, claim, next)
        forget (self, claim);
    free (self->holders.items);
    free (self->claim_sources.items);
}

/* --------------------------------------------------------------------------------------- checking */

static const char *wrong_in (const rota_core_t *self, const claim_t *claim)
{
    const node_t *it = &self->nodes[claim->node];
    rota_globs_pair_t pair;
    if (!claim->globs[0])
        return "claims nothing";
    if (claim->holds != should_hold (self, it))
        return claim->holds ? "holds a claim and doesn't work" : "works and doesn't hold its claim";
    if (claim->holds && *AT (self, holders, uint32_t, claim->holder) != claim->node)
        return "is not among the holders";
    bool held = it->place == ROTA_PLACE_CLAIMED;
    if (held != (claim->behind != ROTA_NONE))
        return "is behind a claim and not held, or the other way round";
    const claim_t *behind = held ? find (self, claim->behind) : NULL;
    if (held && (!behind || (!behind->holds && self->reserves != behind->node)))
        return "is held by a claim that nobody has";
    if (held && !conflicts (self, claim, behind, &pair))
        return "is held by a claim that doesn't meet its own";
    if (held && !claim->queues)
        return "is held and not in the line of those that are";
    for (size_t i = 0; claim->admitted && i < self->holders.count; i++) {
        const claim_t *other = find (self, *AT (self, holders, uint32_t, i));
        if (other->admitted && conflicts (self, claim, other, &pair))
            return "is worked on together with one whose claim meets its own";
    }
    return NULL;
}

int rota_core_claims_verify (const rota_core_t *self, rota_error_t *error)
{
    size_t holders = 0, held = 0, claimed = 0;
    const claim_t *claim, *next;
    HASH_ITER (hh, self->claims, claim, next) {
        const node_t *it = &self->nodes[claim->node];
        const char *wrong = wrong_in (self, claim);
        if (wrong)
            return rota_error_set (error, -EBADMSG, "task %.*s %s", it->id_length, self->ids + it->id_offset,
                                   wrong);
        holders += claim->holds;
        held += claim->queues;
    }
    for (rota_node_t node = self->held_first; node != ROTA_NONE; node = find (self, node)->later)
        held--;
    for (rota_node_t i = 0; i < self->count; i++)
        if (self->nodes[i].kind == NODE (TASK) && self->nodes[i].place == ROTA_PLACE_CLAIMED) {
            claimed++;
            if (!find (self, i))
                return rota_error_set (error, -EBADMSG, "task %u is held and claims nothing", i);
        }
    for (size_t i = 0; i < self->holders.count; i++)
        for (rota_node_t at = find (self, *AT (self, holders, uint32_t, i))->first; at != ROTA_NONE;
             at = find (self, at)->next)
            claimed--;
    const claim_t *first = self->reserves == ROTA_NONE ? NULL : find (self, self->reserves);
    for (rota_node_t at = first && !first->holds ? first->first : ROTA_NONE; at != ROTA_NONE;
         at = find (self, at)->next)
        claimed--;
    if (holders != self->holders.count || held || claimed)
        return rota_error_set (error, -EBADMSG,
                               "claims: %zu holders, counted %zu; %zu not in line; %zu behind nobody",
                               self->holders.count, holders, held, claimed);
    return 0;
}
