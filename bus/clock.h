/* clock.h - the three clocks that rota uses, in int64 milliseconds.
 *
 * Monotonic for durations inside one process, boot time where a suspended machine must count (leases, the
 * shim's deadlines), wall clock only to store and to show.
 */
#ifndef ROTA_CLOCK_H
#define ROTA_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t rota_clock_monotonic_ms (void);
int64_t rota_clock_boot_ms (void);
int64_t rota_clock_wall_ms (void);

/* What is old is decided by the wall clock, but not by a later time than what has passed by the boot clock
 * since both were read: one that jumps ahead in a running service makes nothing old, one that jumps back
 * makes old later. */
typedef struct {
    int64_t wall_ms, boot_ms;
} rota_clock_anchor_t;

rota_clock_anchor_t rota_clock_anchor (void);
int64_t rota_clock_retention_ms (const rota_clock_anchor_t *anchor);
/* The decision itself. */
int64_t rota_clock_bounded_ms (const rota_clock_anchor_t *anchor, int64_t wall_ms, int64_t boot_ms);

/* "2026-11-23T12:50:52.123Z"; 25 bytes with the end. Out of range (year over 9999 or below 0): "-". */
#define ROTA_CLOCK_ISO_BYTES 32
void rota_clock_iso (int64_t wall_ms, char ret_text[ROTA_CLOCK_ISO_BYTES]);

/* For people: "0.4 s", "12 s", "3 min 5 s", "2 h 10 min", "4 d 3 h". */
#define ROTA_CLOCK_DURATION_BYTES 32
void rota_clock_duration (int64_t duration_ms, char ret_text[ROTA_CLOCK_DURATION_BYTES]);

#endif
