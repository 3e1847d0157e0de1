/* Codex: the events of `codex exec --json`, and the messages of `codex app-server`, as seen in 0.169.0.
 *
 * exec has sentences only, no price, no state of the account's limits; an item of type error there is a
 * warning. The app-server has codes, times and counts. Both count tokens over the whole thread.
 */
#include "agents/reading_internal.h"

#include <math.h>
#include <string.h>

#define PROVIDER "codex"
#define RETRYING "Reconnecting..."
#define UNKNOWN_METHOD (-32601)

static void take (char *to, size_t capacity, const char *text)
{
    if (*text)
        rota_reading_copy (to, capacity, 0, text, strlen (text));
}

static void say (rota_reading_t *reading, const json_t *item)
{
    const json_t *text = json_object_get (item, "text");
    if (json_string_length (text))
        rota_reading_say (reading, json_string_value (text), json_string_length (text));
}

/* ------------------------------------------------------------------------------------------ exec --json */

static void read_thread_started (rota_reading_t *reading, const json_t *event)
{
    reading->began = true;
    take (reading->session, sizeof reading->session, rota_reading_string (event, "thread_id"));
}

static void read_turn_started (rota_reading_t *reading, const json_t *event)
{
    (void)event;
    rota_reading_turn (reading);
}

static void read_turn_completed (rota_reading_t *reading, const json_t *event)
{
    const json_t *usage = json_object_get (event, "usage");
    rota_reading_complete (reading);
    reading->usage.input_tokens = rota_reading_count (usage, "input_tokens", NULL);
    reading->usage.cached_tokens = rota_reading_count (usage, "cached_input_tokens", NULL);
    reading->usage.output_tokens = rota_reading_count (usage, "output_tokens", NULL);
    reading->usage.tokens_of_session = true;
}

static void read_turn_failed (rota_reading_t *reading, const json_t *event)
{
    rota_reading_fault_t fault = {.provider = PROVIDER,
                                  .text = rota_reading_string (json_object_get (event, "error"), "message")};
    reading->completed = false;
    rota_reading_note (reading, &fault);
}

/* "Reconnecting... 1/5 (why)" is one of its own tries; any other is followed by turn.failed. */
static void read_error (rota_reading_t *reading, const json_t *event)
{
    const char *text = rota_reading_string (event, "message");
    rota_reading_fault_t fault = {.provider = PROVIDER, .text = text, .may_pass = true};
    if (strncmp (text, RETRYING, strlen (RETRYING)) == 0)
        reading->retries++;
    rota_reading_note (reading, &fault);
}

static void read_item (rota_reading_t *reading, const json_t *event)
{
    const json_t *item = json_object_get (event, "item");
    const char *type = rota_reading_string (item, "type");
    if (strcmp (type, "error") == 0)
        return;
    rota_reading_progress (reading);
    if (strcmp (type, "agent_message") == 0)
        say (reading, item);
}

/* ------------------------------------------------------------------------------------------ app-server */

/* Another thread is an agent that this one started; its turns are not the task's. */
static bool is_foreign (const rota_reading_t *reading, const json_t *params)
{
    const char *thread = rota_reading_string (params, "threadId");
    return *thread && *reading->session && strcmp (thread, reading->session) != 0;
}

static void read_thread (rota_reading_t *reading, const json_t *holder)
{
    const json_t *thread = json_object_get (holder, "thread");
    const char *id = rota_reading_string (thread, "id");
    if (!*id || *rota_reading_string (thread, "parentThreadId") || (*reading->session && reading->began))
        return;
    const char *model = rota_reading_string (thread, "model");
    reading->began = true;
    take (reading->session, sizeof reading->session, id);
    take (reading->version, sizeof reading->version, rota_reading_string (thread, "cliVersion"));
    take (reading->model, sizeof reading->model, *model ? model : rota_reading_string (holder, "model"));
}

static void read_rpc_turn_started (rota_reading_t *reading, const json_t *params)
{
    if (!is_foreign (reading, params))
        rota_reading_turn (reading);
}

/* codexErrorInfo is a word, or an object whose key is the word and which may hold the HTTP status. */
static void read_rpc_fault (rota_reading_t *reading, const json_t *error, bool may_pass)
{
    json_t *info = json_object_get (error, "codexErrorInfo");
    const char *details = rota_reading_string (error, "additionalDetails");
    const char *code = json_is_string (info) ? json_string_value (info) : NULL;
    rota_reading_fault_t fault = {
        .provider = PROVIDER, .text = rota_reading_string (error, "message"), .may_pass = may_pass};
    if (json_is_object (info)) {
        void *entry = json_object_iter (info);
        code = json_object_iter_key (entry);
        double status = rota_reading_number (json_object_iter_value (entry), "httpStatusCode");
        fault.status = status >= 100 && status < 600 ? (int)status : 0;
    }
    if (may_pass && *details)
        fault.text = details; /* the message says no more than "Reconnecting... 1/5" */
    fault.codes[0] = code;
    bool window_is_full = reading->used >= 1 && reading->used_until_ms > reading->now_ms;
    if (code && strcmp (code, "usageLimitExceeded") == 0 && window_is_full) {
        fault.codes[0] = "usage_limit_reached";
        fault.until_ms = reading->used_until_ms;
    }
    rota_reading_note (reading, &fault);
}

static void read_rpc_error (rota_reading_t *reading, const json_t *params)
{
    bool retries = json_is_true (json_object_get (params, "willRetry"));
    if (is_foreign (reading, params))
        return;
    if (retries)
        reading->retries++;
    read_rpc_fault (reading, json_object_get (params, "error"), true);
}

static void read_rpc_turn_completed (rota_reading_t *reading, const json_t *params)
{
    const json_t *turn = json_object_get (params, "turn");
    const char *status = rota_reading_string (turn, "status");
    if (is_foreign (reading, params))
        return;
    reading->completed = false;
    if (strcmp (status, "completed") == 0)
        rota_reading_complete (reading);
    else if (strcmp (status, "interrupted") == 0)
        reading->interrupted = true;
    else
        read_rpc_fault (reading, json_object_get (turn, "error"), false);
}

/* The window that is fuller, of two equally full ones that which stays so for longer. A full one names the
 * moment for a limit that was told before it. */
static void read_rate_limits (rota_reading_t *reading, const json_t *params)
{
    static const char *const WINDOWS[] = {"primary", "secondary"};
    const json_t *limits = json_object_get (params, "rateLimits");
    double most = -1;
    for (size_t i = 0; i < sizeof WINDOWS / sizeof *WINDOWS; i++) {
        const json_t *window = json_object_get (limits, WINDOWS[i]);
        double used = rota_reading_number (window, "usedPercent") / 100;
        int64_t until_ms = rota_reading_moment_ms (reading, window, "resetsAt");
        if (!(used >= 0) || used < most || (used <= most && until_ms < reading->used_until_ms))
            continue;
        most = used;
        reading->used = used > 1 ? 1 : used;
        reading->used_until_ms = until_ms;
        take (reading->window, sizeof reading->window, WINDOWS[i]);
    }
    if (most >= 1 && reading->used_until_ms && reading->result_class == RESULT (LIMITED) &&
        reading->limit_kind == LIMIT (WINDOW) && !reading->inner.exact) {
        reading->until_ms = reading->used_until_ms;
        reading->inner.exact = true;
    }
}

static void read_token_usage (rota_reading_t *reading, const json_t *params)
{
    const json_t *total = json_object_get (json_object_get (params, "tokenUsage"), "total");
    rota_known_t input = rota_reading_count (total, "inputTokens", NULL);
    rota_known_t output = rota_reading_count (total, "outputTokens", NULL);
    rota_known_t all = rota_reading_count (total, "totalTokens", NULL);
    if (is_foreign (reading, params))
        return;
    if (all.value && !input.value && !output.value)
        return; /* the size of a context that is too full, not what was used */
    reading->usage.input_tokens = input;
    reading->usage.output_tokens = output;
    reading->usage.cached_tokens = rota_reading_count (total, "cachedInputTokens", NULL);
    reading->usage.tokens_of_session = true;
}

static void read_rpc_item (rota_reading_t *reading, const json_t *params)
{
    const json_t *item = json_object_get (params, "item");
    const char *type = rota_reading_string (item, "type");
    if (is_foreign (reading, params) || strcmp (type, "userMessage") == 0)
        return;
    rota_reading_progress (reading);
    if (strcmp (type, "agentMessage") == 0)
        say (reading, item);
}

static void read_response (rota_reading_t *reading, const json_t *message)
{
    const json_t *result = json_object_get (message, "result");
    const json_t *error = json_object_get (message, "error");
    const char *version = strchr (rota_reading_string (result, "userAgent"), '/');
    reading->inner.serves = true;
    if (version)
        rota_reading_copy (reading->version, sizeof reading->version, 0, version + 1,
                           strcspn (version + 1, " "));
    read_thread (reading, result);
    double code = rota_reading_number (error, "code");
    bool optional =
        reading->completed && code <= UNKNOWN_METHOD && code >= UNKNOWN_METHOD; /* after the work */
    if (!json_is_object (error) || optional)
        return;
    reading->completed = false;
    read_rpc_fault (reading, error, true);
}

/* ------------------------------------------------------------------------------------------ lines */

typedef struct {
    const char *name;
    const char *needle; /* must be in the line for it to matter; NULL = always */
    void (*read) (rota_reading_t *reading, const json_t *event);
    bool progress; /* without the needle it still shows that the program got on */
} event_t;

static const event_t EVENTS[] = {
    {"thread.started", NULL, read_thread_started, false},
    {"turn.started", NULL, read_turn_started, false},
    {"turn.completed", NULL, read_turn_completed, false},
    {"turn.failed", NULL, read_turn_failed, false},
    {"error", NULL, read_error, false},
    {"item.completed", "\"agent_message\"", read_item, true},
    {NULL, NULL, NULL, false},
};

static const event_t METHODS[] = {
    {"thread/started", NULL, read_thread, false},
    {"turn/started", NULL, read_rpc_turn_started, false},
    {"turn/completed", NULL, read_rpc_turn_completed, false},
    {"error", NULL, read_rpc_error, false},
    {"account/rateLimits/updated", NULL, read_rate_limits, false},
    {"thread/tokenUsage/updated", NULL, read_token_usage, false},
    {"item/completed", "\"agentMessage\"", read_rpc_item, true},
    {NULL, NULL, NULL, false},
};

static const event_t *find (const event_t *events, const char *name)
{
    while (events->name && strcmp (events->name, name) != 0)
        events++;
    return events->name ? events : NULL;
}

/* A line that is worth being parsed. What may pass makes every item worth it: only some are progress. */
static bool can_matter (const rota_reading_t *reading, const event_t *event, const char *line,
                        size_t size_bytes)
{
    return !event->needle || (event->progress && reading->inner.may_pass) ||
           rota_reading_has (line, size_bytes, event->needle);
}

void rota_read_codex_exec (rota_reading_t *reading, const char *line, size_t size_bytes)
{
    char type[ROTA_READING_WORD_BYTES];
    if (*line != '{') {
        rota_reading_remark (reading, line, size_bytes);
        return;
    }
    if (!rota_reading_peek (line, size_bytes, "type", type))
        return;
    const event_t *event = find (EVENTS, type);
    if (!event || !can_matter (reading, event, line, size_bytes))
        return;
    json_t *root = rota_reading_parse (line, size_bytes);
    if (root)
        event->read (reading, root);
    json_decref (root);
}

void rota_read_codex_rpc (rota_reading_t *reading, const char *line, size_t size_bytes)
{
    char method[ROTA_READING_WORD_BYTES];
    if (*line != '{') {
        rota_reading_remark (reading, line, size_bytes);
        return;
    }
    bool response = !rota_reading_peek (line, size_bytes, "method", method);
    const event_t *event = response ? NULL : find (METHODS, method);
    if (!response && (!event || !can_matter (reading, event, line, size_bytes)))
        return;
    json_t *message = rota_reading_parse (line, size_bytes);
    if (message && response)
        read_response (reading, message);
    else if (message)
        event->read (reading, json_object_get (message, "params"));
    json_decref (message);
}

/* Events of exec bear a "type", messages of the app-server a method or an id. Lines that are neither are
 * warnings of the program, which mean the same in both. */
void rota_read_codex (rota_reading_t *reading, const char *line, size_t size_bytes)
{
    char word[ROTA_READING_WORD_BYTES];
    bool of_exec = *line == '{' && rota_reading_peek (line, size_bytes, "type", word);
    (of_exec ? rota_read_codex_exec : rota_read_codex_rpc) (reading, line, size_bytes);
}
