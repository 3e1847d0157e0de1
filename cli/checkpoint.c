/* The verb checkpoint: the essential state kept, listed, read, gone back to. */
#include "bus/clock.h"
#include "cli/json.h"
#include "cli/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define USAGE "usage: rota checkpoint [list | show ID | restore ID]"
#define LIST_DEFAULT 50
#define LIST_MAX 999

/* ---- list, and what was taken */

static json_t *head_json (const Rota__Checkpoint *it)
{
    json_t *object = json_object ();
    rota_json_set_number (object, "id", it->id);
    rota_json_set_time (object, "time", it->time_ms);
    rota_json_set_text (object, "cause", it->has_cause, it->cause);
    rota_json_set_number (object, "size_bytes", it->size_bytes);
    return object;
}

static void put_list (const rota_cli_t *cli, const Rota__CheckpointsReply *reply)
{
    static const rota_column_t COLUMNS[] = {{.title = "ID", .right = true},
                                            {.title = "TIME"},
                                            {.title = "CAUSE"},
                                            {.title = "SIZE", .right = true}};
    if (!reply->n_checkpoints) {
        puts ("There is no checkpoint: `rota checkpoint` takes one.");
        return;
    }
    rota_table_t *table = rota_table_new (COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
    for (size_t i = 0; table && i < reply->n_checkpoints; i++) {
        char when[24], size[24];
        const Rota__Checkpoint *it = reply->checkpoints[i];
        rota_table_addf (table, ROTA_STYLE_BOLD, "%llu", (unsigned long long)it->id);
        rota_table_addf (table, ROTA_STYLE_PLAIN, "%s", rota_when (it->time_ms, rota_clock_wall_ms (), when));
        rota_table_add (table, ROTA_STYLE_PLAIN, it->cause.data, it->cause.len);
        rota_table_addf (table, ROTA_STYLE_PLAIN, "%s", rota_size (it->size_bytes, size));
    }
    if (table)
        rota_table_flush (table, &cli->out);
    rota_table_destroy (&table);
    if (reply->more)
        rota_cli_note ("there are older ones: --limit shows more");
}

static void list_json (const Rota__CheckpointsReply *reply)
{
    json_t *object = json_object (), *list = json_array ();
    for (size_t i = 0; i < reply->n_checkpoints; i++)
        json_array_append_new (list, head_json (reply->checkpoints[i]));
    json_object_set_new (object, "checkpoints", list);
    rota_json_set_true (object, "more", reply->more);
    rota_json_document (stdout, object);
}

static void put_taken (const rota_cli_t *cli, const Rota__Checkpoint *it)
{
    char size[24];
    if (cli->json)
        rota_json_document (stdout, head_json (it));
    else
        printf ("checkpoint %llu (%s)\n", (unsigned long long)it->id, rota_size (it->size_bytes, size));
}

/* ---- show */

static json_t *texts_json (const ProtobufCBinaryData *items, size_t count)
{
    json_t *list = json_array ();
    for (size_t i = 0; i < count; i++) {
        char *text = rota_clean_bytes (true, items[i]);
        if (text)
            json_array_append_new (list, json_string (text));
        free (text);
    }
    return list;
}

static json_t *lists_json (const Rota__CheckpointBody *body, json_t *object)
{
    json_t *attempts = json_array (), *accounts = json_array (), *spent = json_array ();
    json_t *priorities = json_array ();
    for (size_t i = 0; i < body->n_attempts; i++) {
        json_t *one = json_object ();
        rota_json_set_text (one, "id", true, body->attempts[i]->task);
        rota_json_set_number (one, "attempt", body->attempts[i]->attempt);
        rota_json_set_text (one, "agent", true, body->attempts[i]->agent);
        rota_json_set_string (one, "phase", rota_phase_name (body->attempts[i]->phase));
        json_array_append_new (attempts, one);
    }
    for (size_t i = 0; i < body->n_accounts; i++) {
        json_t *one = json_object ();
        rota_json_set_text (one, "account", true, body->accounts[i]->name);
        rota_json_set_string (one, "class", rota_result_class_name (body->accounts[i]->result_class));
        rota_json_set_time (one, "until", body->accounts[i]->until_ms);
        rota_json_set_true (one, "by_hand", !body->accounts[i]->has_until_ms);
        json_array_append_new (accounts, one);
    }
    for (size_t i = 0; i < body->n_spent; i++) {
        json_t *one = json_object ();
        rota_json_set_text (one, "scope", true, body->spent[i]->scope);
        json_object_set_new (one, "usd", json_real ((double)body->spent[i]->nano_usd / 1e9));
        json_object_set_new (one, "tokens", json_integer (body->spent[i]->tokens));
        json_object_set_new (one, "attempts", json_integer (body->spent[i]->attempts));
        json_array_append_new (spent, one);
    }
    for (size_t i = 0; i < body->n_priorities; i++) {
        json_t *one = json_object ();
        rota_json_set_text (one, "id", true, body->priorities[i]->task);
        json_object_set_new (one, "priority", json_integer (body->priorities[i]->priority));
        json_array_append_new (priorities, one);
    }
    json_object_set_new (object, "attempts", attempts);
    json_object_set_new (object, "accounts", accounts);
    rota_json_set_number (object, "resting", body->resting);
    json_object_set_new (object, "spent", spent);
    json_object_set_new (object, "drained", texts_json (body->drained, body->n_drained));
    rota_json_set_number (object, "drained_count", body->drained_count);
    json_object_set_new (object, "priorities", priorities);
    rota_json_set_number (object, "priority_count", body->priority_count);
    return object;
}

static void show_json (const Rota__Checkpoint *it)
{
    const Rota__CheckpointBody *body = it->body;
    json_t *object = head_json (it), *tasks = json_object ();
    for (size_t i = 1; i < body->n_statuses; i++)
        if (rota_status_name ((Rota__TaskStatus)i)[0] != '?')
            rota_json_set_number (tasks, rota_status_name ((Rota__TaskStatus)i), body->statuses[i]);
    json_object_set_new (object, "tasks", tasks);
    rota_json_set_text (object, "mode", body->has_mode, body->mode);
    rota_json_set_text (object, "mode_reason", body->has_mode, body->mode_reason);
    rota_json_set_time (object, "mode_since", body->mode_since_ms);
    rota_json_set_number (object, "ready", body->ready);
    rota_json_set_number (object, "waiting", body->waiting);
    rota_json_set_number (object, "delayed", body->delayed);
    rota_json_set_number (object, "running", body->running);
    rota_json_set_number (object, "awaiting_human", body->awaiting_human);
    rota_json_set_number (object, "unreachable", body->unreachable);
    rota_json_set_number (object, "held", body->held);
    rota_json_set_true (object, "paused", body->paused);
    rota_json_set_true (object, "draining", body->draining);
    rota_json_set_text (object, "coordinator", body->has_coordinator, body->coordinator);
    rota_json_set_true (object, "coordinator_by_hand", body->coordinator_by_hand);
    rota_json_set_number (object, "scheduler_epoch", body->scheduler_epoch);
    rota_json_set_number (object, "last_event", body->last_event);
    rota_json_document (stdout, lists_json (body, object));
}

static void put_text (const char *before, ProtobufCBinaryData text, const char *after)
{
    char *clean = rota_clean_bytes (true, text);
    printf ("%s%s%s", before, clean ? clean : "?", after);
    free (clean);
}

static void put_more (size_t listed, uint64_t count)
{
    if (listed < count)
        printf ("  and %llu more\n", (unsigned long long)(count - listed));
}

static void put_lists (const Rota__CheckpointBody *body)
{
    char when[24];
    for (size_t i = 0; i < body->n_attempts; i++) {
        put_text ("  runs      ", body->attempts[i]->task, "");
        printf (" (attempt %u, %s)", body->attempts[i]->attempt, rota_phase_name (body->attempts[i]->phase));
        put_text (" on ", body->attempts[i]->agent, "\n");
    }
    put_more (body->n_attempts, body->running);
    for (size_t i = 0; i < body->n_accounts; i++) {
        const Rota__CheckpointAccount *it = body->accounts[i];
        put_text ("  rests     ", it->name, " until ");
        puts (it->has_until_ms ? rota_when (it->until_ms, rota_clock_wall_ms (), when) : "`rota resume`");
    }
    put_more (body->n_accounts, body->resting);
    for (size_t i = 0; i < body->n_drained; i++)
        put_text ("  drains    ", body->drained[i], "\n");
    put_more (body->n_drained, body->drained_count);
    for (size_t i = 0; i < body->n_spent; i++) {
        put_text ("  spent     ", body->spent[i]->scope, "");
        printf (": $%.2f, %lld tokens, %lld attempts\n", (double)body->spent[i]->nano_usd / 1e9,
                (long long)body->spent[i]->tokens, (long long)body->spent[i]->attempts);
    }
    for (size_t i = 0; i < body->n_priorities; i++) {
        put_text ("  priority  ", body->priorities[i]->task, "");
        printf (": %+d\n", body->priorities[i]->priority);
    }
    put_more (body->n_priorities, body->priority_count);
}

static void put_shown (const Rota__Checkpoint *it)
{
    char when[24], size[24];
    const Rota__CheckpointBody *body = it->body;
    printf ("checkpoint %llu, %s (%s)", (unsigned long long)it->id,
            rota_when (it->time_ms, rota_clock_wall_ms (), when), rota_size (it->size_bytes, size));
    put_text (": ", it->cause, "\n  tasks    ");
    for (size_t i = 1; i < body->n_statuses; i++)
        if (body->statuses[i])
            printf (" %llu %s", (unsigned long long)body->statuses[i],
                    rota_status_name ((Rota__TaskStatus)i));
    printf ("\n  of them   %llu ready, %llu waiting, %llu delayed, %llu running, %llu await a person\n",
            (unsigned long long)body->ready, (unsigned long long)body->waiting,
            (unsigned long long)body->delayed, (unsigned long long)body->running,
            (unsigned long long)body->awaiting_human);
    printf ("  state     %s, scheduler's epoch %llu, event %llu\n",
            body->paused     ? "paused"
            : body->draining ? "draining"
                             : "at work",
            (unsigned long long)body->scheduler_epoch, (unsigned long long)body->last_event);
    if (body->has_mode) {
        put_text ("  mode      ", body->mode, " since ");
        printf ("%s", rota_when (body->mode_since_ms, rota_clock_wall_ms (), when));
        put_text (": ", body->mode_reason, "\n");
    }
    if (body->has_coordinator)
        put_text ("  coordinator ", body->coordinator, body->coordinator_by_hand ? ", by hand\n" : "\n");
    put_lists (body);
}

/* ---- restore */

static void put_restored (const rota_cli_t *cli, const Rota__CheckpointRestored *reply)
{
    if (cli->json) {
        json_t *object = json_object ();
        rota_json_set_number (object, "id", reply->id);
        rota_json_set_number (object, "before", reply->before);
        json_object_set_new (object, "restored", texts_json (reply->restored, reply->n_restored));
        json_object_set_new (object, "kept", texts_json (reply->kept, reply->n_kept));
        rota_json_document (stdout, object);
        return;
    }
    printf ("checkpoint %llu restored; what was there is checkpoint %llu\n", (unsigned long long)reply->id,
            (unsigned long long)reply->before);
    if (!reply->n_restored)
        puts ("  nothing had to be changed");
    for (size_t i = 0; i < reply->n_restored; i++)
        put_text ("  restored  ", reply->restored[i], "\n");
    for (size_t i = 0; i < reply->n_kept; i++)
        put_text ("  not       ", reply->kept[i], "\n");
}

/* ---- the verb */

static int parse_id (const char *text, uint64_t *ret_id)
{
    char *end;
    errno = 0;
    *ret_id = strtoull (text, &end, 10);
    if (errno || *end || *text < '0' || *text > '9')
        return rota_cli_fail (ROTA_EXIT_USAGE,
                              "\"%s\" is no number of a checkpoint: see `rota checkpoint list`", text);
    return ROTA_EXIT_DONE;
}

static int list_or_show (const rota_cli_t *cli, rota_link_t *link, bool show, uint64_t id)
{
    Rota__CheckpointsQuery query = ROTA__CHECKPOINTS_QUERY__INIT;
    Rota__CheckpointsReply *reply = NULL;
    int64_t limit = rota_options_number (cli->options, "limit", LIST_DEFAULT);
    query.has_id = show;
    query.id = id;
    query.has_limit = true;
    query.limit = limit > 0 && limit < LIST_MAX ? (uint32_t)limit : LIST_MAX;
    int code = rota_link_call (link, ROTA_MESSAGE_CHECKPOINTS_QUERY, &query.base, ROTA_CALL_MS,
                               ROTA_MESSAGE_CHECKPOINTS_REPLY, &reply);
    if (code != ROTA_EXIT_DONE)
        return code;
    if (!show && cli->json)
        list_json (reply);
    else if (!show)
        put_list (cli, reply);
    else if (!reply->n_checkpoints || !reply->checkpoints[0]->body)
        return rota_cli_fail (ROTA_EXIT_UNREACHABLE, "the scheduler's answer holds no checkpoint");
    else if (cli->json)
        show_json (reply->checkpoints[0]);
    else
        put_shown (reply->checkpoints[0]);
    return ROTA_EXIT_DONE;
}

static int take (const rota_cli_t *cli, rota_link_t *link)
{
    Rota__CheckpointTake request = ROTA__CHECKPOINT_TAKE__INIT;
    Rota__CheckpointsReply *reply = NULL;
    int code = rota_link_call (link, ROTA_MESSAGE_CHECKPOINT_TAKE, &request.base, ROTA_CALL_MS,
                               ROTA_MESSAGE_CHECKPOINTS_REPLY, &reply);
    if (code == ROTA_EXIT_DONE && reply->n_checkpoints)
        put_taken (cli, reply->checkpoints[0]);
    return code;
}

static int restore (const rota_cli_t *cli, rota_link_t *link, uint64_t id)
{
    Rota__CheckpointRestore request = ROTA__CHECKPOINT_RESTORE__INIT;
    Rota__CheckpointRestored *reply = NULL;
    request.has_id = true;
    request.id = id;
    int code = rota_link_call (link, ROTA_MESSAGE_CHECKPOINT_RESTORE, &request.base, ROTA_CALL_MS,
                               ROTA_MESSAGE_CHECKPOINT_RESTORED, &reply);
    if (code == ROTA_EXIT_DONE)
        put_restored (cli, reply);
    return code;
}

int rota_verb_checkpoint (rota_cli_t *cli)
{
    size_t count = rota_options_argument_count (cli->options);
    const char *word = count ? rota_options_argument (cli->options, 0) : "";
    bool list = strcmp (word, "list") == 0, show = strcmp (word, "show") == 0;
    bool back = strcmp (word, "restore") == 0;
    uint64_t id = 0;
    rota_link_t link;
    if ((count && !list && !show && !back) || (list && count != 1) || ((show || back) && count != 2))
        return rota_cli_fail (ROTA_EXIT_USAGE, USAGE);
    int code = count == 2 ? parse_id (rota_options_argument (cli->options, 1), &id) : ROTA_EXIT_DONE;
    if (code == ROTA_EXIT_DONE)
        code = rota_link_open_any (cli, &link);
    if (code != ROTA_EXIT_DONE)
        return code;
    code = !count ? take (cli, &link) : back ? restore (cli, &link, id) : list_or_show (cli, &link, show, id);
    rota_link_close (&link);
    return code;
}
