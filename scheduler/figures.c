/* What the scheduler counts for /metrics: attempts by kind and result, waits, commits, refusals. Nothing here
 * is stored: counters begin with the process, as those who read them expect. */
#include "scheduler/service_internal.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

double rota_figures_clock_s (void)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The index of its counters; over the room, that of "other". */
static size_t kind_index (rota_figures_t *figures, const char *name)
{
    size_t i = 0;
    while (i < figures->kind_count &&
           strncmp (figures->kinds[i].name, name, sizeof figures->kinds[i].name - 1) != 0)
        i++;
    if (i == ROTA_FIGURE_KINDS)
        return i - 1;
    if (i == figures->kind_count) {
        snprintf (figures->kinds[i].name, sizeof figures->kinds[i].name, "%s",
                  i == ROTA_FIGURE_KINDS - 1 ? "other" : name);
        figures->kind_count++;
    }
    return i;
}

static size_t kind_of (service_t *self, rota_agent_t agent)
{
    rota_core_agent_view_t view = {.kind = "none"};
    if (agent != ROTA_NONE)
        rota_core_agent_view (self->core, agent, &view);
    return kind_index (&self->figures, view.kind);
}

static void count_ended (service_t *self, const rota_core_ended_t *ended, int64_t now_ms)
{
    size_t kind = kind_of (self, ended->agent);
    if ((size_t)ended->result_class < ROTA_FIGURE_RESULTS)
        self->figures.kinds[kind].results[ended->result_class]++;
    rota_histogram_add (&self->figures.kinds[kind].duration, ROTA_METRIC_ATTEMPT_DURATION,
                        (double)(now_ms - ended->assigned_ms) / 1000);
    const Rota__Usage *usage = ended->result ? ended->result->usage : NULL;
    if (!usage)
        return;
    self->figures.kinds[kind].input_tokens += usage->input_tokens;
    self->figures.kinds[kind].output_tokens += usage->output_tokens;
    if (usage->has_cost_usd && usage->cost_usd > 0)
        self->figures.kinds[kind].cost_usd += usage->cost_usd;
}

void rota_figures_committed (service_t *self, const rota_core_effects_t *effects, double took_s)
{
    int64_t now_ms = rota_service_now_ms (self);
    rota_histogram_add (&self->figures.commit, ROTA_METRIC_COMMIT, took_s);
    for (size_t i = 0; i < effects->ended_count; i++)
        count_ended (self, &effects->ended[i], now_ms);
    for (size_t i = 0; i < effects->assign_count; i++) {
        rota_core_node_t it;
        if (!effects->assigns[i].again && rota_core_get (self->core, effects->assigns[i].node, &it) &&
            it.ready_since_ms > 0)
            rota_histogram_add (&self->figures.wait, ROTA_METRIC_QUEUE_WAIT,
                                (double)(now_ms - it.ready_since_ms) / 1000);
    }
}

/* ----------------------------------------------------------------------------------- as samples */

static void add_tasks (service_t *self, rota_metrics_t *metrics)
{
    static const char *const places[ROTA_PLACES] = {
        [ROTA_PLACE_WAITING] = "prerequisite", [ROTA_PLACE_UNREACHABLE] = "unreachable",
        [ROTA_PLACE_READY] = "slot",           [ROTA_PLACE_PARKED] = "wip",
        [ROTA_PLACE_DELAYED] = "time",         [ROTA_PLACE_RUNNING] = "attempt",
        [ROTA_PLACE_HUMAN] = "human",          [ROTA_PLACE_BLOCKED] = "release",
        [ROTA_PLACE_HELD] = "budget",
    };
    rota_core_counts_t counts;
    rota_core_counts (self->core, ROTA_NONE, rota_service_now_ms (self), &counts);
    for (int i = 1; i < ROTA_STATUSES; i++)
        rota_metrics_add (metrics, ROTA_METRIC_TASKS, (double)counts.status[i],
                          rota_status_name ((Rota__TaskStatus)i), NULL);
    for (int i = 0; i < ROTA_PLACES; i++)
        if (places[i])
            rota_metrics_add (metrics, ROTA_METRIC_TASKS_AT,
                              (double)(counts.place[i] - (i == ROTA_PLACE_READY ? counts.unassignable : 0)),
                              places[i], NULL);
    rota_metrics_add (metrics, ROTA_METRIC_TASKS_AT, (double)counts.unassignable, "agent", NULL);
    rota_metrics_add (metrics, ROTA_METRIC_RUNNING, (double)rota_core_lease_count (self->core), NULL, NULL);
    rota_metrics_add (metrics, ROTA_METRIC_PAUSED, rota_core_is_paused (self->core) || self->config.hold,
                      NULL, NULL);
}

static void add_attempts (const service_t *self, rota_metrics_t *metrics)
{
    for (size_t k = 0; k < self->figures.kind_count; k++) {
        const char *kind = self->figures.kinds[k].name;
        for (int i = 1; i < ROTA_FIGURE_RESULTS; i++)
            if (self->figures.kinds[k].results[i])
                rota_metrics_add (metrics, ROTA_METRIC_ATTEMPTS, (double)self->figures.kinds[k].results[i],
                                  kind, rota_result_class_name ((Rota__ResultClass)i));
        rota_metrics_add_histogram (metrics, ROTA_METRIC_ATTEMPT_DURATION, &self->figures.kinds[k].duration,
                                    kind);
        if (self->figures.kinds[k].input_tokens || self->figures.kinds[k].output_tokens) {
            rota_metrics_add (metrics, ROTA_METRIC_TOKENS, (double)self->figures.kinds[k].input_tokens, kind,
                              "input");
            rota_metrics_add (metrics, ROTA_METRIC_TOKENS, (double)self->figures.kinds[k].output_tokens, kind,
                              "output");
        }
        if (self->figures.kinds[k].cost_usd > 0)
            rota_metrics_add (metrics, ROTA_METRIC_COST, self->figures.kinds[k].cost_usd, kind, NULL);
    }
    rota_metrics_add_histogram (metrics, ROTA_METRIC_QUEUE_WAIT, &self->figures.wait, NULL);
    for (int again = 0; again < 2; again++)
        rota_metrics_add (metrics, ROTA_METRIC_CONTEXTS, (double)self->figures.contexts[again],
                          again ? "resend" : "attempt", NULL);
}

static void add_health (const service_t *self, rota_metrics_t *metrics)
{
    rota_core_health_t health;
    rota_core_mode_t mode;
    rota_core_health (self->core, ROTA_NONE, rota_service_now_ms (self), &health);
    rota_core_mode (self->core, &mode);
    for (rota_mode_t i = 0; i < ROTA_MODES; i++)
        rota_metrics_add (metrics, ROTA_METRIC_MODE, i == mode.mode, rota_mode_name (i), NULL);
    rota_metrics_add (metrics, ROTA_METRIC_MODE_CHANGES, (double)mode.changes, NULL, NULL);
    rota_metrics_add (metrics, ROTA_METRIC_HEALTH_SNAPSHOTS, (double)self->snapshots.made, NULL, NULL);
    rota_metrics_add (metrics, ROTA_METRIC_HEALTH_WATCHERS, (double)self->snapshots.count, NULL, NULL);
    if (health.failure_permille != ROTA_UNKNOWN)
        rota_metrics_add (metrics, ROTA_METRIC_HEALTH_FAILURES, health.failure_permille / 1000.0, NULL, NULL);
    if (health.throughput >= 0)
        rota_metrics_add (metrics, ROTA_METRIC_HEALTH_THROUGHPUT, (double)health.throughput / 1000, NULL,
                          NULL);
    if (health.quality_permille != ROTA_UNKNOWN)
        rota_metrics_add (metrics, ROTA_METRIC_HEALTH_QUALITY, health.quality_permille / 1000.0, NULL, NULL);
}

typedef enum { CONNECTED, DRAINING, FULL, DISCONNECTED, STATES } agent_state_t;

static void add_agents (service_t *self, rota_metrics_t *metrics)
{
    static const char *const states[STATES] = {"connected", "draining", "full", "disconnected"};
    uint64_t agents[ROTA_FIGURE_KINDS][STATES] = {0}, slots[ROTA_FIGURE_KINDS] = {0},
             busy[ROTA_FIGURE_KINDS] = {0};
    for (rota_agent_t i = 0; i < rota_core_agent_count (self->core); i++) {
        rota_core_agent_view_t view;
        rota_core_agent_view (self->core, i, &view);
        size_t kind = kind_index (&self->figures, view.kind);
        agents[kind][!view.connected ? DISCONNECTED
                     : view.draining ? DRAINING
                     : view.full     ? FULL
                                     : CONNECTED]++;
        slots[kind] += view.connected ? view.slots : 0;
        busy[kind] += view.connected ? view.busy : 0;
    }
    for (size_t k = 0; k < self->figures.kind_count; k++) {
        const char *kind = self->figures.kinds[k].name;
        for (int i = 0; i < STATES; i++)
            if (agents[k][i] || i == CONNECTED)
                rota_metrics_add (metrics, ROTA_METRIC_AGENTS, (double)agents[k][i], kind, states[i]);
        rota_metrics_add (metrics, ROTA_METRIC_SLOTS, (double)slots[k], kind, NULL);
        rota_metrics_add (metrics, ROTA_METRIC_SLOTS_BUSY, (double)busy[k], kind, NULL);
    }
    uint64_t limited = 0, auth = 0;
    for (rota_account_t i = 0; i < rota_core_account_count (self->core); i++) {
        rota_core_account_view_t account;
        rota_core_account_view (self->core, i, &account);
        limited += account.last.result_class == RESULT (LIMITED);
        auth += account.last.result_class == RESULT (AUTH);
    }
    rota_metrics_add (metrics, ROTA_METRIC_ACCOUNTS_CLOSED, (double)limited, "limited", NULL);
    rota_metrics_add (metrics, ROTA_METRIC_ACCOUNTS_CLOSED, (double)auth, "auth", NULL);
    rota_core_coordinator_t role;
    rota_core_coordinator (self->core, &role);
    rota_metrics_add (metrics, ROTA_METRIC_COORDINATOR, role.agent != ROTA_NONE, NULL, NULL);
}

static void add_scheduler (service_t *self, rota_metrics_t *metrics)
{
    struct stat file;
    struct statvfs disk;
    rota_process_use_t use;
    int64_t oldest_ms;
    uint64_t first = rota_store_first_event (self->store, &oldest_ms);
    rota_metrics_add (metrics, ROTA_METRIC_SCHEDULER_MESSAGES, (double)self->messages, NULL, NULL);
    rota_metrics_add (metrics, ROTA_METRIC_SCHEDULER_BATCHES, (double)self->batches, NULL, NULL);
    for (int i = 1; i < ROTA_FIGURE_CODES; i++)
        if (self->figures.refused[i])
            rota_metrics_add (metrics, ROTA_METRIC_SCHEDULER_REFUSED, (double)self->figures.refused[i],
                              rota_error_code_name ((Rota__ErrorCode)i), NULL);
    rota_metrics_add (metrics, ROTA_METRIC_SCHEDULER_DROPPED, (double)self->figures.dropped, NULL, NULL);
    rota_metrics_add_histogram (metrics, ROTA_METRIC_COMMIT, &self->figures.commit, NULL);
    rota_metrics_add (metrics, ROTA_METRIC_COMMITS_FAILED, (double)self->figures.commits_failed, NULL, NULL);
    rota_metrics_add (metrics, ROTA_METRIC_SCHEDULER_EPOCH, (double)self->epoch, NULL, NULL);
    if (stat (self->store_path, &file) == 0)
        rota_metrics_add (metrics, ROTA_METRIC_STORE_BYTES, (double)file.st_size, NULL, NULL);
    rota_metrics_add (metrics, ROTA_METRIC_WAL_BYTES, (double)rota_store_wal_bytes (self->store), NULL, NULL);
    rota_metrics_add (metrics, ROTA_METRIC_STORE_EVENTS,
                      first ? (double)(rota_store_last_event (self->store) - first + 1) : 0, NULL, NULL);
    if (statvfs (self->config.state_directory, &disk) == 0)
        rota_metrics_add (metrics, ROTA_METRIC_DISK_FREE, (double)disk.f_bavail * (double)disk.f_frsize, NULL,
                          NULL);
    rota_process_use (&use);
    rota_metrics_add_use (metrics, "scheduler", &use);
}

/* As services of their own. One that left as it should is no service that is down. */
static void add_hosts (const service_t *self, rota_metrics_t *metrics)
{
    size_t shown = 0;
    for (rota_agent_t i = 0; i < rota_core_agent_count (self->core) && shown < ROTA_FIGURE_HOSTS; i++) {
        rota_core_agent_view_t view;
        char label[ROTA_METRIC_LABEL_BYTES];
        agent_use_t none = {.leaving = true};
        const agent_use_t *last = i < self->agent_uses.count ? &self->agent_uses.items[i] : &none;
        rota_core_agent_view (self->core, i, &view);
        if ((!view.connected && (!last->known || last->leaving)) ||
            snprintf (label, sizeof label, "agent/%s", view.name) >= (int)sizeof label)
            continue;
        shown++;
        rota_metrics_add (metrics, ROTA_METRIC_UP, view.connected, label, NULL);
        if (view.connected && last->known)
            rota_metrics_add_use (metrics, label, &last->use);
    }
}

HANDLER (metrics)
{
    (void)message;
    Rota__MetricsReply reply;
    rota_metrics_t *metrics = rota_metrics_new ();
    if (!metrics) {
        rota_service_refuse (self, from, ERROR_CODE (RETRY_LATER), "no memory");
        return;
    }
    add_tasks (self, metrics);
    add_attempts (self, metrics);
    add_agents (self, metrics);
    add_health (self, metrics);
    add_scheduler (self, metrics);
    add_hosts (self, metrics); /* last: there may be many */
    if (rota_metrics_pack (metrics, &reply) == 0) {
        rota_service_answer (self, from, ROTA_MESSAGE_METRICS_REPLY, &reply.base);
        rota_metrics_unpacked (&reply);
    } else {
        rota_service_refuse (self, from, ERROR_CODE (RETRY_LATER), "no memory");
    }
    rota_metrics_destroy (&metrics);
}
