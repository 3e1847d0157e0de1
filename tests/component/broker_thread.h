/* broker_thread.h - a broker in a thread of the test, over a state directory of its own in /tmp. */
#ifndef ROTA_TESTS_BROKER_THREAD_H
#define ROTA_TESTS_BROKER_THREAD_H

#include "broker/broker.h"
#include "bus/rundir.h"

#include <pthread.h>

typedef struct {
    char state_dir[64];
    rota_rundir_endpoints_t endpoints;
    rota_broker_t *broker;
    pthread_t thread;
    int result; /* of rota_broker_run, after stop */
} broker_thread_t;

/* Makes the state directory, fills it into `config` and starts. Ends the process if that fails. */
void broker_thread_open (broker_thread_t *self, rota_broker_config_t *config);
/* Stop and start again over the same state directory. */
void broker_thread_start (broker_thread_t *self, const rota_broker_config_t *config);
void broker_thread_stop (broker_thread_t *self);
/* Stops and removes the state directory. */
void broker_thread_close (broker_thread_t *self);

#endif
