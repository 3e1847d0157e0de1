/* The Agent Client Protocol: what an agent sends to its client, as seen with claude-agent-acp 0.101.0,
 * codex-acp 0.16.0, gemini 0.61.0 and opencode 1.18.18, all of version 1.
 *
 * The answer to session/prompt ends the turn, in version 2 the state "idle"; its stopReason says how. A
 * permission that the client refused is not visible here: the client counts it itself, in lines of its own.
 * Tokens are those of the turns since the program began, the cost is that of the session.
 */
#include "agents/reading_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define AUTH_REQUIRED (-32000)
#define UNKNOWN_METHOD (-32601)

/* Adapters mix their own warnings into the agent's words. */
static const char *const NOT_ITS_WORDS[] = {"**Warning:**", "Model metadata for "};

static void take (char *to, size_t capacity, const char *text)
{
    if (*text)
        rota_reading_copy (to, capacity, 0, text, strlen (text));
}

static const char *provider_of (const rota_reading_t *reading)
{
    static const char *const PROVIDERS[] = {"claude", "codex", "gemini", "opencode"};
    for (size_t i = 0; i < sizeof PROVIDERS / sizeof *PROVIDERS; i++)
        if (strcasestr (reading->version, PROVIDERS[i]))
            return PROVIDERS[i];
    return NULL;
}

/* ------------------------------------------------------------------------------------------ updates */

/* The commonest line by far: only the text in it is parsed. */
static void read_chunk (rota_reading_t *reading, const char *update, const char *end)
{
    if (reading->result_class != RESULT (UNSPECIFIED))
        return;
    if (reading->inner.speaking && strlen (reading->message) > ROTA_READING_MESSAGE_BYTES - 8)
        return;
    json_t *text =
        rota_reading_text (rota_reading_find (rota_reading_find (update, end, "content"), end, "text"), end);
    const char *words = json_string_value (text);
    bool its_own = words;
    for (size_t i = 0; its_own && i < sizeof NOT_ITS_WORDS / sizeof *NOT_ITS_WORDS; i++)
        its_own = strncmp (words, NOT_ITS_WORDS[i], strlen (NOT_ITS_WORDS[i])) != 0;
    if (its_own) {
        rota_reading_say (reading, words, json_string_length (text));
        reading->inner.speaking = true;
    }
    json_decref (text);
}

static void read_usage_update (rota_reading_t *reading, const json_t *update)
{
    const json_t *cost = json_object_get (update, "cost");
    double amount = rota_reading_number (cost, "amount");
    take (reading->model, sizeof reading->model,
          rota_reading_string (json_object_get (update, "_meta"), "_claude/model"));
    /* 0 is what opencode says of a model whose price it doesn't know. */
    if (!(amount > 0 && amount < 1e9) || strcmp (rota_reading_string (cost, "currency"), "USD") != 0)
        return;
    reading->usage.cost_nano_usd = (rota_known_t){.known = true, .value = (uint64_t)llround (amount * 1e9)};
    reading->usage.cost_of_session = true;
}

/* Version 2: a message whole, in the place of what was said of it so far. */
static void read_message (rota_reading_t *reading, const json_t *update)
{
    const json_t *block;
    size_t i;
    reading->inner.speaking = false;
    json_array_foreach (json_object_get (update, "content"), i, block)
    {
        const char *text = rota_reading_string (block, "text");
        if (*text)
            rota_reading_say (reading, text, strlen (text));
        reading->inner.speaking |= *text != '\0';
    }
}

/* ------------------------------------------------------------------------------------------ answers */

static void read_initialized (rota_reading_t *reading, const json_t *result)
{
    const json_t *info = json_object_get (result, "agentInfo");
    if (!info)
        info = json_object_get (result, "info"); /* version 2 */
    const char *name = rota_reading_string (info, "name");
    const char *slash = strrchr (name, '/');
    char text[ROTA_READING_WORD_BYTES];
    snprintf (text, sizeof text, "%.40s %.20s", slash ? slash + 1 : name,
              rota_reading_string (info, "version"));
    take (reading->version, sizeof reading->version, strcmp (text, " ") == 0 ? "" : text);
}

static void read_session (rota_reading_t *reading, const json_t *result)
{
    const json_t *option;
    size_t i;
    reading->began = true;
    take (reading->session, sizeof reading->session, rota_reading_string (result, "sessionId"));
    take (reading->model, sizeof reading->model,
          rota_reading_string (json_object_get (result, "models"), "currentModelId"));
    json_array_foreach (json_object_get (result, "configOptions"), i,
                        option) if (strcmp (rota_reading_string (option, "category"), "model") == 0)
        take (reading->model, sizeof reading->model, rota_reading_string (option, "currentValue"));
}

static void add (rota_known_t *sum, rota_known_t more)
{
    if (more.known)
        *sum = (rota_known_t){.known = true, .value = sum->value + more.value};
}

/* Whether inputTokens holds the cached ones differs between agents; the total tells. False when the turn is
 * known to have used nothing at all. */
static bool read_usage (rota_reading_t *reading, const json_t *result)
{
    const json_t *usage = json_object_get (result, "usage");
    const json_t *quota = json_object_get (json_object_get (result, "_meta"), "quota");
    if (!json_is_object (usage))
        usage = json_object_get (quota, "token_count");
    rota_known_t input = rota_reading_count (usage, "inputTokens", "input_tokens");
    rota_known_t output = rota_reading_count (usage, "outputTokens", "output_tokens");
    rota_known_t cached = rota_reading_count (usage, "cachedReadTokens", "cachedInputTokens");
    rota_known_t written = rota_reading_count (usage, "cachedWriteTokens", NULL);
    rota_known_t total = rota_reading_count (usage, "totalTokens", "total_tokens");
    bool worked = !input.known || !output.known || input.value + output.value > 0;
    const char *provider = provider_of (reading);
    if (provider && strcmp (provider, "opencode") == 0)
        return worked; /* the last request's alone: not those of the turn */
    add (&output, rota_reading_count (usage, "thoughtTokens", NULL));
    if (total.known && input.known && total.value >= input.value + output.value)
        input.value = total.value - output.value;
    else if (!total.known && input.known)
        input.value += cached.value + written.value;
    add (&reading->usage.input_tokens, input);
    add (&reading->usage.output_tokens, output);
    add (&reading->usage.cached_tokens, cached);
    return worked;
}

static void read_stop (rota_reading_t *reading, const json_t *result, const char *reason)
{
    static const struct {
        const char *reason, *text;
    } ENDS[] = {
        {"max_tokens", "it used up the tokens of a turn; split the task or allow more"},
        {"max_turn_requests", "it used up the requests of a turn; split the task or allow more"},
        {"refusal", "the model refused the task"},
    };
    bool worked = read_usage (reading, result);
    reading->completed = false;
    if (strcmp (reason, "cancelled") == 0) {
        reading->interrupted = true;
        return;
    }
    if (strcmp (reason, "end_turn") == 0 && worked) {
        rota_reading_complete (reading);
        return;
    }
    if (strcmp (reason, "end_turn") == 0 && reading->result_class != RESULT (UNSPECIFIED))
        return; /* that is why it did nothing */
    const char *text = "it ended its turn for a reason that is not known";
    if (strcmp (reason, "end_turn") == 0) /* opencode ends so what it could not do, or was cancelled */
        text = "it ended its turn without a word from the model; its log may say why";
    for (size_t i = 0; i < sizeof ENDS / sizeof *ENDS; i++)
        if (strcmp (reason, ENDS[i].reason) == 0)
            text = ENDS[i].text;
    rota_reading_fail (reading, RESULT (FAILED), text);
}

/* There is no common code for limits: claude-agent-acp has errorKind, codex-acp codex_error_info, Gemini the
 * HTTP status as the error's code. */
static void read_error (rota_reading_t *reading, const json_t *error)
{
    static const char INTERNAL[] = "Internal error: ";
    const json_t *data = json_object_get (error, "data");
    double number = rota_reading_number (error, "code");
    if (reading->completed && number >= UNKNOWN_METHOD && number <= UNKNOWN_METHOD)
        return; /* the client asked for something optional, after the work */
    const char *text = rota_reading_string (data, "message");
    if (json_is_string (data))
        text = json_string_value (data);
    if (!*text)
        text = rota_reading_string (error, "message");
    if (strncmp (text, INTERNAL, sizeof INTERNAL - 1) == 0)
        text += sizeof INTERNAL - 1;
    const char *kind = rota_reading_string (data, "errorKind");
    rota_reading_fault_t fault = {
        .provider = provider_of (reading),
        .codes = {*kind ? kind : rota_reading_string (data, "codex_error_info")},
        .status = number >= 400 && number < 600 ? (int)number : 0,
        .text = text,
        .may_pass = true, /* another try may be answered better */
    };
    if (number >= AUTH_REQUIRED && number <= AUTH_REQUIRED)
        fault.codes[0] = "unauthorized";
    reading->completed = false;
    rota_reading_note (reading, &fault);
}

static void read_answer (rota_reading_t *reading, const json_t *message)
{
    const json_t *result = json_object_get (message, "result");
    const json_t *error = json_object_get (message, "error");
    const char *reason = rota_reading_string (result, "stopReason");
    reading->inner.serves = true;
    if (json_is_object (error))
        read_error (reading, error);
    else if (*reason)
        read_stop (reading, result, reason);
    else if (json_object_get (result, "protocolVersion"))
        read_initialized (reading, result);
    else if (*rota_reading_string (result, "sessionId"))
        read_session (reading, result);
}

/* ------------------------------------------------------------------------------------------ lines */

static void read_state (rota_reading_t *reading, const json_t *update)
{
    const json_t *error = json_object_get (update, "error");
    const char *reason = rota_reading_string (update, "stopReason");
    if (strcmp (rota_reading_string (update, "state"), "idle") != 0)
        return;
    reading->inner.serves = true;
    if (strcmp (reason, "error") == 0 && json_is_object (error))
        read_error (reading, error);
    else
        read_stop (reading, update, reason);
}

static void read_update (rota_reading_t *reading, const char *line, size_t size_bytes)
{
    static const struct {
        const char *kind;
        void (*read) (rota_reading_t *reading, const json_t *update);
    } WHOLE[] = {
        {"usage_update", read_usage_update}, {"agent_message", read_message}, {"state_update", read_state}};
    char kind[ROTA_READING_WORD_BYTES], session[ROTA_READING_WORD_BYTES];
    const char *end = line + size_bytes;
    const char *params = rota_reading_find (line, end, "params");
    const char *update = rota_reading_find (params, end, "update");
    if (!*reading->session && rota_reading_word (rota_reading_find (params, end, "sessionId"), end, session))
        take (reading->session, sizeof reading->session, session);
    if (!rota_reading_word (rota_reading_find (update, end, "sessionUpdate"), end, kind))
        return;
    if (strcmp (kind, "agent_message_chunk") == 0)
        read_chunk (reading, update, end);
    else if (strncmp (kind, "tool_call", strlen ("tool_call")) == 0)
        reading->inner.speaking = false;
    for (size_t i = 0; i < sizeof WHOLE / sizeof *WHOLE; i++) {
        if (strcmp (kind, WHOLE[i].kind) != 0)
            continue;
        json_t *message = rota_reading_parse (line, size_bytes);
        WHOLE[i].read (reading, json_object_get (json_object_get (message, "params"), "update"));
        json_decref (message);
    }
}

/* The client's own word: permissions that it refused; a turn that it cancelled to tell the agent something.
 */
static void read_ours (rota_reading_t *reading, const char *line, size_t size_bytes)
{
    json_t *message = rota_reading_parse (line, size_bytes);
    const json_t *ours = json_object_get (message, "rota");
    rota_known_t denied = rota_reading_count (ours, "denied", NULL);
    if (denied.known)
        reading->denied = denied.value < UINT32_MAX ? (uint32_t)denied.value : UINT32_MAX;
    if (json_object_get (ours, "told"))
        rota_reading_turn (reading);
    json_decref (message);
}

/* Opencode sits out what fails, and tells of it in its log alone:
 * timestamp=... level=ERROR ... message="stream error" ... error.error="AI_APICallError: TEXT" */
static bool read_log_line (rota_reading_t *reading, const char *line, size_t size_bytes)
{
    static const char FIRST[] = "timestamp=", BEFORE[] = " error.error=";
    if (size_bytes < sizeof FIRST || memcmp (line, FIRST, sizeof FIRST - 1) != 0 ||
        !rota_reading_has (line, size_bytes, " message=\"stream error\""))
        return false;
    const char *found = memmem (line, size_bytes, BEFORE, sizeof BEFORE - 1);
    json_t *text = found ? rota_reading_text (found + sizeof BEFORE - 1, line + size_bytes) : NULL;
    const char *words = json_string_value (text);
    if (words) {
        size_t name = strcspn (words, ": ");
        const char *without = strncmp (words + name, ": ", 2) == 0 ? words + name + 2 : words;
        rota_reading_note (
            reading,
            &(rota_reading_fault_t){.provider = provider_of (reading), .text = without, .may_pass = true});
    }
    json_decref (text);
    return found;
}

void rota_read_acp (rota_reading_t *reading, const char *line, size_t size_bytes)
{
    static const char OURS[] = "{\"rota\":";
    char method[ROTA_READING_WORD_BYTES];
    if (*line != '{') {
        if (!read_log_line (reading, line, size_bytes))
            rota_reading_remark (reading, line, size_bytes);
        return;
    }
    if (size_bytes >= sizeof OURS && memcmp (line, OURS, sizeof OURS - 1) == 0) {
        read_ours (reading, line, size_bytes);
        return;
    }
    if (rota_reading_peek (line, size_bytes, "method", method)) {
        if (strcmp (method, "session/update") == 0)
            read_update (reading, line, size_bytes);
        return;
    }
    json_t *message = rota_reading_parse (line, size_bytes);
    if (message)
        read_answer (reading, message);
    json_decref (message);
}
