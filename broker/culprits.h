/* culprits.h - connections that sent rubbish, and how long they are not listened to.
 *
 * The first ROTA_BROKER_FAULTS_ANSWERED faults of a connection are answered, so that an honest mistake is
 * explained; then it is mute for a while: its messages are dropped before anything of them is looked at. The
 * book is bounded; the oldest entry makes place for a new one.
 *
 * Pure bookkeeping; the time is passed in. Owner: the broker's thread.
 */
#ifndef ROTA_BROKER_CULPRITS_H
#define ROTA_BROKER_CULPRITS_H

#include "broker/presence.h"

typedef struct rota_culprits rota_culprits_t;

typedef enum {
    ROTA_CULPRIT_ANSWER_AND_LOG, /* its first */
    ROTA_CULPRIT_ANSWER,
    ROTA_CULPRIT_MUTE_FROM_NOW, /* worth a line in the log, no answer */
    ROTA_CULPRIT_SILENT
} rota_culprit_verdict_t;

rota_culprits_t *rota_culprits_new (size_t max_entries); /* NULL when memory ran out */
void rota_culprits_destroy (rota_culprits_t **self_p);

rota_culprit_verdict_t rota_culprits_fault (rota_culprits_t *self, rota_route_key_t route, int64_t now_ms);
bool rota_culprits_is_mute (const rota_culprits_t *self, rota_route_key_t route, int64_t now_ms);

/* Whether the log still has to name it: true once for each series of faults. For a log that may not grow
 * faster than it says, ask only when there is room for a line. */
bool rota_culprits_name (rota_culprits_t *self, rota_route_key_t route);

/* Whether a stranger is told HELLO_REQUIRED (again). No fault: after a restart of the broker all peers are
 * strangers. */
bool rota_culprits_tell_stranger (rota_culprits_t *self, rota_route_key_t route, int64_t now_ms);

/* Forgets entries that no longer matter. */
void rota_culprits_forget (rota_culprits_t *self, int64_t now_ms);
size_t rota_culprits_count (const rota_culprits_t *self);

#endif
