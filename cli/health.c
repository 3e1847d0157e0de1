/* The verb health: how things go, of all, of each epic or of one. */
#include "bus/clock.h"
#include "cli/json.h"
#include "cli/link.h"

#include <stdlib.h>
#include <string.h>

/* ---- in words */

static void put_text (const rota_cli_t *cli, const char *name, rota_style_t style, ProtobufCBinaryData text)
{
    char *clean = rota_clean_bytes (true, text);
    printf ("%-11s %s%s%s", name, rota_style (&cli->out, style), clean ? clean : "",
            rota_style_end (&cli->out));
    free (clean);
}

static void put_mode (const rota_cli_t *cli, const Rota__HealthReply *reply)
{
    char when[24];
    put_text (cli, "mode", ROTA_STYLE_BOLD, reply->mode);
    printf (" since %s%s\n", rota_when (reply->mode_since_ms, rota_clock_wall_ms (), when),
            reply->mode_pinned ? ", by the setting scheduler.mode" : "");
    put_text (cli, "  because", ROTA_STYLE_PLAIN, reply->mode_reason);
    puts ("");
    put_text (cli, "  it means", ROTA_STYLE_PLAIN, reply->mode_meaning);
    if (reply->has_at_most)
        printf ("; at most %u at once, %u now", reply->at_most, reply->working);
    puts ("");
}

static void put_counts (const Rota__HealthPart *part)
{
    const char *separator = ": ";
    printf ("%-11s %llu", "tasks", (unsigned long long)part->total);
    for (size_t i = 0; i < part->n_counts; i++) {
        if (!part->counts[i]->tasks)
            continue;
        printf ("%s%llu %s", separator, (unsigned long long)part->counts[i]->tasks,
                rota_status_name (part->counts[i]->status));
        separator = ", ";
    }
    puts ("");
}

static void put_places (const Rota__HealthPart *part)
{
    const struct {
        const char *word;
        uint64_t tasks;
    } places[] = {{"ended", part->ended},
                  {"running", part->running},
                  {"ready", part->ready},
                  {"waiting", part->waiting},
                  {"for people", part->awaiting_human},
                  {"blocked", part->blocked},
                  {"unreachable", part->unreachable}};
    const char *separator = "";
    if (!part->total)
        return;
    printf ("%-11s ", "  of them");
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (!places[i].tasks)
            continue;
        printf ("%s%llu %s (%.0f %%)", separator, (unsigned long long)places[i].tasks, places[i].word,
                100.0 * (double)places[i].tasks / (double)part->total);
        separator = ", ";
    }
    puts ("");
    if (part->unassignable)
        printf ("%-11s %llu of the ready have no agent that could take them\n", "",
                (unsigned long long)part->unassignable);
}

static void put_late (const Rota__HealthPart *part)
{
    if (part->has_failure_permille)
        printf ("%-11s %.1f %% of about %.1f results of late failed or were found wanting\n", "failures",
                part->failure_permille / 10.0, (double)part->results_milli / 1000);
    else
        printf ("%-11s no data: nothing has come to a result of late\n", "failures");
    if (part->has_throughput_milli)
        printf ("%-11s %.1f tasks an hour of late\n", "throughput", (double)part->throughput_milli / 1000);
    else
        printf ("%-11s no data\n", "throughput");
    if (part->has_quality_permille)
        printf ("%-11s %.2f, mean of %llu task%s\n", "quality", part->quality_permille / 1000.0,
                (unsigned long long)part->scored, part->scored == 1 ? "" : "s");
    else
        printf ("%-11s no data: no task has a score\n", "quality");
}

static void put_part (const rota_cli_t *cli, const Rota__HealthPart *part)
{
    if (part->has_id) {
        put_text (cli, "group", ROTA_STYLE_BOLD, part->id);
        puts (part->complete ? ", complete" : "");
    }
    put_counts (part);
    put_places (part);
    put_late (part);
}

static void put_epics (const rota_cli_t *cli, const Rota__HealthReply *reply)
{
    static const rota_column_t COLUMNS[] = {
        {.title = "EPIC", .flexible = true}, {.title = "TASKS", .right = true},
        {.title = "ENDED", .right = true},   {.title = "RUNNING", .right = true},
        {.title = "READY", .right = true},   {.title = "WAITING", .right = true},
        {.title = "STUCK", .right = true},   {.title = "FAILURES", .right = true},
        {.title = "QUALITY", .right = true}};
    rota_table_t *table = rota_table_new (COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
    for (size_t i = 0; table && i < reply->n_groups; i++) {
        const Rota__HealthPart *it = reply->groups[i];
        const uint64_t cells[] = {it->total, it->ended,   it->running,
                                  it->ready, it->waiting, it->blocked + it->unreachable + it->awaiting_human};
        rota_table_add (table, ROTA_STYLE_BOLD, it->id.data, it->id.len);
        for (size_t c = 0; c < sizeof cells / sizeof *cells; c++)
            rota_table_addf (table, ROTA_STYLE_PLAIN, "%llu", (unsigned long long)cells[c]);
        if (it->has_failure_permille)
            rota_table_addf (table, ROTA_STYLE_PLAIN, "%.1f %%", it->failure_permille / 10.0);
        else
            rota_table_addf (table, ROTA_STYLE_DIM, "no data");
        if (it->has_quality_permille)
            rota_table_addf (table, ROTA_STYLE_PLAIN, "%.2f", it->quality_permille / 1000.0);
        else
            rota_table_addf (table, ROTA_STYLE_DIM, "no data");
    }
    puts ("");
    if (table)
        rota_table_flush (table, &cli->out);
    rota_table_destroy (&table);
}

static void put (const rota_cli_t *cli, const Rota__HealthReply *reply, bool one)
{
    if (one && reply->n_groups) {
        put_part (cli, reply->groups[0]);
        return;
    }
    put_mode (cli, reply);
    if (reply->paused || reply->disk_low)
        printf ("%-11s %s\n", "",
                reply->disk_low ? "the disk is nearly full: nothing new is begun" : "paused");
    put_part (cli, reply->all);
    printf ("%-11s %llu of %llu busy\n", "slots", (unsigned long long)reply->slots_busy,
            (unsigned long long)reply->slots);
    if (reply->n_groups)
        put_epics (cli, reply);
}

/* ---- as JSON: what nobody knows is left out */

static void set_share (json_t *object, const char *name, bool known, double value)
{
    if (known)
        json_object_set_new (object, name, json_real (value));
}

static json_t *part_json (const Rota__HealthPart *part)
{
    json_t *object = json_object (), *counts = json_object (), *places = json_object ();
    rota_json_set_text (object, "id", part->has_id, part->id);
    rota_json_set_text (object, "title", part->has_id, part->title);
    if (part->has_complete)
        json_object_set_new (object, "complete", json_boolean (part->complete));
    rota_json_set_number (object, "total", part->total);
    for (size_t i = 0; i < part->n_counts; i++)
        rota_json_set_number (counts, rota_status_name (part->counts[i]->status), part->counts[i]->tasks);
    json_object_set_new (object, "counts", counts);
    rota_json_set_number (places, "ended", part->ended);
    rota_json_set_number (places, "ready", part->ready);
    rota_json_set_number (places, "waiting", part->waiting);
    rota_json_set_number (places, "running", part->running);
    rota_json_set_number (places, "awaiting_human", part->awaiting_human);
    rota_json_set_number (places, "blocked", part->blocked);
    rota_json_set_number (places, "unreachable", part->unreachable);
    json_object_set_new (object, "places", places);
    if (part->has_unassignable)
        rota_json_set_number (object, "unassignable", part->unassignable);
    set_share (object, "failure_rate", part->has_failure_permille, part->failure_permille / 1000.0);
    set_share (object, "results", true, (double)part->results_milli / 1000);
    set_share (object, "tasks_per_hour", part->has_throughput_milli, (double)part->throughput_milli / 1000);
    set_share (object, "quality", part->has_quality_permille, part->quality_permille / 1000.0);
    rota_json_set_number (object, "scored", part->scored);
    return object;
}

static void put_json (const Rota__HealthReply *reply)
{
    json_t *object = part_json (reply->all), *groups = json_array (), *agents = json_object ();
    rota_json_set_text (object, "mode", true, reply->mode);
    rota_json_set_text (object, "mode_reason", true, reply->mode_reason);
    rota_json_set_time (object, "mode_since", reply->mode_since_ms);
    rota_json_set_true (object, "mode_pinned", reply->mode_pinned);
    rota_json_set_true (object, "paused", reply->paused);
    rota_json_set_true (object, "disk_low", reply->disk_low);
    set_share (agents, "failure_rate", reply->has_failure_permille, reply->failure_permille / 1000.0);
    set_share (agents, "quality", reply->has_quality_permille, reply->quality_permille / 1000.0);
    set_share (agents, "limits", true, reply->limits_tenths / 10.0);
    rota_json_set_number (agents, "working", reply->working);
    if (reply->has_at_most)
        rota_json_set_number (agents, "at_most", reply->at_most);
    json_object_set_new (object, "agents", agents);
    rota_json_set_number (object, "slots", reply->slots);
    rota_json_set_number (object, "slots_busy", reply->slots_busy);
    for (size_t i = 0; i < reply->n_groups; i++)
        json_array_append_new (groups, part_json (reply->groups[i]));
    json_object_set_new (object, "groups", groups);
    rota_json_set_number (object, "version", reply->version);
    rota_json_document (stdout, object);
}

int rota_verb_health (rota_cli_t *cli)
{
    const char *epic = rota_options_text (cli->options, "epic", NULL);
    Rota__HealthQuery query = ROTA__HEALTH_QUERY__INIT;
    Rota__HealthReply *reply = NULL;
    rota_link_t link;
    int code = rota_link_open_any (cli, &link);
    if (code != ROTA_EXIT_DONE)
        return code;
    query.has_group = epic != NULL;
    query.group = rota_bytes (epic ? epic : "");
    query.has_epics = query.epics = true;
    code = rota_link_call (&link, ROTA_MESSAGE_HEALTH_QUERY, &query.base, ROTA_CALL_MS,
                           ROTA_MESSAGE_HEALTH_REPLY, &reply);
    if (code == ROTA_EXIT_DONE && !reply->all)
        code = rota_cli_fail (ROTA_EXIT_UNREACHABLE, "the scheduler's answer says nothing of health");
    else if (code == ROTA_EXIT_DONE && cli->json)
        put_json (reply);
    else if (code == ROTA_EXIT_DONE)
        put (cli, reply, epic != NULL);
    rota_link_close (&link);
    return code;
}
