/* `rota why`: what keeps a task from running, or made it end, in words, with times. */
#include "scheduler/why.h"

#include "bus/clock.h"

#define TEXT_BYTES 1024

typedef rota_why_t why_t;

static const struct {
    const char *code, *todo;
} REASONS[ROTA_WHY_REASONS] = {
#define WHY(ID, code, when, todo) [ROTA_WHY_##ID] = {code, todo},
#include "scheduler/reasons.def"
};

__attribute__ ((format (printf, 4, 5))) static void say (why_t *self, rota_why_reason_t id, int64_t until_ms,
                                                         const char *format, ...)
{
    char text[TEXT_BYTES];
    if (self->reply.n_reasons >= ROTA_WHY_MAX)
        return;
    va_list args;
    va_start (args, format);
    int length = vsnprintf (text, sizeof text, format, args);
    va_end (args);
    size_t kept = length < 0 ? 0 : (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
    const char *todo = REASONS[id].todo;
    size_t size = kept + (*todo ? 2 + strlen (todo) : 0);
    char *copy = rota_arena_alloc (self->service->arena, size + 1);
    if (!copy)
        return;
    snprintf (copy, size + 1, "%.*s%s%s", (int)kept, text, *todo ? "; " : "", todo);
    Rota__WaitReason *reason = &self->items[self->reply.n_reasons];
    rota__wait_reason__init (reason);
    reason->has_code = reason->has_text = true;
    reason->code = rota_bytes (REASONS[id].code);
    reason->text = rota_bytes_n (copy, size);
    reason->has_until_ms = until_ms > 0;
    reason->until_ms = until_ms;
    self->ids[self->reply.n_reasons] = id;
    self->list[self->reply.n_reasons++] = reason;
}
#define SAY(ID, until_ms, ...) say (self, ROTA_WHY_##ID, until_ms, __VA_ARGS__)

/* ------------------------------------------------------------------------------------------ times */

typedef struct {
    int64_t time_ms;
} moved_t;

static bool note_move (void *owner, const rota_stored_event_t *stored)
{
    moved_t *moved = owner;
    if (stored->event.type != EVENT (TASK_MOVED))
        return true;
    moved->time_ms = stored->time_ms;
    return false;
}

#define SINCE_BYTES (ROTA_CLOCK_DURATION_BYTES + ROTA_CLOCK_ISO_BYTES + 16)
#define EVENTS_LOOKED_AT 50

/* " for 3m 2s" of `from_ms`; "" when that is not known. */
static const char *since_of (const service_t *service, int64_t from_ms, char ret_text[SINCE_BYTES])
{
    char gone[ROTA_CLOCK_DURATION_BYTES];
    int64_t now_ms = rota_service_now_ms (service);
    ret_text[0] = '\0';
    if (from_ms <= 0)
        return ret_text;
    rota_clock_duration (now_ms > from_ms ? now_ms - from_ms : 0, gone);
    snprintf (ret_text, SINCE_BYTES, " for %s", gone);
    return ret_text;
}

/* ", since 2026-...", of its last move; "" when the log no longer has it. */
static const char *moved_at (service_t *service, rota_node_t node, char ret_text[SINCE_BYTES])
{
    moved_t moved = {0};
    char at[ROTA_CLOCK_ISO_BYTES];
    ret_text[0] = '\0';
    rota_store_events (service->store, 0, EVENTS_LOOKED_AT, node, true, note_move, &moved);
    if (!moved.time_ms)
        return ret_text;
    rota_clock_iso (moved.time_ms, at);
    snprintf (ret_text, SINCE_BYTES, ", since %s", at);
    return ret_text;
}

static void add_to_chain (why_t *self, rota_node_t node)
{
    rota_core_node_t it;
    if (self->reply.n_chain < ROTA_WHY_MAX && rota_core_get (self->service->core, node, &it))
        self->chain[self->reply.n_chain++] = rota_bytes_n (it.id, it.id_length);
}

/* ---------------------------------------------------------------------------------- prerequisites */

typedef struct {
    const service_t *service;
    rota_node_t worst;
    int rank;
    size_t unmet;
} search_t;

/* What holds it most: something dead before something that needs a person before something that runs or
 * waits. */
static int rank_of (const service_t *self, rota_node_t node)
{
    if (rota_core_is_dead (self->core, node))
        return 4;
    switch (rota_core_place (self->core, node)) {
    case ROTA_PLACE_HUMAN:
        return 3;
    case ROTA_PLACE_RUNNING:
        return 2;
    default:
        return 1;
    }
}

static void look_at (search_t *search, rota_node_t node)
{
    const rota_core_t *core = search->service->core;
    if (rota_core_is_satisfied (core, node))
        return;
    search->unmet++;
    int rank = rank_of (search->service, node);
    if (rank <= search->rank)
        return;
    search->rank = rank;
    search->worst = node;
}

static void look_at_prerequisite (void *owner, rota_node_t node, Rota__DependencyType type)
{
    if (type == DEPENDENCY (BLOCKS))
        look_at (owner, node);
}

static void look_at_members (search_t *search, rota_node_t group)
{
    rota_core_node_t it;
    for (rota_node_t i = 0; i < rota_core_count (search->service->core); i++)
        if (rota_core_get (search->service->core, i, &it) && it.parent == group &&
            !rota_core_is_staged (search->service->core, i))
            look_at (search, i);
}

/* The prerequisite that holds `node` most, its own or one of its groups'; for a group the member that does.
 */
static search_t find_worst (service_t *self, rota_node_t node)
{
    search_t search = {.service = self, .worst = ROTA_NONE};
    rota_core_node_t it;
    rota_core_get (self->core, node, &it);
    if (it.kind != NODE (TASK)) {
        look_at_members (&search, node);
        return search;
    }
    for (rota_node_t at = node; at != ROTA_NONE; at = it.parent) {
        rota_store_dependencies (self->store, at, look_at_prerequisite, &search);
        rota_core_get (self->core, at, &it);
    }
    return search;
}

static const char *state_of (const service_t *self, rota_node_t node, const rota_core_node_t *it)
{
    if (it->kind != NODE (TASK))
        return rota_core_is_dead (self->core, node) ? "can't complete as things are" : "is not complete";
    switch (rota_core_place (self->core, node)) {
    case ROTA_PLACE_RUNNING:
        return "is running";
    case ROTA_PLACE_HUMAN:
        return "awaits a person";
    case ROTA_PLACE_READY:
    case ROTA_PLACE_PARKED:
        return "is ready and waits for a slot";
    case ROTA_PLACE_HELD:
        return "is ready and waits for a budget";
    case ROTA_PLACE_CLAIMED:
        return "waits for one that touches the same files";
    case ROTA_PLACE_DELAYED:
        return "waits for a time";
    case ROTA_PLACE_UNREACHABLE:
        return "can't be reached";
    case ROTA_PLACE_WAITING:
        return "waits itself";
    default:
        return it->status == STATUS (BLOCKED)  ? "is blocked"
               : it->status == STATUS (FAILED) ? "failed"
                                               : "was cancelled";
    }
}

static void explain_waiting (why_t *self, rota_node_t node)
{
    service_t *service = self->service;
    search_t search = find_worst (service, node);
    rota_core_node_t it;
    if (!rota_core_get (service->core, search.worst, &it))
        return;
    const char *reason = rota_core_reason (service->core, search.worst);
    say (self, rota_core_is_dead (service->core, search.worst) ? ROTA_WHY_UNREACHABLE : ROTA_WHY_PREREQUISITE,
         0, "it waits for %.*s, which %s%s%s%s", (int)it.id_length, it.id,
         state_of (service, search.worst, &it), reason ? ": " : "", reason ? reason : "",
         search.unmet > 1 ? "; and others" : "");
    /* Down to the root of it. */
    rota_node_t at = search.worst;
    for (int depth = 0; depth < ROTA_WHY_MAX && at != ROTA_NONE; depth++) {
        add_to_chain (self, at);
        rota_place_t place = rota_core_place (service->core, at);
        rota_core_get (service->core, at, &it);
        bool deeper =
            it.kind != NODE (TASK) || place == ROTA_PLACE_WAITING || place == ROTA_PLACE_UNREACHABLE;
        if (!deeper)
            break;
        at = find_worst (service, at).worst;
    }
    if (self->reply.n_chain < 2 || !rota_core_get (service->core, at, &it))
        return;
    reason = rota_core_reason (service->core, at);
    SAY (ROOT, 0, "at the root of it, %.*s %s%s%s", (int)it.id_length, it.id, state_of (service, at, &it),
         reason ? ": " : "", reason ? reason : "");
}

/* ------------------------------------------------------------------------------------ the places */

/* Each account that is closed to it, with what was said of it. */
static void explain_accounts (why_t *self, const rota_core_class_view_t *class)
{
    service_t *service = self->service;
    int64_t now_ms = rota_service_now_ms (service), quiet_ms = rota_core_quiet_until_ms (service->core);
    char at[ROTA_CLOCK_ISO_BYTES], left[ROTA_CLOCK_DURATION_BYTES];
    bool any_paid = false;
    for (rota_account_t i = 0; i < rota_core_account_count (service->core); i++) {
        rota_core_account_view_t account;
        rota_core_account_view (service->core, i, &account);
        bool concerns = false;
        for (rota_agent_t a = 0; a < rota_core_agent_count (service->core); a++) {
            rota_core_agent_view_t agent;
            rota_core_agent_view (service->core, a, &agent);
            bool fits =
                agent.account == i && agent.connected && rota_core_agent_can (service->core, a, class);
            concerns |= fits;
            any_paid |= fits && agent.paid;
        }
        if (!concerns || !account.last.result_class)
            continue;
        bool by_hand = account.last.until_ms == ROTA_BY_HAND;
        rota_clock_iso (by_hand ? 0 : account.last.until_ms, at);
        rota_clock_duration (by_hand ? 0 : account.last.until_ms - now_ms, left);
        if (by_hand)
            SAY (ACCOUNT, 0, "%s is closed until somebody opens it: %s", account.name, account.last.reason);
        else if (account.last.until_ms > now_ms)
            SAY (LIMIT, account.last.until_ms, "%s rests for %s, until %s: %s", account.name, left, at,
                 account.last.reason);
        else
            SAY (PROBE, 0, "%s may be open again: one task is trying", account.name);
    }
    if (any_paid && quiet_ms > now_ms) {
        rota_clock_iso (quiet_ms, at);
        SAY (QUIET, quiet_ms, "no paid work is begun in the quiet hours, which end at %s", at);
    }
}

static void explain_breakers (why_t *self, const rota_core_class_view_t *class)
{
    const rota_core_t *core = self->service->core;
    int64_t now_ms = rota_service_now_ms (self->service);
    for (rota_agent_t a = 0; a < rota_core_agent_count (core); a++) {
        rota_core_agent_view_t agent;
        char left[ROTA_CLOCK_DURATION_BYTES];
        rota_core_agent_view (core, a, &agent);
        if (!agent.breaker_until_ms || !agent.connected || !rota_core_agent_can (core, a, class))
            continue;
        rota_clock_duration (agent.breaker_until_ms - now_ms, left);
        if (agent.breaker_until_ms > now_ms)
            SAY (BREAKER, agent.breaker_until_ms, "%s is tried again in %s: %s", agent.name, left,
                 agent.breaker_reason);
        else
            SAY (BREAKER_TRIAL, 0, "%s is being tried by one task: %s", agent.name, agent.breaker_reason);
    }
}

static void explain_problems (why_t *self, const rota_core_class_view_t *class)
{
    const service_t *service = self->service;
    for (rota_agent_t i = 0; i < service->agent_problems.count; i++)
        if (service->agent_problems.items[i] && rota_core_agent_can (service->core, i, class))
            SAY (PROBLEM, 0, "%s can't work: %s", rota_service_agent_name (service, i),
                 service->agent_problems.items[i]);
}

/* When the first candidate can have the role again by itself; 0 = not known. */
static int64_t first_fit_ms (const service_t *service)
{
    rota_core_candidate_t candidate;
    int64_t first_ms = 0;
    for (rota_agent_t i = 0; i < rota_core_agent_count (service->core); i++)
        if (rota_core_candidate (service->core, i, &candidate) && candidate.until_ms &&
            (!first_ms || candidate.until_ms < first_ms))
            first_ms = candidate.until_ms;
    return first_ms;
}

/* True when it waits for the coordinator. */
static bool explain_role (why_t *self, const rota_core_class_view_t *class)
{
    const service_t *service = self->service;
    rota_core_coordinator_t role;
    rota_core_agent_view_t holder;
    if (class->open)
        return false;
    rota_core_coordinator (service->core, &role);
    if (role.agent == ROTA_NONE) {
        int64_t until_ms = first_fit_ms (service);
        char at[ROTA_CLOCK_ISO_BYTES];
        rota_clock_iso (until_ms, at);
        SAY (VACANT, until_ms, "it waits for a coordinator, and the role is vacant%s%s: %s",
             until_ms ? " until " : "", until_ms ? at : "",
             role.reason[0] ? role.reason : "nobody was elected yet");
        return true;
    }
    if (!rota_core_agent_can (service->core, role.agent, class))
        return false;
    rota_core_agent_view (service->core, role.agent, &holder);
    SAY (COORDINATOR, 0, "it waits for the coordinator, %s, which %s", holder.name,
         !holder.connected             ? "is not connected: another one is being elected"
         : holder.busy >= holder.slots ? "is busy"
                                       : "can't take it now");
    return true;
}

/* Why none of those that fit has a free slot, or that one has and is kept for another kind. */
static void explain_slots (why_t *self, const rota_core_class_view_t *class)
{
    const service_t *service = self->service;
    bool drains = false, at_limit = false;
    rota_core_agent_view_t agent, passed_over = {0};
    for (rota_agent_t i = 0; i < rota_core_agent_count (service->core); i++) {
        rota_core_agent_view (service->core, i, &agent);
        if (!rota_core_agent_can (service->core, i, class))
            continue;
        drains |= agent.connected && agent.draining;
        at_limit |= agent.connected && agent.busy < agent.slots && service->policy.wip_agent &&
                    agent.busy >= service->policy.wip_agent;
        if (class->agent[0] == '!' && agent.connected && strcmp (agent.kind, class->agent + 1) == 0)
            passed_over = agent;
    }
    if (!class->servable && drains)
        SAY (AGENTS_DRAIN, 0, "the agents that could take it are draining");
    else if (!class->servable)
        SAY (AGENTS_GONE, 0, "the agents that could take it are not connected");
    else if (class->assignable && !class->free && class->full)
        SAY (HOST_FULL, 0, "the hosts of the agents that can take it are short of memory or processors");
    else if (class->assignable && !class->free && at_limit)
        SAY (WIP_AGENT, 0, "each agent that can take it has %u under way, which is as many as it may",
             service->policy.wip_agent);
    else if (class->assignable && !class->free)
        SAY (SLOTS, 0, "all slots of the agents that can take it are busy");
    else if (class->assignable && !class->open && passed_over.name)
        SAY (OTHER_KIND, class->opens_ms, "%s could take it, and another kind of agent than %s is waited for",
             passed_over.name, passed_over.kind);
}

static void explain_class (why_t *self, const rota_core_node_t *it)
{
    rota_core_class_view_t class;
    char wants[256] = "";
    size_t used = 0;
    rota_core_class_view (self->service->core, it->queue, &class);
    for (unsigned bit = 0; bit < 64 && used < sizeof wants - 100; bit++)
        if (class.capabilities >> bit & 1)
            used += (size_t)snprintf (wants + used, sizeof wants - used, "%s%.80s", used ? ", " : "",
                                      rota_core_capability_name (self->service->core, bit));
    /* "!claude", "!!claude": another kind of agent than that one, at best or in any case. */
    char agent[256];
    size_t marks = strspn (class.agent, "!");
    snprintf (agent, sizeof agent, "%s%s%s",
              !class.agent[0] ? "any agent"
              : marks         ? "an agent other than "
                              : "",
              class.agent + marks, marks == 1 ? " if there is one" : "");
    if (class.servable && !class.open)
        explain_accounts (self, &class);
    explain_breakers (self, &class);
    explain_problems (self, &class);
    const char *hint = it->status == STATUS (IN_PROGRESS) ? " (`rota agents add git` starts one)"
                       : it->status == STATUS (NEEDS_REVIEW)
                           ? " (`rota approve` and `rota reject` do without)"
                           : " (a task with `run:` needs \"run\", one without \"prompt\")";
    if (!class.known && class.agent[0] && !marks)
        SAY (NAMED_AGENT, 0, "no agent that is known can take it: it names %s, and needs %s", agent, wants);
    else if (!class.known)
        SAY (NO_AGENT, 0, "no agent that is known can take it: it needs %s with %s%s", agent, wants, hint);
    else if (!class.needs_role || !class.servable || !explain_role (self, &class))
        explain_slots (self, &class);
}

/* What was done already, and what comes. */
static void explain_phase (why_t *self, const rota_core_node_t *it)
{
    const char *author = rota_service_agent_name (self->service, it->author);
    if (it->status == STATUS (NEEDS_REVIEW))
        SAY (REVIEW, 0, "the work of %s waits to be judged by another agent", author ? author : "an agent");
    else if (it->status == STATUS (IN_PROGRESS) && it->phase == PHASE (GATE))
        SAY (GATE, 0, "the work of %s waits to be checked", author ? author : "an agent");
    else if (it->status == STATUS (IN_PROGRESS))
        SAY (MERGE, 0, "it waits to be merged");
    else if (it->status == STATUS (NEEDS_IMPROVEMENT)) {
        rota_node_t node = rota_core_find (self->service->core, it->id, it->id_length);
        const char *reason = rota_core_reason (self->service->core, node);
        SAY (FIXUP, 0, "it is to be improved by %s (%u of %u attempts are used): %s",
             author ? author : "an agent", it->attempts_used, it->attempts_allowed,
             reason ? reason : "changes are wanted");
    }
}

/* What came of earlier attempts, and holds on. */
static void explain_past (why_t *self, rota_node_t node, const rota_core_node_t *it)
{
    uint32_t times = rota_core_same_errors (self->service->core, node);
    if (it->lost)
        SAY (LOST, 0,
             "attempt %u was given up: its host was not heard of; if it reports before another is begun, "
             "that counts",
             it->attempt);
    if (times > 1)
        SAY (TROUBLE, 0,
             "it ended %u times in a row with the same error: another kind of agent, or the coordinator, "
             "is preferred for it",
             times);
}

static void explain_merge_turn (why_t *self, const rota_core_node_t *it)
{
    const rota_core_t *core = self->service->core;
    rota_core_lease_t lease;
    rota_core_node_t other;
    for (size_t i = 0; i < rota_core_lease_count (core); i++) {
        rota_core_lease (core, i, &lease);
        if (lease.phase != PHASE (MERGE) || !rota_core_get (core, lease.node, &other) ||
            other.source != it->source)
            continue;
        SAY (MERGE_TURN, 0, "%.*s is being merged", (int)other.id_length, other.id);
        return;
    }
}

static void explain_budget (why_t *self, rota_node_t node)
{
    char text[900];
    int64_t until_ms;
    if (rota_budget_explain (self->service, node, text, sizeof text, &until_ms))
        SAY (BUDGET, until_ms, "%s", text);
}

/* What holds all back, or all of its roadmap. */
static void explain_whole (why_t *self, rota_node_t node, const rota_core_node_t *it)
{
    service_t *service = self->service;
    bool begun = it->status == STATUS (IN_PROGRESS) || it->status == STATUS (NEEDS_REVIEW);
    size_t under_way = rota_core_lease_count (service->core);
    rota_core_mode_t mode;
    if (service->disk_low)
        SAY (DISK, 0, "the disk is nearly full: nothing is begun before there is room");
    if (service->config.hold)
        SAY (HOLD, 0, "the scheduler was started to hand nothing out");
    if (rota_core_is_paused (service->core))
        SAY (PAUSED, 0, "everything is paused");
    if (rota_core_is_draining (service->core))
        SAY (DRAINING, 0, "everything drains: what runs comes to its end, and nothing new is begun");
    if (service->policy.wip_limit && under_way >= service->policy.wip_limit)
        SAY (WIP_ALL, 0, "%zu tasks are under way, which is as many as may be", under_way);
    if (!begun && rota_core_source_is_full (service->core, it->source))
        SAY (WIP_SOURCE, 0, "its roadmap has as many tasks under way as it may");
    rota_core_mode (service->core, &mode);
    if (rota_core_mode_holds_back (service->core, node))
        SAY (MODE, 0, "the mode is %s: %u attempts of agents are under way, at most %u may be; %s",
             rota_mode_name (mode.mode), mode.working, mode.at_most, mode.reason);
}

static void explain_ready (why_t *self, rota_node_t node, const rota_core_node_t *it)
{
    service_t *service = self->service;
    char since[SINCE_BYTES];
    explain_phase (self, it);
    explain_past (self, node, it);
    explain_whole (self, node, it);
    if (it->status == STATUS (IN_PROGRESS) && it->phase == PHASE (MERGE))
        explain_merge_turn (self, it);
    explain_budget (self, node);
    explain_class (self, it);
    size_t before = rota_core_position (service->core, node);
    since_of (service, it->ready_since_ms, since);
    if (before)
        SAY (ORDER, 0, "%zu of its kind come before it; it has been ready%s", before, since);
    else
        SAY (NEXT, 0, "it is the next of its kind; it has been ready%s", since);
}

static void explain_claimed (why_t *self, rota_node_t node, const rota_core_node_t *it)
{
    service_t *service = self->service;
    char mine[200], theirs[200], since[ROTA_CLOCK_DURATION_BYTES];
    bool reserved, learned = false;
    rota_core_node_t holder;
    rota_node_t behind = rota_core_claim_behind (service->core, node, mine, theirs, sizeof mine, &reserved);
    if (!rota_core_get (service->core, behind, &holder))
        return;
    rota_core_claim_of (service->core, node, &learned);
    rota_clock_duration (rota_service_now_ms (service) - it->ready_since_ms, since);
    SAY (CLAIM, 0, "it touches %s%s, and %.*s, which %s, touches %s; it has been ready for %s", mine,
         learned ? " (as its earlier attempts did)" : "", (int)holder.id_length, holder.id,
         reserved ? "has waited so long that it comes first" : state_of (service, behind, &holder), theirs,
         since);
    add_to_chain (self, behind);
}

static void explain_delayed (why_t *self, const rota_core_node_t *it)
{
    char at[ROTA_CLOCK_ISO_BYTES], left[ROTA_CLOCK_DURATION_BYTES];
    rota_clock_iso (it->not_before_ms, at);
    rota_clock_duration (it->not_before_ms - rota_service_now_ms (self->service), left);
    if (it->attempt)
        SAY (BACKOFF, it->not_before_ms,
             "attempt %u did not succeed (%u of %u used); it goes on in %s, at %s", it->attempt,
             it->attempts_used, it->attempts_allowed, left, at);
    else
        SAY (NOT_BEFORE, it->not_before_ms, "it was told not to start before %s, in %s", at, left);
}

static void explain_running (why_t *self, const rota_core_node_t *it)
{
    char since[ROTA_CLOCK_DURATION_BYTES];
    const char *agent = rota_service_agent_name (self->service, it->agent);
    rota_clock_duration (rota_service_now_ms (self->service) - it->assigned_ms, since);
    SAY (RUNNING, 0, "%s: attempt %u on %s for %s",
         it->status == STATUS (IN_REVIEW) ? "it is being judged"
         : it->phase == PHASE (GATE)      ? "it is being checked"
         : it->phase == PHASE (MERGE)     ? "it is being merged"
                                          : "it runs",
         it->attempt, agent ? agent : "?", since);
    if (it->cancelling || it->holding)
        SAY (STOPPING, 0, "it was told to stop; its processes are being ended");
}

static void explain_ended (why_t *self, rota_node_t node, const rota_core_node_t *it)
{
    service_t *service = self->service;
    const char *reason = rota_core_reason (service->core, node);
    char since[SINCE_BYTES];
    moved_at (service, node, since);
    if (it->status == STATUS (DONE))
        SAY (DONE, 0, "it is done%s", since);
    else if (it->status == STATUS (FAILED) && it->attempts_used >= it->attempts_allowed)
        SAY (ATTEMPTS, 0, "it failed after %u of %u attempts%s: %s", it->attempts_used, it->attempts_allowed,
             since, reason ? reason : "unknown");
    else if (it->status == STATUS (FAILED))
        SAY (FAILED, 0, "it failed, with %u of %u attempts used, and trying again makes no sense%s: %s",
             it->attempts_used, it->attempts_allowed, since, reason ? reason : "unknown");
    else if (it->skipped)
        SAY (SKIPPED, 0, "it was cancelled (skipped)%s: %s", since, reason ? reason : "by hand");
    else
        SAY (CANCELLED, 0, "it was cancelled%s: %s", since, reason ? reason : "by hand");
}

static void explain_blocked (why_t *self, rota_node_t node, const rota_core_node_t *it)
{
    static const rota_why_reason_t BY_CAUSE[] = {
        [CAUSE (HAND)] = ROTA_WHY_BLOCKED_HAND,
        [CAUSE (IMPORT)] = ROTA_WHY_BLOCKED_IMPORT,
        [CAUSE (NEEDS_INPUT)] = ROTA_WHY_BLOCKED_INPUT,
        [CAUSE (ENVIRONMENT)] = ROTA_WHY_BLOCKED_ENVIRONMENT,
        [CAUSE (PREREQUISITE_REOPENED)] = ROTA_WHY_BLOCKED_REOPENED,
        [CAUSE (NEEDS_HUMAN)] = ROTA_WHY_BLOCKED_HUMAN,
    };
    const char *reason = rota_core_reason (self->service->core, node);
    bool known = (size_t)it->blocked < sizeof BY_CAUSE / sizeof *BY_CAUSE && BY_CAUSE[it->blocked];
    char since[SINCE_BYTES];
    say (self, known ? BY_CAUSE[it->blocked] : ROTA_WHY_BLOCKED_HAND, 0, "it is blocked (%s)%s: %s",
         rota_block_cause_name (it->blocked), moved_at (self->service, node, since),
         reason ? reason : "no reason was given");
}

static void explain_human (why_t *self, rota_node_t node, const rota_core_node_t *it)
{
    const char *author = rota_service_agent_name (self->service, it->author);
    char since[SINCE_BYTES];
    moved_at (self->service, node, since);
    if (it->status == STATUS (IN_PROGRESS))
        SAY (APPROVAL, 0, "it awaits the approval of a person%s", since);
    else
        SAY (PERSONS_REVIEW, 0, "the work of %s awaits the verdict of a person%s",
             author ? author : "an agent", since);
}

static void explain (why_t *self, rota_node_t node, const rota_core_node_t *it)
{
    if (it->kind != NODE (TASK)) {
        if (rota_core_is_satisfied (self->service->core, node))
            SAY (DONE, 0, "it is complete");
        else
            explain_waiting (self, node);
        return;
    }
    switch (rota_core_place (self->service->core, node)) {
    case ROTA_PLACE_WAITING:
    case ROTA_PLACE_UNREACHABLE:
        explain_waiting (self, node);
        break;
    case ROTA_PLACE_READY:
        explain_ready (self, node, it);
        break;
    case ROTA_PLACE_PARKED:
        SAY (WIP_EPIC, 0, "its epic has %u tasks under way, which is as many as it may",
             self->service->policy.wip_epic);
        break;
    case ROTA_PLACE_HELD:
        explain_budget (self, node);
        if (!self->reply.n_reasons)
            SAY (BUDGET, 0, "a budget held it; it is looked at again at once");
        break;
    case ROTA_PLACE_CLAIMED:
        explain_claimed (self, node, it);
        break;
    case ROTA_PLACE_DELAYED:
        explain_delayed (self, it);
        explain_past (self, node, it);
        break;
    case ROTA_PLACE_RUNNING:
        explain_running (self, it);
        break;
    case ROTA_PLACE_HUMAN:
        explain_human (self, node, it);
        break;
    case ROTA_PLACE_BLOCKED:
        explain_blocked (self, node, it);
        break;
    default:
        explain_ended (self, node, it);
    }
    if (it->flagged)
        SAY (FLAGGED, 0, "something that it depends on was reopened after it had started");
    if (it->orphaned)
        SAY (ORPHANED, 0, "its roadmap no longer names it");
}

bool rota_why (rota_scheduler_t *service, rota_node_t node, rota_why_t *ret_why)
{
    rota_core_node_t it;
    if (!rota_core_get (service->core, node, &it) || rota_core_is_staged (service->core, node))
        return false;
    ret_why->service = service;
    rota__why_reply__init (&ret_why->reply);
    ret_why->reply.reasons = ret_why->list;
    ret_why->reply.chain = ret_why->chain;
    ret_why->reply.has_status = it.kind == NODE (TASK);
    ret_why->reply.status = it.status;
    explain (ret_why, node, &it);
    return true;
}

HANDLER (why)
{
    const Rota__WhyQuery *query = (const Rota__WhyQuery *)message;
    rota_node_t node = rota_core_find (self->core, (const char *)query->id.data, query->id.len);
    rota_why_t why;
    if (node == ROTA_NONE)
        rota_core_find_milestones (self->core, (const char *)query->id.data, query->id.len, &node);
    if (!rota_why (self, node, &why)) {
        rota_service_refuse (self, from, ERROR_CODE (NOT_FOUND), "there is no task %.*s",
                             (int)(query->id.len > 200 ? 200 : query->id.len), (const char *)query->id.data);
        return;
    }
    why.reply.has_id = true;
    why.reply.id = query->id;
    rota_service_answer (self, from, ROTA_MESSAGE_WHY_REPLY, &why.reply.base);
}
