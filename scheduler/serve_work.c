/* What agents say: who they are, what they hold, what came of it; and where an attempt's output lies. */
#include "scheduler/service_internal.h"

#include "bus/clock.h"
#include "bus/log.h"
#include "bus/names.h"

#define MAX_SLOTS 10000
#define MAX_HELD 100000
#define AGENT_NAME_MAX_BYTES 200
#define MAX_COMMENTS 100
#define MAX_SCORES 16

/* --------------------------------------------------------------------------------------- presence */

static bool is_agent_peer (const service_t *self, const uint8_t instance[16])
{
    for (size_t i = 0; i < self->agent_peer_count; i++)
        if (memcmp (self->agent_peers[i], instance, 16) == 0)
            return true;
    return false;
}

static void add_agent_peer (service_t *self, const uint8_t instance[16])
{
    if (is_agent_peer (self, instance))
        return;
    uint8_t (*grown)[16] = realloc (self->agent_peers, (self->agent_peer_count + 1) * 16);
    if (!grown)
        return;
    self->agent_peers = grown;
    memcpy (self->agent_peers[self->agent_peer_count++], instance, 16);
}

static void drop_agent_peer (service_t *self, const uint8_t instance[16])
{
    for (size_t i = 0; i < self->agent_peer_count; i++)
        if (memcmp (self->agent_peers[i], instance, 16) == 0) {
            memmove (self->agent_peers[i], self->agent_peers[--self->agent_peer_count], 16);
            return;
        }
}

/* An agent that this scheduler doesn't know (it was started after it): it is asked to say again who it is. */
static void ask_to_register (service_t *self, const uint8_t instance[16])
{
    Rota__Error error = ROTA__ERROR__INIT;
    error.has_code = error.has_text = true;
    error.code = ERROR_CODE (HELLO_REQUIRED);
    error.text = rota_bytes ("this scheduler is new: register");
    rota_service_send (self, instance, ROTA_MESSAGE_ERROR, &error.base);
}

static void peer_gone (service_t *self, const uint8_t instance[16])
{
    rota_agent_t agent = rota_core_agent_find (self->core, instance);
    drop_agent_peer (self, instance);
    if (agent != ROTA_NONE)
        rota_core_agent_gone (self->core, agent, rota_service_now_ms (self));
    rota_import_gone (self, instance);
}

HANDLER (presence)
{
    const Rota__Presence *presence = (const Rota__Presence *)message;
    if (from->role != ROTA__ROLE__ROLE_BROKER)
        return;
    if (presence->complete) {
        self->agent_peer_count = 0;
        for (rota_agent_t i = 0; i < rota_core_agent_count (self->core); i++) {
            rota_core_agent_view_t view;
            rota_core_agent_view (self->core, i, &view);
            bool there = !view.connected;
            for (size_t p = 0; p < presence->n_peers && !there; p++)
                there = presence->peers[p]->instance.len == 16 &&
                        memcmp (presence->peers[p]->instance.data, view.instance, 16) == 0;
            if (!there)
                rota_core_agent_gone (self->core, i, rota_service_now_ms (self));
        }
    }
    for (size_t i = 0; i < presence->n_peers; i++) {
        const Rota__Peer *peer = presence->peers[i];
        if (peer->instance.len != 16)
            continue;
        if (peer->gone) {
            peer_gone (self, peer->instance.data);
        } else if (peer->role == ROTA__ROLE__ROLE_AGENT) {
            add_agent_peer (self, peer->instance.data);
            if (rota_core_agent_find (self->core, peer->instance.data) == ROTA_NONE)
                ask_to_register (self, peer->instance.data);
        }
    }
}

/* ------------------------------------------------------------------------------------ registering */

static rota_held_t *read_held (service_t *self, Rota__Held *const *list, size_t count)
{
    rota_held_t *held = rota_arena_alloc (self->arena, (count + 1) * sizeof *held);
    for (size_t i = 0; held && i < count; i++)
        held[i] = (rota_held_t){
            .node =
                list[i]->key > 0 && list[i]->key < ROTA_NONE ? (rota_node_t)(list[i]->key - 1) : ROTA_NONE,
            .attempt = list[i]->attempt,
            .finished = list[i]->finished,
        };
    return held;
}

static char *text_of (service_t *self, ProtobufCBinaryData bytes)
{
    char *text = rota_arena_alloc (self->arena, bytes.len + 1);
    if (text) {
        if (bytes.len)
            memcpy (text, bytes.data, bytes.len);
        text[bytes.len] = '\0';
    }
    return text;
}

static bool is_plain (ProtobufCBinaryData bytes, size_t max)
{
    return bytes.len > 0 && bytes.len <= max &&
           rota_text_is_valid ((const char *)bytes.data, bytes.len, false);
}

static const char *wrong_in (const Rota__Register *it)
{
    if (!is_plain (it->name, AGENT_NAME_MAX_BYTES) || !is_plain (it->kind, AGENT_NAME_MAX_BYTES))
        return "an agent needs a name and a kind";
    if (it->host.len > 255 || !rota_text_is_valid ((const char *)it->host.data, it->host.len, false))
        return "the host's name is not valid";
    if (it->slots < 1 || it->slots > MAX_SLOTS)
        return "slots must be 1 to 10000";
    if (it->problem.len > 1024 ||
        !rota_text_is_valid ((const char *)it->problem.data, it->problem.len, false))
        return "its problem is not a valid text";
    if (it->account.len && !is_plain (it->account, AGENT_NAME_MAX_BYTES))
        return "the account's name is not valid";
    if (it->n_held > MAX_HELD || it->n_capabilities > 64)
        return "too long a list";
    for (size_t i = 0; i < it->n_capabilities; i++)
        if (!is_plain (it->capabilities[i], 100))
            return "a capability is not valid";
    return NULL;
}

/* The same name from another process: only when the old one is gone, else both would run under one name. */
static bool name_is_taken (const service_t *self, const char *name, const uint8_t instance[16])
{
    for (rota_agent_t i = 0; i < rota_core_agent_count (self->core); i++) {
        rota_core_agent_view_t view;
        rota_core_agent_view (self->core, i, &view);
        if (strcmp (view.name, name) == 0)
            return view.connected && memcmp (view.instance, instance, 16) != 0 &&
                   is_agent_peer (self, view.instance);
    }
    return false;
}

static void note_agent (service_t *self, rota_agent_t agent, const char *version)
{
    while (self->agent_versions.count <= agent)
        if (!VPUSH (self, agent_versions))
            return;
    free (self->agent_versions.items[agent]);
    self->agent_versions.items[agent] = strdup (version);
    rota_agent_t *changed = VPUSH (self, agents_changed);
    if (changed)
        *changed = agent;
}

static void note_problem (service_t *self, rota_agent_t agent, const char *problem)
{
    while (self->agent_problems.count <= agent)
        if (!VPUSH (self, agent_problems))
            return;
    free (self->agent_problems.items[agent]);
    self->agent_problems.items[agent] = problem ? strdup (problem) : NULL;
}

/* Whether nothing newer of the host came before. */
static bool is_news (service_t *self, const rota_envelope_t *from)
{
    return !from->has_conversation ||
           rota_core_agent_is_news (self->core, from->sender, from->conversation, from->sequence);
}

HANDLER (register)
{
    const Rota__Register *it = (const Rota__Register *)message;
    const char *wrong = wrong_in (it);
    if (wrong) {
        rota_service_refuse (self, from, ERROR_CODE (INVALID), "%s", wrong);
        return;
    }
    const char *names[64];
    rota_core_agent_t agent = {
        .name = text_of (self, it->name),
        .kind = text_of (self, it->kind),
        .host = text_of (self, it->host),
        .slots = it->slots,
        .capabilities = names,
        .capability_count = it->n_capabilities,
        .drain = it->drain,
        .paid = it->paid,
        .problem = it->problem.len ? text_of (self, it->problem) : NULL,
        .account = it->account.len ? text_of (self, it->account) : NULL,
    };
    memcpy (agent.instance, from->sender, 16);
    char *version = text_of (self, it->program_version);
    rota_held_t *held = read_held (self, it->held, it->n_held);
    bool memory = agent.name && agent.kind && agent.host && version && held;
    for (size_t i = 0; i < it->n_capabilities && memory; i++)
        memory = (names[i] = text_of (self, it->capabilities[i])) != NULL;
    for (size_t i = 0; i < it->n_capabilities && memory; i++)
        agent.coordinates |= strcmp (names[i], "prompt") == 0;
    if (it->has_can_coordinate)
        agent.coordinates &= it->can_coordinate;
    if (!memory) {
        rota_service_refuse (self, from, ERROR_CODE (RETRY_LATER), "no memory");
        return;
    }
    if (name_is_taken (self, agent.name, agent.instance)) {
        rota_service_refuse (self, from, ERROR_CODE (RETRY_LATER),
                             "an agent %s is connected already: choose another name, or "
                             "wait until it is gone",
                             agent.name);
        return;
    }
    rota_agent_t index;
    if (!is_news (self, from)) {
        if (rota_core_agent_find (self->core, from->sender) == ROTA_NONE)
            ask_to_register (self, from->sender);
        return; /* who waits for the answer of a newer one gets that */
    }
    add_agent_peer (self, from->sender);
    if (rota_core_agent_register (self->core, &agent, held, it->n_held, rota_service_now_ms (self), &index) <
        0)
        return;
    note_agent (self, index, version);
    note_problem (self, index, agent.problem);
    Rota__Registered reply = ROTA__REGISTERED__INIT;
    reply.has_heartbeat_ms = reply.has_lease_ms = reply.has_scheduler_epoch = true;
    reply.heartbeat_ms =
        (uint32_t)rota_setting_duration_ms (self->config.settings, ROTA_SETTING_SCHEDULER_AGENT_HEARTBEAT);
    reply.lease_ms = (uint32_t)self->policy.lease_ms;
    reply.scheduler_epoch = self->epoch;
    rota_service_answer (self, from, ROTA_MESSAGE_REGISTERED, &reply.base);
}

/* ROTA_NONE after having asked who speaks. */
static rota_agent_t known_agent (service_t *self, const rota_envelope_t *from)
{
    rota_agent_t agent = rota_core_agent_find (self->core, from->sender);
    if (agent == ROTA_NONE)
        ask_to_register (self, from->sender);
    return agent;
}

HANDLER (accepted)
{
    const Rota__Accepted *accepted = (const Rota__Accepted *)message;
    rota_agent_t agent = known_agent (self, from);
    is_news (self, from);
    for (size_t i = 0; i < accepted->n_attempts && agent != ROTA_NONE; i++) {
        const Rota__Held *it = accepted->attempts[i];
        if (it->key > 0 && it->key <= rota_core_count (self->core))
            rota_core_accepted (self->core, agent, (rota_node_t)(it->key - 1), it->attempt,
                                rota_service_now_ms (self));
    }
}

static void note_use (service_t *self, rota_agent_t agent, const Rota__AgentHeartbeat *it)
{
    while (self->agent_uses.count <= agent)
        if (!VPUSH (self, agent_uses))
            return;
    self->agent_uses.items[agent] = (agent_use_t){
        .known = it->has_resident_bytes,
        .leaving = it->draining,
        .use = {.cpu_s = it->cpu_seconds, .resident_bytes = it->resident_bytes, .open_fds = it->open_fds}};
}

HANDLER (agent_heartbeat)
{
    const Rota__AgentHeartbeat *it = (const Rota__AgentHeartbeat *)message;
    rota_agent_t agent = known_agent (self, from);
    rota_held_t *held = it->n_held <= MAX_HELD ? read_held (self, it->held, it->n_held) : NULL;
    rota_core_agent_view_t view;
    if (agent == ROTA_NONE || !held || !is_news (self, from))
        return;
    /* Known from the store alone, as after a commit that failed: who it is now must be said anew. */
    rota_core_agent_view (self->core, agent, &view);
    if (!view.connected) {
        ask_to_register (self, from->sender);
        return;
    }
    note_use (self, agent, it);
    rota_core_agent_heartbeat (self->core, agent, held, it->n_held, it->draining, it->full,
                               rota_service_now_ms (self));
    Rota__AgentHeartbeatReply reply = ROTA__AGENT_HEARTBEAT_REPLY__INIT;
    reply.has_lease_ms = true;
    reply.lease_ms = (uint32_t)self->policy.lease_ms;
    rota_service_answer (self, from, ROTA_MESSAGE_AGENT_HEARTBEAT_REPLY, &reply.base);
}

/* ---------------------------------------------------------------------------------------- reports */

/* The texts of a result are shown to people and stored: what is too long or not valid is left out. */
static void tame (Rota__Result *result)
{
    if (result->message.len > 1024)
        result->message.len = 1024;
    if (result->last_output.len > 2048)
        result->last_output.len = 2048;
    if (result->verdict && result->verdict->n_comments > MAX_COMMENTS)
        result->verdict->n_comments = MAX_COMMENTS;
    if (result->verdict && result->verdict->n_scores > MAX_SCORES)
        result->verdict->n_scores = MAX_SCORES;
    while (result->message.len &&
           !rota_text_is_valid ((const char *)result->message.data, result->message.len, true))
        result->message.len--;
}

/* Who judged whom is known here alone. */
static void mark_vendor (const service_t *self, rota_node_t node, Rota__Result *result)
{
    rota_core_node_t it;
    rota_core_agent_view_t author, judge;
    if (!result->verdict || !rota_core_get (self->core, node, &it) || it.author == ROTA_NONE ||
        it.agent == ROTA_NONE)
        return;
    rota_core_agent_view (self->core, it.author, &author);
    rota_core_agent_view (self->core, it.agent, &judge);
    result->verdict->has_same_vendor = true;
    result->verdict->same_vendor = strcmp (author.kind, judge.kind) == 0;
}

static bool is_of_this_store (const service_t *self, const Rota__AttemptReport *report)
{
    return !report->has_store || (report->store.len == 16 &&
                                  memcmp (report->store.data, rota_store_incarnation (self->store), 16) == 0);
}

static void void_verdict (Rota__Result *result)
{
    result->verdict = NULL;
    result->result_class = RESULT (KILLED);
    result->has_message = true;
    result->message = rota_bytes ("its verdict came too late and is not used");
}

static Rota__ErrorCode take_report (service_t *self, const Rota__AttemptReport *report)
{
    if (!is_of_this_store (self, report)) {
        rota_log (ROTA_LOG_WARNING, "attempt.quarantined", "key=%llu attempt=%u",
                  (unsigned long long)report->key, report->attempt);
        return ERROR_CODE (STALE);
    }
    if (!report->result || report->key == 0 || report->key > rota_core_count (self->core))
        return ERROR_CODE (NOT_FOUND);
    rota_settled_t settled;
    rota_session_t named;
    Rota__Result *result = report->result;
    tame (result);
    if (result->session_lost && rota_store_session (self->store, (rota_node_t)(report->key - 1), &named) < 0)
        result->session_lost = false;
    mark_vendor (self, (rota_node_t)(report->key - 1), result);
    rota_quality_note (self, (rota_node_t)(report->key - 1), report->attempt, result);
    /* From the wall clock to the core's, which never jumps. */
    if (result->has_until_ms && result->until_ms > 0)
        result->until_ms += rota_service_now_ms (self) - rota_clock_wall_ms ();
    for (size_t i = 0; result->usage && i < result->usage->n_windows; i++)
        result->usage->windows[i]->resets_ms += rota_service_now_ms (self) - rota_clock_wall_ms ();
    rota_spend_settle (self, (rota_node_t)(report->key - 1), result, &settled);
    int r = rota_core_report_under (self->core, (rota_node_t)(report->key - 1), report->attempt,
                                    report->coordinator_epoch, result, rota_service_now_ms (self));
    if (r == -ESTALE && result->verdict) /* what is kept of it says nothing that counts */
        void_verdict (result);
    if (r == 0 && result->work)
        rota_service_note_foreign (self, (rota_node_t)(report->key - 1), result->work);
    if (r == 0 && result->work)
        rota_claims_learn (self, (rota_node_t)(report->key - 1), result->work);
    rota_settled_t *kept = r == 0 ? VPUSH (self, settled) : NULL;
    if (kept)
        *kept = settled;
    return r == 0 ? 0 : r == -ESTALE ? ERROR_CODE (STALE) : ERROR_CODE (NOT_FOUND);
}

HANDLER (report)
{
    const Rota__Report *it = (const Rota__Report *)message;
    Rota__ReportReply reply = ROTA__REPORT_REPLY__INIT;
    Rota__ReportStatus *items = rota_arena_alloc (self->arena, (it->n_reports + 1) * sizeof *items);
    Rota__ReportStatus **list =
        rota_arena_alloc (self->arena, (it->n_reports + 1) * sizeof (Rota__ReportStatus *));
    rota_agent_t agent = known_agent (self, from);
    if (!items || !list || agent == ROTA_NONE)
        return; /* sent again */
    for (size_t i = 0; i < it->n_reports; i++) {
        const Rota__AttemptReport *report = it->reports[i];
        Rota__ErrorCode refused = take_report (self, report);
        if (!refused)
            rota_service_take_notes (self, agent, report);
        if (report->result)
            report->result->n_notes = 0; /* they are kept on their own */
        rota__report_status__init (&items[i]);
        items[i].has_key = items[i].has_attempt = true;
        items[i].key = report->key;
        items[i].attempt = report->attempt;
        items[i].has_refused = refused != 0;
        items[i].refused = refused;
        items[i].has_store = report->has_store;
        items[i].store = report->store;
        list[i] = &items[i];
    }
    reply.n_reports = it->n_reports;
    reply.reports = list;
    rota_service_answer (self, from, ROTA_MESSAGE_REPORT_REPLY, &reply.base);
}

/* ----------------------------------------------------------------------------------------- output */

typedef struct {
    uint32_t wanted;
    uint32_t number;
    rota_agent_t agent;
} found_t;

static void find_attempt (void *owner, const rota_stored_attempt_t *attempt)
{
    found_t *found = owner;
    if (found->number || (found->wanted && attempt->number != found->wanted))
        return;
    found->number = attempt->number;
    found->agent = attempt->agent;
}

HANDLER (output)
{
    const Rota__OutputQuery *query = (const Rota__OutputQuery *)message;
    rota_node_t node = rota_core_find (self->core, (const char *)query->task.data, query->task.len);
    rota_core_node_t it;
    if (!rota_core_get (self->core, node, &it) || it.kind != NODE (TASK)) {
        rota_service_refuse (self, from, ERROR_CODE (NOT_FOUND), "there is no task %.*s",
                             (int)query->task.len, (const char *)query->task.data);
        return;
    }
    found_t found = {.wanted = query->attempt, .agent = ROTA_NONE};
    if (it.agent != ROTA_NONE && (!query->has_attempt || query->attempt == it.attempt))
        found = (found_t){.number = it.attempt, .agent = it.agent};
    else
        rota_store_attempts (self->store, node, 1000, find_attempt, &found);
    if (!found.number) {
        rota_service_refuse (self, from, ERROR_CODE (NOT_FOUND),
                             it.attempt ? "task %.*s has no such attempt" : "task %.*s was not started yet",
                             (int)query->task.len, (const char *)query->task.data);
        return;
    }
    rota_core_agent_view_t view = {.host = ""};
    Rota__OutputReply reply = ROTA__OUTPUT_REPLY__INIT;
    if (found.agent != ROTA_NONE)
        rota_core_agent_view (self->core, found.agent, &view);
    reply.has_attempt = reply.has_host = true;
    reply.attempt = found.number;
    reply.host = rota_bytes (view.host);
    reply.has_agent_instance = view.connected;
    reply.agent_instance = rota_bytes_n (view.instance, 16);
    rota_service_answer (self, from, ROTA_MESSAGE_OUTPUT_REPLY, &reply.base);
}

/* Where the task is at work; the word itself goes to that host. */
HANDLER (tell)
{
    const Rota__Tell *tell = (const Rota__Tell *)message;
    rota_node_t node = rota_core_find (self->core, (const char *)tell->task.data, tell->task.len);
    rota_core_node_t it;
    if (!rota_core_get (self->core, node, &it) || it.kind != NODE (TASK)) {
        rota_service_refuse (self, from, ERROR_CODE (NOT_FOUND), "there is no task %.*s", (int)tell->task.len,
                             (const char *)tell->task.data);
        return;
    }
    rota_core_agent_view_t view = {.connected = false};
    if (it.leased)
        rota_core_agent_view (self->core, it.agent, &view);
    if (!view.connected) {
        rota_service_refuse (
            self, from, ERROR_CODE (REFUSED),
            it.leased ? "%.*s is at work on a host that can't be reached now"
                      : "no agent is at work on %.*s now; what the next one should know goes into its "
                        "description or prompt",
            (int)tell->task.len, (const char *)tell->task.data);
        return;
    }
    Rota__TellReply reply = ROTA__TELL_REPLY__INIT;
    reply.has_attempt = reply.has_agent = reply.has_agent_instance = true;
    reply.attempt = it.attempt;
    reply.agent = rota_bytes (view.name);
    reply.agent_instance = rota_bytes_n (view.instance, 16);
    rota_service_answer (self, from, ROTA_MESSAGE_TELL_REPLY, &reply.base);
}
