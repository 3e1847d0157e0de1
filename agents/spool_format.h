/* spool_format.h - between spool.c (files) and spool_format.c (bytes). */
#ifndef ROTA_SPOOL_FORMAT_H
#define ROTA_SPOOL_FORMAT_H

#include "agents/spool.h"

#define ROTA_SPOOL_OUTCOME_OFFSET (ROTA_SPOOL_FILE_BYTES / 2)

/* Writes the first half; the rest is left as it is. */
void rota_spool_encode_running (const rota_spool_running_t *running,
                                uint8_t ret_bytes[ROTA_SPOOL_FILE_BYTES]);

#endif
