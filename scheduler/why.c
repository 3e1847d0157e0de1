/* `rota why`: what keeps a task from running, or made it end, in words, with times. */
#include "scheduler/service_internal.h"

#include "bus/clock.h"

#define MAX_REASONS 16
#define MAX_CHAIN 16

typedef struct {
    service_t *service;
    Rota__WhyReply reply;
    Rota__WaitReason items[MAX_REASONS], *list[MAX_REASONS];
    ProtobufCBinaryData chain[MAX_CHAIN];
} why_t;

__attribute__ ((format (printf, 4, 5))) static void say (why_t *self, const char *code, int64_t until_ms,
                                                         const char *format, ...)
{
    char text[1024];
    if (self->reply.n_reasons >= MAX_REASONS)
        return;
    va_list args;
    va_start (args, format);
    int length = vsnprintf (text, sizeof text, format, args);
    va_end (args);
    size_t kept = length < 0 ? 0 : (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
    char *copy = rota_arena_alloc (self->service->arena, kept + 1);
    if (!copy)
        return;
    memcpy (copy, text, kept);
    Rota__WaitReason *reason = &self->items[self->reply.n_reasons];
    rota__wait_reason__init (reason);
    reason->has_code = reason->has_text = true;
    reason->code = rota_bytes (code);
    reason->text = rota_bytes_n (copy, kept);
    reason->has_until_ms = until_ms > 0;
    reason->until_ms = until_ms;
    self->list[self->reply.n_reasons++] = reason;
}

static void add_to_chain (why_t *self, rota_node_t node)
{
    rota_core_node_t it;
    if (self->reply.n_chain < MAX_CHAIN && rota_core_get (self->service->core, node, &it))
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
    say (self, rota_core_is_dead (service->core, search.worst) ? "unreachable" : "prerequisite", 0,
         "it waits for %.*s, which %s%s%s%s", (int)it.id_length, it.id, state_of (service, search.worst, &it),
         reason ? ": " : "", reason ? reason : "", search.unmet > 1 ? "; and others" : "");
    /* Down to the root of it. */
    rota_node_t at = search.worst;
    for (int depth = 0; depth < MAX_CHAIN && at != ROTA_NONE; depth++) {
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
    say (self, "root", 0, "at the root of it, %.*s %s%s%s", (int)it.id_length, it.id,
         state_of (service, at, &it), reason ? ": " : "", reason ? reason : "");
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
        rota_clock_iso (account.last.until_ms == ROTA_BY_HAND ? 0 : account.last.until_ms, at);
        rota_clock_duration (account.last.until_ms == ROTA_BY_HAND ? 0 : account.last.until_ms - now_ms,
                             left);
        if (account.last.until_ms == ROTA_BY_HAND)
            say (self, "account", 0, "%s is closed until `rota resume`: %s", account.name,
                 account.last.reason);
        else if (account.last.until_ms > now_ms)
            say (self, "limit", account.last.until_ms, "%s rests for %s, until %s: %s", account.name, left,
                 at, account.last.reason);
        else
            say (self, "probe", 0, "%s may be open again: one task is trying", account.name);
    }
    if (any_paid && quiet_ms > now_ms) {
        rota_clock_iso (quiet_ms, at);
        say (self, "quiet", quiet_ms, "no paid work is begun in the quiet hours, which end at %s", at);
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
            say (self, "breaker", agent.breaker_until_ms, "%s is tried again in %s: %s", agent.name, left,
                 agent.breaker_reason);
        else
            say (self, "breaker", 0, "%s is being tried by one task: %s", agent.name, agent.breaker_reason);
    }
}

static void explain_problems (why_t *self, const rota_core_class_view_t *class)
{
    const service_t *service = self->service;
    for (rota_agent_t i = 0; i < service->agent_problems.count; i++)
        if (service->agent_problems.items[i] && rota_core_agent_can (service->core, i, class))
            say (self, "problem", 0, "%s can't work: %s", rota_service_agent_name (service, i),
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
        say (self, "coordinator", until_ms,
             "it waits for a coordinator, and the role is vacant%s%s: %s; see `rota coordinator`",
             until_ms ? " until " : "", until_ms ? at : "",
             role.reason[0] ? role.reason : "nobody was elected yet");
        return true;
    }
    if (!rota_core_agent_can (service->core, role.agent, class))
        return false;
    rota_core_agent_view (service->core, role.agent, &holder);
    say (self, "coordinator", 0, "it waits for the coordinator, %s, which %s", holder.name,
         !holder.connected             ? "is not connected: another one is being elected"
         : holder.busy >= holder.slots ? "is busy"
                                       : "can't take it now");
    return true;
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
    if (!class.known)
        say (self, "unassignable", 0,
             "no agent that is known can take it: it needs %s with %s%s; see `rota agents`", agent, wants,
             it->status == STATUS (IN_PROGRESS) ? " (`rota agents add git` starts one)"
             : it->status == STATUS (NEEDS_REVIEW)
                 ? " (`rota approve` and `rota reject` do without)"
                 : " (a task with `run:` needs \"run\", one without \"prompt\")");
    else if (!class.servable)
        say (self, "agent", 0, "the agents that could take it (%s with %s) are not connected or draining",
             agent, wants);
    else if (class.needs_role && explain_role (self, &class))
        return;
    else if (class.assignable && !class.free)
        say (self, "slot", 0,
             class.full ? "the hosts of the agents that can take it are short of memory or processors "
                          "(agents.memory_reserve)"
                        : "all slots of the agents that can take it are busy");
}

/* What was done already, and what comes. */
static void explain_phase (why_t *self, const rota_core_node_t *it)
{
    const char *author = rota_service_agent_name (self->service, it->author);
    if (it->status == STATUS (NEEDS_REVIEW))
        say (self, "review", 0, "the work of %s waits to be judged by another agent",
             author ? author : "an agent");
    else if (it->status == STATUS (IN_PROGRESS) && it->phase == PHASE (GATE))
        say (self, "gate", 0, "the work of %s waits to be checked", author ? author : "an agent");
    else if (it->status == STATUS (IN_PROGRESS))
        say (self, "merge", 0, "it waits to be merged, which is done one by one");
}

static void explain_budget (why_t *self, rota_node_t node)
{
    char text[900];
    int64_t until_ms;
    if (rota_budget_explain (self->service, node, text, sizeof text, &until_ms))
        say (self, "budget", until_ms, "%s", text);
}

static void explain_ready (why_t *self, rota_node_t node, const rota_core_node_t *it)
{
    service_t *service = self->service;
    explain_phase (self, it);
    if (service->disk_low)
        say (self, "disk", 0,
             "the disk is nearly full: nothing is begun before there is room (scheduler.disk_reserve)");
    if (service->config.hold)
        say (self, "paused", 0, "the scheduler was started to hand nothing out");
    if (rota_core_is_paused (service->core))
        say (self, "paused", 0, "everything is paused: `rota resume` goes on");
    if (it->status != STATUS (IN_PROGRESS) && it->status != STATUS (NEEDS_REVIEW) &&
        rota_core_source_is_full (service->core, it->source))
        say (self, "wip", 0, "its roadmap has as many tasks under way as it may (`wip:`)");
    explain_budget (self, node);
    explain_class (self, it);
    size_t before = rota_core_position (service->core, node);
    char since[ROTA_CLOCK_DURATION_BYTES];
    rota_clock_duration (rota_service_now_ms (service) - it->ready_since_ms, since);
    if (before)
        say (self, "order", 0, "%zu of its kind come before it; it has been ready for %s", before, since);
    else
        say (self, "next", 0, "it is the next of its kind; it has been ready for %s", since);
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
    say (self, "claim", 0, "it touches %s%s, and %.*s, which %s, touches %s; it has been ready for %s", mine,
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
        say (self, "backoff", it->not_before_ms,
             "attempt %u did not succeed (%u of %u used); it goes on in %s, at %s", it->attempt,
             it->attempts_used, it->attempts_allowed, left, at);
    else
        say (self, "time", it->not_before_ms, "it was told not to start before %s, in %s", at, left);
}

static void explain_running (why_t *self, const rota_core_node_t *it)
{
    char since[ROTA_CLOCK_DURATION_BYTES];
    const char *agent = rota_service_agent_name (self->service, it->agent);
    rota_clock_duration (rota_service_now_ms (self->service) - it->assigned_ms, since);
    say (self, "running", 0, "%s: attempt %u on %s for %s",
         it->status == STATUS (IN_REVIEW) ? "it is being judged"
         : it->phase == PHASE (GATE)      ? "it is being checked"
         : it->phase == PHASE (MERGE)     ? "it is being merged"
                                          : "it runs",
         it->attempt, agent ? agent : "?", since);
    if (it->cancelling || it->holding)
        say (self, "stopping", 0, "it was told to stop; its processes are being ended");
}

static void explain_ended (why_t *self, rota_node_t node, const rota_core_node_t *it)
{
    const char *reason = rota_core_reason (self->service->core, node);
    if (it->status == STATUS (DONE))
        say (self, "done", 0, "it is done");
    else if (it->status == STATUS (FAILED))
        say (self, "failed", 0,
             "it failed after %u of %u attempts: %s. `rota log` shows the output, `rota retry` tries again",
             it->attempts_used, it->attempts_allowed, reason ? reason : "unknown");
    else
        say (self, "cancelled", 0, "it was cancelled: %s%s. `rota retry` brings it back",
             reason ? reason : "by hand", it->skipped ? " (skipped: what waits for it may go on)" : "");
}

static void explain_blocked (why_t *self, rota_node_t node, const rota_core_node_t *it)
{
    const char *reason = rota_core_reason (self->service->core, node);
    say (self, "blocked", 0, "it is blocked (%s): %s. %s", rota_block_cause_name (it->blocked),
         reason ? reason : "",
         it->blocked == CAUSE (NEEDS_INPUT)   ? "`rota answer` goes on with it"
         : it->blocked == CAUSE (NEEDS_HUMAN) ? "`rota approve` or `rota reject` decides"
                                              : "`rota release` lets it go on");
}

static void explain (why_t *self, rota_node_t node, const rota_core_node_t *it)
{
    if (it->kind != NODE (TASK)) {
        if (rota_core_is_satisfied (self->service->core, node))
            say (self, "done", 0, "it is complete");
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
        say (self, "wip", 0, "its epic has as many tasks under way as it may (scheduler.wip_epic)");
        break;
    case ROTA_PLACE_HELD:
        explain_budget (self, node);
        if (!self->reply.n_reasons)
            say (self, "budget", 0, "a budget held it; it is looked at again at once: `rota budget`");
        break;
    case ROTA_PLACE_CLAIMED:
        explain_claimed (self, node, it);
        break;
    case ROTA_PLACE_DELAYED:
        explain_delayed (self, it);
        break;
    case ROTA_PLACE_RUNNING:
        explain_running (self, it);
        break;
    case ROTA_PLACE_HUMAN:
        say (self, "human", 0, "it awaits a person: `rota approve` or `rota reject`");
        break;
    case ROTA_PLACE_BLOCKED:
        explain_blocked (self, node, it);
        break;
    default:
        explain_ended (self, node, it);
    }
    if (it->flagged)
        say (self, "flagged", 0, "something that it depends on was reopened after it had started");
    if (it->orphaned)
        say (self, "orphaned", 0, "its roadmap no longer names it");
}

HANDLER (why)
{
    const Rota__WhyQuery *query = (const Rota__WhyQuery *)message;
    rota_node_t node = rota_core_find (self->core, (const char *)query->id.data, query->id.len);
    rota_core_node_t it;
    if (node == ROTA_NONE)
        rota_core_find_milestones (self->core, (const char *)query->id.data, query->id.len, &node);
    if (!rota_core_get (self->core, node, &it) || rota_core_is_staged (self->core, node)) {
        rota_service_refuse (self, from, ERROR_CODE (NOT_FOUND), "there is no task %.*s",
                             (int)(query->id.len > 200 ? 200 : query->id.len), (const char *)query->id.data);
        return;
    }
    why_t why = {.service = self};
    rota__why_reply__init (&why.reply);
    why.reply.reasons = why.list;
    why.reply.chain = why.chain;
    why.reply.has_id = true;
    why.reply.id = query->id;
    why.reply.has_status = it.kind == NODE (TASK);
    why.reply.status = it.status;
    explain (&why, node, &it);
    rota_service_answer (self, from, ROTA_MESSAGE_WHY_REPLY, &why.reply.base);
}
