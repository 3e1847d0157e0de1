/* The verbs help, man, completion and config. */
#include "bus/check_config.h"
#include "cli/cli.h"

#include <string.h>

int rota_verb_help (rota_cli_t *cli)
{
    size_t count = rota_options_argument_count (cli->options), words = 0;
    char *arguments[2] = {NULL, NULL};

    for (size_t i = 0; i < count; i++)
        arguments[i] = (char *)rota_options_argument (cli->options, i);
    if (count == 0) {
        rota_help_front (stdout, &cli->out);
    } else if (strcmp (arguments[0], "all") == 0) {
        rota_help_all (stdout, &cli->out);
    } else {
        const rota_verb_t *verb = rota_verb_find (count, arguments, &words);
        char guess[ROTA_GUESS_TEXT_BYTES];
        if (!verb)
            return rota_cli_fail (ROTA_EXIT_USAGE, "there is no verb \"%s\"%s (`rota help all` lists them)",
                                  arguments[0], rota_verb_guess (arguments[0], guess));
        rota_help_verb (stdout, &cli->out, verb);
    }
    return ROTA_EXIT_DONE;
}

int rota_verb_man (rota_cli_t *cli)
{
    (void)cli;
    rota_help_man (stdout);
    return ROTA_EXIT_DONE;
}

int rota_verb_completion (rota_cli_t *cli)
{
    const char *shell = rota_options_argument (cli->options, 0);
    if (strcmp (shell, "bash") == 0)
        rota_complete_bash (stdout);
    else if (strcmp (shell, "zsh") == 0)
        rota_complete_zsh (stdout);
    else
        return rota_cli_fail (ROTA_EXIT_USAGE, "there is completion for bash and zsh, not for \"%s\"", shell);
    return ROTA_EXIT_DONE;
}

int rota_verb_config (rota_cli_t *cli)
{
    return rota_check_config ("rota", rota_options_text (cli->options, "config", NULL),
                              !rota_options_flag (cli->options, "check"));
}
