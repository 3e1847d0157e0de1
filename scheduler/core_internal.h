/* core_internal.h - the core's data, shared by its files and by nobody else.
 *
 * core.c        creation, effects, small getters          core_graph.c   nodes, edges, ids, groups,
 * satisfaction core_queue.c  places, heaps, classes, counts, dispatch  core_life.c    moves, results, control
 * core_accounts.c limits of providers             core_steps.c   gate, review, approval, merge
 * core_agents.c hosts, leases, ticks                      core_verify.c  the invariants, recomputed
 * core_resilience.c errors that repeat, breakers of agents
 * core_claims.c    who changes the same files
 * core_batch.c     merges that are handed out together
 * core_coordinator.c who judges, and gets the complex work
 * core_tally.c, core_spend.c, core_budget.c what is spent, and whom a limit keeps back
 * core_health.c how things go, in parts and of late       core_modes.c   the mode that follows from it
 */
#ifndef ROTA_CORE_INTERNAL_H
#define ROTA_CORE_INTERNAL_H

#include "proto/words.h"
#include "scheduler/budget.h"
#include "scheduler/core.h"
#include "scheduler/health.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define MAX_NODES 0x7fffffffu
#define EDGE_INHERITED 0x80000000u

enum {
    F_STAGED = 1 << 0,
    F_SATISFIED = 1 << 1,
    F_DEAD = 1 << 2,
    F_DIRTY = 1 << 3,
    F_APPROVAL = 1 << 4, /* a person must approve what comes out */
    F_KEEP = 1 << 5,     /* on_lost: continue */
    F_ORPHANED = 1 << 6,
    F_FLAGGED = 1 << 7,  /* went on while a prerequisite was reopened */
    F_SKIPPED = 1 << 8,  /* cancelled, and that satisfies */
    F_LOST = 1 << 9,     /* the newest attempt was given up without a report: one may still come */
    F_CANCEL = 1 << 10,  /* cancelled while it runs */
    F_HOLD = 1 << 11,    /* held while it runs */
    F_REASON = 1 << 12,  /* has an entry in `reasons` */
    F_STOPPED = 1 << 13, /* stopped by hand while it runs: back without waiting */
    F_LEASED = 1 << 14,
    F_SILENT = 1 << 15, /* says nothing of approval itself: as its group, whatever that says later */
};

/* One task or group; a void one has kind 0. 72 bytes: a million of them must stay small. */
typedef struct {
    uint32_t id_offset;
    uint8_t id_length;
    uint8_t kind;
    uint8_t status;
    uint8_t phase;
    uint8_t blocked;
    uint8_t came_from;
    uint8_t complexity;
    uint8_t attempts_allowed;
    uint8_t attempts_used;
    uint8_t place;
    uint16_t flags;
    int16_t priority;
    uint16_t class_index;
    uint16_t queue;  /* READY, PARKED: the class in whose heap it is, or was */
    uint16_t author; /* agent + 1 that did the work; 0 = none yet */
    uint8_t wants, rounds, stumbles;
    bool asked; /* in review: the reviewer is asked again, for its verdict alone */
    uint32_t source;
    uint32_t attempt;
    uint32_t unmet;
    uint32_t dead;
    uint32_t first_edge;
    uint32_t parent;
    uint32_t slot; /* READY, PARKED, DELAYED: position in its heap; RUNNING: index of the lease; groups: in
                      groups[] */
    int64_t ready_since_ms;
    int64_t order_ms; /* READY, PARKED: key of the heap; else: not before, 0 = at once */
} node_t;

typedef struct {
    uint32_t to; /* with EDGE_INHERITED: comes from a group's dependency */
    uint32_t next;
} edge_t;

typedef struct {
    uint32_t *items;
    uint32_t count, capacity;
} heap_t;

typedef struct {
    uint64_t sum, count; /* permille */
} scores_t;

typedef struct {
    rota_node_t node;
    uint32_t status[ROTA_STATUSES], place[ROTA_PLACES];
    rota_rate_t rate;
    scores_t scores;
    uint32_t working; /* attempts at the work itself: what is begun is brought to its end */
    heap_t parked;
} group_t;

typedef struct {
    uint32_t source;
    char *agent;
    uint64_t capabilities;
    heap_t ready;
    bool assignable;
    bool needs_role; /* the coordinator's */
} class_t;

typedef struct {
    uint64_t limit; /* tasks worked on at once; 0 = none */
    uint64_t working, merging;
    uint64_t merged, unchecked; /* done, and merged; of these, neither checked nor judged by anybody */
    uint64_t total, orphaned;
    uint64_t status[ROTA_STATUSES];
    uint64_t place[ROTA_PLACES];
} source_counts_t;

typedef struct {
    char *name, *kind, *host;
    uint32_t slots, busy;
    uint64_t capabilities;
    uint8_t instance[16], conversation[16];
    uint64_t newest; /* number of its messages in that conversation */
    bool connected, draining;
    bool full; /* no memory or processor for another attempt, as its last heartbeat said */
    int64_t since_ms;
    uint64_t succeeded, failed;
    rota_account_t account;
    bool paid, coordinates;
    int64_t aside_until_ms; /* stepped down as the coordinator */
    bool faulty;            /* said itself that it can't work */
    uint32_t breaker[2];    /* its own, its kind's: index + 1; 0 = none */
    uint8_t rank[2];        /* its kind's place among those preferred, for ordinary and for complex work */
} agent_t;

/* A breaker that is closed, or whose time has come and that nobody has tried yet. */
typedef struct {
    uint8_t result_class, limit_kind; /* 0 = none */
    char window[ROTA_WINDOW_NAME_BYTES];
    int64_t since_ms, until_ms;
    uint32_t trips;
    char *reason;
} limit_t;

typedef struct {
    char *name;
    limit_t limits[ROTA_LIMITS_MAX];
    size_t limit_count;
    limit_t last; /* the one of them that ends last; its reason is that one's */
    uint32_t probes;
} account_t;

/* What is reserved for an attempt, and in which tallies; ROTA_NONE: not counted in that scope. */
typedef struct {
    uint32_t tally[ROTA_SCOPES];
    int64_t amount[ROTA_MEASURES];
} booking_t;

typedef struct {
    uint8_t scope;
    char *name; /* "*": each */
    rota_limits_t configured, runtime;
} budget_t;

typedef struct {
    uint8_t scope;
    bool dirty, stuck; /* what is held will not go on by itself */
    uint32_t index;    /* of the kind, account, agent, source, node */
    uint32_t budget, each;
    int64_t period[2];
    int64_t spent[ROTA_PERIODS][ROTA_MEASURES], estimated[ROTA_PERIODS][ROTA_MEASURES];
    int64_t reserved[ROTA_MEASURES], limited;
    uint16_t warned, exhausted;
    uint32_t running;
    heap_t held;
} tally_t;

typedef struct {
    int64_t nano_usd, tokens;
    bool dirty;
} estimate_t;

typedef struct {
    char *name;
    estimate_t of[ROTA_ESTIMATES];
} kind_t;

typedef struct {
    uint32_t kind;
    unsigned slot;
} learned_t;

typedef struct {
    rota_account_t account;
    char name[32];
    int64_t used_permille, resets_ms, seen_ms;
} window_t;

typedef struct {
    rota_node_t node;
    rota_agent_t agent;
    rota_account_t account; /* the agent's when it was granted */
    uint32_t attempt;
    uint64_t epoch; /* of the coordinator's, if its agent has it as that */
    uint8_t phase;
    bool accepted, stopping;
    bool probe;    /* begun to find out whether its account is open again */
    bool trial[2]; /* begun to find out whether the agent, or its kind, works again */
    bool listed;   /* scratch of a registration or heartbeat */
    uint32_t with; /* a merge in a batch: the node of its leader + 1 (core_batch.c); 0 = in none */
    int64_t assigned_ms, deadline_ms, resend_ms;
    booking_t booking;
} lease_t;

typedef struct {
    uint32_t node;
    char *text;
    UT_hash_handle hh;
} reason_t;

/* Of tasks that failed and were not ended since. */
typedef struct {
    uint32_t node;
    uint64_t packed;
    UT_hash_handle hh;
} trouble_t;

#define ROTA_BREAKER_MAX 32
typedef struct {
    char *name, *reason;
    bool of_kind;
    struct {
        rota_node_t node;
        rota_agent_t agent;
        int64_t at_ms;
    } failures[ROTA_BREAKER_MAX]; /* of different tasks, since the last success */
    uint32_t count, trips, probes;
    int64_t until_ms; /* 0 = closed; past: it is being tried */
} breaker_t;

typedef struct {
    rota_node_t group, prerequisite;
} group_dependency_t;

typedef struct claim claim_t; /* core_claims.c */

/* A growing array; the element type is the user's. */
typedef struct {
    void *items;
    size_t count, capacity;
} list_t;

struct rota_core {
    rota_core_policy_t policy;
    int64_t started_ms;
    int64_t now_ms; /* of the call that is under way */
    bool broken, paused, draining;
    bool loading; /* ready_since is as stored: don't start it anew */
    uint64_t version;

    node_t *nodes;
    size_t count, capacity;
    edge_t *edges;
    size_t edge_count, edge_capacity;
    uint32_t free_edge;
    char *ids;
    size_t ids_size, ids_capacity;
    uint32_t *table; /* open addressing: node + 1, 0 = empty */
    size_t table_size, table_used;
    list_t groups;             /* group_t */
    list_t group_dependencies; /* group_dependency_t */
    reason_t *reasons;
    trouble_t *troubles;
    list_t breakers; /* breaker_t */

    list_t classes; /* class_t */
    char *capability_names[64];
    unsigned capability_count;
    list_t sources; /* source_counts_t */
    heap_t delayed;

    claim_t *claims;
    list_t holders;                 /* uint32_t: nodes that hold a claim */
    list_t claim_sources;           /* by source */
    uint32_t held_first, held_last; /* those that a claim holds back, or did; ROTA_NONE = none */
    uint32_t reserves;              /* the one of them that comes first now */

    list_t agents;   /* agent_t */
    list_t accounts; /* account_t */
    int64_t quiet_until_ms;
    list_t leases; /* lease_t */
    rota_core_coordinator_t role;
    char *role_reason;

    struct {
        list_t budgets; /* budget_t */
        list_t tallies; /* tally_t */
        list_t
            by_scope[ROTA_SCOPES];  /* uint32_t: tally + 1 of each kind, account, ...; tasks with the epics */
        list_t kinds;               /* kind_t */
        list_t source_names;        /* char * */
        list_t windows;             /* window_t */
        list_t changed;             /* uint32_t: tallies */
        list_t learned;             /* learned_t */
        bool budgeted[ROTA_SCOPES]; /* there are limits in this scope */
        bool windows_changed;
        uint32_t holding; /* the tally that the task which moves is put aside for */
        int64_t hour, default_nano_usd, default_tokens;
    } money;

    struct {
        rota_rate_t all;
        scores_t scores;
        uint16_t *score; /* by node: permille + 1, 0 = none; for as many as had to be */
        size_t score_capacity;
    } health;
    struct {
        rota_mode_t mode;
        int64_t since_ms, looked_ms;
        char *reason;
        uint64_t changes;
        rota_rate_t agents;
        uint32_t working; /* attempts at the work by agents, not commands */
    } mode;

    list_t events, assigns, stops, ended, dirty, texts;
    bool control_changed, accounts_changed, role_changed, health_changed;
    list_t work;   /* uint32_t: nodes whose `dead` may have to change */
    uint32_t same; /* a review of it that has just ended goes on with the same agent, if that can; its
                      node + 1, 0 = none */
};

/* core.c */
/* First thing in each call that has the time. */
void rota_core_at (rota_core_t *self, int64_t now_ms);
void *rota_list_push (rota_core_t *self, list_t *list,
                      size_t item_size); /* zeroed; NULL: out of memory, broken */
#define PUSH(self, list, type) ((type *)rota_list_push ((self), &(self)->list, sizeof (type)))
#define AT(self, list, type, index) (&((type *)(self)->list.items)[index])
node_t *rota_core_node (const rota_core_t *self, rota_node_t node);
void rota_core_touch (rota_core_t *self, rota_node_t node); /* its row must be written */
rota_core_event_t *rota_core_emit (rota_core_t *self, Rota__EventType type, rota_node_t node);
__attribute__ ((format (printf, 2, 3))) const char *rota_core_text (rota_core_t *self, const char *format,
                                                                    ...);
void rota_core_set_reason (rota_core_t *self, rota_node_t node, const char *text, size_t length);

/* core_graph.c */
void rota_core_set_satisfied (rota_core_t *self, rota_node_t node, bool satisfied);
void rota_core_refresh_dead (rota_core_t *self, rota_node_t node);
rota_node_t rota_core_epic_of (const rota_core_t *self,
                               rota_node_t node);            /* the outermost group, or ROTA_NONE */
int rota_core_inherit (rota_core_t *self, rota_node_t node); /* edges of its groups' dependencies */
uint64_t rota_core_intern (rota_core_t *self, const char *const *names, size_t count, bool *ret_full);

/* core_queue.c */
/* All queues by the keys that hold now. */
void rota_core_reorder (rota_core_t *self);
/* In the first moments nothing counts as unassignable. */
bool rota_core_is_patient (const rota_core_t *self, int64_t now_ms);
/* Puts the task where its state says. */
void rota_core_refresh_place (rota_core_t *self, rota_node_t node);
bool rota_core_is_merged (const node_t *it);
bool rota_core_is_unchecked (const node_t *it);
void rota_core_count_status (rota_core_t *self, rota_node_t node, uint8_t status, int delta);
void rota_core_leave_place (rota_core_t *self, rota_node_t node);
void rota_core_change_place (rota_core_t *self, rota_node_t node, rota_place_t place);
void rota_core_enter_place (rota_core_t *self, rota_node_t node, rota_place_t place);
source_counts_t *rota_core_source (rota_core_t *self, uint32_t source);
void rota_core_classes_changed (rota_core_t *self);
void rota_core_rank (const rota_core_t *self, agent_t *agent);
bool rota_core_agent_fits (const agent_t *agent, const class_t *class);
void rota_core_release_parked (rota_core_t *self, rota_node_t epic);

/* READY, and that agent could begin it at once. */
bool rota_core_could_begin (rota_core_t *self, rota_node_t node, rota_agent_t agent);
/* Whether an agent that is there could take a task of the class, if it had room. */
bool rota_core_is_served (rota_core_t *self, uint32_t class_index);

/* core_claims.c */
/* After its status or place has changed. */
void rota_core_claims_follow (rota_core_t *self, rota_node_t node);
/* It leaves CLAIMED. */
void rota_core_claims_left (rota_core_t *self, rota_node_t node);
/* The work was begun. */
void rota_core_claims_admit (rota_core_t *self, rota_node_t node);
/* True: a claim holds it back, and it is put behind that. READY tasks. */
bool rota_core_claims_park (rota_core_t *self, rota_node_t node);
/* Looks who has been held for so long that it comes first. */
void rota_core_claims_reserve (rota_core_t *self);
int rota_core_claims_verify (const rota_core_t *self, rota_error_t *error);
void rota_core_claims_free (rota_core_t *self);

/* core_accounts.c */
rota_account_t rota_core_account (rota_core_t *self, const char *name); /* ROTA_NONE: no memory */
void rota_core_accounts_free (rota_core_t *self);
bool rota_core_account_admits (const rota_core_t *self, rota_account_t account);
bool rota_core_account_waits_for_a_hand (const rota_core_t *self, rota_account_t account);
void rota_core_account_granted (rota_core_t *self, lease_t *lease);
void rota_core_account_ended (rota_core_t *self, const lease_t *lease, Rota__ResultClass class,
                              const Rota__Result *result, const char *reason);
void rota_core_account_rejoined (rota_core_t *self, rota_account_t account);
int64_t rota_core_accounts_next_ms (const rota_core_t *self);

/* core_resilience.c */
/* One more error of the task, by `agent`; how often it is the same in a row. `other`: of its rule. */
uint32_t rota_core_note_error (rota_core_t *self, rota_node_t node, rota_agent_t agent, uint32_t other,
                               const char *reason);
void rota_core_set_trouble (rota_core_t *self, rota_node_t node, uint64_t packed); /* 0 = none */
/* The class in which it waits after its errors, instead of `class_index`. */
uint32_t rota_core_escalated_class (rota_core_t *self, rota_node_t node, uint32_t class_index);
void rota_core_role_moved (rota_core_t *self);
bool rota_core_is_command (const rota_core_t *self, rota_node_t node);
void rota_core_give_breakers (rota_core_t *self, agent_t *agent);
void rota_core_resilience_free (rota_core_t *self);
bool rota_core_breaker_admits (const rota_core_t *self, const agent_t *agent);
/* When it is tried again; 0 = closed. */
int64_t rota_core_breaker_until_ms (const rota_core_t *self, const agent_t *agent, const char **ret_reason);
int64_t rota_core_breakers_next_ms (const rota_core_t *self);
void rota_core_breaker_granted (rota_core_t *self, lease_t *lease);
void rota_core_breaker_ended (rota_core_t *self, const lease_t *lease, Rota__ResultClass class,
                              const char *reason);
int rota_core_verify_breakers (const rota_core_t *self, rota_error_t *error);
/* core_tally.c, core_spend.c, core_budget.c */
void rota_core_budget_reserve (rota_core_t *self, lease_t *lease); /* at the grant */
void rota_core_budget_loaded (rota_core_t *self, lease_t *lease);
void rota_core_budget_rebook (rota_core_t *self, lease_t *lease); /* its agent's account or kind changed */
void rota_core_budget_settle (rota_core_t *self, const lease_t *lease, Rota__ResultClass class,
                              const Rota__Result *result);
/* The agent may not take the task now; *ret_of_task: for the sake of its epic's or its own limit. */
bool rota_core_budget_refuses (rota_core_t *self, rota_node_t node, rota_agent_t agent, bool *ret_of_task);
/* Its epic's or its own limit keeps it from all agents: it is put aside, and true. */
bool rota_core_budget_put_aside (rota_core_t *self, rota_node_t node);
heap_t *rota_core_budget_heap (rota_core_t *self, rota_node_t node);
const heap_t *rota_core_budget_heap_of (const rota_core_t *self, rota_node_t node); /* NULL: in none */
void rota_core_budget_release_all (rota_core_t *self);
void rota_core_budgets_turn (rota_core_t *self); /* a new hour, a new day */
int64_t rota_core_budgets_next_ms (const rota_core_t *self);
void rota_core_budgets_clear (rota_core_t *self);
void rota_core_budgets_free (rota_core_t *self);
int rota_core_budgets_verify (const rota_core_t *self, rota_error_t *error);

/* core_health.c */
void rota_core_count_place (rota_core_t *self, rota_node_t node, uint8_t place, int delta);
void rota_core_health_ended (rota_core_t *self, rota_node_t node, Rota__Phase phase, Rota__ResultClass class,
                             const Rota__Result *result);
void rota_core_health_done (rota_core_t *self, rota_node_t node);
void rota_core_health_free (rota_core_t *self);
int rota_core_health_verify (const rota_core_t *self, rota_error_t *error);
/* core_modes.c */
void rota_core_modes_turn (rota_core_t *self);
int64_t rota_core_mode_bonus_s (const rota_core_t *self, const node_t *it);
int64_t rota_core_mode_small_s (const rota_core_t *self);
void rota_core_mode_count (rota_core_t *self, rota_node_t node, Rota__Phase phase, int delta);
void rota_core_mode_loaded (rota_core_t *self, const rota_core_health_state_t *state);
int rota_core_modes_verify (const rota_core_t *self, rota_error_t *error);

/* core_life.c */
/* Moves the task, counts, events; `reason` may be NULL. Returns the event to be completed, or NULL when
 * memory ran out. */
rota_core_event_t *rota_core_move (rota_core_t *self, rota_node_t node, Rota__TaskStatus to,
                                   Rota__Phase phase, const char *reason);
/* What is said of a result: `given`, its own words, or what its class is called. */
const char *rota_core_why (rota_core_t *self, Rota__ResultClass class, const Rota__Result *result,
                           const char *given);
void rota_core_finish (rota_core_t *self, rota_node_t node, rota_agent_t agent, uint32_t attempt,
                       Rota__ResultClass class, const Rota__Result *result, const char *reason);
/* Uses an attempt up; true when there are no more, or no sense in them: then *ret_reason says so. */
bool rota_core_use_attempt (rota_core_t *self, rota_node_t node, rota_agent_t agent, uint32_t other,
                            const char **reason);
rota_core_event_t *rota_core_block (rota_core_t *self, rota_node_t node, Rota__BlockCause cause,
                                    const char *reason);
/* The backoff after the n-th time. */
int64_t rota_core_backoff_ms (const rota_core_t *self, rota_node_t node, uint32_t n);

/* core_steps.c */
/* Where it goes from `phase`, which is over: to the next that it wants, or it is done. */
rota_core_event_t *rota_core_advance (rota_core_t *self, rota_node_t node, Rota__Phase phase,
                                      const char *reason);
/* What follows from the result of a gate, a review or a merge. */
rota_core_event_t *rota_core_finish_step (rota_core_t *self, rota_node_t node, rota_agent_t agent,
                                          Rota__ResultClass class, const Rota__Result *result,
                                          const char *reason);
/* The class in whose heap it waits; ROTA_NONE when memory ran out. */
uint32_t rota_core_queue_of (rota_core_t *self, rota_node_t node);
/* The phase in which it would be handed out. */
Rota__Phase rota_core_next_phase (const node_t *it);
/* "!kind" in a class: not by an agent of that kind while another could; "!!kind": never. */
bool rota_core_is_passed_over (const rota_core_t *self, const class_t *class, const agent_t *agent);
/* It did the work that is to be judged, and somebody else is there who can judge it. */
bool rota_core_is_own_judge (rota_core_t *self, const class_t *class, rota_node_t node, const agent_t *agent);

/* core_coordinator.c */
uint64_t rota_core_coordinates_bit (rota_core_t *self);
bool rota_core_class_needs_role (rota_core_t *self, uint64_t capabilities);
uint32_t rota_core_work_class (rota_core_t *self, const node_t *it);
/* What a class doesn't say of who may have it; `node`: the very one, or ROTA_NONE. */
bool rota_core_may_judge (rota_core_t *self, const class_t *class, rota_node_t node, const agent_t *agent);
/* `node`: whose review it is, or ROTA_NONE. */
bool rota_core_role_admits (rota_core_t *self, const class_t *class, rota_node_t node, const agent_t *agent);
bool rota_core_is_coordinator (const rota_core_t *self, const agent_t *agent);
/* The epoch under which the agent gets a task of that class; 0: not as the coordinator. */
uint64_t rota_core_epoch_for (const rota_core_t *self, rota_agent_t agent, uint32_t class_index);
/* A review that was given to a coordinator whose epoch is over: its verdict won't count. */
bool rota_core_is_deposed (const rota_core_t *self, const lease_t *lease);
const char *rota_core_deposed_words (rota_core_t *self, const lease_t *lease);

/* core_batch.c */
/* A merge was granted: what waits behind it goes along. */
void rota_core_batch_fill (rota_core_t *self, rota_node_t leader);
/* It takes no slot of its own: its leader's attempt does it. */
bool rota_core_batch_rides (const lease_t *lease);
/* It will be sent with its leader's assignment. */
bool rota_core_batch_waits (const rota_core_t *self, const lease_t *lease);
/* What follows for the task from how its attempt in a batch ended. */
Rota__ResultClass rota_core_batch_class (rota_core_t *self, const lease_t *lease, Rota__ResultClass class);
int rota_core_batch_verify (const rota_core_t *self, rota_error_t *error);

/* core_agents.c */
/* Reviews under epochs that are over: of who is gone they are taken away, at once; the others are told to end
 * them. */
void rota_core_hand_over_reviews (rota_core_t *self);
void rota_core_grant (rota_core_t *self, rota_node_t node, rota_agent_t agent, Rota__Phase phase);
lease_t *rota_core_lease_of (const rota_core_t *self, rota_node_t node); /* NULL: none */
void rota_core_stop (rota_core_t *self, lease_t *lease, const char *reason);

#endif
