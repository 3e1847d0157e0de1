/* core.h - what the scheduler knows and decides: the graph of tasks, their life, who runs what.
 *
 * A pure state machine: every function takes the time, changes the state in memory and leaves effects behind;
 * nothing here knows sockets, SQL, clocks or chance. The scheduler's loop (service.c) applies the effects of
 * a batch in one transaction and lets them out after the commit; the simulator (tests/sim) drives the same
 * code with a fake clock.
 *
 * Nodes are tasks and groups (epics, milestones) in one dense array; a node's index + 1 is its key in the
 * store. A group is satisfied when its last open member is; `unmet` counts prerequisites (for a group:
 * members) that are not satisfied, `dead` those that will not be by themselves (failed, cancelled, blocked,
 * or behind one that is).
 *
 * Owner: the scheduler's thread. Times: int64 milliseconds of one steady clock that starts at the wall
 * clock's time and never jumps. Invariants: core_verify.c states and checks them.
 */
#ifndef ROTA_CORE_H
#define ROTA_CORE_H

#include "bus/error.h"
#include "proto/envelope.h"
#include "scheduler/resilience.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct rota_core rota_core_t;

typedef uint32_t rota_node_t;
typedef uint32_t rota_agent_t;   /* index of an agent; agents are never forgotten while the process lives */
typedef uint32_t rota_account_t; /* index of an account, never forgotten either */
#define ROTA_NONE UINT32_MAX

/* Where a task stands in the scheduler; a task is in exactly one place, changed by one function. */
typedef enum {
    ROTA_PLACE_ENDED,       /* done, failed, cancelled */
    ROTA_PLACE_WAITING,     /* for prerequisites that may still be met */
    ROTA_PLACE_UNREACHABLE, /* behind a failed, cancelled or blocked one */
    ROTA_PLACE_READY,       /* in its class's heap */
    ROTA_PLACE_PARKED,      /* ready, but its epic is at its limit */
    ROTA_PLACE_CLAIMED,     /* ready, but another holds files that it changes */
    ROTA_PLACE_DELAYED,     /* ready, but not before a time */
    ROTA_PLACE_RUNNING,     /* an attempt is leased */
    ROTA_PLACE_HUMAN,       /* awaits an approval or a verdict by a person */
    ROTA_PLACE_BLOCKED,
    ROTA_PLACE_HELD, /* ready, but its epic's or its own budget is used up (core_budget.c) */
    ROTA_PLACES
} rota_place_t;
#define ROTA_STATUSES 10 /* TaskStatus values, 0 unused */

/* What a task wants beside its work, a mask. */
enum {
    ROTA_WANTS_CLONE = 1 << 0,      /* it works in a clone of the repository */
    ROTA_WANTS_GATE = 1 << 1,       /* what comes out is checked by commands */
    ROTA_WANTS_REVIEW = 1 << 2,     /* and judged by another agent */
    ROTA_WANTS_OTHER_KIND = 1 << 3, /* which must be of another kind than the author */
    ROTA_WANTS_MERGE = 1 << 4,      /* and comes into the integration branch */
};

typedef enum { ROTA_GATE_PASSES, ROTA_GATE_FAILS, ROTA_GATE_ASKS } rota_gate_policy_t;

typedef struct {
    int64_t lease_ms, lease_margin_ms;
    int64_t backoff_base_ms, backoff_max_ms;
    int backoff_jitter_percent;
    uint64_t jitter_seed;
    uint32_t default_attempts;
    uint32_t wip_limit, wip_agent, wip_epic; /* tasks under way at once; 0 = no limit */
    int64_t
        agent_patience_ms; /* after the start, before a task without a fitting agent counts as unassignable */
    int64_t assign_resend_ms;
    uint32_t free_tries;           /* in a row that the network ends, before they use attempts */
    rota_rule_t rules[ROTA_RULES]; /* by result class */
    uint32_t coordinator_after;    /* same errors in a row, before the coordinator takes it; 0 = never */
    uint32_t give_up_after;        /* and before it fails with attempts left; 0 = never */
    uint32_t breaker_failures;     /* tasks in a row, before an agent is set aside; 0 = never */
    int64_t breaker_window_ms, breaker_rest_ms, breaker_rest_max_ms;
    uint32_t quality_min;                  /* permille that checked work must be worth; 0 = anything */
    bool quality_improves;                 /* what is below goes back; else that is only said */
    rota_gate_policy_t flaky, uncheckable; /* of what the gates said at the gate phase */
    uint32_t merge_batch;                  /* merges that one attempt takes at once; 0, 1 = one */
    uint32_t review_rounds;                /* verdicts that want changes, before others decide */
    uint32_t step_tries;                   /* of a review that brings no verdict, before a person decides */
    int64_t review_patience_ms;            /* how long another kind of agent is waited for that rests */
    bool coordinate;                       /* complex work and reviews are the coordinator's */
    int64_t failback_ms; /* a preferred candidate gets the role back after it was fit for so long */
    /* For a limit that names no time, by its kind; doubled when it repeats, up to guess_max. */
    /* Kinds of agents in the order in which they are given work, and that in which work of `complex_from` and
     * up; those not named come after. Borrowed, NULL = none. */
    const char *const *prefer, *const *prefer_complex;
    uint32_t complex_from;
    int64_t default_cooldown_ms, capacity_cooldown_ms, cooldown_guess_max_ms;
    /* What a stated time is held to, and what is waited beyond it. */
    int64_t cooldown_floor_ms, cooldown_ceiling_ms, cooldown_margin_ms;
    bool claims;               /* those that change the same files wait for each other */
    bool claims_of_epic;       /* what a task changes is guessed from its epic's */
    int64_t claim_patience_ms; /* held so long by others' claims, it comes before them */
    bool no_auto_resume;       /* a limited account opens by hand only */
    struct {
        int pinned; /* a rota_mode_t (health.h); -1 = by how things go */
        int64_t half_life_ms, dwell_ms;
        uint32_t samples; /* results that are enough to say something */
        uint32_t share;   /* percent of the agents' slots while it stabilizes; 0 = the table's */
    } mode;
    struct {
        int32_t priority_s, review_s, fixup_s, unblocks_s, unblocks_cap, small_s;
    } weight; /* bonus seconds: per point of priority; per task unblocked; per point of complexity under 10 */
} rota_core_policy_t;
void rota_core_policy_default (rota_core_policy_t *ret_policy);

rota_core_t *rota_core_new (const rota_core_policy_t *policy, int64_t now_ms);
void rota_core_destroy (rota_core_t **self_p);

/* ------------------------------------------------------------------ building: load, submit, import */

/* A node as it is in the store or as a definition makes it. */
typedef struct {
    const char *id;
    size_t id_length;
    Rota__NodeKind kind;
    rota_node_t parent; /* group or ROTA_NONE */
    uint32_t source;
    uint32_t class_index;    /* rota_core_class; groups: 0 */
    uint32_t queue;          /* READY, PARKED: the class that it waits in, which changes with the phase */
    Rota__TaskStatus status; /* groups: 0 */
    Rota__Phase phase;
    Rota__BlockCause blocked;
    Rota__TaskStatus came_from;
    int32_t priority;
    uint32_t complexity; /* 0 = unknown */
    uint32_t attempts_allowed, attempts_used, attempt;
    uint8_t wants, rounds, stumbles; /* ROTA_WANTS_*; verdicts against it; tries of this phase in vain */
    bool approval, keep_on_lost, orphaned, flagged, skipped, lost;
    bool approval_of_group;   /* it says nothing of approval itself and follows its group, if it is in one */
    bool cancelling, holding; /* asked for while it runs */
    bool asked;               /* in review: its reviewer gave no verdict, and is asked for that alone */
    bool leased;              /* an attempt is under way, by `agent` */
    rota_agent_t agent;
    rota_agent_t author; /* whose work is checked, judged, merged; ROTA_NONE before */
    int64_t ready_since_ms, not_before_ms;
    int64_t assigned_ms;
    uint64_t epoch;     /* of the coordinator's, under which it is leased; 0 = it needs none */
    uint64_t trouble;   /* its last error and how often in a row (core_resilience.c); 0 = none */
    const char *reason; /* kept with a failed, blocked or cancelled task; NULL = none */
    size_t reason_length;
} rota_core_node_t;

/* Adds a node, staged: it is in the graph but takes no part before rota_core_open. The id must be new (tasks
 * and epics: in the whole; milestones: in their epic). -EEXIST, -ENOMEM, -ENOSPC (2^32-2 nodes). */
int rota_core_add (rota_core_t *self, const rota_core_node_t *node, rota_node_t *ret_node);
/* Like add, at a key that the store gave (loading; keys rise; what is skipped becomes void). */
int rota_core_load (rota_core_t *self, rota_node_t at, const rota_core_node_t *node);

/* Loading, before it is opened: it is ready since then at the earliest. */
void rota_core_load_ready (rota_core_t *self, rota_node_t node, int64_t since_ms);

/* `node` waits for `prerequisite`. An edge from a group means each of its members, present and to come. A
 * repeated edge is -EEXIST. */
int rota_core_link (rota_core_t *self, rota_node_t prerequisite, rota_node_t node);
int rota_core_unlink (rota_core_t *self, rota_node_t prerequisite, rota_node_t node);

/* Nodes on a cycle reachable from the nodes [first, count), in order, or 0 when there is none. Writes at most
 * `capacity`. */
size_t rota_core_find_cycle (rota_core_t *self, rota_node_t first, rota_node_t *ret_path, size_t capacity);

/* Makes staged nodes part of the whole. `loading` = silently, with the state given; else TASK_ADDED events
 * and tasks in progress per their status come out. */
void rota_core_open (rota_core_t *self, rota_node_t first, rota_node_t end, bool loading, int64_t now_ms);
/* Loading: the lease that a task in progress had, renewed in full; whether its host ever got it is not known.
 * Call after rota_core_open. */
void rota_core_load_lease (rota_core_t *self, rota_node_t node, rota_agent_t agent, int64_t assigned_ms,
                           uint64_t epoch);
/* Takes staged nodes [first, end) out again: they become void, or are cut off when they are the last. */
void rota_core_discard (rota_core_t *self, rota_node_t first, rota_node_t end);

/* Interns (source, agent, capabilities). `capabilities` are names; "run", "prompt" or "text" is among them.
 * -ENOSPC when there are over 64 different names or 65535 classes. */
int rota_core_class (rota_core_t *self, uint32_t source, const char *agent, size_t agent_length,
                     const char *const *capabilities, size_t capability_count, uint32_t *ret_class,
                     bool *ret_new);

/* ROTA_NONE when unknown. `epic` (or ROTA_NONE) is for milestones. */
rota_node_t rota_core_find (const rota_core_t *self, const char *id, size_t id_length);
rota_node_t rota_core_find_milestone (const rota_core_t *self, rota_node_t epic, const char *id,
                                      size_t id_length);
/* By name alone: 1 and *ret_node; 0 unknown; more than 1: ambiguous. */
size_t rota_core_find_milestones (const rota_core_t *self, const char *id, size_t id_length,
                                  rota_node_t *ret_node);

/* A definition changed by a new import. Of `as` count class_index, priority, complexity, attempts_allowed,
 * wants, approval and keep_on_lost. */
void rota_core_redefine (rota_core_t *self, rota_node_t node, const rota_core_node_t *as, int64_t now_ms);
void rota_core_orphan (rota_core_t *self, rota_node_t node, bool orphaned, int64_t now_ms);

/* ------------------------------------------------------------------ agents */

typedef struct {
    const char *name, *kind, *host;
    uint32_t slots;
    const char *const *capabilities;
    size_t capability_count;
    uint8_t instance[16];
    bool drain;
    bool paid;           /* its work costs money or a subscription: not in quiet hours */
    bool coordinates;    /* may become the coordinator */
    const char *account; /* "claude/default"; NULL = its own name */
    const char *problem; /* why it can take nothing until it registers anew; NULL = it can */
} rota_core_agent_t;

typedef struct {
    rota_node_t node;
    uint32_t attempt;
    bool finished;
} rota_held_t;

/* A host (re)registers with all that it holds: leases that it does not list are over (proved dead). Events
 * out. *ret_agent is its index. -ENOMEM. */
int rota_core_agent_register (rota_core_t *self, const rota_core_agent_t *agent, const rota_held_t *held,
                              size_t held_count, int64_t now_ms, rota_agent_t *ret_agent);
/* Loading: an agent known from before; disconnected. */
int rota_core_agent_load (rota_core_t *self, const char *name, const char *kind, const char *host,
                          const uint8_t instance[16], rota_agent_t *ret_agent);
rota_agent_t rota_core_agent_find (const rota_core_t *self, const uint8_t instance[16]);
/* Messages of a host are numbered, rising within a conversation (16 bytes); those of a connection that broke
 * may come late. False: a newer one of the host came before, so what this one lists is no longer so. */
bool rota_core_agent_is_news (rota_core_t *self, const uint8_t instance[16], const uint8_t conversation[16],
                              uint64_t number);
/* Renews the leases of what is listed; what is leased, was accepted and is not listed is lost; what is listed
 * and not leased gets a STOP. */
void rota_core_agent_heartbeat (rota_core_t *self, rota_agent_t agent, const rota_held_t *held,
                                size_t held_count, bool draining, bool full, int64_t now_ms);
/* The broker says that the peer is gone: nothing new for it; its leases run on. */
void rota_core_agent_gone (rota_core_t *self, rota_agent_t agent, int64_t now_ms);
void rota_core_agent_drain (rota_core_t *self, rota_agent_t agent, bool drain, int64_t now_ms);

void rota_core_accepted (rota_core_t *self, rota_agent_t agent, rota_node_t node, uint32_t attempt,
                         int64_t now_ms);

/* What a provider counts its limits for (core_accounts.c). It rests as long as one of its limits lasts. */
#define ROTA_BY_HAND INT64_MAX
#define ROTA_LIMITS_MAX 8
#define ROTA_WINDOW_NAME_BYTES 32
typedef struct {
    uint8_t result_class; /* why it is closed: LIMITED or AUTH; 0 = it is open */
    uint8_t limit_kind;
    const char *window;         /* of the subscription, "" = not said; at most 31 bytes */
    int64_t since_ms, until_ms; /* ROTA_BY_HAND: until somebody opens it; past: it is being tried */
    uint32_t trips;             /* in a row */
    const char *reason;         /* "" = none */
} rota_core_limit_t;
typedef struct {
    const char *name;
    rota_core_limit_t last; /* the limit that lasts longest */
    size_t limit_count;
    bool probing; /* a task finds out whether it is open again */
} rota_core_account_view_t;
size_t rota_core_account_count (const rota_core_t *self);
void rota_core_account_view (const rota_core_t *self, rota_account_t account,
                             rota_core_account_view_t *ret_view);
/* Number `i` of its limits, of view.limit_count. Texts live until the account changes. */
rota_core_limit_t rota_core_account_limit (const rota_core_t *self, rota_account_t account, size_t i);
void rota_core_account_load (rota_core_t *self, const char *name, const rota_core_limit_t *limits,
                             size_t limit_count);
/* 0 opened; 1 it was open. */
int rota_core_account_resume (rota_core_t *self, rota_account_t account, int64_t now_ms);
/* It rests until somebody opens it. 0 closed; 1 it waits for that already. */
int rota_core_account_close (rota_core_t *self, rota_account_t account, const char *reason, int64_t now_ms);
/* Until then nothing is handed to agents whose work is paid; 0 = no longer. */
void rota_core_quiet (rota_core_t *self, int64_t until_ms, int64_t now_ms);
int64_t rota_core_quiet_until_ms (const rota_core_t *self);

/* A result. 0 accepted (also a repeat of one accepted before); -ESTALE: not the newest attempt, or a verdict
 * under an epoch of the coordinator's that is over; -ENOENT. `result` is borrowed until the effects are
 * cleared. `epoch` is what the host hands back; without it counts what was given out. */
int rota_core_report_under (rota_core_t *self, rota_node_t node, uint32_t attempt, uint64_t epoch,
                            const Rota__Result *result, int64_t now_ms);
int rota_core_report (rota_core_t *self, rota_node_t node, uint32_t attempt, const Rota__Result *result,
                      int64_t now_ms);

/* ------------------------------------------------------------------ the coordinator (core_coordinator.c) */

typedef struct {
    rota_agent_t agent; /* ROTA_NONE: vacant */
    uint64_t epoch;     /* of the last change; 0 = never held */
    int64_t since_ms;
    bool by_hand; /* holds until it is unfit, whoever is preferred */
    const char *reason;
} rota_core_coordinator_t;
void rota_core_coordinator (const rota_core_t *self, rota_core_coordinator_t *ret_role);
/* Loading, after the agents. `agent` NULL = vacant. */
void rota_core_coordinator_load (rota_core_t *self, const char *agent, const rota_core_coordinator_t *role);

typedef struct {
    const char *name, *kind, *host;
    const char *why_not; /* why it can't have the role now; NULL = it can */
    int64_t until_ms;    /* when that is over by itself; 0 = not known */
    uint32_t rank;       /* of its kind among those preferred; 0 = the first */
    uint32_t busy, slots;
    bool connected;
} rota_core_candidate_t;
/* False: this agent never coordinates. */
bool rota_core_candidate (const rota_core_t *self, rota_agent_t agent, rota_core_candidate_t *ret_candidate);

/* Gives the role to `agent`, or to nobody, under a new epoch. 0; 1 it is so already; -ESTALE another epoch
 * than `replaces` is the newest; -EPERM it can't have it, with the reason in *error; -ENOMEM. */
int rota_core_coordinate (rota_core_t *self, rota_agent_t agent, uint64_t replaces, bool by_hand,
                          const char *reason, int64_t now_ms, rota_error_t *error);
/* The holder is no candidate for failback_ms. 1: the role is vacant. */
int rota_core_step_down (rota_core_t *self, int64_t now_ms);

/* ------------------------------------------------------------------ control */

/* 0 changed; 1 already so; -EPERM the move is not allowed now, with the reason in *error. `text` is kept as
 * the reason. Tasks only. */
int rota_core_control (rota_core_t *self, rota_node_t node, Rota__ControlVerb verb, const char *text,
                       size_t text_length, int32_t priority, int64_t now_ms, rota_error_t *error);
void rota_core_pause (rota_core_t *self, bool paused, int64_t now_ms);
bool rota_core_is_paused (const rota_core_t *self);
bool rota_core_is_draining (const rota_core_t *self);
void rota_core_drain_all (rota_core_t *self, bool draining, int64_t now_ms);

/* At most so many tasks of the source under way at once; 0 = no limit. */
void rota_core_limit_source (rota_core_t *self, uint32_t source, uint32_t limit);
bool rota_core_source_is_full (const rota_core_t *self, uint32_t source);

/* ------------------------------------------------------------------ path claims (core_claims.c) */

/* What the task changes: globs, one a line; size 0 = nobody knows. `learned`: from what was changed before,
 * not from its definition. Of an epic: what its tasks changed. While it is worked on the change waits.
 * -ENOMEM. */
int rota_core_claim (rota_core_t *self, rota_node_t node, const char *globs, size_t size, bool learned);
/* As set last; NULL = none. */
const char *rota_core_claim_of (const rota_core_t *self, rota_node_t node, bool *ret_learned);
/* Sources of one `space` share their files. Without `hold` its tasks don't wait for claims. */
void rota_core_claim_source (rota_core_t *self, uint32_t source, uint32_t space, bool hold);
/* CLAIMED: behind whom, and by which two globs; *ret_reserved: that one waits itself and comes first. */
rota_node_t rota_core_claim_behind (const rota_core_t *self, rota_node_t node, char *ret_mine,
                                    char *ret_theirs, size_t capacity, bool *ret_reserved);

/* Hands out what can be handed out. Call after every batch. */
void rota_core_dispatch (rota_core_t *self, int64_t now_ms);
/* Leases, delays, assignments to be resent. Call when rota_core_next_ms has come. `stalled_ms` of the caller
 * is added to all leases first. */
void rota_core_tick (rota_core_t *self, int64_t now_ms, int64_t stalled_ms);
int64_t rota_core_next_ms (const rota_core_t *self); /* INT64_MAX = nothing timed */

/* ------------------------------------------------------------------ effects, until cleared */

typedef struct {
    Rota__EventType type;
    rota_node_t node; /* or ROTA_NONE */
    rota_agent_t agent;
    uint32_t attempt;
    uint8_t from, to, phase, result_class;
    const char *reason; /* or NULL */
} rota_core_event_t;

typedef struct {
    rota_node_t node;
    rota_agent_t agent;
    uint32_t attempt;
    Rota__Phase phase;
    uint64_t epoch; /* of the coordinator's, if it is given to it as that */
    bool again;     /* resent: nothing to store */
    int64_t
        lease_ms;  /* what is left of it now; a resent one must not start a lease anew that nobody counts */
    uint32_t with; /* a merge in a batch: the node of the one that leads it, + 1; 0 = in none */
} rota_core_assign_t;

typedef struct {
    rota_node_t node; /* may be ROTA_NONE's neighbour: an attempt that a host lists and nobody knows; then key
                         = node + 1 */
    rota_agent_t agent;
    uint32_t attempt;
    const char *reason;
} rota_core_stop_t;

/* An attempt that ended. */
typedef struct {
    rota_node_t node;
    rota_agent_t agent;
    uint32_t attempt;
    Rota__Phase phase;
    int64_t assigned_ms;
    bool used;
    bool booked;         /* something was reserved for it */
    Rota__TaskStatus to; /* of its task, right after; it may have been handed out again since */
    Rota__ResultClass result_class;
    const Rota__Result *result; /* NULL for lost ones */
} rota_core_ended_t;

typedef struct {
    const rota_core_event_t *events;
    size_t event_count;
    const rota_core_assign_t *assigns;
    size_t assign_count;
    const rota_core_stop_t *stops;
    size_t stop_count;
    const rota_core_ended_t *ended;
    size_t ended_count;
    const rota_node_t *dirty; /* nodes whose row changed, each once */
    size_t dirty_count;
    bool control_changed;  /* paused, draining */
    bool role_changed;     /* the coordinator's row must be written */
    bool accounts_changed; /* their rows must be written */
    bool health_changed;   /* the row of the mode and of what happened of late must be written */
} rota_core_effects_t;

/* An event of the whole, with a reason that the core copies. */
void rota_core_note (rota_core_t *self, Rota__EventType type, const char *reason);

void rota_core_effects (const rota_core_t *self, rota_core_effects_t *ret_effects);
void rota_core_effects_clear (rota_core_t *self);
/* True when memory ran out on the way: the state can't be trusted, rebuild it from the store. */
bool rota_core_broken (const rota_core_t *self);

/* ------------------------------------------------------------------ looking */

size_t rota_core_count (const rota_core_t *self); /* nodes, void ones included */
bool rota_core_get (const rota_core_t *self, rota_node_t node, rota_core_node_t *ret_node); /* false: void */
bool rota_core_is_staged (const rota_core_t *self, rota_node_t node);
rota_place_t rota_core_place (const rota_core_t *self, rota_node_t node);
bool rota_core_is_satisfied (const rota_core_t *self, rota_node_t node);
bool rota_core_is_stopping (const rota_core_t *self, rota_node_t node);
bool rota_core_is_dead (const rota_core_t *self, rota_node_t node);
uint32_t rota_core_unmet (const rota_core_t *self, rota_node_t node);
uint64_t rota_core_trouble (const rota_core_t *self, rota_node_t node);
/* How often in a row it ended with the same error. */
uint32_t rota_core_same_errors (const rota_core_t *self, rota_node_t node);
/* The reason kept with a failed or blocked task, or NULL. */
const char *rota_core_reason (const rota_core_t *self, rota_node_t node);

/* Calls for each successor (dependants; for a group its own, not its members). */
void rota_core_successors (const rota_core_t *self, rota_node_t node,
                           void (*each) (void *owner, rota_node_t successor), void *owner);

typedef struct {
    uint64_t total;
    uint64_t status[ROTA_STATUSES];
    uint64_t place[ROTA_PLACES];
    uint64_t orphaned;
    uint64_t merged, unchecked; /* done tasks; the second neither by gates nor by anybody */
    uint64_t unassignable;      /* of the ready: no agent that is known can take them */
    uint64_t broke;             /* ready, and held for good by budgets that are used up */
    uint64_t moving;            /* ready and assignable, parked, delayed, running */
} rota_core_counts_t;
/* Of one source, or of all (ROTA_NONE). O(classes). */
void rota_core_counts (const rota_core_t *self, uint32_t source, int64_t now_ms,
                       rota_core_counts_t *ret_counts);
/* `run` and `wait` may end: nothing of the source moves or can start to move by itself. */
bool rota_core_is_settled (const rota_core_t *self, uint32_t source, int64_t now_ms);
/* Epics and milestones, in the order they came; ROTA_NONE for one that was discarded. */
size_t rota_core_group_count (const rota_core_t *self);
rota_node_t rota_core_group (const rota_core_t *self, size_t index);
void rota_core_group_counts (const rota_core_t *self, rota_node_t group, uint64_t ret_status[ROTA_STATUSES]);
uint64_t rota_core_version (const rota_core_t *self); /* rises with every change */

/* Leases, in no order. */
typedef struct {
    rota_node_t node;
    rota_agent_t agent;
    uint32_t attempt;
    Rota__Phase phase;
    uint64_t epoch;
    int64_t assigned_ms, deadline_ms;
    bool accepted, stopping;
    uint32_t with; /* as in rota_core_assign_t */
} rota_core_lease_t;
size_t rota_core_lease_count (const rota_core_t *self);
void rota_core_lease (const rota_core_t *self, size_t index, rota_core_lease_t *ret_lease);

typedef struct {
    const char *name, *kind, *host;
    uint32_t slots, busy;
    bool connected, draining;
    bool full; /* no memory or processor for another attempt, as it says */
    uint8_t instance[16];
    int64_t since_ms;
    uint64_t succeeded, failed;
    rota_account_t account;
    bool paid;
    int64_t breaker_until_ms; /* set aside because tasks failed in a row; 0 = it is not; past: it is being
                                 tried */
    const char *breaker_reason;
} rota_core_agent_view_t;
size_t rota_core_agent_count (const rota_core_t *self);
void rota_core_agent_view (const rota_core_t *self, rota_agent_t agent, rota_core_agent_view_t *ret_view);

typedef struct {
    uint32_t source;
    const char *agent;     /* "" = any */
    uint64_t capabilities; /* bits; names by rota_core_capability_name */
    size_t ready;
    bool known;       /* an agent that is known fits */
    bool assignable;  /* and its account will open by itself, or is open */
    bool servable;    /* one of them is connected and not draining */
    bool free;        /* and has a free slot */
    bool full;        /* one would have, but its host is short of memory or processors */
    bool open;        /* and its account is open: it could take a task now */
    bool needs_role;  /* the coordinator's */
    int64_t opens_ms; /* when the first of their accounts opens, 0 = one is open or none will by itself */
} rota_core_class_view_t;
size_t rota_core_class_count (const rota_core_t *self);
void rota_core_class_view (const rota_core_t *self, uint32_t class_index, rota_core_class_view_t *ret_view);
/* Whether it may take tasks of the class, now or later. */
bool rota_core_agent_can (const rota_core_t *self, rota_agent_t agent, const rota_core_class_view_t *class);
const char *rota_core_capability_name (const rota_core_t *self, unsigned bit);
/* How many tasks of the class are before this one (READY tasks). O(class). */
size_t rota_core_position (const rota_core_t *self, rota_node_t node);

/* Recomputes everything that is kept by increment and compares: 0, or -EBADMSG with the first difference in
 * *error. O(all). For tests, the simulator and `rota check`. */
int rota_core_verify (const rota_core_t *self, rota_error_t *error);
bool rota_core_move_allowed (Rota__TaskStatus from, Rota__TaskStatus to);

#endif
