#include "agents/hold.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

rota_hold_t *rota_hold_add (rota_holds_t *self, rota_hold_state_t state, const uint8_t store[16],
                            uint64_t key, uint32_t number, const char *task_id)
{
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? self->capacity * 2 : 16;
        rota_hold_t **list = realloc (self->list, capacity * sizeof *list);
        if (!list)
            return NULL;
        self->list = list;
        self->capacity = capacity;
    }
    rota_hold_t *hold = calloc (1, sizeof *hold);
    if (!hold)
        return NULL;
    hold->state = state;
    memcpy (hold->store, store, sizeof hold->store);
    hold->key = key;
    hold->number = number;
    snprintf (hold->task_id, sizeof hold->task_id, "%s", task_id);
    hold->control_fd = hold->pid_fd = -1;
    hold->reported_ms = INT64_MIN;
    self->list[self->count++] = hold;
    return hold;
}

static bool is_of (const rota_hold_t *hold, const uint8_t store[16], uint64_t key)
{
    return hold->key == key && memcmp (hold->store, store, sizeof hold->store) == 0;
}

rota_hold_t *rota_hold_find (const rota_holds_t *self, const uint8_t store[16], uint64_t key, uint32_t number)
{
    for (size_t i = 0; i < self->count; i++)
        if (is_of (self->list[i], store, key) && self->list[i]->number == number)
            return self->list[i];
    return NULL;
}

rota_hold_t *rota_hold_find_running (const rota_holds_t *self, const uint8_t store[16], uint64_t key)
{
    for (size_t i = 0; i < self->count; i++)
        if (is_of (self->list[i], store, key) && self->list[i]->state != ROTA_HOLD_FINISHED)
            return self->list[i];
    return NULL;
}

rota_hold_t *rota_hold_find_launch (const rota_holds_t *self, uint64_t launch)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->list[i]->state == ROTA_HOLD_RUNNING && self->list[i]->launch == launch)
            return self->list[i];
    return NULL;
}

void rota_hold_remove (rota_holds_t *self, rota_hold_t *hold)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->list[i] == hold) {
            self->list[i] = self->list[--self->count];
            break;
        }
    if (hold->control_fd >= 0)
        close (hold->control_fd);
    if (hold->pid_fd >= 0)
        close (hold->pid_fd);
    free (hold->result.answer);
    free (hold);
}

void rota_hold_clear (rota_holds_t *self)
{
    while (self->count)
        rota_hold_remove (self, self->list[self->count - 1]);
    free (self->list);
    *self = (rota_holds_t){0};
}

bool rota_hold_rides (const rota_hold_t *hold, const rota_hold_t *leader)
{
    return hold->state == ROTA_HOLD_RIDING && hold->lead_key == leader->key &&
           hold->lead_number == leader->number &&
           memcmp (hold->store, leader->store, sizeof hold->store) == 0;
}

size_t rota_hold_running (const rota_holds_t *self)
{
    size_t count = 0;
    for (size_t i = 0; i < self->count; i++)
        count += self->list[i]->state == ROTA_HOLD_RUNNING || self->list[i]->state == ROTA_HOLD_ELSEWHERE;
    return count;
}

bool rota_hold_must_wait (const rota_holds_t *self)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->list[i]->must_end && self->list[i]->state != ROTA_HOLD_FINISHED)
            return true;
    return false;
}
