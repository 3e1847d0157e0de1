/* The first frame of any message, as a peer may send it: decoded or refused, and what was decoded comes back.
 */
#include "proto/envelope.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    rota_envelope_t envelope, again;
    uint8_t bytes[ROTA_ENVELOPE_MAX_BYTES], bytes_again[ROTA_ENVELOPE_MAX_BYTES];

    if (rota_envelope_decode (data, size, &envelope) < 0)
        return 0;
    assert (size <= ROTA_ENVELOPE_MAX_BYTES);
    size_t encoded = rota_envelope_encode (&envelope, bytes);
    assert (rota_envelope_decode (bytes, encoded, &again) == 0);
    assert (rota_envelope_encode (&again, bytes_again) == encoded &&
            memcmp (bytes, bytes_again, encoded) == 0);
    return 0;
}
