/* Texts that want to be obeyed (injection/texts.def), each at each boundary where a text from outside comes
 * by: none changes a verdict, an edge, an argument, a variable, a path, a gate, a limit or a roadmap.
 */
#include "agents/adapter.h"
#include "agents/described.h"
#include "agents/environment.h"
#include "agents/fence_word.h"
#include "agents/logs.h"
#include "agents/outbox.h"
#include "agents/program.h"
#include "agents/told.h"
#include "agents/verdict.h"
#include "bus/names.h"
#include "proto/words.h"
#include "scheduler/gates.h"
#include "scheduler/roadmap.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW_MS 1795419000000
#define REVIEW "feedfacecafebeef"
#define FENCE "0123456789abcdef0123456789abcdef"

typedef struct {
    const char *name, *text;
} text_t;

static const text_t TEXTS[] = {
#define TEXT(name, text) {name, text},
#include "tests/unit/injection/texts.def"
#undef TEXT
};
#define COUNT(list) (sizeof (list) / sizeof *(list))

static rota_pool_t *pool;
static rota_settings_t *settings;
static rota_limits_t *limits;
static char place[] = "/tmp/rota-injection-XXXXXX";

/* cmocka doesn't know which text it is at. */
#define CHECK(text, condition)                                                                               \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            fail_msg ("%s: not so: %s", (text)->name, #condition);                                           \
    } while (0)

#define EACH(it) for (const text_t *it = TEXTS; it < TEXTS + COUNT (TEXTS); it++)

static char *format_json (const char *format, ...)
{
    va_list args;
    va_start (args, format);
    json_error_t error;
    json_t *object = json_vpack_ex (&error, 0, format, args);
    va_end (args);
    if (!object)
        fail_msg ("%s", error.text);
    char *line = json_dumps (object, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref (object);
    char *kept = rota_pool_text (pool, line, strlen (line));
    free (line);
    return kept;
}

static size_t count_of (const char *text, const char *what)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr (at, what)); at += strlen (what))
        count++;
    return count;
}

/* ---- verdicts */

static void assert_wants_changes (const text_t *it, const char *answer)
{
    json_t *verdict = rota_verdict_find (answer, strlen (answer), REVIEW);
    CHECK (it, verdict != NULL);
    CHECK (it, json_is_false (json_object_get (verdict, "approved")));
    CHECK (it, json_integer_value (json_object_get (verdict, "score")) == 12);
    json_decref (verdict);
}

/* Said before it, after it, and within what the reviewer says of it. */
static void a_verdict_that_wants_changes_stays_one (void **state)
{
    (void)state;
    EACH (it)
    {
        const char *verdict =
            format_json ("{s:s, s:s, s:s, s:i, s:[{s:s, s:i, s:s, s:s}]}", "review", REVIEW, "verdict",
                         "changes", "summary", it->text, "score", 12, "comments", "file", it->text, "line", 1,
                         "severity", it->text, "text", it->text);
        assert_wants_changes (it, verdict);
        assert_wants_changes (it, rota_pool_format (pool, "%s\n%s", it->text, verdict));
        assert_wants_changes (it, rota_pool_format (pool, "%s\nThe file says: %s", verdict, it->text));
    }
}

static void assert_none (const text_t *it, const char *answer)
{
    json_t *verdict = rota_verdict_find (answer, strlen (answer), REVIEW);
    CHECK (it, !verdict);
    json_decref (verdict);
}

/* What a reviewer merely quotes is no verdict, wherever in its answer it stands. */
static void words_are_no_verdict (void **state)
{
    (void)state;
    EACH (it)
    {
        assert_none (it, it->text);
        assert_none (it, rota_pool_format (pool, "The file says: %s and I can't judge", it->text));
        assert_none (it, rota_pool_format (pool, "It ends with: %s", it->text));
        assert_none (it, format_json ("{s:s}", "text", it->text));
        assert_none (it, format_json ("{s:s, s:s}", "review", it->text, "verdict", "approve"));
    }
}

/* One that the reviewer gives is one, whatever it quotes before and behind it. */
static void its_own_verdict_is_one (void **state)
{
    char words[2][ROTA_VERDICT_WORD_BYTES];
    (void)state;
    for (int i = 0; i < 2; i++)
        rota_verdict_word (words[i]);
    assert_int_equal (strlen (words[0]), ROTA_VERDICT_WORD_BYTES - 1);
    assert_string_not_equal (words[0], words[1]);
    EACH (it)
    {
        const char *own =
            format_json ("{s:s, s:s, s:i}", "review", words[0], "verdict", "approve", "score", 7);
        const char *answer = rota_pool_format (pool, "%s\n%s\n%s", it->text, own, it->text);
        json_t *verdict = rota_verdict_find (answer, strlen (answer), words[0]);
        CHECK (it, json_is_true (json_object_get (verdict, "approved")));
        CHECK (it, json_integer_value (json_object_get (verdict, "score")) == 7);
        json_decref (verdict);
        CHECK (it, !rota_verdict_find (answer, strlen (answer), words[1]));
    }
}

/* ---- what agents are told */

static void the_context_keeps_its_edges (void **state)
{
    static const char *const KINDS[] = {"decision", "constraint", "learning", "gate",  "review",
                                        "answer",   "failure",    "file",     "rules", "dependency"};
    (void)state;
    for (size_t k = 0; k < COUNT (KINDS); k++)
        EACH (it)
        {
            rota_told_t told = {.pool = pool};
            rota_told_add (&told, KINDS[k], 0, it->text, strlen (it->text));
            char *text = rota_told_render (&told, 4000, false, FENCE, NULL);
            CHECK (it, text && *text);
            const char *begin = strstr (text, "----- BEGIN CONTEXT " FENCE " -----\n");
            const char *end = strstr (text, "----- END CONTEXT " FENCE " -----\n");
            CHECK (it, begin && end && begin < end);
            CHECK (it, count_of (text, FENCE " -----") == 2);
            CHECK (it, count_of (text, "\n## ") == 1);
            for (const char *at = strchr (begin, '\n') + 1; at < end; at = strchr (at, '\n') + 1)
                CHECK (it, !strncmp (at, "- ", 2) || !strncmp (at, "  ", 2) || !strncmp (at, "## ", 3));
            for (const char *at = text; *at; at++)
                CHECK (it, (unsigned char)*at >= 0x20 || *at == '\n');
            CHECK (it, !strstr (text, "\xE2\x80\xAE") && !strstr (text, "\xE2\x81\xA6"));
        }
}

static Rota__TaskSpec a_task (void)
{
    Rota__TaskSpec spec = ROTA__TASK_SPEC__INIT;
    spec.has_id = spec.has_title = true;
    spec.id = rota_bytes ("t");
    spec.title = rota_bytes ("Title");
    return spec;
}

/* What is asked for comes after what was answered, and the answer lies whole between its edges. */
static void an_answer_under_review_keeps_its_edges (void **state)
{
    (void)state;
    EACH (it)
    {
        Rota__TaskSpec spec = a_task ();
        Rota__Assignment assignment = ROTA__ASSIGNMENT__INIT;
        assignment.spec = &spec;
        assignment.phase = PHASE (REVIEW);
        assignment.answer = rota_bytes (it->text);
        const char *prompt = rota_program_prompt (&assignment, REVIEW, pool);
        const char *begin = strstr (prompt, "----- BEGIN ANSWER ");
        char word[ROTA_FENCE_BYTES] = "";
        CHECK (it, begin && sscanf (begin, "----- BEGIN ANSWER %32s", word) == 1 && strlen (word) == 32);
        CHECK (it, !strstr (it->text, word));
        const char *body = strchr (begin, '\n') + 1;
        const char *end = strstr (prompt, rota_pool_format (pool, "\n----- END ANSWER %s -----\n", word));
        CHECK (it, end && (size_t)(end - body) == strlen (it->text));
        CHECK (it, memcmp (body, it->text, strlen (it->text)) == 0);
        CHECK (it, strstr (end, "End your answer with exactly one JSON object"));
        CHECK (it, strstr (end, "{\"review\": \"" REVIEW "\", "));
        CHECK (it, count_of (prompt, word) == 3);
    }
}

static void a_task_can_not_pass_for_a_session (void **state)
{
    (void)state;
    EACH (it)
    {
        Rota__TaskSpec spec = a_task ();
        Rota__Assignment assignment = ROTA__ASSIGNMENT__INIT;
        spec.has_description = spec.has_prompt = true;
        spec.title = spec.description = spec.prompt = rota_bytes (it->text);
        assignment.spec = &spec;
        assignment.phase = PHASE (WORK);
        const char *prompt = rota_program_prompt (&assignment, REVIEW, pool);
        CHECK (it, strncmp (prompt, "Task t: ", 8) == 0);
        CHECK (it, strncmp (prompt + 8, it->text, strlen (it->text)) == 0);
    }
}

static void a_note_stays_one_note (void **state)
{
    (void)state;
    rota_arena_t *arena = rota_arena_new (8 << 20);
    EACH (it)
    {
        rota_outbox_t outbox;
        const char *line = format_json ("{s:s, s:s, s:s, s:[s]}", "type", "learning", "topic", it->text,
                                        "text", it->text, "tasks", it->text);
        rota_outbox_read (line, strlen (line), arena, &outbox);
        CHECK (it, outbox.count == 1);
        CHECK (it, outbox.notes[0]->type == NOTE (LEARNING));
        CHECK (it, !rota_outbox_question (&outbox));
        ProtobufCBinaryData topic = outbox.notes[0]->topic;
        CHECK (it, !topic.len || !memchr (topic.data, '\n', topic.len));
    }
    rota_arena_destroy (&arena);
}

/* ---- commands */

static const char DESCRIPTION[] = "name: cat\n"
                                  "arguments: [cat, -p, \"{prompt}\", \"--in={directory}\", --, last]\n"
                                  "prompt: argument\n"
                                  "resume: [--resume, \"{session}\"]\n"
                                  "session: 'session=(.*)$'\n";

static rota_described_t *describe (void)
{
    rota_error_t error = {""};
    char *path = rota_pool_format (pool, "%s/cat.yaml", place);
    FILE *file = fopen (path, "w");
    assert_non_null (file);
    fputs (DESCRIPTION, file);
    fclose (file);
    rota_described_t *described = rota_described_read (path, &error);
    if (!described)
        fail_msg ("%s", error.text);
    return described;
}

static rota_adapter_context_t context_of (void *described)
{
    return (rota_adapter_context_t){.settings = settings,
                                    .agent = "cat@here",
                                    .directory = "/srv",
                                    .state_dir = place,
                                    .account = "default",
                                    .limits = limits,
                                    .state = described};
}

static void a_text_is_one_argument (void **state)
{
    (void)state;
    rota_described_t *described = describe ();
    rota_adapter_context_t context = context_of (described);
    EACH (it)
    {
        Rota__TaskSpec spec = a_task ();
        Rota__Assignment assignment = ROTA__ASSIGNMENT__INIT;
        rota_attempt_t attempt = {0};
        rota_error_t error = {""};
        spec.has_prompt = spec.has_description = true;
        spec.title = spec.description = spec.prompt = rota_bytes (it->text);
        assignment.spec = &spec;
        assignment.phase = PHASE (WORK);
        CHECK (it, ROTA_ADAPTER_COMMAND.prepare (&context, &assignment, 0, pool, &attempt, &error) == 0);
        const char *const ALL[] = {"cat",       "-p", rota_program_prompt (&assignment, REVIEW, pool),
                                   "--in=/srv", "--", "last"};
        for (size_t i = 0; i < COUNT (ALL); i++)
            CHECK (it, attempt.argv[i] && strcmp (attempt.argv[i], ALL[i]) == 0);
        CHECK (it, !attempt.argv[COUNT (ALL)]);
        CHECK (it, attempt.argv[2][0] != '-');
        CHECK (it, strcmp (attempt.directory, "/srv") == 0);
    }
    rota_described_destroy (&described);
}

/* The program runs a line of shell that the task's text has no part in. */
static void a_command_stays_as_it_was_written (void **state)
{
    (void)state;
    rota_adapter_context_t context = context_of (NULL);
    EACH (it)
    {
        Rota__TaskSpec spec = a_task ();
        Rota__Assignment assignment = ROTA__ASSIGNMENT__INIT;
        rota_attempt_t attempt = {0};
        rota_error_t error = {""};
        spec.has_run = spec.has_description = spec.has_prompt = true;
        spec.run = rota_bytes ("make all");
        spec.id = spec.title = spec.description = spec.prompt = rota_bytes (it->text);
        assignment.spec = &spec;
        CHECK (it, ROTA_ADAPTER_EXEC.prepare (&context, &assignment, 0, pool, &attempt, &error) == 0);
        CHECK (it, strcmp (attempt.argv[1], "-c") == 0 && strcmp (attempt.argv[2], "make all") == 0);
        CHECK (it, !attempt.argv[3]);
        CHECK (it, strcmp (attempt.directory, "/srv") == 0);
    }
}

/* What an agent prints can name its session, and an option can't be one. */
static void a_session_is_no_option_and_no_path (void **state)
{
    (void)state;
    rota_described_t *described = describe ();
    EACH (it)
    {
        rota_reading_t reading;
        rota_reading_init (&reading, limits, NOW_MS);
        reading.description = described;
        char *line = rota_pool_format (pool, "session=%s", it->text);
        rota_read_described (&reading, line, strlen (line));
        CHECK (it, !strchr (reading.session, '/') && !strchr (reading.session, ' '));
        CHECK (it, reading.session[0] != '-' && !strstr (reading.session, ".."));
        rota_read_described (&reading, "session=5e55-10:a_b", 19);
        CHECK (it, reading.session[0] && strlen (reading.session) < 12);
    }
    rota_described_destroy (&described);
}

static const char *variable (char *const *list, const char *name)
{
    size_t length = strlen (name);
    for (; *list; list++)
        if (strncmp (*list, name, length) == 0 && (*list)[length] == '=')
            return *list + length + 1;
    return NULL;
}

static void a_text_is_one_variable (void **state)
{
    static const char *const NAMES[] = {"ROTA_TASK_ID",     "ROTA_TASK_TITLE", "ROTA_TASK_DESCRIPTION",
                                        "ROTA_TASK_PROMPT", "ROTA_TASK_EPIC",  "ROTA_TASK_MILESTONE",
                                        "ROTA_TASK_LABELS"};
    (void)state;
    rota_adapter_context_t context = context_of (NULL);
    size_t usual = 0;
    EACH (it)
    {
        Rota__TaskSpec spec = a_task ();
        Rota__Assignment assignment = ROTA__ASSIGNMENT__INIT;
        ProtobufCBinaryData label = rota_bytes (it->text);
        spec.has_description = spec.has_prompt = spec.has_epic = spec.has_milestone = true;
        spec.id = spec.title = spec.description = spec.prompt = spec.epic = spec.milestone = label;
        spec.labels = &label;
        spec.n_labels = 1;
        assignment.spec = &spec;
        assignment.attempt = 7;
        assignment.phase = PHASE (WORK);
        char **list = rota_environment_new (&context, &assignment, "mark", NULL, pool);
        size_t count = 0;
        for (; list[count]; count++) {
            const char *equals = strchr (list[count], '=');
            CHECK (it, equals && (size_t)(equals - list[count]) ==
                                     strspn (list[count], "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"));
        }
        CHECK (it, !usual || count == usual);
        usual = count;
        for (size_t i = 0; i < COUNT (NAMES); i++)
            CHECK (it, strcmp (variable (list, NAMES[i]), it->text) == 0);
        CHECK (it, strcmp (variable (list, "ROTA_ATTEMPT"), "7") == 0);
        CHECK (it, strcmp (list[0], ROTA_ENVIRONMENT_MARK "=mark") == 0);
        CHECK (it, !variable (list, "LD_PRELOAD"));
        CHECK (it, strcmp (variable (list, "PATH"), "/tmp") != 0);
    }
}

/* ---- paths */

static void a_name_stays_in_its_directory (void **state)
{
    (void)state;
    char names[COUNT (TEXTS)][ROTA_ENCODED_MAX_BYTES];
    for (size_t i = 0; i < COUNT (TEXTS); i++) {
        const text_t *it = &TEXTS[i];
        char *name = names[i], path[ROTA_LOGS_PATH_BYTES];
        rota_id_encode (it->text, strlen (it->text), name);
        CHECK (it, *name && strlen (name) < ROTA_ENCODED_MAX_BYTES);
        CHECK (it, strspn (name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-%~") ==
                       strlen (name));
        for (size_t k = 0; k < i; k++)
            CHECK (it, strcmp (names[k], name) != 0);
        CHECK (it, rota_logs_path ("/state", it->text, strlen (it->text), 3, path) == 0);
        CHECK (it, strncmp (path, "/state/logs/", 12) == 0 && strncmp (path + 12, name, strlen (name)) == 0);
        CHECK (it, strcmp (path + 12 + strlen (name), "/3") == 0);
        char branch[ROTA_BRANCH_MAX_BYTES];
        rota_branch_name (it->text, strlen (it->text), 3, branch);
        CHECK (it, strncmp (branch, "rota-work/", 10) == 0);
        CHECK (it,
               strspn (branch + 10, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-%+") +
                       2 ==
                   strlen (branch + 10)); /* nothing that git check-ref-format refuses */
        CHECK (it, strcmp (branch + strlen (branch) - 2, ".3") == 0);
    }
}

/* ---- gates */

static void a_gate_runs_what_the_roadmap_says (void **state)
{
    (void)state;
    Rota__Gate known = ROTA__GATE__INIT, *list[] = {&known};
    Rota__RoadmapHeader header = ROTA__ROADMAP_HEADER__INIT;
    known.has_name = known.has_command = true;
    known.name = rota_bytes ("test");
    known.command = rota_bytes ("make check");
    header.gates = list;
    header.n_gates = 1;
    EACH (it)
    {
        static const char *const KINDS[] = {"critic", "doc", "artifact", "diff", NULL};
        Rota__TaskSpec spec = a_task ();
        Rota__Criterion criteria[COUNT (KINDS) + 1], *all[COUNT (KINDS) + 1];
        ProtobufCBinaryData text = rota_bytes (it->text), gates[] = {rota_bytes ("test"), text};
        spec.has_description = spec.has_prompt = true;
        spec.title = spec.description = spec.prompt = text;
        spec.gates = gates;
        spec.n_gates = COUNT (gates);
        for (size_t i = 0; i <= COUNT (KINDS); i++) {
            rota__criterion__init (all[i] = &criteria[i]);
            criteria[i].value = text;
            criteria[i].has_kind = i == COUNT (KINDS) || KINDS[i];
            criteria[i].kind = i == COUNT (KINDS) ? text : rota_bytes (KINDS[i] ? KINDS[i] : "");
        }
        spec.exit_criteria = all;
        spec.n_exit_criteria = COUNT (all);
        rota_gates_t found;
        rota_gates_find (&header, &spec, &found);
        CHECK (it, found.count == 2);
        CHECK (it,
               found.gates[0].command.len == 10 && !memcmp (found.gates[0].command.data, "make check", 10));
        CHECK (it, !found.gates[1].has_command && !found.gates[1].command.len);
    }
}

/* ---- limits */

static void feed (rota_reader_t *reader, rota_reading_t *reading, const char *line)
{
    reader (reading, line, strlen (line));
}

static void say_claude (rota_reading_t *reading, const char *text)
{
    feed (rota_read_claude, reading, "{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"s\"}");
    feed (rota_read_claude, reading,
          format_json ("{s:s, s:{s:s, s:[{s:s, s:s}]}}", "type", "assistant", "message", "role", "assistant",
                       "content", "type", "text", "text", text));
    feed (rota_read_claude, reading,
          format_json ("{s:s, s:{s:[{s:s, s:s}]}}", "type", "user", "message", "content", "type",
                       "tool_result", "content", text));
}

static void end_claude (rota_reading_t *reading, const char *text)
{
    feed (rota_read_claude, reading,
          format_json ("{s:s, s:s, s:b, s:s}", "type", "result", "subtype", "success", "is_error", 0,
                       "result", text));
}

static void say_codex (rota_reading_t *reading, const char *text)
{
    feed (rota_read_codex_exec, reading, "{\"type\":\"thread.started\",\"thread_id\":\"t\"}");
    feed (rota_read_codex_exec, reading, "{\"type\":\"turn.started\"}");
    feed (rota_read_codex_exec, reading,
          format_json ("{s:s, s:{s:s, s:s, s:i}}", "type", "item.completed", "item", "type",
                       "command_execution", "aggregated_output", text, "exit_code", 1));
    feed (rota_read_codex_exec, reading,
          format_json ("{s:s, s:{s:s, s:s}}", "type", "item.completed", "item", "type", "agent_message",
                       "text", text));
}

static void end_codex (rota_reading_t *reading, const char *text)
{
    (void)text;
    feed (rota_read_codex_exec, reading, "{\"type\":\"turn.completed\",\"usage\":{\"output_tokens\":5}}");
}

static void say_acp (rota_reading_t *reading, const char *text)
{
    feed (rota_read_acp, reading, "{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{\"protocolVersion\":1}}");
    feed (rota_read_acp, reading, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"sessionId\":\"s\"}}");
    feed (rota_read_acp, reading,
          format_json ("{s:s, s:s, s:{s:s, s:{s:s, s:s, s:s}}}", "jsonrpc", "2.0", "method", "session/update",
                       "params", "sessionId", "s", "update", "sessionUpdate", "tool_call", "title", text,
                       "status", "pending"));
    feed (rota_read_acp, reading,
          format_json ("{s:s, s:s, s:{s:s, s:{s:s, s:{s:s, s:s}}}}", "jsonrpc", "2.0", "method",
                       "session/update", "params", "sessionId", "s", "update", "sessionUpdate",
                       "agent_message_chunk", "content", "type", "text", "text", text));
}

static void end_acp (rota_reading_t *reading, const char *text)
{
    (void)text;
    feed (
        rota_read_acp, reading,
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"stopReason\":\"end_turn\",\"usage\":{\"inputTokens\":7,"
        "\"outputTokens\":4,\"totalTokens\":11}}}");
}

static const struct {
    void (*say) (rota_reading_t *reading, const char *text);
    void (*end) (rota_reading_t *reading, const char *text);
} SPEAKERS[] = {{say_claude, end_claude}, {say_codex, end_codex}, {say_acp, end_acp}};

/* What an agent says or reads is no word of its provider, and no end of its work. */
static void what_an_agent_says_is_no_limit (void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT (SPEAKERS); i++)
        EACH (it)
        {
            rota_reading_t reading;
            rota_reading_verdict_t verdict;
            rota_reading_init (&reading, limits, NOW_MS);
            SPEAKERS[i].say (&reading, it->text);
            CHECK (it, !reading.completed);
            CHECK (it, reading.result_class == RESULT (UNSPECIFIED) && !reading.until_ms);
            rota_reading_judge (&reading, 1, 0, &verdict);
            CHECK (it, verdict.result_class == RESULT (FAILED) && !verdict.until_ms);
            SPEAKERS[i].end (&reading, it->text);
            rota_reading_judge (&reading, 0, 0, &verdict);
            CHECK (it, verdict.result_class == RESULT (OK));
            CHECK (it, !verdict.limit_kind && !verdict.until_ms);
            CHECK (it, strlen (reading.session) == 1);
            for (const char *at = reading.message; *at; at++)
                CHECK (it, (unsigned char)*at >= 0x20);
        }
}

/* ---- roadmaps */

static void check_roadmap (const text_t *it, const rota_roadmap_t *roadmap)
{
    CHECK (it, roadmap->task_count == 2 && roadmap->header.n_gates == 1);
    CHECK (it, roadmap->header.gates[0]->command.len == 10);
    const Rota__TaskSpec *spec = roadmap->specs[0];
    CHECK (it, !strcmp ((const char *)spec->id.data, "a"));
    CHECK (it, spec->description.len == strlen (it->text));
    CHECK (it, !memcmp (spec->description.data, it->text, strlen (it->text)));
    CHECK (it, !spec->has_run && !spec->n_gates && !spec->has_approval);
    CHECK (it, !strcmp ((const char *)roadmap->specs[1]->id.data, "b"));
}

/* As it is written in a file, and as rota writes it. */
static void a_text_in_a_roadmap_stays_a_text (void **state)
{
    (void)state;
    EACH (it)
    {
        rota_roadmap_t *roadmap = NULL, *again = NULL;
        rota_error_t error;
        const char *quoted = format_json ("[s]", it->text);
        const char *file = rota_pool_format (pool,
                                             "gates: {test: make check}\n"
                                             "tasks:\n"
                                             "  - {id: a, description: %.*s}\n"
                                             "  - {id: b}\n",
                                             (int)strlen (quoted) - 2, quoted + 1);
        CHECK (it, rota_roadmap_parse ("r.yaml", file, strlen (file), NULL, &roadmap, &error) == 0);
        CHECK (it, roadmap->fault_count == 0);
        check_roadmap (it, roadmap);
        char *written = NULL;
        size_t size;
        FILE *stream = open_memstream (&written, &size);
        CHECK (it, rota_roadmap_write (stream, &roadmap->header, roadmap->specs, roadmap->count) == 0);
        fclose (stream);
        CHECK (it, rota_roadmap_parse ("r.yaml", written, size, NULL, &again, &error) == 0);
        CHECK (it, again->fault_count == 0);
        check_roadmap (it, again);
        rota_roadmap_destroy (&roadmap);
        rota_roadmap_destroy (&again);
        free (written);
    }
}

/* Ids and titles are one line: taken as they are, or refused. */
static void an_id_and_a_title_are_one_line (void **state)
{
    (void)state;
    EACH (it)
    {
        rota_roadmap_t *roadmap = NULL;
        rota_error_t error;
        const char *reason;
        const char *quoted = format_json ("[s]", it->text);
        const char *file =
            rota_pool_format (pool, "- id: %.*s\n  title: %.*s\n- {id: b}\n", (int)strlen (quoted) - 2,
                              quoted + 1, (int)strlen (quoted) - 2, quoted + 1);
        CHECK (it, rota_roadmap_parse ("r.yaml", file, strlen (file), NULL, &roadmap, &error) == 0);
        bool fit = rota_id_check (it->text, strlen (it->text), &reason) == 0;
        CHECK (it, (roadmap->fault_count == 0) == fit);
        if (fit) {
            CHECK (it, roadmap->task_count == 2);
            CHECK (it, !strcmp ((const char *)roadmap->specs[0]->id.data, it->text));
            CHECK (it, !strcmp ((const char *)roadmap->specs[0]->title.data, it->text));
        }
        for (const char *at = it->text; *at; at++)
            CHECK (it, !fit || (unsigned char)*at >= 0x20);
        rota_roadmap_destroy (&roadmap);
    }
}

static int set_up (void **state)
{
    rota_error_t error = {""};
    (void)state;
    pool = rota_pool_new ();
    limits = rota_limits_new (NULL, &error);
    if (!pool || !limits || !mkdtemp (place) ||
        rota_settings_parse ("c.yaml", "", 0, NULL, NULL, &settings, &error) < 0) {
        print_error ("%s\n", error.text);
        return -1;
    }
    return 0;
}

static int tear_down (void **state)
{
    (void)state;
    int status = system (rota_pool_format (pool, "rm -rf '%s'", place));
    rota_settings_destroy (&settings);
    rota_limits_destroy (&limits);
    rota_pool_destroy (&pool);
    return status;
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (a_verdict_that_wants_changes_stays_one),
        cmocka_unit_test (words_are_no_verdict),
        cmocka_unit_test (its_own_verdict_is_one),
        cmocka_unit_test (the_context_keeps_its_edges),
        cmocka_unit_test (an_answer_under_review_keeps_its_edges),
        cmocka_unit_test (a_task_can_not_pass_for_a_session),
        cmocka_unit_test (a_note_stays_one_note),
        cmocka_unit_test (a_text_is_one_argument),
        cmocka_unit_test (a_command_stays_as_it_was_written),
        cmocka_unit_test (a_session_is_no_option_and_no_path),
        cmocka_unit_test (a_text_is_one_variable),
        cmocka_unit_test (a_name_stays_in_its_directory),
        cmocka_unit_test (a_gate_runs_what_the_roadmap_says),
        cmocka_unit_test (what_an_agent_says_is_no_limit),
        cmocka_unit_test (a_text_in_a_roadmap_stays_a_text),
        cmocka_unit_test (an_id_and_a_title_are_one_line),
    };
    return cmocka_run_group_tests (tests, set_up, tear_down);
}
