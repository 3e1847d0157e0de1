/* The core rebuilt from the file, and what queries ask of it. */
#include "scheduler/store_internal.h"

#include "scheduler/health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed (rota_store_t *self, rota_error_t *error)
{
    return rota_error_set (error, self->failed ? self->failed : -EIO, "can't read: %s", self->failure.text);
}

/* Calls `each` for every row. 0, the first error of `each`, or -EIO. */
static int each_row (rota_store_t *self, sql_t which, int (*each) (void *owner, sqlite3_stmt *row),
                     void *owner)
{
    sqlite3_stmt *s = rota_store_sql (self, which);
    if (!s)
        return -EIO;
    int code, r = 0;
    while (r == 0 && (code = sqlite3_step (s)) == SQLITE_ROW)
        r = each (owner, s);
    if (r == 0 && code != SQLITE_DONE) {
        rota_store_fail (self, code);
        r = self->failed;
    }
    sqlite3_reset (s);
    return r;
}

static const char *text_at (sqlite3_stmt *s, int column)
{
    const char *text = (const char *)sqlite3_column_text (s, column);
    return text ? text : "";
}

/* ---------------------------------------------------------------------------------------- loading */

typedef struct {
    rota_store_t *store;
    rota_core_t *core;
    const rota_store_load_t *to;
    rota_node_t *staged; /* rows of an import that did not end */
    size_t staged_count;
    struct {
        rota_node_t node;
        rota_agent_t agent;
        int64_t assigned_ms;
        uint64_t epoch;
    } * leases;
    size_t lease_count;
    int64_t now_ms;
    /* By node: when it ended (a group: its last member), and when the last that it waits for did. Rows don't
     * say since when a task is ready that was never begun: becoming ready writes nothing. */
    struct {
        int64_t ended_ms, free_ms;
    } * turns;
    size_t turn_count;
} loading_t;

static int load_source (void *owner, sqlite3_stmt *s)
{
    loading_t *self = owner;
    self->to->on_source (self->to->owner, (uint32_t)sqlite3_column_int64 (s, 0), text_at (s, 1),
                         (size_t)sqlite3_column_bytes (s, 1), sqlite3_column_blob (s, 2),
                         (size_t)sqlite3_column_bytes (s, 2));
    return 0;
}

static int load_agent (void *owner, sqlite3_stmt *s)
{
    loading_t *self = owner;
    uint8_t instance[16] = {0};
    if (sqlite3_column_bytes (s, 4) == 16)
        memcpy (instance, sqlite3_column_blob (s, 4), 16);
    rota_agent_t agent;
    int r =
        rota_core_agent_load (self->core, text_at (s, 1), text_at (s, 2), text_at (s, 3), instance, &agent);
    if (r == 0 && agent + 1 != sqlite3_column_int64 (s, 0))
        r = -EBADMSG;
    if (r == 0)
        self->to->on_agent_version (self->to->owner, agent, text_at (s, 5));
    return r;
}

static int load_account (void *owner, sqlite3_stmt *s)
{
    loading_t *self = owner;
    rota_core_account_load (self->core, text_at (s, 1), NULL, 0);
    return rota_core_account_count (self->core) == (size_t)sqlite3_column_int64 (s, 0) ? 0 : -EBADMSG;
}

static int load_limit (void *owner, sqlite3_stmt *s)
{
    loading_t *self = owner;
    rota_core_limit_t limit = {
        .result_class = (uint8_t)sqlite3_column_int (s, 1),
        .limit_kind = (uint8_t)sqlite3_column_int (s, 2),
        .window = text_at (s, 3),
        .since_ms = sqlite3_column_int64 (s, 4),
        .until_ms = sqlite3_column_int64 (s, 5),
        .trips = (uint32_t)sqlite3_column_int64 (s, 6),
        .reason = text_at (s, 7),
    };
    rota_core_account_load (self->core, text_at (s, 0), &limit, 1);
    return 0;
}

static int load_class (void *owner, sqlite3_stmt *s)
{
    loading_t *self = owner;
    const char *names[64];
    size_t count = 0;
    char *copy = strdup (text_at (s, 3)), *rest = copy;
    if (!copy)
        return -ENOMEM;
    for (char *name; (name = strsep (&rest, "\n")) && count < 64;)
        if (*name)
            names[count++] = name;
    uint32_t index;
    bool new;
    int r = rota_core_class (self->core, (uint32_t)sqlite3_column_int64 (s, 1), text_at (s, 2),
                             strlen (text_at (s, 2)), names, count, &index, &new);
    free (copy);
    return r == 0 && index + 1 != sqlite3_column_int64 (s, 0) ? -EBADMSG : r;
}

static uint32_t index_of (int64_t key)
{
    return key > 0 && key < UINT32_MAX ? (uint32_t)(key - 1) : ROTA_NONE;
}

static int keep_staged (loading_t *self, rota_node_t node)
{
    if ((self->staged_count & (self->staged_count - 1)) == 0) {
        size_t capacity = self->staged_count ? self->staged_count * 2 : 1;
        void *grown = realloc (self->staged, capacity * sizeof *self->staged);
        if (!grown)
            return -ENOMEM;
        self->staged = grown;
    }
    self->staged[self->staged_count++] = node;
    return 0;
}

static int keep_lease (loading_t *self, rota_node_t node, rota_agent_t agent, int64_t assigned_ms,
                       uint64_t epoch)
{
    if ((self->lease_count & (self->lease_count - 1)) == 0) {
        size_t capacity = self->lease_count ? self->lease_count * 2 : 1;
        void *grown = realloc (self->leases, capacity * sizeof *self->leases);
        if (!grown)
            return -ENOMEM;
        self->leases = grown;
    }
    self->leases[self->lease_count].node = node;
    self->leases[self->lease_count].agent = agent;
    self->leases[self->lease_count].epoch = epoch;
    self->leases[self->lease_count++].assigned_ms = assigned_ms;
    return 0;
}

static int make_turns (loading_t *self, rota_node_t node)
{
    if (node < self->turn_count)
        return 0;
    size_t count = self->turn_count ? self->turn_count : 1024;
    while (count <= node)
        count *= 2;
    void *grown = realloc (self->turns, count * sizeof *self->turns);
    if (!grown)
        return -ENOMEM;
    self->turns = grown;
    memset (self->turns + self->turn_count, 0, (count - self->turn_count) * sizeof *self->turns);
    self->turn_count = count;
    return 0;
}

static int keep_end (loading_t *self, rota_node_t node, int64_t ended_ms)
{
    int r = make_turns (self, node);
    rota_core_node_t it;
    for (rota_node_t up = node; r == 0 && up != ROTA_NONE; up = it.parent) {
        if (self->turns[up].ended_ms < ended_ms)
            self->turns[up].ended_ms = ended_ms;
        if (!rota_core_get (self->core, up, &it))
            break;
    }
    return r;
}

static int keep_turn (loading_t *self, rota_node_t node, rota_node_t prerequisite)
{
    int64_t ended_ms = prerequisite < self->turn_count ? self->turns[prerequisite].ended_ms : 0;
    int r = ended_ms ? make_turns (self, node) : 0;
    if (r == 0 && ended_ms && self->turns[node].free_ms < ended_ms)
        self->turns[node].free_ms = ended_ms;
    return r;
}

/* As they had it before: since the last that they wait for ended, or their groups. */
static void give_turns (loading_t *self)
{
    size_t count = rota_core_count (self->core);
    for (rota_node_t i = 0; self->turn_count && i < count; i++) {
        rota_core_node_t it;
        if (!rota_core_get (self->core, i, &it) || it.status != STATUS (PENDING) || it.attempt)
            continue;
        for (rota_node_t up = i; up != ROTA_NONE; up = it.parent)
            if (!rota_core_get (self->core, up, &it))
                break;
            else if (up < self->turn_count && self->turns[up].free_ms)
                rota_core_load_ready (self->core, i, self->turns[up].free_ms);
    }
}

static int load_task (void *owner, sqlite3_stmt *s)
{
    loading_t *self = owner;
    rota_node_t at = index_of (sqlite3_column_int64 (s, 0));
    if ((uint64_t)sqlite3_column_int64 (s, 21) > self->store->generation)
        return keep_staged (self, at);
    int flags = sqlite3_column_int (s, 10);
    rota_core_node_t node = {
        .id = text_at (s, 1),
        .id_length = (size_t)sqlite3_column_bytes (s, 1),
        .kind = (Rota__NodeKind)sqlite3_column_int (s, 2),
        .parent = index_of (sqlite3_column_int64 (s, 3)),
        .source = (uint32_t)sqlite3_column_int64 (s, 4),
        .class_index = (uint32_t)sqlite3_column_int64 (s, 5),
        .status = (Rota__TaskStatus)sqlite3_column_int (s, 6),
        .phase = (Rota__Phase)sqlite3_column_int (s, 7),
        .blocked = (Rota__BlockCause)sqlite3_column_int (s, 8),
        .came_from = (Rota__TaskStatus)sqlite3_column_int (s, 9),
        .priority = sqlite3_column_int (s, 11),
        .complexity = (uint32_t)sqlite3_column_int (s, 12),
        .attempts_allowed = (uint32_t)sqlite3_column_int (s, 13),
        .attempts_used = (uint32_t)sqlite3_column_int (s, 14),
        .attempt = (uint32_t)sqlite3_column_int64 (s, 15),
        .approval = flags & ROW_APPROVAL,
        .keep_on_lost = flags & ROW_KEEP,
        .orphaned = flags & ROW_ORPHANED,
        .flagged = flags & ROW_FLAGGED,
        .skipped = flags & ROW_SKIPPED,
        .lost = flags & ROW_LOST,
        .cancelling = flags & ROW_CANCELLING,
        .holding = flags & ROW_HOLDING,
        .approval_of_group = flags & ROW_SILENT,
        .asked = flags & ROW_ASKED,
        .ready_since_ms = sqlite3_column_int64 (s, 17),
        .not_before_ms = sqlite3_column_int64 (s, 18),
        .reason = (const char *)sqlite3_column_text (s, 20),
        .reason_length = (size_t)sqlite3_column_bytes (s, 20),
        .wants = (uint8_t)sqlite3_column_int (s, 22),
        .author = index_of (sqlite3_column_int64 (s, 23)),
        .rounds = (uint8_t)sqlite3_column_int (s, 24),
        .stumbles = (uint8_t)sqlite3_column_int (s, 25),
        .trouble = (uint64_t)sqlite3_column_int64 (s, 26),
    };
    bool known = node.kind >= NODE (TASK) && node.kind <= NODE (MILESTONE) && node.status < ROTA_STATUSES;
    bool parent_ok = node.parent == ROTA_NONE || node.parent < at;
    if (at == ROTA_NONE || !known || !parent_ok || node.id_length == 0 || node.id_length > 200)
        return -EBADMSG;
    rota_agent_t agent = index_of (sqlite3_column_int64 (s, 16));
    if (node.author != ROTA_NONE && node.author >= rota_core_agent_count (self->core))
        return -EBADMSG;
    node.leased = agent != ROTA_NONE;
    if (agent != ROTA_NONE) {
        int r = agent < rota_core_agent_count (self->core)
                    ? keep_lease (self, at, agent, sqlite3_column_int64 (s, 19),
                                  (uint64_t)sqlite3_column_int64 (s, 28))
                    : -EBADMSG;
        if (r < 0)
            return r;
    }
    /* The end of a backoff writes nothing either. */
    if (node.not_before_ms <= self->now_ms && node.not_before_ms > node.ready_since_ms)
        node.ready_since_ms = node.not_before_ms;
    int r = rota_core_load (self->core, at, &node);
    int64_t ended_ms = sqlite3_column_int64 (s, 27);
    if (r == 0 && sqlite3_column_type (s, 29) != SQLITE_NULL)
        rota_core_health_quality (self->core, at, (uint32_t)sqlite3_column_int64 (s, 29), true);
    return r == 0 && ended_ms ? keep_end (self, at, ended_ms) : r;
}

static int load_claim (void *owner, sqlite3_stmt *s)
{
    loading_t *self = owner;
    rota_core_node_t it;
    rota_node_t node = index_of (sqlite3_column_int64 (s, 0));
    if (!rota_core_get (self->core, node, &it))
        return 0; /* of an import that did not end */
    return rota_core_claim (self->core, node, text_at (s, 2), (size_t)sqlite3_column_bytes (s, 2),
                            sqlite3_column_int (s, 1) != 0);
}

static int load_dependency (void *owner, sqlite3_stmt *s)
{
    loading_t *self = owner;
    rota_node_t node = index_of (sqlite3_column_int64 (s, 0)),
                prerequisite = index_of (sqlite3_column_int64 (s, 1));
    rota_core_node_t ignored;
    if (!rota_core_get (self->core, node, &ignored))
        return 0; /* of a staged row, removed below */
    if (!rota_core_get (self->core, prerequisite, &ignored))
        return -EBADMSG;
    int r = rota_core_link (self->core, prerequisite, node);
    return r < 0 ? r : keep_turn (self, node, prerequisite);
}

static int load_conversation (void *owner, sqlite3_stmt *s)
{
    loading_t *self = owner;
    if (sqlite3_column_bytes (s, 0) == 16)
        self->to->on_conversation (self->to->owner, sqlite3_column_blob (s, 0),
                                   (uint64_t)sqlite3_column_int64 (s, 1), sqlite3_column_blob (s, 2),
                                   (size_t)sqlite3_column_bytes (s, 2), sqlite3_column_int64 (s, 3));
    return 0;
}

static int load_all (loading_t *self, int64_t now_ms)
{
    static const struct {
        sql_t which;
        int (*each) (void *owner, sqlite3_stmt *row);
    } steps[] = {
        {SQL_LOAD_SOURCES, load_source},
        {SQL_LOAD_ACCOUNTS, load_account},
        {SQL_LOAD_LIMITS, load_limit},
        {SQL_LOAD_AGENTS, load_agent},
        {SQL_LOAD_CLASSES, load_class},
        {SQL_LOAD_TASKS, load_task},
        {SQL_LOAD_DEPENDENCIES, load_dependency},
        {SQL_LOAD_CLAIMS, load_claim},
        {SQL_LOAD_CONVERSATIONS, load_conversation},
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        int r = each_row (self->store, steps[i].which, steps[i].each, self);
        if (r < 0)
            return r;
    }
    give_turns (self);
    rota_core_open (self->core, 0, (rota_node_t)rota_core_count (self->core), true, now_ms);
    for (size_t i = 0; i < self->lease_count; i++)
        rota_core_load_lease (self->core, self->leases[i].node, self->leases[i].agent,
                              self->leases[i].assigned_ms, self->leases[i].epoch);
    return rota_core_broken (self->core) ? -ENOMEM : 0;
}

static int drop_staged (loading_t *self, rota_error_t *error)
{
    if (!self->staged_count)
        return 0;
    int r = rota_store_begin (self->store, error);
    for (size_t i = 0; i < self->staged_count && r == 0; i++)
        rota_store_unstage (self->store, self->staged[i], self->staged[i] + 1);
    return r < 0 ? r : rota_store_commit (self->store, error);
}

int rota_store_load (rota_store_t *self, rota_core_t *core, const rota_store_load_t *load, int64_t now_ms,
                     rota_error_t *error)
{
    loading_t loading = {.store = self, .core = core, .to = load, .now_ms = now_ms};
    self->failed = 0;
    self->generation = (uint64_t)rota_store_number (self, "generation", 0);
    int r = load_all (&loading, now_ms);
    if (r == -EBADMSG)
        rota_error_set (error, r, "a row doesn't fit the others: run `rota check`, restore a backup");
    else if (r == -ENOMEM)
        rota_error_set (error, r, "no memory for the tasks");
    else if (r < 0)
        failed (self, error);
    else
        r = drop_staged (&loading, error);
    rota_core_effects_clear (core);
    free (loading.staged);
    free (loading.leases);
    free (loading.turns);
    return r;
}

/* ---------------------------------------------------------------------------------------- queries */

int rota_store_definition (rota_store_t *self, rota_node_t node, rota_definition_t *ret_definition)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_GET_DEFINITION);
    if (!s)
        return -EIO;
    sqlite3_reset (s);
    sqlite3_bind_int64 (s, 1, (int64_t)node + 1);
    if (sqlite3_step (s) != SQLITE_ROW) {
        sqlite3_reset (s);
        return -ENOENT;
    }
    *ret_definition = (rota_definition_t){
        .title = (const char *)sqlite3_column_text (s, 0),
        .title_length = (size_t)sqlite3_column_bytes (s, 0),
        .spec = sqlite3_column_blob (s, 1),
        .spec_size = (size_t)sqlite3_column_bytes (s, 1),
    };
    return 0;
}

int rota_store_times (rota_store_t *self, rota_node_t node, rota_task_times_t *ret_times)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_TASK_TIMES);
    if (!s)
        return -EIO;
    sqlite3_bind_int64 (s, 1, (int64_t)node + 1);
    int r = sqlite3_step (s) == SQLITE_ROW ? 0 : -ENOENT;
    if (r == 0)
        *ret_times = (rota_task_times_t){
            .created_ms = sqlite3_column_int64 (s, 0),
            .started_ms = sqlite3_column_int64 (s, 1),
            .finished_ms = sqlite3_column_int64 (s, 2),
            .type = (Rota__TaskType)sqlite3_column_int (s, 3),
        };
    sqlite3_reset (s);
    return r;
}

/* NULL = nobody knows. */
static int64_t known_at (sqlite3_stmt *s, int at)
{
    return sqlite3_column_type (s, at) == SQLITE_NULL ? -1 : sqlite3_column_int64 (s, at);
}

int rota_store_session (rota_store_t *self, rota_node_t node, rota_session_t *ret_session)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_GET_SESSION);
    if (!s)
        return -EIO;
    sqlite3_bind_int64 (s, 1, (int64_t)node + 1);
    int r = sqlite3_step (s) == SQLITE_ROW ? 0 : -ENOENT;
    if (r == 0) {
        *ret_session = (rota_session_t){
            .agent = (rota_agent_t)(sqlite3_column_int64 (s, 0) - 1),
            .input = known_at (s, 2),
            .output = known_at (s, 3),
            .cached = known_at (s, 4),
            .cost_nano_usd = known_at (s, 5),
        };
        snprintf (ret_session->id, sizeof ret_session->id, "%s", text_at (s, 1));
    }
    sqlite3_reset (s);
    return r;
}

static void read_event (sqlite3_stmt *s, rota_stored_event_t *ret_event)
{
    int64_t change = sqlite3_column_int64 (s, 6);
    *ret_event = (rota_stored_event_t){
        .seq = (uint64_t)sqlite3_column_int64 (s, 0),
        .time_ms = sqlite3_column_int64 (s, 1),
        .event = {.type = (Rota__EventType)sqlite3_column_int (s, 2),
                  .node = index_of (sqlite3_column_int64 (s, 3)),
                  .attempt = (uint32_t)sqlite3_column_int64 (s, 4),
                  .agent = index_of (sqlite3_column_int64 (s, 5)),
                  .from = change & 15,
                  .to = change >> 4 & 15,
                  .phase = change >> 8 & 15,
                  .result_class = change >> 12 & 15,
                  .reason = (const char *)sqlite3_column_text (s, 7)},
        .reason_length = (size_t)sqlite3_column_bytes (s, 7),
    };
}

size_t rota_store_events (rota_store_t *self, uint64_t after, size_t limit, rota_node_t node, bool last,
                          bool (*each) (void *owner, const rota_stored_event_t *event), void *owner)
{
    sql_t which = node == ROTA_NONE ? SQL_EVENTS_AFTER : last ? SQL_LAST_EVENTS_OF_TASK : SQL_EVENTS_OF_TASK;
    sqlite3_stmt *s = rota_store_sql (self, which);
    if (!s)
        return 0;
    int at = 1;
    if (node != ROTA_NONE)
        sqlite3_bind_int64 (s, at++, (int64_t)node + 1);
    sqlite3_bind_int64 (s, at++, after > INT64_MAX ? INT64_MAX : (int64_t)after);
    sqlite3_bind_int64 (s, at, (int64_t)limit);
    size_t given = 0;
    bool more = true;
    while (more && sqlite3_step (s) == SQLITE_ROW) {
        rota_stored_event_t event;
        read_event (s, &event);
        more = each (owner, &event);
        given++;
    }
    sqlite3_reset (s);
    return given;
}

static uint64_t one_number (rota_store_t *self, sql_t which, int64_t *ret_second)
{
    sqlite3_stmt *s = rota_store_sql (self, which);
    if (!s)
        return 0;
    uint64_t value = 0;
    if (sqlite3_step (s) == SQLITE_ROW) {
        value = (uint64_t)sqlite3_column_int64 (s, 0);
        if (ret_second)
            *ret_second = sqlite3_column_int64 (s, 1);
    }
    sqlite3_reset (s);
    return value;
}

uint64_t rota_store_last_event (rota_store_t *self)
{
    return one_number (self, SQL_LAST_EVENT, NULL);
}

uint64_t rota_store_first_event (rota_store_t *self, int64_t *ret_time_ms)
{
    return one_number (self, SQL_FIRST_EVENT, ret_time_ms);
}

size_t rota_store_attempts (rota_store_t *self, rota_node_t node, size_t limit,
                            void (*each) (void *owner, const rota_stored_attempt_t *attempt), void *owner)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_ATTEMPTS_OF);
    if (!s)
        return 0;
    sqlite3_bind_int64 (s, 1, (int64_t)node + 1);
    sqlite3_bind_int64 (s, 2, (int64_t)limit);
    size_t given = 0;
    for (; sqlite3_step (s) == SQLITE_ROW; given++) {
        rota_stored_attempt_t attempt = {
            .number = (uint32_t)sqlite3_column_int64 (s, 0),
            .phase = (Rota__Phase)sqlite3_column_int (s, 1),
            .agent = index_of (sqlite3_column_int64 (s, 2)),
            .assigned_ms = sqlite3_column_int64 (s, 3),
            .finished_ms = sqlite3_column_int64 (s, 4),
            .result_class = (Rota__ResultClass)sqlite3_column_int (s, 5),
            .used = sqlite3_column_int (s, 6),
            .result = sqlite3_column_blob (s, 8),
            .result_size = (size_t)sqlite3_column_bytes (s, 8),
        };
        each (owner, &attempt);
    }
    sqlite3_reset (s);
    return given;
}

void rota_store_dependencies (rota_store_t *self, rota_node_t node,
                              void (*each) (void *owner, rota_node_t prerequisite, Rota__DependencyType type),
                              void *owner)
{
    sqlite3_stmt *s = rota_store_sql (self, SQL_DEPENDENCIES_OF);
    if (!s)
        return;
    sqlite3_bind_int64 (s, 1, (int64_t)node + 1);
    while (sqlite3_step (s) == SQLITE_ROW)
        each (owner, index_of (sqlite3_column_int64 (s, 0)), (Rota__DependencyType)sqlite3_column_int (s, 1));
    sqlite3_reset (s);
}
