/* units.h - durations, sizes and times as people write them, to numbers and back.
 *
 * One grammar for roadmaps, settings and the command line. All functions are pure.
 */
#ifndef ROTA_UNITS_H
#define ROTA_UNITS_H

#include <stdbool.h>
#include <stdint.h>

#define ROTA_UNITS_BYTES 32

/* "90s", "1h30m", "250ms", "2d", "1.5h"; a number alone means seconds. 0 and *ret_ms; -EINVAL; -ERANGE when
 * it is over 1000 years. Never negative. */
int rota_duration_parse (const char *text, int64_t *ret_ms);
/* Exactly, in the largest units: "1h30m", "1m30s", "2d", "0s". */
void rota_duration_write (int64_t ms, char ret_text[ROTA_UNITS_BYTES]);

/* "4096", "64KiB", "10MiB", "1GiB", "2TiB"; K, M, G, T and kB, MB, ... mean the same powers of 1024. 0;
 * -EINVAL; -ERANGE over 2^62. */
int rota_size_parse (const char *text, int64_t *ret_bytes);
void rota_size_write (int64_t bytes, char ret_text[ROTA_UNITS_BYTES]);

/* A decimal integer, with sign, nothing else. 0; -EINVAL; -ERANGE. */
int rota_integer_parse (const char *text, int64_t *ret_number);
/* A decimal number with optional fraction and exponent, finite. No hexadecimal, "inf" or "nan"; independent
 * of the locale as long as LC_NUMERIC is "C". 0; -EINVAL. */
int rota_number_parse (const char *text, double *ret_number);
/* true, yes, on / false, no, off, in lower case, Capitalised or UPPER CASE. 0; -EINVAL. */
int rota_boolean_parse (const char *text, bool *ret_value);

/* ISO 8601: "2026-11-23", "2026-11-23T08:00", "2026-11-23 08:00:30.5+02:00", "...Z"; without a zone it is
 * this machine's local time. To Unix milliseconds. 0; -EINVAL. Years 1970 to 9999. */
int rota_time_parse (const char *text, int64_t *ret_wall_ms);

#endif
