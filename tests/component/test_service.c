/* The scheduler as its clients see it, with a real broker between. */
#include "world.h"

#include "proto/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

static size_t full_size (void)
{
    const char *is_long = getenv ("ROTA_TEST_LONG");
    return is_long && strcmp (is_long, "1") == 0;
}

/* ------------------------------------------------------------------------------- order and big graphs */

typedef struct {
    uint8_t *done; /* by task number */
    size_t width;
    size_t out_of_order;
    int shape;
} order_t;

enum { CHAIN, DIAMONDS };

static size_t number_of (const Rota__Assignment *it)
{
    return strtoull ((const char *)it->spec->id.data + 1, NULL, 10);
}

/* A diamond: 4k before 4k+1 and 4k+2, both before 4k+3, that before 4k+4. */
static bool may_start (const order_t *order, size_t i)
{
    if (i == 0)
        return true;
    if (order->shape == CHAIN)
        return order->done[i - 1];
    switch (i % 4) {
    case 1:
        return order->done[i - 1];
    case 2:
        return order->done[i - 2];
    case 3:
        return order->done[i - 1] && order->done[i - 2];
    default:
        return order->done[i - 1];
    }
}

static Rota__ResultClass note_order (void *owner, const Rota__Assignment *assignment)
{
    order_t *order = owner;
    size_t i = number_of (assignment);
    order->out_of_order += !may_start (order, i);
    order->done[i] = 1;
    return RESULT (OK);
}

static Rota__TaskSpec *shaped_task (int shape, size_t i)
{
    char id[32], after[64] = "";
    snprintf (id, sizeof id, "t%zu", i);
    if (i > 0 && (shape == CHAIN || i % 4 != 2))
        snprintf (after, sizeof after, "t%zu", i - 1);
    if (shape == DIAMONDS && i % 4 == 2)
        snprintf (after, sizeof after, "t%zu", i - 2);
    if (shape == DIAMONDS && i % 4 == 3)
        snprintf (after, sizeof after, "t%zu t%zu", i - 1, i - 2);
    return world_task (id, after);
}

static void work_shape (world_t *self, int shape, size_t count)
{
    Rota__TaskSpec **specs = calloc (count, sizeof *specs);
    order_t order = {.done = calloc (count, 1), .shape = shape};
    for (size_t i = 0; i < count; i++)
        specs[i] = shaped_task (shape, i);
    assert_int_equal (world_import (self, specs, count, false, NULL), ROTA_MESSAGE_IMPORT_DIFFERENCE);
    self->work = note_order;
    self->owner = &order;
    world_attach_agent (self, 64);
    world_run_until_done (self, count);
    assert_int_equal (order.out_of_order, 0);
    assert_int_equal (self->assigned, count);
    world_expect_sound (self);
    world_free (specs, count);
    free (order.done);
}

static void diamonds_are_worked_in_order (void **state)
{
    work_shape (*state, DIAMONDS, 1000);
}

static void a_chain_is_worked_in_order (void **state)
{
    work_shape (*state, CHAIN, full_size () ? 10000 : 300);
}

static void many_independent_tasks_are_imported_and_worked (void **state)
{
    world_t *self = *state;
    size_t count = full_size () ? 100000 : 10000;
    Rota__TaskSpec **specs = calloc (count, sizeof *specs);
    Rota__ImportDifference difference;
    for (size_t i = 0; i < count; i++)
        specs[i] = shaped_task (CHAIN, i);
    for (size_t i = 0; i < count; i++)
        while (specs[i]->n_dependencies) {
            Rota__Dependency *it = specs[i]->dependencies[--specs[i]->n_dependencies];
            rota__dependency__free_unpacked (it, NULL);
        }
    assert_int_equal (world_import (self, specs, count, false, &difference), ROTA_MESSAGE_IMPORT_DIFFERENCE);
    assert_int_equal (difference.added, count);
    assert_int_equal (world_import (self, specs, count, false, &difference), ROTA_MESSAGE_IMPORT_DIFFERENCE);
    assert_int_equal (difference.unchanged, count);
    assert_int_equal (difference.added, 0);
    world_attach_agent (self, 1000);
    world_run_until_done (self, count);
    assert_int_equal (self->assigned, count);
    world_free (specs, count);
}

/* -------------------------------------------------------------------------------------------- imports */

static void an_import_that_does_not_fit_changes_nothing (void **state)
{
    world_t *self = *state;
    Rota__TaskSpec **specs = calloc (2, sizeof *specs);
    uint64_t status[10];
    specs[0] = world_task ("a", NULL);
    specs[1] = world_task ("b", "nowhere");
    assert_int_equal (world_import (self, specs, 2, false, NULL), ROTA_MESSAGE_ERROR);
    assert_int_equal (rota_client_last_code (self->client), ERROR_CODE (INVALID));
    const Rota__Error *error = rota_client_last_refusal (self->client);
    assert_int_equal (error->n_faults, 1);
    assert_non_null (memmem (error->faults[0]->text.data, error->faults[0]->text.len, "nowhere", 7));
    world_status (self, status, NULL);
    assert_int_equal (status[STATUS (PENDING)], 0);
    world_expect_sound (self);
    world_free (specs, 2);
}

static void nothing_submitted_waits_for_what_an_import_has_not_committed (void **state)
{
    world_t *self = *state;
    Rota__TaskSpec **staged = calloc (1, sizeof *staged), **submitted = calloc (1, sizeof *submitted);
    uint64_t status[10];
    staged[0] = world_task ("a", NULL);
    submitted[0] = world_task ("x", "a");
    assert_int_equal (world_stage (self, staged, 1, false), ROTA_MESSAGE_IMPORT_REPLY);
    assert_int_equal (world_submit (self, submitted[0]), ROTA_MESSAGE_ERROR);
    assert_int_equal (rota_client_last_code (self->client), ERROR_CODE (INVALID));
    world_stop_scheduler (self);
    world_start_scheduler (self);
    world_status (self, status, NULL);
    assert_int_equal (status[STATUS (PENDING)], 0);
    world_expect_sound (self);
    world_free (staged, 1);
    world_free (submitted, 1);
}

static void a_cycle_through_the_store_is_refused_and_undone (void **state)
{
    world_t *self = *state;
    Rota__TaskSpec **first = calloc (2, sizeof *first), **second = calloc (2, sizeof *second);
    Rota__ImportDifference difference;
    first[0] = world_task ("a", NULL);
    first[1] = world_task ("b", "a");
    second[0] = world_task ("a", "b");
    second[1] = world_task ("b", "a");
    assert_int_equal (world_import (self, first, 2, false, NULL), ROTA_MESSAGE_IMPORT_DIFFERENCE);
    assert_int_equal (world_import (self, second, 2, false, NULL), ROTA_MESSAGE_ERROR);
    world_expect_sound (self);
    assert_int_equal (world_import (self, first, 2, false, &difference), ROTA_MESSAGE_IMPORT_DIFFERENCE);
    assert_int_equal (difference.unchanged, 2);
    world_free (first, 2);
    world_free (second, 2);
}

static void a_dry_run_says_what_would_change_and_changes_nothing (void **state)
{
    world_t *self = *state;
    Rota__TaskSpec **specs = calloc (3, sizeof *specs);
    Rota__ImportDifference difference;
    uint64_t status[10];
    for (int i = 0; i < 3; i++)
        specs[i] = shaped_task (CHAIN, (size_t)i);
    assert_int_equal (world_import (self, specs, 3, true, &difference), ROTA_MESSAGE_IMPORT_DIFFERENCE);
    assert_int_equal (difference.added, 3);
    world_status (self, status, NULL);
    assert_int_equal (status[STATUS (PENDING)], 0);
    assert_int_equal (world_import (self, specs, 3, false, &difference), ROTA_MESSAGE_IMPORT_DIFFERENCE);
    assert_int_equal (difference.added, 3);
    world_expect_sound (self);
    world_free (specs, 3);
}

static void a_task_gone_from_the_file_is_kept_and_marked (void **state)
{
    world_t *self = *state;
    Rota__TaskSpec **specs = calloc (2, sizeof *specs);
    Rota__ImportDifference difference;
    Rota__StatusReply *reply;
    uint64_t status[10];
    specs[0] = world_task ("a", NULL);
    specs[1] = world_task ("b", NULL);
    assert_int_equal (world_import (self, specs, 2, false, NULL), ROTA_MESSAGE_IMPORT_DIFFERENCE);
    assert_int_equal (world_import (self, specs, 1, false, &difference), ROTA_MESSAGE_IMPORT_DIFFERENCE);
    assert_int_equal (difference.orphaned, 1);
    world_status (self, status, &reply);
    assert_int_equal (status[STATUS (PENDING)], 2);
    assert_int_equal (reply->orphaned, 1);
    world_free (specs, 2);
}

/* -------------------------------------------------------------------------------------------- restarts */

static void what_was_acknowledged_is_there_after_a_restart (void **state)
{
    world_t *self = *state;
    Rota__TaskSpec **specs = calloc (3, sizeof *specs);
    uint64_t status[10];
    for (int i = 0; i < 3; i++)
        specs[i] = shaped_task (CHAIN, (size_t)i);
    assert_int_equal (world_import (self, specs, 3, false, NULL), ROTA_MESSAGE_IMPORT_DIFFERENCE);
    world_stop_scheduler (self);
    world_start_scheduler (self);
    world_status (self, status, NULL);
    assert_int_equal (status[STATUS (PENDING)], 3);
    world_attach_agent (self, 2);
    world_run_until_done (self, 3);
    world_expect_sound (self);
    world_free (specs, 3);
}

static void a_second_scheduler_is_told_who_serves (void **state)
{
    world_t *self = *state;
    rota_scheduler_config_t config = {.state_directory = self->broker.state_dir,
                                      .endpoints = self->broker.endpoints.service,
                                      .settings = self->settings};
    rota_scheduler_t *second;
    rota_error_t error = {{0}};
    assert_int_equal (rota_scheduler_new (&config, &second, &error), -EBUSY);
    assert_non_null (strstr (error.text, "another scheduler"));
}

static Rota__ResultClass fail_always (void *owner, const Rota__Assignment *assignment)
{
    (void)owner;
    (void)assignment;
    return RESULT (FAILED);
}

static void attempts_end_in_the_dead_letter_and_retry_brings_it_back (void **state)
{
    world_t *self = *state;
    Rota__TaskSpec **specs = calloc (2, sizeof *specs);
    Rota__StatusReply *reply;
    uint64_t status[10] = {0};
    specs[0] = world_task ("a", NULL);
    specs[1] = world_task ("b", "a");
    self->work = fail_always;
    assert_int_equal (world_import (self, specs, 2, false, NULL), ROTA_MESSAGE_IMPORT_DIFFERENCE);
    world_attach_agent (self, 2);
    for (int i = 0; i < 1000 && !status[STATUS (FAILED)]; i++) {
        rota_client_run (self->client, 20);
        world_status (self, status, &reply);
    }
    assert_int_equal (status[STATUS (FAILED)], 1);
    assert_int_equal (self->assigned, 3);
    assert_int_equal (reply->unreachable, 1);
    assert_true (reply->settled);
    self->work = NULL;
    Rota__Control control = ROTA__CONTROL__INIT;
    ProtobufCBinaryData id = rota_bytes ("a");
    ProtobufCMessage *answer;
    rota_error_t error;
    control.has_verb = true;
    control.verb = VERB (RETRY);
    control.n_ids = 1;
    control.ids = &id;
    assert_int_equal (rota_client_call (self->client, ROTA_MESSAGE_CONTROL, &control.base, 10000,
                                        ROTA_MESSAGE_CONTROL_REPLY, &answer, &error),
                      0);
    world_run_until_done (self, 2);
    world_expect_sound (self);
    world_free (specs, 2);
}

static void a_backup_is_made_while_work_goes_on (void **state)
{
    world_t *self = *state;
    size_t count = 2000;
    Rota__TaskSpec **specs = calloc (count, sizeof *specs);
    Rota__BackupRequest request = ROTA__BACKUP_REQUEST__INIT;
    ProtobufCMessage *reply;
    rota_error_t error = {{0}};
    char path[128];
    struct stat there;
    for (size_t i = 0; i < count; i++)
        specs[i] = shaped_task (DIAMONDS, i);
    assert_int_equal (world_import (self, specs, count, false, NULL), ROTA_MESSAGE_IMPORT_DIFFERENCE);
    world_attach_agent (self, 8);
    snprintf (path, sizeof path, "%s/backup.db", self->broker.state_dir);
    request.has_path = true;
    request.path = rota_bytes (path);
    if (rota_client_call (self->client, ROTA_MESSAGE_BACKUP, &request.base, 60000, ROTA_MESSAGE_BACKUP_REPLY,
                          &reply, &error) < 0)
        fail_msg ("%s", error.text);
    assert_int_equal (stat (path, &there), 0);
    assert_int_equal (there.st_size, ((Rota__BackupReply *)reply)->size_bytes);
    assert_int_equal (there.st_mode & 0777, 0600);
    world_run_until_done (self, count);
    world_expect_sound (self);
    world_free (specs, count);
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, open_world, close_world)

int main (void)
{
    const struct CMUnitTest tests[] = {
        TEST (diamonds_are_worked_in_order),
        TEST (a_chain_is_worked_in_order),
        TEST (many_independent_tasks_are_imported_and_worked),
        TEST (an_import_that_does_not_fit_changes_nothing),
        TEST (nothing_submitted_waits_for_what_an_import_has_not_committed),
        TEST (a_cycle_through_the_store_is_refused_and_undone),
        TEST (a_dry_run_says_what_would_change_and_changes_nothing),
        TEST (a_task_gone_from_the_file_is_kept_and_marked),
        TEST (what_was_acknowledged_is_there_after_a_restart),
        TEST (a_second_scheduler_is_told_who_serves),
        TEST (attempts_end_in_the_dead_letter_and_retry_brings_it_back),
        TEST (a_backup_is_made_while_work_goes_on),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
