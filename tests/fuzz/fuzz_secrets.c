/* Any bytes as a line of an agent's work: no crash, and a key that is found has a name. */
#include "agents/secrets.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    const char *found = rota_secret_find ((const char *)data, size);
    if (found && !found[0])
        abort ();
    return 0;
}
