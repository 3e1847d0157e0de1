/* The Model Context Protocol, both eras of it: what each line is answered, whole and cut at every byte; and
 * that a table of arguments is the same as a schema and as a check. */
#include "cli/mcp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define META                                                                                                 \
    "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\","                                 \
    "\"io.modelcontextprotocol/clientCapabilities\":{}}"
#define INITIALIZE(version)                                                                                  \
    "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{\"protocolVersion\":\"" version     \
    "\",\"capabilities\":{},\"clientInfo\":{\"name\":\"t\",\"version\":\"1\"}}}\n"
#define REQUEST(id, method, params)                                                                          \
    "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"" method "\",\"params\":{" params "}}\n"

/* ---- a server with three tools */

static unsigned calls;

static void echo (void *owner, const json_t *arguments, rota_mcp_answer_t *answer)
{
    (void)owner;
    calls++;
    rota_mcp_say (answer, "%s %lld", rota_mcp_text (arguments, "text", "?"),
                  (long long)rota_mcp_integer (arguments, "times", 1));
}

static void give (void *owner, const json_t *arguments, rota_mcp_answer_t *answer)
{
    (void)owner, (void)arguments;
    rota_mcp_give (answer, json_pack ("{s:i}", "number", 7));
}

static void flood (void *owner, const json_t *arguments, rota_mcp_answer_t *answer)
{
    (void)owner, (void)arguments;
    char *text = calloc (1, ROTA_MCP_ANSWER_MAX_BYTES + 2);
    assert_non_null (text);
    memset (text, 'x', ROTA_MCP_ANSWER_MAX_BYTES + 1);
    rota_mcp_give_bytes (answer, text, ROTA_MCP_ANSWER_MAX_BYTES + 1);
    free (text);
}

static const rota_mcp_argument_t ECHO[] = {
    {.name = "text", .help = "what", .kind = ROTA_MCP_TEXT, .required = true, .most = 20},
    {.name = "times", .help = "how often", .kind = ROTA_MCP_INTEGER, .least = 1, .most = 9},
    {.name = "share", .help = "of it", .kind = ROTA_MCP_NUMBER, .least = 0, .most = 1},
    {.name = "way", .help = "how", .kind = ROTA_MCP_TEXT, .choices = "up,down"},
    {.name = "names", .help = "whose", .kind = ROTA_MCP_TEXTS, .most = 2},
    {.name = NULL}};
static const rota_mcp_tool_t TOOLS[] = {
    {"echo", "Echo", "Says it again.", ECHO, ROTA_MCP_READS, NULL, echo},
    {"give", "Give", "Gives a number.", NULL, ROTA_MCP_DESTROYS, NULL, give},
    {"flood", "Flood", "Says too much.", NULL, 0, NULL, flood},
};
static const rota_mcp_tool_t *const LIST[] = {&TOOLS[0], &TOOLS[1], &TOOLS[2]};

typedef struct {
    char *bytes;
    size_t size;
    bool closed;
} sent_t;

static bool take (void *to, const char *line, size_t size)
{
    sent_t *self = to;
    assert_true (size > 1 && line[size - 1] == '\n' && !memchr (line, '\n', size - 1));
    self->bytes = realloc (self->bytes, self->size + size + 1);
    assert_non_null (self->bytes);
    memcpy (self->bytes + self->size, line, size);
    self->size += size;
    self->bytes[self->size] = '\0';
    return !self->closed;
}

static rota_mcp_t server (sent_t *sent)
{
    *sent = (sent_t){0};
    return (rota_mcp_t){
        .tools = LIST, .tool_count = 3, .instructions = "Be brief.", .send = take, .to = sent};
}

static sent_t say_bytes (const char *bytes, size_t size, size_t step)
{
    sent_t sent;
    rota_mcp_t self = server (&sent);
    for (size_t at = 0; at < size; at += step)
        rota_mcp_feed (&self, bytes + at, size - at < step ? size - at : step);
    rota_mcp_end (&self);
    return sent;
}

/* The last of what is answered to it. */
static json_t *say (const char *text)
{
    sent_t sent = say_bytes (text, strlen (text), strlen (text));
    if (!sent.size)
        return NULL;
    sent.bytes[sent.size - 1] = '\0';
    char *last = strrchr (sent.bytes, '\n');
    json_t *answer = json_loads (last ? last + 1 : sent.bytes, 0, NULL);
    assert_non_null (answer);
    free (sent.bytes);
    return answer;
}

/* A value by its path; "" = the whole. */
static const json_t *at (const json_t *value, const char *path)
{
    char name[64];
    while (*path && value) {
        size_t length = strcspn (path, "|");
        assert_true (length < sizeof name);
        memcpy (name, path, length);
        name[length] = '\0';
        value = json_is_array (value) ? json_array_get (value, (size_t)atoi (name))
                                      : json_object_get (value, name);
        path += length + (path[length] == '|');
    }
    return value;
}

/* ---- what is answered */

typedef struct {
    const char *what, *said;
    const char *path;   /* of the last answer */
    const char *wanted; /* as JSON; NULL = it isn't there; with path NULL: nothing is answered */
} row_t;

#define OLD INITIALIZE ("2025-11-25")
static const row_t ROWS[] = {
    {"its version", INITIALIZE ("2024-11-05"), "result|protocolVersion", "\"2024-11-05\""},
    {"its version", INITIALIZE ("2025-03-26"), "result|protocolVersion", "\"2025-03-26\""},
    {"its version", INITIALIZE ("2025-06-18"), "result|protocolVersion", "\"2025-06-18\""},
    {"its version", INITIALIZE ("2025-11-25"), "result|protocolVersion", "\"2025-11-25\""},
    {"an unknown version gets ours", INITIALIZE ("2031-01-01"), "result|protocolVersion", "\"2025-11-25\""},
    {"also that of the other era", INITIALIZE ("2026-07-28"), "result|protocolVersion", "\"2025-11-25\""},
    {"no title before it was known", INITIALIZE ("2025-03-26"), "result|serverInfo|title", NULL},
    {"tools alone", OLD, "result|capabilities", "{\"tools\":{}}"},
    {"instructions", OLD, "result|instructions", "\"Be brief.\""},
    {"no version", REQUEST ("1", "initialize", ""), "error|code", "-32602"},
    {"again", OLD INITIALIZE ("2025-03-26"), "result|protocolVersion", "\"2025-03-26\""},
    {"nothing before it", REQUEST ("1", "tools/list", ""), "error|code", "-32600"},
    {"but ping", REQUEST ("1", "ping", ""), "result", "{}"},
    {"initialized", OLD "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n", "id", "0"},
    {"a cancellation",
     OLD "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{"
         "\"requestId\":0}}\n",
     "id", "0"},
    {"a foreign notification", "{\"jsonrpc\":\"2.0\",\"method\":\"x/y\",\"params\":3}\n", NULL, NULL},
    {"an answer to nothing", "{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{}}\n", NULL, NULL},
    {"blank lines", "\n \r\n\t\n", NULL, NULL},
    {"a carriage return", "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"ping\"}\r\n", "result", "{}"},
    {"no newline at the end", "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"ping\"}", "result", "{}"},
    {"id as a text", OLD REQUEST ("\"a b\"", "ping", ""), "id", "\"a b\""},
    {"list", OLD REQUEST ("2", "tools/list", ""), "result|tools|0|name", "\"echo\""},
    {"list: the order is the table's", OLD REQUEST ("2", "tools/list", ""), "result|tools|2|name",
     "\"flood\""},
    {"list: the schema", OLD REQUEST ("2", "tools/list", ""), "result|tools|0|inputSchema|required",
     "[\"text\"]"},
    {"list: hints", OLD REQUEST ("2", "tools/list", ""), "result|tools|0|annotations|readOnlyHint", "true"},
    {"list: hints", OLD REQUEST ("2", "tools/list", ""), "result|tools|1|annotations|destructiveHint",
     "true"},
    {"list: none in 2024", INITIALIZE ("2024-11-05") REQUEST ("2", "tools/list", ""),
     "result|tools|0|annotations", NULL},
    {"list: no hints for caches", OLD REQUEST ("2", "tools/list", ""), "result|ttlMs", NULL},
    {"list: no pages", OLD REQUEST ("2", "tools/list", "\"cursor\":\"x\""), "error|code", "-32602"},
    {"call", OLD REQUEST ("2", "tools/call", "\"name\":\"echo\",\"arguments\":{\"text\":\"hi\",\"times\":3}"),
     "result|content", "[{\"type\":\"text\",\"text\":\"hi 3\"}]"},
    {"call: 3.0 is 3",
     OLD REQUEST ("2", "tools/call", "\"name\":\"echo\",\"arguments\":{\"text\":\"hi\",\"times\":3.0}"),
     "result|content|0|text", "\"hi 3\""},
    {"call: a structure", OLD REQUEST ("2", "tools/call", "\"name\":\"give\""), "result|structuredContent",
     "{\"number\":7}"},
    {"call: and as text", OLD REQUEST ("2", "tools/call", "\"name\":\"give\""), "result|content|0|text",
     "\"{\\\"number\\\":7}\""},
    {"call: only as text in 2025-03",
     INITIALIZE ("2025-03-26") REQUEST ("2", "tools/call", "\"name\":\"give\""), "result|structuredContent",
     NULL},
    {"call: none", OLD REQUEST ("2", "tools/call", "\"name\":\"nix\""), "error|code", "-32602"},
    {"call: no name", OLD REQUEST ("2", "tools/call", ""), "error|code", "-32602"},
    {"call: no object", OLD REQUEST ("2", "tools/call", "\"name\":\"give\",\"arguments\":[]"), "error|code",
     "-32602"},
    {"call: what the model can mend", OLD REQUEST ("2", "tools/call", "\"name\":\"echo\""), "result|isError",
     "true"},
    {"call: too large an answer", OLD REQUEST ("2", "tools/call", "\"name\":\"flood\""), "result|isError",
     "true"},
    {"no such method", OLD REQUEST ("2", "resources/list", ""), "error|code", "-32601"},
    {"discover isn't of this era", OLD REQUEST ("2", "server/discover", ""), "error|code", "-32602"},
    {"batch of 2025-03",
     INITIALIZE ("2025-03-26") "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"},"
                               "{\"jsonrpc\":\"2.0\",\"method\":\"n\"},{\"jsonrpc\":\"2.0\",\"id\":2,"
                               "\"method\":\"initialize\"}]\n",
     "1|error|code", "-32600"},
    {"batch: answers for requests",
     INITIALIZE ("2025-03-26") "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"},3]\n", "0|result", "{}"},
    {"batch: of notifications", INITIALIZE ("2025-03-26") "[{\"jsonrpc\":\"2.0\",\"method\":\"n\"}]\n", "id",
     "0"},
    {"batch: empty", INITIALIZE ("2025-03-26") "[]\n", "error|code", "-32600"},
    {"batch: elsewhere", OLD "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]\n", "error|code",
     "-32600"},

    {"discover", REQUEST ("1", "server/discover", META), "result|supportedVersions", "[\"2026-07-28\"]"},
    {"discover: kind of result", REQUEST ("1", "server/discover", META), "result|resultType", "\"complete\""},
    {"discover: who", REQUEST ("1", "server/discover", META),
     "result|_meta|io.modelcontextprotocol/serverInfo|name", "\"rota\""},
    {"discover: for caches", REQUEST ("1", "server/discover", META), "result|cacheScope", "\"private\""},
    {"stateless list", REQUEST ("1", "tools/list", META), "result|tools|1|name", "\"give\""},
    {"stateless list: for caches", REQUEST ("1", "tools/list", META), "result|ttlMs", "3600000"},
    {"stateless call", REQUEST ("1", "tools/call", META ",\"name\":\"give\""),
     "result|structuredContent|number", "7"},
    {"stateless call: kind", REQUEST ("1", "tools/call", META ",\"name\":\"give\""), "result|resultType",
     "\"complete\""},
    {"no ping there", REQUEST ("1", "resources/list", META), "error|code", "-32601"},
    {"without capabilities",
     REQUEST ("1", "tools/list", "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\"}"),
     "error|code", "-32602"},
    {"a version of tomorrow",
     REQUEST ("1", "tools/list",
              "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2099-01-01\","
              "\"io.modelcontextprotocol/clientCapabilities\":{}}"),
     "error|code", "-32022"},
    {"which we have",
     REQUEST ("1", "tools/list",
              "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2099-01-01\","
              "\"io.modelcontextprotocol/clientCapabilities\":{}}"),
     "error|data", "{\"supported\":[\"2026-07-28\"],\"requested\":\"2099-01-01\"}"},
    {"one era doesn't begin the other", REQUEST ("1", "tools/list", META) REQUEST ("2", "tools/list", ""),
     "error|code", "-32600"},
    {"nor end it", OLD REQUEST ("1", "tools/list", META) REQUEST ("2", "tools/list", ""), "result|ttlMs",
     NULL},

    {"no JSON", "{\"jsonrpc\"\n", "error|code", "-32700"},
    {"no JSON: no id", "{\"jsonrpc\"\n", "id", "null"},
    {"a name twice", "{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"ping\"}\n", "error|code", "-32700"},
    {"no UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}\n", "error|code", "-32700"},
    {"an escaped NUL", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\\u0000\"}\n", "error|code", "-32700"},
    {"a number", "3\n", "error|code", "-32600"},
    {"no version of JSON-RPC", "{\"id\":1,\"method\":\"ping\"}\n", "error|code", "-32600"},
    {"its id is told all the same", "{\"id\":1,\"method\":\"ping\"}\n", "id", "1"},
    {"id null", "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}\n", "error|code", "-32600"},
    {"id 1.5", "{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"ping\"}\n", "id", "null"},
    {"method 3", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":3}\n", "error|code", "-32600"},
    {"a list as params", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":[]}\n", "error|code",
     "-32602"},
};

static void test_each_line_is_answered (void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        json_t *answer = say (ROWS[i].said);
        const json_t *found = ROWS[i].path ? at (answer, ROWS[i].path) : answer;
        json_t *wanted = ROWS[i].wanted ? json_loads (ROWS[i].wanted, JSON_DECODE_ANY, NULL) : NULL;
        if (!json_equal (found, wanted) && (found || wanted)) {
            char *dump = json_dumps (answer, JSON_ENCODE_ANY);
            fail_msg ("%s: %s is not %s in %s", ROWS[i].what, ROWS[i].path, ROWS[i].wanted, dump);
        }
        json_decref (wanted);
        json_decref (answer);
    }
}

/* All rows as one session: byte by byte it is answered as in one piece, and wherever it ends, what was whole
 * until there has its answer. */
static void test_cut_at_every_byte (void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream (&text, &size);
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        fputs (ROWS[i].said, stream);
        if (ROWS[i].said[strlen (ROWS[i].said) - 1] != '\n')
            fputc ('\n', stream);
    }
    assert_int_equal (fclose (stream), 0);
    sent_t whole = say_bytes (text, size, size), bytes = say_bytes (text, size, 1),
           odd = say_bytes (text, size, 7);
    assert_string_equal (bytes.bytes, whole.bytes);
    assert_string_equal (odd.bytes, whole.bytes);
    size_t step = getenv ("ROTA_TEST_LONG") ? 1 : 13;
    for (size_t cut = 0; cut < size; cut += step) {
        sent_t part = say_bytes (text, cut, cut + 1);
        size_t lines = 0, kept = 0;
        for (size_t i = 0; i < part.size; i++)
            lines += part.bytes[i] == '\n';
        /* But for the answer to the line that was cut. */
        for (size_t i = 0; lines > 0 && i < part.size; i++)
            if (part.bytes[i] == '\n' && --lines > 0)
                kept = i + 1;
        assert_true (!kept || memcmp (part.bytes, whole.bytes, kept) == 0);
        free (part.bytes);
    }
    free (odd.bytes);
    free (bytes.bytes);
    free (whole.bytes);
    free (text);
}

/* One that is too long is passed over, whatever it is made of; the next is answered. */
static void test_huge_lines (void **state)
{
    (void)state;
    static const char PING[] = "\n{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"ping\"}\n";
    for (size_t extra = 0; extra < 3; extra++)
        for (int nul = 0; nul < 2; nul++) {
            size_t size = ROTA_MCP_LINE_MAX_BYTES - 1 + extra;
            char *text = calloc (1, size + sizeof PING);
            assert_non_null (text);
            memset (text, nul ? 0 : '[', size);
            memcpy (text + size, PING, sizeof PING);
            sent_t sent = say_bytes (text, size + strlen (PING), 65536);
            bool over = size > ROTA_MCP_LINE_MAX_BYTES;
            assert_non_null (strstr (sent.bytes, over ? "1 MiB" : "no JSON"));
            assert_null (strstr (sent.bytes, over ? "no JSON" : "1 MiB"));
            assert_non_null (strstr (sent.bytes, "\"id\":9,\"result\""));
            free (sent.bytes);
            free (text);
        }
}

static void test_nobody_reads (void **state)
{
    (void)state;
    static const char TEXT[] =
        OLD REQUEST ("1", "tools/call", "\"name\":\"echo\",\"arguments\":{\"text\":\"x\"}");
    sent_t sent;
    rota_mcp_t self = server (&sent);
    sent.closed = true;
    calls = 0;
    assert_false (rota_mcp_feed (&self, TEXT, strlen (TEXT)));
    rota_mcp_end (&self);
    assert_int_equal (calls, 0);
    free (sent.bytes);
}

static void test_arguments (void **state)
{
    (void)state;
    static const struct {
        const char *given, *wrong; /* NULL = it fits */
    } CASES[] = {
        {"{\"text\": \"a\"}", NULL},
        {"{\"text\": \"a\", \"times\": 9, \"share\": 1, \"way\": \"up\", \"names\": [\"b\", \"c\"]}", NULL},
        {"{\"text\": \"a\", \"share\": 0.5, \"names\": []}", NULL},
        {"{}", "\"text\" is missing"},
        {"{\"text\": null}", "must be a string"},
        {"{\"text\": \"\"}", "is empty"},
        {"{\"text\": \"123456789012345678901\"}", "has 21 bytes"},
        {"{\"text\": \"a\", \"times\": 0}", "from 1 to 9"},
        {"{\"text\": \"a\", \"times\": 10}", "whole number"},
        {"{\"text\": \"a\", \"times\": 1.5}", "whole number"},
        {"{\"text\": \"a\", \"times\": \"1\"}", "whole number"},
        {"{\"text\": \"a\", \"share\": -0.1}", "from 0 to 1"},
        {"{\"text\": \"a\", \"way\": \"sideways\"}", "one of up,down"},
        {"{\"text\": \"a\", \"way\": \"u\"}", "one of up,down"},
        {"{\"text\": \"a\", \"names\": \"b\"}", "list"},
        {"{\"text\": \"a\", \"names\": [\"b\", \"c\", \"d\"]}", "at most 2"},
        {"{\"text\": \"a\", \"names\": [3]}", "\"names\"[0]"},
        {"{\"text\": \"a\", \"names\": [\"\"]}", "\"names\"[0]"},
        {"{\"text\": \"a\", \"when\": 3}", "no argument \"when\""},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        json_t *given = json_loads (CASES[i].given, 0, NULL);
        rota_error_t error = {""};
        int status = rota_mcp_check (ECHO, given, &error);
        if ((status < 0) != (CASES[i].wrong != NULL) ||
            (CASES[i].wrong && !strstr (error.text, CASES[i].wrong)))
            fail_msg ("%s: \"%s\" instead of \"%s\"", CASES[i].given, error.text,
                      CASES[i].wrong ? CASES[i].wrong : "");
        json_decref (given);
    }
    json_t *nothing = json_object ();
    rota_error_t error;
    assert_int_equal (rota_mcp_check (NULL, nothing, &error), 0);
    json_decref (nothing);
}

static void test_texts_are_cut_between_characters (void **state)
{
    (void)state;
    json_t *value =
        json_pack ("{s:s, s:[s, {s:s}]}", "a", "abcdef", "b", "\xC3\xA4\xC3\xA4\xC3\xA4", "c", "short");
    rota_mcp_clip (value, 5);
    assert_string_equal (json_string_value (at (value, "a")), "abcde ...");
    assert_string_equal (json_string_value (at (value, "b|0")), "\xC3\xA4\xC3\xA4 ...");
    assert_string_equal (json_string_value (at (value, "b|1|c")), "short");
    json_decref (value);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (test_each_line_is_answered),
        cmocka_unit_test (test_cut_at_every_byte),
        cmocka_unit_test (test_huge_lines),
        cmocka_unit_test (test_nobody_reads),
        cmocka_unit_test (test_arguments),
        cmocka_unit_test (test_texts_are_cut_between_characters),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
