/* The mode: what decides it, how seldom it changes, that it always can, what it does. */
#include "scheduler/budget.h"
#include "scheduler/health.h"
#include "tests/unit/core_drive.h"

#include <errno.h>

#define MINUTE_MS 60000
static const char *const ABLE[] = {"prompt", NULL};

static rota_core_mode_t mode_of (const drive_t *self)
{
    rota_core_mode_t mode;
    rota_core_mode (self->core, &mode);
    return mode;
}

static void expect_mode (const drive_t *self, rota_mode_t wanted, int line)
{
    rota_core_mode_t mode = mode_of (self);
    if (mode.mode != wanted)
        fail_msg ("line %d: the mode is %s (%s), not %s", line, rota_mode_name (mode.mode), mode.reason,
                  rota_mode_name (wanted));
}
#define EXPECT_MODE(self, ID) expect_mode ((self), ROTA_MODE_##ID, __LINE__)

static rota_node_t add (drive_t *self, const char *id, const char *needs, Rota__TaskStatus status,
                        uint8_t wants, int64_t ready_since_ms)
{
    uint32_t class_index;
    bool is_new;
    assert_int_equal (rota_core_class (self->core, 0, "", 0, &needs, 1, &class_index, &is_new), 0);
    rota_core_node_t node = {.id = id,
                             .id_length = strlen (id),
                             .kind = NODE (TASK),
                             .parent = ROTA_NONE,
                             .class_index = class_index,
                             .status = status,
                             .attempts_allowed = 200,
                             .wants = wants,
                             .agent = ROTA_NONE,
                             .author = ROTA_NONE,
                             .ready_since_ms = ready_since_ms};
    rota_node_t at;
    assert_int_equal (rota_core_add (self->core, &node, &at), 0);
    rota_core_open (self->core, at, at + 1, ready_since_ms != 0, self->now_ms);
    drive_let_out (self);
    return at;
}

static void add_prompt (drive_t *self, const char *id)
{
    add (self, id, "prompt", STATUS (PENDING), 0, 0);
}

/* `count` tasks of agents, each tried once, of which the first `bad` fail; then those are cancelled. */
static void work (drive_t *self, const char *needs, int count, int bad)
{
    static int next;
    for (int i = 0; i < count; i++) {
        char id[32];
        snprintf (id, sizeof id, "w%d", next++);
        add (self, id, needs, STATUS (PENDING), 0, 0);
        drive_dispatch (self);
        assert_int_equal (drive_report (self, id, i < bad ? RESULT (FAILED) : RESULT (OK)), 0);
        if (i < bad)
            drive_control (self, id, VERB (CANCEL));
        drive_wait (self, 1000);
    }
}

static void set_up (drive_t *self)
{
    self->policy.breaker_failures = 0;
    self->policy.give_up_after = 0;
    drive_renew (self);
    drive_join_as (self, "a@here", "a", 4, ABLE);
    drive_join (self, "exec@here", 4, NULL);
}

static void nothing_is_known_at_first (void **state)
{
    drive_t *self = *state;
    set_up (self);
    EXPECT_MODE (self, BALANCE);
    assert_int_equal (mode_of (self).failure_permille, ROTA_UNKNOWN);
    assert_int_equal (mode_of (self).quality_permille, ROTA_UNKNOWN);
    work (self, "prompt", 7, 7); /* one less than is enough */
    drive_wait (self, 10 * MINUTE_MS);
    EXPECT_MODE (self, BALANCE);
}

static void failures_stabilize_and_it_ends_by_good_work (void **state)
{
    drive_t *self = *state;
    set_up (self);
    drive_wait (self, 5 * MINUTE_MS);
    work (self, "prompt", 12, 6);
    drive_wait (self, 1000);
    EXPECT_MODE (self, STABILIZE);
    rota_core_mode_t mode = mode_of (self);
    assert_non_null (strstr (mode.reason, "% of the agents' work of late failed"));
    assert_int_equal (mode.at_most, 2); /* half of its four slots */
    assert_int_equal (mode.changes, 1);
    for (int i = 0; i < 12; i++) {
        work (self, "prompt", 6, 0);
        drive_wait (self, MINUTE_MS);
    }
    assert_int_not_equal (mode_of (self).mode, ROTA_MODE_STABILIZE);
}

static void commands_say_nothing_of_agents (void **state)
{
    drive_t *self = *state;
    set_up (self);
    drive_wait (self, 5 * MINUTE_MS);
    work (self, "run", 40, 40);
    drive_wait (self, 10 * MINUTE_MS);
    EXPECT_MODE (self, BALANCE);
    rota_core_health_t health;
    rota_core_health (self->core, ROTA_NONE, self->now_ms, &health);
    assert_int_equal (health.failure_permille, 1000);
}

/* From each mode, and whatever brought it there, with nothing at all that happens any more. */
static void no_mode_is_for_ever (void **state)
{
    drive_t *self = *state;
    for (int how = 0; how < 4; how++) {
        set_up (self);
        drive_wait (self, 5 * MINUTE_MS);
        if (how == 0)
            work (self, "prompt", 40, 40);
        else if (how == 1)
            work (self, "prompt", 40, 0);
        for (int i = 0; how == 2 && i < 9; i++) {
            char id[16];
            snprintf (id, sizeof id, "l%d", i);
            add_prompt (self, id);
            drive_dispatch (self);
            drive_report (self, id, RESULT (LIMITED));
            drive_control (self, id, VERB (CANCEL));
            rota_core_account_resume (self->core, 0, self->now_ms);
            drive_let_out (self);
        }
        for (int i = 0; how == 3 && i < 9; i++) {
            char id[16];
            snprintf (id, sizeof id, "q%d", i);
            add_prompt (self, id);
            rota_core_health_quality (self->core, drive_find (self, id), 100, false);
        }
        drive_wait (self, 1000);
        if (how == 1)
            EXPECT_MODE (self, ACCELERATE);
        else
            EXPECT_MODE (self, STABILIZE);
        for (int i = 0; i < 24; i++)
            drive_wait (self, 10 * MINUTE_MS);
        EXPECT_MODE (self, BALANCE);
    }
}

/* Good and bad work by turns, about the threshold, for a day. */
static void input_that_flaps_changes_little (void **state)
{
    drive_t *self = *state;
    set_up (self);
    self->unchecked = true;
    int64_t least_ms = INT64_MAX, last_ms = self->now_ms;
    uint64_t changes = 0;
    for (int i = 0; i < 24 * 60; i += 5) {
        work (self, "prompt", 10, (i / 5) % 2 ? 3 : 1); /* 20 % on the whole */
        drive_wait (self, 5 * MINUTE_MS - 10000);
        rota_core_mode_t mode = mode_of (self);
        if (mode.changes > changes) {
            least_ms = changes && mode.since_ms - last_ms < least_ms ? mode.since_ms - last_ms : least_ms;
            last_ms = mode.since_ms;
            changes = mode.changes;
        }
    }
    print_message ("%llu changes in a day\n", (unsigned long long)changes);
    assert_in_range (changes, 0, 4);
    /* And in one that jumps from all good to all bad every minute the least time holds. */
    for (int i = 0; i < 600; i++) {
        work (self, "prompt", 10, i % 20 < 10 ? 0 : 10);
        drive_wait (self, MINUTE_MS - 10000);
        rota_core_mode_t mode = mode_of (self);
        if (mode.changes == changes)
            continue;
        if (i && changes)
            assert_true (mode.since_ms - last_ms >= self->policy.mode.dwell_ms);
        last_ms = mode.since_ms;
        changes = mode.changes;
    }
    assert_true (changes > 4); /* that it changes at all */
}

static void limit_attempts (drive_t *self, int64_t most)
{
    rota_limits_t limits;
    rota_limits_init (&limits);
    limits.of[ROTA_MEASURE_ATTEMPTS][ROTA_PERIOD_LIFE] = most;
    assert_int_equal (rota_core_budget_set (self->core, ROTA_SCOPE_ALL, "", true, &limits, self->now_ms), 0);
    drive_let_out (self);
}

static void good_work_accelerates_unless_the_budget_is_nearly_used_up (void **state)
{
    drive_t *self = *state;
    set_up (self);
    limit_attempts (self, 15);
    drive_wait (self, 5 * MINUTE_MS);
    work (self, "prompt", 11, 0); /* of 15: 73 % */
    drive_wait (self, 1000);
    EXPECT_MODE (self, ACCELERATE);
    assert_int_equal (mode_of (self).at_most, 0);
    work (self, "prompt", 2, 0); /* 87 %: the warning */
    drive_wait (self, 10 * MINUTE_MS);
    EXPECT_MODE (self, BALANCE);
    assert_non_null (strstr (mode_of (self).reason, "goes well, but the budget of all is nearly used up"));
    limit_attempts (self, 100);
    work (self, "prompt", 12, 0);
    drive_wait (self, 10 * MINUTE_MS);
    EXPECT_MODE (self, ACCELERATE);
}

static void a_pinned_mode_holds (void **state)
{
    drive_t *self = *state;
    self->policy.mode.pinned = ROTA_MODE_ACCELERATE;
    set_up (self);
    drive_wait (self, 1);
    EXPECT_MODE (self, ACCELERATE);
    assert_true (mode_of (self).pinned);
    work (self, "prompt", 40, 40);
    drive_wait (self, 10 * MINUTE_MS);
    EXPECT_MODE (self, ACCELERATE);
    assert_int_equal (rota_core_mode_set (self->core, ROTA_MODE_BALANCE, "x", self->now_ms), -EPERM);
}

static void the_order_is_the_modes (void **state)
{
    drive_t *self = *state;
    static const char *const REVIEWER[] = {"prompt", "review", NULL};
    for (rota_mode_t mode = 0; mode < ROTA_MODES; mode++) {
        self->policy.mode.pinned = -1;
        self->policy.coordinate = false;
        self->policy.weight.review_s = 1200;
        self->policy.weight.fixup_s = 600;
        drive_renew (self);
        int64_t now_ms = self->now_ms;
        add (self, "new", "prompt", STATUS (PENDING), 0, now_ms - 100000);
        add (self, "fix", "prompt", STATUS (NEEDS_IMPROVEMENT), 0, now_ms);
        add (self, "old", "prompt", STATUS (PENDING), 0, now_ms - 1000000);
        assert_int_equal (rota_core_mode_set (self->core, mode, "by the test", now_ms),
                          mode == ROTA_MODE_BALANCE ? 1 : 0);
        drive_let_out (self);
        assert_int_equal (drive_was_event (self, EVENT (MODE_CHANGED), NULL), mode != ROTA_MODE_BALANCE);
        drive_forget_effects (self);
        drive_join_as (self, "one@here", "one", 3, REVIEWER);
        static const char *const ORDER[ROTA_MODES] = {[ROTA_MODE_BALANCE] = "old fix new",
                                                      [ROTA_MODE_STABILIZE] = "fix",
                                                      [ROTA_MODE_ACCELERATE] = "old new fix"};
        drive_expect_handed_out (self, ORDER[mode]);
        /* One of three slots: the share is 50 %, and one at least. */
        if (mode == ROTA_MODE_STABILIZE) {
            assert_int_equal (drive_report (self, "fix", RESULT (OK)), 0);
            drive_expect_handed_out (self, "old");
        }
    }
}

static void commands_are_not_held_back (void **state)
{
    drive_t *self = *state;
    self->policy.mode.pinned = ROTA_MODE_STABILIZE;
    set_up (self);
    for (int i = 0; i < 4; i++) {
        char id[8];
        snprintf (id, sizeof id, "c%d", i);
        add (self, id, "run", STATUS (PENDING), 0, 0);
        snprintf (id, sizeof id, "p%d", i);
        add_prompt (self, id);
    }
    assert_int_equal (drive_dispatch (self), 4 + 2);
    assert_int_equal (mode_of (self).working, 2);
}

static void it_outlives_a_restart (void **state)
{
    drive_t *self = *state;
    set_up (self);
    drive_wait (self, 5 * MINUTE_MS);
    work (self, "prompt", 12, 12);
    drive_wait (self, 1000);
    rota_core_health_state_t kept;
    char reason[200];
    rota_core_health_state (self->core, &kept);
    snprintf (reason, sizeof reason, "%s", kept.reason);
    kept.reason = reason;
    drive_renew (self);
    rota_core_health_load (self->core, &kept);
    EXPECT_MODE (self, STABILIZE);
    assert_string_equal (mode_of (self).reason, reason);
    assert_int_equal (mode_of (self).failure_permille, 1000);
    rota_core_health_state_t again;
    rota_core_health_state (self->core, &again);
    assert_memory_equal (&again.all, &kept.all, sizeof kept.all);
    /* What no clock and no count can be is left out, and a clock that was set back holds nothing up. */
    kept.agents.ended = UINT64_MAX;
    kept.agents.quality = UINT64_MAX;
    kept.since_ms = INT64_MAX;
    kept.mode = (rota_mode_t)77;
    kept.all.at_ms = self->now_ms + 86400000;
    drive_renew (self);
    rota_core_health_load (self->core, &kept);
    EXPECT_MODE (self, BALANCE);
    drive_check (self);
    drive_wait (self, 300 * MINUTE_MS);
    rota_core_health_t health;
    rota_core_health (self->core, ROTA_NONE, self->now_ms, &health);
    assert_in_range (health.ended_milli, 0, 100);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        DRIVE_TEST (nothing_is_known_at_first),
        DRIVE_TEST (failures_stabilize_and_it_ends_by_good_work),
        DRIVE_TEST (commands_say_nothing_of_agents),
        DRIVE_TEST (no_mode_is_for_ever),
        DRIVE_TEST (input_that_flaps_changes_little),
        DRIVE_TEST (good_work_accelerates_unless_the_budget_is_nearly_used_up),
        DRIVE_TEST (a_pinned_mode_holds),
        DRIVE_TEST (the_order_is_the_modes),
        DRIVE_TEST (commands_are_not_held_back),
        DRIVE_TEST (it_outlives_a_restart),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
