/* The second frame: the first byte chooses the type, the second how small the arena is. Whatever comes, it is
 * decoded within the cap or refused, and what was decoded can be packed again. */
#include "proto/envelope.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    ProtobufCMessage *message;
    rota_arena_t *arena = rota_arena_new ((size_t)1 << (8 + data[1] % 15));
    if (!arena)
        return 0;
    int status = rota_body_decode (data[0], data + 2, size - 2, arena, &message);
    if (status == 0) {
        uint8_t *bytes;
        size_t packed;
        status = rota_body_encode (data[0], message, &bytes, &packed);
        assert (status == 0 || status == -EMSGSIZE);
        if (status == 0)
            free (bytes);
    }
    rota_arena_reset (arena);
    assert (rota_arena_alloc (arena, 16));
    rota_arena_destroy (&arena);
    return 0;
}
