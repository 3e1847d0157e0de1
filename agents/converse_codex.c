/* converse_codex.c - the client's side of `codex app-server`.
 *
 * Approvals are never asked for (the sandbox decides); whatever else it asks is refused. Threads of
 * subagents speak on the same line: only the end of our own thread's turn is the end.
 */
#include "agents/converse_internal.h"

#include <string.h>

enum { STEP_INITIALIZE, STEP_RESUME, STEP_START, STEP_TURN, STEP_STEER, STEP_INTERRUPT };

static void ask (rota_conversation_t *self, int step, const char *method, json_t *params)
{
    self->step = step;
    rota_conversation_request (self, method, params);
}

static void begin (rota_conversation_t *self)
{
    ask (self, STEP_INITIALIZE, "initialize",
         json_pack ("{s:{s:s, s:s, s:s}}", "clientInfo", "name", "rota", "title", "rota", "version",
                    ROTA_VERSION));
}

/* ---- answers */

static json_t *thread_options (const rota_conversation_t *self)
{
    return json_pack ("{s:s, s:s, s:s}", "cwd", self->directory, "approvalPolicy", "never", "sandbox",
                      self->options.trust ? "danger-full-access" : "workspace-write");
}

static void begin_thread (rota_conversation_t *self)
{
    ask (self, STEP_START, "thread/start", thread_options (self));
}

static void open_thread (rota_conversation_t *self)
{
    rota_conversation_notify (self, "initialized", json_object ());
    if (!self->options.session) {
        begin_thread (self);
        return;
    }
    json_t *params = thread_options (self);
    if (json_object_set_new (params, "threadId", json_string (self->options.session)) < 0) {
        json_decref (params);
        params = NULL;
    }
    ask (self, STEP_RESUME, "thread/resume", params);
}

static void use_thread (rota_conversation_t *self, const json_t *result)
{
    self->session = json_incref (json_object_get (json_object_get (result, "thread"), "id"));
    if (!json_is_string (self->session)) {
        rota_conversation_fail (self, "codex began a thread without an id");
        return;
    }
    ask (self, STEP_TURN, "turn/start",
         json_pack ("{s:O, s:[{s:s, s:o}]}", "threadId", self->session, "input", "type", "text", "text",
                    rota_conversation_prompt (self)));
}

/* The turn takes it between two of its steps. Before it has begun the word waits for its id. */
static void steer (rota_conversation_t *self)
{
    if (self->steering || !json_is_string (self->turn))
        return;
    self->steering = true;
    ask (self, STEP_STEER, "turn/steer",
         json_pack ("{s:O, s:O, s:[{s:s, s:s}]}", "threadId", self->session, "expectedTurnId", self->turn,
                    "input", "type", "text", "text", rota_conversation_word (self)));
}

/* What came meanwhile was put behind it, and is told again with it: better twice than never. */
static void take_steered (rota_conversation_t *self, const json_t *error)
{
    const char *text = json_string_value (json_object_get (error, "message"));
    self->steering = false;
    if (error)
        rota_conversation_untold (self, text ? text : "codex refused it");
    else
        rota_conversation_told (self);
}

/* False: the line isn't to be printed. */
static bool take_answer (rota_conversation_t *self, const json_t *message)
{
    const json_t *result = json_object_get (message, "result"), *error = json_object_get (message, "error");
    self->awaited = 0;
    if (error && self->step == STEP_RESUME) {
        rota_conversation_lost_session (self, error);
        begin_thread (self);
        return false;
    }
    if (self->step == STEP_INTERRUPT)
        return true;
    if (self->step == STEP_STEER) {
        take_steered (self, error);
        return false;
    }
    if (error)
        rota_conversation_end (self, false);
    else if (self->step == STEP_INITIALIZE)
        open_thread (self);
    else if (self->step == STEP_TURN) {
        self->turn = json_incref (json_object_get (json_object_get (result, "turn"), "id"));
        if (rota_conversation_word (self))
            steer (self);
    } else {
        self->resumed = self->step == STEP_RESUME;
        use_thread (self, result);
    }
    return true;
}

/* ---- the protocol */

static void take_turn_completed (rota_conversation_t *self, const json_t *params)
{
    const char *status = json_string_value (json_object_get (json_object_get (params, "turn"), "status"));
    if (self->session && json_equal (json_object_get (params, "threadId"), self->session))
        rota_conversation_end (self, status && strcmp (status, "completed") == 0);
}

static bool hear (rota_conversation_t *self, json_t *message)
{
    const char *method = json_string_value (json_object_get (message, "method"));
    json_t *id = json_object_get (message, "id");
    if (method && id)
        rota_conversation_refuse (self, id, method);
    else if (method && strcmp (method, "turn/completed") == 0)
        take_turn_completed (self, json_object_get (message, "params"));
    else if (!method && self->awaited && json_is_integer (id) && json_integer_value (id) == self->awaited)
        return take_answer (self, message);
    return true;
}

static bool cancel (rota_conversation_t *self)
{
    if (!json_is_string (self->turn))
        return false;
    ask (self, STEP_INTERRUPT, "turn/interrupt",
         json_pack ("{s:O, s:O}", "threadId", self->session, "turnId", self->turn));
    return true;
}

const rota_protocol_t ROTA_PROTOCOL_CODEX = {
    .name = "codex-rpc", .begin = begin, .hear = hear, .cancel = cancel, .steer = steer};
