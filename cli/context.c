/* The verbs `context ...`: what agents and people wrote down, and what an agent would be told of a task. */
#include "cli/context.h"

#include "agents/git.h"
#include "agents/program.h"
#include "agents/told_repository.h"
#include "bus/clock.h"
#include "cli/git.h"
#include "cli/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const TYPES[] = {"?", "decision", "constraint", "learning", "question", "answer"};
#define TYPE_COUNT (sizeof TYPES / sizeof *TYPES)
#define TASKS_MAX 20
#define LIST_DEFAULT 50

static const char *type_name (Rota__NoteType type)
{
    return (size_t)type < TYPE_COUNT ? TYPES[type] : TYPES[0];
}

static int parse_type (const char *word, Rota__NoteType *ret_type)
{
    for (size_t i = 1; i < TYPE_COUNT; i++)
        if (strcmp (word, TYPES[i]) == 0) {
            *ret_type = (Rota__NoteType)i;
            return ROTA_EXIT_DONE;
        }
    return rota_cli_fail (ROTA_EXIT_USAGE,
                          "\"%s\" is no type: decision, constraint, learning, question or answer", word);
}

/* ---- add, remove */

static int parse_confidence (const char *text, Rota__Note *note)
{
    char *end;
    note->confidence = strtod (text, &end);
    note->has_confidence = true;
    if (end == text || *end || !(note->confidence >= 0 && note->confidence <= 1))
        return rota_cli_fail (ROTA_EXIT_USAGE, "--confidence: \"%s\" is no number from 0 to 1", text);
    return ROTA_EXIT_DONE;
}

static void say_added (const rota_cli_t *cli, const Rota__ContextChanged *reply)
{
    if (!cli->json) {
        printf ("entry %llu\n", (unsigned long long)reply->number);
        return;
    }
    json_t *object = json_object ();
    rota_json_set_number (object, "number", reply->number);
    rota_json_document (stdout, object);
}

int rota_verb_context_add (rota_cli_t *cli)
{
    Rota__ContextAdd request = ROTA__CONTEXT_ADD__INIT;
    Rota__ContextChanged *reply = NULL;
    Rota__Note note = ROTA__NOTE__INIT;
    ProtobufCBinaryData tasks[TASKS_MAX];
    const char *confidence = rota_options_text (cli->options, "confidence", NULL);
    rota_link_t link;
    int code = parse_type (rota_options_argument (cli->options, 0), &note.type);
    if (code == ROTA_EXIT_DONE && confidence)
        code = parse_confidence (confidence, &note);
    if (code == ROTA_EXIT_DONE && rota_options_count (cli->options, "task") > TASKS_MAX)
        code = rota_cli_fail (ROTA_EXIT_USAGE, "an entry can be about %d tasks at most", TASKS_MAX);
    if (code != ROTA_EXIT_DONE)
        return code;
    note.has_type = note.has_text = note.has_topic = true;
    note.text = rota_bytes (rota_options_argument (cli->options, 1));
    note.topic = rota_bytes (rota_options_text (cli->options, "topic", ""));
    note.tasks = tasks;
    for (size_t i = 0; i < rota_options_count (cli->options, "task"); i++)
        tasks[note.n_tasks++] = rota_bytes (rota_options_nth (cli->options, "task", i));
    request.note = &note;
    code = rota_link_open_any (cli, &link);
    if (code != ROTA_EXIT_DONE)
        return code;
    code = rota_link_call (&link, ROTA_MESSAGE_CONTEXT_ADD, &request.base, ROTA_CALL_MS,
                           ROTA_MESSAGE_CONTEXT_CHANGED, &reply);
    if (code == ROTA_EXIT_DONE)
        say_added (cli, reply);
    rota_link_close (&link);
    return code;
}

int rota_verb_context_remove (rota_cli_t *cli)
{
    Rota__ContextRemove request = ROTA__CONTEXT_REMOVE__INIT;
    Rota__ContextChanged *reply = NULL;
    rota_link_t link;
    size_t count = rota_options_argument_count (cli->options);
    uint64_t *numbers = calloc (count + 1, sizeof *numbers);
    int code = numbers ? ROTA_EXIT_DONE : rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    for (size_t i = 0; code == ROTA_EXIT_DONE && i < count; i++) {
        const char *text = rota_options_argument (cli->options, i);
        char *end;
        errno = 0;
        numbers[i] = strtoull (text, &end, 10);
        if (errno || *end || *text < '0' || *text > '9')
            code = rota_cli_fail (ROTA_EXIT_USAGE, "\"%s\" is no number of an entry: see `rota context list`",
                                  text);
    }
    request.numbers = numbers;
    request.n_numbers = count;
    if (code == ROTA_EXIT_DONE)
        code = rota_link_open_any (cli, &link);
    if (code == ROTA_EXIT_DONE) {
        code = rota_link_call (&link, ROTA_MESSAGE_CONTEXT_REMOVE, &request.base, ROTA_CALL_MS,
                               ROTA_MESSAGE_CONTEXT_CHANGED, &reply);
        if (code == ROTA_EXIT_DONE && cli->json) {
            json_t *object = json_object ();
            rota_json_set_number (object, "changed", reply->changed);
            rota_json_document (stdout, object);
        } else if (code == ROTA_EXIT_DONE) {
            printf ("%u of %zu removed\n", reply->changed, count);
        }
        rota_link_close (&link);
    }
    free (numbers);
    return code;
}

/* ---- list */

json_t *rota_json_context_entry (const Rota__ContextEntry *entry)
{
    const Rota__Note *note = entry->note;
    json_t *object = json_object (), *about = json_array ();
    rota_json_set_number (object, "number", entry->number);
    rota_json_set_string (object, "type", type_name (note->type));
    rota_json_set_text (object, "topic", note->topic.len > 0, note->topic);
    rota_json_set_text (object, "text", true, note->text);
    if (note->has_confidence)
        json_object_set_new (object, "confidence", json_real (note->confidence));
    for (size_t i = 0; i < note->n_tasks; i++) {
        char *id = rota_clean_bytes (note->tasks[i].len > 0, note->tasks[i]);
        if (id)
            json_array_append_new (about, json_string (id));
        free (id);
    }
    json_object_set_new (object, "about", about);
    rota_json_set_text (object, "task", entry->has_task, entry->task);
    if (entry->has_attempt)
        rota_json_set_number (object, "attempt", entry->attempt);
    rota_json_set_text (object, "author", entry->author.len > 0, entry->author);
    rota_json_set_true (object, "by_hand", entry->by_hand);
    rota_json_set_time (object, "time", entry->time_ms);
    return object;
}

static void put_entry (rota_table_t *table, const Rota__ContextEntry *entry)
{
    char when[24];
    const Rota__Note *note = entry->note;
    rota_table_addf (table, ROTA_STYLE_PLAIN, "%llu", (unsigned long long)entry->number);
    rota_table_addf (table, ROTA_STYLE_BOLD, "%s", type_name (note->type));
    rota_table_addf (table, ROTA_STYLE_PLAIN, "%s", rota_when (entry->time_ms, rota_clock_wall_ms (), when));
    if (entry->by_hand)
        rota_table_addf (table, ROTA_STYLE_PLAIN, "a person");
    else
        rota_table_add (table, ROTA_STYLE_PLAIN, entry->author.data, entry->author.len);
    rota_table_add (table, ROTA_STYLE_PLAIN, note->n_tasks ? note->tasks[0].data : (const uint8_t *)"",
                    note->n_tasks ? note->tasks[0].len : 0);
    rota_table_addf (table, ROTA_STYLE_PLAIN, "%.*s%s%.*s", (int)note->topic.len,
                     (const char *)note->topic.data, note->topic.len ? ": " : "", (int)note->text.len,
                     (const char *)note->text.data);
}

int rota_verb_context_list (rota_cli_t *cli)
{
    static const rota_column_t COLUMNS[] = {{.title = "NUMBER", .right = true},
                                            {.title = "TYPE"},
                                            {.title = "TIME"},
                                            {.title = "BY"},
                                            {.title = "ABOUT"},
                                            {.title = "TEXT", .flexible = true}};
    Rota__ContextQuery query = ROTA__CONTEXT_QUERY__INIT;
    Rota__ContextEntries *reply = NULL;
    const char *type = rota_options_text (cli->options, "type", NULL),
               *task = rota_options_text (cli->options, "task", "");
    const char *words = rota_options_text (cli->options, "search", "");
    rota_link_t link;
    int code = type ? parse_type (type, &query.type) : ROTA_EXIT_DONE;
    if (code == ROTA_EXIT_DONE)
        code = rota_link_open_any (cli, &link);
    if (code != ROTA_EXIT_DONE)
        return code;
    int64_t limit = rota_options_number (cli->options, "limit", LIST_DEFAULT);
    query.has_type = type != NULL;
    query.has_task = *task != '\0';
    query.task = rota_bytes (task);
    query.has_words = *words != '\0';
    query.words = rota_bytes (words);
    query.has_limit = true;
    query.limit = limit > 0 && limit < 1000 ? (uint32_t)limit : 999;
    code = rota_link_call (&link, ROTA_MESSAGE_CONTEXT_QUERY, &query.base, ROTA_CALL_MS,
                           ROTA_MESSAGE_CONTEXT_ENTRIES, &reply);
    if (code == ROTA_EXIT_DONE && cli->json) {
        json_t *object = json_object (), *list = json_array ();
        for (size_t i = 0; i < reply->n_entries; i++)
            if (reply->entries[i]->note)
                json_array_append_new (list, rota_json_context_entry (reply->entries[i]));
        json_object_set_new (object, "entries", list);
        rota_json_set_true (object, "more", reply->more);
        rota_json_document (stdout, object);
    } else if (code == ROTA_EXIT_DONE && !reply->n_entries) {
        puts ("nothing is written down: `rota context add decision \"...\"` adds the first entry");
    } else if (code == ROTA_EXIT_DONE) {
        rota_table_t *table = rota_table_new (COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
        for (size_t i = 0; table && i < reply->n_entries; i++)
            if (reply->entries[i]->note)
                put_entry (table, reply->entries[i]);
        if (table)
            rota_table_flush (table, &cli->out);
        rota_table_destroy (&table);
        if (reply->more)
            rota_cli_note ("there are older ones: --limit shows more");
    }
    rota_link_close (&link);
    return code;
}

/* ---- show */

/* What the repository knows, where it is here. NULL, or why it isn't told. */
static const char *add_repository (rota_told_t *told, const Rota__ContextShown *shown, size_t files)
{
    char location[4096], directory[ROTA_GIT_LINE_BYTES], commit[ROTA_GIT_LINE_BYTES], name[512];
    const Rota__Repository *repository = shown->repository;
    const Rota__TaskSpec *spec = shown->spec;
    if (!repository)
        return "the task has no repository";
    snprintf (location, sizeof location, "%.*s", (int)repository->location.len,
              (const char *)repository->location.data);
    if (strstr (location, "://") ||
        ROTA_GIT_ASK (directory, "-C", location, "rev-parse", "--absolute-git-dir") != 0)
        return "its repository isn't here: an agent's host looks into its own clone";
    snprintf (name, sizeof name, "refs/heads/rota/%.*s",
              (int)(repository->target.len < 400 ? repository->target.len : 400),
              (const char *)repository->target.data);
    if ((!repository->target.len ||
         ROTA_GIT_ASK (commit, "-C", location, "rev-parse", "--verify", "--quiet", name) != 0) &&
        ROTA_GIT_ASK (commit, "-C", location, "rev-parse", "--verify", "--quiet", "HEAD^{commit}") != 0)
        return "its repository has no commit yet";
    const rota_git_t git = {.environment = rota_git_environment (told->pool), .git_dir = directory};
    const char **touches = rota_pool_alloc (told->pool, (spec->n_touches + 1) * sizeof *touches);
    char *about = rota_pool_format (
        told->pool, "%.*s %.*s %.*s %.*s", (int)spec->id.len, (const char *)spec->id.data,
        (int)spec->title.len, (const char *)spec->title.data,
        (int)(spec->description.len < 3500 ? spec->description.len : 3500),
        (const char *)spec->description.data, (int)(spec->prompt.len < 3500 ? spec->prompt.len : 3500),
        (const char *)spec->prompt.data);
    if (!git.environment || !touches || !about)
        return "no memory";
    for (size_t i = 0; i < spec->n_touches; i++)
        touches[i] = rota_pool_text (told->pool, (const char *)spec->touches[i].data, spec->touches[i].len);
    rota_told_repository (told, &git, commit, about, touches, files);
    return NULL;
}

static void put_shown (const rota_cli_t *cli, const rota_context_shown_t *shown)
{
    const rota_told_t *told = &shown->told;
    const rota_told_report_t *report = &shown->report;
    if (!cli->json) {
        char *clean = rota_clean (shown->text, strlen (shown->text), true),
             *task = rota_clean (shown->prompt, strlen (shown->prompt), true);
        printf ("%s%s%s", task ? task : "", clean ? clean : "", ROTA_TOLD_OUTBOX);
        free (clean);
        free (task);
        if (shown->missing)
            rota_cli_note ("without what the repository knows: %s", shown->missing);
        rota_cli_note ("%zu of %zu parts, about %zu tokens", report->given, report->known, report->tokens);
        if (report->tightened)
            rota_cli_note ("less than there is room for: of what pays for it %u %% are spent",
                           told->budget_used_permille / 10);
        return;
    }
    json_t *object = json_object (), *list = json_array ();
    rota_json_set_text (object, "prompt", true, rota_bytes (shown->prompt));
    rota_json_set_text (object, "text", true, rota_bytes (shown->text));
    for (size_t i = 0; i < told->count; i++) {
        json_t *part = json_object ();
        rota_json_set_string (part, "kind", told->parts[i].kind);
        rota_json_set_text (part, "text", true, rota_bytes (told->parts[i].text));
        json_object_set_new (part, "score", json_integer (told->parts[i].score));
        json_array_append_new (list, part);
    }
    json_object_set_new (object, "parts", list);
    rota_json_set_number (object, "step", report->step);
    rota_json_set_number (object, "given", report->given);
    rota_json_set_number (object, "tokens", report->tokens);
    rota_json_set_number (object, "budget_used_permille", told->budget_used_permille);
    rota_json_set_string (object, "missing", shown->missing);
    rota_json_document (stdout, object);
}

int rota_context_assemble (rota_link_t *link, const char *id, const rota_settings_t *settings,
                           rota_pool_t *pool, rota_context_shown_t *ret_shown)
{
    Rota__ContextShow query = ROTA__CONTEXT_SHOW__INIT;
    Rota__ContextShown *reply = NULL;
    query.has_task = true;
    query.task = rota_bytes (id);
    int code = rota_link_call (link, ROTA_MESSAGE_CONTEXT_SHOW, &query.base, ROTA_CALL_MS,
                               ROTA_MESSAGE_CONTEXT_SHOWN, &reply);
    if (code != ROTA_EXIT_DONE)
        return code;
    if (!reply->spec)
        return rota_cli_fail (ROTA_EXIT_UNREACHABLE, "the scheduler's answer holds no task");
    rota_context_shown_t shown = {.told = {.pool = pool}};
    Rota__Assignment assignment = ROTA__ASSIGNMENT__INIT;
    assignment.spec = reply->spec;
    assignment.phase = reply->phase;
    rota_told_add_all (&shown.told, reply->context);
    shown.missing = add_repository (&shown.told, reply,
                                    (size_t)rota_setting_integer (settings, ROTA_SETTING_CONTEXT_FILES));
    shown.prompt = rota_program_prompt (&assignment, "(a word drawn for that review)", pool);
    shown.text =
        rota_told_render (&shown.told, (size_t)rota_setting_integer (settings, ROTA_SETTING_CONTEXT_BUDGET),
                          false, NULL, &shown.report);
    if (!shown.prompt || !shown.text)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    *ret_shown = shown;
    return ROTA_EXIT_DONE;
}

int rota_verb_context_show (rota_cli_t *cli)
{
    rota_settings_t *settings = NULL;
    rota_error_t error = {""};
    rota_context_shown_t shown = {.prompt = "", .text = ""};
    rota_link_t link;
    rota_pool_t *pool = rota_pool_new ();
    if (!pool)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    int code =
        rota_settings_load (rota_options_text (cli->options, "config", NULL), stderr, &settings, &error) < 0
            ? rota_cli_fail (ROTA_EXIT_USAGE, "%s", error.text)
            : rota_link_open_any (cli, &link);
    if (code == ROTA_EXIT_DONE) {
        code = rota_context_assemble (&link, rota_options_argument (cli->options, 0), settings, pool, &shown);
        if (code == ROTA_EXIT_DONE)
            put_shown (cli, &shown);
        rota_link_close (&link);
    }
    rota_settings_destroy (&settings);
    rota_pool_destroy (&pool);
    return code;
}
