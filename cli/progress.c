#include "cli/progress.h"

#include "bus/clock.h"
#include "cli/json.h"
#include "cli/progress_internal.h"

#include <stdlib.h>
#include <string.h>

#define LINES_ABOVE_MAX_TASKS 200 /* of more tasks only what went wrong is printed above the live part */
#define OUTPUT_LINES 5
#define ID_COLUMNS 24 /* ids are filled up to the widest, if that is no wider */

static int compare_bytes (ProtobufCBinaryData a, ProtobufCBinaryData b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter ? memcmp (a.data, b.data, shorter) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_id (const void *a, const void *b)
{
    return compare_bytes (((const entry_t *)a)->id, ((const entry_t *)b)->id);
}

static entry_t *find (const rota_progress_t *self, ProtobufCBinaryData id)
{
    entry_t key = {.id = id};
    return self->count ? bsearch (&key, self->entries, self->count, sizeof key, by_id) : NULL;
}

rota_progress_t *rota_progress_new (const rota_cli_t *cli, const rota_known_t *known, size_t count)
{
    rota_progress_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    self->cli = cli;
    self->entries = calloc (count + 1, sizeof *self->entries);
    if (!self->entries) {
        free (self);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        self->entries[i] = (entry_t){.id = known[i].id, .title = known[i].title};
        char *id = rota_clean_bytes (true, known[i].id);
        unsigned columns = id ? rota_text_columns (id) : 0;
        if (columns > self->id_columns && columns <= ID_COLUMNS)
            self->id_columns = columns;
        free (id);
    }
    self->count = self->open = count;
    qsort (self->entries, count, sizeof *self->entries, by_id);
    self->began_ms = rota_clock_monotonic_ms ();
    return self;
}

static void drop_status (rota_progress_t *self)
{
    for (size_t i = 0; i < self->running_count; i++) {
        free (self->running[i].id);
        free (self->running[i].title);
    }
    for (size_t i = 0; i < self->wait_count; i++)
        free (self->waits[i]);
    self->running_count = self->wait_count = 0;
}

void rota_progress_destroy (rota_progress_t **self_p)
{
    rota_progress_t *self = *self_p;
    if (!self)
        return;
    rota_frame_end (self);
    drop_status (self);
    for (size_t i = 0; i < self->count; i++)
        free (self->entries[i].reason);
    free (self->frame);
    free (self->entries);
    free (self);
    *self_p = NULL;
}

static bool is_settled (Rota__TaskStatus status)
{
    return status == ROTA__TASK_STATUS__TASK_STATUS_DONE || status == ROTA__TASK_STATUS__TASK_STATUS_FAILED ||
           status == ROTA__TASK_STATUS__TASK_STATUS_CANCELLED ||
           status == ROTA__TASK_STATUS__TASK_STATUS_BLOCKED;
}

static void add_time (rota_progress_t *self, entry_t *entry, int64_t now_ms)
{
    if (entry->started_ms <= 0)
        return;
    int64_t spent_ms = now_ms > entry->started_ms ? now_ms - entry->started_ms : 0;
    entry->started_ms = 0;
    entry->spent_ms += spent_ms;
    self->sums.task_ms += spent_ms;
}

static void rank (rota_progress_t *self, const entry_t *entry)
{
    rota_timed_t one = {entry->id, entry->spent_ms};
    for (size_t i = 0; i < ROTA_SLOWEST; i++) {
        rota_timed_t *place = &self->sums.slowest[i];
        if (place->id.data == NULL || one.duration_ms > place->duration_ms) {
            rota_timed_t other = *place;
            *place = one;
            one = other;
            if (!one.id.data)
                return;
        }
    }
}

typedef struct {
    const char *word;  /* in a pipe, and without UTF-8 */
    const char *glyph; /* on a terminal */
    rota_style_t style;
} mark_t;

static const mark_t DONE = {"done", "\u2713", ROTA_STYLE_GREEN},
                    FAILED = {"failed", "\u2717", ROTA_STYLE_RED},
                    BLOCKED = {"blocked", "\u25a0", ROTA_STYLE_YELLOW},
                    CANCELLED = {"cancelled", "\u2013", ROTA_STYLE_YELLOW},
                    REVIEW = {"review", "\u25cf", ROTA_STYLE_YELLOW},
                    APPROVAL = {"approval", "\u25cf", ROTA_STYLE_YELLOW},
                    AGAIN = {"again", "\u21bb", ROTA_STYLE_YELLOW};

/* What an event says in one word; NULL for what isn't worth a line. */
static const mark_t *mark_of (const Rota__Event *event)
{
    bool worked = event->from_status == ROTA__TASK_STATUS__TASK_STATUS_IN_PROGRESS ||
                  event->from_status == ROTA__TASK_STATUS__TASK_STATUS_IN_REVIEW;

    switch (event->to_status) {
    case ROTA__TASK_STATUS__TASK_STATUS_DONE:
        return &DONE;
    case ROTA__TASK_STATUS__TASK_STATUS_FAILED:
        return &FAILED;
    case ROTA__TASK_STATUS__TASK_STATUS_BLOCKED:
        return &BLOCKED;
    case ROTA__TASK_STATUS__TASK_STATUS_CANCELLED:
        return &CANCELLED;
    case ROTA__TASK_STATUS__TASK_STATUS_NEEDS_REVIEW:
        return &REVIEW;
    case ROTA__TASK_STATUS__TASK_STATUS_IN_PROGRESS:
        return event->phase == ROTA__PHASE__PHASE_APPROVAL ? &APPROVAL : NULL;
    case ROTA__TASK_STATUS__TASK_STATUS_PENDING:
    case ROTA__TASK_STATUS__TASK_STATUS_NEEDS_IMPROVEMENT:
        return worked ? &AGAIN : NULL;
    default:
        return NULL;
    }
}

static void put_json (rota_progress_t *self, const entry_t *entry, const Rota__Event *event)
{
    json_t *object = json_object ();
    rota_json_set_string (object, "type", "task");
    rota_json_set_text (object, "id", true, entry->id);
    rota_json_set_text (object, "title", entry->title.len > 0, entry->title);
    rota_json_set_string (object, "status", rota_status_name (event->to_status));
    if (event->phase)
        rota_json_set_string (object, "phase", rota_phase_name (event->phase));
    if (event->attempt)
        rota_json_set_number (object, "attempt", event->attempt);
    rota_json_set_text (object, "agent", event->has_agent, event->agent);
    if (event->has_result_class && event->result_class)
        rota_json_set_string (object, "result", rota_result_class_name (event->result_class));
    rota_json_set_text (object, "reason", event->has_reason, event->reason);
    rota_json_set_time (object, "time", event->time_ms);
    if (entry->spent_ms > 0)
        rota_json_set_number (object, "duration_ms", (uint64_t)entry->spent_ms);
    rota_json_line (self->cli->out.stream, object);
}

static void put_line (rota_progress_t *self, const entry_t *entry, const mark_t *mark, const char *reason)
{
    const rota_screen_t *screen = &self->cli->out;
    bool good = mark == &DONE, live = screen->live;
    char duration[ROTA_CLOCK_DURATION_BYTES] = "";

    if (live && good && self->count > LINES_ABOVE_MAX_TASKS)
        return;
    FILE *stream = rota_frame_above (self);
    char *id = rota_clean_bytes (true, entry->id), *title = rota_clean_bytes (true, entry->title);
    bool titled = id && title && *title && strcmp (id, title) != 0;
    unsigned wide = id ? rota_text_columns (id) : 0;
    if (entry->spent_ms > 0 || good)
        rota_clock_duration (entry->spent_ms, duration);

    const char *what = live && screen->unicode ? mark->glyph : mark->word;
    fprintf (stream, "%s%s%-*s%s ", live ? " " : "", rota_style (screen, mark->style),
             live && screen->unicode ? 1 : 9, what, rota_style_end (screen));
    rota_text_put (stream, screen, id ? id : "", wide > self->id_columns ? wide : self->id_columns,
                   titled || *duration);
    fprintf (stream, "%s%s", titled ? "  " : "", titled ? title : "");
    if (*duration)
        fprintf (stream, "  %s%s%s", rota_style (screen, ROTA_STYLE_DIM), duration, rota_style_end (screen));
    if (reason && *reason && !good)
        fprintf (stream, "  %s%s%s", rota_style (screen, mark->style), reason, rota_style_end (screen));
    fputc ('\n', stream);
    free (id);
    free (title);
}

static void note_settled (rota_progress_t *self, const entry_t *entry, Rota__TaskStatus status)
{
    if (is_settled (entry->status) && !is_settled (status))
        self->open++;
    else if (!is_settled (entry->status) && is_settled (status))
        self->open -= self->open > 0;
}

static void drop_running (rota_progress_t *self, const char *id)
{
    for (size_t i = 0; i < self->running_count; i++) {
        if (!self->running[i].id || strcmp (self->running[i].id, id) != 0)
            continue;
        free (self->running[i].id);
        free (self->running[i].title);
        self->running_count--;
        self->running_total -= self->running_total > 0;
        memmove (&self->running[i], &self->running[i + 1],
                 (self->running_count - i) * sizeof self->running[0]);
        return;
    }
}

/* Brings the figures up to an event that the last status did not know yet, so that bar and lines agree
 * between two of them. */
static void apply (rota_progress_t *self, const entry_t *entry, const Rota__Event *event, bool starts)
{
    char *id = rota_clean_bytes (true, entry->id);
    size_t from = (size_t)event->from_status, to = (size_t)event->to_status;

    if (from < STATUSES && self->counts[from] > 0)
        self->counts[from]--;
    if (to < STATUSES)
        self->counts[to]++;
    if (id && event->to_status != ROTA__TASK_STATUS__TASK_STATUS_IN_PROGRESS)
        drop_running (self, id);
    self->running_total += starts;
    if (id && starts && self->running_count < RUNNING_MAX) {
        self->running[self->running_count++] = (running_t){.id = id,
                                                           .title = rota_clean_bytes (true, entry->title),
                                                           .started_ms = event->time_ms,
                                                           .attempt = event->attempt};
        return;
    }
    free (id);
}

static void add_due (rota_progress_t *self, entry_t *entry)
{
    if (entry->failure_due)
        return;
    entry->failure_due = true;
    entry->next_due = NULL;
    if (self->first_due)
        self->last_due->next_due = entry;
    else
        self->first_due = entry;
    self->last_due = entry;
}

/* An integration branch was moved by someone else: loud, because it may be a mistake. */
static void note_move (rota_progress_t *self, const Rota__Event *event)
{
    char *reason = rota_clean_bytes (event->has_reason, event->reason);
    if (reason && !self->cli->json)
        rota_progress_note (self, ROTA_STYLE_YELLOW, reason);
    free (reason);
}

/* An account closes or opens, or an agent can't work: why nothing of theirs moves. */
static void note_agent (rota_progress_t *self, const Rota__Event *event)
{
    char *agent = rota_clean_bytes (event->has_agent, event->agent);
    char *reason = rota_clean_bytes (event->has_reason, event->reason), *line = NULL;
    if (agent && reason && !self->cli->json && asprintf (&line, "%s %s", agent, reason) >= 0)
        rota_progress_note (self, ROTA_STYLE_YELLOW, line);
    free (line);
    free (agent);
    free (reason);
}

/* Only where there is a choice is it worth a line. */
static void note_coordinator (rota_progress_t *self, const Rota__Event *event)
{
    char *agent = rota_clean_bytes (event->has_agent, event->agent);
    char *reason = rota_clean_bytes (event->has_reason, event->reason), *line = NULL;
    bool first = !self->coordinated;
    self->coordinated = true;
    if (!first && !self->cli->json &&
        asprintf (&line, agent && *agent ? "%s coordinates now: %s" : "%snobody coordinates now: %s",
                  agent ? agent : "", reason ? reason : "") >= 0)
        rota_progress_note (self, ROTA_STYLE_YELLOW, line);
    free (line);
    free (agent);
    free (reason);
}

bool rota_progress_event (rota_progress_t *self, const Rota__Event *event)
{
    entry_t *entry = event->has_task && event->type == ROTA__EVENT_TYPE__EVENT_TYPE_TASK_MOVED
                         ? find (self, event->task)
                         : NULL;
    if (event->type == ROTA__EVENT_TYPE__EVENT_TYPE_AGENT_COOLDOWN ||
        (event->type == ROTA__EVENT_TYPE__EVENT_TYPE_AGENT_ATTACHED && event->has_reason))
        note_agent (self, event);
    if (event->type == ROTA__EVENT_TYPE__EVENT_TYPE_TARGET_MOVED)
        note_move (self, event);
    if (event->type == ROTA__EVENT_TYPE__EVENT_TYPE_COORDINATOR_CHANGED)
        note_coordinator (self, event);
    if (!entry)
        return false;
    bool starts = event->to_status == ROTA__TASK_STATUS__TASK_STATUS_IN_PROGRESS &&
                  event->from_status != ROTA__TASK_STATUS__TASK_STATUS_IN_PROGRESS;
    if (starts)
        entry->started_ms = event->time_ms;
    else if (event->to_status != ROTA__TASK_STATUS__TASK_STATUS_IN_PROGRESS)
        add_time (self, entry, event->time_ms);
    note_settled (self, entry, event->to_status);
    entry->status = event->to_status;

    if (event->to_status == ROTA__TASK_STATUS__TASK_STATUS_DONE) {
        self->sums.finished++;
        rank (self, entry);
    } else if (event->to_status == ROTA__TASK_STATUS__TASK_STATUS_FAILED) {
        self->sums.failed++;
        add_due (self, entry);
        free (entry->reason);
        entry->reason = rota_clean_bytes (event->has_reason, event->reason);
    }
    if (self->has_status && event->seq > self->status_seq)
        apply (self, entry, event, starts);
    const mark_t *mark = mark_of (event);
    if (self->cli->json) {
        put_json (self, entry, event);
    } else if (mark && mark != &FAILED) {
        char *reason = rota_clean_bytes (event->has_reason, event->reason);
        put_line (self, entry, mark, reason);
        free (reason);
    }
    return true;
}

bool rota_progress_next_failure (rota_progress_t *self, size_t most, ProtobufCBinaryData *ret_id,
                                 bool *ret_output)
{
    if (!self->first_due)
        return false;
    *ret_id = self->first_due->id;
    *ret_output = self->failures_told < most;
    return true;
}

static void put_output (const rota_progress_t *self, FILE *stream, ProtobufCBinaryData output)
{
    const rota_screen_t *screen = &self->cli->out;
    char *text = rota_clean (output.data, output.len, true);
    size_t length = text ? strlen (text) : 0;

    while (length > 0 && text[length - 1] == '\n')
        text[--length] = '\0';
    /* From the end back over the last lines. */
    size_t lines = 0, from = length;
    while (from > 0 && (text[from - 1] != '\n' || ++lines < OUTPUT_LINES))
        from--;
    for (const char *line = text ? text + from : NULL; line && *line;) {
        size_t size = strcspn (line, "\n");
        fprintf (stream, "   %s%s %.*s%s\n", rota_style (screen, ROTA_STYLE_DIM),
                 screen->unicode ? "\u2502" : "|", (int)size, line, rota_style_end (screen));
        line += size + (line[size] == '\n');
    }
    free (text);
}

void rota_progress_failure (rota_progress_t *self, ProtobufCBinaryData id, ProtobufCBinaryData output)
{
    entry_t *entry = self->first_due;

    if (!entry || compare_bytes (entry->id, id) != 0)
        return;
    self->first_due = entry->next_due;
    entry->failure_due = false;
    self->failures_told++;
    if (self->cli->json && output.len > 0) {
        json_t *object = json_object ();
        rota_json_set_string (object, "type", "output");
        rota_json_set_text (object, "id", true, id);
        rota_json_set_text (object, "output", true, output);
        rota_json_line (self->cli->out.stream, object);
    } else if (!self->cli->json) {
        put_line (self, entry, &FAILED, entry->reason);
        put_output (self, rota_frame_above (self), output);
    }
    free (entry->reason);
    entry->reason = NULL;
}

void rota_progress_note (rota_progress_t *self, rota_style_t style, const char *text)
{
    const rota_screen_t *screen = &self->cli->out;
    if (self->cli->json) {
        json_t *object = json_object ();
        rota_json_set_string (object, "type", "note");
        rota_json_set_string (object, "text", text);
        rota_json_line (screen->stream, object);
        return;
    }
    char *clean = rota_clean (text, strlen (text), false);
    FILE *stream = rota_frame_above (self);
    fprintf (stream, "%s%s%s%s\n", screen->live ? " " : "", rota_style (screen, style), clean ? clean : "",
             rota_style_end (screen));
    free (clean);
}

void rota_progress_status (rota_progress_t *self, const Rota__StatusReply *status)
{
    drop_status (self);
    self->has_status = true;
    self->status_seq = status->last_event;
    memset (self->counts, 0, sizeof self->counts);
    for (size_t i = 0; i < status->n_counts; i++) {
        size_t index = (size_t)status->counts[i]->status;
        if (index < STATUSES)
            self->counts[index] = status->counts[i]->tasks;
    }
    self->total = status->total;
    self->unreachable = status->unreachable;
    self->paused = status->paused && status->n_waits == 0;
    self->running_total = status->n_running;
    for (size_t i = 0; i < status->n_running && i < RUNNING_MAX; i++) {
        const Rota__RunningTask *task = status->running[i];
        running_t *kept = &self->running[self->running_count++];
        kept->id = rota_clean_bytes (task->has_id, task->id);
        kept->title = rota_clean_bytes (task->has_title, task->title);
        kept->started_ms = task->started_ms;
        kept->phase = task->phase;
        kept->attempt = task->attempt;
        kept->stopping = task->stopping;
    }
    for (size_t i = 0; i < status->n_waits && self->wait_count < WAITS_MAX; i++) {
        char *text = rota_wait_sentence (status->waits[i], rota_clock_wall_ms ());
        if (text)
            self->waits[self->wait_count++] = text;
    }
}

size_t rota_progress_open (const rota_progress_t *self)
{
    return self->open;
}

void rota_progress_sums (const rota_progress_t *self, rota_progress_sums_t *ret_sums)
{
    *ret_sums = self->sums;
}
