/* The verb run: reads, starts, imports, watches, sums up, stops. */
#include "agents/sandbox.h"
#include "bus/clock.h"
#include "cli/budget.h"
#include "cli/git.h"
#include "cli/json.h"
#include "cli/plan.h"
#include "cli/summary.h"
#include "cli/supervisor.h"
#include "cli/up.h"
#include "cli/waves.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WARNINGS_SHOWN 5
#define DIFFERENCE_NAMES 8

typedef struct {
    rota_cli_t *cli;
    rota_roadmap_t *roadmap;
    rota_agents_option_t agents;
    bool given; /* agents were, by options */
    bool isolated;
    rota_link_t link;
    rota_watch_t watch;
    rota_progress_t *progress;
    int64_t began_ms;
    char *source, *again, *target;
} run_t;

/* The branch that the work is for: the file's, or what is checked out in its repository. NULL: it has none,
 * or is elsewhere. */
static char *target_of (const Rota__RoadmapHeader *header)
{
    char branch[ROTA_GIT_LINE_BYTES];
    const ProtobufCBinaryData path = header->path, at = header->repository;
    const uint8_t *slash = path.len ? memrchr (path.data, '/', path.len) : NULL;
    char *directory = NULL, *target = NULL;
    if (!at.len)
        return NULL;
    if (header->target.len)
        return strndup ((const char *)header->target.data, header->target.len);
    int prefix = at.data[0] == '/' || !slash ? 0 : (int)(slash - path.data) + 1;
    if (asprintf (&directory, "%.*s%.*s", prefix, (const char *)path.data, (int)at.len,
                  (const char *)at.data) < 0)
        return NULL;
    if (rota_git_branch (directory, branch))
        target = strdup (branch);
    free (directory);
    return target;
}

/* All tasks of the file as the progress is to know them. */
static rota_progress_t *know (const rota_cli_t *cli, const rota_roadmap_t *roadmap)
{
    rota_known_t *known = calloc (roadmap->count + 1, sizeof *known);
    size_t count = 0;
    for (size_t i = 0; known && i < roadmap->count; i++) {
        const Rota__TaskSpec *spec = roadmap->specs[i];
        bool group = spec->kind == ROTA__NODE_KIND__NODE_KIND_EPIC ||
                     spec->kind == ROTA__NODE_KIND__NODE_KIND_MILESTONE;
        if (!group)
            known[count++] = (rota_known_t){spec->id, spec->title};
    }
    rota_progress_t *progress = known ? rota_progress_new (cli, known, count) : NULL;
    free (known);
    return progress;
}

static void put_header (const run_t *self)
{
    const rota_screen_t *screen = &self->cli->out;
    const rota_roadmap_t *roadmap = self->roadmap;
    char tasks[48], edges[48], agents[256], shown[512];

    rota_agents_describe (&self->agents, agents, sizeof agents);
    rota_state_shown (self->link.state ? self->link.state : self->link.endpoints, shown, sizeof shown);
    if (self->cli->json) {
        json_t *object = json_object ();
        rota_json_set_string (object, "type", "start");
        rota_json_set_string (object, "version", ROTA_VERSION);
        rota_json_set_string (object, "roadmap", roadmap->path);
        rota_json_set_string (object, "source", self->source);
        rota_json_set_number (object, "tasks", roadmap->task_count);
        rota_json_set_number (object, "dependencies", roadmap->edge_count);
        rota_json_set_string (object, "agents", self->link.started ? agents : NULL);
        rota_json_set_string (object, "state", self->link.state);
        json_object_set_new (object, "attached", json_boolean (!self->link.started));
        json_object_set_new (object, "isolated", json_boolean (self->isolated));
        rota_json_line (screen->stream, object);
        return;
    }
    fprintf (screen->stream, "%srota %s%s  %s: %s, %s\n", rota_style (screen, ROTA_STYLE_BOLD), ROTA_VERSION,
             rota_style_end (screen), roadmap->path, rota_plural (roadmap->task_count, "task", tasks),
             rota_plural (roadmap->edge_count, "dependency", edges));
    if (self->link.started)
        fprintf (screen->stream, "  agents  %s; %s\n", agents,
                 self->isolated ? "work on the repository runs in a sandbox"
                                : "commands run as you, not isolated");
    else
        fputs ("  agents  those of the services that run already (`rota agents`)\n", screen->stream);
    fprintf (screen->stream, "  state   %s\n", shown);
    const char *budget = rota_options_text (self->cli->options, "budget", NULL);
    if (budget)
        fprintf (screen->stream, "  budget  %s\n", budget);
}

static int control (rota_link_t *link, Rota__ControlVerb verb)
{
    Rota__Control request = ROTA__CONTROL__INIT;
    ProtobufCMessage *reply = NULL;
    request.has_verb = true;
    request.verb = verb;
    return rota_link_call (link, ROTA_MESSAGE_CONTROL, &request.base, ROTA_CALL_MS,
                           ROTA_MESSAGE_CONTROL_REPLY, &reply);
}

/* Notes where the event log stands, so that nothing of the import is missed; and takes back a pause that an
 * interrupted run has left. */
static int prepare (run_t *self)
{
    Rota__StatusQuery query = ROTA__STATUS_QUERY__INIT;
    Rota__StatusReply *status = NULL;
    int code = rota_link_call (&self->link, ROTA_MESSAGE_STATUS_QUERY, &query.base, ROTA_CALL_MS,
                               ROTA_MESSAGE_STATUS_REPLY, &status);
    if (code != ROTA_EXIT_DONE)
        return code;
    self->watch.after = status->last_event;
    bool paused = status->paused || status->draining;
    if (paused && self->link.started)
        return control (&self->link, ROTA__CONTROL_VERB__CONTROL_VERB_RESUME);
    if (paused)
        rota_cli_note ("the services are paused: nothing is handed out until `rota resume`");
    return ROTA_EXIT_DONE;
}

static int import (run_t *self)
{
    const char *budget = rota_options_text (self->cli->options, "budget", NULL);
    int allowed = budget ? rota_budget_allow (&self->link, self->source, budget) : ROTA_EXIT_DONE;
    if (allowed != ROTA_EXIT_DONE)
        return allowed;
    rota_plan_options_t options = {.prune = rota_options_flag (self->cli->options, "prune")};
    const Rota__ImportDifference *difference = NULL;
    int code = rota_plan_send (&self->link, self->roadmap, &options, &difference);

    if (code != ROTA_EXIT_DONE)
        return code;
    if (self->cli->json) {
        json_t *object = rota_json_difference (difference);
        rota_json_set_string (object, "type", "import");
        rota_json_line (self->cli->out.stream, object);
        return code;
    }
    bool first = difference->unchanged + difference->changed + difference->orphaned == 0;
    bool same = difference->added + difference->changed + difference->orphaned == 0;
    fputs (first || same ? "" : "  import  ", self->cli->out.stream);
    if (!first && !same)
        rota_plan_print (&self->cli->out, difference, difference->added > 20 ? 0 : DIFFERENCE_NAMES);
    fputc ('\n', self->cli->out.stream);
    fflush (self->cli->out.stream);
    return code;
}

/* After the watch: what came of it, and the exit code. */
static int conclude (run_t *self, int watched)
{
    rota_progress_sums_t sums;
    bool cut = watched == ROTA_EXIT_INTERRUPTED || watched == ROTA_EXIT_TIMEOUT;

    if (watched == ROTA_EXIT_INTERRUPTED && !self->link.started) {
        rota_progress_destroy (&self->progress);
        rota_cli_note ("left; the services go on with it: `rota status` shows how far, `rota stop` stops it");
        return watched;
    }
    if (watched == ROTA_EXIT_UNREACHABLE)
        return watched;
    rota_progress_sums (self->progress, &sums);
    rota_summary_t summary = {.link = &self->link,
                              .source = self->source,
                              .sums = &sums,
                              .wall_ms = rota_clock_monotonic_ms () - self->began_ms,
                              .interrupted = cut,
                              .target = self->target,
                              .again = self->again};
    rota_progress_destroy (&self->progress);
    int code = rota_summary (&summary);
    fflush (stdout);
    if (watched == ROTA_EXIT_TIMEOUT)
        rota_cli_note ("--timeout: ended before all was done; the state is kept");
    return cut ? watched : code;
}

/* Once through. *ret_gone: the services of another run were used and have ended with it. */
static int work (run_t *self, bool *ret_gone)
{
    rota_link_want_t want = {.services = ROTA_SERVICES_RUN,
                             .make = true,
                             .agents = self->agents.list,
                             .agent_count = self->agents.count,
                             .exec = self->agents.exec,
                             .trust = self->agents.trust,
                             .stop = &rota_watch_interrupts};
    int code = rota_link_open (self->cli, &want, &self->link);
    if (code != ROTA_EXIT_DONE)
        return code;
    self->progress = know (self->cli, self->roadmap);
    self->watch = (rota_watch_t){
        .link = &self->link,
        .progress = self->progress,
        .source = self->source,
        .timeout_ms = rota_options_duration_ms (self->cli->options, "timeout", 0),
        .wait_human = rota_options_flag (self->cli->options, "wait-human") || isatty (STDIN_FILENO) == 1,
    };
    if (!self->progress)
        code = rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    if (code == ROTA_EXIT_DONE)
        put_header (self);
    if (code == ROTA_EXIT_DONE && !self->link.started && self->given)
        rota_cli_note (
            "the services run already; --agent, --exec and --no-auto-resume are for `rota up` or after "
            "`rota down`");
    if (code == ROTA_EXIT_DONE)
        code = prepare (self);
    if (code == ROTA_EXIT_DONE)
        code = import (self);
    if (code == ROTA_EXIT_DONE) {
        rota_link_go (&self->link);
        code = conclude (self, rota_watch (&self->watch));
    }
    *ret_gone = code == ROTA_EXIT_UNREACHABLE && rota_link_has_ended (&self->link, &want);
    rota_progress_destroy (&self->progress);
    rota_link_close (&self->link);
    return code;
}

/* -d: services in the background, the roadmap imported, and back to the shell. */
static int detach (run_t *self)
{
    int code = rota_up (self->cli, &self->agents, &self->link);
    if (code != ROTA_EXIT_DONE)
        return code;
    put_header (self);
    code = prepare (self);
    if (code == ROTA_EXIT_DONE)
        code = import (self);
    if (code == ROTA_EXIT_DONE && !self->cli->json)
        fputs ("works in the background: `rota status` shows how far, `rota down` ends it\n", stdout);
    rota_link_close (&self->link);
    return code;
}

static int with_roadmap (run_t *self)
{
    const ProtobufCBinaryData source = self->roadmap->header.source;
    const char *path = rota_options_argument (self->cli->options, 0);

    self->source = strndup ((const char *)source.data, source.len);
    if (!self->source || asprintf (&self->again, "rota run%s%s", path ? " " : "", path ? path : "") < 0)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    if (rota_options_flag (self->cli->options, "dry-run"))
        return rota_waves_print (self->cli, self->roadmap);
    char why_not[256];
    self->target = target_of (&self->roadmap->header);
    self->isolated = self->roadmap->header.repository.len && rota_sandbox_works (why_not);
    self->given = self->agents.count > 0 || self->agents.exec ||
                  rota_options_flag (self->cli->options, "no-auto-resume");
    rota_error_t error = {"out of memory"};
    int status = rota_agents_discover (self->cli, &self->agents, self->roadmap, &error);
    if (status < 0)
        return rota_cli_fail (status == -EINVAL ? ROTA_EXIT_USAGE : ROTA_EXIT_UNFINISHED, "%s%s",
                              status == -EINVAL ? "agents: of the roadmap: " : "", error.text);
    if (self->roadmap->header.repository.len && rota_agents_add_git (&self->agents) < 0)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    if (rota_options_flag (self->cli->options, "detach"))
        return detach (self);
    rota_watch_signals ();
    for (bool gone = false;;) {
        int code = work (self, &gone);
        if (!gone)
            return code;
        rota_cli_note ("the services have ended with the run that had started them; going on with others");
    }
}

int rota_verb_run (rota_cli_t *cli)
{
    run_t self = {.cli = cli, .began_ms = rota_clock_monotonic_ms ()};
    int code = rota_agents_option (cli, &self.agents);

    if (code == ROTA_EXIT_DONE)
        code = rota_plan_read (rota_options_argument (cli->options, 0),
                               rota_options_flag (cli->options, "strict"), WARNINGS_SHOWN, &self.roadmap);
    if (code == ROTA_EXIT_DONE)
        code = with_roadmap (&self);
    if (code == ROTA_EXIT_INTERRUPTED && self.again)
        rota_cli_note ("interrupted; the state is kept, `%s` goes on", self.again);
    rota_roadmap_destroy (&self.roadmap);
    rota_agents_free (&self.agents);
    free (self.source);
    free (self.again);
    free (self.target);
    return code;
}
