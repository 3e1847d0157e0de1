/* service_internal.h - shared by the service's files.
 *
 * service.c    life, loop, messages             commit.c       the batch and its transaction
 * assign.c     assignments and stops            publish.c      events for subscribers
 * load.c       memory from store and settings   answers.c      conversations: what was answered before
 * serve_work.c agents: register, reports        serve_change.c submit, control
 * import.c     staged imports                   serve_query.c  status, tasks, events, agents
 * why.c        why a task does not run          spend.c        what attempts used
 * serve_coordinator.c the role's candidates for the broker, its proposals
 * serve_budget.c limits, what was spent
 * serve_checkpoint.c essential state, kept and gone back to
 * upkeep.c     timers, trimming, backup, check figures.c      what is counted for /metrics
 * settled.c    roadmaps that have come to rest               room.c         a disk that is nearly full
 * claims.c     what tasks touch
 * serve_health.c how things go
 * serve_snapshots.c the next state, for those who watch
 * serve_context.c what agents are told, what they and people write down
 */
#ifndef ROTA_SERVICE_INTERNAL_H
#define ROTA_SERVICE_INTERNAL_H

#include "bus/metrics.h"
#include "bus/peer.h"
#include "bus/role_lock.h"
#include "proto/words.h"
#include "scheduler/core.h"
#include "scheduler/define.h"
#include "scheduler/health.h"
#include "scheduler/quiet.h"
#include "scheduler/service.h"
#include "scheduler/snapshots.h"
#include "scheduler/store.h"

#include <czmq.h>

typedef struct rota_answers rota_answers_t;
typedef struct rota_import rota_import_t;

/* A message to be let out after the commit. */
typedef struct {
    rota_envelope_t envelope;
    uint8_t *body;
    size_t size;
} outgoing_t;

/* A node added in this batch: its row is written with the state it has at the commit. */
typedef struct {
    rota_node_t node;
    Rota__TaskType type;
    rota_definition_t definition;
    uint8_t *buffer; /* what the definition points at */
    uint64_t staged;
} added_t;

typedef struct {
    rota_node_t node, prerequisite;
    Rota__DependencyType type;
    bool drop;
} edge_change_t;

typedef struct {
    rota_node_t node;
    rota_definition_t definition;
    uint8_t *buffer;
} redefined_t;

typedef struct {
    char *name;
    size_t name_length;
    uint8_t *header;
    size_t header_size;
    bool repository; /* the header names one */
    char *place;     /* which, from the root; NULL = none */
    bool dirty;
    bool moves;       /* something of it runs or can start by itself */
    char foreign[65]; /* where someone else moved its integration branch to, told already */
} source_t;

/* The session that a reported attempt left, until its end is stored. */
typedef struct {
    rota_node_t node;
    rota_session_t session;
} rota_settled_t;

/* A growing array of one type. */
#define VECTOR(type)                                                                                         \
    struct {                                                                                                 \
        type *items;                                                                                         \
        size_t count, capacity;                                                                              \
    }

/* What the scheduler counts of itself for /metrics (figures.c). Kinds are few, and what comes over the room
 * counts as the last one, "other". */
#define ROTA_FIGURE_KINDS 24
#define ROTA_FIGURE_HOSTS 200
#define ROTA_FIGURE_RESULTS 32
#define ROTA_FIGURE_CODES 32
typedef struct {
    struct {
        char name[32];
        uint64_t results[ROTA_FIGURE_RESULTS];
        rota_histogram_t duration;
        uint64_t input_tokens, output_tokens;
        double cost_usd;
    } kinds[ROTA_FIGURE_KINDS];
    size_t kind_count;
    rota_histogram_t wait, commit;
    uint64_t refused[ROTA_FIGURE_CODES]; /* by error code */
    uint64_t dropped, commits_failed;
    uint64_t contexts[2]; /* gathered for an attempt, and again when its assignment was sent once more */
} rota_figures_t;

/* What an agent host's process takes, as its last heartbeat said. */
typedef struct {
    rota_process_use_t use;
    bool known, leaving;
} agent_use_t;

struct rota_scheduler {
    rota_scheduler_config_t config;
    rota_core_policy_t policy;
    char *store_path;
    rota_role_lock_t *role;
    bool role_allowance; /* of progress, for something long that is under way */
    int stop_fd;
    zloop_t *loop;
    rota_peer_t *peer;
    zsock_t *publish;
    rota_store_t *store;
    rota_core_t *core;
    uint64_t epoch;
    int64_t steady_base_ms; /* wall clock at the start less the boot clock */
    int64_t last_tick_ms;
    rota_quiet_t quiet;
    int64_t quiet_until_ms; /* Unix, as the core was told */
    bool stopping;
    int failed; /* why run ends */
    rota_error_t failure;

    rota_answers_t *answers;
    rota_import_t *import;
    VECTOR (source_t) sources; /* index 0 is not used */
    VECTOR (char *) agent_versions;
    VECTOR (char *) agent_problems; /* of those that can't work; NULL = it can */
    VECTOR (agent_use_t) agent_uses;
    bool budgets_dirty;         /* limits set by hand must be written */
    uint8_t (*agent_peers)[16]; /* connected agents that presence told of */
    size_t agent_peer_count;

    /* the batch */
    rota_arena_t *arena;
    size_t batch_count;
    VECTOR (outgoing_t) outgoing;
    VECTOR (added_t) added;
    VECTOR (edge_change_t) edges;
    VECTOR (redefined_t) redefined;
    VECTOR (rota_agent_t) agents_changed;
    VECTOR (rota_node_t) claims_changed;
    VECTOR (rota_settled_t) settled;
    size_t classes_stored;
    bool flip; /* the import's generation is to be shown */
    bool drained;

    rota_backup_t *backup;
    rota_envelope_t backup_for;
    uint64_t sink_cursor, sink_cursor_stored;
    uint64_t published_head;
    int64_t rebuilt_ms;       /* when the memory was made from the store */
    uint64_t told_candidates; /* a hash of what the broker was told of the coordinator's role; 0 = nothing */
    int64_t trim_after_ms;
    uint64_t batches, messages;
    rota_figures_t figures;
    rota_snapshots_t snapshots;
    bool disk_low;   /* nothing new is taken or begun */
    int64_t room_ms; /* when to look again */
    int64_t sweep_after_ms;
    uint64_t swept_task;      /* key: attempts of tasks up to it were looked at */
    uint64_t settled_version; /* of the core, when it was last looked which roadmaps move; 0 = not yet */
    int64_t settled_ms;       /* when to look again all the same */
    int64_t context_checkpoint_ms, trim_checkpoint_ms; /* when they may be taken again */
};

typedef struct rota_scheduler service_t;

int64_t rota_service_now_ms (const service_t *self);       /* the core's steady clock */
int64_t rota_service_retention_ms (const service_t *self); /* what is old is old by it: bus/clock.h */

/* Makes room for one more; NULL when memory ran out (the batch then fails). */
void *rota_vector_push (service_t *self, void *vector, size_t item_size);
#define VPUSH(self, vector)                                                                                  \
    ((__typeof__ ((self)->vector.items))rota_vector_push ((self), &(self)->vector,                           \
                                                          sizeof *(self)->vector.items))

/* Answers are let out after the commit of the batch they are made in. */
void rota_service_answer (service_t *self, const rota_envelope_t *request, uint32_t type,
                          const ProtobufCMessage *message);
__attribute__ ((format (printf, 4, 5))) void rota_service_refuse (service_t *self,
                                                                  const rota_envelope_t *request,
                                                                  Rota__ErrorCode code, const char *format,
                                                                  ...);
void rota_service_refuse_faults (service_t *self, const rota_envelope_t *request,
                                 rota_define_faults_t *faults, const char *what);
void rota_service_send (service_t *self, const uint8_t to[16], uint32_t type,
                        const ProtobufCMessage *message);
void rota_service_tell_broker (service_t *self, uint32_t type, const ProtobufCMessage *message);
/* Commits what there is and lets it out. */
void rota_service_flush (service_t *self);
/* Ends the service: another has the role, or the store failed for good. */
void rota_service_fail (service_t *self, int code, const char *text);

/* The source's index; a new one is made. 0 when memory ran out. `header` may be NULL. */
uint32_t rota_service_source (service_t *self, const char *name, size_t length,
                              const Rota__RoadmapHeader *header);
uint32_t rota_service_find_source (const service_t *self, const char *name, size_t length); /* 0 = unknown */
rota_define_source_t rota_service_define_source (const service_t *self, uint32_t source);
/* Adds the definition as a node, staged, to the batch. */
int rota_service_stage (service_t *self, uint32_t source, const Rota__TaskSpec *spec, rota_node_t parent,
                        uint64_t staged, rota_node_t *ret_node, rota_define_faults_t *faults);
int rota_service_link (service_t *self, rota_node_t node, rota_node_t prerequisite,
                       Rota__DependencyType type);
const char *rota_service_agent_name (const service_t *self, rota_agent_t agent);
rota_agent_t rota_service_find_agent (const service_t *self, ProtobufCBinaryData name); /* or ROTA_NONE */

/* commit.c */
void rota_service_fill_envelope (const service_t *self, rota_envelope_t *envelope);
void rota_service_clear_batch (service_t *self);
void rota_service_drop_outgoing (service_t *self);

/* assign.c */
void rota_service_send_work (service_t *self, const rota_core_effects_t *effects);
/* foreign.c: says that someone else moved the integration branch, once. */
void rota_service_note_foreign (service_t *self, rota_node_t node, const Rota__Work *work);
/* Location and target of the repository that the task's source names; false = none. */
bool rota_service_locate_repository (service_t *self, const rota_core_node_t *node,
                                     Rota__Repository *ret_repository);

/* publish.c */
void rota_service_publish_events (service_t *self, const rota_core_effects_t *effects, uint64_t first,
                                  int64_t wall_ms);
int rota_service_on_head_timer (zloop_t *loop, int timer, void *owner);

/* load.c */
void rota_service_read_policy (service_t *self);
int rota_service_read_resilience (service_t *self, rota_error_t *error); /* after the policy */
int rota_service_read_quiet_hours (service_t *self, rota_error_t *error);
/* Core, names and conversations as the file has them. Agents register anew when they are asked to. */
int rota_service_rebuild (service_t *self, rota_error_t *error);
void rota_service_free_names (service_t *self);

/* answers.c */
rota_answers_t *rota_answers_new (void);
void rota_answers_destroy (rota_answers_t **self_p);
int rota_answers_load (rota_answers_t *self, const uint8_t id[16], uint64_t low, const uint8_t *window,
                       size_t size, int64_t used_ms);
typedef enum {
    ROTA_ANSWER_NEW,
    ROTA_ANSWER_REPEATED,
    ROTA_ANSWER_CONFLICT,
    ROTA_ANSWER_ENDED,
    ROTA_ANSWER_NO_MEMORY
} rota_answer_state_t;
/* Looks a durable request up; REPEATED gives the stored answer (borrowed). */
rota_answer_state_t rota_answers_look_up (rota_answers_t *self, const rota_envelope_t *request,
                                          uint64_t body_hash, int64_t wall_ms, uint32_t *ret_type,
                                          const uint8_t **ret_body, size_t *ret_size);
void rota_answers_keep (rota_answers_t *self, const rota_envelope_t *request, uint64_t body_hash,
                        uint32_t type, const uint8_t *body, size_t size);
/* Writes the rows of those that changed. */
void rota_answers_store (rota_answers_t *self, rota_store_t *store);
void rota_answers_stored (rota_answers_t *self);
/* Idle since `before_ms`: the answers go; since `forget_before_ms`: all of it. Returns how many changed. */
size_t rota_answers_expire (rota_answers_t *self, rota_store_t *store, int64_t before_ms,
                            int64_t forget_before_ms);
bool rota_answers_dirty (const rota_answers_t *self);
/* The request that is being handled, so that rota_service_answer keeps what it says. */
void rota_answers_begin (rota_answers_t *self, const rota_envelope_t *request, uint64_t body_hash);
void rota_answers_end (rota_answers_t *self);
void rota_answers_answer (rota_answers_t *self, const rota_envelope_t *request, uint32_t type,
                          const uint8_t *body, size_t size);

/* serve_snapshots.c */
/* Answers those who watch, when their turn has come; after the commit. */
void rota_service_turn_snapshots (service_t *self);

/* role.c: the lock scheduler.lock in the state directory */
/* Takes the role, or finds another with it: -EBUSY, or 0 for one that stands by. */
int rota_service_ask_role (service_t *self, rota_error_t *error);
/* Returns when the role is held, or it was told to stop. */
int rota_service_await_role (service_t *self, rota_error_t *error);
/* Shows that the loop turns; ends the service when the lock is no longer what says who serves. */
void rota_service_keep_role (service_t *self);
/* Something long is about to begin; the loop's next turn ends it. */
void rota_service_hold_role (service_t *self, int64_t for_ms);

/* claims.c */
/* What the roadmap says of claims, and with which sources it shares its files. */
void rota_claims_of_source (service_t *self, uint32_t source, const Rota__RoadmapHeader *header);
/* The word that holds for a source: strict, hold, warn, off. */
const char *rota_claims_policy (const service_t *self, const Rota__RoadmapHeader *header);
void rota_claims_define (service_t *self, rota_node_t node, const Rota__TaskSpec *spec);
/* From what an attempt changed. */
void rota_claims_learn (service_t *self, rota_node_t node, const Rota__Work *work);
void rota_claims_store (service_t *self);

/* spend.c */
/* Makes this attempt's usage of what was counted since the session began. */
void rota_spend_settle (service_t *self, rota_node_t node, Rota__Result *result, rota_settled_t *ret_settled);
void rota_spend_ended (service_t *self, const rota_core_ended_t *ended);

/* serve_quality.c */
/* The score of the work that a result of its gates, review or merge is about; of a review in parts the last
 * one is made what all of them said. */
void rota_quality_note (service_t *self, rota_node_t node, uint32_t attempt, Rota__Result *result);
/* In the transaction: its round is over, and counts in the averages. */
void rota_quality_ended (service_t *self, const rota_core_ended_t *ended);
void rota_quality_fill (service_t *self, Rota__StatusReply *reply);

/* serve_budget.c */
int rota_budget_read_settings (service_t *self, rota_error_t *error);
int rota_budget_load (service_t *self, rota_error_t *error);
bool rota_budget_has_changes (const service_t *self);
void rota_budget_store (service_t *self, const rota_core_effects_t *effects);
void rota_budget_stored (service_t *self);
/* What the agent used today. False: nothing. */
bool rota_spend_today (service_t *self, rota_agent_t agent, rota_core_tally_t *ret_tally);
/* Which budget holds a task that is ready, until when (0: until somebody raises it). False: none. */
bool rota_budget_explain (service_t *self, rota_node_t node, char *ret_text, size_t capacity,
                          int64_t *ret_until_ms);

/* serve_checkpoint.c */
/* Into the transaction of this batch, with its event. The id; 0: it failed, as the commit will. */
uint64_t rota_service_take_checkpoint (service_t *self, const char *cause);
/* When an attempt of this batch met its context limit. */
void rota_service_checkpoint_limits (service_t *self);
/* Before events go for good; `oldest_ms`... are the first of the log. */
void rota_service_checkpoint_trim (service_t *self, int64_t before_ms, uint64_t cap);
/* In a transaction, by the settings. */
void rota_service_trim_checkpoints (service_t *self);

/* handlers: serve_*.c, import.c, why.c, upkeep.c */
#define HANDLER(name)                                                                                        \
    void rota_serve_##name (service_t *self, const rota_envelope_t *from, const ProtobufCMessage *message)
HANDLER (presence);
HANDLER (register);
HANDLER (accepted);
HANDLER (agent_heartbeat);
HANDLER (report);
HANDLER (output);
HANDLER (tell);
HANDLER (submit);
HANDLER (control);
HANDLER (import_begin);
HANDLER (import_chunk);
HANDLER (import_commit);
HANDLER (import_abort);
HANDLER (status);
HANDLER (tasks);
HANDLER (task);
HANDLER (why);
HANDLER (events);
HANDLER (agents);
HANDLER (backup);
HANDLER (check);
HANDLER (sink_cursor);
HANDLER (proposal);
HANDLER (budgets);
HANDLER (budget_change);
HANDLER (checkpoint_take);
HANDLER (checkpoints_query);
HANDLER (checkpoint_restore);
HANDLER (metrics);
HANDLER (health);
HANDLER (snapshot);

/* room.c */
void rota_service_look_at_room (service_t *self, int64_t now_ms);
/* True: refused with DISK_FULL. */
bool rota_service_refuses_for_room (service_t *self, const rota_envelope_t *from);

/* settled.c */
/* Notes which roadmaps have come to rest in this batch. */
void rota_service_note_settled (service_t *self);

/* figures.c */
double rota_figures_clock_s (void);
/* A batch was committed, which took so long. */
void rota_figures_committed (service_t *self, const rota_core_effects_t *effects, double took_s);
HANDLER (context_add);
HANDLER (context_remove);
HANDLER (context_query);
HANDLER (context_show);

/* serve_context.c */
/* What a report that was accepted brings. */
void rota_service_take_notes (service_t *self, rota_agent_t agent, const Rota__AttemptReport *report);
void rota_service_keep_answer (service_t *self, rota_node_t node, const char *question,
                               ProtobufCBinaryData answer);
bool rota_service_wants_context (service_t *self, const rota_core_node_t *node, Rota__Phase phase);
/* What goes with an assignment, or with one that is sent again: a packed Context in the batch's memory; empty
 * when there is nothing to tell. Once for each: it is what costs most of an assignment. */
ProtobufCBinaryData rota_service_context_of (service_t *self, const rota_core_assign_t *assign,
                                             ProtobufCBinaryData packed_spec);

/* serve_coordinator.c */
/* To the leading broker, when it is not as it was told last. */
void rota_service_tell_candidates (service_t *self);
/* transfer, step-down */
void rota_service_control_coordinator (service_t *self, const rota_envelope_t *from,
                                       const Rota__Control *control);

/* import.c */
void rota_import_destroy (rota_import_t **self_p);
/* Ends the import: its client is gone, said nothing for long, or the core was rebuilt. */
void rota_import_drop (service_t *self, const char *reason);
void rota_import_gone (service_t *self, const uint8_t instance[16]);
void rota_import_flipped (service_t *self); /* after the commit that showed it */
uint64_t rota_import_generation (const rota_import_t *self);
void rota_import_tick (service_t *self);

/* serve_query.c */
void rota_event_message (service_t *self, const rota_stored_event_t *stored, Rota__Event *ret_event);
/* ROTA_NONE (all) when a query names none; false when it names one that isn't there. */
bool rota_read_source (const service_t *self, bool has, ProtobufCBinaryData name, uint32_t *ret_source);
uint64_t rota_state_version (const service_t *self);
void rota_fill_status (service_t *self, uint32_t source, Rota__StatusReply *ret_reply);
void rota_fill_counts (service_t *self, const uint64_t status[ROTA_STATUSES], size_t *ret_count,
                       Rota__StatusCount ***ret_list);
/* In the batch's memory; the id when there is no title. */
ProtobufCBinaryData rota_title_of (service_t *self, rota_node_t node);
void rota_fill_state (service_t *self, rota_node_t node, bool specs, Rota__TaskState *ret_state);

/* upkeep.c */
void rota_upkeep_tick (service_t *self);

#endif
