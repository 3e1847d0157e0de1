/* why.h - what keeps a task from running, or made it end.
 *
 * The reasons are those of reasons.def; each is said in words, with what it is about, since or until when
 * where that is known, and what to do. Owner: the scheduler's thread. Everything that is given out is
 * borrowed until the batch ends.
 */
#ifndef ROTA_WHY_H
#define ROTA_WHY_H

#include "scheduler/service_internal.h"

typedef enum {
#define WHY(ID, code, when, todo) ROTA_WHY_##ID,
#include "scheduler/reasons.def"
    ROTA_WHY_REASONS
} rota_why_reason_t;

#define ROTA_WHY_MAX 16 /* of a task; and links of the chain to the root */

typedef struct {
    rota_scheduler_t *service;
    Rota__WhyReply reply;
    rota_why_reason_t ids[ROTA_WHY_MAX]; /* of reply.reasons */
    Rota__WaitReason items[ROTA_WHY_MAX], *list[ROTA_WHY_MAX];
    ProtobufCBinaryData chain[ROTA_WHY_MAX];
} rota_why_t;

/* False: there is no such task. *ret_why points into itself: it is not to be moved. */
bool rota_why (rota_scheduler_t *service, rota_node_t node, rota_why_t *ret_why);

#endif
