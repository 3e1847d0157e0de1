/* host.h - the agent host as a service object: takes assignments, runs them, reports what came of them.
 *
 *     rota_spawner_t *spawner = rota_spawner_start (&error);      before there is any thread
 *     rota_agent_t *agent = rota_agent_new (&config, NULL, &error);
 *     rota_agent_run (agent);      until rota_agent_stop, from another thread or a signal handler
 *     rota_agent_destroy (&agent);
 *
 * Before it says what it holds, it ends or adopts what an earlier host of the same name left; until then and
 * while no scheduler answers it takes nothing. Truth about a finished attempt lies in the spool until the
 * scheduler has acknowledged it. Nothing here waits in a call: all is one loop.
 *
 * Owner: the thread that calls new, run and destroy; only stop may come from elsewhere.
 */
#ifndef ROTA_HOST_H
#define ROTA_HOST_H

#include "agents/spawner.h"
#include "bus/curve.h"
#include "bus/error.h"
#include "bus/ready.h"
#include "bus/settings.h"

#include <stddef.h>

#define ROTA_AGENT_SLOTS_LIMIT 10000

typedef struct rota_agent rota_agent_t;

/* Texts are copied; settings and spawner must outlive the agent. */
typedef struct {
    const char *state_dir; /* which exists */
    const char *kind;
    const char *name;      /* NULL = KIND@HOST; unique in the system */
    const char *endpoints; /* of brokers, comma-separated; NULL = the state directory's */
    rota_curve_t curve;    /* for brokers on tcp */
    unsigned slots;
    const char *exec_command;       /* for tasks without a command, or NULL */
    const char *account;            /* NULL = "default" */
    const char *login;              /* directory of the program's login; NULL = its usual one */
    const char *const *credentials; /* variables for the program, "NAME" or "NAME=SOURCE"; NULL = its usual
                                       ones; borrowed */
    bool trust;                     /* the program may do what it likes */
    const rota_settings_t *settings;
    rota_spawner_t *spawner;
    rota_ready_t *ready; /* must outlive it; NULL = nobody listens */
} rota_agent_config_t;

/* NULL with the reason: *ret_status is -EINVAL for the configuration, else what the system says. */
rota_agent_t *rota_agent_new (const rota_agent_config_t *config, int *ret_status, rota_error_t *error);
void rota_agent_destroy (rota_agent_t **self_p);

/* Until stopped. 0; -EPIPE when the spawner has died, against which only a new start helps. */
int rota_agent_run (rota_agent_t *self);

/* The first time: take no more, end what runs, hand results in, return. The second: end it at once. Any
 * thread, also a signal handler. */
void rota_agent_stop (rota_agent_t *self);

/* For tests and status; the agent's own thread, or after run. */
typedef struct {
    size_t running; /* attempts, those of earlier hosts too */
    size_t unacknowledged;
    uint64_t accepted, finished;
    bool registered;
} rota_agent_counts_t;
void rota_agent_counts (const rota_agent_t *self, rota_agent_counts_t *ret_counts);

#endif
