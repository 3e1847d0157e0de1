/* day.h - a day of a large roadmap in seconds: the scheduler's real core and its real SQLite store, agents
 * that are played, and a clock that the test moves.
 *
 * day_store.c   the roadmap, the commits, a scheduler that dies and loads anew
 * day_agents.c  agents that work, fail, meet limits and die
 * day_order.c   a second opinion: who is next, worked out from definitions and events alone; the whole log
 * test_day.c    the loop and its figures
 */
#ifndef ROTA_TEST_LOAD_DAY_H
#define ROTA_TEST_LOAD_DAY_H

#include "proto/words.h"
#include "scheduler/core.h"
#include "scheduler/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { AGENTS = 100, AGENTS_AN_ACCOUNT = 5, CLAIMS = 20, MAX_NEEDS = 2, TASKS_AN_EPIC = 1000 };
#define DAY_START_MS INT64_C (1795435200000) /* an hour begins */
#define STEP_MS INT64_C (1000)
#define HEARTBEAT_MS INT64_C (30000)
#define LIMITED_ACCOUNT "account-0" /* the one that may begin LIMITED_STARTS attempts an hour */
#define LIMITED_STARTS 60

/* As it was defined. */
typedef struct {
    rota_node_t needs[MAX_NEEDS];
    uint8_t need_count, priority, complexity, claim; /* claim: 0 = none */
    bool poison;                                     /* fails whatever is done; nothing waits for it */
    uint16_t unblocks;
} plan_t;

/* As the committed events say. */
typedef struct {
    uint8_t status, attempts, unmet;
    bool apart; /* other rules than the order decide when it runs: it claims files, prefers a kind of agent */
    uint32_t generation;
    int64_t ready_ms;
} known_t;

typedef struct {
    int64_t key;
    rota_node_t node;
    uint32_t generation;
} entry_t;
typedef struct {
    entry_t *items;
    size_t count, capacity;
} entries_t; /* a binary heap */

typedef struct {
    char name[24], account[24];
    uint32_t number;
    rota_agent_t index;
    uint8_t instance[16];
    bool up, registered, working, finished;
    rota_node_t node;
    uint32_t attempt;
    int64_t due_ms; /* its work ends, or it comes back */
    int64_t heartbeat_ms;
    Rota__ResultClass class;
    int64_t until_ms;
    Rota__Result result; /* borrowed by the core until its effects are cleared */
} agent_row_t;

typedef struct {
    size_t tasks, nodes;
    uint64_t seed;
    int64_t now_ms;
    rota_core_policy_t policy;
    rota_core_t *core;
    rota_store_t *store;
    char directory[64], path[96];
    plan_t *plan;   /* by node */
    known_t *known; /* by node */
    entries_t ready, later;
    agent_row_t agents[AGENTS];
    int64_t resting_until_ms[AGENTS / AGENTS_AN_ACCOUNT]; /* as their reports say */
    size_t limited_starts;
    int64_t limited_hour;
    size_t ended, in_order, apart; /* starts that were the best of all that were ready; those that had another
                                      reason */
    size_t failures, limits, host_crashes, crashes_before, crashes_after, commits, tries, verified;
    bool dies_before;
} day_t;

uint64_t day_draw (const day_t *self, uint64_t a, uint64_t b); /* the same for the same */
#define MUST(condition, ...)                                                                                 \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            print_error (__VA_ARGS__);                                                                       \
            print_error ("\n");                                                                              \
            fail ();                                                                                         \
        }                                                                                                    \
    } while (0)

/* day_store.c */
void day_open (day_t *self, size_t tasks, uint64_t seed);
void day_close (day_t *self);
/* What can be handed out is handed out, all of it committed and let out; or the scheduler dies on the way. */
void day_commit (day_t *self);
void day_verify (day_t *self);

/* day_agents.c */
void day_agents_open (day_t *self);
void day_agents_live (day_t *self);
void day_agents_forgotten (day_t *self); /* a new scheduler knows none of them */
void day_assigned (day_t *self, const rota_core_assign_t *assign);
void day_stopped (day_t *self, const rota_core_stop_t *stop);
void day_acknowledge (day_t *self); /* what was reported is stored */

/* day_order.c */
void day_order_step (day_t *self); /* the time has come for those that waited for it */
void day_order_event (day_t *self, const rota_core_event_t *event);
void day_order_started (day_t *self, const rota_core_assign_t *assign);
void day_order_replay (day_t *self); /* the whole log, from the store */

#endif
