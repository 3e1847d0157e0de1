/* envelope.c - the envelope between its wire form and plain C, and bodies into and out of arenas. */
#include "proto/envelope.h"

#include <assert.h>
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define ID_BYTES 16

/* What decoding one envelope may take; it lives on the stack. Enough for every field of ours and some dozens
 * of a later version's: with more the envelope counts as not decodable. */
#define SCRATCH_BYTES 8192

typedef struct {
    size_t used;
    alignas (max_align_t) unsigned char bytes[SCRATCH_BYTES];
} scratch_t;

static void *scratch_alloc (void *context, size_t size_bytes)
{
    scratch_t *scratch = context;
    size_t start = (scratch->used + alignof (max_align_t) - 1) & ~(alignof (max_align_t) - 1);
    if (start > SCRATCH_BYTES || size_bytes > SCRATCH_BYTES - start)
        return NULL;
    scratch->used = start + size_bytes;
    return scratch->bytes + start;
}

static void scratch_free (void *context, void *pointer)
{
    (void)context;
    (void)pointer;
}

/* An id is absent or has 16 bytes. */
static bool take_id (protobuf_c_boolean has, const ProtobufCBinaryData *bytes, bool *ret_has,
                     uint8_t ret_id[ID_BYTES])
{
    *ret_has = has;
    if (!has)
        return true;
    if (bytes->len != ID_BYTES)
        return false;
    memcpy (ret_id, bytes->data, ID_BYTES);
    return true;
}

static bool take_trace_parent (const Rota__Envelope *wire, char ret_text[56])
{
    if (!wire->has_trace_parent)
        return true;
    if (wire->trace_parent.len > 55)
        return false;
    for (size_t i = 0; i < wire->trace_parent.len; i++)
        if (wire->trace_parent.data[i] < 0x20 || wire->trace_parent.data[i] > 0x7e)
            return false;
    if (wire->trace_parent.len > 0)
        memcpy (ret_text, wire->trace_parent.data, wire->trace_parent.len);
    return true;
}

/* A role of a later version is one that may do nothing. */
static Rota__Role known_role (Rota__Role role)
{
    return role > ROTA__ROLE__ROLE_UNSPECIFIED && role <= ROTA__ROLE__ROLE_ADMIN
               ? role
               : ROTA__ROLE__ROLE_UNSPECIFIED;
}

int rota_envelope_decode (const uint8_t *bytes, size_t size, rota_envelope_t *ret_envelope)
{
    if (size > ROTA_ENVELOPE_MAX_BYTES)
        return -EMSGSIZE;
    scratch_t scratch;
    scratch.used = 0;
    ProtobufCAllocator allocator = {.alloc = scratch_alloc, .free = scratch_free, .allocator_data = &scratch};
    const Rota__Envelope *wire = rota__envelope__unpack (&allocator, size, bytes);
    if (!wire || !wire->has_type || wire->type == 0)
        return -EBADMSG;

    rota_envelope_t envelope = {
        .version = wire->has_version ? wire->version : 0,
        .type = wire->type,
        .sequence = wire->has_sequence ? wire->sequence : 0,
        .answered = wire->has_answered ? wire->answered : 0,
        .role = wire->has_role ? known_role (wire->role) : ROTA__ROLE__ROLE_UNSPECIFIED,
        .leader_epoch = wire->has_leader_epoch ? wire->leader_epoch : 0,
        .scheduler_epoch = wire->has_scheduler_epoch ? wire->scheduler_epoch : 0,
        .coordinator_epoch = wire->has_coordinator_epoch ? wire->coordinator_epoch : 0,
        .deadline_ms = wire->has_deadline_ms ? wire->deadline_ms : 0,
        .pid = wire->has_pid ? wire->pid : 0,
    };
    if (!take_id (wire->has_conversation, &wire->conversation, &envelope.has_conversation,
                  envelope.conversation) ||
        !take_id (wire->has_sender, &wire->sender, &envelope.has_sender, envelope.sender) ||
        !take_id (wire->has_to, &wire->to, &envelope.has_to, envelope.to) ||
        !take_id (wire->has_store, &wire->store, &envelope.has_store, envelope.store) ||
        !take_trace_parent (wire, envelope.trace_parent))
        return -EBADMSG;
    *ret_envelope = envelope;
    return envelope.version == ROTA_PROTOCOL_VERSION ? 0 : -EPROTO;
}

static ProtobufCBinaryData id_bytes (const uint8_t id[ID_BYTES])
{
    return rota_bytes_n (id, ID_BYTES);
}

size_t rota_envelope_encode (const rota_envelope_t *envelope, uint8_t ret_bytes[ROTA_ENVELOPE_MAX_BYTES])
{
    Rota__Envelope wire = ROTA__ENVELOPE__INIT;

    wire.has_version = true;
    wire.version = envelope->version;
    wire.has_type = true;
    wire.type = envelope->type;
    wire.has_conversation = envelope->has_conversation;
    wire.conversation = id_bytes (envelope->conversation);
    wire.has_sequence = envelope->sequence != 0;
    wire.sequence = envelope->sequence;
    wire.has_answered = envelope->answered != 0;
    wire.answered = envelope->answered;
    wire.has_sender = envelope->has_sender;
    wire.sender = id_bytes (envelope->sender);
    wire.has_role = envelope->role != ROTA__ROLE__ROLE_UNSPECIFIED;
    wire.role = envelope->role;
    wire.has_to = envelope->has_to;
    wire.to = id_bytes (envelope->to);
    wire.has_leader_epoch = envelope->leader_epoch != 0;
    wire.leader_epoch = envelope->leader_epoch;
    wire.has_scheduler_epoch = envelope->scheduler_epoch != 0;
    wire.scheduler_epoch = envelope->scheduler_epoch;
    wire.has_coordinator_epoch = envelope->coordinator_epoch != 0;
    wire.coordinator_epoch = envelope->coordinator_epoch;
    wire.has_deadline_ms = envelope->deadline_ms != 0;
    wire.deadline_ms = envelope->deadline_ms;
    wire.has_trace_parent = envelope->trace_parent[0] != '\0';
    wire.trace_parent = rota_bytes_n (envelope->trace_parent,
                                      strnlen (envelope->trace_parent, sizeof envelope->trace_parent));
    wire.has_store = envelope->has_store;
    wire.store = id_bytes (envelope->store);
    wire.has_pid = envelope->pid != 0;
    wire.pid = envelope->pid;

    /* Every field is of bounded size, so this can't grow with what a peer says. */
    assert (rota__envelope__get_packed_size (&wire) <= ROTA_ENVELOPE_MAX_BYTES);
    return rota__envelope__pack (&wire, ret_bytes);
}

void rota_envelope_answer (const rota_envelope_t *request, uint32_t type, rota_envelope_t *ret_answer)
{
    rota_envelope_t answer = {
        .version = ROTA_PROTOCOL_VERSION,
        .type = type,
        .has_conversation = request->has_conversation,
        .sequence = request->sequence,
        .has_to = request->has_sender,
    };
    memcpy (answer.conversation, request->conversation, ID_BYTES);
    memcpy (answer.to, request->sender, ID_BYTES);
    memcpy (answer.trace_parent, request->trace_parent, sizeof answer.trace_parent);
    *ret_answer = answer;
}

/* protobuf-c says only that decoding failed; whether it was for want of memory, its allocator knows. */
typedef struct {
    rota_arena_t *arena;
    bool refused;
} watched_arena_t;

static void *watched_alloc (void *context, size_t size_bytes)
{
    watched_arena_t *watched = context;
    void *pointer = rota_arena_alloc (watched->arena, size_bytes);
    watched->refused = watched->refused || !pointer;
    return pointer;
}

int rota_body_decode (uint32_t type, const uint8_t *bytes, size_t size, rota_arena_t *arena,
                      ProtobufCMessage **ret_message)
{
    const rota_catalogue_entry_t *entry = rota_catalogue_find (type);
    if (!entry)
        return -ENOENT;
    if (size > entry->max_bytes)
        return -EMSGSIZE;
    watched_arena_t watched = {.arena = arena};
    ProtobufCAllocator allocator = {.alloc = watched_alloc, .free = scratch_free, .allocator_data = &watched};
    ProtobufCMessage *message = protobuf_c_message_unpack (entry->descriptor, &allocator, size, bytes);
    if (!message)
        return watched.refused ? -ENOMEM : -EBADMSG;
    *ret_message = message;
    return 0;
}

/* An assignment may be sent with its definition packed already: the same bytes on the wire. */
static bool fits (const rota_catalogue_entry_t *entry, const ProtobufCMessageDescriptor *descriptor)
{
    return entry->descriptor == descriptor ||
           (entry->type == ROTA_MESSAGE_ASSIGN && descriptor == &rota__packed_assign__descriptor);
}

int rota_body_encode (uint32_t type, const ProtobufCMessage *message, uint8_t **ret_bytes, size_t *ret_size)
{
    const rota_catalogue_entry_t *entry = rota_catalogue_find (type);
    assert (entry);
    assert (fits (entry, message->descriptor));

    size_t size = protobuf_c_message_get_packed_size (message);
    if (size > entry->max_bytes)
        return -EMSGSIZE;
    uint8_t *bytes = malloc (size > 0 ? size : 1);
    if (!bytes)
        return -ENOMEM;
    size_t written = protobuf_c_message_pack (message, bytes);
    assert (written == size);
    *ret_bytes = bytes;
    *ret_size = size;
    return 0;
}

ProtobufCBinaryData rota_bytes (const char *text)
{
    return rota_bytes_n (text, strlen (text));
}

/* protobuf-c has no const bytes; nothing that packs a message writes to them. */
ProtobufCBinaryData rota_bytes_n (const void *bytes, size_t length)
{
    return (ProtobufCBinaryData){.len = length, .data = (uint8_t *)(uintptr_t)bytes};
}
