/* rota: finds the verb, reads its options, calls it. */
#include "bus/settings.h"
#include "cli/cli.h"

#include <czmq.h>
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static int unknown_verb (char *const *arguments, int count)
{
    char guess[ROTA_GUESS_TEXT_BYTES], seconds[256] = "";
    size_t length = strlen (arguments[0]), used = 0;
    (void)count;

    /* The first word of verbs of two. */
    for (size_t i = 0; i < ROTA_VERB_COUNT && used < sizeof seconds; i++)
        if (strncmp (ROTA_VERBS[i].name, arguments[0], length) == 0 && ROTA_VERBS[i].name[length] == ' ')
            used += (size_t)snprintf (seconds + used, sizeof seconds - used, "%s%s %s", used ? ", " : "",
                                      ROTA_VERBS[i].name + length + 1, ROTA_VERBS[i].arguments);
    if (used)
        return rota_cli_fail (ROTA_EXIT_USAGE, "%s what? %s; see `rota help all`", arguments[0], seconds);
    return rota_cli_fail (ROTA_EXIT_USAGE, "there is no verb \"%s\"%s (`rota help all` lists them)",
                          arguments[0], rota_verb_guess (arguments[0], guess));
}

static int check_arguments (const rota_verb_t *verb, const rota_options_t *options)
{
    size_t count = rota_options_argument_count (options);
    size_t rest = rota_options_rest_count (options);

    if (count < (size_t)verb->least || (verb->rest && count + rest == 0))
        return rota_cli_fail (ROTA_EXIT_USAGE, "usage: rota %s %s", verb->name, verb->arguments);
    if (verb->most >= 0 && count > (size_t)verb->most)
        return rota_cli_fail (ROTA_EXIT_USAGE, "too many arguments from \"%s\" on; usage: rota %s %s",
                              rota_options_argument (options, (size_t)verb->most), verb->name,
                              verb->arguments);
    if (!verb->rest && rest > 0)
        return rota_cli_fail (ROTA_EXIT_USAGE, "rota %s takes nothing after \"--\"", verb->name);
    return 0;
}

/* The settings are read here only to refuse a faulty file before anything starts; services read them again,
 * from the same place. */
static int check_settings (const rota_options_t *options)
{
    const char *path = rota_options_text (options, "config", NULL);
    rota_settings_t *settings = NULL;
    rota_error_t error = {""};

    if (path) {
        char *whole = realpath (path, NULL);
        if (!whole)
            return rota_cli_fail (ROTA_EXIT_USAGE, "--config %s: %s", path, strerror (errno));
        setenv ("ROTA_CONFIG", whole, 1);
        free (whole);
    }
    if (rota_settings_load (NULL, stderr, &settings, &error) < 0)
        return rota_cli_fail (ROTA_EXIT_USAGE, "%s", error.text);
    rota_settings_destroy (&settings);
    return 0;
}

static int call (const rota_verb_t *verb, size_t count, char *const *arguments)
{
    rota_cli_t cli = {.verb = verb};
    rota_options_t *options = NULL;
    rota_error_t error = {""};

    rota_screen_init (&cli.out, stdout);
    rota_screen_init (&cli.err, stderr);
    if (rota_options_parse (verb->options, ROTA_COMMON_OPTIONS, count, arguments, &options, &error) < 0)
        return rota_cli_fail (ROTA_EXIT_USAGE, "%s (see `rota help %s`)", error.text, verb->name);
    cli.options = options;
    cli.json = rota_options_flag (options, "json");
    int code = 0;
    if (rota_options_flag (options, "help")) {
        rota_help_verb (stdout, &cli.out, verb);
    } else {
        code = check_arguments (verb, options);
        if (code == 0 && verb->group != ROTA_GROUP_ABOUT)
            code = check_settings (options);
        if (code == 0)
            code = verb->handler (&cli);
    }
    rota_options_destroy (&options);
    if (fflush (stdout) != 0 && errno != EPIPE && code == 0)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "standard output: %s", strerror (errno));
    return code;
}

/* As the services have it: `rota --check-config ...` is `rota config --check ...`. */
static int show_config (char **arguments, size_t count)
{
    char *verb[] = {"config"};
    size_t words = 0;
    bool check = strcmp (arguments[0], "--check-config") == 0;
    arguments[0] = "--check";
    return call (rota_verb_find (1, verb, &words), check ? count : count - 1,
                 check ? arguments : arguments + 1);
}

/* `rota --json status` works like `rota status --json`: common options may come first. */
static size_t leading_options (int argc, char **argv)
{
    size_t index = 1;
    while (index < (size_t)argc && argv[index][0] == '-' && argv[index][1] == '-' && argv[index][2]) {
        const char *name = argv[index] + 2;
        bool takes = false;
        for (const rota_option_t *option = ROTA_COMMON_OPTIONS; option->name; option++)
            takes |= option->kind != ROTA_OPTION_FLAG && strcmp (option->name, name) == 0;
        index += takes ? 2 : 1;
    }
    return index < (size_t)argc ? index : (size_t)argc;
}

int main (int argc, char **argv)
{
    rota_screen_t screen;
    size_t words = 0;

    setlocale (LC_CTYPE, "");
    setenv ("ZSYS_SIGHANDLER", "false", 1);
    zsys_handler_set (NULL);
    signal (SIGPIPE, SIG_IGN);
    rota_screen_init (&screen, stdout);

    if (argc < 2 || strcmp (argv[1], "--help") == 0 || strcmp (argv[1], "-h") == 0) {
        rota_help_front (stdout, &screen);
        return ROTA_EXIT_DONE;
    }
    if (strcmp (argv[1], "--version") == 0 || strcmp (argv[1], "-V") == 0 ||
        strcmp (argv[1], "version") == 0) {
        printf ("rota %s\n", ROTA_VERSION);
        return ROTA_EXIT_DONE;
    }
    if (strcmp (argv[1], "--check-config") == 0 || strcmp (argv[1], "--print-config") == 0)
        return show_config (argv + 1, (size_t)argc - 1);
    size_t leading = leading_options (argc, argv);
    size_t left = (size_t)argc - leading;
    if (left == 0 || argv[leading][0] == '-')
        return rota_cli_fail (ROTA_EXIT_USAGE, "unknown option %s; the verb comes first: see `rota help`",
                              argv[left ? leading : 1]);
    const rota_verb_t *verb = rota_verb_find (left, argv + leading, &words);
    if (!verb)
        return unknown_verb (argv + leading, (int)left);

    /* The arguments without the verb's words. */
    char **arguments = calloc ((size_t)argc, sizeof *arguments);
    if (!arguments)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    size_t count = 0;
    for (size_t i = 1; i < (size_t)argc; i++)
        if (i < leading || i >= leading + words)
            arguments[count++] = argv[i];
    int code = call (verb, count, arguments);
    free (arguments);
    return code;
}
