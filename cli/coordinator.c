/* The verb coordinator: who judges work and gets the complex tasks, who else could, and a change by hand. */
#include "bus/clock.h"
#include "bus/units.h"
#include "cli/json.h"
#include "cli/link.h"

#include <stdlib.h>
#include <string.h>

static bool is_holder (const Rota__Candidates *role, const Rota__Candidate *it)
{
    return role->has_holder && role->holder.len == it->name.len &&
           memcmp (role->holder.data, it->name.data, it->name.len) == 0;
}

static void put_candidate (rota_table_t *table, const Rota__Candidates *role, const Rota__Candidate *it)
{
    char fit[ROTA_CLOCK_DURATION_BYTES];
    rota_table_add (table, ROTA_STYLE_BOLD, it->name.data, it->name.len);
    rota_table_add (table, ROTA_STYLE_PLAIN, it->kind.data, it->kind.len);
    rota_table_addf (table, ROTA_STYLE_PLAIN, "%u/%u", it->busy, it->slots);
    if (it->has_why_not) {
        char when[24];
        rota_table_addf (table, ROTA_STYLE_YELLOW, "no: it %.*s%s%s", (int)it->why_not.len,
                         (const char *)it->why_not.data, it->has_until_ms ? ", until " : "",
                         it->has_until_ms ? rota_when (it->until_ms, rota_clock_wall_ms (), when) : "");
        return;
    }
    rota_clock_duration ((int64_t)it->fit_ms, fit);
    rota_table_addf (table, is_holder (role, it) ? ROTA_STYLE_GREEN : ROTA_STYLE_PLAIN, "%s, fit for %s",
                     is_holder (role, it) ? "has the role" : "could have it", fit);
}

/* The first that can have it again by itself; 0 = nobody. */
static int64_t fit_again_ms (const Rota__Candidates *role)
{
    int64_t first_ms = 0;
    for (size_t i = 0; i < role->n_candidates; i++) {
        const Rota__Candidate *it = role->candidates[i];
        if (it->has_until_ms && (!first_ms || it->until_ms < first_ms))
            first_ms = it->until_ms;
    }
    return first_ms;
}

static void put (const rota_cli_t *cli, const Rota__Candidates *role)
{
    static const rota_column_t COLUMNS[] = {
        {.title = "CANDIDATE", .flexible = true}, {.title = "KIND"}, {.title = "BUSY"}, {.title = "STATE"}};
    char when[24], failback[ROTA_CLOCK_DURATION_BYTES];
    int64_t again_ms = fit_again_ms (role);
    char *holder = rota_clean_bytes (role->has_holder, role->holder);
    char *reason = rota_clean_bytes (role->has_reason && role->reason.len, role->reason);
    if (role->has_holder)
        printf ("coordinator: %s, epoch %llu, since %s", holder, (unsigned long long)role->epoch,
                rota_when (role->since_ms, rota_clock_wall_ms (), when));
    else
        printf ("coordinator: %snobody%s: reviews and complex tasks wait%s%s",
                rota_style (&cli->out, ROTA_STYLE_YELLOW), rota_style_end (&cli->out),
                again_ms ? " until " : "", again_ms ? rota_when (again_ms, rota_clock_wall_ms (), when) : "");
    printf ("%s%s\n", reason && *reason ? ": " : "", reason ? reason : "");
    rota_clock_duration (role->failback_ms, failback);
    if (role->by_hand)
        puts ("It keeps the role until it is unfit.");
    else if (role->n_candidates > 1)
        printf ("A preferred agent gets the role back after it was fit for %s.\n", failback);
    free (holder);
    free (reason);
    if (!role->n_candidates) {
        puts ("No agent is known that could have the role: one that takes tasks with a prompt.");
        return;
    }
    puts ("");
    rota_table_t *table = rota_table_new (COLUMNS, sizeof COLUMNS / sizeof COLUMNS[0]);
    for (size_t i = 0; table && i < role->n_candidates; i++)
        put_candidate (table, role, role->candidates[i]);
    if (table)
        rota_table_flush (table, &cli->out);
    rota_table_destroy (&table);
}

static void put_json (const Rota__CoordinatorReply *reply)
{
    const Rota__Candidates *role = reply->role;
    json_t *object = json_object (), *list = json_array ();
    rota_json_set_text (object, "holder", role->has_holder, role->holder);
    rota_json_set_number (object, "epoch", role->epoch);
    rota_json_set_number (object, "leader_epoch", reply->leader_epoch);
    rota_json_set_time (object, "since", role->since_ms);
    rota_json_set_text (object, "reason", role->has_reason, role->reason);
    rota_json_set_true (object, "by_hand", role->by_hand);
    rota_json_set_number (object, "failback_ms", role->failback_ms);
    for (size_t i = 0; i < role->n_candidates; i++) {
        const Rota__Candidate *it = role->candidates[i];
        json_t *one = json_object ();
        rota_json_set_text (one, "name", true, it->name);
        rota_json_set_text (one, "kind", true, it->kind);
        rota_json_set_text (one, "host", it->has_host, it->host);
        rota_json_set_number (one, "rank", it->rank);
        rota_json_set_number (one, "busy", it->busy);
        rota_json_set_number (one, "slots", it->slots);
        json_object_set_new (one, "fit", json_boolean (!it->has_why_not));
        rota_json_set_text (one, "why_not", it->has_why_not, it->why_not);
        if (it->has_until_ms)
            rota_json_set_time (one, "until", it->until_ms);
        if (it->has_fit_ms)
            rota_json_set_number (one, "fit_ms", it->fit_ms);
        json_array_append_new (list, one);
    }
    json_object_set_new (object, "candidates", list);
    rota_json_document (stdout, object);
}

static int show (rota_cli_t *cli, rota_link_t *link)
{
    Rota__CoordinatorQuery query = ROTA__COORDINATOR_QUERY__INIT;
    Rota__CoordinatorReply *reply = NULL;
    int code = rota_link_call (link, ROTA_MESSAGE_COORDINATOR_QUERY, &query.base, ROTA_CALL_MS,
                               ROTA_MESSAGE_COORDINATOR_REPLY, &reply);
    if (code != ROTA_EXIT_DONE)
        return code;
    if (!reply->role)
        return rota_cli_fail (ROTA_EXIT_REFUSED, "there is no coordinator: no scheduler elects one "
                                                 "(scheduler.coordinator), or none is connected");
    if (cli->json)
        put_json (reply);
    else
        put (cli, reply->role);
    return code;
}

static int change (rota_link_t *link, Rota__ControlVerb verb, const char *agent)
{
    Rota__Control request = ROTA__CONTROL__INIT;
    Rota__ControlReply *reply = NULL;
    ProtobufCBinaryData id = rota_bytes (agent);
    request.has_verb = true;
    request.verb = verb;
    request.ids = &id;
    request.n_ids = agent[0] ? 1 : 0;
    return rota_link_call (link, ROTA_MESSAGE_CONTROL, &request.base, ROTA_CALL_MS,
                           ROTA_MESSAGE_CONTROL_REPLY, &reply);
}

int rota_verb_coordinator (rota_cli_t *cli)
{
    size_t count = rota_options_argument_count (cli->options);
    const char *what = count ? rota_options_argument (cli->options, 0) : "";
    bool transfer = strcmp (what, "transfer") == 0 && count == 2;
    bool step_down = strcmp (what, "step-down") == 0 && count == 1;
    rota_link_t link;
    if (count && !transfer && !step_down)
        return rota_cli_fail (ROTA_EXIT_USAGE, "usage: rota coordinator [transfer AGENT | step-down]");
    int code = rota_link_open_any (cli, &link);
    if (code != ROTA_EXIT_DONE)
        return code;
    if (!count) {
        code = show (cli, &link);
    } else {
        const char *agent = transfer ? rota_options_argument (cli->options, 1) : "";
        code = change (&link,
                       transfer ? ROTA__CONTROL_VERB__CONTROL_VERB_TRANSFER
                                : ROTA__CONTROL_VERB__CONTROL_VERB_STEP_DOWN,
                       agent);
        if (code == ROTA_EXIT_DONE && !cli->json && transfer)
            printf ("%s is the coordinator until it is unfit\n", agent);
        else if (code == ROTA_EXIT_DONE && !cli->json)
            puts ("it steps down; another is elected if one can have the role: `rota coordinator`");
    }
    rota_link_close (&link);
    return code;
}
