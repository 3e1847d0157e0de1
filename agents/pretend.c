#include "agents/pretend.h"

#include "bus/clock.h"
#include "bus/names.h"
#include "bus/units.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SCRIPT_MARK "sim:"
#define STEP_BYTES 512
#define TOKENS_PER_S 1000
#define NANO_USD_PER_TOKEN 3000

typedef struct {
    char limit_path[PATH_MAX], session_path[PATH_MAX];
    char session[ROTA_ENCODED_MAX_BYTES];
    unsigned done;  /* steps that earlier attempts have behind them */
    unsigned ended; /* without a session: attempts of other agents, each of which a step has ended */
    char said[STEP_BYTES];
    uint64_t cost_nano; /* of the session */
    uint64_t tokens;    /* of this attempt */
} pretence_t;

static void nap (int64_t time_ms)
{
    struct timespec time = {time_ms / 1000, time_ms % 1000 * 1000000};
    while (nanosleep (&time, &time) < 0 && errno == EINTR)
        ;
}

static void print (json_t *event)
{
    json_dumpf (event, stdout, JSON_COMPACT);
    putchar ('\n');
    fflush (stdout);
    json_decref (event);
}

static void say (const pretence_t *self, const char *text)
{
    print (json_pack ("{s:s, s:s, s:{s:[{s:s, s:s}]}}", "type", "assistant", "session_id", self->session,
                      "message", "content", "type", "text", "text", text));
}

/* ---- what outlives an attempt */

static void remember (const pretence_t *self, unsigned step)
{
    FILE *file = fopen (self->session_path, "we");
    if (!file)
        return;
    fprintf (file, "%u %" PRIu64 "\n", step, self->cost_nano);
    fclose (file);
}

static int open_session (pretence_t *self)
{
    const char *directory = getenv (ROTA_PRETEND_DIRECTORY), *id = getenv ("ROTA_TASK_ID");
    if (!directory || !id) {
        fputs ("rota-agent " ROTA_PRETEND_OPTION ": this is started by the kind sim\n", stderr);
        return -1;
    }
    rota_id_encode (id, strlen (id), self->session);
    if (snprintf (self->session_path, PATH_MAX, "%s/session-%s", directory, self->session) >= PATH_MAX ||
        snprintf (self->limit_path, PATH_MAX, "%s/limited-until", directory) >= PATH_MAX)
        return -1;
    FILE *file = fopen (self->session_path, "re");
    const char *attempt = getenv ("ROTA_ATTEMPT");
    if (!file) {
        /* Another agent had it before: each attempt ended one step. */
        unsigned long number = attempt ? strtoul (attempt, NULL, 10) : 0;
        self->ended = number ? (unsigned)(number - 1) : 0;
        return 0;
    }
    if (fscanf (file, "%u %" SCNu64, &self->done, &self->cost_nano) != 2)
        self->done = 0;
    fclose (file);
    return 0;
}

static int64_t limited_until_ms (const pretence_t *self)
{
    FILE *file = fopen (self->limit_path, "re");
    int64_t until_ms = 0;
    if (!file)
        return 0;
    if (fscanf (file, "%" SCNd64, &until_ms) != 1)
        until_ms = 0;
    fclose (file);
    return until_ms;
}

static void limit_until (const pretence_t *self, int64_t until_ms)
{
    FILE *file = fopen (self->limit_path, "we");
    if (!file)
        return;
    fprintf (file, "%" PRId64 "\n", until_ms);
    fclose (file);
}

/* ---- ends */

static void print_result (const pretence_t *self, bool error, const char *text, const char *reason,
                          int status)
{
    json_t *event = json_pack ("{s:s, s:s, s:b, s:s, s:s, s:s, s:f, s:{s:I, s:I}}", "type", "result",
                               "subtype", error ? "error_during_execution" : "success", "is_error", error,
                               "result", text, "session_id", self->session, "terminal_reason", reason,
                               "total_cost_usd", (double)self->cost_nano / 1e9, "usage", "input_tokens",
                               (json_int_t)self->tokens, "output_tokens", (json_int_t)(self->tokens / 10));
    if (status)
        json_object_set_new (event, "api_error_status", json_integer (status));
    print (event);
}

static int end_limited (const pretence_t *self, int64_t until_ms)
{
    char text[200], at[ROTA_CLOCK_ISO_BYTES];
    rota_clock_iso (until_ms, at);
    print (json_pack ("{s:s, s:{s:s, s:I, s:s}}", "type", "rate_limit_event", "rate_limit_info", "status",
                      "rejected", "resetsAt", (json_int_t)((until_ms + 999) / 1000), "rateLimitType",
                      "five_hour"));
    snprintf (text, sizeof text, "the pretended limit is reached; it resets at %s", at);
    print (json_pack ("{s:s, s:s, s:b, s:i, s:s, s:{s:[{s:s, s:s}]}}", "type", "assistant", "error",
                      "rate_limit", "is_api_error_message", 1, "api_error_status", 429, "session_id",
                      self->session, "message", "content", "type", "text", "text", text));
    print_result (self, true, text, "api_error", 429);
    return 1;
}

static int end_with_error (const pretence_t *self, const char *code, const char *text, int status)
{
    print (json_pack ("{s:s, s:s, s:b, s:i, s:s, s:{s:[{s:s, s:s}]}}", "type", "assistant", "error", code,
                      "is_api_error_message", 1, "api_error_status", status, "session_id", self->session,
                      "message", "content", "type", "text", "text", text));
    print_result (self, true, text, strcmp (code, "invalid_request") == 0 ? "prompt_too_long" : "api_error",
                  status);
    return 1;
}

/* ---- steps */

static void work (pretence_t *self, int64_t time_ms)
{
    nap (time_ms);
    uint64_t tokens = (uint64_t)time_ms * TOKENS_PER_S / 1000;
    self->tokens += tokens;
    self->cost_nano += tokens * NANO_USD_PER_TOKEN;
}

/* "use TOKENS USD": as if it had worked so much, at once. */
static void use (pretence_t *self, char *rest)
{
    char *end;
    self->tokens += strtoull (rest, &end, 10);
    double usd = strtod (end, NULL);
    if (usd > 0 && usd < 1e6)
        self->cost_nano += (uint64_t)(usd * 1e9 + 0.5);
}

/* "quota PERCENT [DURATION]": so much of the window of its subscription is used, which ends then. */
static void tell_quota (char *rest)
{
    char *after = rest + strcspn (rest, " ");
    int64_t left_ms = 3600000;
    double percent = strtod (rest, NULL);
    if (*after)
        rota_duration_parse (after + 1, &left_ms);
    print (json_pack ("{s:s, s:{s:s, s:f, s:I, s:s}}", "type", "rate_limit_event", "rate_limit_info",
                      "status", "allowed", "utilization", percent / 100, "resetsAt",
                      (json_int_t)((rota_clock_wall_ms () + left_ms) / 1000), "rateLimitType", "five_hour"));
}

static void write_file (char *rest)
{
    char *text = rest + strcspn (rest, " ");
    if (*text)
        *text++ = '\0';
    FILE *file = fopen (rest, "we");
    if (!file)
        return;
    fprintf (file, "%s\n", text);
    fclose (file);
}

static void flood (int64_t size_bytes)
{
    char line[4096];
    memset (line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    for (int64_t written = 0; written < size_bytes; written += (int64_t)sizeof line)
        fwrite (line, 1, sizeof line, stdout);
}

static int64_t duration_or (const char *text, int64_t fallback_ms)
{
    int64_t time_ms;
    return rota_duration_parse (text, &time_ms) == 0 ? time_ms : fallback_ms;
}

#define GO_ON (-1)

/* GO_ON, or the status to exit with: the attempt has ended. */
static int step (pretence_t *self, char *words)
{
    char *rest = words + strcspn (words, " ");
    int64_t size_bytes;
    if (*rest)
        *rest++ = '\0';
    if (strcmp (words, "work") == 0)
        work (self, duration_or (rest, 1000));
    else if (strcmp (words, "use") == 0)
        use (self, rest);
    else if (strcmp (words, "quota") == 0)
        tell_quota (rest);
    else if (strcmp (words, "say") == 0) {
        say (self, rest);
        snprintf (self->said, sizeof self->said, "%s", rest);
    } else if (strcmp (words, "write") == 0)
        write_file (rest);
    else if (strcmp (words, "run") == 0) {
        fflush (stdout);
        if (system (rest) != 0)
            say (self, "that didn't work");
    } else if (strcmp (words, "flood") == 0)
        flood (rota_size_parse (rest, &size_bytes) == 0 ? size_bytes : 1 << 20);
    else if (strcmp (words, "fail") == 0)
        return end_with_error (self, "unknown", *rest ? rest : "it pretends to fail", 0);
    else if (strcmp (words, "context") == 0)
        return end_with_error (self, "invalid_request", "Prompt is too long", 400);
    else if (strcmp (words, "auth") == 0)
        return end_with_error (self, "authentication_failed", "Invalid API key", 401);
    else if (strcmp (words, "limit") == 0) {
        int64_t until_ms = rota_clock_wall_ms () + duration_or (rest, 5000);
        limit_until (self, until_ms);
        return end_limited (self, until_ms);
    } else if (strcmp (words, "crash") == 0)
        raise (SIGKILL);
    else if (strcmp (words, "hang") == 0)
        for (;;)
            pause ();
    else if (strcmp (words, "nothing") == 0)
        return 0;
    else if (strcmp (words, "lie") == 0 || strcmp (words, "ok") == 0) {
        print_result (self, false, self->said[0] ? self->said : "done", "completed", 0);
        return strcmp (words, "lie") == 0;
    } else {
        fprintf (stderr, "sim: there is no step \"%s\"\n", words);
        return 2;
    }
    return GO_ON;
}

static char *copy_step (const char **script, char ret_words[STEP_BYTES])
{
    *script += strspn (*script, " \t;");
    size_t length = strcspn (*script, ";\n");
    if (length == 0)
        return NULL;
    snprintf (ret_words, STEP_BYTES, "%.*s", (int)length, *script);
    *script += length;
    for (size_t end = strlen (ret_words); end > 0 && ret_words[end - 1] == ' ';)
        ret_words[--end] = '\0';
    return ret_words;
}

static bool ends_attempt (const char *words)
{
    static const char *const ENDS[] = {"ok",    "fail", "limit", "context", "auth",
                                       "crash", "hang", "lie",   "nothing"};
    size_t length = strcspn (words, " ");
    for (size_t i = 0; i < sizeof ENDS / sizeof *ENDS; i++)
        if (strlen (ENDS[i]) == length && strncmp (words, ENDS[i], length) == 0)
            return true;
    return false;
}

static int follow (pretence_t *self, const char *script)
{
    char words[STEP_BYTES];
    for (unsigned at = 0; copy_step (&script, words); at++) {
        if (at < self->done)
            continue;
        if (self->ended) {
            self->ended -= ends_attempt (words);
            continue;
        }
        /* Before it is done: what crashes there goes on behind it. */
        remember (self, at + 1);
        int status = step (self, words);
        if (status != GO_ON) {
            remember (self, at + 1);
            return status;
        }
    }
    print_result (self, false, self->said[0] ? self->said : "done", "completed", 0);
    return 0;
}

/* "review: changes, approve" in the prompt: the verdicts of its reviews, one after the other; else it
 * approves. */
static int review (const pretence_t *self, const char *prompt)
{
    const char *list = prompt ? strstr (prompt, "review:") : NULL;
    const char *attempt = getenv ("ROTA_ATTEMPT");
    unsigned long number = strtoul (attempt ? attempt : "", NULL, 10);
    bool changes = list && strstr (list, "changes") && number < 4; /* work, gate, review is 3 */
    nap (list && strstr (list, "slow") ? 1500 : 100);
    const char *word = getenv ("ROTA_SIM_REVIEW");
    char answer[512];
    snprintf (answer, sizeof answer,
              changes
                  ? "Not yet. {\"review\": \"%s\", \"verdict\": \"changes\", \"summary\": \"it pretends to "
                    "want more\", \"score\": 40, \"comments\": [{\"file\": \"\", \"line\": 0, "
                    "\"severity\": \"major\", \"text\": \"say more\"}]}"
                  : "Good. {\"review\": \"%s\", \"verdict\": \"approve\", \"summary\": \"it pretends to "
                    "like it\", \"score\": 90, \"comments\": []}",
              word ? word : "");
    print_result (self, false, answer, "completed", 0);
    return 0;
}

int rota_pretend (void)
{
    pretence_t self = {0};
    const char *prompt = getenv ("ROTA_SIM_PROMPT"), *script = prompt ? strstr (prompt, SCRIPT_MARK) : NULL;
    if (open_session (&self) < 0)
        return 2;
    print (json_pack ("{s:s, s:s, s:s, s:s}", "type", "system", "subtype", "init", "session_id", self.session,
                      "claude_code_version", "sim " ROTA_VERSION));
    int64_t until_ms = limited_until_ms (&self);
    if (until_ms > rota_clock_wall_ms ()) {
        if (!self.ended)
            remember (&self, self.done); /* no step was begun */
        return end_limited (&self, until_ms);
    }
    const char *phase = getenv ("ROTA_PHASE");
    if (phase && strcmp (phase, "review") == 0)
        return review (&self, prompt);
    if (script)
        return follow (&self, script + strlen (SCRIPT_MARK));
    work (&self, 200 + (int64_t)(rota_hash (self.session, strlen (self.session)) % 1000));
    print_result (&self, false, "done", "completed", 0);
    return 0;
}
