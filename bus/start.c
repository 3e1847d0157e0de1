#include "bus/start.h"

#include <czmq.h>
#include <pthread.h>

static void start (void)
{
    zsys_handler_set (NULL);
    zsys_init ();
}

void rota_bus_start (void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once (&once, start);
}
