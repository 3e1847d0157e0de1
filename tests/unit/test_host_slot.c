/* Which slot's home an attempt gets. */
#include "agents/host_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct {
    rota_agent_t host;
    char directory[64];
    uint64_t key;
} world_t;

static int set_up (void **state)
{
    world_t *self = calloc (1, sizeof *self);
    strcpy (self->directory, "/tmp/rota-test-slot-XXXXXX");
    if (!mkdtemp (self->directory))
        return -1;
    self->host.state_dir = self->directory;
    self->host.name = (char *)"a";
    *state = self;
    return 0;
}

static int tear_down (void **state)
{
    world_t *self = *state;
    char command[128];
    rota_hold_clear (&self->host.holds);
    snprintf (command, sizeof command, "rm -rf %s", self->directory);
    int status = system (command);
    free (self);
    return status;
}

static rota_hold_t *begin (world_t *self)
{
    static const uint8_t STORE[16] = {1};
    rota_hold_t *hold = rota_hold_add (&self->host.holds, ROTA_HOLD_RUNNING, STORE, ++self->key, 1, "t");
    hold->slot = rota_agent_free_slot (&self->host, hold);
    return hold;
}

static void make_home (const world_t *self, unsigned slot)
{
    char path[128];
    snprintf (path, sizeof path, "%s/agents", self->directory);
    mkdir (path, 0700);
    snprintf (path, sizeof path, "%s/agents/a", self->directory);
    mkdir (path, 0700);
    snprintf (path, sizeof path, "%s/agents/a/%u", self->directory, slot);
    mkdir (path, 0700);
}

static void each_running_one_has_its_own (void **state)
{
    world_t *self = *state;
    rota_hold_t *first = begin (self);
    assert_int_equal (first->slot, 0);
    assert_int_equal (begin (self)->slot, 1);
    first->state = ROTA_HOLD_FINISHED;
    assert_int_equal (begin (self)->slot, 0);
}

static void what_outlives_its_end_keeps_its_home (void **state)
{
    world_t *self = *state;
    rota_hold_t *first = begin (self);
    first->state = ROTA_HOLD_ELSEWHERE;
    first->survives = true;
    assert_int_equal (begin (self)->slot, 1);
    first->state = ROTA_HOLD_FINISHED;
    assert_int_equal (begin (self)->slot, 0);
}

static void beside_one_of_an_earlier_host_only_fresh_homes_are_given (void **state)
{
    world_t *self = *state;
    make_home (self, 0);
    make_home (self, 1);
    rota_hold_t *old = begin (self);
    old->state = ROTA_HOLD_ELSEWHERE;
    old->slot = ROTA_HOLD_SLOT_UNKNOWN;
    memset (self->host.given_slots, 0, sizeof self->host.given_slots);
    rota_hold_t *fresh = begin (self);
    assert_int_equal (fresh->slot, 2);
    make_home (self, 2);
    fresh->state = ROTA_HOLD_FINISHED;
    assert_int_equal (begin (self)->slot, 2); /* given by this host: known to be free */
    old->state = ROTA_HOLD_FINISHED;
    assert_int_equal (begin (self)->slot, 0);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown (each_running_one_has_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown (what_outlives_its_end_keeps_its_home, set_up, tear_down),
        cmocka_unit_test_setup_teardown (beside_one_of_an_earlier_host_only_fresh_homes_are_given, set_up,
                                         tear_down),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
