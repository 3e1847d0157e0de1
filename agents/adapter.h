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
#include "agents/reading.h"
#include "agents/verdict.h"
#include "bus/error.h"
#include "bus/pool.h"
#include "bus/settings.h"

/* What all adapters of a host are told. */
typedef struct {
    const rota_settings_t *settings;
    const char *agent;        /* name of the host, "exec@here" */
    const char *exec_command; /* for tasks without a command of their own, or NULL */
    const char *directory;    /* for tasks that don't say where */
    const char *state_dir;
    const char *account;            /* whose limits and money it uses; "default" */
    const char *login;              /* directory of the program's login, or NULL = the program's usual one */
    const char *const *credentials; /* variables passed on: "NAME", or "NAME=SOURCE" from another; or NULL */
    bool trust;                     /* the program may do what it likes */
    rota_limits_t *limits;
    void *state;                          /* what `open` made, or NULL */
    char review[ROTA_VERDICT_WORD_BYTES]; /* the word of the review that is being prepared */
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
    Rota__LimitKind limit_kind;               /* for LIMITED */
    int64_t until_ms;                         /* Unix; 0 = not said */
    char session[ROTA_READING_SESSION_BYTES]; /* of the program, to go on with; "" = none */
    rota_reading_usage_t usage;
    double used; /* share of the window of that name that is used, 0..1 */
    int64_t used_until_ms;
    char window[32];   /* "" = not said */
    bool session_lost; /* what was to be gone on with isn't there */
    char *answer; /* the agent's last words, whole, UTF-8; malloc'ed, NULL = none. Who takes the result frees
                     it */
} rota_adapter_result_t;

typedef struct {
    const char *kind;
    bool paid;       /* its work costs money or a subscription, and its provider has limits */
    bool thinks;     /* its program asks a model, which takes a while (agents.least_time) */
    bool structured; /* what it prints is for programs: people are given the message alone */
    /* For kinds that must read something first; NULL for others. NULL with the text: wrong settings. */
    void *(*open) (const rota_adapter_context_t *context, rota_error_t *error);
    void (*close) (void *state);
    /* The kind that it is to the scheduler; NULL = its own word. */
    const char *(*registers_as) (const rota_adapter_context_t *context);
    void (*check) (const rota_adapter_context_t *context, rota_adapter_check_t *ret_check);
    /* Fills argv, environment (but for what the host adds), directory, input, stop_signal and silence_ms of
     * *attempt from `pool`, for the slot (from 0), which nobody else uses meanwhile. 0; -EINVAL: the task is
     * wrong, with the text; -ENOMEM; another: this place is wrong, with the text. */
    int (*prepare) (const rota_adapter_context_t *context, const Rota__Assignment *assignment, unsigned slot,
                    rota_pool_t *pool, rota_attempt_t *attempt, rota_error_t *error);
    /* `log_path`: what it printed (output.h). */
    void (*classify) (const rota_adapter_context_t *context, const rota_outcome_t *outcome,
                      const char *log_path, rota_adapter_result_t *ret_result);
} rota_adapter_t;

/* NULL for a kind that this program hasn't. */
const rota_adapter_t *rota_adapter_find (const char *kind);

/* "exec, claude, ...", for messages. */
const char *rota_adapter_kinds (void);

#define KIND(word, ADAPTER, slots, what) extern const rota_adapter_t ROTA_ADAPTER_##ADAPTER;
#include "agents/kinds.def"

/* For what every kind tells alike: an end by the shim, a command that couldn't be started, a signal. False
 * when the command ended by itself with an exit code, which is the kind's own to judge. */
bool rota_adapter_classify_common (const rota_outcome_t *outcome, rota_adapter_result_t *ret_result);

#endif
