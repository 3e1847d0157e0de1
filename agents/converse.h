/* converse.h - the program between a shim and an agent that must be talked to: `rota-agent --converse
 * PROTOCOL [OPTION...] -- PROGRAM [ARGUMENT...]`, the prompt on its standard input.
 *
 * It starts PROGRAM, leads one turn of the conversation over its standard input and output, and prints each
 * message that it receives as a line: the readers of reading.h take it from there. It ends PROGRAM by closing
 * its input, and with signals when that isn't enough; what PROGRAM leaves behind is the shim's.
 *
 *   acp            the Agent Client Protocol, version 1 or 2
 *   claude-stream  `claude -p --input-format stream-json`
 *   codex-rpc      `codex app-server`
 *
 * With --tell a person may have a word with the agent while it works (attempt.h, ROTA_TELL_FD): it is put to
 * the agent in the protocol's way, and a line {"rota":{"told":TEXT}} says so, or
 * {"rota":{"untold":TEXT,"why":...}} that it could not be.
 *
 * Exit status: 0 the agent brought its turn to an end; 1 it didn't; 2 wrong usage; 143 it was told to stop.
 */
#ifndef ROTA_CONVERSE_H
#define ROTA_CONVERSE_H

#include "bus/error.h"
#include "bus/pool.h"

#include <signal.h>
#include <stdbool.h>

#define ROTA_CONVERSE_OPTION "--converse"

/* A shim signals its whole tree. This one is ignored by every process that doesn't ask for it, so that the
 * agent lives to hear that its turn is cancelled. SIGTERM and SIGINT do the same here. */
#define ROTA_CONVERSE_STOP_SIGNAL SIGURG

typedef struct {
    const char *protocol;
    const char *session;      /* to go on with; NULL = a new one */
    const char *mode;         /* of the session; NULL = the agent's own choice. acp only, as the next one */
    int version;              /* of the protocol, the highest to agree on; acp only */
    const char *authenticate; /* a method of the agent's to log in with before; NULL = none */
    bool trust;               /* whatever it asks for is allowed */
    bool tell;                /* what a person has to say meanwhile comes over ROTA_TELL_FD */
    const char *tools;        /* the program of rota_tools_for_acp; NULL = none. acp only */
    char *const *program;     /* NULL-terminated */
} rota_converse_options_t;

/* The command for the shim, from `pool`. 0; -ENOMEM; another when this program can't be found, with the text.
 */
int rota_converse_arguments (const rota_converse_options_t *options, rota_pool_t *pool, char ***ret_argv,
                             rota_error_t *error);

/* The program itself, with what follows ROTA_CONVERSE_OPTION. Returns the status to exit with. */
int rota_converse (int argc, char **argv);

#endif
