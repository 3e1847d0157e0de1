/* Claude Code's events (--output-format stream-json, or the one object or array of json), as seen in 2.1.197
 * and 2.1.330.
 *
 * A run ended well only when its `result` says is_error false: subtype "success" stands on failures too, and
 * SIGINT gives exit code 0 without any result. Tokens are those of the results alone: the counts of assistant
 * events are the beginning of a stream, repeated with each block.
 */
#include "agents/reading_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define PROVIDER "claude"
#define INTERRUPTED "[Request interrupted"

/* ------------------------------------------------------------------------------------------ limits */

static void read_window (rota_reading_t *reading, const json_t *info, const char *name)
{
    const json_t *window = json_object_get (json_object_get (info, "unifiedWindows"), name);
    double used = rota_reading_number (info, "utilization");
    if (isnan (used))
        used = rota_reading_number (window, "utilization");
    if (!(used >= 0 && used <= 1e6))
        return;
    reading->used = used > 1 ? 1 : used;
    int64_t until_ms = rota_reading_moment_ms (reading, window, "resetsAt");
    reading->used_until_ms = until_ms ? until_ms : rota_reading_moment_ms (reading, info, "resetsAt");
    rota_reading_copy (reading->window, sizeof reading->window, 0, name, strlen (name));
}

/* "rejected" beside isUsingOverage is served, and paid for; "allowed" and "allowed_warning" are no limits. */
static void read_limit_info (rota_reading_t *reading, const json_t *info, const char *text)
{
    const char *name = rota_reading_string (info, "rateLimitType");
    read_window (reading, info, name);
    if (strcmp (rota_reading_string (info, "status"), "rejected") != 0 ||
        json_is_true (json_object_get (info, "isUsingOverage")))
        return;
    rota_reading_fault_t fault = {.provider = PROVIDER,
                                  .codes = {"usage_limit_reached"},
                                  .text = text,
                                  .until_ms = rota_reading_moment_ms (reading, info, "resetsAt"),
                                  .may_pass = !text};
    if (!fault.until_ms)
        fault.until_ms = reading->used_until_ms;
    rota_reading_note (reading, &fault);
    if (!text && reading->inner.may_pass)
        snprintf (reading->message, sizeof reading->message, "limit %.31s", reading->window);
}

static void read_rate_limit_event (rota_reading_t *reading, const json_t *event)
{
    read_limit_info (reading, json_object_get (event, "rate_limit_info"), NULL);
}

/* ------------------------------------------------------------------------------------------ system */

static void read_init (rota_reading_t *reading, const json_t *event)
{
    const char *session = rota_reading_string (event, "session_id");
    const char *version = rota_reading_string (event, "claude_code_version");
    const char *model = rota_reading_string (event, "model");
    rota_reading_turn (reading);
    reading->began = true;
    rota_reading_copy (reading->session, sizeof reading->session, 0, session, strlen (session));
    rota_reading_copy (reading->version, sizeof reading->version, 0, version, strlen (version));
    rota_reading_copy (reading->model, sizeof reading->model, 0, model, strlen (model));
}

static void read_retry (rota_reading_t *reading, const json_t *event)
{
    double status = rota_reading_number (event, "error_status");
    double delay_ms = rota_reading_number (event, "retry_delay_ms");
    double attempt = rota_reading_number (event, "attempt"),
           most = rota_reading_number (event, "max_retries");
    rota_reading_fault_t fault = {.provider = PROVIDER,
                                  .codes = {rota_reading_string (event, "error"), "connection_error"},
                                  .status = status >= 100 && status < 600 ? (int)status : 0,
                                  .may_pass = true};
    reading->retries++;
    rota_reading_note (reading, &fault);
    if (!reading->inner.may_pass)
        return;
    if (reading->result_class == RESULT (LIMITED) && !reading->inner.exact && delay_ms > 0 &&
        delay_ms < 86400e3)
        reading->until_ms = reading->now_ms + (int64_t)delay_ms;
    char text[160], http[32] = "";
    if (fault.status)
        snprintf (http, sizeof http, ", HTTP status %d", fault.status);
    snprintf (text, sizeof text, "%.40s%s; it tried again by itself, %.0f of %.0f times", fault.codes[0],
              http, isnan (attempt) ? 0 : attempt, isnan (most) ? 0 : most);
    rota_reading_copy (reading->message, sizeof reading->message, 0, text, strlen (text));
}

static void read_system (rota_reading_t *reading, const json_t *event)
{
    const char *subtype = rota_reading_string (event, "subtype");
    if (strcmp (subtype, "init") == 0)
        read_init (reading, event);
    else if (strcmp (subtype, "api_retry") == 0)
        read_retry (reading, event);
    else if (strcmp (subtype, "permission_denied") == 0)
        reading->denied++;
}

/* ------------------------------------------------------------------------------------------ messages */

/* The first text of a message's content. */
static const char *text_of (const json_t *event)
{
    const json_t *content = json_object_get (json_object_get (event, "message"), "content");
    const json_t *block;
    size_t i;
    json_array_foreach (content, i, block) if (strcmp (rota_reading_string (block, "type"), "text") ==
                                               0) return rota_reading_string (block, "text");
    return "";
}

static int status_of (const json_t *event)
{
    double status = rota_reading_number (event, "api_error_status");
    return status >= 100 && status < 600 ? (int)status : 0;
}

static void read_assistant (rota_reading_t *reading, const json_t *event)
{
    const char *error = rota_reading_string (event, "error");
    const char *text = text_of (event);
    rota_reading_fault_t fault = {.provider = PROVIDER,
                                  .codes = {rota_reading_string (event, "api_error"), error,
                                            rota_reading_string (event, "api_error_type")},
                                  .status = status_of (event),
                                  .text = text,
                                  .may_pass = true};
    const json_t *info = json_object_get (json_object_get (event, "api_error_params"), "rate_limit_info");
    if (!*error && !json_is_true (json_object_get (event, "is_api_error_message"))) {
        rota_reading_turn (reading); /* the model answered: an error before it was not the end */
        return;
    }
    if (json_is_object (info))
        read_limit_info (reading, info, text);
    rota_reading_note (reading, &fault);
    reading->inner.may_pass = false;
}

static void read_user (rota_reading_t *reading, const json_t *event)
{
    if (strncmp (text_of (event), INTERRUPTED, strlen (INTERRUPTED)) == 0)
        reading->interrupted = true;
}

/* ------------------------------------------------------------------------------------------ result */

static void add (rota_known_t *sum, rota_known_t more)
{
    if (!more.known)
        return;
    sum->known = true;
    sum->value += more.value;
}

/* Input, read from the cache, output. */
static void count_tokens (const json_t *usage, const char *const keys[4], rota_known_t counts[3])
{
    rota_known_t cached = rota_reading_count (usage, keys[2], NULL);
    add (&counts[0], rota_reading_count (usage, keys[0], NULL));
    add (&counts[0], rota_reading_count (usage, keys[1], NULL));
    add (&counts[0], cached);
    add (&counts[1], cached);
    add (&counts[2], rota_reading_count (usage, keys[3], NULL));
}

/* `usage` is that of this turn. After --max-budget-usd it says nothing but zeros, while the count by model is
 * right; total_cost_usd goes on from what a resumed session had cost before. */
static void read_usage (rota_reading_t *reading, const json_t *event)
{
    static const char *const KEYS[4] = {"input_tokens", "cache_creation_input_tokens",
                                        "cache_read_input_tokens", "output_tokens"};
    static const char *const MODEL_KEYS[4] = {"inputTokens", "cacheCreationInputTokens",
                                              "cacheReadInputTokens", "outputTokens"};
    rota_known_t counts[3] = {{0}}, by_model[3] = {{0}};
    const char *name;
    json_t *model;
    count_tokens (json_object_get (event, "usage"), KEYS, counts);
    json_object_foreach (json_object_get (event, "model_usage_since_last_result"), name, model)
        count_tokens (model, MODEL_KEYS, by_model);
    bool silent = !counts[0].value && !counts[2].value && by_model[0].value + by_model[2].value > 0;
    const rota_known_t *best = silent ? by_model : counts;
    add (&reading->usage.input_tokens, best[0]);
    add (&reading->usage.cached_tokens, best[1]);
    add (&reading->usage.output_tokens, best[2]);

    double cost = rota_reading_number (event, "total_cost_usd");
    if (cost >= 0 && cost < 1e9) {
        reading->usage.cost_nano_usd = (rota_known_t){.known = true, .value = (uint64_t)llround (cost * 1e9)};
        reading->usage.cost_of_session = true;
    }
}

static void read_failure (rota_reading_t *reading, const json_t *event)
{
    const char *subtype = rota_reading_string (event, "subtype");
    const char *reason = rota_reading_string (event, "terminal_reason");
    const char *text = rota_reading_string (event, "result");
    if (!*text)
        text = json_string_value (json_array_get (json_object_get (event, "errors"), 0));
    if (strcmp (subtype, "error_max_turns") == 0) {
        rota_reading_fail (
            reading, RESULT (FAILED),
            "it used up the number of turns that was set for it (--max-turns); split the task or "
            "allow more");
        return;
    }
    if (strcmp (subtype, "error_max_budget_usd") == 0) {
        rota_reading_fail (
            reading, RESULT (FAILED),
            "it used up the money that was set for it (--max-budget-usd); split the task or allow "
            "more");
        return;
    }
    if (strncmp (reason, "aborted", strlen ("aborted")) == 0) {
        reading->interrupted = true;
        return;
    }
    bool too_long = strcmp (reason, "prompt_too_long") == 0;
    rota_reading_fault_t fault = {.provider = PROVIDER,
                                  .codes = {too_long ? reason : rota_reading_string (event, "api_error"),
                                            rota_reading_string (event, "error"),
                                            rota_reading_string (event, "api_error_type")},
                                  .status = status_of (event),
                                  .text = text};
    rota_reading_note (reading, &fault);
}

static void read_result (rota_reading_t *reading, const json_t *event)
{
    size_t denials = json_array_size (json_object_get (event, "permission_denials"));
    const char *session = rota_reading_string (event, "session_id");
    const json_t *text = json_object_get (event, "result");
    reading->began = true;
    if (denials > reading->denied)
        reading->denied = denials < UINT32_MAX ? (uint32_t)denials : UINT32_MAX;
    if (*session)
        rota_reading_copy (reading->session, sizeof reading->session, 0, session, strlen (session));
    read_usage (reading, event);
    reading->completed = false;
    if (!json_is_false (json_object_get (event, "is_error")) ||
        strcmp (rota_reading_string (event, "subtype"), "success") != 0) {
        read_failure (reading, event);
        return;
    }
    rota_reading_complete (reading);
    if (json_is_string (text))
        rota_reading_say (reading, json_string_value (text), json_string_length (text));
}

/* ------------------------------------------------------------------------------------------ lines */

/* Any other type is passed over: stream_event, and what releases to come will add. */
static const struct {
    const char *type;
    const char *needles[3]; /* one of them must be in the line for it to matter; NULL first = always */
    void (*read) (rota_reading_t *reading, const json_t *event);
} EVENTS[] = {
    {"assistant", {"\"error\"", "is_api_error_message"}, read_assistant},
    {"user", {INTERRUPTED}, read_user},
    {"system", {"init", "api_retry", "permission_denied"}, read_system},
    {"rate_limit_event", {NULL}, read_rate_limit_event},
    {"result", {NULL}, read_result},
};
#define EVENT_COUNT (sizeof EVENTS / sizeof *EVENTS)

static size_t find_event (const char *type)
{
    size_t i = 0;
    while (i < EVENT_COUNT && strcmp (EVENTS[i].type, type) != 0)
        i++;
    return i;
}

static bool can_matter (size_t event, const char *line, size_t size_bytes)
{
    const char *const *needles = EVENTS[event].needles;
    if (!needles[0])
        return true;
    for (int i = 0; i < 3 && needles[i]; i++)
        if (rota_reading_has (line, size_bytes, needles[i]))
            return true;
    return false;
}

static void read_event (rota_reading_t *reading, const json_t *event)
{
    size_t found = find_event (rota_reading_string (event, "type"));
    if (found < EVENT_COUNT)
        EVENTS[found].read (reading, event);
}

/* --output-format json together with --verbose. */
static void read_all (rota_reading_t *reading, const char *line, size_t size_bytes)
{
    json_t *events = rota_reading_parse (line, size_bytes);
    json_t *event;
    size_t i;
    json_array_foreach (events, i, event) read_event (reading, event);
    json_decref (events);
}

void rota_read_claude (rota_reading_t *reading, const char *line, size_t size_bytes)
{
    char type[ROTA_READING_WORD_BYTES];
    if (*line == '[') {
        read_all (reading, line, size_bytes);
        return;
    }
    if (*line != '{') {
        rota_reading_remark (reading, line, size_bytes);
        return;
    }
    if (!rota_reading_peek (line, size_bytes, "type", type))
        return;
    size_t found = find_event (type);
    if (found == EVENT_COUNT)
        return;
    if (!can_matter (found, line, size_bytes)) {
        if (EVENTS[found].read == read_assistant)
            rota_reading_turn (reading);
        return;
    }
    json_t *event = rota_reading_parse (line, size_bytes);
    if (event)
        read_event (reading, event);
    json_decref (event);
}
