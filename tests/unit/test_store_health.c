/* The mode and what happened of late, from one life of the scheduler to the next; and a row that is damaged.
 */
#include "scheduler/health.h"
#include "scheduler/store.h"
#include "tests/unit/core_drive.h"

#include <sqlite3.h>
#include <unistd.h>

#define HOUR_MS 3600000

typedef struct {
    char directory[64], path[96];
    rota_store_t *store;
} place_t;

static void open_store (place_t *self)
{
    rota_error_t error = {""};
    uint64_t epoch;
    if (rota_store_open (self->path, &self->store, &error) < 0 ||
        rota_store_take_role (self->store, &epoch, &error) < 0)
        fail_msg ("%s", error.text);
}

static void set_up (place_t *self)
{
    strcpy (self->directory, "/tmp/rota-health-XXXXXX");
    assert_non_null (mkdtemp (self->directory));
    snprintf (self->path, sizeof self->path, "%s/rota.db", self->directory);
    open_store (self);
}

static void tear_down (place_t *self)
{
    char command[128];
    rota_store_close (&self->store);
    snprintf (command, sizeof command, "rm -rf %s", self->directory);
    assert_int_equal (system (command), 0);
}

static void save (place_t *self, const rota_core_t *core)
{
    rota_error_t error = {""};
    assert_int_equal (rota_store_begin (self->store, &error), 0);
    rota_store_set_health (self->store, core);
    assert_int_equal (rota_store_commit (self->store, &error), 0);
    rota_store_close (&self->store);
    open_store (self);
}

static void it_is_as_it_was (void **state)
{
    drive_t *drive = *state;
    place_t place;
    set_up (&place);
    rota_core_health_state_t kept = {
        .all = {drive->now_ms - HOUR_MS, 123456, 7 * ROTA_RATE_UNIT, 3, 2, 1, ROTA_RATE_UNIT, 1000},
        .agents = {drive->now_ms - HOUR_MS, 99, 5 * ROTA_RATE_UNIT, 5 * ROTA_RATE_UNIT, 0, 0, 0, 0},
        .mode = ROTA_MODE_STABILIZE,
        .since_ms = drive->now_ms - HOUR_MS,
        .reason = "100 % \"failed\""};
    rota_core_health_load (drive->core, &kept);
    rota_core_health_state_t before, after;
    rota_core_health_state (drive->core, &before);
    save (&place, drive->core);
    rota_core_t *other = rota_core_new (&drive->policy, drive->now_ms);
    rota_store_load_health (place.store, other);
    rota_core_health_state (other, &after);
    assert_memory_equal (&after.all, &before.all, sizeof after.all);
    assert_memory_equal (&after.agents, &before.agents, sizeof after.agents);
    assert_int_equal (after.mode, ROTA_MODE_STABILIZE);
    assert_int_equal (after.since_ms, kept.since_ms);
    assert_string_equal (after.reason, kept.reason);
    rota_core_destroy (&other);
    tear_down (&place);
}

static void what_is_damaged_is_left_out (void **state)
{
    drive_t *drive = *state;
    static const char *const TEXTS[] = {
        "",
        "stabilize",
        "nonsense 5 1 2 3",
        "stabilize x",
        "stabilizestabilizestabilize 1",
        "stabilize 1 1 2 3 4 5 6 7",
        "stabilize 99999999999999999999 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1"};
    place_t place;
    set_up (&place);
    save (&place, drive->core);
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        char sql[300];
        rota_core_health_t health;
        rota_core_t *core = rota_core_new (&drive->policy, drive->now_ms);
        snprintf (sql, sizeof sql, "UPDATE meta SET value = '%s' WHERE key = 'health'", TEXTS[i]);
        assert_int_equal (sqlite3_exec (rota_store_handle (place.store), sql, NULL, NULL, NULL), SQLITE_OK);
        rota_store_load_health (place.store, core);
        rota_core_health (core, ROTA_NONE, drive->now_ms, &health);
        assert_in_range (health.ended_milli, 0, 1);
        rota_core_mode_t mode;
        rota_core_mode (core, &mode);
        assert_true (mode.mode < ROTA_MODES && mode.since_ms <= drive->now_ms);
        assert_int_equal (rota_core_verify (core, NULL), 0);
        rota_core_destroy (&core);
    }
    tear_down (&place);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        DRIVE_TEST (it_is_as_it_was),
        DRIVE_TEST (what_is_damaged_is_left_out),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
