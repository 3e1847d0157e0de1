/* git_kind.c - the kind `git`: gates and merges of repositories. It runs no program of its own: the driver of
 * workspace.h does it all, under the same shim as any other attempt.
 */
#include "agents/adapter.h"
#include "agents/program.h"

#include "proto/words.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const rota_program_t PROGRAM = {
    .name = "git",
    .oldest = "2.38", /* merge-tree --write-tree */
    .config_variable = "HOME",
    .keys = (const char *const[]){"PATH", NULL}, /* it needs none */
};

static void check (const rota_adapter_context_t *context, rota_adapter_check_t *ret_check)
{
    *ret_check = (rota_adapter_check_t){.capabilities = {"gate", "merge", "merge-batch"}};
    rota_program_check (&PROGRAM, context, ret_check);
}

static int prepare (const rota_adapter_context_t *context, const Rota__Assignment *assignment, unsigned slot,
                    rota_pool_t *pool, rota_attempt_t *attempt, rota_error_t *error)
{
    static char *const NOTHING[] = {NULL};
    (void)slot;
    (void)pool;
    if (!assignment->repository || (assignment->phase != PHASE (GATE) && assignment->phase != PHASE (MERGE)))
        return rota_error_set (error, -EINVAL, "this agent checks and merges, it does no other work");
    attempt->argv = NOTHING;
    attempt->environment = NOTHING;
    attempt->directory = context->state_dir;
    attempt->stop_signal = SIGTERM;
    return 0;
}

static void classify (const rota_adapter_context_t *context, const rota_outcome_t *outcome,
                      const char *log_path, rota_adapter_result_t *ret_result)
{
    (void)context;
    (void)log_path;
    if (rota_adapter_classify_common (outcome, ret_result))
        return;
    *ret_result =
        (rota_adapter_result_t){.result_class = outcome->exit_code ? RESULT (ENVIRONMENT) : RESULT (OK)};
    if (outcome->exit_code)
        snprintf (ret_result->message, sizeof ret_result->message,
                  "it ended with exit code %d; its output says why", outcome->exit_code);
}

const rota_adapter_t ROTA_ADAPTER_GIT = {
    .kind = "git", .check = check, .prepare = prepare, .classify = classify};
