#include "agents/reading_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES ((size_t)4 << 20)
#define LINE_FIRST_BYTES ((size_t)4 << 10)
#define LINE_KEPT_BYTES ((size_t)256 << 10) /* of the buffer, between long lines */

void rota_reading_init (rota_reading_t *reading, rota_limits_t *limits, int64_t now_ms)
{
    *reading = (rota_reading_t){.limits = limits, .now_ms = now_ms, .used = -1};
}

/* ------------------------------------------------------------------------------------------ lines */

static bool is_blank (char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void give (const char *line, size_t size_bytes, rota_reader_t *reader, rota_reading_t *reading)
{
    while (size_bytes && is_blank (line[size_bytes - 1]))
        size_bytes--;
    while (size_bytes && is_blank (*line)) {
        line++;
        size_bytes--;
    }
    if (size_bytes && size_bytes <= LINE_MAX_BYTES)
        reader (reading, line, size_bytes);
}

static void forget (rota_lines_t *self)
{
    free (self->bytes);
    self->bytes = NULL;
    self->used = self->capacity = 0;
}

/* 0; -ENOMEM, and what could not be kept is passed over as a line too long. */
static int keep (rota_lines_t *self, const char *bytes, size_t size_bytes)
{
    if (self->too_long || !size_bytes)
        return 0;
    size_t needed = self->used + size_bytes;
    if (needed > LINE_MAX_BYTES) {
        forget (self);
        self->too_long = true;
        return 0;
    }
    size_t capacity = self->capacity ? self->capacity : LINE_FIRST_BYTES;
    while (capacity < needed)
        capacity *= 2;
    if (capacity != self->capacity) {
        char *grown = realloc (self->bytes, capacity);
        if (!grown) {
            forget (self);
            self->too_long = true;
            return -ENOMEM;
        }
        self->bytes = grown;
        self->capacity = capacity;
    }
    memcpy (self->bytes + self->used, bytes, size_bytes);
    self->used = needed;
    return 0;
}

static void finish (rota_lines_t *self, rota_reader_t *reader, rota_reading_t *reading)
{
    if (self->used)
        give (self->bytes, self->used, reader, reading);
    self->used = 0;
    self->too_long = false;
    if (self->capacity > LINE_KEPT_BYTES)
        forget (self);
}

int rota_lines_feed (rota_lines_t *self, const char *bytes, size_t size_bytes, rota_reader_t *reader,
                     rota_reading_t *reading)
{
    int rc = 0;
    while (size_bytes) {
        const char *end = memchr (bytes, '\n', size_bytes);
        size_t part = end ? (size_t)(end - bytes) : size_bytes;
        if (end && !self->used && !self->too_long)
            give (bytes, part, reader, reading);
        else {
            if (keep (self, bytes, part) < 0)
                rc = -ENOMEM;
            if (end)
                finish (self, reader, reading);
        }
        size_t taken = part + (end ? 1 : 0);
        bytes += taken;
        size_bytes -= taken;
    }
    return rc;
}

void rota_lines_end (rota_lines_t *self, rota_reader_t *reader, rota_reading_t *reading)
{
    finish (self, reader, reading);
    forget (self);
}

/* ------------------------------------------------------------------------------------------ verdict */

/* What the class means for the one who reads it. */
static const char *explain (Rota__ResultClass result_class, Rota__LimitKind kind)
{
    static const char *const LIMITS[] = {
        [LIMIT (UNSPECIFIED)] = "a limit of the vendor",
        [LIMIT (BURST)] = "too many requests for now",
        [LIMIT (WINDOW)] = "the account's usage limit is reached",
        [LIMIT (CAPACITY)] = "the model's service is overloaded or failing",
        [LIMIT (CREDIT)] = "no credit or quota left, somebody has to see to the account",
    };
    static const char *const CLASSES[] = {
        [RESULT (CONTEXT_LIMIT)] = "more than the model's context can hold, start anew with less",
        [RESULT (AUTH)] = "not logged in, or the key is refused, on this host",
        [RESULT (NETWORK)] = "the connection to the model's service failed",
        [RESULT (INVALID)] =
            "the model's service refuses the request, check the model's name and the options",
        [RESULT (ENVIRONMENT)] = "the program could not work on this host",
    };
    if (result_class == RESULT (LIMITED))
        return (size_t)kind < sizeof LIMITS / sizeof *LIMITS ? LIMITS[kind] : LIMITS[0];
    return (size_t)result_class < sizeof CLASSES / sizeof *CLASSES ? CLASSES[result_class] : NULL;
}

/* `what`, and the words that were read, if there are any. */
static void put_message (rota_reading_verdict_t *verdict, const char *what, const char *words)
{
    char *to = verdict->message;
    size_t used = 0;
    if (what)
        used = rota_reading_copy (to, sizeof verdict->message, 0, what, strlen (what));
    if (what && *words)
        used = rota_reading_copy (to, sizeof verdict->message, used, ": ", 2);
    used = rota_reading_copy (to, sizeof verdict->message, used, words, strlen (words));
    if (used && to[used - 1] == ' ')
        to[used - 1] = '\0';
}

static void judge_fault (const rota_reading_t *reading, rota_reading_verdict_t *verdict)
{
    verdict->result_class = reading->result_class;
    if (reading->result_class == RESULT (LIMITED)) {
        verdict->limit_kind = reading->limit_kind;
        verdict->until_ms = reading->until_ms;
    }
    const char *what = explain (reading->result_class, reading->limit_kind);
    put_message (verdict,
                 what                ? what
                 : *reading->message ? NULL
                                     : "the program failed without a word of why",
                 reading->message);
}

/* What wasn't allowed may be why it failed, or why the work isn't whole. */
static void prepend_denied (const rota_reading_t *reading, rota_reading_verdict_t *verdict)
{
    char words[ROTA_READING_MESSAGE_BYTES], denied[128];
    if (!reading->denied || verdict->result_class == RESULT (LIMITED))
        return;
    snprintf (denied, sizeof denied, "%u permission%s refused (--trust-agents allows all)", reading->denied,
              reading->denied == 1 ? "" : "s");
    memcpy (words, verdict->message, sizeof words);
    put_message (verdict, denied, words);
}

/* The end of the process, in words that follow "it". */
static void describe_end (int exit_code, int signal, char *text, size_t capacity)
{
    if (exit_code < 0)
        snprintf (text, capacity, "was ended by signal %d", signal);
    else
        snprintf (text, capacity, "ended with exit code %d", exit_code);
}

static void judge (const rota_reading_t *reading, int exit_code, int signal,
                   rota_reading_verdict_t *ret_verdict)
{
    char end[64], what[192];
    *ret_verdict = (rota_reading_verdict_t){.result_class = RESULT (FAILED)};
    if (reading->result_class != RESULT (UNSPECIFIED)) {
        judge_fault (reading, ret_verdict);
        return;
    }
    if (reading->completed && (exit_code == 0 || reading->inner.serves)) {
        ret_verdict->result_class = RESULT (OK);
        put_message (ret_verdict, NULL, reading->message);
        return;
    }
    describe_end (exit_code, signal, end, sizeof end);
    if (reading->completed)
        snprintf (what, sizeof what, "it said that its work is done, but %s", end);
    else if (reading->interrupted)
        snprintf (what, sizeof what, "it was interrupted before its work was done, and %s", end);
    else if (reading->began)
        snprintf (what, sizeof what, "it %s and never said that its work is done", end);
    else
        snprintf (what, sizeof what, "it %s before it began to work", end);
    put_message (ret_verdict, what, reading->message);
    if (reading->remark[0]) {
        size_t used = strlen (ret_verdict->message);
        used = rota_reading_copy (ret_verdict->message, sizeof ret_verdict->message, used, "; ", 2);
        rota_reading_copy (ret_verdict->message, sizeof ret_verdict->message, used, reading->remark,
                           strlen (reading->remark));
    }
}

void rota_reading_judge (const rota_reading_t *reading, int exit_code, int signal,
                         rota_reading_verdict_t *ret_verdict)
{
    judge (reading, exit_code, signal, ret_verdict);
    prepend_denied (reading, ret_verdict);
}
