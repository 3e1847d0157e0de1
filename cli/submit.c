/* The verbs submit and wait. */
#include "bus/clock.h"
#include "bus/names.h"
#include "bus/units.h"
#include "cli/json.h"
#include "cli/priority.h"
#include "cli/summary.h"
#include "cli/tasks.h"
#include "cli/watch.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_IDS_MAX 1000

/* One word for the shell, whatever it holds. */
static void quote (FILE *stream, const char *word)
{
    static const char SAFE[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./,:@%^";
    if (*word && word[strspn (word, SAFE)] == '\0') {
        fputs (word, stream);
        return;
    }
    fputc ('\'', stream);
    for (; *word; word++)
        if (*word == '\'')
            fputs ("'\\''", stream);
        else
            fputc (*word, stream);
    fputc ('\'', stream);
}

/* What follows "--" (and what stood before it, if no "--" was given) as a shell line. A single word is one
 * already: that is how pipes and && are given. */
static char *command_line (const rota_options_t *options)
{
    size_t words = rota_options_argument_count (options), rest = rota_options_rest_count (options), size = 0;
    char *text = NULL;
    FILE *stream;

    if (words + rest == 1)
        return strdup (words ? rota_options_argument (options, 0) : rota_options_rest (options)[0]);
    stream = open_memstream (&text, &size);
    for (size_t i = 0; stream && i < words + rest; i++) {
        if (i > 0)
            fputc (' ', stream);
        quote (stream,
               i < words ? rota_options_argument (options, i) : rota_options_rest (options)[i - words]);
    }
    if (stream && fclose (stream) != 0) {
        free (text);
        text = NULL;
    }
    return text;
}

typedef struct {
    char id[ROTA_ID_MAX_BYTES + 1];
    char *command;
    char directory[PATH_MAX];
    Rota__TaskSpec spec;
    Rota__Dependency *dependencies;
    Rota__Dependency **list;
} submit_t;

static int fill_options (submit_t *self, const rota_options_t *options)
{
    const char *priority = rota_options_text (options, "priority", NULL);
    int64_t timeout_ms = rota_options_duration_ms (options, "timeout", -1);
    int64_t attempts = rota_options_number (options, "attempts", -1);
    int32_t points;

    if (priority) {
        if (rota_priority_parse (priority, &points) < 0)
            return rota_cli_fail (ROTA_EXIT_USAGE, ROTA_PRIORITY_FAULT, priority);
        self->spec.has_priority = true;
        self->spec.priority = points;
    }
    if (timeout_ms > UINT32_MAX)
        return rota_cli_fail (ROTA_EXIT_USAGE, "--timeout: at most 49 days");
    if (timeout_ms >= 0) {
        self->spec.has_timeout_ms = true;
        self->spec.timeout_ms = (uint32_t)timeout_ms;
    }
    if (rota_options_count (options, "attempts") > 0) {
        if (attempts < 1 || attempts > 100)
            return rota_cli_fail (ROTA_EXIT_USAGE, "--attempts is from 1 to 100");
        self->spec.has_attempts = true;
        self->spec.attempts = (uint32_t)attempts;
    }
    return ROTA_EXIT_DONE;
}

static int fill (submit_t *self, const rota_options_t *options)
{
    const char *id = rota_options_text (options, "id", NULL), *reason = NULL;
    const char *title = rota_options_text (options, "title", NULL),
               *agent = rota_options_text (options, "agent", NULL);
    size_t after = rota_options_count (options, "after");
    uint8_t random[ROTA_INSTANCE_BYTES];

    rota__task_spec__init (&self->spec);
    rota_instance_new (random);
    if (id && rota_id_check (id, strlen (id), &reason) < 0)
        return rota_cli_fail (ROTA_EXIT_USAGE, "--id: %s", reason);
    if (id)
        snprintf (self->id, sizeof self->id, "%s", id);
    else
        snprintf (self->id, sizeof self->id, "s-%02x%02x%02x%02x%02x", random[0], random[1], random[2],
                  random[3], random[4]);
    self->command = command_line (options);
    self->dependencies = calloc (after + 1, sizeof *self->dependencies);
    self->list = calloc (after + 1, sizeof *self->list);
    if (!self->command || !self->dependencies || !self->list)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    if (!getcwd (self->directory, sizeof self->directory))
        return rota_cli_fail (ROTA_EXIT_USAGE, "the current directory can't be found");
    if (!rota_text_is_valid (self->command, strlen (self->command), true))
        return rota_cli_fail (ROTA_EXIT_USAGE, "the command is not valid UTF-8");
    self->spec.has_id = self->spec.has_run = self->spec.has_directory = true;
    self->spec.id = rota_bytes (self->id);
    self->spec.run = rota_bytes (self->command);
    self->spec.directory = rota_bytes (self->directory);
    self->spec.has_title = self->spec.has_agent = false;
    if (title || !id) {
        self->spec.has_title = true;
        self->spec.title = rota_bytes (title ? title : self->command);
        if (!title) /* the command itself, up to its first line's end */
            self->spec.title.len = strcspn (self->command, "\n") < 80 ? strcspn (self->command, "\n")
                                                                      : rota_text_fit (self->command, 80);
    }
    if (agent) {
        self->spec.has_agent = true;
        self->spec.agent = rota_bytes (agent);
    }
    for (size_t i = 0; i < after; i++) {
        rota__dependency__init (&self->dependencies[i]);
        self->dependencies[i].has_on = true;
        self->dependencies[i].on = rota_bytes (rota_options_nth (options, "after", i));
        self->list[i] = &self->dependencies[i];
    }
    self->spec.n_dependencies = after;
    self->spec.dependencies = self->list;
    return fill_options (self, options);
}

/* Watches these until they are settled; prints lines as run does, and the verdict. */
static int watch (rota_link_t *link, const ProtobufCBinaryData *ids, size_t count, uint64_t after,
                  int64_t timeout_ms)
{
    rota_known_t *known = calloc (count + 1, sizeof *known);
    rota_progress_sums_t sums;
    int code;

    for (size_t i = 0; known && i < count; i++)
        known[i].id = ids[i];
    rota_watch_t self = {
        .link = link, .ids = ids, .id_count = count, .timeout_ms = timeout_ms, .after = after};
    self.progress = known ? rota_progress_new (link->cli, known, count) : NULL;
    free (known);
    if (!self.progress)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    rota_watch_signals ();
    code = rota_watch (&self);
    rota_progress_sums (self.progress, &sums);
    rota_progress_destroy (&self.progress);
    if (code == ROTA_EXIT_UNREACHABLE && rota_link_gone (link))
        rota_cli_note ("the services have ended; `rota up` or `rota run` starts them again");
    if (code != ROTA_EXIT_DONE)
        return code;
    code = rota_verdict_code (&self.verdict);
    if (link->cli->json) {
        json_t *object = json_object ();
        rota_json_set_string (object, "type", "summary");
        json_object_set_new (object, "exit_code", json_integer (code));
        rota_json_set_number (object, "total", self.verdict.total);
        rota_json_set_number (object, "done", self.verdict.done);
        rota_json_set_number (object, "failed", self.verdict.failed);
        rota_json_set_number (object, "blocked", self.verdict.blocked);
        rota_json_set_number (object, "cancelled", self.verdict.cancelled);
        rota_json_set_number (object, "unreachable", self.verdict.unreachable);
        rota_json_line (stdout, object);
    } else if (code != ROTA_EXIT_DONE) {
        rota_cli_note ("%llu of %llu done; `rota why ID` tells what holds the others",
                       (unsigned long long)self.verdict.done, (unsigned long long)self.verdict.total);
    }
    return code;
}

static int last_event (rota_link_t *link, uint64_t *ret_last)
{
    Rota__StatusQuery query = ROTA__STATUS_QUERY__INIT;
    Rota__StatusReply *reply = NULL;
    int code = rota_link_call (link, ROTA_MESSAGE_STATUS_QUERY, &query.base, ROTA_CALL_MS,
                               ROTA_MESSAGE_STATUS_REPLY, &reply);
    if (code == ROTA_EXIT_DONE)
        *ret_last = reply->last_event;
    return code;
}

static int send_one (rota_cli_t *cli, rota_link_t *link, submit_t *self)
{
    Rota__Submit request = ROTA__SUBMIT__INIT;
    Rota__TaskSpec *specs[] = {&self->spec};
    Rota__SubmitReply *reply = NULL;
    bool wait = rota_options_flag (cli->options, "wait");
    uint64_t after = 0;
    int code = last_event (link, &after);

    if (code != ROTA_EXIT_DONE)
        return code;
    request.n_tasks = 1;
    request.tasks = specs;
    code = rota_link_call (link, ROTA_MESSAGE_SUBMIT, &request.base, ROTA_CALL_MS, ROTA_MESSAGE_SUBMIT_REPLY,
                           &reply);
    if (code != ROTA_EXIT_DONE)
        return code;
    bool already = reply->already > 0;
    if (cli->json) {
        json_t *object = json_object ();
        rota_json_set_string (object, "type", wait ? "submit" : NULL);
        rota_json_set_string (object, "id", self->id);
        json_object_set_new (object, "added", json_boolean (!already));
        rota_json_line (stdout, object);
    } else {
        puts (self->id);
        fflush (stdout);
    }
    if (already)
        rota_cli_note ("there is a task of that id already; nothing was added");
    rota_link_go (link);
    if (wait)
        return watch (link, &self->spec.id, 1, after, 0);
    if (link->started)
        rota_cli_note ("no services run here: `rota up` works it");
    return ROTA_EXIT_DONE;
}

int rota_verb_submit (rota_cli_t *cli)
{
    bool wait = rota_options_flag (cli->options, "wait");
    rota_link_want_t want = {.services = wait ? ROTA_SERVICES_RUN : ROTA_SERVICES_HOLD, .make = true};
    submit_t self = {.command = NULL};
    rota_link_t link;

    int code = fill (&self, cli->options);
    if (code == ROTA_EXIT_DONE)
        code = rota_link_open (cli, &want, &link);
    if (code == ROTA_EXIT_DONE) {
        code = send_one (cli, &link, &self);
        rota_link_close (&link);
    }
    free (self.command);
    free (self.dependencies);
    free (self.list);
    return code;
}

/* The tasks to wait for: those named, and the members of groups that are named. */
typedef struct {
    rota_task_list_t named, members;
    ProtobufCBinaryData *ids;
    size_t count;
} wanted_t;

static void drop (wanted_t *self)
{
    rota_tasks_free (&self->named);
    rota_tasks_free (&self->members);
    free (self->ids);
}

/* A name that is unknown is refused by the scheduler before anything is waited for. */
static int find (rota_link_t *link, ProtobufCBinaryData *names, size_t count, wanted_t *self)
{
    Rota__TasksQuery query = ROTA__TASKS_QUERY__INIT;
    query.n_ids = count;
    query.ids = names;
    int code = rota_tasks_fetch (link, &query, count, NULL, &self->named);
    for (size_t i = 0; code == ROTA_EXIT_DONE && i < self->named.count; i++) {
        const Rota__TaskState *one = self->named.list[i];
        if (one->kind != ROTA__NODE_KIND__NODE_KIND_EPIC && one->kind != ROTA__NODE_KIND__NODE_KIND_MILESTONE)
            continue;
        Rota__TasksQuery group = ROTA__TASKS_QUERY__INIT;
        group.has_group = true;
        group.group = one->id;
        code = rota_tasks_fetch (link, &group, SIZE_MAX, NULL, &self->members);
    }
    self->ids = calloc (self->named.count + self->members.count + 1, sizeof *self->ids);
    if (code == ROTA_EXIT_DONE && !self->ids)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    const rota_task_list_t *const lists[] = {&self->named, &self->members};
    for (size_t l = 0; code == ROTA_EXIT_DONE && l < 2; l++)
        for (size_t i = 0; i < lists[l]->count; i++) {
            const Rota__TaskState *one = lists[l]->list[i];
            bool group = one->kind == ROTA__NODE_KIND__NODE_KIND_EPIC ||
                         one->kind == ROTA__NODE_KIND__NODE_KIND_MILESTONE;
            if (!group)
                self->ids[self->count++] = one->id;
        }
    return code;
}

int rota_verb_wait (rota_cli_t *cli)
{
    size_t count = rota_options_argument_count (cli->options);
    ProtobufCBinaryData *names = calloc (count + 1, sizeof *names);
    wanted_t wanted = {.count = 0};
    int64_t timeout_ms = rota_options_duration_ms (cli->options, "timeout", 0);
    uint64_t after = 0;
    rota_link_t link;

    if (!names)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    for (size_t i = 0; i < count; i++)
        names[i] = rota_bytes (rota_options_argument (cli->options, i));
    int code = count > WAIT_IDS_MAX ? rota_cli_fail (ROTA_EXIT_USAGE, "at most %d ids", WAIT_IDS_MAX)
                                    : rota_link_open_any (cli, &link);
    if (code == ROTA_EXIT_DONE) {
        code = find (&link, names, count, &wanted);
        if (code == ROTA_EXIT_DONE && link.started)
            rota_cli_note ("no services run here, so nothing goes on; `rota up` or `rota run` starts them");
        if (code == ROTA_EXIT_DONE)
            code = last_event (&link, &after);
        if (code == ROTA_EXIT_DONE)
            code = watch (&link, wanted.ids, wanted.count, after, link.started ? 1 : timeout_ms);
        if (code == ROTA_EXIT_TIMEOUT && link.started)
            code = ROTA_EXIT_UNFINISHED;
        if (code == ROTA_EXIT_TIMEOUT)
            rota_cli_note ("--timeout: not all of it has ended");
        rota_link_close (&link);
    }
    drop (&wanted);
    free (names);
    return code;
}
