/* What an agent program printed, and what it comes to: whole, byte by byte, and cut anywhere.
 *
 * tests/unit/readers/ holds a transcript for each rule; ../shared/data/transcripts, where it is there, holds
 * what the real programs printed.
 */
#include "agents/reading.h"
#include "bus/names.h"
#include "proto/words.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#define NOW_MS 1795419000000 /* 2026-11-23 07:30 UTC */
#define PATH_BYTES 512
#define WHOLE_BYTES 8192 /* a transcript up to this size is cut at every byte */
#define TAIL_BYTES 4096  /* a larger one in its tail, and at every STEP bytes before */
#define STEP_BYTES 97
#define KIND(name) ROTA__LIMIT_KIND__LIMIT_KIND_##name

typedef struct {
    rota_reader_t *reader;
    const char *name;
    int exit_code; /* or minus the signal */
    Rota__ResultClass result_class;
    Rota__LimitKind limit_kind;
    int64_t until_ms, input, cached, output, cost;
    const char *words;
} case_t;

static const case_t OWN_CASES[] = {
#define OWN(reader, name, code, class, kind, until, input, cached, output, cost, words)                      \
    {rota_read_##reader, name, code, RESULT (class), KIND (kind), until, input, cached, output, cost, words},
#include "tests/unit/readers/own.def"
#undef OWN
};

/* The exit code stands beside the transcript. */
static const case_t SHARED_CASES[] = {
#define ROW(reader, name, class, kind, until, input, cached, output, cost)                                   \
    {rota_read_##reader, name, 0, RESULT (class), KIND (kind), until, input, cached, output, cost, ""},
#include "tests/unit/readers/shared.def"
#undef ROW
};
#define COUNT(cases) (sizeof (cases) / sizeof *(cases))

typedef struct {
    char *bytes;
    size_t size;
    int exit_code;
} transcript_t;

static rota_limits_t *limits;

/* ------------------------------------------------------------------------------------------ files */

static const char *source_path (const char *inner, const char *name, const char *ending)
{
    static char path[PATH_BYTES];
    const char *root = getenv ("ROTA_SOURCE");
    snprintf (path, sizeof path, "%s/%s/%s%s", root ? root : ".", inner, name, ending);
    return path;
}

static const char *own_path (const char *name)
{
    return source_path ("tests/unit/readers", name, ".jsonl");
}

static const char *shared_path (const char *name, const char *ending)
{
    return source_path ("../shared/data/transcripts", name, ending);
}

/* False when there is no such file. The caller frees the bytes. */
static bool load (const char *path, transcript_t *ret)
{
    FILE *file = fopen (path, "rb");
    if (!file)
        return false;
    *ret = (transcript_t){.bytes = NULL};
    FILE *memory = open_memstream (&ret->bytes, &ret->size);
    assert_non_null (memory);
    char buffer[4096];
    size_t got;
    while ((got = fread (buffer, 1, sizeof buffer, file)) > 0)
        assert_int_equal (fwrite (buffer, 1, got, memory), got);
    fclose (memory);
    fclose (file);
    return true;
}

/* "exit=1 wall=...", or "... returncode -15 after ..." where a signal was sent. */
static int load_exit_code (const char *name)
{
    transcript_t text;
    int code = 0;
    if (!load (shared_path (name, ".exit"), &text))
        return 0;
    const char *exit_at = strstr (text.bytes, "exit="), *code_at = strstr (text.bytes, "returncode ");
    if (exit_at)
        code = atoi (exit_at + strlen ("exit="));
    else if (code_at)
        code = atoi (code_at + strlen ("returncode "));
    free (text.bytes);
    return code;
}

/* A recorded conversation: what the agent sent becomes the lines, the last entry tells how it ended. */
static void unwrap (transcript_t *transcript)
{
    char *lines;
    size_t size, at = 0;
    FILE *memory = open_memstream (&lines, &size);
    assert_non_null (memory);
    while (at < transcript->size) {
        const char *line = transcript->bytes + at;
        size_t length = strcspn (line, "\n");
        json_t *entry = json_loadb (line, length, 0, NULL);
        const char *dir = json_string_value (json_object_get (entry, "dir"));
        const json_t *message = json_object_get (entry, "msg");
        if (dir && (strcmp (dir, "server->client") == 0 || strcmp (dir, "agent->client") == 0)) {
            json_dumpf (message, memory, JSON_COMPACT);
            fputc ('\n', memory);
        }
        if (dir && strcmp (dir, "exit") == 0)
            transcript->exit_code =
                json_is_string (json_object_get (message, "signal")) ? -15 : 0; /* they were sent SIGTERM */
        json_decref (entry);
        at += length + 1;
    }
    fclose (memory);
    free (transcript->bytes);
    transcript->bytes = lines;
    transcript->size = size;
}

static bool load_shared (const char *name, transcript_t *ret)
{
    if (load (shared_path (name, ".stdout"), ret)) {
        ret->exit_code = load_exit_code (name);
        return true;
    }
    if (!load (shared_path (name, ".jsonl"), ret))
        return false;
    unwrap (ret);
    return true;
}

/* ------------------------------------------------------------------------------------------ verdicts */

static void begin (rota_reading_t *reading)
{
    rota_reading_init (reading, limits, NOW_MS);
    reading->zone = "UTC";
}

static void read_in_pieces (const transcript_t *transcript, size_t piece, rota_reader_t *reader,
                            rota_reading_t *reading)
{
    rota_lines_t lines = {0};
    for (size_t at = 0; at < transcript->size; at += piece) {
        size_t rest = transcript->size - at;
        assert_int_equal (
            rota_lines_feed (&lines, transcript->bytes + at, rest < piece ? rest : piece, reader, reading),
            0);
    }
    rota_lines_end (&lines, reader, reading);
    assert_null (lines.bytes);
}

static int64_t known (rota_known_t number)
{
    return number.known ? (int64_t)number.value : -1;
}

static void judge (const rota_reading_t *reading, int exit_code, rota_reading_verdict_t *ret)
{
    rota_reading_judge (reading, exit_code < 0 ? -1 : exit_code, exit_code < 0 ? -exit_code : 0, ret);
    assert_true (rota_text_is_valid (ret->message, strlen (ret->message), false));
    assert_true (rota_text_is_valid (reading->message, strlen (reading->message), false));
}

static bool comes_to (const case_t *expected, const rota_reading_t *reading,
                      const rota_reading_verdict_t *verdict)
{
    const rota_reading_usage_t *usage = &reading->usage;
    bool right = verdict->result_class == expected->result_class &&
                 verdict->limit_kind == expected->limit_kind && verdict->until_ms == expected->until_ms &&
                 known (usage->input_tokens) == expected->input &&
                 known (usage->cached_tokens) == expected->cached &&
                 known (usage->output_tokens) == expected->output &&
                 known (usage->cost_nano_usd) == expected->cost && strstr (verdict->message, expected->words);
    if (!right)
        print_message ("%s: class %d, kind %d, until %lld, tokens %lld %lld %lld, cost %lld: %s\n",
                       expected->name, verdict->result_class, verdict->limit_kind,
                       (long long)verdict->until_ms, (long long)known (usage->input_tokens),
                       (long long)known (usage->cached_tokens), (long long)known (usage->output_tokens),
                       (long long)known (usage->cost_nano_usd), verdict->message);
    return right;
}

/* The same whole and in pieces. */
static bool check (const case_t *expected, const transcript_t *transcript)
{
    static const size_t PIECES[] = {SIZE_MAX, 1, 1000};
    bool right = true;
    for (size_t i = 0; i < sizeof PIECES / sizeof *PIECES; i++) {
        rota_reading_t reading;
        rota_reading_verdict_t verdict;
        begin (&reading);
        size_t piece = PIECES[i] < transcript->size ? PIECES[i] : transcript->size + 1;
        read_in_pieces (transcript, piece, expected->reader, &reading);
        judge (&reading, transcript->exit_code, &verdict);
        right = right && comes_to (expected, &reading, &verdict);
    }
    return right;
}

/* ------------------------------------------------------------------------------------------ cuts */

static const char *word (const json_t *object, const char *key)
{
    const char *value = json_string_value (json_object_get (object, key));
    return value ? value : "";
}

static bool says_success (const json_t *event, rota_reader_t *reader)
{
    const json_t *params = json_object_get (event, "params"), *item;
    size_t i;
    json_array_foreach (event, i, item) if (says_success (item, reader)) return true;
    if (reader == rota_read_claude)
        return strcmp (word (event, "type"), "result") == 0 &&
               json_is_false (json_object_get (event, "is_error"));
    if (reader == rota_read_codex_exec)
        return strcmp (word (event, "type"), "turn.completed") == 0;
    if (reader == rota_read_codex_rpc)
        return strcmp (word (event, "method"), "turn/completed") == 0 &&
               strcmp (word (json_object_get (params, "turn"), "status"), "completed") == 0;
    const json_t *update = json_object_get (params, "update"); /* version 2 */
    return strcmp (word (json_object_get (event, "result"), "stopReason"), "end_turn") == 0 ||
           (strcmp (word (update, "state"), "idle") == 0 &&
            strcmp (word (update, "stopReason"), "end_turn") == 0);
}

/* How much of the transcript there must be before success may be believed. */
static size_t success_at (const transcript_t *transcript, rota_reader_t *reader)
{
    for (size_t at = 0; at < transcript->size;) {
        const char *line = transcript->bytes + at;
        const char *end = memchr (line, '\n', transcript->size - at);
        size_t length = end ? (size_t)(end - line) : transcript->size - at;
        json_t *event = json_loadb (line, length, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
        bool mended = !event && memmem (line, length, "ud83d", 5); /* a strict parser refuses that line */
        bool found = mended || says_success (event, reader);
        json_decref (event);
        while (length && strchr (" \r", line[length - 1]))
            length--;
        if (found)
            return at + length;
        at = end ? (size_t)(end - transcript->bytes) + 1 : transcript->size;
    }
    return SIZE_MAX;
}

/* The verdict if the output ended here, with exit code 0. */
static Rota__ResultClass judge_copy (const rota_reading_t *reading, const rota_lines_t *lines,
                                     rota_reader_t *reader)
{
    rota_reading_t copy = *reading;
    rota_lines_t rest = *lines;
    rota_reading_verdict_t verdict;
    rest.bytes = malloc (lines->capacity + 1);
    assert_non_null (rest.bytes);
    if (lines->used)
        memcpy (rest.bytes, lines->bytes, lines->used);
    rota_lines_end (&rest, reader, &copy);
    judge (&copy, 0, &verdict);
    return verdict.result_class;
}

static bool cut_everywhere (const case_t *expected, const transcript_t *transcript)
{
    size_t tail = transcript->size <= WHOLE_BYTES ? 0 : transcript->size - TAIL_BYTES;
    size_t allowed = success_at (transcript, expected->reader);
    rota_reading_t reading;
    rota_lines_t lines = {0};
    bool right = true;
    begin (&reading);
    for (size_t at = 0; right && at < transcript->size; at++) {
        assert_int_equal (rota_lines_feed (&lines, transcript->bytes + at, 1, expected->reader, &reading), 0);
        if (at < tail && at % STEP_BYTES != 0)
            continue;
        Rota__ResultClass result_class = judge_copy (&reading, &lines, expected->reader);
        right = result_class != RESULT (UNSPECIFIED) && (result_class != RESULT (OK) || at + 1 >= allowed);
        if (!right)
            print_message ("%s, cut after %zu bytes: class %d\n", expected->name, at + 1, result_class);
    }
    rota_lines_end (&lines, expected->reader, &reading);
    return right;
}

/* ------------------------------------------------------------------------------------------ tables */

typedef bool check_t (const case_t *expected, const transcript_t *transcript);

static void check_own (check_t *checked)
{
    size_t wrong = 0;
    for (size_t i = 0; i < COUNT (OWN_CASES); i++) {
        transcript_t transcript;
        if (!load (own_path (OWN_CASES[i].name), &transcript))
            fail_msg ("%s: no such transcript", OWN_CASES[i].name);
        transcript.exit_code = OWN_CASES[i].exit_code;
        wrong += !checked (&OWN_CASES[i], &transcript);
        free (transcript.bytes);
    }
    assert_int_equal (wrong, 0);
}

static void check_shared (check_t *checked)
{
    size_t wrong = 0;
    if (access (shared_path ("claude", ""), F_OK) < 0) {
        print_message ("SKIPPED: the transcripts of the real programs are not at %s\n", shared_path ("", ""));
        skip ();
    }
    for (size_t i = 0; i < COUNT (SHARED_CASES); i++) {
        transcript_t transcript;
        if (!load_shared (SHARED_CASES[i].name, &transcript))
            fail_msg ("%s: no such transcript", SHARED_CASES[i].name);
        wrong += !checked (&SHARED_CASES[i], &transcript);
        free (transcript.bytes);
    }
    assert_int_equal (wrong, 0);
}

static void our_transcripts_come_to_their_verdicts (void **state)
{
    (void)state;
    check_own (check);
}

static void the_real_programs_transcripts_come_to_their_verdicts (void **state)
{
    (void)state;
    check_shared (check);
}

static void ours_cut_at_any_byte_are_no_success_too_early (void **state)
{
    (void)state;
    check_own (cut_everywhere);
}

static void theirs_cut_at_any_byte_are_no_success_too_early (void **state)
{
    (void)state;
    check_shared (cut_everywhere);
}

static bool has_case (const case_t *cases, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp (cases[i].name, name) == 0)
            return true;
    print_message ("%s has no row\n", name);
    return false;
}

/* How many transcripts in a folder have no row; their names begin with `prefix`. */
static size_t count_rowless (const char *path, const char *prefix, const case_t *cases, size_t count)
{
    size_t rowless = 0;
    DIR *folder = opendir (path);
    assert_non_null (folder);
    for (struct dirent *entry; (entry = readdir (folder));) {
        char name[PATH_BYTES];
        const char *ending = strrchr (entry->d_name, '.');
        if (!ending || (strcmp (ending, ".jsonl") != 0 && strcmp (ending, ".stdout") != 0))
            continue;
        snprintf (name, sizeof name, "%s%.*s", prefix, (int)(ending - entry->d_name), entry->d_name);
        rowless += !has_case (cases, count, name);
    }
    closedir (folder);
    return rowless;
}

/* In every folder that is there, also one that is new. */
static size_t count_shared_rowless (const char *root)
{
    char path[PATH_BYTES], prefix[PATH_BYTES];
    size_t rowless = 0, folders = 0;
    snprintf (path, sizeof path, "%s", root);
    DIR *folder = opendir (path);
    assert_non_null (folder);
    for (struct dirent *entry; (entry = readdir (folder));) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        snprintf (prefix, sizeof prefix, "%s/", entry->d_name);
        rowless += count_rowless (shared_path (prefix, ""), prefix, SHARED_CASES, COUNT (SHARED_CASES));
        folders++;
    }
    closedir (folder);
    assert_true (folders > 0);
    return rowless;
}

static void every_transcript_has_a_row (void **state)
{
    (void)state;
    size_t rowless =
        count_rowless (source_path ("tests/unit/readers", "", ""), "", OWN_CASES, COUNT (OWN_CASES));
    if (access (shared_path ("claude", ""), F_OK) == 0)
        rowless += count_shared_rowless (shared_path ("", ""));
    assert_int_equal (rowless, 0);
}

static bool stays_success_or_failure (const case_t *expected, const transcript_t *transcript)
{
    rota_reading_t reading;
    rota_reading_verdict_t verdict;
    rota_reading_init (&reading, NULL, NOW_MS);
    read_in_pieces (transcript, transcript->size + 1, expected->reader, &reading);
    judge (&reading, transcript->exit_code, &verdict);
    bool right = (verdict.result_class == RESULT (OK)) == (expected->result_class == RESULT (OK));
    if (!right)
        print_message ("%s: class %d\n", expected->name, verdict.result_class);
    return right;
}

static void success_does_not_hang_on_the_rules_for_sentences (void **state)
{
    (void)state;
    check_own (stays_success_or_failure);
}

/* ------------------------------------------------------------------------------------------ facts */

static void read_own (const char *name, rota_reader_t *reader, rota_reading_t *reading)
{
    transcript_t transcript = {0};
    if (!load (own_path (name), &transcript))
        fail_msg ("%s: no such transcript", name);
    begin (reading);
    read_in_pieces (&transcript, transcript.size + 1, reader, reading);
    free (transcript.bytes);
}

static void what_a_session_is_resumed_by_is_known (void **state)
{
    (void)state;
    rota_reading_t reading;
    read_own ("claude-warning", rota_read_claude, &reading);
    assert_string_equal (reading.session, "5e551035-0000-4000-8000-00000000000a");
    assert_string_equal (reading.version, "2.1.330");
    assert_string_equal (reading.model, "claude-demo-1");
    read_own ("codex-done", rota_read_codex_exec, &reading);
    assert_string_equal (reading.session, "7eadf00d-01");
    read_own ("rpc-done", rota_read_codex_rpc, &reading);
    assert_string_equal (reading.session, "th-1");
    assert_string_equal (reading.version, "0.169.0");
    assert_string_equal (reading.model, "demo-5");
    read_own ("acp-done", rota_read_acp, &reading);
    assert_string_equal (reading.session, "acp-1");
    assert_string_equal (reading.version, "claude-agent-acp 0.101.0");
    assert_string_equal (reading.model, "demo-a");
    assert_string_equal (reading.message, "Written and checked.");
}

static void counts_say_since_when_they_count (void **state)
{
    (void)state;
    rota_reading_t reading;
    read_own ("claude-resumed", rota_read_claude, &reading);
    assert_true (reading.usage.cost_of_session && !reading.usage.tokens_of_session);
    read_own ("codex-done", rota_read_codex_exec, &reading);
    assert_true (reading.usage.tokens_of_session);
    read_own ("rpc-done", rota_read_codex_rpc, &reading);
    assert_true (reading.usage.tokens_of_session);
    read_own ("acp-done", rota_read_acp, &reading);
    assert_true (reading.usage.cost_of_session && !reading.usage.tokens_of_session);
}

static void how_full_a_window_is_comes_without_a_limit (void **state)
{
    (void)state;
    rota_reading_t reading;
    read_own ("claude-warning", rota_read_claude, &reading);
    assert_string_equal (reading.window, "five_hour");
    assert_true (reading.used > 0.919 && reading.used < 0.921);
    assert_int_equal (reading.used_until_ms, 1795420000000);
    read_own ("claude-window", rota_read_claude, &reading);
    assert_string_equal (reading.window, "seven_day");
    read_own ("rpc-done", rota_read_codex_rpc, &reading);
    assert_string_equal (reading.window, "primary");
    assert_true (reading.used > 0.919 && reading.used < 0.921);
    assert_int_equal (reading.used_until_ms, 1795423513000);
    read_own ("codex-done", rota_read_codex_exec, &reading);
    assert_true (reading.used < 0);
}

static void denials_and_own_retries_are_counted (void **state)
{
    (void)state;
    rota_reading_t reading;
    read_own ("claude-denied", rota_read_claude, &reading);
    assert_int_equal (reading.denied, 2);
    read_own ("claude-retries-then-done", rota_read_claude, &reading);
    assert_int_equal (reading.retries, 2);
    read_own ("codex-retries-then-done", rota_read_codex_exec, &reading);
    assert_int_equal (reading.retries, 1);
    read_own ("rpc-retries-then-done", rota_read_codex_rpc, &reading);
    assert_int_equal (reading.retries, 1);
}

/* ------------------------------------------------------------------------------------------ lines */

static char seen[256];

static void remember (rota_reading_t *reading, const char *line, size_t size)
{
    (void)reading;
    snprintf (seen + strlen (seen), sizeof seen - strlen (seen), "%zu:%.*s|", size, size > 9 ? 9 : (int)size,
              line);
}

static void lines_end_where_they_end (void **state)
{
    (void)state;
    static const char TEXT[] = "a\r\n\n  b \nc\n\nlast";
    rota_lines_t lines = {0};
    rota_reading_t reading;
    begin (&reading);
    seen[0] = '\0';
    assert_int_equal (rota_lines_feed (&lines, TEXT, 3, remember, &reading), 0);
    assert_int_equal (rota_lines_feed (&lines, TEXT + 3, sizeof TEXT - 4, remember, &reading), 0);
    assert_string_equal (seen, "1:a|1:b|1:c|");
    rota_lines_end (&lines, remember, &reading);
    assert_string_equal (seen, "1:a|1:b|1:c|4:last|");
    rota_lines_end (&lines, remember, &reading);
}

static void a_line_without_end_is_passed_over_and_holds_no_memory (void **state)
{
    (void)state;
    static char flood[1 << 20];
    rota_lines_t lines = {0};
    rota_reading_t reading;
    begin (&reading);
    seen[0] = '\0';
    memset (flood, 'x', sizeof flood);
    for (int i = 0; i < 4; i++)
        assert_int_equal (rota_lines_feed (&lines, flood, sizeof flood, remember, &reading), 0);
    assert_int_equal (lines.used, sizeof flood * 4);
    for (int i = 0; i < 60; i++) {
        assert_int_equal (rota_lines_feed (&lines, flood, sizeof flood, remember, &reading), 0);
        assert_null (lines.bytes);
    }
    assert_int_equal (rota_lines_feed (&lines, "tail\nnext\n", 10, remember, &reading), 0);
    assert_string_equal (seen, "4:next|");
    rota_lines_end (&lines, remember, &reading);
}

static void a_message_is_clean_and_cut_between_characters (void **state)
{
    (void)state;
    static const char BEFORE[] =
        "{\"type\":\"turn.failed\",\"error\":{\"message\":\"\\u001b[31m\\u0000\\n\\u0085";
    rota_reading_t reading;
    rota_reading_verdict_t verdict;
    for (size_t shift = 0; shift < 4; shift++) {
        char line[4096];
        int used = snprintf (line, sizeof line, "%s%.*s", BEFORE, (int)shift, "abc");
        for (int i = 0; i < 400; i++)
            used += snprintf (line + used, sizeof line - (size_t)used, "\xF0\x9F\xA6\xA4");
        used += snprintf (line + used, sizeof line - (size_t)used, "\"}}");
        begin (&reading);
        rota_read_codex_exec (&reading, line, (size_t)used);
        judge (&reading, 1, &verdict);
        assert_int_equal (verdict.result_class, RESULT (FAILED));
        assert_memory_equal (verdict.message, "[31m\xEF\xBF\xBD ", 8);
        assert_true (strlen (verdict.message) > ROTA_READING_MESSAGE_BYTES - 16);
        assert_string_equal (verdict.message + strlen (verdict.message) - 3, "\xE2\x80\xA6");
    }
}

static void bytes_that_are_no_text_do_not_cost_the_line (void **state)
{
    (void)state;
    static const char LINE[] =
        "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"result\":\"\xC3(\xFF\"}";
    rota_reading_t reading;
    rota_reading_verdict_t verdict;
    begin (&reading);
    rota_read_claude (&reading, LINE, sizeof LINE - 1);
    judge (&reading, 0, &verdict);
    assert_int_equal (verdict.result_class, RESULT (OK));
    assert_string_equal (verdict.message, "?(?");
}

static int open_limits (void **state)
{
    rota_error_t error = {{0}};
    (void)state;
    limits = rota_limits_new (NULL, &error);
    if (!limits)
        print_message ("the built-in rules: %s\n", error.text);
    return limits ? 0 : -1;
}

static int close_limits (void **state)
{
    (void)state;
    rota_limits_destroy (&limits);
    return 0;
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (our_transcripts_come_to_their_verdicts),
        cmocka_unit_test (the_real_programs_transcripts_come_to_their_verdicts),
        cmocka_unit_test (ours_cut_at_any_byte_are_no_success_too_early),
        cmocka_unit_test (theirs_cut_at_any_byte_are_no_success_too_early),
        cmocka_unit_test (every_transcript_has_a_row),
        cmocka_unit_test (success_does_not_hang_on_the_rules_for_sentences),
        cmocka_unit_test (what_a_session_is_resumed_by_is_known),
        cmocka_unit_test (counts_say_since_when_they_count),
        cmocka_unit_test (how_full_a_window_is_comes_without_a_limit),
        cmocka_unit_test (denials_and_own_retries_are_counted),
        cmocka_unit_test (lines_end_where_they_end),
        cmocka_unit_test (a_line_without_end_is_passed_over_and_holds_no_memory),
        cmocka_unit_test (a_message_is_clean_and_cut_between_characters),
        cmocka_unit_test (bytes_that_are_no_text_do_not_cost_the_line),
    };
    return cmocka_run_group_tests (tests, open_limits, close_limits);
}
