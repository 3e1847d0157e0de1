/* The verbs that change the course of tasks or of the whole: one table, one message. */
#include "bus/units.h"
#include "cli/json.h"
#include "cli/link.h"
#include "cli/priority.h"
#include "cli/tasks.h"

#include <stdlib.h>
#include <string.h>

#define STOP_IDS 1000
#define TOLD_IDS 50

typedef enum { IDS, ID_AND_TEXT, ID_AND_PRIORITY, NAMES, NOTHING } takes_t;

typedef struct {
    const char *name;
    Rota__ControlVerb verb;
    takes_t takes;
    const char *done; /* said of what changed */
} control_t;

static const control_t CONTROLS[] = {
    {"cancel", ROTA__CONTROL_VERB__CONTROL_VERB_CANCEL, IDS, "cancelled"},
    {"retry", ROTA__CONTROL_VERB__CONTROL_VERB_RETRY, IDS, "to be tried again"},
    {"reopen", ROTA__CONTROL_VERB__CONTROL_VERB_REOPEN, IDS, "reopened"},
    {"approve", ROTA__CONTROL_VERB__CONTROL_VERB_APPROVE, IDS, "approved"},
    {"reject", ROTA__CONTROL_VERB__CONTROL_VERB_REJECT, IDS, "sent back"},
    {"hold", ROTA__CONTROL_VERB__CONTROL_VERB_HOLD, IDS, "held"},
    {"release", ROTA__CONTROL_VERB__CONTROL_VERB_RELEASE, IDS, "released"},
    {"answer", ROTA__CONTROL_VERB__CONTROL_VERB_ANSWER, ID_AND_TEXT, "answered"},
    {"priority", ROTA__CONTROL_VERB__CONTROL_VERB_PRIORITY, ID_AND_PRIORITY, "given that priority"},
    {"pause", ROTA__CONTROL_VERB__CONTROL_VERB_PAUSE, NOTHING,
     "paused: nothing new is started; `rota resume` goes on"},
    {"resume", ROTA__CONTROL_VERB__CONTROL_VERB_RESUME, NAMES, "resumed"},
    {"drain", ROTA__CONTROL_VERB__CONTROL_VERB_DRAIN, NAMES,
     "draining: agents finish what they have; `rota resume` goes on"},
    {"stop", ROTA__CONTROL_VERB__CONTROL_VERB_STOP, NOTHING,
     "stopped: what ran is ended, nothing new is started; `rota resume` goes on"},
};

static const control_t *find (const char *name)
{
    for (size_t i = 0; i < sizeof CONTROLS / sizeof CONTROLS[0]; i++)
        if (strcmp (CONTROLS[i].name, name) == 0)
            return &CONTROLS[i];
    abort (); /* the table of verbs names one that isn't here */
}

static int ask (rota_link_t *link, const Rota__Control *request, const Rota__ControlReply **ret_reply)
{
    Rota__ControlReply *reply = NULL;
    int code = rota_link_call (link, ROTA_MESSAGE_CONTROL, &request->base, ROTA_CALL_LONG_MS,
                               ROTA_MESSAGE_CONTROL_REPLY, &reply);
    if (code == ROTA_EXIT_DONE)
        *ret_reply = reply;
    return code;
}

static bool is_running (const Rota__TaskState *task)
{
    return task->phase != ROTA__PHASE__PHASE_APPROVAL;
}

/* Ends everything that runs: nothing new is handed out before, or "stop" would be a restart. */
static int stop_all (rota_link_t *link, const Rota__ControlReply **ret_reply)
{
    static const Rota__TaskStatus RUNNING[] = {ROTA__TASK_STATUS__TASK_STATUS_IN_PROGRESS,
                                               ROTA__TASK_STATUS__TASK_STATUS_IN_REVIEW};
    Rota__Control pause = ROTA__CONTROL__INIT, stop = ROTA__CONTROL__INIT;
    Rota__TasksQuery query = ROTA__TASKS_QUERY__INIT;
    rota_task_list_t list = {0};

    pause.has_verb = stop.has_verb = true;
    pause.verb = ROTA__CONTROL_VERB__CONTROL_VERB_PAUSE;
    stop.verb = ROTA__CONTROL_VERB__CONTROL_VERB_STOP;
    query.n_statuses = 2;
    query.statuses = (Rota__TaskStatus *)RUNNING;
    int code = ask (link, &pause, ret_reply);
    if (code == ROTA_EXIT_DONE)
        code = rota_tasks_fetch (link, &query, SIZE_MAX, is_running, &list);
    for (size_t i = 0; code == ROTA_EXIT_DONE && i < list.count; i += stop.n_ids) {
        ProtobufCBinaryData ids[STOP_IDS];
        stop.n_ids = list.count - i < STOP_IDS ? list.count - i : STOP_IDS;
        for (size_t j = 0; j < stop.n_ids; j++)
            ids[j] = list.list[i + j]->id;
        stop.ids = ids;
        code = ask (link, &stop, ret_reply);
        /* One that has ended meanwhile makes a refusal of it; the others are ended all the same. */
    }
    rota_tasks_free (&list);
    return code;
}

static void report (const rota_cli_t *cli, const control_t *control, const Rota__ControlReply *reply)
{
    char text[48];

    if (cli->json) {
        json_t *object = json_object ();
        rota_json_set_number (object, "changed", reply->changed);
        rota_json_document (stdout, object);
        return;
    }
    if (control->takes == NOTHING || control->takes == NAMES)
        puts (control->done);
    else if (reply->changed > 0)
        printf ("%s %s\n", rota_plural (reply->changed, "task", text), control->done);
    else
        puts ("nothing changed: it is so already");
}

static int fill (const rota_cli_t *cli, const control_t *control, Rota__Control *request,
                 ProtobufCBinaryData *ids)
{
    size_t count = rota_options_argument_count (cli->options);
    const char *second = rota_options_argument (cli->options, 1);
    int32_t priority;

    request->has_verb = true;
    request->verb = control->verb;
    if (control->takes == ID_AND_TEXT) {
        request->has_text = true;
        request->text = rota_bytes (second);
        count = 1;
    } else if (control->takes == ID_AND_PRIORITY) {
        if (rota_priority_parse (second, &priority) < 0)
            return rota_cli_fail (ROTA_EXIT_USAGE, ROTA_PRIORITY_FAULT, second);
        request->has_priority = true;
        request->priority = priority;
        count = 1;
    }
    for (size_t i = 0; i < count; i++)
        ids[i] = rota_bytes (rota_options_argument (cli->options, i));
    request->n_ids = count;
    request->ids = ids;
    return ROTA_EXIT_DONE;
}

/* --reason and --skip are known only to some of the verbs. */
static void fill_options (const rota_cli_t *cli, Rota__Control *request)
{
    for (const rota_option_t *option = cli->verb->options; option && option->name; option++) {
        if (strcmp (option->name, "reason") == 0 && rota_options_count (cli->options, "reason") > 0) {
            request->has_text = true;
            request->text = rota_bytes (rota_options_text (cli->options, "reason", ""));
        }
        if (strcmp (option->name, "skip") == 0 && rota_options_flag (cli->options, "skip"))
            request->verb = ROTA__CONTROL_VERB__CONTROL_VERB_SKIP;
    }
}

/* Who lets work pass is told what it may have done on its way; as many as one looks at. */
static void tell_isolation (rota_link_t *link, const Rota__Control *request)
{
    for (size_t i = 0; i < request->n_ids && i < TOLD_IDS; i++) {
        Rota__TaskQuery query = ROTA__TASK_QUERY__INIT;
        Rota__TaskReply *reply = NULL;
        query.has_id = true;
        query.id = request->ids[i];
        if (rota_link_call (link, ROTA_MESSAGE_TASK_QUERY, &query.base, ROTA_CALL_MS, ROTA_MESSAGE_TASK_REPLY,
                            &reply) == ROTA_EXIT_DONE &&
            reply->task)
            rota_work_tell_isolation (reply);
    }
}

int rota_verb_control (rota_cli_t *cli)
{
    const control_t *control = find (cli->verb->name);
    ProtobufCBinaryData *ids = calloc (rota_options_argument_count (cli->options) + 1, sizeof *ids);
    Rota__Control request = ROTA__CONTROL__INIT;
    const Rota__ControlReply *reply = NULL;
    rota_link_t link;

    if (!ids)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    int code = fill (cli, control, &request, ids);
    fill_options (cli, &request);
    if (code == ROTA_EXIT_DONE)
        code = rota_link_open_any (cli, &link);
    if (code == ROTA_EXIT_DONE) {
        code = request.verb == ROTA__CONTROL_VERB__CONTROL_VERB_STOP ? stop_all (&link, &reply)
                                                                     : ask (&link, &request, &reply);
        if (code == ROTA_EXIT_DONE)
            report (cli, control, reply);
        if (code == ROTA_EXIT_DONE && !cli->json && request.verb == ROTA__CONTROL_VERB__CONTROL_VERB_APPROVE)
            tell_isolation (&link, &request);
        if (code == ROTA_EXIT_DONE && link.started && control->takes != NOTHING)
            rota_cli_note ("no services run here: it counts when `rota up` or `rota run` starts them");
        rota_link_close (&link);
    }
    free (ids);
    return code;
}
