/* main.c - rota-agent: options, configuration and signals around an agent host. */
#include "agents/ask.h"
#include "agents/converse.h"
#include "agents/host.h"
#include "agents/pretend.h"
#include "agents/workspace.h"
#include "bus/check_config.h"
#include "bus/log.h"
#include "bus/start.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define CREDENTIALS_MAX 32

enum { EXIT_LEFT = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

typedef struct {
    rota_agent_config_t agent;
    const char *settings_path, *log_format, *log_level, *key;
    bool insecure;
    int show_config;                              /* 'x' checks, 'p' prints; 0 = neither */
    const char *credentials[CREDENTIALS_MAX + 1]; /* ended by NULL */
    size_t credential_count;
} options_t;

static const char HELP[] =
    "rota-agent - runs the attempts of one kind of agent\n"
    "\n"
    "usage: rota-agent [--state DIR] [--kind KIND] [--slots N] [--exec COMMAND] [--name NAME]\n"
    "                  [--broker ENDPOINT[,ENDPOINT]...] [--config FILE]\n"
    "\n"
    "  --state DIR           state directory (default .rota): output, results not handed in yet, sockets\n"
#define KIND(word, ADAPTER, slots, what) "  --kind " word "\t" what "\n"
#include "agents/kinds.def"
    "                        (default: exec)\n"
    "  --slots N             how many attempts run at once (default: exec one a processor, others 1)\n"
    "  --exec COMMAND        for tasks without a command (run:) of their own; the task's fields are in\n"
    "                        $ROTA_TASK_ID, $ROTA_TASK_TITLE, $ROTA_TASK_PROMPT, ...\n"
    "  --account NAME        whose limits and money it uses, shared by all agents of that kind and account\n"
    "                        (default: default)\n"
    "  --login DIR           where the program keeps the account's login (default: its usual place)\n"
    "  --credential NAME[=SOURCE]\n"
    "                        an environment variable for the program, from SOURCE of ours; repeatable\n"
    "                        (default: those the program knows, as ANTHROPIC_API_KEY)\n"
    "  --trust-agents        the program may do what it likes, without asking and without a sandbox\n"
    "  --name NAME           unique in the system (default KIND@HOST)\n"
    "  --broker ENDPOINTS    where brokers listen for agents (default: the state directory's socket)\n"
    "  --key FILE            our key for brokers on tcp (default: the setting security.key_file)\n"
    "  --insecure            talk to brokers on tcp://127.0.0.1 without keys\n"
    "  --config FILE         settings (default: $ROTA_CONFIG, ./rota.yaml, /etc/rota/rota.yaml)\n"
    "  --check-config        only say whether the settings are right\n"
    "  --print-config        only print every setting, and where it comes from\n"
    "  --log-format FORMAT   logfmt (default) or json\n"
    "  --log-level LEVEL     error, warning, info (default) or debug\n"
    "  --version, --help\n"
    "\n"
    "At the first SIGTERM or SIGINT it takes no more, ends what runs and hands its results in; at the second "
    "it\n"
    "ends everything at once. Exit status: 0 left; 1 failed (a new start may help); 2 wrong usage or "
    "settings.\n";

/* A handler has nothing but statics. */
static rota_agent_t *signalled;

static void on_signal (int number)
{
    (void)number;
    rota_agent_stop (signalled);
}

__attribute__ ((format (printf, 2, 3))) static int complain (int status, const char *format, ...)
{
    va_list arguments;
    fputs ("rota-agent: ", stderr);
    va_start (arguments, format);
    vfprintf (stderr, format, arguments);
    va_end (arguments);
    fputc ('\n', stderr);
    return status;
}

static bool read_slots (const char *text, unsigned *ret_slots)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul (text, &end, 10);
    if (errno || end == text || *end || text[0] == '-' || value < 1 || value > ROTA_AGENT_SLOTS_LIMIT)
        return false;
    *ret_slots = (unsigned)value;
    return true;
}

static const struct option OPTIONS[] = {
    {"state", required_argument, NULL, 's'},
    {"kind", required_argument, NULL, 'k'},
    {"slots", required_argument, NULL, 'n'},
    {"name", required_argument, NULL, 'N'},
    {"broker", required_argument, NULL, 'b'},
    {"key", required_argument, NULL, 'K'},
    {"insecure", no_argument, NULL, 'i'},
    {"exec", required_argument, NULL, 'e'},
    {"command", required_argument, NULL, 'e'},
    {"account", required_argument, NULL, 'a'},
    {"login", required_argument, NULL, 'L'},
    {"credential", required_argument, NULL, 'C'},
    {"trust-agents", no_argument, NULL, 't'},
    {"config", required_argument, NULL, 'c'},
    {"check-config", no_argument, NULL, 'x'},
    {"print-config", no_argument, NULL, 'p'},
    {"log-format", required_argument, NULL, 'f'},
    {"log-level", required_argument, NULL, 'l'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* -1, or the status to exit with. */
static int read_options (int argc, char **argv, options_t *ret_options)
{
    rota_agent_config_t *agent = &ret_options->agent;
    int option;
    while ((option = getopt_long (argc, argv, "h", OPTIONS, NULL)) != -1) {
        switch (option) {
        case 's':
            agent->state_dir = optarg;
            break;
        case 'k':
            agent->kind = optarg;
            break;
        case 'n':
            if (!read_slots (optarg, &agent->slots))
                return complain (EXIT_USAGE, "--slots %s: from 1 to %d", optarg, ROTA_AGENT_SLOTS_LIMIT);
            break;
        case 'N':
            agent->name = optarg;
            break;
        case 'b':
            agent->endpoints = optarg;
            break;
        case 'K':
            ret_options->key = optarg;
            break;
        case 'i':
            ret_options->insecure = true;
            break;
        case 'e':
            agent->exec_command = optarg;
            break;
        case 'a':
            agent->account = optarg;
            break;
        case 'L':
            agent->login = optarg;
            break;
        case 'C':
            if (ret_options->credential_count == CREDENTIALS_MAX)
                return complain (EXIT_USAGE, "more than %d times --credential", CREDENTIALS_MAX);
            ret_options->credentials[ret_options->credential_count++] = optarg;
            agent->credentials = ret_options->credentials;
            break;
        case 't':
            agent->trust = true;
            break;
        case 'c':
            ret_options->settings_path = optarg;
            break;
        case 'f':
            ret_options->log_format = optarg;
            break;
        case 'l':
            ret_options->log_level = optarg;
            break;
        case 'x':
        case 'p':
            ret_options->show_config = option;
            break;
        case 'V':
            return printf ("rota-agent %s\n", ROTA_VERSION) < 0;
        case 'h':
            return fputs (HELP, stdout) < 0;
        default:
            return complain (EXIT_USAGE, "see rota-agent --help");
        }
    }
    if (optind < argc)
        return complain (EXIT_USAGE, "unexpected argument \"%s\"; see rota-agent --help", argv[optind]);
    return -1;
}

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
    if (options->log_format && (format = index_of (options->log_format, FORMATS, 2)) < 0)
        return complain (EXIT_USAGE, "no such log format: %s", options->log_format);
    if (options->log_level && (level = index_of (options->log_level, LEVELS, 4)) < 0)
        return complain (EXIT_USAGE, "no such log level: %s", options->log_level);
    rota_log_setup ("rota-agent", (rota_log_level_t)(level + ROTA_LOG_ERROR), (rota_log_format_t)format);
    return -1;
}

/* Three descriptors an attempt, and the spawner two. */
static void raise_descriptor_limit (void)
{
    struct rlimit limit;
    if (getrlimit (RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit (RLIMIT_NOFILE, &limit);
    }
}

static int serve (rota_agent_config_t *config)
{
    struct sigaction action = {.sa_handler = on_signal};
    rota_error_t error = {""};
    int status = 0;

    config->ready = rota_ready_new ();
    rota_agent_t *agent = rota_agent_new (config, &status, &error);
    if (!agent) {
        rota_ready_destroy (&config->ready);
        return complain (status == -EINVAL ? EXIT_USAGE : EXIT_FAILED, "%s", error.text);
    }
    signalled = agent;
    sigemptyset (&action.sa_mask);
    sigaction (SIGTERM, &action, NULL);
    sigaction (SIGINT, &action, NULL);
    rota_ready_serving (config->ready);
    status = rota_agent_run (agent);
    rota_ready_stopping (config->ready);
    /* From here another signal ends the process; the shims look after themselves. */
    signal (SIGTERM, SIG_DFL);
    signal (SIGINT, SIG_DFL);
    rota_agent_destroy (&agent);
    rota_ready_destroy (&config->ready);
    return status < 0 ? EXIT_FAILED : EXIT_LEFT;
}

/* "KIND/ACCOUNT VALUE": the value, when the item is for that account. */
static const char *value_for (const char *item, const rota_agent_config_t *agent)
{
    size_t kind = strlen (agent->kind), account = strlen (agent->account ? agent->account : "default");
    if (strncmp (item, agent->kind, kind) != 0 || item[kind] != '/' ||
        strncmp (item + kind + 1, agent->account ? agent->account : "default", account) != 0 ||
        item[kind + 1 + account] != ' ')
        return NULL;
    item += kind + 1 + account;
    return item + strspn (item, " ");
}

/* What the settings say of the account, where the options say nothing. */
static void take_account (options_t *options, const rota_settings_t *settings)
{
    rota_agent_config_t *agent = &options->agent;
    bool given = options->credential_count > 0;
    const char *const *item = rota_setting_list (settings, ROTA_SETTING_AGENTS_CREDENTIALS, NULL);
    for (; !given && *item && options->credential_count < CREDENTIALS_MAX; item++) {
        const char *value = value_for (*item, agent);
        if (value)
            options->credentials[options->credential_count++] = value;
    }
    if (options->credential_count)
        agent->credentials = options->credentials;
    for (item = rota_setting_list (settings, ROTA_SETTING_AGENTS_LOGINS, NULL); !agent->login && *item;
         item++)
        agent->login = value_for (*item, agent);
}

static unsigned default_slots (const char *kind)
{
    static const struct {
        const char *word;
        unsigned slots;
    } KINDS[] = {
#define KIND(word, ADAPTER, slots, what) {word, slots},
#include "agents/kinds.def"
    };
    long processors = sysconf (_SC_NPROCESSORS_ONLN);
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        if (strcmp (KINDS[i].word, kind) == 0 && KINDS[i].slots)
            return KINDS[i].slots;
    return processors > 0 ? (unsigned)processors : 1;
}

int main (int argc, char **argv)
{
    options_t options = {.agent = {.state_dir = ".rota", .kind = "exec"}};
    rota_settings_t *settings = NULL;
    rota_error_t error = {""};

    if (argc == 2 && strcmp (argv[1], ROTA_PRETEND_OPTION) == 0)
        return rota_pretend ();
    if (argc == 2 && strcmp (argv[1], ROTA_ASK_OPTION) == 0)
        return rota_ask ();
    if (argc > 2 && strcmp (argv[1], ROTA_CONVERSE_OPTION) == 0)
        return rota_converse (argc - 2, argv + 2);
    if (argc > 2 && strcmp (argv[1], ROTA_WORKSPACE_OPTION) == 0)
        return rota_workspace (argc - 2, argv + 2);
    int status = read_options (argc, argv, &options);
    if (status >= 0)
        return status;
    if (options.show_config)
        return rota_check_config ("rota-agent", options.settings_path, options.show_config == 'p');
    if (!options.agent.slots)
        options.agent.slots = default_slots (options.agent.kind);
    if (mkdir (options.agent.state_dir, 0700) < 0 && errno != EEXIST)
        return complain (EXIT_FAILED, "%s: %s", options.agent.state_dir, strerror (errno));
    /* Before ZeroMQ has threads, and before our limits are raised, which commands don't inherit. */
    rota_spawner_t *spawner = rota_spawner_start (&error);
    if (!spawner)
        return complain (EXIT_FAILED, "%s", error.text);
    raise_descriptor_limit ();
    rota_bus_start ();
    signal (SIGPIPE, SIG_IGN);
    if (rota_settings_load (options.settings_path, stderr, &settings, &error) < 0)
        status = complain (EXIT_USAGE, "%s", error.text);
    if (status < 0)
        status = set_up_log (&options, settings);
    if (status < 0 && options.agent.endpoints &&
        rota_curve_load (options.agent.endpoints, options.key, options.insecure, settings,
                         &options.agent.curve, &error) < 0)
        status = complain (EXIT_USAGE, "%s", error.text);
    if (status < 0) {
        options.agent.settings = settings;
        take_account (&options, settings);
        options.agent.spawner = spawner;
        status = serve (&options.agent);
    }
    rota_settings_destroy (&settings);
    rota_spawner_destroy (&spawner);
    return status;
}
