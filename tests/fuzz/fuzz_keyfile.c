/* Files of keys and grants as any bytes: read or refused with a reason, and what is read is written so that
 * it is read the same again. */
#include "bus/keyfile.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput (const uint8_t *bytes, size_t size);

static void try_grant (const char *bytes, size_t size)
{
    char text[ROTA_KEYFILE_MAX_BYTES];
    rota_grant_t grant, again;
    rota_error_t error = {""};
    memset (&grant, 0xa5, sizeof grant);
    rota_grant_t before = grant;
    if (rota_grant_parse (bytes, size, &grant, &error) < 0) {
        if (!error.text[0] || memcmp (&grant, &before, sizeof grant) != 0)
            abort ();
        return;
    }
    if (!rota_key_name_is_valid (grant.name) || grant.roles == 0)
        abort ();
    if (rota_grant_parse (text, rota_grant_format (&grant, text), &again, &error) < 0 ||
        strcmp (again.name, grant.name) != 0 || again.roles != grant.roles ||
        strcmp (again.revoked, grant.revoked) != 0 || strcmp (again.agents, grant.agents) != 0 ||
        memcmp (again.public_key, grant.public_key, ROTA_KEY_BYTES) != 0)
        abort ();
}

static void try_pair (const char *bytes, size_t size)
{
    char text[ROTA_KEYFILE_MAX_BYTES];
    rota_key_pair_t pair, again;
    rota_error_t error = {""};
    if (rota_key_pair_parse (bytes, size, &pair, &error) < 0) {
        if (!error.text[0])
            abort ();
    } else if (rota_key_pair_parse (text, rota_key_pair_format (&pair, text), &again, &error) < 0 ||
               memcmp (again.secret_key, pair.secret_key, ROTA_KEY_BYTES) != 0)
        abort ();
}

int LLVMFuzzerTestOneInput (const uint8_t *bytes, size_t size)
{
    /* In memory of its own, so that reading behind its end is seen. */
    char *copy = malloc (size ? size : 1);
    if (!copy)
        return 0;
    if (size > 0)
        memcpy (copy, bytes, size);
    try_grant (copy, size);
    try_pair (copy, size);
    free (copy);
    return 0;
}
