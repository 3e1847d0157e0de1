#include "agents/ask.h"

#include "agents/ask_limits.h"
#include "agents/sse.h"
#include "bus/clock.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROMPT_MAX_BYTES ((size_t)16 << 20)
#define TEXT_MAX_BYTES ((uint64_t)16 << 20)
#define HEAD_BYTES ((size_t)64 << 10)         /* of a body, for what is no stream */
#define GARBAGE_MAX_BYTES ((uint64_t)4 << 20) /* before the first event */
#define PIECE_BYTES ((size_t)32 << 10)        /* of text, a line */
#define CONNECT_TIMEOUT_MS 20000L
#define PROGRESS_MS 5000
#define ANTHROPIC_MAX_TOKENS 8192 /* it must be told a number */

enum { EXIT_COMPLETE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

typedef struct {
    rota_ask_target_t target;
    const char *model, *key;
    rota_api_t api;
    long max_tokens, stall_s;

    CURL *curl;
    char curl_text[CURL_ERROR_SIZE];
    rota_sse_t sse;
    rota_answer_t answer;
    rota_ask_limits_t limits;
    long status;         /* HTTP, 0 = there was no answer */
    uint64_t body_bytes; /* so far */
    char head[HEAD_BYTES];
    size_t head_used;
    char piece[PIECE_BYTES];
    size_t piece_used;
    int64_t printed_ms; /* monotonic */
    const char *problem;
} ask_t;

/* ---- lines */

static void print (ask_t *self, json_t *line)
{
    if (!line || json_dumpf (line, stdout, JSON_COMPACT) < 0)
        self->problem = "out of memory";
    putchar ('\n');
    json_decref (line);
    self->printed_ms = rota_clock_monotonic_ms ();
}

static void print_piece (ask_t *self)
{
    if (self->piece_used)
        print (self, json_pack ("{s:s, s:s%}", "type", "text", "text", self->piece, self->piece_used));
    self->piece_used = 0;
}

/* Pieces that came together are one line. */
static void say (void *context, const char *text, size_t size_bytes)
{
    ask_t *self = context;
    while (size_bytes) {
        size_t room = PIECE_BYTES - self->piece_used, part = size_bytes < room ? size_bytes : room;
        while (part && part < size_bytes && ((unsigned char)text[part] & 0xC0) == 0x80)
            part--; /* not within a character */
        memcpy (self->piece + self->piece_used, text, part);
        self->piece_used += part;
        text += part;
        size_bytes -= part;
        if (size_bytes)
            print_piece (self);
    }
}

static void set_text (json_t *object, const char *key, const char *text)
{
    if (text && *text)
        json_object_set_new (object, key, json_string (text));
}

static void set_count (json_t *object, const char *key, rota_known_t count)
{
    if (count.known)
        json_object_set_new (object, key, json_integer ((json_int_t)count.value));
}

static void print_result (ask_t *self, bool complete, const char *network)
{
    const rota_answer_t *answer = &self->answer;
    json_t *line = json_pack ("{s:s, s:b, s:I, s:I}", "type", "result", "complete", complete, "status",
                              (json_int_t)self->status, "text_bytes", (json_int_t)answer->text_bytes);
    json_t *error = json_object (), *usage = json_object ();
    int64_t until_ms = rota_ask_limits_until_ms (&self->limits);
    bool limited = self->status >= 400 || answer->failed;
    set_text (line, "model", answer->model[0] ? answer->model : self->model);
    set_text (line, "stop", answer->stop);
    set_text (line, "network", network);
    set_text (line, "problem", self->problem);
    if (limited) {
        set_text (error, "type", answer->error_type);
        set_text (error, "code", answer->error_code);
        set_text (error, "message", answer->error_text);
        json_object_set (line, "error", error);
        if (!until_ms)
            until_ms = answer->until_ms;
        if (until_ms)
            json_object_set_new (line, "until_ms", json_integer (until_ms));
        if (self->limits.window_rejected)
            set_text (line, "window", self->limits.window);
    }
    set_count (usage, "input_tokens", answer->input);
    set_count (usage, "cached_tokens", answer->cached);
    set_count (usage, "output_tokens", answer->output);
    json_object_set (line, "usage", usage);
    if (answer->cost_usd > 0)
        json_object_set_new (line, "cost_usd", json_real (answer->cost_usd));
    json_decref (error);
    json_decref (usage);
    print (self, line);
}

/* ---- what comes */

static size_t take_header (char *bytes, size_t one, size_t size_bytes, void *context)
{
    ask_t *self = context;
    (void)one;
    /* Each answer has a head of its own: an interim one (100, 103) or a proxy's comes before it. */
    if (size_bytes >= 5 && memcmp (bytes, "HTTP/", 5) == 0)
        self->limits = (rota_ask_limits_t){.count = 0};
    self->answer.now_ms = rota_clock_wall_ms (); /* what it says of waiting counts from here */
    rota_ask_limits_header (&self->limits, bytes, size_bytes, self->answer.now_ms);
    return size_bytes;
}

static int take_event (void *context, const char *name, const char *data, size_t size_bytes)
{
    ask_t *self = context;
    (void)name; /* the data says it again */
    rota_answer_event (&self->answer, data, size_bytes, say, self);
    if (self->answer.text_bytes > TEXT_MAX_BYTES)
        self->problem = "the answer is larger than 16 MiB: the rest was not taken";
    return self->problem || self->answer.finished;
}

static void keep_head (ask_t *self, const char *bytes, size_t size_bytes)
{
    size_t room = HEAD_BYTES - self->head_used, part = size_bytes < room ? size_bytes : room;
    memcpy (self->head + self->head_used, bytes, part);
    self->head_used += part;
}

/* Another number than size_bytes ends the transfer. */
static size_t take_body (char *bytes, size_t one, size_t size_bytes, void *context)
{
    ask_t *self = context;
    (void)one;
    self->body_bytes += size_bytes;
    curl_easy_getinfo (self->curl, CURLINFO_RESPONSE_CODE, &self->status);
    if (!self->answer.events)
        keep_head (self, bytes, size_bytes);
    if (self->status != 200)
        return self->head_used < HEAD_BYTES ? size_bytes : 0;
    int status = rota_sse_feed (&self->sse, bytes, size_bytes, take_event, self);
    if (status == -ENOMEM)
        self->problem = "out of memory";
    else if (status < 0 || (!self->answer.events && self->body_bytes > GARBAGE_MAX_BYTES))
        self->problem = "the server sends something else than a stream of events: is agents.http_url right?";
    print_piece (self);
    if (self->answer.events && rota_clock_monotonic_ms () - self->printed_ms > PROGRESS_MS)
        print (self, json_pack ("{s:s}", "type", "progress"));
    if (fflush (stdout) != 0)
        self->problem = "nobody reads the answer";
    return self->problem || status ? 0 : size_bytes;
}

/* ---- what is asked */

/* OpenAI's own models refuse the older name, others know no other. */
static const char *chat_max_tokens (const ask_t *self)
{
    return strstr (self->target.address, "//api.openai.com/") ? "max_completion_tokens" : "max_tokens";
}

/* The body as a string of the caller's, or NULL: no memory, or a prompt that is no UTF-8. */
static char *make_body (const ask_t *self, const char *prompt, size_t size_bytes)
{
    static const char *const MAX_TOKENS[] = {"max_tokens", "", "max_output_tokens"};
    long max_tokens = self->max_tokens;
    json_t *text = json_stringn (prompt, size_bytes), *body;
    if (!text)
        return NULL;
    if (self->api == ROTA_API_RESPONSES)
        body =
            json_pack ("{s:s, s:b, s:b, s:o}", "model", self->model, "stream", 1, "store", 0, "input", text);
    else
        body = json_pack ("{s:s, s:b, s:[{s:s, s:o}]}", "model", self->model, "stream", 1, "messages", "role",
                          "user", "content", text);
    if (self->api == ROTA_API_CHAT)
        json_object_set_new (body, "stream_options", json_pack ("{s:b}", "include_usage", 1));
    if (self->api == ROTA_API_ANTHROPIC && !max_tokens)
        max_tokens = ANTHROPIC_MAX_TOKENS;
    if (max_tokens)
        json_object_set_new (body,
                             self->api == ROTA_API_CHAT ? chat_max_tokens (self) : MAX_TOKENS[self->api],
                             json_integer (max_tokens));
    char *bytes = body ? json_dumps (body, JSON_COMPACT) : NULL;
    json_decref (body);
    return bytes;
}

static bool add (struct curl_slist **headers, const char *text)
{
    struct curl_slist *grown = curl_slist_append (*headers, text);
    if (grown)
        *headers = grown;
    return grown != NULL;
}

/* NULL on no memory. */
static struct curl_slist *make_headers (const ask_t *self)
{
    struct curl_slist *headers = NULL;
    bool anthropic = self->api == ROTA_API_ANTHROPIC;
    char *key = NULL;
    bool good = add (&headers, "content-type: application/json") &&
                add (&headers, "accept: text/event-stream") && add (&headers, "expect:");
    if (good && anthropic)
        good = add (&headers, "anthropic-version: 2023-06-01");
    if (good && self->key) {
        good = asprintf (&key, anthropic ? "x-api-key: %s" : "authorization: Bearer %s", self->key) >= 0;
        good = good && add (&headers, key);
        free (key);
    }
    if (good)
        return headers;
    curl_slist_free_all (headers);
    return NULL;
}

static void set_transfer (ask_t *self, const char *body, struct curl_slist *headers)
{
    CURL *curl = self->curl;
    const char *authorities = getenv ("SSL_CERT_FILE");
    curl_easy_setopt (curl, CURLOPT_URL, self->target.address);
    curl_easy_setopt (curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt (curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt (curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt (curl, CURLOPT_USERAGENT, "rota/" ROTA_VERSION);
    curl_easy_setopt (curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt (curl, CURLOPT_LOW_SPEED_LIMIT, self->stall_s ? 1L : 0L);
    curl_easy_setopt (curl, CURLOPT_LOW_SPEED_TIME, self->stall_s);
    curl_easy_setopt (curl, CURLOPT_ERRORBUFFER, self->curl_text);
    curl_easy_setopt (curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt (curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen (body));
    curl_easy_setopt (curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt (curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt (curl, CURLOPT_HEADERDATA, self);
    curl_easy_setopt (curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt (curl, CURLOPT_WRITEDATA, self);
    if (self->target.local)
        curl_easy_setopt (curl, CURLOPT_NOPROXY, "*");
    if (authorities && *authorities)
        curl_easy_setopt (curl, CURLOPT_CAINFO, authorities);
}

/* ---- how it ended */

static void read_failure (ask_t *self)
{
    if (self->status >= 300 && self->status < 400)
        self->problem = "the server redirects elsewhere, which is not followed: set agents.http_url to there";
    else if (self->status >= 400)
        rota_answer_error (&self->answer, self->head, self->head_used);
    else if (self->status == 200 && !self->answer.events && !self->problem && self->head_used) {
        rota_answer_t other = self->answer;
        rota_answer_error (&other, self->head, self->head_used);
        if (other.error_type[0] || other.error_code[0])
            self->answer = other;
        else
            self->problem = "the server's answer is no stream of events: is agents.http_url right?";
    }
}

static int conclude (ask_t *self, CURLcode code)
{
    const char *network = NULL;
    curl_easy_getinfo (self->curl, CURLINFO_RESPONSE_CODE, &self->status);
    bool complete = self->status == 200 && self->answer.ended && !self->answer.failed && !self->problem;
    if (!complete) {
        read_failure (self);
        /* Ended by ourselves is no fault of the network. */
        if (code != CURLE_OK && code != CURLE_WRITE_ERROR)
            network = self->curl_text[0] ? self->curl_text : curl_easy_strerror (code);
    }
    print_result (self, complete, network);
    return complete && fflush (stdout) == 0 ? EXIT_COMPLETE : EXIT_FAILED;
}

static int ask (ask_t *self, const char *prompt, size_t size_bytes)
{
    int status = EXIT_FAILED;
    struct curl_slist *headers = make_headers (self);
    char *body = make_body (self, prompt, size_bytes);
    self->curl = curl_easy_init ();
    if (headers && body && self->curl) {
        set_transfer (self, body, headers);
        print (self, json_pack ("{s:s, s:s, s:s}", "type", "begin", "api", rota_ask_api_word (self->api),
                                "model", self->model));
        fflush (stdout);
        status = conclude (self, curl_easy_perform (self->curl));
    } else {
        fputs (headers && self->curl ? "the prompt is no valid UTF-8\n" : "out of memory\n", stderr);
    }
    curl_easy_cleanup (self->curl);
    curl_slist_free_all (headers);
    rota_sse_end (&self->sse);
    free (body);
    return status;
}

/* ---- what it is told */

static const char *variable (const char *name)
{
    const char *value = getenv (name);
    return value ? value : "";
}

static bool read_number (const char *name, long *ret_number)
{
    char *end;
    const char *text = variable (name);
    errno = 0;
    *ret_number = strtol (text, &end, 10);
    return !errno && !*end && *ret_number >= 0;
}

static int read_variables (ask_t *self, rota_error_t *error)
{
    const char *word = variable (ROTA_ASK_API);
    while (self->api < ROTA_API_COUNT && strcmp (rota_ask_api_word (self->api), word) != 0)
        self->api++;
    if (self->api == ROTA_API_COUNT)
        return rota_error_set (error, -EINVAL, "this is started by the kind http");
    self->model = variable (ROTA_ASK_MODEL);
    self->key = getenv (rota_ask_key_name (self->api));
    if (self->key && !*self->key)
        self->key = NULL;
    for (const char *at = self->key; at && *at; at++)
        if ((unsigned char)*at < 0x21 || (unsigned char)*at > 0x7E)
            return rota_error_set (error, -EINVAL, "$%s holds what no key holds: a blank or a line's end",
                                   rota_ask_key_name (self->api));
    if (!read_number (ROTA_ASK_MAX_TOKENS, &self->max_tokens) ||
        !read_number (ROTA_ASK_STALL_S, &self->stall_s))
        return rota_error_set (error, -EINVAL, "a number is wrong in %s or %s", ROTA_ASK_MAX_TOKENS,
                               ROTA_ASK_STALL_S);
    self->answer = (rota_answer_t){.api = self->api, .now_ms = rota_clock_wall_ms ()};
    return rota_ask_target (variable (ROTA_ASK_URL), self->api, strcmp (variable (ROTA_ASK_PLAIN), "1") == 0,
                            &self->target, error);
}

int rota_ask (void)
{
    rota_error_t error = {""};
    ask_t *self = calloc (1, sizeof *self);
    char *prompt = malloc (PROMPT_MAX_BYTES);
    int status = EXIT_USAGE;
    if (!self || !prompt)
        fputs ("out of memory\n", stderr);
    else if (read_variables (self, &error) < 0)
        fprintf (stderr, "rota-agent %s: %s\n", ROTA_ASK_OPTION, error.text);
    else {
        size_t size_bytes = fread (prompt, 1, PROMPT_MAX_BYTES, stdin);
        if (size_bytes == PROMPT_MAX_BYTES)
            fputs ("the prompt is larger than 16 MiB\n", stderr);
        else if (curl_global_init (CURL_GLOBAL_DEFAULT) == CURLE_OK) {
            status = ask (self, prompt, size_bytes);
            curl_global_cleanup ();
        }
    }
    free (prompt);
    free (self);
    return status;
}
