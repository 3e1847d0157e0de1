/* pattern.h - regular expressions from files that people write: compiled, or refused in words.
 *
 * POSIX extended ones, as regcomp(3) takes them. It writes what is repeated out as often as it is asked for,
 * so that a short text, `(x+)+` thirty times over or `x{9999}`, takes all memory: what would be larger than
 * ROTA_PATTERN_SIZE_MAX characters so is refused before.
 */
#ifndef ROTA_PATTERN_H
#define ROTA_PATTERN_H

#include "bus/error.h"

#include <regex.h>

#define ROTA_PATTERN_SIZE_MAX 5000

/* `flags`: of regcomp beside REG_EXTENDED. 0; -EINVAL with the reason, and nothing is to be freed. */
int rota_pattern_compile (regex_t *ret_pattern, const char *text, int flags, rota_error_t *error);

#endif
