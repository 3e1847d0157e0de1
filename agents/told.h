/* told.h - what an agent is told beside its task: parts of many origins, fitted to a budget, as one text.
 *
 * Parts come from the scheduler (what the store knows) and from the repository (told_repository.h), each
 * gathered once. Fitting only chooses and cuts: it tries the steps of told.c from the fullest to the barest
 * and takes the first that fits. Order and choice depend on the parts alone.
 *
 * All of it but a few fixed sentences is text from outside: it stands between two lines with a word in them
 * that nobody could know before, each of its lines indented, without control characters.
 *
 * Owner: any one thread.
 */
#ifndef ROTA_TOLD_H
#define ROTA_TOLD_H

#include "bus/pool.h"
#include "proto/envelope.h"

#include <stdbool.h>

#define ROTA_TOLD_FENCE_BYTES 33
#define ROTA_TOLD_BYTES_A_TOKEN 4

typedef struct {
    const char *kind; /* as in told.c; others are passed over */
    const char *text;
    int score; /* among its kind, the highest first */
} rota_told_part_t;

typedef struct {
    rota_pool_t *pool;
    rota_told_part_t *parts;
    size_t count, capacity;
    bool failed;                   /* no memory for one */
    unsigned budget_used_permille; /* of what pays for the attempt: near its end less is told */
} rota_told_t;

typedef struct {
    size_t step;    /* 0 = all; see told.c */
    bool tightened; /* for the sake of what pays for it */
    size_t given;   /* parts in the text, */
    size_t known;   /* of so many */
    size_t tokens;  /* estimated */
} rota_told_report_t;

/* Adds a part, with what isn't fit for a prompt replaced. The same text of the same kind is there once. */
void rota_told_add (rota_told_t *self, const char *kind, int score, const char *text, size_t length);
void rota_told_add_all (rota_told_t *self, const Rota__Context *context);

/* The text, from the pool; "" when there is nothing to tell or no budget; NULL on no memory. `resumed`: it
 * goes on with a session that was told the rest. `fence` NULL: a new one. `ret_report` may be NULL. */
char *rota_told_render (const rota_told_t *self, size_t budget_tokens, bool resumed, const char *fence,
                        rota_told_report_t *ret_report);

/* How the agent writes down what others should know. */
extern const char ROTA_TOLD_OUTBOX[];

#endif
