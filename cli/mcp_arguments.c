/* mcp_arguments.c - a table of arguments as a JSON schema and as a check; what an answer is made of. */
#include "cli/mcp.h"

#include "cli/json.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ITEM_MAX_BYTES 200

/* ---- the table */

/* The words of "a,b,c"; false after the last. */
static bool next_choice (const char **at, const char **ret_word, size_t *ret_length)
{
    if (!**at)
        return false;
    *ret_word = *at;
    *ret_length = strcspn (*at, ",");
    *at += *ret_length + ((*at)[*ret_length] == ',');
    return true;
}

static json_t *schema_of (const rota_mcp_argument_t *it)
{
    static const char *const TYPES[] = {
        [ROTA_MCP_TEXT] = "string",
        [ROTA_MCP_INTEGER] = "integer",
        [ROTA_MCP_NUMBER] = "number",
        [ROTA_MCP_TEXTS] = "array",
    };
    json_t *object = json_pack ("{s:s, s:s}", "type", TYPES[it->kind], "description", it->help);
    if (it->kind == ROTA_MCP_TEXTS) {
        json_object_set_new (object, "items",
                             json_pack ("{s:s, s:i}", "type", "string", "maxLength", ITEM_MAX_BYTES));
        json_object_set_new (object, "maxItems", json_integer ((json_int_t)it->most));
    } else if (it->kind == ROTA_MCP_INTEGER) {
        json_object_set_new (object, "minimum", json_integer ((json_int_t)it->least));
        json_object_set_new (object, "maximum", json_integer ((json_int_t)it->most));
    } else if (it->kind == ROTA_MCP_NUMBER) {
        json_object_set_new (object, "minimum", json_real (it->least));
        json_object_set_new (object, "maximum", json_real (it->most));
    } else if (it->choices) {
        json_t *list = json_array ();
        const char *at = it->choices, *word;
        size_t length;
        while (next_choice (&at, &word, &length))
            json_array_append_new (list, json_stringn (word, length));
        json_object_set_new (object, "enum", list);
    } else if (it->most > 0) {
        json_object_set_new (object, "maxLength", json_integer ((json_int_t)it->most));
    }
    return object;
}

json_t *rota_mcp_schema (const rota_mcp_argument_t *arguments)
{
    json_t *properties = json_object (), *required = json_array ();
    for (const rota_mcp_argument_t *it = arguments; it && it->name; it++) {
        json_object_set_new (properties, it->name, schema_of (it));
        if (it->required)
            json_array_append_new (required, json_string (it->name));
    }
    json_t *object =
        json_pack ("{s:s, s:o, s:b}", "type", "object", "properties", properties, "additionalProperties", 0);
    if (json_array_size (required))
        json_object_set (object, "required", required);
    json_decref (required);
    return object;
}

/* ---- the check */

static int wrong_text (const rota_mcp_argument_t *it, const json_t *value, rota_error_t *error)
{
    const char *at = it->choices, *word, *text = json_string_value (value);
    size_t length;
    if (!text)
        return rota_error_set (error, -EINVAL, "\"%s\" must be a string", it->name);
    if (it->required && !*text)
        return rota_error_set (error, -EINVAL, "\"%s\" is empty", it->name);
    if (it->most > 0 && (double)json_string_length (value) > it->most)
        return rota_error_set (error, -EINVAL, "\"%s\" has %zu bytes; it may have %.0f", it->name,
                               json_string_length (value), it->most);
    while (at && next_choice (&at, &word, &length))
        if (length == json_string_length (value) && memcmp (word, text, length) == 0)
            return 0;
    return at ? rota_error_set (error, -EINVAL, "\"%s\" must be one of %s", it->name, it->choices) : 0;
}

static int wrong_number (const rota_mcp_argument_t *it, const json_t *value, rota_error_t *error)
{
    double number = json_number_value (value);
    /* Some clients write 20 as 20.0. */
    bool whole = json_is_integer (value) || (json_is_real (value) && floor (number) == number);
    if (json_is_number (value) && (whole || it->kind == ROTA_MCP_NUMBER) && number >= it->least &&
        number <= it->most)
        return 0;
    return rota_error_set (error, -EINVAL, "\"%s\" must be a %s from %g to %.10g", it->name,
                           it->kind == ROTA_MCP_INTEGER ? "whole number" : "number", it->least, it->most);
}

static int wrong_texts (const rota_mcp_argument_t *it, const json_t *value, rota_error_t *error)
{
    if (!json_is_array (value) || (double)json_array_size (value) > it->most)
        return rota_error_set (error, -EINVAL, "\"%s\" must be a list of at most %.0f strings", it->name,
                               it->most);
    for (size_t i = 0; i < json_array_size (value); i++) {
        const json_t *item = json_array_get (value, i);
        if (!json_is_string (item) || !json_string_length (item) ||
            json_string_length (item) > ITEM_MAX_BYTES)
            return rota_error_set (error, -EINVAL, "\"%s\"[%zu] must be a string of 1 to %d bytes", it->name,
                                   i, ITEM_MAX_BYTES);
    }
    return 0;
}

static int wrong_in (const rota_mcp_argument_t *it, const json_t *value, rota_error_t *error)
{
    if (!value)
        return it->required ? rota_error_set (error, -EINVAL, "\"%s\" is missing: %s", it->name, it->help)
                            : 0;
    return it->kind == ROTA_MCP_TEXT    ? wrong_text (it, value, error)
           : it->kind == ROTA_MCP_TEXTS ? wrong_texts (it, value, error)
                                        : wrong_number (it, value, error);
}

int rota_mcp_check (const rota_mcp_argument_t *arguments, const json_t *given, rota_error_t *error)
{
    const char *name;
    json_t *value;
    for (const rota_mcp_argument_t *it = arguments; it && it->name; it++) {
        int status = wrong_in (it, json_object_get (given, it->name), error);
        if (status < 0)
            return status;
    }
    json_object_foreach ((json_t *)given, name, value)
    {
        const rota_mcp_argument_t *it = arguments;
        while (it && it->name && strcmp (it->name, name) != 0)
            it++;
        if (!it || !it->name)
            return rota_error_set (error, -EINVAL, "there is no argument \"%.60s\"", name);
    }
    return 0;
}

const char *rota_mcp_text (const json_t *arguments, const char *name, const char *absent)
{
    const char *text = json_string_value (json_object_get (arguments, name));
    return text ? text : absent;
}

int64_t rota_mcp_integer (const json_t *arguments, const char *name, int64_t absent)
{
    const json_t *value = json_object_get (arguments, name);
    return json_is_number (value) ? (int64_t)json_number_value (value) : absent;
}

/* ---- answers */

__attribute__ ((format (printf, 2, 0))) static void say (rota_mcp_answer_t *answer, const char *format,
                                                         va_list args)
{
    char *text = NULL;
    int length = vasprintf (&text, format, args);
    if (length < 0)
        return;
    rota_mcp_give_bytes (answer, text, (size_t)length);
    free (text);
}

void rota_mcp_say (rota_mcp_answer_t *answer, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    say (answer, format, args);
    va_end (args);
}

void rota_mcp_refuse (rota_mcp_answer_t *answer, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    say (answer, format, args);
    va_end (args);
    answer->failed = true;
}

void rota_mcp_give (rota_mcp_answer_t *answer, json_t *object)
{
    json_decref (answer->object);
    answer->object = object;
}

void rota_mcp_give_bytes (rota_mcp_answer_t *answer, const void *bytes, size_t size)
{
    json_t *object = json_object ();
    rota_json_set_text (object, "text", true, rota_bytes_n (bytes, size));
    const char *text = json_string_value (json_object_get (object, "text"));
    free (answer->text);
    answer->text = text ? strdup (text) : NULL; /* up to a NUL, which no text should have */
    json_decref (object);
}

void rota_mcp_clip (json_t *value, size_t most_bytes)
{
    const char *name;
    json_t *item;
    if (json_is_object (value)) {
        json_object_foreach (value, name, item)
        {
            rota_mcp_clip (item, most_bytes);
        }
    } else if (json_is_array (value)) {
        for (size_t i = 0; i < json_array_size (value); i++)
            rota_mcp_clip (json_array_get (value, i), most_bytes);
    } else if (json_is_string (value) && json_string_length (value) > most_bytes) {
        const char *text = json_string_value (value);
        size_t length = most_bytes;
        while (length && ((unsigned char)text[length] & 0xC0) == 0x80)
            length--;
        char *copy = malloc (length + sizeof " ...");
        if (!copy)
            return;
        memcpy (copy, text, length);
        memcpy (copy + length, " ...", sizeof " ...");
        json_string_setn (value, copy, length + strlen (" ..."));
        free (copy);
    }
}
