/* guess.h - "did you mean X?": the nearest of some names to one that does not exist.
 *
 *     rota_guess_t guess;
 *     rota_guess_start (&guess, name, strlen (name));
 *     for (...)
 *         rota_guess_offer (&guess, candidate, strlen (candidate));
 *     ... "unknown key %s%s", name, rota_guess_end (&guess)
 */
#ifndef ROTA_GUESS_H
#define ROTA_GUESS_H

#include "bus/names.h"

typedef struct {
    const char *name;
    size_t length, distance;
    const char *best; /* borrowed */
    char text[ROTA_ID_MAX_BYTES + 32];
} rota_guess_t;

void rota_guess_start (rota_guess_t *self, const char *name, size_t length);
void rota_guess_offer (rota_guess_t *self, const char *candidate, size_t length);
/* "; did you mean X?", or "" when nothing is near enough. Valid as long as the guess and the candidates. */
const char *rota_guess_end (rota_guess_t *self);

#endif
