/* The roadmap, the commits as the scheduler's loop makes them, and a scheduler that dies and loads anew. */
#include "scheduler/health.h"
#include "tests/load/day.h"

#include "scheduler/budget.h"

#include <dirent.h>
#include <unistd.h>

uint64_t day_draw (const day_t *self, uint64_t a, uint64_t b)
{
    uint64_t x = self->seed ^ (a + 1) * 0x9e3779b97f4a7c15u ^ (b + 1) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* --------------------------------------------------------------------------------------- the roadmap */

static uint32_t class_of_all (day_t *self)
{
    static const char *const WANTED[] = {"prompt"};
    uint32_t class_index;
    bool new;
    assert_int_equal (rota_core_class (self->core, 1, "", 0, WANTED, 1, &class_index, &new), 0);
    return class_index;
}

static void add_node (day_t *self, const char *id, Rota__NodeKind kind, rota_node_t parent)
{
    const rota_node_t at = (rota_node_t)rota_core_count (self->core);
    const plan_t *plan = &self->plan[at];
    const rota_core_node_t it = {.id = id,
                                 .id_length = strlen (id),
                                 .kind = kind,
                                 .parent = parent,
                                 .source = 1,
                                 .class_index = kind == NODE (TASK) ? class_of_all (self) : 0,
                                 .status = kind == NODE (TASK) ? STATUS (PENDING) : 0,
                                 .priority = plan->priority,
                                 .complexity = plan->complexity,
                                 .attempts_allowed = plan->poison ? 3 : 20,
                                 .author = ROTA_NONE,
                                 .agent = ROTA_NONE,
                                 .ready_since_ms = self->now_ms};
    rota_node_t node;
    assert_int_equal (rota_core_add (self->core, &it, &node), 0);
    assert_int_equal (node, at);
}

static void plan_task (day_t *self, rota_node_t node)
{
    plan_t *plan = &self->plan[node];
    uint64_t draw = day_draw (self, node, 3);
    plan->poison = draw % 500 == 0;
    plan->priority = (uint8_t)(draw / 500 % 50);
    plan->complexity = (uint8_t)(1 + draw / 25000 % 10);
    plan->claim = draw / 250000 % 50 == 0 ? (uint8_t)(1 + draw / 12500000 % CLAIMS) : 0;
    for (size_t i = 0; i < MAX_NEEDS; i++) {
        uint64_t back = 1 + day_draw (self, node, 4 + i) % 500;
        rota_node_t on = back <= node ? node - (rota_node_t)back : ROTA_NONE;
        bool fits = on != ROTA_NONE && self->plan[on].complexity && !self->plan[on].poison;
        if (!fits || (plan->need_count && plan->needs[0] == on))
            continue;
        plan->needs[plan->need_count++] = on;
        self->plan[on].unblocks++;
    }
}

static void build (day_t *self)
{
    char id[32];
    rota_node_t epic = ROTA_NONE;
    for (rota_node_t i = 0; i < self->nodes; i++) {
        if (i % (TASKS_AN_EPIC + 1) == 0) {
            snprintf (id, sizeof id, "epic-%u", i);
            add_node (self, id, NODE (EPIC), ROTA_NONE);
            epic = i;
            continue;
        }
        plan_task (self, i);
        snprintf (id, sizeof id, "task-%u", i);
        add_node (self, id, NODE (TASK), epic);
        for (size_t n = 0; n < self->plan[i].need_count; n++)
            assert_int_equal (rota_core_link (self->core, self->plan[i].needs[n], i), 0);
        snprintf (id, sizeof id, "src/%u", self->plan[i].claim);
        if (self->plan[i].claim)
            assert_int_equal (rota_core_claim (self->core, i, id, strlen (id), false), 0);
    }
    rota_core_open (self->core, 0, (rota_node_t)self->nodes, false, self->now_ms);
}

static void store_nodes (day_t *self)
{
    const rota_definition_t definition = {.title = "a task", .title_length = 6};
    char globs[16];
    for (rota_node_t i = 0; i < self->nodes; i++) {
        rota_store_add_task (self->store, self->core, i, 0, &definition, 0, self->now_ms);
        for (size_t n = 0; n < self->plan[i].need_count; n++)
            rota_store_add_dependency (self->store, i, self->plan[i].needs[n], DEPENDENCY (BLOCKS));
        snprintf (globs, sizeof globs, "src/%u", self->plan[i].claim);
        if (self->plan[i].claim)
            rota_store_set_claim (self->store, i, globs, false);
    }
    rota_store_set_source (self->store, 1, "day", 3, NULL, 0);
    for (uint32_t i = 0; i < rota_core_class_count (self->core); i++)
        rota_store_set_class (self->store, self->core, i);
}

/* ------------------------------------------------------------------------------------------ commits */

static void store_budgets (day_t *self, const rota_core_effects_t *effects)
{
    size_t count;
    const uint32_t *changed = rota_core_tallies_changed (self->core, &count);
    rota_core_estimate_t estimate;
    for (size_t i = 0; i < count; i++)
        rota_store_set_tally (self->store, self->core, changed[i]);
    for (size_t i = 0; rota_core_estimate_changed (self->core, i, &estimate); i++)
        rota_store_set_estimate (self->store, &estimate);
    for (size_t i = 0; i < effects->ended_count; i++)
        if (effects->ended[i].booked)
            rota_store_drop_reservation (self->store, effects->ended[i].node);
    for (size_t i = 0; i < effects->assign_count; i++) {
        const char *account;
        int64_t amount[ROTA_MEASURES];
        if (!effects->assigns[i].again &&
            rota_core_reservation (self->core, effects->assigns[i].node, &account, amount))
            rota_store_set_reservation (self->store, effects->assigns[i].node, account, amount);
    }
}

static void store_effects (day_t *self, const rota_core_effects_t *effects, bool first)
{
    rota_error_t error = {""};
    MUST (rota_store_begin (self->store, &error) == 0, "%s", error.text);
    if (first)
        store_nodes (self);
    for (size_t i = 0; i < effects->dirty_count && !first; i++)
        rota_store_set_task (self->store, self->core, effects->dirty[i], self->now_ms);
    for (uint32_t i = 1; i < rota_core_class_count (self->core);
         i++) /* those of escalated tasks come later */
        rota_store_set_class (self->store, self->core, i);
    for (size_t i = 0; i < effects->ended_count; i++)
        rota_store_add_attempt (self->store, &effects->ended[i], self->now_ms);
    store_budgets (self, effects);
    for (size_t i = 0; i < rota_core_agent_count (self->core); i++)
        rota_store_set_agent (self->store, self->core, (rota_agent_t)i, "1");
    for (size_t i = 0; effects->accounts_changed && i < rota_core_account_count (self->core); i++)
        rota_store_set_account (self->store, self->core, (rota_account_t)i);
    for (size_t i = 0; i < effects->event_count; i++)
        rota_store_add_event (self->store, &effects->events[i], self->now_ms);
    MUST (rota_store_commit (self->store, &error) == 0, "%s", error.text);
    self->commits++;
    rota_store_checkpoint (self->store, false);
}

static void set_limits (day_t *self)
{
    rota_limits_t limits;
    rota_error_t error = {""};
    rota_limits_init (&limits);
    limits.of[ROTA_MEASURE_ATTEMPTS][ROTA_PERIOD_HOUR] = LIMITED_STARTS;
    MUST (rota_core_budget_set (self->core, ROTA_SCOPE_ACCOUNT, LIMITED_ACCOUNT, false, &limits,
                                self->now_ms) == 0,
          "%s", error.text);
    rota_core_budget_defaults (self->core, 500000000, 100000);
}

static void name_source (void *owner, uint32_t source, const char *name, size_t length, const uint8_t *header,
                         size_t size)
{
    (void)length, (void)header, (void)size;
    rota_core_name_source (((day_t *)owner)->core, source, name);
}
static void ignore_version (void *owner, rota_agent_t agent, const char *version)
{
    (void)owner, (void)agent, (void)version;
}

/* It dies and another takes its place: all that it knew is what was committed. */
static void load_anew (day_t *self)
{
    const rota_store_load_t load = {
        .owner = self, .on_source = name_source, .on_agent_version = ignore_version};
    rota_error_t error = {""};
    uint64_t epoch;
    rota_core_destroy (&self->core);
    rota_store_close (&self->store);
    MUST (rota_store_open (self->path, &self->store, &error) == 0, "%s", error.text);
    MUST (rota_store_take_role (self->store, &epoch, &error) == 0, "%s", error.text);
    self->core = rota_core_new (&self->policy, self->now_ms);
    MUST (rota_store_load (self->store, self->core, &load, self->now_ms, &error) == 0, "%s", error.text);
    set_limits (self);
    MUST (rota_store_load_budgets (self->store, self->core, &error) == 0, "%s", error.text);
    rota_core_effects_clear (self->core);
    day_agents_forgotten (self);
    day_verify (self);
}

#define CRASH_EVERY 700

static bool has_effects (const day_t *self, const rota_core_effects_t *effects)
{
    size_t tallies;
    rota_core_tallies_changed (self->core, &tallies);
    return effects->event_count || effects->dirty_count || effects->ended_count ||
           effects->accounts_changed || tallies;
}

void day_commit (day_t *self)
{
    rota_core_effects_t effects;
    rota_core_dispatch (self->core, self->now_ms);
    rota_core_effects (self->core, &effects);
    MUST (!rota_core_broken (self->core), "the core is broken");
    bool first = !self->commits, change = has_effects (self, &effects);
    /* Once in so many commits, at one of them, before or after it. */
    uint64_t draw = day_draw (self, self->tries / CRASH_EVERY, 2);
    bool dies = change && !first && self->tries++ % CRASH_EVERY == draw / 2 % CRASH_EVERY;
    if (dies && draw % 2) {
        self->crashes_before++;
        load_anew (self);
        return;
    }
    if (change)
        store_effects (self, &effects, first);
    for (size_t i = 0; i < effects.event_count; i++)
        day_order_event (self, &effects.events[i]);
    for (size_t i = 0; i < effects.assign_count; i++)
        if (!effects.assigns[i].again)
            day_order_started (self, &effects.assigns[i]);
    day_acknowledge (self);
    if (dies) {
        self->crashes_after++;
        load_anew (self);
        return;
    }
    for (size_t i = 0; i < effects.stop_count; i++)
        day_stopped (self, &effects.stops[i]);
    for (size_t i = 0; i < effects.assign_count; i++)
        day_assigned (self, &effects.assigns[i]);
    rota_core_effects_clear (self->core);
}

void day_verify (day_t *self)
{
    rota_error_t error = {""};
    MUST (rota_core_verify (self->core, &error) == 0, "%s", error.text);
    self->verified++;
}

/* ---------------------------------------------------------------------------------------------- life */

void day_open (day_t *self, size_t tasks, uint64_t seed)
{
    rota_error_t error = {""};
    uint64_t epoch;
    *self = (day_t){.tasks = tasks,
                    .nodes = tasks + (tasks + TASKS_AN_EPIC - 1) / TASKS_AN_EPIC,
                    .seed = seed,
                    .now_ms = DAY_START_MS};
    rota_core_policy_default (&self->policy);
    self->policy.give_up_after = 0; /* what is to fail at last is `poison` */
    self->policy.claim_patience_ms = 0;
    self->policy.mode.pinned = ROTA_MODE_BALANCE; /* one order for the whole day */
    self->plan = calloc (self->nodes + 1, sizeof *self->plan);
    self->known = calloc (self->nodes + 1, sizeof *self->known);
    snprintf (self->directory, sizeof self->directory, "/tmp/rota-day-XXXXXX");
    assert_true (self->plan && self->known && mkdtemp (self->directory));
    snprintf (self->path, sizeof self->path, "%s/rota.db", self->directory);
    MUST (rota_store_open (self->path, &self->store, &error) == 0, "%s", error.text);
    MUST (rota_store_take_role (self->store, &epoch, &error) == 0, "%s", error.text);
    self->core = rota_core_new (&self->policy, self->now_ms);
    assert_non_null (self->core);
    rota_core_name_source (self->core, 1, "day");
    set_limits (self);
    build (self);
}

void day_close (day_t *self)
{
    rota_core_destroy (&self->core);
    rota_store_close (&self->store);
    DIR *directory = opendir (self->directory);
    char path[400];
    for (struct dirent *entry; directory && (entry = readdir (directory));) {
        snprintf (path, sizeof path, "%s/%s", self->directory, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink (path);
    }
    if (directory)
        closedir (directory);
    rmdir (self->directory);
    free (self->plan);
    free (self->known);
    free (self->ready.items);
    free (self->later.items);
}
