/* The verb doctor: what is there to work with, what is missing, and what to do about it. Changes nothing. */
#include "agents/adapter.h"
#include "agents/cgroup.h"
#include "agents/limits.h"
#include "agents/room.h"
#include "agents/sandbox.h"
#include "bus/clock.h"
#include "bus/keyfile.h"
#include "bus/settings.h"
#include "cli/cli.h"
#include "cli/git.h"
#include "cli/json.h"
#include "cli/link.h"
#include "cli/render.h"
#include "cli/state.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define DISK_LOW_BYTES (1ull << 30)
#define DESCRIPTORS_FEW 1024
#define ACCOUNT_BYTES 100
#define CREDENTIALS_MAX 32

typedef enum { GOOD, LACKING, BAD } rating_t; /* LACKING: rota works, with less */

typedef struct {
    const rota_cli_t *cli;
    json_t *list; /* with --json */
    rating_t worst;
} doctor_t;

__attribute__ ((format (printf, 4, 5))) static void say (doctor_t *self, const char *what, rating_t rating,
                                                         const char *format, ...)
{
    static const char *const MARKS[] = {"ok", "-", "!!"};
    static const rota_style_t STYLES[] = {ROTA_STYLE_GREEN, ROTA_STYLE_YELLOW, ROTA_STYLE_RED};
    static const char *const WORDS[] = {"good", "lacking", "bad"};
    char text[1024];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    self->worst = rating > self->worst ? rating : self->worst;
    if (self->list) {
        json_array_append_new (
            self->list, json_pack ("{s:s, s:s, s:s}", "what", what, "is", WORDS[rating], "text", text));
        return;
    }
    const rota_screen_t *screen = &self->cli->out;
    fprintf (screen->stream, "%s%-2s%s  %-12s %s\n", rota_style (screen, STYLES[rating]), MARKS[rating],
             rota_style_end (screen), what, text);
}

/* ---- agents */

static void look_at_account (doctor_t *self, const rota_adapter_context_t *context, const char *what)
{
    rota_adapter_check_t check;
    rota_adapter_find (context->agent)->check (context, &check);
    if (check.problem[0])
        say (self, what, LACKING, "%s", check.problem);
    else
        say (self, what, GOOD, "%s", check.version[0] ? check.version : "shell commands");
}

/* What a setting says of "KIND/ACCOUNT": what follows the name, or NULL. */
static const char *value_for (const char *item, const char *name)
{
    size_t length = strlen (name);
    if (strncmp (item, name, length) != 0 || item[length] != ' ')
        return NULL;
    return item + length + strspn (item + length, " ");
}

/* The account that an item of agents.credentials or agents.logins is of, once for each. */
static void look_at_named (doctor_t *self, const rota_settings_t *settings, const char *item,
                           const char *kind)
{
    const char *credentials[CREDENTIALS_MAX + 1] = {NULL}, *login = NULL;
    char name[ACCOUNT_BYTES], account[ACCOUNT_BYTES];
    size_t count = 0;
    snprintf (name, sizeof name, "%.*s", (int)strcspn (item, " "), item);
    snprintf (account, sizeof account, "%s", name + strlen (kind) + 1);
    bool first = true;
    for (const char *const *at = rota_setting_list (settings, ROTA_SETTING_AGENTS_CREDENTIALS, NULL); *at;
         at++) {
        const char *value = value_for (*at, name);
        if (value && count == 0)
            first = *at == item;
        if (value && count < CREDENTIALS_MAX)
            credentials[count++] = value;
    }
    for (const char *const *at = rota_setting_list (settings, ROTA_SETTING_AGENTS_LOGINS, NULL); *at; at++)
        if (!login && (login = value_for (*at, name)) && count == 0)
            first = *at == item;
    if (!first)
        return;
    const rota_adapter_context_t context = {.settings = settings,
                                            .agent = kind,
                                            .directory = ".",
                                            .state_dir = ".",
                                            .account = account,
                                            .login = login,
                                            .credentials = count ? credentials : NULL};
    look_at_account (self, &context, name);
}

static void look_at_accounts (doctor_t *self, const rota_settings_t *settings, const char *kind)
{
    const rota_setting_t lists[] = {ROTA_SETTING_AGENTS_CREDENTIALS, ROTA_SETTING_AGENTS_LOGINS};
    size_t length = strlen (kind);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        for (const char *const *item = rota_setting_list (settings, lists[i], NULL); *item; item++)
            if (strncmp (*item, kind, length) == 0 && (*item)[length] == '/')
                look_at_named (self, settings, *item, kind);
}

static void look_at_agents (doctor_t *self, const rota_settings_t *settings)
{
#define KIND(word, ADAPTER, slots, what) word,
    static const char *const KINDS[] = {
#include "agents/kinds.def"
    };
    for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++) {
        rota_adapter_context_t context = {.settings = settings,
                                          .agent = KINDS[i],
                                          .directory = ".",
                                          .state_dir = ".",
                                          .account = "default"};
        look_at_account (self, &context, KINDS[i]);
        look_at_accounts (self, settings, KINDS[i]);
    }
}

/* The rules for what programs say of limits. */
static void look_at_limits (doctor_t *self, const rota_settings_t *settings)
{
    const char *path = rota_setting_text (settings, ROTA_SETTING_AGENTS_LIMITS);
    rota_error_t error = {""};
    rota_limits_t *limits = rota_limits_new (path[0] ? path : NULL, &error);
    if (limits)
        say (self, "limits", GOOD, "rules for the messages of limits: %s", path[0] ? path : "built in");
    else
        say (self, "limits", BAD, "%s (setting agents.limits; `rota limits test` tries a file)", error.text);
    rota_limits_destroy (&limits);
}

static void tell_agent (doctor_t *self, const Rota__AgentState *agent, int64_t now_ms)
{
    const char *reason = agent->cooldown_reason.len ? (const char *)agent->cooldown_reason.data : "";
    int name = (int)agent->name.len, length = (int)agent->cooldown_reason.len;
    char until[ROTA_CLOCK_ISO_BYTES];
    if (agent->cooldown_by_hand) {
        say (self, "account", LACKING, "%.*s is closed: %.*s; `rota resume %.*s` opens it", name,
             (const char *)agent->name.data, length, reason, name, (const char *)agent->name.data);
    } else if (agent->cooldown_until_ms > now_ms) {
        rota_clock_iso (agent->cooldown_until_ms, until);
        say (self, "account", LACKING, "%.*s rests until %s: %.*s; `rota resume %.*s` tries at once", name,
             (const char *)agent->name.data, until, length, reason, name, (const char *)agent->name.data);
    } else if (agent->connected && agent->problem.len) {
        say (self, "agent", LACKING, "%.*s can't work: %.*s", name, (const char *)agent->name.data,
             (int)agent->problem.len, (const char *)agent->problem.data);
    }
}

/* What rests and what can't work, where services run. */
static void look_at_running (doctor_t *self)
{
    Rota__AgentsQuery query = ROTA__AGENTS_QUERY__INIT;
    Rota__AgentsReply *reply = NULL;
    rota_link_t link;
    if (rota_link_open_any ((rota_cli_t *)self->cli, &link) != ROTA_EXIT_DONE)
        return;
    if (rota_link_call (&link, ROTA_MESSAGE_AGENTS_QUERY, &query.base, ROTA_CALL_MS,
                        ROTA_MESSAGE_AGENTS_REPLY, &reply) == ROTA_EXIT_DONE)
        for (size_t i = 0; i < reply->n_agents; i++)
            tell_agent (self, reply->agents[i], rota_clock_wall_ms ());
    rota_link_close (&link);
}

/* ---- the host */

static void look_at_git (doctor_t *self)
{
    char line[ROTA_GIT_LINE_BYTES];
    if (ROTA_GIT_ASK (line, "--version") == 0)
        say (self, "git", GOOD, "%s", line);
    else
        say (self, "git", LACKING,
             "git is not installed: roadmaps with a repository can't be worked; apt-get install git");
}

static void look_at_room (doctor_t *self, const rota_settings_t *settings)
{
    rota_room_t room;
    struct rlimit files;
    rota_room_look (settings, 1, &room);
    say (self, "room", room.full ? LACKING : GOOD, "%.1f GiB of memory free, load %.1f on %ld processors%s",
         (double)room.memory_bytes / (1 << 30), room.load, sysconf (_SC_NPROCESSORS_ONLN),
         room.full ? ": agents take no more here (agents.memory_reserve, agents.load_limit)" : "");
    if (getrlimit (RLIMIT_NOFILE, &files) == 0 && files.rlim_max < DESCRIPTORS_FEW)
        say (self, "files", LACKING, "only %llu files may be open at once: many slots need more (ulimit -Hn)",
             (unsigned long long)files.rlim_max);
}

static void look_at_host (doctor_t *self, const rota_settings_t *settings)
{
    char group[ROTA_CGROUP_PATH_BYTES] = "";
    if (rota_setting_choice (settings, ROTA_SETTING_AGENTS_CGROUP) == 0)
        rota_cgroup_find_parent (group);
    if (group[0])
        say (self, "cgroups", GOOD, "attempts run in groups of their own under %s", group);
    else
        say (self, "cgroups", LACKING,
             "no cgroup can be made here: agents.memory_limit is looked at each second instead, and process "
             "trees are ended by /proc");
    char why_not[256];
    if (rota_setting_choice (settings, ROTA_SETTING_AGENTS_ISOLATION) != 0)
        say (self, "isolation", LACKING,
             "agents.isolation is off: agents run as you, and can reach all that you can");
    else if (rota_sandbox_works (why_not))
        say (self, "isolation", GOOD, "work on a repository runs in a sandbox; other tasks run as you");
    else
        say (self, "isolation", LACKING, "agents run as you, not isolated: %s", why_not);
}

static void look_at_state (doctor_t *self)
{
    char *state = NULL;
    struct statvfs disk;
    rota_error_t error = {""};
    if (rota_state_find (rota_options_text (self->cli->options, "state", NULL), &state, &error) < 0 ||
        !state) {
        say (self, "state", BAD, "%s", error.text);
        return;
    }
    bool there = access (state, F_OK) == 0;
    char *parent = strdup (state), *slash = parent ? strrchr (parent, '/') : NULL;
    if (slash && slash > parent)
        *slash = '\0';
    if (statvfs (there ? state : parent ? parent : ".", &disk) == 0) {
        uint64_t free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
        say (self, "disk", free_bytes < DISK_LOW_BYTES ? BAD : GOOD, "%.1f GiB free for %s%s",
             (double)free_bytes / (1 << 30), state, free_bytes < DISK_LOW_BYTES ? ": make room" : "");
    }
    if (there && access (state, R_OK | W_OK | X_OK) < 0)
        say (self, "state", BAD, "%s: %s", state, strerror (errno));
    else
        say (self, "state", GOOD, "%s%s", state, there ? "" : " (will be made)");
    rota_holder_t holder = {0};
    if (there && rota_state_holder (state, &holder) == 1) {
        say (self, "services", GOOD, "run, under the supervisor with pid %d", holder.pid);
        look_at_running (self);
    } else
        say (self, "services", GOOD, "don't run; `rota run` and `rota up` start them");
    free (parent);
    free (state);
}

static int take_grant (void *owner, const char *name, const rota_grant_t *grant, const rota_error_t *error)
{
    doctor_t *self = owner;
    if (!grant)
        say (self, "keys", BAD, "granted/%s grants nothing: %s", name, error->text);
    return 0;
}

/* Where there are keys, or should be. */
static void look_at_keys (doctor_t *self, const rota_settings_t *settings)
{
    const char *key_file = rota_setting_text (settings, ROTA_SETTING_SECURITY_KEY_FILE);
    char directory[PATH_MAX], path[PATH_MAX + 16], *state = NULL;
    rota_error_t error = {""};
    rota_key_pair_t pair;
    size_t endpoints = 0;

    rota_setting_list (settings, ROTA_SETTING_BROKER_ENDPOINTS, &endpoints);
    if (key_file[0] && rota_key_pair_read (key_file, &pair, &error) < 0)
        say (self, "keys", BAD, "%s", error.text);
    if (rota_state_find (rota_options_text (self->cli->options, "state", NULL), &state, NULL) < 0)
        return;
    int status = rota_keys_directory (rota_setting_text (settings, ROTA_SETTING_SECURITY_KEYS_DIR), state,
                                      false, directory, sizeof directory, &error);
    free (state);
    if (status == -ENOENT)
        return; /* the broker makes it */
    if (status == 0) {
        snprintf (path, sizeof path, "%s/broker.key", directory);
        status = rota_key_pair_read (path, &pair, &error);
    }
    if (status == 0)
        status = rota_grants_read (directory, take_grant, self, &error);
    if (status < 0 && status != -ENOENT)
        say (self, "keys", BAD, "%s", error.text);
    else if (endpoints > 0)
        say (self, "keys", GOOD, "%zu endpoint%s for other hosts; `rota key list` shows who may come",
             endpoints, endpoints == 1 ? "" : "s");
    rota_key_pair_wipe (&pair);
}

int rota_verb_doctor (rota_cli_t *cli)
{
    doctor_t self = {.cli = cli, .list = cli->json ? json_array () : NULL};
    rota_settings_t *settings = NULL;
    rota_error_t error = {""};

    if (rota_settings_load (rota_options_text (cli->options, "config", NULL), stderr, &settings, &error) <
        0) {
        json_decref (self.list);
        return rota_cli_fail (ROTA_EXIT_USAGE, "%s", error.text);
    }
    say (&self, "settings", GOOD, "%s",
         rota_settings_path (settings) ? rota_settings_path (settings) : "built in");
    look_at_state (&self);
    look_at_keys (&self, settings);
    look_at_agents (&self, settings);
    look_at_limits (&self, settings);
    look_at_git (&self);
    look_at_room (&self, settings);
    look_at_host (&self, settings);
    rota_settings_destroy (&settings);
    if (self.list)
        rota_json_document (cli->out.stream, json_pack ("{s:o}", "checks", self.list));
    return self.worst == BAD ? ROTA_EXIT_UNFINISHED : ROTA_EXIT_DONE;
}
