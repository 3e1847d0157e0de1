/* main.c - rota-broker: options, configuration, signals around a broker. */
#include "broker/broker.h"
#include "broker/election.h"
#include "broker/router.h"
#include "bus/check_config.h"
#include "bus/keyfile.h"
#include "bus/log.h"
#include "bus/ready.h"
#include "bus/settings.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_REFUSED = 4 };

#define INSECURE_MAX 16

typedef struct {
    const char *state_dir;
    const char *config;
    const char *log_format;
    const char *log_level;
    int show_config; /* 'C'heck or 'P'rint; 0 = neither */
    char *insecure[INSECURE_MAX];
    size_t insecure_count;
} options_t;

static const char HELP[] =
    "rota-broker - routes the messages of rota's services\n"
    "\n"
    "usage: rota-broker [--state DIR] [--config FILE] [--insecure ENDPOINT[=ROLE]]...\n"
    "\n"
    "  --state DIR           state directory (default .rota); the sockets are in DIR/run\n"
    "  --config FILE         settings (default: $ROTA_CONFIG, ./rota.yaml, /etc/rota/rota.yaml)\n"
    "                        Endpoints with keys, for other hosts, are named by broker.endpoints in the\n"
    "                        settings; see docs/security.md\n"
    "  --check-config        only say whether the settings are right\n"
    "  --print-config        only print every setting, and where it comes from\n"
    "  --insecure ENDPOINT   also listen there without keys: tcp://127.0.0.1:PORT and the like.\n"
    "                        =ROLE says what may come by it: read, submit, operate, admin (default),\n"
    "                        agent, scheduler, sink, or broker for all services\n"
    "  --log-format FORMAT   logfmt (default) or json\n"
    "  --log-level LEVEL     error, warning, info (default) or debug\n"
    "  --version, --help\n"
    "\n"
    "Of several brokers over one state directory one leads; the others stand by and take over when it ends "
    "or\n"
    "hangs. With election.backend: etcd, each has a state directory of its own, on hosts of their own.\n"
    "It ends at SIGTERM and SIGINT. Exit status: 0 stopped; 1 failed (a new start may help); 2 wrong usage "
    "or\n"
    "settings; 4 with etcd, another broker uses the state directory.\n";

/* A handler has nothing but statics. */
static rota_broker_t *signalled_broker;

static void on_signal (int number)
{
    (void)number;
    rota_broker_stop (signalled_broker);
}

__attribute__ ((format (printf, 2, 3))) static int complain (int status, const char *format, ...)
{
    va_list arguments;
    fputs ("rota-broker: ", stderr);
    va_start (arguments, format);
    vfprintf (stderr, format, arguments);
    va_end (arguments);
    fputc ('\n', stderr);
    return status;
}

/* -1, or the status to exit with. */
static int read_options (int argc, char **argv, options_t *ret_options)
{
    static const struct option LONG[] = {
        {"state", required_argument, NULL, 's'},
        {"config", required_argument, NULL, 'c'},
        {"insecure", required_argument, NULL, 'i'},
        {"check-config", no_argument, NULL, 'C'},
        {"print-config", no_argument, NULL, 'P'},
        {"log-format", required_argument, NULL, 'f'},
        {"log-level", required_argument, NULL, 'l'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long (argc, argv, "h", LONG, NULL)) != -1) {
        if (option == 's')
            ret_options->state_dir = optarg;
        else if (option == 'c')
            ret_options->config = optarg;
        else if (option == 'f')
            ret_options->log_format = optarg;
        else if (option == 'l')
            ret_options->log_level = optarg;
        else if (option == 'i' && ret_options->insecure_count < INSECURE_MAX)
            ret_options->insecure[ret_options->insecure_count++] = optarg;
        else if (option == 'C' || option == 'P')
            ret_options->show_config = option;
        else if (option == 'V')
            return printf ("rota-broker %s\n", ROTA_VERSION) < 0;
        else if (option == 'h')
            return fputs (HELP, stdout) < 0;
        else
            return complain (EXIT_USAGE, "see rota-broker --help");
    }
    if (optind < argc)
        return complain (EXIT_USAGE, "unexpected argument \"%s\"; see rota-broker --help", argv[optind]);
    return -1;
}

/* Index of `word` among `words`, or -1. */
static int index_of (const char *word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp (word, words[i]) == 0)
            return (int)i;
    return -1;
}

/* The options win over the settings. */
static int set_up_log (const options_t *options, const rota_settings_t *settings)
{
    static const char *const FORMATS[] = {"logfmt", "json"};
    static const char *const LEVELS[] = {"error", "warning", "info", "debug"};
    int format = rota_setting_choice (settings, ROTA_SETTING_LOG_FORMAT);
    int level = rota_setting_choice (settings, ROTA_SETTING_LOG_LEVEL);
    if (options->log_format)
        format = index_of (options->log_format, FORMATS, 2);
    if (options->log_level)
        level = index_of (options->log_level, LEVELS, 4);
    if (format < 0)
        return complain (EXIT_USAGE, "no such log format: %s", options->log_format);
    if (level < 0)
        return complain (EXIT_USAGE, "no such log level: %s", options->log_level);
    rota_log_setup ("rota-broker", (rota_log_level_t)(level + ROTA_LOG_ERROR), (rota_log_format_t)format);
    return -1;
}

/* "ENDPOINT=ROLE" is cut at the sign. */
static int read_endpoint (char *text, rota_broker_endpoint_t *ret_endpoint)
{
    char *role = strchr (text, '=');
    ret_endpoint->role = ROTA__ROLE__ROLE_ADMIN;
    if (role) {
        *role++ = 0;
        ret_endpoint->role = rota_role_parse (role);
        if (ret_endpoint->role == ROTA__ROLE__ROLE_UNSPECIFIED)
            return complain (EXIT_USAGE, "no such role: %s", role);
    }
    ret_endpoint->endpoint = text;
    return -1;
}

static int make_config (const options_t *options, const rota_settings_t *settings, const char *keys_dir,
                        rota_broker_endpoint_t *endpoints, rota_broker_config_t *ret_config)
{
    for (size_t i = 0; i < options->insecure_count; i++) {
        int status = read_endpoint (options->insecure[i], &endpoints[i]);
        if (status >= 0)
            return status;
    }
    size_t listed;
    const char *const *list = rota_setting_list (settings, ROTA_SETTING_BROKER_ENDPOINTS, &listed);
    for (size_t i = 0; i < listed; i++)
        endpoints[options->insecure_count + i] = (rota_broker_endpoint_t){.endpoint = list[i]};
    *ret_config = (rota_broker_config_t){
        .state_dir = options->state_dir,
        .endpoints = endpoints,
        .endpoints_count = options->insecure_count + listed,
        .keys_dir = keys_dir,
        .insecure = options->insecure_count > 0,
        .program_version = ROTA_VERSION,
        .heartbeat_ms = (int)rota_setting_duration_ms (settings, ROTA_SETTING_BROKER_HEARTBEAT),
        .dead_after_ms = (int)rota_setting_duration_ms (settings, ROTA_SETTING_BROKER_DEAD_AFTER),
        .quota_messages = rota_setting_integer (settings, ROTA_SETTING_BROKER_QUOTA_MESSAGES),
        .quota_bytes = rota_setting_size_bytes (settings, ROTA_SETTING_BROKER_QUOTA_BYTES),
        .in_flight = rota_setting_integer (settings, ROTA_SETTING_BROKER_IN_FLIGHT),
        .memory_limit_bytes = rota_setting_size_bytes (settings, ROTA_SETTING_BROKER_MEMORY_LIMIT),
        .stand_by = true,
        .take_over_ms = rota_setting_duration_ms (settings, ROTA_SETTING_ELECTION_TAKE_OVER),
    };
    ret_config->advertise =
        rota_setting_list (settings, ROTA_SETTING_BROKER_ADVERTISE, &ret_config->advertise_count);
    return -1;
}

/* NULL: brokers of this host alone. */
static const rota_election_etcd_t *read_etcd (const rota_settings_t *settings, rota_election_etcd_t *ret_etcd)
{
    if (strcmp (rota_setting_text (settings, ROTA_SETTING_ELECTION_BACKEND), "etcd") != 0)
        return NULL;
    *ret_etcd = (rota_election_etcd_t){
        .prefix = rota_setting_text (settings, ROTA_SETTING_ELECTION_ETCD_PREFIX),
        .user = rota_setting_text (settings, ROTA_SETTING_ELECTION_ETCD_USER),
        .password_file = rota_setting_text (settings, ROTA_SETTING_ELECTION_ETCD_PASSWORD_FILE),
        .ca_file = rota_setting_text (settings, ROTA_SETTING_ELECTION_ETCD_CA_FILE),
        .cert_file = rota_setting_text (settings, ROTA_SETTING_ELECTION_ETCD_CERT_FILE),
        .key_file = rota_setting_text (settings, ROTA_SETTING_ELECTION_ETCD_KEY_FILE),
        .ttl_ms = rota_setting_duration_ms (settings, ROTA_SETTING_ELECTION_ETCD_TTL),
    };
    ret_etcd->endpoints =
        rota_setting_list (settings, ROTA_SETTING_ELECTION_ETCD_ENDPOINTS, &ret_etcd->endpoints_count);
    return ret_etcd;
}

/* As many connections as the system allows; each is a descriptor. */
static void raise_descriptor_limit (void)
{
    struct rlimit limit;
    if (getrlimit (RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit (RLIMIT_NOFILE, &limit);
    }
}

static void catch_signals (rota_broker_t *broker)
{
    struct sigaction action = {.sa_handler = on_signal};
    signalled_broker = broker;
    sigemptyset (&action.sa_mask);
    sigaction (SIGTERM, &action, NULL);
    sigaction (SIGINT, &action, NULL);
    signal (SIGPIPE, SIG_IGN);
}

/* Where there is an endpoint with keys. */
static int find_keys (const rota_broker_config_t *config, const rota_settings_t *settings, char *ret_path,
                      rota_error_t *error)
{
    for (size_t i = 0; i < config->endpoints_count; i++)
        if (config->endpoints[i].role == ROTA__ROLE__ROLE_UNSPECIFIED)
            return rota_keys_directory (rota_setting_text (settings, ROTA_SETTING_SECURITY_KEYS_DIR),
                                        config->state_dir, true, ret_path, PATH_MAX, error);
    return 0;
}

static int serve (rota_broker_config_t *config, const rota_settings_t *settings, char *keys_dir)
{
    rota_error_t error = {""};
    int status = 0;
    if (mkdir (config->state_dir, 0700) < 0 && errno != EEXIST)
        return complain (EXIT_FAILED, "%s: %s", config->state_dir, strerror (errno));
    if (find_keys (config, settings, keys_dir, &error) < 0)
        return complain (EXIT_USAGE, "%s", error.text);
    raise_descriptor_limit ();
    config->ready = rota_ready_new ();
    rota_broker_t *broker = rota_broker_new (config, &status, &error);
    if (!broker) {
        rota_ready_destroy (&config->ready);
        return complain (status == -EBUSY    ? EXIT_REFUSED
                         : status == -EINVAL ? EXIT_USAGE
                                             : EXIT_FAILED,
                         "%s", error.text);
    }
    catch_signals (broker);
    rota_ready_serving (config->ready);
    status = rota_broker_run (broker);
    rota_ready_stopping (config->ready);
    /* From here a second signal ends the process at once. */
    signal (SIGTERM, SIG_DFL);
    signal (SIGINT, SIG_DFL);
    rota_broker_destroy (&broker);
    rota_ready_destroy (&config->ready);
    return status < 0 ? EXIT_FAILED : EXIT_DONE;
}

int main (int argc, char **argv)
{
    options_t options = {.state_dir = ".rota"};
    rota_broker_endpoint_t endpoints[2 * INSECURE_MAX]; /* and as many from the settings */
    char keys_dir[PATH_MAX] = "";
    rota_broker_config_t config = {.state_dir = options.state_dir};
    rota_election_etcd_t etcd;
    rota_settings_t *settings = NULL;
    rota_error_t error;

    int status = read_options (argc, argv, &options);
    if (status >= 0)
        return status;
    if (options.show_config)
        return rota_check_config ("rota-broker", options.config, options.show_config == 'P');
    if (rota_settings_load (options.config, stderr, &settings, &error) < 0)
        return complain (EXIT_USAGE, "%s", error.text);
    status = set_up_log (&options, settings);
    if (status < 0)
        status = make_config (&options, settings, keys_dir, endpoints, &config);
    config.etcd = read_etcd (settings, &etcd);
    if (status < 0)
        status = serve (&config, settings, keys_dir);
    rota_settings_destroy (&settings);
    return status;
}
