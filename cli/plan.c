#include "cli/plan.h"

#include "bus/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_TASKS 1000
#define CHUNK_BYTES (2u << 20)
#define BUSY_PATIENCE_MS 30000
#define BUSY_PAUSE_MS 200

static void print_faults (const rota_roadmap_t *roadmap, size_t warnings)
{
    size_t left_out = 0;
    char text[48];

    if (warnings == ROTA_PLAN_ALL_WARNINGS) {
        rota_roadmap_print_faults (roadmap, stderr);
        return;
    }
    for (size_t i = 0; i < roadmap->fault_count; i++) {
        const rota_fault_t *fault = &roadmap->faults[i];
        bool warning = fault->level == ROTA_FAULT_WARNING;
        if (warning && warnings == 0) {
            left_out++;
            continue;
        }
        warnings -= warning;
        if (fault->line)
            fprintf (stderr, "%s:%u:%u: %s: %s\n", roadmap->path, fault->line, fault->column,
                     warning ? "warning" : "error", fault->text);
        else
            fprintf (stderr, "%s: %s: %s\n", roadmap->path, warning ? "warning" : "error", fault->text);
    }
    if (left_out > 0)
        rota_cli_note ("%s: `rota validate %s` shows all", rota_plural (left_out, "more warning", text),
                       roadmap->path);
}

int rota_plan_read (const char *path, bool strict, size_t warnings, rota_roadmap_t **ret_roadmap)
{
    rota_roadmap_options_t options = {.strict = strict};
    rota_roadmap_t *roadmap = NULL;
    rota_error_t error = {""};
    char text[48];

    int status = rota_roadmap_read (path ? path : ROTA_PLAN_DEFAULT, &options, &roadmap, &error);
    if (status == -ENOENT && !path)
        return rota_cli_fail (ROTA_EXIT_USAGE,
                              "there is no %s here; `rota init` writes one to start from, or name a file",
                              ROTA_PLAN_DEFAULT);
    if (status < 0)
        return rota_cli_fail (ROTA_EXIT_USAGE, "%s", *error.text ? error.text : strerror (-status));
    print_faults (roadmap, warnings);
    if (roadmap->error_count > 0) {
        rota_cli_note ("%s has %s; nothing was changed", roadmap->path,
                       rota_plural (roadmap->error_count, "error", text));
        rota_roadmap_destroy (&roadmap);
        return ROTA_EXIT_USAGE;
    }
    *ret_roadmap = roadmap;
    return ROTA_EXIT_DONE;
}

static int begin (rota_link_t *link, const rota_roadmap_t *roadmap, const rota_plan_options_t *options)
{
    Rota__RoadmapHeader header = roadmap->header;
    Rota__ImportBegin request = ROTA__IMPORT_BEGIN__INIT;
    ProtobufCMessage *reply = NULL;
    int64_t end_ms = rota_clock_monotonic_ms () + BUSY_PATIENCE_MS;

    request.header = &header;
    request.has_dry_run = request.has_prune = true;
    request.dry_run = options->dry_run;
    request.prune = options->prune;
    for (bool told = false;;) {
        rota_error_t error = {""};
        int status = rota_client_call (link->client, ROTA_MESSAGE_IMPORT_BEGIN, &request.base, ROTA_CALL_MS,
                                       ROTA_MESSAGE_IMPORT_REPLY, &reply, &error);
        if (status == 0)
            return ROTA_EXIT_DONE;
        bool busy =
            status == -EPROTO && rota_client_last_code (link->client) == ROTA__ERROR_CODE__ERROR_CODE_BUSY;
        if (!busy || rota_clock_monotonic_ms () >= end_ms)
            return rota_link_refusal (link, status, &error);
        if (!told)
            rota_cli_note ("another import is under way; waiting for it");
        told = true;
        poll (NULL, 0, BUSY_PAUSE_MS);
    }
}

static int send_chunks (rota_link_t *link, const rota_roadmap_t *roadmap)
{
    for (size_t from = 0; from < roadmap->count;) {
        Rota__ImportChunk chunk = ROTA__IMPORT_CHUNK__INIT;
        ProtobufCMessage *reply = NULL;
        size_t bytes = 0, count = 0;
        while (from + count < roadmap->count && count < CHUNK_TASKS) {
            size_t size = protobuf_c_message_get_packed_size (&roadmap->specs[from + count]->base);
            if (count > 0 && bytes + size > CHUNK_BYTES)
                break;
            bytes += size + 8;
            count++;
        }
        chunk.n_tasks = count;
        chunk.tasks = roadmap->specs + from;
        int code = rota_link_call (link, ROTA_MESSAGE_IMPORT_CHUNK, &chunk.base, ROTA_CALL_LONG_MS,
                                   ROTA_MESSAGE_IMPORT_REPLY, &reply);
        if (code != ROTA_EXIT_DONE)
            return code;
        from += count;
    }
    return ROTA_EXIT_DONE;
}

int rota_plan_send (rota_link_t *link, const rota_roadmap_t *roadmap, const rota_plan_options_t *options,
                    const Rota__ImportDifference **ret_difference)
{
    Rota__ImportCommit commit = ROTA__IMPORT_COMMIT__INIT;
    Rota__ImportDifference *difference = NULL;
    int code = begin (link, roadmap, options);

    if (code == ROTA_EXIT_DONE)
        code = send_chunks (link, roadmap);
    if (code != ROTA_EXIT_DONE)
        return code;
    commit.has_tasks = true;
    commit.tasks = roadmap->count;
    code = rota_link_call (link, ROTA_MESSAGE_IMPORT_COMMIT, &commit.base, ROTA_CALL_LONG_MS,
                           ROTA_MESSAGE_IMPORT_DIFFERENCE, &difference);
    if (code == ROTA_EXIT_DONE)
        *ret_difference = difference;
    return code;
}

static void print_names (const rota_screen_t *screen, const char *what, rota_style_t style, uint64_t whole,
                         size_t count, const ProtobufCBinaryData *ids, size_t most)
{
    for (size_t i = 0; i < count && i < most; i++) {
        char *id = rota_clean_bytes (true, ids[i]);
        fprintf (screen->stream, "  %s%-9s%s %s\n", rota_style (screen, style), what, rota_style_end (screen),
                 id ? id : "");
        free (id);
    }
    if (whole > most && most > 0)
        fprintf (screen->stream, "  %-9s ... and %llu more\n", what, (unsigned long long)(whole - most));
}

void rota_plan_print (const rota_screen_t *screen, const Rota__ImportDifference *difference, size_t names)
{
    const char *separator = "";
    const struct {
        const char *what;
        uint64_t amount;
    } parts[] = {{"added", difference->added},
                 {"changed", difference->changed},
                 {"unchanged", difference->unchanged},
                 {"orphaned", difference->orphaned},
                 {"pruned", difference->pruned}};

    for (size_t i = 0; i < difference->n_warnings; i++) {
        char *text = rota_clean_bytes (difference->warnings[i]->has_text, difference->warnings[i]->text);
        rota_cli_note ("warning: %s", text ? text : "");
        free (text);
    }
    print_names (screen, "added", ROTA_STYLE_GREEN, difference->added, difference->n_added_ids,
                 difference->added_ids, names);
    print_names (screen, "changed", ROTA_STYLE_YELLOW, difference->changed, difference->n_changed_ids,
                 difference->changed_ids, names);
    print_names (screen, difference->pruned ? "cancelled" : "orphaned", ROTA_STYLE_RED, difference->orphaned,
                 difference->n_orphaned_ids, difference->orphaned_ids, names);
    fputs (difference->dry_run ? "would be: " : "", screen->stream);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].amount == 0)
            continue;
        fprintf (screen->stream, "%s%llu %s", separator, (unsigned long long)parts[i].amount, parts[i].what);
        separator = ", ";
    }
    fprintf (screen->stream, "%s\n", *separator ? "" : "nothing to change");
}
