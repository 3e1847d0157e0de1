/* Checkpoints: whatever the size of the whole, they fit; what they say; how many the store keeps. */
#include "proto/words.h"
#include "scheduler/checkpoint.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define START_MS INT64_C (1800000000000)
static const char *const CAPABILITIES[] = {"run"};
static const uint8_t STORE[16] = {7, 7, 7};

static rota_core_t *new_core (void)
{
    rota_core_policy_t policy;
    rota_core_policy_default (&policy);
    rota_core_t *core = rota_core_new (&policy, START_MS);
    assert_non_null (core);
    return core;
}

static void add_tasks (rota_core_t *core, size_t count, size_t id_bytes, int32_t priority)
{
    uint32_t class_index;
    bool fresh;
    char id[201];
    rota_node_t node = 0;
    assert_int_equal (rota_core_class (core, 0, "", 0, CAPABILITIES, 1, &class_index, &fresh), 0);
    for (size_t i = 0; i < count; i++) {
        int length = snprintf (id, sizeof id, "task-%0*zu", (int)id_bytes - 5, i);
        rota_core_node_t it = {.id = id,
                               .id_length = (size_t)length,
                               .kind = NODE (TASK),
                               .parent = ROTA_NONE,
                               .class_index = class_index,
                               .status = STATUS (PENDING),
                               .priority = priority,
                               .attempts_allowed = 1,
                               .agent = ROTA_NONE,
                               .author = ROTA_NONE,
                               .ready_since_ms = START_MS};
        assert_int_equal (rota_core_add (core, &it, &node), 0);
    }
    rota_core_open (core, node + 1 - (rota_node_t)count, node + 1, false, START_MS);
}

static rota_agent_t add_agent (rota_core_t *core, const char *name, uint32_t slots, uint8_t instance)
{
    rota_core_agent_t agent = {.name = name,
                               .kind = "exec",
                               .host = "h",
                               .slots = slots,
                               .capabilities = CAPABILITIES,
                               .capability_count = 1,
                               .instance = {1, instance}};
    rota_agent_t index;
    assert_int_equal (rota_core_agent_register (core, &agent, NULL, 0, START_MS, &index), 0);
    return index;
}

static Rota__CheckpointBody *make (rota_core_t *core, int *ret_size)
{
    uint8_t packed[ROTA_CHECKPOINT_MAX_BYTES];
    rota_checkpoint_at_t at = {
        .scheduler_epoch = UINT64_MAX, .last_event = UINT64_MAX, .store = STORE, .now_ms = START_MS};
    *ret_size = rota_checkpoint_make (core, &at, packed);
    assert_in_range (*ret_size, 1, ROTA_CHECKPOINT_MAX_BYTES);
    Rota__CheckpointBody *body = rota__checkpoint_body__unpack (NULL, (size_t)*ret_size, packed);
    assert_non_null (body);
    return body;
}

static void a_hundred_thousand_tasks_fit (void **state)
{
    (void)state;
    rota_core_t *core = new_core ();
    char name[201];
    int size;
    add_tasks (core, 100000, 150, -3);
    for (uint8_t i = 0; i < 200; i++) {
        memset (name, 'a', 150);
        snprintf (name + 150, sizeof name - 150, "@%u", i);
        rota_agent_t agent = add_agent (core, name, 50, i);
        if (i % 2) {
            rota_core_agent_view_t view;
            rota_core_agent_view (core, agent, &view);
            assert_int_equal (rota_core_account_close (core, view.account, "full", START_MS), 0);
            assert_int_equal (rota_core_account_close (core, view.account, "full", START_MS), 1);
        }
        if (i % 4 == 1)
            rota_core_agent_drain (core, agent, true, START_MS);
    }
    rota_core_dispatch (core, START_MS);
    size_t running = rota_core_lease_count (core);
    assert_true (running >= 100);
    Rota__CheckpointBody *body = make (core, &size);
    assert_in_range (size, 3500, ROTA_CHECKPOINT_MAX_BYTES);
    assert_int_equal (body->running, running);
    assert_int_equal (body->statuses[STATUS (PENDING)] + body->statuses[STATUS (IN_PROGRESS)], 100000);
    assert_int_equal (body->priority_count, 100000);
    assert_int_equal (body->resting, 100);
    assert_int_equal (body->drained_count, 50);
    assert_true (body->n_attempts > 0 && body->n_priorities > 0 && body->n_accounts > 0 &&
                 body->n_drained > 0);
    assert_int_equal (body->attempts[0]->task.len, 64); /* only shown: cut */
    assert_int_equal (body->priorities[0]->task.len, 150);
    assert_int_equal (body->priorities[0]->priority, -3);
    rota__checkpoint_body__free_unpacked (body, NULL);
    rota_core_destroy (&core);
}

static void short_ids_fill_it_and_no_more (void **state)
{
    (void)state;
    rota_core_t *core = new_core ();
    int size;
    add_tasks (core, 5000, 6, 1);
    Rota__CheckpointBody *body = make (core, &size);
    assert_in_range (size, 3900, ROTA_CHECKPOINT_MAX_BYTES);
    assert_int_equal (body->priority_count, 5000);
    rota__checkpoint_body__free_unpacked (body, NULL);
    rota_core_destroy (&core);
}

static void a_small_whole_is_there_whole (void **state)
{
    (void)state;
    rota_core_t *core = new_core ();
    int size;
    rota_error_t error = {""};
    add_tasks (core, 3, 10, 0);
    rota_agent_t agent = add_agent (core, "exec@h", 1, 1);
    rota_core_dispatch (core, START_MS);
    assert_int_equal (rota_core_control (core, 2, VERB (PRIORITY), "", 0, 7, START_MS, &error), 0);
    rota_core_pause (core, true, START_MS);
    rota_core_drain_all (core, true, START_MS);
    rota_core_agent_drain (core, agent, true, START_MS);
    Rota__CheckpointBody *body = make (core, &size);
    assert_in_range (size, 1, 400);
    assert_true (body->paused && body->draining);
    assert_int_equal (body->nodes, 3);
    assert_int_equal (body->running, 1);
    assert_int_equal (body->n_attempts, 1);
    assert_memory_equal (body->attempts[0]->task.data, "task-00000", 10);
    assert_int_equal (body->n_priorities, 1);
    assert_int_equal (body->priority_count, 1);
    assert_memory_equal (body->priorities[0]->task.data, "task-00002", 10);
    assert_int_equal (body->priorities[0]->priority, 7);
    assert_int_equal (body->n_drained, 1);
    assert_int_equal (body->last_event, UINT64_MAX);
    rota__checkpoint_body__free_unpacked (body, NULL);
    assert_int_equal (rota_core_verify (core, &error), 0);
    rota_core_destroy (&core);
}

static void a_closed_account_rests_until_somebody_opens_it (void **state)
{
    (void)state;
    rota_core_t *core = new_core ();
    rota_error_t error = {""};
    rota_core_agent_view_t view;
    add_tasks (core, 1, 10, 0);
    rota_agent_t agent = add_agent (core, "exec@h", 1, 1);
    rota_core_agent_view (core, agent, &view);
    assert_int_equal (rota_core_account_close (core, view.account, "as it was", START_MS), 0);
    rota_core_dispatch (core, START_MS);
    assert_int_equal (rota_core_lease_count (core), 0);
    assert_int_equal (rota_core_verify (core, &error), 0);
    assert_int_equal (rota_core_account_resume (core, view.account, START_MS), 0);
    rota_core_dispatch (core, START_MS);
    assert_int_equal (rota_core_lease_count (core), 1);
    assert_int_equal (rota_core_verify (core, &error), 0);
    rota_core_destroy (&core);
}

/* ------------------------------------------------------------------------------------- in the store */

static void note_id (void *owner, const rota_stored_checkpoint_t *it)
{
    uint64_t **next = owner;
    *(*next)++ = it->id;
    assert_int_equal (it->size, 4);
    assert_string_equal (it->cause, "by_hand");
}

static size_t ids (rota_store_t *store, uint64_t ret_ids[16])
{
    uint64_t *next = ret_ids;
    return rota_store_checkpoints (store, UINT64_MAX, 16, note_id, &next);
}

static void the_store_keeps_them_by_number_and_age (void **state)
{
    (void)state;
    char path[] = "/tmp/rota-checkpoint-XXXXXX", file[64];
    uint64_t found[16];
    rota_store_t *store;
    rota_error_t error = {""};
    assert_non_null (mkdtemp (path));
    snprintf (file, sizeof file, "%s/rota.db", path);
    assert_int_equal (rota_store_open (file, &store, &error), 0);
    assert_int_equal (rota_store_begin (store, &error), 0);
    for (int64_t i = 1; i <= 10; i++)
        assert_int_equal (rota_store_add_checkpoint (store, "by_hand", (const uint8_t *)"body", 4, i * 1000),
                          i);
    rota_store_trim_checkpoints (store, 0, 6);
    assert_int_equal (ids (store, found), 6);
    assert_int_equal (found[0], 10);
    assert_int_equal (found[5], 5);
    rota_store_trim_checkpoints (store, 8000, 6);
    assert_int_equal (ids (store, found), 3);
    assert_int_equal (found[2], 8);
    rota_store_trim_checkpoints (store, 8000, 6);
    assert_int_equal (ids (store, found), 3);
    rota_store_trim_checkpoints (store, 90000, 6);
    assert_int_equal (ids (store, found), 0);
    assert_int_equal (rota_store_add_checkpoint (store, "by_hand", (const uint8_t *)"body", 4, 99000), 11);
    uint64_t *next = found;
    assert_int_equal (rota_store_get_checkpoint (store, 11, note_id, &next), 0);
    assert_int_equal (rota_store_get_checkpoint (store, 10, note_id, &next), -ENOENT);
    assert_int_equal (found[0], 11);
    /* Taken while the clock was back: it goes no sooner than those before it. */
    assert_int_equal (rota_store_add_checkpoint (store, "by_hand", (const uint8_t *)"body", 4, 1000), 12);
    assert_int_equal (rota_store_add_checkpoint (store, "by_hand", (const uint8_t *)"body", 4, 99500), 13);
    rota_store_trim_checkpoints (store, 90000, 6);
    assert_int_equal (ids (store, found), 3);
    rota_store_trim_checkpoints (store, 99200, 6);
    assert_int_equal (ids (store, found), 1);
    assert_int_equal (found[0], 13);
    assert_int_equal (rota_store_commit (store, &error), 0);
    rota_store_close (&store);
    unlink (file);
    char side[80];
    snprintf (side, sizeof side, "%s-wal", file);
    unlink (side);
    snprintf (side, sizeof side, "%s-shm", file);
    unlink (side);
    rmdir (path);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (a_hundred_thousand_tasks_fit),
        cmocka_unit_test (short_ids_fill_it_and_no_more),
        cmocka_unit_test (a_small_whole_is_there_whole),
        cmocka_unit_test (a_closed_account_rests_until_somebody_opens_it),
        cmocka_unit_test (the_store_keeps_them_by_number_and_age),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
