#include "agents/answer.h"

#include "agents/reading_internal.h"
#include "agents/reset_time.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COPY(to, text) rota_reading_copy (to, sizeof (to), 0, text, strlen (text))

static void copy_if (char *to, size_t capacity, const char *text)
{
    if (*text)
        rota_reading_copy (to, capacity, 0, text, strlen (text));
}

/* ---- errors */

/* OpenAI's error objects carry when a window resets. */
static void read_reset (rota_answer_t *self, const json_t *error)
{
    static const char *const KEYS[] = {"resets_at", "resets_in_seconds"};
    char text[32];
    for (size_t i = 0; i < 2 && !self->until_ms; i++) {
        double value = rota_reading_number (error, KEYS[i]);
        if (!(value > 0 && value < 1e12))
            continue;
        snprintf (text, sizeof text, "%.0f", value);
        if (!rota_reset_time_in_header ("x-ratelimit-reset", text, self->now_ms, &self->until_ms))
            self->until_ms = 0;
    }
}

/* {"type", "code", "message"}; code may be a number. */
static void read_error (rota_answer_t *self, const json_t *error)
{
    const char *type = rota_reading_string (error, "type"), *code = rota_reading_string (error, "code");
    const char *text = rota_reading_string (error, "message");
    self->failed = true;
    COPY (self->error_type, *type ? type : rota_reading_string (error, "status"));
    COPY (self->error_code, code);
    COPY (self->error_text, *text ? text : rota_reading_string (error, "detail"));
    read_reset (self, error);
}

static void read_any_error (rota_answer_t *self, const json_t *root)
{
    const json_t *error = json_object_get (root, "error");
    if (json_is_string (error)) {
        self->failed = true;
        COPY (self->error_text, json_string_value (error));
    } else {
        read_error (self, json_is_object (error) ? error : root);
    }
}

void rota_answer_error (rota_answer_t *self, const char *body, size_t size_bytes)
{
    while (size_bytes && strchr (" \t\r\n", body[size_bytes - 1]))
        size_bytes--;
    while (size_bytes && strchr (" \t\r\n", *body)) {
        body++;
        size_bytes--;
    }
    json_t *root = rota_reading_parse (body, size_bytes);
    const json_t *first = json_is_array (root) ? json_array_get (root, 0) : root;
    if (json_is_object (first))
        read_any_error (self, first);
    else
        self->failed = true;
    if (!self->error_text[0])
        rota_reading_copy (self->error_text, sizeof self->error_text, 0, body, size_bytes);
    json_decref (root);
}

/* ---- text and usage */

static void speak (rota_answer_t *self, const json_t *text, rota_answer_say_t *say, void *context)
{
    size_t length = json_string_length (text);
    if (!json_is_string (text) || !length)
        return;
    self->text_bytes += length;
    say (context, json_string_value (text), length);
}

static void replace (rota_known_t *count, rota_known_t by)
{
    if (by.known)
        *count = by;
}

static uint64_t value_of (rota_known_t count)
{
    return count.known ? count.value : 0;
}

/* What is read from a cache, or written to it, isn't counted in input_tokens. */
static void read_anthropic_usage (rota_answer_t *self, const json_t *usage)
{
    rota_known_t input = rota_reading_count (usage, "input_tokens", NULL);
    rota_known_t written = rota_reading_count (usage, "cache_creation_input_tokens", NULL);
    rota_known_t cached = rota_reading_count (usage, "cache_read_input_tokens", NULL);
    if (input.known)
        self->input = (rota_known_t){true, input.value + value_of (written) + value_of (cached)};
    replace (&self->cached, cached);
    replace (&self->output, rota_reading_count (usage, "output_tokens", NULL));
}

static void read_openai_usage (rota_answer_t *self, const json_t *usage)
{
    const json_t *details = json_object_get (usage, "prompt_tokens_details");
    double cost = rota_reading_number (usage, "cost");
    if (!details)
        details = json_object_get (usage, "input_tokens_details");
    replace (&self->input, rota_reading_count (usage, "prompt_tokens", "input_tokens"));
    replace (&self->output, rota_reading_count (usage, "completion_tokens", "output_tokens"));
    replace (&self->cached, rota_reading_count (details, "cached_tokens", NULL));
    if (cost > 0 && cost < 1e6)
        self->cost_usd = cost;
}

/* ---- events */

static void read_anthropic (rota_answer_t *self, const json_t *event, rota_answer_say_t *say, void *context)
{
    const char *type = rota_reading_string (event, "type");
    const json_t *delta = json_object_get (event, "delta");
    if (strcmp (type, "message_start") == 0) {
        const json_t *message = json_object_get (event, "message");
        copy_if (self->model, sizeof self->model, rota_reading_string (message, "model"));
        read_anthropic_usage (self, json_object_get (message, "usage"));
    } else if (strcmp (type, "content_block_start") == 0) {
        speak (self, json_object_get (json_object_get (event, "content_block"), "text"), say, context);
    } else if (strcmp (type, "content_block_delta") == 0) {
        speak (self, json_object_get (delta, "text"), say, context);
    } else if (strcmp (type, "message_delta") == 0) {
        copy_if (self->stop, sizeof self->stop, rota_reading_string (delta, "stop_reason"));
        read_anthropic_usage (self, json_object_get (event, "usage"));
    } else if (strcmp (type, "message_stop") == 0) {
        self->ended = self->finished = true;
    } else if (strcmp (type, "error") == 0) {
        read_any_error (self, event);
    }
}

static void read_chat (rota_answer_t *self, const json_t *event, rota_answer_say_t *say, void *context)
{
    const json_t *choice = json_array_get (json_object_get (event, "choices"), 0);
    const json_t *error = json_object_get (event, "error");
    const char *stop = rota_reading_string (choice, "finish_reason");
    if (json_is_object (error) || json_is_string (error)) {
        read_any_error (self, event);
        return;
    }
    copy_if (self->model, sizeof self->model, rota_reading_string (event, "model"));
    speak (self, json_object_get (json_object_get (choice, "delta"), "content"), say, context);
    read_openai_usage (self, json_object_get (event, "usage"));
    if (*stop) {
        COPY (self->stop, stop);
        self->ended = true; /* the usage may follow */
    }
}

/* The whole text of a message, when none of its pieces came. */
static void speak_item (rota_answer_t *self, const json_t *item, rota_answer_say_t *say, void *context)
{
    const json_t *part;
    size_t i;
    json_array_foreach (json_object_get (item, "content"), i, part)
    {
        if (strcmp (rota_reading_string (part, "type"), "output_text") == 0)
            speak (self, json_object_get (part, "text"), say, context);
        else if (strcmp (rota_reading_string (part, "type"), "refusal") == 0)
            COPY (self->stop, "refusal");
    }
}

static void read_responses (rota_answer_t *self, const json_t *event, rota_answer_say_t *say, void *context)
{
    const char *type = rota_reading_string (event, "type");
    const json_t *response = json_object_get (event, "response");
    copy_if (self->model, sizeof self->model, rota_reading_string (response, "model"));
    read_openai_usage (self, json_object_get (response, "usage"));
    if (strcmp (type, "response.output_text.delta") == 0) {
        speak (self, json_object_get (event, "delta"), say, context);
    } else if (strcmp (type, "response.output_item.done") == 0 && !self->text_bytes) {
        speak_item (self, json_object_get (event, "item"), say, context);
    } else if (strcmp (type, "response.refusal.done") == 0) {
        COPY (self->stop, "refusal");
    } else if (strcmp (type, "response.completed") == 0) {
        self->ended = self->finished = true;
    } else if (strcmp (type, "response.incomplete") == 0) {
        const json_t *details = json_object_get (response, "incomplete_details");
        const char *reason = rota_reading_string (details, "reason");
        self->ended = self->finished = true;
        COPY (self->stop, *reason ? reason : "incomplete");
    } else if (strcmp (type, "response.failed") == 0) {
        read_any_error (self, response);
    } else if (strcmp (type, "error") == 0) {
        read_any_error (self, event);
    }
}

void rota_answer_event (rota_answer_t *self, const char *data, size_t size_bytes, rota_answer_say_t *say,
                        void *context)
{
    static void (*const READ[ROTA_API_COUNT]) (rota_answer_t *, const json_t *, rota_answer_say_t *,
                                               void *) = {
        [ROTA_API_ANTHROPIC] = read_anthropic,
        [ROTA_API_CHAT] = read_chat,
        [ROTA_API_RESPONSES] = read_responses,
    };
    if (size_bytes == 6 && memcmp (data, "[DONE]", 6) == 0) {
        self->ended |= self->events > 0 && !self->failed;
        self->finished = true;
        return;
    }
    json_t *event = rota_reading_parse (data, size_bytes);
    if (!json_is_object (event)) {
        json_decref (event);
        return;
    }
    self->events++;
    READ[self->api](self, event, say, context);
    if (self->failed) {
        self->ended = false;
        self->finished = true;
    }
    json_decref (event);
}
