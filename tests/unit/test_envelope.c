/* What a reader of proto/envelope.h may rely on. */
#include "proto/envelope.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> /* wants setjmp.h, stdarg.h and stddef.h before it */

static rota_envelope_t full_envelope (void)
{
    rota_envelope_t envelope = {
        .version = ROTA_PROTOCOL_VERSION,
        .type = ROTA_MESSAGE_SUBMIT,
        .has_conversation = true,
        .sequence = UINT64_MAX,
        .answered = UINT64_MAX - 1,
        .has_sender = true,
        .role = ROTA__ROLE__ROLE_ADMIN,
        .has_to = true,
        .leader_epoch = UINT64_MAX,
        .scheduler_epoch = UINT64_MAX,
        .coordinator_epoch = UINT64_MAX,
        .deadline_ms = UINT32_MAX,
        .has_store = true,
        .pid = UINT32_MAX,
    };
    memset (envelope.conversation, 1, 16);
    memset (envelope.sender, 2, 16);
    memset (envelope.to, 3, 16);
    memset (envelope.store, 4, 16);
    memset (envelope.trace_parent, 'f', 55);
    return envelope;
}

static int decode_wire (Rota__Envelope *wire, rota_envelope_t *ret_envelope)
{
    uint8_t bytes[4096];
    assert_true (rota__envelope__get_packed_size (wire) <= sizeof bytes);
    return rota_envelope_decode (bytes, rota__envelope__pack (wire, bytes), ret_envelope);
}

static Rota__Envelope smallest_wire (void)
{
    Rota__Envelope wire = ROTA__ENVELOPE__INIT;
    wire.has_version = wire.has_type = true;
    wire.version = ROTA_PROTOCOL_VERSION;
    wire.type = ROTA_MESSAGE_HELLO;
    return wire;
}

static void comes_back_as_it_went (void **state)
{
    (void)state;
    uint8_t bytes[ROTA_ENVELOPE_MAX_BYTES];
    rota_envelope_t before = full_envelope (), after;
    size_t size = rota_envelope_encode (&before, bytes);
    assert_int_equal (rota_envelope_decode (bytes, size, &after), 0);
    assert_int_equal (after.type, before.type);
    assert_memory_equal (after.conversation, before.conversation, 16);
    assert_memory_equal (after.sender, before.sender, 16);
    assert_memory_equal (after.to, before.to, 16);
    assert_memory_equal (after.store, before.store, 16);
    assert_true (after.has_conversation && after.has_sender && after.has_to && after.has_store);
    assert_true (after.sequence == before.sequence && after.answered == before.answered);
    assert_true (after.leader_epoch == before.leader_epoch &&
                 after.scheduler_epoch == before.scheduler_epoch);
    assert_true (after.coordinator_epoch == before.coordinator_epoch);
    assert_int_equal (after.role, before.role);
    assert_true (after.deadline_ms == before.deadline_ms && after.pid == before.pid);
    assert_string_equal (after.trace_parent, before.trace_parent);
}

static void what_is_absent_is_zero (void **state)
{
    (void)state;
    Rota__Envelope wire = smallest_wire ();
    rota_envelope_t envelope;
    memset (&envelope, 0xff, sizeof envelope);
    assert_int_equal (decode_wire (&wire, &envelope), 0);
    assert_false (envelope.has_conversation || envelope.has_sender || envelope.has_to || envelope.has_store);
    assert_int_equal (envelope.sequence, 0);
    assert_int_equal (envelope.role, ROTA__ROLE__ROLE_UNSPECIFIED);
    assert_string_equal (envelope.trace_parent, "");
}

static void an_id_of_other_than_16_bytes_is_refused (void **state)
{
    (void)state;
    static const size_t LENGTHS[] = {0, 1, 15, 17, 100};
    char id[100] = {0};
    rota_envelope_t envelope;

    for (size_t i = 0; i < sizeof LENGTHS / sizeof *LENGTHS; i++) {
        Rota__Envelope wires[4] = {smallest_wire (), smallest_wire (), smallest_wire (), smallest_wire ()};
        wires[0].has_conversation = wires[1].has_sender = wires[2].has_to = wires[3].has_store = true;
        wires[0].conversation = wires[1].sender = wires[2].to = wires[3].store =
            rota_bytes_n (id, LENGTHS[i]);
        for (size_t k = 0; k < 4; k++)
            assert_int_equal (decode_wire (&wires[k], &envelope), -EBADMSG);
    }
}

static void a_trace_parent_that_does_not_fit_or_print_is_refused (void **state)
{
    (void)state;
    static const char *const BAD[] = {"a\nb", "\x1b[2J", "\x7f", "caf\xc3\xa9",
                                      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x"};
    Rota__Envelope wire = smallest_wire ();
    rota_envelope_t envelope;

    wire.has_trace_parent = true;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        wire.trace_parent = rota_bytes (BAD[i]);
        assert_int_equal (decode_wire (&wire, &envelope), -EBADMSG);
    }
    wire.trace_parent = rota_bytes_n ("a\0b", 3);
    assert_int_equal (decode_wire (&wire, &envelope), -EBADMSG);
    wire.trace_parent = rota_bytes ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_int_equal (decode_wire (&wire, &envelope), 0);
    assert_int_equal (strlen (envelope.trace_parent), 55);
}

static void another_version_is_told_apart_and_can_be_answered (void **state)
{
    (void)state;
    Rota__Envelope wire = smallest_wire ();
    rota_envelope_t envelope = {.sequence = 0};
    wire.version = 2;
    wire.has_sequence = true;
    wire.sequence = 7;
    assert_int_equal (decode_wire (&wire, &envelope), -EPROTO);
    assert_int_equal (envelope.sequence, 7);
    wire.has_version = false;
    assert_int_equal (decode_wire (&wire, &envelope), -EPROTO);
}

static void no_type_and_rubbish_are_refused_and_nothing_is_written (void **state)
{
    (void)state;
    rota_envelope_t envelope = {.pid = 77};
    Rota__Envelope wire = smallest_wire ();
    uint8_t large[ROTA_ENVELOPE_MAX_BYTES + 1] = {0};

    wire.has_type = false;
    assert_int_equal (decode_wire (&wire, &envelope), -EBADMSG);
    wire.has_type = true;
    wire.type = 0;
    assert_int_equal (decode_wire (&wire, &envelope), -EBADMSG);
    assert_int_equal (rota_envelope_decode ((const uint8_t *)"\xff\xff\xff", 3, &envelope), -EBADMSG);
    assert_int_equal (rota_envelope_decode (NULL, 0, &envelope), -EBADMSG);
    assert_int_equal (rota_envelope_decode (large, sizeof large, &envelope), -EMSGSIZE);
    assert_int_equal (envelope.pid, 77);
}

static void unknown_fields_are_tolerated (void **state)
{
    (void)state;
    /* version 1, type 1, then field 100 (varint) and field 101 (two bytes) of a later version */
    static const uint8_t BYTES[] = {0x08, 0x01, 0x10, 0x01, 0xa0, 0x06, 0x05, 0xaa, 0x06, 0x02, 'h', 'i'};
    rota_envelope_t envelope;
    assert_int_equal (rota_envelope_decode (BYTES, sizeof BYTES, &envelope), 0);
    assert_int_equal (envelope.type, ROTA_MESSAGE_HELLO);
}

static void a_role_of_a_later_version_may_do_nothing (void **state)
{
    (void)state;
    Rota__Envelope wire = smallest_wire ();
    rota_envelope_t envelope;
    wire.has_role = true;
    wire.role = (Rota__Role)99;
    assert_int_equal (decode_wire (&wire, &envelope), 0);
    assert_int_equal (envelope.role, ROTA__ROLE__ROLE_UNSPECIFIED);
}

static void an_answer_goes_back_under_the_same_number (void **state)
{
    (void)state;
    rota_envelope_t request = full_envelope (), answer;
    rota_envelope_answer (&request, ROTA_MESSAGE_SUBMIT_REPLY, &answer);
    assert_int_equal (answer.type, ROTA_MESSAGE_SUBMIT_REPLY);
    assert_true (answer.has_conversation && answer.has_to && !answer.has_sender);
    assert_memory_equal (answer.conversation, request.conversation, 16);
    assert_memory_equal (answer.to, request.sender, 16);
    assert_true (answer.sequence == request.sequence);
}

static void the_catalogue_knows_its_types_and_no_others (void **state)
{
    (void)state;
    assert_null (rota_catalogue_find (0));
    assert_null (rota_catalogue_find (19));
    assert_null (rota_catalogue_find (93));
    assert_null (rota_catalogue_find (UINT32_MAX));
    assert_string_equal (rota_message_name (19), "UNKNOWN");
    const rota_catalogue_entry_t *submit = rota_catalogue_find (ROTA_MESSAGE_SUBMIT);
    assert_string_equal (submit->name, "SUBMIT");
    assert_ptr_equal (submit->descriptor, &rota__submit__descriptor);
    assert_true (submit->durable);
    assert_true (submit->senders & (1u << ROTA__ROLE__ROLE_SUBMIT));
    assert_false (submit->senders & (1u << ROTA__ROLE__ROLE_READ));
    for (uint32_t type = 0; type < 200; type++)
        if (rota_catalogue_find (type))
            assert_true (rota_catalogue_find (type)->type == type && rota_catalogue_find (type)->descriptor);
}

static void a_body_comes_back_as_it_went (void **state)
{
    (void)state;
    rota_arena_t *arena = rota_arena_new (65536);
    Rota__Hello hello = ROTA__HELLO__INIT;
    uint8_t *bytes;
    size_t size;
    ProtobufCMessage *message;

    hello.has_name = true;
    hello.name = rota_bytes ("a name");
    assert_int_equal (rota_body_encode (ROTA_MESSAGE_HELLO, &hello.base, &bytes, &size), 0);
    assert_int_equal (rota_body_decode (ROTA_MESSAGE_HELLO, bytes, size, arena, &message), 0);
    const Rota__Hello *back = (const Rota__Hello *)message;
    assert_int_equal (back->name.len, 6);
    assert_memory_equal (back->name.data, "a name", 6);
    free (bytes);
    rota_arena_destroy (&arena);
}

static void a_body_of_an_unknown_type_or_over_its_limit_is_refused (void **state)
{
    (void)state;
    rota_arena_t *arena = rota_arena_new (65536);
    ProtobufCMessage *message = NULL;
    uint8_t *large = calloc (1, 300);

    assert_int_equal (rota_body_decode (19, large, 1, arena, &message), -ENOENT);
    assert_int_equal (rota_body_decode (ROTA_MESSAGE_HEARTBEAT, large, 257, arena, &message), -EMSGSIZE);
    assert_int_equal (rota_body_decode (ROTA_MESSAGE_HEARTBEAT, (const uint8_t *)"\xff", 1, arena, &message),
                      -EBADMSG);
    assert_null (message);

    Rota__Goodbye goodbye = ROTA__GOODBYE__INIT;
    uint8_t *bytes = NULL;
    size_t size = 0;
    char reason[2000] = {0};
    goodbye.has_reason = true;
    goodbye.reason = rota_bytes_n (reason, sizeof reason);
    assert_int_equal (rota_body_encode (ROTA_MESSAGE_GOODBYE, &goodbye.base, &bytes, &size), -EMSGSIZE);
    assert_null (bytes);
    free (large);
    rota_arena_destroy (&arena);
}

static void a_small_frame_does_not_become_a_large_heap (void **state)
{
    (void)state;
    /* 200 000 empty tasks in 400 kB of frame would take a hundred megabytes */
    size_t size = 400000, cap_bytes = 4 << 20;
    uint8_t *bytes = malloc (size);
    for (size_t i = 0; i < size; i += 2) {
        bytes[i] = 0x0a;
        bytes[i + 1] = 0;
    }
    rota_arena_t *arena = rota_arena_new (cap_bytes);
    ProtobufCMessage *message;
    assert_int_equal (rota_body_decode (ROTA_MESSAGE_IMPORT_CHUNK, bytes, size, arena, &message), -ENOMEM);
    rota_arena_reset (arena);
    assert_int_equal (rota_body_decode (ROTA_MESSAGE_IMPORT_CHUNK, bytes, 200, arena, &message), 0);
    assert_int_equal (((const Rota__ImportChunk *)message)->n_tasks, 100);
    rota_arena_destroy (&arena);
    free (bytes);
}

static void an_arena_keeps_to_its_cap_and_can_be_used_again (void **state)
{
    (void)state;
    rota_arena_t *arena = rota_arena_new (100000);
    for (int round = 0; round < 3; round++) {
        size_t taken = 0;
        for (char *piece; (piece = rota_arena_alloc (arena, 1000)); taken += 1000) {
            assert_int_equal ((uintptr_t)piece % 16, 0);
            memset (piece, round, 1000);
        }
        assert_true (taken > 95000 && taken <= 100000);
        assert_null (rota_arena_alloc (arena, SIZE_MAX));
        rota_arena_reset (arena);
    }
    assert_non_null (rota_arena_alloc (arena, 100000));
    assert_null (rota_arena_alloc (arena, 1));
    rota_arena_destroy (&arena);
    rota_arena_destroy (&arena);
}

static void every_word_is_read_as_it_is_written (void **state)
{
    (void)state;
    for (int i = 1; i <= ROTA__TASK_STATUS__TASK_STATUS_CANCELLED; i++) {
        const char *word = rota_status_name ((Rota__TaskStatus)i);
        assert_int_equal (rota_status_parse (word, strlen (word)), i);
    }
    for (int i = 1; i <= ROTA__ROLE__ROLE_ADMIN; i++)
        assert_int_equal (rota_role_parse (rota_role_name ((Rota__Role)i)), i);
    assert_int_equal (rota_status_parse ("Done", 4), ROTA__TASK_STATUS__TASK_STATUS_UNSPECIFIED);
    assert_int_equal (rota_status_parse ("done!", 4), ROTA__TASK_STATUS__TASK_STATUS_DONE);
    assert_int_equal (rota_status_parse ("", 0), ROTA__TASK_STATUS__TASK_STATUS_UNSPECIFIED);
    assert_int_equal (rota_role_parse ("root"), ROTA__ROLE__ROLE_UNSPECIFIED);
}

/* A value added to the protocol without its word fails here. */
static void every_value_has_its_word (void **state)
{
    (void)state;
#define EACH(descriptor, name_of, Type)                                                                      \
    for (unsigned i = 1; i < (descriptor).n_values; i++)                                                     \
        assert_string_not_equal (name_of ((Type)(descriptor).values[i].value), "?");                         \
    assert_string_equal (name_of ((Type)0), "?");                                                            \
    assert_string_equal (name_of ((Type)99), "?");                                                           \
    assert_string_equal (name_of ((Type)-1), "?")
    EACH (rota__task_status__descriptor, rota_status_name, Rota__TaskStatus);
    EACH (rota__phase__descriptor, rota_phase_name, Rota__Phase);
    EACH (rota__block_cause__descriptor, rota_block_cause_name, Rota__BlockCause);
    EACH (rota__result_class__descriptor, rota_result_class_name, Rota__ResultClass);
    EACH (rota__event_type__descriptor, rota_event_type_name, Rota__EventType);
    EACH (rota__role__descriptor, rota_role_name, Rota__Role);
    EACH (rota__error_code__descriptor, rota_error_code_name, Rota__ErrorCode);
#undef EACH
    for (unsigned i = 1; i < rota__error_code__descriptor.n_values; i++)
        assert_string_equal (
            rota_error_code_name ((Rota__ErrorCode)rota__error_code__descriptor.values[i].value),
            rota__error_code__descriptor.values[i].name + strlen ("ERROR_CODE_"));
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (comes_back_as_it_went),
        cmocka_unit_test (what_is_absent_is_zero),
        cmocka_unit_test (an_id_of_other_than_16_bytes_is_refused),
        cmocka_unit_test (a_trace_parent_that_does_not_fit_or_print_is_refused),
        cmocka_unit_test (another_version_is_told_apart_and_can_be_answered),
        cmocka_unit_test (no_type_and_rubbish_are_refused_and_nothing_is_written),
        cmocka_unit_test (unknown_fields_are_tolerated),
        cmocka_unit_test (a_role_of_a_later_version_may_do_nothing),
        cmocka_unit_test (an_answer_goes_back_under_the_same_number),
        cmocka_unit_test (the_catalogue_knows_its_types_and_no_others),
        cmocka_unit_test (a_body_comes_back_as_it_went),
        cmocka_unit_test (a_body_of_an_unknown_type_or_over_its_limit_is_refused),
        cmocka_unit_test (a_small_frame_does_not_become_a_large_heap),
        cmocka_unit_test (an_arena_keeps_to_its_cap_and_can_be_used_again),
        cmocka_unit_test (every_word_is_read_as_it_is_written),
        cmocka_unit_test (every_value_has_its_word),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
