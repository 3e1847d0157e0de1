/* With one peer that means harm, the others keep nine tenths of their rate, and the broker stays small (see
 * honest.h for how that is measured). */
#include "bus/log.h"
#include "tests/component/honest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

enum { GARBAGE, FLOOD, NEVER_READS, HALF_OPEN, ENDLESS, HOSTILES };

static void a_quiet_broker_answers_all (void **state)
{
    (void)state;
    honest_assert_quiet ();
}

static void garbage_does_not_slow_the_others_down (void **state)
{
    (void)state;
    honest_assert_served (GARBAGE, "garbage", 10000, false);
    assert_int_equal (honest.restarts, 0);
}

static void a_flood_of_queries_does_not_slow_the_others_down (void **state)
{
    (void)state;
    honest_assert_served (FLOOD, "flood", 20000, false);
    assert_int_equal (honest.restarts, 0);
}

static void a_peer_that_never_reads_does_not_slow_the_others_down (void **state)
{
    (void)state;
    honest_assert_served (NEVER_READS, "never reads", 1500, false);
    assert_int_equal (honest.restarts, 0);
}

static void half_open_connections_do_not_slow_the_others_down (void **state)
{
    (void)state;
    honest_assert_served (HALF_OPEN, "half open", 256, false);
    assert_int_equal (honest.restarts, 0);
}

/* The one thing that the broker can't see coming: it ends at its memory limit and is started again, and the
 * honest repeat what was not answered. */
static void an_endless_message_costs_a_restart_and_no_answers (void **state)
{
    (void)state;
    honest_assert_served (ENDLESS, "endless", HONEST_MEMORY_LIMIT_BYTES / 65536 / 2, true);
    assert_true (honest.restarts > 0);
}

static int set_up (void **state)
{
    (void)state;
    hostile_fn *const acts[HOSTILES] = {hostile_garbage, hostile_flood, hostile_never_reads,
                                        hostile_half_open, hostile_endless};
    return honest_set_up (acts, HOSTILES, false);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (a_quiet_broker_answers_all),
        cmocka_unit_test (garbage_does_not_slow_the_others_down),
        cmocka_unit_test (a_flood_of_queries_does_not_slow_the_others_down),
        cmocka_unit_test (a_peer_that_never_reads_does_not_slow_the_others_down),
        cmocka_unit_test (half_open_connections_do_not_slow_the_others_down),
        cmocka_unit_test (an_endless_message_costs_a_restart_and_no_answers),
    };
    rota_log_setup ("test", ROTA_LOG_ERROR, ROTA_LOG_LOGFMT);
    return cmocka_run_group_tests (tests, set_up, honest_tear_down);
}
