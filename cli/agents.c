/* The verb agents: who takes work, and what they do; and, where services run under a supervisor here, more of
 * them or fewer. */
#include "bus/clock.h"
#include "bus/guess.h"
#include "cli/json.h"
#include "cli/link.h"
#include "cli/state.h"
#include "cli/supervisor.h"
#include "cli/tasks.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROTA_AGENTS_AT_ONCE 32

/* "12k tokens, $0.31": what the programs said of themselves. */
static void add_use (rota_table_t *table, const Rota__AgentState *agent)
{
    char cost[32] = "";
    if (agent->has_cost_today)
        snprintf (cost, sizeof cost, ", $%.2f", agent->cost_today);
    uint64_t tokens = agent->tokens_today;
    if (tokens == 0)
        rota_table_add (table, ROTA_STYLE_PLAIN, "", 0);
    else if (tokens < 10000)
        rota_table_addf (table, ROTA_STYLE_PLAIN, "%llu tokens%s", (unsigned long long)tokens, cost);
    else
        rota_table_addf (table, ROTA_STYLE_PLAIN, "%lluk tokens%s", (unsigned long long)(tokens / 1000),
                         cost);
}

/* Columns that say nothing new are left out. */
enum {
    WITH_KIND = 1,    /* kind and host: some name isn't KIND@HOST */
    WITH_VERSION = 2, /* some agent drives a program that has one */
};

static unsigned columns_of (const Rota__AgentsReply *reply)
{
    unsigned columns = 0;
    for (size_t i = 0; i < reply->n_agents; i++) {
        const Rota__AgentState *agent = reply->agents[i];
        char usual[512];
        int length =
            snprintf (usual, sizeof usual, "%.*s@%.*s", (int)agent->kind.len, (const char *)agent->kind.data,
                      (int)agent->host.len, (const char *)agent->host.data);
        bool tells =
            (size_t)length == agent->name.len && memcmp (usual, agent->name.data, agent->name.len) == 0;
        columns |= (tells ? 0u : WITH_KIND) | (agent->program_version.len ? WITH_VERSION : 0u);
    }
    return columns;
}

/* "2.1.197" of "2.1.197 (Claude Code)" and of "codex-cli 2.1.197". */
static void add_version (rota_table_t *table, ProtobufCBinaryData text)
{
    const char *at = (const char *)text.data;
    size_t left = text.len, length = 0;
    while (left && !(*at >= '0' && *at <= '9')) {
        at++;
        left--;
    }
    while (length < left && at[length] != ' ')
        length++;
    rota_table_add (table, ROTA_STYLE_PLAIN, length ? at : "", length);
}

/* How many of those that came to an end by themselves ended well. */
static void add_share (rota_table_t *table, uint64_t good, uint64_t all)
{
    if (all)
        rota_table_addf (table, ROTA_STYLE_PLAIN, "%u%%", (unsigned)(good * 100 / all));
    else
        rota_table_add (table, ROTA_STYLE_PLAIN, "", 0);
}

static void add_agent (rota_table_t *table, const Rota__AgentState *agent, unsigned columns, int64_t now_ms)
{
    const char *how = !agent->connected    ? "gone"
                      : agent->draining    ? "draining"
                      : agent->coordinator ? "coordinator"
                                           : "here";
    rota_style_t style = !agent->connected ? ROTA_STYLE_DIM
                         : agent->draining ? ROTA_STYLE_YELLOW
                                           : ROTA_STYLE_GREEN;
    char when[24];

    rota_table_add (table, ROTA_STYLE_BOLD, agent->name.data, agent->name.len);
    if (columns & WITH_KIND) {
        rota_table_add (table, ROTA_STYLE_PLAIN, agent->kind.data, agent->kind.len);
        rota_table_add (table, ROTA_STYLE_PLAIN, agent->host.data, agent->host.len);
    }
    if (columns & WITH_VERSION)
        add_version (table, agent->program_version);
    rota_table_addf (table, style, "%s", how);
    rota_table_addf (table, ROTA_STYLE_PLAIN, "%u/%u", agent->busy, agent->slots);
    rota_table_addf (table, ROTA_STYLE_PLAIN, "%llu", (unsigned long long)agent->succeeded);
    rota_table_addf (table, agent->failed ? ROTA_STYLE_RED : ROTA_STYLE_PLAIN, "%llu",
                     (unsigned long long)agent->failed);
    add_share (table, agent->succeeded, agent->succeeded + agent->failed);
    rota_table_addf (table, ROTA_STYLE_PLAIN, "%s", rota_when (agent->since_ms, now_ms, when));
    add_use (table, agent);
    if (agent->cooldown_by_hand)
        rota_table_addf (table, ROTA_STYLE_YELLOW, "closed until `rota resume`: %.*s",
                         (int)(agent->cooldown_reason.len < 120 ? agent->cooldown_reason.len : 120),
                         agent->cooldown_reason.data ? (const char *)agent->cooldown_reason.data : "");
    else if (agent->cooldown_until_ms > now_ms)
        rota_table_addf (table, ROTA_STYLE_YELLOW, "rests until %s: %.*s",
                         rota_when (agent->cooldown_until_ms, now_ms, when),
                         (int)(agent->cooldown_reason.len < 120 ? agent->cooldown_reason.len : 120),
                         agent->cooldown_reason.data ? (const char *)agent->cooldown_reason.data : "");
    else if (agent->has_problem && agent->problem.len)
        rota_table_add (table, ROTA_STYLE_YELLOW, agent->problem.data, agent->problem.len);
    else if (agent->full)
        rota_table_addf (table, ROTA_STYLE_YELLOW,
                         "takes no more: its host is short of memory or processors");
    else if (agent->n_running > 0)
        rota_table_addf (table, ROTA_STYLE_CYAN, "%.*s%s", (int)agent->running[0]->id.len,
                         (const char *)agent->running[0]->id.data, agent->n_running > 1 ? ", ..." : "");
    else
        rota_table_add (table, ROTA_STYLE_PLAIN, "", 0);
}

static rota_table_t *new_table (unsigned wanted)
{
    static const struct {
        rota_column_t column;
        unsigned with; /* 0 = always there */
    } COLUMNS[] = {{{.title = "AGENT"}, 0},
                   {{.title = "KIND"}, WITH_KIND},
                   {{.title = "HOST"}, WITH_KIND},
                   {{.title = "VERSION"}, WITH_VERSION},
                   {{.title = "IS"}, 0},
                   {{.title = "BUSY", .right = true}, 0},
                   {{.title = "DONE", .right = true}, 0},
                   {{.title = "FAILED", .right = true}, 0},
                   {{.title = "GOOD", .right = true}, 0},
                   {{.title = "SINCE"}, 0},
                   {{.title = "TODAY"}, 0},
                   {{.title = "NOW", .flexible = true}, 0}};
    static rota_column_t chosen[sizeof COLUMNS / sizeof COLUMNS[0]]; /* the table borrows them */
    size_t count = 0;
    for (size_t i = 0; i < sizeof COLUMNS / sizeof COLUMNS[0]; i++)
        if (!COLUMNS[i].with || wanted & COLUMNS[i].with)
            chosen[count++] = COLUMNS[i].column;
    return rota_table_new (chosen, count);
}

static int list_agents (rota_cli_t *cli)
{
    Rota__AgentsQuery query = ROTA__AGENTS_QUERY__INIT;
    Rota__AgentsReply *reply = NULL;
    rota_link_t link;

    int code = rota_link_open_any (cli, &link);
    if (code != ROTA_EXIT_DONE)
        return code;
    code = rota_link_call (&link, ROTA_MESSAGE_AGENTS_QUERY, &query.base, ROTA_CALL_MS,
                           ROTA_MESSAGE_AGENTS_REPLY, &reply);
    if (code == ROTA_EXIT_DONE && cli->json) {
        json_t *object = json_object (), *list = json_array ();
        for (size_t i = 0; i < reply->n_agents; i++)
            json_array_append_new (list, rota_json_agent (reply->agents[i]));
        json_object_set_new (object, "agents", list);
        rota_json_document (stdout, object);
    } else if (code == ROTA_EXIT_DONE) {
        unsigned columns = columns_of (reply);
        rota_table_t *table = new_table (columns);
        for (size_t i = 0; table && i < reply->n_agents; i++)
            add_agent (table, reply->agents[i], columns, rota_clock_wall_ms ());
        if (table)
            rota_table_flush (table, &cli->out);
        rota_table_destroy (&table);
        if (link.started)
            rota_cli_note ("no services run here, so no agent is there; `rota up` starts them");
        else if (reply->n_agents == 0)
            rota_cli_note ("no agent has come yet; `rota up --agent exec` starts one");
    }
    rota_link_close (&link);
    return code;
}

/* ---- more or fewer */

/* Tells the supervisor of the state directory. Exit code, after a message. */
static int wish (rota_cli_t *cli, char sign, const char *const *texts, size_t count)
{
    char path[PATH_MAX], *state = NULL;
    rota_error_t error = {""};
    rota_holder_t holder = {0};
    if (rota_state_find (rota_options_text (cli->options, "state", NULL), &state, &error) < 0)
        return rota_cli_fail (ROTA_EXIT_USAGE, "%s", error.text);
    if (rota_state_holder (state, &holder) != 1 || holder.services == ROTA_SERVICES_HOLD) {
        free (state);
        return rota_cli_fail (ROTA_EXIT_UNREACHABLE,
                              "no services run here: `rota up` starts them; a single agent is "
                              "started by `rota-agent --kind KIND`");
    }
    int size = snprintf (path, sizeof path, "%s/" ROTA_SUPERVISOR_WISHES, state);
    free (state);
    int fd = size < (int)sizeof path ? open (path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "%s: %s", path, strerror (errno));
    bool good = true;
    for (size_t i = 0; i < count; i++)
        good &= dprintf (fd, "%c%s\n", sign, texts[i]) > 0;
    good &= close (fd) == 0;
    if (!good || kill (holder.pid, SIGUSR1) < 0)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "the supervisor could not be told: %s", strerror (errno));
    return ROTA_EXIT_DONE;
}

static int drain (rota_cli_t *cli, const char *const *names, size_t count)
{
    Rota__Control request = ROTA__CONTROL__INIT;
    ProtobufCMessage *reply = NULL;
    ProtobufCBinaryData *ids = calloc (count, sizeof *ids);
    rota_link_t link;
    int code = ids ? rota_link_open_any (cli, &link) : rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    if (code == ROTA_EXIT_DONE) {
        for (size_t i = 0; i < count; i++)
            ids[i] = rota_bytes (names[i]);
        request.has_verb = true;
        request.verb = ROTA__CONTROL_VERB__CONTROL_VERB_DRAIN;
        request.n_ids = count;
        request.ids = ids;
        code = rota_link_call (&link, ROTA_MESSAGE_CONTROL, &request.base, ROTA_CALL_MS,
                               ROTA_MESSAGE_CONTROL_REPLY, &reply);
        rota_link_close (&link);
    }
    free (ids);
    return code;
}

int rota_verb_agents (rota_cli_t *cli)
{
    size_t count = rota_options_argument_count (cli->options);
    const char *what = count ? rota_options_argument (cli->options, 0) : "";
    const char *texts[ROTA_AGENTS_AT_ONCE];
    rota_agent_option_t agent;
    rota_error_t error = {""};

    if (count == 0)
        return list_agents (cli);
    bool add = strcmp (what, "add") == 0, remove = strcmp (what, "remove") == 0;
    if (count < 2 || count > ROTA_AGENTS_AT_ONCE || (!add && !remove && strcmp (what, "drain") != 0))
        return rota_cli_fail (
            ROTA_EXIT_USAGE,
            "usage: rota agents [add KIND[/ACCOUNT][=N]... | drain NAME... | remove NAME...]");
    for (size_t i = 1; i < count; i++) {
        texts[i - 1] = rota_options_argument (cli->options, i);
        if (add && rota_agent_parse (texts[i - 1], &agent, &error) < 0)
            return rota_cli_fail (ROTA_EXIT_USAGE, "%s", error.text);
        if (strpbrk (texts[i - 1], "\r\n"))
            return rota_cli_fail (ROTA_EXIT_USAGE, "an agent's name has no line breaks");
    }
    if (!add && !remove)
        return drain (cli, texts, count - 1);
    return wish (cli, add ? '+' : '-', texts, count - 1);
}
