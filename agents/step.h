/* step.h - attempts that work in a clone of a repository (workspace.h), as the host sees them: what the
 * driver is told, and what it left.
 *
 * Beside an attempt's log lie LOG.spec, which the host writes before the attempt begins, and LOG.record,
 * which the driver writes at its end. An attempt without a spec has nothing to do with clones. So the result
 * of an attempt can be told by a later host, as often as it is asked.
 *
 * Owner: the host's thread.
 */
#ifndef ROTA_STEP_H
#define ROTA_STEP_H

#include "agents/adapter.h"
#include "proto/envelope.h"

/* Puts the driver before the program of *attempt (which may have none: gates and merges) and writes its spec.
 * `slot`: of the host. 0; -EINVAL the assignment is wrong; another: this place is. */
int rota_step_prepare (const rota_adapter_context_t *context, const Rota__Assignment *assignment,
                       unsigned slot, const char *log_path, rota_pool_t *pool, rota_attempt_t *attempt,
                       rota_error_t *error);

/* The same for a review of an answer: there is no clone and no driver, and the verdict is looked for all the
 * same. */
int rota_step_prepare_answer (const rota_adapter_context_t *context, const char *log_path,
                              rota_error_t *error);

/* Makes of what the program said what came of the step. True: the attempt was one at the work itself. */
bool rota_step_classify (const char *log_path, const rota_outcome_t *outcome, rota_adapter_result_t *result);

/* The other members of a batch of merges, as the spec names them; at most `capacity`, in their order. */
typedef struct {
    uint64_t key;
    uint32_t number;
    char task_id[201];
} rota_step_member_t;
#define ROTA_STEP_MEMBERS_MAX 64
size_t rota_step_members (const char *log_path, rota_step_member_t *ret_members, size_t capacity);
/* What became of member `member` (from 1), after that of the one that leads; false when its record doesn't
 * say. */
bool rota_step_classify_member (const char *log_path, size_t member, rota_adapter_result_t *result);
void rota_step_fill_member (const char *log_path, size_t member, rota_arena_t *arena, Rota__Result *result);

/* Work, gates and verdict for the report; their memory is the arena's. */
void rota_step_fill (const char *log_path, rota_arena_t *arena, Rota__Result *result);

#endif
