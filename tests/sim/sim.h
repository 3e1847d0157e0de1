/* sim.h - the simulated world: a scheduler's core, its store, hosts, connections and people, all from one
 * seed.
 *
 * model.c       what waits for what, worked out the slow way
 * sim_hosts.c   connections and hosts                    sim_people.c  submits, imports, verbs
 * sim_money.c   what is spent and reserved
 * test_sim.c    the store, the scheduler's loop, the runs
 */
#ifndef ROTA_TEST_SIM_H
#define ROTA_TEST_SIM_H

#include "proto/words.h"
#include "scheduler/budget.h"
#include "scheduler/core.h"
#include "scheduler/health.h"
#include "tests/sim/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { HOSTS = 3, HELD = 32, QUEUE = 256, HISTORY = 40, ACCOUNTS = 8, STAGED_EDGES = 24, TALLIES = 128 };
#define LEASE_MS 3000
#define MARGIN_MS 500
#define HEARTBEAT_MS 500

typedef struct {
    rota_core_node_t node; /* as committed */
    char id[16], reason[80], claim[32];
    size_t done; /* moves to done since it was opened last */
    uint32_t score;
    bool reserves; /* it is leased, and something is reserved */
    char account[16];
    int64_t reserved[ROTA_MEASURES];
} row_t;

typedef struct {
    rota_node_t node;
    uint32_t attempt;
    bool running;
    int64_t ends_ms, lease_ms;
    uint64_t epoch; /* of the coordinator, handed back */
    Rota__ResultClass class;
    int64_t until_ms;        /* of a limit, 0 = it names none */
    uint8_t verdict;         /* 0 = none, 1 = changes, 2 = approved */
    uint32_t millis, tokens; /* what it used, thousandths of a USD; 0 = it doesn't say */
} held_t;

typedef enum {
    LOST,
    REPEATED,
    OVERTAKEN,
    DELAYED,
    CUT,
    HOST_CRASH,
    HOST_STOP,
    DEATH_BEFORE,
    DEATH_AFTER,
    BREAKER,
    CLAIM,
    BUDGET,
    FAULT_KINDS
} fault_t;

typedef enum { REGISTERED, ASSIGN, STOP, HEARD, ACKNOWLEDGED, REGISTER, ACCEPTED, HEARTBEAT, REPORT } kind_t;

typedef struct {
    kind_t kind;
    uint8_t instance; /* of the host it is from or to */
    bool full;
    int64_t due_ms, lease_ms, until_ms;
    uint64_t number; /* of the host, rising */
    rota_node_t node;
    uint32_t attempt;
    uint64_t epoch;
    Rota__ResultClass class;
    uint8_t verdict;
    uint32_t millis, tokens;
    rota_held_t held[HELD];
    size_t held_count;
} message_t;

typedef struct {
    message_t items[QUEUE]; /* a ring */
    size_t first, count;
} queue_t; /* first in, first out, as a connection is; with faults some overtake others (a connection that
              broke) */

typedef struct {
    uint8_t instance;
    bool registered;
    int64_t stopped_until_ms, cut_until_ms, heartbeat_at_ms, register_at_ms;
    uint64_t number;
    int64_t heard_ms; /* when the newest message was sent that was answered */
    held_t held[HELD];
    size_t count;
    queue_t in;
} host_t;

typedef struct {
    rota_core_limit_t limits[ROTA_LIMITS_MAX]; /* as committed */
    size_t limit_count;
    char name[16], reason[ROTA_LIMITS_MAX][80], window[ROTA_LIMITS_MAX][ROTA_WINDOW_NAME_BYTES];
    int64_t closed_until_ms; /* as the reports say that came since it worked last */
} account_row_t;

/* An import that is being sent: staged, and invisible until it is committed. */
typedef struct {
    bool under_way;
    rota_node_t first;
    struct {
        rota_node_t node, prerequisite;
    } edges[STAGED_EDGES];
    size_t edge_count;
} import_t;

typedef struct {
    uint64_t random;
    unsigned seed;
    int64_t now_ms, rebuilt_ms;
    bool faults;
    rota_core_t *core;
    rota_core_policy_t policy;
    uint32_t source_limit;
    model_t model; /* as committed, and by the index of a row */
    row_t rows[MODEL_NODES];
    import_t import;
    uint8_t agent_instance[HOSTS]; /* as committed; index = agent */
    char agent_name[HOSTS][16];
    size_t agent_count;
    account_row_t accounts[ACCOUNTS];
    size_t account_count;
    rota_core_tally_t tallies[TALLIES]; /* as committed */
    size_t tally_count, begun;          /* attempts that count, as committed */
    int64_t limit;                      /* of them, 0 = none */
    int64_t usd_limit;                  /* of the source in nano-USD, 0 = none */
    int64_t spent[ROTA_MEASURES];       /* by the committed ends of attempts */
    rota_core_estimate_t estimates[ROTA_ESTIMATES];
    size_t estimate_count, unsaid; /* attempts that were counted as what was reserved for them */
    host_t hosts[HOSTS];
    queue_t in;                   /* to the scheduler */
    rota_core_coordinator_t role; /* as committed */
    rota_core_health_state_t health;
    char mode_reason[200];
    size_t modes, restored;
    size_t elections;
    uint32_t
        taken_away[MODEL_NODES]; /* the newest review that was begun anew while its reviewer may be at it */
    uint8_t next_instance;
    unsigned next_id;
    char history[HISTORY][120];
    size_t acts, batches;
    uint64_t verified; /* the core's version when it was */
    size_t refused_cycles, imports, limits, merges, batched, stale_verdicts; /* that they come about at all */
    size_t faults_of[FAULT_KINDS];
} world_t;

uint64_t sim_draw (world_t *self);
bool sim_chance (world_t *self, unsigned percent);
size_t sim_below (world_t *self, size_t limit);
__attribute__ ((format (printf, 2, 3))) void sim_note (world_t *self, const char *format, ...);

#define EXPECT(self, condition, ...)                                                                         \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            print_error ("seed %u: ", (self)->seed);                                                         \
            print_error (__VA_ARGS__);                                                                       \
            print_error ("\nwhat came before:\n");                                                           \
            for (size_t h_ = (self)->acts > HISTORY ? (self)->acts - HISTORY : 0; h_ < (self)->acts; h_++)   \
                print_error ("  %s\n", (self)->history[h_ % HISTORY]);                                       \
            fail ();                                                                                         \
        }                                                                                                    \
    } while (0)

/* sim_hosts.c */
void sim_post (world_t *self, queue_t *queue, const message_t *message, bool cut);
bool sim_take (world_t *self, queue_t *queue, message_t *ret_message);
bool sim_is_cut (const world_t *self, const host_t *host);
void sim_instance_bytes (uint8_t instance, uint8_t ret_bytes[16]);
host_t *sim_host_of (world_t *self, const uint8_t instance[16]); /* NULL: of an incarnation that is gone */
void sim_host_lives (world_t *self, host_t *host);
void sim_host_crashes (world_t *self, host_t *host);
void sim_host_stops (world_t *self, host_t *host);
/* Two attempts of a task never run at the same time on hosts that obey. */
void sim_expect_one_runner (world_t *self);

/* sim_money.c */
void sim_money_use (world_t *self, held_t *held);
void sim_money_say (const message_t *message, Rota__Usage *usage);
void sim_money_keep (world_t *self, rota_node_t node);             /* what is reserved for it, with its row */
void sim_money_ended (world_t *self, const rota_core_ended_t *it); /* before its row is written anew */
void sim_money_learned (world_t *self);
void sim_money_expect (world_t *self, const rota_core_effects_t *effects); /* after all rows are written */
bool sim_money_allows (const world_t *self);                               /* any attempt whatever */
void sim_money_load (world_t *self);
void sim_money_load_lease (world_t *self, rota_node_t node);

/* sim_people.c */
void sim_submit (world_t *self, size_t count);
void sim_import (world_t *self); /* begins one, or ends the one that is under way */
void sim_somebody_acts (world_t *self);

/* test_sim.c */
uint32_t sim_class (world_t *self);
/* The answer to a durable message goes out only when its batch was committed. */
void sim_end_batch (world_t *self, host_t *host, const message_t *answer);
/* A batch of which only the case is of interest that it is committed. */
void sim_end_batch_well (world_t *self);

#endif
