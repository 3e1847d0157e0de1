/* sim.c - an agent that only pretends (pretend.h): no key, no network, no cost.
 */
#include "agents/pretend.h"
#include "agents/program.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const rota_program_t PROGRAM = {
    .name = "sim",
    .config_variable = ROTA_PRETEND_DIRECTORY,
    .config_name = ".rota-sim",
    .keys = (const char *const[]){"PATH", NULL}, /* always there: it needs none */
    .also = (const char *const[]){NULL},
};

static void check (const rota_adapter_context_t *context, rota_adapter_check_t *ret_check)
{
    (void)context;
    *ret_check =
        (rota_adapter_check_t){.capabilities = {"prompt", "text", "review"}, .version = ROTA_VERSION};
}

static int prepare (const rota_adapter_context_t *context, const Rota__Assignment *assignment, unsigned slot,
                    rota_pool_t *pool, rota_attempt_t *attempt, rota_error_t *error)
{
    char self[PATH_MAX];
    ssize_t length = readlink ("/proc/self/exe", self, sizeof self - 1);
    if (length < 0)
        return rota_error_set (error, -errno, "can't find the program itself: %s", strerror (errno));
    self[length] = '\0';
    const char *argv[] = {self, ROTA_PRETEND_OPTION, NULL};
    rota_program_variables_t more = {0};
    rota_program_set (&more, pool, "ROTA_SIM_PROMPT=%.*s", (int)assignment->spec->prompt.len,
                      (const char *)assignment->spec->prompt.data);
    rota_program_set (&more, pool, "ROTA_SIM_REVIEW=%s", context->review);
    attempt->argv = rota_program_arguments (pool, argv);
    attempt->stop_signal = SIGTERM;
    if (!attempt->argv)
        return -ENOMEM;
    return rota_program_prepare (&PROGRAM, context, assignment, slot, pool, &more, attempt, error);
}

static void classify (const rota_adapter_context_t *context, const rota_outcome_t *outcome,
                      const char *log_path, rota_adapter_result_t *ret_result)
{
    rota_program_classify (context, rota_read_claude, outcome, log_path, ret_result);
}

const rota_adapter_t ROTA_ADAPTER_SIM = {.kind = "sim",
                                         .paid = true,
                                         .structured = true,
                                         .check = check,
                                         .prepare = prepare,
                                         .classify = classify};
