#include "scheduler/gates.h"

#include "proto/envelope.h"

#include <stdbool.h>
#include <string.h>

static bool is_equal (ProtobufCBinaryData a, ProtobufCBinaryData b)
{
    return a.len == b.len && (!a.len || memcmp (a.data, b.data, a.len) == 0);
}

/* What a gate runs for tasks of that profile: its own command where it doesn't know the profile. */
static void choose (Rota__Gate *gate, ProtobufCBinaryData profile)
{
    for (size_t i = 0; i < gate->n_profiles && profile.len; i++)
        if (is_equal (gate->profiles[i]->name, profile)) {
            gate->has_command = gate->profiles[i]->has_command;
            gate->command = gate->profiles[i]->command;
            break;
        }
    gate->n_profiles = 0;
    gate->profiles = NULL;
}

static void add (rota_gates_t *self, const Rota__RoadmapHeader *header, const Rota__TaskSpec *spec,
                 ProtobufCBinaryData name, ProtobufCBinaryData command)
{
    for (size_t i = 0; i < self->count; i++)
        if (is_equal (self->gates[i].name, name))
            return;
    if (self->count == ROTA_GATES_MAX)
        return;
    Rota__Gate *gate = self->list[self->count] = &self->gates[self->count];
    self->count++;
    rota__gate__init (gate);
    for (size_t i = 0; i < header->n_gates && !command.len; i++)
        if (is_equal (header->gates[i]->name, name))
            *gate = *header->gates[i];
    choose (gate, spec->profile);
    gate->has_name = true;
    gate->name = name;
    if (!command.len)
        return; /* the header's, or none: the gate says that it can't be checked */
    gate->has_command = true;
    gate->command = command;
}

void rota_gates_find (const Rota__RoadmapHeader *header, const Rota__TaskSpec *spec, rota_gates_t *ret_gates)
{
    ret_gates->count = 0;
    for (size_t i = 0; i < spec->n_gates; i++)
        add (ret_gates, header, spec, spec->gates[i], (ProtobufCBinaryData){0});
    for (size_t i = 0; i < spec->n_exit_criteria; i++) {
        const Rota__Criterion *it = spec->exit_criteria[i];
        if (!it->has_kind || !it->value.len)
            continue;
        if (is_equal (it->kind, rota_bytes ("critic")))
            add (ret_gates, header, spec, it->value, (ProtobufCBinaryData){0});
        else if (is_equal (it->kind, rota_bytes ("test")) || is_equal (it->kind, rota_bytes ("run")))
            add (ret_gates, header, spec, it->value, it->value);
    }
}
