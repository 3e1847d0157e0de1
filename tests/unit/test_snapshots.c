/* Snapshots with a clock of the test's: bursts, the last change, nobody, many. */
#include "scheduler/snapshots.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    rota_snapshots_t snapshots;
    uint64_t version; /* of the state */
    int64_t now_ms;
    size_t made, answered, unchanged;
    uint64_t made_at;  /* the version of the last snapshot */
    uint64_t known[4]; /* what each watcher of the test has */
} world_t;

static void make (void *owner, uint32_t source)
{
    world_t *self = owner;
    (void)source;
    self->made++;
    self->made_at = self->version;
}

static void answer (void *owner, const rota_watcher_t *to, bool unchanged)
{
    world_t *self = owner;
    self->answered++;
    self->unchanged += unchanged;
    self->known[to->from.sender[0]] = unchanged ? to->version : self->made_at;
}

static int set_up (void **state)
{
    world_t *self = calloc (1, sizeof *self);
    if (!self)
        return -1;
    rota_snapshots_start (&self->snapshots, 2000);
    self->version = 1;
    self->now_ms = 1000000;
    *state = self;
    return 0;
}

static int tear_down (void **state)
{
    free (*state);
    return 0;
}

static int ask (world_t *self, uint8_t who, uint32_t source, int64_t wait_ms)
{
    rota_watcher_t watcher = {
        .source = source, .version = self->known[who], .until_ms = self->now_ms + wait_ms};
    watcher.from.sender[0] = who;
    watcher.from.sequence = 1;
    return rota_snapshots_wait (&self->snapshots, &watcher);
}

static void turn (world_t *self)
{
    const rota_snapshots_to_t to = {.owner = self, .make = make, .answer = answer};
    rota_snapshots_turn (&self->snapshots, self->version, self->now_ms, &to);
}

static void the_first_comes_at_once (void **state)
{
    world_t *self = *state;
    ask (self, 0, 1, 10000);
    turn (self);
    assert_int_equal (self->made, 1);
    assert_int_equal (self->known[0], 1);
}

/* Changes every millisecond for a minute, looked at every 10 ms: one in two seconds, and the last one
 * arrives. */
static void a_burst_is_throttled_and_its_last_change_arrives (void **state)
{
    world_t *self = *state;
    ask (self, 0, 1, 10000);
    turn (self);
    for (int ms = 0; ms < 60000; ms++, self->now_ms++) {
        self->version++;
        if (ms % 10 == 0) {
            if (!self->snapshots.count)
                ask (self, 0, 1, 10000);
            turn (self);
        }
    }
    assert_in_range (self->made, 30, 32);
    size_t before = self->made;
    for (int i = 0; i < 300 && self->known[0] != self->version; i++, self->now_ms += 10) {
        if (!self->snapshots.count)
            ask (self, 0, 1, 10000);
        turn (self);
    }
    assert_int_equal (self->known[0], self->version);
    assert_int_equal (self->made, before + 1);
    assert_int_equal (self->made, self->snapshots.made);
}

static void the_last_change_arrives_though_it_came_while_nobody_waited (void **state)
{
    world_t *self = *state;
    ask (self, 0, 1, 10000);
    turn (self);
    self->version++;
    turn (self); /* nobody */
    ask (self, 0, 1, 10000);
    turn (self);
    assert_int_equal (self->known[0], 1); /* within the interval of the first, which set nothing off */
    self->now_ms += 2000;
    turn (self);
    assert_int_equal (self->known[0], 2);
}

static void nobody_asks_and_nothing_is_made (void **state)
{
    world_t *self = *state;
    for (int i = 0; i < 10000; i++) {
        self->version++;
        self->now_ms += 100;
        turn (self);
    }
    assert_int_equal (self->made, 0);
    assert_int_equal (self->answered, 0);
}

static void nothing_changes_and_nothing_is_made (void **state)
{
    world_t *self = *state;
    ask (self, 0, 1, 10000);
    turn (self);
    for (int i = 0; i < 10000; i++) {
        self->now_ms += 100;
        if (!self->snapshots.count)
            ask (self, 0, 1, 10000);
        turn (self);
    }
    assert_int_equal (self->made, 1);
    assert_in_range (self->unchanged, 90, 110); /* each heard so after its time */
}

static void many_watch_and_it_is_made_once (void **state)
{
    world_t *self = *state;
    for (uint8_t who = 0; who < 4; who++)
        ask (self, who, who == 3 ? 7 : 1, 10000);
    turn (self);
    assert_int_equal (self->made, 2); /* one for each source */
    assert_int_equal (self->answered, 4);
    self->version++;
    self->now_ms += 5000;
    for (uint8_t who = 0; who < 4; who++)
        ask (self, who, 1, 10000);
    turn (self);
    assert_int_equal (self->made, 3);
    assert_int_equal (self->answered, 8);
}

static void one_that_asks_again_takes_its_own_place_and_there_is_an_end (void **state)
{
    world_t *self = *state;
    self->known[0] = 1;
    for (int i = 0; i < 10; i++)
        assert_int_equal (ask (self, 0, 1, 10000), 0);
    assert_int_equal (self->snapshots.count, 1);
    rota_watcher_t watcher = {.version = 1, .until_ms = self->now_ms};
    for (uint64_t i = 0; i < ROTA_SNAPSHOT_WATCHERS - 1; i++) {
        watcher.from.sequence = i + 10;
        assert_int_equal (rota_snapshots_wait (&self->snapshots, &watcher), 0);
    }
    watcher.from.sequence = 9;
    assert_int_equal (rota_snapshots_wait (&self->snapshots, &watcher), -ENOSPC);
    turn (self);
    assert_int_equal (self->snapshots.count, 1); /* whose time was over are gone */
}

static void a_clock_that_is_set_back_holds_nothing_up (void **state)
{
    world_t *self = *state;
    ask (self, 0, 1, 10000);
    turn (self);
    self->version++;
    self->now_ms += 3000;
    ask (self, 0, 1, 10000);
    turn (self);
    self->now_ms -= 86400000;
    self->version++;
    ask (self, 0, 1, 10000);
    turn (self);
    assert_int_equal (self->known[0], 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, set_up, tear_down)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (the_first_comes_at_once),
        TEST (a_burst_is_throttled_and_its_last_change_arrives),
        TEST (the_last_change_arrives_though_it_came_while_nobody_waited),
        TEST (nobody_asks_and_nothing_is_made),
        TEST (nothing_changes_and_nothing_is_made),
        TEST (many_watch_and_it_is_made_once),
        TEST (one_that_asks_again_takes_its_own_place_and_there_is_an_end),
        TEST (a_clock_that_is_set_back_holds_nothing_up),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
