/* strangers.h - connections that were accepted and never got as far as showing a key: who scans the port, who
 * speaks something else there, who leaves half-open connections lying about.
 *
 * ZeroMQ ends them by itself and tells of none; this book compares, by address, how many connections were
 * accepted with how many asked for admission, and says once a minute for each address what is left over. The
 * book is bounded; the oldest address makes place for a new one.
 *
 * Pure bookkeeping; the time is passed in. Owner: the broker's thread.
 */
#ifndef ROTA_BROKER_STRANGERS_H
#define ROTA_BROKER_STRANGERS_H

#include <stddef.h>
#include <stdint.h>

#define ROTA_STRANGERS_ADDRESS_BYTES 64

typedef struct rota_strangers rota_strangers_t;

/* A connection has asked for admission after `window_ms` or never. NULL when memory ran out. */
rota_strangers_t *rota_strangers_new (size_t max_addresses, int64_t window_ms);
void rota_strangers_destroy (rota_strangers_t **self_p);

void rota_strangers_accepted (rota_strangers_t *self, const char *address, int64_t now_ms);
void rota_strangers_asked (rota_strangers_t *self, const char *address);

/* The next address of which there is something to say, and how many connections since that was last done;
 * NULL when there is none now. Valid until the next call. */
const char *rota_strangers_next (rota_strangers_t *self, int64_t now_ms, uint64_t *ret_connections);

#endif
