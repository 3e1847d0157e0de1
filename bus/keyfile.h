/* keyfile.h - CURVE keys and grants as files: NAME.key holds a secret, granted/NAME says what a key may do.
 *
 * Both are lines of "field: value"; empty lines and those that begin with # count for nothing, unknown fields
 * are errors (a file that is not understood as a whole grants nothing). Keys are 64 hexadecimal digits.
 *
 *     name: worker-7                          name: worker-7
 *     public: 1f0c...                         public: 1f0c...
 *     secret: 9be2...                         roles: agent
 *                                             agents: gpu-* claude@worker-7        (only when it says so)
 *                                             revoked: 2026-11-23T12:50:52.123Z    (only when it is)
 *
 * A secret must be ours and closed to all others (0600), a grant must be ours or root's and writable by its
 * owner alone; what isn't so is refused, because somebody else may know or have written it. Files are
 * replaced as a whole or not at all. Any thread; nothing is kept.
 */
#ifndef ROTA_KEYFILE_H
#define ROTA_KEYFILE_H

#include "bus/error.h"
#include "proto/rota.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROTA_KEY_BYTES 32
#define ROTA_KEY_HEX_BYTES (2 * ROTA_KEY_BYTES + 1)
#define ROTA_KEY_NAME_MAX_BYTES 63 /* shorter than a key in digits: the two can't be confused */
#define ROTA_KEYFILE_MAX_BYTES 4096
#define ROTA_KEY_SINCE_MAX_BYTES 40
#define ROTA_KEY_AGENTS_MAX_BYTES 128

typedef struct {
    char name[ROTA_KEY_NAME_MAX_BYTES + 1];
    uint8_t public_key[ROTA_KEY_BYTES];
    uint8_t secret_key[ROTA_KEY_BYTES];
} rota_key_pair_t;

typedef struct {
    char name[ROTA_KEY_NAME_MAX_BYTES + 1];
    uint8_t public_key[ROTA_KEY_BYTES];
    uint32_t roles; /* mask of 1u << ROTA__ROLE__... */
    char agents[ROTA_KEY_AGENTS_MAX_BYTES +
                1]; /* patterns of agents' names, a blank between; "" = by `name` */
    char revoked[ROTA_KEY_SINCE_MAX_BYTES + 1]; /* since when; "" = it is not */
} rota_grant_t;

/* Letters, digits, '.', '_' and '-', the first a letter or digit. */
bool rota_key_name_is_valid (const char *name);
void rota_key_to_hex (const uint8_t key[ROTA_KEY_BYTES], char ret_text[ROTA_KEY_HEX_BYTES]);
/* False when it is not 64 hexadecimal digits. */
bool rota_key_from_hex (const char *text, uint8_t ret_key[ROTA_KEY_BYTES]);

/* A new pair from the kernel's random numbers. */
void rota_key_pair_new (const char *name, rota_key_pair_t *ret_pair);
void rota_key_pair_wipe (rota_key_pair_t *pair);

/* ---- the bytes of files: 0, or -EINVAL with the reason */

int rota_key_pair_parse (const char *bytes, size_t size, rota_key_pair_t *ret_pair, rota_error_t *error);
int rota_grant_parse (const char *bytes, size_t size, rota_grant_t *ret_grant, rota_error_t *error);
/* Returns the length. */
size_t rota_key_pair_format (const rota_key_pair_t *pair, char ret_text[ROTA_KEYFILE_MAX_BYTES]);
size_t rota_grant_format (const rota_grant_t *grant, char ret_text[ROTA_KEYFILE_MAX_BYTES]);

/* ---- the files */

/* 0; -EPERM when others can read (or have written) it; -EINVAL; -ENOENT and what else the kernel says. The
 * name inside a grant must be the file's. */
int rota_key_pair_read (const char *path, rota_key_pair_t *ret_pair, rota_error_t *error);
int rota_grant_read (int directory_fd, const char *name, rota_grant_t *ret_grant, rota_error_t *error);
/* -EEXIST when there is one and `replace` is not set. */
int rota_key_pair_write (const char *path, const rota_key_pair_t *pair, bool replace, rota_error_t *error);
int rota_grant_write (const char *directory, const rota_grant_t *grant, bool replace, rota_error_t *error);

/* The directory of keys: `setting` (security.keys_dir), or where that is empty STATE/keys. With `create` it
 * and `granted` in it are made. -EPERM when it belongs to somebody else or is writable by others. */
int rota_keys_directory (const char *setting, const char *state_dir, bool create, char *ret_path,
                         size_t capacity, rota_error_t *error);

/* Every grant of DIRECTORY/granted in turn; files that are refused come with `error` and a NULL grant. The
 * call ends with 0, with what `take` returns if that isn't 0, or with why the directory can't be read (-EPERM
 * as above). */
typedef int (*rota_grant_fn) (void *owner, const char *name, const rota_grant_t *grant,
                              const rota_error_t *error);
int rota_grants_read (const char *directory, rota_grant_fn take, void *owner, rota_error_t *error);

/* ---- roles */

/* Whether a key with `roles` may come as `wanted`: a person's role includes all that are less. */
bool rota_roles_include (uint32_t roles, Rota__Role wanted);
/* Whether a key with this grant may come as the agent `name`: one of the patterns of `agents` fits (* and ?
 * as in file names), or without any it is called as the key, or KIND@ and that. Says nothing of the role. */
bool rota_grant_names_agent (const rota_grant_t *grant, const char *name);
/* Whether `text` can be `agents`: patterns of letters, digits and . @ _ - : * ? with a blank between. */
bool rota_grant_agents_are_valid (const char *text);
/* "agent operate"; returns ret_text. */
#define ROTA_ROLES_TEXT_BYTES 80
const char *rota_roles_text (uint32_t roles, char ret_text[ROTA_ROLES_TEXT_BYTES]);

#endif
