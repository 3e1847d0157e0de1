#include "telemetry/gather.h"

#include "proto/words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 2000
#define ARENA_BYTES (32 << 20)
#define ROLES 16

struct rota_gather {
    rota_gather_config_t config;
    rota_metrics_t *metrics;
    rota_arena_t *arena;
    unsigned waiting; /* answers that are to come */
    bool asking;      /* start is under way */
};

static void finish (rota_gather_t *self)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream (&text, &size);
    if (!stream)
        return;
    rota_process_use_t use;
    rota_process_use (&use);
    rota_metrics_add (self->metrics, ROTA_METRIC_UP, 1, "telemetry", NULL);
    rota_metrics_add_use (self->metrics, "telemetry", &use);
    self->config.add_own (self->config.owner, self->metrics);
    rota_metrics_print (self->metrics, stream);
    if (fclose (stream) == 0)
        self->config.on_text (self->config.owner, text, size);
    free (text);
}

/* The message, or NULL: it doesn't answer. */
static const ProtobufCMessage *read_reply (rota_gather_t *self, const rota_reply_t *reply, uint32_t type)
{
    ProtobufCMessage *message = NULL;
    rota_arena_reset (self->arena);
    if (reply->status == 0 && reply->envelope->type == type &&
        rota_body_decode (type, reply->body, reply->size_bytes, self->arena, &message) == 0)
        return message;
    return NULL;
}

static void answered (rota_gather_t *self, const char *service, bool up)
{
    rota_metrics_add (self->metrics, ROTA_METRIC_UP, up, service, NULL);
    if (--self->waiting == 0 && !self->asking)
        finish (self);
}

static void on_scheduler (void *owner, void *context, const rota_reply_t *reply)
{
    rota_gather_t *self = context;
    (void)owner;
    if (reply->status == -ECANCELED) /* destroy is under way */
        return;
    const ProtobufCMessage *message = read_reply (self, reply, ROTA_MESSAGE_METRICS_REPLY);
    if (message)
        rota_metrics_take (self->metrics, (const Rota__MetricsReply *)message);
    answered (self, "scheduler", message != NULL);
}

static void add_broker (rota_metrics_t *metrics, const Rota__PeersReply *reply)
{
    uint64_t roles[ROLES] = {0};
    for (size_t i = 0; i < reply->n_peers; i++)
        if ((size_t)reply->peers[i]->role < ROLES)
            roles[reply->peers[i]->role]++;
    for (int i = 1; i <= ROTA__ROLE__ROLE_ADMIN; i++)
        rota_metrics_add (metrics, ROTA_METRIC_PEERS, (double)roles[i], rota_role_name ((Rota__Role)i), NULL);
    rota_metrics_add (metrics, ROTA_METRIC_BROKER_ROUTED, (double)reply->messages_routed, NULL, NULL);
    rota_metrics_add (metrics, ROTA_METRIC_BROKER_REFUSED, (double)reply->messages_refused, NULL, NULL);
    rota_metrics_add (metrics, ROTA_METRIC_BROKER_TURNED_AWAY, (double)reply->turned_away, NULL, NULL);
    rota_metrics_add (metrics, ROTA_METRIC_BROKER_UNDELIVERED, (double)reply->messages_undelivered, NULL,
                      NULL);
    rota_metrics_add (metrics, ROTA_METRIC_BROKER_START, (double)reply->started_ms / 1000, NULL, NULL);
    rota_metrics_add (metrics, ROTA_METRIC_LEADER_EPOCH, (double)reply->leader_epoch, NULL, NULL);
    const rota_process_use_t use = {
        .cpu_s = reply->cpu_seconds, .resident_bytes = reply->resident_bytes, .open_fds = reply->open_fds};
    if (reply->has_resident_bytes)
        rota_metrics_add_use (metrics, "broker", &use);
}

static void on_broker (void *owner, void *context, const rota_reply_t *reply)
{
    rota_gather_t *self = context;
    (void)owner;
    if (reply->status == -ECANCELED)
        return;
    const ProtobufCMessage *message = read_reply (self, reply, ROTA_MESSAGE_PEERS_REPLY);
    if (message)
        add_broker (self->metrics, (const Rota__PeersReply *)message);
    answered (self, "broker", message != NULL);
}

void rota_gather_start (rota_gather_t *self)
{
    Rota__MetricsQuery figures = ROTA__METRICS_QUERY__INIT;
    Rota__PeersQuery peers = ROTA__PEERS_QUERY__INIT;
    if (self->waiting)
        return;
    rota_metrics_clear (self->metrics);
    bool ready = rota_peer_is_ready (self->config.peer);
    self->asking = true;
    self->waiting = 2;
    if (!ready || rota_peer_request (self->config.peer, ROTA_MESSAGE_METRICS_QUERY, NULL, &figures.base,
                                     PATIENCE_MS, on_scheduler, self) < 0)
        answered (self, "scheduler", false);
    if (!ready || rota_peer_request (self->config.peer, ROTA_MESSAGE_PEERS_QUERY, NULL, &peers.base,
                                     PATIENCE_MS, on_broker, self) < 0)
        answered (self, "broker", false);
    self->asking = false;
    if (self->waiting == 0)
        finish (self);
}

rota_gather_t *rota_gather_new (const rota_gather_config_t *config)
{
    rota_gather_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    self->config = *config;
    self->metrics = rota_metrics_new ();
    self->arena = rota_arena_new (ARENA_BYTES);
    if (!self->metrics || !self->arena)
        rota_gather_destroy (&self);
    return self;
}

void rota_gather_destroy (rota_gather_t **self_p)
{
    rota_gather_t *self = *self_p;
    if (!self)
        return;
    rota_metrics_destroy (&self->metrics);
    rota_arena_destroy (&self->arena);
    free (self);
    *self_p = NULL;
}
