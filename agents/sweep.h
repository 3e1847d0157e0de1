/* sweep.h - what an earlier host left running: found by the mark in each process's environment.
 *
 * The last resort, for when host, spawner and shim were all killed and no cgroup held their processes.
 */
#ifndef ROTA_SWEEP_H
#define ROTA_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROTA_SWEEP_MARK_BYTES 80

/* "OWNER-KEY-NUMBER": OWNER stands for the spool directory, which one host at a time has. */
void rota_sweep_mark (const char *spool_directory, uint64_t key, uint32_t number,
                      char ret_mark[ROTA_SWEEP_MARK_BYTES]);

/* SIGKILL to every process that carries a mark of this owner, unless `spared` says otherwise (NULL = spare
 * none). Returns how many were found: 0 = none is left. Only our own processes can be looked into. */
size_t rota_sweep (const char *spool_directory, bool (*spared) (void *context, uint64_t key, uint32_t number),
                   void *context);

#endif
