#include "tests/unit/core_drive.h"

#include "proto/envelope.h"
#include "scheduler/core.h"

int drive_set_up (void **state)
{
    drive_t *self = calloc (1, sizeof *self);
    if (!self)
        return -1;
    rota_core_policy_default (&self->policy);
    self->policy.lease_ms = 10000;
    self->policy.lease_margin_ms = 1000;
    self->policy.backoff_base_ms = 1000;
    self->policy.backoff_max_ms = 7000; /* between two steps of doubling */
    self->policy.backoff_jitter_percent = 0;
    self->policy.agent_patience_ms = 0;
    self->now_ms = DRIVE_START_MS;
    self->core = rota_core_new (&self->policy, self->now_ms);
    *state = self;
    return self->core ? 0 : -1;
}

int drive_tear_down (void **state)
{
    drive_t *self = *state;
    rota_core_destroy (&self->core);
    free (self);
    return 0;
}

void drive_renew (drive_t *self)
{
    rota_core_destroy (&self->core);
    self->core = rota_core_new (&self->policy, self->now_ms);
    self->staged = 0;
    assert_non_null (self->core);
}

/* ------------------------------------------------------------------------------------------- checks */

static bool is_open_task (const drive_t *self, rota_node_t node, rota_core_node_t *ret_node)
{
    return rota_core_get (self->core, node, ret_node) && ret_node->kind == NODE (TASK) &&
           !rota_core_is_staged (self->core, node);
}

/* Counted one by one from what the core says of each task, against what it counts itself. */
static void check_counts (const drive_t *self)
{
    rota_core_counts_t counts;
    uint64_t status[ROTA_STATUSES] = {0}, place[ROTA_PLACES] = {0}, total = 0, orphaned = 0;
    rota_core_counts (self->core, ROTA_NONE, self->now_ms, &counts);
    for (rota_node_t i = 0; i < rota_core_count (self->core); i++) {
        rota_core_node_t node;
        if (!is_open_task (self, i, &node))
            continue;
        total++;
        orphaned += node.orphaned;
        status[node.status]++;
        place[rota_core_place (self->core, i)]++;
    }
    assert_int_equal (counts.total, total);
    assert_int_equal (counts.orphaned, orphaned);
    uint64_t by_status = 0, by_place = 0;
    for (size_t i = 0; i < ROTA_STATUSES; i++) {
        assert_int_equal (counts.status[i], status[i]);
        by_status += counts.status[i];
    }
    for (size_t i = 0; i < ROTA_PLACES; i++) {
        assert_int_equal (counts.place[i], place[i]);
        by_place += counts.place[i];
    }
    assert_int_equal (by_status, total);
    assert_int_equal (by_place, total);
    assert_int_equal (place[ROTA_PLACE_RUNNING], rota_core_lease_count (self->core));
}

static bool lies_in (const drive_t *self, rota_node_t node, rota_node_t group)
{
    rota_core_node_t it;
    while (rota_core_get (self->core, node, &it) && it.parent != ROTA_NONE) {
        if (it.parent == group)
            return true;
        node = it.parent;
    }
    return false;
}

static void check_group (const drive_t *self, rota_node_t group)
{
    uint64_t kept[ROTA_STATUSES], status[ROTA_STATUSES] = {0};
    bool complete = true;
    rota_core_node_t node;
    for (rota_node_t i = 0; i < rota_core_count (self->core); i++) {
        if (!is_open_task (self, i, &node) || !lies_in (self, i, group))
            continue;
        status[node.status]++;
        complete &= node.status == STATUS (DONE) || (node.status == STATUS (CANCELLED) && node.skipped);
    }
    rota_core_group_counts (self->core, group, kept);
    for (size_t i = 0; i < ROTA_STATUSES; i++)
        assert_int_equal (kept[i], status[i]);
    assert_int_equal (rota_core_is_satisfied (self->core, group), complete);
}

void drive_check (const drive_t *self)
{
    rota_error_t error = {""};
    assert_false (rota_core_broken (self->core));
    if (rota_core_verify (self->core, &error) < 0)
        fail_msg ("%s", error.text);
    check_counts (self);
    for (size_t i = 0; i < rota_core_group_count (self->core); i++) {
        rota_node_t group = rota_core_group (self->core, i);
        if (group != ROTA_NONE && !rota_core_is_staged (self->core, group))
            check_group (self, group);
    }
}

/* ------------------------------------------------------------------------------------------ effects */

static void keep_events (drive_t *self, const rota_core_effects_t *effects)
{
    for (size_t i = 0; i < effects->event_count; i++) {
        rota_core_event_t event = effects->events[i];
        if (event.type == EVENT (TASK_MOVED)) {
            assert_true (rota_core_move_allowed (event.from, event.to));
            self->moved[event.from][event.to] = true;
        }
        if (self->event_count == DRIVE_LIST)
            continue;
        char *reason = self->reasons[self->event_count];
        snprintf (reason, sizeof self->reasons[0], "%s", event.reason ? event.reason : "");
        event.reason = reason;
        self->events[self->event_count++] = event;
    }
}

#define KEEP(self, what, from)                                                                               \
    for (size_t k_ = 0; k_ < (from)->what##_count && (self)->what##_count < DRIVE_LIST; k_++)                \
    (self)->what##s[(self)->what##_count++] = (from)->what##s[k_]

void drive_let_out (drive_t *self)
{
    rota_core_effects_t effects;
    rota_core_effects (self->core, &effects);
    keep_events (self, &effects);
    KEEP (self, assign, &effects);
    KEEP (self, stop, &effects);
    for (size_t i = 0; i < effects.ended_count && self->ended_count < DRIVE_LIST; i++)
        self->endeds[self->ended_count++] = effects.ended[i];
    rota_core_effects_clear (self->core);
    if (!self->unchecked)
        drive_check (self);
}

void drive_forget_effects (drive_t *self)
{
    self->assign_count = self->stop_count = self->ended_count = self->event_count = 0;
}

bool drive_was_event (const drive_t *self, Rota__EventType type, const char *name)
{
    rota_node_t node = name ? drive_find (self, name) : ROTA_NONE;
    for (size_t i = 0; i < self->event_count; i++)
        if (self->events[i].type == type && self->events[i].node == node)
            return true;
    return false;
}

/* -------------------------------------------------------------------------------------------- graph */

static rota_node_t look_up (const drive_t *self, const char *name)
{
    const char *slash = strchr (name, '/');
    if (!slash)
        return rota_core_find (self->core, name, strlen (name));
    rota_node_t epic = rota_core_find (self->core, name, (size_t)(slash - name));
    return rota_core_find_milestone (self->core, epic, slash + 1, strlen (slash + 1));
}

rota_node_t drive_find (const drive_t *self, const char *name)
{
    rota_node_t found = look_up (self, name);
    if (found == ROTA_NONE)
        fail_msg ("there is no %s", name);
    return found;
}

rota_core_node_t drive_get (const drive_t *self, const char *name)
{
    rota_core_node_t node = {0};
    assert_true (rota_core_get (self->core, drive_find (self, name), &node));
    return node;
}

static uint32_t class_for (drive_t *self, const drive_node_t *given)
{
    const char *names[] = {"run", given->needs}, *agent = given->agent ? given->agent : "";
    uint32_t class_index = 0;
    bool fresh;
    assert_int_equal (rota_core_class (self->core, given->source, agent, strlen (agent), names,
                                       given->needs ? 2 : 1, &class_index, &fresh),
                      0);
    return class_index;
}

rota_node_t drive_stage (drive_t *self, const drive_node_t *given)
{
    bool task = !given->kind || given->kind == NODE (TASK);
    rota_node_t node = ROTA_NONE;
    rota_core_node_t it = {.id = given->id,
                           .id_length = strlen (given->id),
                           .kind = given->kind ? given->kind : NODE (TASK),
                           .parent = given->in ? drive_find (self, given->in) : ROTA_NONE,
                           .source = given->source,
                           .class_index = task ? class_for (self, given) : 0,
                           .status = task ? STATUS (PENDING) : 0,
                           .priority = given->priority,
                           .complexity = given->complexity,
                           .attempts_allowed = given->attempts ? given->attempts : 3,
                           .approval = given->approval,
                           .approval_of_group = given->silent,
                           .wants = given->wants,
                           .agent = ROTA_NONE,
                           .ready_since_ms = self->now_ms,
                           .not_before_ms = given->not_before_ms};
    if (given->status)
        it.status = given->status;
    if (given->status == STATUS (BLOCKED)) {
        it.blocked = CAUSE (IMPORT);
        it.reason = "blocked in the roadmap";
        it.reason_length = strlen (it.reason);
    }
    assert_int_equal (rota_core_add (self->core, &it, &node), 0);
    if (given->touches)
        assert_int_equal (rota_core_claim (self->core, node, given->touches, strlen (given->touches), false),
                          0);
    for (size_t i = 0; i < DRIVE_NAMES && given->after[i]; i++)
        assert_int_equal (rota_core_link (self->core, drive_find (self, given->after[i]), node), 0);
    return node;
}

void drive_open_staged (drive_t *self)
{
    rota_node_t end = (rota_node_t)rota_core_count (self->core);
    rota_core_open (self->core, self->staged, end, false, self->now_ms);
    self->staged = end;
    drive_let_out (self);
}

rota_node_t drive_add (drive_t *self, const drive_node_t *given)
{
    rota_node_t node = drive_stage (self, given);
    drive_open_staged (self);
    return node;
}

static void define_again (drive_t *self, const char *name)
{
    rota_core_node_t it = drive_get (self, name);
    rota_core_redefine (self->core, drive_find (self, name), &it, self->now_ms);
    drive_let_out (self);
}

void drive_link (drive_t *self, const char *prerequisite, const char *name)
{
    assert_int_equal (rota_core_link (self->core, drive_find (self, prerequisite), drive_find (self, name)),
                      0);
    define_again (self, name);
}

void drive_unlink (drive_t *self, const char *prerequisite, const char *name)
{
    assert_int_equal (rota_core_unlink (self->core, drive_find (self, prerequisite), drive_find (self, name)),
                      0);
    define_again (self, name);
}

/* ------------------------------------------------------------------------------------------- agents */

static rota_agent_t join (drive_t *self, const char *name, uint32_t slots, const char *also,
                          uint8_t incarnation, const rota_held_t *held, size_t held_count)
{
    const char *capabilities[] = {"run", also};
    rota_core_agent_t agent = {.name = name,
                               .kind = "exec",
                               .host = "here",
                               .slots = slots,
                               .capabilities = capabilities,
                               .capability_count = also ? 2 : 1};
    snprintf ((char *)agent.instance, sizeof agent.instance, "%u%.12s", incarnation, name);
    rota_agent_t index = ROTA_NONE;
    assert_int_equal (rota_core_agent_register (self->core, &agent, held, held_count, self->now_ms, &index),
                      0);
    drive_let_out (self);
    return index;
}

rota_agent_t drive_join (drive_t *self, const char *name, uint32_t slots, const char *also)
{
    return join (self, name, slots, also, 1, NULL, 0);
}

rota_agent_t drive_join_as (drive_t *self, const char *name, const char *kind, uint32_t slots,
                            const char *const *can)
{
    rota_core_agent_t agent = {
        .name = name, .kind = kind, .host = "here", .slots = slots, .capabilities = can, .instance = {1}};
    rota_agent_t index = ROTA_NONE;
    while (can[agent.capability_count])
        agent.coordinates |= strcmp (can[agent.capability_count++], "prompt") == 0;
    memcpy (agent.instance + 1, name, strnlen (name, 15));
    assert_int_equal (rota_core_agent_register (self->core, &agent, NULL, 0, self->now_ms, &index), 0);
    drive_let_out (self);
    return index;
}

rota_agent_t drive_join_again (drive_t *self, const char *name, uint32_t slots, uint8_t incarnation,
                               const rota_held_t *held, size_t held_count)
{
    return join (self, name, slots, NULL, incarnation, held, held_count);
}

void drive_heartbeat (drive_t *self, rota_agent_t agent, const rota_held_t *held, size_t held_count)
{
    rota_core_agent_heartbeat (self->core, agent, held, held_count, false, false, self->now_ms);
    drive_let_out (self);
}

/* --------------------------------------------------------------------------------------------- acts */

void drive_wait (drive_t *self, int64_t ms)
{
    self->now_ms += ms;
    rota_core_tick (self->core, self->now_ms, 0);
    drive_let_out (self);
}

size_t drive_dispatch_unheard (drive_t *self)
{
    drive_forget_effects (self);
    rota_core_dispatch (self->core, self->now_ms);
    drive_let_out (self);
    return self->assign_count;
}

size_t drive_dispatch (drive_t *self)
{
    drive_dispatch_unheard (self);
    for (size_t i = 0; i < self->assign_count; i++)
        rota_core_accepted (self->core, self->assigns[i].agent, self->assigns[i].node,
                            self->assigns[i].attempt, self->now_ms);
    return self->assign_count;
}

void drive_expect_handed_out (drive_t *self, const char *ids)
{
    char given[512] = "";
    size_t used = 0, count = drive_dispatch (self);
    for (size_t i = 0; i < count && used < sizeof given; i++) {
        rota_core_node_t node = {0};
        assert_true (rota_core_get (self->core, self->assigns[i].node, &node));
        used += (size_t)snprintf (given + used, sizeof given - used, "%s%.*s", i ? " " : "",
                                  (int)node.id_length, node.id);
    }
    assert_string_equal (given, ids);
}

int drive_report_of (drive_t *self, const char *name, uint32_t attempt, Rota__ResultClass class)
{
    Rota__Result result = ROTA__RESULT__INIT;
    result.has_result_class = true;
    result.result_class = class;
    int r = rota_core_report (self->core, drive_find (self, name), attempt, &result, self->now_ms);
    drive_let_out (self);
    return r;
}

int drive_judge (drive_t *self, const char *name, bool approved)
{
    Rota__Result result = ROTA__RESULT__INIT;
    Rota__Verdict verdict = ROTA__VERDICT__INIT;
    result.has_result_class = verdict.has_approved = true;
    result.result_class = RESULT (OK);
    result.verdict = &verdict;
    verdict.approved = approved;
    int r = rota_core_report (self->core, drive_find (self, name), drive_get (self, name).attempt, &result,
                              self->now_ms);
    drive_let_out (self);
    return r;
}

int drive_report (drive_t *self, const char *name, Rota__ResultClass class)
{
    return drive_report_of (self, name, drive_get (self, name).attempt, class);
}

void drive_work (drive_t *self, const char *name, Rota__ResultClass class)
{
    drive_expect_handed_out (self, name);
    assert_int_equal (drive_report (self, name, class), 0);
}

int drive_control (drive_t *self, const char *name, Rota__ControlVerb verb)
{
    rota_error_t error = {""};
    int r = rota_core_control (self->core, drive_find (self, name), verb, NULL, 0, 0, self->now_ms, &error);
    if (r < 0)
        assert_true (error.text[0]);
    drive_let_out (self);
    return r;
}

/* ------------------------------------------------------------------------------------- expectations */

void drive_expect_status (const drive_t *self, const char *name, Rota__TaskStatus status, int line)
{
    rota_core_node_t node = drive_get (self, name);
    if (node.status != status)
        fail_msg ("line %d: %s is %s, not %s", line, name, rota_status_name (node.status),
                  rota_status_name (status));
}

void drive_expect_place (const drive_t *self, const char *name, rota_place_t place, int line)
{
    static const char *const PLACES[ROTA_PLACES] = {"ended",   "waiting", "unreachable", "ready",  "parked",
                                                    "delayed", "running", "human",       "blocked"};
    rota_place_t is = rota_core_place (self->core, drive_find (self, name));
    if (is != place)
        fail_msg ("line %d: %s is %s, not %s", line, name, PLACES[is], PLACES[place]);
}
