/* compress.h - a closed journal file becomes a .gz, a piece at a time.
 *
 * Incremental and not in a thread: a step deflates ROTA_COMPRESS_STEP_BYTES (a few milliseconds), so the loop
 * stays responsive, nothing is shared, faults can be injected step by step, and a sink that must end just
 * drops the job. Order: NAME.gz.tmp, fsync, rename, fsync of the directory, then the plain file goes;
 * whatever a crash leaves, rota_journal_open finishes or removes.
 *
 * Owner: the journal's thread.
 */
#ifndef ROTA_COMPRESS_H
#define ROTA_COMPRESS_H

#include "telemetry/files.h"

#define ROTA_COMPRESS_STEP_BYTES (256 * 1024)

typedef struct rota_compress rota_compress_t;

/* `ops` and `directory` must outlive the job. 0 and *ret_job; -ENOMEM, or what the kernel says. */
int rota_compress_new (const rota_file_ops_t *ops, int directory, const char *name,
                       rota_compress_t **ret_job);
/* Drops what is unfinished. */
void rota_compress_destroy (rota_compress_t **self_p);

/* 1 there is more to do; 0 done; a negative errno: given up, destroy it and try later. */
int rota_compress_step (rota_compress_t *self);

const char *rota_compress_name (const rota_compress_t *self); /* the plain file's */

/* Whether NAME.gz is the plain file NAME, whole: by the length in its trailer. */
bool rota_compress_is_complete (int directory, const rota_journal_file_t *plain,
                                const rota_journal_file_t *compressed);

#endif
