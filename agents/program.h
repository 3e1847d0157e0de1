/* program.h - what the adapters of agent programs have in common: finding the program, its places on disk,
 * its prompt, its variables, and what came of it.
 *
 * Places: STATE/agents/NAME/SLOT/home and .../tmp belong to one slot, so that two programs never share one;
 * STATE/accounts/KIND-ACCOUNT is where the program keeps its sessions and settings when it is given a key.
 * With a login of its own it keeps them there, shared by all slots: a copy would break when its tokens
 * rotate.
 *
 * Owner: the host's thread.
 */
#ifndef ROTA_PROGRAM_H
#define ROTA_PROGRAM_H

#include "agents/adapter.h"

#define ROTA_PROGRAM_VARIABLES_MAX 64

typedef struct {
    const char *name;    /* "claude" */
    const char *package; /* of npm that installs it, for the remedy; NULL = not known */
    const char *oldest;  /* version that is known to work, "2.1.0"; "" = it isn't asked for its version */
    const char *config_variable; /* "CLAUDE_CONFIG_DIR" */
    const char *config_name;     /* in the user's home: ".claude"; NULL = a directory of ours */
    const char *login_file;      /* there, when it is logged in; NULL = it needs no login */
    const char *login_remedy;
    const char *const *keys; /* variables that hold a key, NULL-terminated: one of them is enough */
    const char *const *also; /* further variables that are passed on */
    /* Where a key is tried without cost before any work: the variable that names the service, what it is
     * without, the path, and the header that carries the key. NULL = it can't be tried. */
    const char *base_variable, *base_default, *probe_path, *key_header, *key_prefix;
    /* A file of its directory and a word in it: with that it talks to another service. NULL = it can't. */
    const char *provider_file, *provider_word;
} rota_program_t;

/* Version and problem of *ret_check: not installed, too old, not logged in, each with its remedy. */
void rota_program_check (const rota_program_t *program, const rota_adapter_context_t *context,
                         rota_adapter_check_t *ret_check);

/* Whether a version, as a program says it, is older than another. False when it isn't to be read. */
bool rota_program_is_older (const char *text, const char *than);

/* Variables to be set for it, from `pool`, in a growing NULL-terminated list. */
typedef struct {
    char *list[ROTA_PROGRAM_VARIABLES_MAX + 1];
    size_t count;
    bool failed;
} rota_program_variables_t;
__attribute__ ((format (printf, 3, 4))) void rota_program_set (rota_program_variables_t *variables,
                                                               rota_pool_t *pool, const char *format, ...);

/* Fills directory, input (the prompt), silence and environment of *attempt: HOME, TMPDIR, the program's own
 * directory, credentials and `more`. The slot's temporary directory is empty afterwards. */
int rota_program_prepare (const rota_program_t *program, const rota_adapter_context_t *context,
                          const Rota__Assignment *assignment, unsigned slot, rota_pool_t *pool,
                          const rota_program_variables_t *more, rota_attempt_t *attempt, rota_error_t *error);

/* A NULL-terminated copy from the pool, or NULL on no memory. */
char **rota_program_arguments (rota_pool_t *pool, const char *const *arguments);

/* The task in words, with what its reviewer is to do in that phase. NULL on no memory. */
char *rota_program_prompt (const Rota__Assignment *assignment, const char *review, rota_pool_t *pool);

/* What came of it: the shim's word where it ended the program, else what the program said in its output. */
void rota_program_classify (const rota_adapter_context_t *context, rota_reader_t *reader,
                            const rota_outcome_t *outcome, const char *log_path,
                            rota_adapter_result_t *ret_result);

/* The beginning of a prompt to go on with a session. */
#define ROTA_PROGRAM_INTERRUPTED "You were interrupted. Go on with the task "

#endif
