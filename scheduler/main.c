/* rota-scheduler: options, signals, the service. */
#include "bus/check_config.h"
#include "bus/log.h"
#include "bus/role_lock.h"
#include "bus/rundir.h"
#include "bus/settings.h"
#include "scheduler/checkpoint.h"
#include "scheduler/service.h"
#include "scheduler/store.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESTORE_MS 3600000 /* so long a scheduler that stands by takes no restore for one that hangs */

static rota_scheduler_t *scheduler;

static void on_signal (int number)
{
    (void)number;
    rota_scheduler_stop (scheduler);
}

static const char HELP[] =
    "usage: rota-scheduler --state DIR [options]\n"
    "\n"
    "Decides what runs next and keeps it in DIR/rota.db. `rota run` and `rota up` start it; by hand it is\n"
    "started for development and by systemd. A second one for the same DIR stands by and takes over when "
    "the\n"
    "first ends or hangs.\n"
    "\n"
    "  --state DIR          state directory\n"
    "  --broker ENDPOINTS   brokers, comma-separated; default: the sockets of DIR\n"
    "  --key FILE           our key for brokers on tcp (default: the setting security.key_file)\n"
    "  --insecure           talk to brokers on tcp://127.0.0.1 without keys\n"
    "  --config FILE        configuration (see docs/reference/settings.md)\n"
    "  --hold               hand nothing out\n"
    "  --restore FILE       put the backup FILE in place of DIR/rota.db and end; no scheduler may run\n"
    "  --check-config       only say whether the settings are right\n"
    "  --print-config       only print every setting, and where it comes from\n"
    "  --log-format FORMAT  logfmt or json\n"
    "  --log-level LEVEL    error, warning, info or debug\n"
    "  --help, --version\n";

typedef struct {
    const char *state, *broker, *key, *config, *restore, *log_format, *log_level;
    bool hold, insecure;
    int show_config; /* 'C'heck or 'P'rint; 0 = neither */
} options_t;

/* Below 0: go on; else the exit code. */
static int read_options (int argc, char **argv, options_t *options)
{
    static const struct option LONG[] = {
        {"state", required_argument, NULL, 's'},     {"broker", required_argument, NULL, 'b'},
        {"config", required_argument, NULL, 'c'},    {"hold", no_argument, NULL, 'H'},
        {"restore", required_argument, NULL, 'r'},   {"log-format", required_argument, NULL, 'f'},
        {"log-level", required_argument, NULL, 'l'}, {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},         {"key", required_argument, NULL, 'k'},
        {"insecure", no_argument, NULL, 'i'},        {"check-config", no_argument, NULL, 'C'},
        {"print-config", no_argument, NULL, 'P'},    {0},
    };
    for (int c; (c = getopt_long (argc, argv, "h", LONG, NULL)) != -1;)
        switch (c) {
        case 's':
            options->state = optarg;
            break;
        case 'b':
            options->broker = optarg;
            break;
        case 'c':
            options->config = optarg;
            break;
        case 'r':
            options->restore = optarg;
            break;
        case 'f':
            options->log_format = optarg;
            break;
        case 'l':
            options->log_level = optarg;
            break;
        case 'k':
            options->key = optarg;
            break;
        case 'i':
            options->insecure = true;
            break;
        case 'H':
            options->hold = true;
            break;
        case 'C':
        case 'P':
            options->show_config = c;
            break;
        case 'h':
            fputs (HELP, stdout);
            return 0;
        case 'v':
            puts ("rota-scheduler " ROTA_VERSION);
            return 0;
        default:
            fputs ("try rota-scheduler --help\n", stderr);
            return 2;
        }
    if (optind < argc || (!options->state && !options->show_config)) {
        fprintf (stderr, "rota-scheduler: %s; try --help\n",
                 options->state ? "too many arguments" : "--state is missing");
        return 2;
    }
    return -1;
}

static void set_up_log (const options_t *options, const rota_settings_t *settings)
{
    static const char *const levels[] = {"error", "warning", "info", "debug"};
    int level = rota_setting_choice (settings, ROTA_SETTING_LOG_LEVEL) + 1;
    const char *format =
        options->log_format ? options->log_format : rota_setting_text (settings, ROTA_SETTING_LOG_FORMAT);
    for (int i = 0; options->log_level && i < 4; i++)
        if (strcmp (levels[i], options->log_level) == 0)
            level = i + 1;
    rota_log_setup ("scheduler", (rota_log_level_t)level,
                    strcmp (format, "json") == 0 ? ROTA_LOG_JSON : ROTA_LOG_LOGFMT);
}

/* Nobody may serve the directory meanwhile, also none that stands by. */
static int restore (const options_t *options)
{
    char path[4096], lock_path[4096];
    uint8_t body[ROTA_CHECKPOINT_MAX_BYTES];
    rota_error_t error;
    rota_role_lock_t *role = NULL;
    snprintf (path, sizeof path, "%s/rota.db", options->state);
    snprintf (lock_path, sizeof lock_path, "%s/scheduler.lock", options->state);
    rota_role_lock_config_t config = {.path = lock_path, .role = "scheduler"};
    int r = rota_role_lock_new (&config, &role, &error);
    if (r == 0)
        r = rota_role_lock_try (role, &error);
    if (r == 0) {
        rota_role_lock_allow (role, RESTORE_MS);
        /* A store that can't be read is a good reason to restore one. */
        int size = rota_checkpoint_of_file (path, body, &error);
        r = rota_store_restore (options->restore, path, &error);
        /* By now the store is the restored one, whatever becomes of the note of what was before. */
        if (r == 0 && size > 0 &&
            rota_checkpoint_into_file (path, "store_restore", body, (size_t)size, &error) < 0)
            fprintf (
                stderr,
                "rota-scheduler: warning: it is restored, but without a checkpoint of what was before: %s\n",
                error.text);
    }
    rota_role_lock_destroy (&role);
    if (r < 0)
        fprintf (stderr, "rota-scheduler: %s\n", error.text);
    return r < 0 ? 1 : 0;
}

static int serve (const options_t *options, const rota_settings_t *settings)
{
    rota_error_t error = {{0}};
    char rundir[ROTA_RUNDIR_PATH_BYTES];
    rota_rundir_endpoints_t endpoints;
    if (rota_rundir (options->state, true, rundir, sizeof rundir, &error) < 0) {
        fprintf (stderr, "rota-scheduler: %s\n", error.text);
        return 2;
    }
    rota_rundir_endpoints (rundir, &endpoints);
    rota_scheduler_config_t config = {
        .state_directory = options->state,
        .endpoints = options->broker ? options->broker : endpoints.service,
        .hold = options->hold,
        .stand_by = true,
        .settings = settings,
        .ready = rota_ready_new (),
    };
    if (rota_curve_load (config.endpoints, options->key, options->insecure, settings, &config.curve, &error) <
        0) {
        fprintf (stderr, "rota-scheduler: %s\n", error.text);
        return 2;
    }
    int r = rota_scheduler_new (&config, &scheduler, &error);
    if (r < 0) {
        rota_ready_destroy (&config.ready);
        rota_log (ROTA_LOG_ERROR, "start.failed", "text=\"%s\"", error.text);
        return r == -EBUSY ? 4 : 1;
    }
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction (SIGTERM, &action, NULL);
    sigaction (SIGINT, &action, NULL);
    signal (SIGPIPE, SIG_IGN);
    rota_ready_serving (config.ready);
    rota_log (ROTA_LOG_INFO, "scheduler.started", "state=\"%s\"", options->state);
    r = rota_scheduler_run (scheduler, &error);
    if (r < 0)
        rota_log (ROTA_LOG_ERROR, "scheduler.failed", "text=\"%s\"", error.text);
    rota_ready_stopping (config.ready);
    rota_scheduler_destroy (&scheduler);
    rota_ready_destroy (&config.ready);
    rota_log (ROTA_LOG_INFO, "scheduler.stopped", "code=%d", r < 0);
    return r < 0 ? 1 : 0;
}

int main (int argc, char **argv)
{
    options_t options = {0};
    rota_settings_t *settings;
    rota_error_t error = {{0}};
    int code = read_options (argc, argv, &options);
    if (code >= 0)
        return code;
    if (options.show_config)
        return rota_check_config ("rota-scheduler", options.config, options.show_config == 'P');
    if (rota_settings_load (options.config, stderr, &settings, &error) < 0) {
        fprintf (stderr, "rota-scheduler: %s\n", error.text);
        return 2;
    }
    set_up_log (&options, settings);
    code = options.restore ? restore (&options) : serve (&options, settings);
    rota_settings_destroy (&settings);
    return code;
}
