/* envelope.h - the two frames of a message: what is decoded, how much of it, and what is refused.
 *
 * Owner thread: any; nothing is shared. Bytes from a peer are checked here and never asserted on.
 * Source of the layout: docs/protocol.md; of types, roles and limits: proto/catalogue.def.
 */
#ifndef ROTA_ENVELOPE_H
#define ROTA_ENVELOPE_H

#include "proto/rota.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROTA_PROTOCOL_VERSION 1
#define ROTA_ENVELOPE_MAX_BYTES 512

/* Message types: ROTA_MESSAGE_HELLO = 1, ... */
typedef enum {
#define MESSAGE(number, NAME, Name, name, direction, senders, lane, max_bytes, durable)                      \
    ROTA_MESSAGE_##NAME = number,
#include "proto/catalogue.def"
} rota_message_t;

typedef enum {
    ROTA_TO_BROKER,
    ROTA_TO_SCHEDULER,
    ROTA_TO_PEER,
    ROTA_TO_ROUTED,
    ROTA_TO_EVENTS
} rota_direction_t;
typedef enum { ROTA_LANE_FAST, ROTA_LANE_BULK } rota_lane_t;

typedef struct {
    uint32_t type;
    const char *name; /* "HELLO" */
    rota_direction_t direction;
    uint32_t senders; /* mask of 1u << ROTA__ROLE__... */
    rota_lane_t lane;
    size_t max_bytes;
    bool durable;
    const ProtobufCMessageDescriptor *descriptor;
} rota_catalogue_entry_t;

/* NULL for a type that is not ours. */
const rota_catalogue_entry_t *rota_catalogue_find (uint32_t type);
const char *rota_message_name (uint32_t type); /* "UNKNOWN" for others */

/* The envelope in plain C: fixed size, no allocation. Absent numbers are 0, absent ids all zero with has_x
 * false. */
typedef struct {
    uint32_t version;
    uint32_t type;
    bool has_conversation;
    uint8_t conversation[16];
    uint64_t sequence;
    uint64_t answered; /* this conversation's requests up to here need no remembered answer */
    bool has_sender;
    uint8_t sender[16];
    Rota__Role role;
    bool has_to;
    uint8_t to[16];
    uint64_t leader_epoch, scheduler_epoch, coordinator_epoch;
    uint32_t deadline_ms;  /* 0 = none */
    char trace_parent[56]; /* "" = none */
    bool has_store;
    uint8_t store[16];
    uint32_t pid;
} rota_envelope_t;

/* 0; -EMSGSIZE over ROTA_ENVELOPE_MAX_BYTES; -EBADMSG not decodable, an id of the wrong length, no type;
 * -EPROTO another version: *ret_envelope is written all the same, so that it can be answered. Unknown fields
 * are tolerated. */
int rota_envelope_decode (const uint8_t *bytes, size_t size, rota_envelope_t *ret_envelope);

/* Writes at most ROTA_ENVELOPE_MAX_BYTES; returns the size. */
size_t rota_envelope_encode (const rota_envelope_t *envelope, uint8_t ret_bytes[ROTA_ENVELOPE_MAX_BYTES]);

/* An answer's envelope: same conversation and sequence, to = the sender of the request. */
void rota_envelope_answer (const rota_envelope_t *request, uint32_t type, rota_envelope_t *ret_answer);

/* ---- bodies: decoded into an arena, so that a small frame can't become a large heap */

typedef struct rota_arena rota_arena_t;

/* Memory for decoded bodies, freed as a whole. `cap_bytes` bounds what one body may take. NULL on no memory.
 */
rota_arena_t *rota_arena_new (size_t cap_bytes);
void rota_arena_destroy (rota_arena_t **self_p);
void rota_arena_reset (rota_arena_t *self);                     /* keeps the first block */
void *rota_arena_alloc (rota_arena_t *self, size_t size_bytes); /* 16-aligned; NULL over the cap */
ProtobufCAllocator *rota_arena_allocator (rota_arena_t *self);

/* The body of `type`, allocated in `arena`, valid until its reset. 0; -ENOENT for an unknown type; -EMSGSIZE
 * over the catalogue's limit; -EBADMSG not decodable; -ENOMEM when it would take more than the arena's cap.
 */
int rota_body_decode (uint32_t type, const uint8_t *bytes, size_t size, rota_arena_t *arena,
                      ProtobufCMessage **ret_message);

/* Packs into a malloc'ed buffer that the caller frees. 0; -EMSGSIZE when the catalogue's limit for `type` is
 * passed; -ENOMEM. The type must be known and fit the message's descriptor (asserted: it is our own doing).
 */
int rota_body_encode (uint32_t type, const ProtobufCMessage *message, uint8_t **ret_bytes, size_t *ret_size);

/* ---- small helpers over protobuf-c */

/* A bytes field that points at `text` (not copied). */
ProtobufCBinaryData rota_bytes (const char *text);
ProtobufCBinaryData rota_bytes_n (const void *bytes, size_t length);

/* "pending", "in_progress", ...: the words of roadmap files, the command line and JSON. "?" for unknown
 * values; 0 (UNSPECIFIED) for unknown words. */
const char *rota_status_name (Rota__TaskStatus status);
Rota__TaskStatus rota_status_parse (const char *text, size_t length);
const char *rota_phase_name (Rota__Phase phase);
const char *rota_block_cause_name (Rota__BlockCause cause);
const char *rota_result_class_name (Rota__ResultClass result);
const char *rota_limit_kind_name (Rota__LimitKind kind); /* "burst", "window", ... */
const char *rota_event_type_name (Rota__EventType type); /* "task.moved", "agent.attached", ... */
const char *rota_role_name (Rota__Role role);
Rota__Role rota_role_parse (const char *text);
const char *rota_error_code_name (Rota__ErrorCode code); /* "RETRY_LATER" */

#endif
