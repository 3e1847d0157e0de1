/* hook_command.h - one notification at a time to a program: its JSON on standard input.
 *
 * The program runs under a warden, a fork of this process: a subreaper that ends the whole tree when the
 * program has ended, when its time is up, or when the sink is gone. Exit code 0 takes the notification; any
 * other end is tried again. Standard output goes nowhere, standard error where the sink's goes.
 *
 * Owner: the loop's thread.
 */
#ifndef ROTA_HOOK_COMMAND_H
#define ROTA_HOOK_COMMAND_H

#include "telemetry/webhook.h"

typedef struct rota_hook_command rota_hook_command_t;

typedef struct {
    zloop_t *loop;
    const char *const *argv; /* NULL-terminated, borrowed */
    int64_t timeout_ms;
    void *owner;
    rota_hook_done_fn on_done;
} rota_hook_command_config_t;

rota_hook_command_t *rota_hook_command_new (const rota_hook_command_config_t *config); /* NULL on no memory */
/* Ends what runs; takes two seconds at most. */
void rota_hook_command_destroy (rota_hook_command_t **self_p);
/* Only when nothing runs (asserted). 0, or what the kernel says: then on_done doesn't come. */
int rota_hook_command_send (rota_hook_command_t *self, const char *body, size_t size_bytes);

#endif
