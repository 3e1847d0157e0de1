/* fence_word.h - a word that stands for the edges of a text from outside within a prompt: random, and not in
 * the text, so that no line of it can be taken for an edge.
 */
#ifndef ROTA_FENCE_WORD_H
#define ROTA_FENCE_WORD_H

#include <stddef.h>

#define ROTA_FENCE_BYTES 33

void rota_fence_word (const char *text, size_t size_bytes, char ret_word[ROTA_FENCE_BYTES]);

#endif
