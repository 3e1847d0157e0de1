/* supervisor.h - keeps the services of one state directory running, and ends them in order.
 *
 * A process of its own (`rota supervise`, started by run, up and short queries) and the parent of broker,
 * scheduler, telemetry and agents. It is a subreaper: what a crashed service leaves behind becomes its child,
 * and at the end no process of the tree is left. A service that ends is started again after 100 ms, doubling
 * to 5 s while it keeps failing.
 *
 * With ROTA_SERVICES_RUN the agents wait for a byte on standard input, so that nothing is worked before the
 * roadmap has been imported and the user has been told what will happen.
 *
 * It ends at SIGTERM, SIGINT or at the end of file of its standard input (its user is gone); a second signal
 * shortens every wait. Order: agents (they end what runs and hand their results in), scheduler, telemetry,
 * broker; each gets SIGTERM, a bounded time, then SIGKILL.
 *
 * Owner thread: the only one of that process. What it has to say goes as lines to standard output: the first
 * character is ROTA_WORD_NOTE or ROTA_WORD_FAULT (a service doesn't come up).
 */
#ifndef ROTA_SUPERVISOR_H
#define ROTA_SUPERVISOR_H

#include "bus/error.h"
#include "cli/state.h"

#include <stddef.h>

#define ROTA_WORD_NOTE '-'
#define ROTA_WORD_FAULT '!'
#define ROTA_SUPERVISOR_BUSY 75 /* exit code: another one holds the state directory */

typedef struct {
    const char *state; /* absolute path of the state directory, which exists */
    rota_services_t services;
    const char *const *agents; /* "exec", "exec=4", "claude/work=2"; checked before by rota_agent_parse */
    size_t agent_count;        /* 0 = one exec with a slot a processor; none with ROTA_SERVICES_HOLD */
    const char *exec;          /* command for tasks without one, or NULL */
    bool trust;                /* agent programs may do what they like */
} rota_supervisor_t;

/* What is wished of a running supervisor: a line each, "+KIND[/ACCOUNT][=N]" or "-NAME", appended to this
 * file of the state directory, and SIGUSR1. */
#define ROTA_SUPERVISOR_WISHES "run/agents.wishes"

/* Runs to the end; an exit code. */
int rota_supervisor_run (const rota_supervisor_t *config);

#define ROTA_AGENT_KIND_MAX_BYTES 32
#define ROTA_AGENT_ACCOUNT_MAX_BYTES 64
#define ROTA_AGENT_SLOTS_MAX 1024
typedef struct {
    char kind[ROTA_AGENT_KIND_MAX_BYTES];
    char account[ROTA_AGENT_ACCOUNT_MAX_BYTES]; /* "" = the default one */
    unsigned slots;                             /* as given, else what suits the kind */
} rota_agent_option_t;
/* "KIND[/ACCOUNT][=N]" of --agent: 0, or -EINVAL with the reason. */
/* The words of all kinds. */
const char *const *rota_agent_kinds (size_t *ret_count);
int rota_agent_parse (const char *text, rota_agent_option_t *ret_agent, rota_error_t *error);

/* The path of a program that belongs to rota ("rota-broker"): in $ROTA_LIBEXEC, else beside this one. A
 * malloc'ed string, NULL on no memory. */
char *rota_program_path (const char *name);

#endif
