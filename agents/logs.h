/* logs.h - where the output of attempts lies: STATE/logs/<encoded task id>/<attempt>. */
#ifndef ROTA_LOGS_H
#define ROTA_LOGS_H

#include "bus/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROTA_LOGS_PATH_BYTES 3800

/* 0, or -ENAMETOOLONG. */
int rota_logs_path (const char *state_dir, const char *task, size_t task_length, uint32_t attempt,
                    char ret_path[ROTA_LOGS_PATH_BYTES]);
/* The directories of a path. */
int rota_logs_prepare (const char *path, rota_error_t *error);
/* The highest attempt of the task with output here; 0 = none. */
uint32_t rota_logs_newest (const char *state_dir, const char *task, size_t task_length);

/* Removes output that nobody has written to for `age_ms`, a part of it per call, so that no call takes long:
 * a walk through everything takes many. */
typedef struct rota_logs_walk rota_logs_walk_t;
/* NULL on no memory. */
rota_logs_walk_t *rota_logs_walk_new (const char *state_dir, int64_t age_ms);
void rota_logs_walk_destroy (rota_logs_walk_t **self_p);
/* False when the walk is through; the next call begins anew. */
bool rota_logs_walk_step (rota_logs_walk_t *self, int64_t now_wall_ms);

#endif
