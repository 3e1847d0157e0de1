/* child.h - a child process, run to its end: what it prints is taken or passed on, time and the wish to stop
 * are watched meanwhile.
 *
 * A shim that ends an attempt signals all of its tree, so each kind of child hears that differently: git of
 * ours not at all (it would leave locks behind), a program as ever, bubblewrap not itself but what it runs.
 *
 * Owner: the one thread of the process, which becomes the subreaper of all that it starts: what a child
 * leaves behind is found and ended by rota_child_sweep.
 */
#ifndef ROTA_CHILD_H
#define ROTA_CHILD_H

#include "bus/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROTA_CHILD_WORDS_BYTES 2048

/* Whether this process was told to stop: SIGTERM, SIGINT, SIGHUP or ROTA_CONVERSE_STOP_SIGNAL. */
typedef struct {
    int fd;
    bool wanted;
} rota_stop_t;

typedef enum {
    ROTA_CHILD_SHELTERED, /* those signals wait until it has ended */
    ROTA_CHILD_EXPOSED,   /* they do what they always do */
    ROTA_CHILD_DEAF,      /* they are ignored, also by what it runs, unless that sets them back */
} rota_child_signals_t;

typedef void (*rota_child_take_t) (void *context, const char *bytes, size_t size_bytes);

typedef struct {
    char *const *argv;
    char *const *environment;
    const char *directory; /* NULL = ours */
    rota_child_signals_t signals;
    int input_fd; /* stays the caller's; -1 = nothing to read */
    int held_fd;  /* inherited beside the three, for a lock that lasts as long as the child; -1 = none */
    rota_child_take_t take; /* standard output, with `both` standard error too; NULL = both are ours */
    void *context;
    bool both;
    bool own_group;
    int64_t timeout_ms;       /* then all of it is killed; 0 = none */
    rota_stop_t *stop;        /* NULL = it isn't to be stopped */
    int64_t stop_patience_ms; /* between the wish and SIGTERM to all of it, four times that until SIGKILL; 0 =
                                 at once */
} rota_child_t;

typedef struct {
    int wait_status; /* see waitpid */
    bool timed_out, stopped;
    int64_t took_ms;
    char words[ROTA_CHILD_WORDS_BYTES]; /* the end of its standard error, if that was not ours or taken */
} rota_child_end_t;

/* Once, before the others. 0 or a negative errno. */
int rota_child_setup (rota_stop_t *ret_stop, rota_error_t *error);
/* Takes note of signals that came; true once it is to stop. */
bool rota_stop_look (rota_stop_t *stop);

/* 0 when it ran, whatever came of it; a negative errno when it couldn't be started. */
int rota_child_run (const rota_child_t *child, rota_child_end_t *ret_end, rota_error_t *error);
/* 128 + N for signal N, as a shell has it. */
int rota_child_status (const rota_child_end_t *end);

/* Ends whatever is below this process. -EBUSY when something lives on. */
int rota_child_sweep (void);

/* A rota_child_take_t that collects, `context` a rota_bytes_t. Always ended by a NUL beyond `size_bytes`. */
typedef struct {
    char *bytes;
    size_t size_bytes, capacity, max_bytes;
    bool cut; /* there was more than max_bytes, or no memory */
} rota_bytes_t;
void rota_bytes_take (void *context, const char *bytes, size_t size_bytes);
void rota_bytes_clear (rota_bytes_t *self);

#endif
