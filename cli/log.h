/* log.h - the end of what an attempt printed. Owner thread: the link's. */
#ifndef ROTA_CLI_LOG_H
#define ROTA_CLI_LOG_H

#include "cli/link.h"

typedef struct {
    char *bytes; /* malloc'ed */
    size_t size;
    uint32_t attempt;
    bool ended;
} rota_log_tail_t;

/* The last `lines` lines of attempt number `attempt` (0 = the newest), of them the last `most_bytes` (at most
 * 256 KiB). Exit code, after a message. */
int rota_log_tail (const rota_link_t *link, const char *id, uint32_t attempt, int64_t lines,
                   size_t most_bytes, rota_log_tail_t *ret_tail);

#endif
