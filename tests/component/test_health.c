/* Health and snapshots as clients get them, with a real broker between: unchanged answers, epics, who waits
 * for the next state. */
#include "world.h"

#include "proto/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int open_world (void **state)
{
    world_t *self = calloc (1, sizeof *self);
    world_open (self, NULL);
    *state = self;
    return 0;
}

static int close_world (void **state)
{
    world_close (*state);
    free (*state);
    return 0;
}

static const Rota__HealthReply *health (world_t *self, uint64_t version, const char *group)
{
    Rota__HealthQuery query = ROTA__HEALTH_QUERY__INIT;
    ProtobufCMessage *reply = NULL;
    rota_error_t error = {""};
    query.has_version = version > 0;
    query.version = version;
    query.has_group = group != NULL;
    query.group = rota_bytes (group ? group : "");
    query.has_epics = query.epics = true;
    if (rota_client_call (self->client, ROTA_MESSAGE_HEALTH_QUERY, &query.base, 10000,
                          ROTA_MESSAGE_HEALTH_REPLY, &reply, &error) < 0)
        fail_msg ("%s", error.text);
    return (const Rota__HealthReply *)reply;
}

static const Rota__StatusReply *snapshot (world_t *self, uint64_t version, uint32_t wait_ms)
{
    Rota__SnapshotQuery query = ROTA__SNAPSHOT_QUERY__INIT;
    ProtobufCMessage *reply = NULL;
    rota_error_t error = {""};
    query.has_version = version > 0;
    query.version = version;
    query.has_wait_ms = true;
    query.wait_ms = wait_ms;
    if (rota_client_call (self->client, ROTA_MESSAGE_SNAPSHOT_QUERY, &query.base, 30000,
                          ROTA_MESSAGE_STATUS_REPLY, &reply, &error) < 0)
        fail_msg ("%s", error.text);
    return (const Rota__StatusReply *)reply;
}

static void expect_sums (const Rota__HealthPart *part)
{
    uint64_t counts = 0;
    for (size_t i = 0; i < part->n_counts; i++)
        counts += part->counts[i]->tasks;
    assert_int_equal (counts, part->total);
    assert_int_equal (part->ended + part->ready + part->waiting + part->running + part->awaiting_human +
                          part->blocked + part->unreachable,
                      part->total);
}

static void what_has_not_changed_is_not_said_again (void **state)
{
    world_t *self = *state;
    Rota__TaskSpec **specs = calloc (2, sizeof *specs);
    specs[0] = world_task ("a", NULL);
    specs[1] = world_task ("b", "a");
    const Rota__HealthReply *reply = health (self, 0, NULL);
    assert_int_equal (reply->all->total, 0);
    assert_false (reply->all->has_quality_permille);
    assert_false (reply->all->has_failure_permille);
    assert_int_equal (world_import (self, specs, 2, false, NULL), ROTA_MESSAGE_IMPORT_DIFFERENCE);
    reply = health (self, 0, NULL);
    uint64_t version = reply->version;
    expect_sums (reply->all);
    assert_int_equal (reply->all->waiting, 1);
    /* The first seconds after a start count as another answer once (nobody has registered yet), and so does
     * each step of the rates: one of two in a row is the same. */
    reply = health (self, version, NULL);
    if (!reply->unchanged)
        reply = health (self, reply->version, NULL);
    assert_true (reply->unchanged);
    assert_null (reply->all);
    world_attach_agent (self, 1);
    world_run_until_done (self, 2);
    reply = health (self, version, NULL);
    assert_false (reply->unchanged);
    expect_sums (reply->all);
    assert_int_equal (reply->all->ended, 2);
    assert_int_equal (reply->all->failure_permille, 0);
    assert_true (reply->all->has_failure_permille);
    version = reply->version;
    world_stop_scheduler (self);
    world_start_scheduler (self);
    reply = health (self, version, NULL);
    assert_false (reply->unchanged);                /* another scheduler */
    assert_true (reply->all->has_failure_permille); /* which knows what the one before counted */
    world_free (specs, 2);
}

static void a_group_that_is_not_there_is_refused (void **state)
{
    world_t *self = *state;
    Rota__HealthQuery query = ROTA__HEALTH_QUERY__INIT;
    ProtobufCMessage *reply = NULL;
    rota_error_t error = {""};
    query.has_group = true;
    query.group = rota_bytes ("nobody");
    assert_true (rota_client_call (self->client, ROTA_MESSAGE_HEALTH_QUERY, &query.base, 10000,
                                   ROTA_MESSAGE_HEALTH_REPLY, &reply, &error) < 0);
    assert_int_equal (rota_client_last_code (self->client), ERROR_CODE (NOT_FOUND));
    assert_non_null (strstr (error.text, "no epic or milestone nobody"));
}

static void who_watches_gets_the_next_state (void **state)
{
    world_t *self = *state;
    Rota__TaskSpec **specs = calloc (1, sizeof *specs);
    specs[0] = world_task ("a", NULL);
    const Rota__StatusReply *reply = snapshot (self, 0, 1000); /* the first at once */
    assert_true (reply->has_total);
    uint64_t version = reply->version;
    reply = snapshot (self, version, 300);
    for (int i = 0; i < 3 && !reply->unchanged; i++) {
        version = reply->version;
        reply = snapshot (self, version, 300);
    }
    assert_true (reply->unchanged);
    assert_int_equal (reply->version, version);
    assert_int_equal (world_import (self, specs, 1, false, NULL), ROTA_MESSAGE_IMPORT_DIFFERENCE);
    reply = snapshot (self, version, 20000);
    assert_false (reply->unchanged);
    assert_int_equal (reply->total, 1);
    assert_true (reply->version > version);
    world_free (specs, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, open_world, close_world)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (what_has_not_changed_is_not_said_again),
        TEST (a_group_that_is_not_there_is_refused),
        TEST (who_watches_gets_the_next_state),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
