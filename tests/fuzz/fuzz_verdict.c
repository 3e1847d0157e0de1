/* Any bytes as a reviewer's answer: no crash; what is found is within
 * its bounds, and what a blocker is in is no approval. */
#include "agents/verdict.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void check_comment (const json_t *comment, bool approved)
{
    const char *severity = json_string_value (json_object_get (comment, "severity"));
    const json_t *text = json_object_get (comment, "text"), *line = json_object_get (comment, "line");
    if (!severity || !json_is_string (text) || json_string_length (text) > ROTA_VERDICT_TEXT_MAX_BYTES ||
        !json_is_string (json_object_get (comment, "file")) || json_integer_value (line) < 0)
        abort ();
    if (approved && strcmp (severity, "blocker") == 0)
        abort ();
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    json_t *verdict = rota_verdict_find ((const char *)data, size, "w");
    if (!verdict)
        return 0;
    const json_t *approved = json_object_get (verdict, "approved"), *comment;
    const json_t *score = json_object_get (verdict, "score"),
                 *comments = json_object_get (verdict, "comments");
    size_t i;
    if (!json_is_boolean (approved) || !json_is_array (comments) ||
        json_array_size (comments) > ROTA_VERDICT_COMMENTS_MAX ||
        (score && (json_integer_value (score) < 0 || json_integer_value (score) > 100)))
        abort ();
    json_array_foreach (comments, i, comment) check_comment (comment, json_is_true (approved));
    json_decref (verdict);
    return 0;
}
