/* Health: parts that add up, of all and of each group, rates that forget, scores that nobody gave. */
#include "scheduler/health.h"
#include "tests/unit/core_drive.h"

static rota_core_health_t health_of (const drive_t *self, const char *group)
{
    rota_core_health_t health;
    rota_core_health (self->core, group ? drive_find (self, group) : ROTA_NONE, self->now_ms, &health);
    uint64_t status = 0, place = 0;
    for (size_t i = 0; i < ROTA_STATUSES; i++)
        status += health.status[i];
    for (size_t i = 0; i < ROTA_PLACES; i++)
        place += health.place[i];
    assert_int_equal (status, health.total);
    assert_int_equal (place, health.total);
    return health;
}

static void parts_add_up_in_every_status (void **state)
{
    drive_t *self = *state;
    drive_join (self, "exec@here", 2, NULL);
    EPIC (self, "e");
    MILESTONE (self, "m", "e");
    EPIC (self, "f");
    ADD (self, .id = "a", .in = "e/m");
    ADD (self, .id = "b", .in = "e", .after = {"a"});
    ADD (self, .id = "c", .in = "f", .status = STATUS (BLOCKED));
    ADD (self, .id = "d", .in = "f", .after = {"c"});
    ADD (self, .id = "g", .in = "f", .approval = true);
    ADD (self, .id = "h");
    rota_core_health_t e = health_of (self, "e"), f = health_of (self, "f"), all = health_of (self, NULL);
    assert_int_equal (all.total, 6);
    assert_int_equal (e.total, 2);
    assert_int_equal (e.place[ROTA_PLACE_READY], 1);
    assert_int_equal (e.place[ROTA_PLACE_WAITING], 1);
    assert_int_equal (health_of (self, "e/m").place[ROTA_PLACE_READY], 1);
    assert_int_equal (f.place[ROTA_PLACE_BLOCKED], 1);
    assert_int_equal (f.place[ROTA_PLACE_UNREACHABLE], 1);
    drive_dispatch (self);
    assert_int_equal (health_of (self, "e").place[ROTA_PLACE_RUNNING], 1);
    drive_report (self, "a", RESULT (OK));
    drive_report (self, "g", RESULT (OK));
    assert_int_equal (health_of (self, "e/m").status[STATUS (DONE)], 1);
    assert_int_equal (health_of (self, "f").place[ROTA_PLACE_HUMAN], 1);
    drive_control (self, "c", VERB (RELEASE));
    drive_control (self, "h", VERB (CANCEL));
    f = health_of (self, "f");
    assert_int_equal (f.place[ROTA_PLACE_UNREACHABLE], 0);
    assert_int_equal (f.place[ROTA_PLACE_WAITING], 1);
}

static void what_nobody_knows_is_not_nought (void **state)
{
    drive_t *self = *state;
    rota_core_health_t all = health_of (self, NULL);
    assert_int_equal (all.quality_permille, ROTA_UNKNOWN);
    assert_int_equal (all.failure_permille, ROTA_UNKNOWN);
    assert_int_equal (all.throughput, -1);
    EPIC (self, "e");
    rota_node_t a = ADD (self, .id = "a", .in = "e"), b = ADD (self, .id = "b");
    rota_core_health_quality (self->core, a, 0, true);
    assert_int_equal (health_of (self, NULL).quality_permille, 0); /* a score of nought is one */
    rota_core_health_quality (self->core, a, 900, true);
    rota_core_health_quality (self->core, b, 5000, true); /* at most 1000 */
    drive_let_out (self);
    assert_int_equal (health_of (self, NULL).quality_permille, 950);
    assert_int_equal (health_of (self, "e").quality_permille, 900);
    assert_int_equal (health_of (self, "e").scored, 1);
    rota_core_health_quality (self->core, a, ROTA_UNKNOWN, true);
    drive_let_out (self);
    assert_int_equal (health_of (self, "e").quality_permille, ROTA_UNKNOWN);
    assert_int_equal (health_of (self, NULL).quality_permille, 1000);
    assert_int_equal (rota_core_quality_of (self->core, a), ROTA_UNKNOWN);
    rota_core_health_quality (self->core, 4000000, 3, true); /* no such task: nothing happens */
    assert_int_equal (rota_core_quality_of (self->core, 4000000), ROTA_UNKNOWN);
}

static void failures_and_throughput_are_of_late (void **state)
{
    drive_t *self = *state;
    drive_join (self, "exec@here", 1, NULL);
    EPIC (self, "e");
    for (int i = 0; i < 10; i++) {
        char id[8];
        snprintf (id, sizeof id, "t%d", i);
        ADD (self, .id = id, .in = "e", .attempts = 1);
        drive_dispatch (self);
        drive_report (self, id, i < 3 ? RESULT (FAILED) : RESULT (OK));
        drive_wait (self, 60000);
    }
    rota_core_health_t all = health_of (self, NULL), e = health_of (self, "e");
    assert_in_range (all.failure_permille, 200, 300); /* the failures are the oldest */
    assert_int_equal (e.failure_permille, all.failure_permille);
    assert_in_range (all.throughput, 40000,
                     60000); /* seven in ten minutes are 42 an hour; the last ones count more */
    drive_wait (self, 600 * 60000);
    all = health_of (self, NULL);
    assert_int_equal (all.throughput, 0); /* known, and nothing is done any more */
    assert_in_range (all.ended_milli, 0, 1);
    assert_int_equal (all.status[STATUS (DONE)], 7); /* what is counted for good stays */
}

/* A rate is the same whether it is looked at each millisecond or once a day. */
static void decay_depends_on_time_alone (void **state)
{
    (void)state;
    rota_rate_t often = {.at_ms = 1600000, .ended = 77 * ROTA_RATE_UNIT, .bad = 12345, .done = 1},
                seldom = often;
    rota_rate_decay (&often, 1600000, 160000);
    seldom = often;
    for (int64_t now_ms = 1600000; now_ms < 1600000 + 3000000; now_ms += 777)
        rota_rate_decay (&often, now_ms, 160000);
    rota_rate_decay (&often, 4600000, 160000);
    rota_rate_decay (&seldom, 4600000, 160000);
    assert_memory_equal (&often, &seldom, sizeof often);
    rota_rate_t half = {.at_ms = 160000, .ended = 1000 * ROTA_RATE_UNIT};
    rota_rate_decay (&half, 320000, 160000);
    assert_in_range (half.ended / ROTA_RATE_UNIT, 499, 500);
    rota_rate_decay (&half, INT64_MAX / 2, 160000);
    assert_int_equal (half.ended, 0);
    half.ended = 5;
    rota_rate_decay (&half, 1000, 160000); /* the clock was set back: nothing grows, nothing hangs */
    assert_int_equal (half.ended, 5);
    assert_true (half.at_ms <= 1000);
}

static void the_version_says_whether_the_answer_is_another (void **state)
{
    drive_t *self = *state;
    drive_join (self, "exec@here", 1, NULL);
    ADD (self, .id = "a");
    uint64_t version = rota_core_health_version (self->core, self->now_ms);
    assert_int_equal (rota_core_health_version (self->core, self->now_ms), version);
    drive_dispatch (self);
    assert_true (rota_core_health_version (self->core, self->now_ms) > version);
    version = rota_core_health_version (self->core, self->now_ms);
    /* And one with the same version is the same. */
    drive_report (self, "a", RESULT (OK));
    self->now_ms += 2 * self->policy.mode.half_life_ms;
    self->now_ms -= self->now_ms % self->policy.mode.half_life_ms;
    rota_core_health_t early = health_of (self, NULL);
    version = rota_core_health_version (self->core, self->now_ms);
    self->now_ms += self->policy.mode.half_life_ms / 16 - 1;
    rota_core_health_t late = health_of (self, NULL);
    assert_int_equal (rota_core_health_version (self->core, self->now_ms), version);
    assert_memory_equal (&early, &late, sizeof early);
    assert_true (late.throughput > 0);
    /* Rates turn by time alone, a step of the half-life at a time. */
    assert_true (rota_core_health_version (self->core, self->now_ms + self->policy.mode.half_life_ms) >=
                 version + 16);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        DRIVE_TEST (parts_add_up_in_every_status),
        DRIVE_TEST (what_nobody_knows_is_not_nought),
        DRIVE_TEST (failures_and_throughput_are_of_late),
        cmocka_unit_test (decay_depends_on_time_alone),
        DRIVE_TEST (the_version_says_whether_the_answer_is_another),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
