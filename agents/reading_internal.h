/* reading_internal.h - what the readers share: a tolerant look at JSON, and one way to note what went wrong.
 *
 * A reader first decides by a look at the bytes whether a line can matter (rota_reading_peek, _has); only
 * then it is parsed. What is skipped so can only be missed, never be taken for a success.
 *
 * Owner: the thread that reads.
 */
#ifndef ROTA_READING_INTERNAL_H
#define ROTA_READING_INTERNAL_H

#include "agents/reading.h"
#include "proto/words.h"

#include <jansson.h>

#define ROTA_READING_WORD_BYTES 64

/* ------------------------------------------------------------------------------------------ JSON */

/* An object or array of one line, or NULL. Bytes that are no UTF-8, NUL, and halves of surrogate pairs,
 * which programs leave where they cut texts, don't lose the line. The caller owns it. */
json_t *rota_reading_parse (const char *line, size_t size_bytes);

/* Where the value under `key` begins in the object that begins at `object`, or NULL; a NULL object has none.
 * Looks at the bytes up to there alone: the rest may be anything. */
const char *rota_reading_find (const char *object, const char *end, const char *key);
/* The string at `at` as it is written there; false when there is none (`at` may be NULL) or it doesn't fit.
 */
bool rota_reading_word (const char *at, const char *end, char ret_word[ROTA_READING_WORD_BYTES]);
/* Both for the outermost object of a line. */
bool rota_reading_peek (const char *line, size_t size_bytes, const char *key,
                        char ret_word[ROTA_READING_WORD_BYTES]);
/* The string at `at`, read; NULL when there is none. The caller owns it. */
json_t *rota_reading_text (const char *at, const char *end);
bool rota_reading_has (const char *line, size_t size_bytes, const char *needle);

/* "" when it is absent or no string. A NULL object has nothing. */
const char *rota_reading_string (const json_t *object, const char *key);
/* NaN when it is absent or no number. */
double rota_reading_number (const json_t *object, const char *key);
/* Seconds since 1970 as Unix milliseconds, 0 when absent or not to be believed (as in reset_time.h). */
int64_t rota_reading_moment_ms (const rota_reading_t *reading, const json_t *object, const char *key);
/* The count under the first of two keys that is there (`other` may be NULL). */
rota_known_t rota_reading_count (const json_t *object, const char *key, const char *other);

/* Puts `text` behind the first `used` bytes of `to`, clean and cut between characters; the new length. */
size_t rota_reading_copy (char *to, size_t capacity, size_t used, const char *text, size_t size_bytes);

/* ------------------------------------------------------------------------------------------ notes */

typedef struct {
    const char *provider; /* for limits.h, or NULL */
    const char *codes[3]; /* the most precise first; NULL or "" = none */
    int status;           /* HTTP, 0 = not said */
    const char *text;     /* of the error; NULL = none */
    int64_t until_ms;     /* as a number, 0 = not said */
    bool may_pass;
} rota_reading_fault_t;

/* Notes what went wrong, unless better evidence is there already. */
void rota_reading_note (rota_reading_t *reading, const rota_reading_fault_t *fault);
/* A fault whose meaning is plain, with what to do about it. */
void rota_reading_fail (rota_reading_t *reading, Rota__ResultClass result_class, const char *text);
/* Another turn begins: how the one before ended no longer counts. */
void rota_reading_turn (rota_reading_t *reading);
/* The program got on: what may pass has passed. */
void rota_reading_progress (rota_reading_t *reading);
/* It said that its work ended well. */
void rota_reading_complete (rota_reading_t *reading);
/* The agent's words; kept where no error is. */
void rota_reading_say (rota_reading_t *reading, const char *text, size_t size_bytes);
/* A line of the program that is no event, as of its standard error: kept where no error is, and never taken
 * for the agent's words. */
void rota_reading_remark (rota_reading_t *reading, const char *text, size_t size_bytes);

#endif
