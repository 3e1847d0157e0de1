/* The verbs up, down and supervise. */
#include "cli/up.h"

#include "agents/adapter.h"
#include "bus/clock.h"
#include "cli/json.h"
#include "cli/supervisor.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DOWN_MS 60000 /* a little more than all of the supervisor's own bounds */
#define LOOK_MS 10
#define AGENTS_MS 5000
#define AGENTS_LOOK_MS 20

int rota_agents_option (const rota_cli_t *cli, rota_agents_option_t *ret_agents)
{
    const char *command = rota_options_text (cli->options, "command", NULL);
    rota_agents_option_t agents = {.exec = rota_options_text (cli->options, "exec", command),
                                   .trust = rota_options_flag (cli->options, "trust-agents")};
    size_t count = rota_options_count (cli->options, "agent");
    rota_error_t error = {""};

    /* The services that are started inherit it, and it goes before what the file says. */
    if (rota_options_flag (cli->options, "no-auto-resume"))
        setenv ("ROTA_SCHEDULER_AUTO_RESUME", "false", 1);
    if (agents.exec && command && agents.exec != command)
        return rota_cli_fail (ROTA_EXIT_USAGE, "--exec and --command are the same; give one");
    agents.list = calloc (count + 1, sizeof *agents.list);
    if (!agents.list)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    for (; agents.count < count; agents.count++) {
        const char *text = rota_options_nth (cli->options, "agent", agents.count);
        rota_agent_option_t agent;
        if (rota_agent_parse (text, &agent, &error) < 0) {
            rota_agents_free (&agents);
            return rota_cli_fail (ROTA_EXIT_USAGE, "%s", error.text);
        }
        agents.list[agents.count] = text;
    }
    *ret_agents = agents;
    return ROTA_EXIT_DONE;
}

static bool is_installed (const char *program)
{
    char path[PATH_MAX];
    for (const char *at = getenv ("PATH"); at && *at;) {
        size_t length = strcspn (at, ":");
        if (length && snprintf (path, sizeof path, "%.*s/%s", (int)length, at, program) < (int)sizeof path &&
            access (path, X_OK) == 0)
            return true;
        at += length + (at[length] == ':');
    }
    return false;
}

/* Whether it is there and logged in, as far as can be told without asking its provider; says why not. */
static bool can_work (const rota_settings_t *settings, const char *kind)
{
    const rota_adapter_context_t context = {
        .settings = settings, .agent = kind, .directory = ".", .state_dir = ".", .account = "default"};
    rota_adapter_check_t check;
    if (!is_installed (kind))
        return false;
    rota_adapter_find (kind)->check (&context, &check);
    if (check.problem[0])
        rota_cli_note ("%s is not used: %s", kind, check.problem);
    return !check.problem[0];
}

static void add_kind (rota_agents_option_t *agents, const char *kind)
{
    for (size_t i = 0; i < agents->count; i++)
        if (strcmp (agents->list[i], kind) == 0)
            return;
    agents->list[agents->count++] = kind;
}

static bool is_among (const char *const *list, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp (list[i], word) == 0)
            return true;
    return false;
}

/* "codex, then claude": those of `found` in the order of a setting. */
static void put_order (const rota_settings_t *settings, rota_setting_t setting, const char *const *found,
                       size_t count, char *ret_text, size_t capacity)
{
    size_t used = 0;
    ret_text[0] = '\0';
    for (const char *const *kind = rota_setting_list (settings, setting, NULL); *kind && used < capacity;
         kind++)
        if (is_among (found, count, *kind))
            used += (size_t)snprintf (ret_text + used, capacity - used, "%s%s", used ? ", then " : "", *kind);
}

/* The programs for tasks that name none: those that are there and logged in, and what they are for. */
static void find_programs (const rota_settings_t *settings, rota_agents_option_t *agents)
{
    static const char *const PROGRAMS[] = {"claude", "codex"};
    const char *found[sizeof PROGRAMS / sizeof PROGRAMS[0]];
    char usual[64], complex_[64];
    size_t count = 0;
    for (size_t i = 0; i < sizeof PROGRAMS / sizeof PROGRAMS[0]; i++)
        if (can_work (settings, PROGRAMS[i]))
            found[count++] = PROGRAMS[i];
    /* One that can't work is started all the same when there is no other: it says why, and takes work once
     * somebody has mended it. */
    for (size_t i = 0; count == 0 && i < sizeof PROGRAMS / sizeof PROGRAMS[0]; i++)
        if (is_installed (PROGRAMS[i]))
            add_kind (agents, PROGRAMS[i]);
    for (size_t i = 0; i < count; i++)
        add_kind (agents, found[i]);
    if (!count)
        return;
    put_order (settings, ROTA_SETTING_SCHEDULER_PREFER, found, count, usual, sizeof usual);
    put_order (settings, ROTA_SETTING_SCHEDULER_PREFER_COMPLEX, found, count, complex_, sizeof complex_);
    rota_cli_note ("prompts go to %s; reviews, and what is of complexity %d and up, to %s (--agent chooses "
                   "others)",
                   usual, (int)rota_setting_integer (settings, ROTA_SETTING_SCHEDULER_COMPLEX_FROM),
                   complex_);
}

int rota_agents_discover (const rota_cli_t *cli, rota_agents_option_t *agents, const rota_roadmap_t *roadmap,
                          rota_error_t *error)
{
    size_t kinds;
    const char *const *words = rota_agent_kinds (&kinds);
    bool prompts = false;

    if (agents->count || agents->exec)
        return 0;
    const char **list = calloc (kinds + roadmap->header.n_agents + 1, sizeof *list);
    if (!list)
        return -ENOMEM;
    free (agents->list);
    agents->list = list;
    for (size_t i = 0; i < roadmap->header.n_agents; i++) {
        rota_agent_option_t agent;
        const char *text =
            (const char *)roadmap->header.agents[i].data; /* as YAML scalars are, ended by a NUL */
        int status = rota_agent_parse (text, &agent, error);
        if (status < 0)
            return status;
        list[agents->count++] = text;
    }
    if (agents->count)
        return 0;
    for (size_t i = 0; i < roadmap->count; i++) {
        const Rota__TaskSpec *spec = roadmap->specs[i];
        bool open = spec->status != ROTA__TASK_STATUS__TASK_STATUS_DONE &&
                    spec->status != ROTA__TASK_STATUS__TASK_STATUS_CANCELLED;
        if ((spec->has_kind && spec->kind != ROTA__NODE_KIND__NODE_KIND_TASK) || !open)
            continue;
        prompts |= !spec->run.len && !spec->agent.len;
        if (spec->run.len)
            add_kind (agents, "exec");
        for (size_t k = 0; k < kinds; k++)
            if (spec->agent.len == strlen (words[k]) &&
                memcmp (spec->agent.data, words[k], spec->agent.len) == 0)
                add_kind (agents, words[k]);
    }
    rota_settings_t *settings = NULL;
    if (prompts &&
        rota_settings_load (rota_options_text (cli->options, "config", NULL), NULL, &settings, NULL) == 0)
        find_programs (settings, agents);
    rota_settings_destroy (&settings);
    if (!agents->count)
        add_kind (agents, "exec");
    return 0;
}

int rota_agents_add_git (rota_agents_option_t *agents)
{
    for (size_t i = 0; i < agents->count; i++)
        if (strncmp (agents->list[i], "git", 3) == 0 && strchr ("=/", agents->list[i][3]))
            return 0;
    const char **list = calloc (agents->count + 3, sizeof *list);
    if (!list)
        return -ENOMEM;
    memcpy (list, agents->list, agents->count * sizeof *list);
    free (agents->list);
    agents->list = list;
    if (!agents->count)
        add_kind (agents, "exec"); /* what there is when nobody asks for anything */
    add_kind (agents, "git");
    return 0;
}

void rota_agents_free (rota_agents_option_t *agents)
{
    free (agents->list);
    *agents = (rota_agents_option_t){0};
}

void rota_agents_describe (const rota_agents_option_t *agents, char *ret_text, size_t capacity)
{
    size_t used = 0;

    ret_text[0] = '\0';
    for (size_t i = 0; i < (agents->count ? agents->count : 1) && used < capacity; i++) {
        char text[48];
        rota_agent_option_t agent = {.kind = "exec", .slots = 1};
        rota_agent_parse (agents->count ? agents->list[i] : "exec", &agent, NULL);
        int length =
            snprintf (ret_text + used, capacity - used, "%s%s%s%s with %s", i ? ", " : "", agent.kind,
                      agent.account[0] ? "/" : "", agent.account, rota_plural (agent.slots, "slot", text));
        used += length > 0 ? (size_t)length : 0;
    }
}

/* Services that stay should be whole when the command returns: waits until their agents have come. */
static void await_agents (rota_link_t *link, size_t wanted)
{
    int64_t end_ms = rota_clock_monotonic_ms () + AGENTS_MS;
    char line[sizeof link->words], word;

    while (rota_clock_monotonic_ms () < end_ms) {
        Rota__AgentsQuery query = ROTA__AGENTS_QUERY__INIT;
        Rota__AgentsReply *reply = NULL;
        size_t here = 0;
        if (rota_link_call (link, ROTA_MESSAGE_AGENTS_QUERY, &query.base, ROTA_CALL_MS,
                            ROTA_MESSAGE_AGENTS_REPLY, &reply) != ROTA_EXIT_DONE)
            return;
        for (size_t i = 0; i < reply->n_agents; i++)
            here += reply->agents[i]->connected != 0;
        if (here >= wanted)
            return;
        while (rota_link_word (link, &word, line))
            rota_cli_note ("%s", line);
        rota_client_run (link->client, AGENTS_LOOK_MS);
    }
    rota_cli_note (
        "not all agents have come yet; `rota agents` shows them, their logs are in %s/logs/services",
        link->state);
}

int rota_up (const rota_cli_t *cli, const rota_agents_option_t *agents, rota_link_t *ret_link)
{
    rota_link_want_t want = {.services = ROTA_SERVICES_UP,
                             .make = true,
                             .agents = agents->list,
                             .agent_count = agents->count,
                             .exec = agents->exec,
                             .trust = agents->trust};
    int code = rota_link_open (cli, &want, ret_link);
    if (code == ROTA_EXIT_DONE && ret_link->started)
        await_agents (ret_link, agents->count ? agents->count : 1);
    return code;
}

static void put_up (const rota_cli_t *cli, const rota_link_t *link, const rota_agents_option_t *agents)
{
    char text[256], shown[512];
    rota_holder_t holder = {0};

    rota_agents_describe (agents, text, sizeof text);
    rota_state_holder (link->state, &holder);
    if (cli->json) {
        json_t *object = json_object ();
        json_object_set_new (object, "started", json_boolean (link->started));
        rota_json_set_string (object, "state", link->state);
        rota_json_set_string (object, "endpoint", link->endpoints);
        rota_json_set_string (object, "agents", link->started ? text : NULL);
        rota_json_set_number (object, "supervisor", (uint64_t)holder.pid);
        rota_json_document (stdout, object);
        return;
    }
    rota_state_shown (link->state, shown, sizeof shown);
    if (link->started)
        printf ("up: broker, scheduler, telemetry, %s (supervisor %d, state %s)\n"
                "`rota import ROADMAP` or `rota submit -- COMMAND` gives them work, `rota down` ends them\n",
                text, holder.pid, shown);
    else
        printf ("the services of %s are up already (supervisor %d)\n", shown, holder.pid);
}

int rota_verb_up (rota_cli_t *cli)
{
    rota_agents_option_t agents = {0};
    rota_link_t link;
    int code;

    if (rota_options_text (cli->options, "broker", NULL))
        return rota_cli_fail (ROTA_EXIT_USAGE, "up starts services here; it takes no --broker");
    code = rota_agents_option (cli, &agents);
    if (code != ROTA_EXIT_DONE)
        return code;
    code = rota_up (cli, &agents, &link);
    if (code == ROTA_EXIT_DONE) {
        put_up (cli, &link, &agents);
        rota_link_close (&link);
    }
    rota_agents_free (&agents);
    return code;
}

/* Whether the lock is still held by the process that we want to end. */
static bool holds (const char *state, const rota_holder_t *wanted)
{
    rota_holder_t now = {0};
    return rota_state_holder (state, &now) == 1 && now.pid == wanted->pid &&
           now.start_time == wanted->start_time;
}

static int end_supervisor (const char *state, const rota_holder_t *holder)
{
    int64_t end_ms = rota_clock_monotonic_ms () + DOWN_MS;

    if (kill (holder->pid, SIGTERM) != 0 && errno != ESRCH)
        return rota_cli_fail (ROTA_EXIT_REFUSED, "can't end supervisor %d: %s", holder->pid,
                              strerror (errno));
    for (bool told = false; holds (state, holder);) {
        int64_t left_ms = end_ms - rota_clock_monotonic_ms ();
        if (left_ms <= 0)
            return rota_cli_fail (ROTA_EXIT_UNREACHABLE, "supervisor %d does not end; see %s/logs/services",
                                  holder->pid, state);
        if (!told && left_ms < DOWN_MS - 2000) {
            rota_cli_note ("waiting for what runs to end");
            told = true;
        }
        poll (NULL, 0, LOOK_MS);
    }
    return ROTA_EXIT_DONE;
}

int rota_verb_down (rota_cli_t *cli)
{
    rota_holder_t holder = {0};
    char *state = NULL;
    int code = rota_link_state (cli, false, &state);

    if (code != ROTA_EXIT_DONE)
        return code;
    int held = rota_state_holder (state, &holder);
    if (held == 1 && holder.pid > 0 && holder.services == ROTA_SERVICES_RUN)
        rota_cli_note ("these are the services of a `rota run`, which ends with them");
    if (held == 1 && holder.pid > 0)
        code = end_supervisor (state, &holder);
    else if (held < 0)
        code = rota_cli_fail (ROTA_EXIT_REFUSED, "%s/supervisor.lock: %s", state, strerror (-held));
    if (code == ROTA_EXIT_DONE && cli->json)
        rota_json_document (stdout, json_pack ("{s:b}", "stopped", held == 1));
    else if (code == ROTA_EXIT_DONE)
        puts (held == 1 ? "down; the state is kept" : "nothing runs here");
    free (state);
    return code;
}

int rota_verb_supervise (rota_cli_t *cli)
{
    rota_services_t services = ROTA_SERVICES_RUN;
    const char *state = rota_options_text (cli->options, "state", NULL);
    size_t count = rota_options_count (cli->options, "agent");
    const char **agents = calloc (count + 1, sizeof *agents);

    if (!agents || !state ||
        rota_services_parse (rota_options_text (cli->options, "services", "run"), &services) < 0) {
        free (agents);
        return rota_cli_fail (ROTA_EXIT_USAGE, "usage: rota supervise --state DIR [--services run|up|hold]");
    }
    for (size_t i = 0; i < count; i++)
        agents[i] = rota_options_nth (cli->options, "agent", i);
    rota_supervisor_t config = {.state = state,
                                .services = services,
                                .agents = agents,
                                .agent_count = count,
                                .exec = rota_options_text (cli->options, "exec", NULL),
                                .trust = rota_options_flag (cli->options, "trust-agents")};
    int code = rota_supervisor_run (&config);
    free (agents);
    return code;
}
