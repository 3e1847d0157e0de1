/* host_batch.c - batches of merges: one attempt does what several attempts are to the scheduler. The others
 * ride on the one that leads; which they are stands in its spec, what became of them in its record (step.h),
 * so that a later host knows it too.
 */
#include "agents/host_internal.h"

#include "agents/logs.h"
#include "agents/step.h"
#include "bus/log.h"
#include "proto/words.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool rota_agent_batch_fits (const rota_agent_t *self, const uint8_t store[16], const Rota__Assignment *leader)
{
    for (size_t i = 0; i < leader->n_members; i++) {
        const Rota__Assignment *it = leader->members[i];
        const rota_hold_t *older = rota_hold_find_running (&self->holds, store, it->key);
        if (it->key == leader->key || (older && older->number != it->attempt))
            return false;
    }
    return true;
}

void rota_agent_add_riders (rota_agent_t *self, const rota_hold_t *leader)
{
    char path[ROTA_LOGS_PATH_BYTES];
    rota_step_member_t members[ROTA_STEP_MEMBERS_MAX];
    if (rota_logs_path (self->state_dir, leader->task_id, strlen (leader->task_id), leader->number, path) < 0)
        return;
    size_t count = rota_step_members (path, members, ROTA_STEP_MEMBERS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (rota_hold_find (&self->holds, leader->store, members[i].key, members[i].number))
            continue; /* it came before, alone */
        rota_hold_t *hold = rota_hold_add (&self->holds, ROTA_HOLD_RIDING, leader->store, members[i].key,
                                           members[i].number, members[i].task_id);
        if (!hold)
            return; /* the scheduler sends it again */
        snprintf (hold->lead_id, sizeof hold->lead_id, "%s", leader->task_id);
        hold->lead_key = leader->key;
        hold->lead_number = leader->number;
        hold->member = (uint32_t)i + 1;
        hold->accepted_ms = leader->accepted_ms;
    }
}

rota_hold_t *rota_agent_leader_of (const rota_agent_t *self, const rota_hold_t *rider)
{
    return rota_hold_find (&self->holds, rider->store, rider->lead_key, rider->lead_number);
}

void rota_agent_judge_rider (const rota_agent_t *self, rota_hold_t *rider, const rota_outcome_t *outcome,
                             const rota_adapter_result_t *result, rota_adapter_result_t *ret_result)
{
    char path[ROTA_LOGS_PATH_BYTES], own[ROTA_LOGS_PATH_BYTES];
    *ret_result = (rota_adapter_result_t){.result_class = result->result_class};
    snprintf (ret_result->message, sizeof ret_result->message, "%s", result->message);
    bool ended = outcome->started && outcome->end == ROTA_END_NONE;
    if (rota_logs_path (self->state_dir, rider->lead_id, strlen (rider->lead_id), rider->lead_number, path) <
        0)
        return;
    bool decided = ret_result->result_class == RESULT (OK) || ret_result->result_class == RESULT (FAILED);
    if (ended && !rota_step_classify_member (path, rider->member, ret_result) && decided) {
        ret_result->result_class = RESULT (KILLED);
        snprintf (ret_result->message, sizeof ret_result->message, "its batch ended without it");
    }
    /* What all of it printed is what one of them has to show. */
    rota_error_t error;
    if (rota_logs_path (self->state_dir, rider->task_id, strlen (rider->task_id), rider->number, own) == 0 &&
        rota_logs_prepare (own, &error) == 0) {
        unlink (own);
        if (link (path, own) < 0)
            rota_log (ROTA_LOG_DEBUG, "log.missing", "attempt=%u", rider->number);
    }
}
