/* check_config.h - --check-config and --print-config, the same in every program.
 *
 * Any thread; nothing is kept.
 */
#ifndef ROTA_CHECK_CONFIG_H
#define ROTA_CHECK_CONFIG_H

#include <stdbool.h>

/* Reads the settings as rota_settings_load does and says on stdout which file is right, or, with `print`,
 * every value and where it came from. The status to exit with: 0, or 2 with all faults on stderr. */
int rota_check_config (const char *program, const char *path, bool print);

#endif
