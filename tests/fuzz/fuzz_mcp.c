/* Any bytes from a client of `rota mcp`, in pieces of any size; the first byte is their size. No crash, each
 * line that is sent is JSON-RPC, a notification has no answer, and the pieces don't matter. */
#include "cli/mcp.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void echo (void *owner, const json_t *arguments, rota_mcp_answer_t *answer)
{
    (void)owner;
    if (rota_mcp_integer (arguments, "number", 0))
        rota_mcp_give (answer, json_deep_copy (arguments));
    else
        rota_mcp_say (answer, "%s", rota_mcp_text (arguments, "text", ""));
    if (answer->object)
        rota_mcp_clip (answer->object, 20);
}

static const rota_mcp_argument_t ARGUMENTS[] = {
    {.name = "text", .help = "what", .kind = ROTA_MCP_TEXT, .required = true, .most = 100},
    {.name = "number", .help = "how many", .kind = ROTA_MCP_INTEGER, .least = 0, .most = 9},
    {.name = "share", .help = "of it", .kind = ROTA_MCP_NUMBER, .least = 0, .most = 1},
    {.name = "way", .help = "how", .kind = ROTA_MCP_TEXT, .choices = "up,down"},
    {.name = "names", .help = "whose", .kind = ROTA_MCP_TEXTS, .most = 2},
    {.name = NULL}};
static const rota_mcp_tool_t ECHO = {"echo", "Echo", "Says it again.", ARGUMENTS, 0, NULL, echo};
static const rota_mcp_tool_t *const TOOLS[] = {&ECHO};

typedef struct {
    uint64_t sum;
} sent_t;

static void check_answer (const json_t *answer)
{
    const char *version = json_string_value (json_object_get (answer, "jsonrpc"));
    bool result = json_object_get (answer, "result"), error = json_object_get (answer, "error");
    if (!version || strcmp (version, "2.0") != 0 || result == error || !json_object_get (answer, "id"))
        abort ();
}

static bool take (void *to, const char *line, size_t size)
{
    sent_t *sent = to;
    if (!size || line[size - 1] != '\n' || memchr (line, '\n', size - 1))
        abort ();
    json_t *message = json_loadb (line, size, 0, NULL);
    if (json_is_array (message) && json_array_size (message) > 0)
        for (size_t i = 0; i < json_array_size (message); i++)
            check_answer (json_array_get (message, i));
    else
        check_answer (message);
    json_decref (message);
    for (size_t i = 0; i < size; i++)
        sent->sum = (sent->sum ^ (uint8_t)line[i]) * 1099511628211u;
    return true;
}

static uint64_t talk (const char *bytes, size_t size, size_t step)
{
    sent_t sent = {14695981039346656037u};
    rota_mcp_t self = {.tools = TOOLS, .tool_count = 1, .instructions = "", .send = take, .to = &sent};
    for (size_t at = 0; at < size; at += step)
        rota_mcp_feed (&self, bytes + at, size - at < step ? size - at : step);
    rota_mcp_end (&self);
    return sent.sum;
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    if (size && talk ((const char *)data + 1, size - 1, size) !=
                    talk ((const char *)data + 1, size - 1, (size_t)data[0] + 1))
        abort ();
    return 0;
}
