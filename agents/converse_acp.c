/* converse_acp.c - the client's side of the Agent Client Protocol, versions 1 and 2.
 *
 * The agent works with its own tools: no capability is offered to it, and what it asks for beyond permissions
 * is refused. A permission is given for once: to a trusted agent always, to another where the tool names the
 * files it touches and all of them lie in the working directory. What a command line does can't be told. What
 * is refused is counted, in lines of ours among the agent's: {"rota":{"denied":N}}.
 *
 * The agent answers initialize with the highest version that it speaks, up to the one that was asked for. In
 * version 2 the answer to a prompt only accepts it: the turn ends with the session's state "idle". As the
 * schema of SDK 2.4.0 (November 2026, a preview) has it, tried against an agent made with that library.
 */
#include "agents/converse_internal.h"

#include "agents/tools.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define HIGHEST_VERSION 2
#define UNSUPPORTED_VERSION (-32022)

enum { STEP_INITIALIZE, STEP_AUTHENTICATE, STEP_LOAD, STEP_NEW, STEP_MODE, STEP_PROMPT };

static void ask (rota_conversation_t *self, int step, const char *method, json_t *params)
{
    self->step = step;
    rota_conversation_request (self, method, params);
}

/* With the fields of both versions: which one counts, the agent decides. */
static void begin (rota_conversation_t *self)
{
    json_t *params =
        json_pack ("{s:i, s:{s:{s:b, s:b}, s:b}, s:{s:s, s:s}}", "protocolVersion", self->options.version,
                   "clientCapabilities", "fs", "readTextFile", 0, "writeTextFile", 0, "terminal", 0,
                   "clientInfo", "name", "rota", "version", ROTA_VERSION);
    if (self->options.version > 1)
        json_object_update_new (params, json_pack ("{s:{}, s:{s:s, s:s}}", "capabilities", "info", "name",
                                                   "rota", "version", ROTA_VERSION));
    ask (self, STEP_INITIALIZE, "initialize", params);
}

/* ---- permissions */

/* Within `directory`, links resolved as far as the path exists; what doesn't exist yet may not climb. `rest`
 * gets the part below the directory. */
static bool is_inside (const char *directory, const char *path, char rest[PATH_MAX])
{
    char whole[PATH_MAX], resolved[PATH_MAX];
    struct stat info;
    size_t length = strlen (directory);
    int size = *path == '/' ? snprintf (whole, sizeof whole, "%s", path)
                            : snprintf (whole, sizeof whole, "%s/%s", directory, path);
    if (size <= 0 || size >= (int)sizeof whole)
        return false;
    size_t cut = (size_t)size;
    while (!realpath (whole, resolved)) {
        /* A link that leads nowhere yet leads somewhere once it is written through. */
        if (errno != ENOENT || lstat (whole, &info) == 0)
            return false;
        char *slash = strrchr (whole, '/');
        if (!slash || slash == whole)
            return false;
        whole[cut] = cut < (size_t)size ? '/' : '\0';
        cut = (size_t)(slash - whole);
        whole[cut] = '\0';
    }
    const char *missing = cut < (size_t)size ? whole + cut + 1 : "";
    if (length == 1) /* the root */
        length = 0;
    if (strncmp (resolved, directory, length) != 0 || (resolved[length] != '/' && resolved[length] != '\0'))
        return false;
    return snprintf (rest, PATH_MAX, "%s/%s/", resolved + length, missing) < PATH_MAX &&
           !strstr (rest, "/../");
}

/* What lies under .git is run by others: hooks, filters. */
static bool may_touch (const rota_conversation_t *self, const json_t *path, bool writes)
{
    char rest[PATH_MAX];
    const char *text = json_string_value (path);
    return text && is_inside (self->directory, text, rest) && !(writes && strstr (rest, "/.git/"));
}

/* A difference, which names the files it is of; in version 2 there may be several. */
static bool may_change (const rota_conversation_t *self, const json_t *item)
{
    static const char *const PATHS[] = {"path", "oldPath"};
    for (size_t i = 0; i < sizeof PATHS / sizeof *PATHS; i++) {
        const json_t *path = json_object_get (item, PATHS[i]);
        if (path && !may_touch (self, path, true))
            return false;
    }
    return true;
}

static bool stays_inside (const rota_conversation_t *self, const json_t *call)
{
    static const char *const KINDS[] = {"read", "search", "edit", "delete", "move"};
    const json_t *locations = json_object_get (call, "locations"), *item;
    const char *kind = json_string_value (json_object_get (call, "kind"));
    size_t i, known = 0, count = sizeof KINDS / sizeof *KINDS;
    while (kind && known < count && strcmp (kind, KINDS[known]) != 0)
        known++;
    if (!kind || known == count || json_array_size (locations) == 0)
        return false;
    for (i = 0; i < json_array_size (locations); i++)
        if (!may_touch (self, json_object_get (json_array_get (locations, i), "path"), known > 1))
            return false;
    for (i = 0; i < json_array_size (json_object_get (call, "content")); i++) {
        item = json_array_get (json_object_get (call, "content"), i);
        if (!may_change (self, item))
            return false;
        for (size_t k = 0; k < json_array_size (json_object_get (item, "changes")); k++)
            if (!may_change (self, json_array_get (json_object_get (item, "changes"), k)))
                return false;
    }
    return true;
}

static json_t *find_option (const json_t *options, const char *kind)
{
    for (size_t i = 0; i < json_array_size (options); i++) {
        const json_t *option = json_array_get (options, i);
        const char *text = json_string_value (json_object_get (option, "kind"));
        if (text && strcmp (text, kind) == 0)
            return json_object_get (option, "optionId");
    }
    return NULL;
}

static void tell_denied (rota_conversation_t *self)
{
    json_t *line = json_pack ("{s:{s:i}}", "rota", "denied", ++self->denied);
    if (line)
        rota_conversation_print (line);
    json_decref (line);
}

/* Version 2 names a subject, which may be a command instead of a tool. */
static json_t *decide (rota_conversation_t *self, const json_t *params)
{
    const json_t *subject = self->version > 1 ? json_object_get (params, "subject") : params;
    bool allowed = self->options.trust || stays_inside (self, json_object_get (subject, "toolCall"));
    if (!allowed && self->stage == ROTA_CONVERSE_TALKING)
        tell_denied (self);
    json_t *choice =
        find_option (json_object_get (params, "options"), allowed ? "allow_once" : "reject_once");
    if (!json_is_string (choice) || self->stage != ROTA_CONVERSE_TALKING)
        return json_pack ("{s:{s:s}}", "outcome", "outcome", "cancelled");
    return json_pack ("{s:{s:s, s:O}}", "outcome", "outcome", "selected", "optionId", choice);
}

/* ---- answers */

static void prompt (rota_conversation_t *self)
{
    self->working = true;
    ask (self, STEP_PROMPT, "session/prompt",
         json_pack ("{s:O, s:[{s:s, s:o}]}", "sessionId", self->session, "prompt", "type", "text", "text",
                    rota_conversation_prompt (self)));
}

/* A turn can't be told anything: it is cancelled, and the next one begins with the word. */
static void steer (rota_conversation_t *self)
{
    if (self->steering || !self->working)
        return;
    self->steering = true;
    rota_conversation_notify (self, "session/cancel", json_pack ("{s:O}", "sessionId", self->session));
}

/* The turn has ended, cancelled or just by itself: what is to be told comes next. `message` is how it ended.
 */
static void go_on (rota_conversation_t *self, const json_t *message)
{
    json_t *text =
        json_pack ("s+",
                   "A word from the person in charge; take it into account, and go on with the task to its "
                   "end.\n\n",
                   rota_conversation_word (self));
    rota_conversation_print (message);
    rota_conversation_told (self);
    self->steering = self->accepted = self->ran = false;
    self->working = true;
    ask (self, STEP_PROMPT, "session/prompt",
         json_pack ("{s:O, s:[{s:s, s:o}]}", "sessionId", self->session, "prompt", "type", "text", "text",
                    text));
}

/* The option of category "mode" among those that came with the session. */
static const char *find_mode_option (const json_t *session)
{
    const json_t *options = json_object_get (session, "configOptions");
    for (size_t i = 0; i < json_array_size (options); i++) {
        const json_t *option = json_array_get (options, i);
        const char *category = json_string_value (json_object_get (option, "category"));
        if (category && strcmp (category, "mode") == 0)
            return json_string_value (json_object_get (option, "configId"));
    }
    return NULL;
}

/* `session` is what it was opened with. */
static void use_session (rota_conversation_t *self, const json_t *session)
{
    const char *mode = self->options.mode, *option = find_mode_option (session);
    if (!mode)
        prompt (self);
    else if (self->version == 1)
        ask (self, STEP_MODE, "session/set_mode",
             json_pack ("{s:O, s:s}", "sessionId", self->session, "modeId", mode));
    else if (option)
        ask (self, STEP_MODE, "session/set_config_option",
             json_pack ("{s:O, s:s, s:s, s:s}", "sessionId", self->session, "configId", option, "type", "id",
                        "value", mode));
    else
        rota_conversation_fail (self, "the agent has no modes, also not %s (setting agents.acp_mode)", mode);
}

/* What version 2, a preview, makes of them may still change. */
static json_t *tools_of (const rota_conversation_t *self)
{
    return self->options.tools && self->version == 1 ? rota_tools_for_acp (self->options.tools)
                                                     : json_array ();
}

static void begin_session (rota_conversation_t *self)
{
    ask (self, STEP_NEW, "session/new",
         json_pack ("{s:s, s:o}", "cwd", self->directory, "mcpServers", tools_of (self)));
}

static void open_session (rota_conversation_t *self)
{
    if (self->options.session && self->can_load)
        ask (self, STEP_LOAD, self->version > 1 ? "session/resume" : "session/load",
             json_pack ("{s:s, s:s, s:o}", "sessionId", self->options.session, "cwd", self->directory,
                        "mcpServers", tools_of (self)));
    else {
        if (self->options.session)
            rota_conversation_lost_session (self, NULL);
        begin_session (self);
    }
}

static void take_initialized (rota_conversation_t *self, const json_t *result)
{
    json_int_t version = json_integer_value (json_object_get (result, "protocolVersion"));
    if (version < 1 || version > self->options.version) {
        rota_conversation_fail (self, "the agent speaks version %" JSON_INTEGER_FORMAT " of ACP, not %d%s",
                                version, self->options.version,
                                version > 1 && version <= HIGHEST_VERSION ? ": set agents.acp_version" : "");
        return;
    }
    self->version = (int)version;
    self->can_load =
        version > 1 || /* there every agent can */
        json_is_true (json_object_get (json_object_get (result, "agentCapabilities"), "loadSession"));
    if (self->options.authenticate)
        ask (self, STEP_AUTHENTICATE, version > 1 ? "auth/login" : "authenticate",
             json_pack ("{s:s}", "methodId", self->options.authenticate));
    else
        open_session (self);
}

/* The answer doesn't name the session, which readers want to know: it is printed with it. */
static void take_loaded (rota_conversation_t *self, json_t *message, const json_t *error)
{
    json_t *result = json_object_get (message, "result");
    if (error) {
        rota_conversation_lost_session (self, error);
        begin_session (self);
        return;
    }
    self->session = json_string (self->options.session);
    self->resumed = true;
    if (!json_is_object (result)) {
        json_object_set_new (message, "result", json_object ());
        result = json_object_get (message, "result");
    }
    json_object_set (result, "sessionId", self->session);
    rota_conversation_print (message);
    use_session (self, result);
}

static void take_session (rota_conversation_t *self, const json_t *result)
{
    self->session = json_incref (json_object_get (result, "sessionId"));
    if (json_is_string (self->session))
        use_session (self, result);
    else
        rota_conversation_fail (self, "the agent began a session without an id");
}

/* False: the line isn't to be printed. */
static bool take_answer (rota_conversation_t *self, json_t *message)
{
    const json_t *result = json_object_get (message, "result"), *error = json_object_get (message, "error");
    self->awaited = 0;
    self->working &= self->version > 1 && !error;
    if (self->step == STEP_PROMPT && !error && self->version == 1 && rota_conversation_word (self)) {
        go_on (self, message);
        return false;
    }
    if (self->step == STEP_LOAD) {
        take_loaded (self, message, error);
        return false;
    }
    if (error && self->step == STEP_INITIALIZE &&
        json_integer_value (json_object_get (error, "code")) == UNSUPPORTED_VERSION)
        rota_conversation_fail (self,
                                "the agent speaks no version of ACP up to %d (setting agents.acp_version)",
                                self->options.version);
    else if (error)
        rota_conversation_end (self, false);
    else if (self->step == STEP_INITIALIZE)
        take_initialized (self, result);
    else if (self->step == STEP_AUTHENTICATE)
        open_session (self);
    else if (self->step == STEP_NEW)
        take_session (self, result);
    else if (self->step == STEP_MODE)
        prompt (self);
    else if (self->version == 1)
        rota_conversation_end (self, json_is_string (json_object_get (result, "stopReason")));
    else
        self->accepted = true;
    return true;
}

/* The session's state, in version 2. One that was gone on with may say again how its last turn ended: that is
 * no end of this one, which has run first. False: the line isn't to be printed. */
static bool take_state (rota_conversation_t *self, const json_t *message, const json_t *update)
{
    const char *state = json_string_value (json_object_get (update, "state"));
    const char *reason = json_string_value (json_object_get (update, "stopReason"));
    if (!state || !self->accepted)
        return false;
    if (strcmp (state, "running") == 0)
        self->ran = true;
    if (strcmp (state, "idle") != 0)
        return true;
    if (!self->ran && (self->resumed || !reason))
        return false;
    self->working = false;
    if (rota_conversation_word (self) && !(reason && strcmp (reason, "error") == 0)) {
        go_on (self, message);
        return false;
    }
    rota_conversation_end (self, reason && strcmp (reason, "error") != 0);
    return true;
}

/* False: the line isn't to be printed. A session that is loaded is told from its beginning: that is no news.
 */
static bool take_update (rota_conversation_t *self, const json_t *message)
{
    const json_t *update = json_object_get (json_object_get (message, "params"), "update");
    const char *kind = json_string_value (json_object_get (update, "sessionUpdate"));
    if (self->step == STEP_LOAD)
        return false;
    return self->version == 1 || !kind || strcmp (kind, "state_update") != 0 ||
           take_state (self, message, update);
}

/* ---- the protocol */

static bool hear (rota_conversation_t *self, json_t *message)
{
    const char *method = json_string_value (json_object_get (message, "method"));
    json_t *id = json_object_get (message, "id");
    if (method && id && strcmp (method, "session/request_permission") == 0)
        rota_conversation_answer (self, id, decide (self, json_object_get (message, "params")));
    else if (method && id)
        rota_conversation_refuse (self, id, method);
    else if (method)
        return strcmp (method, "session/update") != 0 || take_update (self, message);
    else if (self->awaited && json_is_integer (id) && json_integer_value (id) == self->awaited)
        return take_answer (self, message);
    return true;
}

static bool cancel (rota_conversation_t *self)
{
    if (!self->working)
        return false;
    rota_conversation_notify (self, "session/cancel", json_pack ("{s:O}", "sessionId", self->session));
    return true;
}

const rota_protocol_t ROTA_PROTOCOL_ACP = {
    .name = "acp", .marked = true, .begin = begin, .hear = hear, .cancel = cancel, .steer = steer};
