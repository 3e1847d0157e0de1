#include "cli/watch.h"

#include "bus/clock.h"
#include "cli/supervisor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATUS_INTERVAL_MS 250
#define STATUS_ANYWAY_MS 3000
#define TICK_MS 120
#define IDLE_MS 1000
#define FINISH_MS 30000 /* what runs gets after the first Ctrl-C */
#define OUTPUTS_SHOWN 20
#define TASK_QUERY_MS 5000
#define IDS_PAGE 500     /* ids of 200 bytes stay far below a message's limit */
#define ASK_MS 3000      /* for one answer */
#define SILENCE_MS 60000 /* without any: a service that is started again needs much less */

volatile sig_atomic_t rota_watch_interrupts;

typedef struct {
    rota_watch_t *watch;
    bool settled;
    bool alone; /* nothing runs any more, of anybody */
    bool running;
    uint64_t version;
    int64_t asked_ms;  /* when the status came last; 0 = never */
    int64_t heard_ms;  /* when an answer came last */
    int64_t end_ms;    /* of --timeout; 0 = none */
    int64_t finish_ms; /* after the first Ctrl-C */
    int handled;       /* interrupts */
} loop_t;

static void on_signal (int number)
{
    (void)number;
    if (++rota_watch_interrupts >= 3) {
        rota_progress_restore_terminal ();
        _exit (ROTA_EXIT_INTERRUPTED);
    }
    rota_client_interrupt ();
}

void rota_watch_signals (void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset (&action.sa_mask);
    sigaction (SIGINT, &action, NULL);
    sigaction (SIGTERM, &action, NULL);
    sigaction (SIGHUP, &action, NULL);
}

static uint64_t count_of (const Rota__StatusReply *status, Rota__TaskStatus wanted)
{
    for (size_t i = 0; i < status->n_counts; i++)
        if (status->counts[i]->status == wanted)
            return status->counts[i]->tasks;
    return 0;
}

void rota_verdict_of_status (const Rota__StatusReply *status, rota_verdict_t *ret_verdict)
{
    *ret_verdict = (rota_verdict_t){
        .total = status->total,
        .done = count_of (status, ROTA__TASK_STATUS__TASK_STATUS_DONE),
        .failed = count_of (status, ROTA__TASK_STATUS__TASK_STATUS_FAILED),
        .blocked = count_of (status, ROTA__TASK_STATUS__TASK_STATUS_BLOCKED),
        .cancelled = count_of (status, ROTA__TASK_STATUS__TASK_STATUS_CANCELLED),
        .unreachable = status->unreachable,
        .unassignable = status->unassignable,
        .awaiting_human = status->awaiting_human,
        .broke = status->broke,
    };
}

int rota_verdict_code (const rota_verdict_t *verdict)
{
    if (verdict->awaiting_human + verdict->broke > 0 &&
        verdict->failed + verdict->cancelled + verdict->unassignable == 0)
        return ROTA_EXIT_HUMAN;
    return verdict->failed + verdict->blocked + verdict->cancelled + verdict->unreachable +
                           verdict->unassignable + verdict->awaiting_human + verdict->broke ==
                       0 &&
                   verdict->done == verdict->total
               ? ROTA_EXIT_DONE
               : ROTA_EXIT_UNFINISHED;
}

static void on_event (void *owner, const Rota__Event *event)
{
    rota_watch_t *watch = owner;
    if (watch->over)
        return;
    rota_progress_event (watch->progress, event);
    if (!watch->changes.changed || rota_progress_open (watch->progress) == 0)
        rota_client_wake (watch->link->client);
    rota_throttle_note (&watch->changes);
}

/* 0, or a negative errno: a service that is being started again is no reason to give up. */
static int ask_status (loop_t *self, rota_error_t *error)
{
    Rota__StatusQuery query = ROTA__STATUS_QUERY__INIT;
    ProtobufCMessage *reply = NULL;

    if (self->watch->source) {
        query.has_source = true;
        query.source = rota_bytes (self->watch->source);
    }
    query.has_version = self->version > 0;
    query.version = self->version;
    rota_throttle_go (&self->watch->changes, rota_clock_monotonic_ms ());
    int status = rota_client_call (self->watch->link->client, ROTA_MESSAGE_STATUS_QUERY, &query.base,
                                   ROTA_CALL_MS, ROTA_MESSAGE_STATUS_REPLY, &reply, error);
    self->asked_ms = rota_clock_monotonic_ms ();
    if (status < 0)
        return status;
    const Rota__StatusReply *answer = (const Rota__StatusReply *)reply;
    self->settled = answer->settled;
    if (answer->unchanged)
        return 0;
    self->version = answer->version;
    self->running = answer->n_running > 0;
    self->alone = answer->slots_busy == 0 && answer->n_running == 0;
    self->watch->slots = answer->slots;
    rota_verdict_of_status (answer, &self->watch->verdict);
    rota_progress_status (self->watch->progress, answer);
    return 0;
}

static bool is_settled (const Rota__TaskState *task, rota_verdict_t *verdict)
{
    bool human = task->awaits_person; /* a review that an agent will give is none of that */
    bool done = task->status == ROTA__TASK_STATUS__TASK_STATUS_DONE,
         failed = task->status == ROTA__TASK_STATUS__TASK_STATUS_FAILED,
         cancelled = task->status == ROTA__TASK_STATUS__TASK_STATUS_CANCELLED,
         blocked = task->status == ROTA__TASK_STATUS__TASK_STATUS_BLOCKED;
    verdict->done += done;
    verdict->failed += failed;
    verdict->cancelled += cancelled;
    verdict->blocked += blocked;
    verdict->unreachable += task->unreachable != 0;
    verdict->awaiting_human += human;
    return done || failed || cancelled || blocked || task->unreachable || human;
}

/* The tasks named, in pages. When all stands still, those that are not settled won't be either. */
static int ask_tasks (loop_t *self, rota_error_t *error)
{
    rota_watch_t *watch = self->watch;
    bool settled = true;

    watch->verdict = (rota_verdict_t){.total = watch->id_count};
    for (size_t from = 0; from < watch->id_count; from += IDS_PAGE) {
        Rota__TasksQuery query = ROTA__TASKS_QUERY__INIT;
        ProtobufCMessage *reply = NULL;
        query.n_ids = watch->id_count - from < IDS_PAGE ? watch->id_count - from : IDS_PAGE;
        query.ids = (ProtobufCBinaryData *)watch->ids + from;
        int status = rota_client_call (watch->link->client, ROTA_MESSAGE_TASKS_QUERY, &query.base, ASK_MS,
                                       ROTA_MESSAGE_TASKS_REPLY, &reply, error);
        if (status < 0)
            return status;
        const Rota__TasksReply *answer = (const Rota__TasksReply *)reply;
        for (size_t i = 0; i < answer->n_tasks; i++)
            settled &= is_settled (answer->tasks[i], &watch->verdict);
    }
    self->settled |= settled;
    return 0;
}

/* What the newest attempt that has any printed last; borrowed until the next call. */
static ProtobufCBinaryData last_output (const loop_t *self, ProtobufCBinaryData id)
{
    Rota__TaskQuery query = ROTA__TASK_QUERY__INIT;
    ProtobufCBinaryData output = {0};
    ProtobufCMessage *reply = NULL;
    uint32_t newest = 0;

    query.has_id = true;
    query.id = id;
    if (rota_client_call (self->watch->link->client, ROTA_MESSAGE_TASK_QUERY, &query.base, TASK_QUERY_MS,
                          ROTA_MESSAGE_TASK_REPLY, &reply, NULL) < 0)
        return output;
    const Rota__TaskReply *answer = (const Rota__TaskReply *)reply;
    for (size_t i = 0; i < answer->n_attempts; i++) {
        const Rota__Attempt *attempt = answer->attempts[i];
        if (attempt->result && attempt->result->has_last_output && attempt->number >= newest) {
            newest = attempt->number;
            output = attempt->result->last_output;
        }
    }
    return output;
}

static void tell_failures (loop_t *self)
{
    rota_progress_t *progress = self->watch->progress;
    ProtobufCBinaryData id;
    bool wanted;

    while (rota_progress_next_failure (progress, OUTPUTS_SHOWN, &id, &wanted)) {
        ProtobufCBinaryData output = {0};
        if (wanted)
            output = last_output (self, id);
        rota_progress_failure (progress, id, output);
    }
}

/* Unlike a pause, this is forgotten when the services end: the next run begins at once. */
static int drain (rota_link_t *link, rota_error_t *error)
{
    Rota__Control request = ROTA__CONTROL__INIT;
    ProtobufCMessage *reply = NULL;
    request.has_verb = true;
    request.verb = ROTA__CONTROL_VERB__CONTROL_VERB_DRAIN;
    return rota_client_call (link->client, ROTA_MESSAGE_CONTROL, &request.base, TASK_QUERY_MS,
                             ROTA_MESSAGE_CONTROL_REPLY, &reply, error);
}

/* Stops what is ours: nothing more is handed out; the second time what runs is left to the end of the
 * services, which kills it. True = leave now. */
static bool on_interrupt (loop_t *self, int64_t now_ms)
{
    rota_progress_t *progress = self->watch->progress;
    rota_error_t error = {""};

    self->handled = rota_watch_interrupts;
    rota_client_interrupt_clear ();
    if (!self->watch->link->started)
        return true;
    if (self->finish_ms == 0 && self->handled == 1) {
        self->finish_ms = now_ms + FINISH_MS;
        rota_progress_note (
            progress, ROTA_STYLE_YELLOW,
            "stopping: nothing new is started; what runs has 30 s to finish (Ctrl-C again kills "
            "it)");
        rota_progress_draw (progress, false);
        if (drain (self->watch->link, &error) < 0)
            return true;
        /* What runs is asked for anew: the last answer may be older than the last assignment. */
        self->alone = false;
        self->asked_ms = 0;
        self->version = 0;
        return false;
    }
    rota_progress_note (progress, ROTA_STYLE_YELLOW, "killing what runs");
    rota_progress_draw (progress, false);
    return true;
}

/* Shows what the supervisor said. False: a service doesn't come up, and without any slot nothing can go on.
 */
static bool pass_words (loop_t *self)
{
    char line[sizeof self->watch->link->words], word;
    bool good = true;
    while (rota_link_word (self->watch->link, &word, line)) {
        rota_progress_note (self->watch->progress, ROTA_STYLE_YELLOW, line);
        good &= word != ROTA_WORD_FAULT || self->watch->slots > 0;
    }
    return good;
}

static bool status_is_due (const loop_t *self, int64_t now_ms)
{
    int64_t age_ms = now_ms - self->asked_ms;
    if (self->asked_ms == 0 || age_ms >= STATUS_ANYWAY_MS)
        return true;
    /* When all that is known has ended the answer is likely to be the last one: don't make people wait. */
    int64_t due_ms = rota_throttle_wait_ms (&self->watch->changes, now_ms);
    return due_ms == 0 || (due_ms > 0 && rota_progress_open (self->watch->progress) == 0);
}

static int wait_ms (const loop_t *self, int64_t now_ms)
{
    bool live = self->watch->link->cli->out.live && self->running;
    int64_t wait_ms = live ? TICK_MS : IDLE_MS;
    int64_t due_ms = rota_throttle_wait_ms (&self->watch->changes, now_ms);

    if (due_ms >= 0 && due_ms < wait_ms)
        wait_ms = due_ms > 1 ? due_ms : 1;
    if (self->end_ms && self->end_ms - now_ms < wait_ms)
        wait_ms = self->end_ms - now_ms > 0 ? self->end_ms - now_ms : 0;
    return (int)wait_ms;
}

/* No answer: that is the end only if the services have ended, or after a long time. */
static int on_silence (loop_t *self, int status, const rota_error_t *error)
{
    bool refused = status != -EHOSTUNREACH && status != -ETIMEDOUT;
    if (rota_link_gone (self->watch->link))
        return ROTA_EXIT_UNREACHABLE;
    if (refused || rota_clock_monotonic_ms () - self->heard_ms >= SILENCE_MS)
        return rota_link_refusal (self->watch->link, status, error);
    return ROTA_EXIT_UNFINISHED;
}

/* One look: ROTA_EXIT_DONE settled, ROTA_EXIT_UNFINISHED go on, else the end. */
static int look (loop_t *self)
{
    rota_error_t error = {""};

    if (status_is_due (self, rota_clock_monotonic_ms ())) {
        int status = ask_status (self, &error);
        if (status == 0 && self->watch->id_count > 0)
            status = ask_tasks (self, &error);
        if (status == -EINTR)
            return ROTA_EXIT_UNFINISHED;
        if (status < 0)
            return on_silence (self, status, &error);
        self->heard_ms = rota_clock_monotonic_ms ();
    }
    tell_failures (self);
    if (self->finish_ms)
        return ROTA_EXIT_UNFINISHED;
    bool human = rota_verdict_code (&self->watch->verdict) == ROTA_EXIT_HUMAN && self->watch->wait_human;
    return self->settled && !human ? ROTA_EXIT_DONE : ROTA_EXIT_UNFINISHED;
}

int rota_watch (rota_watch_t *watch)
{
    loop_t self = {.watch = watch};
    rota_error_t error = {""};
    int code = ROTA_EXIT_UNFINISHED;

    watch->changes.interval_ms = STATUS_INTERVAL_MS;
    self.heard_ms = rota_clock_monotonic_ms ();
    if (watch->timeout_ms > 0)
        self.end_ms = rota_clock_monotonic_ms () + watch->timeout_ms;
    int status = rota_client_subscribe (watch->link->client, watch->after, on_event, watch, &error);
    if (status < 0)
        return rota_cli_fail (ROTA_EXIT_UNREACHABLE, "%s", *error.text ? error.text : strerror (-status));
    while (code == ROTA_EXIT_UNFINISHED) {
        int64_t now_ms = rota_clock_monotonic_ms ();
        if (rota_watch_interrupts > self.handled && on_interrupt (&self, now_ms)) {
            code = ROTA_EXIT_INTERRUPTED;
            break;
        }
        code = look (&self);
        bool good = pass_words (&self);
        rota_progress_draw (watch->progress, self.running);
        if (!good && code == ROTA_EXIT_UNFINISHED)
            code = rota_cli_fail (ROTA_EXIT_UNREACHABLE,
                                  "no agent can be started; the logs are in %s/logs/services",
                                  watch->link->state);
        if (code != ROTA_EXIT_UNFINISHED)
            break;
        now_ms = rota_clock_monotonic_ms ();
        if (self.finish_ms && (self.alone || now_ms >= self.finish_ms)) {
            code = ROTA_EXIT_INTERRUPTED;
        } else if (self.end_ms && now_ms >= self.end_ms) {
            code = ROTA_EXIT_TIMEOUT;
        } else {
            rota_client_run (watch->link->client, wait_ms (&self, now_ms));
            rota_client_interrupt_clear ();
        }
    }
    rota_progress_draw (watch->progress, false);
    watch->over = true;
    return code;
}
