#include "agents/fence_word.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void rota_fence_word (const char *text, size_t size_bytes, char ret_word[ROTA_FENCE_BYTES])
{
    do {
        uint8_t bytes[16];
        if (getrandom (bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
            abort ();
        for (size_t i = 0; i < sizeof bytes; i++)
            snprintf (ret_word + 2 * i, 3, "%02x", bytes[i]);
    } while (size_bytes && memmem (text, size_bytes, ret_word, strlen (ret_word)));
}
