/* Who may send what to whom, a sentence a test; and the whole catalogue against every role. */
#include "broker/router.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

#define ROLE(name) ROTA__ROLE__ROLE_##name
#define CODE(name) ROTA__ERROR_CODE__ERROR_CODE_##name

typedef struct {
    rota_presence_t *presence;
    rota_member_t *of[ROTA__ROLE__ROLE_ADMIN + 1]; /* one of each role */
} scene_t;

static rota_member_t *join (rota_presence_t *presence, Rota__Role role)
{
    rota_member_t *member = NULL;
    rota_identity_t who = {.route = role, .role = role};
    who.instance[0] = (uint8_t)role;
    assert_int_equal (rota_presence_join (presence, &who, 0, 0, &member), 1);
    return member;
}

static rota_envelope_t message (uint32_t type, const rota_member_t *to)
{
    rota_envelope_t envelope = {.version = ROTA_PROTOCOL_VERSION, .type = type, .has_to = to != NULL};
    if (to)
        memcpy (envelope.to, to->identity.instance, sizeof envelope.to);
    return envelope;
}

static rota_route_t decide (const scene_t *scene, const rota_envelope_t *envelope, Rota__Role sender)
{
    return rota_router_decide (0, envelope, 0, sender ? scene->of[sender] : NULL, scene->presence);
}

static void assert_refused (rota_route_t route, Rota__ErrorCode code)
{
    assert_int_equal (route.kind, ROTA_ROUTE_REFUSE);
    assert_string_equal (rota_error_code_name (route.code), rota_error_code_name (code));
    assert_non_null (route.text);
}

static void every_type_is_let_through_for_its_senders_and_refused_to_all_others (void **state)
{
    scene_t *scene = *state;
    size_t types = 0;
    for (uint32_t type = 0; type < 256; type++) {
        const rota_catalogue_entry_t *entry = rota_catalogue_find (type);
        types += entry != NULL;
        for (Rota__Role role = ROLE (READ); entry && role <= ROLE (ADMIN); role++) {
            rota_envelope_t envelope =
                message (type, scene->of[role == ROLE (AGENT) ? ROLE (READ) : ROLE (AGENT)]);
            rota_route_t route = decide (scene, &envelope, role);
            bool allowed = entry->direction != ROTA_TO_EVENTS &&
                           (entry->senders & 1u << role || type == ROTA_MESSAGE_HELLO);
            if (allowed)
                assert_true (route.kind == ROTA_ROUTE_BROKER || route.kind == ROTA_ROUTE_FORWARD);
            else
                assert_refused (route, CODE (NOT_ALLOWED));
        }
    }
    assert_true (types > 40);
}

static void every_size_limit_holds_to_the_byte (void **state)
{
    scene_t *scene = *state;
    for (uint32_t type = 0; type < 256; type++) {
        const rota_catalogue_entry_t *entry = rota_catalogue_find (type);
        if (!entry)
            continue;
        rota_envelope_t envelope = message (type, scene->of[ROLE (AGENT)]);
        rota_route_t route =
            rota_router_decide (0, &envelope, entry->max_bytes + 1, scene->of[ROLE (ADMIN)], scene->presence);
        assert_refused (route, CODE (TOO_LARGE));
        route = rota_router_decide (0, &envelope, entry->max_bytes, scene->of[ROLE (ADMIN)], scene->presence);
        assert_true (route.kind != ROTA_ROUTE_REFUSE || route.code != CODE (TOO_LARGE));
    }
}

static void what_cannot_be_decoded_is_the_senders_fault (void **state)
{
    scene_t *scene = *state;
    rota_envelope_t nothing = {0};
    const struct {
        int decoded;
        Rota__ErrorCode code;
    } cases[] = {
        {-EBADMSG, CODE (MALFORMED)}, {-EMSGSIZE, CODE (TOO_LARGE)}, {-EPROTO, CODE (UNSUPPORTED_VERSION)}};
    for (size_t i = 0; i < 3; i++) {
        rota_route_t route = rota_router_decide (cases[i].decoded, &nothing, 0, NULL, scene->presence);
        assert_refused (route, cases[i].code);
        assert_true (route.is_fault);
    }
}

static void a_stranger_may_only_say_hello (void **state)
{
    scene_t *scene = *state;
    rota_envelope_t hello = message (ROTA_MESSAGE_HELLO, NULL);
    rota_envelope_t query = message (ROTA_MESSAGE_STATUS_QUERY, NULL);
    assert_int_equal (decide (scene, &hello, ROLE (UNSPECIFIED)).kind, ROTA_ROUTE_BROKER);
    rota_route_t route = decide (scene, &query, ROLE (UNSPECIFIED));
    assert_refused (route, CODE (HELLO_REQUIRED));
    assert_false (route.is_fault); /* after a restart of the broker everybody is one */
}

static void an_unknown_type_is_refused_and_no_fault (void **state)
{
    scene_t *scene = *state;
    rota_envelope_t unknown = message (60000, NULL);
    rota_route_t route = decide (scene, &unknown, ROLE (ADMIN));
    assert_refused (route, CODE (UNKNOWN_TYPE));
    assert_false (route.is_fault);
}

static void requests_go_to_the_scheduler_or_are_unavailable (void **state)
{
    scene_t *scene = *state;
    rota_envelope_t query = message (ROTA_MESSAGE_STATUS_QUERY, NULL);
    assert_ptr_equal (decide (scene, &query, ROLE (READ)).target, scene->of[ROLE (SCHEDULER)]);
    rota_presence_leave (scene->presence, scene->of[ROLE (SCHEDULER)]);
    assert_refused (decide (scene, &query, ROLE (READ)), CODE (UNAVAILABLE));
}

static void messages_to_a_peer_need_one (void **state)
{
    scene_t *scene = *state;
    rota_envelope_t assign = message (ROTA_MESSAGE_ASSIGN, NULL);
    assert_refused (decide (scene, &assign, ROLE (SCHEDULER)), CODE (MALFORMED));
    assign = message (ROTA_MESSAGE_ASSIGN, scene->of[ROLE (SCHEDULER)]);
    assert_refused (decide (scene, &assign, ROLE (SCHEDULER)), CODE (NOT_ALLOWED));
    assign = message (ROTA_MESSAGE_ASSIGN, scene->of[ROLE (AGENT)]);
    assert_ptr_equal (decide (scene, &assign, ROLE (SCHEDULER)).target, scene->of[ROLE (AGENT)]);
}

static void to_a_peer_that_left_requests_are_unavailable_and_answers_dropped (void **state)
{
    scene_t *scene = *state;
    rota_envelope_t assign = message (ROTA_MESSAGE_ASSIGN, scene->of[ROLE (AGENT)]);
    rota_envelope_t stop = message (ROTA_MESSAGE_STOP, scene->of[ROLE (AGENT)]);
    rota_envelope_t reply = message (ROTA_MESSAGE_REPORT_REPLY, scene->of[ROLE (AGENT)]);
    rota_envelope_t error = message (ROTA_MESSAGE_ERROR, scene->of[ROLE (AGENT)]);
    rota_presence_leave (scene->presence, scene->of[ROLE (AGENT)]);
    assert_refused (decide (scene, &assign, ROLE (SCHEDULER)), CODE (UNAVAILABLE));
    assert_refused (decide (scene, &stop, ROLE (SCHEDULER)), CODE (UNAVAILABLE));
    assert_int_equal (decide (scene, &reply, ROLE (SCHEDULER)).kind, ROTA_ROUTE_DROP);
    assert_int_equal (decide (scene, &error, ROLE (SCHEDULER)).kind, ROTA_ROUTE_DROP);
}

static void output_is_routed_to_agents_alone (void **state)
{
    scene_t *scene = *state;
    rota_envelope_t query = message (ROTA_MESSAGE_OUTPUT_QUERY, NULL);
    assert_ptr_equal (decide (scene, &query, ROLE (READ)).target, scene->of[ROLE (SCHEDULER)]);
    query = message (ROTA_MESSAGE_OUTPUT_QUERY, scene->of[ROLE (AGENT)]);
    assert_ptr_equal (decide (scene, &query, ROLE (READ)).target, scene->of[ROLE (AGENT)]);
    query = message (ROTA_MESSAGE_OUTPUT_QUERY, scene->of[ROLE (SINK)]);
    assert_refused (decide (scene, &query, ROLE (READ)), CODE (NOT_ALLOWED));
    query = message (ROTA_MESSAGE_OUTPUT_QUERY, scene->of[ROLE (AGENT)]);
    rota_presence_leave (scene->presence, scene->of[ROLE (AGENT)]);
    assert_refused (decide (scene, &query, ROLE (READ)), CODE (UNAVAILABLE));
}

static void an_endpoint_gives_its_role_or_a_lesser_one_of_the_same_sort (void **state)
{
    (void)state;
    assert_true (rota_router_role_fits (ROLE (ADMIN), ROLE (READ)));
    assert_true (rota_router_role_fits (ROLE (ADMIN), ROLE (ADMIN)));
    assert_false (rota_router_role_fits (ROLE (ADMIN), ROLE (AGENT)));
    assert_false (rota_router_role_fits (ROLE (ADMIN), ROLE (SCHEDULER)));
    assert_true (rota_router_role_fits (ROLE (SUBMIT), ROLE (READ)));
    assert_false (rota_router_role_fits (ROLE (SUBMIT), ROLE (OPERATE)));
    assert_false (rota_router_role_fits (ROLE (OPERATE), ROLE (ADMIN)));
    assert_true (rota_router_role_fits (ROLE (AGENT), ROLE (AGENT)));
    assert_false (rota_router_role_fits (ROLE (AGENT), ROLE (READ)));
    assert_true (rota_router_role_fits (ROTA_ENDPOINT_OF_SERVICES, ROLE (SCHEDULER)));
    assert_true (rota_router_role_fits (ROTA_ENDPOINT_OF_SERVICES, ROLE (SINK)));
    assert_false (rota_router_role_fits (ROTA_ENDPOINT_OF_SERVICES, ROLE (ADMIN)));
    assert_false (rota_router_role_fits (ROTA_ENDPOINT_OF_SERVICES, ROLE (UNSPECIFIED)));
    assert_false (rota_router_role_fits (ROLE (ADMIN), (Rota__Role)77));
}

static int open_scene (void **state)
{
    scene_t *scene = calloc (1, sizeof *scene);
    scene->presence = rota_presence_new (16, NULL, NULL);
    for (Rota__Role role = ROLE (READ); role <= ROLE (ADMIN); role++)
        scene->of[role] = join (scene->presence, role);
    *state = scene;
    return 0;
}

static int close_scene (void **state)
{
    scene_t *scene = *state;
    rota_presence_destroy (&scene->presence);
    free (scene);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, open_scene, close_scene)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (every_type_is_let_through_for_its_senders_and_refused_to_all_others),
        TEST (every_size_limit_holds_to_the_byte),
        TEST (what_cannot_be_decoded_is_the_senders_fault),
        TEST (a_stranger_may_only_say_hello),
        TEST (an_unknown_type_is_refused_and_no_fault),
        TEST (requests_go_to_the_scheduler_or_are_unavailable),
        TEST (messages_to_a_peer_need_one),
        TEST (to_a_peer_that_left_requests_are_unavailable_and_answers_dropped),
        TEST (output_is_routed_to_agents_alone),
        TEST (an_endpoint_gives_its_role_or_a_lesser_one_of_the_same_sort),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
