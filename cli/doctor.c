/* The verb doctor: what is there to work with, what is missing, and what to do about it. Changes nothing. */
#include "agents/adapter.h"
#include "agents/cgroup.h"
#include "agents/sandbox.h"
#include "bus/keyfile.h"
#include "bus/settings.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/link.h"
#include "cli/render.h"
#include "cli/state.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define DISK_LOW_BYTES (1ull << 30)

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
    fprintf (screen->stream, "%s%-2s%s  %-10s %s\n", rota_style (screen, STYLES[rating]), MARKS[rating],
             rota_style_end (screen), what, text);
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
        rota_adapter_check_t check;
        rota_adapter_find (KINDS[i])->check (&context, &check);
        if (check.problem[0])
            say (self, KINDS[i], LACKING, "%s", check.problem);
        else
            say (self, KINDS[i], GOOD, "%s", check.version[0] ? check.version : "shell commands");
    }
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
             "no cgroup can be made here: memory is not capped (process trees are ended all the same)");
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
    if (there && rota_state_holder (state, &holder) == 1)
        say (self, "services", GOOD, "run, under the supervisor with pid %d", holder.pid);
    else
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
    look_at_host (&self, settings);
    rota_settings_destroy (&settings);
    if (self.list)
        rota_json_document (cli->out.stream, json_pack ("{s:o}", "checks", self.list));
    return self.worst == BAD ? ROTA_EXIT_UNFINISHED : ROTA_EXIT_DONE;
}
