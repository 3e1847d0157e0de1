#include "tests/component/broker_thread.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *serve (void *argument)
{
    broker_thread_t *self = argument;
    self->result = rota_broker_run (self->broker);
    return NULL;
}

void broker_thread_start (broker_thread_t *self, const rota_broker_config_t *config)
{
    rota_error_t error = {.text = ""};
    self->broker = rota_broker_new (config, NULL, &error);
    if (!self->broker || pthread_create (&self->thread, NULL, serve, self) != 0) {
        fprintf (stderr, "broker_thread: %s\n", error.text);
        abort ();
    }
}

void broker_thread_open (broker_thread_t *self, rota_broker_config_t *config)
{
    memset (self, 0, sizeof *self);
    snprintf (self->state_dir, sizeof self->state_dir, "/tmp/rota-test-XXXXXX");
    if (!mkdtemp (self->state_dir))
        abort ();
    config->state_dir = self->state_dir;
    broker_thread_start (self, config);
    rota_rundir_endpoints (rota_broker_rundir (self->broker), &self->endpoints);
}

void broker_thread_stop (broker_thread_t *self)
{
    if (!self->broker)
        return;
    rota_broker_stop (self->broker);
    pthread_join (self->thread, NULL);
    rota_broker_destroy (&self->broker);
}

static int remove_entry (const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove (path);
}

void broker_thread_close (broker_thread_t *self)
{
    broker_thread_stop (self);
    nftw (self->state_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
