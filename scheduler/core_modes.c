/* How the scheduler works by how things go: the mode, what decides it, what it does.
 *
 * It is decided from the agents' work of late alone. Those counters decay in every mode, so no mode feeds
 * itself: without new results a mode other than balance ends when too few are left, and with good ones when
 * the figure has crossed `end` of its threshold. Between `begin` and `end` nothing changes, nor before the
 * least time is over.
 */
#include "scheduler/core_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name, *doc;
    int32_t share, review, fixup, retry_s, fresh_s, small;
} mode_row_t;

static const mode_row_t MODE_ROWS[ROTA_MODES] = {
#define MODE(ID, name, share, review, fixup, retry_s, fresh_s, small, doc)                                   \
    [ROTA_MODE_##ID] = {name, doc, share, review, fixup, retry_s, fresh_s, small},
#define THRESHOLD(ID, begin, end, what)
#include "scheduler/modes.def"
};

enum {
#define MODE(ID, name, share, review, fixup, retry_s, fresh_s, small, doc)
#define THRESHOLD(ID, begin, end, what) ID##_BEGIN = (begin), ID##_END = (end),
#include "scheduler/modes.def"
};

const char *rota_mode_name (rota_mode_t mode)
{
    return (unsigned)mode < ROTA_MODES ? MODE_ROWS[mode].name : "?";
}

const char *rota_mode_meaning (rota_mode_t mode)
{
    return (unsigned)mode < ROTA_MODES ? MODE_ROWS[mode].doc : "";
}

rota_mode_t rota_mode_parse (const char *name, size_t length)
{
    rota_mode_t mode = 0;
    while (mode < ROTA_MODES &&
           (strlen (MODE_ROWS[mode].name) != length || memcmp (MODE_ROWS[mode].name, name, length) != 0))
        mode++;
    return mode;
}

/* --------------------------------------------------------------------------------------- what it does */

int64_t rota_core_mode_bonus_s (const rota_core_t *self, const node_t *it)
{
    const mode_row_t *row = &MODE_ROWS[self->mode.mode];
    switch (it->status) {
    case STATUS (NEEDS_REVIEW):
        return (int64_t)self->policy.weight.review_s * row->review / 100;
    case STATUS (NEEDS_IMPROVEMENT):
        return (int64_t)self->policy.weight.fixup_s * row->fixup / 100;
    default:
        return it->attempt ? row->retry_s : row->fresh_s;
    }
}

int64_t rota_core_mode_small_s (const rota_core_t *self)
{
    return (int64_t)self->policy.weight.small_s * MODE_ROWS[self->mode.mode].small / 100;
}

/* What agents, and not commands, can work on at once now; 0 = what their slots hold. One at least, so that
 * nothing waits for ever. */
static uint32_t at_most (const rota_core_t *self)
{
    int32_t share = MODE_ROWS[self->mode.mode].share;
    uint64_t slots = 0, able = 0;
    if (self->mode.mode == ROTA_MODE_STABILIZE && self->policy.mode.share)
        share = (int32_t)self->policy.mode.share;
    if (share >= 100)
        return 0;
    for (unsigned bit = 0; bit < self->capability_count; bit++)
        if (strcmp (self->capability_names[bit], "prompt") == 0 ||
            strcmp (self->capability_names[bit], "text") == 0)
            able |= UINT64_C (1) << bit;
    for (size_t i = 0; i < self->agents.count; i++) {
        const agent_t *agent = AT (self, agents, agent_t, i);
        if (agent->connected && (agent->capabilities & able))
            slots += agent->slots;
    }
    uint64_t most = slots * (uint64_t)share / 100;
    return most < 1 ? 1 : most > UINT32_MAX ? UINT32_MAX : (uint32_t)most;
}

bool rota_core_mode_holds_back (const rota_core_t *self, rota_node_t node)
{
    if (MODE_ROWS[self->mode.mode].share >= 100 ||
        rota_core_next_phase (&self->nodes[node]) != PHASE (WORK) || rota_core_is_command (self, node))
        return false;
    uint32_t most = at_most (self);
    return most && self->mode.working >= most;
}

void rota_core_mode_count (rota_core_t *self, rota_node_t node, Rota__Phase phase, int delta)
{
    if (phase == PHASE (WORK) && !rota_core_is_command (self, node))
        self->mode.working += (uint32_t)delta;
}

/* ------------------------------------------------------------------------------------- what decides it */

typedef struct {
    uint32_t failures, quality, limits;
    bool warned; /* the budget of all */
} figures_t;

static figures_t look (const rota_core_t *self)
{
    rota_rate_t rate = self->mode.agents;
    if (rate.at_ms)
        rota_rate_decay (&rate, self->now_ms, self->policy.mode.half_life_ms);
    uint32_t tally = rota_core_tally_find (self, ROTA_SCOPE_ALL, 0);
    bool warned = false;
    if (tally != ROTA_NONE) {
        const tally_t *all = &((const tally_t *)self->money.tallies.items)[tally];
        warned = (all->warned | all->exhausted) != 0;
    }
    return (figures_t){
        .failures = rota_rate_failures (&rate, self->policy.mode.samples),
        .quality = rota_rate_quality (&rate, self->policy.mode.samples),
        .limits = (uint32_t)(rate.limited * 10 / ROTA_RATE_UNIT),
        .warned = warned,
    };
}

#define BEYOND(ID, is) ((is) ? ID##_END : ID##_BEGIN)

#define WORDS_BYTES 160

/* The first reason for it in words; false: there is none. */
static bool is_to_stabilize (const rota_core_t *self, const figures_t *at, char ret_words[WORDS_BYTES])
{
    bool is = self->mode.mode == ROTA_MODE_STABILIZE;
    if (at->failures != ROTA_UNKNOWN && at->failures > BEYOND (STABILIZE_FAILURES, is))
        snprintf (
            ret_words, WORDS_BYTES,
            "%u %% of the agents' work of late failed or was found wanting (it begins beyond %u %%, and "
            "ends at %u %%)",
            at->failures / 10, STABILIZE_FAILURES_BEGIN / 10, STABILIZE_FAILURES_END / 10);
    else if (at->limits > BEYOND (STABILIZE_LIMITS, is))
        snprintf (ret_words, WORDS_BYTES,
                  "agents met about %u limits of their providers of late (more than %u)",
                  (at->limits + 5) / 10, STABILIZE_LIMITS_BEGIN / 10);
    else if (at->quality != ROTA_UNKNOWN && at->quality < BEYOND (STABILIZE_QUALITY, is))
        snprintf (ret_words, WORDS_BYTES, "the work of late scored %.2f (below %.2f)", at->quality / 1000.0,
                  STABILIZE_QUALITY_BEGIN / 1000.0);
    else
        return false;
    return true;
}

static bool is_to_accelerate (const rota_core_t *self, const figures_t *at, char ret_words[WORDS_BYTES])
{
    bool is = self->mode.mode == ROTA_MODE_ACCELERATE;
    if (at->warned || at->failures == ROTA_UNKNOWN || at->failures >= BEYOND (ACCELERATE_FAILURES, is) ||
        at->limits >= BEYOND (ACCELERATE_LIMITS, is) ||
        (at->quality != ROTA_UNKNOWN && at->quality < BEYOND (ACCELERATE_QUALITY, is)))
        return false;
    size_t used = (size_t)snprintf (ret_words, WORDS_BYTES, "%u %% of the agents' work of late failed",
                                    at->failures / 10);
    if (at->quality != ROTA_UNKNOWN)
        snprintf (ret_words + used, WORDS_BYTES - used, ", and it scored %.2f", at->quality / 1000.0);
    return true;
}

static void say_balance (const figures_t *at, char ret_words[WORDS_BYTES])
{
    if (at->failures == ROTA_UNKNOWN)
        snprintf (ret_words, WORDS_BYTES, "too little of the agents' work has ended of late to say more");
    else if (at->warned && at->failures < ACCELERATE_FAILURES_BEGIN)
        snprintf (ret_words, WORDS_BYTES,
                  "the agents' work goes well, but the budget of all is nearly used up");
    else
        snprintf (ret_words, WORDS_BYTES, "%u %% of the agents' work of late failed or was found wanting",
                  at->failures / 10);
}

/* ------------------------------------------------------------------------------------------- changes */

/* The weights are part of the order: what is queued gets the keys of the new mode. */
static void enter (rota_core_t *self, rota_mode_t mode, const char *reason)
{
    char *copy = strdup (reason);
    if (!copy) {
        self->broken = true;
        return;
    }
    free (self->mode.reason);
    self->mode.reason = copy;
    self->mode.mode = mode;
    self->mode.since_ms = self->now_ms;
    self->mode.changes++;
    self->health_changed = true;
    rota_core_reorder (self);
    const char *text = rota_core_text (self, "%s: %s", MODE_ROWS[mode].name, reason);
    rota_core_emit (self, EVENT (MODE_CHANGED), ROTA_NONE)->reason = text;
}

static bool is_pinned (const rota_core_t *self)
{
    return self->policy.mode.pinned >= 0 && self->policy.mode.pinned < ROTA_MODES;
}

void rota_core_modes_turn (rota_core_t *self)
{
    bool pinned = is_pinned (self);
    char words[WORDS_BYTES];
    if (pinned && self->mode.mode != (rota_mode_t)self->policy.mode.pinned)
        enter (self, (rota_mode_t)self->policy.mode.pinned, "the setting scheduler.mode says so");
    if (pinned || self->now_ms - self->mode.since_ms < self->policy.mode.dwell_ms ||
        self->mode.looked_ms == self->now_ms)
        return;
    self->mode.looked_ms = self->now_ms;
    const figures_t at = look (self);
    rota_mode_t wanted = is_to_stabilize (self, &at, words)    ? ROTA_MODE_STABILIZE
                         : is_to_accelerate (self, &at, words) ? ROTA_MODE_ACCELERATE
                                                               : ROTA_MODE_BALANCE;
    if (wanted == self->mode.mode)
        return;
    if (wanted == ROTA_MODE_BALANCE)
        say_balance (&at, words);
    enter (self, wanted, words);
}

int rota_core_mode_set (rota_core_t *self, rota_mode_t mode, const char *reason, int64_t now_ms)
{
    rota_core_at (self, now_ms);
    if (is_pinned (self))
        return self->mode.mode == mode ? 1 : -EPERM;
    if (self->mode.mode == mode)
        return 1;
    enter (self, mode, reason);
    return 0;
}

void rota_core_mode (const rota_core_t *self, rota_core_mode_t *ret_mode)
{
    const figures_t at = look (self);
    *ret_mode = (rota_core_mode_t){
        .mode = self->mode.mode,
        .pinned = is_pinned (self),
        .since_ms = self->mode.since_ms,
        .reason = self->mode.reason ? self->mode.reason : "nothing is known yet of the agents' work",
        .changes = self->mode.changes,
        .failure_permille = at.failures,
        .quality_permille = at.quality,
        .limits_tenths = at.limits,
        .working = self->mode.working,
        .at_most = at_most (self),
    };
}

void rota_core_mode_loaded (rota_core_t *self, const rota_core_health_state_t *state)
{
    if ((unsigned)state->mode >= ROTA_MODES || is_pinned (self))
        return;
    free (self->mode.reason);
    self->mode.reason = state->reason && state->reason[0] ? strdup (state->reason) : NULL;
    self->mode.mode = state->mode;
    self->mode.since_ms = state->since_ms < self->now_ms ? state->since_ms : self->now_ms;
    rota_core_reorder (self);
}

int rota_core_modes_verify (const rota_core_t *self, rota_error_t *error)
{
    uint32_t working = 0;
    for (size_t i = 0; i < self->leases.count; i++) {
        const lease_t *lease = AT (self, leases, lease_t, i);
        working += lease->phase == PHASE (WORK) && !rota_core_is_command (self, lease->node);
    }
    if (working != self->mode.working)
        return rota_error_set (error, -EBADMSG, "%u attempts of agents are under way, counted %u", working,
                               self->mode.working);
    if ((unsigned)self->mode.mode >= ROTA_MODES || self->mode.since_ms > self->now_ms)
        return rota_error_set (error, -EBADMSG, "the mode is %d since %lld", self->mode.mode,
                               (long long)self->mode.since_ms);
    return 0;
}
