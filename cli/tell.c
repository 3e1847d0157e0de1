/* The verb tell: a word for the agent that works on a task, handed to the host where it does. */
#include "cli/json.h"
#include "cli/link.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_MAX_BYTES ((size_t)16 << 10)

/* The argument, or with "-" all of standard input. The caller frees it; NULL after a message. */
static char *read_text (const rota_cli_t *cli)
{
    const char *given = rota_options_argument (cli->options, 1);
    char *text = malloc (TEXT_MAX_BYTES + 2);
    size_t size = 0;
    if (text && strcmp (given, "-") == 0)
        size = fread (text, 1, TEXT_MAX_BYTES + 1, stdin);
    else if (text)
        size = (size_t)snprintf (text, TEXT_MAX_BYTES + 2, "%s", given);
    if (text && size && size <= TEXT_MAX_BYTES && !memchr (text, 0, size)) {
        text[size] = '\0';
        return text;
    }
    rota_cli_fail (ROTA_EXIT_USAGE, !text  ? "out of memory"
                                    : size ? "what is told must be text of at most 16 KiB"
                                           : "there is nothing to tell");
    free (text);
    return NULL;
}

static void report (const rota_cli_t *cli, const char *id, const Rota__TellReply *reply)
{
    if (cli->json) {
        json_t *object = json_object ();
        rota_json_set_string (object, "task", id);
        rota_json_set_number (object, "attempt", reply->attempt);
        rota_json_set_text (object, "agent", reply->has_agent, reply->agent);
        rota_json_document (stdout, object);
    } else
        printf ("told %.*s, which works on %s; `rota log %s -f` shows what it makes of it\n",
                (int)reply->agent.len, (const char *)reply->agent.data, id, id);
}

int rota_verb_tell (rota_cli_t *cli)
{
    const char *id = rota_options_argument (cli->options, 0);
    Rota__Tell tell = ROTA__TELL__INIT;
    Rota__TellReply *where = NULL;
    ProtobufCMessage *reply = NULL;
    rota_error_t error = {""};
    rota_link_t link;
    uint8_t host[16];

    char *text = read_text (cli);
    if (!text)
        return ROTA_EXIT_USAGE;
    int code = rota_link_open_any (cli, &link);
    if (code != ROTA_EXIT_DONE) {
        free (text);
        return code;
    }
    tell.has_task = tell.has_text = true;
    tell.task = rota_bytes (id);
    tell.text = rota_bytes (text);
    code =
        rota_link_call (&link, ROTA_MESSAGE_TELL, &tell.base, ROTA_CALL_MS, ROTA_MESSAGE_TELL_REPLY, &where);
    if (code == ROTA_EXIT_DONE && where->agent_instance.len != sizeof host)
        code = rota_cli_fail (ROTA_EXIT_UNREACHABLE, "the scheduler's answer names no host");
    if (code == ROTA_EXIT_DONE) {
        memcpy (host, where->agent_instance.data, sizeof host);
        tell.has_attempt = true;
        tell.attempt = where->attempt;
        int status = rota_client_call_to (link.client, host, ROTA_MESSAGE_TELL, &tell.base, ROTA_CALL_MS,
                                          ROTA_MESSAGE_TELL_REPLY, &reply, &error);
        code = status == 0 ? ROTA_EXIT_DONE : rota_link_refusal (&link, status, &error);
    }
    if (code == ROTA_EXIT_DONE)
        report (cli, id, (const Rota__TellReply *)reply);
    rota_link_close (&link);
    free (text);
    return code;
}
