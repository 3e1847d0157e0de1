#include "cli/progress.h"

#include "bus/clock.h"
#include "cli/json.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINES_ABOVE_MAX_TASKS 200 /* of more tasks only what went wrong is printed above the live part */
#define RUNNING_MAX 10
#define WAITS_MAX 3
#define BAR_COLUMNS 32
#define OUTPUT_LINES 5
#define HIDE_CURSOR "\033[?25l"
#define SHOW_CURSOR "\033[?25h"

typedef struct {
    ProtobufCBinaryData id, title;
    int64_t started_ms; /* of the attempt under way, wall clock; 0 = none */
    int64_t spent_ms;
    Rota__TaskStatus status; /* the last one that an event told, 0 = none yet */
    bool output_due;
} entry_t;

typedef struct {
    char *id, *title;
    int64_t started_ms;
    Rota__Phase phase;
    uint32_t attempt;
    bool stopping;
} running_t;

struct rota_progress {
    const rota_cli_t *cli;
    entry_t *entries; /* sorted by id */
    size_t count;
    size_t open;
    rota_progress_sums_t sums;
    size_t outputs_due, outputs_shown;

    bool has_status;
    uint64_t counts[ROTA__TASK_STATUS__TASK_STATUS_CANCELLED + 1];
    uint64_t total, unreachable, running_total;
    bool paused;
    running_t running[RUNNING_MAX];
    size_t running_count;
    char *waits[WAITS_MAX];
    size_t wait_count;

    int64_t began_ms; /* monotonic */
    char *above;      /* lines to be printed once */
    size_t above_size;
    FILE *above_stream;
    char *frame; /* what stands on the terminal now */
    unsigned frame_lines;
    unsigned turns;
};

/* Set while a live part hides the cursor: the third Ctrl-C leaves from a signal handler. */
static volatile int hidden_fd = -1;

void rota_progress_restore_terminal (void)
{
    if (hidden_fd < 0)
        return;
    ssize_t written = write (hidden_fd, SHOW_CURSOR, sizeof SHOW_CURSOR - 1);
    (void)written;
}

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

/* The stream that collects what goes above the live part, or plain standard output. */
static FILE *above (rota_progress_t *self)
{
    if (!self->cli->out.live || self->cli->json)
        return self->cli->out.stream;
    if (!self->above_stream)
        self->above_stream = open_memstream (&self->above, &self->above_size);
    return self->above_stream ? self->above_stream : self->cli->out.stream;
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
    for (size_t i = 0; i < count; i++)
        self->entries[i] = (entry_t){.id = known[i].id, .title = known[i].title};
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

static void erase_frame (rota_progress_t *self, FILE *stream)
{
    if (self->frame_lines > 0)
        fprintf (stream, "\r\033[%uA\033[J", self->frame_lines);
    self->frame_lines = 0;
}

static void flush_above (rota_progress_t *self, FILE *stream)
{
    if (!self->above_stream)
        return;
    fclose (self->above_stream);
    self->above_stream = NULL;
    if (self->above)
        fwrite (self->above, 1, self->above_size, stream);
    free (self->above);
    self->above = NULL;
}

void rota_progress_destroy (rota_progress_t **self_p)
{
    rota_progress_t *self = *self_p;
    if (!self)
        return;
    erase_frame (self, self->cli->out.stream);
    flush_above (self, self->cli->out.stream);
    if (hidden_fd >= 0)
        fputs (SHOW_CURSOR, self->cli->out.stream);
    hidden_fd = -1;
    fflush (self->cli->out.stream);
    drop_status (self);
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

/* What an event says in one word; NULL for what isn't worth a line. */
static const mark_t *mark_of (const Rota__Event *event)
{
    static const mark_t DONE = {"done", "\u2713", ROTA_STYLE_GREEN},
                        FAILED = {"failed", "\u2717", ROTA_STYLE_RED},
                        BLOCKED = {"blocked", "\u25a0", ROTA_STYLE_YELLOW},
                        CANCELLED = {"cancelled", "\u2013", ROTA_STYLE_YELLOW},
                        REVIEW = {"review", "\u25cf", ROTA_STYLE_YELLOW},
                        APPROVAL = {"approval", "\u25cf", ROTA_STYLE_YELLOW},
                        AGAIN = {"again", "\u21bb", ROTA_STYLE_YELLOW};
    bool worked = event->from_status == ROTA__TASK_STATUS__TASK_STATUS_IN_PROGRESS;

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

static void put_line (rota_progress_t *self, const entry_t *entry, const Rota__Event *event,
                      const mark_t *mark)
{
    const rota_screen_t *screen = &self->cli->out;
    bool good = event->to_status == ROTA__TASK_STATUS__TASK_STATUS_DONE, live = screen->live;
    char duration[ROTA_CLOCK_DURATION_BYTES] = "";

    if (live && good && self->count > LINES_ABOVE_MAX_TASKS)
        return;
    FILE *stream = above (self);
    char *id = rota_clean_bytes (true, entry->id), *title = rota_clean_bytes (true, entry->title);
    char *reason = rota_clean_bytes (event->has_reason && !good, event->reason);
    bool titled = id && title && *title && strcmp (id, title) != 0;
    if (entry->spent_ms > 0 || good)
        rota_clock_duration (entry->spent_ms, duration);

    const char *what = live && screen->unicode ? mark->glyph : mark->word;
    fprintf (stream, "%s%s%-*s%s ", live ? " " : "", rota_style (screen, mark->style),
             live && screen->unicode ? 1 : 9, what, rota_style_end (screen));
    fprintf (stream, "%s%s%s", id ? id : "", titled ? "  " : "", titled ? title : "");
    if (*duration)
        fprintf (stream, "  %s%s%s", rota_style (screen, ROTA_STYLE_DIM), duration, rota_style_end (screen));
    if (reason && *reason)
        fprintf (stream, "  %s%s%s", rota_style (screen, mark->style), reason, rota_style_end (screen));
    fputc ('\n', stream);
    free (id);
    free (title);
    free (reason);
}

static void note_settled (rota_progress_t *self, const entry_t *entry, Rota__TaskStatus status)
{
    if (is_settled (entry->status) && !is_settled (status))
        self->open++;
    else if (!is_settled (entry->status) && is_settled (status))
        self->open -= self->open > 0;
}

bool rota_progress_event (rota_progress_t *self, const Rota__Event *event)
{
    entry_t *entry = event->has_task && event->type == ROTA__EVENT_TYPE__EVENT_TYPE_TASK_MOVED
                         ? find (self, event->task)
                         : NULL;
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
        self->outputs_due += !entry->output_due;
        entry->output_due = true;
    }
    const mark_t *mark = mark_of (event);
    if (self->cli->json)
        put_json (self, entry, event);
    else if (mark)
        put_line (self, entry, event, mark);
    return true;
}

bool rota_progress_next_failure (rota_progress_t *self, size_t most, ProtobufCBinaryData *ret_id)
{
    if (self->outputs_due == 0 || self->outputs_shown >= most)
        return false;
    for (size_t i = 0; i < self->count; i++)
        if (self->entries[i].output_due) {
            self->entries[i].output_due = false;
            self->outputs_due--;
            self->outputs_shown++;
            *ret_id = self->entries[i].id;
            return true;
        }
    self->outputs_due = 0;
    return false;
}

void rota_progress_output (rota_progress_t *self, ProtobufCBinaryData id, ProtobufCBinaryData bytes)
{
    const rota_screen_t *screen = &self->cli->out;
    FILE *stream = above (self);

    if (self->cli->json) {
        json_t *object = json_object ();
        rota_json_set_string (object, "type", "output");
        rota_json_set_text (object, "id", true, id);
        rota_json_set_text (object, "output", true, bytes);
        rota_json_line (stream, object);
        return;
    }
    char *text = rota_clean (bytes.data, bytes.len, true);
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
    FILE *stream = above (self);
    fprintf (stream, "%s%s%s%s\n", screen->live ? " " : "", rota_style (screen, style), clean ? clean : "",
             rota_style_end (screen));
    free (clean);
}

void rota_progress_status (rota_progress_t *self, const Rota__StatusReply *status)
{
    drop_status (self);
    self->has_status = true;
    memset (self->counts, 0, sizeof self->counts);
    for (size_t i = 0; i < status->n_counts; i++) {
        size_t index = (size_t)status->counts[i]->status;
        if (index < sizeof self->counts / sizeof self->counts[0])
            self->counts[index] = status->counts[i]->tasks;
    }
    self->total = status->total;
    self->unreachable = status->unreachable;
    self->paused = status->paused;
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

/* ---- the live part */

static uint64_t count_of (const rota_progress_t *self, Rota__TaskStatus status)
{
    return self->counts[status];
}

static void put_bar (const rota_progress_t *self, FILE *stream, unsigned columns)
{
    const rota_screen_t *screen = &self->cli->out;
    uint64_t done = count_of (self, ROTA__TASK_STATUS__TASK_STATUS_DONE),
             failed = count_of (self, ROTA__TASK_STATUS__TASK_STATUS_FAILED),
             stuck = count_of (self, ROTA__TASK_STATUS__TASK_STATUS_BLOCKED) +
                     count_of (self, ROTA__TASK_STATUS__TASK_STATUS_CANCELLED);
    const rota_bar_part_t parts[] = {
        {done, ROTA_STYLE_GREEN},
        {failed, ROTA_STYLE_RED},
        {stuck + self->unreachable, ROTA_STYLE_YELLOW},
        {count_of (self, ROTA__TASK_STATUS__TASK_STATUS_IN_PROGRESS), ROTA_STYLE_CYAN}};
    char duration[ROTA_CLOCK_DURATION_BYTES], text[160];
    unsigned bar = columns >= BAR_COLUMNS + 40 ? BAR_COLUMNS : columns > 60 ? columns - 40 : 0;

    rota_clock_duration (rota_clock_monotonic_ms () - self->began_ms, duration);
    int length = snprintf (text, sizeof text, "%llu/%llu done", (unsigned long long)done,
                           (unsigned long long)self->total);
    const struct {
        uint64_t amount;
        const char *word;
    } more[] = {{failed, "failed"}, {stuck, "stuck"}, {self->unreachable, "unreachable"}};
    for (size_t i = 0; i < 3; i++)
        if (more[i].amount && length > 0 && (size_t)length < sizeof text)
            length += snprintf (text + length, sizeof text - (size_t)length, ", %llu %s",
                                (unsigned long long)more[i].amount, more[i].word);
    fputc (' ', stream);
    if (bar > 0)
        rota_bar_put (stream, screen, parts, sizeof parts / sizeof parts[0], self->total, bar);
    fprintf (stream, "%s%s", bar ? " " : "", rota_style (screen, ROTA_STYLE_BOLD));
    rota_text_put (stream, screen, text, columns - bar - 4 > columns ? 0 : columns - bar - 4, false);
    fputs (rota_style_end (screen), stream);
    if (columns > bar + strlen (text) + strlen (duration) + 6)
        fprintf (stream, "  %s%s%s", rota_style (screen, ROTA_STYLE_DIM), duration, rota_style_end (screen));
    fputc ('\n', stream);
}

static void put_running (const rota_progress_t *self, FILE *stream, unsigned columns, size_t most)
{
    static const char *const TURNS[] = {"\u280b", "\u2819", "\u2839", "\u2838", "\u283c",
                                        "\u2834", "\u2826", "\u2827", "\u2807", "\u280f"};
    const rota_screen_t *screen = &self->cli->out;
    const char *turn = screen->unicode ? TURNS[self->turns % 10] : "*";
    int64_t now_ms = rota_clock_wall_ms ();
    unsigned id_columns = 0;

    for (size_t i = 0; i < self->running_count && i < most; i++) {
        unsigned wide = self->running[i].id ? rota_text_columns (self->running[i].id) : 0;
        id_columns = wide > id_columns ? wide : id_columns;
    }
    id_columns = id_columns > columns / 3 ? columns / 3 : id_columns;
    for (size_t i = 0; i < self->running_count && i < most; i++) {
        const running_t *task = &self->running[i];
        char duration[ROTA_CLOCK_DURATION_BYTES], attempt[40] = "";
        bool titled = task->id && task->title && strcmp (task->id, task->title) != 0;
        rota_clock_duration (task->started_ms ? now_ms - task->started_ms : 0, duration);
        if (task->stopping)
            snprintf (attempt, sizeof attempt, "ending");
        else if (task->attempt > 1)
            snprintf (attempt, sizeof attempt, "attempt %u", task->attempt);
        fprintf (stream, " %s%s%s ", rota_style (screen, ROTA_STYLE_CYAN), turn, rota_style_end (screen));
        unsigned used = 3 + rota_text_put (stream, screen, task->id ? task->id : "", id_columns, true);
        fprintf (stream, " %s%9s%s", rota_style (screen, ROTA_STYLE_DIM), duration, rota_style_end (screen));
        used += 1 + (unsigned)(strlen (duration) > 9 ? strlen (duration) : 9);
        if (*attempt)
            used += (unsigned)fprintf (stream, "  %s", attempt);
        if (titled && used + 6 < columns) {
            fputs ("  ", stream);
            rota_text_put (stream, screen, task->title, columns - used - 3, false);
        }
        fputc ('\n', stream);
    }
    if (self->running_total > most)
        fprintf (stream, "   %sand %llu more%s\n", rota_style (screen, ROTA_STYLE_DIM),
                 (unsigned long long)(self->running_total - most), rota_style_end (screen));
}

static char *compose (const rota_progress_t *self)
{
    const rota_screen_t *screen = &self->cli->out;
    unsigned columns = rota_screen_columns (screen), rows = rota_screen_rows (screen);
    char *text = NULL;
    size_t size = 0, most = rows > 8 ? rows - 7 : 1;
    FILE *stream = open_memstream (&text, &size);

    if (!stream)
        return NULL;
    put_bar (self, stream, columns);
    put_running (self, stream, columns, most < RUNNING_MAX ? most : RUNNING_MAX);
    if (self->paused)
        fprintf (stream, " %spaused: nothing is handed out (`rota resume`)%s\n",
                 rota_style (screen, ROTA_STYLE_YELLOW), rota_style_end (screen));
    for (size_t i = 0; i < self->wait_count && rows > 8; i++) {
        fprintf (stream, " %s%s ", rota_style (screen, ROTA_STYLE_DIM), screen->unicode ? "\u00b7" : "-");
        rota_text_put (stream, screen, self->waits[i], columns > 4 ? columns - 4 : 0, false);
        fprintf (stream, "%s\n", rota_style_end (screen));
    }
    fclose (stream);
    return text;
}

static unsigned count_lines (const char *text)
{
    unsigned lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

void rota_progress_draw (rota_progress_t *self, bool tick)
{
    FILE *stream = self->cli->out.stream;
    char *whole = NULL;
    size_t size = 0;

    if (!self->cli->out.live || self->cli->json) {
        fflush (stream);
        return;
    }
    self->turns += tick;
    char *frame = self->has_status ? compose (self) : NULL;
    bool same = frame && self->frame && strcmp (frame, self->frame) == 0;
    if (!self->above_stream && (same || !frame)) {
        free (frame);
        return;
    }
    /* One write, so that no half-drawn frame is ever seen. */
    FILE *out = open_memstream (&whole, &size);
    if (out) {
        erase_frame (self, out);
        flush_above (self, out);
        if (hidden_fd < 0 && frame)
            fputs (HIDE_CURSOR, out);
        fputs (frame ? frame : "", out);
        fclose (out);
        hidden_fd = frame ? fileno (stream) : hidden_fd;
        fwrite (whole, 1, size, stream);
        fflush (stream);
        free (whole);
        self->frame_lines = frame ? count_lines (frame) : 0;
    }
    free (self->frame);
    self->frame = frame;
}
