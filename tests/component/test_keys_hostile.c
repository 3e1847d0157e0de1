/* Whoever can reach the port but has no key can't slow down those who have one, nor those on the host itself,
 * and the broker stays small: endless frames don't get past the handshake (see honest.h for the measure). */
#include "bus/log.h"
#include "tests/component/honest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

enum { CROWD, SCANNER, KEYLESS, STRANGERS, HOSTILES };

static void a_quiet_broker_answers_all (void **state)
{
    (void)state;
    honest_assert_quiet ();
}

static void ten_thousand_half_open_connections_do_no_harm (void **state)
{
    (void)state;
    honest_assert_served (CROWD, "crowd", 10000, false);
    assert_int_equal (honest.restarts, 0);
}

static void a_port_scanner_does_no_harm (void **state)
{
    (void)state;
    honest_assert_served (SCANNER, "scanner", 500, false);
    assert_int_equal (honest.restarts, 0);
}

static void endless_frames_do_not_get_past_the_handshake (void **state)
{
    (void)state;
    honest_assert_served (KEYLESS, "keyless", 1000, false);
    assert_int_equal (honest.restarts, 0);
}

static void handshakes_with_keys_that_are_not_granted_do_no_harm (void **state)
{
    (void)state;
    honest_assert_served (STRANGERS, "strangers", 200, false);
    assert_int_equal (honest.restarts, 0);
}

static int set_up (void **state)
{
    (void)state;
    hostile_fn *const acts[HOSTILES] = {hostile_crowd, hostile_scanner, hostile_keyless, hostile_strangers};
    return honest_set_up (acts, HOSTILES, true);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (a_quiet_broker_answers_all),
        cmocka_unit_test (ten_thousand_half_open_connections_do_no_harm),
        cmocka_unit_test (a_port_scanner_does_no_harm),
        cmocka_unit_test (endless_frames_do_not_get_past_the_handshake),
        cmocka_unit_test (handshakes_with_keys_that_are_not_granted_do_no_harm),
    };
    rota_log_setup ("test", ROTA_LOG_ERROR, ROTA_LOG_LOGFMT);
    return cmocka_run_group_tests (tests, set_up, honest_tear_down);
}
