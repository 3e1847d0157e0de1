/* json.h - what --json prints, as docs/reference/json.md describes it.
 *
 * Absent values are left out; times are ISO 8601 in UTC, durations milliseconds in members ending in _ms.
 * Bytes that are not UTF-8 become "?" (JSON has no place for them); everything else is escaped, not changed.
 *
 * Owner thread: any. Each builder returns a new reference, NULL on no memory.
 */
#ifndef ROTA_JSON_H
#define ROTA_JSON_H

#include "proto/envelope.h"

#include <jansson.h>
#include <stdio.h>

json_t *rota_json_task (const Rota__TaskState *task);
json_t *rota_json_spec (const Rota__TaskSpec *spec);
json_t *rota_json_attempt (const Rota__Attempt *attempt);
json_t *rota_json_event (const Rota__Event *event);
json_t *rota_json_status (const Rota__StatusReply *status);
json_t *rota_json_running (const Rota__RunningTask *task);
json_t *rota_json_wait (const Rota__WaitReason *reason);
json_t *rota_json_why (const Rota__WhyReply *reply);
json_t *rota_json_agent (const Rota__AgentState *agent);
json_t *rota_json_peer (const Rota__Peer *peer);
json_t *rota_json_difference (const Rota__ImportDifference *difference);

/* Sets a member, or leaves it out. */
void rota_json_set_text (json_t *object, const char *name, bool present, ProtobufCBinaryData bytes);
void rota_json_set_string (json_t *object, const char *name, const char *text); /* NULL = absent */
void rota_json_set_number (json_t *object, const char *name, uint64_t number);
void rota_json_set_true (json_t *object, const char *name, bool value);      /* only when true */
void rota_json_set_time (json_t *object, const char *name, int64_t wall_ms); /* 0 = absent */

/* Prints on one line and takes the reference. */
void rota_json_line (FILE *stream, json_t *value);
/* Prints indented, as a document, and takes the reference. */
void rota_json_document (FILE *stream, json_t *value);

#endif
