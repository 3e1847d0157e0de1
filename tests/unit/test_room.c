#include "agents/room.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define GIB (UINT64_C (1) << 30)
#define FULL(memory, busy, running)                                                                          \
    rota_room_is_full (&(rota_room_t){.memory_bytes = (memory), .load = (busy)}, GIB, 4, 2, running)

static void memory_that_is_kept_back_is_for_nobody (void **state)
{
    (void)state;
    assert_false (FULL (GIB, 0, 3));
    assert_true (FULL (GIB - 1, 0, 3));
    assert_true (FULL (GIB - 1, 0, 0));
}

static void what_is_not_known_keeps_nobody_away (void **state)
{
    (void)state;
    assert_false (FULL (0, -1, 3));
}

static void processors_that_have_enough_to_do_get_no_second_attempt (void **state)
{
    (void)state;
    assert_false (FULL (GIB, 7.9, 1));
    assert_true (FULL (GIB, 8, 1));
}

static void but_always_the_first_or_nothing_would_ever_be_done (void **state)
{
    (void)state;
    assert_false (FULL (GIB, 80, 0));
}

static void limits_of_0_are_none (void **state)
{
    (void)state;
    assert_false (rota_room_is_full (&(rota_room_t){.memory_bytes = 1, .load = 100}, 0, 0, 2, 5));
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (memory_that_is_kept_back_is_for_nobody),
        cmocka_unit_test (what_is_not_known_keeps_nobody_away),
        cmocka_unit_test (processors_that_have_enough_to_do_get_no_second_attempt),
        cmocka_unit_test (but_always_the_first_or_nothing_would_ever_be_done),
        cmocka_unit_test (limits_of_0_are_none),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
