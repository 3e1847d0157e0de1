/* pattern.h - regular expressions from files that people write: compiled, or refused in words.
 *
 * POSIX extended ones, as regcomp(3) takes them. It writes out what is repeated as often as it is asked for,
 * and looks at all combinations of what may be there or not: a short text such as `(x+)+` thirty times over
 * takes all memory, or all time. So what is larger than ROTA_PATTERN_SIZE_MAX is refused before: characters,
 * times the numbers in braces, times three for each of `+`, `*` and `?`.
 */
#ifndef ROTA_PATTERN_H
#define ROTA_PATTERN_H

#include "bus/error.h"

#include <regex.h>

#define ROTA_PATTERN_SIZE_MAX 1000

/* `flags`: of regcomp beside REG_EXTENDED. 0; -EINVAL with the reason, and nothing is to be freed. */
int rota_pattern_compile (regex_t *ret_pattern, const char *text, int flags, rota_error_t *error);

#endif
