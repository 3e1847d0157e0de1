/* environment.h - the environment of an attempt: little of the host's, and the task's fields as ROTA_*.
 *
 * Texts of a task reach a command only as variables, never as part of a shell line.
 */
#ifndef ROTA_ENVIRONMENT_H
#define ROTA_ENVIRONMENT_H

#include "agents/adapter.h"

#define ROTA_ENVIRONMENT_TEXT_MAX_BYTES                                                                      \
    (32u << 10) /* longer fields are cut: the kernel takes 128 KiB each                                      \
                 */

/* What the host knows its attempts by: in the environment of every process of theirs. */
#define ROTA_ENVIRONMENT_MARK "ROTA_ATTEMPT_MARK"

/* NULL-terminated, from `pool`; NULL on no memory. `mark` is the value of ROTA_ATTEMPT_MARK. */
/* `more` (or NULL): variables of the adapter's, NAME=VALUE, which win over those of the host. */
char **rota_environment_new (const rota_adapter_context_t *context, const Rota__Assignment *assignment,
                             const char *mark, char *const *more, rota_pool_t *pool);

/* The variables of `environment` whose values are keys: those that agents.credentials names for the account,
 * and whatever is called like one (..._KEY, ..._TOKEN, ..._SECRET, ..._PASSWORD). NULL-terminated, from
 * `pool`; NULL on no memory. */
const char **rota_environment_keys (const rota_adapter_context_t *context, char *const *environment,
                                    rota_pool_t *pool);

#endif
