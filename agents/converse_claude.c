/* converse_claude.c - `claude -p --input-format stream-json --replay-user-messages`: what people say goes in
 * as JSON lines, and comes back when it is taken up.
 *
 * It takes a word between two of its steps. One that comes too late for that begins another turn: its input
 * is closed when a turn has ended and nothing is left that it has not taken up. Whom to stop is told by
 * signals.
 */
#include "agents/converse_internal.h"

#include <string.h>

static void say (rota_conversation_t *self, json_t *text)
{
    rota_conversation_send (
        self, json_pack ("{s:s, s:{s:s, s:o}}", "type", "user", "message", "role", "user", "content", text));
}

static void begin (rota_conversation_t *self)
{
    say (self, rota_conversation_prompt (self));
}

static void steer (rota_conversation_t *self)
{
    self->unheard++;
    say (self, json_string (rota_conversation_word (self)));
    rota_conversation_told (self);
}

/* The echo of what we said isn't news; the first is that of the prompt. */
static bool hear (rota_conversation_t *self, json_t *message)
{
    const char *type = json_string_value (json_object_get (message, "type"));
    if (type && strcmp (type, "user") == 0 && json_is_true (json_object_get (message, "isReplay"))) {
        self->unheard -= self->accepted && self->unheard;
        self->accepted = true;
        return false;
    }
    if (type && strcmp (type, "result") == 0) {
        bool well = json_is_false (json_object_get (message, "is_error"));
        if (!well || !self->unheard)
            rota_conversation_end (self, well);
    }
    return true;
}

/* The signal that asked for it went to the program, too. */
static bool cancel (rota_conversation_t *self)
{
    (void)self;
    return true;
}

const rota_protocol_t ROTA_PROTOCOL_CLAUDE = {
    .name = "claude-stream", .exits = true, .begin = begin, .hear = hear, .cancel = cancel, .steer = steer};
