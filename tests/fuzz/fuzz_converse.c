/* Any lines as what an agent says in a conversation: the first byte chooses the protocol and the options. No
 * crash, whatever is answered is a line of JSON each, and a turn has one end. */
#include "agents/converse_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CODEX = 1, SESSION = 2, TRUST = 4, VERSION_2 = 8, MODE = 16, AUTHENTICATE = 32, CLAUDE = 64 };

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/* What it prints and complains of is for others: while it does so, standard output is nowhere. */
static void be_quiet (bool quiet)
{
    static int null = -1, own;
    if (null < 0) {
        null = open ("/dev/null", O_WRONLY | O_CLOEXEC);
        own = fcntl (STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
        stderr = fdopen (fcntl (null, F_DUPFD_CLOEXEC, 10), "w"); /* the fuzzer has its own */
    }
    dup2 (quiet ? null : own, STDOUT_FILENO);
}

/* What it has to say, which is then gone. */
static void check_queue (rota_conversation_t *self)
{
    char *at = self->queue.bytes + self->queue.done, *end = self->queue.bytes + self->queue.used;
    while (self->queue.bytes && at < end) {
        char *newline = memchr (at, '\n', (size_t)(end - at));
        json_t *message = newline ? json_loadb (at, (size_t)(newline - at), 0, NULL) : NULL;
        if (!json_is_object (message))
            abort ();
        json_decref (message);
        at = newline + 1;
    }
    self->queue.used = self->queue.done = 0;
}

static void say (rota_conversation_t *self, const char *line, size_t size)
{
    bool over = self->over, well = self->well;
    json_t *message = json_loadb (line, size, 0, NULL);
    if (json_is_object (message))
        self->protocol->hear (self, message);
    json_decref (message);
    if ((over && (!self->over || self->well != well)) || (self->well && !self->over))
        abort ();
    check_queue (self);
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    static char *program[] = {(char *)"agent", NULL};
    if (!size)
        return 0;
    be_quiet (true);
    rota_conversation_t self = {.protocol = data[0] & CLAUDE  ? &ROTA_PROTOCOL_CLAUDE
                                            : data[0] & CODEX ? &ROTA_PROTOCOL_CODEX
                                                              : &ROTA_PROTOCOL_ACP,
                                .options = {.session = data[0] & SESSION ? "one" : NULL,
                                            .mode = data[0] & MODE ? "default" : NULL,
                                            .authenticate = data[0] & AUTHENTICATE ? "key" : NULL,
                                            .version = data[0] & VERSION_2 ? 2 : 1,
                                            .trust = data[0] & TRUST,
                                            .program = program},
                                .directory = "/nowhere/at/all",
                                .prompt = strdup ("Do it."),
                                .input_fd = -1,
                                .output_fd = -1,
                                .signal_fd = -1};
    self.protocol->begin (&self);
    check_queue (&self);
    const char *at = (const char *)data + 1, *end = (const char *)data + size;
    while (at < end) {
        const char *newline = memchr (at, '\n', (size_t)(end - at));
        say (&self, at, (size_t)((newline ? newline : end) - at));
        at = newline ? newline + 1 : end;
    }
    if (self.stage == ROTA_CONVERSE_TALKING)
        self.protocol->cancel (&self);
    check_queue (&self);
    be_quiet (false);
    json_decref (self.session);
    json_decref (self.turn);
    free (self.queue.bytes);
    free (self.line.bytes);
    free (self.prompt);
    return 0;
}
