/* The life of a task: moves, results, control by hand. */
#include "bus/names.h"
#include "scheduler/core_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const struct {
    uint8_t from, to;
} MOVES[] = {
#define MOVE(from, to, when) {STATUS (from), STATUS (to)},
#include "scheduler/moves.def"
};

bool rota_core_move_allowed (Rota__TaskStatus from, Rota__TaskStatus to)
{
    for (size_t i = 0; i < sizeof MOVES / sizeof MOVES[0]; i++)
        if (MOVES[i].from == from && MOVES[i].to == to)
            return true;
    return false;
}

static bool satisfies (const node_t *it)
{
    return it->status == STATUS (DONE) || (it->status == STATUS (CANCELLED) && (it->flags & F_SKIPPED));
}

rota_core_event_t *rota_core_move (rota_core_t *self, rota_node_t node, Rota__TaskStatus to,
                                   Rota__Phase phase, const char *reason)
{
    node_t *it = &self->nodes[node];
    /* Our own doing: callers validate what comes from outside first. */
    assert (rota_core_move_allowed (it->status, to));
    rota_core_event_t *event = rota_core_emit (self, EVENT (TASK_MOVED), node);
    event->from = it->status;
    event->to = (uint8_t)to;
    event->phase = (uint8_t)phase;
    event->reason = reason;
    rota_core_count_status (self, node, it->status, -1);
    rota_core_count_status (self, node, (uint8_t)to, 1);
    it->status = (uint8_t)to;
    it->phase = (uint8_t)phase;
    if (to != STATUS (BLOCKED))
        it->blocked = 0;
    if (to == STATUS (DONE) || to == STATUS (FAILED) || to == STATUS (CANCELLED))
        rota_core_set_trouble (self, node, 0);
    if (to == STATUS (DONE))
        rota_core_health_done (self, node);
    rota_core_touch (self, node);
    rota_core_refresh_place (self, node);
    rota_core_claims_follow (self, node);
    rota_core_set_satisfied (self, node, satisfies (it));
    rota_core_refresh_dead (self, node);
    return event;
}

/* ---------------------------------------------------------------------------------------- results */

/* What is said of a result that says nothing itself; what follows from it is policy.rules'. */
static const char *const REASONS[] = {
#define RULE(CLASS, key, reason, standard, doc) [RESULT (CLASS)] = reason,
#include "bus/resilience.def"
#undef RULE
};
static_assert (sizeof REASONS / sizeof REASONS[0] == ROTA_RULES, "each class has its rule");

/* base * 2^(n-1), at most max, spread by the jitter: a hash instead of chance, so that a replay gives the
 * same. */
static int64_t backoff_ms (const rota_core_t *self, rota_node_t node, uint32_t n, int64_t base_ms,
                           int64_t max_ms)
{
    const rota_core_policy_t *policy = &self->policy;
    int64_t delay_ms = base_ms;
    for (uint32_t i = 1; i < n && delay_ms < max_ms; i++)
        delay_ms *= 2;
    if (delay_ms > max_ms)
        delay_ms = max_ms;
    uint64_t seed[3] = {policy->jitter_seed, node, self->nodes[node].attempt};
    int64_t percent =
        (int64_t)(rota_hash (seed, sizeof seed) % (2 * (uint64_t)policy->backoff_jitter_percent + 1)) -
        policy->backoff_jitter_percent;
    return delay_ms + delay_ms * percent / 100;
}

int64_t rota_core_backoff_ms (const rota_core_t *self, rota_node_t node, uint32_t n)
{
    return backoff_ms (self, node, n, self->policy.backoff_base_ms, self->policy.backoff_max_ms);
}

static int64_t rule_backoff_ms (const rota_core_t *self, rota_node_t node, uint32_t n,
                                const rota_rule_t *rule)
{
    return rule->base_ms < 0 ? rota_core_backoff_ms (self, node, n)
                             : backoff_ms (self, node, n, rule->base_ms, rule->max_ms);
}

static void go_back (rota_core_t *self, rota_node_t node, int64_t delay_ms, rota_core_event_t **ret_event,
                     const char *reason)
{
    node_t *it = &self->nodes[node];
    it->order_ms = delay_ms > 0 ? self->now_ms + delay_ms : 0;
    Rota__TaskStatus to =
        it->came_from == STATUS (NEEDS_IMPROVEMENT) ? STATUS (NEEDS_IMPROVEMENT) : STATUS (PENDING);
    *ret_event = rota_core_move (self, node, to, 0, reason);
}

const char *rota_core_why (rota_core_t *self, Rota__ResultClass class, const Rota__Result *result,
                           const char *reason)
{
    if ((unsigned)class >= ROTA_RULES)
        class = RESULT (UNSPECIFIED);
    if (reason)
        return reason;
    if (result && result->has_message && result->message.len)
        return rota_core_text (self, "%.*s", (int)result->message.len, (const char *)result->message.data);
    if (class == RESULT (FAILED) && result && result->has_signal && result->signal)
        return rota_core_text (self, "ended by signal %u", result->signal);
    if (class == RESULT (FAILED) && result && result->has_exit_code)
        return rota_core_text (self, "exit code %d", result->exit_code);
    return REASONS[class];
}

/* Fixed texts in, what must be kept out: the reason stays with the task while it is failed or blocked. */
static void end_with_reason (rota_core_t *self, rota_node_t node, const char *reason)
{
    rota_core_set_reason (self, node, reason, reason ? strlen (reason) : 0);
}

bool rota_core_use_attempt (rota_core_t *self, rota_node_t node, rota_agent_t agent, uint32_t other,
                            const char **reason)
{
    node_t *it = &self->nodes[node];
    uint32_t times = rota_core_note_error (self, node, agent, other, *reason);
    if (it->attempts_used < UINT8_MAX)
        it->attempts_used++;
    if (it->attempts_used >= it->attempts_allowed)
        return true;
    /* A command is tried as often as its author said: it may wait for something. */
    if (!self->policy.give_up_after || times < self->policy.give_up_after ||
        rota_core_is_command (self, node))
        return false;
    *reason = rota_core_text (self, "the same error %u times in a row: %s", times, *reason);
    return true;
}

static rota_core_event_t *fail (rota_core_t *self, rota_node_t node, const char *reason)
{
    end_with_reason (self, node, reason);
    return rota_core_move (self, node, STATUS (FAILED), 0, reason);
}

static rota_core_event_t *retry_or_fail (rota_core_t *self, rota_node_t node, rota_agent_t agent,
                                         const rota_rule_t *rule, const char *reason)
{
    node_t *it = &self->nodes[node];
    rota_core_event_t *event;
    if (rota_core_use_attempt (self, node, agent, rule->other, &reason))
        return fail (self, node, reason);
    it->ready_since_ms = self->now_ms;
    go_back (self, node, rule_backoff_ms (self, node, it->attempts_used, rule), &event, reason);
    return event;
}

/* What was at a later phase keeps it: there it goes on when it is released. */
rota_core_event_t *rota_core_block (rota_core_t *self, rota_node_t node, Rota__BlockCause cause,
                                    const char *reason)
{
    node_t *it = &self->nodes[node];
    if (it->status == STATUS (IN_REVIEW))
        it->came_from = STATUS (NEEDS_REVIEW);
    else if (it->status != STATUS (IN_PROGRESS))
        it->came_from = it->status;
    Rota__Phase kept = it->status == STATUS (IN_PROGRESS) && it->phase != PHASE (WORK) ? it->phase : 0;
    end_with_reason (self, node, reason);
    rota_core_event_t *event = rota_core_move (self, node, STATUS (BLOCKED), kept, reason);
    self->nodes[node].blocked = (uint8_t)cause;
    return event;
}

/* Attempts that used none have their own backoff, so that a task which takes its host down doesn't spin; the
 * first goes back at once, as a stop by hand always does. */
static int64_t free_delay_ms (const rota_core_t *self, rota_node_t node, bool by_hand,
                              const rota_rule_t *rule)
{
    const node_t *it = &self->nodes[node];
    uint32_t unused = it->attempt - (it->attempts_used < it->attempt ? it->attempts_used : it->attempt);
    return by_hand || unused <= 1 ? 0 : rule_backoff_ms (self, node, unused - 1, rule);
}

void rota_core_finish (rota_core_t *self, rota_node_t node, rota_agent_t agent, uint32_t attempt,
                       Rota__ResultClass class, const Rota__Result *result, const char *given)
{
    node_t *it = &self->nodes[node];
    if ((unsigned)class >= ROTA_RULES)
        class = RESULT (UNSPECIFIED);
    const char *reason = class == RESULT (OK) ? NULL : rota_core_why (self, class, result, given);
    uint16_t flags = it->flags;
    if ((flags & (F_CANCEL | F_HOLD)) && rota_core_reason (self, node))
        reason = rota_core_text (self, "%s", rota_core_reason (self, node));
    it->flags &= (uint16_t) ~(F_CANCEL | F_HOLD | F_STOPPED);
    if (flags & (F_CANCEL | F_HOLD))
        it->asked = false;
    const rota_rule_t *own = &self->policy.rules[class];
    rota_rule_what_t rule = own->what;
    if (class == RESULT (FAILED) && result && result->session_lost)
        rule = ROTA_RULE_REST; /* it begins anew: nothing was tried */
    /* No provider is out of reach for ever: after a while it is the task's fault. */
    bool unreached =
        class == RESULT (NETWORK) && it->phase == PHASE (WORK) && it->status == STATUS (IN_PROGRESS);
    if (unreached && ++it->stumbles >= self->policy.free_tries) {
        it->stumbles = 0;
        rule = ROTA_RULE_RETRY;
    } else if (!unreached && it->phase == PHASE (WORK) && class != RESULT (LOST) && class != RESULT (KILLED))
        it->stumbles = 0;
    rota_core_event_t *event;
    if (flags & F_CANCEL)
        event = rota_core_move (self, node, STATUS (CANCELLED), 0, reason);
    else if (flags & F_HOLD)
        event = rota_core_block (self, node, CAUSE (HAND), reason);
    else if (it->status == STATUS (IN_REVIEW) || it->phase != PHASE (WORK)) {
        it->flags |= flags & F_STOPPED;
        event = rota_core_finish_step (self, node, agent, class, result, reason);
        self->nodes[node].flags &= (uint16_t)~F_STOPPED;
    } else if (class == RESULT (OK)) {
        it->author = (uint16_t)(agent < UINT16_MAX ? agent + 1 : 0);
        event = rota_core_advance (self, node, PHASE (WORK), NULL);
    } else if (rule == ROTA_RULE_RETRY)
        event = retry_or_fail (self, node, agent, own, reason);
    else if (rule == ROTA_RULE_FAIL)
        event = fail (self, node, reason);
    else if (rule == ROTA_RULE_ASK || rule == ROTA_RULE_BLOCK)
        event = rota_core_block (self, node,
                                 rule == ROTA_RULE_ASK ? CAUSE (NEEDS_INPUT) : CAUSE (ENVIRONMENT), reason);
    else if (rule == ROTA_RULE_REST)
        go_back (self, node, 0, &event, reason);
    else
        go_back (self, node, free_delay_ms (self, node, flags & F_STOPPED, own), &event, reason);
    event->agent = agent;
    event->attempt = attempt;
    event->result_class = (uint8_t) class;
}

/* ---------------------------------------------------------------------------------------- control */

static int refuse (rota_error_t *error, const node_t *it, const char *what, const char *hint)
{
    return rota_error_set (error, -EPERM, "can't %s a task that is %s%s", what, rota_status_name (it->status),
                           hint);
}

static int cancel (rota_core_t *self, rota_node_t node, bool skip, const char *reason, rota_error_t *error)
{
    node_t *it = &self->nodes[node];
    if (it->status == STATUS (DONE))
        return refuse (error, it, "cancel", ": reopen it first");
    if (it->status == STATUS (CANCELLED)) {
        if (!skip || (it->flags & F_SKIPPED))
            return 1;
        it->flags |= F_SKIPPED;
        rota_core_emit (self, EVENT (TASK_CHANGED), node)->reason = "skipped: what waits for it may go on";
        rota_core_touch (self, node);
        rota_core_set_satisfied (self, node, true);
        rota_core_refresh_dead (self, node);
        return 0;
    }
    end_with_reason (self, node, reason);
    if (skip)
        it->flags |= F_SKIPPED;
    lease_t *lease = rota_core_lease_of (self, node);
    if (lease) {
        bool already = it->flags & F_CANCEL;
        it->flags |= F_CANCEL;
        rota_core_touch (self, node);
        rota_core_stop (self, lease, "cancelled");
        return already;
    }
    rota_core_move (self, node, STATUS (CANCELLED), 0, reason);
    return 0;
}

static void flag_started (void *owner, rota_node_t node)
{
    rota_core_t *self = owner;
    node_t *it = &self->nodes[node];
    bool started =
        it->kind == NODE (TASK) && (it->place == ROTA_PLACE_RUNNING || it->status == STATUS (DONE));
    if (!started || (it->flags & F_FLAGGED))
        return;
    it->flags |= F_FLAGGED;
    rota_core_touch (self, node);
}

static int start_again (rota_core_t *self, rota_node_t node, const char *reason)
{
    node_t *it = &self->nodes[node];
    bool was_satisfied = it->flags & F_SATISFIED;
    it->attempts_used = 0;
    it->flags &= (uint16_t) ~(F_SKIPPED | F_FLAGGED | F_LOST);
    it->rounds = it->stumbles = 0;
    it->author = 0;
    it->order_ms = 0;
    it->ready_since_ms = self->now_ms;
    it->came_from = 0;
    rota_core_set_reason (self, node, NULL, 0);
    rota_core_move (self, node, STATUS (PENDING), 0, reason);
    for (rota_node_t up = node; was_satisfied && up != ROTA_NONE; up = self->nodes[up].parent)
        rota_core_successors (self, up, flag_started, self);
    return 0;
}

static int hold (rota_core_t *self, rota_node_t node, const char *reason, rota_error_t *error)
{
    node_t *it = &self->nodes[node];
    if (it->status == STATUS (BLOCKED))
        return 1;
    lease_t *lease = rota_core_lease_of (self, node);
    if (lease) {
        bool already = it->flags & F_HOLD;
        it->flags |= F_HOLD;
        rota_core_touch (self, node);
        end_with_reason (self, node, reason);
        rota_core_stop (self, lease, "held");
        return already;
    }
    if (it->place == ROTA_PLACE_ENDED)
        return refuse (error, it, "hold", "");
    rota_core_block (self, node, CAUSE (HAND), reason);
    return 0;
}

static int release (rota_core_t *self, rota_node_t node, const char *reason)
{
    node_t *it = &self->nodes[node];
    bool known = it->came_from == STATUS (NEEDS_REVIEW) || it->came_from == STATUS (NEEDS_IMPROVEMENT);
    rota_core_set_reason (self, node, NULL, 0);
    it->ready_since_ms = self->now_ms;
    it->order_ms = 0;
    it->stumbles = 0;
    if (it->phase && it->phase != PHASE (WORK))
        rota_core_move (self, node, STATUS (IN_PROGRESS), it->phase, reason);
    else if (known && it->came_from == STATUS (NEEDS_REVIEW))
        rota_core_move (self, node, STATUS (NEEDS_REVIEW), PHASE (REVIEW), reason);
    else
        rota_core_move (self, node, known ? it->came_from : STATUS (PENDING), 0, reason);
    return 0;
}

static int verdict (rota_core_t *self, rota_node_t node, bool approved, const char *reason,
                    rota_error_t *error)
{
    node_t *it = &self->nodes[node];
    bool undecided = it->status == STATUS (BLOCKED) && it->blocked == CAUSE (NEEDS_HUMAN);
    if (it->place != ROTA_PLACE_HUMAN && it->status != STATUS (NEEDS_REVIEW) && !undecided)
        return refuse (error, it, approved ? "approve" : "reject", ": it awaits no verdict");
    Rota__Phase phase = it->status == STATUS (IN_PROGRESS)       ? PHASE (APPROVAL)
                        : undecided && it->phase == PHASE (GATE) ? PHASE (GATE)
                                                                 : PHASE (REVIEW);
    rota_core_set_reason (self, node, NULL, 0);
    if (approved) {
        rota_core_advance (self, node, phase, reason);
        return 0;
    }
    it->ready_since_ms = self->now_ms;
    it->order_ms = 0;
    it->rounds = it->stumbles = 0;
    rota_core_set_reason (self, node, reason, strlen (reason));
    rota_core_move (self, node, STATUS (NEEDS_IMPROVEMENT), 0, reason);
    return 0;
}

static int set_priority (rota_core_t *self, rota_node_t node, int32_t priority, int64_t now_ms)
{
    const node_t *it = &self->nodes[node];
    if (it->priority == priority)
        return 1;
    rota_core_node_t as;
    rota_core_get (self, node, &as);
    as.class_index = it->class_index;
    as.priority = priority;
    rota_core_redefine (self, node, &as, now_ms);
    return 0;
}

static int stop_by_hand (rota_core_t *self, rota_node_t node, const char *reason)
{
    lease_t *lease = rota_core_lease_of (self, node);
    if (!lease)
        return 1;
    self->nodes[node].flags |= F_STOPPED;
    rota_core_stop (self, lease, reason);
    return 0;
}

int rota_core_control (rota_core_t *self, rota_node_t node, Rota__ControlVerb verb, const char *text,
                       size_t text_length, int32_t priority, int64_t now_ms, rota_error_t *error)
{
    rota_core_at (self, now_ms);
    node_t *it = &self->nodes[node];
    const char *given = text_length ? rota_core_text (self, "%.*s", (int)text_length, text) : NULL;
    switch (verb) {
    case VERB (CANCEL):
    case VERB (SKIP):
        return cancel (self, node, verb == VERB (SKIP), given ? given : "by hand", error);
    case VERB (RETRY):
        if (it->status == STATUS (PENDING))
            return 1;
        if (it->status != STATUS (FAILED) && it->status != STATUS (CANCELLED))
            return refuse (error, it, "retry", it->status == STATUS (DONE) ? ": `reopen` does that" : "");
        return start_again (self, node, given ? given : "retried by hand");
    case VERB (REOPEN):
        if (it->status == STATUS (PENDING))
            return 1;
        if (it->status != STATUS (DONE))
            return refuse (error, it, "reopen", "");
        return start_again (self, node, given ? given : "reopened by hand");
    case VERB (APPROVE):
    case VERB (REJECT):
        return verdict (self, node, verb == VERB (APPROVE), given ? given : "by hand", error);
    case VERB (ANSWER):
        if (it->status != STATUS (BLOCKED) || it->blocked != CAUSE (NEEDS_INPUT))
            return refuse (error, it, "answer", ": it asked nothing");
        return release (self, node, given);
    case VERB (HOLD):
        return hold (self, node, given ? given : "by hand", error);
    case VERB (RELEASE):
        if (it->status != STATUS (BLOCKED))
            return refuse (error, it, "release", ": it is not blocked");
        return release (self, node, given ? given : "released by hand");
    case VERB (PRIORITY):
        return set_priority (self, node, priority, now_ms);
    case VERB (STOP):
        return stop_by_hand (self, node, given ? given : "stopped by hand");
    default:
        return rota_error_set (error, -EPERM, "no agent of this task can take that");
    }
}
