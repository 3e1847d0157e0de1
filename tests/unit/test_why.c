/* `rota why` for every reason that there is: each of scheduler/reasons.def is brought about, and must be said
 * with its code, what it is about and what to do. A reason without a case here fails. */
#include "scheduler/why.h"
#include "tests/unit/core_drive.h"

#include "bus/clock.h"

#include <unistd.h>

typedef struct {
    drive_t *drive;
    rota_scheduler_t service;
    char directory[64];
} world_t;

static void open_store (world_t *self)
{
    char path[96];
    rota_error_t error = {""};
    uint64_t epoch;
    strcpy (self->directory, "/tmp/rota-why-XXXXXX");
    assert_non_null (mkdtemp (self->directory));
    snprintf (path, sizeof path, "%s/rota.db", self->directory);
    if (rota_store_open (path, &self->service.store, &error) < 0 ||
        rota_store_take_role (self->service.store, &epoch, &error) < 0)
        fail_msg ("%s", error.text);
}

static world_t *make (void)
{
    world_t *self = calloc (1, sizeof *self);
    void *drive;
    assert_non_null (self);
    assert_int_equal (drive_set_up (&drive), 0);
    self->drive = drive;
    self->service.arena = rota_arena_new (16 << 20);
    assert_non_null (self->service.arena);
    return self;
}

static void destroy (world_t *self)
{
    void *drive = self->drive;
    char command[128];
    rota_store_close (&self->service.store);
    rota_arena_destroy (&self->service.arena);
    free (self->service.agent_problems.items);
    drive_tear_down (&drive);
    snprintf (command, sizeof command, "rm -rf %s", self->directory);
    assert_int_equal (system (command), 0);
    free (self);
}

/* ------------------------------------------------------------------------------------------ acts */

static rota_node_t add_agents_task (world_t *self, const char *id, uint8_t wants, uint32_t complexity)
{
    uint32_t class_index;
    bool is_new;
    static const char *const NEEDS[] = {"prompt"};
    rota_core_t *core = self->drive->core;
    assert_int_equal (rota_core_class (core, 0, "", 0, NEEDS, 1, &class_index, &is_new), 0);
    rota_core_node_t node = {.id = id,
                             .id_length = strlen (id),
                             .kind = NODE (TASK),
                             .parent = ROTA_NONE,
                             .class_index = class_index,
                             .status = STATUS (PENDING),
                             .complexity = complexity,
                             .attempts_allowed = 9,
                             .wants = wants,
                             .agent = ROTA_NONE,
                             .author = ROTA_NONE};
    rota_node_t at;
    assert_int_equal (rota_core_add (core, &node, &at), 0);
    rota_core_open (core, at, at + 1, false, self->drive->now_ms);
    drive_let_out (self->drive);
    return at;
}

static void depend (world_t *self, const char *prerequisite, const char *name)
{
    rota_error_t error;
    assert_int_equal (rota_store_begin (self->service.store, &error), 0);
    rota_store_add_dependency (self->service.store, drive_find (self->drive, name),
                               drive_find (self->drive, prerequisite), DEPENDENCY (BLOCKS));
    assert_int_equal (rota_store_commit (self->service.store, &error), 0);
}

static void end (world_t *self, const char *name, Rota__ResultClass class)
{
    drive_dispatch (self->drive);
    assert_int_equal (drive_report (self->drive, name, class), 0);
}

static rota_agent_t join (world_t *self, const char *name, const char *kind, uint32_t slots, const char *a,
                          const char *b)
{
    const char *const can[] = {a, b, NULL};
    return drive_join_as (self->drive, name, kind, slots, can);
}

static rota_agent_t join_paid (world_t *self, const char *problem)
{
    static const char *const CAN[] = {"prompt"};
    rota_core_agent_t agent = {.name = "claude@here",
                               .kind = "claude",
                               .host = "here",
                               .slots = 1,
                               .capabilities = CAN,
                               .capability_count = 1,
                               .instance = {9},
                               .paid = true,
                               .problem = problem};
    rota_agent_t index;
    assert_int_equal (
        rota_core_agent_register (self->drive->core, &agent, NULL, 0, self->drive->now_ms, &index), 0);
    drive_let_out (self->drive);
    return index;
}

#define CONTROL(name, verb) assert_int_equal (drive_control (self->drive, name, VERB (verb)), 0)
/* As it is with another policy; before anything is added. */
#define POLICY(field, value) (self->drive->policy.field = (value), drive_renew (self->drive))

/* ------------------------------------------------------------------------------------------ cases */

static const char *chain (world_t *self, bool failed, const char *asked)
{
    drive_join (self->drive, "exec@here", 1, NULL);
    ADD (self->drive, .id = "a", .attempts = 1);
    ADD (self->drive, .id = "b", .after = {"a"});
    ADD (self->drive, .id = "c", .after = {"b"});
    depend (self, "a", "b");
    depend (self, "b", "c");
    drive_dispatch (self->drive);
    if (failed)
        drive_report (self->drive, "a", RESULT (FAILED));
    return asked;
}

static const char *prerequisite (world_t *self)
{
    return chain (self, false, "b");
}

static const char *unreachable (world_t *self)
{
    return chain (self, true, "b");
}

static const char *root (world_t *self)
{
    return chain (self, true, "c");
}

static const char *not_before (world_t *self)
{
    ADD (self->drive, .id = "a", .not_before_ms = self->drive->now_ms + 3600000);
    return "a";
}

static const char *backoff (world_t *self)
{
    drive_join (self->drive, "exec@here", 1, NULL);
    ADD (self->drive, .id = "a");
    end (self, "a", RESULT (FAILED));
    return "a";
}

static const char *lost (world_t *self)
{
    drive_join (self->drive, "exec@here", 1, NULL);
    ADD (self->drive, .id = "a");
    drive_dispatch (self->drive);
    drive_wait (self->drive, 60000);
    return "a";
}

static const char *trouble (world_t *self)
{
    backoff (self);
    drive_wait (self->drive, 60000);
    end (self, "a", RESULT (FAILED));
    return "a";
}

static const char *fixup (world_t *self)
{
    join (self, "x@here", "x", 1, "prompt", "gate");
    add_agents_task (self, "a", ROTA_WANTS_GATE, 0);
    end (self, "a", RESULT (OK));
    end (self, "a", RESULT (FAILED));
    return "a";
}

static const char *ready (world_t *self)
{
    drive_join (self->drive, "exec@here", 1, NULL);
    ADD (self->drive, .id = "a");
    return "a";
}

static const char *hold (world_t *self)
{
    self->service.config.hold = true;
    return ready (self);
}

static const char *paused (world_t *self)
{
    rota_core_pause (self->drive->core, true, self->drive->now_ms);
    return ready (self);
}

static const char *draining (world_t *self)
{
    rota_core_drain_all (self->drive->core, true, self->drive->now_ms);
    return ready (self);
}

static const char *disk (world_t *self)
{
    self->service.disk_low = true;
    return ready (self);
}

static const char *mode (world_t *self)
{
    POLICY (mode.pinned, ROTA_MODE_STABILIZE);
    join (self, "x@here", "x", 2, "prompt", NULL);
    add_agents_task (self, "a", 0, 0);
    add_agents_task (self, "b", 0, 0);
    assert_int_equal (drive_dispatch (self->drive), 1);
    return "b";
}

static const char *two (world_t *self, uint32_t slots)
{
    drive_join (self->drive, "exec@here", slots, NULL);
    ADD (self->drive, .id = "a");
    ADD (self->drive, .id = "b");
    assert_int_equal (drive_dispatch (self->drive), 1);
    return "b";
}

static const char *wip_all (world_t *self)
{
    POLICY (wip_limit, 1);
    return two (self, 2);
}

static const char *wip_source (world_t *self)
{
    rota_core_limit_source (self->drive->core, 0, 1);
    return two (self, 2);
}

static const char *wip_agent (world_t *self)
{
    POLICY (wip_agent, 1);
    return two (self, 2);
}

static const char *slots (world_t *self)
{
    return two (self, 1);
}

static const char *wip_epic (world_t *self)
{
    POLICY (wip_epic, 1);
    EPIC (self->drive, "e");
    drive_join (self->drive, "exec@here", 2, NULL);
    ADD (self->drive, .id = "a", .in = "e");
    ADD (self->drive, .id = "b", .in = "e");
    assert_int_equal (drive_dispatch (self->drive), 1);
    return "b";
}

static const char *budget (world_t *self)
{
    rota_limits_t limits;
    rota_limits_init (&limits);
    assert_int_equal (rota_limit_parse ("attempts=1", &limits, NULL, NULL), 0);
    assert_int_equal (
        rota_core_budget_set (self->drive->core, ROTA_SCOPE_ALL, "", true, &limits, self->drive->now_ms), 0);
    join_paid (self, NULL);
    add_agents_task (self, "a", 0, 0);
    add_agents_task (self, "b", 0, 0);
    end (self, "a", RESULT (OK));
    drive_dispatch (self->drive);
    return "b";
}

static const char *claim (world_t *self)
{
    drive_join (self->drive, "exec@here", 2, NULL);
    ADD (self->drive, .id = "a", .touches = "src/*");
    ADD (self->drive, .id = "b", .touches = "src/x.c");
    assert_int_equal (drive_dispatch (self->drive), 1);
    return "b";
}

static const char *merge_turn (world_t *self)
{
    join (self, "x@here", "x", 3, "prompt", "merge");
    add_agents_task (self, "a", ROTA_WANTS_MERGE, 0);
    add_agents_task (self, "b", ROTA_WANTS_MERGE, 0);
    drive_dispatch (self->drive);
    drive_report (self->drive, "a", RESULT (OK));
    drive_report (self->drive, "b", RESULT (OK));
    assert_int_equal (drive_dispatch (self->drive), 1);
    return "b";
}

static const char *closed (world_t *self)
{
    rota_core_agent_view_t view;
    rota_agent_t agent = join_paid (self, NULL);
    rota_core_agent_view (self->drive->core, agent, &view);
    assert_int_equal (
        rota_core_account_close (self->drive->core, view.account, "no more", self->drive->now_ms), 0);
    add_agents_task (self, "a", 0, 0);
    return "a";
}

static const char *limit (world_t *self)
{
    join_paid (self, NULL);
    add_agents_task (self, "a", 0, 0);
    end (self, "a", RESULT (LIMITED));
    return "a";
}

static const char *probe (world_t *self)
{
    join (self, "x@here", "x", 3, "prompt", NULL);
    add_agents_task (self, "a", 0, 0);
    add_agents_task (self, "b", 0, 0);
    drive_dispatch (self->drive);
    drive_report (self->drive, "a", RESULT (LIMITED));
    drive_report (self->drive, "b", RESULT (LIMITED));
    drive_wait (self->drive, 3600000);
    assert_int_equal (drive_dispatch (self->drive), 1);
    return "b";
}

static const char *quiet (world_t *self)
{
    join_paid (self, NULL);
    rota_core_quiet (self->drive->core, self->drive->now_ms + 3600000, self->drive->now_ms);
    add_agents_task (self, "a", 0, 0);
    return "a";
}

static const char *breaker (world_t *self)
{
    POLICY (breaker_failures, 1);
    join (self, "x@here", "x", 3, "prompt", NULL);
    add_agents_task (self, "a", 0, 0);
    add_agents_task (self, "b", 0, 0);
    end (self, "a", RESULT (INVALID));
    drive_report (self->drive, "b", RESULT (KILLED));
    drive_dispatch (self->drive);
    return "b";
}

static const char *breaker_trial (world_t *self)
{
    breaker (self);
    add_agents_task (self, "c", 0, 0);
    drive_wait (self->drive, 100000);
    assert_int_equal (drive_dispatch (self->drive), 1);
    return "c";
}

static const char *problem (world_t *self)
{
    rota_agent_t agent = join_paid (self, "claude is not installed");
    self->service.agent_problems.items = calloc (agent + 1, sizeof (char *));
    self->service.agent_problems.items[agent] = (char *)(uintptr_t) "claude is not installed";
    self->service.agent_problems.count = agent + 1;
    add_agents_task (self, "a", 0, 0);
    return "a";
}

static const char *named_agent (world_t *self)
{
    drive_join (self->drive, "exec@here", 1, NULL);
    ADD (self->drive, .id = "a", .agent = "codex");
    return "a";
}

static const char *no_agent (world_t *self)
{
    drive_join (self->drive, "exec@here", 1, NULL);
    ADD (self->drive, .id = "a", .needs = "gpu");
    return "a";
}

static const char *agents_gone (world_t *self)
{
    rota_agent_t agent = drive_join (self->drive, "exec@here", 1, NULL);
    ADD (self->drive, .id = "a");
    rota_core_agent_gone (self->drive->core, agent, self->drive->now_ms);
    return "a";
}

static const char *agents_drain (world_t *self)
{
    rota_agent_t agent = drive_join (self->drive, "exec@here", 1, NULL);
    ADD (self->drive, .id = "a");
    rota_core_agent_drain (self->drive->core, agent, true, self->drive->now_ms);
    return "a";
}

static const char *host_full (world_t *self)
{
    rota_agent_t agent = drive_join (self->drive, "exec@here", 1, NULL);
    ADD (self->drive, .id = "a");
    rota_core_agent_heartbeat (self->drive->core, agent, NULL, 0, false, true, self->drive->now_ms);
    return "a";
}

static const char *vacant (world_t *self)
{
    POLICY (coordinate, true);
    join (self, "x@here", "x", 1, "prompt", NULL);
    add_agents_task (self, "a", 0, 9);
    drive_dispatch (self->drive);
    return "a";
}

static const char *coordinator (world_t *self)
{
    rota_error_t error = {""};
    POLICY (coordinate, true);
    rota_agent_t agent = join (self, "x@here", "x", 1, "prompt", NULL);
    if (rota_core_coordinate (self->drive->core, agent, 0, false, "elected", self->drive->now_ms, &error) !=
        0)
        fail_msg ("%s", error.text);
    add_agents_task (self, "a", 0, 9);
    add_agents_task (self, "b", 0, 9);
    assert_int_equal (drive_dispatch (self->drive), 1);
    return "b";
}

static const char *other_kind (world_t *self)
{
    join (self, "a@here", "a", 2, "prompt", "review");
    join (self, "b@here", "b", 1, "run", "review");
    ADD (self->drive, .id = "busy");
    add_agents_task (self, "t", ROTA_WANTS_REVIEW, 0);
    assert_int_equal (drive_dispatch (self->drive), 2);
    drive_report (self->drive, "t", RESULT (OK));
    assert_int_equal (drive_dispatch (self->drive), 0);
    return "t";
}

static const char *after_work (world_t *self, uint8_t wants)
{
    join (self, "x@here", "x", 1, "prompt", NULL);
    add_agents_task (self, "a", wants, 0);
    end (self, "a", RESULT (OK));
    return "a";
}

static const char *gate (world_t *self)
{
    return after_work (self, ROTA_WANTS_GATE);
}

static const char *review (world_t *self)
{
    return after_work (self, ROTA_WANTS_REVIEW);
}

static const char *merge (world_t *self)
{
    return after_work (self, ROTA_WANTS_MERGE);
}

static const char *order (world_t *self)
{
    ready (self);
    ADD (self->drive, .id = "b");
    return "b";
}

static const char *running (world_t *self)
{
    ready (self);
    drive_dispatch (self->drive);
    return "a";
}

static const char *stopping (world_t *self)
{
    running (self);
    CONTROL ("a", CANCEL);
    return "a";
}

static const char *approval (world_t *self)
{
    drive_join (self->drive, "exec@here", 1, NULL);
    ADD (self->drive, .id = "a", .approval = true);
    end (self, "a", RESULT (OK));
    return "a";
}

static const char *persons_review (world_t *self)
{
    ADD (self->drive, .id = "a", .status = STATUS (NEEDS_REVIEW));
    return "a";
}

static const char *blocked_hand (world_t *self)
{
    rota_error_t error;
    ready (self);
    CONTROL ("a", HOLD);
    const rota_core_event_t event = {.type = EVENT (TASK_MOVED),
                                     .node = drive_find (self->drive, "a"),
                                     .agent = ROTA_NONE,
                                     .from = 1,
                                     .to = 2};
    assert_int_equal (rota_store_begin (self->service.store, &error), 0);
    rota_store_add_event (self->service.store, &event, INT64_C (1800000000000));
    assert_int_equal (rota_store_commit (self->service.store, &error), 0);
    return "a";
}

static const char *blocked_import (world_t *self)
{
    ADD (self->drive, .id = "a", .status = STATUS (BLOCKED));
    return "a";
}

static const char *blocked_input (world_t *self)
{
    ready (self);
    end (self, "a", RESULT (NEEDS_INPUT));
    return "a";
}

static const char *blocked_environment (world_t *self)
{
    ready (self);
    end (self, "a", RESULT (ENVIRONMENT));
    return "a";
}

/* Only a store of an older version brings it. */
static const char *blocked_reopened (world_t *self)
{
    rota_core_node_t node = {.id = "a",
                             .id_length = 1,
                             .kind = NODE (TASK),
                             .parent = ROTA_NONE,
                             .status = STATUS (BLOCKED),
                             .blocked = CAUSE (PREREQUISITE_REOPENED),
                             .attempts_allowed = 3,
                             .agent = ROTA_NONE,
                             .author = ROTA_NONE};
    rota_node_t at;
    ADD (self->drive, .id = "first");
    assert_int_equal (rota_core_add (self->drive->core, &node, &at), 0);
    rota_core_open (self->drive->core, at, at + 1, true, self->drive->now_ms);
    return "a";
}

static const char *blocked_human (world_t *self)
{
    POLICY (review_rounds, 1);
    join (self, "x@here", "x", 1, "prompt", "review");
    join (self, "y@here", "y", 1, "review", NULL);
    add_agents_task (self, "a", ROTA_WANTS_REVIEW, 0);
    end (self, "a", RESULT (OK));
    drive_dispatch (self->drive);
    assert_int_equal (drive_judge (self->drive, "a", false), 0);
    return "a";
}

static const char *done (world_t *self)
{
    ready (self);
    end (self, "a", RESULT (OK));
    return "a";
}

static const char *failed (world_t *self)
{
    POLICY (give_up_after, 1);
    join (self, "x@here", "x", 1, "prompt", NULL);
    add_agents_task (self, "a", 0, 0);
    end (self, "a", RESULT (FAILED));
    return "a";
}

static const char *attempts (world_t *self)
{
    return chain (self, true, "a");
}

static const char *cancelled (world_t *self)
{
    ready (self);
    CONTROL ("a", CANCEL);
    return "a";
}

static const char *skipped (world_t *self)
{
    ready (self);
    CONTROL ("a", SKIP);
    return "a";
}

static const char *flagged (world_t *self)
{
    drive_join (self->drive, "exec@here", 1, NULL);
    ADD (self->drive, .id = "a");
    ADD (self->drive, .id = "b", .after = {"a"});
    end (self, "a", RESULT (OK));
    end (self, "b", RESULT (OK));
    CONTROL ("a", REOPEN);
    return "b";
}

static const char *orphaned (world_t *self)
{
    ready (self);
    rota_core_orphan (self->drive->core, drive_find (self->drive, "a"), true, self->drive->now_ms);
    return "a";
}

typedef struct {
    rota_why_reason_t id;
    const char *(*bring_about) (world_t *self); /* the task to be asked about */
    const char *says[3];
} case_t;

#define CASE(ID, bring_about, ...)                                                                           \
    {                                                                                                        \
        ROTA_WHY_##ID, bring_about,                                                                          \
        {                                                                                                    \
            __VA_ARGS__                                                                                      \
        }                                                                                                    \
    }
static const case_t CASES[] = {
    CASE (PREREQUISITE, prerequisite, "it waits for a", "is running"),
    CASE (UNREACHABLE, unreachable, "it waits for a, which failed"),
    CASE (ROOT, root, "at the root of it, a failed"),
    CASE (NOT_BEFORE, not_before, "not to start before 2", ", in "),
    CASE (BACKOFF, backoff, "attempt 1 did not succeed (1 of 3 used)", "at 2"),
    CASE (LOST, lost, "attempt 1 was given up", "its host was not heard of"),
    CASE (TROUBLE, trouble, "2 times in a row with the same error"),
    CASE (FIXUP, fixup, "to be improved by x@here", "1 of 9 attempts"),
    CASE (HOLD, hold, "started to hand nothing out"),
    CASE (PAUSED, paused, "everything is paused"),
    CASE (DRAINING, draining, "everything drains"),
    CASE (DISK, disk, "the disk is nearly full"),
    CASE (MODE, mode, "the mode is stabilize", "at most 1 may be", "scheduler.mode says so"),
    CASE (WIP_ALL, wip_all, "1 tasks are under way"),
    CASE (WIP_SOURCE, wip_source, "its roadmap has as many tasks under way"),
    CASE (WIP_EPIC, wip_epic, "its epic has 1 tasks under way"),
    CASE (WIP_AGENT, wip_agent, "has 1 under way, which is as many as it may"),
    CASE (BUDGET, budget, "the budget of all holds it", "rota budget raise"),
    CASE (CLAIM, claim, "it touches src/x.c", "a, which is running", "src/*"),
    CASE (MERGE_TURN, merge_turn, "a is being merged"),
    CASE (ACCOUNT, closed, "claude@here is closed", "no more"),
    CASE (LIMIT, limit, "claude@here rests for", "until 2"),
    CASE (PROBE, probe, "may be open again: one task is trying"),
    CASE (QUIET, quiet, "quiet hours, which end at 2"),
    CASE (BREAKER, breaker, "x@here is tried again in", "is set aside"),
    CASE (BREAKER_TRIAL, breaker_trial, "x@here is being tried by one task"),
    CASE (PROBLEM, problem, "claude@here can't work: claude is not installed"),
    CASE (NAMED_AGENT, named_agent, "it names codex, and needs run"),
    CASE (NO_AGENT, no_agent, "it needs any agent with run, gpu"),
    CASE (AGENTS_GONE, agents_gone, "are not connected"),
    CASE (AGENTS_DRAIN, agents_drain, "are draining"),
    CASE (SLOTS, slots, "all slots of the agents that can take it are busy"),
    CASE (HOST_FULL, host_full, "short of memory or processors"),
    CASE (VACANT, vacant, "the role is vacant", "nobody was elected yet"),
    CASE (COORDINATOR, coordinator, "it waits for the coordinator, x@here, which is busy"),
    CASE (OTHER_KIND, other_kind, "a@here could take it, and another kind of agent than a"),
    CASE (REVIEW, review, "the work of x@here waits to be judged"),
    CASE (GATE, gate, "the work of x@here waits to be checked"),
    CASE (MERGE, merge, "it waits to be merged"),
    CASE (ORDER, order, "1 of its kind come before it", "it has been ready for"),
    CASE (NEXT, ready, "it is the next of its kind", "ready for"),
    CASE (RUNNING, running, "it runs: attempt 1 on exec@here"),
    CASE (STOPPING, stopping, "it was told to stop"),
    CASE (APPROVAL, approval, "it awaits the approval of a person"),
    CASE (PERSONS_REVIEW, persons_review, "awaits the verdict of a person"),
    CASE (BLOCKED_HAND, blocked_hand, "it is blocked (hand), since 2027-01-15", "by hand"),
    CASE (BLOCKED_IMPORT, blocked_import, "it is blocked (import)", "blocked in the roadmap"),
    CASE (BLOCKED_INPUT, blocked_input, "it is blocked (needs_input)"),
    CASE (BLOCKED_ENVIRONMENT, blocked_environment, "it is blocked (environment)"),
    CASE (BLOCKED_REOPENED, blocked_reopened, "it is blocked (prerequisite_reopened)"),
    CASE (BLOCKED_HUMAN, blocked_human, "it is blocked (needs_human)", "changes wanted in 1 reviews"),
    CASE (DONE, done, "it is done"),
    CASE (FAILED, failed, "1 of 9 attempts used", "the same error 1 times in a row"),
    CASE (ATTEMPTS, attempts, "it failed after 1 of 1 attempts"),
    CASE (CANCELLED, cancelled, "it was cancelled: by hand"),
    CASE (SKIPPED, skipped, "(skipped)"),
    CASE (FLAGGED, flagged, "reopened after it had started"),
    CASE (ORPHANED, orphaned, "its roadmap no longer names it"),
};

static const struct {
    const char *name, *code, *todo;
} REASONS[ROTA_WHY_REASONS] = {
#define WHY(ID, code, when, todo) {#ID, code, todo},
#include "scheduler/reasons.def"
};

static bool is_in (ProtobufCBinaryData text, const char *part)
{
    return memmem (text.data, text.len, part, strlen (part)) != NULL;
}

static void print_all (const rota_why_t *why)
{
    for (size_t i = 0; i < why->reply.n_reasons; i++)
        print_error ("  %s: %.*s\n", REASONS[why->ids[i]].name, (int)why->list[i]->text.len,
                     (const char *)why->list[i]->text.data);
}

static void is_said_with_what_to_do (void **state)
{
    const case_t *it = *state;
    world_t *self = make ();
    rota_why_t why;
    open_store (self);
    self->drive->now_ms = rota_clock_wall_ms ();
    drive_renew (self->drive);
    const char *id = it->bring_about (self);
    self->service.core = self->drive->core;
    self->service.policy = self->drive->policy;
    self->service.steady_base_ms = self->drive->now_ms - rota_clock_boot_ms ();
    assert_true (rota_why (&self->service, drive_find (self->drive, id), &why));
    size_t at = 0;
    while (at < why.reply.n_reasons && why.ids[at] != it->id)
        at++;
    if (at == why.reply.n_reasons) {
        print_all (&why);
        fail_msg ("%s is not said", REASONS[it->id].name);
    }
    ProtobufCBinaryData text = why.list[at]->text;
    bool good = why.list[at]->code.len == strlen (REASONS[it->id].code) &&
                is_in (text, REASONS[it->id].todo) && is_in (why.list[at]->code, REASONS[it->id].code);
    for (size_t i = 0; i < 3 && it->says[i]; i++)
        good &= is_in (text, it->says[i]);
    if (!good) {
        print_all (&why);
        fail_msg ("%s lacks something of what it must say", REASONS[it->id].name);
    }
    destroy (self);
}

static void no_reason_is_without_a_case (void **state)
{
    (void)state;
    for (int id = 0; id < ROTA_WHY_REASONS; id++) {
        size_t at = 0;
        while (at < sizeof CASES / sizeof *CASES && CASES[at].id != (rota_why_reason_t)id)
            at++;
        if (at == sizeof CASES / sizeof *CASES)
            fail_msg ("there is no case for %s", REASONS[id].name);
    }
}

static void there_is_no_reason_for_what_is_not_there (void **state)
{
    (void)state;
    world_t *self = make ();
    rota_why_t why;
    open_store (self);
    self->service.core = self->drive->core;
    assert_false (rota_why (&self->service, 4000000, &why));
    destroy (self);
}

int main (void)
{
    enum { CASE_COUNT = sizeof CASES / sizeof *CASES };
    static struct CMUnitTest tests[CASE_COUNT + 2] = {
        cmocka_unit_test (no_reason_is_without_a_case),
        cmocka_unit_test (there_is_no_reason_for_what_is_not_there),
    };
    for (size_t i = 0; i < CASE_COUNT; i++)
        tests[i + 2] = (struct CMUnitTest){.name = REASONS[CASES[i].id].name,
                                           .test_func = is_said_with_what_to_do,
                                           .initial_state = (void *)(uintptr_t)&CASES[i]};
    return cmocka_run_group_tests (tests, NULL, NULL);
}
