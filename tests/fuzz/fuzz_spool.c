/* Spool files and outcomes as any bytes: read or refused, and what is read can be written again. */
#include "agents/spool.h"
#include "agents/spool_format.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput (const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput (const uint8_t *bytes, size_t size)
{
    rota_spool_record_t record;
    rota_outcome_t outcome, again;
    uint8_t encoded[ROTA_SPOOL_OUTCOME_MAX_BYTES];
    const char *why = NULL;

    if (rota_spool_decode (bytes, size, &record, &why) < 0 && !why)
        abort ();
    if (rota_spool_decode_outcome (bytes, size, &outcome) == 0) {
        size_t length = rota_spool_encode_outcome (&outcome, encoded);
        if (rota_spool_decode_outcome (encoded, length, &again) < 0 || again.key != outcome.key ||
            strcmp (again.message, outcome.message) != 0)
            abort ();
    }
    return 0;
}
