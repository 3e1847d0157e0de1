/* Messages on standard error, in one form. */
#include "cli/cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static char last[ROTA_CLI_LAST_BYTES];

__attribute__ ((format (printf, 1, 0))) static void say (const char *format, va_list arguments)
{
    char *text = NULL;
    if (vasprintf (&text, format, arguments) < 0)
        return;
    char *clean = rota_clean (text, strlen (text), true);
    fflush (stdout);
    fprintf (stderr, "rota: %s\n", clean ? clean : "out of memory");
    snprintf (last, sizeof last, "%s", clean ? clean : "out of memory");
    free (clean);
    free (text);
}

int rota_cli_fail (int code, const char *format, ...)
{
    va_list arguments;
    va_start (arguments, format);
    say (format, arguments);
    va_end (arguments);
    return code;
}

void rota_cli_note (const char *format, ...)
{
    va_list arguments;
    va_start (arguments, format);
    say (format, arguments);
    va_end (arguments);
}

const char *rota_cli_last (void)
{
    return last;
}
