/* error.h - what went wrong, in words, beside the errno that a function returns.
 *
 * Library code returns a negative errno and, where the cause is known, writes one sentence here; services log
 * it.
 */
#ifndef ROTA_ERROR_H
#define ROTA_ERROR_H

#include <stddef.h>

#define ROTA_ERROR_MAX_BYTES 512

typedef struct {
    char text[ROTA_ERROR_MAX_BYTES]; /* cut to fit, always terminated */
} rota_error_t;

/* Writes the text, if `error` is not NULL, and returns `code`, so that a failure is one line:
 * return rota_error_set (error, -EINVAL, "..."). */
__attribute__ ((format (printf, 3, 4))) int rota_error_set (rota_error_t *error, int code, const char *format,
                                                            ...);

/* Puts "prefix: " before the text that is there. Returns `code`. */
__attribute__ ((format (printf, 3, 4))) int rota_error_prefix (rota_error_t *error, int code,
                                                               const char *format, ...);

#endif
