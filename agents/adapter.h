/* adapter.h - what the host must know of one kind of agent, and nothing else does.
 *
 * An adapter turns an assignment into a command for the shim, and what came of that command into a result.
 * It keeps no state of attempts: what it is asked to classify may have run under an earlier host.
 *
 * Owner: the host's thread.
 */
#ifndef ROTA_ADAPTER_H
#define ROTA_ADAPTER_H

#include "agents/attempt.h"
#include "bus/error.h"
#include "bus/pool.h"
#include "bus/settings.h"

/* What all adapters of a host are told. */
typedef struct {
    const rota_settings_t *settings;
    const char *agent;        /* name of the host, "exec@here" */
    const char *exec_command; /* for tasks without a command of their own, or NULL */
    const char *directory;    /* for tasks that don't say where */
} rota_adapter_context_t;

#define ROTA_ADAPTER_CAPABILITIES_MAX 16

typedef struct {
    const char *capabilities[ROTA_ADAPTER_CAPABILITIES_MAX]; /* NULL-terminated; for REGISTER */
    char version[128];                                       /* of the program it drives; "" = none */
    char problem[256]; /* why it can't work, with the remedy; "" = it can */
} rota_adapter_check_t;

#define ROTA_ADAPTER_MESSAGE_BYTES 1024

typedef struct {
    Rota__ResultClass result_class;
    char message[ROTA_ADAPTER_MESSAGE_BYTES]; /* in words; "" = nothing to say */
} rota_adapter_result_t;

typedef struct {
    const char *kind;
    void (*check) (const rota_adapter_context_t *context, rota_adapter_check_t *ret_check);
    /* Fills argv, environment (but for what the host adds), directory, input and stop_signal of *attempt from
     * `pool`. 0; -EINVAL: the task is wrong, with the text; -ENOMEM. */
    int (*prepare) (const rota_adapter_context_t *context, const Rota__Assignment *assignment,
                    rota_pool_t *pool, rota_attempt_t *attempt, rota_error_t *error);
    void (*classify) (const rota_adapter_context_t *context, const rota_outcome_t *outcome,
                      rota_adapter_result_t *ret_result);
} rota_adapter_t;

/* NULL for a kind that this program hasn't. */
const rota_adapter_t *rota_adapter_find (const char *kind);

extern const rota_adapter_t ROTA_ADAPTER_EXEC;

/* For what every kind tells alike: an end by the shim, a command that couldn't be started, a signal. False
 * when the command ended by itself with an exit code, which is the kind's own to judge. */
bool rota_adapter_classify_common (const rota_outcome_t *outcome, rota_adapter_result_t *ret_result);

#endif
