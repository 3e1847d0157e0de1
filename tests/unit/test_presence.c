/* What the broker knows of its peers, a sentence a test. */
#include "broker/presence.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define ROLE(name) ROTA__ROLE__ROLE_##name

static int left;

static void count_left (void *owner, rota_member_t *member)
{
    (void)owner;
    (void)member;
    left++;
}

static rota_identity_t identity (unsigned number, rota_route_key_t route, Rota__Role role)
{
    rota_identity_t result = {.route = route, .role = role, .pid = 100, .pid_is_proved = true};
    memcpy (result.instance, &number, sizeof number);
    return result;
}

static int join_identity (rota_presence_t *table, const rota_identity_t *who, int64_t now_ms,
                          rota_member_t **ret_member)
{
    return rota_presence_join (table, who, now_ms, 0, ret_member);
}

static rota_member_t *join (rota_presence_t *table, unsigned number, rota_route_key_t route, Rota__Role role)
{
    rota_member_t *member = NULL;
    rota_identity_t who = identity (number, route, role);
    assert_true (join_identity (table, &who, 1000, &member) >= 0);
    return member;
}

static void a_member_is_found_by_instance_and_by_connection (void **state)
{
    rota_presence_t *table = *state;
    rota_member_t *member = join (table, 1, 11, ROLE (AGENT));
    rota_identity_t who = identity (1, 0, ROLE (AGENT)), other = identity (2, 0, ROLE (AGENT));
    assert_ptr_equal (rota_presence_by_instance (table, who.instance), member);
    assert_ptr_equal (rota_presence_by_route (table, 11), member);
    assert_null (rota_presence_by_instance (table, other.instance));
    assert_null (rota_presence_by_route (table, 12));
}

static void the_same_peer_on_a_new_connection_replaces_the_old_one (void **state)
{
    rota_presence_t *table = *state;
    rota_member_t *member = join (table, 1, 11, ROLE (AGENT)), *again;
    rota_identity_t who = identity (1, 12, ROLE (AGENT));
    assert_int_equal (join_identity (table, &who, 2000, &again), 0);
    assert_ptr_equal (again, member);
    assert_null (rota_presence_by_route (table, 11));
    assert_ptr_equal (rota_presence_by_route (table, 12), member);
    assert_int_equal (rota_presence_count (table), 1);
    assert_int_equal (left, 0);
}

static void a_connection_that_says_hello_under_another_name_leaves_the_first (void **state)
{
    rota_presence_t *table = *state;
    join (table, 1, 11, ROLE (AGENT));
    rota_member_t *second = join (table, 2, 11, ROLE (AGENT));
    assert_int_equal (left, 1);
    assert_int_equal (rota_presence_count (table), 1);
    assert_ptr_equal (rota_presence_by_route (table, 11), second);
}

static void an_instance_is_not_taken_over_by_another_role_endpoint_or_process (void **state)
{
    rota_presence_t *table = *state;
    rota_member_t *member = join (table, 1, 11, ROLE (AGENT)), *thief = NULL;
    rota_identity_t who = identity (1, 12, ROLE (SCHEDULER));
    assert_int_equal (join_identity (table, &who, 2000, &thief), -EADDRINUSE);
    who = identity (1, 12, ROLE (AGENT));
    who.endpoint = 3;
    assert_int_equal (join_identity (table, &who, 2000, &thief), -EADDRINUSE);
    who = identity (1, 12, ROLE (AGENT));
    who.pid = 101;
    assert_int_equal (join_identity (table, &who, 2000, &thief), -EADDRINUSE);
    assert_null (thief);
    assert_ptr_equal (rota_presence_by_route (table, 11), member);
    /* A number that is only said proves nothing. */
    who.pid_is_proved = false;
    assert_int_equal (join_identity (table, &who, 2000, &thief), 0);
}

static void the_table_is_bounded (void **state)
{
    rota_presence_t *table = *state;
    rota_member_t *member;
    for (unsigned i = 0; i < 8; i++)
        join (table, i + 1, i + 1, ROLE (ADMIN));
    rota_identity_t who = identity (9, 9, ROLE (ADMIN));
    assert_int_equal (join_identity (table, &who, 1000, &member), -ENFILE);
    rota_presence_leave (table, rota_presence_by_route (table, 1));
    assert_int_equal (join_identity (table, &who, 1000, &member), 1);
}

static void silence_ends_membership_and_a_word_renews_it (void **state)
{
    rota_presence_t *table = *state;
    join (table, 1, 11, ROLE (AGENT));
    rota_member_t *second = join (table, 2, 12, ROLE (AGENT));
    rota_presence_heard (table, second, 4000, 0);
    assert_int_equal (rota_presence_expire (table, 5999, 5000), 0);
    assert_int_equal (rota_presence_expire (table, 6000, 5000), 1);
    assert_null (rota_presence_by_route (table, 11));
    assert_ptr_equal (rota_presence_by_route (table, 12), second);
    rota_presence_forgive (table, 10000);
    assert_int_equal (rota_presence_expire (table, 18999, 5000), 0);
    assert_int_equal (rota_presence_expire (table, 19000, 5000), 1);
    assert_int_equal (left, 2);
}

static void work_goes_to_the_scheduler_of_the_highest_epoch_then_to_the_newest (void **state)
{
    rota_presence_t *table = *state;
    join (table, 9, 9, ROLE (AGENT));
    assert_null (rota_presence_scheduler (table));
    rota_member_t *first = join (table, 1, 11, ROLE (SCHEDULER));
    rota_member_t *second = join (table, 2, 12, ROLE (SCHEDULER));
    assert_ptr_equal (rota_presence_scheduler (table), second);
    rota_presence_heard (table, first, 1000, 3);
    assert_ptr_equal (rota_presence_scheduler (table), first);
    rota_presence_heard (table, second, 1000, 4);
    assert_ptr_equal (rota_presence_scheduler (table), second);
    rota_presence_heard (table, second, 1000, 2); /* epochs don't fall */
    assert_ptr_equal (rota_presence_scheduler (table), second);
    rota_presence_leave (table, second);
    assert_ptr_equal (rota_presence_scheduler (table), first);
    rota_presence_leave (table, first);
    assert_null (rota_presence_scheduler (table));
}

static void an_epoch_named_by_somebody_else_counts_nothing (void **state)
{
    rota_presence_t *table = *state;
    rota_member_t *scheduler = join (table, 1, 11, ROLE (SCHEDULER));
    rota_member_t *agent = join (table, 2, 12, ROLE (AGENT));
    rota_presence_heard (table, agent, 1000, 99);
    assert_ptr_equal (rota_presence_scheduler (table), scheduler);
    assert_int_equal (agent->scheduler_epoch, 0);
}

static void news_are_told_once (void **state)
{
    rota_presence_t *table = *state;
    const rota_identity_t *departed;
    size_t count;
    assert_false (rota_presence_has_news (table));
    rota_member_t *first = join (table, 1, 11, ROLE (AGENT));
    assert_true (rota_presence_has_news (table));
    assert_true (first->is_news);
    rota_presence_reported (table);
    assert_false (rota_presence_has_news (table));
    assert_false (first->is_news);
    rota_presence_leave (table, first);
    assert_true (rota_presence_has_news (table));
    assert_true (rota_presence_departed (table, &departed, &count));
    assert_int_equal (count, 1);
    assert_int_equal (departed[0].route, 11);
    rota_presence_reported (table);
    rota_presence_departed (table, &departed, &count);
    assert_int_equal (count, 0);
}

static void too_many_departures_ask_for_the_whole_list (void **state)
{
    rota_presence_t *table = *state;
    const rota_identity_t *departed;
    size_t count;
    for (unsigned i = 0; i < ROTA_BROKER_MAX_DEPARTED; i++)
        rota_presence_leave (table, join (table, i + 1, 11, ROLE (ADMIN)));
    assert_true (rota_presence_departed (table, &departed, &count));
    rota_presence_leave (table, join (table, 1, 11, ROLE (ADMIN)));
    assert_false (rota_presence_departed (table, &departed, &count));
    rota_presence_reported (table);
    assert_true (rota_presence_departed (table, &departed, &count));
}

static void members_come_in_order_of_arrival (void **state)
{
    rota_presence_t *table = *state;
    rota_route_key_t route = 11;
    for (unsigned i = 0; i < 5; i++)
        join (table, i + 1, 11 + i, ROLE (AGENT));
    for (rota_member_t *member = NULL; (member = rota_presence_each (table, member));)
        assert_int_equal (member->identity.route, route++);
    assert_int_equal (route, 16);
}

static int open_table (void **state)
{
    left = 0;
    return (*state = rota_presence_new (8, NULL, count_left)) ? 0 : -1;
}

static int close_table (void **state)
{
    rota_presence_destroy ((rota_presence_t **)state);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, open_table, close_table)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (a_member_is_found_by_instance_and_by_connection),
        TEST (the_same_peer_on_a_new_connection_replaces_the_old_one),
        TEST (a_connection_that_says_hello_under_another_name_leaves_the_first),
        TEST (an_instance_is_not_taken_over_by_another_role_endpoint_or_process),
        TEST (the_table_is_bounded),
        TEST (silence_ends_membership_and_a_word_renews_it),
        TEST (work_goes_to_the_scheduler_of_the_highest_epoch_then_to_the_newest),
        TEST (an_epoch_named_by_somebody_else_counts_nothing),
        TEST (news_are_told_once),
        TEST (too_many_departures_ask_for_the_whole_list),
        TEST (members_come_in_order_of_arrival),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
