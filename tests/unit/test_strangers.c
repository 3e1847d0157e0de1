/* Connections that never show a key, counted by address, a sentence a test. */
#include "broker/strangers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define WINDOW_MS 1000

static void who_asks_in_time_is_no_stranger (void **state)
{
    (void)state;
    uint64_t count;
    rota_strangers_t *book = rota_strangers_new (10, WINDOW_MS);
    for (int64_t now_ms = 0; now_ms < 200000; now_ms += 100) {
        rota_strangers_accepted (book, "192.0.2.1", now_ms);
        if (now_ms >= 900) /* each asks nearly as late as it may */
            rota_strangers_asked (book, "192.0.2.1");
        assert_null (rota_strangers_next (book, now_ms, &count));
    }
    rota_strangers_destroy (&book);
}

static void who_never_asks_is_said_once_a_minute_with_how_many (void **state)
{
    (void)state;
    uint64_t count, all = 0, accepted = 0;
    int said = 0;
    rota_strangers_t *book = rota_strangers_new (10, WINDOW_MS);
    for (int64_t now_ms = 0; now_ms < 150000; now_ms += 100) {
        rota_strangers_accepted (book, "192.0.2.1", now_ms);
        rota_strangers_accepted (book, "192.0.2.2", now_ms);
        rota_strangers_asked (book, "192.0.2.2");
        accepted++;
        const char *address = rota_strangers_next (book, now_ms, &count);
        if (!address)
            continue;
        assert_string_equal (address, "192.0.2.1");
        all += count;
        said++;
    }
    assert_int_equal (said, 3);
    assert_true (all > accepted / 2 && all <= accepted);
    rota_strangers_destroy (&book);
}

static void the_book_is_bounded_and_forgets (void **state)
{
    (void)state;
    uint64_t count;
    char address[ROTA_STRANGERS_ADDRESS_BYTES];
    rota_strangers_t *book = rota_strangers_new (10, WINDOW_MS);
    for (int i = 0; i < 1000; i++) {
        snprintf (address, sizeof address, "192.0.2.%d", i);
        rota_strangers_accepted (book, address, 0);
    }
    int said = 0;
    for (int64_t now_ms = 0; now_ms < 10 * WINDOW_MS; now_ms += WINDOW_MS)
        while (rota_strangers_next (book, now_ms, &count))
            said++;
    assert_int_equal (said, 10);
    assert_null (rota_strangers_next (book, 1000000, &count));
    rota_strangers_destroy (&book);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (who_asks_in_time_is_no_stranger),
        cmocka_unit_test (who_never_asks_is_said_once_a_minute_with_how_many),
        cmocka_unit_test (the_book_is_bounded_and_forgets),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
