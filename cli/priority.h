/* priority.h - the words of a priority, as roadmap files have them.
 *
 * Owner thread: any.
 */
#ifndef ROTA_PRIORITY_H
#define ROTA_PRIORITY_H

#include <stdint.h>

/* critical, high, normal (medium), low, or -1000..1000. 0 or -EINVAL. */
int rota_priority_parse (const char *text, int32_t *ret_priority);

#define ROTA_PRIORITY_FAULT                                                                                  \
    "\"%s\" is no priority: critical, high, normal, low, or a number from -1000 to 1000"

#endif
