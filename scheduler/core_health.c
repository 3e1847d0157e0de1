/* How things go: parts of all tasks and of each group, what happened of late, scores. */
#include "scheduler/core_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------ rates */

#define STEP_Q16 62757 /* 2^(-1/16) x 65536 */
#define STEPS_MAX 1024 /* after 64 half-lives nothing is left */

static int64_t step_ms (int64_t half_life_ms)
{
    return half_life_ms > ROTA_RATE_STEPS ? half_life_ms / ROTA_RATE_STEPS : 1;
}

void rota_rate_decay (rota_rate_t *self, int64_t now_ms, int64_t half_life_ms)
{
    int64_t step = step_ms (half_life_ms), at_ms = now_ms - now_ms % step;
    if (!self->at_ms || self->at_ms > at_ms) {
        self->at_ms = at_ms; /* the first time; or the clock was set back */
        return;
    }
    int64_t steps = (at_ms - self->at_ms) / step;
    uint64_t *const counters[] = {&self->ended, &self->bad,    &self->limited,
                                  &self->done,  &self->judged, &self->quality};
    for (int64_t i = 0; i < steps && i < STEPS_MAX; i++) {
        for (size_t c = 0; c < sizeof counters / sizeof *counters; c++)
            *counters[c] = *counters[c] * STEP_Q16 >> 16;
        self->observed_ms = (self->observed_ms * STEP_Q16 >> 16) + (uint64_t)step;
    }
    self->at_ms = at_ms;
}

static uint32_t share (uint64_t part, uint64_t of, uint64_t most)
{
    uint64_t permille = part * 1000 / of;
    return (uint32_t)(permille < most ? permille : most);
}

uint32_t rota_rate_failures (const rota_rate_t *self, uint32_t least)
{
    bool enough = self->ended > 0 && self->ended >= (uint64_t)least * ROTA_RATE_UNIT;
    return enough ? share (self->bad, self->ended, 1000) : ROTA_UNKNOWN;
}

uint32_t rota_rate_quality (const rota_rate_t *self, uint32_t least)
{
    bool enough = self->judged > 0 && self->judged >= (uint64_t)least * ROTA_RATE_UNIT;
    return enough ? (uint32_t)(self->quality / self->judged) : ROTA_UNKNOWN;
}

int64_t rota_rate_throughput (const rota_rate_t *self, int64_t now_ms)
{
    int64_t observed_ms = (int64_t)self->observed_ms;
    if (self->at_ms && now_ms > self->at_ms)
        observed_ms += now_ms - self->at_ms;
    if (!self->at_ms || observed_ms < 1000)
        return -1;
    return (int64_t)((double)self->done / ROTA_RATE_UNIT * 3600.0 * 1e6 / (double)observed_ms);
}

/* ----------------------------------------------------------------------------------------- parts */

void rota_core_count_place (rota_core_t *self, rota_node_t node, uint8_t place, int delta)
{
    source_counts_t *counts = rota_core_source (self, self->nodes[node].source);
    if (counts)
        counts->place[place] += (uint64_t)(int64_t)delta;
    for (rota_node_t up = self->nodes[node].parent; up != ROTA_NONE; up = self->nodes[up].parent)
        AT (self, groups, group_t, self->nodes[up].slot)->place[place] += (uint32_t)delta;
}

/* As of the last step of the rates: the same until the next one, whatever the time of asking. */
static void fill_late (const rota_core_t *self, const rota_rate_t *kept, int64_t now_ms,
                       rota_core_health_t *ret_health)
{
    rota_rate_t rate = *kept;
    int64_t half_life_ms = self->policy.mode.half_life_ms;
    if (rate.at_ms)
        rota_rate_decay (&rate, now_ms, half_life_ms);
    ret_health->failure_permille = rota_rate_failures (&rate, 1);
    ret_health->ended_milli = rate.ended * 1000 / ROTA_RATE_UNIT;
    ret_health->throughput = rota_rate_throughput (&rate, now_ms - now_ms % step_ms (half_life_ms));
}

static void fill_scores (const scores_t *scores, rota_core_health_t *ret_health)
{
    ret_health->scored = scores->count;
    ret_health->quality_permille = scores->count ? (uint32_t)(scores->sum / scores->count) : ROTA_UNKNOWN;
}

void rota_core_health (const rota_core_t *self, rota_node_t group, int64_t now_ms,
                       rota_core_health_t *ret_health)
{
    *ret_health = (rota_core_health_t){0};
    if (group != ROTA_NONE) {
        const group_t *it = AT (self, groups, group_t, self->nodes[group].slot);
        for (size_t i = 0; i < ROTA_STATUSES; i++)
            ret_health->total += ret_health->status[i] = it->status[i];
        for (size_t i = 0; i < ROTA_PLACES; i++)
            ret_health->place[i] = it->place[i];
        fill_late (self, &it->rate, now_ms, ret_health);
        fill_scores (&it->scores, ret_health);
        return;
    }
    for (size_t s = 0; s < self->sources.count; s++) {
        const source_counts_t *counts = AT (self, sources, source_counts_t, s);
        ret_health->total += counts->total;
        for (size_t i = 0; i < ROTA_STATUSES; i++)
            ret_health->status[i] += counts->status[i];
        for (size_t i = 0; i < ROTA_PLACES; i++)
            ret_health->place[i] += counts->place[i];
    }
    for (size_t i = 0; i < self->classes.count && !rota_core_is_patient (self, now_ms); i++) {
        const class_t *class = AT (self, classes, class_t, i);
        ret_health->unassignable += class->assignable ? 0 : class->ready.count;
    }
    fill_late (self, &self->health.all, now_ms, ret_health);
    fill_scores (&self->health.scores, ret_health);
}

uint64_t rota_core_health_version (const rota_core_t *self, int64_t now_ms)
{
    return self->version + (uint64_t)(now_ms / step_ms (self->policy.mode.half_life_ms)) +
           !rota_core_is_patient (self, now_ms);
}

/* ---------------------------------------------------------------------------------------- of late */

static bool failed (Rota__ResultClass class)
{
    return class == RESULT (FAILED) || class == RESULT (INVALID) || class == RESULT (TIMEOUT) ||
           class == RESULT (CONTEXT_LIMIT) || class == RESULT (ENVIRONMENT) || class == RESULT (UNSPECIFIED);
}

static bool wants_changes (Rota__ResultClass class, const Rota__Result *result)
{
    const Rota__Verdict *verdict = class == RESULT (OK) && result ? result->verdict : NULL;
    return verdict && verdict->has_approved && !verdict->approved;
}

static void add (rota_core_t *self, rota_rate_t *rate, const rota_rate_t *more)
{
    rota_rate_decay (rate, self->now_ms, self->policy.mode.half_life_ms);
    rate->ended += more->ended * ROTA_RATE_UNIT;
    rate->bad += more->bad * ROTA_RATE_UNIT;
    rate->limited += more->limited * ROTA_RATE_UNIT;
    rate->done += more->done * ROTA_RATE_UNIT;
    rate->judged += more->judged * ROTA_RATE_UNIT;
    rate->quality += more->quality * ROTA_RATE_UNIT;
}

/* To all that the task belongs to, and to what the mode is decided by unless it is a command. */
static void count (rota_core_t *self, rota_node_t node, const rota_rate_t *more)
{
    add (self, &self->health.all, more);
    if (!rota_core_is_command (self, node))
        add (self, &self->mode.agents, more);
    for (rota_node_t up = self->nodes[node].parent; up != ROTA_NONE; up = self->nodes[up].parent)
        add (self, &AT (self, groups, group_t, self->nodes[up].slot)->rate, more);
    self->health_changed = true;
}

/* A rejection is of work that was counted when it ended: it becomes bad, and no further one. What was lost,
 * killed, out of reach or asks something says nothing of the work. */
void rota_core_health_ended (rota_core_t *self, rota_node_t node, Rota__Phase phase, Rota__ResultClass class,
                             const Rota__Result *result)
{
    rota_rate_t more = {.limited = class == RESULT (LIMITED)};
    if (phase == PHASE (WORK)) {
        more.ended = class == RESULT (OK) || failed (class);
        more.bad = failed (class);
    } else if (phase == PHASE (REVIEW)) {
        more.bad = wants_changes (class, result);
    } else {
        more.bad = class == RESULT (FAILED) || class == RESULT (INVALID) || class == RESULT (TIMEOUT);
    }
    if (more.limited || more.ended || more.bad)
        count (self, node, &more);
}

void rota_core_health_done (rota_core_t *self, rota_node_t node)
{
    count (self, node, &(rota_rate_t){.done = 1});
}

/* ----------------------------------------------------------------------------------------- scores */

static bool make_room (rota_core_t *self, rota_node_t node)
{
    if (node < self->health.score_capacity)
        return true;
    size_t capacity = self->capacity > node ? self->capacity : node + 1;
    uint16_t *of_task = realloc (self->health.score, capacity * sizeof *of_task);
    if (!of_task) {
        self->broken = true;
        return false;
    }
    memset (of_task + self->health.score_capacity, 0,
            (capacity - self->health.score_capacity) * sizeof *of_task);
    self->health.score = of_task;
    self->health.score_capacity = capacity;
    return true;
}

uint32_t rota_core_quality_of (const rota_core_t *self, rota_node_t node)
{
    bool known = node < self->health.score_capacity && self->health.score[node];
    return known ? self->health.score[node] - 1u : ROTA_UNKNOWN;
}

static void sum (scores_t *scores, uint32_t permille, int sign)
{
    scores->count += (uint64_t)(int64_t)sign;
    scores->sum += (uint64_t)(sign * (int64_t)permille);
}

static void sum_all (rota_core_t *self, rota_node_t node, uint32_t permille, int sign)
{
    if (permille == ROTA_UNKNOWN)
        return;
    sum (&self->health.scores, permille, sign);
    for (rota_node_t up = self->nodes[node].parent; up != ROTA_NONE; up = self->nodes[up].parent)
        sum (&AT (self, groups, group_t, self->nodes[up].slot)->scores, permille, sign);
}

void rota_core_health_quality (rota_core_t *self, rota_node_t node, uint32_t permille, bool loading)
{
    if (permille != ROTA_UNKNOWN && permille > 1000)
        permille = 1000;
    if (node >= self->count || self->nodes[node].kind != NODE (TASK) || !make_room (self, node))
        return;
    sum_all (self, node, rota_core_quality_of (self, node), -1);
    self->health.score[node] = (uint16_t)(permille == ROTA_UNKNOWN ? 0 : permille + 1);
    sum_all (self, node, permille, 1);
    self->version++;
    if (!loading && permille != ROTA_UNKNOWN)
        count (self, node, &(rota_rate_t){.judged = 1, .quality = permille});
}

/* ------------------------------------------------------------------------------------ kept, checked */

void rota_core_health_state (const rota_core_t *self, rota_core_health_state_t *ret_state)
{
    *ret_state = (rota_core_health_state_t){.all = self->health.all,
                                            .agents = self->mode.agents,
                                            .mode = self->mode.mode,
                                            .since_ms = self->mode.since_ms,
                                            .reason = self->mode.reason ? self->mode.reason : ""};
}

/* From the disk: sums that can't be are nothing. */
static rota_rate_t sound (const rota_core_t *self, rota_rate_t rate)
{
    const uint64_t most = (uint64_t)1 << 44;
    bool good = rate.at_ms > 0 && rate.ended < most && rate.bad < most && rate.limited < most &&
                rate.done < most && rate.judged < most && rate.observed_ms < most &&
                rate.quality <= rate.judged * 1000;
    if (!good)
        return (rota_rate_t){0};
    if (rate.at_ms > self->now_ms)
        rate.at_ms = self->now_ms;
    int64_t step = step_ms (self->policy.mode.half_life_ms);
    rate.at_ms -= rate.at_ms % step; /* the half-life may have been another */
    return rate;
}

void rota_core_health_load (rota_core_t *self, const rota_core_health_state_t *state)
{
    self->health.all = sound (self, state->all);
    self->mode.agents = sound (self, state->agents);
    rota_core_mode_loaded (self, state);
}

void rota_core_health_free (rota_core_t *self)
{
    free (self->health.score);
    free (self->mode.reason);
}

typedef struct {
    uint32_t place[ROTA_PLACES], status[ROTA_STATUSES];
    scores_t scores;
} recount_t;

static void recount (const rota_core_t *self, recount_t *groups, scores_t *ret_scores)
{
    for (rota_node_t i = 0; i < self->count; i++) {
        const node_t *it = &self->nodes[i];
        uint32_t score = rota_core_quality_of (self, i);
        if (it->kind != NODE (TASK))
            continue;
        if (score != ROTA_UNKNOWN)
            sum (ret_scores, score, 1);
        for (rota_node_t up = it->parent; up != ROTA_NONE; up = self->nodes[up].parent) {
            recount_t *group = &groups[self->nodes[up].slot];
            if (score != ROTA_UNKNOWN)
                sum (&group->scores, score, 1);
            if (it->flags & F_STAGED)
                continue;
            group->place[it->place]++;
            group->status[it->status]++;
        }
    }
}

int rota_core_health_verify (const rota_core_t *self, rota_error_t *error)
{
    recount_t *groups = calloc (self->groups.count + 1, sizeof *groups);
    scores_t scores = {0};
    int r = 0;
    if (!groups)
        return -ENOMEM;
    recount (self, groups, &scores);
    for (size_t i = 0; i < self->groups.count && r == 0; i++) {
        const group_t *kept = AT (self, groups, group_t, i);
        if (kept->node == ROTA_NONE)
            continue;
        if (memcmp (kept->place, groups[i].place, sizeof kept->place) != 0 ||
            memcmp (kept->status, groups[i].status, sizeof kept->status) != 0)
            r = rota_error_set (error, -EBADMSG, "the parts of group %zu are not what its tasks add up to",
                                i);
        else if (kept->scores.count != groups[i].scores.count || kept->scores.sum != groups[i].scores.sum)
            r = rota_error_set (error, -EBADMSG, "the scores of group %zu are not those of its tasks", i);
    }
    free (groups);
    if (r == 0 && (scores.count != self->health.scores.count || scores.sum != self->health.scores.sum))
        r = rota_error_set (error, -EBADMSG, "the scores in all are not those of the tasks");
    rota_core_health_t health;
    uint64_t by_status = 0, by_place = 0;
    rota_core_health (self, ROTA_NONE, self->now_ms, &health);
    for (size_t i = 0; i < ROTA_STATUSES; i++)
        by_status += health.status[i];
    for (size_t i = 0; i < ROTA_PLACES; i++)
        by_place += health.place[i];
    if (r == 0 && (by_status != health.total || by_place != health.total))
        r = rota_error_set (error, -EBADMSG, "the parts do not add up to all tasks");
    return r;
}
