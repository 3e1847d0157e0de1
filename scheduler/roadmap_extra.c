/* Keys that rota only keeps for the export, as JSON. */
#include "bus/units.h"
#include "scheduler/roadmap_internal.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* An export puts it deeper into the file than it may have been, which must stay below the limit of all. */
#define MAX_DEPTH 32

static json_t *to_json (const rota_yaml_node_t *node)
{
    if (node->kind == ROTA_YAML_LIST) {
        json_t *list = json_array ();
        for (uint32_t i = 0; i < node->count; i++)
            json_array_append_new (list, to_json (&node->items[i]));
        return list;
    }
    if (node->kind == ROTA_YAML_MAPPING) {
        json_t *object = json_object ();
        for (uint32_t i = 0; i < node->count; i++)
            json_object_set_new (object, node->pairs[i].key.text, to_json (&node->pairs[i].value));
        return object;
    }
    if (rota_yaml_is_null (node))
        return json_null ();
    int64_t integer;
    double number;
    /* Only what JSON writes the same way is a number: 007, 1_000 and +1 stay texts, and so come back. */
    const char *digits = node->text + (node->text[0] == '-');
    bool leading = digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9';
    if (node->plain && !leading && (*digits >= '0' && *digits <= '9')) {
        if (rota_integer_parse (node->text, &integer) == 0)
            return json_integer (integer);
        if (rota_number_parse (node->text, &number) == 0)
            return json_real (number);
    }
    if (node->plain && (!strcmp (node->text, "true") || !strcmp (node->text, "false")))
        return json_boolean (node->text[0] == 't');
    return json_stringn (node->text, node->count);
}

static unsigned depth_of (const rota_yaml_node_t *node)
{
    unsigned deepest = 0;
    for (uint32_t i = 0; node->kind != ROTA_YAML_SCALAR && i < node->count; i++) {
        unsigned depth = depth_of (node->kind == ROTA_YAML_LIST ? &node->items[i] : &node->pairs[i].value);
        deepest = depth > deepest ? depth : deepest;
    }
    return node->kind == ROTA_YAML_SCALAR ? 0 : deepest + 1;
}

void rota_roadmap_keep_extra (rota_roadmap_target_t *target, const rota_yaml_pair_t *pair)
{
    if (depth_of (&pair->value) > MAX_DEPTH) {
        rota_yaml_fault (&target->sink, &pair->value,
                         "nested deeper than %d levels for a key that is only kept", MAX_DEPTH);
        return;
    }
    if (!target->extra)
        target->extra = json_object ();
    if (json_object_set_new (target->extra, pair->key.text, to_json (&pair->value)) < 0)
        target->reader->no_memory = true;
}

void rota_roadmap_finish_extra (rota_roadmap_target_t *target)
{
    if (!target->extra)
        return;
    char *text = json_dumps (target->extra, JSON_COMPACT | JSON_REAL_PRECISION (17));
    json_decref (target->extra);
    target->extra = NULL;
    if (!text) {
        target->reader->no_memory = true;
        return;
    }
    target->spec->has_extra = true;
    target->spec->extra = rota_roadmap_copy (target->reader, text, strlen (text));
    free (text);
}
