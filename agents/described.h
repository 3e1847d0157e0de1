/* described.h - agent programs that a file describes instead of C: the kind `command`.
 *
 *     name: gemini                     the kind it registers as
 *     arguments: [gemini, -p, "{prompt}", -o, stream-json]
 *     prompt: argument                 or stdin (default), or file: then {prompt} is its path
 *     resume: [--resume, "{session}"]  put behind the arguments when a session is gone on with
 *     environment: [GEMINI_API_KEY]    "NAME" or "NAME=SOURCE", for the default account
 *     set: [GEMINI_CLI_TRUST_WORKSPACE=true]
 *     stop: TERM                       or INT, KILL
 *     version: "0.6"                   the oldest that is known to work
 *     success: '"status":"success"'    a line that says so; without it exit code 0 is enough
 *     error: 'error: (.*)'             a line whose group is put to the rules of limits.h
 *     session: '"session_id":"([^"]+)"'          letters, digits and ._:- or it is passed over
 *     input_tokens: '"input_tokens":([0-9]+)'    likewise output_tokens, cached_tokens, cost_usd
 *     usage: sum                       or last (default): what of several such lines counts
 *
 * Patterns are POSIX extended regular expressions over one line of output. Other keys are faults.
 *
 * Owner: the host's thread.
 */
#ifndef ROTA_DESCRIBED_H
#define ROTA_DESCRIBED_H

#include "agents/reading.h"
#include "bus/error.h"

#include <stdbool.h>

typedef struct rota_described rota_described_t;

typedef enum { ROTA_PROMPT_STDIN, ROTA_PROMPT_ARGUMENT, ROTA_PROMPT_FILE } rota_prompt_way_t;

/* NULL with file:line:column in *error. */
rota_described_t *rota_described_read (const char *path, rota_error_t *error);
void rota_described_destroy (rota_described_t **self_p);

const char *rota_described_name (const rota_described_t *self);
/* NULL-terminated; placeholders unfilled. */
const char *const *rota_described_arguments (const rota_described_t *self);
const char *const *rota_described_resume (const rota_described_t *self);
const char *const *rota_described_environment (const rota_described_t *self);
const char *const *rota_described_set (const rota_described_t *self);
rota_prompt_way_t rota_described_prompt (const rota_described_t *self);
int rota_described_stop_signal (const rota_described_t *self);
const char *rota_described_version (const rota_described_t *self); /* "" = any */
bool rota_described_says_success (const rota_described_t *self);   /* it has a pattern for it */

/* A reader (reading.h) whose reading->description is the description. */
rota_reader_t rota_read_described;

#endif
