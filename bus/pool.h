/* pool.h - memory that is handed out piece by piece and freed as a whole: for parsed documents.
 *
 * Unlike the arena of proto/envelope.h it has no cap (its users bound their input) and packs texts without
 * padding, which is half of a roadmap's memory. Owner: one thread at a time.
 */
#ifndef ROTA_POOL_H
#define ROTA_POOL_H

#include <stdarg.h>
#include <stddef.h>

typedef struct rota_pool rota_pool_t;

/* NULL when memory ran out, here and in all that follows. */
rota_pool_t *rota_pool_new (void);
void rota_pool_destroy (rota_pool_t **self_p);

/* Zeroed, aligned for anything; for size 0 a valid pointer. */
void *rota_pool_alloc (rota_pool_t *self, size_t size_bytes);
/* A copy with a terminating NUL. */
char *rota_pool_text (rota_pool_t *self, const char *text, size_t length);
__attribute__ ((format (printf, 2, 0))) char *rota_pool_vformat (rota_pool_t *self, const char *format,
                                                                 va_list args);
__attribute__ ((format (printf, 2, 3))) char *rota_pool_format (rota_pool_t *self, const char *format, ...);

/* What it holds, blocks whole. */
size_t rota_pool_size_bytes (const rota_pool_t *self);

#endif
