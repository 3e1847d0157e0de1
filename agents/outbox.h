/* outbox.h - what an agent writes down for others: lines of JSON in the file that ROTA_OUTBOX names.
 *
 *   {"type": "decision", "topic": "storage", "text": "SQLite, one writer.", "confidence": 0.8, "tasks":
 * ["api"]}
 *
 * type     decision, constraint, learning; question: the task waits until a person has answered
 * topic    one line, at most 200 bytes; may be absent
 * text     at most 2000 bytes; longer ones are cut
 * confidence, tasks (ids that it is about)   may be absent
 *
 * The first 100 lines of the first 256 KiB are read, and of them 32 KiB of texts; what can't be read, or is
 * too much, is counted. The file is written by who isn't trusted: it is opened without following links, and
 * only if it is a file.
 *
 * Owner: the host's thread; reading keeps nothing.
 */
#ifndef ROTA_OUTBOX_H
#define ROTA_OUTBOX_H

#include "proto/envelope.h"

#include <stdbool.h>
#include <stddef.h>

#define ROTA_OUTBOX_VARIABLE "ROTA_OUTBOX"
#define ROTA_CONTEXT_VARIABLE "ROTA_CONTEXT" /* the file with the text of told.h */
#define ROTA_OUTBOX_NOTES_MAX 100
#define ROTA_OUTBOX_MAX_BYTES ((size_t)256 << 10)
#define ROTA_OUTBOX_KEPT_BYTES ((size_t)32 << 10)
#define ROTA_OUTBOX_TOPIC_BYTES 200
#define ROTA_OUTBOX_TEXT_BYTES 2000
#define ROTA_OUTBOX_TASKS_MAX 20

typedef struct {
    Rota__Note **notes; /* from the arena */
    size_t count;
    uint32_t bad; /* lines that could not be read, or were too many */
} rota_outbox_t;

/* The notes in `bytes`; what is in them lives as long as the arena. */
void rota_outbox_read (const char *bytes, size_t size_bytes, rota_arena_t *arena, rota_outbox_t *ret_outbox);

/* Of the attempt with the log at `log_path`; empty when it wrote nothing. */
void rota_outbox_load (const char *log_path, rota_arena_t *arena, rota_outbox_t *ret_outbox);

/* The last question, or NULL. */
const Rota__Note *rota_outbox_question (const rota_outbox_t *outbox);

#endif
