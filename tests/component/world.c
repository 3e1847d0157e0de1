#include "world.h"

#include "bus/clock.h"
#include "proto/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CALL_MS 60000
#define CHUNK 1000

static void must (int r, const char *what, const rota_error_t *error)
{
    if (r >= 0)
        return;
    fprintf (stderr, "%s: %s\n", what, error->text);
    exit (1);
}

/* --------------------------------------------------------------------------------------- services */

static void *run_scheduler (void *owner)
{
    world_t *self = owner;
    rota_error_t error = {{0}};
    self->scheduler_result = rota_scheduler_run (self->scheduler, &error);
    if (self->scheduler_result < 0)
        fprintf (stderr, "scheduler: %s\n", error.text);
    return NULL;
}

void world_start_scheduler (world_t *self)
{
    rota_error_t error = {{0}};
    rota_scheduler_config_t config = {
        .state_directory = self->broker.state_dir,
        .endpoints = self->broker.endpoints.service,
        .settings = self->settings,
    };
    must (rota_scheduler_new (&config, &self->scheduler, &error), "scheduler", &error);
    pthread_create (&self->scheduler_thread, NULL, run_scheduler, self);
}

void world_stop_scheduler (world_t *self)
{
    rota_scheduler_stop (self->scheduler);
    pthread_join (self->scheduler_thread, NULL);
    rota_scheduler_destroy (&self->scheduler);
}

void world_open (world_t *self, const char *settings)
{
    rota_error_t error = {{0}};
    *self = (world_t){0};
    const char *text = settings ? settings : "scheduler: {backoff_base: 10ms, backoff_max: 50ms}\n";
    must (rota_settings_parse ("test", text, strlen (text), NULL, stderr, &self->settings, &error),
          "settings", &error);
    broker_thread_open (&self->broker, &self->broker_config);
    world_start_scheduler (self);
    self->client = rota_client_new (self->broker.endpoints.client, "test", &error);
    must (self->client ? 0 : -1, "client", &error);
    must (rota_client_wait_ready (self->client, CALL_MS, &error), "client", &error);
}

void world_close (world_t *self)
{
    rota_peer_destroy (&self->agent);
    rota_client_destroy (&self->client);
    world_stop_scheduler (self);
    broker_thread_close (&self->broker);
    rota_settings_destroy (&self->settings);
}

/* ------------------------------------------------------------------------------------------ agent */

static void on_registered (void *owner, void *context, const rota_reply_t *reply)
{
    (void)context;
    world_t *self = owner;
    self->registered = reply->status == 0 && reply->envelope->type == ROTA_MESSAGE_REGISTERED;
    rota_client_wake (self->client);
}

static void on_reported (void *owner, void *context, const rota_reply_t *reply)
{
    (void)context;
    world_t *self = owner;
    if (reply->status || reply->envelope->type != ROTA_MESSAGE_REPORT_REPLY)
        return;
    Rota__ReportReply *answer = rota__report_reply__unpack (NULL, reply->size_bytes, reply->body);
    if (!answer)
        return;
    self->reported += answer->n_reports;
    rota__report_reply__free_unpacked (answer, NULL);
    rota_client_wake (self->client);
}

static void on_state (void *owner, rota_peer_state_t state, const Rota__Welcome *welcome, const char *why)
{
    (void)welcome;
    (void)why;
    world_t *self = owner;
    if (state != ROTA_PEER_READY)
        return;
    Rota__Register it = ROTA__REGISTER__INIT;
    ProtobufCBinaryData capability = rota_bytes ("run");
    it.has_name = it.has_kind = it.has_slots = true;
    it.name = rota_bytes ("nothing");
    it.kind = rota_bytes ("exec");
    it.slots = self->slots;
    it.n_capabilities = 1;
    it.capabilities = &capability;
    assert_int_equal (
        rota_peer_request (self->agent, ROTA_MESSAGE_REGISTER, NULL, &it.base, CALL_MS, on_registered, NULL),
        0);
}

static void take (world_t *self, const Rota__Assign *assign)
{
    Rota__Report report = ROTA__REPORT__INIT;
    Rota__AttemptReport *items = calloc (assign->n_assignments + 1, sizeof *items);
    Rota__AttemptReport **list = calloc (assign->n_assignments + 1, sizeof *list);
    Rota__Result *results = calloc (assign->n_assignments + 1, sizeof *results);
    assert_true (items && list && results);
    for (size_t i = 0; i < assign->n_assignments; i++) {
        const Rota__Assignment *it = assign->assignments[i];
        Rota__ResultClass class = self->work ? self->work (self->owner, it) : RESULT (OK);
        self->assigned++;
        if (!class)
            continue;
        size_t at = report.n_reports++;
        rota__attempt_report__init (&items[at]);
        rota__result__init (&results[at]);
        results[at].has_result_class = true;
        results[at].result_class = class;
        items[at].has_key = items[at].has_attempt = true;
        items[at].key = it->key;
        items[at].attempt = it->attempt;
        items[at].result = &results[at];
        list[at] = &items[at];
    }
    report.reports = list;
    if (report.n_reports)
        assert_int_equal (rota_peer_request (self->agent, ROTA_MESSAGE_REPORT, NULL, &report.base, CALL_MS,
                                             on_reported, NULL),
                          0);
    free (items);
    free (list);
    free (results);
}

static void on_message (void *owner, const rota_envelope_t *envelope, const uint8_t *body, size_t size)
{
    world_t *self = owner;
    self->stops += envelope->type == ROTA_MESSAGE_STOP;
    if (envelope->type != ROTA_MESSAGE_ASSIGN)
        return;
    Rota__Assign *assign = rota__assign__unpack (NULL, size, body);
    assert_non_null (assign);
    take (self, assign);
    rota__assign__free_unpacked (assign, NULL);
}

void world_attach_agent (world_t *self, uint32_t slots)
{
    rota_error_t error = {{0}};
    rota_peer_config_t config = {
        .endpoints = self->broker.endpoints.agent,
        .role = ROTA__ROLE__ROLE_AGENT,
        .name = "nothing",
        .owner = self,
        .on_message = on_message,
        .on_state = on_state,
    };
    self->slots = slots;
    self->agent = rota_peer_new (&config, rota_client_loop (self->client), &error);
    must (self->agent ? 0 : -1, "agent", &error);
    for (int i = 0; i < 100 && !self->registered; i++)
        rota_client_run (self->client, 100);
    assert_true (self->registered);
}

/* --------------------------------------------------------------------------------------- requests */

Rota__TaskSpec *world_task (const char *id, const char *after)
{
    Rota__TaskSpec *task = malloc (sizeof *task);
    rota__task_spec__init (task);
    task->has_id = task->has_run = true;
    task->id = rota_bytes (strdup (id));
    task->run = rota_bytes (strdup ("true"));
    char *list = strdup (after ? after : ""), *rest = list;
    for (char *name; (name = strsep (&rest, " "));) {
        if (!*name)
            continue;
        task->dependencies =
            realloc (task->dependencies, (task->n_dependencies + 1) * sizeof *task->dependencies);
        Rota__Dependency *dependency = task->dependencies[task->n_dependencies++] =
            malloc (sizeof *dependency);
        rota__dependency__init (dependency);
        dependency->has_on = true;
        dependency->on = rota_bytes (strdup (name));
    }
    free (list);
    return task;
}

void world_free (Rota__TaskSpec **specs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        rota__task_spec__free_unpacked (specs[i], NULL);
    free (specs);
}

static bool call (world_t *self, uint32_t type, const ProtobufCMessage *message, uint32_t reply_type,
                  ProtobufCMessage **reply)
{
    rota_error_t error = {{0}};
    int r = rota_client_call (self->client, type, message, CALL_MS, reply_type, reply, &error);
    if (r < 0 && r != -EPROTO)
        fail_msg ("%s: %s", rota_message_name (type), error.text);
    return r == 0;
}

uint32_t world_stage (world_t *self, Rota__TaskSpec **specs, size_t count, bool dry_run)
{
    Rota__RoadmapHeader header = ROTA__ROADMAP_HEADER__INIT;
    Rota__ImportBegin begin = ROTA__IMPORT_BEGIN__INIT;
    ProtobufCMessage *reply;
    header.has_source = true;
    header.source = rota_bytes ("test");
    begin.header = &header;
    begin.has_dry_run = begin.dry_run = dry_run;
    if (!call (self, ROTA_MESSAGE_IMPORT_BEGIN, &begin.base, ROTA_MESSAGE_IMPORT_REPLY, &reply))
        return ROTA_MESSAGE_ERROR;
    for (size_t at = 0; at < count; at += CHUNK) {
        Rota__ImportChunk chunk = ROTA__IMPORT_CHUNK__INIT;
        chunk.tasks = specs + at;
        chunk.n_tasks = count - at < CHUNK ? count - at : CHUNK;
        if (!call (self, ROTA_MESSAGE_IMPORT_CHUNK, &chunk.base, ROTA_MESSAGE_IMPORT_REPLY, &reply))
            return ROTA_MESSAGE_ERROR;
    }
    return ROTA_MESSAGE_IMPORT_REPLY;
}

uint32_t world_submit (world_t *self, Rota__TaskSpec *spec)
{
    Rota__Submit submit = ROTA__SUBMIT__INIT;
    ProtobufCMessage *reply;
    submit.tasks = &spec;
    submit.n_tasks = 1;
    return call (self, ROTA_MESSAGE_SUBMIT, &submit.base, ROTA_MESSAGE_SUBMIT_REPLY, &reply)
               ? ROTA_MESSAGE_SUBMIT_REPLY
               : ROTA_MESSAGE_ERROR;
}

uint32_t world_import (world_t *self, Rota__TaskSpec **specs, size_t count, bool dry_run,
                       Rota__ImportDifference *ret_difference)
{
    Rota__ImportCommit commit = ROTA__IMPORT_COMMIT__INIT;
    ProtobufCMessage *reply;
    if (world_stage (self, specs, count, dry_run) == ROTA_MESSAGE_ERROR)
        return ROTA_MESSAGE_ERROR;
    commit.has_tasks = true;
    commit.tasks = count;
    if (!call (self, ROTA_MESSAGE_IMPORT_COMMIT, &commit.base, ROTA_MESSAGE_IMPORT_DIFFERENCE, &reply))
        return ROTA_MESSAGE_ERROR;
    if (ret_difference)
        *ret_difference = *(Rota__ImportDifference *)reply; /* its numbers; lists live until the next call */
    return ROTA_MESSAGE_IMPORT_DIFFERENCE;
}

void world_status (world_t *self, uint64_t ret_status[10], Rota__StatusReply **ret_reply)
{
    Rota__StatusQuery query = ROTA__STATUS_QUERY__INIT;
    ProtobufCMessage *reply;
    assert_true (call (self, ROTA_MESSAGE_STATUS_QUERY, &query.base, ROTA_MESSAGE_STATUS_REPLY, &reply));
    const Rota__StatusReply *status = (const Rota__StatusReply *)reply;
    memset (ret_status, 0, 10 * sizeof *ret_status);
    for (size_t i = 0; i < status->n_counts; i++)
        ret_status[status->counts[i]->status] = status->counts[i]->tasks;
    if (ret_reply)
        *ret_reply = (Rota__StatusReply *)reply;
}

void world_run_until_done (world_t *self, size_t count)
{
    int64_t patience_ms = rota_clock_monotonic_ms () + 120000;
    uint64_t status[10] = {0};
    while (rota_clock_monotonic_ms () < patience_ms) {
        if (self->reported >= count) {
            world_status (self, status, NULL);
            if (status[STATUS (DONE)] >= count)
                return;
        }
        rota_client_run (self->client, 100);
    }
    world_status (self, status, NULL);
    fail_msg ("%zu of %zu done", (size_t)status[STATUS (DONE)], count);
}

void world_expect_sound (world_t *self)
{
    Rota__CheckRequest request = ROTA__CHECK_REQUEST__INIT;
    ProtobufCMessage *reply;
    assert_true (call (self, ROTA_MESSAGE_CHECK, &request.base, ROTA_MESSAGE_CHECK_REPLY, &reply));
    const Rota__CheckReply *check = (const Rota__CheckReply *)reply;
    if (check->n_faults)
        fail_msg ("check: %.*s", (int)check->faults[0]->text.len, (const char *)check->faults[0]->text.data);
}
