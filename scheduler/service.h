/* service.h - the scheduler as a service: the bus on one side, core and store on the other.
 *
 * One thread. What has queued is applied to the core, handed out, committed once, and only then answered
 * (group commit, design 3.1). Several may live in one process.
 */
#ifndef ROTA_SCHEDULER_H
#define ROTA_SCHEDULER_H

#include "bus/curve.h"
#include "bus/error.h"
#include "bus/ready.h"
#include "bus/settings.h"

#include <stdbool.h>

typedef struct rota_scheduler rota_scheduler_t;

typedef struct {
    const char *state_directory;     /* holds rota.db and scheduler.lock */
    const char *endpoints;           /* of brokers, comma-separated */
    rota_curve_t curve;              /* for brokers on tcp */
    bool hold;                       /* hand nothing out */
    bool stand_by;                   /* wait while another serves the directory; else that is an error */
    const rota_settings_t *settings; /* must outlive it */
    rota_ready_t *ready;             /* likewise; NULL = nobody listens */
} rota_scheduler_config_t;

/* Opens the store and rebuilds the core, unless it stands by. -EBUSY: another scheduler serves this
 * directory; else as rota_store_open. */
int rota_scheduler_new (const rota_scheduler_config_t *config, rota_scheduler_t **ret_self,
                        rota_error_t *error);
/* Stands by if need be, takes over when the other ends or hangs, and serves until rota_scheduler_stop. 0;
 * -ESTALE when another process took the role; -EIO when the store failed for good. */
int rota_scheduler_run (rota_scheduler_t *self, rota_error_t *error);
/* From any thread or signal handler. */
void rota_scheduler_stop (rota_scheduler_t *self);
void rota_scheduler_destroy (rota_scheduler_t **self_p);

#endif
