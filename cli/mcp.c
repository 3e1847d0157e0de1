/* The verb mcp: a server of the Model Context Protocol on standard input and output. */
#include "cli/mcp_tools.h"

#include "agents/outbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOOLS_MAX 32
#define READ_BYTES ((size_t)64 << 10)

static const char *const ALLOWED[] = {"submit", "answer", "review"};

static bool put (void *to, const char *line, size_t size)
{
    const int *fd = to;
    while (size) {
        ssize_t written = write (*fd, line, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        line += written;
        size -= (size_t)written;
    }
    return true;
}

static bool is_given (const rota_cli_t *cli, const char *what)
{
    if (strcmp (what, "notes") == 0)
        return !rota_options_flag (cli->options, "read-only");
    for (size_t i = 0; i < rota_options_count (cli->options, "allow"); i++)
        if (strcmp (rota_options_nth (cli->options, "allow", i), what) == 0)
            return true;
    return false;
}

static int check_allowed (const rota_cli_t *cli, bool attempt)
{
    size_t count = rota_options_count (cli->options, "allow");
    for (size_t i = 0; i < count; i++) {
        const char *word = rota_options_nth (cli->options, "allow", i);
        size_t known = 0;
        while (known < sizeof ALLOWED / sizeof *ALLOWED && strcmp (ALLOWED[known], word) != 0)
            known++;
        if (known == sizeof ALLOWED / sizeof *ALLOWED)
            return rota_cli_fail (ROTA_EXIT_USAGE, "--allow: \"%s\" is none of submit, answer, review", word);
    }
    if (attempt && count)
        return rota_cli_fail (ROTA_EXIT_REFUSED, "within an attempt nothing more can be allowed: an agent "
                                                 "reads its task and writes down notes");
    return ROTA_EXIT_DONE;
}

static size_t choose (const rota_cli_t *cli, const rota_mcp_attempt_t *attempt,
                      const rota_mcp_tool_t *ret_tools[TOOLS_MAX])
{
    const rota_mcp_tool_t *all = attempt ? ROTA_MCP_ATTEMPT_TOOLS : ROTA_MCP_CLIENT_TOOLS;
    size_t all_count = attempt ? ROTA_MCP_ATTEMPT_TOOL_COUNT : ROTA_MCP_CLIENT_TOOL_COUNT, count = 0;
    for (size_t i = 0; i < all_count && count < TOOLS_MAX; i++) {
        bool given = !all[i].needs || (attempt ? !attempt->reviews : is_given (cli, all[i].needs));
        if (given)
            ret_tools[count++] = &all[i];
    }
    return count;
}

static int serve (rota_mcp_t *self)
{
    char *bytes = malloc (READ_BYTES);
    ssize_t got = 0;
    if (!bytes)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    do {
        got = read (STDIN_FILENO, bytes, READ_BYTES);
    } while ((got > 0 && rota_mcp_feed (self, bytes, (size_t)got)) || (got < 0 && errno == EINTR));
    int code = got < 0 ? rota_cli_fail (ROTA_EXIT_UNFINISHED, "standard input: %s", strerror (errno))
                       : ROTA_EXIT_DONE;
    rota_mcp_end (self);
    free (bytes);
    return code;
}

int rota_verb_mcp (rota_cli_t *cli)
{
    const rota_mcp_tool_t *tools[TOOLS_MAX];
    const char *outbox = getenv (ROTA_OUTBOX_VARIABLE), *context = getenv (ROTA_CONTEXT_VARIABLE),
               *phase = getenv ("ROTA_PHASE");
    rota_mcp_client_t client = {.cli = cli};
    rota_mcp_attempt_t attempt = {
        .outbox = outbox, .context = context, .reviews = phase && strcmp (phase, "review") == 0};
    bool within = outbox && *outbox;
    int code = check_allowed (cli, within);
    if (code != ROTA_EXIT_DONE)
        return code;
    /* Whatever else is printed goes to standard error. */
    int out = fcntl (STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (out < 0 || dup2 (STDERR_FILENO, STDOUT_FILENO) < 0)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "standard output: %s", strerror (errno));
    rota_mcp_t self = {.tools = tools,
                       .tool_count = choose (cli, within ? &attempt : NULL, tools),
                       .instructions = within ? ROTA_MCP_ATTEMPT_INSTRUCTIONS : ROTA_MCP_CLIENT_INSTRUCTIONS,
                       .owner = within ? (void *)&attempt : &client,
                       .send = put,
                       .to = &out};
    code = serve (&self);
    close (out);
    return code;
}
