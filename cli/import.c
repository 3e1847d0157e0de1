/* The verbs validate, import and export. */
#include "cli/json.h"
#include "cli/plan.h"
#include "cli/tasks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAMES_SHOWN 20

static json_t *faults_of (const rota_roadmap_t *roadmap)
{
    json_t *object = json_object (), *list = json_array ();

    for (size_t i = 0; i < roadmap->fault_count; i++) {
        const rota_fault_t *fault = &roadmap->faults[i];
        json_t *one = json_object ();
        rota_json_set_string (one, "level", fault->level == ROTA_FAULT_ERROR ? "error" : "warning");
        rota_json_set_number (one, "line", fault->line);
        rota_json_set_number (one, "column", fault->column);
        rota_json_set_string (one, "text", fault->text);
        json_array_append_new (list, one);
    }
    rota_json_set_string (object, "path", roadmap->path);
    json_object_set_new (object, "valid", json_boolean (roadmap->error_count == 0));
    rota_json_set_number (object, "tasks", roadmap->task_count);
    rota_json_set_number (object, "dependencies", roadmap->edge_count);
    rota_json_set_number (object, "errors", roadmap->error_count);
    json_object_set_new (object, "faults", list);
    return object;
}

static void print_verdict (const rota_cli_t *cli, const rota_roadmap_t *roadmap)
{
    char tasks[48], edges[48], errors[48], warnings[48];
    size_t warning_count = roadmap->fault_count - roadmap->error_count;
    bool good = roadmap->error_count == 0;

    rota_plural (roadmap->task_count, "task", tasks);
    rota_plural (roadmap->edge_count, "dependency", edges);
    rota_plural (roadmap->error_count, "error", errors);
    rota_plural (warning_count, "warning", warnings);
    printf ("%s%s%s %s: %s, %s", rota_style (&cli->out, good ? ROTA_STYLE_GREEN : ROTA_STYLE_RED),
            good ? "valid" : "faulty", rota_style_end (&cli->out), roadmap->path, tasks, edges);
    if (!good)
        printf (", %s", errors);
    if (warning_count > 0)
        printf (", %s", warnings);
    putchar ('\n');
}

static int validate_one (const rota_cli_t *cli, const char *path, json_t *list)
{
    rota_roadmap_options_t options = {.strict = rota_options_flag (cli->options, "strict")};
    rota_roadmap_t *roadmap = NULL;
    rota_error_t error = {""};
    int status = rota_roadmap_read (path, &options, &roadmap, &error);

    if (status < 0) {
        if (list) {
            json_t *one = json_object ();
            rota_json_set_string (one, "path", path);
            json_object_set_new (one, "valid", json_false ());
            rota_json_set_string (one, "error", error.text);
            json_array_append_new (list, one);
        }
        return rota_cli_fail (ROTA_EXIT_USAGE, "%s", *error.text ? error.text : strerror (-status));
    }
    if (list) {
        json_array_append_new (list, faults_of (roadmap));
    } else {
        rota_roadmap_print_faults (roadmap, stderr);
        fflush (stderr);
        print_verdict (cli, roadmap);
        fflush (stdout);
    }
    int code = roadmap->error_count > 0 ? ROTA_EXIT_USAGE : ROTA_EXIT_DONE;
    rota_roadmap_destroy (&roadmap);
    return code;
}

int rota_verb_validate (rota_cli_t *cli)
{
    size_t count = rota_options_argument_count (cli->options);
    json_t *list = cli->json ? json_array () : NULL;
    int code = ROTA_EXIT_DONE;

    for (size_t i = 0; i < (count ? count : 1); i++) {
        const char *path = rota_options_argument (cli->options, i);
        int one = validate_one (cli, path ? path : ROTA_PLAN_DEFAULT, list);
        code = one > code ? one : code;
    }
    if (list) {
        json_t *document = json_object ();
        json_object_set_new (document, "valid", json_boolean (code == ROTA_EXIT_DONE));
        json_object_set_new (document, "files", list);
        rota_json_document (stdout, document);
    }
    return code;
}

int rota_verb_import (rota_cli_t *cli)
{
    rota_plan_options_t options = {.dry_run = rota_options_flag (cli->options, "dry-run"),
                                   .prune = rota_options_flag (cli->options, "prune")};
    rota_link_want_t want = {.services = ROTA_SERVICES_HOLD, .make = true};
    const Rota__ImportDifference *difference = NULL;
    rota_roadmap_t *roadmap = NULL;
    rota_link_t link;

    int code = rota_plan_read (rota_options_argument (cli->options, 0),
                               rota_options_flag (cli->options, "strict"), ROTA_PLAN_ALL_WARNINGS, &roadmap);
    if (code != ROTA_EXIT_DONE)
        return code;
    code = rota_link_open (cli, &want, &link);
    if (code == ROTA_EXIT_DONE) {
        code = rota_plan_send (&link, roadmap, &options, &difference);
        if (code == ROTA_EXIT_DONE && cli->json)
            rota_json_document (stdout, rota_json_difference (difference));
        else if (code == ROTA_EXIT_DONE)
            rota_plan_print (&cli->out, difference, NAMES_SHOWN);
        if (code == ROTA_EXIT_DONE && !cli->json && !options.dry_run && link.started)
            rota_cli_note ("no services run here: `rota up` or `rota run %s` works it", roadmap->path);
        rota_link_close (&link);
    }
    rota_roadmap_destroy (&roadmap);
    return code;
}

/* ---- export */

typedef struct {
    const char *wanted;         /* --source, or NULL */
    ProtobufCBinaryData source; /* the one that is exported */
    bool chosen;
    size_t others, submitted;
    Rota__RoadmapHeader *header;
    rota_task_list_t tasks;
    Rota__TaskSpec **specs;
    size_t spec_count;
} export_t;

static bool same (ProtobufCBinaryData a, ProtobufCBinaryData b)
{
    return a.len == b.len && (a.len == 0 || memcmp (a.data, b.data, a.len) == 0);
}

/* One file holds one source. Without --source it is the only roadmap; submitted tasks are none. */
static int choose (export_t *self)
{
    const ProtobufCBinaryData submit = rota_bytes ("submit");
    size_t roadmaps = 0;

    if (self->wanted) {
        self->source = rota_bytes (self->wanted);
        self->chosen = true;
    }
    for (size_t i = 0; i < self->tasks.count && !self->wanted; i++) {
        const Rota__TaskState *task = self->tasks.list[i];
        if (same (task->source, submit)) {
            self->submitted++;
        } else if (!self->chosen) {
            self->source = task->source;
            self->chosen = true;
            roadmaps = 1;
        } else if (!same (task->source, self->source)) {
            roadmaps = 2;
        }
    }
    if (roadmaps > 1)
        return rota_cli_fail (ROTA_EXIT_USAGE,
                              "the store holds several roadmaps; say which with --source NAME "
                              "(`rota tasks --json` shows the source of each task)");
    if (!self->chosen && self->submitted > 0) {
        self->source = submit;
        self->submitted = 0;
    }
    return ROTA_EXIT_DONE;
}

static int gather (export_t *self)
{
    self->specs = calloc (self->tasks.count + 1, sizeof *self->specs);
    if (!self->specs)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    for (size_t i = 0; i < self->tasks.count; i++) {
        Rota__TaskState *task = self->tasks.list[i];
        if (!task->spec || !same (task->source, self->source))
            continue;
        bool group = task->kind == ROTA__NODE_KIND__NODE_KIND_EPIC ||
                     task->kind == ROTA__NODE_KIND__NODE_KIND_MILESTONE;
        task->spec->has_status = !group && task->has_status;
        task->spec->status = task->status;
        self->specs[self->spec_count++] = task->spec;
    }
    for (size_t i = 0; i < self->tasks.header_count; i++)
        if (same (self->tasks.headers[i]->source, self->source))
            self->header = self->tasks.headers[i];
    return ROTA_EXIT_DONE;
}

/* Beside the file and renamed over it: a reader sees the old or the new one. */
static int write_file (const export_t *self, const char *path)
{
    Rota__RoadmapHeader empty = ROTA__ROADMAP_HEADER__INIT;
    const Rota__RoadmapHeader *header = self->header ? self->header : &empty;
    char *temporary = NULL;

    if (!path)
        return rota_roadmap_write (stdout, header, self->specs, self->spec_count) == 0
                   ? ROTA_EXIT_DONE
                   : rota_cli_fail (ROTA_EXIT_UNFINISHED, "can't write to standard output");
    if (asprintf (&temporary, "%s.rota-%d", path, getpid ()) < 0)
        return rota_cli_fail (ROTA_EXIT_UNFINISHED, "out of memory");
    FILE *file = fopen (temporary, "wxe");
    int status = file ? rota_roadmap_write (file, header, self->specs, self->spec_count) : -errno;
    if (file && (fflush (file) != 0 || fsync (fileno (file)) != 0) && status == 0)
        status = -errno;
    if (file && fclose (file) != 0 && status == 0)
        status = -errno;
    if (status == 0 && rename (temporary, path) != 0)
        status = -errno;
    if (status < 0)
        unlink (temporary);
    free (temporary);
    return status == 0 ? ROTA_EXIT_DONE
                       : rota_cli_fail (ROTA_EXIT_UNFINISHED, "can't write %s: %s", path, strerror (-status));
}

int rota_verb_export (rota_cli_t *cli)
{
    export_t self = {.wanted = rota_options_text (cli->options, "source", NULL)};
    Rota__TasksQuery query = ROTA__TASKS_QUERY__INIT;
    const char *path = rota_options_argument (cli->options, 0);
    rota_link_t link;
    char text[48];

    int code = rota_link_open_any (cli, &link);
    if (code != ROTA_EXIT_DONE)
        return code;
    query.has_specs = query.specs = true;
    code = rota_tasks_fetch (&link, &query, SIZE_MAX, NULL, &self.tasks);
    rota_link_close (&link);
    if (code == ROTA_EXIT_DONE)
        code = choose (&self);
    if (code == ROTA_EXIT_DONE)
        code = gather (&self);
    if (code == ROTA_EXIT_DONE)
        code = write_file (&self, path);
    if (code == ROTA_EXIT_DONE && self.submitted > 0)
        rota_cli_note ("left out: %s (`rota export --source submit`)",
                       rota_plural (self.submitted, "submitted task", text));
    if (code == ROTA_EXIT_DONE && path)
        rota_cli_note ("%s written to %s", rota_plural (self.spec_count, "definition", text), path);
    free (self.specs);
    rota_tasks_free (&self.tasks);
    return code;
}
