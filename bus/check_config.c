#include "bus/check_config.h"

#include "bus/settings.h"

int rota_check_config (const char *program, const char *path, bool print)
{
    rota_settings_t *settings = NULL;
    rota_error_t error = {""};
    if (rota_settings_load (path, stderr, &settings, &error) < 0) {
        fprintf (stderr, "%s: %s\n", program, error.text);
        return 2;
    }
    const char *read = rota_settings_path (settings);
    if (print)
        rota_settings_print (settings, stdout);
    else
        printf ("%s is right\n", read ? read : "no file is read, and the environment");
    rota_settings_destroy (&settings);
    return 0;
}
