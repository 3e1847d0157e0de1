/* spawner_process.h - the inside of the spawner's process; see spawner.h. */
#ifndef ROTA_SPAWNER_PROCESS_H
#define ROTA_SPAWNER_PROCESS_H

#include <stdint.h>

/* From the host, with descriptors: launch 0 = one to keep; else the control socket and the packed attempt. */
typedef struct {
    uint64_t launch;
} rota_spawner_request_t;

_Noreturn void rota_spawner_process (int socket);

#endif
