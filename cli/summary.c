#include "cli/summary.h"

#include "bus/clock.h"
#include "cli/json.h"
#include "cli/tasks.h"

#include <stdlib.h>
#include <string.h>

#define SHOWN 8      /* of each list */
#define WORTH_MS 100 /* what took less is not called slow */
#define WHY_MS 5000

typedef struct {
    const rota_summary_t *config;
    const rota_screen_t *screen;
    rota_verdict_t verdict;
    uint64_t merged, unchecked;
    uint64_t left; /* could still go on: after an interruption */
    rota_task_list_t failed, blocked, cancelled, unreachable, human;
    /* Of the agents, this day. */
    uint64_t tokens, limited;
    double cost_usd;
    bool cost_known;
    char *problems; /* of those that can't work, a line each; "" = none */
} summary_t;

static bool is_unreachable (const Rota__TaskState *task)
{
    return task->unreachable;
}

static bool is_for_people (const Rota__TaskState *task)
{
    return task->status == ROTA__TASK_STATUS__TASK_STATUS_NEEDS_REVIEW ||
           task->phase == ROTA__PHASE__PHASE_APPROVAL ||
           (task->status == ROTA__TASK_STATUS__TASK_STATUS_BLOCKED &&
            (task->blocked == ROTA__BLOCK_CAUSE__BLOCK_CAUSE_NEEDS_INPUT ||
             task->blocked == ROTA__BLOCK_CAUSE__BLOCK_CAUSE_NEEDS_HUMAN));
}

static int fetch (const summary_t *self, const Rota__TaskStatus *statuses, size_t count,
                  bool (*wanted) (const Rota__TaskState *task), rota_task_list_t *ret_list)
{
    Rota__TasksQuery query = ROTA__TASKS_QUERY__INIT;
    if (self->config->source) {
        query.has_source = true;
        query.source = rota_bytes (self->config->source);
    }
    query.n_statuses = count;
    query.statuses = (Rota__TaskStatus *)statuses;
    return rota_tasks_fetch (self->config->link, &query, SHOWN, wanted, ret_list);
}

static int ask (summary_t *self)
{
    Rota__StatusQuery query = ROTA__STATUS_QUERY__INIT;
    Rota__StatusReply *reply = NULL;

    if (self->config->source) {
        query.has_source = true;
        query.source = rota_bytes (self->config->source);
    }
    int code = rota_link_call (self->config->link, ROTA_MESSAGE_STATUS_QUERY, &query.base, ROTA_CALL_MS,
                               ROTA_MESSAGE_STATUS_REPLY, &reply);
    if (code != ROTA_EXIT_DONE)
        return code;
    rota_verdict_of_status (reply, &self->verdict);
    self->merged = reply->merged;
    self->unchecked = reply->unchecked;
    uint64_t over = self->verdict.done + self->verdict.failed + self->verdict.blocked +
                    self->verdict.cancelled + self->verdict.unreachable + self->verdict.unassignable;
    self->left = self->verdict.total > over ? self->verdict.total - over : 0;
    static const Rota__TaskStatus FAILED[] = {ROTA__TASK_STATUS__TASK_STATUS_FAILED},
                                  BLOCKED[] = {ROTA__TASK_STATUS__TASK_STATUS_BLOCKED},
                                  CANCELLED[] = {ROTA__TASK_STATUS__TASK_STATUS_CANCELLED},
                                  OPEN[] = {ROTA__TASK_STATUS__TASK_STATUS_PENDING,
                                            ROTA__TASK_STATUS__TASK_STATUS_NEEDS_IMPROVEMENT,
                                            ROTA__TASK_STATUS__TASK_STATUS_NEEDS_REVIEW,
                                            ROTA__TASK_STATUS__TASK_STATUS_BLOCKED,
                                            ROTA__TASK_STATUS__TASK_STATUS_IN_PROGRESS};
    if (self->verdict.failed > 0)
        code = fetch (self, FAILED, 1, NULL, &self->failed);
    if (code == ROTA_EXIT_DONE && self->verdict.blocked > 0)
        code = fetch (self, BLOCKED, 1, NULL, &self->blocked);
    if (code == ROTA_EXIT_DONE && self->verdict.cancelled > 0)
        code = fetch (self, CANCELLED, 1, NULL, &self->cancelled);
    if (code == ROTA_EXIT_DONE && self->verdict.unreachable > 0)
        code = fetch (self, OPEN, 5, is_unreachable, &self->unreachable);
    if (code == ROTA_EXIT_DONE && self->verdict.awaiting_human > 0)
        code = fetch (self, OPEN, 5, is_for_people, &self->human);
    return code;
}

/* "behind ID": the end of the chain that `why` gives; "" when it gives none. */
static char *behind (const summary_t *self, ProtobufCBinaryData id)
{
    Rota__WhyQuery query = ROTA__WHY_QUERY__INIT;
    ProtobufCMessage *reply = NULL;
    char *culprit = NULL, *text = NULL;

    query.has_id = true;
    query.id = id;
    if (rota_client_call (self->config->link->client, ROTA_MESSAGE_WHY_QUERY, &query.base, WHY_MS,
                          ROTA_MESSAGE_WHY_REPLY, &reply, NULL) < 0)
        return NULL;
    const Rota__WhyReply *answer = (const Rota__WhyReply *)reply;
    if (answer->n_chain > 0)
        culprit = rota_clean_bytes (true, answer->chain[answer->n_chain - 1]);
    if (culprit && asprintf (&text, "behind %s", culprit) < 0)
        text = NULL;
    free (culprit);
    return text;
}

static unsigned id_columns (const rota_task_list_t *list)
{
    unsigned columns = 8;
    for (size_t i = 0; i < list->count; i++) {
        char *id = rota_clean_bytes (true, list->list[i]->id);
        unsigned wide = id ? rota_text_columns (id) : 0;
        columns = wide > columns && wide <= 40 ? wide : columns;
        free (id);
    }
    return columns;
}

static const char *advice_for_people (const Rota__TaskState *task)
{
    if (task->status == ROTA__TASK_STATUS__TASK_STATUS_BLOCKED &&
        task->blocked == ROTA__BLOCK_CAUSE__BLOCK_CAUSE_NEEDS_INPUT)
        return "answer %s TEXT";
    return "approve %s";
}

/* A list with a title; `advice` is a verb's line with %s for the id, and is shown for each or, if `once`, for
 * the first. */
static void put_list (const summary_t *self, const char *title, rota_style_t style,
                      const rota_task_list_t *list, uint64_t whole, bool ask_why)
{
    FILE *stream = self->screen->stream;
    unsigned columns = id_columns (list);

    if (list->count == 0)
        return;
    fprintf (stream, "\n  %s%s%s\n", rota_style (self->screen, style), title, rota_style_end (self->screen));
    for (size_t i = 0; i < list->count; i++) {
        const Rota__TaskState *task = list->list[i];
        char *id = rota_clean_bytes (true, task->id);
        char *reason = rota_clean_bytes (task->has_reason, task->reason);
        char *why = ask_why ? behind (self, task->id) : NULL;
        const char *text = why ? why : reason && *reason ? reason : "";
        if (!*text && task->blocked)
            text = rota_block_cause_name (task->blocked);
        fputs ("    ", stream);
        rota_text_put (stream, self->screen, id ? id : "", columns, *text != '\0');
        fprintf (stream, "%s%s\n", *text ? "  " : "", text);
        free (id);
        free (reason);
        free (why);
    }
    if (whole > list->count)
        fprintf (stream, "    ... and %llu more\n", (unsigned long long)(whole - list->count));
}

/* The commands to type next, with the first id of a list. */
static void put_next (const summary_t *self, const rota_task_list_t *list, const char *const *verbs,
                      size_t count)
{
    FILE *stream = self->screen->stream;
    if (list->count == 0)
        return;
    char *id = rota_clean_bytes (true, list->list[0]->id);
    fprintf (stream, "    %s", rota_style (self->screen, ROTA_STYLE_DIM));
    for (size_t i = 0; i < count; i++)
        fprintf (stream, "%srota %s %s", i ? "  |  " : "", verbs[i], id ? id : "ID");
    fprintf (stream, "%s\n", rota_style_end (self->screen));
    free (id);
}

static void put_people (const summary_t *self)
{
    FILE *stream = self->screen->stream;
    if (self->human.count == 0)
        return;
    fprintf (stream, "\n  %swaits for you%s\n", rota_style (self->screen, ROTA_STYLE_YELLOW),
             rota_style_end (self->screen));
    for (size_t i = 0; i < self->human.count; i++) {
        char *id = rota_clean_bytes (true, self->human.list[i]->id);
        const char *advice = advice_for_people (self->human.list[i]);
        fprintf (stream, "    rota %.*s %s%s\n", (int)strcspn (advice, " "), advice, id ? id : "",
                 strstr (advice, "TEXT") ? " TEXT" : "");
        free (id);
    }
}

static void put_headline (const summary_t *self, int code)
{
    const rota_screen_t *screen = self->screen;
    const rota_verdict_t *verdict = &self->verdict;
    const struct {
        uint64_t amount;
        const char *word;
    } parts[] = {{verdict->failed, "failed"},
                 {verdict->blocked, "blocked"},
                 {verdict->cancelled, "cancelled"},
                 {verdict->unreachable, "unreachable"},
                 {verdict->unassignable, "for nobody"},
                 {verdict->broke, "out of budget"},
                 {self->left, "left"}};
    bool good = code == ROTA_EXIT_DONE && !self->config->interrupted;
    rota_style_t style = good ? ROTA_STYLE_GREEN : verdict->failed ? ROTA_STYLE_RED : ROTA_STYLE_YELLOW;
    char wall[ROTA_CLOCK_DURATION_BYTES], tasks[48];
    const char *separator = "  (";

    rota_clock_duration (self->config->wall_ms, wall);
    fprintf (screen->stream, "\n%s%s%s %s", screen->live ? " " : "", rota_style (screen, style),
             screen->unicode ? (good ? "\u2713" : "\u25a0") : (good ? "+" : "!"),
             rota_style (screen, ROTA_STYLE_BOLD));
    rota_plural (verdict->total, "task", tasks);
    if (good)
        fprintf (screen->stream, "all done: %s", tasks);
    else
        fprintf (screen->stream, "%llu of %s done", (unsigned long long)verdict->done, tasks);
    fprintf (screen->stream, " in %s%s", wall, rota_style_end (screen));
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].amount == 0)
            continue;
        fprintf (screen->stream, "%s%llu %s", separator, (unsigned long long)parts[i].amount, parts[i].word);
        separator = ", ";
    }
    fputs (*separator == ',' ? ")\n" : "\n", screen->stream);
}

static void put_times (const summary_t *self)
{
    const rota_progress_sums_t *sums = self->config->sums;
    const rota_screen_t *screen = self->screen;
    FILE *stream = screen->stream;
    char text[ROTA_CLOCK_DURATION_BYTES];
    double ratio = self->config->wall_ms > 0 ? (double)sums->task_ms / (double)self->config->wall_ms : 0;

    if (sums->finished < self->verdict.done)
        fprintf (stream, "   %llu of them were done before\n",
                 (unsigned long long)(self->verdict.done - sums->finished));
    if (sums->task_ms <= 0)
        return;
    rota_clock_duration (sums->task_ms, text);
    fprintf (stream, "   %s of work", text);
    if (ratio >= 1.05)
        fprintf (stream, ", %.1f times as fast as one after the other", ratio);
    if (sums->slowest[1].duration_ms >= WORTH_MS) {
        fputs ("\n   slowest: ", stream);
        for (size_t i = 0; i < ROTA_SLOWEST && sums->slowest[i].duration_ms >= WORTH_MS; i++) {
            char *id = rota_clean_bytes (true, sums->slowest[i].id);
            rota_clock_duration (sums->slowest[i].duration_ms, text);
            fprintf (stream, "%s%s %s%s%s", i ? ", " : "", id ? id : "", rota_style (screen, ROTA_STYLE_DIM),
                     text, rota_style_end (screen));
            free (id);
        }
    }
    fputc ('\n', stream);
}

/* What the agents used, and which of them can't work. */
static void ask_agents (summary_t *self)
{
    Rota__AgentsQuery query = ROTA__AGENTS_QUERY__INIT;
    ProtobufCMessage *message = NULL;
    if (rota_client_call (self->config->link->client, ROTA_MESSAGE_AGENTS_QUERY, &query.base, WHY_MS,
                          ROTA_MESSAGE_AGENTS_REPLY, &message, NULL) < 0)
        return;
    const Rota__AgentsReply *reply = (const Rota__AgentsReply *)message;
    for (size_t i = 0; i < reply->n_agents; i++) {
        const Rota__AgentState *agent = reply->agents[i];
        self->tokens += agent->tokens_today;
        self->limited += agent->limited;
        self->cost_usd += agent->has_cost_today ? agent->cost_today : 0;
        self->cost_known |= agent->has_cost_today != 0;
        if (!agent->has_problem || !agent->connected)
            continue;
        char *name = rota_clean_bytes (true, agent->name), *problem = rota_clean_bytes (true, agent->problem),
             *more;
        if (name && problem &&
            asprintf (&more, "%s    %s %s\n", self->problems ? self->problems : "", name, problem) >= 0) {
            free (self->problems);
            self->problems = more;
        }
        free (name);
        free (problem);
    }
}

static void put_use (const summary_t *self)
{
    FILE *stream = self->screen->stream;
    char limits[48];
    if (self->tokens)
        fprintf (stream, "   agents used %llu tokens today", (unsigned long long)self->tokens);
    if (self->cost_known)
        fprintf (stream, "%s$%.2f", self->tokens ? ", " : "   agents used ", self->cost_usd);
    if (self->limited)
        fprintf (stream, "%s%s", self->tokens || self->cost_known ? "; they met " : "   agents met ",
                 rota_plural (self->limited, "limit", limits));
    if (self->tokens || self->cost_known || self->limited)
        fputc ('\n', stream);
    if (self->problems)
        fprintf (stream, "\n  agents that can't work\n%s", self->problems);
}

/* What was made, how to look at it and how to take it. */
static void put_merged (const summary_t *self)
{
    FILE *stream = self->screen->stream;
    const char *target = self->config->target;
    char tasks[48];
    if (!self->merged || !target)
        return;
    fprintf (stream, "   %s merged into rota/%s", rota_plural (self->merged, "task", tasks), target);
    if (self->unchecked)
        fprintf (stream, "%s, %llu of them unchecked (no gate, no review)%s",
                 rota_style (self->screen, ROTA_STYLE_YELLOW), (unsigned long long)self->unchecked,
                 rota_style_end (self->screen));
    fprintf (stream, "\n    %sgit log %s..rota/%s  |  rota merge%s\n",
             rota_style (self->screen, ROTA_STYLE_DIM), target, target, rota_style_end (self->screen));
}

static void put_text (const summary_t *self, int code)
{
    static const char *const FAILED[] = {"log", "why", "retry"}, *const BLOCKED[] = {"why", "release"},
                             *const REACH[] = {"why"}, *const CANCELLED[] = {"retry"};
    char shown[512];

    put_headline (self, code);
    put_times (self);
    put_use (self);
    put_merged (self);
    put_list (self, "failed", ROTA_STYLE_RED, &self->failed, self->verdict.failed, false);
    put_next (self, &self->failed, FAILED, 3);
    put_list (self, "blocked", ROTA_STYLE_YELLOW, &self->blocked, self->verdict.blocked, false);
    put_next (self, &self->blocked, BLOCKED, 2);
    put_list (self, "cancelled", ROTA_STYLE_YELLOW, &self->cancelled, self->verdict.cancelled, false);
    put_next (self, &self->cancelled, CANCELLED, 1);
    put_list (self, "unreachable", ROTA_STYLE_YELLOW, &self->unreachable, self->verdict.unreachable, true);
    put_next (self, &self->unreachable, REACH, 1);
    put_people (self);
    FILE *stream = self->screen->stream;
    bool more = self->config->interrupted || code == ROTA_EXIT_UNFINISHED || code == ROTA_EXIT_HUMAN;
    if (self->config->link->state)
        fprintf (stream, "%s   state: %s", more ? "\n" : "",
                 rota_state_shown (self->config->link->state, shown, sizeof shown));
    if (more && self->config->link->state)
        fprintf (stream, "; `%s` goes on from here", self->config->again);
    fputc ('\n', stream);
}

static json_t *ids_of (const rota_task_list_t *list)
{
    json_t *array = json_array ();
    for (size_t i = 0; i < list->count; i++)
        json_array_append_new (array, rota_json_task (list->list[i]));
    return array;
}

static void put_json (const summary_t *self, int code)
{
    const rota_verdict_t *verdict = &self->verdict;
    json_t *object = json_object ();

    rota_json_set_string (object, "type", "summary");
    json_object_set_new (object, "exit_code", json_integer (code));
    rota_json_set_true (object, "interrupted", self->config->interrupted);
    rota_json_set_number (object, "total", verdict->total);
    rota_json_set_number (object, "done", verdict->done);
    rota_json_set_number (object, "done_now", self->config->sums->finished);
    rota_json_set_number (object, "failed", verdict->failed);
    rota_json_set_number (object, "blocked", verdict->blocked);
    rota_json_set_number (object, "cancelled", verdict->cancelled);
    rota_json_set_number (object, "unreachable", verdict->unreachable);
    rota_json_set_number (object, "unassignable", verdict->unassignable);
    rota_json_set_number (object, "awaiting_human", verdict->awaiting_human);
    rota_json_set_number (object, "out_of_budget", verdict->broke);
    rota_json_set_number (object, "merged", self->merged);
    rota_json_set_number (object, "unchecked", self->unchecked);
    rota_json_set_number (object, "wall_ms", (uint64_t)self->config->wall_ms);
    rota_json_set_number (object, "agents_tokens_today", self->tokens);
    if (self->cost_known)
        json_object_set_new (object, "agents_cost_today_usd", json_real (self->cost_usd));
    rota_json_set_number (object, "agents_limited_today", self->limited);
    rota_json_set_number (object, "task_ms", (uint64_t)self->config->sums->task_ms);
    json_object_set_new (object, "failed_tasks", ids_of (&self->failed));
    json_object_set_new (object, "blocked_tasks", ids_of (&self->blocked));
    json_object_set_new (object, "unreachable_tasks", ids_of (&self->unreachable));
    rota_json_set_string (object, "state", self->config->link->state);
    rota_json_line (self->screen->stream, object);
}

int rota_summary (const rota_summary_t *config)
{
    summary_t self = {.config = config, .screen = &config->link->cli->out};
    int code = ask (&self);

    if (code == ROTA_EXIT_DONE) {
        ask_agents (&self);
        code = rota_verdict_code (&self.verdict);
        if (config->link->cli->json)
            put_json (&self, code);
        else
            put_text (&self, code);
    }
    rota_tasks_free (&self.failed);
    rota_tasks_free (&self.blocked);
    rota_tasks_free (&self.cancelled);
    rota_tasks_free (&self.unreachable);
    rota_tasks_free (&self.human);
    free (self.problems);
    return code;
}
