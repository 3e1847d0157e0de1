/* services.h - the processes under a supervisor: how each is started, logged, started again and ended.
 *
 * Owner thread: the supervisor's. Invariant: pid > 0 exactly while a started process has not been reaped.
 */
#ifndef ROTA_SERVICES_H
#define ROTA_SERVICES_H

#include "cli/supervisor.h"

#include <stdbool.h>
#include <stdint.h>

#define ROTA_SERVICES_MAX 40
#define ROTA_SERVICE_ARGUMENTS 16
#define ROTA_SERVICE_LOG_MAX_BYTES (10 << 20)

/* The order in which they end; they start in the opposite one. */
typedef enum {
    ROTA_STAGE_AGENTS,
    ROTA_STAGE_SCHEDULER,
    ROTA_STAGE_TELEMETRY,
    ROTA_STAGE_BROKER,
    ROTA_STAGES
} rota_stage_t;

typedef struct {
    char name[64]; /* "scheduler", "agent exec" */
    rota_stage_t stage;
    char *arguments[ROTA_SERVICE_ARGUMENTS]; /* NULL-terminated; [0] is the program's path */
    char *log_path;
    pid_t pid;
    int64_t started_ms; /* monotonic */
    int64_t next_ms;    /* when to start it, while it doesn't run */
    int backoff_ms;     /* the wait after the next end */
    unsigned failures;  /* ends in a row, each soon after the start */
    bool removed;       /* when it has ended it isn't started again */
} rota_service_t;

typedef struct {
    rota_service_t list[ROTA_SERVICES_MAX];
    size_t count;
} rota_service_list_t;

/* Fills the list from the configuration. 0, -EINVAL, -ENOMEM. */
int rota_services_plan (const rota_supervisor_t *config, rota_service_list_t *ret_list, rota_error_t *error);
/* One more agent, "KIND[/ACCOUNT][=N]". 0, -EINVAL, -E2BIG, -ENOMEM. */
int rota_services_add_agent (const rota_supervisor_t *config, rota_service_list_t *list, const char *text,
                             rota_error_t *error);
/* NULL: there is none of that name. */
rota_service_t *rota_services_agent (rota_service_list_t *list, const char *name);
void rota_services_forget (rota_service_list_t *list);

/* 0, or a negative errno with the text; next_ms is set then. */
int rota_service_start (rota_service_t *self, int64_t now_ms, rota_error_t *error);
/* It has been reaped with `status` of waitpid; writes what happened as a sentence ("the scheduler was killed
 * by signal 9; ...") and plans the next start. */
void rota_service_ended (rota_service_t *self, int status, int64_t now_ms, rota_error_t *ret_sentence);

/* Moves a log that is over its limit to NAME.log.1 and empties it. */
void rota_service_trim_log (const rota_service_t *self);

#endif
