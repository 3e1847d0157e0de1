/* scan.h - reading a journal file again: how much of it is whole, and how far it goes.
 *
 * A line is whole when it ends in a newline, begins and ends as an object, and holds no NUL (which a crash of
 * the machine can leave where data never reached the disk). Works on plain and compressed files, in constant
 * memory whatever the length of a line.
 */
#ifndef ROTA_SCAN_H
#define ROTA_SCAN_H

#include "telemetry/cursor.h"

typedef struct {
    int64_t whole_bytes; /* from the start of the file to the end of the last line taken, uncompressed */
    int64_t rest_bytes;  /* what follows that line */
    uint64_t records;    /* events and gaps among the lines read */
    uint64_t last;       /* the highest event number they cover, 0 = none */
    bool has_store;      /* the file's first line was read and names one */
    uint8_t store[ROTA_INSTANCE_BYTES];
} rota_scan_t;

/* Reads from `from_bytes` on, which is the start of a line. `strict`: stops at the first line that is not
 * whole, as what was never synced must be read; else goes on behind it, where only the file's very end may be
 * torn and anything else odd is some person's. 0; -EBADMSG: compressed data that can't be read to its end
 * (*ret_scan holds what came before); -ENOMEM; else what the kernel says. */
int rota_scan (int directory, const char *name, int64_t from_bytes, bool strict, rota_scan_t *ret_scan);

#endif
