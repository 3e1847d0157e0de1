/* world.h - a broker and a scheduler in threads of the test, a client, and an agent whose work is nothing.
 *
 * The agent lives in the client's loop: it works while the client waits for something.
 */
#ifndef ROTA_TESTS_WORLD_H
#define ROTA_TESTS_WORLD_H

#include "broker_thread.h"
#include "bus/client.h"
#include "bus/settings.h"
#include "scheduler/service.h"

typedef struct {
    broker_thread_t broker;
    rota_broker_config_t broker_config;
    rota_settings_t *settings;
    rota_scheduler_t *scheduler;
    pthread_t scheduler_thread;
    int scheduler_result;
    rota_client_t *client;

    rota_peer_t *agent;
    uint32_t slots;
    /* What the agent does with an assignment; NULL = reports ok at once. Returns the result to report, 0 =
     * none now. */
    Rota__ResultClass (*work) (void *owner, const Rota__Assignment *assignment);
    void *owner;
    size_t assigned, reported, stops;
    bool registered;
} world_t;

/* Ends the process when something can't be set up. `settings` is YAML text for the scheduler, NULL =
 * defaults. */
void world_open (world_t *self, const char *settings);
void world_close (world_t *self);
void world_start_scheduler (world_t *self);
void world_stop_scheduler (world_t *self);
void world_attach_agent (world_t *self, uint32_t slots);

/* Sends `specs` as an import of source "test". The answer's type; *ret_difference (malloc'ed by protobuf-c)
 * when it is IMPORT_DIFFERENCE; the refusal is in rota_client_last_refusal. */
uint32_t world_import (world_t *self, Rota__TaskSpec **specs, size_t count, bool dry_run,
                       Rota__ImportDifference *ret_difference);
/* The same without its commit; ROTA_MESSAGE_IMPORT_REPLY. */
uint32_t world_stage (world_t *self, Rota__TaskSpec **specs, size_t count, bool dry_run);
uint32_t world_submit (world_t *self, Rota__TaskSpec *spec);
void world_status (world_t *self, uint64_t ret_status[10], Rota__StatusReply **ret_reply);
/* Lets the agent work until `count` tasks are done, or fails after two minutes. */
void world_run_until_done (world_t *self, size_t count);
void world_expect_sound (world_t *self); /* `rota check` finds nothing */

/* A definition: `after` is a list of ids separated by blanks, or NULL. Freed by world_free. */
Rota__TaskSpec *world_task (const char *id, const char *after);
void world_free (Rota__TaskSpec **specs, size_t count);

#endif
