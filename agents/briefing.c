#include "agents/briefing.h"

#include "agents/files.h"
#include "agents/program.h"
#include "agents/told.h"
#include "bus/log.h"
#include "proto/words.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUTBOX_ARENA_BYTES ((size_t)8 << 20)
#define ABOUT_BYTES 8192

static bool is_told (const Rota__Assignment *assignment)
{
    bool talks = assignment->phase == PHASE (WORK) || assignment->phase == PHASE (REVIEW);
    return talks && !assignment->spec->has_run;
}

static bool goes_on (const rota_attempt_t *attempt)
{
    return attempt->input &&
           strncmp (attempt->input, ROTA_PROGRAM_INTERRUPTED, strlen (ROTA_PROGRAM_INTERRUPTED)) == 0;
}

static size_t budget_of (const rota_adapter_context_t *context)
{
    return (size_t)rota_setting_integer (context->settings, ROTA_SETTING_CONTEXT_BUDGET);
}

static int make_empty (const char *path, rota_error_t *error)
{
    int fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return rota_error_set (error, -errno == -EINVAL ? -EIO : -errno, "can't make %s: %s", path,
                               strerror (errno));
    close (fd);
    return 0;
}

static char **longer (rota_pool_t *pool, char *const *list, char *first, char *second)
{
    size_t count = 0;
    while (list && list[count])
        count++;
    char **made = rota_pool_alloc (pool, (count + 3) * sizeof *made);
    if (!made)
        return NULL;
    if (count)
        memcpy (made, list, count * sizeof *made);
    if (first)
        made[count++] = first;
    if (second)
        made[count++] = second;
    return made;
}

/* The text, into the file and behind the prompt. */
static int tell (const rota_adapter_context_t *context, const Rota__Assignment *assignment, const char *path,
                 bool writes, rota_pool_t *pool, rota_attempt_t *attempt, rota_error_t *error)
{
    rota_told_t told = {.pool = pool};
    rota_told_report_t report = {0};
    rota_told_add_all (&told, assignment->context);
    char *text = rota_told_render (&told, budget_of (context), goes_on (attempt), NULL, &report);
    if (!text)
        return -ENOMEM;
    if (*text) {
        int status = rota_files_write (path, text, strlen (text), error);
        if (status < 0)
            return status == -EINVAL ? -EIO : status;
        rota_log (ROTA_LOG_DEBUG, "context.told", "step=%zu given=%zu known=%zu tokens=%zu", report.step,
                  report.given, report.known, report.tokens);
    }
    if (!attempt->input)
        return 0;
    attempt->input = rota_pool_format (pool, "%s%s%s", attempt->input, text,
                                       writes && !goes_on (attempt) ? ROTA_TOLD_OUTBOX : "");
    return attempt->input ? 0 : -ENOMEM;
}

int rota_briefing_prepare (const rota_adapter_context_t *context, const Rota__Assignment *assignment,
                           const char *kind, const char *log_path, rota_pool_t *pool, rota_attempt_t *attempt,
                           rota_error_t *error)
{
    if (assignment->phase != PHASE (WORK) && assignment->phase != PHASE (REVIEW))
        return 0;
    char *outbox = rota_pool_format (pool, "%s.outbox", log_path),
         *told = rota_pool_format (pool, "%s.context", log_path);
    char *outbox_variable = rota_pool_format (pool, ROTA_OUTBOX_VARIABLE "=%s", outbox ? outbox : "");
    char *told_variable = rota_pool_format (pool, ROTA_CONTEXT_VARIABLE "=%s", told ? told : "");
    bool informed = is_told (assignment);
    if (!outbox || !told || !outbox_variable || !told_variable)
        return -ENOMEM;
    unlink (outbox);
    unlink (told);
    attempt->environment =
        longer (pool, attempt->environment, outbox_variable, informed ? told_variable : NULL);
    if (!attempt->environment)
        return -ENOMEM;
    if (!assignment->repository)
        return informed ? tell (context, assignment, told, strcmp (kind, "http") != 0, pool, attempt, error)
                        : 0;
    /* The sandbox can only show files that are there. */
    int status = make_empty (outbox, error);
    if (status == 0 && informed)
        status = make_empty (told, error);
    attempt->writable = longer (pool, attempt->writable, outbox, informed ? told : NULL);
    return status == 0 && !attempt->writable ? -ENOMEM : status;
}

static json_t *text_of (ProtobufCBinaryData bytes)
{
    return json_stringn (bytes.len ? (const char *)bytes.data : "", bytes.len);
}

json_t *rota_briefing_describe (const rota_adapter_context_t *context, const Rota__Assignment *assignment,
                                const char *log_path, const rota_attempt_t *attempt)
{
    const Rota__TaskSpec *spec = assignment->spec;
    char about[ABOUT_BYTES];
    if (!is_told (assignment) || !budget_of (context))
        return NULL;
    snprintf (about, sizeof about, "%.*s %.*s %.*s %.*s", (int)(spec->id.len < 200 ? spec->id.len : 200),
              (const char *)spec->id.data, (int)(spec->title.len < 500 ? spec->title.len : 500),
              (const char *)spec->title.data,
              (int)(spec->description.len < 3500 ? spec->description.len : 3500),
              (const char *)spec->description.data, (int)(spec->prompt.len < 3500 ? spec->prompt.len : 3500),
              (const char *)spec->prompt.data);
    rota_pool_t *pool = rota_pool_new ();
    if (!pool)
        return NULL;
    rota_told_t told = {.pool = pool};
    rota_told_add_all (&told, assignment->context); /* clean from here on */
    rota_told_t subject = {.pool = pool};
    rota_told_add (&subject, "project", 0, about, strlen (about));
    json_t *parts = json_array ();
    for (size_t i = 0; i < told.count; i++)
        json_array_append_new (parts, json_pack ("{s:s, s:s, s:i}", "kind", told.parts[i].kind, "text",
                                                 told.parts[i].text, "score", told.parts[i].score));
    json_t *object =
        json_pack ("{s:o, s:i, s:I, s:I, s:s, s:b, s:b, s:o}", "parts", parts, "budget_used_permille",
                   (int)told.budget_used_permille, "budget", (json_int_t)budget_of (context), "files",
                   (json_int_t)rota_setting_integer (context->settings, ROTA_SETTING_CONTEXT_FILES), "about",
                   subject.count ? subject.parts[0].text : "", "resumed", goes_on (attempt), "prompt",
                   attempt->input != NULL, "path", json_sprintf ("%s.context", log_path));
    json_t *touches = json_array ();
    for (size_t i = 0; i < spec->n_touches; i++)
        json_array_append_new (touches, text_of (spec->touches[i]));
    if (object)
        json_object_set_new (object, "touches", touches);
    else
        json_decref (touches);
    rota_pool_destroy (&pool);
    return object;
}

/* ---- after */

void rota_briefing_classify (const char *log_path, bool works, rota_adapter_result_t *result)
{
    bool ended = result->result_class == RESULT (OK) || result->result_class == RESULT (FAILED) ||
                 result->result_class == RESULT (INVALID);
    rota_outbox_t outbox;
    rota_arena_t *arena = works && ended ? rota_arena_new (OUTBOX_ARENA_BYTES) : NULL;
    if (!arena)
        return;
    rota_outbox_load (log_path, arena, &outbox);
    const Rota__Note *question = rota_outbox_question (&outbox);
    if (question) {
        size_t length =
            question->text.len < sizeof result->message - 1 ? question->text.len : sizeof result->message - 1;
        while (length < question->text.len && length && (question->text.data[length] & 0xC0) == 0x80)
            length--;
        result->result_class = RESULT (NEEDS_INPUT);
        snprintf (result->message, sizeof result->message, "%.*s", (int)length,
                  (const char *)question->text.data);
    }
    rota_arena_destroy (&arena);
}

void rota_briefing_fill (const char *log_path, rota_arena_t *arena, Rota__Result *result)
{
    rota_outbox_t outbox;
    rota_outbox_load (log_path, arena, &outbox);
    result->n_notes = outbox.count;
    result->notes = outbox.notes;
    result->has_notes_bad = outbox.bad > 0;
    result->notes_bad = outbox.bad;
}
