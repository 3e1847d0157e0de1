/* converse_options.c - the command line of `rota-agent --converse`: written by adapters, read by the program.
 */
#include "agents/converse.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define OPTIONS_MAX 19 /* ourselves, --converse, the protocol, five with a value, --trust, --tell, -- */

int rota_converse_arguments (const rota_converse_options_t *options, rota_pool_t *pool, char ***ret_argv,
                             rota_error_t *error)
{
    char version[16];
    snprintf (version, sizeof version, "%d", options->version);
    const struct {
        const char *name, *value;
    } VALUES[] = {{"--session", options->session},
                  {"--mode", options->mode},
                  {"--authenticate", options->authenticate},
                  {"--tools", options->tools},
                  {"--protocol-version", options->version ? version : NULL}};
    char self[PATH_MAX];
    ssize_t length = readlink ("/proc/self/exe", self, sizeof self - 1);
    if (length < 0)
        return rota_error_set (error, -errno, "can't find the program itself: %s", strerror (errno));
    self[length] = '\0';
    const char *list[OPTIONS_MAX] = {self, ROTA_CONVERSE_OPTION, options->protocol};
    size_t count = 3, more = 0;
    for (size_t i = 0; i < sizeof VALUES / sizeof *VALUES; i++) {
        if (!VALUES[i].value)
            continue;
        list[count++] = VALUES[i].name;
        list[count++] = VALUES[i].value;
    }
    if (options->trust)
        list[count++] = "--trust";
    if (options->tell)
        list[count++] = "--tell";
    list[count++] = "--";
    while (options->program[more])
        more++;
    char **argv = rota_pool_alloc (pool, (count + more + 1) * sizeof *argv);
    for (size_t i = 0; argv && i < count + more; i++) {
        const char *argument = i < count ? list[i] : options->program[i - count];
        argv[i] = rota_pool_text (pool, argument, strlen (argument));
        if (!argv[i])
            return -ENOMEM;
    }
    *ret_argv = argv;
    return argv ? 0 : -ENOMEM;
}
