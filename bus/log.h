/* log.h - the services' log: one event a line on standard error, logfmt by default, JSON on request.
 *
 * Only services log; library code returns errors. The event's name comes first and is stable; fields follow
 * as pairs made by rota_log's variable part: key, format, value in one printf format, e.g.
 *
 *     rota_log (ROTA_LOG_INFO, "task.moved", "task=%s attempt=%u", id, attempt);
 *
 * Values from outside (ids, texts) go through rota_log_quote first. Thread-safe: a line is one write.
 */
#ifndef ROTA_LOG_H
#define ROTA_LOG_H

#include <stdbool.h>
#include <stddef.h>

typedef enum { ROTA_LOG_ERROR = 1, ROTA_LOG_WARNING, ROTA_LOG_INFO, ROTA_LOG_DEBUG } rota_log_level_t;
typedef enum { ROTA_LOG_LOGFMT, ROTA_LOG_JSON } rota_log_format_t;

/* `service` is kept, not copied. Call before the first line; the default is INFO, logfmt, "rota". */
void rota_log_setup (const char *service, rota_log_level_t level, rota_log_format_t format);

__attribute__ ((format (printf, 3, 4))) void rota_log (rota_log_level_t level, const char *event,
                                                       const char *format, ...);

/* At most once per `interval_ms` for each of a small fixed set of `key`s: what a peer can provoke at will
 * must not fill the disk. The number of lines left out is said with the next one. */
__attribute__ ((format (printf, 5, 6))) void rota_log_limited (rota_log_level_t level, const char *event,
                                                               const char *key, int interval_ms,
                                                               const char *format, ...);

/* `text` as one logfmt value: quoted and escaped when it holds blanks, quotes, "=", control or non-ASCII
 * bytes. Returns ret_text. */
const char *rota_log_quote (const char *text, size_t length, char *ret_text, size_t capacity);

#endif
