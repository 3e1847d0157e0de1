/* settings.h - the one configuration file of all services, checked as a whole.
 *
 *     rota_settings_t *settings;
 *     if (rota_settings_load (config_option, stderr, &settings, &error) < 0) ...exit 2
 *     int64_t lease_ms = rota_setting_duration_ms (settings, ROTA_SETTING_SCHEDULER_LEASE);
 *
 * The file is, in this order: `path` (--config), $ROTA_CONFIG, ./rota.yaml, /etc/rota/rota.yaml, and if none
 * is there the built-in defaults. Environment variables ROTA_SECTION_KEY win over the file. Unknown keys,
 * wrong types and values out of range are errors, all of them reported with file:line:column. The table is
 * bus/settings.def.
 *
 * Owner: whoever loaded it; read-only after that, so any thread may read.
 */
#ifndef ROTA_SETTINGS_H
#define ROTA_SETTINGS_H

#include "bus/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct rota_settings rota_settings_t;

typedef enum {
#define SETTING(ID, section, key, KIND, default_text, min, max, doc) ROTA_SETTING_##ID,
#include "bus/settings.def"
    ROTA_SETTING_COUNT
} rota_setting_t;

/* `path` NULL = search. 0 and *ret_settings; -EINVAL for faults, each of which is a line on `faults` (NULL =
 * not wanted), the first of them in *error; -ENOENT and what else open(2) says when a file that was named
 * can't be read; -ENOMEM. */
int rota_settings_load (const char *path, FILE *faults, rota_settings_t **ret_settings, rota_error_t *error);
/* The same from memory, `path` only names it; `environment` is like environ, NULL = none. */
int rota_settings_parse (const char *path, const char *bytes, size_t size_bytes,
                         const char *const *environment, FILE *faults, rota_settings_t **ret_settings,
                         rota_error_t *error);
void rota_settings_destroy (rota_settings_t **self_p);

/* The kind must fit the setting's (asserted). */
int64_t rota_setting_integer (const rota_settings_t *self, rota_setting_t id);
int64_t rota_setting_duration_ms (const rota_settings_t *self, rota_setting_t id);
int64_t rota_setting_size_bytes (const rota_settings_t *self, rota_setting_t id);
bool rota_setting_boolean (const rota_settings_t *self, rota_setting_t id);
const char *rota_setting_text (const rota_settings_t *self, rota_setting_t id); /* of a CHOICE too */
/* Which of the choices it is, from 0. */
int rota_setting_choice (const rota_settings_t *self, rota_setting_t id);
/* NULL-terminated. */
const char *const *rota_setting_list (const rota_settings_t *self, rota_setting_t id, size_t *ret_count);

/* The file that was read, or NULL: built-in defaults. */
const char *rota_settings_path (const rota_settings_t *self);

/* `--print-config`: all values as YAML that load takes again, each with where it came from. */
void rota_settings_print (const rota_settings_t *self, FILE *stream);
/* docs/reference/settings.md. */
void rota_settings_print_reference (FILE *stream);

#endif
