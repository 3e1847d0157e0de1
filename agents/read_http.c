/* What `rota-agent --ask` prints (ask.h).
 *
 * The work ended well only when the result says that the answer came to its end and had words in it, and was
 * not cut for its length: half an answer is none.
 */
#include "agents/reading_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Why a model ended that had not come to its end. */
static const struct {
    const char *stop;
    Rota__ResultClass result_class;
    const char *text;
} STOPS[] = {
    {"max_tokens", RESULT (FAILED), "the answer is longer than agents.http_max_tokens allows: allow more"},
    {"length", RESULT (FAILED), "the answer is longer than agents.http_max_tokens allows: allow more"},
    {"max_output_tokens", RESULT (FAILED),
     "the answer is longer than agents.http_max_tokens allows: allow more"},
    {"model_context_window_exceeded", RESULT (CONTEXT_LIMIT), "prompt and answer are more than it holds"},
    {"refusal", RESULT (FAILED), "the model refuses the task"},
    {"content_filter", RESULT (FAILED), "the vendor's content filter stopped the answer"},
    {"incomplete", RESULT (FAILED), "the server says that the answer is incomplete"},
};

static void read_begin (rota_reading_t *reading, const json_t *line)
{
    const char *model = rota_reading_string (line, "model");
    rota_reading_turn (reading);
    reading->began = true;
    reading->message[0] = '\0';
    rota_reading_copy (reading->model, sizeof reading->model, 0, model, strlen (model));
}

static void read_text (rota_reading_t *reading, const json_t *line)
{
    const json_t *text = json_object_get (line, "text");
    if (!json_is_string (text))
        return;
    rota_reading_say (reading, json_string_value (text), json_string_length (text));
    reading->inner.speaking = reading->result_class == RESULT (UNSPECIFIED);
}

static void read_usage (rota_reading_t *reading, const json_t *line)
{
    const json_t *usage = json_object_get (line, "usage");
    double cost = rota_reading_number (line, "cost_usd");
    reading->usage.input_tokens = rota_reading_count (usage, "input_tokens", NULL);
    reading->usage.cached_tokens = rota_reading_count (usage, "cached_tokens", NULL);
    reading->usage.output_tokens = rota_reading_count (usage, "output_tokens", NULL);
    if (cost > 0 && cost < 1e6)
        reading->usage.cost_nano_usd = (rota_known_t){true, (uint64_t)llround (cost * 1e9)};
}

static void read_error (rota_reading_t *reading, const json_t *line, const json_t *error, int status)
{
    const char *window = rota_reading_string (line, "window");
    const char *text = rota_reading_string (error, "message");
    char words[64];
    double until_s = rota_reading_number (line, "until_ms") / 1000;
    json_t *moment = json_pack ("{s:f}", "at", isnan (until_s) ? 0.0 : until_s);
    if (!*text)
        snprintf (words, sizeof words, "HTTP status %d, and no word of why", status);
    rota_reading_fault_t fault = {.codes = {*window ? "usage_limit_reached" : "",
                                            rota_reading_string (error, "code"),
                                            rota_reading_string (error, "type")},
                                  .status = status,
                                  .text = *text ? text : words,
                                  .until_ms = rota_reading_moment_ms (reading, moment, "at")};
    rota_reading_copy (reading->window, sizeof reading->window, 0, window, strlen (window));
    rota_reading_note (reading, &fault);
    json_decref (moment);
}

static void read_end (rota_reading_t *reading, const json_t *line)
{
    const char *stop = rota_reading_string (line, "stop");
    for (size_t i = 0; i < sizeof STOPS / sizeof *STOPS; i++)
        if (strcmp (STOPS[i].stop, stop) == 0) {
            rota_reading_fail (reading, STOPS[i].result_class, STOPS[i].text);
            return;
        }
    if (rota_reading_number (line, "text_bytes") > 0)
        rota_reading_complete (reading);
    else
        rota_reading_fail (reading, RESULT (FAILED), "the model answered without a word");
}

static void read_result (rota_reading_t *reading, const json_t *line)
{
    const json_t *error = json_object_get (line, "error");
    const char *network = rota_reading_string (line, "network");
    const char *problem = rota_reading_string (line, "problem");
    const char *model = rota_reading_string (line, "model");
    double number = rota_reading_number (line, "status");
    int status = number >= 100 && number < 600 ? (int)number : 0;
    reading->completed = false;
    rota_reading_copy (reading->model, sizeof reading->model, 0, model, strlen (model));
    read_usage (reading, line);
    if (json_is_object (error) || status >= 400)
        read_error (reading, line, error, status);
    else if (*problem)
        rota_reading_fail (reading, RESULT (FAILED), problem);
    else if (*network)
        rota_reading_fail (reading, RESULT (NETWORK), network);
    else if (json_is_true (json_object_get (line, "complete")))
        read_end (reading, line);
    else
        rota_reading_fail (reading, RESULT (NETWORK), "the answer was cut before its end");
}

static const struct {
    const char *type;
    void (*read) (rota_reading_t *reading, const json_t *line);
} LINES[] = {{"begin", read_begin}, {"text", read_text}, {"result", read_result}};

void rota_read_http (rota_reading_t *reading, const char *line, size_t size_bytes)
{
    char type[ROTA_READING_WORD_BYTES];
    if (*line != '{') {
        rota_reading_remark (reading, line, size_bytes);
        return;
    }
    if (!rota_reading_peek (line, size_bytes, "type", type))
        return;
    bool full = reading->inner.speaking && strlen (reading->message) > ROTA_READING_MESSAGE_BYTES - 8;
    if (full && strcmp (type, "text") == 0)
        return;
    for (size_t i = 0; i < sizeof LINES / sizeof *LINES; i++) {
        json_t *object = strcmp (LINES[i].type, type) == 0 ? rota_reading_parse (line, size_bytes) : NULL;
        if (object)
            LINES[i].read (reading, object);
        json_decref (object);
    }
}
