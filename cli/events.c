/* The verb events: the event log, and what is added to it. */
#include "bus/clock.h"
#include "cli/json.h"
#include "cli/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 1000
#define RUN_MS 1000

typedef struct {
    const rota_cli_t *cli;
    ProtobufCBinaryData task; /* only those of this one; empty = all */
    uint64_t last;            /* printed or passed */
} events_t;

static void put_line (const rota_cli_t *cli, const Rota__Event *event)
{
    const rota_screen_t *screen = &cli->out;
    char when[24];
    char *task = rota_clean_bytes (event->has_task, event->task),
         *agent = rota_clean_bytes (event->has_agent, event->agent);
    char *reason = rota_clean_bytes (event->has_reason, event->reason);

    printf ("%s%6llu  %s%s  %-19s %s", rota_style (screen, ROTA_STYLE_DIM), (unsigned long long)event->seq,
            rota_when (event->time_ms, rota_clock_wall_ms (), when), rota_style_end (screen),
            rota_event_type_name (event->type), task ? task : "");
    if (event->has_to_status && event->to_status)
        printf ("  %s %s %s%s%s%s%s", rota_status_name (event->from_status),
                screen->unicode ? "\u2192" : "->", rota_style (screen, rota_status_style (event->to_status)),
                rota_status_name (event->to_status), event->phase > ROTA__PHASE__PHASE_WORK ? " " : "",
                event->phase > ROTA__PHASE__PHASE_WORK ? rota_phase_name (event->phase) : "",
                rota_style_end (screen));
    if (event->attempt > 0)
        printf ("  attempt %u", event->attempt);
    if (agent && *agent)
        printf ("  %s", agent);
    if (reason && *reason)
        printf ("  %s%s%s", rota_style (screen, ROTA_STYLE_YELLOW), reason, rota_style_end (screen));
    putchar ('\n');
    free (task);
    free (agent);
    free (reason);
}

static void on_event (void *owner, const Rota__Event *event)
{
    events_t *self = owner;
    bool other = self->task.len > 0 && (!event->has_task || event->task.len != self->task.len ||
                                        memcmp (event->task.data, self->task.data, self->task.len) != 0);
    if (event->seq <= self->last)
        return;
    self->last = event->seq;
    if (other)
        return;
    if (self->cli->json)
        rota_json_line (stdout, rota_json_event (event));
    else
        put_line (self->cli, event);
}

static int print_stored (events_t *self, rota_link_t *link)
{
    bool begun = false;
    for (;;) {
        Rota__EventsQuery query = ROTA__EVENTS_QUERY__INIT;
        Rota__EventsReply *reply = NULL;
        query.has_after = query.has_limit = true;
        query.after = self->last;
        query.limit = PAGE;
        query.has_task = self->task.len > 0;
        query.task = self->task;
        int code = rota_link_call (link, ROTA_MESSAGE_EVENTS_QUERY, &query.base, ROTA_CALL_MS,
                                   ROTA_MESSAGE_EVENTS_REPLY, &reply);
        if (code != ROTA_EXIT_DONE)
            return code;
        if (!begun && reply->has_first && reply->first > self->last + 1 && self->last > 0)
            rota_cli_note ("events %llu to %llu are no longer kept", (unsigned long long)self->last + 1,
                           (unsigned long long)reply->first - 1);
        begun = true;
        for (size_t i = 0; i < reply->n_events; i++)
            on_event (self, reply->events[i]);
        if (reply->n_events == 0)
            return ROTA_EXIT_DONE;
    }
}

static int follow (events_t *self, rota_link_t *link)
{
    rota_error_t error = {""};
    int status = rota_client_subscribe (link->client, self->last, on_event, self, &error);

    while (status == 0) {
        if (rota_peer_is_turned_away (rota_client_peer (link->client)))
            return rota_cli_fail (ROTA_EXIT_REFUSED, "%s", rota_peer_why (rota_client_peer (link->client)));
        fflush (stdout);
        if (ferror (stdout))
            return ROTA_EXIT_DONE; /* the reader of the pipe has gone */
        status = rota_client_run (link->client, RUN_MS);
    }
    return status == -EINTR ? ROTA_EXIT_INTERRUPTED : rota_cli_fail (ROTA_EXIT_UNREACHABLE, "%s", error.text);
}

/* The number after which the last `count` events of all begin. */
static int seek_tail (events_t *self, rota_link_t *link, uint64_t count)
{
    Rota__StatusQuery query = ROTA__STATUS_QUERY__INIT;
    Rota__StatusReply *reply = NULL;
    int code = rota_link_call (link, ROTA_MESSAGE_STATUS_QUERY, &query.base, ROTA_CALL_MS,
                               ROTA_MESSAGE_STATUS_REPLY, &reply);
    if (code == ROTA_EXIT_DONE)
        self->last = reply->last_event > count ? reply->last_event - count : 0;
    return code;
}

int rota_verb_events (rota_cli_t *cli)
{
    int64_t after = rota_options_number (cli->options, "after", 0),
            tail = rota_options_number (cli->options, "tail", -1);
    const char *task = rota_options_text (cli->options, "task", "");
    events_t self = {.cli = cli, .task = rota_bytes (task)};
    rota_link_t link;

    if (after < 0)
        return rota_cli_fail (ROTA_EXIT_USAGE, "--after wants the number of an event");
    if (rota_options_count (cli->options, "tail") && (tail < 0 || rota_options_count (cli->options, "after")))
        return rota_cli_fail (ROTA_EXIT_USAGE, "--tail wants a number of events, and not --after beside it");
    self.last = (uint64_t)after;
    int code = rota_link_open_any (cli, &link);
    if (code != ROTA_EXIT_DONE)
        return code;
    if (tail >= 0)
        code = seek_tail (&self, &link, (uint64_t)tail);
    if (code == ROTA_EXIT_DONE)
        code = print_stored (&self, &link);
    if (code == ROTA_EXIT_DONE && rota_options_flag (cli->options, "follow")) {
        if (link.started)
            rota_cli_note (
                "no services run here, so nothing new will happen; `rota up` or `rota run` starts them");
        else
            code = follow (&self, &link);
    }
    rota_link_close (&link);
    return code;
}
