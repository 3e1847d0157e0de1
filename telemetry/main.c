/* rota-telemetry: options, signals, the service. */
#include "bus/check_config.h"
#include "bus/log.h"
#include "bus/rundir.h"
#include "bus/settings.h"
#include "telemetry/sink.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rota_sink_t *sink;

static const char HELP[] =
    "usage: rota-telemetry --state DIR [options]\n"
    "\n"
    "Writes every event to DIR/journal as JSON Lines, a file a day, and compresses and removes old files.\n"
    "Serves the metrics of all services over HTTP, where the setting telemetry.metrics_listen says.\n"
    "`rota run` and `rota up` start it; by hand it is started for development and by systemd.\n"
    "\n"
    "  --state DIR          state directory\n"
    "  --broker ENDPOINTS   brokers, comma-separated; default: the sockets of DIR\n"
    "  --key FILE           our key for brokers on tcp (default: the setting security.key_file)\n"
    "  --insecure           talk to brokers on tcp://127.0.0.1 without keys\n"
    "  --config FILE        configuration (see docs/reference/settings.md, section telemetry)\n"
    "  --check-config       only say whether the settings are right\n"
    "  --print-config       only print every setting, and where it comes from\n"
    "  --log-format FORMAT  logfmt or json\n"
    "  --log-level LEVEL    error, warning, info or debug\n"
    "  --help, --version\n"
    "\n"
    "SIGTERM and SIGINT end it after all events that it has are on disk.\n";

typedef struct {
    const char *state, *broker, *key, *config, *log_format, *log_level;
    bool insecure;
    int show_config; /* 'C'heck or 'P'rint; 0 = neither */
} options_t;

static void on_signal (int number)
{
    (void)number;
    rota_sink_stop (sink);
}

static int choice (const char *word, const char *const *words)
{
    for (int i = 0; words[i]; i++)
        if (strcmp (words[i], word) == 0)
            return i;
    return -1;
}

static const char *const LEVELS[] = {"error", "warning", "info", "debug", NULL};
static const char *const FORMATS[] = {"logfmt", "json", NULL};

/* NULL, or what is wrong. */
static const char *check (const options_t *options)
{
    if (!options->state && !options->show_config)
        return "--state is missing";
    if (options->log_level && choice (options->log_level, LEVELS) < 0)
        return "--log-level is error, warning, info or debug";
    if (options->log_format && choice (options->log_format, FORMATS) < 0)
        return "--log-format is logfmt or json";
    return NULL;
}

/* Below 0: go on; else the exit code. */
static int read_options (int argc, char **argv, options_t *ret_options)
{
    static const struct option LONG[] = {
        {"state", required_argument, NULL, 's'},     {"broker", required_argument, NULL, 'b'},
        {"config", required_argument, NULL, 'c'},    {"log-format", required_argument, NULL, 'f'},
        {"log-level", required_argument, NULL, 'l'}, {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},         {"key", required_argument, NULL, 'k'},
        {"insecure", no_argument, NULL, 'i'},        {"check-config", no_argument, NULL, 'C'},
        {"print-config", no_argument, NULL, 'P'},    {0},
    };
    for (int c; (c = getopt_long (argc, argv, "h", LONG, NULL)) != -1;)
        switch (c) {
        case 's':
            ret_options->state = optarg;
            break;
        case 'b':
            ret_options->broker = optarg;
            break;
        case 'k':
            ret_options->key = optarg;
            break;
        case 'i':
            ret_options->insecure = true;
            break;
        case 'c':
            ret_options->config = optarg;
            break;
        case 'f':
            ret_options->log_format = optarg;
            break;
        case 'l':
            ret_options->log_level = optarg;
            break;
        case 'C':
        case 'P':
            ret_options->show_config = c;
            break;
        case 'h':
            fputs (HELP, stdout);
            return 0;
        case 'v':
            puts ("rota-telemetry " ROTA_VERSION);
            return 0;
        default:
            fputs ("try rota-telemetry --help\n", stderr);
            return 2;
        }
    const char *fault = optind < argc ? "too many arguments" : check (ret_options);
    if (fault)
        fprintf (stderr, "rota-telemetry: %s; try --help\n", fault);
    return fault ? 2 : -1;
}

static void set_up_log (const options_t *options, const rota_settings_t *settings)
{
    int level = rota_setting_choice (settings, ROTA_SETTING_LOG_LEVEL);
    int format = rota_setting_choice (settings, ROTA_SETTING_LOG_FORMAT);
    if (options->log_level)
        level = choice (options->log_level, LEVELS);
    if (options->log_format)
        format = choice (options->log_format, FORMATS);
    rota_log_setup ("telemetry", (rota_log_level_t)(ROTA_LOG_ERROR + level), (rota_log_format_t)format);
}

static int serve (const options_t *options, const rota_settings_t *settings)
{
    rota_error_t error = {{0}};
    char rundir[ROTA_RUNDIR_PATH_BYTES];
    rota_rundir_endpoints_t endpoints;
    if (rota_rundir (options->state, true, rundir, sizeof rundir, &error) < 0) {
        fprintf (stderr, "rota-telemetry: %s\n", error.text);
        return 2;
    }
    rota_rundir_endpoints (rundir, &endpoints);
    rota_sink_config_t config = {
        .state_directory = options->state,
        .endpoints = options->broker ? options->broker : endpoints.service,
        .settings = settings,
        .ready = rota_ready_new (),
    };
    if (rota_curve_load (config.endpoints, options->key, options->insecure, settings, &config.curve, &error) <
        0) {
        fprintf (stderr, "rota-telemetry: %s\n", error.text);
        return 2;
    }
    int rc = rota_sink_new (&config, &sink, &error);
    if (rc < 0) {
        rota_ready_destroy (&config.ready);
        rota_log (ROTA_LOG_ERROR, "start.failed", "text=\"%s\"", error.text);
        return rc == -EBUSY ? 4 : 1;
    }
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction (SIGTERM, &action, NULL);
    sigaction (SIGINT, &action, NULL);
    signal (SIGPIPE, SIG_IGN);
    rota_ready_serving (config.ready);
    rota_log (ROTA_LOG_INFO, "telemetry.started", "state=\"%s\"", options->state);
    rc = rota_sink_run (sink, &error);
    if (rc < 0)
        rota_log (ROTA_LOG_ERROR, "telemetry.failed", "text=\"%s\"", error.text);
    rota_sink_counts_t counts = rota_sink_counts (sink);
    signal (SIGTERM, SIG_IGN);
    signal (SIGINT, SIG_IGN);
    rota_ready_stopping (config.ready);
    rota_sink_destroy (&sink);
    rota_ready_destroy (&config.ready);
    rota_log (ROTA_LOG_INFO, "telemetry.stopped", "events=%llu synced=%llu code=%d",
              (unsigned long long)counts.events, (unsigned long long)counts.synced, rc < 0);
    return rc < 0 ? 1 : 0;
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
        return rota_check_config ("rota-telemetry", options.config, options.show_config == 'P');
    if (rota_settings_load (options.config, stderr, &settings, &error) < 0) {
        fprintf (stderr, "rota-telemetry: %s\n", error.text);
        return 2;
    }
    set_up_log (&options, settings);
    code = serve (&options, settings);
    rota_settings_destroy (&settings);
    return code;
}
