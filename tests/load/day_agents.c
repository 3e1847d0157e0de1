/* Agents that are played: they work for a while, fail, meet limits, die and come back. */
#include "tests/load/day.h"

enum { SECONDS_OF_WORK = 20 }; /* at least; twice of it more at most */

static agent_row_t *agent_at (day_t *self, rota_agent_t index)
{
    rota_core_agent_view_t view;
    rota_core_agent_view (self->core, index, &view);
    for (size_t i = 0; i < AGENTS; i++)
        if (memcmp (self->agents[i].instance, view.instance, 16) == 0)
            return &self->agents[i];
    return NULL; /* of an incarnation that is gone */
}

static void name_instance (agent_row_t *agent)
{
    agent->number++;
    memcpy (agent->instance, &agent->number, sizeof agent->number);
}

void day_agents_open (day_t *self)
{
    for (uint32_t i = 0; i < AGENTS; i++) {
        agent_row_t *it = &self->agents[i];
        snprintf (it->name, sizeof it->name, "agent-%u", i);
        snprintf (it->account, sizeof it->account, "account-%u", i / AGENTS_AN_ACCOUNT);
        memcpy (it->instance + 4, &i, sizeof i);
        name_instance (it);
        it->up = true;
        it->heartbeat_ms = self->now_ms + (int64_t)(day_draw (self, i, 0) % HEARTBEAT_MS);
    }
}

void day_agents_forgotten (day_t *self)
{
    for (size_t i = 0; i < AGENTS; i++)
        self->agents[i].registered = false;
}

static void enrol (day_t *self, agent_row_t *it)
{
    static const char *const CAN[] = {"run", "prompt"};
    size_t i = (size_t)(it - self->agents);
    rota_core_agent_t agent = {.name = it->name,
                               .kind = i % 2 ? "odd" : "even",
                               .host = "here",
                               .slots = 1,
                               .capabilities = CAN,
                               .capability_count = 2,
                               .paid = i % 10 == 0,
                               .account = it->account};
    const rota_held_t held = {it->node, it->attempt, it->finished};
    memcpy (agent.instance, it->instance, 16);
    MUST (rota_core_agent_register (self->core, &agent, &held, it->working || it->finished, self->now_ms,
                                    &it->index) == 0,
          "register");
    it->registered = true;
}

/* Of the same attempt always the same, whoever does it and when. */
static void choose_end (day_t *self, agent_row_t *it)
{
    uint64_t draw = day_draw (self, it->node, it->attempt);
    it->due_ms = self->now_ms + (int64_t)(SECONDS_OF_WORK + draw / 1000 % (2 * SECONDS_OF_WORK)) * 1000;
    it->class = self->plan[it->node].poison ? RESULT (FAILED)
                : draw % 1000 < 50          ? RESULT (FAILED)
                : draw % 1000 < 100         ? RESULT (LIMITED)
                : draw % 1000 < 110         ? RESULT (NETWORK)
                                            : RESULT (OK);
}

void day_assigned (day_t *self, const rota_core_assign_t *assign)
{
    agent_row_t *it = agent_at (self, assign->agent);
    if (!it || !it->up || !it->registered)
        return;
    if ((it->working || it->finished) && it->node == assign->node && it->attempt == assign->attempt)
        return; /* sent again */
    MUST (!it->working, "%s has two tasks at once", it->name);
    MUST (assign->again || self->resting_until_ms[(it - self->agents) / AGENTS_AN_ACCOUNT] <= self->now_ms,
          "%s gets work while its account rests", it->name);
    if (!assign->again && strcmp (it->account, LIMITED_ACCOUNT) == 0) {
        if (self->limited_hour != self->now_ms / 3600000)
            self->limited_starts = 0;
        self->limited_hour = self->now_ms / 3600000;
        MUST (++self->limited_starts <= LIMITED_STARTS + AGENTS_AN_ACCOUNT, "%s begins %zu an hour",
              LIMITED_ACCOUNT, self->limited_starts);
    }
    it->node = assign->node;
    it->attempt = assign->attempt;
    it->working = true;
    it->finished = false;
    choose_end (self, it);
    rota_core_accepted (self->core, it->index, it->node, it->attempt, self->now_ms);
}

void day_stopped (day_t *self, const rota_core_stop_t *stop)
{
    agent_row_t *it = agent_at (self, stop->agent);
    if (it && it->working && it->node == stop->node && it->attempt == stop->attempt) {
        it->class = RESULT (KILLED);
        it->due_ms = self->now_ms;
    }
}

static void report (day_t *self, agent_row_t *it)
{
    static const char *const TROUBLES[] = {"no such file", "a test fails",           "it doesn't link",
                                           "wrong output", "a timeout in the tests", "no such function",
                                           "it crashed"};
    Rota__Result *result = &it->result;
    uint64_t draw = day_draw (self, it->attempt, it->node);
    rota__result__init (result);
    result->has_result_class = true;
    result->result_class = it->class;
    if (it->class == RESULT (FAILED)) {
        result->has_message = true;
        result->message = rota_bytes (TROUBLES[draw % (sizeof TROUBLES / sizeof *TROUBLES)]);
    }
    if (it->class == RESULT (LIMITED)) {
        if (!it->until_ms)
            it->until_ms = self->now_ms + 30000 + (int64_t)(draw % 120) * 1000;
        result->has_until_ms = true;
        result->until_ms = it->until_ms;
    }
    rota_core_report (self->core, it->node, it->attempt, result, self->now_ms);
}

void day_acknowledge (day_t *self)
{
    for (size_t i = 0; i < AGENTS; i++) {
        agent_row_t *it = &self->agents[i];
        if (!it->finished || !it->registered || !it->up)
            continue;
        int64_t *rests = &self->resting_until_ms[i / AGENTS_AN_ACCOUNT];
        if (it->class == RESULT (LIMITED)) {
            self->limits++;
            if (i < AGENTS_AN_ACCOUNT && self->limited_starts)
                self->limited_starts--; /* what met a limit counts for nothing */
            if (*rests < it->until_ms)
                *rests = it->until_ms;
        } else if (it->class == RESULT (OK) || it->class == RESULT (FAILED)) {
            *rests = 0; /* it worked: open after all */
        }
        self->failures += it->class == RESULT (FAILED);
        it->finished = false;
        it->until_ms = 0;
    }
}

static void die (day_t *self, agent_row_t *it)
{
    self->host_crashes++;
    if (it->registered)
        rota_core_agent_gone (self->core, it->index, self->now_ms);
    it->up = it->registered = it->working = it->finished = false;
    it->until_ms = 0;
    it->due_ms = self->now_ms + 30000 + (int64_t)(day_draw (self, (uint64_t)self->now_ms, 7) % 300) * 1000;
    name_instance (it);
}

static void live (day_t *self, agent_row_t *it)
{
    if (!it->up && it->due_ms <= self->now_ms)
        it->up = true;
    if (!it->up)
        return;
    if (it->working && it->due_ms <= self->now_ms) {
        it->working = false;
        it->finished = true;
    }
    if (!it->registered)
        enrol (self, it);
    if (it->heartbeat_ms <= self->now_ms) {
        const rota_held_t held = {it->node, it->attempt, it->finished};
        it->heartbeat_ms = self->now_ms + HEARTBEAT_MS;
        rota_core_agent_heartbeat (self->core, it->index, &held, it->working || it->finished, false, false,
                                   self->now_ms);
    }
    if (it->finished)
        report (self, it);
}

void day_agents_live (day_t *self)
{
    uint64_t draw = day_draw (self, (uint64_t)self->now_ms, 1);
    for (size_t i = 0; i < AGENTS; i++)
        live (self, &self->agents[i]);
    if (draw % 400 == 0)
        die (self, &self->agents[draw / 400 % AGENTS]);
}
