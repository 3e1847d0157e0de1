#include "agents/held.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

rota_held_t *rota_held_add (rota_held_table_t *self, rota_held_state_t state, const uint8_t store[16],
                            uint64_t key, uint32_t number, const char *task_id)
{
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? self->capacity * 2 : 16;
        rota_held_t **list = realloc (self->list, capacity * sizeof *list);
        if (!list)
            return NULL;
        self->list = list;
        self->capacity = capacity;
    }
    rota_held_t *held = calloc (1, sizeof *held);
    if (!held)
        return NULL;
    held->state = state;
    memcpy (held->store, store, sizeof held->store);
    held->key = key;
    held->number = number;
    snprintf (held->task_id, sizeof held->task_id, "%s", task_id);
    held->control_fd = held->pid_fd = -1;
    held->reported_ms = INT64_MIN;
    self->list[self->count++] = held;
    return held;
}

static bool is_of (const rota_held_t *held, const uint8_t store[16], uint64_t key)
{
    return held->key == key && memcmp (held->store, store, sizeof held->store) == 0;
}

rota_held_t *rota_held_find (const rota_held_table_t *self, const uint8_t store[16], uint64_t key, uint32_t number)
{
    for (size_t i = 0; i < self->count; i++)
        if (is_of (self->list[i], store, key) && self->list[i]->number == number)
            return self->list[i];
    return NULL;
}

rota_held_t *rota_held_find_running (const rota_held_table_t *self, const uint8_t store[16], uint64_t key)
{
    for (size_t i = 0; i < self->count; i++)
        if (is_of (self->list[i], store, key) && self->list[i]->state != ROTA_HELD_FINISHED)
            return self->list[i];
    return NULL;
}

rota_held_t *rota_held_find_launch (const rota_held_table_t *self, uint64_t launch)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->list[i]->state == ROTA_HELD_RUNNING && self->list[i]->launch == launch)
            return self->list[i];
    return NULL;
}

void rota_held_remove (rota_held_table_t *self, rota_held_t *held)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->list[i] == held) {
            self->list[i] = self->list[--self->count];
            break;
        }
    if (held->control_fd >= 0)
        close (held->control_fd);
    if (held->pid_fd >= 0)
        close (held->pid_fd);
    free (held);
}

void rota_held_clear (rota_held_table_t *self)
{
    while (self->count)
        rota_held_remove (self, self->list[self->count - 1]);
    free (self->list);
    *self = (rota_held_table_t){0};
}

size_t rota_held_running (const rota_held_table_t *self)
{
    size_t count = 0;
    for (size_t i = 0; i < self->count; i++)
        count += self->list[i]->state != ROTA_HELD_FINISHED;
    return count;
}

bool rota_held_must_wait (const rota_held_table_t *self)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->list[i]->must_end && self->list[i]->state != ROTA_HELD_FINISHED)
            return true;
    return false;
}
