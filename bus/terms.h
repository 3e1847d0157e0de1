/* terms.h - the words of a text by which other texts about the same thing are found.
 *
 * A term is a run of ASCII letters, digits and "_" of at least three characters, in lower case; what is
 * common in English or in every task ("the", "make", "test", "file") is none. Other scripts have no terms
 * here: they are found by what they are linked to.
 */
#ifndef ROTA_TERMS_H
#define ROTA_TERMS_H

#include <stdbool.h>
#include <stddef.h>

#define ROTA_TERM_BYTES 32 /* longer ones are left out */

typedef char rota_term_t[ROTA_TERM_BYTES];

/* Adds the terms of `text` that are not among the `count` of `terms` yet, in order, at most `capacity` in
 * all. Returns the new count. */
size_t rota_terms_add (rota_term_t *terms, size_t count, size_t capacity, const char *text, size_t length);
/* How many of the terms are in the text, as words. */
size_t rota_terms_shared (const rota_term_t *terms, size_t count, const char *text, size_t length);
/* Longest first: longer words are rarer. Terms of one length stay in their order. */
void rota_terms_sort (rota_term_t *terms, size_t count);

#endif
