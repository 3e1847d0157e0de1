/* vocabulary.c - the words for the protocol's enums, as people, roadmap files and JSON use them. */
#include "proto/envelope.h"
#include "proto/words.h"

#include <string.h>

#define NAME_OF(table, value) name_of (table, sizeof (table) / sizeof *(table), (unsigned)(value))

static const char *name_of (const char *const *table, size_t count, unsigned value)
{
    return value < count && table[value] ? table[value] : "?";
}

static const char *const STATUSES[] = {
    [STATUS (PENDING)] = "pending",
    [STATUS (IN_PROGRESS)] = "in_progress",
    [STATUS (NEEDS_REVIEW)] = "needs_review",
    [STATUS (IN_REVIEW)] = "in_review",
    [STATUS (NEEDS_IMPROVEMENT)] = "needs_improvement",
    [STATUS (DONE)] = "done",
    [STATUS (BLOCKED)] = "blocked",
    [STATUS (FAILED)] = "failed",
    [STATUS (CANCELLED)] = "cancelled",
};

static const char *const PHASES[] = {
    [PHASE (WORK)] = "work",         [PHASE (GATE)] = "gate",   [PHASE (REVIEW)] = "review",
    [PHASE (APPROVAL)] = "approval", [PHASE (MERGE)] = "merge",
};

static const char *const CAUSES[] = {
    [CAUSE (HAND)] = "hand",
    [CAUSE (IMPORT)] = "import",
    [CAUSE (NEEDS_INPUT)] = "needs_input",
    [CAUSE (ENVIRONMENT)] = "environment",
    [CAUSE (PREREQUISITE_REOPENED)] = "prerequisite_reopened",
    [CAUSE (NEEDS_HUMAN)] = "needs_human",
};

static const char *const RESULTS[] = {
    [RESULT (OK)] = "ok",           [RESULT (FAILED)] = "failed",
    [RESULT (LIMITED)] = "limited", [RESULT (CONTEXT_LIMIT)] = "context_limit",
    [RESULT (AUTH)] = "auth",       [RESULT (NETWORK)] = "network",
    [RESULT (INVALID)] = "invalid", [RESULT (NEEDS_INPUT)] = "needs_input",
    [RESULT (TIMEOUT)] = "timeout", [RESULT (KILLED)] = "killed",
    [RESULT (LOST)] = "lost",       [RESULT (ENVIRONMENT)] = "environment",
};

static const char *const LIMITS[] = {
    [LIMIT (BURST)] = "burst",
    [LIMIT (WINDOW)] = "window",
    [LIMIT (CAPACITY)] = "capacity",
    [LIMIT (CREDIT)] = "credit",
};

static const char *const EVENTS[] = {
    [EVENT (TASK_ADDED)] = "task.added",
    [EVENT (TASK_CHANGED)] = "task.changed",
    [EVENT (TASK_MOVED)] = "task.moved",
    [EVENT (TASK_ORPHANED)] = "task.orphaned",
    [EVENT (ATTEMPT_STALE)] = "attempt.stale",
    [EVENT (AGENT_ATTACHED)] = "agent.attached",
    [EVENT (AGENT_DETACHED)] = "agent.detached",
    [EVENT (AGENT_COOLDOWN)] = "agent.cooldown",
    [EVENT (ROADMAP_IMPORTED)] = "roadmap.imported",
    [EVENT (CONTROL)] = "control",
    [EVENT (SCHEDULER_STARTED)] = "scheduler.started",
    [EVENT (SCHEDULER_STOPPED)] = "scheduler.stopped",
    [EVENT (COORDINATOR_CHANGED)] = "coordinator.changed",
    [EVENT (LOG_GAP)] = "log.gap",
    [EVENT (ATTEMPT_QUARANTINED)] = "attempt.quarantined",
    [EVENT (BUDGET_WARNING)] = "budget.warning",
    [EVENT (BUDGET_EXHAUSTED)] = "budget.exhausted",
    [EVENT (BUDGET_RELEASED)] = "budget.released",
    [EVENT (BUDGET_CHANGED)] = "budget.changed",
    [EVENT (CHECKPOINT)] = "checkpoint",
    [EVENT (ROADMAP_SETTLED)] = "roadmap.settled",
    [EVENT (DISK_LOW)] = "disk.low",
    [EVENT (TARGET_MOVED)] = "target.moved",
    [EVENT (DISK_RECOVERED)] = "disk.recovered",
    [EVENT (MODE_CHANGED)] = "mode.changed",
};

static const char *const ROLES[] = {
    [ROTA__ROLE__ROLE_READ] = "read",           [ROTA__ROLE__ROLE_SUBMIT] = "submit",
    [ROTA__ROLE__ROLE_OPERATE] = "operate",     [ROTA__ROLE__ROLE_AGENT] = "agent",
    [ROTA__ROLE__ROLE_SCHEDULER] = "scheduler", [ROTA__ROLE__ROLE_SINK] = "sink",
    [ROTA__ROLE__ROLE_BROKER] = "broker",       [ROTA__ROLE__ROLE_ADMIN] = "admin",
};

static const char *const ERROR_CODES[] = {
    [ERROR_CODE (MALFORMED)] = "MALFORMED",
    [ERROR_CODE (TOO_LARGE)] = "TOO_LARGE",
    [ERROR_CODE (UNKNOWN_TYPE)] = "UNKNOWN_TYPE",
    [ERROR_CODE (UNSUPPORTED_VERSION)] = "UNSUPPORTED_VERSION",
    [ERROR_CODE (HELLO_REQUIRED)] = "HELLO_REQUIRED",
    [ERROR_CODE (NOT_ALLOWED)] = "NOT_ALLOWED",
    [ERROR_CODE (NOT_LEADER)] = "NOT_LEADER",
    [ERROR_CODE (UNAVAILABLE)] = "UNAVAILABLE",
    [ERROR_CODE (RETRY_LATER)] = "RETRY_LATER",
    [ERROR_CODE (CONFLICT)] = "CONFLICT",
    [ERROR_CODE (CONVERSATION_ENDED)] = "CONVERSATION_ENDED",
    [ERROR_CODE (STALE)] = "STALE",
    [ERROR_CODE (NOT_FOUND)] = "NOT_FOUND",
    [ERROR_CODE (INVALID)] = "INVALID",
    [ERROR_CODE (REFUSED)] = "REFUSED",
    [ERROR_CODE (DEADLINE)] = "DEADLINE",
    [ERROR_CODE (DISK_FULL)] = "DISK_FULL",
    [ERROR_CODE (STORE_FAILED)] = "STORE_FAILED",
    [ERROR_CODE (INTERNAL)] = "INTERNAL",
    [ERROR_CODE (BUSY)] = "BUSY",
};

const char *rota_status_name (Rota__TaskStatus status)
{
    return NAME_OF (STATUSES, status);
}

Rota__TaskStatus rota_status_parse (const char *text, size_t length)
{
    for (size_t i = 1; i < sizeof STATUSES / sizeof *STATUSES; i++)
        if (strlen (STATUSES[i]) == length && memcmp (STATUSES[i], text, length) == 0)
            return (Rota__TaskStatus)i;
    return STATUS (UNSPECIFIED);
}

const char *rota_phase_name (Rota__Phase phase)
{
    return NAME_OF (PHASES, phase);
}

const char *rota_block_cause_name (Rota__BlockCause cause)
{
    return NAME_OF (CAUSES, cause);
}

const char *rota_result_class_name (Rota__ResultClass result)
{
    return NAME_OF (RESULTS, result);
}

const char *rota_limit_kind_name (Rota__LimitKind kind)
{
    return NAME_OF (LIMITS, kind);
}

const char *rota_event_type_name (Rota__EventType type)
{
    return NAME_OF (EVENTS, type);
}

const char *rota_role_name (Rota__Role role)
{
    return NAME_OF (ROLES, role);
}

Rota__Role rota_role_parse (const char *text)
{
    for (size_t i = 1; i < sizeof ROLES / sizeof *ROLES; i++)
        if (strcmp (ROLES[i], text) == 0)
            return (Rota__Role)i;
    return ROTA__ROLE__ROLE_UNSPECIFIED;
}

const char *rota_error_code_name (Rota__ErrorCode code)
{
    return NAME_OF (ERROR_CODES, code);
}
