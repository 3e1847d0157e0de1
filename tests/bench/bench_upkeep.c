/* bench_upkeep - what goes on beside the work: how long retention keeps the scheduler, and what budgets cost.
 *
 * usage: bench_upkeep [EVENTS [DIRECTORY]]. Retention is measured in the slices in which the scheduler's loop
 * does it, each in its transaction: between two of them it answers. Prints and never judges.
 */
#include "proto/words.h"
#include "scheduler/budget.h"
#include "scheduler/core.h"
#include "scheduler/store.h"
#include "stack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TASKS 20000
#define ATTEMPTS_A_TASK 50
#define LIVES 20000

static void must (bool good, const char *what)
{
    if (!good)
        bench_die (what, "it could not be measured");
}

typedef struct {
    double sum_ms, longest_ms;
    size_t slices;
} pauses_t;

static void add_pause (pauses_t *self, double began_ms)
{
    double took_ms = bench_now_ms () - began_ms;
    self->sum_ms += took_ms;
    self->longest_ms = took_ms > self->longest_ms ? took_ms : self->longest_ms;
    self->slices++;
}

static void say (const char *what, const pauses_t *pauses)
{
    printf ("%s: longest pause %.1f ms, mean %.1f ms, %zu of them, %.1f s in all\n", what, pauses->longest_ms,
            pauses->sum_ms / (double)pauses->slices, pauses->slices, pauses->sum_ms / 1e3);
    fflush (stdout);
}

/* ------------------------------------------------------------------------------------------ retention */

static void begin (rota_store_t *store)
{
    rota_error_t error = {""};
    must (rota_store_begin (store, &error) == 0, error.text);
}

static void commit (rota_store_t *store)
{
    rota_error_t error = {""};
    must (rota_store_commit (store, &error) == 0, error.text);
    rota_store_checkpoint (store, false);
}

static void trim_events (rota_store_t *store, size_t count)
{
    pauses_t pauses = {0};
    for (size_t i = 0; i < count; i++) {
        const rota_core_event_t event = {.type = EVENT (TASK_MOVED),
                                         .node = (rota_node_t)(i % TASKS),
                                         .agent = ROTA_NONE,
                                         .from = 1,
                                         .to = 2,
                                         .reason = "one of many"};
        if (i % ROTA_TRIM_EVENTS == 0)
            begin (store);
        rota_store_add_event (store, &event, 1000);
        if (i % ROTA_TRIM_EVENTS == ROTA_TRIM_EVENTS - 1 || i == count - 1)
            commit (store);
    }
    for (uint64_t gap[2], last = 1; last;) {
        double began_ms = bench_now_ms ();
        begin (store);
        last = rota_store_trim_events (store, 2000, UINT64_MAX, UINT64_MAX, ROTA_TRIM_EVENTS, gap);
        commit (store);
        add_pause (&pauses, began_ms);
    }
    must (rota_store_count (store, "event") <= 1, "some events are left");
    char what[80];
    snprintf (what, sizeof what, "%zu events removed", count);
    say (what, &pauses);
}

static void trim_attempts (rota_store_t *store, rota_core_t *core)
{
    const rota_definition_t definition = {.title = "a task", .title_length = 6};
    pauses_t pauses = {0};
    size_t removed = 0;
    for (rota_node_t i = 0; i < TASKS; i++) {
        if (i % 200 == 0)
            begin (store);
        rota_store_add_task (store, core, i, 0, &definition, 0, 1000);
        for (uint32_t n = 1; n <= ATTEMPTS_A_TASK; n++)
            rota_store_add_attempt (store,
                                    &(rota_core_ended_t){.node = i,
                                                         .agent = 0,
                                                         .attempt = n,
                                                         .phase = PHASE (WORK),
                                                         .used = true,
                                                         .result_class = RESULT (FAILED)},
                                    1000);
        if (i % 200 == 199)
            commit (store);
    }
    for (uint64_t after = 0; after < TASKS;) {
        size_t dropped;
        double began_ms = bench_now_ms ();
        begin (store);
        uint64_t last = rota_store_trim_attempts (store, after, 2000, ROTA_SWEEP_TASKS, &dropped);
        after = dropped >= ROTA_TRIM_ATTEMPTS ? last : after + ROTA_SWEEP_TASKS;
        commit (store);
        add_pause (&pauses, began_ms);
        removed += dropped;
    }
    char what[80];
    snprintf (what, sizeof what, "%zu attempts removed", removed);
    say (what, &pauses);
}

/* -------------------------------------------------------------------------------------------- budgets */

static rota_core_t *make_core (size_t tasks, Rota__TaskStatus status, uint32_t attempts)
{
    rota_core_policy_t policy;
    const char *prompt = "prompt";
    uint32_t class_index;
    bool new;
    rota_core_policy_default (&policy);
    rota_core_t *core = rota_core_new (&policy, 1000);
    must (core && rota_core_class (core, 1, "", 0, &prompt, 1, &class_index, &new) == 0, "the core");
    rota_core_name_source (core, 1, "plan");
    for (size_t i = 0; i < tasks; i++) {
        char id[32];
        rota_node_t node;
        snprintf (id, sizeof id, "task-%zu", i);
        const rota_core_node_t it = {.id = id,
                                     .id_length = strlen (id),
                                     .kind = NODE (TASK),
                                     .parent = ROTA_NONE,
                                     .source = 1,
                                     .class_index = class_index,
                                     .status = status,
                                     .attempt = attempts,
                                     .attempts_used = attempts ? 1 : 0,
                                     .attempts_allowed = 3,
                                     .agent = ROTA_NONE,
                                     .author = ROTA_NONE};
        must (rota_core_add (core, &it, &node) == 0, "add");
    }
    rota_core_open (core, 0, (rota_node_t)tasks, false, 1000);
    rota_core_effects_clear (core);
    return core;
}

/* Of each kind, account, agent and source one that concerns the work; the others are of tasks. */
static void set_budgets (rota_core_t *core, size_t count)
{
    static const struct {
        rota_scope_t scope;
        const char *name;
    } FIRST[] = {{ROTA_SCOPE_ALL, ""},
                 {ROTA_SCOPE_KIND, "sim"},
                 {ROTA_SCOPE_AGENT, "sim@here"},
                 {ROTA_SCOPE_SOURCE, "plan"},
                 {ROTA_SCOPE_ACCOUNT, "sim@here"}};
    rota_limits_t limits;
    rota_limits_init (&limits);
    limits.of[ROTA_MEASURE_USD][ROTA_PERIOD_DAY] = INT64_C (1) << 60;
    limits.of[ROTA_MEASURE_ATTEMPTS][ROTA_PERIOD_HOUR] = INT64_C (1) << 40;
    for (size_t i = 0; i < count; i++) {
        char name[32];
        snprintf (name, sizeof name, "task-%zu", i * (LIVES / (count + 1)));
        bool first = i < sizeof FIRST / sizeof *FIRST;
        must (rota_core_budget_set (core, first ? FIRST[i].scope : ROTA_SCOPE_TASK,
                                    first ? FIRST[i].name : name, false, &limits, 1000) == 0,
              "a budget");
    }
}

/* Microseconds of a whole life in the core: dispatch, reserve, report, settle. */
static double life_us (size_t budgets)
{
    const char *prompt = "prompt";
    rota_agent_t agent;
    const rota_core_agent_t it = {.name = "sim@here",
                                  .kind = "sim",
                                  .host = "here",
                                  .slots = 1,
                                  .paid = true,
                                  .capabilities = &prompt,
                                  .capability_count = 1};
    Rota__Usage usage = ROTA__USAGE__INIT;
    Rota__Result ok = ROTA__RESULT__INIT;
    usage.has_cost_usd = usage.has_input_tokens = true;
    usage.cost_usd = 0.01;
    usage.input_tokens = 1000;
    ok.has_result_class = true;
    ok.result_class = RESULT (OK);
    ok.usage = &usage;
    rota_core_t *core = make_core (LIVES, STATUS (PENDING), 0);
    must (rota_core_agent_register (core, &it, NULL, 0, 1000, &agent) == 0, "register");
    set_budgets (core, budgets);
    rota_core_effects_clear (core);
    double began_ms = bench_now_ms ();
    for (size_t i = 0; i < LIVES; i++) {
        rota_core_effects_t effects;
        rota_core_dispatch (core, 1000);
        rota_core_effects (core, &effects);
        must (effects.assign_count == 1, "dispatch");
        rota_node_t node = effects.assigns[0].node;
        uint32_t attempt = effects.assigns[0].attempt;
        rota_core_effects_clear (core);
        rota_core_report (core, node, attempt, &ok, 1000);
    }
    double us = (bench_now_ms () - began_ms) * 1000 / LIVES;
    rota_core_effects_clear (core);
    rota_core_destroy (&core);
    return us;
}

int main (int argc, char **argv)
{
    size_t events = argc > 1 ? strtoull (argv[1], NULL, 10) : 1000000;
    char directory[BENCH_PATH_BYTES], path[BENCH_PATH_BYTES + 16];
    rota_store_t *store;
    rota_error_t error = {""};
    uint64_t epoch;
    for (size_t budgets = 0, last = 3; last--; budgets = budgets ? 1000 : 10)
        printf ("a task's life in the core with %zu budgets: %.2f us\n", budgets, life_us (budgets));
    if (argc > 2)
        snprintf (directory, sizeof directory, "%s", argv[2]);
    else
        bench_make_directory (directory);
    snprintf (path, sizeof path, "%s/rota.db", directory);
    must (rota_store_open (path, &store, &error) == 0 && rota_store_take_role (store, &epoch, &error) == 0,
          error.text);
    rota_core_t *core = make_core (TASKS, STATUS (DONE), ATTEMPTS_A_TASK);
    trim_events (store, events);
    trim_attempts (store, core);
    rota_core_destroy (&core);
    rota_store_close (&store);
    if (argc <= 2)
        bench_remove_directory (directory);
    return 0;
}
