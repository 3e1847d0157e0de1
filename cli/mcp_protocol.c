#include "cli/mcp.h"

#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_JSON (-32700)
#define NO_REQUEST (-32600)
#define NO_METHOD (-32601)
#define WRONG_PARAMS (-32602)
#define NO_VERSION (-32022)

#define META_VERSION "io.modelcontextprotocol/protocolVersion"
#define META_CAPABILITIES "io.modelcontextprotocol/clientCapabilities"
#define META_SERVER "io.modelcontextprotocol/serverInfo"
#define BLANKS "\r\t "
#define LIST_MS 3600000 /* how long a client may keep the list of tools, which doesn't change */

/* Those with a handshake, the newest first. What they differ in here, by their dates, which sort. */
static const char *const VERSIONS[] = {"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"};
#define VERSION_COUNT (sizeof VERSIONS / sizeof *VERSIONS)
#define WITH_HABITS "2025-03-26"     /* annotations of tools */
#define WITH_BATCHES "2025-03-26"    /* in this one alone */
#define WITH_STRUCTURES "2025-06-18" /* structuredContent, titles */

static bool since (const char *version, const char *first)
{
    return strcmp (version, first) >= 0;
}

/* ---- what is sent */

static void put_message (rota_mcp_t *self, json_t *message)
{
    char *line = json_dumps (message, JSON_COMPACT);
    size_t length = line ? strlen (line) : 0;
    if (line) {
        line[length] = '\n'; /* in the place of the NUL */
        self->over |= !self->send (self->to, line, length + 1);
    }
    free (line);
}

static json_t *respond (const json_t *id, const char *member, json_t *value)
{
    json_t *message = json_pack ("{s:s}", "jsonrpc", "2.0");
    if (id)
        json_object_set (message, "id", (json_t *)id);
    else
        json_object_set_new (message, "id", json_null ());
    json_object_set_new (message, member, value);
    return message;
}

static json_t *fault (const json_t *id, int code, const char *text)
{
    return respond (id, "error", json_pack ("{s:i, s:s}", "code", code, "message", text));
}

static json_t *fault_about (const json_t *id, int code, const char *text, const char *what)
{
    char whole[256];
    snprintf (whole, sizeof whole, "%s: %.100s", text, what);
    for (char *c = strchr (whole, '\0'); c > whole && (c[-1] & 0x80); c--) /* cut within a character */
        c[-1] = '\0';
    return fault (id, code, whole);
}

/* ---- methods */

typedef struct {
    const char *version; /* what the answer must fit */
    bool stateless;
    const json_t *id;
    const json_t *params; /* an object, or NULL */
} request_t;

static json_t *server_info (const char *version)
{
    json_t *info = json_pack ("{s:s, s:s}", "name", "rota", "version", ROTA_VERSION);
    if (since (version, WITH_STRUCTURES))
        json_object_set_new (info, "title", json_string ("rota"));
    return info;
}

static json_t *with_hints (json_t *result)
{
    json_object_set_new (result, "ttlMs", json_integer (LIST_MS));
    json_object_set_new (result, "cacheScope", json_string ("private"));
    return result;
}

/* As that era wants each of its results. */
static json_t *succeed (const request_t *request, json_t *result)
{
    if (request->stateless) {
        json_object_set_new (result, "resultType", json_string ("complete"));
        json_object_set_new (result, "_meta",
                             json_pack ("{s:o}", META_SERVER, server_info (request->version)));
    }
    return respond (request->id, "result", result);
}

static json_t *initialize (rota_mcp_t *self, const request_t *request)
{
    const char *wanted = json_string_value (json_object_get (request->params, "protocolVersion"));
    if (!wanted)
        return fault (request->id, WRONG_PARAMS, "initialize names no protocolVersion");
    self->version = VERSIONS[0]; /* the client may leave, if it can't speak that */
    for (size_t i = 0; i < VERSION_COUNT; i++)
        if (strcmp (VERSIONS[i], wanted) == 0)
            self->version = VERSIONS[i];
    return respond (request->id, "result",
                    json_pack ("{s:s, s:{s:{}}, s:o, s:s}", "protocolVersion", self->version, "capabilities",
                               "tools", "serverInfo", server_info (self->version), "instructions",
                               self->instructions));
}

static json_t *discover (rota_mcp_t *self, const request_t *request)
{
    return succeed (request,
                    with_hints (json_pack ("{s:[s], s:{s:{}}, s:s}", "supportedVersions", ROTA_MCP_STATELESS,
                                           "capabilities", "tools", "instructions", self->instructions)));
}

static json_t *ping (rota_mcp_t *self, const request_t *request)
{
    (void)self;
    return succeed (request, json_object ());
}

static json_t *tool_of (const rota_mcp_tool_t *tool, const char *version)
{
    json_t *object = json_pack ("{s:s, s:s, s:o}", "name", tool->name, "description", tool->description,
                                "inputSchema", rota_mcp_schema (tool->arguments));
    if (since (version, WITH_STRUCTURES))
        json_object_set_new (object, "title", json_string (tool->title));
    if (since (version, WITH_HABITS))
        json_object_set_new (object, "annotations",
                             json_pack ("{s:s, s:b, s:b, s:b, s:b}", "title", tool->title, "readOnlyHint",
                                        (tool->habits & ROTA_MCP_READS) != 0, "destructiveHint",
                                        (tool->habits & ROTA_MCP_DESTROYS) != 0, "idempotentHint",
                                        (tool->habits & (ROTA_MCP_READS | ROTA_MCP_REPEATABLE)) != 0,
                                        "openWorldHint", 0));
    return object;
}

/* All on one page: who comes with a cursor has it from elsewhere. */
static json_t *list_tools (rota_mcp_t *self, const request_t *request)
{
    json_t *list = json_array ();
    if (json_object_get (request->params, "cursor")) {
        json_decref (list);
        return fault (request->id, WRONG_PARAMS, "there is no page of that cursor");
    }
    for (size_t i = 0; i < self->tool_count; i++)
        json_array_append_new (list, tool_of (self->tools[i], request->version));
    json_t *result = json_pack ("{s:o}", "tools", list);
    return succeed (request, request->stateless ? with_hints (result) : result);
}

static json_t *result_of (const request_t *request, rota_mcp_answer_t *answer)
{
    char *dump = NULL;
    const char *text = answer->text;
    bool failed = answer->failed;
    if (!text && answer->object)
        text = dump = json_dumps (answer->object, JSON_COMPACT);
    if (!text) {
        text = "out of memory";
        failed = true;
    } else if (strlen (text) > ROTA_MCP_ANSWER_MAX_BYTES) {
        text = "the answer is too large: ask for less (a smaller limit, one task, fewer lines)";
        failed = true;
    }
    json_t *result =
        json_pack ("{s:[{s:s, s:s}], s:b}", "content", "type", "text", "text", text, "isError", failed);
    if (!failed && answer->object && since (request->version, WITH_STRUCTURES))
        json_object_set (result, "structuredContent", answer->object);
    free (dump);
    return result;
}

static json_t *call_tool (rota_mcp_t *self, const request_t *request)
{
    const char *name = json_string_value (json_object_get (request->params, "name"));
    const json_t *arguments = json_object_get (request->params, "arguments");
    rota_mcp_answer_t answer = {0};
    rota_error_t error = {""};
    size_t which = 0;
    if (!name)
        return fault (request->id, WRONG_PARAMS, "tools/call names no tool");
    while (which < self->tool_count && strcmp (self->tools[which]->name, name) != 0)
        which++;
    if (which == self->tool_count)
        return fault_about (request->id, WRONG_PARAMS, "Unknown tool", name);
    if (arguments && !json_is_object (arguments))
        return fault (request->id, WRONG_PARAMS, "arguments is no object");
    json_t *none = json_object ();
    if (rota_mcp_check (self->tools[which]->arguments, arguments, &error) < 0)
        rota_mcp_refuse (&answer, "%s", error.text);
    else
        self->tools[which]->call (self->owner, arguments ? arguments : none, &answer);
    json_t *response = succeed (request, result_of (request, &answer));
    json_decref (none);
    json_decref (answer.object);
    free (answer.text);
    return response;
}

enum { HANDSHAKE = 1, STATELESS = 2, FIRST = 4 /* before `initialize`, too */ };

static const struct {
    const char *name;
    unsigned eras;
    json_t *(*answer) (rota_mcp_t *self, const request_t *request);
} METHODS[] = {
    {"initialize", HANDSHAKE | FIRST, initialize},
    {"server/discover", STATELESS, discover},
    {"ping", HANDSHAKE | FIRST, ping},
    {"tools/list", HANDSHAKE | STATELESS, list_tools},
    {"tools/call", HANDSHAKE | STATELESS, call_tool},
};
#define METHOD_COUNT (sizeof METHODS / sizeof *METHODS)

/* ---- messages */

/* A request of the era without sessions says so itself. NULL, or what is wrong with it. */
static json_t *read_meta (request_t *request, const json_t *meta)
{
    const char *version = json_string_value (json_object_get (meta, META_VERSION));
    if (!version || !json_is_object (json_object_get (meta, META_CAPABILITIES)))
        return fault (request->id, WRONG_PARAMS,
                      "without a handshake _meta must hold " META_VERSION " and " META_CAPABILITIES);
    if (strcmp (version, ROTA_MCP_STATELESS) != 0)
        return respond (request->id, "error",
                        json_pack ("{s:i, s:s, s:{s:[s], s:s}}", "code", NO_VERSION, "message",
                                   "Unsupported protocol version", "data", "supported", ROTA_MCP_STATELESS,
                                   "requested", version));
    request->version = version;
    return NULL;
}

static json_t *answer_request (rota_mcp_t *self, const char *name, request_t *request)
{
    const json_t *meta = json_object_get (request->params, "_meta");
    size_t which = 0;
    while (which < METHOD_COUNT && strcmp (METHODS[which].name, name) != 0)
        which++;
    bool begins = which < METHOD_COUNT && METHODS[which].eras & FIRST;
    request->stateless = !begins && ((which < METHOD_COUNT && METHODS[which].eras == STATELESS) ||
                                     json_object_get (meta, META_VERSION));
    json_t *wrong = request->stateless ? read_meta (request, meta) : NULL;
    if (wrong)
        return wrong;
    if (which == METHOD_COUNT || !(METHODS[which].eras & (request->stateless ? STATELESS : HANDSHAKE)))
        return fault_about (request->id, NO_METHOD, "Method not found", name);
    if (!request->stateless && !self->version && !begins)
        return fault (request->id, NO_REQUEST,
                      "begin with initialize, or name the protocol's version in _meta");
    if (!request->stateless)
        request->version = self->version ? self->version : VERSIONS[0];
    return METHODS[which].answer (self, request);
}

static bool is_id (const json_t *id)
{
    return json_is_string (id) || json_is_integer (id);
}

/* The answer, or NULL where none is due: to notifications, whatever they are (each request has been answered
 * by the time that it could be cancelled), and to answers, which nobody here has asked for. */
static json_t *answer_message (rota_mcp_t *self, const json_t *message)
{
    const json_t *id = json_object_get (message, "id"), *params = json_object_get (message, "params");
    const char *method = json_string_value (json_object_get (message, "method")),
               *version = json_string_value (json_object_get (message, "jsonrpc"));
    if (!json_is_object (message) || !version || strcmp (version, "2.0") != 0)
        return fault (is_id (id) ? id : NULL, NO_REQUEST, "that is no message of JSON-RPC 2.0");
    if (!json_object_get (message, "method") &&
        (json_object_get (message, "result") || json_object_get (message, "error")))
        return NULL;
    if (!method)
        return fault (is_id (id) ? id : NULL, NO_REQUEST, "a request has a method, which is a string");
    if (!id)
        return NULL;
    if (!is_id (id))
        return fault (NULL, NO_REQUEST, "an id is a string or a whole number");
    if (params && !json_is_object (params))
        return fault (id, WRONG_PARAMS, "params is no object");
    request_t request = {.id = id, .params = params};
    return answer_request (self, method, &request);
}

static json_t *answer_batch (rota_mcp_t *self, const json_t *batch)
{
    json_t *answers = json_array ();
    size_t count = json_array_size (batch);
    if (!self->version || strcmp (self->version, WITH_BATCHES) != 0 || !count || count > ROTA_MCP_BATCH_MAX) {
        json_decref (answers);
        return fault (NULL, NO_REQUEST,
                      "batches are for version " WITH_BATCHES " alone, with 1 to 100 messages each");
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *message = json_array_get (batch, i);
        const char *method = json_string_value (json_object_get (message, "method"));
        const json_t *id = json_object_get (message, "id");
        json_t *answer = method && strcmp (method, "initialize") == 0
                             ? fault (is_id (id) ? id : NULL, NO_REQUEST, "initialize isn't for a batch")
                             : answer_message (self, message);
        if (answer)
            json_array_append_new (answers, answer);
    }
    if (json_array_size (answers))
        return answers;
    json_decref (answers);
    return NULL;
}

/* Without the words of the parser, which quote what may be no UTF-8. */
static json_t *no_json (int position)
{
    char text[64];
    snprintf (text, sizeof text, "that is no JSON (at byte %d of the line)", position);
    return fault (NULL, NO_JSON, text);
}

static void take_line (rota_mcp_t *self, const char *line, size_t length)
{
    json_error_t error;
    while (length && memchr (BLANKS, line[length - 1], sizeof BLANKS - 1))
        length--;
    if (!length || self->over)
        return;
    json_t *message = json_loadb (line, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error), *answer;
    if (!message)
        answer = no_json (error.position);
    else if (json_is_array (message))
        answer = answer_batch (self, message);
    else
        answer = answer_message (self, message);
    if (answer)
        put_message (self, answer);
    json_decref (answer);
    json_decref (message);
}

/* ---- bytes */

static bool hold (rota_mcp_t *self, const char *bytes, size_t size)
{
    size_t needed = self->used + size;
    if (needed > self->capacity) {
        size_t capacity = needed < 4096 ? 4096 : 2 * needed;
        char *wider = realloc (self->bytes, capacity);
        if (!wider)
            return false;
        self->bytes = wider;
        self->capacity = capacity;
    }
    if (size)
        memcpy (self->bytes + self->used, bytes, size);
    self->used = needed;
    return true;
}

static void skip (rota_mcp_t *self)
{
    json_t *answer = fault (NULL, NO_REQUEST, "a line may have 1 MiB; this one is passed over");
    put_message (self, answer);
    json_decref (answer);
    self->used = 0;
    self->skips = true;
}

bool rota_mcp_feed (rota_mcp_t *self, const char *bytes, size_t size)
{
    for (const char *end = bytes + size; bytes < end && !self->over;) {
        const char *newline = memchr (bytes, '\n', (size_t)(end - bytes));
        size_t part = (size_t)((newline ? newline : end) - bytes);
        if (!self->skips && (self->used + part > ROTA_MCP_LINE_MAX_BYTES || !hold (self, bytes, part)))
            skip (self);
        if (newline) {
            if (!self->skips)
                take_line (self, self->bytes ? self->bytes : "", self->used);
            self->used = 0;
            self->skips = false;
        }
        bytes += part + (newline != NULL);
    }
    return !self->over;
}

void rota_mcp_end (rota_mcp_t *self)
{
    if (!self->skips && self->used)
        take_line (self, self->bytes, self->used);
    free (self->bytes);
    self->bytes = NULL;
    self->used = self->capacity = 0;
}
