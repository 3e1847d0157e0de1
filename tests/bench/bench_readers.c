/* bench_readers - what reading the output of an agent program costs.
 *
 *     bench_readers [LINES]
 *
 * Typical output of each kind, over and over, through the splitter of lines in blocks as a pipe gives them:
 * pieces of what the model says, tool calls and their results, now and then a count. Processor time, not
 * elapsed time. Prints one JSON object a reader; core_share_at_10000_lines_per_s is what one slot would take
 * of a core.
 */
#include "agents/reading.h"
#include "tests/bench/stack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLOCK_BYTES 65536
#define OUTPUT_PLACE "@" /* in a line: what a tool printed */
#define OUTPUT_BYTES 900

typedef struct {
    const char *name;
    rota_reader_t *reader;
    const char *lines[8]; /* ended by NULL */
} kind_t;

#define DELTA(text)                                                                                          \
    "{\"type\":\"stream_event\",\"event\":{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{"         \
    "\"type\":"                                                                                              \
    "\"text_delta\",\"text\":\"" text "\"}},\"session_id\":\"0d0c5e5e-1111-4222-8333-000000000001\","        \
    "\"parent_tool_use_id\":null,\"uuid\":\"0d0c5e5e-1111-4222-8333-000000000002\"}"
#define CHUNK(text)                                                                                          \
    "{\"jsonrpc\":\"2.0\",\"method\":\"session/update\",\"params\":{\"sessionId\":\"0d0c5e5e-1111-4222\","   \
    "\"update\":{\"sessionUpdate\":\"agent_message_chunk\",\"content\":{\"type\":\"text\",\"text\":\"" text  \
    "\"},\"messageId\":\"msg_1\"}}}"

static const kind_t KINDS[] = {
    {"claude",
     rota_read_claude,
     {DELTA ("I look at "), DELTA ("the parser "), DELTA ("first, then "), DELTA ("at its tests."),
      "{\"type\":\"assistant\",\"message\":{\"id\":\"msg_1\",\"role\":\"assistant\",\"content\":[{\"type\":"
      "\"tool_use\",\"id\":\"toolu_1\",\"name\":\"Bash\",\"input\":{\"command\":\"ls -la src && make "
      "check\"}}],"
      "\"usage\":{\"input_tokens\":1000,\"output_tokens\":1}},\"session_id\":\"0d0c5e5e\"}",
      "{\"type\":\"user\",\"message\":{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"content\":"
      "\"@\",\"is_error\":false,\"tool_use_id\":\"toolu_1\"}]},\"session_id\":\"0d0c5e5e\"}"}},
    {"codex-exec",
     rota_read_codex_exec,
     {"{\"type\":\"item.started\",\"item\":{\"id\":\"item_1\",\"type\":\"command_execution\",\"command\":"
      "\"make "
      "check\",\"aggregated_output\":\"\",\"exit_code\":null,\"status\":\"in_progress\"}}",
      "{\"type\":\"item.completed\",\"item\":{\"id\":\"item_1\",\"type\":\"command_execution\",\"command\":"
      "\"make "
      "check\",\"aggregated_output\":\"@\",\"exit_code\":0,\"status\":\"completed\"}}",
      "{\"type\":\"item.completed\",\"item\":{\"id\":\"item_2\",\"type\":\"agent_message\",\"text\":\"The "
      "tests "
      "pass, I go on with the next file.\"}}"}},
    {"codex-app-server",
     rota_read_codex_rpc,
     {"{\"method\":\"item/agentMessage/delta\",\"params\":{\"threadId\":\"t1\",\"turnId\":\"u1\",\"itemId\":"
      "\"msg_1\",\"delta\":\"I look at \"},\"emittedAtMs\":1795419896422}",
      "{\"method\":\"item/agentMessage/delta\",\"params\":{\"threadId\":\"t1\",\"turnId\":\"u1\",\"itemId\":"
      "\"msg_1\",\"delta\":\"the parser \"},\"emittedAtMs\":1795419896423}",
      "{\"method\":\"item/commandExecution/"
      "outputDelta\",\"params\":{\"threadId\":\"t1\",\"itemId\":\"call_1\","
      "\"delta\":\"@\"},\"emittedAtMs\":1795419896424}",
      "{\"method\":\"item/completed\",\"params\":{\"item\":{\"type\":\"commandExecution\",\"id\":\"call_1\","
      "\"command\":\"make check\",\"aggregatedOutput\":\"@\",\"exitCode\":0},\"threadId\":\"t1\"}}",
      "{\"method\":\"thread/tokenUsage/updated\",\"params\":{\"threadId\":\"t1\",\"tokenUsage\":{\"total\":{"
      "\"totalTokens\":1542,\"inputTokens\":1500,\"cachedInputTokens\":300,\"outputTokens\":42}}}}"}},
    {"acp",
     rota_read_acp,
     {CHUNK ("I look at "), CHUNK ("the parser "), CHUNK ("first, then "), CHUNK ("at its tests."),
      "{\"jsonrpc\":\"2.0\",\"method\":\"session/update\",\"params\":{\"sessionId\":\"0d0c5e5e-1111-4222\","
      "\"update\":{\"sessionUpdate\":\"tool_call_update\",\"toolCallId\":\"toolu_1\",\"status\":"
      "\"completed\","
      "\"rawOutput\":\"@\"}}}"}},
};

static double cpu_s (void)
{
    struct timespec now;
    clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void put_line (FILE *stream, const char *line)
{
    static const char OUTPUT[] = "src/parser.c:412: warning: unused variable \\\"depth\\\"\\n";
    size_t before = strcspn (line, OUTPUT_PLACE);
    fwrite (line, 1, before, stream);
    if (line[before]) {
        for (size_t put = 0; put < OUTPUT_BYTES; put += sizeof OUTPUT - 1)
            fputs (OUTPUT, stream);
        fputs (line + before + 1, stream);
    }
    fputc ('\n', stream);
}

/* One block of output; the number of its lines. */
static size_t make_block (const kind_t *kind, char **ret_bytes, size_t *ret_size)
{
    size_t lines = 0;
    FILE *stream = open_memstream (ret_bytes, ret_size);
    if (!stream)
        bench_die ("memory", kind->name);
    while (ftell (stream) < BLOCK_BYTES)
        for (size_t i = 0; kind->lines[i]; i++, lines++)
            put_line (stream, kind->lines[i]);
    fclose (stream);
    return lines;
}

static void run (const kind_t *kind, size_t wanted)
{
    char *block;
    size_t size, in_block = make_block (kind, &block, &size), done = 0, fed_bytes = 0;
    rota_reading_t reading;
    rota_lines_t lines = {0};
    rota_reading_init (&reading, NULL, 1795419000000);
    double begun_s = cpu_s ();
    for (; done < wanted; done += in_block)
        for (size_t at = 0; at < size; at += 4096) { /* pipes give no whole lines */
            size_t part = size - at < 4096 ? size - at : 4096;
            if (rota_lines_feed (&lines, block + at, part, kind->reader, &reading) < 0)
                bench_die ("memory", kind->name);
            fed_bytes += part;
        }
    double took_s = cpu_s () - begun_s;
    rota_lines_end (&lines, kind->reader, &reading);
    free (block);
    printf (
        "{\"bench\": \"readers-%s\", \"lines\": %zu, \"seconds\": %.3f, \"lines_per_s\": %.0f, \"mb_per_s\": "
        "%.0f, \"core_share_at_10000_lines_per_s\": %.4f}\n",
        kind->name, done, took_s, (double)done / took_s, (double)fed_bytes / took_s / 1e6,
        took_s / (double)done * 10000);
}

int main (int argc, char **argv)
{
    size_t lines = argc > 1 ? strtoull (argv[1], NULL, 10) : 1000000;
    if (!lines)
        bench_die ("lines", "give a number of at least 1");
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        run (&KINDS[i], lines);
    return 0;
}
