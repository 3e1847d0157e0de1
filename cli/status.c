/* The verbs status and tasks: how things stand. */
#include "cli/status.h"
#include "bus/clock.h"
#include "bus/guess.h"
#include "cli/json.h"
#include "cli/tasks.h"

#include <stdlib.h>
#include <string.h>

#define BAR_COLUMNS 40
#define STATUSES_MAX 16

static uint64_t count_of (const Rota__StatusReply *status, Rota__TaskStatus wanted)
{
    for (size_t i = 0; i < status->n_counts; i++)
        if (status->counts[i]->status == wanted)
            return status->counts[i]->tasks;
    return 0;
}

static void put_bar (const rota_cli_t *cli, const Rota__StatusReply *status)
{
    uint64_t done = count_of (status, ROTA__TASK_STATUS__TASK_STATUS_DONE);
    const rota_bar_part_t parts[] = {
        {done, ROTA_STYLE_GREEN},
        {count_of (status, ROTA__TASK_STATUS__TASK_STATUS_FAILED), ROTA_STYLE_RED},
        {count_of (status, ROTA__TASK_STATUS__TASK_STATUS_BLOCKED) +
             count_of (status, ROTA__TASK_STATUS__TASK_STATUS_CANCELLED) + status->unreachable,
         ROTA_STYLE_YELLOW},
        {count_of (status, ROTA__TASK_STATUS__TASK_STATUS_IN_PROGRESS), ROTA_STYLE_CYAN}};
    rota_bar_put (stdout, &cli->out, parts, sizeof parts / sizeof parts[0], status->total, BAR_COLUMNS);
    printf (" %s%llu of %llu done%s\n", rota_style (&cli->out, ROTA_STYLE_BOLD), (unsigned long long)done,
            (unsigned long long)status->total, rota_style_end (&cli->out));
}

static void put_counts (const rota_cli_t *cli, const Rota__StatusReply *status)
{
    const struct {
        uint64_t amount;
        const char *word;
    } places[] = {{status->ready, "ready"},
                  {status->waiting, "waiting for others"},
                  {status->delayed, "for a time"},
                  {status->awaiting_human, "for people"},
                  {status->unreachable, "unreachable"},
                  {status->unassignable, "for no agent that is here"},
                  {status->broke, "out of budget"},
                  {status->orphaned, "gone from the file"}};
    char when[24];

    for (size_t i = 0; i < status->n_counts; i++) {
        Rota__TaskStatus one = status->counts[i]->status;
        if (status->counts[i]->tasks > 0)
            printf ("  %s%-18s%s %8llu\n", rota_style (&cli->out, rota_status_style (one)),
                    rota_status_name (one), rota_style_end (&cli->out),
                    (unsigned long long)status->counts[i]->tasks);
    }
    const char *separator = "of these: ";
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (places[i].amount == 0)
            continue;
        printf ("%s%llu %s", separator, (unsigned long long)places[i].amount, places[i].word);
        separator = ", ";
    }
    if (status->next_ms > 0)
        printf (" (the next at %s)", rota_when (status->next_ms, rota_clock_wall_ms (), when));
    if (strcmp (separator, ", ") == 0)
        putchar ('\n');
}

static void put_running (const rota_cli_t *cli, const Rota__StatusReply *status)
{
    static const rota_column_t COLUMNS[] = {{.title = "  RUNNING", .flexible = true},
                                            {.title = "FOR", .right = true},
                                            {.title = "ATTEMPT", .right = true},
                                            {.title = "AGENT", .flexible = true},
                                            {.title = "TITLE", .flexible = true}};
    rota_table_t *table = rota_table_new (COLUMNS, 5);
    int64_t now_ms = rota_clock_wall_ms ();

    for (size_t i = 0; table && i < status->n_running; i++) {
        const Rota__RunningTask *task = status->running[i];
        char text[ROTA_CLOCK_DURATION_BYTES];
        rota_clock_duration (task->started_ms ? now_ms - task->started_ms : 0, text);
        rota_table_addf (table, ROTA_STYLE_CYAN, "  %.*s", (int)task->id.len, (const char *)task->id.data);
        rota_table_addf (table, ROTA_STYLE_PLAIN, "%s", text);
        rota_table_addf (table, ROTA_STYLE_PLAIN, "%u", task->attempt);
        rota_table_add (table, ROTA_STYLE_PLAIN, task->agent.data, task->agent.len);
        rota_table_add (table, ROTA_STYLE_PLAIN, task->title.data, task->title.len);
    }
    if (table && status->n_running > 0) {
        putchar ('\n');
        rota_table_flush (table, &cli->out);
    }
    rota_table_destroy (&table);
}

/* "quality 0.87 on average (claude 0.91, codex 0.80)". */
static void put_quality (const Rota__StatusReply *status)
{
    const char *separator = " (";
    if (!status->has_average_quality)
        return;
    printf ("\nquality %.2f on average", status->average_quality);
    for (size_t i = 0; i < status->n_quality; i++) {
        char *name = rota_clean_bytes (status->quality[i]->has_kind, status->quality[i]->kind);
        if (status->quality[i]->has_kind && name) {
            printf ("%s%s %.2f", separator, name, status->quality[i]->permille / 1000.0);
            separator = ", ";
        }
        free (name);
    }
    puts (*separator == ',' ? ")" : "");
}

/* Nothing runs, and nothing can start by itself. */
static void put_rest (const Rota__StatusReply *status)
{
    uint64_t ended = 0;
    for (size_t i = 0; i < status->n_counts; i++)
        if (status->counts[i]->status == ROTA__TASK_STATUS__TASK_STATUS_DONE ||
            status->counts[i]->status == ROTA__TASK_STATUS__TASK_STATUS_FAILED ||
            status->counts[i]->status == ROTA__TASK_STATUS__TASK_STATUS_CANCELLED)
            ended += status->counts[i]->tasks;
    if (ended == status->total)
        puts ("nothing to do: every task has ended");
    else
        puts ("nothing to do by itself: `rota why ID` says what a task that is left would need");
}

void rota_status_put (const rota_cli_t *cli, const Rota__StatusReply *status, const rota_link_t *link)
{
    char shown[512];

    if (link->state)
        printf ("%s%s%s\n", rota_style (&cli->out, ROTA_STYLE_DIM),
                rota_state_shown (link->state, shown, sizeof shown), rota_style_end (&cli->out));
    if (status->total == 0) {
        puts ("no tasks yet: `rota run ROADMAP` or `rota submit -- COMMAND` adds some");
    } else {
        put_bar (cli, status);
        put_counts (cli, status);
    }
    put_running (cli, status);
    bool told = link->started;
    for (size_t i = 0; i < status->n_waits; i++) {
        told |= status->waits[i]->code.len == 6 && memcmp (status->waits[i]->code.data, "paused", 6) == 0;
        char *text = rota_wait_sentence (status->waits[i], rota_clock_wall_ms ());
        printf ("%s%s %s\n", i == 0 ? "\n" : "", cli->out.unicode ? "\u00b7" : "-", text ? text : "");
        free (text);
    }
    if (!told && (status->paused || status->draining))
        printf ("%s %s: `rota resume` goes on\n", cli->out.unicode ? "\u00b7" : "-",
                status->draining ? "draining" : "paused");
    /* What is as usual is not worth a line. */
    if (status->has_mode &&
        (status->mode_pinned || (status->mode.len != 7 || memcmp (status->mode.data, "balance", 7) != 0))) {
        char *mode = rota_clean_bytes (true, status->mode),
             *why = rota_clean_bytes (true, status->mode_reason);
        printf ("%s mode %s%s%s: %s\n", cli->out.unicode ? "\u00b7" : "-",
                rota_style (&cli->out, ROTA_STYLE_BOLD), mode ? mode : "", rota_style_end (&cli->out),
                why ? why : "");
        free (mode);
        free (why);
    }
    if (link->started)
        puts ("\nno services run here: `rota up` or `rota run` starts them");
    else
        printf ("\n%llu of %llu slots busy\n", (unsigned long long)status->slots_busy,
                (unsigned long long)status->slots);
    put_quality (status);
    if (status->settled && status->total > 0 && status->n_running == 0 && !link->started)
        put_rest (status);
}

json_t *rota_status_json (const Rota__StatusReply *status, const rota_link_t *link)
{
    json_t *object = rota_json_status (status);
    rota_json_set_string (object, "state", link->state);
    json_object_set_new (object, "services", json_boolean (!link->started));
    return object;
}

int rota_verb_status (rota_cli_t *cli)
{
    const char *source = rota_options_text (cli->options, "source", NULL);
    Rota__StatusQuery query = ROTA__STATUS_QUERY__INIT;
    Rota__StatusReply *status = NULL;
    rota_link_t link;

    if (rota_options_flag (cli->options, "leader"))
        return rota_verb_leader (cli);
    if (rota_options_flag (cli->options, "health"))
        return rota_verb_health (cli);
    int code = rota_link_open_any (cli, &link);
    if (code != ROTA_EXIT_DONE)
        return code;
    if (rota_options_flag (cli->options, "watch")) {
        code = rota_status_watch (cli, &link, source);
        rota_link_close (&link);
        return code;
    }
    if (source) {
        query.has_source = true;
        query.source = rota_bytes (source);
    }
    code = rota_link_call (&link, ROTA_MESSAGE_STATUS_QUERY, &query.base, ROTA_CALL_MS,
                           ROTA_MESSAGE_STATUS_REPLY, &status);
    if (code == ROTA_EXIT_DONE && cli->json) {
        rota_json_document (stdout, rota_status_json (status, &link));
    } else if (code == ROTA_EXIT_DONE) {
        rota_status_put (cli, status, &link);
    }
    rota_link_close (&link);
    return code;
}

/* ---- tasks */

typedef struct {
    const rota_cli_t *cli;
    rota_table_t *table;
    uint64_t shown;
    bool groups; /* ids were named: whatever they are */
    int64_t now_ms;
} list_t;

static void add_note (list_t *self, const Rota__TaskState *task)
{
    char text[300], when[24];
    const char *cause = task->has_blocked && task->blocked ? rota_block_cause_name (task->blocked) : "";

    text[0] = '\0';
    if (task->unreachable)
        snprintf (text, sizeof text, "unreachable");
    else if (task->waiting)
        snprintf (text, sizeof text, "waits for others");
    else if (task->not_before_ms > self->now_ms && task->status == ROTA__TASK_STATUS__TASK_STATUS_PENDING)
        snprintf (text, sizeof text, "not before %s", rota_when (task->not_before_ms, self->now_ms, when));
    else if (task->status != ROTA__TASK_STATUS__TASK_STATUS_DONE && (*cause || task->has_reason))
        snprintf (text, sizeof text, "%s%s%.*s", cause, *cause && task->has_reason ? ": " : "",
                  (int)(task->reason.len < 200 ? task->reason.len : 200),
                  task->has_reason ? (const char *)task->reason.data : "");
    rota_table_addf (self->table, ROTA_STYLE_DIM, "%s%s", text,
                     task->orphaned ? " (gone from the file)" : "");
}

static void add_row (list_t *self, const Rota__TaskState *task)
{
    char text[ROTA_CLOCK_DURATION_BYTES] = "";
    bool runs = task->status == ROTA__TASK_STATUS__TASK_STATUS_IN_PROGRESS;

    if (task->started_ms > 0 && task->finished_ms >= task->started_ms && !runs)
        rota_clock_duration (task->finished_ms - task->started_ms, text);
    else if (task->started_ms > 0 && runs)
        rota_clock_duration (self->now_ms - task->started_ms, text);
    rota_table_addf (self->table, rota_status_style (task->status), "%s",
                     task->status ? rota_status_name (task->status) : "group");
    rota_table_add (self->table, ROTA_STYLE_BOLD, task->id.data, task->id.len);
    bool titled = task->has_title && !(task->title.len == task->id.len &&
                                       memcmp (task->title.data, task->id.data, task->id.len) == 0);
    rota_table_add (self->table, ROTA_STYLE_PLAIN, task->title.data, titled ? task->title.len : 0);
    rota_table_addf (self->table, ROTA_STYLE_PLAIN, "%s", text);
    add_note (self, task);
}

static bool each (void *owner, const Rota__TaskState *task)
{
    list_t *self = owner;
    bool group =
        task->kind == ROTA__NODE_KIND__NODE_KIND_EPIC || task->kind == ROTA__NODE_KIND__NODE_KIND_MILESTONE;

    if (group && !self->groups)
        return true;
    if (self->cli->json) {
        json_t *object = rota_json_task (task);
        fputs (self->shown ? ",\n" : "", stdout);
        json_dumpf (object, stdout, JSON_COMPACT);
        json_decref (object);
    } else {
        add_row (self, task);
    }
    self->shown++;
    return true;
}

static void page (void *owner, const Rota__TasksReply *reply)
{
    list_t *self = owner;
    (void)reply;
    if (self->table)
        rota_table_flush (self->table, &self->cli->out);
}

static int unknown_status (const char *word)
{
    rota_guess_t guess;
    rota_guess_start (&guess, word, strlen (word));
    for (int i = 1; i <= ROTA__TASK_STATUS__TASK_STATUS_CANCELLED; i++) {
        const char *name = rota_status_name ((Rota__TaskStatus)i);
        rota_guess_offer (&guess, name, strlen (name));
    }
    return rota_cli_fail (ROTA_EXIT_USAGE, "there is no status \"%s\"%s", word, rota_guess_end (&guess));
}

static int parse_statuses (const rota_cli_t *cli, Rota__TaskStatus *ret_list, size_t *ret_count)
{
    size_t count = rota_options_count (cli->options, "status");

    for (size_t i = 0; i < count && i < STATUSES_MAX; i++) {
        const char *word = rota_options_nth (cli->options, "status", i);
        ret_list[i] = rota_status_parse (word, strlen (word));
        if (ret_list[i] == ROTA__TASK_STATUS__TASK_STATUS_UNSPECIFIED)
            return unknown_status (word);
    }
    *ret_count = count < STATUSES_MAX ? count : STATUSES_MAX;
    return ROTA_EXIT_DONE;
}

static int list_tasks (rota_cli_t *cli, rota_link_t *link, Rota__TasksQuery *query)
{
    static const rota_column_t COLUMNS[] = {{.title = "STATUS"},
                                            {.title = "ID", .flexible = true},
                                            {.title = "TITLE", .flexible = true},
                                            {.title = "TIME", .right = true},
                                            {.title = "NOTE", .flexible = true}};
    list_t self = {.cli = cli, .now_ms = rota_clock_wall_ms (), .groups = query->n_ids > 0};

    if (cli->json) {
        fputs ("{\"tasks\": [\n", stdout);
    } else {
        self.table = rota_table_new (COLUMNS, sizeof COLUMNS / sizeof COLUMNS[0]);
        if (!self.table)
            return rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    }
    int code = rota_tasks_each (link, query, each, page, &self);
    if (cli->json)
        fputs ("\n]}\n", stdout);
    else if (self.shown == 0 && code == ROTA_EXIT_DONE)
        rota_cli_note ("no such tasks");
    rota_table_destroy (&self.table);
    return code;
}

int rota_verb_tasks (rota_cli_t *cli)
{
    const char *source = rota_options_text (cli->options, "source", NULL);
    const char *group =
        rota_options_text (cli->options, "in", rota_options_text (cli->options, "epic", NULL));
    size_t count = rota_options_argument_count (cli->options), status_count = 0;
    Rota__TasksQuery query = ROTA__TASKS_QUERY__INIT;
    Rota__TaskStatus statuses[STATUSES_MAX];
    ProtobufCBinaryData *ids = calloc (count + 1, sizeof *ids);
    rota_link_t link;

    if (!ids)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    int code = parse_statuses (cli, statuses, &status_count);
    if (code == ROTA_EXIT_DONE)
        code = rota_link_open_any (cli, &link);
    if (code == ROTA_EXIT_DONE) {
        for (size_t i = 0; i < count; i++)
            ids[i] = rota_bytes (rota_options_argument (cli->options, i));
        query.n_ids = count;
        query.ids = ids;
        query.n_statuses = status_count;
        query.statuses = statuses;
        query.has_source = source != NULL;
        query.source = rota_bytes (source ? source : "");
        query.has_group = group != NULL;
        query.group = rota_bytes (group ? group : "");
        code = list_tasks (cli, &link, &query);
        rota_link_close (&link);
    }
    free (ids);
    return code;
}
