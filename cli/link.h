/* link.h - the way from a verb to the services: found, or started for as long as they are needed.
 *
 * With --broker the services are elsewhere and only asked. Otherwise those of the state directory are used;
 * where none run, a supervisor is started that ends with this process: with agents for `run`, without any
 * (and with dispatch off) for a verb that only wants an answer.
 *
 * Owner thread: the one that opened it.
 */
#ifndef ROTA_LINK_H
#define ROTA_LINK_H

#include "bus/client.h"
#include "cli/cli.h"
#include "cli/state.h"

#include <signal.h>

#define ROTA_CALL_MS 30000
#define ROTA_CALL_LONG_MS 600000 /* imports, backups, checks: the store may be large */

typedef struct {
    rota_services_t services; /* what to start where nothing runs; HOLD is also satisfied by what works */
    bool make;                /* make the state directory if there is none */
    const char *const *agents;
    size_t agent_count;
    const char *exec;
    bool trust;
    const volatile sig_atomic_t *stop; /* give up when it becomes true; may be NULL */
} rota_link_want_t;

typedef struct {
    const rota_cli_t *cli;
    char *state; /* NULL with --broker */
    char *endpoints;
    rota_client_t *client;
    bool started;     /* the services are ours and end with us */
    pid_t supervisor; /* ours, 0 = none */
    int keep_fd;      /* closing it ends the supervisor; -1 = none */
    int words_fd;     /* what the supervisor has to say; -1 = none */
    char words[1024]; /* the beginning of a line */
    size_t words_size;
} rota_link_t;

/* ROTA_EXIT_DONE and *ret_link, or another exit code after a message. */
int rota_link_open (const rota_cli_t *cli, const rota_link_want_t *want, rota_link_t *ret_link);
/* For verbs that ask and change: want = {ROTA_SERVICES_HOLD}. */
int rota_link_open_any (const rota_cli_t *cli, rota_link_t *ret_link);
/* Ends what was started and waits for its end (bounded by the supervisor's own bounds). */
void rota_link_close (rota_link_t *self);

/* Lets the agents of services that were started for a run begin; does nothing for those of others. */
void rota_link_go (rota_link_t *self);

/* Whether the services that others had started, and that were used here, have ended. */
bool rota_link_gone (const rota_link_t *self);
/* The same of those that answer no more: waits until their supervisor, which ends after them, has ended too
 * or has started them again, so that a link can be opened anew. */
bool rota_link_has_ended (const rota_link_t *self, const rota_link_want_t *want);

/* The next line that the supervisor has said, without its first character, which is in *ret_word. False when
 * there is none now. `ret_line` holds sizeof self->words bytes. */
bool rota_link_word (rota_link_t *self, char *ret_word, char *ret_line);

/* Request and answer; a failure is printed and given as an exit code. The reply is borrowed until the next
 * call. */
int rota_link_call (rota_link_t *self, uint32_t type, const ProtobufCMessage *request, int timeout_ms,
                    uint32_t reply_type, void *ret_reply);
/* The exit code and the message for a failed call, for callers of rota_client_call. */
int rota_link_refusal (rota_link_t *self, int status, const rota_error_t *error);

/* ---- parts that `up`, `down` and the supervisor use */

/* The endpoint for clients of a state directory, malloc'ed. */
int rota_link_endpoint (const char *state, char **ret_endpoint, rota_error_t *error);
/* Whether somebody listens there (ipc only), and who (may be NULL; 0 = unknown). */
bool rota_link_probe (const char *endpoint, pid_t *ret_pid);
/* The state directory of --state or the search. ROTA_EXIT_DONE, or another code after a message; `make` as
 * above. */
int rota_link_state (const rota_cli_t *cli, bool make, char **ret_state);

#endif
