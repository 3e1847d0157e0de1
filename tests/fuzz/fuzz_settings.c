/* Any bytes as a settings file: no crash, and what is accepted is accepted again as it is printed. */
#include "bus/settings.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput (const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput (const uint8_t *bytes, size_t size)
{
    rota_settings_t *settings = NULL, *again = NULL;
    rota_error_t error;
    if (rota_settings_parse ("c.yaml", (const char *)bytes, size, NULL, NULL, &settings, &error) < 0)
        return 0;
    char *text = NULL;
    size_t length;
    FILE *stream = open_memstream (&text, &length);
    if (!stream)
        abort ();
    rota_settings_print (settings, stream);
    fclose (stream);
    if (rota_settings_parse ("p.yaml", text, length, NULL, NULL, &again, &error) < 0)
        abort ();
    rota_settings_destroy (&settings);
    rota_settings_destroy (&again);
    free (text);
    return 0;
}
