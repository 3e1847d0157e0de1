#include "bus/pool.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Small enough that an empty document costs little, large enough that malloc doesn't show. */
#define FIRST_BLOCK_BYTES (4u << 10)
#define BLOCK_BYTES (256u << 10)

typedef struct block {
    struct block *next;
    size_t used, capacity;
    alignas (max_align_t) char bytes[];
} block_t;

struct rota_pool {
    block_t *blocks; /* the first is the one in use */
    size_t size_bytes;
};

static block_t *add_block (rota_pool_t *self, size_t capacity)
{
    if (capacity > SIZE_MAX - sizeof (block_t))
        return NULL;
    block_t *block = malloc (sizeof *block + capacity);
    if (!block)
        return NULL;
    *block = (block_t){.capacity = capacity};
    self->size_bytes += sizeof *block + capacity;
    return block;
}

static void *take (rota_pool_t *self, size_t size, size_t alignment)
{
    block_t *head = self->blocks;
    if (head) {
        size_t start = (head->used + alignment - 1) & ~(alignment - 1);
        if (start <= head->capacity && size <= head->capacity - start) {
            head->used = start + size;
            return head->bytes + start;
        }
    }
    size_t usual = self->size_bytes ? BLOCK_BYTES : FIRST_BLOCK_BYTES;
    block_t *block = add_block (self, size > usual ? size : usual);
    if (!block)
        return NULL;
    block->used = size;
    if (head && size > usual / 4 && head->capacity - head->used > block->capacity - size) {
        /* A large piece gets a block of its own behind the one in use, whose rest is still good. */
        block->next = head->next;
        head->next = block;
    } else {
        block->next = head;
        self->blocks = block;
    }
    return block->bytes;
}

rota_pool_t *rota_pool_new (void)
{
    return calloc (1, sizeof (rota_pool_t));
}

void rota_pool_destroy (rota_pool_t **self_p)
{
    rota_pool_t *self = *self_p;
    if (!self)
        return;
    for (block_t *block = self->blocks, *next; block; block = next) {
        next = block->next;
        free (block);
    }
    free (self);
    *self_p = NULL;
}

void *rota_pool_alloc (rota_pool_t *self, size_t size_bytes)
{
    void *piece = take (self, size_bytes, alignof (max_align_t));
    if (piece)
        memset (piece, 0, size_bytes);
    return piece;
}

char *rota_pool_text (rota_pool_t *self, const char *text, size_t length)
{
    if (length == SIZE_MAX)
        return NULL;
    char *copy = take (self, length + 1, 1);
    if (!copy)
        return NULL;
    if (length)
        memcpy (copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *rota_pool_vformat (rota_pool_t *self, const char *format, va_list args)
{
    va_list again;
    va_copy (again, args);
    int length = vsnprintf (NULL, 0, format, args);
    char *text = length < 0 ? NULL : take (self, (size_t)length + 1, 1);
    if (text)
        vsnprintf (text, (size_t)length + 1, format, again);
    va_end (again);
    return text;
}

char *rota_pool_format (rota_pool_t *self, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    char *text = rota_pool_vformat (self, format, args);
    va_end (args);
    return text;
}

size_t rota_pool_size_bytes (const rota_pool_t *self)
{
    return self->size_bytes;
}
