/* Budgets: limits from the settings and by hand, what is said of them, and their rows. */
#include "scheduler/service_internal.h"

#include "bus/clock.h"
#include "bus/names.h"

#include <errno.h>

#define MAX_LINES 2000
#define MAX_CHANGES 32

/* --------------------------------------------------------------------------------- from the settings */

static int read_estimate (const service_t *self, int64_t *ret_nano_usd, int64_t *ret_tokens,
                          rota_error_t *error)
{
    char words[128], *rest = words;
    rota_limits_t limits;
    rota_limits_init (&limits);
    snprintf (words, sizeof words, "%s",
              rota_setting_text (self->config.settings, ROTA_SETTING_BUDGET_ESTIMATE));
    for (char *word; (word = strsep (&rest, " "));)
        if (*word && rota_limit_parse (word, &limits, NULL, error) < 0)
            return -EINVAL;
    int64_t usd = limits.of[ROTA_MEASURE_USD][ROTA_PERIOD_LIFE];
    int64_t tokens = limits.of[ROTA_MEASURE_TOKENS][ROTA_PERIOD_LIFE];
    if (usd < 0 || tokens < 0 || usd == ROTA_LIMIT_NONE || tokens == ROTA_LIMIT_NONE)
        return rota_error_set (error, -EINVAL, "an amount of money and tokens: \"usd=0.50 tokens=100k\"");
    *ret_nano_usd = usd;
    *ret_tokens = tokens;
    return 0;
}

/* Without a core they are only looked at. */
int rota_budget_read_settings (service_t *self, rota_error_t *error)
{
    size_t count;
    const char *const *lines = rota_setting_list (self->config.settings, ROTA_SETTING_BUDGET_LIMITS, &count);
    int64_t nano_usd = 0, tokens = 0;
    rota_error_t why = {""};
    int r = read_estimate (self, &nano_usd, &tokens, &why);
    if (r < 0)
        return rota_error_set (error, r, "budget.estimate: %s", why.text);
    if (self->core)
        rota_core_budget_defaults (self->core, nano_usd, tokens);
    for (size_t i = 0; i < count; i++) {
        char scope[ROTA_SCOPE_BYTES];
        rota_limits_t limits;
        rota_scope_t which;
        const char *name;
        r = rota_limits_parse_line (lines[i], scope, &limits, &why);
        if (r == 0)
            r = rota_scope_parse (scope, &which, &name, &why);
        if (r == 0 && self->core)
            r = rota_core_budget_set (self->core, which, name, false, &limits, 0);
        if (r < 0)
            return rota_error_set (error, r, "budget.limits: %s", why.text[0] ? why.text : "too many");
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------ the rows */

int rota_budget_load (service_t *self, rota_error_t *error)
{
    self->budgets_dirty = false;
    int r = rota_budget_read_settings (self, error);
    return r < 0 ? r : rota_store_load_budgets (self->store, self->core, error);
}

bool rota_budget_has_changes (const service_t *self)
{
    size_t count;
    rota_core_tallies_changed (self->core, &count);
    return count || self->budgets_dirty || rota_core_windows_changed (self->core);
}

void rota_budget_store (service_t *self, const rota_core_effects_t *effects)
{
    size_t count;
    const uint32_t *changed = rota_core_tallies_changed (self->core, &count);
    for (size_t i = 0; i < count; i++)
        rota_store_set_tally (self->store, self->core, changed[i]);
    rota_core_estimate_t estimate;
    for (size_t i = 0; rota_core_estimate_changed (self->core, i, &estimate); i++)
        rota_store_set_estimate (self->store, &estimate);
    for (size_t i = 0; i < effects->ended_count; i++)
        if (effects->ended[i].booked)
            rota_store_drop_reservation (self->store, effects->ended[i].node);
    for (size_t i = 0; i < effects->assign_count; i++) {
        const char *account;
        int64_t amount[ROTA_MEASURES];
        const rota_core_assign_t *it = &effects->assigns[i];
        if (!it->again && rota_core_reservation (self->core, it->node, &account, amount))
            rota_store_set_reservation (self->store, it->node, account, amount);
    }
    if (rota_core_windows_changed (self->core))
        rota_store_set_windows (self->store, self->core);
    if (self->budgets_dirty)
        rota_store_set_budgets (self->store, self->core);
}

void rota_budget_stored (service_t *self)
{
    self->budgets_dirty = false;
}

bool rota_spend_today (service_t *self, rota_agent_t agent, rota_core_tally_t *ret_tally)
{
    uint32_t tally = rota_core_tally_find (self->core, ROTA_SCOPE_AGENT, agent);
    if (tally == ROTA_NONE)
        return false;
    rota_core_tally (self->core, tally, ret_tally);
    return ret_tally->day == rota_service_now_ms (self) / 86400000 &&
           (ret_tally->spent[ROTA_PERIOD_DAY][ROTA_MEASURE_ATTEMPTS] || ret_tally->limited ||
            ret_tally->spent[ROTA_PERIOD_DAY][ROTA_MEASURE_TOKENS]);
}

/* ------------------------------------------------------------------------------------------- in words */

bool rota_budget_explain (service_t *self, rota_node_t node, char *ret_text, size_t capacity,
                          int64_t *ret_until_ms)
{
    static const char *const PER[] = {" an hour", " a day", ""};
    rota_core_hold_t hold;
    rota_core_tally_t tally;
    char limit[ROTA_CELL_BYTES], spent[ROTA_CELL_BYTES], booked[ROTA_CELL_BYTES], estimate[ROTA_CELL_BYTES];
    char at[ROTA_CLOCK_ISO_BYTES], then[160], scope[ROTA_SCOPE_BYTES];
    rota_core_budget_hold (self->core, node, &hold);
    if (hold.tally == ROTA_NONE)
        return false;
    rota_core_tally (self->core, hold.tally, &tally);
    rota_scope_write (tally.scope, tally.name, scope);
    *ret_until_ms = hold.until_ms;
    rota_clock_iso (hold.until_ms, at);
    if (hold.window) {
        snprintf (ret_text, capacity,
                  "the budget of %s holds it: %.0f %% of its subscription's window are used, %.0f %% may be; "
                  "it goes on "
                  "at %s, or after `rota budget raise %s window_share=...`",
                  scope, (double)hold.spent / 10, (double)hold.limit / 10, at, scope);
        return true;
    }
    char cell[ROTA_CELL_BYTES];
    rota_cell_name (hold.measure, hold.period, cell);
    rota_amount_write (hold.measure, hold.limit, limit);
    rota_amount_write (hold.measure, hold.spent, spent);
    rota_amount_write (hold.measure, hold.booked, booked);
    rota_amount_write (hold.measure, hold.estimate, estimate);
    if (hold.reserved)
        snprintf (then, sizeof then,
                  "it goes on when something that runs has used less than is reserved for it");
    else if (hold.estimate > hold.limit)
        snprintf (then, sizeof then,
                  "its estimate alone is more than the limit: `rota budget raise %.100s %s=...`", scope,
                  cell);
    else if (hold.until_ms)
        snprintf (then, sizeof then, "it goes on at %s", at);
    else
        snprintf (then, sizeof then, "it goes on after `rota budget raise %.80s %s=...`", scope, cell);
    snprintf (
        ret_text, capacity,
        "the budget of %s holds it: of %s%s %s are spent and %s reserved, and it is thought to need %s; %s",
        scope, limit, PER[hold.period], spent, booked, estimate, then);
    return true;
}

/* ------------------------------------------------------------------------------------------- listing */

typedef struct {
    service_t *service;
    Rota__BudgetsReply reply;
} listing_t;

static ProtobufCBinaryData copy_text (service_t *self, const char *text)
{
    size_t length = strlen (text);
    char *copy = rota_arena_alloc (self->arena, length + 1);
    if (!copy)
        return rota_bytes ("");
    memcpy (copy, text, length + 1);
    return rota_bytes_n (copy, length);
}

static Rota__BudgetLine *add_line (listing_t *self, rota_scope_t scope, const char *name, const char *measure,
                                   const char *period)
{
    char text[ROTA_SCOPE_BYTES];
    if (self->reply.n_lines == MAX_LINES) {
        self->reply.has_cut = self->reply.cut = true;
        return NULL;
    }
    Rota__BudgetLine *line = rota_arena_alloc (self->service->arena, sizeof *line);
    if (!line)
        return NULL;
    rota__budget_line__init (line);
    rota_scope_write (scope, name, text);
    line->has_scope = line->has_measure = line->has_period = true;
    line->scope = copy_text (self->service, text);
    line->measure = rota_bytes (measure);
    line->period = rota_bytes (period);
    self->reply.lines[self->reply.n_lines++] = line;
    return line;
}

static const char *const MEASURE_WORDS[] = {"usd", "tokens", "attempts"};
static const char *const PERIOD_WORDS[] = {"hour", "day", "life"};

static bool is_by_hand (const rota_core_t *core, const rota_core_tally_t *tally, int m, int p)
{
    const char *names[] = {tally->name, "*"};
    for (int i = 0; i < 2; i++) {
        rota_core_budget_view_t view;
        int at = rota_core_budget_find (core, tally->scope, names[i]);
        if (at < 0)
            continue;
        rota_core_budget_view (core, (size_t)at, &view);
        if (view.runtime.of[m][p] != ROTA_LIMIT_UNSET)
            return true;
        if (view.configured.of[m][p] != ROTA_LIMIT_UNSET)
            return false;
    }
    return false;
}

static void add_cell (listing_t *self, const rota_core_tally_t *tally, int m, int p)
{
    int64_t now_ms = rota_service_now_ms (self->service);
    int64_t length_ms = p == ROTA_PERIOD_HOUR ? 3600000 : 86400000;
    int64_t now = now_ms / length_ms;
    bool current = p == ROTA_PERIOD_LIFE || (p == ROTA_PERIOD_HOUR ? tally->hour : tally->day) >= now;
    uint32_t bit = 1u << (m * ROTA_PERIODS + p);
    Rota__BudgetLine *line = add_line (self, tally->scope, tally->name, MEASURE_WORDS[m], PERIOD_WORDS[p]);
    if (!line)
        return;
    line->has_limit = tally->limit[m][p] != ROTA_LIMIT_UNSET;
    line->limit = tally->limit[m][p];
    line->has_spent = line->has_estimated = line->has_reserved = line->has_held = true;
    line->spent = current ? tally->spent[p][m] : 0;
    line->estimated = current ? tally->estimated[p][m] : 0;
    line->reserved = tally->reserved[m];
    line->held = tally->held;
    line->has_until_ms = p != ROTA_PERIOD_LIFE;
    line->until_ms = line->has_until_ms ? (now + 1) * length_ms : 0;
    line->has_warned = line->has_exhausted = line->has_by_hand = line->has_stop = line->has_limit;
    line->warned = current && (tally->warned & bit);
    line->exhausted = current && (tally->exhausted & bit);
    line->by_hand = line->has_limit && is_by_hand (self->service->core, tally, m, p);
    line->stop = tally->stop;
}

static void add_windows (listing_t *self, const rota_core_tally_t *tally)
{
    for (size_t i = 0; i < rota_core_window_count (self->service->core); i++) {
        rota_core_window_t window;
        rota_core_window (self->service->core, i, &window);
        if (strcmp (window.account, tally->name) != 0 ||
            window.resets_ms <= rota_service_now_ms (self->service))
            continue;
        Rota__BudgetLine *line = add_line (self, tally->scope, tally->name, "window", "window");
        if (!line)
            return;
        line->has_limit = tally->window_permille != ROTA_LIMIT_UNSET;
        line->limit = tally->window_permille;
        line->has_spent = line->has_until_ms = line->has_window = true;
        line->spent = window.used_permille;
        line->until_ms = window.resets_ms;
        line->window = copy_text (self->service, window.name);
        line->has_exhausted = line->has_limit;
        line->exhausted = line->has_limit && window.used_permille >= tally->window_permille;
    }
}

/* Limits of what nothing was counted in yet. */
static void add_unused (listing_t *self, const rota_core_budget_view_t *view)
{
    for (int m = 0; m < ROTA_MEASURES; m++)
        for (int p = 0; p < ROTA_PERIODS; p++) {
            bool by_hand = view->runtime.of[m][p] != ROTA_LIMIT_UNSET;
            int64_t limit = by_hand ? view->runtime.of[m][p] : view->configured.of[m][p];
            Rota__BudgetLine *line =
                limit == ROTA_LIMIT_UNSET || limit == ROTA_LIMIT_NONE
                    ? NULL
                    : add_line (self, view->scope, view->name, MEASURE_WORDS[m], PERIOD_WORDS[p]);
            if (!line)
                continue;
            line->has_limit = line->has_by_hand = true;
            line->limit = limit;
            line->by_hand = by_hand;
        }
    int64_t share = view->runtime.window_permille != ROTA_LIMIT_UNSET ? view->runtime.window_permille
                                                                      : view->configured.window_permille;
    Rota__BudgetLine *line = share < 0 || share == ROTA_LIMIT_NONE
                                 ? NULL
                                 : add_line (self, view->scope, view->name, "window", "window");
    if (!line)
        return;
    line->has_limit = true;
    line->limit = share;
}

static bool is_limited (const rota_core_tally_t *tally)
{
    for (int m = 0; m < ROTA_MEASURES; m++)
        for (int p = 0; p < ROTA_PERIODS; p++)
            if (tally->limit[m][p] != ROTA_LIMIT_UNSET)
                return true;
    return tally->window_permille != ROTA_LIMIT_UNSET;
}

static void add_tally (listing_t *self, const rota_core_tally_t *tally, bool all)
{
    for (int m = 0; m < ROTA_MEASURES; m++)
        for (int p = 0; p < ROTA_PERIODS; p++)
            if (tally->limit[m][p] != ROTA_LIMIT_UNSET || (all && (p != ROTA_PERIOD_HOUR)))
                add_cell (self, tally, m, p);
    if (tally->scope == ROTA_SCOPE_ACCOUNT && (all || is_limited (tally)))
        add_windows (self, tally);
}

static void list (service_t *self, bool all, const char *only, listing_t *ret_listing)
{
    *ret_listing = (listing_t){.service = self};
    rota__budgets_reply__init (&ret_listing->reply);
    ret_listing->reply.lines = rota_arena_alloc (self->arena, MAX_LINES * sizeof (Rota__BudgetLine *));
    if (!ret_listing->reply.lines)
        return;
    bool any = rota_core_budget_count (self->core) > 0;
    for (size_t i = 0; i < rota_core_tally_count (self->core); i++) {
        rota_core_tally_t tally;
        char scope[ROTA_SCOPE_BYTES];
        rota_core_tally (self->core, i, &tally);
        rota_scope_write (tally.scope, tally.name, scope);
        if (only && strcmp (only, scope) != 0)
            continue;
        bool wanted = all || only || (!any && tally.scope <= ROTA_SCOPE_KIND);
        if (wanted || is_limited (&tally))
            add_tally (ret_listing, &tally, wanted);
    }
    for (size_t i = 0; i < rota_core_budget_count (self->core); i++) {
        rota_core_budget_view_t view;
        char scope[ROTA_SCOPE_BYTES];
        rota_core_budget_view (self->core, i, &view);
        rota_scope_write (view.scope, view.name, scope);
        if ((!only || strcmp (only, scope) == 0) &&
            rota_core_tally_named (self->core, view.scope, view.name) == ROTA_NONE)
            add_unused (ret_listing, &view);
    }
}

HANDLER (budgets)
{
    const Rota__BudgetsQuery *query = (const Rota__BudgetsQuery *)message;
    listing_t listing;
    list (self, query->all, NULL, &listing);
    rota_service_answer (self, from, ROTA_MESSAGE_BUDGETS_REPLY, &listing.reply.base);
}

/* ------------------------------------------------------------------------------------------- by hand */

typedef struct {
    rota_scope_t scope;
    const char *name;
    char text[ROTA_SCOPE_BYTES];
    rota_limits_t limits; /* by hand, as they will be */
    rota_core_tally_t tally;
    bool counted;
} change_t;

static int64_t now_in_force (const service_t *self, const change_t *change, int m, int p)
{
    if (change->counted)
        return change->tally.limit[m][p];
    rota_core_budget_view_t view;
    int at = rota_core_budget_find (self->core, change->scope, change->name);
    if (at < 0)
        return ROTA_LIMIT_UNSET;
    rota_core_budget_view (self->core, (size_t)at, &view);
    int64_t limit =
        view.runtime.of[m][p] != ROTA_LIMIT_UNSET ? view.runtime.of[m][p] : view.configured.of[m][p];
    return limit == ROTA_LIMIT_NONE ? ROTA_LIMIT_UNSET : limit;
}

static int raise_limits (const service_t *self, change_t *change, const rota_limits_t *to,
                         const rota_limits_t *more, rota_error_t *error)
{
    for (int m = 0; m < ROTA_MEASURES; m++)
        for (int p = 0; p < ROTA_PERIODS; p++) {
            char cell[ROTA_CELL_BYTES], limit[ROTA_CELL_BYTES];
            int64_t now = now_in_force (self, change, m, p), added = more->of[m][p];
            if (to->of[m][p] == ROTA_LIMIT_UNSET && added == ROTA_LIMIT_UNSET)
                continue;
            rota_cell_name ((rota_measure_t)m, (rota_period_t)p, cell);
            if (now == ROTA_LIMIT_UNSET)
                return rota_error_set (error, -EINVAL, "%s has no limit %s: `rota budget set` makes one",
                                       change->text, cell);
            int64_t next = added == ROTA_LIMIT_UNSET     ? to->of[m][p]
                           : now > INT64_MAX / 4 - added ? INT64_MAX / 4
                                                         : now + added;
            rota_amount_write ((rota_measure_t)m, now, limit);
            if (next < now)
                return rota_error_set (error, -EINVAL, "%s is %s already: `rota budget set` lowers it", cell,
                                       limit);
            change->limits.of[m][p] = next;
        }
    if (to->window_permille != ROTA_LIMIT_UNSET)
        change->limits.window_permille = to->window_permille;
    return 0;
}

static void allow (change_t *change, const rota_limits_t *more)
{
    for (int m = 0; m < ROTA_MEASURES; m++) {
        int64_t amount = more->of[m][ROTA_PERIOD_LIFE];
        int64_t spent = change->counted ? change->tally.spent[ROTA_PERIOD_LIFE][m] : 0;
        if (amount != ROTA_LIMIT_UNSET)
            change->limits.of[m][ROTA_PERIOD_LIFE] = amount == ROTA_LIMIT_NONE ? amount : spent + amount;
    }
}

/* "usd_per_day" */
static int forget (change_t *change, const char *word, rota_error_t *error)
{
    char cell[ROTA_CELL_BYTES];
    if (strcmp (word, "window_share") == 0) {
        change->limits.window_permille = ROTA_LIMIT_UNSET;
        return 0;
    }
    for (int m = 0; m < ROTA_MEASURES; m++)
        for (int p = 0; p < ROTA_PERIODS; p++) {
            rota_cell_name ((rota_measure_t)m, (rota_period_t)p, cell);
            if (strcmp (cell, word) != 0)
                continue;
            change->limits.of[m][p] = ROTA_LIMIT_UNSET;
            return 0;
        }
    return rota_error_set (error, -EINVAL, "\"%.60s\" is no limit: usd_per_day, tokens, ...", word);
}

static void put_together (change_t *change, const rota_limits_t *with)
{
    for (int m = 0; m < ROTA_MEASURES; m++)
        for (int p = 0; p < ROTA_PERIODS; p++)
            if (with->of[m][p] != ROTA_LIMIT_UNSET)
                change->limits.of[m][p] = with->of[m][p];
    if (with->window_permille != ROTA_LIMIT_UNSET)
        change->limits.window_permille = with->window_permille;
    if (with->stop >= 0)
        change->limits.stop = with->stop;
}

static int apply (const service_t *self, change_t *change, const Rota__BudgetChange *request,
                  rota_error_t *error)
{
    rota_limits_t given, more;
    bool remove = request->verb == ROTA__BUDGET_VERB__BUDGET_VERB_REMOVE;
    rota_limits_init (&given);
    rota_limits_init (&more);
    if (request->n_limits > MAX_CHANGES || (!request->n_limits && !remove))
        return rota_error_set (error, -EINVAL, "a limit is missing: usd_per_day=20");
    if (remove && !request->n_limits)
        rota_limits_init (&change->limits);
    for (size_t i = 0; i < request->n_limits; i++) {
        char word[100];
        snprintf (word, sizeof word, "%.*s", (int)(request->limits[i].len < 99 ? request->limits[i].len : 99),
                  request->limits[i].len ? (const char *)request->limits[i].data : "");
        int r = remove
                    ? forget (change, word, error)
                    : rota_limit_parse (word, &given,
                                        request->verb == ROTA__BUDGET_VERB__BUDGET_VERB_RAISE ? &more : NULL,
                                        error);
        if (r < 0)
            return r;
    }
    switch (request->verb) {
    case ROTA__BUDGET_VERB__BUDGET_VERB_SET:
        put_together (change, &given);
        return 0;
    case ROTA__BUDGET_VERB__BUDGET_VERB_RAISE:
        return raise_limits (self, change, &given, &more, error);
    case ROTA__BUDGET_VERB__BUDGET_VERB_ALLOW:
        allow (change, &given);
        return 0;
    case ROTA__BUDGET_VERB__BUDGET_VERB_REMOVE:
        return 0;
    default:
        return rota_error_set (error, -EINVAL, "no such change of a budget");
    }
}

/* A typing error in a task's name would be a limit that never holds. */
static int find_scope (service_t *self, const Rota__BudgetChange *request, change_t *ret_change,
                       rota_error_t *error)
{
    if (!request->scope.len || request->scope.len >= sizeof ret_change->text ||
        !rota_text_is_valid ((const char *)request->scope.data, request->scope.len, false))
        return rota_error_set (error, -EINVAL, "a scope is missing: all, kind/NAME, task/ID, ...");
    memcpy (ret_change->text, request->scope.data, request->scope.len);
    ret_change->text[request->scope.len] = '\0';
    int r = rota_scope_parse (ret_change->text, &ret_change->scope, &ret_change->name, error);
    if (r < 0)
        return r;
    bool node = ret_change->scope >= ROTA_SCOPE_EPIC && strcmp (ret_change->name, "*") != 0;
    if (node && rota_core_find (self->core, ret_change->name, strlen (ret_change->name)) == ROTA_NONE)
        return rota_error_set (error, -ENOENT, "there is no %s %s", rota_scope_word (ret_change->scope),
                               ret_change->name);
    uint32_t tally = rota_core_tally_named (self->core, ret_change->scope, ret_change->name);
    ret_change->counted = tally != ROTA_NONE;
    if (ret_change->counted)
        rota_core_tally (self->core, tally, &ret_change->tally);
    rota_core_budget_view_t view;
    int at = rota_core_budget_find (self->core, ret_change->scope, ret_change->name);
    rota_limits_init (&ret_change->limits);
    if (at >= 0) {
        rota_core_budget_view (self->core, (size_t)at, &view);
        ret_change->limits = view.runtime;
    }
    return 0;
}

HANDLER (budget_change)
{
    const Rota__BudgetChange *request = (const Rota__BudgetChange *)message;
    static const char *const WORDS[] = {"changed", "set", "raised", "removed", "allowed"};
    change_t change = {.tally = {.name = ""}};
    rota_error_t error = {""};
    char said[512];
    int r = find_scope (self, request, &change, &error);
    if (r == 0)
        r = apply (self, &change, request, &error);
    if (r < 0) {
        rota_service_refuse (self, from, r == -ENOENT ? ERROR_CODE (NOT_FOUND) : ERROR_CODE (INVALID), "%s",
                             error.text);
        return;
    }
    if (rota_core_budget_set (self->core, change.scope, change.name, true, &change.limits,
                              rota_service_now_ms (self)) < 0) {
        rota_service_refuse (self, from, ERROR_CODE (REFUSED), "there are %d budgets, which is the most",
                             ROTA_BUDGETS_MAX);
        return;
    }
    self->budgets_dirty = true;
    int length = snprintf (said, sizeof said, "%s: %s", change.text,
                           WORDS[request->verb <= ROTA__BUDGET_VERB__BUDGET_VERB_ALLOW ? request->verb : 0]);
    for (size_t i = 0; i < request->n_limits && length < (int)sizeof said - 100; i++)
        length += snprintf (said + length, sizeof said - (size_t)length, " %.*s",
                            (int)(request->limits[i].len < 90 ? request->limits[i].len : 90),
                            request->limits[i].len ? (const char *)request->limits[i].data : "");
    rota_core_note (self->core, EVENT (BUDGET_CHANGED), said);
    listing_t listing;
    list (self, false, change.text, &listing);
    rota_service_answer (self, from, ROTA_MESSAGE_BUDGETS_REPLY, &listing.reply.base);
}
