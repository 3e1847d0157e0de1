#include "bus/guess.h"

#include <stdio.h>

void rota_guess_start (rota_guess_t *self, const char *name, size_t length)
{
    *self = (rota_guess_t){.name = name, .length = length};
    /* One slip in a short name, up to three in a long one. */
    self->distance = length < 4 ? 2 : length < 8 ? 3 : 4;
    if (length > ROTA_ID_MAX_BYTES)
        self->distance = 0;
}

/* Levenshtein's distance with one row; gives up at `limit`. */
static size_t distance_between (const char *a, size_t a_length, const char *b, size_t b_length, size_t limit)
{
    size_t row[ROTA_ID_MAX_BYTES + 1];
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0], lowest = row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = best < change ? best : change;
            lowest = row[j] < lowest ? row[j] : lowest;
        }
        if (lowest >= limit)
            return limit;
    }
    return row[b_length];
}

void rota_guess_offer (rota_guess_t *self, const char *candidate, size_t length)
{
    size_t apart = length > self->length ? length - self->length : self->length - length;
    if (apart >= self->distance || length > ROTA_ID_MAX_BYTES)
        return;
    size_t distance = distance_between (self->name, self->length, candidate, length, self->distance);
    if (distance >= self->distance || distance >= self->length)
        return;
    self->distance = distance;
    self->best = candidate;
}

const char *rota_guess_end (rota_guess_t *self)
{
    if (!self->best)
        return "";
    snprintf (self->text, sizeof self->text, "; did you mean %s?", self->best);
    return self->text;
}
