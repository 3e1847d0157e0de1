/* arena.c - memory for decoded bodies: a chain of blocks that is freed as a whole.
 *
 * The cap counts what was handed out, not the blocks, so that a body is refused at the same size whether the
 * arena is fresh or has a kept block.
 */
#include "proto/envelope.h"

#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>

#define ALIGNMENT 16
#define FIRST_BLOCK_BYTES 16384
#define LARGEST_BLOCK_BYTES (1U << 20)

typedef struct block {
    struct block *next; /* older */
    size_t capacity;
    size_t used;
    alignas (ALIGNMENT) unsigned char bytes[];
} block_t;

struct rota_arena {
    ProtobufCAllocator allocator;
    size_t cap_bytes;
    size_t taken_bytes;
    block_t *first; /* survives a reset */
    block_t *newest;
};

static block_t *new_block (size_t capacity)
{
    block_t *block = malloc (sizeof *block + capacity);
    if (!block)
        return NULL;
    block->next = NULL;
    block->capacity = capacity;
    block->used = 0;
    return block;
}

static void *allocate (void *context, size_t size_bytes)
{
    return rota_arena_alloc (context, size_bytes);
}

/* What protobuf-c frees on its way stays until the reset. */
static void release (void *context, void *pointer)
{
    (void)context;
    (void)pointer;
}

rota_arena_t *rota_arena_new (size_t cap_bytes)
{
    rota_arena_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    self->allocator = (ProtobufCAllocator){.alloc = allocate, .free = release, .allocator_data = self};
    self->cap_bytes = cap_bytes;
    self->first = self->newest = new_block (FIRST_BLOCK_BYTES);
    if (!self->first)
        rota_arena_destroy (&self);
    return self;
}

void rota_arena_destroy (rota_arena_t **self_p)
{
    rota_arena_t *self = *self_p;
    if (!self)
        return;
    rota_arena_reset (self);
    free (self->first);
    free (self);
    *self_p = NULL;
}

void rota_arena_reset (rota_arena_t *self)
{
    while (self->newest && self->newest != self->first) {
        block_t *older = self->newest->next;
        free (self->newest);
        self->newest = older;
    }
    if (self->first)
        self->first->used = 0;
    self->taken_bytes = 0;
}

/* Blocks double, so that a body of n bytes takes few of them and no block is much larger than what is used.
 */
static block_t *add_block (rota_arena_t *self, size_t size_bytes)
{
    size_t capacity = self->newest->capacity * 2;
    if (capacity > LARGEST_BLOCK_BYTES)
        capacity = LARGEST_BLOCK_BYTES;
    if (capacity < size_bytes)
        capacity = size_bytes;
    block_t *block = new_block (capacity);
    if (!block)
        return NULL;
    block->next = self->newest;
    self->newest = block;
    return block;
}

void *rota_arena_alloc (rota_arena_t *self, size_t size_bytes)
{
    if (size_bytes > self->cap_bytes)
        return NULL;
    size_t rounded = (size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (rounded > self->cap_bytes - self->taken_bytes)
        return NULL;
    block_t *block = self->newest;
    if (rounded > block->capacity - block->used) {
        block = add_block (self, rounded);
        if (!block)
            return NULL;
    }
    void *pointer = block->bytes + block->used;
    block->used += rounded;
    self->taken_bytes += rounded;
    assert (self->taken_bytes <= self->cap_bytes);
    return pointer;
}

ProtobufCAllocator *rota_arena_allocator (rota_arena_t *self)
{
    return &self->allocator;
}
