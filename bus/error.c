#include "bus/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int rota_error_set (rota_error_t *error, int code, const char *format, ...)
{
    if (!error)
        return code;
    va_list args;
    va_start (args, format);
    vsnprintf (error->text, sizeof error->text, format, args);
    va_end (args);
    return code;
}

int rota_error_prefix (rota_error_t *error, int code, const char *format, ...)
{
    if (!error)
        return code;
    char text[ROTA_ERROR_MAX_BYTES];
    va_list args;
    va_start (args, format);
    int length = vsnprintf (text, sizeof text, format, args);
    va_end (args);
    if (length >= 0 && (size_t)length < sizeof text)
        snprintf (text + length, sizeof text - (size_t)length, ": %.*s", (int)(sizeof text - (size_t)length),
                  error->text);
    memcpy (error->text, text, sizeof text);
    return code;
}
