/* command.h - starts an attempt's command: its session, group, descriptors, directory, environment. */
#ifndef ROTA_COMMAND_H
#define ROTA_COMMAND_H

#include "agents/attempt.h"
#include "agents/cgroup.h"

#include <stddef.h>
#include <sys/types.h>

typedef struct {
    pid_t pid;
    int output_fd; /* what it writes to standard output, and to standard error unless that is apart;
                      non-blocking */
    int error_fd;  /* standard error, apart; -1 = not */
    int tell_fd;   /* to a steerable one, non-blocking; -1 = it is not */
    int report_fd; /* end of file: the command runs; else a rota_command_failure_t can be read from it */
} rota_command_t;

typedef struct {
    int stage, error;
} rota_command_failure_t;

/* 0, or a negative errno: no pipe, no process. What fails later comes over report_fd. */
int rota_command_start (const rota_attempt_t *attempt, const rota_cgroup_t *group,
                        rota_command_t *ret_command);

/* What failed, as a sentence. */
void rota_command_explain (const rota_attempt_t *attempt, const rota_command_failure_t *failure,
                           char *ret_text, size_t capacity);

#endif
