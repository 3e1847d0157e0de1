/* The verbs task and why: one task in full. */
#include "bus/clock.h"
#include "cli/json.h"
#include "cli/link.h"

#include <stdlib.h>
#include <string.h>

#define EVENTS_SHOWN 12
#define NEIGHBOURS_SHOWN 12

static void put_field (const rota_cli_t *cli, const char *name, bool present, ProtobufCBinaryData bytes)
{
    char *text = present && bytes.len > 0 ? rota_clean (bytes.data, bytes.len, true) : NULL;

    if (!text)
        return;
    printf ("  %s%-12s%s ", rota_style (&cli->out, ROTA_STYLE_DIM), name, rota_style_end (&cli->out));
    for (const char *line = text; *line;) {
        size_t size = strcspn (line, "\n");
        printf ("%.*s\n", (int)size, line);
        line += size + (line[size] == '\n');
        if (*line)
            printf ("  %-12s ", "");
    }
    free (text);
}

__attribute__ ((format (printf, 3, 4))) static void put_line (const rota_cli_t *cli, const char *name,
                                                              const char *format, ...)
{
    va_list arguments;
    printf ("  %s%-12s%s ", rota_style (&cli->out, ROTA_STYLE_DIM), name, rota_style_end (&cli->out));
    va_start (arguments, format);
    vprintf (format, arguments);
    va_end (arguments);
    putchar ('\n');
}

static void put_state (const rota_cli_t *cli, const Rota__TaskState *task)
{
    char *id = rota_clean_bytes (task->has_id, task->id),
         *title = rota_clean_bytes (task->has_title, task->title);
    int64_t now_ms = rota_clock_wall_ms ();
    char when[24];

    printf ("%s%s%s  %s\n", rota_style (&cli->out, ROTA_STYLE_BOLD), id ? id : "", rota_style_end (&cli->out),
            id && title && strcmp (id, title) != 0 ? title : "");
    printf ("  %s%-12s%s %s%s%s", rota_style (&cli->out, ROTA_STYLE_DIM), "status",
            rota_style_end (&cli->out), rota_style (&cli->out, rota_status_style (task->status)),
            task->status ? rota_status_name (task->status) : "a group: it follows from its members",
            rota_style_end (&cli->out));
    if (task->has_phase && task->phase)
        printf (", phase %s", rota_phase_name (task->phase));
    if (task->has_blocked && task->blocked)
        printf (", by %s", rota_block_cause_name (task->blocked));
    printf ("%s%s%s%s\n", task->unreachable ? ", unreachable" : "", task->waiting ? ", waits for others" : "",
            task->orphaned ? ", gone from the file" : "",
            task->flagged ? ", a prerequisite was reopened" : "");
    put_field (cli, "reason", task->has_reason, task->reason);
    if (task->attempts_allowed > 0)
        put_line (cli, "attempts", "%u of %u used", task->attempts_used, task->attempts_allowed);
    if (task->not_before_ms > now_ms)
        put_line (cli, "not before", "%s", rota_when (task->not_before_ms, now_ms, when));
    put_field (cli, "source", task->has_source, task->source);
    free (id);
    free (title);
}

static void put_spec (const rota_cli_t *cli, const Rota__TaskSpec *spec)
{
    char text[ROTA_CLOCK_DURATION_BYTES];

    put_field (cli, "run", spec->has_run, spec->run);
    put_field (cli, "directory", spec->has_run && spec->has_directory, spec->directory);
    put_field (cli, "prompt", spec->has_prompt, spec->prompt);
    put_field (cli, "description", spec->has_description, spec->description);
    put_field (cli, "agent", spec->has_agent, spec->agent);
    put_field (cli, "epic", spec->has_epic, spec->epic);
    put_field (cli, "milestone", spec->has_milestone, spec->milestone);
    if (spec->has_priority && spec->priority != 0)
        put_line (cli, "priority", "%d", spec->priority);
    if (spec->has_complexity)
        put_line (cli, "complexity", "%u", spec->complexity);
    if (spec->has_timeout_ms) {
        rota_clock_duration (spec->timeout_ms, text);
        put_line (cli, "timeout", "%s", text);
    }
    for (size_t i = 0; i < spec->n_exit_criteria; i++)
        put_field (cli, i ? "" : "criteria", spec->exit_criteria[i]->has_value,
                   spec->exit_criteria[i]->value);
}

static void put_neighbours (const rota_cli_t *cli, const char *title, Rota__TaskState *const *tasks,
                            size_t count)
{
    for (size_t i = 0; i < count && i < NEIGHBOURS_SHOWN; i++) {
        char *id = rota_clean_bytes (true, tasks[i]->id);
        bool group = tasks[i]->kind == ROTA__NODE_KIND__NODE_KIND_EPIC ||
                     tasks[i]->kind == ROTA__NODE_KIND__NODE_KIND_MILESTONE;
        put_line (cli, i ? "" : title, "%s%s%s  %s%s",
                  rota_style (&cli->out, rota_status_style (tasks[i]->status)),
                  tasks[i]->has_status && tasks[i]->status ? rota_status_name (tasks[i]->status) : "group",
                  rota_style_end (&cli->out), id ? id : "", group ? " (group)" : "");
        free (id);
    }
    if (count > NEIGHBOURS_SHOWN)
        put_line (cli, "", "... and %zu more", count - NEIGHBOURS_SHOWN);
}

static void add_attempt (rota_table_t *table, const Rota__Attempt *attempt, int64_t now_ms)
{
    const Rota__Result *result = attempt->result;
    int64_t from_ms = attempt->started_ms ? attempt->started_ms : attempt->assigned_ms;
    char text[ROTA_CLOCK_DURATION_BYTES] = "", when[24];
    bool good = result && result->result_class == ROTA__RESULT_CLASS__RESULT_CLASS_OK;

    if (from_ms > 0)
        rota_clock_duration ((attempt->running ? now_ms : attempt->finished_ms) - from_ms, text);
    rota_table_addf (table, ROTA_STYLE_PLAIN, "  %u", attempt->number);
    rota_table_addf (table, ROTA_STYLE_PLAIN, "%s",
                     attempt->has_phase ? rota_phase_name (attempt->phase) : "");
    rota_table_addf (table,
                     good               ? ROTA_STYLE_GREEN
                     : attempt->running ? ROTA_STYLE_CYAN
                                        : ROTA_STYLE_RED,
                     "%s%s",
                     attempt->running ? "running"
                     : result         ? rota_result_class_name (result->result_class)
                                      : "ended",
                     !attempt->running && !attempt->used && !good ? " (not counted)" : "");
    if (result && result->signal > 0)
        rota_table_addf (table, ROTA_STYLE_PLAIN, "signal %u", result->signal);
    else if (result && result->has_exit_code)
        rota_table_addf (table, ROTA_STYLE_PLAIN, "exit %d", result->exit_code);
    else
        rota_table_addf (table, ROTA_STYLE_PLAIN, "%s", "");
    rota_table_addf (table, ROTA_STYLE_PLAIN, "%s", text);
    if (attempt->has_quality_permille)
        rota_table_addf (table, ROTA_STYLE_PLAIN, "%.2f", attempt->quality_permille / 1000.0);
    else
        rota_table_addf (table, ROTA_STYLE_PLAIN, "%s", "");
    rota_table_addf (table, ROTA_STYLE_PLAIN, "%s", rota_when (from_ms, now_ms, when));
    rota_table_add (table, ROTA_STYLE_PLAIN, attempt->agent.data, attempt->agent.len);
    if (result && result->has_message && result->message.len > 0)
        rota_table_add (table, ROTA_STYLE_PLAIN, result->message.data, result->message.len);
    else
        rota_table_add (table, ROTA_STYLE_PLAIN, attempt->note.data,
                        attempt->has_note ? attempt->note.len : 0);
}

static void put_attempts (const rota_cli_t *cli, const Rota__TaskReply *reply)
{
    static const rota_column_t COLUMNS[] = {{.title = "  ATTEMPT"},
                                            {.title = "PHASE"},
                                            {.title = "RESULT"},
                                            {.title = "CODE"},
                                            {.title = "TIME", .right = true},
                                            {.title = "QUALITY", .right = true},
                                            {.title = "BEGAN"},
                                            {.title = "AGENT", .flexible = true},
                                            {.title = "NOTE", .flexible = true}};
    rota_table_t *table = rota_table_new (COLUMNS, sizeof COLUMNS / sizeof COLUMNS[0]);

    for (size_t i = 0; table && i < reply->n_attempts; i++)
        add_attempt (table, reply->attempts[i], rota_clock_wall_ms ());
    if (table && reply->n_attempts > 0) {
        putchar ('\n');
        rota_table_flush (table, &cli->out);
    }
    rota_table_destroy (&table);
}

static void put_history (const rota_cli_t *cli, const Rota__TaskReply *reply)
{
    int64_t now_ms = rota_clock_wall_ms ();
    char when[24];

    for (size_t i = 0; i < reply->n_events; i++) {
        const Rota__Event *event = reply->events[reply->n_events - 1 - i]; /* they come newest first */
        char *reason = rota_clean_bytes (event->has_reason, event->reason);
        bool moved = event->type == ROTA__EVENT_TYPE__EVENT_TYPE_TASK_MOVED;
        printf ("%s  %s%s%s  ", i ? "" : "\n", rota_style (&cli->out, ROTA_STYLE_DIM),
                rota_when (event->time_ms, now_ms, when), rota_style_end (&cli->out));
        if (moved)
            printf ("%s %s %s%s%s", rota_status_name (event->from_status), cli->out.unicode ? "\u2192" : "->",
                    rota_status_name (event->to_status), event->phase > ROTA__PHASE__PHASE_WORK ? " " : "",
                    event->phase > ROTA__PHASE__PHASE_WORK ? rota_phase_name (event->phase) : "");
        else
            fputs (rota_event_type_name (event->type), stdout);
        printf ("%s%s\n", reason && *reason ? ": " : "", reason ? reason : "");
        free (reason);
    }
}

static void print_json (const Rota__TaskReply *reply)
{
    json_t *object = rota_json_task (reply->task), *attempts = json_array (), *events = json_array (),
           *before = json_array (), *behind = json_array ();
    for (size_t i = 0; i < reply->n_attempts; i++)
        json_array_append_new (attempts, rota_json_attempt (reply->attempts[i]));
    for (size_t i = reply->n_events; i > 0; i--) /* they come newest first */
        json_array_append_new (events, rota_json_event (reply->events[i - 1]));
    for (size_t i = 0; i < reply->n_prerequisites; i++)
        json_array_append_new (before, rota_json_task (reply->prerequisites[i]));
    for (size_t i = 0; i < reply->n_dependants; i++)
        json_array_append_new (behind, rota_json_task (reply->dependants[i]));
    json_object_set_new (object, "attempts", attempts);
    json_object_set_new (object, "prerequisites", before);
    json_object_set_new (object, "dependants", behind);
    json_object_set_new (object, "events", events);
    rota_json_document (stdout, object);
}

int rota_verb_task (rota_cli_t *cli)
{
    Rota__TaskQuery query = ROTA__TASK_QUERY__INIT;
    Rota__TaskReply *reply = NULL;
    rota_link_t link;

    int code = rota_link_open_any (cli, &link);
    if (code != ROTA_EXIT_DONE)
        return code;
    query.has_id = query.has_events = true;
    query.id = rota_bytes (rota_options_argument (cli->options, 0));
    query.events = cli->json ? 1000 : EVENTS_SHOWN;
    code = rota_link_call (&link, ROTA_MESSAGE_TASK_QUERY, &query.base, ROTA_CALL_MS, ROTA_MESSAGE_TASK_REPLY,
                           &reply);
    if (code == ROTA_EXIT_DONE && !reply->task)
        code = rota_cli_fail (ROTA_EXIT_UNREACHABLE, "the scheduler's answer holds no task");
    else if (code == ROTA_EXIT_DONE && cli->json)
        print_json (reply);
    else if (code == ROTA_EXIT_DONE && strcmp (cli->verb->name, "attempts") == 0)
        put_attempts (cli, reply);
    else if (code == ROTA_EXIT_DONE) {
        put_state (cli, reply->task);
        if (reply->task->spec)
            put_spec (cli, reply->task->spec);
        put_neighbours (cli, "after", reply->prerequisites, reply->n_prerequisites);
        put_neighbours (cli, "before", reply->dependants, reply->n_dependants);
        put_attempts (cli, reply);
        put_history (cli, reply);
    }
    rota_link_close (&link);
    return code;
}

static void put_why (const rota_cli_t *cli, const Rota__WhyReply *reply)
{
    char *id = rota_clean_bytes (reply->has_id, reply->id);

    printf ("%s%s%s is %s%s%s\n", rota_style (&cli->out, ROTA_STYLE_BOLD), id ? id : "",
            rota_style_end (&cli->out), rota_style (&cli->out, rota_status_style (reply->status)),
            reply->status ? rota_status_name (reply->status) : "a group", rota_style_end (&cli->out));
    for (size_t i = 0; i < reply->n_reasons; i++) {
        char *text = rota_clean_bytes (reply->reasons[i]->has_text, reply->reasons[i]->text);
        printf ("  %s\n", text ? text : "");
        free (text);
    }
    if (reply->n_chain > 0)
        printf ("  %s", id ? id : "");
    for (size_t i = 0; i < reply->n_chain; i++) {
        char *link = rota_clean_bytes (true, reply->chain[i]);
        bool itself = i == 0 && link && id && strcmp (link, id) == 0;
        if (!itself)
            printf (" %s %s", cli->out.unicode ? "\u2190" : "<-", link ? link : "");
        free (link);
    }
    if (reply->n_chain > 0)
        putchar ('\n');
    free (id);
}

int rota_verb_why (rota_cli_t *cli)
{
    Rota__WhyQuery query = ROTA__WHY_QUERY__INIT;
    Rota__WhyReply *reply = NULL;
    rota_link_t link;

    int code = rota_link_open_any (cli, &link);
    if (code != ROTA_EXIT_DONE)
        return code;
    query.has_id = true;
    query.id = rota_bytes (rota_options_argument (cli->options, 0));
    code = rota_link_call (&link, ROTA_MESSAGE_WHY_QUERY, &query.base, ROTA_CALL_MS, ROTA_MESSAGE_WHY_REPLY,
                           &reply);
    if (code == ROTA_EXIT_DONE && cli->json) {
        rota_json_document (stdout, rota_json_why (reply));
    } else if (code == ROTA_EXIT_DONE) {
        put_why (cli, reply);
    }
    rota_link_close (&link);
    return code;
}
