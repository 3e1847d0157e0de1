/* The verb budget: what may be spent in each scope, what was, and limits set, raised and removed by hand. */
#include "cli/budget.h"

#include "bus/clock.h"
#include "bus/units.h"
#include "cli/json.h"

#include <stdlib.h>
#include <string.h>

#define USAGE "usage: rota budget [set SCOPE LIMIT... | raise SCOPE LIMIT... | remove SCOPE [LIMIT...]]"
#define LIMITS_MAX 32

static bool is (ProtobufCBinaryData bytes, const char *word)
{
    return bytes.len == strlen (word) && memcmp (bytes.data, word, bytes.len) == 0;
}

static void write_amount (const Rota__BudgetLine *line, int64_t amount, char ret_text[40])
{
    double usd = (double)amount / 1e9;
    if (is (line->measure, "usd"))
        snprintf (ret_text, 40, usd > 0 && usd < 0.1 ? "$%.4f" : "$%.2f", usd);
    else if (is (line->measure, "window"))
        snprintf (ret_text, 40, "%.1f %%", (double)amount / 10);
    else
        snprintf (ret_text, 40, "%lld", (long long)amount);
}

static const char *unit_of (const Rota__BudgetLine *line)
{
    return is (line->measure, "tokens") ? " tokens" : is (line->measure, "attempts") ? " attempts" : "";
}

static const char *period_of (const Rota__BudgetLine *line)
{
    return is (line->period, "hour")     ? "an hour"
           : is (line->period, "day")    ? "a day"
           : is (line->period, "window") ? "of a window"
                                         : "in all";
}

/* What no program ever said is not known, whatever it was counted as. */
static bool is_unknown (const Rota__BudgetLine *line)
{
    return line->spent > 0 && line->estimated == line->spent;
}

static void put_spent (rota_table_t *table, const Rota__BudgetLine *line)
{
    char spent[40], estimated[40];
    write_amount (line, line->spent, spent);
    write_amount (line, line->estimated, estimated);
    if (!line->has_spent)
        rota_table_addf (table, ROTA_STYLE_DIM, "nothing yet");
    else if (is_unknown (line))
        rota_table_addf (table, ROTA_STYLE_PLAIN, "unknown, counted as %s", spent);
    else if (line->estimated > 0)
        rota_table_addf (table, ROTA_STYLE_PLAIN, "%s (%s estimated)", spent, estimated);
    else
        rota_table_addf (table, ROTA_STYLE_PLAIN, "%s", spent);
}

static void put_state (rota_table_t *table, const Rota__BudgetLine *line)
{
    char until[24] = "";
    int64_t left = line->limit - line->spent;
    if (line->has_until_ms)
        rota_when (line->until_ms, rota_clock_wall_ms (), until);
    if (!line->has_limit)
        rota_table_addf (table, ROTA_STYLE_DIM, "no limit");
    else if (line->exhausted || left <= 0)
        rota_table_addf (table, ROTA_STYLE_RED, "used up%s%s%s",
                         line->has_until_ms ? " until " : ": `rota budget raise`", until,
                         line->held ? ", tasks wait" : "");
    else
        rota_table_addf (table, line->warned ? ROTA_STYLE_YELLOW : ROTA_STYLE_GREEN, "%s%s%s%s",
                         line->warned ? "nearly used up" : "ok", line->has_until_ms ? ", until " : "", until,
                         line->by_hand ? ", set by hand" : "");
}

static void put_line (rota_table_t *table, const Rota__BudgetLine *line)
{
    char amount[40];
    rota_table_add (table, ROTA_STYLE_BOLD, line->scope.data, line->scope.len);
    write_amount (line, line->limit, amount);
    if (line->has_limit)
        rota_table_addf (table, ROTA_STYLE_PLAIN, "%s%s %s", amount, unit_of (line), period_of (line));
    else
        rota_table_addf (table, ROTA_STYLE_DIM, "%.*s %s", (int)line->measure.len,
                         (const char *)line->measure.data, period_of (line));
    put_spent (table, line);
    write_amount (line, line->reserved, amount);
    rota_table_addf (table, ROTA_STYLE_PLAIN, "%s", line->reserved > 0 ? amount : "-");
    int64_t left = line->limit - line->spent - line->reserved;
    write_amount (line, left > 0 ? left : 0, amount);
    rota_table_addf (table, ROTA_STYLE_PLAIN, "%s", line->has_limit ? amount : "-");
    put_state (table, line);
}

static void put (const rota_cli_t *cli, const Rota__BudgetsReply *reply)
{
    static const rota_column_t COLUMNS[] = {{.title = "SCOPE", .flexible = true},
                                            {.title = "LIMIT"},
                                            {.title = "SPENT"},
                                            {.title = "RESERVED"},
                                            {.title = "LEFT"},
                                            {.title = "STATE"}};
    bool any = false;
    for (size_t i = 0; i < reply->n_lines; i++)
        any |= reply->lines[i]->has_limit;
    if (!any)
        puts ("There is no limit on what is spent: `rota budget set all usd_per_day=20` makes one.");
    if (!reply->n_lines)
        return;
    if (!any)
        puts ("");
    rota_table_t *table = rota_table_new (COLUMNS, sizeof COLUMNS / sizeof COLUMNS[0]);
    for (size_t i = 0; table && i < reply->n_lines; i++)
        put_line (table, reply->lines[i]);
    if (table)
        rota_table_flush (table, &cli->out);
    rota_table_destroy (&table);
    if (reply->cut)
        rota_cli_note ("there are more; these are the first %zu", reply->n_lines);
}

static json_t *amount_json (const Rota__BudgetLine *line, bool known, int64_t amount)
{
    if (!known)
        return json_null ();
    return is (line->measure, "usd")      ? json_real ((double)amount / 1e9)
           : is (line->measure, "window") ? json_real ((double)amount / 1000)
                                          : json_integer (amount);
}

static void put_json (const Rota__BudgetsReply *reply)
{
    json_t *object = json_object (), *list = json_array ();
    for (size_t i = 0; i < reply->n_lines; i++) {
        const Rota__BudgetLine *line = reply->lines[i];
        int64_t left = line->limit - line->spent - line->reserved;
        json_t *one = json_object ();
        rota_json_set_text (one, "scope", true, line->scope);
        rota_json_set_text (one, "measure", true, line->measure);
        rota_json_set_text (one, "period", true, line->period);
        rota_json_set_text (one, "window", line->has_window, line->window);
        json_object_set_new (one, "limit", amount_json (line, line->has_limit, line->limit));
        json_object_set_new (one, "spent",
                             amount_json (line, line->has_spent && !is_unknown (line), line->spent));
        json_object_set_new (one, "counted", amount_json (line, line->has_spent, line->spent));
        json_object_set_new (one, "estimated", amount_json (line, line->has_estimated, line->estimated));
        json_object_set_new (one, "reserved", amount_json (line, line->has_reserved, line->reserved));
        json_object_set_new (one, "left", amount_json (line, line->has_limit, left > 0 ? left : 0));
        if (line->has_until_ms)
            rota_json_set_time (one, "until", line->until_ms);
        rota_json_set_true (one, "warned", line->warned);
        rota_json_set_true (one, "exhausted", line->exhausted);
        rota_json_set_true (one, "by_hand", line->by_hand);
        rota_json_set_number (one, "held", line->held);
        if (line->has_limit)
            rota_json_set_string (one, "policy", line->stop ? "stop" : "finish");
        json_array_append_new (list, one);
    }
    json_object_set_new (object, "budgets", list);
    rota_json_document (stdout, object);
}

static int change (rota_link_t *link, Rota__BudgetVerb verb, const char *scope, ProtobufCBinaryData *limits,
                   size_t count, Rota__BudgetsReply **ret_reply)
{
    Rota__BudgetChange request = ROTA__BUDGET_CHANGE__INIT;
    request.has_verb = request.has_scope = true;
    request.verb = verb;
    request.scope = rota_bytes (scope);
    request.limits = limits;
    request.n_limits = count;
    return rota_link_call (link, ROTA_MESSAGE_BUDGET_CHANGE, &request.base, ROTA_CALL_MS,
                           ROTA_MESSAGE_BUDGETS_REPLY, ret_reply);
}

int rota_budget_allow (rota_link_t *link, const char *source, const char *amount)
{
    char scope[300];
    Rota__BudgetsReply *reply = NULL;
    ProtobufCBinaryData limit = rota_bytes (amount);
    snprintf (scope, sizeof scope, "source/%s", source);
    return change (link, ROTA__BUDGET_VERB__BUDGET_VERB_ALLOW, scope, &limit, 1, &reply);
}

int rota_verb_budget (rota_cli_t *cli)
{
    static const struct {
        const char *word;
        Rota__BudgetVerb verb;
    } VERBS[] = {{"set", ROTA__BUDGET_VERB__BUDGET_VERB_SET},
                 {"raise", ROTA__BUDGET_VERB__BUDGET_VERB_RAISE},
                 {"remove", ROTA__BUDGET_VERB__BUDGET_VERB_REMOVE}};
    size_t count = rota_options_argument_count (cli->options);
    Rota__BudgetVerb verb = 0;
    ProtobufCBinaryData limits[LIMITS_MAX];
    Rota__BudgetsReply *reply = NULL;
    rota_link_t link;
    for (size_t i = 0; count && i < sizeof VERBS / sizeof VERBS[0]; i++)
        if (strcmp (rota_options_argument (cli->options, 0), VERBS[i].word) == 0)
            verb = VERBS[i].verb;
    size_t least = verb == ROTA__BUDGET_VERB__BUDGET_VERB_REMOVE ? 2 : 3;
    if ((count && (!verb || count < least)) || count > LIMITS_MAX)
        return rota_cli_fail (ROTA_EXIT_USAGE, USAGE);
    for (size_t i = 2; i < count; i++)
        limits[i - 2] = rota_bytes (rota_options_argument (cli->options, i));
    int code = rota_link_open_any (cli, &link);
    if (code != ROTA_EXIT_DONE)
        return code;
    if (verb) {
        code = change (&link, verb, rota_options_argument (cli->options, 1), limits, count - 2, &reply);
    } else {
        Rota__BudgetsQuery query = ROTA__BUDGETS_QUERY__INIT;
        query.has_all = true;
        query.all = rota_options_flag (cli->options, "all");
        code = rota_link_call (&link, ROTA_MESSAGE_BUDGETS_QUERY, &query.base, ROTA_CALL_MS,
                               ROTA_MESSAGE_BUDGETS_REPLY, &reply);
    }
    if (code == ROTA_EXIT_DONE && cli->json)
        put_json (reply);
    else if (code == ROTA_EXIT_DONE)
        put (cli, reply);
    rota_link_close (&link);
    return code;
}
